"""Certificates and their revocation, checked offline: which key may speak for which party.

A party has two certificates from the local CA (`unseen.governance.ca`). The TLS one carries ``<name>.party.unseen`` and
the usages client and server authentication; the signing one carries the URI ``unseen:signer:<name>`` and the usage
*document signing* (RFC 9336). So a TLS key can sign no document, and a signing key can open no connection.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from mpc.errors import PolicyError, UsageError
from unseen.governance import files, keys
from unseen.governance.documents import CLOCK_TOLERANCE, format_time, utc_now
from unseen.governance.keys import VerifyingKey, scheme_of, suite_of
from unseen.names import check_party_name, party_of_host

SIGNING_USAGE = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
"""Extended key usage id-kp-documentSigning (RFC 9336)."""

SIGNING_URI = "unseen:signer:"
"""Prefix of the URI that names the party in a signing certificate, such as ``unseen:signer:bank``."""

UNREADABLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that are no certificate, list or request that it can read. They come from
strangers, and most of these errors are not ValueErrors.
"""


# Fingerprints -------------------------------------------------------------------------------------------------------


def colons(fingerprint: bytes) -> str:
    """A SHA-256 fingerprint as people compare it: upper-case hexadecimal with colons."""
    return fingerprint.hex(":").upper()


def read_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as people type it, with or without colons and blanks, in the form of `colons`.

    Raises UsageError if it is none.
    """
    digits = text.replace(":", "").replace(" ", "")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = b""
    if len(data) != 32:
        raise UsageError("not a SHA-256 fingerprint. Give all of its 64 hexadecimal digits, with or without colons.")
    return colons(data)


def certificate_fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER certificate, colon-separated: what ``openssl x509 -fingerprint -sha256`` prints."""
    return colons(hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest())


def key_fingerprint(key: VerifyingKey) -> str:
    """SHA-256 of a signing key's SubjectPublicKeyInfo, colon-separated. It outlives certificates, so it is what is
    pinned.
    """
    return colons(hashlib.sha256(keys.spki(key)).digest())


# One certificate ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a certificate says whose signature by the root is good. Whether it is in force *now* is another question.

    `signing_key` is None for a TLS certificate.
    """

    name: str
    kind: Literal["tls", "signing"]
    serial: int
    not_before: datetime
    not_after: datetime
    signing_key: VerifyingKey | None


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A revocation list whose signature by the root is good. `number` grows with each issue."""

    number: int
    next_update: datetime
    serials: frozenset[int]


def _refuse(code: str, message: str, remedy: str) -> PolicyError:
    return PolicyError(message, code=f"certificate-{code}", remedy=remedy)


def load_root(pem: bytes) -> x509.Certificate:
    """Reads a root certificate. Raises UsageError if it is none."""
    try:
        root = x509.load_pem_x509_certificate(pem)
        root.verify_directly_issued_by(root)
        if root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return root
    except UNREADABLE:
        pass
    raise UsageError("not a root certificate. Use the root.crt that `unseen ca init` made.")


def vouch(der: bytes, *, root: x509.Certificate) -> Vouched:
    """Reads a party's certificate that `root` signed.

    Raises PolicyError ``certificate-untrusted`` if it did not, ``certificate-wrong-usage`` if it is neither kind.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(root)
        extensions = certificate.extensions
        public = keys.certified_key(certificate)
    except UNREADABLE:
        raise _refuse(
            "untrusted",
            "the certificate is not signed by this CA's root",
            "Both parties must be enrolled with the same CA.",
        ) from None
    try:
        ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        commits = extensions.get_extension_for_class(x509.KeyUsage).value.content_commitment
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise _wrong_usage() from None
    hosts = names.get_values_for_type(x509.DNSName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    name: str
    kind: Literal["tls", "signing"]
    key: VerifyingKey | None = None
    # One name, and nothing beside it that another reader of the certificate could take for the name.
    if ca or len(list(names)) != 1:
        raise _wrong_usage()
    try:
        if usages == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH} and hosts:
            name, kind = party_of_host(hosts[0]), "tls"
        elif usages == {SIGNING_USAGE} and commits and uris and uris[0].startswith(SIGNING_URI):
            name, kind = check_party_name(uris[0].removeprefix(SIGNING_URI)), "signing"
            if public is None:
                raise _wrong_usage()
            key = public
        else:
            raise _wrong_usage()
    except UsageError:
        raise _wrong_usage() from None
    return Vouched(
        name=name,
        kind=kind,
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        signing_key=key,
    )


def _wrong_usage() -> PolicyError:
    return _refuse(
        "wrong-usage",
        "the certificate is not for this use",
        "Connect with the party's TLS certificate, and sign with its signing certificate.",
    )


def parse_crl(pem: bytes, *, root: x509.Certificate) -> RevocationList:
    """Reads a revocation list that `root` signed. Raises PolicyError ``crl-untrusted``."""
    try:
        crl = x509.load_pem_x509_crl(pem)
        key = root.public_key()
        valid = (
            isinstance(key, ec.EllipticCurvePublicKey) and crl.is_signature_valid(key) and crl.issuer == root.subject
        )
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        next_update = crl.next_update_utc
        serials = frozenset(revoked.serial_number for revoked in crl)
    except UNREADABLE:
        valid, number, next_update, serials = False, 0, None, frozenset()
    if not valid or next_update is None:
        raise PolicyError(
            "the revocation list is not one of this CA's root",
            code="crl-untrusted",
            remedy="Fetch it again from the CA (`unseen ca crl`) and install it with `unseen node crl`.",
        )
    return RevocationList(number=number, next_update=next_update, serials=serials)


def check_current(vouched: Vouched, crl: RevocationList, *, now: datetime) -> None:
    """Raises PolicyError ``certificate-revoked``, ``-expired``, ``-not-yet-valid``, or ``crl-expired``."""
    if vouched.serial in crl.serials:
        raise _refuse("revoked", f"the certificate of {vouched.name} was revoked", "Enrol again with the CA.")
    if now > vouched.not_after:
        raise _refuse(
            "expired",
            f"the certificate of {vouched.name} expired at {format_time(vouched.not_after)}",
            "Renew it with `unseen node renew`; if it should be valid, compare the clocks (NTP).",
        )
    if now + CLOCK_TOLERANCE < vouched.not_before:
        raise _refuse(
            "not-yet-valid",
            f"the certificate of {vouched.name} becomes valid at {format_time(vouched.not_before)}",
            "Compare the clocks (NTP) of this machine and the CA's.",
        )
    if now > crl.next_update:
        raise PolicyError(
            f"the revocation list was due for renewal at {format_time(crl.next_update)}",
            code="crl-expired",
            remedy="Fetch a new one from the CA (`unseen ca crl`) and install it with `unseen node crl`.",
        )


# Many of them -------------------------------------------------------------------------------------------------------


class Trust:
    """Checks certificates against one root and its revocation list, and remembers whose signature it has checked.

    Dates and revocation are checked at every use. `tls_party` looks at the list's file (its time, size and inode) each
    time; `signing_key`, which is called for every consent, at most every `recheck_s`, so that a signer revoked in a
    changed list is refused that much later. Safe to use from many threads.
    """

    def __init__(self, root: bytes, crl: Path, *, recheck_s: float = 1.0) -> None:
        """
        Args:
            root: the root certificate, PEM.
            crl: path of the revocation list, PEM.
            recheck_s: how often at most, in seconds, `signing_key` looks at the list's file.

        Raises UsageError if there is no root or no list, PolicyError ``crl-untrusted`` if they do not belong together.
        """
        self._root = load_root(root)
        self._crl_path = crl
        self._lock = threading.Lock()
        self._vouched: dict[bytes, Vouched] = {}
        self._known: dict[str, bytes] = {}
        try:
            self._stamp = self._stamp_of_file()
        except OSError:
            raise UsageError(f"no revocation list at {crl}. Install the bundle from the CA.") from None
        self._crl = parse_crl(files.read(crl, what="a revocation list"), root=self._root)
        self._recheck_s = recheck_s
        self._next_look = time.monotonic() + recheck_s

    @property
    def root_fingerprint(self) -> str:
        """SHA-256 of the root certificate, colon-separated."""
        return certificate_fingerprint(self._root)

    def know(self, certificate: bytes) -> str:
        """Remembers a signing certificate (DER), so that documents may come without it. Returns the party's name.

        The last certificate told for a name is the one used. Raises PolicyError ``certificate-…``.
        """
        vouched = self._vouch(certificate)
        if vouched.kind != "signing":
            raise _wrong_usage()
        self._known[vouched.name] = certificate
        return vouched.name

    def signing_key(self, name: str, certificate: bytes, *, suite: str, now: datetime | None = None) -> VerifyingKey:
        """The key that the party `name` signs with.

        Args:
            name: the party.
            certificate: DER; if empty, the one told by `know`.
            suite: suite of the document to check.
            now: the time to check at; the present by default.

        Raises PolicyError ``certificate-missing``, ``-untrusted``, ``-wrong-usage``, ``-wrong-suite``, ``-wrong-name``,
        ``-expired``, ``-not-yet-valid``, ``-revoked``, or ``crl-…``.
        """
        der = certificate or self._known.get(name, b"")
        if not der:
            raise _refuse(
                "missing",
                f"no signing certificate of {name[:63]!r} is known",
                "Send the signer's certificate with the document.",
            )
        vouched = self._vouch(der)
        key = vouched.signing_key
        if key is None:
            raise _wrong_usage()
        if not isinstance(key, scheme_of(suite).key):
            raise _refuse(
                "wrong-suite",
                f"the certificate of {vouched.name} is for documents of suite {suite_of(key)!r}, not {suite!r}",
                "Both sides must use one suite; compare their configuration.",
            )
        if vouched.name != name:
            raise _refuse(
                "wrong-name",
                f"the certificate is that of {vouched.name!r}, expected {name[:63]!r}",
                "Send the signer's own certificate.",
            )
        check_current(vouched, self._current_crl(), now=now or utc_now())
        return key

    def tls_party(self, certificate: bytes, *, now: datetime | None = None) -> str:
        """The party that a peer's TLS certificate (PEM) names, after the one check that TLS here does not make:
        revocation.

        Raises PolicyError as `signing_key` does.
        """
        try:
            der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
        except UNREADABLE:
            raise _refuse("untrusted", "not a certificate", "Connect with the certificate from the bundle.") from None
        vouched = self._vouch(der)
        if vouched.kind != "tls":
            raise _wrong_usage()
        check_current(vouched, self._current_crl(at_once=True), now=now or utc_now())
        return vouched.name

    def _vouch(self, der: bytes) -> Vouched:
        vouched = self._vouched.get(der)
        if vouched is None:
            vouched = vouch(der, root=self._root)
            # Only certificates that the root signed are remembered, so the CA bounds the memory.
            self._vouched[der] = vouched
        return vouched

    def _current_crl(self, *, at_once: bool = False) -> RevocationList:
        if not at_once and time.monotonic() < self._next_look:
            return self._crl
        with self._lock:
            try:
                stamp = self._stamp_of_file()
            except OSError:
                # The file is replaced by rename, so it is never absent by design. What is known stays in force.
                stamp = self._stamp
            if stamp != self._stamp:
                fresh = parse_crl(self._read_crl(), root=self._root)
                if fresh.number < self._crl.number:
                    raise PolicyError(
                        f"the revocation list went back from number {self._crl.number} to {fresh.number}",
                        code="crl-rolled-back",
                        remedy="Install the CA's newest list.",
                    )
                self._crl, self._stamp = fresh, stamp
            # Only after a list was found good: while a bad one lies there, every use is refused.
            self._next_look = time.monotonic() + self._recheck_s
        return self._crl

    def _read_crl(self) -> bytes:
        try:
            return files.read(self._crl_path, what="a revocation list")
        except UsageError:
            # Strangers are told this too, so it names no path. Who may be let in is not known until it can be read.
            raise PolicyError(
                "the revocation list cannot be read",
                code="crl-unreadable",
                remedy="Its owner has to look at crl.pem in its home: its permissions, and the disk.",
            ) from None

    def _stamp_of_file(self) -> tuple[int, int, int]:
        status = self._crl_path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
