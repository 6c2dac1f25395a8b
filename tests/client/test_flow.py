import itertools
from pathlib import Path

import pytest

from entresol.client.flow import FlowGenerator
from entresol.client.flow_statistics import (
    RECORDED,
    FlowStatistics,
    draw,
    measure_flow,
    quantiles,
)
from entresol.client.market_data import BookTicker, DepthUpdate, Trade, read_events


@pytest.fixture(scope="module")
def generated() -> FlowStatistics:
    return measure_flow(itertools.islice(FlowGenerator(seed=7).events(), 20_000))


def test_the_recorded_statistics_are_those_of_the_recording(recording: Path) -> None:
    assert measure_flow(read_events(recording)) == RECORDED


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("depth_updates_per_second", 0.1),
        ("trades_per_second", 0.1),
        ("trades_per_burst", 0.1),
        ("taker_buy_share", 0.1),
        ("middle_deviation", 0.35),
        ("share_new", 0.15),
        ("share_changed", 0.1),
        ("share_removed", 0.15),
    ],
)
def test_generated_rates_are_the_recorded_ones(
    generated: FlowStatistics, name: str, tolerance: float
) -> None:
    assert getattr(generated, name) == pytest.approx(getattr(RECORDED, name), rel=tolerance)


@pytest.mark.parametrize(
    "name",
    ["levels_per_update", "distance_new", "distance_changed", "quantity_changed", "quantity_trade"],
)
def test_generated_distributions_are_the_recorded_ones(
    generated: FlowStatistics, name: str
) -> None:
    for index in (5, 6, 8, 10):  # 40, 50, 70 and 90 percent
        expected = getattr(RECORDED, name)[index]
        assert getattr(generated, name)[index] == pytest.approx(expected, rel=0.25)


def test_same_seed_same_events_and_no_crossed_book() -> None:
    first = list(itertools.islice(FlowGenerator(seed=1).events(), 500))
    assert first == list(itertools.islice(FlowGenerator(seed=1).events(), 500))
    assert first != list(itertools.islice(FlowGenerator(seed=2).events(), 500))
    books: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for event in first:
        if isinstance(event, DepthUpdate):
            for book, levels in zip(books, (event.bids, event.asks), strict=True):
                book.update(levels)
            bids, asks = ([price for price, lots in book.items() if lots] for book in books)
            assert max(bids) < min(asks)
        elif isinstance(event, BookTicker):
            assert event.bid < event.ask
        else:
            assert isinstance(event, Trade)
            assert event.quantity >= 1_000
    times = [event.received_ns for event in first]
    assert times == sorted(times)


def test_draw_inverts_quantiles() -> None:
    table = quantiles([float(value) for value in range(1_001)])
    assert draw(table, 0.0) == 0.0
    assert draw(table, 0.5) == pytest.approx(495.0, abs=1)
    assert draw(table, 0.999999) == pytest.approx(990.0, abs=1)
    assert quantiles([]) == (0.0,) * 13
