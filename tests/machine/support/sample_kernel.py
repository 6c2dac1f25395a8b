"""A small kernel with one of everything: records, tables, loops, division, both system calls."""

import numpy as np
from numba import types
from sample_tables import weigh

from entresol.kernel import layout
from entresol.kernel.subset import (
    count_trailing_zeros,
    divide_floor,
    divide_truncate,
    ecrecover,
    entry_point,
    i64,
    keccak256,
    kernel_function,
    load_i64,
    load_u8,
    load_u16,
    multiply_high,
    multiply_high_unsigned,
    record_at,
    remainder_unsigned,
    store_i64,
    store_u16,
    unsigned_less,
)

WEIGHTS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3], dtype=np.int64)
account_at = record_at(layout.ACCOUNT)
INPUT = layout.INPUT_BASE
STATE = layout.STATE_BASE
HASH = layout.SCRATCH_HASH_BASE
JOURNAL = layout.JOURNAL_BASE


@kernel_function
def wraps(x: int, y: int) -> int:
    """Wrap-around must be kept: with overflow promises LLVM answers y > 0."""
    return 1 if x + y > x else 0


@kernel_function
def mix(digest: int, value: int) -> int:
    """Fold a value into a digest."""
    return (digest ^ value) * 1000003 + (digest >> 7)


@kernel_function
def arithmetic(x: int, y: int) -> int:
    """Every arithmetic intrinsic once."""
    digest = mix(0, wraps(x, y))
    digest = mix(digest, multiply_high(x, y))
    digest = mix(digest, multiply_high_unsigned(x, y))
    digest = mix(digest, 1 if unsigned_less(x, y) else 0)
    if y not in (0, -1):
        digest = mix(digest, divide_truncate(x, y))
        digest = mix(digest, remainder_unsigned(x, y))
    if y > 0:
        digest = mix(digest, divide_floor(x, y))
    if x != 0:
        digest = mix(digest, count_trailing_zeros(x))
    return mix(digest, WEIGHTS[x & 15] + weigh(y))


@kernel_function
def update_account(memory: int, index: int, amount: int) -> int:
    """Change a record's fields of several widths."""
    account = account_at(memory + STATE + 64 * index)
    account.cash = i64(account.cash) + amount
    account.flags = i64(account.flags) + 1
    account.owner[index % 5] = i64(account.owner[index % 5]) + amount
    return i64(account.cash) + i64(account.flags) + i64(account.owner[index % 5])


@kernel_function
def hash_input(memory: int, length: int) -> int:
    """keccak256 of the first bytes of INPUT, in the journal; its first word."""
    for index in range(length):
        store_u16(memory + HASH + 2 * index, load_u8(memory + INPUT + index))
    keccak256(memory + HASH, 2 * length, memory + JOURNAL)
    return load_i64(memory + JOURNAL)


@entry_point(types.int64(types.int64))
def run(memory: int) -> int:
    """Consume INPUT (count, then pairs of words), write STATE and JOURNAL, return a digest."""
    count = load_i64(memory + INPUT)
    if count < 0 or count > 1000:
        return 7
    digest = i64(1)
    for index in range(count):
        x = load_i64(memory + INPUT + 16 * index + 8)
        y = load_i64(memory + INPUT + 16 * index + 16)
        digest = mix(digest, arithmetic(x, y))
        digest = mix(digest, update_account(memory, x & 63, y))
    digest = mix(digest, hash_input(memory, 64))
    ecrecover(memory + INPUT, 27, memory + INPUT + 32, memory + INPUT + 64, memory + JOURNAL + 32)
    digest = mix(digest, load_u16(memory + JOURNAL + 62))
    store_i64(memory + JOURNAL + 64, digest)
    return 0
