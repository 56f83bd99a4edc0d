"""The command line: ``unseen``."""

from __future__ import annotations

from typing import Annotated

import typer

from unseen import __version__
from unseen.cli import audit, ca, consent, coordinator, node, output, query

app = typer.Typer(
    name="unseen",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Data that can be used and never seen. 数据可用不可见。",
)
app.add_typer(ca.app, name="ca")
app.add_typer(node.app, name="node")
app.add_typer(coordinator.app, name="coordinator")
app.add_typer(consent.app, name="consent")
app.add_typer(audit.app, name="audit")
app.command("products")(query.products)
app.command("manifest")(query.manifest)
app.command("query")(query.query)


def _show_version(wanted: bool) -> None:
    if wanted:
        output.show(f"unseen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Data that can be used and never seen. 数据可用不可见。"""


def main() -> None:
    """Entry point of the command ``unseen``."""
    app()
