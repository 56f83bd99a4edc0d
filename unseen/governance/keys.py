"""Signing keys of each suite: how they are made, sign, are written down, and get into certificates.

``intl`` signs with Ed25519, ``gm`` with SM2 and SM3. What `cryptography` cannot do for SM2 is in
`unseen.governance.sm2`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from mpc.errors import UsageError
from mpc.kernels import ed25519
from mpc.kernels import sm2 as sm2_kernel
from unseen.governance import sm2
from unseen.governance.sm2 import Sm2PrivateKey, Sm2PublicKey

SigningKey: TypeAlias = Ed25519PrivateKey | Sm2PrivateKey
VerifyingKey: TypeAlias = Ed25519PublicKey | Sm2PublicKey


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one suite signs documents.

    Attributes:
        generate: makes a key.
        key: the class of its verifying keys.
    """

    suite: str
    generate: Callable[[], SigningKey]
    key: type[Ed25519PublicKey | Sm2PublicKey]


SCHEMES: Mapping[str, Scheme] = {
    "intl": Scheme(suite="intl", generate=Ed25519PrivateKey.generate, key=Ed25519PublicKey),
    "gm": Scheme(suite="gm", generate=Sm2PrivateKey.generate, key=Sm2PublicKey),
}
"""Signature schemes by suite name."""


def scheme_of(suite: str) -> Scheme:
    """The signature scheme of a suite. Raises UsageError for an unknown one: there is no default and no fallback."""
    try:
        return SCHEMES[suite]
    except KeyError:
        raise UsageError(f"unknown suite {suite[:40]!r}. Known suites: {', '.join(SCHEMES)}.") from None


def suite_of(key: VerifyingKey) -> str:
    """The suite that signs with keys of this kind."""
    return next(scheme.suite for scheme in SCHEMES.values() if isinstance(key, scheme.key))


def verify(key: VerifyingKey, message: bytes, signature: bytes) -> None:
    """Returns if `key` signed `message`. Raises `mpc.kernels.ed25519.InvalidSignature` if it did not."""
    if isinstance(key, Sm2PublicKey):
        sm2_kernel.verify(key.point, message, signature)
    else:
        ed25519.verify(key.public_bytes_raw(), message, signature)


# Written down -------------------------------------------------------------------------------------------------------


def spki(key: VerifyingKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    if isinstance(key, Sm2PublicKey):
        return key.spki()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def to_pem(key: SigningKey | ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8, PEM, not encrypted: a signing key, or a TLS key."""
    if isinstance(key, Sm2PrivateKey):
        return key.to_pem()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_key_from_pem(pem: bytes) -> SigningKey:
    """Inverse of `to_pem` for a signing key. Raises ValueError or another of `trust.UNREADABLE` for anything else."""
    if sm2.is_pem(pem):
        return Sm2PrivateKey.from_pem(pem)
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not a signing key")
    return key


# Requests and certificates ------------------------------------------------------------------------------------------


def to_request(key: SigningKey, name: str) -> bytes:
    """A signing key as its party brings it to the CA, DER: for Ed25519 a PKCS #10 request for `name`; for SM2 the bare
    SubjectPublicKeyInfo. The enrolment around it is signed by the key, which proves it either way.
    """
    if isinstance(key, Sm2PrivateKey):
        return key.public_key().spki()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, None)
    return request.public_bytes(serialization.Encoding.DER)


def from_request(der: bytes, name: str, *, suite: str) -> VerifyingKey:
    """Inverse of `to_request`. Raises ValueError or another of `trust.UNREADABLE` if it is none of this suite."""
    if suite == "gm":
        return Sm2PublicKey.from_spki(der)
    request = x509.load_der_x509_csr(der)
    key = request.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the signing key is not one of the suite")
    if not request.is_signature_valid or request.subject != x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]):
        raise ValueError("the certificate requests do not prove their keys for this name")
    return key


def certified_key(certificate: x509.Certificate) -> VerifyingKey | None:
    """The signing key that a certificate is for; None if its key is of another kind, such as one for TLS.

    Raises one of `trust.UNREADABLE` if the key cannot be read.
    """
    found = sm2.key_of(certificate)
    if found is not None:
        return found
    key = certificate.public_key()
    return key if isinstance(key, Ed25519PublicKey) else None
