"""The handful of RV64IM instructions that the image needs beside compiled code."""

from typing import Final

ZERO: Final = 0
RA: Final = 1
SP: Final = 2
A0: Final = 10
A1: Final = 11
A2: Final = 12
A7: Final = 17

ECALL: Final = 0x73
UNIMPLEMENTED: Final = 0
"""The all-zero word: an unknown instruction on purpose."""


def upper(value: int) -> int:
    """Bits 12 and up of a 32-bit value whose low 12 bits a signed immediate will add."""
    return value + 0x800 & 0xFFFF_F000


def low(value: int) -> int:
    """The signed low 12 bits that `upper` leaves."""
    return value - (1 << 32) - upper(value) if value >> 31 else value - upper(value)


def lui(destination: int, value: int) -> int:
    """Load the upper 20 bits of `value`, a multiple of 4096."""
    return value & 0xFFFF_F000 | destination << 7 | 0x37


def auipc(destination: int, offset: int) -> int:
    """Program counter plus `offset`, a multiple of 4096."""
    return offset & 0xFFFF_F000 | destination << 7 | 0x17


def addi(destination: int, source: int, immediate: int) -> int:
    """destination = source + immediate."""
    return (immediate & 0xFFF) << 20 | source << 15 | destination << 7 | 0x13


def load_double(destination: int, offset: int, base: int) -> int:
    """ld destination, offset(base)."""
    return (offset & 0xFFF) << 20 | base << 15 | 3 << 12 | destination << 7 | 0x03


def jump_register(destination: int, base: int, offset: int = 0) -> int:
    """jalr destination, offset(base)."""
    return (offset & 0xFFF) << 20 | base << 15 | destination << 7 | 0x67


def branch_not_equal(first: int, second: int, offset: int) -> int:
    """bne first, second, pc + offset."""
    return branch_immediate(offset) | second << 20 | first << 15 | 1 << 12 | 0x63


def branch_immediate(offset: int) -> int:
    """A branch's offset in its place in the word."""
    return (
        (offset >> 12 & 1) << 31
        | (offset >> 5 & 63) << 25
        | (offset >> 1 & 15) << 8
        | (offset >> 11 & 1) << 7
    )


def jump_immediate(offset: int) -> int:
    """A `jal`'s offset in its place in the word."""
    return (
        (offset >> 20 & 1) << 31
        | (offset >> 1 & 1023) << 21
        | (offset >> 11 & 1) << 20
        | (offset >> 12 & 255) << 12
    )


def system_call_stub(number: int) -> list[int]:
    """A function that passes its arguments to system call `number` and returns."""
    return [addi(A7, ZERO, number), ECALL, jump_register(ZERO, RA)]


def to_bytes(words: list[int]) -> bytes:
    """The words as little-endian bytes."""
    return b"".join(word.to_bytes(4, "little") for word in words)
