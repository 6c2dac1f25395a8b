"""What to list: a perpetual and an option chain with ladders that fit a feed."""

from dataclasses import dataclass
from typing import Final

from entresol.client.instruments import Instrument
from entresol.client.market_data import UNIT
from entresol.client.option_chain import OptionSpecification, instrument_name
from entresol.kernel import layout
from entresol.rollup.message import OwnerOperation

MAXIMUM_AGE_MS: Final = 86_400_000
"""How long a price stays usable, at most: a day.  A replay runs faster or slower than its feed."""

PERPETUAL_TICK: Final = 100_000
PERPETUAL_LOT: Final = 1_000
"""0.1 in the quote asset and 0.001 of the underlying, as on the recorded venue."""

OPTION_TICK: Final = UNIT
OPTION_LOT: Final = 10_000
"""1 in the quote asset and 0.01 of the underlying."""

MAXIMUM_LOTS: Final = 1 << 20
"""Largest order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One market to list; sizes and strike in millionths, ladder from `base_tick` upwards."""

    currency: str
    kind: int
    tick_size: int
    contract_size: int
    base_tick: int
    underlying: int = 0
    strike: int = 0
    expiry_ms: int = 0
    margin_class: int = 0

    @property
    def name(self) -> str:
        """The instrument's name."""
        return instrument_name(self.currency, self.kind, self.strike, self.expiry_ms)

    def operation(self) -> OwnerOperation:
        """The operator's operation that lists it."""
        return OwnerOperation(
            kind=layout.LIST_INSTRUMENT,
            instrument_kind=self.kind,
            underlying=self.underlying,
            symbol=int.from_bytes(self.currency.encode("ascii"), "little"),
            tick_size=self.tick_size,
            contract_size=self.contract_size,
            base_tick=self.base_tick,
            strike=self.strike,
            expires_ms=self.expiry_ms,
            margin_class=self.margin_class,
            minimum_lots=1,
            maximum_lots=MAXIMUM_LOTS,
            maximum_age_ms=MAXIMUM_AGE_MS,
        )

    def instrument(self, number: int) -> Instrument:
        """The listed instrument under its number."""
        return Instrument(
            name=self.name,
            number=number,
            kind=self.kind,
            underlying=self.underlying,
            currency=self.currency,
            tick_size=self.tick_size,
            contract_size=self.contract_size,
            base_tick=self.base_tick,
            minimum_lots=1,
            maximum_lots=MAXIMUM_LOTS,
            strike=self.strike,
            expiry_ms=self.expiry_ms,
        )


def list_perpetual(currency: str, index: int) -> Listing:
    """A perpetual whose ladder has `index` (millionths) in its middle."""
    middle = index // PERPETUAL_TICK
    return Listing(
        currency=currency,
        kind=layout.PERPETUAL,
        tick_size=PERPETUAL_TICK,
        contract_size=PERPETUAL_LOT,
        base_tick=max(1, middle - layout.TICKS // 2),
    )


def list_option(option: OptionSpecification) -> Listing:
    """An option whose ladder starts at one tick."""
    return Listing(
        currency=option.currency,
        kind=option.kind,
        tick_size=OPTION_TICK,
        contract_size=OPTION_LOT,
        base_tick=1,
        strike=option.strike,
        expiry_ms=option.expiry_ms,
    )
