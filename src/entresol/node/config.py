"""The node's configuration: one frozen tree, read once at the start."""

import pathlib
from dataclasses import dataclass, field

from entresol.kernel.genesis import GenesisConfiguration
from entresol.sequencing.batch_builder import BuilderSettings
from entresol.sequencing.open_batch import BatchLimits
from entresol.sequencing.sequencer import SequencerSettings

MINIMUM_BLOCK_INTERVAL_MS = 50
MAXIMUM_BLOCK_INTERVAL_MS = 250


class ConfigurationError(Exception):
    """A value that the node cannot run with; the message says which and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """Where the API listens and what one caller may take of it.

    `host` is loopback unless told otherwise.  Port 0 takes any free one.
    """

    host: str = "127.0.0.1"
    port: int = 8545
    testnet: bool = True
    maximum_request_bytes: int = 1 << 20
    maximum_connections: int = 512
    calls_per_batch: int = 100
    calls_per_second: int = 20_000
    """Per connection; one message of a binary frame counts as a call."""
    burst_calls: int = 20_000
    channels_per_connection: int = 200
    outgoing_bytes: int = 16 << 20
    """A consumer with more than this waiting is dropped."""
    lagging_bytes: int = 1 << 20
    """Above this, book deltas are withheld and a snapshot follows."""
    bad_signatures_per_connection: int = 100
    """After so many the connection is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionConfig:
    """Bounds of what is on its way through the gateway."""

    signature_workers: int = 1
    pending_messages: int = 8192
    pending_per_session: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class L1Config:
    """The L1 node and the keys that pay there; None for a key leaves that part to others."""

    url: str
    deployment: pathlib.Path
    confirmations: int = 1
    """Depth at which an inbox item is taken; see the note on reorgs in node.py."""
    poll_seconds: float = 0.5
    use_calldata: bool = False
    batcher_secret: bytes | None = field(default=None, repr=False)
    proposer_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Everything a node needs; without `l1` it runs alone, on the inbox items in `inbox_file`."""

    data_directory: pathlib.Path
    genesis: GenesisConfiguration
    sequencer_secret: bytes = field(repr=False)
    l1: L1Config | None = None
    inbox_file: pathlib.Path | None = None
    """128-byte items one after the other; for development without an L1 node."""
    api: ApiConfig = field(default_factory=ApiConfig)
    admission: AdmissionConfig = field(default_factory=AdmissionConfig)
    block_interval_ms: int = 100
    messages_per_turn: int = 128
    inbox_items_per_block: int = 512
    batch: BatchLimits = field(
        default_factory=lambda: BatchLimits(
            blocks=2000,
            age_ms=60_000,
            operations=200_000,
            estimated_bytes=700_000,
            inbox_items=4096,
        )
    )
    batches_per_snapshot: int = 4
    build_batches: bool = True
    keep_history: bool = True

    def __post_init__(self) -> None:
        if not MINIMUM_BLOCK_INTERVAL_MS <= self.block_interval_ms <= MAXIMUM_BLOCK_INTERVAL_MS:
            raise ConfigurationError(
                f"block_interval_ms must lie between {MINIMUM_BLOCK_INTERVAL_MS} and "
                f"{MAXIMUM_BLOCK_INTERVAL_MS}, not {self.block_interval_ms}."
            )
        if self.l1 is not None and self.inbox_file is not None:
            raise ConfigurationError("A node takes its inbox from L1 or from a file, not both.")
        if len(self.sequencer_secret) != 32:
            raise ConfigurationError("sequencer_secret must be 32 bytes.")

    @property
    def sequencer(self) -> SequencerSettings:
        """The sequencer's part."""
        return SequencerSettings(
            block_interval_ms=self.block_interval_ms,
            messages_per_turn=self.messages_per_turn,
            inbox_items_per_block=self.inbox_items_per_block,
            batch=self.batch,
        )

    def builder(self, maximum_bytes: int, bytes_per_blob: int) -> BuilderSettings:
        """The batch builder's part; what a data record holds depends on where it is posted."""
        return BuilderSettings(
            maximum_bytes=maximum_bytes,
            bytes_per_blob=bytes_per_blob,
            batches_per_snapshot=self.batches_per_snapshot,
        )
