import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import field
from entresol.crypto.field import PRIME

elements = st.integers(0, PRIME - 1)
digests = st.lists(elements, min_size=8, max_size=8).map(tuple)


def test_the_prime_and_its_inverse():
    assert PRIME == 0x7F000001
    assert all(PRIME % divisor for divisor in range(2, 46160))
    assert field.MONTGOMERY_INVERSE * PRIME % 2**32 == 1
    # Cubing is a permutation: 3 does not divide p - 1.
    assert (PRIME - 1) % 3


@given(elements)
@settings(deadline=None)
def test_inverse(element):
    if element:
        assert element * field.inverse(element) % PRIME == 1
    else:
        with pytest.raises(ZeroDivisionError):
            field.inverse(element)


@given(digests)
@settings(deadline=None)
def test_digest_round_trip(digest):
    data = field.encode_digest(digest)
    assert field.decode_digest(data) == digest
    assert int.from_bytes(data[:4], "big") == digest[0]


@pytest.mark.parametrize("word", [PRIME, PRIME + 1, 2**32 - 1])
@pytest.mark.parametrize("place", [0, 3, 7])
def test_non_canonical_digests_are_refused(word, place):
    data = bytearray(32)
    data[4 * place : 4 * place + 4] = word.to_bytes(4, "big")
    with pytest.raises(field.DigestError, match="canonical"):
        field.decode_digest(bytes(data))


@pytest.mark.parametrize("digest", [(0,) * 7, (0,) * 9, (PRIME,) + (0,) * 7, (-1,) + (0,) * 7])
def test_what_is_no_digest_is_not_encoded(digest):
    with pytest.raises(field.DigestError):
        field.encode_digest(digest)


def test_wrong_length():
    with pytest.raises(field.DigestError, match="32 bytes"):
        field.decode_digest(bytes(31))
