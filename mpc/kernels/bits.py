"""Bit planes: the bits of many words sorted by their place, so that one instruction works on one bit of 64 words.

Plane b of n words is a row of ``width(n)`` uint64: bit i % 64 of word i // 64 of the row is bit b of word i. Bits
behind the last word are zero. Also the first step of a comparison, on blocks of three bits: ``steps`` and ``carries``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

Words = NDArray[np.uint64]

WORD_BITS = 64
BLOCKS = 21
"""Blocks of three bits below the sign bit."""
STEP_PLANES: int = _native.STEP_PLANES
"""Planes' worth of words that ``steps`` gives: seven for each block, and the sign."""
CARRY_PLANES: int = _native.CARRY_PLANES
"""Planes that ``carries`` gives: 21 carries, 20 of passing on, the sign."""


def width(n: int) -> int:
    """Words of a plane of n words."""
    return -(-n // WORD_BITS)


def planes(words: Words) -> Words:
    """(n,) → (64, width(n))."""
    _check_row(words, "words")
    out = np.empty((WORD_BITS, width(len(words))), dtype=np.uint64)
    _native.bits_planes(words, out.reshape(-1))
    return out


def words(planes: Words, n: int) -> Words:
    """(64, width(n)) → (n,): the inverse of ``planes``."""
    if n < 0 or not _check.is_array(planes) or planes.dtype != np.uint64 or planes.shape != (WORD_BITS, width(n)):
        raise UsageError(f"planes must be (64, {width(n)}) uint64 for {n} words, n at least 0.")
    out = np.empty(n, dtype=np.uint64)
    _native.bits_words(np.ascontiguousarray(planes).reshape(-1), out)
    return out


def steps(words: Words, out: Words) -> None:
    """Adds to `out`, by XOR, whether each block of three bits of each word is at least 1, 2, … 7, and the sign bits.

    Args:
        words: (n,).
        out: (STEP_PLANES · width(n),), contiguous: zeros, or masks. Its layout is for ``carries`` alone.
    """
    _check_row(words, "words")
    _check_row(out, "out")
    _require_size(out, STEP_PLANES * width(len(words)), "out")
    if not out.flags.writeable:
        raise UsageError("out is read-only; give an array that may be changed.")
    if np.may_share_memory(words, out):
        raise UsageError("out shares memory with words; give another array.")
    _native.bits_steps(words, out)


def carries(steps: Words, t: Words, *, one: bool) -> Words:
    """The carries of blocks of three bits of s + t, of XOR shares of the steps of s and of t in the clear.

    Linear in the shares: two parties that know t make shares of the result without a message.

    Args:
        steps: (STEP_PLANES · width(n),), a share of what ``steps`` gives for s.
        t: (n,).
        one: true at one of the parties.

    Returns:
        (CARRY_PLANES, width(n)), a share of: 21 planes of the carry out of each block alone; 20 planes of whether each
        block but the lowest is all ones, so that it passes a carry on; one plane of the sum of the sign bits.
    """
    _check_row(steps, "steps")
    _check_row(t, "t")
    _require_size(steps, STEP_PLANES * width(len(t)), "steps")
    out = np.empty((CARRY_PLANES, width(len(t))), dtype=np.uint64)
    _native.bits_carries(steps, t, one, out.reshape(-1))
    return out


def _check_row(words: Words, name: str) -> None:
    if not _check.is_array(words) or words.dtype != np.uint64 or words.ndim != 1 or not words.flags.c_contiguous:
        raise UsageError(f"{name} must be a contiguous (n,) array of uint64.")


def _require_size(words: Words, size: int, name: str) -> None:
    if len(words) != size:
        raise UsageError(f"{name} has {len(words)} words; give {size}.")
