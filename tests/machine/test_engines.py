"""Both engines agree on every program: registers, memory, leaves, counts and faults."""

from functools import lru_cache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import programs, registers

from entresol.kernel import layout
from entresol.machine import assembly
from entresol.machine.context import Context
from entresol.machine.interpreter import Interpreter
from entresol.machine.leaf_map import LeafMap
from entresol.machine.memory import Memory, difference
from entresol.machine.translator import LoadedProgram, Translator

MAXIMUM_STEPS = 3000


def fill(memory: Memory, code: bytes) -> None:
    """The program, and recognisable bytes at the edges of every region."""
    memory.write(layout.CODE_BASE, code)
    for base, size, _ in layout.REGIONS.values():
        if base != layout.CODE_BASE:
            memory.write(base, bytes(range(256)))
            memory.write(base + size - 256, bytes(range(255, -1, -1)))


def set_registers(context: Context, values: list[int]) -> None:
    context.slots[1:32] = np.array(values, np.int64)


@lru_cache(maxsize=4)
def translated(code: bytes, entry: int) -> Translator:
    return Translator(LoadedProgram(code, entry), keep=False)


def check_agreement(code: bytes, entry: int, values: list[int], chunks: list[int]) -> None:
    first, second = Memory(), Memory()
    fill(first, code)
    fill(second, code)
    plain = Interpreter(first)
    plain.run(entry, 0)
    assert plain.context is not None
    set_registers(plain.context, values)
    translator = translated(code, entry)
    context = translator.start(second, LeafMap())
    set_registers(context, values)
    for chunk in [*chunks, MAXIMUM_STEPS]:
        expected = plain.resume(chunk)
        assert translator.advance(context, chunk) == expected
        assert context.registers == plain.context.registers
    assert difference(first, second, layout.REGIONS) == []
    assert context.written.leaves().tolist() == plain.written.leaves().tolist()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    code=programs,
    entry=st.sampled_from([0, 0, 0, 4, 12]),
    values=registers,
    chunks=st.lists(st.integers(0, 12), max_size=4),
)
def test_random_programs(code: bytes, entry: int, values: list[int], chunks: list[int]) -> None:
    check_agreement(code, layout.CODE_BASE + entry, values, chunks)


def test_every_stopping_point_of_a_program_with_calls_and_loops() -> None:
    words = [
        assembly.lui(2, layout.SCRATCH_STACK_TOP),
        assembly.addi(8, 0, 5),
        assembly.auipc(1, 0),  # call the routine at word 9
        assembly.jump_register(1, 1, 28),
        assembly.addi(8, 8, -1),
        assembly.branch_not_equal(8, 0, -12),
        assembly.addi(10, 9, 0),
        assembly.addi(17, 0, 0),
        assembly.ECALL,
        assembly.addi(2, 2, -16),  # the routine: two stores, a loop, a return
        0x00113423,  # sd ra, 8(sp)
        0x00813023,  # sd s0, 0(sp)
        assembly.addi(5, 0, 3),
        assembly.addi(9, 9, 7),
        assembly.addi(5, 5, -1),
        assembly.branch_not_equal(5, 0, -8),
        assembly.load_double(1, 8, 2),
        assembly.addi(2, 2, 16),
        assembly.jump_register(0, 1),
    ]
    code = assembly.to_bytes(words)
    memory = Memory()
    fill(memory, code)
    total = Interpreter(memory).run(layout.CODE_BASE)
    assert (total.exit_code, total.instructions) == (7 * 15, 105)
    for steps in range(total.instructions + 2):
        check_agreement(code, layout.CODE_BASE, [0] * 31, [steps])
        check_agreement(code, layout.CODE_BASE, [0] * 31, [steps, 1, 2])
