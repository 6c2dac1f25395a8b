import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from entresol.client.connection import Connection, open_connection
from entresol.client.errors import ConnectionLostError, RemoteError


async def answer(socket: ServerConnection) -> None:
    """A JSON-RPC server of four methods, over a real socket."""
    async for data in socket:
        request = json.loads(data)
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        match request["method"]:
            case "echo":
                reply["result"] = request["params"]
            case "refuse":
                reply["error"] = {"code": 10009, "message": "no", "data": {"tip": "00"}}
            case "notify":
                note = {"method": "subscription", "params": {"channel": "a", "data": 5}}
                await socket.send(json.dumps(note))
                reply["result"] = "ok"
            case "hang up":
                await socket.close()
                return
        await socket.send(json.dumps(reply))


@pytest.fixture
async def opened() -> AsyncIterator[tuple[Connection, list[tuple[str, Any]]]]:
    notes: list[tuple[str, Any]] = []
    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = await open_connection(
            f"ws://127.0.0.1:{port}", lambda channel, data: notes.append((channel, data))
        )
        yield connection, notes
        await connection.close()


async def test_calls_are_pipelined_and_answered_each(opened: Any) -> None:
    connection, _ = opened
    futures = [await connection.send("echo", {"n": n}) for n in range(100)]
    assert [await future for future in futures] == [{"n": n} for n in range(100)]


async def test_errors_carry_number_and_data(opened: Any) -> None:
    connection, _ = opened
    with pytest.raises(RemoteError) as caught:
        await connection.call("refuse", {})
    assert (caught.value.code, caught.value.data) == (10009, {"tip": "00"})
    assert await connection.call("echo", 1) == 1


async def test_notifications_reach_the_callback(opened: Any) -> None:
    connection, notes = opened
    assert await connection.call("notify", {}) == "ok"
    assert notes == [("a", 5)]


async def test_a_lost_connection_fails_what_waits_and_what_follows(opened: Any) -> None:
    connection, _ = opened
    waiting = await connection.send("hang up", {})
    with pytest.raises(ConnectionLostError, match="ended"):
        await asyncio.wait_for(waiting, 5)
    assert connection.lost.is_set()
    with pytest.raises(ConnectionLostError, match="closed"):
        await connection.call("echo", 1)


async def test_nobody_there() -> None:
    with pytest.raises(ConnectionLostError, match="entresol up"):
        await open_connection("ws://127.0.0.1:9", lambda *_: None)
