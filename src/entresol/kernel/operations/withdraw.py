"""WITHDRAW: an owner takes collateral out to an L1 address."""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.accounts import MAX_AMOUNT
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.margin import withdrawable
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import durable_at, field_address, owner_operation_at
from entresol.kernel.withdrawals import append_withdrawal, withdrawals_full
from entresol.kernel.words import address_is_zero

_ADDRESS: Final = field_address(0, layout.OWNER_OPERATION, "address")

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_AMOUNT_OUT_OF_RANGE: Final = int(Rejection.AMOUNT_OUT_OF_RANGE)
_INSUFFICIENT_CASH: Final = int(Rejection.INSUFFICIENT_CASH)
_INSUFFICIENT_MARGIN: Final = int(Rejection.INSUFFICIENT_MARGIN)


@kernel_function
def withdrawable_amount(memory: int, account: int) -> int:
    """Most that may leave: never more than the account's cash, nor than its margin allows."""
    amount = withdrawable(memory, account)
    cash = i64(durable_at(memory + DURABLE_BASE).account[account].cash)
    return max(min(amount, cash, i64(MAX_AMOUNT - 1)), i64(0))


@kernel_function
def check_payable(memory: int, account: int, amount: int) -> int:
    """Whether `amount` may leave the account; a Rejection, 0 when it may."""
    if amount <= 0 or amount >= MAX_AMOUNT:
        return i64(_AMOUNT_OUT_OF_RANGE)
    if amount > i64(durable_at(memory + DURABLE_BASE).account[account].cash):
        return i64(_INSUFFICIENT_CASH)
    if amount > withdrawable_amount(memory, account):
        return i64(_INSUFFICIENT_MARGIN)
    return i64(_APPLIED)


@kernel_function
def pay_out(memory: int, account: int, recipient: int, amount: int) -> None:
    """Debit a checked amount and append its withdrawal; `recipient` is a native address."""
    durable = durable_at(memory + DURABLE_BASE)
    durable.account[account].cash = i64(durable.account[account].cash) - amount
    durable.header.withdrawn = i64(durable.header.withdrawn) + amount
    append_withdrawal(memory, account, recipient, amount)


@kernel_function
def apply_withdraw(memory: int, account: int, address: int) -> int:
    """Apply the OWNER_OPERATION at a native address; a Rejection."""
    recipient = address + _ADDRESS
    amount = i64(owner_operation_at(address).amount)
    if address_is_zero(recipient):
        return i64(_MALFORMED)
    status = check_payable(memory, account, amount)
    if status != _APPLIED:
        return status
    if withdrawals_full(memory):
        return i64(_AMOUNT_OUT_OF_RANGE)
    pay_out(memory, account, recipient, amount)
    return i64(_APPLIED)
