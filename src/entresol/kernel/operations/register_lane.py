"""REGISTER_LANE: an owner gives a session key a lane of its own."""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.lanes import ALL_PERMISSIONS, register_lane
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import durable_at, field_address, owner_operation_at
from entresol.kernel.words import address_is_zero

_ADDRESS: Final = field_address(0, layout.OWNER_OPERATION, "address")

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_LANES_FULL: Final = int(Rejection.LANES_FULL)


@kernel_function
def apply_register_lane(memory: int, account: int, address: int) -> int:
    """Apply the OWNER_OPERATION at a native address; a Rejection."""
    operation = owner_operation_at(address)
    key = address + _ADDRESS
    expires = i64(operation.expires_ms)
    permissions = i64(operation.permissions)
    if address_is_zero(key) or permissions == 0 or permissions > ALL_PERMISSIONS:
        return i64(_MALFORMED)
    if expires < i64(durable_at(memory + DURABLE_BASE).header.last_time_ms):
        return i64(_MALFORMED)
    if register_lane(memory, account, key, expires, permissions) == 0:
        return i64(_LANES_FULL)
    return i64(_APPLIED)
