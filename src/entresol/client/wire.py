"""What the node's answers mean: from its JSON to the client's types, and nothing else."""

import base64
from decimal import Decimal
from typing import Any, Final

from entresol.client.errors import RemoteError
from entresol.client.instruments import Instrument
from entresol.client.market_data import UNIT
from entresol.client.outcome import Outcome
from entresol.kernel import layout
from entresol.kernel.rejections import Refusal
from entresol.sequencing.outcomes import GatewayRefusal
from entresol.sequencing.receipts import Receipt

_OPTION_KINDS: Final = {"call": layout.CALL, "put": layout.PUT}


def read_bytes(text: str) -> bytes:
    """Bytes written as 0x hex, or as base64."""
    return bytes.fromhex(text[2:]) if text.startswith("0x") else base64.b64decode(text)


def read_micro(value: Any) -> int:
    """A decimal of the node as millionths, exactly."""
    scaled = Decimal(str(value)) * UNIT
    if scaled != int(scaled):
        raise ValueError(f"{value} has more than six digits after the point")
    return int(scaled)


def refusal_reason(error: RemoteError) -> Refusal | GatewayRefusal | None:
    """Why a message was refused, None when the error is about something else."""
    number = error.data.get("number") if isinstance(error.data, dict) else None
    if not isinstance(number, int):
        return None
    for family in (Refusal, GatewayRefusal):
        if number in family.__members__.values():
            return family(number)
    return None


def read_instrument(entry: dict[str, Any]) -> Instrument:
    """One entry of public/get_instruments."""
    kind = _OPTION_KINDS.get(entry.get("option_type", ""), layout.PERPETUAL)
    return Instrument(
        name=entry["instrument_name"],
        number=int(entry["instrument_id"]),
        kind=kind,
        underlying=int(entry["underlying_id"]),
        currency=entry["base_currency"],
        tick_size=read_micro(entry["tick_size"]),
        contract_size=read_micro(entry["contract_size"]),
        base_tick=int(entry["base_tick"]),
        minimum_lots=int(entry["minimum_lots"]),
        maximum_lots=int(entry["maximum_lots"]),
        strike=read_micro(entry.get("strike", 0)),
        expiry_ms=int(entry.get("expiration_timestamp", 0)) if kind != layout.PERPETUAL else 0,
    )


def decode_outcome(answer: dict[str, Any]) -> Outcome:
    """The answer to private/send_message and private/owner_operation."""
    receipt = answer.get("receipt")
    return Outcome(
        statuses=tuple(answer["statuses"]),
        slots=tuple(answer["slots"]),
        filled=tuple(answer["filled"]),
        receipt=None if receipt is None else decode_receipt(receipt),
        receipt_signature=b"" if receipt is None else read_bytes(receipt["signature"]),
    )


def decode_receipt(receipt: dict[str, Any]) -> Receipt:
    """A receipt's fields; its signature is beside them."""
    return Receipt(
        inbox_position=int(receipt["inbox_position"]),
        inbox_hash=read_bytes(receipt["inbox_hash"]),
        block=int(receipt["block"]),
        index=int(receipt["index"]),
        lane=int(receipt["lane"]),
        sequence=int(receipt["sequence"]),
        tip=read_bytes(receipt["tip"]),
        previous_header_hash=read_bytes(receipt["previous_header_hash"]),
    )
