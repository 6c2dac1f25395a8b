"""LLVM IR for the functions of an image: the same steps, as native code.

Each function of the image becomes one native function over the run's context (context.py).  It
loads the registers it uses, keeps them in native registers, and writes back those it changes when
it calls, returns or stops.  A block takes its instructions off the step limit; where too few may be
left, or where a memory access is not plainly allowed, the function writes everything back and
asks the dispatcher to let the interpreter carry on from that very instruction.  So every fault and
every limit is decided in one place, by the interpreter, and cannot differ.
"""

from collections.abc import Iterable
from typing import Final

from entresol.kernel import layout
from entresol.machine import context as slot
from entresol.machine import decode
from entresol.machine.access_groups import AccessGroup, access_groups
from entresol.machine.control_flow import Block, Function, Program
from entresol.machine.decode import DISCARD, Instruction
from entresol.machine.leaf_map import LEAF_SHIFT

INTERPRET: Final = 100
"""Status by which a translated function hands over to the interpreter at the context's PC."""

MAXIMUM_DEPTH: Final = 256
"""Calls nested on the host's stack; deeper ones start again from the dispatcher."""

_PLAIN: Final = {
    decode.ADD: "add", decode.SUB: "sub", decode.XOR: "xor", decode.OR: "or", decode.AND: "and",
    decode.MUL: "mul",
}  # fmt: skip
_SHIFT: Final = {decode.SLL: "shl", decode.SRL: "lshr", decode.SRA: "ashr"}
_COMPARE: Final = {decode.SLT: "slt", decode.SLTU: "ult"}
_PLAIN_W: Final = {decode.ADDW: "add", decode.SUBW: "sub", decode.MULW: "mul"}
_SHIFT_W: Final = {decode.SLLW: "shl", decode.SRLW: "lshr", decode.SRAW: "ashr"}
_HIGH: Final = {
    decode.MULH: ("sext", "sext"), decode.MULHSU: ("sext", "zext"), decode.MULHU: ("zext", "zext"),
}  # fmt: skip
_DIVIDE: Final = {
    decode.DIV: ("sdiv", 64), decode.DIVU: ("udiv", 64), decode.REM: ("srem", 64),
    decode.REMU: ("urem", 64), decode.DIVW: ("sdiv", 32), decode.DIVUW: ("udiv", 32),
    decode.REMW: ("srem", 32), decode.REMUW: ("urem", 32),
}  # fmt: skip
_CONDITION: Final = {
    decode.BEQ: "eq", decode.BNE: "ne", decode.BLT: "slt", decode.BGE: "sge",
    decode.BLTU: "ult", decode.BGEU: "uge",
}  # fmt: skip
_ZERO_EXTENDED: Final = frozenset({decode.LBU, decode.LHU, decode.LWU})

_METADATA: Final = """
!0 = !{!"branch_weights", i32 2000, i32 1}
!1 = distinct !{!1}
!2 = distinct !{!2, !1}
!3 = distinct !{!3, !1}
!4 = !{!2}
!5 = !{!3}
"""
"""Branch weights of a check that holds; alias scopes of machine memory (4) and of the marks (5)."""

_MEMORY_SCOPE: Final = "!alias.scope !4, !noalias !5"
_MARK_SCOPE: Final = "!alias.scope !5, !noalias !4"
_LIKELY: Final = "!prof !0"


def function_name(entry: int) -> str:
    """Name of the native function that stands for the function at `entry`."""
    return f"f{entry:x}"


class _Writer:
    """Lines of one native function; values are IR operands as text."""

    def __init__(self, function: Function, entries: frozenset[int]) -> None:
        self.function = function
        self.entries = entries
        self.lines: list[str] = []
        self.counter = 0
        used, self.changed = _registers(function)
        self.loaded = sorted(used | set(self.changed))

    # --- text ---------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def fresh(self, prefix: str = "t") -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def value(self, text: str) -> str:
        name = "%" + self.fresh()
        self.line(f"{name} = {text}")
        return name

    def binary(self, operation: str, x: str, y: str | int, width: int = 64) -> str:
        return self.value(f"{operation} i{width} {x}, {y}")

    # --- machine state ------------------------------------------------------------------------

    def register(self, number: int) -> str:
        return "0" if number == 0 else self.value(f"load i64, ptr %x{number}")

    def set_register(self, number: int, value: str) -> None:
        if number != DISCARD:
            self.line(f"store i64 {value}, ptr %x{number}")

    def slot_pointer(self, index: int) -> str:
        return self.value(f"getelementptr i64, ptr %context, i64 {index}")

    def get_slot(self, index: int) -> str:
        return self.value(f"load i64, ptr {self.slot_pointer(index)}")

    def set_slot(self, index: int, value: str | int) -> None:
        self.line(f"store i64 {value}, ptr {self.slot_pointer(index)}")

    def write_back(self, pc: str | int, refund: int) -> None:
        """Everything into the context; `refund` instructions of the block were not retired."""
        for number in self.changed:
            self.set_slot(number, self.value(f"load i64, ptr %x{number}"))
        left = self.value("load i64, ptr %left")
        self.set_slot(slot.LEFT, self.binary("add", left, refund) if refund else left)
        self.set_slot(slot.PC, pc)

    def reload(self) -> None:
        for number in self.loaded:
            self.line(f"store i64 {self.get_slot(number)}, ptr %x{number}")
        self.line(f"store i64 {self.get_slot(slot.LEFT)}, ptr %left")

    def leave(self, pc: str | int, refund: int, status: int) -> None:
        self.write_back(pc, refund)
        self.line(f"ret i64 {status}")

    # --- the function -------------------------------------------------------------------------

    def write(self) -> list[str]:
        self.lines.append(
            f"define internal i64 @{function_name(self.function.entry)}"
            "(ptr noalias nocapture %context) noinline nounwind {"
        )
        self.label("start")
        for number in self.loaded:
            self.line(f"%x{number} = alloca i64")
        self.line("%left = alloca i64")
        address = self.get_slot(slot.MEMORY)
        self.line(f"%memory = inttoptr i64 {address} to ptr")
        address = self.get_slot(slot.WRITTEN)
        self.line(f"%marks = inttoptr i64 {address} to ptr")
        self.reload()
        self.line(f"br label %b{self.function.entry:x}")
        for block in self.function.blocks.values():
            self.block(block)
        self.lines.append("}")
        return self.lines

    def block(self, block: Block) -> None:
        count = len(block.instructions)
        self.label(f"b{block.address:x}")
        left = self.value("load i64, ptr %left")
        allowance = self.function.allowances.get(block.address)
        if allowance is not None:
            enough = self.value(f"icmp sge i64 {left}, {allowance}")
            run, short = self.fresh("run"), self.fresh("short")
            self.line(f"br i1 {enough}, label %{run}, label %{short}, {_LIKELY}")
            self.label(short)
            self.leave(block.address, 0, INTERPRET)
            self.label(run)
        self.line(f"store i64 {self.binary('sub', left, count)}, ptr %left")
        checks = access_groups(block.instructions)
        for index, instruction in enumerate(block.instructions):
            if index in checks:
                self.check(checks[index], block.address + 4 * index, count - index)
            self.instruction(block, index, instruction)
        last = block.instructions[-1]
        if last.operation not in _BLOCK_ENDS:
            self.go_to(block.end)

    def go_to(self, target: int) -> None:
        """End the native block by continuing at a constant address."""
        if target in self.function.blocks:
            self.line(f"br label %b{target:x}")
        elif target in self.entries:
            self.write_back(target, 0)
            self.tail_call(target)
        else:
            self.leave(target, 0, slot.RUNNING)

    def edge(self, target: int) -> tuple[str, list[str]]:
        """Label to branch to for a constant address, and the lines of a stub if one is needed."""
        if target in self.function.blocks:
            return f"b{target:x}", []
        name = self.fresh("edge")
        kept, self.lines = self.lines, []
        self.label(name)
        self.go_to(target)
        stub, self.lines = self.lines, kept
        return name, stub

    # --- memory -------------------------------------------------------------------------------

    def check(self, group: AccessGroup, pc: int, refund: int) -> None:
        """Continue only if every access of the group is plainly allowed."""
        base = self.register(group.base)
        low = self.binary("add", base, group.low)
        high = self.binary("add", base, group.high)
        aligned = self.binary("add", base, group.aligned)
        misaligned = self.binary("and", aligned, group.alignment - 1)
        regions = [_STATE, _SCRATCH] if group.base != 2 else [_SCRATCH, _STATE]
        allowed, rest, stop = self.fresh("ok"), self.fresh("rest"), self.fresh("stop")
        for first, size in regions:
            outside = self.binary(
                "or", self.binary("xor", low, first), self.binary("xor", high, first)
            )
            outside = self.binary("and", outside, -size)
            wrong = self.binary("or", outside, misaligned)
            holds = self.value(f"icmp eq i64 {wrong}, 0")
            other = self.fresh("other")
            self.line(f"br i1 {holds}, label %{allowed}, label %{other}, {_LIKELY}")
            self.label(other)
        self.line(f"br label %{rest}")
        self.label(rest)
        helper = "writable" if group.has_store else "readable"
        holds = self.value(f"call preserve_mostcc i1 @{helper}(i64 {low}, i64 {high})")
        right = self.value(f"icmp eq i64 {misaligned}, 0")
        holds = self.value(f"and i1 {holds}, {right}")
        self.line(f"br i1 {holds}, label %{allowed}, label %{stop}")
        self.label(stop)
        self.leave(pc, refund, INTERPRET)
        self.label(allowed)

    def pointer(self, instruction: Instruction) -> str:
        base = self.value(f"getelementptr i8, ptr %memory, i64 {self.register(instruction.first)}")
        return self.value(f"getelementptr i8, ptr {base}, i64 {instruction.immediate}")

    def load(self, instruction: Instruction) -> None:
        size = decode.ACCESS_BYTES[instruction.operation]
        pointer = self.pointer(instruction)
        value = self.value(f"load i{8 * size}, ptr {pointer}, align {size}, {_MEMORY_SCOPE}")
        if size < 8:
            extend = "zext" if instruction.operation in _ZERO_EXTENDED else "sext"
            value = self.value(f"{extend} i{8 * size} {value} to i64")
        self.set_register(instruction.destination, value)

    def store(self, instruction: Instruction) -> None:
        size = decode.ACCESS_BYTES[instruction.operation]
        pointer = self.pointer(instruction)
        value = self.register(instruction.second)
        if size < 8:
            value = self.value(f"trunc i64 {value} to i{8 * size}")
        self.line(f"store i{8 * size} {value}, ptr {pointer}, align {size}, {_MEMORY_SCOPE}")
        address = self.binary("add", self.register(instruction.first), instruction.immediate)
        leaf = self.binary("lshr", address, LEAF_SHIFT)
        mark = self.value(f"getelementptr i8, ptr %marks, i64 {leaf}")
        self.line(f"store i8 1, ptr {mark}, {_MARK_SCOPE}")

    # --- instructions -------------------------------------------------------------------------

    def instruction(self, block: Block, index: int, instruction: Instruction) -> None:
        operation = instruction.operation
        pc = block.address + 4 * index
        if operation in decode.LOADS:
            self.load(instruction)
        elif operation in decode.STORES:
            self.store(instruction)
        elif operation == decode.AUIPC:
            self.set_register(instruction.destination, str(pc + instruction.immediate))
        elif operation in _CONDITION:
            self.branch(block, instruction)
        elif operation == decode.JAL:
            self.jump(block, instruction)
        elif operation == decode.JALR:
            self.jump_register(block, instruction)
        elif operation == decode.ECALL:
            self.system_call(block)
        elif operation in _HANDED_OVER:
            self.leave(pc, 1, INTERPRET)
        elif operation != decode.NOP:
            x = self.register(instruction.first)
            y = self.register(instruction.second)
            if instruction.immediate:
                y = str(instruction.immediate)
            self.set_register(instruction.destination, self.compute(operation, x, y))

    def compute(self, operation: int, x: str, y: str) -> str:
        if operation in _PLAIN:
            return self.binary(_PLAIN[operation], x, y)
        if operation in _SHIFT:
            return self.binary(_SHIFT[operation], x, self.binary("and", y, 63))
        if operation in _COMPARE:
            bit = self.value(f"icmp {_COMPARE[operation]} i64 {x}, {y}")
            return self.value(f"zext i1 {bit} to i64")
        if operation in _HIGH:
            return self.multiply_high(x, y, *_HIGH[operation])
        if operation in _DIVIDE:
            return self.divide(x, y, *_DIVIDE[operation])
        x, y = self.narrow(x), self.narrow(y)
        if operation in _PLAIN_W:
            return self.widen(self.binary(_PLAIN_W[operation], x, y, 32))
        return self.widen(self.binary(_SHIFT_W[operation], x, self.binary("and", y, 31, 32), 32))

    def narrow(self, value: str) -> str:
        return self.value(f"trunc i64 {value} to i32")

    def widen(self, value: str) -> str:
        return self.value(f"sext i32 {value} to i64")

    def multiply_high(self, x: str, y: str, extend_x: str, extend_y: str) -> str:
        x = self.value(f"{extend_x} i64 {x} to i128")
        y = self.value(f"{extend_y} i64 {y} to i128")
        product = self.binary("mul", x, y, 128)
        return self.value(f"trunc i128 {self.binary('lshr', product, 64, 128)} to i64")

    def divide(self, x: str, y: str, operation: str, width: int) -> str:
        """Division by zero gives all ones (remainder: x); the one overflow wraps."""
        if width == 32:
            x, y = self.narrow(x), self.narrow(y)
        is_quotient = operation.endswith("div")
        is_zero = self.value(f"icmp eq i{width} {y}, 0")
        unsafe, is_minus_one = is_zero, None
        if operation.startswith("s"):
            is_minus_one = self.value(f"icmp eq i{width} {y}, -1")
            unsafe = self.value(f"or i1 {is_zero}, {is_minus_one}")
        safe = self.value(f"select i1 {unsafe}, i{width} 1, i{width} {y}")
        result = self.binary(operation, x, safe, width)
        if is_minus_one is not None:
            other = self.binary("sub", "0", x, width) if is_quotient else "0"
            result = self.value(f"select i1 {is_minus_one}, i{width} {other}, i{width} {result}")
        other = "-1" if is_quotient else x
        result = self.value(f"select i1 {is_zero}, i{width} {other}, i{width} {result}")
        return self.widen(result) if width == 32 else result

    # --- control ------------------------------------------------------------------------------

    def branch(self, block: Block, instruction: Instruction) -> None:
        x, y = self.register(instruction.first), self.register(instruction.second)
        condition = self.value(f"icmp {_CONDITION[instruction.operation]} i64 {x}, {y}")
        taken, taken_stub = self.edge(block.end - 4 + instruction.immediate)
        other, other_stub = self.edge(block.end)
        self.line(f"br i1 {condition}, label %{taken}, label %{other}")
        self.lines += taken_stub + other_stub

    def jump(self, block: Block, instruction: Instruction) -> None:
        target = block.end - 4 + instruction.immediate
        if instruction.destination == DISCARD:
            self.go_to(target)
            return
        self.set_register(instruction.destination, str(block.end))
        self.call(target, block.end)

    def jump_register(self, block: Block, instruction: Instruction) -> None:
        if block.target is not None:
            self.set_register(instruction.destination, str(block.end))
            if instruction.destination == DISCARD:
                self.go_to(block.target)
            else:
                self.call(block.target, block.end)
            return
        base = self.register(instruction.first)
        target = self.binary("and", self.binary("add", base, instruction.immediate), -2)
        offset = self.binary("sub", target, layout.CODE_BASE)
        inside = self.value(f"icmp ult i64 {offset}, {layout.CODE_BYTES}")
        aligned = self.value(f"icmp eq i64 {self.binary('and', target, 3)}, 0")
        good = self.value(f"and i1 {inside}, {aligned}")
        leave, stop = self.fresh("leave"), self.fresh("stop")
        self.line(f"br i1 {good}, label %{leave}, label %{stop}, {_LIKELY}")
        self.label(stop)
        self.leave(block.end - 4, 1, INTERPRET)
        self.label(leave)
        self.set_register(instruction.destination, str(block.end))
        self.leave(target, 0, slot.RUNNING)

    def call(self, target: int, resume: int) -> None:
        """A call whose target is constant; goes on at `resume` if the callee returns there."""
        self.write_back(target, 0)
        if target not in self.entries:
            self.line(f"ret i64 {slot.RUNNING}")
            return
        status = self.nested_call(target)
        done, back, onward = self.fresh("done"), self.fresh("back"), self.fresh("onward")
        fine = self.value(f"icmp eq i64 {status}, {slot.RUNNING}")
        self.line(f"br i1 {fine}, label %{back}, label %{done}, {_LIKELY}")
        self.label(done)
        self.line(f"ret i64 {status}")
        self.label(back)
        expected = self.value(f"icmp eq i64 {self.get_slot(slot.PC)}, {resume}")
        self.line(f"br i1 {expected}, label %{onward}, label %{done}, {_LIKELY}")
        self.label(onward)
        self.reload()
        self.go_to(resume)

    def nested_call(self, target: int) -> str:
        """Status of the callee; at MAXIMUM_DEPTH return to the dispatcher instead."""
        depth = self.get_slot(slot.DEPTH)
        deep = self.value(f"icmp uge i64 {depth}, {MAXIMUM_DEPTH}")
        unwind, enter = self.fresh("unwind"), self.fresh("enter")
        self.line(f"br i1 {deep}, label %{unwind}, label %{enter}")
        self.label(unwind)
        self.line(f"ret i64 {slot.RUNNING}")
        self.label(enter)
        self.set_slot(slot.DEPTH, self.binary("add", depth, 1))
        status = self.value(f"call i64 @{function_name(target)}(ptr %context)")
        self.set_slot(slot.DEPTH, depth)
        return status

    def tail_call(self, target: int) -> None:
        """Continue in another function in place of this one; the context is written back."""
        self.line(f"ret i64 {self.nested_call(target)}")

    def system_call(self, block: Block) -> None:
        self.write_back(block.end - 4, 0)
        address = self.get_slot(slot.SYSTEM_CALL)
        pointer = self.value(f"inttoptr i64 {address} to ptr")
        context = self.value("ptrtoint ptr %context to i64")
        status = self.value(f"call i64 {pointer}(i64 {context})")
        running = self.value(f"icmp eq i64 {status}, {slot.RUNNING}")
        halted = self.value(f"icmp eq i64 {status}, {slot.HALTED}")
        retired = self.value(f"or i1 {running}, {halted}")
        refund = self.value(f"select i1 {retired}, i64 0, i64 1")
        self.set_slot(slot.LEFT, self.binary("add", self.get_slot(slot.LEFT), refund))
        onward, stop = self.fresh("onward"), self.fresh("stop")
        self.line(f"br i1 {running}, label %{onward}, label %{stop}, {_LIKELY}")
        self.label(stop)
        self.line(f"ret i64 {status}")
        self.label(onward)
        self.go_to(block.end)


_STATE: Final = (layout.STATE_BASE, layout.STATE_BYTES)
_SCRATCH: Final = (layout.SCRATCH_BASE, layout.SCRATCH_BYTES)
_HANDED_OVER: Final = frozenset({decode.BRANCH_OUT, decode.JAL_OUT, decode.UNKNOWN, decode.END})
_BLOCK_ENDS: Final = decode.BRANCHES | _HANDED_OVER | {decode.JAL, decode.JALR, decode.ECALL}


def _registers(function: Function) -> tuple[set[int], list[int]]:
    """(registers read, registers written) by a function's own instructions."""
    used: set[int] = set()
    changed: set[int] = set()
    for block in function.blocks.values():
        for instruction in block.instructions:
            used |= {instruction.first, instruction.second}
            changed.add(instruction.destination)
    return used - {0}, sorted(changed - {0, DISCARD})


def _helper(name: str, accesses: str) -> str:
    """`i1 name(low, high)`: whether both addresses lie in one region with one of `accesses`."""
    lines = [f"define internal preserve_mostcc i1 @{name}(i64 %low, i64 %high) noinline {{"]
    result = "false"
    for index, (base, size, access) in enumerate(layout.REGIONS.values()):
        if not set(accesses) & set(access):
            continue
        lines += [
            f"  %a{index} = sub i64 %low, {base}",
            f"  %b{index} = sub i64 %high, {base}",
            f"  %c{index} = icmp ult i64 %a{index}, {size}",
            f"  %d{index} = icmp ult i64 %b{index}, {size}",
            f"  %e{index} = and i1 %c{index}, %d{index}",
            f"  %f{index} = or i1 {result}, %e{index}",
        ]
        result = f"%f{index}"
    return "\n".join([*lines, f"  ret i1 {result}", "}"])


def _dispatcher(entries: Iterable[int]) -> str:
    """`i64 run(context)`: functions and interpreter by turns until the run stops."""
    cases = [f"    i64 {entry}, label %c{entry:x}" for entry in entries]
    calls = [
        f"c{entry:x}:\n  %s{entry:x} = call i64 @{function_name(entry)}(ptr %context)\n"
        f"  br label %after"
        for entry in entries
    ]
    merged = ", ".join(f"[%s{entry:x}, %c{entry:x}]" for entry in entries)
    return f"""
define i64 @run(ptr %context) nounwind {{
start:
  %pc_slot = getelementptr i64, ptr %context, i64 {slot.PC}
  %left_slot = getelementptr i64, ptr %context, i64 {slot.LEFT}
  %depth_slot = getelementptr i64, ptr %context, i64 {slot.DEPTH}
  %interpret_slot = getelementptr i64, ptr %context, i64 {slot.INTERPRET}
  %interpret_address = load i64, ptr %interpret_slot
  %interpret = inttoptr i64 %interpret_address to ptr
  %address = ptrtoint ptr %context to i64
  br label %next
next:
  store i64 0, ptr %depth_slot
  %pc = load i64, ptr %pc_slot
  switch i64 %pc, label %slow [
{chr(10).join(cases)}
  ]
{chr(10).join(calls)}
after:
  %status = phi i64 {merged}
  switch i64 %status, label %stop [
    i64 {slot.RUNNING}, label %next
    i64 {INTERPRET}, label %slow
  ]
stop:
  ret i64 %status
slow:
  %slow_status = call i64 %interpret(i64 %address)
  %left = load i64, ptr %left_slot
  %some_left = icmp sgt i64 %left, 0
  %running = icmp eq i64 %slow_status, {slot.RUNNING}
  %again = and i1 %some_left, %running
  br i1 %again, label %next, label %stop_slow
stop_slow:
  ret i64 %slow_status
}}
"""


def translate(program: Program) -> str:
    """IR of a module whose function `run` takes the address of a context.

    Raises ValueError for a program without a function: there is nothing to translate.
    """
    if not program.functions:
        raise ValueError("The entry point is not in the image; there is nothing to translate.")
    entries = frozenset(program.entries)
    parts = [_helper("readable", "r"), _helper("writable", "w")]
    for function in program.functions:
        parts.append("\n".join(_Writer(function, entries).write()))
    return "\n".join([*parts, _dispatcher(program.entries), _METADATA])
