"""What the twin keeps: plain objects, one per thing, and the rules' numbers written again."""

from __future__ import annotations

from dataclasses import dataclass, field

from entresol.kernel import layout
from entresol.kernel.instruments import MARGIN_CLASSES, MarginRates

MILLION = 1_000_000
LOT_VALUE = 1 << 34
PRICE = 1 << 42
POSITION_LOTS = 1 << 21
TRADING_CASH = 1 << 59
MAKERS = 1 << 10
EXPIRE_ORDERS = 128
EXPIRE_ACCOUNTS = 512


def ceiling(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


@dataclass
class Underlying:
    symbol: int
    age: int
    highest: int
    index: int = 0
    time: int = 0


@dataclass
class Listing:
    """What LIST_INSTRUMENT says."""

    kind: int = layout.PERPETUAL
    underlying: int = 0
    symbol: int = 0
    strike: int = 0
    expiry: int = 0
    tick_size: int = 0
    contract_size: int = 0
    base_tick: int = 0
    margin_class: int = 0
    minimum_lots: int = 1
    maximum_lots: int = 1
    age: int = 1


@dataclass
class Instrument:
    listing: Listing
    tick_value: int
    status: int = layout.TRADING
    mark: int = 0
    mark_time: int = 0
    delivery: int = 0
    cursor: int = 0

    @property
    def is_option(self) -> bool:
        return self.listing.kind != layout.PERPETUAL

    @property
    def rates(self) -> MarginRates:
        return MARGIN_CLASSES[self.listing.margin_class][self.is_option]

    @property
    def top(self) -> int:
        """First price above the ladder."""
        dearest = LOT_VALUE // self.tick_value
        return min(self.listing.base_tick + layout.TICKS, dearest + 1)


@dataclass
class Order:
    account: int
    slot: int
    instrument: int
    side: int
    price: int
    remaining: int
    flags: int
    label: int
    reserve: int
    quantity: int
    sequence: int = 0


@dataclass
class Account:
    cash: int = 0
    flags: int = 0
    holdings: dict[int, int] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)

    def positions(self) -> set[int]:
        held = {number for number, lots in self.holdings.items() if lots}
        return held | {order.instrument for order in self.orders.values()}

    def quantity(self, instrument: int) -> int:
        return self.holdings.get(instrument, 0)

    def open_lots(self, instrument: int, side: int) -> int:
        return sum(
            order.remaining
            for order in self.orders.values()
            if (order.instrument, order.side) == (instrument, side)
        )


@dataclass
class Leg:
    slot: int
    instrument: int
    side: int
    price: int
    quantity: int
    label: int = 0
    flags: int = 0  # beyond the side bit: makes the leg malformed
