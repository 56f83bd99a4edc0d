"""A party's own columns made fit for training with others': centred, scaled, and uncorrelated with each other.

Local: nothing of it leaves the party. With Z the columns x ↦ (x − mean) / deviation, and one of ones at the party that
has the intercept, K the number of parties with columns and h the largest curvature of the loss (1/4 for the logistic
loss, 1 for squares), the party takes the Cholesky root of its block of a bound on the objective's second derivative,

    L·Lᵀ = K·h·ZᵀZ / n + D / (C n)        T = L^-ᵀ        θ = T^-1·w

(D = diag(1 / deviation²), since the penalty is on coefficients of the columns as they came). In coordinates θ all
parties' second derivatives together are below 1, whatever the columns' scales [Böhning, Lindsay 1988, for the bound].
Collinear columns are held by a jitter of 1e-9, which changes the coordinates and not the objective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError

Reals = NDArray[np.float64]

FRACTION = 16
"""Fractional bits of a matrix's entries."""
BITS = 36
"""Bits of a signed entry: below 2^19 in absolute value. Whitened columns are below √(4 n / K), and n below 2^22."""

_JITTER = 1e-9
_CONSTANT = 1e-11  # a deviation below this part of the largest entry is rounding
_SLICE = 1 << 14
_FAR = 1 << 15  # a mean of so many deviations leaves the intercept too few digits
_SQUEEZED = 2.0**-13  # the part of its deviation that a column's middle half has to vary by, not to be lost in rounding


@dataclass(frozen=True)
class Standard:
    """A party's columns as they are centred and scaled.

    Attributes:
        kept: (k,) bool, columns that vary; the others get a coefficient of zero.
        centre: (k,) what is subtracted; zeros where there is no intercept.
        scale: (k,) what is divided by; 1 where a column is not kept.
        intercept: whether a column of ones follows.
    """

    kept: NDArray[np.bool_]
    centre: Reals
    scale: Reals
    intercept: bool

    @property
    def width(self) -> int:
        """How many columns this makes."""
        return int(self.kept.sum()) + self.intercept

    def of(self, features: Reals) -> Reals:
        """(n, k) → (n, width)."""
        z = (features[:, self.kept] - self.centre[self.kept]) / self.scale[self.kept]
        return np.hstack([z, np.ones((len(z), 1))]) if self.intercept else z

    def per_unit(self) -> Reals:
        """D^½, (width, width): nothing at the intercept, which has no penalty."""
        diagonal = 1 / self.scale[self.kept]
        return np.diag(np.append(diagonal, 0.0) if self.intercept else diagonal)


@dataclass(frozen=True)
class Whitening:
    """How one party's columns are made fit.

    Attributes:
        standard: how they are centred and scaled first.
        transform: T, upper triangular, (width, width).
    """

    standard: Standard
    transform: Reals

    @property
    def width(self) -> int:
        """How many coordinates θ has here."""
        return len(self.transform)

    def matrix(self, features: Reals, penalty: float, *, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The matrix M in fixed point: whitened rows, and below them the penalty's, √penalty·D^½·T.

        Args:
            features: (n, k), as they came.
            penalty: 1 / C, in the same units as the sum over the rows that are taken.
            rows: which rows; all of them by default.

        Returns:
            (rows + width, width) int64 with ``FRACTION`` fractional bits.
        """
        n = len(features) if rows is None else len(rows)
        out = np.empty((n + self.width, self.width), dtype=np.int64)
        for start in range(0, n, _SLICE):  # so that no second matrix of reals is made
            part = slice(start, min(start + _SLICE, n))
            chosen = features[part] if rows is None else features[rows[part]]
            out[part] = _words(self.standard.of(chosen) @ self.transform)
        out[n:] = _words(math.sqrt(penalty) * self.standard.per_unit() @ self.transform)
        return out

    def coefficients(self, theta: Reals) -> Reals:
        """Coefficients, (k,), of the columns as they came, from θ without the intercept's coordinate."""
        s = self.standard
        w = np.zeros(len(s.kept))
        inner = self.width - s.intercept
        w[s.kept] = self.transform[:inner, :inner] @ theta / s.scale[s.kept]
        return w

    def to_standard(self) -> NDArray[np.int64]:
        """The matrix, (width, width) with ``FRACTION`` bits, that takes θ to coefficients of standardised columns."""
        return _words(self.transform)


def standardise(features: Reals, *, centred: bool, intercept: bool) -> Standard:
    """How a party's columns are to be centred and scaled.

    Args:
        features: (n, k) finite numbers, n > 0.
        centred: whether the model has an intercept, so that columns may be centred.
        intercept: whether this party has it.

    Raises:
        UsageError: a column whose mean is so many deviations off zero that the intercept could not be told, or in
            which a few values are so far out that the others could not be told apart.
    """
    k = features.shape[1]
    centre = np.array([column.mean() for column in features.T]) if centred else np.zeros(k)
    scale = np.sqrt([np.mean((column - m) ** 2) for column, m in zip(features.T, centre, strict=True)])
    largest = np.array([max(column.max(), -column.min()) for column in features.T])
    kept = scale > _CONSTANT * largest
    scale = np.where(kept, scale, 1.0)
    far = kept & (np.abs(centre) > _FAR * scale)
    if far.any():
        raise UsageError(
            f"Column {int(np.argmax(far))} varies by less than 1/{_FAR} of its mean: subtract a round number near the "
            "mean first."
        )
    middle = np.array([np.subtract(*np.quantile(column, (0.75, 0.25), method="nearest")) for column in features.T])
    squeezed = kept & (middle > 0) & (middle < _SQUEEZED * scale)
    if squeezed.any():
        raise UsageError(
            f"Column {int(np.argmax(squeezed))} has values so far out that the others are as good as equal: if they "
            "stand for missing ones say so, otherwise clip them (protocols.learning.preparation)."
        )
    return Standard(kept, centre, scale, intercept)


def whiten(standard: Standard, features: Reals, *, curvature: float, penalty: float) -> Whitening:
    """The whitening of a party's columns, (n, k), as they came.

    Args:
        standard: of them.
        features: the columns.
        curvature: K·h, as the module has it.
        penalty: 1 / C.
    """
    width = standard.width
    moments = np.zeros((width, width))
    for start in range(0, len(features), _SLICE):
        z = standard.of(features[start : start + _SLICE])
        moments += z.T @ z
    if standard.intercept:
        moments[-1, :-1] = moments[:-1, -1] = 0.0  # exactly, so that T does not mix the intercept with the columns
    n = len(features)
    block = curvature * moments / n + penalty / n * standard.per_unit() ** 2 + _JITTER * curvature * np.eye(width)
    root = np.linalg.cholesky(block)
    return Whitening(standard, np.linalg.solve(root, np.eye(width)).T)


def intercept_unit(curvature: float) -> float:
    """T's entry at the intercept, which all parties know: what its coordinate of θ is multiplied by."""
    return 1 / math.sqrt(curvature * (1 + _JITTER))


def _words(values: Reals) -> NDArray[np.int64]:
    words: NDArray[np.int64] = np.rint(np.ldexp(values, FRACTION)).astype(np.int64)
    return words
