"""The CA, enrolment, renewal and revocation: keys stay where they are made, and nothing is half done."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mpc.errors import PolicyError, UsageError
from tests.governance.world import BANK, NODE, NOW, World, enrol, make_world, manifest, renew
from unseen.governance import ca, documents, enrolment, files
from unseen.governance.enrolment import Identity
from unseen.governance.manifest import Manifest
from unseen.governance.trust import Trust, certificate_fingerprint, load_root, parse_crl
from unseen.names import party_host


def refused(code: str) -> pytest.RaisesExc[PolicyError]:
    return pytest.RaisesExc(PolicyError, check=lambda error: error.code == code)


def der(identity: Identity) -> bytes:
    certificate = x509.load_pem_x509_certificate(identity.tls_certificate)
    return certificate.public_bytes(serialization.Encoding.DER)


def same(one: Identity, two: Identity) -> bool:
    """Whether two identities are the same keys and certificates; key objects themselves do not compare."""
    first, second = ((i.signing_key, i.signer.certificate, i.tls_key, i.tls_certificate, i.root) for i in (one, two))
    return first == second


# Keys ---------------------------------------------------------------------------------------------------------------


def test_keys_are_private_and_never_leave(own_world: World) -> None:
    home = own_world.home(NODE)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    keys = sorted(home.rglob("*.key"))
    assert [path.name for path in keys] == ["signing.key", "tls.key"]
    for path in keys:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((own_world.ca / "root.key").stat().st_mode) == 0o600
    request = (home / "identity" / "current" / "request.json").read_text()
    assert "PRIVATE" not in request
    assert not list(own_world.root.rglob("*.tmp"))


def test_nothing_is_overwritten(own_world: World) -> None:
    before = {path: path.read_bytes() for path in own_world.root.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="unseen node renew"):
        enrolment.init_party(own_world.home(NODE), NODE)
    with pytest.raises(UsageError, match="not overwritten"):
        ca.init_ca(own_world.ca)
    assert before == {path: path.read_bytes() for path in own_world.root.rglob("*") if path.is_file()}


def test_names_and_suites_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="party name"):
        enrolment.init_party(tmp_path / "a", "Bank")
    with pytest.raises(UsageError, match="unknown suite"):
        enrolment.init_party(tmp_path / "a", "bank", suite="rot13")
    assert not (tmp_path / "a").exists()


def test_each_missing_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unseen node init"):
        Identity.load(tmp_path)
    request = enrolment.init_party(tmp_path / "home", "bank")
    assert enrolment.pending_request(tmp_path / "home") == request
    with pytest.raises(UsageError, match="Install the bundle"):
        Identity.load(tmp_path / "home")


# Certificates -------------------------------------------------------------------------------------------------------


def test_both_sides_see_the_same_fingerprints(tmp_path: Path) -> None:
    root = ca.init_ca(tmp_path / "ca")
    request = enrolment.init_party(tmp_path / "bank", "bank")
    assert enrolment.read_request(request.path.read_bytes()).fingerprint == request.fingerprint
    signed = ca.sign_request(tmp_path / "ca", request.path.read_bytes())
    assert (signed.request_fingerprint, signed.root_fingerprint) == (request.fingerprint, root)
    installed = enrolment.install_bundle(tmp_path / "bank", signed.bundle, root_fingerprint=root.lower())
    assert installed.first
    assert installed.root_fingerprint == root
    assert enrolment.pending_request(tmp_path / "bank") is None
    identity = Identity.load(tmp_path / "bank")
    assert identity.signing_key == installed.signing_key
    assert timedelta(days=364) < identity.expires - documents.utc_now() <= timedelta(days=365, minutes=5)
    certificate = x509.load_pem_x509_certificate(identity.tls_certificate)
    assert certificate.not_valid_before_utc <= documents.utc_now() - timedelta(minutes=4)
    assert certificate_fingerprint(certificate) in {one.fingerprint for one in ca.list_issued(tmp_path / "ca")}


@contextmanager
def greeter(identity: Identity) -> Iterator[int]:
    """A gRPC server with mutual TLS that answers every call with the caller's certificate."""

    def handle(_request: bytes, context: grpc.ServicerContext) -> bytes:
        return context.auth_context()["x509_pem_cert"][0]

    handler = grpc.method_handlers_generic_handler("t", {"Hello": grpc.unary_unary_rpc_method_handler(handle)})
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), handlers=(handler,))
    pair = [(identity.tls_key, identity.tls_certificate)]
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials(pair, identity.root, require_client_auth=True)
    )
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def greet(port: int, root: bytes, key: bytes, certificate: bytes, *, expected: str = NODE) -> bytes:
    options = (("grpc.ssl_target_name_override", party_host(expected)),)
    credentials = grpc.ssl_channel_credentials(root, key, certificate)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        return channel.unary_unary("/t/Hello")(b"", timeout=5)


def test_tls_connects_parties_of_one_ca_and_no_others(world: World, trust: Trust, tmp_path: Path) -> None:
    bank = world.identity(BANK)
    stranger = enrol(make_world(tmp_path), BANK, home=tmp_path / "stranger")
    signing = (world.home(BANK) / "identity" / "current" / "signing.key").read_bytes()
    signing_certificate = (world.home(BANK) / "identity" / "current" / "signing.crt").read_bytes()
    with greeter(world.identity(NODE)) as port:
        seen = greet(port, bank.root, bank.tls_key, bank.tls_certificate)
        assert trust.tls_party(seen) == BANK
        for key, certificate in ((stranger.tls_key, stranger.tls_certificate), (signing, signing_certificate)):
            with pytest.raises(grpc.RpcError):
                greet(port, bank.root, key, certificate)
        with pytest.raises(grpc.RpcError):
            greet(port, stranger.root, bank.tls_key, bank.tls_certificate)
        with pytest.raises(grpc.RpcError):
            greet(port, bank.root, bank.tls_key, bank.tls_certificate, expected="tax")


def test_a_tls_certificate_signs_nothing_and_a_signing_certificate_connects_nothing(world: World, trust: Trust) -> None:
    bank = world.identity(BANK)
    with refused("certificate-wrong-usage"):
        trust.signing_key(BANK, der(bank), suite="intl")
    with refused("certificate-wrong-usage"):
        trust.know(der(bank))
    pem = (world.home(BANK) / "identity" / "current" / "signing.crt").read_bytes()
    with refused("certificate-wrong-usage"):
        trust.tls_party(pem)
    with refused("certificate-wrong-usage"):
        trust.tls_party((world.ca / "root.crt").read_bytes())
    with refused("certificate-untrusted"):
        trust.tls_party(b"not a certificate")


def test_another_ca_vouches_for_nobody(world: World, trust: Trust, tmp_path: Path) -> None:
    stranger = enrol(make_world(tmp_path), NODE, home=tmp_path / "stranger")
    with refused("certificate-untrusted"):
        trust.tls_party(stranger.tls_certificate)
    signed = documents.sign(manifest(epoch=1), stranger.signer)
    with refused("certificate-untrusted"):
        documents.verify(signed, Manifest, trust=trust, signer=NODE, signer_field="node", suite="intl")
    with refused("crl-untrusted"):
        Trust(world.identity(NODE).root, stranger.crl)


def test_dates_are_checked_at_every_use(world: World) -> None:
    trust = world.identity(NODE).trust()
    certificate = world.identity(NODE).signer.certificate
    trust.signing_key(NODE, certificate, suite="intl")
    ages = {
        "certificate-expired": timedelta(days=366),
        "certificate-not-yet-valid": -timedelta(minutes=8),
        "crl-expired": timedelta(days=31),
    }
    for code, age in ages.items():
        with refused(code):
            trust.signing_key(NODE, certificate, suite="intl", now=NOW + age)
    # Five minutes of back-dating and two of tolerance.
    trust.signing_key(NODE, certificate, suite="intl", now=NOW - timedelta(minutes=6))


def test_a_document_may_come_without_a_certificate_that_is_known(world: World) -> None:
    trust = world.identity(NODE).trust()
    bank = world.identity(BANK)
    with refused("certificate-missing"):
        trust.signing_key(BANK, b"", suite="intl")
    assert trust.know(bank.signer.certificate) == BANK
    assert trust.signing_key(BANK, b"", suite="intl") == bank.signer.key.public_key()


# Revocation ---------------------------------------------------------------------------------------------------------


def test_a_revocation_is_in_force_as_soon_as_the_list_is_there(own_world: World) -> None:
    node, bank = own_world.identity(NODE), own_world.identity(BANK)
    trust = Trust(node.root, node.crl, recheck_s=0)
    trust.tls_party(bank.tls_certificate)
    revoked = ca.revoke(own_world.ca, name=BANK)
    assert [(one.name, one.kind) for one in revoked] == [(BANK, "tls"), (BANK, "signing")]
    trust.tls_party(bank.tls_certificate)
    assert enrolment.update_crl(own_world.home(NODE), (own_world.ca / "crl.pem").read_bytes())
    with refused("certificate-revoked"):
        trust.tls_party(bank.tls_certificate)
    with refused("certificate-revoked"):
        trust.signing_key(BANK, bank.signer.certificate, suite="intl")
    trust.tls_party(node.tls_certificate)


def test_a_connection_is_judged_by_the_list_of_this_moment(own_world: World) -> None:
    """Whoever saw the file change must not be told what the old list said; consents may wait for `recheck_s`."""
    node, bank = own_world.identity(NODE), own_world.identity(BANK)
    trust = Trust(node.root, node.crl, recheck_s=3600)
    ca.revoke(own_world.ca, name=BANK)
    enrolment.update_crl(own_world.home(NODE), (own_world.ca / "crl.pem").read_bytes())
    trust.signing_key(BANK, bank.signer.certificate, suite="intl")
    with refused("certificate-revoked"):
        trust.tls_party(bank.tls_certificate)
    with refused("certificate-revoked"):
        trust.signing_key(BANK, bank.signer.certificate, suite="intl")


def test_one_certificate_can_be_revoked_by_its_number(own_world: World) -> None:
    [tls, signing] = [one for one in ca.list_issued(own_world.ca) if one.name == BANK]
    assert [one.serial for one in ca.revoke(own_world.ca, serial=signing.serial.upper())] == [signing.serial]
    states = {one.serial: one.revoked_at is not None for one in ca.list_issued(own_world.ca)}
    assert states[signing.serial]
    assert not states[tls.serial]
    with pytest.raises(UsageError, match="no certificate in force"):
        ca.revoke(own_world.ca, serial=signing.serial)
    with pytest.raises(UsageError, match="no certificate in force"):
        ca.revoke(own_world.ca, name="nobody")
    with pytest.raises(UsageError, match="either"):
        ca.revoke(own_world.ca)


def test_a_revocation_list_goes_forward_only(own_world: World) -> None:
    home = own_world.home(NODE)
    old = (own_world.ca / "crl.pem").read_bytes()
    new = ca.refresh_crl(own_world.ca)
    assert enrolment.update_crl(home, new)
    assert not enrolment.update_crl(home, old)
    assert (home / "crl.pem").read_bytes() == new
    identity = own_world.identity(NODE)
    trust = Trust(identity.root, identity.crl, recheck_s=0)
    trust.tls_party(identity.tls_certificate)
    files.replace(identity.crl, old)
    for _ in range(2):  # as long as the old list lies there
        with refused("crl-rolled-back"):
            trust.tls_party(identity.tls_certificate)
    files.replace(identity.crl, new)
    trust.tls_party(identity.tls_certificate)


def test_a_damaged_revocation_list_is_not_installed_and_not_believed(own_world: World) -> None:
    identity = own_world.identity(NODE)
    good = identity.crl.read_bytes()
    with refused("crl-untrusted"):
        enrolment.update_crl(own_world.home(NODE), good[:100])
    assert identity.crl.read_bytes() == good
    trust = Trust(identity.root, identity.crl, recheck_s=0)
    files.replace(identity.crl, b"-----BEGIN X509 CRL-----\n")
    with refused("crl-untrusted"):
        trust.tls_party(identity.tls_certificate)
    identity.crl.unlink()
    identity.crl.mkdir()  # something is there, and it cannot be read
    for use in (
        lambda: trust.tls_party(identity.tls_certificate),
        lambda: trust.signing_key(NODE, identity.signer.certificate, suite="intl"),
    ):
        with refused("crl-unreadable"):
            use()
    identity.crl.rmdir()
    trust.tls_party(identity.tls_certificate)  # a list that is gone leaves the last one in force
    with pytest.raises(UsageError, match="no revocation list"):
        identity.trust()
    for damage in (identity.crl.unlink, lambda: files.replace(identity.crl, b"noise")):
        assert enrolment.update_crl(own_world.home(NODE), good)  # also where there is nothing left to compare it with
        assert identity.crl.read_bytes() == good
        damage()
    assert enrolment.update_crl(own_world.home(NODE), good)


# Renewal ------------------------------------------------------------------------------------------------------------


def test_a_renewal_keeps_the_old_keys_until_the_bundle_is_there(own_world: World) -> None:
    home = own_world.home(NODE)
    old = own_world.identity(NODE)
    request = enrolment.renew_party(home)
    assert same(Identity.load(home), old)
    with pytest.raises(UsageError, match="waits for its bundle"):
        enrolment.renew_party(home)
    signed = ca.sign_request(own_world.ca, request.path.read_bytes(), now=NOW)
    assert signed.renewal
    assert same(Identity.load(home), old)
    installed = enrolment.install_bundle(home, signed.bundle)
    new = Identity.load(home)
    assert not installed.first
    assert new.signing_key != old.signing_key
    assert new.tls_key != old.tls_key
    assert new.root == old.root
    [statement] = new.continuity
    assert json.loads(statement.document)["old_key"] == old.signing_key
    assert json.loads(statement.document)["new_key"] == new.signing_key
    # Once more, and installing twice changes nothing.
    enrolment.install_bundle(home, signed.bundle)
    assert same(Identity.load(home), new)
    assert len(renew(own_world, NODE).continuity) == 2


def test_a_name_in_use_goes_to_nobody_else(own_world: World, tmp_path: Path) -> None:
    thief = enrolment.init_party(tmp_path / "thief", BANK)
    with pytest.raises(UsageError, match="enrolled with other keys"):
        ca.sign_request(own_world.ca, thief.path.read_bytes())
    # A renewal of another party does not help, nor does the right statement for other keys.
    statement = json.loads(enrolment.renew_party(own_world.home(NODE)).path.read_bytes())["continuity"]
    request = json.loads(thief.path.read_bytes())
    with refused("certificate-wrong-name"):
        ca.sign_request(own_world.ca, json.dumps({**request, "continuity": statement}).encode())
    statement = json.loads(enrolment.renew_party(own_world.home(BANK)).path.read_bytes())["continuity"]
    with pytest.raises(UsageError, match="endorsed for other keys"):
        ca.sign_request(own_world.ca, json.dumps({**request, "continuity": statement}).encode())
    ca.revoke(own_world.ca, name=BANK)
    assert not ca.sign_request(own_world.ca, thief.path.read_bytes()).renewal


def test_a_revoked_key_renews_nothing(own_world: World) -> None:
    request = enrolment.renew_party(own_world.home(BANK))
    [_, signing] = [one for one in ca.list_issued(own_world.ca) if one.name == BANK]
    ca.revoke(own_world.ca, serial=signing.serial)
    with refused("certificate-revoked"):
        ca.sign_request(own_world.ca, request.path.read_bytes())


def test_a_name_is_free_again_when_its_certificates_have_expired(own_world: World, tmp_path: Path) -> None:
    request = enrolment.init_party(tmp_path / "again", BANK)
    later = documents.utc_now() + timedelta(days=366)
    assert not ca.sign_request(own_world.ca, request.path.read_bytes(), now=later).renewal


# Requests and bundles that are not in order ---------------------------------------------------------------------------


def test_a_request_proves_itself(tmp_path: Path) -> None:
    ca.init_ca(tmp_path / "ca")
    one, two = (enrolment.init_party(tmp_path / name, name).path.read_bytes() for name in ("one", "two"))
    mine, other = (json.loads(json.loads(request)["enrolment"]) for request in (one, two))
    for field in ("tls_request", "signing_request", "name"):
        document = json.loads(mine["document"])
        document[field] = json.loads(other["document"])[field]
        changed = {**mine, "document": documents.canonical(document).decode()}
        forged = json.dumps({"enrolment": json.dumps(changed), "continuity": None}).encode()
        with pytest.raises(UsageError, match="does not prove itself"):
            ca.sign_request(tmp_path / "ca", forged)
    # A TLS key of the same name, which only the signature over the whole request tells from the party's own.
    twin = enrolment.init_party(tmp_path / "twin", "one").path.read_bytes()
    document = json.loads(mine["document"])
    document["tls_request"] = json.loads(json.loads(json.loads(twin)["enrolment"])["document"])["tls_request"]
    changed = {**mine, "document": documents.canonical(document).decode()}
    with pytest.raises(UsageError, match="does not prove itself"):
        ca.sign_request(tmp_path / "ca", json.dumps({"enrolment": json.dumps(changed), "continuity": None}).encode())
    for nothing in (b"", b"{}", b"[]", one[:-20], b"\xff"):
        with pytest.raises(UsageError, match="not an enrolment request"):
            ca.sign_request(tmp_path / "ca", nothing)
    assert ca.list_issued(tmp_path / "ca") == []


def test_a_bundle_must_be_for_these_keys_this_party_and_this_root(own_world: World, tmp_path: Path) -> None:
    home = own_world.home(NODE)
    request = enrolment.renew_party(home)
    other = make_world(tmp_path / "other")
    foreign = ca.sign_request(other.ca, request.path.read_bytes())
    with pytest.raises(UsageError, match="not the pinned one"):
        enrolment.install_bundle(home, foreign.bundle)
    tax = enrolment.init_party(tmp_path / "tax", "tax")
    theirs = ca.sign_request(own_world.ca, tax.path.read_bytes())
    with pytest.raises(UsageError, match="other keys"):
        enrolment.install_bundle(home, theirs.bundle)
    with pytest.raises(UsageError, match="not the one expected"):
        enrolment.install_bundle(tmp_path / "tax", theirs.bundle, root_fingerprint=foreign.root_fingerprint)
    with pytest.raises(UsageError, match="not a bundle"):
        enrolment.install_bundle(home, b"{}")
    mixed = {**json.loads(theirs.bundle), "root": json.loads(foreign.bundle)["root"]}
    with refused("crl-untrusted"):
        enrolment.install_bundle(tmp_path / "tax", json.dumps(mixed).encode())
    mixed["crl"] = json.loads(foreign.bundle)["crl"]
    with refused("certificate-untrusted"):
        enrolment.install_bundle(tmp_path / "tax", json.dumps(mixed).encode())
    assert not (tmp_path / "tax" / "root.crt").exists()
    enrolment.install_bundle(tmp_path / "tax", theirs.bundle)
    assert Identity.load(tmp_path / "tax").name == "tax"


def test_an_installation_that_was_cut_short_is_repeated(own_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step the machine stops at, the old identity serves, and installing again completes the new one."""
    home = own_world.home(NODE)
    old = own_world.identity(NODE)
    bundle = ca.sign_request(own_world.ca, enrolment.renew_party(home).path.read_bytes()).bundle
    rename = Path.rename
    for allowed in range(3):
        left = allowed

        def failing(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise OSError("the machine stopped")
            left -= 1
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", failing)
            with pytest.raises(OSError, match="the machine stopped"):
                enrolment.install_bundle(home, bundle)
        assert same(Identity.load(home), old)
    enrolment.install_bundle(home, bundle)
    assert not same(Identity.load(home), old)


# The CA's own files ---------------------------------------------------------------------------------------------------


def test_a_ca_is_checked_before_it_signs(own_world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read a CA"):
        ca.refresh_crl(tmp_path / "nowhere")
    other = make_world(tmp_path / "other")
    files.replace(own_world.ca / "root.key", (other.ca / "root.key").read_bytes(), mode=files.PRIVATE)
    with pytest.raises(UsageError, match="do not belong together"):
        ca.refresh_crl(own_world.ca)
    files.replace(own_world.ca / "issued.json", b"{")
    with pytest.raises(UsageError, match="damaged"):
        ca.list_issued(own_world.ca)
    with pytest.raises(UsageError, match="not a root certificate"):
        load_root(own_world.identity(NODE).tls_certificate)


def test_a_revocation_that_was_cut_off_is_finished_by_the_next_command(
    own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index says revoked, the list does not yet."""
    home, written = own_world.ca, files.replace

    def cut_off(path: Path, data: bytes, *, mode: int = files.PUBLIC) -> None:
        if path.name == "crl.pem":
            raise OSError(28, "No space left on device")
        written(path, data, mode=mode)

    [tls, _] = [one for one in ca.list_issued(home) if one.name == BANK]
    root = load_root((home / "root.crt").read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", cut_off)
        with pytest.raises(OSError, match="No space left"):
            ca.revoke(home, name=BANK)
    assert int(tls.serial, 16) not in parse_crl((home / "crl.pem").read_bytes(), root=root).serials
    with pytest.raises(UsageError, match="no certificate in force"):
        ca.revoke(home, name=BANK)
    assert int(tls.serial, 16) in parse_crl((home / "crl.pem").read_bytes(), root=root).serials


def test_a_ca_that_was_idle_enrols_and_renews(own_world: World) -> None:
    """Its list lapsed weeks ago. The bundle has to carry one that is in force, or it could not be installed."""
    later = documents.utc_now() + ca.CRL_LIFETIME + timedelta(days=10)
    for request in (enrolment.renew_party(own_world.home(BANK)), enrolment.init_party(own_world.home("tax"), "tax")):
        signed = ca.sign_request(own_world.ca, request.path.read_bytes(), now=later)
        assert signed.renewal == (signed.name == BANK)
        enrolment.install_bundle(own_world.home(signed.name), signed.bundle, now=later)


def test_a_root_key_that_others_may_read_is_not_used(own_world: World) -> None:
    path = own_world.ca / "root.key"
    path.chmod(0o640)
    with pytest.raises(UsageError, match=f"chmod 600 {path}"):
        ca.refresh_crl(own_world.ca)
    path.chmod(0o600)
    ca.refresh_crl(own_world.ca)


def test_a_home_that_was_copied_without_its_links_says_how_to_mend_it(own_world: World, tmp_path: Path) -> None:
    home = tmp_path / "copy"
    shutil.copytree(own_world.home(BANK), home)  # follows links, as scp -r does
    with pytest.raises(UsageError, match="copied without its links") as error:
        Identity.load(home)
    current = home / "identity" / "current"
    assert str(error.value).endswith(f"rm -r {current}, ln -s 0001 {current}.")
    shutil.rmtree(current)
    current.symlink_to("0001")
    assert same(Identity.load(home), own_world.identity(BANK))


def test_damaged_certificates_are_named(own_world: World) -> None:
    (own_world.home(BANK) / "identity" / "0001" / "signing.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(UsageError, match="a certificate in .* is damaged"):
        own_world.identity(BANK)


def test_a_shared_directory_is_not_closed_to_the_others(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(UsageError, match="not this user's own"):
        ca.init_ca(shared)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert not list(shared.iterdir())


def test_concurrent_commands_lose_nothing(tmp_path: Path) -> None:
    ca.init_ca(tmp_path / "ca")
    requests = [enrolment.init_party(tmp_path / f"p{i}", f"p{i}").path.read_bytes() for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda request: ca.sign_request(tmp_path / "ca", request), requests))
    assert len({one.serial for one in ca.list_issued(tmp_path / "ca")}) == 16


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.create(path, b"old", mode=0o640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            files.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UsageError, match="cannot read a thing at"):
        files.read(tmp_path / "nothing", what="a thing")
    with pytest.raises(UsageError, match="larger than 2 bytes"):
        files.read(path, what="a thing", limit=2)
