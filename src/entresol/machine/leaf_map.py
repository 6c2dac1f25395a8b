"""Which 32-byte leaves a run wrote or read: one byte per leaf of the address space.

An engine marks a leaf with a single store, which is far cheaper than keeping a set, and only the
pages of the map that are used exist.
"""

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout
from entresol.machine.mapping import SparseMapping, page_runs

LEAF_SHIFT = layout.LEAF_BYTES.bit_length() - 1
_LEAVES = 1 << layout.TREE_DEPTH


class LeafMap:
    """A mark for each leaf; leaf number = machine address / LEAF_BYTES."""

    def __init__(self) -> None:
        self._mapping = SparseMapping(_LEAVES)
        self.base: int = self._mapping.base
        """Native address of the mark of leaf 0."""

    def leaves(self, region: str | None = None) -> npt.NDArray[np.int64]:
        """Ascending numbers of the marked leaves, in one region or in all."""
        first, last = 0, _LEAVES
        if region is not None:
            base, length, _ = layout.REGIONS[region]
            first, last = base >> LEAF_SHIFT, (base + length) >> LEAF_SHIFT
        found = [np.zeros(0, np.int64)]
        for start, end in page_runs(self._mapping.resident_pages(first, last)):
            low, high = max(start, first), min(end, last)
            found.append(np.flatnonzero(self._mapping.array[low:high]) + low)
        return np.concatenate(found)

    def clear(self) -> None:
        """Forget every mark."""
        self._mapping.clear(0, _LEAVES)
