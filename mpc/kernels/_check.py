"""What every kernel asks of its arguments before the native core sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError


def is_array(value: object) -> bool:
    """Whether this is a numpy array at all. Not all callers have a type checker, and pandas' columns look like one."""
    return isinstance(value, np.ndarray)


def rows(array: NDArray[np.uint8], width: int, name: str) -> int:
    """Checks that `array` is (n, width) uint8 and C-contiguous. Returns n."""
    _bytes(array, name)
    if array.ndim != 2 or array.shape[1] != width:
        raise UsageError(f"{name} has shape {array.shape}; give (n, {width}).")
    return int(array.shape[0])


def row(array: NDArray[np.uint8], width: int, name: str) -> None:
    """Checks that `array` is (width,) uint8 and C-contiguous."""
    _bytes(array, name)
    if array.shape != (width,):
        raise UsageError(f"{name} has shape {array.shape}; give ({width},).")


def secret(value: NDArray[np.uint8] | bytes, widths: tuple[int, ...], name: str) -> None:
    """Checks that `value` is bytes, or a (width,) uint8 array, of one of the widths."""
    if not isinstance(value, bytes):
        _bytes(value, name)
        if value.ndim != 1:
            raise UsageError(f"{name} has {value.ndim} dimensions; give one row.")
    if len(value) not in widths:
        raise UsageError(f"{name} is {len(value)} bytes; give {' or '.join(map(str, widths))}.")


def same_count(n: int, other: int, name: str) -> None:
    """Checks that a second argument has as many rows as the first."""
    if n != other:
        raise UsageError(f"{name} has {other} rows for a batch of {n}; give one row for each.")


def dst(value: bytes) -> None:
    """Checks that a domain separation tag says something."""
    if not value:
        raise UsageError("dst is empty; name the protocol, its version and the purpose of the hash in it.")


def _bytes(array: NDArray[np.uint8], name: str) -> None:
    given = array.dtype if is_array(array) else type(array).__name__
    if given != np.uint8:
        raise UsageError(f"{name} is {given}; give a numpy array of uint8.")
    if not array.flags.c_contiguous:
        raise UsageError(f"{name} is a strided view; give np.ascontiguousarray(...) of it.")
