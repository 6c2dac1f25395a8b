"""ORACLE_INDEX and ORACLE_MARK: who may, which values, what follows from them."""

import pytest
from tests.twin.pair import PERPETUAL, START_MS, Pair, option

from entresol.kernel import layout
from entresol.kernel.operations.oracle_index import apply_oracle_index
from entresol.kernel.operations.oracle_mark import apply_oracle_mark
from entresol.kernel.rejections import Rejection


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.list(PERPETUAL)
    pair.list(option(layout.CALL, 60_000))
    pair.list(option(layout.PUT, 60_000))
    return pair


def test_only_a_publisher_sets_prices(pair: Pair) -> None:
    assert pair.oracle_index(10**9, who=3) == Rejection.NOT_A_PUBLISHER
    assert pair.oracle_index(10**9, who=1) == Rejection.NOT_A_PUBLISHER
    assert pair.oracle_mark(1, 10**9, who=3) == Rejection.NOT_A_PUBLISHER


@pytest.mark.parametrize("value", [0, -1, -(1 << 63), (1 << 42) + 1, (1 << 63) - 1])
def test_an_index_out_of_range_is_rejected(pair: Pair, value: int) -> None:
    assert pair.oracle_index(value) == Rejection.ORACLE_PRICE_OUT_OF_RANGE


def test_unknown_names(pair: Pair) -> None:
    for number in (1, 16, 65_535):
        assert pair.oracle_index(10**9, underlying=number) == Rejection.UNKNOWN_UNDERLYING
    for number in (3, 256, 65_535):
        assert pair.oracle_mark(number, 10**9) == Rejection.UNKNOWN_INSTRUMENT
    assert pair.oracle_mark(0, 10**9) == Rejection.MALFORMED


@pytest.mark.parametrize(
    ("number", "value", "expected"),
    [
        (1, -1, Rejection.ORACLE_PRICE_OUT_OF_RANGE),
        (1, 0, Rejection.APPLIED),
        (1, 1 << 42, Rejection.APPLIED),
        (1, (1 << 42) + 1, Rejection.ORACLE_PRICE_OUT_OF_RANGE),
        (2, 60_000 * 10**6, Rejection.APPLIED),
        (2, 60_000 * 10**6 + 1, Rejection.ORACLE_PRICE_OUT_OF_RANGE),
        (2, -(1 << 63), Rejection.ORACLE_PRICE_OUT_OF_RANGE),
    ],
)
def test_a_mark_lies_within_what_the_option_can_be_worth(
    pair: Pair, number: int, value: int, expected: Rejection
) -> None:
    pair.oracle_index(60_000 * 10**6)
    assert pair.oracle_mark(number, value) == expected
    pair.check()


@pytest.mark.parametrize("apply", [apply_oracle_index, apply_oracle_mark])
@pytest.mark.parametrize("field", ["flags", "slot", "count", "price", "quantity", "account"])
def test_fields_of_other_operations_must_be_zero(pair: Pair, apply: object, field: str) -> None:
    fields = {"kind": layout.ORACLE_INDEX, "instrument": 0, "value": 10**9, field: 1}
    assert pair.run_kernel(apply, 2, layout.OPERATION, **fields) == Rejection.MALFORMED


def test_the_extremes_stay_within_bounds(pair: Pair) -> None:
    """Requirements at the highest index and marks are the twin's unbounded integers."""
    assert pair.oracle_index(1 << 42) == Rejection.APPLIED
    assert pair.oracle_mark(1, 1 << 42) == Rejection.APPLIED
    assert pair.oracle_mark(2, 60_000 * 10**6) == Rejection.APPLIED
    pair.check()
    assert pair.oracle_index(1) == Rejection.APPLIED
    pair.check()


def test_an_index_sets_perpetual_marks_and_option_requirements(pair: Pair) -> None:
    pair.oracle_index(60_000 * 10**6)
    pair.oracle_mark(1, 2_000 * 10**6)
    pair.set_time(START_MS + 50)
    pair.oracle_index(60_600 * 10**6)
    risk = pair.durable["risk"]
    assert int(risk["mark"][0]) == 60_600 * 10**6
    assert int(risk["mark_time_ms"][0]) == START_MS + 50
    assert int(risk["mark_time_ms"][1]) == START_MS
    # 15 % of 60.6 plus the mark of 2 per lot.
    assert int(risk["initial_short"][1]) == 9_090_000 + 2_000_000
    assert pair.durable["underlying"]["epoch"][0] == 2
    pair.check()
