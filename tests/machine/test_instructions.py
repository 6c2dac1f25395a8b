"""One self-checking program per instruction: it halts with 0 if every edge case came out right."""

import json
import pathlib

import pytest
from assembler import assemble, halt, needs_assembler
from reference import BRANCH, IMMEDIATE, MASK, REGISTER, VALUES, signed
from typer.testing import CliRunner

from entresol.cli.machine import app
from entresol.kernel import layout
from entresol.machine.elf import load_elf
from entresol.machine.interpreter import Interpreter
from entresol.machine.memory import Memory
from entresol.machine.translator import LoadedProgram, Translator

pytestmark = needs_assembler
COUNT = len(VALUES)
TWELVE_BITS = [0, 1, -1, 5, 63, 64, 255, 2047, -2048]


def run_both(path: pathlib.Path) -> int | None:
    """Exit code, the same from both engines with the same count."""
    first, second = Memory(), Memory()
    entry = load_elf(path, first)
    load_elf(path, second)
    halt = Interpreter(first).run(entry, 10**7)
    assert Translator(LoadedProgram.in_memory(second, entry), keep=False).run(second) == halt
    return halt.exit_code


def table(name: str, values: list[int]) -> str:
    return f".balign 8\n{name}: .dword " + ",".join(hex(value & MASK) for value in values)


def check_results(body: str, expected: list[int], steps: int) -> str:
    """Run `body` (result in t3) for each pair (steps 2) or value (steps 1); compare in order."""
    inner = "li s3, 0\n2: slli t0, s3, 3\nadd t0, t0, s0\nld t2, 0(t0)\n"
    again = f"addi s3, s3, 1\nli t0, {COUNT}\nbne s3, t0, 2b\n"
    return f"""
        la s0, values
        la s1, expected
        li s5, 1
        li s2, 0
    1:  slli t0, s2, 3
        add t0, t0, s0
        ld t1, 0(t0)
        {inner if steps == 2 else ""}
        {body}
        ld t4, 0(s1)
        bne t3, t4, fail
        addi s1, s1, 8
        addi s5, s5, 1
        {again if steps == 2 else ""}
        addi s2, s2, 1
        li t0, {COUNT}
        bne s2, t0, 1b
        {halt("x0")}
    fail:
        {halt("s5")}
        .data
        {table("values", VALUES)}
        {table("expected", expected)}
    """


@pytest.mark.parametrize("name", REGISTER)
def test_register_instruction(name: str, tmp_path: pathlib.Path) -> None:
    expected = [REGISTER[name](x, y) for x in VALUES for y in VALUES]
    body = f"{name} x0, t1, t2\n{name} t3, t1, t2"
    assert run_both(assemble(check_results(body, expected, 2), tmp_path)) == 0


@pytest.mark.parametrize("name", REGISTER)
def test_register_instruction_onto_its_own_operands(name: str, tmp_path: pathlib.Path) -> None:
    expected = [REGISTER[name](signed(REGISTER[name](x, x)), x) for x in VALUES]
    body = f"mv t3, t1\n{name} t3, t3, t3\n{name} t3, t3, t1"
    assert run_both(assemble(check_results(body, expected, 1), tmp_path)) == 0


@pytest.mark.parametrize("name", IMMEDIATE)
def test_immediate_instruction(name: str, tmp_path: pathlib.Path) -> None:
    operation = REGISTER[IMMEDIATE[name]]
    amounts = TWELVE_BITS
    if name in ("slli", "srli", "srai"):
        amounts = [0, 1, 31, 32, 63]
    elif name in ("slliw", "srliw", "sraiw"):
        amounts = [0, 1, 15, 31]
    for amount in amounts:
        expected = [operation(x, amount) for x in VALUES]
        body = f"{name} x0, t1, {amount}\n{name} t3, t1, {amount}"
        path = assemble(check_results(body, expected, 1), tmp_path, f"{name}_{amount}")
        assert run_both(path) == 0, amount


@pytest.mark.parametrize("name", BRANCH)
def test_branch(name: str, tmp_path: pathlib.Path) -> None:
    expected = [int(BRANCH[name](x, y)) for x in VALUES for y in VALUES]
    body = f"li t3, 1\n{name} t1, t2, 3f\nli t3, 0\n3:"
    assert run_both(assemble(check_results(body, expected, 2), tmp_path)) == 0


@pytest.mark.parametrize("data", [layout.STATE_BASE, layout.SCRATCH_BASE, layout.JOURNAL_BASE])
@pytest.mark.parametrize(
    ("name", "size", "is_signed"),
    [("lb", 1, True), ("lbu", 1, False), ("lh", 2, True), ("lhu", 2, False), ("lw", 4, True),
     ("lwu", 4, False), ("ld", 8, True)],
)  # fmt: skip
def test_load(name: str, size: int, is_signed: bool, data: int, tmp_path: pathlib.Path) -> None:
    raw = b"".join((value & MASK).to_bytes(8, "little") for value in VALUES[:24])
    pieces = [int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)]
    expected = [signed(piece, 8 * size) if is_signed else piece for piece in pieces]
    lines = ["la s0, values", f"addi s0, s0, {len(raw) // 2}", "la s1, expected"]
    for index in range(len(pieces)):
        offset = index * size - len(raw) // 2
        lines += [f"li t2, {index + 1}", f"{name} x0, {offset}(s0)", f"{name} t0, {offset}(s0)"]
        lines += [f"ld t1, {8 * index}(s1)", "bne t0, t1, fail"]
    # A load over its own base register, and x0 still zero after loads onto it.
    lines += ["li t2, 999", "mv t0, s0", f"{name} t0, 0(t0)", f"{name} t1, 0(s0)"]
    lines += ["bne t0, t1, fail", "bne x0, zero, fail", halt("x0"), "fail:", halt("t2")]
    lines += [".data", table("values", VALUES[:24]), table("expected", expected)]
    assert run_both(assemble("\n".join(lines), tmp_path, data=data)) == 0


@pytest.mark.parametrize("data", [layout.STATE_BASE, layout.SCRATCH_BASE, layout.JOURNAL_BASE])
@pytest.mark.parametrize(("name", "size"), [("sb", 1), ("sh", 2), ("sw", 4), ("sd", 8)])
def test_store(name: str, size: int, data: int, tmp_path: pathlib.Path) -> None:
    memory = bytearray(b"\xaa" * 64)
    lines = ["la s0, area", "addi s0, s0, 32"]
    for index, offset in enumerate(range(-32, 32, 2 * size)):
        value = VALUES[-1 - index % COUNT] & MASK
        memory[32 + offset : 32 + offset + size] = value.to_bytes(8, "little")[:size]
        lines += [f"li t0, {value:#x}", f"{name} t0, {offset}(s0)"]
    words = [int.from_bytes(memory[at : at + 8], "little") for at in range(0, 64, 8)]
    lines += ["la s0, area", "la s1, expected"]
    for index in range(8):
        lines += [f"li t2, {index + 1}", f"ld t0, {8 * index}(s0)", f"ld t1, {8 * index}(s1)"]
        lines += ["bne t0, t1, fail"]
    lines += [halt("x0"), "fail:", halt("t2"), ".data"]
    lines += [table("area", [0xAAAA_AAAA_AAAA_AAAA] * 8), table("expected", words)]
    assert run_both(assemble("\n".join(lines), tmp_path, data=data)) == 0


PROGRAMS = {
    "lui": """li t2, 1
        lui t0, 0x80000
        li t1, -2147483648
        bne t0, t1, fail
        li t2, 2
        lui t0, 0x7ffff
        li t1, 0x7ffff000
        bne t0, t1, fail
        lui x0, 0x12345
        li t2, 3
        bnez x0, fail""",
    "auipc": """li t2, 1
    here: auipc t0, 0
        la t1, here
        bne t0, t1, fail
        li t2, 2
    there: auipc t0, 0x80000
        li t1, -2147483648
        la t3, there
        add t1, t1, t3
        bne t0, t1, fail
        auipc x0, 1
        bnez x0, fail""",
    "jal": """li t2, 1
        jal t0, over
    after: j fail
    over: la t1, after
        bne t0, t1, fail
        jal x0, on
        j fail
    on: li t2, 2
        bnez x0, fail
        li s1, 0
        jal ra, routine
        li t0, 5
        li t2, 3
        bne s1, t0, fail
        j good
    routine: li s1, 5
        ret""",
    "jalr": """li t2, 1
        la t0, target
        jalr t1, 0(t0)
    back: j fail
    target: la t3, back
        bne t1, t3, fail
        li t2, 2
        la t0, same
        addi t0, t0, 1
        jalr t0, 0(t0)
    link: j fail
    same: la t1, link
        bne t0, t1, fail
        li t2, 3
        la t0, far - 8
        jalr x0, 8(t0)
        j fail
    far: bnez x0, fail
        la t0, far2 + 12
        jalr x0, -12(t0)
        j fail
    far2: nop""",
    "fence": """fence
        fence rw, rw
        fence.tso
        .insn 4, 0x0100000f""",
    "all registers hold values": "\n".join(
        [f"li x{index}, {index * 0x0101_0101_0101}" for index in range(1, 32)]
        + [f"xor x{index}, x{index}, x{index - 1}" for index in range(2, 32)]
        + [f"xor x{index}, x{index}, x{index - 1}" for index in range(31, 1, -1)]
        + [f"addi x1, x{index}, 0\nli x2, {index * 0x0101_0101_0101}\nbne x1, x2, fail"
           for index in (3, 17, 31)]
    ),
    "recursion deeper than the host's stack allows": """li sp, 0x4100000
        li a0, 20000
        jal ra, descend
        li t0, 20000
        bne a0, t0, fail
        j good
    descend: beqz a0, bottom
        addi sp, sp, -16
        sd ra, 0(sp)
        addi a0, a0, -1
        jal ra, descend
        addi a0, a0, 1
        ld ra, 0(sp)
        addi sp, sp, 16
    bottom: ret""",
    "computed jumps into the middle": """li s0, 0
        la s1, steps
        li s2, 1000
    next: andi t0, s2, 3
        slli t0, t0, 3
        add t0, t0, s1
        jr t0
    steps: addi s0, s0, 1
        j done
        addi s0, s0, 2
        j done
        addi s0, s0, 3
        j done
        addi s0, s0, 4
    done: addi s2, s2, -1
        bnez s2, next
        li t0, 2500
        bne s0, t0, fail""",
    "a callee that returns elsewhere": """jal ra, odd
        j fail
        nop
        j good
    odd: addi ra, ra, 8
        ret""",
    "a return without a call": """la ra, good
        addi sp, x0, 0
        jal x0, leaf
    leaf: ret""",
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str, tmp_path: pathlib.Path) -> None:
    source = f"{PROGRAMS[name]}\ngood:\n{halt('x0')}\nfail:\n{halt('t2')}"
    assert run_both(assemble(source, tmp_path)) == 0


@pytest.mark.parametrize("engine", ["interpreter", "translator"])
def test_command_line_runs_a_program(engine: str, tmp_path: pathlib.Path) -> None:
    expected = [REGISTER["divw"](x, y) for x in VALUES for y in VALUES]
    path = assemble(check_results("divw t3, t1, t2", expected, 2), tmp_path)
    result = CliRunner().invoke(app, ["run", str(path), "--json", "--engine", engine])
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["halted"], report["exit_code"], report["fault"]) == (True, 0, None)
    expected[5] += 1
    path = assemble(check_results("divw t3, t1, t2", expected, 2), tmp_path)
    result = CliRunner().invoke(app, ["run", str(path), "--json", "--engine", engine])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["exit_code"] == 6
