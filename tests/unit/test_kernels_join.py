"""The join of tags against the obvious one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import TooManyPairs, join
from mpc.rng import Rng


def slow(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int]]:
    return [(i, j) for j, y in enumerate(b) for i, x in enumerate(a) if x.tobytes() == y.tobytes()]


@settings(max_examples=80, deadline=None)
@given(
    width=st.integers(8, 16),
    a=st.lists(st.integers(0, 12), max_size=30),
    b=st.lists(st.integers(0, 12), max_size=30),
    place=st.integers(0, 15),
)
def test_every_pair_comes_once_and_in_order(width: int, a: list[int], b: list[int], place: int) -> None:
    # Tags that differ in one byte alone, wherever it is, and come several times.
    tags = np.tile(Rng.from_seed(b"tag").uint8(width), (13, 1))
    tags[:, place % width] = np.arange(13)
    left, right = tags[np.array(a, dtype=int)], tags[np.array(b, dtype=int)]
    rows_a, rows_b = join.join(left, right)
    assert rows_a.dtype == rows_b.dtype == np.int64
    assert list(zip(rows_a.tolist(), rows_b.tolist(), strict=True)) == slow(left, right)


@pytest.mark.parametrize("width", [8, 10, 12, 13, 16])
def test_large_lists(width: int) -> None:
    rng = Rng.from_seed(b"large")
    both, only_a, only_b = (rng.uint8(n, width) for n in (20_000, 50_000, 10_000))
    a, b = np.concatenate([both, only_a]), np.concatenate([only_b, both])
    order_a, order_b = rng.permutation(len(a)), rng.permutation(len(b))
    rows_a, rows_b = join.join(a[order_a], b[order_b])
    assert len(rows_a) == 20_000
    assert (np.diff(rows_b) > 0).all()
    assert np.array_equal(order_a[rows_a], order_b[rows_b] - 10_000)


def test_tags_that_share_their_ends_do_not_slow_it_down() -> None:
    # A peer may send what it likes: 2^17 tags that agree in all but the middle, and some that are all the same.
    tags = np.zeros((1 << 17, 12), dtype=np.uint8)
    tags[:, 4:8] = np.arange(1 << 17, dtype="<u4").view(np.uint8).reshape(-1, 4)
    rows_a, rows_b = join.join(tags, tags[::-1].copy())
    assert np.array_equal(rows_a, np.arange(1 << 17)[::-1])
    assert np.array_equal(rows_b, np.arange(1 << 17))
    same = np.zeros((1 << 17, 12), dtype=np.uint8)
    assert len(join.join(tags, same, most=1 << 17)[0]) == 1 << 17
    with pytest.raises(TooManyPairs):
        join.join(same, same, most=1 << 20)


def test_most_is_exact() -> None:
    same = np.zeros((30, 8), dtype=np.uint8)
    assert len(join.join(same, same, most=900)[0]) == 900
    with pytest.raises(TooManyPairs, match="more pairs"):
        join.join(same, same, most=899)
    assert len(join.join(same[:0], same, most=0)[0]) == 0


def test_misuse_says_what_to_do() -> None:
    a = np.zeros((3, 8), dtype=np.uint8)
    for call, text in (
        (lambda: join.join(a[:, :7].copy(), a), "cut or pad"),
        (lambda: join.join(a, np.zeros((3, 17), dtype=np.uint8)), "cut or pad"),
        (lambda: join.join(a, np.zeros((3, 9), dtype=np.uint8)), r"\(n, 8\)"),
        (lambda: join.join(a, a.view(np.int8)), "uint8"),
        (lambda: join.join(a, np.zeros((3, 16), dtype=np.uint8)[:, :8]), "strided"),
        (lambda: join.join(a, a, most=-1), "negative"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
