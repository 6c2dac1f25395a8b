"""Counts what became of many messages: operations by kind, rejections by name, latencies."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from entresol.client.errors import MessageRefusedError
from entresol.client.lane import LaneChannel
from entresol.client.outcome import Outcome
from entresol.kernel import layout
from entresol.kernel.rejections import Rejection
from entresol.rollup.message import Operation

KIND_NAMES: Final = {
    layout.PLACE: "place",
    layout.CANCEL: "cancel",
    layout.CANCEL_ALL: "cancel_all",
    layout.MASS_QUOTE: "mass_quote",
    layout.QUOTE_LEG: "quote_leg",
    layout.ORACLE_INDEX: "oracle_index",
    layout.ORACLE_MARK: "oracle_mark",
    layout.TRANSFER: "transfer",
    layout.EXPIRE: "expire",
}
"""Names of operation kinds in reports."""

PERCENTILES: Final = (50, 90, 99, 99.9)


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of durations, in milliseconds; empty for no durations."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {
        f"p{percent:g}": round(1000 * ordered[round(percent / 100 * last)], 3)
        for percent in PERCENTILES
    }


@dataclass(slots=True)
class Tally:
    """Sums over messages; `in_flight` bounds how many wait for their outcome at once."""

    in_flight: int = 512
    messages: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    filled_lots: int = 0
    latencies: list[float] = field(default_factory=list)
    _room: asyncio.Semaphore | None = None

    @property
    def operation_count(self) -> int:
        """Operations in messages that were accepted."""
        return self.operations.total()

    async def post(
        self,
        lane: LaneChannel,
        operations: Sequence[Operation],
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> None:
        """Send one message, count what becomes of it, and wait only for room."""
        if self._room is None:
            self._room = asyncio.Semaphore(self.in_flight)
        await self._room.acquire()
        future = await lane.post(operations)
        future.add_done_callback(lambda done: self._note(done, operations, on_outcome))

    def _note(
        self,
        done: "asyncio.Future[Outcome]",
        operations: Sequence[Operation],
        on_outcome: Callable[[Outcome], None] | None,
    ) -> None:
        assert self._room is not None
        self._room.release()
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            refused = isinstance(error, MessageRefusedError)
            self.refusals[error.reason.name if refused else type(error).__name__] += 1  # type: ignore[union-attr]
            return
        outcome = done.result()
        self.messages += 1
        for operation in operations:
            self.operations[KIND_NAMES[operation.kind]] += 1
        for status in outcome.statuses:
            if status:
                self.rejections[Rejection(status).name] += 1
        self.filled_lots += sum(outcome.filled)
        self.latencies.append(outcome.seconds)
        if on_outcome is not None:
            on_outcome(outcome)
