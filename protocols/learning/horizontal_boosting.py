"""Boosted trees where rows are split over silos: each has the same columns of other people, and all get the trees of
the pooled rows [Chen, Guestrin: XGBoost, KDD 2016, on histograms; sums by Bonawitz et al., CCS 2017].

A split needs of the rows only their gradients' and hessians' sums over each bin of each column, and a sum over silos of
sums goes through ``aggregation``. Each silo rounds its rows' numbers to multiples of one power of two, so that sums are
of whole numbers and exact: the trees are those of one process that has all the rows, whoever has which. Where bins end
is found before by counts over all silos (``pooled_quantiles``).

    horizontal_boosting.fit(session, features, labels, aggregator="hub")        # at every silo
    horizontal_boosting.lead(session)                                           # at the aggregator
    horizontal_boosting.lead(session, (features, labels))                       # at one that has rows itself

Security: semi-honest, that of ``aggregation.masked``: an aggregator that pools what it sees with fewer silos than the
          threshold (more than half) learns sums over the others. It says which rows the next sums are over, in the form
          of splits, and one that deviates could have them over few: so no malicious model is offered.
Leaks:    to the aggregator, over all silos: how many rows there are, of each class, and with each column missing; sums
          of weights and labels; counts by which bins are found (``pooled_quantiles``); in each round the sums of losses
          and of the gradients' absolute values; of each node of a tree that could be split, and of its sibling, the
          sums of gradients and hessians, and the number of rows, of each bin of each column. Bins have at least
          `minimum_cell` rows at the root, if no rows are drawn, and may have one further down, whose gradient says its
          label. To the silos which cells the search looks into, which columns miss values in some rows, each split
          while a tree grows, and the metric of each round. To all the model, with gains and covers, the edges of the
          bins, the number of rows, the names of the silos, and who has left. With leavers="without", two sums that
          differ by a silo lie near each other: nearly that silo's own.
Cost:     up to 6 sums before training, of 5 + classes + columns numbers of 32 bytes, and those of the search; one of 6
          such numbers before each round and at the end; in each tree one for each level of splits, of 3 numbers of 8
          bytes for each bin and node, half of the level's nodes at most. 4 rounds each. A silo goes through a node's
          rows once for each column, and of two siblings only through one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NoReturn

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import MpcError, PolicyError, UsageError
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.wire.learning.v1 import horizontal_boosting_pb2 as wire
from protocols import aggregation
from protocols.aggregation import Rules, graph, wide
from protocols.aggregation.crowd import Crowd
from protocols.arithmetic.party import require_same
from protocols.learning import boosting_terms, forest, gradients, pooled_quantiles, silos
from protocols.learning.boosting_terms import Point
from protocols.learning.checkpoint import Checkpoint
from protocols.learning.forest import Forest, Tree
from protocols.learning.growing import Growing
from protocols.learning.pooled_quantiles import NO, OWN_BIN, SMALLEST, Binning, Search
from protocols.learning.silo_rows import FAR, MAX_FEATURES, Given, Rows, classes_of, key_of
from protocols.learning.silos import Changed, Told
from protocols.operator import Operator

OPERATOR = Operator(
    name="learning.horizontal-boosting",
    version=1,
    title="Boosted trees on rows that are split over silos",
    learns={
        "aggregator": (
            "the model",
            "who took part, and who left",
            "over all silos, how many rows there are, also of each class and with each column missing",
            "over all silos, the sums of weights and of labels",
            "over all silos, how many rows have a number in each of the cells by which bins were found",
            "over all silos, in each round the losses and the sum of the gradients' absolute values",
            "over all silos, of the trees' nodes but the last level's the rows of each bin, down to a single one",
            "over all silos, of these rows the sums of gradients and hessians",
        ),
        "silo": (
            "the model, with the gain of each split and the hessians' sum of each node",
            "who took part, and how many rows all have together",
            "about where quantiles of columns lie, and which columns have missing values",
            "of each round the metrics over all silos' rows",
        ),
    },
)

MAX_BINS = 1024
"""Most bins of a column."""
MAX_NAME = 200
"""Characters of a column's name."""
MAX_LEVEL = 1 << 7
"""Most nodes of a level whose sums are asked for."""

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]

_MANTISSA = 52  # bits of the sums over all columns' bins, so that they are exact in a double as well
_LEAST_SUM = 2.0**-900  # of gradients; there is nothing left to be learned then
_ID = 16
_APART = ("seed", "privacy", "leaves", "minimum_rows")  # of settings of trees, what is one's own, or not of silos
_LISTED = 20  # names in a note

_REFUSALS: Mapping[str, tuple[str, str]] = {
    "few-silos": ("fewer silos take part than minimum", "Run again when more of them can be reached."),
    "result-too-small": ("there are fewer rows than minimum_rows", "Bring more rows, or ask who set the minimum."),
    "small-class": ("fewer than minimum_cell rows are of one class", "Bring more rows."),
    "one-class": ("all rows are of one class", "Bring rows of others."),
    "no-events": ("all labels are 0", "There is nothing to explain: bring rows with events."),
    "no-weight": ("all rows have weight 0", "Give weights above 0."),
    "no-validation": ("early stopping has no rows to validate on", "Say validation_rows at a silo, or do not stop."),
    "few-validation-rows": ("fewer than minimum_cell rows are for validation", "Put more of them aside, or none."),
    "no-columns": ("every column has the same value in all rows but fewer than minimum_cell", "Bring other columns."),
    "too-far": ("the losses are not finite", "Use a smaller unit for labels, or a smaller learning_rate."),
    "spoilt": ("sums came out that no rows have, so some silo's numbers are wrong", "Find out whose program differs."),
    "silo-left": (
        "a silo has left: the model would be of fewer rows, and sums with and without it would tell its own",
        "Run again when all can be reached, or have all say leavers='without'.",
    ),
}
_STEPS: tuple[type[Message], ...] = (
    wire.SilosBegin,
    wire.SilosCount,
    wire.SilosCells,
    wire.SilosBins,
    wire.SilosRound,
    wire.SilosMetric,
    wire.SilosGrow,
    wire.SilosTree,
    wire.SilosFitted,
)
_MISUSE = ("one-class", "no-events", "no-weight", "no-validation", "no-columns", "too-far")


@dataclass(frozen=True)
class Training:
    """What to train, the same at all.

    Attributes:
        trees: objective and settings, by XGBoost's names. Of them `privacy` and `leaves` are for split columns and stay
            as they are; `minimum_rows` too: here `minimum_cell` says how few rows a leaf may have. `validation_rows`
            are the last ones of each silo, where it does not say another number; `seed` is each party's own.
        max_bins: most bins of a column.
        leavers: what it means that a silo leaves: ``refuse``, there is no model, and the sum that lacks its rows is not
            opened; ``without``, the model is that of the rows of those left, from the first tree on.
        minimum: the fewest silos over which a sum may be, the aggregator's own rows counted as one.
        minimum_cell: fewest rows of a bin, of a leaf, of a class, and for validation; 0 for no such minimum, as in
            XGBoost, which saves a third of the numbers. Rows of all silos count that have weight, those of the
            aggregator, which it can take off, too.
        minimum_rows: fewest rows of all silos together that are trained on and have weight, the aggregator's own not
            counted.

    Raises:
        UsageError: options that there are not.
    """

    trees: boosting_terms.Training = field(default_factory=boosting_terms.Training)
    max_bins: int = 32
    leavers: Literal["refuse", "without"] = "refuse"
    minimum: int = 3
    minimum_cell: int = 10
    minimum_rows: int = 0

    def __post_init__(self) -> None:
        if self.trees.privacy != "standard" or self.trees.leaves != "label_party":
            raise UsageError("Over silos there is one mode: leave out `privacy` and `leaves`, which are of columns.")
        if not 2 <= self.max_bins <= MAX_BINS:
            raise UsageError(f"max_bins is 2 to {MAX_BINS}.")
        if self.leavers not in ("refuse", "without"):
            raise UsageError(f"leavers is 'refuse' or 'without', not {self.leavers!r}.")
        if self.minimum < 2:
            raise UsageError("minimum is 2 silos at least: the sum of one silo's rows is its own.")
        if self.minimum_cell < 0:
            raise UsageError("minimum_cell counts rows: 0 or more.")
        if not 0 <= self.minimum_rows < 1 << 32:
            raise UsageError("minimum_rows counts rows: 0 or more, and below 2^32.")

    @property
    def lanes(self) -> int:
        """Numbers of a bin: gradients, hessians, and rows where they count."""
        return 2 + (self.minimum_cell > 0)


@dataclass(frozen=True)
class Fitted:
    """A model, the same at all.

    Attributes:
        model: the trees.
        history: of each round, those after the model's last one among them, the metric of the rows trained on and that
            of the rows for validation, NaN where there are none: logloss, mlogloss, rmse or poisson-nloglik.
        silos: whose rows the model is of, sorted.
        notes: columns that no tree can split, in a sentence.
        learned: what this party has learned, in sentences.
    """

    model: Forest
    history: tuple[tuple[float, float], ...]
    silos: tuple[str, ...]
    notes: tuple[str, ...]
    learned: tuple[str, ...]


def fit(
    session: Session,
    features: ArrayLike,
    labels: ArrayLike,
    *,
    aggregator: str,
    training: Training = Training(),
    sample_weight: ArrayLike | None = None,
    validation_rows: int | None = None,
    names: Sequence[str] = (),
    suite: str = "intl",
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Bring rows to trees that `aggregator` leads. Each silo calls it once a fit.

    The silo waits while others compute: its channel has to allow the time of the slowest.

    Args:
        session: with a channel to the aggregator; there need be no others.
        features: (n, k), the same columns in the same order at all; NaN where a value is missing. Taken as float32.
        labels: (n,): 0 and 1, classes 0 to K - 1, numbers, or counts. A silo may have one class alone.
        aggregator: who leads.
        training: the same at all.
        sample_weight: (n,), not negative; ones where a silo gives none.
        validation_rows: so many of this silo's rows, the last ones, are not trained on but measured; as the training
            says by default.
        names: of the k columns, the same at all; f0, f1, … without.
        suite: the same at all.
        checkpoint: where to keep the model of each round, or to go on from.

    Raises:
        UsageError: rows that do not fit, or labels that allow no model.
        PolicyError: too few silos or rows, or a silo that left.
        PeerError: the aggregator runs something else, or broke the protocol.
        ChannelError: the connection failed, or the aggregator has gone on without this silo.
    """
    channel = session.channel(aggregator)
    try:
        suites.get(suite)
        given = Given.of(features, labels, training.trees, sample_weight, validation_rows)
        setting = _Setting(session, training, _names(names, given.values.shape[1]), suite)
        return _Silo(setting, channel, aggregator, given, _Keep.of(checkpoint, setting, given)).run()
    except BaseException as error:
        channel.close(f"{session.me} left the fit ({type(error).__name__})")
        raise


def lead(
    session: Session,
    mine: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    training: Training = Training(),
    sample_weight: ArrayLike | None = None,
    validation_rows: int | None = None,
    names: Sequence[str] = (),
    parties: Iterable[str] | None = None,
    suite: str = "intl",
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Lead a fit: ask for sums, choose splits, and tell the silos the trees.

    Args:
        session: with a channel to each silo.
        mine: features and labels, where the aggregator is a silo itself.
        training: the same at all.
        sample_weight: of one's own rows.
        validation_rows: of one's own rows.
        names: of the k columns, the same at all; without, and without rows, as the silos have them.
        parties: the silos; all that the session has a channel to by default.
        suite: the same at all.
        checkpoint: where to keep the model of each round, or to go on from.

    Raises:
        UsageError: rows that do not fit, or labels that allow no model.
        PolicyError: too few silos or rows, or a silo that left.
        PeerError: a silo runs something else, or broke the protocol. The fit ends for all.
    """
    crowd = Crowd(session, session.channels if parties is None else parties, stage=OPERATOR.name)
    try:
        suites.get(suite)
        given = None
        if mine is not None:
            given = Given.of(*mine, training.trees, sample_weight, validation_rows)
        elif sample_weight is not None or validation_rows is not None:
            raise UsageError("sample_weight and validation_rows are of one's own rows: give features and labels, too.")
        named = tuple(names) if given is None else _names(names, given.values.shape[1])
        return _Lead(_Setting(session, training, named, suite), crowd, given, checkpoint).run()
    except Told as told:
        raise told.error from None  # the silos have been told, and end by themselves
    except BaseException as error:
        crowd.close(f"the fit broke off ({type(error).__name__})")
        raise


# What both sides go by ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Setting:
    """What a party's run is.

    Attributes:
        session: of this party.
        training: the settings.
        names: of the columns; none at an aggregator that does not know them yet.
        suite: cipher suite's name.
    """

    session: Session
    training: Training
    names: tuple[str, ...]
    suite: str

    def join(self, saved: Iterable[tuple[bytes, int]] = ()) -> wire.SilosJoin:
        """What this party says that all have to say."""
        settings = asdict(self.training)
        trees = {name: value for name, value in settings.pop("trees").items() if name not in _APART}
        return wire.SilosJoin(
            version=OPERATOR.version,
            training={name: str(value) for name, value in (settings | trees).items()},
            names=self.names,
            suite=self.suite,
            saved=[wire.SilosPoint(attempt=attempt, round=number) for attempt, number in saved],
        )

    def rules(self, silos: int) -> Rules:
        """Of each sum: over all silos where nobody may leave."""
        minimum = silos if self.training.leavers == "refuse" else self.training.minimum
        return Rules(suite=self.suite, minimum=minimum, reveal_to="aggregator")

    def empty(self, binning: Binning, base_score: float, rows: int) -> Forest:
        """The model before its first tree."""
        trees = self.training.trees
        edges, step = binning.edges, trees.largest_step
        return Forest(trees.objective, self.names, edges, base_score, (), rows, trees.outputs, step)

    def refusal(self, code: str) -> MpcError:
        """Why there is no model."""
        what, remedy = _REFUSALS[code]
        text = f"There is no model: {what}."
        return UsageError(f"{text} {remedy}") if code in _MISUSE else PolicyError(text, code=code, remedy=remedy)


@dataclass(eq=False)
class _Course:
    """How far a training is. The same at all but for the key, and it grows.

    Attributes:
        run: 16 bytes that name the training, also when it is gone on with.
        attempt: 16 bytes that name this attempt at it.
        key: what this party draws by.
        binning: the bins.
        base: the model before its first tree.
        trees: those that there are.
        history: of each round the metric of rows trained on and of others.
        silos: whose rows it is of, at the aggregator.
    """

    run: bytes
    attempt: bytes
    key: bytes = field(repr=False)
    binning: Binning
    base: Forest
    trees: list[Tree] = field(default_factory=list, repr=False)
    history: list[tuple[float, float]] = field(default_factory=list)
    silos: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[Binning, forest.Floats, Sequence[Tree], bytes]:
        """What rows begin with."""
        return self.binning, self.base.base_margins, self.trees, self.key

    @property
    def rounds(self) -> int:
        """Those that are complete."""
        return len(self.trees) // self.base.classes

    def model(self, rounds: int) -> Forest:
        """That of the first so many rounds."""
        return replace(self.base, trees=tuple(self.trees[: rounds * self.base.classes]))

    def best(self) -> int:
        """How many rounds the best model has by the rows for validation."""
        return 1 + int(np.argmin([validation for _, validation in self.history])) if self.history else 0

    def point(self, digest: str) -> Point:
        """As it is kept."""
        state = {
            "model": self.model(self.rounds).to_json(),
            "missing": self.binning.missing.tolist(),
            "history": [[one, None if math.isnan(other) else other] for one, other in self.history],
            "key": self.key.hex(),
            "silos": list(self.silos),
        }
        return Point(digest, self.run, self.attempt, self.rounds, state, {})

    @staticmethod
    def of(point: Point, attempt: bytes) -> _Course:
        """Where a point has come to."""
        state: Mapping[str, Any] = point.state
        model = Forest.from_json(state["model"])
        return _Course(
            point.run,
            attempt,
            bytes.fromhex(state["key"]),
            Binning(model.edges, np.array(state["missing"], dtype=np.int64)),
            model.first(0),
            list(model.trees),
            [(one, math.nan if other is None else other) for one, other in state["history"]],
            tuple(state["silos"]),
        )


@dataclass(frozen=True)
class _Keep:
    """Where the model of each round is kept.

    Attributes:
        checkpoint: None for nowhere.
        digest: of settings and of this party's rows.
        points: what there is.

    Raises:
        UsageError: what there is, is of another training.
    """

    checkpoint: Checkpoint | None
    digest: str
    points: Mapping[tuple[bytes, int], Point]

    @staticmethod
    def of(checkpoint: Checkpoint | None, setting: _Setting, given: Given | None) -> _Keep:
        rows = "" if given is None else given.digest()
        said = setting.join().SerializeToString(deterministic=True) + rows.encode()
        keep = _Keep(checkpoint, hashlib.sha256(said).hexdigest(), boosting_terms.points(checkpoint))
        if any(point.digest != keep.digest for point in keep.points.values()):
            raise UsageError(
                "The checkpoint is of a training with other settings or other data: begin with an empty one at all."
            )
        return keep

    def __call__(self, course: _Course) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save(course.rounds, course.point(self.digest).to_bytes())


def _names(names: Sequence[str], k: int) -> tuple[str, ...]:
    if not names:
        return tuple(f"f{j}" for j in range(k))
    if len(names) != k or len(set(names)) != k or not all(0 < len(name) <= MAX_NAME for name in names):
        raise UsageError(f"There are {k} columns: give each a name of its own, of 1 to {MAX_NAME} characters, or none.")
    return tuple(names)


# A silo ---------------------------------------------------------------------------------------------------------------


class _Silo:
    """One silo's run: what the aggregator says, in an order that a training has."""

    def __init__(self, setting: _Setting, channel: Channel, aggregator: str, given: Given, keep: _Keep) -> None:
        self._setting = setting
        self._channel = channel
        self._aggregator = aggregator
        self._keep = keep
        self._trees = setting.training.trees
        self._rows = Rows(given, setting.training.trees, counted=setting.training.minimum_cell > 0)
        self._course: _Course | None = None  # none before there are bins
        self._ids = (b"", b"")  # of the training, and of the attempt
        self._silos = 0
        self._beginnings = self._asked = self._grown = 0
        self._measured = False

    def run(self) -> Fitted:
        channel, setting = self._channel, self._setting
        channel.send(setting.join(self._keep.points))
        (begin,) = self._next(wire.SilosBegin)
        least = setting.training.minimum
        channel.require(least <= begin.silos <= graph.MAX_PARTIES + 1, f"at least {least} silos, and no crowd")
        rules = setting.rules(begin.silos)
        self._begin(begin)
        while True:
            question, *arrays = self._next(*_STEPS)
            channel.require(self._due(question), "a step that comes next in a training")
            if isinstance(question, wire.SilosBegin):
                self._begin(question)
            elif isinstance(question, wire.SilosBins):
                self._take_bins(question, *arrays)
            elif isinstance(question, wire.SilosTree):
                self._take_tree(*arrays)
            elif isinstance(question, wire.SilosMetric):
                self._take_metric(question)
            elif isinstance(question, wire.SilosFitted):
                return self._fitted(question)
            else:
                self._check(question, arrays)
                self._contribute(self._rows.answer(question, *arrays), rules)

    @property
    def _current(self) -> _Course:
        if self._course is None:
            raise AssertionError("there are bins where trees are grown")
        return self._course

    def _due(self, question: Message) -> bool:
        course, outputs = self._course, self._trees.outputs
        if isinstance(question, wire.SilosBegin):
            return self._beginnings <= self._silos
        if course is None:
            if isinstance(question, wire.SilosCells):
                return question.level == self._asked - 1 < len(pooled_quantiles.WIDTHS)
            return isinstance(question, wire.SilosBins if self._asked else wire.SilosCount)
        if isinstance(question, wire.SilosRound):
            return not self._measured and question.number == course.rounds
        if isinstance(question, wire.SilosMetric):
            return self._measured and len(course.history) == course.rounds - 1
        if isinstance(question, wire.SilosGrow):
            more = self._measured and course.rounds < self._trees.n_estimators and self._grown < self._trees.max_depth
            return more and question.output == len(course.trees) % outputs
        if isinstance(question, wire.SilosTree):
            return self._grown > 0
        return isinstance(question, wire.SilosFitted) and self._measured

    def _begin(self, begin: wire.SilosBegin) -> None:
        self._channel.require(len(begin.run) == len(begin.attempt) == _ID, f"names of {_ID} bytes")
        self._ids, self._silos, self._course = (begin.run, begin.attempt), begin.silos, None
        self._beginnings += 1
        self._asked = self._grown = 0
        self._measured = False
        if begin.HasField("begun"):
            point = self._keep.points.get((begin.begun.attempt, begin.begun.round))
            self._channel.require(point is not None, "a beginning that this silo has kept")
            if point is not None:
                self._course = _Course.of(point, begin.attempt)
                self._rows.begin(*self._course.known)

    def _take_bins(self, header: wire.SilosBins, edges: forest.Floats, inner: Ints, missing: Ints) -> None:
        channel, setting = self._channel, self._setting
        k, limit = len(setting.names), setting.training.max_bins
        fits = len(inner) == len(missing) == k and bool((inner < limit).all() and (missing <= SMALLEST).all())
        channel.require(fits and int(inner.sum(dtype=np.int64)) == len(edges), f"bins of {k} columns, up to {limit}")
        nowhere = self._rows.misses() & (missing == NO)
        channel.require(not nowhere.any(), "a bin for missing values where there are any")
        parts = np.split(edges, np.cumsum(inner.astype(np.int64))[:-1])
        ascending = all(bool(np.isfinite(part).all() and (np.diff(part) > 0).all()) for part in parts)
        channel.require(ascending, "finite edges that increase")
        binning = Binning(tuple(parts), missing.astype(np.int64))
        channel.require(len(binning.usable) > 0, "a column that can be split")
        try:
            base = setting.empty(binning, header.base_score, header.rows)
        except UsageError:
            channel.require(False, "a base score that the objective can have")
            raise
        key = key_of(self._trees.seed, setting.session.me, setting.session.rng)
        self._course = _Course(*self._ids, key, binning, base)
        self._rows.begin(*self._course.known)

    def _check(self, question: Message, arrays: list[NDArray[Any]]) -> None:
        """What a question holds fits this silo's columns."""
        channel, k = self._channel, len(self._setting.names)
        if isinstance(question, wire.SilosCells):
            self._asked += 1
            columns, prefixes = arrays
            known = sum(pooled_quantiles.WIDTHS[: question.level])
            fits = bool((columns < k).all() and (prefixes.astype(np.uint64) < 1 << known).all())
            channel.require(fits and len(columns) == len(prefixes), "cells of columns that there are")
            channel.require(0 < len(columns) <= k * self._setting.training.max_bins, "some cells of each column")
        elif isinstance(question, wire.SilosCount):
            self._asked += 1
        elif isinstance(question, wire.SilosRound):
            self._measured = True
        elif isinstance(question, wire.SilosGrow):
            self._check_growth(question, *arrays)

    def _check_growth(self, question: wire.SilosGrow, made: Ints, nodes: Ints, columns: Ints) -> None:
        channel, course = self._channel, self._current
        binning, k = course.binning, len(self._setting.names)
        usable = np.isin(columns, binning.usable).all() and (np.diff(columns.astype(np.int64)) > 0).all()
        channel.require(bool(usable) and len(columns) > 0, "columns that can be split, each once")
        channel.require(bool(len(made)) == bool(self._grown) and made.shape[1] == 6, "splits of a level")
        channel.require(bool((made[:, 3] < k).all()), "columns that there are")
        place = made.astype(np.int64)
        fits = np.isin(place[:, 3], binning.usable) & (place[:, 4] < binning.numeric[place[:, 3]]) & (place[:, 5] <= 1)
        channel.require(bool(fits.all()) and self._rows.knows(place, nodes), "splits of nodes that there are")
        channel.require(0 < len(nodes) <= MAX_LEVEL, f"sums of 1 to {MAX_LEVEL} nodes")
        channel.require(self._rows.fits(question), "units in which sums fit their words")
        self._grown += 1

    def _take_tree(self, nodes: Ints, numbers: forest.Floats) -> None:
        course = self._current
        sizes = course.binning.numeric.tolist()
        self._channel.require(nodes.shape[1] == 5 and numbers.shape == (len(nodes), 3), "five and three of each node")
        self._channel.require(bool((nodes < 1 << 31).all()), "places of nodes")
        tree = _tree_of(nodes, numbers)
        inner = tree.inner
        self._channel.require(tree.fits(sizes), "a tree of these columns")
        self._channel.require(bool(np.isin(tree.column[inner], course.binning.usable).all()), "columns to be split")
        self._rows.take(tree, len(course.trees) % self._trees.outputs)
        course.trees.append(tree)
        self._grown = 0
        if len(course.trees) % self._trees.outputs == 0:
            self._measured = False

    def _take_metric(self, header: wire.SilosMetric) -> None:
        course = self._current
        self._channel.require(math.isfinite(header.training), "a metric")
        course.history.append((header.training, header.validation))
        self._keep(course)
        self._setting.session.progress(Progress(OPERATOR.name, course.rounds, self._trees.n_estimators))

    def _fitted(self, header: wire.SilosFitted) -> Fitted:
        course, channel, silos = self._current, self._channel, tuple(header.silos)
        channel.require(header.rounds <= course.rounds, "rounds that there were")
        known = list(silos) == sorted(set(silos)) and self._setting.session.me in silos
        channel.require(known, "silos, and this one of them")
        return _fitted(course, header.rounds, silos, OPERATOR.learns["silo"])

    def _contribute(self, numbers: Ints, rules: Rules) -> None:
        setting = self._setting
        try:
            aggregation.contribute(setting.session, numbers, aggregator=self._aggregator, rules=rules)
        except PolicyError as error:
            if setting.training.leavers == "refuse" and error.code == "too-few-survivors":
                raise setting.refusal("silo-left") from None
            raise

    def _next(self, *steps: type[Message]) -> tuple[Any, ...]:
        """The next message of the aggregator. Raises what it says where there is to be no model."""
        header, *arrays = self._channel.recv(*steps, wire.SilosRefused)
        if isinstance(header, wire.SilosRefused):
            self._channel.require(header.code in _REFUSALS, "a reason that there is")
            raise self._setting.refusal(header.code)
        return (header, *arrays)


def _tree_of(nodes: NDArray[Any], numbers: forest.Floats) -> Tree:
    left, right, column, last, missing_left = nodes.astype(np.int32).T
    weight, gain, cover = numbers.T
    return Tree(left, right, column, last, missing_left > 0, weight, gain, cover)


def _fitted(course: _Course, rounds: int, silos: tuple[str, ...], learned: tuple[str, ...]) -> Fitted:
    names = course.base.names
    idle = [repr(names[j]) for j in np.flatnonzero(course.binning.sizes < 2)]
    listed = ", ".join(idle[:_LISTED]) + (", …" if len(idle) > _LISTED else "")
    notes = (f"Columns {listed} have one value in all rows but a few: no tree splits them.",) if idle else ()
    return Fitted(course.model(rounds), tuple(course.history), silos, notes, learned)


# The aggregator -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counts:
    """What the rows are, over all silos or at one.

    Attributes:
        rows: (2,) trained on, and others.
        weight: (2,) of these.
        labels: the sum of weights times labels of rows trained on.
        classes: rows of each class that have weight; none for numbers.
        missing: (k,) rows without a value in each column.
    """

    rows: Reals
    weight: Reals
    labels: float
    classes: Reals
    missing: Reals

    @staticmethod
    def of(numbers: Reals, classes: int) -> _Counts:
        """Read what ``Rows`` says, or sums of it."""
        return _Counts(numbers[:2], numbers[2:4], float(numbers[4]), numbers[5 : 5 + classes], numbers[5 + classes :])


class _Lead:
    """The aggregator's run."""

    def __init__(self, setting: _Setting, crowd: Crowd, given: Given | None, checkpoint: Checkpoint | None) -> None:
        self._setting = setting
        self._crowd = crowd
        self._given = given
        self._checkpoint = checkpoint
        self._training = setting.training
        self._trees = setting.training.trees
        self._rows = (
            None if given is None else Rows(given, setting.training.trees, counted=setting.training.minimum_cell > 0)
        )
        self._silos: tuple[str, ...] = ()  # those present whose sums were taken last

    def run(self) -> Fitted:
        begun = self._gather()
        while True:
            self._silos = self._crowd.present
            try:
                course = self._begin(begun)
                self._boost(course)
                return self._finish(course)
            except Changed:
                begun = None

    def _gather(self) -> Point | None:
        """Who takes part, once all say the same, and where they can go on together."""
        crowd, training = self._crowd, self._training
        wanted = len(crowd.present)
        joined = crowd.ask("join", crowd.present, lambda channel: channel.recv(wire.SilosJoin)[0])
        for name, theirs in joined.items():
            channel = crowd.channel(name)
            names = tuple(theirs.names)
            fine = all(0 < len(one) <= MAX_NAME for one in names) and len(set(names)) == len(names)
            channel.require(fine and 1 <= len(names) <= MAX_FEATURES, f"1 to {MAX_FEATURES} columns with names")
            if not self._setting.names:
                self._setting = replace(self._setting, names=names)
            mine = self._setting.join()
            require_same(channel, mine, theirs, without=("saved", "names", "training"))
            for name_of, here in sorted(mine.training.items()):
                there = theirs.training.get(name_of, "none")[:80]
                channel.require(here == there, f"one {name_of} at all silos: {here} here, {there} there")
            k = len(self._setting.names)
            channel.require(len(names) == k, f"one number of columns at all silos: {k} here, {len(names)} there")
            channel.require(names == self._setting.names, "one list of columns, in one order, at all silos")
        if len(joined) < wanted and training.leavers == "refuse":
            self._refuse("silo-left")
        silos = len(joined) + (self._rows is not None)
        if silos < training.minimum or len(joined) < 2:
            self._refuse("few-silos")
        self._rules = self._setting.rules(silos)
        self._count = silos
        self._keep = _Keep.of(self._checkpoint, self._setting, self._given)
        # A model of other silos' rows, too, is not gone on with.
        common = {at for at, point in self._keep.points.items() if point.state["silos"] == [*joined]}
        for theirs in joined.values():
            common &= {(point.attempt, point.round) for point in theirs.saved}
        return self._keep.points[max(common, key=lambda at: (at[1], at[0]))] if common else None

    def _refuse(self, code: str) -> NoReturn:
        """End the fit at all silos."""
        refused = wire.SilosRefused(code=code)
        self._crowd.ask("end", self._crowd.present, lambda channel: channel.send(refused))
        raise Told(self._setting.refusal(code))

    def _tell(self, header: Message, *arrays: NDArray[Any]) -> None:
        self._crowd.ask("tell", self._crowd.present, lambda channel: channel.send(header, *arrays))

    def _sum(self, question: Message, *arrays: NDArray[Any]) -> tuple[Ints, Ints | None]:
        """The sum over all silos of their answers, and what of it is this party's own."""
        self._tell(question, *arrays)
        own = None if self._rows is None else self._rows.answer(question, *arrays)
        refusal = self._setting.refusal("silo-left") if self._training.leavers == "refuse" else None
        session, rules = self._setting.session, self._rules
        return silos.total(session, self._crowd, own, rules=rules, silos=self._silos, refusal=refusal), own

    # Before the first tree --------------------------------------------------------------------------------------------

    def _begin(self, begun: Point | None) -> _Course:
        """The bins, or where it goes on."""
        rng, seed = self._setting.session.rng, self._trees.seed
        attempt = rng.bytes(_ID)
        if begun is not None:
            at = wire.SilosPoint(attempt=begun.attempt, round=begun.round)
            self._tell(wire.SilosBegin(silos=self._count, run=begun.run, attempt=attempt, begun=at))
            course = _Course.of(begun, attempt)
        else:
            self._tell(wire.SilosBegin(silos=self._count, run=attempt, attempt=attempt))
            counts = self._counts()
            binning = self._search(counts)
            rows, base = round(float(counts.rows[0])), self._base_score(counts)
            inner = (binning.numeric - 1).astype(np.uint16)
            edges = np.concatenate(binning.edges)
            self._tell(wire.SilosBins(base_score=base, rows=rows), edges, inner, binning.missing.astype(np.uint8))
            key = key_of(seed, self._setting.session.me, rng)
            empty = self._setting.empty(binning, base, rows)
            course = _Course(attempt, attempt, key, binning, empty, silos=self._silos)
        if self._rows is not None:
            self._rows.begin(*course.known)
        return course

    def _counts(self) -> _Counts:
        """How many rows of what kind there are, if sums over them may be asked for."""
        training, classes = self._training, classes_of(self._trees)
        total, own = self._sum(wire.SilosCount())
        whole = wide.decode(total)
        counts = _Counts.of(whole, classes)
        others = _Counts.of(whole if own is None else whole - wide.decode(own), classes)
        numbers = np.concatenate([counts.rows, counts.classes, counts.missing])
        valid = (
            (numbers == np.rint(numbers)).all() and (numbers >= 0).all() and (counts.missing <= counts.rows[0]).all()
        )
        if not valid or len(counts.missing) != len(self._setting.names) or (counts.weight < 0).any():
            self._refuse("spoilt")
        if not counts.weight[0] > 0:
            self._refuse("no-weight")
        if others.rows[0] < max(training.minimum_rows, training.minimum_cell):
            self._refuse("result-too-small")
        if classes and (counts.classes > 0).sum() < 2:
            self._refuse("one-class")
        if 0 < others.rows[1] < training.minimum_cell:
            self._refuse("few-validation-rows")
        if ((others.classes > 0) & (others.classes < training.minimum_cell)).any():
            self._refuse("small-class")
        if self._trees.objective == "count:poisson" and not counts.labels > 0:
            self._refuse("no-events")
        if self._trees.early_stopping_rounds is not None and not counts.weight[1] > 0:
            self._refuse("no-validation")
        return counts

    def _search(self, counts: _Counts) -> Binning:
        """Where bins end, and what becomes of missing values."""
        least = max(self._training.minimum_cell, 1)
        present = (counts.rows[0] - counts.missing).astype(np.int64)
        search = Search(present, bins=self._training.max_bins, least=least)
        while (cells := search.cells()) is not None:
            total, _ = self._sum(wire.SilosCells(level=search.level), *cells)
            if (total < 0).any():
                self._refuse("spoilt")
            search.take(total)
        edges = [inner for inner, _ in search.edges()]
        few = (counts.missing > 0) & ((counts.missing < least) | (present < least))
        binning = Binning(tuple(edges), np.where(few, SMALLEST, np.where(counts.missing > 0, OWN_BIN, NO)))
        if not len(binning.usable):
            self._refuse("no-columns")
        return binning

    def _base_score(self, counts: _Counts) -> float:
        if self._trees.base_score is not None:
            return self._trees.base_score
        if self._trees.objective == "multi:softprob":
            return 0.5  # changes nothing
        # In float32, as margins are: the last digits of a sum of real numbers depend on who has which rows.
        return float(np.float32(counts.labels / float(counts.weight[0])))

    # Trees ------------------------------------------------------------------------------------------------------------

    def _boost(self, course: _Course) -> None:
        """Round after round, until there are enough, or the rows for validation say so, or there is nothing left."""
        trees = self._trees
        while True:
            total, _ = self._sum(wire.SilosRound(number=course.rounds))
            measured = wide.decode(total)
            if not (np.abs(measured) < FAR / 2).all():
                self._refuse("too-far")
            if course.rounds > len(course.history):
                self._measure(course, measured)
            patience = trees.early_stopping_rounds
            if course.rounds == trees.n_estimators or (patience and course.rounds - course.best() >= patience):
                return
            sizes = measured[4:]  # of gradients, of hessians
            if not (sizes > _LEAST_SUM).all():
                return
            # Sums of all columns' bins together are below 2^52, so that they are exact as doubles, too.
            mantissa = _MANTISSA - len(course.binning.usable).bit_length()
            bits = [mantissa - math.frexp(size)[1] for size in sizes.tolist()]
            for output in range(trees.outputs):
                tree = self._grow(course, wire.SilosGrow(output=output, gradient_bits=bits[0], hessian_bits=bits[1]))
                nodes = [tree.left, tree.right, tree.column, tree.bin, tree.missing_left]
                numbers = np.stack([tree.weight, tree.gain, tree.cover], axis=1)
                self._tell(wire.SilosTree(), np.stack(nodes, axis=1).astype(np.uint32), numbers)
                if self._rows is not None:
                    self._rows.take(tree, output)
                course.trees.append(tree)

    def _measure(self, course: _Course, measured: Reals) -> None:
        """A round is done."""
        metrics = [
            gradients.metric_of(self._trees, loss / weight) if weight > 0 else math.nan
            for loss, weight in measured[:4].reshape(2, 2).tolist()
        ]
        course.history.append((metrics[0], metrics[1]))
        self._tell(wire.SilosMetric(training=metrics[0], validation=metrics[1]))
        self._keep(course)
        self._setting.session.progress(Progress(OPERATOR.name, course.rounds, self._trees.n_estimators))

    def _grow(self, course: _Course, question: wire.SilosGrow) -> Tree:
        """A tree, level by level: ask for the smaller child of each node that was split, and split what gains most."""
        columns = self._columns(course)
        growing = Growing(self._trees, self._training.minimum_cell, question, columns, course.binning)
        made: list[tuple[int, ...]] = []
        for _ in range(self._trees.max_depth):
            asked = growing.asked()
            if not asked:
                break
            splits = np.array(made, dtype=np.uint32).reshape(-1, 6)
            total, _ = self._sum(question, splits, np.array(asked, dtype=np.uint32), columns.astype(np.uint16))
            if not growing.take(asked, total):
                self._refuse("spoilt")
            made = growing.split()
        return growing.tree()

    def _columns(self, course: _Course) -> Ints:
        """Those that a tree may split, drawn where it may not split all."""
        usable, part = course.binning.usable, self._trees.colsample_bytree
        if part == 1:
            return usable
        rng = Rng.from_seed(b"unseen columns of a tree" + len(course.trees).to_bytes(4, "little") + course.key)
        return np.sort(usable[rng.permutation(len(usable))[: max(1, int(part * len(usable)))]])

    def _finish(self, course: _Course) -> Fitted:
        rounds = course.rounds if self._trees.early_stopping_rounds is None else course.best()
        me = (self._setting.session.me,) if self._rows is not None else ()
        silos = tuple(sorted([*self._silos, *me]))
        self._tell(wire.SilosFitted(rounds=rounds, silos=silos))
        return _fitted(course, rounds, silos, OPERATOR.learns["aggregator"])
