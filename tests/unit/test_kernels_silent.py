"""Punctured trees and the silent code against their slow reference, and what must hold for any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import code, gf128, pprf
from mpc.rng import Rng
from tests import vectors
from tests.reference import silent

VECTORS = vectors.load("silent")
SALT = bytes(range(16))


def off_path(sums: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(t, depth, 2, 16) sums → (t, depth, 16): those of the sides that the paths do not take."""
    t, depth = sums.shape[:2]
    sides = points[:, None] >> np.arange(depth - 1, -1, -1, dtype=np.uint32) & 1
    return sums[np.arange(t)[:, None], np.arange(depth), 1 - sides]


@pytest.mark.parametrize("vector", VECTORS["trees"], ids=lambda v: f"{len(v['leaves'])} leaves")
def test_trees(vector: dict[str, Any]) -> None:
    salt, leaves = bytes.fromhex(vector["salt"]), len(vector["leaves"])
    nodes, sums = pprf.expand(vectors.rows([vector["seed"]]), leaves=leaves, salt=salt)
    assert [row.tobytes().hex() for row in nodes] == vector["leaves"]
    assert [[side.tobytes().hex() for side in pair] for pair in sums[0]] == vector["sums"]
    points = np.array([vector["point"]], dtype=np.uint32)
    known = pprf.expand_punctured(
        points, off_path(sums, points), vectors.rows([vector["final"]]), leaves=leaves, salt=salt
    )
    assert [row.tobytes().hex() for row in known] == vector["punctured"]


@pytest.mark.parametrize("vector", VECTORS["bad_trees"], ids=lambda v: v["why"])
def test_bad_trees(vector: dict[str, Any]) -> None:
    points, one = np.array([vector["point"]], dtype=np.uint32), np.zeros((1, 16), np.uint8)
    depth = silent.depth(vector["leaves"])
    with pytest.raises(UsageError, match="give"):
        pprf.expand_punctured(points, np.zeros((1, depth, 16), np.uint8), one, leaves=vector["leaves"], salt=SALT)


@pytest.mark.parametrize("vector", VECTORS["words"], ids=lambda v: f"{v['outputs']} {v['field']}")
def test_words(vector: dict[str, Any]) -> None:
    x = vectors.row(vector["x"]).reshape(-1, 16).copy()
    word = code.compress(x, vector["outputs"], salt=bytes.fromhex(vector["salt"]), field=vector["field"])
    assert word.tobytes().hex() == vector["word"]


@pytest.mark.parametrize("vector", VECTORS["bad_words"], ids=lambda v: v["why"])
def test_bad_words(vector: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"give|up to"):
        code.compress(np.zeros((vector["n"], 16), np.uint8), vector["outputs"], salt=SALT, field=True)


@settings(max_examples=25, deadline=None)
@given(leaves=st.integers(2, 70), trees=st.integers(1, 20), data=st.data())
def test_a_punctured_tree_is_the_tree_but_at_its_point(leaves: int, trees: int, data: st.DataObject) -> None:
    points = np.array([data.draw(st.integers(0, leaves - 1)) for _ in range(trees)], dtype=np.uint32)
    rng = Rng.from_seed(bytes([leaves, trees]))
    finals = rng.uint8(trees, 16)
    full, sums = pprf.expand(rng.uint8(trees, 16), leaves=leaves, salt=SALT)
    known = pprf.expand_punctured(points, off_path(sums, points), finals, leaves=leaves, salt=SALT)
    full, known = full.reshape(trees, leaves, 16), known.reshape(trees, leaves, 16)
    at = (np.arange(trees), points)
    others = np.bitwise_xor.reduce(full, axis=1) ^ full[at]
    assert np.array_equal(known[at], finals ^ others)
    full[at] = known[at]
    assert np.array_equal(full, known)


@settings(max_examples=10, deadline=None)
@given(leaves=st.integers(2, 100), seed=st.binary(max_size=3))
def test_trees_agree_with_the_reference(leaves: int, seed: bytes) -> None:
    seeds = Rng.from_seed(seed).uint8(2, 16)
    nodes, sums = pprf.expand(seeds, leaves=leaves, salt=SALT)
    for i, row in enumerate(seeds):
        tree = silent.levels(SALT, row.tobytes(), leaves)
        assert nodes[i * leaves : (i + 1) * leaves].tobytes() == b"".join(tree[-1])
        assert sums[i].tobytes() == b"".join(left + right for left, right in silent.sums(tree))


def test_many_trees_are_their_parts() -> None:
    # They are spread over threads; the seams must not show.
    seeds = Rng.from_seed(b"trees").uint8(101, 16)
    nodes, sums = pprf.expand(seeds, leaves=700, salt=SALT)
    for i in (0, 15, 16, 100):
        one, of_one = pprf.expand(seeds[i : i + 1], leaves=700, salt=SALT)
        assert np.array_equal(nodes[700 * i : 700 * (i + 1)], one)
        assert np.array_equal(sums[i], of_one[0])


@settings(max_examples=25, deadline=None)
@given(leaves=st.integers(1, 40), trees=st.integers(1, 20), data=st.data())
def test_values_are_added_at_their_points(leaves: int, trees: int, data: st.DataObject) -> None:
    points = np.array([data.draw(st.integers(0, leaves - 1)) for _ in range(trees)], dtype=np.uint32)
    rng = Rng.from_seed(b"values")
    values, out = rng.uint8(trees, 16), rng.uint8(trees * leaves, 16)
    expected = out.copy()
    expected[np.arange(trees) * leaves + points] ^= values
    pprf.add_at(points, values, out)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("field", [True, False])
@pytest.mark.parametrize("n", [64, 128, 320, 6400])
def test_the_code_agrees_with_the_reference(n: int, *, field: bool) -> None:
    x = Rng.from_seed(b"code").uint8(n, 16)
    numbers = [int.from_bytes(row.tobytes(), "little") for row in x]
    word = code.compress(x, n // 2, salt=SALT, field=field)
    expected = silent.compress(SALT, numbers, n // 2, field=field)
    assert [int.from_bytes(row.tobytes(), "little") for row in word] == expected


def test_the_code_is_linear_over_its_field() -> None:
    rng = Rng.from_seed(b"linear")
    x, y, delta = rng.uint8(6400, 16), rng.uint8(6400, 16), rng.uint8(16)

    def word(x: np.ndarray, *, field: bool = True) -> np.ndarray:
        return code.compress(x.copy(), 3200, salt=SALT, field=field)

    assert np.array_equal(word(gf128.scale_add(delta, x, y)), gf128.scale_add(delta, word(x), word(y)))
    assert np.array_equal(word(x ^ y, field=False), word(x, field=False) ^ word(y, field=False))
    # Over GF(2) every bit of an element is coded by itself.
    low = x & np.uint8(1)
    assert np.array_equal(word(low, field=False), word(x, field=False) & np.uint8(1))


def test_one_element_reaches_about_half_of_the_outputs() -> None:
    # A vector of weight one is the sparsest of all; the words of such are what an attack would look for.
    for at in (0, 1, 777, 6399):
        x = np.zeros((6400, 16), np.uint8)
        x[at, 0] = 1
        word = code.compress(x.copy(), 3200, salt=SALT, field=False)
        assert 1200 < np.count_nonzero(word.any(axis=1)) < 2000
        assert np.count_nonzero(code.compress(x, 3200, salt=SALT, field=True).any(axis=1)) > 1200


def test_another_salt_is_another_code_and_another_tree() -> None:
    x = Rng.from_seed(b"salt").uint8(64, 16)
    words = {code.compress(x.copy(), 32, salt=bytes([i]) * 16, field=True).tobytes() for i in range(9)}
    assert len(words) == 9
    trees = {pprf.expand(x, leaves=4, salt=bytes([i]) * 16)[0].tobytes() for i in range(9)}
    assert len(trees) == 9


def test_misuse_says_what_to_do() -> None:
    x = np.zeros((64, 16), np.uint8)
    frozen = x.copy()
    frozen.flags.writeable = False
    points = np.zeros(2, np.uint32)
    for call, text in (
        (lambda: pprf.expand(x, leaves=4, salt=b"short"), "give 16"),
        (lambda: pprf.expand(x[:, :8], leaves=4, salt=SALT), "strided"),
        (lambda: pprf.depth(1), "give 2 to"),
        (
            lambda: pprf.expand_punctured(points, x[:4].reshape(2, 2, 16), x[:3], leaves=4, salt=SALT),
            "one row for each",
        ),
        (lambda: pprf.expand_punctured(points, x[:6].reshape(2, 3, 16), x[:2], leaves=4, salt=SALT), "keys has shape"),
        (lambda: pprf.add_at(points, x[:2], frozen), "read-only"),
        (lambda: pprf.add_at(points, x[:3], x), "same number of rows"),
        (lambda: pprf.add_at(points.astype(np.int64), x[:2], x), "uint32"),
        (lambda: pprf.add_at(points + np.uint32(32), x[:2], x), "below that"),
        (lambda: code.compress(frozen, 1, salt=SALT, field=True), "give a copy"),
        (lambda: code.mix(x, x, salt=SALT, field=True), "shares memory"),
        (lambda: code.mix(x, x[:32].copy(), salt=SALT, field=True), "one row for each"),
        (lambda: code.compress(x, 1, salt=b"", field=True), "give 16"),
        (lambda: code.compress(x, -1, salt=SALT, field=True), "up to 32"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
