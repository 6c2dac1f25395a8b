"""Deriving from L1 alone: what claims say is compared, what cannot be answered is an error."""

import json
import pathlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import venue
from l1_world import BATCHER, ETHER, PROPOSER, WINDOW_SECONDS, L1World

from entresol.da.archive import BlobArchive
from entresol.da.blobs import pack, unpack
from entresol.kernel import layout
from entresol.kernel.genesis import build_genesis
from entresol.kernel.rejections import Invalid
from entresol.machine.memory import Memory, difference
from entresol.node.derive import REPORT_FILE, DeriveError, DeriveResult, derive
from entresol.rollup.batch_encoder import encode_batch
from entresol.rollup.block import Block, encode_block
from entresol.sequencing import snapshots
from entresol.sequencing.recovery import SNAPSHOT_FOLDER, recover
from entresol.settlement.anvil import Anvil
from entresol.settlement.l1 import L1Client
from entresol.settlement.reader import BlobMissingError, L1Reader
from entresol.settlement.records import DataRecord, Outcome
from entresol.settlement.sender import Sender
from entresol.settlement.transaction import Call, build_sidecar
from entresol.settlement.view import L1View

pytestmark = pytest.mark.l1

GARBAGE = b"this is no batch"
RIVAL = venue.key("rival")


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil() as anvil:
        yield anvil


class Chain:
    """Posts records and claims by hand, as somebody who need not be honest."""

    def __init__(self, world: L1World) -> None:
        self.world = world
        self.memory = Memory()
        build_genesis(self.memory.base, world.genesis)
        world.node.rpc("anvil_setBalance", "0x" + RIVAL.address.hex(), hex(100 * ETHER))

    def transact(self, secret: bytes, function: str, *arguments: Any, **options: Any) -> None:
        rollup = self.world.deployment.contract("rollup")
        data = rollup.encode(function, *arguments)
        call = Call(to=rollup.address, data=data, gas_limit=2_000_000, **options)
        assert Sender(self.world.client, secret).send(call, function).succeeded

    def encode(self, items: list[bytes], blocks: int = 2) -> bytes:
        """A batch whose first block consumes `items`; nobody sends a message in it."""
        header = self.memory.view(layout.DURABLE_BASE, layout.HEADER)
        first = int(header["inbox_position"])
        params = self.memory.view(layout.PARAMS_BASE, layout.PARAMS)
        params["inbox_first"], params["inbox_count"] = first, len(items)
        self.memory.write(layout.INBOX_ITEMS_BASE, b"".join(items))
        number, now = int(header["next_block"]), venue.now_ms()
        plain = [
            encode_block(Block(number=number + n, time_ms=now, inbox_count=0 if n else len(items)))
            for n in range(blocks)
        ]
        return encode_batch(self.memory, plain, [])

    def post(self, data: bytes) -> DataRecord:
        index = len(self.world.view().records)
        self.transact(BATCHER.secret, "post_calldata", index, data, 0, bytes(32), 0)
        return self.world.view().records[index].record

    def post_blobs(self, data: bytes) -> DataRecord:
        index = len(self.world.view().records)
        arguments = (index, len(data), 0, bytes(32), 0)
        self.transact(BATCHER.secret, "post_blobs", *arguments, sidecar=build_sidecar(pack(data)))
        return self.world.view().records[index].record

    def claim(
        self,
        record: DataRecord,
        parent: bytes,
        before: Outcome,
        roots: tuple[bytes, bytes],
        exit_code: int,
        journal: bytes = b"",
        secret: bytes = PROPOSER.secret,
    ) -> tuple[bytes, Outcome]:
        arguments = (parent, before.to_abi(), record.to_abi(), *roots, exit_code, journal)
        bond = self.world.deployment.parameters.bond
        self.transact(secret, "propose", *arguments, value=bond)
        claim = self.world.view().claims[-1]
        return claim.key, claim.outcome


@pytest.fixture
def chain(node: Anvil) -> Chain:
    return Chain(L1World.start(node))


def derived(chain: Chain, directory: pathlib.Path, **options: Any) -> DeriveResult:
    world = chain.world
    given = {"genesis": world.genesis, **options}
    return derive(world.deployment, world.reader(), directory, **given)


def test_nothing_on_l1_is_the_genesis(chain: Chain, tmp_path: pathlib.Path) -> None:
    result = derived(chain, tmp_path / "new")
    deployment = chain.world.deployment
    assert (result.durable_root, result.volatile_root) == (
        deployment.genesis_durable_root,
        deployment.genesis_volatile_root,
    )
    assert result.agrees and not result.records and not result.claims
    assert (result.next_block, result.blocks, result.operations) == (1, 0, 0)


def test_an_invalid_record_changes_nothing_and_the_next_one_counts(
    chain: Chain, tmp_path: pathlib.Path
) -> None:
    world = chain.world
    world.deposit(venue.key("owner"), 5_000_000)
    items = [posted.item for posted in world.view().items]
    garbage = chain.post(GARBAGE)
    data = chain.encode(items)
    valid = chain.post(data)
    genesis = world.deployment.genesis
    same = (genesis.durable_root, genesis.volatile_root)
    code = int(Invalid.BAD_ENCODING)
    key, after = chain.claim(garbage, world.deployment.genesis_key, genesis, same, code)
    first = derived(chain, tmp_path / "first")
    assert [record.exit_code for record in first.records] == [code, 0]
    assert first.agrees and first.claims[0].agrees
    assert (first.records[0].durable_root, first.records[0].volatile_root) == same
    assert (first.blocks, first.inbox_items, first.next_block) == (2, 1, 3)
    assert first.records[1].inbox_items == 1

    # The state that was written is the one that the native kernel came to while encoding.
    loaded = Memory()
    head = snapshots.load_latest(tmp_path / "first" / SNAPSHOT_FOLDER, loaded, world.genesis.domain)
    assert head is not None and (head.next_block, head.next_batch) == (3, 2)
    assert difference(loaded, chain.memory, ["STATE"]) == []

    # A claim that calls the valid record invalid.
    chain.claim(valid, key, after, same, 999, secret=RIVAL.secret)
    second = derived(chain, tmp_path / "second")
    assert not second.agrees
    honest, false = second.claims
    assert honest.agrees and not false.agrees
    assert "exit code 999, derived 0 (VALID)" in false.differences
    assert any(text.startswith("inbox_position 0, derived 1") for text in false.differences)
    report = json.loads((tmp_path / "second" / REPORT_FILE).read_text())
    assert report["agrees"] is False
    assert report["claims"][1]["differences"] == list(false.differences)
    assert report["durable_root"] == "0x" + second.durable_root.hex()


def test_what_stands_on_a_false_claim_is_false(chain: Chain, tmp_path: pathlib.Path) -> None:
    deployment = chain.world.deployment
    genesis = deployment.genesis
    same = (genesis.durable_root, genesis.volatile_root)
    record, later = chain.post(GARBAGE), chain.post(GARBAGE + b"!")
    key, after = chain.claim(record, deployment.genesis_key, genesis, same, 7)
    chain.claim(later, key, after, same, int(Invalid.BAD_ENCODING))
    result = derived(chain, tmp_path / "new")
    first, second = result.claims
    assert first.differences[0].startswith("exit code 7, derived 202")
    assert second.differences == ("it stands on a state that was not derived",)
    chain.world.pass_time(WINDOW_SECONDS + 1)
    chain.transact(PROPOSER.secret, "finalise", key, after.to_abi())
    final = derived(chain, tmp_path / "final")
    assert not final.agrees and final.claims[0].is_final and final.final_records == 1


def test_blobs_come_from_an_archive_when_l1_dropped_them(
    chain: Chain, tmp_path: pathlib.Path
) -> None:
    world = chain.world
    data = chain.encode([])
    chain.post_blobs(data)
    view = L1View(L1Client(world.node.url), world.deployment)
    archive = BlobArchive(tmp_path / "archive")
    reader = L1Reader(view, [archive], unpack)
    with pytest.raises(BlobMissingError, match="add an archive"):
        derive(world.deployment, reader, tmp_path / "new", genesis=world.genesis)
    assert not (tmp_path / "new").exists()
    archive.add(pack(data)[0])
    result = derive(world.deployment, reader, tmp_path / "new", genesis=world.genesis)
    assert result.records[0].exit_code == 0 and result.records[0].source == "blobs"
    assert result.blocks == 2


def test_a_node_starts_from_what_was_derived(chain: Chain, tmp_path: pathlib.Path) -> None:
    chain.post(chain.encode([]))
    derived(chain, tmp_path / "new")
    memory = Memory()
    build_genesis(memory.base, chain.world.genesis)
    recovered = recover(tmp_path / "new", memory, chain.world.genesis.domain)
    recovered.journal.close()
    assert recovered.execution.next_block == 3
    assert recovered.batch.number == 1
    assert difference(memory, chain.memory, ["STATE"]) == []


def test_what_does_not_belong_together_is_refused(chain: Chain, tmp_path: pathlib.Path) -> None:
    genesis = chain.world.genesis
    with pytest.raises(DeriveError, match="is not the configuration of this deployment"):
        derived(chain, tmp_path / "new", genesis=replace(genesis, rejections_per_second=7))
    with pytest.raises(DeriveError, match="another chain, rollup or token"):
        derived(chain, tmp_path / "new", genesis=replace(genesis, chain_id=1))
    deployment = replace(chain.world.deployment, program_id=bytes(32))
    with pytest.raises(DeriveError, match="derive with the release"):
        derive(deployment, chain.world.reader(), tmp_path / "new", genesis=genesis)
    (tmp_path / "file").write_text("here")
    with pytest.raises(DeriveError, match="is not empty"):
        derived(chain, tmp_path)
    with pytest.raises(DeriveError, match="is not empty"):
        derived(chain, tmp_path / "file")
