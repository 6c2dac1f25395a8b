"""The inbox: what L1 obliges the rollup to consume, in order, as 128-byte items on a hash chain."""

from dataclasses import dataclass
from typing import Final

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup.errors import InboxItemError
from entresol.rollup.records import decode_record, encode_record

EMPTY_INBOX_HASH: Final = bytes(32)
"""Chain value before the first item."""

KINDS: Final = frozenset(
    {
        layout.INBOX_DEPOSIT,
        layout.INBOX_WITHDRAW,
        layout.INBOX_CANCEL_ALL,
        layout.INBOX_REVOKE_LANE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """One deposit or forced operation, fields as in layout.INBOX_ITEM (addresses 20 bytes)."""

    kind: int
    sender: bytes
    recipient: bytes = bytes(20)
    subaccount: int = 0
    amount: int = 0
    lane: int = 0
    l1_block: int = 0
    l1_time: int = 0
    position: int = 0

    def encode(self) -> bytes:
        """The 128 bytes that L1 hashes; raises InboxItemError when a field does not fit."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return encode_record(layout.INBOX_ITEM, values, InboxItemError)


def decode_item(data: bytes) -> InboxItem:
    """The item that encodes to exactly `data`; raises InboxItemError for anything else."""
    values = decode_record(layout.INBOX_ITEM, data, InboxItemError)
    if any(values.pop("zero")) or values.pop("zero_2"):
        raise InboxItemError("a reserved byte of the inbox item is not zero")
    if values["kind"] not in KINDS:
        raise InboxItemError(f"inbox kind {values['kind']} does not exist")
    return InboxItem(**values)


def next_hash(chain: bytes, item: bytes) -> bytes:
    """The chain value after `item` (its 128 bytes)."""
    return keccak256(chain + keccak256(item))


def hash_items(items: list[bytes], chain: bytes = EMPTY_INBOX_HASH) -> bytes:
    """The chain value after all of `items`, starting from `chain`."""
    for item in items:
        chain = next_hash(chain, item)
    return chain
