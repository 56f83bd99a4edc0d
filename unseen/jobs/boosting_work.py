"""What a worker does for ``learning.boosting`` and ``learning.boosting.strict``: align, bin, train, judge, write down.

    1  aligned     the common rows: to train on, to watch, kept back               unseen/jobs/learning_rows.py
    2  prepared    how this party's columns fall into bins                         protocols/learning/binned.py
    3  trained     trees, a checkpoint after each round                            protocols/learning/boosting.py
       judged      on the rows kept back; of strict trees on shares                protocols/learning/boosted_scoring.py
       written     model.json, report.html, rows.parquet, evaluation.json, the table of own columns

The numbers are stages: a job that lost a worker goes on behind the last one that all have done (``Stages``), and within
the third behind the last round.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.rng import Rng
from mpc.session import Progress
from protocols.learning import boosted_scoring, boosting, columns, gradients, metrics, report, shared_metrics
from protocols.learning.binned import Cuts
from protocols.learning.boosted import BoostedPart
from protocols.learning.boosting import Fitted, Training
from protocols.learning.metrics import Evaluation
from protocols.learning.report import Importance, ModelReport, Rounds, TrainingSummary
from protocols.learning.shared_metrics import Discrimination, discrimination_shared
from protocols.learning.stages import Stages
from unseen.governance.documents import format_time, utc_now
from unseen.jobs.boosting import Parameters, Privacy, features_of, privacy_of
from unseen.jobs.learning_rows import (
    LEAST_ROWS,
    PREPARED,
    Rows,
    aligned,
    as_json,
    kind_of,
    labels_of,
    rows_file,
    stages_of,
)
from unseen.jobs.learning_work import require_report
from unseen.jobs.task import Task, Yield

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]

TRAINED = PREPARED + 1
"""The stage after those of ``learning_rows``."""

_LEAST_CLASS = 2  # rows of each class that training needs, and so does judging


def run(task: Task, parameters: Parameters) -> Yield:
    """This party's part. Called in its worker process."""
    if parameters.report:
        require_report()
    with stages_of(task) as stages:
        rows = aligned(task, stages, parameters, holdout=parameters.holdout)
        used = divided(task, rows, parameters, seed=stages.run)
        targets = targets_of(task, parameters, rows, used)
        cuts = prepare(task, stages, parameters, rows)
        trained = train(task, stages, parameters, rows, used, targets, cuts)
    judged, told = trained.judged, trained.learned
    if privacy_of(task.job) == "strict":
        judged, more = judge_shared(task, parameters, rows, targets, trained.part)
        told += more
    learned = tuple(dict.fromkeys([*rows.learned, *told]))
    result = table_of(task.session.me, trained)
    files = {"rows.parquet": rows_file(rows), "model.json": as_json(trained.part.to_json())}
    if judged is not None:
        files["evaluation.json"] = as_json(judged.to_json())
    if parameters.report:
        files["report.html"] = page(task, parameters, trained, judged, learned).encode()
    sizes = {
        "training_rows": len(used.trained),
        "watched_rows": len(used.watched),
        "held_out_rows": len(used.held_out),
        "columns": len(trained.part.binning.names),
        "rounds": trained.rounds.kept,
    }
    return Yield(
        protocol=task.job.head.operator,
        rows=rows.read,
        result_rows=result.num_rows,
        sizes={**rows.all_sizes, **sizes},
        learned=learned,
        schema=result.schema,
        batches=result.to_batches(),
        files=files,
    )


# This party's rows and columns ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Used:
    """What each of the common rows is for.

    Attributes:
        trained: (m,) which of them are trained on, increasing.
        watched: (w,) which are watched for an early end, increasing.
        held_out: (h,) which are kept back, increasing.
        privacy: what opens in the training.
    """

    trained: Indices = field(repr=False)
    watched: Indices = field(repr=False)
    held_out: Indices = field(repr=False)
    privacy: Privacy

    @property
    def brought(self) -> Indices:
        """Which rows ``boosting.fit`` is given, in its order.

        Those kept back are among them where the label party learns sides of rows anyway. Strict trees never meet them:
        they are scored afterwards.
        """
        return np.concatenate([self.trained, self.watched, self.held_out[: self.scored]])

    @property
    def scored(self) -> int:
        """How many of the rows kept back have margins when training ends."""
        return len(self.held_out) if self.privacy == "standard" else 0


def divided(task: Task, rows: Rows, parameters: Parameters, *, seed: bytes) -> Used:
    """What each row is for: the same at all parties, which know the seed."""
    rng = Rng.from_seed(hashlib.sha256(b"unseen watched rows" + seed).digest())
    order = rows.train[rng.permutation(len(rows.train))]
    watched = round(rows.number * parameters.validation)
    found = Used(np.sort(order[watched:]), np.sort(order[:watched]), rows.held_out, privacy_of(task.job))
    if len(found.trained) < LEAST_ROWS:
        raise UsageError(
            f"Of the rows that the parties have in common {len(found.trained)} are left to train on: at least "
            f"{LEAST_ROWS} are needed. Bring more rows, or a smaller parameters.validation."
        )
    return found


@dataclass(frozen=True)
class Targets:
    """What the label party has of all common rows.

    Attributes:
        labels: (n,) numbers; of classes 0, 1, ….
        weights: (n,); None for ones.
    """

    labels: Reals = field(repr=False)
    weights: Reals | None = field(repr=False)

    def weights_of(self, which: Indices) -> Reals | None:
        """Of some of the rows."""
        return None if self.weights is None else self.weights[which]


def targets_of(task: Task, parameters: Parameters, rows: Rows, used: Used) -> Targets | None:
    """At the label party its labels, found fit to train on and to judge by.

    Raises:
        UsageError: missing or strange labels or weights, a class that is too rare; before anything is computed.
    """
    if task.session.me != parameters.label_party:
        return None
    weights = None
    if parameters.weight is not None:
        weights = columns.numbers(rows.table[parameters.weight], parameters.weight)
        if not (weights >= 0).all():  # a NaN is not, either
            raise UsageError(f"The weight column {parameters.weight!r} is missing or negative in some of the rows.")
    if parameters.objective == "binary:logistic":
        labels = labels_of(rows.table, parameters).astype(np.float64)
        _require_classes(labels, weights, 2, used, parameters)
    elif parameters.classes is not None:
        labels = _classes(rows.table, parameters.label, parameters.classes)
        _require_classes(labels, weights, len(parameters.classes), used, parameters)
    else:
        labels = columns.numbers(rows.table[parameters.label], parameters.label)
        if np.isnan(labels).any():
            raise UsageError(
                f"The label column {parameters.label!r} has no value in {np.isnan(labels).sum()} of the common rows: "
                "fill them in, or leave these rows out of the data set."
            )
        if parameters.objective == "count:poisson" and (labels < 0).any():
            raise UsageError(f"The label column {parameters.label!r} has negative values: count:poisson is of counts.")
    return Targets(labels, weights)


def _classes(table: pa.Table, name: str, classes: tuple[str | int, ...]) -> Reals:
    """(n,) by number of class."""
    known = {str(one).strip().casefold(): number for number, one in enumerate(classes)}
    found = [known.get(str(value).strip().casefold(), -1) for value in columns.texts(table[name], name)]
    labels = np.array(found, dtype=np.float64)
    if (strange := int((labels < 0).sum())) > 0:
        raise UsageError(
            f"The label column {name!r} has none of parameters.classes in {strange} of the common rows: name all of "
            "its values, or leave these rows out of the data set."
        )
    return labels


def _require_classes(labels: Reals, weights: Reals | None, number: int, used: Used, parameters: Parameters) -> None:
    counted = np.ones(len(labels)) if weights is None else weights > 0
    judged = used.held_out if parameters.objective == "binary:logistic" else used.held_out[:0]
    for which, what in ((used.trained, "to train on"), (judged, "that are kept back for the evaluation")):
        counts = np.bincount(labels[which].astype(np.int64), weights=counted[which], minlength=number)
        if len(which) and counts.min() < _LEAST_CLASS:
            raise UsageError(
                f"Of the rows {what}, fewer than {_LEAST_CLASS} have one of the values of the label column "
                f"{parameters.label!r}: bring more rows, or change parameters.holdout. Rows of weight 0 do not count."
            )


def prepare(task: Task, stages: Stages, parameters: Parameters, rows: Rows) -> Cuts:
    """How this party's columns fall into bins, or did for an earlier worker.

    Edges are found in the rows to watch, too: what is not known of them is no label.
    """
    if stages.done >= PREPARED:
        return Cuts.from_json(json.loads(stages.get(PREPARED)[0]))
    names = features_of(task.mine, parameters)
    kinds = parameters.kinds.get(task.session.me, {})
    categorical = [name for name in names if kind_of(rows.table, name, kinds) == "category"]
    table: dict[str, object] = {name: rows.training(name) for name in names}
    for name in set(names) - set(categorical):
        table[name] = columns.numbers(table[name], name)  # here, so that a mistake is told in the job's words
    cuts = Cuts.fit(table, max_bins=parameters.bins, categorical=categorical)
    if names and not cuts.names:
        raise UsageError(f"No column here can be split. {' '.join(cuts.notes)} Bring other columns.")
    stages.put(PREPARED, as_json(cuts.to_json()))
    return cuts


# Training -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """How the rounds came out.

    Attributes:
        kept: how many the model has.
        metric: what was measured after each.
        losses: of each round that was trained, on rows trained on and on rows watched, None where it is not known.
    """

    kept: int
    metric: str
    losses: tuple[tuple[float | None, float | None], ...]


@dataclass(frozen=True)
class Judged:
    """How good the model is on the rows kept back, as the label party learns it.

    Attributes:
        rows: how many these are.
        metric: the name of the loss, such as ``logloss``.
        loss: its mean; None where it is not told.
        curve: of two classes the curves, where the label party has the rows' scores.
        discrimination: of two classes AUC and KS, where it has no more.
    """

    rows: int
    metric: str
    loss: float | None
    curve: Evaluation | None = None
    discrimination: Discrimination | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        found = self.curve or self.discrimination
        figures = {} if found is None else {name: getattr(found, name) for name in ("auc", "ks", "gini")}
        return {
            "rows": self.rows,
            "metric": self.metric,
            "loss": self.loss,
            **figures,
            "curve": None if self.curve is None else self.curve.to_json(),
        }

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Judged:
        """What ``to_json`` wrote, of a model that is not strict."""
        curve = None if told["curve"] is None else Evaluation.from_json(told["curve"])
        return Judged(told["rows"], told["metric"], told["loss"], curve)


@dataclass(frozen=True)
class Trained:
    """What training came to here.

    Attributes:
        part: this party's part of the model.
        rounds: how they came out.
        gains: by party, the sum of its splits' gains, and how many there are; empty where this party does not know.
        own: judgement of the rows trained on, at a label party that knows their scores.
        judged: that of the rows kept back, likewise.
        learned: a sentence each.
    """

    part: BoostedPart
    rounds: History
    gains: Mapping[str, tuple[float | None, int]]
    own: Evaluation | None
    judged: Judged | None
    learned: tuple[str, ...]


def settings_of(parameters: Parameters, used: Used) -> Training:
    """What the job's parameters mean to the protocol."""
    return Training(
        objective=parameters.objective,
        n_estimators=parameters.n_estimators,
        max_depth=parameters.max_depth,
        learning_rate=parameters.learning_rate,
        reg_lambda=parameters.reg_lambda,
        reg_alpha=parameters.reg_alpha,
        gamma=parameters.gamma,
        min_child_weight=parameters.min_child_weight,
        subsample=parameters.subsample,
        colsample_bytree=parameters.colsample_bytree,
        base_score=parameters.base_score,
        scale_pos_weight=parameters.scale_pos_weight,
        max_delta_step=parameters.max_delta_step,
        num_class=None if parameters.classes is None else len(parameters.classes),
        early_stopping_rounds=parameters.early_stopping_rounds,
        validation_rows=len(used.watched),
        held_out_rows=used.scored,
        minimum_rows=parameters.minimum_rows,
        privacy=used.privacy,
        leaves=parameters.leaves,
    )


def train(
    task: Task,
    stages: Stages,
    parameters: Parameters,
    rows: Rows,
    used: Used,
    targets: Targets | None,
    cuts: Cuts,
) -> Trained:
    """Train, or go on with it, or take what it came to."""
    if stages.done >= TRAINED:
        return _trained_of(stages.get(TRAINED)[0])
    # What training begins with takes as long as some rounds: nobody is to think that the intersection still runs.
    task.session.progress(Progress("prepare", 0, 1))
    settings, brought = settings_of(parameters, used), used.brought
    fitted = boosting.fit(
        task.session,
        cuts.codes(rows.table.take(pa.array(brought)), rows=len(brought)),
        None if targets is None else targets.labels[brought],
        label_party=parameters.label_party,
        training=settings,
        sample_weight=None if targets is None else targets.weights_of(brought),
        suite=task.job.head.suite,
        checkpoint=stages.steps(TRAINED),
    )
    margins = np.empty((0, settings.outputs))
    if used.privacy == "standard" and fitted.margins is not None:
        margins = fitted.margins.astype(np.float64).reshape(len(brought), settings.outputs)
    part = BoostedPart.of(
        fitted.trees,
        cuts,
        party=task.session.me,
        label_party=parameters.label_party,
        parties=task.session.parties,
        objective=parameters.objective,
        base_score=fitted.base_score,
        model=task.id,
        training=fitted.run.hex(),
        rows=len(used.trained),
        trained=format_time(utc_now()),
        classes=settings.outputs,
        gains=fitted.gains,
    )
    # Strict training measures one thing on shares, of classes, too: how far probabilities are from labels.
    metric = gradients.METRICS["reg:squarederror" if used.privacy == "strict" else parameters.objective]
    losses = tuple((_known(train), _known(watched)) for train, watched in fitted.history)
    found = Trained(
        part=part,
        rounds=History(fitted.rounds, metric, losses),
        gains=_gains(part, fitted),
        own=_curve(targets, used.trained, margins[: len(used.trained)], settings),
        judged=_judged(targets, used.held_out, margins[len(margins) - used.scored :], settings),
        learned=fitted.learned,
    )
    stages.put(TRAINED, _trained_bytes(found))
    return found


def _curve(targets: Targets | None, which: Indices, margins: Reals, settings: Training) -> Evaluation | None:
    """Of two classes, at a label party that knows the rows' margins, (rows, outputs)."""
    if targets is None or not len(margins) or settings.objective != "binary:logistic":
        return None
    return metrics.evaluate(targets.labels[which], margins[:, 0], scale="logit", weights=targets.weights_of(which))


def _judged(targets: Targets | None, which: Indices, margins: Reals, settings: Training) -> Judged | None:
    if targets is None or not len(margins):
        return None
    loss = gradients.metric(settings, margins, targets.labels[which], targets.weights_of(which))
    curve = _curve(targets, which, margins, settings)
    return Judged(len(which), gradients.METRICS[settings.objective], _known(loss), curve)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _gains(part: BoostedPart, fitted: Fitted) -> dict[str, tuple[float | None, int]]:
    """By party, of all inner nodes, where this party knows the trees' shapes."""
    shapes = [tree.shape for tree in part.trees]
    found: dict[str, tuple[float | None, int]] = {}
    for i, shape in enumerate(shapes):
        for j, node in enumerate(shape.inner if shape is not None else ()):
            gain = fitted.gains[i][j] if fitted.gains else None
            total, splits = found.get(node.owner, (0.0, 0))
            found[node.owner] = (None if gain is None or total is None else total + gain, splits + 1)
    return found


def _trained_bytes(found: Trained) -> bytes:
    """For the next worker, should this one be lost."""
    return as_json(
        {
            "part": found.part.to_json(),
            "kept": found.rounds.kept,
            "metric": found.rounds.metric,
            "losses": found.rounds.losses,
            "gains": found.gains,
            "own": None if found.own is None else found.own.to_json(),
            "judged": None if found.judged is None else found.judged.to_json(),
            "learned": found.learned,
        }
    )


def _trained_of(raw: bytes) -> Trained:
    told = json.loads(raw)
    return Trained(
        part=BoostedPart.from_json(told["part"]),
        rounds=History(told["kept"], told["metric"], tuple((train, watched) for train, watched in told["losses"])),
        gains={name: (gain, splits) for name, (gain, splits) in told["gains"].items()},
        own=None if told["own"] is None else Evaluation.from_json(told["own"]),
        judged=None if told["judged"] is None else Judged.from_json(told["judged"]),
        learned=tuple(told["learned"]),
    )


def judge_shared(
    task: Task, parameters: Parameters, rows: Rows, targets: Targets | None, part: BoostedPart
) -> tuple[Judged | None, tuple[str, ...]]:
    """Judge a strict model on the rows kept back, of which no score opens: AUC and KS.

    Returns:
        What the label party learns, None at the others; what this party does, a sentence each.
    """
    n = len(rows.held_out)
    if not n:
        return None, ()
    session, figures = task.session, None
    session.progress(Progress("evaluate", 0, 1))
    table, labels = rows.table.take(pa.array(rows.held_out)), None
    if targets is not None:
        labels = targets.labels[rows.held_out].astype(np.int64)
    with boosted_scoring.in_shares(session, part, table, rows=n, suite=task.job.head.suite) as found:
        compute: tuple[str, ...] = ()
        if found is not None:
            computation, scores = found
            compute = computation.compute
            figures = discrimination_shared(computation, labels, scores, label_party=parameters.label_party)
    session.progress(Progress("evaluate", 1, 1))
    told = shared_metrics.learned(session.me, label_party=parameters.label_party, compute=compute, opens="auc")
    judged = None
    if figures is not None:
        judged = Judged(n, gradients.METRICS[parameters.objective], None, discrimination=figures)
    return judged, told


# What is written down -------------------------------------------------------------------------------------------------

COLUMNS = pa.schema(
    [
        ("party", pa.string()),
        ("column", pa.string()),
        ("splits", pa.int64()),
        ("gain", pa.float64()),
        ("cover", pa.float64()),
        ("importance", pa.float64()),
    ]
)
"""Of the result: a line for each own column, or category, of the codes; where the others' splits are known to this
party, a line for each of them, too, without a column. ``importance`` is the part of all splits' gain.
"""


def table_of(me: str, trained: Trained) -> pa.Table:
    """The result: empty where this party does not know something."""
    part, whole = trained.part, _whole_gain(trained)
    splits = part.importance("weight")
    gains, covers = (_means(part, kind) for kind in ("gain", "cover"))
    lines: list[dict[str, object]] = []
    for name in part.binning.names:
        mean, number = gains.get(name), int(splits[name])
        line = {"party": me, "column": name, "splits": number, "gain": mean, "cover": covers.get(name)}
        lines.append({**line, "importance": None if mean is None or not whole else mean * number / whole})
    for party, (gain, number) in trained.gains.items():
        if party != me:
            mean = None if gain is None else gain / number
            share = None if gain is None or not whole else gain / whole
            lines.append({"party": party, "splits": number, "gain": mean, "importance": share})
    return pa.Table.from_pylist(lines, schema=COLUMNS)


def _means(part: BoostedPart, kind: Literal["gain", "cover"]) -> dict[str, float]:
    """By own column, of its splits; nothing where this party does not know."""
    known = all((tree.gains if kind == "gain" else tree.covers) is not None for tree in part.trees)
    return part.importance(kind) if known else {}


def _whole_gain(trained: Trained) -> float | None:
    """The sum of all splits' gains; None where this party does not know."""
    known = [gain for gain, _ in trained.gains.values() if gain is not None]
    return math.fsum(known) if len(known) == len(trained.gains) else None


def page(task: Task, parameters: Parameters, trained: Trained, judged: Judged | None, learned: tuple[str, ...]) -> str:
    """The page that this party's people read."""
    me, losses = task.session.me, trained.rounds.losses
    lines = table_of(me, trained).to_pylist()
    facts = {
        "job": task.id,
        "ended": format_time(utc_now()),
        "parties": ", ".join(task.session.parties),
        "objective": parameters.objective,
        "privacy": privacy_of(task.job),
    }
    if judged is not None and judged.loss is not None:
        facts[f"{judged.metric}, {judged.rows:,} rows kept back"] = f"{judged.loss:.6f}"
    own = tuple(loss for loss, _ in losses if loss is not None)
    watched = tuple(loss for _, loss in losses if loss is not None)
    return report.render(
        ModelReport(
            scenario=task.job.head.scenario,
            party=me,
            facts=facts,
            training=TrainingSummary(rows=trained.part.rows, iterations=trained.rounds.kept, converged=None),
            rounds=Rounds(
                metric=trained.rounds.metric,
                train=own,
                validation=watched,
                best=trained.rounds.kept if watched else None,
            ),
            train=trained.own,
            holdout=None if judged is None else judged.curve,
            discrimination=None if judged is None else judged.discrimination,
            importance=[
                Importance(line["column"], line["party"], line["importance"], line["splits"]) for line in lines
            ],
            learned={me: learned},
            warnings=trained.part.binning.notes,
        ),
        language=parameters.language,
    )
