"""Correlated, random and chosen transfers, and additive shares: each against what it is to give."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Traffic
from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.ot.v1 import ot_pb2 as wire
from protocols.ot import base, chosen, cot, random_ot
from protocols.ot.ideal import base as ideal_base
from protocols.ot.ideal import cot as ideal_cot
from protocols.ot.ideal import random_ot as ideal_random_ot
from protocols.ot.method import Method, Security

SUITE = suites.get("intl")
WAYS: list[tuple[Method, Security]] = [
    ("softspoken", "semi-honest"),
    ("softspoken", "malicious"),
    ("silent", "semi-honest"),
    ("silent", "malicious"),
]
SETUP = (2 * 128 + 1) * 32 + 32 * 64  # bytes before the first transfer, k = 2, semi-honest


def both(
    send: Callable[[Session], Any], receive: Callable[[Session], Any], **options: object
) -> tuple[Any, Any, Traffic]:
    """What alice and bob return, and alice's traffic."""

    def alice(s: Session) -> tuple[Any, Traffic]:
        result = send(s)
        return result, s.channel("bob").traffic

    results = run_parties({"alice": alice, "bob": receive}, **options)
    return results["alice"][0], results["bob"], results["alice"][1]


def bits(n: int, seed: int = 1) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).integers(0, 2, n).astype(np.bool_)


def blocks(n: int, seed: int, width: int = 16) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, width), dtype=np.uint8)


@pytest.mark.parametrize(("method", "security"), WAYS)
@pytest.mark.parametrize("n", [0, 1, 7, 128, 5000])
def test_correlated(method: Method, security: Security, n: int) -> None:
    sent, got, _ = both(
        lambda s: cot.send(s.channel("bob"), n, suite=SUITE, rng=s.rng, method=method, security=security),
        lambda s: cot.receive(s.channel("alice"), bits(n), suite=SUITE, rng=s.rng, method=method, security=security),
    )
    assert np.array_equal(got.choices, bits(n))
    assert np.array_equal(got.t, sent.k ^ got.choices[:, None] * sent.delta)
    assert len(sent) == len(got) == n


@pytest.mark.parametrize(("method", "security"), WAYS)
def test_correlated_with_random_choices(method: Method, security: Security) -> None:
    sent, got, _ = both(
        lambda s: cot.send(s.channel("bob"), 3000, suite=SUITE, rng=s.rng, method=method, security=security),
        lambda s: cot.receive(s.channel("alice"), 3000, suite=SUITE, rng=s.rng, method=method, security=security),
    )
    assert 1200 < got.choices.sum() < 1800
    assert np.array_equal(got.t, sent.k ^ got.choices[:, None] * sent.delta)


@pytest.mark.parametrize(("method", "security"), WAYS)
@pytest.mark.parametrize("n", [0, 1, 130, 4000])
def test_random(method: Method, security: Security, n: int) -> None:
    (m0, m1), got, _ = both(
        lambda s: random_ot.send(s.channel("bob"), n, suite=SUITE, rng=s.rng, method=method, security=security),
        lambda s: random_ot.receive(
            s.channel("alice"), bits(n), suite=SUITE, rng=s.rng, method=method, security=security
        ),
    )
    assert np.array_equal(got, np.where(bits(n)[:, None], m1, m0))
    assert len(np.unique(np.concatenate((m0, m1, m0 ^ m1)), axis=0)) == 3 * n  # no offset shows through the hash


@settings(max_examples=15, deadline=None)
@given(n=st.integers(0, 200), width=st.sampled_from([1, 15, 16, 17, 32, 100, 1000]), way=st.sampled_from(WAYS))
def test_chosen(n: int, width: int, way: tuple[Method, Security]) -> None:
    method, security = way
    m0, m1 = blocks(n, 2, width), blocks(n, 3, width)
    _, got, _ = both(
        lambda s: chosen.send(s.channel("bob"), m0, m1, suite=SUITE, rng=s.rng, method=method, security=security),
        lambda s: chosen.receive(
            s.channel("alice"), bits(n), width=width, suite=SUITE, rng=s.rng, method=method, security=security
        ),
    )
    assert np.array_equal(got, np.where(bits(n)[:, None], m1, m0))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**63, 2**64 - 1]), st.booleans()), max_size=50),
    st.sampled_from(WAYS),
)
def test_additive_shares(pairs: list[tuple[int, bool]], way: tuple[Method, Security]) -> None:
    method, security = way
    x = np.array([value for value, _ in pairs], dtype=np.uint64)
    choices = np.array([choice for _, choice in pairs], dtype=np.bool_)
    s, r, _ = both(
        lambda s: cot.additive_send(s.channel("bob"), x, suite=SUITE, rng=s.rng, method=method, security=security),
        lambda s: cot.additive_receive(
            s.channel("alice"), choices, suite=SUITE, rng=s.rng, method=method, security=security
        ),
    )
    assert s.dtype == r.dtype == np.uint64
    assert [(int(a) + int(b)) % 2**64 for a, b in zip(s, r, strict=True)] == [v * c for v, c in pairs]


def test_many_additive_shares_look_uniform() -> None:
    n = 100_000
    x = np.full(n, 5, dtype=np.uint64)
    s, r, _ = both(
        lambda s: cot.additive_send(s.channel("bob"), x, suite=SUITE, rng=s.rng),
        lambda s: cot.additive_receive(s.channel("alice"), bits(n), suite=SUITE, rng=s.rng),
    )
    assert np.array_equal(s + r, 5 * bits(n).astype(np.uint64))
    for shares in (s, r):
        assert abs(float(np.mean(shares.astype(np.float64))) / 2**64 - 0.5) < 0.01
        assert len(np.unique(shares)) == n


def test_batches_go_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches as small as a tile give what one batch gives: no number and no stream begins again."""
    monkeypatch.setattr(chosen, "_rows", lambda _: 128)
    m0, m1 = blocks(1000, 2, 20), blocks(1000, 3, 20)
    _, got, traffic = both(
        lambda s: chosen.send(s.channel("bob"), m0, m1, suite=SUITE, rng=s.rng),
        lambda s: chosen.receive(s.channel("alice"), bits(1000), width=20, suite=SUITE, rng=s.rng),
    )
    assert traffic.messages_sent == 1 + 8
    assert np.array_equal(got, np.where(bits(1000)[:, None], m1, m0))


def test_the_costs_are_the_stated_ones() -> None:
    n = 100_000
    transfers = 8 * -(-n // 128) * 128
    m = blocks(n, 2, 30)
    for send, receive, extra in (
        (
            lambda s: random_ot.send(s.channel("bob"), n, suite=SUITE, rng=s.rng),
            lambda s: random_ot.receive(s.channel("alice"), bits(n), suite=SUITE, rng=s.rng),
            0,
        ),
        (
            lambda s: chosen.send(s.channel("bob"), m, m, suite=SUITE, rng=s.rng),
            lambda s: chosen.receive(s.channel("alice"), bits(n), width=30, suite=SUITE, rng=s.rng),
            2 * n * 30,
        ),
        (
            lambda s: cot.additive_send(s.channel("bob"), np.zeros(n, np.uint64), suite=SUITE, rng=s.rng),
            lambda s: cot.additive_receive(s.channel("alice"), bits(n), suite=SUITE, rng=s.rng),
            8 * n,
        ),
    ):
        *_, traffic = both(send, receive)
        stated = SETUP + transfers + extra
        messages = traffic.messages_sent + traffic.messages_received
        assert stated < traffic.bytes_sent + traffic.bytes_received <= stated + 128 * messages


# Wrong use and wrong peers --------------------------------------------------------------------------------------------


def test_a_flipped_bit_of_what_hides_the_inputs() -> None:
    """Semi-honest: nothing is checked here, and exactly the one message or share that it touches changes."""
    m0, m1 = blocks(200, 2, 20), blocks(200, 3, 20)
    _, got, _ = both(
        lambda s: chosen.send(s.channel("bob"), m0, m1, suite=SUITE, rng=s.rng),
        lambda s: chosen.receive(s.channel("alice"), np.ones(200, np.bool_), width=20, suite=SUITE, rng=s.rng),
        tamper={("alice", "bob"): Tamper(message=1, byte=-1, bit=2)},
    )
    m1[-1, -1] ^= 4
    assert np.array_equal(got, m1)
    x = np.arange(50, dtype=np.uint64)
    s, r, _ = both(
        lambda s: cot.additive_send(s.channel("bob"), x, suite=SUITE, rng=s.rng),
        lambda s: cot.additive_receive(s.channel("alice"), np.ones(50, np.bool_), suite=SUITE, rng=s.rng),
        tamper={("alice", "bob"): Tamper(message=1, byte=-8, bit=3)},
    )
    assert np.array_equal((s + r)[:-1], x[:-1])
    assert abs(int((s + r)[-1]) - 49) == 8


def test_peers_that_send_other_shapes_are_named() -> None:
    m = blocks(10, 2, 8)
    with pytest.raises(PeerError, match=r"alice broke test at Masked: required: 10 pairs of messages of 9 bytes"):
        both(
            lambda s: chosen.send(s.channel("bob"), m, m, suite=SUITE, rng=s.rng),
            lambda s: chosen.receive(s.channel("alice"), bits(10), width=9, suite=SUITE, rng=s.rng),
        )

    def short(s: Session) -> None:
        channel = s.channel("bob")
        cot.send(channel, 10, suite=SUITE, rng=s.rng)
        channel.send(wire.Offsets(), np.zeros(9, np.uint64))

    with pytest.raises(PeerError, match="alice broke test at Offsets: required: offsets of 10 transfers"):
        both(short, lambda s: cot.additive_receive(s.channel("alice"), bits(10), suite=SUITE, rng=s.rng))


def test_misuse_says_what_to_do() -> None:
    m = blocks(10, 2, 8)
    for call, text in (
        (lambda: cot.additive_send(None, np.zeros(3, np.int64), suite=SUITE, rng=None), r"view\(numpy.uint64\)"),
        (lambda: chosen.send(None, m, m[:9], suite=SUITE, rng=None), "the same shape"),
        (lambda: chosen.send(None, m, m.astype(np.int8), suite=SUITE, rng=None), "uint8"),
        (lambda: chosen.receive(None, bits(3), width=0, suite=SUITE, rng=None), "1 to 65536"),
        (lambda: cot.receive(None, np.full(3, 7, np.uint8), suite=SUITE, rng=None), "0 or 1"),
    ):
        with pytest.raises(UsageError, match=text):
            call()


@pytest.mark.parametrize(
    ("real", "ideal"), [(base, ideal_base), (cot, ideal_cot), (random_ot, ideal_random_ot)], ids=lambda m: m.__name__
)
@pytest.mark.parametrize("function", ["send", "receive"])
def test_the_ideal_twins_have_the_same_signatures(real: object, ideal: object, function: str) -> None:
    assert inspect.signature(getattr(real, function)) == inspect.signature(getattr(ideal, function))
