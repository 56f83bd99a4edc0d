"""Masks over Z_2^64 against the reference and its vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import mask
from mpc.rng import Rng
from tests import vectors
from tests.reference import mask as reference


@pytest.mark.parametrize("vector", vectors.load("mask")["masked"], ids=lambda v: f"{len(v['keys'])}, {v['first']}")
def test_vectors(vector: dict[str, Any]) -> None:
    keys = np.frombuffer(bytes.fromhex("".join(vector["keys"])), dtype=np.uint8).reshape(-1, 16)
    words = np.array([int(word) for word in vector["words"]], dtype=np.uint64)
    mask.apply(keys, np.array(vector["negative"], dtype=np.bool_), words, first=int(vector["first"]))
    assert words.tolist() == [int(word) for word in vector["masked"]]


@settings(max_examples=40, deadline=None)
@given(k=st.integers(0, 5), n=st.integers(0, 300), block=st.integers(0, 2**63), seed=st.binary(max_size=2))
def test_agrees_with_the_reference(k: int, n: int, block: int, seed: bytes) -> None:
    rng = Rng.from_seed(seed)
    keys, words, negative = rng.uint8(k, 16), rng.uint64(n), rng.uint8(k) > 127
    expected = reference.apply([key.tobytes() for key in keys], negative.tolist(), words.tolist(), 2 * block)
    mask.apply(keys, negative, words, first=2 * block)
    assert words.tolist() == expected


def test_pieces_are_those_of_the_whole_and_signs_cancel() -> None:
    rng = Rng.from_seed(b"pieces")
    keys, words, negative = rng.uint8(3, 16), rng.uint64(70_000), np.array([True, False, False])
    whole, cut = words.copy(), words.copy()
    mask.apply(keys, negative, whole, first=0)
    for start in range(0, len(cut), 4098):
        mask.apply(keys, negative, cut[start : start + 4098], first=start)
    assert np.array_equal(whole, cut)
    mask.apply(keys, ~negative, whole, first=0)
    assert np.array_equal(whole, words)


def test_misuse_says_what_to_do() -> None:
    keys, sign, words = np.zeros((1, 16), dtype=np.uint8), np.zeros(1, dtype=np.bool_), np.zeros(4, dtype=np.uint64)
    frozen = words.copy()
    frozen.flags.writeable = False
    cases: tuple[tuple[Any, Any, Any, int, str], ...] = (
        (keys[:, :8], sign, words, 0, r"\(n, 16\)|strided"),
        (keys, np.zeros(2, dtype=np.bool_), words, 0, "a sign for each key"),
        (keys, np.zeros(1, dtype=np.uint8), words, 0, "a sign for each key"),
        (keys, sign, words[::2], 0, "contiguous"),
        (keys, sign, words.view(np.int64), 0, "uint64"),
        (keys, sign, frozen, 0, "writable"),
        (keys, sign, words, 3, "even"),
        (keys, sign, words, -2, "even"),
        (keys, sign, words, 1 << 65, "even"),
    )
    for bad_keys, bad_sign, bad_words, first, text in cases:
        with pytest.raises(UsageError, match=text):
            mask.apply(bad_keys, bad_sign, bad_words, first=first)
