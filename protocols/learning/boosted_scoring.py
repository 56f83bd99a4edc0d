"""Predictions of many rows by the parts of boosted trees: nobody learns another's thresholds, or a row's path.

    margin = base + Σ_trees Σ_leaves w · Π_parties [the row reaches the party's end above the leaf]

    scores   the margins open to the label party, one for each class
    grades   the margins stay in shares, are compared with the public cuts, and the outcomes open to the label party
    in_shares   nothing opens: the caller judges the margins as they are

Between two parties the label party gives and the other chooses (``leaf_sums``). With three and more each leaf of each
tree goes from one party to the next: the label party brings w · [its end], and whoever comes next takes, by a transfer
from everybody before it, shares of what they have where the row reaches its own end. Of a model whose leaves' weights
nobody has, the two that share them each do this with their share.

Security: semi-honest, as ``leaf_sums``; several parties that join learn what each of them does. `grades` as
          protocols.arithmetic besides: of three parties that compute, no two join.
Leaks:    scores: to the label party the margins, and nothing else. A margin is the sum of one weight of each tree; who
          has the weights can find, where trees are few, which leaves they are of, and so on which sides of the others'
          nodes the row lies. With the leaves in shares it cannot. grades: to it the grade. To the others: how many rows
          and trees there are. With three parties and more, each other party also learns how many leaves each tree has,
          and under which of its own ends each leaf lies. All parties name the model, the training and the roles, and to
          the label party how many nodes of each tree are theirs, which it knows.
Cost:     two parties: of ``leaf_sums``, and 8 bytes a row and class where scores open. Three parties and more: a
          transfer, 12 bytes, for each row, leaf and pair of parties. grades: of ``scoring.grades``. Weights in shares:
          twice the transfers.
Exact:    of ``leaf_sums``: (T + 1) 2^-31 of T trees, with shares twice that besides what training rounded. A grade is
          that of a sum within this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc import fixed
from mpc import suite as suites
from mpc.errors import UsageError
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.wire.learning.v1 import boosted_pb2 as wire
from protocols.arithmetic import Computation, Shared
from protocols.arithmetic import party as arithmetic
from protocols.learning import leaf_sums, scoring, trees
from protocols.learning.boosted import BoostedPart, Coded
from protocols.learning.columns import Table
from protocols.learning.leaf_sums import Chooser, Giver, Words
from protocols.learning.scoring import Grades, Sums
from protocols.learning.trees import LEAF_FRACTION
from protocols.ot.correlations import CotReceiver

VERSION = 1
MAX_LEAVES = 1 << trees.MAX_DEPTH
"""Most leaves of a tree."""

_OWN = ("shared",)


def scores(
    session: Session, part: BoostedPart, table: Table, *, rows: int | None = None, suite: str = "intl"
) -> Sums | None:
    """Open each row's margins to the label party. Called by each party of the model.

    Args:
        session: with a channel to each other party of the model.
        part: this party's.
        table: n rows with this party's columns, in the order that all have them in.
        rows: n, where the table need not tell.
        suite: of the base transfers.

    Returns:
        (n,), or (n, classes), at the label party: ``part.probability`` says what they mean. None at the others.

    Raises:
        UsageError: columns that are not those of training; parties that are not of this session.
        PeerError: another party has other rows, or a part of another model, training or version.
    """
    run = _start(session, part, table, rows, (), suite)
    share = _shares(run)
    if session.me != part.label_party:
        session.channel(part.label_party).send(wire.BoostedShares(), np.ascontiguousarray(share.T))
        return None
    for peer in run.peers:
        channel = session.channel(peer)
        _, words = channel.recv(wire.BoostedShares, max_bytes=8 * max(share.size, 1))
        channel.require(words.shape == share.T.shape, "a share of each margin of each row")
        share = share + words.T
    margins = scoring.opened(session.channel(run.peers[0]), share.T)
    return margins[:, 0] if part.classes == 1 else margins


def grades(
    session: Session,
    part: BoostedPart,
    table: Table,
    *,
    cuts: Sequence[float],
    rows: int | None = None,
    suite: str = "intl",
) -> Grades | None:
    """Open each row's grade to the label party, and nothing else. Called by each party of the model.

    Args:
        session: with a channel to each other party of the model.
        part: this party's, of a model with one margin.
        table: n rows with this party's columns, in the order that all have them in.
        cuts: where one grade ends and the next begins, increasing, in units of the margin; the same at all parties.
        rows: n, where the table need not tell.
        suite: of the base transfers.

    Returns:
        (n,) int64 at the label party: how many of the cuts are not above the margin. None at the others.

    Raises:
        UsageError: as for ``scores``; cuts that ``scoring.check_cuts`` refuses; a model of several classes.
        PeerError: as for ``scores``; other cuts.
    """
    scoring.check_cuts(cuts)
    part.require_one_margin()
    run = _start(session, part, table, rows, cuts, suite)
    with _in_shares(run) as found:
        if found is None:
            return None
        computation, words = found
        return scoring.graded_words(computation, words, asker=part.label_party, cuts=cuts)


@contextmanager
def in_shares(
    session: Session, part: BoostedPart, table: Table, *, rows: int | None = None, suite: str = "intl"
) -> Iterator[tuple[Computation, Shared] | None]:
    """Each row's margin in shares, to be judged or compared without being opened. Called by each party of the model.

    Args:
        session: with a channel to each other party of the model.
        part: this party's, of a model with one margin.
        table: n rows with this party's columns, in the order that all have them in.
        rows: n, where the table need not tell.
        suite: of the base transfers.

    Yields:
        A computation, and (n,) margins in it, at the label party and at the first one or two of the others, by name;
        None at the rest.

    Raises:
        UsageError: as for ``grades``.
        PeerError: as for ``scores``.
    """
    part.require_one_margin()
    with _in_shares(_start(session, part, table, rows, (), suite)) as found:
        if found is None:
            yield None
        else:
            computation, words = found
            yield computation, computation.from_pieces(words, fraction=LEAF_FRACTION)


@contextmanager
def _in_shares(run: _Run) -> Iterator[tuple[Computation, Words] | None]:
    """(n,) shares of the margins at those who compute, and their computation."""
    session, asker = run.session, run.part.label_party
    share = _shares(run)[0]
    # Two or three compute; the rest split their shares between the first two, who learn nothing of them.
    compute, outside = (asker, *run.peers_of(asker)[:2]), run.peers_of(asker)[2:]
    if session.me in outside:
        mask = session.rng.uint64(len(share))
        for peer, words in zip(compute[:2], (mask, share - mask), strict=True):
            session.channel(peer).send(wire.BoostedSplit(), words)
        yield None
        return
    for peer in outside if session.me in compute[:2] else ():
        channel = session.channel(peer)
        _, words = channel.recv(wire.BoostedSplit, max_bytes=8 * max(len(share), 1))
        channel.require(len(words) == len(share), "a share of each row's margin")
        share = share + words
    join = arithmetic.two_party if len(compute) == 2 else arithmetic.three_party
    with join(session, compute=compute, inputs=(), suite=run.suite.name, fraction=LEAF_FRACTION) as computation:
        yield computation, share


# A batch --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """What one party knows of a batch when all have agreed.

    Attributes:
        session, part, coded, suite: of this party.
        givers: who has weights of leaves, or shares of them; the label party first.
    """

    session: Session = field(repr=False)
    part: BoostedPart = field(repr=False)
    coded: Coded = field(repr=False)
    suite: Suite = field(repr=False)
    givers: tuple[str, ...]

    @property
    def peers(self) -> tuple[str, ...]:
        """The other parties, sorted."""
        return self.peers_of(self.session.me)

    def peers_of(self, party: str) -> tuple[str, ...]:
        """The others as that party sees them."""
        return tuple(name for name in self.part.parties if name != party)


def _start(
    session: Session, part: BoostedPart, table: Table, rows: int | None, cuts: Sequence[float], suite: str
) -> _Run:
    """Code the rows, and agree with everybody on what is to be done."""
    if session.me != part.party:
        raise UsageError(f"This is the part of {part.party}, and the session that of {session.me}.")
    names = scoring.names_of(session, part.parties, part.label_party)
    coded = part.coded(table, rows=rows)
    if len(coded) > scoring.MAX_ROWS:
        raise UsageError(f"Score at most {scoring.MAX_ROWS} rows at a time: go in parts.")
    mine = wire.BoostedBatch(
        version=VERSION,
        rows=len(coded),
        parties=names,
        label_party=part.label_party,
        model=part.model,
        training=part.training,
        trees=len(part.trees),
        classes=part.classes,
        cuts=cuts,
        shared=part.shared,
    )
    peers = [name for name in names if name != session.me]
    # How many nodes a party has, and where, is for the label party alone, which knows and compares.
    leads = session.me == part.label_party
    for peer in peers:
        told = part.nodes if peer == part.label_party else part.nodes[:0]
        session.channel(peer).send(mine, told.astype(np.uint32))
    shared = {session.me: part.shared}
    for peer in peers:
        channel = session.channel(peer)
        theirs, counts = channel.recv(wire.BoostedBatch)
        arithmetic.require_same(channel, mine, theirs, without=_OWN)
        channel.require(len(counts) == leads * len(part.trees), "a number of nodes for each tree, to the label party")
        channel.require(
            not leads or counts.tolist() == _counted(part, peer),
            "as many nodes in each tree as this party knows of: is its part of the same training?",
        )
        shared[peer] = theirs.shared
    givers = (part.label_party, *(name for name in names if shared[name] and name != part.label_party))
    if len(givers) != (2 if shared[part.label_party] else 1):
        raise UsageError(
            "The weights of leaves are in shares of the label party and one other, or all the label party's: "
            f"here {', '.join(name for name in names if shared[name]) or 'nobody'} has shares. Are the parts of one "
            "training?"
        )
    return _Run(session, part, coded, suites.get(suite), givers)


def _counted(part: BoostedPart, party: str) -> list[int]:
    return [leaf_sums.shape_of(tree).count_of(party) for tree in part.trees]


def _shares(run: _Run) -> Words:
    """(classes, n): this party's share of the margins. All parties' add up to them, modulo 2^64."""
    part, n = run.part, len(run.coded)
    total = np.zeros((part.classes, n), dtype=np.uint64)
    if part.base_score is not None:
        total += fixed.encode(np.array([part.base_score]), LEAF_FRACTION)
    leaves = _leaves(run) if len(run.peers) > 1 else None
    for giver in run.givers:
        total += _between_two(run, giver) if leaves is None else _in_a_chain(run, giver, leaves)
    return total


def _between_two(run: _Run, giver: str) -> Words:
    """(classes, n): this party's share of the sum of one giver's leaves."""
    session, part, coded, n = run.session, run.part, run.coded, len(run.coded)
    (peer,) = run.peers
    channel, share = session.channel(peer), np.zeros((part.classes, n), dtype=np.uint64)
    if session.me == giver:
        give = leaf_sums.start_giver(channel, suite=run.suite, rng=session.rng)
        plan = leaf_sums.plan(part, peer)
        for rows in _blocks(session, n, sum(plan.counts)):
            share[:, rows] = leaf_sums.give_all(give, leaf_sums.offers(plan, coded.rows(rows)))
        return share
    choose = leaf_sums.start_chooser(channel, suite=run.suite, rng=session.rng)
    counts = leaf_sums.counts_by_class(part.nodes.tolist(), part.classes)
    asked = []
    for rows in _blocks(session, n, sum(counts)):
        # The next block's choices are on their way while the giver still works on this one's.
        asked.append((rows, choose.ask(leaf_sums.bits_of(part, coded.rows(rows)))))
        if len(asked) > 1:
            _take(choose, asked.pop(0), counts, share)
    for one in asked:
        _take(choose, one, counts, share)
    return share


def _take(choose: Chooser, asked: tuple[slice, CotReceiver], counts: tuple[int, ...], share: Words) -> None:
    rows, wanted = asked
    width = rows.stop - rows.start
    share[:, rows] = leaf_sums.sums(choose.take(wanted).reshape(sum(counts), width), counts)


def _blocks(session: Session, n: int, width: int) -> Iterator[slice]:
    """The rows in blocks, with so many transfers a row."""
    for rows in leaf_sums.in_blocks(n, width):
        session.progress(Progress("trees", rows.start, n))
        yield rows


# Three parties and more -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Leaves:
    """The leaves of all trees, class after class, as one party knows them.

    Attributes:
        grove: this party's nodes.
        ends: (leaves,) this party's end that each leaf is under.
        counts: how many leaves the trees of each class have.
    """

    grove: trees.Grove
    ends: NDArray[np.int64]
    counts: tuple[int, ...]

    def reached(self, coded: Coded) -> NDArray[np.bool_]:
        """(leaves, n): whether each row reaches each leaf, as far as this party's nodes say."""
        return self.grove.ends(coded.codes, coded.missing_code)[self.ends]


def _in_a_chain(run: _Run, giver: str, leaves: _Leaves) -> Words:
    """(classes, n): this party's share of the sum of one giver's leaves, which goes from party to party."""
    session, part, n = run.session, run.part, len(run.coded)
    order = (giver, *run.peers_of(giver))
    place, width = order.index(session.me), sum(leaves.counts)
    # All go through the pairs in one order, so that nobody waits for one who waits for it.
    gives: dict[str, Giver] = {}
    chooses: dict[str, Chooser] = {}
    for taker in order[1:]:
        for before in order[: order.index(taker)]:
            if session.me == before:
                gives[taker] = leaf_sums.start_giver(session.channel(taker), suite=run.suite, rng=session.rng)
            elif session.me == taker:
                chooses[before] = leaf_sums.start_chooser(session.channel(before), suite=run.suite, rng=session.rng)
    weights = None
    if session.me == giver:
        known = [leaf_sums.weights_of(leaf_sums.shape_of(tree)) for tree in part.by_class]
        weights = np.concatenate(known)[:, None]
    share = np.empty((part.classes, n), dtype=np.uint64)
    for rows in _blocks(session, n, width):
        reached = leaves.reached(run.coded.rows(rows))
        mine = np.zeros(reached.shape, dtype=np.uint64) if weights is None else weights * reached
        for taker in order[max(place, 1) :]:
            if taker == session.me:
                for before in order[:place]:
                    mine += chooses[before].choose(reached)
            else:
                mine = gives[taker].give(mine)
        share[:, rows] = leaf_sums.sums(mine, leaves.counts)
    return share


def _leaves(run: _Run) -> _Leaves:
    """Which leaves there are: the label party tells each other one under which of its ends they lie."""
    session, part = run.session, run.part
    own = part.by_class
    if session.me == part.label_party:
        shapes = [leaf_sums.shape_of(tree) for tree in own]
        numbers = np.array([len(shape.leaves) for shape in shapes], dtype=np.uint16)
        for peer in run.peers:
            told = np.concatenate([shape.leaf_ends(peer) for shape in shapes])
            session.channel(peer).send(wire.BoostedLeaves(), numbers, told.astype(np.uint16))
        ends = [shape.leaf_ends(session.me) for shape in shapes]
    else:
        channel = session.channel(part.label_party)
        _, numbers, told = channel.recv(wire.BoostedLeaves)
        good = len(numbers) == len(own) and bool(((numbers >= 1) & (numbers <= MAX_LEAVES)).all())
        channel.require(good and numbers.sum() == len(told), f"1 to {MAX_LEAVES} leaves of each tree, and their ends")
        ends = np.split(told.astype(np.int64), np.cumsum(numbers)[:-1])
        fits = all((one <= 2 * len(tree.own)).all() for tree, one in zip(own, ends, strict=True))
        channel.require(fits, "ends that this party's trees have")
        shapes = [tree.shape for tree in own if tree.shape is not None]
        same = all(np.array_equal(shape.leaf_ends(session.me), one) for shape, one in zip(shapes, ends, strict=False))
        channel.require(same, "the ends that this party knows of")
    counted = np.split(numbers.astype(np.int64), part.classes)
    numbered = np.concatenate([root + one for root, one in zip(part.grove.roots, ends, strict=False)])
    return _Leaves(part.grove, numbered, tuple(int(one.sum()) for one in counted))
