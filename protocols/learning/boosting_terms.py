"""What a training of boosted trees is: its settings, one party's input, what all agree on, and what is kept of it.

Both modes of ``boosting`` begin here, and end with a ``Fitted``.

Security: semi-honest. What parties tell each other here are sizes, settings and random bytes; whoever lies makes the
          result wrong or the run end.
Leaks:    to all parties the settings, the number of rows, whether rows have weights, and of each party how many columns
          take part, how many bins each of them has, and whether one of these is for missing values.
Cost:     a message of some 600 bytes and 5 for each column from each party to each other one, and a round.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.session import Progress, Session
from mpc.wire.learning.v1 import boosting_pb2 as wire
from protocols.arithmetic.party import require_same
from protocols.learning.binned import Binned
from protocols.learning.checkpoint import Checkpoint
from protocols.learning.trees import MAX_DEPTH, PartTree

VERSION = 1
MAX_ROWS = 1 << 22
MAX_COLUMNS = 1 << 12
MAX_BINS = 1 << 17
"""Most bins of all columns of a party together."""
MAX_CLASSES = 64
MAX_ROUNDS = 1 << 14

_LARGE = float(1 << 20)  # targets that leaf weights can reach
_HUGE = 1e100
_SEED = 32
_OWN = ("training", "seed", "weighted", "saved")
_REMEDY = "begin with an empty one at all parties"

Reals = NDArray[np.float64]
Objective = Literal["binary:logistic", "multi:softprob", "reg:squarederror", "count:poisson"]
Method = Literal["lwe", "rlwe", "ideal"]
"""How products are made: ``lwe`` takes the least work, and ``rlwe``, where ring LWE shares the hints of ``matvec.lwe``,
the fewest bytes; ``ideal`` protects nothing."""

OBJECTIVES: tuple[Objective, ...] = ("binary:logistic", "multi:softprob", "reg:squarederror", "count:poisson")


@dataclass(frozen=True)
class Training:
    """What to train; the same at all parties but for `seed`. Names and meanings are XGBoost's where it has them.

    Attributes:
        objective: ``binary:logistic``, ``multi:softprob``, ``reg:squarederror`` or ``count:poisson``.
        n_estimators: most rounds. A round is a tree, or one tree for each class.
        max_depth: levels of splits, 1 to 8.
        learning_rate: what leaf weights are multiplied by.
        reg_lambda: penalty on squares of leaf weights.
        reg_alpha: penalty on their sizes.
        gamma: a split gains at least so much.
        min_child_weight: least sum of hessians on both sides of a split.
        subsample: part of the rows that a tree is trained on, drawn for each tree.
        colsample_bytree: part of all parties' columns that a tree may split, drawn for each tree.
        base_score: what predictions begin with: a probability, a number, or a mean count; None for the mean of the
            labels. It changes nothing where there are several classes.
        scale_pos_weight: weight of rows of class 1.
        max_delta_step: largest leaf weight before the learning rate; 0 for none, None for 0, or 0.7 for counts.
        num_class: how many classes ``multi:softprob`` has.
        early_stopping_rounds: stop where so many rounds did not better the metric of the validation rows.
        validation_rows: so many rows, the last ones before those held out, are not trained on but measured.
        held_out_rows: so many rows, the last ones, are neither: they have margins by which to judge the model after it.
        minimum_rows: a node of fewer rows, those that no tree is trained on not counted, is not split.
        privacy: ``standard`` or ``strict``; see ``boosting``.
        leaves: who has the leaf weights in strict mode: ``label_party``, or nobody (``shared``).
        seed: of the draws of rows and columns, at the label party; None for secret ones.
    """

    objective: Objective = "binary:logistic"
    n_estimators: int = 100
    max_depth: int = 5
    learning_rate: float = 0.3
    reg_lambda: float = 1.0
    reg_alpha: float = 0.0
    gamma: float = 0.0
    min_child_weight: float = 1.0
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    base_score: float | None = None
    scale_pos_weight: float = 1.0
    max_delta_step: float | None = None
    num_class: int | None = None
    early_stopping_rounds: int | None = None
    validation_rows: int = 0
    held_out_rows: int = 0
    minimum_rows: int = 20
    privacy: Literal["standard", "strict"] = "standard"
    leaves: Literal["label_party", "shared"] = "label_party"
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UsageError(f"objective is one of {', '.join(OBJECTIVES)}, not {self.objective!r}.")
        if not (1 <= self.n_estimators <= MAX_ROUNDS and 1 <= self.max_depth <= MAX_DEPTH):
            raise UsageError(f"n_estimators is 1 to {MAX_ROUNDS} and max_depth 1 to {MAX_DEPTH}.")
        penalties = (self.reg_lambda, self.reg_alpha, self.gamma, self.min_child_weight, self.max_delta_step or 0.0)
        if not all(0 <= value < _HUGE for value in penalties):
            raise UsageError(
                "reg_lambda, reg_alpha, gamma, min_child_weight and max_delta_step are numbers that are not negative."
            )
        if not (0 < self.learning_rate <= 1 and 0 < self.subsample <= 1 and 0 < self.colsample_bytree <= 1):
            raise UsageError("learning_rate, subsample and colsample_bytree are above 0 and at most 1.")
        if not 0 < self.scale_pos_weight < _HUGE:
            raise UsageError("scale_pos_weight is a number above zero.")
        if self.scale_pos_weight != 1.0 and self.objective != "binary:logistic":
            raise UsageError("scale_pos_weight is for two classes (binary:logistic); give other rows sample_weight.")
        _require_base(self.objective, self.base_score)
        if (self.num_class is not None) != (self.objective == "multi:softprob"):
            raise UsageError("num_class goes with multi:softprob, which needs it: how many classes there are.")
        if self.num_class is not None and not 2 <= self.num_class <= MAX_CLASSES:
            raise UsageError(f"num_class is 2 to {MAX_CLASSES}, not {self.num_class}.")
        if min(self.validation_rows, self.held_out_rows) < 0 or self.minimum_rows < 1:
            raise UsageError("validation_rows and held_out_rows are not negative, and minimum_rows at least 1.")
        if self.early_stopping_rounds is not None and not (self.early_stopping_rounds >= 1 and self.validation_rows):
            raise UsageError(
                "early_stopping_rounds is at least 1 and needs validation_rows: put rows to validate on last."
            )
        if self.privacy not in ("standard", "strict"):
            raise UsageError(f"privacy is 'standard' or 'strict', not {self.privacy!r}.")
        if self.leaves not in ("label_party", "shared"):
            raise UsageError(f"leaves is 'label_party' or 'shared', not {self.leaves!r}.")
        if self.held_out_rows and self.privacy == "strict":
            raise UsageError(
                "held_out_rows goes with privacy='standard': with 'strict' judge the model afterwards, by "
                "boosted_scoring.in_shares."
            )
        if self.leaves == "shared" and self.privacy != "strict":
            raise UsageError("leaves='shared' needs privacy='strict': the label party makes the leaves otherwise.")

    @property
    def outputs(self) -> int:
        """Trees of a round, and margins of a row."""
        return self.num_class or 1

    @property
    def largest_step(self) -> float:
        """Largest leaf weight before the learning rate; 0 for none."""
        if self.max_delta_step is not None:
            return self.max_delta_step
        return 0.7 if self.objective == "count:poisson" else 0.0


def _require_base(objective: Objective, base: float | None) -> None:
    if base is None:
        return
    if not abs(base) < _LARGE:
        raise UsageError("base_score is a number.")
    if objective == "binary:logistic" and not 0 < base < 1:
        raise UsageError("base_score is a probability of class 1, above 0 and below 1.")
    if objective == "count:poisson" and not base > 0:
        raise UsageError("base_score is a mean count, above 0.")


@dataclass(frozen=True)
class Fitted:
    """What one party has of trained trees.

    Attributes:
        trees: this party's part of each tree; round after round, and in a round class after class.
        base_score: the margin (not the probability) that every score begins with; None where it is not known.
        margins: (n,), or (n, classes), of all rows, those that were not trained on among them, at the label party. In
            strict mode shares, as the mode's page says; None elsewhere.
        history: of each round that was trained the metric of the rows trained on, and that of the validation rows,
            NaN where there are none; at the label party, empty elsewhere.
        best_iteration: the last round of the model, from 0 on. With early stopping that is the best one, and trees
            after it are not kept.
        gains: of each tree what its splits gained, in the order of ``Shape.inner``; at a party that knows, empty
            elsewhere.
        rounds: how many the model has.
        run: 16 bytes that name the training, the same at all parties, also after it was resumed.
        learned: sentences: what this party learned.
    """

    trees: tuple[PartTree, ...]
    base_score: float | None
    margins: Reals | NDArray[np.uint64] | None = field(repr=False)
    history: tuple[tuple[float, float], ...]
    best_iteration: int
    gains: tuple[tuple[float, ...], ...]
    rounds: int
    run: bytes
    learned: tuple[str, ...]


# One party's input ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What one party brings to a training, checked.

    Attributes:
        training: the settings.
        label_party: its name.
        binned: this party's columns; n rows.
        labels: (n,) at the label party; classes are 0, 1, …
        weights: (n,) at the label party; None for ones.
    """

    training: Training
    label_party: str
    binned: Binned
    labels: Reals | None = field(default=None, repr=False)
    weights: Reals | None = field(default=None, repr=False)

    @property
    def trained(self) -> int:
        """How many rows, the first ones, are trained on."""
        return self.binned.rows - self.training.validation_rows - self.training.held_out_rows

    @property
    def validated(self) -> slice:
        """Which rows are measured and not trained on."""
        return slice(self.trained, self.binned.rows - self.training.held_out_rows)

    def digest(self) -> str:
        """Of this party's input, which has to be the same when a training goes on."""
        said = hashlib.sha256(b"unseen boosting input")
        arrays = (self.binned.codes, self.binned.sizes, self.binned.missing, self.labels, self.weights)
        for array in arrays:
            if array is not None:
                said.update(f"{array.dtype.str} {array.shape};".encode())
                said.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        said.update(str(self.training.seed).encode())
        return said.hexdigest()


def task(
    session: Session,
    binned: Binned,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
    label_party: str,
    training: Training,
) -> Task:
    """What this party brings, checked. UsageError says what is wrong with it; it names columns and rows, no values."""
    if label_party not in session.parties:
        raise UsageError(f"label_party is one of {', '.join(session.parties)}, not {label_party!r}.")
    if len(session.parties) < 2:
        raise UsageError("Boosting over columns is between two parties or more; alone use xgboost itself.")
    has_labels = session.me == label_party
    if has_labels != (labels is not None):
        raise UsageError(f"Only {label_party} gives labels; the others pass None.")
    if sample_weight is not None and not has_labels:
        raise UsageError(f"Only {label_party} gives sample_weight; the others pass None.")
    n = binned.rows
    if not 1 <= n <= MAX_ROWS:
        raise UsageError(f"Give 1 to {MAX_ROWS} rows, not {n}.")
    if len(binned.sizes) > MAX_COLUMNS or int(binned.sizes.sum()) > MAX_BINS:
        raise UsageError(f"A party has up to {MAX_COLUMNS} columns and {MAX_BINS} bins: give fewer bins to each.")
    if training.validation_rows + training.held_out_rows >= n:
        raise UsageError(f"validation_rows and held_out_rows leave none of the {n} rows to train on.")
    own = Task(training, label_party, binned)
    if labels is None:
        return own
    y = vector(labels, n, "labels")
    weights = None if sample_weight is None else vector(sample_weight, n, "sample_weight")
    own = Task(training, label_party, binned, y, weights)
    if weights is not None and not ((weights >= 0).all() and weights[: own.trained].any()):
        raise UsageError("sample_weight is not negative, and not zero in all rows that are trained on.")
    if weights is not None and training.early_stopping_rounds and not weights[own.validated].any():
        raise UsageError("sample_weight is zero in all rows to validate on: no metric could say when to stop.")
    _require_targets(own, y)
    return own


def vector(values: ArrayLike, n: int, what: str) -> Reals:
    """(n,) numbers, checked. UsageError says what `what` are instead."""
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} are numbers: encode text and categories first.") from None
    if vector.shape != (n,):
        raise UsageError(f"{what} has shape {vector.shape}; give one for each of the {n} rows, ({n},).")
    if not (np.abs(vector) < _HUGE).all():  # a NaN is not below either
        raise UsageError(f"{what} has missing, infinite or immense values: drop those rows at all parties first.")
    return vector


def _require_targets(own: Task, y: Reals) -> None:
    require_labels(own.training, y)
    trained = y[: own.trained]
    if own.training.objective in ("binary:logistic", "multi:softprob"):
        seen = trained if own.weights is None else trained[own.weights[: own.trained] > 0]
        if seen.min() == seen.max():
            raise UsageError(
                "All rows that are trained on have one label: there is nothing to tell apart. Give rows of more "
                "classes, as folds do that are stratified by class."
            )
    if own.training.objective == "count:poisson" and not trained.any():
        raise UsageError(
            "labels of count:poisson are all zero in the rows that are trained on: there is nothing to explain."
        )


def require_labels(training: Training, y: Reals) -> None:
    """UsageError where the objective has no such labels."""
    if training.objective in ("binary:logistic", "multi:softprob"):
        classes = training.num_class or 2
        if not np.isin(y, np.arange(classes)).all():
            remedy = (
                "map other classes to these first"
                if classes > 2 or training.num_class
                else ("map other classes to these first, use multi:softprob for more, or reg:squarederror for numbers")
            )
            raise UsageError(f"labels are the {classes} classes 0 to {classes - 1}: {remedy}.")
    elif training.objective == "count:poisson" and not (y >= 0).all():
        raise UsageError("labels of count:poisson are counts: not negative.")
    if not (np.abs(y) < _LARGE).all():
        raise UsageError(f"labels are below {_LARGE:.0f} in size: give them in another unit, or take logarithms.")


# What all agree on ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """What everybody knows of a party's columns.

    Attributes:
        sizes: bins of each, that of missing values included.
        missing: whether the last bin is that of missing values.
    """

    sizes: tuple[int, ...]
    missing: tuple[bool, ...]

    @property
    def bins(self) -> int:
        """Of all columns together."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Terms:
    """What all parties have agreed on, the same at all of them.

    Attributes:
        training: the settings; the seed is this party's own.
        label_party: its name.
        suite: cipher suite's name.
        method: of products.
        rows: of the table.
        columns: of each party, in the order of names.
        weighted: whether rows have weights.
        run: 16 bytes that name this training, also after it was resumed.
        attempt: 16 bytes that name this attempt at it, after it was resumed others.
        begun: the point where it goes on, as attempt and rounds; None for a new one.
    """

    training: Training
    label_party: str
    suite: str
    method: Method
    rows: int
    columns: Mapping[str, Columns]
    weighted: bool
    run: bytes
    attempt: bytes
    begun: tuple[bytes, int] | None

    @property
    def parties(self) -> tuple[str, ...]:
        """All, by name."""
        return tuple(self.columns)

    @property
    def holders(self) -> tuple[str, ...]:
        """Feature parties that have columns, by name."""
        return tuple(name for name, own in self.columns.items() if own.sizes and name != self.label_party)

    def digest(self, own: Task) -> str:
        """Of what has to be the same when the training goes on, this party's input included."""
        same = [
            VERSION,
            _public(self.training),
            self.label_party,
            self.suite,
            self.method,
            self.rows,
            self.weighted,
            [(name, columns.sizes, columns.missing) for name, columns in self.columns.items()],
            own.digest(),
        ]
        return hashlib.sha256(json.dumps(same).encode()).hexdigest()


def _public(training: Training) -> dict[str, str]:
    settings = asdict(training)
    del settings["seed"]
    return {name: json.dumps(settings[name]) for name in sorted(settings)}


def _require_same_settings(channel: Channel, mine: wire.BoostingTerms, theirs: wire.BoostingTerms) -> None:
    """PeerError that names the settings in which a peer's training differs, of which none is secret."""
    differs = [
        f"{name} (here {here}, there {theirs.training.get(name, 'none')[:80]})"
        for name, here in sorted(mine.training.items())
        if theirs.training.get(name) != here
    ]
    channel.require(not differs, "the same training at both parties, who differ in " + " and in ".join(differs))
    channel.require(len(theirs.training) == len(mine.training), "no settings that this version does not know")


def agree(session: Session, own: Task, suite: str, method: Method, saved: Mapping[tuple[bytes, int], bytes]) -> Terms:
    """Tell all other parties what is about to be trained, and be told the same.

    Args:
        session: of this party.
        own: what this party brings.
        suite: cipher suite's name.
        method: of products.
        saved: what this party could go on from, as attempt and rounds; with the run that it is of.

    Raises:
        UsageError: there is no column that could be split.
        PeerError: another party has other rows or settings; the text names what differs.
    """
    mine = wire.BoostingTerms(
        version=VERSION,
        parties=session.parties,
        label_party=own.label_party,
        suite=suites.get(suite).name,
        method=method,
        training=_public(own.training),
        rows=own.binned.rows,
        seed=session.rng.bytes(_SEED),
        weighted=own.weights is not None,
        saved=[wire.SavedBoosting(attempt=attempt, round=step) for attempt, step in saved],
    )
    sizes, missing = own.binned.sizes.astype(np.uint32), own.binned.missing.astype(np.uint8)
    peers = [name for name in session.parties if name != session.me]
    for peer in peers:
        session.channel(peer).send(mine, sizes, missing)
    said: dict[str, wire.BoostingTerms] = {session.me: mine}
    columns = {session.me: _columns(sizes, missing)}
    for peer in peers:
        channel = session.channel(peer)
        theirs, sizes, missing = channel.recv(wire.BoostingTerms)
        require_same(channel, mine, theirs, without=_OWN)
        _require_same_settings(channel, mine, theirs)
        channel.require(len(theirs.seed) == _SEED, f"{_SEED} random bytes")
        channel.require(peer == own.label_party or not theirs.weighted, "weights at the label party alone")
        channel.require(
            len(sizes) == len(missing) <= MAX_COLUMNS
            and int(sizes.sum(dtype=np.uint64)) <= MAX_BINS
            and bool((missing <= 1).all() and (sizes > missing).all()),
            "columns that trees can be made of",
        )
        said[peer], columns[peer] = theirs, _columns(sizes, missing)
    if not any(size > 1 for party in columns.values() for size in party.sizes):
        raise UsageError("No party has a column with two bins: there is nothing to split by.")
    points = [{(point.attempt, point.round) for point in terms.saved} for terms in said.values()]
    begun = max(set.intersection(*points), key=lambda point: (point[1], point[0]), default=None)
    seeds = b"".join(said[name].seed for name in session.parties)
    attempt = hashlib.sha256(b"unseen boosting run " + seeds).digest()[:16]
    return Terms(
        training=own.training,
        label_party=own.label_party,
        suite=mine.suite,
        method=method,
        rows=own.binned.rows,
        columns={name: columns[name] for name in session.parties},
        weighted=bool(said[own.label_party].weighted),
        run=attempt if begun is None else saved[begun],
        attempt=attempt,
        begun=begun,
    )


def _columns(sizes: NDArray[Any], missing: NDArray[Any]) -> Columns:
    return Columns(tuple(int(size) for size in sizes), tuple(bool(flag) for flag in missing))


# What is kept of a training that broke off ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A point that a training can be gone on with from, of one party. Whoever keeps it encrypts it: it has the model.

    Attributes:
        digest: of all that has to be the same when it goes on.
        run: of the training.
        attempt: that made it. Points of one round go together only if one attempt made them.
        round: rounds that are done.
        state: what the mode keeps as JSON.
        arrays: and as numpy arrays, by name.
    """

    digest: str
    run: bytes
    attempt: bytes
    round: int
    state: Mapping[str, Any] = field(repr=False)
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)

    def to_bytes(self) -> bytes:
        """A numpy archive (.npz) of arrays and of one of bytes: a JSON object. No pickle."""
        ids = {"digest": self.digest, "run": self.run.hex(), "attempt": self.attempt.hex(), "round": self.round}
        header = json.dumps({**ids, "state": self.state}).encode()
        out = io.BytesIO()
        np.savez(out, header=np.frombuffer(header, dtype=np.uint8), **self.arrays)  # type: ignore[arg-type]
        return out.getvalue()


def points(checkpoint: Checkpoint | None) -> dict[tuple[bytes, int], Point]:
    """What a checkpoint holds, by attempt and rounds. UsageError where it cannot be read."""
    found = {}
    for _, state in checkpoint.load() if checkpoint is not None else ():
        point = _point(state)
        found[point.attempt, point.round] = point
    return found


def _point(state: bytes) -> Point:
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        run, attempt = (bytes.fromhex(header[name]) for name in ("run", "attempt"))
        return Point(header["digest"], run, attempt, int(header["round"]), header["state"], arrays)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile):
        raise UsageError(f"The training's checkpoint is damaged: {_REMEDY}.") from None


def require_same_training(point: Point, terms: Terms, own: Task) -> None:
    """UsageError where a point is of a training with other settings or other rows."""
    if point.digest != terms.digest(own):
        raise UsageError(f"The checkpoint is of a training with other settings or other data: {_REMEDY}.")


@dataclass(frozen=True)
class Keep:
    """Tells of a round that is done, and keeps what there is after it.

    Attributes:
        session: whose progress is called.
        own: what this party brings.
        terms: agreed on.
        checkpoint: where points are kept, if anywhere.
        progress: called as well, if given.
    """

    session: Session
    own: Task
    terms: Terms
    checkpoint: Checkpoint | None
    progress: Callable[[int, int], None] | None

    def __call__(self, done: int, state: Mapping[str, object], **arrays: NDArray[Any]) -> None:
        """After so many rounds: what a `Point` has of this party's state."""
        if self.checkpoint is not None:
            point = Point(self.terms.digest(self.own), self.terms.run, self.terms.attempt, done, state, arrays)
            self.checkpoint.save(done, point.to_bytes())
        most = self.terms.training.n_estimators
        self.session.progress(Progress("training", done, most))
        if self.progress is not None:
            self.progress(done, most)


def saved_rounds(found: Mapping[tuple[bytes, int], Point]) -> dict[tuple[bytes, int], bytes]:
    """What ``agree`` is told of the points that there are."""
    return {at: point.run for at, point in found.items()}
