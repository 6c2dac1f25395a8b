"""Decodes the published bytes of a batch into plain blocks, one at a time.

`open_decoder`, then `next_block` before each block is applied: it predicts from the state the
last block left behind.  Strict: each block has one code given the batch's tables, and nothing may
follow it.  Total: no input makes it crash, read or write outside its records, or run longer than
the caps of layout.py allow.  Format: docs/protocol/batch-encoding.md.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.codec import format as codec
from entresol.kernel.codec import model
from entresol.kernel.codec.entropy import (
    cursor_at,
    decode_limited,
    decode_value,
    fail,
    read_bits,
    read_byte,
    read_word,
    reject_encoding,
    unfold,
)
from entresol.kernel.codec.model import lane_memory_at
from entresol.kernel.codec.operations import decode_operation
from entresol.kernel.codec.tables import read_tables
from entresol.kernel.layout import BATCH_DATA_BASE, DURABLE_BASE, PARAMS_BASE, SCRATCH_BLOCK_BASE
from entresol.kernel.rejections import Invalid
from entresol.kernel.subset import (
    divide_truncate,
    i64,
    kernel_function,
    load_u8,
    load_u32,
    store_i64,
)
from entresol.kernel.views import block_header_at, durable_at, params_at

_RECORD_BYTES: Final = layout.OPERATION.itemsize
_BLOCK_HEADER_BYTES: Final = layout.BLOCK_HEADER.itemsize
_OWNER_RECORDS: Final = layout.OWNER_OPERATION.itemsize // _RECORD_BYTES
_BAD_PARAMS: Final = int(Invalid.BAD_PARAMS)
_BAD_ENCODING: Final = int(Invalid.BAD_ENCODING)
_TOO_LARGE: Final = int(Invalid.TOO_LARGE)
_TRAILING_DATA: Final = int(Invalid.TRAILING_DATA)
_EMPTY: Final = int(Invalid.EMPTY)


@kernel_function
def _read_header(memory: int, length: int) -> int:
    """Check the fixed header and place the cursor behind the signatures; an Invalid number."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    header = memory + BATCH_DATA_BASE
    if length < codec.HEADER_BYTES or load_u8(header) != codec.CODEC_VERSION:
        return i64(_BAD_ENCODING)
    exponent = load_u8(header + 1)
    if exponent > codec.MAX_VALUE_EXPONENT:
        return i64(_BAD_ENCODING)
    unit = i64(1)
    for _ in range(exponent):
        unit *= 10
    blocks = load_u8(header + 2) | (load_u8(header + 3) << 8)
    signatures = load_u32(header + 4)
    if blocks == 0:
        return i64(_EMPTY)
    if blocks > layout.MAX_BLOCKS_PER_BATCH or signatures > layout.LANES:
        return i64(_TOO_LARGE)
    position = codec.HEADER_BYTES + codec.SIGNATURE_BYTES * signatures
    if position > length:
        return i64(_BAD_ENCODING)
    cursor.value_unit = unit
    cursor.blocks_left = blocks
    cursor.signature_count = signatures
    cursor.position = position
    cursor.words_end = length
    return i64(0)


@kernel_function
def _open_entropy_decoder(memory: int, length: int) -> None:
    """Skip the zero bytes up to a multiple of four and load the decoder's first state."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    for _ in range(3):
        if i64(cursor.position) & 3 != 0:
            if read_byte(memory) != 0:
                reject_encoding(memory)
    position = i64(cursor.position)
    if length - position < 8 or (length - position) & 3 != 0 or position & 3 != 0:
        reject_encoding(memory)
        return
    low = load_u32(memory + BATCH_DATA_BASE + position)
    state = low | (load_u32(memory + BATCH_DATA_BASE + position + 4) << 32)
    if state < codec.STATE_LOW:
        reject_encoding(memory)
    cursor.state = state
    cursor.position = position + 8


@kernel_function
def open_decoder(memory: int) -> int:
    """Read the batch's header and tables; 0, or an Invalid number.

    SCRATCH must be zero, the batch at BATCH_DATA_BASE and its length in PARAMS.data_bytes.
    """
    length = i64(params_at(memory + PARAMS_BASE).data_bytes)
    if length < 0 or length > layout.BATCH_DATA_BYTES:
        return i64(_BAD_PARAMS)
    status = _read_header(memory, length)
    if status != 0:
        return status
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    read_tables(memory)
    if i64(cursor.error) == 0:
        _open_entropy_decoder(memory, length)
    return i64(cursor.error)


# --- messages --------------------------------------------------------------------------------


@kernel_function
def _write_message_header(
    address: int, target: int, count: int, kind: int, valid_until_ms: int, sequence: int
) -> None:
    """Store a message header at the native `address`."""
    version = i64(layout.ENCODING_VERSION)
    store_i64(address, target | (count << 32) | (kind << 48) | (version << 56))
    store_i64(address + 8, valid_until_ms)
    store_i64(address + 16, sequence)
    store_i64(address + 24, 0)


@kernel_function
def _count_records(memory: int, address: int, count: int) -> bool:
    """Add a message's records to the batch's; false and TOO_LARGE when a cap is exceeded."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    end = address + _RECORD_BYTES * (1 + count)
    cursor.operation_count = i64(cursor.operation_count) + count
    if end > memory + SCRATCH_BLOCK_BASE + layout.MAX_BLOCK_BYTES:
        fail(memory, _TOO_LARGE)
        return False
    if i64(cursor.operation_count) > layout.MAX_OPERATIONS_PER_BATCH:
        fail(memory, _TOO_LARGE)
        return False
    return True


@kernel_function
def _decode_owner_message(memory: int, address: int) -> int:
    """Decode an owner message to the native `address`; its length in bytes, 0 on an error."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    if not _count_records(memory, address, i64(_OWNER_RECORDS)):
        return i64(0)
    account = read_bits(memory, codec.ACCOUNT_BITS)
    expected = i64(durable_at(memory + DURABLE_BASE).account[account].owner_nonce) + 1
    context = i64(codec.OWNER + model.OWNER_SEQUENCE)
    sequence = expected + unfold(decode_value(memory, context))
    context = i64(codec.OWNER + model.OWNER_VALID_UNTIL)
    valid_until_ms = i64(cursor.time_ms) + unfold(decode_value(memory, context))
    kind = i64(layout.OWNER_MESSAGE)
    count = i64(_OWNER_RECORDS)
    _write_message_header(address, account, count, kind, valid_until_ms, sequence)
    mask = read_bits(memory, codec.OWNER_WORDS)
    for index in range(codec.OWNER_WORDS):
        word = i64(0)
        if (mask >> index) & 1 != 0:
            word = read_word(memory)
            if word == 0:
                reject_encoding(memory)
        store_i64(address + _RECORD_BYTES + 8 * index, word)
    return _RECORD_BYTES * (1 + count)


@kernel_function
def _decode_valid_until(memory: int, lane: int) -> int:
    """Note how far ahead of the block a coded valid-until lies; its milliseconds beyond a unit."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    remembered = lane_memory_at(lane)
    value = decode_limited(memory, i64(codec.VALID_UNTIL), i64(4 * codec.MAX_VALID_UNITS))
    units = i64(remembered.valid_units) + unfold(value >> 1)
    if units > codec.MAX_VALID_UNITS or units < -codec.MAX_VALID_UNITS or value == 0:
        reject_encoding(memory)
        units = i64(0)
    remembered.valid_units = units
    cursor.valid_units = units
    fraction = i64(0)
    if value & 1 != 0:
        fraction = read_bits(memory, codec.VALID_FRACTION_BITS)
        if fraction == 0 or fraction >= codec.VALID_UNIT_MS:
            reject_encoding(memory)
    return fraction


@kernel_function
def _decode_record_count(memory: int, lane: int) -> int:
    """A coded record count: 1 to 31, and not the lane's last."""
    remembered = lane_memory_at(lane)
    count = decode_limited(memory, i64(codec.RECORD_COUNT), i64(layout.MAX_RECORDS_PER_MESSAGE))
    if count == 0 or count == i64(remembered.record_count):
        reject_encoding(memory)
    remembered.record_count = count
    return count


@kernel_function
def _decode_records(memory: int, lane: int, address: int, count: int) -> None:
    """Decode the records of a lane message to the native `address` and what follows it."""
    remembered = lane_memory_at(lane)
    context = codec.SHAPE_FIRST + i64(remembered.first_class)
    record = address
    for index in range(count):
        kind = decode_operation(memory, lane, record, context, count - 1 - index)
        kind = model.kind_class(kind)
        if index == 0:
            remembered.first_class = kind
        context = codec.SHAPE_NEXT + 2 * kind + (load_u8(record + 1) & layout.FLAG_SELL)
        record += _RECORD_BYTES


@kernel_function
def _decode_lane(memory: int, form: int) -> int:
    """Native address of the memory of the lane that speaks; 0 after an error."""
    if form & codec.FORM_NEW_LANE != 0:
        number = read_bits(memory, codec.LANE_BITS)
        if model.lane_place(memory, number) != 0:
            reject_encoding(memory)
            return i64(0)
        return model.lane_memory_address(memory, model.name_lane(memory, number))
    place = decode_value(memory, i64(codec.LANE))
    if place < 0 or place >= i64(cursor_at(memory + codec.CURSOR_BASE).touched_count):
        reject_encoding(memory)
        return i64(0)
    return model.lane_memory_address(memory, place)


@kernel_function
def _decode_sequence(memory: int, expected: int) -> int:
    """A coded sequence number, which must not be the expected one."""
    sequence = read_word(memory)
    if sequence == expected:
        reject_encoding(memory)
    return sequence


@kernel_function
def _decode_lane_message(memory: int, form: int, address: int) -> int:
    """Decode a lane message to the native `address`; its length in bytes, 0 on an error."""
    lane = _decode_lane(memory, form)
    if lane == 0:
        return i64(0)
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    remembered = lane_memory_at(lane)
    sequence = model.begin_message(memory, lane)
    if form & codec.FORM_SEQUENCE != 0:
        sequence = _decode_sequence(memory, sequence)
    remembered.sequence = sequence + 1
    fraction = i64(0)
    if form & codec.FORM_VALID_UNTIL != 0:
        fraction = _decode_valid_until(memory, lane)
    units = i64(cursor.time_units) + i64(remembered.valid_units)
    count = i64(remembered.record_count)
    if form & codec.FORM_COUNT != 0:
        count = _decode_record_count(memory, lane)
    if units < 0 or count == 0:
        reject_encoding(memory)
        return i64(0)
    if not _count_records(memory, address, count):
        return i64(0)
    kind = i64(layout.LANE_MESSAGE)
    valid_until_ms = units * codec.VALID_UNIT_MS + fraction
    target = i64(remembered.lane)
    _write_message_header(address, target, count, kind, valid_until_ms, sequence)
    _decode_records(memory, lane, address + _RECORD_BYTES, count)
    return _RECORD_BYTES * (1 + count)


# --- blocks ----------------------------------------------------------------------------------


@kernel_function
def _decode_messages(memory: int, count: int) -> int:
    """Decode `count` messages behind the block header; their length in bytes."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    start = memory + SCRATCH_BLOCK_BASE + _BLOCK_HEADER_BYTES
    address = start
    for _ in range(count):
        form = decode_limited(memory, i64(codec.FORM), i64(codec.FORM_OWNER))
        if form == codec.FORM_OWNER:
            address += _decode_owner_message(memory, address)
        else:
            address += _decode_lane_message(memory, form, address)
        if i64(cursor.error) != 0:
            break
    return address - start


@kernel_function
def _finish(memory: int) -> int:
    """0 when the batch ended exactly where the encoder began, else a negative Invalid number."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    if i64(cursor.position) != i64(cursor.words_end):
        return i64(-_TRAILING_DATA)
    if i64(cursor.state) != codec.STATE_LOW:
        return i64(-_TRAILING_DATA)
    return i64(0)


@kernel_function
def next_block(memory: int) -> int:
    """Decode the next block to SCRATCH_BLOCK_BASE.

    1: a plain block is there; 0: the batch is finished, nothing is left over; negative: minus an
    Invalid number.  The block before it must have been applied.
    """
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    if i64(cursor.error) != 0:
        return -i64(cursor.error)
    if i64(cursor.blocks_left) == 0:
        return _finish(memory)
    cursor.blocks_left = i64(cursor.blocks_left) - 1
    cursor.block_index = i64(cursor.block_index) + 1
    state = durable_at(memory + DURABLE_BASE).header
    limit = i64(codec.MAX_TIME_MS)
    time_ms = i64(state.last_time_ms) + decode_limited(memory, i64(codec.BLOCK_TIME), limit)
    if time_ms < 0 or time_ms > codec.MAX_TIME_MS:
        reject_encoding(memory)
        time_ms = i64(0)
    cursor.time_ms = time_ms
    cursor.time_units = divide_truncate(time_ms, i64(codec.VALID_UNIT_MS))
    inbox_count = decode_limited(memory, i64(codec.INBOX_COUNT), i64(0xFFFF_FFFF))
    limit = i64(layout.MAX_MESSAGES_PER_BLOCK)
    message_count = decode_limited(memory, i64(codec.MESSAGE_COUNT), limit)
    length = _decode_messages(memory, message_count)
    header = block_header_at(memory + SCRATCH_BLOCK_BASE)
    header.number = i64(state.next_block)
    header.time_ms = time_ms
    header.inbox_count = inbox_count
    header.message_count = message_count
    header.byte_count = length
    header.zero = 0
    if i64(cursor.error) != 0:
        return -i64(cursor.error)
    return i64(1)


# --- signatures ------------------------------------------------------------------------------


@kernel_function
def signature_count(memory: int) -> int:
    """Lane signatures that the batch carries."""
    return i64(cursor_at(memory + codec.CURSOR_BASE).signature_count)


@kernel_function
def lane_signature(memory: int, index: int) -> int:
    """Native address (8-aligned) of a signature's 64 bytes; `index` is below signature_count."""
    return memory + BATCH_DATA_BASE + codec.HEADER_BYTES + codec.SIGNATURE_BYTES * index
