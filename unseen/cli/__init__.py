"""The command line: ``unseen``.

Each part is imported only when it is the one asked for: together they take a second, and a script may call the command
many times.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from unseen import __version__
from unseen.cli import output

_GROUPS = ("ca", "node", "coordinator", "consent", "grant", "job", "model", "audit")
"""Modules here whose ``app`` is the group of commands of that name."""

_COMMANDS: Mapping[str, str] = {"products": "query", "manifest": "query", "query": "query", "score": "score"}
"""Commands of their own, and the module here that has the function of that name."""


def _show_version(wanted: bool) -> None:
    if wanted:
        output.show(f"unseen {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Data that can be used and never seen. 数据可用不可见。"""


def tree(word: str = "") -> typer.Typer:
    """The commands: the part that `word` names, or all of them where it names none."""
    app = typer.Typer(name="unseen", no_args_is_help=True, rich_markup_mode="rich", help=_options.__doc__)
    app.callback()(_options)
    known = word in (*_GROUPS, *_COMMANDS, "--version")
    for group in _GROUPS:
        if word == group or not known:
            app.add_typer(importlib.import_module(f"unseen.cli.{group}").app, name=group)
    for command, module in _COMMANDS.items():
        if word == command or not known:
            app.command(command)(getattr(importlib.import_module(f"unseen.cli.{module}"), command))
    return app


def main() -> None:
    """Entry point of the command ``unseen``."""
    tree(sys.argv[1] if len(sys.argv) > 1 else "")(prog_name="unseen")
