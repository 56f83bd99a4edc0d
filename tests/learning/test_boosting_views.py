"""What each party of boosted trees gets to see: no length, number or order of messages tells more than it should."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc.channel import Buffer, Lane
from mpc.session import Session
from mpc.testing import run_parties
from mpc.transport import local
from protocols.arithmetic import Computation, Shared
from protocols.learning import boosting
from protocols.learning.binned import Binned
from protocols.learning.boosting import Fitted, Training
from protocols.learning.boosting_terms import Method

Codes = NDArray[np.uint8]
Reals = NDArray[np.float64]

N, BINS = 400, 8


@dataclass(frozen=True)
class Seen:
    """A lane that notes the sizes of messages in both directions, and of its forks; by the lane's path."""

    lane: Lane
    path: str = ""
    notes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def me(self) -> str:
        return self.lane.me

    @property
    def peer(self) -> str:
        return self.lane.peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        self.notes.setdefault(f"{self.path} sent", []).append(sum(len(one) for one in buffers))
        self.lane.write(buffers, last=last, timeout_s=timeout_s)

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        chunk, last = self.lane.read(timeout_s=timeout_s)
        self.notes.setdefault(f"{self.path} received", []).append(len(chunk))
        return chunk, last

    def fork(self, label: str) -> Lane:
        path = re.sub("[0-9a-f]{12}", "…", label)  # some labels are drawn
        return Seen(self.lane.fork(label), f"{self.path}/{path}", self.notes)

    def close(self, reason: str = "") -> None:
        self.lane.close(reason)


def _binned(codes: Codes, bins: int = BINS) -> Binned:
    k = codes.shape[1]
    names = tuple(f"x{j}" for j in range(k))
    return Binned(np.ascontiguousarray(codes), np.full(k, bins), np.zeros(k, dtype=np.bool_), names)


def _train(
    a: Codes, b: Codes, y: Reals, training: Training, method: Method = "ideal"
) -> tuple[Fitted, Fitted, dict[str, list[int]]]:
    """Both parties' parts, and the sizes of all messages as the feature party sees them."""
    notes: dict[str, list[int]] = {}

    def connect(names: Sequence[str]) -> Mapping[tuple[str, str], Lane]:
        lanes: dict[tuple[str, str], Lane] = dict(local.mesh(names))
        lanes["b", "a"] = Seen(lanes["b", "a"], notes=notes)
        return lanes

    def party(codes: Codes, labels: Reals | None) -> Callable[[Session], Fitted]:
        return lambda session: boosting.fit(
            session, _binned(codes), labels, label_party="a", training=training, method=method
        )

    done = run_parties({"a": party(a, y), "b": party(b, None)}, connect=connect)
    return done["a"], done["b"], notes


def _codes(seed: int, k: int) -> Codes:
    return np.random.default_rng(seed).integers(0, BINS, size=(N, k), dtype=np.uint8)


def _own(fitted: Fitted) -> list[int]:
    return [len(tree.own) for tree in fitted.trees]


def _inner(fitted: Fitted) -> list[int]:
    return [0 if tree.shape is None else len(tree.shape.inner) for tree in fitted.trees]


@pytest.mark.parametrize("method", ["ideal", "lwe"])
def test_sizes_of_messages_do_not_tell_of_others_nodes(method: Method) -> None:
    """Two trainings that differ in everything but what is public and in the feature party's own splits, of which there
    are none: trees of many nodes in one, no node in the other, other labels, other rows in nodes.
    """
    a, b = _codes(1, 3), _codes(2, 2)
    training = Training(n_estimators=2, max_depth=3, gamma=4.0, minimum_rows=5)
    clear = ((a[:, 0] > 3) ^ (a[:, 1] > 2)).astype(np.float64)
    full, nothing, sizes = _train(a, b, clear, training, method)
    assert _own(nothing) == [0, 0]
    assert min(_inner(full)) >= 2
    noise = np.random.default_rng(6).permutation(clear)
    empty, nothing, others = _train(_codes(4, 3), b, noise, training, method)
    assert _own(nothing) == [0, 0]
    assert _inner(empty) == [0, 0]
    assert sizes == others


def test_order_of_splits_does_not_tell_of_others_nodes() -> None:
    """The label party's columns the other way round turn its nodes' sides; the partner is told the same."""
    a, b = _codes(5, 1), _codes(6, 3)
    low = np.where(b[:, 0] > 1, 9.0, 0.0)
    high = np.where(b[:, 1] > 5, 20.0, 3.0) + np.where(b[:, 2] > 3, 5.0, 0.0)
    y = np.where(a[:, 0] > 3, 60.0 + high, low)
    training = Training(objective="reg:squarederror", n_estimators=1, max_depth=3, gamma=50.0, reg_lambda=0.0)
    first, told, _ = _train(a, b, y, training)
    turned, again, _ = _train(BINS - 1 - a, b, y, training)
    assert _inner(first) == _inner(turned) == [5]
    assert len(told.trees[0].own) == 4
    assert first.trees[0].shape != turned.trees[0].shape
    assert told.trees == again.trees


def test_order_of_equal_splits_is_random() -> None:
    """The label party's node has the partner's same split on both sides, and one of these has a further one below it:

    the partner cannot tell which.
    """
    a, b = _codes(13, 1)[:120], _codes(14, 2)[:120]
    y = np.where(a[:, 0] > 3, 100.0, 0.0) + np.where(b[:, 0] > 3, 30.0, 0.0)
    y += np.where((a[:, 0] > 3) & (b[:, 0] > 3) & (b[:, 1] > 3), 10.0, 0.0)
    training = Training(objective="reg:squarederror", n_estimators=1, max_depth=3, gamma=50.0, reg_lambda=0.0)
    parents = set()
    for _ in range(24):
        _, told, _ = _train(a, b, y, training)
        own = told.trees[0].own
        assert [node.parent for node in own[:2]] == [-1, -1]
        assert own[0] == own[1]
        parents.add(own[2].parent)
        if len(parents) == 2:
            return
    pytest.fail(f"always below the node with number {parents}")


def test_no_histogram_is_of_fewer_rows_than_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not where a node of many rows has a sibling of few, from which its histogram would follow."""
    asked: list[int] = []
    take = boosting._Scale.of

    def noting(values: Reals) -> tuple[NDArray[np.uint32], boosting._Scale]:
        asked.append(len(values))
        return take(values)

    monkeypatch.setattr(boosting._Scale, "of", staticmethod(noting))
    a, b = _codes(7, 2), _codes(8, 2)
    y = np.random.default_rng(9).normal(size=N) + np.where(a[:, 0] == 0, 9.0, 0.0) * (a[:, 1] < 2) + b[:, 0]
    training = Training(objective="reg:squarederror", n_estimators=1, max_depth=4, minimum_rows=60)
    fitted, _, _ = _train(a, b, y, training)
    assert min(_inner(fitted)) > 5
    assert min(asked) >= 60


@dataclass(frozen=True)
class Opened:
    """Of one vector: the words that were encrypted, how they are read, and (m,) sums as they were read."""

    words: NDArray[np.uint32]
    scale: boosting._Scale
    read: list[Reals] = field(default_factory=list)


def test_what_opens_is_rounded_at_a_random_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bin's sum opens to within 2^15 of the words it is made of, wherever in that interval it is; and not better."""
    vectors: list[Opened] = []
    take, read = boosting._Scale.of, boosting._Scale.read

    def of(values: Reals) -> tuple[NDArray[np.uint32], boosting._Scale]:
        words, scale = take(values)
        vectors.append(Opened(words, scale))
        return words, scale

    def reading(scale: boosting._Scale, words: NDArray[np.uint32]) -> Reals:
        found = read(scale, words)
        next(one for one in vectors if one.scale is scale).read.append(found)
        return found

    monkeypatch.setattr(boosting._Scale, "of", staticmethod(of))
    monkeypatch.setattr(boosting._Scale, "read", reading)
    b = _codes(10, 20)
    y = np.random.default_rng(11).normal(size=N)
    _train(_codes(12, 1), b, y, Training(objective="reg:squarederror", n_estimators=4, max_depth=1))
    off = []
    for vector in vectors:
        (found,) = vector.read
        words = vector.words.view(np.int32).astype(np.float64)
        exact = np.concatenate([np.bincount(b[:, j], words, minlength=BINS) for j in range(b.shape[1])])
        off.append((found * vector.scale.factor - exact) / 2**15)
    errors = np.concatenate(off)
    assert np.abs(errors).max() <= 1 + 1e-4
    # Uniform between -1 and 1: mean 0, variance a third, and no correlation from one training's tree to the next.
    assert abs(errors.mean()) < 0.1
    assert errors.var() == pytest.approx(1 / 3, rel=0.15)


def test_strict_mode_sends_the_same_whatever_labels_and_columns_are() -> None:
    """Two trainings of one shape: of other labels, columns, and splits of the label party."""
    training = Training(n_estimators=2, max_depth=1, privacy="strict", gamma=2.0)
    a, b = _codes(16, 2), _codes(17, 1)
    first, _, sizes = _train(a, b, (a[:, 0] > 3).astype(np.float64), training, "lwe")
    c, d = _codes(18, 2), _codes(19, 1)
    second, _, others = _train(c, d, (c[:, 1] < 6).astype(np.float64), training, "lwe")
    for one, other in zip(first.trees, second.trees, strict=True):
        assert one.shape is not None
        assert other.shape is not None
        assert one.shape.inner == other.shape.inner != ()
        assert one.own != other.own
    assert sizes == others


@pytest.mark.parametrize("leaves", ["label_party", "shared"])
def test_strict_mode_opens_shapes_own_splits_and_leaves(
    leaves: Literal["label_party", "shared"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that opens, to whom, and how many numbers: nothing for each row or bin."""
    opened: list[tuple[str, tuple[str, ...], int]] = []
    reveal = Computation.reveal

    def noting(run: Computation, shared: Shared, *, to: str | Sequence[str] | None = None) -> object:
        learners = run.compute if to is None else (to,) if isinstance(to, str) else tuple(to)
        if run.session.me == "a":
            opened.append((shared.kind, learners, shared.size))
        return reveal(run, shared, to=to)

    monkeypatch.setattr(Computation, "reveal", noting)
    a, b = _codes(20, 1), _codes(21, 2)
    y = ((a[:, 0] > 3) ^ (b[:, 1] > 2)).astype(np.float64)
    training = Training(n_estimators=1, max_depth=2, privacy="strict", leaves=leaves)
    fitted, _, _ = _train(a, b, y, training)
    shape = fitted.trees[0].shape
    assert shape is not None
    assert len(shape.inner) == 3
    levels = [[one for one in shape.inner if (one.node + 1).bit_length() == depth + 1] for depth in range(2)]
    expected: list[tuple[str, tuple[str, ...], int]] = []
    for level, alive in zip(levels, (1, 2), strict=True):
        expected.append(("bool", ("a", "b"), 2 * alive))
        for owner in ("a", "b"):
            if count := sum(one.owner == owner for one in level):
                expected.append(("int", (owner,), count))
    if leaves == "label_party":
        expected.append(("fixed", ("a",), len(shape.leaves)))
    assert opened == expected
