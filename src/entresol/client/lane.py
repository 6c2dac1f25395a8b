"""One lane on one connection: messages sent ahead of their answers, and recovery when one fails.

A lane's messages form a hash chain, so a refused message takes all that follow it along.  The
channel then waits until nothing is on its way, asks the node where the lane stands, signs again
what is still wanted and goes on.  After a reconnection the node's tip says exactly which messages
were accepted: those are never sent twice.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from entresol.client.errors import ConnectionLostError, MessageRefusedError
from entresol.client.outcome import Outcome
from entresol.client.signer import LaneSigner, SignedMessage
from entresol.kernel.rejections import Refusal
from entresol.rollup.message import Operation
from entresol.sequencing.outcomes import GatewayRefusal

VALID_FOR_MS: Final = 60_000
"""A message that is not accepted within this time dies; in kernel time."""

MAX_ATTEMPTS: Final = 50
"""Times one message is signed and sent before its refusal is given to the caller."""

RETRY_SECONDS: Final = 0.05
"""Pause before a lane that met a full queue or its rejection limit tries again."""

RETRIED: Final = frozenset(
    {
        GatewayRefusal.QUEUE_FULL,
        GatewayRefusal.PREDECESSOR_REFUSED,
        GatewayRefusal.WRONG_TIP,
        Refusal.WRONG_SEQUENCE,
        Refusal.REJECTION_LIMIT,
        Refusal.BLOCK_FULL,
    }
)
"""Refusals that say nothing against the message itself."""

PAUSED: Final = frozenset({GatewayRefusal.QUEUE_FULL, Refusal.REJECTION_LIMIT})
"""Refusals that go away with time only."""


SendMessage = Callable[[SignedMessage], Awaitable["asyncio.Future[Outcome]"]]
"""Sends one message now; the future gives its outcome, or raises MessageRefusedError or
ConnectionLostError."""

ReadLane = Callable[[int], Awaitable[tuple[bytes, int]]]
"""Asks the node for a lane's tip and sequence."""


@dataclass(slots=True, eq=False)
class _Pending:
    message: SignedMessage
    result: "asyncio.Future[Outcome]"
    attempts: int = 0
    sent_at: float = 0.0
    refused: Refusal | GatewayRefusal | None = None
    lost: bool = False
    on_the_way: bool = False


@dataclass(slots=True)
class LaneCounts:
    """What a channel went through; for reports."""

    messages: int = 0
    resent: int = 0
    refusals: dict[str, int] = field(default_factory=dict)


class LaneChannel:
    """Sends one lane's messages in order; `post` does not wait for answers, `submit` does.

    At most `window` messages are on their way; `post` waits for room, and while the lane recovers.
    """

    def __init__(
        self, signer: LaneSigner, send: SendMessage, read_lane: ReadLane, window: int = 64
    ) -> None:
        self.signer = signer
        self.counts = LaneCounts()
        self._send, self._read_lane = send, read_lane
        self._room = asyncio.Semaphore(window)
        self._order = asyncio.Lock()
        self._pending: deque[_Pending] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._recovery: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._accepted = signer.sequence

    async def submit(self, operations: Sequence[Operation]) -> Outcome:
        """Send one message of 1 to 31 operations and wait for its outcome.

        Raises MessageRefusedError, or ConnectionLostError when the exchange was closed.
        """
        return await (await self.post(operations))

    async def post(self, operations: Sequence[Operation]) -> "asyncio.Future[Outcome]":
        """Send one message and return the future of its outcome."""
        await self._room.acquire()
        result: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        result.add_done_callback(lambda _: self._room.release())
        async with self._order:
            await self._settled()
            if self._failure is not None:
                result.set_exception(self._failure)
                return result
            message = self.signer.extend(operations, _valid_until())
            self.counts.messages += 1
            pending = _Pending(message, result)
            self._pending.append(pending)
            await self._transmit(pending)
        return result

    async def drain(self) -> None:
        """Wait until every message has its outcome."""
        while self._pending:
            await asyncio.wait([pending.result for pending in self._pending])

    def reconnect(self) -> None:
        """Go on over a new connection: messages the node has are done, the others go again."""
        if self._pending:
            self._start_recovery()

    def close(self) -> None:
        """Fail what still waits; nothing can be sent any more."""
        self._failure = ConnectionLostError("The exchange client was closed.")
        if self._recovery is not None:
            self._recovery.cancel()
        for pending in list(self._pending):
            self._finish(pending, self._failure)

    async def _settled(self) -> None:
        while self._recovery is not None:
            await asyncio.wait([self._recovery])

    async def _transmit(self, pending: _Pending) -> None:
        pending.attempts += 1
        pending.refused, pending.lost, pending.on_the_way = None, False, True
        self._idle.clear()
        pending.sent_at = time.perf_counter()
        try:
            answer = await self._send(pending.message)
        except ConnectionLostError:
            pending.lost, pending.on_the_way = True, False
            self._note_idle()
            return
        answer.add_done_callback(lambda done: self._receive(pending, done))

    def _receive(self, pending: _Pending, answer: "asyncio.Future[Outcome]") -> None:
        pending.on_the_way = False
        error = None if answer.cancelled() else answer.exception()
        if answer.cancelled() or isinstance(error, ConnectionLostError):
            pending.lost = True
        elif isinstance(error, MessageRefusedError):
            name = error.reason.name
            self.counts.refusals[name] = self.counts.refusals.get(name, 0) + 1
            pending.refused = error.reason
            self._start_recovery()
        elif error is not None:
            self._finish(pending, error)
        else:
            self._accepted = max(self._accepted, pending.message.sequence)
            self._finish(pending, answer.result(), time.perf_counter() - pending.sent_at)
        self._note_idle()

    def _finish(
        self, pending: _Pending, result: Outcome | BaseException, seconds: float = 0.0
    ) -> None:
        if pending in self._pending:
            self._pending.remove(pending)
        if pending.result.done():
            return
        if isinstance(result, Outcome):
            pending.result.set_result(replace(result, seconds=seconds))
        else:
            pending.result.set_exception(result)

    def _note_idle(self) -> None:
        if not any(pending.on_the_way for pending in self._pending):
            self._idle.set()

    def _start_recovery(self) -> None:
        if self._recovery is None and self._failure is None:
            self._recovery = asyncio.create_task(self._recover(), name="lane recovery")

    async def _recover(self) -> None:
        try:
            while True:
                await self._idle.wait()
                if not any(pending.refused or pending.lost for pending in self._pending):
                    return
                if not await self._resend():
                    return
        except ConnectionLostError:
            return  # reconnect() goes on from here
        finally:
            self._recovery = None

    async def _resend(self) -> bool:
        """Settle or send again all that was refused or lost; False when the connection is gone."""
        tip, sequence = await self._read_lane(self.signer.lane)
        # A tip of this chain at the node, or an answer to a later message, proves acceptance.
        known = {pending.message.tip: pending.message.sequence for pending in self._pending}
        reached = known.get(tip, 0)
        for pending in list(self._pending):
            bound = max(reached, self._accepted) if pending.lost else reached
            if pending.message.sequence <= bound:
                self._finish(pending, Outcome())
        pause = False
        for pending in list(self._pending):
            reason = pending.refused
            if reason is not None and (reason not in RETRIED or pending.attempts >= MAX_ATTEMPTS):
                self._finish(pending, MessageRefusedError(reason))
            pause = pause or reason in PAUSED
        if pause:
            await asyncio.sleep(RETRY_SECONDS)
        waiting = list(self._pending)
        messages = self.signer.resume(
            tip, sequence, [pending.message for pending in waiting], _valid_until()
        )
        for pending, message in zip(waiting, messages, strict=True):
            pending.message = message
            self.counts.resent += 1
            await self._transmit(pending)
        return not any(pending.lost for pending in self._pending)


def _valid_until() -> int:
    return time.time_ns() // 1_000_000 + VALID_FOR_MS
