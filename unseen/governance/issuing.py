"""The identity platform's side of consents: blind the keys, sign what their subjects consented to, hand both over.

See `unseen.governance.consent` for what a consent is. The platform sees the keys, because its users are their subjects;
it learns no answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.data import identifiers
from mpc.errors import UsageError
from mpc.rng import Rng
from protocols.lookup import table as lookup
from unseen.governance.consent import Consent, Issued
from unseen.governance.documents import Signer, format_time, parse_time, sign, to_base64, utc_now
from unseen.governance.manifest import Manifest, check_time

LIFETIME = timedelta(minutes=10)
"""How long a consent can be used unless the platform says otherwise."""


def consent_for(
    signer: Signer,
    manifest: Manifest,
    *,
    keys: Sequence[tuple[str, ...]],
    scenario: str,
    requester: str,
    lifetime: timedelta = LIFETIME,
    rng: Rng | None = None,
    now: datetime | None = None,
) -> list[Issued]:
    """Blinds keys for a product's epoch and issues the consents for them.

    Args:
        signer: the platform.
        manifest: a verified manifest of the product's epoch: it says node, product, epoch and the form of the keys.
        keys: per row one key as a person writes it, or the two keys of a pair.
        scenario: the scenario that the subjects consented to.
        requester: the party that may ask.
        lifetime: how long the consents can be used; no longer than the epoch's grace in any case.
        rng: randomness for the blinds; the system's by default.
        now: time of issue; the present by default.

    Raises:
        InvalidIdentifier: a key that is not of the product's form; names the row, not the key.
        UsageError: rows of another number of keys than the form has, or a key form or suite that is not known here.
        PolicyError: ``manifest-expired`` or ``manifest-not-yet-valid``.
    """
    if not keys:
        return []
    if manifest.suite != signer.suite:
        raise UsageError(
            f"{manifest.product} is of suite {manifest.suite!r}, this platform of {signer.suite!r}. Let a platform of "
            "the product's suite issue the consents."
        )
    moment = now or utc_now()
    check_time(manifest, moment)
    columns = identifiers.key_columns(manifest.key_form)
    if any(len(key) != columns for key in keys):
        raise UsageError(
            f"{manifest.product} takes {columns} key(s) per query ({manifest.key_form}). Give as many per row."
        )
    canonical = identifiers.canonical_columns(manifest.key_form, *([key[i] for key in keys] for i in range(columns)))
    inputs = lookup.query_inputs(canonical, product=manifest.product, key_form=manifest.key_form)
    blinds, blinded = lookup.blind(inputs, suite=suites.get(manifest.suite), rng=rng or Rng())
    return issue(
        signer,
        keys=keys,
        blinds=blinds,
        blinded=blinded,
        node=manifest.node,
        product=manifest.product,
        scenario=scenario,
        requester=requester,
        epoch=manifest.epoch,
        expires=min(moment + lifetime, parse_time(manifest.grace_until)),
        now=moment,
    )


def issue(
    signer: Signer,
    *,
    keys: Sequence[tuple[str, ...]],
    blinds: NDArray[np.uint8],
    blinded: NDArray[np.uint8],
    node: str,
    product: str,
    scenario: str,
    requester: str,
    epoch: int,
    expires: datetime,
    now: datetime | None = None,
) -> list[Issued]:
    """Signs consents for keys that are blinded already: one per row, or two over the same element for a pair.

    Args:
        signer: the platform.
        keys: n rows of one key, or the two keys of a pair.
        blinds: (n, scalar) uint8.
        blinded: (n, element) uint8, the keys' elements times the blinds.
        node: the node that may evaluate.
        product: its product that may be asked.
        scenario: the scenario that the subjects consented to.
        requester: the party that may ask.
        epoch: the epoch in which the consents can be used.
        expires: until when.
        now: time of issue; the present by default.

    Raises UsageError for rows that do not fit together, or an expiry in the past.
    """
    if not len(keys) == len(blinds) == len(blinded):
        raise UsageError(f"{len(keys)} keys, {len(blinds)} blinds, {len(blinded)} elements. Give one of each per row.")
    if any(len(key) not in (1, 2) for key in keys):
        raise UsageError("a row has no key or more than two. Give one key, or the two keys of a pair.")
    moment = now or utc_now()
    issued_at, expires_at = format_time(moment), format_time(expires)
    if expires_at <= issued_at:
        raise UsageError("the consents would expire before they are issued. Give them at least a second.")
    return [
        Issued(
            key=key,
            tokens=tuple(
                sign(
                    Consent(
                        suite=signer.suite,
                        issuer=signer.name,
                        node=node,
                        product=product,
                        scenario=scenario,
                        requester=requester,
                        epoch=epoch,
                        blinded=to_base64(B.tobytes()),
                        nonce=to_base64(secrets.token_bytes(16)),
                        part=part,
                        parts=len(key),
                        issued_at=issued_at,
                        expires_at=expires_at,
                    ),
                    signer,
                )
                for part in range(1, len(key) + 1)
            ),
            blind=r.tobytes(),
        )
        for key, r, B in zip(keys, blinds, blinded, strict=True)
    ]
