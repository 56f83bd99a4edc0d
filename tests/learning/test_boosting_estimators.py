"""Boosted trees as estimators: as good as XGBoost on pooled data, used as its estimators are, never alone.

Training and its products are tested with the protocols; here products run on the ideal method, which computes in the
clear what the parties share. Prediction is the real one.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score, roc_auc_score

from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from protocols.learning import boosting
from protocols.learning.binned import Cuts
from protocols.learning.boosted import BoostedPart
from protocols.learning.boosting_estimators import SecureXGBClassifier, SecureXGBRegressor

Thing: TypeAlias = Any
"""An estimator or what it takes: scikit-learn has no types."""

CARDS = Path(__file__).resolve().parents[3] / "shared" / "data" / "uci_credit_card.csv"
RNG = np.random.default_rng(11)
N = 400
X = RNG.standard_normal((N, 5))
X[RNG.random((N, 5)) < 0.1] = np.nan
LOG_ODDS = np.nansum(X * [1.5, -1, 1, 0, 1.2], axis=1) + np.nan_to_num(X[:, 0] * X[:, 3])
Y = (RNG.random(N) < 1 / (1 + np.exp(-LOG_ODDS))).astype(int)
BANK, TAX = X[:, :3], X[:, 3:]
FEW: dict[str, Thing] = {"n_estimators": 4, "max_depth": 3, "minimum_rows": 5}


@pytest.fixture(autouse=True)
def in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "fit", functools.partial(boosting.fit, method="ideal"))


def fitted(
    model: Thing, x_bank: Thing = BANK, x_tax: Thing = TAX, y: Thing = Y, **options: Thing
) -> tuple[Thing, Thing]:
    """The same model, fitted at both parties."""
    results = run_parties(
        {
            "bank": lambda s: clone(model).fit(x_bank, y, session=s, label_party="bank", **options),
            "tax": lambda s: clone(model).fit(x_tax, session=s, label_party="bank"),
        }
    )
    return results["bank"], results["tax"]


def asked(method: str, bank: Thing, tax: Thing, x_bank: Thing = BANK, x_tax: Thing = TAX) -> Thing:
    """What a method gives at the bank; nothing at the other party."""
    found = run_parties(
        {
            "bank": lambda s: getattr(bank, method)(x_bank, session=s),
            "tax": lambda s: getattr(tax, method)(x_tax, session=s),
        }
    )
    assert found["tax"] is None
    return found["bank"]


def pooled(kind: str, y: Thing, parts: list[tuple[Cuts, Thing]], rows: slice = slice(None), **options: Thing) -> Thing:
    """XGBoost's model of pooled codes, so that it has the same bins to choose from; and these codes."""
    xgboost = pytest.importorskip("xgboost", reason="what is compared with is xgboost")
    blocks = []
    for cuts, x in parts:
        binned = cuts.codes(x)
        gone = binned.missing & (binned.codes == binned.sizes - 1)
        blocks.append(np.where(gone, np.nan, binned.codes.astype(np.float64)))
    codes = np.hstack(blocks)
    model = getattr(xgboost, kind)(tree_method="hist", max_bin=1024, n_jobs=1, **options)
    return model.fit(codes[rows], y[rows]), codes


def table(x: Thing) -> dict[str, Thing]:
    return {f"f{i}": x[:, i] for i in range(x.shape[1])}


def test_a_classifier_is_xgboost_s() -> None:
    settings: dict[str, Thing] = {"n_estimators": 6, "max_depth": 2, "learning_rate": 0.4, "reg_lambda": 2.0}
    bank, tax = fitted(SecureXGBClassifier(**settings, minimum_rows=1))
    model, codes = pooled(
        "XGBClassifier", Y, [(bank.part_.binning, table(BANK)), (tax.part_.binning, table(TAX))], **settings
    )
    probabilities = asked("predict_proba", bank, tax)
    assert probabilities.shape == (N, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    # Histograms are rounded to 2^-16 of a node's sum; a split may be another where two gain the same to that.
    differs = np.abs(probabilities - model.predict_proba(codes))
    assert np.median(differs) < 1e-3
    assert abs(roc_auc_score(Y, probabilities[:, 1]) - roc_auc_score(Y, model.predict_proba(codes)[:, 1])) < 0.005
    labels = asked("predict", bank, tax)
    assert (labels == (probabilities[:, 1] > 0.5)).all()
    scores = run_parties({"bank": lambda s: bank.score(BANK, Y, session=s), "tax": lambda s: tax.score(TAX, session=s)})
    assert scores == {"bank": float((labels == Y).mean()), "tax": None}
    assert bank.classes_.tolist() == tax.classes_.tolist() == [0, 1]
    assert (bank.n_features_in_, tax.n_features_in_, bank.n_classes_, bank.best_iteration_) == (3, 2, 2, 5)
    assert (bank.label_party_, tax.parties_, bank.notes_) == ("bank", ("bank", "tax"), ())
    assert bank.history_.shape == (6, 2)
    assert (np.diff(bank.history_[:, 0]) < 0).all()
    assert tax.history_.shape == (0, 2)
    assert any("splits" in sentence for sentence in tax.learned_)


def test_importances_are_xgboost_s_of_one_s_own_columns() -> None:
    settings: dict[str, Thing] = {"n_estimators": 5, "max_depth": 2}
    bank, tax = fitted(SecureXGBClassifier(**settings, minimum_rows=1))
    parts = [(bank.part_.binning, table(BANK)), (tax.part_.binning, table(TAX))]
    for kind in ("gain", "total_gain", "cover", "total_cover", "weight"):
        model, _ = pooled("XGBClassifier", Y, parts, importance_type=kind, **settings)
        theirs = model.feature_importances_[:3] / model.feature_importances_[:3].sum()
        found = bank.set_params(importance_type=kind).feature_importances_
        assert found.shape == (3,)
        assert found.sum() == pytest.approx(1)
        assert np.abs(found - theirs).max() < 0.03
    total, _ = pooled("XGBClassifier", Y, parts, importance_type="total_gain", **settings)
    shares = bank.party_importances_
    assert shares.keys() == {"bank", "tax"}
    assert shares["tax"] == pytest.approx(total.feature_importances_[3:].sum(), abs=0.03)
    assert tax.party_importances_ is None
    # The partner does not know what its splits gained, and counts them where it is not told what to do.
    assert np.array_equal(tax.feature_importances_, tax.set_params(importance_type="weight").feature_importances_)
    assert tax.feature_importances_.sum() == pytest.approx(1)
    with pytest.raises(UsageError, match="does not know the gain"):
        _ = tax.set_params(importance_type="gain").feature_importances_
    with pytest.raises(UsageError, match="importance_type is one of"):
        _ = bank.set_params(importance_type="luck").feature_importances_


def test_categories_and_names_in_every_kind_of_table() -> None:
    kinds = np.array(["a", "b", "c", "rare"], dtype=object)[RNG.choice(4, N, p=[0.4, 0.3, 0.295, 0.005])]
    frame = pd.DataFrame({"income": X[:, 0], "kind": pd.Categorical(kinds), "constant": 1.0})
    y = (np.nan_to_num(X[:, 0]) + 2.0 * (kinds == "b") > 0.5).astype(int)
    bank, tax = fitted(SecureXGBClassifier(**FEW), frame, TAX.tolist(), y)
    assert bank.feature_names_in_.tolist() == ["income", "kind", "constant"]
    assert bank.notes_ == ("'constant' has one value in all rows: left out.",)
    assert "kind=b" in bank.part_.binning.names
    assert bank.feature_importances_[2] == 0
    assert (bank.feature_importances_[:2] > 0).all()
    first = asked("predict_proba", bank, tax, frame)
    assert roc_auc_score(y, first[:, 1]) > 0.9
    text = pa.table({"income": frame["income"], "kind": kinds, "constant": frame["constant"]})
    found = run_parties(
        {
            "bank": lambda s: SecureXGBClassifier(**FEW, feature_types=["q", "c", "q"]).fit(
                text, y, session=s, label_party="bank"
            ),
            "tax": lambda s: SecureXGBClassifier(**FEW).fit(TAX, session=s, label_party="bank"),
        }
    )
    again = found["bank"]
    assert again.part_.binning == bank.part_.binning
    # Columns are found by their names in whatever order; by order where they have none.
    assert np.allclose(asked("predict_proba", bank, tax, frame[["kind", "constant", "income"]]), first)
    plain, named = frame.to_numpy(dtype=object), pd.DataFrame(TAX, columns=["u", "v"])
    assert np.allclose(asked("predict_proba", bank, tax, plain, named), first)
    with pytest.raises(UsageError, match=r"missing \['kind'\], unknown \['sort'\]"):
        asked("predict_proba", bank, tax, frame.rename(columns={"kind": "sort"}))
    with pytest.raises(UsageError, match="There are 1 columns, and 2 in training"):
        asked("predict_proba", bank, tax, frame, TAX[:, :1])
    with pytest.raises(UsageError, match="is no number.*feature_types"):
        fitted(SecureXGBClassifier(**FEW), {"kind": kinds}, TAX, y)


def test_several_classes_with_names() -> None:
    names = np.array(["low", "middle", "high"], dtype=object)[np.digitize(LOG_ODDS, [-1, 1])]
    model = SecureXGBClassifier(**FEW, objective="multi:softprob", num_class=3)
    bank, tax = fitted(model, y=names)
    probabilities = asked("predict_proba", bank, tax)
    assert probabilities.shape == (N, 3)
    assert bank.classes_.tolist() == ["high", "low", "middle"]
    assert tax.classes_.tolist() == [0, 1, 2]
    assert (asked("predict", bank, tax) == names).mean() > 0.7
    with pytest.raises(UsageError, match="y has 3 classes, and the parameters say 2: give objective="):
        fitted(SecureXGBClassifier(**FEW), y=names)
    with pytest.raises(UsageError, match="or a row of each class"):
        fitted(model, y=np.where(names == "high", "low", names))


def test_regression_with_early_stopping_and_weights() -> None:
    target = LOG_ODDS * 10 + 100 + RNG.standard_normal(N) * 40
    trained, watched = slice(0, 300), slice(300, N)
    model = SecureXGBRegressor(n_estimators=60, max_depth=4, minimum_rows=5, early_stopping_rounds=3)

    def bank(s: Session) -> Thing:
        return clone(model).fit(
            BANK[trained],
            target[trained],
            session=s,
            label_party="bank",
            sample_weight=np.ones(300),
            eval_set=[(BANK[watched], target[watched])],
        )

    def tax(s: Session) -> Thing:
        return clone(model).fit(
            pd.DataFrame(TAX[trained]).to_numpy(), session=s, label_party="bank", eval_set=[(TAX[watched], None)]
        )

    found = run_parties({"bank": bank, "tax": tax})
    mine = found["bank"]
    assert mine.best_iteration_ == found["tax"].best_iteration_ == mine.history_[:, 1].argmin()
    assert len(mine.history_) == mine.best_iteration_ + 4 < 60
    assert len(mine.part_.trees) == mine.best_iteration_ + 1
    predicted = asked("predict", mine, found["tax"])
    rmse = float(np.sqrt(np.square(predicted - target)[watched].mean()))
    assert rmse == pytest.approx(mine.history_[mine.best_iteration_, 1], rel=1e-4)
    scores = run_parties(
        {"bank": lambda s: mine.score(BANK, target, session=s), "tax": lambda s: found["tax"].score(TAX, session=s)}
    )
    assert scores == {"bank": pytest.approx(r2_score(target, predicted)), "tax": None}


@pytest.mark.parametrize("leaves", ["label_party", "shared"])
def test_strict_trees_are_xgboost_s(leaves: str) -> None:
    settings: dict[str, Thing] = {"n_estimators": 3, "max_depth": 2}
    bank, tax = fitted(SecureXGBClassifier(**settings, privacy="strict", leaves=leaves))  # type: ignore[arg-type]
    model, codes = pooled(
        "XGBClassifier", Y, [(bank.part_.binning, table(BANK)), (tax.part_.binning, table(TAX))], **settings
    )
    # As the sigmoid is off by 1e-4 at most.
    assert np.abs(asked("predict_proba", bank, tax) - model.predict_proba(codes)).max() < 1e-3
    assert bank.part_.shared == tax.part_.shared == (leaves == "shared")
    assert bank.party_importances_ is None
    assert bank.feature_importances_.sum() == pytest.approx(1)  # by the number of splits
    with pytest.raises(UsageError, match="nobody in strict mode"):
        _ = bank.set_params(importance_type="cover").feature_importances_


def test_counts() -> None:
    counts = np.random.default_rng(2).poisson(np.exp(0.3 * LOG_ODDS))
    bank, tax = fitted(SecureXGBRegressor(**FEW, objective="count:poisson"), y=counts)
    model, codes = pooled(
        "XGBRegressor",
        counts,
        [(bank.part_.binning, table(BANK)), (tax.part_.binning, table(TAX))],
        objective="count:poisson",
        n_estimators=4,
        max_depth=3,
    )
    predicted = asked("predict", bank, tax)
    assert (predicted > 0).all()
    assert np.corrcoef(predicted, model.predict(codes))[0, 1] > 0.95


def test_a_label_party_without_columns_and_three_parties() -> None:
    def party(x: Thing, y: Thing = None) -> Callable[[Session], Thing]:
        def run(s: Session) -> Thing:
            model = SecureXGBClassifier(**FEW).fit(x, y, session=s, label_party="bank")
            return model, model.predict_proba(x, session=s)

        return run

    found = run_parties({"bank": party(np.empty((N, 0)), Y), "tax": party(X[:, :3]), "fund": party(TAX)})
    probabilities = found["bank"][1]
    assert roc_auc_score(Y, probabilities[:, 1]) > 0.85
    assert found["tax"][1] is found["fund"][1] is None
    assert found["bank"][0].feature_importances_.shape == (0,)
    with pytest.raises(UsageError, match="parts at fund"):
        run_parties({"bank": lambda s: found["bank"][0].predict(np.empty((N, 0)), session=s), "tax": lambda _: None})


def test_clone_parameters_pickle_and_parts() -> None:
    model = SecureXGBClassifier(max_depth=3, feature_types=("q", "q", "c"), random_state=4, privacy="strict")
    assert clone(model).get_params() == model.get_params()
    assert repr(model).startswith("SecureXGBClassifier(")
    with pytest.raises(NotFittedError):
        model.predict(BANK)
    with pytest.raises(NotFittedError):
        _ = model.feature_importances_
    bank, tax = fitted(SecureXGBClassifier(**FEW))
    again = pickle.loads(pickle.dumps(tax))  # noqa: S301  # one's own
    before, after = (asked("predict_proba", bank, one) for one in (tax, again))
    assert np.abs(before - after).max() < 1e-6
    # A part is kept by itself, and is of its own columns alone.
    kept = BoostedPart.from_json(tax.part_.to_json())
    assert (kept.party, kept.model, kept.training) == ("tax", bank.part_.model, bank.part_.training)
    assert kept.binning.names == ("f0", "f1")
    assert kept.trees[0].shape is None
    with pytest.raises(NotFittedError):
        clone(tax).predict(TAX)


def test_a_training_that_broke_off_goes_on() -> None:
    kept: dict[str, list[tuple[int, bytes]]] = {"bank": [], "tax": []}

    class Kept:
        def __init__(self, party: str) -> None:
            self.points = kept[party]

        def save(self, step: int, state: bytes) -> None:
            self.points.append((step, state))

        def load(self) -> list[tuple[int, bytes]]:
            return self.points[-2:]

    def run(stop: int) -> tuple[dict[str, Thing], list[tuple[int, int]]]:
        seen: list[tuple[int, int]] = []

        def progress(done: int, most: int) -> None:
            seen.append((done, most))
            if done == stop:
                raise KeyboardInterrupt

        def bank(s: Session) -> Thing:
            model = SecureXGBClassifier(**FEW, subsample=0.7)
            return model.fit(BANK, Y, session=s, label_party="bank", checkpoint=Kept("bank"), progress=progress)

        def tax(s: Session) -> Thing:
            model = SecureXGBClassifier(**FEW, subsample=0.7)
            return model.fit(TAX, session=s, label_party="bank", checkpoint=Kept("tax"))

        return run_parties({"bank": bank, "tax": tax}), seen

    with pytest.raises(KeyboardInterrupt):
        run(2)
    trees = len(kept["bank"])
    found, seen = run(0)
    assert (trees, seen) == (2, [(3, 4), (4, 4)])
    assert len(found["bank"].part_.trees) == len(found["tax"].part_.trees) == 4
    assert found["bank"].part_.training == found["tax"].part_.training


def test_parts_of_two_trainings_do_not_go_together() -> None:
    first, _ = fitted(SecureXGBClassifier(**FEW))
    _, second = fitted(SecureXGBClassifier(**FEW))
    with pytest.raises(PeerError):
        asked("predict_proba", first, second)
    with pytest.raises(PeerError):
        asked("predict_proba", first, second, BANK, TAX[:-1])


def test_nothing_happens_without_a_session() -> None:
    bank, tax = fitted(SecureXGBClassifier(**FEW))
    calls: list[Callable[[], object]] = [
        lambda: SecureXGBClassifier().fit(BANK, Y),
        lambda: SecureXGBClassifier().fit(BANK, Y, session=None, label_party="bank"),
        lambda: SecureXGBRegressor().fit(BANK, Y, label_party="bank"),
        lambda: bank.predict_proba(BANK),
        lambda: bank.predict(BANK),
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
        (lambda s: SecureXGBClassifier().fit(BANK, Y, session=s), "Say who has the labels"),
        (lambda s: SecureXGBClassifier().fit(BANK, session=s, label_party="bank"), "Labels come from 'bank'"),
        (lambda s: SecureXGBClassifier().fit(BANK, Y, session=s, label_party="tax"), "Labels come from 'tax'"),
        (lambda s: SecureXGBClassifier().fit(BANK[0], Y, session=s, label_party="bank"), r"of shape \(3,\)"),
        (lambda s: SecureXGBClassifier().fit(BANK * np.inf, Y, session=s, label_party="bank"), "is infinite"),
        (lambda s: SecureXGBClassifier().fit(BANK, Y * np.nan, session=s, label_party="bank"), "missing or infinite"),
        (lambda s: SecureXGBClassifier().fit(BANK, Y[:, None], session=s, label_party="bank"), r"shape \(400, 1\)"),
        (lambda s: SecureXGBClassifier().fit(BANK, [*Y[1:], "a"], session=s, label_party="bank"), "3 classes"),
        (lambda s: SecureXGBClassifier().fit(BANK, [None, *Y[1:]], session=s, label_party="bank"), "of one kind"),
        (lambda s: SecureXGBClassifier().fit(BANK, Y * 0, session=s, label_party="bank"), "have one label"),
        (lambda s: SecureXGBClassifier(max_bin=1).fit(BANK, Y, session=s, label_party="bank"), "max_bin"),
        (
            lambda s: SecureXGBClassifier(feature_types=["q"]).fit(BANK, Y, session=s, label_party="bank"),
            "each of the 3",
        ),
        (lambda s: SecureXGBClassifier(max_depth=9).fit(BANK, Y, session=s, label_party="bank"), "max_depth 1 to"),
        (
            lambda s: SecureXGBClassifier().fit(BANK, Y, session=s, label_party="bank", eval_set=[(BANK, None)]),
            "eval_set has labels where y has",
        ),
        (
            lambda s: SecureXGBClassifier().fit(BANK, Y, session=s, label_party="bank", eval_set=[(BANK, Y)] * 2),
            "eval_set is one pair",
        ),
        (
            lambda s: SecureXGBClassifier().fit(BANK, Y, session=s, label_party="bank", eval_set=[(BANK, Y + 1)]),
            "none of the classes",
        ),
        (
            lambda s: SecureXGBClassifier(early_stopping_rounds=3).fit(BANK, Y, session=s, label_party="bank"),
            "early_stopping_rounds goes by rows",
        ),
        (lambda s: SecureXGBRegressor().fit(BANK, ["a"] * N, session=s, label_party="bank"), "y holds numbers"),
    ],
)
def test_what_is_refused(bank: Callable[[Session], Thing], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        run_parties({"bank": bank, "tax": lambda s: SecureXGBClassifier().fit(TAX, session=s, label_party="bank")})


def test_parties_that_do_not_agree() -> None:
    with pytest.raises(PeerError, match=r"differ in max_depth \(here"):
        run_parties(
            {
                "bank": lambda s: SecureXGBClassifier(max_depth=2).fit(BANK, Y, session=s, label_party="bank"),
                "tax": lambda s: SecureXGBClassifier(max_depth=3).fit(TAX, session=s, label_party="bank"),
            }
        )


def test_the_card_clients_are_told_apart_as_by_xgboost_on_pooled_columns() -> None:
    """One fold of five, and few trees; `python -m benchmarks boosting` has all."""
    if not CARDS.exists():
        pytest.skip("the 30,000 card clients are not beside this directory: see docs/benchmarks.md")
    rows = pyarrow.csv.read_csv(CARDS)
    y = rows["default.payment.next.month"].to_numpy()
    names = [name for name in rows.column_names if name not in ("ID", "default.payment.next.month")]
    mine, theirs = rows.select(names[5:]), rows.select(names[:5])
    order = np.random.default_rng(5).permutation(len(y))
    train, test = order[6000:], order[:6000]
    settings: dict[str, Thing] = {"n_estimators": 10, "max_depth": 5}

    def party(own: Thing, labels: Thing) -> Callable[[Session], Thing]:
        def run(s: Session) -> Thing:
            model = SecureXGBClassifier(**settings)
            model.fit(own.take(train), labels, session=s, label_party="bank")
            return model, model.predict_proba(own.take(test), session=s)

        return run

    found = run_parties({"bank": party(mine, y[train]), "tax": party(theirs, None)})
    parts = [(found["bank"][0].part_.binning, mine), (found["tax"][0].part_.binning, theirs)]
    model, codes = pooled("XGBClassifier", y, parts, rows=train, **settings)  # type: ignore[arg-type]
    ours = roc_auc_score(y[test], found["bank"][1][:, 1])
    assert abs(ours - roc_auc_score(y[test], model.predict_proba(codes[test])[:, 1])) < 0.002
