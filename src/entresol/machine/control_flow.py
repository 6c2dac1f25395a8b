"""Functions and straight-line blocks of an image, found by following it from its entry.

A function begins where a call lands: `jal` that links, or `auipc` and `jalr` that together name a
constant.  Its blocks are what its branches and plain jumps reach before the next function.
Whatever is not found here, such as the target of a computed jump, is left to the interpreter.
"""

from dataclasses import dataclass
from typing import Final

from entresol.kernel import layout
from entresol.machine import decode
from entresol.machine.decode import DISCARD, Instruction

_ENDS: Final = decode.BRANCHES | {
    decode.JAL,
    decode.JALR,
    decode.ECALL,
    decode.BRANCH_OUT,
    decode.JAL_OUT,
    decode.UNKNOWN,
}
"""Operations after which a block ends."""


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that run one after another; only the last may go elsewhere."""

    address: int
    instructions: tuple[Instruction, ...]
    target: int | None
    """Where the last instruction goes (when taken), if it is a constant."""
    is_call: bool

    @property
    def end(self) -> int:
        """Address just past the last instruction."""
        return self.address + 4 * len(self.instructions)


@dataclass(frozen=True, slots=True)
class Function:
    """One translated unit: its entry and its blocks by address."""

    entry: int
    blocks: dict[int, Block]
    allowances: dict[int, int]
    """Blocks at which a run must have that many instructions left, by address.

    They are the entry, the blocks after a call and one block of every loop; the allowance is the
    longest way from there to the next such block.
    """


class Program:
    """Decoded code and the control flow that starts at `entry`."""

    def __init__(self, code: bytes, entry: int) -> None:
        self._instructions = [
            decode.decode(word, layout.CODE_BASE + 4 * index)
            for index, word in enumerate(decode.code_words(code))
        ]
        self._end = layout.CODE_BASE + 4 * len(self._instructions)
        self._scanned: dict[int, Block] = {}
        self.entries = self._find_entries(entry)
        """Addresses of functions, ascending."""
        self.functions = [self._function(address) for address in self.entries]

    def _contains(self, address: int) -> bool:
        return layout.CODE_BASE <= address < self._end and address % 4 == 0

    def _at(self, address: int) -> Instruction:
        return self._instructions[(address - layout.CODE_BASE) // 4]

    def _scan(self, address: int) -> Block:
        """The run of instructions from `address` to the first that ends a block."""
        found = self._scanned.get(address)
        if found is not None:
            return found
        constants: dict[int, int] = {}
        instructions = []
        at = address
        while self._contains(at):
            instruction = self._at(at)
            instructions.append(instruction)
            if instruction.operation in _ENDS:
                break
            _track_constant(constants, instruction, at)
            at += 4
        block = Block(address, tuple(instructions), *_destination(instructions, at, constants))
        self._scanned[address] = block
        return block

    def _find_entries(self, entry: int) -> list[int]:
        entries = {entry} if self._contains(entry) else set()
        pending, seen = list(entries), set(entries)
        while pending:
            block = self._scan(pending.pop())
            if block.is_call and block.target is not None and self._contains(block.target):
                entries.add(block.target)
            for address in (*_successors(block), block.target):
                if address is not None and address not in seen and self._contains(address):
                    seen.add(address)
                    pending.append(address)
        return sorted(entries)

    def _function(self, entry: int) -> Function:
        others = set(self.entries) - {entry}
        leaders, pending = {entry}, [entry]
        while pending:
            block = self._scan(pending.pop())
            for address in _successors(block):
                if address in leaders or address in others or not self._contains(address):
                    continue
                leaders.add(address)
                pending.append(address)
        cuts = leaders | others
        blocks = {at: self._cut(at, cuts) for at in sorted(leaders)}
        return Function(entry, blocks, _allowances(entry, blocks))

    def _cut(self, address: int, leaders: set[int]) -> Block:
        """The block at `address`, ended early where another one starts."""
        block = self._scan(address)
        for index in range(1, len(block.instructions)):
            if address + 4 * index in leaders:
                return Block(address, block.instructions[:index], None, False)
        return block


def _track_constant(constants: dict[int, int], instruction: Instruction, address: int) -> None:
    """Note what `auipc` leaves in its register; any other write forgets it."""
    constants.pop(instruction.destination, None)
    if instruction.operation == decode.AUIPC:
        constants[instruction.destination] = address + instruction.immediate


def _destination(
    instructions: list[Instruction], address: int, constants: dict[int, int]
) -> tuple[int | None, bool]:
    """(constant target or None, whether it is a call) of a block's last instruction."""
    if not instructions:
        return None, False
    last = instructions[-1]
    if last.operation in decode.BRANCHES:
        return address + last.immediate, False
    if last.operation == decode.JAL:
        return address + last.immediate, last.destination != DISCARD
    if last.operation == decode.JALR and last.first in constants:
        target = constants[last.first] + last.immediate & -2
        if decode.is_instruction_address(target):
            return target, True
    return None, last.operation == decode.JALR and last.destination != DISCARD


def _successors(block: Block) -> list[int]:
    """Addresses of the blocks of the same function that may follow."""
    if not block.instructions:
        return []
    last = block.instructions[-1]
    if last.operation in decode.BRANCHES:
        return [] if block.target is None else [block.end, block.target]
    if last.operation == decode.JAL:
        if last.destination == DISCARD:
            return [] if block.target is None else [block.target]
        return [block.end]
    if last.operation == decode.JALR:
        return [block.end] if last.destination != DISCARD else []
    if last.operation in (decode.JAL_OUT, decode.UNKNOWN):
        return []
    return [block.end]


def _allowances(entry: int, blocks: dict[int, Block]) -> dict[int, int]:
    """Longest ways between the blocks that check the step limit."""
    points = {entry}
    points |= {b.end for b in blocks.values() if b.is_call and b.end in blocks}
    order: list[int] = []
    state: dict[int, bool] = {}  # False while its successors are being visited
    stack: list[tuple[int, list[int]]] = []

    def enter(address: int) -> None:
        state[address] = False
        stack.append((address, [at for at in _successors(blocks[address]) if at in blocks]))

    for root in blocks:
        if root in state:
            continue
        enter(root)
        while stack:
            address, following = stack[-1]
            if following:
                successor = following.pop()
                if successor not in state:
                    enter(successor)
                elif not state[successor]:
                    points.add(successor)
                continue
            stack.pop()
            state[address] = True
            order.append(address)
    longest: dict[int, int] = {}
    for address in order:  # successors come first, but for the checking ones
        block = blocks[address]
        ways = [longest[at] for at in _successors(block) if at in blocks and at not in points]
        longest[address] = len(block.instructions) + max(ways, default=0)
    return {address: longest[address] for address in sorted(points)}
