"""``unseen grant``: what an authority does to permit jobs, and how anybody checks that it did."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, Field
from rich.table import Table

from mpc.errors import UsageError
from unseen import settings
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.governance import documents, files, grant
from unseen.governance.documents import parse_time, utc_now
from unseen.governance.enrolment import Identity
from unseen.governance.grant import Access, Column, Grant, Words
from unseen.jobs import operators
from unseen.settings import SETTINGS, PartyName, ProductName

app = typer.Typer(
    no_args_is_help=True,
    help="Grants: an authority's signed permission for jobs, one scenario at a time.",
    rich_markup_mode="rich",
)

GrantFile = Annotated[Path, typer.Argument(help="The grant, as `unseen grant issue` wrote it.")]

_ISSUED = Message(
    "Granted to {requester} for {scenario}: {operator} {version}, {uses} uses, until {until}: {path}",
    "已授权 {requester} 用于 {scenario}：{operator} {version}，可用 {uses} 次，有效期至 {until}：{path}",
)
_IN_FORCE = Message(
    "Genuine and in force: signed by {issuer}, until {until}.", "真实有效：由 {issuer} 签署，有效期至 {until}。"
)
_COVERS = Message("It covers the job {job}.", "覆盖任务 {job}。")


class AccessText(BaseModel):
    """One ``[[access]]`` of what an authority writes down."""

    model_config = SETTINGS
    party: PartyName
    data_set: ProductName
    columns: Annotated[tuple[Column, ...], Field(strict=False, min_length=1)]


class GrantText(BaseModel):
    """What an authority writes down before it signs."""

    model_config = SETTINGS
    scenario: ProductName
    purpose: Words
    requester: PartyName
    operator: str
    uses: Annotated[int, Field(ge=1, le=10**9)]
    not_before: datetime
    not_after: datetime
    minimum_result: Annotated[int, Field(ge=0, le=10**12)]
    report_sizes: bool
    recipients: Annotated[tuple[PartyName, ...], Field(strict=False, min_length=1)]
    access: Annotated[tuple[AccessText, ...], Field(strict=False, min_length=1)]


@app.command()
@output.handled
def issue(
    file: Annotated[Path, typer.Argument(help="What to grant, in TOML; docs/jobs.md shows one.")],
    home: Annotated[Path, typer.Option("--home", help="Home of the authority, which signs.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the signed grant; must not exist.")],
    as_json: Json = False,
) -> None:
    """Sign a grant: who may run which operator, for what, on which columns of whose data sets, how often and until
    when.

    Example: [bold]unseen grant issue joint-customers.toml --home data-bureau --out joint-customers.grant[/bold]
    """
    asked = settings.load(file, GrantText)
    if asked.not_before.tzinfo is None or asked.not_after.tzinfo is None:
        raise UsageError(f"{file}: not_before and not_after need a time zone. End them with Z for UTC.")
    signed = grant.issue(
        Identity.load(home).signer,
        scenario=asked.scenario,
        purpose=asked.purpose,
        requester=asked.requester,
        operator=asked.operator,
        operator_version=operators.version_of(asked.operator),
        access=[Access(party=one.party, data_set=one.data_set, columns=list(one.columns)) for one in asked.access],
        recipients=asked.recipients,
        uses=asked.uses,
        not_before=asked.not_before,
        not_after=asked.not_after,
        minimum_result=asked.minimum_result,
        report_sizes=asked.report_sizes,
    )
    files.create(out, documents.to_json(signed).encode() + b"\n")
    made = documents.parse(signed.document, Grant)
    if as_json:
        output.show_json({"file": str(out), **made.model_dump(mode="json")})
        return
    fields = {"requester": made.requester, "scenario": made.scenario, "uses": made.uses, "until": made.not_after}
    output.show(output.text(_ISSUED, **fields, operator=made.operator, version=made.operator_version, path=out))


@app.command()
@output.handled
def show(file: GrantFile, as_json: Json = False) -> None:
    """Show what a grant permits. Who signed it is not checked: `unseen grant verify` does.

    Example: [bold]unseen grant show joint-customers.grant[/bold]
    """
    found = documents.parse(grant.read(file).document, Grant)
    if as_json:
        output.show_json(found.model_dump(mode="json"))
        return
    table = Table(show_header=False)
    for name, value in found.model_dump(mode="json", exclude={"access", "type"}).items():
        table.add_row(name, output.plain(str(value)))
    for one in found.access:
        table.add_row("access", output.plain(f"{one.party} / {one.data_set}: {', '.join(one.columns)}"))
    output.console().print(table)


@app.command()
@output.handled
def verify(
    file: GrantFile,
    home: Annotated[Path, typer.Option("--home", help="Home of any party of the same CA.")],
    job: Annotated[
        Path | None, typer.Option("--job", help="A job's file: check as well that the grant covers it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a grant offline: its signature, its signer's certificate, its term; and that it covers a job.

    Example: [bold]unseen grant verify joint-customers.grant --home bank --job psi.toml[/bold]
    """
    signed, trust = grant.read(file), Identity.load(home).trust()
    found = grant.verify(signed, trust=trust)
    if job is not None:
        # Whoever submits it is the requester; here it is the one for whom the grant is.
        grant.check(signed, operators.load(job)[0].asked_by(found.requester), trust=trust)
    if as_json:
        left = parse_time(found.not_after) - utc_now()
        output.show_json(
            {
                "genuine": True,
                "issuer": found.issuer,
                "not_after": found.not_after,
                "seconds_left": int(left.total_seconds()),
                "covers": None if job is None else str(job),
            }
        )
        return
    output.show(output.text(_IN_FORCE, issuer=found.issuer, until=found.not_after))
    if job is not None:
        output.show(output.text(_COVERS, job=job))
