import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from entresol.cli.application import app

COMMANDS = [
    "up", "demo", "deposit", "withdraw", "order", "cancel", "book", "positions", "status", "derive",
]  # fmt: skip
MACHINE = ["layout", "run", "image"]
NEEDS_VENUE = {
    "deposit": ["5"],
    "withdraw": ["5"],
    "order": ["buy", "BTC-PERPETUAL", "1"],
    "cancel": ["all"],
    "book": [],
    "positions": [],
    "status": [],
    "derive": [],
}


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.mark.parametrize("name", [*COMMANDS, *(f"machine {name}" for name in MACHINE)])
def test_every_command_documents_itself_and_takes_json(runner: CliRunner, name: str) -> None:
    result = runner.invoke(app, [*name.split(), "--help"])
    assert result.exit_code == 0
    text = plain(result.stdout)
    assert "--json" in text
    assert len(text) > 200


def test_the_overview_lists_every_command(runner: CliRunner) -> None:
    text = plain(runner.invoke(app, ["--help"]).stdout)
    assert all(f" {name} " in text for name in [*COMMANDS, "machine"])


@pytest.mark.parametrize("name", NEEDS_VENUE)
def test_without_a_venue_it_says_what_to_do(runner: CliRunner, name: str, tmp_path: Path) -> None:
    arguments = [name, *NEEDS_VENUE[name], "--venue", str(tmp_path), "--json"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert "start one with `entresol up`" in json.loads(result.stdout)["error"]


def test_wrong_words_are_usage_errors(runner: CliRunner) -> None:
    assert runner.invoke(app, ["order", "hold", "BTC-PERPETUAL", "1"]).exit_code == 2
    assert runner.invoke(app, ["nothing"]).exit_code == 2


def test_a_damaged_venue_is_named(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "venue.json").write_text("{")
    result = runner.invoke(app, ["status", "--venue", str(tmp_path)])
    assert result.exit_code == 1
    assert "damaged" in result.stderr
