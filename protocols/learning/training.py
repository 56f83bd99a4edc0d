"""What a training is: its settings, one party's input, what all parties agree on before it, and what is kept of it.

Security: semi-honest. What parties tell each other here are sizes, settings, random bytes and the powers of two that
          ``FitTerms`` names; whoever lies makes the result wrong or the run end.
Leaks:    those, to all parties.
Cost:     a message of some 300 bytes from each party to each other one, and a round.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc import suite as suites
from mpc.errors import UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.wire.learning.v1 import fit_pb2 as wire
from protocols.arithmetic import Computation, InputParty, Shared
from protocols.arithmetic.party import require_same
from protocols.learning import whitening
from protocols.learning.products import Method, Shape
from protocols.learning.whitening import Reals, Standard

VERSION = 1
MAX_ROWS = 1 << 22
MAX_COLUMNS = 512
WEIGHT_BITS = 6
"""Weights' root mean square is below 2^6 times the power of two nearest to their mean."""
SAMPLE_STEPS = 10
"""Most iterations on the sample of the rows."""
SAMPLE_TOL = 2.0**-5
"""Steps on the sample need not be smaller: its optimum is not that of all rows."""

_FEW = 4  # a sample pays where there are so many times its rows
_HUGE = 1e100
_SEED = 32
_OWN = ("rows", "columns", "seed", "weighted", "weight_exponent", "target_exponent", "saved")

Run = Computation | InputParty
Family = Literal["logistic", "linear"]
ClassWeight = None | Literal["balanced"] | Mapping[int, float]


@dataclass(frozen=True)
class Training:
    """What to train; the same at all parties.

    The objective is scikit-learn's: Σ cᵢ·loss(yᵢ, zᵢ) + ‖w‖² / (2 C), the intercept without penalty. For the linear
    family the loss is half the square, so that C is 1 / alpha of scikit-learn's Ridge.

    Attributes:
        C: the inverse of the penalty, for columns as they come.
        max_iter: most iterations on all rows; up to ``SAMPLE_STEPS`` on a sample come before.
        tol: steps, in whitened coordinates, that are small enough to end.
        fit_intercept: whether there is one.
        family: ``logistic``, or ``linear``.
        class_weight: weights of the classes, ``{0: a, 1: b}``; ``balanced`` for n / (2·count).
        reveal_model: ``owners`` learn their own coefficients, or ``none`` does.
        sample_rows: rows of the first stage; 0 for none.
    """

    C: float = 1.0
    max_iter: int = 100
    tol: float = 1e-4
    fit_intercept: bool = True
    family: Family = "logistic"
    class_weight: ClassWeight = None
    reveal_model: Literal["owners", "none"] = "owners"
    sample_rows: int = 1 << 14

    def __post_init__(self) -> None:
        if not (math.isfinite(self.C) and self.C > 0):
            raise UsageError(f"C is a number above zero, not {self.C!r}: use a large one for next to no penalty.")
        if not (self.max_iter >= 1 and 1e-6 <= self.tol <= 0.5 and self.sample_rows >= 0):
            raise UsageError("max_iter is at least 1, tol from 1e-6 to 0.5, and sample_rows is not negative.")
        if self.family not in ("logistic", "linear"):
            raise UsageError(f"family is 'logistic' or 'linear', not {self.family!r}.")
        if self.reveal_model not in ("owners", "none"):
            raise UsageError(f"reveal_model is 'owners' or 'none', not {self.reveal_model!r}.")
        if self.class_weight is not None and self.family != "logistic":
            raise UsageError("class_weight is for the logistic family; use sample_weight.")
        if isinstance(self.class_weight, Mapping):
            weights = dict(self.class_weight)
            if set(weights) != {0, 1} or not all(math.isfinite(w) and w > 0 for w in weights.values()):
                raise UsageError("class_weight gives both classes a weight above zero, {0: a, 1: b}.")
        elif self.class_weight not in (None, "balanced"):
            raise UsageError(f"class_weight is None, 'balanced' or {{0: a, 1: b}}, not {self.class_weight!r}.")


@dataclass(frozen=True)
class Stage:
    """The rows of some iterations.

    Attributes:
        rows: how many.
        chosen: which; None for all.
        error: of the sigmoid.
        tol: ends it.
        most: iterations.
        last: whether it is the last one.
    """

    rows: int
    chosen: NDArray[np.int64] | None
    error: float
    tol: float
    most: int
    last: bool


# One party's input ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What one party brings to a training, checked.

    Attributes:
        training: the settings.
        label_party: its name.
        features: (n, k) finite; None at a party that only computes.
        standard: how they are centred and scaled; None likewise.
        targets: (n,) at the label party: 0 and 1, or what is left of numbers divided by 2^target_exponent when
            ``target_mean`` is taken off.
        target_mean: what is added to the intercept in the end.
        target_exponent: what coefficients are multiplied by in the end, as a power of two.
        weights: (n,) at the label party, divided by 2^weight_exponent; None for ones.
        weight_exponent: of them.
    """

    training: Training
    label_party: str
    features: Reals | None
    standard: Standard | None
    targets: Reals | None = None
    target_mean: float = 0.0
    target_exponent: int = 0
    weights: Reals | None = None
    weight_exponent: int = 0


def task(
    session: Session,
    features: ArrayLike | None,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
    label_party: str,
    training: Training,
) -> Task:
    """What this party brings, checked. UsageError says what is wrong with it; it names columns and rows, no values."""
    if label_party not in session.parties:
        raise UsageError(f"label_party is one of {', '.join(session.parties)}, not {label_party!r}.")
    has_labels = session.me == label_party
    if has_labels != (labels is not None):
        raise UsageError(f"Only {label_party} gives labels; the others pass None.")
    if sample_weight is not None and not has_labels:
        raise UsageError(f"Only {label_party} gives sample_weight; the others pass None.")
    if features is None:
        if labels is not None:
            raise UsageError("The label party gives features, too: an array (n, 0) where it has none.")
        return Task(training, label_party, None, None)
    x = _numbers(features, "features")
    if x.ndim != 2 or not 1 <= len(x) <= MAX_ROWS:
        raise UsageError(f"features is an array (n, k) of 1 to {MAX_ROWS} rows, not of shape {x.shape}.")
    for place, column in enumerate(x.T):
        if not (np.abs(column) < _HUGE).all():  # a NaN is not below either
            raise UsageError(
                f"Column {place} of features has missing, infinite or immense values: fill in or drop them first "
                "(protocols.learning.preparation)."
            )
    standard = whitening.standardise(x, centred=training.fit_intercept, intercept=has_labels and training.fit_intercept)
    own = Task(training, label_party, x, standard)
    if labels is None:
        return own
    own = _targeted(own, _numbers(labels, "labels"))
    return _weighted(own, None if sample_weight is None else _numbers(sample_weight, "sample_weight"))


def _numbers(values: ArrayLike, what: str) -> Reals:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} are numbers: encode text and categories first.") from None


def _vector(values: Reals, n: int, what: str) -> None:
    if values.shape != (n,):
        raise UsageError(f"{what} has shape {values.shape}; give one for each of the {n} rows, ({n},).")
    if not (np.abs(values) < _HUGE).all():
        raise UsageError(f"{what} has missing, infinite or immense values: drop those rows at all parties first.")


def _targeted(own: Task, y: Reals) -> Task:
    n = 0 if own.features is None else len(own.features)
    _vector(y, n, "labels")
    if own.training.family == "linear":
        # Only the label party has an intercept, so only it could ever see the mean, and only if it learns the model.
        keeps = own.training.fit_intercept and own.training.reveal_model == "owners"
        mean = float(y.mean()) if keeps else 0.0
        size = math.sqrt(float(np.mean((y - mean) ** 2)))
        exponent = max(-100, math.frexp(size)[1]) if size else 0
        return replace(own, targets=np.ldexp(y - mean, -exponent), target_mean=mean, target_exponent=exponent)
    if not np.isin(y, (0.0, 1.0)).all():
        raise UsageError("labels are 0 and 1: map other classes to these first, or use family='linear' for numbers.")
    if y.min() == y.max():
        raise UsageError(f"All labels are {int(y[0])}: there is nothing to tell apart. Give rows of both classes.")
    return replace(own, targets=y)


def _weighted(own: Task, sample: Reals | None) -> Task:
    classes, y = own.training.class_weight, own.targets
    if y is None or (classes is None and sample is None):
        return own
    c, exponent = np.ones(len(y)), 0
    if sample is not None:
        _vector(sample, len(y), "sample_weight")
        if not (sample >= 0).all() or not sample.any():
            raise UsageError("sample_weight is not negative, and not zero everywhere.")
        c, exponent = sample.copy(), round(math.log2(float(sample.mean())))
    if own.training.family == "logistic" and not (c[y == 1].any() and c[y == 0].any()):
        raise UsageError("A class has no weight: give sample_weight above zero to rows of both.")
    if classes == "balanced":
        ones = float(c @ y / c.sum())  # as scikit-learn does, weights counted
        c *= np.where(y == 1, 0.5 / ones, 0.5 / (1 - ones))
    elif classes is not None:
        c *= np.where(y == 1, classes[1], classes[0])
        # Of the weights alone, since their mean would tell how many rows are of which class.
        exponent += round(math.log2((classes[0] + classes[1]) / 2))
    c = np.ldexp(c, -exponent)
    if not math.sqrt(float(np.mean(c**2))) < 2.0**WEIGHT_BITS:
        raise UsageError("A few rows have nearly all the weight: use weights that differ less.")
    return replace(own, weights=c, weight_exponent=exponent)


# What all agree on ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """How far a training has come; the same at all parties.

    Attributes:
        stage: number of the stage.
        taken: iterations of it.
        history: sizes of all steps.
    """

    stage: int = 0
    taken: int = 0
    history: tuple[float, ...] = ()

    def ended(self, stage: Stage) -> bool:
        """Whether the stage's last step was small enough."""
        return self.taken > 0 and self.history[-1] <= stage.tol


@dataclass(frozen=True)
class Terms:
    """What all parties have agreed on, the same at all of them.

    Attributes:
        training: the settings.
        label_party: its name.
        compute: names of those who compute.
        suite: cipher suite's name.
        method: of products.
        rows: of the table.
        widths: how many coordinates each owner has, in the order of names.
        weighted: whether rows have weights.
        weight_exponent: the power of two that they were divided by.
        target_exponent: and that linear targets were.
        run: 16 bytes that name this training, also after it was resumed.
        attempt: 16 bytes that name this attempt at it, after it was resumed others. An iteration that is done a second
            time has other shares, which do not go with those of the first.
        begun: the point where it goes on, as attempt and iterations; None for a new one.
    """

    training: Training
    label_party: str
    compute: tuple[str, ...]
    suite: str
    method: Method
    rows: int
    widths: Mapping[str, int]
    weighted: bool
    weight_exponent: int
    target_exponent: int
    run: bytes
    attempt: bytes
    begun: tuple[bytes, int] | None

    @property
    def curvature(self) -> float:
        """K·h: how many parties have columns, times the loss's largest second derivative."""
        return len(self.widths) * (0.25 if self.training.family == "logistic" else 1.0)

    @property
    def penalty(self) -> float:
        """1 / C, in units of the loss as it is added up."""
        return math.ldexp(1 / self.training.C, -self.weight_exponent)

    @property
    def residual_bits(self) -> int:
        """Fractional bits of residuals: as many as let their products with columns be added up, 18 at most.

        With whitened columns m and residuals of root mean square 2^r over n rows, |Σ m·d| is below √2·n·2^r.
        """
        room = 61 - whitening.FRACTION - 1 - (self.rows - 1).bit_length()
        return min(18, room - (WEIGHT_BITS if self.weighted else 0))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """A sample first, where there are many rows; then all."""
        training = self.training
        everything = Stage(self.rows, None, 1e-4, training.tol, training.max_iter, last=True)
        size = training.sample_rows
        if not size or self.rows < _FEW * size:
            return (everything,)
        chosen = np.sort(Rng.from_seed(b"unseen learning sample" + self.run).permutation(self.rows)[:size])
        return (Stage(size, chosen, 1e-3, max(SAMPLE_TOL, training.tol), SAMPLE_STEPS, last=False), everything)

    def has_intercept(self, owner: str) -> bool:
        """Whether the last of an owner's coordinates is the intercept's."""
        return self.training.fit_intercept and owner == self.label_party

    def shapes(self, rows: int) -> dict[str, Shape]:
        """Of owners' matrices: so many rows and the penalty's."""
        return {owner: (rows + width, width) for owner, width in self.widths.items()}

    def split(self, vector: Shared) -> dict[str, Shared]:
        """By owner the part of a vector of all coordinates, (total,)."""
        ends = np.cumsum(list(self.widths.values()))
        return {o: vector[int(end) - w : int(end)] for (o, w), end in zip(self.widths.items(), ends, strict=True)}


def computing(session: Session, compute: Sequence[str] | None) -> tuple[str, ...]:
    """Who computes: all, where there are two or three parties and nobody says otherwise."""
    names = session.parties if compute is None else tuple(compute)
    if len(names) not in (2, 3) or len(set(names)) != len(names) or not set(names) <= set(session.parties):
        raise UsageError(f"compute names two or three of the parties {', '.join(session.parties)}, not {names}.")
    return names


def agree(
    session: Session,
    task: Task,
    compute: tuple[str, ...],
    suite: str,
    method: Method,
    saved: Mapping[tuple[bytes, int], bytes],
) -> Terms:
    """Tell all other parties what is about to be trained, and be told the same.

    Args:
        session: of this party.
        task: what this party brings.
        compute: who computes.
        suite: cipher suite's name.
        method: of products.
        saved: what this party could go on from, as attempt and iterations; with the run that it is of.

    Raises:
        UsageError: this party's input does not go with the others'.
        PeerError: another party has other rows or settings; the text names what differs.
    """
    training, standard = task.training, task.standard
    classes = training.class_weight
    mine = wire.FitTerms(
        version=VERSION,
        parties=session.parties,
        label_party=task.label_party,
        compute=compute,
        suite=suites.get(suite).name,
        method=method,
        family=training.family,
        penalty_c=training.C,
        max_iter=training.max_iter,
        tol=training.tol,
        fit_intercept=training.fit_intercept,
        class_weight=json.dumps(classes if classes is None or isinstance(classes, str) else sorted(classes.items())),
        reveal_model=training.reveal_model,
        sample_rows=training.sample_rows,
        rows=0 if task.features is None else len(task.features),
        columns=0 if standard is None else standard.width,
        seed=session.rng.bytes(_SEED),
        weighted=task.weights is not None,
        weight_exponent=task.weight_exponent,
        target_exponent=task.target_exponent,
        saved=[wire.SavedFit(attempt=attempt, step=step) for attempt, step in saved],
    )
    peers = [name for name in session.parties if name != session.me]
    for peer in peers:
        session.channel(peer).send(mine)
    said: dict[str, wire.FitTerms] = {session.me: mine}
    for peer in peers:
        channel = session.channel(peer)
        (theirs,) = channel.recv(wire.FitTerms)
        require_same(channel, mine, theirs, without=_OWN)
        channel.require(
            not mine.rows or not theirs.rows or mine.rows == theirs.rows,
            f"the same rows at all parties, but {mine.rows} are here and {theirs.rows} there: align them first (psi)",
        )
        channel.require(len(theirs.seed) == _SEED, f"{_SEED} random bytes")
        channel.require(theirs.columns <= MAX_COLUMNS and theirs.rows <= MAX_ROWS, "a matrix that can be trained on")
        labels = theirs if peer == task.label_party else wire.FitTerms()
        own = (theirs.weighted, theirs.weight_exponent, theirs.target_exponent)
        channel.require(
            own == (labels.weighted, labels.weight_exponent, labels.target_exponent), "no weights of its own"
        )
        channel.require(max(map(abs, own)) < 1 << 10, "weights and targets of a size that can be computed with")
        said[peer] = theirs
    labels = said[task.label_party]
    if not labels.rows:
        raise UsageError(f"{task.label_party} has no rows, and so no labels.")
    widths = {name: int(said[name].columns) for name in session.parties if said[name].columns}
    if not 0 < sum(widths.values()) <= MAX_COLUMNS:
        raise UsageError(
            f"All parties together have {sum(widths.values())} columns that vary: give 1 to {MAX_COLUMNS}."
        )
    points = [{(point.attempt, point.step) for point in terms.saved} for terms in said.values()]
    begun = max(set.intersection(*points), key=lambda point: (point[1], point[0]), default=None)
    seeds = b"".join(said[name].seed for name in session.parties)
    attempt = hashlib.sha256(b"unseen learning run " + seeds).digest()[:16]
    return Terms(
        training,
        task.label_party,
        compute,
        mine.suite,
        method,
        int(labels.rows),
        widths,
        bool(labels.weighted),
        int(labels.weight_exponent),
        int(labels.target_exponent),
        attempt if begun is None else saved[begun],
        attempt,
        begun,
    )
