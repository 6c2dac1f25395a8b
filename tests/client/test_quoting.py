import pytest

from entresol.client.instruments import Instrument
from entresol.client.market_data import UNIT
from entresol.client.option_chain import build_chain
from entresol.client.quoting import OptionQuoter
from entresol.kernel import layout

NOW = 1_772_452_800_000
FORWARD = 61_740.0


def options() -> list[Instrument]:
    chain = build_chain("BTC", int(FORWARD) * UNIT, NOW)
    return [
        Instrument(
            name=option.name,
            number=number,
            kind=option.kind,
            underlying=0,
            currency="BTC",
            tick_size=UNIT,
            contract_size=10_000,
            base_tick=0,
            minimum_lots=1,
            maximum_lots=10_000,
            strike=option.strike,
            expiry_ms=option.expiry_ms,
        )
        for number, option in enumerate(chain, 1)
    ]


def test_quotes_straddle_the_model_value() -> None:
    quoter = OptionQuoter(options(), lots=100)
    changed = quoter.quotes(FORWARD, NOW)
    assert set(changed) == set(quoter.options)
    for option, quotes in changed.items():
        value = quoter.value(option, FORWARD, NOW)
        for quote in quotes:
            price = float(option.price(quote.tick))
            assert price <= value - 2 if quote.side == layout.BUY else price >= value + 2
            assert quoter.best(option, quote.side) == quote.tick
    slots = [quote.slot for quotes in changed.values() for quote in quotes]
    assert len(set(slots)) == len(slots)


def test_only_changes_are_quoted_again() -> None:
    quoter = OptionQuoter(options(), lots=100)
    quoter.quotes(FORWARD, NOW)
    assert quoter.quotes(FORWARD, NOW) == {}
    moved = quoter.quotes(FORWARD + 1, NOW)
    assert 0 < sum(map(len, moved.values())) < 84
    quoter.forget()
    assert sum(map(len, quoter.quotes(FORWARD + 1, NOW).values())) >= 80


def test_a_worthless_bid_is_withdrawn() -> None:
    quoter = OptionQuoter(options(), lots=100)
    quoter.quotes(FORWARD, NOW)
    crashed = quoter.quotes(30_000.0, NOW)
    near_calls = [o for o in quoter.options[:14] if o.kind == layout.CALL]
    for option in near_calls:
        bids = [quote for quote in crashed[option] if quote.side == layout.BUY]
        assert [(quote.tick, quote.lots) for quote in bids] in ([], [(0, 0)])
        assert quoter.best(option, layout.BUY) is None


def test_marks_are_positive() -> None:
    assert all(mark.value >= 1 for mark in OptionQuoter(options(), 1).marks(30_000.0, NOW))


def test_too_many_options_for_one_account_are_refused() -> None:
    with pytest.raises(ValueError, match="quote fewer options"):
        OptionQuoter(options() * 7, lots=1)
