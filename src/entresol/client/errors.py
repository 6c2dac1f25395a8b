"""What can go wrong between a client and the exchange; each says what to do."""

from typing import Any

from entresol.kernel.rejections import Refusal, Rejection
from entresol.sequencing.outcomes import GatewayRefusal


class RemoteError(Exception):
    """The node answered a call with an error: number, sentence, and data such as the lane's tip."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{message} (error {code})")
        self.code, self.message, self.data = code, message, data


class ConnectionLostError(Exception):
    """There is no connection to the node, or it ended while a call waited."""


class OrderRejectedError(Exception):
    """The exchange accepted the message and rejected its operation; nothing was changed."""

    def __init__(self, rejection: Rejection) -> None:
        words = rejection.name.lower().replace("_", " ")
        super().__init__(f"The exchange rejected the operation: {words} ({int(rejection)}).")
        self.rejection = rejection


class MessageRefusedError(Exception):
    """The node did not accept a message; nothing of it was done."""

    def __init__(self, reason: Refusal | GatewayRefusal) -> None:
        super().__init__(f"The node refused the message: {reason.name} ({int(reason)}).")
        self.reason = reason


class ReceiptError(Exception):
    """The node answered with a receipt that its sequencer did not sign: do not rely on it."""


class NotFoundError(Exception):
    """An instrument, an account or a session key that does not exist; says what to do."""
