"""Decoding one record of a lane message: its shape, then the fields that the shape codes.

A field that is not coded equals its prediction; one that is coded must differ from it, so each
record has exactly one code.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.codec import format as codec
from entresol.kernel.codec import model
from entresol.kernel.codec.entropy import (
    cursor_at,
    decode_limited,
    decode_value,
    reject_encoding,
    unfold,
)
from entresol.kernel.codec.model import is_oracle, is_order, lane_memory_at, slot_memory_at
from entresol.kernel.subset import divide_truncate, i64, kernel_function
from entresol.kernel.views import operation_at

_WORD: Final = 0xFFFF_FFFF
_HALF: Final = 0xFFFF
_SHAPE_LIMIT: Final = (1 << codec.SHAPE_BITS) - 1


@kernel_function
def _decode_other(memory: int, context: int, limit: int, expected: int) -> int:
    """A coded field that is carried as it is and must differ from what was expected."""
    value = decode_limited(memory, context, limit)
    if value == expected:
        reject_encoding(memory)
    return value


@kernel_function
def _decode_slot(memory: int, shape: int, context: int, expected: int) -> int:
    """Slot of a record: any slot, the expected one, or its distance from that."""
    if shape & codec.ANY_SLOT != 0:
        if shape & codec.CODED_SLOT != 0:
            reject_encoding(memory)
        return i64(layout.ANY_SLOT)
    slot = expected & _HALF
    if shape & codec.CODED_SLOT != 0:
        residual = decode_limited(memory, context, i64(_HALF - 1)) + 1
        slot = (slot + unfold(residual)) & _HALF
    if slot == layout.ANY_SLOT:
        # The one code of this value is the shape's bit.
        reject_encoding(memory)
    return slot


@kernel_function
def _decode_rare(memory: int, address: int, shape: int, expected_count: int) -> None:
    """Account, count and value where the kind gives them no meaning that predicts them."""
    record = operation_at(address)
    if shape & codec.CODED_VALUE != 0:
        value = unfold(decode_value(memory, i64(codec.VALUE + model.VALUE_OTHER)))
        record.value = value
        if value == 0:
            reject_encoding(memory)
    if shape & codec.CODED_ACCOUNT != 0:
        record.account = _decode_other(memory, i64(codec.ACCOUNT), i64(_WORD), i64(0))
    if shape & codec.CODED_COUNT != 0:
        record.count = _decode_other(memory, i64(codec.COUNT), i64(_HALF), expected_count)


@kernel_function
def _decode_label(memory: int, lane: int, expected: int) -> int:
    """A coded order label: its distance from the lane's last one."""
    residual = unfold(decode_limited(memory, i64(codec.LABEL), i64(_WORD)))
    label = (i64(lane_memory_at(lane).label) + residual) & _WORD
    if label == expected:
        reject_encoding(memory)
    return label


@kernel_function
def _decode_price(memory: int, context: int, expected: int) -> int:
    """A coded price as its distance from the expected one."""
    return (expected + unfold(decode_limited(memory, context, i64(_WORD - 1)) + 1)) & _WORD


@kernel_function
def _decode_new_price(memory: int, shape: int, instrument: int, flags: int) -> int:
    """Price of an order that replaces none; outward in the book is positive."""
    price = model.new_price(memory, instrument, flags)
    if shape & codec.CODED_PRICE != 0:
        moved = _decode_price(memory, model.new_price_context(flags), i64(0))
        if flags & layout.FLAG_SELL != 0:
            moved = -moved
        price = (price + moved) & _WORD
    return price


@kernel_function
def _decode_emptying(memory: int, address: int, shape: int, price: int) -> None:
    """Price and label of a record of quantity 0; `price` is that of the order seen, or 0."""
    record = operation_at(address)
    if shape & codec.CODED_PRICE != 0:
        context = i64(codec.PRICE + model.PRICE_OTHER)
        price = _decode_other(memory, context, i64(_WORD), price)
    record.price = price
    if shape & codec.CODED_LABEL != 0:
        record.label = _decode_other(memory, i64(codec.LABEL), i64(_WORD), i64(0))


@kernel_function
def _clear_record(address: int, shape: int, slot: int) -> None:
    """Start a record: kind and slot, zero elsewhere."""
    record = operation_at(address)
    record.kind = shape >> codec.SHAPE_KIND_SHIFT
    record.slot = slot
    record.count = 0
    record.quantity = 0
    record.value = 0
    record.account = 0
    record.label = 0


@kernel_function
def _decode_terms(
    memory: int, lane: int, shape: int, before: int, instrument: int, flags: int
) -> tuple[int, int]:
    """Price and label of an order; `before` is the price of the one it replaces, or -1."""
    if before >= 0:
        price = model.requoted_price(memory, before, instrument)
        if shape & codec.CODED_PRICE != 0:
            price = _decode_price(memory, i64(codec.PRICE + model.PRICE_REQUOTED), price)
    else:
        price = _decode_new_price(memory, shape, instrument, flags)
    label = model.expected_label(lane)
    if shape & codec.CODED_LABEL != 0:
        label = _decode_label(memory, lane, label)
    return price, label


@kernel_function
def _decode_order(memory: int, lane: int, address: int, shape: int) -> None:
    """Decode a PLACE or QUOTE_LEG, whose fields are predicted from its slot, lane and book."""
    remembered = lane_memory_at(lane)
    record = operation_at(address)
    context = i64(codec.SLOT + model.SLOT_ORDER)
    slot = _decode_slot(memory, shape, context, i64(remembered.slot) + 1)
    if slot == layout.ANY_SLOT:
        seen = model.recall_no_slot(memory)
    else:
        remembered.slot = slot
        seen = model.recall_slot(memory, i64(remembered.account), slot)
    place = slot_memory_at(seen)
    flags = (shape >> codec.SHAPE_FLAGS_SHIFT) & 0xFF
    known = i64(place.known)
    instrument = i64(remembered.instrument) & _HALF
    quantity = i64(remembered.quantity)
    quantity_context = i64(codec.QUANTITY + model.QUANTITY_NEW)
    before = i64(-1)
    if known != 0:
        flags ^= i64(place.side)
        instrument = i64(place.instrument)
    if shape & codec.CODED_INSTRUMENT != 0:
        context = i64(codec.INSTRUMENT + model.INSTRUMENT_ORDER)
        instrument = _decode_other(memory, context, i64(_HALF), instrument)
        known = i64(0)
    if known != 0:
        quantity = i64(place.quantity)
        quantity_context = i64(codec.QUANTITY + model.QUANTITY_REQUOTED)
        before = i64(place.price)
    if shape & codec.CODED_QUANTITY != 0:
        quantity = _decode_other(memory, quantity_context, i64(_WORD), quantity)
    _clear_record(address, shape, slot)
    record.flags = flags
    record.instrument = instrument
    if shape & codec.CODED_RARE != 0:
        _decode_rare(memory, address, shape, i64(0))
    if quantity == 0:
        place.known = 0
        _decode_emptying(memory, address, shape, before if before >= 0 else i64(0))
        return
    price, label = _decode_terms(memory, lane, shape, before, instrument, flags)
    record.price = price
    record.quantity = quantity
    record.label = label
    side = flags & layout.FLAG_SELL
    model.remember_price(memory, before, price, instrument, side)
    model.remember_slot(seen, price, quantity, instrument, side)
    model.remember_lane(lane, quantity, instrument, label)


@kernel_function
def _decode_oracle(memory: int, lane: int, address: int, shape: int) -> None:
    """Instrument and price of an oracle record: the price as its change in units."""
    record = operation_at(address)
    remembered = lane_memory_at(lane)
    kind = shape >> codec.SHAPE_KIND_SHIFT
    instrument = (i64(remembered.instrument) + 1) & _HALF
    if shape & codec.CODED_INSTRUMENT != 0:
        context = i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER)
        instrument = _decode_other(memory, context, i64(_HALF), instrument)
    remembered.instrument = instrument
    record.instrument = instrument
    unit = i64(cursor_at(memory + codec.CURSOR_BASE).value_unit)
    units = model.expected_oracle_units(memory, kind, instrument)
    if shape & codec.CODED_VALUE != 0:
        context = i64(codec.VALUE + model.VALUE_INDEX)
        if kind == layout.ORACLE_MARK:
            context = i64(codec.VALUE + model.VALUE_MARK)
        residual = unfold(decode_value(memory, context))
        if residual == 0:
            reject_encoding(memory)
        units += residual
    value = units * unit
    if divide_truncate(value, unit) != units:
        reject_encoding(memory)
    record.value = value


@kernel_function
def _decode_unpredicted(memory: int, address: int, shape: int) -> None:
    """Quantity, price and label of a record that is no order: zero unless coded."""
    record = operation_at(address)
    if shape & codec.CODED_QUANTITY != 0:
        context = i64(codec.QUANTITY + model.QUANTITY_OTHER)
        record.quantity = _decode_other(memory, context, i64(_WORD), i64(0))
    if shape & codec.CODED_PRICE != 0:
        context = i64(codec.PRICE + model.PRICE_OTHER)
        record.price = _decode_other(memory, context, i64(_WORD), i64(0))
    if shape & codec.CODED_LABEL != 0:
        record.label = _decode_other(memory, i64(codec.LABEL), i64(_WORD), i64(0))


@kernel_function
def _decode_other_kind(memory: int, lane: int, address: int, shape: int, left: int) -> None:
    """Decode any record but an order: fields are expected to be zero unless the kind says more."""
    remembered = lane_memory_at(lane)
    record = operation_at(address)
    kind = shape >> codec.SHAPE_KIND_SHIFT
    if kind == layout.CANCEL:
        context = i64(codec.SLOT + model.SLOT_CANCEL)
        slot = _decode_slot(memory, shape, context, i64(remembered.slot) + 1)
        if slot != layout.ANY_SLOT:
            remembered.slot = slot
    else:
        slot = _decode_slot(memory, shape, i64(codec.SLOT + model.SLOT_OTHER), i64(0))
    _clear_record(address, shape, slot)
    record.flags = (shape >> codec.SHAPE_FLAGS_SHIFT) & 0xFF
    record.instrument = 0
    record.price = 0
    if kind == layout.MASS_QUOTE:
        record.count = left
    if shape & (codec.CODED_QUANTITY | codec.CODED_PRICE | codec.CODED_LABEL) != 0:
        _decode_unpredicted(memory, address, shape)
    if is_oracle(kind):
        _decode_rare(memory, address, shape & ~codec.CODED_VALUE, i64(0))
        _decode_oracle(memory, lane, address, shape)
        return
    if shape & codec.CODED_INSTRUMENT != 0:
        context = i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER)
        record.instrument = _decode_other(memory, context, i64(_HALF), i64(0))
    if shape & codec.CODED_RARE != 0:
        _decode_rare(memory, address, shape, i64(record.count))


@kernel_function
def decode_operation(memory: int, lane: int, address: int, context: int, left: int) -> int:
    """Decode one record to the native `address`; `left` records follow.  Returns its kind."""
    shape = decode_limited(memory, context, i64(_SHAPE_LIMIT))
    kind = shape >> codec.SHAPE_KIND_SHIFT
    if is_order(kind):
        _decode_order(memory, lane, address, shape)
    else:
        _decode_other_kind(memory, lane, address, shape, left)
    return kind
