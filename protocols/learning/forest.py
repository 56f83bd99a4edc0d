"""Boosted trees that one party has whole: predictions, importance, documents, and XGBoost's own format.

    forest.predict(features)                     # (n,) means, or (n, K) probabilities of K classes
    forest.importance("gain")                    # (k,) of the columns
    Forest.from_json(forest.to_json())
    Booster(model_file=bytearray(forest.to_xgboost()))    # of the package xgboost: the same predictions

A column's numbers fall into bins (edge before, edge], and a node sends codes up to its bin to the left. Numbers are
float32 and margins are sums in float32 in the order of the trees, so that XGBoost's are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError
from protocols.learning import documents, gradients, pooled_quantiles
from protocols.learning.boosted import mean_of
from protocols.learning.boosting_terms import OBJECTIVES, Objective, Training
from protocols.learning.documents import Document

FORMAT = "unseen forest"
MAX_NODES = 1 << 16
"""Most nodes of a tree."""

Importance = Literal["gain", "weight", "cover"]
Floats = NDArray[np.float32]
Codes = NDArray[np.uint8] | NDArray[np.uint16]

_TREE = ("left", "right", "column", "bin", "missing_left", "weight", "gain", "cover")
_FOREST = ("objective", "names", "edges", "base_score", "classes", "trees", "rows", "max_delta_step")


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree; node 0 is the root, and nodes come after the one that they are below.

    Attributes:
        left: (m,) int32, of each inner node the node to the left; 0 at leaves.
        right: (m,) int32, the node to the right; 0 at leaves.
        column: (m,) int32, which column is compared; 0 at leaves.
        bin: (m,) int32, the last bin that goes left; 0 at leaves.
        missing_left: (m,) bool, whether rows go left whose value is missing.
        weight: (m,) float32, of a leaf what it adds to the margin; 0 at inner nodes.
        gain: (m,) float32, what the split gained; 0 at leaves.
        cover: (m,) float32, the sum of hessians over the rows of the node.
    """

    left: NDArray[np.int32] = field(repr=False)
    right: NDArray[np.int32] = field(repr=False)
    column: NDArray[np.int32] = field(repr=False)
    bin: NDArray[np.int32] = field(repr=False)
    missing_left: NDArray[np.bool_] = field(repr=False)
    weight: Floats = field(repr=False)
    gain: Floats = field(repr=False)
    cover: Floats = field(repr=False)

    @property
    def inner(self) -> NDArray[np.int64]:
        """Numbers of the inner nodes."""
        return np.flatnonzero(self.left)

    def fits(self, sizes: Sequence[int]) -> bool:
        """Whether the arrays make a tree on columns of so many bins, that of missing values not counted."""
        m = len(self.left)
        arrays = (self.right, self.column, self.bin, self.missing_left, self.weight, self.gain, self.cover)
        if not 1 <= m <= MAX_NODES or m % 2 == 0 or any(len(array) != m for array in arrays):
            return False
        inner = self.inner
        if not all(np.isfinite(array).all() for array in (self.weight, self.gain, self.cover)):
            return False
        if ((self.right != 0) != (self.left != 0)).any() or (self.left[inner] <= inner).any():
            return False
        below = np.sort(np.concatenate([self.left[inner], self.right[inner]]))
        if (self.right[inner] <= inner).any() or not np.array_equal(below, np.arange(1, m)):
            return False
        column, last = self.column[inner], self.bin[inner]
        wide = np.asarray(sizes, dtype=np.int64)
        return bool(((column >= 0) & (column < len(wide))).all() and ((last >= 0) & (last < wide[column])).all())

    def margins(self, codes: Codes, missing: NDArray[np.integer[Any]]) -> Floats:
        """(n,) the weight of the leaf that each row reaches.

        Args:
            codes: (n, k).
            missing: (k,) the code of missing values.
        """
        at = np.zeros(len(codes), dtype=np.int32)
        moving = np.arange(len(codes))
        while len(moving):
            node = at[moving]
            inner = self.left[node] > 0
            moving, node = moving[inner], node[inner]
            column = self.column[node]
            code = codes[moving, column]
            lefts = np.where(code == missing[column], self.missing_left[node], code <= self.bin[node])
            at[moving] = np.where(lefts, self.left[node], self.right[node])
        found: Floats = self.weight[at]
        return found


@dataclass(frozen=True, eq=False)
class Forest:
    """A boosted model.

    Attributes:
        objective: as XGBoost names it.
        names: of the k columns.
        edges: of each column the inner edges of its bins, finite, increasing float32.
        base_score: what the model begins with, as XGBoost has it: a probability for ``binary:logistic``, the margin of
            all classes for ``multi:softprob``, else a mean of labels.
        trees: round by round, and in each one for each of K classes.
        rows: how many rows it was trained on.
        classes: K, for ``multi:softprob``; 1 for others.
        max_delta_step: of training.

    Raises:
        UsageError: parts that do not fit.
    """

    objective: Objective
    names: tuple[str, ...]
    edges: tuple[Floats, ...] = field(repr=False)
    base_score: float
    trees: tuple[Tree, ...] = field(repr=False)
    rows: int
    classes: int = 1
    max_delta_step: float = 0.0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UsageError(f"The objective is one of {', '.join(OBJECTIVES)}.")
        if len(self.edges) != len(self.names) or len(set(self.names)) != len(self.names) or not self.names:
            raise UsageError("Each column has a name of its own, and edges.")
        for edges in self.edges:
            if not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
                raise UsageError("Edges are finite, and increase.")
        several = self.objective == "multi:softprob"
        if self.classes < 1 or several != (self.classes > 1) or len(self.trees) % self.classes:
            raise UsageError("A round has one tree for each of several classes, or one tree.")
        Training(self.objective, base_score=self.base_score, num_class=self.classes if several else None)
        if not all(tree.fits(self._sizes) for tree in self.trees):
            raise UsageError("A tree does not fit the columns: the model's parts are mixed up.")

    @property
    def rounds(self) -> int:
        """How many rounds of boosting."""
        return len(self.trees) // self.classes

    @property
    def base_margins(self) -> Floats:
        """(K,) what margins begin with."""
        several = self.classes if self.classes > 1 else None
        begun = Training(self.objective, base_score=self.base_score, num_class=several)
        return np.full(self.classes, gradients.start(begun, np.empty(0), None), dtype=np.float32)

    @property
    def _sizes(self) -> list[int]:
        return [len(edges) + 1 for edges in self.edges]

    def first(self, rounds: int) -> Forest:
        """The model of the first so many rounds."""
        return replace(self, trees=self.trees[: rounds * self.classes])

    def digest(self) -> str:
        """64 hexadecimal digits that two models share only if they are the same."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    # What it says of rows ---------------------------------------------------------------------------------------------

    def codes(self, features: ArrayLike) -> NDArray[np.uint16]:
        """(n, k) the bin of each value; of a missing one the number of bins.

        Raises:
            UsageError: another number of columns, or values that are no finite numbers.
        """
        return codes_of(self._numbers(features), self.edges)

    def margins(self, features: ArrayLike) -> Floats:
        """(n,) float32, or (n, K): log odds, logarithms of means, or means, as the objective has it."""
        codes = self.codes(features)
        missing = np.array(self._sizes)
        margins = np.tile(self.base_margins, (len(codes), 1))
        for i, tree in enumerate(self.trees):
            margins[:, i % self.classes] += tree.margins(codes, missing)
        return margins if self.classes > 1 else margins[:, 0]

    def predict(self, features: ArrayLike) -> NDArray[np.float64]:
        """(n,) the probability of label 1, or the mean; (n, K) probabilities of the classes."""
        return mean_of(self.objective, self.margins(features).astype(np.float64))

    def importance(self, kind: Importance = "gain") -> NDArray[np.float64]:
        """(k,) of the columns, as XGBoost's.

        Args:
            kind: ``weight``, how many splits a column has; ``gain`` or ``cover``, the mean of its splits' gains or of
                the hessians above them. 0 for a column without splits.
        """
        if kind not in ("gain", "weight", "cover"):
            raise UsageError(f"Importance is by 'gain', 'weight' or 'cover', not {kind!r}.")
        count, total = np.zeros(len(self.names)), np.zeros(len(self.names))
        for tree in self.trees:
            inner = tree.inner
            np.add.at(count, tree.column[inner], 1)
            np.add.at(total, tree.column[inner], (tree.cover if kind == "cover" else tree.gain)[inner])
        return count if kind == "weight" else np.divide(total, count, out=np.zeros_like(total), where=count > 0)

    def _numbers(self, features: ArrayLike) -> Floats:
        values = pooled_quantiles.numbers(features)
        if values.shape[1] != len(self.names):
            raise UsageError(f"The model is of {len(self.names)} columns, and these are {values.shape[1]}.")
        return values

    # Documents --------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values, for ``from_json``."""
        return {
            "format": FORMAT,
            "version": 1,
            "objective": self.objective,
            "names": list(self.names),
            "edges": [edges.tolist() for edges in self.edges],
            "base_score": float(self.base_score),
            "classes": self.classes,
            "max_delta_step": float(self.max_delta_step),
            "rows": self.rows,
            "trees": [{name: getattr(tree, name).tolist() for name in _TREE} for tree in self.trees],
        }

    @staticmethod
    def from_json(document: object) -> Forest:
        """Take what ``to_json`` made.

        Raises:
            UsageError: anything else.
        """
        read = documents.read_version(document, _FOREST, what=FORMAT)
        edges = [
            documents.read({"edges": one}, ("edges",), what=FORMAT).numbers("edges") for one in read.items("edges")
        ]
        objective = read.text("objective")
        if objective not in OBJECTIVES:
            raise UsageError(f"{FORMAT}: there is no such objective. Make the document anew, by this library.")
        return Forest(
            objective,
            read.texts("names"),
            tuple(_float32(one) for one in edges),
            read.number("base_score"),
            tuple(_tree(documents.read(one, _TREE, what="a tree of a forest")) for one in read.items("trees")),
            read.whole("rows"),
            read.whole("classes"),
            read.number("max_delta_step"),
        )

    def to_xgboost(self) -> bytes:
        """The model in XGBoost's own JSON: ``xgboost.Booster(model_file=bytearray(…))`` loads it, as a file does."""
        multi = self.classes > 1
        known: dict[str, dict[str, object]] = {
            "multi:softprob": {"softmax_multiclass_param": {"num_class": str(self.classes)}},
            "count:poisson": {"poisson_regression_param": {"max_delta_step": repr(self.max_delta_step)}},
        }
        parameters = known.get(self.objective, {"reg_loss_param": {"scale_pos_weight": "1"}})
        k = str(len(self.names))
        document = {
            "version": [3, 0, 0],
            "learner": {
                "attributes": {},
                "feature_names": list(self.names),
                "feature_types": ["float"] * len(self.names),
                "gradient_booster": {
                    "name": "gbtree",
                    "model": {
                        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(self.trees))},
                        "iteration_indptr": list(range(0, len(self.trees) + 1, self.classes)),
                        "tree_info": [i % self.classes for i in range(len(self.trees))],
                        "trees": [_xgboost_tree(i, tree, self.edges) for i, tree in enumerate(self.trees)],
                    },
                },
                "learner_model_param": {
                    "base_score": repr(float(np.float32(self.base_score))),
                    "boost_from_average": "1",
                    "num_class": str(self.classes if multi else 0),
                    "num_feature": k,
                    "num_target": "1",
                },
                "objective": {"name": self.objective} | parameters,
            },
        }
        return json.dumps(document).encode()


def codes_of(values: Floats, edges: Sequence[Floats]) -> NDArray[np.uint16]:
    """(n, k) the bin of each value between these edges, of each column; of a missing one the number of bins."""
    codes = np.empty(values.shape, dtype=np.uint16)
    for j, inner in enumerate(edges):
        column = values[:, j]
        codes[:, j] = np.searchsorted(inner, column, side="left")
        codes[np.isnan(column), j] = len(inner) + 1
    return codes


def _float32(values: Sequence[float]) -> Floats:
    """Infinite where a number is too large, which is refused then."""
    with np.errstate(over="ignore"):
        return np.array(values, dtype=np.float32)


def _tree(read: Document) -> Tree:
    def whole(key: str) -> NDArray[np.int32]:
        values = read.numbers(key)
        if not all(value == int(value) and 0 <= value < 1 << 31 for value in values):
            raise UsageError("A tree's nodes are whole numbers. Make the document anew, by this library.")
        return np.array(values, dtype=np.int32)

    def real(key: str) -> Floats:
        return _float32(read.numbers(key))

    missing = read.items("missing_left")
    if not all(isinstance(one, bool) for one in missing):
        raise UsageError("Whether missing values go left is true or false. Make the document anew, by this library.")
    left, right, column, last = map(whole, _TREE[:4])
    return Tree(left, right, column, last, np.array(missing, dtype=bool), *map(real, _TREE[5:]))


def _xgboost_tree(number: int, tree: Tree, edges: Sequence[Floats]) -> dict[str, object]:
    m, inner = len(tree.left), tree.inner
    left, right = (np.where(tree.left > 0, side, -1) for side in (tree.left, tree.right))
    parents = np.full(m, 2**31 - 1, dtype=np.int64)
    for side in (tree.left, tree.right):
        parents[side[inner]] = inner
    # Ours go left up to the edge, XGBoost's below its threshold; the last bin's edge is infinite, which JSON has not.
    threshold = tree.weight.copy()
    for node in inner:
        inside = edges[tree.column[node]]
        last = tree.bin[node]
        threshold[node] = np.nextafter(inside[last], np.float32(np.inf)) if last < len(inside) else np.float32(np.inf)
    np.minimum(threshold, np.float32(pooled_quantiles.LARGEST), out=threshold)
    return {
        "id": number,
        "base_weights": tree.weight.tolist(),
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": tree.missing_left.astype(int).tolist(),
        "left_children": left.tolist(),
        "right_children": right.tolist(),
        "loss_changes": tree.gain.tolist(),
        "parents": parents.tolist(),
        "split_conditions": threshold.tolist(),
        "split_indices": tree.column.tolist(),
        "split_type": [0] * m,
        "sum_hessian": tree.cover.tolist(),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(len(edges)),
            "num_nodes": str(m),
            "size_leaf_vector": "1",
        },
    }
