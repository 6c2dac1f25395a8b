"""kill -9 of the node in the middle of trading: nothing acknowledged is lost, L1 says the same."""

import asyncio
import itertools
import socket
from pathlib import Path

import pytest

from entresol.cli import settling
from entresol.cli.evidence import Report
from entresol.cli.opening import Market, MarketPlan, open_market
from entresol.cli.stack import Stack, StackSettings
from entresol.client.exchange import Exchange
from entresol.client.flow import FlowGenerator
from entresol.client.market_data import UNIT
from entresol.client.replay import Replay

INDEX = 61_716 * UNIT
PLAN = MarketPlan(depth_accounts=8, takers=2, expiries=1, strikes_per_side=1)


async def trade_through_a_crash(stack: Stack) -> tuple[Market, dict[int, tuple[int, bytes]]]:
    """Trade, kill the node while messages are on their way, start it, trade on.

    Returns the market and, per lane, the sequence and tip of the client after its last answer.
    """
    async with await Exchange.connect(stack.api_url) as exchange:
        market = await open_market(stack, exchange, INDEX, PLAN, lambda *_: None)
        replay = Replay(market.maker, market.takers, market.publisher, market.tally)
        events = FlowGenerator(3).events()
        await replay.run(itertools.islice(events, 200))
        playing = asyncio.create_task(replay.run(itertools.islice(events, 400)))
        while replay.counts.messages < 260:
            await asyncio.sleep(0.01)
        stack.node.kill()
        await asyncio.to_thread(stack.restart_node)
        await asyncio.wait_for(playing, 240)
        lanes = [*market.takers, market.publisher, *market.maker.lanes]
        return market, {lane.signer.lane: (lane.signer.sequence, lane.signer.tip) for lane in lanes}


@pytest.mark.timeout(900)
def test_kill_9_loses_nothing_and_l1_agrees(tmp_path: Path) -> None:
    report = Report()
    settings = StackSettings(directory=tmp_path / "venue", api_port=free_port())
    with Stack(settings) as stack:
        stack.start_l1()
        stack.deploy()
        stack.start_node()
        market, lanes = asyncio.run(trade_through_a_crash(stack))
        assert market.tally.refusals == {}
        asyncio.run(compare_lanes(stack, lanes))
        settling.await_settlement(stack, lambda *_: None)
        derived = settling.derive_state(
            stack.l1_url, stack.deployment, stack.genesis, tmp_path / "venue" / "derived"
        )
        assert derived.agrees
        asyncio.run(note(stack, derived, report))
    assert report.passed
    assert all(batch.agrees for batch in report.batches)


async def compare_lanes(stack: Stack, lanes: dict[int, tuple[int, bytes]]) -> None:
    """Every message that was answered stands: the node's chains end where the client's do."""
    async with await Exchange.connect(stack.api_url) as exchange:
        for lane, (sequence, tip) in lanes.items():
            assert await exchange.read_lane(lane) == (tip, sequence)


async def note(stack: Stack, derived: settling.DeriveResult, report: Report) -> None:
    async with await Exchange.connect(stack.api_url) as exchange:
        status = await exchange.read("public/status")
        assert derived.fills == status["fills"] > 0
        await settling.note_batches(exchange, derived, report)


def free_port() -> int:
    """A port that is free now; the node keeps it over its restart."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
