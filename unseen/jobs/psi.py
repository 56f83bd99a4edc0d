"""The operator ``psi``: which records of two parties belong to the same key, as a job.

Each party gets its own records of the keys that both hold, in an order common to both: line i here and line i there
are about the same key. With ``duplicates = "many"`` a column ``match`` numbers the keys, since one key may have several
records.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mpc.data.forms import parts_of
from mpc.errors import UsageError
from protocols.operator import Operator
from unseen.jobs.spec import Job
from unseen.jobs.task import Runnable, Task, Yield
from unseen.settings import SETTINGS, PartyName

OPERATOR = Operator(
    name="psi",
    version=1,
    title="Private set intersection of two parties",
    learns={
        "learner": ("which of its own keys {peer} holds too", "how many different keys {peer} holds"),
        "other": ("how many different keys {peer} holds",),
    },
)

MATCH = "match"
"""Name of the column that numbers the matched keys."""


class Parameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "psi"``."""

    model_config = SETTINGS

    reveal_to: Annotated[tuple[PartyName, ...], Field(strict=False, min_length=1, max_length=2)]
    """Who gets the result: one of the parties, or both. There is no default: somebody has to decide."""
    protocol: Literal["auto", "rr22", "ecdh"] = "auto"
    """Which protocol finds the intersection; ``auto`` chooses by the sizes."""
    security: Literal["semi-honest", "malicious"] = "semi-honest"
    duplicates: Literal["error", "first", "many"] = "error"
    """What a key that several records have is: an error, its first record, or all of them."""
    bucket_rows: Annotated[int, Field(ge=1 << 10, le=1 << 24)] | None = None
    """How many keys a part has of those by which it runs, about; left out, as many as fit memory well."""


def _check(job: Job, parameters: Parameters) -> None:
    parties = job.head.parties
    if len(parties) != 2:
        raise UsageError(f"psi is between two parties; the job has {len(parties)}. Run one job for each two of them.")
    if foreign := sorted(set(parameters.reveal_to) - set(parties)):
        raise UsageError(f"parameters.reveal_to names {foreign[0]}, which takes no part; name {' or '.join(parties)}.")
    if len({one.form for one in job.head.party}) > 1 or len({len(one.keys) for one in job.head.party}) > 1:
        raise UsageError("the parties' keys are of different forms, so none would match. Give both the same form.")
    form, keys = job.head.party[0].form, job.head.party[0].keys
    if (wanted := len(parts_of(form))) != len(keys):
        raise UsageError(
            f"the form {form} is of {wanted} column{'s' * (wanted > 1)}, keys names {len(keys)}. Join the forms of "
            "several columns by +, as in resident-id+phone."
        )
    if parameters.duplicates == "many" and any(MATCH in one.all_columns for one in job.head.party):
        raise UsageError(f"a column is called {MATCH!r}, which the result uses. Rename it in the data set.")


def reveal(parameters: Parameters, *, me: str) -> Literal["both", "me", "peer"]:
    """Who learns the result, as party `me` says it."""
    if len(set(parameters.reveal_to)) == 2:
        return "both"
    return "me" if me in parameters.reveal_to else "peer"


def learned(role: str, peer: str) -> tuple[str, ...]:
    """What a party of that role learns, in words."""
    return tuple(line.format(peer=peer) for line in OPERATOR.learns[role])


def _run(task: Task, parameters: Parameters) -> Yield:
    from unseen.jobs import psi_work  # only workers need the protocols and Arrow, which take long to import

    return psi_work.run(task, parameters)


RUNNABLE = Runnable(OPERATOR, Parameters, lambda _, parameters: parameters.reveal_to, _check, _run, resumable=True)
