"""SM2 signing keys in files and certificates, which `cryptography` can neither write nor read.

Keys are written as everywhere else: PKCS #8 and SubjectPublicKeyInfo over the curve's object identifier, points
uncompressed [GM/T 0009; GM/T 0015], so that OpenSSL reads them. A certificate of an SM2 key is an ordinary one of
X.509, signed by the CA's root like any other; `certify` exchanges the key in one that `cryptography` has built.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mpc.kernels import InvalidEncoding, sm2

_P = 2**256 - 2**224 - 2**96 + 2**64 - 1
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93

# SubjectPublicKeyInfo { AlgorithmIdentifier { id-ecPublicKey, 1.2.156.10197.1.301 }, BIT STRING } up to the point.
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
# PrivateKeyInfo { 0, AlgorithmIdentifier as above, OCTET STRING { ECPrivateKey { 1, OCTET STRING up to the key …
_PKCS8 = bytes.fromhex("308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420")
# … and from there [1] { BIT STRING up to the point } } }.
_PKCS8_POINT = bytes.fromhex("a144034200")

_BEGIN, _END = b"-----BEGIN PRIVATE KEY-----\n", b"-----END PRIVATE KEY-----\n"
_PEM = _BEGIN + base64.b64encode(_PKCS8[:33])


def is_pem(pem: bytes) -> bool:
    """Whether this is a private key of SM2's curve, by what it says itself; `Sm2PrivateKey.from_pem` reads it."""
    return pem.startswith(_PEM)


@dataclass(frozen=True, slots=True)
class Sm2PublicKey:
    """A public key. `point`: 33 bytes, compressed."""

    point: bytes

    def spki(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return _SPKI + _uncompressed(self.point)

    @staticmethod
    def from_spki(der: bytes) -> Sm2PublicKey:
        """Inverse of `spki`. Raises ValueError for any other bytes, and for a point that is not on the curve."""
        if not der.startswith(_SPKI):
            raise ValueError("not an SM2 key")
        return Sm2PublicKey(_compressed(der.removeprefix(_SPKI)))


@dataclass(frozen=True, slots=True)
class Sm2PrivateKey:
    """A private key: 32 bytes, big-endian, from 1 to the group's order minus 2."""

    secret: bytes = field(repr=False)

    @staticmethod
    def generate() -> Sm2PrivateKey:
        """A fresh key, of the operating system's randomness."""
        while True:
            uniform = np.frombuffer(os.urandom(sm2.UNIFORM_SCALAR_BYTES), dtype=np.uint8)
            key = Sm2PrivateKey(sm2.scalar_from_uniform(uniform[None])[0].tobytes())
            try:
                key.public_key()
            except InvalidEncoding:  # the order minus 1, which signs nothing: not in anybody's life
                continue
            return key

    def public_key(self) -> Sm2PublicKey:
        """The public key. Raises InvalidEncoding, a ValueError, if this is no key."""
        return Sm2PublicKey(sm2.public_key(self.secret).tobytes())

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes, over a message under the default ID."""
        return sm2.sign(self.secret, message, entropy=os.urandom(sm2.ENTROPY_BYTES))

    def to_pem(self) -> bytes:
        """PKCS #8, PEM, not encrypted."""
        der = _PKCS8 + self.secret + _PKCS8_POINT + _uncompressed(self.public_key().point)
        text = base64.b64encode(der)
        return _BEGIN + b"".join(text[i : i + 64] + b"\n" for i in range(0, len(text), 64)) + _END

    @staticmethod
    def from_pem(pem: bytes) -> Sm2PrivateKey:
        """Inverse of `to_pem`. Raises ValueError for anything else."""
        if not (pem.startswith(_BEGIN) and pem.endswith(_END)):
            raise ValueError("not a private key")
        der = base64.b64decode(pem.removeprefix(_BEGIN).removesuffix(_END))
        secret, rest = der[len(_PKCS8) : len(_PKCS8) + 32], der[len(_PKCS8) + 32 :]
        key = Sm2PrivateKey(secret)
        if not der.startswith(_PKCS8) or rest != _PKCS8_POINT + _uncompressed(key.public_key().point):
            raise ValueError("not an SM2 key")
        return key


def certify(certificate: x509.Certificate, key: Sm2PublicKey, issuer: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """The same certificate for `key`, signed anew by its issuer.

    `certificate`: made for a throw-away key on P-256, whose SubjectPublicKeyInfo is as long as one of SM2.
    """
    tbs, algorithm, _ = _elements(certificate.public_bytes(serialization.Encoding.DER))
    public = certificate.public_key()
    other = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    spki = key.spki()
    if len(other) != len(spki) or tbs.count(other) != 1:
        raise ValueError("the certificate's own key is not one on P-256")
    tbs = tbs.replace(other, spki)
    signature = issuer.sign(tbs, ec.ECDSA(hashes.SHA256()))
    signed = tbs + algorithm + _element(0x03, b"\0" + signature)
    return x509.load_der_x509_certificate(_element(0x30, signed))


def key_of(certificate: x509.Certificate) -> Sm2PublicKey | None:
    """The SM2 key of a certificate; None if its key is another one. Raises ValueError if the point is none."""
    # TBSCertificate: version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, …
    elements = _elements(certificate.tbs_certificate_bytes)
    if len(elements) < 7:
        raise ValueError("a certificate of version 1")
    spki = elements[6]
    return Sm2PublicKey.from_spki(spki) if spki.startswith(_SPKI) else None


# Points -------------------------------------------------------------------------------------------------------------


def _uncompressed(point: bytes) -> bytes:
    """The 65 bytes of a compressed point that is on the curve."""
    x = int.from_bytes(point[1:], "big")
    y = pow(x**3 - 3 * x + _B, (_P + 1) // 4, _P)
    if y % 2 != point[0] % 2:
        y = _P - y
    return b"\x04" + point[1:] + y.to_bytes(32, "big")


def _compressed(point: bytes) -> bytes:
    """Inverse of `_uncompressed`. Raises ValueError if this is no point of the curve."""
    if len(point) != 65:
        raise ValueError("not an uncompressed point")
    short = bytes([2 + point[-1] % 2]) + point[1:33]
    sm2.check(np.frombuffer(short, dtype=np.uint8)[None])
    if _uncompressed(short) != point:
        raise ValueError("not a point of the curve")
    return short


# DER ----------------------------------------------------------------------------------------------------------------


def _element(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 + len(length)]) + length + content


def _elements(sequence: bytes) -> list[bytes]:
    """The elements of a SEQUENCE, each with its tag and length. Raises ValueError or IndexError for other bytes."""
    start, end = _content(sequence, 0)
    if sequence[0] != 0x30 or end != len(sequence):
        raise ValueError("not a sequence")
    found = []
    while start < end:
        _, following = _content(sequence, start)
        found.append(sequence[start:following])
        start = following
    if start != end:
        raise ValueError("an element is longer than its sequence")
    return found


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends."""
    size = data[at + 1]
    begin = at + 2
    if size >= 0x80:
        begin += size - 0x80
        size = int.from_bytes(data[at + 2 : begin], "big")
    return begin, begin + size
