"""Instruments: the margin classes they are listed under, and whether one can be traded now."""

from typing import Any, Final, NamedTuple

from entresol.kernel import layout
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import i64, kernel_function


class MarginRates(NamedTuple):
    """Rates in parts per million that a listing copies into its instrument."""

    initial: int
    """Of the mark (perpetual) or of the index before out-of-the-money relief (option)."""
    initial_floor: int
    """Of the index: the least initial margin of a short option after relief."""
    maintenance: int
    taker_fee: int
    """Of the notional; for an option of the index notional."""
    maker_fee: int
    """Negative is a rebate, paid out of what the taker of the same fill pays."""
    fee_cap: int
    """Of the premium: the most an option's fee may be; unused for a perpetual."""


MAJOR_PERPETUAL: Final = MarginRates(20_000, 0, 10_000, 500, -50, 0)
MAJOR_OPTION: Final = MarginRates(150_000, 100_000, 75_000, 300, 300, 125_000)
MINOR_PERPETUAL: Final = MarginRates(50_000, 0, 25_000, 500, 0, 0)
MINOR_OPTION: Final = MarginRates(200_000, 130_000, 90_000, 300, 300, 125_000)
VOLATILE_PERPETUAL: Final = MarginRates(100_000, 0, 50_000, 600, 100, 0)
VOLATILE_OPTION: Final = MarginRates(300_000, 200_000, 150_000, 400, 400, 125_000)

MARGIN_CLASSES: Final = (
    (MAJOR_PERPETUAL, MAJOR_OPTION),
    (MINOR_PERPETUAL, MINOR_OPTION),
    (VOLATILE_PERPETUAL, VOLATILE_OPTION),
)
"""Row `margin_class` of a listing: the rates of a perpetual and of an option."""

_APPLIED: Final = int(Rejection.APPLIED)
_UNKNOWN: Final = int(Rejection.UNKNOWN_INSTRUMENT)
_NOT_TRADING: Final = int(Rejection.INSTRUMENT_NOT_TRADING)
_STALE: Final = int(Rejection.ORACLE_STALE)
_MASK: Final = layout.INSTRUMENTS - 1

for _perpetual, _option in MARGIN_CLASSES:
    # fixed_point.py argues its widths from these relations.
    for _rates in (_perpetual, _option):
        if not 0 < _rates.maintenance <= _rates.initial <= layout.RATE_ONE // 2:
            raise ValueError("a margin class needs 0 < maintenance <= initial <= one half")
        if abs(_rates.maker_fee) > _rates.taker_fee or _rates.taker_fee > layout.RATE_ONE // 100:
            raise ValueError("a margin class needs |maker fee| <= taker fee <= one percent")
    if not _option.maintenance <= _option.initial_floor <= _option.initial:
        raise ValueError("a margin class needs maintenance <= initial floor <= initial")


@kernel_function
def _write_rates(instrument: Any, rates: MarginRates) -> None:
    instrument.initial_rate = rates.initial
    instrument.initial_floor_rate = rates.initial_floor
    instrument.maintenance_rate = rates.maintenance
    instrument.taker_fee_rate = rates.taker_fee
    instrument.maker_fee_rate = rates.maker_fee
    instrument.fee_cap_rate = rates.fee_cap


@kernel_function
def apply_margin_class(instrument: Any, margin_class: int) -> None:
    """Copy the rates of a class in range into an instrument whose kind is set."""
    perpetual = i64(instrument.kind) == layout.PERPETUAL
    if margin_class == 0:
        if perpetual:
            _write_rates(instrument, MAJOR_PERPETUAL)
        else:
            _write_rates(instrument, MAJOR_OPTION)
    elif margin_class == 1:
        if perpetual:
            _write_rates(instrument, MINOR_PERPETUAL)
        else:
            _write_rates(instrument, MINOR_OPTION)
    elif perpetual:
        _write_rates(instrument, VOLATILE_PERPETUAL)
    else:
        _write_rates(instrument, VOLATILE_OPTION)
    instrument.margin_class = margin_class


@kernel_function
def is_known(durable: Any, number: int) -> bool:
    """True when `number` is a listed instrument, whatever its status."""
    return 0 <= number < i64(durable.header.instrument_count)


@kernel_function
def check_tradable(durable: Any, number: int) -> int:
    """Rejection that keeps orders out of instrument `number` now, or APPLIED.

    A price is stale when it is older than the underlying allows at block time; an option needs
    its own mark as well as the index.
    """
    if not is_known(durable, number):
        return _UNKNOWN
    instrument = durable.instrument[number & _MASK]
    now = i64(durable.header.last_time_ms)
    if i64(instrument.status) != layout.TRADING:
        return _NOT_TRADING
    underlying = durable.underlying[i64(instrument.underlying) & (layout.UNDERLYINGS - 1)]
    oldest = now - i64(underlying.maximum_age_ms)
    if i64(instrument.kind) != layout.PERPETUAL:
        if now >= i64(instrument.expiry_ms):
            return _NOT_TRADING
        if i64(durable.risk[number & _MASK].mark_time_ms) < oldest:
            return _STALE
        if i64(durable.risk[number & _MASK].mark_time_ms) == 0:
            return _STALE
    if i64(underlying.index_time_ms) < oldest or i64(underlying.index) == 0:
        return _STALE
    return _APPLIED
