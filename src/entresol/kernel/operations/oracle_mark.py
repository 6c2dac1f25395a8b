"""ORACLE_MARK: a publisher's mark price of an option; perpetuals follow their index instead."""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.instruments import is_known
from entresol.kernel.layout import DURABLE_BASE
from entresol.kernel.oracle import refresh_instrument
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function, shift_right
from entresol.kernel.views import durable_at, operation_at

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_NOT_A_PUBLISHER: Final = int(Rejection.NOT_A_PUBLISHER)
_UNKNOWN_INSTRUMENT: Final = int(Rejection.UNKNOWN_INSTRUMENT)
_NOT_TRADING: Final = int(Rejection.INSTRUMENT_NOT_TRADING)
_OUT_OF_RANGE: Final = int(Rejection.ORACLE_PRICE_OUT_OF_RANGE)
_ACCOUNT_MASK: Final = layout.ACCOUNTS - 1
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1
_WORD: Final = (1 << 32) - 1


@kernel_function
def apply_oracle_mark(memory: int, account: int, address: int) -> int:
    """Apply the ORACLE_MARK record at native `address`; its time is the block's.

    A call is worth at most what its underlying may be, a put at most its strike.
    """
    durable = durable_at(memory + DURABLE_BASE)
    operation = operation_at(address)
    narrow = i64(operation.flags) | i64(operation.slot) | i64(operation.count)
    if narrow | i64(operation.price) | i64(operation.quantity) | i64(operation.account) != 0:
        return _MALFORMED
    if i64(durable.account[account & _ACCOUNT_MASK].flags) & layout.ACCOUNT_PUBLISHER == 0:
        return _NOT_A_PUBLISHER
    number = i64(operation.instrument)
    if not is_known(durable, number):
        return _UNKNOWN_INSTRUMENT
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    kind = i64(instrument.kind)
    if kind == layout.PERPETUAL:
        return _MALFORMED
    if i64(instrument.status) != layout.TRADING:
        return _NOT_TRADING
    underlying = durable.underlying[i64(instrument.underlying) & (layout.UNDERLYINGS - 1)]
    highest = i64(underlying.maximum_index) if kind == layout.CALL else i64(instrument.strike)
    mark = i64(operation.value)
    if mark < 0 or mark > highest:
        return _OUT_OF_RANGE
    risk = durable.risk[number & _INSTRUMENT_MASK]
    risk.mark = mark
    risk.mark_time_ms = i64(durable.header.last_time_ms)
    refresh_instrument(durable, number)
    emit(
        memory, i64(layout.EVENT_PRICE), i64(layout.ORACLE_MARK), number, i64(0), account, i64(0),
        shift_right(mark, 32), mark & _WORD, i64(operation.label),
    )  # fmt: skip
    return _APPLIED
