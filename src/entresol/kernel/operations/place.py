"""PLACE: one limit order: good-til-cancelled, immediate-or-cancel or fill-or-kill.

Reduce-only: the order must oppose the account's position and its quantity is cut to what closes
it.  The cut is checked again whenever the resting order meets a taker, because the position may
have shrunk: it then trades what still reduces and is cancelled.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.fees import taker_fee
from entresol.kernel.fixed_point import MAXIMUM_TRADING_CASH, smaller
from entresol.kernel.instruments import check_tradable
from entresol.kernel.layout import DURABLE_BASE, VOLATILE_BASE
from entresol.kernel.margin import order_passes
from entresol.kernel.matching import MAXIMUM_MAKERS, change_position, lots_available, match
from entresol.kernel.order_book import append_order, choose_slot, opposite_limit
from entresol.kernel.positions import (
    add_open,
    closable_lots,
    find_position,
    open_position,
    release_if_empty,
)
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import divide_ceiling, i64, kernel_function
from entresol.kernel.views import durable_at, operation_at, volatile_at

_SLOT_BITS: Final = layout.SLOTS.bit_length() - 1
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_POSITION_MASK: Final = layout.POSITIONS - 1
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1

_KNOWN_FLAGS: Final = (
    layout.FLAG_SELL
    | layout.FLAG_TIME_IN_FORCE_MASK
    | layout.FLAG_POST_ONLY
    | layout.FLAG_REDUCE_ONLY
)

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_NOT_PERMITTED: Final = int(Rejection.NOT_PERMITTED)
_PRICE_OUT_OF_RANGE: Final = int(Rejection.PRICE_OUT_OF_RANGE)
_QUANTITY_OUT_OF_RANGE: Final = int(Rejection.QUANTITY_OUT_OF_RANGE)
_POSITIONS_FULL: Final = int(Rejection.POSITIONS_FULL)
_POSITION_LIMIT: Final = int(Rejection.POSITION_LIMIT)
_POST_ONLY_WOULD_CROSS: Final = int(Rejection.POST_ONLY_WOULD_CROSS)
_FILL_OR_KILL_UNFILLED: Final = int(Rejection.FILL_OR_KILL_UNFILLED)
_REDUCE_ONLY_INCREASES: Final = int(Rejection.REDUCE_ONLY_INCREASES)
_INSUFFICIENT_MARGIN: Final = int(Rejection.INSUFFICIENT_MARGIN)
_MATCH_LIMIT: Final = int(Rejection.MATCH_LIMIT)
_NOT_RESTING: Final = int(Rejection.NOT_RESTING)


@kernel_function
def check_flags(operation: Any) -> int:
    """MALFORMED when a bit or field has no meaning in a PLACE, else APPLIED."""
    flags = i64(operation.flags)
    force = flags & layout.FLAG_TIME_IN_FORCE_MASK
    if flags & ~i64(_KNOWN_FLAGS) != 0 or force == layout.FLAG_TIME_IN_FORCE_MASK:
        return _MALFORMED
    if force != 0 and flags & layout.FLAG_POST_ONLY != 0:
        return _MALFORMED
    if i64(operation.count) | i64(operation.value) | i64(operation.account) != 0:
        return _MALFORMED
    return _APPLIED


@kernel_function
def check_terms(instrument: Any, price: int, lots: int) -> int:
    """Rejection of a price off the ladder or a quantity outside the instrument's limits."""
    tick = price - i64(instrument.base_tick)
    if tick < 0 or tick >= i64(instrument.level_count):
        return _PRICE_OUT_OF_RANGE
    if lots < i64(instrument.minimum_lots) or lots > i64(instrument.maximum_lots):
        return _QUANTITY_OUT_OF_RANGE
    return _APPLIED


@kernel_function
def check_room(durable: Any, account: int, number: int, index: int, side: int, lots: int) -> int:
    """Rejection when the position table or the position limit has no room for an order.

    `index` is the account's position in the instrument, negative if it has none.
    """
    room = i64(durable.instrument[number & _INSTRUMENT_MASK].position_limit) - lots
    holder = account & _ACCOUNT_MASK
    if index < 0:
        if i64(durable.account[holder].position_count) >= layout.POSITIONS:
            return _POSITIONS_FULL
        return _APPLIED if room >= 0 else _POSITION_LIMIT
    position = durable.position[holder, index & _POSITION_MASK]
    if side == layout.BUY:
        held = i64(position.quantity) + i64(position.open_buy)
    else:
        held = i64(position.open_sell) - i64(position.quantity)
    return _APPLIED if held <= room else _POSITION_LIMIT


@kernel_function
def reserve_ticks(instrument: Any, risk: Any, side: int, price: int) -> int:
    """Ticks per lot that filling an order at `price` would cost: premium, or worse than mark.

    Rounded up; below 2^32 because a price is.
    """
    if i64(instrument.kind) != layout.PERPETUAL:
        return price if side == layout.BUY else i64(0)
    worse = price * i64(instrument.tick_value) - i64(risk.mark_value)
    if side != layout.BUY:
        worse = -worse
    if worse <= 0:
        return i64(0)
    return divide_ceiling(worse, i64(instrument.tick_value))


@kernel_function
def trading_cash_is_sane(durable: Any, account: int) -> bool:
    """True while the account's cash is inside the bounds that fixed_point.py argues from."""
    cash = i64(durable.account[account & _ACCOUNT_MASK].cash)
    return -MAXIMUM_TRADING_CASH <= cash <= MAXIMUM_TRADING_CASH


@kernel_function
def rest_order(
    memory: int, account: int, number: int, index: int, side: int, price: int, lots: int,
    slot: int, flags: int, label: int, reserve: int,
) -> None:  # fmt: skip
    """Put an order into its book and slot, and report it; the position counts it already."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    position.order_count = i64(position.order_count) + 1
    tick = price - i64(durable.instrument[number & _INSTRUMENT_MASK].base_tick)
    append_order(
        volatile, durable, (account << _SLOT_BITS) | slot, number, side, tick, lots, flags, label,
        reserve,
    )  # fmt: skip
    emit(
        memory, i64(layout.EVENT_ORDER_RESTED), side, number, i64(0), account, slot, price, lots,
        label,
    )  # fmt: skip


@kernel_function
def _enter(
    memory: int, account: int, number: int, side: int, price: int, lots: int, slot: int,
    flags: int, label: int, reserve: int,
) -> None:  # fmt: skip
    """Rest an accepted order, or drop what is left of one that may not rest."""
    if flags & layout.FLAG_TIME_IN_FORCE_MASK != 0:
        emit(
            memory, i64(layout.EVENT_ORDER_REMOVED), side, number, i64(_NOT_RESTING), account,
            slot, price, lots, label,
        )  # fmt: skip
        return
    durable = durable_at(memory + DURABLE_BASE)
    index = open_position(durable, account, number)
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    tick_value = i64(durable.instrument[number & _INSTRUMENT_MASK].tick_value)
    add_open(position, side, lots, lots * reserve * tick_value)
    rest_order(memory, account, number, index, side, price, lots, slot, flags, label, reserve)


@kernel_function
def _take(
    memory: int, account: int, number: int, side: int, price: int, lots: int, slot: int,
    flags: int, label: int, reserve: int,
) -> None:  # fmt: skip
    """Match an accepted order that crosses, settle the taker once, enter what is left."""
    durable = durable_at(memory + DURABLE_BASE)
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    index = open_position(durable, account, number)
    tick = price - i64(instrument.base_tick)
    traded, value, fees, met = match(
        memory, account, number, 1 - side, opposite_limit(tick, side), lots, slot, label
    )
    if traded > 0:
        holder = durable.account[account & _ACCOUNT_MASK]
        paid = value if side == layout.BUY else -value
        holder.cash = i64(holder.cash) - paid - fees
        signed = traded if side == layout.BUY else -traded
        change_position(durable, account, index, instrument, signed)
    left = lots - traded
    if left > 0 and met >= MAXIMUM_MAKERS:
        reason = _MATCH_LIMIT if flags & layout.FLAG_TIME_IN_FORCE_MASK == 0 else _NOT_RESTING
        emit(
            memory, i64(layout.EVENT_ORDER_REMOVED), side, number, i64(reason), account, slot,
            price, left, label,
        )  # fmt: skip
    elif left > 0:
        _enter(memory, account, number, side, price, left, slot, flags, label, reserve)
    release_if_empty(memory, durable, account, index)


@kernel_function
def apply_place(memory: int, account: int, address: int) -> int:
    """Apply the PLACE record at native `address` for `account`; returns a Rejection number."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    operation = operation_at(address)
    flags = i64(operation.flags)
    number = i64(operation.instrument)
    price = i64(operation.price)
    lots = i64(operation.quantity)
    side = flags & layout.FLAG_SELL
    if account == layout.HOUSE_ACCOUNT:
        return _NOT_PERMITTED
    status = check_flags(operation)
    if status == _APPLIED:
        status = check_tradable(durable, number)
    if status != _APPLIED:
        return status
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    status = check_terms(instrument, price, lots)
    if status != _APPLIED:
        return status
    slot = choose_slot(volatile, account, i64(operation.slot))
    if slot < 0:
        return -slot
    index = find_position(durable, account, number)
    if flags & layout.FLAG_REDUCE_ONLY != 0:
        lots = smaller(lots, _closable(durable, account, index, side))
        if lots == 0:
            return _REDUCE_ONLY_INCREASES
    limit = opposite_limit(price - i64(instrument.base_tick), side)
    crosses = i64(volatile.side[number & _INSTRUMENT_MASK, 1 - side].best) <= limit
    if crosses and flags & layout.FLAG_POST_ONLY != 0:
        return _POST_ONLY_WOULD_CROSS
    status = check_room(durable, account, number, index, side, lots)
    if status != _APPLIED:
        return status
    if flags & layout.FLAG_TIME_IN_FORCE_MASK == layout.FILL_OR_KILL << 1:
        if lots_available(volatile, number, 1 - side, limit, account, lots) < lots:
            return _FILL_OR_KILL_UNFILLED
    reserve = reserve_ticks(instrument, durable.risk[number & _INSTRUMENT_MASK], side, price)
    tick_value = i64(instrument.tick_value)
    fee = lots * taker_fee(instrument, price * tick_value) if crosses else i64(0)
    if not trading_cash_is_sane(durable, account) or not order_passes(
        durable, account, number, index, side, lots, lots * reserve * tick_value, fee
    ):
        return _INSUFFICIENT_MARGIN
    label = i64(operation.label)
    if crosses:
        _take(memory, account, number, side, price, lots, slot, flags, label, reserve)
    else:
        _enter(memory, account, number, side, price, lots, slot, flags, label, reserve)
    return _APPLIED


@kernel_function
def _closable(durable: Any, account: int, index: int, side: int) -> int:
    if index < 0:
        return i64(0)
    position = durable.position[account & _ACCOUNT_MASK, index & _POSITION_MASK]
    return closable_lots(i64(position.quantity), side)
