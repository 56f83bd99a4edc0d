"""The cuckoo table of mpc.kernels.cuckoo from its definition, and the bound on how often there is none."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tests.reference import gf128


def places(key: bytes, bins: int) -> list[int]:
    """Three distinct bins, from the key's hash as a fraction of 2^128."""
    h = int.from_bytes(gf128.xor(gf128.fixed(key), key), "little")
    out: list[int] = []
    for taken in range(3):
        place, h = divmod(h * (bins - taken), 2**128)
        for other in sorted(out):
            place += place >= other
        out.append(place)
    return out


def assign(of: list[list[int]], bins: int) -> list[int] | None:
    """Which item each bin has, -1 for none; None where there is no assignment. Items come in order, and each moves
    others along the shortest path, breadth first, places in order.
    """
    owner = [-1] * bins
    for item, own in enumerate(of):
        came: dict[int, int | None] = dict.fromkeys(own)
        queue = deque(came)
        free = next((place for place in queue if owner[place] < 0), None)
        while free is None:
            if not queue:
                return None
            bin_ = queue.popleft()
            for place in of[owner[bin_]]:
                if place not in came:
                    came[place] = bin_
                    queue.append(place)
                    if owner[place] < 0:
                        free = place
                        break
        while (before := came[free]) is not None:
            owner[free], free = owner[before], before
        owner[free] = item
    return owner


def failure_log2(n: int, bins: int) -> float:
    """log2 of the bound on P[n items with uniform places have no assignment] that mpc/kernels/cuckoo.py derives."""
    s = np.arange(3, min(n - 1, bins) + 1)
    if not len(s):
        return -math.inf
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 3 * max(n, bins) + 4)))])

    def choose(total: int, some: np.ndarray) -> np.ndarray:
        return log_factorial[total] - log_factorial[some] - log_factorial[total - some]

    ways = (s + 1) * (np.log(s) + np.log(s - 1) + np.log(s - 2))
    for rate in (0.5, 1.0, 1.5, 2.0, 2.149, 2.3, 2.6, 3.0):  # any is right; near 2.149 it is least for large s
        twice = log_factorial[3 * (s + 1)] + s * np.log(np.expm1(rate) - rate) - 3 * (s + 1) * np.log(rate)
        ways = np.minimum(ways, twice)
    all_ways = (s + 1) * (math.log(bins) + math.log(bins - 1) + math.log(bins - 2))
    terms = choose(n, s + 1) + choose(bins, s) + ways - all_ways
    top = terms.max()
    return float((top + math.log(np.exp(terms - top).sum())) / math.log(2))
