"""Key-value stores: shapes, rows and tables against the plain reference, and how often encoding fails."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import UsageError
from mpc.kernels import EncodingFailed, okvs
from mpc.rng import Rng
from tests import vectors
from tests.reference import okvs as reference

VECTORS = vectors.load("okvs")


def blocks(seed: bytes, n: int) -> np.ndarray:
    return Rng.from_seed(seed).uint8(n, 16)


def digest(key: bytes, seed: bytes) -> bytes:
    """What bin and positions are made of."""
    u = reference.gf128.xor(key, seed)
    return reference.gf128.xor(reference.gf128.fixed(u), u)


def numbers(array: np.ndarray) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in array]


@pytest.mark.parametrize("vector", VECTORS["shapes"], ids=lambda v: str(v["n"]))
def test_shapes(vector: dict[str, int]) -> None:
    of = okvs.shape(vector["n"])
    assert (of.bins, of.capacity, of.sparse, of.dense) == tuple(vector["shape"])
    assert okvs.size(vector["n"]) == of.bins * (of.sparse + of.dense)


@pytest.mark.parametrize("vector", VECTORS["tables"], ids=lambda v: f"n={v['n']}")
def test_tables_of_the_reference_decode(vector: dict[str, str]) -> None:
    keys, table = vectors.row(vector["keys"]).reshape(-1, 16), vectors.row(vector["table"]).reshape(-1, 16)
    decoded = okvs.decode(keys, table, n=int(vector["n"]), seed=bytes.fromhex(vector["seed"]))
    assert decoded.tobytes().hex() == vector["values"]


@pytest.mark.parametrize("vector", VECTORS["bad_pairs"], ids=lambda v: v["why"])
def test_bad_pairs_are_refused(vector: dict[str, str]) -> None:
    keys, values = vectors.row(vector["keys"]).reshape(-1, 16), vectors.row(vector["values"]).reshape(-1, 16)
    with pytest.raises(UsageError, match="Two keys are equal; give each key once"):
        okvs.encode(keys, values, seed=bytes(16), rng=Rng())


@settings(max_examples=25, deadline=None)
@given(n=st.integers(0, 14), seed=st.binary(min_size=16, max_size=16), salt=st.binary(max_size=3))
def test_the_reference_decodes_our_tables(n: int, seed: bytes, salt: bytes) -> None:
    keys, values = blocks(salt + b"k", n), blocks(salt + b"v", n)
    table = okvs.encode(keys, values, seed=seed, rng=Rng.from_seed(salt))
    entries = numbers(table)
    others = blocks(salt + b"others", 5)
    both = np.concatenate([keys, others])
    decoded = [reference.decode(entries, key.tobytes(), n=n, seed=seed) for key in both]
    assert decoded[:n] == numbers(values)
    assert decoded == numbers(okvs.decode(both, table, n=n, seed=seed))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 3000), k=st.integers(0, 300), salt=st.binary(max_size=3))
def test_every_key_has_its_value_and_decoding_is_linear(n: int, k: int, salt: bytes) -> None:
    keys, values, seed = blocks(salt + b"k", n), blocks(salt + b"v", n), blocks(salt + b"s", 1)[0]
    table = okvs.encode(keys, values, seed=seed, rng=Rng())
    assert table.shape == (okvs.size(n), 16)
    assert np.array_equal(okvs.decode(keys, table, n=n, seed=seed), values)
    mask, some = blocks(salt + b"m", len(table)), blocks(salt + b"o", k)
    sums = okvs.decode(some, table, n=n, seed=seed)
    okvs.decode_into(some, mask, sums, n=n, seed=seed)
    assert np.array_equal(sums, okvs.decode(some, table ^ mask, n=n, seed=seed))


@pytest.mark.parametrize("n", [16_384, 24_575, 24_576, 40_000, 150_000])
def test_bins(n: int) -> None:
    keys, values, seed = blocks(b"k", n), blocks(b"v", n), b"s" * 16
    table = okvs.encode(keys, values, seed=seed, rng=Rng())
    decoded = okvs.decode(keys, table, n=n, seed=seed)
    assert np.array_equal(decoded, values)
    order = np.random.default_rng(n).permutation(n)
    assert np.array_equal(okvs.decode(keys[order], table, n=n, seed=seed), values[order])
    assert len(np.unique(okvs.decode(blocks(b"others", 1000), table, n=n, seed=seed), axis=0)) == 1000


def test_a_table_is_a_function_of_its_arguments() -> None:
    keys, values = blocks(b"k", 100), blocks(b"v", 100)

    def table(*, values: np.ndarray = values, seed: bytes = bytes(16), label: bytes = b"r") -> bytes:
        return okvs.encode(keys, values, seed=seed, rng=Rng.from_seed(label)).tobytes()

    assert table() == table()
    assert len({table(), table(seed=b"s" * 16), table(label=b"other"), table(values=values ^ 1)}) == 4


THREADS = """
import hashlib
from mpc.kernels import okvs
from mpc.rng import Rng
rng = Rng.from_seed(b"threads")
keys, values, seed = rng.uint8(100_000, 16), rng.uint8(100_000, 16), rng.uint8(16)
table = okvs.encode(keys, values, seed=seed, rng=rng)
print(hashlib.sha256(table).hexdigest(), hashlib.sha256(okvs.decode(values, table, n=100_000, seed=seed)).hexdigest())
"""


def test_tables_do_not_depend_on_the_number_of_threads() -> None:
    outputs = set()
    for threads in ("1", "2", "5"):
        environment = {**os.environ, "UNSEEN_THREADS": threads}
        command = [sys.executable, "-c", THREADS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 50])
def test_a_table_of_uniform_values_looks_uniform(n: int) -> None:
    # The keys stay, the values are fresh each time: every byte position of the table has to take all its values alike.
    keys, rng = blocks(b"fixed", n), Rng.from_seed(b"uniform")
    counts = np.zeros((okvs.size(n) * 16, 16))
    rounds = 1600
    for _ in range(rounds):
        table = okvs.encode(keys, rng.uint8(n, 16), seed=bytes(16), rng=rng).reshape(-1)
        counts[np.arange(len(table)), table & 15] += 1
    chi = ((counts - rounds / 16) ** 2).sum(axis=1) / (rounds / 16)
    assert chi.max() < 70  # 15 degrees of freedom: odds of 1e-8 for one position
    assert 14.5 < chi.mean() < 15.5


def test_small_sets_encode_under_every_seed() -> None:
    for n in (2, 3, 4, 7, 12, 20, 33, 60, 100, 200, 350, 500):
        keys, values, rng = blocks(b"k%d" % n, n), blocks(b"v", n), Rng.from_seed(b"seeds")
        for seed in rng.uint8(300, 16):
            okvs.encode(keys, values, seed=seed, rng=rng)


def test_a_bin_that_overflows_fails_clearly() -> None:
    # Keys that all fall into one bin are found by trying: 1 of 3.
    n = 3 * 16384
    seed = bytes(16)
    keys = blocks(b"many", 3 * n)
    low = np.array([int.from_bytes(digest(key.tobytes(), seed)[:8], "little") for key in keys], dtype=np.uint64)
    chosen = keys[low < np.uint64(2**64 // 3)][: n // 2]
    rest = keys[low >= np.uint64(2**64 // 3)][: n - len(chosen)]
    together = np.concatenate([chosen, rest])
    assert okvs.shape(len(together)).bins == 3
    with pytest.raises(EncodingFailed, match="under this seed"):
        okvs.encode(together, together, seed=seed, rng=Rng())
    okvs.encode(together, together, seed=b"another seed....", rng=Rng())


def test_misuse_says_what_to_do() -> None:
    keys, table = blocks(b"k", 5), blocks(b"t", okvs.size(5))
    read_only = np.zeros((5, 16), dtype=np.uint8)
    read_only.setflags(write=False)
    for call, text in (
        (lambda: okvs.size(-1), "split them"),
        (lambda: okvs.size(2**32), "split them"),
        (lambda: okvs.encode(keys, keys[:4], seed=bytes(16), rng=Rng()), "one row for each"),
        (lambda: okvs.encode(keys, keys, seed=bytes(8), rng=Rng()), "give 16"),
        (lambda: okvs.decode(keys, table[:-1], n=5, seed=bytes(16)), "a table for 5 keys has"),
        (lambda: okvs.decode(keys, table, n=6, seed=bytes(16)), "a table for 6 keys has"),
        (lambda: okvs.decode_into(keys, table, read_only, n=5, seed=bytes(16)), "of its own"),
        (lambda: okvs.decode_into(keys, table, keys, n=5, seed=bytes(16)), "of its own"),
        (lambda: okvs.decode(keys[:, :8], table, n=5, seed=bytes(16)), "strided"),
    ):
        with pytest.raises(UsageError, match=text):
            call()


def test_the_vectors_are_what_the_reference_says() -> None:
    vector = VECTORS["tables"][1]
    table, seed = numbers(vectors.row(vector["table"]).reshape(-1, 16)), bytes.fromhex(vector["seed"])
    keys = vectors.row(vector["keys"]).reshape(-1, 16)
    decoded = b"".join(
        reference.decode(table, key.tobytes(), n=int(vector["n"]), seed=seed).to_bytes(16, "little") for key in keys
    )
    assert decoded.hex() == vector["values"]


@settings(max_examples=15, deadline=None)
@given(n=st.integers(0, 60) | st.just(70_000), more=st.integers(0, 20), seed=st.binary(min_size=16, max_size=16))
def test_a_table_made_and_read_by_bins_is_the_same(n: int, more: int, seed: bytes) -> None:
    keys, values = blocks(seed, n + more), blocks(seed + b"v", n + more)
    whole = okvs.encode(keys[:n], values[:n], seed=seed, rng=Rng.from_seed(seed))
    pairs = okvs.arrange(keys[:n], values[:n], n=n, seed=seed)
    assert np.array_equal(pairs.keys, keys[pairs.rows])
    assert np.array_equal(pairs.values, values[pairs.rows])
    randomness = Rng.from_seed(seed).uint8(32)
    cuts = sorted({0, pairs.bins // 3, pairs.bins})
    parts = [okvs.encode_bins(pairs, a, b, randomness=randomness) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)
    asked = okvs.arrange(keys, values, n=n, seed=seed)  # of which some are not in the table
    out = np.zeros_like(keys)
    for (a, b), part in zip(itertools.pairwise(cuts), parts, strict=True):
        okvs.decode_bins(asked, a, b, parts=part, out=out)
    assert np.array_equal(out, okvs.decode(keys, whole, n=n, seed=seed)[asked.rows])


def test_misuse_of_bins_says_what_to_do() -> None:
    keys = blocks(b"k", 40_000)
    pairs = okvs.arrange(keys, keys, n=40_000, seed=bytes(16))
    rows, out = okvs.size(40_000) // pairs.bins, np.zeros_like(keys)
    randomness = bytes(32)
    for call, text in (
        (lambda: okvs.arrange(keys, keys[:5], n=5, seed=bytes(16)), "one row for each"),
        (lambda: okvs.arrange(keys, keys, n=5, seed=bytes(15)), "seed is 15 bytes"),
        (lambda: okvs.encode_bins(pairs, 0, pairs.bins + 1, randomness=randomness), "are not within"),
        (lambda: okvs.encode_bins(pairs, 1, 0, randomness=randomness), "are not within"),
        (lambda: okvs.decode_bins(pairs, 0, 1, parts=keys[: rows - 1], out=out), "1 bins have"),
        (lambda: okvs.decode_bins(pairs, 0, 1, parts=keys[:rows], out=out[:7]), "one row for each"),
        (lambda: okvs.decode_bins(pairs, 0, 1, parts=out[:rows], out=out), "shares memory"),
    ):
        with pytest.raises(UsageError, match=text):
            call()
    twice = okvs.arrange(np.concatenate([keys, keys[:1]]), np.concatenate([keys, keys[:1]]), n=40_001, seed=bytes(16))
    with pytest.raises(UsageError, match="Two keys are equal; give each key once"):
        okvs.encode_bins(twice, 0, twice.bins, randomness=np.zeros(32, dtype=np.uint8))
