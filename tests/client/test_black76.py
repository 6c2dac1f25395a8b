import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entresol.client.black76 import YEAR_MS, Smile, price, vega


def test_against_a_published_value() -> None:
    """Haug's Black-76 example: F 19, K 19, T 0.75, b 0, vol 0.28; rate 10% discounted away."""
    undiscounted = price(19.0, 19.0, 0.75, 0.28, call=True)
    assert undiscounted * math.exp(-0.10 * 0.75) == pytest.approx(1.7011, abs=5e-5)


def test_against_a_real_deribit_tick() -> None:
    """BTC-27SEP24-40000-C: forward 39,165.86, vol 60.86, mark 0.2169 BTC and vega 142.30."""

    def error(years: float) -> float:
        return price(39_165.86, 40_000, years, 0.6086, call=True) / 39_165.86 - 0.2169

    low, high = 0.1, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if error(middle) > 0 else (middle, high)
    assert vega(39_165.86, 40_000, low, 0.6086) / 100 == pytest.approx(142.3, rel=0.002)


@given(st.floats(1e3, 1e6), st.floats(0.2, 5.0), st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_parity_and_bounds(
    forward: float, moneyness: float, years: float, volatility: float
) -> None:
    strike = forward * moneyness
    call = price(forward, strike, years, volatility, call=True)
    put = price(forward, strike, years, volatility, call=False)
    assert call - put == pytest.approx(forward - strike, abs=1e-9 * forward)
    assert max(forward - strike, 0) - 1e-6 * forward <= call <= forward * (1 + 1e-12)
    assert vega(forward, strike, years, volatility) >= 0


def test_the_smile_is_lowest_near_the_money_and_flat_in_the_wings() -> None:
    smile = Smile()
    year = 30 * 24 * 3600 * 1000 / YEAR_MS
    middle = smile.volatility(60_000, 60_000, year)
    assert middle == smile.at_the_money
    assert smile.volatility(60_000, 40_000, year) > middle
    assert smile.volatility(60_000, 1_000, year) == smile.volatility(60_000, 2_000, year)
