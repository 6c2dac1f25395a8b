"""The write-ahead journal: every accepted message, in order, on disk before it is acknowledged.

A journal is a folder of segments.  A segment is a 48-byte head (magic, domain, number of its
first frame) and frames; a frame is a 32-byte head and a payload:

    magic u32 | payload length u32 | crc32 u32 | kind u8, zero x 3 | number u64 | committed u64

All little-endian.  `crc32` covers the rest of the head and the payload; `number` counts frames
over the whole journal; `committed` is the number known to be on disk when the frame was written.
That last field tells a torn tail from damage: a frame that cannot be read may be cut off when no
later frame claims it was committed, and is damage to acknowledged data otherwise.
"""

import itertools
import os
import pathlib
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_SEGMENT_MAGIC: Final = b"ENTRJNL1"
_SEGMENT_HEAD: Final = struct.Struct("<8s32sQ")
_FRAME_MAGIC: Final = 0x4A4E5245
_FRAME_MAGIC_BYTES: Final = struct.pack("<I", _FRAME_MAGIC)
_FRAME_START: Final = struct.Struct("<III")
_FRAME_REST: Final = struct.Struct("<BxxxQQ")
_FRAME_HEAD_BYTES: Final = _FRAME_START.size + _FRAME_REST.size

MAX_PAYLOAD_BYTES: Final = 2 << 20
"""No frame is longer: a block opening with every inbox item it may carry is 1 MiB."""

DEFAULT_SEGMENT_BYTES: Final = 64 << 20
DEFAULT_PENDING_BYTES: Final = 32 << 20


class JournalError(Exception):
    """The journal on disk cannot be used; the message says which file and what to do."""


class JournalDamagedError(JournalError):
    """A frame that had been acknowledged cannot be read back."""


class JournalFailedError(JournalError):
    """The disk refused a write; nothing after the last durable frame was acknowledged."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One journal frame as read back."""

    number: int
    kind: int
    payload: bytes


def _segment_path(directory: pathlib.Path, first_number: int) -> pathlib.Path:
    return directory / f"journal-{first_number:020d}.log"


def list_segments(directory: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
    """(number of the first frame, path) of every segment, ascending."""
    found = [(int(path.stem.split("-")[1]), path) for path in directory.glob("journal-*.log")]
    return sorted(found)


def _synchronise_directory(directory: pathlib.Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode_frame(kind: int, number: int, committed: int, payload: bytes) -> bytes:
    rest = _FRAME_REST.pack(kind, number, committed)
    checksum = zlib.crc32(payload, zlib.crc32(rest))
    return _FRAME_START.pack(_FRAME_MAGIC, len(payload), checksum) + rest + payload


def _decode_frame(data: bytes, offset: int) -> tuple[Frame, int, int] | None:
    """(frame, committed, next offset), or None when no whole valid frame starts at `offset`."""
    body = offset + _FRAME_HEAD_BYTES
    if body > len(data):
        return None
    magic, length, checksum = _FRAME_START.unpack_from(data, offset)
    if magic != _FRAME_MAGIC or length > MAX_PAYLOAD_BYTES or body + length > len(data):
        return None
    rest = data[offset + _FRAME_START.size : body]
    payload = data[body : body + length]
    if zlib.crc32(payload, zlib.crc32(rest)) != checksum:
        return None
    kind, number, committed = _FRAME_REST.unpack(rest)
    return Frame(number, kind, payload), committed, body + length


def _claims_committed(data: bytes, offset: int, number: int) -> bool:
    """Whether a readable frame after `offset` says that frame `number` was on disk."""
    position = data.find(_FRAME_MAGIC_BYTES, offset + 1)
    while position >= 0:
        decoded = _decode_frame(data, position)
        if decoded is not None and decoded[1] >= number:
            return True
        position = data.find(_FRAME_MAGIC_BYTES, position + 1)
    return False


def _check_segment_head(head: bytes, path: pathlib.Path, domain: bytes, first: int) -> bool:
    """False when the head is torn; raises when the segment is not this node's."""
    if len(head) < _SEGMENT_HEAD.size:
        return False
    magic, found_domain, found_first = _SEGMENT_HEAD.unpack_from(head)
    if magic != _SEGMENT_MAGIC or found_first != first:
        raise JournalDamagedError(f"{path} does not start like a journal segment; restore it.")
    if found_domain != domain:
        raise JournalError(
            f"{path} belongs to the domain {found_domain.hex()}, this node to {domain.hex()}: "
            "point the node at its own data folder."
        )
    return True


class JournalReader:
    """Reads frames in order; may be kept and asked again as the journal grows."""

    def __init__(self, directory: pathlib.Path, domain: bytes, after: int = 0) -> None:
        self._directory = directory
        self._domain = domain
        self._segment: int | None = None
        self._offset = 0
        self.number = after
        """Number of the last frame that was read."""

    def _find_segment(self) -> tuple[int, pathlib.Path] | None:
        found = None
        for first_number, path in list_segments(self._directory):
            if first_number <= self.number + 1:
                found = (first_number, path)
        return found

    def read(self, through: int | None = None) -> Iterator[Frame]:
        """Frames after the last one read, up to number `through` or the last readable one.

        With `through`, raises JournalDamagedError when a frame up to it cannot be read.
        """
        while through is None or self.number < through:
            segment = self._find_segment()
            before = self.number
            if segment is not None:
                if segment[0] != self._segment:
                    self._segment, self._offset = segment[0], _SEGMENT_HEAD.size
                yield from self._read_one(*segment, through)
            if self.number == before:
                if through is not None:
                    raise JournalDamagedError(
                        f"Frame {self.number + 1} is missing from {self._directory}, although "
                        f"frame {through} is said to be there; restore the folder from a copy."
                    )
                return

    def _read_one(
        self, first_number: int, path: pathlib.Path, through: int | None
    ) -> Iterator[Frame]:
        with path.open("rb") as file:
            head = file.read(_SEGMENT_HEAD.size)
            if not _check_segment_head(head, path, self._domain, first_number):
                return
            file.seek(self._offset)
            data = file.read()
        position, base = 0, self._offset
        while through is None or self.number < through:
            decoded = _decode_frame(data, position)
            if decoded is None:
                return
            frame, _, position = decoded
            if frame.number > self.number + 1:
                raise JournalDamagedError(
                    f"{path} jumps from frame {self.number} to {frame.number}; restore it."
                )
            self._offset = base + position
            if frame.number == self.number + 1:
                self.number = frame.number
                yield frame


def _recover(directory: pathlib.Path, domain: bytes) -> int:
    """Number of the last whole frame, after a torn tail was cut off the last segment."""
    segments = list_segments(directory)
    if not segments:
        return 0
    first_number, path = segments[-1]
    data = path.read_bytes()
    if not _check_segment_head(data, path, domain, first_number):
        path.unlink()
        _synchronise_directory(directory)
        return first_number - 1
    offset, number = _SEGMENT_HEAD.size, first_number - 1
    while (decoded := _decode_frame(data, offset)) is not None:
        if decoded[0].number != number + 1:
            break
        number, offset = decoded[0].number, decoded[2]
    if offset < len(data):
        if _claims_committed(data, offset, number + 1):
            raise JournalDamagedError(
                f"Frame {number + 1} in {path} is damaged although it had been committed; "
                "restore the file from a copy, or derive the state from L1."
            )
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return number


class Journal:
    """Appends frames and tells when they are on disk; one thread writes and synchronises.

    `append` only queues; whatever queued up while the disk was busy goes out in one write and
    one synchronisation (group commit).  `on_durable(number)` and `on_failure(error)` are called
    from the writing thread.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        domain: bytes,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        pending_bytes: int = DEFAULT_PENDING_BYTES,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._domain = domain
        self._segment_bytes = segment_bytes
        self._pending_limit = pending_bytes
        self.last_number = _recover(directory, domain)
        """Number of the last frame appended."""
        self.durable_number = self.last_number
        """Number of the last frame that is on disk."""
        self.commit_count = 0
        self.on_durable: Callable[[int], None] = _ignore
        self.on_failure: Callable[[Exception], None] = _ignore
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._failure: Exception | None = None
        self._closing = False
        self._wake = threading.Condition()
        self._descriptor, self._size = self._open_last_segment()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether callers should refuse new work until the disk has caught up."""
        return self._pending_bytes > self._pending_limit

    def append(self, kind: int, payload: bytes) -> int:
        """Queue one frame and return its number; raises JournalFailedError after a disk error."""
        if self._failure is not None:
            raise JournalFailedError(
                f"The journal in {self._directory} could not be written "
                f"({self._failure}); stop the node, free or repair the disk, start again."
            )
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise JournalError(f"A frame of {len(payload)} bytes exceeds {MAX_PAYLOAD_BYTES}.")
        with self._wake:
            self.last_number += 1
            frame = _encode_frame(kind, self.last_number, self.durable_number, payload)
            self._pending.append(frame)
            self._pending_bytes += len(frame)
            self._wake.notify_all()
            return self.last_number

    def flush(self) -> None:
        """Wait until everything appended so far is on disk."""
        with self._wake:
            target = self.last_number
            self._wake.wait_for(lambda: self.durable_number >= target or self._failure is not None)
        if self._failure is not None and self.durable_number < target:
            raise JournalFailedError(f"The journal could not be written: {self._failure}.")

    def close(self) -> None:
        """Write what is queued and release the file."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def prune(self, before: int) -> int:
        """Delete segments whose every frame is numbered below `before`; returns how many."""
        segments = list_segments(self._directory)
        deleted = 0
        for (_, path), (next_first, _) in itertools.pairwise(segments):
            if next_first > before:
                break
            path.unlink()
            deleted += 1
        return deleted

    def _open_last_segment(self) -> tuple[int, int]:
        segments = list_segments(self._directory)
        if not segments:
            return self._create_segment(self.last_number + 1)
        descriptor = os.open(segments[-1][1], os.O_WRONLY | os.O_APPEND)
        return descriptor, os.fstat(descriptor).st_size

    def _create_segment(self, first_number: int) -> tuple[int, int]:
        path = _segment_path(self._directory, first_number)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        _write_all(descriptor, _SEGMENT_HEAD.pack(_SEGMENT_MAGIC, self._domain, first_number))
        os.fsync(descriptor)
        _synchronise_directory(self._directory)
        return descriptor, _SEGMENT_HEAD.size

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: bool(self._pending) or self._closing)
                frames, self._pending = self._pending, []
                size, self._pending_bytes = self._pending_bytes, 0
                number = self.last_number
            if not frames:
                return
            try:
                self._commit(frames, size, number)
            except OSError as error:
                with self._wake:
                    self._failure = error
                    self._wake.notify_all()
                self.on_failure(error)
                return
            with self._wake:
                self.durable_number = number
                self.commit_count += 1
                self._wake.notify_all()
            self.on_durable(number)

    def _commit(self, frames: list[bytes], size: int, number: int) -> None:
        if self._size >= self._segment_bytes:
            os.close(self._descriptor)
            self._descriptor, self._size = self._create_segment(number - len(frames) + 1)
        _write_all(self._descriptor, b"".join(frames))
        os.fdatasync(self._descriptor)
        self._size += size


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _ignore(_: object) -> None:
    """Nobody listens yet."""
