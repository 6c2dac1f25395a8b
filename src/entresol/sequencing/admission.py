"""Admission: from a message and a signature to the sequencer's queue, or to a refusal.

The gateway applies the kernel's acceptance rule as far as it can be known before sequencing, has
the signature checked in a worker process, and passes messages on in each lane's order.  The
kernel judges again when the message is applied, and the sequencer compares the lane's tip, so a
message whose lane moved meanwhile is refused and never reaches a batch.

Provisional tips belong to a session (one connection): whoever sends rubbish under another
trader's lane number blocks only itself.
"""

import collections
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from entresol.crypto.secp256k1 import expand_signature
from entresol.kernel import layout
from entresol.kernel.rejections import Refusal
from entresol.machine.memory import Memory
from entresol.rollup.errors import MessageError
from entresol.rollup.message import (
    MAX_MESSAGE_BYTES,
    OwnerMessage,
    decode_message,
    lane_tip_digest,
    next_tip,
    owner_digest,
)
from entresol.sequencing.entries import NO_SIGNATURE, SIGNATURE_BYTES
from entresol.sequencing.lane_state import read_lane, read_owner
from entresol.sequencing.outcomes import GatewayRefusal, Refused, Result, ResultCallback
from entresol.sequencing.signatures import SignaturePool

_HEADER: Final = struct.Struct("<IHBBQQ")
_MINIMUM_BYTES: Final = 64


@dataclass(slots=True, eq=False)
class Submission:
    """One message on its way; `lane` is 0 for an owner message."""

    message: bytes
    signature: bytes
    lane: int
    registration: int
    key: bytes
    sequence: int
    previous_tip: bytes
    tip: bytes
    answer: ResultCallback
    verified: bool | None = None
    dropped: bool = False


@dataclass(slots=True, eq=False)
class _Chain:
    """A session's view of one lane while messages of it are on their way."""

    tip: bytes
    sequence: int
    registration: int
    key: bytes
    expires_ms: int
    on_the_way: int = 0
    unverified: collections.deque[Submission] = field(default_factory=collections.deque)


class Session:
    """One connection's provisional lanes; `bad_signatures` lets the server hang up on abuse."""

    def __init__(self) -> None:
        self.chains: dict[int, _Chain] = {}
        self.pending = 0
        self.bad_signatures = 0


class Admission:
    """Judges messages and hands the good ones, signatures checked, to `forward` in lane order."""

    def __init__(
        self,
        *,
        memory: Memory,
        domain: bytes,
        pool: SignaturePool,
        forward: Callable[[Submission], None],
        clock_ms: Callable[[], int],
        pending_limit: int,
        session_limit: int,
        is_overloaded: Callable[[], bool],
    ) -> None:
        self._memory = memory
        self._domain = domain
        self._pool = pool
        self._forward = forward
        self._clock_ms = clock_ms
        self._pending_limit = pending_limit
        self._session_limit = session_limit
        self._is_overloaded = is_overloaded
        self.pending = 0
        """Messages between submission and answer."""
        self.is_stopping = False

    def submit(
        self, session: Session, message: bytes, signature: bytes, answer: ResultCallback
    ) -> None:
        """Judge `message`; `answer` is called exactly once, perhaps before this returns.

        `signature` is 65 bytes (r, s, v) by the lane's key over the EIP-712 digest of the new
        tip; an owner message carries its own and passes b"".
        """
        if self.is_stopping:
            answer(Refused(GatewayRefusal.STOPPING))
        elif (
            self.pending >= self._pending_limit
            or session.pending >= self._session_limit
            or self._is_overloaded()
        ):
            answer(Refused(GatewayRefusal.QUEUE_FULL))
        elif not _is_framed(message):
            answer(Refused(Refusal.BAD_FRAMING))
        elif message[7] != layout.ENCODING_VERSION:
            answer(Refused(Refusal.BAD_VERSION))
        elif message[6] == layout.LANE_MESSAGE:
            self._submit_lane_message(session, message, signature, answer)
        else:
            self._submit_owner_message(session, message, answer)

    def _submit_lane_message(
        self, session: Session, message: bytes, signature: bytes, answer: ResultCallback
    ) -> None:
        lane, _, _, _, valid_until_ms, sequence = _HEADER.unpack_from(message)
        chain = session.chains.get(lane) or self._start_chain(lane)
        if chain is None:
            answer(Refused(Refusal.UNKNOWN_LANE))
            return
        now = self._clock_ms()
        reason = None
        if sequence != chain.sequence + 1:
            reason = Refusal.WRONG_SEQUENCE
        elif valid_until_ms < now:
            reason = Refusal.EXPIRED
        elif chain.expires_ms < now:
            reason = Refusal.KEY_EXPIRED
        elif len(signature) != SIGNATURE_BYTES:
            reason = Refusal.BAD_SIGNATURE
        if reason is not None:
            answer(Refused(reason, chain.tip, chain.sequence))
            return
        tip = next_tip(chain.tip, message)
        submission = Submission(
            message,
            signature,
            lane,
            chain.registration,
            chain.key,
            sequence,
            chain.tip,
            tip,
            answer,
        )
        submission.answer = self._answer_once(session, chain, submission, answer)
        digest = lane_tip_digest(self._domain, tip)
        if not self._pool.submit(
            digest, signature, chain.key, lambda good: self._judge(session, chain, submission, good)
        ):
            answer(Refused(GatewayRefusal.QUEUE_FULL, chain.tip, chain.sequence))
            return
        session.chains[lane] = chain
        chain.tip, chain.sequence = tip, sequence
        chain.on_the_way += 1
        chain.unverified.append(submission)
        session.pending += 1
        self.pending += 1

    def _start_chain(self, lane: int) -> _Chain | None:
        record = read_lane(self._memory, lane)
        if record is None:
            return None
        return _Chain(
            record.tip, record.sequence, record.registration, record.key, record.expires_ms
        )

    def _answer_once(
        self, session: Session, chain: _Chain, submission: Submission, answer: ResultCallback
    ) -> ResultCallback:
        """The final answer also closes the books: counts, followers, and an idle chain.

        After a bad signature the chain steps back, because what came before still stands.  After
        any other refusal it is forgotten: the kernel's state then says where the lane is.
        """

        def finish(result: Result) -> None:
            self.pending -= 1
            session.pending -= 1
            chain.on_the_way -= 1
            is_current = session.chains.get(submission.lane) is chain
            if isinstance(result, Refused) and not submission.dropped:
                _drop_followers(chain)
                if result.reason == Refusal.BAD_SIGNATURE:
                    chain.tip, chain.sequence = submission.previous_tip, submission.sequence - 1
                elif is_current:
                    del session.chains[submission.lane]
                    is_current = False
            if chain.on_the_way == 0 and is_current:
                del session.chains[submission.lane]
            answer(result)

        return finish

    def _judge(self, session: Session, chain: _Chain, submission: Submission, good: bool) -> None:
        submission.verified = good
        while chain.unverified and chain.unverified[0].verified is not None:
            first = chain.unverified.popleft()
            if first.verified:
                self._forward(first)
            else:
                session.bad_signatures += 1
                earlier = first.previous_tip, first.sequence - 1
                first.answer(Refused(Refusal.BAD_SIGNATURE, *earlier))

    def _submit_owner_message(
        self, session: Session, message: bytes, answer: ResultCallback
    ) -> None:
        """An owner message is judged alone: one at a time per account, from its present nonce."""
        try:
            decoded = decode_message(message)
            if not isinstance(decoded, OwnerMessage):
                raise MessageError("not an owner message")
            digest = owner_digest(self._domain, decoded)
        except MessageError:
            answer(Refused(Refusal.BAD_FRAMING))
            return
        owner = read_owner(self._memory, decoded.account)
        if owner is None:
            answer(Refused(Refusal.UNKNOWN_ACCOUNT))
            return
        address, nonce = owner
        signature = expand_signature(decoded.operation.signature)
        reason = None
        if decoded.sequence != nonce + 1:
            reason = Refusal.WRONG_SEQUENCE
        elif decoded.valid_until_ms < self._clock_ms():
            reason = Refusal.EXPIRED
        if reason is not None or signature is None:
            answer(Refused(reason or Refusal.BAD_SIGNATURE, sequence=nonce))
            return
        v, r, s = signature
        submission = Submission(
            message, NO_SIGNATURE, 0, 0, address, decoded.sequence, b"", b"", answer
        )

        def finish(result: Result) -> None:
            self.pending -= 1
            session.pending -= 1
            answer(result)

        def judge(good: bool) -> None:
            if good:
                self._forward(submission)
            else:
                session.bad_signatures += 1
                finish(Refused(Refusal.BAD_SIGNATURE, sequence=nonce))

        submission.answer = finish
        if not self._pool.submit(digest, r + s + bytes([v]), address, judge):
            answer(Refused(GatewayRefusal.QUEUE_FULL, sequence=nonce))
            return
        session.pending += 1
        self.pending += 1


def _is_framed(message: bytes) -> bool:
    """Length, count and kind agree; the kernel checks the records' own framing."""
    if not _MINIMUM_BYTES <= len(message) <= MAX_MESSAGE_BYTES:
        return False
    return len(message) == 32 * (1 + _HEADER.unpack_from(message)[1]) and message[6] in (
        layout.LANE_MESSAGE,
        layout.OWNER_MESSAGE,
    )


def _drop_followers(chain: _Chain) -> None:
    """Refuse what was chained onto a refused message; its signature checks no longer matter."""
    followers = list(chain.unverified)
    chain.unverified.clear()
    for follower in followers:
        follower.dropped = True
        follower.answer(Refused(GatewayRefusal.PREDECESSOR_REFUSED))
