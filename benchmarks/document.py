"""Composes the benchmark page from the JSON files: figures against the architecture's limits."""

import json
from pathlib import Path
from typing import Any

INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks --document docs/benchmarks.md` (`make bench`) from the files that
it leaves in `bench-results/`; do not edit. The limits are those of the architecture; a figure that
misses its limit says so.

"""

BUSY = (
    "Other work kept the processors busy (load {load}) while this was measured: speeds and "
    "latencies are worse than the machine's own; bytes, instructions and leaves do not depend "
    "on it."
)

REASONS = {
    "instructions per operation": "a margin check reads 64-bit products and several records, "
    "and each message's hash and decoding count too",
    "replay by the translator": "tight loops run far above it; the real batch pays for hash calls "
    "and for touching fresh pages",
    "orders in messages of 20": "load generator, node, signature worker and batch builder share "
    "two processors",
    "confirmation p99 at 10,000 orders/s": "batches are built on the same two processors "
    "meanwhile; without one being built it is about 10 ms",
}
"""Why a limit is missed, where it is known."""


def load(results: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}


def limits(found: dict[str, Any]) -> list[tuple[str, str, float, float, bool, str]]:
    """(what, unit, measured, limit, whether more is better, section) for what was measured."""
    rows: list[tuple[str, str, float, float, bool, str]] = []

    def add(section: str, what: str, unit: str, path: str, limit: float, more: bool) -> None:
        value: Any = found.get(section, {}).get("figures")
        for name in path.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            rows.append((what, unit, float(value), limit, more, section))

    bare = "engines/entresol kernel, book alone/operations_per_second"
    add("books", "bare matching, native", "operations/s", bare, 40e6, True)
    add("kernel", "standard margin and events", "operations/s", "operations_per_second", 10e6, True)
    add("codec", "published, reference workload", "B/operation", "bytes_per_operation", 5, False)
    published = "bytes_per_operation/published"
    add("pipeline", "published, market-making flow", "B/operation", published, 5, False)
    add(
        "pipeline",
        "instructions per operation",
        "",
        "instructions_per_operation",
        500,
        False,
    )
    replay = "translator_instructions_per_second"
    add("pipeline", "replay by the translator", "instructions/s", replay, 2e9, True)
    step = "interpreter_instructions_per_second"
    add("pipeline", "interpreter", "instructions/s", step, 300e6, True)
    add("node", "orders in messages of 20", "orders/s", "batched/orders_per_second", 50e3, True)
    latency = "paced/latency_ms/p99"
    add("node", "confirmation p99 at 10,000 orders/s", "ms", latency, 10, False)
    return rows


def number(value: float) -> str:
    for bound, suffix in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= bound:
            scaled = value / (bound if suffix != " k" else 1e3)
            return f"{scaled:,.1f}{suffix}"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def compose_document(results: Path) -> str:
    """The page, from whatever sections there are."""
    found = load(results)
    if not found:
        return INTRODUCTION + "Nothing was measured yet.\n"
    machine = next(iter(found.values()))["machine"]
    lines = [
        INTRODUCTION.rstrip("\n"),
        "",
        f"Machine: {machine['processors']} x {machine['processor']}, Python {machine['python']}, "
        f"commit {machine['commit']}, {machine['date']}, load at the start "
        f"{machine['load']}.",
        *(
            ["", BUSY.format(load=machine["load"])]
            if machine["load"] > machine["processors"] / 4
            else []
        ),
        "",
        "| What | Measured | Limit | | Command |",
        "|---|--:|--:|---|---|",
    ]
    for what, unit, value, limit, more, section in limits(found):
        met = value >= limit if more else value <= limit
        ratio = value / limit if more else limit / value
        verdict = "met" if met else f"missed: {ratio:.0%} of it. {REASONS.get(what, '')}".strip()
        command = found[section]["command"]
        lines.append(
            f"| {what} | {number(value)} {unit} | {'>=' if more else '<='} {number(limit)} "
            f"| {verdict} | `{command}` |"
        )
    for section in (_books, _costs, _node, _everything):
        lines += section(found)
    return "\n".join(lines) + "\n"


def _books(found: dict[str, Any]) -> list[str]:
    if "books" not in found:
        return []
    figures = found["books"]["figures"]
    lines = [
        "",
        "## Order books on one stream",
        "",
        f"{figures['operations']:,} operations, {figures['lots_traded']:,} lots traded; "
        "`agrees` says that an engine traded the same lots.",
        "",
        "| Engine | operations/s | to plain Python | agrees |",
        "|---|--:|--:|---|",
    ]
    for name, engine in figures["engines"].items():
        if "skipped" in engine:
            lines.append(f"| {name} | {engine['skipped']} | | |")
            continue
        lines.append(
            f"| {name} {engine.get('version', '')} | {number(engine['operations_per_second'])} "
            f"| {engine['ratio_to_plain_python']:.3g}x | {'yes' if engine['agrees'] else 'NO'} |"
        )
    return lines


def _costs(found: dict[str, Any]) -> list[str]:
    if "costs" not in found:
        return []
    lines = [
        "",
        "## What one operation costs in the machine",
        "",
        "Decoding included; the message's own hash, the lane's signature and the block are not.",
        "",
        "| Operation | instructions | leaves written |",
        "|---|--:|--:|",
    ]
    return lines + [
        f"| {cost['kind']} | {cost['instructions']:,.0f} | {cost['leaves']:.2f} |"
        for cost in found["costs"]["figures"]["kinds"]
    ]


def _node(found: dict[str, Any]) -> list[str]:
    if "node" not in found:
        return []
    lines = [
        "",
        "## The node, through its WebSocket",
        "",
        "Load generator and node share the processors; every message is signed, checked, on disk "
        "and receipted before its answer.",
        "",
        "| Load | orders/s | p50 ms | p99 ms | p99.9 ms |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, run in found["node"]["figures"].items():
        if isinstance(run, dict) and "orders_per_second" in run:
            latency = run["latency_ms"]
            lines.append(
                f"| {run.get('load', name)} | {number(run['orders_per_second'])} "
                f"| {latency.get('p50', 0)} | {latency.get('p99', 0)} | {latency.get('p99.9', 0)} |"
            )
    return lines


def _everything(found: dict[str, Any]) -> list[str]:
    """Every figure by name, so that nothing is hidden behind the choice above."""
    lines = ["", "## All figures", ""]
    for section, document in found.items():
        lines += [f"### {section}", "", f"`{document['command']}`", "", "```json"]
        lines += [json.dumps(document["figures"], indent=1), "```", ""]
    return lines
