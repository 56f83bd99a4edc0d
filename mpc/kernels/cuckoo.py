"""Cuckoo hashing without a stash: each item has three places, and a table gives it one of them for itself.

    places(keys)              three distinct bins for each key, uniform as the keys are
    assign(places)            which item each bin has; every item is in one of its places
    bins(n)                   how many bins it takes that n items nearly always find theirs

Assigning finds an assignment wherever one exists, so it fails exactly where some s + 1 items have no more than s places
between them (Hall). Take a least such set: its items have s places exactly, and each of these is a place of two of its
items or more, or else the set without one item would do. So over uniform places, summed over s from 3 to n - 1, with
C the binomial coefficient and β the number of bins,

    P[failure]  ≤  Σ C(n, s + 1) · C(β, s) · W(s) / (β (β - 1) (β - 2))^(s + 1)

where W(s) counts the ways in which s + 1 ordered triples hit each of s places twice or more: at most
(s (s - 1) (s - 2))^(s + 1), and at most (3 s + 3)! · (e^λ - 1 - λ)^s / λ^(3 s + 3) for every λ > 0, by the power series
of a place's hits, which has no negative coefficients. With β = 1.3·n + 128 the sum is below 2^-41 for every n; a test
computes it. (The literature's 1.27·n rests on extrapolated experiments; the sum is small from 1.296·n on.)

Keys have to be uniform blocks: digests. Whoever knows how they come about can choose items that fail, so digests are
salted once the items are fixed. Time and memory access depend on the keys.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import EncodingFailed, _check

__all__ = ["MAX_BINS", "PLACES", "EncodingFailed", "assign", "bins", "places"]

PLACES = 3
MAX_BINS = 1 << 28
_KEY_BYTES = 16


def bins(n: int) -> int:
    """β = ⌈1.3 n⌉ + 128: with so many the odds that n items find no assignment are below 2^-41."""
    if n < 0 or (out := (13 * n + 9) // 10 + 128) > MAX_BINS:
        raise UsageError(f"A table for {n} items cannot be made: it may have at most {MAX_BINS} bins.")
    return out


def places(keys: NDArray[np.uint8], *, bins: int) -> NDArray[np.uint32]:
    """Three distinct bins below `bins`, which is 3 to ``MAX_BINS``, for each key: (n, 16) -> (n, 3)."""
    _check.rows(keys, _KEY_BYTES, "keys")
    if not PLACES <= bins <= MAX_BINS:
        raise UsageError(f"A table of {bins} bins cannot be made; it has {PLACES} to {MAX_BINS}.")
    return _native.cuckoo_places_vartime(keys, bins)


def assign(places: NDArray[np.uint32], *, bins: int) -> NDArray[np.int64]:
    """Which item each bin has, -1 for none: (n, 3) places below `bins` -> (bins,).

    The same places give the same assignment.

    Raises:
        EncodingFailed: there is no assignment; over the salt of the keys this has odds below 2^-41 with ``bins(n)``.
        UsageError: another shape, or a place that there is not.
    """
    plain = _check.is_array(places) and places.dtype == np.uint32 and places.flags.c_contiguous
    if not plain or places.ndim != 2 or places.shape[1] != PLACES:
        raise UsageError(f"places must be (n, {PLACES}) uint32 and contiguous, as cuckoo.places makes them.")
    if not 0 <= bins <= MAX_BINS or (len(places) and int(places.max()) >= bins):
        raise UsageError(f"A place is not among {bins} bins, or these are more than {MAX_BINS}.")
    return _native.cuckoo_assign_vartime(places, bins)
