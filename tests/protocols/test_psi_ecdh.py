"""Intersection by Diffie-Hellman against the plain one, on every suite; and against peers that lie."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.psi.v1 import ecdh_pb2 as wire
from mpc.wire.psi.v1 import psi_pb2 as shared
from protocols.psi import dh, ecdh
from protocols.psi.agreement import Agreed
from protocols.psi.result import matches
from tests.protocols.psi import SUITES, Ran, Run, between

ENVELOPE = 80
"""What the file's Cost line allows per message besides its rows, bytes."""

suites = pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)


def runs(x: Packed, y: Packed, suite: Suite, **options: object) -> tuple[Run, Run]:
    return (
        lambda c, agreed, s: ecdh.receive(c, x, agreed, suite=suite, rng=s.rng, **options),
        lambda c, agreed, s: ecdh.send(c, y, agreed, suite=suite, rng=s.rng, **options),
    )


def run(x: Packed, y: Packed, suite: Suite, **options: object) -> Ran:
    return between(ecdh.OPERATOR, (len(x), len(y)), *runs(x, y, suite), suite=suite, **options)


def check(x: list[bytes], y: list[bytes], rows: NDArray[np.int64], theirs: NDArray[np.int64] | None) -> None:
    matched = [x[row] for row in rows]
    assert sorted(matched) == sorted(set(x) & set(y))
    if theirs is not None:
        assert [y[row] for row in theirs] == matched  # in common order


ITEM = st.binary(max_size=3) | st.sampled_from(
    [b"\x00", b"\n", b"a\x00", b"x" * 10_000, "é".encode(), "é".encode("gb18030")]
)
SETS = st.tuples(st.lists(ITEM, unique=True, max_size=12), st.lists(ITEM, unique=True, max_size=12), st.data())


@suites
@settings(max_examples=40, deadline=None)
@given(sets=SETS, both=st.booleans())
def test_it_is_the_intersection(suite: Suite, sets: tuple[list[bytes], list[bytes], Any], *, both: bool) -> None:
    x, y, data = sets
    y = data.draw(st.permutations(list(dict.fromkeys(y + x[: data.draw(st.integers(0, len(x)))]))))
    if both and len(x) > len(y):
        x, y = y, x  # the smaller set is the receiver's
    rows, theirs, _, _ = run(pack(x), pack(y), suite, both=both)
    check(x, y, rows, theirs)
    assert (theirs is not None) == both


def test_the_points_do_not_come_in_the_inputs_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that gives back false tags for some points would learn in which rows the others' items stand."""
    items = [b"%d" % i for i in range(40)]
    send_tags = dh.send_tags

    def false_in_the_first_half(channel: Channel, tags: NDArray[np.uint8]) -> None:
        tags[:20] ^= 1
        send_tags(channel, tags)

    monkeypatch.setattr(dh, "send_tags", false_in_the_first_half)
    rows, *_ = run(pack(items), pack(items), SUITES[0])
    assert len(rows) == 20
    assert set(rows.tolist()) != set(range(20, 40))


@suites
@pytest.mark.parametrize("sizes", [(0, 0), (0, 3), (3, 0), (1, 1), (1, 40), (40, 1), (8, 8), (9, 33), (33, 9)])
def test_batches_of_every_number(suite: Suite, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dh, "BATCH", 8)
    n, m = sizes
    x, y = [b"%d" % i for i in range(n)], [b"%d" % i for i in range(n - n // 2, n - n // 2 + m)]
    for both in (False, True) if n <= m else (False,):
        rows, theirs, *_ = run(pack(x), pack(y), suite, both=both)
        check(x, y, rows, theirs)


@suites
def test_the_common_order_is_neither_partys(suite: Suite) -> None:
    same = [b"%d" % i for i in range(64)]
    rows, theirs, _, _ = run(pack(same), pack(same), suite, both=True)
    assert rows.tolist() == theirs.tolist()
    assert sorted(rows) == list(range(64))
    again, *_ = run(pack(same), pack(same), suite, both=True)
    assert list(range(64)) != rows.tolist() != again.tolist()


@suites
@pytest.mark.parametrize(
    ("n", "m", "both"), [(0, 5, True), (1, 1, False), (20, 70, True), (70, 20, False), (64, 64, True)]
)
def test_it_costs_what_the_file_says(
    suite: Suite, n: int, m: int, monkeypatch: pytest.MonkeyPatch, *, both: bool
) -> None:
    monkeypatch.setattr(dh, "BATCH", 16)
    x, y = pack([b"x%d" % i for i in range(n)]), pack([b"y%d" % i for i in range(m)])
    _, _, receiver, sender = run(x, y, suite, both=both)
    e, t = suite.group.ELEMENT_BYTES, 8
    p, q = (-(-n // 16), -(-m // 16)) if n and m else (0, 0)
    bitmap = -(-m // 8) if both else 0
    forth = e * n * bool(m) + bitmap
    back = (e * m + t * n) * bool(n and m)
    assert forth <= receiver.bytes_sent <= forth + ENVELOPE * receiver.messages_sent
    assert back <= sender.bytes_sent <= back + ENVELOPE * sender.messages_sent
    assert receiver.messages_sent == p + both
    assert sender.messages_sent == q + p
    assert (receiver.bytes_received, sender.bytes_received) == (sender.bytes_sent, receiver.bytes_sent)
    assert receiver.rounds <= max(p, q) + 1
    assert sender.rounds <= max(p, q) + 1


def test_progress_ends_at_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dh, "BATCH", 8)
    suite = SUITES[0]
    for n, m in ((20, 50), (50, 20), (16, 16)):
        seen: dict[str, list[Progress]] = {"receiver": [], "sender": []}
        x, y = pack([b"%d" % i for i in range(n)]), pack([b"%d" % i for i in range(m)])
        receive, _ = runs(x, y, suite, progress=seen["receiver"].append)
        _, send = runs(x, y, suite, progress=seen["sender"].append)
        between(ecdh.OPERATOR, (n, m), receive, send, suite=suite)
        for events in seen.values():
            assert {(e.stage, e.total) for e in events} == {("psi.ecdh", n + m)}
            done = [e.done for e in events]
            assert done == sorted(done)
            assert done[-1] == n + m


def test_two_items_that_are_the_same_are_named() -> None:
    x, y = pack(["a", "b", "a"]), pack(["c"])
    for mine, theirs in ((x, y), (y, x)):
        with pytest.raises(UsageError, match="Rows 1 and 3 have the same key"):
            run(mine, theirs, SUITES[0])


@suites
def test_secrets_are_wiped(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets: list[NDArray[np.uint8]] = []
    real = dh.secret

    def kept(suite: Suite, rng: Rng) -> NDArray[np.uint8]:
        secrets.append(real(suite, rng))
        return secrets[-1]

    monkeypatch.setattr(dh, "secret", kept)
    run(pack(["a"]), pack(["a"]), suite)
    assert len(secrets) == 2
    assert not any(s.any() for s in secrets)


# Peers that lie -------------------------------------------------------------------------------------------------------


def points(suite: Suite, n: int) -> NDArray[np.uint8]:
    return suite.group.hash_to_group(pack([b"%d" % i for i in range(n)]), b"test")


def ending(channel: Channel) -> None:
    with suppress(ChannelClosed):
        while True:
            channel.recv(wire.Points, wire.Tags, shared.Matches)


Lie = Callable[[Channel, Suite], None]


def say(*messages: Callable[[Suite], tuple[Any, ...]]) -> Lie:
    def lie(channel: Channel, suite: Suite) -> None:
        for message in messages:
            channel.send(*message(suite))

    return lie


def bad_point(suite: Suite) -> tuple[Any, ...]:
    found = points(suite, 3)
    found[1] = 0xFF
    return wire.Points(), found


def identity(suite: Suite) -> tuple[Any, ...]:
    found = points(suite, 3)
    found[2] = 0
    return wire.Points(), found


def good(suite: Suite) -> tuple[Any, ...]:
    return wire.Points(), points(suite, 3)


BAD_POINTS = [
    (say(bad_point), "Points: required: point 1 canonically encoded and not the identity"),
    (say(identity), "Points: required: point 2 canonically encoded and not the identity"),
    (say(lambda s: (wire.Points(), points(s, 2))), "Points: required: 3 points of the suite's group"),
    (say(lambda s: (wire.Points(), points(s, 4))), "Points: required: 3 points of the suite's group"),
    (say(lambda _: (wire.Points(), np.ones((3, 31), np.uint8))), "Points: required: 3 points of the suite's group"),
    (say(lambda _: (wire.Tags(), np.ones((3, 8), np.uint8))), "Points: got a 'unseen.psi.v1.Tags'"),
]


@suites
@pytest.mark.parametrize(("lie", "reason"), BAD_POINTS)
def test_bad_points_are_the_peers_error(suite: Suite, lie: Lie, reason: str) -> None:
    three = pack(["a", "b", "c"])
    receive, send = runs(three, three, suite)

    def liar(channel: Channel, agreed: Agreed, s: Session) -> None:
        lie(channel, suite)
        ending(channel)

    for honest in ((receive, liar), (liar, send)):
        with pytest.raises(PeerError, match=f"broke psi.ecdh at {reason}"):
            between(ecdh.OPERATOR, (3, 3), *honest, suite=suite)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (say(good, lambda _: (wire.Tags(), np.ones((2, 8), np.uint8))), "Tags: required: 3 tags of 8 bytes"),
        (say(good, lambda _: (wire.Tags(), np.ones((3, 7), np.uint8))), "Tags: required: 3 tags of 8 bytes"),
        (say(good, good), "Tags: got a 'unseen.psi.v1.Points'"),
    ],
)
def test_bad_tags_are_the_senders_error(lie: Lie, reason: str) -> None:
    suite = SUITES[0]
    receive, _ = runs(pack(["a", "b", "c"]), pack(["a", "b", "c"]), suite)

    def liar(channel: Channel, agreed: Agreed, s: Session) -> None:
        lie(channel, suite)
        ending(channel)

    with pytest.raises(PeerError, match=f"bob broke psi.ecdh at {reason}"):
        between(ecdh.OPERATOR, (3, 3), receive, liar, suite=suite)


@pytest.mark.parametrize("mine", [1, 5])
def test_one_tag_for_two_items_is_the_senders_error(mine: int) -> None:
    def alice(s: Session) -> None:
        s.channel("bob").recv(wire.Tags)
        tags = np.arange(8 * mine, dtype=np.uint8).reshape(mine, 8)
        matches(s.channel("bob"), tags, tags[[0, 0]])

    def bob(s: Session) -> None:
        s.channel("alice").send(wire.Tags(), np.zeros((2, 8), np.uint8))

    with pytest.raises(PeerError, match="bob broke psi.ecdh at Tags: required: a tag of its own for every item"):
        run_parties({"alice": alice, "bob": bob}, protocol="psi.ecdh")


@pytest.mark.parametrize(
    ("bits", "reason"),
    [
        (b"\xff", "no bit behind the last item"),
        (b"", "one bit per item of the sender"),
        (b"\x01\x00", "one bit per item of the sender"),
    ],
)
def test_bad_matches_are_the_receivers_error(bits: bytes, reason: str) -> None:
    suite = SUITES[0]
    three = pack(["a", "b", "c"])
    _, send = runs(three, three, suite)

    def liar(channel: Channel, agreed: Agreed, s: Session) -> None:
        channel.send(wire.Points(), points(suite, 3))
        channel.recv(wire.Points)
        channel.recv(wire.Tags)
        channel.send(shared.Matches(), bits)
        ending(channel)

    with pytest.raises(PeerError, match=f"alice broke psi.ecdh at Matches: required: {reason}"):
        between(ecdh.OPERATOR, (3, 3), liar, send, suite=suite, both=True)


@suites
@pytest.mark.parametrize(
    ("sender", "message"), [("alice", 1), ("alice", 2), ("bob", 1), ("bob", 2)]
)  # message 0 is the agreement's
def test_a_flipped_bit_is_an_error_or_loses_one_match(suite: Suite, sender: str, message: int) -> None:
    # Half the strings that look like points are none, and the peer says which it got. Another point or tag in place of
    # one that would match loses this match, which is all that a semi-honest protocol says of it: it finds no false one.
    x, y = [b"%d" % i for i in range(6)], [b"%d" % i for i in range(6)]
    other = {"alice": "bob", "bob": "alice"}[sender]
    errors = lost = 0
    for byte in range(-1, -20, -3):
        try:
            # Seeded: that every flip makes another point has odds of 2^-7, too many for a test.
            changed = {(sender, other): Tamper(message, byte)}
            rows, theirs, *_ = run(pack(x), pack(y), suite, both=True, tamper=changed, seed=b"flips")
        except PeerError as error:
            errors += error.party == sender
            continue
        lost += 1
        if (sender, message) == ("alice", 2):  # the bits: the receiver's own result stands
            check(x, y, rows, None)
            assert len(set(theirs.tolist()) ^ set(rows.tolist())) == 1
        else:
            assert len(rows) == 5
            assert [y[row] for row in theirs] == [x[row] for row in rows]
    assert errors + lost == 7
    if message == 1:
        assert errors  # some are no points
    if (sender, message) == ("bob", 2):
        assert not errors


@suites
def test_one_flipped_bit_in_an_envelope(suite: Suite) -> None:
    three = pack(["a", "b", "c"])
    for sender, other in (("alice", "bob"), ("bob", "alice")):
        for message, reason in ((1, "at Points: got a"), (2, "at (Tags|Matches): got a")):
            with pytest.raises(PeerError, match=f"{sender} broke psi.ecdh {reason}"):
                run(three, three, suite, both=True, tamper={(sender, other): Tamper(message, 8)})


def test_what_each_party_learns_is_data() -> None:
    assert set(ecdh.OPERATOR.learns) == {"receiver", "sender"}
    assert (ecdh.OPERATOR.name, ecdh.OPERATOR.version) == ("psi.ecdh", 1)
