"""MASS_QUOTE: replacing many orders under one margin check, and what each bad leg does."""

import pytest
from tests.twin.pair import PERPETUAL, Pair, option
from tests.twin.records import Leg

from entresol.kernel import layout
from entresol.kernel.operations.mass_quote import MAXIMUM_LEGS, apply_mass_quote
from entresol.kernel.rejections import Rejection

BUY, SELL = layout.BUY, layout.SELL
MIDDLE = 600_000


@pytest.fixture
def pair() -> Pair:
    pair = Pair(cash=10**10)
    pair.list(PERPETUAL)
    pair.list(option(layout.CALL, 60_000))
    pair.oracle_index(60_000 * 10**6)
    pair.oracle_mark(1, 2_000 * 10**6)
    pair.take_events()
    return pair


def leg_statuses(pair: Pair) -> list[tuple[int, int]]:
    """(slot, status) of the legs that failed."""
    events = pair.take_events()
    return [(event[5], event[3]) for event in events if event[0] == layout.EVENT_QUOTE_LEG]


def test_legs_create_replace_and_cancel(pair: Pair) -> None:
    first = [Leg(0, 0, BUY, MIDDLE - 5, 10), Leg(1, 0, SELL, MIDDLE + 5, 10, label=7)]
    assert pair.mass_quote(3, first) == Rejection.APPLIED
    second = [Leg(0, 1, SELL, 2_100, 3), Leg(1, 0, SELL, 0, 0), Leg(2, 1, BUY, 1_900, 3)]
    assert pair.mass_quote(3, second) == Rejection.APPLIED
    assert leg_statuses(pair) == []
    assert {slot: o.instrument for slot, o in pair.twin.accounts[3].orders.items()} == {0: 1, 2: 1}
    pair.check()


def test_a_bad_leg_fails_alone(pair: Pair) -> None:
    pair.place(4, 0, SELL, MIDDLE + 1, 1)
    pair.place(3, 0, BUY, MIDDLE - 7, 1, slot=4)
    pair.place(3, 0, BUY, MIDDLE - 7, 1, slot=5)
    pair.take_events()
    legs = [
        Leg(0, 0, BUY, MIDDLE - 1, 2),
        Leg(0, 0, BUY, MIDDLE - 2, 2),
        Leg(512, 0, BUY, MIDDLE - 2, 2),
        Leg(layout.ANY_SLOT, 0, BUY, MIDDLE - 2, 2),
        Leg(1, 9, BUY, MIDDLE - 2, 2),
        Leg(2, 0, BUY, 3, 2),
        Leg(3, 0, BUY, MIDDLE, 1 << 30),
        Leg(4, 0, BUY, MIDDLE + 1, 2),
        Leg(5, 0, BUY, MIDDLE, 2, flags=layout.FLAG_REDUCE_ONLY),
        Leg(6, 0, SELL, 0, 0),
        Leg(69, 0, BUY, MIDDLE - 3, 2),
    ]
    assert pair.mass_quote(3, legs) == Rejection.APPLIED
    assert leg_statuses(pair) == [
        (0, Rejection.SLOT_IN_USE),
        (512, Rejection.SLOT_OUT_OF_RANGE),
        (65_535, Rejection.SLOT_OUT_OF_RANGE),
        (1, Rejection.UNKNOWN_INSTRUMENT),
        (2, Rejection.PRICE_OUT_OF_RANGE),
        (3, Rejection.QUANTITY_OUT_OF_RANGE),
        (4, Rejection.POST_ONLY_WOULD_CROSS),
        (5, Rejection.MALFORMED),
        (6, Rejection.SLOT_EMPTY),
    ]
    assert sorted(pair.twin.accounts[3].orders) == [0, 5, 69]
    pair.check()


def test_own_quotes_move_across_each_other(pair: Pair) -> None:
    pair.mass_quote(3, [Leg(0, 0, BUY, MIDDLE - 1, 5), Leg(1, 0, SELL, MIDDLE + 1, 5)])
    moved = [Leg(0, 0, BUY, MIDDLE + 3, 5), Leg(1, 0, SELL, MIDDLE + 5, 5)]
    assert pair.mass_quote(3, moved) == Rejection.APPLIED
    assert leg_statuses(pair) == []
    crossed = [Leg(2, 0, BUY, MIDDLE + 9, 5)]
    assert pair.mass_quote(3, crossed) == Rejection.APPLIED
    assert leg_statuses(pair) == [(2, Rejection.POST_ONLY_WOULD_CROSS)]
    pair.check()


def test_a_quote_without_margin_changes_nothing(pair: Pair) -> None:
    pair.mass_quote(3, [Leg(0, 0, BUY, MIDDLE - 1, 5), Leg(1, 1, SELL, 2_100, 5)])
    pair.take_events()
    legs = [
        Leg(1, 0, SELL, MIDDLE + 1, 5), Leg(0, 1, BUY, 1_900, 5), Leg(1, 0, BUY, 1, 1),
        Leg(2, 1, SELL, 2_200, 90_000),
    ]  # fmt: skip
    assert pair.mass_quote(3, legs) == Rejection.INSUFFICIENT_MARGIN
    assert pair.take_events() == []
    pair.check()
    legs[-1].quantity = 1
    assert pair.mass_quote(3, legs) == Rejection.APPLIED
    pair.check()


def test_a_poor_account_may_still_take_its_quotes_away(pair: Pair) -> None:
    pair.mass_quote(3, [Leg(0, 0, BUY, MIDDLE - 1, 50), Leg(1, 0, SELL, MIDDLE + 1, 50)])
    pair.set_cash(3, -(10**12))
    assert pair.mass_quote(3, [Leg(0, 0, BUY, MIDDLE - 2, 50)]) == Rejection.APPLIED
    assert pair.mass_quote(3, [Leg(0, 0, BUY, MIDDLE - 2, 51)]) == Rejection.INSUFFICIENT_MARGIN
    assert pair.mass_quote(3, [Leg(0, 0, BUY, 0, 0), Leg(1, 0, BUY, 0, 0)]) == Rejection.APPLIED
    assert not pair.twin.accounts[3].orders
    pair.check()


def test_a_stale_price_removes_and_does_not_replace(pair: Pair) -> None:
    pair.mass_quote(3, [Leg(0, 0, BUY, MIDDLE - 1, 5), Leg(1, 0, SELL, MIDDLE + 1, 5)])
    pair.take_events()
    pair.set_time(pair.twin.time + 60_001)
    assert (
        pair.mass_quote(3, [Leg(0, 0, BUY, MIDDLE - 2, 5), Leg(1, 0, SELL, 0, 0)])
        == Rejection.APPLIED
    )
    assert leg_statuses(pair) == [(0, Rejection.ORACLE_STALE)]
    assert not pair.twin.accounts[3].orders
    pair.check()


@pytest.mark.parametrize("field", ["flags", "instrument", "slot", "price", "quantity", "account"])
def test_the_header_carries_nothing_but_the_count(pair: Pair, field: str) -> None:
    fields = {"kind": layout.MASS_QUOTE, "count": 1} | {field: 1}
    assert pair.run_kernel(apply_mass_quote, 3, layout.OPERATION, **fields) == Rejection.MALFORMED


def test_the_number_of_legs_is_bounded(pair: Pair) -> None:
    for count, expected in ((0, Rejection.MALFORMED), (MAXIMUM_LEGS + 1, Rejection.TOO_MANY_LEGS)):
        fields = {"kind": layout.MASS_QUOTE, "count": count}
        assert pair.run_kernel(apply_mass_quote, 3, layout.OPERATION, **fields) == expected
    legs = [Leg(n, 0, n % 2, MIDDLE + (n if n % 2 else -n - 1), 1) for n in range(MAXIMUM_LEGS)]
    assert pair.mass_quote(3, legs) == Rejection.APPLIED
    assert len(pair.twin.accounts[3].orders) == MAXIMUM_LEGS
    pair.check()


def test_positions_run_out_within_a_quote() -> None:
    pair = Pair()
    for number in range(layout.POSITIONS + 2):
        pair.list(option(layout.PUT, 50_000 + number, symbol=0 if number else 5))
    pair.oracle_index(60_000 * 10**6)
    for number in range(layout.POSITIONS + 2):
        pair.oracle_mark(number, 10**9)
    for number in range(layout.POSITIONS - 1):
        pair.place(3, number, SELL, 1_200, 1)
    pair.take_events()
    last = layout.POSITIONS - 1
    legs = [Leg(100 + n, last + n, SELL, 1_200, 1) for n in range(3)]
    assert pair.mass_quote(3, legs) == Rejection.APPLIED
    assert leg_statuses(pair) == [(101, Rejection.POSITIONS_FULL), (102, Rejection.POSITIONS_FULL)]
    pair.check()
