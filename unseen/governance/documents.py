r"""Signed documents: what is signed, by whom, and how anyone can check it offline.

A document is a frozen pydantic model whose fields are strings, integers, booleans, null, and lists of strings or of
models of the same kind. Its bytes are the JSON of RFC 8785 (one byte string for one content), and the signature covers
``b"unseen document\x00"`` followed by these bytes, so that it can never be mistaken for a signature over anything else.
Whoever receives a document verifies the bytes as they came, and refuses bytes that are not the canonical form of what
they say.

Whether a key may speak for a party is for `unseen.governance.trust` to say.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mpc import suite as suites
from mpc.errors import PolicyError, UsageError
from mpc.kernels import hash as hashes
from mpc.kernels.ed25519 import InvalidSignature
from unseen.governance import keys
from unseen.governance.keys import SigningKey, VerifyingKey, scheme_of
from unseen.names import LABEL

if TYPE_CHECKING:
    from unseen.governance.trust import Trust

CONTEXT = b"unseen document\x00"
"""Prefix of every signed message."""

CLOCK_TOLERANCE = timedelta(seconds=120)
"""How far two parties' clocks may differ before documents are refused."""

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
    if not _CANONICAL.fullmatch(text):
        raise ValueError("not base64url without padding")
    return base64.urlsafe_b64decode(text + "==")


# The last character of a group that is not full carries no stray bits.
_CANONICAL = re.compile("([A-Za-z0-9_-]{4})*([A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?")


def _checked_time(text: str) -> str:
    parse_time(text)
    return text


def _checked_base64(text: str) -> str:
    from_base64(text)
    return text


Name: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{LABEL}$")]
Time: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_checked_time),
]
Count: TypeAlias = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Base64: TypeAlias = Annotated[str, StringConstraints(max_length=1 << 16), AfterValidator(_checked_base64)]

# Of fixed lengths the grammar alone says which texts are canonical, see above.
_16_BYTES = "[A-Za-z0-9_-]{21}[AQgw]"
_32_BYTES = "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
_33_BYTES = "[A-Za-z0-9_-]{44}"
Nonce: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_16_BYTES}$")]
"""base64url of 16 bytes."""
Digest: TypeAlias = Annotated[str, StringConstraints(pattern=f"^{_32_BYTES}$")]
"""base64url of 32 bytes."""
Element: TypeAlias = Annotated[str, StringConstraints(pattern=f"^({_32_BYTES}|{_33_BYTES})$")]
"""base64url of a group element: 32 bytes (``intl``) or 33 bytes (``gm``)."""


# Canonical bytes ----------------------------------------------------------------------------------------------------

_encoder = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False, default=vars
)


def canonical(fields: Mapping[str, object]) -> bytes:
    """RFC 8785 bytes of a mapping with ASCII names whose values are strings, integers below 2^53, booleans, null,
    models of such fields, or lists of these.

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
            f"a document of suite {suite!r} cannot be signed by a key of suite {signer.suite!r}. Use one suite."
        )
    data = rfc8785.dumps(document.model_dump(mode="json"))
    signature = signer.key.sign(CONTEXT + data)
    return Signed(document=data, signature=signature, signer=signer.name, certificate=signer.certificate)


def check_signature(signed: Signed, key: VerifyingKey, *, suite: str) -> None:
    """Raises PolicyError ``document-bad-signature`` unless `key` signed these bytes."""
    if not isinstance(key, scheme_of(suite).key):
        raise UsageError(f"the key is not one of the suite {suite!r}. Take the key from `Trust.signing_key`.")
    try:
        keys.verify(key, CONTEXT + signed.document, signed.signature)
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
    key = trust.signing_key(signer, signed.certificate, suite=suite, now=now)
    check_signature(signed, key, suite=suite)
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


def digest(signed: Signed, *, suite: str) -> bytes:
    """The suite's digest (SHA-256, SM3) of a signed document's bytes, 32 bytes: its name in audit entries, receipts
    and hash chains.
    """
    return hash_of(signed.document, suite=suite)


def hash_of(data: bytes, *, suite: str) -> bytes:
    """The suite's digest (SHA-256, SM3) of some bytes: 32 bytes. Raises UsageError for an unknown suite."""
    return hashes.digest(suites.get(suite).digest, data)


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
