"""Random blocks of every shape and a stand-in for the kernel's transition, for codec tests.

`scribble` changes the parts of state that predictions read, from the block's own bytes, so that a
codec which reads state at the wrong moment fails.  The real transition is used in
tests/rollup/test_batch_encoder.py.
"""

import ctypes
import random

import numpy as np

from entresol.kernel import batch_codec, layout, views
from entresol.machine.memory import Memory
from entresol.rollup.block import Block, encode_block
from entresol.rollup.message import (
    LaneMessage,
    Operation,
    OwnerMessage,
    OwnerOperation,
    encode_message,
)

BLOCK = layout.SCRATCH_BLOCK_BASE


class Workload:
    """Blocks that a sequencer could have made, from one seed."""

    def __init__(self, seed: int, lanes: int = 12) -> None:
        self.random = random.Random(seed)
        self.lanes = [self.random.randrange(layout.LANES) for _ in range(lanes)]
        self.sequences = dict.fromkeys(self.lanes, 0)
        self.prices = [1000 * (n + 1) for n in range(8)]
        self.label = 0

    def number(self, bits: int) -> int:
        return self.random.getrandbits(self.random.randint(1, bits))

    def any_operation(self) -> Operation:
        """A record with arbitrary bytes in arbitrary fields."""
        kinds = [k for k in range(256) if k not in (layout.MASS_QUOTE, layout.QUOTE_LEG)]
        values = {"kind": self.random.choice(kinds)}
        widths = {"flags": 8, "instrument": 16, "slot": 16, "count": 16, "price": 32}
        widths |= {"quantity": 32, "account": 32, "label": 32}
        for name, bits in widths.items():
            if self.random.random() < 0.4:
                values[name] = self.number(bits)
        if self.random.random() < 0.4:
            values["value"] = self.number(64) - (1 << 63)
        return Operation(**values)

    def order(self, kind: int) -> Operation:
        book = self.random.randrange(8)
        self.prices[book] += self.random.randint(-2, 2)
        self.label += self.random.choice((0, 1, 1, 1, 5))
        return Operation(
            kind=kind,
            flags=self.random.choice((0, 1, 8, 9, 2, 3)) if kind == layout.PLACE else 0,
            instrument=book,
            slot=self.random.choice((layout.ANY_SLOT, *range(16))),
            price=self.prices[book],
            quantity=self.random.choice((0, 1, 5, 100, self.number(20))),
            label=self.label,
        )

    def operations(self) -> tuple[Operation, ...]:
        choice = self.random.random()
        if choice < 0.2:
            return tuple(self.any_operation() for _ in range(self.random.randint(1, 31)))
        if choice < 0.5:
            legs = [self.order(layout.QUOTE_LEG) for _ in range(self.random.randint(0, 12))]
            return (Operation(kind=layout.MASS_QUOTE, count=len(legs)), *legs)
        if choice < 0.65:
            value = self.random.choice((self.number(62), 10**6 * self.number(30)))
            kind = self.random.choice((layout.ORACLE_INDEX, layout.ORACLE_MARK))
            return tuple(
                Operation(kind=kind, instrument=n, value=value + 10**4 * n) for n in range(3)
            )
        if choice < 0.8:
            slot = self.random.randrange(16)
            return (Operation(kind=layout.CANCEL, slot=slot), self.order(layout.PLACE))
        return (self.order(layout.PLACE),)

    def message(self, time_ms: int) -> bytes:
        if self.random.random() < 0.1:
            operation = OwnerOperation(
                kind=layout.WITHDRAW,
                amount=self.number(40),
                address=self.random.randbytes(20),
                signature=self.random.randbytes(64),
            )
            message = OwnerMessage(
                account=self.random.randrange(layout.ACCOUNTS),
                sequence=self.random.choice((1, 2, self.number(64))),
                valid_until_ms=time_ms + self.number(40),
                operation=operation,
            )
            return encode_message(message)
        lane = self.random.choice(self.lanes)
        self.sequences[lane] += 1
        sequence = self.sequences[lane]
        if self.random.random() < 0.02:
            sequence = self.number(64)
        lifetime = self.random.choice((30_000, 30_000, self.number(30)))
        valid_until = (time_ms + lifetime) // 1000 * 1000 + self.random.choice((0, 0, 0, 417))
        return encode_message(
            LaneMessage(
                lane=lane,
                sequence=sequence,
                valid_until_ms=valid_until,
                operations=self.operations(),
            )
        )

    def blocks(self, count: int, messages: int, first: int = 0) -> list[bytes]:
        time_ms = 1_700_000_000_000
        plain = []
        for number in range(first, first + count):
            time_ms += self.random.choice((100, 100, 100, 0, self.number(20)))
            block = Block(
                number=number,
                time_ms=time_ms,
                inbox_count=self.random.choice((0, 0, 0, self.number(10))),
                messages=tuple(
                    self.message(time_ms) for _ in range(self.random.randint(0, messages))
                ),
            )
            plain.append(encode_block(block))
        return plain


def scribble(memory: Memory):
    """A transition that follows the header and lanes and derives other state from the block."""
    durable = views.durable(memory.array)
    volatile = views.volatile(memory.array)

    def apply(base: int, address: int) -> int:
        assert base == memory.base
        block = memory.view(address, layout.BLOCK_HEADER)
        length = 64 + int(block["byte_count"])
        raw = np.frombuffer(ctypes.string_at(base + address, length), np.uint8)
        durable["header"]["next_block"] = int(block["number"]) + 1
        durable["header"]["last_time_ms"] = int(block["time_ms"])
        at = 64
        while at < length:
            head = np.frombuffer(raw[at : at + 32].tobytes(), layout.MESSAGE_HEADER)[0]
            if head["kind"] == layout.LANE_MESSAGE:
                lane = durable["lane"][int(head["target"])]
                lane["sequence"] = head["sequence"]
                lane["account"] = int(head["target"]) % layout.ACCOUNTS
            at += 32 * (1 + int(head["record_count"]))
        noise = random.Random(raw.tobytes())
        for _ in range(8):
            book = noise.randrange(8)
            volatile["side"]["best"][book][noise.randrange(2)] = noise.randrange(layout.TICKS + 1)
            durable["instrument"]["base_tick"][book] = noise.randrange(1 << 20)
            durable["risk"]["mark"][book] = noise.randrange(1 << 40) * 1000
            durable["underlying"]["index"][book] = noise.randrange(1 << 40)
            order = volatile["order"][noise.randrange(1 << 14)]
            order["remaining"] = noise.randrange(2)
            order["tick"] = noise.randrange(layout.TICKS)
            order["quantity"] = noise.randrange(1 << 10)
            order["instrument"] = noise.randrange(16)
        return 0

    return apply


def load_batch(memory: Memory, data: bytes) -> None:
    memory.clear("SCRATCH")
    memory.clear("INPUT")
    memory.write(layout.BATCH_DATA_BASE, data)
    memory.view(layout.PARAMS_BASE, layout.PARAMS)["data_bytes"] = len(data)


def decode_all(memory: Memory, data: bytes, apply) -> tuple[int, list[bytes]]:
    """Last status (0 is a clean end) and the plain blocks before it."""
    load_batch(memory, data)
    status = int(batch_codec.open_decoder(memory.base))
    if status:
        return -status, []
    blocks = []
    while True:
        status = int(batch_codec.next_block(memory.base))
        if status != 1:
            return status, blocks
        header = memory.view(BLOCK, layout.BLOCK_HEADER)
        blocks.append(memory.read(BLOCK, 64 + int(header["byte_count"])))
        apply(memory.base, BLOCK)
