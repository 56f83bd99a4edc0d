"""What a worker does for ``learning.logistic``: align, bin, train, judge, and write down.

    1  aligned     the common rows, split into those to train on and those kept back     unseen/jobs/learning_rows.py
    2  prepared    bins with weights of evidence, of the columns that say enough; or columns standardised
    3  trained     a logistic regression on shares, a checkpoint after each step         protocols/learning/logistic.py
       judged      on the rows kept back, on shares                                protocols/learning/shared_metrics.py
       written     model.json, report.html, rows.parquet, evaluation.json, the table of own columns

The numbers are stages: a job that lost a worker goes on behind the last one that all have done (``Stages``), and within
the third behind the last step.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.session import Progress
from protocols import arithmetic
from protocols.arithmetic import Computation, Shared
from protocols.learning import columns, logistic, report, shared_metrics, shared_scores
from protocols.learning.bins import Bins
from protocols.learning.logistic import Fitted, Shares, Training
from protocols.learning.metrics import Evaluation
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Numeric, OneHot, Preparation, Spec, Woe
from protocols.learning.report import InformationValue, ModelReport, ScorecardRow, TrainingSummary
from protocols.learning.scorecard import Scorecard
from protocols.learning.shared_metrics import (
    Discrimination,
    discrimination_outside,
    discrimination_shared,
    evaluate_outside,
    evaluate_shared,
)
from protocols.learning.stages import Stages
from unseen.governance.documents import format_time, utc_now
from unseen.jobs.learning import Kind, Parameters, computing, features_of
from unseen.jobs.learning_rows import (
    PREPARED,
    Evidence,
    Labels,
    Rows,
    aligned,
    as_json,
    evidence_of,
    kind_of,
    own_labels,
    rows_file,
    stages_of,
    table_of,
)
from unseen.jobs.task import Task, Yield

TRAINED = PREPARED + 1
"""The stage after those of ``learning_rows``."""


def train(task: Task, parameters: Parameters) -> Yield:
    """This party's part. Called in its worker process."""
    if parameters.report:
        require_report()
    with stages_of(task) as stages:
        rows = aligned(task, stages, parameters, holdout=parameters.holdout)
        labels = own_labels(task, parameters, rows)
        if labels is not None:
            _check_split(labels, rows, parameters)
        evidence = None
        if parameters.encoding == "woe":
            evidence = evidence_of(task, stages, parameters, rows, labels)
        elif stages.done < PREPARED:
            stages.put(PREPARED)
        preparation = prepared(task, parameters, rows, evidence)
        fitted = _fitted(task, stages, parameters, rows, labels, preparation)
    judged, told = judge(task, parameters, rows, labels, preparation, fitted)
    learned = tuple(dict.fromkeys([*rows.learned, *(evidence.learned if evidence else ()), *fitted.learned, *told]))
    part = part_of(task, parameters, preparation, fitted)
    card = scorecard_of(part, parameters)
    points = {} if card is None else {one.name: one.points for one in card.characteristics}
    coefficients = _coefficients(preparation, fitted)
    result = table_of(task.session.me, evidence, coefficients=coefficients, points=points)
    files = {"rows.parquet": rows_file(rows), "model.json": as_json(part.to_json())}
    if judged is not None:
        files["evaluation.json"] = as_json(judged.to_json())
    if parameters.report:
        files["report.html"] = page(task, parameters, evidence, preparation, fitted, judged, card, learned).encode()
    sizes = {
        "training_rows": len(rows.train),
        "held_out_rows": len(rows.held_out),
        "columns": len(preparation.names),
        "iterations": fitted.iterations,
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


def _standard(rows: Rows, names: tuple[str, ...], kinds: Mapping[str, Kind]) -> Preparation:
    """Columns of numbers standardised, categories one by one."""
    table = {name: rows.training(name) for name in names}
    specs: list[Spec] = []
    for name in names:
        if kind_of(rows.table, name, kinds) == "category":
            specs.append(OneHot(name, missing="category"))
        else:
            gaps = columns.column(table, name).null_count
            specs.append(Numeric(name, missing="indicator" if gaps else "mean"))
    return Preparation.fit(table, specs)


def prepared(task: Task, parameters: Parameters, rows: Rows, evidence: Evidence | None) -> Preparation:
    """What makes numbers of this party's columns: comes to the same whenever it is asked."""
    names = features_of(task.mine, parameters)
    if evidence is None:
        return _standard(rows, names, parameters.kinds.get(task.session.me, {}))
    kept = selected(evidence.bins, least=parameters.least_iv)
    table = {one.feature: rows.training(one.feature) for one in kept}
    made = Preparation.fit(table, [Woe(one) for one in kept])
    left_out = [one for one in evidence.bins if one not in kept]
    notes = [f"{one.feature!r} has the information value {one.iv or 0.0:.4f}: left out." for one in left_out]
    return replace(made, notes=(*made.notes, *notes))


def selected(bins: tuple[Bins, ...], *, least: float) -> list[Bins]:
    """Those whose information value is large enough. UsageError where none is."""
    kept = [one for one in bins if (one.iv or 0.0) >= least]
    if bins and not kept:
        best = max(bins, key=lambda one: one.iv or 0.0)
        raise UsageError(
            f"No column here reaches the information value {least:g}; the largest is that of {best.feature!r}, "
            f"{best.iv or 0.0:.4f}. Lower parameters.minimum_iv, or bring other columns."
        )
    return kept


# Training and judging -------------------------------------------------------------------------------------------------


def _fitted(
    task: Task, stages: Stages, parameters: Parameters, rows: Rows, labels: Labels | None, preparation: Preparation
) -> Fitted:
    """Train, or go on with it, or take what it came to."""
    features = preparation.transform({name: rows.training(name) for name in preparation.sources}, rows=len(rows.train))
    if stages.done >= TRAINED:
        return _fitted_of(*stages.get(TRAINED))
    fitted = logistic.fit(
        task.session,
        features,
        None if labels is None else labels[rows.train],
        label_party=parameters.label_party,
        compute=computing(task.job.head.parties, parameters),
        training=Training(
            C=parameters.C,
            max_iter=parameters.max_iter,
            tol=parameters.tol,
            class_weight=parameters.class_weight,
            reveal_model=parameters.reveal_model,
        ),
        suite=task.job.head.suite,
        checkpoint=stages.steps(TRAINED),
    )
    stages.put(TRAINED, *_fitted_parts(fitted))
    return fitted


@dataclass(frozen=True)
class Judged:
    """How good the model is on the rows kept back, as the label party learns it.

    Attributes:
        discrimination: AUC and KS.
        curve: the curves, where they were to open: of cells of neighbouring grades, so that its own AUC is coarser.
    """

    discrimination: Discrimination
    curve: Evaluation | None

    @property
    def shown(self) -> Evaluation | None:
        """The curves with the finer figures."""
        found = self.discrimination
        return None if self.curve is None else replace(self.curve, auc=found.auc, ks=found.ks)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        found = self.discrimination
        figures = {name: getattr(found, name) for name in ("rows", "auc", "ks", "gini", "resolution")}
        return {**figures, "curve": None if self.curve is None else self.curve.to_json()}


def judge(
    task: Task,
    parameters: Parameters,
    rows: Rows,
    labels: Labels | None,
    preparation: Preparation,
    fitted: Fitted,
) -> tuple[Judged | None, tuple[str, ...]]:
    """Judge the model on the rows kept back, on shares. Returns what the label party learns; what this one does."""
    session, label_party = task.session, parameters.label_party
    if not len(rows.held_out):
        return None, ()
    session.progress(Progress("evaluate", 0, 1))
    kept_back = {name: rows.table[name].take(pa.array(rows.held_out)) for name in preparation.sources}
    x = preparation.transform(kept_back, rows=len(rows.held_out))
    # With the owners' model each party knows its part of a row's score; without, the scores are shares as they come.
    mine = None if fitted.coefficients is None else x @ fitted.coefficients + (fitted.intercept or 0.0)
    y = None if labels is None else labels[rows.held_out]
    compute = computing(task.job.head.parties, parameters)
    inputs = tuple(name for name in session.parties if name not in compute)
    curves = parameters.evaluation == "curve"
    grades, cell = parameters.resolution, parameters.evaluation_cell
    figures: Discrimination | None = None
    curve: Evaluation | None = None
    if session.me in compute:
        join = arithmetic.two_party if len(compute) == 2 else arithmetic.three_party
        with join(session, compute=compute, inputs=inputs, suite=task.job.head.suite) as run:
            if mine is not None:
                total = run.share(mine).sum_over_parties()
                for name in inputs:
                    total = total + run.receive(from_=name)
            else:
                total = _scores(run, x, fitted)
            figures = discrimination_shared(run, y, total, label_party=label_party, resolution=grades)
            if curves:
                curve = evaluate_shared(run, y, total, label_party=label_party, resolution=grades, minimum_cell=cell)
    else:
        with arithmetic.input_party(session, compute=compute) as outside:
            if mine is not None:
                outside.send(mine)
            else:
                shared_scores.linear(outside, x, _shares(fitted), rows=len(x))
            if y is not None:
                figures = discrimination_outside(outside, y, learns=True, rows=len(y), resolution=grades)
                curve = evaluate_outside(outside, y, learns=True, resolution=grades) if curves else None
    session.progress(Progress("evaluate", 1, 1))
    opens = "curve" if curves else "auc"
    told = shared_metrics.learned(session.me, label_party=label_party, compute=compute, opens=opens)
    if figures is None:
        return None, told
    finer = (f"AUC and KS of {grades} grades, in steps of 2^-16",) if curves else ()
    return Judged(figures, curve), (*told, *finer)


def _scores(run: Computation, x: NDArray[np.float64], fitted: Fitted) -> Shared:
    """Shares of scores by a model that nobody has."""
    found = shared_scores.linear(run, x, _shares(fitted), rows=len(x))
    if found is None:
        raise UsageError("Scores are not where they are computed: this is an error of the library, please report it.")
    return found


def _shares(fitted: Fitted) -> Shares:
    if fitted.shares is None:
        raise UsageError("There is neither a model nor a share of one: this is an error of the library, report it.")
    return fitted.shares


def _check_split(labels: Labels, rows: Rows, parameters: Parameters) -> None:
    """UsageError where a label is too rare to train on it, or to judge by it: said before anything is computed."""
    for which, least in ((rows.train, 2), (rows.held_out, parameters.evaluation_cell)):
        ones = int(labels[which].sum())
        if len(which) and min(ones, len(which) - ones) < least:
            what = "to train on" if which is rows.train else "that are kept back for the evaluation"
            raise UsageError(
                f"Of the rows {what}, fewer than {least} have one of the values of the label column "
                f"{parameters.label!r}: bring more rows, or change parameters.holdout."
            )


# What is written down -------------------------------------------------------------------------------------------------


def part_of(task: Task, parameters: Parameters, preparation: Preparation, fitted: Fitted) -> ModelPart:
    """This party's part of the model: its coefficients, or, where nobody is to have them, its shares of all."""
    return ModelPart(
        model=task.id,
        family="logistic",
        party=task.session.me,
        label_party=parameters.label_party,
        parties=task.session.parties,
        preparation=preparation,
        coefficients=fitted.coefficients,
        intercept=fitted.intercept,
        shares=fitted.shares,
        rows=fitted.rows,
        iterations=fitted.iterations,
        converged=fitted.converged,
        trained=format_time(utc_now()),
    )


def scorecard_of(part: ModelPart, parameters: Parameters) -> Scorecard | None:
    """This party's part of the scorecard, where the model makes one."""
    if parameters.encoding != "woe" or part.coefficients is None:
        return None
    scale = {"base_score": parameters.base_score, "base_odds": parameters.base_odds, "pdo": parameters.pdo}
    return Scorecard.of(part, **scale)


def page(
    task: Task,
    parameters: Parameters,
    evidence: Evidence | None,
    preparation: Preparation,
    fitted: Fitted,
    judged: Judged | None,
    card: Scorecard | None,
    learned: tuple[str, ...],
) -> str:
    """The page that this party's people read."""
    me, kept = task.session.me, preparation.sources
    ivs = []
    if evidence is not None:
        ivs = [InformationValue(one.feature, me, one.iv, one.feature in kept) for one in evidence.bins]
        ivs += [InformationValue(n, party, iv) for party, own in evidence.others.items() for n, iv in own.items()]
    facts = {"job": task.id, "ended": format_time(utc_now()), "parties": ", ".join(task.session.parties)}
    return report.render(
        ModelReport(
            scenario=task.job.head.scenario,
            party=me,
            facts=facts,
            training=TrainingSummary(
                rows=fitted.rows,
                iterations=fitted.iterations,
                converged=fitted.converged,
                separated=fitted.separated,
                penalty=parameters.C,
                history=fitted.history,
            ),
            coefficients=_coefficients(preparation, fitted) or None,
            holdout=None if judged is None else judged.shown,
            discrimination=None if judged is None else judged.discrimination,
            ivs=ivs,
            scorecard=[
                ScorecardRow(one.name, values, points)
                for one in (card.characteristics if card is not None else ())
                for values, points in one.rows
            ],
            learned={me: learned},
            warnings=(*preparation.notes, *(card.notes if card is not None else ())),
        ),
        language=parameters.language,
    )


def _coefficients(preparation: Preparation, fitted: Fitted) -> dict[str, float]:
    """By name, those that this party has."""
    if fitted.coefficients is None:
        return {}
    return dict(zip(preparation.names, fitted.coefficients.tolist(), strict=True))


def require_report() -> None:
    """UsageError now, and not after an hour, where the page could not be made."""
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                f"parameters.report needs {name}, which is not installed here: pip install 'unseen[report]', or submit "
                "the job with report = false."
            )


# Bytes ----------------------------------------------------------------------------------------------------------------


_SHARES = ("components", "kept", "centre", "scale")


def _fitted_parts(fitted: Fitted) -> tuple[bytes, ...]:
    """What training came to, for the next worker should this one be lost."""
    told: dict[str, object] = {
        "coefficients": None if fitted.coefficients is None else fitted.coefficients.tolist(),
        "intercept": fitted.intercept,
        "rows": fitted.rows,
        "iterations": fitted.iterations,
        "converged": fitted.converged,
        "separated": fitted.separated,
        "history": fitted.history,
        "learned": fitted.learned,
    }
    arrays: list[bytes] = []
    if (shares := fitted.shares) is not None:
        told |= {"fraction": shares.fraction, "compute": shares.compute, "owners": shares.owners, "unit": shares.unit}
        for name in _SHARES:
            out = io.BytesIO()
            np.save(out, getattr(shares, name), allow_pickle=False)
            arrays.append(out.getvalue())
    return (as_json(told), *arrays)


def _fitted_of(raw: bytes, *arrays: bytes) -> Fitted:
    told = json.loads(raw)
    shares = None
    if arrays:
        found = {n: np.load(io.BytesIO(one), allow_pickle=False) for n, one in zip(_SHARES, arrays, strict=True)}
        owners = tuple((name, width) for name, width in told["owners"])
        compute = tuple(told["compute"])
        shares = Shares(**found, fraction=told["fraction"], compute=compute, owners=owners, unit=told["unit"])
    return Fitted(
        coefficients=None if told["coefficients"] is None else np.array(told["coefficients"], dtype=np.float64),
        intercept=told["intercept"],
        shares=shares,
        rows=told["rows"],
        iterations=told["iterations"],
        converged=told["converged"],
        separated=told["separated"],
        history=tuple(told["history"]),
        learned=tuple(told["learned"]),
    )
