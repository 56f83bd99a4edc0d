"""How fast masks and shares are. ``UNSEEN_THREADS=1 python -m pytest benchmarks/test_kernels_aggregation.py``

Figure to reach on one Zen 3 core: masks at the generator's speed, at least 5 GB/s of stream, however many keys.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_kernels import RNG, measure
from mpc.kernels import mask
from mpc.sharing import shamir_reconstruct, shamir_share


@pytest.mark.parametrize("words", [1 << 10, 1 << 18, 1 << 23])
@pytest.mark.parametrize("keys", [1, 10, 64])
def test_masks(benchmark: BenchmarkFixture, words: int, keys: int) -> None:
    of, negative, array = RNG.uint8(keys, 16), RNG.uint8(keys) > 127, RNG.uint64(words)
    measure(benchmark, 1, lambda: mask.apply(of, negative, array, first=0), size=8 * keys * words)


@pytest.mark.parametrize("holders", [10, 64])
def test_shamir_share(benchmark: BenchmarkFixture, holders: int) -> None:
    secrets, points = RNG.uint8(1, 48), np.arange(1, holders + 1, dtype=np.uint32)
    measure(benchmark, 1, lambda: shamir_share(secrets, threshold=holders // 2 + 1, points=points, rng=RNG))


@pytest.mark.parametrize("holders", [10, 64])
def test_shamir_reconstruct(benchmark: BenchmarkFixture, holders: int) -> None:
    points = np.arange(1, holders + 1, dtype=np.uint32)
    shares = shamir_share(RNG.uint8(holders, 32), threshold=holders // 2 + 1, points=points, rng=RNG)
    measure(benchmark, holders, lambda: shamir_reconstruct(shares, points))
