"""Boosted trees over parties as scikit-learn estimators, with XGBoost's parameters: each party calls the same methods.

    model = SecureXGBClassifier(n_estimators=50, max_depth=5)
    model.fit(X, y, session=session, label_party="bank")       at the bank
    model.fit(X, session=session, label_party="bank")          at the others, on the same rows in the same order
    model.predict_proba(X, session=session)                    at all: (n, classes) at the bank, None at the others

Training is ``protocols.learning.boosting``, on codes of ``protocols.learning.binned``; prediction is
``protocols.learning.boosted_scoring``. A fitted estimator holds this party's own part of the trees, ``part_``, and
nothing of another's: it may be copied, pickled and kept like any other. Without a session there is no fit and no
prediction: nothing is ever computed in the clear instead. What each party learned is in ``learned_``.

Leaks: fit: what ``boosting`` says of the mode. Prediction opens each row's margin to the label party, and nothing of
       where in the trees a row went; partners learn how many rows are scored.

scikit-learn is an extra: ``pip install unseen[learning]``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError
from mpc.session import Session
from protocols.learning import boosted_scoring, boosting, columns
from protocols.learning.binned import BINS, Binned, Cuts
from protocols.learning.boosted import BoostedPart
from protocols.learning.boosting import Fitted, Training
from protocols.learning.checkpoint import Checkpoint
from protocols.learning.columns import Table
from protocols.learning.estimators import Features, Floats, require_labels, require_session

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.utils.validation import check_is_fitted
except ImportError:
    raise UsageError("The estimators stand on scikit-learn: pip install unseen[learning]") from None

Importance = Literal["gain", "weight", "cover", "total_gain", "total_cover"]
Validation = Sequence[tuple[Features, ArrayLike | None]]


class SecureXGBClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Boosted trees that tell classes apart, of columns that are split over parties, one of which has the labels.

    Parameters are those of ``XGBClassifier`` with ``tree_method="hist"``, and mean the same; further ones say how much
    opens. All parties give the same ones, but for `random_state`, `feature_types` and `max_bin`.

    Args:
        n_estimators: rounds of boosting, of one tree, or one for each class.
        max_depth: levels of splits, 1 to 8.
        learning_rate: by which leaf weights are multiplied.
        reg_lambda: L2 penalty on leaf weights.
        reg_alpha: L1 penalty on leaf weights.
        gamma: least gain of a split.
        min_child_weight: least sum of hessians on both sides of a split.
        max_delta_step: largest leaf weight before the learning rate; None for any.
        subsample: part of the rows of a tree.
        colsample_bytree: part of all parties' columns of a tree.
        scale_pos_weight: weight of the rows of the second class, where there are two.
        base_score: probability that predictions begin with; None for the part of the second class.
        max_bin: most bins of a column of this party. Time and bytes grow with the bins of all columns.
        objective: ``binary:logistic``, or ``multi:softprob`` with `num_class`.
        num_class: how many classes, of ``multi:softprob``.
        early_stopping_rounds: rounds without a better metric of the `eval_set` after which training ends.
        random_state: seed of `subsample` and `colsample_bytree`, at the label party; None for secret draws.
        feature_types: ``q`` for numbers or ``c`` for categories, for each of this party's columns. None: categories are
            what pandas or Arrow has as such, and text is refused.
        importance_type: what ``feature_importances_`` are: ``gain``, ``weight``, ``cover``, ``total_gain``,
            ``total_cover``. None: the gain where this party knows it, else the weight.
        minimum_rows: a node of fewer rows is not split.
        privacy: ``standard``, or ``strict``, where nothing opens but the trees.
        leaves: with ``strict``, whether the label party learns the leaf weights, or nobody (``shared``).
        suite: name of the cipher suite.

    Attributes:
        classes_: the labels, in order; at the other parties their numbers.
        n_classes_: how many.
        part_: this party's part of the model, to be kept (``part_.to_json()``).
        feature_importances_: (n_features_in_,) of this party's own columns, with a sum of 1.
        party_importances_: by party, its splits' part of what all splits gained; None at a party that does not know.
        n_features_in_: how many columns this party has.
        feature_names_in_: their names, where the columns had names.
        best_iteration_: the last round of the model, from 0 on.
        history_: (rounds, 2) the metric of rows trained on and of validation rows after each round, at the label party;
            (0, 2) at the others.
        notes_: which columns were left out or put together, and why.
        label_party_: who had the labels.
        parties_: all parties of the model, in sorted order.
        learned_: what this party learned, in sentences.
    """

    def __init__(
        self,
        *,
        n_estimators: int = Training.n_estimators,
        max_depth: int = Training.max_depth,
        learning_rate: float = Training.learning_rate,
        reg_lambda: float = Training.reg_lambda,
        reg_alpha: float = Training.reg_alpha,
        gamma: float = Training.gamma,
        min_child_weight: float = Training.min_child_weight,
        max_delta_step: float | None = Training.max_delta_step,
        subsample: float = Training.subsample,
        colsample_bytree: float = Training.colsample_bytree,
        scale_pos_weight: float = Training.scale_pos_weight,
        base_score: float | None = Training.base_score,
        max_bin: int = BINS,
        objective: Literal["binary:logistic", "multi:softprob"] = "binary:logistic",
        num_class: int | None = Training.num_class,
        early_stopping_rounds: int | None = Training.early_stopping_rounds,
        random_state: int | None = Training.seed,
        feature_types: Sequence[Literal["q", "c"]] | None = None,
        importance_type: Importance | None = None,
        minimum_rows: int = Training.minimum_rows,
        privacy: Literal["standard", "strict"] = Training.privacy,
        leaves: Literal["label_party", "shared"] = Training.leaves,
        suite: str = "intl",
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.gamma = gamma
        self.min_child_weight = min_child_weight
        self.max_delta_step = max_delta_step
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.scale_pos_weight = scale_pos_weight
        self.base_score = base_score
        self.max_bin = max_bin
        self.objective = objective
        self.num_class = num_class
        self.early_stopping_rounds = early_stopping_rounds
        self.random_state = random_state
        self.feature_types = feature_types
        self.importance_type = importance_type
        self.minimum_rows = minimum_rows
        self.privacy = privacy
        self.leaves = leaves
        self.suite = suite

    def fit(
        self,
        X: Features,
        y: ArrayLike | None = None,
        *,
        session: Session | None = None,
        label_party: str | None = None,
        sample_weight: ArrayLike | None = None,
        eval_set: Validation | None = None,
        checkpoint: Checkpoint | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> SecureXGBClassifier:
        """Train together with the other parties of the session, which call this with the same parameters.

        Args:
            X: (n, k) this party's columns: an array, a data frame or an Arrow table, gaps allowed. Rows are the same,
                in the same order, at all parties.
            y: (n,) labels of any kind, at the label party; None at the others.
            session: this party's run.
            label_party: who has the labels.
            sample_weight: (n,) weights of the rows, at the label party.
            eval_set: one pair of further rows and their labels (None at the other parties), the same rows at all, that
                are not trained on, and decide when `early_stopping_rounds` ends training.
            checkpoint: where each round's state is kept; a training that broke off goes on from there.
            progress: called with the rounds done and those at most.

        Raises:
            UsageError: no session, labels at the wrong party or of other classes than the parameters say, columns that
                cannot be coded; what ``boosting.fit`` refuses.
            PeerError: another party has other parameters or rows.
        """
        session = require_session(session)
        label_party = require_labels(y, session, label_party)
        classes = _classes(y, self.objective, self.num_class)
        number = functools.partial(_numbers_of_classes, classes=classes)
        inputs = _inputs(self, X, y, sample_weight, eval_set, number)
        training = _training(self, inputs, num_class=self.num_class, scale_pos_weight=self.scale_pos_weight)
        _fit(self, inputs, training, session, label_party, checkpoint, progress)
        self.classes_, self.n_classes_ = classes, len(classes)
        return self

    def predict_proba(self, X: Features, *, session: Session | None = None) -> Floats | None:
        """Open the margins of each row to the label party: probabilities (n, classes) there, None at the others.

        Args:
            X: (n, k) this party's columns, rows as at the other parties.
            session: with a channel to each party of the model.

        Raises:
            UsageError: no session, not fitted, other columns than in training.
            PeerError: another party has other rows, or a part of another model.
        """
        means = _means(self, X, session)
        return np.column_stack([1 - means, means]) if means is not None and means.ndim == 1 else means

    def predict(self, X: Features, *, session: Session | None = None) -> NDArray[np.generic] | None:
        """The likeliest label of each row: (n,) at the label party, which sees the probabilities; None at the others.

        Args and errors: as of ``predict_proba``.
        """
        probabilities = self.predict_proba(X, session=session)
        if probabilities is None:
            return None
        found: NDArray[np.generic] = self.classes_[probabilities.argmax(axis=1)]
        return found

    def score(
        self,
        X: Features,
        y: ArrayLike | None = None,
        *,
        session: Session | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float | None:
        """The part of the rows whose label is predicted, at the label party, which sees the scores; None at the others.

        Args:
            X: (n, k) this party's columns, rows as at the other parties.
            y: (n,) labels, at the label party.
            session: with a channel to each party of the model.
            sample_weight: (n,) weights of the rows, at the label party.

        Raises:
            UsageError, PeerError: as of ``predict_proba``.
        """
        check_is_fitted(self)
        require_labels(y, require_session(session), self.label_party_)
        predicted = self.predict(X, session=session)
        return None if predicted is None else float(accuracy_score(y, predicted, sample_weight=sample_weight))

    @property
    def feature_importances_(self) -> Floats:
        """(n_features_in_,) how much this party's columns say, by `importance_type`, with a sum of 1."""
        return _importances(self)


class SecureXGBRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Boosted trees that predict numbers or counts, of columns split over parties, one of which has the targets.

    Parameters are those of ``XGBRegressor`` with ``tree_method="hist"``.

    Args:
        objective: ``reg:squarederror``, or ``count:poisson`` for counts.
        base_score: what predictions begin with; None for the mean of the targets.
        Others as of ``SecureXGBClassifier``.

    Attributes:
        As of ``SecureXGBClassifier``, without classes.
    """

    def __init__(
        self,
        *,
        n_estimators: int = Training.n_estimators,
        max_depth: int = Training.max_depth,
        learning_rate: float = Training.learning_rate,
        reg_lambda: float = Training.reg_lambda,
        reg_alpha: float = Training.reg_alpha,
        gamma: float = Training.gamma,
        min_child_weight: float = Training.min_child_weight,
        max_delta_step: float | None = Training.max_delta_step,
        subsample: float = Training.subsample,
        colsample_bytree: float = Training.colsample_bytree,
        base_score: float | None = Training.base_score,
        max_bin: int = BINS,
        objective: Literal["reg:squarederror", "count:poisson"] = "reg:squarederror",
        early_stopping_rounds: int | None = Training.early_stopping_rounds,
        random_state: int | None = Training.seed,
        feature_types: Sequence[Literal["q", "c"]] | None = None,
        importance_type: Importance | None = None,
        minimum_rows: int = Training.minimum_rows,
        privacy: Literal["standard", "strict"] = Training.privacy,
        leaves: Literal["label_party", "shared"] = Training.leaves,
        suite: str = "intl",
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.gamma = gamma
        self.min_child_weight = min_child_weight
        self.max_delta_step = max_delta_step
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.base_score = base_score
        self.max_bin = max_bin
        self.objective = objective
        self.early_stopping_rounds = early_stopping_rounds
        self.random_state = random_state
        self.feature_types = feature_types
        self.importance_type = importance_type
        self.minimum_rows = minimum_rows
        self.privacy = privacy
        self.leaves = leaves
        self.suite = suite

    def fit(
        self,
        X: Features,
        y: ArrayLike | None = None,
        *,
        session: Session | None = None,
        label_party: str | None = None,
        sample_weight: ArrayLike | None = None,
        eval_set: Validation | None = None,
        checkpoint: Checkpoint | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> SecureXGBRegressor:
        """Train with the other parties of the session: as ``SecureXGBClassifier.fit``, `y` being numbers."""
        session = require_session(session)
        label_party = require_labels(y, session, label_party)
        inputs = _inputs(self, X, y, sample_weight, eval_set, _numbers)
        _fit(self, inputs, _training(self, inputs), session, label_party, checkpoint, progress)
        return self

    def predict(self, X: Features, *, session: Session | None = None) -> Floats | None:
        """Open the prediction of each row to the label party: (n,) float64 there, None at the others.

        Args and errors: as of ``SecureXGBClassifier.predict_proba``.
        """
        return _means(self, X, session)

    def score(
        self,
        X: Features,
        y: ArrayLike | None = None,
        *,
        session: Session | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float | None:
        """R² of the predictions, at the label party, which sees them; None at the others.

        Args and errors: as of ``SecureXGBClassifier.score``.
        """
        check_is_fitted(self)
        require_labels(y, require_session(session), self.label_party_)
        predicted = self.predict(X, session=session)
        return None if predicted is None else float(r2_score(y, predicted, sample_weight=sample_weight))

    @property
    def feature_importances_(self) -> Floats:
        """(n_features_in_,) how much this party's columns say, by `importance_type`, with a sum of 1."""
        return _importances(self)


# What both share ------------------------------------------------------------------------------------------------------

Boosted: TypeAlias = SecureXGBClassifier | SecureXGBRegressor


@dataclass(frozen=True)
class Inputs:
    """What one party brings to a training.

    Attributes:
        cuts: of its columns, by the rows that are trained on.
        binned: codes of these rows, and behind them of those to validate on.
        labels: (n,) float64 at the label party.
        weights: (n,) float64 at the label party, where rows have weights.
        validation_rows: how many rows are not trained on.
        columns: names of those that this party gave.
        named: whether they had these names, or an order alone.
    """

    cuts: Cuts
    binned: Binned
    labels: Floats | None
    weights: Floats | None
    validation_rows: int
    columns: tuple[str, ...]
    named: bool


def _inputs(
    estimator: Boosted,
    X: Features,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    eval_set: Validation | None,
    number: Callable[[ArrayLike], Floats],
) -> Inputs:
    table, named = table_of(X)
    names = columns.names(table)
    cuts = Cuts.fit(table, max_bins=estimator.max_bin, categorical=_categorical(table, names, estimator.feature_types))
    binned = cuts.codes(table, rows=_rows(X))
    labels = None if y is None else number(y)
    weights = None if sample_weight is None else _numbers(sample_weight, "sample_weight")
    validation_rows = 0
    if estimator.early_stopping_rounds is not None and eval_set is None:
        raise UsageError(
            "early_stopping_rounds goes by rows that are not trained on: give fit(..., eval_set=[(X, y)])."
        )
    if eval_set is not None:
        if len(eval_set) != 1 or len(eval_set[0]) != 2:
            raise UsageError("eval_set is one pair: [(X, y)] at the label party, [(X, None)] at the others.")
        further, answers = eval_set[0]
        if (answers is None) != (y is None):
            raise UsageError("eval_set has labels where y has them: [(X, y)] at the label party, else [(X, None)].")
        validation_rows = _rows(further)
        binned = _stacked(binned, cuts.codes(known_table(further, names, named=named), rows=validation_rows))
        if labels is not None and answers is not None:
            labels = np.concatenate([labels, number(answers)])
        if weights is not None:
            weights = np.concatenate([weights, np.ones(validation_rows)])
    return Inputs(cuts, binned, labels, weights, validation_rows, names, named)


def _stacked(above: Binned, below: Binned) -> Binned:
    """Rows of the same cuts, one below the other. A column that misses values in one alone has a bin for them."""
    codes = np.concatenate([above.codes, below.codes])
    sizes = np.maximum(above.sizes, below.sizes)
    return Binned(codes, sizes, above.missing | below.missing, above.names)


def _training(
    estimator: Boosted, inputs: Inputs, *, num_class: int | None = None, scale_pos_weight: float = 1.0
) -> Training:
    return Training(
        objective=estimator.objective,
        n_estimators=estimator.n_estimators,
        max_depth=estimator.max_depth,
        learning_rate=estimator.learning_rate,
        reg_lambda=estimator.reg_lambda,
        reg_alpha=estimator.reg_alpha,
        gamma=estimator.gamma,
        min_child_weight=estimator.min_child_weight,
        max_delta_step=estimator.max_delta_step,
        subsample=estimator.subsample,
        colsample_bytree=estimator.colsample_bytree,
        scale_pos_weight=scale_pos_weight,
        base_score=estimator.base_score,
        num_class=num_class,
        early_stopping_rounds=estimator.early_stopping_rounds,
        validation_rows=inputs.validation_rows,
        minimum_rows=estimator.minimum_rows,
        privacy=estimator.privacy,
        leaves=estimator.leaves,
        seed=estimator.random_state,
    )


def _fit(
    estimator: Boosted,
    inputs: Inputs,
    training: Training,
    session: Session,
    label_party: str,
    checkpoint: Checkpoint | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Train, and set every fitted attribute that both have."""
    fitted = boosting.fit(
        session,
        inputs.binned,
        inputs.labels,
        label_party=label_party,
        training=training,
        sample_weight=inputs.weights,
        suite=estimator.suite,
        checkpoint=checkpoint,
        progress=progress,
    )
    estimator.part_ = BoostedPart.of(
        fitted.trees,
        inputs.cuts,
        party=session.me,
        label_party=label_party,
        parties=session.parties,
        objective=training.objective,
        base_score=fitted.base_score,
        model=fitted.run.hex()[:16],
        training=fitted.run.hex(),
        rows=inputs.binned.rows - inputs.validation_rows,
        trained=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=training.outputs,
        gains=fitted.gains,
    )
    estimator.n_features_in_ = len(inputs.columns)
    estimator._columns = inputs.columns
    if inputs.named:
        estimator.feature_names_in_ = np.array(inputs.columns, dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
    estimator.party_importances_ = _by_party(fitted, session.parties)
    estimator.best_iteration_ = fitted.best_iteration
    estimator.history_ = np.array(fitted.history, dtype=np.float64).reshape(-1, 2)
    estimator.notes_ = inputs.cuts.notes
    estimator.label_party_ = label_party
    estimator.parties_ = session.parties
    estimator.learned_ = fitted.learned


def _by_party(fitted: Fitted, parties: Sequence[str]) -> dict[str, float] | None:
    """Each party's part of what splits gained, where that is known."""
    gained = dict.fromkeys(parties, 0.0)
    for tree, gains in zip(fitted.trees, fitted.gains, strict=False):
        for one, gain in zip(tree.shape.inner if tree.shape else (), gains, strict=True):
            gained[one.owner] += gain
    total = sum(gained.values())
    return {party: gain / total for party, gain in gained.items()} if total > 0 else None


def _means(estimator: Boosted, X: Features, session: Session | None) -> Floats | None:
    """Open what the model expects of each row to the label party: (n,), or (n, classes) where there are several."""
    check_is_fitted(estimator)
    session = require_session(session)
    missing = sorted(set(estimator.parties_) - set(session.parties))
    if missing:
        raise UsageError(
            f"The model has parts at {', '.join(missing)} too, without which there is no score: invite them."
        )
    part: BoostedPart = estimator.part_
    known = known_table(X, estimator._columns, named=hasattr(estimator, "feature_names_in_"))
    total = boosted_scoring.scores(session, part, known, rows=_rows(X), suite=estimator.suite)
    return None if total is None else part.probability(total)


def _importances(estimator: Boosted) -> Floats:
    """Of splits of each of this party's columns, and of all columns of codes that are made of it."""
    check_is_fitted(estimator)
    part: BoostedPart = estimator.part_
    known = all(tree.gains is not None for tree in part.trees)
    kind = estimator.importance_type or ("gain" if known else "weight")
    if kind not in get_args(Importance):
        raise UsageError(f"importance_type is one of {', '.join(get_args(Importance))}, not {kind!r}.")
    place = {name: i for i, name in enumerate(estimator._columns)}
    sources = [place[name] for name in part.binning.sources]
    total, count = np.zeros(len(place)), np.zeros(len(place))
    for tree in part.trees:
        values = (
            tree.covers if kind.endswith("cover") else tree.gains if kind.endswith("gain") else (1.0,) * len(tree.own)
        )
        if values is None:
            raise UsageError(
                f"{part.party} does not know the {kind} of its splits: in standard mode the label party does, and "
                "nobody in strict mode. Set importance_type='weight', which counts splits."
            )
        for node, value in zip(tree.own, values, strict=True):
            total[sources[node.column]] += value
            count[sources[node.column]] += 1
    if kind in ("gain", "cover"):
        total /= np.maximum(count, 1)
    return total / total.sum() if total.any() else total


# Tables and labels ----------------------------------------------------------------------------------------------------


def table_of(X: Features) -> tuple[Table, bool]:
    """What was given as a table, and whether its columns had names; those of an array are f0, f1, …"""
    if isinstance(X, pa.Table | pa.RecordBatch | Mapping) or hasattr(X, "columns"):
        return cast(Table, X), True
    values = np.asarray(X)
    if values.ndim != 2:
        raise UsageError(f"X is (n, k), a column for each feature, and not of shape {values.shape}.")
    return {f"f{i}": values[:, i] for i in range(values.shape[1])}, False


def _rows(X: Features) -> int:
    table, named = table_of(X)
    return columns.length(table) if named else len(cast(Sized, X))


def known_table(X: Features, known: Sequence[str], *, named: bool) -> Table:
    """A table with the columns of training, by their names; where one of the two had none, by their order."""
    table, has_names = table_of(X)
    found = columns.names(table)
    if named and has_names:
        missing, surplus = sorted(set(known) - set(found)), sorted(set(found) - set(known))
        if missing or surplus:
            raise UsageError(
                f"The columns are others than in training: missing {missing[:5]}, unknown {surplus[:5]}. Give the same."
            )
        return table
    if len(found) != len(known):
        raise UsageError(f"There are {len(found)} columns, and {len(known)} in training: give the same ones, in order.")
    return {name: table[place] for name, place in zip(known, found, strict=True)}


def _categorical(table: Table, names: Sequence[str], types: Sequence[str] | None) -> tuple[str, ...]:
    """Which columns are of categories: those that are said to be, or else have a type that says so."""
    if types is None:
        return tuple(name for name in names if _has_categories(table[name]))
    if len(types) != len(names) or not set(types) <= {"q", "c"}:
        raise UsageError(f"feature_types has 'q' or 'c' for each of the {len(names)} columns.")
    return tuple(name for name, kind in zip(names, types, strict=True) if kind == "c")


def _has_categories(values: object) -> bool:
    kind = getattr(values, "type", None)
    if isinstance(kind, pa.DataType):
        return bool(pa.types.is_dictionary(kind))
    return str(getattr(values, "dtype", "")).lower().startswith(("categor", "enum"))  # pandas', polars'


def _numbers(values: ArrayLike, what: str = "y") -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} holds numbers.") from None


def _classes(y: ArrayLike | None, objective: str, num_class: int | None) -> NDArray[np.generic]:
    """The labels that there are, in order; 0, 1, … where these are all of them, or nobody here knows."""
    number = num_class or 2
    if y is None:
        return np.arange(number)
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise UsageError(f"y is (n,), a label for each row, and not of shape {labels.shape}.")
    try:
        found = np.unique(labels)
    except TypeError:
        raise UsageError("y holds labels of one kind, numbers or texts, none of them missing.") from None
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise UsageError("y has missing or infinite labels: leave those rows out, at all parties.")
    if found.dtype.kind in "iubf" and np.isin(found, np.arange(number)).all():
        return np.arange(number).astype(found.dtype)
    if len(found) != number:
        several = "" if objective == "multi:softprob" else ' objective="multi:softprob" and'
        raise UsageError(
            f"y has {len(found)} classes, and the parameters say {number}: give{several} num_class={len(found)} at all "
            "parties, or a row of each class."
        )
    return found


def _numbers_of_classes(y: ArrayLike, classes: NDArray[np.generic]) -> Floats:
    """(n,) the number of each row's class."""
    labels = np.asarray(y)
    places = {label: float(i) for i, label in enumerate(classes.tolist())}
    try:
        return np.array([places[label] for label in labels.tolist()], dtype=np.float64)
    except (KeyError, TypeError):
        raise UsageError("There is a label that is none of the classes of y.") from None
