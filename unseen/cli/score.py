"""``unseen score``: people scored by a joint model, by this party's columns and a node's part."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.table import Table

from mpc.data import forms, tables
from mpc.data.tables import DataSet
from mpc.errors import UsageError
from unseen import scoring
from unseen.asker import Key
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.cli.query import CoordinatorOption, HomeOption
from unseen.governance import files
from unseen.scoring import Score, Scorer

MOST_SHOWN = 50
"""More rows than that are summed up rather than printed."""

_SUMMARY = Message(
    "{scored} of {count} scored, {absent} without a record there, {refused} refused",
    "共 {count} 人：已评分 {scored} 人，对方无记录 {absent} 人，被拒 {refused} 人",
)
_WRITTEN = Message("Written to {path}.", "结果已写入 {path}。")
_ABSENT = Message("no record there", "对方无记录")


@output.handled
def score(
    product: Annotated[
        list[str], typer.Argument(help="The product, such as repayment-score; one of each partner of the model.")
    ],
    home: HomeOption,
    data: Annotated[Path, typer.Option("--data", help="Your own columns: CSV, Parquet or SQLite, a row per person.")],
    column: Annotated[list[str], typer.Option("--column", help="Column of the keys; twice for a pair.")],
    table: Annotated[str | None, typer.Option("--table", help="Which table of a data base.")] = None,
    key: Annotated[list[str] | None, typer.Option("--key", help="Only this person; twice for a pair.")] = None,
    node: Annotated[
        list[str] | None,
        typer.Option("--node", help="Each product's node: name@host:port, or its name where a coordinator is given."),
    ] = None,
    coordinator: CoordinatorOption = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="What for; needed where several scenarios are allowed.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The model that must score.")] = None,
    version: Annotated[int | None, typer.Option("--version", help="Of your own part.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the scores go: .csv, or JSON lines otherwise.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Have people scored by a joint model. Your columns do not leave you; the node learns whom you ask about.

    Example: [bold]unseen score repayment-score --home bank --node tax-bureau@10.0.0.7:7700 --data applicants.csv
    --column id[/bold]
    """
    with scoring.connect(
        home, product, node=node or None, coordinator_at=coordinator, scenario=scenario, model=model, version=version
    ) as scorer:
        keys, rows = _rows(scorer, data, tuple(column), table, tuple(key or ()))
        scores = scorer.score(keys, rows)
        cuts = scorer.cuts
    if out is not None:
        _write(out, keys, scores)
    _show(", ".join(product), keys, scores, cuts, out, as_json=as_json)
    if scores and all(one.refusal is not None for one in scores):
        raise scores[0].refusal or UsageError("nobody was scored.")


def _rows(
    scorer: Scorer, data: Path, columns: tuple[str, ...], table: str | None, key: tuple[str, ...]
) -> tuple[list[Key], pa.Table]:
    """The people to score, and this party's columns of them."""
    parts = forms.parts_of(scorer.key_form)
    if len(columns) != len(parts) or len(key) not in (0, len(parts)):
        raise UsageError(f"a key of the form {scorer.key_form} has {len(parts)} parts: give --column for each of them.")
    wanted = (*columns, *(name for name in scorer.columns if name not in columns))
    found = list(tables.batches(DataSet(str(data), columns=wanted, table=table)))
    whole = pa.Table.from_batches(found) if found else pa.table({name: pa.array([], pa.string()) for name in wanted})
    keys = [tuple(map(str, one)) for one in zip(*(whole[name].to_pylist() for name in columns), strict=True)]
    if key:
        at = [row for row, one in enumerate(keys) if one == key]
        if len(at) != 1:
            raise UsageError(f"{data} has {len(at)} rows with that key; it has to have one.")
        whole, keys = whole.take(at), [key]
    return keys, whole


def _fields(key: Key, one: Score) -> dict[str, object]:
    """Scores of several classes are lists."""
    return {
        "key": key[0] if len(key) == 1 else list(key),
        "found": one.found,
        "score": one.total if one.totals is None else list(one.totals),
        "probability": one.probability if one.probabilities is None else list(one.probabilities),
        "grade": one.grade,
        "code": None if one.refusal is None else one.refusal.code,
    }


def _show(
    product: str,
    keys: Sequence[Key],
    scores: Sequence[Score],
    cuts: Sequence[float],
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    counts = {
        "count": len(scores),
        "scored": sum(one.found for one in scores),
        "absent": sum(not one.found and one.refusal is None for one in scores),
        "refused": sum(one.refusal is not None for one in scores),
    }
    if as_json:
        results = [_fields(key, one) for key, one in zip(keys, scores, strict=True)]
        place = {"out": str(out)} if out is not None else {"results": results}
        output.show_json({"product": product, "cuts": list(cuts), **counts, **place})
        return
    if out is None and len(scores) <= MOST_SHOWN:
        shown = Table("key", product)
        for key, one in zip(keys, scores, strict=True):
            shown.add_row(output.plain(" + ".join(key)), _words(one))
        output.console().print(shown)
    output.show(output.text(_SUMMARY, **counts))
    if out is not None:
        output.show(output.text(_WRITTEN, path=out))


def _words(one: Score) -> str:
    if one.refusal is not None:
        return f"{one.refusal.reason} [{one.refusal.code}]"
    if not one.found:
        return output.text(_ABSENT)
    if one.probabilities is not None:
        return ", ".join(f"{value:.4f}" for value in one.probabilities)
    return str(one.grade) if one.grade is not None else f"{one.total:.4f} ({one.probability:.4f})"


def _write(path: Path, keys: Sequence[Key], scores: Sequence[Score]) -> None:
    """Scores, readable by their owner only."""
    rows = [_fields(key, one) for key, one in zip(keys, scores, strict=True)]
    try:
        path.touch(mode=files.PRIVATE)
        path.chmod(files.PRIVATE)
        with path.open("w", encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".csv":
                writer = csv.DictWriter(file, fieldnames=["key", "found", "score", "probability", "grade", "code"])
                writer.writeheader()
                for row, key in zip(rows, keys, strict=True):
                    writer.writerow({**row, "key": "+".join(key)})
            else:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Choose another place.") from None
