"""The operations of a lane message, each as one call with names instead of record fields."""

from collections.abc import Iterable

from entresol.client.depth_mirror import Quote
from entresol.kernel import layout
from entresol.rollup.message import Operation


def place(
    instrument: int,
    side: int,
    price: int,
    quantity: int,
    *,
    slot: int = layout.ANY_SLOT,
    time_in_force: int = layout.GOOD_TIL_CANCELLED,
    post_only: bool = False,
    reduce_only: bool = False,
    label: int = 0,
) -> Operation:
    """A limit order: price in ticks, quantity in lots, `side` layout.BUY or layout.SELL."""
    flags = side | time_in_force << layout.FLAG_TIME_IN_FORCE_SHIFT
    flags |= layout.FLAG_POST_ONLY if post_only else 0
    flags |= layout.FLAG_REDUCE_ONLY if reduce_only else 0
    return Operation(
        kind=layout.PLACE,
        flags=flags,
        instrument=instrument,
        slot=slot,
        price=price,
        quantity=quantity,
        label=label,
    )


def cancel(slot: int) -> Operation:
    """Cancel the order in one of the account's slots."""
    return Operation(kind=layout.CANCEL, slot=slot)


def cancel_all() -> Operation:
    """Cancel all orders of the account."""
    return Operation(kind=layout.CANCEL_ALL)


def mass_quote(quotes: Iterable[tuple[int, Quote]]) -> list[Operation]:
    """Replace the orders of several slots, as (instrument, quote); zero lots only cancel.

    All of it passes the margin check together or nothing changes; legs are post-only.
    """
    legs = [
        Operation(
            kind=layout.QUOTE_LEG,
            flags=quote.side,
            instrument=instrument,
            slot=quote.slot,
            price=quote.tick,
            quantity=quote.lots,
        )
        for instrument, quote in quotes
    ]
    return [Operation(kind=layout.MASS_QUOTE, count=len(legs)), *legs]


def index_price(underlying: int, value: int) -> Operation:
    """A publisher's index price in millionths per unit of the underlying."""
    return Operation(kind=layout.ORACLE_INDEX, instrument=underlying, value=value)


def mark_price(instrument: int, value: int) -> Operation:
    """A publisher's mark price of one instrument in millionths per unit of the underlying."""
    return Operation(kind=layout.ORACLE_MARK, instrument=instrument, value=value)


def transfer(account: int, amount: int) -> Operation:
    """Move millionths of collateral to another account of the same owner."""
    return Operation(kind=layout.TRANSFER, account=account, value=amount)
