"""Real processes killed at random moments lose nothing they acknowledged."""

import asyncio
import contextlib
import itertools
import pathlib
import random

import pytest
import venue
from running import Process, connected

from entresol.kernel import layout
from entresol.machine.memory import PAGE_BYTES, Memory, difference
from entresol.machine.state_tree import StateTree
from entresol.sequencing.batch_store import BatchStore
from entresol.sequencing.builder_process import STORE_FILE
from entresol.sequencing.recovery import recover

DOMAIN = venue.GENESIS.domain


def recovered(directory: pathlib.Path) -> Memory:
    memory = venue.genesis_memory()
    recover(directory / "data", memory, DOMAIN).journal.close()
    return memory


async def trade_until_killed(process: Process, members: list[venue.Trader], seconds: float) -> None:
    """Pipeline messages on every lane until the process dies; remember what was acknowledged."""
    async with connected(process.port) as client:

        async def trade(trader: venue.Trader) -> None:
            lane = await client.call("public/get_lane", lane=trader.lane)
            assert lane["sequence"] >= acknowledged.get(trader.lane, 0)
            trader.signer.tip = bytes.fromhex(lane["tip"][2:])
            trader.signer.sequence = lane["sequence"]
            window: list[asyncio.Future[dict]] = []
            while True:
                signed = trader.message(5)
                window.append(
                    await client.send(
                        "private/send_message",
                        message="0x" + signed.data.hex(),
                        signature="0x" + signed.signature.hex(),
                    )
                )
                if len(window) >= 8:
                    answer = await window.pop(0)
                    result = answer["result"]
                    acknowledged[trader.lane] = result["sequence"]
                    tips[trader.lane, result["sequence"]] = result["tip"]

        tasks = [asyncio.create_task(trade(trader)) for trader in members]
        await asyncio.sleep(seconds)
        process.kill()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)


acknowledged: dict[int, int] = {}
tips: dict[tuple[int, int], str] = {}


@pytest.mark.timeout(240)
async def test_kill_at_random_moments_loses_no_acknowledged_operation(
    tmp_path: pathlib.Path,
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    choose = random.Random(seed)
    acknowledged.clear()
    tips.clear()
    members = venue.traders(3)
    (tmp_path / "inbox").write_bytes(b"".join(venue.opening_items(members)))
    process = Process(tmp_path)
    async with connected(process.port) as client:
        await client.open_venue(members)
    for round_number in range(3):
        await trade_until_killed(process, members, choose.uniform(0.05, 1.0))
        before = recovered(tmp_path)
        lanes = before.view(layout.DURABLE_BASE, layout.DURABLE)["lane"]
        for trader in members:
            sequence = int(lanes[trader.lane]["sequence"])
            assert sequence >= acknowledged.get(trader.lane, 0), (seed, round_number)
            known = tips.get((trader.lane, sequence))
            assert known in (None, "0x" + lanes[trader.lane]["tip"].tobytes().hex())
        process = Process(tmp_path)
        async with connected(process.port) as client:
            status = await client.call("public/status")
            header = before.view(layout.DURABLE_BASE, layout.DURABLE)["header"]
            assert status["operations"] == int(header["operation_count"])
            assert status["last_header_hash"] == "0x" + header["last_header_hash"].tobytes().hex()
            trades = await client.call("private/get_user_trades", account=3, count=1000)
            assert len(trades["trades"]) > 0 or not acknowledged
    assert process.terminate() == 0
    assert difference(recovered(tmp_path), before, ["STATE"]) == []
    assert sum(acknowledged.values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_batches_go_on_without_a_gap_over_kills(tmp_path: pathlib.Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    choose = random.Random(seed)
    acknowledged.clear()
    tips.clear()
    members = venue.traders(3)
    (tmp_path / "inbox").write_bytes(b"".join(venue.opening_items(members)))
    limits = {
        "blocks": 4,
        "age_ms": 1000,
        "operations": 100_000,
        "estimated_bytes": 500_000,
        "inbox_items": 1000,
    }
    changes = {"build_batches": True, "batch": limits, "batches_per_snapshot": 2}
    process = Process(tmp_path, **changes)
    async with connected(process.port) as client:
        await client.open_venue(members)
    for _ in range(3):
        await trade_until_killed(process, members, choose.uniform(0.3, 2.0))
        process = Process(tmp_path, **changes)
    store = BatchStore(tmp_path / "data" / STORE_FILE)
    async with connected(process.port) as client, asyncio.timeout(120):
        while True:
            status = await client.call("public/status")
            last = store.batch(store.count() - 1)
            if last is not None and last.next_block == status["next_block"]:
                break
            await asyncio.sleep(0.1)
    assert process.terminate() == 0
    batches = [store.batch(number) for number in range(store.count())]
    assert batches[0] is not None and batches[0].first_block == 1
    for earlier, later in itertools.pairwise(batches):
        assert earlier is not None and later is not None
        assert later.first_block == earlier.next_block
        assert later.durable_before == earlier.durable_after
        assert later.volatile_before == earlier.volatile_after
    state = recovered(tmp_path)
    tree = StateTree()
    tree.update_pages(state.base, state.written_pages("STATE"), PAGE_BYTES)
    assert (tree.durable_root, tree.volatile_root) == (last.durable_after, last.volatile_after)
