"""Base oblivious transfers: right, of the stated cost, and exact about what a peer does wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Traffic
from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.ot.v1 import ot_pb2 as wire
from protocols.ot import base

SUITES = [suites.get(name) for name in ("intl", "gm")]
ENVELOPES = 128
"""What the file's Cost line allows besides the elements, bytes."""

Blocks = NDArray[np.uint8]


def transfer(
    choices: NDArray[np.uint8] | NDArray[np.bool_], suite: Suite, n: int | None = None, **options: object
) -> tuple[Blocks, Blocks, Blocks, Traffic]:
    """Both messages, the chosen ones, and the sender's traffic."""

    def send(s: Session) -> tuple[Blocks, Blocks, Traffic]:
        channel = s.channel("bob")
        m0, m1 = base.send(channel, len(choices) if n is None else n, suite=suite, rng=s.rng)
        return m0, m1, channel.traffic

    def receive(s: Session) -> Blocks:
        return base.receive(s.channel("alice"), choices, suite=suite, rng=s.rng)

    results = run_parties({"alice": send, "bob": receive}, **options)
    m0, m1, traffic = results["alice"]
    return m0, m1, results["bob"], traffic


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
@settings(max_examples=15, deadline=None)
@given(choices=st.lists(st.booleans(), max_size=20))
def test_the_receiver_gets_what_it_chose(suite: Suite, choices: list[bool]) -> None:
    c = np.array(choices, dtype=np.bool_)
    m0, m1, chosen, _ = transfer(c, suite)
    assert m0.shape == m1.shape == chosen.shape == (len(c), 16)
    assert np.array_equal(chosen, np.where(c[:, None], m1, m0))
    assert len({row.tobytes() for row in (*m0, *m1)}) == 2 * len(c)


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
@pytest.mark.parametrize("n", [0, 1, 7, 128])
def test_the_cost_is_the_stated_one(suite: Suite, n: int) -> None:
    choices = np.arange(n, dtype=np.uint8) & 1
    *_, traffic = transfer(choices, suite)
    elements = (2 * n + 1) * suite.group.ELEMENT_BYTES
    assert elements < traffic.bytes_sent + traffic.bytes_received <= elements + ENVELOPES
    assert (traffic.messages_sent, traffic.messages_received, traffic.rounds) == (1, 1, 1)


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
def test_what_the_sender_sees_does_not_depend_on_the_choices(suite: Suite) -> None:
    # Fixed randomness: the element of the unchosen branch is the only thing that may look the same for other choices.
    def elements(choice: int) -> Blocks:
        def send(s: Session) -> Blocks:
            channel = s.channel("bob")
            channel.send(wire.BaseOffer(), suite.group.mul_base(base._scalars(suite, s.rng, 1))[0])
            return channel.recv(wire.BaseChoice)[1]

        choices = np.full(64, choice, np.uint8)
        receive = lambda s: base.receive(s.channel("alice"), choices, suite=suite, rng=s.rng)  # noqa: E731
        return run_parties({"alice": send, "bob": receive}, seed=b"same")["alice"]

    zero, one = elements(0), elements(1)
    assert np.array_equal(zero[:, 1], one[:, 0])  # the random element changes places with the branch
    assert not np.any(np.all(zero[:, 0] == one[:, 1], axis=-1))  # and the corrected one is hashed with its branch
    suite.group.check(np.ascontiguousarray(zero.reshape(-1, suite.group.ELEMENT_BYTES)))


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
@pytest.mark.parametrize(("sender", "receiver"), [("alice", "bob"), ("bob", "alice")])
def test_a_flipped_bit_is_refused_or_spoils_the_keys(suite: Suite, sender: str, receiver: str) -> None:
    """Half of all strings are no elements. One that is gives keys that agree in nothing that it touches."""
    refused = []
    for byte in range(-1, -17, -1):
        tamper = {(sender, receiver): Tamper(message=0, byte=byte, bit=3)}
        try:
            m0, m1, chosen, _ = transfer(np.ones(1, np.uint8), suite, tamper=tamper, seed=b"flip")
        except PeerError as error:
            refused.append((error.party, error.reason))
        else:
            assert not np.array_equal(chosen, m1)
            assert not np.array_equal(chosen, m0)
    assert 2 <= len(refused) <= 14
    assert {party for party, _ in refused} == {sender}
    assert all("of the suite's group" in reason for _, reason in refused)


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
def test_a_peer_that_sends_no_elements_or_another_number_is_named(suite: Suite) -> None:
    def offers(element: Blocks) -> object:
        return run_parties(
            {
                "alice": lambda s: s.channel("bob").send(wire.BaseOffer(), element),
                "bob": lambda s: base.receive(s.channel("alice"), np.ones(3, np.uint8), suite=suite, rng=s.rng),
            }
        )

    for element in (np.zeros(suite.group.ELEMENT_BYTES, np.uint8), np.ones(5, np.uint8)):
        with pytest.raises(PeerError, match=r"alice broke test at BaseOffer.*an element of the suite's group"):
            offers(element)
    with pytest.raises(PeerError, match=r"bob broke test at BaseChoice.*two group elements for each of 4 transfers"):
        transfer(np.ones(3, np.uint8), suite, n=4)


def test_misuse_says_what_to_do() -> None:
    for bad, text in (
        (np.full(3, 2, np.uint8), "0 or 1"),
        (np.zeros((2, 2), np.uint8), r"\(n,\)"),
        ([0, 1], "numpy array"),
        (np.zeros(base.MAX_TRANSFERS + 1, np.uint8), "protocols.ot.cot"),
    ):
        with pytest.raises(UsageError, match=text):
            base.receive(None, bad, suite=SUITES[0], rng=None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"protocols\.ot\.cot"):
        base.send(None, base.MAX_TRANSFERS + 1, suite=SUITES[0], rng=None)  # type: ignore[arg-type]
