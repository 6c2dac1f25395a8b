"""Starts a whole venue on this machine: L1 node, contracts, exchange node; stops it cleanly.

L1 and the node are processes of their own, so either can be killed and started again.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from entresol.cli.node_process import NodeSettings, write_genesis
from entresol.cli.output import CommandError
from entresol.cli.venue import (
    BATCHER,
    DEPLOYMENT_FILE,
    OPERATOR,
    PROPOSER,
    PUBLISHER,
    Venue,
)
from entresol.client.keys import DEVELOPMENT_CHAIN_ID, Key, development_key
from entresol.kernel.genesis import GenesisConfiguration, build_genesis
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import PAGE_BYTES, Memory
from entresol.machine.state_tree import StateTree
from entresol.settlement.anvil import Anvil
from entresol.settlement.deploy import Deployment, GenesisInputs, Parameters, deploy
from entresol.settlement.l1 import L1Client
from entresol.settlement.sender import Sender

L1_ACCOUNTS: Final = 20
START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.4
NODE_PROGRAM: Final = "from entresol.cli.node_process import main; main()"
SETTINGS_FILE: Final = "node.json"
LOG_FILE: Final = "node.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What a venue is started with; times in seconds."""

    directory: Path
    l1_block_time: int = 1
    challenge_window: int = 20
    rejections_per_second: int = 10_000
    batch_operations: int = 100_000
    batch_age_ms: int = 10_000
    api_port: int = 0
    l1_port: int = 0


def build_genesis_roots(
    inputs: GenesisInputs, rejections_per_second: int
) -> tuple[GenesisConfiguration, tuple[bytes, bytes]]:
    """The first state for a rollup at a known address: its configuration and its two roots."""
    genesis = GenesisConfiguration(
        chain_id=inputs.chain_id,
        rollup=inputs.rollup,
        token=inputs.token,
        operator=development_key(OPERATOR, inputs.chain_id).address,
        publisher=development_key(PUBLISHER, inputs.chain_id).address,
        minimum_deposit=inputs.minimum_deposit,
        rejections_per_second=rejections_per_second,
    )
    memory, tree = Memory(), StateTree()
    build_genesis(memory.base, genesis)
    tree.update_pages(memory.base, memory.written_pages("STATE"), PAGE_BYTES)
    return genesis, (tree.durable_root, tree.volatile_root)


@dataclass(slots=True)
class NodeProcess:
    """The exchange node as a child process; `start` again after a stop or a kill."""

    settings_path: Path
    log_path: Path
    port: int = 0
    _process: "subprocess.Popen[str] | None" = None

    @property
    def pid(self) -> int:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it serves; raises CommandError with its last words."""
        with self.log_path.open("a") as log:
            # A session of its own: Ctrl-C reaches only this process, which then stops the node.
            self._process = subprocess.Popen(
                [sys.executable, "-c", NODE_PROGRAM, str(self.settings_path)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        line = self._first_line()
        if not line:
            self.kill()
            raise CommandError(f"The node did not start: {self.last_words()}")
        self.port = int(json.loads(line)["port"])

    def _first_line(self) -> str:
        assert self._process is not None
        stream = self._process.stdout
        assert stream is not None
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.start()
        try:
            return stream.readline()
        finally:
            timer.cancel()

    def last_words(self) -> str:
        """The end of the log."""
        lines = self.log_path.read_text().strip().splitlines()
        return lines[-1][-500:] if lines else "it said nothing"

    def seal(self) -> None:
        """Seal a batch of what there is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """End the node cleanly."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._finish()

    def kill(self) -> None:
        """End the node as a crash would: SIGKILL, its worker processes included."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._finish()

    def _finish(self) -> None:
        assert self._process is not None
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


@dataclass(slots=True)
class Stack:
    """One running venue; a context manager."""

    settings: StackSettings
    anvil: Anvil = field(init=False)
    node: NodeProcess = field(init=False)
    deployment: Deployment = field(init=False)
    genesis: GenesisConfiguration = field(init=False)

    def start_l1(self) -> None:
        """Start the L1 node; blocks come every second and with every transaction."""
        directory = self.settings.directory
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise CommandError(f"{directory} is not empty: remove it or name another directory.")
        self.anvil = Anvil(
            port=self.settings.l1_port,
            block_time=self.settings.l1_block_time,
            accounts=L1_ACCOUNTS,
            log=directory / "l1.log",
            extra=("--mixed-mining",),
        ).start()

    def deploy(self) -> None:
        """Deploy the contracts for the kernel's image and write the venue's files."""
        client = L1Client(self.anvil.url)
        batcher = self.key(BATCHER)

        def roots(inputs: GenesisInputs) -> tuple[bytes, bytes]:
            limit = self.settings.rejections_per_second
            self.genesis, found = build_genesis_roots(inputs, limit)
            return found

        self.deployment = deploy(
            Sender(client, batcher.secret),
            parameters=Parameters(
                sequencer=batcher.address, challenge_window=self.settings.challenge_window
            ),
            program_id=load_kernel_image().program_id,
            genesis_roots=roots,
        )
        self._save(api_url="")

    def _save(self, api_url: str) -> None:
        venue = Venue(self.anvil.url, api_url, self.deployment, write_genesis(self.genesis))
        venue.save(self.settings.directory)

    def start_node(self) -> None:
        """Start the exchange node on the deployment."""
        directory = self.settings.directory
        node_settings = NodeSettings(
            directory=str(directory / "node"),
            l1_url=self.anvil.url,
            deployment=str(directory / DEPLOYMENT_FILE),
            genesis=write_genesis(self.genesis),
            chain_id=DEVELOPMENT_CHAIN_ID,
            port=self.settings.api_port,
            batcher=BATCHER,
            proposer=PROPOSER,
            batch_operations=self.settings.batch_operations,
            batch_age_ms=self.settings.batch_age_ms,
        )
        node_settings.save(directory / SETTINGS_FILE)
        self.node = NodeProcess(directory / SETTINGS_FILE, directory / LOG_FILE)
        self.restart_node()

    def restart_node(self) -> None:
        """Start the node (again) and write where it listens."""
        self.node.start()
        self._save(self.api_url)

    @property
    def api_url(self) -> str:
        """WebSocket address of the node's API."""
        return f"ws://127.0.0.1:{self.node.port}/ws/api/v2"

    @property
    def l1_url(self) -> str:
        """HTTP address of the L1 node."""
        return self.anvil.url

    def key(self, account: int) -> Key:
        """A development account's key."""
        return development_key(account, DEVELOPMENT_CHAIN_ID)

    def pass_time(self, seconds: int) -> None:
        """Move the development L1's clock forward and mine a block."""
        self.anvil.rpc("evm_increaseTime", hex(seconds))
        self.anvil.rpc("evm_mine")

    def stop(self) -> None:
        """Stop the node, then L1; harmless when either is not running."""
        if hasattr(self, "node"):
            self.node.stop()
        if hasattr(self, "anvil"):
            self.anvil.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def await_condition(condition: Any, seconds: float, what: str, stack: Stack) -> None:
    """Poll `condition` until it holds; raises CommandError when it does not, or the node died."""
    deadline = time.monotonic() + seconds
    while not condition():
        if not stack.node.is_running:
            raise CommandError(f"The node stopped: {stack.node.last_words()}")
        if time.monotonic() > deadline:
            raise CommandError(f"{what} did not happen within {seconds:g} seconds.")
        time.sleep(POLL_SECONDS)
