"""CANCEL_ALL: take every resting order of the account out of its book."""

from typing import Final

from entresol.kernel.operations.cancel import has_only_slot
from entresol.kernel.order_book import cancel_all_orders
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import operation_at

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)


@kernel_function
def apply_cancel_all(memory: int, account: int, address: int) -> int:
    """Apply the CANCEL_ALL record at native `address`; having no orders is no error."""
    operation = operation_at(address)
    if not has_only_slot(operation) or i64(operation.slot) != 0:
        return _MALFORMED
    cancel_all_orders(memory, account)
    return _APPLIED
