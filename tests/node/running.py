"""A node on loopback for tests: in this process, or in one that can be killed."""

import asyncio
import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import structlog
import websockets

from entresol.node.config import AdmissionConfig, ApiConfig, NodeConfig
from entresol.node.node import Node, run_until_stopped
from entresol.sequencing.open_batch import BatchLimits

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "sequencing"))
import venue


def configuration(directory: pathlib.Path, **changes: Any) -> NodeConfig:
    config = NodeConfig(
        data_directory=directory / "data",
        genesis=venue.GENESIS,
        sequencer_secret=venue.SEQUENCER.secret,
        inbox_file=directory / "inbox",
        api=ApiConfig(port=0),
        build_batches=False,
        block_interval_ms=50,
    )
    return replace(config, **changes)


class Client:
    """The least a client can be: calls by number, notifications in a list."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.waiting: dict[int, asyncio.Future[Any]] = {}
        self.notifications: list[dict[str, Any]] = []
        self.strays: list[dict[str, Any]] = []
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.number = 0
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for data in self.socket:
                if isinstance(data, bytes):
                    self.frames.put_nowait(data)
                    continue
                answer = json.loads(data)
                if "method" in answer:
                    self.notifications.append(answer["params"])
                elif answer.get("id") in self.waiting:
                    self.waiting.pop(answer["id"]).set_result(answer)
                else:
                    self.strays.append(answer)
        except websockets.ConnectionClosed:
            pass
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the connection ended"))

    async def send(self, method: str, **params: Any) -> "asyncio.Future[Any]":
        self.number += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting[self.number] = future
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        await self.socket.send(json.dumps(request))
        return future

    async def call(self, method: str, **params: Any) -> Any:
        answer = await (await self.send(method, **params))
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, **params: Any) -> dict[str, Any]:
        answer = await (await self.send(method, **params))
        assert "result" not in answer, answer
        return answer["error"]

    async def message(self, message: bytes, signature: bytes) -> Any:
        return await self.call(
            "private/send_message", message="0x" + message.hex(), signature="0x" + signature.hex()
        )

    async def open_venue(self, members: list[venue.Trader]) -> None:
        while (await self.call("public/status"))["inbox_position"] < len(members):
            await asyncio.sleep(0.01)
        for message, signature in venue.opening_messages(members):
            if signature:
                result = await self.message(message, signature)
            else:
                result = await self.call("private/owner_operation", message="0x" + message.hex())
            assert not any(result["statuses"]), result

    async def notified(self, channel: str, count: int = 1) -> list[Any]:
        async with asyncio.timeout(10):
            while True:
                found = [n["data"] for n in self.notifications if n["channel"] == channel]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.socket.close()
        await self.reader


@asynccontextmanager
async def connected(port: int, **options: Any) -> AsyncIterator[Client]:
    url = f"ws://127.0.0.1:{port}/ws/api/v2"
    async with websockets.connect(url, compression=None, max_size=1 << 24, **options) as socket:
        client = Client(socket)
        yield client
        await client.close()


@asynccontextmanager
async def running_node(
    directory: pathlib.Path, members: list[venue.Trader], **changes: Any
) -> AsyncIterator[Node]:
    (directory / "inbox").write_bytes(b"".join(venue.opening_items(members)))
    node = Node(configuration(directory, **changes))
    await node.start()
    try:
        yield node
        assert node._failure is None
    finally:
        await node.stop()


class Process:
    """A node in a process of its own."""

    def __init__(self, directory: pathlib.Path, **changes: Any) -> None:
        arguments = [sys.executable, __file__, str(directory), json.dumps(changes)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("port "):
                self.port = int(line.split()[1])
                return
        raise AssertionError(f"the node did not start, exit code {self.process.wait()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    options = json.loads(sys.argv[2])
    api = ApiConfig(port=0, **options.pop("api", {}))
    admission = AdmissionConfig(**options.pop("admission", {}))
    if "batch" in options:
        options["batch"] = BatchLimits(**options["batch"])
    config = configuration(pathlib.Path(sys.argv[1]), api=api, admission=admission, **options)
    if sys.platform != "win32":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                run_until_stopped(config, lambda node: print(f"port {node.port}", flush=True))
            )
