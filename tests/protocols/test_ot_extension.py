"""SoftSpoken: its transfers against their relation, its cost against the docstring, and peers that deviate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.channel import Channel, Traffic
from mpc.errors import CheatingDetected, PeerError, UsageError
from mpc.kernels import ot
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.ot.v1 import ot_pb2 as wire
from protocols.ot import CotReceiver, CotSender, extension
from protocols.ot.method import FieldBits, Security

SUITE = suites.get("intl")
ENVELOPE = 128
MALICIOUS: Security = "malicious"


def extend(
    *batches: NDArray[np.bool_],
    security: Security = "semi-honest",
    k: FieldBits = 2,
    counts: tuple[int, ...] | None = None,
    **options: object,
) -> tuple[list[CotSender], list[CotReceiver], Traffic]:
    """One extension, and a call for each batch of choices; also the receiver's traffic."""

    def send(s: Session) -> list[CotSender]:
        channel = s.channel("bob")
        sender = extension.start_send(channel, suite=SUITE, rng=s.rng, security=security, k=k)
        ns = counts or tuple(map(len, batches))
        return [extension.extend_send(channel, sender, n, rng=s.rng) for n in ns]

    def receive(s: Session) -> tuple[list[CotReceiver], Traffic]:
        channel = s.channel("alice")
        receiver = extension.start_receive(channel, suite=SUITE, rng=s.rng, security=security, k=k)
        got = [extension.extend_receive(channel, receiver, choices, rng=s.rng) for choices in batches]
        return got, channel.traffic

    results = run_parties({"alice": send, "bob": receive}, **options)
    return results["alice"], *results["bob"]


def bits(n: int, seed: int = 1) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).integers(0, 2, n).astype(np.bool_)


def holds(sent: CotSender, got: CotReceiver) -> bool:
    return np.array_equal(got.t, sent.k ^ got.choices[:, None] * sent.delta)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=3),
    k=st.sampled_from([1, 2, 4, 8]),
    security=st.sampled_from(["semi-honest", "malicious"]),
)
def test_the_relation_holds(lengths: list[int], k: FieldBits, security: Security) -> None:
    batches = [bits(n, seed) for seed, n in enumerate(lengths)]
    sent, got, _ = extend(*batches, k=k, security=security)
    for choices, s, g in zip(batches, sent, got, strict=True):
        assert np.array_equal(g.choices, choices)
        assert s.k.shape == (len(choices), 16)
        assert holds(s, g)
        assert np.array_equal(s.delta, sent[0].delta)
    rows = np.concatenate([s.k for s in sent])
    assert len(np.unique(rows, axis=0)) == len(rows)  # a stream that began again would repeat rows


@pytest.mark.parametrize("n", [100_000, extension.CHUNK + 1])
@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_many_transfers(n: int, security: Security) -> None:
    (sent,), (got,), _ = extend(bits(n), security=security)
    assert holds(sent, got)
    ones = np.unpackbits(sent.k[:50_000], axis=1).mean(axis=0)
    assert np.all(np.abs(ones - 0.5) < 0.02)  # nine standard deviations, for each of the 128 columns


@pytest.mark.parametrize("n", [0, 1, 7, 128, 100_000])
@pytest.mark.parametrize("k", [1, 2, 4, 8])
@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_the_cost_is_the_stated_one(n: int, k: FieldBits, security: Security) -> None:
    malicious = security == "malicious"
    *_, traffic = extend(bits(n), k=k, security=security)
    base = (2 * 128 + 1) * SUITE.group.ELEMENT_BYTES
    setup = base + 32 * (128 - 128 // k) + (64 * 128 // k if malicious and k > 1 else 0)
    padded = -(-n // 128) * 128
    transfers = 16 * padded // k + (2048 // k + 2080 if malicious and n else 0)
    messages = traffic.messages_sent + traffic.messages_received
    assert messages == 2 + (k > 1) * (1 + malicious) + (n > 0) * (1 + 2 * malicious)
    total = traffic.bytes_sent + traffic.bytes_received
    assert setup + transfers < total <= setup + transfers + messages * ENVELOPE
    assert traffic.rounds == 1 + (malicious and n > 0)


def test_the_offset_can_be_given() -> None:
    delta = np.arange(16, dtype=np.uint8)
    results = run_parties(
        {
            "alice": lambda s: extension.start_send(s.channel("bob"), suite=SUITE, rng=s.rng, delta=delta).delta,
            "bob": lambda s: extension.start_receive(s.channel("alice"), suite=SUITE, rng=s.rng),
        }
    )
    assert np.array_equal(results["alice"], delta)


# Peers that deviate ---------------------------------------------------------------------------------------------------


def against(
    receiver: Callable[[Channel, Session], object], *, n: int = 300, seed: bytes | None = None, k: FieldBits = 2
) -> object:
    """The honest sender of n transfers, malicious security, against this receiver."""

    def send(s: Session) -> object:
        channel = s.channel("bob")
        sender = extension.start_send(channel, suite=SUITE, rng=s.rng, security=MALICIOUS, k=k)
        return extension.extend_send(channel, sender, n, rng=s.rng)

    return run_parties({"alice": send, "bob": lambda s: receiver(s.channel("alice"), s)}, seed=seed)


class Lying:
    """A channel that changes the arrays of one type of message before they are sent."""

    def __init__(self, channel: Channel, kind: type, change: Callable[[NDArray[np.uint8]], None]) -> None:
        self._channel = channel
        self._kind = kind
        self._change = change

    def send(self, header: object, *arrays: NDArray[np.uint8]) -> None:
        if isinstance(header, self._kind):
            self._change(arrays[0])
        self._channel.send(header, *arrays)

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)


def inconsistent(groups: int) -> Callable[[Channel, Session], object]:
    """A receiver that has another choice in the first `groups` groups: it would learn their bits of the offset."""

    def change(corrections: NDArray[np.uint8]) -> None:
        rows = corrections.reshape(64, -1)  # fewer transfers than a stripe: one row for each group
        rows[:groups, 20] ^= 16

    def receive(channel: Channel, s: Session) -> object:
        receiver = extension.start_receive(channel, suite=SUITE, rng=s.rng, security=MALICIOUS)
        return extension.extend_receive(Lying(channel, wire.Corrections, change), receiver, bits(300), rng=s.rng)

    return receive


def test_choices_that_differ_between_groups_are_caught() -> None:
    for attempt in range(4):
        with pytest.raises(CheatingDetected, match="bob broke test at Response: required: the same choices"):
            against(inconsistent(40), seed=b"%d" % attempt)


def test_a_guess_at_one_group_passes_only_where_it_is_right() -> None:
    """The functionality allows it: at k = 2 a lie in one group passes where both its bits of the offset are zero."""
    caught = 0
    for attempt in range(40):
        try:
            against(inconsistent(1), seed=b"%d" % attempt)
        except CheatingDetected:
            caught += 1
    assert 20 <= caught <= 38  # three quarters, on average


def test_lies_in_all_groups_alike_are_other_choices() -> None:
    """Who changes a choice everywhere has merely chosen otherwise; but then the hash of its choices is wrong."""
    with pytest.raises(CheatingDetected):
        against(inconsistent(64))


@pytest.mark.parametrize("k", [2, 4])
def test_seeds_that_form_no_tree_are_caught(k: FieldBits) -> None:
    def change(sums: NDArray[np.uint8]) -> None:
        sums[:, -1, 0, 3] ^= 1  # the last level's left sums

    def receive(channel: Channel, s: Session) -> object:
        lying = Lying(channel, wire.Trees, change)
        return extension.start_receive(lying, suite=SUITE, rng=s.rng, security=MALICIOUS, k=k)

    with pytest.raises(CheatingDetected, match="bob broke test at TreeCheck: required: seeds that form a tree"):
        against(receive, k=k)


@pytest.mark.parametrize(
    ("sender", "message", "byte", "step"),
    [
        ("bob", 1, -5, "TreeCheck"),  # Trees: one of the last group's sums, half of the time the one that it takes
        ("bob", 2, -5, "TreeCheck"),
        ("bob", 2, -4096 + 7, "TreeCheck"),
        ("bob", 3, -5, "Response"),
        ("alice", 1, -5, "Response"),  # Challenge: the two hash at different points
        ("bob", 4, -5, "Response"),
        ("bob", 4, -2048 - 3, "Response"),
    ],
)
def test_a_flipped_bit_is_caught(sender: str, message: int, byte: int, step: str) -> None:
    tamper = {(sender, "alice" if sender == "bob" else "bob"): Tamper(message=message, byte=byte)}
    caught = 0
    for attempt in range(6):
        try:
            extend(bits(300), security=MALICIOUS, tamper=tamper, seed=b"%d" % attempt)
        except CheatingDetected as error:
            caught += 1
            assert (error.party, error.step) == ("bob", step)  # noqa: PT017 - what was not caught is counted
    assert caught >= 1
    if (message, byte) in ((2, -5), (2, -4096 + 7), (4, -5)) or sender == "alice":
        assert caught == 6


def test_semi_honest_transfers_are_spoiled_by_a_flipped_bit_and_say_nothing() -> None:
    """Without the check a fault in the corrections shows in one transfer, where the offset has a bit of the group."""
    tamper = {("bob", "alice"): Tamper(message=2, byte=-1, bit=7)}
    wrong = 0
    for attempt in range(6):
        (sent,), (got,), _ = extend(bits(128), tamper=tamper, seed=b"%d" % attempt)
        assert np.array_equal(got.t[:-1], (sent.k ^ got.choices[:, None] * sent.delta)[:-1])
        wrong += not holds(sent, got)
    assert wrong >= 1


def test_peers_that_want_other_numbers_are_named() -> None:
    with pytest.raises(PeerError, match="bob broke test at Corrections: required: corrections of 384 transfers"):
        extend(bits(100), counts=(300,))
    with pytest.raises(PeerError, match="alice broke test at BaseChoice"):
        run_parties(
            {
                "alice": lambda s: (
                    s.channel("bob").recv(wire.BaseOffer)
                    and s.channel("bob").send(wire.BaseChoice(), np.ones((127, 2, 32), np.uint8))
                ),
                "bob": lambda s: extension.start_receive(s.channel("alice"), suite=SUITE, rng=s.rng),
            }
        )
    with pytest.raises(PeerError, match="required: trees of 2 levels for 64 groups"):
        run_parties(
            {
                "alice": lambda s: extension.start_send(s.channel("bob"), suite=SUITE, rng=s.rng, k=2),
                "bob": lambda s: extension.start_receive(s.channel("alice"), suite=SUITE, rng=s.rng, k=4),
            }
        )


def test_misuse_says_what_to_do() -> None:
    for call, text in (
        (lambda: extension.start_send(None, suite=SUITE, rng=None, k=3), "1, 2, 4 or 8"),  # type: ignore[arg-type]
        (lambda: extension.start_receive(None, suite=SUITE, rng=None, k=16), "1, 2, 4 or 8"),  # type: ignore[arg-type]
        (
            lambda: extension.start_send(None, suite=SUITE, rng=None, delta=np.zeros(15, np.uint8)),  # type: ignore[arg-type]
            "one block",
        ),
    ):
        with pytest.raises(UsageError, match=text):
            call()
    sender = extension.Sender(np.zeros(16, np.uint8), np.zeros((64, 4, 16), np.uint8), "semi-honest")
    with pytest.raises(UsageError, match="call again for more"):
        extension.extend_send(None, sender, extension.MAX_TRANSFERS + 1, rng=None)  # type: ignore[arg-type]
    spent = replace(sender, used=extension._LIFETIME)
    with pytest.raises(UsageError, match="start another one"):
        extension._use(spent, ot.COLUMNS)
