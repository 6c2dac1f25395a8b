"""A quick estimate of what items will take once encoded, for sealing a batch by its size."""

import numpy as np

from entresol.kernel.codec import format as codec
from entresol.kernel.codec import model
from entresol.kernel.codec.entropy import fold
from entresol.kernel.codec.tables import bucket_bits, bucket_of
from entresol.kernel.subset import (
    i64,
    remainder_truncate,
)
from entresol.rollup.items import RAW
from entresol.rollup.native import native_function


@native_function
def _estimate_items(
    contexts: np.ndarray, values: np.ndarray, counts: np.ndarray, logarithms: np.ndarray
) -> int:
    """Cost of items in 1/256 bit under counts that adapt as they go."""
    cost = i64(0)
    for index in range(len(contexts)):
        context = i64(contexts[index])
        if context >= RAW:
            cost += 256 * (context - RAW)
            continue
        value = i64(values[index])
        if codec.SHAPE_FIRST <= context < codec.SLOT:
            bucket = remainder_truncate(value, i64(251))
        else:
            if codec.VALUE <= context < codec.VALUE + model.VALUE_OTHER:
                value = fold(value)
            bucket = bucket_of(value)
            cost += 256 * bucket_bits(bucket)
        row = counts[context]
        cost += logarithms[row[255] + 16] - logarithms[row[bucket] + 1]
        row[bucket] += 1
        row[255] += 1
        if row[255] >= 4000:
            total = i64(0)
            for place in range(255):
                row[place] >>= 1
                total += row[place]
            row[255] = total
    return cost


class Estimate:
    """Running estimate of what the items so far will take once encoded."""

    def __init__(self, logarithms: np.ndarray) -> None:
        self._logarithms = logarithms
        self._counts = np.zeros((codec.CONTEXTS, 256), np.int64)
        self.bits = 0
        """In 1/256 bit."""

    def add(self, contexts: np.ndarray, values: np.ndarray) -> None:
        """Take the items of one more block."""
        cost = _estimate_items(contexts, values, self._counts, self._logarithms)
        self.bits += int(cost)
