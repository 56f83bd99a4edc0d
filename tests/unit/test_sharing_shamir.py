"""Shamir's shares against the reference and its vectors; that fewer than the threshold are uniform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.rng import Rng
from mpc.sharing import SHAMIR_PRIME, InconsistentShares, shamir_reconstruct, shamir_share
from tests import vectors
from tests.reference import shamir

VECTORS = vectors.load("shamir")


@pytest.mark.parametrize("vector", VECTORS["shared"], ids=lambda v: f"{v['threshold']} of {len(v['points'])}")
def test_vectors(vector: dict[str, Any]) -> None:
    points = np.array(vector["points"], dtype=np.uint32)
    shares = np.array(vector["shares"], dtype=np.uint32)[None]
    for take in (np.arange(vector["threshold"]), np.arange(len(points)), np.arange(len(points))[::-1]):
        assert shamir_reconstruct(shares[:, take], points[take]).tobytes().hex() == vector["secret"]


@pytest.mark.parametrize("vector", VECTORS["bad_shares"], ids=lambda v: v["why"])
def test_bad_shares(vector: dict[str, Any]) -> None:
    shares = np.array([vector["shares"]], dtype=np.uint32)
    with pytest.raises(InconsistentShares, match="secret 0") as raised:
        shamir_reconstruct(shares, np.array(vector["points"], dtype=np.uint32))
    assert raised.value.index == 0


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 4),
    words=st.integers(0, 5),
    points=st.lists(st.integers(1, SHAMIR_PRIME - 1), min_size=1, max_size=12, unique=True),
    data=st.data(),
)
def test_shares_are_the_references(n: int, words: int, points: list[int], data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, len(points)))
    rng = Rng.from_seed(bytes(data.draw(st.binary(max_size=2))))
    secrets = rng.uint8(n, 2 * words)
    at = np.array(points, dtype=np.uint32)
    shares = shamir_share(secrets, threshold=threshold, points=at, rng=rng)
    assert shares.shape == (n, len(points), words)
    chosen = data.draw(st.permutations(range(len(points))))[:threshold]
    assert np.array_equal(shamir_reconstruct(shares[:, chosen], at[chosen]), secrets)
    assert np.array_equal(shamir_reconstruct(shares, np.tile(at, (n, 1))), secrets)
    for i, secret in enumerate(secrets.view("<u2")):
        for w, word in enumerate(secret):
            assert shamir.reconstruct({points[j]: int(shares[i, j, w]) for j in chosen}) == word


def test_every_secret_may_have_holders_of_its_own() -> None:
    rng = Rng.from_seed(b"own")
    secrets = rng.uint8(3, 32)
    points = np.array([[1, 2, 3], [9, 4, 7], [2, 900, 5]], dtype=np.uint32)
    shares = np.concatenate(
        [shamir_share(secrets[i : i + 1], threshold=3, points=points[i], rng=rng) for i in range(3)]
    )
    assert np.array_equal(shamir_reconstruct(shares, points), secrets)
    with pytest.raises(InconsistentShares, match="secret 1"):
        shamir_reconstruct(shares, np.array([[1, 2, 3], [9, 4, 8], [2, 900, 5]], dtype=np.uint32))


def test_fewer_shares_than_the_threshold_are_uniform() -> None:
    """The same secret 20,000 times: two holders of three see independent uniform field elements."""
    secrets = np.full((20_000, 2), 7, dtype=np.uint8)
    at = np.array([1, 2, 3], dtype=np.uint32)
    shares = shamir_share(secrets, threshold=3, points=at, rng=Rng.from_seed(b"uniform"))[:, :, 0]
    assert shares.max() < SHAMIR_PRIME
    a, b = shares[:, 0] >> 27, shares[:, 1] >> 27  # 16 cells each
    counts = np.bincount(16 * a + b, minlength=256)
    expected = len(secrets) / 256
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert 120 < chi2 < 420  # 255 degrees of freedom: six sigma on either side


def test_misuse_says_what_to_do() -> None:
    rng = Rng.from_seed(b"misuse")
    secret, at = rng.uint8(1, 4), np.array([1, 2], dtype=np.uint32)
    for secrets, threshold, points, text in (
        (rng.uint8(1, 3), 1, at, "pad them"),
        (rng.uint8(4), 1, at, r"\(n, m\) array"),
        (secret, 3, at, "choose from 1 to 2"),
        (secret, 0, at, "choose from 1 to 2"),
        (secret, 1, np.array([0, 1], dtype=np.uint32), "0 is where the secret is"),
        (secret, 1, np.array([1, SHAMIR_PRIME], dtype=np.uint32), "0 is where the secret is"),
        (secret, 1, np.array([4, 4], dtype=np.uint32), "the same point"),
    ):
        with pytest.raises(UsageError, match=text):
            shamir_share(secrets, threshold=threshold, points=points, rng=rng)
    with pytest.raises(UsageError, match="one for each share"):
        shamir_reconstruct(np.zeros((1, 2, 1), dtype=np.uint32), np.array([1], dtype=np.uint32))
    with pytest.raises(UsageError, match="uint32"):
        shamir_reconstruct(np.zeros((1, 2), dtype=np.uint32), at)
