"""The batch in the making: which blocks are not sealed yet, how large they are, who signed last."""

import collections
from dataclasses import dataclass
from typing import Final

ESTIMATED_RECORD_BYTES: Final = 8
"""Published bytes of a record, on the safe side of the codec's usual 4 to 5."""

ESTIMATED_LANE_BYTES: Final = 80
ESTIMATED_BLOCK_BYTES: Final = 12
ESTIMATED_OWNER_BYTES: Final = 260


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """When a batch is sealed: at the first of these that a closed block reaches."""

    blocks: int
    age_ms: int
    operations: int
    estimated_bytes: int
    inbox_items: int


@dataclass(frozen=True, slots=True)
class LaneSignature:
    """The last signature of one lane's registration, and what it must verify against."""

    block: int
    lane: int
    registration: int
    key: bytes
    tip: bytes
    signature: bytes


@dataclass(slots=True)
class _BlockSize:
    number: int
    time_ms: int
    inbox_items: int
    records: int = 0
    owner_messages: int = 0


class OpenBatch:
    """Accumulates blocks until they are sealed; the same live and in recovery."""

    def __init__(self, number: int, first_block: int) -> None:
        self.number = number
        """Number the next sealed batch will have."""
        self.first_block = first_block
        self._blocks: collections.deque[_BlockSize] = collections.deque()
        self._signatures: dict[tuple[int, int], LaneSignature] = {}

    def open_block(self, number: int, time_ms: int, inbox_items: int) -> None:
        """A block began."""
        self._blocks.append(_BlockSize(number, time_ms, inbox_items))

    def add_lane_message(self, records: int, signature: LaneSignature) -> None:
        """A lane message was applied in the newest block.

        A lane that was revoked and registered again is another chain and needs its own.
        """
        self._blocks[-1].records += records
        self._signatures[signature.lane, signature.registration] = signature

    def add_owner_message(self) -> None:
        """An owner message was applied in the newest block."""
        self._blocks[-1].owner_messages += 1

    def is_due(self, limits: BatchLimits, now_ms: int) -> bool:
        """Whether the blocks so far should be sealed."""
        blocks = self._blocks
        if not blocks:
            return False
        records = sum(block.records for block in blocks)
        return (
            len(blocks) >= limits.blocks
            or now_ms - blocks[0].time_ms >= limits.age_ms
            or records >= limits.operations
            or sum(block.inbox_items for block in blocks) >= limits.inbox_items
            or self._estimate(records) >= limits.estimated_bytes
        )

    def _estimate(self, records: int) -> int:
        owners = sum(block.owner_messages for block in self._blocks)
        return (
            records * ESTIMATED_RECORD_BYTES
            + owners * ESTIMATED_OWNER_BYTES
            + len(self._blocks) * ESTIMATED_BLOCK_BYTES
            + len(self._signatures) * ESTIMATED_LANE_BYTES
        )

    def signatures(self) -> list[LaneSignature]:
        """The last signature of every lane that spoke, to be checked before sealing."""
        return list(self._signatures.values())

    def seal(self, number: int, next_block: int) -> None:
        """Batch `number` took every block before `next_block`."""
        self.number = number + 1
        self.first_block = next_block
        while self._blocks and self._blocks[0].number < next_block:
            self._blocks.popleft()
        self._signatures = {
            chain: last for chain, last in self._signatures.items() if last.block >= next_block
        }
