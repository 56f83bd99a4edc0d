"""One silo's rows in boosted trees over silos, and what they say to each question of who adds up.

An answer is an array of whole numbers, so that a sum over silos is that of all rows together: counts as they are, real
numbers in digits (``aggregation.wide``), gradients and hessians of a tree in multiples of a power of two. Nothing here
knows of channels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError
from mpc.kernels import lwe
from mpc.rng import Rng
from mpc.wire.learning.v1 import horizontal_boosting_pb2 as wire
from protocols.aggregation import wide
from protocols.learning import boosting_terms, forest, gradients, pooled_quantiles
from protocols.learning.boosting_terms import Training
from protocols.learning.forest import Tree
from protocols.learning.pooled_quantiles import OWN_BIN, SMALLEST, Binning

MAX_FEATURES = 1024
"""Most columns."""
FAR = 2.0**80
"""Sums of a silo are below it, or said to be it."""
LARGEST_BITS = 1000
"""Most fractional bits of gradients; as many before the point."""

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]


def classes_of(trees: Training) -> int:
    """Classes that are counted; 0 where labels are numbers."""
    return {"binary:logistic": 2, "multi:softprob": trees.outputs}.get(trees.objective, 0)


@dataclass(frozen=True)
class Given:
    """What a silo brings, checked.

    Attributes:
        values: (n, k) float32, NaN where missing.
        labels: (n,).
        weight: (n,), or None for ones.
        trained: how many rows, the first ones, are trained on.
    """

    values: forest.Floats = field(repr=False)
    labels: Reals = field(repr=False)
    weight: Reals | None = field(repr=False)
    trained: int

    @staticmethod
    def of(
        features: ArrayLike,
        labels: ArrayLike,
        trees: Training,
        sample_weight: ArrayLike | None,
        validation_rows: int | None,
    ) -> Given:
        """Check what a silo brings; see ``horizontal_boosting.fit``. UsageError says what is wrong with it."""
        values = pooled_quantiles.numbers(features)
        n, k = values.shape
        if not 1 <= k <= MAX_FEATURES:
            raise UsageError(f"There are {k} columns: give 1 to {MAX_FEATURES}.")
        if not n:
            raise UsageError("A silo without rows takes no part: do not invite it.")
        aside = trees.validation_rows if validation_rows is None else validation_rows
        if not 0 <= aside < n:
            raise UsageError(f"validation_rows leaves none of the {n} rows to train on: say how many of this silo's.")
        y = boosting_terms.vector(labels, n, "labels")
        boosting_terms.require_labels(trees, y)
        weight = None if sample_weight is None else boosting_terms.vector(sample_weight, n, "sample_weight")
        if weight is not None and (weight < 0).any():
            raise UsageError("sample_weight is not negative.")
        return Given(values, y, weight, n - aside)

    def part(self, *, trained: bool) -> tuple[slice, Reals, Reals]:
        """Rows trained on, or the others: where they are, their labels, and their weights."""
        rows = slice(0, self.trained) if trained else slice(self.trained, None)
        y = self.labels[rows]
        return rows, y, np.ones(len(y)) if self.weight is None else self.weight[rows]

    def counted(self) -> forest.Floats:
        """(rows, k) values of rows trained on that have weight: what others do not count."""
        values = self.values[: self.trained]
        return values if self.weight is None else values[self.weight[: self.trained] > 0]

    def digest(self) -> str:
        """Of these rows."""
        said = hashlib.sha256(f"{self.values.shape} {self.trained} {self.weight is None}".encode())
        for array in (self.values, self.labels, self.weight):
            if array is not None:
                said.update(np.ascontiguousarray(array).data.cast("B"))
        return said.hexdigest()


class Rows:
    """One silo's rows.

    Args:
        given: them.
        trees: the settings.
        counted: whether a bin's sums say how many rows it has.
    """

    def __init__(self, given: Given, trees: Training, *, counted: bool) -> None:
        self._given = given
        self._trees = trees
        self._counted = counted
        self._sorted: pooled_quantiles.Columns | None = None

    # Before there are bins --------------------------------------------------------------------------------------------

    def _count(self) -> Reals:
        """What ``Counts`` reads."""
        _, y, weight = self._given.part(trained=True)
        _, _, weight_of_rest = self._given.part(trained=False)
        sums = [(weight > 0).sum(), (weight_of_rest > 0).sum(), weight.sum(), weight_of_rest.sum(), weight @ y]
        classes = classes_of(self._trees)
        of_class = np.bincount(y[weight > 0].astype(np.int64), minlength=classes) if classes else np.empty(0)
        missing = np.isnan(self._given.counted()).sum(axis=0)
        return np.array([*sums, *of_class, *missing], dtype=np.float64)

    def _cells(self, level: int, columns: NDArray[np.uint16], prefixes: NDArray[np.uint32]) -> Ints:
        """(cells, parts): how many numbers each has."""
        self._sorted = self._sorted or pooled_quantiles.Columns.of(self._given.counted())
        return self._sorted.counts(level, columns, prefixes)

    def misses(self) -> NDArray[np.bool_]:
        """(k,) whether a row that is trained on has no value."""
        return np.asarray(np.isnan(self._given.counted()).any(axis=0))

    # While trees grow -------------------------------------------------------------------------------------------------

    def begin(self, binning: Binning, base: forest.Floats, trees: Sequence[Tree], key: bytes) -> None:
        """Take the bins, what margins begin with, the model as far as there is one, and what rows are drawn by."""
        self._sorted = None
        self._key = key
        self._binning = binning
        codes = forest.codes_of(self._given.values, binning.edges)
        for j in np.flatnonzero(binning.missing == SMALLEST):
            codes[codes[:, j] == binning.numeric[j], j] = 0
        codes = np.ascontiguousarray(codes[:, binning.usable])
        # Sums are over rows trained on. One that does not count may miss what others never do: its code is too large.
        summed = np.minimum(codes[: self._given.trained], (binning.sizes - 1)[binning.usable].astype(np.uint16))
        self._summed: forest.Codes = summed.astype(np.uint8) if binning.numeric.max() < 256 else summed
        self._codes: forest.Codes = codes.astype(np.uint8) if binning.numeric.max() < 256 else codes
        self._margins = np.tile(base, (len(codes), 1))
        for i, tree in enumerate(trees):
            self.take(tree, i % self._trees.outputs)

    def take(self, tree: Tree, output: int) -> None:
        """Add a tree to the margins."""
        binning = self._binning
        moved = replace(tree, column=np.where(tree.left > 0, binning.place[tree.column], 0).astype(np.int32))
        self._margins[:, output] += moved.margins(self._codes, binning.numeric[binning.usable])

    def _round(self, number: int) -> Reals:
        """Loss and weight of rows trained on, and of others; sums of absolute gradients, and of hessians, of the round.

        They are of the margins as they are now, and kept for the round's trees.
        """
        found = []
        for trained in (True, False):
            rows, y, weight = self._given.part(trained=trained)
            losses = gradients.losses(self._trees, self._margins[rows].astype(np.float64), y)
            found += [float(weight @ losses), float(weight.sum())]
        rows, y, weight = self._given.part(trained=True)
        self._gradients = gradients.gradients(self._trees, self._margins[rows].astype(np.float64), y, weight)
        drawn = weight > 0
        if self._trees.subsample < 1:
            drawn &= sampled(self._key, number, len(y), self._trees.subsample)
        self._drawn = np.flatnonzero(drawn).astype(np.int32)
        self._sizes = [float(np.abs(sums[:, self._drawn]).sum()) for sums in self._gradients]
        found += self._sizes
        return np.minimum(np.nan_to_num(found, nan=FAR, posinf=FAR), FAR)

    def _grow(self, question: wire.SilosGrow, splits: Ints, nodes: Ints, columns: Ints) -> Ints:
        """(nodes, m, lanes): the sums over each bin of these columns, of nodes that there are after these splits."""
        if not len(splits):
            self._plant(question, columns)
        binning = self._binning
        for node, left, right, column, last, missing_left in splits.tolist():
            rows = self._parts.pop(node)
            code = self._codes[rows, binning.place[column]]
            lefts = code <= last
            if binning.missing[column] == OWN_BIN:
                lefts[code == binning.numeric[column]] = bool(missing_left)
            self._parts[left], self._parts[right] = rows[lefts], rows[~lefts]
        sizes = binning.sizes[columns].tolist()
        return np.stack([lwe.sums(self._shown, self._words, sizes, rows=self._parts[node]) for node in nodes.tolist()])

    def _plant(self, question: wire.SilosGrow, columns: Ints) -> None:
        """Begin a tree: all its rows are in the root."""
        bits = (question.gradient_bits, question.hessian_bits)
        numbers = [np.rint(np.ldexp(part[question.output], b)) for part, b in zip(self._gradients, bits, strict=True)]
        ones = [np.ones(len(numbers[0]))] * self._counted
        self._words = np.stack([*numbers, *ones], axis=1).astype(np.int64)
        self._parts = {0: self._drawn}
        places = self._binning.place[columns]
        every = len(places) == self._codes.shape[1]
        self._shown = self._summed if every else self._summed[:, places].copy()

    def fits(self, question: wire.SilosGrow) -> bool:
        """Whether sums of multiples of these units fit their words."""
        bits = (question.gradient_bits, question.hessian_bits)
        small = max(map(abs, bits)) <= LARGEST_BITS
        return small and all(math.ldexp(size, b) < 2.0**53 for size, b in zip(self._sizes, bits, strict=True))

    def knows(self, splits: Ints, nodes: Ints) -> bool:
        """Whether there are these nodes to be split, and these to be looked at afterwards."""
        there = set(self._parts) if len(splits) else {0}
        for node, left, right, *_ in splits.tolist():
            if node not in there or left == right or {left, right} & there:
                return False
            there = (there - {node}) | {left, right}
        return set(nodes.tolist()) <= there

    # Answers ----------------------------------------------------------------------------------------------------------

    def answer(self, question: Message, *arrays: NDArray[Any]) -> Ints:
        """What these rows add to the sum that a question asks for."""
        if isinstance(question, wire.SilosCount):
            return wide.encode(self._count())
        if isinstance(question, wire.SilosCells):
            return self._cells(question.level, *arrays)
        if isinstance(question, wire.SilosRound):
            with np.errstate(over="ignore", invalid="ignore"):  # the sums say so
                return wide.encode(self._round(question.number))
        return self._grow(question, *(array.astype(np.int64) for array in arrays))  # type: ignore[arg-type]


def sampled(key: bytes, number: int, n: int, part: float) -> NDArray[np.bool_]:
    """(n,) which of a silo's rows the trees of a round are trained on: each with these odds."""
    rng = Rng.from_seed(b"unseen rows of a round" + number.to_bytes(4, "little") + key)
    return np.asarray(rng.uint8(n, 4).view("<u4")[:, 0] < part * 2.0**32)


def key_of(seed: int | None, silo: str, rng: Rng) -> bytes:
    """What a silo draws by: secret without a seed."""
    return rng.bytes(32) if seed is None else hashlib.sha256(f"unseen seed {seed} {silo}".encode()).digest()
