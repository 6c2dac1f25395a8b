"""A kernel entry that decodes a batch and applies none of it, to count what decoding costs.

Only block number, time and lane sequences move on, natively and in the machine alike, so it decodes
batches that were encoded with `advance` in place of the kernel's transition.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.batch_codec import next_block, open_decoder
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_BLOCK_BASE
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import block_header_at, durable_at, message_header_at

_BLOCK_HEADER_BYTES: Final = layout.BLOCK_HEADER.itemsize


@kernel_function
def advance(memory: int, address: int) -> int:
    """Move the header and the lanes' sequences past the plain block at a machine address."""
    block = block_header_at(memory + address)
    durable = durable_at(memory + DURABLE_BASE)
    header = durable.header
    at = memory + address + _BLOCK_HEADER_BYTES
    for _ in range(i64(block.message_count)):
        message = message_header_at(at)
        if i64(message.kind) == layout.LANE_MESSAGE:
            lane = i64(message.target) & (layout.LANES - 1)
            durable.lane[lane].sequence = i64(message.sequence)
        at += 32 * (1 + i64(message.record_count))
    header.next_block = i64(block.number) + 1
    header.last_time_ms = i64(block.time_ms)
    return i64(0)


@kernel_function
def decode_only(memory: int) -> int:
    """Decode the whole batch in INPUT; 0, or an Invalid number."""
    status = open_decoder(memory)
    if status != 0:
        return status
    for _ in range(layout.MAX_BLOCKS_PER_BATCH + 1):
        status = next_block(memory)
        if status != 1:
            break
        advance(memory, i64(SCRATCH_BLOCK_BASE))
    return -status
