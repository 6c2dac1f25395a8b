"""What a holding cost and what it has earned so far, from fills, for display.

The kernel knows cash and quantities only; an average price is a matter of accounting.  Here a
closing fill takes its share of the holding's cost (average cost), in whole micro-collateral.  The
share is rounded towards zero and the rest stays with the holding, so nothing is ever lost: at any
time `realised - cost` is exactly the cash that the fills moved.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class CostBasis:
    """Of one account in one instrument; lots are positive when long."""

    quantity: int = 0
    cost: int = 0
    """Micro-collateral paid for the lots held, negative when they were sold short."""
    realised: int = 0
    """Micro-collateral earned by the lots that were closed, before fees."""

    def after(self, lots: int, value: int) -> "CostBasis":
        """After buying `lots` (selling them if negative) at `value` micro-collateral per lot.

        A fill's value is price in ticks times tick value; at expiry it is the delivery value.
        """
        opposite = self.quantity * lots < 0
        closed = min(abs(lots), abs(self.quantity)) if opposite else 0
        share = _share(self.cost, closed, abs(self.quantity))
        direction = 1 if self.quantity > 0 else -1
        opened = lots + direction * closed
        return CostBasis(
            quantity=self.quantity + lots,
            cost=self.cost - share + opened * value,
            realised=self.realised + direction * closed * value - share,
        )

    def average_price(self, contract_size: int) -> Decimal | None:
        """Collateral per unit of the underlying; None without a holding.

        `contract_size` is the instrument's, in millionths of the underlying per lot.
        """
        if not self.quantity:
            return None
        return Decimal(self.cost) / Decimal(self.quantity * contract_size)


def _share(cost: int, part: int, whole: int) -> int:
    """`cost * part / whole`, rounded towards zero; 0 of nothing."""
    if not part:
        return 0
    share = abs(cost) * part // whole
    return share if cost >= 0 else -share
