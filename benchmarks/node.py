"""Orders a second and confirmation latency through the node's real WebSocket, on a real L1.

The load generator signs every message and shares the processors with the node, which checks every
signature, journals to disk and signs a receipt before it answers.  An order here is a placement
that rests, or its cancellation; half of all are each.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entresol.cli.opening import MarketPlan, open_market
from entresol.cli.stack import Stack, StackSettings
from entresol.client.exchange import Exchange
from entresol.client.lane import LaneChannel
from entresol.client.market_data import UNIT
from entresol.client.operations import cancel, place
from entresol.client.tally import Tally, percentiles_ms
from entresol.kernel import layout
from entresol.rollup.message import Operation

INDEX = 61_740 * UNIT
LANES = 8
FIRST_SLOT = 400
"""Slots that the market's own quotes do not use."""


def messages_of(size: int, lane: int, base: int) -> Iterator[list[Operation]]:
    """Without end: `size` resting bids far below the market, then their cancellations."""
    turn = 0
    while True:
        slots = range(FIRST_SLOT, FIRST_SLOT + size)
        ticks = (base + 1_000 + 37 * (turn % 50) + lane * 40 + k for k in range(size))
        yield [
            place(0, layout.BUY, tick, 1, slot=slot, post_only=True)
            for slot, tick in zip(slots, ticks, strict=True)
        ]
        yield [cancel(slot) for slot in slots]
        turn += 1


async def load(
    lanes: list[LaneChannel], base: int, size: int, messages: int, per_second: float | None
) -> dict[str, Any]:
    """Send `messages` of `size` orders over the lanes; as fast as it goes, or paced."""
    tally = Tally(in_flight=256)
    messages -= messages % (2 * len(lanes))  # every lane ends with a cancellation
    sources = [messages_of(size, number, base) for number in range(len(lanes))]
    started = time.perf_counter()
    for number in range(messages):
        if per_second is not None:
            ahead = number * size / per_second - (time.perf_counter() - started)
            if ahead > 0:
                await asyncio.sleep(ahead)
        lane = number % len(lanes)
        await tally.post(lanes[lane], next(sources[lane]))
    for channel in lanes:
        await channel.drain()
    seconds = time.perf_counter() - started
    if tally.rejections or tally.refusals or tally.messages != messages:
        raise RuntimeError(f"orders were rejected: {tally.rejections} {tally.refusals}")
    pace = "full speed" if per_second is None else f"{per_second:,.0f} orders/s offered"
    return {
        "load": f"messages of {size}, {pace}",
        "orders": messages * size,
        "orders_per_second": messages * size / seconds,
        "latency_ms": percentiles_ms(tally.latencies),
    }


async def measure(stack: Stack, small: bool) -> dict[str, Any]:
    scale = 1 if small else 20
    async with await Exchange.connect(stack.api_url) as exchange:
        plan = MarketPlan(depth_accounts=LANES, takers=1, expiries=1, strikes_per_side=1)
        market = await open_market(stack, exchange, INDEX, plan, lambda *_: None)
        lanes = [
            (await exchange.open_trader(stack.key(4), subaccount=n, session=n)).lane
            for n in range(LANES)
        ]
        base = market.maker.perpetual.base_tick
        await load(lanes, base, 20, 20 * LANES, None)  # warms everything up
        return {
            "batched": await load(lanes, base, 20, 200 * scale, None),
            "single": await load(lanes, base, 1, 400 * scale, None),
            "paced": await load(lanes, base, 20, 100 * scale, 10_000.0),
            "paced_single": await load(lanes, base, 1, 200 * scale, 2_000.0),
        }


def benchmark_node(small: bool) -> dict[str, Any]:
    """Start a venue, load it four ways."""
    with tempfile.TemporaryDirectory(prefix="entresol-bench-") as directory:
        settings = StackSettings(directory=Path(directory) / "venue", batch_age_ms=60_000)
        with Stack(settings) as stack:
            stack.start_l1()
            stack.deploy()
            stack.start_node()
            return asyncio.run(measure(stack, small))


if __name__ == "__main__":
    for name, figures in benchmark_node(small=False).items():
        print(name, figures)
