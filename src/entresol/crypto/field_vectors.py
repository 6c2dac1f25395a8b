"""KoalaBear arithmetic on sixteen elements at once, as LLVM instructions.

A function here appends instructions to a builder and returns LLVM values; Python loops around
them write whole permutations.  A `Lanes` value is `<16 x i32>` with every lane in [0, p).  A
`Wide` value holds sixteen signed 64-bit integers: the even lanes and the odd lanes, `<8 x i64>`
each, because processors multiply 32 by 32 bits within 64-bit lanes.
"""

from dataclasses import dataclass
from typing import Any, Final

from llvmlite import ir

from entresol.crypto.field import MONTGOMERY_INVERSE, PRIME

LANES: Final = 16
NARROW: Final = ir.VectorType(ir.IntType(32), LANES)
WIDE: Final = ir.VectorType(ir.IntType(64), LANES // 2)

Lanes = Any
"""`<16 x i32>`, every lane in [0, p)."""

SignedLanes = Any
"""`<16 x i32>`, every lane in (-p, p), two's complement."""


@dataclass(frozen=True, slots=True)
class Wide:
    """Sixteen 64-bit integers, split by the parity of their lane."""

    even: Any
    odd: Any


def splat(value: int) -> Any:
    """The constant `value` in all sixteen 32-bit lanes."""
    return ir.Constant(NARROW, [value % (1 << 32)] * LANES)


def splat_wide(value: int) -> Any:
    """The constant `value` in all eight 64-bit lanes."""
    return ir.Constant(WIDE, [value] * (LANES // 2))


_SHIFT: Final = splat_wide(32)
_LOW: Final = splat_wide((1 << 32) - 1)
_HIGH: Final = splat_wide(((1 << 32) - 1) << 32)


def _minimum(builder: Any, x: Any, y: Any) -> Any:
    """Lane-wise unsigned minimum."""
    name = "llvm.umin.v16i32"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(NARROW, [NARROW, NARROW]), name)
    return builder.call(function, [x, y])


def add(builder: Any, x: Lanes, y: Lanes) -> Lanes:
    """x + y modulo p."""
    total = builder.add(x, y)
    return _minimum(builder, total, builder.sub(total, splat(PRIME)))


def subtract_signed(builder: Any, x: Lanes, y: Lanes) -> SignedLanes:
    """x - y, not reduced."""
    return builder.sub(x, y)


def _sign_extend(builder: Any, value: Any) -> Any:
    """The low 32 bits of each 64-bit lane as a signed integer."""
    return builder.ashr(builder.shl(value, _SHIFT), _SHIFT)


def split(builder: Any, x: SignedLanes) -> Wide:
    """The lanes of x as 64-bit integers."""
    pairs = builder.bitcast(x, WIDE)
    return Wide(_sign_extend(builder, pairs), builder.ashr(pairs, _SHIFT))


def multiply_wide(builder: Any, x: Wide, y: Wide) -> Wide:
    """Products of values that fit 32 signed bits."""
    return Wide(builder.mul(x.even, y.even), builder.mul(x.odd, y.odd))


def scale_wide(builder: Any, x: Wide, factor: int) -> Wide:
    """x times a small constant."""
    constant = splat_wide(factor)
    return Wide(builder.mul(x.even, constant), builder.mul(x.odd, constant))


def add_wide(builder: Any, x: Wide, y: Wide) -> Wide:
    """x + y."""
    return Wide(builder.add(x.even, y.even), builder.add(x.odd, y.odd))


def subtract_wide(builder: Any, x: Wide, y: Wide) -> Wide:
    """x - y."""
    return Wide(builder.sub(x.even, y.even), builder.sub(x.odd, y.odd))


def _cancel(builder: Any, value: Any) -> Any:
    """value - m p with the signed 32-bit m that makes the low 32 bits zero.

    For |value| < 2^31 p both terms stay below 2^31 p, so the high half lies in (-p, p).
    """
    multiple = builder.mul(builder.and_(value, _LOW), splat_wide(MONTGOMERY_INVERSE))
    product = builder.mul(_sign_extend(builder, multiple), splat_wide(PRIME))
    return builder.sub(value, product)


def reduce_signed(builder: Any, x: Wide) -> Wide:
    """x / 2^32 modulo p in (-p, p), for |x| < 2^31 p."""
    return Wide(
        builder.ashr(_cancel(builder, x.even), _SHIFT),
        builder.ashr(_cancel(builder, x.odd), _SHIFT),
    )


def reduce(builder: Any, x: Wide) -> Lanes:
    """x / 2^32 modulo p in [0, p), for |x| < 2^31 p."""
    even = builder.lshr(_cancel(builder, x.even), _SHIFT)
    odd = builder.and_(_cancel(builder, x.odd), _HIGH)
    signed = builder.bitcast(builder.or_(even, odd), NARROW)
    # A negative lane is a large unsigned one, and then adding p makes it small.
    return _minimum(builder, signed, builder.add(signed, splat(PRIME)))


def multiply(builder: Any, x: Lanes, y: Lanes) -> Lanes:
    """x y / 2^32 modulo p."""
    return reduce(builder, multiply_wide(builder, split(builder, x), split(builder, y)))


def cube(builder: Any, x: Lanes) -> Lanes:
    """x^3 / 2^64 modulo p."""
    factor = split(builder, x)
    square = reduce_signed(builder, multiply_wide(builder, factor, factor))
    return reduce(builder, multiply_wide(builder, square, factor))
