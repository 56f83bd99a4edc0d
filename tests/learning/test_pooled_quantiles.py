"""Quantiles by counts over silos: the edges that the pooled rows have, whoever has which; awkward columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from protocols.learning import pooled_quantiles
from protocols.learning.bins import equal_frequency
from protocols.learning.pooled_quantiles import FINENESS, WIDTHS, Columns, Search


def found(
    features: np.ndarray, *, bins: int = 8, least: int = 1, silos: int = 3
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Edges and counts of each column, of rows that are split."""
    values = pooled_quantiles.numbers(features)
    owners = np.random.default_rng(0).integers(0, silos, len(values))
    parts = [Columns.of(values[owners == i]) for i in range(silos)]
    search = Search((~np.isnan(values)).sum(axis=0), bins=bins, least=least)
    while (cells := search.cells()) is not None:
        search.take(sum(part.counts(search.level, *cells) for part in parts))
    return search.edges()


@given(st.lists(st.floats(width=32, allow_infinity=False, allow_nan=False), min_size=2, max_size=40))
def test_keys_have_the_numbers_order(numbers: list[float]) -> None:
    x = np.array(numbers, dtype=np.float32)
    keys = pooled_quantiles.keys(x)
    assert np.array_equal(keys[:, None] < keys, x[:, None] < x)
    assert np.array_equal(pooled_quantiles.values(keys), x)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 5, 40]))
def test_bins_are_of_equal_frequency(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    columns = (
        rng.normal(size=900),
        np.exp(rng.normal(0, 8, 900)),
        rng.integers(-3, 4, 900),
        np.where(rng.random(900) < 0.7, 0, rng.normal(size=900)),
        np.where(rng.random(900) < 0.004, 1, 0),
        1e6 + rng.normal(size=900),
    )
    features = np.column_stack(columns)
    features[rng.random(features.shape) < 0.1] = np.nan
    for j, (edges, counts) in enumerate(found(features, least=least)):
        x = features[:, j].astype(np.float32)
        x = np.sort(x[~np.isnan(x)])
        upto = np.searchsorted(x, edges, side="right")
        assert np.array_equal(counts, np.diff([0, *upto, len(x)]))
        assert counts.min() >= least
        assert len(edges) < 8
        different, each = np.unique(x, return_counts=True)
        if len(different) <= 8 and each.min() >= least:
            assert np.array_equal(edges, different[:-1])
        elif least == 1:
            heaviest = each.max()
            for target in (np.arange(1, 8) * len(x) / 8).tolist():
                if heaviest < len(x) / 8:
                    assert np.abs(upto - target).min() <= 1 + len(x) / (8 * FINENESS) + heaviest
            if heaviest < len(x) / 8:
                assert len(edges) == equal_frequency(x, 8).number - 1


def test_edges_do_not_depend_on_who_has_which_rows() -> None:
    features = np.random.default_rng(1).normal(size=(500, 2))
    alone, split = found(features, silos=1), found(features, silos=7)
    assert all(
        np.array_equal(a, b) for one, two in zip(alone, split, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_what_few_rows_have_is_not_looked_into() -> None:
    x = np.concatenate([np.zeros(500), np.full(500, 3.0), [1e30, 1e31, 1e32]])[:, None]
    values = pooled_quantiles.numbers(x)
    search = Search(np.array([len(x)]), bins=8, least=5)
    while (cells := search.cells()) is not None:
        counts = Columns.of(values).counts(search.level, *cells)
        assert not search.level or (counts.sum(axis=1) >= 5).all()
        search.take(counts)
    ((edges, counts),) = search.edges()
    assert edges.tolist() == [0]
    assert counts.tolist() == [500, 503]


def test_columns_of_one_value_and_of_none() -> None:
    x = np.column_stack([np.full(50, -0.0), np.full(50, np.nan), np.arange(50) % 2, -np.arange(50.0)])
    edges = [edges.tolist() for edges, _ in found(x)]
    assert edges[:3] == [[], [], [0]]
    assert len(edges[3]) == 7


def test_infinities_and_other_kinds() -> None:
    for strange in (np.inf, -np.inf, 1e39):
        with pytest.raises(UsageError, match=r"Column 1 has a number that is infinite.*use a larger unit"):
            pooled_quantiles.numbers([[1.0, 2.0], [3.0, strange]])
    with pytest.raises(UsageError, match="Features are an"):
        pooled_quantiles.numbers([["a"], ["b"]])
    with pytest.raises(UsageError, match="Features are an"):
        pooled_quantiles.numbers([1.0, 2.0])


def test_rounds_tell_all_bits_of_a_key() -> None:
    assert sum(WIDTHS) == pooled_quantiles.KEY_BITS
