"""The batch builder in its own process, told by pipe how far the journal is on disk."""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine.image import load_kernel_image
from entresol.sequencing.batch_builder import BatchBuilder, BuilderSettings
from entresol.sequencing.batch_store import BatchStore

STORE_FILE: Final = "batches.db"
_NICENESS: Final = 10
"""Building batches must not take time from traders; it catches up when they are quiet."""


@dataclass(frozen=True, slots=True)
class BuilderReport:
    """What the builder says: it is ready, built `batches`, saved a snapshot, or failed."""

    batches: int
    roots: tuple[bytes, bytes] = (b"", b"")
    snapshot_frame: int = 0
    error: str = ""


def _run(
    connection: Connection,
    directory: pathlib.Path,
    genesis: GenesisConfiguration,
    settings: BuilderSettings,
) -> None:
    """Body of the process; ends when the pipe closes, or after the first failure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    with contextlib.suppress(EOFError, ConnectionError):
        try:
            builder = BatchBuilder(
                directory,
                genesis.domain,
                load_kernel_image(),
                lambda memory: build_genesis(memory.base, genesis),
                BatchStore(directory / STORE_FILE),
                settings,
            )
            connection.send(BuilderReport(builder.number, builder.roots))
            while True:
                through, snapshot = connection.recv()
                while connection.poll():
                    newer, wanted = connection.recv()
                    through, snapshot = max(through, newer), snapshot or wanted
                builder.advance(through)
                frame = builder.save_snapshot() if snapshot else builder.saved_frame
                connection.send(BuilderReport(builder.number, builder.roots, frame))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # told to the node, which stops as a whole
            trace = traceback.format_exc(limit=8)
            connection.send(BuilderReport(-1, error=f"{error}\n{trace}"))


class BuilderProcess:
    """Handle of the process; `on_report` is called from whoever calls `read_reports`."""

    def __init__(
        self, directory: pathlib.Path, genesis: GenesisConfiguration, settings: BuilderSettings
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, directory, genesis, settings), name="batch builder"
        )
        self._process.start()
        theirs.close()
        self.on_report: Callable[[BuilderReport], None] = lambda _: None

    @property
    def descriptor(self) -> int:
        """File descriptor that is readable when a report waits."""
        return self._connection.fileno()

    def build(self, through: int, snapshot: bool = False) -> None:
        """Let it build what is sealed up to journal frame `through`."""
        with contextlib.suppress(OSError):
            self._connection.send((through, snapshot))

    def read_reports(self) -> bool:
        """Deliver the reports that wait; False once the process has ended."""
        try:
            while self._connection.poll():
                self.on_report(self._connection.recv())
        except (EOFError, OSError):
            return False
        return True

    def close(self, seconds: float = 30) -> None:
        """End the process after the batch it is building."""
        self._connection.close()
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
