"""Generated market data with the statistics of the recording, for runs without a file.

The result has the same event types as a recorded feed, so whatever replays one replays the
other.  Same seed, same events.  Not imitated: best prices are sent once per event, not at the
recorded rate, and quantities do not depend on the distance from the middle.
"""

import bisect
import math
import random
from collections.abc import Iterator

from entresol.client.flow_statistics import RECORDED, FlowStatistics, draw
from entresol.client.market_data import BookTicker, DepthUpdate, Event, Level, Trade

TICK = 100_000
"""Price step of the generated feed: 0.1 in millionths."""

LOT = 1_000
"""Quantity step of the generated feed: 0.001 in millionths."""

SNAPSHOT_LEVELS = 1_000
"""Levels per side of the snapshot that opens the feed, as in the recording."""

START_NS = 1_723_161_255_000_000_000
"""Time of the first generated event, that of the recording."""


class _Side:
    """Levels of one side: a dictionary and its sorted ticks."""

    def __init__(self, sign: int) -> None:
        self.sign = sign  # +1 for bids, which lie below the middle
        self.ticks: list[int] = []
        self.lots: dict[int, int] = {}

    def set(self, tick: int, lots: int) -> None:
        known = tick in self.lots
        if lots and not known:
            bisect.insort(self.ticks, tick)
        if not lots and known:
            del self.ticks[bisect.bisect_left(self.ticks, tick)]
            del self.lots[tick]
        if lots:
            self.lots[tick] = lots

    def best(self) -> int:
        return self.ticks[-1] if self.sign > 0 else self.ticks[0]

    def nearest(self, tick: int) -> int:
        """The occupied tick closest to `tick`."""
        position = bisect.bisect_left(self.ticks, tick)
        around = self.ticks[max(position - 1, 0) : position + 1]
        return min(around, key=lambda candidate: abs(candidate - tick))

    def beyond(self, touch: int) -> list[int]:
        """Occupied ticks better than `touch`: the middle has passed them."""
        if self.sign > 0:
            return self.ticks[bisect.bisect_right(self.ticks, touch) :]
        return self.ticks[: bisect.bisect_left(self.ticks, touch)]


class FlowGenerator:
    """Endless feed: a snapshot, then depth updates, trades and best prices in order of time."""

    def __init__(self, seed: int = 1, statistics: FlowStatistics = RECORDED) -> None:
        self.statistics = statistics
        self.random = random.Random(seed)
        self.middle = statistics.middle * 1e6 / TICK  # in ticks, a random walk
        self.sides = (_Side(1), _Side(-1))
        self.now_ns = START_NS
        self.update_id = 1
        self.trade_id = 1

    def events(self) -> Iterator[Event]:
        """Yield events without end."""
        statistics = self.statistics
        yield self._snapshot()
        updates = statistics.depth_updates_per_second
        bursts = statistics.trades_per_second / statistics.trades_per_burst
        while True:
            elapsed = self.random.expovariate(updates + bursts)
            self.now_ns += max(1, int(elapsed * 1e9))
            deviation = statistics.middle_deviation * elapsed**0.5
            self.middle += self.random.gauss(0.0, deviation)
            if self.random.random() < updates / (updates + bursts):
                yield self._depth_update()
            else:
                yield from self._burst()
            yield self._ticker()

    def _quantity(self, table: tuple[float, ...]) -> int:
        return max(LOT, round(draw(table, self.random.random()) * 1e6) // LOT * LOT)

    def _tick(self, side: _Side, table: tuple[float, ...]) -> int:
        away = draw(table, self.random.random())
        touch = math.floor(self.middle) + (side.sign < 0)
        return touch - side.sign * max(0, round(away))  # better than the touch would cross

    def _snapshot(self) -> DepthUpdate:
        for side in self.sides:
            while len(side.ticks) < SNAPSHOT_LEVELS:
                tick = self._tick(side, self.statistics.distance_new)
                side.set(tick, self._quantity(self.statistics.quantity_new) // LOT)
        bids, asks = (
            tuple((tick * TICK, side.lots[tick] * LOT) for tick in side.ticks[:: -side.sign])
            for side in self.sides
        )
        return DepthUpdate(self.now_ns, self.update_id, bids, asks, snapshot=True)

    def _depth_update(self) -> DepthUpdate:
        self.update_id += 1
        changes: tuple[list[Level], list[Level]] = ([], [])
        for index, side in enumerate(self.sides):
            touch = math.floor(self.middle) + index  # the spread is one tick, as recorded
            for tick in side.beyond(touch):
                side.set(tick, 0)
                changes[index].append((tick * TICK, 0))
            if touch not in side.lots:
                side.set(touch, self._quantity(self.statistics.quantity_new) // LOT)
                changes[index].append((touch * TICK, side.lots[touch] * LOT))
        for _ in range(
            max(1, round(draw(self.statistics.levels_per_update, self.random.random())))
        ):
            index = self.random.randrange(2)
            tick, lots = self._level_change(self.sides[index])
            self.sides[index].set(tick, lots)
            changes[index].append((tick * TICK, lots * LOT))
        return DepthUpdate(self.now_ns, self.update_id, tuple(changes[0]), tuple(changes[1]))

    def _level_change(self, side: _Side) -> tuple[int, int]:
        statistics = self.statistics
        kind = self.random.random()
        if kind < statistics.share_new:
            tick = self._tick(side, statistics.distance_new)
            while tick in side.lots:
                tick -= side.sign
            return tick, self._quantity(statistics.quantity_new) // LOT
        if kind < statistics.share_new + statistics.share_changed or len(side.ticks) < 2:
            tick = side.nearest(self._tick(side, statistics.distance_changed))
            return tick, self._quantity(statistics.quantity_changed) // LOT
        return side.nearest(self._tick(side, statistics.distance_removed)), 0

    def _burst(self) -> Iterator[Trade]:
        """Executions of one taker order, at the best price of the other side."""
        buys = self.random.random() < self.statistics.taker_buy_share
        book = self.sides[1 if buys else 0]
        # Geometric, so that the mean number of executions is the measured one.
        again = 1.0 - 1.0 / self.statistics.trades_per_burst
        while True:
            quantity = self._quantity(self.statistics.quantity_trade)
            price = book.best() * TICK
            yield Trade(self.now_ns, self.trade_id, price, quantity, buyer_is_maker=not buys)
            self.trade_id += 1
            if self.random.random() >= again:
                return

    def _ticker(self) -> BookTicker:
        bids, asks = self.sides
        bid, ask = bids.best(), asks.best()
        return BookTicker(
            self.now_ns, bid * TICK, bids.lots[bid] * LOT, ask * TICK, asks.lots[ask] * LOT
        )
