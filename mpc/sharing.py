"""Secrets in shares: numpy in, numpy out.

    additive     words: a sum in Z_2^64, a summand to each party
    xor          bits or words: a sum in Z_2^m; ``pack`` and ``unpack`` turn bits into words and back
    replicated   three parties, a sum of three components: party i has components i and i + 1 [Araki et al. 2016]
    shamir       bytes: any `threshold` of the shares give the secret back

Of the first two all shares are needed, of the third any two parties', and fewer are uniform whatever the secret is.

Shamir's scheme [Shamir 1979] is over the field of 2^31 - 1 elements, 16 bits of the secret to a polynomial. A field so
much larger than what is shared makes wrong shares show: each 16 bits that they give are out of range with odds of
1 - 2^-15. Wrong replicated shares show where one of a component's two copies is wrong; wrong additive and XOR shares
never do.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import wipe
from mpc.rng import Rng

Words = NDArray[np.uint64]
Bits = NDArray[np.bool_]

_Element = TypeVar("_Element", np.uint64, np.bool_)


class InconsistentShares(ValueError):
    """The shares of a secret give none: some are wrong, or of different secrets. Attribute `index`: of which secret."""

    def __init__(self, index: int) -> None:
        super().__init__(f"the shares of secret {index} do not belong together")
        self.index = index


# Additive shares ------------------------------------------------------------------------------------------------------


def additive_share(words: Words, parties: int, *, rng: Rng) -> Words:
    """Shares that add up to the words modulo 2^64.

    Args:
        words: (*S) uint64, the secrets.
        parties: how many get a share, at least 2.
        rng: draws all shares but the last.

    Returns:
        (parties, *S) uint64: row i is what party i is to get.

    Raises:
        UsageError: another dtype, or fewer than 2 parties.
    """
    _require(words, np.uint64)
    _require_parties(parties)
    random = rng.uint64(parties - 1, *words.shape)
    shares = np.concatenate((random, words[None]))
    shares[-1:] -= np.add.reduce(random, axis=0, keepdims=True)
    return shares


def additive_reconstruct(shares: Words) -> Words:
    """The words (*S) of which all shares are given, (parties, *S). UsageError: another dtype or shape."""
    _require(shares, np.uint64, rows=True)
    return np.asarray(np.add.reduce(shares, axis=0))


# XOR shares -----------------------------------------------------------------------------------------------------------


def xor_share(values: NDArray[_Element], parties: int, *, rng: Rng) -> NDArray[_Element]:
    """Shares of which the XOR is the values.

    Args:
        values: (*S), the secrets: bits, bool, or words, uint64. Many bits take an eighth of the space once packed.
        parties: how many get a share, at least 2.
        rng: draws all shares but the last.

    Returns:
        (parties, *S) of the same dtype: row i is what party i is to get.

    Raises:
        UsageError: another dtype, or fewer than 2 parties.
    """
    _require(values, np.uint64, np.bool_)
    _require_parties(parties)
    random: NDArray[Any]
    if values.dtype == np.bool_:
        packed = rng.uint8(parties - 1, -(-values.size // 8))
        random = unpack(packed, values.size).reshape(parties - 1, *values.shape)
    else:
        random = rng.uint64(parties - 1, *values.shape)
    shares: NDArray[Any] = np.concatenate((random, values[None]))
    shares[-1:] ^= np.bitwise_xor.reduce(random, axis=0, keepdims=True)
    return shares


def xor_reconstruct(shares: NDArray[_Element]) -> NDArray[_Element]:
    """The bits or words (*S) of which all shares are given, (parties, *S). UsageError: another dtype or shape."""
    _require(shares, np.uint64, np.bool_, rows=True)
    return np.asarray(np.bitwise_xor.reduce(shares, axis=0))


def pack(bits: Bits) -> Words:
    """Bits (…, n) as words (…, ⌈n / 64⌉): bit i of a row is bit i % 64 of word i // 64, and the rest are zeros."""
    if not _is_array(bits, np.bool_) or not bits.ndim:
        raise UsageError("Bits to pack are a numpy array (…, n) of bool: compare what is 0 or 1 with 1.")
    packed = np.packbits(bits, axis=-1, bitorder="little")
    words = np.zeros((*bits.shape[:-1], -(-bits.shape[-1] // 64)), dtype="<u8")
    words.view(np.uint8)[..., : packed.shape[-1]] = packed
    return words


def unpack(packed: Words | NDArray[np.uint8], n: int) -> Bits:
    """The first n bits, (…, n) bool, of each row of words (…, w) as ``pack`` makes them, or of bytes likewise."""
    if not _is_array(packed, np.uint64, np.uint8) or not packed.ndim:
        raise UsageError("Packed bits are a numpy array (…, w) of uint64 or uint8.")
    if not 0 <= n <= 8 * packed.itemsize * packed.shape[-1]:
        raise UsageError(f"Rows of {packed.shape[-1]} {packed.dtype} do not hold {n} bits: ask for as many as went in.")
    data = np.ascontiguousarray(packed).view(np.uint8)
    return np.unpackbits(data, axis=-1, count=n, bitorder="little").view(np.bool_)


# Replicated shares ----------------------------------------------------------------------------------------------------


def replicated_share(values: NDArray[_Element], *, rng: Rng) -> NDArray[_Element]:
    """Shares for three parties of which any two can restore the values, and one alone learns nothing.

    Args:
        values: (*S), the secrets: words, uint64, in components that add up to them modulo 2^64; or bits, bool, in
            components of which they are the XOR.
        rng: draws the first two components.

    Returns:
        (3, 2, *S) of the same dtype: ``[i]`` is what party i is to get, components i and i + 1 modulo 3.

    Raises:
        UsageError: another dtype.
    """
    _require(values, np.uint64, np.bool_)
    secrets: NDArray[Any] = values
    components = xor_share(secrets, 3, rng=rng) if values.dtype == np.bool_ else additive_share(secrets, 3, rng=rng)
    shares: NDArray[Any] = components[[[0, 1], [1, 2], [2, 0]]]
    return shares


def replicated_reconstruct(shares: NDArray[_Element]) -> NDArray[_Element]:
    """The words or bits (*S) of which all three parties' shares are given, (3, 2, *S).

    Two parties' would do, but of three each component is there twice, and the copies are compared.

    Raises:
        InconsistentShares: naming the first value, of S in C order, of which two copies of a component differ.
        UsageError: another dtype or shape.
    """
    _require(shares, np.uint64, np.bool_)
    if shares.shape[:2] != (3, 2):
        raise UsageError(
            f"Replicated shares are (3, 2, *S), two components of each of three parties; not {shares.shape}."
        )
    components: NDArray[Any] = shares[:, 0]
    wrong = np.logical_or.reduce([shares[i - 1, 1] != components[i] for i in range(3)])
    if wrong.any():
        raise InconsistentShares(int(np.argmax(wrong)))
    if shares.dtype == np.bool_:
        return xor_reconstruct(components)
    words: NDArray[Any] = additive_reconstruct(components)
    return words


def _require(array: NDArray[Any], *dtypes: type[np.generic], rows: bool = False) -> None:
    """UsageError where this is no array of one of the dtypes or, of shares, has not a row for each of its parties."""
    if not _is_array(array, *dtypes):
        names = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise UsageError(f"Values and their shares are numpy arrays of {names}: convert them, or view int64 as uint64.")
    if rows and (array.ndim == 0 or len(array) < 2):
        raise UsageError(f"Shares are (parties, *S), a row for each of at least 2 parties; not {array.shape}.")


def _is_array(value: object, *dtypes: type[np.generic]) -> bool:
    """Whether this is numpy's and of such a dtype. Scalars, which arrays of shape () turn into, will do."""
    return isinstance(value, np.ndarray | np.generic) and value.dtype in dtypes


def _require_parties(parties: int) -> None:
    if parties < 2:
        raise UsageError(f"A secret is shared among at least 2 parties, not {parties}: one share would be the secret.")


# Shamir's scheme ------------------------------------------------------------------------------------------------------

SHAMIR_PRIME = (1 << 31) - 1

_P = np.uint64(SHAMIR_PRIME)
_BITS = np.uint64(31)


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
