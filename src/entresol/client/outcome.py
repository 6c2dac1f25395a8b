"""What became of one accepted message."""

from dataclasses import dataclass

from entresol.client.errors import OrderRejectedError
from entresol.kernel.rejections import Rejection
from entresol.sequencing.receipts import Receipt


@dataclass(frozen=True, slots=True)
class Outcome:
    """An accepted message: what each operation did, and the sequencer's receipt.

    After a reconnection the node's tip can prove that a message was accepted without telling its
    outcomes; `receipt` is None and the lists are empty then.
    """

    statuses: tuple[int, ...] = ()
    slots: tuple[int, ...] = ()
    filled: tuple[int, ...] = ()
    receipt: Receipt | None = None
    receipt_signature: bytes = b""
    seconds: float = 0.0  # from sending to the answer

    @property
    def rejections(self) -> list[Rejection]:
        """Reasons of the operations that were rejected."""
        return [Rejection(status) for status in self.statuses if status]

    def raise_for_rejection(self) -> None:
        """Raise OrderRejectedError when the message's first operation was rejected.

        Whether a mass quote stands is its own first status; its legs have theirs behind it.
        """
        if self.statuses and self.statuses[0]:
            raise OrderRejectedError(Rejection(self.statuses[0]))
