"""EXPIRE: turn an expired option into cash, a bounded piece per call.

The first call after expiry fixes the delivery value per lot, the option's intrinsic value at the
index, and stops the market (TRADING to SETTLING).  Every call then cancels up to
ORDERS_PER_CALL resting orders; once the book is empty it walks up to ACCOUNTS_PER_CALL accounts
and pays each holder, until all are done (SETTLED).  Longs receive exactly what shorts pay; in
between the house stands for those not yet reached, so the sum of all cash never changes.

The index must be fresh and from after the expiry.  A time-weighted average of the index over the
last half hour, which no single price can bend, is the next step and changes `_fix_delivery` only.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.fixed_point import larger, lot_value_floor, smaller
from entresol.kernel.instruments import is_known
from entresol.kernel.layout import DURABLE_BASE, VOLATILE_BASE
from entresol.kernel.order_book import remove_order, side_index
from entresol.kernel.positions import find_position, release_if_empty
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import durable_at, operation_at, volatile_at

ORDERS_PER_CALL: Final = 128
ACCOUNTS_PER_CALL: Final = 512
"""Work of one EXPIRE: resting orders cancelled, accounts looked at."""

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_UNKNOWN_INSTRUMENT: Final = int(Rejection.UNKNOWN_INSTRUMENT)
_NOT_TRADING: Final = int(Rejection.INSTRUMENT_NOT_TRADING)
_NOT_EXPIRED: Final = int(Rejection.INSTRUMENT_NOT_EXPIRED)
_STALE: Final = int(Rejection.ORACLE_STALE)
_EXPIRED: Final = int(Rejection.INSTRUMENT_EXPIRED)

_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1
_UNDERLYING_MASK: Final = layout.UNDERLYINGS - 1
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_POSITION_MASK: Final = layout.POSITIONS - 1


@kernel_function
def _check_expired(durable: Any, number: int) -> int:
    """Rejection unless a trading instrument has passed its expiry with a usable index."""
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    now = i64(durable.header.last_time_ms)
    expiry = i64(instrument.expiry_ms)
    if i64(instrument.kind) == layout.PERPETUAL or now < expiry:
        return _NOT_EXPIRED
    underlying = durable.underlying[i64(instrument.underlying) & _UNDERLYING_MASK]
    time = i64(underlying.index_time_ms)
    if time < expiry or time < now - i64(underlying.maximum_age_ms):
        return _STALE
    return _APPLIED


@kernel_function
def _leave_underlying(durable: Any, number: int) -> None:
    """Take an instrument out of its underlying's list, so prices no longer reach it."""
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    underlying = durable.underlying[i64(instrument.underlying) & _UNDERLYING_MASK]
    following = i64(instrument.next_instrument)
    instrument.next_instrument = 0
    current = i64(underlying.first_instrument)
    if current == number + 1:
        underlying.first_instrument = following
        return
    for _ in range(layout.INSTRUMENTS):
        before = durable.instrument[(current - 1) & _INSTRUMENT_MASK]
        current = i64(before.next_instrument)
        if current == number + 1:
            before.next_instrument = following
        if current == number + 1 or current == 0:
            break


@kernel_function
def _fix_delivery(durable: Any, number: int) -> None:
    """Set the delivery value, which is also all the margin a short needs from now on."""
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    index = i64(durable.underlying[i64(instrument.underlying) & _UNDERLYING_MASK].index)
    strike = i64(instrument.strike)
    intrinsic = index - strike if i64(instrument.kind) == layout.CALL else strike - index
    # One rounding for both sides of the market: what longs receive, shorts pay.
    value = lot_value_floor(larger(intrinsic, i64(0)), i64(instrument.contract_size))
    instrument.delivery_value = value
    instrument.settle_cursor = 0
    instrument.status = layout.SETTLING
    risk = durable.risk[number & _INSTRUMENT_MASK]
    risk.initial_short = value
    risk.maintenance_short = value
    _leave_underlying(durable, number)


@kernel_function
def _cancel_book(memory: int, number: int) -> int:
    """Cancel up to ORDERS_PER_CALL orders of the book; returns the orders still there."""
    volatile = volatile_at(memory + VOLATILE_BASE)
    book = number & _INSTRUMENT_MASK
    left = i64(ORDERS_PER_CALL)
    for side in range(2):
        record = volatile.side[book, side]
        while left > 0 and i64(record.order_count) > 0:
            tick = side_index(i64(record.best), i64(side)) & (layout.TICKS - 1)
            remove_order(memory, i64(volatile.level[book, tick].head), i64(_EXPIRED))
            left -= 1
    return i64(volatile.side[book, 0].order_count) + i64(volatile.side[book, 1].order_count)


@kernel_function
def _deliver(memory: int, durable: Any, account: int, number: int) -> None:
    """Exchange an account's position in the instrument for its delivery value in cash."""
    index = find_position(durable, account, number)
    if index < 0:
        return
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    quantity = i64(position.quantity)
    value = i64(instrument.delivery_value)
    holder = durable.account[account & _ACCOUNT_MASK]
    holder.cash = i64(holder.cash) + quantity * value
    house = durable.account[layout.HOUSE_ACCOUNT]
    house.cash = i64(house.cash) - quantity * value
    instrument.open_interest = i64(instrument.open_interest) - larger(quantity, i64(0))
    position.quantity = 0
    emit(
        memory, i64(layout.EVENT_SETTLED), i64(layout.SELL if quantity > 0 else layout.BUY),
        number, i64(0), account, i64(0), i64(0), larger(quantity, -quantity), i64(0),
    )  # fmt: skip
    release_if_empty(memory, durable, account, index)


@kernel_function
def apply_expire(memory: int, account: int, address: int) -> int:
    """Apply the EXPIRE record at native `address`; anyone may move an expiry along."""
    durable = durable_at(memory + DURABLE_BASE)
    operation = operation_at(address)
    narrow = i64(operation.flags) | i64(operation.slot) | i64(operation.count)
    wide = i64(operation.price) | i64(operation.quantity) | i64(operation.account)
    if narrow | wide | i64(operation.value) != 0:
        return _MALFORMED
    number = i64(operation.instrument)
    if not is_known(durable, number):
        return _UNKNOWN_INSTRUMENT
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    if i64(instrument.status) == layout.SETTLED:
        return _NOT_TRADING
    if i64(instrument.status) == layout.TRADING:
        status = _check_expired(durable, number)
        if status != _APPLIED:
            return status
        _fix_delivery(durable, number)
    if _cancel_book(memory, number) > 0:
        return _APPLIED
    first = i64(instrument.settle_cursor)
    count = i64(durable.header.account_count)
    end = smaller(first + ACCOUNTS_PER_CALL, count)
    for holder in range(first, end):
        _deliver(memory, durable, i64(holder), number)
    instrument.settle_cursor = end
    if end == count:
        instrument.status = layout.SETTLED
        emit(
            memory, i64(layout.EVENT_SETTLED), i64(layout.EVENT_SETTLED), number, i64(0), account,
            i64(0), i64(0), i64(0), i64(operation.label),
        )  # fmt: skip
    return _APPLIED
