"""Plain blocks: the bytes the kernel applies, before a batch compresses them."""

from dataclasses import dataclass

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup.errors import BlockError
from entresol.rollup.message import next_tip
from entresol.rollup.records import decode_record, encode_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block: its number, time, how many inbox items it consumes, and its messages' bytes."""

    number: int
    time_ms: int
    inbox_count: int = 0
    messages: tuple[bytes, ...] = ()

    @property
    def operation_count(self) -> int:
        """Records in the messages, legs and owner records included."""
        return sum(len(message) // 32 - 1 for message in self.messages)


def encode_block(block: Block) -> bytes:
    """BLOCK_HEADER and the messages; raises BlockError when a limit of layout.py is exceeded."""
    body = b"".join(block.messages)
    if len(block.messages) > layout.MAX_MESSAGES_PER_BLOCK:
        raise BlockError(f"a block holds at most {layout.MAX_MESSAGES_PER_BLOCK} messages")
    if layout.BLOCK_HEADER.itemsize + len(body) > layout.MAX_BLOCK_BYTES:
        raise BlockError(f"a block holds at most {layout.MAX_BLOCK_BYTES} bytes")
    header = {
        "number": block.number,
        "time_ms": block.time_ms,
        "inbox_count": block.inbox_count,
        "message_count": len(block.messages),
        "byte_count": len(body),
    }
    return encode_record(layout.BLOCK_HEADER, header, BlockError) + body


def decode_block(data: bytes) -> Block:
    """The block that encodes to exactly `data`; messages are framed, not judged.

    Raises BlockError when lengths, counts or reserved bytes do not match.
    """
    size = layout.BLOCK_HEADER.itemsize
    header = decode_record(layout.BLOCK_HEADER, data[:size], BlockError)
    if header["zero"] or header["byte_count"] != len(data) - size:
        raise BlockError("the block header does not match the block's length")
    messages = []
    position = size
    while position < len(data):
        end = position + 32 * (1 + int.from_bytes(data[position + 4 : position + 6], "little"))
        if end > len(data) or end - position < 64:
            raise BlockError("a message does not end where the block does")
        messages.append(data[position:end])
        position = end
    if len(messages) != header["message_count"]:
        raise BlockError("the block header does not match the number of messages")
    return Block(
        number=header["number"],
        time_ms=header["time_ms"],
        inbox_count=header["inbox_count"],
        messages=tuple(messages),
    )


def messages_digest(links: list[bytes]) -> bytes:
    """Fold of new tips (owner messages: keccak of their bytes), from zero."""
    digest = bytes(32)
    for link in links:
        digest = keccak256(digest + link)
    return digest


def message_link(message: bytes, tip: bytes) -> bytes:
    """What a message adds to its block's digest; `tip` is the lane's tip before it."""
    if message[6] == layout.OWNER_MESSAGE:
        return keccak256(message)
    return next_tip(tip, message)


def header_hash(
    previous: bytes, block: Block, inbox_position: int, inbox_hash: bytes, links: list[bytes]
) -> bytes:
    """Hash of the block's header; inbox position and hash are those after the block."""
    words = (block.number, block.time_ms, inbox_position, block.operation_count)
    return keccak256(
        previous
        + b"".join(word.to_bytes(8, "little") for word in words)
        + inbox_hash
        + messages_digest(links)
    )


def headers_root(hashes: list[bytes]) -> bytes:
    """Fold of a batch's header hashes, from zero; the journal carries it."""
    return messages_digest(hashes)
