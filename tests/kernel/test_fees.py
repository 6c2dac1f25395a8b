"""Fees: shares of notional, capped for options, rebates never beyond the taker's fee."""

import numpy as np
import pytest
from tests.twin.pair import PERPETUAL, Pair, option

from entresol.kernel import layout
from entresol.kernel.fees import maker_fee, taker_fee
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import kernel_function
from entresol.kernel.views import durable_at


@kernel_function
def fees_of(durable_address: int, value: int) -> tuple[int, int]:
    instrument = durable_at(durable_address).instrument[0]
    return taker_fee(instrument, value), maker_fee(instrument, value)


def fees(value: int, **fields: int) -> tuple[int, int]:
    pair = Pair()
    pair.list(PERPETUAL)
    for name, field in fields.items():
        pair.durable["instrument"][name][0] = field
    return fees_of(pair.base + layout.DURABLE_BASE, np.int64(value))


@pytest.mark.parametrize(
    ("value", "maker_rate", "expected"),
    [
        (10**6, -50, (500, -50)),
        (1_999, -50, (1, 0)),
        (1, 0, (1, 0)),
        (10**6, 300, (500, 300)),
        (10**6, -900, (500, -500)),
        (1 << 34, -50, (8_589_935, -858_993)),
    ],
)
def test_perpetual_fees_round_toward_the_house(
    value: int, maker_rate: int, expected: tuple[int, int]
) -> None:
    assert fees(value, maker_fee_rate=maker_rate) == expected


def test_an_option_fee_is_a_share_of_the_index_capped_by_the_premium() -> None:
    pair = Pair()
    pair.list(PERPETUAL)
    pair.list(option(layout.CALL, 60_000))
    pair.oracle_index(60_000 * 10**6)
    pair.oracle_mark(1, 2_000 * 10**6)
    for price, fee in ((2_000, 18_000), (144, 18_000), (143, 17_875), (1, 125)):
        house = pair.twin.accounts[0].cash
        assert pair.place(3, 1, layout.SELL, price, 3) == Rejection.APPLIED
        assert pair.place(4, 1, layout.BUY, price, 3) == Rejection.APPLIED
        assert pair.twin.accounts[0].cash - house == 2 * 3 * fee
    pair.check()


def test_splitting_a_fill_changes_no_fee() -> None:
    pair = Pair()
    pair.list(PERPETUAL)
    pair.oracle_index(60_000 * 10**6)
    pair.place(3, 0, layout.SELL, 600_001, 7)
    for _ in range(7):
        pair.place(4, 0, layout.BUY, 600_001, 1)
    split = pair.twin.accounts[4].cash
    pair.place(3, 0, layout.SELL, 600_001, 7)
    pair.place(5, 0, layout.BUY, 600_001, 7)
    assert pair.twin.accounts[5].cash == split
    pair.check()
