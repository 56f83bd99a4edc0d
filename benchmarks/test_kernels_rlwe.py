"""How fast encrypted products are, in parts; for one core, set ``UNSEEN_THREADS=1``.

Figures to reach on one Zen 3 core, for one prime and N = 8192: a transform in 80 µs, a product of values in 30 µs.
``extra_info`` of the JSON output (``--benchmark-json``) has microseconds for each transform, ciphertext or reply.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpc.kernels import rlwe, threads
from mpc.kernels.rlwe import WORD, N, Primes, Shape
from mpc.rng import Rng

RNG = Rng.from_seed(b"benchmarks")
COUNT = 8
KEY, SEED, PUBLIC = RNG.uint8(32), RNG.uint8(32), RNG.uint8(16)
MESSAGES = RNG.uint64(COUNT, N)

primes = pytest.mark.parametrize("primes", ["narrow", "wide"])


def measure(benchmark: BenchmarkFixture, call: Callable[[], object], parts: int) -> None:
    """Runs `call`, which does `parts` of what is measured, and notes the time for one."""
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    benchmark.extra_info["threads"] = threads()
    benchmark.extra_info["us_each"] = round(benchmark.stats["min"] / parts * 1e6, 1)


@primes
def test_transforms(benchmark: BenchmarkFixture, primes: Primes) -> None:
    """With the reduction of words to residues before them."""
    measure(benchmark, lambda: rlwe.lift(MESSAGES, primes=primes, plain=WORD), COUNT * len(rlwe.moduli(primes)))


@primes
def test_encryptions(benchmark: BenchmarkFixture, primes: Primes) -> None:
    def call() -> object:
        return rlwe.encrypt(MESSAGES, primes=primes, plain=WORD, key=KEY, seed=SEED, public=PUBLIC)

    measure(benchmark, call, COUNT)


@primes
@pytest.mark.parametrize("terms", [1, 33])
def test_replies(benchmark: BenchmarkFixture, primes: Primes, terms: int) -> None:
    """Between replies of one term and of 33 lie 64 products of values for each prime."""
    count = len(rlwe.moduli(primes))
    q = np.array(rlwe.moduli(primes), dtype=np.uint64)[:, None]
    forms, b, a = (RNG.uint64(n, terms, count, N) % q for n in (2, 1, 1))
    zero = RNG.uint64(count, N) % q
    shape = Shape(batches=1, vectors=1, rows=2, terms=terms, stride=1)

    def call() -> object:
        return rlwe.reply(shape, forms, (b, a), (zero, zero), primes=primes, plain=WORD, seed=SEED)

    measure(benchmark, call, shape.replies)


@primes
def test_decryptions(benchmark: BenchmarkFixture, primes: Primes) -> None:
    replies = RNG.uint8(COUNT, Shape(1, 1, 1, 1, 1).reply_bytes)
    measure(benchmark, lambda: rlwe.decrypt(replies, stride=1, primes=primes, plain=WORD, key=KEY), COUNT)


def test_slots(benchmark: BenchmarkFixture) -> None:
    measure(benchmark, lambda: rlwe.encode(MESSAGES, prime=0), COUNT)


def test_numbers_of_slots(benchmark: BenchmarkFixture) -> None:
    residues = MESSAGES % np.uint64(min(rlwe.PLAIN))
    measure(benchmark, lambda: rlwe.decode((residues, residues, residues)), COUNT)
