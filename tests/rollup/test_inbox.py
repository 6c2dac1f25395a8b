import pytest

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup import inbox
from entresol.rollup.errors import InboxItemError

ITEM = inbox.InboxItem(
    kind=layout.INBOX_DEPOSIT,
    sender=b"\x01" * 20,
    recipient=b"\x02" * 20,
    subaccount=3,
    amount=4_000_000,
    lane=5,
    l1_block=6,
    l1_time=7,
    position=8,
)


def test_item_bytes_are_pinned_for_the_contract():
    expected = (
        "40000000" + "01" * 20 + "02" * 20 + "03000000" + "00093d0000000000" + "05000000" + "0" * 8
        + "0600000000000000" + "0700000000000000" + "0800000000000000"
    )  # fmt: skip
    assert ITEM.encode().hex() == expected.ljust(256, "0")
    assert inbox.decode_item(ITEM.encode()) == ITEM


def test_every_reserved_byte_must_be_zero():
    data = ITEM.encode()
    for position in (1, 2, 3, 60, 63, 88, 127):
        broken = bytearray(data)
        broken[position] = 1
        with pytest.raises(InboxItemError):
            inbox.decode_item(bytes(broken))
    with pytest.raises(InboxItemError):
        inbox.decode_item(b"\x01" + data[1:])
    with pytest.raises(InboxItemError):
        inbox.decode_item(data[:-1])


def test_chain_starts_at_zero_and_hashes_item_hashes():
    data = ITEM.encode()
    first = keccak256(bytes(32) + keccak256(data))
    assert inbox.hash_items([data]) == first
    assert inbox.hash_items([data, data]) == keccak256(first + keccak256(data))
    assert inbox.hash_items([data], first) == inbox.hash_items([data, data])
