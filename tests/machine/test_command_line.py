"""`entresol machine`: documents, exit statuses and sentences."""

import json
import pathlib

import pytest
from typer.testing import CliRunner

from entresol.cli.machine import app
from entresol.kernel import layout
from entresol.machine import assembly
from entresol.machine.elf import build_elf, parse_elf
from entresol.machine.image import load_kernel_image
from entresol.machine.layout_document import describe_layout
from entresol.machine.memory import PAGE_BYTES, Memory
from entresol.machine.state_tree import StateTree

runner = CliRunner()


def program(folder: pathlib.Path, words: list[int]) -> str:
    path = folder / "program.elf"
    path.write_bytes(build_elf(assembly.to_bytes(words), layout.CODE_BASE))
    return str(path)


def halting(code: int) -> list[int]:
    return [assembly.addi(10, 0, code), assembly.addi(17, 0, 0), assembly.ECALL]


def test_layout() -> None:
    result = runner.invoke(app, ["layout", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == describe_layout()
    assert "0x80000000" in runner.invoke(app, ["layout"]).stdout


@pytest.mark.parametrize("engine", ["interpreter", "translator"])
@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (halting(0), 0, {"halted": True, "exit_code": 0, "fault": None, "instructions": 3}),
        (halting(5), 1, {"halted": True, "exit_code": 5, "fault": None, "instructions": 3}),
        ([0], 1, {"halted": False, "exit_code": None, "fault": "UNKNOWN_INSTRUCTION",
                  "instructions": 0, "pc": layout.CODE_BASE}),
        ([0x6F], 1, {"halted": False, "exit_code": None, "fault": "STEP_LIMIT",
                     "instructions": 1000}),
    ],
)  # fmt: skip
def test_run(
    words: list[int], status: int, expected: dict[str, object], engine: str, tmp_path: pathlib.Path
) -> None:
    arguments = ["run", program(tmp_path, words), "--json", "--engine", engine, "--limit", "1000"]
    result = runner.invoke(app, arguments)
    report = json.loads(result.stdout)
    assert result.exit_code == status
    assert {name: report[name] for name in expected} == expected
    memory = Memory()
    memory.write(layout.CODE_BASE, assembly.to_bytes(words))
    tree = StateTree()
    tree.update_pages(memory.base, memory.written_pages(), PAGE_BYTES)
    assert report["memory_root"] == "0x" + tree.memory_root.hex()


def test_run_for_people_shows_the_whole_root(tmp_path: pathlib.Path) -> None:
    result = runner.invoke(app, ["run", program(tmp_path, halting(0))])
    assert result.exit_code == 0
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines() if "root" not in line)
    assert lines["instructions"] == "3"
    root = next(line.split()[-1] for line in result.stdout.splitlines() if "root" in line)
    assert len(root) == 66


def test_run_explains_what_is_wrong_with_a_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    result = runner.invoke(app, ["run", str(path), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"error": "The file is not an ELF file."}
    result = runner.invoke(app, ["run", str(tmp_path / "missing"), "--json"])
    assert result.exit_code == 1
    assert "missing" in json.loads(result.stdout)["error"]


@pytest.mark.timeout(900)
def test_image(tmp_path: pathlib.Path) -> None:
    out, pin = tmp_path / "kernel.elf", tmp_path / "id.txt"
    result = runner.invoke(app, ["image", "--out", str(out), "--pin", str(pin), "--json"])
    assert result.exit_code == 0
    image = load_kernel_image()
    name = "0x" + image.program_id.hex()
    assert json.loads(result.stdout)["program_id"] == name
    assert pin.read_text() == name + "\n"
    loaded = parse_elf(out.read_bytes())
    assert (loaded.entry, loaded.segments[0].data) == (image.entry, image.code)
    assert runner.invoke(app, ["image", "--check", str(pin)]).exit_code == 0
    pin.write_text("0x00\n")
    result = runner.invoke(app, ["image", "--check", str(pin), "--json"])
    assert result.exit_code == 1
    assert "--pin" in json.loads(result.stdout)["error"]
    result = runner.invoke(app, ["run", str(out), "--json"])
    assert json.loads(result.stdout)["halted"], "without input the kernel still ends with a status"
