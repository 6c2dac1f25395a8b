"""The store as the batcher's and the proposer's source, and why its runs may be claimed."""

import hashlib
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import venue

from entresol.da.blobs import ProvenBlob, pack, prove
from entresol.kernel import layout
from entresol.kernel.rejections import Invalid
from entresol.machine import execute
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import Memory, difference
from entresol.node.l1_sources import BlobProver, StoredBatches, StoredRuns
from entresol.rollup.batch_encoder import encode_batch
from entresol.rollup.block import Block, encode_block
from entresol.sequencing.batch_store import BatchStore, BuiltBatch
from entresol.settlement.proposer import DisagreementError
from entresol.settlement.records import BLOBS, CALLDATA, DataRecord, chunk_root
from entresol.settlement.transaction import build_sidecar

DATA = b"the bytes of a batch"

BUILT = BuiltBatch(
    number=0,
    first_block=1,
    next_block=3,
    frame=9,
    data=DATA,
    inbox_first=0,
    inbox_position=4,
    inbox_hash=b"\4" * 32,
    first_time_ms=999_000,
    last_time_ms=1_000_000,
    operations=5,
    messages=5,
    lanes=1,
    raw_bytes=320,
    durable_before=b"\1" * 32,
    volatile_before=b"\2" * 32,
    durable_after=b"\3" * 32,
    volatile_after=b"\5" * 32,
    exit_code=0,
    journal=bytes(512),
    withdrawals=0,
    instructions=1,
    dirty_leaves=1,
    system_calls={},
)

RECORD = DataRecord(
    index=0,
    source=CALLDATA,
    data_kind=0,
    data_bytes=len(DATA),
    blob_hashes=(),
    chunk_root=chunk_root(DATA),
    l1_block=10,
    l1_time=1_001,
    inbox_position=4,
    inbox_hash=b"\4" * 32,
    poster=b"\6" * 20,
)


class Prover:
    """da/blobs.py's prover, counting how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, blobs: Sequence[bytes]) -> list[ProvenBlob]:
        self.calls += 1
        return [prove(blob) for blob in blobs]


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[BatchStore]:
    store = BatchStore(tmp_path / "batches.db")
    yield store
    store.close()


@pytest.fixture
def runs(store: BatchStore) -> StoredRuns:
    store.append(BUILT, [])
    return StoredRuns(store, BlobProver(Prover()))


def test_a_batch_is_offered_once_it_is_built(store: BatchStore) -> None:
    source = StoredBatches(store)
    assert source.batch(0) is None
    store.append(BUILT, [])
    sealed = source.batch(0)
    assert sealed is not None
    assert (sealed.index, sealed.data, sealed.last_time_ms) == (0, DATA, 1_000_000)
    assert (sealed.inbox_position, sealed.inbox_hash) == (4, b"\4" * 32)
    assert source.batch(1) is None


def test_a_run_is_vouched_for(runs: StoredRuns) -> None:
    result = runs.result(RECORD)
    assert result is not None and runs.result(RECORD) is result
    assert (result.durable_before, result.volatile_before) == (b"\1" * 32, b"\2" * 32)
    assert (result.durable_after, result.volatile_after) == (b"\3" * 32, b"\5" * 32)
    assert (result.exit_code, result.journal) == (0, bytes(512))
    assert runs.result(replace(RECORD, index=1)) is None


def test_more_inbox_items_and_a_later_time_make_no_difference(runs: StoredRuns) -> None:
    later = replace(RECORD, inbox_position=9, inbox_hash=b"\7" * 32, l1_time=5_000)
    assert runs.result(later) == runs.result(RECORD)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data_bytes": len(DATA) + 1}, "length and kind"),
        ({"data_kind": 1}, "length and kind"),
        ({"inbox_position": 3}, "makes 3 inbox items available"),
        ({"l1_time": 987}, "before this node's last block"),
        ({"chunk_root": chunk_root(DATA[::-1])}, "other bytes"),
    ],
)
def test_a_record_that_runs_otherwise_is_not_vouched_for(
    runs: StoredRuns, changes: dict[str, object], text: str
) -> None:
    with pytest.raises(DisagreementError, match=text):
        runs.result(replace(RECORD, **changes))  # type: ignore[arg-type]


def test_a_failed_run_has_no_journal(store: BatchStore) -> None:
    store.append(replace(BUILT, exit_code=202), [])
    result = StoredRuns(store, BlobProver(Prover())).result(RECORD)
    assert result is not None and (result.exit_code, result.journal) == (202, b"")


def test_blobs_are_known_by_their_hashes_and_proven_once(store: BatchStore) -> None:
    store.append(BUILT, [])
    count = Prover()
    prover = BlobProver(count)
    sidecar = prover.prove(pack(DATA))
    assert sidecar == build_sidecar(pack(DATA))
    record = replace(
        RECORD, source=BLOBS, chunk_root=bytes(32), blob_hashes=sidecar.versioned_hashes
    )
    assert StoredRuns(store, prover).result(record) is not None
    assert count.calls == 1
    other = replace(record, blob_hashes=(hashlib.sha256(b"").digest(),))
    with pytest.raises(DisagreementError, match="other bytes"):
        StoredRuns(store, BlobProver(Prover())).result(other)


def _params(data: bytes, items: int, **changes: int) -> bytes:
    params = np.zeros((), layout.PARAMS)
    params["domain"] = np.frombuffer(venue.GENESIS.domain, "<u8")
    values = {
        "data_bytes": len(data),
        "l1_time": NOW // 1000,
        "inbox_count": items,
        "blob_count": 1,
    }
    for name, value in {**values, **changes}.items():
        params[name] = value
    return params.tobytes()


NOW = 1_800_000_000_000


def test_state_and_journal_depend_on_no_field_that_only_l1_fixes() -> None:
    """What l1_sources.py argues, run natively and in the machine with PARAMS of both kinds."""
    items = [venue.deposit(n, venue.key(f"owner {n}")) for n in range(4)]
    encoder = venue.genesis_memory()
    window = encoder.view(layout.PARAMS_BASE, layout.PARAMS)
    window["inbox_count"] = 2
    encoder.write(layout.INBOX_ITEMS_BASE, b"".join(items))
    blocks = [
        encode_block(Block(number=n + 1, time_ms=NOW + 100 * n, inbox_count=1)) for n in range(2)
    ]
    data = encode_batch(encoder, blocks, [])

    def run(count: int, **changes: int) -> tuple[int, bytes, Memory]:
        memory = venue.genesis_memory()
        given = b"".join(items[:count])
        params = _params(data, count, **changes)
        found = execute.compare(memory, load_kernel_image(), params, data, given)
        return found.exit_code, found.journal, memory

    code, journal, memory = run(2)
    assert code == 0 and any(journal)
    for count, changes in (
        (4, {}),
        (2, {"l1_time": NOW // 1000 + 86_400}),
        (2, {"l1_time": NOW // 1000 - 11}),
        (2, {"record_index": 77}),
        (2, {"blob_count": 0}),
        (3, {"l1_time": NOW // 1000 + 5, "record_index": 1, "blob_count": 6}),
    ):
        other_code, other_journal, other = run(count, **changes)
        assert (other_code, other_journal) == (0, journal), changes
        assert difference(memory, other, ["STATE"]) == []
    assert run(2, l1_time=NOW // 1000 - 13)[0] == Invalid.BLOCK_TIME
    assert run(1)[0] == Invalid.INBOX
