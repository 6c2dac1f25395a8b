"""OWNER_TRANSFER: an owner moves collateral to any account."""

from entresol.kernel.operations.transfer import transfer_cash
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import owner_operation_at


@kernel_function
def apply_owner_transfer(memory: int, account: int, address: int) -> int:
    """Apply the OWNER_OPERATION at a native address; a Rejection."""
    operation = owner_operation_at(address)
    return transfer_cash(memory, account, i64(operation.account), i64(operation.amount))
