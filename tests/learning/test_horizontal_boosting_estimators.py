"""Boosted trees over silos in scikit-learn's manner: names, labels, what is kept, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from sklearn.base import clone

from mpc.errors import UsageError
from mpc.session import Session
from mpc.testing import run_parties
from protocols.learning.horizontal_boosting_estimators import HorizontalXGBClassifier, HorizontalXGBRegressor

RNG = np.random.default_rng(3)
X = RNG.normal(size=(600, 3))
X[RNG.random(X.shape) < 0.05] = np.nan
ETA = np.nan_to_num(X[:, 0]) * 2 + np.isnan(X[:, 1])
PARTS = {"east": slice(0, 100), "hub": slice(100, 350), "west": slice(350, 600)}


def trained(make: Callable[[], Any], y: np.ndarray, tables: Callable[[slice], Any]) -> dict[str, Any]:
    def silo(s: Session) -> Any:  # noqa: ANN401
        part = PARTS[s.me]
        return make().fit(tables(part), y[part], session=s, aggregator="hub")

    return run_parties(dict.fromkeys(PARTS, silo), protocol="learning.horizontal-boosting")


def test_classes_of_named_columns() -> None:
    y = (RNG.random(600) < 1 / (1 + np.exp(-ETA))).astype(int)
    make = HorizontalXGBClassifier(n_estimators=3, max_depth=3, validation_rows=20, early_stopping_rounds=3)
    found = trained(lambda: clone(make), y, lambda part: pa.table(dict(zip("abc", X[part].T, strict=True))))
    model, other = found["west"], pickle.loads(pickle.dumps(found["hub"]))  # noqa: S301
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    assert (model.n_rows_, model.silos_, model.n_features_in_) == (540, ("east", "hub", "west"), 3)
    assert model.history_.shape == (3, 2)
    assert model.best_iteration_ == int(np.argmin(model.history_[:, 1]))
    backwards = {name: X[:, "abc".index(name)] for name in "cba"}
    assert np.array_equal(model.predict_proba(X), other.predict_proba(backwards))
    assert model.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert model.score(X, y) > 0.7
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert model.feature_importances_.argmax() == 0
    booster = xgboost.Booster(model_file=bytearray(model.forest_.to_xgboost()))
    rows = xgboost.DMatrix(X, feature_names=["a", "b", "c"])
    assert np.allclose(booster.predict(rows), model.predict_proba(X)[:, 1], rtol=1e-5)
    with pytest.raises(UsageError, match="columns are others than in training"):
        model.predict({"a": X[:, 0], "b": X[:, 1], "d": X[:, 2]})


def test_numbers_and_several_classes() -> None:
    found = trained(lambda: HorizontalXGBRegressor(n_estimators=4, max_depth=3), ETA * 50, lambda part: X[part])
    assert found["east"].score(X, ETA * 50) > 0.7
    assert not hasattr(found["east"], "feature_names_in_")
    y = np.digitize(ETA, [-1, 1])
    several = HorizontalXGBClassifier(n_estimators=2, max_depth=2, objective="multi:softprob", num_class=3)
    model = trained(lambda: clone(several), y, lambda part: X[part])["east"]
    assert model.predict_proba(X).shape == (600, 3)
    assert model.score(X, y) > 0.7


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="Give session="):
        HorizontalXGBClassifier().fit(X, ETA > 0)
    with pytest.raises(UsageError, match="Say who adds up"):
        run_parties({"a": lambda s: HorizontalXGBRegressor().fit(X, ETA, session=s)})
