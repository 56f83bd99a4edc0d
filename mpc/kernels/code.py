"""The linear code of silent VOLE: a long vector, zero but at unknown places, becomes a shorter one that looks random.

A block-accumulate code, transposed: twice "running sum, then permute" over all n elements, then a block-diagonal map
from n to n / 2. Over GF(2^128) the running sum is s ← x·s + next, without which each bit plane of the noise would be
compressed by itself. Over GF(2), s ← s + next. The free choices come from AES-128 under the public salt, in counter
mode:

- Round r of two permutes by a Feistel network on pairs (left, right), position = left · 2^w + right, with
  w = min(trailing zeros of n, max(⌊log2 n⌋ / 2, 5)). Twice: right ^= R[left], left = left + L[right] mod n / 2^w.
  The stream from block r · 2^32 on gives, twice, a 32-bit word for each entry of R (its low w bits) and one for each of
  L (word · (n / 2^w) >> 32).
- Output i is v[i] plus, for each bit j that is set in 32-bit word i of the stream from block 2^64 on,
  v[n / 2 + 32·⌊i / 32⌋ + j].

docs/decisions/0012-silent-vole.md has the estimates of its strength and their sources.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

BLOCK_BYTES = 16
SALT_BYTES = 16
MULTIPLE = 64
"""What the length of a vector is a multiple of."""


def compress(x: NDArray[np.uint8], outputs: int, *, salt: bytes, field: bool) -> NDArray[np.uint8]:
    """The first `outputs` elements of the code's word for x: ``mix``, then ``fold``.

    Args:
        x: (n, 16), writable: it holds nothing of use afterwards. Meanwhile as much memory again is needed.
        outputs: 0 to n / 2.
        salt: 16 public bytes.
        field: linear over GF(2^128), else over GF(2), bit plane by bit plane.

    Returns:
        (outputs, 16) uint8.
    """
    mix(x, np.empty_like(x), salt=salt, field=field)
    return fold(x, outputs, salt=salt)


def mix(x: NDArray[np.uint8], scratch: NDArray[np.uint8], *, salt: bytes, field: bool) -> None:
    """The rounds of running sum and permutation, in place.

    Apart from ``fold`` for whoever compresses several vectors, and has working space for all of them.

    Args:
        x: (n, 16), writable.
        scratch: (n, 16), writable, overwritten.
        salt: 16 public bytes.
        field: as in ``compress``.
    """
    n = _require(x, salt)
    _check.same_count(n, _check.rows(scratch, BLOCK_BYTES, "scratch"), "scratch")
    if not x.flags.writeable or not scratch.flags.writeable:
        raise UsageError("x or scratch is read-only, and mix works in place; give a copy.")
    if np.may_share_memory(x, scratch):
        raise UsageError("scratch shares memory with x; give another array.")
    _native.code_mix(salt, x, scratch, field)


def fold(x: NDArray[np.uint8], outputs: int, *, salt: bytes) -> NDArray[np.uint8]:
    """The block-diagonal map of what ``mix`` has made: (n, 16) -> (outputs, 16), 0 to n / 2 of them."""
    n = _require(x, salt)
    if not 0 <= outputs <= n // 2:
        raise UsageError(f"{n} elements give up to {n // 2} outputs, not {outputs}.")
    return _native.code_fold(salt, x, outputs)


def _require(x: NDArray[np.uint8], salt: bytes) -> int:
    """Checks what is asked of both stages; returns n."""
    n = _check.rows(x, BLOCK_BYTES, "x")
    if n == 0 or n % MULTIPLE or n >> 32:
        raise UsageError(f"x has {n} rows; give a positive multiple of {MULTIPLE} below 2^32.")
    if len(salt) != SALT_BYTES:
        raise UsageError(f"salt is {len(salt)} bytes; give {SALT_BYTES}.")
    return n
