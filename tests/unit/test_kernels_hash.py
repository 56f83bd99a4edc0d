"""SHA-2 in batches, against FIPS 180-4's examples and the standard library."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import hash
from mpc.kernels.packing import pack, pack_rows
from tests import vectors


@pytest.mark.parametrize("vector", vectors.load("sha2")["vectors"], ids=lambda v: f"{v['name']}-{len(v['message'])}")
def test_vectors(vector: dict) -> None:
    digest = hash.batch(vector["name"], b"", pack([vector["message"]]))
    assert digest.tobytes().hex() == vector["digest"]


@settings(max_examples=60, deadline=None)
@given(prefix=st.binary(max_size=150), items=st.lists(st.binary(max_size=300), max_size=20))
@pytest.mark.parametrize("name", hash.DIGEST_BYTES)
def test_batches_agree_with_hashlib(name: hash.Name, prefix: bytes, items: list[bytes]) -> None:
    digests = hash.batch(name, prefix, pack(items))
    assert digests.shape == (len(items), hash.DIGEST_BYTES[name])
    assert [row.tobytes() for row in digests] == [hashlib.new(name, prefix + item).digest() for item in items]


@pytest.mark.parametrize("n", [0, 1, 2048, 2049, 9000])
@pytest.mark.parametrize("width", [0, 1, 8, 64])
def test_rows_are_strings_of_one_length(n: int, width: int) -> None:
    rows = np.random.default_rng(5).integers(0, 256, (n, width), dtype=np.uint8)
    digests = hash.rows("sha256", b"p", rows)
    assert np.array_equal(digests, hash.batch("sha256", b"p", pack_rows(rows)))
    for i in {0, n // 2, n - 1} if n else set():
        assert digests[i].tobytes() == hashlib.sha256(b"p" + rows[i].tobytes()).digest()


def test_misuse_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="give sha256 or sha512"):
        hash.batch("md5", b"", pack([]))
    for rows in (np.zeros((4, 4), dtype=np.int32), np.zeros(4, dtype=np.uint8), np.zeros((4, 4), np.uint8)[:, ::2]):
        with pytest.raises(UsageError, match=r"contiguous \(n, w\)"):
            hash.rows("sha256", b"", rows)
