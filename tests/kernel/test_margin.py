"""Standard margin: the formulas in figures, and that no order can leave a debt behind."""

import pytest
from tests.twin.pair import PERPETUAL, Pair, option

from entresol.kernel import layout, margin
from entresol.kernel.rejections import Rejection

BUY, SELL = layout.BUY, layout.SELL
IOC = layout.IMMEDIATE_OR_CANCEL
MIDDLE = 600_000
LOT = 60 * 10**6  # a perpetual lot at the index, in micro-collateral


def market(index: int = 60_000, *listings: object) -> Pair:
    pair = Pair(cash=0)
    pair.list(PERPETUAL)
    for listing in listings:
        pair.list(listing)
    pair.oracle_index(index * 10**6)
    return pair


def test_a_perpetual_needs_two_percent_of_its_worst_side() -> None:
    pair = market()
    pair.set_cash(3, 10**9)
    pair.place(3, 0, BUY, MIDDLE, 30)
    assert margin.initial_requirement(pair.base, 3) == 30 * LOT // 50
    pair.place(3, 0, SELL, MIDDLE + 1, 20)
    assert margin.initial_requirement(pair.base, 3) == 30 * LOT // 50
    assert margin.maintenance_requirement(pair.base, 3) == 0
    pair.check()


@pytest.mark.parametrize(
    ("kind", "strike", "index", "mark", "initial", "maintenance"),
    [
        # Short call at the money, m = 5 % of F: 15 % + 5 % and 7.5 % + 5 % of F.
        (layout.CALL, 60_000, 60_000, 3_000, 12_000, 7_500),
        # 30 % out of the money, m = 1 %: the 10 % floor holds.
        (layout.CALL, 78_000, 60_000, 600, 6_600, 5_100),
        # 3 % out of the money: 15 % - 3 %.
        (layout.CALL, 61_800, 60_000, 1_200, 8_400, 5_700),
        (layout.PUT, 60_000, 60_000, 3_000, 12_000, 7_500),
        (layout.PUT, 58_200, 60_000, 1_200, 8_400, 5_700),
        # Deep in the money: 7.5 % of a mark above the index, and initial is at least that.
        (layout.PUT, 160_000, 10_000, 150_000, 161_250, 161_250),
    ],
)
def test_short_options_follow_the_published_formulas(
    kind: int, strike: int, index: int, mark: int, initial: int, maintenance: int
) -> None:
    """The first two cases are exchange anchors 2.1 (0.200 / 0.125 and 0.110 / 0.085 of F)."""
    pair = market(index, option(kind, strike))
    pair.oracle_mark(1, mark * 10**6)
    pair.set_cash(3, 10**12)
    assert pair.place(3, 1, SELL, mark, 1) == Rejection.APPLIED
    assert margin.initial_requirement(pair.base, 3) == initial * 1_000
    pair.set_cash(4, 10**12)
    assert pair.place(4, 1, BUY, mark, 1) == Rejection.APPLIED
    assert margin.maintenance_requirement(pair.base, 3) == maintenance * 1_000
    assert margin.initial_requirement(pair.base, 4) == 0
    pair.check()


def test_the_last_micro_decides() -> None:
    pair = market()
    need = 50 * LOT // 50
    pair.set_cash(3, need - 1)
    assert pair.place(3, 0, BUY, MIDDLE, 50) == Rejection.INSUFFICIENT_MARGIN
    pair.set_cash(3, need)
    assert pair.place(3, 0, BUY, MIDDLE, 50) == Rejection.APPLIED
    assert margin.withdrawable(pair.base, 3) == 0


def test_a_taker_keeps_its_fee_aside() -> None:
    pair = market()
    pair.set_cash(4, 10**12)
    pair.place(4, 0, SELL, MIDDLE, 50)
    need = 50 * LOT // 50 + 50 * LOT // 2_000
    pair.set_cash(3, need - 1)
    assert pair.place(3, 0, BUY, MIDDLE, 50) == Rejection.INSUFFICIENT_MARGIN
    pair.set_cash(3, need)
    assert pair.place(3, 0, BUY, MIDDLE, 50) == Rejection.APPLIED
    assert margin.withdrawable(pair.base, 3) == 0
    pair.check()


@pytest.mark.parametrize("side", [BUY, SELL])
def test_orders_far_from_the_mark_cannot_drain_an_account(side: int) -> None:
    """Many resting orders, each affordable alone, must be affordable together."""
    pair = market()
    pair.set_cash(3, 100 * 10**6)
    price = MIDDLE + 100_000 if side == BUY else MIDDLE - 100_000
    placed = 0
    while pair.place(3, 0, side, price, 1) == Rejection.APPLIED:
        placed += 1
    # Each lot loses 10 and needs 1.2 of initial margin out of 100.
    assert placed == 8
    pair.set_cash(4, 10**12)
    pair.place(4, 0, 1 - side, price, placed, force=IOC)
    assert margin.margin_balance(pair.base, 3) >= 0
    pair.check()


def hold(pair: Pair, lots: int, cash: int) -> None:
    """Give account 3 a long of `lots` at the mark and exactly `cash` of equity."""
    pair.set_cash(3, 10**12)
    pair.set_cash(4, 10**12)
    pair.place(4, 0, SELL, MIDDLE, lots)
    pair.place(3, 0, BUY, MIDDLE, lots)
    pair.set_cash(3, cash - lots * LOT)
    assert margin.margin_balance(pair.base, 3) == cash


def test_an_order_that_lowers_the_requirement_always_passes() -> None:
    pair = market()
    hold(pair, 100, -(10**9))
    assert pair.place(3, 0, SELL, MIDDLE, 100) == Rejection.APPLIED
    assert pair.place(3, 0, SELL, MIDDLE, 1) == Rejection.APPLIED
    assert pair.place(3, 0, BUY, MIDDLE - 1, 1) == Rejection.INSUFFICIENT_MARGIN
    pair.check()


def test_turning_a_position_over_needs_equity_for_its_fees() -> None:
    """Else an account without equity owes fees without end, and its friend draws the rebates."""
    pair = market()
    pair.set_cash(3, 10**9)
    pair.set_cash(4, 10**12)
    pair.place(4, 0, SELL, MIDDLE, 30)
    assert pair.place(3, 0, BUY, MIDDLE, 30) == Rejection.APPLIED
    pair.set_cash(3, -30 * LOT)  # no equity left
    pair.place(4, 0, BUY, MIDDLE, 60)
    assert pair.place(3, 0, SELL, MIDDLE, 60) == Rejection.INSUFFICIENT_MARGIN
    assert pair.place(3, 0, SELL, MIDDLE + 1, 60) == Rejection.APPLIED, "resting owes no fee"
    pair.cancel_all(3)
    assert pair.place(3, 0, SELL, MIDDLE, 30) == Rejection.APPLIED, "closing stays open"
    pair.check()


def test_a_close_below_the_mark_must_leave_the_maintenance_of_the_rest() -> None:
    pair = market()
    # 100 lots: 120 initial, 60 maintenance.  Equity 70 lies between.
    hold(pair, 100, 70 * 10**6)
    # One lot sold 10 below the mark leaves 60, the other 99 lots need 59.4.
    assert pair.place(3, 0, SELL, MIDDLE - 100_000, 1, slot=0) == Rejection.APPLIED
    assert pair.place(3, 0, SELL, MIDDLE - 100_000, 1, slot=1) == Rejection.INSUFFICIENT_MARGIN
    assert pair.place(3, 0, SELL, MIDDLE - 500, 99, slot=1) == Rejection.APPLIED
    pair.check()


def test_a_close_cannot_hand_the_equity_to_a_friend() -> None:
    """Selling a little very cheaply to one's other account must not empty the first."""
    pair = market()
    hold(pair, 1_000, 1_250 * 10**6)
    assert pair.place(3, 0, SELL, 500_000, 110) == Rejection.INSUFFICIENT_MARGIN
    assert pair.place(3, 0, SELL, 500_000, 60) == Rejection.APPLIED
    pair.place(4, 0, BUY, 500_000, 60)
    assert margin.margin_balance(pair.base, 3) >= margin.maintenance_requirement(pair.base, 3)
    pair.check()


def test_a_short_option_can_be_bought_back_below_initial_margin() -> None:
    pair = market(60_000, option(layout.CALL, 60_000))
    pair.oracle_mark(1, 3_000 * 10**6)
    for account in (3, 4, 5):
        pair.set_cash(account, 10**12)
    pair.place(4, 1, BUY, 3_000, 10)
    pair.place(3, 1, SELL, 3_000, 10)
    pair.place(5, 1, SELL, 3_100, 10)
    # Ten shorts: initial 120, maintenance 75 (in units); equity 40 pays for buying back.
    pair.set_cash(3, 40 * 10**6)
    assert pair.place(3, 1, SELL, 3_200, 1) == Rejection.INSUFFICIENT_MARGIN
    assert pair.place(3, 1, BUY, 3_100, 11) == Rejection.INSUFFICIENT_MARGIN
    assert pair.place(3, 1, BUY, 3_100, 10) == Rejection.APPLIED
    assert pair.twin.accounts[3].quantity(1) == 0
    assert margin.margin_balance(pair.base, 3) > 0
    pair.check()


def test_a_long_option_is_worth_nothing_to_margin_and_sells_freely() -> None:
    pair = market(60_000, option(layout.CALL, 60_000))
    pair.oracle_mark(1, 3_000 * 10**6)
    pair.set_cash(3, 31 * 10**6)
    pair.set_cash(4, 10**12)
    pair.place(4, 1, SELL, 3_000, 10)
    assert pair.place(3, 1, BUY, 3_000, 10) == Rejection.APPLIED
    balance = margin.margin_balance(pair.base, 3)
    assert 0 <= balance < 10**6
    assert margin.withdrawable(pair.base, 3) == balance
    assert pair.place(3, 0, BUY, MIDDLE, 1) == Rejection.INSUFFICIENT_MARGIN
    assert pair.place(3, 1, SELL, 1, 10) == Rejection.APPLIED
    pair.check()
