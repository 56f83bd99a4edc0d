"""Grants: an authority's signed permission for jobs of one kind, one scenario at a time.

A grant names every word of what it permits: who may ask, which operator, and for every party its data sets and the
columns of them. It is a file: whoever has it can check it offline, against the deployment's root and revocation list.
Every node that takes part does so for itself, before the first frame is forwarded, and its worker once more before it
opens the data; a grant permits nothing that the node's own policy does not.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from mpc.errors import PolicyError, UsageError
from unseen.governance import documents, files
from unseen.governance.documents import (
    CLOCK_TOLERANCE,
    STRICT,
    Count,
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

Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=500)]

GRANT_BYTES = 1 << 16
"""Most bytes of a grant's file."""


class Access(BaseModel):
    """Columns of one data set of one party."""

    model_config = STRICT
    party: Name
    data_set: Name
    columns: Annotated[list[Column], Field(min_length=1, max_length=100)]


class Grant(BaseModel):
    """What an authority permits.

    `grant`: 16 random bytes, its name. `recipients`: the parties that may be given a result; a job may name fewer.
    `uses`: how many jobs may be started under it. `minimum_result`: a job whose
    result has fewer rows gives none to anybody. `report_sizes`: whether the sizes of sets and results may be in the
    report that the coordinator sees; each party's own report has what that party learned in any case.
    """

    model_config = STRICT
    type: Literal["unseen.grant.v1"] = "unseen.grant.v1"
    suite: str
    issuer: Name
    grant: Nonce
    scenario: Name
    purpose: Words
    requester: Name
    operator: Words
    operator_version: Count
    access: Annotated[list[Access], Field(min_length=1, max_length=100)]
    recipients: Annotated[list[Name], Field(min_length=1, max_length=100)]
    uses: Annotated[int, Field(ge=1, le=10**9)]
    not_before: Time
    not_after: Time
    minimum_result: Count
    report_sizes: bool


@dataclass(frozen=True)
class Asked:
    """What a job asks for, to be held against a grant."""

    scenario: str
    requester: str
    operator: str
    operator_version: int
    access: tuple[Access, ...]
    recipients: tuple[str, ...]


def issue(
    signer: Signer,
    *,
    scenario: str,
    purpose: str,
    requester: str,
    operator: str,
    operator_version: int,
    access: Sequence[Access],
    recipients: Sequence[str],
    uses: int,
    not_before: datetime,
    not_after: datetime,
    minimum_result: int,
    report_sizes: bool,
) -> Signed:
    """Sign a grant as the authority `signer`.

    Raises:
        UsageError: it would end before it begins, name a data set twice, or have a recipient that brings none.
    """
    if not_after <= not_before:
        raise UsageError("the grant would end before it begins. Exchange or correct not_before and not_after.")
    named = [(one.party, one.data_set) for one in access]
    if len(set(named)) != len(named):
        raise UsageError("the grant names a data set twice. Give each data set one entry with all its columns.")
    if stranger := sorted(set(recipients) - {one.party for one in access}):
        raise UsageError(f"recipients names {stranger[0]}, which brings nothing. Name parties of the grant's access.")
    return documents.sign(
        Grant(
            suite=signer.suite,
            issuer=signer.name,
            grant=to_base64(secrets.token_bytes(16)),
            scenario=scenario,
            purpose=purpose,
            requester=requester,
            operator=operator,
            operator_version=operator_version,
            access=list(access),
            recipients=list(recipients),
            uses=uses,
            not_before=format_time(not_before),
            not_after=format_time(not_after),
            minimum_result=minimum_result,
            report_sizes=report_sizes,
        ),
        signer,
    )


def read(path: Path) -> Signed:
    """The signed grant in a file. Nothing of it is checked yet. Raises UsageError if it is none."""
    try:
        return documents.from_json(files.read(path, what="a grant", limit=GRANT_BYTES))
    except PolicyError:
        raise UsageError(
            f"{path} is not a signed grant. `unseen grant issue` makes one of what is to be permitted."
        ) from None


def digest(signed: Signed) -> bytes:
    """The digest of a grant by its own suite, 32 bytes: its name in requests, reports and the log.

    Raises PolicyError ``document-…`` or ``grant-wrong-suite``. Nothing about the signature is checked here.
    """
    return documents.digest(signed, suite=_claimed(signed).suite)


def _claimed(signed: Signed) -> Grant:
    claimed = documents.parse(signed.document, Grant)
    if claimed.suite not in SCHEMES:
        raise _refuse("wrong-suite", f"the grant is of an unknown suite {claimed.suite[:40]!r}", "Ask for another.")
    return claimed


def verify(signed: Signed, *, trust: Trust, now: datetime | None = None) -> Grant:
    """Check who signed a grant and that it is in force.

    Whether that signer may grant anything is for the policy of each node to say.

    Raises:
        PolicyError: ``document-…``, ``certificate-…``, ``crl-…``; ``grant-not-yet-valid``, ``grant-expired``.
    """
    moment = now or utc_now()
    claimed = _claimed(signed)
    grant = documents.verify(
        signed, Grant, trust=trust, signer=claimed.issuer, signer_field="issuer", suite=claimed.suite, now=moment
    )
    if moment + CLOCK_TOLERANCE < parse_time(grant.not_before):
        raise _refuse(
            "not-yet-valid",
            f"the grant begins at {grant.not_before}",
            "Wait until then; if it should be in force, compare the clocks (NTP).",
        )
    if moment > parse_time(grant.not_after):
        raise _refuse(
            "expired", f"the grant ended at {grant.not_after}", "Ask the authority for a new one, with a new term."
        )
    return grant


def check(signed: Signed, asked: Asked, *, trust: Trust, now: datetime | None = None) -> Grant:
    """Check that a grant is genuine, in force, and names everything that is asked.

    Raises:
        PolicyError: as `verify`; ``grant-wrong-requester``, ``-wrong-scenario``, ``-wrong-operator``,
            ``-wrong-parties``, ``-wrong-data-set``, ``-wrong-columns``, ``-wrong-recipients``.
    """
    grant = verify(signed, trust=trust, now=now)
    ask = f"Ask {grant.issuer} for a grant that names it, or leave it out of the job."
    if grant.requester != asked.requester:
        raise _refuse(
            "wrong-requester",
            f"the grant is for {grant.requester}, the job was asked for by {asked.requester}",
            "The party that the grant names must submit the job.",
        )
    if grant.scenario != asked.scenario:
        raise _refuse("wrong-scenario", f"the grant is for {grant.scenario}, the job for {asked.scenario}", ask)
    if (grant.operator, grant.operator_version) != (asked.operator, asked.operator_version):
        raise _refuse(
            "wrong-operator",
            f"the grant is for {grant.operator} {grant.operator_version}, "
            f"the job for {asked.operator} {asked.operator_version}",
            ask,
        )
    _check_access(grant, asked.access, ask)
    if extra := sorted(set(asked.recipients) - set(grant.recipients)):
        raise _refuse("wrong-recipients", f"the grant gives {extra[0]} no result, the job would", ask)
    return grant


def _check_access(grant: Grant, asked: Collection[Access], ask: str) -> None:
    parties = sorted({one.party for one in grant.access})
    if parties != sorted({one.party for one in asked}):
        raise _refuse(
            "wrong-parties",
            f"the grant is for {', '.join(parties)}, the job for {', '.join(sorted({one.party for one in asked}))}",
            "A grant holds for all of its parties together, and for no others.",
        )
    granted = {(one.party, one.data_set): set(one.columns) for one in grant.access}
    for one in asked:
        columns = granted.get((one.party, one.data_set))
        if columns is None:
            raise _refuse("wrong-data-set", f"the grant does not name {one.party}'s data set {one.data_set}", ask)
        if missing := sorted(set(one.columns) - columns):
            raise _refuse(
                "wrong-columns",
                f"the grant does not name the column {missing[0][:80]!r} of {one.party}'s data set {one.data_set}",
                ask,
            )


def _refuse(code: str, message: str, remedy: str) -> PolicyError:
    return PolicyError(message, code=f"grant-{code}", remedy=remedy)
