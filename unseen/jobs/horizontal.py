"""The operator ``learning.horizontal``: one regression on the rows of three parties and more, as a job.

Each party brings the same columns of other people, under whatever names, in the same order. One of the parties is the
aggregator: it adds up under masks and leads the search. All get the same model, that of the pooled rows. How a column
becomes numbers is in the parameters and not learned of data, since it has to be the same at all: numbers as they are,
categories by a list. Nobody may drop out: a job ends for all where it ends for one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mpc.errors import UsageError
from protocols.operator import Operator
from unseen.governance.grant import Column
from unseen.jobs.spec import Head, Job
from unseen.jobs.task import Runnable, Task, Yield
from unseen.settings import SETTINGS, PartyName

# Told before a protocol is imported; a test holds it to what `protocols.learning.horizontal` says.
_MAX_FEATURES = 1024
_LEAST = 3  # parties: two know of each other all that sums say

OPERATOR = Operator(
    name="learning.horizontal",
    version=1,
    title="Regression on rows that are split over three parties or more, by sums under masks",
    learns={
        "aggregator": (
            "the model",
            "over all silos, how many rows there are, also of each class and with each column not 0 and not 1",
            "over all silos, the sums of columns, of their squares, of labels and of weights",
            "over all silos, at each point of the search, loss, gradient, second derivatives, rows on the wrong side",
            "so, by taking its own away, each of these of the other silos together",
        ),
        "silo": (
            "the model",
            "of all silos' rows together: how many they are, means and deviations of columns, weights of the classes",
            "the points of the search, with loss and largest gradient at each",
        ),
    },
)

_Positive = Annotated[float, Field(gt=0, le=1e9)]
_Categories = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=2)]


class Parameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "learning.horizontal"``."""

    model_config = SETTINGS

    aggregator: PartyName
    """The party that adds up and leads the search. It brings rows as the others do."""
    columns: Annotated[tuple[Column, ...], Field(strict=False, min_length=2, max_length=100)] | None = None
    """What the columns are called in the model, in the order in which each party names its own. Left out, as the
    aggregator calls them.
    """
    label: Column
    """Which of these is explained by the others."""
    bad: str | int | bool | None = None
    """Of the logistic family alone: which of the label's two values the model gives the probability of."""
    family: Literal["logistic", "linear", "poisson", "gamma"] = "logistic"
    """What the label is: one of two values, a number, a count, or an amount above 0."""
    categories: dict[Column, _Categories] = {}
    """The values of columns that are no numbers. The first has no coefficient: those of the others are the difference
    from it.
    """
    missing: dict[Column, Annotated[float, Field(allow_inf_nan=False)]] = {}
    """What stands where a column of numbers has no value; in a column without, that is an error."""
    C: Annotated[float, Field(gt=0, le=1e12)] | Literal["none"] = 1.0
    """Inverse strength of the L2 penalty, as scikit-learn's."""
    standardise: bool = True
    """Whether the penalty is on coefficients of columns in units of their deviation over all rows, and not as given."""
    class_weight: Literal["balanced"] | Annotated[tuple[_Positive, _Positive], Field(strict=False)] | None = None
    """Of the logistic family alone: both values of the label weigh alike; or the weights of the other value, of bad."""
    max_iter: Annotated[int, Field(ge=1, le=1000)] = 100
    """Most points at which sums are asked for."""
    tol: Annotated[float, Field(ge=1e-12, le=0.1)] = 1e-6
    """The search ends with a step that moves no coefficient by more than this share of the largest."""
    minimum_cell: Annotated[int, Field(ge=0, le=1 << 20)] = 10
    """Fewest rows in which a column differs from 0 or from 1, if in any, and of a value of the label."""
    report: bool = True
    """Whether each party gets a page to read; its node needs the extra ``report`` for it."""
    language: Literal["en", "zh"] = "en"
    """Of the page."""


def names_of(job: Job, parameters: Parameters) -> tuple[str, ...]:
    """What the columns are called in the model, the label among them, in the order of each party's own."""
    return parameters.columns or job.part_of(parameters.aggregator).columns


def feature_names(names: tuple[str, ...], parameters: Parameters) -> tuple[str, ...]:
    """Of the numbers that a model multiplies, for these columns of the model, without the label."""
    made: list[str] = []
    for name in names:
        listed = parameters.categories.get(name)
        made += [name] if listed is None else [f"{name}={category}" for category in listed[1:]]
    return tuple(made)


def _check(job: Job, parameters: Parameters) -> None:
    parties = job.head.parties
    if len(parties) < _LEAST:
        raise UsageError(
            f"learning.horizontal is for three parties or more; the job has {len(parties)}: of two, each would know "
            "the other's sums."
        )
    if parameters.aggregator not in parties:
        raise UsageError(f"parameters.aggregator is {parameters.aggregator}, which takes no part; name a party.")
    if keyed := [one.name for one in job.head.party if one.keys]:
        raise UsageError(f"{keyed[0]} names keys; learning.horizontal reads columns alone. Leave keys out.")
    names = names_of(job, parameters)
    if len(set(names)) != len(names):
        raise UsageError("parameters.columns names a column twice; name each once.")
    for one in job.head.party:
        if len(one.columns) != len(names):
            raise UsageError(
                f"{one.name} names {len(one.columns)} columns, and the model has {len(names)} with the label: each "
                "party names its own of the same ones, in the same order."
            )
    if parameters.label not in names:
        raise UsageError(f"parameters.label is {parameters.label!r}; name one of {', '.join(names)}.")
    features = tuple(name for name in names if name != parameters.label)
    if not features:
        raise UsageError("the parties name no column besides the label; name what it is explained by.")
    for word, given in (("categories", parameters.categories), ("missing", parameters.missing)):
        if strange := [name for name in given if name not in features]:
            raise UsageError(
                f"parameters.{word} names {strange[0]!r}, which explains nothing; name some of {', '.join(features)}."
            )
    if both := [name for name in parameters.missing if name in parameters.categories]:
        raise UsageError(f"parameters.missing is for numbers, and {both[0]!r} has categories: leave it out of one.")
    for name, listed in parameters.categories.items():
        if len(set(listed)) != len(listed):
            raise UsageError(f"parameters.categories.{name} lists a category twice: list each once.")
    wide = feature_names(features, parameters)
    if len(wide) > _MAX_FEATURES:
        raise UsageError(f"with a column for each category there are {len(wide)}, and {_MAX_FEATURES} are the most.")
    if twice := [name for name in wide if wide.count(name) > 1]:
        raise UsageError(f"a column and a category make two features {twice[0]!r}: rename one in parameters.columns.")
    if (parameters.family == "logistic") != (parameters.bad is not None):
        raise UsageError(
            'parameters.bad says which value of the label is 1: give it with family = "logistic", and with no other.'
        )
    if parameters.class_weight is not None and parameters.family != "logistic":
        raise UsageError('parameters.class_weight is for family = "logistic": no other has classes.')


def _recipients(head: Head, _: BaseModel) -> tuple[str, ...]:
    """The model is one, and nobody's more than another's."""
    return head.parties


def _run(task: Task, parameters: Parameters) -> Yield:
    from unseen.jobs import horizontal_work  # only workers need the protocols and Arrow, which take long to import

    return horizontal_work.run(task, parameters)


RUNNABLE = Runnable(OPERATOR, Parameters, _recipients, _check, _run)
