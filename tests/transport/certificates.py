"""A certificate authority that lives for one test: parties' TLS credentials, good and bad."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mpc.transport.grpc import NAME_SUFFIX, Credentials

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Authority:
    """A root key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def root_pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, names: list[str]
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=24))
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def authority(name: str = "root") -> Authority:
    """A new root."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(key, _certificate(name, key, name, key, []))


def credentials(root: Authority, name: str, *, dns: list[str] | None = None) -> Credentials:
    """A new key with a certificate of `root` for the party `name`, or for the DNS names given instead."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = root.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    certificate = _certificate(name, key, str(issuer), root.key, [name + NAME_SUFFIX] if dns is None else dns)
    pkcs8, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Credentials(name, key.private_bytes(PEM, pkcs8, open_), certificate.public_bytes(PEM), root.root_pem)
