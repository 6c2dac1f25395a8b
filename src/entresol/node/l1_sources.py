"""What the node's built batches are to the batcher and the proposer: adapters over the store.

A batch is built, and its claim worked out, before L1 has a data record for it.  Three fields of
PARAMS are fixed by that record only: `record_index`, `l1_time` and how many inbox items are
available.  None of them enters the state or the journal: the kernel asks only whether a block is
too far ahead of `l1_time` and whether enough items are at hand (`_apply_next_block`,
`check_inbox`), and the contract refuses a record for which one of the two would fail.  So the run
with the builder's values and the run with the record's end alike, and the claim may use the first.
`StoredRuns` checks those conditions again and does not vouch for a record that fails them.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from entresol.crypto.kzg import BLOB_BYTES, blob_to_commitment
from entresol.da.archive import BlobArchive
from entresol.da.blobs import ProvenBlob, pack
from entresol.kernel.transition import MAX_AHEAD_OF_L1_MS
from entresol.sequencing.batch_store import BatchStore, BuiltBatch
from entresol.settlement.batcher import SealedBatch
from entresol.settlement.proposer import DisagreementError, RunResult
from entresol.settlement.records import CALLDATA, DataRecord, chunk_root
from entresol.settlement.transaction import Sidecar

ProveBlobs = Callable[[Sequence[bytes]], list[ProvenBlob]]
"""Commits to blobs and proves their cells, in order: da/blobs.py's, in worker processes."""

Value = TypeVar("Value")

_KEPT_ENTRIES: Final = 4096
"""Of each memory below; the oldest is forgotten and worked out again when it is asked for."""


def _remember(memory: dict[bytes, Value], key: bytes, value: Value) -> None:
    memory[key] = value
    if len(memory) > _KEPT_ENTRIES:
        del memory[next(iter(memory))]


class BlobProver:
    """Makes sidecars, and remembers under which hash L1 names a blob; for several threads.

    With an `archive`, every proven blob is kept there for whoever needs it past L1's 18 days.
    """

    def __init__(self, prove: ProveBlobs, archive: BlobArchive | None = None) -> None:
        if archive is not None:
            # The archive commits to blobs in this process, and the first commitment loads the
            # ceremony's setup for over a second with the interpreter held: now, not while serving.
            blob_to_commitment(bytes(BLOB_BYTES))
        self._prove = prove
        self._archive = archive
        self._lock = threading.Lock()
        self._hashes: dict[bytes, bytes] = {}

    def prove(self, blobs: Sequence[bytes]) -> Sidecar:
        """Commitments and cell proofs of `blobs`."""
        proven = self._prove(blobs)
        if self._archive is not None:
            for each in proven:
                self._archive.add(each.blob)
        with self._lock:
            for each in proven:
                _remember(self._hashes, _digest(each.blob), each.versioned_hash)
        return Sidecar(
            blobs=tuple(each.blob for each in proven),
            commitments=tuple(each.commitment for each in proven),
            cell_proofs=tuple(proof for each in proven for proof in each.cell_proofs),
        )

    def versioned_hashes(self, data: bytes) -> tuple[bytes, ...]:
        """The hashes of the blobs that carry `data`, proven now if they never were."""
        blobs = pack(data)
        with self._lock:
            known = [self._hashes.get(_digest(blob)) for blob in blobs]
        found = tuple(each for each in known if each is not None)
        return found if len(found) == len(blobs) else self.prove(blobs).versioned_hashes


def _digest(blob: bytes) -> bytes:
    return hashlib.blake2b(blob, digest_size=32).digest()


class StoredBatches:
    """The store of built batches as the batcher's source."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store

    def batch(self, index: int) -> SealedBatch | None:
        """The batch for data record `index`, None while it is not built."""
        built = self._store.batch(index)
        if built is None:
            return None
        return SealedBatch(
            index=built.number,
            data=built.data,
            inbox_position=built.inbox_position,
            inbox_hash=built.inbox_hash,
            last_time_ms=built.last_time_ms,
        )


class StoredRuns:
    """The store of built batches as the proposer's source."""

    def __init__(self, store: BatchStore, prover: BlobProver) -> None:
        self._store = store
        self._prover = prover
        self._results: dict[bytes, RunResult] = {}

    def result(self, record: DataRecord) -> RunResult | None:
        """What running `record` gives; None while its batch is not built.

        Raises DisagreementError when the record is not the batch that this node built.
        """
        known = self._results.get(record.digest)
        if known is not None:
            return known
        built = self._store.batch(record.index)
        if built is None:
            return None
        difference = self._difference(record, built)
        if difference:
            raise DisagreementError(
                f"data record {record.index} on L1, posted by 0x{record.poster.hex()}, "
                f"{difference}: derive the state from L1 and start again from there"
            )
        result = RunResult(
            durable_before=built.durable_before,
            volatile_before=built.volatile_before,
            durable_after=built.durable_after,
            volatile_after=built.volatile_after,
            exit_code=built.exit_code,
            journal=built.journal if built.exit_code == 0 else b"",
        )
        _remember(self._results, record.digest, result)
        return result

    def _difference(self, record: DataRecord, built: BuiltBatch) -> str:
        """Why the record does not run as the batch was run; empty when it does."""
        if record.data_kind != 0 or record.data_bytes != len(built.data):
            return "does not have the length and kind of this node's batch"
        if record.inbox_position < built.inbox_position:
            return (
                f"makes {record.inbox_position} inbox items available, but this node's batch "
                f"consumed {built.inbox_position}"
            )
        if built.last_time_ms > record.l1_time * 1000 + MAX_AHEAD_OF_L1_MS:
            return f"has the L1 time {record.l1_time}, which is before this node's last block"
        if record.source == CALLDATA:
            same = record.chunk_root == chunk_root(built.data)
        else:
            same = record.blob_hashes == self._prover.versioned_hashes(built.data)
        return "" if same else "has other bytes than this node's batch"
