"""Binary frames: many signed messages in one WebSocket frame, one frame of answers back.

Little-endian, laid out as node/api/binary.py says.  Composing and reading are pure.
"""

import struct
from collections.abc import Sequence
from typing import Final

from entresol.client.errors import MessageRefusedError
from entresol.client.outcome import Outcome
from entresol.client.signer import SignedMessage
from entresol.kernel.rejections import Refusal
from entresol.sequencing.outcomes import GatewayRefusal
from entresol.sequencing.receipts import Receipt

VERSION: Final = 1
MAX_MESSAGES: Final = 256
"""Messages the client puts in one frame."""

RATE_LIMITED: Final = 2
_RECEIPTS_WANTED: Final = 1

_HEAD: Final = struct.Struct("<BBHI")
_ANSWER: Final = struct.Struct("<BBHIQQ32s")
_RECORD: Final = struct.Struct("<hHI")
_RECEIPT: Final = struct.Struct("<Q32s32s65s")

Answer = Outcome | MessageRefusedError


class FrameError(Exception):
    """The node sent bytes that are no answer frame, or says that ours was none."""


def refusal_of(number: int) -> Refusal | GatewayRefusal:
    """The named refusal with that number; raises FrameError."""
    for family in (Refusal, GatewayRefusal):
        if number in family.__members__.values():
            return family(number)
    raise FrameError(f"the node refused with an unknown number, {number}")


def compose_request(
    request: int, messages: Sequence[SignedMessage], with_receipts: bool = True
) -> bytes:
    """A request frame of up to MAX_MESSAGES messages."""
    head = _HEAD.pack(VERSION, _RECEIPTS_WANTED * with_receipts, len(messages), request)
    return head + b"".join(message.data + message.signature for message in messages)


def request_of(frame: bytes) -> int:
    """Number of the request that an answer frame belongs to; raises FrameError."""
    if len(frame) < _HEAD.size or frame[0] != VERSION:
        raise FrameError("the node sent bytes that are no answer frame")
    return int(_HEAD.unpack_from(frame)[3])


def read_answers(frame: bytes, messages: Sequence[SignedMessage]) -> list[Answer]:
    """One answer per message of the request, in order; raises FrameError.

    A frame that met the connection's rate limit is answered as if its messages had met a full
    queue, because both mean: the same again, a little later.
    """
    _, error, count, _ = _HEAD.unpack_from(frame)
    if error == RATE_LIMITED:
        return [MessageRefusedError(GatewayRefusal.QUEUE_FULL) for _ in messages]
    if error or count != len(messages):
        raise FrameError(f"the node did not understand a frame (error {error})")
    answers: list[Answer] = []
    position = _HEAD.size
    try:
        for message in messages:
            answer, position = _read_answer(frame, position, message)
            answers.append(answer)
    except struct.error as problem:
        raise FrameError("an answer frame ends too early") from problem
    return answers


def _read_answer(frame: bytes, position: int, message: SignedMessage) -> tuple[Answer, int]:
    kind, records, flags, index, block, sequence, tip = _ANSWER.unpack_from(frame, position)
    position += _ANSWER.size
    if kind:
        return MessageRefusedError(refusal_of(index)), position
    end = position + records * _RECORD.size
    rows = list(_RECORD.iter_unpack(frame[position:end]))
    statuses, slots, filled = zip(*rows, strict=True) if rows else ((), (), ())
    receipt, signature = None, b""
    if flags & _RECEIPTS_WANTED:
        inbox_position, inbox_hash, previous, signature = _RECEIPT.unpack_from(frame, end)
        end += _RECEIPT.size
        lane = int.from_bytes(message.data[:4], "little")
        receipt = Receipt(inbox_position, inbox_hash, block, index, lane, sequence, tip, previous)
    return Outcome(statuses, slots, filled, receipt, signature), end
