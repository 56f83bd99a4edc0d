"""The operators ``learning.logistic`` and ``learning.binning``: what several parties' columns say of one party's label.

Both find the rows that all parties have, by their keys, and cut each party's columns into bins with weights of
evidence. ``learning.binning`` ends there: each party gets the bins of its own columns. ``learning.logistic`` goes on to
a logistic regression on shares: each gets its own part of the model, a page to read, and a table of its own columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, Field

from mpc.data.forms import parts_of
from mpc.errors import UsageError
from protocols.operator import Operator
from unseen.governance.grant import Column
from unseen.jobs.spec import Head, Job, PartyInput
from unseen.jobs.task import Runnable, Task, Yield
from unseen.settings import SETTINGS, PartyName

_ROWS = "which of its own rows all parties hold, and how many different keys each other party holds"
_STEPS = "the size of each step of the training, as a power of two; whether the model has every row on its label's side"
_EVENTS = (
    "of each bin of its own columns how many of the rows are bad, of the fine ones where they are merged further; so "
    "weights of evidence, information values and the overall rate; which of its bins had too few rows of a label; "
    "possibly, by differences between overlapping bins of its columns, labels of fewer rows than a bin has"
)
_COLUMNS = (
    'how many columns each other party brings, and how many of them are kept and vary; with encoding = "standard" '
    "each category counts as one"
)
_IV = (
    "of each other party's columns the name, how many bins it has, which of these, by number, had too few rows of a "
    "label and went together, and the information value for its label, to thousandths; no edges, and no counts"
)
_JUDGED = 'how many rows were kept back; with evaluation = "curve", at who computes, between which grades cells end'

BINNING = Operator(
    name="learning.binning",
    version=1,
    title="Bins of several parties' columns, with weights of evidence and information values for one party's label",
    learns={
        "label_party": (_ROWS, _IV),
        "feature_party": (_ROWS, _EVENTS),
    },
)

LOGISTIC = Operator(
    name="learning.logistic",
    version=1,
    title="Logistic regression on several parties' columns and one party's label, trained on shares",
    learns={
        "label_party": (
            _ROWS,
            _COLUMNS,
            f'with encoding = "woe": {_IV}',
            _STEPS,
            "the coefficients of its own columns, and the intercept, unless nobody is to have the model",
            "the quality of the model on the rows kept back, as far as evaluation says",
        ),
        "feature_party": (
            _ROWS,
            _COLUMNS,
            f'with encoding = "woe": {_EVENTS}',
            _STEPS,
            "the coefficients of its own columns, unless nobody is to have the model",
            _JUDGED,
        ),
    },
)

Kind = Literal["numeric", "category"]

DEFAULT_MINIMUM_IV = 0.02
HELD_OUT = "held_out"
"""Name of the column that says of the common rows which were kept back."""
_COMPUTING = 3  # most parties that compute


class BinningParameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "learning.binning"``."""

    model_config = SETTINGS

    label_party: PartyName
    """Who has the label."""
    label: Column
    """Which of its columns that is. It has two values."""
    bad: str | int | bool
    """Which of the two is the event, by custom the bad one: WOE and score grow with its risk."""
    kinds: dict[PartyName, dict[Column, Kind]] = {}
    """What columns are, by party, where the data's type does not say so: numbers may be names of categories."""
    bins: Annotated[int, Field(ge=2, le=50)] = 10
    """Most bins of a column, without that of missing values."""
    minimum_cell: Annotated[int, Field(ge=1, le=1 << 20)] = 10
    """Fewest rows that a bin has, of each value of the label; bins with fewer are merged with others."""
    merging: Literal["none", "chi_merge", "monotone"] = "none"
    """Whether bins are merged further when their counts are known: those of the fine bins open to their owner then."""
    duplicates: Literal["error", "first"] = "error"
    """What a key is that several rows of a party have: an error, or its first row."""


class Parameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "learning.logistic"``."""

    model_config = SETTINGS

    label_party: PartyName
    """Who has the label."""
    label: Column
    """Which of its columns that is. It has two values."""
    bad: str | int | bool
    """Which of the two is the event, by custom the bad one: the model gives its probability."""
    compute: Annotated[tuple[PartyName, ...], Field(strict=False, min_length=2, max_length=_COMPUTING)] | None = None
    """Which two or three parties compute; left out, all, where there are no more."""
    kinds: dict[PartyName, dict[Column, Kind]] = {}
    """What columns are, by party, where the data's type does not say so: numbers may be names of categories."""
    encoding: Literal["woe", "standard"] = "woe"
    """What enters the regression: weights of evidence, or standardised numbers and categories one by one."""
    bins: Annotated[int, Field(ge=2, le=50)] = 10
    """Most bins of a column, without that of missing values."""
    minimum_cell: Annotated[int, Field(ge=1, le=1 << 20)] = 10
    """Fewest rows that a bin has, of each value of the label; bins with fewer are merged with others."""
    merging: Literal["none", "chi_merge", "monotone"] = "none"
    """Whether bins are merged further when their counts are known: those of the fine bins open to their owner then."""
    minimum_iv: Annotated[float, Field(ge=0, le=10)] | None = None
    """A column with less information value is left out. Of encoding = "woe" alone; left out, 0.02."""
    C: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Inverse strength of the L2 penalty, as scikit-learn's."""
    max_iter: Annotated[int, Field(ge=1, le=1000)] = 100
    tol: Annotated[float, Field(ge=1e-6, le=0.1)] = 1e-4
    """The training ends when a step is no larger, in units of the whitened coefficients."""
    class_weight: Literal["balanced"] | None = None
    """Whether both values of the label weigh alike, however often each occurs."""
    holdout: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    """Which share of the common rows is kept back for the evaluation; 0 evaluates nothing."""
    evaluation: Literal["metric", "curve"] = "metric"
    """What of the evaluation opens: AUC and KS alone, or how many rows of each label have each grade of the score."""
    resolution: Literal[8, 16, 32, 64, 128, 256, 512, 1024] = 256
    """How many grades that are."""
    evaluation_cell: Annotated[int, Field(ge=1, le=1 << 20)] = 5
    """With evaluation = "curve": fewest rows of each label in a grade that opens; neighbours go together for it."""
    reveal_model: Literal["owners", "none"] = "owners"
    """Who gets the model: each party the coefficients of its own columns; or nobody, and only the judgement opens: what
    one may want to know before one agrees to more.
    """
    report: bool = True
    """Whether each party gets a page to read; its node needs the extra ``report`` for it."""
    language: Literal["en", "zh"] = "en"
    """Of the page."""
    base_score: Annotated[float, Field(ge=-10_000, le=10_000)] = 600
    """Points of who has the odds `base_odds`."""
    base_odds: Annotated[float, Field(gt=0, le=1e9)] = 50
    """Good to bad."""
    pdo: Annotated[float, Field(gt=0, le=10_000)] = 20
    """Points that double the odds."""
    duplicates: Literal["error", "first"] = "error"
    """What a key is that several rows of a party have: an error, or its first row."""

    @property
    def least_iv(self) -> float:
        """The information value below which a column is left out."""
        return DEFAULT_MINIMUM_IV if self.minimum_iv is None else self.minimum_iv


class Labelled(Protocol):
    """What the parameters of all jobs say in which one party's label is explained by several parties' columns."""

    @property
    def label_party(self) -> str:
        """Who has the label."""

    @property
    def label(self) -> str:
        """Which of its columns that is."""

    @property
    def kinds(self) -> Mapping[str, Mapping[str, Kind]]:
        """What columns are, by party."""

    @property
    def duplicates(self) -> Literal["error", "first"]:
        """What a key is that several rows of a party have."""


class TwoValued(Labelled, Protocol):
    """The same, of a label with two values."""

    @property
    def bad(self) -> str | int | bool | None:
        """Which of the two is the event."""


def features_of(mine: PartyInput, parameters: Labelled) -> tuple[str, ...]:
    """The columns of a party that the label is explained by."""
    label = parameters.label if mine.name == parameters.label_party else None
    return tuple(column for column in mine.columns if column != label)


def computing(parties: tuple[str, ...], parameters: Parameters) -> tuple[str, ...]:
    """The parties that compute, in the job's order."""
    return tuple(name for name in parties if parameters.compute is None or name in parameters.compute)


def check_parties(job: Job, parameters: Labelled) -> None:
    """UsageError where the parties' keys and columns do not fit together, or not to the label."""
    parties = job.head.parties
    if parameters.label_party not in parties:
        raise UsageError(f"parameters.label_party is {parameters.label_party}, which takes no part; name a party.")
    labels = job.part_of(parameters.label_party)
    if parameters.label not in labels.columns:
        raise UsageError(f"parameters.label is {parameters.label!r}; name it in the columns of {labels.name}, too.")
    if len({one.form for one in job.head.party}) > 1 or len({len(one.keys) for one in job.head.party}) > 1:
        raise UsageError("the parties' keys are of different forms, so none would match. Give all the same form.")
    form, keys = job.head.party[0].form, job.head.party[0].keys
    if (wanted := len(parts_of(form))) != len(keys):
        raise UsageError(f"the form {form} is of {wanted} column{'s' * (wanted > 1)}, keys names {len(keys)}.")
    for one in job.head.party:
        if HELD_OUT in one.keys:
            raise UsageError(f"a key column is called {HELD_OUT!r}, which the result uses. Rename it in the data set.")
        if one is not labels and not features_of(one, parameters):
            raise UsageError(f"{one.name} names no columns besides its keys; name what it brings.")
    for name, kinds in parameters.kinds.items():
        columns = features_of(job.part_of(name), parameters) if name in parties else ()
        if wrong := [column for column in kinds if column not in columns]:
            raise UsageError(f"parameters.kinds.{name} names {wrong[0]!r}, which is none of the columns of {name}.")


def _check_logistic(job: Job, parameters: Parameters) -> None:
    check_parties(job, parameters)
    parties, named = job.head.parties, parameters.compute or job.head.parties
    if not set(named) <= set(parties) or len(named) > _COMPUTING or len(set(named)) != len(named):
        raise UsageError(f"parameters.compute names two or three of the parties {', '.join(parties)}, each once.")
    if parameters.encoding == "standard" and parameters.minimum_iv is not None:
        raise UsageError('parameters.minimum_iv is for encoding = "woe": without bins there is no information value.')


def _recipients(head: Head, _: BaseModel) -> tuple[str, ...]:
    """Each party gets what is about its own columns."""
    return head.parties


def _run(what: Literal["logistic", "binning"], task: Task, parameters: Any) -> Yield:  # noqa: ANN401  # of either model
    # Only workers need the protocols and Arrow, which take long to import.
    if what == "binning":
        from unseen.jobs import learning_rows

        return learning_rows.bin_columns(task, parameters)
    from unseen.jobs import learning_work

    return learning_work.train(task, parameters)


RUNNABLES: tuple[Runnable[Any], ...] = (
    Runnable(LOGISTIC, Parameters, _recipients, _check_logistic, partial(_run, "logistic"), resumable=True),
    Runnable(BINNING, BinningParameters, _recipients, check_parties, partial(_run, "binning"), resumable=True),
)
