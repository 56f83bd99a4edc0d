"""The AES counter-mode generator against NIST's vectors and another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import prg, wipe
from tests import vectors

END = 1 << 128


def another(key: bytes, block: int, size: int) -> bytes:
    """The same stream by OpenSSL."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big"))).encryptor()
    return cipher.update(bytes(size)) + cipher.finalize()


@pytest.mark.parametrize("vector", vectors.load("aes_ctr")["vectors"], ids=lambda v: v["from"])
def test_vectors(vector: dict[str, str]) -> None:
    plaintext, ciphertext = vectors.row(vector["plaintext"]), vectors.row(vector["ciphertext"])
    stream = prg.stream(bytes.fromhex(vector["key"]), len(plaintext), block=int(vector["counter"], 16))
    assert np.array_equal(stream ^ plaintext, ciphertext)


@settings(max_examples=60, deadline=None)
@given(
    key=st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32),
    block=st.integers(0, END - 1) | st.integers(END - 40, END - 1) | st.integers(2**64 - 40, 2**64 + 40),
    size=st.integers(0, 1200),
)
def test_streams_agree_with_openssl(key: bytes, block: int, size: int) -> None:
    assert prg.stream(key, size, block=block).tobytes() == another(key, block, size)


@pytest.mark.parametrize("size", [61440, 61441, 983040, 983041, 3_000_007])
def test_long_streams_are_one_stream(size: int) -> None:
    # Long outputs are cut into rows for the threads; the seams must not show.
    assert prg.stream(b"k" * 16, size, block=3).tobytes() == another(b"k" * 16, 3, size)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 100), rest=st.integers(1, 300))
def test_access_is_random(cut: int, rest: int) -> None:
    whole = prg.stream(b"k" * 32, 16 * cut + rest, block=10)
    assert np.array_equal(prg.stream(b"k" * 32, rest, block=10 + cut), whole[16 * cut :])


def test_only_what_was_asked_for_is_written() -> None:
    out = np.zeros(64, dtype=np.uint8)
    prg.fill(np.zeros(16, dtype=np.uint8), out[5:22], block=0)
    assert not out[:5].any()
    assert not out[22:].any()
    assert out[5:22].tobytes() == another(bytes(16), 0, 17)


def test_misuse_says_what_to_do() -> None:
    out, key = np.zeros(16, dtype=np.uint8), bytes(16)
    read_only = np.zeros(16, dtype=np.uint8)
    read_only.setflags(write=False)
    for call, text in (
        (lambda: prg.fill(bytes(24), out, block=0), "give 16 or 32"),
        (lambda: prg.fill(key, out, block=-1), "counted from 0"),
        (lambda: prg.fill(key, out, block=END), "counted from 0"),
        (lambda: prg.fill(key, out[::2], block=0), "contiguous"),
        (lambda: prg.fill(key, out.reshape(4, 4), block=0), r"\(m,\)"),
        (lambda: prg.fill(key, out.view(np.int8), block=0), "uint8"),
        (lambda: prg.fill(key, read_only, block=0), "writable"),
        (lambda: prg.fill(key, [0] * 16, block=0), "writable"),
    ):
        with pytest.raises(UsageError, match=text):
            call()


def test_wipe_overwrites_in_place() -> None:
    secret = np.full((4, 8), 7, dtype=np.uint8)
    view = secret[1:3]
    wipe(view)
    assert secret.sum() == 7 * 16
    wipe(secret)
    assert not secret.any()
    with pytest.raises(ValueError, match="contiguous"):
        wipe(secret[:, ::2])
    secret.setflags(write=False)
    with pytest.raises(TypeError):
        wipe(secret)


def another_permutation(key: bytes, n: int) -> list[int]:
    """Fisher and Yates by the book over the same stream, word by word."""
    words = iter(np.frombuffer(another(key, 0, 64 * n + 64), dtype="<u8").tolist())
    places = list(range(n))
    for i in range(n - 1, 0, -1):
        while (low := (product := next(words) * (i + 1)) % 2**64) < 2**64 % (i + 1):
            pass
        assert low >= 2**64 % (i + 1)
        j = product >> 64
        places[i], places[j] = places[j], places[i]
    return places


@settings(max_examples=40, deadline=None)
@given(key=st.binary(min_size=32, max_size=32), n=st.integers(0, 40) | st.integers(4090, 4110))
def test_permutations_follow_the_book(key: bytes, n: int) -> None:
    assert prg.permutation_vartime(key, n).tolist() == another_permutation(key, n)


def test_a_permutation_needs_a_key_of_the_right_length() -> None:
    with pytest.raises(UsageError, match="key is 8 bytes"):
        prg.permutation_vartime(bytes(8), 3)
