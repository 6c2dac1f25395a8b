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
    read_bits,
    reject_encoding,
    unfold,
)
from entresol.kernel.codec.model import is_oracle, is_order, lane_memory_at
from entresol.kernel.codec.tables import find_shape
from entresol.kernel.subset import divide_truncate, i64, kernel_function, load_i64, store_i64

_WORD: Final = 0xFFFF_FFFF
_HALF: Final = 0xFFFF


@kernel_function
def _decode_shape(memory: int, context: int) -> int:
    """The shape of the next record: one of the batch's list, or spelled out if it is rare."""
    count = i64(cursor_at(memory + codec.CURSOR_BASE).shape_count)
    index = decode_limited(memory, context, count)
    if index < count:
        return load_i64(memory + codec.SHAPES_BASE + 8 * index)
    shape = read_bits(memory, codec.SHAPE_BITS)
    if find_shape(memory, shape) >= 0:
        reject_encoding(memory)
    return shape


@kernel_function
def _decode_slot(memory: int, lane: int, kind: int, coded: int) -> int:
    """Slot of a record; orders and cancels expect the one after the lane's last."""
    if coded & codec.ANY_SLOT != 0:
        if coded & codec.CODED_SLOT != 0:
            reject_encoding(memory)
        return i64(layout.ANY_SLOT)
    slot = i64(0)
    context = i64(model.SLOT_OTHER)
    if is_order(kind) or kind == layout.CANCEL:
        slot = (i64(lane_memory_at(lane).slot) + 1) & _HALF
        context = i64(model.SLOT_ORDER)
        if kind == layout.CANCEL:
            context = i64(model.SLOT_CANCEL)
    if coded & codec.CODED_SLOT != 0:
        residual = decode_limited(memory, codec.SLOT + context, _HALF - 1) + 1
        slot = (slot + unfold(residual)) & _HALF
    if slot == layout.ANY_SLOT:
        reject_encoding(memory)
    if context != model.SLOT_OTHER:
        lane_memory_at(lane).slot = slot
    return slot


@kernel_function
def _decode_other(memory: int, context: int, limit: int, expected: int) -> int:
    """A coded field that is carried as it is and must differ from what was expected."""
    value = decode_limited(memory, context, limit)
    if value == expected:
        reject_encoding(memory)
    return value


@kernel_function
def _decode_price(memory: int, context: int, expected: int, flags: int) -> int:
    """A coded order price: its distance from the expected one, outward in the book positive."""
    residual = unfold(decode_limited(memory, codec.PRICE + context, _WORD - 1) + 1)
    if context != model.PRICE_MEMORY and flags & layout.FLAG_SELL != 0:
        residual = -residual
    return (expected + residual) & _WORD


@kernel_function
def _decode_label(memory: int, lane: int, expected: int) -> int:
    """A coded order label: its distance from the lane's last one."""
    residual = unfold(decode_limited(memory, codec.LABEL, _WORD))
    label = (i64(lane_memory_at(lane).label) + residual) & _WORD
    if label == expected:
        reject_encoding(memory)
    return label


@kernel_function
def _write_record(
    address: int, first: int, price: int, quantity: int, value: int, account: int, label: int
) -> None:
    """Store a record: its first eight bytes, then the other fields."""
    store_i64(address, first)
    store_i64(address + 8, price | (quantity << 32))
    store_i64(address + 16, value)
    store_i64(address + 24, account | (label << 32))


@kernel_function
def _decode_order(memory: int, lane: int, address: int, shape: int) -> None:
    """Decode a PLACE or QUOTE_LEG, whose fields are predicted from its slot, lane and book."""
    kind = shape >> codec.SHAPE_KIND_SHIFT
    slot = _decode_slot(memory, lane, kind, shape)
    if slot == layout.ANY_SLOT:
        seen = model.forget_any_slot(memory)
    else:
        seen = model.recall_slot(memory, i64(lane_memory_at(lane).account), slot)
    flags = ((shape >> codec.SHAPE_FLAGS_SHIFT) & 0xFF) ^ model.predicted_flags(seen)
    instrument = model.predicted_instrument(lane, seen)
    if shape & codec.CODED_INSTRUMENT != 0:
        context = i64(codec.INSTRUMENT + model.INSTRUMENT_ORDER)
        instrument = _decode_other(memory, context, i64(_HALF), instrument)
    quantity_context = model.quantity_context(seen, instrument)
    quantity = model.predicted_quantity(lane, seen, quantity_context)
    if shape & codec.CODED_QUANTITY != 0:
        context = codec.QUANTITY + quantity_context
        quantity = _decode_other(memory, context, i64(_WORD), quantity)
    label = i64(0)
    if quantity != 0:
        price_context = model.price_context(seen, instrument, flags)
        price = model.predicted_price(memory, seen, instrument, flags, price_context)
        if shape & codec.CODED_PRICE != 0:
            price = _decode_price(memory, price_context, price, flags)
        label = model.predicted_label(lane)
        if shape & codec.CODED_LABEL != 0:
            label = _decode_label(memory, lane, label)
    else:
        price = model.emptied_price(seen, instrument)
        if shape & codec.CODED_PRICE != 0:
            context = i64(codec.PRICE + model.PRICE_OTHER)
            price = _decode_other(memory, context, i64(_WORD), price)
        if shape & codec.CODED_LABEL != 0:
            label = _decode_other(memory, i64(codec.LABEL), i64(_WORD), i64(0))
    value, account, count = _decode_rare(memory, shape, i64(0))
    first = kind | (flags << 8) | (instrument << 16) | (slot << 32) | (count << 48)
    _write_record(address, first, price, quantity, value, account, label)
    model.remember_order(memory, lane, seen, address)


@kernel_function
def _decode_rare(memory: int, shape: int, expected_count: int) -> tuple[int, int, int]:
    """Value, account and count of a record whose kind does not use a value as a price."""
    value = i64(0)
    account = i64(0)
    count = expected_count
    if shape & (codec.CODED_VALUE | codec.CODED_ACCOUNT | codec.CODED_COUNT) != 0:
        if shape & codec.CODED_VALUE != 0:
            value = unfold(decode_value(memory, i64(codec.VALUE + model.VALUE_OTHER)))
            if value == 0:
                reject_encoding(memory)
        if shape & codec.CODED_ACCOUNT != 0:
            account = _decode_other(memory, i64(codec.ACCOUNT), i64(_WORD), i64(0))
        if shape & codec.CODED_COUNT != 0:
            count = _decode_other(memory, i64(codec.COUNT), i64(_HALF), count)
    return value, account, count


@kernel_function
def _decode_oracle_value(memory: int, shape: int, instrument: int) -> int:
    """An oracle price: its change in units from the price before the block."""
    kind = shape >> codec.SHAPE_KIND_SHIFT
    unit = i64(cursor_at(memory + codec.CURSOR_BASE).value_unit)
    units = model.predicted_value(memory, kind, instrument)
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
    return value


@kernel_function
def _decode_other_kind(memory: int, lane: int, address: int, shape: int, left: int) -> None:
    """Decode any record but an order: fields are expected to be zero unless the kind says more."""
    kind = shape >> codec.SHAPE_KIND_SHIFT
    flags = (shape >> codec.SHAPE_FLAGS_SHIFT) & 0xFF
    slot = _decode_slot(memory, lane, kind, shape)
    instrument = i64(0)
    if is_oracle(kind):
        instrument = (i64(lane_memory_at(lane).instrument) + 1) & _HALF
    if shape & codec.CODED_INSTRUMENT != 0:
        context = i64(codec.INSTRUMENT + model.INSTRUMENT_OTHER)
        instrument = _decode_other(memory, context, i64(_HALF), instrument)
    quantity = i64(0)
    if shape & codec.CODED_QUANTITY != 0:
        context = i64(codec.QUANTITY + model.QUANTITY_OTHER)
        quantity = _decode_other(memory, context, i64(_WORD), i64(0))
    price = i64(0)
    if shape & codec.CODED_PRICE != 0:
        context = i64(codec.PRICE + model.PRICE_OTHER)
        price = _decode_other(memory, context, i64(_WORD), i64(0))
    label = i64(0)
    if shape & codec.CODED_LABEL != 0:
        label = _decode_other(memory, i64(codec.LABEL), i64(_WORD), i64(0))
    expected_count = i64(0)
    if kind == layout.MASS_QUOTE:
        expected_count = left
    if is_oracle(kind):
        lane_memory_at(lane).instrument = instrument
        _, account, count = _decode_rare(memory, shape & ~codec.CODED_VALUE, i64(0))
        value = _decode_oracle_value(memory, shape, instrument)
    else:
        value, account, count = _decode_rare(memory, shape, expected_count)
    first = kind | (flags << 8) | (instrument << 16) | (slot << 32) | (count << 48)
    _write_record(address, first, price, quantity, value, account, label)


@kernel_function
def decode_operation(memory: int, lane: int, address: int, context: int, left: int) -> None:
    """Decode one record to the native `address`; `left` records follow it in its message."""
    shape = _decode_shape(memory, context)
    if is_order(shape >> codec.SHAPE_KIND_SHIFT):
        _decode_order(memory, lane, address, shape)
    else:
        _decode_other_kind(memory, lane, address, shape, left)
