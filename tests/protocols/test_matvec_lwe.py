"""Sums by bin of encrypted words against numpy, their noise against its formula, and what a bad peer gets."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import suite
from mpc.channel import Traffic
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from protocols.matvec import ideal_lwe, lwe

Words = NDArray[np.uint32]
RNG = Rng.from_seed(b"lwe")
INTL = suite.get("intl")


def words(*shape: int) -> Words:
    return RNG.uint8(*shape, 4).view("<u4")[..., 0].copy()


def codes_of(n: int, sizes: tuple[int, ...]) -> NDArray[Any]:
    dtype = np.uint8 if max(sizes) <= 256 else np.uint16
    return np.ascontiguousarray((words(n, len(sizes)) % np.array(sizes, dtype=np.uint32)).astype(dtype))


def expected(codes: NDArray[Any], sizes: tuple[int, ...], v: Words) -> Words:
    """The sums, by numpy."""
    out = np.zeros((sum(sizes), v.shape[1]), dtype=np.uint32)
    for column, start in enumerate(np.cumsum((0, *sizes[:-1]))):
        np.add.at(out, start + codes[:, column].astype(np.int64), v)
    return out


def run(
    matrices: dict[str, tuple[NDArray[Any], tuple[int, ...]]],
    vectors: list[Words],
    *,
    method: ModuleType = lwe,
    tamper: dict[tuple[str, str], Tamper] | None = None,
) -> tuple[list[dict[str, Words]], dict[str, Traffic]]:
    """By call and holder the sum of both shares as signed errors' carriers, and the traffic of the owner with each."""

    def holder(session: Session) -> list[Words]:
        codes, sizes = matrices[session.me]
        started = method.start_holder(session.channel("owner"), codes, sizes, suite=INTL, rng=session.rng)
        assert (started.rows, started.bins) == (len(codes), sum(sizes))
        return [started.products(v.shape[1]) for v in vectors]

    def owner(session: Session) -> tuple[list[dict[str, Words]], dict[str, Traffic]]:
        channels = {name: session.channel(name) for name in matrices}
        started = method.start_owner(channels, len(vectors[0]), suite=INTL, rng=session.rng)
        assert started.bins == {name: sum(sizes) for name, (_, sizes) in matrices.items()}
        before = {name: channel.traffic for name, channel in channels.items()}
        shares = [started.products(v) for v in vectors]
        after = {name: channel.traffic for name, channel in channels.items()}
        return shares, {
            name: Traffic(
                *(b - a for a, b in zip(before[name].__dict__.values(), after[name].__dict__.values(), strict=True))
            )
            for name in channels
        }

    results = run_parties({"owner": owner, **dict.fromkeys(matrices, holder)}, tamper=tamper)
    shares, traffic = results["owner"]
    return [{name: share[name] + results[name][i] for name in matrices} for i, share in enumerate(shares)], traffic


@pytest.mark.parametrize("method", [lwe, ideal_lwe])
def test_sums_are_those_of_numpy(method: ModuleType) -> None:
    """Two holders with one ciphertext; row counts that are no whole blocks; one vector and several."""
    n = 1300
    matrices = {"tax": (codes_of(n, (5, 20, 1)), (5, 20, 1)), "bureau": (codes_of(n, (300, 2)), (300, 2))}
    vectors = [words(n, w) for w in (1, 10)]
    opened, _ = run(matrices, vectors, method=method)
    for v, of in zip(vectors, opened, strict=True):
        for name, (codes, sizes) in matrices.items():
            error = (of[name] - expected(codes, sizes, v)).view(np.int32)
            rows = expected(codes, sizes, np.ones((n, 1), dtype=np.uint32))
            assert (np.abs(error) <= 8 * np.sqrt(10.5 * rows)).all()
            assert (error[rows[:, 0] > 8] != 0).any() == (method is lwe)
