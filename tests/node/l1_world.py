"""A real L1 node with a real deployment, and an exchange in this process that settles there."""

import asyncio
import pathlib
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import venue

from entresol.client.keys import Key
from entresol.da.blobs import unpack
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import PAGE_BYTES, Memory
from entresol.machine.state_tree import StateTree
from entresol.node.l1_link import L1Keys, L1Link, L1Settings
from entresol.sequencing.admission import Admission, Session
from entresol.sequencing.batch_builder import BatchBuilder, BuilderSettings
from entresol.sequencing.batch_store import BatchStore
from entresol.sequencing.open_batch import BatchLimits
from entresol.sequencing.outcomes import Accepted, Result
from entresol.sequencing.recovery import recover
from entresol.sequencing.sequencer import Sequencer, SequencerSettings
from entresol.sequencing.signatures import SignaturePool
from entresol.settlement.anvil import Anvil
from entresol.settlement.bridge import UserBridge
from entresol.settlement.deploy import Deployment, GenesisInputs, Parameters, deploy
from entresol.settlement.l1 import L1Client
from entresol.settlement.reader import L1Reader, NodeBlobs
from entresol.settlement.sender import Sender
from entresol.settlement.view import L1View

ETHER = 10**18
BATCHER, PROPOSER, DEPLOYER = venue.key("batcher"), venue.key("proposer"), venue.key("deployer")
WINDOW_SECONDS = 60


def genesis_of(inputs: GenesisInputs) -> GenesisConfiguration:
    return GenesisConfiguration(
        chain_id=inputs.chain_id,
        rollup=inputs.rollup,
        token=inputs.token,
        operator=venue.OPERATOR.address,
        publisher=venue.PUBLISHER.address,
        minimum_deposit=inputs.minimum_deposit,
        rejections_per_second=1_000_000,
    )


def genesis_roots(genesis: GenesisConfiguration) -> tuple[bytes, bytes]:
    memory, tree = Memory(), StateTree()
    build_genesis(memory.base, genesis)
    tree.update_pages(memory.base, memory.written_pages("STATE"), PAGE_BYTES)
    return tree.durable_root, tree.volatile_root


@dataclass
class L1World:
    """A deployment of the real kernel on a running L1 node."""

    node: Anvil
    client: L1Client
    deployment: Deployment
    genesis: GenesisConfiguration

    @classmethod
    def start(cls, node: Anvil) -> "L1World":
        client = L1Client(node.url)
        for key in (BATCHER, PROPOSER, DEPLOYER):
            node.rpc("anvil_setBalance", "0x" + key.address.hex(), hex(1000 * ETHER))
        made: list[GenesisConfiguration] = []

        def roots(inputs: GenesisInputs) -> tuple[bytes, bytes]:
            made.append(genesis_of(inputs))
            return genesis_roots(made[0])

        deployment = deploy(
            Sender(client, DEPLOYER.secret),
            parameters=Parameters(sequencer=BATCHER.address, challenge_window=WINDOW_SECONDS),
            program_id=load_kernel_image().program_id,
            genesis_roots=roots,
        )
        return cls(node, client, deployment, made[0])

    def view(self) -> L1View:
        view = L1View(L1Client(self.node.url), self.deployment)
        view.refresh()
        return view

    def reader(self) -> L1Reader:
        client = L1Client(self.node.url)
        return L1Reader(L1View(client, self.deployment), [NodeBlobs(client)], unpack)

    def user(self, owner: Key) -> UserBridge:
        self.node.rpc("anvil_setBalance", "0x" + owner.address.hex(), hex(1000 * ETHER))
        return UserBridge(Sender(self.client, owner.secret), self.deployment)

    def deposit(self, owner: Key, amount: int = 10**9) -> None:
        user = self.user(owner)
        user.mint(amount)
        user.deposit(amount)

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.node.rpc("evm_mine")

    def pass_time(self, seconds: int) -> None:
        self.node.rpc("evm_increaseTime", seconds)
        self.node.rpc("evm_mine")

    def link(self, directory: pathlib.Path, store: BatchStore, **changes: Any) -> L1Link:
        """A link with short intervals and both keys."""
        keys = changes.pop("keys", L1Keys(batcher=BATCHER.secret, proposer=PROPOSER.secret))
        settings = L1Settings(
            **{
                "directory": directory / "l1",
                "confirmations": 0,
                "poll_seconds": 0.02,
                "pause_seconds": 0.05,
                **changes,
            }
        )
        return L1Link(self.deployment, lambda: L1Client(self.node.url), store, keys, settings)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what another thread or L1 brings about."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Exchange:
    """Sequencer and batch builder on one data directory, without an API."""

    def __init__(
        self, directory: pathlib.Path, genesis: GenesisConfiguration, pool: SignaturePool
    ) -> None:
        self.memory = Memory()
        build_genesis(self.memory.base, genesis)
        self.recovered = recover(directory, self.memory, genesis.domain)
        self.store = BatchStore(directory / "batches.db")
        self.builder = BatchBuilder(
            directory,
            genesis.domain,
            load_kernel_image(),
            lambda memory: build_genesis(memory.base, genesis),
            self.store,
            BuilderSettings(maximum_bytes=700_000, bytes_per_blob=126_976, batches_per_snapshot=9),
        )
        limits = BatchLimits(
            blocks=1000,
            age_ms=3_600_000,
            operations=200_000,
            estimated_bytes=500_000,
            inbox_items=4000,
        )
        self.sequencer = Sequencer(
            execution=self.recovered.execution,
            journal=self.recovered.journal,
            batch=self.recovered.batch,
            domain=genesis.domain,
            pool=pool,
            settings=SequencerSettings(
                block_interval_ms=20,
                messages_per_turn=64,
                inbox_items_per_block=1000,
                batch=limits,
            ),
            clock_ms=venue.now_ms,
        )
        self.sequencer.on_failure = traceback.print_exception
        self.sealed: list[int] = []
        self.sequencer.on_sealed = lambda _, frame: self.sealed.append(frame)
        self.admission = Admission(
            memory=self.memory,
            domain=genesis.domain,
            pool=pool,
            forward=self.sequencer.enqueue,
            clock_ms=venue.now_ms,
            pending_limit=10_000,
            session_limit=10_000,
            is_overloaded=lambda: False,
        )
        self.session = Session()

    @property
    def header(self) -> Any:
        return self.recovered.execution.header

    @property
    def inbox(self) -> tuple[int, bytes]:
        return int(self.header["inbox_position"]), self.header["inbox_hash"].tobytes()

    async def send(self, message: bytes, signature: bytes) -> Accepted:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.admission.submit(self.session, message, signature, future.set_result)
        result = await future
        assert isinstance(result, Accepted), result
        return result

    async def send_applied(self, message: bytes, signature: bytes = b"") -> None:
        assert not any((await self.send(message, signature)).statuses)

    async def trade(self, members: list[venue.Trader], messages: int) -> None:
        """Every trader sends so many messages of a few orders."""
        signed = [trader.message(6) for _ in range(messages) for trader in members]
        await asyncio.gather(*(self.send(each.data, each.signature) for each in signed))

    async def build(self) -> None:
        """Seal what there is and build it."""
        before = len(self.sealed)
        self.sequencer.seal_now()
        await until(lambda: len(self.sealed) > before)
        await asyncio.get_running_loop().run_in_executor(
            None, self.builder.advance, self.sealed[-1]
        )

    async def close(self) -> None:
        self.admission.is_stopping = True
        await self.sequencer.stop()
        self.recovered.journal.close()
        self.store.close()


@asynccontextmanager
async def running(
    world: L1World, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Exchange]:
    """An exchange whose messages are signed for the world's deployment."""
    monkeypatch.setattr(venue, "GENESIS", world.genesis)
    pool = SignaturePool(workers=1, limit=2000)
    await pool.start()
    exchange = Exchange(directory, world.genesis, pool)
    try:
        yield exchange
        assert exchange.sequencer.failure is None
    finally:
        await exchange.close()
        await pool.close()
