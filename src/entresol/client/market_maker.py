"""A market maker: mirrors a venue's depth on the perpetual and quotes options around the index.

It owns several accounts, because one account has 512 order slots, and sends every change as soon
as it knows it, without waiting for answers.
"""

import time
from collections.abc import Sequence

from entresol.client.depth_mirror import DepthMirror, Quote, group_quotes
from entresol.client.instruments import Instrument
from entresol.client.lane import LaneChannel
from entresol.client.market_data import UNIT, DepthUpdate
from entresol.client.operations import cancel, mass_quote, place
from entresol.client.outcome import Outcome
from entresol.client.quoting import OptionQuoter
from entresol.client.tally import Tally
from entresol.kernel import layout
from entresol.rollup.message import Operation

LEGS_PER_MESSAGE = layout.MAX_RECORDS_PER_MESSAGE - 1


class MarketMaker:
    """Quotes one perpetual through many lanes, and option chains, each through a lane of its own.

    An account holds at most 32 positions, so each desk gets one expiry's options.
    """

    def __init__(
        self,
        perpetual: Instrument,
        depth_lanes: Sequence[LaneChannel],
        option_desks: Sequence[tuple[OptionQuoter, LaneChannel]],
        tally: Tally,
    ) -> None:
        self.perpetual, self.tally = perpetual, tally
        self.quoters = [quoter for quoter, _ in option_desks]
        self.mirror = DepthMirror(
            len(depth_lanes),
            perpetual.tick_size,
            perpetual.contract_size,
            perpetual.base_tick,
            perpetual.base_tick + layout.TICKS,
        )
        self._depth_lanes, self._option_desks = depth_lanes, option_desks

    @property
    def lanes(self) -> list[LaneChannel]:
        """Every lane the maker trades through."""
        return [*self._depth_lanes, *(lane for _, lane in self._option_desks)]

    async def follow_depth(self, update: DepthUpdate) -> None:
        """Send what carries the mirrored book to the recorded one."""
        for account, quotes in group_quotes(self.mirror.apply(update)):
            operations = self._operations(quotes)
            lane = self._depth_lanes[account]
            await self.tally.post(lane, operations, lambda o, q=quotes: self._learn(o, q))  # type: ignore[misc]

    def _operations(self, quotes: list[Quote]) -> list[Operation]:
        """A single removal is a cancel, a single new level an order; the rest is a mass quote."""
        if len(quotes) == 1:
            (quote,) = quotes
            if quote.lots == 0:
                return [cancel(quote.slot)]
            if quote.is_new:
                number = self.perpetual.number
                return [
                    place(
                        number,
                        quote.side,
                        quote.tick,
                        quote.lots,
                        slot=quote.slot,
                        post_only=True,
                    )
                ]
        return mass_quote((self.perpetual.number, quote) for quote in quotes)

    def _learn(self, outcome: Outcome, quotes: list[Quote]) -> None:
        """Levels that did not make it into the book are sent again with their next change."""
        statuses = outcome.statuses[-len(quotes) :]
        whole = bool(outcome.statuses and outcome.statuses[0])
        for quote, status in zip(quotes, statuses, strict=False):
            if quote.lots and (status or whole):
                self.mirror.forget(quote)

    async def quote_options(self, index: int) -> None:
        """Move the option quotes to an index price in millionths."""
        now_ms = time.time_ns() // 1_000_000
        for quoter, lane in self._option_desks:
            changed = quoter.quotes(index / UNIT, now_ms)
            legs = [
                (option.number, quote) for option, quotes in changed.items() for quote in quotes
            ]
            for start in range(0, len(legs), LEGS_PER_MESSAGE):
                await self.tally.post(lane, mass_quote(legs[start : start + LEGS_PER_MESSAGE]))

    async def drain(self) -> None:
        """Wait until every message has its outcome."""
        for lane in self.lanes:
            await lane.drain()
