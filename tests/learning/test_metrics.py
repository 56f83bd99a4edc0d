"""Metrics in the clear: as scikit-learn says, with ties and weights; strict documents; stability between periods."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from mpc.errors import UsageError
from protocols.learning import metrics

Floats = NDArray[np.float64]


def drawn(n: int = 1000, *, seed: int = 5, digits: int = 17) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Labels, log odds that tell something of them, and weights."""
    rng = np.random.default_rng(seed)
    z = np.round(rng.normal(-1.2, 1.1, n), digits)
    return (rng.random(n) < metrics.sigmoid(z)).astype(np.int64), z, rng.integers(0, 4, n).astype(float)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("digits", [17, 1])
def test_as_scikit_learn(*, weighted: bool, digits: int) -> None:
    y, z, w = drawn(digits=digits)
    p = metrics.sigmoid(z)
    weights = w if weighted else None
    found = metrics.evaluate(y, z, scale="logit", weights=weights, points=100_000)
    false, true, thresholds = roc_curve(y, p, sample_weight=weights, drop_intermediate=False)
    at = np.argmax(true - false)
    assert found.auc == pytest.approx(roc_auc_score(y, p, sample_weight=weights), abs=1e-12)
    assert found.gini == 2 * found.auc - 1
    assert found.ks == pytest.approx((true - false).max(), abs=1e-12)
    assert found.ks_at == pytest.approx(thresholds[at])
    assert found.brier == pytest.approx(brier_score_loss(y, p, sample_weight=weights), abs=1e-12)
    assert found.log_loss == pytest.approx(log_loss(y, p, sample_weight=weights), abs=1e-12)
    curve = np.array([(cut.false_positive_rate, cut.true_positive_rate, cut.threshold) for cut in found.roc])
    present = np.isin(thresholds, p if weights is None else p[w > 0])  # a row without weight makes no point here
    assert np.allclose(curve, np.stack([false, true, thresholds], axis=1)[present], atol=1e-12)


def test_confusion_as_scikit_learn() -> None:
    y, z, w = drawn()
    p = metrics.sigmoid(z)
    found = metrics.confusion(y, p, 0.3, weights=w)
    taken = p >= 0.3
    (tn, fp), (fn, tp) = confusion_matrix(y, taken, sample_weight=w)
    assert (found.true_negatives, found.false_positives, found.false_negatives, found.true_positives) == (
        tn,
        fp,
        fn,
        tp,
    )
    assert found.precision == pytest.approx(precision_score(y, taken, sample_weight=w))
    assert found.recall == pytest.approx(recall_score(y, taken, sample_weight=w))
    assert found.f1 == pytest.approx(f1_score(y, taken, sample_weight=w))
    assert found.specificity == pytest.approx(recall_score(1 - y, ~taken, sample_weight=w))
    assert found.accuracy == pytest.approx(((y == taken) * w).sum() / w.sum())
    read = metrics.evaluate(y, p, weights=w, points=50).confusion(0.3)
    assert read.cut >= 0.3
    exact = metrics.confusion(y, p, read.cut, weights=w)
    assert [getattr(read, name) for name in vars(read)] == pytest.approx([getattr(exact, name) for name in vars(exact)])
    nobody = metrics.evaluate(y, p).confusion(1.0)
    assert (nobody.true_positives, nobody.false_positives, nobody.precision, nobody.f1) == (0, 0, 0, 0)


def test_groups_are_lift_gain_and_calibration() -> None:
    y, z, _ = drawn(1000)
    p = metrics.sigmoid(z)
    groups = metrics.evaluate(y, p, bins=10).groups
    order = np.argsort(-p)
    for i, group in enumerate(groups):
        part = order[100 * i : 100 * (i + 1)]
        assert group.rows == pytest.approx(100)
        assert group.ones == pytest.approx(y[part].sum())
        assert group.lowest == pytest.approx(p[part].min())
        assert group.lift == pytest.approx(y[part].mean() / y.mean())
        assert group.captured == pytest.approx(y[order[: 100 * (i + 1)]].sum() / y.sum())
    observed, predicted = calibration_curve(y, p, n_bins=10, strategy="quantile")
    assert [g.rate for g in groups[::-1]] == pytest.approx(list(observed))
    assert [g.predicted for g in groups[::-1]] == pytest.approx(list(predicted))


def test_ties_are_spread_over_groups() -> None:
    found = metrics.evaluate([0, 1, 1, 0], [0.5, 0.5, 0.5, 0.5], bins=2)
    assert (found.auc, found.ks) == (0.5, 0.0)
    assert [(g.rows, g.ones, g.lift, g.captured) for g in found.groups] == [(2, 1, 1, 0.5), (2, 1, 1, 1)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=30))
def test_weights_are_repetitions(rows: list[tuple[bool, int, int]]) -> None:
    repeated = [(label, score) for label, score, weight in rows for _ in range(weight)]
    y, s, w = (np.array(column) for column in zip(*rows, strict=True))
    if len({label for label, _ in repeated}) < 2:
        with pytest.raises(UsageError, match="nothing to tell apart"):
            metrics.evaluate(y, s, scale="rank", weights=w)
        return
    weighted = metrics.evaluate(y, s, scale="rank", weights=w)
    plain = metrics.evaluate(*zip(*repeated, strict=True), scale="rank")
    pairs = [(one > zero) + (one == zero) / 2 for hit, one in repeated if hit for miss, zero in repeated if not miss]
    assert weighted.auc == pytest.approx(np.mean(pairs))
    assert [weighted.auc, weighted.ks, *(g.ones for g in weighted.groups)] == pytest.approx(
        [plain.auc, plain.ks, *(g.ones for g in plain.groups)]
    )
    assert weighted.roc == plain.roc
    assert weighted.brier is None
    assert all(group.predicted is None for group in weighted.groups)
    assert sum(bar.ones for bar in weighted.distribution) == pytest.approx(plain.ones)


def test_points_thin_the_curve_and_nothing_else() -> None:
    y, z, _ = drawn(5000)
    whole, thin = (metrics.evaluate(y, z, scale="logit", points=points) for points in (100_000, 50))
    assert len(whole.roc) == 5000
    assert len(thin.roc) <= 51
    assert set(thin.roc) <= set(whole.roc)
    assert thin.ks_at in {cut.threshold for cut in thin.roc}
    assert replace(thin, roc=whole.roc) == whole
    curve = np.array([(0, 0), *((cut.false_positive_rate, cut.true_positive_rate) for cut in thin.roc)])
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(whole.auc, abs=1e-3)
    assert thin.roc[-1].true_positive_rate == thin.roc[-1].false_positive_rate == 1


@pytest.mark.parametrize(
    ("labels", "scores", "options", "problem"),
    [
        ([0, 2], [0.1, 0.2], {}, "Labels are 0 and 1"),
        ([0, np.nan], [0.1, 0.2], {}, "Labels are 0 and 1"),
        (["a", "b"], [0.1, 0.2], {}, "labels is an array"),
        ([], [], {}, "labels is an array"),
        ([0, 0], [0.1, 0.2], {}, "No row has label 1"),
        ([1, 1], [0.1, 0.2], {}, "No row has label 0"),
        ([0, 1], [0.1, np.nan], {}, "Scores are finite"),
        ([0, 1], [0.1], {}, "one length"),
        ([0, 1], [-3.0, 2.0], {}, "say scale='logit'"),
        ([0, 1], [0.1, 0.2], {"scale": "points"}, "scale is"),
        ([0, 1], [0.1, 0.2], {"weights": [1, -1]}, "not negative"),
        ([0, 1], [0.1, 0.2], {"bins": 1}, "bins is 2"),
    ],
)
def test_what_cannot_be_judged(labels: object, scores: object, options: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        metrics.evaluate(labels, scores, **options)  # type: ignore[arg-type]


def test_documents() -> None:
    y, z, w = drawn(300)
    for found in (
        metrics.evaluate(y, z, scale="logit", weights=w),
        metrics.evaluate(y, z, scale="rank"),
        metrics.of_counts([0.2, 0.6], [5, 1], [2, 4], edges=[0, 0.5, 1], resolution=2),
    ):
        text = json.dumps(found.to_json(), allow_nan=False)
        assert metrics.Evaluation.from_json(json.loads(text)) == found
    document = found.to_json()
    for bad in (
        {**document, "more": 1},
        {**document, "auc": "0.7"},
        {**document, "auc": float("nan")},
        {**document, "version": 2},
        {**document, "roc": [{"threshold": 0.5}]},
        {key: value for key, value in document.items() if key != "ks"},
        [],
    ):
        with pytest.raises(UsageError):
            metrics.Evaluation.from_json(bad)  # type: ignore[arg-type]


def test_stability() -> None:
    found = metrics.stability_index([100, 200, 700], [150, 250, 600])
    p, q = np.array([0.1, 0.2, 0.7]), np.array([0.15, 0.25, 0.6])
    assert found.index == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert found.reading == "stable"
    assert sum(found.parts) == found.index
    assert metrics.stability_index([1, 1], [1, 2]).reading == "watch"
    assert metrics.stability_index([1, 1], [1, 9]).reading == "shifted"
    assert metrics.Stability.from_json(json.loads(json.dumps(found.to_json()))) == found
    with pytest.raises(UsageError, match="unseen-stability"):
        metrics.Stability.from_json({**found.to_json(), "format": "unseen-evaluation"})


def test_empty_bins_count_as_half_a_row() -> None:
    found = metrics.stability_index([50, 0, 0, 50], [50, 10, 0, 40])
    p, q = np.array([50, 0.5, 50]) / 100.5, np.array([50, 10, 40]) / 100
    assert found.index == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert found.empty == (1, 2)
    assert found.parts[2] == 0
    assert metrics.Stability.from_json(found.to_json()) == found
    for bad in (([1, 2], [1, 2, 3]), ([0, 0], [1, 2]), ([1, -1], [1, 1]), ([1], [1]), ([1, np.nan], [1, 1])):
        with pytest.raises(UsageError):
            metrics.stability_index(*bad)


def test_stability_of_scores() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(size=20_000)
    assert metrics.stability_of_scores(first, rng.normal(size=20_000)).index < 0.003
    moved = metrics.stability_of_scores(first, rng.normal(0.5, size=20_000))
    assert moved.expected == pytest.approx([0.1] * 10, abs=1e-4)
    assert 0.2 < moved.index < 0.3  # of two normal distributions half a deviation apart: 0.25
    assert metrics.stability_of_scores([0, 0, 0, 1], [0, 1, 1, 1]).expected == (0.75, 0.25)
    for bad in (([1, 1], [1, 2]), ([], [1]), ([1, 2], [np.nan])):
        with pytest.raises(UsageError):
            metrics.stability_of_scores(*bad)
