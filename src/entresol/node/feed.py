"""Market data and account streams: from committed events to channels and their subscribers.

A channel's state is shared by its subscribers and encoded once.  A subscriber whose queue is long
is passed over and gets a snapshot when it has caught up; one that never does is dropped by its
connection.
"""

import asyncio
import collections
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

import numpy as np

from entresol.kernel import layout
from entresol.kernel.rejections import Rejection
from entresol.node.api.errors import invalid_params
from entresol.node.api.rpc import ENCODER
from entresol.node.history import event_id
from entresol.node.market.books import MAX_DEPTH, Book, BookReader
from entresol.node.market.instruments import Instrument, InstrumentTable
from entresol.node.market.tickers import TickerReader
from entresol.sequencing.sequencer import Committed

FLUSH_SECONDS: Final = 0.1
RECENT_TRADES: Final = 1000
"""Trades per instrument that are answered from memory."""

_BOOK_KINDS: Final = (
    layout.EVENT_ORDER_RESTED,
    layout.EVENT_ORDER_REMOVED,
    layout.EVENT_FILL_MAKER,
)
_TABLE_KINDS: Final = (layout.EVENT_LISTED, layout.EVENT_SETTLED)
_INTERVALS: Final = ("raw", "100ms", "agg2")
_SIDES: Final = ("buy", "sell")


class Subscriber(Protocol):
    """Whoever takes notifications; `is_lagging` while its queue is long."""

    @property
    def is_lagging(self) -> bool:
        """Whether deltas should be withheld for now."""

    def deliver(self, notification: bytes) -> None:
        """Queue one encoded notification."""


@dataclass(eq=False)
class _Channel:
    """One channel: who listens, and what kind of thing it is about."""

    name: str
    kind: str
    instrument: int = -1
    account: int = -1
    raw: bool = False
    depth: int = 0
    subscribers: set[Subscriber] = field(default_factory=set)
    behind: set[Subscriber] = field(default_factory=set)
    change_id: int = 0
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    waiting: list[Any] = field(default_factory=list)
    last: Any = None


class Feed:
    """Takes what the sequencer committed; on the sequencer's loop."""

    def __init__(
        self,
        instruments: InstrumentTable,
        books: BookReader,
        tickers: TickerReader,
        clock_ms: Callable[[], int],
    ) -> None:
        self._instruments = instruments
        self._books = books
        self._tickers = tickers
        self._clock_ms = clock_ms
        self._channels: dict[str, _Channel] = {}
        self._dirty: set[int] = set()
        self._change_id = 0
        self._trade_place = (-1, 0)
        self._recent: dict[int, collections.deque[dict[str, Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    # --- what was committed --------------------------------------------------------------------

    def note(self, committed: Committed) -> None:
        """Take one turn's events."""
        events = committed.events
        if not len(events):
            return
        kinds = events["kind"]
        if np.isin(kinds, _TABLE_KINDS).any():
            self._instruments.refresh()
        touched = np.unique(events["instrument"][np.isin(kinds, _BOOK_KINDS)]).tolist()
        if touched:
            self._change_id += 1
            self._dirty.update(touched)
        priced = kinds == layout.EVENT_PRICE
        if priced.any():
            self._dirty.update(range(len(self._instruments.by_number)))
        trades = self._trades(committed)
        if not self._channels:
            return
        self._note_accounts(committed, trades)
        for trade in trades:
            self._note_trade(trade)
        self._flush(raw_only=True)
        self._start_timer()

    def _trades(self, committed: Committed) -> list[dict[str, Any]]:
        events = committed.events
        takers = events[events["kind"] == layout.EVENT_FILL_TAKER]
        if not len(takers):
            return []
        makers = events[events["kind"] == layout.EVENT_FILL_MAKER]
        block, first = self._trade_place
        if block != committed.block:
            first = 0
        self._trade_place = (committed.block, first + len(takers))
        found = []
        for place, (taker, maker) in enumerate(
            zip(takers.tolist(), makers.tolist(), strict=False), first
        ):
            instrument = self._instruments.by_number[taker[2]]
            trade = {
                "id": event_id(committed.block, place),
                "time_ms": committed.time_ms,
                "instrument": instrument,
                "side": taker[1],
                "price": taker[6],
                "lots": taker[7],
                "taker": (taker[4], taker[5], taker[8]),
                "maker": (maker[4], maker[5], maker[8]),
            }
            found.append(trade)
            recent = self._recent.get(taker[2])
            if recent is None:
                recent = self._recent[taker[2]] = collections.deque(maxlen=RECENT_TRADES)
            recent.append(trade)
        return found

    def recent_trades(self, instrument: int, count: int) -> list[dict[str, Any]]:
        """The newest trades of an instrument, newest first."""
        recent = self._recent.get(instrument, ())
        return [describe_trade(trade) for trade in list(recent)[: -count - 1 : -1]]

    def _note_trade(self, trade: dict[str, Any]) -> None:
        instrument: Instrument = trade["instrument"]
        for interval in _INTERVALS:
            channel = self._channels.get(f"trades.{instrument.name}.{interval}")
            if channel is not None:
                channel.waiting.append(describe_trade(trade))
        for party, role in ((trade["taker"], "T"), (trade["maker"], "M")):
            channel = self._channels.get(f"user.trades.{party[0]}")
            if channel is not None:
                channel.waiting.append(describe_own_trade(trade, party, role))

    def _note_accounts(self, committed: Committed, trades: list[dict[str, Any]]) -> None:
        accounts = [c.account for c in self._channels.values() if c.kind == "user.orders"]
        if not accounts:
            return
        events = committed.events
        chosen = events[
            np.isin(events["account"], accounts) & np.isin(events["kind"], list(_ORDER_STATES))
        ]
        for event in chosen:
            described = self._describe_order_event(event, committed.time_ms)
            if described is not None:
                self._channels[f"user.orders.{int(event['account'])}"].waiting.append(described)
        del trades

    def _describe_order_event(self, event: Any, time_ms: int) -> dict[str, Any] | None:
        kind, status = int(event["kind"]), int(event["status"])
        if kind == layout.EVENT_OUTCOME and (status == 0 or int(event["side"]) != layout.PLACE):
            return None
        number = int(event["instrument"])
        if number >= len(self._instruments.by_number):
            return None
        instrument = self._instruments.by_number[number]
        is_outcome = kind == layout.EVENT_OUTCOME
        return {
            "order_id": f"{int(event['account'])}-{int(event['slot'])}",
            "instrument_name": instrument.name,
            "order_state": _ORDER_STATES[kind],
            "direction": None if is_outcome else _SIDES[int(event["side"])],
            "price": None if is_outcome else instrument.price(int(event["price"])),
            "amount": None if is_outcome else instrument.amount(int(event["quantity"])),
            "label": int(event["label"]),
            "reason": Rejection(status).name if status in _REJECTION_NUMBERS else str(status),
            "last_update_timestamp": time_ms,
        }

    # --- subscribing ---------------------------------------------------------------------------

    def check(self, names: list[str]) -> None:
        """Raise ApiError unless every channel exists."""
        for name in names:
            self._find_channel(name)

    def subscribe(self, subscriber: Subscriber, name: str) -> None:
        """Add a subscriber; raises ApiError for a channel that does not exist."""
        canonical, channel = self._find_channel(name)
        self._channels[canonical] = channel
        channel.subscribers.add(subscriber)
        if channel.kind == "book":
            if len(channel.subscribers) == 1:
                self._read_book(channel)
            subscriber.deliver(self._book_snapshot(channel))
        elif channel.kind in ("ticker", "book.group", "index"):
            subscriber.deliver(_notification(channel.name, self._compose(channel)))
        self._start_timer()

    def unsubscribe(self, subscriber: Subscriber, name: str) -> None:
        """Remove a subscriber; a channel it was not on is no error."""
        channel = self._channels.get(_canonical(name))
        if channel is not None:
            self._remove(channel, subscriber)

    def forget(self, subscriber: Subscriber) -> None:
        """Remove a subscriber from everything."""
        for channel in list(self._channels.values()):
            self._remove(channel, subscriber)

    def _remove(self, channel: _Channel, subscriber: Subscriber) -> None:
        channel.subscribers.discard(subscriber)
        channel.behind.discard(subscriber)
        if not channel.subscribers:
            self._channels.pop(_canonical(channel.name), None)

    def _find_channel(self, name: str) -> tuple[str, _Channel]:
        canonical = _canonical(name)
        if canonical in self._channels:
            return canonical, self._channels[canonical]
        parts = name.split(".")
        match parts:
            case ["book", instrument, interval] if interval in _INTERVALS:
                channel = _Channel(name, "book", self._number(instrument))
                channel.raw = interval == "raw"
            case ["book", instrument, "none", depth, "100ms"] if depth in ("1", "10", "20"):
                channel = _Channel(name, "book.group", self._number(instrument), depth=int(depth))
            case ["ticker" | "trades" as kind, instrument, interval] if interval in _INTERVALS:
                channel = _Channel(name, kind, self._number(instrument), raw=interval == "raw")
            case ["deribit_price_index", index]:
                channel = _Channel(name, "index", self._tickers.underlying(index))
            case ["user", "orders" | "trades" as kind, account, *rest] if account.isdecimal():
                if rest not in ([], ["raw"], ["100ms"]) or int(account) >= layout.ACCOUNTS:
                    raise _unknown(name)
                channel = _Channel(name, f"user.{kind}", account=int(account), raw=True)
            case _:
                raise _unknown(name)
        return canonical, channel

    def _number(self, name: str) -> int:
        instrument = self._instruments.by_name.get(name)
        if instrument is None:
            raise invalid_params(f"There is no instrument {name[:40]!r}.")
        return instrument.number

    # --- publishing ----------------------------------------------------------------------------

    def _start_timer(self) -> None:
        if self._timer is None and self._channels:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FLUSH_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._flush(raw_only=False)
        self._dirty.clear()
        if any(channel.behind for channel in self._channels.values()):
            self._start_timer()

    def _flush(self, raw_only: bool) -> None:
        for channel in list(self._channels.values()):
            if raw_only and not channel.raw:
                continue
            if channel.kind == "book":
                self._flush_book(channel)
            elif channel.waiting:
                if channel.kind.startswith("user"):
                    for value in channel.waiting:
                        self._send(channel, _notification(channel.name, value))
                else:
                    self._send(channel, _notification(channel.name, channel.waiting))
                channel.waiting = []
            elif channel.kind in ("ticker", "book.group") and channel.instrument in self._dirty:
                self._send(channel, _notification(channel.name, self._compose(channel)))
            elif channel.kind == "index":
                composed = self._compose(channel)
                if composed["price"] != channel.last:
                    channel.last = composed["price"]
                    self._send(channel, _notification(channel.name, composed))

    @staticmethod
    def _send(channel: _Channel, notification: bytes) -> None:
        for subscriber in list(channel.subscribers):
            subscriber.deliver(notification)

    def _compose(self, channel: _Channel) -> Any:
        if channel.kind == "index":
            return self._tickers.index(channel.instrument, self._clock_ms())
        instrument = self._instruments.by_number[channel.instrument]
        if channel.kind == "ticker":
            return self._tickers.ticker(instrument, self._clock_ms())
        book = self._books.read(instrument.number, instrument.base_tick, channel.depth)
        return {
            "timestamp": self._clock_ms(),
            "instrument_name": instrument.name,
            "change_id": self._change_id,
            "bids": [(instrument.price(t), instrument.amount(q)) for t, q in book.bids],
            "asks": [(instrument.price(t), instrument.amount(q)) for t, q in book.asks],
        }

    def _read_book(self, channel: _Channel) -> Book:
        instrument = self._instruments.by_number[channel.instrument]
        book = self._books.read(instrument.number, instrument.base_tick, MAX_DEPTH)
        channel.bids, channel.asks = dict(book.bids), dict(book.asks)
        channel.change_id = self._change_id
        return book

    def _flush_book(self, channel: _Channel) -> None:
        if channel.instrument in self._dirty:
            before = channel.bids, channel.asks
            previous = channel.change_id
            self._read_book(channel)
            changes = [
                _changes(*pair) for pair in zip(before, (channel.bids, channel.asks), strict=True)
            ]
            if any(changes):
                self._publish_change(channel, changes, previous)
            else:
                channel.change_id = previous
        for subscriber in [each for each in channel.behind if not each.is_lagging]:
            channel.behind.discard(subscriber)
            subscriber.deliver(self._book_snapshot(channel))

    def _publish_change(
        self, channel: _Channel, changes: list[list[tuple[str, int, int]]], previous: int
    ) -> None:
        instrument = self._instruments.by_number[channel.instrument]
        bids, asks = (
            [(action, instrument.price(t), instrument.amount(q)) for action, t, q in side]
            for side in changes
        )
        notification = _notification(
            channel.name,
            {
                "type": "change",
                "timestamp": self._clock_ms(),
                "instrument_name": instrument.name,
                "change_id": channel.change_id,
                "prev_change_id": previous,
                "bids": bids,
                "asks": asks,
            },
        )
        for subscriber in list(channel.subscribers):
            if subscriber in channel.behind:
                continue
            if subscriber.is_lagging:
                channel.behind.add(subscriber)
            else:
                subscriber.deliver(notification)

    def _book_snapshot(self, channel: _Channel) -> bytes:
        instrument = self._instruments.by_number[channel.instrument]
        return _notification(
            channel.name,
            {
                "type": "snapshot",
                "timestamp": self._clock_ms(),
                "instrument_name": instrument.name,
                "change_id": channel.change_id,
                "bids": _levels(instrument, channel.bids),
                "asks": _levels(instrument, channel.asks),
            },
        )


_ORDER_STATES: Final = {
    layout.EVENT_ORDER_RESTED: "open",
    layout.EVENT_ORDER_REMOVED: "cancelled",
    layout.EVENT_FILL_TAKER: "filled",
    layout.EVENT_FILL_MAKER: "filled",
    layout.EVENT_OUTCOME: "rejected",
}
_REJECTION_NUMBERS: Final = frozenset(int(rejection) for rejection in Rejection)


def _canonical(name: str) -> str:
    """Account channels are one whatever interval their name ends in."""
    parts = name.split(".")
    return ".".join(parts[:3]) if parts[0] == "user" else name


def _unknown(name: str) -> Exception:
    return invalid_params(f"There is no channel {name[:80]!r}.")


def _levels(instrument: Instrument, side: dict[int, int]) -> list[tuple[str, Decimal, Decimal]]:
    return [("new", instrument.price(t), instrument.amount(q)) for t, q in side.items()]


def _changes(before: dict[int, int], after: dict[int, int]) -> list[tuple[str, int, int]]:
    """(action, ticks, lots) that turn one side into another."""
    found = [("delete", tick, 0) for tick in before if tick not in after]
    for tick, lots in after.items():
        known = before.get(tick)
        if known is None:
            found.append(("new", tick, lots))
        elif known != lots:
            found.append(("change", tick, lots))
    return found


def _notification(channel: str, data: Any) -> bytes:
    return ENCODER.encode(
        {
            "jsonrpc": "2.0",
            "method": "subscription",
            "params": {"channel": channel, "data": data},
        }
    )


def describe_trade(trade: dict[str, Any]) -> dict[str, Any]:
    """A trade as everybody sees it."""
    instrument: Instrument = trade["instrument"]
    return {
        "trade_id": str(trade["id"]),
        "trade_seq": trade["id"],
        "timestamp": trade["time_ms"],
        "instrument_name": instrument.name,
        "direction": _SIDES[trade["side"]],
        "price": instrument.price(trade["price"]),
        "amount": instrument.amount(trade["lots"]),
        "contracts": trade["lots"],
    }


def describe_own_trade(
    trade: dict[str, Any], party: tuple[int, int, int], role: str
) -> dict[str, Any]:
    """A trade as one of its two sides sees it; liquidity T took, M made."""
    described = describe_trade(trade)
    if role == "M":
        described["direction"] = _SIDES[1 - trade["side"]]
    account, slot, label = party
    return {
        **described,
        "account": account,
        "order_id": f"{account}-{slot}",
        "label": label,
        "liquidity": role,
    }


def trade_of_row(row: Any, instruments: InstrumentTable) -> dict[str, Any]:
    """The same from a row of the history's trade table."""
    return {
        "id": row[0],
        "time_ms": row[1],
        "instrument": instruments.by_number[row[2]],
        "side": row[3],
        "price": row[4],
        "lots": row[5],
        "taker": (row[6], row[7], row[8]),
        "maker": (row[9], row[10], row[11]),
    }
