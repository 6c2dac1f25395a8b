from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from entresol.client.depth_mirror import DepthMirror, MirrorCounts, Quote, group_quotes
from entresol.client.market_data import DepthUpdate, read_events
from entresol.kernel import layout

TICK, LOT = 100_000, 1_000


def update(
    bids: dict[int, int], asks: dict[int, int] | None = None, snapshot: bool = False
) -> DepthUpdate:
    levels = [
        tuple((tick * TICK, lots * LOT) for tick, lots in side.items())
        for side in (bids, asks or {})
    ]
    return DepthUpdate(0, 0, levels[0], levels[1], snapshot)


def mirror(accounts: int = 2) -> DepthMirror:
    return DepthMirror(accounts, TICK, LOT, 1_000, 3_000)


def test_a_level_keeps_its_slot_until_it_is_removed() -> None:
    book = mirror()
    (placed,) = book.apply(update({1_500: 5}))
    assert placed.lots == 5
    (changed,) = book.apply(update({1_500: 7}))
    assert (changed.account, changed.slot) == (placed.account, placed.slot)
    assert book.apply(update({1_500: 7})) == []
    (removed,) = book.apply(update({1_500: 0}))
    assert removed == Quote(placed.account, placed.slot, layout.BUY, 1_500, 0)
    assert book.apply(update({1_500: 0})) == []
    assert book.counts == MirrorCounts(5, new=1, changed=1, removed=1, unchanged=1, absent=1)


def test_of_several_changes_of_a_level_the_last_counts() -> None:
    book = mirror()
    twice = DepthUpdate(0, 0, ((1_500 * TICK, 5 * LOT), (1_500 * TICK, 0)), ())
    assert [(quote.tick, quote.lots) for quote in book.apply(twice)] == [(1_500, 0)]
    assert book.level_count() == 0


def test_removals_come_before_placements() -> None:
    book = mirror()
    book.apply(update({1_500: 5}, {1_501: 5}))
    quotes = book.apply(update({1_501: 3}, {1_501: 0, 1_502: 4}))
    assert [(quote.side, quote.tick, quote.lots) for quote in quotes] == [
        (layout.SELL, 1_501, 0),
        (layout.BUY, 1_501, 3),
        (layout.SELL, 1_502, 4),
    ]


def test_a_snapshot_removes_what_it_does_not_list_within_its_range() -> None:
    book = mirror()
    book.apply(update({1_500: 1, 1_490: 1, 1_400: 1}))
    quotes = book.apply(update({1_500: 2, 1_480: 1}, snapshot=True))
    assert {(quote.tick, quote.lots) for quote in quotes} == {(1_490, 0), (1_500, 2), (1_480, 1)}
    assert book.lots_at(layout.BUY, 1_400) == 1


def test_levels_off_the_ladder_and_beyond_the_slots_are_counted() -> None:
    book = mirror(accounts=1)
    assert book.apply(update({999: 1}, {3_000: 1})) == []
    assert book.apply(DepthUpdate(0, 0, ((1_500 * TICK + 1, LOT),), ())) == []
    assert book.counts.outside == 3
    book.apply(update(dict.fromkeys(range(1000, 1000 + layout.SLOTS), 1)))
    assert (book.counts.new, book.counts.unplaced) == (layout.SLOTS - 1, 1)


def test_groups_fit_a_message_and_keep_order() -> None:
    quotes = [Quote(index % 2, index, 0, 1_000 + index, 1) for index in range(90)]
    groups = group_quotes(quotes)
    assert all(len(members) <= 30 for _, members in groups)
    for account in range(2):
        flat = [quote for owner, members in groups if owner == account for quote in members]
        assert flat == [quote for quote in quotes if quote.account == account]


levels = st.dictionaries(st.integers(1_000, 1_040), st.integers(0, 3), max_size=8)


@settings(max_examples=50)
@given(st.lists(st.tuples(levels, levels, st.booleans()), max_size=20))
def test_quotes_rebuild_the_book(
    updates: list[tuple[dict[int, int], dict[int, int], bool]],
) -> None:
    book = mirror()
    slots: dict[tuple[int, int], tuple[int, int, int]] = {}
    for bids, asks, snapshot in updates:
        for quote in book.apply(update(bids, asks, snapshot)):
            place = (quote.account, quote.slot)
            assert not (quote.is_new and place in slots)
            slots.pop(place, None)
            if quote.lots:
                slots[place] = (quote.side, quote.tick, quote.lots)
    assert len(slots) == book.level_count()
    assert all(book.lots_at(side, tick) == lots for side, tick, lots in slots.values())
    counts = book.counts
    parts = (counts.new, counts.changed, counts.removed, counts.unchanged, counts.absent)
    assert counts.changes == sum(parts) + counts.outside + counts.unplaced


def test_the_whole_recording_fits_and_every_change_is_accounted_for(recording: Path) -> None:
    base = 486_900
    book = DepthMirror(32, TICK, LOT, base, base + layout.TICKS)
    groups = 0
    for event in read_events(recording):
        if isinstance(event, DepthUpdate):
            groups += len(group_quotes(book.apply(event)))
    counts = book.counts
    assert counts.changes == 443_521
    assert counts.unplaced == 0
    placed = counts.new + counts.changed + counts.removed
    assert placed + counts.unchanged + counts.absent + counts.outside == 443_521
    assert placed > 390_000
    assert groups < 70_000
