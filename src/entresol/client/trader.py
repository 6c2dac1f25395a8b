"""Trading for one account through one lane, in names and decimals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from entresol.client.depth_mirror import Quote
from entresol.client.instruments import AmountError, Instrument, Number
from entresol.client.lane import LaneChannel
from entresol.client.operations import cancel, cancel_all, mass_quote, place
from entresol.client.outcome import Outcome
from entresol.kernel import layout

TIMES_IN_FORCE: Final = {
    "good_til_cancelled": layout.GOOD_TIL_CANCELLED,
    "immediate_or_cancel": layout.IMMEDIATE_OR_CANCEL,
    "fill_or_kill": layout.FILL_OR_KILL,
}
"""Deribit's names for how long an order stays."""


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order that was accepted: where it rests, and how much was filled at once."""

    order_id: str
    instrument_name: str
    slot: int
    filled: Decimal
    remaining: Decimal
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """One leg of a mass quote: what one slot should hold from now on; amount 0 clears it."""

    instrument_name: str
    side: int
    price: Number
    amount: Number
    slot: int


class Trader:
    """Places and cancels orders of one account; `lane` is open for raw operations too."""

    def __init__(self, lane: LaneChannel, find: Callable[[str], Instrument]) -> None:
        self.lane = lane
        self._find = find

    @property
    def account(self) -> int:
        """The account's number."""
        return self.lane.signer.account

    async def buy(self, instrument_name: str, amount: Number, **terms: object) -> PlacedOrder:
        """Buy `amount` of the underlying; terms as in `order`."""
        return await self.order(layout.BUY, instrument_name, amount, **terms)  # type: ignore[arg-type]

    async def sell(self, instrument_name: str, amount: Number, **terms: object) -> PlacedOrder:
        """Sell `amount` of the underlying; terms as in `order`."""
        return await self.order(layout.SELL, instrument_name, amount, **terms)  # type: ignore[arg-type]

    async def order(
        self,
        side: int,
        instrument_name: str,
        amount: Number,
        *,
        price: Number | None = None,
        time_in_force: str = "good_til_cancelled",
        post_only: bool = False,
        reduce_only: bool = False,
        label: int = 0,
    ) -> PlacedOrder:
        """Place a limit order, or without a price a market order (immediate or cancel).

        Raises OrderRejectedError with the kernel's reason, AmountError for prices and amounts
        between ticks and lots.
        """
        instrument = self._find(instrument_name)
        lots = instrument.lots(amount)
        if time_in_force not in TIMES_IN_FORCE:
            raise AmountError(f"time_in_force is one of {', '.join(TIMES_IN_FORCE)}.")
        force = TIMES_IN_FORCE[time_in_force]
        if price is None:
            force = force or layout.IMMEDIATE_OR_CANCEL
            last = instrument.base_tick + layout.TICKS - 1
            ticks = last if side == layout.BUY else instrument.base_tick
        else:
            ticks = instrument.ticks(price)
        operation = place(
            instrument.number,
            side,
            ticks,
            lots,
            time_in_force=force,
            post_only=post_only,
            reduce_only=reduce_only,
            label=label,
        )
        outcome = await self.lane.submit([operation])
        outcome.raise_for_rejection()
        filled = outcome.filled[0] if outcome.filled else 0
        slot = outcome.slots[0] if outcome.slots else layout.ANY_SLOT
        rests = force == layout.GOOD_TIL_CANCELLED
        return PlacedOrder(
            order_id=f"{self.account}-{slot}",
            instrument_name=instrument_name,
            slot=slot,
            filled=instrument.amount(filled),
            remaining=instrument.amount(lots - filled if rests else 0),
            outcome=outcome,
        )

    async def cancel(self, order_id: str | int) -> Outcome:
        """Cancel one order, by its id (`account-slot`) or its slot."""
        outcome = await self.lane.submit([cancel(self._slot(order_id))])
        outcome.raise_for_rejection()
        return outcome

    async def cancel_all(self) -> Outcome:
        """Cancel every order of the account."""
        outcome = await self.lane.submit([cancel_all()])
        outcome.raise_for_rejection()
        return outcome

    async def mass_quote(self, quotes: Sequence[QuoteRequest]) -> Outcome:
        """Replace up to 30 orders under one margin check; legs have their own statuses.

        Raises OrderRejectedError when the quote as a whole was rejected.
        """
        legs = [self._leg(quote) for quote in quotes]
        outcome = await self.lane.submit(mass_quote(legs))
        outcome.raise_for_rejection()
        return outcome

    def _leg(self, quote: QuoteRequest) -> tuple[int, Quote]:
        instrument = self._find(quote.instrument_name)
        lots = instrument.lots(quote.amount) if Decimal(quote.amount) else 0
        ticks = instrument.ticks(quote.price)
        return instrument.number, Quote(0, quote.slot, quote.side, ticks, lots)

    def _slot(self, order_id: str | int) -> int:
        text = str(order_id)
        account, _, slot = text.rpartition("-")
        if not slot.isdecimal() or (account and account != str(self.account)):
            raise AmountError(f"{text!r} is not an order of account {self.account}.")
        return int(slot)
