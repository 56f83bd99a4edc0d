"""Encrypted products against their slow reference, and what must hold for any of them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import rlwe
from mpc.kernels.rlwe import PLAIN, SINGLE, SINGLE_PRIME, WORD, N, Shape
from mpc.rng import Rng
from tests import vectors
from tests.reference import rlwe as reference
from tests.reference.generate_rlwe import signed, words

Words = NDArray[np.uint64]
VECTORS = vectors.load("rlwe")


def digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def array(values: list[int]) -> Words:
    return np.array([value % (1 << 64) for value in values], dtype=np.uint64)


@pytest.mark.parametrize("vector", VECTORS["products"], ids=lambda v: v["label"])
def test_products(vector: dict[str, Any]) -> None:
    primes, plain, stride = vector["primes"], vector["plain"], vector["stride"]
    key, seed, public, fresh = (vectors.row(vector[name]) for name in ("key", "seed", "public", "reply_seed"))
    label, t = vector["label"], 1 << 64 if plain == WORD else PLAIN[plain]
    message = array([x % t for x in words(f"{label} message")])
    multiplier = array([x if plain == WORD else x % t for x in signed(words(f"{label} multiplier"), vector["bits"])])

    messages = np.stack([np.zeros(N, np.uint64), message])
    sealed = rlwe.encrypt(messages, primes=primes, plain=plain, key=key, seed=seed, public=public)
    assert [f"{b[0, 0]:x}" for b in sealed] == vector["sealed_begins"]
    assert [digest(b) for b in sealed] == vector["sealed"]
    a = rlwe.expand(public, 2, primes=primes)
    assert [digest(side) for side in a] == vector["a"]
    lifted = rlwe.lift(multiplier[None], primes=primes, plain=plain)
    assert digest(lifted) == vector["lifted"]

    shape = Shape(1, 1, 1, 1, stride)
    replies = rlwe.reply(shape, lifted, (sealed[1], a[1]), (sealed[0], a[0]), primes=primes, plain=plain, seed=fresh)
    assert digest(replies) == vector["reply"]
    masks = rlwe.masks(shape, plain=plain, seed=fresh)
    assert digest(masks) == vector["masks"]
    opened = rlwe.decrypt(replies, stride=stride, primes=primes, plain=plain, key=key)
    assert digest(opened) == vector["opened"]


@pytest.mark.parametrize("vector", VECTORS["slots"], ids=lambda v: v["slots"])
def test_slots(vector: dict[str, Any]) -> None:
    slots = array(signed(words(vector["slots"]), 64))[None]
    assert [digest(rlwe.encode(slots, prime=i)) for i in range(3)] == vector["coefficients"]
    r0, r1, r2 = (
        array([x % t for x in words(label)])[None] for label, t in zip(vector["residues"], PLAIN, strict=True)
    )
    assert digest(rlwe.decode((r0, r1, r2))) == vector["decoded"]


def test_slots_of_the_single_prime_multiply() -> None:
    """What goes there comes back; products of polynomials are those of slots, by the reference's transform."""
    rng, t = Rng.from_seed(b"single"), SINGLE_PRIME
    x = rng.uint64(2, N)
    coefficients = rlwe.encode(x, prime=SINGLE)
    assert [reference.forward([int(c) for c in row], t) for row in coefficients] == (x.view(np.int64) % t).tolist()
    assert np.array_equal(rlwe.slots(coefficients, prime=SINGLE), (x.view(np.int64) % t).view(np.uint64))


@pytest.mark.parametrize("vector", VECTORS["bad_residues"], ids=lambda v: v["why"])
def test_bad_residues(vector: dict[str, Any]) -> None:
    count = len(rlwe.moduli(vector["primes"]))
    b = np.array(rlwe.moduli(vector["primes"]), dtype=np.uint64)[None, :, None] - np.ones((2, count, N), np.uint64)
    assert rlwe.are_residues(b, primes=vector["primes"])
    b[1, vector["place"][0], vector["place"][1]] = int(vector["value"], 16)
    assert not rlwe.are_residues(b, primes=vector["primes"])


def test_the_moduli_are_primes_that_have_the_roots() -> None:
    for p in (*rlwe.NARROW, *rlwe.WIDE, *PLAIN, SINGLE_PRIME):
        assert p % (2 * N) == 1
        assert all(pow(base, p - 1, p) == 1 for base in (2, 3, 5, 7, 11, 13))
        assert reference.psi(p)
    assert np.prod([float(p) for p in rlwe.NARROW]) < 2.0**186
    assert np.prod([float(p) for p in rlwe.WIDE]) < 2.0**212


def multiply(
    terms: list[tuple[Words, Words]], *, primes: rlwe.Primes, plain: int, stride: int, rng: Rng
) -> tuple[Words, bytes, bytes]:
    """The product that comes out, the reply, and the key."""
    key, public, seed = rng.uint8(32), rng.uint8(16), rng.uint8(32)
    messages = np.stack([np.zeros(N, np.uint64), *(message for message, _ in terms)])
    sealed = rlwe.encrypt(messages, primes=primes, plain=plain, key=key, seed=rng.uint8(32), public=public)
    a = rlwe.expand(public, len(messages), primes=primes)
    shape = Shape(1, 1, 1, len(terms), stride)
    lifted = rlwe.lift(np.stack([polynomial for _, polynomial in terms]), primes=primes, plain=plain)
    replies = rlwe.reply(shape, lifted, (sealed[1:], a[1:]), (sealed[0], a[0]), primes=primes, plain=plain, seed=seed)
    opened = rlwe.decrypt(replies, stride=stride, primes=primes, plain=plain, key=key)
    return opened[0] - rlwe.masks(shape, plain=plain, seed=seed)[0], replies.tobytes(), key.tobytes()


@settings(max_examples=8)
@given(
    wide=st.booleans(),
    stride=st.sampled_from([1, 8, 8192]),
    places=st.lists(st.tuples(st.integers(0, N - 1), st.integers(-(1 << 63), (1 << 63) - 1)), max_size=3),
    terms=st.integers(1, 3),
    seed=st.binary(max_size=8),
)
def test_any_product_of_words(
    *, wide: bool, stride: int, places: list[tuple[int, int]], terms: int, seed: bytes
) -> None:
    rng = Rng.from_seed(seed)
    expected, factors = np.zeros(N, np.uint64), []
    for _ in range(terms):
        message, polynomial = rng.uint64(N), np.zeros(N, np.uint64)
        for place, value in places:
            small = np.int64(value if wide else value >> 24).view(np.uint64)
            polynomial[place] += small
            expected += small * np.concatenate([np.negative(message[N - place :]), message[: N - place]])
        factors.append((message, polynomial))
    product, _, _ = multiply(factors, primes="wide" if wide else "narrow", plain=WORD, stride=stride, rng=rng)
    assert np.array_equal(product, expected[stride - 1 :: stride])


@pytest.mark.parametrize(
    ("primes", "plain", "bits"), [("narrow", WORD, 53), ("wide", WORD, 64), ("narrow", 0, 60), ("narrow", SINGLE, 59)]
)
def test_noise_stays_within_its_bound(primes: rlwe.Primes, plain: int, bits: int) -> None:
    """The largest multipliers, all of one sign, and messages of one number, so that whatever adds up does."""
    rng = Rng.from_seed(b"noise" + primes.encode())
    t = {WORD: 1 << 64, SINGLE: SINGLE_PRIME}.get(plain) or PLAIN[plain]
    largest = (1 << (bits - 1)) - 1 if plain == WORD else t // 2
    polynomial = np.full(N, largest, dtype=np.uint64)
    message = np.full(N, t // 3, dtype=np.uint64)
    _, replies, key = multiply([(message, polynomial)] * 2, primes=primes, plain=plain, stride=1, rng=rng)
    _, noise = reference.decrypt(plain, key, replies, 1)
    # Flooding takes up to half of what there is, the rounding of the a side up to an eighth, the rest next to nothing.
    assert 0.45 < max(noise) < 0.5 + 0.13
    assert rlwe.flooding_bits(primes, plain, bits=bits, terms=2, products=2 * N) > rlwe.FLOODING_BITS


def test_what_flooding_hides_is_as_small_as_it_says() -> None:
    """The noise of a reply's phase before flooding, from two replies that differ in nothing but the polynomial."""
    rng = Rng.from_seed(b"difference")
    key, public, seed = rng.uint8(32), rng.uint8(16), rng.uint8(32)
    messages = np.zeros((2, N), np.uint64)
    sealed = rlwe.encrypt(messages, primes="narrow", plain=WORD, key=key, seed=rng.uint8(32), public=public)
    a = rlwe.expand(public, 2, primes="narrow")
    phases = []
    for value in (0, (1 << 52) - 1):
        polynomial = np.full((1, N), value, dtype=np.uint64)
        lifted = rlwe.lift(polynomial, primes="narrow", plain=WORD)
        zero = (sealed[0], a[0])
        replies = rlwe.reply(
            Shape(1, 1, 1, 1, 1), lifted, (sealed[1], a[1]), zero, primes="narrow", plain=WORD, seed=seed
        )
        opened, noise = reference.decrypt(WORD, key.tobytes(), replies.tobytes(), 1)
        phases.append((opened, np.array(noise)))
    # Masks and flooding are the same; so what is left of the difference is the product's noise and the rounding of the
    # a side, at most 8192 of 2^-80.
    assert phases[0][0] == phases[1][0]
    assert np.abs(phases[0][1] - phases[1][1]).max() < 8192 / (1 << 15) + 2.0**-rlwe.FLOODING_BITS


def test_replies_look_uniform() -> None:
    """A reply to the zero polynomial tells a side and b side that look like those to any other."""
    rng = Rng.from_seed(b"uniform")
    for value in (0, 1, 3 << 60):
        polynomial = np.zeros(N, np.uint64)
        polynomial[0] = value
        _, replies, _ = multiply([(np.zeros(N, np.uint64), polynomial)], primes="wide", plain=WORD, stride=1, rng=rng)
        data = np.frombuffer(replies, np.uint8).reshape(-1, rlwe.REPLY_BYTES)
        for column in data.T:
            counts = np.bincount(column, minlength=256)
            expected = len(column) / 256
            assert np.sum((counts - expected) ** 2) / expected < 255 + 8 * np.sqrt(2 * 255)


def test_masks_and_plaintexts_of_one_seed_are_uniform_and_independent() -> None:
    shape = Shape(4, 1, 2, 1, 1)
    seed = Rng.from_seed(b"masks").uint8(32)
    words_ = rlwe.masks(shape, plain=WORD, seed=seed)
    assert words_.shape == (8, N)
    ones = np.unpackbits(words_.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0)
    assert np.all(np.abs(ones - words_.size / 2) < 6 * np.sqrt(words_.size / 4))
    assert len(np.unique(words_)) == words_.size
    for plain, t in (*enumerate(PLAIN), (SINGLE, SINGLE_PRIME)):
        residues = rlwe.masks(shape, plain=plain, seed=seed)
        assert residues.max() < t
        counts = np.bincount((residues.astype(np.float64) / t * 64).astype(np.int64).reshape(-1), minlength=64)
        expected = residues.size / 64
        assert np.sum((counts - expected) ** 2) / expected < 63 + 8 * np.sqrt(2 * 63)


def test_another_key_decrypts_to_something_else() -> None:
    rng = Rng.from_seed(b"keys")
    polynomial = np.zeros(N, np.uint64)
    polynomial[0] = 1
    _, replies, key = multiply([(rng.uint64(N), polynomial)], primes="wide", plain=WORD, stride=1, rng=rng)
    data = np.frombuffer(replies, np.uint8).reshape(1, -1)
    one = rlwe.decrypt(data, stride=1, primes="wide", plain=WORD, key=np.frombuffer(key, np.uint8))
    other = rlwe.decrypt(data, stride=1, primes="wide", plain=WORD, key=rng.uint8(32))
    assert not np.any(one == other)


def test_misuse_is_told() -> None:
    key, public = np.zeros(32, np.uint8), np.zeros(16, np.uint8)
    plain: dict[str, Any] = {"primes": "narrow", "plain": WORD}
    good = np.zeros((1, N), np.uint64)
    with pytest.raises(UsageError, match="give a contiguous array"):
        rlwe.encrypt(good[:, ::2], key=key, seed=key, public=public, **plain)
    with pytest.raises(UsageError, match="give a numpy array of uint64"):
        rlwe.lift(good.view(np.int64), **plain)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="key is 31 bytes"):
        rlwe.encrypt(good, key=key[:31], seed=key, public=public, **plain)
    with pytest.raises(UsageError, match=r"public has shape \(32,\)"):
        rlwe.expand(key, 1, primes="narrow")
    with pytest.raises(UsageError, match="choose narrow or wide"):
        rlwe.expand(public, 1, primes="broad")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="replies has shape"):
        rlwe.decrypt(np.zeros((1, 5), np.uint8), stride=1, key=key, **plain)
    with pytest.raises(UsageError, match="give \\(…, 4"):
        rlwe.are_residues(good, primes="wide")
    zero = np.zeros((3, N), np.uint64)
    for shape in (Shape(1, 1, 1, 2, 1), Shape(1, 2, 1, 1, 1)):
        with pytest.raises(ValueError, match="one "):
            rlwe.reply(shape, zero, (zero, zero), (zero, zero), seed=key, **plain)
    with pytest.raises(ValueError, match="fewer than 2"):
        _native.rlwe_masks(WORD, [1 << 32, 1 << 32, 1, 1, 1], bytes(32), np.empty(0, np.uint64))
    row, short, out = good[0], good[0, 1:], np.zeros(N, np.uint64)
    for native in (
        lambda: _native.rlwe_lift(True, WORD, short, out),
        lambda: _native.rlwe_expand(True, public, out),
        lambda: _native.rlwe_encode(0, short, out),
        lambda: _native.rlwe_decode([row, row, short], out),
        lambda: _native.rlwe_decrypt(True, WORD, 8, bytes(32), key, out),
    ):
        with pytest.raises(ValueError, match="polynomials|ciphertexts|room"):
            native()
    with pytest.raises(ValueError, match="a power of two"):
        rlwe.masks(Shape(1, 1, 1, 1, 3), plain=WORD, seed=key)
    with pytest.raises(ValueError, match="0, 1, 2 or 4"):
        rlwe.encode(good, prime=WORD)
