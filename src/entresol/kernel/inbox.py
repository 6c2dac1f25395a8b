"""The inbox: deposits and forced operations that L1 obliges the chain to consume in order.

Applying an item is total: whatever its bytes are, it has a bounded effect, possibly none, and
the chain goes on.  `hash' = keccak256(hash || keccak256(item))` ties what was consumed to L1.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.accounts import (
    MAX_AMOUNT,
    MAX_SUBACCOUNT,
    NO_ACCOUNT,
    can_receive,
    find_account,
    open_account,
)
from entresol.kernel.events import emit, fold_outcome
from entresol.kernel.lanes import revoke_lane
from entresol.kernel.layout import DURABLE_BASE, INBOX_ITEM_BYTES, INBOX_ITEMS_BASE
from entresol.kernel.operations.withdraw import pay_out, withdrawable_amount
from entresol.kernel.order_book import cancel_all_orders
from entresol.kernel.rejections import Invalid, Rejection
from entresol.kernel.subset import i64, keccak256, kernel_function, shift_right
from entresol.kernel.views import durable_at, field_address, inbox_item_at, params_at
from entresol.kernel.withdrawals import append_withdrawal, withdrawals_full
from entresol.kernel.words import OPERAND, address_is_zero, copy_words

_MAX_CREDITED: Final = 1 << 62
"""Bound of the running totals in the header."""

_SENDER: Final = field_address(0, layout.INBOX_ITEM, "sender")
_RECIPIENT: Final = field_address(0, layout.INBOX_ITEM, "recipient")
_INBOX_HASH: Final = field_address(DURABLE_BASE, layout.HEADER, "inbox_hash")

_VALID: Final = int(Invalid.VALID)
_INBOX: Final = int(Invalid.INBOX)
_APPLIED: Final = int(Rejection.APPLIED)
_UNKNOWN_OPERATION: Final = int(Rejection.UNKNOWN_OPERATION)
_UNKNOWN_ACCOUNT: Final = int(Rejection.UNKNOWN_ACCOUNT)
_AMOUNT_OUT_OF_RANGE: Final = int(Rejection.AMOUNT_OUT_OF_RANGE)
_INSUFFICIENT_CASH: Final = int(Rejection.INSUFFICIENT_CASH)


@kernel_function
def _item_address(memory: int, position: int) -> int:
    first = i64(params_at(memory + layout.PARAMS_BASE).inbox_first)
    return memory + INBOX_ITEMS_BASE + (position - first) * INBOX_ITEM_BYTES


@kernel_function
def check_inbox(memory: int, count: int) -> int:
    """Whether the next `count` items are at hand and in order; an Invalid code, 0 when so."""
    params = params_at(memory + layout.PARAMS_BASE)
    position = i64(durable_at(memory + DURABLE_BASE).header.inbox_position)
    first = i64(params.inbox_first)
    available = i64(params.inbox_count)
    if count == 0:
        return i64(_VALID)
    if count < 0 or available < 0 or available > layout.MAX_INBOX_ITEMS_PER_BATCH:
        return i64(_INBOX)
    if first < 0 or first > position or position - first > available - count:
        return i64(_INBOX)
    for index in range(count):
        item = inbox_item_at(_item_address(memory, position + index))
        if i64(item.position) != position + index:
            return i64(_INBOX)
    return i64(_VALID)


@kernel_function
def _find_or_open(memory: int, item: int, amount: int) -> int:
    """Account that a deposit goes to, NO_ACCOUNT when there is none and none may be opened."""
    owner = item + _RECIPIENT
    subaccount = i64(inbox_item_at(item).subaccount)
    if subaccount > MAX_SUBACCOUNT or address_is_zero(owner):
        return i64(NO_ACCOUNT)
    account = find_account(memory, owner, subaccount)
    if account != NO_ACCOUNT:
        return account
    if amount < i64(durable_at(memory + DURABLE_BASE).header.minimum_deposit):
        return i64(NO_ACCOUNT)
    return open_account(memory, owner, subaccount)


@kernel_function
def _bounce(memory: int, item: int, amount: int) -> None:
    """Return a deposit as a withdrawal to the owner it was for, or to its sender if to none."""
    header = durable_at(memory + DURABLE_BASE).header
    if withdrawals_full(memory):
        return
    bounced = i64(header.bounced)
    if amount < 0 or amount >= _MAX_CREDITED - bounced:
        header.bounced = _MAX_CREDITED
    else:
        header.bounced = bounced + amount
    recipient = item + _RECIPIENT
    if address_is_zero(recipient):
        recipient = item + _SENDER
    append_withdrawal(memory, i64(layout.HOUSE_ACCOUNT), recipient, amount)


@kernel_function
def _apply_deposit(memory: int, item: int) -> int:
    header = durable_at(memory + DURABLE_BASE).header
    amount = i64(inbox_item_at(item).amount)
    position = i64(inbox_item_at(item).position)
    if amount == 0:
        return i64(_AMOUNT_OUT_OF_RANGE)
    account = i64(NO_ACCOUNT)
    status = i64(_AMOUNT_OUT_OF_RANGE)
    if 0 < amount < MAX_AMOUNT and amount < _MAX_CREDITED - i64(header.deposited):
        status = i64(_UNKNOWN_ACCOUNT)
        account = _find_or_open(memory, item, amount)
        if account != NO_ACCOUNT and not can_receive(memory, account, amount):
            status = i64(_AMOUNT_OUT_OF_RANGE)
            account = i64(NO_ACCOUNT)
    high = shift_right(amount, 32)
    low = amount & 0xFFFF_FFFF
    if account == NO_ACCOUNT:
        house = i64(layout.HOUSE_ACCOUNT)
        emit(memory, layout.EVENT_DEPOSIT, 0, 0, status, house, 0, high, low, position)
        _bounce(memory, item, amount)
        return status
    record = durable_at(memory + DURABLE_BASE).account[account]
    record.cash = i64(record.cash) + amount
    header.deposited = i64(header.deposited) + amount
    emit(memory, layout.EVENT_DEPOSIT, 0, 0, _APPLIED, account, 0, high, low, position)
    return i64(_APPLIED)


@kernel_function
def _apply_withdraw(memory: int, account: int, item: int) -> int:
    """Pay out up to the amount asked, as far as initial margin allows."""
    asked = i64(inbox_item_at(item).amount)
    amount = withdrawable_amount(memory, account)
    if 0 <= asked < amount:
        amount = asked
    if amount <= 0 or withdrawals_full(memory):
        return i64(_INSUFFICIENT_CASH)
    recipient = item + _RECIPIENT
    if address_is_zero(recipient):
        recipient = item + _SENDER
    pay_out(memory, account, recipient, amount)
    return i64(_APPLIED)


@kernel_function
def _apply_forced(memory: int, item: int) -> int:
    """A forced operation by the L1 sender on the account it owns."""
    record = inbox_item_at(item)
    kind = i64(record.kind)
    lane = i64(record.lane)
    if i64(record.subaccount) > MAX_SUBACCOUNT or address_is_zero(item + _SENDER):
        return i64(_UNKNOWN_ACCOUNT)
    account = find_account(memory, item + _SENDER, i64(record.subaccount))
    if account == NO_ACCOUNT:
        return i64(_UNKNOWN_ACCOUNT)
    if kind == layout.INBOX_WITHDRAW:
        return _apply_withdraw(memory, account, item)
    if kind == layout.INBOX_CANCEL_ALL:
        cancel_all_orders(memory, account)
        if lane == 0:
            return i64(_APPLIED)
        # Naming a lane also ends it, and with it every signed message still held back.
    return revoke_lane(memory, account, lane)


@kernel_function
def apply_inbox_item(memory: int, item: int) -> int:
    """Apply the item at a native address; a Rejection that says what became of it."""
    kind = i64(inbox_item_at(item).kind)
    if kind == layout.INBOX_DEPOSIT:
        return _apply_deposit(memory, item)
    if layout.INBOX_WITHDRAW <= kind <= layout.INBOX_REVOKE_LANE:
        return _apply_forced(memory, item)
    return i64(_UNKNOWN_OPERATION)


@kernel_function
def _extend_inbox_hash(memory: int, item: int) -> None:
    operand = memory + OPERAND
    copy_words(operand, memory + _INBOX_HASH, 4)
    keccak256(item, INBOX_ITEM_BYTES, operand + 32)
    keccak256(operand, 64, memory + _INBOX_HASH)


@kernel_function
def consume_inbox(memory: int, count: int) -> None:
    """Apply the next `count` items, which `check_inbox` allowed."""
    header = durable_at(memory + DURABLE_BASE).header
    for _ in range(count):
        item = _item_address(memory, i64(header.inbox_position))
        _extend_inbox_hash(memory, item)
        header.inbox_position = i64(header.inbox_position) + 1
        fold_outcome(memory, apply_inbox_item(memory, item))
