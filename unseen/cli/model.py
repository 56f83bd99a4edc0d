"""``unseen model``: this party's parts of models: take in what a job trained, list, show, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.home import Home
from unseen.models import ModelStore, Part, Statement

app = typer.Typer(
    no_args_is_help=True,
    help="Models: this party's own parts, each signed with the job that it comes from.",
    rich_markup_mode="rich",
)

HomeOption = Annotated[Path, typer.Option("--home", help="Your party's home directory.")]
ModelArgument = Annotated[str, typer.Argument(help="The model: 16 hexadecimal digits.")]

_IMPORTED = Message(
    "Version {version} of model {model}, from job {job}.", "模型 {model} 第 {version} 版，来自任务 {job}。"
)
_REMOVED = Message(
    "Version {version} of model {model} is erased; its statement stays.",
    "模型 {model} 第 {version} 版已删除，其声明保留。",
)
_NONE = Message("There is no model here.", "此处没有模型。")
_THERE, _GONE = Message("there", "在库"), Message("removed", "已删除")


@app.command("list")
@output.handled
def list_(home: HomeOption, as_json: Json = False) -> None:
    """List all versions of all models. Signatures are checked.

    Example: [bold]unseen model list --home bank[/bold]
    """
    store = ModelStore(Home(home))
    found = [listed for model in store.models() for listed in store.versions(model)]
    if as_json:
        output.show_json({"models": [{**_fields(one.statement), "there": one.there} for one in found]})
        return
    if not found:
        output.show(output.text(_NONE))
        return
    table = Table("model", "version", "job", "operator", "stored", "part")
    for one in found:
        said = one.statement
        state = output.text(_THERE if one.there else _GONE)
        table.add_row(said.model, str(said.version), said.job, output.plain(said.operator), said.stored, state)
    output.console().print(table)


@app.command()
@output.handled
def show(
    model: ModelArgument,
    home: HomeOption,
    version: Annotated[int | None, typer.Option("--version", help="Which; the newest by default.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a part is made of: columns, rows, iterations or trees. Its coefficients are in the job's result.

    Example: [bold]unseen model show 00c0ffee00c0ffee --home bank[/bold]
    """
    stored = ModelStore(Home(home)).load(model, version=version)
    part = stored.part
    fields = {
        **_fields(stored.statement),
        "party": part.party,
        "label_party": part.label_party,
        "parties": list(part.parties),
        "columns": list(part.sources),
        **_made_of(part),
        "rows": part.rows,
        "trained": part.trained,
    }
    if as_json:
        output.show_json(fields)
        return
    table = Table(show_header=False, box=None)
    for name, value in fields.items():
        table.add_row(name, output.plain(", ".join(map(str, value)) if isinstance(value, list) else value))
    output.console().print(table)


@app.command("import")
@output.handled
def import_(
    job: Annotated[str, typer.Argument(help="A finished job that trained a model.")],
    home: HomeOption,
    as_json: Json = False,
) -> None:
    """Take in the part that a job of this party left in results/<job>/model.json. A job again changes nothing.

    Example: [bold]unseen model import 3f0c9a52d1e07b64 --home bank[/bold]
    """
    statement = ModelStore(Home(home)).import_job(job)
    if as_json:
        output.show_json(_fields(statement))
    else:
        output.show(output.text(_IMPORTED, version=statement.version, model=statement.model, job=statement.job))


@app.command()
@output.handled
def remove(
    model: ModelArgument,
    version: Annotated[int, typer.Argument(help="Which version.")],
    home: HomeOption,
    as_json: Json = False,
) -> None:
    """Erase a part. A node that serves it goes on until it starts again; the job's result is another copy.

    Example: [bold]unseen model remove 00c0ffee00c0ffee 1 --home bank[/bold]
    """
    ModelStore(Home(home)).remove(model, version)
    if as_json:
        output.show_json({"model": model, "version": version, "removed": True})
    else:
        output.show(output.text(_REMOVED, version=version, model=model))


def _made_of(part: Part) -> dict[str, object]:
    from protocols.learning.boosted import BoostedPart  # it brings Arrow, which a list does not need

    if isinstance(part, BoostedPart):
        splits = {name: int(count) for name, count in part.importance("weight").items()}
        return {
            "objective": part.objective,
            "classes": part.classes,
            "trees": len(part.trees),
            "features": list(part.binning.names),
            "splits": [f"{name}: {count}" for name, count in splits.items() if count],
            "leaves": "shared" if part.shared else "label_party",
        }
    return {
        "family": part.family,
        "features": list(part.preparation.names),
        "reveal_model": "none" if part.coefficients is None else "owners",
        "iterations": part.iterations,
        "converged": part.converged,
    }


def _fields(statement: Statement) -> dict[str, object]:
    return {
        "model": statement.model,
        "version": statement.version,
        "job": statement.job,
        "operator": statement.operator,
        "stored": statement.stored,
    }
