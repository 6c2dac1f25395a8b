"""Instruments as a client sees them: exact decimals outside, ticks and lots inside."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import Final

from entresol.client.market_data import UNIT
from entresol.kernel import layout

Number = Decimal | int | str
"""What prices and amounts may be given as; floats are refused, they are not exact."""

KIND_NAMES: Final = {layout.PERPETUAL: "future", layout.CALL: "option", layout.PUT: "option"}
"""Deribit's word for each kernel kind."""


class AmountError(Exception):
    """A price or an amount that the instrument or the token cannot express exactly."""


def parse_decimal(value: Number, what: str) -> Decimal:
    """`value` as an exact decimal; raises AmountError for floats and for what is no number."""
    if isinstance(value, float):
        raise AmountError(f"Give the {what} as text or Decimal: a float is not exact.")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise AmountError(f"{value!r} is not a number; give the {what} like 61800.5.") from error
    if not number.is_finite():
        raise AmountError(f"The {what} must be finite, not {value}.")
    return number


def parse_collateral(value: Number) -> int:
    """An amount of the collateral token in its smallest unit, a millionth; must be positive."""
    scaled = parse_decimal(value, "amount") * UNIT
    if scaled != int(scaled) or scaled <= 0:
        raise AmountError(f"{value} must be positive with at most six digits after the point.")
    return int(scaled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One listed instrument; sizes, strike in millionths, expiry in milliseconds."""

    name: str
    number: int
    kind: int
    underlying: int
    currency: str
    tick_size: int
    contract_size: int
    base_tick: int
    minimum_lots: int
    maximum_lots: int
    strike: int = 0
    expiry_ms: int = 0

    @property
    def tick_value(self) -> int:
        """Millionths of collateral per tick and lot, exact by the listing rule."""
        return self.tick_size * self.contract_size // UNIT

    def ticks(self, price: Number) -> int:
        """A price as a whole number of ticks; raises AmountError when it lies between two."""
        ratio = parse_decimal(price, "price") * UNIT / self.tick_size
        if ratio != int(ratio):
            step = Decimal(self.tick_size) / UNIT
            raise AmountError(
                f"{price} is not a multiple of {self.name}'s tick, {step.normalize():f}."
            )
        return int(ratio)

    def lots(self, amount: Number) -> int:
        """An amount of the underlying as whole lots; raises AmountError when it is not."""
        ratio = parse_decimal(amount, "amount") * UNIT / self.contract_size
        if ratio != int(ratio) or ratio <= 0:
            step = Decimal(self.contract_size) / UNIT
            raise AmountError(
                f"{amount} is not a positive multiple of {self.name}'s lot, {step.normalize():f}."
            )
        return int(ratio)

    def price(self, ticks: int) -> Decimal:
        """The price of a number of ticks."""
        return Decimal(ticks * self.tick_size) / UNIT

    def amount(self, lots: int) -> Decimal:
        """The underlying's amount in a number of lots."""
        return Decimal(lots * self.contract_size) / UNIT

    def tick_below(self, value: float) -> int:
        """The highest tick not above a value in the quote asset; for quoting from a model."""
        return int((Decimal(value) * UNIT / self.tick_size).to_integral_value(ROUND_FLOOR))

    def tick_above(self, value: float) -> int:
        """The lowest tick not below a value in the quote asset."""
        return int((Decimal(value) * UNIT / self.tick_size).to_integral_value(ROUND_CEILING))
