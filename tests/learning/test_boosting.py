"""Boosted trees of mode `standard`: XGBoost's on pooled codes, whatever the parties, objective and settings; faults."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Buffer, Channel, Lane
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.kernels import lwe as kernels
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.transport import local
from mpc.wire.learning.v1 import boosting_pb2 as wire
from protocols.learning import boosting, boosting_terms, gradients, splits, trees
from protocols.learning.binned import Binned
from protocols.learning.boosting import Fitted, Training
from protocols.learning.boosting_terms import Columns, Method, Objective
from protocols.matvec import lwe

N, BINS = 900, 16
RNG = np.random.default_rng(7)
Reals = NDArray[np.float64]


def binned(codes: NDArray[Any], size: int = BINS, *, missing: bool = False) -> Binned:
    k = codes.shape[1]
    names = tuple(f"column {i}" for i in range(k))
    return Binned(np.ascontiguousarray(codes, dtype=np.uint8), np.full(k, size), np.full(k, missing), names)


CODES = {name: RNG.integers(0, BINS, (N, k)) for name, k in (("a", 3), ("b", 4), ("c", 2))}


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


PARTS = {name: binned(codes) for name, codes in CODES.items()}
HOLES = {name: binned(codes, missing=True) for name, codes in CODES.items()}  # bin 15 is that of missing values
TWO = {name: PARTS[name] for name in "ab"}
Z = (
    (CODES["a"][:, 0] - 7) * 0.2
    + (CODES["b"][:, 0] - 7) * 0.25
    + np.sin(CODES["b"][:, 1])
    + 0.03 * (CODES["a"][:, 1] - 7) * (CODES["b"][:, 2] - 7)
    + (CODES["c"][:, 0] > 8)
    + RNG.normal(size=N)
)
LABELS: dict[Objective, Reals] = {
    "binary:logistic": (Z > 0.5).astype(np.float64),
    "multi:softprob": np.digitize(Z, [-0.5, 1.0]).astype(np.float64),
    "reg:squarederror": Z,
    "count:poisson": RNG.poisson(np.exp(Z / 3)).astype(np.float64),
}
Y = LABELS["binary:logistic"]
WEIGHTS = RNG.uniform(0.5, 2.0, N)
SMALL = Training(n_estimators=3, max_depth=3, minimum_rows=2, base_score=0.5)


def train(
    parts: Mapping[str, Binned],
    labels: object,
    training: Training = SMALL,
    *,
    label_party: str = "a",
    weights: object = None,
    keep: Mapping[str, Kept] | None = None,
    method: Method = "ideal",
    suite: str = "intl",
    seed: bytes | None = b"boosting",
    connect: Callable[..., Any] = local.mesh,
    tamper: Mapping[tuple[str, str], Tamper] | None = None,
    progress: Callable[[int, int], None] | None = None,
    timeout_s: float = 30.0,
) -> dict[str, Any]:
    """What each party has. Randomness, and so how histograms are rounded, is the same in every run of one seed."""

    def party(s: Session) -> Fitted:
        has = s.me == label_party
        return boosting.fit(
            s,
            parts[s.me],
            labels if has else None,  # type: ignore[arg-type]
            label_party=label_party,
            training=training,
            sample_weight=weights if has else None,  # type: ignore[arg-type]
            checkpoint=None if keep is None else keep[s.me],
            progress=progress if has else None,
            method=method,
            suite=suite,
        )

    return run_parties(dict.fromkeys(parts, party), seed=seed, connect=connect, tamper=tamper, timeout_s=timeout_s)


def pooled(parts: Mapping[str, Binned]) -> Reals:
    """Codes of all parties as numbers, of which the last is missing where the binning says so."""
    columns = []
    for part in parts.values():
        x = part.codes.astype(np.float64)
        x[:, part.missing] = np.where(part.codes == part.sizes - 1, np.nan, x)[:, part.missing]
        columns.append(x)
    return np.hstack(columns)


def from_xgboost(parts: Mapping[str, Binned], labels: Reals, training: Training, weights: Reals | None = None) -> Reals:
    """Margins of XGBoost's own model on the pooled codes."""
    xgboost = pytest.importorskip("xgboost")
    names = ["objective", "max_depth", "learning_rate", "reg_lambda", "reg_alpha", "gamma", "min_child_weight"]
    names += ["base_score", "num_class", *(["scale_pos_weight"] if training.scale_pos_weight != 1 else [])]
    settings = {name: getattr(training, name) for name in names}
    settings |= {"tree_method": "hist", "max_bin": 512, "nthread": 1, "max_delta_step": training.max_delta_step}
    x = pooled(parts)
    table = xgboost.DMatrix(x, labels, weight=weights)
    known = {name: value for name, value in settings.items() if value is not None}
    model = xgboost.train(known, table, training.n_estimators)
    margins: Reals = model.predict(table, output_margin=True).astype(np.float64)
    return margins


def joined(found: Mapping[str, Fitted], parts: Mapping[str, Binned], outputs: int = 1) -> Reals:
    """(n, outputs) margins of the parties' parts together."""
    labelled = next(one for one in found.values() if one.base_score is not None)
    rows = len(next(iter(parts.values())).codes)
    assert labelled.base_score is not None
    margins = np.full((rows, outputs), labelled.base_score)
    codes = {name: part.codes for name, part in parts.items()}
    absent = {name: trees.missing_codes(part.sizes, part.missing) for name, part in parts.items()}
    for i in range(len(labelled.trees)):
        for name, one in found.items():
            assert len(one.trees) == len(labelled.trees)
            one.trees[i].require_fits(name, parts[name].sizes)
        tree = {name: one.trees[i] for name, one in found.items()}
        margins[:, i % outputs] += trees.joined(tree, codes, absent)
    return margins


# Agreement with XGBoost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", LABELS)
@pytest.mark.parametrize("parts", [TWO, HOLES], ids=["two", "three with missing values"])
def test_trees_are_those_of_xgboost_on_pooled_codes(objective: Objective, parts: Mapping[str, Binned]) -> None:
    """But for float32 there: as histograms are rounded a split differs where two are as good to 2^-16, as none here."""
    classes = 3 if objective == "multi:softprob" else None
    training = replace(SMALL, objective=objective, num_class=classes, base_score=0.4)
    # Softmax of so few rows has splits that are as good as one another, which weights tell apart.
    weights = None if parts is TWO and not classes else WEIGHTS
    found = train(parts, LABELS[objective], training, weights=weights)
    expected = from_xgboost(parts, LABELS[objective], training, weights)
    own = found["a"].margins
    assert own.shape == ((N, 3) if classes else (N,))
    np.testing.assert_allclose(own, expected, atol=1e-5)
    np.testing.assert_allclose(joined(found, parts, classes or 1).reshape(own.shape), own, atol=1e-12)
    assert all(any(tree.own for tree in one.trees) for one in found.values())  # everybody's columns are of use


@pytest.mark.parametrize(
    "settings",
    [
        {"reg_lambda": 0.0, "reg_alpha": 3.0, "gamma": 2.0},
        {"min_child_weight": 40.0, "learning_rate": 1.0},
        {"scale_pos_weight": 3.0},
        {"max_delta_step": 0.2, "max_depth": 2},
        {"objective": "count:poisson", "max_delta_step": 0.4, "reg_alpha": 1.0},
    ],
    ids=str,
)
def test_settings_mean_what_they_mean_to_xgboost(settings: dict[str, Any]) -> None:
    training = replace(SMALL, **settings)
    y = LABELS[training.objective]
    np.testing.assert_allclose(train(TWO, y, training)["a"].margins, from_xgboost(TWO, y, training), atol=1e-5)


@pytest.mark.parametrize(("method", "suite", "parts"), [("lwe", "gm", HOLES), ("rlwe", "intl", TWO)])
def test_products_under_encryption_give_the_same_trees(method: Method, suite: str, parts: Mapping[str, Binned]) -> None:
    training = replace(SMALL, n_estimators=1, max_depth=2)
    found, clear = (train(parts, Y, training, method=one, suite=suite) for one in (method, "ideal"))
    np.testing.assert_allclose(found["a"].margins, clear["a"].margins, atol=1e-12)
    assert any(tree.own for tree in found["b"].trees)


def test_who_knows_what_of_a_model() -> None:
    progress: list[tuple[int, int]] = []
    found = train(PARTS, Y, progress=lambda done, most: progress.append((done, most)))
    a, b = found["a"], found["b"]
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert (a.rounds, a.best_iteration, len(a.trees), len(a.history), len(a.gains)) == (3, 2, 3, 3, 3)
    assert (b.rounds, b.best_iteration, len(b.trees)) == (3, 2, 3)
    assert (b.margins, b.base_score, b.history, b.gains) == (None, None, (), ())
    assert all(tree.shape is tree.gains is tree.covers is None for tree in b.trees)
    for tree, gains in zip(a.trees, a.gains, strict=True):
        assert len(gains) == len(tree.shape.inner)
        assert min(gains) > 0
        mine = {one.number: gain for one, gain in zip(tree.shape.inner, gains, strict=True) if one.owner == "a"}
        assert [mine[i] for i in range(len(mine))] == list(tree.gains)
        assert all(0 < cover <= N / 4 for cover in tree.covers)
    # Metrics are those of XGBoost, and get better.
    p = 1 / (1 + np.exp(-np.asarray(a.margins)))
    assert a.history[-1][0] == pytest.approx(-np.mean(np.where(Y == 1, np.log(p), np.log(1 - p))))
    assert a.history[0][0] > a.history[2][0]
    assert all(math.isnan(last) for _, last in a.history)
    assert any("way through each tree" in one for one in a.learned)
    assert any("which lie below which" in one for one in b.learned)


def test_the_label_party_may_have_no_columns_or_all() -> None:
    nothing = Binned(np.zeros((N, 0), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.bool_), ())
    for parts in ({"a": nothing, "b": PARTS["b"]}, {"a": PARTS["a"], "b": nothing}):
        found = train(parts, Y)
        np.testing.assert_allclose(found["a"].margins, from_xgboost(parts, Y, SMALL), atol=1e-5)
        assert sum(len(tree.own) for tree in found["b"].trees) == (0 if parts["b"] is nothing else 21)


def test_a_mean_to_begin_with() -> None:
    odds = train(TWO, Y, replace(SMALL, base_score=None, n_estimators=1), weights=WEIGHTS)["a"].base_score
    mean = float(np.average(Y, weights=WEIGHTS))
    assert odds == pytest.approx(math.log(mean / (1 - mean)))
    last = replace(SMALL, base_score=None, objective="reg:squarederror", n_estimators=1, validation_rows=200)
    assert train(TWO, Z, last)["a"].base_score == pytest.approx(Z[:-200].mean())
    counts = replace(SMALL, base_score=None, objective="count:poisson", n_estimators=1)
    y = LABELS["count:poisson"]
    assert train(TWO, y, counts)["a"].base_score == pytest.approx(math.log(y.mean()))


# Samples, and when to stop --------------------------------------------------------------------------------------------


def test_training_stops_where_validation_does_and_keeps_the_best() -> None:
    xgboost = pytest.importorskip("xgboost")
    training = replace(
        SMALL, n_estimators=60, max_depth=4, learning_rate=1.0, validation_rows=300, early_stopping_rounds=3
    )
    found = train(TWO, Y, training, weights=WEIGHTS)
    x = pooled(TWO)
    first, last = (xgboost.DMatrix(x[rows], Y[rows], weight=WEIGHTS[rows]) for rows in (slice(-300), slice(-300, None)))
    settings = {"objective": training.objective, "max_depth": 4, "eta": 1.0, "tree_method": "hist", "base_score": 0.5}
    model = xgboost.train(settings, first, 60, evals=[(last, "last")], early_stopping_rounds=3, verbose_eval=False)
    a = found["a"]
    assert a.best_iteration == model.best_iteration < len(a.history) - 1 == model.num_boosted_rounds() - 1
    assert a.history[a.best_iteration][1] == pytest.approx(model.best_score, abs=1e-5)
    assert {one.rounds for one in found.values()} == {a.best_iteration + 1} == {len(found["b"].trees)}
    np.testing.assert_allclose(joined(found, TWO)[:, 0], a.margins, atol=1e-12)


def test_rows_and_columns_are_drawn_for_each_tree() -> None:
    training = replace(SMALL, max_depth=2, subsample=0.5, colsample_bytree=0.3, seed=3)
    once, again = (train(TWO, Y, training, seed=None)["a"] for _ in range(2))
    other, secret = (train(TWO, Y, replace(training, seed=seed), seed=None)["a"] for seed in (4, None))
    np.testing.assert_array_equal(once.margins, again.margins)
    assert not np.allclose(once.margins, other.margins)
    assert not np.allclose(once.margins, secret.margins)
    found = train(TWO, Y, training)
    used = [{(name, node.column) for name in TWO for node in found[name].trees[i].own} for i in range(3)]
    assert all(1 <= len(columns) <= 2 for columns in used)  # 0.3 of 7
    assert len(set.union(*used)) > 2
    roots = [
        tree.covers[0] for tree in found["a"].trees if tree.covers and tree.shape and tree.shape.inner[0].owner == "a"
    ]
    assert all(0.2 * N * 0.25 < cover < 0.7 * N * 0.25 for cover in roots)


def test_rows_without_weight_count_for_nothing() -> None:
    weights = np.where(np.arange(N) < 600, WEIGHTS, 0.0)
    found = train(TWO, Y, weights=weights)["a"].margins
    np.testing.assert_allclose(found, from_xgboost(TWO, Y, SMALL, weights), atol=1e-5)


# Columns that are of no use -------------------------------------------------------------------------------------------


def test_a_column_with_one_value_splits_nothing() -> None:
    flat = binned(np.full((N, 1), 3))
    only = Binned(np.zeros((N, 1), np.uint8), np.ones(1, np.int64), np.zeros(1, np.bool_), ("one",))
    for useless in (flat, only):
        found = train({"a": PARTS["a"], "b": useless}, Y, replace(SMALL, min_child_weight=0.0, reg_lambda=0.0))
        assert not any(tree.own for tree in found["b"].trees)
        assert any(tree.own for tree in found["a"].trees)
    for name in "ab":
        with pytest.raises(UsageError, match="there is nothing to split by"):
            train({"a": only, "b": only}, Y, label_party=name)


def test_small_nodes_are_leaves() -> None:
    found = train(TWO, Y, replace(SMALL, minimum_rows=500, max_depth=4))
    for tree in found["a"].trees:
        assert len(tree.shape.inner) <= 2
    nothing = train(TWO, Y, replace(SMALL, gamma=1e9))
    assert all(not tree.own for one in nothing.values() for tree in one.trees)
    assert nothing["a"].trees[0].shape == trees.Shape(
        (), (trees.Leaf(0, nothing["a"].trees[0].shape.leaves[0].weight),)
    )


# Input ----------------------------------------------------------------------------------------------------------------

WRONG = [
    (np.ones(N), {}, "one label: there is nothing to tell apart"),
    (np.arange(N) % 3, {}, r"labels are the 2 classes 0 to 1: .* multi:softprob"),
    (np.arange(N) % 4, {"objective": "multi:softprob", "num_class": 3}, "labels are the 3 classes 0 to 2"),
    (-Y, {"objective": "count:poisson"}, "counts: not negative"),
    (np.where(np.arange(N) == 5, np.nan, Y), {}, "labels has missing, infinite or immense values"),
    (np.where(np.arange(N) == 5, np.inf, Z), {"objective": "reg:squarederror"}, "labels has missing, infinite"),
    (Z * 1e7, {"objective": "reg:squarederror"}, "in another unit"),
    (Y[:-1], {}, r"labels has shape \(899,\)"),
    (["no"] * N, {}, "labels are numbers"),
    (Y, {"validation_rows": N}, "leave none of the 900 rows"),
    (np.where(np.arange(N) < 700, 0, Y), {"validation_rows": 200}, "one label"),
]


@pytest.mark.parametrize(("labels", "settings", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_labels_that_cannot_be_trained_on(labels: object, settings: dict[str, Any], message: str) -> None:
    base = None if settings.get("objective", "").startswith(("reg", "count", "multi")) else 0.5
    with pytest.raises(UsageError, match=message):
        train(TWO, labels, replace(SMALL, **{"base_score": base, **settings}), timeout_s=5.0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.where(np.arange(N) == 3, np.nan, 1.0), "sample_weight has missing, infinite"),
        (-np.ones(N), "sample_weight is not negative"),
        (np.zeros(N), "not zero in all rows"),
        (Y, "one label"),
        (np.ones(3), r"sample_weight has shape \(3,\)"),
        (np.where(np.arange(N) < N - 100, 1.0, 0.0), "no metric could say when to stop"),
    ],
)
def test_weights_that_cannot_be_trained_with(weights: Reals, message: str) -> None:
    training = replace(SMALL, validation_rows=100, early_stopping_rounds=1)
    with pytest.raises(UsageError, match=message):
        train(TWO, Y, training, weights=weights, timeout_s=5.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "rank:ndcg"}, "objective is one of"),
        ({"max_depth": 9}, "max_depth 1 to 8"),
        ({"n_estimators": 0}, "n_estimators is 1 to"),
        ({"reg_lambda": -1.0}, "not negative"),
        ({"gamma": math.nan}, "not negative"),
        ({"learning_rate": 0.0}, "above 0 and at most 1"),
        ({"subsample": 1.5}, "above 0 and at most 1"),
        ({"base_score": 1.0}, "a probability of class 1"),
        ({"base_score": 0.0, "objective": "count:poisson"}, "a mean count"),
        ({"base_score": math.inf, "objective": "reg:squarederror"}, "base_score is a number"),
        ({"scale_pos_weight": 0.0}, "above zero"),
        ({"scale_pos_weight": 2.0, "objective": "count:poisson"}, "is for two classes"),
        ({"num_class": 3}, "goes with multi:softprob"),
        ({"objective": "multi:softprob"}, "goes with multi:softprob"),
        ({"objective": "multi:softprob", "num_class": 1}, "num_class is 2 to 64"),
        ({"early_stopping_rounds": 3}, "needs validation_rows"),
        ({"minimum_rows": 0}, "at least 1"),
        ({"privacy": "none"}, "privacy is"),
        ({"leaves": "shared"}, "needs privacy='strict'"),
        ({"leaves": "nobody"}, "leaves is"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Training(**settings)


def test_who_gives_what() -> None:
    def misused(labels: object, label_party: str, weights: object = None) -> Callable[[Session], Fitted]:
        return lambda s: boosting.fit(
            s,
            PARTS["a"],
            labels,
            label_party=label_party,
            sample_weight=weights,
            training=SMALL,  # type: ignore[arg-type]
        )

    def ends(s: Session) -> None:
        with pytest.raises(ChannelClosed):
            s.channel("a").recv(wire.BoostingTerms)

    for party, message in (
        (misused(Y, "c"), "label_party is one of a, b, not 'c'"),
        (misused(Y, "b"), "Only b gives labels"),
        (misused(None, "a"), "Only a gives labels"),
        (misused(None, "b", Y), "Only b gives sample_weight"),
    ):
        with pytest.raises(UsageError, match=message):
            run_parties({"a": party, "b": ends})
    with pytest.raises(UsageError, match="between two parties or more"):
        run_parties({"a": misused(Y, "a")})


# Parties that differ --------------------------------------------------------------------------------------------------


def test_parties_that_want_different_trainings() -> None:
    def party(training: Training, rows: int = N) -> Callable[[Session], Fitted]:
        part = Binned(PARTS["b"].codes[:rows], PARTS["b"].sizes, PARTS["b"].missing, PARTS["b"].names)
        return lambda s: boosting.fit(
            s, part, Y if s.me == "a" else None, label_party="a", training=training, method="ideal"
        )

    with pytest.raises(PeerError, match=r"differ in max_depth \(here [34], there [34]\)\n"):
        run_parties({"a": party(SMALL), "b": party(replace(SMALL, max_depth=4))})
    with pytest.raises(PeerError, match=r"differ in rows \(here '[89]00', there '[89]00'\)"):
        run_parties({"a": party(SMALL), "b": party(SMALL, rows=800)})
    # The seed is the label party's own, and what the others say of it does not matter.
    run_parties({"a": party(replace(SMALL, seed=1)), "b": party(replace(SMALL, seed=2))})


# What is sent ---------------------------------------------------------------------------------------------------------


def test_bytes_are_what_the_docstring_says_and_do_not_show_the_tree() -> None:
    sent: dict[str, Any] = {}

    def run(training: Training) -> int:
        def party(s: Session) -> Fitted:
            labels = Y if s.me == "a" else None
            found = boosting.fit(s, PARTS[s.me], labels, label_party="a", training=training, method="lwe")
            sent[s.me] = s.channel("b" if s.me == "a" else "a").traffic
            return found

        found = run_parties(dict.fromkeys(TWO, party))
        total: int = sent["a"].bytes_sent + sent["a"].bytes_received
        splits_of_b = [tree.own for tree in found["b"].trees]
        return total - sum(
            boosting.tree_bytes(N, 4 * BINS, levels_of(own, found, i)) for i, own in enumerate(splits_of_b)
        )

    def levels_of(own: Sequence[trees.OwnNode], found: Mapping[str, Fitted], i: int) -> list[int]:
        shape = found["a"].trees[i].shape
        assert shape is not None
        counts = [0] * 3
        for inner in shape.inner:
            counts[(inner.node + 1).bit_length() - 1] += inner.owner == "b"
        assert sum(counts) == len(own)
        return counts

    # Set-ups, terms and envelopes are the same whatever was trained; nothing else is left of the bytes.
    bare = run(replace(SMALL, n_estimators=1, gamma=1e9))
    for training, envelopes in ((replace(SMALL, n_estimators=1), 1), (SMALL, 3)):
        assert 0 <= run(training) - bare <= 3 * envelopes * 3 * 20 * 128


# Where a party leaves -------------------------------------------------------------------------------------------------


@dataclass
class Leaving:
    """A lane of a party that ends in the middle of what it says."""

    lane: Lane
    after: int
    said: int = 0

    @property
    def me(self) -> str:
        return self.lane.me

    @property
    def peer(self) -> str:
        return self.lane.peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        if self.said == self.after:
            self.lane.close("gone")
            raise Gone
        self.said += last
        self.lane.write(buffers, last=last, timeout_s=timeout_s)

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        return self.lane.read(timeout_s=timeout_s)

    def fork(self, label: str) -> Lane:
        return self.lane.fork(label)

    def close(self, reason: str = "") -> None:
        self.lane.close(reason)


RESUMED = replace(SMALL, n_estimators=4, subsample=0.8, validation_rows=100, early_stopping_rounds=2, max_depth=2)


@cache
def whole() -> dict[str, Any]:
    return train(PARTS, Y, replace(RESUMED, seed=5))


def assert_the_same(found: Mapping[str, Fitted]) -> None:
    """Splits, leaves to the last bit, what is known about them, and margins."""
    for name, one in whole().items():
        assert (found[name].trees, found[name].gains) == (one.trees, one.gains)
        assert found[name].history == one.history or name != "a"
    np.testing.assert_array_equal(found["a"].margins, whole()["a"].margins)


@pytest.mark.parametrize(("leaver", "after"), [("a", 0), ("b", 4), ("a", 6), ("b", 7), ("a", 13), ("b", 14)])
def test_a_party_leaves_in_any_phase_and_the_model_is_the_same(leaver: str, after: int) -> None:
    keep = {name: Kept() for name in PARTS}

    def connect(names: Sequence[str]) -> dict[tuple[str, str], Lane]:
        lanes = dict(local.mesh(names))
        other = "b" if leaver == "a" else "a"
        lanes[leaver, other] = Leaving(lanes[leaver, other], after)
        return lanes

    seeded = replace(RESUMED, seed=5)
    with pytest.raises(Gone):
        train(PARTS, Y, seeded, keep=keep, connect=connect, seed=None)
    done: list[int] = []
    found = train(PARTS, Y, seeded, keep=keep, seed=None, progress=lambda now, _: done.append(now))
    rounds = {name: max((step for step, _ in kept.states), default=0) for name, kept in keep.items()}
    assert set(rounds.values()) == {4} and done == list(range(done[0], 5)) if done else rounds["a"] == 4
    assert_the_same(found)


@pytest.mark.parametrize(("leaver", "leave_at"), [("a", 1), ("b", 2), ("c", 4)])
def test_a_party_that_cannot_keep_a_round_leaves(leaver: str, leave_at: int) -> None:
    keep = {name: Kept() for name in PARTS}
    keep[leaver].leave_at = leave_at
    with pytest.raises(Gone):
        train(PARTS, Y, replace(RESUMED, seed=5), keep=keep, seed=None)
    keep[leaver].leave_at = None
    assert_the_same(train(PARTS, Y, replace(RESUMED, seed=5), keep=keep, seed=None))


def test_points_of_a_round_that_was_done_twice_are_not_mixed() -> None:
    """Round 2 is done twice, without a seed; each time the one that leaves has not kept it, and the other has."""
    keep = {name: Kept() for name in TWO}
    for leaver in "ab":
        for name, kept in keep.items():
            kept.leave_at = 2 if name == leaver else None
        with pytest.raises(Gone):
            train(TWO, Y, keep=keep, seed=None)
    assert {kept.states[-1][0] for kept in keep.values()} == {1, 2}
    keep["b"].leave_at = None
    found = train(TWO, Y, keep=keep, seed=None)
    np.testing.assert_allclose(joined(found, TWO)[:, 0], found["a"].margins, atol=1e-12)


def test_secret_draws_go_on_as_they_began() -> None:
    """Without a seed the label party's own randomness draws rows; a point holds what they are drawn by."""
    keep = {name: Kept() for name in PARTS}
    keep["b"].leave_at = 3
    with pytest.raises(Gone):
        train(PARTS, Y, RESUMED, keep=keep)
    keep["b"].leave_at = None
    np.testing.assert_array_equal(
        train(PARTS, Y, RESUMED, keep=keep, seed=None)["a"].margins, train(PARTS, Y, RESUMED)["a"].margins
    )


def test_a_finished_training_is_there_again() -> None:
    keep = {name: Kept() for name in PARTS}
    train(PARTS, Y, replace(RESUMED, seed=5), keep=keep)
    done: list[int] = []
    assert_the_same(train(PARTS, Y, replace(RESUMED, seed=5), keep=keep, progress=lambda now, _: done.append(now)))
    assert not done


def test_a_checkpoint_of_something_else() -> None:
    keep = {name: Kept() for name in TWO}
    train(TWO, Y, keep=keep)
    for other in (replace(SMALL, gamma=1.0), replace(SMALL, seed=9)):
        with pytest.raises(UsageError, match="other settings or other data: begin with an empty one"):
            train(TWO, Y, other, keep=keep)
    with pytest.raises(UsageError, match="other settings or other data"):
        train(TWO, 1 - Y, keep=keep)
    with pytest.raises(UsageError, match="other settings or other data"):
        train({"a": TWO["a"], "b": binned(CODES["b"][:, ::-1])}, Y, keep=keep)
    keep["b"].states = [(3, keep["b"].states[-1][1][:-40])]
    with pytest.raises(UsageError, match="damaged: begin with an empty one"):
        train(TWO, Y, keep=keep)
    # Where one party has nothing left, all begin anew.
    keep["b"].states = []
    assert train(TWO, Y, replace(SMALL, n_estimators=1), keep=keep)["a"].rounds == 1


# Hostile peers --------------------------------------------------------------------------------------------------------


def splits_of(change: Mapping[str, object]) -> tuple[NDArray[Any], ...]:
    """What is told of one split that can be, but for what is changed."""
    one = {"parent": -1, "left": 0, "column": 1, "bin": 2, "missing_left": 0, **change}
    kinds = {"parent": "i4", "left": "u1", "column": "u4", "bin": "u4", "missing_left": "u1"}
    return tuple(np.atleast_1d(np.array(one[name], dtype=kind)) for name, kind in kinds.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": 4}, "columns that this party has"),
        ({"column": 2**32 - 1}, "columns that this party has"),
        ({"bin": BINS - 1}, "bins that split their columns"),
        ({"bin": 2**32 - 1}, "bins that split their columns"),
        ({"parent": 0}, "nodes below those of levels above"),
        ({"parent": -2}, "nodes below those of levels above"),
        ({"left": 1}, "sides that are left or right"),
        ({"left": 2}, "sides that are left or right"),
        ({"missing_left": 2}, "sides that are left or right"),
        (
            dict.fromkeys(("parent", "left", "column", "bin", "missing_left"), (0, 0)),
            "no more splits than there are nodes",
        ),
    ],
    ids=str,
)
def test_splits_that_cannot_be(change: dict[str, Any], message: str) -> None:
    def hostile(channel: Channel) -> None:
        channel.send(wire.BoostingSplits(), *splits_of(change))

    with pytest.raises(PeerError, match=message):
        run_parties(
            {
                "a": lambda s: hostile(s.channel("b")),
                "b": lambda s: boosting._told(s.channel("a"), PARTS["b"], above=0, most=1),
            }
        )


def test_rounds_that_cannot_be() -> None:
    def hostile(order: wire.BoostingRound) -> Callable[[Session], None]:
        def party(s: Session) -> None:
            own = boosting_terms.task(s, PARTS["a"], Y, None, "a", replace(SMALL, n_estimators=1))
            boosting_terms.agree(s, own, "intl", "ideal", {})
            channel = s.channel("b")
            channel.send(order)
            with pytest.raises(ChannelClosed):
                channel.recv(wire.BoostingHistograms)

        return party

    nothing = Binned(np.zeros((N, 0), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.bool_), ())

    def honest(s: Session) -> Fitted:
        return boosting.fit(s, nothing, None, label_party="a", training=replace(SMALL, n_estimators=1), method="ideal")

    for rounds in (1, 5):
        with pytest.raises(PeerError, match="a model of rounds that were trained"):
            run_parties({"a": hostile(wire.BoostingRound(more=False, rounds=rounds)), "b": honest})


@pytest.mark.parametrize("message", range(6))
def test_flipped_bits_end_both_parties_or_change_values_alone(message: int) -> None:
    """A header's bit is found. Bits of words under masks are whatever they are: trees differ, or a sum is off."""
    for sender, receiver in itertools.permutations("ab"):
        with pytest.raises((PeerError, ChannelClosed)):
            train(TWO, Y, tamper={(sender, receiver): Tamper(message, byte=8, bit=1)}, timeout_s=5.0)


@pytest.mark.parametrize(
    ("sizes", "missing"), [([3, 0], [0, 0]), ([3, 1], [0, 1]), ([3, 3], [0, 2]), ([boosting_terms.MAX_BINS], [0])]
)
def test_columns_that_cannot_be(sizes: list[int], missing: list[int]) -> None:
    def hostile(s: Session) -> None:
        sizes_ = np.array([*sizes, 2], dtype=np.uint32)
        s.channel("a").send(terms_of(s), sizes_, np.array([*missing, 0], dtype=np.uint8))

    with pytest.raises(PeerError, match="columns that trees can be made of"):
        run_parties({"a": with_labels, "b": hostile})


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"version": boosting_terms.VERSION + 1}, r"differ in version \(here '1', there '2'\)"),
        ({"training": {}}, r"max_depth \(here 3, there none\)"),
        ({"training": {"max_leaves": "9"}}, "no settings that this version does not know"),
    ],
)
def test_a_party_with_another_version(changed: dict[str, Any], what: str) -> None:
    def other(s: Session) -> None:
        terms = terms_of(s)
        terms.version = changed.get("version", terms.version)
        more = changed.get("training")
        if more == {}:
            terms.training.clear()
        terms.training.update(more or {})
        s.channel("a").send(terms, np.array([2], dtype=np.uint32), np.zeros(1, dtype=np.uint8))

    with pytest.raises(PeerError, match=what):
        run_parties({"a": with_labels, "b": other})


def terms_of(s: Session) -> wire.BoostingTerms:
    """What b says first, in training with a."""
    return wire.BoostingTerms(
        version=boosting_terms.VERSION,
        parties=s.parties,
        label_party="a",
        suite="intl",
        method="ideal",
        training=boosting_terms._public(SMALL),
        rows=PARTS["b"].rows,
        seed=bytes(32),
    )


def with_labels(s: Session) -> Fitted:
    """Party a of such a training."""
    return boosting.fit(s, PARTS["a"], Y, label_party="a", training=SMALL, method="ideal")


# The parts ------------------------------------------------------------------------------------------------------------


def test_sums_are_read_from_any_share() -> None:
    rng = np.random.default_rng(3)
    for values in (
        rng.normal(size=1000),
        np.abs(rng.normal(size=1000)),
        -rng.random(50),
        np.zeros(4),
        np.ones(1) * 1e-9,
    ):
        words, scale = boosting._Scale.of(values)
        masks = rng.integers(0, 2, (300, len(values)))
        masks[0], masks[1], masks[2] = 1, values > 0, values < 0
        sums = (masks @ words.astype(np.int64)).astype(np.uint32)
        exact, off = masks @ values, np.abs(values).sum() / boosting._USED / 2**32
        np.testing.assert_allclose(scale.read(sums), exact, atol=off * len(values))
        # The upper half of a share, rounded: off by half a unit of 2^16 at most.
        share = rng.integers(0, 1 << 32, 300, dtype=np.uint32)
        upper = ((sums - share) >> 16).astype(np.uint16)
        opened = share + (upper.astype(np.uint32) << 16) + np.uint32(1 << 15)
        np.testing.assert_allclose(scale.read(opened), exact, atol=off * (len(values) + 2**15))


def test_histograms_are_off_by_what_is_not_told_and_hardly_by_noise() -> None:
    """Of encrypted products, for a node of a tenth of the rows: 2^-17 of the sum of sizes, and errors of all rows."""
    n, rng = 6000, np.random.default_rng(2)
    part = binned(rng.integers(0, BINS, (n, 4)))
    rows = np.sort(rng.permutation(n)[: n // 10])
    pairs = np.stack((rng.normal(size=len(rows)), rng.random(len(rows))))
    found: list[Reals] = []

    def label_party(s: Session) -> None:
        channel = s.channel("b")
        owner = lwe.start_owner({"b": channel}, n, suite=suites.get("intl"), rng=s.rng)
        words, scales = np.zeros((n, 2), np.uint32), []
        for j in range(2):
            words[rows, j], scale = boosting._Scale.of(pairs[j])
            scales.append(scale)
        share = owner.products(words)["b"]
        _, upper = channel.recv(wire.BoostingHistograms)
        opened = share + (upper.astype(np.uint32) << 16) + np.uint32(1 << 15)
        for j in range(2):
            exact = kernels.sums(part.codes[rows], np.rint(pairs[j][:, None] * 2**40).astype(np.int64), [BINS] * 4)
            found.append((scales[j].read(opened[:, j]) - exact[:, 0] / 2**40) * scales[j].factor)

    def feature_party(s: Session) -> None:
        holder = lwe.start_holder(s.channel("a"), part.codes, [BINS] * 4, suite=suites.get("intl"), rng=s.rng)
        s.channel("a").send(wire.BoostingHistograms(), (holder.products(2) >> 16).astype(np.uint16))

    run_parties({"a": label_party, "b": feature_party}, seed=b"noise")
    off = np.concatenate(found)
    noise = lwe.deviation(n // BINS)
    assert noise < 2**16 / 100
    assert np.abs(off).max() < 2**15 + 6 * noise
    assert np.std(off) == pytest.approx(2**16 / math.sqrt(12), rel=0.15)


def slow_best(
    training: Training, columns: Columns, g: Reals, h: Reals, totals: tuple[float, float]
) -> tuple[float, int, int, bool]:
    """The best split of one node by trying all, from the formula of the paper."""

    def score(a: float, b: float) -> float:
        shrunk = math.copysign(max(abs(a) - training.reg_alpha, 0.0), a)
        return shrunk**2 / (b + training.reg_lambda)

    found = (-math.inf, 0, 0, False)
    start = 0
    for column, (size, missing) in enumerate(zip(columns.sizes, columns.missing, strict=True)):
        for last in range(size - 1):
            for absent in (False, True) if missing else (False,):
                rows = [*range(start, start + last + 1), *([start + size - 1] if absent else [])]
                left = (g[rows].sum(), h[rows].sum())
                right = (totals[0] - left[0], totals[1] - left[1])
                if min(left[1], right[1]) >= max(training.min_child_weight, 1e-9) and (
                    not absent or h[start + size - 1] > 0
                ):
                    gain = score(*left) + score(*right) - score(*totals)
                    if gain > found[0] + 1e-9:
                        found = (gain, column, last, absent)
        start += size
    return found


@pytest.mark.parametrize("seed", range(20))
def test_best_splits_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = Columns(tuple(int(s) for s in rng.integers(1, 7, 5)), tuple(rng.random(5) < 0.5))
    columns = Columns(tuple(s + flag for s, flag in zip(columns.sizes, columns.missing, strict=True)), columns.missing)
    training = Training(reg_alpha=float(seed % 2), reg_lambda=0.5, min_child_weight=2.0 if seed % 3 else 0.0)
    n, nodes = 60, 3
    codes = np.stack([rng.integers(0, size, n) for size in columns.sizes], axis=1)
    pairs = np.stack((rng.normal(size=(nodes, n)), rng.random((nodes, n))), axis=1)
    starts = np.cumsum(columns.sizes) - columns.sizes
    sums = np.zeros((nodes, 2, columns.bins))
    for i, j, column in itertools.product(range(nodes), range(2), range(5)):
        np.add.at(sums[i, j], starts[column] + codes[:, column], pairs[i, j])
    totals = pairs.sum(axis=2)
    best = splits.best(
        training,
        splits.Layout.of(columns),
        sums[:, 0],
        sums[:, 1],
        totals[:, 0],
        totals[:, 1],
        usable=np.ones(5, np.bool_),
        blur=np.zeros(nodes),
    )
    for i in range(nodes):
        gain, column, last, absent = slow_best(training, columns, sums[i, 0], sums[i, 1], tuple(totals[i]))
        assert best.gain[i] == pytest.approx(gain)
        if math.isfinite(gain):
            assert (best.column[i], best.bin[i], best.missing_left[i]) == (column, last, absent)


@pytest.mark.parametrize("objective", LABELS)
def test_gradients_are_derivatives(objective: Objective) -> None:
    classes = 3 if objective == "multi:softprob" else None
    training = Training(objective=objective, num_class=classes, max_delta_step=0.0)
    rng = np.random.default_rng(1)
    y, margins = LABELS[objective][:30], rng.normal(size=(30, classes or 1))
    weights = rng.random(30)
    g, h = gradients.gradients(training, margins, y, weights)
    factor = 2.0 if objective in ("multi:softprob",) else 1.0  # XGBoost's hessians of softmax are doubled
    half = 0.5 if objective == "reg:squarederror" else 1.0  # of the square, which is not halved in the metric
    for k in range(classes or 1):
        step = np.zeros_like(margins)
        step[:, k] = 1e-4
        loss = [weights * half * gradients.losses(training, margins + t * step, y) for t in (-1, 0, 1)]
        np.testing.assert_allclose(g[k], (loss[2] - loss[0]) / 2e-4, atol=1e-6)
        np.testing.assert_allclose(h[k], factor * (loss[2] - 2 * loss[1] + loss[0]) / 1e-8, atol=1e-5, rtol=1e-4)


def test_points_are_archives_without_pickle() -> None:
    keep = {name: Kept() for name in TWO}
    train(TWO, Y, keep=keep)
    for name, kept in keep.items():
        (point,) = (one for (_, step), one in boosting_terms.points(kept).items() if step == 3)
        assert set(point.arrays) == ({"margins"} if name == "a" else set())
        json.dumps(point.state)
        assert b"pickle" not in kept.states[-1][1]
