"""One stream of orders and cancels through our book and through other Python order books.

Every engine must trade the same number of lots; a rate without that agreement is not reported.
The peers come with the optional extra `bench`; one that is not installed is skipped by name.
"""

import heapq
import importlib
import importlib.metadata
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.kernel import benchmark_matching, matching_operations
from entresol.kernel import layout

Stream = list[tuple[bool, int, int, int, int]]
"""(is a cancel, order id, side, price in ticks, lots)"""


def decode_stream(records: np.ndarray) -> Stream:
    """The kernel benchmark's records as plain Python values."""
    ids = records["account"].astype(np.int64) * layout.SLOTS + records["slot"]
    return list(
        zip(
            (records["kind"] == layout.CANCEL).tolist(),
            ids.tolist(),
            (records["flags"] & 1).tolist(),
            records["price"].tolist(),
            records["quantity"].tolist(),
            strict=True,
        )
    )


class PlainBook:
    """Price-time priority in plain Python: a queue per price, a heap of prices per side."""

    def __init__(self) -> None:
        self.queues: tuple[dict[int, OrderedDict[int, int]], ...] = ({}, {})
        self.heaps: tuple[list[int], list[int]] = ([], [])
        self.places: dict[int, tuple[int, int]] = {}

    def cancel(self, order: int) -> None:
        place = self.places.pop(order, None)
        if place is not None:
            del self.queues[place[0]][place[1]][order]

    def place(self, order: int, side: int, price: int, lots: int) -> int:
        """Match, then rest what is left; returns the lots traded."""
        wanted = lots
        other, heap = self.queues[1 - side], self.heaps[1 - side]
        while lots and heap:
            best = heap[0] if side == layout.BUY else -heap[0]
            if best > price if side == layout.BUY else best < price:
                break
            queue = other[best]
            while lots and queue:
                first = next(iter(queue))
                traded = min(lots, queue[first])
                lots -= traded
                queue[first] -= traded
                if queue[first] == 0:
                    del queue[first], self.places[first]
            if not queue:
                del other[best]
                heapq.heappop(heap)
        if lots:
            own = self.queues[side]
            if price not in own:
                own[price] = OrderedDict()
                heapq.heappush(self.heaps[side], -price if side == layout.BUY else price)
            own[price][order] = lots
            self.places[order] = (side, price)
        return wanted - lots


def run_plain(stream: Stream) -> int:
    book = PlainBook()
    traded = 0
    for is_cancel, order, side, price, lots in stream:
        if is_cancel:
            book.cancel(order)
        else:
            traded += book.place(order, side, price, lots)
    return traded


def run_lightmatchingengine(stream: Stream) -> int:
    module = importlib.import_module("lightmatchingengine.lightmatchingengine")
    engine = module.LightMatchingEngine()
    sides = (module.Side.BUY, module.Side.SELL)
    orders: dict[int, Any] = {}
    traded = 0
    for is_cancel, order, side, price, lots in stream:
        if is_cancel:
            placed = orders.pop(order, None)
            if placed is not None and placed.leaves_qty:
                engine.cancel_order(placed.order_id, "X")
        else:
            placed, _ = engine.add_order("X", price, lots, sides[side])
            orders[order] = placed
            traded += placed.cum_qty
    return traded


def run_pyorderbook(stream: Stream) -> int:
    module = importlib.import_module("pyorderbook")
    logging.getLogger("pyorderbook.book").setLevel(logging.WARNING)
    book = module.Book()
    makes = (module.bid, module.ask)
    orders: dict[int, Any] = {}
    traded = 0
    for is_cancel, order, side, price, lots in stream:
        if is_cancel:
            placed = orders.pop(order, None)
            if placed is not None and placed.quantity:
                book.cancel(placed)
        else:
            placed = makes[side]("X", price, lots)
            book.match(placed)
            orders[order] = placed
            traded += lots - placed.quantity
    return traded


PEERS: dict[str, tuple[str | None, Callable[[Stream], int]]] = {
    "plain Python book": (None, run_plain),
    "lightmatchingengine": ("lightmatchingengine", run_lightmatchingengine),
    "pyorderbook": ("pyorderbook", run_pyorderbook),
}
"""Name: (distribution, runner)."""


def benchmark_books(count: int = 200_000) -> dict[str, Any]:
    """Operations per second of each engine on the same stream, and the ratio to the plain book."""
    records = matching_operations(count)
    stream = decode_stream(records)
    ours = benchmark_matching(count)
    expected = run_plain(stream)
    engines: dict[str, Any] = {
        "entresol kernel, book alone": {
            "operations_per_second": ours["operations_per_second"],
            "agrees": ours["lots_traded"] == expected,
        }
    }
    for name, (distribution, run) in PEERS.items():
        try:
            version = importlib.metadata.version(distribution) if distribution else ""
        except importlib.metadata.PackageNotFoundError:
            engines[name] = {"skipped": "not installed: pip install 'entresol[bench]'"}
            continue
        start = time.perf_counter()
        traded = run(stream)
        seconds = time.perf_counter() - start
        engines[name] = {
            "version": version,
            "operations_per_second": count / seconds,
            "agrees": traded == expected,
        }
    plain = engines["plain Python book"]["operations_per_second"]
    for engine in engines.values():
        if "operations_per_second" in engine:
            engine["ratio_to_plain_python"] = engine["operations_per_second"] / plain
    return {"operations": count, "lots_traded": expected, "engines": engines}
