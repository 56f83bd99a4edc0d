"""Numbers as elements of Z_2^64: integers and fixed-point numbers by two's complement, rounded to nearest.

A fixed-point number x is the word round(x · 2^fraction). What does not fit is an error here, where the values are still
their owner's; what overflows later, under shares, nobody sees. So the range is half of the ring's: two encoded
numbers can be subtracted, and so compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError

FRACTION = 18
"""Fractional bits of fixed-point numbers where nobody says otherwise: steps of 3.8e-6, products up to 6.7e7."""

RANGE_BITS = 62
"""Encoded numbers are below 2^62 in absolute value."""

MAX_FRACTION = 40
"""Most fractional bits: beyond it no products are left."""


def encode(values: ArrayLike, fraction: int = FRACTION) -> NDArray[np.uint64]:
    """Fixed-point words of real numbers, rounded to the nearest multiple of 2^-fraction, ties to even.

    Args:
        values: real numbers of any shape; integers are encoded exactly.
        fraction: fractional bits, 0 to ``MAX_FRACTION``.

    Returns:
        uint64 of the same shape.

    Raises:
        UsageError: a NaN, an infinity or a number outside the range; the text names the first one's index and no value.
    """
    check_fraction(fraction)
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        words = integers(array)
        limit = 1 << (RANGE_BITS - fraction)
        signed_ = words.view(np.int64)
        _refuse((signed_ >= limit) | (signed_ <= -limit), f"beyond ±2^{RANGE_BITS - fraction}", _REMEDY)
        return words << np.uint64(fraction)
    if array.dtype.kind != "f":
        raise UsageError(f"Fixed-point numbers are made of real numbers, not of {array.dtype}: convert them first.")
    scaled = np.ldexp(array.astype(np.float64), fraction)
    with np.errstate(invalid="ignore"):
        _refuse(np.isnan(scaled), "not a number (NaN)", "Fill in or drop missing values before you share them.")
        _refuse(
            ~(np.abs(scaled) < 2.0**RANGE_BITS),
            f"infinite, or not below 2^{RANGE_BITS - fraction} in absolute value",
            _REMEDY,
        )
    return np.rint(scaled).astype(np.int64).view(np.uint64)


def integers(values: ArrayLike) -> NDArray[np.uint64]:
    """Words of whole numbers.

    Args:
        values: integers or booleans of any shape.

    Returns:
        uint64 of the same shape.

    Raises:
        UsageError: other than whole numbers, or one outside the range; the text names the first one's index, no value.
    """
    array = np.asarray(values)
    if array.dtype.kind == "b":
        return array.astype(np.uint64)
    if array.dtype.kind not in "iu":
        raise UsageError(
            f"Whole numbers were expected, not {array.dtype}: use numpy.int64, or encode them as fixed point."
        )
    limit = 1 << RANGE_BITS
    if array.dtype.kind == "u":
        _refuse(array >= np.uint64(limit), f"not below 2^{RANGE_BITS}", _REMEDY)
        return array.astype(np.uint64)
    wide = array.astype(np.int64)
    _refuse((wide >= limit) | (wide <= -limit), f"not below 2^{RANGE_BITS} in absolute value", _REMEDY)
    return wide.view(np.uint64)


def decode(words: NDArray[np.uint64], fraction: int = FRACTION) -> NDArray[np.float64]:
    """The numbers that fixed-point words stand for, float64: exact below 2^53 steps, rounded beyond."""
    check_fraction(fraction)
    return np.ldexp(signed(words).astype(np.float64), -fraction)


def signed(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The integers that words stand for, int64."""
    if getattr(words, "dtype", None) != np.uint64:
        raise UsageError("Words are a numpy array of uint64.")
    return np.asarray(words).view(np.int64)


def check_fraction(fraction: int) -> None:
    """Nothing where `fraction` is a number of fractional bits; UsageError otherwise."""
    if fraction not in range(MAX_FRACTION + 1):
        raise UsageError(f"fraction is a number of bits from 0 to {MAX_FRACTION}, not {fraction!r}.")


_REMEDY = "Use a larger unit or fewer fractional bits."


def _refuse(wrong: NDArray[np.bool_], what: str, remedy: str) -> None:
    if not wrong.any():
        return
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = "The number" if not index else f"The number at index {index[0] if len(index) == 1 else index}"
    others = int(np.count_nonzero(wrong)) - 1
    raise UsageError(f"{where} is {what}" + (f", as {others} more are" if others else "") + f". {remedy}")
