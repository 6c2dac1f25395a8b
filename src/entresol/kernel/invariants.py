"""What must hold after every block: money in is money out, positions cancel, indexes agree.

For tests and debug nodes; the machine does not run it.  It reads everything that is in use, so
its time grows with accounts times instruments and with live orders.
"""

from enum import IntEnum
from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.accounts import find_account, owner_address
from entresol.kernel.layout import DURABLE_BASE, VOLATILE_BASE
from entresol.kernel.order_book import order_reserve
from entresol.kernel.subset import count_trailing_zeros, entry_point, i64, kernel_function
from entresol.kernel.views import durable_at, volatile_at


class Violation(IntEnum):
    """Which invariant does not hold; 0 is none."""

    NONE = 0
    MONEY = 1
    """The sum of all cash is not what was credited less what was withdrawn."""
    POSITION_SUM = 2
    """The positions of an instrument do not add up to zero."""
    OPEN_INTEREST = 3
    """An instrument's open interest is not the lots held long."""
    POSITION_INDEX = 4
    """position_slot, position records and their counts disagree."""
    OPEN_ORDERS = 5
    """A position's open lots, order count or reserve are not those of its live orders."""
    ORDER_SLOTS = 6
    """A slot bit, an order record and the account's order count disagree."""
    BOOK_BITMAP = 7
    """A book's bitmap, its summaries and its best level disagree."""
    BOOK_QUEUE = 8
    """A level's queue is not a proper list of that level's orders."""
    BOOK_COUNT = 9
    """A live order is in no queue, or a side's order count is wrong."""
    BOOK_CROSSED = 10
    """The best bid is not below the best ask."""
    LANES = 11
    """Registered lanes, the free list and the accounts' lane counts disagree."""
    OWNER_INDEX = 12
    """An account is not found by its owner and subaccount."""


_NONE: Final = int(Violation.NONE)
_MONEY: Final = int(Violation.MONEY)
_POSITION_SUM: Final = int(Violation.POSITION_SUM)
_OPEN_INTEREST: Final = int(Violation.OPEN_INTEREST)
_POSITION_INDEX: Final = int(Violation.POSITION_INDEX)
_OPEN_ORDERS: Final = int(Violation.OPEN_ORDERS)
_ORDER_SLOTS: Final = int(Violation.ORDER_SLOTS)
_BOOK_BITMAP: Final = int(Violation.BOOK_BITMAP)
_BOOK_QUEUE: Final = int(Violation.BOOK_QUEUE)
_BOOK_COUNT: Final = int(Violation.BOOK_COUNT)
_BOOK_CROSSED: Final = int(Violation.BOOK_CROSSED)
_LANES: Final = int(Violation.LANES)
_OWNER_INDEX: Final = int(Violation.OWNER_INDEX)

_WORDS: Final = layout.TICKS >> 6
_SLOT_WORDS: Final = layout.SLOTS >> 6


# --- accounts, lanes, money --------------------------------------------------------------------


@kernel_function
def _check_money(durable: Any) -> int:
    total = i64(0)
    for account in range(i64(durable.header.account_count)):
        total += i64(durable.account[account].cash)
    if total != i64(durable.header.deposited) - i64(durable.header.withdrawn):
        return i64(_MONEY)
    return i64(_NONE)


@kernel_function
def _check_owners(memory: int, durable: Any) -> int:
    for account in range(1, i64(durable.header.account_count)):
        subaccount = i64(durable.account[account].subaccount)
        if find_account(memory, owner_address(memory, account), subaccount) != account:
            return i64(_OWNER_INDEX)
    return i64(_NONE)


@kernel_function
def _check_lanes(durable: Any) -> int:
    opened = i64(durable.header.lane_count)
    registered = i64(0)
    for number in range(1, opened):
        lane = durable.lane[number]
        if i64(lane.registration) == 0:
            continue
        registered += 1
        if i64(lane.account) >= i64(durable.header.account_count):
            return i64(_LANES)
        if i64(lane.registration) >= i64(durable.header.next_registration):
            return i64(_LANES)
    held = i64(0)
    for account in range(i64(durable.header.account_count)):
        held += i64(durable.account[account].lane_count)
    free = i64(0)
    number = i64(durable.header.free_lane)
    while number != 0:
        free += 1
        if number >= opened or free >= opened or i64(durable.lane[number].registration) != 0:
            return i64(_LANES)
        number = i64(durable.lane[number].next_free)
    if held != registered or registered + free != opened - 1:
        return i64(_LANES)
    return i64(_NONE)


# --- positions ---------------------------------------------------------------------------------


@kernel_function
def _check_instrument(durable: Any, instrument: int) -> int:
    """Sum of the positions and open interest of one instrument."""
    total = i64(0)
    long = i64(0)
    for account in range(i64(durable.header.account_count)):
        slot = i64(durable.position_slot[account, instrument])
        if slot == 0:
            continue
        if slot > i64(durable.account[account].position_count):
            return i64(_POSITION_INDEX)
        position = durable.position[account, slot - 1]
        if i64(position.instrument) != instrument:
            return i64(_POSITION_INDEX)
        quantity = i64(position.quantity)
        total += quantity
        if quantity > 0:
            long += quantity
    if i64(durable.instrument[instrument].status) == layout.SETTLING:
        return i64(_NONE)  # half paid out: the house stands in until the last account is done
    if total != 0:
        return i64(_POSITION_SUM)
    if long != i64(durable.instrument[instrument].open_interest):
        return i64(_OPEN_INTEREST)
    return i64(_NONE)


@kernel_function
def _check_position_counts(durable: Any) -> int:
    total = i64(0)
    for account in range(i64(durable.header.account_count)):
        count = i64(durable.account[account].position_count)
        total += count
        if count > layout.POSITIONS:
            return i64(_POSITION_INDEX)
        for index in range(count):
            position = durable.position[account, index]
            instrument = i64(position.instrument)
            if instrument >= i64(durable.header.instrument_count):
                return i64(_POSITION_INDEX)
            if i64(durable.position_slot[account, instrument]) != index + 1:
                return i64(_POSITION_INDEX)
            if i64(position.quantity) == 0 and i64(position.order_count) == 0:
                return i64(_POSITION_INDEX)
    if total != i64(durable.header.open_position_count):
        return i64(_POSITION_INDEX)
    return i64(_NONE)


# --- orders ------------------------------------------------------------------------------------


@kernel_function
def _check_slots(durable: Any, volatile: Any, account: int) -> int:
    """Slot bits, order records and the account's counts."""
    count = i64(0)
    for slot in range(layout.SLOTS):
        used = (i64(volatile.slot_used[account, slot >> 6]) >> (slot & 63)) & 1
        order = volatile.order[account * layout.SLOTS + slot]
        count += used
        if (i64(order.remaining) != 0) != (used == 1):
            return i64(_ORDER_SLOTS)
        if used == 1 and i64(durable.position_slot[account, i64(order.instrument)]) == 0:
            return i64(_ORDER_SLOTS)
    if count != i64(durable.account[account].order_count):
        return i64(_ORDER_SLOTS)
    return i64(_NONE)


@kernel_function
def _check_open_orders(durable: Any, volatile: Any, account: int, index: int) -> int:
    """What one position counts of its live orders."""
    position = durable.position[account, index]
    buy = i64(0)
    sell = i64(0)
    count = i64(0)
    reserve = i64(0)
    for word in range(_SLOT_WORDS):
        bits = i64(volatile.slot_used[account, word])
        while bits != 0:
            slot = (word << 6) | count_trailing_zeros(bits)
            bits &= bits - 1
            order = volatile.order[account * layout.SLOTS + slot]
            if i64(order.instrument) != i64(position.instrument):
                continue
            lots = i64(order.remaining)
            count += 1
            reserve += order_reserve(durable, order, lots)
            if i64(order.side) == layout.BUY:
                buy += lots
            else:
                sell += lots
    if buy != i64(position.open_buy) or sell != i64(position.open_sell):
        return i64(_OPEN_ORDERS)
    if count != i64(position.order_count) or reserve != i64(position.open_reserve):
        return i64(_OPEN_ORDERS)
    return i64(_NONE)


@kernel_function
def _check_account_orders(durable: Any, volatile: Any) -> int:
    for account in range(i64(durable.header.account_count)):
        if i64(durable.account[account].position_count) == 0:
            if i64(durable.account[account].order_count) != 0:
                return i64(_ORDER_SLOTS)
            continue
        status = _check_slots(durable, volatile, account)
        if status != _NONE:
            return status
        for index in range(i64(durable.account[account].position_count)):
            status = _check_open_orders(durable, volatile, account, index)
            if status != _NONE:
                return status
    return i64(_NONE)


# --- books -------------------------------------------------------------------------------------


@kernel_function
def _check_queue(volatile: Any, instrument: int, side: int, tick: int) -> int:
    """Orders in one level's queue, or minus a Violation."""
    level = volatile.level[instrument, tick]
    limit = i64(volatile.side[instrument, side].order_count)
    number = i64(level.head)
    previous = i64(0)
    count = i64(0)
    while number != 0:
        count += 1
        if number >= layout.ORDERS or count > limit:
            return i64(-_BOOK_QUEUE)
        order = volatile.order[number]
        if i64(order.previous) != previous or i64(order.remaining) == 0:
            return i64(-_BOOK_QUEUE)
        if i64(order.instrument) != instrument or i64(order.side) != side:
            return i64(-_BOOK_QUEUE)
        if i64(order.tick) != tick:
            return i64(-_BOOK_QUEUE)
        previous = number
        number = i64(order.next)
    if count == 0 or i64(level.tail) != previous:
        return i64(-_BOOK_QUEUE)
    return count


@kernel_function
def _check_word(volatile: Any, instrument: int, side: int, word: int) -> int:
    """Orders in the 64 levels of one bitmap word, or minus a Violation."""
    bits = i64(volatile.bitmap[instrument, side, word])
    middle = (i64(volatile.middle[instrument, side, word >> 6]) >> (word & 63)) & 1
    if (bits != 0) != (middle == 1):
        return i64(-_BOOK_BITMAP)
    count = i64(0)
    while bits != 0:
        index = (word << 6) | count_trailing_zeros(bits)
        bits &= bits - 1
        tick = index
        if side == layout.BUY:
            tick = index ^ (layout.TICKS - 1)
        found = _check_queue(volatile, instrument, side, tick)
        if found < 0:
            return found
        count += found
    return count


@kernel_function
def _check_side(volatile: Any, instrument: int, side: int) -> int:
    record = volatile.side[instrument, side]
    best = i64(layout.EMPTY_BOOK_SIDE)
    count = i64(0)
    for group in range(_WORDS >> 6):
        present = (i64(record.summary) >> group) & 1
        if (i64(volatile.middle[instrument, side, group]) != 0) != (present == 1):
            return i64(_BOOK_BITMAP)
        for word in range(group << 6, (group + 1) << 6):
            found = _check_word(volatile, instrument, side, word)
            if found < 0:
                return -found
            if found > 0 and count == 0:
                bits = i64(volatile.bitmap[instrument, side, word])
                best = (word << 6) | count_trailing_zeros(bits)
            count += found
    if best != i64(record.best):
        return i64(_BOOK_BITMAP)
    if count != i64(record.order_count):
        return i64(_BOOK_COUNT)
    return i64(_NONE)


@kernel_function
def _check_books(durable: Any, volatile: Any) -> int:
    queued = i64(0)
    for instrument in range(i64(durable.header.instrument_count)):
        for side in range(2):
            status = _check_side(volatile, instrument, side)
            if status != _NONE:
                return status
            queued += i64(volatile.side[instrument, side].order_count)
        bid = i64(volatile.side[instrument, layout.BUY].best)
        ask = i64(volatile.side[instrument, layout.SELL].best)
        if bid < layout.TICKS and ask < layout.TICKS and bid ^ (layout.TICKS - 1) >= ask:
            return i64(_BOOK_CROSSED)
    live = i64(0)
    for account in range(i64(durable.header.account_count)):
        live += i64(durable.account[account].order_count)
    if live != queued:
        return i64(_BOOK_COUNT)
    return i64(_NONE)


@entry_point("int64(int64)")
def check_invariants(memory: int) -> int:
    """The first Violation found in the state, 0 when there is none; writes nothing."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    status = _check_money(durable)
    if status == _NONE:
        status = _check_owners(memory, durable)
    if status == _NONE:
        status = _check_lanes(durable)
    if status == _NONE:
        status = _check_position_counts(durable)
    for instrument in range(i64(durable.header.instrument_count)):
        if status == _NONE:
            status = _check_instrument(durable, instrument)
    if status == _NONE:
        status = _check_account_orders(durable, volatile)
    if status == _NONE:
        status = _check_books(durable, volatile)
    return status
