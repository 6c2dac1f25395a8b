"""Chooses and writes the tables of a batch: symbols and frequencies per context, in integers.

Costs are in 1/256 bit.  The choice is the encoder's own business: any table that the decoder
accepts is right, these only decide how many bytes the batch takes.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from entresol.kernel.codec import format as codec

Integers = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint64]

BIT: Final = 256
"""One bit, in the unit of costs."""

SINGLE_HEADER_COST: Final = 36 * BIT
"""About what naming one value in a table costs: its gap and its frequency."""

SYMBOL_HEADER_COST: Final = 20 * BIT
"""About what one bucket in a table costs: its gap and its frequency."""

TABLE_HEADER_COST: Final = 24 * BIT

MAX_SINGLES: Final = 160
MAX_BUCKETS_BESIDE: Final = codec.MAX_SYMBOLS - MAX_SINGLES
MIN_TABLE_LOG: Final = 3

_POWERS: Final = np.uint64(1) << np.arange(64, dtype=np.uint64)


@lru_cache(maxsize=1)
def logarithms() -> Integers:
    """floor(256 * log2(n)) at index n, for n = 1 to 4096; exact."""
    exact = [0] + [(n**256).bit_length() - 1 for n in range(1, (1 << codec.MAX_TABLE_LOG) + 1)]
    return np.array(exact, np.int64)


def _widths(values: Values) -> Integers:
    """Bit length of each value."""
    return np.searchsorted(_POWERS, values, side="right").astype(np.int64)


def log2_cost(values: Integers) -> Integers:
    """256 * log2 of positive integers, a little low for those beyond 4096."""
    shifts = np.maximum(_widths(values.astype(np.uint64)) - codec.MAX_TABLE_LOG, 0)
    return logarithms()[values >> shifts] + BIT * shifts


def buckets_of(values: Values) -> Integers:
    """Bucket number of each unsigned 64-bit value."""
    exponents = np.maximum(_widths(values) - 1, 2)
    parts = (values >> (exponents - 2).astype(np.uint64)) & np.uint64(3)
    buckets = 4 * (exponents - 1) + parts.astype(np.int64)
    return np.where(values < 8, values.astype(np.int64), buckets)


def bucket_bits(buckets: Integers) -> Integers:
    """Extra bits of each bucket."""
    return np.where(buckets < 8, 0, (buckets >> 2) - 1)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Distinct values, ascending, and how often each one occurs."""

    values: Values
    counts: Integers

    @property
    def total(self) -> int:
        """Number of occurrences."""
        return int(self.counts.sum())

    @property
    def uniform_cost(self) -> int:
        """Cost of coding every occurrence with the uniform table."""
        bits = codec.BUCKET_BITS + bucket_bits(buckets_of(self.values))
        return BIT * int((self.counts * bits).sum())


def histogram(values: Values) -> Histogram:
    """Count the occurrences of each value."""
    distinct, counts = np.unique(values, return_counts=True)
    return Histogram(distinct, counts.astype(np.int64))


def merge(parts: list[Histogram]) -> Histogram:
    """Histogram of all occurrences in `parts`."""
    values = np.concatenate([part.values for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    distinct, places = np.unique(values, return_inverse=True)
    sums = np.zeros(len(distinct), np.int64)
    np.add.at(sums, places, counts)
    return Histogram(distinct, sums)


@dataclass(frozen=True, slots=True)
class Symbols:
    """The symbols a histogram is coded with: buckets, then singles, with their counts."""

    buckets: Integers
    singles: Values
    counts: Integers
    extra_bits: int


def choose_symbols(source: Histogram) -> Symbols:
    """Give a value a symbol of its own where that saves more than naming it in the table costs."""
    buckets = buckets_of(source.values)
    bits = bucket_bits(buckets)
    sums = np.zeros(codec.BUCKETS, np.int64)
    np.add.at(sums, buckets, source.counts)
    lost = log2_cost(sums[buckets]) - log2_cost(source.counts)
    gains = source.counts * (BIT * bits - lost) - SINGLE_HEADER_COST
    gains[(bits == 0) | (source.values >= np.uint64(1 << 62))] = 0
    best = np.argsort(-gains, kind="stable")[:MAX_SINGLES]
    single = np.zeros(len(gains), bool)
    single[best] = gains[best] > 0
    rest = np.zeros(codec.BUCKETS, np.int64)
    np.add.at(rest, buckets[~single], source.counts[~single])
    used = np.flatnonzero(rest)
    if len(used) > MAX_BUCKETS_BESIDE and single.any():
        single[:] = False
        rest, used = sums, np.flatnonzero(sums)
    counts = np.concatenate([rest[used], source.counts[single]])
    extra = int((source.counts * bits)[~single].sum())
    return Symbols(used, source.values[single], counts, extra)


def estimated_cost(source: Histogram) -> int:
    """Cost of coding a histogram with a table of its own, the table included."""
    symbols = choose_symbols(source)
    spread = log2_cost(np.array([source.total]))[0] - log2_cost(symbols.counts)
    header = SYMBOL_HEADER_COST * len(symbols.buckets) + SINGLE_HEADER_COST * len(symbols.singles)
    coded = int((symbols.counts * spread).sum()) + BIT * symbols.extra_bits
    return TABLE_HEADER_COST + header + coded


@dataclass(frozen=True, slots=True)
class Table:
    """One table as the batch carries it: `frequencies` (buckets, then singles) sum to 2^log."""

    log: int
    buckets: Integers
    singles: Values
    frequencies: Integers

    def encode(self) -> bytes:
        """The table's bytes in the tables section."""
        out = bytearray([self.log])
        out += varint(len(self.buckets)) + varint(len(self.singles))
        names = [*self.buckets.tolist(), *self.singles.tolist()]
        previous = -1
        for index, name in enumerate(names):
            if index == len(self.buckets):
                previous = 7
            out += varint(name - previous - 1)
            previous = name
            if index < len(names) - 1:
                out += varint(int(self.frequencies[index]) - 1)
        return bytes(out)


def varint(value: int) -> bytes:
    """An integer from 0 to 2^63 - 1 in groups of seven bits, least first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def quantise(counts: Integers, log: int) -> Integers:
    """Frequencies of at least 1 that sum to 2^log and follow `counts`."""
    total = 1 << log
    scaled = counts * total
    whole = int(counts.sum())
    frequencies = np.maximum(scaled // whole, 1)
    spare = total - int(frequencies.sum())
    if spare > 0:
        # The largest remainders take one each: there are never more than symbols to spare.
        order = np.argsort(-(scaled % whole), kind="stable")
        frequencies[order[:spare]] += 1
    while spare < 0:
        place = int(np.argmax(frequencies))
        taken = min(-spare, max(1, int(frequencies[place]) // 8))
        frequencies[place] -= taken
        spare += taken
    return frequencies


def build_table(source: Histogram) -> Table:
    """The table that codes a histogram in the fewest bytes, its own bytes included."""
    symbols = choose_symbols(source)
    count = len(symbols.counts)
    least = max((count - 1).bit_length(), MIN_TABLE_LOG if count > 1 else 0)
    candidates = range(least, codec.MAX_TABLE_LOG + 1) if count > 1 else range(1)
    best: Table | None = None
    best_cost = 0
    for log in candidates:
        frequencies = quantise(symbols.counts, log)
        table = Table(log, symbols.buckets, symbols.singles, frequencies)
        spread = BIT * log - logarithms()[frequencies]
        cost = int((symbols.counts * spread).sum()) + 8 * BIT * len(table.encode())
        if best is None or cost < best_cost:
            best, best_cost = table, cost
    assert best is not None
    return best


# --- which contexts share a table ------------------------------------------------------------


def _families() -> list[range]:
    """Contexts that may share a table: those of one column, and both shape columns."""
    families: list[range] = []
    position = 0
    for name, contexts in codec.COLUMNS:
        span = range(position, position + contexts)
        position += contexts
        if name == "shape_next":
            families[-1] = range(families[-1].start, span.stop)
        else:
            families.append(span)
    return families


FAMILIES: Final = tuple(_families())


def _group(parts: list[tuple[list[int], Histogram]]) -> list[tuple[list[int], Histogram]]:
    """Merge the contexts of a family while that lowers the cost."""
    groups = [(contexts, part, estimated_cost(part)) for contexts, part in parts]
    groups = [(c, h, min(cost, h.uniform_cost)) for c, h, cost in groups]
    pairs: dict[tuple[int, ...], tuple[int, Histogram]] = {}
    while len(groups) > 1:
        best: tuple[int, int, int] | None = None
        for i, (left, first, cost_first) in enumerate(groups):
            for j in range(i + 1, len(groups)):
                right, second, cost_second = groups[j]
                key = (*left, -1, *right)
                if key not in pairs:
                    merged = merge([first, second])
                    cost = min(estimated_cost(merged), merged.uniform_cost)
                    pairs[key] = (cost - cost_first - cost_second, merged)
                if pairs[key][0] <= 0 and (best is None or pairs[key][0] < best[0]):
                    best = (pairs[key][0], i, j)
        if best is None:
            break
        saving, i, j = best
        merged = pairs[*groups[i][0], -1, *groups[j][0]][1]
        cost = groups[i][2] + groups[j][2] + saving
        joined = (groups[i][0] + groups[j][0], merged, cost)
        groups = [group for k, group in enumerate(groups) if k not in (i, j)] + [joined]
    return [(contexts, part) for contexts, part, _ in groups]


def choose_tables(histograms: dict[int, Histogram]) -> tuple[list[Table], list[int]]:
    """Tables of a batch and which one each context uses: 0 is the uniform one, 1 the first."""
    owners: list[tuple[list[int], Table]] = []
    for family in FAMILIES:
        used = [([context], histograms[context]) for context in family if context in histograms]
        for contexts, part in _group(used):
            table = build_table(part)
            if estimated_cost(part) < part.uniform_cost:
                owners.append((contexts, table))
    owners.sort(key=lambda owner: min(owner[0]))
    choices = [0] * codec.CONTEXTS
    for number, (contexts, _) in enumerate(owners):
        for context in contexts:
            choices[context] = number + 1
    return [table for _, table in owners], choices
