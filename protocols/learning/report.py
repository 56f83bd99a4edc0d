"""The report on a model: one HTML page that needs nothing else, for whoever decides whether the model is used.

    page = report.render(ModelReport(title="…", holdout=evaluation, …), language="zh")

Every part of a ``ModelReport`` is optional, and what is not given is not mentioned. Each figure stands beside a
sentence that says what it means and how to read it. The page holds pictures as SVG whose texts the browser draws, so
that it shows Chinese with its own fonts; it has no scripts and loads nothing. What the caller passes is shown as text,
whatever is in it. The same report gives the same page: there is no clock and no randomness in it.

Needs the extra ``report``: matplotlib and jinja2, which are imported when a page is rendered.
"""

from __future__ import annotations

import functools
import importlib.resources
import itertools
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mpc.errors import UsageError
from protocols.learning import report_pictures
from protocols.learning.glm import Family
from protocols.learning.metrics import SHIFTED, Evaluation, Stability
from protocols.learning.shared_metrics import Discrimination

Language = Literal["en", "zh"]

STRENGTHS = ((0.02, "none"), (0.1, "weak"), (0.3, "medium"), (0.5, "strong"), (math.inf, "suspicious"))
"""Readings of an information value, by custom [Siddiqi 2006]: below each number, the word."""
OVERFIT = 0.03
"""Largest loss of AUC from training rows to rows kept back that is not warned of."""
TOO_GOOD = 0.95
"""AUC above which something is usually wrong."""
SMALL = 200
"""Fewest rows of either label that figures are trusted on without a word of warning."""


@dataclass(frozen=True)
class TrainingSummary:
    """How the training went.

    Attributes:
        rows: how many it was trained on.
        iterations: how many there were.
        converged: whether steps became small enough; None of a training that has no such end.
        separated: whether some combination of features tells the labels apart without error.
        penalty: C, the inverse strength of the penalty; None where it is not told.
        history: size of each step, in order.
    """

    rows: int
    iterations: int
    converged: bool | None
    separated: bool = False
    penalty: float | None = None
    history: tuple[float, ...] = ()


@dataclass(frozen=True)
class Rounds:
    """How far the model was from the labels after each round of a boosted training.

    Attributes:
        metric: what was measured, such as ``logloss``; less is better.
        train: on the rows that it was trained on, round by round; empty where that is not known.
        validation: likewise on rows that were watched; empty where none were.
        best: the round, from 1, whose model was kept.
    """

    metric: str
    train: tuple[float, ...]
    validation: tuple[float, ...] = ()
    best: int | None = None


@dataclass(frozen=True)
class Importance:
    """How much of a boosted model is due to a feature.

    Attributes:
        feature: its name; None for all of a party's together.
        party: whose it is.
        part: of the splits' whole gain, 0 to 1; None where gains are hidden.
        splits: how many there are of it.
    """

    feature: str | None
    party: str
    part: float | None
    splits: int


@dataclass(frozen=True)
class InformationValue:
    """What a feature says of the label by itself.

    Attributes:
        feature: its name; or a number, where it is another party's.
        party: whose it is.
        iv: the information value; None where it is hidden.
        kept: whether the model uses it; None where that is not told.
    """

    feature: str
    party: str
    iv: float | None
    kept: bool | None = None


@dataclass(frozen=True)
class ScorecardRow:
    """One bin of one feature of this party's part of the scorecard.

    Attributes:
        feature: its name.
        bin: the bin, in words.
        points: what it is worth.
    """

    feature: str
    bin: str
    points: float


@dataclass(frozen=True)
class ModelReport:
    """What a report says, all of it optional.

    Attributes:
        title: of the page; "Report on a joint model" where it is empty.
        scenario: what the model is for.
        party: whose report this is.
        facts: further names and values for the page's head, such as the job and the model.
        training: how the training went.
        family: of the model: what coefficients mean.
        coefficients: of this party's own features, by name.
        train: evaluation on the rows that the model was trained on.
        holdout: evaluation on rows that it has not seen; where it is given, the page speaks of these.
        discrimination: AUC and KS on such rows, where no more than that has opened; the page shows it if it has
            neither evaluation.
        rounds: how each round of a boosted training came out.
        importance: of a boosted model's features, in any order.
        ivs: information values of features, in any order.
        scorecard: this party's part, in the order in which it is shown.
        stability: by name of what was compared, such as the score or a feature.
        learned: by party, what it learned, one sentence each.
        warnings: what else the reader has to heed. The report adds its own, of figures that are out of order.
    """

    title: str = ""
    scenario: str = ""
    party: str = ""
    facts: Mapping[str, str] | None = None
    training: TrainingSummary | None = None
    family: Family = "logistic"
    coefficients: Mapping[str, float] | None = None
    train: Evaluation | None = None
    holdout: Evaluation | None = None
    discrimination: Discrimination | None = None
    rounds: Rounds | None = None
    importance: Sequence[Importance] = ()
    ivs: Sequence[InformationValue] = ()
    scorecard: Sequence[ScorecardRow] = ()
    stability: Mapping[str, Stability] | None = None
    learned: Mapping[str, Sequence[str]] | None = None
    warnings: Sequence[str] = ()


def render(report: ModelReport, *, language: Language = "en") -> str:
    """The report as one HTML page, UTF-8.

    Args:
        report: what it says.
        language: ``en`` or ``zh``.

    Raises:
        UsageError: another language, or matplotlib or jinja2 is not installed.
    """
    if language not in ("en", "zh"):
        raise UsageError(f"language is 'en' or 'zh', not {language!r}.")
    try:
        import jinja2
        import matplotlib  # noqa: F401 - that it is there; report_pictures draws by it
    except ImportError as error:
        raise UsageError(
            f"A report needs {error.name}, which is not installed: pip install 'unseen[report]'."
        ) from None

    def say(key: str, **filled: object) -> str:
        return _words()[key][language].format(**filled)

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["groupby_in_order"] = _grouped
    environment.globals.update(say=say, language=language, number=number, percent=percent, cutoffs=cutoffs, exp=_exp)
    template = environment.from_string(_data("report.html"))
    main = report.holdout or report.train
    return template.render(
        report=report,
        main=main,
        numbers=report.discrimination if main is None else None,
        evaluations=[(key, e) for key, e in (("holdout", report.holdout), ("train", report.train)) if e],
        base=None if main is None else _of_everybody(main.rate),
        warnings=[*report.warnings, *(say(key, **filled) for key, filled in _warnings(report))],
        ivs=sorted(report.ivs, key=lambda value: (value.iv is None, -(value.iv or 0.0), value.feature)),
        importance=sorted(
            report.importance, key=lambda one: (-(one.part or 0.0), -one.splits, one.party, one.feature or "")
        ),
        strength=strength,
        pictures=report_pictures.of(report, say),
    )


def strength(iv: float) -> str:
    """The usual word for an information value: none, weak, medium, strong or suspicious."""
    return next(word for below, word in STRENGTHS if iv < below)


def cutoffs(evaluation: Evaluation) -> list[float]:
    """Cut-offs that are worth a row of a table: where KS is, and where the first groups of highest scores end."""
    ends = [group.lowest for group in evaluation.groups[: len(evaluation.groups) // 2]]
    return sorted({*ends, evaluation.ks_at}, reverse=True)


def number(value: float, digits: int = 3) -> str:
    """A number with so many digits after the point; whole ones with thousands set apart, if digits are 0."""
    return f"{value:,.{digits}f}"


def percent(value: float, digits: int = 1) -> str:
    """A part of one as a percentage."""
    return f"{100 * value:.{digits}f} %"


# Steps ---------------------------------------------------------------------------------------------------------------


def _warnings(report: ModelReport) -> list[tuple[str, dict[str, str]]]:
    """What the report finds by itself: keys of words, and what to fill in."""
    found: list[tuple[str, dict[str, str]]] = []
    if report.training is not None and report.training.separated:
        found.append(("warn.separated", {}))
    if report.training is not None and report.training.converged is False:
        found.append(("warn.unconverged", {}))
    main = report.holdout or report.train
    auc = main.auc if main is not None else report.discrimination.auc if report.discrimination is not None else 0.0
    if auc > TOO_GOOD:
        found.append(("warn.too_good", {"auc": number(auc)}))
    if main is not None:
        zeros = main.rows - main.ones
        if min(main.ones, zeros) < SMALL:
            error = 1.96 * _error_of_auc(main.auc, main.ones, zeros)
            filled = {"ones": number(main.ones, 0), "zeros": number(zeros, 0), "error": number(error, 2)}
            found.append(("warn.small", filled))
        expected = [group.predicted * group.rows for group in main.groups if group.predicted is not None]
        if len(expected) == len(main.groups):
            predicted = sum(expected) / main.rows
            # Three standard errors of the rate, and more than a twentieth of it: below that it is chance, or harmless.
            allowed = max(3 * math.sqrt(main.rate * (1 - main.rate) / main.rows), 0.05 * main.rate)
            if abs(predicted - main.rate) > allowed:
                filled = {"predicted": percent(predicted), "observed": percent(main.rate)}
                found.append(("warn.calibration", filled))
    if report.train is not None and report.holdout is not None and report.train.auc - report.holdout.auc > OVERFIT:
        found.append(("warn.overfit", {"train": number(report.train.auc), "holdout": number(report.holdout.auc)}))
    suspicious = [value.feature for value in report.ivs if value.iv is not None and strength(value.iv) == "suspicious"]
    if suspicious:
        found.append(("warn.iv", {"names": ", ".join(suspicious)}))
    for name, stability in (report.stability or {}).items():
        if stability.index >= SHIFTED:
            found.append(("warn.shifted", {"name": name, "index": number(stability.index)}))
    return found


def _error_of_auc(auc: float, ones: float, zeros: float) -> float:
    """The standard error of AUC [Hanley, McNeil 1982]."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (ones - 1) * (q1 - auc**2) + (zeros - 1) * (q2 - auc**2)
    return math.sqrt(max(variance, 0.0) / (ones * zeros))


def _of_everybody(rate: float) -> dict[str, float]:
    """Brier score and log loss of saying the overall rate of everybody."""
    return {"brier": rate * (1 - rate), "log_loss": -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)}


def _grouped(rows: Sequence[ScorecardRow], name: str) -> list[tuple[str, list[ScorecardRow]]]:
    """Rows that follow each other and have one value of that field, together."""
    return [(key, list(some)) for key, some in itertools.groupby(rows, operator.attrgetter(name))]


def _exp(value: float) -> float:
    return math.exp(min(max(value, -700.0), 700.0))


def _data(name: str) -> str:
    return importlib.resources.files("protocols.learning").joinpath("templates", name).read_text(encoding="utf-8")


@functools.cache
def _words() -> dict[str, dict[str, str]]:
    """By key, the text in each language; ``{names}`` in it are filled in."""
    words: dict[str, dict[str, str]] = json.loads(_data("report.words.json"))
    return words
