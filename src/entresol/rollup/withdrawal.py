"""Withdrawals: leaves of the append-only keccak tree that L1 pays out against."""

from dataclasses import dataclass
from typing import Final

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup.errors import WithdrawalError

MAX_WITHDRAWALS: Final = 1 << layout.WITHDRAWAL_DEPTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """An amount of `token` owed to `recipient` (20 bytes each) under leaf `index`."""

    index: int
    token: bytes
    recipient: bytes
    amount: int

    def leaf(self, domain: bytes) -> bytes:
        """keccak256 of domain, index, token, recipient, amount as five 32-byte words."""
        if not 0 <= self.index < MAX_WITHDRAWALS:
            raise WithdrawalError(f"withdrawal index {self.index} is beyond the tree")
        if not 0 <= self.amount < 1 << 64:
            raise WithdrawalError(f"withdrawal amount {self.amount} does not fit 64 bits")
        if len(self.token) != 20 or len(self.recipient) != 20 or len(domain) != 32:
            raise WithdrawalError("token and recipient are 20 bytes, the domain is 32")
        return keccak256(
            domain
            + self.index.to_bytes(32, "big")
            + self.token.rjust(32, b"\0")
            + self.recipient.rjust(32, b"\0")
            + self.amount.to_bytes(32, "big")
        )


def root_of_path(leaf: bytes, index: int, path: list[bytes]) -> bytes:
    """Root that `leaf` at `index` and its siblings, lowest first, lead to."""
    if len(path) != layout.WITHDRAWAL_DEPTH or not 0 <= index < MAX_WITHDRAWALS:
        raise WithdrawalError(f"a proof has {layout.WITHDRAWAL_DEPTH} siblings")
    node = leaf
    for level, sibling in enumerate(path):
        node = keccak256(sibling + node if index >> level & 1 else node + sibling)
    return node


def verify_withdrawal(
    root: bytes, domain: bytes, withdrawal: Withdrawal, path: list[bytes]
) -> bool:
    """True when `withdrawal` is in the tree with this root, exactly as the bridge checks it."""
    return root_of_path(withdrawal.leaf(domain), withdrawal.index, path) == root
