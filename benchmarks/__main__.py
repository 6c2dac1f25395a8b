"""Measure against the limits of the architecture: `python -m benchmarks` (or `make bench`).

Each section's figures go to bench-results/<section>.json; `--document FILE` writes the table that
docs/benchmarks.md shows.  `--small` runs the same code on little input, which is what tests do.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.books import benchmark_books
from benchmarks.codec import measure as benchmark_codec
from benchmarks.document import compose_document
from benchmarks.kernel import benchmark_margin
from benchmarks.node import benchmark_node
from benchmarks.pipeline import benchmark_pipeline
from entresol.client.operation_costs import measure_operation_costs

RESULTS = Path("bench-results")


def costs(small: bool) -> dict[str, Any]:
    del small  # already small
    return {"kinds": [asdict(cost) for cost in measure_operation_costs()]}


SECTIONS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "books": lambda small: benchmark_books(5_000 if small else 200_000),
    "kernel": lambda small: benchmark_margin(5_000 if small else 200_000),
    "codec": lambda small: benchmark_codec(seconds=5 if small else 120),
    "pipeline": lambda small: benchmark_pipeline(3_000 if small else 100_000),
    "costs": costs,
    "node": benchmark_node,
}


def describe_machine() -> dict[str, Any]:
    """Where the figures come from."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].partition(":")[2].strip() if names else model
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    parser.add_argument("--small", action="store_true", help="little input, for tests")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the JSON files")
    parser.add_argument("--document", type=Path, help="write the table for the docs here")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for name in options.sections or SECTIONS:
        sys.stderr.write(f"{name} …\n")
        started = time.perf_counter()
        figures = SECTIONS[name](options.small)
        document = {
            "section": name,
            "small": options.small,
            "command": "python -m benchmarks " + name + (" --small" if options.small else ""),
            "machine": describe_machine(),
            "seconds": round(time.perf_counter() - started, 1),
            "figures": figures,
        }
        (options.results / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    table = compose_document(options.results)
    sys.stdout.write(table)
    if options.document is not None:
        options.document.write_text(table)


if __name__ == "__main__":
    main()
