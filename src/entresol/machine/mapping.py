"""Sparse anonymous memory: the operating system supplies a page when it is first written."""

import mmap
import pathlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

PAGE_BYTES = mmap.PAGESIZE
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
_PAGE_MAP = pathlib.Path("/proc/self/pagemap")
_PRESENT_OR_SWAPPED = 62
"""Bits 62 and 63 of a pagemap entry: the page is in swap, the page is in memory."""


class SparseMapping:
    """`length` bytes (a multiple of the page size), all zero when created."""

    def __init__(self, length: int, huge_pages: bool = False) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._mapping = mmap.mmap(-1, length, flags=flags)
        self._mapping.madvise(mmap.MADV_HUGEPAGE if huge_pages else mmap.MADV_NOHUGEPAGE)
        self.array: npt.NDArray[np.uint8] = np.frombuffer(self._mapping, np.uint8)
        self.base: int = self.array.ctypes.data
        """Native address of the first byte."""

    def resident_pages(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Ascending offsets of the pages in [start, end) that may hold a non-zero byte.

        A page that was only read may be listed too; a page not listed is zero.
        """
        first, last = start // PAGE_BYTES, -(-end // PAGE_BYTES)
        with _PAGE_MAP.open("rb", buffering=0) as page_map:
            page_map.seek((self.base // PAGE_BYTES + first) * 8)
            entries = np.frombuffer(page_map.read((last - first) * 8), np.uint64)
        if len(entries) != last - first:
            raise OSError("The page map was cut short; run on Linux with /proc mounted.")
        return (np.flatnonzero(entries >> np.uint64(_PRESENT_OR_SWAPPED)) + first) * PAGE_BYTES

    def written_pages(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Ascending offsets of the pages in [start, end) that do hold a non-zero byte."""
        pages = self.resident_pages(start, end)
        by_page = self.array.reshape(-1, PAGE_BYTES)
        live = [
            by_page[first // PAGE_BYTES : last // PAGE_BYTES].any(axis=1)
            for first, last in page_runs(pages)
        ]
        return pages[np.concatenate(live)] if live else pages

    def clear(self, start: int, end: int) -> None:
        """Set the pages of [start, end) to zero and give them back."""
        self._mapping.madvise(mmap.MADV_DONTNEED, start, end - start)


def page_runs(pages: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Half-open byte ranges of neighbouring pages."""
    if len(pages) == 0:
        return
    breaks = np.flatnonzero(np.diff(pages) != PAGE_BYTES) + 1
    for run in np.split(pages, breaks):
        yield int(run[0]), int(run[-1]) + PAGE_BYTES
