"""A pseudorandom generator with random access: AES in counter mode [NIST SP 800-38A].

Block i of a key's stream, 16 bytes, is AES(key, i) with i as 16 big-endian bytes. One (key, block) must never mask two
different things. For randomness of your own take `mpc.rng.Rng`; this is for streams that two parties expand alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

BLOCK_BYTES = 16
KEY_BYTES = (16, 32)


def fill(key: NDArray[np.uint8] | bytes, out: NDArray[np.uint8], *, block: int) -> None:
    """Overwrites `out`, (m,) uint8, with the stream from the given block on; a last part of a block is cut off.

    Args:
        key: 16 bytes for AES-128, 32 for AES-256.
        out: contiguous and writable.
        block: where in the stream to begin, 0 to 2^128 - 1. The stream goes on at block 0 after the last.
    """
    _check.secret(key, KEY_BYTES, "key")
    if not 0 <= block < 1 << 128:
        raise UsageError("block is outside 0 … 2^128 - 1; streams are counted from 0.")
    writable = _check.is_array(out) and out.flags.c_contiguous and out.flags.writeable
    if not writable or out.dtype != np.uint8 or out.ndim != 1:
        raise UsageError("out must be a contiguous, writable (m,) array of uint8.")
    _native.prg_fill(key, block, out)


def stream(key: NDArray[np.uint8] | bytes, size: int, *, block: int) -> NDArray[np.uint8]:
    """`size` bytes of the stream from the given block on, as a new (size,) uint8 array."""
    out = np.empty(size, dtype=np.uint8)
    fill(key, out, block=block)
    return out


def permutation_vartime(key: NDArray[np.uint8] | bytes, n: int) -> NDArray[np.int64]:
    """A uniform permutation of 0 … n-1 from the key's stream, as (n,) int64: Fisher and Yates, without bias.

    A key serves for this or for a stream, never for both. The order in which memory is touched tells the permutation.
    """
    _check.secret(key, KEY_BYTES, "key")
    out = np.empty(n, dtype=np.int64)
    _native.permutation_vartime(key, out)
    return out
