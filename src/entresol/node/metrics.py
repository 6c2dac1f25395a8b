"""What the node counts and times, in a registry of its own, as Prometheus text.

Every part of the node is handed this one object.  The names say what is measured and in which
unit; `render` is what the metrics endpoint answers.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX: Final = "entresol"

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `render` returns."""

_FAST_SECONDS: Final = (
    *(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
"""Bounds for what a trader waits for."""

_SLOW_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Bounds for what happens beside trading: batches, transactions."""

_BYTES: Final = tuple(float(1 << power) for power in range(8, 21))


class Metrics:
    """Counters, gauges and histograms by part; each attribute is a prometheus-client metric.

    Counters end in `_total` when rendered.  All methods of the metrics are safe in any thread.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._add_gateway()
        self._add_sequencer()
        self._add_batches()
        self._add_l1()

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(
        self, name: str, text: str, bounds: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(
            name, text, labels, namespace=PREFIX, registry=self.registry, buckets=bounds
        )

    def _add_gateway(self) -> None:
        self.connections = self._gauge("gateway_connections", "Open WebSocket connections.")
        self.requests = self._counter(
            "gateway_requests", "API requests by method, unknown ones as `unknown`.", ("method",)
        )
        self.request_errors = self._counter(
            "gateway_errors", "API requests answered with an error, by its number.", ("code",)
        )
        self.request_seconds = self._histogram(
            "gateway_request_seconds", "From a request's arrival to its answer.", _FAST_SECONDS
        )
        self.subscriptions = self._gauge("gateway_subscriptions", "Active subscriptions.")
        self.slow_consumers = self._counter(
            "gateway_slow_consumers", "Connections closed because they did not read fast enough."
        )
        self.signature_seconds = self._histogram(
            "gateway_signature_seconds", "Wait for a signature check in the pool.", _FAST_SECONDS
        )

    def _add_sequencer(self) -> None:
        self.accepted = self._counter("sequencer_accepted", "Messages accepted.")
        self.refused = self._counter(
            "sequencer_refused", "Messages refused, by the name of the reason.", ("reason",)
        )
        self.operations = self._counter(
            "sequencer_operations", "Operations by outcome: applied or rejected.", ("outcome",)
        )
        self.fills = self._counter("sequencer_fills", "Fills (one per taker and maker pair).")
        self.blocks = self._counter("sequencer_blocks", "Blocks closed.")
        self.inbox_items = self._counter("sequencer_inbox_items", "Inbox items consumed.")
        self.queue_length = self._gauge("sequencer_queue", "Messages admitted, not applied yet.")
        self.block_number = self._gauge("sequencer_block_number", "Number of the next block.")
        self.confirmation_seconds = self._histogram(
            "sequencer_confirmation_seconds",
            "From a message's admission to its answer, the disk included.",
            _FAST_SECONDS,
        )
        self.journal_lag = self._gauge(
            "journal_lag_frames", "Frames appended to the journal that are not on disk yet."
        )
        self.journal_commits = self._counter("journal_commits", "Synchronised journal writes.")
        self.history_queue = self._gauge("history_queue", "Turns the history has not written.")
        self.failed = self._gauge(
            "failed", "1 once a part of the node has failed for good, by part.", ("part",)
        )

    def _add_batches(self) -> None:
        self.batches_built = self._counter("builder_batches", "Batches built.")
        self.batch_bytes = self._histogram("builder_batch_bytes", "Published bytes.", _BYTES)
        self.batch_operations = self._counter("builder_operations", "Records in built batches.")
        self.batch_instructions = self._counter(
            "builder_instructions", "Machine instructions of built batches."
        )
        self.batch_dirty_leaves = self._counter(
            "builder_dirty_leaves", "State leaves that built batches wrote."
        )
        self.batch_seconds = self._histogram(
            "builder_batch_seconds", "From a batch's sealing to its claim.", _SLOW_SECONDS
        )
        self.batches_waiting = self._gauge(
            "builder_batches_waiting", "Batches sealed and not built yet."
        )

    def _add_l1(self) -> None:
        self.l1_block = self._gauge("l1_block", "Last L1 block that counts as confirmed.")
        self.l1_inbox_items = self._gauge("l1_inbox_items", "Confirmed items of the inbox.")
        self.l1_records = self._gauge("l1_records", "Confirmed data records.")
        self.l1_claims = self._gauge("l1_claims", "Confirmed claims, by whomever.")
        self.l1_final_records = self._gauge("l1_final_records", "Data records with a final claim.")
        self.l1_steps = self._counter(
            "l1_steps", "Steps of the follower, batcher and proposer, by what they found.",
            ("actor", "activity"),
        )  # fmt: skip
        self.l1_errors = self._counter(
            "l1_errors", "Errors of the follower, batcher and proposer, by kind.", ("actor", "kind")
        )
        self.l1_balance = self._gauge("l1_balance_ether", "Balance of an L1 account.", ("actor",))

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Let `gauge` call `read` whenever it is rendered; `read` must be quick and thread-safe."""
        gauge.set_function(read)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
