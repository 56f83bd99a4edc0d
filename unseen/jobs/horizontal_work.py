"""What a worker does for ``learning.horizontal``: read its own rows, bring them to the fit, and write the model down.

prepared    numbers as they are, categories by the job's list: nothing is learned of one party's rows
fitted      Newton's method on sums over all parties                           protocols/learning/horizontal.py
judged      in the clear, on this party's own rows, which the model was made of
written     model.json, report.html, evaluation.json, the table of coefficients
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.session import Progress, Session
from protocols.learning import columns, horizontal, metrics, report
from protocols.learning.horizontal import Fitted, Training
from protocols.learning.metrics import Evaluation
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Column, NumericColumn, OneHotColumn, Preparation
from protocols.learning.report import ModelReport, TrainingSummary
from unseen.governance.documents import format_time, utc_now
from unseen.jobs.horizontal import OPERATOR, Parameters, feature_names, names_of
from unseen.jobs.learning_rows import as_json
from unseen.jobs.learning_work import require_report
from unseen.jobs.task import Task, Yield, read_all, too_small

SCHEMA = pa.schema(
    [
        ("feature", pa.string()),
        ("column", pa.string()),
        ("category", pa.string()),
        ("coefficient", pa.float64()),
    ]
)
"""Of the result: a line for each coefficient; ``column`` is the party's own name, and null for the intercept."""

INTERCEPT = "(intercept)"


def run(task: Task, parameters: Parameters) -> Yield:
    """This party's part. Called in its worker process."""
    if parameters.report:
        require_report()
    table = read_all(task)
    named = dict(zip(names_of(task.job, parameters), task.mine.columns, strict=True))
    label = named.pop(parameters.label)
    labels = _labels(table, label, parameters)
    preparation = _prepared(table, named, parameters)
    features = preparation.transform(table)
    names = feature_names(tuple(named), parameters)
    fitted = _fitted(task, parameters, features, labels, names)
    # A party can take its own rows away: what it is told of is the others', so these have to be enough.
    if fitted.rows - len(labels) < task.minimum_result:
        raise too_small(task.minimum_result)
    part = _part(task, parameters, preparation, fitted)
    judged = _judged(parameters, labels, features, fitted)
    learned = OPERATOR.learns["aggregator" if task.session.me == parameters.aggregator else "silo"]
    result = _table(named, parameters, names, fitted)
    files = {"model.json": as_json(part.to_json())}
    if judged is not None:
        files["evaluation.json"] = as_json(judged.to_json())
    if parameters.report:
        files["report.html"] = _page(task, parameters, names, fitted, judged, learned).encode()
    sizes = {
        "rows": len(labels),
        "all_rows": fitted.rows,
        "parties": len(fitted.silos),
        "columns": len(names),
        "iterations": fitted.iterations,
    }
    return Yield(
        protocol=OPERATOR.name,
        rows=len(labels),
        result_rows=result.num_rows,
        sizes=sizes,
        learned=learned,
        schema=SCHEMA,
        batches=result.to_batches(),
        files=files,
    )


# This party's rows ----------------------------------------------------------------------------------------------------


def _labels(table: pa.Table, name: str, parameters: Parameters) -> NDArray[np.float64]:
    """(n,) float64; of the logistic family 1 where a row is bad."""
    if parameters.family != "logistic":
        values = columns.numbers(table[name], name)
        _refuse(np.isnan(values), name, "is missing: a row without a label teaches nothing, leave it out.")
        # What the family does not have is refused by the fit, which knows no row's number in the data set.
        _refuse((values < 0) & (parameters.family == "poisson"), name, "is negative: poisson is of counts.")
        _refuse((values <= 0) & (parameters.family == "gamma"), name, "is not above 0: gamma is of positive amounts.")
        return values
    found = columns.texts(table[name], name)
    gone = np.array([value is None for value in found], dtype=np.bool_)
    _refuse(gone, name, "is missing: a row without a label teaches nothing, leave it out.")
    texts = np.array([str(value).strip().casefold() for value in found], dtype=np.str_)
    different = set(texts.tolist())
    bad = str(parameters.bad).strip().casefold()
    # One value that is not the bad one is a party without bad rows; of two, one has to be.
    if len(different) > 2 or (len(different) == 2 and bad not in different):
        raise UsageError(
            f"The label column {name!r} has {len(different)} different values, and a label has two, of which "
            "parameters.bad is one: make a column of zeros and ones of it, as at the other parties."
        )
    result: NDArray[np.float64] = (texts == bad).astype(np.float64)
    return result


def _prepared(table: pa.Table, named: dict[str, str], parameters: Parameters) -> Preparation:
    """What makes numbers of this party's columns: by the parameters alone, so the same at all."""
    made: list[Column] = []
    for feature, own in named.items():
        listed = parameters.categories.get(feature)
        if listed is None:
            fill = parameters.missing.get(feature)
            try:
                gone = np.isnan(columns.numbers(table[own], own))
            except UsageError as error:
                raise UsageError(f"{error} Categories are listed in parameters.categories.{feature}.") from None
            if fill is None:
                _refuse(gone, own, f"is missing: mend it, or say what stands for it in parameters.missing.{feature}.")
            made.append(NumericColumn(own, fill, None, None, 0.0, 1.0, indicator=False))
            continue
        strange = np.array([value not in listed for value in columns.texts(table[own], own)], dtype=np.bool_)
        _refuse(strange, own, f"is none of the categories that parameters.categories.{feature} lists.")
        made.append(OneHotColumn(own, listed[1:], listed[:1], missing=False, unseen="error"))
    return Preparation(tuple(made))


def _refuse(wrong: NDArray[np.bool_], name: str, problem: str) -> None:
    """UsageError that names the first row that is wrong, and no value."""
    if wrong.any():
        raise UsageError(f"Row {int(np.argmax(wrong)) + 1} of the column {name!r} {problem}")


# The fit --------------------------------------------------------------------------------------------------------------


def _fitted(
    task: Task,
    parameters: Parameters,
    features: NDArray[np.float64],
    labels: NDArray[np.float64],
    names: Sequence[str],
) -> Fitted:
    weight = parameters.class_weight
    training = Training(
        family=parameters.family,
        C=math.inf if parameters.C == "none" else parameters.C,
        standardise=parameters.standardise,
        class_weight=dict(enumerate(weight)) if isinstance(weight, tuple) else weight,
        max_iter=parameters.max_iter,
        tol=parameters.tol,
        # Of a job whose party is gone the others hear at once; no sum is made without it.
        leavers="refuse",
        minimum=len(task.job.head.parties),
        minimum_cell=parameters.minimum_cell,
        minimum_rows=task.minimum_result,
    )
    session, suite = _watched(task.session), task.job.head.suite
    if session.me == parameters.aggregator:
        return horizontal.lead(session, (features, labels), training=training, names=names, suite=suite)
    aggregator = parameters.aggregator
    return horizontal.fit(session, features, labels, aggregator=aggregator, training=training, names=names, suite=suite)


def _watched(session: Session) -> Session:
    """Tells of each point of the search, and not of the messages of each sum, which are over in no time."""

    def progress(now: Progress) -> None:
        if now.stage == horizontal.OPERATOR.name:
            session.progress(replace(now, stage="training"))

    return replace(session, progress=progress)


def _judged(
    parameters: Parameters, labels: NDArray[np.float64], features: NDArray[np.float64], fitted: Fitted
) -> Evaluation | None:
    """How the model does on this party's own rows, where they are of both kinds."""
    if parameters.family != "logistic" or len(np.unique(labels)) < 2:
        return None
    return metrics.evaluate(labels, features @ fitted.coefficients + fitted.intercept, scale="logit")


# What is written down -------------------------------------------------------------------------------------------------


def _part(task: Task, parameters: Parameters, preparation: Preparation, fitted: Fitted) -> ModelPart:
    """The whole model: a part to which no other belongs, so that this party scores by itself."""
    me = task.session.me
    return ModelPart(
        model=task.id,
        family=parameters.family,
        party=me,
        label_party=me,
        parties=(me,),
        preparation=preparation,
        coefficients=fitted.coefficients,
        intercept=fitted.intercept,
        shares=None,
        rows=fitted.rows,
        iterations=fitted.iterations,
        converged=fitted.converged,
        trained=format_time(utc_now()),
    )


def _table(named: dict[str, str], parameters: Parameters, names: Sequence[str], fitted: Fitted) -> pa.Table:
    lines: list[tuple[str | None, str | None]] = [(None, None)]
    for feature, own in named.items():
        listed = parameters.categories.get(feature)
        lines += [(own, None)] if listed is None else [(own, category) for category in listed[1:]]
    return pa.table(
        {
            "feature": [INTERCEPT, *names],
            "column": [own for own, _ in lines],
            "category": [category for _, category in lines],
            "coefficient": [fitted.intercept, *fitted.coefficients.tolist()],
        },
        schema=SCHEMA,
    )


def _page(
    task: Task,
    parameters: Parameters,
    names: Sequence[str],
    fitted: Fitted,
    judged: Evaluation | None,
    learned: tuple[str, ...],
) -> str:
    """The page that this party's people read."""
    me = task.session.me
    facts = {
        "job": task.id,
        "ended": format_time(utc_now()),
        "parties": ", ".join(fitted.silos),
        "family": parameters.family,
        "intercept": f"{fitted.intercept:.4f}",
        "mean loss": f"{fitted.history[-1].loss:.6f}",
    }
    if judged is not None:
        facts["judged on"] = f"{judged.rows:,.0f} training rows of {me}"
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
                penalty=fitted.C if math.isfinite(fitted.C) else None,
            ),
            family=parameters.family,
            coefficients=dict(zip(names, fitted.coefficients.tolist(), strict=True)),
            train=judged,
            learned={me: learned},
            warnings=fitted.notes,
        ),
        language=parameters.language,
    )
