"""Division, roots, exponentials, logarithms and the logistic function: the errors that they state, over their domains.

On the ideal engine, which rounds down, up or at random: the worst that an engine may do. On the other engines they are
tried in test_arithmetic_engines.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols import arithmetic
from protocols.arithmetic import functions
from protocols.arithmetic.ideal import Rounding
from protocols.arithmetic.shared import Shared
from tests.reference import sigmoid_fit

Real = NDArray[np.float64]
N = 20_000
FRACTIONS = [12, 17, 18, 24]
ROUNDINGS: list[Rounding] = ["down", "up", "random"]

every_rounding = pytest.mark.parametrize("rounding", ROUNDINGS)
every_fraction = pytest.mark.parametrize("fraction", FRACTIONS)


def spread(low: float, high: float, fraction: int, *also: float, signed: bool = False) -> Real:
    """Numbers of all sizes from 2^low to 2^high, the ends too, on the grid of so many fractional bits."""
    rng = np.random.default_rng(fraction)
    x = np.exp2(np.concatenate([np.linspace(low, high, N // 2), rng.uniform(low, high, N // 2), [low, high]]))
    if signed:
        x *= rng.choice([-1, 1], len(x))
    return on_grid(np.concatenate([x, also]), fraction)


def on_grid(x: Real, fraction: int) -> Real:
    return np.asarray(np.rint(x * 2.0**fraction) * 2.0**-fraction)


def applied(function: Callable[..., Shared], *values: Real, fraction: int, rounding: Rounding) -> Real:
    mpc = arithmetic.alone(rounding=rounding, fraction=fraction)
    result = function(*(mpc.share(v, owner="alone") for v in values))
    assert result.fraction == fraction
    opened = mpc.reveal(result)
    assert opened is not None
    return opened


@every_rounding
@every_fraction
def test_divide(fraction: int, rounding: Rounding) -> None:
    step = 2.0**-fraction
    b = spread(1 - fraction, 27.99, fraction, 2 * step, 1, 2, 3, signed=True)
    quotient = np.random.default_rng(1).permutation(spread(-20, 33.99 - fraction, 50, 0.0, 1, -1, 0.5, signed=True))
    quotient = quotient[: len(b)]
    a = on_grid(quotient * b, fraction)
    exact = a / b
    inside = np.abs(exact) < 2.0 ** (34 - fraction)
    got = applied(arithmetic.divide, a, b, fraction=fraction, rounding=rounding)
    assert np.all((np.abs(got - exact) <= 1.5 * step + np.abs(exact) * 2.0**-20)[inside])
    assert inside.mean() > 0.9


@every_rounding
def test_reciprocal_and_shapes(rounding: Rounding) -> None:
    b = spread(-15, 20, 18)
    got = applied(arithmetic.reciprocal, b, fraction=18, rounding=rounding)
    assert np.all(np.abs(got - 1 / b) <= 1.5 * 2.0**-18 + 2.0**-20 / b)
    rows, columns = np.arange(1, 4)[:, None] * 1.5, np.array([2.0, -4.0, 5.0])
    got = applied(arithmetic.divide, rows, columns, fraction=18, rounding=rounding)
    np.testing.assert_allclose(got, rows / columns, atol=1.5 * 2.0**-18 + 3 * 2.0**-20)
    none = applied(arithmetic.divide, rows[:0], columns, fraction=18, rounding=rounding)
    assert none.shape == (0, 3)


@every_rounding
@every_fraction
def test_sqrt(fraction: int, rounding: Rounding) -> None:
    step = 2.0**-fraction
    x = spread(-fraction, 60.999 - fraction, fraction, 0, step, 2 * step, 3 * step, 1, 4)
    got = applied(arithmetic.sqrt, x, fraction=fraction, rounding=rounding)
    assert np.all(np.abs(got - np.sqrt(x)) <= 1.5 * step + np.sqrt(x) * 2.0**-21)
    assert got[len(x) - 6] == 0


@every_rounding
@every_fraction
def test_exp(fraction: int, rounding: Rounding) -> None:
    step = 2.0**-fraction
    top = (36 - fraction) * np.log(2) - step
    low = -(2.0 ** min(35 - fraction, 43)) + step
    x = on_grid(np.concatenate([np.linspace(-20, top, N), [0, 1, -1, low, low / 2, -1000]]), fraction)
    x = np.minimum(x, np.floor(top / step) * step)
    got = applied(arithmetic.exp, x, fraction=fraction, rounding=rounding)
    assert np.all(np.abs(got - np.exp(x)) <= 1.5 * step + np.exp(x) * 2.0**-20)
    assert got[-1] == 0


@every_rounding
@every_fraction
def test_log(fraction: int, rounding: Rounding) -> None:
    step = 2.0**-fraction
    x = spread(-fraction, 61.999 - fraction, fraction, step, 2 * step, 3 * step, 1, np.e)
    got = applied(arithmetic.log, x, fraction=fraction, rounding=rounding)
    assert np.all(np.abs(got - np.log(x)) <= 1.5 * step + 2.0**-20)


@every_rounding
@pytest.mark.parametrize("fraction", [18, 24])
@pytest.mark.parametrize("error", [1e-3, 1e-4])
def test_sigmoid(error: float, fraction: int, rounding: Rounding) -> None:
    x = on_grid(
        np.concatenate([np.linspace(-16, 16, N), spread(-10, 19.9, fraction, signed=True), [-1e6, 1e6]]), fraction
    )
    exact = 1 / (1 + np.exp(-np.clip(x, -700, 700)))
    got = applied(lambda s: arithmetic.sigmoid(s, error=error), x, fraction=fraction, rounding=rounding)
    assert np.abs(got - exact).max() <= error
    assert got.min() >= -error
    assert got.max() <= 1 + error


@every_rounding
def test_sigmoid_three_segments(rounding: Rounding) -> None:
    x = on_grid(np.concatenate([np.linspace(-16, 16, N), [-1e6, 1e6]]), 18)
    exact = 1 / (1 + np.exp(-np.clip(x, -700, 700)))
    got = applied(arithmetic.sigmoid_three_segments, x, fraction=18, rounding=rounding)
    assert np.abs(got - exact).max() <= 0.06
    assert got[-2:].tolist() == [0, 1]


def test_the_constants_of_sigmoid_are_those_of_the_fit() -> None:
    for error, (limit, factor, bits, slope, coefficients) in functions._SIGMOID.items():
        fitted = sigmoid_fit.fit(limit + 1 / 16, 2**bits / factor, len(coefficients))
        assert fitted[0] == slope / 2**functions._SLOPE
        np.testing.assert_allclose(fitted[1:], coefficients, atol=error * 1e-2)


@every_rounding
def test_division_by_public_numbers(rounding: Rounding) -> None:
    """Two steps, and 2^-30 of the quotient; of an array of divisors, of the quotient by the smallest."""
    x = spread(-18, 43.9, 18, 0, signed=True)
    for divisor in (3, 7.0, -0.3, 1e-4, 12345, 1024, -0.125, 1e9):
        got = applied(lambda s, d=divisor: s / d, x, fraction=18, rounding=rounding)  # type: ignore[misc]
        inside = np.abs(x / divisor) < 2.0**43
        assert np.all((np.abs(got - x / divisor) <= 2 * 2.0**-18 + np.abs(x / divisor) * 2.0**-30)[inside])
    divisors = np.array([2.0, 3.0, -500.0])
    x = x[:, None]
    got = applied(lambda s: s / divisors, x, fraction=18, rounding=rounding)
    assert np.all(np.abs(got - x / divisors) <= 2 * 2.0**-18 + np.abs(x / 2) * 2.0**-30)


@every_rounding
@pytest.mark.parametrize("count", [1, 3, 1000, 1024])
def test_mean(count: int, rounding: Rounding) -> None:
    x = on_grid(np.random.default_rng(count).uniform(-1e6, 1e10, (count, 20)), 18)
    got = applied(lambda s: s.mean(axis=0), x, fraction=18, rounding=rounding)
    assert np.all(np.abs(got - x.mean(axis=0)) <= 2 * 2.0**-18 + np.abs(x.mean(axis=0)) * 2.0**-30)


@every_rounding
def test_products_are_off_by_a_step(rounding: Rounding) -> None:
    rng = np.random.default_rng(3)
    a = on_grid(rng.uniform(-8000, 8000, N), 18)
    b = on_grid(rng.uniform(-8000, 8000, N), 18)
    error = applied(lambda s, t: s * t, a, b, fraction=18, rounding=rounding) - a * b
    assert np.abs(error).max() <= 2.0**-18
    if rounding == "random":  # and by nothing on average: rounding up is as likely as it should be
        assert abs(error.mean()) < 6 * 2.0**-18 / np.sqrt(12 * N) * 2


def test_large_arrays_go_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    x = on_grid(np.random.default_rng(5).uniform(0.1, 9, (7, 30)), 18)
    for function in (arithmetic.sqrt, arithmetic.sigmoid, lambda s: s / s[::-1], lambda s: 1 / s[:, :1] + s):
        whole = applied(function, x, fraction=18, rounding="up")
        monkeypatch.setattr(functions, "AT_A_TIME", 64)
        np.testing.assert_array_equal(applied(function, x, fraction=18, rounding="up"), whole)
        monkeypatch.undo()


@pytest.mark.parametrize("function", [arithmetic.sqrt, arithmetic.exp, arithmetic.log, arithmetic.sigmoid])
def test_whole_numbers_become_real_ones(function: Callable[[Any], Shared]) -> None:
    mpc = arithmetic.alone()
    whole = mpc.share([1, 4, 9], owner="alone")
    got = mpc.reveal(function(whole))
    plain = {arithmetic.sqrt: np.sqrt, arithmetic.exp: np.exp, arithmetic.log: np.log}
    exact = plain.get(function, lambda x: 1 / (1 + np.exp(-x)))(np.array([1.0, 4.0, 9.0]))
    np.testing.assert_allclose(got, exact, rtol=1e-3, atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [1, 2])
def test_scale(step: int) -> None:
    mpc = arithmetic.alone()
    top = 58 if step == 2 else 40
    x = np.concatenate([np.arange(1, 300), 1 << np.arange(top), (1 << np.arange(1, top)) - 1])
    got = mpc.reveal(functions.scale(mpc.constant(x), top, step=step))
    exponents = np.array([(int(value).bit_length() - 1) // step * step for value in x])
    np.testing.assert_array_equal(got, 1 << (top - exponents))
    assert mpc.reveal(functions.scale(mpc.constant([[0]]), top, step=step)) == 1 << top
    for wrong in (mpc.constant([1.5]), mpc.constant([True])):
        with pytest.raises(UsageError, match="whole numbers"):
            functions.scale(wrong, top)


@every_rounding
def test_inverse(rounding: Rounding) -> None:
    mpc = arithmetic.alone(rounding=rounding)
    x = np.concatenate([np.arange(1, 300), 1 << np.arange(31), (1 << np.arange(1, 32)) - 1])
    got = mpc.reveal(functions.inverse(mpc.constant(x)))
    assert got is not None
    assert np.abs(got * (x / 2.0**60) - 1).max() <= 2.0**-24


def test_sigmoid_of_a_known_size() -> None:
    x = np.concatenate([np.linspace(-1900, 1900, 3001), np.linspace(-12, 12, 3001)])
    got = applied(lambda v: functions.sigmoid(v, error=1e-4, size=11), x, fraction=20, rounding="random")
    assert np.abs(got - 1 / (1 + np.exp(-x.clip(-50, 50)))).max() <= 1e-4
    with pytest.raises(UsageError, match="size is 5 to 20"):
        applied(lambda v: functions.sigmoid(v, size=4), x, fraction=20, rounding="random")
