"""Numbers in digits: their sums are those of the numbers, whatever their scale."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import UsageError
from protocols.aggregation import wide

NUMBERS = st.floats(-(2.0**95), 2.0**95, allow_nan=False, width=64)


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_sums_are_exact_but_for_one_rounding(numbers: list[float]) -> None:
    digits = wide.encode(numbers)
    assert digits.shape == (wide.DIGITS, len(numbers))
    assert (np.abs(digits) < 1 << wide.DIGIT_BITS).all()
    unit = Fraction(1, 1 << wide.POINT)
    cut = [math.trunc(Fraction(x) / unit) * unit for x in numbers]
    for x, exact in zip(wide.decode(digits).tolist(), cut, strict=True):
        assert abs(Fraction(x) - exact) <= abs(exact) * Fraction(1, 1 << 52)
    total = sum(cut)
    found = float(wide.decode(digits.sum(axis=1)))
    assert abs(Fraction(found) - total) <= abs(total) * Fraction(1, 1 << 51)


def test_digits_leave_room_for_a_thousand_parties() -> None:
    largest = math.nextafter(wide.LARGEST, 0)
    total = 1000 * wide.encode([largest, -largest])
    assert np.allclose(wide.decode(total), [1000 * largest, -1000 * largest], rtol=1e-15)
    tiny = wide.encode([[2.0**-96, 2.0**-97]])
    assert tiny.shape == (4, 1, 2)
    assert wide.decode(tiny).tolist() == [[2.0**-96, 0.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, wide.LARGEST])
def test_what_has_no_digits(bad: float) -> None:
    with pytest.raises(UsageError, match="use a larger unit"):
        wide.encode([1.0, bad])
