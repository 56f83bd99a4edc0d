"""How fast SM4 is. For one core: ``UNSEEN_THREADS=1 python -m pytest benchmarks/test_kernels_symmetric.py``.

Figure to reach on one Zen 3 core: at least 1 GB/s of counter mode. SM3 is measured in ``test_kernels.py`` beside SHA-2;
there at least 15 million identifiers of 18 bytes a second.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_kernels import RNG, measure
from mpc.kernels import sm4

SIZES = [1 << 10, 1 << 16, 1 << 20, 1 << 26]


@pytest.mark.parametrize("size", SIZES)
def test_sm4_ctr(benchmark: BenchmarkFixture, size: int) -> None:
    key, data = RNG.uint8(16), RNG.uint8(size)
    measure(benchmark, 1, lambda: sm4.ctr(key, bytes(16), data), size=size)


@pytest.mark.parametrize("size", SIZES)
def test_sm4_gcm_seal(benchmark: BenchmarkFixture, size: int) -> None:
    key, data = RNG.uint8(16), RNG.uint8(size)
    measure(benchmark, 1, lambda: sm4.gcm_seal(key, bytes(12), data), size=size)


@pytest.mark.parametrize("size", SIZES)
def test_sm4_gcm_open(benchmark: BenchmarkFixture, size: int) -> None:
    key, data = RNG.uint8(16), RNG.uint8(size)
    sealed = sm4.gcm_seal(key, bytes(12), data)
    measure(benchmark, 1, lambda: sm4.gcm_open(key, bytes(12), sealed), size=size)
