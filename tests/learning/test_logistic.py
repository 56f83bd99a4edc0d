"""Regression on columns of several parties: against scikit-learn, over all engines, with bad input and with faults."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from mpc import fixed
from mpc.channel import Channel
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.session import Progress, Session
from mpc.testing import Tamper, run_parties
from mpc.wire.learning.v1 import fit_pb2
from protocols import arithmetic
from protocols.arithmetic import ideal, three
from protocols.learning import checkpoint as checkpoints
from protocols.learning import lbfgs, logistic, products, whitening
from protocols.learning.logistic import Fitted, Training
from protocols.learning.products import Method
from protocols.learning.training import ClassWeight

Reals = NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "uci_credit_card.csv"
LABEL = "default.payment.next.month"


def train(
    blocks: Mapping[str, Reals | None],
    y: Reals,
    *,
    label: str = "a",
    method: Method = "ideal",
    compute: Sequence[str] | None = None,
    training: Training | None = None,
    weights: Reals | None = None,
    keep: Mapping[str, Kept] | None = None,
    tamper: Mapping[tuple[str, str], Tamper] | None = None,
    seed: bytes | None = None,
    timeout_s: float = 30.0,
) -> dict[str, Fitted]:
    """What each party gets."""

    def party(s: Session) -> Fitted:
        mine = s.me == label
        return logistic.fit(
            s,
            blocks[s.me],
            y if mine else None,
            label_party=label,
            compute=compute,
            training=training,
            sample_weight=weights if mine else None,
            checkpoint=None if keep is None else keep[s.me],
            method=method,
        )

    results = run_parties(dict.fromkeys(blocks, party), tamper=tamper, seed=seed, timeout_s=timeout_s)
    return {name: results[name] for name in blocks}


def joined(fitted: Mapping[str, Fitted]) -> Reals:
    """All coefficients, and the intercept last."""
    parts = [f.coefficients for f in fitted.values() if f.coefficients is not None]
    intercepts = [f.intercept for f in fitted.values() if f.intercept is not None]
    assert len(intercepts) == 1
    return np.append(np.concatenate(parts), intercepts)


def pooled(
    blocks: Mapping[str, Reals | None],
    y: Reals,
    *,
    weights: Reals | None = None,
    C: float = 1.0,
    class_weight: ClassWeight = None,
) -> Reals:
    """What scikit-learn makes of all columns together."""
    x = np.hstack([b for b in blocks.values() if b is not None])
    model = LogisticRegression(C=C, class_weight=class_weight, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    model.fit(x, y, sample_weight=weights)
    return np.append(model.coef_[0], model.intercept_)


def off(w: Reals, expected: Reals) -> float:
    return float(np.linalg.norm(w - expected) / np.linalg.norm(expected))


def made(n: int, k: int, *, seed: int = 1) -> tuple[Reals, Reals]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, k))
    y = (rng.random(n) < 1 / (1 + np.exp(-x @ rng.normal(size=k)))).astype(np.float64)
    return (x - x.mean(axis=0)) / x.std(axis=0), y


X, Y = made(600, 5)
TWO = {"a": X[:, :3], "b": X[:, 3:]}


def clients() -> tuple[dict[str, Reals], Reals]:
    """The 30,000 bank clients' columns, standardised, and their labels."""
    if not DATA.exists():
        pytest.skip("../shared/data/uci_credit_card.csv is not there")
    with DATA.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "ID"]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in names}
    y = columns.pop(LABEL)
    return {name: (x - x.mean()) / x.std() for name, x in columns.items()}, y


PERSON = ("SEX", "AGE", "MARRIAGE")


def test_real_clients_as_scikit_learn() -> None:
    columns, y = clients()
    amounts = [n for n in columns if n.startswith(("BILL_AMT", "PAY_AMT"))]
    two = {"bank": [n for n in columns if n not in amounts], "partner": amounts}
    three = {"bank": [n for n in columns if n not in (*PERSON, "EDUCATION")]}
    three |= {"civil": list(PERSON), "education": ["EDUCATION"]}
    expected = dict(zip([*columns, "1"], pooled({"a": np.column_stack(list(columns.values()))}, y), strict=True))
    for split in (two, three):
        order = [n for names in split.values() for n in names] + ["1"]
        blocks = {p: np.column_stack([columns[n] for n in names]) for p, names in split.items()}
        fitted = train(blocks, y, label="bank")
        w, theirs = joined(fitted), np.array([expected[n] for n in order])
        assert off(w, theirs) < 3e-4
        scores = np.hstack([*blocks.values(), np.ones((len(y), 1))])
        assert abs(roc_auc_score(y, scores @ w) - roc_auc_score(y, scores @ theirs)) < 1e-4
        assert all(f.converged and not f.separated and f.iterations <= 18 for f in fitted.values())


@pytest.mark.parametrize("parties", [2, 3])
def test_under_encryption_and_shares(parties: int) -> None:
    x, y = made(400 if parties == 2 else 6000, 5, seed=parties)
    blocks = {"a": x[:, :2], "b": x[:, 2:4], "c": x[:, 4:]} if parties == 3 else {"a": x[:, :2], "b": x[:, 2:]}
    fitted = train(blocks, y, method="rlwe", training=Training(tol=2e-3))
    assert off(joined(fitted), pooled(blocks, y)) < 1e-3
    assert fitted["a"].history == fitted["b"].history


def test_parties_that_only_bring_columns_and_one_that_only_computes() -> None:
    x, y = made(300, 6)
    blocks = {"a": x[:, :2], "b": x[:, 2:4], "c": None, "d": x[:, 4:]}
    fitted = train(blocks, y, label="d", compute=("b", "c"))
    assert off(joined(fitted), pooled(blocks, y)) < 2e-4
    assert fitted["c"].coefficients is None
    assert [f.intercept is not None for f in fitted.values()] == [False, False, False, True]
    assert len({f.history for f in fitted.values()}) == 1


def test_an_owner_outside_three_that_compute() -> None:
    x, y = made(200, 4)
    blocks = {"a": x[:, :1], "b": x[:, 1:2], "c": None, "d": x[:, 2:]}
    fitted = train(blocks, y, compute=("a", "b", "c"), method="rlwe", training=Training(max_iter=4))
    clear = train(blocks, y, compute=("a", "b", "c"), training=Training(max_iter=4))
    assert off(joined(fitted), joined(clear)) < 5e-3  # the sigmoid's error, which the last steps would take back
    assert not fitted["d"].converged


def test_a_sample_first() -> None:
    x, y = made(3000, 4)
    blocks = {"a": x[:, :2], "b": x[:, 2:]}
    fitted = train(blocks, y, training=Training(sample_rows=512))
    assert off(joined(fitted), pooled(blocks, y)) < 2e-4
    begun = train(blocks, y, training=Training(sample_rows=512, max_iter=1))["a"].iterations
    on_all = fitted["a"].iterations - (begun - 1)
    assert begun > 3
    assert on_all < train(blocks, y, training=Training(sample_rows=0))["a"].iterations


def test_least_squares() -> None:
    rng = np.random.default_rng(2)
    y = 1e4 + 300 * (X @ rng.normal(size=5) + rng.normal(size=len(X)))
    for options in ({}, {"fit_intercept": False}):
        fitted = train(TWO, y, training=Training(family="linear", C=0.05, tol=2e-5, **options))
        model = Ridge(alpha=20, tol=1e-12, **options).fit(X, y)
        w = np.concatenate([f.coefficients for f in fitted.values() if f.coefficients is not None])
        assert off(w, model.coef_) < 2e-4 if not options else 2e-2  # the mean is noise of 1e4 then
        if not options:
            assert fitted["a"].intercept == pytest.approx(float(model.intercept_), rel=1e-6)
        else:
            assert fitted["a"].intercept is None


@pytest.mark.parametrize("classes", [None, "balanced", {0: 1.0, 1: 5.0}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_weights(classes: ClassWeight, weighted: bool) -> None:  # noqa: FBT001 - a test's parameter
    weights = np.random.default_rng(3).uniform(0, 40, len(Y)) if weighted else None
    expected = pooled(TWO, Y, weights=weights, class_weight=classes, C=0.1)
    fitted = train(TWO, Y, weights=weights, training=Training(class_weight=classes, C=0.1))
    assert off(joined(fitted), expected) < 4e-4


def newton(x: Reals, y: Reals, *, C: float) -> Reals:
    """Coefficients and intercept by Newton's method in standardised columns, whatever their scales."""
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    z = np.column_stack([(x - x.mean(axis=0)) / scale, np.ones(len(x))])
    penalty = np.append(1 / scale**2, 0.0) / C
    w = np.zeros(z.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ w))
        h = (z.T * (p * (1 - p))) @ z + np.diag(penalty)
        w -= np.linalg.lstsq(h, z.T @ (p - y) + penalty * w)[0]
    own = w[:-1] / scale
    return np.append(own, w[-1] - x.mean(axis=0) @ own)


@pytest.mark.parametrize("C", [1.0, 1e6])
def test_columns_of_any_scale_collinear_and_constant(C: float) -> None:
    x = np.column_stack([X[:, 0] * 1e9 + 4e9, X[:, 1] * 1e-3, X[:, 2], np.full(len(X), 7.0), X[:, 2], X[:, 3:] + 40])
    blocks = {"a": x[:, :3], "b": x[:, 3:]}
    fitted = train(blocks, Y, training=Training(C=C))
    w, expected = joined(fitted), newton(x, Y, C=C)
    assert fitted["b"].coefficients is not None
    assert fitted["b"].coefficients[0] == 0
    z = np.column_stack([x, np.ones(len(x))])
    assert np.abs(z @ w - z @ expected).max() < 5e-3
    unit = x.std(axis=0)
    told = [0, 1, 5, 6]
    assert off((w[:-1] * unit)[told], (expected[:-1] * unit)[told]) < 1e-3


def test_a_party_whose_columns_are_all_constant() -> None:
    blocks = {"a": X, "b": np.full((len(X), 2), 7.0)}
    fitted = train(blocks, Y)
    assert fitted["b"].coefficients is not None
    assert fitted["b"].coefficients.tolist() == [0.0, 0.0]
    assert off(joined(fitted)[[0, 1, 2, 3, 4, 7]], pooled({"a": X}, Y)) < 1e-3
    without = train({"a": np.zeros((len(X), 0)), "b": X}, Y, training=Training(fit_intercept=False))["a"]
    assert without.coefficients is not None
    assert without.coefficients.shape == (0,)
    assert train({"a": X, "b": None}, Y)["b"].coefficients is None
    shares = train(blocks, Y, training=Training(reveal_model="none"))["b"].shares
    assert shares is not None
    assert shares.kept.tolist() == [False, False]
    assert shares.owners == (("a", 6),)


def test_collinear_columns_far_from_zero_that_nearly_no_penalty_holds() -> None:
    """What centring moves is small, though each of its parts is large: one column is a sum less the other."""
    x = np.column_stack([X[:, 0] + 1000, 500 - X[:, 0], X[:, 1:]])
    blocks = {"a": x[:, :2], "b": x[:, 2:]}
    w, expected = joined(train(blocks, Y, training=Training(C=1e6))), newton(x, Y, C=1e6)
    z = np.column_stack([x, np.ones(len(x))])
    assert np.abs(z @ w - z @ expected).max() < 5e-3


def test_columns_that_tell_the_label() -> None:
    x = np.column_stack([X[:, 0], np.where(Y == 1, 1.0, -1.0) * (1 + np.abs(X[:, 1]))])
    blocks = {"a": x[:, :1], "b": x[:, 1:]}
    fitted = train(blocks, Y)
    assert fitted["a"].separated
    assert fitted["b"].separated
    assert off(joined(fitted), pooled(blocks, Y)) < 2e-2
    assert not train(TWO, Y)["a"].separated


@pytest.mark.parametrize("method", ["ideal", "rlwe"])
def test_a_model_that_nobody_has(method: Method) -> None:
    blocks: dict[str, Reals | None] = {"a": 3 * X[:, :3] + 1, "b": None, "c": X[:, 3:] * 100}
    training = Training(reveal_model="none", max_iter=3)
    fitted = train(blocks, Y, label="c", training=training, method=method)
    open_ = train(blocks, Y, label="c", training=replace(training, reveal_model="owners"), method=method)
    shares = [f.shares for f in fitted.values()]
    assert all(f.coefficients is None and f.intercept is None for f in fitted.values())
    scheme = ideal.scheme(3) if method == "ideal" else three.SCHEME
    w = fixed.decode(scheme.combine([s.components for s in shares if s is not None]), lbfgs.FRACTION)
    assert shares[0] is not None
    assert shares[0].owners == (("a", 3), ("c", 3))
    scores = np.full(len(X), w[-1])
    for own, block, part in zip((shares[0], shares[2]), (blocks["a"], blocks["c"]), (w[:3], w[3:5]), strict=True):
        assert own is not None
        assert block is not None
        scores += ((block - own.centre) / own.scale)[:, own.kept] @ part
    plain = np.column_stack([block for block in blocks.values() if block is not None] + [np.ones(len(X))])
    np.testing.assert_allclose(scores, plain @ joined(open_), atol=2e-3)


# Faults ---------------------------------------------------------------------------------------------------------------


class Gone(Exception):
    """What ends a party in these tests."""


@dataclass
class Kept:
    """A checkpoint in memory, which can end its party."""

    leave_at: int | None = None
    states: list[tuple[int, bytes]] = field(default_factory=list)

    def save(self, step: int, state: bytes) -> None:
        if step == self.leave_at:
            raise Gone
        self.states = [*self.states, (step, state)][-2:]

    def load(self) -> Sequence[tuple[int, bytes]]:
        return self.states


FIVE = {"a": X[:, :2], "b": X[:, 2:4], "c": None, "d": X[:, 4:]}
BEGUN = Training(sample_rows=128, tol=4e-3)


def test_a_party_leaves_at_each_iteration_and_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # Rounding at random moves results by 1e-5 with so few rows; what is kept is exact.
    monkeypatch.setattr(arithmetic, "ideal_party", partial(arithmetic.ideal_party, rounding="down"))

    def run(keep: Mapping[str, Kept] | None = None) -> dict[str, Fitted]:
        # Seeds fix the sample, and nothing else that the result depends on.
        return train(FIVE, Y, compute=("a", "c"), training=BEGUN, keep=keep, seed=b"sample")

    whole = run()
    total = whole["a"].iterations
    assert total > 6
    for leave in range(1, total + 1):
        keep = {name: Kept() for name in FIVE}
        gone = "acd"[leave % 3]
        keep[gone].leave_at = leave
        with pytest.raises(Gone):
            run(keep)
        assert max((step for step, _ in keep[gone].states), default=0) == leave - 1
        keep[gone].leave_at = None
        again = run(keep)
        assert again["b"].history == whole["b"].history
        np.testing.assert_array_equal(joined(again), joined(whole))


def test_shares_go_on_under_new_keys() -> None:
    whole = train(FIVE, Y, compute=("a", "b", "c"), method="rlwe", training=Training(max_iter=4))
    keep = {name: Kept() for name in FIVE}
    keep["b"].leave_at = 3
    with pytest.raises(Gone):
        train(FIVE, Y, compute=("a", "b", "c"), method="rlwe", training=Training(max_iter=4), keep=keep)
    keep["b"].leave_at = None
    done: list[int] = []

    def party(s: Session) -> Fitted:
        watched = replace(s, progress=lambda p: done.append(p.done) if isinstance(p, Progress) else None)
        labels = Y if s.me == "a" else None
        return logistic.fit(
            watched,
            FIVE[s.me],
            labels,
            label_party="a",
            compute=("a", "b", "c"),
            training=Training(max_iter=4),
            checkpoint=keep[s.me],
        )

    results = run_parties(dict.fromkeys(FIVE, party))
    again = {name: results[name] for name in FIVE}
    assert sorted(set(done)) == [3, 4]
    np.testing.assert_allclose(joined(again), joined(whole), atol=5e-3)


@pytest.mark.parametrize("leavers", ["ab", "aa"])
def test_shares_of_one_iteration_done_twice_are_not_mixed(leavers: str) -> None:
    """Iteration 3 is begun twice; who leaves has not kept it, and the other has."""

    def run(leaver: str) -> dict[str, Fitted]:
        for name, kept in keep.items():
            kept.leave_at = 3 if name == leaver else None
        return train(TWO, Y, method="rlwe", training=Training(max_iter=4), keep=keep)

    keep = {name: Kept() for name in TWO}
    for leaver in leavers:
        with pytest.raises(Gone):
            run(leaver)
    assert max(kept.states[-1][0] for kept in keep.values()) == 3
    common = set.intersection(*(set(checkpoints.points(kept)) for kept in keep.values()))
    assert [step for _, step in common] == [2]
    whole = train(TWO, Y, training=Training(max_iter=4))
    np.testing.assert_allclose(joined(run("nobody")), joined(whole), atol=5e-3)


def test_a_checkpoint_of_something_else() -> None:
    keep = {name: Kept() for name in TWO}
    train(TWO, Y, keep=keep, training=Training(max_iter=3))
    with pytest.raises(UsageError, match="other settings or other data: begin with an empty one"):
        train(TWO, Y, keep=keep, training=Training(max_iter=3, C=2.0))
    keep["b"].states = [(3, keep["b"].states[-1][1][:-40])]
    with pytest.raises(UsageError, match="damaged: begin with an empty one"):
        train(TWO, Y, keep=keep, training=Training(max_iter=3))
    # Where one party has nothing left, all begin anew.
    keep["b"].states = []
    assert train(TWO, Y, keep=keep, training=Training(max_iter=2, C=2.0))["a"].iterations == 2


# Bad input -----------------------------------------------------------------------------------------------------------

SPOILT = X[:, :3].copy()
SPOILT[5, 1] = np.nan
ENDLESS = X[:, :3].copy()
ENDLESS[5, 2] = -np.inf


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (SPOILT, Y, "Column 1 of features has missing"),
        (ENDLESS, Y, "Column 2 of features has missing, infinite"),
        (X[:, 0], Y, "features is an array"),
        (np.zeros((0, 3)), np.zeros(0), "features is an array"),
        (np.array([["x", "y"]]), Y, "features are numbers: encode"),
        (X[:, :3], Y + 1, "labels are 0 and 1: map"),
        (X[:, :3], np.where(Y == 1, np.nan, 0.0), "labels has missing"),
        (X[:, :3], np.ones(len(X)), "All labels are 1: there is nothing to tell apart"),
        (X[:, :3], Y[:-1], "labels has shape"),
        (X[:, :3] + [0, 1e9, 0], Y, "Column 1 varies by less than"),
        (np.vstack([[0, 0, 999_999_999], X[1:, :3]]), Y, "Column 2 has values so far out"),
        (None, Y, "gives features, too"),
        (X[:, :3], None, "Only a gives labels"),
    ],
)
def test_input_that_cannot_be_trained_on(features: Any, labels: Any, message: str) -> None:  # noqa: ANN401
    def party(s: Session) -> Fitted:
        if s.me == "b":
            return logistic.fit(s, X[:, 3:], None, label_party="a", method="ideal")
        return logistic.fit(s, features, labels, label_party="a", method="ideal")

    with pytest.raises(UsageError, match=message):
        run_parties({"a": party, "b": party})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full(len(X), -1.0), "not negative"),
        (np.zeros(len(X)), "not zero everywhere"),
        (np.full(len(X), np.nan), "sample_weight has missing"),
        (np.where(Y == 1, 0.0, 2.0), "A class has no weight"),
        (np.eye(1, 600)[0] * 1e9 + 1e-6, None),
    ],
)
def test_weights_that_are_none(weights: Reals, message: str | None) -> None:
    if message is None:  # one row with all the weight of 600 is still below the bound
        assert train(TWO, Y, weights=weights, training=Training(max_iter=1))["a"].iterations == 1
        return
    with pytest.raises(UsageError, match=message):
        train(TWO, Y, weights=weights)


@pytest.mark.parametrize(
    "options",
    [
        {"C": 0.0},
        {"C": float("inf")},
        {"max_iter": 0},
        {"tol": 1e-9},
        {"family": "poisson"},
        {"reveal_model": "all"},
        {"class_weight": {0: 1.0, 2: 1.0}},
        {"class_weight": "even"},
        {"class_weight": "balanced", "family": "linear"},
    ],
    ids=str,
)
def test_settings_that_there_are_not(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Training(**options)


def test_parties_that_are_about_something_else() -> None:
    def run(at_a: Training, at_b: Training, b: Reals, label_at_b: str = "a") -> None:
        def first(s: Session) -> Fitted:
            return logistic.fit(s, X[:, :3], Y, label_party="a", training=at_a, method="ideal")

        def second(s: Session) -> Fitted:
            labels = Y if label_at_b == "b" else None
            return logistic.fit(s, b, labels, label_party=label_at_b, training=at_b, method="ideal")

        run_parties({"a": first, "b": second})

    one = Training()
    with pytest.raises(PeerError, match="the same rows at all parties, but .* align them first"):
        run(one, one, X[:-1, 3:])
    with pytest.raises(PeerError, match="differ in penalty c .here '.*', there '.*'. and in class weight"):
        run(one, Training(C=3.0, class_weight="balanced"), X[:, 3:])
    with pytest.raises(PeerError, match="label party"):
        run(one, one, X[:, 3:], label_at_b="b")
    with pytest.raises(UsageError, match="compute names two or three"):
        train({"a": X, "b": None, "c": None, "d": None}, Y)
    with pytest.raises(UsageError, match="columns that vary"):
        train({"a": np.zeros((10, 2)), "b": np.zeros((10, 1))}, Y[:10], training=Training(fit_intercept=False))


@pytest.mark.parametrize("message", [0, 3, 5])
def test_a_flipped_bit_ends_it(message: int) -> None:
    # The terms, a header of shared arithmetic, and a message of the engine.
    with pytest.raises((PeerError, ChannelClosed)):
        train(TWO, Y, tamper={("b", "a"): Tamper(message, byte=8, bit=1)}, timeout_s=5.0)


class Lying:
    """A channel whose party says something else in its terms."""

    def __init__(self, channel: Channel, **said: object) -> None:
        self._channel = channel
        self._said = said

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)

    def send(self, header: Any, *arrays: Any) -> None:  # noqa: ANN401
        if isinstance(header, fit_pb2.FitTerms):
            header = deepcopy(header)
            for name, value in self._said.items():
                setattr(header, name, value)
        self._channel.send(header, *arrays)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"version": 9}, "version"),
        ({"seed": b"short"}, "32 random bytes"),
        ({"columns": 10**6}, "a matrix that can be trained on"),
        ({"rows": 2**40}, "the same rows at all parties"),
        ({"weighted": True}, "no weights of its own"),
        ({"target_exponent": 3}, "no weights of its own"),
    ],
    ids=str,
)
def test_terms_that_cannot_be(said: dict[str, object], message: str) -> None:
    def lies(s: Session) -> Fitted:
        lying: Any = {"a": Lying(s.channel("a"), **said)}
        return logistic.fit(replace(s, channels=lying), X[:, 3:], None, label_party="a", method="ideal")

    def honest(s: Session) -> Fitted:
        return logistic.fit(s, X[:, :3], Y, label_party="a", method="ideal")

    with pytest.raises(PeerError, match=message) as caught:
        run_parties({"a": honest, "b": lies})
    assert caught.value.party == "b"


# What it stands on ---------------------------------------------------------------------------------------------------


def test_steps_of_lbfgs_are_those_of_plain_numbers() -> None:
    rng = np.random.default_rng(0)
    k, m = 6, 3
    root = rng.normal(size=(40, k)) / 12
    h = root.T @ root
    mpc = arithmetic.alone(fraction=lbfgs.FRACTION)
    memory = lbfgs.empty(mpc, limit=m)
    pairs: list[tuple[Reals, Reals]] = []
    g = rng.normal(size=k)
    for i in range(6):
        s = rng.normal(size=k) / 2**i
        y = h @ s if i != 4 else -h @ s  # one of them is of no use
        memory = memory.update(mpc.constant(s), mpc.constant(y), scale=i - 1)
        pairs = [*pairs, (s, y)][-m:]
        q, alphas = g.copy(), []
        for s_, y_ in reversed(pairs):
            alphas.append(s_ @ q / (s_ @ y_) if s_ @ y_ > 0 else 0.0)
            q -= alphas[-1] * y_
        last = next(p for p in reversed(pairs) if p[0] @ p[1] > 0)
        q *= last[0] @ last[1] / (last[1] @ last[1])
        for (s_, y_), alpha in zip(pairs, reversed(alphas), strict=True):
            q += s_ * (alpha - (y_ @ q / (s_ @ y_) if s_ @ y_ > 0 else 0.0))
        np.testing.assert_allclose(mpc.reveal(memory.direction(mpc.constant(g))), q, atol=2e-3)


def test_a_step_takes_six_products_whatever_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("mul", "matmul", "truncate"):
        kept = getattr(ideal.Ideal, name)

        def counted(self: ideal.Ideal, *words: Any, name: str = name, kept: Any = kept) -> Any:  # noqa: ANN401
            calls.append(name)
            return kept(self, *words)

        monkeypatch.setattr(ideal.Ideal, name, counted)
    mpc = arithmetic.alone(fraction=lbfgs.FRACTION)
    rng = np.random.default_rng(8)
    memory = lbfgs.empty(mpc, limit=5)
    for pairs in range(1, 8):
        s = rng.normal(size=9)
        memory = memory.update(mpc.constant(s), mpc.constant(s / 2), scale=-1)
        assert memory.pairs is not None
        assert len(memory.pairs.steps) == min(pairs, 5)
        calls.clear()
        memory.direction(mpc.constant(rng.normal(size=9)))
        assert sorted(calls) == ["matmul"] * 5 + ["mul"] + ["truncate"] * 6


def test_whitening_bounds_the_second_derivative() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) * [1, 1e6, 1e-4, 1] + [0, 3e6, 0, 5]
    standard = whitening.standardise(x, centred=True, intercept=True)
    whitened = whitening.whiten(standard, x, curvature=0.5, penalty=2.0)
    m = np.ldexp(whitened.matrix(x, 2.0).astype(np.float64), -whitening.FRACTION)
    assert m.shape == (505, 5)
    h = 0.5 * m[:500].T @ m[:500] / 500 + m[500:].T @ m[500:] / 500
    np.testing.assert_allclose(h, np.eye(5), atol=1e-3)
    theta = rng.normal(size=5)
    z = m[:500] @ theta
    w = whitened.coefficients(theta[:4])
    intercept = theta[4] * whitening.intercept_unit(0.5) - w @ standard.centre
    np.testing.assert_allclose(x @ w + intercept, z, atol=2e-3)


@pytest.mark.parametrize("method", ["ideal", "rlwe"])
@pytest.mark.parametrize("compute", [("a", "b"), ("a", "b", "c")])
def test_products_of_all_owners_at_once(method: Method, compute: tuple[str, ...]) -> None:
    rng = np.random.default_rng(6)
    shapes = {"a": (7, 3), "c": (7, 2), "d": (9, 1)}
    matrices = {owner: rng.integers(-1000, 1000, shape) for owner, shape in shapes.items()}
    opened = {("ideal", 2): arithmetic.ideal_party, ("ideal", 3): arithmetic.ideal_party}
    opened |= {("rlwe", 2): arithmetic.two_party, ("rlwe", 3): arithmetic.three_party}  # type: ignore[dict-item]
    values = {t: {o: rng.integers(-9, 9, shape[not t]) for o, shape in shapes.items()} for t in (False, True)}

    def party(s: Session) -> Any:  # noqa: ANN401
        mine = None
        if s.me in matrices:
            mine = products.matvec.prepare(matrices[s.me], bits=20)
        if s.me not in compute:
            with arithmetic.input_party(s, compute=compute, ideal=method == "ideal") as outside:
                work = products.start(outside, shapes, bits=20, method=method)
                return work.forward(mine, None), work.back(mine, None)
        with opened[method, len(compute)](s, compute=compute) as run:
            work = products.start(run, shapes, bits=20, method=method)
            results = []
            for transpose, multiply in ((False, work.forward), (True, work.back)):
                vectors = {o: run.share(v if s.me == "a" else None, owner="a") for o, v in values[transpose].items()}
                pieces = multiply(mine, vectors)
                results.append({o: run.reveal(run.from_pieces(p, kind="int")) for o, p in pieces.items()})
            return results

    results = run_parties(dict.fromkeys("abcd", party))
    for name in compute:
        for owner, matrix in matrices.items():
            np.testing.assert_array_equal(results[name][0][owner], matrix @ values[False][owner])
            np.testing.assert_array_equal(results[name][1][owner], matrix.T @ values[True][owner])
    assert results["d"] == ({}, {})
