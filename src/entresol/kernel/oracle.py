"""Prices in state and what follows from them: the requirements per lot kept in RISK.

They are recomputed when a price arrives, for every instrument of the underlying that trades
(a list threaded through the instruments), so that an order only ever reads them.
Option formulas: Deribit's linear standard margin per unit of underlying at index F, with mark m
and out-of-the-money amount O:
    short call  initial = max(initial_rate F - O, floor_rate F) + m,  maintenance = rate F + m
    short put   maintenance = max(rate F, rate m) + m,
                initial = max(max(initial_rate F - O, floor_rate F) + m, maintenance)
and a long option needs nothing beyond its premium.  Requirements round up.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.fixed_point import (
    larger,
    lot_value_ceiling,
    lot_value_floor,
    share_ceiling,
)
from entresol.kernel.subset import i64, kernel_function

_MASK: Final = layout.INSTRUMENTS - 1


@kernel_function
def _refresh_perpetual(instrument: Any, risk: Any, index: int, time: int) -> None:
    # One rounding for both sides of the market: what longs hold, shorts owe.
    value = lot_value_floor(index, i64(instrument.contract_size))
    initial = share_ceiling(value, i64(instrument.initial_rate))
    maintenance = share_ceiling(value, i64(instrument.maintenance_rate))
    risk.mark = index
    risk.mark_time_ms = time
    risk.mark_value = value
    risk.initial_long = initial
    risk.initial_short = initial
    risk.maintenance_long = maintenance
    risk.maintenance_short = maintenance


@kernel_function
def _refresh_option(instrument: Any, risk: Any, index: int) -> None:
    size = i64(instrument.contract_size)
    strike = i64(instrument.strike)
    value = lot_value_ceiling(index, size)
    mark = lot_value_ceiling(i64(risk.mark), size)
    call = i64(instrument.kind) == layout.CALL
    out_of_the_money = larger(strike - index if call else index - strike, i64(0))
    relief = lot_value_floor(out_of_the_money, size)
    initial = share_ceiling(value, i64(instrument.initial_rate)) - relief
    initial = larger(initial, share_ceiling(value, i64(instrument.initial_floor_rate))) + mark
    maintenance = share_ceiling(value, i64(instrument.maintenance_rate))
    if not call:
        maintenance = larger(maintenance, share_ceiling(mark, i64(instrument.maintenance_rate)))
    maintenance += mark
    risk.initial_short = larger(initial, maintenance)
    risk.maintenance_short = maintenance
    instrument.index_value = value


@kernel_function
def refresh_instrument(durable: Any, number: int) -> None:
    """Recompute the requirements per lot of a trading instrument from the prices in state."""
    instrument = durable.instrument[number & _MASK]
    risk = durable.risk[number & _MASK]
    underlying = durable.underlying[i64(instrument.underlying) & (layout.UNDERLYINGS - 1)]
    index = i64(underlying.index)
    if index == 0:
        return
    if i64(instrument.kind) == layout.PERPETUAL:
        _refresh_perpetual(instrument, risk, index, i64(underlying.index_time_ms))
    else:
        _refresh_option(instrument, risk, index)
    risk.index_epoch = i64(underlying.epoch)


@kernel_function
def refresh_underlying(durable: Any, number: int) -> None:
    """Recompute every trading instrument of an underlying; at most INSTRUMENTS of them."""
    following = i64(durable.underlying[number & (layout.UNDERLYINGS - 1)].first_instrument)
    for _ in range(layout.INSTRUMENTS):
        if following == 0:
            break
        refresh_instrument(durable, following - 1)
        following = i64(durable.instrument[(following - 1) & _MASK].next_instrument)
