"""EXPIRE: delivery at the index, in bounded pieces, to the last holder."""

import pytest
from tests.twin.pair import PERPETUAL, START_MS, Pair, option

from entresol.kernel import layout
from entresol.kernel.operations.expire import ORDERS_PER_CALL, apply_expire
from entresol.kernel.rejections import Rejection

BUY, SELL = layout.BUY, layout.SELL
EXPIRY = START_MS + 3_600_000


def market(accounts: int = 8) -> Pair:
    pair = Pair(accounts)
    pair.list(PERPETUAL)
    pair.list(option(layout.CALL, 60_000, EXPIRY))
    pair.list(option(layout.PUT, 60_000, EXPIRY))
    pair.oracle_index(60_000 * 10**6)
    pair.oracle_mark(1, 2_000 * 10**6)
    pair.oracle_mark(2, 2_000 * 10**6)
    return pair


def test_only_an_expired_option_with_a_fresh_index_from_after_expiry() -> None:
    pair = market()
    assert pair.expire(9) == Rejection.UNKNOWN_INSTRUMENT
    assert pair.expire(0) == Rejection.INSTRUMENT_NOT_EXPIRED
    assert pair.expire(1) == Rejection.INSTRUMENT_NOT_EXPIRED
    pair.set_time(EXPIRY - 1)
    pair.oracle_index(61_000 * 10**6)
    assert pair.expire(1) == Rejection.INSTRUMENT_NOT_EXPIRED
    pair.set_time(EXPIRY)
    assert pair.expire(1) == Rejection.ORACLE_STALE
    assert pair.place(3, 1, BUY, 2_000, 1) == Rejection.INSTRUMENT_NOT_TRADING
    pair.oracle_index(61_000 * 10**6)
    pair.set_time(EXPIRY + 60_001)
    assert pair.expire(1) == Rejection.ORACLE_STALE
    pair.oracle_index(62_000 * 10**6)
    assert pair.expire(1) == Rejection.APPLIED
    assert pair.expire(1) == Rejection.INSTRUMENT_NOT_TRADING
    assert pair.oracle_mark(1, 1) == Rejection.INSTRUMENT_NOT_TRADING
    pair.check()


@pytest.mark.parametrize(
    ("index", "call", "put"),
    [(61_500, 1_500, 0), (60_000, 0, 0), (1, 0, 59_999), (250_000, 190_000, 0)],
)
def test_holders_get_what_writers_pay(index: int, call: int, put: int) -> None:
    pair = market()
    for number in (1, 2):
        pair.place(3, number, SELL, 2_000, 7)
        pair.place(4, number, BUY, 2_000, 4)
        pair.place(5, number, BUY, 2_000, 3)
    cash = pair.durable["account"]["cash"]
    before = cash[:8].copy()
    pair.set_time(EXPIRY + 5)
    pair.oracle_index(index * 10**6)
    for number in (1, 2):
        assert pair.expire(number) == Rejection.APPLIED
    pair.check()
    lot = (call + put) * 1_000
    assert (cash[:8] - before).tolist() == [0, 0, 0, -7 * lot, 4 * lot, 3 * lot, 0, 0]
    assert int(pair.durable["header"]["open_position_count"]) == 0


def test_a_delivery_value_rounds_the_same_way_for_both() -> None:
    pair = market()
    pair.place(3, 1, SELL, 2_000, 3)
    pair.place(4, 1, BUY, 2_000, 3)
    pair.set_time(EXPIRY)
    pair.oracle_index(60_000 * 10**6 + 1_999)
    assert pair.expire(1) == Rejection.APPLIED
    assert pair.twin.instruments[1].delivery == 1
    pair.check()


def test_a_full_book_is_cancelled_in_pieces_before_anyone_is_paid() -> None:
    pair = market()
    pair.place(3, 1, SELL, 2_000, 1)
    pair.place(4, 1, BUY, 2_000, 1)
    for row in range(ORDERS_PER_CALL + 40):
        pair.place(5, 1, BUY, 100 + row % 9, 1)
    for row in range(ORDERS_PER_CALL - 20):
        pair.place(6, 1, SELL, 3_000 + row % 9, 1)
    pair.set_time(EXPIRY)
    pair.oracle_index(61_000 * 10**6)
    for _ in range(2):
        assert pair.expire(1) == Rejection.APPLIED
        assert pair.twin.instruments[1].status == layout.SETTLING
        assert pair.twin.accounts[4].quantity(1) == 1
        pair.check()
    assert pair.expire(1) == Rejection.APPLIED
    assert pair.twin.instruments[1].status == layout.SETTLED
    pair.check()


def test_accounts_are_walked_in_pieces() -> None:
    pair = market(accounts=1_100)
    holders = (3, 511, 512, 1_024, 1_099)
    pair.place(7, 2, SELL, 2_000, 50)
    for holder in holders:
        pair.place(holder, 2, BUY, 2_000, 10)
    pair.set_time(EXPIRY)
    pair.oracle_index(59_000 * 10**6)
    statuses = []
    for _ in range(3):
        assert pair.expire(2) == Rejection.APPLIED
        statuses.append(pair.twin.instruments[2].status)
        pair.take_events()
        pair.check_instrument(2)
        for account in (7, *holders):
            pair.check_account(account)
    assert statuses == [layout.SETTLING, layout.SETTLING, layout.SETTLED]


@pytest.mark.parametrize("field", ["flags", "slot", "count", "price", "quantity", "value"])
def test_nothing_but_the_instrument_is_named(field: str) -> None:
    pair = market()
    fields = {"kind": layout.EXPIRE, "instrument": 1, field: 1}
    assert pair.run_kernel(apply_expire, 3, layout.OPERATION, **fields) == Rejection.MALFORMED
