"""The scikit-learn façade: agrees with scikit-learn on pooled data, behaves as its estimators do, never goes it alone.

Training and the products in it are tested with the protocols; here they run on the ideal method, which computes in the
clear what the parties share.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from protocols.learning import logistic
from protocols.learning.estimators import (
    HorizontalLogisticRegression,
    HorizontalRegression,
    SecureLinearRegression,
    SecureLogisticRegression,
)

Thing: TypeAlias = Any
"""An estimator or what it takes: scikit-learn has no types."""

RNG = np.random.default_rng(7)
N = 300
X = RNG.standard_normal((N, 5)) * [1, 2, 0.5, 1, 1]
Y = (RNG.random(N) < 1 / (1 + np.exp(-(X @ [1, -0.5, 1, 0, 0.7] - 0.4)))).astype(int)
WEIGHTS = RNG.uniform(0.5, 2, N)
BANK, TAX = X[:, :3], X[:, 3:]


@pytest.fixture(autouse=True)
def in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "fit", functools.partial(logistic.fit, method="ideal"))


def together(
    bank: Callable[[Session], Thing], tax: Callable[[Session], Thing], **others: Callable[[Session], Thing]
) -> dict[str, Thing]:
    return run_parties({"bank": bank, "tax": tax, **others})


def fitted(
    model: Thing, x_bank: Thing = BANK, x_tax: Thing = TAX, y: Thing = Y, **options: Thing
) -> tuple[Thing, Thing]:
    """The same model, fitted at both parties."""
    results = together(
        lambda s: clone(model).fit(x_bank, y, session=s, label_party="bank", **options),
        lambda s: clone(model).fit(x_tax, session=s, label_party="bank"),
    )
    return results["bank"], results["tax"]


def nothing(s: Session) -> None:
    pass


def close(model: Thing, other: Thing, pooled: Thing, *, rel: float = 1e-3) -> None:
    mine = np.concatenate([np.ravel(model.coef_), np.ravel(other.coef_), np.ravel(model.intercept_)])
    theirs = np.concatenate([np.ravel(pooled.coef_), np.ravel(pooled.intercept_)])
    assert np.linalg.norm(mine - theirs) < rel * np.linalg.norm(theirs)


def test_logistic_regression_is_scikit_learn_s() -> None:
    bank, tax = fitted(SecureLogisticRegression(C=0.5))
    pooled = LogisticRegression(C=0.5, tol=1e-10).fit(X, Y)
    close(bank, tax, pooled)
    assert bank.coef_.shape == (1, 3)
    assert tax.coef_.shape == (1, 2)
    assert tax.intercept_ is None
    assert bank.classes_.tolist() == [0, 1]
    assert bank.n_iter_.shape == (1,)
    assert bank.converged_
    assert not bank.separated_
    assert (bank.label_party_, bank.parties_, bank.n_features_in_) == ("bank", ("bank", "tax"), 3)
    assert any("coefficients of its own columns" in sentence for sentence in tax.learned_)

    def ask(method: str) -> dict[str, Thing]:
        return together(
            lambda s: getattr(bank, method)(BANK, session=s), lambda s: getattr(tax, method)(TAX, session=s)
        )

    for method, tolerance in (("decision_function", 5e-3), ("predict_proba", 1e-3)):
        found = ask(method)
        assert found["tax"] is None
        assert np.abs(found["bank"] - getattr(pooled, method)(X)).max() < tolerance
    found = ask("predict")
    assert found["tax"] is None
    assert (found["bank"] == pooled.predict(X)).mean() > 0.99
    scores = together(lambda s: bank.score(BANK, Y, session=s), lambda s: tax.score(TAX, session=s))
    assert scores == {"bank": float((found["bank"] == Y).mean()), "tax": None}


def test_weights_of_rows_and_classes() -> None:
    # Weights of balanced classes are by counts of rows, as scikit-learn's were before it weighed those, too.
    bank, tax = fitted(SecureLogisticRegression(class_weight="balanced"))
    close(bank, tax, LogisticRegression(tol=1e-10, class_weight="balanced").fit(X, Y))
    bank, tax = fitted(
        SecureLogisticRegression(class_weight={0: 1.0, 1: 3.0}, fit_intercept=False), sample_weight=WEIGHTS
    )
    pooled = LogisticRegression(tol=1e-10, class_weight={0: 1.0, 1: 3.0}, fit_intercept=False)
    close(bank, tax, pooled.fit(X, Y, sample_weight=WEIGHTS))
    assert bank.intercept_.tolist() == [0.0]


def test_linear_regression_is_ridge() -> None:
    target = X @ [3, 0, -2, 5, 1] + 1e7 + RNG.standard_normal(N)
    bank, tax = fitted(SecureLinearRegression(alpha=2.0), y=target)
    pooled = Ridge(alpha=2.0).fit(X, target)
    close(bank, tax, pooled, rel=1e-4)
    found = together(lambda s: bank.predict(BANK, session=s), lambda s: tax.predict(TAX, session=s))
    assert found["tax"] is None
    # Beyond what is a log odds: predictions may be of any size.
    assert np.abs(found["bank"] / pooled.predict(X) - 1).max() < 1e-4
    scores = together(lambda s: bank.score(BANK, target, session=s), lambda s: tax.score(TAX, session=s))
    assert scores["tax"] is None
    with pytest.raises(UsageError, match="alpha is positive"):
        fitted(SecureLinearRegression(alpha=0), y=target)


def test_a_label_party_without_columns() -> None:
    bank, tax = fitted(SecureLogisticRegression(), np.empty((N, 0)), X)
    close(bank, tax, LogisticRegression(tol=1e-10).fit(X, Y))
    assert bank.coef_.shape == (1, 0)


def test_three_parties() -> None:
    def party(x: Thing, y: Thing = None) -> Callable[[Session], Thing]:
        def run(s: Session) -> Thing:
            model = SecureLogisticRegression().fit(x, y, session=s, label_party="bank")
            return model, model.predict_proba(x, session=s)

        return run

    found = together(party(X[:, :2], Y), party(X[:, 2:4]), fund=party(X[:, 4:]))
    pooled = LogisticRegression(tol=1e-10).fit(X, Y)
    assert np.abs(found["bank"][1] - pooled.predict_proba(X)).max() < 1e-3
    assert found["tax"][1] is found["fund"][1] is None
    with pytest.raises(UsageError, match="parts at fund"):
        run_parties({"bank": lambda s: found["bank"][0].predict(X[:, :2], session=s), "tax": nothing})


def test_every_kind_of_table() -> None:
    names = ("income", "age", "debt")
    reference, _ = fitted(SecureLogisticRegression())
    assert not hasattr(reference, "feature_names_in_")
    columns = dict(zip(names, BANK.T, strict=True))
    for table in (pd.DataFrame(BANK, columns=list(names)), pa.table(columns), columns):
        bank, tax = fitted(SecureLogisticRegression(), table, TAX.tolist())
        assert bank.feature_names_in_.tolist() == list(names)
        assert np.allclose(bank.coef_, reference.coef_, rtol=1e-3)
        other = pa.table(columns).select(["age", "income", "debt"])
        with pytest.raises(UsageError, match="the same ones, in the same order"):
            together(lambda s, bank=bank, other=other: bank.predict(other, session=s), nothing)
        # Whoever gives a plain array says by its order which column is which.
        found = together(
            lambda s, bank=bank: bank.decision_function(BANK, session=s),
            lambda s, tax=tax: tax.decision_function(pd.DataFrame(TAX, columns=["a", "b"]), session=s),
        )
        assert found["bank"].shape == (N,)


def test_clone_parameters_and_pickle() -> None:
    model = SecureLogisticRegression(C=3.0, class_weight={0: 1.0, 1: 2.0}, compute=("bank", "tax"))
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(C=4.0).C == 4.0
    assert repr(model).startswith("SecureLogisticRegression(C=4.0")
    with pytest.raises(NotFittedError):
        model.predict(BANK)
    bank, tax = fitted(SecureLogisticRegression())
    # Not a session, nor anything of the other party's.
    kept = pickle.dumps(tax)
    assert len(kept) < 2000
    again = pickle.loads(kept)  # noqa: S301  # one's own
    assert np.array_equal(again.coef_, tax.coef_)
    assert not any(np.array_equal(value, bank.coef_) for value in vars(again).values())
    found = together(lambda s: bank.predict(BANK, session=s), lambda s: again.predict(TAX, session=s))
    assert len(found["bank"]) == N
    with pytest.raises(NotFittedError):
        clone(tax).predict(TAX)


def test_nothing_happens_without_a_session() -> None:
    bank, tax = fitted(SecureLogisticRegression())
    calls: list[Callable[[], object]] = [
        lambda: SecureLogisticRegression().fit(BANK, Y),
        lambda: SecureLogisticRegression().fit(BANK, Y, session=None, label_party="bank"),
        lambda: SecureLinearRegression().fit(BANK, Y, label_party="bank"),
        lambda: bank.predict_proba(BANK),
        lambda: bank.predict(BANK),
        lambda: bank.decision_function(BANK),
        lambda: bank.score(BANK, Y),
        lambda: tax.score(TAX),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="Give session=") as refused:
            call()
        assert "in the clear" in str(refused.value)


@pytest.mark.parametrize(
    ("bank", "problem"),
    [
        (lambda s: SecureLogisticRegression().fit(BANK, Y, session=s), "Say who has the labels"),
        (lambda s: SecureLogisticRegression().fit(BANK, session=s, label_party="bank"), "Labels come from 'bank'"),
        (lambda s: SecureLogisticRegression().fit(BANK, Y, session=s, label_party="tax"), "Labels come from 'tax'"),
        (lambda s: SecureLogisticRegression(C=-1).fit(BANK, Y, session=s, label_party="bank"), "C is"),
        (lambda s: SecureLogisticRegression().fit(BANK[0], Y, session=s, label_party="bank"), r"of shape \(3,\)"),
        (lambda s: SecureLogisticRegression().fit([["a"]], Y, session=s, label_party="bank"), "X holds numbers"),
        (
            lambda s: SecureLogisticRegression().fit({"a": [1.0, None]}, Y, session=s, label_party="bank"),
            "SimpleImputer",
        ),
        (
            lambda s: SecureLogisticRegression().fit({"a": [1.0], "b": [1, 2]}, Y, session=s, label_party="bank"),
            "one length",
        ),
        (lambda s: SecureLogisticRegression().fit(BANK, Y + 1, session=s, label_party="bank"), "0 and 1|0 or 1"),
        (
            lambda s: SecureLogisticRegression().fit(BANK, ["no"] * N, session=s, label_party="bank"),
            "encode what is text",
        ),
    ],
)
def test_what_is_refused(bank: Callable[[Session], Thing], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        together(bank, lambda s: SecureLogisticRegression().fit(TAX, session=s, label_party="bank"))


def test_parties_that_do_not_agree() -> None:
    bank, tax = fitted(SecureLogisticRegression())
    with pytest.raises(PeerError):
        together(lambda s: bank.predict(BANK, session=s), lambda s: tax.predict(TAX[:-1], session=s))
    with pytest.raises(UsageError, match="Labels come from"):
        together(lambda s: bank.score(BANK, Y, session=s), lambda s: tax.score(TAX, Y, session=s))
    with pytest.raises(PeerError):
        together(
            lambda s: SecureLogisticRegression(C=2).fit(BANK, Y, session=s, label_party="bank"),
            lambda s: SecureLogisticRegression(C=3).fit(TAX, session=s, label_party="bank"),
        )


def test_weights_come_from_the_label_party() -> None:
    with pytest.raises(UsageError):
        together(
            lambda s: SecureLogisticRegression().fit(BANK, Y, session=s, label_party="bank"),
            lambda s: SecureLogisticRegression().fit(TAX, session=s, label_party="bank", sample_weight=WEIGHTS),
        )


def test_what_did_not_work_out_is_said() -> None:
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        bank, _ = fitted(SecureLogisticRegression(max_iter=1))
    assert not bank.converged_
    with pytest.warns(ConvergenceWarning, match="gives the label away"):
        bank, _ = fitted(SecureLogisticRegression(), np.column_stack([BANK, 10.0 * Y - 5]))
    assert bank.separated_


def test_in_a_pipeline() -> None:
    holes = BANK.copy()
    holes[::7, 1] = np.nan

    def steps(last: Thing) -> Thing:
        return make_pipeline(SimpleImputer(), StandardScaler(), last)

    def bank(s: Session) -> Thing:
        model = steps(SecureLogisticRegression()).fit(
            holes, Y, securelogisticregression__session=s, securelogisticregression__label_party="bank"
        )
        return model, model.predict_proba(holes, session=s)

    def tax(s: Session) -> Thing:
        model = steps(SecureLogisticRegression()).fit(
            TAX, securelogisticregression__session=s, securelogisticregression__label_party="bank"
        )
        return model, model.predict_proba(TAX, session=s)

    found = together(bank, tax)
    pooled = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(tol=1e-10))
    both = np.column_stack([holes, TAX])
    assert np.abs(found["bank"][1] - pooled.fit(both, Y).predict_proba(both)).max() < 1e-3
    assert found["tax"][1] is None
    with pytest.raises(UsageError, match="Give session="):
        steps(SecureLogisticRegression()).fit(holes, Y)


def test_with_metadata_routing() -> None:
    def party(x: Thing, y: Thing) -> Callable[[Session], Thing]:
        def run(s: Session) -> Thing:
            # The setting is of the thread.
            with sklearn.config_context(enable_metadata_routing=True):
                asks = SecureLogisticRegression().set_fit_request(session=True, label_party=True, sample_weight=False)
                asks.set_predict_proba_request(session=True).set_score_request(session=True, sample_weight=True)
                model = make_pipeline(StandardScaler(), asks).fit(x, y, session=s, label_party="bank")
                return model.predict_proba(x, session=s), model.score(x, y, session=s)

        return run

    found = together(party(BANK, Y), party(TAX, None))
    assert found["bank"][0].shape == (N, 2)
    assert found["bank"][1] > 0.6
    assert found["tax"] == (None, None)


# Rows split over silos ------------------------------------------------------------------------------------------------

SILOS = {"hub": slice(0, 120), "north": slice(120, 200), "south": slice(200, N)}


def silos(model: Thing, y: Thing, *, x: Thing = X, **options: Thing) -> dict[str, Thing]:
    """The same model, fitted at all silos, one of which adds up. Options are by row, like labels."""

    def silo(rows: slice) -> Callable[[Session], Thing]:
        mine = {name: values[rows] for name, values in options.items()}
        return lambda s: clone(model).fit(x[rows], y[rows], session=s, aggregator="hub", **mine)

    return run_parties({name: silo(rows) for name, rows in SILOS.items()})


def test_logistic_regression_over_silos() -> None:
    found = silos(
        HorizontalLogisticRegression(C=0.5), Y, sample_weight=WEIGHTS, x=pd.DataFrame(X, columns=list("abcde"))
    )
    pooled = LogisticRegression(C=0.5, tol=1e-10).fit(X, Y, sample_weight=WEIGHTS)
    for model in found.values():
        assert np.allclose(model.coef_, pooled.coef_, rtol=1e-4)
        assert np.allclose(model.intercept_, pooled.intercept_, rtol=1e-4)
        # Everybody has the model, and needs nobody to use it.
        assert np.abs(model.predict_proba(X) - pooled.predict_proba(X)).max() < 1e-5
        assert model.score(X, Y) == pytest.approx(pooled.score(X, Y), abs=0.01)
        assert model.feature_names_in_.tolist() == list("abcde")
        assert (model.n_rows_, sorted(model.silos_)) == (N, ["hub", "north", "south"])
        assert pickle.loads(pickle.dumps(model)).n_iter_ == model.n_iter_  # noqa: S301  # one's own
        with pytest.raises(UsageError, match="the same ones, in the same order"):
            model.predict(X[:, :4])
    assert "the model" in found["north"].learned_


@pytest.mark.parametrize("family", ["linear", "poisson", "gamma"])
def test_other_families_over_silos(family: str) -> None:
    mean = np.exp(0.2 * X[:, 0] + 0.1 * X[:, 3] + 1)
    rng = np.random.default_rng(3)
    y = {"linear": X @ [1, 2, 0, 0, 1], "poisson": rng.poisson(mean), "gamma": rng.gamma(2.0, mean / 2)}[family]
    found = silos(HorizontalRegression(family=family, C=2.0), y)["south"]  # type: ignore[arg-type]
    pooled = {
        "linear": Ridge(alpha=0.5),
        "poisson": PoissonRegressor(alpha=0.5 / N, tol=1e-10),
        "gamma": GammaRegressor(alpha=0.5 / N, tol=1e-10),
    }[family].fit(X, y)
    assert np.allclose(found.coef_, pooled.coef_, atol=1e-5)
    assert np.allclose(found.predict(X), pooled.predict(X), rtol=1e-4)
    assert found.score(X, y) == pytest.approx(_r2(y, pooled.predict(X)), abs=1e-4)


def _r2(y: Thing, predicted: Thing) -> float:
    return float(1 - np.square(y - predicted).sum() / np.square(y - y.mean()).sum())


def test_what_silos_are_refused() -> None:
    with pytest.raises(UsageError, match="Give session="):
        HorizontalLogisticRegression().fit(X, Y)
    with pytest.raises(UsageError, match="Say who adds up"):
        run_parties({"hub": lambda s: HorizontalLogisticRegression().fit(X, Y, session=s), "north": nothing})
    with pytest.raises(UsageError, match="an estimator of its own"):
        HorizontalRegression(family="logistic").fit(X, Y)  # type: ignore[arg-type]
    with pytest.raises(NotFittedError):
        HorizontalRegression().predict(X)
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        silos(HorizontalLogisticRegression(max_iter=1), Y)
