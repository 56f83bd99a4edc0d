"""Limited-memory BFGS on shares [Nocedal 1980; Liu, Nocedal 1989]: the two loops, and the pairs that they run over.

A pair is a step s and the gradient's change y over it. The inverse second derivative that the pairs tell of takes a
gradient g to a step, pair by pair, from the newest back and again to the newest, from H0 = γ·I:

    back:  α = ρ·s·q,  q −= α·y          q = γ·q          forth:  q += (α − ρ·y·q)·s          ρ = 1 / (s·y)

Nothing opens here. A pair may be multiplied by any public number without changing what it tells, so pairs are kept with
‖s‖ between 1 and 2, where fixed point has its digits. A pair whose s·y is not clearly positive, which noise makes, must
not be used, and whether it is stays a secret: its ρ is 0, which makes it do nothing, and γ keeps its last value.

Cost:  for m pairs of vectors of k numbers, direction 4·m + 1 and update 3 products and a truncation each, one after
       another, of k numbers or less, and a division.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols import arithmetic
from protocols.arithmetic import Shared

FRACTION = 24
"""Fractional bits of vectors: what functions of shared numbers take at most."""
RATIO = 20
"""Fractional bits of ρ and γ, which may be large: both are below 2^12."""
CURVATURE = 2.0**-9
"""Least s·y, ‖s‖ being from 1 to 2, of a pair that counts. Rounding and noise make some 2^-13 of it."""


@dataclass(frozen=True)
class Memory:
    """What is remembered.

    Attributes:
        limit: how many pairs at most.
        gamma: (): γ.
        steps: (pairs, k): s, oldest first.
        changes: (pairs, k): y.
        over: (pairs,): ρ.
    """

    limit: int
    gamma: Shared
    steps: Shared | None = None
    changes: Shared | None = None
    over: Shared | None = None

    def direction(self, g: Shared) -> Shared:
        """The step, (k,), to be taken off where the gradient is `g`, (k,)."""
        q = g
        if self.steps is None or self.changes is None or self.over is None:
            return q * self.gamma
        s, y = self.steps, self.changes
        ratio = self.over.reshape(-1, 1) * arithmetic.stack([s, y])  # ρ·s and ρ·y, of all pairs at once
        alphas = []
        for i in reversed(range(len(s))):
            alpha = ratio[0, i] @ q
            q = q - alpha * y[i]
            alphas.append(alpha)
        q = q * self.gamma
        for i, alpha in enumerate(reversed(alphas)):
            q = q + (alpha - ratio[1, i] @ q) * s[i]
        return q

    def update(self, s: Shared, y: Shared, *, scale: int) -> Memory:
        """With one more pair, and the oldest gone where there are too many.

        Args:
            s: (k,) the step that was taken.
            y: (k,) how the gradient changed.
            scale: a whole number with 1 <= 2^scale·‖s‖ < 2, about.
        """
        s, y = (_doubled(x, scale) for x in (s, y))
        dots = arithmetic.stack([s, y]) @ y  # s·y, y·y
        counts = dots[0] >= CURVATURE
        # γ = s·y / y·y; where s·y is small so may y·y be, then of no use: both denominators are 1 there.
        safe = arithmetic.where(counts, dots, np.ones(2)).as_fixed(RATIO)
        over, gamma = arithmetic.divide(arithmetic.stack([np.array(1.0), safe[0]]), safe)
        over, gamma = over * counts, arithmetic.where(counts, gamma, self.gamma)
        if self.steps is None or self.changes is None or self.over is None:
            return Memory(self.limit, gamma, s.reshape(1, -1), y.reshape(1, -1), over.reshape(1))
        kept = slice(max(0, len(self.steps) + 1 - self.limit), None)
        return Memory(
            self.limit,
            gamma,
            arithmetic.concatenate([self.steps[kept], s.reshape(1, -1)]),
            arithmetic.concatenate([self.changes[kept], y.reshape(1, -1)]),
            arithmetic.concatenate([self.over[kept], over.reshape(1)]),
        )


def empty(context: arithmetic.Computation, *, limit: int) -> Memory:
    """Nothing remembered: a step is the gradient."""
    return Memory(limit, context.constant(1.0).as_fixed(RATIO))


def _doubled(x: Shared, times: int) -> Shared:
    """x·2^times; a negative number of times halves."""
    if times >= 0:
        return x * np.array(1 << times)
    return Shared(x.context, x.context.truncate(x.components, -times), "fixed", x.fraction)
