"""TRANSFER: a lane moves collateral to another account of the same owner."""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.accounts import can_receive, move_cash, owner_address
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.operations.withdraw import check_payable
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import durable_at, operation_at
from entresol.kernel.words import addresses_equal

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_UNKNOWN_ACCOUNT: Final = int(Rejection.UNKNOWN_ACCOUNT)
_SELF_TRANSFER: Final = int(Rejection.SELF_TRANSFER)
_OWNER_IS_OTHER: Final = int(Rejection.OWNER_IS_OTHER)
_AMOUNT_OUT_OF_RANGE: Final = int(Rejection.AMOUNT_OUT_OF_RANGE)


@kernel_function
def transfer_cash(memory: int, sender: int, receiver: int, amount: int) -> int:
    """Move `amount` between two different open accounts if both allow it; a Rejection.

    Nothing can be sent to the house: nobody owns it, so a slip would be final.
    """
    if receiver == layout.HOUSE_ACCOUNT:
        return i64(_UNKNOWN_ACCOUNT)
    if receiver >= i64(durable_at(memory + DURABLE_BASE).header.account_count):
        return i64(_UNKNOWN_ACCOUNT)
    if receiver == sender:
        return i64(_SELF_TRANSFER)
    status = check_payable(memory, sender, amount)
    if status != _APPLIED:
        return status
    if not can_receive(memory, receiver, amount):
        return i64(_AMOUNT_OUT_OF_RANGE)
    move_cash(memory, sender, receiver, amount)
    return i64(_APPLIED)


@kernel_function
def apply_transfer(memory: int, account: int, address: int) -> int:
    """Apply the OPERATION at a native address: `value` to `account`; a Rejection."""
    operation = operation_at(address)
    unused = i64(operation.flags) | i64(operation.instrument) | i64(operation.slot)
    unused |= i64(operation.count) | i64(operation.price) | i64(operation.quantity)
    if unused != 0:
        return i64(_MALFORMED)
    receiver = i64(operation.account)
    if receiver >= i64(durable_at(memory + DURABLE_BASE).header.account_count):
        return i64(_UNKNOWN_ACCOUNT)
    if not addresses_equal(owner_address(memory, account), owner_address(memory, receiver)):
        return i64(_OWNER_IS_OTHER)
    return transfer_cash(memory, account, receiver, i64(operation.value))
