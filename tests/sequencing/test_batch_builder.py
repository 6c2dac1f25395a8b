"""Batches are built from the journal alone, agree three ways, and survive restarts."""

import asyncio
import itertools
import pathlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
import venue
from test_sequencer import DOMAIN, gateway

from entresol.client.signer import sign_owner_operation
from entresol.crypto.merkle import merkle_root
from entresol.kernel import layout
from entresol.kernel.genesis import build_genesis
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import Memory, difference
from entresol.rollup.claim import decode_journal
from entresol.rollup.inbox import InboxItem
from entresol.rollup.message import OwnerOperation
from entresol.rollup.withdrawal import Withdrawal
from entresol.sequencing import snapshots
from entresol.sequencing.batch_builder import BatchBuilder, BatchBuilderError, BuilderSettings
from entresol.sequencing.batch_store import BatchStore
from entresol.sequencing.recovery import SNAPSHOT_FOLDER, recover
from entresol.sequencing.signatures import SignaturePool

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = BuilderSettings(maximum_bytes=700_000, bytes_per_blob=126_976, batches_per_snapshot=2)


def builder(
    directory: pathlib.Path, store: str = "batches.db", settings: BuilderSettings = SETTINGS
) -> BatchBuilder:
    return BatchBuilder(
        directory,
        DOMAIN,
        load_kernel_image(),
        lambda memory: build_genesis(memory.base, venue.GENESIS),
        BatchStore(directory / store),
        settings,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[SignaturePool]:
    pool = SignaturePool(workers=1, limit=2000)
    await pool.start()
    yield pool
    await pool.close()


async def _trade(directory: pathlib.Path, pool: SignaturePool) -> int:
    """Trade, withdraw, revoke and register a lane again; returns the last journal frame."""
    members = venue.traders(3)
    async with gateway(directory, pool, blocks=4, block_interval_ms=10) as node:
        await node.open_venue(members)
        for _ in range(8):
            messages = [trader.message(12) for trader in members]
            await asyncio.gather(*(node.send(m.data, m.signature) for m in messages))
            await asyncio.sleep(0.012)
        trader = members[0]
        for nonce, operation in enumerate(
            (
                OwnerOperation(kind=layout.WITHDRAW, address=b"\x77" * 20, amount=12_345_678),
                OwnerOperation(kind=layout.REVOKE_LANE, lane=trader.lane),
            ),
            2,
        ):
            signed = sign_owner_operation(
                trader.owner,
                DOMAIN,
                operation,
                account=trader.account,
                sequence=nonce,
                valid_until_ms=venue.now_ms() + venue.FAR,
            )
            accepted = await node.accept(signed.data, b"")
            assert accepted.statuses == [0]
        again = venue.register(
            trader.owner, trader.account, trader.session, layout.PERMISSION_TRADE, nonce=4
        )
        await node.accept(again, b"")
        header = node.recovered.execution.header
        record = node.memory.view(layout.DURABLE_BASE, layout.DURABLE)["lane"][trader.lane]
        trader.signer.tip, trader.signer.sequence = record["tip"].tobytes(), 0
        signed = trader.message(3)
        await node.accept(signed.data, signed.signature)
        forced = InboxItem(
            kind=layout.INBOX_WITHDRAW,
            sender=members[1].owner.address,
            recipient=b"\x88" * 20,
            amount=5_000_000,
            position=3,
        )
        small = InboxItem(
            kind=layout.INBOX_DEPOSIT,
            sender=b"\x99" * 20,
            recipient=b"\x99" * 20,
            amount=5,
            position=4,
        )
        node.sequencer.offer_inbox([forced.encode(), small.encode()])
        while int(header["inbox_position"]) < 5:
            await asyncio.sleep(0.002)
        node.sequencer.seal_now()
        while node.sequencer._sealing:
            await asyncio.sleep(0.002)
    return node.recovered.journal.last_number


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traded(
    tmp_path_factory: pytest.TempPathFactory, pool: SignaturePool
) -> tuple[pathlib.Path, int]:
    directory = tmp_path_factory.mktemp("traded")
    return directory, await _trade(directory, pool)


def copy(traded: tuple[pathlib.Path, int], directory: pathlib.Path) -> int:
    """A data folder of the test's own with the same journal; returns its last frame."""
    shutil.copytree(traded[0], directory, dirs_exist_ok=True)
    return traded[1]


async def test_batches_agree_three_ways_and_restart_where_they_were(
    tmp_path: pathlib.Path, traded: tuple[pathlib.Path, int]
) -> None:
    last = copy(traded, tmp_path)
    first = builder(tmp_path)
    built = first.advance(last)
    assert len(built) >= 2 and all(batch.exit_code == 0 for batch in built)
    assert built[0].first_block == 1
    for earlier, later in itertools.pairwise(built):
        assert later.first_block == earlier.next_block
        assert later.number == earlier.number + 1
        assert later.durable_before == earlier.durable_after
        assert later.volatile_before == earlier.volatile_after
        assert later.inbox_first == earlier.inbox_position
    live = venue.genesis_memory()
    recovered = recover(tmp_path, live, DOMAIN)
    recovered.journal.close()
    assert built[-1].next_block == recovered.execution.next_block
    assert difference(live, first._machine, ["STATE"]) == []
    header = recovered.execution.header
    journal = decode_journal(built[-1].journal)
    assert journal.last_header_hash == header["last_header_hash"].tobytes()
    assert sum(batch.operations for batch in built) == int(header["operation_count"])

    withdrawals = BatchStore(tmp_path / "batches.db").withdrawals(100)
    assert [(w.recipient[0], w.amount) for w in withdrawals] == [
        (0x77, 12_345_678),
        (0x88, 5_000_000),
        (0x99, 5),
    ]
    leaves = [
        Withdrawal(
            index=w.index, token=venue.GENESIS.token, recipient=w.recipient, amount=w.amount
        ).leaf(DOMAIN)
        for w in withdrawals
    ]
    assert merkle_root(leaves, layout.WITHDRAWAL_DEPTH) == journal.withdrawals_root

    again = builder(tmp_path)
    assert again.advance(last) == []
    assert again.roots == (built[-1].durable_after, built[-1].volatile_after)
    fresh = builder(tmp_path, "other.db", SETTINGS)
    assert snapshots.list_snapshots(tmp_path / SNAPSHOT_FOLDER)
    del fresh


async def test_a_range_too_large_for_a_record_becomes_several(
    tmp_path: pathlib.Path, pool: SignaturePool
) -> None:
    """One sealed range of many blocks, the opening one a small part of it however they fall."""
    members = venue.traders(3)
    async with gateway(tmp_path, pool, blocks=10_000, block_interval_ms=5) as node:
        await node.open_venue(members)
        for turn in range(80):
            signed = members[turn % 3].message(15)
            await node.accept(signed.data, signed.signature)
            await asyncio.sleep(0.006)
        node.sequencer.seal_now()
        while node.sequencer._sealing:
            await asyncio.sleep(0.002)
    last = node.recovered.journal.last_number
    whole = builder(tmp_path, "whole.db", replace(SETTINGS, batches_per_snapshot=1000))
    large = whole.advance(last)
    limit = max(len(batch.data) for batch in large) * 2 // 3
    small = builder(
        tmp_path, "small.db", replace(SETTINGS, maximum_bytes=limit, batches_per_snapshot=1000)
    ).advance(last)
    assert len(small) > len(large)
    assert all(len(batch.data) <= limit for batch in small)
    assert small[-1].durable_after == large[-1].durable_after
    assert small[-1].volatile_after == large[-1].volatile_after


@pytest.mark.parametrize(("cap", "value"), [("_MAXIMUM_RECORDS", 8), ("_MAXIMUM_INBOX_ITEMS", 1)])
async def test_a_range_beyond_the_kernels_caps_becomes_several(
    tmp_path: pathlib.Path,
    traded: tuple[pathlib.Path, int],
    monkeypatch: pytest.MonkeyPatch,
    cap: str,
    value: int,
) -> None:
    """As one batch it would run to TOO_LARGE or INBOX and nothing could be posted any more."""
    last = copy(traded, tmp_path)
    settings = replace(SETTINGS, batches_per_snapshot=1000)
    whole = builder(tmp_path, "whole.db", settings).advance(last)
    monkeypatch.setattr(f"entresol.sequencing.batch_builder.{cap}", value)
    small = builder(tmp_path, "small.db", settings).advance(last)
    assert len(small) > len(whole)
    assert small[-1].durable_after == whole[-1].durable_after
    assert small[-1].volatile_after == whole[-1].volatile_after


async def test_a_state_that_differs_from_the_sequencers_is_noticed(
    tmp_path: pathlib.Path, traded: tuple[pathlib.Path, int]
) -> None:
    last = copy(traded, tmp_path)
    wrong = builder(tmp_path, "wrong.db")
    header = wrong._machine.view(layout.DURABLE_BASE, layout.DURABLE)["header"]
    header["outcome_digest"] += 1
    with pytest.raises(BatchBuilderError, match="other outcomes"):
        wrong.advance(last)
    assert BatchStore(tmp_path / "wrong.db").count() == 0


async def test_snapshots_load_whole_or_not_at_all(
    tmp_path: pathlib.Path, traded: tuple[pathlib.Path, int]
) -> None:
    last = copy(traded, tmp_path)
    builder(tmp_path).advance(last)
    folder = tmp_path / SNAPSHOT_FOLDER
    kept = snapshots.list_snapshots(folder)
    assert 1 <= len(kept) <= snapshots.KEPT_SNAPSHOTS
    whole = Memory()
    head = snapshots.load_latest(folder, whole, DOMAIN)
    assert head is not None and head.frame == kept[-1][0]
    replayed = venue.genesis_memory()
    for _, path in kept:
        path.rename(path.with_suffix(".away"))
    recover(tmp_path, replayed, DOMAIN).journal.close()
    for _, path in kept:
        path.with_suffix(".away").rename(path)
    loaded = venue.genesis_memory()
    recover(tmp_path, loaded, DOMAIN).journal.close()
    assert difference(loaded, replayed, ["STATE"]) == []
    path = kept[-1][1]
    data = bytearray(path.read_bytes())
    for position in (0, 50, len(data) // 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(snapshots.SnapshotError):
            snapshots.read_head(path)
    path.write_bytes(data[: len(data) // 2])
    after = venue.genesis_memory()
    recover(tmp_path, after, DOMAIN).journal.close()
    assert difference(after, replayed, ["STATE"]) == []
