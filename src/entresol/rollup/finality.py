"""How final a block is: soft-confirmed, safe on L1, or finalized by a claim.

Pure: whoever follows L1 says which data records are there and which claims are final.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from entresol.rollup.errors import RollupDataError


class FinalityError(RollupDataError):
    """Ranges of blocks that no chain can have."""


class BlockStatus(IntEnum):
    """From least to most final; a block's status only rises unless L1 reorganises."""

    UNKNOWN = 0
    """Not sequenced yet."""
    UNSAFE = 1
    """Confirmed by the sequencer's receipt alone."""
    SAFE = 2
    """Derivable from data records on L1's canonical chain."""
    FINALIZED = 3
    """Under a final claim: withdrawals against it are paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStatus:
    """What is known of one data record, in order of index.

    A record that ran to a non-zero exit code has no blocks: `first_block == next_block`.
    """

    first_block: int
    next_block: int
    is_final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Block numbers one past the last block of each status: finalized <= safe <= unsafe."""

    unsafe: int
    safe: int
    finalized: int

    def __post_init__(self) -> None:
        if not 0 <= self.finalized <= self.safe <= self.unsafe:
            raise FinalityError(
                f"heads must ascend: finalized {self.finalized}, safe {self.safe}, "
                f"unsafe {self.unsafe}"
            )

    def status(self, block: int) -> BlockStatus:
        """How final block number `block` is."""
        if block < self.finalized:
            return BlockStatus.FINALIZED
        if block < self.safe:
            return BlockStatus.SAFE
        return BlockStatus.UNSAFE if block < self.unsafe else BlockStatus.UNKNOWN


def compute_heads(first_block: int, next_block: int, records: Iterable[RecordStatus]) -> Heads:
    """Heads of a chain whose first block is `first_block` and next one `next_block`.

    `records` are the data records on L1 from the first on.  A node that derives from L1 may lag
    behind it: the unsafe head is then the safe one.  Raises FinalityError when records leave a
    gap, overlap, or a final one follows one that is not.
    """
    safe = finalized = first_block
    all_final = True
    for index, record in enumerate(records):
        if record.first_block != safe or record.next_block < record.first_block:
            raise FinalityError(
                f"data record {index} holds blocks {record.first_block} to {record.next_block} "
                f"where block {safe} is next"
            )
        if record.is_final and not all_final:
            raise FinalityError(f"data record {index} is final although an earlier one is not")
        all_final = all_final and record.is_final
        safe = record.next_block
        if all_final:
            finalized = safe
    return Heads(unsafe=max(next_block, safe), safe=safe, finalized=finalized)
