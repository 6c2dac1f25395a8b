"""`entresol machine`: look at the address space, run a program, write the kernel's image."""

import enum
import pathlib
from typing import Annotated, Any

import typer

from entresol.cli.output import CommandError, Json, command, expect, print_json, show, table_of
from entresol.machine.build import BuildError
from entresol.machine.context import UNLIMITED, Halt
from entresol.machine.elf import ElfError, build_elf, load_elf
from entresol.machine.image import load_kernel_image
from entresol.machine.interpreter import Interpreter
from entresol.machine.layout_document import describe_layout
from entresol.machine.linker import LinkError
from entresol.machine.memory import PAGE_BYTES, Memory
from entresol.machine.state_tree import StateTree
from entresol.machine.translator import LoadedProgram, Translator

expect(ElfError, BuildError, LinkError, OSError)

app = typer.Typer(no_args_is_help=True, help="The provable machine: layout, programs, image.")


class Engine(enum.StrEnum):
    """Ways to run a program; they agree in everything but speed."""

    INTERPRETER = "interpreter"
    TRANSLATOR = "translator"


@app.command()
@command
def layout(as_json: Json = False) -> None:
    """Print the regions of the address space and the system calls."""
    document = describe_layout()
    regions = [
        [name, f"{region['base']:#010x}", f"{region['size']:#x}", region["access"]]
        for name, region in document["regions"].items()
    ]
    show(
        document,
        as_json,
        table_of("Regions", ["name", "base", "size", "access"], regions),
        table_of(
            "System calls (number in a7)",
            ["name", "number"],
            [[name, number] for name, number in document["system_calls"].items()],
        ),
    )


@app.command()
@command
def run(
    file: Annotated[pathlib.Path, typer.Argument(help="A static RV64IM ELF file.")],
    limit: Annotated[
        int, typer.Option(min=0, help="Stop after this many instructions.")
    ] = UNLIMITED,
    engine: Annotated[Engine, typer.Option(help="How to run it.")] = Engine.INTERPRETER,
    as_json: Json = False,
) -> None:
    """Run a program until it halts; the exit status is 0 only if it halts with code 0."""
    memory = Memory()
    entry = load_elf(file, memory)
    if engine == Engine.INTERPRETER:
        halt = Interpreter(memory).run(entry, limit)
    else:
        halt = Translator(LoadedProgram.in_memory(memory, entry), keep=False).run(memory, limit)
    document = _report(halt, memory, engine)
    _show_lines(document, as_json)
    if halt.exit_code != 0:
        raise typer.Exit(1)


def _show_lines(document: dict[str, Any], as_json: bool) -> None:
    """One line for each entry: a root must never be cut to fit a table."""
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        shown = hex(value) if name in ("pc", "entry") else value
        typer.echo(f"{name.replace('_', ' '):<14} {shown}")


def _report(halt: Halt, memory: Memory, engine: Engine) -> dict[str, Any]:
    tree = StateTree()
    tree.update_pages(memory.base, memory.written_pages(), PAGE_BYTES)
    return {
        "halted": halt.halted,
        "exit_code": halt.exit_code,
        "instructions": halt.instructions,
        "fault": None if halt.halted else halt.reason.name,
        "pc": halt.pc,
        "memory_root": "0x" + tree.memory_root.hex(),
        "engine": engine.value,
        "system_calls": dict(halt.system_calls),
    }


@app.command()
@command
def image(
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Write the image here, as an ELF file.")
    ] = None,
    pin: Annotated[
        pathlib.Path | None, typer.Option(help="Write the program id here, as hex.")
    ] = None,
    check: Annotated[
        pathlib.Path | None, typer.Option(help="Fail unless this file holds the program id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build the kernel's image and print its program id."""
    built = load_kernel_image()
    name = "0x" + built.program_id.hex()
    if out is not None:
        out.write_bytes(build_elf(built.code, built.entry))
    if pin is not None:
        pin.write_text(name + "\n")
    if check is not None and check.read_text().strip() != name:
        raise CommandError(
            f"The program id is {name} but {check} pins {check.read_text().strip()}; if the "
            "kernel was meant to change, write the new one with --pin."
        )
    document = {
        "program_id": name,
        "entry": built.entry,
        "bytes": len(built.code),
        "out": None if out is None else str(out),
    }
    _show_lines(document, as_json)
