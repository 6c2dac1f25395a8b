import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from entresol.cli.application import app
from entresol.cli.evidence import BatchEvidence, Report


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be opened"),
        (b"plain", "not a whole gzip file"),
        (gzip.compress(b"1 {}\n"), "line 1 of"),
        (gzip.compress(b""), "no price to start at"),
    ],
)
def test_a_feed_that_cannot_be_read_is_named_before_anything_starts(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    feed, place = tmp_path / "feed.gz", tmp_path / "demo"
    if content is not None:
        feed.write_bytes(content)
    result = CliRunner().invoke(
        app, ["demo", "--market-data", str(feed), "--directory", str(place), "--json"]
    )
    assert result.exit_code == 1
    assert sentence in json.loads(result.stdout)["error"]
    assert not place.exists()


def batch(**changes: object) -> BatchEvidence:
    fields = {
        "record": 0, "blocks": 2, "operations": 100, "plain_bytes": 3_600, "signatures": 2,
        "published_bytes": 400, "blobs": 1, "instructions": 50_000, "dirty_leaves": 9,
        "exit_code": 0, "root_machine": "0x1", "root_native": "0x1", "root_claimed": "0x1",
    }  # fmt: skip
    return BatchEvidence(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes", [{"root_native": "0x2"}, {"root_claimed": "differs"}, {"exit_code": 205}]
)
def test_one_different_root_or_an_invalid_batch_is_seen(changes: dict[str, object]) -> None:
    assert batch().agrees
    assert not batch(**changes).agrees


def test_figures_per_operation_and_the_verdict(tmp_path: Path) -> None:
    report = Report(batches=[batch(), batch(record=1)])
    assert report.bytes_per_operation() == {
        "raw": 36.0,
        "without_signatures": 2.72,
        "published": 4.0,
    }
    assert report.instructions_per_operation() == 500
    assert not report.passed, "nothing was checked yet"
    report.check("one", True)
    assert report.passed
    report.check("two", False, "why")
    assert not report.passed
    report.save(tmp_path / "deep" / "report.json")
    saved = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert saved["passed"] is False
    assert saved["checks"][1] == {"name": "two", "passed": False, "detail": "why"}
    assert [table.title for table in report.tables()][-1] == "Checks"
    assert Report().bytes_per_operation() == {}
