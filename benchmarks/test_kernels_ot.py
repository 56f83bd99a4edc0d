"""How fast oblivious-transfer extension is; for one core, set ``UNSEEN_THREADS=1``.

Figure to reach on one Zen 3 core: at least 35 million correlated transfers a second on each side.
``extra_info`` of the JSON output (``--benchmark-json``) has millions a second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpc import suite as suites
from mpc.kernels import ot, threads
from mpc.rng import Rng
from mpc.testing import run_parties
from protocols.ot import base

RNG = Rng.from_seed(b"benchmarks")
N = 1 << 20


def measure(benchmark: BenchmarkFixture, n: int, call: Callable[[], object]) -> None:
    """Runs `call`, which makes n transfers, and notes the rate."""
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    benchmark.extra_info["threads"] = threads()
    benchmark.extra_info["millions_per_s"] = round(n / benchmark.stats["min"] / 1e6, 2)


@pytest.mark.parametrize("k", ot.FIELDS)
@pytest.mark.parametrize("side", ["receive", "send"])
def test_extension(benchmark: BenchmarkFixture, side: str, k: int) -> None:
    seeds, delta, choices = RNG.uint8(128 // k, 1 << k, 16), RNG.uint8(16), RNG.uint8(N // 8)
    out = np.zeros((N, 16), dtype=np.uint8)
    corrections = ot.receive(seeds, choices, out, block=0)
    calls: dict[str, Callable[[], object]] = {
        "receive": lambda: ot.receive(seeds, choices, out, block=0),
        "send": lambda: ot.send(seeds, delta, corrections, out, block=0),
    }
    measure(benchmark, N, calls[side])


def test_transpose(benchmark: BenchmarkFixture) -> None:
    rows = RNG.uint8(128, N // 8)
    measure(benchmark, N, lambda: ot.transpose(rows))


def test_hash_columns(benchmark: BenchmarkFixture) -> None:
    point, blocks = RNG.uint8(16), RNG.uint8(N, 16)
    measure(benchmark, N, lambda: ot.hash_columns(point, blocks))


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_base_transfers_of_both_sides(benchmark: BenchmarkFixture, suite: str) -> None:
    chosen, choices = suites.get(suite), np.arange(128, dtype=np.uint8) & 1
    parties = {
        "sender": lambda s: base.send(s.channel("receiver"), 128, suite=chosen, rng=s.rng),
        "receiver": lambda s: base.receive(s.channel("sender"), choices, suite=chosen, rng=s.rng),
    }
    measure(benchmark, 128, lambda: run_parties(parties))
