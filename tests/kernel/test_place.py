"""PLACE: every rejection by name, time in force, reduce-only, self-trades, hostile values."""

from typing import Any

import pytest
from tests.twin.pair import PERPETUAL, RICH, Pair, option
from tests.twin.records import Listing

from entresol.kernel import layout
from entresol.kernel.matching import MAXIMUM_MAKERS
from entresol.kernel.operations.place import apply_place
from entresol.kernel.rejections import Rejection

BUY, SELL = layout.BUY, layout.SELL
IOC, FOK = layout.IMMEDIATE_OR_CANCEL, layout.FILL_OR_KILL
MIDDLE = 600_000
LOW, HIGH = 500_000, 500_000 + layout.TICKS - 1


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.list(PERPETUAL)
    pair.oracle_index(60_000 * 10**6)
    pair.take_events()
    return pair


def raw(pair: Pair, who: int = 3, **fields: Any) -> Rejection:
    record = {
        "kind": layout.PLACE, "instrument": 0, "slot": 0, "price": MIDDLE, "quantity": 1,
    } | fields  # fmt: skip
    return pair.run_kernel(apply_place, who, layout.OPERATION, **record)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"flags": 32}, Rejection.MALFORMED),
        ({"flags": 128}, Rejection.MALFORMED),
        ({"flags": 6}, Rejection.MALFORMED),
        ({"flags": IOC << 1 | layout.FLAG_POST_ONLY}, Rejection.MALFORMED),
        ({"flags": FOK << 1 | layout.FLAG_POST_ONLY}, Rejection.MALFORMED),
        ({"count": 1}, Rejection.MALFORMED),
        ({"value": -1}, Rejection.MALFORMED),
        ({"account": 7}, Rejection.MALFORMED),
        ({"instrument": 1}, Rejection.UNKNOWN_INSTRUMENT),
        ({"instrument": 256}, Rejection.UNKNOWN_INSTRUMENT),
        ({"instrument": 65_535}, Rejection.UNKNOWN_INSTRUMENT),
        ({"price": 0}, Rejection.PRICE_OUT_OF_RANGE),
        ({"price": LOW - 1}, Rejection.PRICE_OUT_OF_RANGE),
        ({"price": HIGH + 1}, Rejection.PRICE_OUT_OF_RANGE),
        ({"price": (1 << 32) - 1}, Rejection.PRICE_OUT_OF_RANGE),
        ({"quantity": 0}, Rejection.QUANTITY_OUT_OF_RANGE),
        ({"quantity": 100_001}, Rejection.QUANTITY_OUT_OF_RANGE),
        ({"quantity": (1 << 32) - 1}, Rejection.QUANTITY_OUT_OF_RANGE),
        ({"slot": layout.SLOTS}, Rejection.SLOT_OUT_OF_RANGE),
        ({"slot": layout.ANY_SLOT - 1}, Rejection.SLOT_OUT_OF_RANGE),
        ({"flags": layout.FLAG_REDUCE_ONLY}, Rejection.REDUCE_ONLY_INCREASES),
    ],
)
def test_a_bad_field_is_rejected_by_name(
    pair: Pair, fields: dict[str, int], expected: Rejection
) -> None:
    assert raw(pair, **fields) == expected


def test_the_house_never_trades(pair: Pair) -> None:
    assert raw(pair, who=layout.HOUSE_ACCOUNT) == Rejection.NOT_PERMITTED


@pytest.mark.parametrize("price", [LOW, HIGH])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_both_ends_of_the_ladder_hold_orders(pair: Pair, price: int, side: int) -> None:
    pair.set_cash(3, 1 << 50)
    assert pair.place(3, 0, side, price, 1, slot=511) == Rejection.APPLIED
    pair.check()
    assert pair.cancel(3, 511) == Rejection.APPLIED
    pair.check()


def test_a_slot_holds_one_order_until_it_is_cancelled(pair: Pair) -> None:
    assert pair.place(3, 0, BUY, MIDDLE - 5, 1, slot=9) == Rejection.APPLIED
    assert pair.place(3, 0, BUY, MIDDLE - 5, 1, slot=9) == Rejection.SLOT_IN_USE
    assert pair.cancel(3, 9) == Rejection.APPLIED
    assert pair.place(3, 0, BUY, MIDDLE - 5, 1, slot=9) == Rejection.APPLIED
    pair.check()


def test_any_slot_takes_the_lowest_free_one_until_all_are_taken(pair: Pair) -> None:
    for number in range(layout.SLOTS):
        assert pair.place(3, 0, BUY, MIDDLE - 1 - number % 7, 1) == Rejection.APPLIED
    assert pair.place(3, 0, BUY, MIDDLE - 9, 1) == Rejection.SLOTS_FULL
    assert pair.cancel(3, 130) == Rejection.APPLIED
    assert pair.place(3, 0, BUY, MIDDLE - 9, 1) == Rejection.APPLIED
    assert 130 in pair.twin.accounts[3].orders
    pair.check()
    assert pair.cancel_all(3) == Rejection.APPLIED
    pair.check()


def test_price_then_time_decides_who_is_filled(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE + 2, 5, slot=1)
    pair.place(4, 0, SELL, MIDDLE + 1, 5, slot=1)
    pair.place(5, 0, SELL, MIDDLE + 1, 5, slot=1)
    pair.take_events()
    assert pair.place(6, 0, BUY, MIDDLE + 3, 12) == Rejection.APPLIED
    fills = [e for e in pair.take_events() if e[0] == layout.EVENT_FILL_MAKER]
    assert [(e[4], e[6], e[7]) for e in fills] == [
        (4, MIDDLE + 1, 5), (5, MIDDLE + 1, 5), (3, MIDDLE + 2, 2),
    ]  # fmt: skip
    pair.check()


def test_cash_moves_by_price_and_fees_only(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 10)
    pair.place(4, 0, BUY, MIDDLE, 10)
    value = 10 * MIDDLE * 100
    taker, maker = value * 500 // 10**6, -(value * 50 // 10**6)
    cash = pair.durable["account"]["cash"]
    assert int(cash[3]) == RICH + value - maker
    assert int(cash[4]) == RICH - value - taker
    assert int(cash[0]) == taker + maker
    assert int(cash[:8].sum()) == 5 * RICH


def test_post_only_never_takes(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 1)
    assert pair.place(4, 0, BUY, MIDDLE, 1, post_only=True) == Rejection.POST_ONLY_WOULD_CROSS
    assert pair.place(4, 0, BUY, MIDDLE - 1, 1, post_only=True) == Rejection.APPLIED
    pair.check()


def test_immediate_or_cancel_rests_nothing(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 4)
    assert pair.place(4, 0, BUY, MIDDLE, 9, force=IOC) == Rejection.APPLIED
    assert pair.place(5, 0, BUY, MIDDLE, 9, force=IOC) == Rejection.APPLIED
    last = pair.take_events()[-1]
    assert (last[0], last[3], last[7]) == (layout.EVENT_ORDER_REMOVED, Rejection.NOT_RESTING, 9)
    assert not pair.twin.accounts[4].orders
    pair.check()


def test_fill_or_kill_is_all_or_nothing(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 4)
    pair.place(3, 0, SELL, MIDDLE + 4_000, 4)
    assert pair.place(4, 0, BUY, MIDDLE + 3_999, 5, force=FOK) == Rejection.FILL_OR_KILL_UNFILLED
    assert pair.place(4, 0, BUY, MIDDLE + 4_000, 8, force=FOK) == Rejection.APPLIED
    pair.check()


def test_fill_or_kill_does_not_count_own_or_reduce_only_orders(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE - 3, 5)
    pair.place(4, 0, BUY, MIDDLE - 3, 5)
    pair.place(4, 0, SELL, MIDDLE, 5, reduce_only=True)
    pair.place(5, 0, SELL, MIDDLE, 5)
    assert pair.place(5, 0, BUY, MIDDLE, 1, force=FOK) == Rejection.FILL_OR_KILL_UNFILLED
    assert pair.place(6, 0, BUY, MIDDLE, 6, force=FOK) == Rejection.FILL_OR_KILL_UNFILLED
    assert pair.place(6, 0, BUY, MIDDLE, 5, force=FOK) == Rejection.APPLIED
    pair.check()


def test_a_self_trade_cancels_the_resting_order(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 4)
    pair.place(4, 0, SELL, MIDDLE, 4)
    pair.take_events()
    assert pair.place(3, 0, BUY, MIDDLE, 4) == Rejection.APPLIED
    removed = [e for e in pair.take_events() if e[0] == layout.EVENT_ORDER_REMOVED]
    assert [(e[3], e[4], e[7]) for e in removed] == [(Rejection.SELF_TRADE, 3, 4)]
    pair.check()


def test_reduce_only_is_cut_to_the_position(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 6)
    pair.place(4, 0, BUY, MIDDLE, 6)
    assert pair.place(4, 0, BUY, MIDDLE - 9, 1, reduce_only=True) == Rejection.REDUCE_ONLY_INCREASES
    assert pair.place(4, 0, SELL, MIDDLE + 5, 50, slot=7, reduce_only=True) == Rejection.APPLIED
    assert pair.twin.accounts[4].orders[7].remaining == 6
    pair.check()


def test_a_resting_reduce_only_order_never_increases_a_position(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 6)
    pair.place(4, 0, BUY, MIDDLE, 6)
    pair.place(4, 0, SELL, MIDDLE + 1, 6, slot=1, reduce_only=True)
    pair.place(4, 0, SELL, MIDDLE + 2, 6, slot=2, reduce_only=True)
    pair.place(3, 0, BUY, MIDDLE - 1, 2)
    pair.place(4, 0, SELL, MIDDLE - 1, 2, slot=3)
    pair.take_events()
    assert pair.place(5, 0, BUY, MIDDLE + 3, 20, force=IOC) == Rejection.APPLIED
    events = pair.take_events()
    removed = [e for e in events if e[0] == layout.EVENT_ORDER_REMOVED and e[4] == 4]
    assert [(e[3], e[5], e[7]) for e in removed] == [
        (Rejection.REDUCE_ONLY_INCREASES, 1, 2), (Rejection.REDUCE_ONLY_INCREASES, 2, 6),
    ]  # fmt: skip
    assert pair.twin.accounts[4].quantity(0) == 0
    pair.check()


def test_the_position_limit_counts_quantity_and_open_orders() -> None:
    pair = Pair()
    tiny = Listing(**(vars(PERPETUAL) | {"contract_size": 10, "maximum_lots": 1 << 21}))
    pair.list(tiny)
    pair.oracle_index(60_000 * 10**6)
    for account in range(3, 6):
        pair.set_cash(account, 1 << 50)
    limit = 1 << 21
    assert pair.place(3, 0, SELL, MIDDLE, limit) == Rejection.APPLIED
    assert pair.place(3, 0, SELL, MIDDLE + 9, 1) == Rejection.POSITION_LIMIT
    assert pair.place(4, 0, BUY, MIDDLE, limit - 1) == Rejection.APPLIED
    assert pair.place(4, 0, BUY, MIDDLE - 9, 2) == Rejection.POSITION_LIMIT
    assert pair.place(4, 0, BUY, MIDDLE - 9, 1) == Rejection.APPLIED
    assert pair.place(4, 0, SELL, MIDDLE + 9, limit) == Rejection.APPLIED
    pair.check()


def test_the_33rd_position_is_rejected() -> None:
    pair = Pair()
    pair.list(PERPETUAL)
    for number in range(layout.POSITIONS):
        pair.list(option(layout.PUT, 50_000 + number))
    pair.oracle_index(60_000 * 10**6)
    for number in range(1, layout.POSITIONS + 1):
        pair.oracle_mark(number, 10**9)
        assert pair.place(3, number, SELL, 1_200, 1) == Rejection.APPLIED
    assert pair.place(3, 0, SELL, MIDDLE, 1) == Rejection.POSITIONS_FULL
    assert pair.place(3, 32, SELL, 1_300, 1) == Rejection.APPLIED
    assert pair.cancel(3, 0) == Rejection.APPLIED
    assert pair.place(3, 0, SELL, MIDDLE, 1) == Rejection.APPLIED
    pair.check()


def test_a_stale_price_leaves_only_cancelling(pair: Pair) -> None:
    pair.place(3, 0, SELL, MIDDLE, 1, slot=0)
    pair.set_time(pair.twin.time + 60_000)
    assert pair.place(4, 0, BUY, MIDDLE, 1) == Rejection.APPLIED
    pair.place(3, 0, SELL, MIDDLE, 1, slot=0)
    pair.set_time(pair.twin.time + 1)
    assert pair.place(4, 0, BUY, MIDDLE, 1) == Rejection.ORACLE_STALE
    assert pair.cancel(3, 0) == Rejection.APPLIED
    pair.check()


def test_an_option_needs_a_mark_of_its_own(pair: Pair) -> None:
    pair.list(option(layout.CALL, 60_000))
    assert pair.place(3, 1, SELL, 2_000, 1) == Rejection.ORACLE_STALE
    pair.oracle_mark(1, 2_000 * 10**6)
    assert pair.place(3, 1, SELL, 2_000, 1) == Rejection.APPLIED
    pair.set_time(pair.twin.time + 60_001)
    pair.oracle_index(60_000 * 10**6)
    assert pair.place(3, 1, SELL, 2_000, 1) == Rejection.ORACLE_STALE
    pair.check()


def test_one_order_meets_a_bounded_number_of_makers() -> None:
    pair = Pair(accounts=8)
    pair.list(PERPETUAL)
    pair.oracle_index(60_000 * 10**6)
    for row in range(MAXIMUM_MAKERS + 3):
        assert pair.place(3 + row % 3, 0, SELL, MIDDLE, 1) == Rejection.APPLIED
    pair.take_events()
    lots = MAXIMUM_MAKERS + 2
    assert pair.place(6, 0, BUY, MIDDLE, lots, force=FOK) == Rejection.FILL_OR_KILL_UNFILLED
    assert pair.place(6, 0, BUY, MIDDLE, lots) == Rejection.APPLIED
    last = pair.take_events()[-1]
    assert (last[0], last[3], last[7]) == (layout.EVENT_ORDER_REMOVED, Rejection.MATCH_LIMIT, 2)
    pair.check()


def test_cash_beyond_its_bounds_may_only_cancel(pair: Pair) -> None:
    pair.place(3, 0, BUY, MIDDLE - 1, 1, slot=4)
    pair.set_cash(3, (1 << 59) + 1)
    assert pair.place(3, 0, BUY, MIDDLE - 1, 1) == Rejection.INSUFFICIENT_MARGIN
    assert pair.cancel(3, 4) == Rejection.APPLIED
    pair.set_cash(3, 1 << 59)
    assert pair.place(3, 0, BUY, MIDDLE - 1, 1) == Rejection.APPLIED
