"""Restart: the newest whole snapshot, then the journal, through the same kernel functions as live.

A block that was open when the process died is closed where it ended: its messages were
acknowledged, so they stand.
"""

import pathlib
from collections.abc import Callable
from dataclasses import dataclass

from entresol.machine.memory import Memory
from entresol.rollup.message import next_tip
from entresol.sequencing import entries, snapshots
from entresol.sequencing.entries import (
    BatchSealed,
    BlockClosed,
    BlockOpened,
    Entry,
    MessageAccepted,
    decode_entry,
)
from entresol.sequencing.execution import Execution
from entresol.sequencing.journal import Journal, JournalReader, list_segments
from entresol.sequencing.lane_state import read_lane
from entresol.sequencing.open_batch import LaneSignature, OpenBatch

SNAPSHOT_FOLDER = "snapshots"
JOURNAL_FOLDER = "journal"

FIRST_BATCH = 0


@dataclass(slots=True)
class Recovered:
    """Everything a sequencer continues from."""

    execution: Execution
    journal: Journal
    batch: OpenBatch
    snapshot_frame: int
    replayed_messages: int
    last_sealed_frame: int
    """Journal frame of the newest SEAL since the snapshot, 0 when there is none."""

    @property
    def inbox(self) -> tuple[int, bytes]:
        """Position in the inbox and value of its hash chain, as the state has them."""
        header = self.execution.header
        return int(header["inbox_position"]), header["inbox_hash"].tobytes()


def _note(batch: OpenBatch, execution: Execution, entry: Entry) -> None:
    """Keep the open batch's books while an entry is replayed (before it is applied)."""
    match entry:
        case BlockOpened(number, time_ms, items):
            batch.open_block(number, time_ms, len(items))
        case MessageAccepted(signature, message):
            lane = int.from_bytes(message[:4], "little")
            record = read_lane(execution.memory, lane)
            if signature == entries.NO_SIGNATURE or record is None:
                batch.add_owner_message()
                return
            last = LaneSignature(
                block=execution.next_block,
                lane=lane,
                registration=record.registration,
                key=record.key,
                tip=next_tip(record.tip, message),
                signature=signature,
            )
            batch.add_lane_message(len(message) // 32 - 1, last)
        case BatchSealed(number, _, next_block):
            batch.seal(number, next_block)
        case BlockClosed():
            pass


def recover(
    directory: pathlib.Path,
    memory: Memory,
    domain: bytes,
    on_entry: Callable[[Execution, Entry], None] = lambda _, __: None,
    through_block: int | None = None,
) -> Recovered:
    """Bring `memory`, which holds genesis, to the last acknowledged message of `directory`.

    `on_entry` sees every entry right after it was applied, so that what is kept outside the
    state (history) can catch up; for its sake a snapshot beyond `through_block` is passed over
    while the journal or an older snapshot reaches further back.  Raises JournalError,
    SnapshotError or ExecutionError when the folder cannot be trusted; nothing is guessed.
    """
    journal = Journal(directory / JOURNAL_FOLDER, domain)
    try:
        segments = list_segments(directory / JOURNAL_FOLDER)
        is_whole = bool(segments) and segments[0][0] == 1
        head = snapshots.load_latest(
            directory / SNAPSHOT_FOLDER, memory, domain, through_block, is_whole
        )
        return _replay(directory, memory, domain, head, journal, on_entry)
    except BaseException:
        journal.close()
        raise


def _replay(
    directory: pathlib.Path,
    memory: Memory,
    domain: bytes,
    head: snapshots.SnapshotHead | None,
    journal: Journal,
    on_entry: Callable[[Execution, Entry], None],
) -> Recovered:
    execution = Execution(memory)
    frame = head.frame if head else 0
    number = head.next_batch if head else FIRST_BATCH
    batch = OpenBatch(number, execution.next_block)
    reader = JournalReader(directory / JOURNAL_FOLDER, domain, after=frame)
    last_sealed, messages, is_open = 0, 0, False
    for read in reader.read(through=journal.last_number):
        entry = decode_entry(read)
        _note(batch, execution, entry)
        execution.replay(entry)
        match entry:
            case BlockOpened():
                is_open = True
            case BlockClosed():
                is_open = False
            case MessageAccepted():
                messages += 1
            case BatchSealed():
                last_sealed = read.number
        on_entry(execution, entry)
    if is_open:
        closed = execution.close_block()
        journal.append(entries.CLOSE, closed.encode())
        journal.flush()
        on_entry(execution, closed)
    return Recovered(execution, journal, batch, frame, messages, last_sealed)
