"""Boosted trees of which only the trees come out: against boosting in the clear, with the same bins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.learning.v1 import boosting_pb2 as rounds
from mpc.wire.learning.v1 import strict_boosting_pb2 as wire
from protocols.learning import boosting, gradients, splits, strict_boosting, trees
from protocols.learning.binned import Binned
from protocols.learning.boosting_terms import Columns, Fitted, Point, Task, Terms, Training

STRICT = Training(n_estimators=3, max_depth=3, privacy="strict")


class Gone(Exception):
    """A party has left."""


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


def table(rng: np.random.Generator, n: int, sizes: list[int], *, missing: bool = False) -> Binned:
    codes = np.stack([rng.integers(0, size, n) for size in sizes], axis=1).astype(np.uint8)
    gone = np.zeros(len(sizes), dtype=np.bool_)
    if missing:
        gone[-1] = True
        codes[rng.random(n) < 0.2, -1] = sizes[-1] - 1
    return Binned(codes, np.array(sizes), gone, tuple(f"x{j}" for j in range(len(sizes))))


def example(n: int = 2000, *, parties: int = 2, seed: int = 1) -> tuple[dict[str, Binned], np.ndarray]:
    """Columns of each party and what labels are made of: each split matters by far more than noise does."""
    rng = np.random.default_rng(seed)
    tables = {"a": table(rng, n, [7, 5])}
    for name in ("b", "c")[: parties - 1]:
        tables[name] = table(rng, n, [6, 4, 5], missing=True)
    x = {name: one.codes.astype(float) for name, one in tables.items()}
    z = 0.9 * (x["a"][:, 0] - 3) * (x["b"][:, 0] > 2) + 1.3 * (x["b"][:, 2] == 4) - 0.5 * x["a"][:, 1]
    return tables, z + (0.6 * x["c"][:, 1] if parties > 2 else 0.0)


def drawn(z: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(5).random(len(z)) < 1 / (1 + np.exp(z.mean() - z))).astype(float)


def fit(
    tables: Mapping[str, Binned],
    y: np.ndarray,
    training: Training = STRICT,
    *,
    weights: np.ndarray | None = None,
    method: boosting.Method = "ideal",
    keep: Mapping[str, Kept] | None = None,
    tamper: Mapping[tuple[str, str], Tamper] | None = None,
) -> dict[str, Fitted]:
    def party(name: str) -> object:
        return lambda s: boosting.fit(
            s,
            tables[name],
            y if name == "a" else None,
            label_party="a",
            training=training,
            sample_weight=weights if name == "a" else None,
            method=method,
            checkpoint=None if keep is None else keep[name],
        )

    return run_parties({name: party(name) for name in tables}, tamper=tamper)  # type: ignore[arg-type]


def margins(tables: Mapping[str, Binned], fitted: Mapping[str, Fitted], count: int | None = None) -> np.ndarray:
    """What the parts together predict."""
    codes = {name: one.codes for name, one in tables.items()}
    missing = {name: trees.missing_codes(one.sizes, one.missing) for name, one in tables.items()}
    start = fitted["a"].base_score
    assert start is not None
    total = np.full(len(codes["a"]), start)
    for i in range(fitted["a"].rounds if count is None else count):
        total += trees.joined({name: one.trees[i] for name, one in fitted.items()}, codes, missing)
    return total


def opened(fitted: Mapping[str, Fitted]) -> np.ndarray:
    """The training's own margins."""
    words = sum(one.margins for one in fitted.values() if one.margins is not None)
    return np.asarray(words, dtype=np.uint64).astype(np.uint32).view(np.int32) / 2.0**strict_boosting.FRACTION


def reference(
    tables: Mapping[str, Binned], y: np.ndarray, training: Training, weights: np.ndarray | None = None
) -> np.ndarray:
    """Margins of boosting in the clear, by the rules of ``splits``."""
    codes = np.concatenate([one.codes for one in tables.values()], axis=1)
    sizes = np.concatenate([one.sizes for one in tables.values()])
    missing = np.concatenate([one.missing for one in tables.values()])
    layout = splits.Layout.of(Columns(tuple(sizes.tolist()), tuple(missing.tolist())))
    trained = len(y) - training.validation_rows
    start = gradients.start(training, y[:trained], None if weights is None else weights[:trained])
    total = np.full(len(y), start)
    for _ in range(training.n_estimators):
        g, h = (one[0] for one in gradients.gradients(training, total[:, None], y, weights))
        place = np.zeros(len(y), dtype=np.int64)  # of each row the node it is in, by number in the heap
        for level in range(training.max_depth):
            for node in np.unique(place[place >= 2**level - 1]):
                rows = place == node
                counted = rows & (np.arange(len(y)) < trained)
                sums = [
                    np.concatenate([np.bincount(codes[counted, j], v[counted], size) for j, size in enumerate(sizes)])
                    for v in (g, h)
                ]
                best = splits.best(
                    training,
                    layout,
                    sums[0][None],
                    sums[1][None],
                    np.array([g[counted].sum()]),
                    np.array([h[counted].sum()]),
                    usable=np.ones(len(sizes), dtype=np.bool_),
                    blur=np.zeros(1),
                )
                if best.gain[0] > max(training.gamma, 2.0**-10):
                    j = int(best.column[0])
                    left = codes[:, j] <= best.bin[0]
                    if missing[j]:
                        left[codes[:, j] == sizes[j] - 1] = best.missing_left[0]
                    place[rows] = 2 * node + np.where(left[rows], 1, 2)
        for node in np.unique(place):
            rows = place == node
            counted = rows & (np.arange(len(y)) < trained)
            total[rows] += training.learning_rate * -g[counted].sum() / (h[counted].sum() + training.reg_lambda)
    return total


def test_classes_as_in_the_clear() -> None:
    tables, z = example()
    y = drawn(z)
    fitted = fit(tables, y)
    ours = margins(tables, fitted)
    assert np.abs(ours - reference(tables, y, STRICT)).max() < 2e-3
    assert np.abs(ours - opened(fitted)).max() < 2e-6
    assert fitted["b"].base_score is None
    shape, other = fitted["a"].trees[0].shape, fitted["b"].trees[0].shape
    assert shape is not None
    assert other is not None
    assert shape.inner == other.inner
    assert all(leaf.weight is None and leaf.share is None for leaf in other.leaves)
    for name, one in fitted.items():
        for tree in one.trees:
            tree.require_fits(name, tables[name].sizes)


def test_three_parties_with_weights() -> None:
    tables, z = example(parties=3)
    y = drawn(z)
    weights = np.random.default_rng(2).choice([0.0, 0.5, 3.0], len(y))
    training = replace(STRICT, n_estimators=2, scale_pos_weight=2.0, reg_lambda=0.5, gamma=2.0, min_child_weight=4.0)
    fitted = fit(tables, y, training, weights=weights)
    assert {one.owner for tree in fitted["a"].trees if tree.shape for one in tree.shape.inner} == {"a", "b", "c"}
    assert np.abs(margins(tables, fitted) - reference(tables, y, training, weights)).max() < 4e-3
    assert fitted["c"].margins is None


def test_numbers_with_shared_leaves() -> None:
    tables, z = example(parties=3)
    y = 1000 + 70 * z
    training = replace(STRICT, objective="reg:squarederror", leaves="shared", learning_rate=0.5, gamma=50.0)
    fitted = fit(tables, y, training)
    shapes = {name: fitted[name].trees for name in ("a", "b")}
    whole = []
    for one, other in zip(*shapes.values(), strict=True):
        assert one.shape is not None
        assert other.shape is not None
        leaves = []
        for left, right in zip(one.shape.leaves, other.shape.leaves, strict=True):
            assert left.weight is None
            assert left.share is not None
            assert right.share is not None
            word = (left.share + right.share) % (1 << 64)
            leaves.append(trees.Leaf(left.node, (word - (word >> 63 << 64)) / 2.0**trees.LEAF_FRACTION))
        whole.append(replace(one, shape=trees.Shape(one.shape.inner, tuple(leaves))))
    known = {**fitted, "a": replace(fitted["a"], trees=tuple(whole))}
    assert np.abs(margins(tables, known) - reference(tables, y, training)).max() < 1e-2 * y.std()
    assert fitted["c"].trees[0].shape is not None
    assert fitted["c"].trees[0].shape.leaves[0].share is None


def test_stops_early_by_rows_to_validate_on() -> None:
    tables, z = example(1500)
    y = drawn(z)
    y[1000:] = 1 - y[1000:]  # so that what is learned makes the last rows worse
    training = replace(STRICT, n_estimators=6, max_depth=2, validation_rows=500, early_stopping_rounds=2)
    fitted = fit(tables, y, training)
    assert [fitted[name].rounds for name in tables] == [1, 1]
    assert len(fitted["b"].trees) == 1
    assert len(fitted["a"].history) == 3
    assert fitted["b"].history == ()
    p = gradients.sigmoid(margins(tables, fitted, 1)[1000:])
    loss = math.sqrt(float(np.mean((p - y[1000:]) ** 2)))
    assert fitted["a"].history[0][1] == pytest.approx(loss, abs=1e-4)
    assert fitted["a"].margins is None


def test_rows_and_columns_are_drawn() -> None:
    tables, z = example(1200)
    training = replace(STRICT, n_estimators=4, max_depth=2, subsample=0.5, colsample_bytree=0.2, seed=3)
    one, other = (fit(tables, drawn(z), training) for _ in range(2))
    assert [len({node.column for node in tree.own}) <= 1 for tree in one["b"].trees] == [True] * 4
    assert [tree.own for tree in one["b"].trees] == [tree.own for tree in other["b"].trees]
    assert np.abs(margins(tables, one) - opened(one)).max() < 2e-6


def test_nothing_to_split() -> None:
    tables, z = example(300)
    y = drawn(z)
    fitted = fit(tables, y, replace(STRICT, n_estimators=2, min_child_weight=1e4))
    assert all(tree.own == () for one in fitted.values() for tree in one.trees)
    assert np.ptp(margins(tables, fitted)) == 0
    assert opened(fitted) == pytest.approx(margins(tables, fitted), abs=2e-6)


def test_label_party_without_columns() -> None:
    tables, z = example(1000)
    tables["a"] = nothing(1000)
    y = drawn(z)
    fitted = fit(tables, y, replace(STRICT, n_estimators=1))
    assert np.abs(margins(tables, fitted) - reference(tables, y, replace(STRICT, n_estimators=1))).max() < 1e-3


def nothing(n: int) -> Binned:
    return Binned(np.zeros((n, 0), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.bool_), ())


def test_others_without_columns() -> None:
    tables, z = example(1000, parties=3)
    y = drawn(z)
    training = replace(STRICT, n_estimators=2, max_depth=2)
    for empty in (("b", "c"), ("b",), ("c",)):
        some = {name: nothing(1000) if name in empty else one for name, one in tables.items()}
        filled = {name: one for name, one in some.items() if one.names}
        ours = margins(some, fit(some, y, training))
        assert np.abs(ours - reference(filled, y, training)).max() < 1e-3


def test_columns_of_one_bin() -> None:
    tables, z = example(400)
    rng = np.random.default_rng(4)
    tables["b"] = table(rng, 400, [1, 1, 1, 2, 1])
    training = replace(STRICT, n_estimators=8, colsample_bytree=0.15, max_depth=2, seed=1, min_child_weight=0.0)
    fitted = fit(tables, drawn(z), training)
    leaves = [len(tree.shape.leaves) for tree in fitted["a"].trees if tree.shape]
    assert 1 in leaves
    assert max(leaves) > 1


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"validation_rows": 19}, "0 or at least 20"),
        ({"objective": "count:poisson"}, "privacy='standard'"),
        ({"reg_alpha": 1.0}, "raise reg_lambda"),
        ({"max_delta_step": 0.5}, "raise reg_lambda"),
        ({"reg_lambda": 1e6}, "reg_lambda is at most"),
        ({"gamma": 1e7}, "gamma is at most"),
    ],
)
def test_settings_that_there_are_not(changed: dict[str, object], remedy: str) -> None:
    tables, z = example(50)
    with pytest.raises(UsageError, match=remedy):
        fit(tables, drawn(z), replace(STRICT, **changed))  # type: ignore[arg-type]


def test_goes_on_where_a_party_left() -> None:
    tables, z = example(600, parties=3)
    y = drawn(z)
    training = replace(STRICT, max_depth=2, validation_rows=100)
    keep = {name: Kept() for name in tables}
    keep["b"].leave_at = 3
    with pytest.raises(Gone):
        fit(tables, y, training, keep=keep)
    keep["b"].leave_at = None
    assert keep["b"].states[-1][0] == 2
    fitted = fit(tables, y, training, keep=keep)
    whole = fit(tables, y, training)
    assert np.abs(margins(tables, fitted) - margins(tables, whole)).max() < 2e-3
    assert np.abs(margins(tables, fitted) - opened(fitted)).max() < 2e-6
    np.testing.assert_allclose([v for _, v in fitted["a"].history], [v for _, v in whole["a"].history], atol=1e-3)
    again = fit(tables, y, training, keep=keep)  # nothing is left to do
    assert [tree.own for tree in again["c"].trees] == [tree.own for tree in fitted["c"].trees]


# Hostile peers --------------------------------------------------------------------------------------------------------


def _start(session: Session, own: Task, terms: Terms, point: Point | None) -> strict_boosting._Start:
    if session.me != "a":
        return _REAL_START(session, own, terms, point)
    for channel in session.channels.values():
        channel.send(wire.StrictStart(version=1, key=bytes(31)))
    return strict_boosting._Start(0, 0, bytes(32))


def _told(work: strict_boosting._Work, course: strict_boosting._Course) -> tuple[bool, int]:
    if work.me != "a":
        return _REAL_TOLD(work, course)
    for channel in work.run.session.channels.values():
        channel.send(rounds.BoostingRound(more=False, rounds=1))
    return False, 0


def _share_sides(work: strict_boosting._Work, sides: Sequence[np.ndarray]) -> None:
    for name in work.run.compute:
        work.run.session.channel(name).send(wire.StrictSides(), np.zeros((len(sides), 3), dtype=np.uint8))


def _products(work: strict_boosting._Work, vectors: np.ndarray | None, width: int) -> np.ndarray | None:
    if work.me != "c":
        return _REAL_PRODUCTS(work, vectors, width)
    for holder in work.holders.values():
        holder.products(width)
    work.run.session.channel("a").send(wire.StrictHistograms(), np.zeros((3, width), dtype=np.uint32))
    return None


_REAL_START, _REAL_TOLD, _REAL_PRODUCTS = strict_boosting._start, strict_boosting._told, strict_boosting._products


@pytest.mark.parametrize(
    ("name", "hostile", "what"),
    [
        ("_start", _start, "32 bytes for draws"),
        ("_told", _told, "rounds that there are"),
        ("_share_sides", _share_sides, "sides of 300 rows"),
        ("_products", _products, "histograms of 15 bins"),
    ],
)
def test_peer_that_says_something_else(
    name: str, hostile: Callable[..., object], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, z = example(300, parties=3)
    monkeypatch.setattr(strict_boosting, name, hostile)
    with pytest.raises(PeerError, match=what):
        fit(tables, drawn(z + 3 * tables["c"].codes[:, 0]), replace(STRICT, n_estimators=1))


@pytest.mark.parametrize("message", range(1, 9))
def test_a_flipped_bit_in_a_header(message: int) -> None:
    tables, z = example(200)
    with pytest.raises((PeerError, ChannelClosed)):
        fit(
            tables,
            drawn(z),
            replace(STRICT, n_estimators=1),
            tamper={("a", "b"): Tamper(message=message, byte=0, bit=6)},
        )


def test_real_products_and_arithmetic() -> None:
    tables, z = example(700)
    y = drawn(z)
    training = replace(STRICT, n_estimators=2, max_depth=2)
    fitted = fit(tables, y, training, method="lwe")
    assert np.abs(margins(tables, fitted) - reference(tables, y, training)).max() < 5e-3
    assert np.abs(margins(tables, fitted) - opened(fitted)).max() < 2e-6
