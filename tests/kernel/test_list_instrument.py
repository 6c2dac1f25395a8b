"""LIST_INSTRUMENT: who may, which sizes are sound, relisting and reuse."""

from typing import Any

import pytest
from tests.twin.pair import PERPETUAL, START_MS, Pair, option
from tests.twin.records import Listing

from entresol.kernel import layout
from entresol.kernel.operations.list_instrument import apply_list_instrument
from entresol.kernel.rejections import Rejection


def changed(listing: Listing, **fields: Any) -> Listing:
    return Listing(**(vars(listing) | fields))


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_only_the_operator_lists(pair: Pair) -> None:
    assert pair.list(PERPETUAL, who=3) == Rejection.NOT_THE_OPERATOR
    assert pair.list(PERPETUAL) == Rejection.APPLIED
    pair.check()


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": 0},
        {"kind": 4},
        {"kind": 255},
        {"strike": 1},
        {"expiry": START_MS + 1},
        {"tick_size": 0},
        {"tick_size": -1},
        {"tick_size": (1 << 42) + 1},
        {"contract_size": 0},
        {"contract_size": -(1 << 63)},
        {"contract_size": (1 << 63) - 1},
        {"contract_size": 1_001, "tick_size": 100_001},
        {"base_tick": 0},
        {"base_tick": -1},
        {"base_tick": (1 << 32) - layout.TICKS + 1},
        {"base_tick": (1 << 34) // 100 + 1},
        {"minimum_lots": 0},
        {"minimum_lots": 9, "maximum_lots": 8},
        {"maximum_lots": (1 << 21) + 1},
        {"maximum_lots": (1 << 32) - 1},
        {"margin_class": 3},
        {"margin_class": (1 << 32) - 1},
        {"age": 0},
        {"age": 86_400_001},
        {"symbol": 0},
    ],
)
def test_an_unsound_listing_is_rejected(pair: Pair, fields: dict[str, int]) -> None:
    assert pair.list(changed(PERPETUAL, **fields)) == Rejection.LISTING_INVALID


@pytest.mark.parametrize(
    "fields",
    [
        {"strike": 0},
        {"strike": -1},
        {"strike": (1 << 42) + 1},
        {"expiry": START_MS},
        {"expiry": 0},
        {"contract_size": 10**6, "strike": (1 << 34) + 1},
    ],
)
def test_an_unsound_option_is_rejected(pair: Pair, fields: dict[str, int]) -> None:
    sound = changed(option(layout.CALL, 60_000), symbol=9)
    assert pair.list(changed(sound, **fields)) == Rejection.LISTING_INVALID
    assert pair.list(sound) == Rejection.APPLIED


@pytest.mark.parametrize("field", ["flags", "zero", "lane", "amount", "permissions", "account"])
def test_fields_of_other_owner_operations_must_be_zero(pair: Pair, field: str) -> None:
    fields = {"kind": layout.LIST_INSTRUMENT} | {field: 1}
    status = pair.run_kernel(apply_list_instrument, 1, layout.OWNER_OPERATION, **fields)
    assert status == Rejection.MALFORMED


def test_underlyings_are_numbered_in_order(pair: Pair) -> None:
    assert pair.list(changed(PERPETUAL, underlying=1)) == Rejection.UNKNOWN_UNDERLYING
    assert pair.list(changed(PERPETUAL, underlying=(1 << 32) - 1)) == Rejection.UNKNOWN_UNDERLYING
    for number in range(layout.UNDERLYINGS):
        listing = changed(PERPETUAL, underlying=number, symbol=100 + number)
        assert (
            pair.list(changed(listing, symbol=99 + number if number else 0))
            == Rejection.LISTING_INVALID
        )
        assert pair.list(listing) == Rejection.APPLIED
    full = changed(PERPETUAL, underlying=layout.UNDERLYINGS, symbol=500)
    assert pair.list(full) == Rejection.UNDERLYINGS_FULL
    wrong_name = changed(option(layout.CALL, 1_000), symbol=101)
    assert pair.list(wrong_name) == Rejection.LISTING_INVALID
    pair.check()


def test_dear_lots_get_a_shorter_ladder(pair: Pair) -> None:
    """A tick of 5 and a lot of a tenth: the ladder ends where a lot is worth 2^34."""
    listing = option(layout.CALL, 60_000, symbol=3, tick_size=5 * 10**6, contract_size=10**5)
    assert pair.list(listing) == Rejection.APPLIED
    pair.oracle_index(60_000 * 10**6)
    pair.oracle_mark(0, 10**9)
    pair.set_cash(3, 1 << 55)
    highest = (1 << 34) // 500_000
    assert pair.place(3, 0, layout.BUY, highest, 1) == Rejection.APPLIED
    assert pair.place(3, 0, layout.BUY, highest + 1, 1) == Rejection.PRICE_OUT_OF_RANGE
    pair.check()


def test_a_dear_lot_bounds_the_index_of_its_underlying(pair: Pair) -> None:
    pair.list(PERPETUAL)
    assert pair.oracle_index(1 << 42) == Rejection.APPLIED
    dear = option(layout.CALL, 60_000, contract_size=10**5)
    assert pair.list(dear) == Rejection.LISTING_INVALID
    pair.oracle_index(60_000 * 10**6)
    assert pair.list(dear) == Rejection.APPLIED
    highest = (1 << 34) * 10
    assert pair.oracle_index(highest + 1) == Rejection.ORACLE_PRICE_OUT_OF_RANGE
    assert pair.oracle_index(highest) == Rejection.APPLIED
    pair.check()


def test_relisting_moves_an_idle_market(pair: Pair) -> None:
    pair.list(PERPETUAL)
    pair.oracle_index(60_000 * 10**6)
    moved = changed(PERPETUAL, base_tick=590_000, symbol=0, margin_class=1, maximum_lots=5)
    pair.place(3, 0, layout.BUY, 599_000, 1, slot=0)
    assert pair.list(moved) == Rejection.LISTING_INVALID
    pair.cancel(3, 0)
    assert pair.list(changed(moved, tick_size=200_000)) == Rejection.LISTING_INVALID
    assert pair.list(changed(moved, contract_size=2_000)) == Rejection.LISTING_INVALID
    assert pair.list(moved) == Rejection.APPLIED
    assert len(pair.twin.instruments) == 1
    assert pair.place(3, 0, layout.BUY, 589_999, 1) == Rejection.PRICE_OUT_OF_RANGE
    assert pair.place(3, 0, layout.BUY, 599_000, 6) == Rejection.QUANTITY_OUT_OF_RANGE
    assert pair.place(3, 0, layout.BUY, 599_000, 5) == Rejection.APPLIED
    pair.check()


def test_the_table_of_instruments_fills_and_settled_records_are_used_again(pair: Pair) -> None:
    expiry = START_MS + 1_000
    first = option(layout.CALL, 1_000, expiry, symbol=4)
    assert pair.list(first) == Rejection.APPLIED
    for number in range(1, layout.INSTRUMENTS):
        assert pair.list(option(layout.PUT, 1_000 + number)) == Rejection.APPLIED
    more = option(layout.PUT, 9_000)
    assert pair.list(more) == Rejection.INSTRUMENTS_FULL
    pair.set_time(expiry)
    pair.oracle_index(2_000 * 10**6)
    assert pair.expire(0) == Rejection.APPLIED
    assert pair.list(more) == Rejection.APPLIED
    assert len(pair.twin.instruments) == layout.INSTRUMENTS
    assert pair.twin.instruments[0].listing.kind == layout.PUT
    pair.take_events()
    pair.check_instrument(0)
    assert pair.oracle_index(2_100 * 10**6) == Rejection.APPLIED
    for number in (0, 1, 128, 255):
        pair.check_instrument(number)
