"""Who shares masks with whom: everybody with everybody, or a sparse random graph [Bell, Bonawitz, Gascón, Lepoint,
Raykova, CCS 2020].

Above ``COMPLETE`` parties each has k neighbours: the parties stand in a circle in random order, and each is joined with
the k/2 before and the k/2 after it. k and the threshold t are the least for which, of n parties of which a share drops
out and another colludes with the aggregator,

- those that neither drop out nor collude stay connected but with odds of 2^-41, so that nothing but their whole sum is
  unmasked. Cutting the circle in two takes two stretches of k/2 neighbouring parties that are all gone or corrupt: for
  r such parties among n at most n²/2 · Π_{i<k} (r - i)/(n - i);
- no party has t corrupt neighbours but with odds of 2^-41, so that nobody restores a survivor's seed on the side;
- every party has t neighbours that do not drop out but with odds of 2^-30, so that the sum can be opened.

The last two are n times a tail of the hypergeometric distribution. The bounds hold for who drops out and who colludes
independently of the random order, and while no more drop out than was allowed for: so parties open nothing where fewer
survive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from mpc.errors import UsageError
from mpc.rng import Rng

COMPLETE = 64
"""Up to so many parties everybody shares masks with everybody."""
MAX_PARTIES = 1000
"""Most parties of one run, the aggregator left out."""

_SECURITY_BITS = 41  # for each of two events; together 2^-40
_CORRECTNESS_BITS = 30


@dataclass(frozen=True)
class Shape:
    """What the graph of n parties has to be.

    Attributes:
        parties: n.
        neighbours: of each party.
        threshold: how many holders restore a secret; a party's holders are its neighbours and itself.
        survivors: the fewest parties for whose arrays masks may be opened.
    """

    parties: int
    neighbours: int
    threshold: int
    survivors: int


def complete(n: int, threshold: int) -> Shape:
    """Everybody is everybody's neighbour."""
    return Shape(n, n - 1, threshold, threshold)


@lru_cache(maxsize=64)
def sparse(n: int, *, max_dropout: float, max_corrupt: float) -> Shape:
    """The graph with the fewest neighbours that bears shares of the n parties dropping out, and colluding.

    Raises:
        UsageError: no graph bears them.
    """
    gone, corrupt = math.floor(max_dropout * n), math.floor(max_corrupt * n)
    for k in range(4, n - 1, 2):
        if 2 * math.log2(n) - 1 + _all_among(k, gone + corrupt, n) > -_SECURITY_BITS:
            continue
        threshold, tail = k + 1, 0.0
        for i, odds in zip(range(k, 0, -1), reversed(list(_counts(k, corrupt, n - 1))), strict=False):
            tail += n * odds
            if tail > 2.0**-_SECURITY_BITS:
                break
            threshold = i
        too_few = sum(odds for i, odds in enumerate(_counts(k, n - 1 - gone, n - 1)) if i < threshold)
        if n * too_few <= 2.0**-_CORRECTNESS_BITS:
            return Shape(n, k, threshold, n - gone)
    raise UsageError(
        f"No graph of {n} parties bears that many dropping out ({gone}) and colluding ({corrupt}): allow for fewer."
    )


def _all_among(k: int, r: int, n: int) -> float:
    """log2 of the odds that k given ones of n are all among r random ones."""
    return sum(math.log2((r - i) / (n - i)) for i in range(k)) if k <= r else -math.inf


def _counts(k: int, r: int, n: int) -> Iterator[float]:
    """The odds that k draws from n without replacement hit r given ones 0, 1, … k times."""

    def choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    for i in range(k + 1):
        possible = i <= r and k - i <= n - r
        yield math.exp(choose(r, i) + choose(n - r, k - i) - choose(n, k)) if possible else 0.0


def draw(shape: Shape, rng: Rng) -> list[list[int]]:
    """A random graph of that shape: for each party the places of its neighbours, increasing."""
    n, k = shape.parties, shape.neighbours
    if k == n - 1:
        return [[j for j in range(n) if j != i] for i in range(n)]
    circle = rng.permutation(n).tolist()
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for at, party in enumerate(circle):
        steps = (step for step in range(-k // 2, k // 2 + 1) if step)
        neighbours[party] = sorted(circle[(at + step) % n] for step in steps)
    return neighbours
