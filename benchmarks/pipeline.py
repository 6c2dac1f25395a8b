"""One stream of market-making flow through encoder, machine and Merkle tree, in one process.

The workload is the demo's: a maker mirrors a depth feed with 32 accounts, quotes 42 options, four
takers trade, an oracle publishes.  Reported: published bytes, instructions, leaves, and the speed
of encoding, of the native kernel, of both machine engines and of the tree.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from entresol.client.flow import FlowGenerator
from entresol.client.lane import LaneChannel
from entresol.client.listing import list_option, list_perpetual
from entresol.client.local_venue import LocalBatch, LocalVenue, named_key
from entresol.client.market_data import UNIT, Event
from entresol.client.market_maker import MarketMaker
from entresol.client.option_chain import build_chain, split_by_expiry
from entresol.client.quoting import OptionQuoter
from entresol.client.replay import Replay
from entresol.client.tally import Tally
from entresol.kernel import layout
from entresol.kernel.genesis import build_genesis
from entresol.machine import execute
from entresol.machine.image import load_kernel_image
from entresol.machine.interpreter import Interpreter
from entresol.machine.memory import Memory
from entresol.machine.state_tree import StateTree
from entresol.rollup.batch_encoder import BatchEncoder

INDEX = 61_740 * UNIT
RICH = 50_000_000 * UNIT


def open_lanes(venue: LocalVenue, name: str, count: int) -> list[LaneChannel]:
    owner = named_key(name)
    return [
        venue.open_lane(owner, venue.deposit(owner, RICH, number), layout.PERMISSION_TRADE)
        for number in range(count)
    ]


def build_replay(venue: LocalVenue) -> Replay:
    perpetual = venue.list(list_perpetual("BTC", INDEX))
    options = [venue.list(list_option(option)) for option in build_chain("BTC", INDEX, venue.now)]
    oracle = venue.open_lane(venue.publisher, layout.PUBLISHER_ACCOUNT, layout.PERMISSION_ORACLE)
    tally = Tally()
    desks = [
        (OptionQuoter(members, lots=100), lane)
        for members, lane in zip(
            split_by_expiry(options), open_lanes(venue, "option maker", 3), strict=True
        )
    ]
    maker = MarketMaker(perpetual, open_lanes(venue, "maker", 32), desks, tally)
    return Replay(maker, open_lanes(venue, "taker", 4), oracle, tally)


def play(
    events: Iterable[Event], operations: int, batches: int
) -> tuple[LocalVenue, list[LocalBatch]]:
    """Play until each of `batches` has about `operations`; the first batch opens the venue."""
    venue = LocalVenue()

    async def run() -> list[LocalBatch]:
        replay = build_replay(venue)
        sealed = [venue.seal()]
        source = iter(events)
        for _ in range(batches):
            limit = replay.tally.operation_count + operations
            await replay.run(source, operation_limit=limit)
            sealed.append(venue.seal())
        return sealed

    return venue, asyncio.run(run())


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def encode(venue: LocalVenue, memory: Memory, batch: LocalBatch) -> tuple[bytes, int]:
    """The batch's bytes and its operations; `memory` moves from the state before to after."""
    items = b"".join(batch.inbox_items)
    execute.prepare(memory, venue.parameters(batch, 0), b"", items)
    encoder = BatchEncoder(memory)
    for block in batch.blocks:
        encoder.add_block(block)
    return encoder.finish(batch.lane_signatures), encoder.operation_count


def copy_of(memory: Memory) -> Memory:
    twin = Memory()
    twin.copy_state_from(memory)
    return twin


def benchmark_pipeline(operations: int = 100_000, seed: int = 1) -> dict[str, Any]:
    """All figures for one batch of about `operations` after one that warms the venue up."""
    venue, batches = play(FlowGenerator(seed).events(), operations, 2)
    before, encoding = Memory(), Memory()
    for memory in (before, encoding):
        build_genesis(memory.base, venue.configuration)
    tree = StateTree()
    image = load_kernel_image()
    for number, batch in enumerate(batches[:-1]):
        data, _ = encode(venue, encoding, batch)
        parameters = venue.parameters(batch, len(data), number)
        run = execute.run_batch(before, image, parameters, data, b"".join(batch.inbox_items))
        tree.update(before.base, run.dirty_leaves)
    batch = batches[-1]
    (data, count), encode_seconds = timed(lambda: encode(venue, encoding, batch))
    arguments = (
        venue.parameters(batch, len(data), len(batches) - 1),
        data,
        b"".join(batch.inbox_items),
    )
    native_memory, interpreted = copy_of(before), copy_of(before)
    native, native_seconds = timed(lambda: execute.run_batch_native(native_memory, *arguments))
    run, translated_seconds = timed(lambda: execute.run_batch(before, image, *arguments))
    execute.prepare(interpreted, *arguments)
    execute.load_image(interpreted, image)
    interpreter = Interpreter(interpreted)
    halt, interpreted_seconds = timed(lambda: interpreter.run(image.entry))
    _, tree_seconds = timed(lambda: tree.update(before.base, run.dirty_leaves))
    assert run.exit_code == native.exit_code == halt.exit_code == 0, (run.exit_code, native, halt)
    assert run.journal == native.journal
    assert run.instructions == halt.instructions
    plain = sum(map(len, batch.blocks))
    digest = hashlib.sha256(run.journal + tree.state_root).hexdigest()[:16]
    return {
        "operations": count,
        "lanes": len(batch.lane_signatures),
        "blocks": len(batch.blocks),
        "bytes_per_operation": {
            "raw": plain / count,
            "without_signatures": (len(data) - 64 * len(batch.lane_signatures)) / count,
            "published": len(data) / count,
        },
        "instructions_per_operation": run.instructions / count,
        "leaves_per_operation": len(run.dirty_leaves) / count,
        "system_calls": dict(run.system_calls),
        "encode_operations_per_second": count / encode_seconds,
        "native_operations_per_second": count / native_seconds,
        "translator_instructions_per_second": run.instructions / translated_seconds,
        "interpreter_instructions_per_second": halt.instructions / interpreted_seconds,
        "tree_leaves_per_second": len(run.dirty_leaves) / tree_seconds,
        "result_hash": digest,
    }


if __name__ == "__main__":
    for name, value in benchmark_pipeline().items():
        print(f"{name:<40} {value}")
