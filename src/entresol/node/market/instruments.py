"""Listed instruments by number and by Deribit-shaped name, read from the live state."""

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from entresol.kernel import layout, views
from entresol.machine.memory import Memory
from entresol.node.market.units import from_micro, to_steps

KIND_NAMES: Final = {layout.PERPETUAL: "future", layout.CALL: "option", layout.PUT: "option"}
STATE_NAMES: Final = {layout.TRADING: "open", layout.SETTLING: "closed", layout.SETTLED: "settled"}
_MONTHS: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)


def compose_name(symbol: str, kind: int, strike: int, expiry_ms: int) -> str:
    """`BTC-PERPETUAL` or `BTC-27MAR26-70000-C`; a fractional strike has `d` for its point."""
    if kind == layout.PERPETUAL:
        return f"{symbol}-PERPETUAL"
    day = datetime.datetime.fromtimestamp(expiry_ms / 1000, datetime.UTC)
    date = f"{day.day}{_MONTHS[day.month - 1]}{day.year % 100:02d}"
    price = f"{from_micro(strike):f}".replace(".", "d")
    return f"{symbol}-{date}-{price}-{'C' if kind == layout.CALL else 'P'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One listed instrument; integers as in layout.INSTRUMENT, money in micro-collateral."""

    number: int
    name: str
    kind: int
    status: int
    underlying: int
    currency: str
    minimum_lots: int
    maximum_lots: int
    position_limit: int
    tick_size: int
    contract_size: int
    tick_value: int
    base_tick: int
    strike: int
    expiry_ms: int
    taker_fee_rate: int
    maker_fee_rate: int
    initial_rate: int
    maintenance_rate: int
    margin_class: int

    def price(self, ticks: int) -> Decimal:
        """Collateral per unit of the underlying."""
        return from_micro(ticks * self.tick_size)

    def amount(self, lots: int) -> Decimal:
        """Units of the underlying."""
        return from_micro(lots * self.contract_size)

    def ticks(self, price: Decimal) -> int:
        """Ticks in `price`; raises UnitError when it is off the tick."""
        return to_steps(price, self.tick_size, "price")

    def lots(self, amount: Decimal) -> int:
        """Lots in `amount`; raises UnitError when it is off the lot."""
        return to_steps(amount, self.contract_size, "amount")


class InstrumentTable:
    """All instruments, re-read when the kernel says that one was listed or settled."""

    def __init__(self, memory: Memory) -> None:
        self._durable: Any = views.durable(memory.array)
        self.by_number: list[Instrument] = []
        self.by_name: dict[str, Instrument] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the tables again; of two with one name, the one that trades keeps it."""
        count = int(self._durable["header"]["instrument_count"])
        self.by_number = [self._read(number) for number in range(count)]
        self.by_name = {}
        for instrument in self.by_number:
            earlier = self.by_name.get(instrument.name)
            if earlier is None or earlier.status == layout.SETTLED:
                self.by_name[instrument.name] = instrument

    def symbol(self, underlying: int) -> str:
        """The ticker of an underlying, such as BTC."""
        raw = int(self._durable["underlying"][underlying]["symbol"]).to_bytes(8, "little")
        return raw.rstrip(b"\0").decode("ascii", "replace")

    def underlyings(self) -> dict[str, int]:
        """Number of every underlying by its ticker."""
        count = int(self._durable["header"]["underlying_count"])
        return {self.symbol(number): number for number in range(count)}

    def _read(self, number: int) -> Instrument:
        record = self._durable["instrument"][number]
        field = {name: int(record[name]) for name in record.dtype.names}
        symbol = self.symbol(field["underlying"])
        name = compose_name(symbol, field["kind"], field["strike"], field["expiry_ms"])
        chosen = {key: field[key] for key in Instrument.__slots__ if key in field}
        return Instrument(number=number, name=name, currency=symbol, **chosen)
