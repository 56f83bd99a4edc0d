"""A boosted tree while it grows, at who has sums over all rows: which nodes to ask for, and where to split them.

Sums are whole numbers, multiples of a unit each for gradients and hessians, and rows where they are counted: so of two
siblings the sums of one are those of their parent less the other's, exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.wire.learning.v1 import horizontal_boosting_pb2 as wire
from protocols.learning import boosting_terms, splits
from protocols.learning.boosting_terms import Training
from protocols.learning.forest import Tree
from protocols.learning.pooled_quantiles import OWN_BIN, SMALLEST, Binning

Ints = NDArray[np.int64]


class Growing:
    """A tree while it grows.

    Nodes have numbers in the order in which they come to be, the root 0. Sums of a node are (m, lanes) whole numbers,
    of each bin of each column of the tree.

    Args:
        trees: the settings.
        least: fewest rows of a leaf; 0 where rows are not counted, and sums have two lanes.
        unit: what sums are multiples of.
        columns: that the tree may split.
        binning: of all columns.
    """

    def __init__(self, trees: Training, least: int, unit: wire.SilosGrow, columns: Ints, binning: Binning) -> None:
        self._trees = trees
        self._least = least
        self._units = np.ldexp(1.0, [-unit.gradient_bits, -unit.hessian_bits])
        self._columns = columns
        self._binning = binning
        sizes, own = binning.sizes[columns], binning.missing[columns] == OWN_BIN
        self._first = np.cumsum(sizes) - sizes
        self._layout = splits.Layout.of(boosting_terms.Columns(tuple(sizes.tolist()), tuple(own.tolist())))
        self._bins = int(sizes.sum())
        self._totals: list[Ints | None] = [None]  # (lanes,) of each node
        self._sums: dict[int, Ints] = {}  # of nodes that can be split
        self._families: list[tuple[int, int, int]] = []  # of this level: a node that was split, and its children
        self._made: dict[int, tuple[int, int, int, int, bool, float]] = {}

    def asked(self) -> list[int]:
        """Nodes whose sums are to be asked for: of each two children the one with fewer rows."""
        if not self._families:
            return [0] if self._totals[0] is None else []
        return [self._smaller(left, right) for _, left, right in self._families]

    def _smaller(self, left: int, right: int) -> int:
        return min(left, right, key=lambda node: (int(self._total(node)[-1]), node))  # of rows, or of hessians

    def _total(self, node: int) -> Ints:
        total = self._totals[node]
        if total is None:
            raise AssertionError("the root's sums come first")
        return total

    def take(self, asked: list[int], sums: Ints) -> bool:
        """(nodes, m, lanes); False where no rows have such sums."""
        found = dict(zip(asked, sums.reshape(len(asked), self._bins, 2 + (self._least > 0)), strict=True))
        if self._totals[0] is None:
            self._totals[0] = found[0][: int(self._layout.width[0])].sum(axis=0)
        for node, left, right in self._families:
            small = left if left in found else right
            found[left + right - small] = self._sums[node] - found[small]
        self._sums = found
        return all(bool((one[:, 1:] >= 0).all()) for one in found.values())

    def split(self) -> list[tuple[int, ...]]:
        """Split nodes where it gains most; what silos are to do before the next level's sums."""
        nodes = [node for node in self._sums if self._may_split(node)]
        self._families = []
        if not nodes:
            return []
        sums = np.stack([self._sums[node] for node in nodes]).astype(np.float64)
        totals = np.stack([self._total(node) for node in nodes]).astype(np.float64)
        best = splits.best(
            self._trees,
            self._layout,
            sums[:, :, 0] * self._units[0],
            sums[:, :, 1] * self._units[1],
            totals[:, 0] * self._units[0],
            totals[:, 1] * self._units[1],
            usable=np.ones(len(self._columns), dtype=np.bool_),
            blur=np.zeros(len(nodes)),
            rows=sums[:, :, 2] if self._least else None,
            least_rows=self._least,
        )
        told = []
        for i, node in enumerate(nodes):
            gain = float(best.gain[i])
            if not (gain > splits.LEAST_GAIN and gain >= self._trees.gamma):
                continue
            place, last, missing_left = int(best.column[i]), int(best.bin[i]), bool(best.missing_left[i])
            told.append(self._divide(node, place, last, missing_left=missing_left, gain=gain))
        return told

    def _divide(self, node: int, place: int, last: int, *, missing_left: bool, gain: float) -> tuple[int, ...]:
        column = int(self._columns[place])
        first = int(self._first[place])
        lefts = self._sums[node][first : first + last + 1].sum(axis=0)
        if missing_left:
            lefts = lefts + self._sums[node][first + int(self._binning.numeric[column])]
        # Few missing values are among the smallest numbers, and so go left.
        missing_left |= bool(self._binning.missing[column] == SMALLEST)
        left, right = len(self._totals), len(self._totals) + 1
        self._totals += [lefts, self._total(node) - lefts]
        self._made[node] = (left, right, column, last, missing_left, gain)
        if self._may_split(left) or self._may_split(right):
            self._families.append((node, left, right))
        return node, left, right, column, last, int(missing_left)

    def _may_split(self, node: int) -> bool:
        """Whether there is enough of it for two children."""
        total, trees = self._total(node), self._trees
        hessians = float(total[1]) * self._units[1]
        many = not self._least or int(total[2]) >= 2 * self._least
        return many and hessians > 0 and hessians >= 2 * trees.min_child_weight

    def tree(self) -> Tree:
        """As far as it has grown."""
        m = len(self._totals)
        places = np.zeros((5, m), dtype=np.int32)
        gains = np.zeros(m, dtype=np.float32)
        for node, (*split, gain) in self._made.items():
            places[:, node] = split
            gains[node] = gain
        totals = np.stack([self._total(node) for node in range(m)]).astype(np.float64)
        g, h = totals[:, 0] * self._units[0], totals[:, 1] * self._units[1]
        weight = splits.weight(self._trees, g, h) * self._trees.learning_rate
        weight[list(self._made)] = 0
        left, right, column, last, missing_left = places
        numbers = (weight.astype(np.float32), gains, h.astype(np.float32))
        return Tree(left, right, column, last, missing_left > 0, *numbers)
