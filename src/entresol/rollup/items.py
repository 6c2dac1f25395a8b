"""Items: what the entropy coder carries, as pairs of a context and a value, in reading order."""

from typing import Final

import numpy as np

from entresol.kernel.codec import format as codec
from entresol.kernel.layout import _record
from entresol.kernel.subset import i64, record_at, shift_right, store_i64, store_u16
from entresol.rollup.native import native_function

SINK: Final = _record(
    [
        ("count", "u8"),
        ("contexts", "u8"),  # native address of u2 per item
        ("values", "u8"),  # native address of i8 per item
        ("value_exponent", "u8"),  # every oracle price so far is a multiple of 10 to this power
        ("operation_count", "u8"),
    ],
    64,
)
"""Where the items go; the arrays are the caller's and large enough."""

RAW: Final = 256
"""An item's context from here on: RAW + n means n equally likely bits."""

sink_at = record_at(SINK)


def new_sink() -> np.ndarray:
    """A sink without arrays, as a one-record array."""
    sink = np.zeros(1, SINK)
    sink["value_exponent"] = codec.MAX_VALUE_EXPONENT
    return sink


@native_function
def push(sink: int, context: int, value: int) -> None:
    """Append an item."""
    record = sink_at(sink)
    count = i64(record.count)
    store_u16(i64(record.contexts) + 2 * count, context)
    store_i64(i64(record.values) + 8 * count, value)
    record.count = count + 1


@native_function
def push_word(sink: int, word: int) -> None:
    """64 raw bits in the pieces that read_word reads."""
    push(sink, i64(RAW + 22), word & ((1 << 22) - 1))
    push(sink, i64(RAW + 21), shift_right(word, 22) & ((1 << 21) - 1))
    push(sink, i64(RAW + 21), shift_right(word, 43))
