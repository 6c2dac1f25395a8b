"""Builds batches beside the sequencer: encodes, runs in the machine, compares, keeps the claim.

It reads the same journal, up to the frame it is told is on disk, and replays it on a memory of its
own.  A sealed range of blocks is encoded while it is applied natively; the bytes are then run
through `apply_batch` natively and in the translated image, and the three results must be one:
live header hashes and outcome digests, native image, machine image.
"""

import pathlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from entresol.crypto.secp256k1 import compact_signature
from entresol.kernel import layout, views
from entresol.machine import execute
from entresol.machine.image import Image
from entresol.machine.memory import PAGE_BYTES, Memory, difference
from entresol.machine.state_tree import StateTree
from entresol.rollup.batch_encoder import BatchEncoder
from entresol.rollup.block import Block, encode_block
from entresol.rollup.claim import decode_journal
from entresol.sequencing import snapshots
from entresol.sequencing.batch_store import BatchStore, BuiltBatch
from entresol.sequencing.entries import (
    NO_SIGNATURE,
    BatchSealed,
    BlockClosed,
    BlockOpened,
    MessageAccepted,
    decode_entry,
)
from entresol.sequencing.execution import Execution
from entresol.sequencing.journal import JournalReader
from entresol.sequencing.recovery import FIRST_BATCH, JOURNAL_FOLDER, SNAPSHOT_FOLDER
from entresol.sequencing.withdrawals import FoundWithdrawal, find_withdrawals

_RECORD_BYTES: Final = layout.OPERATION.itemsize
_MAXIMUM_RECORDS: Final = layout.MAX_OPERATIONS_PER_BATCH
_MAXIMUM_INBOX_ITEMS: Final = layout.MAX_INBOX_ITEMS_PER_BATCH
"""More than these and the kernel refuses the batch; a sealed range may exceed them, because the
blocks that pass while one range is sealed all fall to the next."""
_ENCODED_ROOM: Final = 4096
"""How far the estimate may be off before the encoded length is looked at."""


class BatchBuilderError(Exception):
    """A batch could not be built or its runs disagree: nothing may be posted; look at once."""


@dataclass(slots=True)
class _Block:
    """One closed block as journaled."""

    opened: BlockOpened
    messages: list[MessageAccepted] = field(default_factory=list)
    closed: BlockClosed | None = None
    frame: int = 0

    @property
    def records(self) -> int:
        """32-byte records of its messages, legs and owner records included."""
        return sum(len(accepted.message) // _RECORD_BYTES - 1 for accepted in self.messages)

    def plain(self) -> bytes:
        """The bytes the kernel's apply_block takes."""
        messages = tuple(accepted.message for accepted in self.messages)
        opened = self.opened
        return encode_block(
            Block(
                number=opened.number,
                time_ms=opened.time_ms,
                inbox_count=len(opened.items),
                messages=messages,
            )
        )


def lane_signatures(messages: Iterable[MessageAccepted]) -> list[bytes]:
    """Last signature of every lane's registration (64 bytes), by its first message.

    A registration starts at sequence 1, so a lane whose sequence starts again is another one.
    """
    entries: list[bytes] = []
    latest: dict[int, int] = {}
    for accepted in messages:
        if accepted.signature == NO_SIGNATURE:
            continue
        lane = int.from_bytes(accepted.message[:4], "little")
        sequence = int.from_bytes(accepted.message[16:24], "little")
        if lane not in latest or sequence == 1:
            latest[lane] = len(entries)
            entries.append(b"")
        entries[latest[lane]] = accepted.signature
    return [compact_signature(signature) for signature in entries]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderSettings:
    """Limits of one data record, and how often the state is saved."""

    maximum_bytes: int
    bytes_per_blob: int
    batches_per_snapshot: int


class BatchBuilder:
    """Replays the journal of `directory` and builds what is sealed in it; one thread."""

    def __init__(
        self,
        directory: pathlib.Path,
        domain: bytes,
        image: Image,
        build_genesis: Callable[[Memory], None],
        store: BatchStore,
        settings: BuilderSettings,
    ) -> None:
        self._directory = directory
        self._domain = domain
        self._image = image
        self._store = store
        self._settings = settings
        self._memory = Memory()
        self._machine = Memory()
        self._execution = Execution(self._memory)
        self._withdrawals: list[FoundWithdrawal] = []
        self._header: Any = views.durable(self._memory.array)["header"]
        self._tree = StateTree()
        build_genesis(self._memory)
        head = snapshots.load_latest(directory / SNAPSHOT_FOLDER, self._memory, domain)
        self.number = head.next_batch if head else FIRST_BATCH
        """Number of the batch that is built next."""
        self._reader = JournalReader(directory / JOURNAL_FOLDER, domain, head.frame if head else 0)
        self._blocks: list[_Block] = []
        self._open: _Block | None = None
        self.saved_frame = head.frame if head else 0
        """Journal frame that the newest snapshot includes."""
        self._machine.copy_state_from(self._memory)
        self._update_tree()

    def _update_tree(self) -> None:
        self._tree = StateTree()
        pages = self._machine.written_pages("STATE")
        self._tree.update_pages(self._machine.base, pages, PAGE_BYTES)

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """Durable and volatile root of the state after the last batch."""
        return self._tree.durable_root, self._tree.volatile_root

    def advance(self, through: int) -> list[BuiltBatch]:
        """Read the journal through frame `through` and build what was sealed; returns it.

        Batches that an earlier process built are replayed and their roots compared.
        """
        built: list[BuiltBatch] = []
        for frame in self._reader.read(through):
            entry = decode_entry(frame)
            match entry:
                case BlockOpened():
                    self._open = _Block(entry)
                case MessageAccepted():
                    self._current().messages.append(entry)
                case BlockClosed():
                    block = self._current()
                    block.closed, block.frame = entry, frame.number
                    self._blocks.append(block)
                    self._open = None
                case BatchSealed(_, _, next_block):
                    built += self._take(next_block)
        return built

    def _current(self) -> _Block:
        if self._open is None:
            raise BatchBuilderError("The journal has a message or a close outside any block.")
        return self._open

    def _take(self, next_block: int) -> list[BuiltBatch]:
        """Build the blocks before `next_block`, in as many batches as they need."""
        chosen = [block for block in self._blocks if block.opened.number < next_block]
        self._blocks = self._blocks[len(chosen) :]
        built = []
        while chosen:
            known = self._store.batch(self.number)
            if known is not None:
                count = known.next_block - chosen[0].opened.number
                self._replay(chosen[:count], known)
                batch = known
            else:
                batch, count = self._build(chosen)
                built.append(batch)
            chosen = chosen[count:]
            self.number += 1
            if self.number % self._settings.batches_per_snapshot == 0:
                self.save_snapshot()
        return built

    def save_snapshot(self) -> int:
        """Save the state after the last batch; returns the journal frame it includes."""
        last = self._store.batch(self.number - 1)
        if last is None:
            return 0
        head = snapshots.SnapshotHead(self._domain, last.frame, last.next_block, self.number)
        if last.frame > self.saved_frame:
            snapshots.write_snapshot(self._directory / SNAPSHOT_FOLDER, self._machine, head)
            self.saved_frame = last.frame
        return last.frame

    def _start_encoder(self) -> BatchEncoder:
        self._memory.clear("SCRATCH")
        self._execution = Execution(self._memory)
        self._withdrawals = []
        return BatchEncoder(self._memory)

    def _apply(self, encoder: BatchEncoder, block: _Block) -> None:
        """Apply and encode one block and hold it against what the sequencer saw."""
        items = b"".join(block.opened.items)
        position = int(self._header["inbox_position"])
        params = np.zeros((), layout.PARAMS)
        params["inbox_first"], params["inbox_count"] = position, len(block.opened.items)
        self._memory.write(layout.PARAMS_BASE, params.tobytes())
        self._memory.write(layout.INBOX_ITEMS_BASE, items)
        withdrawals = int(self._header["withdrawal_count"])
        encoder.add_block(block.plain())
        if int(self._header["withdrawal_count"]) != withdrawals:
            messages = [accepted.message for accepted in block.messages]
            accounts = views.durable(self._memory.array)["account"]
            self._withdrawals += find_withdrawals(
                block.opened.items, messages, self._execution.read_events(), accounts
            )
        self._execution.read_events()
        closed = block.closed
        if closed is None or (
            self._header["last_header_hash"].tobytes() != closed.header_hash
            or int(self._header["outcome_digest"]) != closed.outcome_digest
        ):
            raise BatchBuilderError(
                f"Block {block.opened.number} came to another header or other outcomes here than "
                "in the sequencer: the two processes run different kernels, or memory is faulty."
            )

    def _encode(self, blocks: list[_Block]) -> tuple[bytes, list[bytes], int]:
        """(data, signatures, blocks taken): as many leading blocks as fit one data record."""
        self._memory.copy_state_from(self._machine)
        encoder = self._start_encoder()
        room = self._settings.maximum_bytes - _ENCODED_ROOM
        taken = 0
        inbox_items = 0
        for block in blocks:
            inbox_items += len(block.opened.items)
            records = encoder.operation_count + block.records
            if taken and (records > _MAXIMUM_RECORDS or inbox_items > _MAXIMUM_INBOX_ITEMS):
                break
            self._apply(encoder, block)
            taken += 1
            if encoder.estimated_bytes > room or taken == layout.MAX_BLOCKS_PER_BATCH:
                break
        accepted = [message for block in blocks[:taken] for message in block.messages]
        signatures = lane_signatures(accepted)
        return encoder.finish(signatures), signatures, taken

    def _build(self, blocks: list[_Block]) -> tuple[BuiltBatch, int]:
        data, signatures, taken = self._encode(blocks)
        while len(data) > self._settings.maximum_bytes:
            if taken == 1:
                raise BatchBuilderError(
                    f"Block {blocks[0].opened.number} alone needs {len(data)} bytes, more than a "
                    f"data record's {self._settings.maximum_bytes}: lower the block interval."
                )
            data, signatures, taken = self._encode(blocks[: taken // 2])
        chosen = blocks[:taken]
        items = [item for block in chosen for item in block.opened.items]
        before = self.roots
        inbox_first = int(views.durable(self._machine.array)["header"]["inbox_position"])
        params = self._params(data, chosen, inbox_first, len(items))
        run = execute.compare(self._machine, self._image, params, data, b"".join(items))
        unequal = difference(self._memory, self._machine, ["STATE"])
        if run.exit_code != 0 or unequal or run.dirty_leaves is None:
            raise BatchBuilderError(
                f"Batch {self.number} ran to exit code {run.exit_code} and differs from the "
                f"sequencer's state at {[hex(address) for address in unequal]}: it is not posted."
            )
        self._tree.update(self._machine.base, run.dirty_leaves)
        journal = decode_journal(run.journal)
        batch = BuiltBatch(
            number=self.number,
            first_block=chosen[0].opened.number,
            next_block=chosen[-1].opened.number + 1,
            frame=chosen[-1].frame,
            data=data,
            inbox_first=inbox_first,
            inbox_position=journal.inbox_position,
            inbox_hash=journal.inbox_hash,
            first_time_ms=journal.first_time_ms,
            last_time_ms=journal.last_time_ms,
            operations=journal.operation_count,
            messages=sum(len(block.messages) for block in chosen),
            lanes=len(signatures),
            raw_bytes=sum(len(m.message) for block in chosen for m in block.messages),
            durable_before=before[0],
            volatile_before=before[1],
            durable_after=self._tree.durable_root,
            volatile_after=self._tree.volatile_root,
            exit_code=run.exit_code,
            journal=run.journal,
            withdrawals=journal.withdrawals_count,
            instructions=run.instructions or 0,
            dirty_leaves=len(run.dirty_leaves),
            system_calls=dict(run.system_calls or {}),
        )
        self._store.append(batch, self._withdrawals)
        return batch, taken

    def _params(
        self, data: bytes, blocks: list[_Block], inbox_first: int, inbox_count: int
    ) -> bytes:
        """The parameters L1 would fix for this data, if it were posted right after its blocks."""
        params = np.zeros((), layout.PARAMS)
        params["domain"] = np.frombuffer(self._domain, "<u8")
        params["data_bytes"] = len(data)
        params["record_index"] = self.number
        params["l1_time"] = -(-blocks[-1].opened.time_ms // 1000)
        params["inbox_first"], params["inbox_count"] = inbox_first, inbox_count
        params["blob_count"] = -(-len(data) // self._settings.bytes_per_blob)
        return params.tobytes()

    def _replay(self, blocks: list[_Block], known: BuiltBatch) -> None:
        """Apply a batch that an earlier process built, and compare the roots it kept."""
        encoder = self._start_encoder()
        for block in blocks:
            self._apply(encoder, block)
        self._machine.copy_state_from(self._memory)
        self._update_tree()
        if self.roots != (known.durable_after, known.volatile_after):
            raise BatchBuilderError(
                f"Replaying batch {known.number} gives other roots than were kept for it: the "
                "journal and the store of batches do not belong together."
            )
