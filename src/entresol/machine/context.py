"""One run of the machine: registers, program counter and counts, as an array both engines share.

Slots 0-31 are the registers (slot 0 stays zero), slot 32 takes writes to x0, the rest are named
here.  Native code receives the array's address, so a run can change engine at any instruction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout
from entresol.kernel.rejections import Fault
from entresol.machine.leaf_map import LeafMap
from entresol.machine.memory import Memory

A0: Final = 10
A1: Final = 11
A2: Final = 12
A3: Final = 13
A4: Final = 14
A7: Final = 17

PC: Final = 33
LEFT: Final = 34
"""Instructions the run may still retire."""
MEMORY: Final = 35
"""Native address of machine address 0."""
WRITTEN: Final = 36
"""Native address of the marks of written leaves."""
READ: Final = 37
"""Native address of the marks of read leaves, 0 to keep none (interpreter only)."""
CODE: Final = 38
"""Native address of the predecoded instruction table."""
STOPS: Final = 39
"""Native address of one byte per CODE word, or 0: the interpreter stops after a jump there."""
DEPTH: Final = 40
"""Translated calls nested on the host's stack."""
INTERPRET: Final = 41
SYSTEM_CALL: Final = 42
"""Native addresses of the functions that translated code calls."""
KECCAK_CALLS: Final = 43
ECRECOVER_CALLS: Final = 44
RESULT: Final = 48
"""Four slots that hold a system call's result before it is copied to memory."""
SLOTS: Final = 52

RUNNING: Final = 0
"""Status of a run that may go on; Fault numbers are the other statuses, and HALTED."""
HALTED: Final = 64

UNLIMITED: Final = (1 << 62) - 1
"""Step limit that no run reaches."""

_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Halt:
    """Why and where a run stopped.

    `instructions` counts what was retired: the halting `ecall` is, a faulting instruction is not.
    `pc` is the address of the halting or faulting instruction, or of the next one at a step limit.
    """

    reason: Fault
    """Fault.NONE when the program called `halt`."""
    exit_code: int | None
    """The code given to `halt` as an unsigned 64-bit number, None after a fault."""
    instructions: int
    pc: int
    system_calls: Mapping[str, int] = field(default_factory=dict)

    @property
    def halted(self) -> bool:
        """Whether the program ended by calling `halt`."""
        return self.reason == Fault.NONE


class Context:
    """Registers and counts of a run that starts at `entry` with every register zero."""

    def __init__(self, memory: Memory, entry: int, written: LeafMap | None = None) -> None:
        self.slots: npt.NDArray[np.int64] = np.zeros(SLOTS, np.int64)
        self.address: int = self.slots.ctypes.data
        self.memory = memory
        self.written = LeafMap() if written is None else written
        self.status = RUNNING
        self.instructions = 0
        self.table: npt.NDArray[np.int64] | None = None
        self.slots[PC] = entry
        self.slots[MEMORY] = memory.base
        self.slots[WRITTEN] = self.written.base

    @property
    def registers(self) -> list[int]:
        """x0 to x31 as unsigned 64-bit numbers."""
        return [int(value) & _WORD for value in self.slots[:32]]

    def halt(self) -> Halt:
        """The run's state as a Halt; a run that could go on has reason STEP_LIMIT."""
        halted = self.status == HALTED
        reason = Fault.STEP_LIMIT if self.status == RUNNING else self.status
        return Halt(
            reason=Fault.NONE if halted else Fault(reason),
            exit_code=int(self.slots[A0]) & _WORD if halted else None,
            instructions=self.instructions,
            pc=int(self.slots[PC]) & _WORD,
            system_calls={
                "halt": int(halted),
                "keccak256": int(self.slots[KECCAK_CALLS]),
                "ecrecover": int(self.slots[ECRECOVER_CALLS]),
            },
        )


def code_of(memory: Memory) -> bytes:
    """The CODE region without its trailing zeros, in whole words."""
    region = memory.array[layout.CODE_BASE : layout.CODE_BASE + layout.CODE_BYTES]
    used = np.flatnonzero(region)
    length = 0 if len(used) == 0 else int(used[-1]) // 4 * 4 + 4
    return region[:length].tobytes()
