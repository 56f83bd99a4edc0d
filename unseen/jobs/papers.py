"""What a job travels with: what it is, the grant that permits it, and the request of the party that asked for it.

The coordinator passes the three on as they are, and every node checks them for itself (`unseen.node.gate`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel

from mpc.errors import PolicyError, UsageError
from mpc.wire.coordinator.v1 import coordinator_pb2
from unseen.governance import documents, grant, request
from unseen.governance.documents import STRICT, Signed
from unseen.governance.grant import GRANT_BYTES, Grant
from unseen.governance.request import REQUEST_BYTES
from unseen.governance.trust import Trust
from unseen.jobs import operators
from unseen.jobs.spec import JOB_BYTES, Job


class PapersText(BaseModel):
    """The papers as text, for files and pipes. `job` is canonical JSON, the others are signed documents in JSON."""

    model_config = STRICT
    job: str
    grant: str
    request: str


@dataclass(frozen=True)
class Papers:
    """A job with its grant and its request. Nothing of the two signatures is checked by having them here."""

    job: Job
    grant: Signed = field(repr=False)
    request: Signed = field(repr=False)

    @property
    def id(self) -> str:
        """The job's identifier, which is that of its request."""
        return request.name_of(self.request)

    def to_text(self) -> PapersText:
        """Inverse of `read`."""
        return PapersText(
            job=self.job.document.decode(),
            grant=documents.to_json(self.grant),
            request=documents.to_json(self.request),
        )


@dataclass(frozen=True)
class Permitted:
    """What a grant and a request, both found genuine, say."""

    grant: Grant
    requester: str


def check_permitted(papers: Papers, *, trust: Trust, begins: bool, requester: str | None = None) -> Permitted:
    """Check that a party asked for this job, and that an authority's grant for that party covers all of it.

    Args:
        papers: the job with grant and request.
        trust: checks both signers.
        begins: whether the job is about to begin; see `request.check`.
        requester: the party that must have asked, where the caller knows it.

    Raises:
        PolicyError: as `request.check` and `grant.check`.
    """
    asked = request.check(
        papers.request, job=papers.job.digest, grant=grant.digest(papers.grant), trust=trust, begins=begins
    )
    if requester is not None and asked.requester != requester:
        raise PolicyError(
            f"the request is of {asked.requester}, and {requester} submits it",
            code="request-wrong-requester",
            remedy="The party that asks for a job submits it itself.",
        )
    return Permitted(grant.check(papers.grant, papers.job.asked_by(asked.requester), trust=trust), asked.requester)


def from_wire(papers: coordinator_pb2.JobPapers) -> PapersText:
    """Papers as they travel to and from the coordinator, as text."""
    return PapersText(job=papers.job, grant=papers.grant, request=papers.request)


def to_wire(papers: Papers) -> coordinator_pb2.JobPapers:
    """Papers as they travel to the coordinator."""
    return coordinator_pb2.JobPapers(**papers.to_text().model_dump())


def read(text: PapersText) -> Papers:
    """Read papers.

    Raises:
        UsageError: there is no such job, or a paper is too long.
        PolicyError: ``document-malformed``.
    """
    for what, paper, limit in (
        ("a job", text.job, JOB_BYTES),
        ("a grant", text.grant, GRANT_BYTES),
        ("a request", text.request, REQUEST_BYTES),
    ):
        if len(paper) > limit:
            raise UsageError(f"{what} has at most {limit} bytes.")
    return Papers(
        job=operators.parse(text.job.encode()),
        grant=documents.from_json(text.grant),
        request=documents.from_json(text.request),
    )
