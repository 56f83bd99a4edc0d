"""Trees in parts: the parties' ends put together are the walk down the whole tree; documents; what is no tree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning import trees
from protocols.learning.trees import Inner, Leaf, OwnNode, PartTree, Shape


@dataclass(frozen=True)
class Grown:
    """A tree of random splits: each party's part, and for a walk what each inner node compares."""

    parts: dict[str, PartTree]
    splits: dict[int, tuple[str, OwnNode]]
    weights: dict[int, float]

    def walk(
        self, codes: Mapping[str, NDArray[np.uint8]], missing: Mapping[str, NDArray[np.int64]]
    ) -> NDArray[np.float64]:
        """(n,): one row at a time, from the root down."""
        n = len(next(iter(codes.values())))
        margin = np.empty(n)
        for row in range(n):
            node = 0
            while node in self.splits:
                party, split = self.splits[node]
                code = int(codes[party][row, split.column])
                left = split.missing_left if code == missing[party][split.column] else code <= split.bin
                node = 2 * node + (1 if left else 2)
            margin[row] = self.weights[node]
        return margin


def grow(
    rng: np.random.Generator, sizes: Mapping[str, NDArray[np.int64]], *, depth: int, know: tuple[str, ...] | None = None
) -> Grown:
    """A random tree over columns of these sizes; those in `know` have its shape, the first of them weights, too."""
    names, inner, leaves = list(sizes), [], []
    own: dict[str, list[OwnNode]] = {name: [] for name in names}
    splits: dict[int, tuple[str, OwnNode]] = {}

    def split(node: int, level: int, under: Mapping[str, tuple[int, bool]]) -> None:
        if level == depth or (level and rng.random() < 0.2):
            leaves.append(Leaf(node, weight=float(rng.normal())))
            return
        owner = names[rng.integers(len(names))]
        column = int(rng.integers(len(sizes[owner])))
        parent, left = under.get(owner, (-1, False))
        one = OwnNode(parent, left, column, int(rng.integers(sizes[owner][column] - 1)), bool(rng.integers(2)))
        number = len(own[owner])
        own[owner].append(one)
        inner.append(Inner(node, owner, number))
        splits[node] = (owner, one)
        split(2 * node + 1, level + 1, {**under, owner: (number, True)})
        split(2 * node + 2, level + 1, {**under, owner: (number, False)})

    split(0, 0, {})
    knowing = know if know is not None else names[:1]
    shape = Shape(tuple(sorted(inner, key=lambda one: one.node)), tuple(sorted(leaves, key=lambda leaf: leaf.node)))
    bare = Shape(shape.inner, tuple(Leaf(leaf.node) for leaf in shape.leaves))
    shapes = {name: shape if name == knowing[0] else bare for name in knowing}
    parts = {name: PartTree(tuple(own[name]), shapes.get(name)) for name in names}
    return Grown(parts, splits, {leaf.node: leaf.weight or 0.0 for leaf in leaves})


def codes_of(rng: np.random.Generator, n: int, sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.column_stack([rng.integers(size, size=n) for size in sizes]).astype(np.uint8)


@pytest.mark.parametrize("parties", [1, 2, 3])
@pytest.mark.parametrize("depth", [0, 1, 5, 8])
def test_parts_put_together_are_the_walk_down_the_tree(parties: int, depth: int) -> None:
    rng = np.random.default_rng(10 * depth + parties)
    names = ["bank", "tax", "telecom"][:parties]
    sizes = {name: rng.integers(2, 20, size=4) for name in names}
    grown = grow(rng, sizes, depth=depth)
    codes = {name: codes_of(rng, 60, sizes[name]) for name in names}
    missing = {name: trees.missing_codes(sizes[name], rng.random(4) < 0.5) for name in names}
    for name in names:
        grown.parts[name].require_fits(name, sizes[name])
    got = trees.joined(grown.parts, codes, missing)
    np.testing.assert_allclose(got, grown.walk(codes, missing), rtol=0, atol=0)


def test_each_row_reaches_one_side_of_a_node_or_none() -> None:
    rng = np.random.default_rng(5)
    sizes = {"bank": np.array([9, 4]), "tax": np.array([7])}
    tree = grow(rng, sizes, depth=5).parts["tax"]
    reached = trees.ends(tree, codes_of(rng, 40, sizes["tax"]), np.array([6]))
    assert reached[:, 0].all()
    for i, node in enumerate(tree.own):
        above = reached[:, 0 if node.parent < 0 else 1 + 2 * node.parent + (not node.left)]
        np.testing.assert_array_equal(reached[:, 1 + 2 * i] ^ reached[:, 2 + 2 * i], above)
        assert not (reached[:, 1 + 2 * i] & reached[:, 2 + 2 * i]).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_ends_at_once_are_those_of_each_tree(dtype: type[np.unsignedinteger[Any]]) -> None:
    rng = np.random.default_rng(7)
    sizes = {"bank": np.array([9, 4]), "tax": np.array([7])}
    for name, wide in sizes.items():
        parts = [grow(rng, sizes, depth=depth).parts[name] for depth in (5, 0, 1, 8, 3)]
        codes = codes_of(rng, 50, wide).astype(dtype)
        missing = trees.missing_codes(wide, np.arange(len(wide)) == 0)
        found = trees.grove(parts).ends(codes, missing)
        np.testing.assert_array_equal(found, np.concatenate([trees.ends(tree, codes, missing).T for tree in parts]))


@pytest.mark.parametrize("missing_left", [True, False])
def test_missing_values_go_where_the_node_says(*, missing_left: bool) -> None:
    node = OwnNode(-1, False, column=0, bin=3, missing_left=missing_left)
    codes = np.array([[0], [3], [4], [5]], dtype=np.uint8)
    left = trees.goes_left(node, codes, trees.missing_codes(np.array([6]), np.array([True])))
    assert left.tolist() == [True, True, False, missing_left]
    # Of a column without missing values the last bin is a bin like any other.
    left = trees.goes_left(node, codes, trees.missing_codes(np.array([6]), np.array([False])))
    assert left.tolist() == [True, True, False, False]


def test_a_document_gives_the_part_again() -> None:
    rng = np.random.default_rng(6)
    sizes = {"bank": np.array([9, 4]), "tax": np.array([7])}
    grown = grow(rng, sizes, depth=5, know=("bank", "tax"))
    n = len(grown.parts["bank"].own)
    bank = PartTree(grown.parts["bank"].own, grown.parts["bank"].shape, (0.1,) * n, (2.5,) * n)
    tax = grown.parts["tax"]
    assert tax.shape is not None
    shared = Shape(tax.shape.inner, tuple(Leaf(leaf.node, share=2**64 - 1) for leaf in tax.shape.leaves))
    for part in (bank, tax, PartTree(tax.own), PartTree(tax.own, shared), PartTree((), Shape((), (Leaf(0, 1.5),)))):
        assert trees.from_json(json.loads(json.dumps(trees.to_json(part)))) == part


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("own",), [[-1, False, 0, 3]], "A tree's node is"),
        (("own",), [[-1, 0, 0, 3, True]], "A tree's node is"),
        (("own",), [[True, False, 0, 3, True]], "A tree's node is"),
        (("own",), [[0, True, 0, 3, True]], "come after the nodes"),
        (("own",), [[-1, False, -1, 3, True]], "by their indices"),
        (("gains",), [0.5, 0.5], "as many gains"),
        (("gains",), [float("nan")], "finite numbers"),
        (("shape", "inner"), [[0, 1, 0]], "an owner that is not named"),
        (("shape", "inner"), [[0, 0, 1]], "numbered from 0"),
        (("shape", "inner"), [[3, 0, 0]], "2 v \\+ 1"),
        (("shape", "inner"), [["0", 0, 0]], "whole numbers"),
        (("shape", "leaves"), [1], "a weight, or a share, each"),
        (("shape", "leaves"), [1, 1], "once each"),
        (("shape", "leaves"), [1, 3], "2 v \\+ 1"),
        (("shape", "weights"), [1.0, 2.0**20], "below 1048576"),
        (("shape", "shares"), ["00" * 8] * 2, "or all a share"),
        (("shape", "shares"), ["0", "1"], "16 hexadecimal digits"),
        (("shape", "extra"), 1, "unknown"),
    ],
)
def test_what_is_no_tree_is_refused(path: tuple[str, ...], value: object, says: str) -> None:
    part = PartTree(
        (OwnNode(-1, False, 0, 3, True),), Shape((Inner(0, "bank", 0),), (Leaf(1, 0.5), Leaf(2, -0.5))), (1.0,), (2.0,)
    )
    document = json.loads(json.dumps(trees.to_json(part)))
    assert trees.from_json(document) == part
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    with pytest.raises(UsageError, match=says):
        trees.from_json(document)


def test_a_part_that_fits_another_shape_or_binning_is_refused() -> None:
    node = OwnNode(-1, False, 1, 3, True)
    leaves = tuple(Leaf(node, 0.5) for node in (2, 3, 4))
    shape = Shape((Inner(0, "tax", 0), Inner(1, "bank", 0)), leaves)
    PartTree((node,), shape).require_fits("bank", [2, 4])
    with pytest.raises(UsageError, match="mixed up"):
        PartTree((node,), shape).require_fits("bank", [2, 3])
    with pytest.raises(UsageError, match="mixed up"):
        PartTree((node,), shape).require_fits("bank", [9])
    with pytest.raises(UsageError, match="other nodes of bank"):
        PartTree((node, OwnNode(0, True, 0, 0, False)), shape).require_fits("bank", [2, 4])
    deep = Shape((Inner(0, "bank", 0), Inner(2, "bank", 1)), tuple(Leaf(node, 0.5) for node in (1, 5, 6)))
    with pytest.raises(UsageError, match="other nodes of bank"):
        PartTree((node, OwnNode(0, True, 0, 0, False)), deep).require_fits("bank", [2, 4])


def test_weights_that_nobody_here_knows() -> None:
    with pytest.raises(UsageError, match="weights of the tree's leaves"):
        trees.joined({"tax": PartTree(())}, {"tax": np.zeros((1, 1), np.uint8)}, {"tax": np.array([-1])})


def test_what_is_printed_of_a_part_has_no_thresholds() -> None:
    printed = repr(PartTree((OwnNode(-1, False, 41, 43, True),), None))
    assert "41" not in printed
    assert "43" not in printed
