"""Bytes per operation of published batches, and what encoding and decoding them costs.

The reference workload, `market_makers`: 8 makers quote both sides of 2 perpetuals and 30 options
with mass quotes, each on its own view of two moving indices; 32 takers send single immediate or
resting orders and cancels; one publisher sends both indices and all 30 option marks every second.
Blocks every 100 ms.  All of it passes the real kernel; every number is of one batch.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import time
import zlib
from dataclasses import dataclass
from typing import Any

from benchmarks import codec_image
from entresol.client import black76
from entresol.crypto.secp256k1 import address_of, compact_signature, sign_digest
from entresol.kernel import batch_codec, layout, transition
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine import execute
from entresol.machine.build import build_code
from entresol.machine.image import image_of, load_kernel_image
from entresol.machine.memory import Memory
from entresol.machine.translator import Translator
from entresol.rollup.batch_encoder import BatchEncoder, encode_batch
from entresol.rollup.block import Block, decode_block, encode_block
from entresol.rollup.inbox import InboxItem
from entresol.rollup.message import (
    OwnerMessage,
    OwnerOperation,
    encode_message,
    initial_tip,
    lane_tip_digest,
    next_tip,
    owner_digest,
)

START_MS = 1_700_000_000_000
UNIT = 1_000_000
BLOCK_MS = 100
YEAR_DAYS = 365
EXPIRY_DAYS = (7, 30, 90)
STRIKES = (0.9, 0.95, 1.0, 1.05, 1.1)
INDICES = (60_000.0, 3_000.0)
SYMBOLS = (b"BTC", b"ETH")
_OPERATION = struct.Struct("<BBHHHIIqII")
_HEADER = struct.Struct("<IHBBQQQ")


def secret(number: int) -> bytes:
    return number.to_bytes(32, "big")


@dataclass(frozen=True)
class Market:
    """One listed instrument of the workload."""

    number: int
    underlying: int
    kind: int
    strike: float
    days: int
    tick: float
    tick_size: int

    def value(self, index: float) -> float:
        if self.kind == layout.PERPETUAL:
            return index
        years = self.days / YEAR_DAYS
        return black76.price(index, self.strike, years, 0.6, self.kind == layout.CALL)


def markets() -> list[Market]:
    listed = [Market(0, 0, layout.PERPETUAL, 0, 0, 0.5, 500_000)]
    listed.append(Market(1, 1, layout.PERPETUAL, 0, 0, 0.05, 50_000))
    for days in EXPIRY_DAYS:
        for strike in STRIKES:
            for kind in (layout.CALL, layout.PUT):
                number = len(listed)
                listed.append(Market(number, 0, kind, strike * INDICES[0], days, 5.0, 5_000_000))
    return listed


class Venue:
    """The chain of the workload: genesis, markets, funded accounts, one lane each."""

    def __init__(self, makers: int, takers: int) -> None:
        self.markets = markets()
        self.memory = Memory()
        self.configuration = GenesisConfiguration(
            chain_id=31337,
            rollup=b"\x11" * 20,
            token=b"\x22" * 20,
            operator=address_of(secret(1)),
            publisher=address_of(secret(2)),
        )
        self.domain = self.configuration.domain
        build_genesis(self.memory.base, self.configuration)
        self.people = makers + takers
        self.tips: dict[int, bytes] = {}
        self.sequences: dict[int, int] = {}
        self.secrets: dict[int, bytes] = {}
        header = self.memory.view(layout.DURABLE_BASE, layout.HEADER)
        self.number = int(header["next_block"])
        self.setup()

    def apply(self, time_ms: int, messages: list[bytes], inbox: int = 0) -> bytes:
        block = Block(
            number=self.number, time_ms=time_ms, inbox_count=inbox, messages=tuple(messages)
        )
        plain = encode_block(block)
        self.number += 1
        self.memory.write(layout.SCRATCH_BLOCK_BASE, plain)
        status = transition.apply_block(self.memory.base, layout.SCRATCH_BLOCK_BASE)
        if status != 0:
            raise RuntimeError(f"the kernel refused the block with status {status}")
        return plain

    def owner(self, person: int, account: int, nonce: int, **fields: Any) -> bytes:
        message = OwnerMessage(
            account=account,
            sequence=nonce,
            valid_until_ms=START_MS + 60_000,
            operation=OwnerOperation(**fields),
        )
        signature = compact_signature(
            sign_digest(secret(person), owner_digest(self.domain, message))
        )
        fields["signature"] = signature
        return encode_message(
            OwnerMessage(
                account=account,
                sequence=nonce,
                valid_until_ms=START_MS + 60_000,
                operation=OwnerOperation(**fields),
            )
        )

    def setup(self) -> None:
        items = []
        for place in range(self.people):
            owner = address_of(secret(100 + place))
            items.append(
                InboxItem(
                    kind=layout.INBOX_DEPOSIT,
                    sender=owner,
                    recipient=owner,
                    amount=10**15,
                    position=place,
                ).encode()
            )
        self.inbox = items
        put_inbox(self.memory, items)
        messages = []
        for nonce, market in enumerate(self.markets, 1):
            perpetual = market.kind == layout.PERPETUAL
            first = market.number < len(SYMBOLS)
            middle = int(INDICES[market.underlying] / market.tick) if perpetual else 0
            messages.append(
                self.owner(
                    1,
                    layout.OPERATOR_ACCOUNT,
                    nonce,
                    kind=layout.LIST_INSTRUMENT,
                    instrument_kind=market.kind,
                    underlying=market.underlying,
                    symbol=int.from_bytes(SYMBOLS[market.underlying], "little") if first else 0,
                    tick_size=market.tick_size,
                    contract_size=10_000,
                    base_tick=max(1, middle - layout.TICKS // 2),
                    strike=int(market.strike * UNIT),
                    expires_ms=0 if perpetual else START_MS + market.days * 86_400_000,
                    minimum_lots=1,
                    maximum_lots=1_000_000,
                    maximum_age_ms=60_000,
                )
            )
        for place in range(-1, self.people):
            owner = 2 if place < 0 else 100 + place
            account = layout.PUBLISHER_ACCOUNT if place < 0 else 3 + place
            session = 1000 + place
            permissions = layout.PERMISSION_ORACLE if place < 0 else layout.PERMISSION_TRADE
            messages.append(
                self.owner(
                    owner,
                    account,
                    1,
                    kind=layout.REGISTER_LANE,
                    address=address_of(secret(session)),
                    permissions=permissions,
                    expires_ms=START_MS + 10**10,
                )
            )
            lane = 2 + place
            self.secrets[lane] = secret(session)
            self.sequences[lane] = 0
            self.tips[lane] = initial_tip(self.domain, address_of(secret(session)), account, lane)
        self.opening = self.apply(START_MS, messages, inbox=len(items))

    def message(self, lane: int, now: int, records: list[bytes]) -> bytes:
        """A lane message; valid for 30 seconds, in whole seconds as the SDK sends it."""
        self.sequences[lane] += 1
        valid = (now + 30_000) // 1000 * 1000
        head = _HEADER.pack(lane, len(records), 0, 1, valid, self.sequences[lane], 0)
        raw = head + b"".join(records)
        self.tips[lane] = next_tip(self.tips[lane], raw)
        return raw

    def signature(self, lane: int) -> bytes:
        digest = lane_tip_digest(self.domain, self.tips[lane])
        return compact_signature(sign_digest(self.secrets[lane], digest))


def record(kind: int, **fields: int) -> bytes:
    names = ("flags", "instrument", "slot", "count", "price", "quantity", "value", "account")
    return _OPERATION.pack(kind, *(fields.get(name, 0) for name in names), fields.get("label", 0))


class Flow:
    """Messages of the reference workload, block by block."""

    def __init__(self, venue: Venue, makers: int, takers: int, seed: int) -> None:
        self.venue = venue
        self.random = random.Random(seed)
        self.index = list(INDICES)
        self.makers = list(range(2, 2 + makers))
        self.takers = list(range(2 + makers, 2 + makers + takers))
        self.quoted: dict[tuple[int, int], tuple[int, int]] = {}
        self.resting: dict[int, list[int]] = {lane: [] for lane in self.takers}
        self.labels: dict[int, int] = dict.fromkeys(self.takers, 0)

    def oracle(self, now: int) -> bytes | None:
        if now % 1000:
            return None
        records = [
            record(layout.ORACLE_INDEX, instrument=n, value=round(value * 100) * 10_000)
            for n, value in enumerate(self.index)
        ]
        return self.venue.message(1, now, records)

    def marks(self, now: int) -> list[bytes]:
        if now % 1000:
            return []
        options = [m for m in self.venue.markets if m.kind != layout.PERPETUAL]
        records = [
            record(
                layout.ORACLE_MARK,
                instrument=m.number,
                value=max(1, round(m.value(self.index[m.underlying]) * 100)) * 10_000,
            )
            for m in options
        ]
        return [self.venue.message(1, now, records)]

    def quotes(self, lane: int, now: int) -> bytes | None:
        """The changed quotes of one maker on a few markets, as a mass quote."""
        rng = self.random
        records = []
        first = rng.randrange(len(self.venue.markets))
        for step in range(8):
            market = self.venue.markets[(first + step) % len(self.venue.markets)]
            value = market.value(self.index[market.underlying] * (1 + rng.gauss(0, 2e-5)))
            half = max(market.tick, value * 0.002)
            for side, price in ((0, value - half), (1, value + half)):
                ticks = max(1, round(price / market.tick))
                slot = 2 * market.number + side
                lots = rng.choice((10, 10, 10, 20, 50))
                if self.quoted.get((lane, slot), (0, 0))[0] == ticks:
                    continue
                self.quoted[lane, slot] = (ticks, lots)
                records.append(
                    record(
                        layout.QUOTE_LEG,
                        flags=side,
                        instrument=market.number,
                        slot=slot,
                        price=ticks,
                        quantity=lots,
                    )
                )
        if not records:
            return None
        head = record(layout.MASS_QUOTE, count=len(records))
        return self.venue.message(lane, now, [head, *records])

    def taker(self, lane: int, now: int) -> bytes:
        rng = self.random
        slots = self.resting[lane]
        if slots and rng.random() < 0.4:
            slot = slots.pop(0)
            return self.venue.message(lane, now, [record(layout.CANCEL, slot=slot)])
        market = self.venue.markets[min(rng.randrange(32), rng.randrange(32))]
        value = market.value(self.index[market.underlying])
        side = rng.randrange(2)
        self.labels[lane] += 1
        taking = rng.random() < 0.6
        offset = rng.randrange(3) if taking else -rng.randrange(1, 20)
        ticks = round(value / market.tick) + (offset if side == 0 else -offset)
        flags = side | (layout.IMMEDIATE_OR_CANCEL << 1 if taking else 0)
        slot = layout.ANY_SLOT
        if not taking:
            slot = self.labels[lane] % 64
            slots.append(slot)
        operation = record(
            layout.PLACE,
            flags=flags,
            instrument=market.number,
            slot=slot,
            price=max(1, ticks),
            quantity=rng.choice((1, 1, 2, 5, 10, rng.randrange(1, 200))),
            label=self.labels[lane],
        )
        return self.venue.message(lane, now, [operation])

    def block(self, now: int) -> list[bytes]:
        rng = self.random
        self.index = [value * (1 + rng.gauss(0, 4e-5)) for value in self.index]
        oracle = self.oracle(now)
        messages = ([oracle] if oracle else []) + self.marks(now)
        for lane in self.makers:
            if rng.random() < 0.4:
                quotes = self.quotes(lane, now)
                if quotes:
                    messages.append(quotes)
        for lane in self.takers:
            if rng.random() < 0.1:
                messages.append(self.taker(lane, now))
        return messages


def put_inbox(memory: Memory, items: list[bytes]) -> None:
    """Make inbox items available to the next blocks."""
    memory.write(layout.INBOX_ITEMS_BASE, b"".join(items))
    memory.view(layout.PARAMS_BASE, layout.PARAMS)["inbox_count"] = len(items)


def genesis_memory(venue: Venue) -> Memory:
    """A new memory with the venue's first state."""
    memory = Memory()
    build_genesis(memory.base, venue.configuration)
    return memory


def clone_state(source: Memory) -> Memory:
    """A new memory with the same STATE."""
    copy = Memory()
    for page in source.written_pages("STATE"):
        copy.write(int(page), source.read(int(page), 4096))
    return copy


def build(seconds: int, makers: int, takers: int, seed: int) -> tuple[Venue, Memory, list[bytes]]:
    """The venue after its blocks, the state before them, and the plain blocks."""
    venue = Venue(makers, takers)
    before = clone_state(venue.memory)
    flow = Flow(venue, makers, takers, seed)
    blocks = [
        venue.apply(START_MS + BLOCK_MS * n, flow.block(START_MS + BLOCK_MS * n))
        for n in range(1, seconds * 1000 // BLOCK_MS + 1)
    ]
    return venue, before, blocks


def load(memory: Memory, venue: Venue, data: bytes) -> None:
    memory.clear("SCRATCH")
    memory.clear("JOURNAL")
    memory.write(layout.BATCH_DATA_BASE, data)
    params = memory.view(layout.PARAMS_BASE, layout.PARAMS)
    params["domain"] = struct.unpack("<4Q", venue.domain)
    params["data_bytes"] = len(data)
    params["l1_time"] = START_MS // 1000 + 10**6
    params["inbox_first"] = venue.people
    params["inbox_count"] = 0


def decode_seconds(memory: Memory, venue: Venue, data: bytes, expected: list[bytes]) -> float:
    """Time to decode a batch, its blocks being applied in between; they must be `expected`."""
    load(memory, venue, data)
    started = time.perf_counter()
    status = batch_codec.open_decoder(memory.base)
    spent = time.perf_counter() - started
    if status != 0:
        raise RuntimeError(f"the decoder refused the batch with {status}")
    for plain in expected:
        started = time.perf_counter()
        status = batch_codec.next_block(memory.base)
        spent += time.perf_counter() - started
        if status != 1 or memory.read(layout.SCRATCH_BLOCK_BASE, len(plain)) != plain:
            raise RuntimeError(f"the decoder gave another block, status {status}")
        transition.apply_block(memory.base, layout.SCRATCH_BLOCK_BASE)
    if batch_codec.next_block(memory.base) != 0:
        raise RuntimeError("the decoder did not end with the batch")
    return spent


def measure(seconds: int = 120, makers: int = 8, takers: int = 32, seed: int = 1) -> dict[str, Any]:
    """All figures of the reference workload as one dictionary."""
    venue, before, blocks = build(seconds, makers, takers, seed)
    lanes = sorted(venue.tips)
    warm_up(before, blocks)
    encoder = BatchEncoder(clone_state(before))
    started = time.perf_counter()
    for plain in blocks:
        encoder.add_block(plain)
    added = time.perf_counter() - started
    estimate = encoder.estimated_bytes
    order = first_messages(blocks)
    signatures = [venue.signature(lane) for lane in order]
    started = time.perf_counter()
    data = encoder.finish(signatures)
    finished = time.perf_counter() - started
    operations = encoder.operation_count
    native = min(decode_seconds(clone_state(before), venue, data, blocks) for _ in range(4))
    raw = b"".join(blocks)
    header = venue.memory.view(layout.DURABLE_BASE, layout.HEADER)
    return {
        "seconds": seconds,
        "lanes": len(lanes),
        "blocks": len(blocks),
        "operations": operations,
        "rejections": int(header["rejection_count"]),
        "fills": int(header["fill_count"]),
        "batch_bytes": len(data),
        "estimated_bytes": estimate,
        "bytes_per_operation": round(len(data) / operations, 3),
        "without_signatures": round((len(data) - 64 * len(order)) / operations, 3),
        "raw": round(len(raw) / operations, 2),
        "zlib": round(len(zlib.compress(raw, 9)) / operations, 2),
        "encode_microseconds": round(1e6 * added / operations, 2),
        "finish_seconds": round(finished, 3),
        "decode_nanoseconds": round(1e9 * native / operations, 1),
        **machine_cost(before, venue, blocks),
    }


def warm_up(before: Memory, blocks: list[bytes]) -> None:
    """Compile what is measured, on the first blocks."""
    encoder = BatchEncoder(clone_state(before))
    for plain in blocks[:2]:
        encoder.add_block(plain)
    encoder.finish([])


def machine_cost(before: Memory, venue: Venue, blocks: list[bytes]) -> dict[str, float]:
    """Instructions per record: of decoding alone, and of the whole batch in the kernel's image."""
    signatures = [venue.signature(lane) for lane in first_messages(blocks)]
    alone = encode_batch(clone_state(before), blocks, signatures, codec_image.advance)
    memory = clone_state(before)
    load(memory, venue, alone)
    image = image_of(build_code(("benchmarks.codec_image:decode_only",)))
    execute.load_image(memory, image)
    halt = Translator(image, keep=False).run(memory)
    data = encode_batch(clone_state(before), blocks, signatures)
    load(venue.memory, venue, data)
    params = venue.memory.read(layout.PARAMS_BASE, layout.PARAMS.itemsize)
    run = execute.run_batch(clone_state(before), load_kernel_image(), params, data, b"")
    if halt.exit_code != 0 or run.exit_code != 0 or run.instructions is None:
        raise RuntimeError(f"the machine ended with {halt.exit_code} and {run.exit_code}")
    records = sum(decode_block(plain).operation_count for plain in blocks)
    return {
        "decode_instructions": round(halt.instructions / records, 1),
        "batch_instructions": round(run.instructions / records, 1),
    }


def first_messages(blocks: list[bytes]) -> list[int]:
    """Lanes in the order of their first message."""
    order: dict[int, None] = {}
    for plain in blocks:
        position = 64
        while position < len(plain):
            lane, count, kind = struct.unpack_from("<IHB", plain, position)
            if kind == layout.LANE_MESSAGE:
                order.setdefault(lane)
            position += 32 * (1 + count)
    return list(order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="market time in the batch")
    parser.add_argument("--makers", type=int, default=8)
    parser.add_argument("--takers", type=int, default=32)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.seconds, arguments.makers, arguments.takers), indent=2))


if __name__ == "__main__":
    main()
