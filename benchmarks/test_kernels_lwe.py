"""How fast sums by bin under encryption are, in parts; for one core, set ``UNSEEN_THREADS=1``.

Figures to reach on one Zen 3 core: encryption in 15 ns an entry; 400 million (sample, feature) pairs a second of two
words, and 20 ms for 100,000 rows of 10 columns of 20 bins and 16 words. ``extra_info`` of the JSON output
(``--benchmark-json``) has nanoseconds for each entry, pair, addition or word of a transfer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpc.kernels import lwe, threads
from mpc.rng import Rng

RNG = Rng.from_seed(b"benchmarks")
ROWS, COLUMNS, BINS = 100_000, 10, 20
CODES = RNG.uint8(ROWS, COLUMNS) % np.uint8(BINS)
SIZES = (BINS,) * COLUMNS
PUBLIC, SEED, DELTA = RNG.uint8(16), RNG.uint8(32), RNG.uint8(16)

vectors = pytest.mark.parametrize("w", [2, 16])


def words(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """Uniform words."""
    return RNG.uint8(*shape, 4).view("<u4")[..., 0].copy()


def measure(benchmark: BenchmarkFixture, call: Callable[[], object], parts: int) -> None:
    """Runs `call`, which does `parts` of what is measured, and notes the time for one."""
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    benchmark.extra_info["threads"] = threads()
    benchmark.extra_info["ns_each"] = round(benchmark.stats["min"] / parts * 1e9, 3)


def test_public_matrices(benchmark: BenchmarkFixture) -> None:
    """Once for a training, by row."""
    measure(benchmark, lambda: lwe.expand(PUBLIC, ROWS), ROWS)


def test_hints(benchmark: BenchmarkFixture) -> None:
    """Once for a training, by addition of a word: there are 1536 for each row and column."""
    measure(benchmark, lambda: lwe.hint(CODES, SIZES, public=PUBLIC), ROWS * COLUMNS * lwe.DIMENSION)


@vectors
def test_encryptions(benchmark: BenchmarkFixture, w: int) -> None:
    """By entry."""
    blocks, v = lwe.expand(PUBLIC, ROWS), words(ROWS, w)
    secrets = lwe.secrets(np.unpackbits(RNG.uint8(w, lwe.DIMENSION // 8), axis=1))
    measure(benchmark, lambda: lwe.encrypt(v, blocks=blocks, secrets=secrets, seed=SEED), ROWS * w)


@vectors
@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_sums(benchmark: BenchmarkFixture, dtype: type[np.uint32] | type[np.int64], w: int) -> None:
    """By row and column, all words of it."""
    v = words(ROWS, w).astype(dtype)
    measure(benchmark, lambda: lwe.sums(CODES, v, SIZES), ROWS * COLUMNS)


def test_sums_of_listed_rows(benchmark: BenchmarkFixture) -> None:
    """A tenth of the rows, as of a small node; two exact words each."""
    v, rows = words(ROWS, 2).astype(np.int64), np.flatnonzero(RNG.uint8(ROWS) < 26).astype(np.int32)
    measure(benchmark, lambda: lwe.sums(CODES, v, SIZES, rows=rows), len(rows) * COLUMNS)


@vectors
def test_transfers(benchmark: BenchmarkFixture, w: int) -> None:
    """The sender's part, by word of a message."""
    m, k = sum(SIZES), RNG.uint8(w * lwe.DIMENSION, 16)
    hint = words(lwe.DIMENSION, m)
    call = lambda: lwe.offer(DELTA, k, tweak=0, hint=hint, first=0, count=m)  # noqa: E731
    measure(benchmark, call, w * lwe.DIMENSION * m)


@vectors
def test_choices(benchmark: BenchmarkFixture, w: int) -> None:
    """The receiver's part, by word of a message."""
    m, t = sum(SIZES), RNG.uint8(w * lwe.DIMENSION, 16)
    messages, bits = words(w, lwe.DIMENSION, m), np.unpackbits(RNG.uint8(w, lwe.DIMENSION // 8), axis=1)
    call = lambda: lwe.choose(t, bits, tweak=0, messages=messages, bins=m, first=0)  # noqa: E731
    measure(benchmark, call, w * lwe.DIMENSION * m)
