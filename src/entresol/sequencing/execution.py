"""Runs blocks on a live memory through the kernel, the same way live, in recovery and in replay."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout, transition, views
from entresol.kernel.rejections import Refusal
from entresol.machine.memory import Memory
from entresol.sequencing.entries import (
    BatchSealed,
    BlockClosed,
    BlockOpened,
    Entry,
    MessageAccepted,
)

_MESSAGE_ADDRESS: Final = layout.SCRATCH_BLOCK_BASE + layout.BLOCK_HEADER.itemsize
"""Where a message lies while it is checked and applied: the block buffer, unused live."""

_INBOX_FIRST: Final = layout.PARAMS_BASE + int(layout.PARAMS.fields["inbox_first"][1])  # type: ignore[index]
_RING_MASK: Final = layout.MAX_EVENTS - 1


class ExecutionError(Exception):
    """The kernel refused what the journal or the sequencer says it accepted."""


class Execution:
    """One memory that blocks are applied to, and a cursor over the events they cause."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.header: Any = views.durable(memory.array)["header"]
        """The live header record, by reference: read fields, never write."""
        self._run: Any = memory.view(layout.SCRATCH_RUN_BASE, layout.RUN)
        self._ring = memory.view(layout.SCRATCH_EVENTS, layout.EVENT, layout.MAX_EVENTS)
        self._events_read = int(self._run["event_count"])
        self.events_lost = 0
        """Events that the ring overwrote before they were read."""

    @property
    def next_block(self) -> int:
        """Number of the open block, or of the one that opens next."""
        return int(self.header["next_block"])

    @property
    def record_index(self) -> int:
        """Records applied in the open block so far."""
        return int(self._run["record_index"])

    @property
    def message_bytes(self) -> int:
        """Plain bytes of the messages applied in the open block so far."""
        return int(self._run["byte_count"])

    def open_block(self, time_ms: int, items: tuple[bytes, ...]) -> None:
        """Open the next block; raises ExecutionError when the kernel refuses it."""
        position = int(self.header["inbox_position"])
        window = position.to_bytes(8, "little") + len(items).to_bytes(8, "little")
        self.memory.write(_INBOX_FIRST, window)
        if items:
            self.memory.write(layout.INBOX_ITEMS_BASE, b"".join(items))
        status = transition.open_block(self.memory.base, time_ms, len(items))
        if status != 0:
            raise ExecutionError(
                f"Block {self.next_block} at {time_ms} ms with {len(items)} inbox items from "
                f"position {position} was refused by the kernel (code {status})."
            )

    def place(self, message: bytes) -> None:
        """Put a message where `check` and `apply` read it."""
        self.memory.array[_MESSAGE_ADDRESS : _MESSAGE_ADDRESS + len(message)] = np.frombuffer(
            message, np.uint8
        )

    def check(self) -> int:
        """The acceptance rule alone for the placed message: a Refusal number, 0 accepted."""
        return int(transition.check_message(self.memory.base, _MESSAGE_ADDRESS))

    def apply(self) -> int:
        """Apply the placed message if the kernel accepts it: a Refusal number, 0 accepted."""
        return int(transition.apply_message(self.memory.base, _MESSAGE_ADDRESS))

    def close_block(self) -> BlockClosed:
        """Close the open block and say what it came to."""
        number, operations = self.next_block, self.record_index
        status = transition.close_block(self.memory.base)
        if status != 0:
            raise ExecutionError(f"Block {number} could not be closed (code {status}).")
        return BlockClosed(
            number,
            operations,
            self.header["last_header_hash"].tobytes(),
            int(self.header["outcome_digest"]),
        )

    def read_events(self) -> npt.NDArray[np.void]:
        """Copy of the events since the last call, oldest first, as layout.EVENT."""
        count = int(self._run["event_count"])
        first = self._events_read
        if count < first:
            first = 0
        if count - first > layout.MAX_EVENTS:
            self.events_lost += count - first - layout.MAX_EVENTS
            first = count - layout.MAX_EVENTS
        self._events_read = count
        start, stop = first & _RING_MASK, count & _RING_MASK
        if count == first:
            return self._ring[:0].copy()
        if start < stop:
            return self._ring[start:stop].copy()
        return np.concatenate((self._ring[start:], self._ring[:stop]))

    @property
    def unread_events(self) -> int:
        """Events in the ring that `read_events` has not returned yet."""
        return int(self._run["event_count"]) - self._events_read

    def replay(self, entry: Entry) -> None:
        """Apply one journal entry; raises ExecutionError when the kernel disagrees with it."""
        match entry:
            case BlockOpened(number, time_ms, items):
                if number != self.next_block:
                    raise ExecutionError(
                        f"The journal opens block {number}, the state expects {self.next_block}: "
                        "journal and snapshot do not belong together."
                    )
                self.open_block(time_ms, items)
            case MessageAccepted(_, message):
                self.place(message)
                refusal = self.apply()
                if refusal != 0:
                    raise ExecutionError(
                        f"A journaled message of block {self.next_block} is refused in replay: "
                        f"{Refusal(refusal).name}."
                    )
            case BlockClosed(number):
                if self.close_block() != entry:
                    raise ExecutionError(
                        f"Replay of block {number} came to another header or other outcomes than "
                        "were journaled: the kernel or its compiler changed."
                    )
            case BatchSealed():
                pass
