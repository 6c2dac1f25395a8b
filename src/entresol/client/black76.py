"""Black-76 prices of European options on a forward, for quoting (floats, never for settlement).

Source of the formulas: F. Black, "The pricing of commodity contracts", Journal of Financial
Economics 3 (1976), with the rate taken as zero, since collateral earns none here.
"""

import math
from dataclasses import dataclass

YEAR_MS = 365 * 24 * 3600 * 1000
"""A year as option markets on crypto assets count it, in milliseconds."""


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def price(forward: float, strike: float, years: float, volatility: float, call: bool) -> float:
    """Value of one unit of the option, in the unit of `forward`; intrinsic value at expiry."""
    intrinsic = max(forward - strike, 0.0) if call else max(strike - forward, 0.0)
    deviation = volatility * math.sqrt(max(years, 0.0))
    if deviation <= 0.0:
        return intrinsic
    d1 = math.log(forward / strike) / deviation + deviation / 2
    d2 = d1 - deviation
    if call:
        return forward * _normal_cdf(d1) - strike * _normal_cdf(d2)
    return strike * _normal_cdf(-d2) - forward * _normal_cdf(-d1)


def vega(forward: float, strike: float, years: float, volatility: float) -> float:
    """Change of value per unit of volatility (1.0 = 100 volatility points)."""
    deviation = volatility * math.sqrt(max(years, 0.0))
    if deviation <= 0.0:
        return 0.0
    d1 = math.log(forward / strike) / deviation + deviation / 2
    return forward * math.sqrt(years) * math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Smile:
    """Implied volatility by log-moneyness in units of the deviation at the money.

    `volatility(x) = at_the_money * (1 + skew * x + curvature * x^2)`, x clipped to +-`wing`.
    """

    at_the_money: float = 0.55
    skew: float = -0.04
    curvature: float = 0.03
    wing: float = 3.0

    def volatility(self, forward: float, strike: float, years: float) -> float:
        """Implied volatility of one strike; never below a quarter of the one at the money."""
        deviation = self.at_the_money * math.sqrt(max(years, 1e-6))
        x = math.log(strike / forward) / deviation
        x = max(-self.wing, min(self.wing, x))
        shape = 1.0 + self.skew * x + self.curvature * x * x
        return self.at_the_money * max(shape, 0.25)
