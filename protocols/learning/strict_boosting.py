"""Boosted trees of which only the trees come out: gradients, sums, memberships and gains stay in shares.

XGBoost's trees [Chen, Guestrin: XGBoost, KDD 2016], grown level by level. Two parties compute: the label party A and
one feature party F; they have shares, modulo 2^32, of all that is numbers of rows. Others only hold columns. Of a tree,
whose margins m are shared but for the first one, at which A alone knows them:

    1  g = p − y, h = p·(1 − p), p = σ(m), each times A's weight of the row; or g = m − y, h = 1      in shares
       for each level, with (g, h) of each of its nodes, zero for rows outside:
    2  histograms of each party's columns: its bins times (g, h) of the left child of each node that was split; the
       party that has a share multiplies it itself, by the other's it multiplies privately (``matvec.lwe``), in both
       directions at once; of the right child what is left of the parent's
    3  the best split of each node (``shared_splits``); open: whether a node is split and whose column splits it, and to
       that party alone which column and where
    4  of the node's owner, who knows for each row whether it goes left, p: (g, h) of the left child is p·(g, h), its
       own share locally, the other's by a transfer for each row (``arithmetic.selection``); the right child's the rest.
       An owner who holds no shares splits its p by XOR between the two who do
    5  leaf weights −η·G / (H + λ), in shares, or open to A
    6  what the tree adds to margins, from its leaves up: w_right + p·(w_left − w_right), by the same transfers

Related: Pivot [Wu et al., VLDB 2020] hides as much under threshold Paillier, Squirrel [Lu et al., USENIX Security 2023]
by transfers and RLWE; here a histogram costs its holder one addition for each row and column.

Security: semi-honest, and no two parties together: of protocols.matvec.lwe (module LWE), of the two-party engine of
          protocols.arithmetic and of ``selection``. What is in shares is uniform to each of the two.
Leaks:    to all: of each tree which nodes are split and whose columns split them, so also how many leaves; what
          ``boosting_terms`` tells; the number of rounds; if rows have weights, the power of two above the largest; if
          leaves are shared, the power of two above what linear targets differ by. Which rows and columns a tree is
          drawn from (``subsample``, ``colsample_bytree``).
          To a node's owner: its column, bin, and where missing values go. To A: the leaves' weights, unless they are
          shared; with ``validation_rows`` the mean loss of these rows after each round. No sum, no gradient, no node's
          rows, to nobody.
Error:    sums of gradients are multiples of 2^-f, n·2^f below 2^30. Products add to each bin the errors of all rows in
          it, as of ``matvec.lwe``: of 100,000 rows and 20 bins a standard deviation of 0.03, of a side's sum at most
          0.09, for one level; with five levels twice as much. Sides need hessians above three deviations of that. Leaf
          weights are made of exact sums. σ is off by 1e-4 at most, and hessians are raised by 2^-13 so that they stay
          positive. ``minimum_rows`` has no meaning here: nobody knows how many rows a node has, or learns its sums.
Cost:     of a tree in which s nodes are split, o of them by parties that do not compute, between A and F: for steps 4
          and 6 rows·(s + o)·(4 + 1/8 + 12) bytes (``bytes_of_sides``); for each level a product of matvec.lwe in either
          direction with two vectors for the root, or for each node split above; ``shared_splits`` of the level's nodes;
          and for each row a sigmoid, a product and four truncations. 100,000 rows, 10 + 10 columns of 20 bins, depth 5:
          0.31 GB and 850 rounds. Memory: some 40 bytes for each row and node of a level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc import sharing
from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import lwe as kernels
from mpc.rng import Rng
from mpc.session import Session
from mpc.wire.learning.v1 import boosting_pb2 as rounds_wire
from mpc.wire.learning.v1 import strict_boosting_pb2 as wire
from protocols import arithmetic
from protocols.arithmetic import Computation, InputParty, Shared
from protocols.arithmetic.selection import Chosen, Offered, Selection
from protocols.learning import gradients, shared_splits, trees
from protocols.learning.boosting_terms import Fitted, Keep, Point, Reals, Task, Terms, Training
from protocols.learning.products import all_at_once
from protocols.learning.shared_splits import Candidates, Rules, signed
from protocols.learning.trees import Inner, Leaf, OwnNode, PartTree, Shape
from protocols.matvec import ideal_lwe, lwe

VERSION = 1
FRACTION = 20
"""Fractional bits of margins and of leaf weights: margins are below 2^10 in size."""

_WEIGHT = 16  # fractional bits of rows' weights,
_LOSS = 16  # of what is squared for the loss,
_GRADIENT = 18  # and at most of gradients
_HESSIAN = 20  # and of hessians
_ROOM = 0.98 * 2.0**30  # sums of them are below it
_NODES = 16  # whose histograms are made at a time
_LEAST_GAIN = {"binary:logistic": 2.0**-10, "reg:squarederror": 2.0**-16}  # sums are not exact
_RAISED = 2.0**-13  # what is added to hessians
_MARGIN = 11  # margins are below 2^_MARGIN
_DEVIATIONS = 3.0  # of what products add, which hessians of a side exceed
_NOISE = 10.5  # variance of what products add to a word
_LARGEST_PENALTY = 2.0**14
_LEAST_VALIDATED = 20  # rows, whose leaves take several times the bits that their mean loss tells
_KEY = 32
_RANGE = float(1 << 32)

Words = NDArray[np.uint32]
Bits = NDArray[np.bool_]
Run = Computation | InputParty


def train(session: Session, own: Task, terms: Terms, point: Point | None, keep: Keep) -> Fitted:
    """Train with the other parties of the session, all of which call this when they have agreed (``boosting.fit``).

    Args:
        session: of this party.
        own: what it brings.
        terms: agreed on.
        point: where to go on; None for a new training.
        keep: called after each round. What is kept is as secret as shares.

    Returns:
        This party's part; all know the trees' shapes. ``margins`` are, at the two parties that compute, shares modulo
        2^32 of all rows' margins with ``FRACTION`` fractional bits, for linear targets without ``base_score`` and in
        units of the label party's own; None where trees after the best one were dropped. ``history`` has the root of
        the mean squared difference of labels and predictions, which for classes are probabilities.

    Raises:
        UsageError: settings that this mode has not.
        PeerError: another party does something else.
    """
    _require_settings(terms.training)
    start = _start(session, own, terms, point)
    with _opened(session, terms) as run:
        return _train(_Work.open(run, own, terms, start), point, keep)


def bytes_of_sides(rows: int, inside: int, outside: int) -> int:
    """What steps 4 and 6 of a tree take between the two parties, without envelopes and the rounding up of transfers.

    Args:
        rows: of the table.
        inside: nodes that are split by the parties that compute.
        outside: nodes that are split by others.
    """
    bits = rows * (inside + 2 * outside)
    return bits * (4 + 12) + -(-bits // 8)


def _require_settings(training: Training) -> None:
    if training.objective not in ("binary:logistic", "reg:squarederror"):
        raise UsageError(
            f"privacy='strict' trains binary:logistic and reg:squarederror, not {training.objective}: train a class "
            "against the others, or use privacy='standard'."
        )
    if training.reg_alpha or training.largest_step:
        raise UsageError(
            "privacy='strict' has no reg_alpha and no max_delta_step: set them to 0 and raise reg_lambda, or use "
            "privacy='standard'."
        )
    if 0 < training.validation_rows < _LEAST_VALIDATED:
        raise UsageError(
            f"With privacy='strict' validation_rows is 0 or at least {_LEAST_VALIDATED}: the mean loss of fewer rows "
            "would tell the label party in which leaves they are."
        )
    if training.reg_lambda > _LARGEST_PENALTY:
        raise UsageError(f"With privacy='strict' reg_lambda is at most {_LARGEST_PENALTY:.0f}.")


# What follows from the label party's input ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Start:
    """What the label party tells of its input.

    Attributes:
        weight_exponent: rows' weights are divided by 2^weight_exponent.
        target_exponent: and linear targets, if leaves are shared; 0 otherwise, when only the label party knows it.
        key: of the draws of rows and columns.
    """

    weight_exponent: int
    target_exponent: int
    key: bytes = field(repr=False)


def _weights(own: Task) -> Reals | None:
    """(n,) at the label party, ``scale_pos_weight`` included; None for ones."""
    positive = own.training.scale_pos_weight
    if own.labels is None or (own.weights is None and positive == 1.0):
        return None
    c = np.ones(len(own.labels)) if own.weights is None else own.weights
    return c * np.where(own.labels == 1, positive, 1.0) if positive != 1.0 else c


def _base(own: Task) -> float:
    if own.labels is None:
        raise AssertionError("the label party has labels")
    weights = None if own.weights is None else own.weights[: own.trained]
    return gradients.start(own.training, own.labels[: own.trained], weights)


def _unit(own: Task) -> int:
    """The power of two above what linear targets differ from the base by; 0 for classes."""
    if own.labels is None or own.training.objective == "binary:logistic":
        return 0
    largest = float(np.abs(own.labels - _base(own)).max())
    return math.frexp(largest)[1] if largest else 0


def _start(session: Session, own: Task, terms: Terms, point: Point | None) -> _Start:
    """Tell, or be told."""
    if session.me != terms.label_party:
        channel = session.channel(terms.label_party)
        (told,) = channel.recv(wire.StrictStart)
        channel.require(told.version == VERSION, f"version {VERSION} of strict boosting")
        channel.require(len(told.key) == _KEY, f"{_KEY} bytes for draws")
        channel.require(max(abs(told.weight_exponent), abs(told.target_exponent)) < 400, "weights of a size there is")
        return _Start(told.weight_exponent, told.target_exponent, told.key)
    weights = _weights(own)
    exponent = 0 if weights is None else math.frexp(float(weights.max()))[1]
    if point is not None:
        key = bytes.fromhex(point.state["key"])
    elif own.training.seed is not None:
        key = Rng.from_seed(f"unseen boosting draws {own.training.seed}".encode()).bytes(_KEY)
    else:
        key = session.rng.bytes(_KEY)
    start = _Start(exponent, _unit(own) if own.training.leaves == "shared" else 0, key)
    for channel in session.channels.values():
        channel.send(
            wire.StrictStart(
                version=VERSION,
                weight_exponent=start.weight_exponent,
                target_exponent=start.target_exponent,
                key=start.key,
            )
        )
    return start


def _rules(terms: Terms, start: _Start) -> Rules:
    """In units of weights as they were divided."""
    training = terms.training
    rows = terms.rows - training.validation_rows
    penalty, least = (math.ldexp(x, -start.weight_exponent) for x in (training.reg_lambda, training.min_child_weight))
    # Gradients are at most 1; those of linear targets too at first, and further on not twice that.
    largest = (1.0, 0.25) if training.objective == "binary:logistic" else (2.0, 1.0)
    gradient = min(_GRADIENT, math.floor(math.log2(_ROOM / (rows * largest[0]))))
    hessian = min(_HESSIAN, math.floor(math.log2(_ROOM / (rows * largest[1] + 2 * penalty))))
    directions = 2 if len(terms.parties) > 2 else 1
    noise = math.sqrt(_NOISE * terms.rows * directions * training.max_depth / 2)
    return Rules(gradient, hessian, penalty, max(least, math.ldexp(_DEVIATIONS * noise, -hessian)))


@dataclass(frozen=True)
class _Draw:
    """The rows and columns of a tree.

    Attributes:
        key: of the training's draws.
        tree: its number.
    """

    key: bytes = field(repr=False)
    tree: int

    def rows(self, trained: int, part: float) -> NDArray[np.int64]:
        """Numbers of the rows that the tree is trained on."""
        if part == 1.0:
            return np.arange(trained)
        return np.flatnonzero(self._drawn(b"rows", trained) < part * _RANGE)

    def columns(self, counts: Mapping[str, int], part: float) -> dict[str, Bits]:
        """Of each party which columns the tree may split: one at least of all."""
        total = sum(counts.values())
        usable = np.ones(total, dtype=np.bool_)
        if part < 1.0:
            order = np.argsort(self._drawn(b"columns", total), kind="stable")
            usable[order[max(1, round(part * total)) :]] = False
        ends = np.cumsum(list(counts.values()))
        return {name: usable[end - n : end] for (name, n), end in zip(counts.items(), ends, strict=True)}

    def _drawn(self, what: bytes, n: int) -> NDArray[np.uint32]:
        rng = Rng.from_seed(b"unseen strict boosting " + what + self.key + self.tree.to_bytes(4, "little"))
        drawn: NDArray[np.uint32] = rng.uint8(n, 4).view("<u4")[:, 0]
        return drawn


# What a party has open ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Labels:
    """Shares of what the label party gives.

    Attributes:
        values: (n,) targets.
        weights: (n,); None for ones.
        gamma: γ in the units of the run.
    """

    values: Shared
    weights: Shared | None
    gamma: Shared


@dataclass(frozen=True)
class _Work:
    """One party's end of a training.

    Attributes:
        run: of shared arithmetic; its computing parties are the label party and one other.
        own: what this party brings.
        terms: agreed on.
        start: what the label party told.
        rules: of splits.
        owner: of this party's shares in products; None at a party that holds none.
        holders: by name of those who hold shares and not these columns, this party's columns in products with them.
        selection: with the other that holds shares; None likewise.
        labels: None likewise.
    """

    run: Run
    own: Task
    terms: Terms
    start: _Start
    rules: Rules
    owner: lwe.Owner | ideal_lwe.Owner | None
    holders: Mapping[str, lwe.Holder | ideal_lwe.Holder]
    selection: Selection | None
    labels: _Labels | None

    @staticmethod
    def open(run: Run, own: Task, terms: Terms, start: _Start) -> _Work:
        """Set up with all others."""
        session, suite = run.session, suites.get(terms.suite)
        product = ideal_lwe if terms.method == "ideal" else lwe
        others = [name for name in run.compute if name != session.me]
        inside = session.me in run.compute

        def of(holder: str, peer: str) -> Channel:
            return session.channel(peer).fork(f"products of {holder}")

        tasks: dict[str, Callable[[], Any]] = {}
        held = [name for name, columns in terms.columns.items() if columns.sizes and name != session.me]
        if inside and held:
            channels = {name: of(name, name) for name in held}
            tasks["owner"] = partial(product.start_owner, channels, terms.rows, suite=suite, rng=session.rng.fork())
        if own.binned.sizes.size:
            codes, sizes = own.binned.codes, own.binned.sizes.tolist()
            for name in others:
                channel = of(session.me, name)
                tasks[name] = partial(product.start_holder, channel, codes, sizes, suite=suite, rng=session.rng.fork())
        opened = all_at_once(tasks, list(session.channels.values()))
        owner = opened.pop("owner", None)
        for name in held if owner is not None else ():
            same = owner.bins[name] == terms.columns[name].bins
            session.channel(name).require(same, "products with the columns that were told")
        selection = None
        if inside:
            channel = session.channel(others[0]).fork("sides")
            first = session.me == run.compute[0]
            selection = Selection(channel, first=first, suite=suite, rng=session.rng.fork())
        rules = _rules(terms, start)
        labels = _share_labels(run, own, terms, start, rules)
        return _Work(run, own, terms, start, rules, owner, opened, selection, labels)

    @property
    def me(self) -> str:
        """This party's name."""
        return self.run.session.me

    @property
    def inside(self) -> bool:
        """Whether it computes."""
        return isinstance(self.run, Computation)

    def piece(self, shared: Shared) -> Words:
        """This party's share modulo 2^32 of numbers that are smaller than 2^31."""
        words = self.computation.piece(shared, to=self.run.compute[0])
        if words is None:
            raise AssertionError("both have shares")
        return words.astype(np.uint32)

    @property
    def computation(self) -> Computation:
        """The run of a party that computes."""
        if not isinstance(self.run, Computation):
            raise AssertionError("this party computes")
        return self.run


def _share_labels(run: Run, own: Task, terms: Terms, start: _Start, rules: Rules) -> _Labels | None:
    if not isinstance(run, Computation):
        return None
    training, a, unit = terms.training, terms.label_party, _unit(own)
    y = own.labels
    if y is not None and training.objective != "binary:logistic":
        y = np.ldexp(y - _base(own), -unit)
    gamma = np.array(
        max(math.ldexp(training.gamma, -2 * unit - start.weight_exponent), _LEAST_GAIN[training.objective])
    )
    most = shared_splits.MOST_GAIN * math.ldexp(1 / _ROOM, rules.hessian_bits)
    if gamma > most:
        shown = math.ldexp(most, 2 * unit + start.weight_exponent)
        raise UsageError(f"With privacy='strict' and these rows gamma is at most {shown:.3g}; more leaves no split.")
    weights = None
    if terms.weighted or training.scale_pos_weight != 1.0:
        c = _weights(own)
        given = None if c is None else np.ldexp(c, -start.weight_exponent)
        weights = run.share(given, owner=a, fraction=_WEIGHT)
    return _Labels(
        values=run.share(y, owner=a, fraction=FRACTION),
        weights=weights,
        gamma=run.share(gamma if own.labels is not None else None, owner=a, fraction=shared_splits.GAIN_FRACTION),
    )


@contextmanager
def _opened(session: Session, terms: Terms) -> Iterator[Run]:
    """Shared arithmetic between the label party and the first other that has columns, if any has."""
    partner = next(iter(terms.holders), next(name for name in terms.parties if name != terms.label_party))
    compute, ideal = (terms.label_party, partner), terms.method == "ideal"
    if session.me not in compute:
        with arithmetic.input_party(session, compute=compute, fraction=FRACTION, ideal=ideal) as outside:
            yield outside
    elif ideal:
        with arithmetic.ideal_party(session, compute=compute, fraction=FRACTION) as inside:
            yield inside
    else:
        with arithmetic.two_party(session, compute=compute, suite=terms.suite, fraction=FRACTION) as inside:
            yield inside


# The loop -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Course:
    """How far a training is.

    Attributes:
        margins: (n,) shares of all rows' margins; zeros at a party that has none.
        trees: this party's part of each.
        history: metrics, at the label party.
        best: the round that the model ends with if there is no other, from 0 on; at the label party.
    """

    margins: Words
    trees: tuple[PartTree, ...] = ()
    history: tuple[tuple[float, float], ...] = ()
    best: int = -1


def _train(work: _Work, point: Point | None, keep: Keep) -> Fitted:
    course = _begin(work, point)
    while True:
        more, rounds = _told(work, course)
        if not more:
            break
        draw = _Draw(work.start.key, len(course.trees))
        root = _root(work, course, draw)  # 1
        usable = draw.columns(
            {name: len(columns.sizes) for name, columns in work.terms.columns.items()},
            work.terms.training.colsample_bytree,
        )
        grown = _grow(work, root, shared_splits.candidates(work.terms.columns, usable))  # 2 to 4
        tree, added = _finished(work, grown)  # 5 and 6
        margins = course.margins if added is None else course.margins + added
        course = _measured(work, replace(course, margins=margins, trees=(*course.trees, tree)))
        _save(work, course, keep)
    return Fitted(
        trees=course.trees[:rounds],
        base_score=_base(work.own) if work.me == work.terms.label_party else None,
        margins=course.margins.astype(np.uint64) if work.inside and rounds == len(course.trees) else None,
        history=course.history,
        best_iteration=rounds - 1,
        gains=(),
        rounds=rounds,
        run=work.terms.run,
        learned=_learned(work),
    )


def _told(work: _Work, course: _Course) -> tuple[bool, int]:
    """Whether another round comes, and how many there are in the model if none does: the label party says so."""
    session, training = work.run.session, work.terms.training
    done = len(course.trees)
    if work.me == work.terms.label_party:
        patience = training.early_stopping_rounds
        more = done < training.n_estimators and (patience is None or done - 1 - course.best < patience)
        rounds = 0 if more else (course.best + 1 if patience is not None else done)
        for channel in session.channels.values():
            channel.send(rounds_wire.BoostingRound(more=more, rounds=rounds))
        return more, rounds
    channel = session.channel(work.terms.label_party)
    (told,) = channel.recv(rounds_wire.BoostingRound)
    channel.require(told.more == (told.rounds == 0) and told.rounds <= done, "rounds that there are")
    channel.require(not told.more or done < training.n_estimators, "no more rounds than agreed on")
    return bool(told.more), int(told.rounds)


def _begin(work: _Work, point: Point | None) -> _Course:
    """Where the training begins: at the base, or where it was kept."""
    if point is not None:
        return _Course(
            margins=point.arrays["margins"],
            trees=tuple(trees.from_json(tree) for tree in point.state["trees"]),
            history=tuple((math.nan, math.nan if loss is None else loss) for loss in point.state["history"]),
            best=point.state["best"],
        )
    margins = np.zeros(work.terms.rows, dtype=np.uint32)
    if work.own.labels is not None and work.terms.training.objective == "binary:logistic":
        margins += np.uint32(round(math.ldexp(_base(work.own), FRACTION)) % (1 << 32))
    return _Course(margins)


def _save(work: _Work, course: _Course, keep: Keep) -> None:
    state = {
        "trees": [trees.to_json(tree) for tree in course.trees],
        "history": [None if math.isnan(loss) else loss for _, loss in course.history],
        "best": course.best,
        "key": work.start.key.hex(),
    }
    keep(len(course.trees), state, margins=course.margins)


# Steps 1 and, for rows that are not trained on, the loss --------------------------------------------------------------


def _root(work: _Work, course: _Course, draw: _Draw) -> Words | None:
    """Shares of g and h, (n, 2); zero in rows that the tree is not trained on."""
    if not work.inside:
        return None
    rows, rules = draw.rows(work.own.trained, work.terms.training.subsample), work.rules
    root = np.zeros((work.terms.rows, 2), dtype=np.uint32)
    if not course.trees:  # margins are the label party's own still
        if work.own.labels is not None:
            for lane, (values, bits) in enumerate(
                zip(_first(work), (rules.gradient_bits, rules.hessian_bits), strict=True)
            ):
                root[rows, lane] = np.rint(np.ldexp(values[rows], bits)).astype(np.int64)
        return root
    difference, h = _derivatives(work, course.margins[rows], rows)
    root[rows, 0] = work.piece(difference.as_fixed(rules.gradient_bits))
    if h is not None:
        root[rows, 1] = work.piece(h.as_fixed(rules.hessian_bits))
    else:
        root[rows, 1] = np.rint(np.ldexp(_first(work)[1][rows], rules.hessian_bits)).astype(np.int64)
    return root


def _first(work: _Work) -> tuple[Reals, Reals]:
    """Gradients and hessians before the first tree, (n,) each, in units of the run; zeros where the labels are not."""
    own, nothing = work.own, np.zeros(work.terms.rows)
    if own.labels is None:
        return nothing, nothing
    c = _weights(own)
    c = np.ones(len(own.labels)) if c is None else np.ldexp(c, -work.start.weight_exponent)
    base = _base(own)
    if own.training.objective == "binary:logistic":
        p = 1 / (1 + math.exp(-base))
        return c * (p - own.labels), c * (p * (1 - p))
    return c * np.ldexp(base - own.labels, -_unit(own)), c


def _derivatives(work: _Work, margins: Words, rows: NDArray[np.int64]) -> tuple[Shared, Shared | None]:
    """Gradients and hessians of some rows; h is None where the label party knows it."""
    labels = work.labels
    if labels is None:
        raise AssertionError("this party computes")
    difference, p = _difference(work, margins, rows)
    weights = None if labels.weights is None else labels.weights[rows]
    g = difference if weights is None else difference * weights
    if p is None:
        return g, None
    engine = p.context.engine
    words = engine.mul(*(np.ascontiguousarray(side.components) for side in (p, 1.0 - p)))
    # Raised by more than σ may be off, so that no sum of hessians is negative.
    h = Shared(p.context, words, "fixed", 2 * FRACTION) + _RAISED
    return g, h if weights is None else h.as_fixed(FRACTION) * weights


def _difference(work: _Work, margins: Words, rows: NDArray[np.int64]) -> tuple[Shared, Shared | None]:
    """Predictions less targets of some rows, and of classes the predictions."""
    if work.labels is None:
        raise AssertionError("this party computes")
    m = replace(signed(work.computation, margins), kind="fixed", fraction=FRACTION)
    if work.terms.training.objective != "binary:logistic":
        return m - work.labels.values[rows], None
    p = arithmetic.sigmoid(m, error=1e-4, size=_MARGIN)
    return p - work.labels.values[rows], p


def _measured(work: _Work, course: _Course) -> _Course:
    """With the loss of the rows to validate on, which opens to the label party; NaN where there are none."""
    training, labels = work.terms.training, work.labels
    newest, loss = len(course.trees) - 1, math.nan
    if training.validation_rows and labels is not None:
        rows = np.arange(work.own.trained, work.terms.rows)
        d = _difference(work, course.margins[rows], rows)[0].as_fixed(_LOSS)
        squares = (d if labels.weights is None else d * labels.weights[rows]) @ d
        total = work.computation.reveal(squares, to=work.terms.label_party)
        if total is not None:
            c = _weights(work.own)
            count = len(rows) if c is None else math.ldexp(float(c[rows].sum()), -work.start.weight_exponent)
            loss = math.ldexp(math.sqrt(max(float(total), 0.0) / count), _unit(work.own)) if count else math.nan
    if work.own.labels is None:
        return course
    better = course.best < 0 or not training.validation_rows or loss < course.history[course.best][1]
    return replace(course, history=(*course.history, (math.nan, loss)), best=newest if better else course.best)


# Steps 2 to 4 ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Split:
    """A node that is split.

    Attributes:
        node: its number in the heap.
        owner: whose column splits it.
        number: among the owner's nodes of the tree.
        mine: this party's node; None if it is another's.
    """

    node: int
    owner: str
    number: int
    mine: OwnNode | None


@dataclass(frozen=True)
class _Level:
    """The nodes of a level that are split, and what multiplies by their sides.

    Attributes:
        splits: by number in the heap.
        sides: by node (n,) of rows that go left: all of them for this party's, shares by XOR for those of parties that
            hold no shares. Nothing at such a party.
        chosen: transfers for these, node after node.
        offered: for the other's, and again for those of parties that hold no shares.
    """

    splits: tuple[_Split, ...]
    sides: Mapping[int, Bits]
    chosen: Chosen | None
    offered: Offered | None


@dataclass(frozen=True)
class _Grown:
    """A tree without weights.

    Attributes:
        levels: its inner nodes.
        totals: by number in the heap the leaves' sums of g and h, (2,) shares; empty at a party that has none.
        leaves: the leaves.
    """

    levels: tuple[_Level, ...]
    totals: Mapping[int, Words]
    leaves: tuple[int, ...]


def _grow(work: _Work, root: Words | None, candidates: Candidates) -> _Grown:
    """The tree for shares of g and h, (n, 2)."""
    alive: tuple[int, ...] = (0,)
    states = {} if root is None else {0: root}
    histograms: dict[int, Words] = {}
    levels: list[_Level] = []
    totals: dict[int, Words] = {}
    leaves: list[int] = []
    for _ in range(work.terms.training.max_depth):
        histograms = _histograms(work, alive, states, histograms)  # 2
        sums = {node: _summed(state) for node, state in states.items()}
        splits = _choose(work, alive, histograms, sums, candidates, levels)  # 3
        level = _sides(work, splits)
        inner = {split.node for split in splits}
        leaves += [node for node in alive if node not in inner]
        totals |= {node: sums[node] for node in alive if node not in inner and node in sums}
        states, level = _children(work, level, states)  # 4
        levels.append(level)
        histograms = {node: words for node, words in histograms.items() if node in inner}
        alive = tuple(child for split in splits for child in (2 * split.node + 1, 2 * split.node + 2))
        if not alive:
            break
    leaves += alive
    totals |= {node: _summed(state) for node, state in states.items()}
    return _Grown(tuple(levels), totals, tuple(sorted(leaves)))


def _summed(state: Words) -> Words:
    """(n, w) → (w,): column by column, since numpy goes through an array of few columns a row at a time."""
    return np.array([state[:, lane].sum(dtype=np.uint32) for lane in range(state.shape[1])], dtype=np.uint32)


def _histograms(
    work: _Work, alive: Sequence[int], states: Mapping[int, Words], above: Mapping[int, Words]
) -> dict[int, Words]:
    """(bins, 2) of each node: of left children by products, of right ones what is left of their parents."""
    asked = [node for node in alive if not node or node % 2]
    found: dict[int, Words] = {}
    for start in range(0, len(asked), _NODES):
        some = asked[start : start + _NODES]
        vectors = np.concatenate([states[node] for node in some], axis=1) if work.inside else None
        words = _products(work, vectors, 2 * len(some))
        if words is not None:
            found |= {node: words[:, 2 * i : 2 * i + 2] for i, node in enumerate(some)}
    if work.inside:
        found |= {node: above[(node - 1) // 2] - found[node - 1] for node in alive if node and node % 2 == 0}
    return found


def _products(work: _Work, vectors: Words | None, width: int) -> Words | None:
    """Shares of all parties' bins times the vectors, (n, width): (bins, width), party after party."""
    session, me = work.run.session, work.me
    tasks: dict[str, Callable[[], Any]] = {
        name: partial(holder.products, width) for name, holder in work.holders.items()
    }
    if work.owner is not None and vectors is not None:
        tasks[""] = partial(work.owner.products, vectors)
    done = all_at_once(tasks, list(session.channels.values()))
    parts: dict[str, Words] = done.pop("", {})
    first = work.run.compute[0]
    if vectors is None:
        if done:
            session.channel(first).send(wire.StrictHistograms(), sum(done.values()))
        return None
    if work.own.binned.sizes.size:
        mine = kernels.sums(work.own.binned.codes, vectors, work.own.binned.sizes.tolist())
        parts[me] = sum(done.values(), mine)
    for name, columns in work.terms.columns.items():
        if columns.sizes and name not in work.run.compute and me == first:
            channel = session.channel(name)
            _, words = channel.recv(wire.StrictHistograms)
            channel.require(words.shape == (columns.bins, width), f"histograms of {columns.bins} bins")
            parts[name] = parts[name] + words
    return np.concatenate([parts[name] for name, columns in work.terms.columns.items() if columns.sizes])


def _choose(
    work: _Work,
    alive: Sequence[int],
    histograms: Mapping[int, Words],
    sums: Mapping[int, Words],
    candidates: Candidates,
    levels: Sequence[_Level],
) -> tuple[_Split, ...]:
    """The best split of each node; opens who splits it, and to the owner how."""
    run, names = work.run, work.terms.parties
    if not len(candidates):  # all columns that were drawn have one bin
        return ()
    owners = [p for p in range(len(names)) if (some := candidates.of_party(p)).stop > some.start]
    index: Shared | None = None
    if isinstance(run, Computation) and work.labels is not None:
        left = candidates.left_sums(np.stack([histograms[node] for node in alive]), total := _stacked(sums, alive))
        best = shared_splits.best(run, left, total, work.rules, work.labels.gamma)
        index = best.index
        ends = [candidates.of_party(p).stop for p in owners[:-1]]
        told = _up_to(best, ends)
        opened = run.reveal(told, to=run.compute + run.inputs)
    else:
        opened = run.obtain() if isinstance(run, InputParty) else None
    split = np.asarray(opened, dtype=np.bool_)
    run.session.channel(work.run.compute[0] if work.me != run.compute[0] else run.compute[1]).require(
        split.shape == (len(owners), len(alive)), "of each node whether it is split, and whose column splits it"
    )
    splits: list[_Split] = []
    for i, p in enumerate(owners):
        nodes = [v for v in range(len(alive)) if split[i, v] and not split[:i, v].any()]
        if not nodes:
            continue
        places = _told_to(work, names[p], None if index is None else index[np.array(nodes)])
        before = sum(one.owner == names[p] for level in levels for one in level.splits)
        for j, v in enumerate(nodes):
            mine = None if places is None else _own_node(work, alive[v], int(places[j]), candidates, levels)
            splits.append(_Split(alive[v], names[p], before + j, mine))
    return tuple(sorted(splits, key=lambda one: one.node))


def _stacked(sums: Mapping[int, Words], nodes: Sequence[int]) -> Words:
    return np.stack([sums[node] for node in nodes])


def _up_to(best: shared_splits.Best, ends: Sequence[int]) -> Shared:
    """(owners, nodes): whether the node is split by the owner or one before it."""
    splits = best.splits
    if not ends:
        return splits[None]
    engine = splits.context.engine
    bits = max(ends).bit_length() + 1
    low = engine.below(np.ascontiguousarray(best.index.components), ends, bits=bits)
    early = Shared(splits.context, np.ascontiguousarray(low), "bool") & splits[None].broadcast_to(
        (len(ends), len(splits))
    )
    return arithmetic.concatenate([early, splits[None]])


def _told_to(work: _Work, owner: str, index: Shared | None) -> NDArray[Any] | None:
    """Which candidates of its own the owner is told; None at all others."""
    run = work.run
    if isinstance(run, Computation) and index is not None:
        return run.reveal(index, to=owner)
    return run.obtain() if isinstance(run, InputParty) and owner == work.me else None


def _own_node(work: _Work, node: int, place: int, candidates: Candidates, levels: Sequence[_Level]) -> OwnNode:
    """This party's node, for the candidate that was opened to it."""
    own = candidates.of_party(work.terms.parties.index(work.me))
    peer = next(name for name in work.run.compute if name != work.me)
    work.run.session.channel(peer).require(own.start <= place < own.stop, "a candidate of the owner's")
    mine = {one.node: one.number for level in levels for one in level.splits if one.owner == work.me}
    parent, left, at = -1, False, node
    while at and parent < 0:
        side, at = at % 2 == 1, (at - 1) // 2
        if at in mine:
            parent, left = mine[at], side
    return OwnNode(
        parent,
        left,
        int(candidates.column[place]),
        int(candidates.bin[place]),
        bool(candidates.missing_left[place]),
    )


def _sides(work: _Work, splits: tuple[_Split, ...]) -> _Level:
    """Which rows go left at a level's nodes, known to their owners, made fit to multiply by."""
    binned, run = work.own.binned, work.run
    codes = trees.missing_codes(binned.sizes, binned.missing)
    known = {one.node: trees.goes_left(one.mine, binned.codes, codes) for one in splits if one.mine is not None}
    outside = [one for one in splits if one.owner not in run.compute]
    n = work.terms.rows
    if not isinstance(run, Computation):
        _share_sides(work, [known[one.node] for one in outside if one.owner == work.me])
        return _Level(splits, {}, None, None)
    for owner in dict.fromkeys(one.owner for one in outside):
        nodes = [one.node for one in outside if one.owner == owner]
        channel = run.session.channel(owner)
        _, packed = channel.recv(wire.StrictSides)
        channel.require(packed.shape == (len(nodes), -(-n // 8)), f"sides of {n} rows at {len(nodes)} nodes")
        known |= {node: sharing.unpack(row, n) for node, row in zip(nodes, packed, strict=True)}
    chooses = [known[one.node] for one in splits if one.node in known]
    offers = sum(one.owner != work.me for one in splits)
    if work.selection is None:
        raise AssertionError("this party computes")
    bits = np.concatenate(chooses) if chooses else np.zeros(0, dtype=np.bool_)
    chosen, offered = work.selection.choose(bits, n * offers, lanes=3)
    return _Level(splits, known, chosen, offered)


def _share_sides(work: _Work, sides: Sequence[Bits]) -> None:
    """Split this party's sides by XOR between the two who have shares."""
    if not sides:
        return
    packed = np.packbits(np.stack(sides), axis=1, bitorder="little")
    mask = work.run.session.rng.uint8(*packed.shape)
    for name, share in zip(work.run.compute, (mask, packed ^ mask), strict=True):
        work.run.session.channel(name).send(wire.StrictSides(), share)


def _children(work: _Work, level: _Level, states: Mapping[int, Words]) -> tuple[dict[int, Words], _Level]:
    """Shares of g and h of the nodes below, and the level with what is left of its transfers."""
    if not level.splits or not states:
        return {}, level
    left, level = _multiplied(work, level, {one.node: states[one.node] for one in level.splits})
    found: dict[int, Words] = {}
    for node, words in left.items():
        found[2 * node + 1], found[2 * node + 2] = words, states[node] - words
    return found, level


def _multiplied(work: _Work, level: _Level, words: Mapping[int, Words]) -> tuple[dict[int, Words], _Level]:
    """Of each node its sides times shared words, (n, width), of which this party has those shares."""
    selection, chosen, offered = work.selection, level.chosen, level.offered
    if selection is None or chosen is None or offered is None:
        raise AssertionError("this party computes")
    n, inside = work.terms.rows, work.run.compute
    given = []
    for one in level.splits:
        if one.owner not in inside:
            # (b ^ c)·s = b·s + c·(1 - 2 b)·s, with b and s this party's and c the other's.
            given.append(np.where(level.sides[one.node][:, None], np.negative(words[one.node]), words[one.node]))
        elif one.owner != work.me:
            given.append(words[one.node])
    width = next(iter(words.values())).shape[1]
    offer = np.concatenate(given) if given else np.zeros((0, width), dtype=np.uint32)
    got, rest = selection.multiply(chosen, offered, offer)
    found: dict[int, Words] = {}
    at_got = at_rest = 0
    for one in level.splits:
        total = np.zeros((n, width), dtype=np.uint32)
        if one.node in level.sides:
            np.multiply(words[one.node], level.sides[one.node][:, None], out=total)
            total += got[at_got : at_got + n]
            at_got += n
        if one.owner != work.me:
            total += rest[at_rest : at_rest + n]
            at_rest += n
        found[one.node] = total
    return found, replace(level, chosen=chosen.after(width), offered=offered.after(width))


# Steps 5 and 6 --------------------------------------------------------------------------------------------------------


def _finished(work: _Work, grown: _Grown) -> tuple[PartTree, Words | None]:
    """This party's part of the tree, and its shares of what it adds to margins, (n,); None where there are none."""
    splits = [one for level in grown.levels for one in level.splits]
    inner = tuple(Inner(one.node, one.owner, one.number) for one in sorted(splits, key=lambda one: one.node))
    mine = sorted((one for one in splits if one.owner == work.me), key=lambda one: one.number)
    own = tuple(one.mine for one in mine if one.mine is not None)
    known: Sequence[tuple[float | None, int | None]] = [(None, None)] * len(grown.leaves)
    added = None
    if work.inside:
        weights = _leaf_weights(work, grown)  # 5
        known = _kept(work, weights)
        added = _added(work, grown, work.piece(weights))  # 6
    leaves = tuple(Leaf(node, *values) for node, values in zip(grown.leaves, known, strict=True))
    return PartTree(own, Shape(inner, leaves)), added


def _leaf_weights(work: _Work, grown: _Grown) -> Shared:
    """(leaves,)."""
    sums = signed(work.computation, _stacked(grown.totals, grown.leaves))
    return shared_splits.newton(sums, work.rules) * -work.terms.training.learning_rate


def _kept(work: _Work, weights: Shared) -> list[tuple[float | None, int | None]]:
    """What this party keeps of each leaf: its weight, or a share of it."""
    run = work.computation
    if work.terms.training.leaves == "label_party":
        opened = run.reveal(weights, to=work.terms.label_party)
        if opened is None:
            return [(None, None)] * weights.size
        return [(math.ldexp(float(weight), _unit(work.own)), None) for weight in opened]
    more = trees.LEAF_FRACTION - FRACTION + work.start.target_exponent
    components = weights.components << np.uint64(more) if more >= 0 else run.context.truncate(weights.components, -more)
    words = run.piece(replace(weights, components=components), to=run.compute[0])
    if words is None:
        raise AssertionError("both have shares")
    return [(None, int(word)) for word in words]


def _added(work: _Work, grown: _Grown, weights: Words) -> Words:
    """Shares of the leaf weight of each row's leaf, (n,), from the leaves up."""
    n = work.terms.rows
    values: dict[int, Words] = {node: weights[i : i + 1] for i, node in enumerate(grown.leaves)}
    for level in reversed(grown.levels):
        if not level.splits:
            continue
        right = {one.node: values[2 * one.node + 2] for one in level.splits}
        steps = {one.node: np.broadcast_to(values[2 * one.node + 1] - right[one.node], n) for one in level.splits}
        chosen, _ = _multiplied(work, level, {node: step[:, None] for node, step in steps.items()})
        values |= {node: right[node] + words[:, 0] for node, words in chosen.items()}
    return np.broadcast_to(values[0], n).copy()


def _learned(work: _Work) -> tuple[str, ...]:
    """What this party learned beyond its own input, in sentences that repeat none of it."""
    training, labels = work.terms.training, work.me == work.terms.label_party
    lines = [
        "How many rows there are, and of each party how many columns and bins.",
        "Of each tree which nodes are split and whose columns split them; no sum and no gradient.",
    ]
    if work.me in work.terms.columns and work.terms.columns[work.me].sizes:
        lines.append("The splits of its own columns.")
    if labels:
        shared = training.leaves == "shared"
        lines.append("No leaf weight: they are in shares." if shared else "The leaf weights.")
        if training.validation_rows:
            lines.append("After each round the mean loss of the rows to validate on.")
    else:
        lines.append("How many rounds the model has; no label and no leaf weight.")
        if work.terms.weighted:
            lines.append("The power of two above the rows' weights.")
        if training.leaves == "shared" and training.objective == "reg:squarederror":
            lines.append("The power of two above what targets differ from their mean by.")
    return tuple(lines)
