"""Built batches on disk: their bytes, their claims' contents and how they were measured."""

import json
import pathlib
import sqlite3
import threading
from dataclasses import dataclass
from typing import Any, Final

from entresol.sequencing.withdrawals import FoundWithdrawal

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS batch (
    number INTEGER PRIMARY KEY, first_block INTEGER, next_block INTEGER, frame INTEGER,
    data BLOB, inbox_first INTEGER, inbox_position INTEGER, inbox_hash BLOB,
    first_time_ms INTEGER, last_time_ms INTEGER, operations INTEGER, messages INTEGER,
    lanes INTEGER, raw_bytes INTEGER, durable_before BLOB, volatile_before BLOB,
    durable_after BLOB, volatile_after BLOB, exit_code INTEGER, journal BLOB,
    withdrawals INTEGER, instructions INTEGER, dirty_leaves INTEGER, system_calls TEXT
);
CREATE TABLE IF NOT EXISTS withdrawal (
    leaf_index INTEGER PRIMARY KEY, account INTEGER, recipient BLOB, amount TEXT
);
CREATE INDEX IF NOT EXISTS batch_by_withdrawals ON batch (withdrawals);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltBatch:
    """One batch: what is posted, what is claimed, what it cost; roots are 32 bytes."""

    number: int
    first_block: int
    next_block: int
    frame: int
    """Journal frame that closed the last block."""
    data: bytes
    inbox_first: int
    inbox_position: int
    inbox_hash: bytes
    first_time_ms: int
    last_time_ms: int
    operations: int
    messages: int
    lanes: int
    raw_bytes: int
    """Length of the plain messages."""
    durable_before: bytes
    volatile_before: bytes
    durable_after: bytes
    volatile_after: bytes
    exit_code: int
    journal: bytes
    withdrawals: int
    """Withdrawals ever appended, after this batch."""
    instructions: int
    dirty_leaves: int
    system_calls: dict[str, int]


_FIELDS: Final = tuple(BuiltBatch.__dataclass_fields__)


class BatchStore:
    """SQLite file of built batches; every thread and process opens its own connection."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, timeout=30)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute("PRAGMA synchronous=FULL")
            self._local.connection = found
        return found

    def append(self, batch: BuiltBatch, withdrawals: list[FoundWithdrawal]) -> None:
        """Keep a batch and the withdrawals it appended, in one transaction."""
        values: list[Any] = [getattr(batch, name) for name in _FIELDS]
        values[_FIELDS.index("system_calls")] = json.dumps(batch.system_calls)
        marks = ",".join("?" * len(_FIELDS))
        with self._connection() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO withdrawal VALUES (?, ?, ?, ?)",
                [
                    (each.index, each.account, each.recipient, str(each.amount))
                    for each in withdrawals
                ],
            )
            connection.execute(f"INSERT INTO batch ({','.join(_FIELDS)}) VALUES ({marks})", values)

    def count(self) -> int:
        """Batches built so far; the next one has this number."""
        row = self._connection().execute("SELECT COUNT(*) FROM batch").fetchone()
        return int(row[0])

    def batch(self, number: int) -> BuiltBatch | None:
        """Batch `number`, None while it is not built."""
        return next(iter(self._select("WHERE number = ?", (number,))), None)

    def newest(self, count: int, before: int | None = None) -> list[BuiltBatch]:
        """Up to `count` batches below `before`, newest first."""
        limit = 1 << 62 if before is None else before
        return self._select("WHERE number < ? ORDER BY number DESC LIMIT ?", (limit, count))

    def withdrawals(self, count: int) -> list[FoundWithdrawal]:
        """The first `count` withdrawals, in order."""
        rows = self._connection().execute(
            "SELECT * FROM withdrawal WHERE leaf_index < ? ORDER BY leaf_index", (count,)
        )
        return [FoundWithdrawal(index, who, to, int(amount)) for index, who, to, amount in rows]

    def _select(self, clause: str, values: tuple[int, ...]) -> list[BuiltBatch]:
        rows = self._connection().execute(f"SELECT {','.join(_FIELDS)} FROM batch {clause}", values)
        found = []
        for row in rows:
            fields = dict(zip(_FIELDS, row, strict=True))
            fields["system_calls"] = json.loads(fields["system_calls"])
            found.append(BuiltBatch(**fields))
        return found

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
