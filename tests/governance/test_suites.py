"""The suite ``gm``: the same documents under SM2 and SM3; and no suite passes for another."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mpc.errors import PeerError, PolicyError, UsageError
from tests.governance.test_trust import mutations
from tests.governance.world import (
    BANK,
    NODE,
    NOW,
    PLATFORM,
    PRODUCT,
    SCENARIO,
    World,
    checked,
    consent_by,
    enrol,
    flipped,
    make_world,
    manifest,
    renew,
)
from unseen.governance import ca, consent, documents, enrolment, issuing, keys, ledger, sm2
from unseen.governance.consent import CheckedConsent, Issued
from unseen.governance.documents import Signed, from_base64, to_base64
from unseen.governance.ledger import Evaluation, Witness, open_ledger
from unseen.governance.manifest import Pins
from unseen.governance.receipt import issue_receipt, verify_receipt
from unseen.governance.sm2 import Sm2PrivateKey, Sm2PublicKey
from unseen.governance.trust import load_root, vouch


def refused(code: str) -> pytest.RaisesExc[PolicyError]:
    return pytest.RaisesExc(PolicyError, check=lambda error: error.code == code)


def sm3(data: bytes) -> bytes:
    """By OpenSSL."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


@pytest.fixture(scope="module")
def gm(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("gm"), NODE, BANK, PLATFORM, suite="gm")


@pytest.fixture
def own_gm(tmp_path: Path) -> World:
    return make_world(tmp_path, NODE, suite="gm")


# Keys and certificates ----------------------------------------------------------------------------------------------


def test_keys_are_read_as_they_were_written_and_no_other_way() -> None:
    key = Sm2PrivateKey.generate()
    public = key.public_key()
    assert Sm2PrivateKey.from_pem(key.to_pem()) == key
    assert Sm2PublicKey.from_spki(public.spki()) == public
    assert key.secret.hex() not in repr(key)
    for bad in mutations(public.spki()):
        with pytest.raises(ValueError, match="not|element"):
            Sm2PublicKey.from_spki(bad)
    on_p256 = keys.to_pem(ec.generate_private_key(ec.SECP256R1()))
    other = Sm2PrivateKey.generate().to_pem()
    mixed = key.to_pem()[:-90] + other[-90:]  # one key's number, and the end of another one's point
    for text in (on_p256, b"", key.to_pem()[:-30], key.to_pem().replace(b"PRIVATE", b"PUBLIC"), mixed):
        with pytest.raises(ValueError, match="not|padding|number|between"):
            Sm2PrivateKey.from_pem(text)


def test_a_certificate_is_an_ordinary_one_but_for_its_key(gm: World) -> None:
    identity = gm.identity(NODE)
    certificate = x509.load_der_x509_certificate(identity.signer.certificate)
    certificate.verify_directly_issued_by(load_root(identity.root))
    assert sm2.key_of(certificate) == identity.signer.key.public_key()
    vouched = vouch(identity.signer.certificate, root=load_root(identity.root))
    assert (vouched.name, vouched.kind, vouched.signing_key) == (NODE, "signing", identity.signer.key.public_key())
    assert ca.list_issued(gm.ca)[1].fingerprint == certificate.fingerprint(hashes.SHA256()).hex(":").upper()


# Some of these bytes make a serial number that is not positive, of which the other library warns before we refuse it.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_damaged_certificate_says_the_same_or_is_refused(gm: World) -> None:
    identity = gm.identity(BANK)
    root = load_root(identity.root)
    good = identity.signer.certificate
    says = vouch(good, root=root)
    for bad in mutations(good):
        try:
            assert vouch(bad, root=root) == says
        except PolicyError:
            continue


def test_a_damaged_bundle_is_none(own_gm: World, tmp_path: Path) -> None:
    request = enrolment.init_party(tmp_path / BANK, BANK, suite="gm")
    bundle = json.loads(ca.sign_request(own_gm.ca, request.path.read_bytes(), now=NOW).bundle)
    der = x509.load_pem_x509_certificate(bundle["signing_certificate"].encode()).public_bytes(Encoding.DER)
    point = der.index(sm2._SPKI) + len(sm2._SPKI)
    for bad in (flipped(der, bit=8 * (point + 5)), flipped(der, bit=8 * (point - 6))):  # off the curve; another curve
        pem = x509.load_der_x509_certificate(bad).public_bytes(Encoding.PEM).decode()
        with pytest.raises(UsageError, match="not a bundle"):
            enrolment.install_bundle(
                tmp_path / BANK, json.dumps({**bundle, "signing_certificate": pem}).encode(), now=NOW
            )


def test_a_damaged_request_does_not_prove_itself(tmp_path: Path) -> None:
    request = enrolment.init_party(tmp_path, BANK, suite="gm").path.read_bytes()
    assert enrolment.read_request(request).suite == "gm"
    spki = to_base64(enrolment.read_request(request).signing_key.spki())  # type: ignore[union-attr]  # of suite gm
    other = to_base64(Sm2PrivateKey.generate().public_key().spki())
    assert request.count(spki.encode()) == 1
    for key in (other, to_base64(flipped(from_base64(spki), bit=8 * 40))):
        with pytest.raises(UsageError, match="does not prove itself"):
            enrolment.read_request(request.replace(spki.encode(), key.encode()))


def test_renewal_continues_and_revocation_ends(own_gm: World, tmp_path: Path) -> None:
    old = own_gm.identity(NODE)
    pins = Pins(tmp_path / "pins", trust=old.trust(), suite="gm")
    first = documents.sign(manifest(epoch=1, suite="gm"), old.signer)
    pins.accept([first], node=NODE, product=PRODUCT)
    new = renew(own_gm, NODE)
    assert (new.suite, len(new.continuity)) == ("gm", 1)
    assert new.signing_key != old.signing_key
    second = documents.sign(manifest(epoch=2, previous=first, suite="gm"), new.signer)
    with refused("pin-mismatch"):
        pins.accept([second], node=NODE, product=PRODUCT)
    pins.accept([second], node=NODE, product=PRODUCT, continuity=new.continuity)
    assert pins.pinned_key(NODE) == new.signing_key

    ca.revoke(own_gm.ca, name=NODE, now=NOW)
    enrolment.update_crl(own_gm.home(NODE), (own_gm.ca / "crl.pem").read_bytes())
    with refused("certificate-revoked"):
        new.trust().signing_key(NODE, new.signer.certificate, suite="gm")


# Documents and the log ----------------------------------------------------------------------------------------------


def checked_consent(world: World, issued: Issued, *, suite: str = "gm") -> CheckedConsent:
    blinded = from_base64(documents.parse(issued.tokens[0].document, consent.Consent).blinded)
    return consent.check(
        issued.tokens,
        blinded=blinded,
        node=NODE,
        product=PRODUCT,
        requester=BANK,
        scenarios=(SCENARIO,),
        epochs=(7,),
        issuers=(PLATFORM,),
        suite=suite,
        trust=world.identity(NODE).trust(),
        now=NOW,
    )


def test_a_consent_permits_and_a_changed_one_does_not(gm: World) -> None:
    [couple] = [consent_by(gm.identity(PLATFORM), keys=("a", "b"))]
    found = checked_consent(gm, couple)
    assert (found.suite, len(found.blinded)) == ("gm", 33)
    assert found.digests == tuple(sm3(token.document) for token in couple.tokens)
    for bit in (0, 255, 511):
        forged = replace(couple.tokens[1], signature=flipped(couple.tokens[1].signature, bit=bit))
        with refused("consent-bad-signature"):
            checked_consent(gm, Issued(key=couple.key, tokens=(couple.tokens[0], forged), blind=couple.blind))


def test_the_log_is_chained_and_its_entries_are_named_by_sm3(gm: World, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    item = Evaluation(checked(suite="gm"), os.urandom(33), "lookup.table", 1)
    signer = gm.identity(NODE).signer
    with open_ledger(path, node=NODE, suite="gm") as log:
        outcomes = log.commit([item, item])
        receipt = issue_receipt(signer, outcomes, requester=BANK, product=PRODUCT, epoch=7)
    with open_ledger(path, node=NODE, suite="gm") as log:  # it is found as it was left
        assert log.head() == (2, outcomes[-1].head)
    head = bytes(32)
    for entry in ledger.entries(path):
        head = sm3(head + documents.canonical(entry))
    assert head == outcomes[-1].head
    genesis, entry, _ = ledger.entries(path)
    assert genesis["suite"] == "gm"
    assert entry["input"] == to_base64(sm3(item.consent.blinded))
    assert entry["output"] == to_base64(sm3(item.evaluated))
    read = verify_receipt(receipt, trust=gm.identity(BANK).trust(), node=NODE, suite="gm")
    assert ledger.verify(path, witnesses=[Witness(read.last_entry, from_base64(read.head))]).billed == 1
    with pytest.raises(UsageError, match="ledger is of suite gm, the node's identity of intl"):
        open_ledger(path, node=NODE)


def test_manifests_are_linked_by_sm3(gm: World, tmp_path: Path) -> None:
    signer = gm.identity(NODE).signer
    first = documents.sign(manifest(epoch=1, suite="gm"), signer)
    second = manifest(epoch=2, previous=first, suite="gm")
    assert second.previous == to_base64(sm3(first.document))
    pins = Pins(tmp_path / "pins", trust=gm.identity(BANK).trust(), suite="gm")
    assert pins.accept([first, documents.sign(second, signer)], node=NODE, product=PRODUCT) == second
    third = manifest(epoch=3, suite="gm").model_copy(
        update={"previous": to_base64(hashlib.sha256(documents.sign(second, signer).document).digest())}
    )
    with pytest.raises(PeerError, match="not linked"):
        pins.accept([documents.sign(third, signer)], node=NODE, product=PRODUCT)


# No suite stands in for another -------------------------------------------------------------------------------------


def test_documents_of_another_suite_are_refused_by_name(gm: World, world: World, tmp_path: Path) -> None:
    for one, other, theirs in ((gm, "intl", "gm"), (world, "gm", "intl")):
        signer = one.identity(NODE).signer
        signed = documents.sign(manifest(epoch=1, suite=theirs), signer)
        trust = one.identity(BANK).trust()
        with pytest.raises(PolicyError, match=f"of suite '{theirs}', not '{other}'") as refusal:
            Pins(tmp_path / other, trust=trust, suite=other).accept([signed], node=NODE, product=PRODUCT)
        assert refusal.value.code == "certificate-wrong-suite"
        with refused("consent-wrong-suite"):
            checked_consent(one, consent_by(one.identity(PLATFORM)), suite=other)
        with pytest.raises(UsageError, match="Use one suite"):
            documents.sign(manifest(epoch=1, suite=other), signer)
        with pytest.raises(UsageError, match="of the product's suite|the product's suite issue"):
            issuing.consent_for(
                signer, manifest(epoch=1, suite=other), keys=[("a",)], scenario=SCENARIO, requester=BANK
            )


def test_a_document_that_claims_the_verifiers_suite_is_refused_too(gm: World) -> None:
    signer = gm.identity(NODE).signer
    data = documents.canonical(vars(manifest(epoch=1)))
    forged = Signed(data, signer.key.sign(documents.CONTEXT + data), NODE, signer.certificate)
    arguments = {"trust": gm.identity(BANK).trust(), "signer": NODE, "signer_field": "node"}
    with refused("certificate-wrong-suite"):
        documents.verify(forged, type(manifest(epoch=1)), suite="intl", **arguments)  # type: ignore[arg-type]
    with refused("document-wrong-suite"):
        documents.verify(forged, type(manifest(epoch=1)), suite="gm", **arguments)  # type: ignore[arg-type]


def test_a_name_goes_to_another_suite_only_over_a_revocation(own_gm: World, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(UsageError, match="enrolled with other keys"):
        enrol(own_gm, NODE, home=elsewhere, suite="intl")
    ca.revoke(own_gm.ca, name=NODE, now=NOW + timedelta(seconds=1))
    bundle = ca.sign_request(own_gm.ca, enrolment.pending_request(elsewhere).path.read_bytes()).bundle  # type: ignore[union-attr]
    enrolment.install_bundle(elsewhere, bundle)
    assert enrolment.Identity.load(elsewhere).suite == "intl"
