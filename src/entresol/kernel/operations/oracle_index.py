"""ORACLE_INDEX: a publisher's price of an underlying; perpetual marks follow it."""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.oracle import refresh_underlying
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function, shift_right
from entresol.kernel.views import durable_at, operation_at

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_NOT_A_PUBLISHER: Final = int(Rejection.NOT_A_PUBLISHER)
_UNKNOWN_UNDERLYING: Final = int(Rejection.UNKNOWN_UNDERLYING)
_OUT_OF_RANGE: Final = int(Rejection.ORACLE_PRICE_OUT_OF_RANGE)
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_WORD: Final = (1 << 32) - 1


@kernel_function
def apply_oracle_index(memory: int, account: int, address: int) -> int:
    """Apply the ORACLE_INDEX record at native `address`; its time is the block's."""
    durable = durable_at(memory + DURABLE_BASE)
    operation = operation_at(address)
    narrow = i64(operation.flags) | i64(operation.slot) | i64(operation.count)
    if narrow | i64(operation.price) | i64(operation.quantity) | i64(operation.account) != 0:
        return _MALFORMED
    if i64(durable.account[account & _ACCOUNT_MASK].flags) & layout.ACCOUNT_PUBLISHER == 0:
        return _NOT_A_PUBLISHER
    number = i64(operation.instrument)
    if number >= i64(durable.header.underlying_count):
        return _UNKNOWN_UNDERLYING
    underlying = durable.underlying[number & (layout.UNDERLYINGS - 1)]
    index = i64(operation.value)
    if index <= 0 or index > i64(underlying.maximum_index):
        return _OUT_OF_RANGE
    underlying.index = index
    underlying.index_time_ms = i64(durable.header.last_time_ms)
    underlying.epoch = i64(underlying.epoch) + 1
    refresh_underlying(durable, number)
    emit(
        memory, i64(layout.EVENT_PRICE), i64(layout.ORACLE_INDEX), number, i64(0), account,
        i64(0), shift_right(index, 32), index & _WORD, i64(operation.label),
    )  # fmt: skip
    return _APPLIED
