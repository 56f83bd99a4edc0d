"""GF(2^128) against its definition, and the laws of a field on large batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import gf128
from mpc.rng import Rng
from tests import vectors
from tests.reference import gf128 as reference

EDGES = (0, 1, 2, 0x87, 1 << 63, 1 << 64, 1 << 127, (1 << 128) - 1)
ELEMENTS = st.integers(0, 2**128 - 1) | st.sampled_from(EDGES)


def rows(values: list[int]) -> np.ndarray:
    return np.frombuffer(b"".join(v.to_bytes(16, "little") for v in values), dtype=np.uint8).reshape(-1, 16)


def numbers(array: np.ndarray) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in array.reshape(-1, 16)]


@pytest.mark.parametrize("vector", vectors.load("gf128")["products"], ids=lambda v: v["from"])
def test_vectors(vector: dict[str, str]) -> None:
    a, b = (vectors.row(vector[name]).reshape(1, 16) for name in "ab")
    assert gf128.mul(a, b).tobytes().hex() == vector["product"]
    assert gf128.scale(vector_bytes := bytes.fromhex(vector["b"]), a).tobytes().hex() == vector["product"]
    assert (
        gf128.inner(a, np.frombuffer(vector_bytes, dtype=np.uint8).reshape(1, 16)).tobytes().hex() == vector["product"]
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ELEMENTS, ELEMENTS), max_size=20), ELEMENTS)
def test_everything_agrees_with_the_definition(pairs: list[tuple[int, int]], seed: int) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    a, b, s = rows(left), rows(right), seed.to_bytes(16, "little")
    assert numbers(gf128.mul(a, b)) == [reference.multiply(x, y) for x, y in pairs]
    assert numbers(gf128.scale(s, a)) == [reference.multiply(seed, x) for x in left]
    assert numbers(gf128.scale_add(s, a, b)) == [reference.multiply(seed, x) ^ y for x, y in pairs]
    assert numbers(gf128.inner(a, b)) == [reference.inner(left, right)]
    assert numbers(gf128.polyhash(s, a)) == [reference.polynomial(seed, left)]
    assert numbers(gf128.invert(s)) == [reference.invert(seed)]


@pytest.mark.parametrize("n", [16, 17, 4096, 16384, 16385, 100_003])
def test_batches_of_any_size_obey_the_laws(n: int) -> None:
    rng = Rng.from_seed(b"laws")
    a, b, c, delta = rng.uint8(n, 16), rng.uint8(n, 16), rng.uint8(n, 16), rng.uint8(16)
    assert np.array_equal(gf128.mul(a, b ^ c), gf128.mul(a, b) ^ gf128.mul(a, c))
    assert np.array_equal(gf128.mul(gf128.mul(a, b), c), gf128.mul(a, gf128.mul(b, c)))
    assert np.array_equal(gf128.scale(delta, a), gf128.mul(a, np.tile(delta, (n, 1))))
    assert np.array_equal(gf128.inner(a, b), np.bitwise_xor.reduce(gf128.mul(a, b), axis=0))
    powers = np.tile(np.array([1] + [0] * 15, dtype=np.uint8), (n, 1))
    for i in range(1, min(n, 40)):
        powers[i] = gf128.scale(delta, powers[i - 1 : i])[0]
    head = min(n, 40)
    assert np.array_equal(gf128.polyhash(delta, a[:head]), gf128.inner(a[:head], powers[:head]))
    whole, tail = gf128.polyhash(delta, a), gf128.polyhash(delta, a[1:].copy())
    assert np.array_equal(whole, a[0] ^ gf128.scale(delta, tail.reshape(1, 16))[0])  # Horner's step


def test_scale_into_changes_its_argument_and_nothing_else() -> None:
    rng = Rng.from_seed(b"into")
    a, out, delta = rng.uint8(50, 16), rng.uint8(52, 16), rng.uint8(16)
    before = out.copy()
    gf128.scale_into(delta, a, out[1:51])
    assert np.array_equal(out[1:51], gf128.scale_add(delta, a, before[1:51]))
    assert np.array_equal(out[[0, 51]], before[[0, 51]])


def test_misuse_says_what_to_do() -> None:
    a, read_only = np.zeros((3, 16), dtype=np.uint8), np.zeros((3, 16), dtype=np.uint8)
    read_only.setflags(write=False)
    for call, text in (
        (lambda: gf128.mul(a, a[:2]), "one row for each"),
        (lambda: gf128.mul(a[:, :8], a), "strided"),
        (lambda: gf128.mul(a.reshape(-1), a), r"\(n, 16\)"),
        (lambda: gf128.scale(b"short", a), "give 16"),
        (lambda: gf128.inner(a, a.view(np.int8)), "uint8"),
        (lambda: gf128.scale_into(bytes(16), a, a), "another array"),
        (lambda: gf128.scale_into(bytes(16), a, read_only), "read-only"),
        (lambda: gf128.polyhash(bytes(15), a), "give 16"),
        (lambda: gf128.invert(bytes(17)), "give 16"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
