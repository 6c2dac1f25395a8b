import json
from decimal import Decimal

import pytest
import typer
from typer.testing import CliRunner

from entresol.cli.output import CommandError, Json, command, expect, show, table_of

app = typer.Typer()


class OddError(Exception):
    pass


@app.command()
@command
def work(what: str, as_json: Json = False) -> None:
    if what == "fail":
        raise CommandError("Nothing is here: bring something.")
    if what == "odd":
        raise OddError("odd")
    if what == "bug":
        raise ZeroDivisionError("bug")
    show({"price": Decimal("0.1"), "id": b"\1"}, as_json, table_of("T", ["a", "b"], [[1, "x"]]))


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def test_json_is_one_document(runner: CliRunner) -> None:
    result = runner.invoke(app, ["ok", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"price": "0.1", "id": "0x01"}


def test_tables_are_for_people(runner: CliRunner) -> None:
    assert "T" in runner.invoke(app, ["ok"]).stdout


def test_a_failure_is_one_sentence_and_status_1(runner: CliRunner) -> None:
    result = runner.invoke(app, ["fail"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: Nothing is here: bring something.\n"
    result = runner.invoke(app, ["fail", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"error": "Nothing is here: bring something."}


def test_bugs_are_not_dressed_up(runner: CliRunner) -> None:
    assert isinstance(runner.invoke(app, ["bug"]).exception, ZeroDivisionError)
    assert isinstance(runner.invoke(app, ["odd"]).exception, OddError)
    expect(OddError)
    assert runner.invoke(app, ["odd"]).exit_code == 1


def test_empty_and_mixed_tables() -> None:
    assert table_of("none", ["a"], []).row_count == 0
    table = table_of("mixed", ["a", "b"], [[1, True], [2.5, False]])
    assert [column.justify for column in table.columns] == ["right", "left"]
