"""Batches as blobs: 31 bytes in each of a blob's 4,096 field elements.

A blob is taken as the evaluations of its polynomial, so byte i of a batch is proven on L1 by one
point evaluation at a root of unity.  An element is a zero byte, then 31 data bytes, big-endian as
EIP-4844 stores it; that keeps it below the field's order.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Final, Self

import numpy as np

from entresol.crypto import kzg
from entresol.da.errors import BlobError
from entresol.rollup.limits import (
    BLOB_DATA_BYTES,
    BLOB_ELEMENT_DATA_BYTES,
    BLOB_ELEMENTS,
    MAX_BLOB_BATCH_BYTES,
)

ELEMENT_BYTES: Final = 32
BLOB_BYTES: Final = BLOB_ELEMENTS * ELEMENT_BYTES


def blob_count(length: int) -> int:
    """Blobs that `length` bytes need; raises BlobError for none or more than six blobs hold."""
    if not 0 < length <= MAX_BLOB_BATCH_BYTES:
        raise BlobError(f"a batch in blobs has 1 to {MAX_BLOB_BATCH_BYTES} bytes, not {length}")
    return -(-length // BLOB_DATA_BYTES)


def pack(data: bytes) -> list[bytes]:
    """Blobs that carry `data`, the last one padded with zeros; raises BlobError if too long."""
    count = blob_count(len(data))
    padded = np.zeros((count * BLOB_ELEMENTS, BLOB_ELEMENT_DATA_BYTES), np.uint8)
    padded.reshape(-1)[: len(data)] = np.frombuffer(data, np.uint8)
    elements = np.zeros((count * BLOB_ELEMENTS, ELEMENT_BYTES), np.uint8)
    elements[:, 1:] = padded
    raw = elements.tobytes()
    return [raw[start : start + BLOB_BYTES] for start in range(0, len(raw), BLOB_BYTES)]


def _elements(blobs: Sequence[bytes], length: int) -> np.ndarray:
    if len(blobs) != blob_count(length):
        raise BlobError(f"{length} bytes need {blob_count(length)} blobs, not {len(blobs)}")
    if any(len(blob) != BLOB_BYTES for blob in blobs):
        raise BlobError(f"a blob is {BLOB_BYTES} bytes")
    return np.frombuffer(b"".join(blobs), np.uint8).reshape(-1, ELEMENT_BYTES)


def unpack(blobs: Sequence[bytes], length: int) -> bytes:
    """The first `length` bytes that `blobs` carry: the low 31 bytes of each element.

    The top byte of an element and everything behind `length` are ignored, because the machine
    cannot see them: whatever somebody posts has exactly one meaning.  `is_canonical` says whether
    `pack` made them.  Raises BlobError when the number or the size of the blobs does not fit.
    """
    return _elements(blobs, length)[:, 1:].tobytes()[:length]


def is_canonical(blobs: Sequence[bytes], length: int) -> bool:
    """True when every byte that carries no data is zero, as `pack` leaves it."""
    elements = _elements(blobs, length)
    return not elements[:, 0].any() and not any(elements[:, 1:].tobytes()[length:])


# --- commitments and proofs ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenBlob:
    """A blob with what a transaction says about it: commitment, hash and the 128 cell proofs."""

    blob: bytes
    commitment: bytes
    versioned_hash: bytes
    cell_proofs: tuple[bytes, ...]


def prove(blob: bytes) -> ProvenBlob:
    """Commit to one blob and prove its cells, about 0.4 s in this process."""
    commitment = kzg.blob_to_commitment(blob)
    return ProvenBlob(
        blob=blob,
        commitment=commitment,
        versioned_hash=kzg.versioned_hash(commitment),
        cell_proofs=tuple(kzg.compute_cell_proofs(blob)),
    )


class BlobWorkers:
    """Processes that commit to blobs and prove their cells, so that no other thread waits.

    The KZG library holds the interpreter lock for the 0.4 s a blob takes and needs 2 s to load
    its setup, once per process.  Use as a context manager, or call `close`.
    """

    def __init__(self, processes: int = 1) -> None:
        self._pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))

    def prove(self, blobs: Sequence[bytes]) -> list[ProvenBlob]:
        """Prove all blobs, in order; waits for the workers but not with the lock held."""
        if any(len(blob) != BLOB_BYTES for blob in blobs):
            raise BlobError(f"a blob is {BLOB_BYTES} bytes")
        return list(self._pool.map(prove, blobs))

    def close(self) -> None:
        """Stop the processes; work that has not begun is dropped."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
