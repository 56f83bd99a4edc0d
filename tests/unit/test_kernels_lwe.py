"""Sums by bin under encryption against their slow reference, and what must hold for any of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import lwe
from mpc.rng import Rng
from tests import vectors
from tests.reference import generate_lwe
from tests.reference import lwe as reference
from tests.reference.generate_lwe import uniform

Words = NDArray[np.uint32]
VECTORS = vectors.load("lwe")
RNG = Rng.from_seed(b"lwe kernels")


def words(*shape: int) -> Words:
    return RNG.uint8(*shape, 4).view("<u4")[..., 0].copy()


def table(rows: list[list[int]]) -> Words:
    return np.array(rows, dtype=np.uint32)


def data(label: str, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(uniform(label, size), dtype=np.uint8).copy()


def digest(array: Words) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def secrets_of(w: int) -> NDArray[np.uint8]:
    return np.unpackbits(RNG.uint8(w, lwe.DIMENSION // 8), axis=1)


def public_matrix(public: NDArray[np.uint8], n: int) -> Words:
    """(n, 1536): the hint of rows that have a bin each."""
    return lwe.hint(np.arange(n, dtype=np.uint16)[:, None], (n,), public=public).T.copy()


@pytest.mark.parametrize("vector", VECTORS["encryptions"], ids=lambda v: v["label"])
def test_encryptions(vector: dict[str, Any]) -> None:
    label, n, w, first = (vector[name] for name in ("label", "rows", "vectors", "first"))
    blocks = lwe.expand(data(f"{label} public", 16), first + n)[first // lwe.RING :]
    secrets = lwe.secrets(np.array(generate_lwe.bits(f"{label} bits", w), dtype=np.uint8))
    rows = table(generate_lwe.table(f"{label} words", n, w))
    c = lwe.encrypt(rows, blocks=blocks, secrets=secrets, seed=data(f"{label} seed", 32), first=first)
    assert int(c[0, 0]) == vector["begins"]
    assert digest(c) == vector["words"]


@pytest.mark.parametrize("vector", VECTORS["hints"], ids=lambda v: v["label"])
def test_hints_and_their_shares(vector: dict[str, Any]) -> None:
    label, n, sizes, w, tweak = (vector[name] for name in ("label", "rows", "sizes", "vectors", "tweak"))
    dtype = np.uint8 if max(sizes) <= 256 else np.uint16
    codes = np.array(generate_lwe.codes(f"{label} codes", n, sizes), dtype=dtype)
    assert digest(lwe.sums(codes, table(generate_lwe.table(f"{label} words", n, 3)), sizes)) == vector["sums"]
    hint = lwe.hint(codes, sizes, public=data(f"{label} public", 16))
    assert digest(hint) == vector["hint"]
    k, delta = data(f"{label} k", 16 * lwe.DIMENSION * w).reshape(-1, 16), data(f"{label} delta", 16)
    bits = np.array(generate_lwe.bits(f"{label} bits", w), dtype=np.uint8)
    messages, kept = lwe.offer(delta, k, tweak=tweak, hint=hint, first=0, count=sum(sizes))
    assert digest(messages) == vector["messages"]
    assert digest(kept) == vector["kept"]
    t = k ^ (bits.reshape(-1, 1) * delta)
    got = lwe.choose(t, bits, tweak=tweak, messages=messages, bins=sum(sizes), first=0)
    assert digest(got) == vector["got"]


@pytest.mark.parametrize("vector", VECTORS["bad_codes"], ids=lambda v: v["why"])
def test_bad_codes_are_refused(vector: dict[str, Any]) -> None:
    codes, sizes = np.array(vector["codes"], dtype=np.uint8), vector["sizes"]
    rows = None if vector["rows"] is None else np.array(vector["rows"], dtype=np.int32)
    for dtype in (np.uint32, np.int64):
        with pytest.raises(UsageError):
            lwe.sums(codes, np.zeros((len(codes), 1), dtype=dtype), sizes, rows=rows)
    if rows is None:
        with pytest.raises(UsageError):
            lwe.hint(codes, sizes, public=RNG.uint8(16))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 1100), st.integers(1, 19), st.integers(0, 3))
def test_what_was_encrypted_comes_out_with_the_reference_s_errors(n: int, w: int, first: int) -> None:
    """Also in pieces, as it is sent; A from the hint of rows with bins of their own."""
    public, seed, bits = RNG.uint8(16), RNG.uint8(32), secrets_of(w)
    v, total = words(n, w), lwe.RING * first + n
    blocks, secrets = lwe.expand(public, total)[first:], lwe.secrets(bits)
    c = lwe.encrypt(v, blocks=blocks, secrets=secrets, seed=seed, first=lwe.RING * first)
    a = public_matrix(public, total)[lwe.RING * first :]
    errors = (c - v - a @ bits.T.astype(np.uint32)).view(np.int32)
    for i, j in ((0, 0), (n - 1, w - 1), (n // 2, w // 3)):
        assert errors[i, j] == reference.error(seed.tobytes(), (lwe.RING * first + i) * w + j)
    assert int(np.abs(errors).max()) <= 21
    if n > lwe.RING:
        rest = lwe.encrypt(v[lwe.RING :], blocks=blocks[1:], secrets=secrets, seed=seed, first=lwe.RING * (first + 1))
        assert np.array_equal(rest, c[lwe.RING :])


def test_products_with_extreme_secrets_are_exact() -> None:
    """Secrets of ones alone and of zeros: the largest sums that there are go through both primes."""
    public, n = RNG.uint8(16), 512
    bits = np.concatenate((np.ones((1, 1536), np.uint8), np.zeros((1, 1536), np.uint8)))
    c = lwe.encrypt(
        np.zeros((n, 2), np.uint32), blocks=lwe.expand(public, n), secrets=lwe.secrets(bits), seed=RNG.uint8(32)
    )
    errors = (c - public_matrix(public, n) @ bits.T.astype(np.uint32)).view(np.int32)
    assert int(np.abs(errors).max()) <= 21


def test_errors_have_the_variance_that_is_stated() -> None:
    n, w = 4096, 16
    c = lwe.encrypt(
        np.zeros((n, w), np.uint32),
        blocks=lwe.expand(RNG.uint8(16), n),
        secrets=lwe.secrets(np.zeros((w, 1536), np.uint8)),
        seed=RNG.uint8(32),
    )
    errors = c.view(np.int32).astype(float)
    assert abs(errors.var() / lwe.VARIANCE - 1) < 6 * np.sqrt(2 / c.size)
    assert abs(errors.mean()) < 6 * np.sqrt(lwe.VARIANCE / c.size)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_sums_are_those_of_numpy(of: st.DataObject) -> None:
    n, w = of.draw(st.integers(0, 700)), of.draw(st.integers(0, 37))
    sizes = of.draw(st.lists(st.integers(1, 400), min_size=1, max_size=6))
    wide = max(sizes) > 256 or of.draw(st.booleans())
    drawn = words(n, len(sizes)) % np.array(sizes, dtype=np.uint32)
    codes: NDArray[Any] = np.ascontiguousarray(drawn.astype(np.uint16 if wide else np.uint8))
    signed = of.draw(st.booleans())
    v: NDArray[Any] = (RNG.uint64(n, w).view(np.int64) >> 20) if signed else words(n, w)
    rows = None
    if n and of.draw(st.booleans()):
        rows = (words(of.draw(st.integers(0, 900))) % n).astype(np.int32)
    kept = np.arange(n) if rows is None else rows
    expected = np.zeros((sum(sizes), w), dtype=v.dtype)
    for column, start in enumerate(np.cumsum([0, *sizes[:-1]])):
        np.add.at(expected, start + codes[kept, column].astype(np.int64), v[kept])
    got = lwe.sums(codes, v, sizes, rows=rows)
    assert got.dtype == v.dtype
    assert np.array_equal(got, expected)
    lwe.add(codes, v, sizes, got, rows=rows)
    assert np.array_equal(got, expected + expected)


@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_sums_over_many_threads(dtype: type[Any]) -> None:
    """Enough rows for several parts, and all of them in one bin that wraps."""
    n = 50_001
    codes = np.zeros((n, 2), dtype=np.uint8)
    codes[:, 1] = np.arange(n) % 3
    v = np.full((n, 9), (1 << 32) - 1 if dtype == np.uint32 else -(1 << 40), dtype=dtype)
    got, each = lwe.sums(codes, v, (1, 3)), n // 3
    for bin_, count in enumerate((n, each, each, each)):
        assert np.array_equal(got[bin_], (np.full(9, count, dtype=dtype) * v[0]).astype(dtype))
    listed = lwe.sums(codes, v, (1, 3), rows=np.arange(n, dtype=np.int32)[::-1].copy())
    assert np.array_equal(got, listed)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 40), st.integers(1, 5))
def test_shares_are_of_the_product_also_in_stretches(bins: int, w: int) -> None:
    hint, delta, k, bits = words(1536, bins), RNG.uint8(16), RNG.uint8(1536 * w, 16), secrets_of(w)
    t = k ^ (bits.reshape(-1, 1) * delta)
    cut = bins // 2 // 4 * 4
    got, kept = [], []
    for first, count in ((0, cut), (cut, bins - cut)):
        if count:
            told, mine = lwe.offer(delta, k, tweak=7, hint=hint, first=first, count=count)
            kept.append(mine)
            got.append(lwe.choose(t, bits, tweak=7, messages=told, bins=bins, first=first))
    product = bits.astype(np.uint32) @ hint
    assert np.array_equal(np.concatenate(got, axis=1) - np.concatenate(kept, axis=1), product)


def test_misuse() -> None:
    public, seed, bits = RNG.uint8(16), RNG.uint8(32), secrets_of(2)
    blocks, secrets, v = lwe.expand(public, 600), lwe.secrets(bits), words(600, 2)
    codes = np.zeros((600, 2), np.uint8)
    hint, k, delta = words(1536, 8), RNG.uint8(1536, 16), RNG.uint8(16)
    told, _ = lwe.offer(delta, k, tweak=0, hint=hint, first=0, count=8)
    calls: tuple[Callable[[], object], ...] = (
        lambda: lwe.expand(RNG.uint8(17), 5),
        lambda: lwe.secrets(bits[:, 1:].copy()),
        lambda: lwe.secrets(bits * np.uint8(2)),
        lambda: lwe.encrypt(v, blocks=blocks[:1], secrets=secrets, seed=seed),
        lambda: lwe.encrypt(v, blocks=blocks, secrets=secrets[:0], seed=seed),
        lambda: lwe.encrypt(v, blocks=blocks, secrets=secrets, seed=seed[:16]),
        lambda: lwe.encrypt(v, blocks=blocks, secrets=secrets, seed=seed, first=100),
        lambda: lwe.encrypt(v[:, ::-1], blocks=blocks, secrets=secrets, seed=seed),
        lambda: lwe.encrypt(v.view(np.int32), blocks=blocks, secrets=secrets, seed=seed),  # type: ignore[arg-type]
        lambda: lwe.sums(codes.tolist(), v, (1, 1)),  # type: ignore[arg-type]
        lambda: lwe.sums(codes[:, ::-1], v, (1, 1)),
        lambda: lwe.sums(codes, v[:5], (1, 1)),
        lambda: lwe.sums(codes, v[:, ::-1], (1, 1)),
        lambda: lwe.sums(codes, v.astype(float), (1, 1)),
        lambda: lwe.sums(codes, v, (1, 1), rows=np.zeros(3, np.int64)),  # type: ignore[arg-type]
        lambda: lwe.add(codes, v, (1, 1), words(2, 3)),
        lambda: lwe.offer(delta, k[:100], tweak=0, hint=hint, first=0, count=8),
        lambda: lwe.offer(delta, k, tweak=0, hint=hint[:100], first=0, count=8),
        lambda: lwe.offer(delta, k, tweak=0, hint=hint, first=2, count=4),
        lambda: lwe.offer(delta, k, tweak=0, hint=hint, first=4, count=5),
        lambda: lwe.choose(k, bits, tweak=0, messages=told, bins=8, first=0),
        lambda: lwe.choose(k, bits[:1].copy(), tweak=0, messages=told[:, 1:], bins=8, first=0),
        lambda: lwe.choose(k, bits[:1].copy(), tweak=0, messages=told, bins=7, first=0),
    )
    for call in calls:
        with pytest.raises(UsageError):
            call()


def test_the_native_core_checks_what_the_wrapper_does() -> None:
    """A wrong length ends in an error there too, and never outside an array."""
    empty, one, out = np.zeros(0, np.uint32), np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    byte = np.zeros(1, np.uint8)
    calls: tuple[Callable[[], object], ...] = (
        lambda: _native.lwe_expand(byte, empty),
        lambda: _native.lwe_expand(RNG.uint8(16), one),
        lambda: _native.lwe_secrets(byte, empty),
        lambda: _native.lwe_encrypt(empty, empty, bytes(32), 0, one, 1, out),
        lambda: _native.lwe_encrypt(empty, empty, bytes(32), 0, one, 0, out),
        lambda: _native.lwe_add_vartime(byte, [], one, 1, None, out),
        lambda: _native.lwe_add_vartime(byte, [0, 2, 1], one, 1, None, out),
        lambda: _native.lwe_add_vartime(byte, [1, 2], one, 1, None, out),
        lambda: _native.lwe_add_vartime(byte, [0, 1], empty, 1, None, out),
        lambda: _native.lwe_hint_vartime(byte, [0, 1], RNG.uint8(16), out),
        lambda: _native.lwe_offer(bytes(16), 0, byte, empty, [1, 0, 1], one, out),
        lambda: _native.lwe_offer(bytes(16), 0, np.zeros(0, np.uint8), empty, [1, 0, 1], one, out),
        lambda: _native.lwe_choose(0, byte, byte, [1, 0, 1], one, out),
        lambda: _native.lwe_choose(0, np.zeros(0, np.uint8), byte, [1, 0, 1 << 63], one, out),
    )
    for call in calls:
        with pytest.raises((ValueError, OverflowError)):
            call()
