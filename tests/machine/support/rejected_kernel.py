"""Kernel functions that the image build must refuse, each for its own reason."""

import numpy as np

from entresol.kernel.subset import i64, kernel_function, load_i64, store_i64

TABLE = np.array([3, 1, 4], dtype=np.int64)


@kernel_function
def divides_truly(memory: int) -> int:
    """The `/` of Python makes a float."""
    return i64(load_i64(memory) / 3)


@kernel_function
def raises(memory: int) -> int:
    """An exception needs a runtime and a pointer to its description."""
    if load_i64(memory) == 7:
        raise ValueError("seven")
    return 0


@kernel_function
def allocates(memory: int) -> int:
    """A local array needs an allocator."""
    values = np.empty(8, np.int64)
    for index in range(8):
        values[index] = load_i64(memory + 8 * index)
    return values[load_i64(memory) & 7]


@kernel_function
def takes_two(memory: int, other: int) -> int:
    """An entry point has one parameter."""
    return memory + other


@kernel_function
def fine(memory: int) -> int:
    """Nothing wrong here; a table of its own."""
    store_i64(memory + 0x8000_0000, TABLE[load_i64(memory + 0x800_0000) % 3])
    return 0
