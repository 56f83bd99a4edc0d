"""How fast SM2 is, beside ristretto255: ``UNSEEN_THREADS=1 python -m pytest benchmarks/test_kernels_sm2.py``.

Figures to reach on one Zen 3 core: at most 42 µs a multiplication by a shared scalar, encodings included, then 33.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_kernels import identifiers, measure
from mpc import suite as suites
from mpc.kernels import sm2
from mpc.rng import Rng

RNG = Rng.from_seed(b"benchmarks of SM2")


@pytest.mark.parametrize("n", [1, 64, 4096])
@pytest.mark.parametrize("step", ["mul", "mul_each", "mul_base", "hash_to_group", "check", "add"])
@pytest.mark.parametrize("suite", ["gm", "intl"])
def test_group(benchmark: BenchmarkFixture, suite: str, step: str, n: int) -> None:
    group, items = suites.get(suite).group, identifiers(n)
    scalars = group.scalar_from_uniform(RNG.uint8(n, group.UNIFORM_SCALAR_BYTES))
    points = group.hash_to_group(items, b"benchmark")
    calls: dict[str, Callable[[], Any]] = {
        "mul": lambda: group.mul(scalars[0], points),
        "mul_each": lambda: group.mul_each(scalars, points),
        "mul_base": lambda: group.mul_base(scalars),
        "hash_to_group": lambda: group.hash_to_group(items, b"benchmark"),
        "check": lambda: group.check(points),
        "add": lambda: group.add(points, points),
    }
    measure(benchmark, n, calls[step])


def test_try_and_rehash(benchmark: BenchmarkFixture) -> None:
    items = identifiers(4096)
    measure(benchmark, 4096, lambda: sm2.try_and_rehash_vartime(items, name="sm3"))


@pytest.mark.parametrize("step", ["sign", "verify"])
def test_signature(benchmark: BenchmarkFixture, step: str) -> None:
    private, entropy, message = bytes(range(1, 33)), RNG.uint8(32), b"m" * 300
    public, signature = sm2.public_key(private).tobytes(), sm2.sign(private, message, entropy=entropy)
    calls: dict[str, Callable[[], Any]] = {
        "sign": lambda: sm2.sign(private, message, entropy=entropy),
        "verify": lambda: sm2.verify(public, message, signature),
    }
    measure(benchmark, 100, lambda: [calls[step]() for _ in range(100)])
