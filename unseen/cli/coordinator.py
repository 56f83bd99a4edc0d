"""``unseen coordinator``: serve one, and look at what it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mpc.wire.coordinator.v1 import coordinator_pb2
from unseen import asker, process, services
from unseen.cli import output
from unseen.cli.output import Json, Message
from unseen.coordinator import server as coordinator
from unseen.governance.documents import digest, parse, to_base64, to_json
from unseen.governance.enrolment import Identity
from unseen.governance.manifest import Manifest
from unseen.home import Home
from unseen.node import registrar

app = typer.Typer(
    no_args_is_help=True,
    help="The coordinator: who is there, what they offer, and which manifest was seen first.",
    rich_markup_mode="rich",
)

HomeOption = Annotated[Path, typer.Option("--home", help="Home of the party that asks, or of the coordinator itself.")]
At = Annotated[str, typer.Option("--coordinator", help="The coordinator: name@host:port.")]

_SERVING = Message("{name} coordinates at {address}.", "协调方 {name} 已在 {address} 启动。")
_NONE = Message("No contradictions.", "未发现相互矛盾的清单。")
_CHEATING = Message(
    "{node} signed two manifests for epoch {epoch} of {product}; {shown_by} showed the second.",
    "{node} 为 {product} 第 {epoch} 期签署了两份不同的清单；第二份由 {shown_by} 出示。",
)


@app.command()
@output.handled
def serve(
    home: Annotated[Path, typer.Option("--home", help="Home of the coordinator, with coordinator.toml.")],
    as_json: Json = False,
) -> None:
    """Run the coordinator until SIGTERM or Ctrl-C.

    Example: [bold]unseen coordinator serve --home coordinator[/bold]
    """
    process.log_to_stderr("coordinator")

    def ready(name: str, address: str) -> None:
        if as_json:
            output.show_json({"name": name, "address": address})
        else:
            output.show(output.text(_SERVING, name=name, address=address))

    coordinator.serve(Home(home), ready=ready)


@app.command()
@output.handled
def parties(home: HomeOption, at: At, as_json: Json = False) -> None:
    """List the parties that announced themselves, and their products.

    Example: [bold]unseen coordinator parties --home bank --coordinator coordinator@10.0.0.5:7600[/bold]
    """
    found = asker.directory(Home(home), Identity.load(home), at)
    if as_json:
        output.show_json({"time_ms": found.time_ms, "parties": [_party(party) for party in found.parties]})
        return
    table = Table("party", "address", "alive", "seen", "product", "epoch", "serving", "problem")
    for party in found.parties:
        seen = f"{max(0, found.time_ms - party.seen_ms) / 1000:.0f} s"
        first = (party.name, party.address, "yes" if party.alive else "no", seen)
        for row, product in enumerate(party.products):
            state = (product.name, str(product.epoch), "yes" if product.serving else "no", product.problem)
            table.add_row(*(first if row == 0 else ("", "", "", "")), *state)
        if not party.products:
            table.add_row(*first, "", "", "", "")
    output.console().print(table)


@app.command()
@output.handled
def evidence(home: HomeOption, at: At, as_json: Json = False) -> None:
    """List nodes that signed two manifests for one epoch, with both documents.

    Example: [bold]unseen coordinator evidence --home bank --coordinator coordinator@10.0.0.5:7600 --json[/bold]
    """
    name, address = asker.split(at)
    with registrar.connect(Identity.load(home), peer=name, address=address) as client:
        found = client.call(services.LIST_EVIDENCE, coordinator_pb2.ListEvidenceRequest()).contradictions
    if as_json:
        output.show_json({"contradictions": [_contradiction(one) for one in found]})
        return
    for one in found:
        fields = {"node": one.node, "epoch": one.epoch, "product": one.product, "shown_by": one.shown_by}
        output.show(output.text(_CHEATING, **fields))
        for manifest in (one.first, one.other):
            signed = services.manifest_from_wire(manifest)
            suite = parse(signed.document, Manifest).suite
            output.show(f"  {to_base64(digest(signed, suite=suite))}")
    if not found:
        output.show(output.text(_NONE))


def _party(party: coordinator_pb2.Party) -> dict[str, object]:
    return {
        "name": party.name,
        "address": party.address,
        "version": party.version,
        "alive": party.alive,
        "seen_ms": party.seen_ms,
        "products": [
            {
                "name": product.name,
                "operator": f"{product.operator} {product.operator_version}",
                "suite": product.suite,
                "key_form": product.key_form,
                "epoch": product.epoch,
                "serving": product.serving,
                "problem": product.problem,
            }
            for product in party.products
        ],
    }


def _contradiction(one: coordinator_pb2.Contradiction) -> dict[str, object]:
    return {
        "node": one.node,
        "product": one.product,
        "epoch": one.epoch,
        "shown_by": one.shown_by,
        "shown_ms": one.shown_ms,
        "first": to_json(services.manifest_from_wire(one.first)),
        "other": to_json(services.manifest_from_wire(one.other)),
    }
