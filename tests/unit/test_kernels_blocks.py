"""The fixed-key permutation against OpenSSL's AES, and the hash against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import blocks
from mpc.rng import Rng
from tests import vectors
from tests.reference import gf128 as reference


@pytest.mark.parametrize("vector", vectors.load("gf128")["hashes"], ids=lambda v: v["from"])
def test_vectors(vector: dict[str, str]) -> None:
    x = vectors.row(vector["x"]).reshape(-1, 16)
    assert blocks.fixed(x).tobytes().hex() == vector["permuted"]
    assert blocks.hash(x, tweak=int(vector["tweak"])).tobytes().hex() == vector["hashed"]


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 70), tweak=st.integers(0, 2**64 - 1 - 70), seed=st.binary(max_size=4))
def test_hashes_agree_with_the_definition(n: int, tweak: int, seed: bytes) -> None:
    x = Rng.from_seed(seed).uint8(n, 16)
    assert blocks.fixed(x).tobytes() == b"".join(reference.fixed(row.tobytes()) for row in x)
    expected = [reference.hash_block(row.tobytes(), tweak + i) for i, row in enumerate(x)]
    assert blocks.hash(x, tweak=tweak).tobytes() == b"".join(expected)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 300), seed=st.binary(max_size=4))
def test_hashes_under_tweaks_of_their_own(n: int, seed: bytes) -> None:
    rng = Rng.from_seed(seed)
    x, tweaks = rng.uint8(n, 16), rng.uint8(n, 16)
    expected = [
        reference.hash_block(row.tobytes(), int.from_bytes(tweak.tobytes(), "little"))
        for row, tweak in zip(x, tweaks, strict=True)
    ]
    blocks.hash_under(tweaks, x)
    assert x.tobytes() == b"".join(expected)


@pytest.mark.parametrize("n", [16384, 16385, 50_001])
def test_long_batches_are_their_parts(n: int) -> None:
    # Long batches are cut for the threads; the seams must not show.
    x = Rng.from_seed(b"long").uint8(n, 16)
    assert blocks.fixed(x).tobytes() == reference.fixed(x.tobytes())
    tweaks, hashed = np.zeros((n, 16), dtype=np.uint8), x.copy()
    tweaks.view("<u8")[:, 0] = np.arange(n) + 5
    blocks.hash_under(tweaks, hashed)
    assert np.array_equal(blocks.hash(x, tweak=5), hashed)
    parts = [blocks.hash(x[i : i + 1000], tweak=5 + i) for i in range(0, n, 1000)]
    assert np.array_equal(blocks.hash(x, tweak=5), np.concatenate(parts))


def test_the_tweak_separates() -> None:
    x = np.tile(Rng.from_seed(b"same").uint8(16), (1000, 1))
    assert len(np.unique(blocks.hash(x, tweak=0), axis=0)) == 1000


def test_misuse_says_what_to_do() -> None:
    x = np.zeros((3, 16), dtype=np.uint8)
    for call, text in (
        (lambda: blocks.fixed(x[:, :15]), "strided"),
        (lambda: blocks.fixed(np.zeros((3, 15), dtype=np.uint8)), r"\(n, 16\)"),
        (lambda: blocks.hash_under(x[:2], x), "one row for each"),
        (lambda: blocks.hash_under(x, x), "shares memory"),
        (lambda: blocks.hash_under(x, np.frombuffer(bytes(48), dtype=np.uint8).reshape(3, 16)), "read-only"),
        (lambda: blocks.hash(x, tweak=-1), "count them from 0"),
        (lambda: blocks.hash(x, tweak=2**64 - 3), "count them from 0"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
    assert blocks.hash(x, tweak=2**64 - 4).shape == (3, 16)
