"""Random programs give qemu-riscv64 and both engines the same registers and memory.

Each program ends in a Linux `write` of its registers and data to standard output.  To our machine
that `ecall` (a7 = 64) is a bad system call, which is where registers and memory are compared.
"""

import pathlib
import random
import subprocess

import pytest
from assembler import EMULATOR, assemble, needs_assembler, needs_emulator
from reference import BRANCH, IMMEDIATE, REGISTER

from entresol.kernel import layout
from entresol.kernel.rejections import Fault
from entresol.machine.elf import load_elf
from entresol.machine.interpreter import Interpreter
from entresol.machine.memory import Memory
from entresol.machine.translator import LoadedProgram, Translator

pytestmark = [needs_assembler, needs_emulator]

REGISTER_OPERATIONS = list(REGISTER)
IMMEDIATE_OPERATIONS = [name for name in IMMEDIATE if not name.startswith("s") or "t" in name]
BRANCHES = list(BRANCH)
LOADS = {"lb": 1, "lbu": 1, "lh": 2, "lhu": 2, "lw": 4, "lwu": 4, "ld": 8}
STORES = {"sb": 1, "sh": 2, "sw": 4, "sd": 8}
GENERAL = [5, 6, 7, *range(9, 27)]
"""Registers that random instructions may write; x8 holds the data, x27 and up serve the frame."""
DATA_BYTES = 2048
SPECIAL = [0, 1, -1, 2, 63, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**32]


def random_instruction(source: random.Random, label: int) -> list[str]:
    d, a, b = (f"x{source.choice(GENERAL)}" for _ in range(3))
    kind = source.randrange(10)
    if kind < 4:
        return [f"{source.choice(REGISTER_OPERATIONS)} {d}, {a}, {b}"]
    if kind == 4:
        return [f"{source.choice(IMMEDIATE_OPERATIONS)} {d}, {a}, {source.randrange(-2048, 2048)}"]
    if kind == 5:
        wide = source.random() < 0.5
        name = source.choice(["slli", "srli", "srai"] if wide else ["slliw", "srliw", "sraiw"])
        return [f"{name} {d}, {a}, {source.randrange(64 if wide else 32)}"]
    if kind == 6:
        return [f"{source.choice(['lui', 'auipc'])} {d}, {source.randrange(1 << 20):#x}"]
    if kind == 7:
        name, size = source.choice(list(LOADS.items()))
        return [f"{name} {d}, {source.randrange(0, DATA_BYTES, size)}(x8)"]
    if kind == 8:
        name, size = source.choice(list(STORES.items()))
        return [f"{name} {a}, {source.randrange(0, DATA_BYTES, size)}(x8)"]
    skipped = [f"{source.choice(REGISTER_OPERATIONS)} {d}, {a}, {b}" for _ in range(2)]
    return [f"{source.choice(BRANCHES)} {a}, {b}, {label}f", *skipped, f"{label}:"]


def random_program(seed: int, length: int, loops: int) -> str:
    """A body that runs `loops` times, then the write and exit."""
    source = random.Random(seed)
    lines = [f"li x{register}, 0" for register in range(1, 32)] + ["la x8, data"]
    for register in GENERAL:
        value = source.choice([source.choice(SPECIAL), source.randrange(-(2**63), 2**63)])
        lines.append(f"li x{register}, {value}")
    lines += [f"li x27, {loops}", "again:"]
    for index in range(length):
        lines += random_instruction(source, 100 + index)
    lines += ["addi x27, x27, -1", "beqz x27, finish", "j again", "finish:"]
    lines += [f"la x31, data + {DATA_BYTES}"]
    lines += [f"sd x{register}, {8 * register}(x31)" for register in range(31)]
    lines += ["la a1, data", f"li a2, {DATA_BYTES + 256}", "li a0, 1", "li a7, 64", "ecall"]
    lines += ["li a0, 0", "li a7, 93", "ecall", ".data", ".balign 4096", "data:"]
    lines += [f".dword {source.randrange(1 << 64):#x}" for _ in range(DATA_BYTES // 8)]
    lines += [".zero 256"]
    return "\n".join(lines)


def check_against_emulator(path: pathlib.Path) -> None:
    expected = subprocess.run([EMULATOR, str(path)], check=True, capture_output=True).stdout
    assert len(expected) == DATA_BYTES + 256
    first, second = Memory(), Memory()
    entry = load_elf(path, first)
    load_elf(path, second)
    plain = Interpreter(first)
    halt = plain.run(entry)
    assert halt.reason == Fault.BAD_SYSTEM_CALL
    translator = Translator(LoadedProgram.in_memory(second, entry), keep=False)
    context = translator.start(second)
    assert translator.advance(context) == halt
    assert plain.context is not None
    assert plain.context.registers == context.registers
    data = plain.context.registers[11]
    assert first.read(data, len(expected)) == expected
    assert second.read(data, len(expected)) == expected


@pytest.mark.parametrize("seed", range(12))
def test_random_program(seed: int, tmp_path: pathlib.Path) -> None:
    data = [layout.STATE_BASE, layout.SCRATCH_BASE][seed % 2]
    check_against_emulator(assemble(random_program(seed, 300, 20), tmp_path, data=data))


def test_instruction_counts(tmp_path: pathlib.Path) -> None:
    path = assemble(random_program(77, 200, 10), tmp_path)
    log = tmp_path / "executed"
    for option in ("-singlestep", "-one-insn-per-tb"):  # its name before and after qemu 8.1
        command = [EMULATOR, option, "-d", "exec,nochain", "-D", str(log), str(path)]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            break
    executed = log.read_text().count("Trace ")
    memory = Memory()
    halt = Interpreter(memory).run(load_elf(path, memory))
    after = 4  # the write, then `li`, `li`, `ecall` to exit
    assert halt.reason == Fault.BAD_SYSTEM_CALL
    assert halt.instructions + after == executed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1100))
def test_more_random_programs(seed: int, tmp_path: pathlib.Path) -> None:
    check_against_emulator(assemble(random_program(seed, 1500, 50), tmp_path))
