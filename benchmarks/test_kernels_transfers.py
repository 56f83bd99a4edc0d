"""How fast comparisons and products are made of correlated transfers; for one core, set ``UNSEEN_THREADS=1``.

``extra_info`` of the JSON output (``--benchmark-json``) has millions of values a second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpc.kernels import threads, transfers
from mpc.rng import Rng

RNG = Rng.from_seed(b"benchmarks")
N = 1 << 14


def measure(benchmark: BenchmarkFixture, n: int, call: Callable[[], object]) -> None:
    """Runs `call`, which works on n values, and notes the rate."""
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    benchmark.extra_info["threads"] = threads()
    benchmark.extra_info["millions_per_s"] = round(n / benchmark.stats["min"] / 1e6, 2)


@pytest.mark.parametrize("side", ["offer", "choose"])
def test_tables_of_a_value(benchmark: BenchmarkFixture, side: str) -> None:
    delta, k, flips, values = RNG.uint8(16), RNG.uint8(64 * N, 16), RNG.uint64(N), RNG.uint64(N)
    shares = RNG.uint64(N // 64, 1, 2, 16)

    def offer() -> np.ndarray:
        return transfers.offer_tables(delta, k, tweak=0, flips=flips, values=values[None], shares=shares, side="left")

    messages = offer()
    calls: dict[str, Callable[[], object]] = {
        "offer": offer,
        "choose": lambda: transfers.choose_tables(k, tweak=0, values=values, messages=messages),
    }
    measure(benchmark, N, calls[side])


@pytest.mark.parametrize("side", ["offer", "choose"])
def test_products_of_bits(benchmark: BenchmarkFixture, side: str) -> None:
    delta, k = RNG.uint8(16), RNG.uint8(64 * N, 16)
    calls: dict[str, Callable[[], object]] = {
        "offer": lambda: transfers.offer_bits(delta, k, tweak=0),
        "choose": lambda: transfers.choose_bits(k, tweak=0),
    }
    measure(benchmark, len(k), calls[side])


@pytest.mark.parametrize("side", ["offer", "choose"])
def test_products_of_words(benchmark: BenchmarkFixture, side: str) -> None:
    delta, k, x, y = RNG.uint8(16), RNG.uint8(64 * N, 16), RNG.uint64(N), RNG.uint64(N)
    _, messages = transfers.offer_products(delta, k, tweak=0, flips=x, y=y)
    calls: dict[str, Callable[[], object]] = {
        "offer": lambda: transfers.offer_products(delta, k, tweak=0, flips=x, y=y),
        "choose": lambda: transfers.choose_products(k, tweak=0, x=x, messages=messages),
    }
    measure(benchmark, N, calls[side])
