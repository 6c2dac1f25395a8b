"""One real L1 node and one deployment for all tests of the settlement package."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from entresol.crypto.merkle import AppendOnlyTree
from entresol.crypto.secp256k1 import address_of
from entresol.da.blobs import pack
from entresol.rollup.claim import Journal
from entresol.settlement.anvil import Anvil
from entresol.settlement.batcher import SealedBatch
from entresol.settlement.bridge import UserBridge
from entresol.settlement.deploy import Deployment, Parameters, deploy
from entresol.settlement.l1 import L1Client, Receipt, RevertError
from entresol.settlement.records import DataRecord, Outcome
from entresol.settlement.sender import Sender
from entresol.settlement.transaction import Call, Sidecar, build_sidecar
from entresol.settlement.view import L1View, PostedClaim

ETHER = 10**18
TEST_NUMBERS = itertools.count(1)
PROGRAM_ID = bytes(range(32))
ROOT_A = b"\0\0\0\1" * 8
ROOT_B = b"\0\0\0\2" * 8
ROOT_C = b"\0\0\0\3" * 8


def secret(number: int) -> bytes:
    """A test account's key."""
    return number.to_bytes(32, "big")


@dataclass
class World:
    """A deployed instance on a running node, and accounts that act on it."""

    node: Anvil
    client: L1Client
    deployment: Deployment
    senders: dict[str, Sender] = field(default_factory=dict)

    NAMES = ("sequencer", "proposer", "rival", "alice", "bob", "dispute")

    def sender(self, name: str, **options: Any) -> Sender:
        if options or name not in self.senders:
            self.senders[name] = Sender(self.client, self.secret(name), **options)
        return self.senders[name]

    @classmethod
    def secret(cls, name: str) -> bytes:
        return secret(1000 + cls.NAMES.index(name))

    @classmethod
    def address(cls, name: str) -> bytes:
        return address_of(cls.secret(name))

    def user(self, name: str) -> UserBridge:
        return UserBridge(self.sender(name), self.deployment)

    def view(self) -> L1View:
        view = L1View(self.client, self.deployment)
        view.refresh()
        return view

    def read(self, contract: str, function: str, *arguments: Any) -> Any:
        return self.client.call(self.deployment.contract(contract), function, *arguments)

    def transact(
        self,
        name: str,
        contract: str,
        function: str,
        *arguments: Any,
        value: int = 0,
        gas: int = 1_000_000,
        sidecar: Sidecar | None = None,
    ) -> Receipt:
        target = self.deployment.contract(contract)
        call = Call(
            to=target.address,
            data=target.encode(function, *arguments),
            gas_limit=gas,
            value=value,
            sidecar=sidecar,
        )
        receipt = self.sender(name).send(call, f"{contract}.{function}")
        assert receipt.succeeded, f"{contract}.{function} reverted"
        return receipt

    def refused(
        self, name: str, contract: str, function: str, *arguments: Any, **options: Any
    ) -> str:
        """The reason with which L1 refuses the call."""
        with pytest.raises(RevertError) as caught:
            self.client.simulate(
                self.deployment.contract(contract),
                function,
                *arguments,
                sender=self.address(name),
                **options,
            )
        return caught.value.message

    def pass_time(self, seconds: int) -> None:
        self.node.rpc("evm_increaseTime", seconds)
        self.node.rpc("evm_mine")

    def post(self, data: bytes = b"batch", name: str = "sequencer") -> DataRecord:
        """Post `data` as the next record, as calldata."""
        index = self.read("rollup", "record_count")
        self.transact(name, "rollup", "post_calldata", index, data, 0, bytes(32), 0)
        return self.view().records[-1].record

    def claim_arguments(
        self,
        record: DataRecord,
        parent: bytes | None = None,
        *,
        roots: tuple[bytes, bytes] = (ROOT_A, ROOT_B),
        exit_code: int = 0,
        journal: bytes | None = None,
        before: Outcome | None = None,
        **changes: Any,
    ) -> tuple[Any, ...]:
        """Arguments of `propose`; `changes` are fields of an otherwise valid journal."""
        view = self.view()
        parent = self.deployment.genesis_key if parent is None else parent
        before = view.outcome(parent) if before is None else before
        assert before is not None
        if journal is None and exit_code == 0:
            journal = self.journal(before, **changes).encode()
        return (
            *(parent, before.to_abi(), record.to_abi()),
            *(*roots, exit_code, journal or b""),
        )

    @staticmethod
    def journal(before: Outcome, **changes: Any) -> Journal:
        start = Journal(
            encoding_version=1,
            withdrawals_root=before.withdrawals_root,
            withdrawals_count=before.withdrawals_count,
            inbox_position=before.inbox_position,
            inbox_hash=before.inbox_hash,
            first_time_ms=before.last_time_ms,
            last_time_ms=before.last_time_ms,
        )
        return replace(start, **changes)

    def propose(
        self,
        record: DataRecord,
        parent: bytes | None = None,
        *,
        by: str = "proposer",
        **options: Any,
    ) -> PostedClaim:
        """Propose a claim and return it."""
        arguments = self.claim_arguments(record, parent, **options)
        bond = self.deployment.parameters.bond
        self.transact(by, "rollup", "propose", *arguments, value=bond)
        return self.view().claims[-1]

    def finalise(self, claim: PostedClaim) -> Receipt:
        return self.transact("proposer", "rollup", "finalise", claim.key, claim.outcome.to_abi())

    def final_tree(self, tree: AppendOnlyTree) -> PostedClaim:
        """Post, claim and finalise a batch whose withdrawals tree is `tree`."""
        view = self.view()
        record = self.post()
        claim = self.propose(
            record,
            view.final_head,
            withdrawals_root=tree.root,
            withdrawals_count=tree.count,
        )
        self.pass_time(self.deployment.parameters.challenge_window + 1)
        self.finalise(claim)
        return claim


def deploy_world(
    node: Anvil, roots: tuple[bytes, bytes] = (ROOT_A, ROOT_A), **changes: Any
) -> World:
    """Deploy on `node` and fund every account."""
    client = L1Client(node.url)
    for name in World.NAMES:
        node.rpc("anvil_setBalance", "0x" + World.address(name).hex(), hex(1000 * ETHER))
    parameters = Parameters(
        **{
            "sequencer": World.address("sequencer"),
            "dispute": World.address("dispute"),
            "outflow_limit": 100_000_000,
            "outflow_window": 1000,
            "deposits_per_block": 8,
            "forced_per_block": 4,
            **changes,
        }
    )
    deployment = deploy(
        Sender(client, World.secret("sequencer")),
        parameters=parameters,
        program_id=PROGRAM_ID,
        genesis_roots=lambda inputs: roots,
    )
    return World(node=node, client=client, deployment=deployment)


@pytest.fixture(scope="session")
def shared_node() -> Iterator[Anvil]:
    with Anvil() as node:
        yield node


@pytest.fixture(scope="session")
def shared_world(shared_node: Anvil) -> World:
    return deploy_world(shared_node)


@pytest.fixture(scope="session")
def start_world() -> Any:
    """Deploys on a node of the test's own."""
    return deploy_world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """The shared deployment; everything the test does to the chain is undone."""
    node = shared_world.node
    snapshot = node.rpc("evm_snapshot")
    # The node forgets the states of reverted blocks by their hash.  A block of this test that is
    # equal to one of the last test, mined in the same second, would lose its state as well and a
    # reorg down to it leave a chain without contracts: so make the first block unlike any other.
    node.rpc("anvil_setBalance", "0x" + "ee" * 20, hex(next(TEST_NUMBERS)))
    node.rpc("evm_mine")
    yield World(node=node, client=shared_world.client, deployment=shared_world.deployment)
    node.rpc("anvil_dropAllTransactions")
    node.rpc("evm_setAutomine", True)
    node.rpc("evm_mine")  # uses up a base fee that was set for the next block
    node.rpc("evm_revert", snapshot)


@pytest.fixture(scope="session")
def sidecars() -> dict[int, Sidecar]:
    """Sidecars of one and two blobs, made once: the proofs take a third of a second each."""
    two = build_sidecar(pack(bytes(range(1, 252)) * 700))
    one = Sidecar(
        blobs=two.blobs[:1], commitments=two.commitments[:1], cell_proofs=two.cell_proofs[:128]
    )
    return {1: one, 2: two}


class Batches:
    """A source of sealed batches that consumed no inbox items, by data record index."""

    def __init__(self, *data: bytes) -> None:
        self.batches = [
            SealedBatch(
                index=index, data=part, inbox_position=0, inbox_hash=bytes(32), last_time_ms=0
            )
            for index, part in enumerate(data)
        ]

    def batch(self, index: int) -> SealedBatch | None:
        return self.batches[index] if index < len(self.batches) else None


@pytest.fixture
def batches() -> type[Batches]:
    return Batches


@pytest.fixture(scope="session")
def quick_prove() -> Any:
    """Sidecars as always, but blobs that were proven before are not proven again."""
    proven: dict[bytes, Sidecar] = {}

    def prove(blobs: Sequence[bytes]) -> Sidecar:
        key = b"".join(blobs)
        if key not in proven:
            proven[key] = build_sidecar(blobs)
        return proven[key]

    return prove
