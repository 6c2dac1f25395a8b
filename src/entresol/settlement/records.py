"""What the rollup contract commits to, as typed values: twins of the structs in rollup.vy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from entresol.crypto.keccak import keccak256
from entresol.crypto.merkle import merkle_root
from entresol.rollup.limits import CALLDATA_CHUNK_BYTES, CALLDATA_CHUNK_DEPTH, MAX_BLOBS

BLOBS: Final = 0
CALLDATA: Final = 1
"""Values of `DataRecord.source`."""

CLOCK_SLACK_SECONDS: Final = 12
"""How far a batch's last block may be ahead of the L1 block that carries it."""


def _words(*values: int | bytes) -> bytes:
    """ABI encoding of static values: integers and 20-byte addresses right-aligned."""
    return b"".join(
        value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")
        for value in values
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """A posted batch as L1 keeps it; hashes are 32 bytes, `poster` 20, `l1_time` seconds."""

    index: int
    source: int
    data_kind: int
    data_bytes: int
    blob_hashes: tuple[bytes, ...]
    chunk_root: bytes
    l1_block: int
    l1_time: int
    inbox_position: int
    inbox_hash: bytes
    poster: bytes

    @property
    def digest(self) -> bytes:
        """The record hash that a claim names: keccak256 of the fifteen words."""
        hashes = [*self.blob_hashes, *[bytes(32)] * (MAX_BLOBS - len(self.blob_hashes))]
        return keccak256(
            _words(self.index, self.source, self.data_kind, self.data_bytes, *hashes)
            + _words(self.chunk_root, self.l1_block, self.l1_time)
            + _words(self.inbox_position, self.inbox_hash, self.poster)
        )

    def to_abi(self) -> tuple[Any, ...]:
        """The struct as contract calls take it."""
        hashes = [*self.blob_hashes, *[bytes(32)] * (MAX_BLOBS - len(self.blob_hashes))]
        return (
            *(self.index, self.source, self.data_kind, self.data_bytes, hashes),
            *(self.chunk_root, self.l1_block, self.l1_time),
            *(self.inbox_position, self.inbox_hash, self.poster),
        )

    @classmethod
    def from_abi(cls, struct: Mapping[str, Any]) -> Self:
        """The record in a decoded event."""
        values = dict(struct)
        hashes = values.pop("blob_hashes")
        values["blob_hashes"] = tuple(value for value in hashes if any(value))
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The state and the cursors that a claim ends with."""

    next_record: int
    durable_root: bytes
    volatile_root: bytes
    withdrawals_root: bytes
    withdrawals_count: int
    inbox_position: int
    inbox_hash: bytes
    last_time_ms: int

    def to_abi(self) -> tuple[Any, ...]:
        """The struct as contract calls take it."""
        return tuple(getattr(self, name) for name in self.__slots__)

    @property
    def digest(self) -> bytes:
        """What the contract keeps of it."""
        return keccak256(_words(*self.to_abi()))

    @classmethod
    def from_abi(cls, struct: Mapping[str, Any]) -> Self:
        """The outcome in a decoded event."""
        return cls(**struct)

    @classmethod
    def genesis(cls, durable_root: bytes, volatile_root: bytes) -> Self:
        """The outcome before the first data record."""
        return cls(
            next_record=0,
            durable_root=durable_root,
            volatile_root=volatile_root,
            withdrawals_root=bytes(32),
            withdrawals_count=0,
            inbox_position=0,
            inbox_hash=bytes(32),
            last_time_ms=0,
        )


def genesis_key(domain: bytes, program_id: bytes, outcome: Outcome) -> bytes:
    """Key under which the contract keeps the state before the first data record."""
    return keccak256(domain + program_id + _words(*outcome.to_abi()))


def claim_key(parent: bytes, claim_id: bytes) -> bytes:
    """Key of a claim: the statement and, in addition, the claims it stands on."""
    return keccak256(parent + claim_id)


def chunk_root(data: bytes) -> bytes:
    """keccak-Merkle root of calldata as the contract computes it: 128 leaves of 1,024 bytes."""
    starts = range(0, len(data), CALLDATA_CHUNK_BYTES)
    leaves = [keccak256(data[start : start + CALLDATA_CHUNK_BYTES]) for start in starts]
    return merkle_root(leaves, CALLDATA_CHUNK_DEPTH)
