"""The machine as native code: an image translated once, then run at a few instructions per cycle.

Registers, counts, faults and written leaves are exactly the interpreter's (translation.py says
how).  Compiled images are kept per content and processor.
"""

import ctypes
import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import llvmlite
import numpy as np
import numpy.typing as npt
from llvmlite import binding

from entresol.kernel import layout
from entresol.machine import artifacts, decode
from entresol.machine.context import (
    CODE,
    INTERPRET,
    LEFT,
    RUNNING,
    STOPS,
    SYSTEM_CALL,
    UNLIMITED,
    Context,
    Halt,
    code_of,
)
from entresol.machine.control_flow import Program
from entresol.machine.interpreter import advance, interpret_native
from entresol.machine.leaf_map import LeafMap
from entresol.machine.memory import Memory
from entresol.machine.system_calls import system_call_native
from entresol.machine.translation import translate


class Translatable(Protocol):
    """What a Translator needs of an image."""

    @property
    def code(self) -> bytes:
        """Bytes of CODE from CODE_BASE on."""

    @property
    def entry(self) -> int:
        """Address of the first instruction."""


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """A program that is no kernel image: what a memory's CODE region holds, and where it starts."""

    code: bytes
    entry: int

    @classmethod
    def in_memory(cls, memory: Memory, entry: int) -> "LoadedProgram":
        """The program loaded in `memory`."""
        return cls(code_of(memory), entry)


class WrongCodeError(ValueError):
    """A memory holds another program than the one that was translated."""

    def __init__(self) -> None:
        super().__init__(
            "The memory's CODE region is not the image that was translated; write image.code at "
            "CODE_BASE, or translate what is there."
        )


class Translator:
    """A translated image; `run` may be called for any number of memories, from any thread.

    `keep` stores the compiled code in the user's cache folder for the next process.
    """

    def __init__(self, image: Translatable, keep: bool = True) -> None:
        self.entry = image.entry
        self._code = image.code.rstrip(b"\0")
        self._program = Program(image.code, image.entry)
        self._table = decode.predecode(image.code + bytes(-len(image.code) % 4))
        self._stops: npt.NDArray[np.uint8] = np.zeros(decode.CODE_WORDS + 1, np.uint8)
        for address in self._program.entries:
            self._stops[(address - layout.CODE_BASE) // 4] = 1
        self._engine: Any = None
        if self._program.functions:
            self._engine = _load(self._compiled(keep))
            address = self._engine.get_function_address("run")
            self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)

    def _compiled(self, keep: bool) -> bytes:
        processor = binding.get_host_cpu_name() + binding.get_host_cpu_features().flatten()
        key = hashlib.sha256(
            f"{llvmlite.__version__} {processor} {self.entry} ".encode() + self._code
        )
        name = f"translation-{key.hexdigest()[:32]}.o"
        compiled = artifacts.load(name) if keep else None
        if compiled is None:
            compiled = _compile(translate(self._program))
            if keep:
                artifacts.keep(name, compiled)
        return compiled

    def run(self, memory: Memory, limit: int = UNLIMITED, written: LeafMap | None = None) -> Halt:
        """Run from the image's entry with all registers zero; at most `limit` instructions."""
        return self.advance(self.start(memory, written), limit)

    def start(self, memory: Memory, written: LeafMap | None = None) -> Context:
        """A run that has not begun; raises WrongCodeError unless `memory` holds the image."""
        if code_of(memory).rstrip(b"\0") != self._code:
            raise WrongCodeError
        return Context(memory, self.entry, written)

    def advance(self, context: Context, limit: int = UNLIMITED) -> Halt:
        """Retire at most `limit` more instructions of a run that `start` made."""
        if self._engine is None:
            return advance(context, limit)
        if context.status != RUNNING:
            return context.halt()
        slots = context.slots
        context.table = self._table
        slots[CODE] = self._table.ctypes.data
        slots[STOPS] = self._stops.ctypes.data
        slots[INTERPRET] = interpret_native.address
        slots[SYSTEM_CALL] = system_call_native.address
        limit = min(limit, UNLIMITED)
        slots[LEFT] = limit
        if limit > 0:
            context.status = self._run(context.address)
        context.instructions += limit - int(slots[LEFT])
        return context.halt()


def _target_machine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=2,
        reloc="pic",
        codemodel="jitdefault",
    )


def _compile(text: str) -> bytes:
    """Object code of the IR.

    The image was optimised when it was built, so a few passes are enough: registers to values,
    then what the values make plain.  LLVM's full pipeline takes ten times as long for nothing.
    """
    machine = _target_machine()
    module = binding.parse_assembly(text)
    module.verify()
    builder = binding.create_pass_builder(
        machine, binding.create_pipeline_tuning_options(speed_level=2)
    )
    passes = binding.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_sccp_pass()
    passes.add_jump_threading_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return bytes(machine.emit_object(module))


def _load(compiled: bytes) -> Any:
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(compiled))
    engine.finalize_object()
    return engine
