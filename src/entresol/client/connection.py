"""JSON-RPC 2.0 over one WebSocket: pipelined calls, notifications, clear failures.

A call is answered, refused with the server's numbered error, or fails with ConnectionLostError;
it never hangs on a dead connection.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from entresol.client.errors import ConnectionLostError, RemoteError
from entresol.client.frames import FrameError, request_of

MAX_MESSAGE_BYTES = 1 << 24
"""Longest answer accepted, in bytes."""

MAX_IN_FLIGHT = 4_096
"""Calls waiting for an answer on one connection; more wait for room."""

_encode = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct):
    id: int | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    method: str | None = None
    params: Any = None


_decode = msgspec.json.Decoder(_Answer).decode


class Connection:
    """One WebSocket to a node; made by `open_connection`."""

    def __init__(self, socket: ClientConnection, notify: Callable[[str, Any], None]) -> None:
        self._socket = socket
        self._notify = notify
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._frames: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 0
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._reader = asyncio.create_task(self._read(), name="json-rpc reader")
        self.lost = asyncio.Event()

    async def call(self, method: str, params: Any) -> Any:
        """Send one call and return its result; raises RemoteError or ConnectionLostError."""
        return await (await self.send(method, params))

    async def send(self, method: str, params: Any) -> "asyncio.Future[Any]":
        """Send one call now and return the future of its result, so that calls can be pipelined.

        Calls leave in the order in which send was called.
        """
        if self.lost.is_set():
            raise ConnectionLostError("The connection to the node is closed.")
        await self._room.acquire()
        self._next_id += 1
        number = self._next_id
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        future.add_done_callback(lambda _: self._forget(number))
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            await self._socket.send(_encode(request), text=True)
        except ConnectionClosed as error:
            self._fail(error)
        return future

    async def send_frame(self, compose: Callable[[int], bytes]) -> "asyncio.Future[bytes]":
        """Send a binary frame made for a request number; the future is its answer frame."""
        if self.lost.is_set():
            raise ConnectionLostError("The connection to the node is closed.")
        self._next_id += 1
        number = self._next_id & 0xFFFF_FFFF
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._frames[number] = future
        future.add_done_callback(lambda _: self._frames.pop(number, None))
        try:
            await self._socket.send(compose(number))
        except ConnectionClosed as error:
            self._fail(error)
        return future

    def _forget(self, number: int) -> None:
        if self._waiting.pop(number, None) is not None:
            self._room.release()

    async def close(self) -> None:
        """Close the socket; calls that still wait fail with ConnectionLostError."""
        await self._socket.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        reason: Exception | None = None
        try:
            async for data in self._socket:
                self._receive(data)
        except (ConnectionClosed, msgspec.DecodeError, FrameError) as error:
            reason = error
        finally:
            self._fail(reason)
            await self._socket.close()

    def _receive(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            waiting = self._frames.get(request_of(data))
            if waiting is not None and not waiting.done():
                waiting.set_result(data)
            return
        answer = _decode(data)
        if answer.method is not None:
            params = answer.params or {}
            self._notify(params.get("channel", ""), params.get("data"))
            return
        future = self._waiting.get(answer.id) if answer.id is not None else None
        if future is None or future.done():
            return
        if answer.error is None:
            future.set_result(answer.result)
            return
        error = answer.error
        code, text = error.get("code", 0), error.get("message", "")
        future.set_exception(RemoteError(code, text, error.get("data")))

    def _fail(self, reason: Exception | None) -> None:
        self.lost.set()
        text = "The connection to the node ended" + (f" ({reason})." if reason else ".")
        for future in [*self._waiting.values(), *self._frames.values()]:
            if not future.done():
                future.set_exception(ConnectionLostError(text))


async def open_connection(url: str, notify: Callable[[str, Any], None]) -> Connection:
    """Connect to `ws://…`; raises ConnectionLostError when nobody answers there."""
    try:
        socket = await connect(
            url, compression=None, max_size=MAX_MESSAGE_BYTES, open_timeout=10, write_limit=1 << 20
        )
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        raise ConnectionLostError(
            f"No node answers at {url} ({error}); start one with `entresol up`."
        ) from error
    return Connection(socket, notify)
