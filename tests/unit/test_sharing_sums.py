"""Additive, XOR and replicated shares: that they give the secrets back, and that too few of them say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.rng import Rng
from mpc.sharing import (
    InconsistentShares,
    additive_reconstruct,
    additive_share,
    pack,
    replicated_reconstruct,
    replicated_share,
    unpack,
    xor_reconstruct,
    xor_share,
)

Array = NDArray[Any]

WORDS = st.integers(0, 2**64 - 1)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def values(draw: st.DrawFn) -> Array:
    """Words or bits, of any shape."""
    shape = draw(SHAPES)
    n = int(np.prod(shape))
    words = np.array(draw(st.lists(WORDS, min_size=n, max_size=n)), dtype=np.uint64).reshape(shape)
    return words if draw(st.booleans()) else np.asarray(words % 2 == 1)


@settings(max_examples=80, deadline=None)
@given(secrets=values(), parties=st.integers(2, 6), seed=st.binary(max_size=2))
def test_shares_give_the_secrets(secrets: Array, parties: int, seed: bytes) -> None:
    kinds = [(xor_share, xor_reconstruct, lambda a, b: a ^ b)]
    if secrets.dtype == np.uint64:
        kinds.append((additive_share, additive_reconstruct, lambda a, b: (a + b) % 2**64))
    for share, reconstruct, plus in kinds:
        shares = share(secrets, parties, rng=Rng.from_seed(seed))
        assert shares.shape == (parties, *secrets.shape)
        assert shares.dtype == secrets.dtype
        found = reconstruct(shares)
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (secrets.dtype, secrets.shape)
        assert np.array_equal(found, secrets)
        total = [0] * secrets.size  # in plain integers, which know nothing of numpy's rules
        for row in shares.reshape(parties, -1).tolist():
            total = [plus(a, int(b)) for a, b in zip(total, row, strict=True)]
        assert total == secrets.reshape(-1).tolist()


@settings(max_examples=80, deadline=None)
@given(secrets=values(), seed=st.binary(max_size=2), data=st.data())
def test_replicated_shares_give_the_secrets(secrets: Array, seed: bytes, data: st.DataObject) -> None:
    shares = replicated_share(secrets, rng=Rng.from_seed(seed))
    assert (shares.dtype, shares.shape) == (secrets.dtype, (3, 2, *secrets.shape))
    found = replicated_reconstruct(shares)
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (secrets.dtype, secrets.shape)
    assert np.array_equal(found, secrets)
    # Two neighbours' three components are all that there are.
    i = data.draw(st.integers(0, 2))
    together = np.concatenate((shares[i], shares[(i + 1) % 3, 1:]))
    reconstruct: Callable[[Array], Array] = xor_reconstruct if secrets.dtype == np.bool_ else additive_reconstruct
    assert np.array_equal(reconstruct(together), secrets)
    if secrets.size:
        place = data.draw(st.integers(0, secrets.size - 1))
        wrong = shares.reshape(3, 2, -1).copy()
        wrong[data.draw(st.integers(0, 2)), data.draw(st.integers(0, 1)), place] ^= True
        with pytest.raises(InconsistentShares, match=f"secret {place} ") as raised:
            replicated_reconstruct(wrong.reshape(shares.shape))
        assert raised.value.index == place


def test_the_first_copy_that_differs_is_named() -> None:
    shares = replicated_share(np.zeros((2, 5), dtype=np.uint64), rng=Rng.from_seed(b"first"))
    shares[0, 1, 1, 3] += np.uint64(1)
    shares[2, 0, 1, 1] += np.uint64(1)
    with pytest.raises(InconsistentShares) as raised:
        replicated_reconstruct(shares)
    assert raised.value.index == 6


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, n=st.integers(0, 200), seed=st.binary(max_size=2))
def test_bits_come_back_from_words(shape: tuple[int, ...], n: int, seed: bytes) -> None:
    bits = Rng.from_seed(seed).uint8(*shape, n) % 2 == 1
    words = pack(bits)
    assert (words.dtype, words.shape) == (np.uint64, (*shape, -(-n // 64)))
    assert np.array_equal(unpack(words, n), bits)
    for place in np.ndindex(shape):
        number = sum(int(word) << 64 * i for i, word in enumerate(words[place]))
        assert number == sum(int(bit) << i for i, bit in enumerate(bits[place]))
    # Shares of packed bits are packed shares of the bits, and bytes do as well as words.
    shares = xor_share(words, 3, rng=Rng.from_seed(seed))
    assert np.array_equal(xor_reconstruct(unpack(shares, n)), bits)
    assert np.array_equal(unpack(np.packbits(bits, axis=-1, bitorder="little"), n), bits)


@pytest.mark.parametrize(
    ("share", "dtype", "views"),
    [
        (lambda v, rng: additive_share(v, 3, rng=rng), np.uint64, [(0, 1), (0, 2), (1, 2)]),
        (lambda v, rng: xor_share(v, 3, rng=rng), np.uint64, [(0, 1), (0, 2), (1, 2)]),
        (lambda v, rng: xor_share(v, 3, rng=rng), np.bool_, [(0, 1), (0, 2), (1, 2)]),
        (lambda v, rng: replicated_share(v, rng=rng), np.uint64, [0, 1, 2]),
        (lambda v, rng: replicated_share(v, rng=rng), np.bool_, [0, 1, 2]),
    ],
    ids=["additive", "xor words", "xor bits", "replicated words", "replicated bits"],
)
def test_what_too_few_hold_is_uniform(
    share: Callable[[Array, Rng], Array], dtype: type[np.generic], views: list[int | tuple[int, int]]
) -> None:
    """The same secret many times: two rows of three, or one party's two components, are independent and uniform."""
    n = 1 << 14
    shares = share(np.ones(n, dtype=dtype), Rng.from_seed(b"uniform"))
    for view in views:
        for shift in (0, 28, 60):  # four bits of each of the two, so 256 cells
            first, second = shares[list(view)] if isinstance(view, tuple) else shares[view]
            if dtype == np.bool_:  # of four values in a row
                first, second = (row.reshape(-1, 4) @ np.array([1, 2, 4, 8]) for row in (first, second))
            else:
                first, second = ((row >> np.uint64(shift) & np.uint64(15)).astype(np.int64) for row in (first, second))
            counts = np.bincount(16 * first + second, minlength=256)
            expected = len(first) / 256
            chi2 = ((counts - expected) ** 2 / expected).sum()
            assert 120 < chi2 < 420  # 255 degrees of freedom: six sigma on either side


def test_scalars_are_arrays_without_a_shape() -> None:
    for value in (np.uint64(2**64 - 1), np.True_):
        scalar: Any = value
        assert replicated_reconstruct(replicated_share(scalar, rng=Rng.from_seed(b"scalar"))) == value


def test_every_call_draws_anew() -> None:
    rng, zeros = Rng.from_seed(b"anew"), np.zeros(4, dtype=np.uint64)
    for share in (lambda: additive_share(zeros, 2, rng=rng), lambda: replicated_share(zeros, rng=rng)):
        assert not np.array_equal(share(), share())


def test_misuse_says_what_to_do() -> None:
    rng, words, bits = Rng.from_seed(b"misuse"), np.zeros(3, dtype=np.uint64), np.zeros(3, dtype=np.bool_)
    signed: Any = words.view(np.int64)
    a_list: Any = [1, 2]
    of_bytes: Any = np.zeros(3, dtype=np.uint8)
    as_words: Any = bits
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: additive_share(signed, 2, rng=rng), "view int64 as uint64"),
        (lambda: additive_share(as_words, 2, rng=rng), "arrays of uint64: "),
        (lambda: additive_share(a_list, 2, rng=rng), "numpy arrays"),
        (lambda: xor_share(of_bytes, 2, rng=rng), "uint64 or bool"),
        (lambda: replicated_share(signed, rng=rng), "uint64 or bool"),
        (lambda: additive_share(words, 1, rng=rng), "at least 2 parties, not 1"),
        (lambda: xor_share(bits, 0, rng=rng), "at least 2 parties, not 0"),
        (lambda: additive_reconstruct(as_words), "arrays of uint64: "),
        (lambda: additive_reconstruct(words[:1]), "a row for each"),
        (lambda: xor_reconstruct(bits[0:0]), "a row for each"),
        (lambda: xor_reconstruct(np.asarray(words.sum())), "a row for each"),
        (lambda: replicated_reconstruct(np.zeros((3, 3, 1), dtype=np.uint64)), r"\(3, 2, \*S\).*not \(3, 3, 1\)"),
        (lambda: replicated_reconstruct(words), r"\(3, 2, \*S\)"),
        (lambda: pack(of_bytes), "compare what is 0 or 1 with 1"),
        (lambda: pack(np.asarray(bits.any())), r"\(…, n\)"),
        (lambda: unpack(signed, 3), "uint64 or uint8"),
        (lambda: unpack(words, 193), "do not hold 193 bits"),
        (lambda: unpack(words, -1), "do not hold -1 bits"),
    ]
    for call, text in calls:
        with pytest.raises(UsageError, match=text):
            call()
