"""keccak256 and ecrecover as the machine offers them: results and every limit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import address_of, sign_digest
from entresol.kernel import layout
from entresol.kernel.rejections import Fault
from entresol.machine import assembly
from entresol.machine.context import Halt
from entresol.machine.interpreter import Interpreter
from entresol.machine.leaf_map import LeafMap
from entresol.machine.memory import Memory
from entresol.machine.translator import LoadedProgram, Translator

CODE, STATE, SCRATCH = layout.CODE_BASE, layout.STATE_BASE, layout.SCRATCH_BASE
HALT = [assembly.addi(10, 0, 0), assembly.addi(17, 0, 0), assembly.ECALL]
PROGRAM = assembly.to_bytes([assembly.ECALL, *HALT])
TRANSLATOR = Translator(LoadedProgram(PROGRAM, CODE), keep=False)


def call(number: int, arguments: list[int], contents: dict[int, bytes]) -> tuple[Halt, Memory]:
    """Make one system call, then halt; both engines must agree in everything."""
    first, second = Memory(), Memory()
    for memory in (first, second):
        memory.write(CODE, PROGRAM)
        for address, data in contents.items():
            memory.write(address, data)
    read = LeafMap()
    plain = Interpreter(first, read=read)
    plain.run(CODE, 0)
    context = TRANSLATOR.start(second)
    assert plain.context is not None
    for slots in (plain.context.slots, context.slots):
        slots[17] = number
        for index, value in enumerate(arguments):
            slots[10 + index] = value - (1 << 64) if value >> 63 == 1 else value
    halt = plain.resume(100)
    assert TRANSLATOR.advance(context, 100) == halt
    assert context.registers == plain.context.registers
    assert context.written.leaves().tolist() == plain.written.leaves().tolist()
    for page in first.written_pages():
        assert first.read(int(page), 4096) == second.read(int(page), 4096)
    return halt, first


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=1087), block=st.integers(0, 3), shift=st.integers(0, 120))
def test_keccak256(data: bytes, block: int, shift: int) -> None:
    shift = min(8 * shift, (2048 - len(data)) // 8 * 8)
    pointer = STATE + 2048 * block + shift
    halt, memory = call(1, [pointer, len(data), SCRATCH + 40], {pointer: data})
    assert (halt.exit_code, halt.instructions) == (0, 4)
    assert halt.system_calls == {"halt": 1, "keccak256": 1, "ecrecover": 0}
    assert memory.read(SCRATCH + 40, 32) == keccak256(data)


def test_keccak256_reads_every_region_and_may_overwrite_its_operand() -> None:
    for base, size, _ in layout.REGIONS.values():
        pointer = base + size - 104
        contents = {} if base == CODE else {pointer: bytes(range(100))}
        halt, memory = call(1, [pointer, 100, STATE], contents)
        assert halt.exit_code == 0
        assert memory.read(STATE, 32) == keccak256(contents.get(pointer, bytes(100)))
    halt, memory = call(1, [STATE, 64, STATE + 32], {STATE: bytes(range(64))})
    assert memory.read(STATE + 32, 32) == keccak256(bytes(range(64)))


@pytest.mark.parametrize(
    ("pointer", "length", "out"),
    [
        (STATE + 4, 8, SCRATCH),
        (STATE, 1088, SCRATCH),
        (STATE, -1 & (1 << 64) - 1, SCRATCH),
        (STATE, 1 << 62, SCRATCH),
        (STATE + 1024, 1025, SCRATCH),
        (STATE + 2040, 9, SCRATCH),
        (0, 0, SCRATCH),
        (0x5000, 8, SCRATCH),
        (1 << 32, 8, SCRATCH),
        (layout.PARAMS_BASE + 4096, 0, SCRATCH),
        (STATE, 8, SCRATCH + 4),
        (STATE, 8, layout.INPUT_BASE),
        (STATE, 8, CODE + 64),
        (STATE, 8, layout.PARAMS_BASE),
        (STATE, 8, 0),
        (STATE, 8, layout.JOURNAL_BASE + 4096 - 24),
        (STATE, 8, (1 << 32) - 24),
        (STATE, 8, (1 << 32) - 8),
    ],
)
def test_keccak256_limits(pointer: int, length: int, out: int) -> None:
    halt, memory = call(1, [pointer, length, out], {STATE: b"data"})
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.BAD_SYSTEM_CALL, CODE, 0)
    assert halt.system_calls["keccak256"] == 0
    assert memory.written_pages().tolist() == [CODE, STATE]


@pytest.mark.parametrize("out", [layout.JOURNAL_BASE + 4096 - 32, (1 << 32) - 32, SCRATCH])
def test_result_may_end_with_its_region(out: int) -> None:
    halt, memory = call(1, [STATE, 0, out], {})
    assert halt.exit_code == 0
    assert memory.read(out, 32) == keccak256(b"")


def signature() -> tuple[bytes, int, bytes, bytes, bytes]:
    secret, digest = (7).to_bytes(32, "big"), keccak256(b"message")
    raw = sign_digest(secret, digest)
    return digest, raw[64], raw[:32], raw[32:64], address_of(secret)


def test_ecrecover() -> None:
    digest, v, r, s, address = signature()
    contents = {STATE: digest, STATE + 32: r, STATE + 64: s}
    halt, memory = call(2, [STATE, v, STATE + 32, STATE + 64, SCRATCH + 8], contents)
    assert halt.exit_code == 0
    assert halt.system_calls == {"halt": 1, "keccak256": 0, "ecrecover": 1}
    assert memory.read(SCRATCH + 8, 32) == bytes(12) + address
    for wrong in (55 - v, 0, 26, 29, v + (1 << 32), -1 & (1 << 64) - 1):
        halt, memory = call(2, [STATE, wrong, STATE + 32, STATE + 64, SCRATCH], contents)
        assert halt.exit_code == 0
        assert memory.read(SCRATCH, 32) != bytes(12) + address
    halt, memory = call(2, [STATE, v, STATE + 32, STATE + 64, STATE + 64], contents)
    assert memory.read(STATE + 64, 32) == bytes(12) + address


@pytest.mark.parametrize("which", [0, 2, 3, 4])
@pytest.mark.parametrize("bad", [STATE + 4, 0, 1 << 32, layout.PARAMS_BASE + 4096 - 24, -8])
def test_ecrecover_limits(which: int, bad: int) -> None:
    digest, v, r, s, _ = signature()
    arguments = [STATE, v, STATE + 32, STATE + 64, SCRATCH]
    arguments[which] = bad & (1 << 64) - 1
    halt, _ = call(2, arguments, {STATE: digest, STATE + 32: r, STATE + 64: s})
    assert (halt.reason, halt.instructions) == (Fault.BAD_SYSTEM_CALL, 0)
    arguments[which] = layout.INPUT_BASE
    halt, _ = call(2, arguments, {})
    assert halt.reason == (Fault.BAD_SYSTEM_CALL if which == 4 else Fault.NONE)


@pytest.mark.parametrize("number", [3, 64, 93, -1, 1 << 32, (1 << 63) - 1])
def test_unknown_system_call(number: int) -> None:
    halt, _ = call(number, [], {})
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.BAD_SYSTEM_CALL, CODE, 0)
