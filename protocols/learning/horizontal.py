"""Regression where rows are split over silos: each has the same columns of other people, and all get the model of the
pooled rows [Newton's method on sums, as in Wu et al., GLORE, JAMIA 2012; sums by Bonawitz et al., CCS 2017].

Logistic, linear, Poisson and gamma regression (logarithmic link) minimise C · Σ w·loss + ‖coefficients‖² / 2. What a
step of Newton's needs of the rows is a sum over them, and a sum over silos of sums goes through ``aggregation``: so
the model is that of the pooled rows, but for rounding. Numbers travel in digits (``aggregation.wide``) whose sums are
exact, so no scale of a column, and no number of rows, costs digits or overflows.

    horizontal.fit(session, features, labels, aggregator="hub")        # at every silo
    horizontal.lead(session)                                           # at the aggregator
    horizontal.lead(session, (features, labels))                       # at an aggregator that has rows itself

Security: semi-honest, that of ``aggregation.masked``: an aggregator that pools what it sees with fewer silos than the
          threshold (more than half) learns sums over the others. It chooses the points at which sums are asked for: one
          that deviates could choose them so that few rows count. So no malicious model is offered.
Leaks:    to the aggregator, sums over all silos: once, rows, rows and weight of each class, how many entries of each
          column are not 0 and how many not 1, sums and squares of columns, the sum of labels; at each point of the
          search loss, gradient, second derivatives, and for logistic regression how many rows are on the wrong side. To
          the silos the columns' means and deviations, weights of classes, those points, loss and largest gradient at
          each, and how many rows there are. To all the model, the names of the silos, and who has left. Columns or
          classes that differ in fewer than `minimum_cell` rows are refused, since sums would be of these rows alone.
          With leavers="without", two sums that differ by a silo lie near each other: nearly that silo's own.
Cost:     with p coefficients and k columns, 3 sums, of 4 + 2·k, 3 + k and k numbers, then one of 4 + p + p·(p + 1)/2
          numbers for each point of the search (mostly 5 to 8), 32 bytes a number; 4 rounds each. A silo goes through
          its rows twice for each point, in blocks: n·p² multiplications.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import MpcError, PolicyError, UsageError
from mpc.session import Progress, Session
from mpc.wire.learning.v1 import horizontal_pb2 as wire
from protocols import aggregation
from protocols.aggregation import Rules, wide
from protocols.aggregation.crowd import Crowd
from protocols.learning import glm, silos
from protocols.learning.glm import Family, Floats, Rows, Sums
from protocols.learning.silos import Changed, Told
from protocols.operator import Operator

OPERATOR = Operator(
    name="learning.horizontal",
    version=1,
    title="Regression on rows that are split over silos",
    learns={
        "aggregator": (
            "the model",
            "who took part, and who left",
            "over all silos, how many rows there are, also of each class and with each column not 0 and not 1",
            "over all silos, the sums of columns, of their squares, of labels and of weights",
            "over all silos, at each point of the search, loss, gradient, second derivatives, rows on the wrong side",
        ),
        "silo": (
            "the model",
            "who took part",
            "of all silos' rows together: how many they are, means and deviations of columns, weights of the classes",
            "the points of the search, with loss and largest gradient at each",
        ),
    },
)

MAX_FEATURES = 1024
"""Most columns: a sum has then half a million numbers, 17 MB."""
MAX_ITER = 10_000
"""Most points of a search."""
SEPARATED_C = 1.0
"""The penalty, on standardised columns, that takes the place of none where labels are separated."""

_FAR = 2.0**80  # numbers of a silo are below it in absolute value, or
_TOO_FAR = wide.LARGEST / 2  # its loss is this: no sum of fewer than 2^14 of the others comes near
_ARMIJO = 1e-4
_ROUNDING = 1e-12  # share of the objective within which values do not differ
_CREEPS = 15  # full steps that gain a constant factor each, where Newton's gain squares

_REFUSALS: Mapping[str, tuple[str, str]] = {
    "few-silos": ("fewer silos take part than minimum", "Run again when more of them can be reached."),
    "few-rows": ("there are fewer rows than coefficients, so that sums would tell rows", "Bring more rows."),
    "result-too-small": ("there are fewer rows than minimum_rows", "Bring more rows, or ask who set the minimum."),
    "small-cell": (
        "columns {columns} are 0, or 1, in all rows but fewer than minimum_cell",
        "Leave these columns out, or merge them with others.",
    ),
    "small-class": ("fewer than minimum_cell rows are of one class", "Bring more rows."),
    "one-class": ("all rows are of one class", "Bring rows of both."),
    "no-events": ("all labels are 0", "There is nothing to explain: bring rows with events."),
    "no-weight": ("all rows have weight 0", "Give weights above 0."),
    "too-far": ("offsets are so large that the loss is not finite", "Give logarithms as offsets."),
    "spoilt": ("sums came out that no rows have, so some silo's numbers are wrong", "Find out whose program differs."),
    "silo-left": (
        "a silo has left: the model would be of fewer rows, and sums with and without it would tell its own",
        "Run again when all can be reached, or have all say leavers='without'.",
    ),
}
_MISUSE = ("one-class", "no-events", "no-weight", "too-far")


@dataclass(frozen=True)
class Training:
    """Options of a fit, the same at all.

    Attributes:
        family: ``logistic`` (labels 0 and 1), ``linear``, ``poisson`` (counts) or ``gamma`` (positive amounts), the
            last two with a logarithmic link.
        C: inverse of the penalty's strength, as scikit-learn's; ``math.inf`` for none.
        fit_intercept: whether there is a constant. It is not penalised.
        standardise: whether the penalty is on coefficients of columns in units of their pooled standard deviation
            (weighted, where rows have weights) and not on those of columns as given.
        class_weight: None, ``balanced`` (as scikit-learn's, by pooled counts), or the weight of rows with label 0 and
            of those with label 1. Logistic alone.
        max_iter: most points at which sums are asked for.
        tol: the search ends with a step that moves no coefficient, of columns in units of their deviation, by more than
            this share of the largest one or of 1. What is left after it is of the order of its square.
        leavers: what it means that a silo leaves: ``refuse``, there is no model, and the sum that lacks its rows is not
            opened; ``without``, the model is that of the rows of those left, and the aggregator has sums with it and
            sums without it.
        minimum: the fewest silos over which a sum may be, the aggregator's own rows counted as one.
        minimum_cell: fewest rows in which a column differs from 0 or from 1, if in any, and of a class; the
            aggregator's own rows, which it can take off, are not counted.
        minimum_rows: fewest rows of all silos together, the aggregator's own not counted, of which there is more than
            their number.

    Raises:
        UsageError: options that there are not.
    """

    family: Family = "logistic"
    C: float = 1.0
    fit_intercept: bool = True
    standardise: bool = False
    class_weight: Literal["balanced"] | Mapping[int, float] | None = None
    max_iter: int = 100
    tol: float = 1e-6
    leavers: Literal["refuse", "without"] = "refuse"
    minimum: int = 3
    minimum_cell: int = 10
    minimum_rows: int = 0

    def __post_init__(self) -> None:
        glm.check_family(self.family)
        if not self.C > 0:
            raise UsageError("C is above 0: the inverse of the penalty's strength; math.inf for no penalty.")
        if not 1 <= self.max_iter <= MAX_ITER:
            raise UsageError(f"max_iter is 1 to {MAX_ITER}.")
        if not 0 < self.tol < 1:
            raise UsageError("tol is a share of the coefficients, above 0 and below 1.")
        if self.leavers not in ("refuse", "without"):
            raise UsageError(f"leavers is 'refuse' or 'without', not {self.leavers!r}.")
        if self.minimum < 2:
            raise UsageError("minimum is 2 silos at least: the sum of one silo's rows is its own.")
        if self.minimum_cell < 0:
            raise UsageError("minimum_cell counts rows: 0 or more.")
        if not 0 <= self.minimum_rows < 1 << 32:
            raise UsageError("minimum_rows counts rows: 0 or more, and below 2^32.")
        if self.class_weight is not None:
            if self.family != "logistic":
                raise UsageError("Only logistic regression has classes: give class_weight no value.")
            self.weights_of_classes(1, 1)

    def weights_of_classes(self, zeros: float, ones: float) -> tuple[float, float]:
        """Weights of rows with label 0 and with label 1, where there are so many, or so much weight, of each."""
        if self.class_weight is None:
            return 1.0, 1.0
        if isinstance(self.class_weight, str):
            if self.class_weight != "balanced":
                raise UsageError(f"class_weight is 'balanced', a weight for 0 and 1, or None: {self.class_weight!r}.")
            return (zeros + ones) / (2 * zeros), (zeros + ones) / (2 * ones)
        if set(self.class_weight) != {0, 1} or not all(0 < w < math.inf for w in self.class_weight.values()):
            raise UsageError("class_weight is a weight above 0 for each of the labels 0 and 1.")
        return float(self.class_weight[0]), float(self.class_weight[1])


@dataclass(frozen=True)
class Evaluation:
    """One point of the search.

    Attributes:
        loss: mean loss and penalty, in units of weight.
        gradient: its largest derivative, by a coefficient of columns in units of their deviation.
    """

    loss: float
    gradient: float


@dataclass(frozen=True)
class Fitted:
    """A model, the same at all.

    Attributes:
        coefficients: (k,), of the columns as given.
        intercept: 0 where there is none.
        iterations: points of the search.
        converged: whether the last step was within `tol`.
        separated: whether coefficients could grow without end but for the penalty: at some point of the search all rows
            were on the right side; or, without penalty, it had gone on for ever, as where a column has no events.
        C: of the penalty; ``SEPARATED_C``, on standardised columns, in place of none where labels are separated.
        history: loss and gradient at each point. The last step ends where nothing was evaluated any more.
        rows: how many rows it is of.
        silos: whose, sorted.
        constant: places of columns that are the same in all rows, or, in a model without intercept, 0. Their
            coefficients are 0.
        collinear: whether some columns are a combination of others in all rows. Other coefficients predict as well
            then; the penalty decides, and without one they are small.
        learned: what this party has learned, in sentences.
        names: of the columns, as this party gave them; none where it did not.
    """

    coefficients: Floats
    intercept: float
    iterations: int
    converged: bool
    separated: bool
    C: float
    history: tuple[Evaluation, ...]
    rows: int
    silos: tuple[str, ...]
    constant: tuple[int, ...]
    collinear: bool
    learned: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the coefficients has to know, in sentences."""
        notes = []
        if not self.converged:
            notes.append(f"The search has not converged in {self.iterations} points: raise max_iter.")
        if self.separated:
            notes.append(
                f"The labels are separated: coefficients are as large as the penalty lets them be (C = {self.C:g})."
            )
        if self.constant:
            notes.append(f"Columns {_listed(self.constant, self.names)} are the same in all rows.")
        if self.collinear:
            notes.append("Columns are collinear: the rows do not tell their coefficients apart, the penalty does.")
        return tuple(notes)


# A silo ---------------------------------------------------------------------------------------------------------------


def fit(
    session: Session,
    features: ArrayLike,
    labels: ArrayLike,
    *,
    aggregator: str,
    training: Training = Training(),
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    names: Sequence[str] = (),
    suite: str = "intl",
) -> Fitted:
    """Bring rows to a fit that `aggregator` leads. Each silo calls it once a fit.

    The silo waits while others compute: its channel has to allow the time of the slowest.

    Args:
        session: with a channel to the aggregator; there need be no others.
        features: (n, k), the same columns in the same order at all. Not copied; 4·k bytes a row where they are float32.
        labels: (n,).
        aggregator: who leads.
        training: the same at all.
        sample_weight: (n,), at all or at nobody; how much each row counts.
        offset: (n,), at all or at nobody: added to the linear predictor. For rates, the logarithm of the exposure.
        names: of the k columns, for what is said of them; they stay here. Without any, columns are numbers from 0.
        suite: the same at all.

    Raises:
        UsageError: rows that do not fit, or labels that allow no model.
        PolicyError: too few silos or rows, a small cell, or a silo that left.
        PeerError: the aggregator runs something else, or broke the protocol.
        ChannelError: the connection failed, or the aggregator has gone on without this silo.
    """
    channel = session.channel(aggregator)
    try:
        data = _checked(features, labels, training, sample_weight, offset, suite)
        return _Silo(session, channel, aggregator, data, training, _names(names, data.features.shape[1]), suite).run()
    except BaseException as error:
        channel.close(f"{session.me} left the fit ({type(error).__name__})")
        raise


class _Answers:
    """What one silo's rows say to each question of the aggregator."""

    def __init__(self, data: Rows, training: Training) -> None:
        self._data = data
        self._family = training.family
        self._weight = data.weight

    def __call__(self, question: Message, *arrays: Floats) -> Floats:
        if isinstance(question, wire.HorizontalCount):
            return glm.counts(self._data)
        if isinstance(question, wire.HorizontalSum):
            self._weight = self._data.weights(question.zero, question.one)
            return glm.totals(self._data, self._weight, largest=_FAR)
        if isinstance(question, wire.HorizontalSpread):
            return glm.spread(self._data, self._weight, arrays[0])
        centre, inverse, point = arrays
        found = glm.sums(
            self._data,
            self._weight,
            family=self._family,
            centre=centre,
            inverse=inverse,
            point=point,
            largest=_FAR,
        )
        return replace(found, loss=min(found.loss, _TOO_FAR)).pack()


class _Silo:
    """One silo's run."""

    def __init__(
        self,
        session: Session,
        channel: Channel,
        aggregator: str,
        data: Rows,
        training: Training,
        names: tuple[str, ...],
        suite: str,
    ) -> None:
        self._session = session
        self._channel = channel
        self._aggregator = aggregator
        self._data = data
        self._training = training
        self._names = names
        self._suite = suite

    def run(self) -> Fitted:
        channel, training = self._channel, self._training
        channel.send(_join(training, self._data, self._suite))
        (begin,) = self._next(wire.HorizontalBegin)
        channel.require(begin.silos >= training.minimum, f"at least {training.minimum} silos")
        rules = _rules(training, self._suite, begin.silos)
        answers = _Answers(self._data, training)
        evaluations = others = 0
        while True:
            question, *arrays = self._next(
                wire.HorizontalCount,
                wire.HorizontalSum,
                wire.HorizontalSpread,
                wire.HorizontalEvaluate,
                wire.HorizontalFitted,
            )
            if isinstance(question, wire.HorizontalFitted):
                return self._fitted(question, *arrays)
            if isinstance(question, wire.HorizontalEvaluate):
                evaluations += 1
                self._session.progress(Progress(OPERATOR.name, evaluations, training.max_iter))
            else:
                others += 1
            asked_enough = evaluations > training.max_iter or others > 3 * begin.silos
            channel.require(not asked_enough, "no more questions than the training and leaving silos make for")
            self._check(question, arrays)
            self._contribute(answers(question, *arrays), rules)

    def _contribute(self, numbers: Floats, rules: Rules) -> None:
        try:
            aggregation.contribute(self._session, wide.encode(numbers), aggregator=self._aggregator, rules=rules)
        except PolicyError as error:
            if self._training.leavers == "refuse" and error.code == "too-few-survivors":
                raise _refusal("silo-left", ()) from None
            raise

    def _next(self, *steps: type[Message]) -> tuple[Any, ...]:
        """The next message of the aggregator. Raises what it says where there is to be no model."""
        header, *arrays = self._channel.recv(*steps, wire.HorizontalRefused)
        if isinstance(header, wire.HorizontalRefused):
            self._channel.require(header.code in _REFUSALS, "a reason that there is")
            known = all(column < self._data.features.shape[1] for column in header.columns)
            self._channel.require(known, "columns that there are")
            raise _refusal(header.code, header.columns, self._names)
        return (header, *arrays)

    def _check(self, question: Message, arrays: list[Floats]) -> None:
        """What a question holds fits this silo's columns."""
        k = self._data.features.shape[1]
        lengths = {"HorizontalSpread": [k], "HorizontalEvaluate": [k, k, k + self._training.fit_intercept]}
        wanted = lengths.get(question.DESCRIPTOR.name, [])
        self._channel.require([len(a) for a in arrays] == wanted, f"one number for each of {k} columns")
        self._channel.require(all(bool(np.isfinite(a).all()) for a in arrays), "finite numbers")
        if isinstance(question, wire.HorizontalSum):
            weights = (question.zero, question.one)
            self._channel.require(all(0 < w < math.inf for w in weights), "weights of the classes above 0")

    def _fitted(self, header: wire.HorizontalFitted, coefficients: Floats, history: Floats) -> Fitted:
        channel, k = self._channel, self._data.features.shape[1]
        finite = bool(np.isfinite(coefficients).all()) and math.isfinite(header.intercept)
        channel.require(len(coefficients) == k and finite, f"{k} finite coefficients and an intercept")
        channel.require(header.penalty > 0, "a penalty that there is")
        constant, silos = tuple(header.constant), tuple(header.silos)
        channel.require(list(constant) == sorted(set(constant)) and all(c < k for c in constant), "columns once each")
        channel.require(list(silos) == sorted(set(silos)) and self._session.me in silos, "silos, and this one of them")
        return Fitted(
            coefficients,
            header.intercept,
            len(history),
            header.converged,
            header.separated,
            header.penalty,
            tuple(Evaluation(*row) for row in history.tolist()),
            header.rows,
            silos,
            constant,
            header.collinear,
            OPERATOR.learns["silo"],
            self._names,
        )


# The aggregator -------------------------------------------------------------------------------------------------------


def lead(
    session: Session,
    mine: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    training: Training = Training(),
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    names: Sequence[str] = (),
    parties: Iterable[str] | None = None,
    suite: str = "intl",
) -> Fitted:
    """Lead a fit: ask for sums, solve, and tell the silos the model.

    Args:
        session: with a channel to each silo.
        mine: features and labels, where the aggregator is a silo itself.
        training: the same at all.
        sample_weight: of one's own rows.
        offset: of one's own rows.
        names: of the k columns, for what is said of them; they stay here. Without any, columns are numbers from 0.
        parties: the silos; all that the session has a channel to by default.
        suite: the same at all.

    Raises:
        UsageError: rows that do not fit, or labels that allow no model.
        PolicyError: too few silos or rows, a small cell, or a silo that left.
        PeerError: a silo runs something else, or broke the protocol. The fit ends for all.
    """
    crowd = Crowd(session, session.channels if parties is None else parties, stage=OPERATOR.name)
    try:
        if mine is None and (sample_weight is not None or offset is not None):
            raise UsageError("sample_weight and offset are of one's own rows: give features and labels, too.")
        data = None if mine is None else _checked(*mine, training, sample_weight, offset, suite)
        suites.get(suite)
        return _Lead(session, crowd, data, training, tuple(names), suite).run()
    except Told as told:
        raise told.error from None  # the silos have been told, and end by themselves
    except BaseException as error:
        crowd.close(f"the fit broke off ({type(error).__name__})")
        raise


@dataclass(frozen=True)
class _Frame:
    """What the search goes by: columns in units of their deviation about their means.

    Attributes:
        centre: (k,); zeros in a model without intercept.
        inverse: (k,), of the deviation; 0 for columns that are the same in all rows.
        intercept: with which the search begins.
    """

    centre: Floats
    inverse: Floats
    intercept: float

    def point(self, coefficients: Floats, intercept: float, p: int) -> Floats:
        """(p,): coefficients of columns as given, in this frame."""
        k = len(coefficients)
        point = np.zeros(p)
        np.divide(coefficients, self.inverse, out=point[:k], where=self.inverse > 0)
        if p > k:
            point[k] = intercept + coefficients @ self.centre
        return point

    def model(self, point: Floats) -> tuple[Floats, float]:
        """Coefficients of columns as given, and the intercept."""
        coefficients = point[: len(self.inverse)] * self.inverse
        intercept = float(point[-1] - coefficients @ self.centre) if len(point) > len(self.inverse) else 0.0
        return coefficients, intercept


class _Lead:
    """The aggregator's run."""

    def __init__(
        self,
        session: Session,
        crowd: Crowd,
        data: Rows | None,
        training: Training,
        names: tuple[str, ...],
        suite: str,
    ) -> None:
        self._session = session
        self._crowd = crowd
        self._data = data
        self._training = training
        self._names = names
        self._suite = suite
        self._answers = None if data is None else _Answers(data, training)
        self._silos: tuple[str, ...] = ()  # those present whose sums were taken last
        self._rules = Rules()
        self._k = 0
        self._rows = 0
        self._history: list[Evaluation] = []
        self._last: tuple[Floats, float] | None = None  # coefficients and intercept, of columns as given
        self._separated = False
        self._penalty = training.C

    def run(self) -> Fitted:
        self._gather()
        while True:
            self._silos = self._crowd.present
            try:
                frame = self._prepare()
                point, converged, rank = self._search(frame)
                return self._finish(frame, point, converged=converged, rank=rank)
            except Changed:
                continue

    @property
    def _own(self) -> bool:
        return self._data is not None

    @property
    def _p(self) -> int:
        return self._k + self._training.fit_intercept

    def _gather(self) -> None:
        """Who takes part, once all say the same."""
        crowd, training = self._crowd, self._training
        wanted = len(crowd.present)
        joined = crowd.ask("join", crowd.present, lambda channel: channel.recv(wire.HorizontalJoin)[0])
        own = None if self._data is None else _join(training, self._data, self._suite)
        for name, theirs in joined.items():
            channel = crowd.channel(name)
            k = theirs.features
            channel.require(1 <= k <= MAX_FEATURES, f"1 to {MAX_FEATURES} columns")
            own = own or _terms(training, self._suite, k, weighted=theirs.weighted, offset=theirs.offset)
            for one in wire.HorizontalJoin.DESCRIPTOR.fields:
                here, there = getattr(own, one.name), getattr(theirs, one.name)
                what = one.name.replace("_", " ")
                channel.require(here == there, f"one {what} at all silos: {here} here, {str(there)[:80]} there")
        if len(joined) < wanted and training.leavers == "refuse":
            self._refuse("silo-left")
        silos = len(joined) + self._own
        if own is None or silos < training.minimum or len(joined) < 2:
            crowd.ask("end", joined, lambda channel: channel.send(wire.HorizontalRefused(code="few-silos")))
            raise Told(_refusal("few-silos", ()))
        self._k = own.features
        _names(self._names, self._k)
        crowd.ask("begin", joined, lambda channel: channel.send(wire.HorizontalBegin(silos=silos)))
        self._rules = _rules(training, self._suite, silos)

    def _refuse(self, code: str, columns: Iterable[int] = ()) -> NoReturn:
        """End the fit at all silos."""
        places = tuple(columns)
        self._crowd.ask(
            "end",
            self._crowd.present,
            lambda channel: channel.send(wire.HorizontalRefused(code=code, columns=places)),
        )
        raise Told(_refusal(code, places, self._names))

    def _sum(self, question: Message, *arrays: Floats) -> tuple[Floats, Floats | None]:
        """The sum over all silos of their answers, and what of it is this party's own."""
        crowd = self._crowd
        crowd.ask("ask", crowd.present, lambda channel: channel.send(question, *arrays))
        own = None if self._answers is None else self._answers(question, *arrays)
        total = silos.total(
            self._session,
            crowd,
            None if own is None else wide.encode(own),
            rules=self._rules,
            silos=self._silos,
            refusal=_refusal("silo-left", ()) if self._training.leavers == "refuse" else None,
        )
        return wide.decode(total), own

    def _prepare(self) -> _Frame:
        """Counts, which have to allow the sums that follow; weights of the classes; means and deviations."""
        training, k = self._training, self._k
        count, own = self._sum(wire.HorizontalCount())
        self._check_counts(count, count if own is None else count - own)
        zero, one = training.weights_of_classes(*count[2:4].tolist())
        total, _ = self._sum(wire.HorizontalSum(zero=zero, one=one))
        weight, labels, exposed = total[:3].tolist()
        if not weight > 0:
            self._refuse("no-weight")
        if training.family == "poisson" and not labels > 0:
            self._refuse("no-events")
        impossible = training.family == "logistic" and not 0 < labels < weight
        if impossible or not (np.abs(total) < _TOO_FAR / 2).all():
            self._refuse("spoilt")
        centre = total[3:] / weight if training.fit_intercept else np.zeros(k)
        squares, _ = self._sum(wire.HorizontalSpread(), centre)
        if (squares < 0).any():
            self._refuse("spoilt")
        deviation = np.sqrt(squares / weight)
        # What a mean is off by rounding looks like a deviation of a constant column.
        varies = deviation > 1e-12 * np.abs(centre)
        inverse = np.divide(1.0, deviation, out=np.zeros(k), where=varies)
        exposed = max(exposed, 1e-300)
        return _Frame(centre, inverse, glm.start(training.family, weight, labels, exposed))

    def _check_counts(self, count: Floats, others: Floats) -> None:
        """Sums of the others' rows that would be of a few rows alone are not asked for."""
        training, k = self._training, self._k
        whole = bool((count == np.rint(count))[[0, 1, *range(4, 4 + 2 * k)]].all()) and bool((count >= 0).all())
        if not whole or (count[[1, *range(4, 4 + 2 * k)]] > count[0]).any():
            self._refuse("spoilt")
        self._rows = round(count[0])
        if not self._rows:
            self._refuse("no-weight")
        if others[0] < training.minimum_rows:
            self._refuse("result-too-small")
        if others[0] < max(training.minimum_cell, self._p):
            self._refuse("few-rows")
        if training.family == "logistic":
            if count[1] in (0, count[0]):
                self._refuse("one-class")
            if any(0 < cell < training.minimum_cell for cell in (others[1], others[0] - others[1])):
                self._refuse("small-class")
            if not (count[2:4] > 0).all():
                self._refuse("no-weight")
        cells = others[4:].reshape(2, k)
        small = ((cells > 0) & (cells < training.minimum_cell)).any(axis=0)
        if small.any():
            self._refuse("small-cell", np.flatnonzero(small).tolist())

    # The search -------------------------------------------------------------------------------------------------------

    def _search(self, frame: _Frame) -> tuple[Floats, bool, int]:
        """Newton's method with halved steps: the last point, whether it has converged, and the rank there."""
        training = self._training
        point = frame.point(*(self._last or (np.zeros(self._k), 0.0)), self._p)
        if self._last is None and training.fit_intercept:
            point[-1] = frame.intercept
        penalty = self._penalties(frame)
        now = self._evaluate(frame, point, penalty)
        if not math.isfinite(now.loss):
            self._refuse("too-far")
        before, creeping = math.inf, 0
        while True:
            if self._separated and math.isinf(self._penalty):
                self._penalty, creeping = SEPARATED_C, 0
                penalty = self._penalties(frame)
            move = glm.step(now.gradient, now.curvature, penalty, point)
            objective = _objective(now, point, penalty)
            farthest = float(np.abs(move.direction).max())
            settled = move.decrement <= 1e-3 * _ROUNDING * abs(objective)
            if settled or farthest <= training.tol * max(1.0, float(np.abs(point).max())):
                return point + move.direction, True, move.rank
            size = 1.0
            while True:
                if len(self._history) >= training.max_iter:
                    return point, False, move.rank
                there = point + size * move.direction
                then = self._evaluate(frame, there, penalty)
                fallen = objective - _objective(then, there, penalty)
                if fallen >= _ARMIJO * size * move.decrement - _ROUNDING * abs(objective):
                    break
                size /= 2
            creeping = creeping + 1 if size == 1 and move.decrement > before / 10 else 0
            # Where the loss has a lowest point the gain of full steps squares; where coefficients grow without end,
            # each step moves them by as much and gains a factor e.
            self._separated |= creeping >= _CREEPS and math.isinf(self._penalty)
            before, point, now = move.decrement, there, then

    def _penalties(self, frame: _Frame) -> Floats:
        """(p,) of the coefficients in the frame."""
        penalty = np.zeros(self._p)
        k = self._k
        if self._training.standardise or self._penalty != self._training.C:
            penalty[:k] = np.where(frame.inverse > 0, 1 / self._penalty, 0)
        else:
            penalty[:k] = frame.inverse**2 / self._penalty
        return penalty

    def _evaluate(self, frame: _Frame, point: Floats, penalty: Floats) -> Sums:
        numbers, _ = self._sum(wire.HorizontalEvaluate(), frame.centre, frame.inverse, point)
        found = glm.unpack(numbers, self._p)
        if found.loss >= _TOO_FAR / 2:
            found = replace(found, loss=math.inf)
        elif not found.weight > 0 or (np.diag(found.curvature) < 0).any():
            self._refuse("spoilt")
        slope = float(np.abs(found.gradient + penalty * point).max())
        self._history.append(Evaluation(_objective(found, point, penalty) / found.weight, slope / found.weight))
        self._session.progress(Progress(OPERATOR.name, len(self._history), self._training.max_iter))
        if math.isfinite(found.loss):
            self._last = frame.model(point)
            self._separated |= self._training.family == "logistic" and found.wrong == 0
        return found

    def _finish(self, frame: _Frame, point: Floats, *, converged: bool, rank: int) -> Fitted:
        coefficients, intercept = frame.model(point)
        constant = tuple(np.flatnonzero(frame.inverse == 0).tolist())
        collinear = rank < self._p - len(constant)
        silos = tuple(sorted([*self._silos, self._session.me] if self._own else self._silos))
        header = wire.HorizontalFitted(
            intercept=intercept,
            penalty=self._penalty,
            rows=self._rows,
            converged=converged,
            separated=self._separated,
            collinear=collinear,
            constant=constant,
            silos=silos,
        )
        history = np.array([[one.loss, one.gradient] for one in self._history])
        self._crowd.ask("model", self._crowd.present, lambda channel: channel.send(header, coefficients, history))
        return Fitted(
            coefficients,
            intercept,
            len(self._history),
            converged,
            self._separated,
            self._penalty,
            tuple(self._history),
            self._rows,
            silos,
            constant,
            collinear,
            OPERATOR.learns["aggregator"],
            self._names,
        )


# What both sides go by ------------------------------------------------------------------------------------------------


def _checked(
    features: ArrayLike,
    labels: ArrayLike,
    training: Training,
    sample_weight: ArrayLike | None,
    offset: ArrayLike | None,
    suite: str,
) -> Rows:
    suites.get(suite)
    data = glm.rows(features, labels, family=training.family, sample_weight=sample_weight, offset=offset)
    if data.features.shape[1] > MAX_FEATURES:
        raise UsageError(f"{data.features.shape[1]} columns are more than {MAX_FEATURES}: choose among them.")
    return data


def _join(training: Training, data: Rows, suite: str) -> wire.HorizontalJoin:
    k = data.features.shape[1]
    return _terms(training, suite, k, weighted=data.weight is not None, offset=data.offset is not None)


def _terms(training: Training, suite: str, features: int, *, weighted: bool, offset: bool) -> wire.HorizontalJoin:
    weight = training.class_weight
    text = weight if isinstance(weight, str) else "none" if weight is None else f"{weight[0]!r}, {weight[1]!r}"
    return wire.HorizontalJoin(
        version=OPERATOR.version,
        family=training.family,
        features=features,
        intercept=training.fit_intercept,
        penalty=training.C,
        standardise=training.standardise,
        class_weight=text,
        max_iter=training.max_iter,
        tolerance=training.tol,
        minimum=training.minimum,
        minimum_cell=training.minimum_cell,
        suite=suite,
        leavers=training.leavers,
        minimum_rows=training.minimum_rows,
        weighted=weighted,
        offset=offset,
    )


def _rules(training: Training, suite: str, silos: int) -> Rules:
    """Of each sum: over all silos where nobody may leave."""
    minimum = silos if training.leavers == "refuse" else training.minimum
    return Rules(suite=suite, minimum=minimum, reveal_to="aggregator")


def _objective(sums: Sums, point: Floats, penalty: Floats) -> float:
    return sums.loss + float(penalty @ point**2) / 2


def _names(names: Sequence[str], k: int) -> tuple[str, ...]:
    if names and len(names) != k:
        raise UsageError(f"There are {k} columns and {len(names)} names: give one for each, or none.")
    return tuple(names)


def _refusal(code: str, columns: Iterable[int], names: Sequence[str] = ()) -> MpcError:
    what, remedy = _REFUSALS[code]
    text = f"There is no model: {what.format(columns=_listed(columns, names))}."
    return UsageError(f"{text} {remedy}") if code in _MISUSE else PolicyError(text, code=code, remedy=remedy)


def _listed(places: Iterable[int], names: Sequence[str] = (), most: int = 20) -> str:
    words = [repr(names[place]) if names else str(place) for place in places]
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")
