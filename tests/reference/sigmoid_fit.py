"""Where the constants of ``functions.sigmoid`` come from: a line and a sine series that follow the logistic function.

    python -m tests.reference.sigmoid_fit      writes the table

On [-L, L] the function less one half is fitted by a·x + Σ c_k sin(2πkx / T), with a period T below 2L·0.95: the line
takes what would keep the series from being periodic, so that a few terms suffice, and outside the interval all may do
as it likes. Lawson's iteration (least squares whose weights grow where the error is large) comes close to the smallest
possible maximum; a small ridge keeps coefficients below one, where plain minimax would make them huge and cancel.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

SLOPE_BITS = 20
"""Fractional bits of the line's slope, which is chosen first."""


def fit(limit: float, period: float, terms: int, *, points: int = 300, steps: int = 100) -> NDArray[np.float64]:
    """(terms + 1,) the slope, a multiple of 2^-SLOPE_BITS, and coefficients: the best that the iteration has met."""
    x = limit * (1 - np.cos(np.linspace(0, np.pi, points)))[1:] / 2
    target = 1 / (1 + np.exp(-x)) - 0.5
    waves = np.sin(2 * np.pi * np.outer(x, np.arange(1, terms + 1)) / period)
    slope = _lawson(np.concatenate((x[:, None] / 16, waves), axis=1), target, steps)[0] / 16
    slope = np.ldexp(np.rint(np.ldexp(slope, SLOPE_BITS)), -SLOPE_BITS)
    return np.concatenate(([slope], _lawson(waves, target - slope * x, steps)))


def _lawson(basis: NDArray[np.float64], target: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    weights = np.ones(len(target))
    best, least = np.zeros(basis.shape[1]), np.inf
    for _ in range(steps):
        weighted = basis * np.sqrt(weights)[:, None]
        normal = weighted.T @ weighted + 1e-9 * weights.mean() * np.eye(basis.shape[1])
        coefficients = np.linalg.solve(normal, weighted.T @ (target * np.sqrt(weights)))
        error = np.abs(basis @ coefficients - target)
        if error.max() < least:
            best, least = coefficients, error.max()
        weights = weights * (error / error.max() + 1e-6)
        weights /= weights.mean()
    return best


def main() -> None:
    """Writes error, limit, factor, period bits, slope in units and coefficients of both variants."""
    # The limit is passed by a step of the comparison, a sixteenth.
    for error, limit, factor, period_bits, terms in ((1e-3, 6.9375, 5, 6, 4), (1e-4, 9.25, 15, 8, 7)):
        slope, *coefficients = fit(limit + 1 / 16, 2**period_bits / factor, terms)
        rounded = [round(float(c), 9) for c in coefficients]
        sys.stdout.write(f"{error} {limit} {factor} {period_bits} {round(slope * 2**SLOPE_BITS)} {rounded}\n")


if __name__ == "__main__":
    main()
