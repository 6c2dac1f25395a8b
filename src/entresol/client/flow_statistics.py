"""What a recorded feed is like, in numbers: rates, sizes and distances from the middle.

`measure_flow` takes them from any feed; `RECORDED` holds those of the recording this project
replays, and is what generated flow imitates.
"""

import bisect
import itertools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Final

from entresol.client.market_data import BookTicker, DepthUpdate, Event, Trade
from entresol.kernel import layout

PROBABILITIES: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Where quantiles are taken; the last percent is cut off, a few levels far from any trade."""

FARTHEST_TICKS: Final = layout.TICKS // 2
"""Changes farther from the middle than half a price ladder are not counted."""

Quantiles = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FlowStatistics:
    """Rates per second of market time, quantities in units of the underlying, distances in ticks.

    A distance counts from the middle of the best prices into the book.
    """

    seconds: float
    middle: float
    depth_updates_per_second: float
    book_tickers_per_second: float
    trades_per_second: float
    trades_per_burst: float
    taker_buy_share: float
    middle_deviation: float  # standard deviation of the middle over one second, in ticks
    levels_per_side: float
    share_new: float
    share_changed: float
    share_removed: float
    levels_per_update: Quantiles
    distance_new: Quantiles
    distance_changed: Quantiles
    distance_removed: Quantiles
    quantity_new: Quantiles
    quantity_changed: Quantiles
    quantity_trade: Quantiles

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for reports."""
        return asdict(self)


def quantiles(values: list[float]) -> Quantiles:
    """Values at PROBABILITIES, six significant digits; all zero for no values."""
    if not values:
        return (0.0,) * len(PROBABILITIES)
    ordered = sorted(values)
    last = len(ordered) - 1
    return tuple(float(f"{ordered[round(p * last)]:.6g}") for p in PROBABILITIES)


def draw(table: Quantiles, uniform: float) -> float:
    """Value of a quantile table at `uniform` in [0, 1), linear between its points."""
    position = uniform * PROBABILITIES[-1]
    upper = min(max(bisect.bisect_right(PROBABILITIES, position), 1), len(PROBABILITIES) - 1)
    low, high = PROBABILITIES[upper - 1], PROBABILITIES[upper]
    weight = (position - low) / (high - low)
    return table[upper - 1] + weight * (table[upper] - table[upper - 1])


@dataclass(slots=True)
class _Meter:
    """Running sums behind measure_flow."""

    tick_size: int
    middle: float = 0.0
    first_ns: int = 0
    last_ns: int = 0
    tickers: int = 0
    bursts: int = 0
    burst_key: tuple[int, bool] | None = None
    taker_buys: int = 0
    levels: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    updates: list[float] = field(default_factory=list)
    trades: list[float] = field(default_factory=list)
    distance: dict[str, list[float]] = field(
        default_factory=lambda: {"new": [], "changed": [], "removed": []}
    )
    quantity: dict[str, list[float]] = field(default_factory=lambda: {"new": [], "changed": []})
    seconds: dict[int, float] = field(default_factory=dict)

    def add_depth(self, update: DepthUpdate) -> None:
        if not update.snapshot:
            self.updates.append(len(update.bids) + len(update.asks))
        for side, levels in enumerate((update.bids, update.asks)):
            known = self.levels[side]
            for price, quantity in levels:
                before = known.get(price, 0)
                if quantity:
                    known[price] = quantity
                else:
                    known.pop(price, None)
                if update.snapshot or quantity == before or not self.middle:
                    continue
                away = (self.middle - price) * (1 if side == 0 else -1) / self.tick_size
                if abs(away) > FARTHEST_TICKS:
                    continue
                kind = "removed" if not quantity else "changed" if before else "new"
                self.distance[kind].append(away)
                if quantity:
                    self.quantity[kind].append(quantity / 1e6)

    def add_ticker(self, ticker: BookTicker) -> None:
        self.tickers += 1
        self.middle = (ticker.bid + ticker.ask) / 2
        self.seconds[ticker.received_ns // 1_000_000_000] = self.middle / self.tick_size

    def add_trade(self, trade: Trade) -> None:
        self.trades.append(trade.quantity / 1e6)
        self.taker_buys += not trade.buyer_is_maker
        key = (trade.received_ns // 1_000_000, trade.buyer_is_maker)
        self.bursts += key != self.burst_key
        self.burst_key = key


def measure_flow(events: Iterable[Event], tick_size: int = 100_000) -> FlowStatistics:
    """Measure a feed; `tick_size` in millionths of the quote asset."""
    meter = _Meter(tick_size)
    middles: list[float] = []
    for event in events:
        meter.first_ns = meter.first_ns or event.received_ns
        meter.last_ns = event.received_ns
        if isinstance(event, DepthUpdate):
            meter.add_depth(event)
        elif isinstance(event, BookTicker):
            meter.add_ticker(event)
            middles.append(meter.middle)
        else:
            meter.add_trade(event)
    seconds = max((meter.last_ns - meter.first_ns) / 1e9, 1e-9)
    kinds = {kind: len(values) for kind, values in meter.distance.items()}
    total = max(sum(kinds.values()), 1)
    closes = list(meter.seconds.values())
    steps = [after - before for before, after in itertools.pairwise(closes)]
    return FlowStatistics(
        seconds=round(seconds, 3),
        middle=round(sum(middles) / max(len(middles), 1) / 1e6, 1),
        depth_updates_per_second=round(len(meter.updates) / seconds, 3),
        book_tickers_per_second=round(meter.tickers / seconds, 3),
        trades_per_second=round(len(meter.trades) / seconds, 3),
        trades_per_burst=round(len(meter.trades) / max(meter.bursts, 1), 3),
        taker_buy_share=round(meter.taker_buys / max(len(meter.trades), 1), 3),
        middle_deviation=round(math.sqrt(sum(s * s for s in steps) / max(len(steps), 1)), 2),
        levels_per_side=(len(meter.levels[0]) + len(meter.levels[1])) / 2,
        share_new=round(kinds["new"] / total, 4),
        share_changed=round(kinds["changed"] / total, 4),
        share_removed=round(kinds["removed"] / total, 4),
        levels_per_update=quantiles(meter.updates),
        distance_new=quantiles(meter.distance["new"]),
        distance_changed=quantiles(meter.distance["changed"]),
        distance_removed=quantiles(meter.distance["removed"]),
        quantity_new=quantiles(meter.quantity["new"]),
        quantity_changed=quantiles(meter.quantity["changed"]),
        quantity_trade=quantiles(meter.trades),
    )


RECORDED: Final = FlowStatistics(
    seconds=344.803,
    middle=61716.8,
    depth_updates_per_second=18.999,
    book_tickers_per_second=191.672,
    trades_per_second=61.812,
    trades_per_burst=3.891,
    taker_buy_share=0.451,
    middle_deviation=76.63,
    levels_per_side=4798.5,
    share_new=0.2145,
    share_changed=0.5901,
    share_removed=0.1954,
    levels_per_update=(
        1.0,
        13.0,
        16.0,
        20.0,
        24.0,
        29.0,
        34.0,
        42.0,
        53.0,
        74.0,
        142.0,
        252.0,
        608.0,
    ),
    distance_new=(
        -99.5,
        26.5,
        56.5,
        115.5,
        192.5,
        282.5,
        402.5,
        574.5,
        926.5,
        1644.5,
        6649.0,
        10924.5,
        40313.5,
    ),
    distance_changed=(
        -19.5,
        21.5,
        83.5,
        165.5,
        238.5,
        314.5,
        417.5,
        535.5,
        711.5,
        1027.5,
        1846.5,
        6731.5,
        24727.5,
    ),
    distance_removed=(
        -681.5,
        -9.5,
        25.5,
        78.5,
        145.5,
        227.5,
        328.5,
        476.5,
        667.5,
        1089.0,
        2110.5,
        6061.5,
        19639.5,
    ),
    quantity_new=(
        0.001,
        0.002,
        0.002,
        0.006,
        0.01,
        0.025,
        0.068,
        0.128,
        0.262,
        0.517,
        1.131,
        2.405,
        15.337,
    ),
    quantity_changed=(
        0.001,
        0.002,
        0.005,
        0.016,
        0.038,
        0.086,
        0.154,
        0.279,
        0.504,
        0.915,
        2.296,
        5.069,
        19.748,
    ),
    quantity_trade=(
        0.001,
        0.002,
        0.002,
        0.002,
        0.004,
        0.008,
        0.016,
        0.03,
        0.056,
        0.11,
        0.265,
        0.486,
        1.146,
    ),
)
"""Measured from the Binance BTCUSDT futures feed of 8 August 2024 that the demo replays."""
