"""Poseidon on sixteen states at once: the permutation of `poseidon` as LLVM instructions.

A block of sixteen states is a 16 x 16 array of 32-bit words.  *Rows* hold one state each;
*columns* hold one lane of every state each, which is what the arithmetic wants.

Every reduction divides by 2^32, and the matrix product comes out sixteen times too large.  These
factors are not undone step by step: a state is kept as `scale * state` with a scale that is known
for each round, and the constants (`_Schedule`) are scaled to match.  The scale of a full round
cubes; in a partial round, where one lane is cubed and fifteen are not, that lane is multiplied by
a constant that gives it the scale of the others.
"""

# ruff: noqa: ARG001 (Numba fixes what an intrinsic's functions are passed)

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from entresol.crypto import field_vectors as vectors
from entresol.crypto.field import DIGEST_ELEMENTS, MONTGOMERY_RADIX, PRIME, inverse
from entresol.crypto.field_vectors import LANES, NARROW, Lanes, Wide
from entresol.crypto.poseidon import (
    HALF_FULL_ROUNDS,
    MATRIX_COLUMN,
    PARTIAL_ROUNDS,
    ROUND_CONSTANTS,
    ROUNDS,
    WIDTH,
    multiply_matrix,
)

_WORD: Final = ir.IntType(32)
_INDEX: Final = ir.IntType(64)


# --- the matrix -------------------------------------------------------------------------------


def _negacyclic(builder: Any, values: list[Wide], kernel: list[int]) -> list[Wide]:
    """kernel * values modulo X^n + 1."""
    size, result = len(kernel), []
    for place in range(size):
        factors = [
            kernel[place - index] if index <= place else -kernel[place - index + size]
            for index in range(size)
        ]
        terms = [vectors.scale_wide(builder, v, f) for v, f in zip(values, factors, strict=True)]
        result.append(functools.reduce(functools.partial(vectors.add_wide, builder), terms))
    return result


def _cyclic(builder: Any, values: list[Lanes], kernel: list[int]) -> list[Wide]:
    """n (kernel * values) modulo X^n - 1, up to multiples of p.

    X^n - 1 = (X^h - 1)(X^h + 1) with h = n / 2: the two remainders recombine by a sum and a
    difference, which leaves the factor two of each level in place.
    """
    size = len(kernel)
    if size == 1:
        return [vectors.scale_wide(builder, vectors.split(builder, values[0]), kernel[0])]
    half = size // 2
    sums = [vectors.add(builder, values[i], values[i + half]) for i in range(half)]
    differences = [
        vectors.split(builder, vectors.subtract_signed(builder, values[i], values[i + half]))
        for i in range(half)
    ]
    plus = _cyclic(builder, sums, [kernel[i] + kernel[i + half] for i in range(half)])
    minus = _negacyclic(
        builder, differences, [half * (kernel[i] - kernel[i + half]) for i in range(half)]
    )
    pairs = list(zip(plus, minus, strict=True))
    return [vectors.add_wide(builder, x, y) for x, y in pairs] + [
        vectors.subtract_wide(builder, x, y) for x, y in pairs
    ]


def _matrix(builder: Any, state: list[Lanes]) -> list[Lanes]:
    """_MATRIX_SCALE times the MDS matrix times the state."""
    # |product| <= 16 * 326 * p: far below the 2^31 p that a reduction takes.
    products = _cyclic(builder, state, list(MATRIX_COLUMN))
    return [vectors.reduce(builder, product) for product in products]


# --- scales and constants ---------------------------------------------------------------------

_RADIX_INVERSE: Final = inverse(MONTGOMERY_RADIX)
_MATRIX_SCALE: Final = WIDTH * _RADIX_INVERSE % PRIME
_CUBE_SCALE: Final = _RADIX_INVERSE * _RADIX_INVERSE % PRIME


class _Schedule:
    """The constants of every round for a scaled state, in the order in which they are used.

    A partial round adds to lane 0 only: what the paper adds to the other lanes is carried through
    the linear layers to the first full round that follows.
    """

    def __init__(self) -> None:
        self.table: list[int] = []
        self._scale = 1
        constants = [list(row) for row in ROUND_CONSTANTS]
        first_partial, last_partial = HALF_FULL_ROUNDS, HALF_FULL_ROUNDS + PARTIAL_ROUNDS
        for row in constants[:first_partial]:
            self._full(row)
        self.partial_start = len(self.table)
        carried = [0] * WIDTH
        for row in constants[first_partial:last_partial]:
            total = [x + y for x, y in zip(row, carried, strict=True)]
            self._partial(total[0])
            carried = multiply_matrix([0, *total[1:]])
        self.final_start = len(self.table)
        for row in constants[last_partial:ROUNDS]:
            self._full([x + y for x, y in zip(row, carried, strict=True)])
            carried = [0] * WIDTH
        # Montgomery multiplication by this makes the scale 1.
        self.unscale = MONTGOMERY_RADIX * inverse(self._scale) % PRIME

    def _full(self, row: list[int]) -> None:
        self.table += [self._scale * constant % PRIME for constant in row]
        self._scale = pow(self._scale, 3, PRIME) * _CUBE_SCALE * _MATRIX_SCALE % PRIME

    def _partial(self, constant: int) -> None:
        cubed = pow(self._scale, 3, PRIME) * _CUBE_SCALE % PRIME
        level = MONTGOMERY_RADIX * self._scale * inverse(cubed) % PRIME
        self.table += [self._scale * constant % PRIME, level]
        self._scale = self._scale * _MATRIX_SCALE % PRIME


_SCHEDULE: Final = _Schedule()


# --- emission ---------------------------------------------------------------------------------


def _broadcast(builder: Any, pointer: Any) -> Lanes:
    """The 32-bit word at `pointer` in every lane."""
    undefined = ir.Constant(NARROW, ir.Undefined)
    first = builder.insert_element(undefined, builder.load(pointer), _WORD(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(NARROW, [0] * LANES))


def _constant(builder: Any, table: Any, index: Any) -> Lanes:
    return _broadcast(builder, builder.gep(table, [_INDEX(0), index]))


def _loop(
    builder: Any, count: int, state: list[Lanes], body: Callable[[Any, list[Lanes]], list[Lanes]]
) -> list[Lanes]:
    """`count` times state = body(index, state)."""
    entry = builder.block
    loop, done = builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(_INDEX)
    phis = [builder.phi(NARROW) for _ in state]
    following = body(index, phis)
    index_after = builder.add(index, _INDEX(1))
    builder.cbranch(builder.icmp_unsigned("<", index_after, _INDEX(count)), loop, done)
    index.add_incoming(_INDEX(0), entry)
    index.add_incoming(index_after, loop)
    for phi, first, later in zip(phis, state, following, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(later, loop)
    builder.position_at_end(done)
    return following


def _permute(builder: Any, state: list[Lanes]) -> list[Lanes]:
    """The permutation; the result carries the schedule's last scale."""
    table_type = ir.ArrayType(_WORD, len(_SCHEDULE.table))
    table = cgutils.global_constant(
        builder, "poseidon_schedule", ir.Constant(table_type, _SCHEDULE.table)
    )

    def full(start: int) -> Callable[[Any, list[Lanes]], list[Lanes]]:
        def body(index: Any, current: list[Lanes]) -> list[Lanes]:
            row = builder.add(builder.mul(index, _INDEX(WIDTH)), _INDEX(start))
            cubes = []
            for lane, element in enumerate(current):
                constant = _constant(builder, table, builder.add(row, _INDEX(lane)))
                cubes.append(vectors.cube(builder, vectors.add(builder, element, constant)))
            return _matrix(builder, cubes)

        return body

    def partial(index: Any, current: list[Lanes]) -> list[Lanes]:
        pair = builder.add(builder.mul(index, _INDEX(2)), _INDEX(_SCHEDULE.partial_start))
        first = vectors.add(builder, current[0], _constant(builder, table, pair))
        level = _constant(builder, table, builder.add(pair, _INDEX(1)))
        first = vectors.multiply(builder, vectors.cube(builder, first), level)
        return _matrix(builder, [first, *current[1:]])

    state = _loop(builder, HALF_FULL_ROUNDS, state, full(0))
    state = _loop(builder, PARTIAL_ROUNDS, state, partial)
    return _loop(builder, HALF_FULL_ROUNDS, state, full(_SCHEDULE.final_start))


def _transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """Columns of the 16 x 16 array whose rows are given, by four rounds of exchanges."""
    matrix = list(rows)
    distance = 1
    while distance < LANES:
        low = [i if not i & distance else i + LANES - distance for i in range(LANES)]
        high = [i + distance if not i & distance else i + LANES for i in range(LANES)]
        for index in range(LANES):
            if not index & distance:
                x, y = matrix[index], matrix[index + distance]
                matrix[index] = builder.shuffle_vector(x, y, ir.Constant(NARROW, low))
                matrix[index + distance] = builder.shuffle_vector(x, y, ir.Constant(NARROW, high))
        distance *= 2
    return matrix


def _rows(builder: Any, address: Any) -> list[Any]:
    """Pointers to sixteen rows of sixteen words."""
    base = builder.inttoptr(address, NARROW.as_pointer())
    return [builder.gep(base, [_INDEX(row)]) for row in range(LANES)]


def _finish(builder: Any, state: list[Lanes], wanted: int) -> list[Lanes]:
    """The first `wanted` lanes of the permuted state, with scale one."""
    unscale = vectors.splat(_SCHEDULE.unscale)
    return [vectors.multiply(builder, element, unscale) for element in state[:wanted]]


@intrinsic
def permute_block(typing_context: Any, address: Any) -> Any:
    """`permute_block(address)`: permute each of the sixteen rows at a 64-aligned address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = _rows(builder, arguments[0])
        columns = _transpose(builder, [builder.load(place) for place in places])
        result = _finish(builder, _permute(builder, columns), WIDTH)
        for place, row in zip(places, _transpose(builder, result), strict=True):
            builder.store(row, place)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def compress_block(domains: Sequence[Sequence[int]]) -> Any:
    """`f(address, domain)`: each of the sixteen rows at a 64-aligned address becomes its digest.

    A row's first eight words become the first eight of P(row) + row + domains[domain]; the other
    eight become zero.
    """
    flat = [element for domain in domains for element in domain]

    @intrinsic
    def compress(typing_context: Any, address: Any, domain: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            places = _rows(builder, arguments[0])
            columns = _transpose(builder, [builder.load(place) for place in places])
            digest = _finish(builder, _permute(builder, columns), DIGEST_ELEMENTS)
            table = cgutils.global_constant(
                builder, "poseidon_domains", ir.Constant(ir.ArrayType(_WORD, len(flat)), flat)
            )
            start = builder.mul(arguments[1], _INDEX(DIGEST_ELEMENTS))
            for lane in range(DIGEST_ELEMENTS):
                constant = _constant(builder, table, builder.add(start, _INDEX(lane)))
                offset = vectors.add(builder, columns[lane], constant)
                digest[lane] = vectors.add(builder, digest[lane], offset)
            rest = [vectors.splat(0)] * (WIDTH - DIGEST_ELEMENTS)
            for place, row in zip(places, _transpose(builder, digest + rest), strict=True):
                builder.store(row, place)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return compress
