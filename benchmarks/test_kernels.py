"""How fast the kernels are. For one core: ``UNSEEN_THREADS=1 python -m pytest benchmarks/test_kernels.py``.

Figures to reach on one Zen 3 core: at most 45 µs a multiplication, at least 5 GB/s of AES-128 counter mode.
The columns are for a whole batch; ``extra_info`` of the JSON output (``--benchmark-json``) has the figure for one item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpc.kernels import hash, oprf, prg, ristretto255, threads
from mpc.kernels.oprf import Mode
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng

SUITE = "intl"
RNG = Rng.from_seed(b"benchmarks")


def measure(benchmark: BenchmarkFixture, n: int, call: Callable[[], Any], *, size: int = 0) -> None:
    """Runs `call`, which does n items or `size` bytes, and notes the figure for one item or the rate."""
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    benchmark.extra_info["threads"] = threads()
    if size:
        benchmark.extra_info["gb_per_s"] = round(size / benchmark.stats["min"] / 1e9, 2)
    else:
        benchmark.extra_info["us_per_item"] = round(benchmark.stats["min"] / n * 1e6, 3)


def scalars(n: int) -> np.ndarray:
    return ristretto255.scalar_from_uniform(RNG.uint8(n, 64))


def identifiers(n: int) -> Packed:
    """Strings as long as a resident's ID."""
    return pack([b"%018d" % i for i in range(n)])


@pytest.mark.parametrize("n", [1, 10_000])
def test_ristretto255_mul(benchmark: BenchmarkFixture, n: int) -> None:
    scalar, points = scalars(1)[0], ristretto255.mul_base(scalars(n))
    measure(benchmark, n, lambda: ristretto255.mul(scalar, points))


def test_ristretto255_mul_each(benchmark: BenchmarkFixture) -> None:
    each, points = scalars(10_000), ristretto255.mul_base(scalars(10_000))
    measure(benchmark, 10_000, lambda: ristretto255.mul_each(each, points))


def test_ristretto255_hash_to_group(benchmark: BenchmarkFixture) -> None:
    items = identifiers(10_000)
    measure(benchmark, 10_000, lambda: ristretto255.hash_to_group(items, b"benchmark"))


def test_ristretto255_hash_mul(benchmark: BenchmarkFixture) -> None:
    scalar, items = scalars(1)[0], identifiers(10_000)
    measure(benchmark, 10_000, lambda: ristretto255.hash_mul(scalar, items, b"benchmark"))


def test_oprf_evaluate(benchmark: BenchmarkFixture) -> None:
    private, items = scalars(1)[0], identifiers(10_000)
    measure(benchmark, 10_000, lambda: oprf.evaluate(SUITE, Mode.VOPRF, private, items))


@pytest.mark.parametrize("n", [1, 100, 10_000])
@pytest.mark.parametrize("step", ["blind", "blind_evaluate", "prove", "verify", "finalize"])
def test_voprf_step(benchmark: BenchmarkFixture, step: str, n: int) -> None:
    private, entropy, blinds, inputs = scalars(1)[0], RNG.uint8(32), scalars(n), identifiers(n)
    public = oprf.public_key(SUITE, private)
    blinded = oprf.blind(SUITE, Mode.VOPRF, inputs, blinds)
    evaluated = oprf.blind_evaluate(SUITE, private, blinded)
    proof = oprf.prove(SUITE, Mode.VOPRF, private, public, blinded, evaluated, entropy)
    calls: dict[str, Callable[[], Any]] = {
        "blind": lambda: oprf.blind(SUITE, Mode.VOPRF, inputs, blinds),
        "blind_evaluate": lambda: oprf.blind_evaluate(SUITE, private, blinded),
        "prove": lambda: oprf.prove(SUITE, Mode.VOPRF, private, public, blinded, evaluated, entropy),
        "verify": lambda: oprf.verify(SUITE, Mode.VOPRF, public, blinded, evaluated, proof),
        "finalize": lambda: oprf.finalize(SUITE, Mode.VOPRF, inputs, blinds, evaluated),
    }
    measure(benchmark, n, calls[step])


@pytest.mark.parametrize("size", [1 << 16, 1 << 20, 1 << 26])
@pytest.mark.parametrize("key_bytes", prg.KEY_BYTES)
def test_prg(benchmark: BenchmarkFixture, key_bytes: int, size: int) -> None:
    key, out = RNG.uint8(key_bytes), np.zeros(size, dtype=np.uint8)
    measure(benchmark, 1, lambda: prg.fill(key, out, block=0), size=size)


@pytest.mark.parametrize("name", hash.DIGEST_BYTES)
def test_hash_of_identifiers(benchmark: BenchmarkFixture, name: hash.Name) -> None:
    items = identifiers(200_000)
    measure(benchmark, 200_000, lambda: hash.batch(name, b"prefix", items))


@pytest.mark.parametrize("name", hash.DIGEST_BYTES)
def test_hash_of_rows(benchmark: BenchmarkFixture, name: hash.Name) -> None:
    rows = RNG.uint8(200_000, 64)
    measure(benchmark, 200_000, lambda: hash.rows(name, b"prefix", rows))
