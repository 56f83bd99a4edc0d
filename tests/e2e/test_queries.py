"""Queries against a running node: right answers, and for each wrong thing the refusal that names it, in one town."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mpc.data.identifiers import InvalidIdentifier
from mpc.errors import ChannelError, MpcError, PolicyError, UsageError
from mpc.transport import grpc as transport
from mpc.transport.grpc import Credentials
from tests.e2e.town import (
    BANK,
    NODE,
    PLATFORM,
    PRODUCT,
    SCENARIO,
    Process,
    Town,
    add_coordinator,
    enrol,
    married,
    product_toml,
    resident_id,
    rule_toml,
    town,
)
from tests.governance.world import make_world
from unseen import asker
from unseen.asker import Asker, Verdict
from unseen.governance.consent import write_handover
from unseen.governance.documents import utc_now
from unseen.governance.enrolment import Identity

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.e2e

COUPLES, HEALTH = "couples", "health-certificate"
MORE_PRODUCTS = f"""
[[product]]
name = "{COUPLES}"
key_form = "resident-id"
requires_consent = true
consent_issuers = ["{PLATFORM}"]
[product.data]
name = "couples"
source = "couples.csv"
keys = ["one", "other"]
answer = "since"
codes = {{ "2001" = 1, "2002" = 2 }}

[[product]]
name = "{HEALTH}"
key_form = "text"
requires_consent = false
answer_bytes = 8
default_answer = "none"
[product.data]
name = "health"
source = "health.parquet"
keys = ["card"]
answer = "grade"
"""


def more_rules() -> str:
    couples = rule_toml(COUPLES).replace('data_set = "registry"', 'data_set = "couples"')
    couples = couples.replace('columns = ["id", "status"]', 'columns = ["one", "other", "since"]')
    health = rule_toml(HEALTH, more="calls_per_day = 5").replace('data_set = "registry"', 'data_set = "health"')
    health = health.replace('columns = ["id", "status"]', 'columns = ["card", "grade"]')
    health = health.replace(f'consent_issuers = ["{PLATFORM}"]', "consent_issuers = []")
    other = rule_toml(requester="insurer")
    return couples + health + other


@dataclass
class Busy:
    town: Town
    node: Process
    coordinator: Process


@pytest.fixture(name="busy", scope="module")
def _busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with town(tmp_path_factory.mktemp("town")) as made:
        coordinator = add_coordinator(made)
        home = made.root / NODE
        (home / "couples.csv").write_text(
            f"one,other,since\n{resident_id(0)},{resident_id(3)},2001\n{resident_id(6)},{resident_id(9)},2002\n"
        )
        _write_parquet(home / "health.parquet")
        made.write_node(
            products=product_toml() + MORE_PRODUCTS, policy=rule_toml() + more_rules(), coordinator=coordinator.address
        )
        node = made.start_node(wait_for=(PRODUCT, COUPLES, HEALTH))
        yield Busy(made, node, coordinator)


def _write_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"card": ["H-1", "H-2", "H-3"], "grade": ["A", "none", "卫生"]}), path)


@pytest.fixture(name="bank", scope="module")
def _bank(busy: Busy) -> Iterator[Asker]:
    with busy.town.connect(busy.node, coordinator=busy.coordinator) as connected:
        assert connected.warnings == ()
        yield connected


def refused(verdict: Verdict) -> str:
    assert not verdict.answered
    assert verdict.label is None
    assert verdict.refusal is not None
    return verdict.refusal.code


# Right answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_code_in_the_readme_runs_as_it_stands_there(
    page: str, busy: Busy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "bank").symlink_to(busy.town.root / BANK)
    write_handover(tmp_path / "consents.jsonl", busy.town.consents([0, 1, 2]))
    monkeypatch.chdir(tmp_path)
    exec(code.replace("civil-affairs@10.0.0.7:7700", f"{NODE}@{busy.node.address}"), {})
    assert capsys.readouterr().out.split() == ["married" if married(number) else "unmarried" for number in range(3)]


def test_every_answer_is_the_registry_s(busy: Busy, bank: Asker) -> None:
    people = [*range(0, 300, 3), 1, 2, 4, 700, 701]
    verdicts = bank.verify(busy.town.consents(people))
    for number, verdict in zip(people, verdicts, strict=True):
        assert verdict.answered
        assert verdict.found == (number < 300)
        assert verdict.label == (("married" if married(number) else "unmarried") if number < 300 else None)


def test_a_pair_is_found_in_either_order_and_only_together(busy: Busy) -> None:
    manifest = busy.town.manifest(product=COUPLES)
    consents = busy.town.consents([(0, 3), (9, 6), (0, 6)], manifest=manifest)
    with busy.town.connect(busy.node, COUPLES) as connected:
        together, reversed_, strangers = connected.verify(consents)
    assert (together.label, reversed_.label) == ("2001", "2002")
    assert strangers.answered
    assert not strangers.found


def test_a_pair_needs_the_consent_of_both(busy: Busy) -> None:
    (consent,) = busy.town.consents([(0, 3)], manifest=busy.town.manifest(product=COUPLES))
    with busy.town.connect(busy.node, COUPLES) as connected:
        for tokens in (consent.tokens[:1], consent.tokens[1:], consent.tokens[:1] * 2):
            (verdict,) = connected.verify([replace(consent, tokens=tokens)])
            assert refused(verdict) == "consent-parts-incomplete"


def test_absent_and_default_are_one_and_the_day_s_quota_ends(busy: Busy) -> None:
    with busy.town.connect(busy.node, HEALTH) as connected:
        verdicts = connected.verify_keys([("H-1",), ("H-2",), ("H-3",), ("nobody",)])
        assert [verdict.label for verdict in verdicts] == ["A", "none", "卫生", "none"]
        assert all(verdict.found for verdict in verdicts)
        fifth, sixth = connected.verify_keys([("H-1",), ("H-1",)])
        assert fifth.answered
        assert refused(sixth) == "quota-exceeded"


def test_a_lost_reply_costs_nothing(busy: Busy, bank: Asker) -> None:
    consents = busy.town.consents([12])
    (first,) = bank.verify(consents)
    billed = busy.town.verify_log().billed
    (second,) = bank.verify(consents)
    with busy.town.connect(busy.node) as another:
        (third,) = another.verify(consents)
    assert first.label == second.label == third.label == "married"
    assert busy.town.verify_log().billed == billed


# Consents -------------------------------------------------------------------------------------------------------------


def test_a_used_consent_permits_no_other_key(busy: Busy, bank: Asker) -> None:
    one, other = busy.town.consents([15, 16])
    assert bank.verify([one])[0].answered
    # The token of person 15 for the element of person 16: the element does not fit; neither does the blind.
    (verdict,) = bank.verify([replace(other, tokens=one.tokens)])
    assert refused(verdict) == "consent-blinded-mismatch"


def test_expired_and_future_consents_are_refused_with_the_seconds(busy: Busy, bank: Asker) -> None:
    # Issued 100 seconds ago, on a platform whose clock is right, and good for 50.
    (late,) = busy.town.consents([1], now=utc_now() - timedelta(seconds=100), lifetime=timedelta(seconds=50))
    (early,) = busy.town.consents([1], now=utc_now() + timedelta(minutes=10))
    (verdict,) = bank.verify([late])
    assert refused(verdict) == "consent-expired"
    (verdict,) = bank.verify([early])
    assert refused(verdict) == "consent-from-future"
    assert verdict.refusal is not None
    assert any(word.isdigit() and 590 <= int(word) <= 600 for word in verdict.refusal.reason.split())
    assert "NTP" in verdict.refusal.remedy


def test_foreign_consents_are_refused(busy: Busy, bank: Asker) -> None:
    made = busy.town
    for consent, code in (
        (made.consents([1], requester="insurer")[0], "consent-wrong-requester"),
        (made.consents([1], scenario="other-scenario")[0], "consent-wrong-scenario"),
        (made.consents([1], issuer=BANK)[0], "consent-wrong-issuer"),
        (made.consents([1], manifest=made.manifest(product=PRODUCT))[0], ""),
    ):
        (verdict,) = bank.verify([consent])
        assert ("" if verdict.answered else refused(verdict)) == code


def test_a_changed_consent_is_refused(busy: Busy, bank: Asker) -> None:
    (consent,) = busy.town.consents([1])
    (token,) = consent.tokens
    flipped = bytes([token.signature[0] ^ 1]) + token.signature[1:]
    (verdict,) = bank.verify([replace(consent, tokens=(replace(token, signature=flipped),))])
    assert refused(verdict) == "consent-bad-signature"
    later = token.document.replace(b'"expires_at":"2', b'"expires_at":"3')
    (verdict,) = bank.verify([replace(consent, tokens=(replace(token, document=later),))])
    assert refused(verdict) == "consent-bad-signature"


def test_one_bad_consent_in_a_batch_spoils_no_other(busy: Busy, bank: Asker) -> None:
    consents = busy.town.consents(list(range(20, 50)))
    consents[7] = busy.town.consents([27], requester="insurer")[0]
    verdicts = bank.verify(consents, batch=10)
    assert [index for index, verdict in enumerate(verdicts) if not verdict.answered] == [7]
    assert refused(verdicts[7]) == "consent-wrong-requester"
    assert [v.label for v in verdicts[8:]] == ["married" if married(n) else "unmarried" for n in range(28, 50)]


def test_every_refusal_is_in_the_log_without_a_word_about_whom(busy: Busy, bank: Asker) -> None:
    before = len(busy.town.entries())
    bank.verify(busy.town.consents([1], requester="insurer"))
    (entry,) = busy.town.entries()[before:]
    assert (entry["kind"], entry["result"], entry["requester"]) == ("refusal", "consent-wrong-requester", BANK)
    text = (busy.town.root / NODE / "state" / "ledger.db").read_bytes()
    for number in range(300):
        assert resident_id(number).encode() not in text


# The door -------------------------------------------------------------------------------------------------------------


def test_an_unknown_product_is_named(busy: Busy) -> None:
    with pytest.raises(PolicyError, match="no product 'marrage-status'.*it has: marriage-status") as caught:
        busy.town.connect(busy.node, "marrage-status")
    assert caught.value.code == "product-unknown"


def test_a_malformed_id_is_caught_before_anything_is_sent(busy: Busy, bank: Asker) -> None:
    (consent,) = busy.town.consents([1])
    before = bank.traffic.messages_sent
    with pytest.raises(InvalidIdentifier, match="check") as caught:
        bank.verify([replace(consent, key=("110105194912310021",))])
    assert "110105194912310021" not in str(caught.value)
    assert bank.traffic.messages_sent == before


def test_without_a_rule_nobody_gets_in_and_nobody_is_told_why(busy: Busy) -> None:
    identity = Identity.load(busy.town.root / PLATFORM)
    with pytest.raises(PolicyError) as caught:
        _session(busy, identity, product=PRODUCT, scenario=SCENARIO)
    assert caught.value.code == "policy-denied"
    assert "insurer" not in str(caught.value)
    assert "bank" not in str(caught.value)
    with pytest.raises(PolicyError) as caught:
        busy.town.connect(busy.node, scenario="another-scenario")
    assert caught.value.code == "policy-denied"
    assert busy.town.entries()[-1]["result"] == "policy-denied"
    assert "no rule allows it" in busy.node.log_text()


def _session(busy: Busy, identity: Identity, *, product: str, scenario: str) -> None:
    from unseen.hello import lookup_hello

    transport.connect(
        busy.node.address,
        me=identity.name,
        peer=NODE,
        hello=lookup_hello(session="1", product=product, scenario=scenario, suite="intl"),
        credentials=Credentials(identity.name, identity.tls_key, identity.tls_certificate, identity.root),
    ).close()


def test_a_certificate_of_another_ca_opens_nothing(busy: Busy, tmp_path: Path) -> None:
    make_world(tmp_path, BANK)
    with pytest.raises((ChannelError, MpcError)) as caught:
        asker.connect(tmp_path / BANK, PRODUCT, node=f"{NODE}@{busy.node.address}")
    assert "certificate" in str(caught.value).lower() or "reached" in str(caught.value)


def test_a_node_cannot_pass_for_another(busy: Busy) -> None:
    with pytest.raises(MpcError):
        asker.connect(busy.town.root / BANK, PRODUCT, node=f"tax@{busy.node.address}")


def test_the_node_tells_each_party_its_own_terms(busy: Busy) -> None:
    place = asker.Place(NODE, busy.node.address)
    bank = asker.describe(Identity.load(busy.town.root / BANK), place)
    platform = asker.describe(Identity.load(busy.town.root / PLATFORM), place)
    assert [product.name for product in bank.products] == [PRODUCT, COUPLES, HEALTH]
    assert [term.scenario for term in bank.products[0].terms] == [SCENARIO]
    assert bank.products[2].terms[0].calls_per_day == 5
    assert not any(product.terms for product in platform.products)


def test_health_and_reflection(busy: Busy) -> None:
    identity = Identity.load(busy.town.root / BANK)
    credentials = Credentials(BANK, identity.tls_key, identity.tls_certificate, identity.root)
    with transport.open_channel(busy.node.address, NODE, credentials) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", PRODUCT, COUPLES, HEALTH):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (reply,) = reflection.ServerReflectionInfo(iter([request]), timeout=5)
        names = {service.name for service in reply.list_services_response.service}
        assert {"unseen.node.v1.Node", "unseen.wire.v1.Peer", "grpc.health.v1.Health"} <= names


def test_nobody_without_a_certificate_is_heard(busy: Busy) -> None:
    identity = Identity.load(busy.town.root / BANK)
    credentials = grpc.ssl_channel_credentials(identity.root)
    options = [("grpc.ssl_target_name_override", f"{NODE}.party.unseen")]
    with grpc.secure_channel(busy.node.address, credentials, options=options) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


# The coordinator ------------------------------------------------------------------------------------------------------


def test_the_coordinator_finds_the_node(busy: Busy) -> None:
    at = f"coordinator@{busy.coordinator.address}"
    with asker.connect(busy.town.root / BANK, PRODUCT, coordinator_at=at) as connected:
        assert connected.node == NODE
        assert connected.verify(busy.town.consents([3]))[0].label == "married"
    with pytest.raises(UsageError, match="nobody offers no product|nobody offers"):
        asker.connect(busy.town.root / BANK, "nothing", coordinator_at=at)


def test_parties_are_named_by_their_certificates(busy: Busy) -> None:
    enrol(busy.town.world, "stranger")
    found = busy.town.run("coordinator", "parties", "--home", str(busy.town.root / "stranger"), "--json",
                          "--coordinator", f"coordinator@{busy.coordinator.address}").stdout  # fmt: skip
    assert f'"name": "{NODE}"' in found
    assert "stranger" not in found
