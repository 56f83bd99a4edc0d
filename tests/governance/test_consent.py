"""Consents: each way in which one can be wrong has its code."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mpc import suite as suites
from mpc.data import identifiers
from mpc.errors import PolicyError, UsageError
from mpc.kernels import oprf
from mpc.kernels.oprf import Mode
from protocols.lookup import table as lookup
from tests.governance.world import (
    BANK,
    NODE,
    NOW,
    PLATFORM,
    PRODUCT,
    SCENARIO,
    World,
    consent_by,
    enrol,
    flipped,
    make_world,
    manifest,
    resigned,
)
from unseen.governance import consent, documents, issuing
from unseen.governance.consent import CheckedConsent, Consent, Issued
from unseen.governance.documents import Signed, from_base64
from unseen.governance.trust import Trust

B = bytes(range(32))


def check(
    tokens: Sequence[Signed],
    trust: Trust,
    *,
    blinded: bytes = B,
    node: str = NODE,
    product: str = PRODUCT,
    requester: str = BANK,
    scenarios: Collection[str] = (SCENARIO,),
    epochs: Collection[int] = (6, 7),
    issuers: Collection[str] = (PLATFORM,),
    suite: str = "intl",
    now: datetime = NOW,
) -> CheckedConsent:
    return consent.check(
        tokens,
        blinded=blinded,
        node=node,
        product=product,
        requester=requester,
        scenarios=scenarios,
        epochs=epochs,
        issuers=issuers,
        suite=suite,
        trust=trust,
        now=now,
    )


def code_of(tokens: Sequence[Signed], trust: Trust, **options: object) -> str:
    with pytest.raises(PolicyError) as refusal:
        check(tokens, trust, **options)  # type: ignore[arg-type]  # each test names the right options
    assert refusal.value.remedy
    return refusal.value.code


@pytest.fixture(scope="module")
def single(world: World) -> Issued:
    return consent_by(world.identity(PLATFORM), blinded=B)


@pytest.fixture(scope="module")
def couple(world: World) -> Issued:
    return consent_by(world.identity(PLATFORM), blinded=B, keys=("a", "b"))


def test_a_good_consent_says_what_may_be_evaluated(single: Issued, trust: Trust) -> None:
    found = check(single.tokens, trust)
    document = documents.parse(single.tokens[0].document, Consent)
    assert found == CheckedConsent(
        node=NODE,
        product=PRODUCT,
        scenario=SCENARIO,
        requester=BANK,
        epoch=7,
        suite="intl",
        blinded=B,
        nonces=(int((NOW + timedelta(minutes=10)).timestamp()).to_bytes(8, "big") + from_base64(document.nonce),),
        issuers=(PLATFORM,),
        digests=(documents.digest(single.tokens[0], suite="intl"),),
        expires=NOW + timedelta(minutes=10),
    )


def test_a_consent_names_no_subject() -> None:
    assert set(Consent.model_fields) == {
        *("type", "suite", "issuer", "node", "product", "scenario", "requester", "epoch"),
        *("blinded", "nonce", "part", "parts", "issued_at", "expires_at"),
    }


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"node": "tax"}, "consent-wrong-node"),
        ({"product": "income-grade"}, "consent-wrong-product"),
        ({"requester": "insurer"}, "consent-wrong-requester"),
        ({"scenarios": ("hiring",)}, "consent-wrong-scenario"),
        ({"scenarios": ()}, "consent-wrong-scenario"),
        ({"epochs": (8,)}, "consent-wrong-epoch"),
        ({"epochs": ()}, "consent-wrong-epoch"),
        ({"issuers": ("other",)}, "consent-wrong-issuer"),
        ({"suite": "gm"}, "consent-wrong-suite"),
        ({"blinded": bytes(32)}, "consent-blinded-mismatch"),
        ({"blinded": B[:31]}, "consent-blinded-mismatch"),
        ({"now": NOW + timedelta(minutes=10, seconds=1)}, "consent-expired"),
        ({"now": NOW - timedelta(seconds=121)}, "consent-from-future"),
    ],
)
def test_each_wrong_word_has_its_code(single: Issued, trust: Trust, options: dict[str, object], code: str) -> None:
    assert code_of(single.tokens, trust, **options) == code


def test_clocks_may_differ_a_little_and_the_refusal_says_by_how_much(single: Issued, trust: Trust) -> None:
    check(single.tokens, trust, now=NOW - timedelta(seconds=120))
    check(single.tokens, trust, now=NOW + timedelta(minutes=10))
    with pytest.raises(PolicyError, match=r"600 seconds in this node's future .* clocks \(NTP\)"):
        check(single.tokens, trust, now=NOW - timedelta(minutes=10))
    with pytest.raises(PolicyError, match="expired 30 seconds ago"):
        check(single.tokens, trust, now=NOW + timedelta(minutes=10, seconds=30))


def test_a_changed_signature_or_document_is_refused(single: Issued, trust: Trust) -> None:
    [token] = single.tokens
    assert code_of([resigned(token, signature=flipped(token.signature))], trust) == "consent-bad-signature"
    assert code_of([resigned(token, signature=b"")], trust) == "consent-bad-signature"
    forged = token.document.replace(b'"requester":"bank"', b'"requester":"tank"')
    assert code_of([resigned(token, document=forged)], trust, requester="tank") == "consent-bad-signature"


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\x00", b'{"type":"unseen.receipt.v1"}'])
def test_what_is_no_consent_is_malformed(single: Issued, trust: Trust, data: bytes) -> None:
    assert code_of([resigned(single.tokens[0], document=data)], trust) == "consent-malformed"
    spaced = single.tokens[0].document.replace(b",", b", ", 1)
    assert code_of([resigned(single.tokens[0], document=spaced)], trust) == "consent-malformed"


def test_a_consent_that_contradicts_itself_is_malformed(world: World, trust: Trust, single: Issued) -> None:
    signer = world.identity(PLATFORM).signer
    good = documents.parse(single.tokens[0].document, Consent)
    for change in ({"part": 2, "parts": 1}, {"expires_at": good.issued_at}):
        assert code_of([documents.sign(good.model_copy(update=change), signer)], trust) == "consent-malformed"


def test_only_a_trusted_platform_speaks_for_subjects(world: World, trust: Trust, tmp_path: Path) -> None:
    by_bank = consent_by(world.identity(BANK), blinded=B)
    assert code_of(by_bank.tokens, trust) == "consent-wrong-issuer"
    # The bank's signature under the platform's name, with either certificate.
    document = documents.parse(by_bank.tokens[0].document, Consent).model_copy(update={"issuer": PLATFORM})
    forged = documents.sign(document, world.identity(BANK).signer)
    assert code_of([forged], trust) == "consent-wrong-issuer"
    assert code_of([resigned(forged, signer=PLATFORM)], trust) == "certificate-wrong-name"
    certificate = world.identity(PLATFORM).signer.certificate
    assert code_of([resigned(forged, signer=PLATFORM, certificate=certificate)], trust) == "consent-bad-signature"
    stranger = enrol(make_world(tmp_path), PLATFORM, home=tmp_path / "stranger")
    assert code_of(consent_by(stranger, blinded=B).tokens, trust) == "certificate-untrusted"


def test_a_pair_needs_both_parts_of_one_consent(world: World, trust: Trust, couple: Issued) -> None:
    one, two = couple.tokens
    found = check([two, one], trust)
    assert len(set(found.nonces)) == 2
    assert found.digests == (documents.digest(one, suite="intl"), documents.digest(two, suite="intl"))
    single = consent_by(world.identity(PLATFORM), blinded=B).tokens[0]
    for tokens in ([], [one], [two], [one, one], [two, two], [single, single], [single, two], [one, two, two]):
        assert code_of(tokens, trust) == "consent-parts-incomplete"
    # One nonce for both subjects is one consent, not two.
    second = documents.parse(two.document, Consent)
    same = second.model_copy(update={"nonce": documents.parse(one.document, Consent).nonce})
    twice = documents.sign(same, world.identity(PLATFORM).signer)
    assert code_of([one, twice], trust) == "consent-parts-incomplete"
    # Two platforms, one subject each, over the same element.
    elsewhere = consent_by(world.identity(BANK), blinded=B, keys=("a", "b")).tokens[1]
    assert check([one, elsewhere], trust, issuers=(PLATFORM, BANK)).issuers == (PLATFORM, BANK)
    other_element = consent_by(world.identity(PLATFORM), keys=("a", "b")).tokens[1]
    assert code_of([one, other_element], trust) == "consent-blinded-mismatch"
    other_epoch = consent_by(world.identity(PLATFORM), blinded=B, keys=("a", "b"), epoch=6).tokens[1]
    assert code_of([one, other_epoch], trust) == "consent-parts-incomplete"


# Issuing and handing over -------------------------------------------------------------------------------------------

ID_A, ID_B = "11010519491231002X", "440524188001010014"


def test_what_the_platform_blinds_the_requester_can_recompute(world: World, trust: Trust) -> None:
    terms = manifest(epoch=7)
    keys = [(ID_A,), (ID_B,), (ID_A,)]
    issued = issuing.consent_for(
        world.identity(PLATFORM).signer, terms, keys=keys, scenario=SCENARIO, requester=BANK, now=NOW
    )
    canonical = identifiers.canonical_columns("resident-id", [key[0] for key in keys])
    inputs = lookup.query_inputs(canonical, product=PRODUCT, key_form="resident-id")
    blinds = np.stack([np.frombuffer(one.blind, dtype=np.uint8) for one in issued])
    blinded = oprf.blind(suites.get("intl").name, Mode.VOPRF, inputs, blinds)
    for one, element in zip(issued, blinded, strict=True):
        check(one.tokens, trust, blinded=element.tobytes())
    assert len({element.tobytes() for element in blinded}) == 3
    assert len({one.tokens[0].document for one in issued}) == 3


def test_consents_do_not_outlive_the_epoch(world: World) -> None:
    terms = manifest(epoch=7, start=NOW - timedelta(hours=24, minutes=55))
    [one] = issuing.consent_for(
        world.identity(PLATFORM).signer, terms, keys=[(ID_A,)], scenario=SCENARIO, requester=BANK, now=NOW
    )
    assert documents.parse(one.tokens[0].document, Consent).expires_at == terms.grace_until
    with pytest.raises(PolicyError, match="manifest-expired"):
        issuing.consent_for(
            world.identity(PLATFORM).signer,
            terms,
            keys=[(ID_A,)],
            scenario=SCENARIO,
            requester=BANK,
            now=NOW + timedelta(minutes=6),
        )


def test_keys_that_do_not_fit_are_named_by_row_and_not_by_value(world: World) -> None:
    signer = world.identity(PLATFORM).signer

    def issue(*keys: tuple[str, ...]) -> None:
        issuing.consent_for(signer, manifest(epoch=7), keys=keys, scenario=SCENARIO, requester=BANK)

    with pytest.raises(UsageError, match=r"[Rr]ow 2") as fault:
        issue((ID_A,), ("110105194912310021",))
    assert "110105194912310021" not in str(fault.value)
    with pytest.raises(UsageError, match=r"1 key\(s\) per query"):
        issue((ID_A, ID_B))
    assert issuing.consent_for(signer, manifest(epoch=7), keys=[], scenario=SCENARIO, requester=BANK) == []


def test_the_handover_file_is_private_and_comes_back(single: Issued, couple: Issued, tmp_path: Path) -> None:
    path = tmp_path / "consents.jsonl"
    consent.write_handover(path, [single, couple])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(consent.read_handover(path)) == [single, couple]
    with pytest.raises(UsageError, match="not overwritten"):
        consent.write_handover(path, [single])
    text = path.read_text()
    path.write_text(text + "{}\n")
    with pytest.raises(UsageError, match="line 3: not a consent"):
        list(consent.read_handover(path))
    with pytest.raises(UsageError, match="cannot read consents"):
        list(consent.read_handover(tmp_path / "nothing"))


def test_secrets_do_not_show(couple: Issued) -> None:
    shown = repr(replace(couple, key=("SECRET", "SECRET"), blind=os.urandom(32)))
    assert "SECRET" not in shown
    assert "blind=" not in shown
