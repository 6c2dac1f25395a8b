"""Block headers: the chain of block hashes that receipts and the journal refer to.

hash = keccak256(previous hash || number || time_ms || inbox_position || record count ||
inbox_hash || messages digest); the four numbers are little-endian 64-bit words, inbox position
and hash are those after the block, the record count is the block's own.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_RUN_BASE
from entresol.kernel.subset import i64, keccak256, kernel_function, store_i64
from entresol.kernel.views import durable_at, field_address, run_at
from entresol.kernel.words import OPERAND, copy_words

_LAST_HASH: Final = field_address(DURABLE_BASE, layout.HEADER, "last_header_hash")
_INBOX_HASH: Final = field_address(DURABLE_BASE, layout.HEADER, "inbox_hash")
_DIGEST: Final = field_address(SCRATCH_RUN_BASE, layout.RUN, "messages_digest")
_HEADERS_ROOT: Final = field_address(SCRATCH_RUN_BASE, layout.RUN, "headers_root")


@kernel_function
def seal_header(memory: int) -> None:
    """Hash the open block into `last_header_hash`, then that into the batch's headers root."""
    header = durable_at(memory + DURABLE_BASE).header
    operand = memory + OPERAND
    copy_words(operand, memory + _LAST_HASH, 4)
    store_i64(operand + 32, i64(header.next_block))
    store_i64(operand + 40, i64(header.last_time_ms))
    store_i64(operand + 48, i64(header.inbox_position))
    store_i64(operand + 56, i64(run_at(memory + SCRATCH_RUN_BASE).record_index))
    copy_words(operand + 64, memory + _INBOX_HASH, 4)
    copy_words(operand + 96, memory + _DIGEST, 4)
    keccak256(operand, 128, memory + _LAST_HASH)
    copy_words(operand, memory + _HEADERS_ROOT, 4)
    copy_words(operand + 32, memory + _LAST_HASH, 4)
    keccak256(operand, 64, memory + _HEADERS_ROOT)
