"""What a market maker quotes on options: Black-76 around the index, with a smile and a spread.

Pure: prices in, changed quotes out.  Sending them is market_maker.py's part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from entresol.client import black76
from entresol.client.depth_mirror import Quote
from entresol.client.instruments import Instrument
from entresol.client.market_data import UNIT
from entresol.kernel import layout

MINIMUM_HALF_SPREAD: Final = 2.0
"""Half the spread between bid and ask is at least this, in the quote asset."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A model value in millionths of the quote asset per unit of the underlying."""

    instrument: Instrument
    value: int


@dataclass(slots=True)
class OptionQuoter:
    """Two-sided quotes on a chain; each option keeps two slots of one account.

    The half spread is `half_spread_points` volatility points of vega, at least
    MINIMUM_HALF_SPREAD; `lots` is the size of every quote.
    """

    options: Sequence[Instrument]
    lots: int
    smile: black76.Smile = field(default_factory=black76.Smile)
    half_spread_points: float = 1.0
    first_slot: int = 1
    _last: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.first_slot + 2 * len(self.options) > layout.SLOTS:
            raise ValueError(f"one account has {layout.SLOTS} slots: quote fewer options with it")

    def value(self, option: Instrument, forward: float, now_ms: int) -> float:
        """Model value of one option, in the quote asset."""
        years = max(option.expiry_ms - now_ms, 0) / black76.YEAR_MS
        strike = option.strike / UNIT
        volatility = self.smile.volatility(forward, strike, years)
        return black76.price(forward, strike, years, volatility, option.kind == layout.CALL)

    def marks(self, forward: float, now_ms: int) -> list[Mark]:
        """Model values of the whole chain, at least one millionth each."""
        return [
            Mark(option, max(1, round(self.value(option, forward, now_ms) * UNIT)))
            for option in self.options
        ]

    def quotes(self, forward: float, now_ms: int) -> dict[Instrument, list[Quote]]:
        """Quotes that changed since the last call, by option; zero lots where a bid is worthless.

        Call `forget` when an earlier answer was not applied.
        """
        changed: dict[Instrument, list[Quote]] = {}
        for position, option in enumerate(self.options):
            for side, tick in enumerate(self._ticks(option, forward, now_ms)):
                slot = self.first_slot + 2 * position + side
                usable = 0 <= tick - option.base_tick < layout.TICKS and tick > 0
                target = (tick, self.lots) if usable else (0, 0)
                if self._last.get((position, side), (0, 0)) == target:
                    continue
                self._last[position, side] = target
                quote = Quote(0, slot, side, target[0], target[1])
                changed.setdefault(option, []).append(quote)
        return changed

    def best(self, option: Instrument, side: int) -> int | None:
        """The tick last quoted on one side, None where there is no quote."""
        tick, lots = self._last.get((list(self.options).index(option), side), (0, 0))
        return tick if lots else None

    def forget(self) -> None:
        """Send every quote again at the next call."""
        self._last.clear()

    def _ticks(self, option: Instrument, forward: float, now_ms: int) -> tuple[int, int]:
        years = max(option.expiry_ms - now_ms, 0) / black76.YEAR_MS
        strike = option.strike / UNIT
        volatility = self.smile.volatility(forward, strike, years)
        middle = black76.price(forward, strike, years, volatility, option.kind == layout.CALL)
        vega = black76.vega(forward, strike, years, volatility)
        half = max(MINIMUM_HALF_SPREAD, self.half_spread_points * vega / 100)
        return option.tick_below(middle - half), option.tick_above(middle + half)
