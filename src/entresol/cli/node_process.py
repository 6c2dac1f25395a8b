"""The node as a process of its own, started by stack.py with the path of its settings.

The settings file is what `entresol up` and `entresol demo` write.  It names development accounts,
whose keys are public, never secrets.  When the node serves, one line with its port goes to
standard output; the log goes to standard error.  SIGTERM stops it, SIGUSR1 seals a batch now.
"""

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from entresol.client.keys import development_key
from entresol.kernel.genesis import GenesisConfiguration
from entresol.node.config import ApiConfig, L1Config, NodeConfig
from entresol.node.node import Node, run_until_stopped
from entresol.sequencing.open_batch import BatchLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """A node's settings as a file holds them; accounts are development account numbers."""

    directory: str
    l1_url: str
    deployment: str
    genesis: dict[str, Any]
    chain_id: int
    port: int = 0
    batcher: int = 0
    proposer: int = 1
    batch_operations: int = 100_000
    batch_age_ms: int = 10_000
    calls_per_second: int = 200_000

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file."""
        return cls(**json.loads(path.read_text()))

    def configuration(self) -> NodeConfig:
        """The node's own configuration."""
        batcher = development_key(self.batcher, self.chain_id)
        return NodeConfig(
            data_directory=Path(self.directory),
            genesis=read_genesis(self.genesis),
            sequencer_secret=batcher.secret,
            l1=L1Config(
                url=self.l1_url,
                deployment=Path(self.deployment),
                poll_seconds=0.2,
                batcher_secret=batcher.secret,
                proposer_secret=development_key(self.proposer, self.chain_id).secret,
            ),
            api=ApiConfig(
                port=self.port,
                calls_per_second=self.calls_per_second,
                burst_calls=self.calls_per_second,
            ),
            batch=BatchLimits(
                blocks=2_000,
                age_ms=self.batch_age_ms,
                operations=self.batch_operations,
                estimated_bytes=700_000,
                inbox_items=4_096,
            ),
        )


def write_genesis(genesis: GenesisConfiguration) -> dict[str, Any]:
    """A genesis configuration as plain values, bytes as 0x hex."""
    return {
        name: "0x" + value.hex() if isinstance(value, bytes) else value
        for name, value in asdict(genesis).items()
    }


def read_genesis(values: dict[str, Any]) -> GenesisConfiguration:
    """The genesis configuration in plain values."""
    fields: dict[str, Any] = {
        name: bytes.fromhex(value[2:]) if isinstance(value, str) else value
        for name, value in values.items()
    }
    return GenesisConfiguration(**fields)


def _announce(node: Node) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, node.seal_now)
    sys.stdout.write(json.dumps({"port": node.port}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the node until it is told to stop; a failure is one line in the log and status 1."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    settings = NodeSettings.load(Path(sys.argv[1]))
    try:
        asyncio.run(run_until_stopped(settings.configuration(), _announce))
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
