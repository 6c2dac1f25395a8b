import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.kernel import words


@pytest.fixture(scope="module")
def buffer():
    raw = (ctypes.c_uint64 * 32)()
    return ctypes.addressof(raw), raw


@given(value=st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_become_big_endian_words(buffer, value):
    address, raw = buffer
    ctypes.memset(address, 0xFF, 32)
    words.store_integer_word(address, value)
    assert bytes(raw)[:32] == (value % (1 << 64)).to_bytes(32, "big")


@given(raw_address=st.binary(min_size=20, max_size=20))
def test_addresses_become_left_padded_words(buffer, raw_address):
    address, raw = buffer
    ctypes.memset(address, 0xFF, 64)
    ctypes.memmove(address + 32, raw_address, 20)
    words.store_address_word(address, address + 32)
    assert bytes(raw)[:32] == raw_address.rjust(32, b"\0")
    assert words.address_is_zero(address + 32) == (not any(raw_address))


@given(first=st.binary(min_size=20, max_size=20), second=st.binary(min_size=20, max_size=20))
def test_addresses_are_compared_in_every_byte(buffer, first, second):
    address, _ = buffer
    for other in (
        first,
        second,
        *(first[:i] + bytes([first[i] ^ 1]) + first[i + 1 :] for i in range(20)),
    ):
        ctypes.memmove(address, first, 20)
        ctypes.memmove(address + 24, other, 20)
        assert words.addresses_equal(address, address + 24) == (first == other)


def test_words_are_compared_in_every_byte(buffer):
    address, _ = buffer
    ctypes.memset(address, 7, 64)
    assert words.words_equal(address, address + 32)
    for index in range(32):
        ctypes.memset(address, 7, 64)
        ctypes.memset(address + 32 + index, 8, 1)
        assert not words.words_equal(address, address + 32)


@pytest.mark.parametrize("length", [0, 32, 64, 96])
def test_records_are_copied_exactly(buffer, length):
    address, raw = buffer
    ctypes.memmove(address, bytes(range(128)), 128)
    ctypes.memset(address + 128, 0xEE, 128)
    words.copy_records(address + 128, address, length)
    assert bytes(raw)[128:] == bytes(range(length)) + b"\xee" * (128 - length)
