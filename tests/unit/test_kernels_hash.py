"""SHA-2 and SM3 in batches, against the standards' examples and the standard library."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from gmssl import sm3 as gmssl
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import hash
from mpc.kernels.packing import pack, pack_rows
from tests import vectors


def another(name: hash.Name, message: bytes) -> bytes:
    """The same digest by OpenSSL: by cryptography's own where the interpreter's may lack SM3."""
    if name == "sm3":
        digest = hashes.Hash(hashes.SM3())
        digest.update(message)
        return digest.finalize()
    return hashlib.new(name, message).digest()


@pytest.mark.parametrize(
    "vector",
    [*vectors.load("sha2")["vectors"], *vectors.load("sm3")["vectors"]],
    ids=lambda v: f"{v['name']}-{len(v['message'])}",
)
def test_vectors(vector: dict) -> None:
    digest = hash.batch(vector["name"], b"", pack([vector["message"]]))
    assert digest.tobytes().hex() == vector["digest"]


@pytest.mark.parametrize("vector", vectors.load("reference_symmetric")["sm3"], ids=lambda v: len(v["message"]) // 2)
def test_vectors_of_the_reference(vector: dict[str, str]) -> None:
    message = bytes.fromhex(vector["message"])
    # Nine strings: eight that are hashed at once, and one.
    digests = hash.batch("sm3", message[:7], pack([message[7:]] * 9))
    assert {digest.tobytes().hex() for digest in digests} == {vector["digest"]}
    assert gmssl.sm3_hash(list(message)) == vector["digest"]


@settings(max_examples=60, deadline=None)
@given(prefix=st.binary(max_size=150), items=st.lists(st.binary(max_size=300), max_size=20))
@pytest.mark.parametrize("name", hash.DIGEST_BYTES)
def test_batches_agree_with_hashlib(name: hash.Name, prefix: bytes, items: list[bytes]) -> None:
    digests = hash.batch(name, prefix, pack(items))
    assert digests.shape == (len(items), hash.DIGEST_BYTES[name])
    assert [row.tobytes() for row in digests] == [another(name, prefix + item) for item in items]


@settings(max_examples=30, deadline=None)
@given(parts=st.lists(st.binary(max_size=200), max_size=6))
@pytest.mark.parametrize("name", hash.DIGEST_BYTES)
def test_one_string_in_parts(name: hash.Name, parts: list[bytes]) -> None:
    hasher = hash.new(name)
    for i, part in enumerate(parts):
        hasher.update(part)
        assert hasher.digest() == another(name, b"".join(parts[: i + 1]))
    assert hash.digest(name, b"".join(parts)) == hasher.digest()


def test_the_bytes_of_arrays_are_hashed() -> None:
    rows = np.arange(12, dtype=np.uint64).reshape(3, 4)
    for name in hash.DIGEST_BYTES:
        hasher = hash.new(name)
        hasher.update(rows.data)
        assert hasher.digest() == another(name, rows.tobytes())


@pytest.mark.parametrize("n", [0, 1, 2048, 2049, 9000])
@pytest.mark.parametrize("width", [0, 1, 8, 64])
def test_rows_are_strings_of_one_length(n: int, width: int) -> None:
    rows = np.random.default_rng(5).integers(0, 256, (n, width), dtype=np.uint8)
    digests = hash.rows("sha256", b"p", rows)
    assert np.array_equal(digests, hash.batch("sha256", b"p", pack_rows(rows)))
    for i in {0, n // 2, n - 1} if n else set():
        assert digests[i].tobytes() == hashlib.sha256(b"p" + rows[i].tobytes()).digest()


def test_misuse_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="sha256, sha512, sm3"):
        hash.batch("md5", b"", pack([]))
    wrong = (np.zeros((4, 4), dtype=np.int32), np.zeros(4, dtype=np.uint8), np.zeros((4, 4), np.uint8)[:, ::2], [1, 2])
    for rows in wrong:
        with pytest.raises(UsageError, match=r"contiguous \(n, w\)"):
            hash.rows("sha256", b"", rows)


def test_columns_are_not_taken_for_rows() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with pytest.raises(ValueError, match="rows must be C-contiguous"):
        _native.hash_rows("sha256", b"", np.asfortranarray(rows))


@pytest.mark.parametrize("n", [2**44, 2**60])
def test_an_answer_that_no_memory_holds_is_an_ordinary_error(n: int) -> None:
    # Rows without columns take no memory, their digests do. An error of the core itself would be no `Exception`.
    with pytest.raises((MemoryError, ValueError)):
        hash.rows("sha256", b"", np.zeros((n, 0), dtype=np.uint8))
