"""Tickers and index prices from the live state."""

from decimal import Decimal
from typing import Any

from entresol.kernel import layout, views
from entresol.machine.memory import Memory
from entresol.node.api.errors import invalid_params
from entresol.node.market.books import BookReader
from entresol.node.market.instruments import STATE_NAMES, Instrument, InstrumentTable
from entresol.node.market.units import from_micro


class TickerReader:
    """Composes tickers; only on the sequencer's loop."""

    def __init__(self, memory: Memory, instruments: InstrumentTable, books: BookReader) -> None:
        self._durable: Any = views.durable(memory.array)
        self._instruments = instruments
        self._books = books

    def underlying(self, name: str) -> int:
        """Number of the underlying in `btc_usdc` or `BTC`; raises ApiError."""
        symbol = name.partition("_")[0].upper()
        found = self._instruments.underlyings().get(symbol)
        if found is None:
            raise invalid_params(f"There is no index {name[:40]!r}.")
        return found

    def index(self, underlying: int, now_ms: int) -> dict[str, Any]:
        """An index price and when it was set, in kernel time."""
        record = self._durable["underlying"][underlying]
        return {
            "index_name": f"{self._instruments.symbol(underlying).lower()}_usdc",
            "price": from_micro(int(record["index"])),
            "index_price": from_micro(int(record["index"])),
            "timestamp": int(record["index_time_ms"]),
            "is_stale": now_ms - int(record["index_time_ms"]) > int(record["maximum_age_ms"]),
        }

    def ticker(self, instrument: Instrument, now_ms: int) -> dict[str, Any]:
        """Best prices, mark, index and open interest of one instrument."""
        book = self._books.read(instrument.number, instrument.base_tick, 1)
        best: dict[str, Decimal | None] = {}
        for side, levels in (("bid", book.bids), ("ask", book.asks)):
            best[f"best_{side}_price"] = instrument.price(levels[0][0]) if levels else None
            best[f"best_{side}_amount"] = instrument.amount(levels[0][1]) if levels else Decimal(0)
        underlying = self._durable["underlying"][instrument.underlying]
        index = from_micro(int(underlying["index"]))
        record = self._durable["instrument"][instrument.number]
        mark = int(self._durable["risk"][instrument.number]["mark"])
        if instrument.kind == layout.PERPETUAL:
            mark = mark or int(underlying["index"])
        return {
            "timestamp": now_ms,
            "instrument_name": instrument.name,
            "state": STATE_NAMES.get(int(record["status"]), "closed"),
            **best,
            "mark_price": from_micro(mark),
            "index_price": index,
            "underlying_price": index,
            "underlying_index": f"{instrument.currency.lower()}_usdc",
            "open_interest": instrument.amount(int(record["open_interest"])),
            "min_price": instrument.price(instrument.base_tick),
            "max_price": instrument.price(instrument.base_tick + layout.TICKS - 1),
        }
