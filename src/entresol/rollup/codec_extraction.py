"""Turns plain blocks into items: the mirror image of kernel/batch_codec.py.

Every function walks the same predictions in the same order as its twin there, and appends what
that twin will read.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.codec import format as codec
from entresol.kernel.codec import model
from entresol.kernel.codec.entropy import cursor_at, fold
from entresol.kernel.codec.model import is_order, lane_memory_at
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_BLOCK_BASE
from entresol.kernel.subset import (
    divide_truncate,
    i64,
    load_i64,
    load_u8,
    remainder_truncate,
)
from entresol.kernel.views import (
    block_header_at,
    durable_at,
    message_header_at,
)
from entresol.rollup.items import RAW, push, push_word, sink_at
from entresol.rollup.native import native_function
from entresol.rollup.record_extraction import extract_order, extract_other

MAX_ITEMS_PER_MESSAGE: Final = 96

OK: Final = 0
BAD_BLOCK_HEADER: Final = 1
BAD_BLOCK_NUMBER: Final = 2
BAD_BLOCK_TIME: Final = 3
BAD_MESSAGE: Final = 4
BAD_TARGET: Final = 5
BAD_VALID_UNTIL: Final = 6
TOO_MANY_OPERATIONS: Final = 7

ERRORS: Final = {
    BAD_BLOCK_HEADER: "the block header does not match the block's messages or limits",
    BAD_BLOCK_NUMBER: "the block does not follow the state it is encoded against",
    BAD_BLOCK_TIME: "the block's time is before the last block's or out of range",
    BAD_MESSAGE: "a message has a wrong version, kind, record count or reserved byte",
    BAD_TARGET: "a message names a lane or account that cannot exist",
    BAD_VALID_UNTIL: "a message's valid-until lies too far from the block's time",
    TOO_MANY_OPERATIONS: "the batch would exceed MAX_OPERATIONS_PER_BATCH; seal it before this",
}

_RECORD_BYTES: Final = layout.OPERATION.itemsize
_BLOCK_HEADER_BYTES: Final = layout.BLOCK_HEADER.itemsize
_OWNER_RECORDS: Final = layout.OWNER_OPERATION.itemsize // _RECORD_BYTES


@native_function
def _extract_records(memory: int, sink: int, lane: int, address: int, count: int) -> None:
    """Twin of _decode_records."""
    remembered = lane_memory_at(lane)
    context = codec.SHAPE_FIRST + i64(remembered.first_class)
    for index in range(count):
        record = address + _RECORD_BYTES * index
        kind = load_u8(record)
        if is_order(kind):
            extract_order(memory, sink, lane, record, context)
        else:
            extract_other(memory, sink, lane, record, context, count - 1 - index)
        place = model.kind_class(kind)
        if index == 0:
            remembered.first_class = place
        context = codec.SHAPE_NEXT + 2 * place + (load_u8(record + 1) & layout.FLAG_SELL)


@native_function
def _valid_units(memory: int, valid_until_ms: int) -> int:
    """How many units ahead of the block's time; beyond MAX_VALID_UNITS if it cannot be carried."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    if valid_until_ms < 0:
        return i64(codec.MAX_VALID_UNITS + 1)
    unit = i64(codec.VALID_UNIT_MS)
    units = divide_truncate(valid_until_ms, unit) - i64(cursor.time_units)
    if units < -codec.MAX_VALID_UNITS:
        return i64(codec.MAX_VALID_UNITS + 1)
    return units


@native_function
def _push_lane_fields(memory: int, sink: int, lane: int, address: int, form: int) -> None:
    """Sequence, valid-until and record count of a lane message, where its form codes them."""
    header = message_header_at(address)
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    remembered = lane_memory_at(lane)
    if form & codec.FORM_SEQUENCE != 0:
        push_word(sink, i64(header.sequence))
    if form & codec.FORM_VALID_UNTIL != 0:
        units = _valid_units(memory, i64(header.valid_until_ms))
        fraction = remainder_truncate(i64(header.valid_until_ms), i64(codec.VALID_UNIT_MS))
        value = fold(units - i64(remembered.valid_units)) << 1
        push(sink, i64(codec.VALID_UNTIL), value | (fraction != 0))
        if fraction != 0:
            push(sink, i64(RAW + codec.VALID_FRACTION_BITS), fraction)
        remembered.valid_units = units
        cursor.valid_units = units
    if form & codec.FORM_COUNT != 0:
        push(sink, i64(codec.RECORD_COUNT), i64(header.record_count))
        remembered.record_count = i64(header.record_count)


@native_function
def _extract_lane_message(memory: int, sink: int, address: int) -> int:
    """Twin of _decode_lane_message; one of the codes above."""
    header = message_header_at(address)
    number = i64(header.target)
    count = i64(header.record_count)
    if number >= layout.LANES:
        return BAD_TARGET
    if count < 1 or count > layout.MAX_RECORDS_PER_MESSAGE:
        return BAD_MESSAGE
    valid_until_ms = i64(header.valid_until_ms)
    units = _valid_units(memory, valid_until_ms)
    if units > codec.MAX_VALID_UNITS:
        return BAD_VALID_UNTIL
    form = i64(0)
    place = model.lane_place(memory, number) - 1
    if place < 0:
        form |= codec.FORM_NEW_LANE
        lane = model.lane_memory_address(memory, model.name_lane(memory, number))
    else:
        lane = model.lane_memory_address(memory, place)
    remembered = lane_memory_at(lane)
    sequence = i64(header.sequence)
    if sequence != model.begin_message(memory, lane):
        form |= codec.FORM_SEQUENCE
    remembered.sequence = sequence + 1
    fraction = remainder_truncate(valid_until_ms, i64(codec.VALID_UNIT_MS))
    if units != i64(remembered.valid_units) or fraction != 0:
        form |= codec.FORM_VALID_UNTIL
    if count != i64(remembered.record_count):
        form |= codec.FORM_COUNT
    push(sink, i64(codec.FORM), form)
    if place < 0:
        push(sink, i64(RAW + codec.LANE_BITS), number)
    else:
        push(sink, i64(codec.LANE), place)
    _push_lane_fields(memory, sink, lane, address, form)
    _extract_records(memory, sink, lane, address + _RECORD_BYTES, count)
    return OK


@native_function
def _extract_owner_message(memory: int, sink: int, address: int) -> int:
    """Twin of _decode_owner_message; one of the codes above."""
    header = message_header_at(address)
    account = i64(header.target)
    if account >= layout.ACCOUNTS:
        return BAD_TARGET
    if i64(header.record_count) != _OWNER_RECORDS:
        return BAD_MESSAGE
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    expected = i64(durable_at(memory + DURABLE_BASE).account[account].owner_nonce) + 1
    late = i64(header.valid_until_ms) - i64(cursor.time_ms)
    push(sink, i64(codec.FORM), i64(codec.FORM_OWNER))
    push(sink, i64(RAW + codec.ACCOUNT_BITS), account)
    context = i64(codec.OWNER + model.OWNER_SEQUENCE)
    push(sink, context, fold(i64(header.sequence) - expected))
    push(sink, i64(codec.OWNER + model.OWNER_VALID_UNTIL), fold(late))
    mask = i64(0)
    for index in range(codec.OWNER_WORDS):
        if load_i64(address + _RECORD_BYTES + 8 * index) != 0:
            mask |= i64(1) << index
    push(sink, i64(RAW + codec.OWNER_WORDS), mask)
    for index in range(codec.OWNER_WORDS):
        word = load_i64(address + _RECORD_BYTES + 8 * index)
        if word != 0:
            push_word(sink, word)
    return OK


@native_function
def _extract_message(memory: int, sink: int, address: int) -> int:
    """Append one message's items; one of the codes above."""
    header = message_header_at(address)
    record = sink_at(sink)
    if i64(header.version) != layout.ENCODING_VERSION or load_i64(address + 24) != 0:
        return BAD_MESSAGE
    record.operation_count = i64(record.operation_count) + i64(header.record_count)
    if i64(record.operation_count) > layout.MAX_OPERATIONS_PER_BATCH:
        return TOO_MANY_OPERATIONS
    if i64(header.kind) == layout.LANE_MESSAGE:
        return _extract_lane_message(memory, sink, address)
    if i64(header.kind) == layout.OWNER_MESSAGE:
        return _extract_owner_message(memory, sink, address)
    return BAD_MESSAGE


@native_function
def extract_block(memory: int, sink: int) -> int:
    """Append the items of the plain block at SCRATCH_BLOCK_BASE; one of the codes above.

    State must be as it is before the block.  After an error the codec's memories are spoilt.
    """
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    state = durable_at(memory + DURABLE_BASE).header
    block = block_header_at(memory + SCRATCH_BLOCK_BASE)
    time_ms = i64(block.time_ms)
    if i64(block.zero) != 0 or i64(block.message_count) > layout.MAX_MESSAGES_PER_BLOCK:
        return BAD_BLOCK_HEADER
    if i64(block.number) != i64(state.next_block):
        return BAD_BLOCK_NUMBER
    if time_ms < i64(state.last_time_ms) or time_ms > codec.MAX_TIME_MS:
        return BAD_BLOCK_TIME
    cursor.block_index = i64(cursor.block_index) + 1
    cursor.time_ms = time_ms
    cursor.time_units = divide_truncate(time_ms, i64(codec.VALID_UNIT_MS))
    push(sink, i64(codec.BLOCK_TIME), time_ms - i64(state.last_time_ms))
    push(sink, i64(codec.INBOX_COUNT), i64(block.inbox_count))
    push(sink, i64(codec.MESSAGE_COUNT), i64(block.message_count))
    address = memory + SCRATCH_BLOCK_BASE + _BLOCK_HEADER_BYTES
    end = address + i64(block.byte_count)
    for _ in range(i64(block.message_count)):
        if address + 2 * _RECORD_BYTES > end:
            return BAD_BLOCK_HEADER
        length = _RECORD_BYTES * (1 + i64(message_header_at(address).record_count))
        if address + length > end:
            return BAD_BLOCK_HEADER
        status = _extract_message(memory, sink, address)
        if status != OK:
            return status
        address += length
    if address != end:
        return BAD_BLOCK_HEADER
    return OK
