"""How commands speak: tables and progress for people, one JSON document for programs.

With --json, standard output holds exactly one document, also for an error.  Progress and notes
go to standard error.  A failure is one sentence and exit status 1.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from entresol.client.errors import (
    ConnectionLostError,
    MessageRefusedError,
    NotFoundError,
    OrderRejectedError,
    ReceiptError,
    RemoteError,
)
from entresol.client.frames import FrameError
from entresol.client.instruments import AmountError
from entresol.client.keys import WalletError
from entresol.client.market_data import MarketDataError
from entresol.client.option_chain import InstrumentNameError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
"""The option every command has."""


class CommandError(Exception):
    """A command cannot do what was asked; the message is one sentence that says what to do."""


_EXPECTED: Final[tuple[type[Exception], ...]] = (
    CommandError,
    ConnectionLostError,
    RemoteError,
    AmountError,
    WalletError,
    MessageRefusedError,
    OrderRejectedError,
    NotFoundError,
    ReceiptError,
    FrameError,
    MarketDataError,
    InstrumentNameError,
)
"""What may go wrong without being a bug: shown as a sentence, not as a traceback."""

notes: Final = Console(stderr=True)
"""Where progress, notes and errors go."""


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_json(document: Any) -> None:
    """Write one JSON document to standard output; decimals as text, bytes as 0x hex."""
    sys.stdout.write(json.dumps(document, indent=2, default=_encode) + "\n")
    sys.stdout.flush()


def show(document: dict[str, Any], as_json: bool, *tables: Table) -> None:
    """Print the document as JSON, or the tables for a person."""
    if as_json:
        print_json(document)
        return
    console = Console()
    for table in tables:
        console.print(table)


def table_of(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A rich table; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(_is_numeric(row[position]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _is_numeric(cell: Any) -> bool:
    return isinstance(cell, int | float | Decimal) and not isinstance(cell, bool)


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return str(cell)


@contextmanager
def progress(as_json: bool) -> Iterator[Progress]:
    """Progress bars on standard error; silent with --json or when it is not a terminal."""
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=notes,
        disable=as_json or not notes.is_terminal,
    )
    with bars:
        yield bars


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn expected failures of a command into one sentence and exit status 1."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except expected_errors() as error:
            if options.get("as_json"):
                print_json({"error": str(error)})
            notes.print(
                f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
            )
            raise typer.Exit(1) from None

    return run


_more: list[type[Exception]] = []


def expect(*errors: type[Exception]) -> None:
    """Let a command group add the errors of the parts it drives."""
    _more.extend(error for error in errors if error not in _more)


def expected_errors() -> tuple[type[Exception], ...]:
    """Every exception that is shown as a sentence."""
    return (*_EXPECTED, *_more)
