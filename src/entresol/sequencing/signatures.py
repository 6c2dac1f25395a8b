"""Signature checks in worker processes: bounded, batched, and restarted when a worker dies.

A check is 117 bytes: digest (32), signature r || s || v (65), the address that must have signed
(20).  Checks that arrive while every worker is busy travel together, so load makes batches.
"""

import asyncio
import collections
import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

from entresol.crypto.secp256k1 import recover_address

_CHECK_BYTES: Final = 32 + 65 + 20
_ITEMS_PER_BATCH: Final = 64
_BATCHES_PER_WORKER: Final = 2
"""One being checked and one waiting in the pipe; 15 KiB, so a send never blocks."""

Callback = Callable[[bool], None]


class SignaturePoolError(Exception):
    """The worker processes cannot be used."""


def is_signed_by(digest: bytes, signature: bytes, address: bytes) -> bool:
    """Whether `address` made the 65-byte low-s signature; the zero address never did."""
    return any(address) and recover_address(digest, signature) == address


def check_signatures(batch: bytes) -> bytes:
    """One byte, 1 or 0, for each 117-byte check in `batch`."""
    answers = bytearray()
    for start in range(0, len(batch), _CHECK_BYTES):
        check = batch[start : start + _CHECK_BYTES]
        answers.append(is_signed_by(check[:32], check[32:97], check[97:]))
    return bytes(answers)


def _work(connection: Connection) -> None:
    """Body of a worker process: answer batches until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection.send_bytes(b"")
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.send_bytes(check_signatures(connection.recv_bytes()))


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    batches: collections.deque[list[tuple[bytes, Callback]]] = field(
        default_factory=collections.deque
    )


class SignaturePool:
    """Checks signatures off the event loop and calls back on it, in order per worker.

    `limit` bounds the checks that are queued or under way; beyond it `submit` answers False.
    """

    def __init__(self, workers: int, limit: int) -> None:
        if workers < 1:
            raise SignaturePoolError("At least one worker process is needed to check signatures.")
        self._count = workers
        self._limit = limit
        self._queue: collections.deque[tuple[bytes, Callback]] = collections.deque()
        self._workers: list[_Worker] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self.pending = 0
        """Checks queued or under way."""
        self.restarts = 0
        """Workers that died and were replaced."""

    async def start(self) -> None:
        """Start the processes and wait until each has answered."""
        self._loop = asyncio.get_running_loop()
        self._workers = [self._spawn() for _ in range(self._count)]
        for worker in self._workers:
            await self._loop.run_in_executor(None, self._await_ready, worker)
            self._listen(worker)

    @staticmethod
    def _await_ready(worker: _Worker) -> None:
        if not worker.connection.poll(60):
            raise SignaturePoolError("A signature worker did not start within 60 seconds.")
        worker.connection.recv_bytes()
        worker.ready = True

    @staticmethod
    def _spawn() -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), name="signatures", daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _listen(self, worker: _Worker) -> None:
        assert self._loop is not None
        self._loop.add_reader(worker.connection.fileno(), self._read, worker)

    def submit(self, digest: bytes, signature: bytes, address: bytes, callback: Callback) -> bool:
        """Queue one check; False when the limit is reached (then `callback` is never called)."""
        if self.pending >= self._limit or self._loop is None:
            return False
        self.pending += 1
        self._queue.append((digest + signature + address, callback))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        return True

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._queue:
            worker = min(self._workers, key=lambda each: (not each.ready, len(each.batches)))
            if not worker.ready or len(worker.batches) >= _BATCHES_PER_WORKER:
                return
            share = -(-len(self._queue) // len(self._workers))
            size = min(_ITEMS_PER_BATCH, share)
            batch = [self._queue.popleft() for _ in range(size)]
            worker.batches.append(batch)
            try:
                worker.connection.send_bytes(b"".join(check for check, _ in batch))
            except OSError:
                self._replace(worker)

    def _read(self, worker: _Worker) -> None:
        try:
            answers = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._replace(worker)
            return
        if not worker.ready:
            worker.ready = True
        else:
            batch = worker.batches.popleft()
            self.pending -= len(batch)
            for (_, callback), answer in zip(batch, answers, strict=True):
                callback(answer == 1)
        self._dispatch()

    def _replace(self, worker: _Worker) -> None:
        """Put a dead worker's checks back at the front and start another in its place."""
        assert self._loop is not None
        if worker not in self._workers:
            return
        self._loop.remove_reader(worker.connection.fileno())
        worker.connection.close()
        for batch in reversed(worker.batches):
            self._queue.extendleft(reversed(batch))
        self.restarts += 1
        successor = self._spawn()
        self._workers[self._workers.index(worker)] = successor
        self._listen(successor)

    async def close(self) -> None:
        """End the processes; checks still under way are never answered."""
        loop = asyncio.get_running_loop()
        for worker in self._workers:
            loop.remove_reader(worker.connection.fileno())
            worker.connection.close()
        for worker in self._workers:
            await loop.run_in_executor(None, worker.process.join, 10)
            if worker.process.is_alive():
                worker.process.kill()
        self._workers = []
        self._loop = None
