"""The demo at small scale, as a user runs it: real L1 node, real contracts, real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = [sys.executable, "-c", "from entresol.cli import main; main()"]


@pytest.mark.timeout(600)
def test_the_demo_holds_every_check(tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    result = subprocess.run(
        [
            *MAIN, "demo", "--operations", "4000", "--no-costs", "--json",
            "--directory", str(tmp_path / "demo"), "--report", str(report_file),
        ],
        capture_output=True, text=True, timeout=550, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:] + result.stdout[-500:]
    report = json.loads(report_file.read_text())
    assert json.loads(result.stdout) == report
    assert report["passed"]
    assert len(report["checks"]) >= 12
    assert all(check["passed"] for check in report["checks"])
    assert report["operations"]["total"] >= 4_000
    assert report["state"]["fills"] > 0
    assert report["bytes_per_operation"]["published"] < 10
    assert {"mass_quote", "quote_leg", "place", "oracle_index"} <= set(
        report["operations"]["by_kind"]
    )
    for batch in report["batches"]:
        assert batch["root_machine"] == batch["root_native"] == batch["root_claimed"]
        assert batch["instructions"] > 0
    for withdrawal in report["withdrawals"]:
        assert withdrawal["paid"] == withdrawal["amount"] > 0
        assert len(withdrawal["path"]) == 32
    assert {"rollup.post_blobs", "rollup.propose", "rollup.finalise", "bridge.withdraw"} <= set(
        report["l1_transactions"]
    )
    assert report["l1_transactions"]["rollup.post_blobs"]["blob_gas_total"] > 0
