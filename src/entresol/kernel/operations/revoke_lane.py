"""REVOKE_LANE: an owner ends a session key's lane."""

from entresol.kernel.lanes import revoke_lane
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import owner_operation_at


@kernel_function
def apply_revoke_lane(memory: int, account: int, address: int) -> int:
    """Apply the OWNER_OPERATION at a native address; a Rejection."""
    return revoke_lane(memory, account, i64(owner_operation_at(address).lane))
