"""Shared against numpy: each operator does what numpy does, for shared values beside shared and beside public ones."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike

from mpc.errors import UsageError
from protocols import arithmetic
from protocols.arithmetic import ideal
from protocols.arithmetic.engine import Words
from protocols.arithmetic.shared import Context, Shared

STEP = 2.0**-18
WHOLE = np.arange(-6, 6).reshape(3, 4)
REAL = np.array([-2.0, -0.75, 0.5, 3.25])
BITS = WHOLE % 3 == 0

Operation = Callable[..., Any]


def share(values: ArrayLike, mpc: arithmetic.Computation) -> Shared:
    return mpc.share(values, owner="alone")


def agrees(operation: Operation, *values: ArrayLike, error: float = 0.0) -> None:
    """The operation gives what numpy gives, whichever of its operands are shared."""
    want = np.asarray(operation(*values))
    for rounding in ("down", "up", "random"):
        mpc = arithmetic.alone(rounding=rounding)
        for chosen in range(1, 1 << len(values)):
            mixed = [share(v, mpc) if chosen >> i & 1 else v for i, v in enumerate(values)]
            result = operation(*mixed)
            assert isinstance(result, Shared)
            got = mpc.reveal(result)
            assert got is not None
            assert got.shape == want.shape == result.shape
            assert got.dtype == result.dtype
            assert (got.dtype.kind == "b") == (want.dtype.kind == "b")
            assert (got.dtype.kind == "f") or (want.dtype.kind != "f")
            np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=0, atol=error)


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: 3 * a - b,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a == b,
        lambda a, b: a != b,
        lambda a, b: np.where(a > b, a, b),
        lambda a, b: np.minimum(a, b),
        lambda a, b: np.maximum(a, b),
        lambda a, b: (a > 0) & (b < 1) | (a == -3) ^ (b >= a),
        lambda a, b: a * (b > 0),
        lambda a, b: np.stack([a + b, b - a], axis=1),
        lambda a, b: np.concatenate([a + b, a - b], axis=1),
    ],
)
@pytest.mark.parametrize(
    ("a", "b"), [(WHOLE, WHOLE[1]), (WHOLE, REAL), (REAL, WHOLE), (REAL[:, None], REAL), (WHOLE, 2)]
)
def test_exact_operators(operation: Operation, a: ArrayLike, b: ArrayLike) -> None:
    agrees(operation, a, b)


@pytest.mark.parametrize(
    ("operation", "values", "error"),
    [
        (lambda a, b: a * b, (WHOLE, WHOLE[0]), 0),
        (lambda a, b: a * b, (WHOLE, REAL), 0),
        (lambda a, b: a * b, (REAL[:, None], REAL + 0.1), 12 * STEP),
        (lambda a, b: a @ b, (WHOLE, WHOLE.T), 0),
        (lambda a, b: a @ b, (WHOLE, WHOLE[1]), 0),
        (lambda a, b: a @ b, (WHOLE[1], WHOLE[2]), 0),
        (lambda a, b: a @ b, (REAL, WHOLE.T), 0),
        (lambda a, b: a @ b, (REAL + 0.1, np.outer(REAL, REAL)), 80 * STEP),
        (lambda a, b: np.dot(a, b), (REAL, REAL), STEP),
        (lambda a: a**3, (WHOLE,), 0),
        (lambda a: a**2, (REAL,), STEP),
        (lambda a: np.square(a), (REAL,), STEP),
        (lambda a: a.mean(axis=1), (WHOLE,), 3 * STEP),
        (lambda a: a.mean(), (REAL,), STEP),
        (lambda a: np.mean(a, axis=0), (WHOLE,), 3 * STEP),
        (lambda a: a / 4, (WHOLE,), STEP),
        (lambda a: a / -0.25, (REAL,), 0),
        (lambda a: a / np.array([3.0, -0.1, 1e3, 7.0]), (REAL,), 8 * STEP),
        (lambda a: 10 / a, (REAL,), 24 * STEP),
        (lambda a, b: a / b, (WHOLE, REAL), 16 * STEP),
    ],
)
def test_products(operation: Operation, values: tuple[ArrayLike, ...], error: float) -> None:
    agrees(operation, *values, error=error)


@pytest.mark.parametrize(
    "operation",
    [
        lambda a: -a,
        lambda a: +a,
        lambda a: abs(a),
        lambda a: np.abs(a),
        lambda a: a.sum(),
        lambda a: a.sum(axis=0),
        lambda a: a.sum(axis=(0, 1), keepdims=True),
        lambda a: np.sum(a, axis=-1),
        lambda a: np.add.reduce(a),
        lambda a: a.cumsum(axis=1),
        lambda a: a.max(),
        lambda a: a.max(axis=1),
        lambda a: np.min(a, axis=0),
        lambda a: a.argmax(axis=1),
        lambda a: a.argmin(),
        lambda a: np.argmax(a[:, ::-1], axis=0),
        lambda a: a.clip(-2, 3),
        lambda a: a.T,
        lambda a: a.reshape(2, -1),
        lambda a: a.reshape((4, 3)),
        lambda a: np.reshape(a, (6, 2)),
        lambda a: a.ravel(),
        lambda a: a[None, ..., 1],
        lambda a: a[1:, ::2],
        lambda a: a[-1, -1],
        lambda a: a[[2, 0]],
        lambda a: a[:, [1, 1]],
        lambda a: a[[0, 2], :][:, None].transpose(1, 2, 0),
        lambda a: a[np.array([True, False, True])],
        lambda a: a[:, None, :, None].squeeze(),
        lambda a: np.broadcast_to(a[0], (5, 4)),
        lambda a: np.transpose(a),
    ],
)
@pytest.mark.parametrize("values", [WHOLE, WHOLE * 0.5, WHOLE % 3])
def test_of_one_array(operation: Operation, values: ArrayLike) -> None:
    agrees(operation, values)


def test_index_arrays_apart() -> None:
    cube = np.arange(24).reshape(2, 3, 4)
    agrees(lambda a: a[[0, 1], :, [1, 2]], cube)
    agrees(lambda a: a[:, [0, 1], [1, 2]], cube)
    agrees(lambda a: a[cube % 5 == 0], cube)


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a & b,
        lambda a, b: a | b,
        lambda a, b: a ^ b,
        lambda a, b: a == b,
        lambda a, b: a != b,
        lambda a, b: a * b,
        lambda a, b: np.where(a, b, ~b),
        lambda a, b: np.logical_or(a, b),
        lambda a, b: np.logical_and(a, ~b),
        lambda a, b: (a ^ b).any(axis=0),
        lambda a, b: (a | b).all(axis=1),
        lambda a, b: (a ^ b).sum(axis=1),
        lambda a, b: np.concatenate([a, b]),
        lambda a, b: (a ^ b).max(axis=1),
        lambda a, b: 1 * (a ^ b),
    ],
)
def test_conditions(operation: Operation) -> None:
    agrees(operation, BITS, WHOLE > 1)


def test_conditions_count_in_sums() -> None:
    mpc = arithmetic.alone()
    both = share(BITS, mpc) + share(WHOLE > 1, mpc)  # where numpy says "or"
    np.testing.assert_array_equal(mpc.reveal(both), BITS.astype(int) + (WHOLE > 1))


@settings(max_examples=50)
@given(data=st.data())
def test_broadcasting_is_numpys(data: st.DataObject) -> None:
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=0))
    a, b = (np.arange(int(np.prod(s))).reshape(s) - 2 for s in shapes.input_shapes)
    mpc = arithmetic.alone()
    x, y = share(a, mpc), share(b, mpc)
    for operation in (lambda u, v: u + v, lambda u, v: u * v, lambda u, v: u < v, lambda u, v: u * (v > 0)):
        for left, right in ((x, y), (x, b), (a, y)):
            np.testing.assert_array_equal(mpc.reveal(operation(left, right)), operation(a, b), strict=True)


@settings(max_examples=50)
@given(data=st.data())
def test_indices_are_numpys(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    a = np.arange(int(np.prod(shape))).reshape(shape)
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True) | hnp.integer_array_indices(shape))
    mpc = arithmetic.alone()
    np.testing.assert_array_equal(mpc.reveal(share(a, mpc)[key]), a[key])


def test_empty_arrays() -> None:
    none = np.zeros((0, 3))
    agrees(lambda a, b: a @ b, none, np.ones((3, 2)))
    agrees(lambda a, b: (a < b) | (a * b > 1), none, none)
    agrees(lambda a: np.where(a > 0, a, 0.5).sum(axis=0), none)
    for function in (arithmetic.sqrt, arithmetic.exp, arithmetic.log, arithmetic.sigmoid, np.reciprocal):
        mpc = arithmetic.alone()
        assert function(share(none, mpc)).shape == (0, 3)


def test_bounds_of_whole_numbers_stay_exact() -> None:
    """A real bound does not shift whole numbers, which may then be as large as they like."""
    large = np.array([2**61 - 1, -(2**61) + 1, 2, 3, -2])
    agrees(lambda a: a < 2.5, large)
    agrees(lambda a: a >= -1.5, large)
    agrees(lambda a: a > 2.5, large)
    agrees(lambda a: np.greater_equal(2.5, a), large)


def test_looks_like_an_array_and_shows_nothing() -> None:
    mpc = arithmetic.alone()
    a = share([[11.25, 77.5]], mpc)
    assert (a.shape, a.ndim, a.size, len(a), a.dtype) == ((1, 2), 2, 2, 1, np.float64)
    assert (np.shape(a), np.ndim(a), np.size(a)) == ((1, 2), 2, 2)
    assert repr(a) == "Shared(shape=(1, 2), kind=fixed, fraction=18)"
    assert repr(a > 12) == "Shared(shape=(1, 2), kind=bool)"
    assert [mpc.reveal(row).tolist() for row in a] == [[11.25, 77.5]]  # type: ignore[union-attr]
    assert mpc.reveal(share(3, mpc)) == 3


def test_kinds() -> None:
    mpc = arithmetic.alone(rounding="down")
    real = share([2.75, -2.75, 3.0], mpc)
    assert mpc.reveal(real.as_int()).tolist() == [2, -3, 3]  # type: ignore[union-attr]
    assert mpc.reveal(np.floor(real)).tolist() == [2, -3, 3]
    assert mpc.reveal((real > 0).as_int()).tolist() == [1, 0, 1]  # type: ignore[union-attr]
    fine = mpc.share([0.1], owner="alone", fraction=30)
    assert fine.fraction == 30
    assert (fine + real[:1]).fraction == 30
    assert (fine * real[:1]).fraction == 30
    assert abs(mpc.reveal(fine.as_fixed(10))[0] - 0.1) <= 2.0**-10  # type: ignore[index]
    assert mpc.reveal(real[:1].as_fixed(30)).tolist() == [2.75]  # type: ignore[union-attr]


def test_local_truncation_is_asked_for_by_name() -> None:
    class Counting(ideal.Ideal):
        called: list[str] = []  # noqa: RUF012 - of this test

        def truncate(self, a: Words, bits: int) -> Words:
            self.called.append("faithful")
            return super().truncate(a, bits)

        def truncate_local(self, a: Words, bits: int) -> Words:
            self.called.append("local")
            return np.asarray(a >> np.uint64(bits))

    mpc = arithmetic.alone()
    engine = Counting(mpc.session, ("alone",))
    for truncation, called in (("faithful", ["faithful"]), ("local", ["local"])):
        Counting.called.clear()
        a = Context(engine, truncation).constant([1.5])  # type: ignore[arg-type]
        assert engine.open((a * a).components).tolist() == [9 << 16]  # type: ignore[union-attr]
        assert Counting.called == called
    with pytest.raises(UsageError, match="'faithful' or 'local', not 'fast'"):
        Context(engine, "fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("misuse", "says"),
    [
        (lambda a: bool(a > 0), r"no truth value .* use where\(condition, a, b\)"),
        (lambda a: 0 < a < 2, "no truth value"),
        (lambda a: float(a[0]), "reveal it first"),
        (lambda a: int(a[0]), "reveal it first"),
        (lambda a: [1, 2][a[0]], "reveal it first"),
        (lambda a: np.asarray(a), "no numpy array: reveal it first"),
        (lambda a: 1 in a, "use .array == number"),
        (lambda a: a.__setitem__(0, 1), "do not change"),
        (lambda a: a[a > 0], "An index is public"),
        (lambda a: np.sin(a), "numpy.sin does not work on shares"),
        (lambda a: np.add(a, 1, out=np.zeros(4)), "numpy.add with out"),
        (lambda a: np.multiply.reduce(a), "numpy.multiply.reduce does not"),
        (lambda a: np.linalg.norm(a), "numpy.norm does not"),
        (lambda a: a & a, "& takes conditions"),
        (lambda a: ~a, "~ takes conditions"),
        (lambda a: a | True, r"\| takes conditions"),
        (lambda a: arithmetic.where(a, 1, 2), "where takes conditions"),
        (lambda a: a + "x", "not <U1"),
        (lambda a: a + np.ones(3), r"\(4,\) and \(3,\) do not go together"),
        (lambda a: a @ np.ones((3, 2)), r"inner lengths agree, not \(4,\) and \(3, 2\)"),
        (lambda a: a @ a.reshape(2, 2, 1), "inner lengths agree"),
        (lambda a: a / 0, "public divisor is zero"),
        (lambda a: a / np.array([1, np.nan, 1, 1]), "public divisor is zero, infinite or not a number"),
        (lambda a: a**0.5, "from 1 to 64"),
        (lambda a: a**-1, "from 1 to 64"),
        (lambda a: a.sum(axis=1), "no axis 1"),
        (lambda a: a.sum(axis=(0, 0)), "no axis"),
        (lambda a: a[:0].max(), "no largest"),
        (lambda a: a[:0].mean(), "no mean"),
        (lambda a: a.as_fixed(30) * a.as_fixed(31), "30 and 31 fractional bits overflow: call as_fixed"),
        (lambda a: a + np.nan, "index|number"),
        (lambda a: a < 1e300, "infinite, or not below"),
        (lambda _: arithmetic.where(True, 1, 2), "None of these is a Shared"),
        (lambda a: a + share([1, 2, 3, 4], arithmetic.alone()), "of different runs"),
        (lambda a: arithmetic.alone().reveal(a), "of another run"),
        (lambda a: pickle.dumps(a), "not copied or stored"),
        (lambda a: copy.copy(a), "not copied or stored"),
        (lambda a: arithmetic.sigmoid(a, error=1e-9), "one of 0.001, 0.0001"),
        (lambda a: arithmetic.sigmoid(a.as_fixed(10)), "at least 18 fractional bits, not 10"),
        (lambda a: np.exp(a.as_fixed(30)), "up to 24 fractional bits, not 30"),
    ],
)
def test_misuse(misuse: Callable[[Shared], object], says: str) -> None:
    mpc = arithmetic.alone()
    with pytest.raises(UsageError, match=says):
        misuse(share([1.0, 2.0, 3.0, -4.0], mpc))
    with pytest.raises(TypeError, match="len"):
        len(share(1, mpc))
    with pytest.raises(TypeError, match="unhashable"):
        hash(share(1, mpc))
