"""Where nodes of a boosted tree are best split, from histograms in the clear.

G and H are sums of gradients and hessians over a node's rows, λ, α, γ the settings [Chen, Guestrin: XGBoost, KDD 2016,
equations 5 to 7, algorithm 3 for missing values]; α and the largest step δ as in XGBoost's code:

    weight  w(G, H) = −T(G) / (H + λ), cut at ±δ              T(G): G moved towards zero by α
    score   s(G, H) = T(G)² / (H + λ), or −(2·G·w + (H + λ)·w²) where there is a δ
    gain    s(G_L, H_L) + s(G_R, H_R) − s(G, H)               split where it is at least γ and above 1e-6

A histogram has the bins of all columns of a party one after another. A split at bin b of a column sends its bins up to
b to the left; where the column's last bin is that of missing values, both sides are tried for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.learning.boosting_terms import Columns, Training

Reals = NDArray[np.float64]

LEAST_GAIN = 1e-6
"""XGBoost splits only where there is more to gain."""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Layout:
    """Where a party's columns lie in its histograms.

    Attributes:
        column: (m,) of each bin the column.
        first: (m,) the first bin of that column.
        last: (m,) the last one, that of missing values where there are any.
        missing: (m,) whether that column's last bin is for missing values.
        width: (m,) how many bins it has.
    """

    column: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    missing: NDArray[np.bool_]
    width: NDArray[np.int64]

    @staticmethod
    def of(columns: Columns) -> Layout:
        """That of a party's columns."""
        sizes = np.array(columns.sizes, dtype=np.int64)
        column = np.repeat(np.arange(len(sizes)), sizes)
        ends = np.cumsum(sizes)
        return Layout(
            column=column,
            first=(ends - sizes)[column],
            last=(ends - 1)[column],
            missing=np.array(columns.missing, dtype=np.bool_)[column],
            width=sizes[column],
        )

    def shared(self, values: Reals) -> Reals:
        """(nodes, m): of each bin the sum of `values`, (nodes, m), over all bins of its column."""
        sums = np.cumsum(values, axis=1)
        before = np.where(self.first > 0, sums[:, self.first - 1], 0.0)
        total: Reals = sums[:, self.last] - before
        return total


@dataclass(frozen=True)
class Best:
    """The best split of each of some nodes in one party's columns.

    Attributes:
        gain: (nodes,) minus infinity where none may be made.
        column: (nodes,) which is split.
        bin: (nodes,) its last bin on the left.
        missing_left: (nodes,) whether missing values go to the left.
    """

    gain: Reals
    column: NDArray[np.int64]
    bin: NDArray[np.int64]
    missing_left: NDArray[np.bool_]


def shrunk(training: Training, g: Reals) -> Reals:
    """T(G)."""
    alpha = training.reg_alpha
    return g if not alpha else np.sign(g) * np.maximum(np.abs(g) - alpha, 0.0)


def weight(training: Training, g: Reals, h: Reals) -> Reals:
    """w(G, H), without the learning rate: arrays of any one shape. 0 where H is not large enough for a child."""
    below = h + training.reg_lambda
    usable = (h > 0) & (h >= training.min_child_weight)
    w = np.divide(-shrunk(training, g), below, out=np.zeros_like(below), where=usable)
    step = training.largest_step
    return np.clip(w, -step, step) if step else w


def score(training: Training, g: Reals, h: Reals) -> Reals:
    """s(G, H): arrays of any one shape."""
    below = h + training.reg_lambda
    if training.largest_step:
        w = weight(training, g, h)
        return -(2.0 * g * w + below * w * w)
    return np.divide(shrunk(training, g) ** 2, below, out=np.zeros_like(below), where=below > 0)


def best(
    training: Training,
    layout: Layout,
    g: Reals,
    h: Reals,
    total_g: Reals,
    total_h: Reals,
    *,
    usable: NDArray[np.bool_],
    blur: Reals,
    rows: Reals | None = None,
    least_rows: int = 0,
) -> Best:
    """The best split of each node.

    Args:
        training: the settings.
        layout: of the party's columns; m bins.
        g: (nodes, m) sums of gradients.
        h: (nodes, m) of hessians.
        total_g: (nodes,) of all rows of the node.
        total_h: (nodes,) likewise.
        usable: (columns,) which ones this tree may split.
        blur: (nodes,) how far a bin's sum of hessians may be off; children need to stand out from it.
        rows: (nodes, m) how many rows each bin has, where children are to have `least_rows` at least.
        least_rows: of each child.
    """
    nodes, m = g.shape
    if not m:
        nowhere = np.zeros(nodes, dtype=np.int64)
        return Best(np.full(nodes, -np.inf), nowhere, nowhere, nowhere.astype(np.bool_))
    absent_g, absent_h = (np.where(layout.missing, sums[:, layout.last], 0.0) for sums in (g, h))
    left_g, left_h = (_prefixes(layout, sums) for sums in (g, h))  # without missing values
    g_t, h_t = total_g[:, None], total_h[:, None]
    # An empty side must not pass for one: neither by what bins are off, nor by how sums are rounded.
    least = np.maximum(training.min_child_weight, blur[:, None] * np.sqrt(layout.width))
    least = np.maximum(least, _ROUNDING * h_t)
    before = score(training, total_g, total_h)[:, None]
    place = np.arange(m)
    may = usable[layout.column] & (place < layout.last)
    gains = np.empty((2, nodes, m))
    many = np.ones((2, nodes, m), dtype=np.bool_) if rows is None else _enough(layout, rows, least_rows)
    for side, (gl, hl, allowed) in enumerate(
        (
            (left_g, left_h, may[None, :]),
            (left_g + absent_g, left_h + absent_h, (may & layout.missing) & (absent_h > blur[:, None])),
        )
    ):
        fits = allowed & many[side] & (hl >= least) & (h_t - hl >= least) & (h_t > 0)
        gain = score(training, gl, hl) + score(training, g_t - gl, h_t - hl) - before
        gains[side] = np.where(fits, gain, -np.inf)
    # Of equal gains the first: by column and bin, and to the right with missing values.
    flat = gains.transpose(1, 2, 0).reshape(nodes, 2 * m)
    at = flat.argmax(axis=1)
    found, side = at // 2, at % 2
    return Best(
        gain=flat[np.arange(nodes), at],
        column=layout.column[found],
        bin=found - layout.first[found],
        missing_left=side.astype(np.bool_),
    )


def _prefixes(layout: Layout, sums: Reals) -> Reals:
    """(nodes, m): what each bin and those before it in its column have together."""
    running = np.cumsum(sums, axis=1)
    before = np.where(layout.first > 0, running[:, layout.first - 1], 0.0)
    left: Reals = running - before
    return left


def _enough(layout: Layout, rows: Reals, least: int) -> NDArray[np.bool_]:
    """(2, nodes, m): whether both children have so many rows, with missing values to the right and to the left."""
    left, absent = _prefixes(layout, rows), np.where(layout.missing, rows[:, layout.last], 0.0)
    sides = np.stack((left, left + absent))
    return (sides >= least) & (layout.shared(rows) - sides >= least)
