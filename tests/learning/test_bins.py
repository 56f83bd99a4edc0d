"""Bins of one feature: how they are made and merged, what falls where, WOE and IV against the formulas, JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from protocols.learning import bins as module
from protocols.learning.bins import (
    Bins,
    absorb,
    by_category,
    categories_of,
    chi_merge,
    equal_frequency,
    evidence,
    from_edges,
    merge,
    monotone,
    numbers_of,
    weigh,
)

NAN, INF = math.nan, math.inf


def test_a_value_on_an_edge_belongs_below_it_and_infinities_to_the_ends() -> None:
    bins = from_edges([1, 2], feature="x")
    assert bins.bin_of([0, 1, 1.5, 2, 2.1, INF, -INF, NAN]).tolist() == [0, 0, 1, 1, 2, 2, 0, 3]
    assert bins.labels == ("(-inf, 1]", "(1, 2]", "(2, inf)", "missing")


def test_equal_frequency_has_equal_bins_and_a_missing_one_where_needed() -> None:
    values = np.random.default_rng(1).permutation(np.arange(1000.0))
    bins = equal_frequency(values, 8, feature="x")
    assert bins.counts == (125,) * 8
    assert not bins.missing
    holed = values.copy()
    holed[:200] = NAN
    assert equal_frequency(holed, 8).counts == (100,) * 8 + (200,)


def test_equal_frequency_of_repeated_values_never_makes_an_empty_bin() -> None:
    values = np.repeat([0.0, 1.0, 7.0], [900, 50, 50])
    bins = equal_frequency(values, 20)
    assert bins.edges == (0.0, 1.0)
    assert bins.counts == (900, 50, 50)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([3.0] * 5, (5,)),
        ([NAN] * 4, (0, 4)),
        ([], (0,)),
        ([INF, INF, -INF], (3,)),
        ([1e300, -1e300, INF, NAN], (1, 1, 1, 1)),
    ],
)
def test_columns_with_nothing_to_split(values: list[float], counts: tuple[int, ...]) -> None:
    bins = equal_frequency(np.array(values), 4)
    assert bins.counts == counts
    assert all(math.isfinite(edge) for edge in bins.edges)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60), st.integers(1, 12))
@settings(max_examples=100)
def test_every_value_falls_into_one_bin(values: list[float], n: int) -> None:
    bins = equal_frequency(np.array(values), n)
    placed = bins.bin_of(np.array(values))
    assert bins.number <= n + bins.missing
    assert (placed >= 0).all()
    assert bins.counts == tuple(np.bincount(placed, minlength=bins.number).tolist())
    assert bins.missing == bool(np.isnan(values).any())


def test_rare_categories_are_other_and_so_are_those_never_seen() -> None:
    values = ["a"] * 50 + ["b"] * 30 + ["c"] + [None] * 5 + [""]
    bins = by_category(values, feature="job", rare=0.05)
    assert bins.categories == (("a",), ("b",))
    assert bins.other
    assert bins.missing
    assert bins.counts == (50, 30, 1, 6)
    assert bins.bin_of(["b", "new", None, NAN, ""]).tolist() == [1, 2, 3, 3, 3]


def test_without_other_what_was_never_seen_is_missing_or_has_no_bin() -> None:
    both = by_category(["a", "b", None], rare=0)
    assert not both.other
    assert both.bin_of(["z"]).tolist() == [2]
    bare = weigh(by_category(["a", "b"], rare=0), [1, 2], [4, 4])
    assert bare.bin_of(["z", "a"]).tolist() == [-1, 0]
    assert bare.woe_of(["z"]).tolist() == [0.0]


def test_very_many_categories_make_few_bins() -> None:
    values = [f"client {i}" for i in range(60_000)] + ["often"] * 40_000
    bins = by_category(values, most=5, rare=0)
    assert bins.categories[0] == ("often",)
    assert bins.number == 5
    assert bins.other
    assert len(by_category(values, rare=0.01).categories) == 1


def test_long_texts_are_never_named() -> None:
    assert by_category(["x" * (module.MAX_NAME + 1)] * 10 + ["y"] * 10).categories == (("y",),)


def test_numbers_and_texts_of_one_category_are_the_same() -> None:
    assert categories_of([1, 2])[1] == categories_of([1.0, 2.0])[1] == categories_of(["1", "2"])[1]
    codes, _ = categories_of(np.ma.masked_array([1, 2], mask=[True, False]))
    assert codes.tolist() == [-1, 0]


def test_woe_and_iv_are_the_formulas() -> None:
    events, rows = np.array([10, 30, 60]), np.array([400, 300, 300])
    bins = weigh(from_edges([1, 2], missing=False), events, rows)
    part_b, part_g = events / 100, (rows - events) / 900
    assert bins.woe == pytest.approx(np.log(part_b / part_g))
    assert bins.iv == pytest.approx(((part_b - part_g) * np.log(part_b / part_g)).sum())
    assert bins.woe_of([0.0, 5.0, NAN]).tolist() == [bins.woe[0], bins.woe[2], 0.0]  # type: ignore[index]


def test_smoothing_is_what_the_docstring_says() -> None:
    woe, iv = evidence(np.array([0, 20, 0]), np.array([10, 30, 0]))
    assert woe[0] == pytest.approx(math.log((0.5 / 20) / (10.5 / 40)))
    assert woe[1] == pytest.approx(math.log((20 / 20) / (30 / 40)))
    assert woe[2] == 0
    assert iv == pytest.approx((0.5 / 20 - 10.5 / 40) * woe[0] + (1 - 0.75) * woe[1])


@pytest.mark.parametrize("events", [[0, 0], [5, 5]])
def test_one_kind_of_labels_has_no_woe(events: list[int]) -> None:
    with pytest.raises(UsageError, match="labels are the same"):
        weigh(from_edges([1], missing=False), events, [5, 5])


def test_chi_merge_keeps_what_differs() -> None:
    rows = np.full(8, 1000)
    events = np.array([100, 101, 99, 100, 300, 302, 299, 301])
    bins = chi_merge(from_edges(range(1, 8), missing=False), events, rows, most=5)
    assert bins.edges == (4.0,)
    assert bins.events == (400, 1202)
    assert chi_merge(from_edges(range(1, 8), missing=False), events, rows, most=1).number == 1


def test_chi_merge_joins_categories_by_rate_and_leaves_missing() -> None:
    fine = by_category(["a", "b", "c", "d", None] * 20, rare=0)
    bins = chi_merge(fine, np.array([100, 500, 102, 499, 7]), np.full(5, 1000), most=2)
    assert set(bins.categories) == {("a", "c"), ("b", "d")}
    assert bins.missing
    assert bins.events is not None
    assert bins.events[-1] == 7


def test_chi_merge_keeps_other_behind_what_is_named() -> None:
    fine = by_category(["a"] * 50 + ["b"] * 30 + ["rare"], rare=0.1)
    bins = chi_merge(fine, np.array([100, 500, 101]), np.full(3, 1000), most=2)
    assert bins.categories == (("b",),)
    assert bins.other
    assert bins.events == (500, 201)
    assert bins.bin_of(["a", "b", "never"]).tolist() == [1, 0, 1]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=20))
@settings(max_examples=100)
def test_monotone_bins_rise_or_fall(cells: list[tuple[int, int]]) -> None:
    events, others = np.array([b for b, _ in cells]), np.array([g for _, g in cells])
    if not events.sum() or not others.sum():
        return
    fine = from_edges(range(1, len(cells)), missing=False)
    for direction in ("increasing", "decreasing", "auto"):
        bins = monotone(fine, events, events + others, direction=direction)  # type: ignore[arg-type]
        assert bins.events is not None
        assert bins.counts is not None
        assert sum(bins.events) == events.sum()
        rates = [b / n for b, n in zip(bins.events, bins.counts, strict=True) if n]
        assert rates == sorted(rates, reverse=direction == "decreasing") or (
            direction == "auto" and rates == sorted(rates, reverse=True)
        )


def test_monotone_wants_an_order() -> None:
    with pytest.raises(UsageError, match="no order"):
        monotone(by_category(["a", "b"], rare=0), [1, 1], [2, 2])


def test_merging_adds_counts_and_moves_missing_values() -> None:
    bins = weigh(from_edges([1, 2]), [1, 2, 3, 4], [10, 20, 30, 40])
    merged = merge(bins, [[0, 1, 3], [2]])
    assert merged.edges == (2.0,)
    assert merged.counts == (70, 30)
    assert merged.events == (7, 3)
    assert merged.woe is None
    assert not merged.missing
    assert merged.bin_of([NAN, 5]).tolist() == [0, 1]
    assert merged.labels[0] == "(-inf, 2], missing"
    assert merge(merged, [[0, 1]]).bin_of([NAN]).tolist() == [0]


@pytest.mark.parametrize(
    "groups", [[[0, 2], [1], [3]], [[0], [1]], [[3], [0, 1, 2]], [[1], [0], [2], [3]], [[0], [], [1, 2, 3]]]
)
def test_groups_that_are_none_are_refused(groups: list[list[int]]) -> None:
    with pytest.raises(UsageError):
        merge(from_edges([1, 2]), groups)


@given(st.data())
@settings(max_examples=150)
def test_small_bins_are_absorbed(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    counts = tuple(data.draw(st.integers(0, 9)) for _ in range(n))
    missing = n > 1 and data.draw(st.booleans())
    if data.draw(st.booleans()):
        bins = Bins("x", "numeric", edges=tuple(map(float, range(n - missing - 1))), missing=missing, counts=counts)
    else:
        other = n - missing > 1 and data.draw(st.booleans())
        names = tuple((f"c{i}",) for i in range(n - missing - other))
        bins = Bins("x", "category", categories=names, other=other, missing=missing, counts=counts)
    small = [data.draw(st.booleans()) for _ in range(n)]
    groups = absorb(bins, small)
    merged = merge(bins, groups)
    assert sum(merged.counts or ()) == sum(counts)
    for group in groups:
        assert len(group) > 1 or not small[group[0]] or n == 1
    assert merged.number < n or n == 1 or not any(small)


def test_json_comes_back_and_is_strict() -> None:
    bins = weigh(by_category(["a", "b", "汉", None, "r"] * 9, rare=0, most=3), [1, 2, 3, 4], [9, 9, 18, 9])
    moved = merge(weigh(from_edges([1e-9, 2e9]), [1, 2, 3, 4], [10, 20, 30, 40]), [[0, 1, 3], [2]])
    for one in (bins, moved, from_edges([])):
        text = json.dumps(one.to_json(), allow_nan=False)
        assert Bins.from_json(json.loads(text)) == one


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2), ("version", True), ("kind", "text"), ("edges", [2, 1]), ("edges", [NAN]), ("edges", ["1"]),
        ("edges", [10**400]), ("missing", 1), ("missing_in", 0), ("counts", [1]), ("counts", [1, 2, -3]),
        ("counts", [1, 2, 3.0]), ("events", [1, 2, 4]), ("woe", [0, 0, INF]), ("woe", [0, 0]), ("iv", -1), ("iv", NAN),
        ("iv", "0"), ("feature", 7), ("categories", [["a"]]), ("categories", "ab"), ("other", True), ("extra", 1),
    ],
)  # fmt: skip
def test_json_of_something_else_is_refused(field: str, value: object) -> None:
    good = weigh(from_edges([1.0]), [1, 1, 1], [2, 2, 3]).to_json()
    with pytest.raises(UsageError):
        Bins.from_json({**good, field: value})
    with pytest.raises(UsageError):
        Bins.from_json({key: kept for key, kept in good.items() if key != "edges"})


def test_columns_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="no numbers"):
        numbers_of(["1", "two"], "x")
    with pytest.raises(UsageError, match="one column"):
        numbers_of([[1.0]], "x")
    assert numbers_of(["1", "", None]).tolist()[0] == 1
    assert np.isnan(numbers_of(["1", ""])[1])
    assert np.isnan(numbers_of(np.ma.masked_array([1, 2], mask=[False, True]))[1])
