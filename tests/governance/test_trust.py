"""Certificates, lists and requests as a stranger would make them: refused, never read as something else, and never an
error of another library.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mpc.errors import PolicyError, UsageError
from tests.governance.world import BANK, World
from unseen.governance import documents, enrolment
from unseen.governance.trust import SIGNING_URI, SIGNING_USAGE, Vouched, load_root, parse_crl, vouch

TLS = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
DAY = datetime.timedelta(days=1)


def mutations(data: bytes) -> Iterator[bytes]:
    """`data` with one byte exchanged, at every place."""
    for place, byte in enumerate(data):
        for other in {byte ^ 1, byte ^ 0x80, 0, 3, 255} - {byte}:
            yield data[:place] + bytes([other]) + data[place + 1 :]


def pem(der: bytes, label: str) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


# Some of these bytes make a serial number that is not positive, of which the other library warns before we refuse it.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("what", ["certificate", "root", "list"])
def test_a_damaged_certificate_or_list_is_refused_whatever_is_wrong_with_it(world: World, what: str) -> None:
    """One byte is enough for errors that are no ValueErrors: an unknown version, curve or key type."""
    identity = world.identity(BANK)
    root = load_root(identity.root)
    der = serialization.Encoding.DER
    reads: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
        "certificate": (identity.signer.certificate, lambda data: vouch(data, root=root)),
        "root": (root.public_bytes(der), lambda data: load_root(pem(data, "CERTIFICATE")).tbs_certificate_bytes),
        "list": (
            x509.load_pem_x509_crl(identity.crl.read_bytes()).public_bytes(der),
            lambda data: parse_crl(pem(data, "X509 CRL"), root=root),
        ),
    }
    good, read = reads[what]
    says = read(good)
    for bad in mutations(good):
        # The signature stands outside of what is signed, and X.509 has more than one way to write some of them.
        with contextlib.suppress(PolicyError, UsageError):
            assert read(bad) == says


@pytest.mark.parametrize("field", ["tls_request", "signing_request"])
def test_a_damaged_request_does_not_prove_itself(tmp_path: Path, field: str) -> None:
    request = json.loads(enrolment.init_party(tmp_path, "bank").path.read_bytes())
    envelope = json.loads(request["enrolment"])
    document = json.loads(envelope["document"])
    for bad in mutations(documents.from_base64(document[field])):
        changed = documents.canonical({**document, field: documents.to_base64(bad)}).decode()
        data = json.dumps({**request, "enrolment": json.dumps({**envelope, "document": changed})}).encode()
        with pytest.raises(UsageError, match="does not prove itself"):
            enrolment.read_request(data)


def certified(
    world: World,
    names: Sequence[x509.GeneralName],
    usages: Sequence[x509.ObjectIdentifier],
    *,
    ca: bool = False,
    common_name: str = BANK,
    key: ec.EllipticCurvePublicKey | None = None,
    commits: bool = True,
) -> bytes:
    """What a careless CA could be talked into signing."""
    root_key = serialization.load_pem_private_key((world.ca / "root.key").read_bytes(), password=None)
    root = x509.load_pem_x509_certificate((world.ca / "root.crt").read_bytes())
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    now = documents.utc_now()
    usage = dict.fromkeys(
        ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"), False
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(root.subject)
        .public_key(key or Ed25519PrivateKey.generate().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, content_commitment=commits, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(root_key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def signer(name: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(SIGNING_URI + name)


def test_the_name_is_the_one_in_the_san_and_no_other(world: World) -> None:
    root = load_root((world.ca / "root.crt").read_bytes())

    def read(*args: object, **options: object) -> Vouched:
        return vouch(certified(world, *args, **options), root=root)  # type: ignore[arg-type]  # passed on

    assert read([signer("tax")], [SIGNING_USAGE], common_name=BANK).name == "tax"
    assert read([x509.DNSName("tax.party.unseen")], TLS, common_name=BANK).kind == "tls"
    host, uri = x509.DNSName("bank.party.unseen"), signer(BANK)
    refused: list[tuple[Sequence[x509.GeneralName], Sequence[x509.ObjectIdentifier], dict[str, object]]] = [
        ([uri], [SIGNING_USAGE], {"ca": True}),
        ([host], TLS, {"ca": True}),
        ([uri, signer("tax")], [SIGNING_USAGE], {}),
        ([host, x509.DNSName("tax.party.unseen")], TLS, {}),
        ([host, uri], [SIGNING_USAGE], {}),
        ([host, uri], TLS, {}),
        ([host, x509.RFC822Name("tax@party.unseen")], TLS, {}),
        ([uri], [*TLS, SIGNING_USAGE], {}),
        ([uri], [ExtendedKeyUsageOID.CODE_SIGNING], {}),
        ([uri], TLS, {}),
        ([host], [SIGNING_USAGE], {}),
        ([host], TLS[:1], {}),
        ([uri], [SIGNING_USAGE], {"commits": False}),
        ([uri], [SIGNING_USAGE], {"key": ec.generate_private_key(ec.SECP256R1()).public_key()}),
        ([signer("Bank")], [SIGNING_USAGE], {}),
        ([signer("bank%00tax")], [SIGNING_USAGE], {}),
        ([x509.DNSName("bank.party.unseen.example")], TLS, {}),
        ([x509.DNSName("BANK.party.unseen")], TLS, {}),
        ([x509.DNSName("a.bank.party.unseen")], TLS, {}),
        ([x509.DNSName("*.party.unseen")], TLS, {}),
    ]
    for names, usages, options in refused:
        with pytest.raises(PolicyError) as refusal:
            read(names, usages, **options)
        assert refusal.value.code == "certificate-wrong-usage", (names, usages, options)
