"""Amounts from tables: exact, or an error with the row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.data.amounts import LIMIT, whole
from mpc.errors import UsageError


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (
            pa.array(["8450.50", "0", "-1.5", "+7.", "  3.1000 ", "000000000000000000012.3"]),
            [845050, 0, -150, 700, 310, 1230],
        ),
        (pa.array(["1.25", "1.25", "0"]).dictionary_encode(), [125, 125, 0]),
        (pa.array([1, 2, -3], pa.int32()), [100, 200, -300]),
        (pa.array([1.1, 2.29, -3, 84.5]), [110, 229, -300, 8450]),
        (pa.array([Decimal("1.23"), Decimal("4.50")]), [123, 450]),
        (pa.chunked_array([["1"], ["2"]]), [100, 200]),
        (pa.array([], pa.null()), []),
    ],
)
def test_amounts_of_every_kind(column: pa.Array, wanted: list[int]) -> None:
    found = whole(column, decimals=2, name="income")
    assert found.dtype == np.int64
    assert found.tolist() == wanted


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-LIMIT + 10**6, LIMIT - 10**6), max_size=8), st.integers(0, 6))
def test_what_is_written_is_read(amounts: list[int], decimals: int) -> None:
    texts = [f"{Decimal(amount).scaleb(-decimals):f}" for amount in amounts]
    assert whole(pa.array(texts, pa.string()), decimals=decimals, name="income").tolist() == amounts
    small = [amount for amount in amounts if abs(amount) < 1 << 48]
    floats = pa.array([float(Decimal(amount).scaleb(-decimals)) for amount in small], pa.float64())
    assert whole(floats, decimals=decimals, name="income").tolist() == small


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["1", "1.234"], "no number with at most 2 decimals"),
        (["1", "1e5"], "no number with"),
        (["1", "1,000"], "no number with"),
        (["1", ""], "no number with"),
        (["1", "٣"], "no number with"),
        (["1", "9" * 18], "or more"),
        (["1", None], "is missing: leave the row out"),
        ([1.0, 1.234], "more than 2 decimals"),
        ([1.0, float("nan")], "is not a number"),
        ([1.0, float("-inf")], "is not a number"),
        ([1, LIMIT], "or more"),
        ([1, -LIMIT], "or more"),
        ([1, (1 << 63) - 1], "or more"),
    ],
)
def test_what_is_no_amount_is_named_by_its_row(values: list[Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        whole(pa.array(values), decimals=2, name="income")
    assert str(caught.value).startswith("Row 2 of the column 'income' ")
    assert problem in str(caught.value)


def test_another_type_is_refused() -> None:
    with pytest.raises(UsageError, match="is bool, and amounts are numbers"):
        whole(pa.array([True]), decimals=2, name="income")
    with pytest.raises(UsageError, match="decimals is 0 to 9"):
        whole(pa.array([1]), decimals=10, name="income")
