"""Conversions between the kernel's integers and the decimals that people read and write."""

from decimal import Decimal
from typing import Final

UNIT: Final = 1_000_000
"""Micro-units per whole unit, of collateral and of an underlying."""

_MICRO: Final = Decimal("0.000001")


class UnitError(ValueError):
    """A decimal that the kernel's integers cannot express exactly."""


def from_micro(value: int) -> Decimal:
    """`value` millionths as an exact decimal without trailing zeros."""
    number = Decimal(value) * _MICRO
    if number == number.to_integral_value():
        return number.quantize(Decimal(1))
    return number.normalize()


def to_micro(value: Decimal, what: str) -> int:
    """Millionths in `value`; raises UnitError when there are finer digits."""
    scaled = value * UNIT if value.is_finite() and abs(value) < 10**13 else None
    if scaled is None or scaled != int(scaled):
        raise UnitError(f"{what} must be a decimal of at most six digits after the point.")
    return int(scaled)


def to_steps(value: Decimal, step_micro: int, what: str) -> int:
    """How many steps of `step_micro` millionths `value` is; raises UnitError when not whole."""
    micro = to_micro(value, what)
    if micro % step_micro:
        raise UnitError(f"{what} must be a multiple of {from_micro(step_micro)}.")
    return micro // step_micro


def hexadecimal(value: bytes) -> str:
    """Bytes as the API writes them: 0x and lower-case hex."""
    return "0x" + value.hex()
