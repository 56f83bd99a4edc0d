"""What two parties settle before they intersect: where they differ, both end with an error that names it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from mpc import suite as suites
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.psi.v1 import psi_pb2 as wire
from protocols.operator import Operator
from protocols.psi.agreement import MAX_ITEMS, Agreed, Terms, agree

ONE = Operator("psi.one", 1, "One", {})
TWO = Operator("psi.two", 3, "Two", {})
TERMS = Terms([ONE, TWO], suites.get("intl"), "semi-honest", "text", "both", 5)


def agreed(mine: Terms, theirs: Terms, **options: object) -> tuple[Any, Any]:
    """What each party gets, an error being what it got."""

    def party(terms: Terms, peer: str) -> Callable[[Session], object]:
        def function(s: Session) -> Agreed | PeerError:
            try:
                return agree(s.channel(peer), terms, rng=s.rng)
            except PeerError as error:
                return error

        return function

    results = run_parties({"alice": party(mine, "bob"), "bob": party(theirs, "alice")}, protocol="psi", **options)
    return results["alice"], results["bob"]


def test_both_know_the_same_after_it() -> None:
    alice, bob = agreed(TERMS, dataclasses.replace(TERMS, size=7))
    assert alice.salt == bob.salt
    assert len(alice.salt) == 32
    assert (alice.peer_size, bob.peer_size) == (7, 5)
    assert (alice.receiver, bob.receiver) == (True, False)  # the one with fewer items
    assert alice.both
    assert bob.both
    assert agreed(TERMS, TERMS)[0].salt != alice.salt


def test_the_receiver_is_who_learns_and_otherwise_who_has_fewer_items() -> None:
    same = agreed(TERMS, TERMS)
    assert [a.receiver for a in same] == [True, False]
    fewer = agreed(TERMS, dataclasses.replace(TERMS, size=4))
    assert [a.receiver for a in fewer] == [False, True]
    for mine, theirs in (("me", "peer"), ("peer", "me")):
        got = agreed(dataclasses.replace(TERMS, reveal_to=mine), dataclasses.replace(TERMS, reveal_to=theirs))
        assert [a.receiver for a in got] == [mine == "me", theirs == "me"]
        assert [a.both for a in got] == [False, False]


@pytest.mark.parametrize(
    ("change", "here", "there"),
    [
        ({"operators": [ONE]}, "operator (here 'psi.one version 1, psi.two version 3'", "there 'psi.one version 1')"),
        (
            {"operators": [ONE, dataclasses.replace(TWO, version=2)]},
            "operator (here 'psi.one version 1, psi.two version 3'",
            "there 'psi.one version 1, psi.two version 2')",
        ),
        ({"suite": dataclasses.replace(suites.get("intl"), name="gm")}, "suite (here 'intl'", "there 'gm')"),
        ({"security": "malicious"}, "security (here 'semi-honest'", "there 'malicious')"),
        ({"form": "phone"}, "form of keys (here 'text'", "there 'phone')"),
        ({"reveal_to": "me"}, "who learns (here 'alice, bob'", "there 'bob')"),
        ({"bound": 9}, "bound (here '0'", "there '9')"),
        ({"minimum": 2}, "minimum (here '0'", "there '2')"),
    ],
)
def test_what_differs_is_named_at_both(change: dict[str, Any], here: str, there: str) -> None:
    alice, bob = agreed(TERMS, dataclasses.replace(TERMS, **change))
    assert f"the same terms at both parties, which differ in {here}, {there}" in str(alice)
    assert (alice.party, alice.protocol, alice.step) == ("bob", "psi", "Terms")
    assert there.removeprefix("there ").removesuffix(")") in str(bob).split("here")[1]
    assert isinstance(bob, PeerError)


def test_several_differences_are_all_named() -> None:
    alice, _ = agreed(TERMS, dataclasses.replace(TERMS, form="phone", minimum=2))
    assert "differ in form of keys (here 'text', there 'phone') and in minimum (here '0', there '2')" in str(alice)


def test_a_peer_that_claims_more_than_there_are() -> None:
    def claims(size: int) -> Callable[[Session], None]:
        def lie(s: Session) -> None:
            channel = s.channel("alice")
            learners = ["alice", "bob"]
            operators = {ONE.name: 1, TWO.name: 3}
            channel.send(
                wire.Terms(
                    operators=operators,
                    suite="intl",
                    security="semi-honest",
                    form="text",
                    learners=learners,
                    size=size,
                    nonce=bytes(32),
                )
            )
            channel.recv(wire.Terms)
            with pytest.raises(ChannelClosed):
                channel.recv(wire.Terms)

        return lie

    for size in (1 << 40, MAX_ITEMS + 1):
        with pytest.raises(PeerError, match="bob broke psi at Terms: required: at most 4294967296 items"):
            run_parties(
                {"alice": lambda s: agree(s.channel("bob"), TERMS, rng=s.rng), "bob": claims(size)}, protocol="psi"
            )


def test_words_of_a_peer_are_cut_and_made_plain() -> None:
    alice, _ = agreed(TERMS, dataclasses.replace(TERMS, form="\x1b[31m" + "x" * 5000))
    assert r"there '\x1b[31mxxx" in str(alice)
    assert len(str(alice)) < 300


def test_misuse() -> None:
    for change, text in (
        ({"reveal_to": "all"}, "reveal_to is 'both', 'me' or 'peer', not 'all'"),
        ({"security": "none"}, "security is 'semi-honest' or 'malicious', not 'none'"),
        ({"size": MAX_ITEMS + 1}, "4294967297 items are more than the 4294967296 that one run takes: split the set"),
    ):
        with pytest.raises(UsageError, match=text):
            agreed(dataclasses.replace(TERMS, **change), TERMS)


@pytest.mark.parametrize("sender", ["alice", "bob"])
def test_no_flipped_bit_goes_unnoticed_but_in_size_and_nonce(sender: str) -> None:
    # A change of the size or the nonce has the two run on with other sizes or salts; what that comes to is tested where
    # they run. Everywhere else in the message a flipped bit ends the agreement at whom it reaches.
    other = {"alice": "bob", "bob": "alice"}[sender]
    unnoticed = 0
    for byte in range(0, 120, 3):
        got = agreed(TERMS, TERMS, tamper={(sender, other): Tamper(0, byte, byte % 8)})
        results = dict(zip(("alice", "bob"), got, strict=True))
        if isinstance(results[other], PeerError):
            continue
        changed = results[other].peer_size != 5 or results["alice"].salt != results["bob"].salt
        assert changed
        unnoticed += 1
    assert unnoticed < 20
