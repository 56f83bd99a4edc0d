"""Sums over rows against formulas and differences, steps against systems solved plainly, rows that are refused."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from mpc.errors import UsageError
from protocols.learning import glm
from protocols.learning.glm import Family

K20 = np.ones(20)
FAMILIES: tuple[Family, ...] = ("logistic", "linear", "poisson", "gamma")


def some(family: Family, n: int = 400, k: int = 3) -> glm.Rows:
    rng = np.random.default_rng(7)
    labels = {
        "logistic": rng.integers(0, 2, n),
        "linear": rng.normal(size=n),
        "poisson": rng.poisson(2, n),
        "gamma": rng.gamma(2, 3, n),
    }[family]
    return glm.rows(
        rng.normal(size=(n, k)).astype(np.float32),
        labels,
        family=family,
        sample_weight=rng.uniform(0, 2, n),
        offset=rng.normal(size=n) / 4,
    )


def at(data: glm.Rows, family: Family, point: np.ndarray) -> glm.Sums:
    k = data.features.shape[1]
    return glm.sums(
        data, data.weight, family=family, centre=np.full(k, 0.5), inverse=np.full(k, 2.0), point=point, largest=2.0**80
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_and_curvature_are_derivatives(family: Family) -> None:
    data, point = some(family), np.array([0.3, -0.2, 0.1, 0.4])
    here, h = at(data, family, point), 1e-5
    moves = h * np.eye(4)
    up, down = ([at(data, family, point + sign * m) for m in moves] for sign in (1, -1))
    slopes = [(u.loss - d.loss) / (2 * h) for u, d in zip(up, down, strict=True)]
    bends = [(u.gradient - d.gradient) / (2 * h) for u, d in zip(up, down, strict=True)]
    assert np.allclose(here.gradient, slopes, rtol=1e-6, atol=1e-6)
    assert np.allclose(here.curvature, bends, rtol=1e-6, atol=1e-6)
    again = glm.unpack(here.pack(), 4)
    assert len(here.pack()) == glm.packed_size(4) == 18
    assert np.array_equal(again.curvature, here.curvature)
    assert np.array_equal(again.gradient, here.gradient)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_add_up(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    data, point = some(family), np.array([0.3, -0.2, 0.1])
    whole = at(data, family, point).pack()
    spread = glm.spread(data, data.weight, np.arange(3.0))
    assert len(list(data.blocks())) == 1
    monkeypatch.setattr(glm, "_BLOCK", 1)
    assert len(list(data.blocks())) == 2
    assert np.allclose(at(data, family, point).pack(), whole, rtol=1e-12)
    assert np.allclose(glm.spread(data, data.weight, np.arange(3.0)), spread, rtol=1e-12)
    wanted = data.weight @ (np.asarray(data.features, dtype=float) - np.arange(3.0)) ** 2
    assert np.allclose(spread, wanted, rtol=1e-12)


def test_too_far_is_infinite_and_says_nothing_else() -> None:
    data = some("poisson")
    far = at(data, "poisson", np.array([1e4, 0, 0, 0]))
    assert math.isinf(far.loss)
    assert not far.gradient.any()
    assert not far.curvature.any()
    assert math.isfinite(at(some("logistic"), "logistic", np.array([1e200, 0, 0, 0])).wrong)


def test_rows_of_weight_0_are_not_counted() -> None:
    x = np.array([[0, 1], [1, 1], [2, 0], [3, 5]])
    data = glm.rows(x, [0, 1, 1, 0], family="logistic", sample_weight=[1, 0, 2, 0.5])
    assert glm.counts(data).tolist() == [3, 1, 1.5, 2, 2, 2, 3, 2]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_are_not_held_twice(dtype: type) -> None:
    features, labels = np.ones((100_000, 20), dtype=dtype), np.ones(100_000)
    tracemalloc.start()
    data = glm.rows(features, labels, family="poisson")
    glm.counts(data)
    glm.spread(data, None, np.ones(20))
    glm.sums(data, None, family="poisson", centre=K20, inverse=K20, point=np.zeros(21), largest=2.0**80)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000 * 8 * 2 + 10 * 8 * glm._BLOCK  # labels, weights; some blocks


def test_a_step_solves_the_system() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 4)) * [1, 1e6, 1e-6, 3]
    curvature, gradient, point = x.T @ x, rng.normal(size=4), rng.normal(size=4)
    penalty = np.array([1.0, 2.0, 0.0, 3.0])
    found = glm.step(gradient, curvature, penalty, point)
    wanted = np.linalg.solve(curvature + np.diag(penalty), -(gradient + penalty * point))
    assert np.allclose(found.direction, wanted, rtol=1e-9)
    assert found.rank == 4
    assert math.isclose(found.decrement, -wanted @ (gradient + penalty * point), rel_tol=1e-9)


@pytest.mark.parametrize("strength", [1e-20, 1e-9, 1.0])
def test_collinear_columns_are_decided_by_the_penalty_however_weak(strength: float) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 2))
    x = np.column_stack([x, x[:, 0] + x[:, 1]])  # the shortest way to say a·x0 + b·x1 takes from all three
    gradient = -x.T @ (x[:, 0] * 3)
    found = glm.step(gradient, x.T @ x, np.full(3, strength), np.zeros(3))
    basis = np.linalg.svd(x)[2]
    assert abs(basis[2] @ found.direction) < 1e-8  # nothing along what the rows do not tell
    assert np.allclose(x @ found.direction, 3 * x[:, 0], atol=0.2 * strength + 1e-9)
    assert found.rank == 2
    bare = glm.step(gradient, x.T @ x, np.zeros(3), np.zeros(3))
    assert np.allclose(x @ bare.direction, 3 * x[:, 0])


@pytest.mark.parametrize(
    ("family", "features", "labels", "more", "text"),
    [
        ("logistic", np.ones(3), np.ones(3), {}, "an \\(n, k\\) array of numbers"),
        ("logistic", [["a"]], [1], {}, "an \\(n, k\\) array of numbers"),
        ("logistic", np.ones((0, 2)), [], {}, "no rows"),
        ("logistic", np.ones((2, 0)), [0, 1], {}, "no columns"),
        ("logistic", np.ones((2, 1)), [0, 1, 1], {}, "2 numbers, one a row"),
        ("logistic", np.ones((2, 1)), [0, 2], {}, "neither 0 nor 1"),
        ("logistic", np.ones((2, 1)), [-1, 1], {}, "neither 0 nor 1"),
        ("linear", np.ones((2, 1)), [0, math.nan], {}, "Labels: number 1 is missing"),
        ("linear", [[1.0], [math.nan]], [0, 1], {}, "Row 1, column 0 is missing"),
        ("linear", [[1.0], [math.inf]], [0, 1], {}, "Row 1, column 0 is missing"),
        ("linear", [[1, 1e-13], [2, 0.0]], [0, 1], {}, "Column 1 has no number above 2\\^-40"),
        ("gamma", np.ones((2, 1)), [1e-20, 1e-13], {}, "no number above 2\\^-40"),
        ("poisson", np.ones((2, 1)), [0, -1], {}, "negative: Poisson"),
        ("gamma", np.ones((2, 1)), [0, 1], {}, "not above 0: gamma"),
        ("linear", np.ones((2, 1)), [0, 1], {"sample_weight": [1, -1]}, "sample weight is negative"),
        ("linear", np.ones((2, 1)), [0, 1], {"offset": [1]}, "Offsets are 2 numbers"),
    ],
)
def test_rows_that_are_refused(family: Family, features: object, labels: object, more: dict, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        glm.rows(features, labels, family=family, **more)
