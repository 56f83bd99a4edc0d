"""Grants and requests: each way in which one can be wrong has its code."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mpc.errors import PolicyError, UsageError
from tests.governance.world import BANK, NODE, NOW, PLATFORM, World, flipped
from unseen.governance import documents, grant, request
from unseen.governance.documents import Signed
from unseen.governance.grant import Access, Asked, Grant
from unseen.governance.trust import Trust

ACCESS = (
    Access(party=BANK, data_set="customers", columns=["id", "number"]),
    Access(party=NODE, data_set="registry", columns=["id"]),
)
ASKED = Asked("joint", BANK, "psi", 1, ACCESS, (BANK,))
WORDS: dict[str, Any] = {
    "scenario": "joint",
    "purpose": "for the sake of it",
    "requester": BANK,
    "operator": "psi",
    "operator_version": 1,
    "access": ACCESS,
    "recipients": [BANK],
    "uses": 3,
    "not_before": NOW - timedelta(days=1),
    "not_after": NOW + timedelta(days=1),
    "minimum_result": 10,
    "report_sizes": False,
}


def granted(world: World, **changes: Any) -> Signed:  # noqa: ANN401  # whatever a grant takes
    return grant.issue(world.identity(PLATFORM).signer, **{**WORDS, **changes})


def asked_for(**changes: Any) -> Asked:  # noqa: ANN401  # whatever `Asked` takes
    return replace(ASKED, **changes)


def access_of(party: str, data_set: str, *columns: str) -> Access:
    return Access(party=party, data_set=data_set, columns=list(columns))


def test_a_grant_that_covers_the_job_is_good(world: World, trust: Trust) -> None:
    found = grant.check(granted(world), ASKED, trust=trust, now=NOW)
    assert (found.issuer, found.uses, found.minimum_result) == (PLATFORM, 3, 10)
    fewer = asked_for(access=(access_of(BANK, "customers", "number"), ACCESS[1]))
    assert grant.check(granted(world), fewer, trust=trust, now=NOW).scenario == "joint"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (asked_for(requester=NODE), "grant-wrong-requester"),
        (asked_for(scenario="other"), "grant-wrong-scenario"),
        (asked_for(operator="psi.sum"), "grant-wrong-operator"),
        (asked_for(operator_version=2), "grant-wrong-operator"),
        (asked_for(access=ACCESS[:1]), "grant-wrong-parties"),
        (asked_for(access=(*ACCESS, access_of("tax", "income", "id"))), "grant-wrong-parties"),
        (asked_for(access=(access_of(BANK, "loans", "id"), ACCESS[1])), "grant-wrong-data-set"),
        (asked_for(access=(ACCESS[0], access_of(NODE, "customers", "id"))), "grant-wrong-data-set"),
        (asked_for(access=(ACCESS[0], access_of(NODE, "registry", "id", "status"))), "grant-wrong-columns"),
        (asked_for(recipients=(NODE,)), "grant-wrong-recipients"),
        (asked_for(recipients=(BANK, NODE)), "grant-wrong-recipients"),
    ],
)
def test_what_a_grant_does_not_name_is_refused(world: World, trust: Trust, asked: Asked, code: str) -> None:
    with pytest.raises(PolicyError) as caught:
        grant.check(granted(world), asked, trust=trust, now=NOW)
    assert caught.value.code == code
    assert caught.value.remedy


def test_a_grant_has_a_term(world: World, trust: Trust) -> None:
    day = timedelta(days=1)
    terms = ((NOW + day, NOW + 2 * day, "grant-not-yet-valid"), (NOW - 2 * day, NOW - day, "grant-expired"))
    for begin, end, code in terms:
        with pytest.raises(PolicyError) as caught:
            grant.check(granted(world, not_before=begin, not_after=end), ASKED, trust=trust, now=NOW)
        assert caught.value.code == code


def test_a_changed_grant_is_refused(world: World, trust: Trust) -> None:
    good = granted(world)
    more = replace(good, document=good.document.replace(b'"uses":3', b'"uses":9'))
    columns = replace(good, document=good.document.replace(b'["id","number"]', b'["id","salary"]'))
    for bad in (more, columns, replace(good, signature=flipped(good.signature))):
        with pytest.raises(PolicyError) as caught:
            grant.check(bad, ASKED, trust=trust, now=NOW)
        assert caught.value.code == "document-bad-signature"
    # Signed by somebody who says to be the authority.
    document = documents.parse(good.document, Grant)
    other = documents.sign(document, world.identity(BANK).signer)
    with pytest.raises(PolicyError) as caught:
        grant.check(other, ASKED, trust=trust, now=NOW)
    assert caught.value.code == "document-wrong-signer"


def test_another_document_is_no_grant(world: World, trust: Trust) -> None:
    wish = request.ask(world.identity(BANK).signer, job=bytes(32), grant=bytes(32), now=NOW)
    with pytest.raises(PolicyError) as caught:
        grant.check(wish, ASKED, trust=trust, now=NOW)
    assert caught.value.code == "document-malformed"


def test_a_grant_that_makes_no_sense_is_not_signed(world: World) -> None:
    with pytest.raises(UsageError, match="end before it begins"):
        granted(world, not_after=NOW - timedelta(days=3))
    with pytest.raises(UsageError, match="twice"):
        granted(world, access=(ACCESS[0], ACCESS[0]))
    with pytest.raises(UsageError, match="recipients names tax"):
        granted(world, recipients=[BANK, "tax"])


def test_the_canonical_form_of_a_grant_is_that_of_rfc_8785(world: World) -> None:
    """Nested models take the fast encoder's other path."""
    good = granted(world, purpose="控制字符 \u001f, \u20ac, 😀")
    assert documents.canonical(vars(documents.parse(good.document, Grant))) == good.document


# Requests -------------------------------------------------------------------------------------------------------------

JOB, GRANT = hashlib.sha256(b"job").digest(), hashlib.sha256(b"grant").digest()


def wished(world: World, *, ago: timedelta = timedelta(0)) -> Signed:
    return request.ask(world.identity(BANK).signer, job=JOB, grant=GRANT, now=NOW - ago)


def test_a_request_names_its_job(world: World, trust: Trust) -> None:
    one, two = wished(world), wished(world)
    found = request.check(one, job=JOB, grant=GRANT, trust=trust, begins=True, now=NOW)
    assert found.requester == BANK
    assert len(request.name_of(one)) == 16
    assert request.name_of(one) != request.name_of(two)


@pytest.mark.parametrize(
    ("job", "permit", "hours", "code"),
    [
        (GRANT, GRANT, 0, "request-mismatch"),
        (JOB, JOB, 0, "request-mismatch"),
        (JOB, GRANT, -1, "request-from-future"),
        (JOB, GRANT, 25, "request-expired"),
    ],
)
def test_a_request_is_for_one_job_and_soon(
    world: World, trust: Trust, job: bytes, permit: bytes, hours: int, code: str
) -> None:
    wish = wished(world, ago=timedelta(hours=hours))
    with pytest.raises(PolicyError) as caught:
        request.check(wish, job=job, grant=permit, trust=trust, begins=True, now=NOW)
    assert caught.value.code == code
    if code == "request-expired":  # a job that has begun may go on
        request.check(wish, job=job, grant=permit, trust=trust, begins=False, now=NOW)


def test_nobody_asks_in_anothers_name(world: World, trust: Trust) -> None:
    good = wished(world)
    document = good.document.replace(b'"requester":"bank"', b'"requester":"civil-affairs"')
    assert document != good.document
    for bad in (replace(good, document=document), replace(good, document=document, signer=NODE)):
        with pytest.raises(PolicyError) as caught:
            request.check(bad, job=JOB, grant=GRANT, trust=trust, begins=True, now=NOW)
        assert caught.value.code in ("document-wrong-signer", "certificate-wrong-name")
