"""Protocol limits on what one data record carries, and the relations between them.

Capacities of state and of a batch's contents are in kernel/layout.py; these are about its bytes.
A change here is a protocol upgrade.
"""

from typing import Final

from entresol.kernel import layout
from entresol.rollup.errors import BatchEncodingError

BLOB_ELEMENTS: Final = 4096
"""Field elements of a blob."""

BLOB_ELEMENT_DATA_BYTES: Final = 31
"""Batch bytes in a field element: one byte less than it has, so that it is below the order."""

BLOB_DATA_BYTES: Final = BLOB_ELEMENTS * BLOB_ELEMENT_DATA_BYTES
"""Batch bytes that one blob carries."""

MAX_BLOBS: Final = 6
"""Blobs of one data record: what one L1 transaction may carry."""

MAX_BLOB_BATCH_BYTES: Final = MAX_BLOBS * BLOB_DATA_BYTES
"""The longest batch in blobs."""

CALLDATA_CHUNK_BYTES: Final = 1024
CALLDATA_CHUNK_DEPTH: Final = 7
MAX_CALLDATA_CHUNKS: Final = 120
"""With the rest of its transaction this stays below the 128 KiB that L1 nodes pass on."""

MAX_CALLDATA_BATCH_BYTES: Final = MAX_CALLDATA_CHUNKS * CALLDATA_CHUNK_BYTES
"""The longest batch in calldata."""


def _check() -> None:
    relations = (
        MAX_BLOB_BATCH_BYTES <= layout.BATCH_DATA_BYTES,
        MAX_CALLDATA_BATCH_BYTES <= layout.BATCH_DATA_BYTES,
        MAX_CALLDATA_CHUNKS <= 1 << CALLDATA_CHUNK_DEPTH,
        layout.MAX_INBOX_ITEMS_PER_BATCH * layout.INBOX_ITEM_BYTES == layout.INBOX_ITEMS_BYTES,
        layout.MAX_BLOCKS_PER_BATCH < 1 << 16,
    )
    if not all(relations):
        raise ImportError("limits of a data record do not fit layout.py")


_check()


def validate_batch(data: bytes, *, as_calldata: bool = False) -> None:
    """Raise BatchEncodingError unless one data record can carry `data`."""
    limit = MAX_CALLDATA_BATCH_BYTES if as_calldata else MAX_BLOB_BATCH_BYTES
    if not 0 < len(data) <= limit:
        place = "calldata" if as_calldata else "blobs"
        raise BatchEncodingError(
            f"a batch of {len(data)} bytes does not fit {place}, which take 1 to {limit}: "
            "seal it with fewer blocks"
        )
