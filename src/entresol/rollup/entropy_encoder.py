"""The entropy encoder: items in, the state and words that the kernel's decoder reads out.

It runs backwards over the items, as rANS encoders do.  It runs natively only.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from entresol.kernel.codec import format as codec
from entresol.kernel.codec.tables import bucket_base, bucket_bits, bucket_of
from entresol.kernel.subset import i64, shift_right
from entresol.rollup.entropy_tables import Table
from entresol.rollup.items import RAW
from entresol.rollup.native import native_function

WORDS_PER_ITEM: Final = 4
"""More than any item takes: 12 bits of symbol and 61 extra bits are under three words."""


class PackedTables:
    """All tables of a batch as arrays, table 0 the uniform one."""

    def __init__(self, tables: list[Table], choices: list[int]) -> None:
        count = len(tables) + 1
        self.choices = np.array(choices, np.int64)
        self.logs = np.zeros(count, np.int64)
        self.bucket_frequencies = np.zeros((count, codec.MAX_SYMBOLS), np.int64)
        self.bucket_starts = np.zeros((count, codec.MAX_SYMBOLS), np.int64)
        self.single_counts = np.zeros(count, np.int64)
        self.singles = np.zeros((count, codec.MAX_SYMBOLS), np.int64)
        self.single_frequencies = np.zeros((count, codec.MAX_SYMBOLS), np.int64)
        self.single_starts = np.zeros((count, codec.MAX_SYMBOLS), np.int64)
        self.logs[0] = codec.BUCKET_BITS
        self.bucket_frequencies[0] = 1
        self.bucket_starts[0] = np.arange(codec.MAX_SYMBOLS)
        for number, table in enumerate(tables, 1):
            self._pack(number, table)

    def _pack(self, number: int, table: Table) -> None:
        starts = np.cumsum(table.frequencies) - table.frequencies
        buckets, singles = len(table.buckets), len(table.singles)
        self.logs[number] = table.log
        self.bucket_frequencies[number, table.buckets] = table.frequencies[:buckets]
        self.bucket_starts[number, table.buckets] = starts[:buckets]
        self.single_counts[number] = singles
        self.singles[number, :singles] = table.singles.astype(np.int64)
        self.single_frequencies[number, :singles] = table.frequencies[buckets:]
        self.single_starts[number, :singles] = starts[buckets:]


@native_function
def _put_bits(words: np.ndarray, state: int, count: int, value: int, bits: int) -> tuple[int, int]:
    """Push `bits` (0 to 31) equally likely bits; the new state and number of words."""
    if shift_right(state, 63 - bits) != 0:
        words[count] = state & 0xFFFF_FFFF
        count += 1
        state = shift_right(state, 32)
    return (state << bits) | value, count


@native_function
def _put_symbol(
    words: np.ndarray, state: int, count: int, start: int, frequency: int, log: int
) -> tuple[int, int]:
    """Push a symbol; the new state and number of words."""
    if shift_right(state, 63 - log) >= frequency:
        words[count] = state & 0xFFFF_FFFF
        count += 1
        state = shift_right(state, 32)
    return ((state // frequency) << log) + state % frequency + start, count


@native_function
def _place_in(array: np.ndarray, count: int, value: int) -> int:
    """Index of `value` in the ascending first `count` elements, or -1."""
    low = i64(0)
    high = i64(count)
    while low < high:
        middle = (low + high) >> 1
        if array[middle] < value:
            low = middle + 1
        else:
            high = middle
    if low < count and array[low] == value:
        return low
    return i64(-1)


@native_function
def encode_items(
    contexts: np.ndarray,
    values: np.ndarray,
    words: np.ndarray,
    choices: np.ndarray,
    logs: np.ndarray,
    bucket_frequencies: np.ndarray,
    bucket_starts: np.ndarray,
    single_counts: np.ndarray,
    singles: np.ndarray,
    single_frequencies: np.ndarray,
    single_starts: np.ndarray,
) -> tuple[int, int]:
    """Encode all items; the state to begin decoding with and the number of words, last first.

    Returns -1 for the state when a value has no symbol in its table, which is a bug.
    """
    state = i64(codec.STATE_LOW)
    count = i64(0)
    for back in range(len(contexts)):
        index = len(contexts) - 1 - back
        context = i64(contexts[index])
        value = i64(values[index])
        if context >= RAW:
            state, count = _put_bits(words, state, count, value, context - RAW)
            continue
        table = choices[context]
        log = logs[table]
        single = _place_in(singles[table], single_counts[table], value)
        if single >= 0:
            start = single_starts[table, single]
            frequency = single_frequencies[table, single]
        else:
            bucket = bucket_of(value)
            bits = bucket_bits(bucket)
            extra = value - bucket_base(bucket)
            if bits > 31:
                high = shift_right(extra, 31)
                state, count = _put_bits(words, state, count, high, bits - 31)
                extra &= (1 << 31) - 1
                bits = i64(31)
            if bits > 0:
                state, count = _put_bits(words, state, count, extra, bits)
            start = bucket_starts[table, bucket]
            frequency = bucket_frequencies[table, bucket]
        if frequency == 0:
            return i64(-1), count
        state, count = _put_symbol(words, state, count, start, frequency, log)
    return state, count


def encode_stream(
    contexts: npt.NDArray[np.uint16],
    values: npt.NDArray[np.int64],
    tables: PackedTables,
) -> bytes:
    """The decoder's first state (8 bytes) and its words, for items in the order they are read."""
    words = np.empty(WORDS_PER_ITEM * len(contexts) + 2, np.uint32)
    state, count = encode_items(
        contexts,
        values,
        words,
        tables.choices,
        tables.logs,
        tables.bucket_frequencies,
        tables.bucket_starts,
        tables.single_counts,
        tables.singles,
        tables.single_frequencies,
        tables.single_starts,
    )
    if state < 0:
        raise AssertionError("a value was not counted when its table was built")
    return int(state).to_bytes(8, "little") + words[:count][::-1].astype("<u4").tobytes()
