"""What a boosted model is trained on: gradients, hessians and metrics of its objectives, as XGBoost has them.

Plain numpy at the party that has the labels y. A row's margin m is the sum of its leaves' weights and of what all begin
with; c is its weight, times ``scale_pos_weight`` where y is 1; g and h are what trees are made of.

    binary:logistic    p = σ(m)                g = c·(p − y)           h = c·max(p·(1 − p), 1e-16)
    multi:softprob     p = softmax(m)          g_k = c·(p_k − [y=k])   h_k = max(2·c·p_k·(1 − p_k), 1e-16)
    reg:squarederror                           g = c·(m − y)           h = c
    count:poisson                              g = c·(exp m − y)       h = c·exp(m + max_delta_step)

[Chen, Guestrin: XGBoost, KDD 2016, section 2.2; the floors and Poisson's step are those of its code.] Metrics are
weighted means: logloss, mlogloss, rmse (the root of one) and poisson-nloglik.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocols.learning.boosting_terms import Training

Reals = NDArray[np.float64]

METRICS = {
    "binary:logistic": "logloss",
    "multi:softprob": "mlogloss",
    "reg:squarederror": "rmse",
    "count:poisson": "poisson-nloglik",
}
"""By objective the metric's name."""

_FLOOR = 1e-16
_SMALL = 1e-7  # a mean probability or count is not nearer to its ends


def start(training: Training, y: Reals, weights: Reals | None) -> float:
    """The margin that every row begins with: that of ``base_score``, or of the mean label of rows trained on.

    Args:
        training: the settings.
        y: (n,) of those rows.
        weights: (n,) of theirs; None for ones.
    """
    base = training.base_score
    if training.objective == "multi:softprob":
        return 0.5 if base is None else base  # the same for all classes
    if base is None:
        base = float(np.average(y, weights=weights))
    if training.objective == "binary:logistic":
        base = min(max(base, _SMALL), 1 - _SMALL)
        return math.log(base / (1 - base))
    return math.log(max(base, _SMALL)) if training.objective == "count:poisson" else base


def gradients(training: Training, margins: Reals, y: Reals, weights: Reals | None) -> tuple[Reals, Reals]:
    """First and second derivatives of the loss.

    Args:
        training: the settings.
        margins: (n, outputs).
        y: (n,) labels.
        weights: (n,); None for ones.

    Returns:
        g and h, (outputs, n) each.
    """
    c = np.ones(1) if weights is None else weights
    if training.objective == "multi:softprob":
        p = np.ascontiguousarray(probabilities(training, margins).T)
        target = np.arange(len(p))[:, None] == y
        return c * (p - target), np.maximum(2.0 * c * p * (1 - p), _FLOOR)
    m = margins[:, 0]
    if training.objective == "binary:logistic":
        if training.scale_pos_weight != 1.0:
            c = c * np.where(y == 1, training.scale_pos_weight, 1.0)
        p = sigmoid(m)
        g, h = c * (p - y), c * np.maximum(p * (1 - p), _FLOOR)
    elif training.objective == "count:poisson":
        mean = np.exp(m)
        g, h = c * (mean - y), c * (mean * math.exp(training.largest_step))
    else:
        g, h = c * (m - y), np.broadcast_to(c, m.shape)
    return g[None], np.ascontiguousarray(h)[None]


def probabilities(training: Training, margins: Reals) -> Reals:
    """What margins, (n, outputs), predict: (n, classes) for ``multi:softprob``, else (n, 1)."""
    if training.objective == "multi:softprob":
        e = np.exp(margins - margins.max(axis=1, keepdims=True))
        shares: Reals = e / e.sum(axis=1, keepdims=True)
        return shares
    if training.objective == "binary:logistic":
        return sigmoid(margins)
    return np.exp(margins) if training.objective == "count:poisson" else margins


def metric(training: Training, margins: Reals, y: Reals, weights: Reals | None) -> float:
    """The mean loss of rows: (n, outputs) margins, (n,) labels, (n,) weights or None. NaN where no row has weight."""
    if not len(y) or (weights is not None and not weights.any()):
        return math.nan
    return metric_of(training, float(np.average(losses(training, margins, y), weights=weights)))


def metric_of(training: Training, mean: float) -> float:
    """The metric where the mean of losses is this."""
    return math.sqrt(mean) if training.objective == "reg:squarederror" else mean


def losses(training: Training, margins: Reals, y: Reals) -> Reals:
    """(n,) what each row adds to the metric: (n, outputs) margins, (n,) labels."""
    m = margins[:, 0]
    if training.objective == "multi:softprob":
        p = probabilities(training, margins)[np.arange(len(y)), y.astype(np.int64)]
        found: Reals = -np.log(np.maximum(p, _FLOOR))
    elif training.objective == "binary:logistic":
        found = np.logaddexp(0.0, np.where(y == 1, -m, m))
    elif training.objective == "count:poisson":
        found = np.exp(m) - y * m + _log_factorials(y)
    else:
        found = (m - y) ** 2
    return found


def sigmoid(m: Reals) -> Reals:
    """1 / (1 + exp(-m))."""
    with np.errstate(over="ignore"):
        p: Reals = 1.0 / (1.0 + np.exp(-m))
    return p


def _log_factorials(y: Reals) -> Reals:
    """Log Γ(y + 1); there are few different counts."""
    values, place = np.unique(y, return_inverse=True)
    return np.array([math.lgamma(value + 1) for value in values])[place.reshape(-1)]
