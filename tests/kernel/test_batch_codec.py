import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.codec_workload import Workload, decode_all, load_batch, scribble

from entresol.kernel import batch_codec, layout
from entresol.kernel.codec import format as codec
from entresol.kernel.rejections import Invalid
from entresol.machine.memory import Memory
from entresol.rollup.batch_encoder import BatchEncoder, assemble
from entresol.rollup.block import decode_block
from entresol.rollup.entropy_tables import varint
from entresol.rollup.items import RAW
from entresol.rollup.message import Operation, decode_message

ROOT = pathlib.Path(__file__).parents[2]


def encode(blocks: list[bytes]) -> bytes:
    memory = Memory()
    encoder = BatchEncoder(memory, scribble(memory))
    for block in blocks:
        encoder.add_block(block)
    return encoder.finish([bytes([n % 256]) * 64 for n in range(encoder.lane_count)])


def decode(data: bytes) -> tuple[int, list[bytes]]:
    memory = Memory()
    return decode_all(memory, data, scribble(memory))


def status_of(data: bytes) -> int:
    return decode(data)[0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 12))
def test_what_was_encoded_is_decoded(seed, blocks, messages):
    plain = Workload(seed).blocks(blocks, messages)
    assert decode(encode(plain)) == (0, plain)


def test_a_batch_of_many_lanes_and_a_large_block():
    plain = Workload(5, lanes=700).blocks(3, 900)
    data = encode(plain)
    assert decode(data) == (0, plain)
    assert len(data) < sum(map(len, plain)) // 2


def test_signatures_are_found_and_aligned():
    data = encode(Workload(1).blocks(2, 9))
    memory = Memory()
    load_batch(memory, data)
    assert batch_codec.open_decoder(memory.base) == 0
    count = batch_codec.signature_count(memory.base)
    assert count > 2
    for index in range(count):
        address = batch_codec.lane_signature(memory.base, index)
        assert address % 8 == 0
        assert memory.read(address - memory.base, 64) == bytes([index]) * 64


# --- strictness ------------------------------------------------------------------------------


def batch(tail: bytes, blocks: int = 1, version: int = 1, exponent: int = 0) -> bytes:
    """A batch without signatures and tables whose entropy part is `tail`."""
    head = bytes([version, exponent]) + blocks.to_bytes(2, "little") + bytes(4)
    return head + b"\0" + bytes(3) + tail


EMPTY_BLOCK_TAIL = ((codec.STATE_LOW << 24).to_bytes(8, "little")) + b""


def test_the_smallest_batch_is_one_empty_block():
    # Three values of the uniform table, all zero: 24 bits below the state the encoder began with.
    status, blocks = decode(batch(EMPTY_BLOCK_TAIL))
    assert (status, len(blocks)) == (0, 1)
    assert blocks[0] == bytes(64)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", Invalid.BAD_ENCODING),
        (bytes(7), Invalid.BAD_ENCODING),
        (batch(EMPTY_BLOCK_TAIL, version=2), Invalid.BAD_ENCODING),
        (batch(EMPTY_BLOCK_TAIL, exponent=10), Invalid.BAD_ENCODING),
        (batch(EMPTY_BLOCK_TAIL, blocks=0), Invalid.EMPTY),
        (batch(EMPTY_BLOCK_TAIL, blocks=layout.MAX_BLOCKS_PER_BATCH + 1), Invalid.TOO_LARGE),
        (batch(EMPTY_BLOCK_TAIL, blocks=2), Invalid.BAD_ENCODING),
        (batch(EMPTY_BLOCK_TAIL + bytes(4)), Invalid.TRAILING_DATA),
        (batch(EMPTY_BLOCK_TAIL + bytes(1)), Invalid.BAD_ENCODING),
        (batch(EMPTY_BLOCK_TAIL[:7]), Invalid.BAD_ENCODING),
        (batch((codec.STATE_LOW - 1).to_bytes(8, "little")), Invalid.BAD_ENCODING),
        (batch((1 << 63).to_bytes(8, "little")), Invalid.BAD_ENCODING),
        (batch(((codec.STATE_LOW + 1) << 24).to_bytes(8, "little")), Invalid.TRAILING_DATA),
        (bytes([1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0]) + EMPTY_BLOCK_TAIL, Invalid.BAD_ENCODING),
        (bytes([1, 0, 1, 0, 1, 0, 0, 0]) + EMPTY_BLOCK_TAIL, Invalid.BAD_ENCODING),
        (bytes([1, 0, 1, 0, 1, 0, 1, 0]) + EMPTY_BLOCK_TAIL, Invalid.TOO_LARGE),
    ],
)
def test_a_wrong_frame_has_its_own_code(data, status):
    assert status_of(data) == -status


def with_tables(tables: list[bytes], choices: bytes) -> bytes:
    out = bytes([1, 0, 1, 0, 0, 0, 0, 0, len(tables)]) + b"".join(tables) + choices
    return out + bytes(-len(out) % 4) + EMPTY_BLOCK_TAIL


def choose(**columns: int) -> bytes:
    choices = bytearray(codec.CONTEXTS)
    for name, table in columns.items():
        choices[getattr(codec, name.upper())] = table
    return bytes(choices)


ZERO = bytes([0, 1, 0, 0])
"""A table of one symbol: bucket 0."""

TABLE_ERRORS = {
    "log above 12": (bytes([13, 1, 0, 0]), 1),
    "no symbols": (bytes([0, 0, 0]), 1),
    "bucket out of range": (bytes([0, 1, 0]) + varint(252), 1),
    "frequencies exceed the table": (bytes([1, 2, 0, 0, 1, 0]), 1),
    "more symbols than slots": (bytes([0, 2, 0, 0, 0, 0]), 1),
    "padded integer": (bytes([0, 1, 0, 0x80, 0]), 1),
    "endless integer": (bytes([0, 1, 0]) + b"\xff" * 12, 1),
    "unused table": (ZERO, 0),
    "table that does not exist": (ZERO, 2),
}


@pytest.mark.parametrize("name", TABLE_ERRORS)
def test_a_wrong_table_is_refused(name):
    table, choice = TABLE_ERRORS[name]
    assert status_of(with_tables([table], choose(block_time=choice))) == -Invalid.BAD_ENCODING


def test_tables_are_numbered_by_first_use():
    both = [ZERO, ZERO]
    good = with_tables(both, choose(block_time=1, inbox_count=2, message_count=1))
    assert status_of(good) == -Invalid.TRAILING_DATA  # it opens; the values take no bits then
    swapped = with_tables(both, choose(block_time=2, inbox_count=1, message_count=1))
    assert status_of(swapped) == -Invalid.BAD_ENCODING


# --- single items ----------------------------------------------------------------------------

NEW = codec.FORM_NEW_LANE | codec.FORM_COUNT
EXPIRE = layout.EXPIRE << codec.SHAPE_KIND_SHIFT
PLACE = (layout.PLACE << codec.SHAPE_KIND_SHIFT) | codec.ANY_SLOT | codec.CODED_QUANTITY
FIRST = codec.SHAPE_FIRST
BLOCK_ITEMS = [(codec.BLOCK_TIME, 5), (codec.INBOX_COUNT, 0)]
LANE_ITEMS = [(codec.FORM, NEW), (RAW + 15, 77), (codec.RECORD_COUNT, 1)]


def items(*parts: tuple[int, int], blocks: int = 1) -> bytes:
    contexts = np.array([context for context, _ in parts], np.uint16)
    values = np.array([value for _, value in parts], np.int64)
    return assemble(contexts, values, 0, blocks, [])


def message(*parts: tuple[int, int], head=LANE_ITEMS) -> bytes:
    return items(*BLOCK_ITEMS, (codec.MESSAGE_COUNT, 1), *head, *parts)


def test_a_message_from_single_items():
    quantity = (codec.QUANTITY + 1, 9)
    status, (block,) = decode(message((FIRST, PLACE), quantity))
    assert status == 0
    decoded = decode_block(block)
    assert (decoded.number, decoded.time_ms) == (0, 5)
    (operation,) = decode_message(decoded.messages[0]).operations
    best = layout.TICKS - 1  # of a bid side that is all zero
    assert operation == Operation(kind=layout.PLACE, slot=layout.ANY_SLOT, quantity=9, price=best)


SECOND_CODES = {
    "a quantity equal to the expected one": message((FIRST, PLACE), (codec.QUANTITY + 1, 0)),
    "a slot coded beside any slot": message((FIRST, PLACE | codec.CODED_SLOT), (codec.SLOT, 0)),
    "any slot spelled out": message((FIRST, EXPIRE | codec.CODED_SLOT), (codec.SLOT + 2, 0)),
    "an instrument of zero where zero is expected": message(
        (FIRST, EXPIRE | codec.CODED_INSTRUMENT), (codec.INSTRUMENT + 1, 0)
    ),
    "an account of zero": message((FIRST, EXPIRE | codec.CODED_ACCOUNT), (codec.ACCOUNT, 0)),
    "a value of zero": message((FIRST, EXPIRE | codec.CODED_VALUE), (codec.VALUE + 2, 0)),
    "a record count of zero": message(
        (FIRST, EXPIRE), head=[*LANE_ITEMS[:2], (codec.RECORD_COUNT, 0)]
    ),
    "a sequence number that was expected": message(
        (FIRST, EXPIRE),
        head=[
            (codec.FORM, NEW | codec.FORM_SEQUENCE),
            *((RAW + 15, 77), (RAW + 22, 1), (RAW + 21, 0), (RAW + 21, 0)),
            (codec.RECORD_COUNT, 1),
        ],
    ),
    "a valid-until that was expected": message(
        (FIRST, EXPIRE),
        head=[
            (codec.FORM, NEW | codec.FORM_VALID_UNTIL),
            *((RAW + 15, 77), (codec.VALID_UNTIL, 0), (codec.RECORD_COUNT, 1)),
        ],
    ),
    "a fraction of zero": message(
        (FIRST, EXPIRE),
        head=[
            (codec.FORM, NEW | codec.FORM_VALID_UNTIL),
            *((RAW + 15, 77), (codec.VALID_UNTIL, 1), (RAW + 10, 0), (codec.RECORD_COUNT, 1)),
        ],
    ),
    "an owner word of zero": message(
        head=[
            *((codec.FORM, codec.FORM_OWNER), (RAW + 14, 3), (codec.OWNER, 0)),
            *((codec.OWNER + 1, 0), (RAW + 24, 1), (RAW + 22, 0), (RAW + 21, 0), (RAW + 21, 0)),
        ],
    ),
    "a lane named twice": items(
        *BLOCK_ITEMS, (codec.MESSAGE_COUNT, 2), *LANE_ITEMS, (FIRST, EXPIRE), *LANE_ITEMS[:2]
    ),
}


@pytest.mark.parametrize("name", SECOND_CODES)
def test_a_value_has_one_code(name):
    assert status_of(SECOND_CODES[name]) == -Invalid.BAD_ENCODING


UNKNOWN = [*BLOCK_ITEMS, (codec.MESSAGE_COUNT, 1), (codec.FORM, 0)]
OUT_OF_RANGE = {
    "form": items(*BLOCK_ITEMS, (codec.MESSAGE_COUNT, 1), (codec.FORM, 17)),
    "lane never named": items(*UNKNOWN, (codec.LANE, 0)),
    "lane far out": items(*UNKNOWN, (codec.LANE, -1)),
    "records": message(head=[*LANE_ITEMS[:2], (codec.RECORD_COUNT, 32)]),
    "shape": message((FIRST, 1 << 25)),
    "instrument": message(
        (FIRST, EXPIRE | codec.CODED_INSTRUMENT), (codec.INSTRUMENT + 1, 1 << 16)
    ),
    "messages": items(*BLOCK_ITEMS, (codec.MESSAGE_COUNT, layout.MAX_MESSAGES_PER_BLOCK + 1)),
    "time": items((codec.BLOCK_TIME, codec.MAX_TIME_MS + 1)),
    "inbox": items((codec.BLOCK_TIME, 1), (codec.INBOX_COUNT, 1 << 32)),
}  # fmt: skip


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused(name):
    assert status_of(OUT_OF_RANGE[name]) == -Invalid.BAD_ENCODING


def repeated(blocks: int, messages: int, records: int) -> bytes:
    """Blocks of one lane's messages, every record the same: next to nothing when encoded."""
    parts: list[tuple[int, int]] = []
    first = (RAW + 15, 77)
    for block in range(blocks):
        parts += [(codec.BLOCK_TIME, 0), (codec.INBOX_COUNT, 0), (codec.MESSAGE_COUNT, messages)]
        for number in range(messages):
            new = block == number == 0
            parts += [(codec.FORM, NEW), first] if new else [(codec.FORM, 0), (codec.LANE, 0)]
            parts += [(codec.RECORD_COUNT, records)] if new else []
            context = FIRST if new else FIRST + layout.EXPIRE
            parts.append((context, EXPIRE))
            parts += [(codec.SHAPE_NEXT + 2 * layout.EXPIRE, EXPIRE)] * (records - 1)
    return items(*parts, blocks=blocks)


def test_a_block_has_at_most_four_mebibytes():
    most = layout.MAX_BLOCK_BYTES // (32 * 32) - 1
    data = repeated(1, most, 31)
    assert len(data) < 1000
    status, (block,) = decode(data)
    assert (status, len(block)) == (0, 64 + most * 1024)
    assert status_of(repeated(1, most + 1, 31)) == -Invalid.TOO_LARGE


def test_a_batch_has_at_most_so_many_operations():
    most = layout.MAX_OPERATIONS_PER_BATCH // 4096
    status, blocks = decode(repeated(most, 4096, 1))
    assert (status, len(blocks)) == (0, most)
    assert status_of(repeated(most + 1, 4096, 1)) == -Invalid.TOO_LARGE


# --- totality --------------------------------------------------------------------------------


def mutate(data: bytes, noise: random.Random) -> bytes:
    out = bytearray(data)
    choice = noise.randrange(5)
    if choice == 0:
        return bytes(out[: noise.randrange(len(out) + 1)])
    if choice == 1:
        return bytes(out + noise.randbytes(noise.randrange(1, 9)))
    for _ in range(noise.randrange(1, 4)):
        position = noise.randrange(len(out))
        if noise.random() < 0.5:
            # The tables are where structure is.
            position = min(position, noise.randrange(1, 600))
        out[position] = noise.randrange(256)
    return bytes(out)


def fuzz(seed: int, rounds: int) -> int:
    """Decode mutated batches; returns how many were refused.  Must never crash or run on."""
    noise = random.Random(seed)
    memory = Memory()
    apply = scribble(memory)
    sources = [encode(Workload(seed + n).blocks(3, 6)) for n in range(4)]
    refused = 0
    for _ in range(rounds):
        data = mutate(noise.choice(sources), noise)
        memory.clear("STATE")
        status, blocks = decode_all(memory, data, apply)
        assert status <= 0
        assert status == 0 or -status in set(Invalid)
        assert sum(map(len, blocks)) <= 3 * layout.MAX_BLOCK_BYTES
        refused += status != 0
    return refused


def test_mutated_batches_are_refused_or_decoded():
    assert fuzz(11, 300) > 150


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_end_in_a_status(data):
    assert -status_of(bytes([1, 0, 1, 0, 0, 0, 0, 0]) + data) in set(Invalid)


def run_python(code: str, **variables: str) -> str:
    environment = {**os.environ, **variables}
    environment["PYTHONPATH"] = f"{ROOT / 'src'}:{ROOT}"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


SUMMARY = """
import hashlib, tests.kernel.test_batch_codec as t
from tests.kernel.codec_workload import Workload
plain = Workload(3).blocks({blocks}, {messages})
data = t.encode(plain)
assert t.decode(data) == (0, plain)
{more}
print(hashlib.sha256(data).hexdigest())
"""


def test_plain_python_gives_the_same_bytes():
    code = SUMMARY.format(blocks=2, messages=3, more="")
    assert run_python(code) == run_python(code, NUMBA_DISABLE_JIT="1")


@pytest.mark.slow
def test_fuzz_with_bounds_checks():
    code = SUMMARY.format(blocks=4, messages=8, more="assert t.fuzz(77, 2000) > 1000")
    run_python(code, NUMBA_BOUNDSCHECK="1")
