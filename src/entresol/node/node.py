"""The node: joins sequencer, batch builder, settlement, history and API, and nothing else does.

    node = Node(config)
    await node.start()          # recovers, then serves on node.port
    await node.wait()           # until stop() or a failure; raises what went wrong
    await node.stop()

Whatever part fails, the node stops as a whole and says why: a node that accepts orders it cannot
journal, build or settle would make promises nobody keeps.
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import structlog

from entresol.crypto.secp256k1 import address_of
from entresol.kernel import layout
from entresol.kernel.genesis import build_genesis
from entresol.machine.image import load_kernel_image
from entresol.machine.memory import Memory
from entresol.node.api.connection import Connection
from entresol.node.api.reads import Reads, Sources
from entresol.node.api.rpc import Dispatcher
from entresol.node.api.server import Server
from entresol.node.api.subscriptions import Subscriptions
from entresol.node.api.writes import Writes
from entresol.node.catch_up import CatchUp
from entresol.node.config import NodeConfig
from entresol.node.feed import Feed
from entresol.node.history import History, HistoryReader
from entresol.node.inbox_file import read_items
from entresol.node.l1_link import L1Keys, L1Link, L1Settings
from entresol.node.market.accounts import AccountReader
from entresol.node.market.books import BookReader
from entresol.node.market.instruments import InstrumentTable
from entresol.node.market.tickers import TickerReader
from entresol.node.market.units import hexadecimal
from entresol.node.metrics import Metrics
from entresol.node.withdrawal_proofs import WithdrawalProver
from entresol.rollup.limits import (
    BLOB_DATA_BYTES,
    MAX_BLOB_BATCH_BYTES,
    MAX_CALLDATA_BATCH_BYTES,
)
from entresol.sequencing import snapshots
from entresol.sequencing.admission import Admission
from entresol.sequencing.batch_store import BatchStore
from entresol.sequencing.builder_process import STORE_FILE, BuilderProcess, BuilderReport
from entresol.sequencing.entries import BatchSealed, Entry
from entresol.sequencing.execution import Execution
from entresol.sequencing.receipts import ReceiptSigner
from entresol.sequencing.recovery import SNAPSHOT_FOLDER, Recovered, recover
from entresol.sequencing.sequencer import Committed, Sequencer
from entresol.sequencing.signatures import SignaturePool
from entresol.settlement.deploy import Deployment
from entresol.settlement.l1 import L1Client

_log = structlog.get_logger(__name__)

BLOB_FOLDER: Final = "blobs"
"""Blobs this node posted, kept in the data folder for those who derive the state later."""

_SWITCH_SECONDS: Final = 0.0005
"""The journal's thread waits at most this long for the interpreter after a disk write."""


class NodeError(Exception):
    """The node stopped because a part of it failed; the message says which."""


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _check_program(deployment: Deployment) -> None:
    """Raise NodeError unless this release's kernel is the one that L1 judges by."""
    built = load_kernel_image().program_id
    if built != deployment.program_id:
        raise NodeError(
            f"The rollup runs the program 0x{deployment.program_id.hex()}, this release builds "
            f"0x{built.hex()}: its claims would be false. Start the release that was deployed."
        )


class Node:
    """One running node; see the module's page."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.metrics = Metrics()
        self.domain = config.genesis.domain
        self.sequencer_address = address_of(config.sequencer_secret)
        self._sign_receipt = ReceiptSigner(config.sequencer_secret, self.domain).sign
        self.memory = Memory()
        self.port = 0
        """Port of the API once it is started."""
        self._ended = asyncio.Event()
        self._failure: Exception | None = None
        self._is_running = False
        self._closers: list[Callable[[], Any]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- starting ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover the state and serve; raises what keeps it from starting, and cleans up."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_SECONDS)
        if self.config.l1 is not None:
            deployment = Deployment.load(self.config.l1.deployment)
            await loop.run_in_executor(None, _check_program, deployment)
        directory = self.config.data_directory
        directory.mkdir(parents=True, exist_ok=True)
        build_genesis(self.memory.base, self.config.genesis)
        self.history = History(directory) if self.config.keep_history else None
        if self.history is not None:
            self._closers.append(self.history.close)
        self.recovered = await loop.run_in_executor(None, self._recover)
        self._closers.append(self.recovered.journal.close)
        self.pool = SignaturePool(
            self.config.admission.signature_workers, self.config.admission.pending_messages
        )
        self._closers.append(self.pool.close)
        await self.pool.start()
        self._compose()
        self._closers.append(self.sequencer.stop)
        if self.config.build_batches:
            await self._start_builder()
        await self._start_inbox()
        # What is imported stays: looking through it again takes the collector most of a second.
        gc.collect()
        gc.freeze()
        await self.server.start()
        self._closers.append(self.server.stop)
        self.port = self.server.port
        self._is_running = True
        self._spawn(self._watch())
        _log.info(
            "node started",
            api=f"{self.config.api.host}:{self.port}",
            next_block=self.recovered.execution.next_block,
            replayed_messages=self.recovered.replayed_messages,
        )

    def _recover(self) -> Recovered:
        """Snapshot and journal; history catches up with what is replayed."""
        catch_up = CatchUp(self.history) if self.history is not None else None

        def on_entry(execution: Execution, entry: Entry) -> None:
            if catch_up is not None:
                catch_up.note(execution, entry)

        complete = self.history.complete_block if self.history is not None else None
        return recover(self.config.data_directory, self.memory, self.domain, on_entry, complete)

    def _compose(self) -> None:
        """Join the parts that live on the sequencer's loop."""
        config, recovered = self.config, self.recovered
        self.sequencer = Sequencer(
            execution=recovered.execution,
            journal=recovered.journal,
            batch=recovered.batch,
            domain=self.domain,
            pool=self.pool,
            settings=config.sequencer,
            clock_ms=_clock_ms,
        )
        self.sequencer.on_committed = self._note_committed
        self.sequencer.on_sealed = self._note_sealed
        self.sequencer.on_failure = self._fail
        self.admission = Admission(
            memory=self.memory,
            domain=self.domain,
            pool=self.pool,
            forward=self.sequencer.enqueue,
            clock_ms=_clock_ms,
            pending_limit=config.admission.pending_messages,
            session_limit=config.admission.pending_per_session,
            is_overloaded=self._is_overloaded,
        )
        self.instruments = InstrumentTable(self.memory)
        self.accounts = AccountReader(self.memory)
        self.books = BookReader(self.memory)
        self.tickers = TickerReader(self.memory, self.instruments, self.books)
        self.feed = Feed(self.instruments, self.books, self.tickers, _clock_ms)
        self.batches = BatchStore(config.data_directory / STORE_FILE)
        self.link = self._make_link()
        self.server = Server(
            config.api,
            self._dispatcher(),
            self.metrics,
            self._connection,
            lambda: self._is_running and self._failure is None,
        )

    def _is_overloaded(self) -> bool:
        """Whether disk or history is behind: new messages are then refused, never lost."""
        behind = self.history is not None and self.history.is_full
        return behind or self.recovered.journal.is_full

    def _dispatcher(self) -> Dispatcher:
        reads = Reads(
            Sources(
                memory=self.memory,
                instruments=self.instruments,
                books=self.books,
                tickers=self.tickers,
                accounts=self.accounts,
                feed=self.feed,
                history=HistoryReader(self.config.data_directory),
                batches=self.batches,
                settlement=self.link,
                domain=self.domain,
                token=self.config.genesis.token,
                sequencer=self.sequencer_address,
                sign_receipt=self._sign_receipt,
                prove_withdrawal=WithdrawalProver(
                    self.batches, self.link, self.domain, self.config.genesis.token
                ).prove,
                status=self.status,
                clock_ms=_clock_ms,
            )
        )
        writes = Writes(self.admission, self.instruments, self.accounts, self._sign_receipt)
        subscriptions = Subscriptions(self.feed, self.config.api.channels_per_connection)
        methods = [*reads.methods(), *writes.methods(), *subscriptions.methods()]
        dispatcher = Dispatcher(methods, self.config.api.testnet, self.config.api.calls_per_batch)
        dispatcher.on_error = lambda error: _log.error("a call failed", exc_info=error)
        return dispatcher

    def _connection(self, receive: Any, send: Any) -> Connection:
        return Connection(
            receive,
            send,
            dispatcher=self.server.dispatcher,
            admission=self.admission,
            sign_receipt=self._sign_receipt,
            feed=self.feed,
            config=self.config.api,
        )

    def _make_link(self) -> L1Link | None:
        l1 = self.config.l1
        if l1 is None:
            return None
        url, directory = l1.url, self.config.data_directory
        link = L1Link(
            Deployment.load(l1.deployment),
            lambda: L1Client(url),
            self.batches,
            L1Keys(batcher=l1.batcher_secret, proposer=l1.proposer_secret),
            L1Settings(
                directory=directory,
                confirmations=l1.confirmations,
                archive=directory / BLOB_FOLDER,
                poll_seconds=l1.poll_seconds,
                use_calldata=l1.use_calldata,
            ),
        )
        link.on_failure = self._fail
        return link

    async def _start_builder(self) -> None:
        l1 = self.config.l1
        in_calldata = l1 is not None and l1.use_calldata
        limit = MAX_CALLDATA_BATCH_BYTES if in_calldata else MAX_BLOB_BATCH_BYTES
        self.builder = BuilderProcess(
            self.config.data_directory,
            self.config.genesis,
            self.config.builder(limit, BLOB_DATA_BYTES),
        )
        loop = asyncio.get_running_loop()
        self._closers.append(self._close_builder)
        self.builder.on_report = self._note_built
        loop.add_reader(self.builder.descriptor, self._read_builder)
        self.builder.build(self.recovered.journal.durable_number)

    async def _close_builder(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.builder.descriptor)
        await loop.run_in_executor(None, self.builder.close)

    async def _start_inbox(self) -> None:
        if self.link is not None:
            position, chain = self.recovered.inbox
            self._closers.append(self.link.stop)
            self.link.start(self.sequencer.offer_inbox, position, chain)
            self.metrics.is_settling.set(1)
        elif self.config.inbox_file is not None:
            self._spawn(self._follow_file())

    async def _follow_file(self) -> None:
        path = self.config.inbox_file
        while path is not None:
            self._offer_inbox(read_items(path, self.sequencer.next_inbox_position))
            await asyncio.sleep(0.05)

    # --- running -------------------------------------------------------------------------------

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)

        def finish(done: "asyncio.Task[Any]") -> None:
            self._tasks.discard(done)
            if not done.cancelled() and isinstance(done.exception(), Exception):
                self._fail(done.exception())

        task.add_done_callback(finish)

    def _offer_inbox(self, items: list[bytes]) -> None:
        try:
            self.sequencer.offer_inbox(items)
        except Exception as error:
            self._fail(error)

    def _note_committed(self, committed: Committed) -> None:
        if self.history is not None:
            self.history.note(committed)
        self.feed.note(committed)
        metrics = self.metrics
        kinds = committed.events["kind"]
        metrics.operations.inc(int(np.count_nonzero(kinds == layout.EVENT_OUTCOME)))
        metrics.fills.inc(int(np.count_nonzero(kinds == layout.EVENT_FILL_TAKER)))
        if committed.receipts:
            metrics.turn_messages.observe(len(committed.receipts))
            metrics.messages.labels("accepted").inc(len(committed.receipts))

    def _note_sealed(self, sealed: BatchSealed, frame: int) -> None:
        _log.info("batch sealed", number=sealed.number, next_block=sealed.next_block)
        if self.config.build_batches:
            self.builder.build(frame)
        if self.history is not None:
            self.history.note_sealed(sealed.next_block)

    def _read_builder(self) -> None:
        if not self.builder.read_reports():
            asyncio.get_running_loop().remove_reader(self.builder.descriptor)
            if self._is_running and self._failure is None:
                self._fail(NodeError("The batch builder's process ended: start the node again."))

    def _note_built(self, report: BuilderReport) -> None:
        if report.error:
            self._fail(NodeError(f"The batch builder failed: {report.error}"))
            return
        self.metrics.batches_built.set(report.batches)
        self._prune()

    def _prune(self) -> None:
        """Drop journal segments that every kept snapshot includes."""
        kept = snapshots.list_snapshots(self.config.data_directory / SNAPSHOT_FOLDER)
        if len(kept) >= snapshots.KEPT_SNAPSHOTS:
            self.recovered.journal.prune(kept[0][0] + 1)

    async def _watch(self) -> None:
        """Keep the gauges current, and a quiet venue settling."""
        while True:
            self.sequencer.seal_if_due()
            metrics = self.metrics
            metrics.pending.set(self.admission.pending)
            metrics.next_block.set(self.recovered.execution.next_block)
            metrics.inbox_position.set(int(self.recovered.execution.header["inbox_position"]))
            metrics.worker_restarts.set(self.pool.restarts)
            if self.history is not None:
                metrics.history_waiting.set(self.history.waiting)
                if self.history.failed:
                    raise NodeError("The history could not be written: look at its disk.")
            if self.link is not None:
                posted, final = self.link.counts
                metrics.records_posted.set(posted)
                metrics.records_final.set(final)
                metrics.note_link(self.link.status())
            await asyncio.sleep(1)

    def status(self) -> dict[str, Any]:
        """Answer of public/status."""
        header = self.recovered.execution.header
        posted, final = self.link.counts if self.link is not None else (0, 0)
        return {
            "locked": False,
            "next_block": self.recovered.execution.next_block,
            "last_time": int(header["last_time_ms"]),
            "last_header_hash": hexadecimal(header["last_header_hash"].tobytes()),
            "operations": int(header["operation_count"]),
            "rejections": int(header["rejection_count"]),
            "fills": int(header["fill_count"]),
            "accounts": int(header["account_count"]),
            "inbox_position": int(header["inbox_position"]),
            "withdrawals": int(header["withdrawal_count"]),
            "pending_messages": self.admission.pending,
            "open_batch": self.recovered.batch.number,
            "batches_built": self.batches.count(),
            "records_posted": posted,
            "records_final": final,
        }

    # --- stopping ------------------------------------------------------------------------------

    def _fail(self, error: BaseException | None) -> None:
        if self._failure is None and isinstance(error, Exception):
            self._failure = error
            _log.error("the node failed", reason=str(error))
        self._ended.set()

    def request_stop(self) -> None:
        """Let `wait` return; safe from a signal handler on the loop."""
        self._ended.set()

    async def wait(self) -> None:
        """Return when a stop was requested; raise NodeError when a part failed."""
        await self._ended.wait()
        if self._failure is not None:
            raise NodeError(f"The node stopped: {self._failure}") from self._failure

    def seal_now(self) -> None:
        """Close the open block and seal a batch of what there is, however little."""
        self.sequencer.seal_now()

    async def stop(self) -> None:
        """Stop taking messages, finish what was taken, and close everything, last things first."""
        self._is_running = False
        if hasattr(self, "admission"):
            self.admission.is_stopping = True
        for task in list(self._tasks):
            task.cancel()
        loop = asyncio.get_running_loop()
        while self._closers:
            closer = self._closers.pop()
            try:
                if asyncio.iscoroutinefunction(closer):
                    await closer()
                else:
                    await loop.run_in_executor(None, closer)
            except Exception:
                _log.exception("a part did not close cleanly")
        if hasattr(self, "batches"):
            self.batches.close()
        self._ended.set()


async def run_until_stopped(config: NodeConfig, on_started: Callable[[Node], None]) -> None:
    """Run a node until SIGINT or SIGTERM; raises NodeError when a part of it failed."""
    node = Node(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.request_stop)
    await node.start()
    on_started(node)
    try:
        await node.wait()
    finally:
        await node.stop()
