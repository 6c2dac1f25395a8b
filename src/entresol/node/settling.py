"""The node's L1 side: follows the inbox, posts batches, proposes and finalises claims.

Three threads, each with its own mirror of L1.  Blob proofs are made in a worker process.  The
inbox is taken at a configured depth; when L1 takes back an item that the state has consumed,
the node stops, because its batches could no longer be valid.
"""

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from entresol.da import blobs as blob_codec
from entresol.da.archive import BlobArchive
from entresol.node.config import L1Config
from entresol.node.market.units import hexadecimal
from entresol.sequencing.batch_store import BatchStore
from entresol.settlement.batcher import Batcher, SealedBatch
from entresol.settlement.deploy import Deployment, verify_deployment
from entresol.settlement.l1 import L1Client, L1UnavailableError
from entresol.settlement.proposer import Proposer, RunResult
from entresol.settlement.records import CLOCK_SLACK_SECONDS, DataRecord
from entresol.settlement.sender import Sender
from entresol.settlement.transaction import Sidecar
from entresol.settlement.view import L1View

_log = structlog.get_logger(__name__)

ARCHIVE_FOLDER = "blobs"


class SettlementError(Exception):
    """Settling cannot go on by itself; the message says what happened and what to do."""


class StoredBatches:
    """Batches and results as the batcher and the proposer want them, from the builder's store."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store

    def batch(self, index: int) -> SealedBatch | None:
        """The batch for data record `index`, None while it is not built."""
        built = self._store.batch(index)
        if built is None:
            return None
        return SealedBatch(
            index=index,
            data=built.data,
            inbox_position=built.inbox_position,
            inbox_hash=built.inbox_hash,
            last_time_ms=built.last_time_ms,
        )

    def result(self, record: DataRecord) -> RunResult | None:
        """What the builder's run gave; the record's own time must not change it.

        The run reads L1's time and inbox only to bound the batch's last time and its items, so
        within those bounds the result is the builder's.
        """
        built = self._store.batch(record.index)
        if built is None:
            return None
        if built.last_time_ms > 1000 * (record.l1_time + CLOCK_SLACK_SECONDS):
            raise SettlementError(
                f"Data record {record.index} was posted before the time of its last block: L1 "
                "should have refused it. Compare the clocks."
            )
        if (record.inbox_position, record.data_bytes) != (built.inbox_position, len(built.data)):
            raise SettlementError(
                f"Data record {record.index} on L1 is not the batch this node built."
            )
        return RunResult(
            durable_before=built.durable_before,
            volatile_before=built.volatile_before,
            durable_after=built.durable_after,
            volatile_after=built.volatile_after,
            exit_code=built.exit_code,
            journal=built.journal,
        )


class Settling:
    """Runs the three threads; `on_inbox` and `on_failure` are called from them."""

    def __init__(
        self,
        config: L1Config,
        directory: pathlib.Path,
        store: BatchStore,
        *,
        on_inbox: Callable[[list[bytes]], None],
        consumed: Callable[[], tuple[int, bytes]],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._config = config
        self._directory = directory
        self._store = store
        self._on_inbox = on_inbox
        self._consumed = consumed
        self._on_failure = on_failure
        self.deployment = Deployment.load(config.deployment)
        self._client = L1Client(config.url)
        verify_deployment(self._client, self.deployment)
        self.view = L1View(self._client, self.deployment)
        """What readers see of L1; refreshed by the inbox thread, lists only grow between reorgs."""
        self._archive = BlobArchive(directory / ARCHIVE_FOLDER)
        self._workers: blob_codec.BlobWorkers | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start following and, where a key is given, posting and proposing."""
        self._spawn("l1 inbox", self._follow)
        source = StoredBatches(self._store)
        if self._config.batcher_secret is not None:
            if not self._config.use_calldata:
                self._workers = blob_codec.BlobWorkers()
            batcher = Batcher(
                self._new_view(),
                self._sender(self._config.batcher_secret, "batcher"),
                source,
                pack=blob_codec.pack,
                prove=self._prove,
                use_calldata=self._config.use_calldata,
            )
            self._spawn("batcher", lambda: batcher.run(self._stop, self._config.poll_seconds))
        if self._config.proposer_secret is not None:
            proposer = Proposer(
                self._new_view(), self._sender(self._config.proposer_secret, "proposer"), source
            )
            self._spawn("proposer", lambda: proposer.run(self._stop, self._config.poll_seconds))

    def _new_view(self) -> L1View:
        return L1View(L1Client(self._config.url), self.deployment)

    def _sender(self, secret: bytes, name: str) -> Sender:
        state = self._directory / f"{name}.json"
        return Sender(L1Client(self._config.url), secret, state=state)

    def _prove(self, packed: Sequence[bytes]) -> Sidecar:
        """Prove blobs in the worker and keep them for whoever needs them past 18 days."""
        if self._workers is None:
            raise SettlementError("Blob workers are not running.")
        proven = self._workers.prove(packed)
        for blob in packed:
            self._archive.add(blob)
        return Sidecar(
            blobs=tuple(packed),
            commitments=tuple(each.commitment for each in proven),
            cell_proofs=tuple(proof for each in proven for proof in each.cell_proofs),
        )

    def _spawn(self, name: str, body: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                body()
            except Exception as error:  # needs a person; the node stops and says so
                if not self._stop.is_set():
                    _log.exception("settlement failed", part=name)
                    self._on_failure(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _follow(self) -> None:
        confirmed = L1View(
            L1Client(self._config.url),
            self.deployment,
            confirmations=self._config.confirmations,
        )
        offered = 0
        while not self._stop.is_set():
            try:
                self.view.refresh()
                if confirmed.refresh() is not None:
                    offered = 0
                self._check_consumed(confirmed)
                if len(confirmed.items) > offered:
                    self._on_inbox([entry.item for entry in confirmed.items[offered:]])
                    offered = len(confirmed.items)
            except L1UnavailableError as error:
                _log.warning("L1 is away", reason=str(error))
            self._stop.wait(self._config.poll_seconds)

    def _check_consumed(self, confirmed: L1View) -> None:
        position, chain = self._consumed()
        if position <= len(confirmed.items) and confirmed.inbox_hash(position) != chain:
            raise SettlementError(
                f"L1 took back inbox items below position {position} that blocks have consumed: "
                "raise `confirmations`, derive the state from L1 and start from it."
            )

    # --- what readers ask ----------------------------------------------------------------------

    def batch_status(self, number: int) -> dict[str, Any]:
        """Where a batch stands on L1: built, posted, claimed or final."""
        records = self.view.records
        if number >= len(records):
            return {"status": "built"}
        posted = records[number]
        found = {
            "status": "posted",
            "l1_block": posted.block,
            "l1_transaction": hexadecimal(posted.transaction),
            "record": hexadecimal(posted.record.digest),
        }
        for claim in self.view.claims:
            if claim.record_index == number and not self.view.is_dead(claim.key):
                found |= {
                    "status": "claimed",
                    "claim": hexadecimal(claim.key),
                    "deadline": claim.deadline,
                }
                if self.view.is_final(claim.key):
                    return found | {"status": "final"}
        return found

    def withdrawal_claim(self, index: int) -> tuple[bytes, int, bytes, str] | None:
        """(claim key, withdrawals it covers, root, status) of the first claim that has the leaf.

        A final claim is preferred over one that waits.
        """
        waiting = None
        for claim in self.view.claims:
            outcome = claim.outcome
            if outcome.withdrawals_count <= index or self.view.is_dead(claim.key):
                continue
            found = (claim.key, outcome.withdrawals_count, outcome.withdrawals_root)
            if self.view.is_final(claim.key):
                return (*found, "final")
            waiting = waiting or (*found, "claimed")
        return waiting

    @property
    def counts(self) -> tuple[int, int]:
        """Data records on L1, and how many of them are final."""
        outcome = self.view.outcome(self.view.final_head)
        return len(self.view.records), outcome.next_record if outcome else 0

    def stop(self) -> None:
        """End the threads after the step they are in."""
        self._stop.set()
        deadline = time.monotonic() + 20
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        if self._workers is not None:
            with contextlib.suppress(Exception):
                self._workers.close()
