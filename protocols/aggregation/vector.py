"""What parties add up: arrays of numbers as words of Z_2^64, made piece by piece, so that no array is held twice.

Integers are words as they are, real numbers are rounded to fixed point (``mpc.fixed``). With a weight w the words are
those of w·x, followed by those of w, so that nobody learns a weight either. Before anything of an array is sent its
owner checks that the sum of as many such arrays as there are parties fits 64 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc import fixed
from mpc.errors import UsageError

FRACTION = 24
"""Fractional bits of real numbers where nobody says otherwise: steps of 6e-8."""
MAX_WORDS = 1 << 30
"""Most words of an array, weights included: 8 GiB."""
PIECE = 1 << 18
"""Words in a message: 2 MiB."""

Words = NDArray[np.uint64]
Values = NDArray[np.int64] | NDArray[np.float64]
Kind = Literal["integer", "real"]
Weighting = Literal["none", "one", "each"]


@dataclass(frozen=True)
class Layout:
    """What an array is like, which has to be the same at all parties.

    Attributes:
        kind: ``integer`` or ``real``.
        fraction: fractional bits of real numbers; 0 for integers.
        shape: of the array.
        weight: ``none``, ``one`` for the whole array, or ``each`` for a weight of each entry.
    """

    kind: Kind
    fraction: int
    shape: tuple[int, ...]
    weight: Weighting

    @property
    def entries(self) -> int:
        """How many numbers the array has."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def words(self) -> int:
        """How many words they and the weights take."""
        return self.entries + {"none": 0, "one": 1, "each": self.entries}[self.weight]

    def decode(self, words: Words) -> tuple[Values, Values | None]:
        """Sum and sum of weights, if there are any, of the total's words. The words are spent."""
        signed = words.view(np.int64)
        numbers: Values = signed
        if self.kind == "real":
            numbers = words.view(np.float64)
            for start in range(0, len(words), PIECE):  # in place, since the array may be large
                part = signed[start : start + PIECE].astype(np.float64)
                np.ldexp(part, -self.fraction, out=numbers[start : start + PIECE])
        n = self.entries
        weight = None if self.weight == "none" else numbers[n:].reshape(self.shape if self.weight == "each" else ())
        return numbers[:n].reshape(self.shape), weight


@dataclass(frozen=True)
class Vector:
    """One party's array, ready to be made into words. Made by ``vector``."""

    layout: Layout
    values: Values = field(repr=False)  # (n,)
    weights: Values | None = field(repr=False)  # (1,) or (n,)
    largest: int  # the largest absolute value that a word stands for

    def require_room(self, parties: int) -> None:
        """UsageError where the sum of so many arrays like this one might not fit."""
        if self.largest > ((1 << 63) - 1) // parties:
            raise UsageError(
                f"The array holds a number so large that a sum of {parties} like it does not fit 64 bits: use a larger "
                "unit or fewer fractional bits."
            )

    def words(self, start: int, stop: int) -> Words:
        """Words from `start` to before `stop`, a new array."""
        n = self.layout.entries
        values = self.values[start : min(stop, n)]
        if self.weights is None:
            return self._encoded(values)
        more = self.weights[max(start - n, 0) : max(stop - n, 0)]
        if not len(values):
            return self._encoded(more)
        weight = self.weights[start : min(stop, n)] if self.layout.weight == "each" else self.weights
        products = self._encoded(values * weight)
        return np.concatenate([products, self._encoded(more)]) if len(more) else products

    def _encoded(self, numbers: Values) -> Words:
        if self.layout.kind == "integer":
            return numbers.astype(np.int64).view(np.uint64)
        scaled = np.ldexp(numbers, self.layout.fraction)
        np.rint(scaled, out=scaled)
        return scaled.astype(np.int64).view(np.uint64)


def vector(values: ArrayLike, *, weight: ArrayLike | None, fraction: int) -> Vector:
    """Check an array and its weight.

    Args:
        values: integers or booleans, summed exactly, or real numbers, rounded to multiples of 2^-fraction; any shape.
        weight: None, or not negative: a number for the whole array, or an array of its shape.
        fraction: fractional bits of real numbers.

    Raises:
        UsageError: other than numbers, a NaN or an infinity, a number that no 64 bits hold, a negative weight, or a
            weight of another shape.
    """
    array, kind = _numbers(values, "values")
    weights: Values | None = None
    weighting: Weighting = "none"
    if weight is not None:
        given, weight_kind = _numbers(weight, "weight")
        if given.shape not in ((), array.shape):
            raise UsageError(
                f"The weight has shape {given.shape}: give a number, or one for each entry, {array.shape}."
            )
        weighting = "each" if given.shape and given.shape == array.shape else "one"
        if kind != weight_kind:  # a product of both is real
            array, given, kind = array.astype(np.float64), given.astype(np.float64), "real"
        if (given < 0).any():
            raise UsageError("A weight is negative: weights say how much an entry counts.")
        weights = given.reshape(-1)
    layout = Layout(kind, fraction if kind == "real" else 0, array.shape, weighting)
    if layout.words > MAX_WORDS:
        raise UsageError(f"{layout.words} words are more than the {MAX_WORDS} of one run: split the array.")
    if kind == "real":
        fixed.check_fraction(fraction)
    flat = array.reshape(-1)
    largest = _largest(flat)
    if weights is not None:
        heaviest = _largest(weights)
        largest = max(heaviest, _largest_product(flat, weights) if len(flat) else 0)
    if kind == "real":
        scaled = float(largest) * 2.0**fraction
        if not scaled < 2.0**63:
            _explain(flat, weights, fraction)
        largest = round(scaled)
    elif largest >= 1 << 63:
        raise UsageError("A number, or its product with its weight, does not fit 64 bits: use a larger unit.")
    return Vector(layout, flat, weights, int(largest))


def _numbers(given: ArrayLike, name: str) -> tuple[Values, Kind]:
    array = np.asarray(given)
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
        raise UsageError(f"{name} has a number that does not fit 63 bits: use a larger unit.")
    if array.dtype.kind in "biu":
        return np.ascontiguousarray(array, dtype=np.int64).reshape(array.shape), "integer"
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape), "real"
    raise UsageError(f"{name} is of {array.dtype}: only integers and real numbers add up; convert it.")


def _largest(numbers: Values) -> int | float:
    """The largest absolute value; NaN where there is one."""
    if not numbers.size:
        return 0
    low, high = numbers.min().item(), numbers.max().item()
    largest: int | float = float("nan") if low != low or high != high else max(abs(low), abs(high))
    return largest


def _largest_product(values: Values, weights: Values) -> int | float:
    """The largest absolute value of a product, without a product that wraps."""
    largest: int | float = 0
    if len(weights) == 1:
        return _largest(values) * _largest(weights)
    for start in range(0, len(values), PIECE):
        v, w = values[start : start + PIECE], weights[start : start + PIECE]
        if values.dtype == np.int64 and int(_largest(v)) * int(_largest(w)) >= 1 << 63:
            largest = max(largest, *(abs(a * b) for a, b in zip(v.tolist(), w.tolist(), strict=True)))
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are found below
            products: float | int = _largest(v * w)
        if products != products:
            return products
        largest = max(largest, products)
    return largest


def _explain(values: Values, weights: Values | None, fraction: int) -> None:
    """Raise the error that names the entry which does not fit."""
    fixed.encode(values, 0 if np.isfinite(values).all() else fraction)
    if weights is not None:
        fixed.encode(weights, 0 if np.isfinite(weights).all() else fraction)
    raise UsageError(
        f"A number, or its product with its weight, does not fit 64 bits with {fraction} fractional bits: use a larger "
        "unit or fewer fractional bits."
    )


@dataclass(frozen=True)
class Aggregate:
    """A sum over parties.

    Attributes:
        values: the sum, int64 or float64 of the array's shape; of the weighted arrays where there are weights.
        weight: the sum of weights: a number as an array of shape (), or one for each entry; None without weights.
        survivors: whose arrays are in it, sorted, the aggregator's among them if it added one.
        dropped: who joined and is not in it, with the reason where this party knows one.
    """

    values: Values = field(repr=False)
    weight: Values | None = field(repr=False)
    survivors: tuple[str, ...]
    dropped: Mapping[str, str]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean: weighted where there are weights, else over the survivors. NaN where all weights are 0."""
        count = np.float64(len(self.survivors)) if self.weight is None else self.weight
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.divide(self.values, count), dtype=np.float64)
