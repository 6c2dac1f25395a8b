"""What happened, for the node: a ring of fixed records in SCRATCH, and the digest of outcomes.

The ring is written by live blocks only and never committed.  `header.outcome_digest` is: it folds
every status and fill, so a live run and its replay agree on outcomes when they agree on the state
root.
"""

from typing import Final

from entresol.kernel import layout
from entresol.kernel.layout import DURABLE_BASE, SCRATCH_EVENTS, SCRATCH_RUN_BASE
from entresol.kernel.subset import i64, kernel_function, multiply_wrapping, shift_right
from entresol.kernel.views import durable_at, event_at, run_at

_FOLD: Final = 0x0000_0100_0000_01B3
"""Odd, so that folding loses nothing of the earlier digest."""

_EVENT_MASK: Final = layout.MAX_EVENTS - 1
_EVENT_BYTES: Final = layout.EVENT.itemsize


@kernel_function
def fold_outcome(memory: int, value: int) -> None:
    """Mix one 64-bit value into the digest of outcomes."""
    header = durable_at(memory + DURABLE_BASE).header
    digest = i64(header.outcome_digest) ^ value
    digest = digest ^ shift_right(digest, 29)
    header.outcome_digest = multiply_wrapping(digest, i64(_FOLD))


@kernel_function
def emit(
    memory: int,
    kind: int,
    side: int,
    instrument: int,
    status: int,
    account: int,
    slot: int,
    price: int,
    quantity: int,
    label: int,
) -> None:
    """Append one event; the ring overwrites its oldest record, its count never stops.

    A batch keeps no events: nobody reads them there, and each would cost a proof a leaf.
    """
    run = run_at(memory + SCRATCH_RUN_BASE)
    if i64(run.batch) != 0:
        return
    count = i64(run.event_count)
    run.event_count = count + 1
    event = event_at(memory + SCRATCH_EVENTS + (count & _EVENT_MASK) * _EVENT_BYTES)
    event.kind = kind
    event.side = side
    event.instrument = instrument
    event.status = status
    event.account = account
    event.slot = slot
    event.price = price
    event.quantity = quantity
    event.label = label
    event.index = i64(run.record_index)
