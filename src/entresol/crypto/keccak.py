"""Keccak-256 as Ethereum uses it: a compiled sponge, and a plain twin that follows FIPS 202.

The permutation is written once as LLVM instructions, emitted by Python loops: it compiles in a
fraction of the time that Numba needs for the same arithmetic.
"""

# ruff: noqa: ARG001 (Numba fixes what an intrinsic's functions are passed)

import ctypes
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from entresol.crypto import native_memory
from entresol.crypto.compile_cache import INTERPRETED, native_callback, native_function

RATE: Final = 136
"""Bytes absorbed per permutation."""

ROUNDS: Final = 24
_MASK: Final = (1 << 64) - 1


def _round_constants() -> tuple[int, ...]:
    """FIPS 202, algorithm 5: bits of the LFSR x^8 + x^6 + x^5 + x^4 + 1."""
    constants, register = [], 1
    for _ in range(ROUNDS):
        constant = 0
        for power in range(7):
            constant |= (register & 1) << ((1 << power) - 1)
            register = (register << 1) ^ (0x171 if register >> 7 else 0)
        constants.append(constant)
    return tuple(constants)


def _rotations() -> tuple[int, ...]:
    """FIPS 202, algorithm 2: rotation of lane x + 5 y."""
    rotations = [0] * 25
    x, y = 1, 0
    for step in range(24):
        rotations[x + 5 * y] = (step + 1) * (step + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return tuple(rotations)


ROUND_CONSTANTS: Final = _round_constants()
ROTATIONS: Final = _rotations()


# --- the plain twin ---------------------------------------------------------------------------


def _rotate(lane: int, count: int) -> int:
    return (lane << count | lane >> (64 - count)) & _MASK


def permute_twin(lanes: list[int]) -> list[int]:
    """Keccak-f[1600] of 25 lanes (lane x + 5 y), in plain Python."""
    state = list(lanes)
    for constant in ROUND_CONSTANTS:
        parity = [
            state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20]
            for x in range(5)
        ]
        effect = [parity[(x - 1) % 5] ^ _rotate(parity[(x + 1) % 5], 1) for x in range(5)]
        moved = [0] * 25
        for x in range(5):
            for y in range(5):
                source = x + 5 * y
                moved[y + 5 * ((2 * x + 3 * y) % 5)] = _rotate(
                    state[source] ^ effect[x], ROTATIONS[source]
                )
        state = [
            moved[x + y] ^ (~moved[(x + 1) % 5 + y] & moved[(x + 2) % 5 + y] & _MASK)
            for y in range(0, 25, 5)
            for x in range(5)
        ]
        state[0] ^= constant
    return state


def keccak256_plain(data: bytes) -> bytes:
    """Keccak-256 in plain Python; about a thousand times slower than `keccak256`."""
    padded = bytearray(data) + bytes(RATE - len(data) % RATE)
    padded[len(data)] ^= 0x01
    padded[-1] ^= 0x80
    state = [0] * 25
    for start in range(0, len(padded), RATE):
        for lane in range(RATE // 8):
            at = start + 8 * lane
            state[lane] ^= int.from_bytes(padded[at : at + 8], "little")
        state = permute_twin(state)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


# --- the compiled sponge ----------------------------------------------------------------------


def emit_round(builder: Any, lanes: list[Any], constant: Any) -> list[Any]:
    """Emit one round on 25 LLVM values (i64, or vectors of i64); returns the 25 new values."""
    word = lanes[0].type

    def rotate(lane: Any, count: int) -> Any:
        if count == 0:
            return lane
        left, right = (_splat(word, n) for n in (count, 64 - count))
        return builder.or_(builder.shl(lane, left), builder.lshr(lane, right))

    def parity(x: int) -> Any:
        total = lanes[x]
        for y in range(5, 25, 5):
            total = builder.xor(total, lanes[x + y])
        return total

    parities = [parity(x) for x in range(5)]
    effects = [
        builder.xor(parities[(x - 1) % 5], rotate(parities[(x + 1) % 5], 1)) for x in range(5)
    ]
    moved: list[Any] = [None] * 25
    for x in range(5):
        for y in range(5):
            source = x + 5 * y
            moved[y + 5 * ((2 * x + 3 * y) % 5)] = rotate(
                builder.xor(lanes[source], effects[x]), ROTATIONS[source]
            )
    result = []
    for y in range(0, 25, 5):
        for x in range(5):
            others = builder.and_(builder.not_(moved[(x + 1) % 5 + y]), moved[(x + 2) % 5 + y])
            result.append(builder.xor(moved[x + y], others))
    result[0] = builder.xor(result[0], constant)
    return result


def _splat(word: Any, value: int) -> Any:
    if isinstance(word, ir.VectorType):
        return ir.Constant(word, [value] * word.count)
    return ir.Constant(word, value)


@intrinsic
def permute(typing_context: Any, address: Any) -> Any:
    """`permute(address)`: Keccak-f[1600] in place on the 200 bytes at a native address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        state = builder.inttoptr(arguments[0], word.as_pointer())
        places = [builder.gep(state, [word(lane)]) for lane in range(25)]
        lanes = [builder.load(place) for place in places]
        table = cgutils.global_constant(
            builder, "keccak_rounds", ir.Constant(ir.ArrayType(word, ROUNDS), ROUND_CONSTANTS)
        )
        entry = builder.block
        loop, done = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(word)
        phis = [builder.phi(word) for _ in lanes]
        constant = builder.load(builder.gep(table, [word(0), index]))
        following = emit_round(builder, phis, constant)
        next_index = builder.add(index, word(1))
        builder.cbranch(builder.icmp_unsigned("<", next_index, word(ROUNDS)), loop, done)
        for phi, first, later in zip(
            [index, *phis], [word(0), *lanes], [next_index, *following], strict=True
        ):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, loop)
        builder.position_at_end(done)
        for place, lane in zip(places, following, strict=True):
            builder.store(lane, place)
        return context.get_dummy_value()

    return types.void(types.int64), generate


_state_space = native_memory.stack_space(200)


@native_function
def keccak256_native(pointer: int, length: int, out: int) -> None:
    """Keccak-256 of `length` bytes at a native address, written to the 32 bytes at `out`."""
    state = _state_space()
    while length >= RATE:
        for lane in range(0, RATE, 8):
            word = native_memory.load_u64(state + lane) ^ native_memory.load_u64(pointer + lane)
            native_memory.store_u64(state + lane, word)
        permute(state)
        pointer += RATE
        length -= RATE
    for at in range(length):
        byte = native_memory.load_u8(state + at) ^ native_memory.load_u8(pointer + at)
        native_memory.store_u8(state + at, byte)
    native_memory.store_u8(state + length, native_memory.load_u8(state + length) ^ 0x01)
    native_memory.store_u8(state + RATE - 1, native_memory.load_u8(state + RATE - 1) ^ 0x80)
    permute(state)
    for at in range(0, 32, 8):
        native_memory.store_u64(out + at, native_memory.load_u64(state + at))


def _bind() -> tuple[int, Any]:
    if INTERPRETED:
        return 0, keccak256_plain

    @native_callback(types.void(types.int64, types.int64, types.int64))
    def entresol_keccak256(pointer: int, length: int, out: int) -> None:
        keccak256_native(pointer, length, out)

    # A PYFUNCTYPE call keeps the interpreter lock: dropping it costs more than most hashes.
    word = ctypes.c_char * 32
    call = ctypes.PYFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.POINTER(word))(
        entresol_keccak256.address
    )

    def keccak256(data: bytes) -> bytes:
        out = word()
        call(data, len(data), out)
        return out.raw

    return entresol_keccak256.address, keccak256


NATIVE_ADDRESS, _keccak256 = _bind()


def keccak256(data: bytes) -> bytes:
    """Keccak-256 of `data` (the original padding, as in Ethereum; not SHA3-256)."""
    return _keccak256(data if isinstance(data, bytes) else bytes(data))
