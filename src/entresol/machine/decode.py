"""RV64IM instruction words taken apart once, before they run.

An instruction becomes one 64-bit word that both engines read: operation (bits 0-7), destination
(11-16), first source (19-23), second source (27-31), immediate (32-63, signed).  Register forms
carry immediate 0 and immediate forms carry source x0, so an arithmetic operation always computes
`x[first] op (x[second] + immediate)` and has one number for both forms.  Destination x0 becomes
register slot 32, which nothing reads.  Encodings: RISC-V unprivileged specification, chapters
RV32I, RV64I and M; all else (compressed, atomic, float, CSR, `ebreak`, `fence.i`) is UNKNOWN.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout

UNKNOWN: Final = 0
ADD: Final = 1
SUB: Final = 2
SLL: Final = 3
SLT: Final = 4
SLTU: Final = 5
XOR: Final = 6
SRL: Final = 7
SRA: Final = 8
OR: Final = 9
AND: Final = 10
MUL: Final = 11
MULH: Final = 12
MULHSU: Final = 13
MULHU: Final = 14
DIV: Final = 15
DIVU: Final = 16
REM: Final = 17
REMU: Final = 18
ADDW: Final = 19
SUBW: Final = 20
SLLW: Final = 21
SRLW: Final = 22
SRAW: Final = 23
MULW: Final = 24
DIVW: Final = 25
DIVUW: Final = 26
REMW: Final = 27
REMUW: Final = 28
AUIPC: Final = 29
NOP: Final = 30
LB: Final = 31
LH: Final = 32
LW: Final = 33
LD: Final = 34
LBU: Final = 35
LHU: Final = 36
LWU: Final = 37
SB: Final = 38
SH: Final = 39
SW: Final = 40
SD: Final = 41
BEQ: Final = 42
BNE: Final = 43
BLT: Final = 44
BGE: Final = 45
BLTU: Final = 46
BGEU: Final = 47
JAL: Final = 48
JALR: Final = 49
ECALL: Final = 50
BRANCH_OUT: Final = 51
"""A branch whose target is no instruction: a fault if taken; the immediate is the branch kind."""
JAL_OUT: Final = 52
"""A `jal` whose target is no instruction: always a fault."""
END: Final = 53
"""The address just past CODE, reached by running off its end."""

LOADS: Final = frozenset(range(LB, LWU + 1))
STORES: Final = frozenset(range(SB, SD + 1))
BRANCHES: Final = frozenset(range(BEQ, BGEU + 1))
ACCESS_BYTES: Final = {
    LB: 1, LH: 2, LW: 4, LD: 8, LBU: 1, LHU: 2, LWU: 4, SB: 1, SH: 2, SW: 4, SD: 8
}  # fmt: skip

DISCARD: Final = 32
"""Register slot that takes writes to x0."""

CODE_WORDS: Final = layout.CODE_BYTES // 4
CODE_END: Final = layout.CODE_BASE + layout.CODE_BYTES

_OP: Final = (ADD, SLL, SLT, SLTU, XOR, SRL, OR, AND)
_OP_ALTERNATE: Final = {0: SUB, 5: SRA}
_OP_MULTIPLY: Final = (MUL, MULH, MULHSU, MULHU, DIV, DIVU, REM, REMU)
_OP_W: Final = {0: ADDW, 1: SLLW, 5: SRLW}
_OP_W_ALTERNATE: Final = {0: SUBW, 5: SRAW}
_OP_W_MULTIPLY: Final = {0: MULW, 4: DIVW, 5: DIVUW, 6: REMW, 7: REMUW}
_LOAD: Final = (LB, LH, LW, LD, LBU, LHU, LWU, UNKNOWN)
_STORE: Final = (SB, SH, SW, SD, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
_BRANCH: Final = (BEQ, BNE, UNKNOWN, UNKNOWN, BLT, BGE, BLTU, BGEU)


class Instruction(NamedTuple):
    """One decoded instruction; `destination` is DISCARD where the program names x0."""

    operation: int
    destination: int = 0
    first: int = 0
    second: int = 0
    immediate: int = 0


_UNKNOWN_INSTRUCTION: Final = Instruction(UNKNOWN)
_NO_OPERATION: Final = Instruction(NOP, DISCARD)


def decode(word: int, address: int) -> Instruction:
    """The instruction that the 32-bit `word` means at `address`; UNKNOWN where it means none."""
    opcode = word & 0x7F
    decoder = _DECODERS.get(opcode)
    if decoder is None:
        return _UNKNOWN_INSTRUCTION
    instruction = decoder(word, address)
    if instruction.operation == UNKNOWN:
        return _UNKNOWN_INSTRUCTION
    if instruction.destination == 0 and instruction.operation <= LWU:
        if instruction.operation <= NOP:
            return _NO_OPERATION
        return instruction._replace(destination=DISCARD)
    if instruction.destination == 0 and instruction.operation in (JAL, JALR):
        return instruction._replace(destination=DISCARD)
    return instruction


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _destination(word: int) -> int:
    return word >> 7 & 31


def _function3(word: int) -> int:
    return word >> 12 & 7


def _first(word: int) -> int:
    return word >> 15 & 31


def _second(word: int) -> int:
    return word >> 20 & 31


def _immediate(word: int) -> int:
    return _signed(word >> 20, 12)


def _register_form(word: int, _: int) -> Instruction:
    function3, function7 = _function3(word), word >> 25
    operation = UNKNOWN
    if function7 == 0:
        operation = _OP[function3]
    elif function7 == 1:
        operation = _OP_MULTIPLY[function3]
    elif function7 == 32:
        operation = _OP_ALTERNATE.get(function3, UNKNOWN)
    return Instruction(operation, _destination(word), _first(word), _second(word))


def _register_form_w(word: int, _: int) -> Instruction:
    tables = {0: _OP_W, 1: _OP_W_MULTIPLY, 32: _OP_W_ALTERNATE}
    operation = tables.get(word >> 25, {}).get(_function3(word), UNKNOWN)
    return Instruction(operation, _destination(word), _first(word), _second(word))


def _immediate_form(word: int, _: int) -> Instruction:
    function3, value = _function3(word), _immediate(word)
    operation = _OP[function3]
    if function3 in (1, 5):  # shifts: six bits of amount, six bits of function
        value = word >> 20 & 63
        function6 = word >> 26
        if function6 == 16 and function3 == 5:
            operation = SRA
        elif function6 != 0:
            operation = UNKNOWN
    return Instruction(operation, _destination(word), _first(word), 0, value)


def _immediate_form_w(word: int, _: int) -> Instruction:
    function3, value = _function3(word), _immediate(word)
    operation = _OP_W.get(function3, UNKNOWN)
    if function3 in (1, 5):
        value = _second(word)
        function7 = word >> 25
        if function7 == 32 and function3 == 5:
            operation = SRAW
        elif function7 != 0:
            operation = UNKNOWN
    return Instruction(operation, _destination(word), _first(word), 0, value)


def _load(word: int, _: int) -> Instruction:
    operation = _LOAD[_function3(word)]
    return Instruction(operation, _destination(word), _first(word), 0, _immediate(word))


def _store(word: int, _: int) -> Instruction:
    value = _signed(word >> 25 << 5 | _destination(word), 12)
    return Instruction(_STORE[_function3(word)], 0, _first(word), _second(word), value)


def _branch(word: int, address: int) -> Instruction:
    operation = _BRANCH[_function3(word)]
    offset = _signed(
        word >> 31 << 12 | (word >> 7 & 1) << 11 | (word >> 25 & 63) << 5 | (word >> 8 & 15) << 1,
        13,
    )
    if operation != UNKNOWN and not is_instruction_address(address + offset):
        return Instruction(BRANCH_OUT, 0, _first(word), _second(word), operation)
    return Instruction(operation, 0, _first(word), _second(word), offset)


def _jump(word: int, address: int) -> Instruction:
    offset = _signed(
        word >> 31 << 20
        | (word >> 12 & 255) << 12
        | (word >> 20 & 1) << 11
        | (word >> 21 & 1023) << 1,
        21,
    )
    if not is_instruction_address(address + offset):
        return Instruction(JAL_OUT)
    return Instruction(JAL, _destination(word), 0, 0, offset)


def _jump_register(word: int, _: int) -> Instruction:
    operation = JALR if _function3(word) == 0 else UNKNOWN
    return Instruction(operation, _destination(word), _first(word), 0, _immediate(word))


def _upper(word: int, _: int) -> Instruction:
    return Instruction(ADD, _destination(word), 0, 0, _signed(word & 0xFFFF_F000, 32))


def _upper_relative(word: int, _: int) -> Instruction:
    return Instruction(AUIPC, _destination(word), 0, 0, _signed(word & 0xFFFF_F000, 32))


def _system(word: int, _: int) -> Instruction:
    return Instruction(ECALL if word == 0x73 else UNKNOWN)


def _fence(word: int, _: int) -> Instruction:
    return _NO_OPERATION if _function3(word) == 0 else _UNKNOWN_INSTRUCTION


_DECODERS: Final = {
    0x03: _load,
    0x0F: _fence,
    0x13: _immediate_form,
    0x17: _upper_relative,
    0x1B: _immediate_form_w,
    0x23: _store,
    0x33: _register_form,
    0x37: _upper,
    0x3B: _register_form_w,
    0x63: _branch,
    0x67: _jump_register,
    0x6F: _jump,
    0x73: _system,
}


def is_instruction_address(address: int) -> bool:
    """Whether a jump may land there: a word of CODE."""
    return layout.CODE_BASE <= address < CODE_END and address % 4 == 0


def pack(instruction: Instruction) -> int:
    """The instruction as the signed 64-bit word described above."""
    return (
        instruction.operation
        | instruction.destination << 11
        | instruction.first << 19
        | instruction.second << 27
        | instruction.immediate << 32
    )


def code_words(code: bytes) -> list[int]:
    """The 32-bit words of a CODE image, a partial last word padded with zero bytes."""
    padded = code + bytes(-len(code) % 4)
    return np.frombuffer(padded, "<u4").tolist()


@lru_cache(maxsize=4)
def predecode(code: bytes) -> npt.NDArray[np.int64]:
    """Packed words of the whole CODE region for an image that starts at CODE_BASE.

    Shape (CODE_WORDS + 1,): words past the image are UNKNOWN, the last entry is END.
    """
    table = np.full(CODE_WORDS + 1, pack(_UNKNOWN_INSTRUCTION), np.int64)
    table[CODE_WORDS] = pack(Instruction(END))
    for index, word in enumerate(code_words(code)):
        table[index] = pack(decode(word, layout.CODE_BASE + 4 * index))
    table.flags.writeable = False
    return table
