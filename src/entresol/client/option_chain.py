"""Which options a venue lists around an index, and what instruments are called.

Names follow Deribit: `BTC-PERPETUAL`, `BTC-27MAR26-70000-C`.  Options expire at 08:00 UTC.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

from entresol.client.market_data import UNIT
from entresol.kernel import layout

_MONTHS: Final = (
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
)  # fmt: skip
_OPTION_NAME: Final = re.compile(r"([A-Z]{1,8})-(\d{1,2})([A-Z]{3})(\d{2})-(\d+)-([CP])")
EXPIRY_HOUR: Final = 8
"""Hour of the day, UTC, at which options expire."""


class _Expiring(Protocol):
    @property
    def expiry_ms(self) -> int: ...


Listed = TypeVar("Listed", bound=_Expiring)


class InstrumentNameError(Exception):
    """A name that is no instrument's; the message shows the form."""


@dataclass(frozen=True, slots=True)
class OptionSpecification:
    """One European option: strike in millionths of the quote asset, expiry in milliseconds."""

    currency: str
    expiry_ms: int
    strike: int
    call: bool

    @property
    def kind(self) -> int:
        """The kernel's instrument kind."""
        return layout.CALL if self.call else layout.PUT

    @property
    def name(self) -> str:
        """Deribit's name."""
        return instrument_name(self.currency, self.kind, self.strike, self.expiry_ms)


def instrument_name(currency: str, kind: int, strike: int = 0, expiry_ms: int = 0) -> str:
    """Name of an instrument; strike in millionths (whole units only), expiry in milliseconds."""
    if kind == layout.PERPETUAL:
        return f"{currency}-PERPETUAL"
    day = datetime.fromtimestamp(expiry_ms / 1000, UTC)
    date = f"{day.day}{_MONTHS[day.month - 1]}{day.year % 100:02}"
    return f"{currency}-{date}-{strike // UNIT}-{'C' if kind == layout.CALL else 'P'}"


def parse_option_name(name: str) -> OptionSpecification:
    """Read an option's name; raises InstrumentNameError."""
    match = _OPTION_NAME.fullmatch(name)
    if not match or match[3] not in _MONTHS:
        raise InstrumentNameError(f"{name!r} is not an option's name like BTC-27MAR26-70000-C.")
    currency, day, month, year, strike, kind = match.groups()
    try:
        expiry = datetime(
            2000 + int(year), _MONTHS.index(month) + 1, int(day), EXPIRY_HOUR, tzinfo=UTC
        )
    except ValueError as error:
        raise InstrumentNameError(f"{name!r} has no such day.") from error
    expiry_ms = int(expiry.timestamp() * 1000)
    return OptionSpecification(currency, expiry_ms, int(strike) * UNIT, kind == "C")


def expiries(now_ms: int, count: int) -> list[int]:
    """The next `count` expiries in milliseconds: a day, then Fridays, four weeks apart at last.

    The nearest is at least 20 hours away, so that a venue started now does not expire at once.
    """
    start = datetime.fromtimestamp(now_ms / 1000, UTC) + timedelta(hours=20)
    first = start.replace(hour=EXPIRY_HOUR, minute=0, second=0, microsecond=0)
    if first < start:
        first += timedelta(days=1)
    friday = first + timedelta(days=(4 - first.weekday()) % 7 or 7)
    days = [first, friday]
    while len(days) < count:
        days.append(days[-1] + timedelta(weeks=1 if len(days) < 4 else 4))
    return [int(day.timestamp() * 1000) for day in days[:count]]


def build_chain(
    currency: str,
    index: int,
    now_ms: int,
    *,
    expiry_count: int = 3,
    strikes_per_side: int = 3,
    strike_step: int = 1_000 * UNIT,
) -> list[OptionSpecification]:
    """Calls and puts around `index` (millionths); the step widens with each expiry."""
    chain = []
    for order, expiry_ms in enumerate(expiries(now_ms, expiry_count)):
        step = strike_step * (order + 1)
        middle = round(index / step) * step
        for offset in range(-strikes_per_side, strikes_per_side + 1):
            strike = middle + offset * step
            for call in (True, False):
                chain.append(OptionSpecification(currency, expiry_ms, strike, call))
    return chain


def split_by_expiry(options: Iterable[Listed]) -> list[list[Listed]]:
    """Options grouped by expiry, nearest first."""
    groups: dict[int, list[Listed]] = {}
    for option in options:
        groups.setdefault(option.expiry_ms, []).append(option)
    return [groups[expiry] for expiry in sorted(groups)]
