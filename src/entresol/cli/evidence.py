"""The demo's evidence: named checks, the report file, and the table that people read."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from entresol.cli.output import table_of


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, with what was seen."""

    name: str
    passed: bool
    detail: str


@dataclass(slots=True)
class BatchEvidence:
    """One data record: sizes, cost, roots from three sources, and its L1 transactions."""

    record: int
    blocks: int
    operations: int
    plain_bytes: int
    signatures: int
    published_bytes: int
    blobs: int
    instructions: int
    dirty_leaves: int
    exit_code: int
    root_machine: str
    root_native: str
    root_claimed: str
    system_calls: dict[str, int] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Native run, machine run and L1's claim have one root, and the batch is valid."""
        roots = {self.root_machine, self.root_native, self.root_claimed}
        return len(roots) == 1 and self.exit_code == 0


@dataclass(slots=True)
class Report:
    """Everything the demo saw; `as_dict` is report.json."""

    settings: dict[str, Any] = field(default_factory=dict)
    feed: dict[str, Any] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    batches: list[BatchEvidence] = field(default_factory=list)
    instructions_per_kind: dict[str, dict[str, float]] = field(default_factory=dict)
    l1_transactions: dict[str, dict[str, int]] = field(default_factory=dict)
    withdrawals: list[dict[str, Any]] = field(default_factory=list)
    derive: dict[str, Any] = field(default_factory=dict)
    latency_ms: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def check(self, name: str, passed: bool, detail: str = "") -> None:
        """Note one check."""
        self.checks.append(Check(name, bool(passed), detail))

    @property
    def passed(self) -> bool:
        """True when there were checks and every one holds."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def bytes_per_operation(self) -> dict[str, float]:
        """Plain messages, the batch without signatures, and what was published; in bytes."""
        operations = sum(batch.operations for batch in self.batches)
        if not operations:
            return {}
        published = sum(batch.published_bytes for batch in self.batches)
        signatures = 64 * sum(batch.signatures for batch in self.batches)
        return {
            "raw": round(sum(batch.plain_bytes for batch in self.batches) / operations, 3),
            "without_signatures": round((published - signatures) / operations, 3),
            "published": round(published / operations, 3),
        }

    def instructions_per_operation(self) -> float:
        """Over all batches, decoding, hashing and signatures included."""
        operations = sum(batch.operations for batch in self.batches)
        total = sum(batch.instructions for batch in self.batches)
        return round(total / operations, 1) if operations else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        document = asdict(self)
        document["machine"] = {
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        }
        document["bytes_per_operation"] = self.bytes_per_operation()
        document["instructions_per_operation"] = self.instructions_per_operation()
        document["passed"] = self.passed
        return document

    def save(self, path: Path) -> None:
        """Write report.json."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    def tables(self) -> list[Table]:
        """The evidence for people."""
        return [self._batch_table(), self._summary_table(), self._check_table()]

    def _summary_table(self) -> Table:
        sizes = self.bytes_per_operation()
        rows: list[list[Any]] = [
            ["feed messages replayed", f"{self.feed.get('messages', 0):,}"],
            ["operations", f"{self.operations.get('total', 0):,}"],
            ["fills", f"{self.state.get('fills', 0):,}"],
            ["blocks", f"{self.state.get('blocks', 0):,}"],
            ["bytes per operation, raw", f"{sizes.get('raw', 0):.2f}"],
            ["… batch without signatures", f"{sizes.get('without_signatures', 0):.2f}"],
            ["… published", f"{sizes.get('published', 0):.2f}"],
            ["instructions per operation", f"{self.instructions_per_operation():,.0f}"],
        ]
        rows += [
            [f"instructions: {kind}", f"{cost['instructions']:,.0f}"]
            for kind, cost in self.instructions_per_kind.items()
        ]
        rows += [
            [f"rejected: {name}", f"{count:,}"]
            for name, count in self.operations.get("rejections", {}).items()
        ]
        rows += [
            [f"L1: {what}", f"{entry['count']} transactions, {entry['gas_mean']:,} gas each"]
            for what, entry in self.l1_transactions.items()
        ]
        for name, values in self.latency_ms.items():
            text = ", ".join(f"{key} {value}" for key, value in values.items())
            rows.append([f"confirmation, {name} (ms)", text])
        rows += [[f"seconds: {name}", f"{value:.1f}"] for name, value in self.seconds.items()]
        return table_of("What happened", ["", "value"], rows)

    def _batch_table(self) -> Table:
        columns = ["record", "blocks", "operations", "bytes", "instructions", "state root", "equal"]
        rows = [
            [
                batch.record,
                batch.blocks,
                batch.operations,
                batch.published_bytes,
                batch.instructions,
                batch.root_machine[:18] + "…",
                batch.agrees,
            ]
            for batch in self.batches
        ]
        return table_of("Batches: native run = machine run = claim on L1", columns, rows)

    def _check_table(self) -> Table:
        rows = [["ok" if c.passed else "FAILED", c.name, c.detail] for c in self.checks]
        return table_of("Checks", ["", "check", "seen"], rows)
