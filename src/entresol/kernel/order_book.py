"""Order books: price ladders with first-in first-out queues, and the slots orders live in.

A book has TICKS levels counted from the instrument's base tick.  Each side keeps a three-level
bitmap of its occupied levels and its best index; the bid side is mirrored (index XOR TICKS - 1),
so "best" is the lowest index on both and one count-trailing-zeros finds the next.  Orders of a
level form a doubly linked queue by order id; id = account * SLOTS + slot, and 0 ends a queue
because the house (account 0) never trades.  A free order slot and an unused level are all zero.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.layout import DURABLE_BASE, VOLATILE_BASE
from entresol.kernel.positions import add_open, find_position, release_if_empty
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import (
    count_trailing_zeros,
    i64,
    kernel_function,
    store_i64,
)
from entresol.kernel.views import durable_at, field_address, volatile_at

ORDERS_ADDRESS: Final = field_address(layout.VOLATILE_BASE, layout.VOLATILE, "order")

_ORDER_BYTES: Final = layout.ORDER.itemsize
_ORDER_MASK: Final = layout.ORDERS - 1
_SLOT_MASK: Final = layout.SLOTS - 1
_SLOT_BITS: Final = layout.SLOTS.bit_length() - 1
_SLOT_WORDS: Final = layout.SLOTS // 64
_TICK_MASK: Final = layout.TICKS - 1
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1
_POSITION_MASK: Final = layout.POSITIONS - 1

_SLOT_OUT_OF_RANGE: Final = int(Rejection.SLOT_OUT_OF_RANGE)
_SLOT_IN_USE: Final = int(Rejection.SLOT_IN_USE)
_SLOTS_FULL: Final = int(Rejection.SLOTS_FULL)
_CANCELLED: Final = int(Rejection.CANCELLED)


# --- the ladder --------------------------------------------------------------------------------


@kernel_function
def side_index(tick: int, side: int) -> int:
    """Index of ladder tick `tick` counted from the best end of `side`; its own inverse."""
    if side == layout.BUY:
        return tick ^ _TICK_MASK
    return tick


@kernel_function
def opposite_limit(tick: int, side: int) -> int:
    """Last index on the other side that an order on `side` at ladder tick `tick` may meet."""
    return side_index(tick, 1 - side)


@kernel_function
def mark_level(volatile: Any, instrument: int, side: int, index: int) -> None:
    """Set the bits of a level that has its first order; the best moves if this is better."""
    book = instrument & _INSTRUMENT_MASK
    half = side & 1
    word = (index >> 6) & (layout.TICKS // 64 - 1)
    group = word >> 6
    one = i64(1)
    volatile.bitmap[book, half, word] = i64(volatile.bitmap[book, half, word]) | (
        one << (index & 63)
    )
    volatile.middle[book, half, group] = i64(volatile.middle[book, half, group]) | (
        one << (word & 63)
    )
    record = volatile.side[book, half]
    record.summary = i64(record.summary) | (one << group)
    if index < i64(record.best):
        record.best = index


@kernel_function
def clear_level(volatile: Any, instrument: int, side: int, index: int) -> None:
    """Clear the bits of a level that lost its last order; the best moves to the next level."""
    book = instrument & _INSTRUMENT_MASK
    half = side & 1
    word = (index >> 6) & (layout.TICKS // 64 - 1)
    group = word >> 6
    one = i64(1)
    bits = i64(volatile.bitmap[book, half, word]) & ~(one << (index & 63))
    volatile.bitmap[book, half, word] = bits
    record = volatile.side[book, half]
    if bits == 0:
        words = i64(volatile.middle[book, half, group]) & ~(one << (word & 63))
        volatile.middle[book, half, group] = words
        if words == 0:
            record.summary = i64(record.summary) & ~(one << group)
    if i64(record.best) == index:
        record.best = _lowest_level(volatile, book, half, word)


@kernel_function
def _lowest_level(volatile: Any, book: int, half: int, word: int) -> int:
    """Lowest occupied index of a side; bitmap word `word` is tried first."""
    bits = i64(volatile.bitmap[book, half, word])
    if bits == 0:
        groups = i64(volatile.side[book, half].summary)
        if groups == 0:
            return i64(layout.EMPTY_BOOK_SIDE)
        group = count_trailing_zeros(groups)
        word = (group << 6) | count_trailing_zeros(i64(volatile.middle[book, half, group & 63]))
        bits = i64(volatile.bitmap[book, half, word & (layout.TICKS // 64 - 1)])
    return (word << 6) | count_trailing_zeros(bits)


@kernel_function
def next_level(volatile: Any, instrument: int, side: int, index: int) -> int:
    """Lowest occupied index of a side after `index`, or EMPTY_BOOK_SIDE."""
    book = instrument & _INSTRUMENT_MASK
    half = side & 1
    word = (index >> 6) & (layout.TICKS // 64 - 1)
    bits = i64(volatile.bitmap[book, half, word]) & _bits_after(index & 63)
    if bits != 0:
        return (word << 6) | count_trailing_zeros(bits)
    group = word >> 6
    words = i64(volatile.middle[book, half, group]) & _bits_after(word & 63)
    if words == 0:
        groups = i64(volatile.side[book, half].summary) & _bits_after(group)
        if groups == 0:
            return i64(layout.EMPTY_BOOK_SIDE)
        group = count_trailing_zeros(groups) & 63
        words = i64(volatile.middle[book, half, group])
    word = ((group << 6) | count_trailing_zeros(words)) & (layout.TICKS // 64 - 1)
    return (word << 6) | count_trailing_zeros(i64(volatile.bitmap[book, half, word]))


@kernel_function
def _bits_after(bit: int) -> int:
    # Two shifts, because one by 64 is undefined.
    return (i64(-1) << bit) << 1


# --- slots -------------------------------------------------------------------------------------


@kernel_function
def choose_slot(volatile: Any, account: int, slot: int) -> int:
    """The free slot an order will live in, or minus the rejection number.

    ANY_SLOT takes the account's lowest free slot.
    """
    holder = account & _ACCOUNT_MASK
    if slot == layout.ANY_SLOT:
        for word in range(_SLOT_WORDS):
            free = ~i64(volatile.slot_used[holder, word])
            if free != 0:
                return (word << 6) | count_trailing_zeros(free)
        return i64(-_SLOTS_FULL)
    if slot >= layout.SLOTS:
        return i64(-_SLOT_OUT_OF_RANGE)
    if (i64(volatile.slot_used[holder, (slot >> 6) & 7]) >> (slot & 63)) & 1 != 0:
        return i64(-_SLOT_IN_USE)
    return slot


@kernel_function
def retire_slot(memory: int, durable: Any, volatile: Any, number: int) -> None:
    """Free the slot of order `number`, whose queue and position no longer count it."""
    account = (number >> _SLOT_BITS) & _ACCOUNT_MASK
    slot = number & _SLOT_MASK
    word = i64(volatile.slot_used[account, slot >> 6])
    volatile.slot_used[account, slot >> 6] = word & ~(i64(1) << (slot & 63))
    holder = durable.account[account]
    holder.order_count = i64(holder.order_count) - 1
    address = memory + ORDERS_ADDRESS + (number & _ORDER_MASK) * _ORDER_BYTES
    for offset in range(0, _ORDER_BYTES, 8):
        store_i64(address + offset, i64(0))


# --- queues ------------------------------------------------------------------------------------


@kernel_function
def append_order(
    volatile: Any, durable: Any, number: int, instrument: int, side: int, tick: int, lots: int,
    flags: int, label: int, reserve: int,
) -> None:  # fmt: skip
    """Rest an order at the end of its level's queue; position and events are the caller's."""
    book = instrument & _INSTRUMENT_MASK
    order = volatile.order[number & _ORDER_MASK]
    level = volatile.level[book, tick & _TICK_MASK]
    tail = i64(level.tail)
    order.previous = tail
    order.remaining = lots
    order.tick = tick
    order.instrument = instrument
    order.side = side
    order.flags = flags
    order.quantity = lots
    order.label = label
    order.reserve = reserve
    level.tail = number
    if tail != 0:
        volatile.order[tail & _ORDER_MASK].next = number
    else:
        level.head = number
        mark_level(volatile, instrument, side, side_index(tick, side))
    record = volatile.side[book, side & 1]
    record.order_count = i64(record.order_count) + 1
    account = (number >> _SLOT_BITS) & _ACCOUNT_MASK
    slot = number & _SLOT_MASK
    word = i64(volatile.slot_used[account, slot >> 6])
    volatile.slot_used[account, slot >> 6] = word | (i64(1) << (slot & 63))
    holder = durable.account[account]
    holder.order_count = i64(holder.order_count) + 1


@kernel_function
def unlink_order(volatile: Any, number: int) -> None:
    """Take an order out of its level's queue; the order itself is left to retire_slot."""
    order = volatile.order[number & _ORDER_MASK]
    book = i64(order.instrument) & _INSTRUMENT_MASK
    side = i64(order.side) & 1
    tick = i64(order.tick)
    previous = i64(order.previous)
    following = i64(order.next)
    level = volatile.level[book, tick & _TICK_MASK]
    if previous != 0:
        volatile.order[previous & _ORDER_MASK].next = following
    else:
        level.head = following
    if following != 0:
        volatile.order[following & _ORDER_MASK].previous = previous
    else:
        level.tail = previous
    if previous == 0 and following == 0:
        clear_level(volatile, book, side, side_index(tick, side))
    record = volatile.side[book, side]
    record.order_count = i64(record.order_count) - 1


# --- removal -----------------------------------------------------------------------------------


@kernel_function
def order_reserve(durable: Any, order: Any, lots: int) -> int:
    """What `lots` of a resting order hold in its position's open_reserve."""
    instrument = durable.instrument[i64(order.instrument) & _INSTRUMENT_MASK]
    return i64(order.reserve) * lots * i64(instrument.tick_value)


@kernel_function
def emit_removed(memory: int, durable: Any, volatile: Any, number: int, status: int) -> None:
    """Report that a resting order leaves its book unfilled."""
    order = volatile.order[number & _ORDER_MASK]
    instrument = i64(order.instrument)
    price = i64(durable.instrument[instrument & _INSTRUMENT_MASK].base_tick) + i64(order.tick)
    emit(
        memory, i64(layout.EVENT_ORDER_REMOVED), i64(order.side), instrument, status,
        number >> _SLOT_BITS, number & _SLOT_MASK, price, i64(order.remaining), i64(order.label),
    )  # fmt: skip


@kernel_function
def remove_order(memory: int, number: int, status: int) -> None:
    """Cancel a live order: out of its queue, its slot, its position; `status` says why."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    order = volatile.order[number & _ORDER_MASK]
    account = (number >> _SLOT_BITS) & _ACCOUNT_MASK
    lots = i64(order.remaining)
    index = find_position(durable, account, i64(order.instrument))
    position = durable.position[account, index & _POSITION_MASK]
    add_open(position, i64(order.side), -lots, -order_reserve(durable, order, lots))
    position.order_count = i64(position.order_count) - 1
    emit_removed(memory, durable, volatile, number, status)
    unlink_order(volatile, number)
    retire_slot(memory, durable, volatile, number)
    release_if_empty(memory, durable, account, index)


@kernel_function
def cancel_all_orders(memory: int, account: int) -> int:
    """Cancel every order of an account; returns how many there were (at most SLOTS)."""
    volatile = volatile_at(memory + VOLATILE_BASE)
    holder = account & _ACCOUNT_MASK
    count = i64(0)
    for word in range(_SLOT_WORDS):
        used = i64(volatile.slot_used[holder, word])
        while used != 0:
            slot = (word << 6) | count_trailing_zeros(used)
            remove_order(memory, (holder << _SLOT_BITS) | slot, i64(_CANCELLED))
            used = used & (used - 1)
            count += 1
    return count
