"""Replays a feed through a venue: depth becomes a maker's quotes, trades become takers.

The oracle publishes the middle of the best prices and model marks of the options; some takers
trade options.  As fast as the venue answers, or at the feed's own speed.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from entresol.client.instruments import Instrument
from entresol.client.lane import LaneChannel
from entresol.client.market_data import UNIT, BookTicker, DepthUpdate, Event, Trade
from entresol.client.market_maker import MarketMaker
from entresol.client.operations import index_price, mark_price, place
from entresol.client.tally import Tally
from entresol.kernel import layout
from entresol.rollup.message import Operation

MILLISECOND_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often things happen, in milliseconds of the feed's time."""

    index_ms: int = 100
    marks_ms: int = 2_000
    option_quotes_ms: int = 1_000
    option_trades_ms: int = 400
    is_paced: bool = False  # True: at the feed's own speed


@dataclass(slots=True)
class FeedCounts:
    """Messages of the feed that were replayed."""

    depth_updates: int = 0
    book_tickers: int = 0
    trades: int = 0
    first_ns: int = 0
    last_ns: int = 0

    @property
    def messages(self) -> int:
        """All of them."""
        return self.depth_updates + self.book_tickers + self.trades


@dataclass(slots=True)
class _Burst:
    """Executions of one taker order: same millisecond, same side."""

    key: tuple[int, bool] = (0, False)
    operations: list[Operation] = field(default_factory=list)


class Replay:
    """Plays one feed on a venue."""

    def __init__(
        self,
        maker: MarketMaker,
        takers: Sequence[LaneChannel],
        publisher: LaneChannel,
        tally: Tally,
        *,
        rhythm: Rhythm | None = None,
        seed: int = 1,
    ) -> None:
        self.maker, self.takers, self.publisher = maker, takers, publisher
        self.tally, self.rhythm = tally, rhythm or Rhythm()
        self.counts = FeedCounts()
        self.index = 0
        self._random = random.Random(seed)
        self._due: dict[str, int] = {}
        self._burst = _Burst()
        self._started = 0.0

    async def run(
        self,
        events: Iterable[Event],
        *,
        operation_limit: int | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        """Play events until they end or `operation_limit` operations were sent."""
        self._started = time.perf_counter()
        sent = 0
        for event in events:
            if self.counts.first_ns == 0:
                self.counts.first_ns = event.received_ns
            self.counts.last_ns = event.received_ns
            if self.rhythm.is_paced:
                await self._keep_pace(event.received_ns)
            await self._play(event)
            if on_progress is not None and self.counts.messages % 50 == 0:
                on_progress(self.counts.messages)
            sent = self.tally.operation_count
            if operation_limit is not None and sent >= operation_limit:
                break
        await self._flush_burst()
        for lane in (*self.takers, self.publisher):
            await lane.drain()
        await self.maker.drain()
        if on_progress is not None:
            on_progress(self.counts.messages)

    async def _keep_pace(self, now_ns: int) -> None:
        ahead = (now_ns - self.counts.first_ns) / 1e9 - (time.perf_counter() - self._started)
        if ahead > 0:
            await asyncio.sleep(ahead)

    async def _play(self, event: Event) -> None:
        if isinstance(event, Trade):
            self.counts.trades += 1
            await self._take(event)
            return
        await self._flush_burst()
        if isinstance(event, DepthUpdate):
            self.counts.depth_updates += 1
            if self.index == 0:
                await self._publish((event.bids[0][0] + event.asks[0][0]) // 2, event.received_ns)
            await self.maker.follow_depth(event)
        elif isinstance(event, BookTicker):
            self.counts.book_tickers += 1
            await self._publish((event.bid + event.ask) // 2, event.received_ns)

    async def _take(self, trade: Trade) -> None:
        perpetual = self.maker.perpetual
        key = (trade.received_ns // MILLISECOND_NS, trade.buyer_is_maker)
        full = len(self._burst.operations) >= layout.MAX_RECORDS_PER_MESSAGE
        if key != self._burst.key or full:
            await self._flush_burst()
            self._burst.key = key
        tick, lots = trade.price // perpetual.tick_size, trade.quantity // perpetual.contract_size
        if lots == 0 or not 0 <= tick - perpetual.base_tick < layout.TICKS:
            return
        side = layout.SELL if trade.buyer_is_maker else layout.BUY
        self._burst.operations.append(
            place(
                perpetual.number,
                side,
                tick,
                lots,
                time_in_force=layout.IMMEDIATE_OR_CANCEL,
                label=trade.trade_id & 0xFFFF_FFFF,
            )
        )

    async def _flush_burst(self) -> None:
        if self._burst.operations:
            operations, self._burst.operations = self._burst.operations, []
            await self.tally.post(self._random.choice(self.takers), operations)

    def _is_due(self, what: str, now_ns: int, period_ms: int) -> bool:
        if now_ns < self._due.get(what, 0):
            return False
        self._due[what] = now_ns + period_ms * MILLISECOND_NS
        return True

    async def _publish(self, index: int, now_ns: int) -> None:
        """Send what the oracle and the option side owe at this time of the feed."""
        rhythm = self.rhythm
        if self._is_due("index", now_ns, rhythm.index_ms) and index != self.index:
            self.index = index
            operation = index_price(self.maker.perpetual.underlying, index)
            await self.tally.post(self.publisher, [operation])
        if not self.maker.quoters:
            return
        if self._is_due("marks", now_ns, rhythm.marks_ms):
            await self._publish_marks()
        if self._is_due("quotes", now_ns, rhythm.option_quotes_ms):
            await self.maker.quote_options(self.index)
        if self._is_due("option trades", now_ns, rhythm.option_trades_ms):
            await self._take_option()

    async def _publish_marks(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        operations = [
            mark_price(mark.instrument.number, mark.value)
            for quoter in self.maker.quoters
            for mark in quoter.marks(self.index / UNIT, now_ms)
        ]
        for start in range(0, len(operations), layout.MAX_RECORDS_PER_MESSAGE):
            message = operations[start : start + layout.MAX_RECORDS_PER_MESSAGE]
            await self.tally.post(self.publisher, message)

    async def _take_option(self) -> None:
        """One taker hits one quote: what the maker last bid or asked, a lot to a tenth of it.

        Each taker keeps to one expiry, because an account holds at most 32 positions.
        """
        number = self._random.randrange(len(self.takers))
        quoter = self.maker.quoters[number % len(self.maker.quoters)]
        option: Instrument = self._random.choice(quoter.options)
        side = self._random.choice((layout.BUY, layout.SELL))
        tick = quoter.best(option, 1 - side)
        if tick is None:
            return
        lots = self._random.randint(1, max(1, quoter.lots // 10))
        operation = place(option.number, side, tick, lots, time_in_force=layout.IMMEDIATE_OR_CANCEL)
        await self.tally.post(self.takers[number], [operation])
