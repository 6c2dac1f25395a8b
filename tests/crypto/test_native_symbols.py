import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto import compile_cache, native_symbols, secp256k1
from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import HALF_ORDER, ORDER

SECRET = bytes(range(1, 33))
pytestmark = pytest.mark.skipif(
    compile_cache.INTERPRETED, reason="nothing is bound when nothing is compiled"
)


def c_function(name, arguments):
    address = native_symbols.install()[name]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(address)


def call_ecrecover(function, digest, v, r, s):
    memory = np.frombuffer(bytearray(digest + r + s + b"\xaa" * 32), np.uint8)
    base = memory.ctypes.data
    function(base, v, base + 32, base + 64, base + 96)
    assert memory[:96].tobytes() == digest + r + s
    return memory[96:].tobytes()


def both(digest, v, r, s):
    native = call_ecrecover(c_function("entresol_ecrecover", 5), digest, v, r, s)
    assert native == call_ecrecover(native_symbols.ecrecover_twin, digest, v, r, s)
    return native


def word(number):
    return number.to_bytes(32, "big")


def test_installing_twice_changes_nothing():
    assert native_symbols.install() == native_symbols.install()
    assert set(native_symbols.install()) == {"entresol_keccak256", "entresol_ecrecover"}


@given(st.binary(max_size=1087), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_keccak256_on_addresses(message, offset):
    memory = np.zeros(offset + 1120 + 40, np.uint8)
    memory[offset : offset + len(message)] = np.frombuffer(message, np.uint8)
    base = memory.ctypes.data
    out = base + 1120 + offset
    for function in (c_function("entresol_keccak256", 3), native_symbols.keccak256_twin):
        memory[1120:] = 0x55
        function(base + offset, len(message), out)
        assert memory[1120 + offset : 1152 + offset].tobytes() == keccak256(message)
        assert np.all(memory[1152 + offset :] == 0x55)


@given(st.integers(1, ORDER - 1).map(word), st.binary(min_size=32, max_size=32))
@settings(max_examples=40, deadline=None)
def test_ecrecover_finds_the_signer(secret, digest):
    signature = secp256k1.sign_digest(secret, digest)
    recovered = both(digest, signature[64], signature[:32], signature[32:64])
    assert recovered == bytes(12) + secp256k1.address_of(secret)


edge = st.sampled_from(
    [0, 1, 2, HALF_ORDER - 1, HALF_ORDER, HALF_ORDER + 1, ORDER - 1, ORDER, ORDER + 1, 2**256 - 1]
)
scalars = st.one_of(edge, st.integers(0, 2**256 - 1))
recovery_values = st.sampled_from([27, 28, 0, 1, 26, 29, 27 + (1 << 32), -27, 1 << 63 >> 1])


@given(st.binary(min_size=32, max_size=32), recovery_values, scalars, scalars)
@settings(max_examples=150, deadline=None)
def test_ecrecover_agrees_with_the_plain_curve_on_any_input(digest, v, r, s):
    expected = bytes(12) + secp256k1.recover_plain(digest, v, r, s)
    assert both(digest, v, word(r), word(s)) == expected


def test_the_evm_test_vector_is_high_s_and_its_low_twin_recovers():
    digest = bytes.fromhex("18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c")
    r = bytes.fromhex("73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75f")
    s = 0xEEB940B1D03B21E36B0E47E79769F095FE2AB855BD91E3A38756B7D75A9C4549
    signer = "a94f5374fce5edbc8e2a8697c15331677e6ebf0b"
    assert both(digest, 28, r, word(s)) == bytes(32)
    assert both(digest, 27, r, word(ORDER - s)).hex() == "00" * 12 + signer


@pytest.mark.parametrize("v", [27, 28])
@pytest.mark.parametrize("r", [secp256k1.GENERATOR[0], 1, 2])
def test_the_largest_low_s_recovers_and_the_next_does_not(v, r):
    digest = keccak256(b"half")
    found = both(digest, v, word(r), word(HALF_ORDER))
    assert found == bytes(12) + secp256k1.recover_plain(digest, v, r, HALF_ORDER)
    assert found != bytes(32)
    assert both(digest, v, word(r), word(HALF_ORDER + 1)) == bytes(32)


def test_key_at_infinity_recovers_nobody():
    # With s R = e G the key would be the point at infinity: take R = G, s = e.
    r = secp256k1.GENERATOR[0]
    v = 27 + secp256k1.GENERATOR[1] % 2
    assert both(word(7), v, word(r), word(7)) == bytes(32)
    assert secp256k1.recover_plain(word(7), v, r, 7) == secp256k1.NO_ADDRESS


@pytest.mark.parametrize("place", [0, 32, 64, 16])
def test_the_result_may_overlap_the_operands(place):
    digest = keccak256(b"overlap")
    signature = secp256k1.sign_digest(SECRET, digest)
    expected = bytes(12) + secp256k1.address_of(SECRET)
    for function in (c_function("entresol_ecrecover", 5), native_symbols.ecrecover_twin):
        memory = np.frombuffer(bytearray(digest + signature[:64]), np.uint8)
        base = memory.ctypes.data
        function(base, signature[64], base + 32, base + 64, base + place)
        assert memory[place : place + 32].tobytes() == expected
    for function in (c_function("entresol_keccak256", 3), native_symbols.keccak256_twin):
        memory = np.frombuffer(bytearray(digest * 3), np.uint8)
        function(memory.ctypes.data, 96, memory.ctypes.data + place)
        assert memory[place : place + 32].tobytes() == keccak256(digest * 3)


def test_threads_recover_independently():
    function = c_function("entresol_ecrecover", 5)
    cases = []
    for index in range(8):
        secret, digest = keccak256(bytes([index])), keccak256(bytes([index, 1]))
        signature = secp256k1.sign_digest(secret, digest)
        cases.append((digest, signature, bytes(12) + secp256k1.address_of(secret)))
    wrong = []

    def run():
        for _ in range(40):
            for digest, signature, expected in cases:
                found = call_ecrecover(
                    function, digest, signature[64], signature[:32], signature[32:64]
                )
                if found != expected:
                    wrong.append(found)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


KERNEL_CALL = """
import numba, numpy as np
from entresol.crypto.keccak import keccak256
from entresol.kernel import subset

@subset.kernel_function
def hash_at(pointer, length, out):
    subset.keccak256(pointer, length, out)

memory = np.zeros(128, np.uint8)
memory[:3] = (97, 98, 99)
hash_at(memory.ctypes.data, 3, memory.ctypes.data + 64)
assert memory[64:96].tobytes() == keccak256(b"abc")
print("done", numba.config.DISABLE_JIT)
"""


@pytest.mark.parametrize("interpreted", ["0", "1"])
def test_kernel_code_calls_the_symbol_in_a_fresh_process(interpreted, tmp_path):
    environment = {**os.environ, "NUMBA_DISABLE_JIT": interpreted}
    program = tmp_path / "program.py"  # a file, because the kernel's cache wants one
    program.write_text(KERNEL_CALL)
    result = subprocess.run(
        [sys.executable, str(program)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.stdout == f"done {interpreted}\n", result.stderr
