"""The operator ``aggregation.sum``: sums and means of columns over the rows of three parties and more, as a job.

Each party names its own columns, in the same order; the first ones of all are summed together, and so on. One of the
parties is the aggregator. Who gets a result gets a row for each column: the sum, exactly, how many values there are at
all parties together, and their mean. Nobody may drop out: a job ends for all where it ends for one.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from mpc.errors import UsageError
from protocols.operator import Operator
from unseen.jobs.spec import Job
from unseen.jobs.task import Runnable, Task, Yield
from unseen.settings import SETTINGS, PartyName

OPERATOR = Operator(
    name="aggregation.sum",
    version=1,
    title="Sums and means of columns over the rows of many parties, by masks that cancel",
    learns={
        "recipient": (
            "for each column the sum and the number of values of all parties together",
            "so, by taking its own away, those of the other parties together",
        ),
        "aggregator": (
            "for each column the sum and the number of values of all parties together",
            "so, by taking its own away, those of the other parties together",
        ),
        "other": (),
    },
)


class Parameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "aggregation.sum"``."""

    model_config = SETTINGS

    aggregator: PartyName
    """The party that collects. It learns the sums, whether or not it is to get a result."""
    reveal_to: Annotated[tuple[PartyName, ...], Field(strict=False, min_length=1, max_length=16)]
    """Who gets the result. The aggregator has to be among them, since it learns the sums."""
    decimals: Annotated[int, Field(ge=0, le=9)] = 2
    """How many decimals the smallest unit of the amounts has; one with more is an error."""


def _check(job: Job, parameters: Parameters) -> None:
    parties = job.head.parties
    if len(parties) < 3:
        raise UsageError(f"aggregation.sum is for three parties or more; the job has {len(parties)}.")
    for name in (parameters.aggregator, *parameters.reveal_to):
        if name not in parties:
            raise UsageError(f"the parameters name {name}, which takes no part; name some of {', '.join(parties)}.")
    if parameters.aggregator not in parameters.reveal_to:
        raise UsageError(
            f"parameters.reveal_to leaves out the aggregator {parameters.aggregator}, which learns the sums: name it."
        )
    counts = {len(one.columns) for one in job.head.party}
    if len(counts) > 1 or counts == {0}:
        raise UsageError("each party names the same number of columns, in the same order, and at least one.")
    if keyed := [one.name for one in job.head.party if one.keys]:
        raise UsageError(f"{keyed[0]} names keys; aggregation.sum reads columns alone. Leave keys out.")


def _run(task: Task, parameters: Parameters) -> Yield:
    from unseen.jobs import aggregation_work  # only workers need the protocols and Arrow, which take long to import

    return aggregation_work.run(task, parameters)


RUNNABLE = Runnable(OPERATOR, Parameters, lambda _, parameters: parameters.reveal_to, _check, _run)
