"""Numbered errors: Deribit's numbers where they exist, the kernel's own number and name in `data`.

`error.data` always has `reason` (a name).  What the kernel or the gateway refused also has
`number` (kernel/rejections.py, sequencing/outcomes.py) and, for a lane, where it stands: `tip`
and `sequence`, from which the client can continue.
"""

from typing import Any, Final

from entresol.kernel.rejections import Refusal, Rejection
from entresol.sequencing.outcomes import GatewayRefusal, Refused

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

QUANTITY_TOO_LOW: Final = 10002
ORDER_NOT_FOUND: Final = 10004
NOT_ENOUGH_FUNDS: Final = 10009
PRICE_NOT_ALLOWED: Final = 10011
BOOK_CLOSED: Final = 10012
TOO_MANY_REQUESTS: Final = 10028
RETRY: Final = 10040
SETTLEMENT_IN_PROGRESS: Final = 10041
PRICE_WRONG_TICK: Final = 10043
ENGINE_QUEUE_FULL: Final = 10047
INVALID_ARGUMENTS: Final = 11029
OTHER_REJECT: Final = 11030
NOT_OPEN_ORDER: Final = 11044
SYSTEM_MAINTENANCE: Final = 11051
POST_ONLY_REJECT: Final = 11054
UNAUTHORIZED: Final = 13009
NOT_FOUND: Final = 13020
FORBIDDEN: Final = 13021

_REJECTIONS: Final = {
    Rejection.MALFORMED: INVALID_ARGUMENTS,
    Rejection.NOT_PERMITTED: FORBIDDEN,
    Rejection.UNKNOWN_INSTRUMENT: NOT_FOUND,
    Rejection.UNKNOWN_UNDERLYING: NOT_FOUND,
    Rejection.UNKNOWN_ACCOUNT: NOT_FOUND,
    Rejection.UNKNOWN_LANE: NOT_FOUND,
    Rejection.INSTRUMENT_NOT_TRADING: BOOK_CLOSED,
    Rejection.ORACLE_STALE: SETTLEMENT_IN_PROGRESS,
    Rejection.PRICE_OUT_OF_RANGE: PRICE_NOT_ALLOWED,
    Rejection.QUANTITY_OUT_OF_RANGE: QUANTITY_TOO_LOW,
    Rejection.SLOT_EMPTY: NOT_OPEN_ORDER,
    Rejection.POST_ONLY_WOULD_CROSS: POST_ONLY_REJECT,
    Rejection.INSUFFICIENT_MARGIN: NOT_ENOUGH_FUNDS,
    Rejection.INSUFFICIENT_CASH: NOT_ENOUGH_FUNDS,
    Rejection.NOT_A_PUBLISHER: FORBIDDEN,
    Rejection.NOT_THE_OPERATOR: FORBIDDEN,
    Rejection.LANE_NOT_OWNED: FORBIDDEN,
    Rejection.OWNER_IS_OTHER: FORBIDDEN,
}

_REFUSALS: Final[dict[Refusal | GatewayRefusal, tuple[int, str]]] = {
    Refusal.BAD_VERSION: (
        INVALID_PARAMS,
        "The message has another encoding version than this node: update the client.",
    ),
    Refusal.BAD_FRAMING: (
        INVALID_PARAMS,
        "The bytes are not one whole message: check lengths, record counts and reserved bytes.",
    ),
    Refusal.UNKNOWN_LANE: (
        UNAUTHORIZED,
        "No session key is registered in this lane: register one with the owner's key.",
    ),
    Refusal.KEY_EXPIRED: (UNAUTHORIZED, "The lane's key has expired: register a new one."),
    Refusal.WRONG_SEQUENCE: (
        RETRY,
        "The sequence number is not the next one: continue from the tip and sequence in data.",
    ),
    Refusal.EXPIRED: (INVALID_PARAMS, "valid_until lies in the past: sign the message again."),
    Refusal.VALID_UNTIL_TOO_FAR: (
        INVALID_PARAMS,
        "valid_until lies more than a year ahead: choose an earlier one.",
    ),
    Refusal.REJECTION_LIMIT: (
        TOO_MANY_REQUESTS,
        "The lane had too many operations rejected in this second: wait for the next one.",
    ),
    Refusal.UNKNOWN_ACCOUNT: (UNAUTHORIZED, "This account does not exist."),
    Refusal.BAD_SIGNATURE: (
        UNAUTHORIZED,
        "The signature is not the key's over the new tip: check the tip, the domain and the key.",
    ),
    Refusal.BLOCK_FULL: (ENGINE_QUEUE_FULL, "The block is full: send the message again."),
    GatewayRefusal.QUEUE_FULL: (
        ENGINE_QUEUE_FULL,
        "The node has more to do than it can hold: send the message again a little later.",
    ),
    GatewayRefusal.PREDECESSOR_REFUSED: (
        RETRY,
        "An earlier message of the lane was refused: ask for the lane's tip and sign again.",
    ),
    GatewayRefusal.STOPPING: (SYSTEM_MAINTENANCE, "The node is stopping: nothing was accepted."),
    GatewayRefusal.WRONG_TIP: (
        RETRY,
        "The lane moved meanwhile: continue from the tip and sequence in data.",
    ),
    GatewayRefusal.OUTCOME_UNKNOWN: (
        SYSTEM_MAINTENANCE,
        "The node failed before the message was safe: ask for the lane's tip once it is back.",
    ),
}


class ApiError(Exception):
    """A call that is answered with an error: number, sentence, data."""

    def __init__(self, code: int, message: str, **data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def encode(self) -> dict[str, Any]:
        """The `error` member of the answer."""
        return {"code": self.code, "message": self.message, "data": self.data}


def invalid_params(message: str, **data: Any) -> ApiError:
    """The error for parameters that say nothing the node could do."""
    return ApiError(INVALID_PARAMS, message, **{"reason": "INVALID_PARAMS", **data})


def error_of_refusal(refused: Refused) -> ApiError:
    """The error for a message that was not accepted."""
    code, sentence = _REFUSALS[refused.reason]
    data: dict[str, Any] = {"reason": refused.reason.name, "number": int(refused.reason)}
    if refused.tip:
        data["tip"] = "0x" + refused.tip.hex()
    if refused.tip or refused.sequence:
        data["sequence"] = refused.sequence
    return ApiError(code, sentence, **data)


def error_of_rejection(status: int, **data: Any) -> ApiError:
    """The error for an accepted message whose one operation was rejected by the kernel."""
    try:
        rejection = Rejection(status)
    except ValueError:
        return ApiError(OTHER_REJECT, "The kernel gave no outcome.", reason="UNKNOWN", **data)
    code = _REJECTIONS.get(rejection, OTHER_REJECT)
    sentence = f"The exchange rejected the operation: {rejection.name.lower()}."
    return ApiError(code, sentence, reason=rejection.name, number=status, **data)
