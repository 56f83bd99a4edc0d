"""The operators ``validate.threshold.consented`` and ``.hidden``: claims of one party's applicants graded against the
sum of what two or more others hold, as a job.

The party that asks gets its own rows, with a column ``grade`` of numbers and a column ``meaning`` in words; the sources
get no result. The two operators are told apart by name, so that the grants of authorities and the policies of sources
say which of them may run: with the first the sources see whom they are asked about, with the second they do not.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mpc.data.forms import parts_of
from mpc.errors import UsageError
from protocols.validate.operators import OPERATORS, Alignment
from unseen.governance.grant import Column
from unseen.jobs.spec import Job
from unseen.jobs.task import Runnable, Task, Yield
from unseen.settings import SETTINGS, PartyName

GRADE, MEANING = "grade", "meaning"
"""Names of the result's further columns."""

_BasisPoints = Annotated[int, Field(ge=0, le=100_000)]


class Parameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "validate.threshold.…"``."""

    model_config = SETTINGS

    asker: PartyName
    """Who brings claims and gets grades; the other parties are the sources."""
    claim: Column
    """Which of the asker's columns holds what is claimed. Each source names one column, the amount that it holds."""
    compute: Annotated[tuple[PartyName, ...], Field(strict=False, min_length=2, max_length=3)] | None = None
    """Which two or three sources compute; left out, all, where there are no more. The others put in shares."""
    tolerance_bp: _BasisPoints = 0
    """By how many hundredths of a per cent a claim may exceed the sum and be consistent."""
    limit_bp: _BasisPoints = 2_000
    """Up to how many it is graded as above, and not as far above."""
    decimals: Annotated[int, Field(ge=0, le=9)] = 2
    """How many decimals the smallest unit of the amounts has; one with more is an error."""
    duplicates: Literal["error", "sum"] = "error"
    """What several rows of one person at a source are: an error, or amounts that belong together."""
    language: Literal["en", "zh"] = "en"
    """Of the column that says what a grade means."""


def _check(job: Job, parameters: Parameters) -> None:
    parties = job.head.parties
    if parameters.asker not in parties:
        raise UsageError(f"parameters.asker is {parameters.asker}, which takes no part; name one of the parties.")
    if len(parties) < 3:
        raise UsageError(f"{job.head.operator} is for an asker and two sources or more; the job has {len(parties)}.")
    sources = sources_of(job, parameters)
    if not set(parameters.compute or ()) <= set(sources) or (parameters.compute is None and len(sources) > 3):
        raise UsageError(f"parameters.compute names two or three of the sources {', '.join(sources)}.")
    if len(set(parameters.compute or ())) != len(parameters.compute or ()):
        raise UsageError("parameters.compute names a source twice.")
    if parameters.limit_bp < parameters.tolerance_bp:
        raise UsageError(
            "parameters.limit_bp is below tolerance_bp. Give them in hundredths of a per cent: 20 % = 2000."
        )
    if len({one.form for one in job.head.party}) > 1 or len({len(one.keys) for one in job.head.party}) > 1:
        raise UsageError("the parties' keys are of different forms, so none would match. Give all the same form.")
    form, keys = job.head.party[0].form, job.head.party[0].keys
    if len(parts_of(form)) != len(keys):
        raise UsageError(f"the form {form} is of {len(parts_of(form))} columns, keys names {len(keys)}.")
    asker = job.part_of(parameters.asker)
    if parameters.claim not in asker.columns:
        raise UsageError(f"parameters.claim is {parameters.claim!r}; name it in the columns of {asker.name}, too.")
    if taken := sorted({GRADE, MEANING} & set(asker.all_columns)):
        raise UsageError(f"a column is called {taken[0]!r}, which the result uses. Rename it in the data set.")
    for one in job.head.party:
        if one is not asker and len(one.columns) != 1:
            raise UsageError(f"{one.name} names {len(one.columns)} columns besides its keys; name one, its amounts.")


def sources_of(job: Job, parameters: Parameters) -> tuple[str, ...]:
    """The parties that hold what claims are held against, in the job's order."""
    return tuple(name for name in job.head.parties if name != parameters.asker)


def _run(alignment: Alignment, task: Task, parameters: Parameters) -> Yield:
    from unseen.jobs import validate_work  # only workers need the protocols and Arrow, which take long to import

    return validate_work.run(task, parameters, alignment)


RUNNABLES: tuple[Runnable[Any], ...] = tuple(
    Runnable(operator, Parameters, lambda _, parameters: (parameters.asker,), _check, partial(_run, alignment))
    for alignment, operator in OPERATORS.items()
)
