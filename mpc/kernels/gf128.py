"""The field GF(2^128) = GF(2)[x] / (x^128 + x^7 + x^2 + x + 1), in batches. Constant-time.

An element is 16 bytes, a little-endian number whose bit i is the coefficient of x^i. Addition is exclusive or: numpy's
own, on `.view(np.uint64)`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

ELEMENT_BYTES = 16


def mul(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] · b[i]: (n, 16), (n, 16) -> (n, 16)."""
    _check.same_count(_check.rows(a, ELEMENT_BYTES, "a"), _check.rows(b, ELEMENT_BYTES, "b"), "b")
    return _native.gf128_mul(a, b)


def scale(delta: NDArray[np.uint8] | bytes, a: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The products delta · a[i]: (16,), (n, 16) -> (n, 16)."""
    _check.secret(delta, (ELEMENT_BYTES,), "delta")
    _check.rows(a, ELEMENT_BYTES, "a")
    return _native.gf128_scale(delta, a)


def scale_add(delta: NDArray[np.uint8] | bytes, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The sums delta · a[i] + b[i]: (16,), (n, 16), (n, 16) -> (n, 16)."""
    _check.rows(b, ELEMENT_BYTES, "b")
    out = b.copy()
    scale_into(delta, a, out)
    return out


def scale_into(delta: NDArray[np.uint8] | bytes, a: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Adds delta · a[i] to out[i], in place: (16,), (n, 16), (n, 16), writable."""
    _check.secret(delta, (ELEMENT_BYTES,), "delta")
    _check.same_count(_check.rows(a, ELEMENT_BYTES, "a"), _check.rows(out, ELEMENT_BYTES, "out"), "out")
    if not out.flags.writeable:
        raise UsageError("out is read-only; give an array that may be changed.")
    if np.may_share_memory(a, out):
        raise UsageError("out shares memory with a; give another array.")
    _native.gf128_scale_into(delta, a, out)


def inner(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The inner product Σ a[i] · b[i]: (n, 16), (n, 16) -> (16,)."""
    _check.same_count(_check.rows(a, ELEMENT_BYTES, "a"), _check.rows(b, ELEMENT_BYTES, "b"), "b")
    return _native.gf128_inner(a, b)


def polyhash(seed: NDArray[np.uint8] | bytes, a: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Σ seed^i · a[i], from i = 0: (16,), (n, 16) -> (16,).

    For consistency checks: two different inputs of n rows agree for at most n - 1 of the 2^128 seeds.
    """
    _check.secret(seed, (ELEMENT_BYTES,), "seed")
    _check.rows(a, ELEMENT_BYTES, "a")
    return _native.gf128_polynomial(seed, a)


def invert(a: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """The inverse of one element, (16,); of zero, zero."""
    _check.secret(a, (ELEMENT_BYTES,), "a")
    return _native.gf128_invert(a)
