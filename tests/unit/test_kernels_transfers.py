"""What is made of correlated transfers, against the slow reference."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import transfers
from mpc.rng import Rng
from tests import vectors
from tests.reference import generate_transfers as given_by

VECTORS = vectors.load("transfers")
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]


def words(label: str, n: int) -> Words:
    return np.array(given_by.words(label, n), dtype=np.uint64)


def sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def run(label: str, n: int, bits: int, choices: Words) -> tuple[Bytes, Bytes, Bytes]:
    """Delta, k and t of bits·n transfers, value v choosing by the lowest bits of its word."""
    k = np.frombuffer(given_by.uniform(label + "k", 16 * bits * n), dtype=np.uint8).reshape(-1, 16)
    delta = np.frombuffer(given_by.uniform(label + "delta", 16), dtype=np.uint8)
    return delta, k, correlated(k, delta, bits, choices)


def correlated(k: Bytes, delta: Bytes, bits: int, choices: Words) -> Bytes:
    chosen = np.unpackbits(choices.view(np.uint8).reshape(-1, 8), axis=1, count=bits, bitorder="little")
    return k ^ (chosen.reshape(-1, 1) * delta)


@pytest.mark.parametrize("vector", VECTORS["tables"], ids=lambda v: v["label"].strip())
def test_tables(vector: dict[str, Any]) -> None:
    label, n, tweak = (vector[name] for name in ("label", "n", "tweak"))
    mine, theirs, choices = (words(label + name, n) for name in ("mine", "theirs", "choices"))
    shares = words(label + "shares", n // 2).reshape(-1, 1, 2, 16)
    delta, k, t = run(label, n, 64, choices)
    messages = transfers.offer_tables(
        delta,
        k,
        tweak=tweak,
        flips=theirs ^ choices,
        values=mine[None],
        shares=shares,
        side="left" if vector["left"] else "right",
    )
    assert sha256(messages) == vector["messages"]
    assert sha256(transfers.choose_tables(t, tweak=tweak, values=theirs, messages=messages)) == vector["received"]


@pytest.mark.parametrize("vector", VECTORS["bits"], ids=lambda v: v["label"].strip())
def test_bits(vector: dict[str, Any]) -> None:
    label, n, tweak = (vector[name] for name in ("label", "n", "tweak"))
    choices = words(label + "choices", n // 64)
    k = np.frombuffer(given_by.uniform(label + "k", 16 * n), dtype=np.uint8).reshape(-1, 16)
    delta = np.frombuffer(given_by.uniform(label + "delta", 16), dtype=np.uint8)
    assert sha256(transfers.offer_bits(delta, k, tweak=tweak)) == vector["sent"]
    t = correlated(k, delta, 64, choices)
    assert sha256(transfers.choose_bits(t, tweak=tweak)) == vector["received"]


@pytest.mark.parametrize("vector", VECTORS["products"], ids=lambda v: v["label"].strip())
def test_products(vector: dict[str, Any]) -> None:
    label, n, bits, tweak = (vector[name] for name in ("label", "n", "bits", "tweak"))
    x, y, choices = (words(label + name, n) for name in ("x", "y", "choices"))
    x &= np.uint64((1 << bits) - 1)
    delta, k, t = run(label, n, bits, choices)
    shares, messages = transfers.offer_products(
        delta, k, tweak=tweak, flips=x ^ choices, y=y, bits=bits, bitwise=vector["bitwise"]
    )
    got = transfers.choose_products(t, tweak=tweak, x=x, messages=messages, bits=bits)
    assert (sha256(shares), sha256(messages), sha256(got)) == tuple(vector[n] for n in ("sent", "messages", "received"))


@pytest.mark.parametrize("vector", VECTORS["bad_products"], ids=lambda v: v["why"])
def test_bad_products_are_refused(vector: dict[str, Any]) -> None:
    blocks, y = np.zeros((vector["blocks"], 16), dtype=np.uint8), np.zeros(vector["n"], dtype=np.uint64)
    with pytest.raises(UsageError):
        transfers.offer_products(blocks[:1].reshape(-1), blocks, tweak=0, flips=y, y=y, bits=vector["bits"])
    with pytest.raises(UsageError):
        transfers.choose_products(blocks, tweak=0, x=y, messages=np.zeros((4, 61), np.uint8), bits=vector["bits"])


@settings(max_examples=15)
@given(n=st.integers(0, 700), bits=st.integers(1, 64), bitwise=st.booleans(), seed=st.binary(max_size=8))
def test_products_add_up(n: int, bits: int, bitwise: bool, seed: bytes) -> None:  # noqa: FBT001 - drawn
    rng = Rng.from_seed(seed)
    x, y, choices = rng.uint64(n), rng.uint64(n), rng.uint64(n)
    x &= np.uint64((1 << bits) - 1)
    delta, k = rng.uint8(16), rng.uint8(bits * n, 16)
    shares, messages = transfers.offer_products(delta, k, tweak=1, flips=x ^ choices, y=y, bits=bits, bitwise=bitwise)
    assert messages.shape == (n, transfers.product_bytes(bits))
    t = correlated(k, delta, bits, choices)
    got = transfers.choose_products(t, tweak=1, x=x, messages=messages, bits=bits)
    assert np.array_equal(shares + got, x & y if bitwise else x * y)


@settings(max_examples=12)
@given(
    groups=st.integers(0, 6),
    leaves=st.integers(1, 16),
    tables=st.integers(1, 4),
    left=st.booleans(),
    seed=st.binary(max_size=8),
)
def test_tables_say_how_pieces_compare(groups: int, leaves: int, tables: int, left: bool, seed: bytes) -> None:  # noqa: FBT001 - drawn
    rng, n = Rng.from_seed(seed), 64 * groups
    mine, theirs, choices = rng.uint64(tables, n), rng.uint64(n), rng.uint64(n)
    mine[:, ::3] ^= (mine ^ theirs)[:, ::3] & np.uint64(0xFFFF_0000_00FF_FFF0)
    delta, k, shares = rng.uint8(16), rng.uint8(4 * leaves * n, 16), rng.uint64(groups, tables, 2, leaves)
    messages = transfers.offer_tables(
        delta, k, tweak=5, flips=theirs ^ choices, values=mine, shares=shares, side="left" if left else "right"
    )
    assert messages.shape == (n, tables, leaves)
    t = correlated(k, delta, 4 * leaves, choices)
    opened = shares ^ transfers.choose_tables(t, tweak=5, values=theirs, messages=messages)
    found = np.unpackbits(opened.view(np.uint8).reshape(groups, tables, 2, leaves, 8), axis=-1, bitorder="little")
    shifts = (4 * np.arange(leaves, dtype=np.uint64))[:, None]
    pieces = [(v.reshape(len(v), groups, 1, 64) >> shifts) & 15 for v in (mine, theirs[None])]
    a, b = (piece.swapaxes(0, 1) for piece in (pieces if left else pieces[::-1]))
    assert np.array_equal(found[:, :, 0], a < b)
    assert np.array_equal(found[:, :, 1], np.broadcast_to(a == b, found[:, :, 1].shape))


def test_misuse() -> None:
    word, block, shares = np.zeros(64, np.uint64), np.zeros((4096, 16), np.uint8), np.zeros((1, 1, 2, 16), np.uint64)
    good = {"tweak": 0, "flips": word, "values": word[None], "shares": shares, "side": "left"}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"flips": word[:63]}, "multiple of 64"),
        ({"values": word[None].astype(np.int64)}, "uint64"),
        ({"values": word}, "values"),
        ({"shares": shares[:, :, :1]}, "shares"),
        ({"shares": shares[:0]}, "shares"),
        ({"shares": np.zeros((1, 5, 2, 16), np.uint64)}, "shares"),
        ({"side": "above"}, "side"),
        ({"tweak": -1}, "tweak"),
        ({"tweak": 2**64 - 1}, "tweak"),
    ]
    transfers.offer_tables(block[0], block, **good)
    for change, text in wrong:
        with pytest.raises(UsageError, match=text):
            transfers.offer_tables(block[0], block, **good | change)
    with pytest.raises(UsageError, match="blocks"):
        transfers.offer_tables(block[0], block[:64], **good)
    with pytest.raises(UsageError, match="messages"):
        transfers.choose_tables(block, tweak=0, values=word, messages=np.zeros((64, 1, 17), np.uint32))
    with pytest.raises(UsageError, match="multiple of 64"):
        transfers.offer_bits(block[0], block[:65], tweak=0)
    with pytest.raises(UsageError, match="multiple of 64"):
        transfers.choose_bits(block[:65], tweak=0)
