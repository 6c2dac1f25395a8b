"""Follows the events of our contracts along the canonical chain, through reorgs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from entresol.settlement.l1 import LOG_RANGE_BLOCKS, BlockId, Contract, Event, L1Client, L1Error

MAX_CHECKPOINTS: Final = 1_024
"""Blocks whose hashes are remembered; a reorg below the oldest starts from the first block."""

ATTEMPTS: Final = 8
"""Reads of one range before giving up on a chain that changes under every read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """One step of a cursor.

    First undo everything from blocks after `keep` (None: nothing to undo), then apply `events`.
    """

    keep: int | None
    events: tuple[Event, ...]
    head: BlockId


class EventCursor:
    """Reads events block range by block range; every range ends at a block whose hash is kept."""

    def __init__(
        self,
        client: L1Client,
        contracts: Sequence[Contract],
        *,
        first_block: int,
        confirmations: int = 0,
    ) -> None:
        self._client = client
        self._contracts = tuple(contracts)
        self._first_block = first_block
        self._confirmations = confirmations
        self._checkpoints: list[BlockId] = []

    @property
    def position(self) -> int:
        """Number of the last block that was read, one below the first before any."""
        return self._checkpoints[-1].number if self._checkpoints else self._first_block - 1

    def advance(self) -> Advance:
        """Read what is new; the caller applies it before the next call.

        Raises L1UnavailableError while the node is away, L1Error when the chain changes under
        every attempt; both leave the cursor where the last returned step put it.
        """
        for _ in range(ATTEMPTS):
            saved = list(self._checkpoints)
            try:
                advance = self._attempt()
            except BaseException:
                self._checkpoints = saved
                raise
            if advance is not None:
                return advance
            self._checkpoints = saved
        raise L1Error("the chain changed while it was read; read again later")

    def _attempt(self) -> Advance | None:
        keep = self._drop_orphans()
        target = self._client.head()
        last = target.number - self._confirmations
        events: list[Event] = []
        while self.position < last:
            first = self.position + 1
            end = min(last, first + LOG_RANGE_BLOCKS - 1)
            before = self._client.block(end)
            found = self._client.events(self._contracts, first, end)
            if before is None or not self._is_canonical(before):
                return None
            if any(e.block == end and e.block_hash != before.digest for e in found):
                return None
            events += found
            self._checkpoints.append(before)
            del self._checkpoints[:-MAX_CHECKPOINTS]
        # A reorg that ended between two ranges leaves an older range from the lost branch.
        if not all(self._is_canonical(block) for block in self._checkpoints[-2:]):
            return None
        head = self._checkpoints[-1] if self._checkpoints else target
        return Advance(keep=keep, events=tuple(events), head=head)

    def _drop_orphans(self) -> int | None:
        """Forget blocks that are no longer in the chain; the last one kept if any was dropped."""
        dropped = False
        while self._checkpoints and not self._is_canonical(self._checkpoints[-1]):
            self._checkpoints.pop()
            dropped = True
        return self.position if dropped else None

    def _is_canonical(self, block: BlockId) -> bool:
        found = self._client.block(block.number)
        return found is not None and found.digest == block.digest
