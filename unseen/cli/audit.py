"""``unseen audit``: the node's log, shown and verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from mpc.errors import PolicyError, UsageError
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.governance import ledger
from unseen.governance.documents import from_base64, from_json, parse, parse_time, to_base64
from unseen.governance.enrolment import Identity
from unseen.governance.ledger import LEDGER_FILE, Witness
from unseen.governance.receipt import Receipt, verify_receipt

app = typer.Typer(
    no_args_is_help=True,
    help="The audit log: every evaluation and every refusal, in a chain that shows what was changed.",
    rich_markup_mode="rich",
)

Home = Annotated[Path, typer.Option("--home", help="Home of the node.")]

_GOOD = Message(
    "{node}: the log is in order, entries 0 to {last}; {billed} billed, {refusals} refused; {witnesses} receipts fit.",
    "{node} 的日志完整：条目 0 至 {last}，计费 {billed} 次，拒绝 {refusals} 次；与 {witnesses} 份回执一致。",
)
_ALONE = Message(
    "Without receipts, a log that was cut at its end, or written anew from some entry on, is in order too: "
    "give --receipts.",
    "没有回执时，被截断或自某条目起重写的日志同样显示完整；请以 --receipts 提供回执。",
)
_HEAD = Message("Chain head: {head}", "链头：{head}")


@app.command()
@output.handled
def verify(
    home: Home,
    receipts: Annotated[
        Path | None, typer.Option("--receipts", help="Receipts that askers hold: a signed document per line.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the whole chain and name the first entry that was changed, removed, moved or, by receipts, cut off.

    Example: [bold]unseen audit verify --home civil-affairs --receipts bank/receipts.jsonl[/bold]
    """
    witnesses = [] if receipts is None else list(_witnesses(home, receipts))
    found = ledger.verify(home / LEDGER_FILE, witnesses=witnesses)
    owner = _owner(home)
    if owner not in (None, found.node):
        raise PolicyError(
            f"the log is that of {found.node:.63}, this is the home of {owner}",
            code="audit-foreign",
            remedy="Keep a copy of the file as evidence, and put the node's own ledger back.",
        )
    if as_json:
        output.show_json(
            {
                "node": found.node,
                "ledger": found.ledger_id,
                "last_entry": found.last_entry,
                "head": to_base64(found.head),
                "billed": found.billed,
                "refusals": found.refusals,
                "receipts": found.witnesses,
            }
        )
        return
    output.show(
        output.text(
            _GOOD,
            node=found.node,
            last=found.last_entry,
            billed=found.billed,
            refusals=found.refusals,
            witnesses=found.witnesses,
        )
    )
    output.show(output.text(_HEAD, head=to_base64(found.head)))
    if not found.witnesses:
        output.note(output.text(_ALONE))


def _owner(home: Path) -> str | None:
    """Whose home this is; None where only the log is there, as at an auditor's."""
    try:
        return Identity.load(home).name
    except UsageError:
        return None


def _witnesses(home: Path, path: Path) -> Iterator[Witness]:
    """What the receipts in a file say about this node's chain. Each must bear the node's signature."""
    identity = Identity.load(home)
    trust = identity.trust()
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read receipts at {path}: {error.strerror}. Check the path.") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            signed = from_json(line)
            # A receipt is checked as of its own time: the certificate that signed it may have been renewed since.
            at = parse_time(parse(signed.document, Receipt).time)
            receipt = verify_receipt(signed, trust=trust, node=identity.name, suite=identity.suite, now=at)
        except PolicyError as error:
            raise PolicyError(f"{path}, line {number}: {error.reason}", code=error.code, remedy=error.remedy) from None
        yield Witness(entry=receipt.last_entry, head=from_base64(receipt.head))


@app.command()
@output.handled
def show(
    home: Home,
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the newest entries.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest entries. They hold no keys, identifiers or answers.

    Example: [bold]unseen audit show --home civil-affairs --last 50[/bold]
    """
    path = home / LEDGER_FILE
    found = list(ledger.entries(path, first=max(0, ledger.last_entry(path) - last + 1)))
    if as_json:
        output.show_json({"entries": found})
        return
    names = ("time", "kind", "result", "count", "requester", "scenario", "product", "operator", "epoch", "billed")
    table = Table("entry", *names)
    for entry in found:
        # An entry without a count stands for one element, or for something that is none, such as a start.
        table.add_row(_cell(entry.get("seq")), *(_cell(entry.get(name)) for name in names))
    output.console().print(table)


def _cell(value: object) -> str:
    """A field as text: nothing here is verified, so it must not command the terminal."""
    text = "" if value is None else str(value)
    return escape("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text))
