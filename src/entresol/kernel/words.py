"""Operands of keccak256 in kernel memory: raw copies and the EVM's big-endian 32-byte words.

Operands are laid out in OPERAND, results go to RESULT; both are one aligned 2-KiB buffer in
SCRATCH, so a hash is one opening in a dispute.  A function that hashes owns both buffers until
it returns.  Every address here is native.
"""

from typing import Final

from entresol.kernel.layout import SCRATCH_HASH_BASE, SCRATCH_HASH_BYTES
from entresol.kernel.subset import (
    i64,
    kernel_function,
    load_i64,
    load_u32,
    shift_right,
    store_i64,
    store_u32,
)

OPERAND: Final = SCRATCH_HASH_BASE
RESULT: Final = SCRATCH_HASH_BASE + SCRATCH_HASH_BYTES // 2


@kernel_function
def copy_words(out: int, source: int, count: int) -> None:
    """Copy `count` 8-byte words; both addresses are 8-aligned."""
    for index in range(count):
        store_i64(out + 8 * index, load_i64(source + 8 * index))


@kernel_function
def copy_records(out: int, source: int, length: int) -> None:
    """Copy `length` bytes, a multiple of 32; both addresses are 8-aligned."""
    end = source + length
    while source < end:
        store_i64(out, load_i64(source))
        store_i64(out + 8, load_i64(source + 8))
        store_i64(out + 16, load_i64(source + 16))
        store_i64(out + 24, load_i64(source + 24))
        source += 32
        out += 32


@kernel_function
def clear_words(out: int, count: int) -> None:
    """Set `count` 8-byte words to zero; the address is 8-aligned."""
    for index in range(count):
        store_i64(out + 8 * index, 0)


@kernel_function
def swap_bytes(value: int) -> int:
    """The eight bytes of `value` in reverse order."""
    x = i64(value)
    x = (x << 32) | shift_right(x, 32)
    x = ((x & 0x0000_FFFF_0000_FFFF) << 16) | (shift_right(x, 16) & 0x0000_FFFF_0000_FFFF)
    return ((x & 0x00FF_00FF_00FF_00FF) << 8) | (shift_right(x, 8) & 0x00FF_00FF_00FF_00FF)


@kernel_function
def store_integer_word(out: int, value: int) -> None:
    """The unsigned 64-bit `value` as a big-endian 32-byte word; `out` is 8-aligned."""
    clear_words(out, 3)
    store_i64(out + 24, swap_bytes(value))


@kernel_function
def store_address_word(out: int, source: int) -> None:
    """The 20 raw bytes at `source` (4-aligned) as a 32-byte word; `out` is 8-aligned."""
    store_i64(out, 0)
    store_u32(out + 8, 0)
    for limb in range(5):
        store_u32(out + 12 + 4 * limb, load_u32(source + 4 * limb))


@kernel_function
def copy_address(out: int, source: int) -> None:
    """Copy the 20 raw bytes of an L1 address; both addresses are 4-aligned."""
    for limb in range(5):
        store_u32(out + 4 * limb, load_u32(source + 4 * limb))


@kernel_function
def addresses_equal(first: int, second: int) -> bool:
    """True when the 20 raw bytes at both native addresses (4-aligned) are the same."""
    difference = i64(0)
    for limb in range(5):
        difference |= load_u32(first + 4 * limb) ^ load_u32(second + 4 * limb)
    return difference == 0


@kernel_function
def address_is_zero(source: int) -> bool:
    """True when the L1 address at `source` (4-aligned) is zero; it never authenticates."""
    seen = i64(0)
    for limb in range(5):
        seen |= load_u32(source + 4 * limb)
    return seen == 0


@kernel_function
def words_equal(first: int, second: int) -> bool:
    """True when the 32 bytes at both native addresses (8-aligned) are the same."""
    difference = i64(0)
    for index in range(4):
        difference |= load_i64(first + 8 * index) ^ load_i64(second + 8 * index)
    return difference == 0
