"""The vector operations at their edges, against Python integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit, types
from numba.extending import intrinsic

from entresol.crypto import compile_cache
from entresol.crypto import field_vectors as vectors
from entresol.crypto.field import PRIME

pytestmark = pytest.mark.skipif(compile_cache.INTERPRETED, reason="needs the compiler")

R_INVERSE = pow(2**32, -1, PRIME)
EDGES = [0, 1, 2, 3, PRIME - 1, PRIME - 2, PRIME // 2, PRIME // 2 + 1, 1 << 24, (1 << 30) + 1]
lanes = st.lists(
    st.one_of(st.sampled_from(EDGES), st.integers(0, PRIME - 1)), min_size=16, max_size=16
)


def compiled(operation):
    """`f(x, y)` on arrays of sixteen words."""

    @intrinsic
    def emit(typing_context, x, y, out):
        def generate(context, builder, signature, arguments):
            places = [
                builder.inttoptr(argument, vectors.NARROW.as_pointer()) for argument in arguments
            ]
            left, right = (builder.load(place, align=4) for place in places[:2])
            builder.store(operation(builder, left, right), places[2], align=4)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    @njit
    def run(x, y, out):
        emit(x, y, out)

    def call(x, y):
        left, right = (np.array(values, np.uint32) for values in (x, y))
        out = np.empty(16, np.uint32)
        run(left.ctypes.data, right.ctypes.data, out.ctypes.data)
        return [int(value) for value in out]

    return call


def difference_product(builder, x, y):
    """(x - y) 1000 / 2^32: the signed path through a wide value."""
    difference = vectors.split(builder, vectors.subtract_signed(builder, x, y))
    return vectors.reduce(builder, vectors.scale_wide(builder, difference, 1000))


CASES = {
    "add": (vectors.add, lambda x, y: x + y),
    "multiply": (vectors.multiply, lambda x, y: x * y * R_INVERSE),
    "cube": (lambda b, x, y: vectors.cube(b, x), lambda x, y: x**3 * R_INVERSE**2),
    "signed": (difference_product, lambda x, y: (x - y) * 1000 * R_INVERSE),
}
COMPILED = {} if compile_cache.INTERPRETED else {name: compiled(c[0]) for name, c in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_pair_of_edges(name):
    pairs = [(x, y) for x in EDGES for y in EDGES]
    pairs += [(0, 0)] * (-len(pairs) % 16)
    for start in range(0, len(pairs), 16):
        x, y = zip(*pairs[start : start + 16], strict=True)
        expected = [CASES[name][1](a, b) % PRIME for a, b in zip(x, y, strict=True)]
        assert COMPILED[name](x, y) == expected


@pytest.mark.parametrize("name", CASES)
@given(lanes, lanes)
@settings(max_examples=50, deadline=None)
def test_random_lanes(name, x, y):
    expected = [CASES[name][1](a, b) % PRIME for a, b in zip(x, y, strict=True)]
    assert COMPILED[name](x, y) == expected
