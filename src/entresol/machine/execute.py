"""Run one data record: by the image, by the native kernel, or by both with proof of equality.

All three take the same input and leave the same STATE, JOURNAL, PARAMS and INPUT.  A run that
ends with an exit code other than 0 may have changed STATE; whoever runs it keeps the state before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout
from entresol.kernel.transition import apply_batch
from entresol.machine.context import UNLIMITED, Halt
from entresol.machine.image import Image
from entresol.machine.leaf_map import LeafMap
from entresol.machine.memory import Memory, difference, difference_in
from entresol.machine.translator import Translator

_COMPARED_REGIONS: Final = ("PARAMS", "JOURNAL", "INPUT", "STATE")
_COMPARED_SCRATCH: Final = (layout.SCRATCH_STACK_TOP, layout.SCRATCH_BASE + layout.SCRATCH_BYTES)
"""SCRATCH but for the machine's stack, which the native run does not have."""


class InputTooLargeError(ValueError):
    """A part of a run's input does not fit its place."""

    def __init__(self, name: str, length: int, maximum: int) -> None:
        super().__init__(f"{length} bytes of {name} do not fit the {maximum} that it has.")


class MachineFaultError(Exception):
    """The image stopped other than by `halt`: a defect of the kernel or of the machine."""

    def __init__(self, halt: Halt) -> None:
        super().__init__(
            f"The image stopped with {halt.reason.name} at {halt.pc:#x} after "
            f"{halt.instructions} instructions; it must end by calling halt."
        )
        self.halt = halt


class DivergenceError(Exception):
    """The native kernel and the image did not do the same."""


@dataclass(frozen=True, slots=True)
class BatchRun:
    """Result of one data record."""

    exit_code: int
    """0 for a valid batch, else an Invalid number."""
    journal: bytes
    """The 512 bytes of the JOURNAL record."""
    instructions: int | None = None
    """Instructions retired; None for a native run."""
    dirty_leaves: npt.NDArray[np.int64] | None = None
    """Ascending numbers of the STATE leaves written; None for a native run."""
    system_calls: Mapping[str, int] | None = None
    """Calls by name; None for a native run."""


def prepare(memory: Memory, params: bytes, data: bytes, inbox_items: bytes) -> None:
    """Clear JOURNAL and SCRATCH and put the input in place; raises InputTooLargeError."""
    parts = (
        ("parameters", params, layout.PARAMS_BASE, layout.PARAMS_BYTES),
        ("batch data", data, layout.BATCH_DATA_BASE, layout.BATCH_DATA_BYTES),
        ("inbox items", inbox_items, layout.INBOX_ITEMS_BASE, layout.INBOX_ITEMS_BYTES),
    )
    for name, content, _, maximum in parts:
        if len(content) > maximum:
            raise InputTooLargeError(name, len(content), maximum)
    for region in ("PARAMS", "INPUT", "JOURNAL", "SCRATCH"):
        memory.clear(region)
    for _, content, address, _ in parts:
        memory.write(address, content)


def run_batch(
    memory: Memory,
    image: Image,
    params: bytes,
    data: bytes,
    inbox_items: bytes,
    limit: int = UNLIMITED,
) -> BatchRun:
    """Run the record in the machine (translated); raises MachineFaultError, InputTooLargeError."""
    prepare(memory, params, data, inbox_items)
    load_image(memory, image)
    written = LeafMap()
    halt = translator_of(image).run(memory, limit, written)
    if halt.exit_code is None:
        raise MachineFaultError(halt)
    return BatchRun(
        exit_code=halt.exit_code,
        journal=memory.read(layout.JOURNAL_BASE, layout.JOURNAL.itemsize),
        instructions=halt.instructions,
        dirty_leaves=written.leaves("STATE"),
        system_calls=halt.system_calls,
    )


def run_batch_native(memory: Memory, params: bytes, data: bytes, inbox_items: bytes) -> BatchRun:
    """Run the record with the native kernel; raises InputTooLargeError."""
    prepare(memory, params, data, inbox_items)
    exit_code = int(apply_batch(memory.base))
    return BatchRun(exit_code, memory.read(layout.JOURNAL_BASE, layout.JOURNAL.itemsize))


def compare(
    memory: Memory, image: Image, params: bytes, data: bytes, inbox_items: bytes
) -> BatchRun:
    """Run the record in the machine on `memory` and natively on a copy; demand equality.

    Compares the status, all of STATE, JOURNAL, PARAMS and INPUT, and SCRATCH but for the stack.
    Raises DivergenceError, MachineFaultError, InputTooLargeError.
    """
    twin = Memory()
    twin.copy_state_from(memory)
    native = run_batch_native(twin, params, data, inbox_items)
    machine = run_batch(memory, image, params, data, inbox_items)
    if native.exit_code != machine.exit_code:
        raise DivergenceError(
            f"The native kernel ended with {native.exit_code}, the image with {machine.exit_code}."
        )
    unequal = difference(memory, twin, _COMPARED_REGIONS)
    unequal += difference_in(memory, twin, *_COMPARED_SCRATCH)
    if unequal:
        addresses = ", ".join(f"{address:#x}" for address in unequal)
        raise DivergenceError(f"Native kernel and image left different bytes at {addresses}.")
    return machine


def load_image(memory: Memory, image: Image) -> None:
    """Make CODE exactly the image."""
    if memory.read(layout.CODE_BASE, len(image.code)) != image.code:
        memory.clear("CODE")
        memory.write(layout.CODE_BASE, image.code)


@lru_cache(maxsize=2)
def translator_of(image: Image) -> Translator:
    """The image's translation, made once per process."""
    return Translator(image)
