"""Loads, stores and stack space on native addresses, for this package's compiled functions.

Addresses are int64.  Nothing is checked: callers own the ranges they pass.
"""

# ruff: noqa: ARG001 (Numba fixes what an intrinsic's functions are passed)

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def _load(bits: int) -> Any:
    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(_pointer(builder, arguments[0], bits), align=1)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.uint64(types.int64), generate

    return load


def _store(bits: int) -> Any:
    @intrinsic
    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = arguments[1]
            if bits < 64:
                word = builder.trunc(word, ir.IntType(bits))
            builder.store(word, _pointer(builder, arguments[0], bits), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.uint64), generate

    return store


load_u8, load_u64 = _load(8), _load(64)
"""`load_*(address)` -> uint64, little-endian, at any alignment."""

store_u8, store_u64 = _store(8), _store(64)
"""`store_*(address, value: uint64)`: the low bits of value, at any alignment."""


@intrinsic
def xor_row(typing_context: Any, source: Any, mask: Any, destination: Any) -> Any:
    """`xor_row(source, mask, destination)`: 64 bytes of source XOR 64 of mask, at any alignment."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = ir.VectorType(ir.IntType(32), 16)
        places = [builder.inttoptr(argument, row.as_pointer()) for argument in arguments]
        value = builder.xor(builder.load(places[0], align=1), builder.load(places[1], align=1))
        builder.store(value, places[2], align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def widen_row(typing_context: Any, source: Any, destination: Any) -> Any:
    """`widen_row(source, destination)`: sixteen 16-bit words become sixteen 32-bit words."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = ir.VectorType(ir.IntType(16), 16)
        wide = ir.VectorType(ir.IntType(32), 16)
        value = builder.load(builder.inttoptr(arguments[0], narrow.as_pointer()), align=1)
        place = builder.inttoptr(arguments[1], wide.as_pointer())
        builder.store(builder.zext(value, wide), place, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def stack_space(count: int) -> Any:
    """`f()` -> address of `count` zeroed bytes, 64-aligned, that live until the caller returns."""

    @intrinsic
    def reserve(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = ir.ArrayType(ir.IntType(8), count)
            space = cgutils.alloca_once(builder, array)
            space.align = 64
            cgutils.memset(builder, space, ir.Constant(ir.IntType(64), count), 0)
            return builder.ptrtoint(space, ir.IntType(64))

        return types.int64(), generate

    return reserve


def symbol_address(name: str) -> Any:
    """`f()` -> the address bound to `name`, resolved when the code is loaded (not when cached)."""

    @intrinsic
    def resolve(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            variable = builder.module.globals.get(name)
            if variable is None:
                variable = ir.GlobalVariable(builder.module, ir.IntType(8), name)
            return builder.ptrtoint(variable, ir.IntType(64))

        return types.int64(), generate

    return resolve
