"""What the sequencer answers to a message: accepted with its outcomes, or refused with a reason."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from entresol.kernel.rejections import Refusal
from entresol.sequencing.receipts import Receipt


class GatewayRefusal(IntEnum):
    """Why the gateway refused a message that the kernel never saw; continues kernel Refusal."""

    QUEUE_FULL = 150
    """A bounded queue is full: send again later."""
    PREDECESSOR_REFUSED = 151
    """An earlier message of the same lane, still on its way, was refused."""
    STOPPING = 152
    """The node is shutting down or has failed; the message was not accepted."""
    WRONG_TIP = 153
    """The lane moved while the message was on its way, so its signature is for another tip."""
    OUTCOME_UNKNOWN = 154
    """The disk failed before the message was safe: after the restart, ask for the lane's tip."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The message changed nothing; `tip` and `sequence` say where the lane stands, if known."""

    reason: Refusal | GatewayRefusal
    tip: bytes = b""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message stands at (block, index) of its receipt.

    Per record: `statuses` (a Rejection number, 0 applied), `slots` (of the order it concerns) and
    `filled` (lots the record's order took at once).  `events` are the kernel's own for the
    message, as an array of layout.EVENT.
    """

    receipt: Receipt
    statuses: list[int]
    slots: list[int]
    filled: list[int]
    events: npt.NDArray[np.void]


Result = Accepted | Refused
ResultCallback = Callable[[Result], None]
