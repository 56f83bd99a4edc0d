"""Boosted trees over silos as scikit-learn estimators, with XGBoost's parameters: each silo calls them on its own rows.

    model = HorizontalXGBClassifier(n_estimators=50, max_depth=5)
    model.fit(X, y, session=session, aggregator="hub")         at every silo, and at an aggregator with rows
    model.predict_proba(X)                                     by itself: each has the whole model
    model.forest_.to_xgboost()                                 for the package xgboost

Training is ``protocols.learning.horizontal_boosting``; an aggregator without rows calls its ``lead``. Columns are
numbers, gaps allowed. Without a session there is no fit: a model of one silo's rows alone is never made instead.

Leaks: what ``horizontal_boosting`` says; what each party learned is in ``learned_``. Prediction tells nobody anything.

scikit-learn is an extra: ``pip install unseen[learning]``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError
from mpc.session import Session
from protocols.learning import columns, forest, horizontal_boosting
from protocols.learning.boosting_estimators import known_table, table_of
from protocols.learning.boosting_terms import Training as Trees
from protocols.learning.checkpoint import Checkpoint
from protocols.learning.estimators import Features, Floats, require_session
from protocols.learning.horizontal_boosting import Training

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError:
    raise UsageError("The estimators stand on scikit-learn: pip install unseen[learning]") from None


class HorizontalXGBClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Boosted trees that tell classes apart, of rows that are split over silos: all get those of the pooled rows.

    Parameters are those of ``XGBClassifier`` with ``tree_method="hist"``, and mean the same; the last ones say who
    takes part, and over how few rows a sum may be. All silos give the same ones, but for `random_state`.

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
        colsample_bytree: part of the columns of a tree.
        scale_pos_weight: weight of the rows of label 1, where there are two.
        base_score: probability that predictions begin with; None for the part of label 1 over all silos.
        max_bin: most bins of a column.
        objective: ``binary:logistic``, or ``multi:softprob`` with `num_class`.
        num_class: how many classes, of ``multi:softprob``.
        early_stopping_rounds: rounds without a better metric of all silos' `validation_rows` after which training ends.
        validation_rows: how many rows of each silo, the last ones, are not trained on but measured.
        random_state: seed of `subsample`, and at the aggregator of `colsample_bytree`; None for secret draws.
        importance_type: of ``feature_importances_``: ``gain``, ``weight`` or ``cover``.
        leavers: what it means that a silo leaves: ``refuse`` or ``without`` it.
        minimum: the fewest silos.
        minimum_cell: fewest rows of a bin, of a leaf, and of a class; 0 as in XGBoost.
        suite: name of the cipher suite.

    Attributes:
        classes_: the labels 0, 1, … of all silos.
        n_classes_: how many.
        forest_: the model; ``forest_.to_json()`` and ``forest_.to_xgboost()`` to keep it.
        feature_importances_: (n_features_in_,) with a sum of 1.
        n_features_in_: how many columns there are.
        feature_names_in_: their names, where the columns had names.
        best_iteration_: the last round of the model, from 0 on.
        history_: (rounds, 2) the metric of all silos' rows trained on, and of others, after each round.
        n_rows_: of all silos together.
        silos_: whose rows the model is of.
        notes_: which columns no tree can split.
        learned_: what this party learned, in sentences.
    """

    def __init__(
        self,
        *,
        n_estimators: int = Trees.n_estimators,
        max_depth: int = Trees.max_depth,
        learning_rate: float = Trees.learning_rate,
        reg_lambda: float = Trees.reg_lambda,
        reg_alpha: float = Trees.reg_alpha,
        gamma: float = Trees.gamma,
        min_child_weight: float = Trees.min_child_weight,
        max_delta_step: float | None = Trees.max_delta_step,
        subsample: float = Trees.subsample,
        colsample_bytree: float = Trees.colsample_bytree,
        scale_pos_weight: float = Trees.scale_pos_weight,
        base_score: float | None = Trees.base_score,
        max_bin: int = Training.max_bins,
        objective: Literal["binary:logistic", "multi:softprob"] = "binary:logistic",
        num_class: int | None = Trees.num_class,
        early_stopping_rounds: int | None = Trees.early_stopping_rounds,
        validation_rows: int = Trees.validation_rows,
        random_state: int | None = Trees.seed,
        importance_type: forest.Importance = "gain",
        leavers: Literal["refuse", "without"] = Training.leavers,
        minimum: int = Training.minimum,
        minimum_cell: int = Training.minimum_cell,
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
        self.validation_rows = validation_rows
        self.random_state = random_state
        self.importance_type = importance_type
        self.leavers = leavers
        self.minimum = minimum
        self.minimum_cell = minimum_cell
        self.suite = suite

    def fit(
        self,
        X: Features,
        y: ArrayLike,
        *,
        session: Session | None = None,
        aggregator: str | None = None,
        sample_weight: ArrayLike | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> HorizontalXGBClassifier:
        """Train together with the other silos, which call this with the same parameters and columns.

        Args:
            X: (n, k) this silo's rows: an array, a data frame or an Arrow table of numbers, gaps allowed.
            y: (n,) their labels, 0, 1, …
            session: this party's run.
            aggregator: who adds up. One without rows calls ``horizontal_boosting.lead`` instead.
            sample_weight: (n,) weights of the rows.
            checkpoint: where each round's model is kept; a training that broke off goes on from there.

        Raises:
            UsageError: no session, columns that are no numbers; what ``horizontal_boosting.fit`` refuses.
            PolicyError: too few silos or rows, or a silo that left.
            PeerError: another party has other parameters or columns.
        """
        trees = _trees(self, num_class=self.num_class, scale_pos_weight=self.scale_pos_weight)
        _fit(self, X, y, trees, session, aggregator, sample_weight, checkpoint)
        self.classes_ = np.arange(trees.num_class or 2)
        self.n_classes_ = len(self.classes_)
        return self

    def predict_proba(self, X: Features) -> Floats:
        """(n, classes) float64: the probability of each label. Needs nobody else."""
        means = _means(self, X)
        return np.column_stack([1 - means, means]) if means.ndim == 1 else means

    def predict(self, X: Features) -> NDArray[np.int64]:
        """(n,) int64: the likeliest label of each row. Needs nobody else."""
        found: NDArray[np.int64] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    @property
    def feature_importances_(self) -> Floats:
        """(n_features_in_,) how much each column says, by `importance_type`, with a sum of 1."""
        return _importances(self)


class HorizontalXGBRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Boosted trees that predict numbers or counts, of rows split over silos: all get those of the pooled rows.

    Parameters are those of ``XGBRegressor`` with ``tree_method="hist"``.

    Args:
        objective: ``reg:squarederror``, or ``count:poisson`` for counts.
        base_score: what predictions begin with; None for the mean over all silos.
        Others as of ``HorizontalXGBClassifier``.

    Attributes:
        As of ``HorizontalXGBClassifier``, without classes.
    """

    def __init__(
        self,
        *,
        n_estimators: int = Trees.n_estimators,
        max_depth: int = Trees.max_depth,
        learning_rate: float = Trees.learning_rate,
        reg_lambda: float = Trees.reg_lambda,
        reg_alpha: float = Trees.reg_alpha,
        gamma: float = Trees.gamma,
        min_child_weight: float = Trees.min_child_weight,
        max_delta_step: float | None = Trees.max_delta_step,
        subsample: float = Trees.subsample,
        colsample_bytree: float = Trees.colsample_bytree,
        base_score: float | None = Trees.base_score,
        max_bin: int = Training.max_bins,
        objective: Literal["reg:squarederror", "count:poisson"] = "reg:squarederror",
        early_stopping_rounds: int | None = Trees.early_stopping_rounds,
        validation_rows: int = Trees.validation_rows,
        random_state: int | None = Trees.seed,
        importance_type: forest.Importance = "gain",
        leavers: Literal["refuse", "without"] = Training.leavers,
        minimum: int = Training.minimum,
        minimum_cell: int = Training.minimum_cell,
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
        self.validation_rows = validation_rows
        self.random_state = random_state
        self.importance_type = importance_type
        self.leavers = leavers
        self.minimum = minimum
        self.minimum_cell = minimum_cell
        self.suite = suite

    def fit(
        self,
        X: Features,
        y: ArrayLike,
        *,
        session: Session | None = None,
        aggregator: str | None = None,
        sample_weight: ArrayLike | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> HorizontalXGBRegressor:
        """Train together with the other silos: as ``HorizontalXGBClassifier.fit``, `y` being numbers."""
        _fit(self, X, y, _trees(self), session, aggregator, sample_weight, checkpoint)
        return self

    def predict(self, X: Features) -> Floats:
        """(n,) float64: what the model expects of each row. Needs nobody else."""
        return _means(self, X)

    @property
    def feature_importances_(self) -> Floats:
        """(n_features_in_,) how much each column says, by `importance_type`, with a sum of 1."""
        return _importances(self)


# What both share ------------------------------------------------------------------------------------------------------

Pooled: TypeAlias = HorizontalXGBClassifier | HorizontalXGBRegressor


def _trees(estimator: Pooled, *, num_class: int | None = None, scale_pos_weight: float = 1.0) -> Trees:
    return Trees(
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
        validation_rows=estimator.validation_rows,
        seed=estimator.random_state,
    )


def _fit(
    estimator: Pooled,
    X: Features,
    y: ArrayLike,
    trees: Trees,
    session: Session | None,
    aggregator: str | None,
    sample_weight: ArrayLike | None,
    checkpoint: Checkpoint | None,
) -> None:
    """Train, and set every fitted attribute that both have."""
    session = require_session(session)
    if aggregator is None:
        raise UsageError('Say who adds up: fit(X, y, session=session, aggregator="hub"), the same at all.')
    training = Training(
        trees=trees,
        max_bins=estimator.max_bin,
        leavers=estimator.leavers,
        minimum=estimator.minimum,
        minimum_cell=estimator.minimum_cell,
    )
    table, named = table_of(X)
    names = columns.names(table)
    values = _matrix(table, names)
    if session.me == aggregator:
        fitted = horizontal_boosting.lead(
            session,
            (values, y),
            training=training,
            sample_weight=sample_weight,
            names=names,
            suite=estimator.suite,
            checkpoint=checkpoint,
        )
    else:
        fitted = horizontal_boosting.fit(
            session,
            values,
            y,
            aggregator=aggregator,
            training=training,
            sample_weight=sample_weight,
            names=names,
            suite=estimator.suite,
            checkpoint=checkpoint,
        )
    estimator.forest_ = fitted.model
    estimator.n_features_in_ = len(names)
    if named:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
    estimator.best_iteration_ = fitted.model.rounds - 1
    estimator.history_ = np.array(fitted.history, dtype=np.float64).reshape(-1, 2)
    estimator.n_rows_ = fitted.model.rows
    estimator.silos_ = fitted.silos
    estimator.notes_ = fitted.notes
    estimator.learned_ = fitted.learned


def _means(estimator: Pooled, X: Features) -> Floats:
    check_is_fitted(estimator)
    model: forest.Forest = estimator.forest_
    table = known_table(X, model.names, named=hasattr(estimator, "feature_names_in_"))
    return model.predict(_matrix(table, model.names))


def _matrix(table: columns.Table, names: tuple[str, ...]) -> Floats:
    """(n, k) of numbers, NaN where one is missing."""
    return np.column_stack([columns.numbers(columns.column(table, name), name) for name in names])


def _importances(estimator: Pooled) -> Floats:
    check_is_fitted(estimator)
    model: forest.Forest = estimator.forest_
    values = model.importance(estimator.importance_type)
    return values / values.sum() if values.any() else values
