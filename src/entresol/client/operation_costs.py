"""What each kind of operation costs in the provable machine: instructions and leaves written.

For every kind two batches run in the machine from like states, the second with twice as many
operations in as many messages.  Their difference is the cost of the operations alone, without
what a message, a lane's signature and a block cost, which are measured apart.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from entresol.client.depth_mirror import Quote
from entresol.client.instruments import Instrument
from entresol.client.lane import LaneChannel
from entresol.client.listing import list_option, list_perpetual
from entresol.client.local_venue import LocalVenue, named_key
from entresol.client.market_data import UNIT
from entresol.client.operations import (
    cancel,
    cancel_all,
    index_price,
    mark_price,
    mass_quote,
    place,
    transfer,
)
from entresol.client.option_chain import build_chain
from entresol.kernel import layout
from entresol.kernel.genesis import build_genesis
from entresol.machine.execute import BatchRun, compare, prepare
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import Memory
from entresol.rollup.batch_encoder import BatchEncoder
from entresol.rollup.message import Operation

INDEX: Final = 60_000 * UNIT
TRADERS: Final = 16
OPTIONS: Final = 6
MESSAGES: Final = 64
OPERATIONS: Final = 8
"""Operations per message in the first batch of a kind; the second has twice as many."""

RICH: Final = 100_000_000 * UNIT
MIDDLE: Final = layout.TICKS // 2


class CostError(Exception):
    """A measured operation did not do what it was meant to do, so its cost would mislead."""


@dataclass(frozen=True, slots=True)
class OperationCost:
    """Averages over one kind's operations; `leaves` are distinct 32-byte leaves of STATE."""

    kind: str
    instructions: float
    leaves: float
    operations: int


class CostVenue:
    """A market with resting orders and positions, and a twin in the machine that follows it."""

    def __init__(self) -> None:
        self.venue = LocalVenue()
        self.image = load_kernel_image()
        self.encoding, self.machine = Memory(), Memory()
        for memory in (self.encoding, self.machine):
            build_genesis(memory.base, self.venue.configuration)
        self.records = 0
        self.perpetual = self.venue.list(list_perpetual("BTC", INDEX))
        chain = build_chain("BTC", INDEX, self.venue.now, expiry_count=1, strikes_per_side=1)
        self.options = [self.venue.list(list_option(option)) for option in chain[:OPTIONS]]
        self.oracle = self.venue.open_lane(
            self.venue.publisher, layout.PUBLISHER_ACCOUNT, layout.PERMISSION_ORACLE
        )
        self.twins: list[int] = []
        self.traders = [self._open_trader(number) for number in range(TRADERS)]

    def _open_trader(self, number: int) -> LaneChannel:
        owner = named_key(f"trader {number}")
        account = self.venue.deposit(owner, RICH)
        self.twins.append(self.venue.deposit(owner, RICH, subaccount=1))
        permissions = layout.PERMISSION_TRADE | layout.PERMISSION_TRANSFER
        return self.venue.open_lane(owner, account, permissions)

    async def send(self, lane: LaneChannel, operations: Sequence[Operation]) -> None:
        """Apply one message; raises CostError when any of it was rejected."""
        outcome = await lane.submit(operations)
        if any(outcome.statuses):
            raise CostError(f"an operation was rejected: {outcome.rejections[0].name}")

    async def open_market(self) -> None:
        """Prices, 400 resting orders, and positions in every instrument for every trader."""
        await self.send(self.oracle, [index_price(0, INDEX)])
        marks = [mark_price(option.number, 1_500 * UNIT) for option in self.options]
        await self.send(self.oracle, marks)
        for number, lane in enumerate(self.traders):
            await self.send(lane, self._resting(number))
        for instrument in (self.perpetual, *self.options):
            await self._trade(instrument)
        self.run_batch()

    def _resting(self, number: int) -> list[Operation]:
        base = self.perpetual.base_tick + MIDDLE
        return [
            place(0, side, base + sign * (200 + 17 * step + number), 10, slot=400 + 2 * step + side)
            for step in range(12)
            for side, sign in ((layout.BUY, -1), (layout.SELL, 1))
        ]

    async def _trade(self, instrument: Instrument) -> None:
        """Every even trader sells ten lots to the odd one after it."""
        tick = instrument.base_tick + (MIDDLE if instrument.strike == 0 else 1_500)
        for seller, buyer in zip(self.traders[::2], self.traders[1::2], strict=True):
            number = instrument.number
            await self.send(seller, [place(number, layout.SELL, tick, 10)])
            await self.send(buyer, [place(number, layout.BUY, tick, 10)])

    def run_batch(self) -> BatchRun:
        """Seal what happened, encode it, run it natively and in the machine, compare."""
        batch = self.venue.seal()
        items = b"".join(batch.inbox_items)
        prepare(self.encoding, self.venue.parameters(batch, 0, self.records), b"", items)
        encoder = BatchEncoder(self.encoding)
        for block in batch.blocks:
            encoder.add_block(block)
        data = encoder.finish(batch.lane_signatures)
        parameters = self.venue.parameters(batch, len(data), self.records)
        run = compare(self.machine, self.image, parameters, data, items)
        if run.exit_code:
            raise CostError(f"the machine found the batch invalid: {run.exit_code}")
        self.records += 1
        return run


Build = Callable[[int, int, int], list[Operation]]
"""(trader, message, operations) -> one message's operations."""


def _kinds(venue: CostVenue) -> dict[str, tuple[Build, Build | None]]:
    """Per kind: what is measured, and what must be sent before it, outside the measured batch."""
    base = venue.perpetual.base_tick + MIDDLE

    def resting(trader: int, message: int, count: int) -> list[Operation]:
        side = message % 2
        away = 300 + 37 * (message % 11) + trader
        sign = 1 if side else -1
        return [
            place(0, side, base + sign * (away + k), 5, slot=16 * (message // TRADERS) + k)
            for k in range(count)
        ]

    def taken(_trader: int, _message: int, count: int) -> list[Operation]:
        return [
            place(0, layout.BUY, base + 100, 1, time_in_force=layout.IMMEDIATE_OR_CANCEL)
            for _ in range(count)
        ]

    def offered(_trader: int, message: int, count: int) -> list[Operation]:
        # One deep order per message and trader at the touch, for the takers to meet.
        return [place(0, layout.SELL, base + 100, 200 * count, slot=500)] if message == 0 else []

    def cancelled(_trader: int, message: int, count: int) -> list[Operation]:
        return [cancel(16 * (message // TRADERS) + k) for k in range(count)]

    def quoted(trader: int, message: int, count: int) -> list[Operation]:
        side = message % 2
        sign = 1 if side else -1
        quotes = [
            Quote(0, 16 * (message // TRADERS) + k, side, base + sign * (400 + 3 * k + trader), 5)
            for k in range(count)
        ]
        return mass_quote((0, quote) for quote in quotes)

    def marks(_trader: int, message: int, count: int) -> list[Operation]:
        numbers = [option.number for option in venue.options]
        return [
            mark_price(numbers[k % len(numbers)], (1_500 + message + k) * UNIT)
            for k in range(count)
        ]

    def indices(_trader: int, message: int, count: int) -> list[Operation]:
        return [index_price(0, INDEX + (message + k) * UNIT // 10) for k in range(count)]

    def transfers(trader: int, _message: int, count: int) -> list[Operation]:
        return [transfer(venue.twins[trader], UNIT) for _ in range(count)]

    return {
        "place, rests": (resting, None),
        "cancel": (cancelled, resting),
        "place, takes": (taken, offered),
        "mass quote, per leg": (quoted, None),
        "oracle index": (indices, None),
        "oracle mark": (marks, None),
        "transfer": (transfers, None),
    }


async def _run_kind(
    venue: CostVenue, kind: str, build: Build, before: Build | None, operations: int
) -> BatchRun:
    """Run one batch of MESSAGES messages with `operations` operations each."""
    lanes = [venue.oracle] if kind.startswith("oracle") else venue.traders
    if before is not None:
        for message in range(MESSAGES):
            prepared = before(message % len(lanes), message, operations)
            if prepared:
                await venue.send(lanes[message % len(lanes)], prepared)
        venue.run_batch()
    for message in range(MESSAGES):
        trader = message % len(lanes)
        await venue.send(lanes[trader], build(trader, message, operations))
    run = venue.run_batch()
    for lane in venue.traders:
        await venue.send(lane, [cancel_all()])
    venue.run_batch()
    return run


async def _measure() -> list[OperationCost]:
    venue = CostVenue()
    await venue.open_market()
    costs = []
    for kind, (build, before) in _kinds(venue).items():
        small = await _run_kind(venue, kind, build, before, OPERATIONS)
        large = await _run_kind(venue, kind, build, before, 2 * OPERATIONS)
        count = MESSAGES * OPERATIONS
        instructions = (large.instructions or 0) - (small.instructions or 0)
        leaves = _leaves(large) - _leaves(small)
        costs.append(OperationCost(kind, instructions / count, leaves / count, count))
    return costs


def _leaves(run: BatchRun) -> int:
    return 0 if run.dirty_leaves is None else len(run.dirty_leaves)


def measure_operation_costs() -> list[OperationCost]:
    """Cost of each kind of operation, most used first; a few seconds."""
    return asyncio.run(_measure())
