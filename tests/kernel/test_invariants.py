"""Every invariant is broken once on purpose and must be reported by name."""

import pytest

from entresol.kernel import layout
from entresol.kernel.invariants import Violation, check_invariants
from entresol.kernel.views import volatile

BUY, SELL = layout.BUY, layout.SELL
BID, ASK = 600_000 - 500_000, 600_010 - 500_000  # ladder ticks of the best orders


@pytest.fixture(scope="module")
def market(make_chain, place_order):
    chain = make_chain()
    _, lanes = chain.start_market(7, 8)
    chain.register(3, 7, 109)
    chain.register(3, 7, 110)
    assert chain.apply_owner(3, 7, layout.REVOKE_LANE, lane=4) == 0
    for lane, operations in (
        (lanes[0], [place_order(BUY, 600_005, 9, slot=1)]),
        (lanes[1], [place_order(SELL, 600_005, 9)]),
        (lanes[0], [place_order(BUY, 600_000, 4, slot=2), place_order(BUY, 599_000, 2, slot=3)]),
        (lanes[1], [place_order(SELL, 600_010, 3, slot=2), place_order(BUY, 600_000, 5, slot=5)]),
    ):
        assert set(chain.apply_lane(lane, *operations)) == {0}
    chain.close()
    assert check_invariants(chain.base) == Violation.NONE
    return chain


def order(account, slot):
    return lambda d, v: v["order"][account * layout.SLOTS + slot]


def side(which):
    return lambda d, v: v["side"][0, which]


def level(tick):
    return lambda d, v: v["level"][0, tick]


def account(number):
    return lambda d, v: d["account"][number]


def position(number):
    return lambda d, v: d["position"][number, 0]


def lane(number):
    return lambda d, v: d["lane"][number]


def header(d, v):
    return d["header"]


FIRST_ORDER = 3 * layout.SLOTS + 2
LAST_ORDER = 4 * layout.SLOTS + 5
MUTATIONS = [
    (Violation.MONEY, account(3), "cash", 1),
    (Violation.MONEY, account(0), "cash", -1),
    (Violation.MONEY, header, "deposited", 1),
    (Violation.MONEY, header, "withdrawn", 1),
    (Violation.OWNER_INDEX, account(3), "subaccount", 1),
    (Violation.LANES, account(3), "lane_count", 1),
    (Violation.LANES, lane(4), "registration", 1),
    (Violation.LANES, lane(1), "account", 99),
    (Violation.LANES, lane(1), "registration", 99),
    (Violation.LANES, header, "free_lane", 1),
    (Violation.LANES, lane(4), "next_free", 4),
    (Violation.LANES, header, "lane_count", 1),
    (Violation.POSITION_INDEX, header, "open_position_count", 1),
    (Violation.POSITION_INDEX, position(3), "instrument", 1),
    (Violation.POSITION_INDEX, account(4), "position_count", 1),
    (Violation.POSITION_SUM, position(3), "quantity", 1),
    (Violation.OPEN_INTEREST, lambda d, v: d["instrument"][0], "open_interest", 1),
    (Violation.OPEN_ORDERS, position(3), "open_buy", 1),
    (Violation.OPEN_ORDERS, position(4), "open_sell", 1),
    (Violation.OPEN_ORDERS, position(3), "order_count", 1),
    (Violation.OPEN_ORDERS, position(3), "open_reserve", 1),
    (Violation.OPEN_ORDERS, order(3, 2), "remaining", 1),
    (Violation.ORDER_SLOTS, account(3), "order_count", 1),
    (Violation.ORDER_SLOTS, order(3, 2), "remaining", -4),
    (Violation.ORDER_SLOTS, order(3, 9), "remaining", 1),
    (Violation.BOOK_BITMAP, side(BUY), "best", 1),
    (Violation.BOOK_BITMAP, side(SELL), "summary", 1 << 40),
    (Violation.BOOK_COUNT, side(SELL), "order_count", 1),
    (Violation.BOOK_QUEUE, level(BID), "head", LAST_ORDER - FIRST_ORDER),
    (Violation.BOOK_QUEUE, level(BID), "tail", FIRST_ORDER - LAST_ORDER),
    (Violation.BOOK_QUEUE, level(ASK), "head", -(4 * layout.SLOTS + 2)),
    (Violation.BOOK_QUEUE, order(3, 2), "next", -LAST_ORDER),
    (Violation.BOOK_QUEUE, order(4, 5), "next", FIRST_ORDER),
    (Violation.BOOK_QUEUE, order(4, 5), "previous", 1),
    (Violation.BOOK_QUEUE, order(4, 5), "tick", 1),
]


@pytest.mark.parametrize(("violation", "record", "field", "change"), MUTATIONS)
def test_a_broken_record_is_named(market, violation, record, field, change):
    target = record(market.durable, volatile(market.memory.array))
    before = int(target[field])
    target[field] = before + change
    try:
        assert check_invariants(market.base) == violation
    finally:
        target[field] = before
    assert check_invariants(market.base) == Violation.NONE


def test_a_crossed_book_is_named(market):
    books = volatile(market.memory.array)
    # Move the best ask's level, order and bits below the best bid by hand.
    low = 5
    books["level"][0, low] = books["level"][0, ASK]
    books["order"]["tick"][4 * layout.SLOTS + 2] = low
    books["bitmap"][0, SELL, ASK >> 6] = 0
    books["middle"][0, SELL, ASK >> 12] = 0
    books["bitmap"][0, SELL, 0] = 1 << low
    books["middle"][0, SELL, 0] = 1
    books["side"][0, SELL]["summary"] = 1
    books["side"][0, SELL]["best"] = low
    assert check_invariants(market.base) == Violation.BOOK_CROSSED
