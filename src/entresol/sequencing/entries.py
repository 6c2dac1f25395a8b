"""What the journal's frames say: block opened, message accepted, block closed, batch sealed.

Little-endian, one frame each:

    OPEN     block number u64 | time_ms u64 | inbox items, 128 bytes each
    MESSAGE  signature (65 bytes: r, s, v; zero for an owner message) | message
    CLOSE    block number u64 | operations u64 | header hash (32) | outcome digest u64
    SEAL     batch number u64 | first block u64 | next block u64
"""

import struct
from dataclasses import dataclass
from typing import Final

from entresol.kernel import layout
from entresol.sequencing.journal import Frame, JournalError

OPEN: Final = 1
MESSAGE: Final = 2
CLOSE: Final = 3
SEAL: Final = 4

SIGNATURE_BYTES: Final = 65
NO_SIGNATURE: Final = bytes(SIGNATURE_BYTES)

_OPEN: Final = struct.Struct("<QQ")
_CLOSE: Final = struct.Struct("<QQ32sQ")
_SEAL: Final = struct.Struct("<QQQ")


class EntryError(JournalError):
    """A frame passed its checksum and still is not an entry: another version wrote it."""


@dataclass(frozen=True, slots=True)
class BlockOpened:
    """A block began at `time_ms` and consumed `items` (128 bytes each) of the inbox."""

    number: int
    time_ms: int
    items: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Payload of an OPEN frame."""
        return _OPEN.pack(self.number, self.time_ms) + b"".join(self.items)


@dataclass(frozen=True, slots=True)
class MessageAccepted:
    """A message was applied; `signature` is the lane key's over the tip it led to."""

    signature: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class BlockClosed:
    """A block ended; replay must reach the same header hash and outcome digest."""

    number: int
    operation_count: int
    header_hash: bytes
    outcome_digest: int

    def encode(self) -> bytes:
        """Payload of a CLOSE frame."""
        return _CLOSE.pack(self.number, self.operation_count, self.header_hash, self.outcome_digest)


@dataclass(frozen=True, slots=True)
class BatchSealed:
    """Blocks `first_block` up to, not including, `next_block` are one batch."""

    number: int
    first_block: int
    next_block: int

    def encode(self) -> bytes:
        """Payload of a SEAL frame."""
        return _SEAL.pack(self.number, self.first_block, self.next_block)


Entry = BlockOpened | MessageAccepted | BlockClosed | BatchSealed


def decode_entry(frame: Frame) -> Entry:
    """The entry in a frame; raises EntryError for a kind or length that does not exist."""
    payload = frame.payload
    if frame.kind == MESSAGE and len(payload) > SIGNATURE_BYTES + 32:
        return MessageAccepted(payload[:SIGNATURE_BYTES], payload[SIGNATURE_BYTES:])
    size = layout.INBOX_ITEM_BYTES
    if frame.kind == OPEN and len(payload) >= _OPEN.size and not (len(payload) - _OPEN.size) % size:
        starts = range(_OPEN.size, len(payload), size)
        items = tuple(payload[start : start + size] for start in starts)
        number, time_ms = _OPEN.unpack_from(payload)
        return BlockOpened(number, time_ms, items)
    if frame.kind == CLOSE and len(payload) == _CLOSE.size:
        return BlockClosed(*_CLOSE.unpack(payload))
    if frame.kind == SEAL and len(payload) == _SEAL.size:
        return BatchSealed(*_SEAL.unpack(payload))
    raise EntryError(
        f"Frame {frame.number} (kind {frame.kind}, {len(payload)} bytes) is no journal entry of "
        "this version; start the version that wrote it, or derive the state from L1."
    )
