"""``unseen consent``: what an identity platform does, for examples and tests; and looking into what it issued."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mpc.data import tables
from mpc.errors import UsageError
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.governance import consent, files, issuing
from unseen.governance.consent import Consent
from unseen.governance.documents import Signed, from_json, parse, parse_time, utc_now, verify
from unseen.governance.enrolment import Identity
from unseen.governance.manifest import Manifest
from unseen.names import check_party_name, check_product_name, check_scenario_name

app = typer.Typer(
    no_args_is_help=True,
    help="Consents: one subject, one scenario, one requester, one use.",
    rich_markup_mode="rich",
)

_ISSUED = Message(
    "{count} consents for {requester} to ask {product} of {node}, until {expires}: {path}",
    "已签发 {count} 份授权：{requester} 可向 {node} 查询 {product}，有效期至 {expires}：{path}",
)
_PRIVATE = Message(
    "The file holds keys and blinds. Hand it to {requester} and to nobody else.",
    "文件含标识与盲化因子，只可交给 {requester}。",
)
_LONGEST_MINUTES = 31 * 24 * 60
"""A consent is for one use; one that is good for longer than a month is a mistake."""

_EXPIRED = Message("expired", "已过期")
_VALID = Message("in force", "有效")


@app.command()
@output.handled
def issue(
    home: Annotated[Path, typer.Option("--home", help="Home of the identity platform.")],
    manifest: Annotated[Path, typer.Option("--manifest", help="The product's current manifest, signed by its node.")],
    scenario: Annotated[str, typer.Option("--scenario", help="What the subjects consented to.")],
    requester: Annotated[str, typer.Option("--requester", help="The party that may ask.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the consents; must not exist.")],
    product: Annotated[
        str | None, typer.Option("--product", help="The product expected; the manifest must be its.")
    ] = None,
    key: Annotated[list[str] | None, typer.Option("--key", help="One key; twice for a pair.")] = None,
    keys_file: Annotated[
        Path | None, typer.Option("--keys-file", help="CSV or Parquet file with a key, or a pair, per row.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Column of the keys; twice for a pair. Default: id.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="How long the consents can be used.")] = 10,
    as_json: Json = False,
) -> None:
    """Play the identity platform: blind keys and sign the consents of their subjects.

    Example: [bold]unseen consent issue --home platform --manifest marriage-status.json --scenario mortgage-approval
    --requester bank --key 11010519491231002X --out consent.jsonl[/bold]
    """
    if not 0 < minutes <= _LONGEST_MINUTES:  # nan is neither
        raise UsageError(f"--minutes is more than 0 and at most {_LONGEST_MINUTES}. Give another number.")
    check_scenario_name(scenario)
    check_party_name(requester)
    identity = Identity.load(home)
    signed = from_json(files.read(manifest, what="a manifest"))
    terms = verify(
        signed,
        Manifest,
        trust=identity.trust(),
        signer=signed.signer,
        signer_field="node",
        suite=identity.suite,
    )
    if product is not None and check_product_name(product) != terms.product:
        raise UsageError(f"the manifest is that of {terms.product}, not of {product}. Give the right manifest.")
    issued = issuing.consent_for(
        identity.signer,
        terms,
        keys=_keys(key, keys_file, column),
        scenario=scenario,
        requester=requester,
        lifetime=timedelta(minutes=minutes),
    )
    consent.write_handover(out, issued)
    expires = parse(issued[0].tokens[0].document, Consent).expires_at
    if as_json:
        output.show_json(
            {
                "consents": len(issued),
                "node": terms.node,
                "product": terms.product,
                "epoch": terms.epoch,
                "scenario": scenario,
                "requester": requester,
                "expires_at": expires,
                "file": str(out),
            }
        )
        return
    output.show(
        output.text(
            _ISSUED,
            count=len(issued),
            requester=requester,
            product=terms.product,
            node=terms.node,
            expires=expires,
            path=out,
        )
    )
    output.show(output.text(_PRIVATE, requester=requester))


def _keys(key: list[str] | None, keys_file: Path | None, column: list[str] | None) -> list[tuple[str, ...]]:
    """The rows of keys, from the command line or from a file."""
    if (key is None) == (keys_file is None):
        raise UsageError("give the keys either with --key or with --keys-file.")
    if keys_file is None:
        return [tuple(key or ())]
    names = tuple(column or ["id"])
    rows: list[tuple[str, ...]] = []
    for batch in tables.batches(tables.DataSet(source=str(keys_file), columns=names)):
        rows += zip(*(map(str, batch.column(name).to_pylist()) for name in names), strict=True)
    if not rows:
        raise UsageError(f"{keys_file} has no rows. Give at least one key.")
    return rows


@app.command()
@output.handled
def inspect(
    file: Annotated[Path, typer.Argument(help="A file that `unseen consent issue` wrote.")],
    home: Annotated[
        Path | None, typer.Option("--home", help="Home of any party of the same CA; then signatures are checked too.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what consents permit. Keys and blinds are not shown.

    Example: [bold]unseen consent inspect consent.jsonl --home bank[/bold]
    """
    rows = list(consent.read_handover(file))
    read = _reader(home)
    parts = [(number, read(token)) for number, row in enumerate(rows, start=1) for token in row.tokens]
    now = utc_now()
    if as_json:
        output.show_json(
            {
                "rows": len(rows),
                "verified": home is not None,
                "consents": [
                    {"row": number, **part.model_dump(exclude={"blinded", "nonce"})} for number, part in parts
                ],
            }
        )
        return
    table = Table("row", "part", "issuer", "node", "product", "scenario", "requester", "epoch", "expires", "")
    for number, part in parts[:limit]:
        state = _EXPIRED if parse_time(part.expires_at) < now else _VALID
        table.add_row(
            str(number),
            f"{part.part}/{part.parts}",
            part.issuer,
            part.node,
            part.product,
            part.scenario,
            part.requester,
            str(part.epoch),
            part.expires_at,
            output.text(state),
        )
    output.console().print(table)
    if len(parts) > limit:
        output.show(f"… {len(parts) - limit} more")


def _reader(home: Path | None) -> Callable[[Signed], Consent]:
    """What reads a token; with a home, it also checks the signature."""
    if home is None:
        return lambda token: parse(token.document, Consent)
    identity = Identity.load(home)
    trust = identity.trust()
    return lambda token: verify(
        token, Consent, trust=trust, signer=token.signer, signer_field="issuer", suite=identity.suite
    )
