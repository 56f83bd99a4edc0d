"""Consents: one subject, one scenario, one requester, one use.

The identity platform that a citizen signs in to blinds the citizen's key, ``B = r · H(key)``, and signs B together with
the node, product, scenario, requester, epoch, a nonce and an expiry. It hands consent and r to the requester. The node
checks the consent and evaluates B; it never learns the key, and without a consent it evaluates nothing. A consent names
no subject: B is uniformly random to everyone but the platform and the requester. Platform and node together can reveal
the key.

A pair (are these two married to each other?) has one B for the sorted pair and two consents over it, parts 1/2 and 2/2,
one from each subject.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, ValidationError

from mpc.errors import PolicyError, UsageError
from unseen.governance import files
from unseen.governance.documents import (
    CLOCK_TOLERANCE,
    STRICT,
    Base64,
    Count,
    Element,
    Name,
    Nonce,
    Signed,
    Time,
    check_signature,
    digest,
    from_base64,
    from_json,
    parse,
    parse_time,
    to_base64,
    to_json,
    utc_now,
)
from unseen.governance.trust import Trust

Part: TypeAlias = Annotated[int, Field(ge=1, le=2)]


class Consent(BaseModel):
    """What the platform signs for one subject. `part` of `parts`: 1 of 1 for a single key, 1 and 2 of 2 for a pair."""

    model_config = STRICT
    type: Literal["unseen.consent.v1"] = "unseen.consent.v1"
    suite: str
    issuer: Name
    node: Name
    product: Name
    scenario: Name
    requester: Name
    epoch: Count
    blinded: Element
    nonce: Nonce
    part: Part
    parts: Part
    issued_at: Time
    expires_at: Time


@dataclass(frozen=True, slots=True)
class Issued:
    """What the platform hands over for one key.

    Attributes:
        key: the key as a person writes it, or the two keys of a pair.
        tokens: one signed consent, or two for a pair.
        blind: the scalar r, 32 bytes. Whoever holds r and B can test guesses of the key.
    """

    key: tuple[str, ...] = field(repr=False)
    tokens: tuple[Signed, ...]
    blind: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckedConsent:
    """A complete consent that was found in order. `nonces`, `issuers` and `digests` have one entry per part.

    Attributes:
        blinded: the element B that may be evaluated, once.
        nonces: 24 bytes each: the part's expiry in seconds since 1970 (8 bytes, big-endian) and its nonce.
            `unseen.governance.ledger` burns them, and forgets them when they have expired.
        digests: the suite's digest of each part's bytes, 32 bytes each.
        expires: when the last part expires.
    """

    node: str
    product: str
    scenario: str
    requester: str
    epoch: int
    suite: str
    blinded: bytes
    nonces: tuple[bytes, ...]
    issuers: tuple[str, ...]
    digests: tuple[bytes, ...]
    expires: datetime


# Handing over -------------------------------------------------------------------------------------------------------


class _Line(BaseModel):
    model_config = STRICT
    key: str | list[str]
    tokens: list[dict[str, str]]
    blind: Base64


def write_handover(path: Path, issued: Iterable[Issued]) -> None:
    """Writes the hand-over file: JSON lines of ``{"key", "tokens", "blind"}``, mode 0600, because keys and blinds are
    in it.

    Raises UsageError if `path` exists.
    """
    lines = [
        json.dumps(
            {
                "key": row.key[0] if len(row.key) == 1 else list(row.key),
                "tokens": [json.loads(to_json(token)) for token in row.tokens],
                "blind": to_base64(row.blind),
            },
            ensure_ascii=False,
        )
        for row in issued
    ]
    files.create(path, "".join(f"{line}\n" for line in lines).encode("utf-8"), mode=files.PRIVATE)


def read_handover(path: Path) -> Iterator[Issued]:
    """Reads a hand-over file line by line. Signatures are not checked here.

    Raises UsageError naming the line, never its content.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = _Line.model_validate_json(line)
                    tokens = tuple(from_json(json.dumps(token)) for token in row.tokens)
                    blind = from_base64(row.blind)
                except (ValidationError, PolicyError):
                    raise UsageError(
                        f"{path}, line {number}: not a consent. Use the file that `unseen consent issue` wrote."
                    ) from None
                key = (row.key,) if isinstance(row.key, str) else tuple(row.key)
                yield Issued(key=key, tokens=tokens, blind=blind)
    except OSError as error:
        raise UsageError(
            f"cannot read consents at {path}: {error.strerror}. Check the path and its permissions."
        ) from None


# The node's side ----------------------------------------------------------------------------------------------------


def _refuse(code: str, message: str, remedy: str) -> PolicyError:
    return PolicyError(message, code=f"consent-{code}", remedy=remedy)


def _incomplete(message: str) -> PolicyError:
    return _refuse(
        "parts-incomplete", message, "Send all parts of one consent: 1/1, or 1/2 and 2/2 over the same element."
    )


def check(
    tokens: Sequence[Signed],
    *,
    blinded: bytes,
    node: str,
    product: str,
    requester: str,
    scenarios: Collection[str],
    epochs: Collection[int],
    issuers: Collection[str],
    suite: str,
    trust: Trust,
    now: datetime | None = None,
) -> CheckedConsent:
    """Checks the consent for evaluating `blinded`: everything but whether it was used before, which the ledger knows.

    Args:
        tokens: the parts of one consent, in any order.
        blinded: the element B as it arrived.
        node: this node.
        product: the product asked.
        requester: the asker as its TLS certificate names it.
        scenarios: scenarios that the policy allows this requester.
        epochs: epochs being served.
        issuers: platforms that are trusted to speak for subjects.
        suite: the suite of this session.
        trust: checks the platforms' certificates.
        now: the time to check at; the present by default.

    Raises:
        PolicyError: ``consent-malformed``, ``-wrong-suite``, ``-wrong-issuer``, ``-bad-signature``, ``-wrong-node``,
            ``-wrong-product``, ``-wrong-requester``, ``-wrong-scenario``, ``-wrong-epoch``, ``-from-future``,
            ``-expired``, ``-blinded-mismatch``, ``-parts-incomplete``; or ``certificate-…``/``crl-…`` about the
            issuer's certificate.
    """
    if not 1 <= len(tokens) <= 2:
        raise _incomplete(f"{len(tokens)} parts where a consent has one or two")
    moment = now or utc_now()
    wanted = to_base64(blinded)
    parts = sorted(((_read_part(token), token) for token in tokens), key=lambda part: part[0].part)
    for consent, token in parts:
        # What is free to check comes first; the signature is most of the work.
        _check_terms(consent, node=node, product=product, requester=requester, scenarios=scenarios, epochs=epochs)
        _check_times(consent, moment)
        if not hmac.compare_digest(consent.blinded, wanted):
            raise _refuse(
                "blinded-mismatch",
                "the consent is for another blinded element",
                "Send each element with its own consent.",
            )
        _check_issuer(consent, token, issuers=issuers, suite=suite, trust=trust, now=moment)
    first, last = parts[0][0], parts[-1][0]
    if [consent.part for consent, _ in parts] != list(range(1, first.parts + 1)) or last.parts != first.parts:
        raise _incomplete("the parts do not make one whole")
    if len(parts) == 2 and (first.nonce == last.nonce or first.scenario != last.scenario or first.epoch != last.epoch):
        raise _incomplete("the parts belong to different consents")
    return CheckedConsent(
        node=first.node,
        product=first.product,
        scenario=first.scenario,
        requester=first.requester,
        epoch=first.epoch,
        suite=first.suite,
        blinded=blinded,
        nonces=tuple(_dated_nonce(consent) for consent, _ in parts),
        issuers=tuple(consent.issuer for consent, _ in parts),
        digests=tuple(digest(token, suite=suite) for _, token in parts),
        expires=parse_time(max(consent.expires_at for consent, _ in parts)),
    )


def _dated_nonce(consent: Consent) -> bytes:
    return int(parse_time(consent.expires_at).timestamp()).to_bytes(8, "big") + from_base64(consent.nonce)


def _read_part(token: Signed) -> Consent:
    try:
        consent = parse(token.document, Consent)
    except PolicyError as error:
        raise _refuse("malformed", error.reason, "Ask the platform for a new consent.") from None
    if consent.part > consent.parts:
        raise _refuse("malformed", f"part {consent.part} of {consent.parts}", "Ask the platform for a new consent.")
    return consent


def _check_issuer(
    consent: Consent, token: Signed, *, issuers: Collection[str], suite: str, trust: Trust, now: datetime
) -> None:
    if consent.suite != suite:
        raise _refuse(
            "wrong-suite",
            f"the consent is of suite {consent.suite[:40]!r}, not {suite!r}",
            "Ask the platform for one of the product's suite.",
        )
    if consent.issuer not in issuers or token.signer != consent.issuer:
        raise _refuse(
            "wrong-issuer",
            f"{consent.issuer!r} is not trusted to issue consents for this, or did not sign it",
            "The node's operator names the trusted platforms in the policy (consent_issuers).",
        )
    key = trust.signing_key(consent.issuer, token.certificate, suite=suite, now=now)
    try:
        check_signature(token, key, suite=suite)
    except PolicyError:
        raise _refuse(
            "bad-signature", f"the signature of {consent.issuer} does not fit", "Pass consents on unchanged."
        ) from None


def _check_terms(
    consent: Consent,
    *,
    node: str,
    product: str,
    requester: str,
    scenarios: Collection[str],
    epochs: Collection[int],
) -> None:
    if consent.node != node:
        raise _refuse(
            "wrong-node", f"the consent is for {consent.node!r}, this is {node!r}", "Send it to the node it names."
        )
    if consent.product != product:
        raise _refuse(
            "wrong-product",
            f"the consent is for {consent.product!r}, asked was {product!r}",
            "Ask the product it names.",
        )
    if consent.requester != requester:
        raise _refuse(
            "wrong-requester",
            f"the consent was given to {consent.requester!r}, the connection is {requester!r}",
            "Only the party that the subject consented to can use it.",
        )
    if consent.scenario not in scenarios:
        raise _refuse(
            "wrong-scenario",
            f"scenario {consent.scenario!r} is not allowed here for {requester!r}",
            "Ask the node's operator which scenarios its policy allows.",
        )
    if consent.epoch not in epochs:
        raise _refuse(
            "wrong-epoch",
            f"the consent is for epoch {consent.epoch}, being served: {', '.join(map(str, sorted(epochs))) or 'none'}",
            "Fetch the current manifest and ask the platform for a new consent.",
        )


def _check_times(consent: Consent, now: datetime) -> None:
    issued, expires = parse_time(consent.issued_at), parse_time(consent.expires_at)
    if expires <= issued:
        raise _refuse("malformed", "the consent expires before it was issued", "Ask the platform for a new consent.")
    if issued > now + CLOCK_TOLERANCE:
        ahead = int((issued - now).total_seconds())
        raise _refuse(
            "from-future",
            f"the consent was issued {ahead} seconds in this node's future",
            "Compare the clocks (NTP) of the platform and the node; up to "
            f"{int(CLOCK_TOLERANCE.total_seconds())} seconds are tolerated.",
        )
    if now > expires:
        late = int((now - expires).total_seconds())
        raise _refuse(
            "expired",
            f"the consent expired {late} seconds ago by this node's clock",
            "Ask the platform for a new one; if it is new, compare the clocks (NTP).",
        )
