"""What the sequencer answers to a message: accepted with its outcomes, or refused with a reason."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from entresol.kernel import layout
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


def fold_events(
    events: npt.NDArray[np.void], first: int, count: int
) -> tuple[list[int], list[int], list[int]]:
    """(status, slot, lots filled at once) of records `first` to `first + count` of a block.

    A record without an outcome of its own, which only a quote leg is, reads -1.  The slot is
    where the order went, when it went anywhere.
    """
    statuses = np.full(count, -1, np.int64)
    slots = np.zeros(count, np.int64)
    filled = np.zeros(count, np.int64)
    index = events["index"].astype(np.int64) - first
    inside = (index >= 0) & (index < count)
    kind = events["kind"]
    outcome = inside & (kind == layout.EVENT_OUTCOME)
    statuses[index[outcome]] = events["status"][outcome]
    slots[index[outcome]] = events["slot"][outcome]
    taken = inside & (kind == layout.EVENT_FILL_TAKER)
    placed = taken | (inside & (kind == layout.EVENT_ORDER_RESTED))
    slots[index[placed]] = events["slot"][placed]
    np.add.at(filled, index[taken], events["quantity"][taken].astype(np.int64))
    return statuses.tolist(), slots.tolist(), filled.tolist()


def resolve_quotes(
    message: bytes,
    first: int,
    events: npt.NDArray[np.void],
    statuses: list[int],
    slots: list[int],
    at: int,
) -> None:
    """Fill in the legs of a message's mass quotes: applied with the quote, or as reported.

    `first` is the message's first record in its block, `at` the same in the two lists.
    """
    kinds = message[32::32]
    position = kinds.find(layout.MASS_QUOTE)
    while position >= 0:
        quote = 32 * (position + 1)
        legs = int.from_bytes(message[quote + 6 : quote + 8], "little")
        reported = (events["kind"] == layout.EVENT_QUOTE_LEG) & (
            events["index"] == first + position
        )
        failed = dict(
            zip(events["slot"][reported].tolist(), events["status"][reported].tolist(), strict=True)
        )
        slots[at + position] = 0
        for leg in range(position + 1, position + 1 + legs):
            record = 32 * (leg + 1)
            slot = int.from_bytes(message[record + 4 : record + 6], "little")
            slots[at + leg] = slot
            statuses[at + leg] = statuses[at + position] or failed.get(slot, 0)
        position = kinds.find(layout.MASS_QUOTE, position + 1 + legs)
