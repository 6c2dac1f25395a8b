"""Joins the command groups into the one `entresol` command."""

import signal
import sys

import typer

from entresol.cli import demo, machine, money, status, trading, up

app = typer.Typer(
    name="entresol",
    no_args_is_help=True,
    help="A derivatives exchange that runs as an Ethereum layer two.",
    epilog="Start with `entresol demo` or `entresol up`. Every command takes --json and --help.",
    pretty_exceptions_enable=False,
)
for group in (demo, up, money, trading, status):
    app.add_typer(group.app)
app.add_typer(machine.app, name="machine")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM stop what it started and leave no traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
