"""Receipts: what the sequencer signs when it accepts a message.

A receipt is EIP-712 typed data under the rollup's domain, so a contract can judge it:

    Receipt(uint64 inboxPosition,bytes32 inboxHash,uint64 blockNumber,uint32 messageIndex,
            uint32 lane,uint64 sequence,bytes32 tip,bytes32 previousHeaderHash)

Two receipts for one (block, message index), a receipt that a finalised header contradicts, and a
finalised lane record with a lower sequence or another tip each convict the sequencer.  A receipt
is void when its inbox hash is not on L1's canonical chain.  For an owner message the lane is 0,
the sequence is the owner's nonce and the tip is keccak256 of the message.
"""

from dataclasses import dataclass
from typing import Final

import coincurve

from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import recover_address, sign_digest

TYPE: Final = (
    "Receipt(uint64 inboxPosition,bytes32 inboxHash,uint64 blockNumber,uint32 messageIndex,"
    "uint32 lane,uint64 sequence,bytes32 tip,bytes32 previousHeaderHash)"
)
_TYPE_HASH: Final = keccak256(TYPE.encode())
_PREFIX: Final = b"\x19\x01"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The sequencer's promise that a message stands at (block, index) with this tip."""

    inbox_position: int
    inbox_hash: bytes
    block: int
    index: int
    lane: int
    sequence: int
    tip: bytes
    previous_header_hash: bytes

    def digest(self, domain: bytes) -> bytes:
        """The EIP-712 digest that the sequencer signs."""
        struct = b"".join(
            (
                _TYPE_HASH,
                self.inbox_position.to_bytes(32, "big"),
                self.inbox_hash,
                self.block.to_bytes(32, "big"),
                self.index.to_bytes(32, "big"),
                self.lane.to_bytes(32, "big"),
                self.sequence.to_bytes(32, "big"),
                self.tip,
                self.previous_header_hash,
            )
        )
        return keccak256(_PREFIX + domain + keccak256(struct))

    def sign(self, domain: bytes, secret: bytes) -> bytes:
        """The sequencer's 65-byte signature (r, s, v)."""
        return sign_digest(secret, self.digest(domain))


class ReceiptSigner:
    """The sequencer's key, made ready once: deriving it again costs more than a signature."""

    def __init__(self, secret: bytes, domain: bytes) -> None:
        self._key = coincurve.PrivateKey(secret)
        self._domain = domain

    def sign(self, receipt: Receipt) -> bytes:
        """The same bytes as `receipt.sign` with the key and the domain."""
        signature = self._key.sign_recoverable(receipt.digest(self._domain), hasher=None)
        return signature[:64] + bytes([27 + signature[64]])


def verify_receipt(receipt: Receipt, signature: bytes, domain: bytes, sequencer: bytes) -> bool:
    """Whether `sequencer` (20-byte address) signed `receipt` under `domain`."""
    return recover_address(receipt.digest(domain), signature) == sequencer
