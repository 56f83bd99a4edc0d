"""Blocks of 16 bytes: AES-128 under a fixed public key as a permutation π, and the correlation-robust hash made of it.

The hash is TMMO, H(x, i) = π(π(x) ⊕ i) ⊕ π(x) [Guo, Katz, Wang, Yu: Efficient and Secure Multiparty Computation from
Fixed-Key Block Ciphers, 2020], with i a 64-bit number, little-endian and padded with zeros. Modelling π as an ideal
permutation, it is tweakable circular correlation robust: oblivious transfer takes its masks from it.
The key is 243f6a8885a308d313198a2e03707344, the first digits of π's fraction. Constant-time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

BLOCK_BYTES = 16


def fixed(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """π of each row: (n, 16) -> (n, 16)."""
    _check.rows(x, BLOCK_BYTES, "x")
    return _native.blocks_fixed(x)


def hash(x: NDArray[np.uint8], *, tweak: int) -> NDArray[np.uint8]:  # noqa: A001 - read as blocks.hash
    """H(x[i], tweak + i) of each row: (n, 16) -> (n, 16).

    Two hashes under one secret correlation must differ in their tweaks, so a caller counts them over its whole session.
    The last tweak must be below 2^64.
    """
    n = _check.rows(x, BLOCK_BYTES, "x")
    if not 0 <= tweak < (1 << 64) - n:
        raise UsageError("A tweak is outside 0 … 2^64 - 1; count them from 0 in each session.")
    return _native.blocks_hash(x, tweak)


def hash_under(tweaks: NDArray[np.uint8], x: NDArray[np.uint8]) -> None:
    """Replaces each row x[i] by H(x[i], tweaks[i]), in place: (n, 16) tweaks of 128 bits, (n, 16), writable.

    For hashes that two parties make of the same things in different orders, under a name of each thing.
    """
    _check.same_count(_check.rows(tweaks, BLOCK_BYTES, "tweaks"), _check.rows(x, BLOCK_BYTES, "x"), "x")
    if not x.flags.writeable:
        raise UsageError("x is read-only; give an array that may be changed.")
    if np.may_share_memory(tweaks, x):
        raise UsageError("x shares memory with tweaks; give another array.")
    _native.blocks_hash_under(tweaks, x)
