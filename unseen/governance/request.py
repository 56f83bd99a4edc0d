"""Requests: what the party that a grant is for signs to have one job run.

So the coordinator, which hands jobs on, cannot run one that nobody asked for: every node checks who asked, for itself.
A job is named after its request, and a node runs each once.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel

from mpc.errors import PolicyError
from unseen.governance import documents
from unseen.governance.documents import (
    CLOCK_TOLERANCE,
    STRICT,
    Digest,
    Name,
    Nonce,
    Signed,
    Signer,
    Time,
    format_time,
    parse_time,
    to_base64,
    utc_now,
)
from unseen.governance.keys import SCHEMES
from unseen.governance.trust import Trust

BEGIN_WITHIN = timedelta(days=1)
"""How long after it was asked for a job may begin."""

REQUEST_BYTES = 1 << 14
"""Most bytes of a signed request in JSON."""


class Request(BaseModel):
    """One party's wish to have one job run under one grant. `job`: SHA-256 of it; `grant`: `grant.digest`."""

    model_config = STRICT
    type: Literal["unseen.request.v1"] = "unseen.request.v1"
    suite: str
    requester: Name
    job: Digest
    grant: Digest
    nonce: Nonce
    asked_at: Time


def ask(signer: Signer, *, job: bytes, grant: bytes, now: datetime | None = None) -> Signed:
    """Sign a request.

    Args:
        signer: the requester.
        job: SHA-256 of the job, 32 bytes.
        grant: digest of the grant by its own suite, 32 bytes.
        now: the time of asking; the present by default.
    """
    return documents.sign(
        Request(
            suite=signer.suite,
            requester=signer.name,
            job=to_base64(job),
            grant=to_base64(grant),
            nonce=to_base64(secrets.token_bytes(16)),
            asked_at=format_time(now or utc_now()),
        ),
        signer,
    )


def name_of(signed: Signed) -> str:
    """The identifier of the job that a request is for: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(signed.document).hexdigest()[:16]


def check(
    signed: Signed, *, job: bytes, grant: bytes, trust: Trust, begins: bool, now: datetime | None = None
) -> Request:
    """Check who asked, and that it was for this job under this grant.

    Args:
        signed: the request.
        job: SHA-256 of the job, 32 bytes.
        grant: digest of the grant by its own suite, 32 bytes.
        trust: checks the requester's certificate.
        begins: whether the job is about to begin: it may not be asked for too long ago then.
        now: the time to check at; the present by default.

    Raises:
        PolicyError: ``document-…``, ``certificate-…``, ``crl-…``; ``request-wrong-suite``, ``-mismatch``,
            ``-from-future``, ``-expired``.
    """
    moment = now or utc_now()
    claimed = documents.parse(signed.document, Request)
    if claimed.suite not in SCHEMES:
        raise _refuse("wrong-suite", f"the request is of an unknown suite {claimed.suite[:40]!r}", "Submit it anew.")
    found = documents.verify(
        signed,
        Request,
        trust=trust,
        signer=claimed.requester,
        signer_field="requester",
        suite=claimed.suite,
        now=moment,
    )
    if (found.job, found.grant) != (to_base64(job), to_base64(grant)):
        raise _refuse("mismatch", "the request is for another job, or under another grant", "Submit the job anew.")
    asked_at = parse_time(found.asked_at)
    if asked_at > moment + CLOCK_TOLERANCE:
        ahead = int((asked_at - moment).total_seconds())
        raise _refuse("from-future", f"the request is from {ahead} s ahead", "Compare the clocks (NTP).")
    if begins and moment > asked_at + BEGIN_WITHIN:
        raise _refuse("expired", f"the request is of {found.asked_at}, too old to begin now", "Submit the job anew.")
    return found


def _refuse(code: str, message: str, remedy: str) -> PolicyError:
    return PolicyError(message, code=f"request-{code}", remedy=remedy)
