"""A receiver's choice bits: checked where they come in, and used without branching on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.rng import Rng

Choices = NDArray[np.bool_] | NDArray[np.uint8]
"""(n,) choice bits: bool, or uint8 that is 0 or 1."""


def checked(choices: Choices) -> NDArray[np.bool_]:
    """The (n,) choices as bool; UsageError where they are no bits."""
    if getattr(choices, "dtype", None) not in (np.bool_, np.uint8) or choices.ndim != 1:
        raise UsageError("Choices are a numpy array (n,) of bool, or of uint8 that is 0 or 1.")
    if choices.dtype == np.uint8 and len(choices) and int(np.max(choices)) > 1:
        raise UsageError("Choices are bits: each is 0 or 1. For packed bits use numpy.unpackbits.")
    return np.ascontiguousarray(choices).astype(np.bool_)


def random(rng: Rng, n: int) -> NDArray[np.bool_]:
    """(n,) uniform choices."""
    return np.unpackbits(rng.uint8(-(-n // 8)), count=n, bitorder="little").view(np.bool_)


def mask(choices: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(n,) bool → (n, 1) uint8: 0 or 255."""
    return np.negative(choices.view(np.uint8))[:, None]


def select(choices: NDArray[np.bool_], zero: NDArray[np.uint8], one: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, w): row i of `zero` where choice i is 0 and of `one` where it is 1, by arithmetic alone."""
    return zero ^ ((zero ^ one) & mask(choices))
