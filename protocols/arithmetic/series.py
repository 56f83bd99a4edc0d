"""Fourier series of a sum of two parties' angles, s + t: what each of them makes of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError

Words = NDArray[np.uint64]

MAX_OUT_BITS = 25
"""Most fractional bits of a series."""


def check(period_bits: int, coefficients: Sequence[float], out_bits: int) -> None:
    """Nothing where ``Engine.fourier`` takes these; UsageError otherwise.

    That the error counts, too, leaves room for the rounding of factors, whose products have to be below 8.
    """
    inside = 1 <= period_bits <= 62 and 0 <= out_bits <= MAX_OUT_BITS and len(coefficients) > 0
    if not inside or not sum(map(abs, coefficients)) + (len(coefficients) + 2) * 2.0**-out_bits <= 8:
        raise UsageError(
            f"fourier takes period_bits 1 to 62, out_bits 0 to {MAX_OUT_BITS}, and K coefficients, K > 0, whose sizes "
            "and (K + 2)·2^-out_bits add up to at most 8."
        )


def waves(words: Words, period_bits: int, factors: Sequence[float], bits: int) -> tuple[list[Words], list[Words]]:
    """Sines of 1, 2, … K times the angles, and cosines, (n,) each, times their factors, with `bits` fractional bits."""
    turns = (words & np.uint64((1 << period_bits) - 1)).astype(np.float64) * (2 * math.pi / 2**period_bits)
    # One sine and one cosine; the others from them by Chebyshev's recurrence, 2·cos x·f((k-1)x) - f((k-2)x).
    sines, cosines = [np.zeros_like(turns), np.sin(turns)], [np.ones_like(turns), np.cos(turns)]
    twice = 2 * cosines[1]
    for wave in (sines, cosines):
        for _ in range(len(factors) - 1):
            wave.append(twice * wave[-1] - wave[-2])
    scaled = np.ldexp(np.asarray(factors, dtype=np.float64), bits)

    def fixed(wave: list[NDArray[np.float64]]) -> list[Words]:
        return [np.rint(f * x).astype(np.int64).view(np.uint64) for f, x in zip(scaled, wave[1:], strict=True)]

    return fixed(sines), fixed(cosines)
