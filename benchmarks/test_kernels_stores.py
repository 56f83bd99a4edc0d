"""How fast blocks, GF(2^128), key-value stores, joins and cuckoo tables are. For one core:
``UNSEEN_THREADS=1 python -m pytest benchmarks/test_kernels_stores.py``.

Figures to reach on one Zen 3 core: 5 GB/s of fixed-key AES; 2^20 pairs encoded in 200 ms, decoded in 60 ms; two lists
of 2^20 tags joined in 40 ms.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_kernels import measure
from mpc.kernels import blocks, cuckoo, gf128, join, okvs
from mpc.rng import Rng

RNG = Rng.from_seed(b"benchmarks")
N = 1 << 20


@pytest.mark.parametrize("n", [1 << 12, N])
@pytest.mark.parametrize("what", ["fixed", "hash"])
def test_blocks(benchmark: BenchmarkFixture, what: str, n: int) -> None:
    x = RNG.uint8(n, 16)
    measure(
        benchmark, n, {"fixed": lambda: blocks.fixed(x), "hash": lambda: blocks.hash(x, tweak=0)}[what], size=16 * n
    )


@pytest.mark.parametrize("what", ["mul", "scale", "scale_into", "inner", "polyhash"])
def test_gf128(benchmark: BenchmarkFixture, what: str) -> None:
    a, b, delta = RNG.uint8(N, 16), RNG.uint8(N, 16), RNG.uint8(16)
    calls = {
        "mul": lambda: gf128.mul(a, b),
        "scale": lambda: gf128.scale(delta, a),
        "scale_into": lambda: gf128.scale_into(delta, a, b),
        "inner": lambda: gf128.inner(a, b),
        "polyhash": lambda: gf128.polyhash(delta, a),
    }
    measure(benchmark, N, calls[what])


@pytest.mark.parametrize("n", [1000, 1 << 14, 1 << 17, N])
def test_okvs_encode(benchmark: BenchmarkFixture, n: int) -> None:
    keys, values, seed = RNG.uint8(n, 16), RNG.uint8(n, 16), RNG.uint8(16)
    measure(benchmark, n, lambda: okvs.encode(keys, values, seed=seed, rng=RNG))


@pytest.mark.parametrize("n", [1000, 1 << 14, 1 << 17, N])
def test_okvs_decode(benchmark: BenchmarkFixture, n: int) -> None:
    keys, table, seed, out = RNG.uint8(n, 16), RNG.uint8(okvs.size(n), 16), RNG.uint8(16), RNG.uint8(n, 16)
    measure(benchmark, n, lambda: okvs.decode_into(keys, table, out, n=n, seed=seed))


@pytest.mark.parametrize("width", [8, 10, 16])
def test_join(benchmark: BenchmarkFixture, width: int) -> None:
    a, b = RNG.uint8(N, width), RNG.uint8(N, width)
    b[: N // 2] = a[np.random.default_rng(1).permutation(N)[: N // 2]]
    measure(benchmark, N, lambda: join.join(a, b))


@pytest.mark.parametrize("n", [100_000, N])
def test_cuckoo(benchmark: BenchmarkFixture, n: int) -> None:
    keys, bins = RNG.uint8(n, 16), cuckoo.bins(n)
    measure(benchmark, n, lambda: cuckoo.assign(cuckoo.places(keys, bins=bins), bins=bins))
