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
from entresol.kernel.codec.model import is_oracle, is_order, lane_memory_at, slot_memory_at
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
def _coded(value: int, expected: int, bit: int) -> int:
    """The shape's bit of a field: set unless the field is as expected."""
    if value != expected:
        return i64(bit)
    return i64(0)


@kernel_function
def _slot_code(slot: int, expected: int) -> int:
    """CODED bits of a slot."""
    if slot == layout.ANY_SLOT:
        return i64(codec.ANY_SLOT)
    return _coded(slot, expected & _HALF, i64(codec.CODED_SLOT))


@kernel_function
def _rare_code(address: int, expected_count: int) -> int:
    """CODED bits of value, account and count where the kind says nothing about them."""
    record = operation_at(address)
    coded = _coded(i64(record.value), i64(0), i64(codec.CODED_VALUE))
    coded |= _coded(i64(record.account), i64(0), i64(codec.CODED_ACCOUNT))
    return coded | _coded(i64(record.count), expected_count, i64(codec.CODED_COUNT))


@kernel_function
def _push_slot(sink: int, coded: int, context: int, slot: int, expected: int) -> None:
    if coded & codec.CODED_SLOT != 0:
        residual = model.signed_half(slot - expected)
        _push(sink, context, (fold(residual) & _HALF) - 1)


@kernel_function
def _push_rare(sink: int, address: int, coded: int) -> None:
    """Twin of _decode_rare."""
    record = operation_at(address)
    if coded & codec.CODED_VALUE != 0:
        _push(sink, i64(codec.VALUE + model.VALUE_OTHER), fold(i64(record.value)))
    if coded & codec.CODED_ACCOUNT != 0:
        _push(sink, i64(codec.ACCOUNT), i64(record.account))
    if coded & codec.CODED_COUNT != 0:
        _push(sink, i64(codec.COUNT), i64(record.count))


@kernel_function
def _push_price_and_label(
    sink: int, lane: int, address: int, coded: int, context: int, expected: int
) -> None:
    """Price and label of an order-like record, where coded; `context` is the price's."""
    record = operation_at(address)
    empties = i64(record.quantity) == 0
    if coded & codec.CODED_PRICE != 0:
        price = i64(record.price)
        if not empties:
            residual = price - expected
            outward = context != codec.PRICE + model.PRICE_REQUOTED
            if outward and i64(record.flags) & layout.FLAG_SELL != 0:
                residual = -residual
            price = (fold(model.signed_word(residual)) & _WORD) - 1
        _push(sink, context, price)
    if coded & codec.CODED_LABEL != 0:
        label = i64(record.label)
        if not empties:
            residual = model.signed_word(label - i64(lane_memory_at(lane).label))
            label = fold(residual) & _WORD
        _push(sink, i64(codec.LABEL), label)


@kernel_function
def _remember_order(memory: int, lane: int, seen: int, address: int, before: int) -> None:
    """What the decoder keeps of an order-like record."""
    record = operation_at(address)
    if i64(record.quantity) == 0:
        slot_memory_at(seen).known = 0
        return
    price = i64(record.price)
    quantity = i64(record.quantity)
    instrument = i64(record.instrument)
    side = i64(record.flags) & layout.FLAG_SELL
    model.remember_price(memory, before, price, instrument, side)
    model.remember_slot(seen, price, quantity, instrument, side)
    model.remember_lane(lane, quantity, instrument, i64(record.label))


@kernel_function
def _recall(memory: int, lane: int, slot: int) -> int:
    """Memory of the slot an order-like record names; the lane remembers the slot."""
    if slot == layout.ANY_SLOT:
        return model.recall_no_slot(memory)
    remembered = lane_memory_at(lane)
    remembered.slot = slot
    return model.recall_slot(memory, i64(remembered.account), slot)


@kernel_function
def _extract_order(memory: int, sink: int, lane: int, address: int, context: int) -> None:
    """Twin of _decode_order."""
    record = operation_at(address)
    remembered = lane_memory_at(lane)
    slot = i64(record.slot)
    instrument = i64(record.instrument)
    quantity = i64(record.quantity)
    flags = i64(record.flags)
    next_slot = i64(remembered.slot) + 1
    seen = _recall(memory, lane, slot)
    place = slot_memory_at(seen)
    shape_flags = flags
    expected_instrument = i64(remembered.instrument) & _HALF
    expected_quantity = i64(remembered.quantity)
    quantity_context = i64(codec.QUANTITY + model.QUANTITY_NEW)
    before = i64(-1)
    if i64(place.known) != 0:
        shape_flags ^= i64(place.side)
        expected_instrument = i64(place.instrument)
        if instrument == expected_instrument:
            expected_quantity = i64(place.quantity)
            quantity_context = i64(codec.QUANTITY + model.QUANTITY_REQUOTED)
            before = i64(place.price)
    expected_label = i64(0)
    if quantity == 0:
        price_context = i64(codec.PRICE + model.PRICE_OTHER)
        expected_price = before if before >= 0 else i64(0)
    else:
        expected_label = model.expected_label(lane)
        if before >= 0:
            price_context = i64(codec.PRICE + model.PRICE_REQUOTED)
            expected_price = model.requoted_price(memory, before, instrument)
        else:
            price_context = model.new_price_context(flags)
            expected_price = model.new_price(memory, instrument, flags)
    coded = _slot_code(slot, next_slot) | _rare_code(address, i64(0))
    coded |= _coded(instrument, expected_instrument, i64(codec.CODED_INSTRUMENT))
    coded |= _coded(quantity, expected_quantity, i64(codec.CODED_QUANTITY))
    coded |= _coded(i64(record.price), expected_price, i64(codec.CODED_PRICE))
    coded |= _coded(i64(record.label), expected_label, i64(codec.CODED_LABEL))
    _push(sink, context, _shape(i64(record.kind), shape_flags, coded))
    _push_slot(sink, coded, i64(codec.SLOT + model.SLOT_ORDER), slot, next_slot)
    if coded & codec.CODED_INSTRUMENT != 0:
        _push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_ORDER), instrument)
    if coded & codec.CODED_QUANTITY != 0:
        _push(sink, quantity_context, quantity)
    _push_rare(sink, address, coded)
    _push_price_and_label(sink, lane, address, coded, price_context, expected_price)
    _remember_order(memory, lane, seen, address, before)


@kernel_function
def _shape(kind: int, flags: int, coded: int) -> int:
    return (kind << codec.SHAPE_KIND_SHIFT) | (flags << codec.SHAPE_FLAGS_SHIFT) | coded


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
def _extract_oracle(memory: int, sink: int, lane: int, address: int, coded: int) -> None:
    """Twin of _decode_oracle; the change of price is divided by its unit when that is known."""
    record = operation_at(address)
    remembered = lane_memory_at(lane)
    instrument = i64(record.instrument)
    remembered.instrument = instrument
    if coded & codec.CODED_INSTRUMENT != 0:
        _push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER), instrument)
    price = _oracle_before(memory, i64(record.kind), instrument)
    _note_unit(sink, i64(record.value))
    _note_unit(sink, price)
    if coded & codec.CODED_VALUE != 0:
        context = i64(codec.VALUE + model.VALUE_INDEX)
        if i64(record.kind) == layout.ORACLE_MARK:
            context = i64(codec.VALUE + model.VALUE_MARK)
        _push(sink, context, i64(record.value) - price)


@kernel_function
def _oracle_before(memory: int, kind: int, instrument: int) -> int:
    """The oracle price before the block."""
    durable = durable_at(memory + DURABLE_BASE)
    if kind == layout.ORACLE_INDEX:
        return i64(durable.underlying[instrument & (layout.UNDERLYINGS - 1)].index)
    return i64(durable.risk[instrument & (layout.INSTRUMENTS - 1)].mark)


@kernel_function
def _other_code(memory: int, lane: int, address: int, left: int) -> int:
    """CODED bits of a record that is no order, without the slot's."""
    record = operation_at(address)
    kind = i64(record.kind)
    coded = _coded(i64(record.quantity), i64(0), i64(codec.CODED_QUANTITY))
    coded |= _coded(i64(record.price), i64(0), i64(codec.CODED_PRICE))
    coded |= _coded(i64(record.label), i64(0), i64(codec.CODED_LABEL))
    coded |= _rare_code(address, left if kind == layout.MASS_QUOTE else i64(0))
    expected = i64(0)
    if is_oracle(kind):
        expected = (i64(lane_memory_at(lane).instrument) + 1) & _HALF
        before = _oracle_before(memory, kind, i64(record.instrument))
        coded &= ~codec.CODED_VALUE
        coded |= _coded(i64(record.value), before, i64(codec.CODED_VALUE))
    return coded | _coded(i64(record.instrument), expected, i64(codec.CODED_INSTRUMENT))


@kernel_function
def _push_unpredicted(sink: int, address: int, coded: int) -> None:
    """Twin of _decode_unpredicted."""
    record = operation_at(address)
    if coded & codec.CODED_QUANTITY != 0:
        _push(sink, i64(codec.QUANTITY + model.QUANTITY_OTHER), i64(record.quantity))
    if coded & codec.CODED_PRICE != 0:
        _push(sink, i64(codec.PRICE + model.PRICE_OTHER), i64(record.price))
    if coded & codec.CODED_LABEL != 0:
        _push(sink, i64(codec.LABEL), i64(record.label))


@kernel_function
def _extract_other(
    memory: int, sink: int, lane: int, address: int, context: int, left: int
) -> None:
    """Twin of _decode_other_kind."""
    record = operation_at(address)
    kind = i64(record.kind)
    slot = i64(record.slot)
    expected = i64(0)
    slot_context = i64(codec.SLOT + model.SLOT_OTHER)
    if kind == layout.CANCEL:
        remembered = lane_memory_at(lane)
        expected = i64(remembered.slot) + 1
        slot_context = i64(codec.SLOT + model.SLOT_CANCEL)
        if slot != layout.ANY_SLOT:
            remembered.slot = slot
    coded = _slot_code(slot, expected) | _other_code(memory, lane, address, left)
    _push(sink, context, _shape(kind, i64(record.flags), coded))
    _push_slot(sink, coded, slot_context, slot, expected)
    _push_unpredicted(sink, address, coded)
    if is_oracle(kind):
        _push_rare(sink, address, coded & ~codec.CODED_VALUE)
        _extract_oracle(memory, sink, lane, address, coded)
        return
    if coded & codec.CODED_INSTRUMENT != 0:
        _push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER), i64(record.instrument))
    _push_rare(sink, address, coded)


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


@kernel_function
def _push_lane_fields(memory: int, sink: int, lane: int, address: int, form: int) -> None:
    """Sequence, valid-until and record count of a lane message, where its form codes them."""
    header = message_header_at(address)
    cursor = cursor_at(memory + codec.CURSOR_BASE)
    remembered = lane_memory_at(lane)
    if form & codec.FORM_SEQUENCE != 0:
        _push_word(sink, i64(header.sequence))
    if form & codec.FORM_VALID_UNTIL != 0:
        units = _valid_units(memory, i64(header.valid_until_ms))
        fraction = remainder_truncate(i64(header.valid_until_ms), i64(codec.VALID_UNIT_MS))
        value = fold(units - i64(remembered.valid_units)) << 1
        _push(sink, i64(codec.VALID_UNTIL), value | (fraction != 0))
        if fraction != 0:
            _push(sink, i64(RAW + codec.VALID_FRACTION_BITS), fraction)
        remembered.valid_units = units
        cursor.valid_units = units
    if form & codec.FORM_COUNT != 0:
        _push(sink, i64(codec.RECORD_COUNT), i64(header.record_count))
        remembered.record_count = i64(header.record_count)


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
    _push(sink, i64(codec.FORM), form)
    if place < 0:
        _push(sink, i64(RAW + codec.LANE_BITS), number)
    else:
        _push(sink, i64(codec.LANE), place)
    _push_lane_fields(memory, sink, lane, address, form)
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
    _push(sink, i64(codec.FORM), i64(codec.FORM_OWNER))
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
    cursor.time_units = divide_truncate(time_ms, i64(codec.VALID_UNIT_MS))
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
