"""Every way a run can stop, with its address and count, the same from both engines."""

from functools import lru_cache

import pytest

from entresol.kernel import layout
from entresol.kernel.rejections import Fault
from entresol.machine import assembly
from entresol.machine.assembly import addi, lui
from entresol.machine.context import Context, Halt
from entresol.machine.decode import CODE_END
from entresol.machine.interpreter import Interpreter, MachineNotStartedError
from entresol.machine.leaf_map import LeafMap
from entresol.machine.memory import Memory
from entresol.machine.translator import LoadedProgram, Translator, WrongCodeError

CODE = layout.CODE_BASE
LOADS = {"lb": 0, "lh": 1, "lw": 2, "ld": 3, "lbu": 4, "lhu": 5, "lwu": 6}
STORES = {"sb": 0, "sh": 1, "sw": 2, "sd": 3}
SIZES = {"lb": 1, "lbu": 1, "sb": 1, "lh": 2, "lhu": 2, "sh": 2, "lw": 4, "lwu": 4, "sw": 4,
         "ld": 8, "sd": 8}  # fmt: skip


def access(name: str, base: int, offset: int = 0) -> int:
    """A load into x6 or a store of x6."""
    if name in LOADS:
        return (offset & 0xFFF) << 20 | base << 15 | LOADS[name] << 12 | 6 << 7 | 0x03
    return (
        (offset >> 5 & 0x7F) << 25
        | 6 << 20
        | base << 15
        | STORES[name] << 12
        | (offset & 31) << 7
        | 0x23
    )


@lru_cache
def translated(code: bytes, entry: int) -> Translator:
    return Translator(LoadedProgram(code, entry), keep=False)


def run_both(
    words: list[int], entry: int = CODE, registers: dict[int, int] | None = None
) -> tuple[Halt, Context]:
    code = assembly.to_bytes(words)
    first, second = Memory(), Memory()
    for memory in (first, second):
        memory.write(CODE, code)
    plain = Interpreter(first)
    plain.run(entry, 0)
    assert plain.context is not None
    translator = translated(code, entry)
    context = translator.start(second)
    for number, value in (registers or {}).items():
        plain.context.slots[number] = context.slots[number] = value
    halt = plain.resume(10_000)
    assert translator.advance(context, 10_000) == halt
    assert context.registers == plain.context.registers
    assert translator.advance(context, 10_000) == halt, "a stopped machine stays stopped"
    assert plain.resume(10_000) == halt
    return halt, context


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("region", layout.REGIONS)
def test_access_at_the_edges_of_every_region(name: str, region: str) -> None:
    base, size, _ = layout.REGIONS[region]
    width = SIZES[name]
    for address in (base, base + size - width, base - width, base + size):
        expected = fault_at(address, name in STORES)
        halt, _ = run_both([addi(7, 0, 1), access(name, 5), 0], registers={5: address, 6: 77})
        retired = 2 if expected == Fault.UNKNOWN_INSTRUCTION else 1
        assert (halt.reason, halt.instructions) == (expected, retired), hex(address)
        assert halt.pc == CODE + 4 * retired
        assert halt.exit_code is None
    for offset in range(1, width):
        for address in (base + offset, base - width + offset, base + size - width + offset):
            halt, _ = run_both([access(name, 5)], registers={5: address})
            assert halt.reason == Fault.MISALIGNED, hex(address)


def fault_at(address: int, is_store: bool) -> Fault:
    """What an aligned access gives; where it is allowed, the next word is no instruction."""
    for base, size, permissions in layout.REGIONS.values():
        if base <= address < base + size:
            if is_store and "w" not in permissions:
                return Fault.READ_ONLY
            return Fault.UNKNOWN_INSTRUCTION
    return Fault.UNMAPPED


@pytest.mark.parametrize("address", [0, 8, -8, 1 << 32, (1 << 32) + layout.STATE_BASE,
                                     layout.STATE_BASE - (1 << 63), -(1 << 63), (1 << 63) - 8,
                                     layout.STATE_BASE | 1 << 63 - 1, 0x1000])  # fmt: skip
@pytest.mark.parametrize("name", ["ld", "sd", "lb", "sb"])
def test_addresses_use_all_64_bits(name: str, address: int) -> None:
    halt, context = run_both([access(name, 5)], registers={5: address, 6: 5})
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.UNMAPPED, CODE, 0)
    assert context.registers[6] == 5
    assert len(context.written.leaves()) == 0


def test_one_bad_access_among_good_ones_keeps_all_before_it() -> None:
    words = [access("sd", 5, 0), access("sd", 5, 8), access("sb", 5, 17), access("lh", 5, 19)]
    halt, context = run_both(words, registers={5: layout.STATE_BASE, 6: 9})
    assert (halt.reason, halt.instructions) == (Fault.MISALIGNED, 3)
    assert context.memory.read(layout.STATE_BASE, 18) == (b"\x09" + bytes(7)) * 2 + b"\0\x09"
    top = layout.STATE_BASE + layout.STATE_BYTES - 8
    words = [access("sd", 5, 0), addi(6, 6, 1), access("sd", 5, -8), access("sd", 5, 8)]
    halt, context = run_both(words, registers={5: top, 6: 9})
    assert (halt.reason, halt.instructions) == (Fault.UNMAPPED, 3)
    assert context.memory.read(top - 8, 16) == b"\x0a" + bytes(7) + b"\x09" + bytes(7)
    assert context.written.leaves().tolist() == [top // 32]


UNKNOWN = {
    "zero": 0,
    "all ones": 0xFFFF_FFFF,
    "compressed nop": 0x0001,
    "ebreak": 0x0010_0073,
    "uret": 0x0020_0073,
    "wfi": 0x1050_0073,
    "ecall with a register": 0x0000_00F3,
    "csrrw": 0x3000_1073,
    "rdcycle": 0xC000_2573,
    "fence.i": 0x0000_100F,
    "lr.d": 0x1005_302F,
    "amoadd.w": 0x0065_202F,
    "flw": 0x0005_2007,
    "fadd.s": 0x0062_8053,
    "add with a bad function": 0x0462_8033,
    "mulw with the function of mulh": 0x0262_903B,
    "slli with a seventh bit": 0x0402_9293 | 1 << 26,
    "slliw of 32": 0x0202_929B,
    "srai with bit 31": 0xC002_D293,
    "sraiw of 32": 0x4202_D29B,
    "load of 128 bits": 0x0005_7003,
    "store of 128 bits": 0x0065_4023,
    "branch of kind 2": 0x0062_A063,
    "jalr of kind 1": 0x0000_9067,
    "addiw of kind 2": 0x0002_A01B,
    "vector": 0x0205_7007,
    "custom": 0x0000_000B,
    "48-bit": 0x0000_001F,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_instruction(name: str) -> None:
    halt, _ = run_both([addi(5, 0, 3), UNKNOWN[name]])
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.UNKNOWN_INSTRUCTION, CODE + 4, 1)


@pytest.mark.parametrize(
    "target", [CODE + 2, CODE - 4, CODE_END, 0, -4, layout.STATE_BASE, 1 << 32, CODE + (1 << 32)]
)
def test_indirect_jump_to_no_instruction(target: int) -> None:
    words = [addi(7, 0, 1), assembly.jump_register(1, 5)]
    halt, context = run_both(words, registers={5: target, 1: 123})
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.BAD_JUMP, CODE + 4, 1)
    assert context.registers[1] == 123, "a jump that faults links nothing"


def test_indirect_jump_drops_the_low_bit() -> None:
    words = [assembly.jump_register(1, 5, 3), 0, 0]
    halt, context = run_both(words, registers={5: CODE + 6})
    assert (halt.reason, halt.pc) == (Fault.UNKNOWN_INSTRUCTION, CODE + 8)
    assert context.registers[1] == CODE + 4


@pytest.mark.parametrize("offset", [2, -4, -(1 << 20)])
def test_direct_jump_to_no_instruction(offset: int) -> None:
    halt, context = run_both([assembly.jump_immediate(offset) | 1 << 7 | 0x6F])
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.BAD_JUMP, CODE, 0)
    assert context.registers[1] == 0


@pytest.mark.parametrize("kind", [0, 1, 4, 5, 6, 7])
def test_branch_to_no_instruction_faults_only_if_taken(kind: int) -> None:
    word = assembly.branch_immediate(-8) | 6 << 20 | 5 << 15 | kind << 12 | 0x63
    taken = {0: (4, 4), 1: (4, 5), 4: (-1, 1), 5: (1, -1), 6: (1, -1), 7: (-1, 1)}[kind]
    other = {0: (4, 5), 1: (4, 4), 4: (1, -1), 5: (-1, 1), 6: (-1, 1), 7: (1, -1)}[kind]
    halt, _ = run_both([word, addi(7, 0, 1)], registers={5: taken[0], 6: taken[1]})
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.BAD_JUMP, CODE, 0)
    halt, _ = run_both([word, addi(7, 0, 1)], registers={5: other[0], 6: other[1]})
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.UNKNOWN_INSTRUCTION, CODE + 8, 2)


def test_running_off_the_end_of_code() -> None:
    memory = Memory()
    memory.write(CODE_END - 4, addi(5, 0, 1).to_bytes(4, "little"))
    expected = Interpreter(memory).run(CODE_END - 4)
    assert (expected.reason, expected.pc, expected.instructions) == (Fault.BAD_JUMP, CODE_END, 1)
    program = LoadedProgram.in_memory(memory, CODE_END - 4)
    assert Translator(program, keep=False).run(memory) == expected


@pytest.mark.parametrize("entry", [0, CODE + 2, CODE_END + 4, layout.STATE_BASE, 1 << 40])
def test_entry_that_is_no_instruction(entry: int) -> None:
    halt, _ = run_both([addi(5, 0, 1)], entry=entry)
    assert (halt.reason, halt.pc, halt.instructions) == (Fault.BAD_JUMP, entry, 0)


def test_step_limit_is_exact_and_can_be_lifted() -> None:
    words = [addi(5, 5, 1), assembly.jump_immediate(-4) | 0x6F]
    memory = Memory()
    memory.write(CODE, assembly.to_bytes(words))
    plain = Interpreter(memory)
    translator = Translator(LoadedProgram.in_memory(memory, CODE), keep=False)
    context = translator.start(memory)
    expected = plain.run(CODE, 1001)
    assert (expected.reason, expected.pc, expected.instructions) == (
        Fault.STEP_LIMIT,
        CODE + 4,
        1001,
    )
    assert translator.advance(context, 1001) == expected
    assert plain.resume(2) == translator.advance(context, 2)
    assert context.registers[5] == 502
    assert plain.resume(0).instructions == translator.advance(context, 0).instructions == 1003


def test_halt_returns_the_code_as_an_unsigned_word() -> None:
    halt, _ = run_both([addi(10, 0, -1), addi(17, 0, 0), assembly.ECALL, 0])
    assert (halt.reason, halt.exit_code, halt.instructions) == (Fault.NONE, (1 << 64) - 1, 3)
    assert (halt.pc, halt.halted) == (CODE + 8, True)


def test_written_leaves_and_read_leaves() -> None:
    words = [lui(5, 0x0400_0000), access("sd", 5, 24), access("sb", 5, 32), access("ld", 5, 128)]
    memory = Memory()
    memory.write(CODE, assembly.to_bytes(words))
    read = LeafMap()
    plain = Interpreter(memory, read=read)
    plain.run(CODE)
    first = layout.SCRATCH_BASE // 32
    assert plain.written.leaves("SCRATCH").tolist() == [first, first + 1]
    assert plain.written.leaves("STATE").tolist() == []
    assert read.leaves().tolist() == [first + 4]
    plain.written.clear()
    assert plain.written.leaves().tolist() == []


def test_misuse_raises() -> None:
    memory = Memory()
    with pytest.raises(MachineNotStartedError):
        Interpreter(memory).resume(1)
    translator = Translator(LoadedProgram(assembly.to_bytes([addi(5, 0, 1)]), CODE), keep=False)
    with pytest.raises(WrongCodeError):
        translator.run(memory)
