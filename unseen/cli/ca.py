"""``unseen ca``: the local certificate authority, in which parties enrol."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mpc.errors import UsageError
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.governance import ca, enrolment, files
from unseen.governance.documents import format_time

app = typer.Typer(
    no_args_is_help=True,
    help="The local certificate authority, in which parties enrol.",
    rich_markup_mode="rich",
)

Home = Annotated[Path, typer.Option("--home", help="Directory of the CA. Keep it off the nodes.")]

_MADE = Message(
    "CA made in {home}. Root fingerprint, for parties to compare:", "已在 {home} 建立 CA。根证书指纹（供各方核对）："
)
_SIGNED = Message(
    "{name} is certified until {expires}. Hand {path} to it.",
    "已为 {name} 签发证书，有效期至 {expires}。请将 {path} 交给该参与方。",
)
_COMPARE = Message(
    "Request of {name}. Its fingerprint must be what the party sees:", "{name} 的申请。指纹须与该参与方所见一致："
)
_ASK = Message("Does it match?", "是否一致？")
_REVOKED = Message("revoked: {name} {kind} {serial}", "已吊销：{name} {kind} {serial}")
_LIST = Message(
    "Revocation list written to {path}. Hand it to all parties.", "吊销列表已写入 {path}，请分发给各参与方。"
)


@app.command()
@output.handled
def init(home: Home, as_json: Json = False) -> None:
    """Make a CA: a root key, a root certificate and an empty revocation list.

    Example: [bold]unseen ca init --home ca[/bold]
    """
    fingerprint = ca.init_ca(home)
    if as_json:
        output.show_json({"home": str(home), "root_fingerprint": fingerprint})
        return
    output.show(output.text(_MADE, home=home))
    output.show(f"  {fingerprint}")


@app.command()
@output.handled
def sign(
    request: Annotated[Path, typer.Argument(help="The party's request.json.")],
    home: Home,
    out: Annotated[Path, typer.Option("--out", help="Where to write the bundle for the party.")],
    fingerprint: Annotated[
        str | None,
        typer.Option(
            "--fingerprint", help="Fingerprint of the request, as the party told it. Without it you are asked."
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="Validity in days.")] = 365,
    as_json: Json = False,
) -> None:
    """Certify a party's keys, after comparing its request's fingerprint with what the party sees.

    Example: [bold]unseen ca sign request.json --home ca --out bank.bundle.json[/bold]
    """
    if not os.access(out.parent, os.W_OK):
        # Said before anything is signed: what was signed has to be revoked before it can be signed again.
        raise UsageError(f"{out.parent} cannot be written to. Choose another place for the bundle with --out.")
    content = files.read(request, what="an enrolment request")
    checked = enrolment.read_request(content)
    if fingerprint is not None:
        if fingerprint.replace(":", "").upper() != checked.fingerprint.replace(":", ""):
            raise UsageError(
                f"the request's fingerprint is {checked.fingerprint}. Do not sign it; ask the party again."
            )
    elif as_json:
        raise UsageError("nobody can be asked with --json. Give the fingerprint with --fingerprint.")
    else:
        output.show(output.text(_COMPARE, name=checked.name))
        output.show(f"  {checked.fingerprint}")
        if not typer.confirm(output.text(_ASK)):
            raise UsageError("the request was not signed. Ask the party for its request again.")
    signed = ca.sign_request(home, content, lifetime=timedelta(days=days))
    files.replace(out, signed.bundle)
    if as_json:
        output.show_json(
            {
                "name": signed.name,
                "bundle": str(out),
                "request_fingerprint": signed.request_fingerprint,
                "root_fingerprint": signed.root_fingerprint,
                "renewal": signed.renewal,
                "expires": format_time(signed.expires),
            }
        )
        return
    output.show(output.text(_SIGNED, name=signed.name, expires=format_time(signed.expires), path=out))


@app.command()
@output.handled
def revoke(
    home: Home,
    name: Annotated[str | None, typer.Option("--name", help="All certificates of this party.")] = None,
    serial: Annotated[str | None, typer.Option("--serial", help="The certificate with this serial number.")] = None,
    as_json: Json = False,
) -> None:
    """Revoke a party's certificates, or one of them, and issue a new revocation list.

    Example: [bold]unseen ca revoke --home ca --name bank[/bold]
    """
    revoked = ca.revoke(home, name=name, serial=serial)
    path = home / "crl.pem"
    if as_json:
        output.show_json({"revoked": [one.model_dump() for one in revoked], "crl": str(path)})
        return
    for one in revoked:
        output.show(output.text(_REVOKED, name=one.name, kind=one.kind, serial=one.serial))
    output.show(output.text(_LIST, path=path))


@app.command("list")
@output.handled
def list_certificates(home: Home, as_json: Json = False) -> None:
    """List every certificate ever issued.

    Example: [bold]unseen ca list --home ca[/bold]
    """
    issued = ca.list_issued(home)
    if as_json:
        output.show_json({"certificates": [one.model_dump() for one in issued]})
        return
    table = Table("name", "kind", "valid until", "revoked", "serial", "SHA-256")
    for one in issued:
        table.add_row(one.name, one.kind, one.not_after, one.revoked_at or "", one.serial, one.fingerprint)
    output.console().print(table)


@app.command()
@output.handled
def crl(
    home: Home,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the list here.")] = None,
    as_json: Json = False,
) -> None:
    """Issue the revocation list anew. It must be renewed within 30 days, or certificates are refused.

    Example: [bold]unseen ca crl --home ca --out crl.pem[/bold]
    """
    pem = ca.refresh_crl(home)
    path = home / "crl.pem"
    if out is not None:
        files.replace(out, pem)
        path = out
    if as_json:
        output.show_json({"crl": str(path), "days": ca.CRL_LIFETIME.days})
        return
    output.show(output.text(_LIST, path=path))
