"""The machine's address space as one anonymous 4 GiB mapping.

Machine address A is native address `Memory.base + A`, so the native kernel and both engines work
on the same bytes.  The operating system supplies a page when it is first written; an untouched
page reads as zero and costs nothing, which is what makes the sparse tables of layout.py cheap.
"""

import mmap
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout

PAGE_BYTES = mmap.PAGESIZE
_SPAN = 1 << layout.ADDRESS_BITS
_PAGES = _SPAN // PAGE_BYTES
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
_PAGE_MAP = pathlib.Path("/proc/self/pagemap")
_PRESENT_OR_SWAPPED = 62
"""Bits 62 and 63 of a pagemap entry: the page is in swap, the page is in memory."""


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
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._mapping = mmap.mmap(-1, _SPAN, flags=flags)
        self._mapping.madvise(mmap.MADV_HUGEPAGE if huge_pages else mmap.MADV_NOHUGEPAGE)
        self.array: npt.NDArray[np.uint8] = np.frombuffer(self._mapping, np.uint8)
        """Every byte of the machine, indexed by machine address."""
        self.base: int = self.array.ctypes.data
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
        first, last = 0, _PAGES
        if region is not None:
            base, length, _ = layout.REGIONS[region]
            first, last = base // PAGE_BYTES, (base + length) // PAGE_BYTES
        with _PAGE_MAP.open("rb", buffering=0) as pagemap:
            pagemap.seek((self.base // PAGE_BYTES + first) * 8)
            entries = np.frombuffer(pagemap.read((last - first) * 8), np.uint64)
        if len(entries) != last - first:
            raise OSError("The kernel returned a short page map; resident pages are unknown.")
        return (np.flatnonzero(entries >> np.uint64(_PRESENT_OR_SWAPPED)) + first) * PAGE_BYTES

    def written_pages(self, region: str | None = None) -> npt.NDArray[np.int64]:
        """Ascending addresses of the pages that do hold a non-zero byte."""
        pages = self.resident_pages(region)
        by_page = self.array.reshape(_PAGES, PAGE_BYTES)
        live = [
            by_page[start // PAGE_BYTES : end // PAGE_BYTES].any(axis=1)
            for start, end in _runs(pages)
        ]
        return pages[np.concatenate(live)] if live else pages

    def clear(self, region: str) -> None:
        """Set a whole region to zero and give its pages back."""
        base, length, _ = layout.REGIONS[region]
        self._mapping.madvise(mmap.MADV_DONTNEED, base, length)

    def copy_region_from(self, other: "Memory", region: str) -> None:
        """Make a region equal to the other memory's, byte for byte."""
        wanted = other.written_pages(region)
        stale = np.setdiff1d(self.resident_pages(region), wanted, assume_unique=True)
        for start, end in _runs(stale):
            self._mapping.madvise(mmap.MADV_DONTNEED, start, end - start)
        for start, end in _runs(wanted):
            self.array[start:end] = other.array[start:end]

    def copy_state_from(self, other: "Memory") -> None:
        """Make STATE equal to the other memory's; no other region changes."""
        self.copy_region_from(other, "STATE")


def difference(
    first: Memory, second: Memory, regions: Iterable[str], limit: int = 16
) -> list[int]:
    """Ascending addresses of the first bytes that differ per region, at most `limit` in all."""
    found: list[int] = []
    for region in regions:
        pages = np.union1d(first.resident_pages(region), second.resident_pages(region))
        for start, end in _runs(pages):
            ours, theirs = first.array[start:end], second.array[start:end]
            if np.array_equal(ours, theirs):
                continue
            unequal = np.flatnonzero(ours != theirs)[: limit - len(found)]
            found += [start + int(offset) for offset in unequal]
            if len(found) >= limit:
                return found
    return found


def _check_range(address: int, length: int) -> None:
    if length < 0 or address < 0 or address + length > _SPAN:
        raise MemoryRangeError(address, length)


def _runs(pages: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Half-open byte ranges of neighbouring pages."""
    if len(pages) == 0:
        return
    breaks = np.flatnonzero(np.diff(pages) != PAGE_BYTES) + 1
    for run in np.split(pages, breaks):
        yield int(run[0]), int(run[-1]) + PAGE_BYTES
