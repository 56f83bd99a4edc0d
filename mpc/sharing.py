"""Secrets in shares: numpy in, numpy out.

Shamir's scheme [Shamir 1979] over the field of 2^31 - 1 elements, 16 bits of the secret to a polynomial. Any
`threshold` of the shares give the secret back, and fewer are uniform whatever the secret is. A field that is so much
larger than what is shared makes wrong shares show: each 16 bits that they give are out of range with odds of 1 - 2^-15.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import wipe
from mpc.rng import Rng

# Shamir's scheme ------------------------------------------------------------------------------------------------------

SHAMIR_PRIME = (1 << 31) - 1

_P = np.uint64(SHAMIR_PRIME)
_BITS = np.uint64(31)


class InconsistentShares(ValueError):
    """The shares of a secret give none: some are wrong, or of different secrets. Attribute `index`: of which secret."""

    def __init__(self, index: int) -> None:
        super().__init__(f"the shares of secret {index} do not belong together")
        self.index = index


def shamir_share(
    secrets: NDArray[np.uint8], *, threshold: int, points: NDArray[np.uint32], rng: Rng
) -> NDArray[np.uint32]:
    """Shares of n secrets for k holders.

    Args:
        secrets: (n, 2·w): n strings of an even number of bytes.
        threshold: how many holders can restore a secret, 1 to k.
        points: (k,): who holds which share, numbers from 1 to 2^31 - 2, each once.
        rng: draws the polynomials.

    Returns:
        (n, k, w): ``[:, j]`` is what the holder with point j is to get. Numbers below 2^31 - 1.
    """
    if secrets.ndim != 2 or secrets.dtype != np.uint8 or secrets.shape[1] % 2:
        raise UsageError("Secrets are an (n, m) array of uint8 with m even: pad them.")
    k = len(_checked_points(points[None])[0])
    if not 1 <= threshold <= k:
        raise UsageError(f"A threshold of {threshold} among {k} holders cannot be: choose from 1 to {k}.")
    words = np.ascontiguousarray(secrets).view("<u2").astype(np.uint64)  # (n, w)
    x = points.astype(np.uint64)[None, :, None]
    shares = np.zeros((len(words), k, words.shape[1]), dtype=np.uint64)
    for _ in range(threshold - 1):  # Horner's rule, from the highest coefficient
        shares = _reduced((shares + _uniform(len(words), 1, words.shape[1], rng=rng)) * x)
    shares = _reduced(shares + words[:, None])
    wipe(words.view(np.uint8))
    return shares.astype(np.uint32)


def shamir_reconstruct(shares: NDArray[np.uint32], points: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The secrets of which t holders' shares are given, where t is at least the threshold.

    Args:
        shares: (n, t, w).
        points: (n, t): whose shares these are; or (t,), where the same holders share all secrets.

    Returns:
        (n, 2·w) uint8.

    Raises:
        InconsistentShares: naming the first secret whose shares cannot be of one, or are too few.
    """
    if shares.ndim != 3 or shares.dtype != np.uint32:
        raise UsageError("Shares are an (n, t, w) array of uint32.")
    n, t, w = shares.shape
    if points.shape not in ((t,), (n, t)) or t == 0:
        raise UsageError(f"Points are ({t},) or ({n}, {t}), one for each share, and at least one; not {points.shape}.")
    weights = _at_zero(_checked_points(np.atleast_2d(points)))
    total = np.zeros((n, w), dtype=np.uint64)
    for j in range(t):  # term by term, since a product takes 62 bits
        total += _reduced(shares[:, j].astype(np.uint64) * weights[:, j, None])
    total = _reduced(total)
    wrong = (total >> np.uint64(16)).any(axis=1) | (shares >= SHAMIR_PRIME).any(axis=(1, 2))
    if wrong.any():
        raise InconsistentShares(int(np.argmax(wrong)))
    return total.astype("<u2").view(np.uint8)


def _at_zero(points: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(m, t): what the value at each point counts for the value at 0 (Lagrange). The points are public."""
    above, below = np.ones_like(points), np.ones_like(points)
    for j in range(points.shape[1]):
        x = points[:, j, None]
        difference = _reduced(x + _P - points)
        own = difference == 0
        above = np.where(own, above, _reduced(above * x))
        below = np.where(own, below, _reduced(below * difference))
    inverse = np.ones_like(below)
    for bit in bin(SHAMIR_PRIME - 2)[2:]:
        inverse = _reduced(inverse * inverse)
        if bit == "1":
            inverse = _reduced(inverse * below)
    return _reduced(above * inverse)


def _checked_points(points: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """(m, t) as numbers of 64 bits; UsageError where a row has a point twice or one that is none."""
    ordered = np.sort(points, axis=1)
    if points.size and (ordered[:, 0].min() < 1 or ordered[:, -1].max() >= SHAMIR_PRIME):
        raise UsageError(f"Points of shares are numbers from 1 to {SHAMIR_PRIME - 1}: 0 is where the secret is.")
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise UsageError("Two shares have the same point: give each holder a point of its own.")
    return points.astype(np.uint64)


def _uniform(*shape: int, rng: Rng) -> NDArray[np.uint64]:
    """Uniform field elements: 31 bits each, drawn anew where they are 2^31 - 1, which stands for none."""
    out = rng.uint64(*shape) & _P
    while (again := out == _P).any():
        out[again] = rng.uint64(int(np.count_nonzero(again))) & _P
    return out


def _reduced(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """X mod 2^31 - 1, for any x below 2^64, in the same time whatever x is."""
    for _ in range(3):
        x = (x & _P) + (x >> _BITS)
    least: NDArray[np.uint64] = x - _P * (x == _P)
    return least
