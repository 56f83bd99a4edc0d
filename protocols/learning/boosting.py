"""Boosted trees where each party has some of the columns [Chen, Guestrin: XGBoost, KDD 2016], in mode ``standard``.

Rows are the same people in the same order at all parties. The label party A has the labels; the others, feature parties
B, have columns as codes (``binned``), and A may have some too. A round adds a tree (of each class one); mode ``strict``
is in ``strict_boosting``.

    1  g, h = gradients of the loss at the rows' margins                      (``gradients``), at A in the clear
    for each level of the tree, depth by depth [SecureBoost, Cheng et al. 2021, algorithms 1 and 2]:
        2  A has, for the smaller child of each node that was split, vectors of g and h of its rows and 0 in others
        3  histograms of B's bins = M·g and M·h by private products           (``matvec.lwe``): M, bins by rows, is B's
           secret and g, h are A's; B tells the upper halves of its shares. The larger child has what its parent has
           more than the smaller one
        4  histograms of A's own bins, by itself
        5  A picks each node's best split of all parties' columns             (``splits``)
        6  A tells B which of B's bins split nodes, and learns of these nodes' rows which go left    (``membership``)
    7  leaf weights of the nodes where splitting ended, at A; rows' margins grow by them

Products come in lanes, g and h of a node each. Every level has as many lanes as it could have nodes to look at, and
every tree as many levels, whatever the tree looks like; lanes without a node are zero, which does not show.

Security: semi-honest. Of ``matvec.lwe`` (module LWE) and of ``membership`` (transfers). Gradients and rows of nodes are
          under encryption, columns under shares and transfers. Feature parties that join with one another learn what
          each of them learns; a feature party that joins with A learns what A does.
Leaks:    to all what ``boosting_terms`` says, and the number of rounds.
          To a feature party: of each tree the splits that it makes itself, at which level, and which of them lie below
          which of its own. Nothing of nodes that it does not split, nor of rows, gradients or leaves.
          To the label party: for each node that it looked at the sums of gradients and hessians in each of B's bins,
          rounded at a random place to 2^-16 of the sum of their sizes in the node whose histogram it asked for; the
          column and the bin of every split, by number; and on which side of a split each row of its node goes, of no
          other rows. From sums over rows that it knows it can infer who shares a bin with whom, more so the fewer rows
          there are: docs/security/boosting.md.
Cost:     of a tree of depth d on n rows, for each feature party with m bins in k columns, s of which bins split nodes:
          2^d·(4·n + 6144·(m + 1) + 2·m) + 14·s bytes and what ``membership`` takes for each level (``tree_bytes``), and
          at most 128 for each envelope. That party adds up 2^d·n·k numbers, and nothing else of the work is in
          proportion to rows and columns. A level is a round, and where the party's bins split nodes one or a few more,
          by the number of rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import lwe as kernels
from mpc.rng import Rng
from mpc.session import Session, at_once, closing_on_error
from mpc.wire.learning.v1 import boosting_pb2 as wire
from protocols.learning import boosting_terms, gradients, membership, splits, strict_boosting, trees
from protocols.learning.binned import Binned
from protocols.learning.boosting_terms import Fitted, Keep, Method, Point, Reals, Task, Terms, Training
from protocols.learning.checkpoint import Checkpoint
from protocols.learning.trees import Inner, Leaf, OwnNode, PartTree, Shape
from protocols.matvec import ideal_lwe, lwe
from protocols.operator import Operator

__all__ = ["OPERATOR", "Checkpoint", "Fitted", "Training", "fit"]

OPERATOR = Operator(
    name="learning.boosting",
    version=boosting_terms.VERSION,
    title="Boosted trees on the columns of several parties, each of which keeps its own splits; the label party leads",
    learns={
        "label_party": (
            "how many rows; of each party how many columns, how many bins each has, and which are for missing values",
            "of each node that may be split the sums of gradients and hessians in each bin, to 16 bits of their sizes",
            "by number the column and the bin of each split, and whose it is; of each row the way through each tree",
        ),
        "feature_party": (
            "how many rows; of each party how many columns, how many bins each has, and which are for missing values",
            "how many rounds; of each tree its own splits, on which level they are and which lie below which",
        ),
    },
)
"""Of mode ``standard``; what parties learn in mode ``strict`` says ``strict_boosting``."""

T = TypeVar("T")
Words = NDArray[np.uint32]
Rows = NDArray[np.int32]

_RANGE = float(1 << 32)
_USED = 0.97  # of the range of 32 bits: the rest is for the noise of products
_ROUNDED = 1 << 16  # the lower half of a word is not told
_HINTS: Mapping[Method, lwe.Method] = {"lwe": "transfers", "rlwe": "rlwe"}
_EXACT = 61  # own sums are of whole numbers, all together below 2^62
_TINY = 1e-200
_LANES = 32  # vectors at a time
_PIECE = 1 << 27  # bytes of them


def fit(
    session: Session,
    binned: Binned,
    labels: ArrayLike | None,
    *,
    label_party: str,
    training: Training | None = None,
    sample_weight: ArrayLike | None = None,
    suite: str = "intl",
    checkpoint: Checkpoint | None = None,
    progress: Callable[[int, int], None] | None = None,
    method: Method = "lwe",
) -> Fitted:
    """Train with the other parties of the session, all of which call this.

    Args:
        session: of this party, with a channel to each other party.
        binned: this party's columns as codes, the rows as at all other parties; the label party may have none.
        labels: (n,) at the label party, also of rows to validate on: classes 0, 1, …, numbers, or counts. None
            elsewhere.
        label_party: its name.
        training: settings, the same at all parties.
        sample_weight: (n,) not negative, at the label party; None for ones.
        suite: cipher suite.
        checkpoint: where to keep what a run that breaks off can be gone on with, after each round. The caller encrypts
            it: it holds this party's part of the model.
        progress: called with the rounds done and the most there can be; the session's is, too.
        method: of products: ``rlwe`` where the line is slow, which with many bins takes up to eight times fewer bytes
            and ten times longer. ``ideal`` makes them in the clear, for tests of what stands on this, and protects
            nothing.

    Returns:
        This party's part of the model.

    Raises:
        UsageError: input that cannot be trained on; the text says what to do.
        PeerError: another party has other rows, other settings or another program.
    """
    settings = training or Training()
    with closing_on_error(session, "training"):
        own = boosting_terms.task(session, binned, labels, sample_weight, label_party, settings)
        points = boosting_terms.points(checkpoint)
        terms = boosting_terms.agree(session, own, suite, method, boosting_terms.saved_rounds(points))
        point = None if terms.begun is None else points[terms.begun]
        if point is not None and checkpoint is not None:
            boosting_terms.require_same_training(point, terms, own)
            checkpoint.save(point.round, point.to_bytes())  # so that it is among the last two
        keep = Keep(session, own, terms, checkpoint, progress)
        if settings.privacy == "strict" and method == "rlwe":
            raise UsageError("method='rlwe' is for privacy='standard': use 'lwe'.")
        if settings.privacy == "strict":
            return strict_boosting.train(session, own, terms, point, keep)
        if session.me == label_party:
            return _label_party(session, own, terms, point, keep)
        return _feature_party(session, own, terms, point, keep)


def lanes(level: int) -> int:
    """Vectors of a level's product: g and h of the root, or of one child of each node that there could be above."""
    return 2 << max(0, level - 1)


def pieces(rows: int, level: int) -> Iterator[int]:
    """How many lanes at a time a level's products have, so that memory stays small with many rows."""
    most = max(2, min(_LANES, _PIECE // (4 * rows)) // 2 * 2)
    left = lanes(level)
    while left:
        yield min(most, left)
        left -= min(most, left)


def tree_bytes(rows: int, bins: int, told: Sequence[int]) -> int:
    """What a tree takes between the label party and a feature party, both ways, by method ``lwe``.

    Envelopes, of 128 bytes at most, come on top.

    Args:
        rows: n.
        bins: of the feature party's columns together.
        told: for each level how many of its nodes the feature party's columns split.
    """
    total = 0
    for level, count in enumerate(told):
        total += lanes(level) * (4 * rows + kernels.DIMENSION * (4 + 4 * bins) + 2 * bins)
        total += 14 * count + membership.told_bytes(rows, count)
    return total


# The label party ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Course:
    """How far a training is, at the label party.

    Attributes:
        margins: (n, outputs) of all rows.
        trees: its part of each tree.
        gains: of each tree's splits.
        history: metrics of rounds.
        key: of the draws of rows and columns.
        best: the round that the model ends with if there is no other, from 0 on.
        best_margins: (n, outputs) after that one, where it may not be the last.
    """

    margins: Reals
    trees: tuple[PartTree, ...]
    gains: tuple[tuple[float, ...], ...]
    history: tuple[tuple[float, float], ...]
    key: bytes = field(repr=False)
    best: int = -1
    best_margins: Reals | None = None


def _label_party(session: Session, own: Task, terms: Terms, point: Point | None, keep: Keep) -> Fitted:
    """The loop, where the labels are."""
    training, y, weights = own.training, own.labels, own.weights
    if y is None:
        raise AssertionError("the label party has labels")
    first = slice(own.trained)
    base = gradients.start(training, y[first], None if weights is None else weights[first])
    course = _begin(session, own, base, point)
    lead = _Lead.start(session, own, terms)
    while more := _more(training, course):
        _tell_round(session, more=more)
        g, h = gradients.gradients(training, course.margins, y, weights)  # 1
        margins, grown = course.margins.copy(), []
        for k in range(training.outputs):
            draw = _Draw(course.key, len(course.trees) + k)
            tree = _grow(lead, g[k], h[k], draw)  # 2 to 6
            for rows, weight in tree.leaves:  # 7
                margins[rows, k] += weight
            grown.append(tree)
        course = _after(own, course, margins, grown)
        _save(keep, course)
    rounds = course.best + 1
    _tell_round(session, more=False, rounds=rounds)
    margins = course.margins if course.best_margins is None else course.best_margins
    return Fitted(
        trees=course.trees[: rounds * training.outputs],
        base_score=base,
        margins=margins if training.num_class else margins[:, 0],
        history=course.history,
        best_iteration=course.best,
        gains=course.gains[: rounds * training.outputs],
        rounds=rounds,
        run=terms.run,
        learned=OPERATOR.learns["label_party"],
    )


def _tell_round(session: Session, *, more: bool, rounds: int = 0) -> None:
    for channel in session.channels.values():
        channel.send(wire.BoostingRound(more=more, rounds=rounds))


def _more(training: Training, course: _Course) -> bool:
    done, patience = len(course.history), training.early_stopping_rounds
    return done < training.n_estimators and (patience is None or done - 1 - course.best < patience)


def _after(own: Task, course: _Course, margins: Reals, grown: Sequence[_Tree]) -> _Course:
    """The course after a round, with its metrics."""
    training, y, weights = own.training, own.labels, own.weights
    if y is None:
        raise AssertionError("the label party has labels")
    first, last = slice(own.trained), own.validated
    measured = [
        gradients.metric(training, margins[rows], y[rows], None if weights is None else weights[rows])
        for rows in (first, last)
    ]
    course = replace(
        course,
        margins=margins,
        trees=(*course.trees, *(tree.part for tree in grown)),
        gains=(*course.gains, *(tree.gains for tree in grown)),
        history=(*course.history, (measured[0], measured[1])),
    )
    newest = len(course.history) - 1
    if training.early_stopping_rounds is None:
        return replace(course, best=newest)
    if course.best < 0 or measured[1] < course.history[course.best][1]:
        return replace(course, best=newest, best_margins=margins)
    return course


@dataclass(frozen=True)
class _Lead:
    """What the label party has open with each feature party that has columns.

    Attributes:
        session: of this party.
        own: what it brings.
        terms: agreed on.
        owner: of the vectors of products; None where only this party has columns.
        choosers: by name, its side of the transfers of membership.
        layouts: by name, of all parties that have columns, this one first.
    """

    session: Session
    own: Task
    terms: Terms
    owner: lwe.Owner | ideal_lwe.Owner | None
    choosers: Mapping[str, membership.Chooser]
    layouts: Mapping[str, splits.Layout]

    @staticmethod
    def start(session: Session, own: Task, terms: Terms) -> _Lead:
        """Set up with all of them."""
        suite = suites.get(terms.suite)
        channels = {name: session.channel(name) for name in terms.holders}
        rng = session.rng.fork()
        owner: lwe.Owner | ideal_lwe.Owner | None = None
        if channels and terms.method == "ideal":
            owner = ideal_lwe.start_owner(channels, terms.rows, suite=suite, rng=rng)
        elif channels:
            owner = lwe.start_owner(channels, terms.rows, method=_HINTS[terms.method], suite=suite, rng=rng)
        choosers = {
            name: membership.start_chooser(channel, suite=suite, rng=session.rng.fork())
            for name, channel in channels.items()
        }
        for name, m in ({} if owner is None else owner.bins).items():
            channels[name].require(m == terms.columns[name].bins, "a product of the columns that were told")
        owners = (session.me, *terms.holders)
        return _Lead(
            session, own, terms, owner, choosers, {name: splits.Layout.of(terms.columns[name]) for name in owners}
        )


@dataclass(frozen=True)
class _Histogram:
    """Of a node, in the columns of each party by name.

    Attributes:
        sums: (2, m) of gradients and of hessians.
        blur: how far a bin's sum of hessians may be off.
    """

    sums: Mapping[str, Reals]
    blur: Mapping[str, float]

    def less(self, child: _Histogram) -> _Histogram:
        """Of the other child of this node."""
        return _Histogram(
            {name: sums - child.sums[name] for name, sums in self.sums.items()},
            {name: blur + child.blur[name] for name, blur in self.blur.items()},
        )


@dataclass(frozen=True)
class _Node:
    """A node while its tree grows.

    Attributes:
        place: its number in the heap.
        rows: (r,) increasing: all that reach it, also those that the tree is not trained on.
        trained: how many of them the tree is trained on.
        total: (2,) sums of gradients and hessians of these.
        histogram: where it may be split.
    """

    place: int
    rows: Rows
    trained: int
    total: Reals
    histogram: _Histogram | None = None

    def may_split(self, training: Training) -> bool:
        """Whether there is enough of it for two children."""
        hessians = float(self.total[1])
        return self.trained >= training.minimum_rows and hessians > 0 and hessians >= 2 * training.min_child_weight


@dataclass(frozen=True)
class _Split:
    """Where a node is split; of what a column or a bin is, see ``OwnNode``."""

    node: _Node
    gain: float
    owner: str
    column: int
    bin: int
    missing_left: bool


@dataclass(frozen=True)
class _Tree:
    """A tree that was grown: this party's part, gains of its splits in the order of the shape, rows of its leaves."""

    part: PartTree
    gains: tuple[float, ...]
    leaves: Sequence[tuple[Rows, float]]


def _grow(lead: _Lead, g: Reals, h: Reals, draw: _Draw) -> _Tree:
    """A tree for gradients g and hessians h, (n,) each; those of rows not trained on count for nothing."""
    training, table = lead.own.training, lead.terms.rows
    counted = draw.rows(table, lead.own.trained, training.subsample)
    v = _Vectors.of(g, h, counted)
    usable = draw.columns(
        {name: len(lead.terms.columns[name].sizes) for name in lead.layouts}, training.colsample_bytree
    )
    root = v.node(0, np.arange(table, dtype=np.int32))
    book = _Book(draw.order(training.max_depth), leaves={0: root})
    families: list[tuple[_Node | None, list[_Node]]] = [(None, [root])]
    for depth in range(training.max_depth):
        nodes = _looked_at(lead, depth, families, v)  # 2 to 4
        chosen = _choose_splits(lead, nodes, usable)  # 5
        sides = _divide(lead, book, chosen)  # 6
        families = []
        for split, left in zip(chosen, sides, strict=True):
            rows, place = split.node.rows, split.node.place
            children = [v.node(2 * place + 1, rows[left]), v.node(2 * place + 2, rows[~left])]
            families.append((split.node, children))
            book.divided(training, split, children)
    return book.tree(training, lead.session.me)


@dataclass(frozen=True)
class _Vectors:
    """What trees are made of, as a tree is trained on it.

    Attributes:
        pair: (2, n) gradients and hessians.
        counted: (n,) which rows it is trained on, None for all; those of others are zero.
        exact: (n, 2) the same as whole numbers, of which no sum is above 2^62 in size.
        units: (2,) what these are multiples of, inverted.
    """

    pair: Reals
    counted: NDArray[np.bool_] | None
    exact: NDArray[np.int64]
    units: Reals

    @staticmethod
    def of(g: Reals, h: Reals, counted: NDArray[np.bool_] | None) -> _Vectors:
        """Those of all rows, (n,) each."""
        pair = np.stack((g, h))
        if counted is not None:
            pair *= counted
        sizes = np.abs(pair).sum(axis=1)
        units = np.ldexp(1.0, _EXACT - np.frexp(np.maximum(sizes, _TINY))[1])
        exact = np.ascontiguousarray(np.rint(pair * units[:, None]).astype(np.int64).T)
        return _Vectors(pair, counted, exact, units)

    def node(self, place: int, rows: Rows) -> _Node:
        """The node of these rows."""
        trained = len(rows) if self.counted is None else int(np.count_nonzero(self.counted[rows]))
        return _Node(place, rows, trained, np.array([values[rows].sum() for values in self.pair]))


def _looked_at(
    lead: _Lead, depth: int, families: Sequence[tuple[_Node | None, list[_Node]]], v: _Vectors
) -> list[_Node]:
    """The nodes of a level that may be split, with histograms.

    Where both children of a node may, the smaller one's is a product, and the other one's what their parent has more.
    The histogram of a node that may not be split is of no use, and would tell more of its rows the fewer they are.
    """
    training = lead.own.training
    families = [(parent, [child for child in children if child.may_split(training)]) for parent, children in families]
    families = [family for family in families if family[1]]
    asked = [min(children, key=lambda child: len(child.rows)) for _, children in families]
    histograms = _histograms(lead, depth, asked, v)
    nodes = []
    for (parent, children), small, histogram in zip(families, asked, histograms, strict=True):
        for child in children:
            if child is small:
                nodes.append(replace(child, histogram=histogram))
            elif parent is not None and parent.histogram is not None:
                nodes.append(replace(child, histogram=parent.histogram.less(histogram)))
    return nodes


def _histograms(lead: _Lead, depth: int, nodes: Sequence[_Node], v: _Vectors) -> list[_Histogram]:
    """Histograms of nodes, of which there are at most as many as the level's lanes have room for."""
    me, done = lead.session.me, 0
    found: list[_Histogram] = []
    for width in pieces(lead.terms.rows, depth):
        now = nodes[done : done + width // 2]
        done += width // 2
        words, scales = np.zeros((lead.terms.rows, width), dtype=np.uint32), []
        for i, node in enumerate(now):
            for j in range(2):
                scaled, scale = _Scale.of(v.pair[j][node.rows])
                words[node.rows, 2 * i + j] = scaled
                scales.append(scale)
        shares = {} if lead.owner is None else lead.owner.products(words)  # 3
        del words
        sums: dict[str, list[Reals]] = {me: _own_sums(lead, now, v)}  # 4
        for name in lead.terms.holders:
            channel = lead.session.channel(name)
            _, upper = channel.recv(wire.BoostingHistograms)
            share = shares[name]
            channel.require(upper.shape == share.shape, "the upper half of each share")
            opened = share + (upper.astype(np.uint32) << 16) + np.uint32(_ROUNDED // 2)
            layout = lead.layouts[name]
            sums[name] = []
            for i, node in enumerate(now):
                pair = np.stack([scales[2 * i + j].read(opened[:, 2 * i + j]) for j in range(2)])
                # A column's bins have together what the node has, which is known exactly.
                sums[name].append(pair + (node.total[:, None] - layout.shared(pair)) / layout.width)
        for i in range(len(now)):
            blur = dict.fromkeys(lead.terms.holders, _ROUNDED / scales[2 * i + 1].factor)
            found.append(_Histogram({name: pairs[i] for name, pairs in sums.items()}, {me: 0.0, **blur}))
    return found


@dataclass(frozen=True)
class _Scale:
    """How numbers are words modulo 2^32, so that every sum of some of them can be read.

    Attributes:
        factor: what they are multiplied by.
        lowest: the word of the lowest sum there can be, noise counted, as a negative number.
    """

    factor: float
    lowest: int

    @staticmethod
    def of(values: Reals) -> tuple[Words, _Scale]:
        """(n,) numbers as words, and how."""
        size = float(np.abs(values).sum())
        if not size:
            return np.zeros(len(values), dtype=np.uint32), _Scale(math.inf, 0)  # every word is read as 0
        factor = _USED * _RANGE / size
        low = float(np.minimum(values, 0.0).sum()) * factor
        scaled = np.rint(values * factor).astype(np.int64).astype(np.uint32)  # modulo 2^32
        return scaled, _Scale(factor, math.floor(low - (1 - _USED) / 2 * _RANGE))

    def read(self, words: Words) -> Reals:
        """(m,) sums of numbers, from their words."""
        above = words - np.uint32(self.lowest % (1 << 32))  # modulo 2^32
        return (above.astype(np.float64) + self.lowest) / self.factor


def _own_sums(lead: _Lead, nodes: Sequence[_Node], v: _Vectors) -> list[Reals]:
    """(2, m) of each node: sums of gradients and hessians in each bin of this party's columns."""
    binned = lead.own.binned
    sizes = binned.sizes.tolist()
    return [kernels.sums(binned.codes, v.exact, sizes, rows=node.rows).T / v.units[:, None] for node in nodes]


def _choose_splits(lead: _Lead, nodes: Sequence[_Node], usable: Mapping[str, NDArray[np.bool_]]) -> list[_Split]:
    """The best split of each node that has one which is worth it."""
    training = lead.own.training
    if not nodes:
        return []
    total = np.stack([node.total for node in nodes])  # (nodes, 2)
    found: dict[str, splits.Best] = {}
    for name, layout in lead.layouts.items():
        histograms = [node.histogram for node in nodes if node.histogram is not None]
        g, h = (np.stack([one.sums[name][j] for one in histograms]) for j in range(2))
        blur = np.array([one.blur[name] for one in histograms])
        found[name] = splits.best(training, layout, g, h, total[:, 0], total[:, 1], usable=usable[name], blur=blur)
    chosen = []
    for i, node in enumerate(nodes):
        owner = max(found, key=lambda name: found[name].gain[i])  # the first of equal ones
        best = found[owner]
        gain = float(best.gain[i])
        if gain > splits.LEAST_GAIN and gain >= training.gamma:
            chosen.append(_Split(node, gain, owner, int(best.column[i]), int(best.bin[i]), bool(best.missing_left[i])))
    return chosen


def _divide(lead: _Lead, book: _Book, chosen: Sequence[_Split]) -> list[NDArray[np.bool_]]:
    """Which of its rows go to the left, of each node that is split."""
    told = book.enter(chosen)
    left: dict[int, NDArray[np.bool_]] = {}
    binned = lead.own.binned
    absent = trees.missing_codes(binned.sizes, binned.missing)
    for one in told.get(lead.session.me, ()):
        here = slice(one.column, one.column + 1)
        node = OwnNode(-1, False, 0, one.bin, one.missing_left)
        left[one.node.place] = trees.goes_left(node, binned.codes[one.node.rows, here], absent[here])

    def ask(channel: Channel, _: Rng) -> NDArray[np.bool_]:
        mine = told.get(channel.peer, [])
        above = [book.above(one.node.place, channel.peer) for one in mine]
        channel.send(
            wire.BoostingSplits(),
            np.array([parent for parent, _ in above], dtype=np.int32),
            np.array([side for _, side in above], dtype=np.uint8),
            np.array([one.column for one in mine], dtype=np.uint32),
            np.array([one.bin for one in mine], dtype=np.uint32),
            np.array([one.missing_left for one in mine], dtype=np.uint8),
        )
        choices = np.zeros(lead.terms.rows, dtype=np.uint8)
        for number, one in enumerate(mine):
            choices[one.node.rows] = number + 1
        return membership.choose(lead.choosers[channel.peer], choices, len(mine))

    for name, sides in _with_each(lead.session, lead.terms.holders, ask):
        for one in told.get(name, ()):
            left[one.node.place] = sides[one.node.rows]
    return [left[split.node.place] for split in chosen]


def _with_each(session: Session, peers: Sequence[str], talk: Callable[[Channel, Rng], T]) -> Iterator[tuple[str, T]]:
    """Hold a conversation with each of some peers, at once where there are several."""
    if len(peers) > 1:
        yield from at_once(session, peers, talk)
    else:
        for name in peers:
            yield name, talk(session.channel(name), session.rng)


@dataclass
class _Book:
    """What is written down of a tree while it grows.

    Attributes:
        order: of each place in the heap a number at random, by which equal splits of an owner are ordered.
        owners: of each inner node, by number in the heap, whose it is and its number among the owner's.
        nodes: of each owner its nodes.
        gains: of each inner node, by number in the heap, what the split gained.
        covers: likewise, its sum of hessians.
        leaves: of the nodes that were not split, by number in the heap.
    """

    order: NDArray[np.int64]
    owners: dict[int, tuple[str, int]] = field(default_factory=dict)
    nodes: dict[str, list[OwnNode]] = field(default_factory=dict)
    gains: dict[int, float] = field(default_factory=dict)
    covers: dict[int, float] = field(default_factory=dict)
    leaves: dict[int, _Node] = field(default_factory=dict)

    def above(self, place: int, owner: str) -> tuple[int, bool]:
        """The nearest node above that is the owner's, by its number among them or -1, and the side."""
        while place:
            left, place = place % 2 == 1, (place - 1) // 2
            if self.owners[place][0] == owner:
                return self.owners[place][1], left
        return -1, False

    def enter(self, level: Sequence[_Split]) -> dict[str, list[_Split]]:
        """Number a level's splits among their owners' nodes; by owner, in that order.

        The order says nothing of the tree but what the owner is told anyway.
        """
        told: dict[str, list[_Split]] = {}
        for split in level:
            told.setdefault(split.owner, []).append(split)
        for owner, mine in told.items():
            above = {one.node.place: self.above(one.node.place, owner) for one in mine}
            mine.sort(
                key=lambda one: (
                    above[one.node.place],
                    one.column,
                    one.bin,
                    one.missing_left,
                    self.order[one.node.place],
                )
            )
            own = self.nodes.setdefault(owner, [])
            for one in mine:
                self.owners[one.node.place] = (owner, len(own))
                own.append(OwnNode(*above[one.node.place], one.column, one.bin, one.missing_left))
        return told

    def divided(self, training: Training, split: _Split, children: Sequence[_Node]) -> None:
        """A node has these children, whose sums are exact now."""
        place = split.node.place
        g, h = (np.array([split.node.total[j], *(child.total[j] for child in children)]) for j in range(2))
        whole, *parts = splits.score(training, g, h)
        self.gains[place], self.covers[place] = float(sum(parts) - whole), float(h[0])
        self.leaves.pop(place)
        self.leaves.update({child.place: child for child in children})

    def tree(self, training: Training, me: str) -> _Tree:
        """What has grown."""
        places = sorted(self.leaves)
        g, h = (np.array([self.leaves[place].total[j] for place in places]) for j in range(2))
        weights = [float(w) for w in splits.weight(training, g, h) * training.learning_rate]
        shape = Shape(
            inner=tuple(Inner(place, *self.owners[place]) for place in sorted(self.owners)),
            leaves=tuple(Leaf(place, weight) for place, weight in zip(places, weights, strict=True)),
        )
        mine = {number: place for place, (owner, number) in self.owners.items() if owner == me}
        order = [mine[number] for number in range(len(mine))]
        part = PartTree(
            own=tuple(self.nodes.get(me, ())),
            shape=shape,
            gains=tuple(self.gains[place] for place in order),
            covers=tuple(self.covers[place] for place in order),
        )
        gains = tuple(self.gains[one.node] for one in shape.inner)
        return _Tree(part, gains, [(self.leaves[place].rows, w) for place, w in zip(places, weights, strict=True)])


@dataclass(frozen=True)
class _Draw:
    """The rows and columns of a tree.

    Attributes:
        key: of the training's draws.
        tree: its number.
    """

    key: bytes = field(repr=False)
    tree: int

    def rows(self, table: int, trained: int, part: float) -> NDArray[np.bool_] | None:
        """(n,): which rows the tree is trained on; None for all."""
        if trained == table and part == 1.0:
            return None
        counted = np.zeros(table, dtype=np.bool_)
        drawn = self._rng(b"rows").uint8(trained, 4).view("<u4")[:, 0]
        counted[:trained] = drawn < part * _RANGE
        return counted

    def columns(self, parties: Mapping[str, int], part: float) -> dict[str, NDArray[np.bool_]]:
        """By party which of its columns the tree may split; of all together one at least."""
        count = sum(parties.values())
        usable = np.ones(count, dtype=np.bool_)
        if part < 1.0:
            usable[self._rng(b"columns").permutation(count)[max(1, int(part * count)) :]] = False
        ends = np.cumsum(list(parties.values()))
        return {name: usable[end - k : end] for (name, k), end in zip(parties.items(), ends, strict=True)}

    def order(self, depth: int) -> NDArray[np.int64]:
        """(2^depth - 1,) of each place that an inner node can have a different number."""
        return self._rng(b"order").permutation((1 << depth) - 1)

    def _rng(self, what: bytes) -> Rng:
        return Rng.from_seed(b"unseen boosting draw of " + what + self.tree.to_bytes(4, "little") + self.key)


def _begin(session: Session, own: Task, base: float, point: Point | None) -> _Course:
    """Where the training begins, or goes on."""
    if point is None:
        seed = own.training.seed
        key = session.rng.bytes(32) if seed is None else hashlib.sha256(b"unseen boosting seed %d" % seed).digest()
        return _Course(np.full((own.binned.rows, own.training.outputs), base), (), (), (), key)
    state = point.state
    return _Course(
        margins=point.arrays["margins"],
        trees=_trees(state),
        gains=tuple(tuple(tree) for tree in state["gains"]),
        history=tuple((train, math.nan if last is None else last) for train, last in state["history"]),
        key=bytes.fromhex(state["key"]),
        best=int(state["best"]),
        best_margins=point.arrays.get("best_margins"),
    )


def _save(keep: Keep, course: _Course) -> None:
    best = {} if course.best_margins is None else {"best_margins": course.best_margins}
    state = {
        "trees": [trees.to_json(tree) for tree in course.trees],
        "gains": [list(tree) for tree in course.gains],
        "history": [[train, None if math.isnan(last) else last] for train, last in course.history],
        "key": course.key.hex(),
        "best": course.best,
    }
    keep(len(course.history), state, margins=course.margins, **best)


def _trees(state: Mapping[str, Any]) -> tuple[PartTree, ...]:
    return tuple(trees.from_json(tree) for tree in state["trees"])


# A feature party ------------------------------------------------------------------------------------------------------


def _feature_party(session: Session, own: Task, terms: Terms, point: Point | None, keep: Keep) -> Fitted:
    """The loop, where columns are and no labels."""
    training, channel = own.training, session.channel(terms.label_party)
    grown = () if point is None else _trees(point.state)
    follow = _Follow.start(channel, own, terms, session.rng) if session.me in terms.holders else None
    while (order := channel.recv(wire.BoostingRound)[0]).more:
        done = len(grown) // training.outputs
        channel.require(done < training.n_estimators, "no more rounds than agreed on")
        grown += tuple(PartTree(()) if follow is None else _follow_tree(follow) for _ in range(training.outputs))
        keep(done + 1, {"trees": [trees.to_json(tree) for tree in grown]})
    done = len(grown) // training.outputs
    channel.require(order.rounds <= done and (order.rounds > 0) == (done > 0), "a model of rounds that were trained")
    rounds = int(order.rounds)
    return Fitted(
        trees=grown[: rounds * training.outputs],
        base_score=None,
        margins=None,
        history=(),
        best_iteration=rounds - 1,
        gains=(),
        rounds=rounds,
        run=terms.run,
        learned=OPERATOR.learns["feature_party"],
    )


@dataclass(frozen=True)
class _Follow:
    """What a feature party has open with the label party.

    Attributes:
        channel: to it.
        own: what this party brings.
        rows: of the table.
        holder: of the matrix of products.
        teller: its side of the transfers of membership.
    """

    channel: Channel
    own: Task
    rows: int
    holder: lwe.Holder | ideal_lwe.Holder
    teller: membership.Teller

    @staticmethod
    def start(channel: Channel, own: Task, terms: Terms, rng: Rng) -> _Follow:
        """Set up with the label party."""
        suite = suites.get(terms.suite)
        codes, sizes = own.binned.codes, own.binned.sizes.tolist()
        holder: lwe.Holder | ideal_lwe.Holder
        if terms.method == "ideal":
            holder = ideal_lwe.start_holder(channel, codes, sizes, suite=suite, rng=rng.fork())
        else:
            method = _HINTS[terms.method]
            holder = lwe.start_holder(channel, codes, sizes, method=method, suite=suite, rng=rng.fork())
        teller = membership.start_teller(channel, suite=suite, rng=rng.fork())
        return _Follow(channel, own, terms.rows, holder, teller)


def _follow_tree(follow: _Follow) -> PartTree:
    """This party's part of a tree: histograms where nodes are looked at, and sides of rows where they are split."""
    binned, own = follow.own.binned, list[OwnNode]()
    absent = trees.missing_codes(binned.sizes, binned.missing)
    for depth in range(follow.own.training.max_depth):
        for width in pieces(follow.rows, depth):
            share = follow.holder.products(width)  # 3
            follow.channel.send(wire.BoostingHistograms(), (share >> 16).astype(np.uint16))
        nodes = _told(follow.channel, binned, len(own), 1 << depth)  # 6
        left = np.array([trees.goes_left(node, binned.codes, absent) for node in nodes])
        membership.tell(follow.teller, left.reshape(len(nodes), follow.rows))
        own += nodes
    return PartTree(tuple(own))


def _told(channel: Channel, binned: Binned, above: int, most: int) -> list[OwnNode]:
    """The nodes that this party's columns split on a level, checked; `above` are above, and at most `most` here."""
    _, parent, left, column, last, missing_left = channel.recv(wire.BoostingSplits)
    channel.require(len(parent) <= most, "no more splits than there are nodes")
    channel.require(bool(((parent >= -1) & (parent < above)).all()), "nodes below those of levels above")
    channel.require(bool((left <= (parent >= 0)).all() and (missing_left <= 1).all()), "sides that are left or right")
    channel.require(bool((column < len(binned.sizes)).all()), "columns that this party has")
    channel.require(bool((last.astype(np.int64) + 1 < binned.sizes[column]).all()), "bins that split their columns")
    return [
        OwnNode(int(parent[i]), bool(left[i]), int(column[i]), int(last[i]), bool(missing_left[i]))
        for i in range(len(parent))
    ]
