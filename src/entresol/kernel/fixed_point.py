"""Integer arithmetic of money: bounds that keep every product below 2^62, and named roundings.

Units: cash and values are micro-collateral (1e-6); a price is micro-collateral per unit of the
underlying; a contract size is millionths of the underlying per lot; a rate is parts per million.

Widths.  A lot is worth at most MAXIMUM_LOT_VALUE = 2^34 at the top of its ladder, at its strike
and at the highest index its underlying may report (listing and oracle updates enforce it).  A
position and its open orders on one side are at most MAXIMUM_POSITION = 2^21 lots.  Hence
    price * contract size             <= 2^34 * 10^6        < 2^54
    value of a lot * rate             <= 2^34 * 10^6        < 2^54
    value of a fill or a position     <= 2^34 * 2^21        = 2^55
    resting bids of one instrument    <= 2 * 2^21 lots      : reserve <= 2^56
    requirement of one instrument     <= 2^21 * 1.5 * 2^34 + 2 * 2^56 < 2^58
    the same over 32 positions                              < 2^62 (each with its own maximum)
and cash of an account that may trade stays within +-2^60 (MAXIMUM_TRADING_CASH at order entry plus
the fills of its open orders).
"""

from typing import Final

from entresol.kernel.layout import RATE_ONE
from entresol.kernel.subset import divide_ceiling, divide_floor, kernel_function

MAXIMUM_LOT_VALUE: Final = 1 << 34
"""Micro-collateral one lot may be worth (17,179 units of collateral)."""

MAXIMUM_PRICE: Final = 1 << 42
"""Micro-collateral per unit of an underlying: the highest index or strike."""

MAXIMUM_LOT_PRODUCT: Final = MAXIMUM_LOT_VALUE * RATE_ONE
"""The same bound on price times contract size, before the division by one million."""

MAXIMUM_POSITION: Final = 1 << 21
"""Lots of one instrument an account may hold, open orders of one side included."""

MAXIMUM_TRADING_CASH: Final = 1 << 59
"""An account whose cash is beyond this, either way, may only cancel."""


@kernel_function
def lot_value_floor(price: int, contract_size: int) -> int:
    """Micro-collateral of one lot at `price`, rounded down; the product stays below 2^54."""
    return divide_floor(price * contract_size, RATE_ONE)


@kernel_function
def lot_value_ceiling(price: int, contract_size: int) -> int:
    """Micro-collateral of one lot at `price`, rounded up; the product stays below 2^54."""
    return divide_ceiling(price * contract_size, RATE_ONE)


@kernel_function
def share_ceiling(value: int, rate: int) -> int:
    """`rate` parts per million of a lot's value, rounded up: a rebate shrinks, a charge grows."""
    return divide_ceiling(value * rate, RATE_ONE)


@kernel_function
def larger(x: int, y: int) -> int:
    """The larger of two int64."""
    return x if x > y else y


@kernel_function
def smaller(x: int, y: int) -> int:
    """The smaller of two int64."""
    return x if x < y else y
