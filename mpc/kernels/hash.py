"""SHA-256 and SHA-512 [FIPS 180-4] and SM3 [GM/T 0004] of whole batches, under a common prefix.

The prefix separates one use from another: give every use its own, ended by a byte that no prefix holds elsewhere.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

if TYPE_CHECKING:
    from mpc.kernels.packing import Packed

Name = Literal["sha256", "sha512", "sm3"]

DIGEST_BYTES: dict[Name, int] = {"sha256": 32, "sha512": 64, "sm3": 32}


def batch(name: Name, prefix: bytes, items: Packed) -> NDArray[np.uint8]:
    """H(prefix || string) of n strings: (n, 32), or (n, 64) for sha512."""
    _known(name)
    return _native.hash_batch(name, prefix, items.data, items.offsets)


def rows(name: Name, prefix: bytes, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H(prefix || row) of (n, w) uint8 rows: (n, 32), or (n, 64) for sha512."""
    _known(name)
    if not _check.is_array(rows) or rows.dtype != np.uint8 or rows.ndim != 2 or not rows.flags.c_contiguous:
        raise UsageError("rows must be a contiguous (n, w) array of uint8; numpy.ascontiguousarray makes one.")
    return _native.hash_rows(name, prefix, rows)


class Hasher(Protocol):
    """One hash under way, as in ``hashlib``."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Goes on with `data`, whose bytes are contiguous."""

    def digest(self) -> bytes:
        """The hash of everything so far."""


class _Sm3:
    """SM3, which ``hashlib`` need not have."""

    def __init__(self) -> None:
        self._state = _native.Sm3()

    def update(self, data: bytes | memoryview, /) -> None:
        self._state.update(np.frombuffer(data, dtype=np.uint8))

    def digest(self) -> bytes:
        return self._state.digest()


def new(name: Name) -> Hasher:
    """A hash of one long string, which comes in parts."""
    _known(name)
    return _Sm3() if name == "sm3" else hashlib.new(name)


def digest(name: Name, data: bytes) -> bytes:
    """The hash of one string."""
    hasher = new(name)
    hasher.update(data)
    return hasher.digest()


def _known(name: Name) -> None:
    if name not in DIGEST_BYTES:
        raise UsageError(f"There is no hash {name!r} here; choose one of: {', '.join(DIGEST_BYTES)}.")
