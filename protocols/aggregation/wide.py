"""Real numbers of any scale as whole numbers, whose sums are exact: where nobody knows beforehand how large they are.

A sum of shares of Z_2^64 has one unit for all its numbers, and who chooses it has to know how large they are, which is
what the sum is asked for. Here a number x is its digits d_0 … d_3, each below 2^48 in absolute value and with x's sign:

    x = Σ_j d_j · 2^(48·j - 96)

Digits add up in 64 bits for as many parties as a sum may have, each by itself. So numbers from 2^-96 to 2^96 go in one
array; those from 2^-43 on keep all 53 bits of theirs, and smaller ones are cut at 2^-96. The sum is that of the numbers
given, rounded once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError

DIGITS = 4
"""Words that a number takes."""
DIGIT_BITS = 48
POINT = 96
"""Fractional bits."""
LARGEST = 2.0 ** (DIGITS * DIGIT_BITS - POINT)
"""Numbers are below it in absolute value."""


def encode(values: ArrayLike) -> NDArray[np.int64]:
    """Digits of real numbers, the last first.

    Args:
        values: real numbers of any shape.

    Returns:
        four words for each, (4, …): for ``aggregation.contribute``, as an array of integers.

    Raises:
        UsageError: a NaN, or a number that is not below 2^96 in absolute value.
    """
    x = np.asarray(values, dtype=np.float64)
    rest = np.abs(x)
    if not (rest < LARGEST).all():
        raise UsageError("A number to be summed is not finite or not below 2^96: use a larger unit.")
    sign = np.where(np.signbit(x), np.int64(-1), np.int64(1))
    digits = np.empty((DIGITS, *x.shape), dtype=np.int64)
    for j in reversed(range(DIGITS)):
        # Exact: a power of two moves the point, and what is taken away are the leading bits.
        unit = 2.0 ** (DIGIT_BITS * j - POINT)
        whole = np.floor(rest / unit)
        rest = rest - whole * unit
        digits[j] = whole.astype(np.int64) * sign
    return digits


def decode(digits: NDArray[np.int64]) -> NDArray[np.float64]:
    """The numbers, or sums of numbers, of which these are the digits or sums of digits.

    Args:
        digits: four words for each, (4, …).
    """
    carried = np.array(digits, dtype=np.int64)
    half = np.int64(1 << (DIGIT_BITS - 1))
    for j in range(DIGITS - 1):
        # Digits from -2^47 to below 2^47: then the first that is not 0 outweighs all after it, and nothing cancels.
        carry = (carried[j] + half) >> DIGIT_BITS
        carried[j] -= carry << DIGIT_BITS
        carried[j + 1] += carry
    total = np.zeros(carried.shape[1:])
    for j in range(DIGITS):
        total += np.ldexp(carried[j].astype(np.float64), DIGIT_BITS * j - POINT)
    return total
