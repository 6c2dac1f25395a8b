"""The Numba subset that kernel code is written in: one decorator and the intrinsics it may use.

A kernel function is plain Python over integers and fixed records.  Natively it compiles for the
host; the image build (machine/build.py) compiles the same functions for RV64IM.  With
NUMBA_DISABLE_JIT=1 every function, intrinsics included, runs as ordinary Python, so a debugger
can step through it.

Rules the decorator cannot check, and machine/lint.py does: no floats, no allocation, no
exceptions, no recursion; every field load is wrapped in `i64(...)`, because Numba turns a mix of
uint64 and int64 into a float; shifts stay below 64; division only through `divide_floor` and
friends, after the zero was excluded; every index derived from input is range-checked or masked.
"""

# ruff: noqa: ARG001 (Numba fixes what an intrinsic's functions are passed)

import ctypes
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.cpython import numbers as cpython_numbers
from numba.extending import intrinsic
from numba.np.math import numbers as numpy_numbers

from entresol.crypto import compile_cache, native_symbols

i64: Any = np.int64
u64: Any = np.uint64

INTERPRETED = compile_cache.INTERPRETED
"""True when kernel code runs as ordinary Python (NUMBA_DISABLE_JIT=1)."""


def _wrap_without_flags(*_: object) -> list[str]:
    return []


# Integer overflow wraps, as it does on RISC-V.  Numba marks additions "no signed wrap", which
# lets LLVM fold `x + y > x` to `y > 0`: native and image would differ.
cpython_numbers._int_arith_flags = _wrap_without_flags
numpy_numbers._int_arith_flags = _wrap_without_flags


# Plain `cache=True` from here on: crypto's own functions have a folder of their own.
CACHED = compile_cache.CACHED
if CACHED:
    config.CACHE_DIR = compile_cache.directory("crypto", "kernel", "machine")
native_symbols.install()

FLAGS: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "cache": CACHED}


def kernel_function(function: Callable[..., Any]) -> Any:
    """Compile `function` with the kernel's fixed flags; `.py_func` is the plain Python."""
    return numba.njit(**FLAGS)(function)


def entry_point(signature: object) -> Callable[[Callable[..., Any]], Any]:
    """Like kernel_function, compiled at once for `signature`: a root of the image build."""

    def decorate(function: Callable[..., Any]) -> Any:
        return numba.njit(signature, **FLAGS)(function)

    return decorate


# --- memory ----------------------------------------------------------------------------------


class _Record:
    """A record by reference in plain Python: attributes are its fields and nothing else.

    NumPy's own recarray would answer `record.flags` with the array's flags.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Any) -> None:
        object.__setattr__(self, "_fields", fields)

    def __getattr__(self, name: str) -> Any:
        return _by_reference(self._fields[name])

    def __setattr__(self, name: str, value: Any) -> None:
        field = self._fields.dtype.fields[name][0]
        raw = int(value) & ((1 << 8 * field.itemsize) - 1)  # a store keeps the low bits
        self._fields[name] = np.frombuffer(raw.to_bytes(field.itemsize, "little"), field)[0]


class _Records:
    """An array of records in plain Python, indexed by one number per dimension."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, index: Any) -> Any:
        return _by_reference(self._array[index])


def _by_reference(value: Any) -> Any:
    if value.dtype.names is None:
        return value
    return _Records(value) if isinstance(value, np.ndarray) else _Record(value)


def record_at(dtype: np.dtype) -> Any:
    """`f(address)` -> the record at that native address, by reference."""
    if INTERPRETED:

        def view(address: int) -> Any:
            buffer: Any = (ctypes.c_char * dtype.itemsize).from_address(int(address))
            return _Record(np.frombuffer(buffer, dtype)[0])

        return view
    record = numba.from_dtype(dtype)

    @intrinsic
    def at(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(record))

        return record(types.int64), generate

    return at


def _load(bits: int, result: Any, dtype: Any) -> Any:
    if INTERPRETED:

        def read(address: int) -> Any:
            buffer: Any = (ctypes.c_char * (bits // 8)).from_address(int(address))
            return result(np.frombuffer(buffer, dtype)[0])

        return read
    signed = np.issubdtype(dtype, np.signedinteger)
    numba_result = types.int64 if result is i64 else types.uint64

    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer)
            if bits == 64:
                return value
            return (builder.sext if signed else builder.zext)(value, ir.IntType(64))

        return numba_result(types.int64), generate

    return load


def _store(bits: int, dtype: Any) -> Any:
    if INTERPRETED:

        def write(address: int, value: int) -> None:
            raw = (int(value) & ((1 << bits) - 1)).to_bytes(bits // 8, "little")
            ctypes.memmove(int(address), raw, bits // 8)

        return write

    @intrinsic
    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            word = arguments[1]
            if bits < 64:
                word = builder.trunc(word, ir.IntType(bits))
            builder.store(word, pointer)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return store


load_i64 = _load(64, i64, np.int64)
load_u32 = _load(32, i64, np.uint32)
load_i32 = _load(32, i64, np.int32)
load_u16 = _load(16, i64, np.uint16)
load_u8 = _load(8, i64, np.uint8)
"""`load_*(address)` -> int64 from an aligned native address."""

store_i64 = _store(64, np.int64)
store_u32 = _store(32, np.uint32)
store_u16 = _store(16, np.uint16)
store_u8 = _store(8, np.uint8)
"""`store_*(address, value: int64)`: the low bits of value at an aligned native address."""


# --- arithmetic ------------------------------------------------------------------------------


def _binary(instruction: str, twin: Callable[[int, int], int]) -> Any:
    """int64 x int64 -> int64 by one LLVM instruction; operands are raw 64-bit patterns."""
    if INTERPRETED:

        def compute(x: int, y: int) -> Any:
            value = twin(int(x), int(y)) & ((1 << 64) - 1)
            return i64(value - (1 << 64) if value >> 63 else value)

        return compute

    @intrinsic
    def operate(typing_context: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(arguments[0], arguments[1])

        return types.int64(types.int64, types.int64), generate

    return operate


_MASK = (1 << 64) - 1

divide_truncate = _binary("sdiv", lambda x, y: abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1))
"""x / y rounded toward zero; the caller excludes y = 0 and the pair (-2^63, -1)."""

remainder_truncate = _binary("srem", lambda x, y: abs(x) % abs(y) * (-1 if x < 0 else 1))
"""Remainder of divide_truncate, with the sign of x; same exclusions."""

divide_unsigned = _binary("udiv", lambda x, y: (x & _MASK) // (y & _MASK))
"""x / y of unsigned 64-bit patterns; the caller excludes y = 0."""

remainder_unsigned = _binary("urem", lambda x, y: (x & _MASK) % (y & _MASK))
multiply_wrapping = _binary("mul", lambda x, y: x * y)
"""Low 64 bits of the product, for digests; plain Python would warn of the overflow."""

shift_right = _binary("lshr", lambda x, y: (x & _MASK) >> y)
"""Logical shift; the caller keeps y below 64."""


def _unsigned_less() -> Any:
    if INTERPRETED:
        return lambda x, y: (int(x) & _MASK) < (int(y) & _MASK)

    @intrinsic
    def less(typing_context: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.icmp_unsigned("<", arguments[0], arguments[1])

        return types.boolean(types.int64, types.int64), generate

    return less


unsigned_less = _unsigned_less()
"""x < y of unsigned 64-bit patterns."""


def _multiply_high(signed: bool) -> Any:
    if INTERPRETED:

        def compute(x: int, y: int) -> Any:
            a, b = int(x), int(y)
            value = (a * b if signed else (a & _MASK) * (b & _MASK)) >> 64 & _MASK
            return i64(value - (1 << 64) if value >> 63 else value)

        return compute

    @intrinsic
    def high(typing_context: Any, x: Any, y: Any) -> Any:
        wide = ir.IntType(128)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            extend = builder.sext if signed else builder.zext
            product = builder.mul(extend(arguments[0], wide), extend(arguments[1], wide))
            return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

        return types.int64(types.int64, types.int64), generate

    return high


multiply_high = _multiply_high(True)
multiply_high_unsigned = _multiply_high(False)
"""Upper 64 bits of the 128-bit product (one mulh / mulhu on RISC-V)."""


def _count_trailing_zeros() -> Any:
    if INTERPRETED:
        return lambda x: i64(((int(x) & _MASK) & -(int(x) & _MASK)).bit_length() - 1)

    @intrinsic
    def count(typing_context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), generate

    return count


count_trailing_zeros = _count_trailing_zeros()
"""Index of the lowest set bit; the caller excludes zero."""


@kernel_function
def divide_floor(x: int, y: int) -> int:
    """x / y rounded down; the caller guarantees y > 0."""
    quotient = divide_truncate(x, y)
    if remainder_truncate(x, y) < 0:
        quotient -= 1
    return quotient


@kernel_function
def divide_ceiling(x: int, y: int) -> int:
    """x / y rounded up; the caller guarantees y > 0."""
    quotient = divide_truncate(x, y)
    if remainder_truncate(x, y) > 0:
        quotient += 1
    return quotient


# --- the two external symbols ----------------------------------------------------------------

if INTERPRETED:
    keccak256 = native_symbols.keccak256_twin
    ecrecover = native_symbols.ecrecover_twin
else:
    keccak256 = types.ExternalFunction(
        "entresol_keccak256", types.void(types.int64, types.int64, types.int64)
    )
    """keccak256(pointer, length, out): native addresses; length <= 1,087, operand within one
    aligned 2-KiB block, pointer and out 8-aligned."""

    ecrecover = types.ExternalFunction(
        "entresol_ecrecover",
        types.void(types.int64, types.int64, types.int64, types.int64, types.int64),
    )
    """ecrecover(digest, v, r, s, out): as the EVM precompile; out is 32 bytes, the address in
    the last 20, all zero when the signature is not valid (v 27/28, low s only)."""
