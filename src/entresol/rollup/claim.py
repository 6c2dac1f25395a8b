"""A claim: what running one data record did to the state, and the journal it told L1."""

from dataclasses import dataclass
from typing import Final

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.rollup.errors import ClaimError
from entresol.rollup.records import decode_record, encode_record

EMPTY_JOURNAL: Final = bytes(layout.JOURNAL.itemsize)
"""Journal of a data record that changed nothing (exit code not 0)."""


def _word(value: int | bytes, name: str) -> bytes:
    """One 32-byte ABI word: an integer right-aligned, 20 bytes as an address, 32 bytes as is."""
    if isinstance(value, int):
        if not 0 <= value < 1 << 256:
            raise ClaimError(f"{name} = {value} does not fit an unsigned word")
        return value.to_bytes(32, "big")
    if len(value) not in (20, 32):
        raise ClaimError(f"{name} must be 20 or 32 bytes, not {len(value)}")
    return value.rjust(32, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The eleven fields of a claim; roots, ids and hashes are 32 bytes, `rollup` 20.

    A non-zero exit code requires the state after to be the state before and an empty journal.
    """

    chain_id: int
    rollup: bytes
    record_index: int
    program_id: bytes
    durable_before: bytes
    volatile_before: bytes
    data_record: bytes
    durable_after: bytes
    volatile_after: bytes
    exit_code: int
    journal_hash: bytes

    def encode(self) -> bytes:
        """The eleven 32-byte words, in field order, as the L1 contract lays them out."""
        return b"".join(_word(getattr(self, name), name) for name in self.__slots__)

    @property
    def identifier(self) -> bytes:
        """The claim id: keccak256 of `encode()`."""
        return keccak256(self.encode())


def claim_id(claim: Claim) -> bytes:
    """The claim id: keccak256 of the claim's eleven words."""
    return claim.identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The 512 bytes a run tells L1, fields as in layout.JOURNAL (hashes 32 raw bytes)."""

    encoding_version: int = 0
    data_kind: int = 0
    withdrawals_root: bytes = bytes(32)
    withdrawals_count: int = 0
    inbox_position: int = 0
    inbox_hash: bytes = bytes(32)
    first_time_ms: int = 0
    last_time_ms: int = 0
    first_block: int = 0
    next_block: int = 0
    last_header_hash: bytes = bytes(32)
    headers_root: bytes = bytes(32)
    operation_count: int = 0
    evaluation: bytes = bytes(192)

    def encode(self) -> bytes:
        """The 512 bytes; raises ClaimError when a field does not fit."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return encode_record(layout.JOURNAL, values, ClaimError)

    @property
    def digest(self) -> bytes:
        """The journal hash: keccak256 of the 512 bytes."""
        return keccak256(self.encode())


def decode_journal(data: bytes) -> Journal:
    """The journal in 512 bytes; raises ClaimError when a reserved byte is set."""
    values = decode_record(layout.JOURNAL, data, ClaimError)
    if any(values.pop("reserved")):
        raise ClaimError("a reserved byte of the journal is not zero")
    return Journal(**values)
