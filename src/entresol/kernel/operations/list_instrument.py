"""LIST_INSTRUMENT: the operator adds a market, or moves an idle one's price band and limits.

A first listing on a new underlying creates it.  Listing an instrument again (same kind,
underlying, strike and expiry, same tick and contract size) while its book is empty updates its
base tick, limits, margin class and price age.  Records of settled instruments are used again.
"""

from typing import Any, Final

from entresol.kernel import layout
from entresol.kernel.events import emit
from entresol.kernel.fixed_point import (
    MAXIMUM_LOT_PRODUCT,
    MAXIMUM_LOT_VALUE,
    MAXIMUM_POSITION,
    MAXIMUM_PRICE,
    smaller,
)
from entresol.kernel.instruments import MARGIN_CLASSES, apply_margin_class
from entresol.kernel.layout import DURABLE_BASE, RATE_ONE, VOLATILE_BASE
from entresol.kernel.oracle import refresh_instrument
from entresol.kernel.rejections import Rejection
from entresol.kernel.subset import (
    divide_truncate,
    i64,
    kernel_function,
    remainder_truncate,
    store_i64,
)
from entresol.kernel.views import durable_at, field_address, owner_operation_at, volatile_at

MAXIMUM_AGE_MS: Final = 86_400_000
"""The longest a price may be allowed to stay in use: a day."""

_PRICE_BITS: Final = 32
_CLASS_COUNT: Final = len(MARGIN_CLASSES)
_INSTRUMENT_MASK: Final = layout.INSTRUMENTS - 1
_UNDERLYING_MASK: Final = layout.UNDERLYINGS - 1
_INSTRUMENT_BYTES: Final = layout.INSTRUMENT.itemsize
_RISK_BYTES: Final = layout.RISK.itemsize
_RISK_ADDRESS: Final = field_address(layout.DURABLE_BASE, layout.DURABLE, "risk")
_INSTRUMENT_ADDRESS: Final = field_address(layout.DURABLE_BASE, layout.DURABLE, "instrument")

_APPLIED: Final = int(Rejection.APPLIED)
_MALFORMED: Final = int(Rejection.MALFORMED)
_NOT_THE_OPERATOR: Final = int(Rejection.NOT_THE_OPERATOR)
_LISTING_INVALID: Final = int(Rejection.LISTING_INVALID)
_UNKNOWN_UNDERLYING: Final = int(Rejection.UNKNOWN_UNDERLYING)
_UNDERLYINGS_FULL: Final = int(Rejection.UNDERLYINGS_FULL)
_INSTRUMENTS_FULL: Final = int(Rejection.INSTRUMENTS_FULL)


@kernel_function
def _has_foreign_fields(listing: Any) -> bool:
    """True when a field that belongs to other owner operations is not zero."""
    fields = i64(listing.flags) | i64(listing.zero) | i64(listing.lane) | i64(listing.amount)
    for limb in range(5):
        fields = fields | i64(listing.address[limb])
    return fields | i64(listing.permissions) | i64(listing.account) != 0


@kernel_function
def _check_sizes(listing: Any) -> int:
    """LISTING_INVALID unless every size keeps the bounds that fixed_point.py argues from."""
    tick_size = i64(listing.tick_size)
    contract_size = i64(listing.contract_size)
    base_tick = i64(listing.base_tick)
    if not (0 < tick_size <= MAXIMUM_PRICE and contract_size > 0):
        return _LISTING_INVALID
    if contract_size > divide_truncate(i64(MAXIMUM_LOT_PRODUCT), tick_size):
        return _LISTING_INVALID
    product = tick_size * contract_size
    if remainder_truncate(product, i64(RATE_ONE)) != 0:
        return _LISTING_INVALID
    # Not zero: the product is positive and a multiple of one million.
    tick_value = divide_truncate(product, i64(RATE_ONE))
    if not 1 <= base_tick <= (1 << _PRICE_BITS) - layout.TICKS:
        return _LISTING_INVALID
    if base_tick > divide_truncate(i64(MAXIMUM_LOT_VALUE), tick_value):
        return _LISTING_INVALID
    lots = i64(listing.minimum_lots)
    if not 1 <= lots <= i64(listing.maximum_lots) <= MAXIMUM_POSITION:
        return _LISTING_INVALID
    if i64(listing.margin_class) >= _CLASS_COUNT:
        return _LISTING_INVALID
    if not 1 <= i64(listing.maximum_age_ms) <= MAXIMUM_AGE_MS:
        return _LISTING_INVALID
    return _APPLIED


@kernel_function
def _check_kind(listing: Any, now: int) -> int:
    """LISTING_INVALID unless strike and expiry suit the kind."""
    kind = i64(listing.instrument_kind)
    strike = i64(listing.strike)
    expiry = i64(listing.expires_ms)
    if kind == layout.PERPETUAL:
        return _APPLIED if strike == 0 and expiry == 0 else _LISTING_INVALID
    if not layout.CALL <= kind <= layout.PUT:
        return _LISTING_INVALID
    if expiry <= now or not 0 < strike <= highest_price(i64(listing.contract_size)):
        return _LISTING_INVALID
    return _APPLIED


@kernel_function
def highest_price(contract_size: int) -> int:
    """Highest index or strike at which a lot of `contract_size` keeps its bound."""
    return smaller(divide_truncate(i64(MAXIMUM_LOT_PRODUCT), contract_size), i64(MAXIMUM_PRICE))


@kernel_function
def _check_underlying(durable: Any, listing: Any) -> int:
    """Rejection unless the listing names a known underlying, or the next with a new symbol."""
    number = i64(listing.underlying)
    symbol = i64(listing.symbol)
    count = i64(durable.header.underlying_count)
    if number > count:
        return _UNKNOWN_UNDERLYING
    if number == count:
        if count >= layout.UNDERLYINGS:
            return _UNDERLYINGS_FULL
        if symbol == 0:
            return _LISTING_INVALID
        for other in range(count):
            if i64(durable.underlying[other & _UNDERLYING_MASK].symbol) == symbol:
                return _LISTING_INVALID
        return _APPLIED
    underlying = durable.underlying[number & _UNDERLYING_MASK]
    if symbol != 0 and symbol != i64(underlying.symbol):
        return _LISTING_INVALID
    if i64(underlying.index) > highest_price(i64(listing.contract_size)):
        return _LISTING_INVALID
    return _APPLIED


@kernel_function
def _find_record(durable: Any, listing: Any) -> int:
    """Record of this very instrument if it trades, else a record to use, else -1."""
    free = i64(-1)
    count = i64(durable.header.instrument_count)
    for number in range(count):
        instrument = durable.instrument[number & _INSTRUMENT_MASK]
        if i64(instrument.status) == layout.SETTLED:
            if free < 0:
                free = i64(number)
        elif (
            i64(instrument.kind) == i64(listing.instrument_kind)
            and i64(instrument.underlying) == i64(listing.underlying)
            and i64(instrument.strike) == i64(listing.strike)
            and i64(instrument.expiry_ms) == i64(listing.expires_ms)
        ):
            return i64(number)
    if free < 0 and count < layout.INSTRUMENTS:
        return count
    return free


@kernel_function
def _check_relisting(durable: Any, volatile: Any, listing: Any, number: int) -> int:
    """LISTING_INVALID unless a trading instrument is idle and keeps its lot."""
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    orders = i64(volatile.side[number & _INSTRUMENT_MASK, 0].order_count)
    orders += i64(volatile.side[number & _INSTRUMENT_MASK, 1].order_count)
    if orders != 0 or i64(instrument.status) != layout.TRADING:
        return _LISTING_INVALID
    if i64(instrument.tick_size) != i64(listing.tick_size):
        return _LISTING_INVALID
    if i64(instrument.contract_size) != i64(listing.contract_size):
        return _LISTING_INVALID
    return _APPLIED


@kernel_function
def _is_in_use(durable: Any, number: int) -> bool:
    if number >= i64(durable.header.instrument_count):
        return False
    return i64(durable.instrument[number & _INSTRUMENT_MASK].status) != layout.SETTLED


@kernel_function
def _start_record(memory: int, durable: Any, volatile: Any, listing: Any, number: int) -> None:
    """Give a record its identity, an empty book and a place in its underlying's list."""
    record = memory + _INSTRUMENT_ADDRESS + number * _INSTRUMENT_BYTES
    for offset in range(0, _INSTRUMENT_BYTES, 8):
        store_i64(record + offset, i64(0))
    risk = memory + _RISK_ADDRESS + number * _RISK_BYTES
    for offset in range(0, _RISK_BYTES, 8):
        store_i64(risk + offset, i64(0))
    if number == i64(durable.header.instrument_count):
        durable.header.instrument_count = number + 1
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    underlying = durable.underlying[i64(listing.underlying) & _UNDERLYING_MASK]
    instrument.kind = i64(listing.instrument_kind)
    instrument.status = layout.TRADING
    instrument.underlying = i64(listing.underlying)
    instrument.strike = i64(listing.strike)
    instrument.expiry_ms = i64(listing.expires_ms)
    instrument.tick_size = i64(listing.tick_size)
    instrument.contract_size = i64(listing.contract_size)
    instrument.tick_value = divide_truncate(
        i64(listing.tick_size) * i64(listing.contract_size), i64(RATE_ONE)
    )
    instrument.next_instrument = i64(underlying.first_instrument)
    underlying.first_instrument = number + 1
    volatile.side[number & _INSTRUMENT_MASK, 0].best = layout.EMPTY_BOOK_SIDE
    volatile.side[number & _INSTRUMENT_MASK, 1].best = layout.EMPTY_BOOK_SIDE


@kernel_function
def _write_underlying(durable: Any, listing: Any) -> None:
    """Create the underlying if it is the next one; tighten its bound to this listing's lot."""
    number = i64(listing.underlying)
    underlying = durable.underlying[number & _UNDERLYING_MASK]
    highest = highest_price(i64(listing.contract_size))
    if number == i64(durable.header.underlying_count):
        durable.header.underlying_count = number + 1
        underlying.symbol = i64(listing.symbol)
        underlying.maximum_index = highest
    underlying.maximum_index = smaller(i64(underlying.maximum_index), highest)
    underlying.maximum_age_ms = i64(listing.maximum_age_ms)


@kernel_function
def _write_limits(durable: Any, listing: Any, number: int) -> None:
    """Set what a relisting may change."""
    instrument = durable.instrument[number & _INSTRUMENT_MASK]
    base_tick = i64(listing.base_tick)
    instrument.base_tick = base_tick
    dearest = divide_truncate(i64(MAXIMUM_LOT_VALUE), i64(instrument.tick_value))
    instrument.level_count = smaller(i64(layout.TICKS), dearest - base_tick + 1)
    instrument.minimum_lots = i64(listing.minimum_lots)
    instrument.maximum_lots = i64(listing.maximum_lots)
    instrument.position_limit = MAXIMUM_POSITION
    apply_margin_class(instrument, i64(listing.margin_class))


@kernel_function
def apply_list_instrument(memory: int, account: int, address: int) -> int:
    """Apply the OWNER_OPERATION at native `address` for `account`; returns a Rejection number."""
    durable = durable_at(memory + DURABLE_BASE)
    volatile = volatile_at(memory + VOLATILE_BASE)
    listing = owner_operation_at(address)
    if _has_foreign_fields(listing):
        return _MALFORMED
    flags = i64(durable.account[account & (layout.ACCOUNTS - 1)].flags)
    if flags & layout.ACCOUNT_OPERATOR == 0:
        return _NOT_THE_OPERATOR
    status = _check_sizes(listing)
    if status == _APPLIED:
        status = _check_kind(listing, i64(durable.header.last_time_ms))
    if status == _APPLIED:
        status = _check_underlying(durable, listing)
    if status != _APPLIED:
        return status
    number = _find_record(durable, listing)
    if number < 0:
        return _INSTRUMENTS_FULL
    relisting = _is_in_use(durable, number)
    if relisting and _check_relisting(durable, volatile, listing, number) != _APPLIED:
        return _LISTING_INVALID
    _write_underlying(durable, listing)
    if not relisting:
        _start_record(memory, durable, volatile, listing, number)
    _write_limits(durable, listing, number)
    refresh_instrument(durable, number)
    emit(
        memory, i64(layout.EVENT_LISTED), i64(listing.instrument_kind), number, i64(0), account,
        i64(0), i64(listing.base_tick), i64(0), i64(0),
    )  # fmt: skip
    return _APPLIED
