"""The node's link to L1: brings confirmed inbox items in, puts batches and claims out.

Three threads, each with its own connection and its own mirror of L1: the follower, the batcher
and the proposer.  None of them ever waits for trading or makes trading wait.  What goes wrong is
said in three ways: in `status()`, in the log, and, when it cannot pass by itself, once through
`on_failure` on the node's loop.

An inbox item is handed over in position order, once the block that carries it has the configured
number of confirmations: the state that consumed it cannot be taken back.  When L1 does take back
more than that, nothing can be repaired here, and the follower fails.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from entresol.crypto.secp256k1 import address_of
from entresol.da.archive import BlobArchive
from entresol.da.blobs import BlobWorkers, pack
from entresol.node.l1_chain import ChainPicture
from entresol.node.l1_sources import BlobProver, StoredBatches, StoredRuns
from entresol.node.l1_worker import Step, Worker, WorkerStatus
from entresol.sequencing.batch_store import BatchStore
from entresol.settlement.batcher import Batcher, BatcherStatus
from entresol.settlement.deploy import Deployment, verify_deployment
from entresol.settlement.l1 import L1Client
from entresol.settlement.proposer import Proposer, ProposerStatus
from entresol.settlement.sender import FeePolicy, Sender
from entresol.settlement.view import EMPTY_CHAIN, L1View

ITEMS_PER_CALL: Final = 512
"""Inbox items handed to the loop at once."""

LOOKS_BEFORE_GONE: Final = 3
"""Times that handed items must be missing: a node behind a load balancer may lag for one."""

_LOOP_POLL_SECONDS: Final = 0.1

InboxCallback = Callable[[Sequence[bytes]], None]
"""Takes items (128 bytes each) in position order; the sequencer's `offer_inbox`."""


class L1LinkError(Exception):
    """The link cannot be made as configured; the message says what to change."""


class DeepReorgError(Exception):
    """L1 took back inbox items that had their confirmations and that this node has consumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class L1Status:
    """How the link is doing; a value, safe to pass on."""

    block: int
    """Newest L1 block seen."""
    confirmed_items: int
    """Inbox items with enough confirmations."""
    handed_items: int
    """Items that the node's loop has taken, counted from the start of the inbox."""
    records: int
    final_records: int
    """Data records on L1, and those with a final claim."""
    follower: WorkerStatus
    batcher: WorkerStatus | None
    proposer: WorkerStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class L1Keys:
    """Secrets of the two L1 accounts; None leaves that task to somebody else."""

    batcher: bytes | None = None
    proposer: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class L1Settings:
    """How the node deals with L1; `directory` keeps the transactions in flight."""

    directory: Path
    confirmations: int
    """Depth at which an inbox item is taken."""
    archive: Path | None = None
    """Where blobs are kept for those who derive after L1 has dropped them."""
    poll_seconds: float = 0.5
    pause_seconds: float = 10.0
    """Between looks at an account that could not pay, and at balances in general."""
    use_calldata: bool = False
    blob_processes: int = 1
    batcher_fees: FeePolicy = field(default_factory=FeePolicy)
    proposer_fees: FeePolicy = field(default_factory=FeePolicy)
    collect_from: int | None = None
    """Wei of credit worth a transaction to collect; None: eight bonds."""

    def __post_init__(self) -> None:
        if self.confirmations < 0 or self.blob_processes < 1:
            raise L1LinkError("confirmations must be 0 or more, blob_processes 1 or more.")
        if not (self.poll_seconds > 0 and self.pause_seconds > 0):
            raise L1LinkError("poll_seconds and pause_seconds must be positive.")


class _Follower:
    """Mirrors L1 up to the confirmed block and hands inbox items on, each once, in order.

    `position` and `chain_hash` say where in the inbox the node's state stands.
    """

    def __init__(
        self,
        client: L1Client,
        deployment: Deployment,
        confirmations: int,
        position: int,
        chain_hash: bytes,
        hand_over: Callable[[Sequence[bytes]], bool],
    ) -> None:
        self._client = client
        self._deployment = deployment
        self._confirmations = confirmations
        self._view = L1View(client, deployment, confirmations=confirmations)
        # What the API shows is L1's newest word; what the state consumes is its confirmed one.
        self._newest = self._view if confirmations == 0 else L1View(client, deployment)
        self._handed = position
        self._handed_hash = chain_hash
        self._handed_block = 0
        self._missing = 0
        self._verified = False
        self._hand_over = hand_over
        self.picture = ChainPicture()

    def step(self) -> Step:
        """Look at L1 once; raises DeepReorgError, DeploymentError, L1Error."""
        if not self._verified:
            verify_deployment(self._client, self._deployment)
            self._verified = True
        confirmed = self._client.head().number - self._confirmations
        self._view.refresh()
        self._draw()
        waiting = self._check_handed(confirmed)
        if waiting:
            return Step("behind")
        handed = self._hand_items()
        return Step("handed over" if handed else "following", again=handed)

    def _check_handed(self, confirmed: int) -> bool:
        """Whether L1, as this node shows it now, still lacks items that were handed over.

        Raises DeepReorgError when it has others instead, or reached their block without them.
        """
        items = self._view.items
        if len(items) >= self._handed:
            self._missing = 0
            if self._view.inbox_hash(self._handed) == self._handed_hash:
                return False
            raise DeepReorgError(self._complaint("other items in their place"))
        if self._handed_block and confirmed >= self._handed_block:
            self._missing += 1
            if self._missing >= LOOKS_BEFORE_GONE:
                raise DeepReorgError(self._complaint(f"only {len(items)} items"))
        return True

    def _complaint(self, found: str) -> str:
        return (
            f"This node's state consumed {self._handed} inbox items, and L1 now has {found}, "
            f"{self._confirmations} blocks below its head: L1 was reorganised below the configured "
            "confirmations, or the L1 node serves another chain. Stop this node, make sure of the "
            "L1 node, derive the state from L1 and start again from there."
        )

    def _hand_items(self) -> bool:
        """Hand on what is new, at most ITEMS_PER_CALL; was there anything?"""
        chosen = self._view.items[self._handed : self._handed + ITEMS_PER_CALL]
        if not chosen or not self._hand_over([posted.item for posted in chosen]):
            return False
        self._handed += len(chosen)
        self._handed_hash = chosen[-1].chain_hash
        self._handed_block = chosen[-1].block
        return True

    def _draw(self) -> None:
        if self._newest is not self._view:
            self._newest.refresh()
        head = self._newest.head
        if head is not None and head.digest != self.picture.digest:
            self.picture = ChainPicture.take(self._newest)

    @property
    def counts(self) -> tuple[int, int]:
        """Confirmed inbox items, and those handed over."""
        return len(self._view.items), self._handed


class L1Link:
    """Owns the three threads; `start` and `stop` on the node's loop, `status` anywhere.

    `make_client` makes a connection to the L1 node, once per thread.  Raises L1LinkError when the
    keys do not fit the deployment.
    """

    def __init__(
        self,
        deployment: Deployment,
        make_client: Callable[[], L1Client],
        store: BatchStore,
        keys: L1Keys,
        settings: L1Settings,
    ) -> None:
        _check_keys(keys, deployment)
        self._deployment = deployment
        self._make_client = make_client
        self._store = store
        self._keys = keys
        self._settings = settings
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._follower: _Follower | None = None
        self._blob_workers: BlobWorkers | None = None
        self._workers: dict[str, Worker] = {}
        self.on_failure: Callable[[Exception], None] = lambda _: None
        """Called on the loop when a thread has failed for good; the others go on."""

    def start(
        self,
        offer_inbox: InboxCallback,
        inbox_position: int = 0,
        inbox_hash: bytes = EMPTY_CHAIN,
    ) -> None:
        """Start the threads; call once, on the loop that `offer_inbox` must be called on.

        The first item handed over is number `inbox_position`, where L1's chain of items must have
        the value `inbox_hash`: both as they stand in the header of the node's state.
        """
        if self._loop is not None:
            raise L1LinkError("A link is started once; make another.")
        self._loop = asyncio.get_running_loop()

        def follow() -> Callable[[], Step]:
            self._follower = follower = _Follower(
                self._make_client(),
                self._deployment,
                self._settings.confirmations,
                inbox_position,
                inbox_hash,
                lambda items: self._call_on_loop(offer_inbox, items),
            )
            return follower.step

        self._add("follower", follow)
        if self._keys.batcher is not None or self._keys.proposer is not None:
            self._blob_workers = BlobWorkers(self._settings.blob_processes)
            folder = self._settings.archive
            archive = None if folder is None else BlobArchive(folder)
            prover = BlobProver(self._blob_workers.prove, archive)
            if self._keys.batcher is not None:
                self._add_batcher(self._keys.batcher, prover)
            if self._keys.proposer is not None:
                self._add_proposer(self._keys.proposer, prover)
        for worker in self._workers.values():
            worker.thread.start()

    async def stop(self) -> None:
        """End the threads after the step each is in, and wait for them."""
        self._stopping.set()
        loop = asyncio.get_running_loop()
        for worker in self._workers.values():
            await loop.run_in_executor(None, worker.thread.join)
        if self._blob_workers is not None:
            await loop.run_in_executor(None, self._blob_workers.close)

    @property
    def picture(self) -> ChainPicture:
        """What L1's newest block says about records, claims and withdrawals."""
        return ChainPicture() if self._follower is None else self._follower.picture

    @property
    def counts(self) -> tuple[int, int]:
        """Data records on L1, and how many of them have a final claim."""
        return self.picture.counts

    def batch_status(self, number: int) -> dict[str, Any]:
        """As ChainPicture.batch_status, of the newest picture."""
        return self.picture.batch_status(number)

    def withdrawal_claim(self, index: int) -> tuple[bytes, int, bytes, str] | None:
        """As ChainPicture.withdrawal_claim, of the newest picture."""
        return self.picture.withdrawal_claim(index)

    def status(self) -> L1Status:
        """What the threads last found."""
        follower, batcher = self._workers.get("follower"), self._workers.get("batcher")
        proposer = self._workers.get("proposer")
        confirmed, handed = (0, 0) if self._follower is None else self._follower.counts
        records, final = self.picture.counts
        return L1Status(
            block=self.picture.block,
            confirmed_items=confirmed,
            handed_items=handed,
            records=records,
            final_records=final,
            follower=WorkerStatus() if follower is None else follower.status,
            batcher=None if batcher is None else batcher.status,
            proposer=None if proposer is None else proposer.status,
        )

    def _add(self, name: str, build: Callable[[], Callable[[], Step]]) -> None:
        self._workers[name] = Worker(
            name,
            build,
            stop=self._stopping,
            poll_seconds=self._settings.poll_seconds,
            pause_seconds=self._settings.pause_seconds,
            on_failure=lambda error: self._tell(self.on_failure, error),
            release=self._store.close,
        )

    def _sender(self, name: str, secret: bytes, policy: FeePolicy) -> Sender:
        state = self._settings.directory / f"{name}.json"
        sender = Sender(self._make_client(), secret, state=state, policy=policy)
        self._workers[name].pay_from(sender)
        return sender

    def _add_batcher(self, secret: bytes, prover: BlobProver) -> None:
        def build() -> Callable[[], Step]:
            sender = self._sender("batcher", secret, self._settings.batcher_fees)
            batcher = Batcher(
                L1View(sender.client, self._deployment),
                sender,
                StoredBatches(self._store),
                pack=pack,
                prove=prover.prove,
                use_calldata=self._settings.use_calldata,
            )

            def step() -> Step:
                found = batcher.step()
                return Step(found.value, again=found is BatcherStatus.POSTED)

            return step

        self._add("batcher", build)

    def _add_proposer(self, secret: bytes, prover: BlobProver) -> None:
        def build() -> Callable[[], Step]:
            sender = self._sender("proposer", secret, self._settings.proposer_fees)
            proposer = Proposer(
                L1View(sender.client, self._deployment),
                sender,
                StoredRuns(self._store, prover),
                collect_from=self._settings.collect_from,
            )

            def step() -> Step:
                found = proposer.step()
                return Step(found.value, again=found is ProposerStatus.DONE)

            return step

        self._add("proposer", build)

    # --- from a thread to the loop ------------------------------------------------------------

    def _tell(self, function: Callable[[Exception], None], error: Exception) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(function, error)

    def _call_on_loop(self, function: InboxCallback, items: Sequence[bytes]) -> bool:
        """Call on the loop and wait for it; False when the link is stopped meanwhile.

        Raises what `function` raises.
        """
        assert self._loop is not None
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def call() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                function(items)
                done.set_result(None)
            except Exception as error:  # raised again in the thread that waits
                done.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed
            return False
        while not concurrent.futures.wait([done], _LOOP_POLL_SECONDS).done:
            if self._stopping.is_set() and done.cancel():
                return False
        done.result()
        return True


def _check_keys(keys: L1Keys, deployment: Deployment) -> None:
    if keys.batcher is not None:
        address, expected = address_of(keys.batcher), deployment.parameters.sequencer
        if address != expected:
            raise L1LinkError(
                f"The batcher's key is that of 0x{address.hex()}, but the rollup takes batches "
                f"from 0x{expected.hex()}: configure that account's key."
            )
    if keys.batcher is not None and keys.batcher == keys.proposer:
        raise L1LinkError(
            "Batcher and proposer must have accounts of their own: one account has one "
            "transaction in flight."
        )
