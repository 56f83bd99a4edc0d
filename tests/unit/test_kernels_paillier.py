"""Paillier's encryption against the slow reference, against python-paillier, and against what is no ciphertext."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, paillier
from mpc.kernels.paillier import PrivateKey, PublicKey
from mpc.rng import Rng
from tests import vectors
from tests.reference import generate_paillier
from tests.reference import paillier as reference

VECTORS = vectors.load("paillier")
KEY = PrivateKey(int(VECTORS["p"], 16), int(VECTORS["q"], 16))
PUBLIC = KEY.public
N = PUBLIC.n

BOTH_KEYS = pytest.mark.parametrize("key", [PUBLIC, KEY], ids=["public", "private"])


def rows(numbers: list[int], width: int) -> np.ndarray:
    text = b"".join(number.to_bytes(width, "little") for number in numbers)
    return np.frombuffer(text, dtype=np.uint8).reshape(len(numbers), width).copy()


def ciphers(numbers: list[int]) -> np.ndarray:
    return rows(numbers, PUBLIC.cipher_bytes)


def numbers(array: np.ndarray) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in array]


def encrypted(values: list[int], rng: Rng) -> np.ndarray:
    plain = paillier.encode(PUBLIC, values)
    return paillier.encrypt(KEY, plain, rng.uint8(len(values), PUBLIC.random_bytes))


def test_the_written_vectors_are_what_the_reference_says() -> None:
    assert generate_paillier.PATH.read_text(encoding="utf-8") == generate_paillier.document()


@BOTH_KEYS
def test_encryptions(key: PublicKey | PrivateKey) -> None:
    m, r, c = ([int(vector[name], 16) for vector in VECTORS["encryptions"]] for name in "mrc")
    plain = rows(m, PUBLIC.plain_bytes)
    assert numbers(paillier.encrypt(key, plain, rows(r, PUBLIC.random_bytes))) == c
    # Randomness counts modulo n.
    assert numbers(paillier.encrypt(key, plain, rows([x + 5 * N for x in r], PUBLIC.random_bytes))) == c
    assert np.array_equal(paillier.decrypt(KEY, ciphers(c)), plain)


@pytest.mark.parametrize("vector", VECTORS["combinations"], ids=lambda v: v["weights"][0])
def test_combinations(vector: dict) -> None:
    c, addend = ciphers([int(x, 16) for x in vector["ciphertexts"]]), ciphers([int(vector["addend"], 16)])
    weights = np.array([[int(w, 16) for w in vector["weights"]]], dtype=np.uint64)
    assert numbers(paillier.combine(PUBLIC, c, weights, addend)) == [int(vector["result"], 16)]


@pytest.mark.parametrize("vector", VECTORS["bad_ciphertexts"], ids=lambda v: v["why"])
def test_bad_ciphertexts(vector: dict) -> None:
    good = int(VECTORS["encryptions"][1]["c"], 16)
    try:
        both = ciphers([good, int(vector["c"], 16)])
    except OverflowError:
        pytest.fail("the vector does not fit into a ciphertext")
    for refuse in (lambda: paillier.check(PUBLIC, both), lambda: paillier.decrypt(KEY, both)):
        with pytest.raises(InvalidEncoding) as caught:
            refuse()
        assert caught.value.index == 1


@settings(max_examples=5)
@given(st.data())
def test_everything_agrees_with_the_definition(data: st.DataObject) -> None:
    edges = st.sampled_from([0, 1, N - 1, N // 2, PUBLIC.largest])
    m = data.draw(st.lists(edges | st.integers(0, N - 1), min_size=1, max_size=3))
    r = data.draw(st.lists(st.integers(1, N - 1), min_size=len(m), max_size=len(m)))
    c = [reference.encrypt(N, *pair) for pair in zip(m, r, strict=True)]
    assert numbers(paillier.encrypt(KEY, rows(m, PUBLIC.plain_bytes), rows(r, PUBLIC.random_bytes))) == c
    assert numbers(paillier.decrypt(KEY, ciphers(c))) == m
    weights = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=len(m), max_size=len(m)))
    combined = paillier.combine(PUBLIC, ciphers(c), np.array([weights], dtype=np.uint64), ciphers(c[:1]))
    assert numbers(combined) == [reference.combine(N, c, weights, c[0])]
    expected = (m[0] + sum(a * b for a, b in zip(m, weights, strict=True))) % N
    assert (
        numbers(paillier.decrypt(KEY, combined)) == [expected] == [reference.decrypt(KEY.p, KEY.q, *numbers(combined))]
    )


def test_python_paillier_reads_what_we_write_and_we_what_it_writes() -> None:
    phe = pytest.importorskip("phe", reason="python-paillier is not installed")
    theirs_public = phe.PaillierPublicKey(N)
    theirs = phe.PaillierPrivateKey(theirs_public, KEY.p, KEY.q)
    values = [0, 1, -1, 2**63, -(2**64), PUBLIC.largest, -PUBLIC.largest]
    assert PUBLIC.largest == theirs_public.max_int
    ours = numbers(encrypted(values, Rng.from_seed(b"phe")))
    assert [theirs.decrypt(phe.EncryptedNumber(theirs_public, c, 0)) for c in ours] == values
    c = [theirs_public.encrypt(value).ciphertext() for value in values]
    assert paillier.decode(PUBLIC, paillier.decrypt(KEY, ciphers(c))) == values
    r = 0x1234567
    assert numbers(paillier.encrypt(PUBLIC, rows([7], PUBLIC.plain_bytes), rows([r], PUBLIC.random_bytes))) == [
        theirs_public.raw_encrypt(7, r)
    ]
    both = theirs_public.encrypt(20) * 3 - 100
    assert paillier.decode(PUBLIC, paillier.decrypt(KEY, ciphers([both.ciphertext()]))) == [-40]
    assert PrivateKey(theirs.p, theirs.q).public == PUBLIC  # either library may have called p what the other calls q


def test_keys() -> None:
    key = paillier.generate()
    assert key.public.n.bit_length() == 2048
    assert paillier.decode(key.public, paillier.decrypt(key, encrypt_with(key, [-5, 9]))) == [-5, 9]
    assert str(key.p) not in repr(key)
    with pytest.raises(UsageError, match="can be factored; take 2048"):
        PublicKey(N >> 1024)
    with pytest.raises(UsageError, match="can be factored"):
        PrivateKey(2**511 + 111, 2**511 + 187)
    with pytest.raises(UsageError, match="multiple of 128"):
        PublicKey(N << 1 | 1)
    with pytest.raises(UsageError, match="n is odd"):
        PublicKey(N - 1)
    with pytest.raises(UsageError, match="same length"):
        PrivateKey(KEY.p, KEY.q >> 1)
    for p, q in ((KEY.p, KEY.p), (KEY.p, KEY.q - 2), (KEY.p + 2, KEY.q)):
        with pytest.raises(UsageError, match="no Paillier key|multiple of 128") as caught:
            PrivateKey(p, q)
        assert str(p) not in str(caught.value)
    for bits in (1024, 2047, 2050):
        with pytest.raises(UsageError, match="at least 2048"):
            paillier.generate(bits)


def encrypt_with(key: PrivateKey, values: list[int]) -> np.ndarray:
    plain = paillier.encode(key.public, values)
    return paillier.encrypt(key.public, plain, Rng().uint8(len(values), key.public.random_bytes))


def test_misuse() -> None:
    plain, random = PUBLIC.plain_bytes, PUBLIC.random_bytes
    one = np.ones((1, random), dtype=np.uint8)
    with pytest.raises(UsageError, match="third of the modulus"):
        paillier.encode(PUBLIC, [PUBLIC.largest + 1])
    with pytest.raises(UsageError, match="overflowed"):
        paillier.decode(PUBLIC, rows([N // 2], plain))
    for key in (PUBLIC, KEY):
        with pytest.raises(UsageError, match="below n"):
            paillier.encrypt(key, rows([N], plain), one)
        with pytest.raises(UsageError, match="not be zero"):
            paillier.encrypt(key, rows([0], plain), np.zeros_like(one))
        with pytest.raises(UsageError, match="randomness"):
            paillier.encrypt(key, rows([0], plain), one[:, :-1].copy())
    c = encrypted([1, 2], Rng())
    for weights in (
        np.ones((1, 2), dtype=np.int64),
        np.ones((2, 1), dtype=np.uint64),
        np.ones((1, 4), np.uint64)[:, ::2],
    ):
        with pytest.raises(UsageError, match="weights is"):
            paillier.combine(PUBLIC, c, weights, c[:1])
    with pytest.raises(UsageError, match="ciphertexts"):
        paillier.decrypt(KEY, c[:, :-1].copy())


def test_empty_batches() -> None:
    none = ciphers([])
    assert paillier.decrypt(KEY, none).shape == (0, PUBLIC.plain_bytes)
    assert encrypted([], Rng()).shape == (0, PUBLIC.cipher_bytes)
    paillier.check(PUBLIC, none)
    addend = encrypted([3], Rng())
    assert np.array_equal(paillier.combine(PUBLIC, none, np.zeros((1, 0), dtype=np.uint64), addend), addend)


def test_ciphertexts_do_not_depend_on_what_they_hold() -> None:
    """Of one plaintext many different ones, whose bits are half ones."""
    c = encrypted([42] * 40, Rng.from_seed(b"uniform"))
    assert len(set(numbers(c))) == 40
    ones = np.unpackbits(c).mean()
    assert abs(ones - 0.5) < 5 / (2 * np.sqrt(c.size * 8))
