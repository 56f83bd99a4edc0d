"""The learning protocols as scikit-learn estimators: each party calls the same methods on its own columns, or rows.

    model = SecureLogisticRegression(C=1.0)
    model.fit(X, y, session=session, label_party="bank")       at the bank
    model.fit(X, session=session, label_party="bank")          at the others, on the same rows in the same order
    model.predict_proba(X, session=session)                    at all: (n, 2) at the bank, None at the others

Columns split over parties: SecureLogisticRegression, SecureLinearRegression (``protocols.learning.logistic``). Rows
split over silos: HorizontalLogisticRegression, HorizontalRegression (``protocols.learning.horizontal``), after which
each has the whole model and predicts by itself.

A fitted estimator holds this party's own coefficients and nothing of another's: it may be copied, pickled and kept like
any other. Without a session there is no fit and no prediction: nothing is ever computed in the clear instead. What each
party learned is in ``learned_``.

Leaks: fit: what the protocols say. Prediction with split columns opens each partner's part of each row's sum to the
       label party; with as many rows as a partner has features, and those features known, that is its coefficients.
       Partners learn how many rows are scored. ``protocols.learning.scoring.grades`` opens less.

scikit-learn is an extra: ``pip install unseen[learning]``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError
from mpc.session import Session
from protocols.learning import columns, horizontal, logistic, scoring
from protocols.learning.columns import Table
from protocols.learning.model import mean_of

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.utils.validation import check_is_fitted
except ImportError:
    raise UsageError("The estimators stand on scikit-learn: pip install unseen[learning]") from None

Floats = NDArray[np.float64]
Features = ArrayLike | Table

# A power of two costs no digit: what scoring bounds are log odds, and predictions of linear models may be far larger.
_SMALLER = 2.0**-100


class SecureLogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Logistic regression whose columns are split over parties, one of which has the labels.

    The model is scikit-learn's ``LogisticRegression`` with an L2 penalty on the columns of all parties together.

    Args:
        C: inverse of the penalty's strength.
        max_iter: most iterations.
        tol: size of a step at which training ends.
        fit_intercept: whether there is an intercept; the label party has it.
        class_weight: None, ``balanced``, or the weights of the labels 0 and 1. The label party's counts.
        compute: which parties compute; None for both of two or all of three.
        suite: name of the cipher suite.

    Attributes:
        coef_: (1, k) float64, of this party's own columns.
        intercept_: (1,) float64 at the label party; None at the others.
        classes_: (2,) the labels 0 and 1.
        n_iter_: (1,) iterations.
        n_features_in_: how many columns this party has.
        feature_names_in_: their names, where the columns had names.
        converged_: whether training ended by its stopping rule.
        separated_: whether the columns tell the labels apart without an error: then only the penalty bounds the model.
        label_party_: who had the labels.
        parties_: all parties of the model, in sorted order.
        learned_: what this party learned, in sentences.
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        max_iter: int = 100,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        class_weight: Literal["balanced"] | Mapping[int, float] | None = None,
        compute: tuple[str, ...] | None = None,
        suite: str = "intl",
    ) -> None:
        self.C = C
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.compute = compute
        self.suite = suite

    def fit(
        self,
        X: Features,
        y: ArrayLike | None = None,
        *,
        session: Session | None = None,
        label_party: str | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SecureLogisticRegression:
        """Train together with the other parties of the session, which call this with the same parameters.

        Args:
            X: (n, k) this party's columns: an array, a data frame or an Arrow table, of numbers without gaps. Rows are
                the same, in the same order, at all parties.
            y: (n,) labels, 0 or 1, at the label party; None at the others.
            session: this party's run.
            label_party: who has the labels.
            sample_weight: (n,) positive weights of the rows, at the label party.

        Raises:
            UsageError: no session, labels at the wrong party, columns that are no finite numbers; what
                ``logistic.fit`` refuses.
            PeerError: another party has other parameters or rows.
        """
        training = logistic.Training(
            C=self.C,
            max_iter=self.max_iter,
            tol=self.tol,
            fit_intercept=self.fit_intercept,
            class_weight=self.class_weight,
        )
        coefficients, intercept = _fit(self, X, y, training, session, label_party, sample_weight)
        self.classes_ = np.array([0, 1])
        self.coef_ = coefficients[None, :]
        self.intercept_ = None if intercept is None else np.array([intercept])
        return self

    def decision_function(self, X: Features, *, session: Session | None = None) -> Floats | None:
        """Open the log odds of each row to the label party: (n,) float64 there, None at the others.

        Args:
            X: (n, k) this party's columns, rows as at the other parties.
            session: with a channel to each party of the model.

        Raises:
            UsageError: no session, not fitted, other columns than in training.
            PeerError: another party has other rows.
        """
        return _total(self, X, session)

    def predict_proba(self, X: Features, *, session: Session | None = None) -> Floats | None:
        """Open the score of each row to the label party: probabilities (n, 2) float64 there, None at the others.

        Args and errors: as of ``decision_function``.
        """
        total = _total(self, X, session)
        if total is None:
            return None
        return np.column_stack([mean_of("logistic", -total), mean_of("logistic", total)])

    def predict(self, X: Features, *, session: Session | None = None) -> NDArray[np.int64] | None:
        """The likelier label of each row: (n,) int64 at the label party, which sees the scores; None at the others.

        Args and errors: as of ``decision_function``.
        """
        total = _total(self, X, session)
        return None if total is None else (total > 0).astype(np.int64)

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
            UsageError, PeerError: as of ``decision_function``.
        """
        _require_labels(self, y, session)
        predicted = self.predict(X, session=session)
        return None if predicted is None else float(accuracy_score(y, predicted, sample_weight=sample_weight))


class SecureLinearRegression(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Linear regression by least squares whose columns are split over parties, one of which has the targets.

    The model is scikit-learn's ``Ridge`` on the columns of all parties together.

    Args:
        alpha: strength of the L2 penalty, as in ``Ridge``; positive.
        max_iter: most iterations.
        tol: size of a step at which training ends.
        fit_intercept: whether there is an intercept; the label party has it.
        compute: which parties compute; None for both of two or all of three.
        suite: name of the cipher suite.

    Attributes:
        coef_: (k,) float64, of this party's own columns.
        intercept_: at the label party; None at the others.
        n_iter_: (1,) iterations.
        n_features_in_: how many columns this party has.
        feature_names_in_: their names, where the columns had names.
        converged_: whether training ended by its stopping rule.
        label_party_: who had the targets.
        parties_: all parties of the model, in sorted order.
        learned_: what this party learned, in sentences.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        max_iter: int = 100,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        compute: tuple[str, ...] | None = None,
        suite: str = "intl",
    ) -> None:
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.compute = compute
        self.suite = suite

    def fit(
        self,
        X: Features,
        y: ArrayLike | None = None,
        *,
        session: Session | None = None,
        label_party: str | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SecureLinearRegression:
        """Train with the other parties of the session: as ``SecureLogisticRegression.fit``, `y` being numbers."""
        if not 0 < self.alpha < np.inf:
            raise UsageError("alpha is positive: the penalty keeps columns that say the same apart.")
        training = logistic.Training(
            C=1 / self.alpha,
            max_iter=self.max_iter,
            tol=self.tol,
            fit_intercept=self.fit_intercept,
            family="linear",
        )
        self.coef_, self.intercept_ = _fit(self, X, y, training, session, label_party, sample_weight)
        return self

    def predict(self, X: Features, *, session: Session | None = None) -> Floats | None:
        """Open the prediction of each row to the label party: (n,) float64 there, None at the others.

        Args and errors: as of ``SecureLogisticRegression.decision_function``.
        """
        return _total(self, X, session)

    def score(
        self,
        X: Features,
        y: ArrayLike | None = None,
        *,
        session: Session | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float | None:
        """R² of the predictions, at the label party, which sees them; None at the others.

        Args and errors: as of ``SecureLogisticRegression.score``.
        """
        _require_labels(self, y, session)
        predicted = self.predict(X, session=session)
        return None if predicted is None else float(r2_score(y, predicted, sample_weight=sample_weight))


# What the estimators of split columns share ---------------------------------------------------------------------------


def _fit(
    estimator: Split,
    X: Features,
    y: ArrayLike | None,
    training: logistic.Training,
    session: Session | None,
    label_party: str | None,
    sample_weight: ArrayLike | None,
) -> tuple[Floats, float | None]:
    """Train, and set every fitted attribute that both have; coefficients (k,), and the intercept at the label party."""
    session = require_session(session)
    label_party = require_labels(y, session, label_party)
    values, names = _matrix(X)
    fitted = logistic.fit(
        session,
        values,
        None if y is None else _numbers(y, "y"),
        label_party=label_party,
        compute=estimator.compute,
        training=training,
        sample_weight=None if sample_weight is None else _numbers(sample_weight, "sample_weight"),
        suite=estimator.suite,
    )
    if fitted.coefficients is None:
        raise UsageError("Nobody knows the coefficients of this model: train with reveal_model='owners'.")
    _set_names(estimator, values, names)
    estimator.n_iter_ = np.array([fitted.iterations], dtype=np.int32)
    estimator.converged_ = fitted.converged
    estimator.separated_ = fitted.separated
    estimator.label_party_ = label_party
    estimator.parties_ = session.parties
    estimator.learned_ = fitted.learned
    if not fitted.converged:
        warnings.warn(
            f"Training had not converged after {fitted.iterations} iterations: raise max_iter.",
            ConvergenceWarning,
            stacklevel=3,
        )
    if fitted.separated:
        warnings.warn(
            "The columns tell the labels apart without an error: only the penalty bounds the coefficients. Look for a "
            "column that gives the label away.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return fitted.coefficients, None if session.me != label_party else fitted.intercept or 0.0


def _total(estimator: Split, X: Features, session: Session | None) -> Floats | None:
    """Open the sum of all parts of each row to the label party: (n,) there, None at the others."""
    check_is_fitted(estimator)
    session = require_session(session)
    missing = sorted(set(estimator.parties_) - set(session.parties))
    if missing:
        raise UsageError(
            f"The model has parts at {', '.join(missing)} too, without which there is no score: invite them."
        )
    partial = _known(estimator, X) @ np.ravel(estimator.coef_)
    if estimator.intercept_ is not None and session.me == estimator.label_party_:
        partial += estimator.intercept_
    total = scoring.scores(session, partial * _SMALLER, asker=estimator.label_party_, parties=estimator.parties_)
    return None if total is None else total / _SMALLER


def require_session(session: Session | None) -> Session:
    """The session that was given. UsageError where none was."""
    if not isinstance(session, Session):
        raise UsageError(
            "Give session=, this party's run with the others, to each call: nothing is computed without them, or in "
            "the clear. mpc.testing.run_parties makes sessions of parties in one process."
        )
    return session


def require_labels(y: ArrayLike | None, session: Session, label_party: str | None) -> str:
    """Who has the labels. UsageError unless that is said, and they are given there and nowhere else."""
    if label_party is None:
        raise UsageError('Say who has the labels: fit(X, y, session=session, label_party="bank"), the same at all.')
    if (y is not None) != (session.me == label_party):
        raise UsageError(f"Labels come from {label_party!r} and from nobody else: the others give None.")
    return label_party


def _require_labels(estimator: Split, y: ArrayLike | None, session: Session | None) -> None:
    check_is_fitted(estimator)
    require_labels(y, require_session(session), estimator.label_party_)


def _numbers(values: ArrayLike, what: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} holds numbers, of labels 0 and 1: encode what is text before.") from None


def _matrix(X: Features) -> tuple[Floats, tuple[str, ...] | None]:
    """(n, k) float64 and the columns' names, if they have names."""
    names: tuple[str, ...] | None
    if isinstance(X, pa.Table | pa.RecordBatch | Mapping) or hasattr(X, "columns"):
        table = cast(Table, X)
        names = columns.names(table)
        blocks = [columns.numbers(columns.column(table, name), name) for name in names]
        if len({len(block) for block in blocks}) > 1:
            raise UsageError("The columns of a table have one length.")
        values = np.column_stack(blocks) if blocks else np.empty((0, 0))
    else:
        names = None
        try:
            values = np.asarray(X, dtype=np.float64)
        except (TypeError, ValueError):
            raise UsageError("X holds numbers: prepare it with protocols.learning.preparation.") from None
        if values.ndim != 2:
            raise UsageError(f"X is (n, k), a column for each feature, and not of shape {values.shape}.")
    if not np.isfinite(values).all():
        raise UsageError(
            "X has missing or infinite values: prepare it with protocols.learning.preparation, or in a pipeline with "
            "scikit-learn's SimpleImputer."
        )
    return np.ascontiguousarray(values), names


# Rows split over silos ------------------------------------------------------------------------------------------------


class HorizontalLogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Logistic regression whose rows are split over silos, all of which get the model of the pooled rows.

    The model is scikit-learn's ``LogisticRegression`` on all rows together.

    Args:
        C: inverse of the penalty's strength; ``math.inf`` for none.
        fit_intercept: whether there is an intercept.
        standardise: whether the penalty is on coefficients of columns in units of their pooled standard deviation.
        class_weight: None, ``balanced`` by the pooled counts, or the weights of the labels 0 and 1.
        max_iter: most points of the search.
        tol: how little the last step moves the coefficients.
        leavers: what it means that a silo leaves: ``refuse`` or ``without`` it.
        minimum: the fewest silos.
        minimum_cell: the fewest rows in which a column differs, and of a class.
        suite: name of the cipher suite.

    Attributes:
        coef_: (1, k) float64.
        intercept_: (1,) float64.
        classes_: (2,) the labels 0 and 1.
        n_iter_: (1,) points of the search.
        n_features_in_: how many columns there are.
        feature_names_in_: their names, where the columns had names.
        converged_: whether the last step was small enough.
        separated_: whether the penalty alone bounds the coefficients.
        n_rows_: of all silos together.
        silos_: whose rows the model is of.
        notes_: what a reader of the coefficients has to know, in sentences.
        learned_: what this party learned, in sentences.
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        fit_intercept: bool = True,
        standardise: bool = False,
        class_weight: Literal["balanced"] | Mapping[int, float] | None = None,
        max_iter: int = 100,
        tol: float = 1e-6,
        leavers: Literal["refuse", "without"] = "refuse",
        minimum: int = 3,
        minimum_cell: int = 10,
        suite: str = "intl",
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.standardise = standardise
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.tol = tol
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
    ) -> HorizontalLogisticRegression:
        """Train together with the other silos, which call this with the same parameters and columns.

        Args:
            X: (n, k) this silo's rows, of numbers without gaps.
            y: (n,) their labels, 0 or 1.
            session: this party's run.
            aggregator: who adds up. One without rows calls ``horizontal.lead`` instead.
            sample_weight: (n,) weights of the rows, at all silos or at none.

        Raises:
            UsageError: no session, rows that are no finite numbers; what ``horizontal.fit`` refuses.
            PolicyError: too few silos or rows, or a silo that left.
            PeerError: another party has other parameters or columns.
        """
        training = horizontal.Training(
            C=self.C,
            fit_intercept=self.fit_intercept,
            standardise=self.standardise,
            class_weight=self.class_weight,
            max_iter=self.max_iter,
            tol=self.tol,
            leavers=self.leavers,
            minimum=self.minimum,
            minimum_cell=self.minimum_cell,
        )
        fitted = _fit_rows(self, X, y, training, session, aggregator, sample_weight)
        self.classes_ = np.array([0, 1])
        self.coef_ = fitted.coefficients[None, :]
        self.intercept_ = np.array([fitted.intercept])
        return self

    def decision_function(self, X: Features) -> Floats:
        """(n,) float64: the log odds of each row. Needs nobody else."""
        return _known(self, X) @ np.ravel(self.coef_) + float(self.intercept_[0])

    def predict_proba(self, X: Features) -> Floats:
        """(n, 2) float64: the probabilities of the labels 0 and 1. Needs nobody else."""
        total = self.decision_function(X)
        return np.column_stack([mean_of("logistic", -total), mean_of("logistic", total)])

    def predict(self, X: Features) -> NDArray[np.int64]:
        """(n,) int64: the likelier label of each row. Needs nobody else."""
        return (self.decision_function(X) > 0).astype(np.int64)


class HorizontalRegression(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Linear, Poisson or gamma regression whose rows are split over silos: all get the model of the pooled rows.

    Args:
        family: ``linear``, or ``poisson`` (counts) or ``gamma`` (positive amounts), the two with a logarithmic link.
        C: inverse of the penalty's strength; ``math.inf`` for none. Of scikit-learn's, ``Ridge`` has 1 / C as its
            alpha, and ``PoissonRegressor`` and ``GammaRegressor`` 1 / (C n), of n rows in all.
        fit_intercept: whether there is an intercept.
        standardise: whether the penalty is on coefficients of columns in units of their pooled standard deviation.
        max_iter: most points of the search.
        tol: how little the last step moves the coefficients.
        leavers: what it means that a silo leaves: ``refuse`` or ``without`` it.
        minimum: the fewest silos.
        minimum_cell: the fewest rows in which a column differs.
        suite: name of the cipher suite.

    Attributes:
        coef_: (k,) float64.
        intercept_: a number.
        Others as of ``HorizontalLogisticRegression``.
    """

    def __init__(
        self,
        *,
        family: Literal["linear", "poisson", "gamma"] = "linear",
        C: float = 1.0,
        fit_intercept: bool = True,
        standardise: bool = False,
        max_iter: int = 100,
        tol: float = 1e-6,
        leavers: Literal["refuse", "without"] = "refuse",
        minimum: int = 3,
        minimum_cell: int = 10,
        suite: str = "intl",
    ) -> None:
        self.family = family
        self.C = C
        self.fit_intercept = fit_intercept
        self.standardise = standardise
        self.max_iter = max_iter
        self.tol = tol
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
        offset: ArrayLike | None = None,
    ) -> HorizontalRegression:
        """Train together with the other silos: as ``HorizontalLogisticRegression.fit``, `y` being numbers.

        `offset`, (n,) at all silos or at none, is added to the linear predictor: the logarithm of the exposure.
        """
        if self.family not in ("linear", "poisson", "gamma"):
            raise UsageError("family is 'linear', 'poisson' or 'gamma'; the logistic one has an estimator of its own.")
        training = horizontal.Training(
            family=self.family,
            C=self.C,
            fit_intercept=self.fit_intercept,
            standardise=self.standardise,
            max_iter=self.max_iter,
            tol=self.tol,
            leavers=self.leavers,
            minimum=self.minimum,
            minimum_cell=self.minimum_cell,
        )
        fitted = _fit_rows(self, X, y, training, session, aggregator, sample_weight, offset)
        self.coef_ = fitted.coefficients
        self.intercept_ = fitted.intercept
        return self

    def predict(self, X: Features) -> Floats:
        """(n,) float64: the mean that the model expects, for an offset of 0. Needs nobody else."""
        return mean_of(self.family, _known(self, X) @ self.coef_ + self.intercept_)


def _fit_rows(
    estimator: Pooled,
    X: Features,
    y: ArrayLike,
    training: horizontal.Training,
    session: Session | None,
    aggregator: str | None,
    sample_weight: ArrayLike | None,
    offset: ArrayLike | None = None,
) -> horizontal.Fitted:
    """Train, and set every fitted attribute that both have."""
    session = require_session(session)
    if aggregator is None:
        raise UsageError('Say who adds up: fit(X, y, session=session, aggregator="hub"), the same at all.')
    values, names = _matrix(X)
    if session.me == aggregator:
        fitted = horizontal.lead(
            session, (values, y), training=training, sample_weight=sample_weight, offset=offset, suite=estimator.suite
        )
    else:
        fitted = horizontal.fit(
            session,
            values,
            y,
            aggregator=aggregator,
            training=training,
            sample_weight=sample_weight,
            offset=offset,
            suite=estimator.suite,
        )
    _set_names(estimator, values, names)
    estimator.n_iter_ = np.array([fitted.iterations], dtype=np.int32)
    estimator.converged_ = fitted.converged
    estimator.separated_ = fitted.separated
    estimator.n_rows_ = fitted.rows
    estimator.silos_ = fitted.silos
    estimator.notes_ = fitted.notes
    estimator.learned_ = fitted.learned
    if not fitted.converged or fitted.separated:
        warnings.warn(" ".join(fitted.notes), ConvergenceWarning, stacklevel=3)
    return fitted


def _known(estimator: Estimator, X: Features) -> Floats:
    """(n, k) float64: columns that are those of training."""
    check_is_fitted(estimator)
    values, names = _matrix(X)
    known = getattr(estimator, "feature_names_in_", None)
    different = known is not None and names is not None and tuple(known) != names
    if different or values.shape[1] != estimator.n_features_in_:
        raise UsageError("The columns are others than in training: give the same ones, in the same order.")
    return values


def _set_names(estimator: Estimator, values: Floats, names: tuple[str, ...] | None) -> None:
    estimator.n_features_in_ = values.shape[1]
    if names is not None:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_


Split: TypeAlias = SecureLogisticRegression | SecureLinearRegression
Pooled: TypeAlias = HorizontalLogisticRegression | HorizontalRegression
Estimator: TypeAlias = Split | Pooled
