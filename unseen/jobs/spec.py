"""What a job is: the operator and its parameters, and who brings which columns of which data set.

The same bytes, canonical JSON, are what the coordinator keeps, what every node holds against grant and policy, and what
the two ends of a session compare by hash before the first message.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from mpc import suite as suites
from mpc.errors import UsageError
from mpc.transport.grpc import Hello
from unseen.governance.documents import canonical
from unseen.governance.grant import Access, Asked, Column
from unseen.names import check_scenario_name
from unseen.settings import SETTINGS, PartyName, ProductName

JOB_BYTES = 1 << 16
"""Most bytes of a job in canonical form."""


def _scenario(value: str) -> str:
    try:
        return check_scenario_name(value)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _suite(value: str) -> str:
    try:
        return suites.get(value).name
    except UsageError as error:
        raise ValueError(str(error)) from None


class PartyInput(BaseModel):
    """What one party brings."""

    model_config = SETTINGS

    name: PartyName
    """The party."""
    data_set: ProductName
    """Its data set, as its node.toml names it."""
    keys: Annotated[tuple[Column, ...], Field(strict=False, max_length=8)] = ()
    """The key columns, in the same order at every party; none for an operator that asks for none."""
    form: str = "text"
    """Form of the keys, such as ``resident-id`` (`mpc.data.identifiers`)."""
    columns: Annotated[tuple[Column, ...], Field(strict=False, max_length=100)] = ()
    """Further columns of its own: what the operator reads, or the party wants beside the keys. No other sees them."""

    @property
    def all_columns(self) -> tuple[str, ...]:
        """Every column that is read; grant and policy have to name them."""
        return (*self.keys, *self.columns)

    @model_validator(mode="after")
    def _distinct(self) -> PartyInput:
        if len(set(self.all_columns)) != len(self.all_columns):
            raise ValueError("a column is named twice; name each once, in keys or in columns")
        return self


class Head(BaseModel):
    """Everything of a job but the operator's own parameters."""

    model_config = SETTINGS

    operator: str
    """What is run, such as ``psi``."""
    operator_version: Annotated[int, Field(ge=0, lt=1 << 32)]
    scenario: Annotated[str, AfterValidator(_scenario)]
    """What for; the grant names the same."""
    suite: Annotated[str, AfterValidator(_suite)] = "intl"
    output: Literal["parquet", "csv"] = "parquet"
    """What each party's result is written as."""
    party: Annotated[tuple[PartyInput, ...], Field(strict=False, min_length=2, max_length=16)]

    @model_validator(mode="after")
    def _distinct(self) -> Head:
        names = self.parties
        if len(set(names)) != len(names):
            raise ValueError("a party is named twice; each brings one data set")
        return self

    @property
    def parties(self) -> tuple[str, ...]:
        """The parties' names, in the job's order."""
        return tuple(one.name for one in self.party)


@dataclass(frozen=True)
class Job:
    """One run of one operator. Made by `unseen.jobs.operators.load` and `.parse`.

    Attributes:
        head: operator, scenario, suite, parties.
        parameters: the operator's own, of the model that the operator states.
        recipients: the parties that it gives a result, as the operator reads its parameters.
    """

    head: Head
    parameters: BaseModel
    recipients: tuple[str, ...]

    @property
    def document(self) -> bytes:
        """The job in canonical JSON."""
        return canonical({**self.head.model_dump(mode="json"), "parameters": self.parameters.model_dump(mode="json")})

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form, 32 bytes."""
        return hashlib.sha256(self.document).digest()

    def part_of(self, party: str) -> PartyInput:
        """What `party` brings. Raises UsageError if it takes no part."""
        for one in self.head.party:
            if one.name == party:
                return one
        raise UsageError(f"{party} takes no part in the job, which is for {', '.join(self.head.parties)}.")

    def peers_of(self, party: str) -> tuple[str, ...]:
        """The other parties, sorted."""
        return tuple(sorted(set(self.head.parties) - {party}))

    def asked_by(self, requester: str) -> Asked:
        """What the job asks for, to be held against a grant."""
        return Asked(
            scenario=self.head.scenario,
            requester=requester,
            operator=self.head.operator,
            operator_version=self.head.operator_version,
            access=tuple(
                Access(party=one.name, data_set=one.data_set, columns=list(one.all_columns)) for one in self.head.party
            ),
            recipients=self.recipients,
        )

    def hello(self, job: str) -> Hello:
        """What both ends of a session of the job `job` must agree on."""
        return Hello(
            session=job,
            operator=self.head.operator,
            operator_version=self.head.operator_version,
            suite=self.head.suite,
            parameters=self.digest,
            scenario=self.head.scenario,
        )
