"""CANCEL: take one resting order of the account, named by its slot, out of its book."""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.layout import VOLATILE_BASE
from entresol.kernel.order_book import remove_order
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import operation_at, volatile_at

_SLOT_BITS: Final = layout.SLOTS.bit_length() - 1
_ORDER_MASK: Final = layout.ORDERS - 1

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_SLOT_OUT_OF_RANGE: Final = int(Rejection.SLOT_OUT_OF_RANGE)
_SLOT_EMPTY: Final = int(Rejection.SLOT_EMPTY)
_CANCELLED: Final = int(Rejection.CANCELLED)


@kernel_function
def has_only_slot(operation: Any) -> bool:
    """True when every field but kind, slot and label is zero."""
    narrow = i64(operation.flags) | i64(operation.instrument) | i64(operation.count)
    wide = i64(operation.price) | i64(operation.quantity) | i64(operation.account)
    return narrow | wide | i64(operation.value) == 0


@kernel_function
def apply_cancel(memory: int, account: int, address: int) -> int:
    """Apply the CANCEL record at native `address` for `account`; returns a Rejection number."""
    operation = operation_at(address)
    slot = i64(operation.slot)
    if not has_only_slot(operation):
        return _MALFORMED
    if slot >= layout.SLOTS:
        return _SLOT_OUT_OF_RANGE
    number = (account << _SLOT_BITS) | slot
    volatile = volatile_at(memory + VOLATILE_BASE)
    if i64(volatile.order[number & _ORDER_MASK].remaining) == 0:
        return _SLOT_EMPTY
    remove_order(memory, number, i64(_CANCELLED))
    return _APPLIED
