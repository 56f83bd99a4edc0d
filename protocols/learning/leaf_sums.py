"""Sums of the leaves that rows end in, as shares of two parties: one has the leaves' weights, the other columns.

    margin(row) = Σ_trees Σ_leaves w · α(row) · β(row)     α: reached as far as the giver's nodes say, β: the chooser's

A tree's leaves lie under the chooser's ends (``trees``). Summing from the bottom up what a row gets where it goes to
the right at all of the chooser's nodes below an end,

    V(end) = Σ_{leaves under it, and under no end below} w · α + Σ_{nodes i of the chooser right below} V(right of i)

a margin is V(root) + Σ_i β(left of i) · (V(left of i) − V(right of i)). Each summand is one correlated transfer
[Asharov, Lindell, Schneider, Zohner 2013]: the giver's word, if the chooser's bit is one. What went right at a node
need not be asked: it is what reached the node less what went left.

Security: semi-honest; of ``protocols.ot.extension``, and of the hash as in ``protocols.ot.random_ot``.
Leaks:    nothing to either but the numbers of rows and of the chooser's nodes in each tree, which the giver knows from
          the tree. The giver's own nodes and the leaves do not show: neither how many there are nor where.
Cost:     a transfer for each row and each of the chooser's nodes: 12 bytes, 4 of them from the chooser; in blocks of up
          to ``BLOCK`` transfers, each padded to a multiple of 128. One set-up of the extension.
Exact:    weights are rounded to 2^-30, sums of them are not rounded again: of T trees a margin is off by at most
          (T + 1) 2^-31.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc import fixed
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.ot.v1 import ot_pb2
from protocols.learning import trees
from protocols.learning.boosted import BoostedPart, Coded
from protocols.learning.trees import LEAF_FRACTION, Grove, PartTree, Shape
from protocols.ot import extension
from protocols.ot.correlations import CotReceiver
from protocols.ot.method import FieldBits

BLOCK = extension.CHUNK
"""Most transfers in a message."""
FIELD_BITS: FieldBits = 4
"""k of SoftSpoken: 4 bytes a transfer."""

Words = NDArray[np.uint64]


# What the two bring ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Plan:
    """The trees of a model as the giver of their leaves sees them. Made by ``plan``.

    Attributes:
        grove: the giver's nodes.
        weights: (leaves,) the giver's words of the leaves' weights, by the chooser's ends that they are under.
        mine: (leaves,) the giver's end that each is under.
        ends: the chooser's ends that leaves are right under.
        starts: where in `weights` the leaves of each of these begin.
        chooser: the chooser's nodes, as far as they lie below one another.
        counts: how many of its nodes are in trees of each class.
    """

    grove: Grove = field(repr=False)
    weights: Words = field(repr=False)
    mine: NDArray[np.int64] = field(repr=False)
    ends: NDArray[np.int64] = field(repr=False)
    starts: NDArray[np.int64] = field(repr=False)
    chooser: Below = field(repr=False)
    counts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Below:
    """Which of the chooser's nodes lie below which: of ``trees.Grove`` what needs no columns."""

    roots: NDArray[np.int64]
    lefts: NDArray[np.int64]
    above: NDArray[np.int64]
    levels: tuple[NDArray[np.int64], ...]


def plan(part: BoostedPart, chooser: str) -> Plan:
    """The trees as `part`'s party gives their leaves to the chooser.

    Raises:
        UsageError: a part without shapes, or without weights or shares of them.
    """
    shapes = [shape_of(tree) for tree in part.by_class]
    roots, lefts, above = trees.numbered([shape.parents_of(chooser) for shape in shapes])
    own = part.grove
    mine = np.concatenate([root + shape.leaf_ends(part.party) for root, shape in zip(own.roots, shapes, strict=False)])
    theirs = np.concatenate([root + shape.leaf_ends(chooser) for root, shape in zip(roots, shapes, strict=False)])
    order = np.argsort(theirs, kind="stable")
    ends, starts = np.unique(theirs[order], return_index=True)
    return Plan(
        grove=own,
        weights=np.concatenate([weights_of(shape) for shape in shapes])[order],
        mine=mine[order],
        ends=ends,
        starts=starts,
        chooser=Below(roots, lefts, above, trees.levels(roots, lefts, above)),
        counts=counts_by_class([shape_of(tree).count_of(chooser) for tree in part.trees], part.classes),
    )


def shape_of(tree: PartTree) -> Shape:
    """The tree's shape. UsageError where this party has none."""
    if tree.shape is None:
        raise UsageError("This part has no shapes of trees: the label party's has, and gives their leaves.")
    return tree.shape


def weights_of(shape: Shape) -> Words:
    """(leaves,): this party's words of the leaves' weights, or its shares of them."""
    first = shape.leaves[0]
    if first.share is not None:
        return np.array([leaf.share for leaf in shape.leaves], dtype=np.uint64)
    if first.weight is None:
        raise UsageError("This part has neither the leaves' weights nor shares of them.")
    return fixed.encode(np.array([leaf.weight for leaf in shape.leaves]), LEAF_FRACTION)


@dataclass(frozen=True)
class Offers:
    """What the giver brings for n rows.

    Attributes:
        base: (classes, n) what a row gets where all of the chooser's bits are zero.
        steps: (nodes, n) what each of the chooser's nodes adds where its bit is one, class after class.
        counts: how many of the nodes are of trees of each class.
    """

    base: Words = field(repr=False)
    steps: Words = field(repr=False)
    counts: tuple[int, ...]

    def rows(self, which: NDArray[np.bool_]) -> Offers:
        """Those of some of the rows."""
        return Offers(self.base[:, which], self.steps[:, which], self.counts)


def offers(known: Plan, coded: Coded, *, base_score: float = 0.0) -> Offers:
    """V from the bottom up, of all trees.

    Args:
        known: of ``plan``.
        coded: the giver's columns of n rows.
        base_score: what every margin begins with.
    """
    n, below = len(coded), known.chooser
    base = np.full((len(known.counts), n), fixed.encode(base_score, LEAF_FRACTION), dtype=np.uint64)
    steps = np.empty((len(below.lefts), n), dtype=np.uint64)
    of_class = np.split(below.roots[:-1], len(known.counts))
    for rows in in_blocks(n, max(len(known.weights), int(below.roots[-1]))):
        some = coded.rows(rows)
        reached = known.grove.ends(some.codes, some.missing_code)[known.mine]
        value = np.zeros((int(below.roots[-1]), len(some)), dtype=np.uint64)  # V, by the chooser's ends
        value[known.ends] = np.add.reduceat(reached * known.weights[:, None], known.starts, axis=0)
        for nodes in reversed(below.levels):
            # What lies below these nodes is complete. A level's nodes are in the order of the ends that they are under.
            left = below.lefts[nodes]
            steps[nodes, rows] = value[left] - value[left + 1]
            above, first = np.unique(below.above[nodes], return_index=True)
            value[above] += np.add.reduceat(value[left + 1], first, axis=0)
        for one, roots in enumerate(of_class):
            base[one, rows] += value[roots].sum(axis=0, dtype=np.uint64)
    return Offers(base, steps, known.counts)


def bits_of(part: BoostedPart, coded: Coded) -> NDArray[np.bool_]:
    """(nodes, n): whether each row goes left at each of the chooser's nodes, and reaches it, class after class."""
    grove = part.grove
    bits = np.empty((len(grove.lefts), len(coded)), dtype=np.bool_)
    for rows in in_blocks(len(coded), int(grove.roots[-1])):
        some = coded.rows(rows)
        bits[:, rows] = grove.ends(some.codes, some.missing_code)[grove.lefts]
    return bits


def counts_by_class(nodes: Sequence[int], classes: int) -> tuple[int, ...]:
    """Of how many nodes each tree has, in the order of the part's trees: how many those of each class have."""
    return tuple(sum(nodes[one::classes]) for one in range(classes))


def sums(words: Words, counts: Sequence[int]) -> Words:
    """(m, n) → (classes, n): of each class the sum of its rows of words, which are as many as counted."""
    parts = np.split(words, np.cumsum(counts)[:-1])
    return np.stack([part.sum(axis=0, dtype=np.uint64) for part in parts])


def in_blocks(n: int, width: int) -> list[slice]:
    """Rows in blocks: n of them, with so many transfers each."""
    step = max(1, BLOCK // max(1, width))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


# The transfers --------------------------------------------------------------------------------------------------------


@dataclass
class Giver:
    """The side that has words. Made by ``start_giver``; for one thread at a time."""

    channel: Channel
    rng: Rng = field(repr=False)
    _sender: extension.Sender = field(repr=False)
    _made: int = 0

    def give(self, words: Words) -> Words:
        """Transfer words of any shape: each reaches the chooser where its bit is one.

        Returns:
            Of that shape, uniform: with the chooser's they add up to word · bit.
        """
        n = words.size
        if not n:
            return np.zeros(words.shape, dtype=np.uint64)
        sent = extension.extend_send(self.channel, self._sender, n, rng=self.rng)
        tweak, self._made = self._made, self._made + n
        # 1  two masks, of which the chooser has the one that its bit names; what it adds to it where the bit is one
        zero, one = _hashed(sent.k, tweak), _hashed(sent.k ^ sent.delta, tweak)
        share = np.negative(zero)
        np.subtract(zero, one, out=one)
        self.channel.send(ot_pb2.Offsets(), one + words.reshape(-1))
        return share.reshape(words.shape)


@dataclass
class Chooser:
    """The side that has bits. Made by ``start_chooser``; for one thread at a time."""

    channel: Channel
    rng: Rng = field(repr=False)
    _receiver: extension.Receiver = field(repr=False)
    _made: int = 0

    def ask(self, bits: NDArray[np.bool_]) -> CotReceiver:
        """Say what is wanted, under masks: bits of any shape. ``take`` goes on; several may be asked for before."""
        return extension.extend_receive(self.channel, self._receiver, bits.reshape(-1), rng=self.rng)

    def take(self, asked: CotReceiver) -> Words:
        """(n,): the chooser's shares of what was asked for first among what was not taken yet.

        Raises:
            PeerError: other than a word for each bit.
        """
        if not len(asked):
            return np.zeros(0, dtype=np.uint64)
        _, offsets = self.channel.recv(ot_pb2.Offsets, max_bytes=8 * len(asked))
        self.channel.require(len(offsets) == len(asked), f"offsets of {len(asked)} transfers")
        # 2  the mask, and what is added to it, without branching on the bits
        tweak, self._made = self._made, self._made + len(asked)
        words: Words = _hashed(asked.t, tweak) + (offsets & np.negative(asked.choices.astype(np.uint64)))
        return words

    def choose(self, bits: NDArray[np.bool_]) -> Words:
        """``ask`` and ``take``: shares of the bits' shape."""
        return self.take(self.ask(bits)).reshape(bits.shape)


def start_giver(channel: Channel, *, suite: Suite, rng: Rng) -> Giver:
    """Set transfers up, as the side that has words. PeerError: the chooser sent no step of the protocol."""
    return Giver(channel, rng, extension.start_send(channel, suite=suite, rng=rng, k=FIELD_BITS))


def start_chooser(channel: Channel, *, suite: Suite, rng: Rng) -> Chooser:
    """Set transfers up, as the side that has bits. PeerError: the giver sent no step of the protocol."""
    return Chooser(channel, rng, extension.start_receive(channel, suite=suite, rng=rng, k=FIELD_BITS))


def give_all(giver: Giver, mine: Offers) -> Words:
    """(classes, n): the giver's shares of the sums of n rows."""
    share = np.empty(mine.base.shape, dtype=np.uint64)
    for rows in in_blocks(mine.steps.shape[1], len(mine.steps)):
        share[:, rows] = mine.base[:, rows] + sums(giver.give(np.ascontiguousarray(mine.steps[:, rows])), mine.counts)
    return share


def choose_all(chooser: Chooser, bits: NDArray[np.bool_], counts: Sequence[int]) -> Words:
    """(classes, n): the chooser's shares of the sums of n rows."""
    n = bits.shape[1]
    share = np.empty((len(counts), n), dtype=np.uint64)
    for rows in in_blocks(n, len(bits)):
        share[:, rows] = sums(chooser.choose(np.ascontiguousarray(bits[:, rows])), counts)
    return share


def _hashed(correlated: NDArray[np.uint8], tweak: int) -> Words:
    """(n, 16) → (n,): 8 bytes of each block's hash."""
    words: Words = blocks.hash(correlated, tweak=tweak).view("<u8")[:, 0].astype(np.uint64)
    return words
