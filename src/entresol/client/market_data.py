"""Recorded exchange feeds: gzip lines of `nanoseconds JSON`, as Binance futures sends it.

Prices and quantities come as decimal strings and leave as integers in millionths, the unit of
tick sizes and contract sizes in the kernel.  Nothing here rounds: a value with a finer fraction
is an error.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

UNIT = 1_000_000
"""Prices and quantities are in millionths of the quote asset and of the underlying."""

Level = tuple[int, int]
"""(price, quantity resting there from now on), both in millionths; quantity 0 empties the level."""


class MarketDataError(Exception):
    """The recording cannot be read; the message names the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class DepthUpdate:
    """Changes of price levels, or with `snapshot` the levels of both sides near the best prices."""

    received_ns: int
    last_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class BookTicker:
    """Best prices and what rests there, in millionths."""

    received_ns: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution, in millionths; `buyer_is_maker` says that the taker sold."""

    received_ns: int
    trade_id: int
    price: int
    quantity: int
    buyer_is_maker: bool


Event = DepthUpdate | BookTicker | Trade


class _DepthWire(msgspec.Struct, tag="depthUpdate", tag_field="e"):
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _TickerWire(msgspec.Struct, tag="bookTicker", tag_field="e"):
    b: str
    B: str
    a: str
    A: str


class _TradeWire(msgspec.Struct, tag="trade", tag_field="e"):
    t: int
    p: str
    q: str
    m: bool


class _Envelope(msgspec.Struct):
    data: _DepthWire | _TickerWire | _TradeWire


class _SnapshotWire(msgspec.Struct):
    last_id: int = msgspec.field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_snapshot = msgspec.json.Decoder(_SnapshotWire).decode


def parse_millionths(text: str) -> int:
    """Read a non-negative decimal number as an integer in millionths; ValueError if inexact."""
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdecimal() or not (whole + fraction).isascii():
        raise ValueError(f"{text!r} is not a decimal number")
    if fraction[6:].strip("0"):
        raise ValueError(f"{text!r} has more than six digits after the point")
    return int(whole + fraction[:6].ljust(6, "0"))


def _levels(pairs: Iterable[tuple[str, str]]) -> tuple[Level, ...]:
    return tuple((parse_millionths(price), parse_millionths(quantity)) for price, quantity in pairs)


def parse_line(line: bytes) -> Event:
    """Decode one line of a recording; ValueError or msgspec.DecodeError say what is wrong."""
    stamp, separator, body = line.partition(b" ")
    if not separator or not stamp.isdigit():
        raise ValueError("it does not start with a time in nanoseconds and a space")
    received_ns = int(stamp)
    if body.startswith(b'{"lastUpdateId"'):
        snapshot = _decode_snapshot(body)
        bids, asks = _levels(snapshot.bids), _levels(snapshot.asks)
        return DepthUpdate(received_ns, snapshot.last_id, bids, asks, snapshot=True)
    wire = _decode_envelope(body).data
    if isinstance(wire, _DepthWire):
        return DepthUpdate(received_ns, wire.u, _levels(wire.b), _levels(wire.a))
    if isinstance(wire, _TickerWire):
        prices = parse_millionths(wire.b), parse_millionths(wire.B)
        return BookTicker(received_ns, *prices, parse_millionths(wire.a), parse_millionths(wire.A))
    price, quantity = parse_millionths(wire.p), parse_millionths(wire.q)
    return Trade(received_ns, wire.t, price, quantity, wire.m)


def read_events(path: Path) -> Iterator[Event]:
    """Yield every message of a recording in order.

    Raises MarketDataError at the first line that cannot be read, and for a file that is not gzip
    or is cut short.
    """
    number = 0
    try:
        with gzip.open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 (read by the handlers)
                yield parse_line(line.rstrip(b"\n"))
    except (ValueError, msgspec.DecodeError) as error:
        raise MarketDataError(f"line {number} of {path} cannot be read: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MarketDataError(
            f"{path} is not a whole gzip file ({error}, after line {number}); copy it again"
        ) from error
    except OSError as error:
        raise MarketDataError(f"{path} cannot be opened: {error.strerror}") from error
