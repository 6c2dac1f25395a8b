"""One WebSocket connection: calls in, answers and notifications out, everything bounded."""

import asyncio
import collections
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from entresol.node.api import binary
from entresol.node.api.errors import TOO_MANY_REQUESTS, ApiError
from entresol.node.api.rpc import Dispatcher
from entresol.node.api.writes import SignReceipt
from entresol.node.config import ApiConfig
from entresol.node.feed import Feed
from entresol.sequencing.admission import Admission, Session

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013
GOING_AWAY: Final = 1001

_CLOSE_SECONDS: Final = 2
"""How long the other end may take to receive the reason it is dropped for."""

SLOW_CONSUMER: Final = "slow consumer: read faster or subscribe to less"
BAD_SIGNATURES: Final = "too many bad signatures"


class TokenBucket:
    """A rate with a burst; `take` answers whether there was room."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._level = burst
        self._at = time.monotonic()

    def take(self, amount: float) -> bool:
        """Take `amount` tokens if they are there."""
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._per_second)
        self._at = now
        if self._level < amount:
            return False
        self._level -= amount
        return True


class Caller:
    """Who makes a call: its admission session, and its connection when it has one."""

    def __init__(self, connection: "Connection | None" = None) -> None:
        self.session = Session()
        self.connection = connection


class Connection:
    """Runs one accepted WebSocket until either side ends it."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        dispatcher: Dispatcher,
        admission: Admission,
        sign_receipt: SignReceipt,
        feed: Feed,
        config: ApiConfig,
    ) -> None:
        self._receive = receive
        self._send = send
        self._dispatcher = dispatcher
        self._admission = admission
        self._sign_receipt = sign_receipt
        self._feed = feed
        self._config = config
        self._caller = Caller(self)
        self._bucket = TokenBucket(config.calls_per_second, config.burst_calls)
        self._outgoing: collections.deque[bytes | str] = collections.deque()
        self._outgoing_bytes = 0
        self._wake = asyncio.Event()
        self._ending: tuple[int, str] | None = None
        self._main: asyncio.Task[Any] | None = None
        self.channels: set[str] = set()
        self.end_reason = ""
        """Why the server hung up; empty when the client did."""

    # --- going out -----------------------------------------------------------------------------

    @property
    def is_lagging(self) -> bool:
        """Whether book deltas should wait until the queue is shorter."""
        return self._outgoing_bytes > self._config.lagging_bytes

    def deliver(self, notification: bytes) -> None:
        """Queue a notification; a consumer that is too slow is dropped."""
        self._put(notification.decode())

    def _put(self, data: bytes | str) -> None:
        if self._ending is not None:
            return
        self._outgoing.append(data)
        self._outgoing_bytes += len(data)
        self._wake.set()
        if self._outgoing_bytes > self._config.outgoing_bytes:
            self.end(TRY_AGAIN_LATER, SLOW_CONSUMER)

    def _put_text(self, data: bytes) -> None:
        self._put(data.decode())

    def end(self, code: int, reason: str) -> None:
        """Hang up with a reason; what is queued is not sent any more."""
        if self._ending is None:
            self._ending = (code, reason)
            self.end_reason = reason
            self._outgoing.clear()
            self._wake.set()
            if self._main is not None:
                self._main.cancel()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing:
                data = self._outgoing.popleft()
                self._outgoing_bytes -= len(data)
                key = "text" if isinstance(data, str) else "bytes"
                await self._send({"type": "websocket.send", key: data})

    # --- coming in -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until the connection ends."""
        writer = asyncio.create_task(self._write())
        self._main = asyncio.current_task()
        try:
            await self._read()
        except asyncio.CancelledError:
            if self._ending is None:
                raise
        finally:
            self._main = None
            self._feed.forget(self)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await writer
            await self._close()

    async def _close(self) -> None:
        """Say why, if the other end still takes it, and let go of the socket in any case."""
        if self._ending is None:
            return
        code, reason = self._ending
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:  # it does not read any more, or has gone
            self._abort()
            return
        asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        """Drop the socket with whatever it has not sent.

        Closing would wait for a consumer that does not read, for ever; ASGI has no word for this,
        so it goes through the server's own transport.
        """
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is not None:
                self._take_text(text)
            else:
                self._take_binary(message.get("bytes") or b"")
            if self._caller.session.bad_signatures > self._config.bad_signatures_per_connection:
                self.end(POLICY_VIOLATION, BAD_SIGNATURES)
                return

    def _take_text(self, text: str) -> None:
        try:
            calls: list[bytes] | list[str] = self._dispatcher.split(text) or [text]
        except ApiError as error:
            self._put_text(self._dispatcher.compose_error(error))
            return
        for call in calls:
            if self._bucket.take(1):
                self._dispatcher.handle(self._caller, call, self._put_text)
            else:
                self._put_text(self._dispatcher.refuse(call, too_many_requests()))

    def _take_binary(self, data: bytes) -> None:
        count = int.from_bytes(data[2:4], "little")
        if not self._bucket.take(max(count, 1)):
            request = int.from_bytes(data[4:8], "little")
            self._put(binary.compose_error(request, binary.RATE_LIMITED))
            return
        binary.submit_frame(
            data, self._caller.session, self._admission, self._sign_receipt, self._put
        )


def too_many_requests() -> ApiError:
    """The error for a connection that is over its rate."""
    return ApiError(
        TOO_MANY_REQUESTS,
        "This connection sends more calls than it may: slow down.",
        reason="TOO_MANY_REQUESTS",
    )
