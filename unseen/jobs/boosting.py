"""The operators ``learning.boosting`` and ``learning.boosting.strict``: boosted trees of several parties, as a job.

Both find the rows that all parties have, by their keys, cut each party's columns into bins, and grow trees on them by
one party's label. What differs is what opens on the way: with ``learning.boosting`` the label party sees histograms and
which rows are in a node, with ``learning.boosting.strict`` neither, and takes longer. They are two operators, and not
one with a parameter, since grants and policies name operators: who agreed to the one is not taken into the other.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mpc.errors import UsageError
from protocols.operator import Operator
from unseen.governance.grant import Column
from unseen.jobs import learning
from unseen.jobs.learning import Kind, check_parties
from unseen.jobs.spec import Head, Job, PartyInput
from unseen.jobs.task import Runnable, Task, Yield
from unseen.settings import SETTINGS, PartyName

Privacy = Literal["standard", "strict"]
Objective = Literal["binary:logistic", "multi:softprob", "reg:squarederror", "count:poisson"]

_ROWS = "which of its own rows all parties hold, and how many different keys each other party holds"
_BINS = "how many columns each other party brings, how many bins each of them has, and which have one of missing values"
_SETTINGS = "how many rows are trained on, watched for an early end, and kept back for the evaluation; how many rounds"

STANDARD = Operator(
    name="learning.boosting",
    version=1,
    title="Boosted trees on several parties' columns and one party's label, which sees the trees' histograms",
    learns={
        "label_party": (
            _ROWS,
            _BINS,
            (
                "of each node that may be split, for each bin of each other party's columns, the sums of its rows' "
                "gradients and of their second derivatives, to 16 bits of the sum of their sizes"
            ),
            "possibly, from many such sums, in which bins of another party's columns rows are that are trained on",
            "by number, which column and bin each split at another party has",
            (
                "on which side of such a split each row lies that reaches it, also rows that are watched or kept back; "
                "so each row's way through each tree"
            ),
            "the weights of all leaves, and how good the model is on the rows kept back",
        ),
        "feature_party": (
            _ROWS,
            _BINS,
            _SETTINGS,
            "of each tree its own splits: column, bin, side of missing values, level, and which lies under which",
            "of gradients, labels, rows, other parties' splits and leaves nothing",
        ),
    },
)

STRICT = Operator(
    name="learning.boosting.strict",
    version=1,
    title="Boosted trees on several parties' columns and one party's label, of which nothing but the trees opens",
    learns={
        "label_party": (
            _ROWS,
            _BINS,
            "the shape of each tree: which nodes are split, and by whom",
            "its own splits: column, bin and side of missing values",
            'the weights of all leaves, with leaves = "label_party"',
            "with early_stopping_rounds the mean loss of the rows that are watched, after each round",
            "how good the model is on the rows kept back, as AUC and KS",
        ),
        "feature_party": (
            _ROWS,
            _BINS,
            _SETTINGS,
            "the shape of each tree: which nodes are split, and by whom",
            "its own splits: column, bin and side of missing values",
            "with subsample and colsample_bytree, which rows and columns each tree was drawn from",
            "a power of two above the rows' weights and, with leaves in shares, above a number's spread",
            "of gradients, labels, rows and other parties' splits nothing",
        ),
    },
)

_Share = Annotated[float, Field(ge=0, le=0.5)]
_Part = Annotated[float, Field(gt=0, le=1)]
_Penalty = Annotated[float, Field(ge=0, le=1e6)]


class Parameters(BaseModel):
    """The table ``[parameters]`` of a job with ``operator = "learning.boosting"`` or ``"learning.boosting.strict"``.

    What XGBoost has too has XGBoost's name, and means the same.
    """

    model_config = SETTINGS

    label_party: PartyName
    """Who has the label."""
    label: Column
    """Which of its columns that is."""
    objective: Objective = "binary:logistic"
    """What the label is: one of two values, one of several, a number, or a count."""
    bad: str | int | bool | None = None
    """Of ``binary:logistic`` alone: which of the label's two values the model gives the probability of."""
    classes: Annotated[tuple[str | int, ...], Field(strict=False, min_length=3, max_length=32)] | None = None
    """Of ``multi:softprob`` alone: the label's values, in the order in which probabilities are given."""
    weight: Column | None = None
    """Which column of the label party says how much each row counts; left out, all rows count alike."""
    kinds: dict[PartyName, dict[Column, Kind]] = {}
    """What columns are, by party, where the data's type does not say so: numbers may be names of categories."""
    bins: Annotated[int, Field(ge=2, le=255)] = 32
    """Most bins of a column, without that of missing values; of categories, most of them with a column of their own."""
    n_estimators: Annotated[int, Field(ge=1, le=1000)] = 100
    """Rounds: so many trees, of ``multi:softprob`` so many for each class."""
    max_depth: Annotated[int, Field(ge=1, le=8)] = 5
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    reg_lambda: _Penalty = 1.0
    reg_alpha: _Penalty = 0.0
    gamma: _Penalty = 0.0
    min_child_weight: _Penalty = 1.0
    subsample: _Part = 1.0
    """Which share of the rows a tree is grown on, drawn anew for each by the label party."""
    colsample_bytree: _Part = 1.0
    """And which share of the columns."""
    scale_pos_weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Of ``binary:logistic`` alone: so much more do bad rows count."""
    max_delta_step: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """Largest weight of a leaf before ``learning_rate``; left out, 0.7 for ``count:poisson``, none for others."""
    base_score: float | None = None
    """What is said of everybody before the first tree; left out, the mean of the label party's labels."""
    minimum_rows: Annotated[int, Field(ge=1, le=1 << 20)] = 20
    """A node with fewer rows is not split, so that no histogram of fewer opens. Of ``learning.boosting`` alone: with
    ``strict`` none opens.
    """
    validation: _Share = 0.0
    """Which share of the common rows is not trained on but watched, for an early end."""
    early_stopping_rounds: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The training ends when the watched rows have not been said better for so many rounds, and the model is that of
    the best round.
    """
    holdout: _Share = 0.2
    """Which share of the common rows is kept back for the evaluation; 0 evaluates nothing."""
    leaves: Literal["label_party", "shared"] = "label_party"
    """Who gets the leaves' weights: the label party, or nobody, so that all have to score together. Of
    ``learning.boosting.strict`` alone.
    """
    report: bool = True
    """Whether each party gets a page to read; its node needs the extra ``report`` for it."""
    language: Literal["en", "zh"] = "en"
    """Of the page."""
    duplicates: Literal["error", "first"] = "error"
    """What a key is that several rows of a party have: an error, or its first row."""


def privacy_of(job: Job) -> Privacy:
    """What opens, as the job's operator says it."""
    return "strict" if job.head.operator == STRICT.name else "standard"


def features_of(mine: PartyInput, parameters: Parameters) -> tuple[str, ...]:
    """The columns of a party that the label is explained by."""
    weight = parameters.weight if mine.name == parameters.label_party else None
    return tuple(column for column in learning.features_of(mine, parameters) if column != weight)


_ONE_KIND: dict[str, tuple[Objective, object]] = {
    "bad": ("binary:logistic", None),
    "classes": ("multi:softprob", None),
    "scale_pos_weight": ("binary:logistic", 1.0),
}
_STRICT_OBJECTIVES = ("binary:logistic", "reg:squarederror")
# Nobody knows how many rows a strict node has; and of a weight nothing but its size is bounded on shares.
_OF_STANDARD = {"minimum_rows": 20, "reg_alpha": 0.0, "max_delta_step": None}


def _check(privacy: Privacy, job: Job, parameters: Parameters) -> None:
    check_parties(job, parameters)
    if parameters.weight is not None:
        labels = job.part_of(parameters.label_party)
        if parameters.weight not in labels.columns or parameters.weight == parameters.label:
            raise UsageError(
                f"parameters.weight is {parameters.weight!r}; name a column of {labels.name} other than the label."
            )
        if parameters.weight in parameters.kinds.get(labels.name, {}):
            raise UsageError(f"parameters.kinds.{labels.name} names the weight {parameters.weight!r}: leave it out.")
    _check_objective(parameters)
    if (parameters.validation > 0) != (parameters.early_stopping_rounds is not None):
        raise UsageError(
            "parameters.validation and parameters.early_stopping_rounds belong together: rows are watched so that the "
            "training ends early. Give both or neither."
        )
    if parameters.validation + parameters.holdout > 0.8:
        raise UsageError("parameters.validation and parameters.holdout leave too few rows: 0.8 together at most.")
    if privacy == "standard":
        if parameters.leaves != "label_party":
            raise UsageError(
                f'parameters.leaves = "shared" is of {STRICT.name}; with {STANDARD.name} the label party makes the '
                "leaves, and knows their weights."
            )
        return
    if parameters.objective not in _STRICT_OBJECTIVES:
        raise UsageError(
            f"{STRICT.name} is for {' and '.join(_STRICT_OBJECTIVES)}: gradients of {parameters.objective} are not "
            f"made on shares. {STANDARD.name} has it."
        )
    if parameters.objective != "binary:logistic" and parameters.holdout:
        raise UsageError(
            f"{STRICT.name} judges {'binary:logistic'} alone on shares: with {parameters.objective} set "
            "parameters.holdout = 0, and score afterwards by learning.score."
        )
    for name, plain in _OF_STANDARD.items():
        if getattr(parameters, name) != plain:
            raise UsageError(f"parameters.{name} is of {STANDARD.name}; leave it out with {STRICT.name}.")


def _check_objective(parameters: Parameters) -> None:
    for name, (objective, plain) in _ONE_KIND.items():
        if getattr(parameters, name) != plain and parameters.objective != objective:
            raise UsageError(f'parameters.{name} is for objective = "{objective}"; leave it out.')
    if parameters.objective == "binary:logistic" and parameters.bad is None:
        raise UsageError("parameters.bad says which of the label's two values is the event; name it.")
    if parameters.objective == "multi:softprob":
        if parameters.classes is None:
            raise UsageError('parameters.classes names the values of the label, such as ["low", "middle", "high"].')
        if len({str(one).strip().casefold() for one in parameters.classes}) != len(parameters.classes):
            raise UsageError("parameters.classes names a value twice; name each once.")


def _recipients(head: Head, _: BaseModel) -> tuple[str, ...]:
    """Each party gets its own part of the model."""
    return head.parties


def _run(task: Task, parameters: Parameters) -> Yield:
    from unseen.jobs import boosting_work  # only workers need the protocols and Arrow, which take long to import

    return boosting_work.run(task, parameters)


RUNNABLES: tuple[Runnable[Any], ...] = (
    Runnable(STANDARD, Parameters, _recipients, partial(_check, "standard"), _run, resumable=True),
    Runnable(STRICT, Parameters, _recipients, partial(_check, "strict"), _run, resumable=True),
)
