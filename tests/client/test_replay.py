"""Feeds played into the native kernel: the maker's book is the feed's, money is conserved."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest

from entresol.client.flow import FlowGenerator
from entresol.client.lane import LaneChannel
from entresol.client.listing import list_option, list_perpetual
from entresol.client.local_venue import LocalVenue, named_key
from entresol.client.market_data import UNIT, Event, read_events
from entresol.client.market_maker import MarketMaker
from entresol.client.option_chain import build_chain, split_by_expiry
from entresol.client.quoting import OptionQuoter
from entresol.client.replay import Replay
from entresol.client.tally import Tally
from entresol.kernel import layout, views

INDEX = 61_740 * UNIT
DEPTH_ACCOUNTS = 32
EXPECTED = {"SLOT_EMPTY", "POST_ONLY_WOULD_CROSS", "POSITION_LIMIT"}
"""What may happen to a maker that does not wait for answers: a quote was filled before it was
taken back, or a level moved into a quote that a later change of the feed takes away."""
RICH = 50_000_000 * UNIT


def open_lanes(venue: LocalVenue, name: str, count: int) -> list[LaneChannel]:
    owner = named_key(name)
    return [
        venue.open_lane(owner, venue.deposit(owner, RICH, subaccount), layout.PERMISSION_TRADE)
        for subaccount in range(count)
    ]


def build_replay(venue: LocalVenue) -> Replay:
    perpetual = venue.list(list_perpetual("BTC", INDEX))
    options = [venue.list(list_option(option)) for option in build_chain("BTC", INDEX, venue.now)]
    oracle = venue.open_lane(venue.publisher, layout.PUBLISHER_ACCOUNT, layout.PERMISSION_ORACLE)
    tally = Tally()
    maker = MarketMaker(
        perpetual,
        open_lanes(venue, "maker", DEPTH_ACCOUNTS),
        [
            (OptionQuoter(members, lots=100), lane)
            for members, lane in zip(
                split_by_expiry(options), open_lanes(venue, "option maker", 3), strict=True
            )
        ],
        tally,
    )
    return Replay(maker, open_lanes(venue, "taker", 4), oracle, tally)


def book_of(venue: LocalVenue, side: int) -> dict[int, int]:
    """Lots by absolute tick in the kernel's book of the perpetual."""
    orders = views.volatile(venue.memory.array)["order"]
    base = int(views.durable(venue.memory.array)["instrument"][0]["base_tick"])
    live = orders[
        (orders["remaining"] > 0) & (orders["instrument"] == 0) & (orders["side"] == side)
    ]
    return {int(order["tick"]) + base: int(order["remaining"]) for order in live}


async def play(events: Iterable[Event]) -> tuple[LocalVenue, Replay]:
    venue = LocalVenue()
    replay = build_replay(venue)
    await replay.run(events)
    venue.check()
    return venue, replay


async def test_generated_flow() -> None:
    events = list(itertools.islice(FlowGenerator(seed=5).events(), 1_500))
    venue, replay = await play(events)
    tally = replay.tally
    assert tally.refusals == {}
    assert set(tally.rejections) <= EXPECTED
    assert sum(tally.rejections.values()) < 0.05 * tally.operation_count
    assert tally.filled_lots > 0
    assert tally.operation_count > 20_000
    assert {"place", "cancel", "mass_quote", "quote_leg", "oracle_index", "oracle_mark"} <= set(
        tally.operations
    )
    mirror = replay.maker.mirror
    matched = sum(
        mirror.lots_at(side, tick) == lots
        for side in (layout.BUY, layout.SELL)
        for tick, lots in book_of(venue, side).items()
    )
    assert matched > 0.97 * mirror.level_count()


@pytest.mark.slow
async def test_the_whole_recording(recording: Path) -> None:
    _, replay = await play(read_events(recording))
    assert replay.counts.messages == 93_953 + 1  # the snapshot included
    assert replay.tally.refusals == {}
    assert set(replay.tally.rejections) <= EXPECTED
