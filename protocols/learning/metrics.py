"""How well scores tell ones from zeros: AUC, KS, Gini, lift, calibration, and stability between two periods.

    evaluation = metrics.evaluate(labels, probabilities)      a party that has both, in the clear
    evaluation.auc, evaluation.ks, evaluation.groups          numbers, and the table of lift and calibration
    evaluation.confusion(0.3)                                 what a cut-off does

A *one* is a row whose label is 1, by custom a default ("bad"); a higher score means that a one is likelier. All figures
come from one table: of each score that occurs, the weight of the zeros and of the ones that have it. Equal scores count
as ties: half a pair each in AUC, and spread evenly where a table divides rows in groups of one size.

protocols.learning.shared_metrics makes the same table where nobody has the scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError
from protocols.learning import documents

Scale = Literal["probability", "logit", "rank"]
Reading = Literal["stable", "watch", "shifted"]
Floats = NDArray[np.float64]

BARS = 40
"""Bars of the distribution of scores, at most."""
WATCH, SHIFTED = 0.1, 0.25
"""From these values of the stability index on, a population is to be watched, or has shifted, by custom."""
EMPTY = 0.5
"""Rows that an empty bin counts as in the stability index, whose logarithm there would not be otherwise."""

_FORMAT = "unseen-evaluation"
_SMALLEST = 1e-15  # a probability of 0 or 1 that was wrong has no logarithm: log loss stops here


@dataclass(frozen=True)
class Cut:
    """A point of the ROC curve: what happens if all with at least this score are taken for ones.

    Attributes:
        threshold: the score.
        false_positive_rate: part of the zeros that have at least this score.
        true_positive_rate: part of the ones that have.
    """

    threshold: float
    false_positive_rate: float
    true_positive_rate: float


@dataclass(frozen=True)
class Group:
    """One of the groups of equal weight into which rows are divided by their scores.

    Attributes:
        rows: weight of its rows; their number, where rows have no weights. Not whole where a tie was divided.
        ones: weight of its ones.
        lowest: the lowest score in it.
        rate: part of its rows that are ones.
        lift: `rate`, divided by the rate of all rows.
        captured: part of all ones that are in this group and in those of higher scores: the gain.
        predicted: mean of the probabilities that the scores say; None where scores only rank.
    """

    rows: float
    ones: float
    lowest: float
    rate: float
    lift: float
    captured: float
    predicted: float | None


@dataclass(frozen=True)
class Bar:
    """A bar of the distribution of scores: low <= score < high, the last one's end included.

    Attributes:
        low: lowest score.
        high: end.
        zeros: weight of the zeros in it.
        ones: weight of the ones in it.
    """

    low: float
    high: float
    zeros: float
    ones: float


@dataclass(frozen=True)
class Confusion:
    """What a cut-off does. Numbers of rows are weights where rows have weights.

    Attributes:
        cut: the cut-off that was applied: scores of at least this are taken for ones.
        true_positives: ones that are taken for ones.
        false_positives: zeros that are taken for ones.
        true_negatives: zeros that are taken for zeros.
        false_negatives: ones that are taken for zeros.
    """

    cut: float
    true_positives: float
    false_positives: float
    true_negatives: float
    false_negatives: float

    @property
    def accuracy(self) -> float:
        """Part of all rows that are taken for what they are."""
        right = self.true_positives + self.true_negatives
        return right / (right + self.false_positives + self.false_negatives)

    @property
    def precision(self) -> float:
        """Part of those taken for ones who are; 0 where nobody is taken for one."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Part of the ones that are found."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float:
        """Part of the zeros that are let pass."""
        return _ratio(self.true_negatives, self.true_negatives + self.false_positives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where both are."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class Evaluation:
    """What scores are worth, on rows whose labels are known.

    Attributes:
        rows: weight of all rows; their number, where rows have no weights.
        ones: weight of the ones.
        auc: area under the ROC curve: how often a one, picked at random, has a higher score than a zero; of ties half.
        ks: Kolmogorov and Smirnov's distance: the largest difference of the two rates of a cut.
        ks_at: the threshold where it is.
        brier: mean square of probability less label; None where scores only rank.
        log_loss: mean of −ln of the probability of what happened, none below 1e-15; None where scores only rank.
        groups: lift, gain and calibration, from the highest scores to the lowest.
        roc: points of the curve from the highest threshold to the lowest, (0, 0) left out.
        distribution: of scores, from the lowest to the highest.
        resolution: how many grades scores were rounded to; None where they were not.
    """

    rows: float
    ones: float
    auc: float
    ks: float
    ks_at: float
    brier: float | None
    log_loss: float | None
    groups: tuple[Group, ...]
    roc: tuple[Cut, ...]
    distribution: tuple[Bar, ...]
    resolution: int | None = None

    @property
    def gini(self) -> float:
        """2·AUC − 1, which credit risk calls Gini or accuracy ratio."""
        return 2 * self.auc - 1

    @property
    def rate(self) -> float:
        """Part of the rows that are ones."""
        return self.ones / self.rows

    def confusion(self, cut: float) -> Confusion:
        """What a cut-off does, read off the curve's points.

        Args:
            cut: rows with at least this score are taken for ones. The nearest threshold of the curve that is not below
                is applied, and named in the result; for the exact one call ``confusion`` of the module.
        """
        if math.isnan(cut):
            raise UsageError("A cut-off is a number: give the lowest score that is taken for a one.")
        applied = next((point for point in reversed(self.roc) if point.threshold >= cut), Cut(cut, 0.0, 0.0))
        taken, wrongly = applied.true_positive_rate * self.ones, applied.false_positive_rate * (self.rows - self.ones)
        return Confusion(applied.threshold, taken, wrongly, self.rows - self.ones - wrongly, self.ones - taken)

    def to_json(self) -> dict[str, object]:
        """A plain document, of numbers, lists and texts; ``from_json`` reads it."""
        return {
            "format": _FORMAT,
            "version": 1,
            **{name: getattr(self, name) for name in (*_NUMBERS, "brier", "log_loss", "resolution")},
            **{
                name: [{key: getattr(row, key) for key in keys} for row in getattr(self, name)]
                for name, keys in _TABLES
            },
        }

    @staticmethod
    def from_json(document: Mapping[str, object]) -> Evaluation:
        """What ``to_json`` wrote.

        Raises:
            UsageError: it did not write this.
        """
        names = (*_NUMBERS, "brier", "log_loss", "resolution", *(name for name, _ in _TABLES))
        fields = documents.read_version(document, names, what=_FORMAT)
        rows = {
            name: [documents.read(row, keys, what=f"a row of {name!r}") for row in fields.items(name)]
            for name, keys in _TABLES
        }
        return Evaluation(
            **{name: fields.number(name) for name in _NUMBERS},
            brier=_optional(fields, "brier"),
            log_loss=_optional(fields, "log_loss"),
            resolution=None if fields.is_null("resolution") else fields.whole("resolution"),
            groups=tuple(
                Group(**{key: row.number(key) for key in _GROUP[:-1]}, predicted=_optional(row, "predicted"))
                for row in rows["groups"]
            ),
            roc=tuple(Cut(**{key: row.number(key) for key in _CUT}) for row in rows["roc"]),
            distribution=tuple(Bar(**{key: row.number(key) for key in _BAR}) for row in rows["distribution"]),
        )


@dataclass(frozen=True)
class Stability:
    """How far a population has moved between two periods: the population stability index, PSI.

    Attributes:
        index: Σ (actual − expected)·ln(actual / expected) over bins, of parts of all rows.
        expected: of each bin, its part of the rows of the first period.
        actual: of each bin, its part of the rows of the second.
        parts: of each bin, what it adds to the index.
        empty: bins that were empty in one period and counted as half a row there.
    """

    index: float
    expected: tuple[float, ...]
    actual: tuple[float, ...]
    parts: tuple[float, ...]
    empty: tuple[int, ...] = ()

    @property
    def reading(self) -> Reading:
        """``stable`` below 0.1, ``watch`` below 0.25, ``shifted`` from there on: the usual reading, not a test."""
        return "stable" if self.index < WATCH else "watch" if self.index < SHIFTED else "shifted"

    def to_json(self) -> dict[str, object]:
        """A plain document; ``from_json`` reads it."""
        lists = {name: list(getattr(self, name)) for name in ("expected", "actual", "parts", "empty")}
        return {"format": "unseen-stability", "version": 1, "index": self.index, **lists}

    @staticmethod
    def from_json(document: Mapping[str, object]) -> Stability:
        """What ``to_json`` wrote.

        Raises:
            UsageError: it did not write this.
        """
        names = ("index", "expected", "actual", "parts", "empty")
        fields = documents.read_version(document, names, what="unseen-stability")
        tables = {name: fields.numbers(name) for name in ("expected", "actual", "parts")}
        empty = tuple(int(bin_) for bin_ in fields.numbers("empty"))
        return Stability(index=fields.number("index"), **tables, empty=empty)


# In the clear --------------------------------------------------------------------------------------------------------


def evaluate(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    scale: Scale = "probability",
    weights: ArrayLike | None = None,
    bins: int = 10,
    points: int = 200,
) -> Evaluation:
    """Judge scores by labels, in the clear.

    Args:
        labels: (n,) of 0 and 1, both of which occur.
        scores: (n,), higher where a one is likelier.
        scale: what scores are: ``probability``, in [0, 1]; ``logit``, which are evaluated as probabilities; or
            ``rank``, any numbers, of which there is no calibration.
        weights: (n,) of rows, not negative; None: 1 each.
        bins: groups of equal weight in the table of lift and calibration.
        points: points of the ROC curve that are kept, at most, beside the one of KS; the figures use all of them.

    Raises:
        UsageError: labels other than 0 and 1, or of one kind only; scores or weights that are missing, infinite or out
            of range; lengths that differ.
    """
    y, s, w = _rows(labels, scores, weights)
    if scale not in ("probability", "logit", "rank"):
        raise UsageError(f"scale is 'probability', 'logit' or 'rank', not {scale!r}.")
    if scale == "probability" and (s.min() < 0 or s.max() > 1):
        raise UsageError("Probabilities are from 0 to 1: say scale='logit' of log odds, 'rank' of other scores.")
    values, places = np.unique(s, return_inverse=True)
    zeros, ones = (np.bincount(places, w * (y == label), len(values)) for label in (0, 1))
    if scale == "logit":
        values = sigmoid(values)
    return of_counts(values, zeros, ones, probabilities=scale != "rank", bins=bins, points=points)


def of_counts(
    scores: ArrayLike,
    zeros: ArrayLike,
    ones: ArrayLike,
    *,
    probabilities: bool = True,
    bins: int = 10,
    points: int = 200,
    edges: Sequence[float] | None = None,
    resolution: int | None = None,
) -> Evaluation:
    """Judge scores of which one knows how many zeros and ones have them.

    Args:
        scores: (m,) the scores that occur, ascending.
        zeros: (m,) how many zeros have each, or their weight.
        ones: (m,) how many ones.
        probabilities: whether scores are probabilities.
        bins: as for ``evaluate``.
        points: as for ``evaluate``.
        edges: (m + 1,) between which scores the counts are, where a score stands for a range of them: then these are
            the thresholds and the bars. None: scores are exact.
        resolution: how many grades scores were rounded to.

    Raises:
        UsageError: no zeros or no ones, or options out of range.
    """
    if not 2 <= bins <= 1000 or not 2 <= points <= 100_000:
        raise UsageError("bins is 2 to 1000 groups, points 2 to 100,000 points of the curve.")
    s, n0, n1 = (np.asarray(values, dtype=np.float64) for values in (scores, zeros, ones))
    used = n0 + n1 > 0  # rows of weight zero are none
    lows = s if edges is None else np.asarray(edges, dtype=np.float64)[:-1]
    bars = _bars(s, n0, n1, probabilities=probabilities) if edges is None else _cells(edges, n0, n1)
    s, n0, n1, lows = s[used], n0[used], n1[used], lows[used]
    total0, total1 = float(n0.sum()), float(n1.sum())
    if not total0 or not total1:
        missing = "0" if not total0 else "1"
        raise UsageError(f"No row has label {missing}, so that there is nothing to tell apart: evaluate on more rows.")
    below = np.cumsum(n0) - n0
    auc = float((n1 * (below + n0 / 2)).sum() / (total0 * total1))
    # From the highest score down: the rates of a cut at each.
    false, true = np.cumsum(n0[::-1]) / total0, np.cumsum(n1[::-1]) / total1
    gaps = true - false
    at = int(np.argmax(np.abs(gaps)))
    thresholds = lows[::-1]
    kept = np.unique([*_spaced(false + true, points), at])
    brier = log_loss = None
    if probabilities:
        brier = float((n1 * (1 - s) ** 2 + n0 * s**2).sum() / (total0 + total1))
        inside = np.clip(s, _SMALLEST, 1 - _SMALLEST)
        log_loss = float(-(n1 * np.log(inside) + n0 * np.log1p(-inside)).sum() / (total0 + total1))
    return Evaluation(
        rows=total0 + total1,
        ones=total1,
        auc=auc,
        ks=float(abs(gaps[at])),
        ks_at=float(thresholds[at]),
        brier=brier,
        log_loss=log_loss,
        groups=_groups(s[::-1], thresholds, n0[::-1], n1[::-1], bins=bins, probabilities=probabilities),
        roc=tuple(Cut(float(thresholds[i]), float(false[i]), float(true[i])) for i in kept),
        distribution=bars,
        resolution=resolution,
    )


def confusion(labels: ArrayLike, scores: ArrayLike, cut: float, *, weights: ArrayLike | None = None) -> Confusion:
    """What a cut-off does, exactly: rows with at least this score are taken for ones.

    Raises:
        UsageError: as ``evaluate``.
    """
    y, s, w = _rows(labels, scores, weights)
    if math.isnan(cut):
        raise UsageError("A cut-off is a number: give the lowest score that is taken for a one.")
    taken = s >= cut
    tp, fp, tn, fn = (
        float(w[taken_ & (y == label)].sum()) for taken_, label in ((taken, 1), (taken, 0), (~taken, 0), (~taken, 1))
    )
    return Confusion(float(cut), tp, fp, tn, fn)


def stability_index(expected: ArrayLike, actual: ArrayLike) -> Stability:
    """The population stability index of two periods, of counts by bin.

    Args:
        expected: (m,) rows of each bin in the first period, in which the model was made.
        actual: (m,) rows of the same bins in the second.

    A bin that is empty in one period counts as half a row there, since ln 0 is none; one that is empty in both adds
    nothing. Both are named in the result.

    Raises:
        UsageError: fewer than two bins, lengths that differ, negative counts, or a period without rows.
    """
    first, second = (np.asarray(counts, dtype=np.float64) for counts in (expected, actual))
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise UsageError(f"Counts of the same bins, two or more, not {first.shape} and {second.shape}: bin both alike.")
    for counts in (first, second):
        if not np.isfinite(counts).all() or (counts < 0).any() or not counts.sum():
            raise UsageError("Counts are finite and not negative, and each period has rows: count them again.")
    empty = (first == 0) | (second == 0)
    filled = [np.where(empty & (first + second > 0) & (counts == 0), EMPTY, counts) for counts in (first, second)]
    p, q = (counts / counts.sum() for counts in filled)
    both = p > 0
    ratios = np.divide(q, p, out=np.ones_like(p), where=both)
    parts = (q - p) * np.log(ratios)
    lists = (tuple(map(float, values)) for values in (first / first.sum(), second / second.sum(), parts))
    shares_before, shares_after, added = lists
    return Stability(float(parts.sum()), shares_before, shares_after, added, tuple(map(int, np.nonzero(empty)[0])))


def stability_of_scores(expected: ArrayLike, actual: ArrayLike, *, bins: int = 10) -> Stability:
    """The stability index of scores, of two periods, over bins of equal frequency in the first.

    Args:
        expected: (n,) scores of the first period.
        actual: (m,) scores of the second.
        bins: how many; fewer where scores repeat themselves.

    Raises:
        UsageError: scores that are missing or infinite, none, or all of them equal.
    """
    first, second = (np.asarray(scores, dtype=np.float64).reshape(-1) for scores in (expected, actual))
    if not len(first) or not len(second) or not np.isfinite(first).all() or not np.isfinite(second).all():
        raise UsageError("Both periods have scores, and all are finite numbers: drop rows without a score.")
    if not 2 <= bins <= 1000:
        raise UsageError("bins is 2 to 1000.")
    edges = np.unique(np.quantile(first, np.arange(1, bins) / bins, method="inverted_cdf"))
    edges = edges[edges < first.max()]  # above the last edge there are rows of the first period
    if not len(edges):
        raise UsageError("Almost all scores of the first period are equal, and make no two bins: count bins yourself.")
    # A bin is (edge before, edge]
    before, after = (np.bincount(np.searchsorted(edges, s), minlength=len(edges) + 1) for s in (first, second))
    return stability_index(before, after)


def sigmoid(logits: ArrayLike) -> Floats:
    """Probabilities of log odds, without overflow."""
    z = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(z))
    probabilities: Floats = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    return probabilities


# Steps ---------------------------------------------------------------------------------------------------------------

_NUMBERS = ("rows", "ones", "auc", "ks", "ks_at")
_GROUP = ("rows", "ones", "lowest", "rate", "lift", "captured", "predicted")
_CUT = ("threshold", "false_positive_rate", "true_positive_rate")
_BAR = ("low", "high", "zeros", "ones")
_TABLES = (("groups", _GROUP), ("roc", _CUT), ("distribution", _BAR))


def check_labels(labels: ArrayLike) -> NDArray[np.int64]:
    """(n,) labels as whole numbers.

    Raises:
        UsageError: labels other than 0 and 1, none, or another shape than (n,).
    """
    y = np.asarray(labels)
    if y.ndim != 1 or not len(y) or y.dtype.kind not in "biuf":
        raise UsageError(f"labels is an array (n,) of 0 and 1, n > 0, not {y.dtype} {y.shape}.")
    if not np.isin(y, (0, 1)).all():
        raise UsageError("Labels are 0 and 1: map others to these, and drop rows without a label.")
    return y.astype(np.int64)


def _rows(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> tuple[NDArray[np.int64], Floats, Floats]:
    y, s = check_labels(labels), np.asarray(scores, dtype=np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    if s.shape != y.shape or w.shape != y.shape:
        raise UsageError(f"labels, scores and weights have one length, not {y.shape}, {s.shape} and {w.shape}.")
    if not np.isfinite(s).all():
        raise UsageError("Scores are finite numbers: drop rows without a score.")
    if not np.isfinite(w).all() or (w < 0).any():
        raise UsageError("Weights are finite and not negative: give 0 for rows that are not to count.")
    return y, s, w


def _ratio(a: float, b: float) -> float:
    return a / b if b else 0.0


def _optional(fields: documents.Document, key: str) -> float | None:
    return None if fields.is_null(key) else fields.number(key)


def _spaced(along: Floats, points: int) -> NDArray[np.int64]:
    """Places of at most so many of ascending numbers, evenly spaced in them, the last one included."""
    if len(along) <= points:
        return np.arange(len(along))
    wanted = np.linspace(0, along[-1], points + 1)[1:]
    return np.minimum(np.searchsorted(along, wanted - 1e-12), len(along) - 1)


def _groups(s: Floats, lows: Floats, n0: Floats, n1: Floats, *, bins: int, probabilities: bool) -> tuple[Group, ...]:
    """Groups of equal weight from the highest score down; what has equal scores is spread evenly."""
    weight = np.concatenate([[0.0], np.cumsum(n0 + n1)])
    total, ends = float(weight[-1]), np.linspace(0, weight[-1], bins + 1)
    ones = np.interp(ends, weight, np.concatenate([[0.0], np.cumsum(n1)]))
    expected = np.interp(ends, weight, np.concatenate([[0.0], np.cumsum((n0 + n1) * s)]))
    last = np.minimum(np.searchsorted(weight, ends[1:] * (1 - 1e-12)), len(s)) - 1
    groups = []
    for i in range(bins):
        rows, some = total / bins, float(ones[i + 1] - ones[i])
        rate = some / rows
        predicted = float(expected[i + 1] - expected[i]) / rows if probabilities else None
        lift = rate / float(ones[-1] / total)
        captured = float(ones[i + 1] / ones[-1])
        groups.append(Group(float(rows), some, float(lows[last[i]]), rate, lift, captured, predicted))
    return tuple(groups)


def _bars(s: Floats, n0: Floats, n1: Floats, *, probabilities: bool) -> tuple[Bar, ...]:
    """Bars of equal width over all scores: of probabilities from 0 to the first 20th above the highest."""
    low, high = (
        (0.0, math.ceil(min(float(s[-1]), 1.0) * 20 - 1e-9) / 20) if probabilities else (float(s[0]), float(s[-1]))
    )
    high = high if high > low else low + 1
    edges = np.linspace(low, high, BARS + 1)
    zeros, ones = (np.histogram(s, edges, weights=n)[0] for n in (n0, n1))
    return tuple(Bar(*map(float, row)) for row in zip(edges[:-1], edges[1:], zeros, ones, strict=True))


def _cells(edges: Sequence[float], n0: Floats, n1: Floats) -> tuple[Bar, ...]:
    return tuple(Bar(*map(float, row)) for row in zip(edges[:-1], edges[1:], n0, n1, strict=True))
