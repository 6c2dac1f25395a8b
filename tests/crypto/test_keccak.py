import threading

import pytest
from eth_utils import keccak as reference_keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import keccak
from entresol.crypto.keccak import keccak256, keccak256_plain

PUBLISHED = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    b"testing": "5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02",
}


@pytest.mark.parametrize("message", PUBLISHED)
def test_published_digests(message):
    assert keccak256(message).hex() == PUBLISHED[message]
    assert keccak256_plain(message).hex() == PUBLISHED[message]


def test_constants_are_those_of_the_standard():
    assert keccak.ROUND_CONSTANTS[:4] == (1, 0x8082, 0x800000000000808A, 0x8000000080008000)
    assert keccak.ROUND_CONSTANTS[-1] == 0x8000000080008008
    assert keccak.ROTATIONS[:5] == (0, 1, 62, 28, 27)
    assert sorted(keccak.ROTATIONS)[:3] == [0, 1, 2]


@pytest.mark.parametrize("length", [*range(130, 142), *range(266, 278), 1087, 1088, 5000])
def test_lengths_around_the_rate(length):
    message = bytes(index % 251 for index in range(length))
    assert keccak256(message) == reference_keccak(message) == keccak256_plain(message)


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_compiled_plain_and_reference_agree(message):
    assert keccak256(message) == reference_keccak(message)
    if len(message) < 140:
        assert keccak256_plain(message) == keccak256(message)


def test_takes_any_bytes_like_object():
    assert keccak256(bytearray(b"abc")) == keccak256(memoryview(b"abc")) == keccak256(b"abc")


def test_threads_do_not_disturb_each_other():
    messages = [bytes([index]) * (50 * index) for index in range(16)]
    wrong = []

    def run():
        for _ in range(300):
            wrong.extend(m for m in messages if keccak256(m) != expected[m])

    expected = {message: reference_keccak(message) for message in messages}
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
