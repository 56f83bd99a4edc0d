"""How fast Paillier's encryption is, with a key of 2048 bits. For one core:
``UNSEEN_THREADS=1 python -m pytest benchmarks/test_kernels_paillier.py``.

It is the slow reference, and there is no figure to reach.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.test_kernels import measure
from mpc.kernels import paillier
from mpc.rng import Rng

RNG = Rng.from_seed(b"benchmarks")
N = 32


@pytest.mark.parametrize("what", ["encrypt", "encrypt_with_key", "decrypt", "check", "combine"])
def test_paillier(benchmark: BenchmarkFixture, what: str) -> None:
    """`combine` counts weights, of which there are four rows; the others count ciphertexts."""
    key = paillier.generate()
    plain = paillier.encode(key.public, list(range(N)))
    random = RNG.uint8(N, key.public.random_bytes)
    ciphertexts = paillier.encrypt(key, plain, random)
    weights = RNG.uint64(4, N)
    calls = {
        "encrypt": lambda: paillier.encrypt(key.public, plain, random),
        "encrypt_with_key": lambda: paillier.encrypt(key, plain, random),
        "decrypt": lambda: paillier.decrypt(key, ciphertexts),
        "check": lambda: paillier.check(key.public, ciphertexts),
        "combine": lambda: paillier.combine(key.public, ciphertexts, weights, ciphertexts[:4].copy()),
    }
    measure(benchmark, weights.size if what == "combine" else N, calls[what])
    assert np.array_equal(paillier.decrypt(key, ciphertexts), plain)
