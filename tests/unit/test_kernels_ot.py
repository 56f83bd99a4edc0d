"""The loops of oblivious-transfer extension against the slow reference."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import gf128, ot
from mpc.rng import Rng
from tests import vectors
from tests.reference import generate_ot
from tests.reference import ot as reference

VECTORS = vectors.load("reference_ot")
Bytes = NDArray[np.uint8]


def rows(parts: list[bytes]) -> Bytes:
    return np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(len(parts), -1)


def seeds_of(groups: list[list[bytes]]) -> Bytes:
    return np.frombuffer(b"".join(map(b"".join, groups)), dtype=np.uint8).reshape(len(groups), -1, 16)


def turned(seeds: Bytes, delta: bytes) -> Bytes:
    """The sender's seeds: place y has the receiver's y ^ delta's bits, and place 0 something else."""
    groups, count, _ = seeds.shape
    k = count.bit_length() - 1
    hidden = np.array([sum(reference.bit(delta, g * k + b) << b for b in range(k)) for g in range(groups)])
    out = seeds[np.arange(groups)[:, None], np.arange(count) ^ hidden[:, None]]
    out[:, 0] = 0xAA
    return out


def sha256(array: Bytes) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@pytest.mark.parametrize("vector", VECTORS["extensions"], ids=lambda v: v["label"].strip())
def test_vectors(vector: dict[str, Any]) -> None:
    label, k, n, block = (vector[name] for name in ("label", "k", "n", "block"))
    seeds = seeds_of(generate_ot.seeds(label + "seeds", k))
    delta = generate_ot.uniform(label + "delta", 16)
    choices = np.frombuffer(generate_ot.uniform(label + "choices", n // 8), dtype=np.uint8)
    out = np.empty((n, 16), dtype=np.uint8)
    corrections = ot.receive(seeds, choices, out, block=block)
    assert (sha256(corrections), sha256(out)) == (vector["corrections"], vector["received"])
    assert sha256(ot.hash_columns(generate_ot.uniform(label + "p", 16), out)) == vector["hashed"]
    ot.send(turned(seeds, delta), delta, corrections, out, block=block)
    assert sha256(out) == vector["sent"]


@pytest.mark.parametrize("vector", VECTORS["bad_seeds"], ids=lambda v: v["why"])
def test_bad_seeds_are_refused(vector: dict[str, Any]) -> None:
    seeds, out = np.zeros(vector["shape"], dtype=np.uint8), np.zeros((128, 16), dtype=np.uint8)
    with pytest.raises(UsageError, match=r"\(128 / k, 2\^k, 16\)"):
        ot.receive(seeds, out[0], out, block=0)
    with pytest.raises(UsageError, match=r"\(128 / k, 2\^k, 16\)"):
        ot.send(seeds, bytes(16), out.reshape(-1), out, block=0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 3), st.binary(min_size=1, max_size=8))
def test_transposition_agrees_with_the_definition(tiles: int, seed: bytes) -> None:
    matrix = Rng.from_seed(seed).uint8(128, 16 * tiles)
    blocks = ot.transpose(matrix)
    if tiles:
        assert np.array_equal(blocks, rows(reference.transpose([row.tobytes() for row in matrix])))
    assert blocks.shape == (128 * tiles, 16)
    assert np.array_equal(ot.untranspose(blocks), matrix)


@pytest.mark.parametrize(
    ("n", "k"), [*((n, k) for n in (128, 4096, 4224, 70_016) for k in ot.FIELDS), (300_032, 1), (300_032, 2)]
)
def test_the_sides_meet_at_every_size(n: int, k: int) -> None:
    # Beyond 65,536 transfers several threads share the work; seams between them and between stripes must not show.
    rng = Rng.from_seed(b"sides")
    seeds, delta, choices = rng.uint8(128 // k, 1 << k, 16), rng.bytes(16), rng.uint8(n // 8)
    t, kept = np.empty((n, 16), dtype=np.uint8), np.empty((n, 16), dtype=np.uint8)
    corrections = ot.receive(seeds, choices, t, block=5)
    ot.send(turned(seeds, delta), delta, corrections, kept, block=5)
    chosen = np.unpackbits(choices, bitorder="little")[:, None] * np.frombuffer(delta, dtype=np.uint8)
    assert np.array_equal(t, kept ^ chosen)
    # The stream goes on: the second part by itself is the second part of the whole.
    half = n // 256 * 128
    again = np.empty((n - half, 16), dtype=np.uint8)
    ot.receive(seeds, choices[half // 8 :].copy(), again, block=5 + half // 128)
    assert np.array_equal(again, t[half:])


def test_hashes_are_linear_and_tell_columns_apart() -> None:
    rng = Rng.from_seed(b"hashes")
    a, b, point = rng.uint8(1280, 16), rng.uint8(1280, 16), rng.uint8(16)
    assert np.array_equal(ot.hash_columns(point, a ^ b), ot.hash_columns(point, a) ^ ot.hash_columns(point, b))
    columns = ot.untranspose(a).reshape(128, -1, 16)
    assert np.array_equal(ot.hash_columns(point, a), np.stack([gf128.polyhash(point, c) for c in columns]))
    b[:] = a
    b[777, 5] ^= 8
    different = np.any(ot.hash_columns(point, a) != ot.hash_columns(point, b), axis=1)
    assert np.flatnonzero(different).tolist() == [43]


def test_misuse_says_what_to_do() -> None:
    seeds, out = np.zeros((64, 4, 16), dtype=np.uint8), np.zeros((128, 16), dtype=np.uint8)
    choices, corrections = np.zeros(16, dtype=np.uint8), np.zeros(1024, dtype=np.uint8)
    for call, text in (
        (lambda: ot.transpose(out[:127].copy()), "multiple of 128"),
        (lambda: ot.transpose(np.zeros((128, 15), dtype=np.uint8)), "multiple of 128"),
        (lambda: ot.untranspose(out[:100].copy()), "multiple of 128"),
        (lambda: ot.hash_columns(bytes(15), out), "give 16"),
        (lambda: ot.receive(seeds, choices[:15], out, block=0), r"give \(16,\)"),
        (lambda: ot.receive(seeds, choices, out[:, ::-1], block=0), "ascontiguousarray"),
        (lambda: ot.send(seeds, bytes(17), corrections, out, block=0), "give 16"),
        (lambda: ot.send(seeds, bytes(16), corrections[:-1], out, block=0), r"give \(1024,\)"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
