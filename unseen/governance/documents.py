r"""Signed documents: what is signed, by whom, and how anyone can check it offline.

A document is a frozen pydantic model whose fields are strings, integers, booleans, null and lists of strings. Its bytes
are the JSON of RFC 8785 (one byte string for one content), and the signature covers ``b"unseen document\x00"`` followed
by these bytes, so that it can never be mistaken for a signature over anything else. Whoever receives a document
verifies the bytes as they came, and refuses bytes that are not the canonical form of what they say.

The signer's certificate comes from the local CA (`unseen.governance.ca`). It differs from the TLS certificate in key
and in usage (extended key usage *document signing*, RFC 9336), so that a TLS key can sign no document and a signing key
can open no connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import rfc8785
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mpc.errors import PolicyError, UsageError
from unseen.governance import files
from unseen.names import LABEL, check_party_name, party_of_host

CONTEXT = b"unseen document\x00"
"""Prefix of every signed message."""

CLOCK_TOLERANCE = timedelta(seconds=120)
"""How far two parties' clocks may differ before documents are refused."""

SIGNING_USAGE = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
"""Extended key usage id-kp-documentSigning (RFC 9336)."""

SIGNING_URI = "unseen:signer:"
"""Prefix of the URI that names the party in a signing certificate, such as ``unseen:signer:bank``."""

STRICT = ConfigDict(frozen=True, strict=True, extra="forbid")
"""Configuration of every document model."""

LARGEST_INTEGER = 2**53 - 1
"""RFC 8785 numbers are IEEE doubles; beyond this, integers are not exact."""


# Times --------------------------------------------------------------------------------------------------------------


def utc_now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, such as ``2026-01-31T23:59:59Z``. Raises UsageError for a naive time."""
    if moment.tzinfo is None:
        raise UsageError("a time without a time zone is ambiguous; use datetime.now(UTC).")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Inverse of `format_time`. Raises ValueError for any other form."""
    if len(text) != 20 or text[-1] != "Z" or text[10] != "T":
        raise ValueError("a time is written YYYY-MM-DDTHH:MM:SSZ")
    return datetime.fromisoformat(text)


# Field types --------------------------------------------------------------------------------------------------------


def to_base64(data: bytes) -> str:
    """base64url without padding (RFC 4648 §5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64(text: str) -> bytes:
    """Inverse of `to_base64`. Raises ValueError for padding, foreign characters or stray bits: one text for one
    value.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64url without padding") from None
    if to_base64(data) != text:
        raise ValueError("not base64url without padding")
    return data


def _checked_time(text: str) -> str:
    parse_time(text)
    return text


def _checked_base64(text: str) -> str:
    from_base64(text)
    return text


Name: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{LABEL}$")]
Time: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"), AfterValidator(_checked_time)
]
Count: TypeAlias = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Base64: TypeAlias = Annotated[str, StringConstraints(max_length=1 << 16), AfterValidator(_checked_base64)]
Digest: TypeAlias = Annotated[str, StringConstraints(min_length=43, max_length=43), AfterValidator(_checked_base64)]
"""base64url of 32 bytes."""
Element: TypeAlias = Annotated[str, StringConstraints(min_length=43, max_length=44), AfterValidator(_checked_base64)]
"""base64url of a group element: 32 bytes (``intl``) or 33 bytes (``gm``)."""


# Canonical bytes ----------------------------------------------------------------------------------------------------

_encoder = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def canonical(fields: Mapping[str, object]) -> bytes:
    """RFC 8785 bytes of a mapping with ASCII names whose values are strings, integers below 2^53, booleans, null or
    lists of these.

    On these values Python's own encoder agrees with RFC 8785 byte by byte, which a property test holds against
    `rfc8785`, and is eight times as fast; consents and audit entries are encoded thousands of times a second. Raises
    ValueError for a lone surrogate, which has no UTF-8 form.
    """
    return _encoder.encode(fields).encode("utf-8")


Document = TypeVar("Document", bound=BaseModel)


def parse(data: bytes, model: type[Document]) -> Document:
    """The document that `data` is the canonical form of.

    Raises PolicyError ``document-malformed`` or ``document-not-canonical``. Error text names fields, never values.
    """
    try:
        document = model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise PolicyError(
            f"not a {_type_of(model)}: {place}: {first['msg']}",
            code="document-malformed",
            remedy="Ask its issuer for a well-formed one.",
        ) from None
    if canonical(vars(document)) != data:
        raise PolicyError(
            f"the bytes of this {_type_of(model)} are not in the canonical form of RFC 8785",
            code="document-not-canonical",
            remedy="Pass documents on byte by byte, as they were signed.",
        )
    return document


def _type_of(model: type[BaseModel]) -> str:
    declared = model.model_fields.get("type")
    return str(declared.default) if declared is not None else model.__name__


# Suites -------------------------------------------------------------------------------------------------------------

SigningKey: TypeAlias = Ed25519PrivateKey
VerifyingKey: TypeAlias = Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one suite signs documents. `verify` raises `cryptography.exceptions.InvalidSignature`."""

    suite: str
    generate: Callable[[], SigningKey]
    sign: Callable[[SigningKey, bytes], bytes]
    verify: Callable[[VerifyingKey, bytes, bytes], None]  # key, signature, message
    owns: Callable[[object], bool]  # whether a certificate's key is one of this suite


SCHEMES: Mapping[str, Scheme] = {
    "intl": Scheme(
        suite="intl",
        generate=Ed25519PrivateKey.generate,
        sign=Ed25519PrivateKey.sign,
        verify=Ed25519PublicKey.verify,
        owns=lambda key: isinstance(key, Ed25519PublicKey),
    ),
}
"""Signature schemes by suite name. A new suite (``gm``: SM2 with SM3) is one more line here."""


def scheme_of(suite: str) -> Scheme:
    """The signature scheme of a suite. Raises UsageError for an unknown one: there is no default and no fallback."""
    try:
        return SCHEMES[suite]
    except KeyError:
        raise UsageError(f"unknown suite {suite[:40]!r}. Known suites: {', '.join(SCHEMES)}.") from None


# Signing ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """A party's right to sign: its name, its suite, its key and the certificate (DER) that vouches for the key."""

    name: str
    suite: str
    key: SigningKey = field(repr=False)
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed document as it travels: `document` holds the very bytes that were signed.

    `certificate` (DER) may be empty where the receiver already has it, see `Trust.know`.
    """

    document: bytes
    signature: bytes
    signer: str
    certificate: bytes = field(default=b"", repr=False)


class _Envelope(BaseModel):
    """A `Signed` in a file."""

    model_config = STRICT
    document: str
    signature: Base64
    signer: Name
    certificate: Base64


def sign(document: BaseModel, signer: Signer) -> Signed:
    """Signs a document. Its ``suite`` field must be the signer's suite. Raises UsageError otherwise."""
    suite = getattr(document, "suite", None)
    if suite != signer.suite:
        raise UsageError(
            f"a document of suite {suite!r} cannot be signed with a key of suite {signer.suite!r}. Use one suite for both."
        )
    data = rfc8785.dumps(document.model_dump(mode="json"))
    signature = scheme_of(signer.suite).sign(signer.key, CONTEXT + data)
    return Signed(document=data, signature=signature, signer=signer.name, certificate=signer.certificate)


def check_signature(signed: Signed, key: VerifyingKey, *, suite: str) -> None:
    """Raises PolicyError ``document-bad-signature`` unless `key` signed these bytes."""
    try:
        scheme_of(suite).verify(key, signed.signature, CONTEXT + signed.document)
    except InvalidSignature:
        raise PolicyError(
            f"the signature of {signed.signer} does not fit the document",
            code="document-bad-signature",
            remedy="The document was changed on its way, or signed by another key; ask its issuer for it again.",
        ) from None


def verify(
    signed: Signed,
    model: type[Document],
    *,
    trust: Trust,
    signer: str,
    signer_field: str,
    suite: str,
    now: datetime | None = None,
) -> Document:
    """Checks a signed document and returns it parsed.

    Args:
        signed: the document as it came.
        model: the document type expected here; any other is refused.
        trust: the root and revocation list to check the certificate against.
        signer: the party that must have signed it.
        signer_field: the document's own field that names its signer, such as ``issuer`` or ``node``; it must agree.
        suite: the suite expected here.
        now: the time to check at; the present by default.

    Raises:
        PolicyError: ``document-…`` for the document itself, ``certificate-…`` or ``crl-…`` for its signer's
        certificate. UsageError: an unknown suite.
    """
    scheme_of(suite)
    if signed.signer != signer:
        raise PolicyError(
            f"the document says it is signed by {signed.signer[:63]!r}, expected {signer!r}",
            code="document-wrong-signer",
            remedy=f"Ask {signer} for it.",
        )
    check_signature(signed, trust.signing_key(signed, suite=suite, now=now), suite=suite)
    document = parse(signed.document, model)
    if getattr(document, signer_field) != signer:
        raise PolicyError(
            f"the document speaks for another party than {signer!r}, which signed it",
            code="document-wrong-signer",
            remedy=f"Ask {signer} for its own.",
        )
    if getattr(document, "suite", None) != suite:
        raise PolicyError(
            f"the document is of another suite than {suite!r}",
            code="document-wrong-suite",
            remedy="Both sides must use one suite; compare their configuration.",
        )
    return document


def digest(signed: Signed) -> bytes:
    """SHA-256 of a signed document's bytes: its name in audit entries, receipts and hash chains."""
    return hashlib.sha256(signed.document).digest()


def to_json(signed: Signed) -> str:
    """One line of JSON, for files. Inverse: `from_json`."""
    return json.dumps(
        {
            "document": signed.document.decode("utf-8"),
            "signature": to_base64(signed.signature),
            "signer": signed.signer,
            "certificate": to_base64(signed.certificate),
        },
        ensure_ascii=False,
    )


def from_json(text: str | bytes) -> Signed:
    """Reads what `to_json` wrote. Raises PolicyError ``document-malformed``; nothing about the signature is checked
    here.
    """
    try:
        envelope = _Envelope.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise PolicyError(
            f"not a signed document: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}",
            code="document-malformed",
            remedy="A signed document is one JSON object with document, signature, signer and certificate.",
        ) from None
    return Signed(
        document=envelope.document.encode("utf-8"),
        signature=from_base64(envelope.signature),
        signer=envelope.signer,
        certificate=from_base64(envelope.certificate),
    )


# Certificates -------------------------------------------------------------------------------------------------------


def colons(fingerprint: bytes) -> str:
    """A SHA-256 fingerprint as people compare it: upper-case hexadecimal with colons."""
    return fingerprint.hex(":").upper()


def certificate_fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER certificate, colon-separated: what ``openssl x509 -fingerprint -sha256`` prints."""
    return colons(hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest())


def key_fingerprint(key: VerifyingKey) -> str:
    """SHA-256 of a signing key's SubjectPublicKeyInfo, colon-separated. It outlives the certificate, so it is what is
    pinned.
    """
    return colons(
        hashlib.sha256(
            key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        ).digest()
    )


def _refuse(code: str, message: str, remedy: str) -> PolicyError:
    return PolicyError(message, code=f"certificate-{code}", remedy=remedy)


def signing_name(certificate: x509.Certificate) -> str:
    """The party that a signing certificate speaks for. Raises PolicyError ``certificate-wrong-usage`` for any other
    certificate.
    """
    try:
        extensions = certificate.extensions
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        key_usage = extensions.get_extension_for_class(x509.KeyUsage).value
        uris = extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.UniformResourceIdentifier
        )
    except (x509.ExtensionNotFound, ValueError):
        usages, key_usage, uris = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), None, []
    names = [uri.removeprefix(SIGNING_URI) for uri in uris if uri.startswith(SIGNING_URI)]
    if list(usages) != [SIGNING_USAGE] or key_usage is None or not key_usage.content_commitment or len(names) != 1:
        raise _refuse(
            "wrong-usage",
            "not a certificate for signing documents",
            "Sign with the party's signing key, not its TLS key.",
        )
    return check_party_name(names[0])


def tls_name(certificate: x509.Certificate) -> str:
    """The party that a TLS certificate speaks for. Raises PolicyError ``certificate-wrong-usage`` for any other
    certificate.
    """
    try:
        extensions = certificate.extensions
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        hosts = extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        usages, hosts = set(), []
    if usages != {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH} or len(hosts) != 1:
        raise _refuse("wrong-usage", "not a party's TLS certificate", "Connect with the party's TLS certificate.")
    return party_of_host(hosts[0])


@dataclass(frozen=True, slots=True)
class _Vouched:
    """A certificate whose signature by the root has been checked. Its dates and its revocation are checked at every
    use.
    """

    name: str
    serial: int
    not_before: datetime
    not_after: datetime
    key: VerifyingKey | None  # None for a TLS certificate


@dataclass(frozen=True, slots=True)
class _RevocationList:
    stamp: tuple[int, int, int]
    number: int
    next_update: datetime
    serials: frozenset[int]


class Trust:
    """Checks certificates offline, against one root and its revocation list.

    A certificate's signature is checked once and remembered; its dates and the revocation list are checked at each use.
    The list is read again as soon as its file changes (each use looks at the file's time, size and inode). Safe to use
    from many threads.
    """

    def __init__(self, root: bytes, crl: Path) -> None:
        """
        Args:
            root: the root certificate, PEM.
            crl: path of the revocation list, PEM.

        Raises UsageError if either is not what it should be.
        """
        try:
            self._root = x509.load_pem_x509_certificate(root)
            constraints = self._root.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (ValueError, x509.ExtensionNotFound):
            constraints = x509.BasicConstraints(ca=False, path_length=None)
        if not constraints.ca:
            raise UsageError("not a root certificate. Use the root.pem that `unseen ca init` made.")
        self._crl_path = crl
        self._lock = threading.Lock()
        self._vouched: dict[bytes, _Vouched] = {}
        self._known: dict[str, bytes] = {}
        self._crl = self._read_crl()

    @property
    def root_fingerprint(self) -> str:
        """SHA-256 of the root certificate, colon-separated."""
        return certificate_fingerprint(self._root)

    def know(self, certificate: bytes) -> str:
        """Remembers a signing certificate (DER), so that documents may come without it. Returns the party's name.

        The last certificate told for a name is the one used. Raises PolicyError ``certificate-…``.
        """
        vouched = self._vouch(certificate, tls=False)
        self._known[vouched.name] = certificate
        return vouched.name

    def signing_key(self, signed: Signed, *, suite: str, now: datetime | None = None) -> VerifyingKey:
        """The key that `signed.signer` signs with, from the certificate that came with it, or one told by `know`.

        Raises PolicyError ``certificate-missing``, ``-untrusted``, ``-wrong-usage``, ``-wrong-name``, ``-expired``,
        ``-not-yet-valid``, ``-revoked``, or ``crl-expired``.
        """
        certificate = signed.certificate or self._known.get(signed.signer, b"")
        if not certificate:
            raise _refuse(
                "missing",
                f"no certificate of {signed.signer[:63]!r} is known",
                "Send the signer's certificate with the document.",
            )
        vouched = self._vouch(certificate, tls=False)
        if vouched.name != signed.signer:
            raise _refuse(
                "wrong-name",
                f"the certificate names {vouched.name!r}, the document {signed.signer[:63]!r}",
                "Send the signer's own certificate.",
            )
        self._check_current(vouched, now or utc_now())
        if vouched.key is None or not scheme_of(suite).owns(vouched.key):
            raise _refuse(
                "wrong-usage",
                f"the certificate's key is not one of suite {suite!r}",
                "Sign with a key of the document's suite.",
            )
        return vouched.key

    def tls_party(self, certificate: bytes, *, now: datetime | None = None) -> str:
        """The party that a peer's TLS certificate (PEM) names, after the checks that TLS itself does not make
        (revocation).

        Raises PolicyError as `signing_key` does.
        """
        try:
            der = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
        except ValueError:
            raise _refuse(
                "untrusted", "not a certificate", "Connect with the certificate from the party's bundle."
            ) from None
        vouched = self._vouch(der, tls=True)
        self._check_current(vouched, now or utc_now())
        return vouched.name

    def check_not_revoked(self, certificate: x509.Certificate) -> None:
        """Raises PolicyError ``certificate-revoked``. Says nothing about dates."""
        if certificate.serial_number in self._current_crl().serials:
            raise _refuse("revoked", "the certificate was revoked", "Enrol again with the CA.")

    def _vouch(self, der: bytes, *, tls: bool) -> _Vouched:
        known = self._vouched.get(der)
        if known is not None:
            if (known.key is None) is not tls:
                raise _refuse(
                    "wrong-usage", "a certificate of the wrong kind", "TLS and signing have a certificate each."
                )
            return known
        try:
            certificate = x509.load_der_x509_certificate(der)
            certificate.verify_directly_issued_by(self._root)
            constraints = _constraints_of(certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise _refuse(
                "untrusted",
                "the certificate is not signed by this CA's root",
                "Both parties must be enrolled with the same CA.",
            ) from None
        if constraints.ca:
            raise _refuse("wrong-usage", "a CA certificate signs no documents", "Use the party's own certificate.")
        key: VerifyingKey | None = None
        if tls:
            name = tls_name(certificate)
        else:
            name = signing_name(certificate)
            public = certificate.public_key()
            if not isinstance(public, Ed25519PublicKey):
                raise _refuse(
                    "wrong-usage",
                    "the certificate's key signs no documents of a known suite",
                    "Enrol again with the CA.",
                )
            key = public
        vouched = _Vouched(
            name=name,
            serial=certificate.serial_number,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            key=key,
        )
        with self._lock:
            # Only certificates signed by the root get this far, so the memory is bounded by what the CA has issued.
            self._vouched[der] = vouched
        return vouched

    def _check_current(self, vouched: _Vouched, now: datetime) -> None:
        crl = self._current_crl()
        if vouched.serial in crl.serials:
            raise _refuse("revoked", f"the certificate of {vouched.name} was revoked", "Enrol again with the CA.")
        if now > vouched.not_after:
            raise _refuse(
                "expired",
                f"the certificate of {vouched.name} expired at {format_time(vouched.not_after)}",
                "Renew it with `unseen node renew`; if it should be valid, compare the clocks.",
            )
        if now < vouched.not_before - CLOCK_TOLERANCE:
            raise _refuse(
                "not-yet-valid",
                f"the certificate of {vouched.name} becomes valid at {format_time(vouched.not_before)}",
                "Compare the clocks (NTP) of this machine and the CA's.",
            )
        if now > crl.next_update:
            raise PolicyError(
                f"the revocation list was due for renewal at {format_time(crl.next_update)}",
                code="crl-expired",
                remedy="Fetch a new one from the CA (`unseen ca crl`).",
            )

    def _current_crl(self) -> _RevocationList:
        try:
            stamp = _stamp(self._crl_path)
        except OSError:
            # The list is replaced by rename, so it is never absent by design. What is known stays in force.
            return self._crl
        if stamp != self._crl.stamp:
            with self._lock:
                if stamp != self._crl.stamp:
                    fresh = self._read_crl()
                    if fresh.number < self._crl.number:
                        raise PolicyError(
                            f"the revocation list went back from number {self._crl.number} to {fresh.number}",
                            code="crl-rolled-back",
                            remedy="Install the CA's newest list.",
                        )
                    self._crl = fresh
        return self._crl

    def _read_crl(self) -> _RevocationList:
        try:
            stamp = _stamp(self._crl_path)
        except OSError:
            raise UsageError(f"no revocation list at {self._crl_path}. Install the bundle from the CA.") from None
        return parse_crl(files.read(self._crl_path, what="a revocation list"), root=self._root, stamp=stamp)


def _constraints_of(certificate: x509.Certificate) -> x509.BasicConstraints:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return x509.BasicConstraints(ca=False, path_length=None)


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def parse_crl(pem: bytes, *, root: x509.Certificate, stamp: tuple[int, int, int] = (0, 0, 0)) -> _RevocationList:
    """Reads a revocation list that `root` signed. Raises PolicyError ``crl-untrusted``."""
    try:
        crl = x509.load_pem_x509_crl(pem)
        key = root.public_key()
        valid = (
            isinstance(key, ec.EllipticCurvePublicKey) and crl.issuer == root.subject and crl.is_signature_valid(key)
        )
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        next_update = crl.next_update_utc
        serials = frozenset(revoked.serial_number for revoked in crl)
    except (ValueError, TypeError, x509.ExtensionNotFound):
        valid, number, next_update, serials = False, 0, None, frozenset()
    if not valid or next_update is None:
        raise PolicyError(
            "the revocation list is not one of this CA's root",
            code="crl-untrusted",
            remedy="Fetch it again from the CA (`unseen ca crl`).",
        )
    return _RevocationList(stamp=stamp, number=number, next_update=next_update, serials=serials)
