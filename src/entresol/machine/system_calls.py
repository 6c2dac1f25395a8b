"""Access rules and system calls, shared by both engines so that neither can differ.

Each system call has an L1 twin, which is where its limits come from: `keccak256` reads within one
2-KiB block, so that its operand is one opening; `ecrecover` takes what the precompile takes.
"""

from typing import Any, Final

import numba
from numba import types

from entresol.kernel import layout
from entresol.kernel.rejections import Fault
from entresol.kernel.subset import (
    CACHED,
    ecrecover,
    keccak256,
    kernel_function,
    load_i64,
    shift_right,
    store_i64,
    store_u8,
    unsigned_less,
)
from entresol.machine.context import (
    A0,
    A1,
    A2,
    A3,
    A4,
    A7,
    ECRECOVER_CALLS,
    HALTED,
    KECCAK_CALLS,
    MEMORY,
    READ,
    RESULT,
    RUNNING,
    WRITTEN,
)
from entresol.machine.leaf_map import LEAF_SHIFT

KECCAK_MAXIMUM_BYTES: Final = 1087
"""Eight sponge blocks less the padding byte."""
KECCAK_BLOCK_BYTES: Final = 2048

_SPAN: Final = 1 << layout.ADDRESS_BITS
_HALT: Final = layout.SYSTEM_CALLS["halt"]
_KECCAK256: Final = layout.SYSTEM_CALLS["keccak256"]
_ECRECOVER: Final = layout.SYSTEM_CALLS["ecrecover"]
_BAD_SYSTEM_CALL: Final = int(Fault.BAD_SYSTEM_CALL)


@kernel_function
def is_writable(address: int) -> bool:
    """Whether the aligned access at `address` lies in STATE, SCRATCH or JOURNAL."""
    return (
        unsigned_less(address - layout.STATE_BASE, layout.STATE_BYTES)
        or unsigned_less(address - layout.SCRATCH_BASE, layout.SCRATCH_BYTES)
        or unsigned_less(address - layout.JOURNAL_BASE, layout.JOURNAL_BYTES)
    )


@kernel_function
def is_readable(address: int) -> bool:
    """Whether the aligned access at `address` lies in any region."""
    return (
        is_writable(address)
        or unsigned_less(address - layout.CODE_BASE, layout.CODE_BYTES)
        or unsigned_less(address - layout.INPUT_BASE, layout.INPUT_BYTES)
        or unsigned_less(address - layout.PARAMS_BASE, layout.PARAMS_BYTES)
    )


@kernel_function
def _is_readable_word(address: int) -> bool:
    return address & 7 == 0 and is_readable(address) and is_readable(address + 31)


@kernel_function
def _is_writable_word(address: int) -> bool:
    return address & 7 == 0 and is_writable(address) and is_writable(address + 31)


@kernel_function
def _mark_read(context: int, address: int, length: int) -> None:
    marks = load_i64(context + 8 * READ)
    if marks != 0 and length > 0:
        first = shift_right(address, LEAF_SHIFT)
        last = shift_right(address + length - 1, LEAF_SHIFT)
        for leaf in range(first, last + 1):
            store_u8(marks + leaf, 1)


@kernel_function
def _deliver(context: int, address: int) -> None:
    """Copy the result word to machine memory and mark its leaves written."""
    memory = load_i64(context + 8 * MEMORY)
    marks = load_i64(context + 8 * WRITTEN)
    for index in range(4):
        store_i64(memory + address + 8 * index, load_i64(context + 8 * (RESULT + index)))
    store_u8(marks + shift_right(address, LEAF_SHIFT), 1)
    store_u8(marks + shift_right(address + 31, LEAF_SHIFT), 1)


@kernel_function
def _count(context: int, slot: int) -> None:
    store_i64(context + 8 * slot, load_i64(context + 8 * slot) + 1)


@kernel_function
def _hash(context: int) -> int:
    pointer = load_i64(context + 8 * A0)
    length = load_i64(context + 8 * A1)
    out = load_i64(context + 8 * A2)
    if pointer & 7 != 0 or not is_readable(pointer):
        return _BAD_SYSTEM_CALL
    if length < 0 or length > KECCAK_MAXIMUM_BYTES:
        return _BAD_SYSTEM_CALL
    if (pointer & (KECCAK_BLOCK_BYTES - 1)) + length > KECCAK_BLOCK_BYTES:
        return _BAD_SYSTEM_CALL
    if not _is_writable_word(out):
        return _BAD_SYSTEM_CALL
    _mark_read(context, pointer, length)
    keccak256(load_i64(context + 8 * MEMORY) + pointer, length, context + 8 * RESULT)
    _deliver(context, out)
    _count(context, KECCAK_CALLS)
    return RUNNING


@kernel_function
def _recover(context: int) -> int:
    digest = load_i64(context + 8 * A0)
    v = load_i64(context + 8 * A1)
    r = load_i64(context + 8 * A2)
    s = load_i64(context + 8 * A3)
    out = load_i64(context + 8 * A4)
    if not (_is_readable_word(digest) and _is_readable_word(r) and _is_readable_word(s)):
        return _BAD_SYSTEM_CALL
    if not _is_writable_word(out):
        return _BAD_SYSTEM_CALL
    _mark_read(context, digest, 32)
    _mark_read(context, r, 32)
    _mark_read(context, s, 32)
    memory = load_i64(context + 8 * MEMORY)
    ecrecover(memory + digest, v, memory + r, memory + s, context + 8 * RESULT)
    _deliver(context, out)
    _count(context, ECRECOVER_CALLS)
    return RUNNING


@kernel_function
def system_call(context: int) -> int:
    """Carry out the `ecall` that registers a7, a0... ask for; returns the run's status.

    Registers do not change.  Operands are read before the result is written.
    """
    number = load_i64(context + 8 * A7)
    if number == _KECCAK256:
        return _hash(context)
    if number == _ECRECOVER:
        return _recover(context)
    if number == _HALT:
        return HALTED
    return _BAD_SYSTEM_CALL


def _system_call(context: int) -> int:
    return system_call(context)


system_call_native: Any = numba.cfunc(types.int64(types.int64), cache=CACHED)(_system_call)
"""`system_call` as a C function, for translated code."""
