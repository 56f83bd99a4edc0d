"""``unseen node``: a party's identity, its node, and what its operator wants to know of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mpc.wire.node.v1 import node_pb2
from unseen import process, services
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.governance import enrolment, files
from unseen.governance.documents import format_time
from unseen.governance.enrolment import Identity, PartyRequest
from unseen.governance.manifest import Pins
from unseen.home import PINS_TIMEOUT_S, Home, exclusive
from unseen.rpc import Client

if TYPE_CHECKING:
    from unseen.node.preflight import Check

app = typer.Typer(
    no_args_is_help=True,
    help="A party: its identity, and its node.",
    rich_markup_mode="rich",
)

HomeOption = Annotated[Path, typer.Option("--home", help="The party's home directory.")]

_KEYS = Message(
    "Keys of {name} made in {home}. Send {path} to the CA; its fingerprint, to read out to the CA's operator:",
    "已在 {home} 生成 {name} 的密钥。请将 {path} 交给 CA，并向其操作员口述指纹：",
)
_ENROLLED = Message("{name} is enrolled until {expires}.", "{name} 已完成注册，有效期至 {expires}。")
_COMPARE = Message(
    "The root was trusted at first sight. Compare its fingerprint with the CA's operator:",
    "首次信任该根证书，请与 CA 操作员核对指纹：",
)
_PINNED = Message(
    "{name} is known by the signing key {key} from now on.",
    "此后以签名密钥 {key} 识别 {name}。",
)
_FORMER = Message("Before, it was {key}.", "此前为 {key}。")
_CRL = Message("The revocation list is installed.", "吊销列表已安装。")
_CRL_OLD = Message("The list that is there is as new; nothing was changed.", "现有列表不比它旧，未作更改。")
_SERVING = Message("{name} serves at {address}.", "节点 {name} 已在 {address} 启动。")
_ROTATING = Message(
    "{product}: epoch {epoch} begins as soon as its table is built.",
    "{product}：第 {epoch} 期的数据表建成后即启用。",
)
_READY = Message("Ready to serve.", "检查全部通过，可以启动。")
_NOT_READY = Message("{count} of {total} checks failed.", "{total} 项检查中有 {count} 项未通过。")


@app.command()
@output.handled
def init(
    name: Annotated[str, typer.Argument(help="The party's name: lower-case letters, digits and hyphens.")],
    home: HomeOption,
    suite: Annotated[
        str, typer.Option("--suite", help="Of its signing key: intl (Ed25519), or gm (SM2 with SM3, 国密).")
    ] = "intl",
    as_json: Json = False,
) -> None:
    """Make a party's keys, here and only here, and its request to the CA.

    Parties that work with each other need one suite: documents of another one are refused.

    Example: [bold]unseen node init civil-affairs --home civil-affairs[/bold]
    """
    _show_request(enrolment.init_party(home, name, suite=suite), home, as_json=as_json)


@app.command()
@output.handled
def renew(home: HomeOption, as_json: Json = False) -> None:
    """Make the next keys and a request for them. The present keys serve until the new bundle is installed.

    Example: [bold]unseen node renew --home civil-affairs[/bold]
    """
    _show_request(enrolment.renew_party(home), home, as_json=as_json)


def _show_request(request: PartyRequest, home: Path, *, as_json: bool) -> None:
    if as_json:
        output.show_json(
            {"name": request.name, "request": str(request.path), "fingerprint": request.fingerprint, "home": str(home)}
        )
        return
    output.show(output.text(_KEYS, name=request.name, home=home, path=request.path))
    output.show(f"  {request.fingerprint}")


@app.command()
@output.handled
def enrol(
    bundle: Annotated[Path, typer.Argument(help="What the CA made of the request.")],
    home: HomeOption,
    root_fingerprint: Annotated[
        str | None,
        typer.Option("--root-fingerprint", help="Fingerprint of the root, as the CA's operator told it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Install the CA's bundle: for a new party, or after `unseen node renew`.

    Example: [bold]unseen node enrol civil-affairs.bundle.json --home civil-affairs[/bold]
    """
    done = enrolment.install_bundle(home, files.read(bundle, what="a bundle"), root_fingerprint=root_fingerprint)
    if as_json:
        output.show_json(
            {
                "name": done.name,
                "root_fingerprint": done.root_fingerprint,
                "signing_key": done.signing_key,
                "expires": format_time(done.expires),
                "first": done.first,
            }
        )
        return
    output.show(output.text(_ENROLLED, name=done.name, expires=format_time(done.expires)))
    if done.first and root_fingerprint is None:
        output.show(output.text(_COMPARE))
        output.show(f"  {done.root_fingerprint}")


@app.command()
@output.handled
def pin(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    home: HomeOption,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Of the node's signing key, as its operator told it.")
    ],
    as_json: Json = False,
) -> None:
    """Accept a node's signing key, after its operator has read out its fingerprint: when it lost the former one, or
    before the first contact.

    Example: [bold]unseen node pin civil-affairs --home bank --fingerprint AB:CD:…[/bold]
    """
    own, identity = Home(home), Identity.load(home)
    with exclusive(own, "pins", timeout_s=PINS_TIMEOUT_S):
        pins = Pins(own.pins, trust=identity.trust(), suite=identity.suite)
        former = pins.pinned_key(name)
        pins.accept_key(name, fingerprint)
        key = pins.pinned_key(name)
    if as_json:
        output.show_json({"node": name, "signing_key": key, "former": former})
        return
    output.show(output.text(_PINNED, name=name, key=key))
    if former not in (None, key):
        output.show(output.text(_FORMER, key=former))


@app.command()
@output.handled
def crl(
    file: Annotated[Path, typer.Argument(help="The list, as `unseen ca crl` wrote it.")],
    home: HomeOption,
    as_json: Json = False,
) -> None:
    """Install the CA's revocation list by hand: where no coordinator hands it on, or the one that is there has lapsed.

    Example: [bold]unseen node crl crl.pem --home bank[/bold]
    """
    newer = enrolment.update_crl(home, files.read(file, what="a revocation list"))
    number = enrolment.crl_number(home)
    if as_json:
        output.show_json({"installed": newer, "number": number})
        return
    output.show(output.text(_CRL if newer else _CRL_OLD))


@app.command()
@output.handled
def serve(home: HomeOption, as_json: Json = False) -> None:
    """Run the party node until SIGTERM or Ctrl-C. What it serves is in node.toml, and to whom in policy.toml.

    Example: [bold]unseen node serve --home civil-affairs[/bold]
    """
    from unseen.node import server as node  # the node itself takes long to import, and only this command needs it

    process.log_to_stderr("node")

    def ready(name: str, address: str) -> None:
        if as_json:
            output.show_json({"name": name, "address": address})
        else:
            output.show(output.text(_SERVING, name=name, address=address))

    node.serve(Home(home), ready=ready)


@app.command()
@output.handled
def rotate(
    product: Annotated[str, typer.Argument(help="The product.")], home: HomeOption, as_json: Json = False
) -> None:
    """Begin a product's next epoch now: a new key, and a table of the data as they are now.

    Example: [bold]unseen node rotate marriage-status --home civil-affairs[/bold]
    """
    with _control(home) as client:
        epoch = client.call(services.ROTATE, node_pb2.RotateRequest(product=product)).epoch
    if as_json:
        output.show_json({"product": product, "epoch": epoch})
        return
    output.show(output.text(_ROTATING, product=product, epoch=epoch))


@app.command()
@output.handled
def status(home: HomeOption, as_json: Json = False) -> None:
    """Show how the running node and its products are.

    Example: [bold]unseen node status --home civil-affairs[/bold]
    """
    with _control(home) as client:
        found = client.call(services.STATUS, node_pb2.StatusRequest())
    if as_json:
        output.show_json(_status(found))
        return
    output.show(f"{found.name} {found.version} {found.address}")
    if found.coordinator:
        output.show(f"coordinator {found.coordinator}: {found.coordinator_problem or 'ok'}")
    if found.policy_problem:
        output.show(f"policy: {found.policy_problem}")
    table = Table("product", "epoch", "ends", "serving", "building", "sessions", "restarts", "problem")
    for one in found.products:
        product = one.product
        table.add_row(
            product.name,
            str(product.epoch),
            product.epoch_ends,
            "yes" if product.serving else "no",
            str(one.building or ""),
            str(one.sessions),
            str(one.restarts),
            product.problem,
        )
    output.console().print(table)
    if found.jobs:
        table = Table("job", "operator", "scenario", "requester", "state", "stage", "done")
        for job in found.jobs:
            done = f"{job.done:,} of {job.total:,}" if job.total else ""
            table.add_row(job.id, job.operator, job.scenario, job.requester, job.state, job.stage, done)
        output.console().print(table)


def _status(found: node_pb2.NodeStatus) -> dict[str, object]:
    return {
        "name": found.name,
        "version": found.version,
        "address": found.address,
        "coordinator": found.coordinator,
        "coordinator_problem": found.coordinator_problem,
        "policy_problem": found.policy_problem,
        "products": [
            {
                "name": one.product.name,
                "epoch": one.product.epoch,
                "epoch_ends": one.product.epoch_ends,
                "serving": one.product.serving,
                "problem": one.product.problem,
                "building": one.building,
                "sessions": one.sessions,
                "restarts": one.restarts,
                "pid": one.pid,
            }
            for one in found.products
        ],
        "jobs": [
            {
                "id": job.id,
                "operator": job.operator,
                "scenario": job.scenario,
                "requester": job.requester,
                "state": job.state,
                "pid": job.pid,
                "stage": job.stage,
                "done": job.done,
                "total": job.total,
            }
            for job in found.jobs
        ],
    }


def _control(home: Path) -> Client:
    return Client.unix(Home(home).socket(services.CONTROL_SOCKET))


@app.command()
@output.handled
def preflight(home: HomeOption, as_json: Json = False) -> None:
    """Check everything that a node needs before it serves, and name the remedy of what is missing. Exit code 2 if any
    is.

    Example: [bold]unseen node preflight --home civil-affairs[/bold]
    """
    from unseen.node import preflight as checks  # reads data sets, and takes as long to import

    found = checks.run(Home(home))
    failed = [check for check in found if not check.ok]
    if as_json:
        output.show_json({"ok": not failed, "checks": [_check(check) for check in found]})
    else:
        for check in found:
            output.show(f"{'✓' if check.ok else '✗'} {check.name}: {check.found}")
            if check.remedy:
                output.show(f"    {check.remedy}")
        last = _NOT_READY if failed else _READY
        output.show(output.text(last, count=len(failed), total=len(found)))
    if failed:
        raise typer.Exit(2)


def _check(check: Check) -> dict[str, object]:
    return {"name": check.name, "ok": check.ok, "found": check.found, "remedy": check.remedy}
