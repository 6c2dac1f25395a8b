"""The benchmarks run on little input, so that they do not rot; figures are not judged here."""

import json
from pathlib import Path

from benchmarks.books import benchmark_books
from benchmarks.document import compose_document, number
from benchmarks.pipeline import benchmark_pipeline


def test_books_agree_on_what_was_traded() -> None:
    figures = benchmark_books(4_000)
    ran = [engine for engine in figures["engines"].values() if "skipped" not in engine]
    assert len(ran) >= 2
    assert all(engine["agrees"] for engine in ran)
    assert figures["lots_traded"] > 0


def test_the_pipeline_is_deterministic_in_its_shape() -> None:
    figures = benchmark_pipeline(2_000)
    assert figures["operations"] >= 2_000
    assert figures["bytes_per_operation"]["published"] < figures["bytes_per_operation"]["raw"] / 4
    assert figures["instructions_per_operation"] > 100


def test_the_page_says_met_and_missed(tmp_path: Path) -> None:
    assert "Nothing was measured" in compose_document(tmp_path)
    machine = {"processor": "p", "processors": 2, "python": "3", "commit": "c", "date": "d"}
    for section, figures in {
        "kernel": {"operations_per_second": 20e6},
        "pipeline": {
            "instructions_per_operation": 1_000,
            "bytes_per_operation": {"published": 3.0},
        },
    }.items():
        document = {
            "section": section,
            "command": f"python -m benchmarks {section}",
            "machine": {**machine, "load": 0.5},
            "figures": figures,
        }
        (tmp_path / f"{section}.json").write_text(json.dumps(document))
    page = compose_document(tmp_path)
    assert "| standard margin and events | 20.0 M operations/s | >= 10.0 M | met |" in page
    assert "| instructions per operation | 1,000  | <= 500 | missed: 50% of it." in page
    assert "| published, market-making flow | 3.00 B/operation | <= 5.00 | met |" in page


def test_numbers_are_short() -> None:
    assert [number(value) for value in (2.5e9, 4.2e7, 12_345, 1_000, 2.7)] == [
        "2.5 G", "42.0 M", "12.3 k", "1,000", "2.70",
    ]  # fmt: skip
