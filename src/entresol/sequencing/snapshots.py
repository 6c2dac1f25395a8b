"""Snapshots of the state image, so that a restart replays minutes of journal and not months.

A snapshot is one file, written under another name and renamed when it is on disk:

    magic (8) | domain (32) | frame u64 | next block u64 | next batch u64 | pages u64 | packed u64
    page numbers, u32 each, relative to STATE_BASE
    pages, compressed in chunks: length u32 | zlib stream of up to CHUNK_PAGES pages
    blake2b-256 of everything before it

`frame` is the journal frame it includes; snapshots are taken where a batch ends.
"""

import hashlib
import os
import pathlib
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from entresol.kernel import layout
from entresol.machine.memory import PAGE_BYTES, Memory

_MAGIC: Final = b"ENTRSNP1"
_HEAD: Final = struct.Struct("<8s32sQQQQQ")
_LENGTH: Final = struct.Struct("<I")
_CHECKSUM_BYTES: Final = 32
CHUNK_PAGES: Final = 1024
KEPT_SNAPSHOTS: Final = 2
"""Older ones are deleted; two, so that a damaged newest one costs time and not the state."""


class SnapshotError(Exception):
    """A snapshot file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """What a snapshot contains: the state after journal frame `frame`."""

    domain: bytes
    frame: int
    next_block: int
    next_batch: int


def _path(directory: pathlib.Path, frame: int) -> pathlib.Path:
    return directory / f"snapshot-{frame:020d}.bin"


def list_snapshots(directory: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
    """(frame, path) of every finished snapshot file, ascending."""
    found = directory.glob("snapshot-*.bin")
    return sorted((int(path.stem.split("-")[1]), path) for path in found)


def write_snapshot(
    directory: pathlib.Path, memory: Memory, head: SnapshotHead, level: int = 1
) -> pathlib.Path:
    """Write the STATE of `memory`; `level` is zlib's, 0 stores the pages as they are."""
    directory.mkdir(parents=True, exist_ok=True)
    pages = memory.written_pages("STATE")
    numbers = ((pages - layout.STATE_BASE) // PAGE_BYTES).astype("<u4")
    digest = hashlib.blake2b(digest_size=_CHECKSUM_BYTES)
    path = _path(directory, head.frame)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:

        def put(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        put(
            _HEAD.pack(
                _MAGIC, head.domain, head.frame, head.next_block, head.next_batch, len(pages), level
            )
        )
        put(numbers.tobytes())
        by_page = memory.array.reshape(-1, PAGE_BYTES)
        for start in range(0, len(pages), CHUNK_PAGES):
            chunk = by_page[pages[start : start + CHUNK_PAGES] // PAGE_BYTES].tobytes()
            packed = zlib.compress(chunk, level)
            put(_LENGTH.pack(len(packed)) + packed)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    for _, old in list_snapshots(directory)[:-KEPT_SNAPSHOTS]:
        old.unlink()
    return path


def read_head(path: pathlib.Path) -> SnapshotHead:
    """The head of a snapshot whose checksum holds; raises SnapshotError."""
    size = path.stat().st_size
    if size < _HEAD.size + _CHECKSUM_BYTES:
        raise SnapshotError(f"{path} is cut short.")
    digest = hashlib.blake2b(digest_size=_CHECKSUM_BYTES)
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        digest.update(head)
        left = size - _HEAD.size - _CHECKSUM_BYTES
        while left:
            block = file.read(min(left, 1 << 20))
            if not block:
                raise SnapshotError(f"{path} changed while it was read.")
            digest.update(block)
            left -= len(block)
        checksum = file.read()
    if checksum != digest.digest():
        raise SnapshotError(f"{path} does not match its checksum.")
    magic, domain, frame, next_block, next_batch, _, _ = _HEAD.unpack(head)
    if magic != _MAGIC:
        raise SnapshotError(f"{path} is not a snapshot of this version.")
    return SnapshotHead(domain, frame, next_block, next_batch)


def load_snapshot(path: pathlib.Path, memory: Memory) -> SnapshotHead:
    """Make the STATE of `memory` the snapshot's; raises SnapshotError and then changes nothing."""
    head = read_head(path)
    with path.open("rb") as file:
        count = _HEAD.unpack(file.read(_HEAD.size))[5]
        numbers = np.frombuffer(file.read(4 * count), "<u4").astype(np.int64)
        memory.clear("STATE")
        first = layout.STATE_BASE // PAGE_BYTES
        by_page = memory.array.reshape(-1, PAGE_BYTES)
        for start in range(0, count, CHUNK_PAGES):
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            chunk = np.frombuffer(zlib.decompress(file.read(length)), np.uint8)
            chosen = numbers[start : start + CHUNK_PAGES] + first
            by_page[chosen] = chunk.reshape(-1, PAGE_BYTES)
    return head


def load_latest(
    directory: pathlib.Path,
    memory: Memory,
    domain: bytes,
    through_block: int | None = None,
    or_none: bool = False,
) -> SnapshotHead | None:
    """Load the newest snapshot that is whole and of this domain; None when there is none.

    With `through_block` it is the newest whose next block is not later, if there is one; if there
    is not, `or_none` says whether to load none at all rather than the oldest.
    """
    chosen: pathlib.Path | None = None
    for _, path in reversed(list_snapshots(directory)):
        try:
            head = read_head(path)
        except SnapshotError:
            continue
        if head.domain != domain:
            raise SnapshotError(
                f"{path} belongs to the domain {head.domain.hex()}, this node to {domain.hex()}: "
                "point the node at its own data folder."
            )
        if through_block is None or head.next_block <= through_block:
            return load_snapshot(path, memory)
        chosen = path
    return None if chosen is None or or_none else load_snapshot(chosen, memory)
