"""Prometheus metrics of one node, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from entresol.node.l1_link import L1Status
from entresol.node.l1_worker import LinkState


class Metrics:
    """Everything the node counts; names start with `entresol_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.messages = Counter(
            "entresol_messages", "Messages by answer", ["answer"], registry=registry
        )
        self.operations = Counter("entresol_operations", "Records applied", registry=registry)
        self.fills = Counter("entresol_fills", "Fills", registry=registry)
        self.turn_messages = Histogram(
            "entresol_turn_messages",
            "Messages committed together",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200),
            registry=registry,
        )
        self.pending = Gauge("entresol_pending_messages", "On their way", registry=registry)
        self.next_block = Gauge("entresol_next_block", "Next block number", registry=registry)
        self.inbox_position = Gauge("entresol_inbox_position", "Items consumed", registry=registry)
        self.batches_built = Gauge("entresol_batches_built", "Batches built", registry=registry)
        self.records_posted = Gauge("entresol_records_posted", "On L1", registry=registry)
        self.records_final = Gauge("entresol_records_final", "Final on L1", registry=registry)
        self.connections = Gauge("entresol_connections", "WebSockets", registry=registry)
        self.dropped_connections = Counter(
            "entresol_dropped_connections", "Hung up by the node", ["reason"], registry=registry
        )
        self.history_waiting = Gauge(
            "entresol_history_waiting_packets", "History packets not written yet", registry=registry
        )
        self.worker_restarts = Gauge(
            "entresol_signature_worker_restarts", "Workers replaced", registry=registry
        )
        self.is_settling = Gauge("entresol_settling", "1 while L1 parts run", registry=registry)
        self.l1_running = Gauge(
            "entresol_l1_running",
            "1 while a part of the link to L1 runs; 0 while L1 is away or its account is empty",
            ["part"],
            registry=registry,
        )
        self.l1_balance = Gauge(
            "entresol_l1_balance_wei",
            "Of the account a part pays from",
            ["part"],
            registry=registry,
        )

    def note_link(self, status: L1Status) -> None:
        """Take over how the link to L1 is doing."""
        parts = {
            "follower": status.follower,
            "batcher": status.batcher,
            "proposer": status.proposer,
        }
        for name, worker in parts.items():
            if worker is None:
                continue
            self.l1_running.labels(name).set(worker.state is LinkState.RUNNING)
            if worker.balance is not None:
                self.l1_balance.labels(name).set(worker.balance)

    def render(self) -> tuple[bytes, str]:
        """The text exposition and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
