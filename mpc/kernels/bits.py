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
BLOCK_BITS = 3
BLOCKS = 21
"""Most blocks of three bits: those below the sign bit."""


def step_planes(blocks: int) -> int:
    """Planes' worth of words that ``steps`` gives: seven for each block, and the bit above them."""
    _check_blocks(blocks)
    return 7 * blocks + 1


def carry_planes(blocks: int) -> int:
    """Planes that ``carries`` gives: for each block a carry; for each but the lowest, passing on; the bit above."""
    _check_blocks(blocks)
    return 2 * blocks


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


def steps(words: Words, out: Words, *, blocks: int = BLOCKS) -> None:
    """Adds to `out`, by XOR, whether each block of three bits of each word is at least 1, 2, … 7, and the bit above.

    Args:
        words: (n,).
        out: (step_planes(blocks) · width(n),), contiguous: zeros, or masks. Its layout is for ``carries`` alone.
        blocks: how many, from the lowest bit on. With all of them the bit above is the sign.
    """
    size = step_planes(blocks)
    _check_row(words, "words")
    _check_row(out, "out")
    _require_size(out, size * width(len(words)), "out")
    if not out.flags.writeable:
        raise UsageError("out is read-only; give an array that may be changed.")
    if np.may_share_memory(words, out):
        raise UsageError("out shares memory with words; give another array.")
    _native.bits_steps(words, blocks, out)


def carries(steps: Words, t: Words, *, one: bool, blocks: int = BLOCKS) -> Words:
    """The carries of blocks of three bits of s + t, of XOR shares of the steps of s and of t in the clear.

    Linear in the shares: two parties that know t make shares of the result without a message.

    Args:
        steps: (step_planes(blocks) · width(n),), a share of what ``steps`` gives for s.
        t: (n,).
        one: true at one of the parties.
        blocks: as ``steps`` was told.

    Returns:
        (carry_planes(blocks), width(n)), a share of: a plane for the carry out of each block alone; one for each block
        but the lowest, of whether it is all ones, so that it passes a carry on; one of the sum of the bits above.
    """
    size = step_planes(blocks)
    _check_row(steps, "steps")
    _check_row(t, "t")
    _require_size(steps, size * width(len(t)), "steps")
    out = np.empty((carry_planes(blocks), width(len(t))), dtype=np.uint64)
    _native.bits_carries(steps, t, blocks, one, out.reshape(-1))
    return out


def _check_blocks(blocks: int) -> None:
    if not 1 <= blocks <= BLOCKS:
        raise UsageError(f"A word has 1 to {BLOCKS} blocks of three bits below its sign, not {blocks}.")


def _check_row(words: Words, name: str) -> None:
    if not _check.is_array(words) or words.dtype != np.uint64 or words.ndim != 1 or not words.flags.c_contiguous:
        raise UsageError(f"{name} must be a contiguous (n,) array of uint64.")


def _require_size(words: Words, size: int, name: str) -> None:
    if len(words) != size:
        raise UsageError(f"{name} has {len(words)} words; give {size}.")
