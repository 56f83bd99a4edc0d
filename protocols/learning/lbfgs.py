"""Limited-memory BFGS on shares [Nocedal 1980], in its compact form [Byrd, Nocedal, Schnabel 1994].

A pair is a step s and the gradient's change y over it. Rows of S and Y are the last m of them, oldest first; R is the
upper triangle of S·Yᵀ with its diagonal D; H0 = γ·I. The step that they tell for a gradient g is

    a = R^-1·S·g        δ = R^-ᵀ·(D·a + γ·(Y·Yᵀ·a − Y·g))        γ·(g − Yᵀ·a) + Sᵀ·δ

which is what the two loops over the pairs give, in six products one after another whatever m is. N = R^-1 is
kept: a new pair adds a column to it, −N·(S·y)·ρ above ρ = 1 / (s·y), and the oldest goes with the first row and column.

Nothing opens here. A pair may be multiplied by any public number without changing what it tells, so pairs are kept with
‖s‖ between 1 and 2, where fixed point has its digits. A pair whose s·y is not clearly positive, which noise makes, must
not be used, and whether it is stays a secret: its ρ is 0, so its row and column of N are, and γ keeps its last value.

Cost:  direction 6 products and update 3, each with a truncation and one after another; and a division. The largest is
       of a matrix (2·m, k) with a vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols import arithmetic
from protocols.arithmetic import Shared

FRACTION = 24
"""Fractional bits of vectors: what functions of shared numbers take at most."""
RATIO = 20
"""Fractional bits of N and γ, which may be large: ρ is below 2^9, γ below 2^11."""
CURVATURE = 2.0**-9
"""Least s·y, ‖s‖ being from 1 to 2, of a pair that counts. Rounding and noise make some 2^-13 of it."""


@dataclass(frozen=True)
class Pairs:
    """What pairs tell, m of them, oldest first.

    Attributes:
        steps: (m, k): S.
        changes: (m, k): Y.
        squares: (m, m): Y·Yᵀ.
        curvatures: (m,): D.
        inverse: (m, m): N, with ``RATIO`` fractional bits.
    """

    steps: Shared
    changes: Shared
    squares: Shared
    curvatures: Shared
    inverse: Shared


@dataclass(frozen=True)
class Memory:
    """What is remembered.

    Attributes:
        limit: how many pairs at most.
        gamma: (): γ, with ``RATIO`` fractional bits.
        pairs: None before the first.
    """

    limit: int
    gamma: Shared
    pairs: Pairs | None = None

    def direction(self, g: Shared) -> Shared:
        """The step, (k,), to be taken off where the gradient is `g`, (k,)."""
        if self.pairs is None:
            return g * self.gamma
        p, m = self.pairs, len(self.pairs.steps)
        both = arithmetic.concatenate([p.steps, p.changes])
        dots = both @ g
        a = p.inverse @ dots[:m]
        diagonal = p.curvatures.reshape(1, m) * np.eye(m, dtype=np.int64)
        of_a = arithmetic.concatenate([diagonal, p.squares]) @ a
        scaled = arithmetic.concatenate([of_a[m:] - dots[m:], a, g]) * self.gamma
        delta = p.inverse.T @ (of_a[:m] + scaled[:m])
        return scaled[2 * m :] + arithmetic.concatenate([delta, -scaled[m : 2 * m]]) @ both

    def update(self, s: Shared, y: Shared, *, scale: int) -> Memory:
        """With one more pair, and the oldest gone where there are too many.

        Args:
            s: (k,) the step that was taken.
            y: (k,) how the gradient changed.
            scale: a whole number with 1 <= 2^scale·‖s‖ < 2, about.
        """
        s, y = (_doubled(x, scale).reshape(1, -1) for x in (s, y))
        old = None if self.pairs is None else _newest(self.pairs, self.limit - 1)
        m = 0 if old is None else len(old.steps)
        steps = s if old is None else arithmetic.concatenate([old.steps, s])
        changes = y if old is None else arithmetic.concatenate([old.changes, y])
        dots = arithmetic.concatenate([steps, changes]) @ y[0]  # S·y, s·y, Y·y, y·y
        ends = dots[np.array([m, 2 * m + 1])]
        counts = ends[0] >= CURVATURE
        # γ = s·y / y·y; where s·y is small so may y·y be, then of no use: both denominators are 1 there.
        safe = arithmetic.where(counts, ends, np.ones(2)).as_fixed(RATIO)
        over, gamma = arithmetic.divide(arithmetic.stack([np.array(1.0), safe[0]]), safe)
        over, gamma = (over * counts).reshape(1), arithmetic.where(counts, gamma, self.gamma)
        if old is None:
            return Memory(
                self.limit, gamma, Pairs(steps, changes, dots[1:].reshape(1, 1), dots[:1], over.reshape(1, 1))
            )
        column = -((old.inverse @ dots[:m]) * over).as_fixed(RATIO)
        inverse = _bordered(old.inverse, column, row=old.inverse[0] * 0, corner=over)
        squares = _bordered(old.squares, dots[m + 1 : -1], row=dots[m + 1 : -1], corner=dots[-1:])
        curvatures = arithmetic.concatenate([old.curvatures, dots[m : m + 1]])
        return Memory(self.limit, gamma, Pairs(steps, changes, squares, curvatures, inverse))


def empty(run: arithmetic.Computation, *, limit: int) -> Memory:
    """Nothing remembered, and at most so many pairs ever, 2 or more: a step is the gradient."""
    return Memory(limit, run.constant(1.0).as_fixed(RATIO))


def _newest(pairs: Pairs, count: int) -> Pairs:
    """The last so many."""
    k = slice(max(0, len(pairs.steps) - count), None)
    return Pairs(pairs.steps[k], pairs.changes[k], pairs.squares[k, k], pairs.curvatures[k], pairs.inverse[k, k])


def _bordered(matrix: Shared, column: Shared, *, row: Shared, corner: Shared) -> Shared:
    """A square matrix with one more column and one more row."""
    upper = arithmetic.concatenate([matrix, column.reshape(-1, 1)], axis=1)
    return arithmetic.concatenate([upper, arithmetic.concatenate([row, corner]).reshape(1, -1)])


def _doubled(x: Shared, times: int) -> Shared:
    """x·2^times; a negative number of times halves."""
    if times >= 0:
        return x * np.array(1 << times)
    return Shared(x.context, x.context.truncate(x.components, -times), "fixed", x.fraction)
