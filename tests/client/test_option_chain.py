from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.client.option_chain import (
    InstrumentNameError,
    OptionSpecification,
    build_chain,
    expiries,
    instrument_name,
    parse_option_name,
)
from entresol.kernel import layout

NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1000)


def test_names_follow_deribit() -> None:
    expiry = int(datetime(2026, 3, 27, 8, tzinfo=UTC).timestamp() * 1000)
    option = OptionSpecification("BTC", expiry, 70_000_000_000, call=True)
    assert option.name == "BTC-27MAR26-70000-C"
    assert parse_option_name("BTC-27MAR26-70000-C") == option
    assert instrument_name("BTC", layout.PERPETUAL) == "BTC-PERPETUAL"


@pytest.mark.parametrize(
    "name", ["", "BTC-PERPETUAL", "BTC-31FEB26-1-C", "BTC-1XYZ26-1-C", "BTC-1MAR26-1-X"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InstrumentNameError):
        parse_option_name(name)


@given(st.integers(1_600_000_000_000, 3_000_000_000_000), st.integers(1, 8))
def test_expiries_are_future_mornings_in_order(now_ms: int, count: int) -> None:
    days = expiries(now_ms, count)
    assert days == sorted(set(days))
    assert len(days) == count
    assert days[0] - now_ms >= 20 * 3_600_000
    assert all(datetime.fromtimestamp(day / 1000, UTC).hour == 8 for day in days)
    assert all(datetime.fromtimestamp(day / 1000, UTC).weekday() == 4 for day in days[1:])


def test_a_chain_has_calls_and_puts_around_the_index() -> None:
    chain = build_chain("BTC", 61_740_000_000, NOON)
    assert len(chain) == len({option.name for option in chain}) == 3 * 7 * 2
    first = [option for option in chain if option.expiry_ms == chain[0].expiry_ms]
    assert {option.strike for option in first} == {k * 10**9 for k in range(59, 66)}
    assert all(parse_option_name(option.name) == option for option in chain)
