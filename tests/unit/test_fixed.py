"""Numbers as words: what fits comes back, what does not is an error that names its place and not the number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import fixed
from mpc.errors import UsageError


@settings(max_examples=50)
@given(st.lists(st.floats(-(2.0**20), 2.0**20), max_size=20), st.integers(0, fixed.MAX_FRACTION))
def test_rounds_to_the_nearest_step(numbers: list[float], fraction: int) -> None:
    words = fixed.encode(numbers, fraction)
    assert words.dtype == np.uint64
    assert np.all(np.abs(fixed.decode(words, fraction) - numbers) <= 2.0 ** -(fraction + 1))


@settings(max_examples=50)
@given(st.lists(st.integers(-(2**62) + 1, 2**62 - 1), max_size=20))
def test_whole_numbers_are_exact(numbers: list[int]) -> None:
    assert fixed.signed(fixed.integers(np.array(numbers, dtype=np.int64))).tolist() == numbers


def test_ties_go_to_even_and_integers_are_exact() -> None:
    assert fixed.signed(fixed.encode([0.5, 1.5, -0.5, -2.5], 0)).tolist() == [0, 2, 0, -2]
    assert fixed.signed(fixed.encode(np.array([3, -(2**43)]), 18)).tolist() == [3 << 18, -(2**61)]
    assert fixed.integers([True, False]).tolist() == [1, 0]
    assert fixed.integers(np.array([2**62 - 1], dtype=np.uint64)).tolist() == [2**62 - 1]
    assert fixed.encode(1.25, 2).shape == ()
    assert fixed.encode(np.float32(1.25), 2) == 5
    assert fixed.decode(np.array([2**64 - 3], dtype=np.uint64), 1).tolist() == [-1.5]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([[1.0, 2.0], [float("nan"), 0.0]], r"index \(1, 0\) is not a number \(NaN\)"),
        ([0.0, float("inf"), -float("inf")], r"index 1 is infinite, or not below 2\^44 .*as 1 more are"),
        ([2.0**44], r"index 0 .*2\^44"),
        ([1, 2, -(2**44)], r"index 2 is beyond ±2\^44"),
        (float("nan"), r"^The number is not a number"),
    ],
)
def test_what_does_not_fit(values: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        fixed.encode(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [[2**62], [-(2**62)], [-(2**63)]])
def test_integers_out_of_range(values: list[int]) -> None:
    with pytest.raises(UsageError, match=r"index 0 is not below 2\^62"):
        fixed.integers(np.array(values))
    with pytest.raises(UsageError, match=r"index 0 is not below 2\^62"):
        fixed.integers(np.array([2**63], dtype=np.uint64))


def test_misuse() -> None:
    with pytest.raises(UsageError, match="Whole numbers were expected, not float64"):
        fixed.integers([1.5])
    with pytest.raises(UsageError, match="Whole numbers were expected, not object"):
        fixed.integers([2**70])
    with pytest.raises(UsageError, match="not of <U1"):
        fixed.encode(["1"])
    with pytest.raises(UsageError, match="from 0 to 40, not 41"):
        fixed.encode([1.0], 41)
    with pytest.raises(UsageError, match="uint64"):
        fixed.signed(np.zeros(2, dtype=np.int64))  # type: ignore[arg-type]
