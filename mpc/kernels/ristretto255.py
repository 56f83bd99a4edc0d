"""The prime-order group ristretto255 [RFC 9496], with RFC 9380's hash into it.

Elements and scalars are arrays of (n, 32) uint8: canonical encodings, scalars little endian. An encoding that is not
canonical, and the identity element, are refused wherever an element comes in; zero wherever a scalar does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.kernels import _check

if TYPE_CHECKING:
    from mpc.kernels.packing import Packed

ELEMENT_BYTES = 32
SCALAR_BYTES = 32
UNIFORM_SCALAR_BYTES = 64
"""Uniform bytes that one scalar is made of."""


def scalar_from_uniform(uniform: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scalars of uniform strings, reduced modulo the group order: (n, 64) -> (n, 32).

    A string that reduces to zero raises InvalidEncoding; in 2^252 draws that happens about once.
    """
    _check.rows(uniform, UNIFORM_SCALAR_BYTES, "uniform")
    return _native.ristretto255_scalar_from_uniform(uniform)


def scalar_invert(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Inverses modulo the group order: (n, 32) -> (n, 32)."""
    _check.rows(scalars, SCALAR_BYTES, "scalars")
    return _native.ristretto255_scalar_invert(scalars)


def hash_to_group(items: Packed, dst: bytes) -> NDArray[np.uint8]:
    """hash_to_ristretto255 with SHA-512 [RFC 9380, appendix B] of n strings: (n, 32).

    Args:
        items: the strings.
        dst: domain separation tag, at least one byte; no two uses may share one.
    """
    _check.dst(dst)
    return _native.ristretto255_hash_to_group(items.data, items.offsets, dst)


def hash_mul(scalar: NDArray[np.uint8] | bytes, items: Packed, dst: bytes) -> NDArray[np.uint8]:
    """One scalar, (32,), times `hash_to_group` of n strings: (n, 32). Cheaper than one after the other."""
    _check.secret(scalar, (SCALAR_BYTES,), "scalar")
    _check.dst(dst)
    return _native.ristretto255_hash_mul(scalar, items.data, items.offsets, dst)


def mul(scalar: NDArray[np.uint8] | bytes, points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One scalar, (32,), times every element: (n, 32) -> (n, 32).

    Raises InvalidEncoding with the index of the first bad element.
    """
    _check.secret(scalar, (SCALAR_BYTES,), "scalar")
    _check.rows(points, ELEMENT_BYTES, "points")
    return _native.ristretto255_mul(scalar, points)


def mul_each(scalars: NDArray[np.uint8], points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] * points[i]: (n, 32), (n, 32) -> (n, 32). Raises InvalidEncoding as `mul` does."""
    n = _check.rows(scalars, SCALAR_BYTES, "scalars")
    _check.same_count(n, _check.rows(points, ELEMENT_BYTES, "points"), "points")
    return _native.ristretto255_mul_each(scalars, points)


def add(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] + b[i]: (n, 32), (n, 32) -> (n, 32).

    Raises InvalidEncoding as `mul` does, and where a sum is the identity.
    """
    n = _check.rows(a, ELEMENT_BYTES, "a")
    _check.same_count(n, _check.rows(b, ELEMENT_BYTES, "b"), "b")
    return _native.ristretto255_add(a, b)


def sub(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] - b[i]: (n, 32), (n, 32) -> (n, 32).

    Raises InvalidEncoding as `mul` does, and where the two are the same.
    """
    n = _check.rows(a, ELEMENT_BYTES, "a")
    _check.same_count(n, _check.rows(b, ELEMENT_BYTES, "b"), "b")
    return _native.ristretto255_sub(a, b)


def mul_base(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] times the generator: (n, 32) -> (n, 32)."""
    _check.rows(scalars, SCALAR_BYTES, "scalars")
    return _native.ristretto255_mul_base(scalars)


def check(points: NDArray[np.uint8]) -> None:
    """Raises InvalidEncoding at the first of the (n, 32) elements that is the identity or not canonical."""
    _check.rows(points, ELEMENT_BYTES, "points")
    _native.ristretto255_check(points)
