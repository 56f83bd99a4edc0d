"""Manifests and what an asker remembers of them: the same for everyone, one after the other, by one key."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from mpc.errors import CheatingDetected, PeerError, PolicyError, UsageError
from tests.governance.world import BANK, NODE, NOW, PRODUCT, World, manifest, renew
from unseen.governance import ca, documents, enrolment
from unseen.governance.documents import Signed, to_base64
from unseen.governance.manifest import REMEMBERED, Manifest, Pins, check_link, check_pair

DAY = timedelta(days=1)


@pytest.fixture
def pins(world: World, tmp_path: Path) -> Pins:
    return Pins(tmp_path / "pins", trust=world.identity(BANK).trust(), suite="intl")


def chain(world: World, *epochs: int) -> list[Signed]:
    """Linked manifests, all current now."""
    signed: list[Signed] = []
    for epoch in epochs:
        terms = manifest(epoch=epoch, previous=signed[-1] if signed else None)
        signed.append(documents.sign(terms, world.identity(NODE).signer))
    return signed


def test_what_was_seen_is_remembered(world: World, pins: Pins, tmp_path: Path) -> None:
    one, two, three = chain(world, 1, 2, 3)
    assert pins.pinned_key(NODE) is None
    assert pins.last(NODE, PRODUCT) is None
    assert pins.accept([one], node=NODE, product=PRODUCT).epoch == 1
    assert pins.pinned_key(NODE) == world.identity(NODE).signing_key
    assert pins.accept([one, two, three], node=NODE, product=PRODUCT).epoch == 3
    again = Pins(tmp_path / "pins", trust=world.identity(BANK).trust(), suite="intl")
    assert again.last(NODE, PRODUCT) == three
    assert again.accept([three], node=NODE, product=PRODUCT).epoch == 3
    assert again.accept([two, three], node=NODE, product=PRODUCT).epoch == 3
    assert again.last(NODE, PRODUCT) == three
    assert stat.S_IMODE((tmp_path / "pins").stat().st_mode) == 0o700
    assert not again.evidence()


def test_two_manifests_of_one_epoch_are_cheating_and_both_are_kept(world: World, pins: Pins) -> None:
    one, two = chain(world, 1, 2)
    other = documents.sign(manifest(epoch=2, previous=one), world.identity(NODE).signer)
    pins.accept([one, two], node=NODE, product=PRODUCT)
    with pytest.raises(CheatingDetected) as fault:
        pins.accept([other], node=NODE, product=PRODUCT)
    assert fault.value.party == NODE
    for signed in (two, other):
        assert to_base64(documents.digest(signed, suite="intl")) in str(fault.value)
    [path] = pins.evidence()
    kept = json.loads(path.read_text())
    assert [documents.from_json(json.dumps(kept[which])) for which in ("first", "second")] == [two, other]
    assert pins.last(NODE, PRODUCT) == two
    # Within one message it is noticed just the same.
    with pytest.raises(CheatingDetected):
        Pins(path.parent / "fresh", trust=world.identity(BANK).trust(), suite="intl").accept(
            [one, two, other], node=NODE, product=PRODUCT
        )


def test_what_two_askers_got_can_be_compared(world: World) -> None:
    one, two = chain(world, 1, 2)
    check_pair(one, one, node=NODE)
    check_pair(one, two, node=NODE)
    with pytest.raises(CheatingDetected, match="two different manifests for epoch 1"):
        check_pair(one, *chain(world, 1), node=NODE)


def test_a_broken_chain_is_named(world: World, pins: Pins) -> None:
    one, two, three = chain(world, 1, 2, 3)
    pins.accept([one], node=NODE, product=PRODUCT)
    with pytest.raises(PeerError, match="epoch 3 of marriage-status follows epoch 1 in the chain"):
        pins.accept([three], node=NODE, product=PRODUCT)
    with pytest.raises(PeerError, match="is not linked"):
        pins.accept([one, *chain(world, 2)], node=NODE, product=PRODUCT)
    with pytest.raises(PeerError, match="epoch 2 follows epoch 3|epoch 2 of marriage-status comes after epoch 3"):
        pins.accept([three, two], node=NODE, product=PRODUCT)
    assert pins.last(NODE, PRODUCT) == one
    with pytest.raises(PeerError, match="follows epoch"):
        check_link(two, two, node=NODE)


def test_a_node_does_not_go_back(world: World, pins: Pins) -> None:
    old = documents.sign(manifest(epoch=4), world.identity(NODE).signer)
    pins.accept(chain(world, 5), node=NODE, product=PRODUCT)
    with pytest.raises(PeerError, match="epoch 4 of marriage-status comes after epoch 5 was seen"):
        pins.accept([old], node=NODE, product=PRODUCT)


def test_a_node_does_not_offer_an_epoch_again_that_a_later_one_replaced(world: World, pins: Pins) -> None:
    """Both are in their time of grace, and both are genuine; yet the newer one is what everybody else is told."""
    one, two = chain(world, 1, 2)
    pins.accept([one, two], node=NODE, product=PRODUCT)
    with pytest.raises(PeerError, match="it offers epoch 1 of marriage-status after epoch 2 was seen"):
        pins.accept([one], node=NODE, product=PRODUCT)
    pins.accept([one, two], node=NODE, product=PRODUCT)


def test_a_chain_leaves_no_epoch_out(world: World, pins: Pins) -> None:
    """Otherwise two askers could be led along chains that never name the same epoch, and could not find out."""
    signer = world.identity(NODE).signer
    (one,) = chain(world, 1)
    pins.accept([one], node=NODE, product=PRODUCT)
    for epoch in (3, 4):
        fork = documents.sign(manifest(epoch=epoch, previous=one), signer)
        with pytest.raises(PeerError, match=f"epoch {epoch} of marriage-status follows epoch 1"):
            pins.accept([fork], node=NODE, product=PRODUCT)
    assert pins.last(NODE, PRODUCT) == one


def test_no_date_is_too_early_or_too_late_to_be_checked(world: World, pins: Pins) -> None:
    signer = world.identity(NODE).signer
    terms = manifest(epoch=1)
    ages = {"not_before": "0001-01-01T00:00:00Z", "grace_until": "9999-12-31T23:59:59Z"}
    pins.accept([documents.sign(terms.model_copy(update=ages), signer)], node=NODE, product=PRODUCT)
    ended = documents.sign(terms.model_copy(update={"grace_until": "0001-01-01T00:00:00Z", "product": "p"}), signer)
    with pytest.raises(PolicyError, match="manifest-expired"):
        pins.accept([ended], node=NODE, product="p")


def test_the_manifest_must_answer_the_question(world: World, pins: Pins) -> None:
    with pytest.raises(PeerError, match="no manifest"):
        pins.accept([], node=NODE, product=PRODUCT)
    with pytest.raises(PeerError, match="asked about income"):
        pins.accept(chain(world, 1), node=NODE, product="income")
    with pytest.raises(PolicyError, match="document-wrong-signer"):
        pins.accept(chain(world, 1), node=BANK, product=PRODUCT)
    by_bank = documents.sign(manifest(epoch=1), world.identity(BANK).signer)
    with pytest.raises(PolicyError, match="document-wrong-signer"):
        pins.accept([by_bank], node=NODE, product=PRODUCT)
    assert pins.pinned_key(NODE) is None


def test_expired_and_early_manifests_are_refused(world: World, pins: Pins) -> None:
    signed = chain(world, 1)

    def at(age: timedelta) -> Manifest:
        return pins.accept(signed, node=NODE, product=PRODUCT, now=NOW + age)

    with pytest.raises(PolicyError, match="manifest-expired"):
        at(DAY + timedelta(hours=1, seconds=1))
    with pytest.raises(PolicyError, match=r"begins in 180 seconds .* clocks"):
        at(-timedelta(minutes=3))
    assert pins.last(NODE, PRODUCT) is None
    at(-timedelta(minutes=2))
    at(DAY + timedelta(hours=1))


def test_only_so_many_are_remembered(world: World, pins: Pins) -> None:
    signed = chain(world, *range(REMEMBERED + 3))
    pins.accept(signed, node=NODE, product=PRODUCT)
    assert pins.last(NODE, PRODUCT) == signed[-1]
    with pytest.raises(PeerError, match="comes after"):
        pins.accept(signed[:1], node=NODE, product=PRODUCT)
    with pytest.raises(PeerError, match="it offers epoch 3 of marriage-status after epoch 66 was seen"):
        pins.accept(signed[3:4], node=NODE, product=PRODUCT)
    pins.accept(signed[3:], node=NODE, product=PRODUCT)


def test_a_public_key_has_its_suites_length() -> None:
    fields = manifest(epoch=1).model_dump()
    assert documents.parse(documents.canonical(fields), Manifest).model_dump() == fields
    longer = documents.canonical(fields | {"public_key": to_base64(bytes(33))})
    with pytest.raises(PolicyError, match="a public key of the suite intl has 32 bytes") as caught:
        documents.parse(longer, Manifest)
    assert caught.value.code == "document-malformed"


# Keys ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_pins(own_world: World, tmp_path: Path) -> Pins:
    return Pins(tmp_path / "pins", trust=own_world.identity(BANK).trust(), suite="intl")


def test_a_renewed_key_needs_the_old_ones_word(own_world: World, own_pins: Pins) -> None:
    one = documents.sign(manifest(epoch=1), own_world.identity(NODE).signer)
    own_pins.accept([one], node=NODE, product=PRODUCT)
    renew(own_world, NODE)
    new = renew(own_world, NODE)  # twice: the statements form a line
    two = documents.sign(manifest(epoch=2, previous=one), new.signer)
    for statements in ((), new.continuity[:1], new.continuity[1:], tuple(reversed(new.continuity))):
        with pytest.raises(PolicyError) as refusal:
            own_pins.accept([two], node=NODE, product=PRODUCT, continuity=statements)
        assert refusal.value.code == "pin-mismatch"
    own_pins.accept([one, two], node=NODE, product=PRODUCT, continuity=new.continuity)
    assert own_pins.pinned_key(NODE) == new.signing_key


def test_a_revoked_key_hands_over_to_nobody(own_world: World, own_pins: Pins) -> None:
    """Its thief could name a successor as well as its owner; so people have to compare the new fingerprint."""
    old = own_world.identity(NODE)
    one = documents.sign(manifest(epoch=1), old.signer)
    own_pins.accept([one], node=NODE, product=PRODUCT)
    new = renew(own_world, NODE)
    certificate = x509.load_der_x509_certificate(old.signer.certificate)
    ca.revoke(own_world.ca, serial=f"{certificate.serial_number:x}")
    enrolment.update_crl(own_world.home(BANK), (own_world.ca / "crl.pem").read_bytes())
    pins = Pins(own_world.root / "pins", trust=own_world.identity(BANK).trust(), suite="intl")
    two = documents.sign(manifest(epoch=2, previous=one), new.signer)
    with pytest.raises(PolicyError) as refusal:
        pins.accept([two], node=NODE, product=PRODUCT, continuity=new.continuity)
    assert refusal.value.code == "pin-mismatch"
    assert new.signing_key in refusal.value.reason
    pins.accept_key(NODE, new.signing_key)
    pins.accept([two], node=NODE, product=PRODUCT)


def test_the_ca_alone_cannot_exchange_a_nodes_key(own_world: World, own_pins: Pins, tmp_path: Path) -> None:
    one = documents.sign(manifest(epoch=1), own_world.identity(NODE).signer)
    own_pins.accept([one], node=NODE, product=PRODUCT)
    ca.revoke(own_world.ca, name=NODE)
    # A dishonest CA gives the name to somebody else, who endorses himself. The bank does not have the list yet.
    request = enrolment.init_party(tmp_path / "thief", NODE)
    enrolment.install_bundle(tmp_path / "thief", ca.sign_request(own_world.ca, request.path.read_bytes()).bundle)
    thief = enrolment.Identity.load(tmp_path / "thief")
    enrolment.renew_party(tmp_path / "thief")
    two = documents.sign(manifest(epoch=2, previous=one), thief.signer)
    own = documents.from_json((tmp_path / "thief" / "identity" / "0002" / "continuity.json").read_bytes())
    claimed = documents.parse(own.document, enrolment.Continuity).model_copy(
        update={"old_key": own_world.identity(NODE).signing_key, "new_key": thief.signing_key}
    )
    with pytest.raises(PolicyError, match="pin-mismatch"):
        own_pins.accept([two], node=NODE, product=PRODUCT, continuity=[own, documents.sign(claimed, thief.signer)])
    # The right certificate under the wrong signature.
    forged = documents.sign(claimed, thief.signer)
    certificate = own_world.identity(NODE).signer.certificate
    forged = Signed(forged.document, forged.signature, forged.signer, certificate)
    with pytest.raises(PolicyError, match="document-bad-signature"):
        own_pins.accept([two], node=NODE, product=PRODUCT, continuity=[forged])
    own_pins.accept_key(NODE, thief.signing_key)
    own_pins.accept([two], node=NODE, product=PRODUCT)


def test_earlier_manifests_may_come_from_a_certificate_that_has_expired(own_world: World, tmp_path: Path) -> None:
    """A year of manifests, the first ones by the key before: an asker who was away can still follow the chain."""
    old = own_world.identity(NODE)
    one = documents.sign(manifest(epoch=1), old.signer)
    two = documents.sign(manifest(epoch=2, previous=one, start=NOW + DAY), old.signer)
    pins = Pins(tmp_path / "pins", trust=own_world.identity(BANK).trust(), suite="intl")
    pins.accept([one], node=NODE, product=PRODUCT)
    later = NOW + timedelta(days=380)
    request = enrolment.renew_party(own_world.home(NODE))
    signed = ca.sign_request(own_world.ca, request.path.read_bytes(), lifetime=timedelta(days=700))
    enrolment.install_bundle(own_world.home(NODE), signed.bundle)
    new = own_world.identity(NODE)
    three = documents.sign(manifest(epoch=3, previous=two, start=later), new.signer)
    ca.refresh_crl(own_world.ca, now=later)
    enrolment.update_crl(own_world.home(BANK), (own_world.ca / "crl.pem").read_bytes())
    trust = own_world.identity(BANK).trust()
    pins = Pins(tmp_path / "pins", trust=trust, suite="intl")
    found = pins.accept([one, two, three], node=NODE, product=PRODUCT, continuity=new.continuity, now=later)
    assert found.epoch == 3
    expired = documents.sign(manifest(epoch=4, previous=three, start=later), old.signer)
    with pytest.raises(PolicyError, match="certificate-expired"):
        pins.accept([expired], node=NODE, product=PRODUCT, now=later)


def test_a_damaged_memory_is_not_a_first_contact(world: World, pins: Pins, tmp_path: Path) -> None:
    pins.accept(chain(world, 1), node=NODE, product=PRODUCT)
    for path in (tmp_path / "pins").glob("*.json"):
        kept = path.read_bytes()
        path.write_bytes(kept[:-10])
        with pytest.raises(UsageError, match="damaged"):
            pins.accept(chain(world, 1), node=NODE, product=PRODUCT)
        path.write_bytes(kept)
