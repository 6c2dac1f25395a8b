"""Encodes blocks as a batch while replaying them: the compressing half of the batch codec.

The decoder in the kernel predicts each block from the state the blocks before it left behind, so
the encoder needs that state too: it owns a replay memory and applies every block it takes.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from entresol.kernel import layout
from entresol.kernel.codec import format as codec
from entresol.kernel.codec import model
from entresol.kernel.transition import apply_block
from entresol.machine.memory import Memory
from entresol.rollup import codec_extraction as extraction
from entresol.rollup.block import decode_block
from entresol.rollup.entropy_encoder import PackedTables, encode_stream
from entresol.rollup.entropy_tables import (
    BIT,
    Histogram,
    choose_tables,
    histogram,
    logarithms,
)
from entresol.rollup.errors import BatchEncodingError
from entresol.rollup.items import new_sink
from entresol.rollup.record_extraction import MAX_ITEMS_PER_RECORD
from entresol.rollup.size_estimate import Estimate

ApplyBlock = Callable[[int, int], int]

_INITIAL_ITEMS: Final = 1 << 16
_ORACLE_CONTEXTS: Final = (
    codec.VALUE + model.VALUE_INDEX,
    codec.VALUE + model.VALUE_MARK,
)
_FIXED_ESTIMATE: Final = 64
"""Bytes of a batch beyond its items and signatures, about."""

_FIRST_MEASURE: Final = 1 << 15
"""Estimated bytes from which on it pays to take the true length now and then."""


class BatchEncoder:
    """Takes blocks one after the other and encodes them as one batch.

    `memory` holds the state before the first block and belongs to the encoder until `finish`:
    each block is applied to it, and part of its SCRATCH carries the codec's memories.
    """

    def __init__(self, memory: Memory, apply: ApplyBlock = apply_block) -> None:
        self._memory = memory
        self._apply = apply
        self._sink = new_sink()
        self._contexts = np.empty(_INITIAL_ITEMS, np.uint16)
        self._values = np.empty(_INITIAL_ITEMS, np.int64)
        self._blocks = 0
        self._failed = False
        self._estimate = Estimate(logarithms())
        self._measured = (0, _FIXED_ESTIMATE)
        self._next_measure = _FIRST_MEASURE
        start, end = codec.CURSOR_BASE, codec.MODEL_END
        memory.array[start:end] = 0

    @property
    def block_count(self) -> int:
        """Blocks taken so far."""
        return self._blocks

    @property
    def operation_count(self) -> int:
        """Records taken so far, legs and owner records included."""
        return int(self._sink["operation_count"][0])

    @property
    def lane_count(self) -> int:
        """Distinct lanes that spoke so far; each costs a signature of 64 bytes.

        A lane registered anew within the batch counts once here and needs one signature more.
        """
        return int(self._cursor()["touched_count"])

    @property
    def estimated_bytes(self) -> int:
        """About how long the batch would be if it were finished now, signatures included.

        The true length is taken now and then, and what came since is estimated from above.
        """
        estimated, measured = self._measured
        since = self._estimate.bits // (8 * BIT) - estimated
        return measured + since + codec.SIGNATURE_BYTES * self.lane_count

    def _measure(self) -> None:
        """Take the true length without signatures each time the estimate grew by half."""
        estimated = self._estimate.bits // (8 * BIT)
        if estimated >= self._next_measure:
            self._measured = (estimated, len(self.finish([])))
            self._next_measure = estimated * 3 // 2

    def _cursor(self) -> np.ndarray:
        return self._memory.view(codec.CURSOR_BASE, codec.CURSOR)

    def add_block(self, plain: bytes) -> None:
        """Encode one plain block and apply it.

        Raises BlockError or BatchEncodingError when the block cannot be carried or applied; the
        memory may then be changed in part and the encoder takes nothing more.
        """
        if self._failed:
            raise BatchEncodingError("this encoder failed before; begin again from a snapshot")
        if self._blocks == layout.MAX_BLOCKS_PER_BATCH:
            raise BatchEncodingError(
                f"a batch holds at most {layout.MAX_BLOCKS_PER_BATCH} blocks; finish this one"
            )
        decoded = decode_block(plain)
        self._failed = True
        first = int(self._sink["count"][0])
        self._reserve(len(decoded.messages), decoded.operation_count)
        self._memory.write(layout.SCRATCH_BLOCK_BASE, plain)
        status = extraction.extract_block(self._memory.base, self._sink.ctypes.data)
        if status != extraction.OK:
            raise BatchEncodingError(f"block {decoded.number}: {extraction.ERRORS[status]}")
        status = self._apply(self._memory.base, layout.SCRATCH_BLOCK_BASE)
        if status != 0:
            raise BatchEncodingError(f"block {decoded.number} does not apply: status {status}")
        end = int(self._sink["count"][0])
        self._estimate.add(self._contexts[first:end], self._values[first:end])
        self._blocks += 1
        self._failed = False
        self._measure()

    def _reserve(self, messages: int, operations: int) -> None:
        """Make room for the items of a block."""
        needed = int(self._sink["count"][0]) + 8
        needed += extraction.MAX_ITEMS_PER_MESSAGE * messages
        needed += MAX_ITEMS_PER_RECORD * operations
        if needed > len(self._values):
            self._contexts = _grown(self._contexts, 2 * needed)
            self._values = _grown(self._values, 2 * needed)
        self._sink["contexts"] = self._contexts.ctypes.data
        self._sink["values"] = self._values.ctypes.data

    def finish(self, lane_signatures: Sequence[bytes]) -> bytes:
        """The batch: `lane_signatures` are 64 bytes each (EIP-2098), by first message of lanes.

        May be called again after more blocks.  Raises BatchEncodingError for an empty batch.
        """
        if self._blocks == 0 or self._failed:
            raise BatchEncodingError("a batch needs at least one block, and none that failed")
        if any(len(signature) != codec.SIGNATURE_BYTES for signature in lane_signatures):
            raise BatchEncodingError(f"a lane signature is {codec.SIGNATURE_BYTES} bytes")
        count = int(self._sink["count"][0])
        contexts, values = self._contexts[:count], self._values[:count].copy()
        exponent = int(self._sink["value_exponent"][0])
        _scale_oracle_values(contexts, values, exponent)
        return assemble(contexts, values, exponent, self._blocks, lane_signatures)


def assemble(
    contexts: np.ndarray,
    values: np.ndarray,
    exponent: int,
    blocks: int,
    lane_signatures: Sequence[bytes],
) -> bytes:
    """The bytes of a batch with these items (uint16 contexts, int64 values), in reading order."""
    tables, choices = choose_tables(_histograms(contexts, values))
    out = bytearray([codec.CODEC_VERSION, exponent])
    out += blocks.to_bytes(2, "little") + len(lane_signatures).to_bytes(4, "little")
    out += b"".join(lane_signatures)
    out.append(len(tables))
    out += b"".join(table.encode() for table in tables)
    if tables:
        out += bytes(choices)
    out += bytes(-len(out) % 4)
    return bytes(out) + encode_stream(contexts, values, PackedTables(tables, choices))


def _grown(array: np.ndarray, length: int) -> np.ndarray:
    longer = np.empty(length, array.dtype)
    longer[: len(array)] = array
    return longer


def _scale_oracle_values(contexts: np.ndarray, values: np.ndarray, exponent: int) -> None:
    """Turn changes of oracle prices into folded changes in units of 10^exponent."""
    chosen = np.isin(contexts, _ORACLE_CONTEXTS)
    changes = values[chosen] // 10**exponent
    values[chosen] = (changes << 1) ^ (changes >> 63)


def _histograms(contexts: np.ndarray, values: np.ndarray) -> dict[int, Histogram]:
    """Histogram of the values of every context in use."""
    order = np.argsort(contexts, kind="stable")
    edges = np.searchsorted(contexts[order], np.arange(codec.CONTEXTS + 1))
    unsigned = values.view(np.uint64)[order]
    return {
        context: histogram(unsigned[edges[context] : edges[context + 1]])
        for context in range(codec.CONTEXTS)
        if edges[context] < edges[context + 1]
    }


def encode_batch(
    memory: Memory,
    blocks: Sequence[bytes],
    lane_signatures: Sequence[bytes],
    apply: ApplyBlock = apply_block,
) -> bytes:
    """Encode plain blocks as one batch; `memory` holds the state before, and after, them."""
    encoder = BatchEncoder(memory, apply)
    for block in blocks:
        encoder.add_block(block)
    return encoder.finish(lane_signatures)
