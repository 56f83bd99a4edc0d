"""Cuckoo tables: places and assignments against the plain reference, and how often there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import EncodingFailed, cuckoo
from mpc.rng import Rng
from tests import vectors
from tests.reference import cuckoo as reference

VECTORS = vectors.load("cuckoo")


def triples(places: list[list[int]]) -> np.ndarray:
    return np.array(places, dtype=np.uint32).reshape(-1, 3)


@pytest.mark.parametrize("vector", VECTORS["tables"], ids=lambda v: f"bins={v['bins']}")
def test_tables_of_the_reference(vector: dict[str, Any]) -> None:
    keys = vectors.row(vector["keys"]).reshape(-1, 16)
    places = cuckoo.places(keys, bins=vector["bins"])
    assert places.dtype == np.uint32
    assert places.tolist() == vector["places"]
    rows = cuckoo.assign(places, bins=vector["bins"])
    assert rows.dtype == np.int64
    assert rows.tolist() == vector["rows"]


@pytest.mark.parametrize("vector", VECTORS["bad_places"], ids=lambda v: v["why"])
def test_items_with_fewer_places_than_they_are(vector: dict[str, Any]) -> None:
    with pytest.raises(EncodingFailed):
        cuckoo.assign(triples(vector["places"]), bins=vector["bins"])


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.binary(max_size=4), st.data())
def test_places_and_assignments_are_the_references(bins: int, seed: bytes, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, bins + 1))
    keys = Rng.from_seed(seed).uint8(n, 16)
    places = cuckoo.places(keys, bins=bins)
    assert places.tolist() == [reference.places(key.tobytes(), bins) for key in keys]
    expected = reference.assign(places.tolist(), bins)
    if expected is None:  # often so, the tables being nearly full
        with pytest.raises(EncodingFailed):
            cuckoo.assign(places, bins=bins)
    else:
        assert cuckoo.assign(places, bins=bins).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 7), min_size=3, max_size=3), max_size=9))
def test_any_places_are_assigned_as_the_reference_does(places: list[list[int]]) -> None:
    expected = reference.assign(places, 8)
    if expected is None:
        with pytest.raises(EncodingFailed):
            cuckoo.assign(triples(places), bins=8)
    else:
        assert cuckoo.assign(triples(places), bins=8).tolist() == expected


@pytest.mark.parametrize("n", [0, 1, 100, 20_000, 300_000])
def test_every_item_has_one_bin_among_its_places(n: int) -> None:
    bins = cuckoo.bins(n)
    places = cuckoo.places(Rng.from_seed(b"k").uint8(n, 16), bins=bins)
    rows = cuckoo.assign(places, bins=bins)
    assert len(rows) == bins
    used = np.flatnonzero(rows >= 0)
    assert np.array_equal(np.sort(rows[used]), np.arange(n))
    assert (places[rows[used]] == used[:, None]).any(axis=1).all()


def test_the_bound_on_failures_holds_for_every_number_of_items() -> None:
    numbers = [*range(300), *range(300, 1500, 25), 3000, 10_000, 50_000, 200_000]
    assert max(reference.failure_log2(n, cuckoo.bins(n)) for n in numbers) < -41
    assert reference.failure_log2(200_000, cuckoo.bins(200_000)) < -80


@pytest.mark.parametrize(("n", "bins"), [(10, 13), (12, 16), (20, 30)])
def test_failures_are_rarer_than_the_bound_says(n: int, bins: int) -> None:
    """Where tables are so small that failing can be seen at all."""
    rounds, failed, rng = 4000, 0, Rng.from_seed(b"failures")
    for _ in range(rounds):
        try:
            cuckoo.assign(cuckoo.places(rng.uint8(n, 16), bins=bins), bins=bins)
        except EncodingFailed:
            failed += 1
    bound = 2 ** reference.failure_log2(n, bins)
    assert failed <= rounds * bound + 6 * (rounds * bound) ** 0.5
    assert failed or n == 20  # so that the count counts


def test_misuse() -> None:
    keys, places = Rng().uint8(4, 16), triples([[0, 1, 2]])
    for call, text in (
        (lambda: cuckoo.bins(-1), "cannot be made"),
        (lambda: cuckoo.bins(1 << 28), "cannot be made"),
        (lambda: cuckoo.places(keys, bins=2), "3 to"),
        (lambda: cuckoo.places(keys, bins=cuckoo.MAX_BINS + 1), "3 to"),
        (lambda: cuckoo.places(keys[:, :15].copy(), bins=9), r"give \(n, 16\)"),
        (lambda: cuckoo.assign(places, bins=2), "not among 2 bins"),
        (lambda: cuckoo.assign(places, bins=1 << 40), "more than"),
        (lambda: cuckoo.assign(places.astype(np.int64), bins=9), "uint32"),
        (lambda: cuckoo.assign(np.asfortranarray(np.tile(places, (4, 1))), bins=9), "contiguous"),
        (lambda: cuckoo.assign(places[:, :2].copy(), bins=9), "uint32"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
