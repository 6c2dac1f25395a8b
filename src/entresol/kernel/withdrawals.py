"""The append-only keccak tree of withdrawals, whose root L1 pays out against.

Leaf = keccak256(domain || index || token || recipient || amount), five 32-byte words.  Nodes are
keccak256(left || right), absent leaves are zero.  The header keeps the frontier: at level l the
last complete subtree of 2^l leaves that waits for its right sibling.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.layout import DURABLE_BASE, WITHDRAWAL_DEPTH
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, keccak256, kernel_function, shift_right
from entresol.kernel.views import DOMAIN_ADDRESS, durable_at, field_address
from entresol.kernel.words import (
    OPERAND,
    RESULT,
    clear_words,
    copy_words,
    store_address_word,
    store_integer_word,
)

MAX_WITHDRAWALS: Final = (1 << WITHDRAWAL_DEPTH) - 1
"""One leaf short of the full tree, so that an append always finds a level to rest at."""

_TOKEN: Final = field_address(DURABLE_BASE, layout.HEADER, "token")
_ROOT: Final = field_address(DURABLE_BASE, layout.HEADER, "withdrawal_root")
_FRONTIER: Final = field_address(DURABLE_BASE, layout.HEADER, "withdrawal_frontier")
_APPLIED: Final = int(Rejection.APPLIED)


@kernel_function
def withdrawals_full(memory: int) -> bool:
    """True when no further leaf fits; 2^32 - 1 were appended."""
    return i64(durable_at(memory + DURABLE_BASE).header.withdrawal_count) >= MAX_WITHDRAWALS


@kernel_function
def _hash_leaf(memory: int, index: int, recipient: int, amount: int, out: int) -> None:
    operand = memory + OPERAND
    copy_words(operand, memory + DOMAIN_ADDRESS, 4)
    store_integer_word(operand + 32, index)
    store_address_word(operand + 64, memory + _TOKEN)
    store_address_word(operand + 96, recipient)
    store_integer_word(operand + 128, amount)
    keccak256(operand, 160, out)


@kernel_function
def append_withdrawal(memory: int, account: int, recipient: int, amount: int) -> None:
    """Append a leaf; the caller has moved the money and checked `withdrawals_full`.

    `recipient` is the native address of 20 raw bytes, `amount` an unsigned 64-bit value;
    `account` is the one debited, for the event.  The root is left to `update_withdrawal_root`.
    """
    header = durable_at(memory + DURABLE_BASE).header
    index = i64(header.withdrawal_count)
    header.withdrawal_count = index + 1
    node = memory + RESULT
    operand = memory + OPERAND
    _hash_leaf(memory, index, recipient, amount, node)
    level = i64(0)
    while (index >> level) & 1 == 1 and level < WITHDRAWAL_DEPTH - 1:
        copy_words(operand, memory + _FRONTIER + 32 * level, 4)
        copy_words(operand + 32, node, 4)
        keccak256(operand, 64, node)
        level += 1
    copy_words(memory + _FRONTIER + 32 * level, node, 4)
    high = shift_right(amount, 32)
    low = amount & 0xFFFF_FFFF
    emit(memory, layout.EVENT_WITHDRAWAL, 0, 0, _APPLIED, account, 0, high, low, index)


@kernel_function
def update_withdrawal_root(memory: int) -> None:
    """Write the root over all leaves so far into the header; 64 hashes."""
    count = i64(durable_at(memory + DURABLE_BASE).header.withdrawal_count)
    node = memory + RESULT
    empty = node + 32
    operand = memory + OPERAND
    clear_words(node, 8)
    for level in range(WITHDRAWAL_DEPTH):
        if (count >> level) & 1 == 1:
            copy_words(operand, memory + _FRONTIER + 32 * level, 4)
            copy_words(operand + 32, node, 4)
        else:
            copy_words(operand, node, 4)
            copy_words(operand + 32, empty, 4)
        keccak256(operand, 64, node)
        copy_words(operand, empty, 4)
        copy_words(operand + 32, empty, 4)
        keccak256(operand, 64, empty)
    copy_words(memory + _ROOT, node, 4)
