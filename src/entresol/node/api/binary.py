"""The compact way to send messages: binary WebSocket frames instead of JSON.

Little-endian.  A request is

    version u8 = 1 | flags u8 (bit 0: receipts wanted) | count u16 | request u32
    then `count` times: a message (its header says how long it is) | signature (65)

and gets exactly one frame back, with one answer per message in the order of the request:

    version u8 = 1 | error u8 | count u16 | request u32
    accepted: 0 u8 | records u8 | flags u16 (bit 0: receipt) | index u32 | block u64 |
              sequence u64 | tip (32) | records x (status i16, slot u16, filled u32) |
              if receipt: inbox position u64, inbox hash (32), previous header hash (32),
              signature (65)
    refused:  1 u8 | 0 u8 | 0 u16 | reason u32 | 0 u64 | sequence u64 | tip (32)

`reason` is a number of kernel/rejections.py (Refusal) or sequencing/outcomes.py.  `error` 1 means
that the frame is malformed and 2 that the connection's rate limit is reached; then `count` is 0
and nothing of the frame was looked at.
"""

import functools
import struct
from collections.abc import Callable
from typing import Any, Final

from entresol.node.api.writes import SignReceipt
from entresol.sequencing.admission import Admission
from entresol.sequencing.entries import SIGNATURE_BYTES
from entresol.sequencing.outcomes import Refused, Result

VERSION: Final = 1
MALFORMED: Final = 1
RATE_LIMITED: Final = 2
MAX_MESSAGES_PER_FRAME: Final = 1024

_HEAD: Final = struct.Struct("<BBHI")
_ACCEPTED: Final = struct.Struct("<BBHIQQ32s")
_RECORD: Final = struct.Struct("<hHI")
_RECEIPT: Final = struct.Struct("<Q32s32s65s")
_WANTS_RECEIPT: Final = 1


class FrameError(Exception):
    """Bytes that are not one whole request frame."""

    def __init__(self, request: int = 0) -> None:
        super().__init__("not one whole request frame")
        self.request = request


def parse_frame(data: bytes) -> tuple[int, bool, list[tuple[bytes, bytes]]]:
    """(request, receipts wanted, (message, signature) pairs); raises FrameError."""
    if len(data) < _HEAD.size:
        raise FrameError
    version, flags, count, request = _HEAD.unpack_from(data)
    if version != VERSION or flags & ~_WANTS_RECEIPT or not 1 <= count <= MAX_MESSAGES_PER_FRAME:
        raise FrameError(request)
    pairs = []
    position = _HEAD.size
    for _ in range(count):
        records = int.from_bytes(data[position + 4 : position + 6], "little")
        end = position + 32 * (1 + records)
        stop = end + SIGNATURE_BYTES
        if stop > len(data):
            raise FrameError(request)
        pairs.append((data[position:end], data[end:stop]))
        position = stop
    if position != len(data):
        raise FrameError(request)
    return request, bool(flags & _WANTS_RECEIPT), pairs


def compose_error(request: int, error: int) -> bytes:
    """The answer to a frame that was not looked at."""
    return _HEAD.pack(VERSION, error, 0, request)


def _encode_result(result: Result, sign: SignReceipt | None) -> bytes:
    if isinstance(result, Refused):
        tip = result.tip or bytes(32)
        return _ACCEPTED.pack(1, 0, 0, int(result.reason), 0, result.sequence, tip)
    receipt = result.receipt
    head = _ACCEPTED.pack(
        0,
        len(result.statuses),
        int(sign is not None),
        receipt.index,
        receipt.block,
        receipt.sequence,
        receipt.tip,
    )
    records = b"".join(map(_RECORD.pack, result.statuses, result.slots, result.filled))
    if sign is None:
        return head + records
    signed = _RECEIPT.pack(
        receipt.inbox_position,
        receipt.inbox_hash,
        receipt.previous_header_hash,
        sign(receipt),
    )
    return head + records + signed


def submit_frame(
    data: bytes,
    session: Any,
    admission: Admission,
    sign_receipt: SignReceipt,
    send: Callable[[bytes], None],
) -> int:
    """Submit every message of a frame; `send` gets the one answer.  Returns how many there were."""
    try:
        request, wants_receipt, pairs = parse_frame(data)
    except FrameError as error:
        send(compose_error(error.request, MALFORMED))
        return 0
    results: list[Result | None] = [None] * len(pairs)
    missing = len(pairs)
    sign = sign_receipt if wants_receipt else None

    def finish(place: int, result: Result) -> None:
        nonlocal missing
        results[place] = result
        missing -= 1
        if missing == 0:
            answers = [_encode_result(each, sign) for each in results if each is not None]
            send(_HEAD.pack(VERSION, 0, len(answers), request) + b"".join(answers))

    for place, (message, signature) in enumerate(pairs):
        admission.submit(session, message, signature, functools.partial(finish, place))
    return len(pairs)


def read_results(data: bytes) -> tuple[int, int, list[tuple[Any, ...]]]:
    """(request, error, answers) of a response frame, for clients.

    An answer is (0, block, index, sequence, tip, records, receipt or None) or
    (1, reason, sequence, tip); records are (status, slot, filled), a receipt is (inbox position,
    inbox hash, previous header hash, signature).
    """
    _, error, count, request = _HEAD.unpack_from(data)
    position = _HEAD.size
    answers: list[tuple[Any, ...]] = []
    for _ in range(count):
        kind, records, flags, index, block, sequence, tip = _ACCEPTED.unpack_from(data, position)
        position += _ACCEPTED.size
        if kind == 1:
            answers.append((1, index, sequence, tip))
            continue
        end = position + records * _RECORD.size
        outcomes = list(_RECORD.iter_unpack(data[position:end]))
        position = end
        receipt = None
        if flags & 1:
            receipt = _RECEIPT.unpack_from(data, position)
            position += _RECEIPT.size
        answers.append((0, block, index, sequence, tip, outcomes, receipt))
    return request, error, answers


def compose_request(
    request: int, messages: list[tuple[bytes, bytes]], with_receipts: bool = True
) -> bytes:
    """A request frame, for clients: (message, 65-byte signature) pairs."""
    head = _HEAD.pack(VERSION, int(with_receipts), len(messages), request)
    return head + b"".join(message + signature for message, signature in messages)
