"""Trees in parts: what each party keeps of a tree whose inner nodes belong to several of them.

A tree's inner nodes each compare one column of one party with a bin: rows whose code is at most the bin go to the left,
the others to the right, and rows whose value is missing where the node says. A party keeps its own nodes, and of each
only where it lies below its other nodes. The *ends* of a party in a tree are the places that its own nodes tell apart:

    end 0           the root: every row
    end 1 + 2 i     the rows that reach own node i as far as this party's nodes say, and go left there
    end 2 + 2 i     the same, and go right

A leaf lies under one end of each party, so that a row's margin is a sum of products that each need one party's columns:

    margin(row) = Σ_leaves weight · Π_parties [row reaches the party's end above the leaf]

    tree = PartTree(own=(OwnNode(parent=-1, left=False, column=2, bin=7, missing_left=True),))
    ends(tree, binned.codes, missing_codes(binned.sizes, binned.missing))            # (n, 3) bool

Where a node lies in the whole tree is its number in a heap: the root is 0, and below node v are 2 v + 1, to the left,
and 2 v + 2. Only who may know a tree's shape has one (`Shape`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning import documents

MAX_DEPTH = 8
"""Most levels of inner nodes."""
LEAF_FRACTION = 30
"""Fractional bits of a leaf's weight in shares, and of a margin made of them."""
LARGEST = float(1 << 20)
"""A leaf's weight is smaller: margins are log odds, or in units of the label."""

_TREE = ("own", "gains", "covers", "shape")
_OWN = ("parent", "left", "column", "bin", "missing_left")
_SHAPE = ("owners", "inner", "leaves", "weights", "shares")

Codes = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class OwnNode:
    """An inner node of this party.

    Attributes:
        parent: the nearest node above it that is this party's, too, by its index in the tree; -1 where none is.
        left: whether it lies on that one's left; False where there is none.
        column: which of this party's columns is compared.
        bin: the last bin that goes left.
        missing_left: whether rows go left whose value is missing.
    """

    parent: int
    left: bool
    column: int = field(repr=False)
    bin: int = field(repr=False)
    missing_left: bool = field(repr=False)


@dataclass(frozen=True)
class Inner:
    """Whose an inner node is.

    Attributes:
        node: its number in the heap.
        owner: the party.
        number: its index among the owner's nodes of this tree.
    """

    node: int
    owner: str
    number: int


@dataclass(frozen=True)
class Leaf:
    """Where a tree ends.

    Attributes:
        node: its number in the heap.
        weight: what it adds to the margin; None to who does not know it.
        share: this party's share of the weight modulo 2^64, with ``LEAF_FRACTION`` fractional bits; None where there
            is none.
    """

    node: int
    weight: float | None = field(default=None, repr=False)
    share: int | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Shape:
    """How a tree's nodes lie, and whose they are.

    Attributes:
        inner: the inner nodes, by number in the heap.
        leaves: the leaves, by number in the heap. All of them have a weight, or all a share, or none either.

    Raises:
        UsageError: nodes that make no tree.
    """

    inner: tuple[Inner, ...]
    leaves: tuple[Leaf, ...]

    def __post_init__(self) -> None:
        inner, leaves = ([one.node for one in nodes] for nodes in (self.inner, self.leaves))
        wanted = {0} | {child for node in inner for child in (2 * node + 1, 2 * node + 2)}
        if inner != sorted(set(inner)) or leaves != sorted(set(leaves)) or set(inner) & set(leaves):
            raise UsageError("A tree's inner nodes, and its leaves, are named once each, by number in the heap.")
        if set(inner) | set(leaves) != wanted or (inner and inner[-1] >= (1 << MAX_DEPTH) - 1):
            raise UsageError(
                f"A tree's inner node v has 2 v + 1 and 2 v + 2 below it, and there are {MAX_DEPTH} levels of them."
            )
        for owner in {one.owner for one in self.inner}:
            if sorted(one.number for one in self.inner if one.owner == owner) != list(range(self.count_of(owner))):
                raise UsageError(f"The nodes of {owner} in a tree are numbered from 0 on.")
        known = {(leaf.weight is not None, leaf.share is not None) for leaf in self.leaves}
        if len(known) > 1 or (True, True) in known:
            raise UsageError("A tree's leaves all have a weight, or all a share of it.")
        if not all(leaf.weight is None or abs(leaf.weight) < LARGEST for leaf in self.leaves):
            raise UsageError(f"A leaf's weight is a number below {LARGEST:.0f}: are the labels of this scale?")
        if not all(leaf.share is None or 0 <= leaf.share < 1 << 64 for leaf in self.leaves):
            raise UsageError("A share of a leaf's weight is a number modulo 2^64.")

    def count_of(self, party: str) -> int:
        """How many inner nodes are the party's."""
        return sum(one.owner == party for one in self.inner)

    def end_above(self, node: int, party: str) -> int:
        """The end of the party that the node lies under."""
        owners = {one.node: one for one in self.inner}
        while node:
            parent, left = (node - 1) // 2, node % 2 == 1
            if (above := owners[parent]).owner == party:
                return 1 + 2 * above.number + (not left)
            node = parent
        return 0

    def leaf_ends(self, party: str) -> NDArray[np.int64]:
        """(leaves,): the end of the party that each leaf lies under."""
        return np.array([self.end_above(leaf.node, party) for leaf in self.leaves], dtype=np.int64)

    def parents_of(self, party: str) -> list[int]:
        """For each of the party's nodes the end of the party's that it lies under, which says its parent and side."""
        mine = sorted((one for one in self.inner if one.owner == party), key=lambda one: one.number)
        return [self.end_above(one.node, party) for one in mine]


@dataclass(frozen=True)
class PartTree:
    """What one party keeps of a tree.

    Attributes:
        own: its own inner nodes, each after its parent.
        shape: how the tree looks as a whole; None to who does not know.
        gains: of each own node what the split gained; None to who does not know.
        covers: of each own node the hessians' sum over its rows in training; None to who does not know.

    Raises:
        UsageError: nodes before their parents, or that do not fit the shape.
    """

    own: tuple[OwnNode, ...]
    shape: Shape | None = None
    gains: tuple[float, ...] | None = field(default=None, repr=False)
    covers: tuple[float, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for i, node in enumerate(self.own):
            if not -1 <= node.parent < i or (node.left and node.parent < 0):
                raise UsageError("A party's nodes come after the nodes that they lie below; the first has none above.")
            if node.column < 0 or node.bin < 0:
                raise UsageError("A node names a column and a bin by their indices, from 0 on.")
        if any(values is not None and len(values) != len(self.own) for values in (self.gains, self.covers)):
            raise UsageError(f"The tree has {len(self.own)} own nodes: give as many gains, and covers.")

    def require_fits(self, party: str, sizes: Sequence[int] | NDArray[np.int64]) -> None:
        """UsageError unless the own nodes are the party's of the shape, and compare its columns of these sizes."""
        for node in self.own:
            if node.column >= len(sizes) or node.bin >= sizes[node.column]:
                raise UsageError("A tree compares a column or a bin that the binning has not: the parts are mixed up.")
        if self.shape is not None and [_end_of_parent(node) for node in self.own] != self.shape.parents_of(party):
            raise UsageError(f"The tree's shape has other nodes of {party} than its own: the parts are mixed up.")


def _end_of_parent(node: OwnNode) -> int:
    return 0 if node.parent < 0 else 1 + 2 * node.parent + (not node.left)


def missing_codes(sizes: NDArray[np.int64], missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(k,): the code of each column's missing values, which is its last bin; -1 where the column has no such bin."""
    return np.where(missing, np.asarray(sizes, dtype=np.int64) - 1, -1)


def goes_left(node: OwnNode, codes: Codes, missing_code: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,): whether each row goes left at the node.

    Args:
        node: of the party whose codes these are.
        codes: (n, k).
        missing_code: (k,), of `missing_codes`.
    """
    column = codes[:, node.column]
    left: NDArray[np.bool_] = column <= node.bin
    if (code := int(missing_code[node.column])) >= 0:
        left[column == code] = node.missing_left
    return left


def ends(tree: PartTree, codes: Codes, missing_code: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, 1 + 2 nodes), column-major: whether each row reaches each of this party's ends.

    Args:
        tree: this party's part.
        codes: (n, k), of its columns.
        missing_code: (k,), of `missing_codes`.
    """
    reached = np.empty((1 + 2 * len(tree.own), len(codes)), dtype=np.bool_)
    reached[0] = True
    for i, node in enumerate(tree.own):
        above, left = reached[_end_of_parent(node)], goes_left(node, codes, missing_code)
        np.logical_and(above, left, out=reached[1 + 2 * i])
        np.greater(above, left, out=reached[2 + 2 * i])
    return reached.T


@dataclass(frozen=True, eq=False)
class Grove:
    """One party's parts of several trees side by side, to find all of their ends at once. Made by ``grove``.

    Ends and nodes are numbered through: those of the first tree come first.

    Attributes:
        roots: (trees,) the end 0 of each tree; then one more, the number of all ends.
        lefts: (nodes,) the end on the left of each node; the next one is that on its right.
        above: (nodes,) the end that each node lies under.
        levels: the nodes that lie under roots, then those right below these, and so on.
    """

    roots: NDArray[np.int64]
    lefts: NDArray[np.int64]
    above: NDArray[np.int64]
    levels: tuple[NDArray[np.int64], ...]
    _columns: NDArray[np.int64] = field(repr=False)
    _bins: NDArray[np.int64] = field(repr=False)
    _missing_left: NDArray[np.bool_] = field(repr=False)

    def ends(self, codes: Codes, missing_code: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(ends, n): as ``ends`` of each tree, one after another."""
        compared = codes.T[self._columns]
        left: NDArray[np.bool_] = np.less_equal(compared, self._bins.astype(codes.dtype)[:, None])
        code = missing_code[self._columns]
        may_miss = code >= 0
        gone = compared[may_miss] == code[may_miss].astype(codes.dtype)[:, None]
        left[may_miss] = np.where(gone, self._missing_left[may_miss, None], left[may_miss])
        reached = np.empty((int(self.roots[-1]), len(codes)), dtype=np.bool_)
        reached[self.roots[:-1]] = True
        for nodes in self.levels:
            above, goes, ends_left = reached[self.above[nodes]], left[nodes], self.lefts[nodes]
            reached[ends_left] = above & goes
            reached[ends_left + 1] = above > goes
        return reached


def grove(parts: Sequence[PartTree]) -> Grove:
    """One party's parts of several trees side by side."""
    nodes = [node for tree in parts for node in tree.own]
    roots, lefts, above = numbered([[_end_of_parent(node) for node in tree.own] for tree in parts])
    return Grove(
        roots,
        lefts,
        above,
        levels(roots, lefts, above),
        np.array([node.column for node in nodes], dtype=np.int64),
        np.array([node.bin for node in nodes], dtype=np.int64),
        np.array([node.missing_left for node in nodes], dtype=np.bool_),
    )


def numbered(
    parents: Sequence[Sequence[int]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Roots, lefts and above of a ``Grove``, of the ends that each tree's nodes lie under in their own tree."""
    counts = np.array([len(tree) for tree in parents], dtype=np.int64)
    roots = np.concatenate([[0], np.cumsum(1 + 2 * counts)]).astype(np.int64)
    lefts = np.concatenate([root + 1 + 2 * np.arange(m) for root, m in zip(roots, counts, strict=False)])
    above = np.concatenate([root + np.array(tree, dtype=np.int64) for root, tree in zip(roots, parents, strict=False)])
    return roots, lefts.astype(np.int64), above.astype(np.int64)


def levels(
    roots: NDArray[np.int64], lefts: NDArray[np.int64], above: NDArray[np.int64]
) -> tuple[NDArray[np.int64], ...]:
    """The nodes by how many nodes of the same party lie above them; in each level by the end that they lie under."""
    found: list[NDArray[np.int64]] = []
    deep = np.zeros(int(roots[-1]), dtype=np.int64) - 1  # of each end, in which level what lies right below it is
    deep[roots[:-1]] = 0
    waiting = np.arange(len(lefts))
    while len(waiting):
        ready = deep[above[waiting]] == len(found)
        level = waiting[ready]
        found.append(level[np.argsort(above[level], kind="stable")])
        deep[lefts[level]] = deep[lefts[level] + 1] = len(found)
        waiting = waiting[~ready]
    return tuple(found)


def joined(
    parts: Mapping[str, PartTree],
    codes: Mapping[str, Codes],
    missing_code: Mapping[str, NDArray[np.int64]],
) -> NDArray[np.float64]:
    """(n,): the margin that a tree adds, from the parts of all parties in one place: for tests and comparisons.

    Raises:
        UsageError: nobody has the leaves' weights.
    """
    shape = next(
        (part.shape for part in parts.values() if part.shape and part.shape.leaves[0].weight is not None), None
    )
    if shape is None:
        raise UsageError("None of these parts has the weights of the tree's leaves; the label party's has.")
    weights = np.array([leaf.weight for leaf in shape.leaves], dtype=np.float64)
    reached = np.ones((len(next(iter(codes.values()))), len(weights)), dtype=np.bool_)
    for party, part in parts.items():
        reached &= ends(part, codes[party], missing_code[party])[:, shape.leaf_ends(party)]
    margin: NDArray[np.float64] = reached @ weights
    return margin


# Documents ------------------------------------------------------------------------------------------------------------


def to_json(tree: PartTree) -> dict[str, object]:
    """A document of plain JSON values, for ``from_json``. It holds this party's secrets."""
    return {
        "own": [[node.parent, node.left, node.column, node.bin, node.missing_left] for node in tree.own],
        "gains": None if tree.gains is None else list(tree.gains),
        "covers": None if tree.covers is None else list(tree.covers),
        "shape": None if tree.shape is None else _shape_json(tree.shape),
    }


def from_json(document: object) -> PartTree:
    """Take what ``to_json`` made.

    Raises:
        UsageError: anything else.
    """
    read = documents.read(document, _TREE, what="a tree of a model")
    return PartTree(
        own=tuple(_own(node) for node in read.items("own")),
        shape=None if read.is_null("shape") else _shape_of(read.object("shape")),
        gains=None if read.is_null("gains") else read.numbers("gains"),
        covers=None if read.is_null("covers") else read.numbers("covers"),
    )


def _own(node: object) -> OwnNode:
    match node:
        case [int(parent), bool(left), int(column), int(last), bool(missing_left)] if not any(
            isinstance(number, bool) for number in (parent, column, last)
        ):
            return OwnNode(parent, left, column, last, missing_left)
    raise UsageError(f"A tree's node is [{', '.join(_OWN)}]. Make the document anew, by this library.")


def _shape_json(shape: Shape) -> dict[str, object]:
    """Shares as text: JSON's numbers end at 2^53."""
    owners = sorted({one.owner for one in shape.inner})
    weights, shares = ([getattr(leaf, name) for leaf in shape.leaves] for name in ("weight", "share"))
    return {
        "owners": owners,
        "inner": [[one.node, owners.index(one.owner), one.number] for one in shape.inner],
        "leaves": [leaf.node for leaf in shape.leaves],
        "weights": None if weights[0] is None else weights,
        "shares": None if shares[0] is None else [f"{share:016x}" for share in shares],
    }


def _shape_of(document: object) -> Shape:
    read = documents.read(document, _SHAPE, what="the shape of a tree")
    owners, leaves = read.texts("owners"), [_whole(node) for node in read.items("leaves")]
    weights = [None] * len(leaves) if read.is_null("weights") else read.numbers("weights")
    shares = [None] * len(leaves) if read.is_null("shares") else [_word(text) for text in read.texts("shares")]
    if not len(leaves) == len(weights) == len(shares):
        raise UsageError("A tree's leaves have a weight, or a share, each. Make the document anew, by this library.")
    return Shape(
        inner=tuple(_inner(node, owners) for node in read.items("inner")),
        leaves=tuple(Leaf(*leaf) for leaf in zip(leaves, weights, shares, strict=True)),
    )


def _inner(node: object, owners: Sequence[str]) -> Inner:
    if not isinstance(node, list) or len(node) != 3:
        raise UsageError("A shape's node is [node, owner, number]. Make the document anew, by this library.")
    place, owner, number = (_whole(value) for value in node)
    if owner >= len(owners):
        raise UsageError("A shape's node is of an owner that is not named. Make the document anew, by this library.")
    return Inner(place, owners[owner], number)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError("A shape's nodes are whole numbers. Make the document anew, by this library.")
    return value


def _word(text: str) -> int:
    if len(text) != 16 or set(text) - set("0123456789abcdef"):
        raise UsageError("A leaf's share is 16 hexadecimal digits. Make the document anew, by this library.")
    return int(text, 16)
