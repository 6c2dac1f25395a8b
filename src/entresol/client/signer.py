"""Builds and signs messages: the state of a lane at the client, and owner operations.

A lane runs ahead of the node: it counts every message it signed as accepted, so messages can
follow each other without waiting.  A refusal stops that; `resume` then takes the node's tip and
sequence and signs what is still wanted again.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from entresol.client.keys import Key
from entresol.crypto.keccak import keccak256
from entresol.crypto.secp256k1 import compact_signature
from entresol.kernel import layout
from entresol.rollup.message import (
    Operation,
    OwnerMessage,
    OwnerOperation,
    encode_message,
    lane_tip_digest,
    owner_digest,
)

_HEADER: Final = struct.Struct("<IHBBQQ8x")
_OPERATION: Final = struct.Struct("<BBHHHIIqII")
"""The two records of a lane message as one pack each; tests hold them to rollup/message.py."""


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """Exact message bytes, the 65-byte signature over the tip after them, and that tip."""

    data: bytes
    signature: bytes
    sequence: int
    tip: bytes
    operations: tuple[Operation, ...] = ()


def pack_operation(operation: Operation) -> bytes:
    """The 32 bytes of one operation, as rollup.message encodes them."""
    return _OPERATION.pack(
        operation.kind,
        operation.flags,
        operation.instrument,
        operation.slot,
        operation.count,
        operation.price,
        operation.quantity,
        operation.value,
        operation.account,
        operation.label,
    )


class LaneSigner:
    """One session key's chain of messages for one account.

    `tip` and `sequence` are those after the last message signed here, accepted or not.
    """

    def __init__(
        self, key: Key, domain: bytes, *, account: int, lane: int, tip: bytes, sequence: int
    ) -> None:
        self.key, self.domain = key, domain
        self.account, self.lane = account, lane
        self.tip, self.sequence = tip, sequence

    def extend(self, operations: Sequence[Operation], valid_until_ms: int) -> SignedMessage:
        """Sign 1 to 31 operations as the next message; the lane's tip and sequence advance."""
        body = b"".join(map(pack_operation, operations))
        return self._sign(body, tuple(operations), valid_until_ms)

    def _sign(
        self, body: bytes, operations: tuple[Operation, ...], valid_until_ms: int
    ) -> SignedMessage:
        self.sequence += 1
        header = _HEADER.pack(
            self.lane,
            len(body) // 32,
            layout.LANE_MESSAGE,
            layout.ENCODING_VERSION,
            valid_until_ms,
            self.sequence,
        )
        data = header + body
        self.tip = keccak256(self.tip + data)
        signature = self.key.sign(lane_tip_digest(self.domain, self.tip))
        return SignedMessage(data, signature, self.sequence, self.tip, operations)

    def resume(
        self,
        tip: bytes,
        sequence: int,
        pending: Sequence[SignedMessage],
        valid_until_ms: int,
    ) -> list[SignedMessage]:
        """Continue from the node's tip and sequence; returns `pending` to be sent again, in order.

        A message that still extends the chain is returned as it is: if the node has it after all,
        the copy is refused as a repetition and never applied twice.  The others are signed again.
        """
        self.tip, self.sequence = tip, sequence
        return [self._continue(message, valid_until_ms) for message in pending]

    def _continue(self, message: SignedMessage, valid_until_ms: int) -> SignedMessage:
        if keccak256(self.tip + message.data) != message.tip:
            return self._sign(message.data[32:], message.operations, valid_until_ms)
        self.tip, self.sequence = message.tip, message.sequence
        return message


def sign_owner_operation(
    owner: Key,
    domain: bytes,
    operation: OwnerOperation,
    *,
    account: int,
    sequence: int,
    valid_until_ms: int,
) -> SignedMessage:
    """Sign one owner operation; `sequence` is the account's owner nonce plus one."""
    message = OwnerMessage(
        account=account, sequence=sequence, valid_until_ms=valid_until_ms, operation=operation
    )
    signature = owner.sign(owner_digest(domain, message))
    signed = replace(operation, signature=compact_signature(signature))
    data = encode_message(replace(message, operation=signed))
    return SignedMessage(data, signature, sequence, keccak256(data))
