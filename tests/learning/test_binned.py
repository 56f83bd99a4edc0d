"""Columns as codes: what falls where, what is left out, that later tables are coded as training's was, documents."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from protocols.learning.binned import Binned, Cuts

NAN, INF = math.nan, math.inf
TABLE = {
    "income": np.array([3.0, 1.0, NAN, 2.0, 9.0, 4.0, 1.0, 5.0]),
    "region": np.array(["n", "s", "n", "w", None, "s", "n", "n"], dtype=object),
    "sex": np.array([1, 2, 2, 1, 2, 1, 1, 2]),
}


def test_numbers_have_ordered_codes_and_categories_a_column_each() -> None:
    cuts = Cuts.fit(TABLE, categorical=["region", "sex"])
    binned = cuts.codes(TABLE)
    assert binned.names == (
        "income",
        "region=n",
        "region=s",
        "region=w",
        "region is missing",
        "sex=1",
    )
    assert cuts.sources == ("income", *["region"] * 4, "sex")
    assert cuts.sizes.tolist() == binned.sizes.tolist()
    assert cuts.missing.tolist() == binned.missing.tolist()
    assert binned.codes.dtype == np.uint8
    assert binned.codes.flags.c_contiguous
    assert binned.sizes.tolist() == [7, 2, 2, 2, 2, 2]
    assert binned.missing.tolist() == [True, False, False, False, False, False]
    assert binned.codes[:, 0].tolist() == [2, 0, 6, 1, 5, 3, 0, 4]
    assert binned.codes[:, 1:5].argmax(axis=1).tolist() == [0, 1, 0, 2, 3, 1, 0, 0]
    assert binned.codes[:, 5].tolist() == [1, 0, 0, 1, 0, 1, 1, 0]
    assert (binned.rows, binned.splits.tolist()) == (8, [6, 1, 1, 1, 1, 1])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-5, 5), st.integers(-3, 3).map(float), st.just(NAN)), min_size=2, max_size=60),
    st.integers(2, 9),
)
def test_a_code_up_to_c_is_a_value_up_to_edge_c(values: list[float], max_bins: int) -> None:
    v = np.array(values)
    there = v[~np.isnan(v)]
    cuts = Cuts.fit({"v": v}, max_bins=max_bins)
    if not len(there) or (len(set(there.tolist())) == 1 and len(there) == len(v)):
        assert not cuts.bins
        return
    binned = cuts.codes({"v": v})
    numbers = int(binned.sizes[0]) - bool(binned.missing[0])
    assert numbers == min(numbers, max_bins, len(set(there.tolist())))
    assert (binned.codes[np.isnan(v), 0] == binned.sizes[0] - 1).all()
    for c in range(numbers - 1):
        edge = cuts.edge(0, c)
        assert isinstance(edge, float)
        assert ((binned.codes[~np.isnan(v), 0] <= c) == (there <= edge)).all()


def test_few_different_values_have_a_bin_each_and_many_have_equal_bins() -> None:
    values = np.repeat([0.0, 1.0, 7.0, 8.0], [900, 50, 49, 1])
    assert Cuts.fit({"x": values}, max_bins=5).bins[0].edges == (0.0, 1.0, 7.0)
    even = np.random.default_rng(0).permutation(np.arange(1000.0))
    codes = Cuts.fit({"x": even}, max_bins=8).codes({"x": even}).codes
    assert np.bincount(codes[:, 0]).tolist() == [125] * 8


def test_a_value_of_many_rows_takes_one_bin() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([np.zeros(8000), np.full(500, 3.5), rng.permutation(np.linspace(1, 9, 1500))])
    codes = Cuts.fit({"x": values}, max_bins=10).codes({"x": values}).codes[:, 0]
    counts = np.bincount(codes)
    assert len(counts) == 10
    assert len(set(codes[values == 0])) == len(set(codes[values == 3.5])) == 1
    assert (codes == codes[0]).sum() == 8000
    assert counts[1:].max() < 800


def test_what_cannot_teach_is_left_out_with_a_note() -> None:
    table = {
        "one": [4.0] * 6,
        "gone": [None] * 6,
        "empty text": [""] * 6,
        "same": ["a"] * 6,
        "key": [f"{i}" * 300 for i in range(6)],
        "sometimes": [1.0, NAN, 1.0, NAN, 1.0, 1.0],
    }
    cuts = Cuts.fit(table, categorical=["empty text", "same", "key"])
    assert cuts.names == ("sometimes",)
    assert cuts.codes(table).codes[:, 0].tolist() == [0, 1, 0, 1, 0, 0]
    assert cuts.edge(0, 0) == INF
    assert cuts.notes == (
        "'one' has one value in all rows: left out.",
        "'gone' is missing in all rows: left out.",
        "'empty text' is missing in all rows: left out.",
        "'same' has one value in all rows: left out.",
        "'key' has no category that is frequent: left out.",
    )


def test_later_tables() -> None:
    cuts = Cuts.fit(TABLE, categorical=["region", "sex"])
    full = Cuts.fit({"age": [1, 2, 3, 4]})
    later = pa.table({"sex": [1, 3], "region": ["n", "elsewhere"], "x": [0, 0], "income": [-100.0, 100.0]})
    assert cuts.codes(later).codes.tolist() == [[0, 1, 0, 0, 0, 1], [5, 0, 0, 0, 1, 0]]
    found = full.codes({"age": [None, 4, 0]})
    assert found.codes[:, 0].tolist() == [4, 3, 0]  # behind every split: to the right
    assert (found.sizes.tolist(), found.missing.tolist()) == ([5], [True])
    with pytest.raises(UsageError, match="no column 'region'"):
        cuts.codes(later.drop_columns(["region"]))
    with pytest.raises(UsageError, match="'income' holds values of several kinds|'income' is no number"):
        cuts.codes({**TABLE, "income": ["much"] * 8})
    with pytest.raises(UsageError, match="one length; 'region' has 8"):
        cuts.codes({**TABLE, "income": [1.0]})


def test_a_party_without_columns() -> None:
    cuts = Cuts.fit({})
    assert cuts.codes({}, rows=5).codes.shape == (5, 0)
    assert cuts.codes({"y": [1, 0, 1]}).rows == 3
    with pytest.raises(UsageError, match="give rows="):
        cuts.codes({})


@pytest.mark.parametrize("value", [INF, -INF])
def test_infinities_are_refused_in_training_and_later(value: float) -> None:
    cuts = Cuts.fit({"x": [1.0, 2.0, 3.0]})
    for use in (lambda: Cuts.fit({"x": [1.0, value]}), lambda: cuts.codes({"x": [1.0, value]})):
        with pytest.raises(UsageError, match="Row 2 of the column 'x' is infinite: write nothing"):
            use()


def test_text_is_not_taken_as_categories_by_itself() -> None:
    with pytest.raises(UsageError, match="is no number.*categorical="):
        Cuts.fit({"x": ["a", "b"]})
    assert Cuts.fit({"x": ["1", "2.5", ""]}).bins[0].edges == (1.0,)
    with pytest.raises(UsageError, match="'y', which is no column"):
        Cuts.fit({"x": [1, 2]}, categorical=["y"])


@pytest.mark.parametrize("bad", [1, 1024, 2.5, True])
def test_numbers_of_bins(bad: int) -> None:
    with pytest.raises(UsageError, match="give 2 to 1023"):
        Cuts.fit({"x": [1, 2]}, max_bins=bad)


def test_many_bins_take_two_bytes() -> None:
    values = np.arange(2000.0)
    binned = Cuts.fit({"x": values}, max_bins=1000).codes({"x": values})
    assert binned.codes.dtype == np.uint16
    assert binned.sizes.tolist() == [1000]


def test_a_million_categories_are_counted_in_seconds_and_kept_as_few() -> None:
    names = np.array([f"id{i}" for i in range(1_000_000)], dtype=object)
    names[::4] = "often"
    start = time.thread_time()
    cuts = Cuts.fit({"id": names}, categorical=["id"])
    seconds = time.thread_time() - start
    assert cuts.names == ("id=often",)
    assert cuts.notes == ("'id' has a column for each of 1 categories; 750000 rows have others.",)
    assert len(json.dumps(cuts.to_json())) < 1000
    assert seconds < 15


def test_frames_and_arrow_tables_are_coded_alike() -> None:
    frame = pd.DataFrame({"a": [1, 2, None, 4], "b": pd.Categorical(["x", "y", "x", "z"])})
    one = Cuts.fit(frame, categorical=["b"])
    other = Cuts.fit(pa.Table.from_pandas(frame), categorical=["b"])
    assert one == other
    assert one.digest() == other.digest()
    np.testing.assert_array_equal(one.codes(frame).codes, other.codes(pa.Table.from_pandas(frame)).codes)
    assert one.digest() != Cuts.fit(frame, categorical=["b"], max_bins=2).digest()


def test_documents() -> None:
    cuts = Cuts.fit(TABLE, categorical=["region", "sex"])
    document = json.loads(json.dumps(cuts.to_json()))
    again = Cuts.from_json(document)
    assert again == cuts
    np.testing.assert_array_equal(again.codes(TABLE).codes, cuts.codes(TABLE).codes)
    bins = document["bins"]
    wrong: list[Mapping[str, object]] = [
        {**document, "version": 2},
        {**document, "more": 1},
        {**document, "bins": [*bins, bins[0]]},
        {**document, "bins": [1]},
        {**document, "bins": [{**bins[0], "edges": [1.0, 1.0]}]},
        {**document, "bins": [{**bins[0], "edges": [], "missing": False}]},
        {**document, "bins": [{**bins[0], "missing": False, "missing_in": 0}]},
    ]
    for bad in wrong:
        with pytest.raises(UsageError):
            Cuts.from_json(bad)


def test_splits_that_there_are_not() -> None:
    cuts = Cuts.fit(TABLE, categorical=["region", "sex"])
    assert [cuts.edge(0, 2), cuts.edge(2, 0), cuts.edge(4, 0), cuts.edge(5, 0)] == [3.0, "s", "missing", "1"]
    for column, last in ((0, 7), (0, -1), (1, 1), (6, 0), (-1, 0)):
        with pytest.raises(UsageError, match="no split"):
            cuts.edge(column, last)


def test_codes_have_to_fit_their_sizes() -> None:
    good = Cuts.fit(TABLE, categorical=["region", "sex"]).codes(TABLE)
    few = good.sizes.copy()
    few[0] = 6
    for codes, sizes, missing in (
        (good.codes, few, good.missing),
        (good.codes[:, :2], good.sizes, good.missing),
        (good.codes.astype(np.int64), good.sizes, good.missing),
        (good.codes, good.sizes[:2], good.missing),
        (good.codes, good.sizes * 0, good.missing),
    ):
        with pytest.raises(UsageError):
            Binned(codes, sizes, missing, good.names)  # type: ignore[arg-type]  # one of these is of another type
