import rlp as reference
from hypothesis import given
from hypothesis import strategies as st
from rlp.sedes import big_endian_int

from entresol.settlement import rlp

items = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=6))


@given(items)
def test_bytes_and_lists(item):
    assert rlp.encode(item) == reference.encode(item)


@given(st.integers(0, 2**256))
def test_integers(number):
    assert rlp.encode(number) == reference.encode(number, big_endian_int)


def test_long_items():
    for length in (55, 56, 255, 256, 65_536, 131_072):
        assert rlp.encode(b"\7" * length) == reference.encode(b"\7" * length)
        assert rlp.encode([b""] * length) == reference.encode([b""] * length)
