"""The link to L1: confirmed items in, batches and claims out, errors where they can be seen."""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import venue
from l1_world import BATCHER, ETHER, PROPOSER, WINDOW_SECONDS, L1World, running, until

from entresol.client.signer import sign_owner_operation
from entresol.crypto.merkle import merkle_root
from entresol.kernel import layout
from entresol.node.derive import derive
from entresol.node.l1_link import DeepReorgError, L1Keys, L1Link, L1LinkError
from entresol.node.l1_worker import LinkState
from entresol.rollup.inbox import hash_items
from entresol.rollup.message import OwnerOperation
from entresol.rollup.withdrawal import Withdrawal
from entresol.sequencing.batch_store import BatchStore
from entresol.settlement.anvil import Anvil
from entresol.settlement.sender import FeePolicy

pytestmark = pytest.mark.l1


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil() as anvil:
        yield anvil


@pytest.fixture
def world(node: Anvil) -> L1World:
    """A deployment of the test's own; the chain is not reverted, because its clock would be too."""
    return L1World.start(node)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[BatchStore]:
    store = BatchStore(tmp_path / "batches.db")
    yield store
    store.close()


class Inbox:
    """Takes what the link hands over."""

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.errors: list[Exception] = []

    def offer(self, items: Sequence[bytes]) -> None:
        self.items += items


async def stopped(link: L1Link) -> None:
    async with asyncio.timeout(20):
        await link.stop()
    status = link.status()
    for worker in (status.follower, status.batcher, status.proposer):
        assert worker is None or worker.state in (LinkState.STOPPED, LinkState.FAILED)


@pytest.fixture
async def follow(world: L1World, store: BatchStore, tmp_path: pathlib.Path) -> AsyncIterator[Any]:
    """Starts links without keys; each with what it hands over."""
    links: list[L1Link] = []

    def start(position: int = 0, chain: bytes = bytes(32), **options: Any) -> Any:
        link = world.link(tmp_path, store, keys=L1Keys(), **options)
        inbox = Inbox()
        link.on_failure = inbox.errors.append
        link.start(inbox.offer, position, chain)
        links.append(link)
        return link, inbox

    yield start
    for link in links:
        await stopped(link)


async def test_items_come_in_order_and_only_with_their_confirmations(
    world: L1World, follow: Any
) -> None:
    link, inbox = follow(confirmations=3)
    owners = [venue.key(f"owner {n}") for n in range(3)]
    for owner in owners:
        world.deposit(owner)
    expected = [posted.item for posted in world.view().items]
    last = world.view().items[-1].block
    head = world.client.head().number
    await until(lambda: link.status().block == head)
    assert len(inbox.items) < 3
    world.mine(3)
    await until(lambda: len(inbox.items) == 3)
    assert inbox.items == expected
    assert world.client.head().number - last >= 3
    assert not inbox.errors


async def test_a_restart_continues_where_the_state_stands(world: L1World, follow: Any) -> None:
    for n in range(3):
        world.deposit(venue.key(f"owner {n}"))
    items = [posted.item for posted in world.view().items]
    _, inbox = follow(2, hash_items(items[:2]))
    await until(lambda: len(inbox.items) == 1)
    assert inbox.items == items[2:]


async def test_a_state_of_another_chain_is_refused(world: L1World, follow: Any) -> None:
    for n in range(2):
        world.deposit(venue.key(f"owner {n}"))
    link, inbox = follow(1, b"\1" * 32)
    await until(lambda: bool(inbox.errors))
    assert isinstance(inbox.errors[0], DeepReorgError)
    assert "other items" in str(inbox.errors[0])
    assert link.status().follower.state is LinkState.FAILED
    assert not inbox.items


async def test_a_reorg_above_the_confirmations_passes_unseen(world: L1World, follow: Any) -> None:
    _, inbox = follow(confirmations=4)
    world.deposit(venue.key("owner 0"))
    world.node.rpc("anvil_reorg", 1, [])
    world.deposit(venue.key("owner 1"))
    world.mine(4)
    items = [posted.item for posted in world.view().items]
    await until(lambda: len(inbox.items) == len(items))
    assert inbox.items == items and not inbox.errors


async def test_a_reorg_below_the_confirmations_is_fatal(world: L1World, follow: Any) -> None:
    link, inbox = follow(confirmations=1)
    world.deposit(venue.key("owner 0"))
    world.mine()
    await until(lambda: len(inbox.items) == 1)
    block = world.view().items[0].block
    world.node.rpc("anvil_reorg", world.client.head().number - block + 1, [])
    world.mine(2)
    await until(lambda: bool(inbox.errors))
    assert isinstance(inbox.errors[0], DeepReorgError)
    assert link.status().follower.state is LinkState.FAILED
    assert "derive the state from L1" in link.status().follower.error


async def test_an_l1_node_that_is_away_is_waited_for(
    world: L1World, store: BatchStore, tmp_path: pathlib.Path
) -> None:
    link = world.link(tmp_path, store, keys=L1Keys())
    inbox = Inbox()
    link.on_failure = inbox.errors.append
    url, world.node.port = world.node.port, 1
    link.start(inbox.offer)
    await until(lambda: link.status().follower.state is LinkState.AWAY)
    await stopped(link)
    world.node.port = url
    assert not inbox.errors


async def test_what_the_callback_raises_is_a_failure(
    world: L1World, store: BatchStore, tmp_path: pathlib.Path
) -> None:
    world.deposit(venue.key("owner 0"))
    link = world.link(tmp_path, store, keys=L1Keys())
    errors: list[Exception] = []
    link.on_failure = errors.append

    def refuse(_: Sequence[bytes]) -> None:
        raise KeyError("item")

    link.start(refuse)
    await until(lambda: bool(errors))
    assert isinstance(errors[0], KeyError)
    await stopped(link)


async def test_keys_must_fit_the_deployment(
    world: L1World, store: BatchStore, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(L1LinkError, match="takes batches from"):
        world.link(tmp_path, store, keys=L1Keys(batcher=PROPOSER.secret))
    both = L1Keys(batcher=BATCHER.secret, proposer=BATCHER.secret)
    with pytest.raises(L1LinkError, match="accounts of their own"):
        world.link(tmp_path, store, keys=both)
    with pytest.raises(L1LinkError, match="confirmations"):
        world.link(tmp_path, store, confirmations=-1)


async def test_an_exchange_settles_and_is_derived(
    world: L1World, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deposits, trades, three batches with items between them, claims, a withdrawal, `derive`."""
    members = venue.traders(2)
    async with running(world, tmp_path, monkeypatch) as exchange:
        link = world.link(tmp_path, exchange.store, archive=tmp_path / "archive")
        errors: list[Exception] = []
        link.on_failure = errors.append
        link.start(exchange.sequencer.offer_inbox, *exchange.inbox)
        for trader in members:
            world.deposit(trader.owner, 10**12)
        await until(lambda: exchange.inbox[0] == 2)
        members = venue.traders(2)
        for message, signature in venue.opening_messages(members):
            await exchange.send_applied(message, signature)
        await exchange.trade(members, 5)
        await exchange.build()
        # An item that is on L1 before the record of a batch that does not consume it.
        await exchange.trade(members, 5)
        await exchange.build()
        world.deposit(venue.key("late"), 10**9)
        await until(lambda: exchange.inbox[0] == 3)
        operation = OwnerOperation(kind=layout.WITHDRAW, amount=10**6, address=b"\7" * 20)
        withdrawal = sign_owner_operation(
            members[0].owner,
            world.genesis.domain,
            operation,
            account=members[0].account,
            sequence=2,
            valid_until_ms=venue.now_ms() + venue.FAR,
        )
        await exchange.send_applied(withdrawal.data)
        await exchange.build()
        await until(lambda: link.picture.counts[0] == 3 and link.picture.withdrawal_claim(0))
        assert link.picture.batch_status(2)["status"] == "claimed"
        for count in (1, 2, 3):
            world.pass_time(WINDOW_SECONDS + 1)
            await until(lambda count=count: link.picture.counts[1] >= count)
        claim = link.picture.withdrawal_claim(0)
        assert claim is not None and claim[3] == "final"
        leaf = Withdrawal(
            index=0, token=world.genesis.token, recipient=b"\7" * 20, amount=10**6
        ).leaf(world.genesis.domain)
        assert claim[1:3] == (1, merkle_root([leaf], layout.WITHDRAWAL_DEPTH))
        assert link.picture.batch_status(2)["status"] == "final"
        assert link.picture.batch_status(3)["status"] == "built"
        status = link.status()
        assert (status.records, status.final_records, status.handed_items) == (3, 3, 3)
        assert status.batcher is not None and status.batcher.balance is not None
        assert status.batcher.address == BATCHER.address and not errors
        await stopped(link)
        roots = exchange.builder.roots
        built = [exchange.store.batch(number) for number in range(3)]
        header = exchange.header.copy()
    done: list[tuple[int, int]] = []
    result = derive(
        world.deployment,
        world.reader(),
        tmp_path / "derived",
        lambda *counts: done.append(counts),
        genesis=world.genesis,
    )
    assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert result.agrees and all(claim.agrees and claim.is_final for claim in result.claims)
    assert (result.durable_root, result.volatile_root) == roots
    assert result.last_header_hash == header["last_header_hash"].tobytes()
    assert (result.withdrawals_count, result.inbox_items) == (1, 3)
    assert [record.durable_root for record in result.records] == [
        batch.durable_after for batch in built if batch
    ]
    assert [record.operations for record in result.records] == [
        batch.operations for batch in built if batch
    ]


async def test_a_poor_batcher_pauses_and_says_so(
    world: L1World, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(world, tmp_path, monkeypatch) as exchange:
        address = "0x" + BATCHER.address.hex()
        world.node.rpc("anvil_setBalance", address, hex(10**12))
        link = world.link(tmp_path, exchange.store, use_calldata=True)
        errors: list[Exception] = []
        link.on_failure = errors.append
        link.start(exchange.sequencer.offer_inbox)
        world.deposit(venue.key("owner"))
        await until(lambda: exchange.inbox[0] == 1)
        await exchange.build()

        def paused() -> bool:
            batcher = link.status().batcher
            return batcher is not None and batcher.state is LinkState.PAUSED

        await until(paused)
        batcher = link.status().batcher
        assert batcher is not None and "needs" in batcher.error and batcher.balance == 10**12
        assert not world.view().records
        world.node.rpc("anvil_setBalance", address, hex(ETHER))
        await until(lambda: link.picture.counts[0] == 1)
        await until(lambda: not paused())
        assert not errors
        await stopped(link)


async def test_a_record_that_is_not_this_nodes_stops_both_settlers(
    world: L1World, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(world, tmp_path, monkeypatch) as exchange:
        link = world.link(tmp_path, exchange.store, use_calldata=True, batcher_fees=FeePolicy())
        errors: list[Exception] = []
        link.on_failure = errors.append
        world.deposit(venue.key("owner"))
        items = [posted.item for posted in world.view().items]
        exchange.sequencer.offer_inbox(items)
        await until(lambda: exchange.inbox[0] == 1)
        await exchange.build()
        batch = exchange.store.batch(0)
        assert batch is not None
        other = replace(batch, data=batch.data[:-1] + bytes([batch.data[-1] ^ 1]))
        elsewhere = BatchStore(tmp_path / "other" / "batches.db")
        elsewhere.append(other, [])
        rival = world.link(tmp_path / "other", elsewhere, use_calldata=True)
        rival.start(Inbox().offer)
        await until(lambda: rival.picture.counts[0] == 1)
        await stopped(rival)
        link.start(exchange.sequencer.offer_inbox, *exchange.inbox)
        await until(lambda: len(errors) == 2)
        assert all("data record 0" in str(error) for error in errors)
        await stopped(link)
        elsewhere.close()
