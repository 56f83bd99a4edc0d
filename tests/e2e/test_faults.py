"""What goes wrong in the life of a node: each time a clear error, nothing lost, and the rest goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
from pathlib import Path

import psutil
import pytest

from mpc.errors import ChannelClosed, CheatingDetected, MpcError, PolicyError
from tests.e2e.town import (
    BANK,
    COORDINATOR,
    NODE,
    PLATFORM,
    PRODUCT,
    Town,
    add_coordinator,
    free_port,
    kill,
    product_toml,
    resident_id,
    rule_toml,
    until,
)
from tests.governance.world import renew
from unseen.asker import Verdict
from unseen.governance import ca, documents
from unseen.governance.documents import Signed, to_base64
from unseen.governance.enrolment import Identity
from unseen.governance.manifest import Manifest, Pins
from unseen.home import Home
from unseen.node import registrar

pytestmark = pytest.mark.e2e

OTHER = "other-product"


def code(verdict: Verdict) -> str:
    return "" if verdict.refusal is None else verdict.refusal.code


def two_products(town: Town, **options: str) -> None:
    town.write_node(products=product_toml() + product_toml(OTHER, consent=False), policy=rule_toml() + rule_toml(OTHER))


# Revocation -----------------------------------------------------------------------------------------------------------


def test_a_revoked_party_is_cut_off_and_stays_out(town: Town) -> None:
    coordinator = add_coordinator(town)
    town.write_node(coordinator=coordinator.address)
    node = town.start_node()
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].label == "married"
        ca.revoke(town.world.ca, name=BANK)
        # The coordinator reads the CA's list, the node fetches it at the next heartbeat and ends the session.
        until(lambda: "sessions were cut" in node.log_text())
        with pytest.raises(MpcError) as caught:
            connected.verify(town.consents([4]))
        assert "revoked" in str(caught.value)
    with pytest.raises(PolicyError) as refused:
        town.connect(node)
    assert refused.value.code == "certificate-revoked"


def test_a_renewed_node_goes_on_serving_and_is_known_by_its_old_key_s_word(town: Town) -> None:
    node = town.start_node()
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].answered
    before = Identity.load(town.root / NODE).signing_key
    renew(town.world, NODE)
    assert Identity.load(town.root / NODE).signing_key != before
    time.sleep(1.0)  # until the processes look at their identity again
    town.rotate()
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].label == "married"
    pins = Pins(town.home(BANK).pins, trust=town.world.identity(BANK).trust(), suite="intl")
    assert pins.pinned_key(NODE) == Identity.load(town.root / NODE).signing_key


# The manifest log -----------------------------------------------------------------------------------------------------


def test_a_node_that_signs_two_manifests_is_found_out(town: Town, tmp_path: Path) -> None:
    coordinator = add_coordinator(town)
    town.write_node(coordinator=coordinator.address)
    # The same node with the same keys, at another place, builds another table for the same epoch.
    shutil.copytree(town.root / NODE, town.root / "twin", symlinks=True)
    Home(town.root / "twin").node_toml.write_text(f'listen = "127.0.0.1:0"\n{product_toml()}')
    honest, twin = town.start_node(), town.start_node("twin")
    with town.connect(honest, coordinator=coordinator) as connected:
        assert connected.warnings == ()
    shutil.rmtree(town.home(BANK).pins)  # another asker, that has seen neither
    with pytest.raises(CheatingDetected, match="two different manifests for epoch 1") as caught:
        town.connect(twin, coordinator=coordinator)
    assert caught.value.party == NODE
    (evidence,) = Pins(town.home(BANK).pins, trust=town.world.identity(BANK).trust(), suite="intl").evidence()
    both = json.loads(evidence.read_text())
    assert {both["first"]["document"], both["second"]["document"]} == {
        town.manifest().document.decode(),
        town.manifest(name="twin").document.decode(),
    }
    at = f"{COORDINATOR}@{coordinator.address}"
    shown = json.loads(
        town.run("coordinator", "evidence", "--home", str(town.root / BANK), "--coordinator", at, "--json").stdout
    )
    (contradiction,) = shown["contradictions"]
    assert (contradiction["node"], contradiction["epoch"], contradiction["shown_by"]) == (NODE, 1, BANK)


def test_the_coordinator_takes_no_manifest_that_the_node_did_not_sign(town: Town) -> None:
    coordinator = add_coordinator(town)
    town.write_node(coordinator=coordinator.address)
    town.start_node()
    bank = town.world.identity(BANK)
    genuine = town.manifest()
    forged = documents.parse(genuine.document, Manifest).model_copy(update={"table_hash": to_base64(bytes(32))})
    by_bank = documents.sign(forged, bank.signer)
    with registrar.connect(bank, peer=COORDINATOR, address=coordinator.address) as client:
        from unseen import services

        for signed in (by_bank, Signed(by_bank.document, by_bank.signature, NODE, by_bank.certificate)):
            with pytest.raises(PolicyError):
                client.call(services.SHOW_MANIFEST, services.manifest_to_wire(signed))
        assert client.call(services.SHOW_MANIFEST, services.manifest_to_wire(genuine)).same


def test_products_serve_while_the_coordinator_is_down(town: Town) -> None:
    coordinator = add_coordinator(town)
    town.write_node(coordinator=coordinator.address)
    node = town.start_node()
    until(lambda: town.status().coordinator_problem == "")
    coordinator.kill()
    with town.connect(node, coordinator=coordinator) as connected:
        assert any("not compared" in text for text in connected.warnings)
        assert connected.verify(town.consents([3]))[0].label == "married"
    until(lambda: "cannot be reached" in town.status().coordinator_problem)


# Processes that die ---------------------------------------------------------------------------------------------------


def test_a_killed_product_is_restarted_and_the_others_do_not_notice(town: Town) -> None:
    two_products(town)
    node = town.start_node(wait_for=(PRODUCT, OTHER))
    with town.connect(node) as hit, town.connect(node, OTHER) as bystander:
        (consent,) = town.consents([3])
        assert hit.verify([consent])[0].answered
        kill(town.product_status().pid)
        with pytest.raises(ChannelClosed):
            hit.verify(town.consents([6]))
        assert bystander.verify_keys([(resident_id(6),)])[0].label == "married"
        until(lambda: town.product_status().product.serving and town.product_status().restarts == 1)
        assert town.product_status(OTHER).restarts == 0
        with town.connect(node) as again:
            # The nonce was burnt before the reply, on disk: the same consent gives the same answer, and no second bill.
            billed = town.verify_log().billed
            assert again.verify([consent])[0].label == "married"
            assert town.verify_log().billed == billed
        assert bystander.verify_keys([(resident_id(9),)])[0].label == "married"


def test_no_child_outlives_its_node(town: Town) -> None:
    node = town.start_node()
    children = psutil.Process(node.popen.pid).children(recursive=True)
    assert children
    node.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    town.start_node()  # nothing is left that would be in the way
    assert town.verify_log().last_entry > 0


def test_sigterm_ends_everything_in_order(town: Town) -> None:
    node = town.start_node()
    children = psutil.Process(node.popen.pid).children(recursive=True)
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].answered
        assert node.terminate() == 0
        with pytest.raises(MpcError, match="stopping"):
            connected.verify(town.consents([6]))
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert not list(town.home(NODE).run().glob("*.sock"))
    assert "Traceback" not in node.log_text()


def test_two_nodes_do_not_share_a_home_or_a_port(town: Town) -> None:
    port = free_port()
    town.write_node(listen=f"127.0.0.1:{port}")
    town.start_node()
    done = town.run("node", "serve", "--home", str(town.root / NODE), check=False)
    assert done.returncode == 2
    assert "Stop that one" in done.stderr
    unneeded = shutil.ignore_patterns("run", "state")
    shutil.copytree(town.root / NODE, town.root / "copy", symlinks=True, ignore=unneeded)
    done = town.run("node", "serve", "--home", str(town.root / "copy"), check=False)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


# The ledger's disk ----------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_answers_and_nothing_else(town: Town) -> None:
    node = town.start_node()
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].answered
        pid = town.product_status().pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))  # no file may grow beyond its first byte
        (consent,) = town.consents([6])
        (verdict,) = connected.verify([consent])
        assert code(verdict) == "ledger-unavailable"
        assert not verdict.found
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        (verdict,) = connected.verify([consent])
        assert verdict.label == "married"
    assert town.product_status().restarts == 0
    # Entries: two evaluations; of the attempt between them there is nothing, since it could not be written.
    evaluations = [entry for entry in town.entries() if entry["kind"] == "evaluation"]
    assert [entry["result"] for entry in evaluations] == ["ok", "ok"]
    assert town.verify_log().billed == 2


# Clocks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("skew_s", "direction"), [(600, "ahead of"), (-600, "behind")])
def test_clocks_ten_minutes_apart_are_named_with_their_seconds(town: Town, skew_s: int, direction: str) -> None:
    skewed = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "skew"), str(Path(__file__).parents[2])]),
        "TEST_CLOCK_SKEW_S": str(skew_s),
    }
    town.write_node(products=product_toml(grace="1h", epoch="1h") + product_toml(OTHER, consent=False))
    town.home(NODE).policy_toml.write_text(rule_toml() + rule_toml(OTHER))
    node = town.start_node(wait_for=(PRODUCT, OTHER), env=skewed)
    if skew_s > 0:
        # The node's first epoch begins, by this machine's clock, in ten minutes.
        with pytest.raises(PolicyError, match=r"begins in (59\d|600) seconds") as caught:
            town.connect(node)
        assert caught.value.code == "manifest-not-yet-valid"
        assert "NTP" in caught.value.remedy
        return
    with town.connect(node) as connected:
        (warning,) = connected.warnings
        assert direction in warning
        assert any(600 <= int(word) <= 602 for word in warning.split() if word.isdigit())
        (verdict,) = connected.verify(town.consents([3]))
        assert code(verdict) == "consent-from-future"
        assert verdict.refusal is not None
        assert any(598 <= int(word) <= 602 for word in verdict.refusal.reason.split() if word.isdigit())


# Policy ---------------------------------------------------------------------------------------------------------------


def test_policy_is_read_again_and_a_broken_one_denies_all(town: Town) -> None:
    node = town.start_node()
    path = town.home(NODE).policy_toml
    good = path.read_text()
    with town.connect(node) as connected:

        def answer() -> str:
            return code(connected.verify(town.consents([3]))[0])

        assert answer() == ""
        path.write_text(good.replace('requester = "bank"', 'requster = "bank"'))
        until(lambda: answer() == "policy-denied")
        until(lambda: "requster" in town.status().policy_problem)
        with pytest.raises(PolicyError):
            town.connect(node)
        path.write_text(good)
        until(lambda: answer() == "")
        path.unlink()
        until(lambda: answer() == "policy-denied")
    kinds = [entry["result"] for entry in town.entries() if entry["kind"] == "policy"]
    assert kinds == ["unreadable", "ok", "unreadable"]


# Data -----------------------------------------------------------------------------------------------------------------


def _problem(town: Town, wanted: str) -> None:
    until(lambda: wanted in town.product_status().product.problem)


def test_a_csv_with_a_byte_order_mark_is_read(town: Town) -> None:
    path = town.root / NODE / "registry.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    node = town.start_node()
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].label == "married"


def test_wrong_data_are_named_and_the_old_epoch_goes_on(town: Town) -> None:
    path = town.root / NODE / "registry.csv"
    good = path.read_text()
    path.write_text(good + f"{resident_id(5)},married,x\n")
    node = town.start_node(wait_for=())
    _problem(town, "Rows 6 and 301 have the same key")
    assert not town.product_status().product.serving
    with pytest.raises(PolicyError) as caught:
        town.connect(node)
    assert caught.value.code == "epoch-not-ready"
    path.write_text(good)
    until(lambda: town.product_status().product.serving)
    assert town.product_status().product.problem == ""
    with town.connect(node) as connected:
        assert connected.verify(town.consents([3]))[0].label == "married"
        for wrong, problem in (
            (good + ",married,x\n", "row 301"),
            (good.replace("status", "state"), "no column 'status'"),
            (good + f"{resident_id(400)},widowed,x\n", "Row 301 has an answer without a code"),
        ):
            path.write_text(wrong)
            town.run("node", "rotate", PRODUCT, "--home", str(town.root / NODE))
            _problem(town, problem)
            assert town.product_status().product.serving
            assert resident_id(5) not in town.product_status().product.problem
            assert connected.verify(town.consents([3]))[0].label == "married"
            assert not list(town.home(NODE).product(PRODUCT).glob("building-*")) or town.product_status().building
        path.write_text(good)
        assert town.rotate() == 2


def test_settings_that_are_wrong_are_named_with_their_remedy(town: Town) -> None:
    path = town.home(NODE).node_toml
    good = path.read_text()
    for wrong, text in (
        (good.replace("requires_consent = true\n", ""), "requires_consent is missing; add it"),
        (good.replace("key_form", "keyform"), "unknown key product[1].keyform; did you mean 'key_form'?"),
        (good.replace('epoch = "1h"', 'epoch = "1 hour"'), 'such as "90s"'),
        (good.replace(f'consent_issuers = ["{PLATFORM}"]', ""), "name who may issue consents"),
        (good + product_toml(), "two products are named"),
        (good + "[", "is not TOML"),
    ):
        path.write_text(wrong)
        done = town.run("node", "serve", "--home", str(town.root / NODE), check=False)
        assert done.returncode == 2
        assert text in " ".join(done.stderr.split())
