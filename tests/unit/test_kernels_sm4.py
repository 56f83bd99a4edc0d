"""SM4 against the standards' examples, the slow reference, OpenSSL and gmssl."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.base import AEADEncryptionContext
from gmssl.sm4 import SM4_ENCRYPT, CryptSM4
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import InvalidTag, sm4
from tests import vectors
from tests.reference import generate_symmetric, sm3
from tests.reference import sm4 as reference

STANDARD = vectors.load("sm4")
REFERENCE = vectors.load("reference_symmetric")

keys = st.binary(min_size=16, max_size=16)
counters = st.integers(0, 2**128 - 1) | st.integers(2**32 - 40, 2**32) | st.integers(2**128 - 40, 2**128 - 1)


def another_ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    """The same by OpenSSL."""
    cipher = Cipher(algorithms.SM4(key), modes.CTR(counter)).encryptor()
    return cipher.update(data) + cipher.finalize()


def another_seal(key: bytes, nonce: bytes, plain: bytes, aad: bytes) -> bytes:
    """The same by OpenSSL."""
    cipher = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    assert isinstance(cipher, AEADEncryptionContext)
    cipher.authenticate_additional_data(aad)
    return cipher.update(plain) + cipher.finalize() + cipher.tag


def test_the_reference_against_the_standards() -> None:
    for vector in vectors.load("sm3")["vectors"]:
        assert sm3.digest(vector["message"].encode()).hex() == vector["digest"]
    for vector in STANDARD["blocks"]:
        key, plain = bytes.fromhex(vector["key"]), bytes.fromhex(vector["plain"])
        assert reference.encrypt_block(key, plain).hex() == vector["cipher"]
    for vector in STANDARD["ctr"]:
        key, counter, plain = (bytes.fromhex(vector[name]) for name in ("key", "counter", "plain"))
        assert reference.ctr(key, counter, plain).hex() == vector["cipher"]
    for vector in STANDARD["gcm"]:
        key, nonce, plain, aad = (bytes.fromhex(vector[name]) for name in ("key", "nonce", "plain", "aad"))
        assert reference.gcm_seal(key, nonce, plain, aad).hex() == vector["sealed"]


def test_blocks_of_the_standard() -> None:
    for vector in STANDARD["blocks"]:
        key, plain, cipher = (bytes.fromhex(vector[name]) for name in ("key", "plain", "cipher"))
        assert sm4.ctr(key, plain, bytes(16)).tobytes() == cipher
        other = CryptSM4()
        other.set_key(key, SM4_ENCRYPT)
        assert other.one_round(other.sk, list(plain)) == list(cipher)


@pytest.mark.parametrize("vector", [*STANDARD["ctr"], *REFERENCE["sm4_ctr"]])
def test_vectors_of_counter_mode(vector: dict[str, str]) -> None:
    key, counter, plain, cipher = (bytes.fromhex(vector[name]) for name in ("key", "counter", "plain", "cipher"))
    assert sm4.ctr(key, counter, plain).tobytes() == cipher
    assert sm4.ctr(vectors.row(vector["key"]), counter, vectors.row(vector["cipher"])).tobytes() == plain


@pytest.mark.parametrize("vector", [*STANDARD["gcm"], *REFERENCE["sm4_gcm"]])
def test_vectors_of_gcm(vector: dict[str, str]) -> None:
    key, nonce, aad, plain, sealed = (
        bytes.fromhex(vector[name]) for name in ("key", "nonce", "aad", "plain", "sealed")
    )
    assert sm4.gcm_seal(key, nonce, plain, aad).tobytes() == sealed
    assert sm4.gcm_open(key, nonce, sealed, aad).tobytes() == plain


@pytest.mark.parametrize("vector", REFERENCE["bad_sm4_gcm"], ids=lambda vector: vector["why"])
def test_what_was_changed_does_not_open(vector: dict[str, str]) -> None:
    key, nonce, sealed, aad = (bytes.fromhex(vector[name]) for name in ("key", "nonce", "sealed", "aad"))
    with pytest.raises(InvalidTag):
        sm4.gcm_open(key, nonce, sealed, aad)


def test_the_written_vectors_are_what_the_reference_says() -> None:
    assert generate_symmetric.PATH.read_text(encoding="utf-8") == generate_symmetric.document()


@settings(max_examples=60, deadline=None)
@given(key=keys, counter=counters, data=st.binary(max_size=1500))
def test_counter_mode_agrees_with_openssl(key: bytes, counter: int, data: bytes) -> None:
    block = counter.to_bytes(16, "big")
    assert sm4.ctr(key, block, data).tobytes() == another_ctr(key, block, data)


@settings(max_examples=60, deadline=None)
@given(
    key=keys,
    nonce=st.binary(min_size=12, max_size=12),
    plain=st.binary(max_size=1500),
    aad=st.binary(max_size=100),
    bit=st.integers(0),
)
def test_gcm_agrees_with_openssl_and_opens(key: bytes, nonce: bytes, plain: bytes, aad: bytes, bit: int) -> None:
    sealed = sm4.gcm_seal(key, nonce, plain, aad)
    assert sealed.tobytes() == another_seal(key, nonce, plain, aad)
    assert sm4.gcm_open(key, nonce, sealed, aad).tobytes() == plain
    bit %= 8 * len(sealed)
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidTag):
        sm4.gcm_open(key, nonce, sealed, aad)


@pytest.mark.parametrize("size", [65535, 65536, 65537, 1_100_001])
def test_long_texts_are_one_stream(size: int) -> None:
    # Long texts are cut into rows for the threads; the seams must not show.
    data = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    counter = (2**32 - 100).to_bytes(16, "big")
    assert sm4.ctr(b"k" * 16, counter, data).tobytes() == another_ctr(b"k" * 16, counter, data.tobytes())


def test_misuse_says_what_to_do() -> None:
    key, nonce, data = bytes(16), bytes(12), np.zeros(32, dtype=np.uint8)
    for call, text in (
        (lambda: sm4.ctr(bytes(32), bytes(16), data), "give 16"),
        (lambda: sm4.ctr(key, bytes(12), data), "counter must be 16 bytes"),
        (lambda: sm4.ctr(key, bytes(16), data[::2]), "contiguous"),
        (lambda: sm4.ctr(key, bytes(16), data.view(np.int8)), "uint8"),
        (lambda: sm4.gcm_seal(key, bytes(16), data), "nonce must be 12 bytes"),
        (lambda: sm4.gcm_seal(key, nonce, data.reshape(4, 8)), r"\(m,\)"),
        (lambda: sm4.gcm_open(key, nonce, data, [0]), "aad must be bytes"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
