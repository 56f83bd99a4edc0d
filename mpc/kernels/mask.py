"""Masks over Z_2^64: streams of many keys added to one array, in one pass over its memory.

Word i of a key's stream is bytes 8i … 8i + 7 of AES-128 in counter mode (`mpc.kernels.prg`), little-endian. One
(key, block) must never mask two different things.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

KEY_BYTES = 16
BLOCK_WORDS = 2
"""Words in a block of the stream."""


def apply(keys: NDArray[np.uint8], negative: NDArray[np.bool_], words: NDArray[np.uint64], *, first: int) -> None:
    """Add to each word the streams of all keys, or subtract those whose sign says so. In place.

    Args:
        keys: (k, 16).
        negative: (k,): which streams are subtracted.
        words: (n,) contiguous and writable.
        first: at which word of the streams the array begins; even, since streams are made of blocks of two words.
    """
    k = _check.rows(keys, KEY_BYTES, "keys")
    if not _check.is_array(negative) or negative.dtype != np.bool_ or negative.shape != (k,):
        raise UsageError(f"negative must be a ({k},) array of bool, a sign for each key.")
    writable = _check.is_array(words) and words.flags.c_contiguous and words.flags.writeable
    if not writable or words.dtype != np.uint64 or words.ndim != 1:
        raise UsageError("words must be a contiguous, writable (n,) array of uint64.")
    blocks = -(-len(words) // BLOCK_WORDS)
    if first % BLOCK_WORDS or not 0 <= first < BLOCK_WORDS * ((1 << 64) - blocks):
        raise UsageError("first must be even, and the stream end before its block 2^64: cut the array at even places.")
    # The native side copies a short secret from any flat buffer.
    _native.mask_apply(keys.reshape(-1), np.ascontiguousarray(negative), first // BLOCK_WORDS, words)
