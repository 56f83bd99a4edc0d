"""``unseen query``, ``unseen products``, ``unseen manifest``: the asker's side."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mpc.data import identifiers, tables
from mpc.data.tables import DataSet
from mpc.errors import UsageError
from mpc.session import Progress as Done
from unseen import asker
from unseen.asker import Key, Verdict
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.governance import consent, documents, files
from unseen.governance.consent import Issued
from unseen.governance.enrolment import Identity
from unseen.governance.manifest import Manifest
from unseen.home import Home

MOST_SHOWN = 50
"""A batch with more rows is summed up rather than printed."""

HomeOption = Annotated[Path, typer.Option("--home", help="Your party's home directory.")]
NodeOption = Annotated[
    str | None, typer.Option("--node", help="The node: name@host:port, or its name where a coordinator is given.")
]
CoordinatorOption = Annotated[
    str | None,
    typer.Option("--coordinator", help="The coordinator: name@host:port. Finds nodes, and compares manifests."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Where to write it.")]

_ANSWER = Message("{product}: {answer}", "{product}：{answer}")
_ABSENT = Message("no record", "无记录")
_SUMMARY = Message(
    "{answered} of {count} answered, {found} with a record, {refused} refused; written to {path}",
    "共 {count} 条：已应答 {answered} 条，有记录 {found} 条，被拒 {refused} 条；结果已写入 {path}",
)
_SUMMARY_SHORT = Message(
    "{answered} of {count} answered, {found} with a record, {refused} refused",
    "共 {count} 条：已应答 {answered} 条，有记录 {found} 条，被拒 {refused} 条",
)
_WARNING = Message("warning: {text}", "警告：{text}")
_MANIFEST = Message(
    "Manifest of epoch {epoch} of {product}, in force until {until}: {path}",
    "{product} 第 {epoch} 期清单，有效期至 {until}：{path}",
)
_ASKING = Message("asking", "查询中")


@output.handled
def query(
    product: Annotated[str, typer.Argument(help="The product, such as marriage-status.")],
    home: HomeOption,
    node: NodeOption = None,
    coordinator: CoordinatorOption = None,
    key: Annotated[list[str] | None, typer.Option("--key", help="The key; twice for a couple.")] = None,
    keys_file: Annotated[
        Path | None, typer.Option("--keys-file", help="CSV, Parquet or JSON lines with a key, or a pair, per row.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Column of the keys; twice for a pair. Default: id.")
    ] = None,
    consents: Annotated[
        list[Path] | None, typer.Option("--consent", help="Consents, as the identity platform handed them over.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="What for; needed where several scenarios are allowed.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where a batch's results go: .csv, or JSON lines otherwise.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a product about one key, a couple, or a file of them. The node does not learn whom you ask about.

    Example: [bold]unseen query marriage-status --home bank --node civil-affairs@10.0.0.7:7700 --key 11010519491231002X
    --consent consent.jsonl[/bold]
    """
    given = [issued for path in consents or () for issued in consent.read_handover(path)]
    wanted = _wanted(key, keys_file, column or ["id"])
    if not wanted and not given:
        raise UsageError("say whom to ask about: --key, --keys-file, or --consent with a file of consents.")
    with asker.connect(home, product, node=node, coordinator_at=coordinator, scenario=scenario) as connection:
        for text in connection.warnings:
            output.note(output.text(_WARNING, text=text))
        form = connection.manifest.key_form
        if connection.offer.requires_consent:
            chosen = matched(wanted, given, form=form) if wanted else given
            keys = [issued.key for issued in chosen]
            verdicts = _with_bar(len(keys), lambda progress: connection.verify(chosen, progress=progress))
        else:
            keys = wanted or [issued.key for issued in given]
            verdicts = _with_bar(len(keys), lambda progress: connection.verify_keys(keys, progress=progress))
        epoch = connection.manifest.epoch
    if out is not None:
        _write(out, keys, verdicts)
    if len(verdicts) == 1 and out is None:
        _show_one(product, epoch, verdicts[0], as_json=as_json)
    else:
        _show_batch(product, epoch, keys, verdicts, out, as_json=as_json)
    if verdicts and not any(verdict.answered for verdict in verdicts):
        raise verdicts[0].refusal or UsageError("nothing was answered.")


@output.handled
def products(
    home: HomeOption, node: NodeOption = None, coordinator: CoordinatorOption = None, as_json: Json = False
) -> None:
    """List what nodes offer, and on which terms you may use it.

    Example: [bold]unseen products --home bank --coordinator coordinator@10.0.0.5:7600[/bold]
    """
    identity = Identity.load(home)
    found = []
    for place in asker.places(Home(home), identity, node=node, coordinator_at=coordinator):
        description = asker.describe(identity, place)
        found += [(place, offer) for offer in description.products]
    if as_json:
        output.show_json(
            {
                "products": [
                    {
                        "node": place.name,
                        "address": place.address,
                        "name": offer.name,
                        "operator": f"{offer.operator} {offer.operator_version}",
                        "suite": offer.suite,
                        "key_form": offer.key_form,
                        "answers": {code.label: code.code for code in offer.codes},
                        "requires_consent": offer.requires_consent,
                        "scenarios": [term.scenario for term in offer.terms],
                        "epoch": offer.epoch,
                        "epoch_ends": offer.epoch_ends,
                        "serving": offer.serving,
                        "problem": offer.problem,
                    }
                    for place, offer in found
                ]
            }
        )
        return
    table = Table("node", "product", "key", "consent", "scenarios for you", "epoch", "serving")
    for place, offer in found:
        table.add_row(
            f"{place.name}@{place.address}",
            offer.name,
            offer.key_form,
            "yes" if offer.requires_consent else "no",
            ", ".join(term.scenario for term in offer.terms) or "-",
            str(offer.epoch),
            "yes" if offer.serving else "no",
        )
    output.console().print(table)


@output.handled
def manifest(
    product: Annotated[str, typer.Argument(help="The product.")],
    home: HomeOption,
    out: OutOption,
    node: NodeOption = None,
    coordinator: CoordinatorOption = None,
    as_json: Json = False,
) -> None:
    """Fetch and check a product's current manifest: what an identity platform needs to issue consents.

    Example: [bold]unseen manifest marriage-status --home platform --node civil-affairs@10.0.0.7:7700 --out
        manifest.json[/bold]
    """
    signed, warnings = asker.fetch_manifest(home, product, node=node, coordinator_at=coordinator)
    for text in warnings:
        output.note(output.text(_WARNING, text=text))
    content = documents.parse(signed.document, Manifest)
    files.replace(out, documents.to_json(signed).encode())
    if as_json:
        output.show_json({"product": product, "epoch": content.epoch, "not_after": content.not_after, "path": str(out)})
        return
    output.show(output.text(_MANIFEST, epoch=content.epoch, product=product, until=content.not_after, path=out))


# Keys and consents ----------------------------------------------------------------------------------------------------


def _wanted(key: Sequence[str] | None, keys_file: Path | None, columns: Sequence[str]) -> list[Key]:
    if key and keys_file:
        raise UsageError("give either --key or --keys-file.")
    if key:
        return [tuple(key)]
    if keys_file is None:
        return []
    if keys_file.suffix.lower() in (".jsonl", ".ndjson"):
        return list(_json_keys(keys_file))
    rows = tables.batches(DataSet(str(keys_file), columns=tuple(columns)))
    return [tuple(map(str, row)) for batch in rows for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]


def _json_keys(path: Path) -> Iterator[Key]:
    for number, line in enumerate(files.read(path, what="keys", limit=1 << 30).splitlines(), start=1):
        try:
            found = json.loads(line)["key"]
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f'{path}, line {number}: write {{"key": "…"}}, or {{"key": ["…", "…"]}} for a pair.'
            ) from None
        yield (found,) if isinstance(found, str) else tuple(map(str, found))


def matched(wanted: Sequence[Key], given: Sequence[Issued], *, form: str) -> list[Issued]:
    """A consent for each key, in the keys' order; the same consent twice for a key that occurs twice.

    Raises:
        UsageError: a key without a consent; names the row, not the key.
    """
    by_key = {identifiers.canonical(form, *issued.key): issued for issued in given}
    chosen = []
    for row, key in enumerate(wanted, start=1):
        issued = by_key.get(identifiers.canonical(form, *key))
        if issued is None:
            raise UsageError(
                f"there is no consent for the key in row {row}. Give the file that it is in with --consent."
            )
        chosen.append(issued)
    return chosen


# Results --------------------------------------------------------------------------------------------------------------


def _words(verdict: Verdict) -> str:
    if verdict.refusal is not None:
        return f"{verdict.refusal.reason} [{verdict.refusal.code}]"
    return verdict.label if verdict.label is not None else output.text(_ABSENT)


def _fields(verdict: Verdict) -> dict[str, object]:
    refusal = verdict.refusal
    return {
        "answered": verdict.answered,
        "found": verdict.found,
        "answer": verdict.label,
        "code": None if refusal is None else refusal.code,
        "message": None if refusal is None else refusal.reason,
    }


def _show_one(product: str, epoch: int, verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        output.show_json({"product": product, "epoch": epoch, **_fields(verdict)})
    elif verdict.answered:
        output.show(output.text(_ANSWER, product=product, answer=_words(verdict)))


def _show_batch(
    product: str, epoch: int, keys: Sequence[Key], verdicts: Sequence[Verdict], out: Path | None, *, as_json: bool
) -> None:
    counts = {
        "count": len(verdicts),
        "answered": sum(verdict.answered for verdict in verdicts),
        "found": sum(verdict.found for verdict in verdicts),
        "refused": sum(not verdict.answered for verdict in verdicts),
    }
    if as_json:
        results = [{"key": _plain(key), **_fields(verdict)} for key, verdict in zip(keys, verdicts, strict=True)]
        place = {"out": str(out)} if out is not None else {"results": results}
        output.show_json({"product": product, "epoch": epoch, **counts, **place})
        return
    if out is None and len(verdicts) <= MOST_SHOWN:
        table = Table("key", product)
        for key, verdict in zip(keys, verdicts, strict=True):
            table.add_row(" + ".join(key), _words(verdict))
        output.console().print(table)
    if out is None:
        output.show(output.text(_SUMMARY_SHORT, **counts))
    else:
        output.show(output.text(_SUMMARY, path=out, **counts))


def _plain(key: Key) -> str | list[str]:
    return key[0] if len(key) == 1 else list(key)


def _write(path: Path, keys: Sequence[Key], verdicts: Sequence[Verdict]) -> None:
    """Results, readable by their owner only: keys and answers together are what all this protects."""
    try:
        path.touch(mode=files.PRIVATE)
        path.chmod(files.PRIVATE)
        with path.open("w", encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".csv":
                _write_csv(file, keys, verdicts)
            else:
                for key, verdict in zip(keys, verdicts, strict=True):
                    file.write(json.dumps({"key": _plain(key), **_fields(verdict)}, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Choose another place.") from None


def _write_csv(file: TextIO, keys: Sequence[Key], verdicts: Sequence[Verdict]) -> None:
    width = max((len(key) for key in keys), default=1)
    writer = csv.writer(file)
    names = ["key"] if width == 1 else [f"key_{place}" for place in range(1, width + 1)]
    writer.writerow([*names, "answered", "found", "answer", "code", "message"])
    for key, verdict in zip(keys, verdicts, strict=True):
        writer.writerow([*key, *("" if value is None else value for value in _fields(verdict).values())])


@contextmanager
def _bar(count: int) -> Iterator[Progress | None]:
    if count < 2:
        yield None
        return
    columns = (TextColumn(output.text(_ASKING)), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.error_console(), transient=True) as bar:
        yield bar


def _with_bar(count: int, ask: Callable[[Callable[[Done], None]], list[Verdict]]) -> list[Verdict]:
    """What `ask` returns; a bar on standard error shows how far it has come."""
    with _bar(count) as bar:
        if bar is None:
            return ask(lambda _: None)
        task = bar.add_task("", total=count)
        return ask(lambda done: bar.update(task, completed=done.done))
