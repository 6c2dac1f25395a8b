"""Turns plain blocks into the values that the entropy coder carries: the decoder's mirror image.

Every function here walks the same predictions (kernel/codec/model.py) in the same order as its
twin in kernel/batch_codec.py and kernel/codec/operations.py, and appends what that twin will read.
It runs natively only.
"""

from typing import Final

import numpy as np

from entresol.kernel import layout
from entresol.kernel.codec import format as codec
from entresol.kernel.codec import model
from entresol.kernel.codec.entropy import cursor_at, fold
from entresol.kernel.codec.model import is_oracle, is_order, lane_memory_at
from entresol.kernel.codec.tables import bucket_bits, bucket_of
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_BLOCK_BASE, _record
from entresol.kernel.subset import (
    divide_truncate,
    i64,
    kernel_function,
    load_i64,
    load_u8,
    record_at,
    remainder_truncate,
    shift_right,
    store_i64,
    store_u16,
)
from entresol.kernel.views import (
    block_header_at,
    durable_at,
    message_header_at,
    operation_at,
)

SINK: Final = _record(
    [
        ("count", "u8"),
        ("contexts", "u8"),  # native address of u2 per item
        ("values", "u8"),  # native address of i8 per item
        ("value_exponent", "u8"),  # every oracle price so far is a multiple of 10 to this power
        ("operation_count", "u8"),
    ],
    64,
)
"""Where the items go; the arrays are the caller's and large enough."""

RAW: Final = 256
"""An item's context from here on: RAW + n means n equally likely bits."""

MAX_ITEMS_PER_MESSAGE: Final = 96
MAX_ITEMS_PER_RECORD: Final = 12

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

_WORD: Final = 0xFFFF_FFFF
_HALF: Final = 0xFFFF
_RECORD_BYTES: Final = layout.OPERATION.itemsize
_BLOCK_HEADER_BYTES: Final = layout.BLOCK_HEADER.itemsize
_OWNER_RECORDS: Final = layout.OWNER_OPERATION.itemsize // _RECORD_BYTES

sink_at = record_at(SINK)


def new_sink() -> np.ndarray:
    """A sink without arrays, as a one-record array."""
    sink = np.zeros(1, SINK)
    sink["value_exponent"] = codec.MAX_VALUE_EXPONENT
    return sink


@kernel_function
def _push(sink: int, context: int, value: int) -> None:
    record = sink_at(sink)
    count = i64(record.count)
    store_u16(i64(record.contexts) + 2 * count, context)
    store_i64(i64(record.values) + 8 * count, value)
    record.count = count + 1


@kernel_function
def _push_word(sink: int, word: int) -> None:
    """64 raw bits in the pieces that read_word reads."""
    _push(sink, i64(RAW + 22), word & ((1 << 22) - 1))
    _push(sink, i64(RAW + 21), shift_right(word, 22) & ((1 << 21) - 1))
    _push(sink, i64(RAW + 21), shift_right(word, 43))


# --- records ---------------------------------------------------------------------------------


@kernel_function
def _extract_rare(sink: int, address: int, coded: int) -> None:
    """Value (of a kind that is no oracle's), account and count, where coded."""
    record = operation_at(address)
    if coded & codec.CODED_VALUE != 0:
        _push(sink, i64(codec.VALUE + model.VALUE_OTHER), fold(i64(record.value)))
    if coded & codec.CODED_ACCOUNT != 0:
        _push(sink, i64(codec.ACCOUNT), i64(record.account))
    if coded & codec.CODED_COUNT != 0:
        _push(sink, i64(codec.COUNT), i64(record.count))


@kernel_function
def _slot_code(lane: int, address: int, kind: int) -> int:
    """CODED bits of the slot; remembers the slot."""
    slot = i64(operation_at(address).slot)
    if slot == layout.ANY_SLOT:
        return i64(codec.ANY_SLOT)
    expected = i64(0)
    if is_order(kind) or kind == layout.CANCEL:
        remembered = lane_memory_at(lane)
        expected = (i64(remembered.slot) + 1) & _HALF
        remembered.slot = slot
    return i64(codec.CODED_SLOT if slot != expected else 0)


@kernel_function
def _push_slot(sink: int, kind: int, slot: int, before: int) -> None:
    """The slot's residual; `before` is the lane's slot before this record."""
    if is_order(kind):
        context = codec.SLOT + model.SLOT_ORDER
    elif kind == layout.CANCEL:
        context = codec.SLOT + model.SLOT_CANCEL
    else:
        _push(sink, i64(codec.SLOT + model.SLOT_OTHER), (fold(model.signed_half(slot)) & _HALF) - 1)
        return
    residual = model.signed_half(slot - before - 1)
    _push(sink, i64(context), (fold(residual) & _HALF) - 1)


@kernel_function
def _coded(value: int, expected: int, bit: int) -> int:
    if value != expected:
        return i64(bit)
    return i64(0)


@kernel_function
def _rare_code(address: int, expected_count: int) -> int:
    """CODED bits of value, account and count where the kind says nothing about them."""
    record = operation_at(address)
    coded = _coded(i64(record.value), i64(0), i64(codec.CODED_VALUE))
    coded |= _coded(i64(record.account), i64(0), i64(codec.CODED_ACCOUNT))
    return coded | _coded(i64(record.count), expected_count, i64(codec.CODED_COUNT))


@kernel_function
def _push_order_price(sink: int, context: int, price: int, expected: int, flags: int) -> None:
    residual = price - expected
    if context != model.PRICE_MEMORY and flags & layout.FLAG_SELL != 0:
        residual = -residual
    value = fold(model.signed_word(residual)) & _WORD
    _push(sink, codec.PRICE + context, value - 1)


@kernel_function
def _push_order_fields(
    sink: int, lane: int, address: int, coded: int, price_context: int, expected_price: int
) -> None:
    """Price and label of an order-like record, where coded."""
    record = operation_at(address)
    empties = i64(record.quantity) == 0
    if coded & codec.CODED_PRICE != 0:
        price = i64(record.price)
        if empties:
            _push(sink, i64(codec.PRICE + model.PRICE_OTHER), price)
        else:
            _push_order_price(sink, price_context, price, expected_price, i64(record.flags))
    if coded & codec.CODED_LABEL != 0:
        label = i64(record.label)
        if empties:
            _push(sink, i64(codec.LABEL), label)
        else:
            residual = model.signed_word(label - i64(lane_memory_at(lane).label))
            _push(sink, i64(codec.LABEL), fold(residual) & _WORD)


@kernel_function
def _extract_order(memory: int, sink: int, lane: int, address: int, context: int) -> None:
    """Twin of _decode_order."""
    record = operation_at(address)
    kind = i64(record.kind)
    slot = i64(record.slot)
    before = i64(lane_memory_at(lane).slot)
    coded = _slot_code(lane, address, kind)
    if slot == layout.ANY_SLOT:
        seen = model.forget_any_slot(memory)
    else:
        seen = model.recall_slot(memory, i64(lane_memory_at(lane).account), slot)
    flags = i64(record.flags)
    instrument = i64(record.instrument)
    quantity = i64(record.quantity)
    expected = model.predicted_instrument(lane, seen)
    coded |= _coded(instrument, expected, i64(codec.CODED_INSTRUMENT))
    quantity_context = model.quantity_context(seen, instrument)
    expected = model.predicted_quantity(lane, seen, quantity_context)
    coded |= _coded(quantity, expected, i64(codec.CODED_QUANTITY))
    price_context = i64(model.PRICE_OTHER)
    expected_price = model.emptied_price(seen, instrument)
    expected_label = i64(0)
    if quantity != 0:
        price_context = model.price_context(seen, instrument, flags)
        expected_price = model.predicted_price(memory, seen, instrument, flags, price_context)
        expected_label = model.predicted_label(lane)
    coded |= _coded(i64(record.price), expected_price, i64(codec.CODED_PRICE))
    coded |= _coded(i64(record.label), expected_label, i64(codec.CODED_LABEL))
    coded |= _rare_code(address, i64(0))
    flags ^= model.predicted_flags(seen)
    shape = (kind << codec.SHAPE_KIND_SHIFT) | (flags << codec.SHAPE_FLAGS_SHIFT) | coded
    _push(sink, context, shape)
    if coded & codec.CODED_SLOT != 0:
        _push_slot(sink, kind, slot, before)
    if coded & codec.CODED_INSTRUMENT != 0:
        _push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_ORDER), instrument)
    if coded & codec.CODED_QUANTITY != 0:
        _push(sink, codec.QUANTITY + quantity_context, quantity)
    _push_order_fields(sink, lane, address, coded, price_context, expected_price)
    _extract_rare(sink, address, coded)
    model.remember_order(memory, lane, seen, address)


@kernel_function
def _note_unit(sink: int, value: int) -> None:
    """Lower the value exponent until `value` is a multiple of its power of ten."""
    record = sink_at(sink)
    exponent = i64(record.value_exponent)
    if value >= 1 << 62 or value <= -(1 << 62):
        exponent = i64(0)
    for _ in range(codec.MAX_VALUE_EXPONENT):
        power = i64(1)
        for _ in range(exponent):
            power *= 10
        if remainder_truncate(value, power) != 0:
            exponent -= 1
    record.value_exponent = exponent


@kernel_function
def _oracle_before(memory: int, kind: int, instrument: int) -> int:
    """The oracle price before the block; divided by the unit once that is known."""
    durable = durable_at(memory + DURABLE_BASE)
    if kind == layout.ORACLE_INDEX:
        return i64(durable.underlying[instrument & (layout.UNDERLYINGS - 1)].index)
    return i64(durable.risk[instrument & (layout.INSTRUMENTS - 1)].mark)


@kernel_function
def _other_code(memory: int, lane: int, address: int, left: int) -> int:
    """CODED bits of a record that is no order, without the slot's."""
    record = operation_at(address)
    kind = i64(record.kind)
    expected = i64(0)
    if is_oracle(kind):
        expected = (i64(lane_memory_at(lane).instrument) + 1) & _HALF
    coded = _coded(i64(record.instrument), expected, i64(codec.CODED_INSTRUMENT))
    coded |= _coded(i64(record.quantity), i64(0), i64(codec.CODED_QUANTITY))
    coded |= _coded(i64(record.price), i64(0), i64(codec.CODED_PRICE))
    coded |= _coded(i64(record.label), i64(0), i64(codec.CODED_LABEL))
    expected = left if kind == layout.MASS_QUOTE else i64(0)
    coded |= _rare_code(address, expected)
    if is_oracle(kind):
        before = _oracle_before(memory, kind, i64(record.instrument))
        coded &= ~codec.CODED_VALUE
        coded |= _coded(i64(record.value), before, i64(codec.CODED_VALUE))
    return coded


@kernel_function
def _extract_other(
    memory: int, sink: int, lane: int, address: int, context: int, left: int
) -> None:
    """Twin of _decode_other_kind."""
    record = operation_at(address)
    kind = i64(record.kind)
    instrument = i64(record.instrument)
    before = i64(lane_memory_at(lane).slot)
    coded = _slot_code(lane, address, kind) | _other_code(memory, lane, address, left)
    shape = (kind << codec.SHAPE_KIND_SHIFT) | (i64(record.flags) << codec.SHAPE_FLAGS_SHIFT)
    _push(sink, context, shape | coded)
    if coded & codec.CODED_SLOT != 0:
        _push_slot(sink, kind, i64(record.slot), before)
    if coded & codec.CODED_INSTRUMENT != 0:
        _push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER), instrument)
    if coded & codec.CODED_QUANTITY != 0:
        _push(sink, i64(codec.QUANTITY + model.QUANTITY_OTHER), i64(record.quantity))
    if coded & codec.CODED_PRICE != 0:
        _push(sink, i64(codec.PRICE + model.PRICE_OTHER), i64(record.price))
    if coded & codec.CODED_LABEL != 0:
        _push(sink, i64(codec.LABEL), i64(record.label))
    if not is_oracle(kind):
        _extract_rare(sink, address, coded)
        return
    lane_memory_at(lane).instrument = instrument
    _extract_rare(sink, address, coded & ~codec.CODED_VALUE)
    price = _oracle_before(memory, kind, instrument)
    _note_unit(sink, i64(record.value))
    _note_unit(sink, price)
    if coded & codec.CODED_VALUE != 0:
        column = model.VALUE_MARK if kind == layout.ORACLE_MARK else model.VALUE_INDEX
        _push(sink, i64(codec.VALUE + column), i64(record.value) - price)


# --- messages --------------------------------------------------------------------------------


@kernel_function
def _extract_records(memory: int, sink: int, lane: int, address: int, count: int) -> None:
    """Twin of _decode_records."""
    remembered = lane_memory_at(lane)
    context = codec.SHAPE_FIRST + i64(remembered.first_class)
    for index in range(count):
        record = address + _RECORD_BYTES * index
        kind = load_u8(record)
        if is_order(kind):
            _extract_order(memory, sink, lane, record, context)
        else:
            _extract_other(memory, sink, lane, record, context, count - 1 - index)
        place = model.kind_class(kind)
        if index == 0:
            remembered.first_class = place
        context = codec.SHAPE_NEXT + 2 * place + (load_u8(record + 1) & layout.FLAG_SELL)


@kernel_function
def _extract_valid_until(memory: int, sink: int, lane: int, valid_until_ms: int) -> int:
    """Twin of _decode_valid_until."""
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    remembered = lane_memory_at(lane)
    if valid_until_ms < 0:
        return BAD_VALID_UNTIL
    unit = i64(codec.VALID_UNIT_MS)
    units = divide_truncate(valid_until_ms, unit) - divide_truncate(i64(cursor.time_ms), unit)
    if units > codec.MAX_VALID_UNITS or units < -codec.MAX_VALID_UNITS:
        return BAD_VALID_UNTIL
    fraction = remainder_truncate(valid_until_ms, unit)
    value = fold(units - i64(remembered.valid_units)) << 1
    if fraction != 0:
        value |= 1
    _push(sink, i64(codec.VALID_UNTIL), value)
    if fraction != 0:
        _push(sink, i64(RAW + codec.VALID_FRACTION_BITS), fraction)
    remembered.valid_units = units
    cursor.valid_units = units
    return OK


@kernel_function
def _extract_lane_message(memory: int, sink: int, address: int) -> int:
    """Twin of _decode_lane_message; one of the codes above."""
    header = message_header_at(address)
    number = i64(header.target)
    count = i64(header.record_count)
    if number >= layout.LANES:
        return BAD_TARGET
    if count < 1 or count > layout.MAX_RECORDS_PER_MESSAGE:
        return BAD_MESSAGE
    place = model.lane_place(memory, number) - 1
    is_new = place < 0
    if is_new:
        place = model.name_lane(memory, number)
    sequence = i64(header.sequence)
    explicit = sequence != model.begin_message(memory, place)
    if explicit:
        _push(sink, i64(codec.LANE), i64(codec.LANE_SEQUENCE))
    if is_new:
        _push(sink, i64(codec.LANE), i64(codec.LANE_NEW))
        _push(sink, i64(RAW + codec.LANE_BITS), number)
    else:
        _push(sink, i64(codec.LANE), codec.LANE_KNOWN + place)
    if explicit:
        _push_word(sink, sequence)
    lane = model.lane_memory_address(memory, place)
    remembered = lane_memory_at(lane)
    remembered.sequence = sequence + 1
    status = _extract_valid_until(memory, sink, lane, i64(header.valid_until_ms))
    if status != OK:
        return status
    _push(sink, i64(codec.RECORD_COUNT), i64(0) if i64(remembered.record_count) == count else count)
    remembered.record_count = count
    _extract_records(memory, sink, lane, address + _RECORD_BYTES, count)
    return OK


@kernel_function
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
    _push(sink, i64(codec.LANE), i64(codec.LANE_OWNER))
    _push(sink, i64(RAW + codec.ACCOUNT_BITS), account)
    context = i64(codec.OWNER + model.OWNER_SEQUENCE)
    _push(sink, context, fold(i64(header.sequence) - expected))
    _push(sink, i64(codec.OWNER + model.OWNER_VALID_UNTIL), fold(late))
    mask = i64(0)
    for index in range(codec.OWNER_WORDS):
        if load_i64(address + _RECORD_BYTES + 8 * index) != 0:
            mask |= i64(1) << index
    _push(sink, i64(RAW + codec.OWNER_WORDS), mask)
    for index in range(codec.OWNER_WORDS):
        word = load_i64(address + _RECORD_BYTES + 8 * index)
        if word != 0:
            _push_word(sink, word)
    return OK


@kernel_function
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


@kernel_function
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
    _push(sink, i64(codec.BLOCK_TIME), time_ms - i64(state.last_time_ms))
    _push(sink, i64(codec.INBOX_COUNT), i64(block.inbox_count))
    _push(sink, i64(codec.MESSAGE_COUNT), i64(block.message_count))
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


# --- size estimate ---------------------------------------------------------------------------


@kernel_function
def _estimate_items(
    contexts: np.ndarray, values: np.ndarray, counts: np.ndarray, logarithms: np.ndarray
) -> int:
    """Cost of items in 1/256 bit under counts that adapt as they go."""
    cost = i64(0)
    for index in range(len(contexts)):
        context = i64(contexts[index])
        if context >= RAW:
            cost += 256 * (context - RAW)
            continue
        value = i64(values[index])
        if codec.SHAPE_FIRST <= context < codec.SLOT:
            bucket = remainder_truncate(value, i64(251))
        else:
            if codec.VALUE <= context < codec.VALUE + model.VALUE_OTHER:
                value = fold(value)
            bucket = bucket_of(value)
            cost += 256 * bucket_bits(bucket)
        row = counts[context]
        cost += logarithms[row[255] + 16] - logarithms[row[bucket] + 1]
        row[bucket] += 1
        row[255] += 1
        if row[255] >= 4000:
            total = i64(0)
            for place in range(255):
                row[place] >>= 1
                total += row[place]
            row[255] = total
    return cost


class Estimate:
    """Running estimate of what the items so far will take once encoded."""

    def __init__(self, logarithms: np.ndarray) -> None:
        self._logarithms = logarithms
        self._counts = np.zeros((codec.CONTEXTS, 256), np.int64)
        self.bits = 0
        """In 1/256 bit."""

    def add(self, contexts: np.ndarray, values: np.ndarray) -> None:
        """Take the items of one more block."""
        cost = _estimate_items(contexts, values, self._counts, self._logarithms)
        self.bits += int(cost)
