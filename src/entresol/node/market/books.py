"""Order books as price levels, walked natively on the live state."""

from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from entresol.kernel import layout
from entresol.kernel.layout import VOLATILE_BASE
from entresol.kernel.order_book import next_level, side_index
from entresol.kernel.subset import FLAGS
from entresol.kernel.views import volatile_at
from entresol.machine.memory import Memory

MAX_DEPTH: Final = 10_000
"""Most levels of one side that are ever shown."""


@numba.njit(**FLAGS)
def _walk(
    memory: int,
    instrument: int,
    side: int,
    depth: int,
    ticks: npt.NDArray[np.int64],
    lots: npt.NDArray[np.int64],
) -> int:
    """Fill ladder ticks and total lots of the best `depth` levels; returns how many there are."""
    volatile = volatile_at(memory + VOLATILE_BASE)
    found = np.int64(0)
    index = np.int64(volatile.side[instrument, side].best)
    while index < layout.EMPTY_BOOK_SIDE and found < depth:
        tick = side_index(index, side)
        total = np.int64(0)
        number = np.int64(volatile.level[instrument, tick].head)
        while number != 0:
            total += np.int64(volatile.order[number].remaining)
            number = np.int64(volatile.order[number].next)
        ticks[found] = tick
        lots[found] = total
        found += 1
        index = next_level(volatile, instrument, side, index)
    return found  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Book:
    """Price levels of one instrument, best first: (absolute ticks, lots) pairs."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class BookReader:
    """Walks books of one memory; keeps its two buffers."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._ticks = np.zeros(MAX_DEPTH, np.int64)
        self._lots = np.zeros(MAX_DEPTH, np.int64)

    def read(self, instrument: int, base_tick: int, depth: int) -> Book:
        """The best `depth` (at most MAX_DEPTH) levels of both sides."""
        return Book(
            self._side(instrument, layout.BUY, base_tick, depth),
            self._side(instrument, layout.SELL, base_tick, depth),
        )

    def _side(
        self, instrument: int, side: int, base_tick: int, depth: int
    ) -> list[tuple[int, int]]:
        wanted = min(depth, MAX_DEPTH)
        found = _walk(self._memory.base, instrument, side, wanted, self._ticks, self._lots)
        ticks = (self._ticks[:found] + base_tick).tolist()
        return list(zip(ticks, self._lots[:found].tolist(), strict=True))
