"""Posts sealed batches to L1: in order, each exactly once, through crashes and reorgs.

The chain is the only memory of what was posted.  Every step looks which data record comes next and
moves that batch towards L1; a record that a reorg took back is next again.  The contract accepts
a batch at its own index only, so a second copy of a transaction can never post it twice.
"""

import enum
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from entresol.crypto import kzg
from entresol.crypto.keccak import keccak256
from entresol.rollup.limits import MAX_BLOBS, MAX_CALLDATA_BATCH_BYTES
from entresol.settlement.l1 import L1UnavailableError, RevertError
from entresol.settlement.records import CALLDATA, chunk_root
from entresol.settlement.sender import FeeCapError, Sender
from entresol.settlement.transaction import Call, Sidecar, build_sidecar
from entresol.settlement.view import L1View, PostedRecord

POST_BLOBS_GAS: Final = 300_000
MAX_FAILURES: Final = 3
"""Reverted transactions in a row for one batch before the batcher stops."""

_log = structlog.get_logger(__name__)


class BatcherError(Exception):
    """The batcher cannot go on by itself; the message says what happened and what to do."""


class ForeignRecordError(BatcherError):
    """L1 holds another data record where this node's batch belongs."""


class InboxChangedError(BatcherError):
    """A batch consumed inbox items that are not, or no longer, on L1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBatch:
    """A batch ready for L1: its bytes, and what it was built on (times in milliseconds)."""

    index: int
    data: bytes
    inbox_position: int
    inbox_hash: bytes
    last_time_ms: int


class BatchSource(Protocol):
    """Where sealed batches come from; one must stay available until its claim is final."""

    def batch(self, index: int) -> SealedBatch | None:
        """The batch for data record `index`, None while it is not sealed."""


class BatcherStatus(enum.Enum):
    """What a step found."""

    IDLE = "idle"
    """Every sealed batch is posted."""
    SENDING = "sending"
    """A transaction is on its way."""
    POSTED = "posted"
    """A batch got into L1 in this step."""
    WAITING = "waiting"
    """L1's clock is behind the batch, or its fees are above the cap."""


class Batcher:
    """Moves batches from `source` to L1.

    `pack` turns bytes into blobs (da/blobs.py); `prove` commits to them, in this process by
    default, which takes 0.4 s per blob with the interpreter lock held.
    """

    def __init__(
        self,
        view: L1View,
        sender: Sender,
        source: BatchSource,
        *,
        pack: Callable[[bytes], Sequence[bytes]],
        prove: Callable[[Sequence[bytes]], Sidecar] = build_sidecar,
        use_calldata: bool = False,
    ) -> None:
        self.view = view
        self.sender = sender
        self.source = source
        self._pack = pack
        self._prove = prove
        self._use_calldata = use_calldata
        self._rollup = view.deployment.contract("rollup")
        self._sidecar: tuple[int, bytes, Sidecar] | None = None
        self._verified: dict[int, bytes] = {}  # digests of records known to be this node's
        self._failures = 0

    def step(self) -> BatcherStatus:
        """Look at L1 and do the one thing that is next; never waits.

        Raises BatcherError, BalanceLowError (both need a person), L1UnavailableError (try again).
        """
        self.view.refresh()
        self._verify_posted()
        index = len(self.view.records)
        batch = self.source.batch(index)
        if batch is None:
            self.sender.settle()
            return BatcherStatus.IDLE
        if batch.index != index:
            raise BatcherError(f"the batch source gave batch {batch.index} for {index}")
        call = self._call(batch)
        try:
            if self.sender.pending is None:
                self._simulate(batch, call)
            receipt = self.sender.step(call, f"record {index}")
        except FeeCapError as error:
            _log.warning("batch waits for lower fees", index=index, reason=str(error))
            return BatcherStatus.WAITING
        except _NotYetError as error:
            _log.info("batch waits for L1", index=index, reason=str(error))
            return BatcherStatus.WAITING
        if receipt is None:
            return BatcherStatus.SENDING
        if not receipt.succeeded:
            self._failures += 1
            if self._failures >= MAX_FAILURES:
                raise BatcherError(
                    f"posting batch {index} failed {MAX_FAILURES} times, last in transaction "
                    f"0x{receipt.transaction.hex()}: look at its trace before starting again"
                )
            return BatcherStatus.SENDING
        self._failures = 0
        _log.info("batch posted", index=index, block=receipt.block, fee_wei=receipt.fee)
        return BatcherStatus.POSTED

    def run(self, stop: threading.Event, poll_seconds: float = 0.5) -> None:
        """Step until `stop` is set; an L1 node that is away is waited for."""
        while not stop.is_set():
            try:
                status = self.step()
            except L1UnavailableError as error:
                _log.warning("L1 is away", reason=str(error))
                status = BatcherStatus.WAITING
            if status is not BatcherStatus.POSTED:
                stop.wait(poll_seconds)

    def _verify_posted(self) -> None:
        """Check that every record on L1 is the batch this node sealed for its index.

        What is final is beyond doubt, and its batch need not be there any more.
        """
        records = self.view.records
        for index in [i for i in self._verified if i >= len(records)]:
            del self._verified[index]
        for posted in records[len(self.view.finals) :]:
            index = posted.record.index
            if self._verified.get(index) == posted.record.digest:
                continue
            batch = self.source.batch(index)
            if batch is None or not self._matches(batch, posted):
                raise ForeignRecordError(
                    f"data record {index} on L1 was posted by 0x{posted.record.poster.hex()} and "
                    "is not this node's batch: derive the state from L1 and start again from there"
                )
            self._verified[index] = posted.record.digest

    def _matches(self, batch: SealedBatch, posted: PostedRecord) -> bool:
        record = posted.record
        if len(batch.data) != record.data_bytes:
            return False
        if record.source == CALLDATA:
            return chunk_root(batch.data) == record.chunk_root
        return self._versioned_hashes(batch) == record.blob_hashes

    def _versioned_hashes(self, batch: SealedBatch) -> tuple[bytes, ...]:
        """Of the batch's blobs, without the cell proofs that only sending needs."""
        if self._sidecar is not None and self._sidecar[:2] == (batch.index, keccak256(batch.data)):
            return self._sidecar[2].versioned_hashes
        blobs = self._pack(batch.data)
        return tuple(kzg.versioned_hash(kzg.blob_to_commitment(blob)) for blob in blobs)

    def _prepare(self, batch: SealedBatch) -> Sidecar:
        digest = keccak256(batch.data)
        if self._sidecar is None or self._sidecar[:2] != (batch.index, digest):
            blobs = self._pack(batch.data)
            if not 1 <= len(blobs) <= MAX_BLOBS:
                raise BatcherError(
                    f"batch {batch.index} needs {len(blobs)} blobs: seal smaller batches"
                )
            self._sidecar = (batch.index, digest, self._prove(blobs))
        return self._sidecar[2]

    def _arguments(self, batch: SealedBatch) -> tuple[str, tuple[int | bytes, ...]]:
        rest = (batch.inbox_position, batch.inbox_hash, batch.last_time_ms)
        if self._use_calldata:
            return "post_calldata", (batch.index, batch.data, *rest)
        return "post_blobs", (batch.index, len(batch.data), *rest)

    def _call(self, batch: SealedBatch) -> Call:
        function, arguments = self._arguments(batch)
        data = self._rollup.encode(function, *arguments)
        if not self._use_calldata:
            return Call(
                to=self._rollup.address,
                data=data,
                gas_limit=POST_BLOBS_GAS,
                sidecar=self._prepare(batch),
            )
        if not 0 < len(batch.data) <= MAX_CALLDATA_BATCH_BYTES:
            raise BatcherError(f"batch {batch.index} is too long for calldata: seal smaller ones")
        # 40 gas per byte is the floor for data-heavy transactions; the rest is memory and hashes.
        return Call(to=self._rollup.address, data=data, gas_limit=600_000 + 60 * len(batch.data))

    def _simulate(self, batch: SealedBatch, call: Call) -> None:
        """Find out what L1 would say before paying for it."""
        function, arguments = self._arguments(batch)
        hashes = () if call.sidecar is None else call.sidecar.versioned_hashes
        try:
            self.view.client.simulate(
                self._rollup,
                function,
                *arguments,
                sender=self.sender.address,
                versioned_hashes=hashes,
            )
        except RevertError as error:
            reason = error.message
            if reason in ("rollup: ahead of L1", "rollup: record index"):
                raise _NotYetError(reason) from error
            if reason in ("rollup: inbox hash", "rollup: inbox position"):
                raise InboxChangedError(
                    f"batch {batch.index} consumed {batch.inbox_position} inbox items that are not "
                    "on L1 (a reorg changed them): roll the node back to the last record on L1"
                ) from error
            raise BatcherError(f"L1 refuses batch {batch.index}: {reason}") from error


class _NotYetError(Exception):
    """L1 would refuse now and will accept later."""
