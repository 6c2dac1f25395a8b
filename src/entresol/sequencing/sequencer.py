"""The sequencer: one total order over messages and inbox items, in blocks, on the live memory.

It runs on one event loop and owns the memory.  Whatever was admitted since the last turn is
applied in one go; answers, events and receipts leave only when the journal has the messages on
disk.  The journal is the only thing other processes see of it.
"""

import asyncio
import collections
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from entresol.crypto.keccak import keccak256
from entresol.kernel import layout
from entresol.kernel.rejections import Refusal
from entresol.rollup.message import lane_tip_digest
from entresol.sequencing import entries
from entresol.sequencing.admission import Submission
from entresol.sequencing.execution import Execution
from entresol.sequencing.journal import Journal, JournalError
from entresol.sequencing.lane_state import read_lane, read_lane_tip
from entresol.sequencing.open_batch import BatchLimits, LaneSignature, OpenBatch
from entresol.sequencing.outcomes import (
    Accepted,
    GatewayRefusal,
    Refused,
    fold_events,
    resolve_quotes,
)
from entresol.sequencing.receipts import Receipt
from entresol.sequencing.signatures import SignaturePool

_EVENTS_PER_TURN: Final = layout.MAX_EVENTS // 4
_POSITION: Final = int(layout.INBOX_ITEM.fields["position"][1])  # type: ignore[index]
_BLOCK_BYTES: Final = 1 << 19
"""Plain message bytes at which a block closes early.  A block must fit one data record by itself,
whatever it holds: 8,192 messages of this sum need at most 0.7 MB with a signature each."""
_LAG_MS: Final = 1000
"""How far the clock may run behind the state's time before the node says so."""


class SequencerError(Exception):
    """The sequencer cannot go on; the node must stop and a person must look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencerSettings:
    """How often blocks close, how much one turn of the loop does, when batches are sealed."""

    block_interval_ms: int
    messages_per_turn: int
    inbox_items_per_block: int
    batch: BatchLimits


_Answers = list[tuple[Submission, Accepted]]


@dataclass(frozen=True, slots=True)
class Committed:
    """Events of one turn, now on disk: what market data, history and user streams are made of."""

    block: int
    time_ms: int
    events: npt.NDArray[np.void]
    receipts: list[Receipt]


class Sequencer:
    """Applies, journals, answers; see the module's page for the order of those."""

    def __init__(
        self,
        *,
        execution: Execution,
        journal: Journal,
        batch: OpenBatch,
        domain: bytes,
        pool: SignaturePool,
        settings: SequencerSettings,
        clock_ms: Callable[[], int],
    ) -> None:
        self._execution = execution
        self._journal = journal
        self._batch = batch
        self._domain = domain
        self._pool = pool
        self._settings = settings
        self._clock_ms = clock_ms
        self._loop = asyncio.get_running_loop()
        self._queue: collections.deque[Submission] = collections.deque()
        self._scheduled = False
        self._open = False
        self._message_index = 0
        self._close_timer: asyncio.TimerHandle | None = None
        self._inbox: collections.deque[bytes] = collections.deque()
        self._uncommitted: collections.deque[tuple[int, Callable[[], None], _Answers]] = (
            collections.deque()
        )
        self._applied: list[tuple[Submission, int, int]] = []
        self._sealing = False
        self._stopped = False
        self.failure: Exception | None = None
        self.on_committed: Callable[[Committed], None] = lambda _: None
        self.on_sealed: Callable[[entries.BatchSealed, int], None] = lambda _, __: None
        """Called with a sealed batch and its journal frame, once that is on disk."""
        self.on_failure: Callable[[Exception], None] = lambda _: None
        journal.on_durable = self._note_durable
        journal.on_failure = self._note_journal_failure

    # --- what the gateway and the inbox bring --------------------------------------------------

    def enqueue(self, submission: Submission) -> None:
        """Take an admitted message; it is answered exactly once."""
        self._queue.append(submission)
        self._schedule()

    def offer_inbox(self, items: Iterable[bytes]) -> None:
        """Take inbox items in order; those the state has consumed already are skipped."""
        expected = int(self._execution.header["inbox_position"]) + len(self._inbox)
        for item in items:
            position = int.from_bytes(item[_POSITION : _POSITION + 8], "little")
            if position > expected:
                raise SequencerError(
                    f"Inbox item {position} came where {expected} was due; read the inbox again."
                )
            if position == expected:
                self._inbox.append(item)
                expected += 1
        if self._inbox:
            self._schedule()

    @property
    def next_inbox_position(self) -> int:
        """Position of the first inbox item that `offer_inbox` has not seen."""
        return int(self._execution.header["inbox_position"]) + len(self._inbox)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    # --- one turn ------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._scheduled = False
        try:
            self._apply_queued()
        except Exception as error:  # a bug or a full disk: stop, rather than answer wrongly
            self._fail(error)
        if (self._queue or (self._inbox and not self._open)) and not self._stopped:
            self._schedule()

    def _apply_queued(self) -> None:
        if self._stopped:
            self._refuse_queued()
            return
        if not self._open:
            if not self._queue and not self._inbox:
                return
            self._open_block()
        applied = self._applied
        for _ in range(self._settings.messages_per_turn):
            if not self._queue or self._execution.unread_events > _EVENTS_PER_TURN:
                break
            if self._execution.message_bytes >= _BLOCK_BYTES:
                self._finish_turn(applied)
                self._close_block()
                return
            submission = self._queue.popleft()
            first_record = self._execution.record_index
            refusal = self._apply_one(submission)
            if refusal == Refusal.BLOCK_FULL and self._message_index > 0:
                self._queue.appendleft(submission)
                self._finish_turn(applied)
                self._close_block()
                return
            if refusal:
                self._refuse(submission, refusal)
            else:
                applied.append((submission, self._message_index, first_record))
                self._message_index += 1
        self._finish_turn(applied)

    def _apply_one(self, submission: Submission) -> Refusal | GatewayRefusal | None:
        execution = self._execution
        execution.place(submission.message)
        lane = submission.lane
        if lane and read_lane_tip(execution.memory, lane) != submission.previous_tip:
            return Refusal(execution.check()) or GatewayRefusal.WRONG_TIP
        refusal = execution.apply()
        if refusal:
            return Refusal(refusal)
        self._journal.append(entries.MESSAGE, submission.signature + submission.message)
        if lane:
            last = LaneSignature(
                block=execution.next_block,
                lane=lane,
                registration=submission.registration,
                key=submission.key,
                tip=submission.tip,
                signature=submission.signature,
            )
            self._batch.add_lane_message(len(submission.message) // 32 - 1, last)
        else:
            self._batch.add_owner_message()
        return None

    def _refuse(self, submission: Submission, reason: Refusal | GatewayRefusal) -> None:
        lane = read_lane(self._execution.memory, submission.lane)
        if lane is None:
            submission.answer(Refused(reason))
        else:
            submission.answer(Refused(reason, lane.tip, lane.sequence))

    def _refuse_queued(self) -> None:
        while self._queue:
            self._queue.popleft().answer(Refused(GatewayRefusal.STOPPING))

    def _finish_turn(self, applied: list[tuple[Submission, int, int]]) -> None:
        """Read what happened and hold it back until it is on disk."""
        events = self._execution.read_events()
        if not applied and not len(events):
            return
        header = self._execution.header
        answers = self._compose_answers(applied, events) if applied else []
        receipts = [accepted.receipt for _, accepted in answers]
        time_ms = int(header["last_time_ms"])
        committed = Committed(self._execution.next_block, time_ms, events, receipts)
        self._applied = []
        self._after_commit(functools.partial(self._release, answers, committed), answers)

    def _compose_answers(
        self, applied: list[tuple[Submission, int, int]], events: npt.NDArray[np.void]
    ) -> _Answers:
        header = self._execution.header
        position = int(header["inbox_position"])
        inbox_hash = header["inbox_hash"].tobytes()
        previous_hash = header["last_header_hash"].tobytes()
        block = self._execution.next_block
        first = applied[0][2]
        count = self._execution.record_index - first
        statuses, slots, filled = fold_events(events, first, count)
        starts = [start for _, _, start in applied]
        bounds = np.searchsorted(events["index"], [*starts, first + count]).tolist()
        answers = []
        for number, (submission, index, start) in enumerate(applied):
            at = start - first
            own = events[bounds[number] : bounds[number + 1]]
            if submission.lane:
                stop = at + len(submission.message) // 32 - 1
                tip = submission.tip
                resolve_quotes(submission.message, start, own, statuses, slots, at)
            else:
                stop = at + 1
                tip = keccak256(submission.message)
            receipt = Receipt(
                inbox_position=position,
                inbox_hash=inbox_hash,
                block=block,
                index=index,
                lane=submission.lane,
                sequence=submission.sequence,
                tip=tip,
                previous_header_hash=previous_hash,
            )
            answers.append(
                (
                    submission,
                    Accepted(receipt, statuses[at:stop], slots[at:stop], filled[at:stop], own),
                )
            )
        return answers

    def _release(self, answers: _Answers, committed: Committed) -> None:
        for submission, accepted in answers:
            submission.answer(accepted)
        self.on_committed(committed)

    # --- blocks --------------------------------------------------------------------------------

    def _open_block(self) -> None:
        execution = self._execution
        last_time = int(execution.header["last_time_ms"])
        now = self._clock_ms()
        if now < last_time - _LAG_MS:
            raise SequencerError(
                f"The clock says {now} ms, the state is at {last_time} ms: set the clock right."
            )
        count = min(len(self._inbox), self._settings.inbox_items_per_block)
        items = tuple(self._inbox.popleft() for _ in range(count))
        opened = entries.BlockOpened(execution.next_block, max(now, last_time), items)
        execution.open_block(opened.time_ms, items)
        self._journal.append(entries.OPEN, opened.encode())
        self._batch.open_block(opened.number, opened.time_ms, count)
        self._open = True
        self._message_index = 0
        self._finish_turn([])
        delay = self._settings.block_interval_ms / 1000
        self._close_timer = self._loop.call_later(delay, self._close_on_time)

    def _close_on_time(self) -> None:
        if self._open and not self._stopped:
            try:
                self._close_block()
            except Exception as error:  # as in _turn
                self._fail(error)
        if self._queue or self._inbox:
            self._schedule()

    def _close_block(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        closed = self._execution.close_block()
        self._open = False
        self._journal.append(entries.CLOSE, closed.encode())
        self._finish_turn([])
        self._seal_if_due()

    def _seal_if_due(self, now_ms: int | None = None) -> None:
        now = self._clock_ms() if now_ms is None else now_ms
        if self._sealing or self._open or not self._batch.is_due(self._settings.batch, now):
            return
        self._sealing = True
        sealed = entries.BatchSealed(
            self._batch.number, self._batch.first_block, self._execution.next_block
        )
        self._loop.create_task(self._seal(sealed, self._batch.signatures()))

    async def _seal(self, sealed: entries.BatchSealed, signatures: list[LaneSignature]) -> None:
        """Check the signatures the batch will publish once more, then seal it."""
        try:
            bad = await self._find_bad(signatures)
            if bad:
                raise SequencerError(
                    f"Batch {sealed.number} is not sealed: the last signatures of lanes {bad} do "
                    "not verify although they were checked on arrival. Look for memory faults, "
                    "then restart the node from its journal."
                )
            frame = self._journal.append(entries.SEAL, sealed.encode())
            self._batch.seal(sealed.number, sealed.next_block)
            self._after_commit(functools.partial(self.on_sealed, sealed, frame))
        except (SequencerError, JournalError) as error:
            self._fail(error)
        finally:
            self._sealing = False

    async def _find_bad(self, signatures: list[LaneSignature]) -> list[int]:
        checks = []
        for last in signatures:
            answer: asyncio.Future[bool] = self._loop.create_future()
            digest = lane_tip_digest(self._domain, last.tip)

            def decide(good: bool, answer: asyncio.Future[bool] = answer) -> None:
                if not answer.done():
                    answer.set_result(good)

            while not self._pool.submit(digest, last.signature, last.key, decide):
                await asyncio.sleep(0.001)  # the pool is full: leave room for traders
            checks.append((last.lane, answer))
        return [lane for lane, answer in checks if not await answer]

    def seal_if_due(self) -> None:
        """Seal what has come of age; called now and then, because a quiet venue closes no block."""
        if not self._stopped:
            self._seal_if_due()

    def seal_now(self) -> None:
        """Close the open block and seal what there is, however little; for shutdown and tests."""
        if self._open:
            self._close_block()
        limits = self._settings.batch
        self._seal_if_due(self._clock_ms() + limits.age_ms + 1)

    # --- commitment and failure ----------------------------------------------------------------

    def _after_commit(self, action: Callable[[], None], answers: _Answers | None = None) -> None:
        """Act once everything journaled so far is on disk; in order, also when it is already."""
        number = self._journal.last_number
        if number <= self._journal.durable_number and not self._uncommitted:
            action()
        else:
            self._uncommitted.append((number, action, answers or []))

    def _note_durable(self, number: int) -> None:
        self._call_on_loop(self._release_through, number)

    def _note_journal_failure(self, error: Exception) -> None:
        self._call_on_loop(self._fail, error)

    def _call_on_loop(self, function: Callable[..., None], argument: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)

    def _release_through(self, number: int) -> None:
        while self._uncommitted and self._uncommitted[0][0] <= number:
            self._uncommitted.popleft()[1]()

    def _fail(self, error: Exception) -> None:
        """Stop for good: queued and uncommitted messages are answered as not accepted."""
        if self.failure is not None:
            return
        self.failure = error
        self._stopped = True
        self._refuse_queued()
        unknown = [submission for submission, _, _ in self._applied]
        self._applied = []
        while self._uncommitted:
            unknown += [submission for submission, _ in self._uncommitted.popleft()[2]]
        for submission in unknown:
            submission.answer(Refused(GatewayRefusal.OUTCOME_UNKNOWN))
        self.on_failure(error)

    async def stop(self) -> None:
        """Finish what was admitted, close the block and wait for the disk."""
        while self._queue and self.failure is None:
            await asyncio.sleep(0)
        if self._open and self.failure is None:
            self._close_block()
        while self._sealing:
            await asyncio.sleep(0.001)
        self._stopped = True
        if self.failure is None:
            await self._loop.run_in_executor(None, self._journal.flush)
            self._release_through(self._journal.durable_number)
        self._refuse_queued()
