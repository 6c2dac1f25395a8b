"""The machine, one instruction after another: exact, resumable, able to mark what it touches.

The plain meaning of the instruction set is here.  translator.py is quicker and must agree with
it in every register, count and fault.
"""

import ctypes
from typing import Any, Final

import numba
from numba import types

from entresol.kernel import layout
from entresol.kernel.rejections import Fault
from entresol.kernel.subset import (
    CACHED,
    divide_truncate,
    divide_unsigned,
    kernel_function,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    multiply_high,
    multiply_high_unsigned,
    remainder_truncate,
    remainder_unsigned,
    shift_right,
    store_i64,
    store_u8,
    store_u16,
    store_u32,
    unsigned_less,
)
from entresol.machine import decode
from entresol.machine.context import (
    CODE,
    HALTED,
    LEFT,
    MEMORY,
    PC,
    READ,
    RUNNING,
    STOPS,
    UNLIMITED,
    WRITTEN,
    Context,
    Halt,
    code_of,
)
from entresol.machine.decode import CODE_END, is_instruction_address, predecode
from entresol.machine.leaf_map import LEAF_SHIFT, LeafMap
from entresol.machine.memory import Memory
from entresol.machine.system_calls import is_readable, is_writable, system_call

_CODE_BASE: Final = layout.CODE_BASE
_UNKNOWN_INSTRUCTION: Final = int(Fault.UNKNOWN_INSTRUCTION)
_MISALIGNED: Final = int(Fault.MISALIGNED)
_UNMAPPED: Final = int(Fault.UNMAPPED)
_READ_ONLY: Final = int(Fault.READ_ONLY)
_BAD_JUMP: Final = int(Fault.BAD_JUMP)
_LOW: Final = 0xFFFF_FFFF


@kernel_function
def _low_signed(x: int) -> int:
    return (x << 32) >> 32


@kernel_function
def _divide(x: int, y: int) -> int:
    if y == 0:
        return -1
    if y == -1:
        return 0 - x
    return divide_truncate(x, y)


@kernel_function
def _remainder(x: int, y: int) -> int:
    if y == 0:
        return x
    if y == -1:
        return 0
    return remainder_truncate(x, y)


@kernel_function
def _divide_unsigned(x: int, y: int) -> int:
    return -1 if y == 0 else divide_unsigned(x, y)


@kernel_function
def _remainder_unsigned(x: int, y: int) -> int:
    return x if y == 0 else remainder_unsigned(x, y)


@kernel_function
def _multiply_high_mixed(x: int, y: int) -> int:
    """Upper half of signed x times unsigned y."""
    high = multiply_high_unsigned(x, y)
    return high - y if x < 0 else high


@kernel_function
def _is_taken(operation: int, x: int, y: int) -> bool:
    """Whether a branch of that kind is taken; used where it must fault if it is."""
    if operation == decode.BEQ:
        return x == y
    if operation == decode.BNE:
        return x != y
    if operation == decode.BLT:
        return x < y
    if operation == decode.BGE:
        return x >= y
    if operation == decode.BLTU:
        return unsigned_less(x, y)
    return not unsigned_less(x, y)


@kernel_function
def _load_fault(address: int, size: int) -> int:
    if address & (size - 1) != 0:
        return _MISALIGNED
    return RUNNING if is_readable(address) else _UNMAPPED


@kernel_function
def _store_fault(address: int, size: int) -> int:
    if address & (size - 1) != 0:
        return _MISALIGNED
    if is_writable(address):
        return RUNNING
    return _READ_ONLY if is_readable(address) else _UNMAPPED


@kernel_function
def _execute(context: int) -> int:  # noqa: PLR0915
    """Run from the context's PC until halt, fault, step limit or stop; returns the status.

    One flat chain of comparisons, because LLVM turns that into a single jump table; it is long
    because the instruction set is.
    """
    code = load_i64(context + 8 * CODE) - 2 * _CODE_BASE
    memory = load_i64(context + 8 * MEMORY)
    written = load_i64(context + 8 * WRITTEN)
    read = load_i64(context + 8 * READ)
    stops = load_i64(context + 8 * STOPS)
    left = load_i64(context + 8 * LEFT)
    pc = load_i64(context + 8 * PC)
    status = RUNNING
    while left > 0:
        word = load_i64(code + 2 * pc)
        left -= 1
        operation = word & 0xFF
        destination = context + ((word >> 8) & 0x1F8)
        x = load_i64(context + ((word >> 16) & 0xF8))
        second = load_i64(context + ((word >> 24) & 0xF8))
        immediate = word >> 32
        y = second + immediate
        address = x + immediate
        if operation == decode.LD:
            status = _load_fault(address, 8)
            if status != RUNNING:
                break
            if read != 0:
                store_u8(read + shift_right(address, LEAF_SHIFT), 1)
            store_i64(destination, load_i64(memory + address))
        elif operation == decode.LW:
            status = _load_fault(address, 4)
            if status != RUNNING:
                break
            if read != 0:
                store_u8(read + shift_right(address, LEAF_SHIFT), 1)
            store_i64(destination, load_i32(memory + address))
        elif operation == decode.LWU:
            status = _load_fault(address, 4)
            if status != RUNNING:
                break
            if read != 0:
                store_u8(read + shift_right(address, LEAF_SHIFT), 1)
            store_i64(destination, load_u32(memory + address))
        elif operation == decode.LBU:
            status = _load_fault(address, 1)
            if status != RUNNING:
                break
            if read != 0:
                store_u8(read + shift_right(address, LEAF_SHIFT), 1)
            store_i64(destination, load_u8(memory + address))
        elif operation == decode.LHU:
            status = _load_fault(address, 2)
            if status != RUNNING:
                break
            if read != 0:
                store_u8(read + shift_right(address, LEAF_SHIFT), 1)
            store_i64(destination, load_u16(memory + address))
        elif operation == decode.LB:
            status = _load_fault(address, 1)
            if status != RUNNING:
                break
            if read != 0:
                store_u8(read + shift_right(address, LEAF_SHIFT), 1)
            store_i64(destination, (load_u8(memory + address) << 56) >> 56)
        elif operation == decode.LH:
            status = _load_fault(address, 2)
            if status != RUNNING:
                break
            if read != 0:
                store_u8(read + shift_right(address, LEAF_SHIFT), 1)
            store_i64(destination, (load_u16(memory + address) << 48) >> 48)
        elif operation == decode.SD:
            status = _store_fault(address, 8)
            if status != RUNNING:
                break
            store_u8(written + shift_right(address, LEAF_SHIFT), 1)
            store_i64(memory + address, second)
        elif operation == decode.SW:
            status = _store_fault(address, 4)
            if status != RUNNING:
                break
            store_u8(written + shift_right(address, LEAF_SHIFT), 1)
            store_u32(memory + address, second)
        elif operation == decode.SB:
            status = _store_fault(address, 1)
            if status != RUNNING:
                break
            store_u8(written + shift_right(address, LEAF_SHIFT), 1)
            store_u8(memory + address, second)
        elif operation == decode.SH:
            status = _store_fault(address, 2)
            if status != RUNNING:
                break
            store_u8(written + shift_right(address, LEAF_SHIFT), 1)
            store_u16(memory + address, second)
        elif operation == decode.ADD:
            store_i64(destination, x + y)
        elif operation == decode.SUB:
            store_i64(destination, x - y)
        elif operation == decode.SLL:
            store_i64(destination, x << (y & 63))
        elif operation == decode.SRL:
            store_i64(destination, shift_right(x, y & 63))
        elif operation == decode.SRA:
            store_i64(destination, x >> (y & 63))
        elif operation == decode.AND:
            store_i64(destination, x & y)
        elif operation == decode.OR:
            store_i64(destination, x | y)
        elif operation == decode.XOR:
            store_i64(destination, x ^ y)
        elif operation == decode.SLT:
            store_i64(destination, 1 if x < y else 0)
        elif operation == decode.SLTU:
            store_i64(destination, 1 if unsigned_less(x, y) else 0)
        elif operation == decode.MUL:
            store_i64(destination, x * y)
        elif operation == decode.MULH:
            store_i64(destination, multiply_high(x, y))
        elif operation == decode.MULHSU:
            store_i64(destination, _multiply_high_mixed(x, y))
        elif operation == decode.MULHU:
            store_i64(destination, multiply_high_unsigned(x, y))
        elif operation == decode.AUIPC:
            store_i64(destination, pc + immediate)
        elif operation == decode.ADDW:
            store_i64(destination, _low_signed(x + y))
        elif operation == decode.SUBW:
            store_i64(destination, _low_signed(x - y))
        elif operation == decode.SLLW:
            store_i64(destination, _low_signed(x << (y & 31)))
        elif operation == decode.SRLW:
            store_i64(destination, _low_signed(shift_right(x & _LOW, y & 31)))
        elif operation == decode.SRAW:
            store_i64(destination, _low_signed(x) >> (y & 31))
        elif operation == decode.MULW:
            store_i64(destination, _low_signed(x * y))
        elif operation == decode.DIV:
            store_i64(destination, _divide(x, y))
        elif operation == decode.DIVU:
            store_i64(destination, _divide_unsigned(x, y))
        elif operation == decode.REM:
            store_i64(destination, _remainder(x, y))
        elif operation == decode.REMU:
            store_i64(destination, _remainder_unsigned(x, y))
        elif operation == decode.DIVW:
            store_i64(destination, _low_signed(_divide(_low_signed(x), _low_signed(y))))
        elif operation == decode.DIVUW:
            store_i64(destination, _low_signed(_divide_unsigned(x & _LOW, y & _LOW)))
        elif operation == decode.REMW:
            store_i64(destination, _low_signed(_remainder(_low_signed(x), _low_signed(y))))
        elif operation == decode.REMUW:
            store_i64(destination, _low_signed(_remainder_unsigned(x & _LOW, y & _LOW)))
        elif operation == decode.BEQ:
            if x == second:
                pc += immediate
                continue
        elif operation == decode.BNE:
            if x != second:
                pc += immediate
                continue
        elif operation == decode.BLT:
            if x < second:
                pc += immediate
                continue
        elif operation == decode.BGE:
            if x >= second:
                pc += immediate
                continue
        elif operation == decode.BLTU:
            if unsigned_less(x, second):
                pc += immediate
                continue
        elif operation == decode.BGEU:
            if not unsigned_less(x, second):
                pc += immediate
                continue
        elif operation == decode.JAL:
            store_i64(destination, pc + 4)
            pc += immediate
            if stops != 0 and load_u8(stops + shift_right(pc - _CODE_BASE, 2)) != 0:
                break
            continue
        elif operation == decode.JALR:
            address &= -2
            if address & 3 != 0 or not unsigned_less(address - _CODE_BASE, layout.CODE_BYTES):
                status = _BAD_JUMP
                break
            store_i64(destination, pc + 4)
            pc = address
            if stops != 0 and load_u8(stops + shift_right(pc - _CODE_BASE, 2)) != 0:
                break
            continue
        elif operation == decode.ECALL:
            status = system_call(context)
            if status != RUNNING:
                break
        elif operation == decode.BRANCH_OUT:
            if _is_taken(immediate, x, second):
                status = _BAD_JUMP
                break
        elif operation in (decode.JAL_OUT, decode.END):
            status = _BAD_JUMP
            break
        elif operation != decode.NOP:
            status = _UNKNOWN_INSTRUCTION
            break
        pc += 4
    if status not in (RUNNING, HALTED):
        left += 1
    store_i64(context + 8 * LEFT, left)
    store_i64(context + 8 * PC, pc)
    return status


def _interpret(context: int) -> int:
    return _execute(context)


interpret_native: Any = numba.cfunc(types.int64(types.int64), cache=CACHED)(_interpret)
"""`_execute` as a C function: for translated code, and called without the interpreter lock."""

_interpret_unlocked = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(interpret_native.address)


class Interpreter:
    """Runs the program in a memory's CODE region one instruction at a time.

    `written` and `read` collect the leaves that the run touches.  After `run` the machine can be
    carried on with `resume`, so "exactly N steps, then look" is `run(entry, N)`.
    """

    def __init__(
        self, memory: Memory, written: LeafMap | None = None, read: LeafMap | None = None
    ) -> None:
        self.memory = memory
        self.written = LeafMap() if written is None else written
        self.read = read
        self.context: Context | None = None

    def run(self, entry: int, limit: int = UNLIMITED) -> Halt:
        """Start at `entry` with all registers zero and retire at most `limit` instructions."""
        self.context = Context(self.memory, entry, self.written)
        if self.read is not None:
            self.context.slots[READ] = self.read.base
        return self.resume(limit)

    def resume(self, limit: int = UNLIMITED) -> Halt:
        """Retire at most `limit` more instructions; a machine that stopped for good stays so."""
        if self.context is None:
            raise MachineNotStartedError
        return advance(self.context, limit)


class MachineNotStartedError(RuntimeError):
    """`resume` was called before `run`."""

    def __init__(self) -> None:
        super().__init__("The machine has not been started; call run(entry) before resume().")


def advance(context: Context, limit: int) -> Halt:
    """Retire at most `limit` more instructions of the context's program."""
    if context.status != RUNNING:
        return context.halt()
    slots = context.slots
    if not is_instruction_address(int(slots[PC])) and slots[PC] != CODE_END:
        context.status = _BAD_JUMP
        return context.halt()
    if context.table is None:  # CODE is read-only, so once is enough
        context.table = predecode(code_of(context.memory))
        slots[CODE] = context.table.ctypes.data
    limit = min(limit, UNLIMITED)
    slots[LEFT] = limit
    context.status = _interpret_unlocked(context.address)
    context.instructions += limit - int(slots[LEFT])
    return context.halt()
