import pytest

from entresol.client.errors import MessageRefusedError
from entresol.client.frames import FrameError, compose_request, read_answers, request_of
from entresol.client.outcome import Outcome
from entresol.client.signer import SignedMessage
from entresol.kernel.rejections import Refusal
from entresol.node.api import binary
from entresol.sequencing.outcomes import Accepted, GatewayRefusal, Refused
from entresol.sequencing.receipts import Receipt

HEADER = (5).to_bytes(4, "little") + (1).to_bytes(2, "little") + bytes(26)


def message(sequence: int) -> SignedMessage:
    return SignedMessage(HEADER + bytes(32), bytes([sequence]) * 65, sequence, b"\7" * 32)


RECEIPT = Receipt(3, b"\1" * 32, 9, 4, 5, 1, b"\7" * 32, b"\2" * 32)


@pytest.mark.parametrize("with_receipts", [True, False])
def test_requests_are_what_the_node_reads(with_receipts: bool) -> None:
    messages = [message(1), message(2)]
    request, wanted, pairs = binary.parse_frame(compose_request(77, messages, with_receipts))
    assert (request, wanted) == (77, with_receipts)
    assert pairs == [(m.data, m.signature) for m in messages]


def test_answers_are_what_the_node_sends() -> None:
    signature = b"\3" * 65
    results = [
        Accepted(RECEIPT, [0, 12], [7, 8], [0, 40], None),
        Refused(Refusal.KEY_EXPIRED),
        Refused(GatewayRefusal.QUEUE_FULL),
    ]
    encoded = b"".join(binary._encode_result(result, lambda _: signature) for result in results)
    frame = binary._HEAD.pack(1, 0, 3, 77) + encoded
    assert request_of(frame) == 77
    accepted, expired, full = read_answers(frame, [message(1), message(2), message(3)])
    assert accepted == Outcome((0, 12), (7, 8), (0, 40), RECEIPT, signature)
    assert isinstance(expired, MessageRefusedError)
    assert expired.reason == Refusal.KEY_EXPIRED
    assert isinstance(full, MessageRefusedError)
    assert full.reason == GatewayRefusal.QUEUE_FULL
    with pytest.raises(FrameError, match="too early"):
        read_answers(frame[:-1], [message(1), message(2), message(3)])


def test_the_rate_limit_means_later() -> None:
    frame = binary.compose_error(77, binary.RATE_LIMITED)
    (answer,) = read_answers(frame, [message(1)])
    assert isinstance(answer, MessageRefusedError)
    assert answer.reason == GatewayRefusal.QUEUE_FULL


@pytest.mark.parametrize("frame", [b"", b"\2" + bytes(7), binary.compose_error(1, 1)])
def test_other_frames_are_errors(frame: bytes) -> None:
    with pytest.raises(FrameError):
        request_of(frame)
        read_answers(frame, [message(1)])
