"""The machine's address space as one anonymous 4 GiB mapping.

Machine address A is native address `Memory.base + A`, so the native kernel and both engines work
on the same bytes.  An untouched page reads as zero and costs nothing, which is what makes the
sparse tables of layout.py cheap.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout
from entresol.machine.mapping import PAGE_BYTES, SparseMapping, page_runs

__all__ = ["PAGE_BYTES", "Memory", "MemoryRangeError", "difference", "difference_in"]

_SPAN = 1 << layout.ADDRESS_BITS


class MemoryRangeError(ValueError):
    """An access reaches outside the 32-bit address space of the machine."""

    def __init__(self, address: int, length: int) -> None:
        super().__init__(
            f"{length} bytes at address {address:#x} do not lie within the machine's "
            f"{layout.ADDRESS_BITS}-bit address space; check the address against layout.py."
        )
        self.address = address
        self.length = length


class Memory:
    """The 4 GiB address space of one machine, all zero when created.

    `huge_pages` lets the operating system back it with 2 MiB pages: quicker for random access,
    but each first touch then costs 2 MiB and `resident_pages` reports whole huge pages.
    """

    def __init__(self, huge_pages: bool = False) -> None:
        self._mapping = SparseMapping(_SPAN, huge_pages)
        self.array: npt.NDArray[np.uint8] = self._mapping.array
        """Every byte of the machine, indexed by machine address."""
        self.base: int = self._mapping.base
        """Native address of machine address 0."""

    def read(self, address: int, length: int) -> bytes:
        """Copy of `length` bytes; raises MemoryRangeError outside the mapping."""
        _check_range(address, length)
        return self.array[address : address + length].tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Store `data`; region permissions bind the program, not the host."""
        _check_range(address, len(data))
        self.array[address : address + len(data)] = np.frombuffer(data, np.uint8)

    def view(
        self, address: int, dtype: npt.DTypeLike, count: int | None = None
    ) -> npt.NDArray[np.void]:
        """Writable array over the machine's own bytes: shape (count,), or () without a count."""
        item = np.dtype(dtype)
        length = item.itemsize * (1 if count is None else count)
        _check_range(address, length)
        shape = () if count is None else (count,)
        return np.ndarray(shape, item, buffer=self.array, offset=address)

    def resident_pages(self, region: str | None = None) -> npt.NDArray[np.int64]:
        """Ascending addresses of the pages that may hold a non-zero byte, in one region or all.

        A page that was only read may be listed too; a page not listed is zero.
        """
        return self._mapping.resident_pages(*_bounds(region))

    def resident_pages_in(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """`resident_pages` of the addresses in [start, end)."""
        return self._mapping.resident_pages(start, end)

    def written_pages(self, region: str | None = None) -> npt.NDArray[np.int64]:
        """Ascending addresses of the pages that do hold a non-zero byte."""
        return self._mapping.written_pages(*_bounds(region))

    def clear(self, region: str) -> None:
        """Set a whole region to zero and give its pages back."""
        self._mapping.clear(*_bounds(region))

    def copy_region_from(self, other: "Memory", region: str) -> None:
        """Make a region equal to the other memory's, byte for byte."""
        wanted = other.written_pages(region)
        stale = np.setdiff1d(self.resident_pages(region), wanted, assume_unique=True)
        for start, end in page_runs(stale):
            self._mapping.clear(start, end)
        for start, end in page_runs(wanted):
            self.array[start:end] = other.array[start:end]

    def copy_state_from(self, other: "Memory") -> None:
        """Make STATE equal to the other memory's; no other region changes."""
        self.copy_region_from(other, "STATE")


def difference(first: Memory, second: Memory, regions: Iterable[str], limit: int = 16) -> list[int]:
    """Addresses of the first bytes that differ, region by region, at most `limit` in all."""
    found: list[int] = []
    for region in regions:
        found += difference_in(first, second, *_bounds(region), limit - len(found))
    return found


def difference_in(
    first: Memory, second: Memory, start: int, end: int, limit: int = 16
) -> list[int]:
    """Ascending addresses of the first `limit` bytes in [start, end), whole pages, that differ."""
    found: list[int] = []
    pages = np.union1d(first.resident_pages_in(start, end), second.resident_pages_in(start, end))
    for low, high in page_runs(pages):
        ours, theirs = first.array[low:high], second.array[low:high]
        if len(found) < limit and not np.array_equal(ours, theirs):
            unequal = np.flatnonzero(ours != theirs)[: limit - len(found)]
            found += [low + int(offset) for offset in unequal]
    return found


def _bounds(region: str | None) -> tuple[int, int]:
    if region is None:
        return 0, _SPAN
    base, length, _ = layout.REGIONS[region]
    return base, base + length


def _check_range(address: int, length: int) -> None:
    if length < 0 or address < 0 or address + length > _SPAN:
        raise MemoryRangeError(address, length)
