"""The ideal twins: they deal what the real functions make, under the same signatures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import suite as suites
from mpc.errors import PeerError
from mpc.testing import run_parties
from protocols.ot.ideal import base, cot, random_ot, vole

SUITE = suites.get("intl")
POLYNOMIAL = 1 << 128 | 0x87


def product(a: int, b: int) -> int:
    """A * b in GF(2^128), as the convention of protocols.ot.correlations writes it."""
    value = 0
    for bit in range(128):
        value ^= (b >> bit & 1) * (a << bit)
    for bit in range(254, 127, -1):
        value ^= (value >> bit & 1) * (POLYNOMIAL << (bit - 128))
    return value


@settings(max_examples=10, deadline=None)
@given(st.lists(st.booleans(), max_size=40))
def test_correlated_transfers(choices: list[bool]) -> None:
    c = np.array(choices, dtype=np.bool_)
    results = run_parties(
        {
            "alice": lambda s: cot.send(s.channel("bob"), len(c), suite=SUITE, rng=s.rng),
            "bob": lambda s: cot.receive(s.channel("alice"), c, suite=SUITE, rng=s.rng),
        }
    )
    sender, receiver = results["alice"], results["bob"]
    assert np.array_equal(receiver.choices, c)
    assert np.array_equal(receiver.t, sender.k ^ c[:, None] * sender.delta)


def test_random_choices_and_a_given_offset() -> None:
    delta = np.arange(16, dtype=np.uint8)
    results = run_parties(
        {
            "alice": lambda s: cot.send(s.channel("bob"), 500, suite=SUITE, rng=s.rng, delta=delta),
            "bob": lambda s: cot.receive(s.channel("alice"), 500, suite=SUITE, rng=s.rng),
        }
    )
    sender, receiver = results["alice"], results["bob"]
    assert np.array_equal(sender.delta, delta)
    assert 150 < receiver.choices.sum() < 350
    assert np.array_equal(receiver.t, sender.k ^ receiver.choices[:, None] * delta)


@pytest.mark.parametrize("module", [base, random_ot])
def test_random_messages(module: object) -> None:
    c = np.arange(100, dtype=np.uint8) % 3 == 0
    results = run_parties(
        {
            "alice": lambda s: module.send(s.channel("bob"), 100, suite=SUITE, rng=s.rng),
            "bob": lambda s: module.receive(s.channel("alice"), c, suite=SUITE, rng=s.rng),
        }
    )
    m0, m1 = results["alice"]
    assert np.array_equal(results["bob"], np.where(c[:, None], m1, m0))
    assert not np.array_equal(m0, m1)


@pytest.mark.parametrize("m", [0, 1, 50])
def test_linear_evaluations(m: int) -> None:
    results = run_parties(
        {
            "alice": lambda s: vole.send(s.channel("bob"), m, suite=SUITE, rng=s.rng),
            "bob": lambda s: vole.receive(s.channel("alice"), m, suite=SUITE, rng=s.rng),
        }
    )
    sender, receiver = results["alice"], results["bob"]
    delta, a, b, c = (
        [int.from_bytes(row.tobytes(), "little") for row in rows]
        for rows in (sender.delta[None], receiver.a, sender.b, receiver.c)
    )
    assert c == [product(x, delta[0]) ^ y for x, y in zip(a, b, strict=True)]


def test_sides_that_want_different_numbers_are_told() -> None:
    with pytest.raises(PeerError, match="8 correlations, as this side wants"):
        run_parties(
            {
                "alice": lambda s: vole.send(s.channel("bob"), 7, suite=SUITE, rng=s.rng),
                "bob": lambda s: vole.receive(s.channel("alice"), 8, suite=SUITE, rng=s.rng),
            }
        )
