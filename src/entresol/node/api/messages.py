"""Rebuilds the canonical message that a call's parameters stand for, byte for byte."""

import base64
import binascii
from collections.abc import Sequence
from decimal import Decimal

from entresol.kernel import layout
from entresol.node.api.errors import ORDER_NOT_FOUND, PRICE_WRONG_TICK, ApiError, invalid_params
from entresol.node.api.parameters import CancelAll, CancelOrder, MassQuote, PlaceOrder, Signed
from entresol.node.market.instruments import Instrument, InstrumentTable
from entresol.node.market.units import UnitError
from entresol.rollup.errors import MessageError
from entresol.rollup.message import LaneMessage, Operation, encode_message

_TIME_IN_FORCE = {
    "good_til_cancelled": layout.GOOD_TIL_CANCELLED,
    "immediate_or_cancel": layout.IMMEDIATE_OR_CANCEL,
    "fill_or_kill": layout.FILL_OR_KILL,
}


def decode_bytes(text: str, what: str) -> bytes:
    """Bytes written as `0x` hex or base64; raises ApiError."""
    if text.startswith("0x"):
        try:
            return bytes.fromhex(text[2:])
        except ValueError:
            pass  # base64 may begin like that too
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise invalid_params(f"{what} must be 0x hex or base64.") from None


def encode_lane_message(signed: Signed, operations: Sequence[Operation]) -> bytes:
    """The message of a signed call; raises ApiError when a field does not fit."""
    try:
        return encode_message(
            LaneMessage(
                lane=signed.lane,
                sequence=signed.sequence,
                valid_until_ms=signed.valid_until,
                operations=tuple(operations),
            )
        )
    except MessageError as error:
        raise invalid_params(f"{error}.") from None


def find_instrument(table: InstrumentTable, name: str) -> Instrument:
    """An instrument by name; raises ApiError."""
    instrument = table.by_name.get(name)
    if instrument is None:
        raise invalid_params(f"There is no instrument {name[:40]!r}.", param="instrument_name")
    return instrument


def _ticks(instrument: Instrument, price: Decimal) -> int:
    try:
        return instrument.ticks(price)
    except UnitError as error:
        raise ApiError(PRICE_WRONG_TICK, str(error), reason="PRICE_WRONG_TICK") from None


def _lots(instrument: Instrument, amount: Decimal) -> int:
    try:
        return instrument.lots(amount)
    except UnitError as error:
        raise invalid_params(str(error), param="amount") from None


def place_order(call: PlaceOrder, side: int, table: InstrumentTable) -> Operation:
    """The operation of private/buy and private/sell."""
    instrument = find_instrument(table, call.instrument_name)
    if (call.amount is None) == (call.contracts is None):
        raise invalid_params("Give either amount or contracts.", param="amount")
    lots = call.contracts if call.amount is None else _lots(instrument, call.amount)
    time_in_force = _TIME_IN_FORCE[call.time_in_force]
    if call.type == "market":
        if call.price is not None:
            raise invalid_params("A market order has no price.", param="price")
        last = instrument.base_tick + layout.TICKS - 1
        ticks = last if side == layout.BUY else instrument.base_tick
        if time_in_force == layout.GOOD_TIL_CANCELLED:
            time_in_force = layout.IMMEDIATE_OR_CANCEL
    elif call.price is None:
        raise invalid_params("A limit order needs a price.", param="price")
    else:
        ticks = _ticks(instrument, call.price)
    flags = side | time_in_force << layout.FLAG_TIME_IN_FORCE_SHIFT
    flags |= layout.FLAG_POST_ONLY if call.post_only else 0
    flags |= layout.FLAG_REDUCE_ONLY if call.reduce_only else 0
    return Operation(
        kind=layout.PLACE,
        flags=flags,
        instrument=instrument.number,
        slot=layout.ANY_SLOT if call.slot is None else call.slot,
        price=ticks,
        quantity=lots or 0,
        label=call.label,
    )


def read_order_id(order_id: str) -> tuple[int, int]:
    """(account, slot) of an order id `account-slot`; raises ApiError."""
    parts = order_id.split("-")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) <= 5 for part in parts):
        raise ApiError(
            ORDER_NOT_FOUND, "An order id reads account-slot, such as 7-12.", reason="ORDER_ID"
        )
    return int(parts[0]), int(parts[1])


def cancel_order(call: CancelOrder) -> Operation:
    """The operation of private/cancel."""
    return Operation(kind=layout.CANCEL, slot=read_order_id(call.order_id)[1], label=call.label)


def cancel_all(call: CancelAll) -> Operation:
    """The operation of private/cancel_all."""
    return Operation(kind=layout.CANCEL_ALL, label=call.label)


def mass_quote(call: MassQuote, table: InstrumentTable) -> list[Operation]:
    """The operations of private/mass_quote: the quote and its legs."""
    legs = []
    for quote in call.quotes:
        instrument = find_instrument(table, quote.instrument_name)
        legs.append(
            Operation(
                kind=layout.QUOTE_LEG,
                flags=layout.FLAG_SELL if quote.side == "sell" else 0,
                instrument=instrument.number,
                slot=quote.slot,
                price=_ticks(instrument, quote.price),
                quantity=_lots(instrument, quote.amount),
                label=quote.label,
            )
        )
    return [Operation(kind=layout.MASS_QUOTE, count=len(legs), label=call.label), *legs]
