"""Turns the records of a lane message into items: the mirror image of kernel/codec/operations.py.

Every function walks the same predictions in the same order as its twin there, and appends what
that twin will read.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.codec import format as codec
from entresol.kernel.codec import model
from entresol.kernel.codec.entropy import fold
from entresol.kernel.codec.model import is_oracle, lane_memory_at, slot_memory_at
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.subset import (
    i64,
    remainder_truncate,
)
from entresol.kernel.views import (
    durable_at,
    operation_at,
)
from entresol.rollup.items import push, sink_at
from entresol.rollup.native import native_function

MAX_ITEMS_PER_RECORD: Final = 12

_WORD: Final = 0xFFFF_FFFF
_HALF: Final = 0xFFFF


@native_function
def _coded(value: int, expected: int, bit: int) -> int:
    """The shape's bit of a field: set unless the field is as expected."""
    if value != expected:
        return i64(bit)
    return i64(0)


@native_function
def _slot_code(slot: int, expected: int) -> int:
    """CODED bits of a slot."""
    if slot == layout.ANY_SLOT:
        return i64(codec.ANY_SLOT)
    return _coded(slot, expected & _HALF, i64(codec.CODED_SLOT))


@native_function
def _rare_code(address: int, expected_count: int) -> int:
    """CODED bits of value, account and count where the kind says nothing about them."""
    record = operation_at(address)
    coded = _coded(i64(record.value), i64(0), i64(codec.CODED_VALUE))
    coded |= _coded(i64(record.account), i64(0), i64(codec.CODED_ACCOUNT))
    return coded | _coded(i64(record.count), expected_count, i64(codec.CODED_COUNT))


@native_function
def _push_slot(sink: int, coded: int, context: int, slot: int, expected: int) -> None:
    if coded & codec.CODED_SLOT != 0:
        residual = model.signed_half(slot - expected)
        push(sink, context, (fold(residual) & _HALF) - 1)


@native_function
def _push_rare(sink: int, address: int, coded: int) -> None:
    """Twin of _decode_rare."""
    record = operation_at(address)
    if coded & codec.CODED_VALUE != 0:
        push(sink, i64(codec.VALUE + model.VALUE_OTHER), fold(i64(record.value)))
    if coded & codec.CODED_ACCOUNT != 0:
        push(sink, i64(codec.ACCOUNT), i64(record.account))
    if coded & codec.CODED_COUNT != 0:
        push(sink, i64(codec.COUNT), i64(record.count))


@native_function
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
        push(sink, context, price)
    if coded & codec.CODED_LABEL != 0:
        label = i64(record.label)
        if not empties:
            residual = model.signed_word(label - i64(lane_memory_at(lane).label))
            label = fold(residual) & _WORD
        push(sink, i64(codec.LABEL), label)


@native_function
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


@native_function
def _recall(memory: int, lane: int, slot: int) -> int:
    """Memory of the slot an order-like record names; the lane remembers the slot."""
    if slot == layout.ANY_SLOT:
        return model.recall_no_slot(memory)
    remembered = lane_memory_at(lane)
    remembered.slot = slot
    return model.recall_slot(memory, i64(remembered.account), slot)


@native_function
def extract_order(memory: int, sink: int, lane: int, address: int, context: int) -> None:
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
    push(sink, context, _shape(i64(record.kind), shape_flags, coded))
    _push_slot(sink, coded, i64(codec.SLOT + model.SLOT_ORDER), slot, next_slot)
    if coded & codec.CODED_INSTRUMENT != 0:
        push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_ORDER), instrument)
    if coded & codec.CODED_QUANTITY != 0:
        push(sink, quantity_context, quantity)
    _push_rare(sink, address, coded)
    _push_price_and_label(sink, lane, address, coded, price_context, expected_price)
    _remember_order(memory, lane, seen, address, before)


@native_function
def _shape(kind: int, flags: int, coded: int) -> int:
    return (kind << codec.SHAPE_KIND_SHIFT) | (flags << codec.SHAPE_FLAGS_SHIFT) | coded


@native_function
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


@native_function
def _extract_oracle(memory: int, sink: int, lane: int, address: int, coded: int) -> None:
    """Twin of _decode_oracle; the change of price is divided by its unit when that is known."""
    record = operation_at(address)
    remembered = lane_memory_at(lane)
    instrument = i64(record.instrument)
    remembered.instrument = instrument
    if coded & codec.CODED_INSTRUMENT != 0:
        push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER), instrument)
    price = _oracle_before(memory, i64(record.kind), instrument)
    _note_unit(sink, i64(record.value))
    _note_unit(sink, price)
    if coded & codec.CODED_VALUE != 0:
        context = i64(codec.VALUE + model.VALUE_INDEX)
        if i64(record.kind) == layout.ORACLE_MARK:
            context = i64(codec.VALUE + model.VALUE_MARK)
        push(sink, context, i64(record.value) - price)


@native_function
def _oracle_before(memory: int, kind: int, instrument: int) -> int:
    """The oracle price before the block."""
    durable = durable_at(memory + DURABLE_BASE)
    if kind == layout.ORACLE_INDEX:
        return i64(durable.underlying[instrument & (layout.UNDERLYINGS - 1)].index)
    return i64(durable.risk[instrument & (layout.INSTRUMENTS - 1)].mark)


@native_function
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


@native_function
def _push_unpredicted(sink: int, address: int, coded: int) -> None:
    """Twin of _decode_unpredicted."""
    record = operation_at(address)
    if coded & codec.CODED_QUANTITY != 0:
        push(sink, i64(codec.QUANTITY + model.QUANTITY_OTHER), i64(record.quantity))
    if coded & codec.CODED_PRICE != 0:
        push(sink, i64(codec.PRICE + model.PRICE_OTHER), i64(record.price))
    if coded & codec.CODED_LABEL != 0:
        push(sink, i64(codec.LABEL), i64(record.label))


@native_function
def extract_other(memory: int, sink: int, lane: int, address: int, context: int, left: int) -> None:
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
    push(sink, context, _shape(kind, i64(record.flags), coded))
    _push_slot(sink, coded, slot_context, slot, expected)
    _push_unpredicted(sink, address, coded)
    if is_oracle(kind):
        _push_rare(sink, address, coded & ~codec.CODED_VALUE)
        _extract_oracle(memory, sink, lane, address, coded)
        return
    if coded & codec.CODED_INSTRUMENT != 0:
        push(sink, i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER), i64(record.instrument))
    _push_rare(sink, address, coded)
