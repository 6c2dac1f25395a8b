from decimal import Decimal

import pytest

from entresol.client.instruments import AmountError, Instrument, parse_collateral
from entresol.kernel import layout

PERPETUAL = Instrument(
    name="BTC-PERPETUAL",
    number=0,
    kind=layout.PERPETUAL,
    underlying=0,
    currency="BTC",
    tick_size=100_000,
    contract_size=1_000,
    base_tick=486_000,
    minimum_lots=1,
    maximum_lots=1_000_000,
)


def test_exact_conversions() -> None:
    assert PERPETUAL.ticks("61800.3") == 618_003
    assert PERPETUAL.lots("0.007") == 7
    assert PERPETUAL.price(618_003) == Decimal("61800.3")
    assert PERPETUAL.amount(7) == Decimal("0.007")
    assert PERPETUAL.tick_value == 100
    assert (PERPETUAL.tick_below(61800.37), PERPETUAL.tick_above(61800.31)) == (618_003, 618_004)
    assert parse_collateral("1000.000001") == 1_000_000_001


@pytest.mark.parametrize("price", ["61800.35", "x", "NaN", 61800.3])
def test_prices_between_ticks_are_refused(price: object) -> None:
    with pytest.raises(AmountError):
        PERPETUAL.ticks(price)


@pytest.mark.parametrize("amount", ["0.0005", "0", "-1", "Infinity"])
def test_amounts_between_lots_are_refused(amount: str) -> None:
    with pytest.raises(AmountError):
        PERPETUAL.lots(amount)


@pytest.mark.parametrize("amount", ["0", "-5", "0.0000001", "five"])
def test_collateral_amounts_that_are_none(amount: str) -> None:
    with pytest.raises(AmountError):
        parse_collateral(amount)
