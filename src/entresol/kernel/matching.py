"""Matching: an incoming order against the other side's queues, best price first, oldest first.

Each resting order met costs a bounded amount of work, and one operation meets at most
MAXIMUM_MAKERS of them.  Makers are settled one by one; the taker's cash and position change once,
by the totals `match` returns, because its own record does not influence the walk.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.events import emit, fold_outcome
from entresol.kernel.fees import maker_fee, taker_fee
from entresol.kernel.fixed_point import larger, smaller
from entresol.kernel.layout import DURABLE_BASE, VOLATILE_BASE
from entresol.kernel.order_book import (
    clear_level,
    emit_removed,
    next_level,
    retire_slot,
    side_index,
)
from entresol.kernel.positions import (
    add_open,
    closable_lots,
    find_position,
    release_if_empty,
)
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import durable_at, volatile_at

MAXIMUM_MAKERS: Final = 1 << 10
"""Resting orders one operation may meet; what is left of the order then is cancelled."""

_SLOT_BITS: Final = layout.SLOTS.bit_length() - 1
_SLOT_MASK: Final = layout.SLOTS - 1
_ORDER_MASK: Final = layout.ORDERS - 1
_TICK_MASK: Final = layout.TICKS - 1
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_POSITION_MASK: Final = layout.POSITIONS - 1
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1

_SELF_TRADE: Final = int(Rejection.SELF_TRADE)
_REDUCE_ONLY: Final = int(Rejection.REDUCE_ONLY_INCREASES)


@kernel_function
def lots_available(
    volatile: Any, instrument: int, side: int, limit: int, account: int, wanted: int
) -> int:
    """Lots on `side` up to index `limit` that fill-or-kill may count on; stops at `wanted`.

    The account's own orders would be cancelled, and a reduce-only order may be cut short by
    fills before it, so neither counts.  At most MAXIMUM_MAKERS orders are looked at, every one of
    which the match would meet.
    """
    book = instrument & _INSTRUMENT_MASK
    index = i64(volatile.side[book, side & 1].best)
    found = i64(0)
    met = i64(0)
    while index <= limit and met < MAXIMUM_MAKERS:
        number = i64(volatile.level[book, side_index(index, side) & _TICK_MASK].head)
        while number != 0 and met < MAXIMUM_MAKERS:
            order = volatile.order[number & _ORDER_MASK]
            met += 1
            if number >> _SLOT_BITS != account and i64(order.flags) & layout.FLAG_REDUCE_ONLY == 0:
                found += i64(order.remaining)
                if found >= wanted:
                    return found
            number = i64(order.next)
        index = next_level(volatile, book, side, index)
    return found


@kernel_function
def change_position(durable: Any, account: int, index: int, instrument: Any, change: int) -> None:
    """Add signed lots to a position and to the instrument's open interest."""
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    before = i64(position.quantity)
    after = before + change
    position.quantity = after
    interest = larger(after, i64(0)) - larger(before, i64(0))
    instrument.open_interest = i64(instrument.open_interest) + interest


@kernel_function
def _fillable(durable: Any, order: Any, account: int, index: int, lots: int) -> int:
    """Lots of a resting order that may trade: a reduce-only one never increases its position."""
    if i64(order.flags) & layout.FLAG_REDUCE_ONLY == 0:
        return lots
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    return smaller(lots, closable_lots(i64(position.quantity), i64(order.side)))


@kernel_function
def _meet_order(memory: int, number: int, taker: int, wanted: int, value: int, fee: int) -> int:
    """Trade up to `wanted` lots with one resting order; returns the lots traded.

    `value` is a lot's value at the order's price and `fee` what its maker pays per lot.  The order
    leaves (its slot is freed) when it is filled, is the taker's own, or may only reduce and
    cannot trade further; the caller keeps the queue.
    """
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    order = volatile.order[number & _ORDER_MASK]
    account = (number >> _SLOT_BITS) & _ACCOUNT_MASK
    book = i64(order.instrument) & _INSTRUMENT_MASK
    instrument = durable.instrument[book]
    side = i64(order.side)
    remaining = i64(order.remaining)
    index = find_position(durable, account, book)
    position = durable.position[account, index & _POSITION_MASK]
    reason = i64(0)
    lots = smaller(remaining, wanted)
    if account == taker:
        reason = i64(_SELF_TRADE)
        lots = i64(0)
    else:
        allowed = _fillable(durable, order, account, index, lots)
        if allowed < lots:
            reason = i64(_REDUCE_ONLY)
            lots = allowed
    if lots > 0:
        signed = lots if side == layout.BUY else -lots
        change_position(durable, account, index, instrument, signed)
        holder = durable.account[account]
        holder.cash = i64(holder.cash) - signed * value - lots * fee
        price = i64(instrument.base_tick) + i64(order.tick)
        emit(
            memory, i64(layout.EVENT_FILL_MAKER), side, book, i64(0), account,
            number & _SLOT_MASK, price, lots, i64(order.label),
        )  # fmt: skip
        fold_outcome(memory, (number << 32) | lots)
    order.remaining = remaining - lots
    leaves = reason != 0 or lots == remaining
    gone = remaining if leaves else lots
    add_open(position, side, -gone, -gone * i64(order.reserve) * i64(instrument.tick_value))
    if leaves:
        if reason != 0:
            emit_removed(memory, durable, volatile, number, reason)
        position.order_count = i64(position.order_count) - 1
        retire_slot(memory, durable, volatile, number)
        if account != taker:
            release_if_empty(memory, durable, account, index)
    return lots


@kernel_function
def match(
    memory: int, account: int, book: int, side: int, limit: int, wanted: int, slot: int,
    label: int,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Trade `wanted` lots against resting orders of `side` up to index `limit`.

    Returns (lots traded, their value, the taker's fees, resting orders met).  The makers are
    settled and the house has the fees of both; the taker's cash and position are the caller's.
    """
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    instrument = durable.instrument[book & _INSTRUMENT_MASK]
    record = volatile.side[book & _INSTRUMENT_MASK, side & 1]
    traded, total, fees, rebates = i64(0), i64(0), i64(0), i64(0)
    met, fills = i64(0), i64(0)
    index = i64(record.best)
    while traded < wanted and index <= limit and met < MAXIMUM_MAKERS:
        tick = side_index(index, side)
        level = volatile.level[book & _INSTRUMENT_MASK, tick & _TICK_MASK]
        price = i64(instrument.base_tick) + tick
        value = price * i64(instrument.tick_value)
        fee = taker_fee(instrument, value)
        makers_fee = maker_fee(instrument, value)
        number = i64(level.head)
        left = i64(0)
        while number != 0 and traded < wanted and met < MAXIMUM_MAKERS:
            order = volatile.order[number & _ORDER_MASK]
            following = i64(order.next)
            lots = _meet_order(memory, number, account, wanted - traded, value, makers_fee)
            met += 1
            if lots > 0:
                emit(
                    memory, i64(layout.EVENT_FILL_TAKER), 1 - side, book, i64(0), account, slot,
                    price, lots, label,
                )  # fmt: skip
                fills += 1
                traded += lots
                total += lots * value
                fees += lots * fee
                rebates += lots * makers_fee
            if i64(order.remaining) != 0:
                break
            left += 1
            number = following
        level.head = number
        record.order_count = i64(record.order_count) - left
        if number == 0:
            level.tail = 0
            clear_level(volatile, book, side, index)
        else:
            volatile.order[number & _ORDER_MASK].previous = 0
        index = i64(record.best)
    house = durable.account[layout.HOUSE_ACCOUNT]
    house.cash = i64(house.cash) + fees + rebates
    header = durable.header
    header.fill_count = i64(header.fill_count) + fills
    return traded, total, fees, met
