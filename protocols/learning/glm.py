"""Generalised linear models in plain numpy: sums over rows at a point, and Newton's step from such sums.

What a regression needs of its rows is a sum over them: loss, gradient and second derivatives. So rows may be anywhere,
and the step is made of the total [McCullagh, Nelder, Generalized Linear Models, 1989; with the second derivatives
themselves, Newton's method]. Nothing here knows of parties.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError

Family = Literal["logistic", "linear", "poisson", "gamma"]
Floats = NDArray[np.float64]

_BLOCK = 1 << 15
"""Numbers of a block of rows: 256 KiB, which a core's cache holds beside what is made of them."""
_SMALLEST = 2.0**-40
"""Columns all of whose numbers are below it in absolute value are refused, unless all are 0."""
_NULL = 1e-12
"""Directions whose second derivative is below this share of the largest, in columns of unit diagonal, have none."""


@dataclass(frozen=True)
class Rows:
    """Rows with their labels, as ``rows`` has checked them.

    Attributes:
        features: (n, k), of real or whole numbers.
        labels: (n,).
        weight: (n,), or None for 1.
        offset: (n,), added to the linear predictor, or None for 0.
    """

    features: NDArray[np.generic] = field(repr=False)
    labels: Floats = field(repr=False)
    weight: Floats | None = field(repr=False, default=None)
    offset: Floats | None = field(repr=False, default=None)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """The rows, some at a time: which they are, and a (b, k) array of their features, to be changed at will."""
        n, k = self.features.shape
        step = max(_BLOCK // (k + 1), 256)
        for start in range(0, n, step):
            part = slice(start, min(start + step, n))
            yield part, np.array(self.features[part], dtype=np.float64)

    def weights(self, zero: float, one: float) -> Floats | None:
        """(n,) weights of rows times those of their classes; None where all are 1."""
        if zero == 1 and one == 1:
            return self.weight
        of_class = np.where(self.labels == 1, one, zero)
        return of_class if self.weight is None else of_class * self.weight


def rows(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    family: Family,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> Rows:
    """Check rows. Features are not copied.

    Raises:
        UsageError: shapes that do not fit each other, no rows, what is no finite number, labels that the family does
            not have, negative weights.
    """
    x = np.asarray(features)
    if x.ndim != 2 or x.dtype.kind not in "biuf":
        raise UsageError(f"Features are an (n, k) array of numbers, not {x.dtype} of shape {x.shape}: prepare them.")
    n = len(x)
    if not n or not x.shape[1]:
        raise UsageError("There are no rows, or no columns: who has none does not take part.")
    y = _column(labels, n, "Labels")
    checked = Rows(
        x,
        y,
        None if sample_weight is None else _column(sample_weight, n, "Sample weights"),
        None if offset is None else _column(offset, n, "Offsets"),
    )
    if x.dtype.kind == "f":
        largest = np.zeros(x.shape[1])
        for part, block in checked.blocks():
            if not np.isfinite(block).all():
                row, column = np.argwhere(~np.isfinite(block))[0].tolist()
                raise UsageError(
                    f"Row {part.start + row}, column {column} is missing or not finite: fill in or drop missing values."
                )
            np.maximum(largest, np.abs(block, out=block).max(axis=0), out=largest)
        _require_unit(largest, "Column")
    _require_unit(np.abs(y).max(keepdims=True), "Label column")
    if checked.weight is not None and (checked.weight < 0).any():
        raise UsageError("A sample weight is negative: weights say how much a row counts.")
    if family == "logistic" and not ((y == 0) | (y == 1)).all():
        raise UsageError("A label is neither 0 nor 1: code the two classes so.")
    if family == "poisson" and (y < 0).any():
        raise UsageError("A label is negative: Poisson regression is of counts.")
    if family == "gamma" and (y <= 0).any():
        raise UsageError("A label is not above 0: gamma regression is of positive amounts; leave rows without one out.")
    return checked


def _require_unit(largest: Floats, what: str) -> None:
    """Sums of squares of smaller numbers would lose digits (``protocols.aggregation.wide``)."""
    small = (largest > 0) & (largest < _SMALLEST)
    if small.any():
        raise UsageError(
            f"{what} {int(np.argmax(small))} has no number above 2^-40: use a smaller unit of measurement."
        )


def _column(given: ArrayLike, n: int, what: str) -> Floats:
    array = np.asarray(given)
    if array.dtype.kind not in "biuf" or array.shape != (n,):
        raise UsageError(f"{what} are {n} numbers, one a row, not {array.dtype} of shape {array.shape}.")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise UsageError(f"{what}: number {int(np.argmin(np.isfinite(numbers)))} is missing or not finite.")
    return numbers


# Sums over rows -------------------------------------------------------------------------------------------------------


def counts(data: Rows) -> Floats:
    """(4 + 2·k,): rows, those of label 1, the others' weight, theirs; each column's rows that are not 0, and not 1.

    Rows of weight 0 are in no sum, and so not counted.
    """
    n, k = data.features.shape
    weight = np.ones(n) if data.weight is None else data.weight
    used, ones = weight > 0, data.labels == 1
    not_0, not_1 = np.zeros(k), np.zeros(k)
    for part, block in data.blocks():
        kept = block if data.weight is None else block[used[part]]
        not_0 += np.count_nonzero(kept, axis=0)
        not_1 += np.count_nonzero(kept != 1, axis=0)
    head = [np.count_nonzero(used), np.count_nonzero(used & ones), weight[~ones].sum(), weight[ones].sum()]
    return np.concatenate([head, not_0, not_1])


def totals(data: Rows, weight: Floats | None, *, largest: float) -> Floats:
    """(3 + k,): weight, weighted labels, weighted exponentials of offsets (`largest` at most), weighted columns."""
    n, k = data.features.shape
    w = np.ones(n) if weight is None else weight
    with np.errstate(over="ignore"):
        exposed = w.sum() if data.offset is None else w @ np.exp(data.offset)
    columns = np.zeros(k)
    for part, block in data.blocks():
        columns += w[part] @ block
    return np.concatenate([[w.sum(), w @ data.labels, min(exposed, largest)], columns])


def spread(data: Rows, weight: Floats | None, centre: Floats) -> Floats:
    """(k,): weighted squares of columns about centres."""
    total = np.zeros(len(centre))
    for part, block in data.blocks():
        block -= centre
        np.square(block, out=block)
        total += block.sum(axis=0) if weight is None else weight[part] @ block
    return total


@dataclass(frozen=True)
class Sums:
    """What the rows of one or more say at a point β.

    Attributes:
        rows: how many they are.
        weight: of all of them.
        loss: sum of weighted losses; infinite where it is beyond what numbers hold.
        wrong: rows of weight above 0 on the wrong side of the decision or on its boundary; logistic alone.
        gradient: (p,) of the loss.
        curvature: (p, p), its second derivatives.
    """

    rows: float
    weight: float
    loss: float
    wrong: float
    gradient: Floats
    curvature: Floats

    def pack(self) -> Floats:
        """(4 + p + p·(p+1)/2,): all of it, of the second derivatives the upper triangle."""
        upper = self.curvature[np.triu_indices(len(self.gradient))]
        return np.concatenate([[self.rows, self.weight, self.loss, self.wrong], self.gradient, upper])


def packed_size(p: int) -> int:
    """How many numbers ``Sums.pack`` gives."""
    return 4 + p + p * (p + 1) // 2


def unpack(numbers: Floats, p: int) -> Sums:
    """The inverse of ``Sums.pack``."""
    curvature = np.zeros((p, p))
    curvature[np.triu_indices(p)] = numbers[4 + p :]
    curvature += np.triu(curvature, 1).T
    rows, weight, loss, wrong = numbers[:4].tolist()
    return Sums(rows, weight, loss, wrong, numbers[4 : 4 + p], curvature)


def sums(
    data: Rows, weight: Floats | None, *, family: Family, centre: Floats, inverse: Floats, point: Floats, largest: float
) -> Sums:
    """The sums at a point, block by block.

    Args:
        data: rows.
        weight: (n,), or None for 1.
        family: of the model.
        centre: (k,), taken off the columns.
        inverse: (k,), by which they are multiplied then.
        point: (p,): a coefficient for each such column, and where p = k + 1 the intercept.
        largest: what is not below it makes the loss infinite, and all else 0: the point is too far to say more of.
    """
    n, k = data.features.shape
    p = len(point)
    w = np.ones(n) if weight is None else weight
    loss, wrong, gradient, curvature = 0.0, 0, np.zeros(p), np.zeros((p, p))
    with np.errstate(over="ignore", invalid="ignore"):
        for part, block in data.blocks():
            z = block
            if p > k:
                z = np.empty((len(block), p))
                z[:, k] = 1
            columns = z[:, :k]
            np.subtract(block, centre, out=columns)
            columns *= inverse
            predictor = z @ point
            if data.offset is not None:
                predictor += data.offset[part]
            y, wb = data.labels[part], w[part]
            losses, residual, second = _derivatives(family, predictor, y)
            loss += float(wb @ losses)
            if family == "logistic":
                wrong += int(np.count_nonzero((wb > 0) & (np.where(y == 1, predictor, -predictor) <= 0)))
            gradient += z.T @ (wb * residual)
            z *= np.sqrt(wb * second)[:, None]
            curvature += z.T @ z
    bound = max(abs(loss), float(np.abs(gradient).max()), float(np.abs(curvature).max()))
    if not bound < largest:  # NaN too
        return Sums(n, float(w.sum()), math.inf, 0, np.zeros(p), np.zeros((p, p)))
    return Sums(n, float(w.sum()), loss, wrong, gradient, curvature)


def _derivatives(family: Family, eta: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """(b,) each: losses up to what does not depend on the predictor, and their first and second derivatives by it."""
    if family == "logistic":
        e = np.exp(-np.abs(eta))
        positive = eta >= 0
        mean = np.where(positive, 1.0, e) / (1 + e)
        return np.log1p(e) + np.where(positive, eta, 0.0) - y * eta, mean - y, e / (1 + e) ** 2
    if family == "poisson":
        mean = np.exp(eta)
        return mean - y * eta, mean - y, mean
    if family == "gamma":
        ratio = y * np.exp(-eta)
        return ratio + eta, 1 - ratio, ratio
    residual = eta - y
    return residual**2 / 2, residual, np.ones_like(eta)


def start(family: Family, weight: float, labels: float, exposed: float) -> float:
    """The intercept of a model without columns, which is where the search begins."""
    mean = labels / weight
    if family == "logistic":
        return math.log(mean / (1 - mean))
    if family == "linear":
        return mean
    return math.log(labels / exposed)


# Newton's method ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A step of Newton's.

    Attributes:
        direction: (p,).
        decrement: how much the objective falls by it to second order, twice; not negative.
        rank: directions of the columns that the second derivatives of the loss tell apart.
    """

    direction: Floats
    decrement: float
    rank: int


def step(gradient: Floats, curvature: Floats, penalty: Floats, point: Floats) -> Step:
    """The step to the minimum of what the sums say, with Σ_j penalty_j · β_j² / 2.

    Where columns are collinear the loss says nothing of some directions, and what second derivatives there are in them
    comes of rounding. The penalty alone decides there, as it does in the exact problem, however weak it is; without a
    penalty nothing moves.
    """
    slope, unit = gradient + penalty * point, _inverse_roots(np.diag(curvature) + penalty)
    values, basis = np.linalg.eigh((curvature + np.diag(penalty)) * unit[:, None] * unit)
    told = values > _NULL * values[-1]
    there = basis[:, told]
    direction = unit * (there @ (there.T @ (unit * -slope) / values[told]))
    live = np.diag(curvature) > 0
    own = _inverse_roots(np.diag(curvature)[live])
    values, basis = np.linalg.eigh(curvature[np.ix_(live, live)] * own[:, None] * own)
    silent = values <= _NULL * values[-1]
    if silent.any() and penalty.any():
        along = own[:, None] * basis[:, silent]  # to the lowest penalty, from where the others lead
        bent = along.T @ (penalty[live, None] * along)
        pull = along.T @ (penalty * (point + direction))[live]
        scale = _inverse_roots(np.diag(bent))
        solved = np.linalg.lstsq(bent * scale[:, None] * scale, scale * pull, rcond=_NULL)[0]
        direction[live] -= along @ (scale * solved)
    return Step(direction, max(float(-slope @ direction), 0.0), int(np.count_nonzero(~silent)))


def _inverse_roots(diagonal: Floats) -> Floats:
    """1/√d, and 0 for 0."""
    return np.divide(1.0, np.sqrt(diagonal), out=np.zeros(len(diagonal)), where=diagonal > 0)


def check_family(family: str) -> None:
    """UsageError for a family that there is not."""
    if family not in get_args(Family):
        raise UsageError(f"There is no family {family!r}: choose one of {', '.join(get_args(Family))}.")
