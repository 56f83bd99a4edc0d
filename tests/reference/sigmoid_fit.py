"""Where the constants of ``functions.sigmoid`` come from: odd Fourier series that follow the logistic function.

    python -m tests.reference.sigmoid_fit      writes the table

On [-L, L] the function less one half is fitted by Σ c_k sin(2πkx / T), with a period T that is longer than 2L: outside
the interval the series may do as it likes, which is what lets a few terms suffice. Lawson's iteration (least squares
whose weights grow where the error is large) comes close to the smallest possible maximum; a small ridge keeps
coefficients below one, where plain minimax would make them huge and cancel.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray


def fit(limit: float, period: float, terms: int, *, points: int = 300, steps: int = 60) -> NDArray[np.float64]:
    """(terms,) coefficients of the best series that the iteration has met."""
    x = limit * (1 - np.cos(np.linspace(0, np.pi, points)))[1:] / 2
    basis = np.sin(2 * np.pi * np.outer(x, np.arange(1, terms + 1)) / period)
    target = 1 / (1 + np.exp(-x)) - 0.5
    weights = np.ones(len(x))
    best, least = np.zeros(terms), np.inf
    for _ in range(steps):
        weighted = basis * np.sqrt(weights)[:, None]
        normal = weighted.T @ weighted + 1e-9 * weights.mean() * np.eye(terms)
        coefficients = np.linalg.solve(normal, weighted.T @ (target * np.sqrt(weights)))
        error = np.abs(basis @ coefficients - target)
        if error.max() < least:
            best, least = coefficients, error.max()
        weights = weights * (error / error.max() + 1e-6)
        weights /= weights.mean()
    return best


def main() -> None:
    """Writes error, limit, factor, period bits and coefficients of both variants."""
    for error, limit, factor, period_bits, terms in ((1e-3, 6.95, 13, 8, 5), (1e-4, 9.6, 5, 7, 11)):
        coefficients = [round(float(c), 9) for c in fit(limit, 2**period_bits / factor, terms)]
        sys.stdout.write(f"{error} {limit} {factor} {period_bits} {coefficients}\n")


if __name__ == "__main__":
    main()
