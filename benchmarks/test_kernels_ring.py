"""How fast the ring of shares and bit planes are; for one core, set ``UNSEEN_THREADS=1``.

``extra_info`` of the JSON output (``--benchmark-json``) has millions of words a second, of products of matrices
millions of multiplications.
"""

from __future__ import annotations

from typing import Literal

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_kernels_transfers import RNG, measure
from mpc.kernels import bits, ring

N = 1 << 18


@pytest.mark.parametrize("kind", ["add", "xor"])
def test_mask(benchmark: BenchmarkFixture, kind: Literal["add", "xor"]) -> None:
    words, at = RNG.uint64(N), ring.Place(RNG.uint8(16), 0)
    measure(benchmark, N, lambda: ring.mask(words, kind, at))


@pytest.mark.parametrize("kind", ["multiply", "and"])
def test_product(benchmark: BenchmarkFixture, kind: Literal["multiply", "and"]) -> None:
    x, y, out = RNG.uint64(2, N), RNG.uint64(2, N), RNG.uint64(N)
    plus, minus = ring.Place(RNG.uint8(16), 0), ring.Place(RNG.uint8(16), 0)
    measure(benchmark, N, lambda: ring.product(kind, x, y, out, plus=plus, minus=minus))


@pytest.mark.parametrize("shape", [(512, 512, 512), (4096, 512, 1), (4096, 64, 16)], ids=str)
def test_matmul(benchmark: BenchmarkFixture, shape: tuple[int, int, int]) -> None:
    n, m, p = shape
    a, b, sums = RNG.uint64(n, m), RNG.uint64(m, p), RNG.uint64(n, p)
    measure(benchmark, n * m * p, lambda: ring.matmul(a, b, sums))


def test_planes(benchmark: BenchmarkFixture) -> None:
    words = RNG.uint64(N)
    measure(benchmark, N, lambda: bits.planes(words))


def test_words(benchmark: BenchmarkFixture) -> None:
    planes = RNG.uint64(bits.WORD_BITS, bits.width(N))
    measure(benchmark, N, lambda: bits.words(planes, N))


def test_steps(benchmark: BenchmarkFixture) -> None:
    words, out = RNG.uint64(N), RNG.uint64(bits.step_planes(bits.BLOCKS) * bits.width(N))
    measure(benchmark, N, lambda: bits.steps(words, out))


def test_carries(benchmark: BenchmarkFixture) -> None:
    steps, t = RNG.uint64(bits.step_planes(bits.BLOCKS) * bits.width(N)), RNG.uint64(N)
    measure(benchmark, N, lambda: bits.carries(steps, t, one=True))
