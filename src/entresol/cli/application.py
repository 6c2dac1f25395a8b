"""Joins the command groups into the one `entresol` command."""

import sys

import typer

from entresol.cli import machine, trading

app = typer.Typer(
    name="entresol",
    no_args_is_help=True,
    help="A derivatives exchange that runs as an Ethereum layer two.",
    epilog="Start with `entresol demo` or `entresol up`. Every command takes --json and --help.",
    pretty_exceptions_enable=False,
)
app.add_typer(trading.app)
app.add_typer(machine.app, name="machine")


def main() -> None:
    """Run the command line; Ctrl-C ends it with status 130 and no traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
