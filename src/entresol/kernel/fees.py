"""Trading fees: per lot and price, rounded toward the house, so splitting a fill gains nothing.

A perpetual's fee is a share of the lot's traded value; an option's is a share of the lot's value
at the index, at most a share of its premium.  A maker's rebate is at most the taker's fee, so no
fill costs the house anything.
"""

from typing import Any

from entresol.kernel import layout
from entresol.kernel.fixed_point import larger, share_ceiling, smaller
from entresol.kernel.subset import i64, kernel_function


@kernel_function
def _fee(instrument: Any, value: int, rate: int) -> int:
    if i64(instrument.kind) == layout.PERPETUAL:
        return share_ceiling(value, rate)
    fee = share_ceiling(i64(instrument.index_value), rate)
    return smaller(fee, share_ceiling(value, i64(instrument.fee_cap_rate)))


@kernel_function
def taker_fee(instrument: Any, value: int) -> int:
    """Micro-collateral a taker pays per lot traded at `value` (price times tick value)."""
    return _fee(instrument, value, i64(instrument.taker_fee_rate))


@kernel_function
def maker_fee(instrument: Any, value: int) -> int:
    """Micro-collateral a maker pays per lot traded at `value`; negative is a rebate."""
    fee = _fee(instrument, value, i64(instrument.maker_fee_rate))
    return larger(fee, -taker_fee(instrument, value))
