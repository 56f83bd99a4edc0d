"""How fast silent VOLE is, in parts and as a whole; for one core, set ``UNSEEN_THREADS=1``.

Figure to reach on one Zen 3 core: 1.42 million evaluations, which psi.rr22 needs for 2^20 items, in 0.25 s a side.
``extra_info`` of the JSON output (``--benchmark-json``) has nanoseconds for each evaluation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpc import suite as suites
from mpc.kernels import code, pprf, threads
from mpc.rng import Rng
from mpc.testing import run_parties
from protocols.ot import noise, vole

RNG = Rng.from_seed(b"benchmarks")
M = 1_420_000
SALT = bytes(16)
SHAPE = noise.shape_for(M, "semi-honest")


def measure(benchmark: BenchmarkFixture, call: Callable[[], object]) -> None:
    """Runs `call`, which does its part of M evaluations, and notes the time for one."""
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    benchmark.extra_info["threads"] = threads()
    benchmark.extra_info["ns_per_evaluation"] = round(benchmark.stats["min"] / M * 1e9, 1)


def test_trees(benchmark: BenchmarkFixture) -> None:
    seeds = RNG.uint8(SHAPE.trees, 16)
    measure(benchmark, lambda: pprf.expand(seeds, leaves=SHAPE.leaves, salt=SALT))


def test_punctured_trees(benchmark: BenchmarkFixture) -> None:
    points, _ = noise.draw_points(SHAPE, RNG)
    keys, finals = RNG.uint8(SHAPE.trees, SHAPE.levels, 16), RNG.uint8(SHAPE.trees, 16)
    measure(benchmark, lambda: pprf.expand_punctured(points, keys, finals, leaves=SHAPE.leaves, salt=SALT))


def test_sparse_vector(benchmark: BenchmarkFixture) -> None:
    points, _ = noise.draw_points(SHAPE, RNG)
    values, out = RNG.uint8(SHAPE.trees, 16), np.zeros((SHAPE.trees * SHAPE.leaves, 16), np.uint8)
    measure(benchmark, lambda: pprf.add_at(points, values, out))


@pytest.mark.parametrize("field", [True, False], ids=["evaluations", "transfers"])
def test_compression(benchmark: BenchmarkFixture, *, field: bool) -> None:
    x = RNG.uint8(SHAPE.trees * SHAPE.leaves, 16)
    measure(benchmark, lambda: code.compress(x, M, salt=SALT, field=field))


@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_both_parties_together(benchmark: BenchmarkFixture, security: vole.Security) -> None:
    suite = suites.get("intl")
    parties = {
        "sender": lambda s: vole.send(s.channel("receiver"), M, suite=suite, rng=s.rng, security=security),
        "receiver": lambda s: vole.receive(s.channel("sender"), M, suite=suite, rng=s.rng, security=security),
    }
    measure(benchmark, lambda: run_parties(parties))
