"""The `entresol` command: one file per group of commands, joined in application.py."""

from entresol.cli.application import main

__all__ = ["main"]
