"""The image build: same answers as native code, same bytes everywhere, and what it refuses."""

import pathlib

import numpy as np
import pytest
import sample_kernel
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.kernel import layout
from entresol.machine import decode
from entresol.machine.build import KERNEL_ENTRY, BuildError, build_code
from entresol.machine.interpreter import Interpreter
from entresol.machine.linker import LinkError, link
from entresol.machine.memory import Memory, difference
from entresol.machine.translator import LoadedProgram, Translator

SUPPORT = str(pathlib.Path(__file__).parent / "support")
SAMPLE = "sample_kernel:run"
INPUT, CODE = layout.INPUT_BASE, layout.CODE_BASE
EDGES = [0, 1, -1, 2, 63, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]
words = st.one_of(st.sampled_from(EDGES), st.integers(-(2**63), 2**63 - 1))


@pytest.fixture(scope="module")
def sample_code() -> bytes:
    return build_code([SAMPLE], [SUPPORT])


def run_three_ways(code: bytes, data: bytes) -> int:
    native, plain, fast = Memory(), Memory(), Memory()
    for memory in (native, plain, fast):
        memory.write(INPUT, data)
    for memory in (plain, fast):
        memory.write(CODE, code)
    status = sample_kernel.run(native.base)
    first = Interpreter(plain).run(CODE)
    second = Translator(LoadedProgram(code, CODE)).run(fast)
    assert first == second
    assert first.exit_code == status
    for memory in (plain, fast):
        assert difference(native, memory, ["STATE", "JOURNAL", "INPUT", "PARAMS"]) == []
    return int(status)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(words, words), max_size=30))
def test_image_equals_native_code(sample_code: bytes, pairs: list[tuple[int, int]]) -> None:
    data = np.array([len(pairs), *(word for pair in pairs for word in pair)], np.int64)
    assert run_three_ways(sample_code, data.tobytes()) == 0


def test_status_is_the_exit_code(sample_code: bytes) -> None:
    assert run_three_ways(sample_code, (1001).to_bytes(8, "little")) == 7


def test_overflow_wraps_natively_too() -> None:
    assert sample_kernel.wraps(2**63 - 1, 1) == 0


def test_every_word_of_the_image_is_known(sample_code: bytes) -> None:
    assert len(sample_code) % 8 == 0
    operations = [decode.decode(word, 0x100_0000).operation for word in
                  decode.code_words(sample_code[:44])]  # fmt: skip
    assert operations.count(decode.ECALL) == 1
    assert operations[-1] == decode.UNKNOWN


VARIATIONS = {
    "another processor": {"NUMBA_CPU_NAME": "znver3", "NUMBA_CPU_FEATURES": "+avx2,+bmi2"},
    "another hash seed": {"PYTHONHASHSEED": "4711"},
    "hash seed zero": {"PYTHONHASHSEED": "0"},
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_same_bytes_elsewhere(name: str, sample_code: bytes) -> None:
    assert build_code([SAMPLE], [SUPPORT], VARIATIONS[name]) == sample_code


def test_same_bytes_after_other_functions_were_compiled(sample_code: bytes) -> None:
    """Compiling other functions first changes the numbers in every symbol's name."""
    assert build_code(["compiled_first:run"], [SUPPORT]) == sample_code


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kernel_image_is_reproducible() -> None:
    environment = {**VARIATIONS["another processor"], **VARIATIONS["another hash seed"]}
    assert build_code([KERNEL_ENTRY], (), environment) == build_code()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("divides_truly", "double"),
        ("raises", "raise"),
        ("allocates", "NRT|not defined|Failed"),
        ("takes_two", "one int64"),
        ("missing", "missing"),
    ],
)
def test_build_refuses(name: str, message: str) -> None:
    with pytest.raises((BuildError, LinkError), match=message):
        build_code([f"rejected_kernel:{name}"], [SUPPORT])


def test_linker_refuses_what_is_no_object() -> None:
    with pytest.raises(LinkError):
        link(b"no object", "entresol_entry_0")
