"""What L1 says about this node's batches and withdrawals, as one value that never changes.

The follower's thread makes a new one when L1 has moved; the API reads whichever is newest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entresol.node.market.units import hexadecimal
from entresol.settlement.records import Outcome
from entresol.settlement.view import L1View, PostedClaim, PostedRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPicture:
    """The rollup at one L1 block: records, living claims by record, the newest final claim."""

    block: int = 0
    block_time: int = 0
    digest: bytes = b""
    """Hash of that block."""
    inbox_items: int = 0
    records: tuple[PostedRecord, ...] = ()
    claims: Mapping[int, tuple[PostedClaim, ...]] = field(default_factory=dict)
    """Claims that are neither cancelled nor discarded, by data record."""
    final: Mapping[bytes, PostedClaim] = field(default_factory=dict)
    """Final claims by key, in order."""
    final_key: bytes = b""
    """Key of the newest final claim, or of the genesis."""
    final_outcome: Outcome | None = None
    """What that claim ended with."""

    @classmethod
    def take(cls, view: L1View) -> "ChainPicture":
        """The picture of a mirror as it stands."""
        claims: dict[int, tuple[PostedClaim, ...]] = {}
        for claim in view.claims:
            if not view.is_dead(claim.key):
                claims[claim.record_index] = (*claims.get(claim.record_index, ()), claim)
        found = [view.claim(verdict.key) for verdict in view.finals]
        head = view.head
        return cls(
            block=head.number if head else 0,
            block_time=head.time if head else 0,
            digest=head.digest if head else b"",
            inbox_items=len(view.items),
            records=tuple(view.records),
            claims=claims,
            final={claim.key: claim for claim in found if claim is not None},
            final_key=view.final_head,
            final_outcome=view.outcome(view.final_head),
        )

    @property
    def counts(self) -> tuple[int, int]:
        """Data records on L1, and how many of them have a final claim."""
        final = self.final_outcome
        return len(self.records), final.next_record if final else 0

    def batch_status(self, number: int) -> dict[str, Any]:
        """Where a batch stands on L1, for the API: built, posted, claimed or final."""
        if not 0 <= number < len(self.records):
            return {"status": "built"}
        posted = self.records[number]
        found: dict[str, Any] = {
            "status": "posted",
            "l1_block": posted.block,
            "l1_transaction": hexadecimal(posted.transaction),
            "record": hexadecimal(posted.record.digest),
        }
        claims = self.claims.get(number, ())
        if claims:
            # A final claim has no living rival; of several that live, the first is shown.
            claim = next((each for each in claims if each.key in self.final), claims[0])
            status = "final" if claim.key in self.final else "claimed"
            found |= {
                "status": status,
                "claim": hexadecimal(claim.key),
                "deadline": claim.deadline,
            }
        return found

    def withdrawal_claim(self, index: int) -> tuple[bytes, int, bytes, str] | None:
        """(claim key, withdrawals it covers, root, status) of the first claim that has the leaf.

        A final claim is preferred over one that waits for its window.
        """
        waiting = (claim for claims in self.claims.values() for claim in claims)
        for status, claims in (("final", self.final.values()), ("claimed", waiting)):
            for claim in claims:
                outcome = claim.outcome
                if outcome.withdrawals_count > index:
                    return claim.key, outcome.withdrawals_count, outcome.withdrawals_root, status
        return None
