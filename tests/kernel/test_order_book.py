"""The ladder's three-level bitmap against a plain set of occupied levels."""

import random

import numpy as np
import pytest

from entresol.kernel import layout
from entresol.kernel.layout import VOLATILE_BASE
from entresol.kernel.order_book import clear_level, mark_level, next_level, side_index
from entresol.kernel.subset import i64, kernel_function
from entresol.kernel.views import volatile, volatile_at
from entresol.machine.memory import Memory


@kernel_function
def mark(base: int, index: int) -> None:
    mark_level(volatile_at(base + VOLATILE_BASE), i64(5), i64(1), index)


@kernel_function
def clear(base: int, index: int) -> None:
    clear_level(volatile_at(base + VOLATILE_BASE), i64(5), i64(1), index)


@kernel_function
def following(base: int, index: int) -> int:
    return next_level(volatile_at(base + VOLATILE_BASE), i64(5), i64(1), index)


def edges() -> list[int]:
    """Indices around every boundary of bits, words and groups."""
    around = [0, 63, 64, 4_095, 4_096, 131_071, 131_072, layout.TICKS - 1]
    found = {index + shift for index in around for shift in (-1, 0, 1)}
    return sorted(index for index in found if 0 <= index < layout.TICKS)


@pytest.mark.parametrize("seed", range(4))
def test_best_and_next_are_those_of_a_set(seed: int) -> None:
    memory = Memory()
    record = volatile(memory.array)["side"][5, 1]
    record["best"] = layout.EMPTY_BOOK_SIDE
    draw = random.Random(seed)
    pool = edges() + [draw.randrange(layout.TICKS) for _ in range(30)]
    levels: set[int] = set()
    for _ in range(2_000):
        index = draw.choice(pool)
        if index in levels and draw.random() < 0.6:
            levels.remove(index)
            clear(memory.base, index)
        elif index not in levels:
            levels.add(index)
            mark(memory.base, index)
        best = min(levels, default=layout.EMPTY_BOOK_SIDE)
        assert int(record["best"]) == best
        start = draw.choice(pool)
        expected = min((n for n in levels if n > start), default=layout.EMPTY_BOOK_SIDE)
        assert following(memory.base, start) == expected
    for index in levels:
        clear(memory.base, index)
    assert not np.any(volatile(memory.array)["bitmap"][5, 1])
    assert not np.any(volatile(memory.array)["middle"][5, 1])
    assert int(record["summary"]) == 0


def test_the_bid_side_is_mirrored() -> None:
    for tick in edges():
        assert side_index(tick, layout.SELL) == tick
        assert side_index(tick, layout.BUY) == layout.TICKS - 1 - tick
        assert side_index(side_index(tick, layout.BUY), layout.BUY) == tick
