"""MASS_QUOTE: many post-only orders under one margin check.

The record is followed by `count` QUOTE_LEG records.  A leg names a slot: it takes away the order
there, if any, and rests a new one in its place; quantity 0 only takes away.  First every leg's
lots are moved in the positions alone; if that raises the initial requirement beyond the equity,
it is all undone and the quote changes nothing.  Then the old orders leave the books and the new
ones enter, in the order of the legs.  A leg that fails for its own reasons (price off the ladder,
would cross, ...) leaves its slot empty and is reported; the others stand.  Only a leg whose slot
cannot be told (malformed, out of range, named twice) leaves everything as it was.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.instruments import check_tradable
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_QUOTE_BASE, VOLATILE_BASE
from entresol.kernel.margin import initial_slack, position_requirement
from entresol.kernel.operations.place import (
    check_room,
    check_terms,
    reserve_ticks,
    rest_order,
    trading_cash_is_sane,
)
from entresol.kernel.order_book import (
    emit_removed,
    opposite_limit,
    order_reserve,
    retire_slot,
    unlink_order,
)
from entresol.kernel.positions import (
    add_open,
    find_position,
    open_position,
    release_if_empty,
)
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function, load_i64, store_i64
from entresol.kernel.views import durable_at, operation_at, volatile_at

MAXIMUM_LEGS: Final = layout.MAX_RECORDS_PER_MESSAGE - 1

_RECORD_BYTES: Final = layout.OPERATION.itemsize
_SLOT_BITS: Final = layout.SLOTS.bit_length() - 1
_ORDER_MASK: Final = layout.ORDERS - 1
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_POSITION_MASK: Final = layout.POSITIONS - 1
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_NOT_PERMITTED: Final = int(Rejection.NOT_PERMITTED)
_SLOT_OUT_OF_RANGE: Final = int(Rejection.SLOT_OUT_OF_RANGE)
_SLOT_IN_USE: Final = int(Rejection.SLOT_IN_USE)
_SLOT_EMPTY: Final = int(Rejection.SLOT_EMPTY)
_CANCELLED: Final = int(Rejection.CANCELLED)
_TOO_MANY_LEGS: Final = int(Rejection.TOO_MANY_LEGS)
_INSUFFICIENT_MARGIN: Final = int(Rejection.INSUFFICIENT_MARGIN)
_POST_ONLY_WOULD_CROSS: Final = int(Rejection.POST_ONLY_WOULD_CROSS)

# What SCRATCH keeps per leg: its status, and the reserve per lot of its new order.
_LEG_BYTES: Final = 16
_UNTOUCHED: Final = 1 << 8
"""Added to the status of a leg that names no usable slot."""


@kernel_function
def _leg_address(memory: int, leg: int) -> int:
    return memory + SCRATCH_QUOTE_BASE + leg * _LEG_BYTES


@kernel_function
def _leg_at(address: int, leg: int) -> Any:
    return operation_at(address + (leg + 1) * _RECORD_BYTES)


@kernel_function
def _check_slot(address: int, leg: int, seen: int) -> int:
    """Rejection unless the leg is well formed and the first of this quote to name its slot.

    `seen` has bit (slot mod 64) set for every earlier leg: only a match needs a closer look.
    """
    record = _leg_at(address, leg)
    fields = (i64(record.flags) & ~i64(layout.FLAG_SELL)) | i64(record.count) | i64(record.value)
    if i64(record.kind) != layout.QUOTE_LEG or fields | i64(record.account) != 0:
        return _MALFORMED
    slot = i64(record.slot)
    if slot >= layout.SLOTS:
        return _SLOT_OUT_OF_RANGE
    if (seen >> (slot & 63)) & 1 != 0:
        for earlier in range(leg):
            if i64(_leg_at(address, i64(earlier)).slot) == slot:
                return _SLOT_IN_USE
    return _APPLIED


@kernel_function
def _shift_open(
    durable: Any, account: int, index: int, number: int, side: int, lots: int, reserve: int
) -> int:
    """Add signed open lots to a position; returns the change of its initial requirement."""
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    risk = durable.risk[number & _INSTRUMENT_MASK]
    quantity = i64(position.quantity)
    before = position_requirement(risk, quantity, i64(position.open_buy), i64(position.open_sell))
    add_open(position, side, lots, reserve)
    after = position_requirement(risk, quantity, i64(position.open_buy), i64(position.open_sell))
    return after - before + reserve


@kernel_function
def _shift_resting(durable: Any, volatile: Any, account: int, slot: int, sign: int) -> int:
    """Take the slot's resting order out of its position (sign -1), or put it back (+1)."""
    order = volatile.order[((account << _SLOT_BITS) | slot) & _ORDER_MASK]
    lots = i64(order.remaining)
    if lots == 0:
        return i64(0)
    number = i64(order.instrument)
    index = find_position(durable, account, number)
    reserve = order_reserve(durable, order, lots)
    return _shift_open(
        durable, account, index, number, i64(order.side), sign * lots, sign * reserve
    )


@kernel_function
def _check_new(durable: Any, account: int, record: Any) -> int:
    """Rejection of a leg's new order, judged without the book."""
    number = i64(record.instrument)
    status = check_tradable(durable, number)
    if status != _APPLIED:
        return status
    lots = i64(record.quantity)
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    status = check_terms(instrument, i64(record.price), lots)
    if status != _APPLIED:
        return status
    index = find_position(durable, account, number)
    side = i64(record.flags) & layout.FLAG_SELL
    return check_room(durable, account, number, index, side, lots)


@kernel_function
def _shift_new(durable: Any, account: int, record: Any, ticks: int, sign: int) -> int:
    """Count a leg's new order in its position (sign 1), or take it out again (-1)."""
    number = i64(record.instrument)
    lots = sign * i64(record.quantity)
    index = open_position(durable, account, number)
    tick_value = i64(durable.instrument[number & _INSTRUMENT_MASK].tick_value)
    side = i64(record.flags) & layout.FLAG_SELL
    return _shift_open(durable, account, index, number, side, lots, lots * ticks * tick_value)


@kernel_function
def _prepare_leg(memory: int, account: int, address: int, leg: int, seen: int) -> int:
    """Move one leg's lots in the positions and note its status; returns the requirement's rise."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    record = _leg_at(address, leg)
    note = _leg_address(memory, leg)
    status = _check_slot(address, leg, seen)
    if status != _APPLIED:
        store_i64(note, status | _UNTOUCHED)
        return i64(0)
    slot = i64(record.slot)
    rise = _shift_resting(durable, volatile, account, slot, i64(-1))
    ticks = i64(0)
    if i64(record.quantity) == 0:
        order = volatile.order[((account << _SLOT_BITS) | slot) & _ORDER_MASK]
        status = _CANCELLED if i64(order.remaining) != 0 else _SLOT_EMPTY
    else:
        status = _check_new(durable, account, record)
        if status == _APPLIED:
            number = i64(record.instrument) & _INSTRUMENT_MASK
            side = i64(record.flags) & layout.FLAG_SELL
            ticks = reserve_ticks(
                durable.instrument[number], durable.risk[number], side, i64(record.price)
            )
            rise += _shift_new(durable, account, record, ticks, i64(1))
    store_i64(note, status)
    store_i64(note + 8, ticks)
    return rise


@kernel_function
def _undo(memory: int, account: int, address: int, count: int, positions: int) -> None:
    """Put every position back as it was; those opened by the quote are the last ones."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    for back in range(count):
        leg = i64(count - 1 - back)
        note = _leg_address(memory, leg)
        status = load_i64(note)
        if status & _UNTOUCHED == 0:
            record = _leg_at(address, leg)
            if status == _APPLIED:
                _shift_new(durable, account, record, load_i64(note + 8), i64(-1))
            _shift_resting(durable, volatile, account, i64(record.slot), i64(1))
    holder = durable.account[account & _ACCOUNT_MASK]
    for _ in range(layout.POSITIONS):
        last = i64(holder.position_count) - 1
        if last < positions:
            break
        release_if_empty(memory, durable, account, last)


@kernel_function
def _remove_old(memory: int, account: int, slot: int) -> None:
    """Take the slot's order, which its position no longer counts in lots, out of the book."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    number = ((account << _SLOT_BITS) | slot) & _ORDER_MASK
    order = volatile.order[number]
    if i64(order.remaining) == 0:
        return
    index = find_position(durable, account, i64(order.instrument))
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    position.order_count = i64(position.order_count) - 1
    emit_removed(memory, durable, volatile, number, i64(_CANCELLED))
    unlink_order(volatile, number)
    retire_slot(memory, durable, volatile, number)


@kernel_function
def _rest_leg(memory: int, account: int, record: Any, ticks: int) -> int:
    """Rest a leg's new order unless it would cross; returns the leg's status."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    number = i64(record.instrument)
    side = i64(record.flags) & layout.FLAG_SELL
    price = i64(record.price)
    limit = opposite_limit(
        price - i64(durable.instrument[number & _INSTRUMENT_MASK].base_tick), side
    )
    if i64(volatile.side[number & _INSTRUMENT_MASK, 1 - side].best) <= limit:
        _shift_new(durable, account, record, ticks, i64(-1))
        return _POST_ONLY_WOULD_CROSS
    rest_order(
        memory, account, number, find_position(durable, account, number), side, price,
        i64(record.quantity), i64(record.slot), i64(layout.FLAG_POST_ONLY), i64(record.label),
        ticks,
    )  # fmt: skip
    return _APPLIED


@kernel_function
def _emit_leg(memory: int, account: int, record: Any, status: int) -> None:
    emit(
        memory, i64(layout.EVENT_QUOTE_LEG), i64(record.flags) & 1, i64(record.instrument), status,
        account, i64(record.slot), i64(record.price), i64(record.quantity), i64(record.label),
    )  # fmt: skip


@kernel_function
def _write(memory: int, account: int, address: int, count: int) -> None:
    """Bring the books in line with the positions, old orders out first, new ones in by leg."""
    durable = durable_at(memory + DURABLE_BASE)
    for leg in range(count):
        if load_i64(_leg_address(memory, i64(leg))) & _UNTOUCHED == 0:
            _remove_old(memory, account, i64(_leg_at(address, i64(leg)).slot))
    for leg in range(count):
        note = _leg_address(memory, i64(leg))
        record = _leg_at(address, i64(leg))
        status = load_i64(note) & ~i64(_UNTOUCHED)
        if status == _APPLIED:
            status = _rest_leg(memory, account, record, load_i64(note + 8))
        elif status == _CANCELLED:
            status = i64(_APPLIED)
        if status != _APPLIED:
            _emit_leg(memory, account, record, status)
    # Releasing moves the last position into the hole, so the walk goes downwards.
    positions = i64(durable.account[account & _ACCOUNT_MASK].position_count)
    for back in range(positions):
        release_if_empty(memory, durable, account, positions - 1 - back)


@kernel_function
def apply_mass_quote(memory: int, account: int, address: int) -> int:
    """Apply the MASS_QUOTE record at native `address` and the legs behind it.

    The caller checked that `count` records follow; returns a Rejection number.
    """
    durable = durable_at(memory + DURABLE_BASE)
    operation = operation_at(address)
    count = i64(operation.count)
    narrow = i64(operation.flags) | i64(operation.instrument) | i64(operation.slot)
    wide = i64(operation.price) | i64(operation.quantity) | i64(operation.account)
    if account == layout.HOUSE_ACCOUNT:
        return _NOT_PERMITTED
    if narrow | wide | i64(operation.value) != 0 or count == 0:
        return _MALFORMED
    if count > MAXIMUM_LEGS:
        return _TOO_MANY_LEGS
    positions = i64(durable.account[account & _ACCOUNT_MASK].position_count)
    sane = trading_cash_is_sane(durable, account)
    rise = i64(0)
    seen = i64(0)
    for leg in range(count):
        rise += _prepare_leg(memory, account, address, i64(leg), seen)
        seen = seen | (i64(1) << (i64(_leg_at(address, i64(leg)).slot) & 63))
    if rise > 0 and (not sane or initial_slack(durable, account) < 0):
        _undo(memory, account, address, count, positions)
        return _INSUFFICIENT_MARGIN
    _write(memory, account, address, count)
    return _APPLIED
