import pytest

from entresol.crypto.keccak import keccak256
from entresol.rollup import block as blocks
from entresol.rollup import message as messages
from entresol.rollup.errors import BlockError

MESSAGE = messages.encode_message(
    messages.LaneMessage(
        lane=1, sequence=1, valid_until_ms=10, operations=(messages.Operation(kind=1),) * 2
    )
)
OWNER = messages.encode_message(
    messages.OwnerMessage(
        account=4, sequence=1, valid_until_ms=10, operation=messages.OwnerOperation(kind=32)
    )
)
BLOCK = blocks.Block(number=5, time_ms=1234, inbox_count=2, messages=(MESSAGE, OWNER, MESSAGE))


def test_round_trip():
    data = blocks.encode_block(BLOCK)
    assert len(data) == 64 + 96 + 224 + 96
    assert blocks.decode_block(data) == BLOCK
    assert BLOCK.operation_count == 2 + 6 + 2
    empty = blocks.Block(number=0, time_ms=1)
    assert blocks.decode_block(blocks.encode_block(empty)) == empty


@pytest.mark.parametrize("position", [20, 24, 28, 40, 68, 69])
def test_a_changed_count_is_refused(position):
    data = bytearray(blocks.encode_block(BLOCK))
    data[position] ^= 1
    with pytest.raises(BlockError):
        blocks.decode_block(bytes(data))


def test_truncation_is_refused():
    data = blocks.encode_block(BLOCK)
    for length in (0, 63, 64, 65, len(data) - 32):
        with pytest.raises(BlockError):
            blocks.decode_block(data[:length])


def test_header_hash_follows_the_architecture():
    tip = keccak256(b"tip")
    links = [blocks.message_link(MESSAGE, tip), blocks.message_link(OWNER, tip)]
    assert links == [keccak256(tip + MESSAGE), keccak256(OWNER)]
    digest = keccak256(keccak256(bytes(32) + links[0]) + links[1])
    assert blocks.messages_digest(links) == digest
    words = b"".join(n.to_bytes(8, "little") for n in (5, 1234, 77, 10))
    expected = keccak256(b"\x01" * 32 + words + b"\x02" * 32 + digest)
    assert blocks.header_hash(b"\x01" * 32, BLOCK, 77, b"\x02" * 32, links) == expected
    assert blocks.headers_root([expected]) == keccak256(bytes(32) + expected)
