"""Proofs that L1 pays a withdrawal on: its path to the withdrawals root of a claim."""

from typing import Any

from entresol.crypto.merkle import merkle_proof, merkle_root
from entresol.kernel import layout
from entresol.node.api.errors import NOT_FOUND, ApiError
from entresol.node.api.reads import Settlement
from entresol.node.market.units import from_micro, hexadecimal
from entresol.rollup.withdrawal import Withdrawal
from entresol.sequencing.batch_store import BatchStore


class WithdrawalProver:
    """Proves from the batches this node built; checked against the claim before it is given out."""

    def __init__(
        self, batches: BatchStore, settlement: Settlement | None, domain: bytes, token: bytes
    ) -> None:
        self._batches = batches
        self._settlement = settlement
        self._domain = domain
        self._token = token

    def prove(self, index: int, count: int | None) -> dict[str, Any]:
        """Path of a withdrawal to a claim's root, or to that of the first `count` leaves."""
        claim = None
        if count is None and self._settlement is not None:
            claim = self._settlement.withdrawal_claim(index)
        if claim is not None:
            count = claim[1]
        if count is None or not 0 <= index < count:
            raise ApiError(
                NOT_FOUND,
                "No claim covers this withdrawal yet: wait until its batch is posted and claimed.",
                reason="UNKNOWN_WITHDRAWAL",
            )
        found = self._batches.withdrawals(count)
        token = self._token
        leaves = [
            Withdrawal(
                index=each.index, token=token, recipient=each.recipient, amount=each.amount
            ).leaf(self._domain)
            for each in found
        ]
        root = merkle_root(leaves, layout.WITHDRAWAL_DEPTH) if len(leaves) == count else b""
        if not root or (claim is not None and root != claim[2]):
            raise ApiError(
                NOT_FOUND,
                "This node cannot prove the withdrawal; derive the state from L1 for the proof.",
                reason="UNPROVABLE_WITHDRAWAL",
            )
        wanted = found[index]
        return {
            "index": index,
            "account": wanted.account,
            "recipient": hexadecimal(wanted.recipient),
            "token": hexadecimal(token),
            "amount": from_micro(wanted.amount),
            "amount_micro": wanted.amount,
            "path": [
                hexadecimal(node) for node in merkle_proof(leaves, index, layout.WITHDRAWAL_DEPTH)
            ],
            "root": hexadecimal(root),
            "count": count,
            "claim": hexadecimal(claim[0]) if claim else None,
            "status": claim[3] if claim else "built",
        }
