"""The operators ``learning.score`` and ``learning.grade``: many people scored by the parts of a model, as a job.

Each party brings the columns that its part of the model reads, from its own store of models (`unseen.models`). The
party that had the labels gets its own rows with a score and what it means, or with a grade; the others get no result.
The two operators are told apart by name, so that grants and policies say which of them may run: with the first the
asker learns what the others' columns add to each score, with the second nothing but the grade.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mpc.data.forms import parts_of
from mpc.errors import UsageError
from protocols.learning.release import OPERATORS, Release
from protocols.operator import Operator
from unseen.jobs.spec import Head, Job
from unseen.jobs.task import Runnable, Task, Yield
from unseen.settings import SETTINGS, PartyName

SCORE, PROBABILITY, GRADE = "score", "probability", "grade"
"""Names of the result's further columns."""


class ScoreParameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "learning.score"``."""

    model_config = SETTINGS

    asker: PartyName
    """The party that had the labels, and gets the result."""
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """The model, of which each party has its own part in its store; the newest version."""
    duplicates: Literal["error", "first"] = "error"
    """What a key is that several rows of a party have: an error, or its first row."""


class GradeParameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "learning.grade"``."""

    model_config = SETTINGS

    asker: PartyName
    """The party that had the labels, and gets the result."""
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """The model, of which each party has its own part in its store; the newest version."""
    cuts: Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=16)]
    """Where one grade ends and the next begins, increasing, in units of the score."""
    duplicates: Literal["error", "first"] = "error"
    """What a key is that several rows of a party have: an error, or its first row."""


Parameters = ScoreParameters | GradeParameters


def _check(job: Job, parameters: Parameters) -> None:
    if parameters.asker not in job.head.parties:
        raise UsageError(f"parameters.asker is {parameters.asker}, which takes no part; name one of the parties.")
    if len({one.form for one in job.head.party}) > 1 or len({len(one.keys) for one in job.head.party}) > 1:
        raise UsageError("the parties' keys are of different forms, so none would match. Give all the same form.")
    form, keys = job.head.party[0].form, job.head.party[0].keys
    if (wanted := len(parts_of(form))) != len(keys):
        raise UsageError(f"the form {form} is of {wanted} column{'s' * (wanted > 1)}, keys names {len(keys)}.")
    for one in job.head.party:
        if not one.columns:
            raise UsageError(
                f"{one.name} names no columns besides its keys; name those that its part of the model reads."
            )
    taken = {SCORE, PROBABILITY} if isinstance(parameters, ScoreParameters) else {GRADE}
    if found := sorted(taken & set(job.part_of(parameters.asker).all_columns)):
        raise UsageError(f"a column is called {found[0]!r}, which the result uses. Rename it in the data set.")
    if isinstance(parameters, GradeParameters):
        cuts = parameters.cuts
        if any(not a < b for a, b in itertools.pairwise(cuts)) or not all(abs(cut) < 1 << 20 for cut in cuts):
            raise UsageError("parameters.cuts are increasing numbers in units of the score, such as [-1.0, 0.5].")


def _recipients(_: Head, parameters: Parameters) -> tuple[str, ...]:
    return (parameters.asker,)


def _run(release: Release, task: Task, parameters: Parameters) -> Yield:
    from unseen.jobs import scoring_work  # only workers need the protocols and Arrow, which take long to import

    return scoring_work.run(task, parameters, release)


def _runnable(operator: Operator, parameters: type[Any], release: Release) -> Runnable[Any]:
    return Runnable(operator, parameters, _recipients, _check, partial(_run, release))


RUNNABLES: tuple[Runnable[Any], ...] = (
    _runnable(OPERATORS["score"], ScoreParameters, "score"),
    _runnable(OPERATORS["grade"], GradeParameters, "grade"),
)
