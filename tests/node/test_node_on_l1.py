"""A whole node on a real L1 node: deposits in, batches, claims and withdrawal proofs out."""

import asyncio
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import venue
from l1_world import BATCHER, PROPOSER, WINDOW_SECONDS, L1World
from running import Client, connected

from entresol.client.signer import sign_owner_operation
from entresol.kernel import layout
from entresol.node.config import ApiConfig, L1Config, NodeConfig
from entresol.node.derive import derive
from entresol.node.node import Node
from entresol.rollup.message import OwnerOperation
from entresol.sequencing.open_batch import BatchLimits
from entresol.settlement.anvil import Anvil

pytestmark = pytest.mark.l1


@pytest.fixture(scope="module")
def world() -> Iterator[L1World]:
    with Anvil() as anvil:
        yield L1World.start(anvil)


def configuration(world: L1World, directory: pathlib.Path) -> NodeConfig:
    world.deployment.save(directory / "deployment.json")
    return NodeConfig(
        data_directory=directory / "data",
        genesis=world.genesis,
        sequencer_secret=venue.SEQUENCER.secret,
        api=ApiConfig(port=0),
        l1=L1Config(
            url=world.node.url,
            deployment=directory / "deployment.json",
            confirmations=1,
            poll_seconds=0.05,
            batcher_secret=BATCHER.secret,
            proposer_secret=PROPOSER.secret,
        ),
        batch=BatchLimits(
            blocks=1000, age_ms=200, operations=10_000, estimated_bytes=100_000, inbox_items=4000
        ),
    )


async def status_until(client: Client, condition: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(120):
        while not condition(status := await client.call("public/status")):
            await asyncio.sleep(0.05)
    return status


async def test_a_node_settles_while_deposits_keep_coming(
    world: L1World, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue, "GENESIS", world.genesis)
    members = venue.traders(2)
    node = Node(configuration(world, tmp_path))
    await node.start()
    try:
        async with connected(node.port) as client:
            for trader in members:
                world.deposit(trader.owner, 10**12)
            world.mine()
            await client.open_venue(members)
            withdrawal = sign_owner_operation(
                members[0].owner,
                world.genesis.domain,
                OwnerOperation(kind=layout.WITHDRAW, amount=10**6, address=b"\7" * 20),
                account=members[0].account,
                sequence=2,
                valid_until_ms=venue.now_ms() + venue.FAR,
            )
            await client.call("private/owner_operation", message="0x" + withdrawal.data.hex())
            # Until it is confirmed no batch consumes it, but every record from here on could.
            world.deposit(venue.key("late"), 10**9)
            for number in range(5):
                await client.message(*_signed(members[number % 2]))
                await asyncio.sleep(0.3)
            status = await status_until(client, lambda s: s["records_posted"] >= 2)
            posted = status["records_posted"]
            while (await client.call("public/status"))["records_final"] < posted:
                world.pass_time(WINDOW_SECONDS + 1)
                await asyncio.sleep(0.3)
            status = await status_until(client, lambda s: s["inbox_position"] == 3)
            proof = await client.call("public/get_withdrawal_proof", index=0)
            assert (proof["status"], proof["amount_micro"]) == ("final", 10**6)
            for batch in await client.call("public/get_batches", count=2):
                assert batch["status"] in ("built", "posted", "claimed", "final"), batch
    finally:
        await node.stop()
    assert node._failure is None
    records = len(world.view().records)
    result = derive(world.deployment, world.reader(), tmp_path / "derived", genesis=world.genesis)
    assert result.agrees and len(result.records) == records >= posted
    assert all(record.exit_code == 0 for record in result.records)
    assert result.withdrawals_count == 1
    built = node.batches.batch(records - 1)
    assert built is not None
    assert (result.durable_root, result.volatile_root) == (
        built.durable_after,
        built.volatile_after,
    )


def _signed(trader: venue.Trader) -> tuple[bytes, bytes]:
    message = trader.message(4)
    return message.data, message.signature
