"""History in SQLite: trades, orders and messages, written by a process of its own.

The sequencer's loop only packs bytes and queues them; when the queue fills up the gateway refuses
new messages until the writer has caught up, so nothing is ever left out.  Rows are keyed by their
place in the chain, so replaying a journal writes nothing twice, and the file says up to which
block it is complete, so that a restart replays what a crash kept from it.
"""

import contextlib
import multiprocessing
import os
import pathlib
import queue
import signal
import sqlite3
import struct
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np

from entresol.kernel import layout
from entresol.sequencing.receipts import Receipt
from entresol.sequencing.sequencer import Committed

HISTORY_FILE: Final = "history.db"
FULL_PACKETS: Final = 4096
"""Packets in the queue from which on new messages are refused."""

_MARK: Final = b"seal"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS trade (
    id INTEGER PRIMARY KEY, time_ms INTEGER, instrument INTEGER, side INTEGER, price INTEGER,
    lots INTEGER, taker INTEGER, taker_slot INTEGER, taker_label INTEGER,
    maker INTEGER, maker_slot INTEGER, maker_label INTEGER
);
CREATE INDEX IF NOT EXISTS trade_by_instrument ON trade (instrument, id);
CREATE INDEX IF NOT EXISTS trade_by_taker ON trade (taker, id);
CREATE INDEX IF NOT EXISTS trade_by_maker ON trade (maker, id);
CREATE TABLE IF NOT EXISTS order_event (
    id INTEGER PRIMARY KEY, time_ms INTEGER, kind INTEGER, account INTEGER, slot INTEGER,
    instrument INTEGER, side INTEGER, price INTEGER, lots INTEGER, label INTEGER, status INTEGER
);
CREATE INDEX IF NOT EXISTS order_event_by_account ON order_event (account, id);
CREATE TABLE IF NOT EXISTS block (
    number INTEGER PRIMARY KEY, inbox_position INTEGER, inbox_hash BLOB, previous_hash BLOB
);
CREATE TABLE IF NOT EXISTS complete (one INTEGER PRIMARY KEY, next_block INTEGER);
CREATE TABLE IF NOT EXISTS message (
    lane INTEGER, sequence INTEGER, block INTEGER, place INTEGER, tip BLOB,
    PRIMARY KEY (lane, sequence, block)
) WITHOUT ROWID;
"""

_MESSAGE: Final = struct.Struct("<IQI32s")
_PACKET: Final = struct.Struct("<QQIIQ32s32s")
_ID_BITS: Final = 24
"""A row's id is block << 24 | its place among the block's events of that kind."""


def event_id(block: int, place: int) -> int:
    """Id of the trade or order event at `place` of a block."""
    return block << _ID_BITS | place


class Places:
    """Counts trades and order events within a block, the same live and in replay."""

    def __init__(self) -> None:
        self._block = -1
        self._trades = 0
        self._orders = 0

    def advance(self, block: int, trades: int, orders: int) -> tuple[int, int]:
        """First free place of each kind, before these are counted."""
        if block != self._block:
            self._block, self._trades, self._orders = block, 0, 0
        first = self._trades, self._orders
        self._trades += trades
        self._orders += orders
        return first


def order_mask(events: Any) -> Any:
    """Which events the order history keeps: rested, removed, and placements rejected."""
    kind = events["kind"]
    rejected = (
        (kind == layout.EVENT_OUTCOME) & (events["status"] != 0) & (events["side"] == layout.PLACE)
    )
    rested = kind == layout.EVENT_ORDER_RESTED
    return rested | (kind == layout.EVENT_ORDER_REMOVED) | rejected


def pack(committed: Committed, first: tuple[int, int]) -> bytes:
    """One packet for the writer's pipe."""
    receipts = committed.receipts
    head = receipts[0] if receipts else None
    messages = b"".join(
        _MESSAGE.pack(receipt.lane, receipt.sequence, receipt.index, receipt.tip)
        for receipt in receipts
        if receipt.lane
    )
    start = _PACKET.pack(
        committed.block,
        committed.time_ms,
        *first,
        head.inbox_position if head else 0,
        head.inbox_hash if head else bytes(32),
        head.previous_header_hash if head else bytes(32),
    )
    return start + len(messages).to_bytes(4, "little") + messages + committed.events.tobytes()


class _Tables:
    """The writer's side: packets to rows."""

    def __init__(self, path: pathlib.Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)

    def write(self, packets: list[bytes]) -> None:
        """All packets in one transaction."""
        with self._connection:
            for packet in packets:
                self._write(packet)

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            marks = ",".join("?" * len(rows[0]))
            self._connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)

    def _write(self, packet: bytes) -> None:
        if packet.startswith(_MARK) and len(packet) == len(_MARK) + 8:
            next_block = int.from_bytes(packet[len(_MARK) :], "little")
            self._connection.execute(
                "INSERT INTO complete VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET "
                "next_block = max(next_block, excluded.next_block)",
                (next_block,),
            )
            return
        block, time_ms, trades, orders, position, inbox_hash, previous = _PACKET.unpack_from(packet)
        start = _PACKET.size + 4
        length = int.from_bytes(packet[_PACKET.size : start], "little")
        messages = _MESSAGE.iter_unpack(packet[start : start + length])
        events = np.frombuffer(packet, layout.EVENT, offset=start + length)
        rows = [(lane, sequence, block, at, tip) for lane, sequence, at, tip in messages]
        if rows:
            self._insert("block", [(block, position, inbox_hash, previous)])
            self._insert("message", rows)
        self._insert("trade", _trade_rows(events, block, time_ms, trades))
        self._insert("order_event", _order_rows(events, block, time_ms, orders))

    def close(self) -> None:
        self._connection.close()


def _trade_rows(events: Any, block: int, time_ms: int, first: int) -> list[tuple[Any, ...]]:
    takers = events[events["kind"] == layout.EVENT_FILL_TAKER]
    makers = events[events["kind"] == layout.EVENT_FILL_MAKER]
    names = ("instrument", "side", "price", "quantity", "account", "slot", "label")
    columns = [takers[name].tolist() for name in names]
    columns += [makers[name].tolist() for name in ("account", "slot", "label")]
    return [
        (event_id(block, first + n), time_ms, *row)
        for n, row in enumerate(zip(*columns, strict=False))
    ]


def _order_rows(events: Any, block: int, time_ms: int, first: int) -> list[tuple[Any, ...]]:
    chosen = events[order_mask(events)]
    names = ("kind", "account", "slot", "instrument", "side", "price", "quantity", "label")
    columns = [chosen[name].tolist() for name in (*names, "status")]
    return [
        (event_id(block, first + n), time_ms, *row)
        for n, row in enumerate(zip(*columns, strict=True))
    ]


def _run(connection: Connection, path: pathlib.Path) -> None:
    """Body of the writing process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    tables = _Tables(path)
    connection.send_bytes(b"")
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            packets = [connection.recv_bytes()]
            while len(packets) < 256 and connection.poll():
                packets.append(connection.recv_bytes())
            tables.write([packet for packet in packets if packet])
            if not packets[-1]:
                connection.send_bytes(b"")
    tables.close()


class History:
    """Queues packets for the writing process, and reads what it wrote."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._path = directory / HISTORY_FILE
        directory.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, self._path), name="history", daemon=True
        )
        self._process.start()
        theirs.close()
        if not self._connection.poll(60):
            raise RuntimeError("The history process did not start within 60 seconds.")
        self._connection.recv_bytes()
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="history", daemon=True)
        self._thread.start()
        self._places = Places()
        self._closing = False
        self.failed = False
        """True once the writing process has gone before it was told to."""

    @property
    def waiting(self) -> int:
        """Packets that are not handed to the writing process yet."""
        return self._queue.qsize()

    @property
    def is_full(self) -> bool:
        """Whether new messages should be refused until the writer has caught up."""
        return self._queue.qsize() >= FULL_PACKETS

    @property
    def complete_block(self) -> int:
        """Every block below this is in the file."""
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            row = connection.execute("SELECT next_block FROM complete").fetchone()
        return int(row[0]) if row else 0

    def note(self, committed: Committed) -> None:
        """Take one turn's events and receipts; never waits."""
        packet = self._pack(committed)
        if packet:
            self._queue.put(packet)

    def note_waiting(self, committed: Committed) -> None:
        """The same while the journal is replayed: waits while the queue is full."""
        while self.is_full and not self.failed:
            time.sleep(0.01)
        self.note(committed)

    def note_sealed(self, next_block: int) -> None:
        """Everything about blocks below `next_block` has been noted."""
        self._queue.put(_MARK + next_block.to_bytes(8, "little"))

    def _pack(self, committed: Committed) -> bytes:
        kind = committed.events["kind"]
        trades = int(np.count_nonzero(kind == layout.EVENT_FILL_TAKER))
        orders = int(np.count_nonzero(order_mask(committed.events)))
        first = self._places.advance(committed.block, trades, orders)
        if not trades and not orders and not committed.receipts:
            return b""
        return pack(committed, first)

    def _send(self) -> None:
        try:
            while True:
                packet = self._queue.get()
                self._connection.send_bytes(packet)
                if not packet:
                    return
        except OSError:
            self.failed = not self._closing

    def close(self) -> None:
        """Write everything that is queued, then end the process."""
        self._closing = True
        self._queue.put(b"")
        self._thread.join(60)
        with contextlib.suppress(EOFError, OSError):
            if self._connection.poll(60):
                self._connection.recv_bytes()
        self._connection.close()
        self._process.join(30)


class HistoryReader:
    """Queries; every thread has its own connection, none of them writes."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._path = directory / HISTORY_FILE
        self._local = threading.local()

    def _query(self, text: str, values: tuple[Any, ...]) -> list[Any]:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)
            self._local.connection = connection
        return connection.execute(text, values).fetchall()

    def trades(self, instrument: int, count: int, before: int) -> list[Any]:
        """Trades of an instrument with ids below `before`, newest first."""
        return self._query(
            "SELECT * FROM trade WHERE instrument = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (instrument, before, count),
        )

    def account_trades(self, account: int, count: int, before: int) -> list[Any]:
        """Trades in which an account was taker or maker, newest first."""
        half = "SELECT * FROM trade WHERE {} = ? AND id < ? ORDER BY id DESC LIMIT ?"
        return self._query(
            f"SELECT * FROM ({half.format('taker')}) UNION SELECT * FROM ({half.format('maker')}) "
            "ORDER BY id DESC LIMIT ?",
            (account, before, count, account, before, count, count),
        )

    def account_orders(self, account: int, count: int, before: int) -> list[Any]:
        """Order events of an account, newest first."""
        return self._query(
            "SELECT * FROM order_event WHERE account = ? AND id < ? ORDER BY id DESC LIMIT ?",
            (account, before, count),
        )

    def receipt(self, lane: int, sequence: int) -> Receipt | None:
        """What was promised for a lane's message; of its newest registration."""
        rows = self._query(
            "SELECT b.inbox_position, b.inbox_hash, m.block, m.place, m.lane, m.sequence, m.tip, "
            "b.previous_hash FROM message m JOIN block b ON b.number = m.block "
            "WHERE m.lane = ? AND m.sequence = ? ORDER BY m.block DESC LIMIT 1",
            (lane, sequence),
        )
        return Receipt(*rows[0]) if rows else None
