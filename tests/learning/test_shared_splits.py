"""The best split of nodes whose sums nobody holds, against ``splits`` in the clear, on an engine that rounds badly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols import arithmetic
from protocols.arithmetic import Computation
from protocols.arithmetic.ideal import Rounding
from protocols.learning import shared_splits, splits
from protocols.learning.boosting_terms import Columns, Training
from protocols.learning.shared_splits import Candidates, Rules

COLUMNS = {"a": Columns((9, 1, 4), (False, False, False)), "b": Columns((2, 8), (True, True)), "c": Columns((), ())}
EVERY = {name: np.ones(len(one.sizes), dtype=np.bool_) for name, one in COLUMNS.items()}
ALL = Columns(tuple(s for one in COLUMNS.values() for s in one.sizes), (False, False, False, True, True))
G, H = 14, 16

Words = NDArray[np.uint32]


def node(rng: np.random.Generator, rows: int, slope: float, base: float) -> tuple[NDArray[np.float64], ...]:
    """Sums of g and h in each bin of all columns, (bins, 2), and of all rows, on the grid of words."""
    codes = np.stack([rng.integers(0, size, rows) for size in ALL.sizes], axis=1)
    p = 1 / (1 + np.exp(-slope * (codes[:, 0] + 2 * (codes[:, 4] == 7) - 4) - base))
    y = rng.random(rows) < p
    g, h = np.rint((p.mean() - y) * 2**G) / 2**G, np.full(rows, np.rint(p.mean() * (1 - p.mean()) * 2**H) / 2**H)
    columns = [np.bincount(codes[:, j], v, size) for v in (g, h) for j, size in enumerate(ALL.sizes)]
    half = len(ALL.sizes)
    bins = np.stack([np.concatenate(columns[:half]), np.concatenate(columns[half:])], axis=1)
    return bins, np.array([g.sum(), h.sum()])


def as_words(sums: NDArray[np.float64]) -> Words:
    return np.rint(sums * [2.0**G, 2.0**H]).astype(np.int64).astype(np.uint32)


def best(
    run: Computation, bins: NDArray[np.float64], totals: NDArray[np.float64], training: Training
) -> tuple[Candidates, NDArray[np.bool_], NDArray[np.int64]]:
    candidates = shared_splits.candidates(COLUMNS, EVERY)
    left = candidates.left_sums(as_words(bins), as_words(totals))
    rules = Rules(G, H, training.reg_lambda, training.min_child_weight)
    gamma = run.share(np.array(max(training.gamma, 2.0**-10)), owner="alone", fraction=shared_splits.GAIN_FRACTION)
    found = shared_splits.best(run, left, as_words(totals), rules, gamma)
    return candidates, np.asarray(run.reveal(found.splits)), np.asarray(run.reveal(found.index))


@pytest.mark.parametrize("rounding", ["down", "up", "random"])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 50.0])
def test_gains_as_in_the_clear(rounding: Rounding, penalty: float) -> None:
    rng = np.random.default_rng(int(penalty))
    sizes = [(20_000, 0.6, 0.0), (3000, 0.0, -3.0), (400, 1.0, 0.0), (70, 0.5, 0.0), (25, 3.0, 1.0), (6, 1.0, 0.0)]
    made = [node(rng, *size) for size in sizes]
    bins, totals = (np.stack(parts) for parts in zip(*made, strict=True))
    training = Training(reg_lambda=penalty, gamma=1.5, min_child_weight=2.0)
    run = arithmetic.alone(rounding=rounding, fraction=20)
    candidates, opened, index = best(run, bins, totals, training)
    clear = splits.best(
        training,
        splits.Layout.of(ALL),
        bins[:, :, 0],
        bins[:, :, 1],
        totals[:, 0],
        totals[:, 1],
        usable=np.ones(len(ALL.sizes), dtype=np.bool_),
        blur=np.zeros(len(made)),
    )
    left = candidates.left_sums(as_words(bins), as_words(totals)).view(np.int32) / [2.0**G, 2.0**H]
    for i, (g, h) in enumerate(totals):
        gl, hl = left[i, index[i]]
        parts = [(gl, hl), (g - gl, h - hl)]
        gain = sum(a**2 / (b + penalty) for a, b in parts) - g**2 / (h + penalty)
        assert opened[i] == (clear.gain[i] > training.gamma)
        if opened[i]:
            assert min(hl, h - hl) >= training.min_child_weight - 2.0**-5
            assert gain >= clear.gain[i] * (1 - 2.0**-9)
    assert list(opened[-3:]) != [True] * 3
    assert opened[0]


def test_sums_of_every_candidate() -> None:
    rng = np.random.default_rng(2)
    bins = rng.integers(0, 1 << 32, (3, ALL.bins, 2), dtype=np.uint32)
    first = sum(ALL.sizes[:1])
    totals = bins[:, :first].sum(axis=1, dtype=np.uint32)
    # All columns of a node have the same total.
    starts = np.cumsum((0, *ALL.sizes))
    for start, size in zip(starts, ALL.sizes, strict=False):
        bins[:, start] += totals - bins[:, start : start + size].sum(axis=1, dtype=np.uint32)
    candidates = shared_splits.candidates(COLUMNS, EVERY)
    assert len(candidates) == 8 + 0 + 3 + 1 + (7 + 6)
    assert [candidates.of_party(p) for p in range(3)] == [slice(0, 11), slice(11, 25), slice(25, 25)]
    left = candidates.left_sums(bins, totals)
    for c in range(len(candidates)):
        j = int(candidates.column[c]) + 3 * int(candidates.party[c])
        goes = np.arange(ALL.sizes[j]) <= candidates.bin[c]
        if ALL.missing[j]:
            goes[-1] = candidates.missing_left[c]
        block = bins[:, starts[j] : starts[j + 1]]
        np.testing.assert_array_equal(left[:, c], block[:, goes].sum(axis=1, dtype=np.uint32))
    some = shared_splits.candidates(COLUMNS, {**EVERY, "a": np.array([False, True, True])})
    assert set(zip(some.party.tolist(), some.column.tolist(), strict=True)) == {(0, 2), (1, 0), (1, 1)}


def test_equal_candidates_and_none_that_may_be() -> None:
    """Exact ties, as of columns that are copies, and nodes without a candidate that leaves enough on both sides."""
    run = arithmetic.alone(fraction=20)
    candidates = shared_splits.candidates({"a": Columns((3,) * 40, (False,) * 40)}, {"a": np.ones(40, dtype=np.bool_)})
    bins = np.tile(np.array([[5.0, 3.0], [-6.0, 3.0], [2.0, 3.0]]), (40, 1))[None].repeat(2, axis=0)
    totals = np.array([[1.0, 9.0], [1.0, 9.0]])
    gamma = run.share(np.array(2.0**-10), owner="alone", fraction=shared_splits.GAIN_FRACTION)
    left = candidates.left_sums(as_words(bins), as_words(totals))
    found = shared_splits.best(run, left, as_words(totals), Rules(G, H, 1.0, 1.0), gamma)
    assert np.asarray(run.reveal(found.splits)).all()
    assert (candidates.bin[np.asarray(run.reveal(found.index))] == 0).all()
    none = shared_splits.best(run, left, as_words(totals), Rules(G, H, 1.0, 5.0), gamma)
    assert not np.asarray(run.reveal(none.splits)).any()


@pytest.mark.parametrize("rounding", ["down", "up", "random"])
def test_newton_steps(rounding: Rounding) -> None:
    run = arithmetic.alone(rounding=rounding, fraction=20)
    sums = np.array([[-9000.0, 14000.0], [3.0, 0.25], [-0.5, 1.0], [0.0, 2.0], [40.0, 0.5]])
    shared = shared_splits.signed(run, as_words(sums))
    got = run.reveal(shared_splits.newton(shared, Rules(G, H, 1.5, 1.0)))
    exact = sums[:, 0] / (sums[:, 1] + 1.5)
    assert np.abs(np.asarray(got) - exact).max() <= 2.0**-18 * max(1.0, np.abs(exact).max())
