"""A second module whose table has the same internal name as the first one's."""

import numpy as np

from entresol.kernel.subset import i64, kernel_function

WEIGHTS = np.array([5, 1, 4, 1, 5, 9, 2, 6], dtype=np.int64)
BYTES = np.array([7, 3, 200, 255, 1, 0, 90, 17], dtype=np.uint8)


@kernel_function
def weigh(value: int) -> int:
    """A table look-up in each of two tables."""
    return WEIGHTS[value & 7] * 1000 + i64(BYTES[(value >> 3) & 7])
