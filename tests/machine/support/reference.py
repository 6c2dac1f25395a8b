"""RV64IM arithmetic in plain Python integers, from the specification's words."""

from collections.abc import Callable

MASK = (1 << 64) - 1


def signed(value: int, bits: int = 64) -> int:
    """The two's complement meaning of the low bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _quotient(x: int, y: int) -> int:
    if y == 0:
        return -1
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def _remainder(x: int, y: int) -> int:
    return x if y == 0 else x - y * _quotient(x, y)


def _low(x: int) -> int:
    return signed(x, 32)


def _unsigned_low(x: int) -> int:
    return x & 0xFFFF_FFFF


REGISTER: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "sll": lambda x, y: x << (y & 63),
    "slt": lambda x, y: int(x < y),
    "sltu": lambda x, y: int(x & MASK < y & MASK),
    "xor": lambda x, y: x ^ y,
    "srl": lambda x, y: (x & MASK) >> (y & 63),
    "sra": lambda x, y: x >> (y & 63),
    "or": lambda x, y: x | y,
    "and": lambda x, y: x & y,
    "mul": lambda x, y: x * y,
    "mulh": lambda x, y: x * y >> 64,
    "mulhsu": lambda x, y: x * (y & MASK) >> 64,
    "mulhu": lambda x, y: (x & MASK) * (y & MASK) >> 64,
    "div": _quotient,
    "divu": lambda x, y: _quotient(x & MASK, y & MASK) if y else -1,
    "rem": _remainder,
    "remu": lambda x, y: _remainder(x & MASK, y & MASK),
    "addw": lambda x, y: _low(x + y),
    "subw": lambda x, y: _low(x - y),
    "sllw": lambda x, y: _low(x << (y & 31)),
    "srlw": lambda x, y: _low(_unsigned_low(x) >> (y & 31)),
    "sraw": lambda x, y: _low(x) >> (y & 31),
    "mulw": lambda x, y: _low(x * y),
    "divw": lambda x, y: _low(_quotient(_low(x), _low(y))),
    "divuw": lambda x, y: _low(_quotient(_unsigned_low(x), _unsigned_low(y))),
    "remw": lambda x, y: _low(_remainder(_low(x), _low(y))),
    "remuw": lambda x, y: _low(_remainder(_unsigned_low(x), _unsigned_low(y))),
}
"""Results of register instructions; operands are signed, results any integer modulo 2^64."""

IMMEDIATE = {
    "addi": "add", "slti": "slt", "sltiu": "sltu", "xori": "xor", "ori": "or", "andi": "and",
    "addiw": "addw", "slli": "sll", "srli": "srl", "srai": "sra", "slliw": "sllw",
    "srliw": "srlw", "sraiw": "sraw",
}  # fmt: skip
"""Register form of each immediate instruction."""

BRANCH: dict[str, Callable[[int, int], bool]] = {
    "beq": lambda x, y: x == y,
    "bne": lambda x, y: x != y,
    "blt": lambda x, y: x < y,
    "bge": lambda x, y: x >= y,
    "bltu": lambda x, y: x & MASK < y & MASK,
    "bgeu": lambda x, y: x & MASK >= y & MASK,
}

VALUES = [
    0, 1, -1, 2, -2, 3, 7, -7, 31, 32, 63, 64, 255, -128, 32767, 2**31 - 1, -(2**31), 2**31,
    2**32 - 1, 2**32, -(2**32), 2**63 - 1, -(2**63), 0x123456789ABCDEF0 - 2**63, 10**12, -(10**12),
]  # fmt: skip
"""Operands at which arithmetic goes wrong."""
