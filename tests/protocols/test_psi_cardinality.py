"""The size of an intersection against the plain one, on every suite, and that nothing tells which items match."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.kernels.packing import Packed, pack
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.psi.v1 import ecdh_pb2, sum_pb2
from protocols.psi import cardinality, dh
from protocols.psi.agreement import Agreed, Reveal
from protocols.psi.cardinality import CardinalityResult
from tests.protocols.psi import OTHER, SUITES, Ran, Run, between

ENVELOPE = 80
suites = pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)


def counted(
    bank: list[Any], insurer: list[Any], *, reveal_to: Reveal = "both", **options: object
) -> list[CardinalityResult]:
    results = run_parties(
        {
            "bank": lambda s: cardinality.count(s, bank, peer="insurer", reveal_to=reveal_to, **options),
            "insurer": lambda s: cardinality.count(s, insurer, peer="bank", reveal_to=OTHER[reveal_to], **options),
        },
        protocol="psi.cardinality",
    )
    return [results["bank"], results["insurer"]]


def runs(x: Packed, y: Packed, suite: Suite) -> tuple[Run, Run]:
    return (
        lambda c, agreed, s: cardinality.receive(c, x, agreed, suite=suite, rng=s.rng),
        lambda c, agreed, s: cardinality.send(c, y, agreed, suite=suite, rng=s.rng),
    )


def run(x: list[bytes], y: list[bytes], suite: Suite, **options: object) -> Ran:
    return between(cardinality.OPERATOR, (len(x), len(y)), *runs(pack(x), pack(y), suite), suite=suite, **options)


@suites
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_it_is_the_size_of_the_intersection(suite: Suite, data: st.DataObject) -> None:
    sets = st.lists(st.binary(max_size=2) | st.sampled_from([b"\n\x00", b"x" * 10_000]), unique=True, max_size=12)
    bank, insurer = data.draw(sets), data.draw(sets)
    reveal_to = data.draw(st.sampled_from(sorted(OTHER)))
    a, b = counted(bank, insurer, reveal_to=reveal_to, suite=suite, form="bytes")
    size = len(set(bank) & set(insurer))
    assert a.count == (None if reveal_to == "peer" else size)
    assert b.count == (None if reveal_to == "me" else size)
    assert (a.peer_size, b.peer_size) == (len(insurer), len(bank))


@suites
@pytest.mark.parametrize("sizes", [(0, 0), (0, 3), (3, 0), (1, 1), (8, 8), (9, 33), (33, 9)])
def test_batches_of_every_number(suite: Suite, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dh, "BATCH", 8)
    n, m = sizes
    x, y = [b"%d" % i for i in range(n)], [b"%d" % i for i in range(n - n // 2, n - n // 2 + m)]
    size, theirs, receiver, sender = run(x, y, suite)
    assert (size, theirs) == (len(set(x) & set(y)), None)
    e, t = suite.group.ELEMENT_BYTES, 8
    forth, back = (e * n, e * m + t * n) if n and m else (0, 0)
    assert forth <= receiver.bytes_sent <= forth + ENVELOPE * receiver.messages_sent
    assert back <= sender.bytes_sent <= back + ENVELOPE * sender.messages_sent
    p, q = (-(-n // 8), -(-m // 8)) if n and m else (0, 0)
    assert (receiver.messages_sent, sender.messages_sent) == (p, p + q)
    assert max(receiver.rounds, sender.rounds) <= 2 + max(p, q)
    if n <= m:
        both = run(x, y, suite, both=True)
        assert both[:2] == (size, size)
        assert both[2].messages_sent == p + 1
        assert both[2].bytes_sent <= forth + ENVELOPE * (p + 1)


def test_what_comes_back_is_in_no_order_that_the_receiver_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 40
    keys = [b"%d" % i for i in range(n)]
    seen: dict[str, NDArray[np.uint8]] = {}
    real = dh.matches

    def matches(channel: Channel, mine: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> object:
        rows, positions = real(channel, mine, theirs)
        seen["rows"] = rows
        return rows, positions

    monkeypatch.setattr(dh, "matches", matches)
    orders = set()
    for _ in range(2):
        run(keys, keys, SUITES[0])
        orders.add(tuple(seen["rows"].tolist()))
    # Both lists are the same set; were either of the two not shuffled, one order would be that of the keys.
    assert len(orders) == 2
    assert tuple(range(n)) not in orders


def test_duplicates_count_once_where_that_is_asked_for() -> None:
    for duplicates in ("first", "many"):
        a, b = counted(["a", "b", "a"], ["a", "c", "c"], duplicates=duplicates)
        assert (a.count, b.count, a.peer_size) == (1, 1, 2)
    with pytest.raises(UsageError, match="Rows 1 and 3 have the same key"):
        counted(["a", "b", "a"], ["c"])


def test_progress_ends_at_all_items() -> None:
    seen: list[Progress] = []
    run_parties(
        {
            "bank": lambda s: cardinality.count(
                Session(s.me, s.channels, s.rng, seen.append), ["a", "b"], peer="insurer"
            ),
            "insurer": lambda s: cardinality.count(s, ["a"], peer="bank"),
        }
    )
    assert seen[-1] == Progress("psi.cardinality", 3, 3)


def test_a_count_that_cannot_be_is_the_receivers_error() -> None:
    def liar(channel: Channel, agreed: Agreed, s: Session) -> None:
        channel.send(ecdh_pb2.Points(), SUITES[0].group.hash_to_group(pack(["a"]), b"test"))
        channel.recv(ecdh_pb2.Points)
        channel.recv(ecdh_pb2.Tags)
        channel.send(sum_pb2.Outcome(count=2))

    _, send = runs(pack(["a"]), pack(["a"]), SUITES[0])
    with pytest.raises(PeerError, match="alice broke psi.cardinality at Outcome: required: no more matches than items"):
        between(cardinality.OPERATOR, (1, 1), liar, send, suite=SUITES[0], both=True)


@suites
@pytest.mark.parametrize(("sender", "message"), [("alice", 1), ("bob", 1), ("bob", 2), ("alice", 2)])
def test_a_flipped_bit_is_an_error_or_changes_the_count_by_one(suite: Suite, sender: str, message: int) -> None:
    keys = [b"%d" % i for i in range(6)]
    other = {"alice": "bob", "bob": "alice"}[sender]
    for byte in (8, -1, -4, -9) if message == 1 else (8, -1):
        tamper = {(sender, other): Tamper(message, byte)}
        try:
            mine, theirs, *_ = run(keys, keys, suite, both=True, tamper=tamper)
        except PeerError as error:
            named = error
        else:
            named = None
            assert mine == (6 if (sender, message) == ("alice", 2) else 5)
            assert theirs <= 6
        if byte == 8:  # in the envelope
            assert named is not None
            assert named.party == sender


def test_misuse_ends_both() -> None:
    def party(peer: str, items: list[str], **options: object) -> Callable[[Session], object]:
        def function(s: Session) -> object:
            try:
                return cardinality.count(s, items, peer=peer, **options)
            except (UsageError, PeerError, ChannelClosed) as error:
                return error

        return function

    results = run_parties({"bank": party("insurer", ["a"], form="x"), "insurer": party("bank", ["a"])})
    assert isinstance(results["bank"], UsageError)
    assert str(results["insurer"]) == "bank ended the conversation: a count broke off (UsageError)"
    results = run_parties({"bank": party("insurer", ["a"]), "insurer": party("bank", ["a"], reveal_to="me")})
    for name in ("bank", "insurer"):
        assert "who learns (here" in str(results[name])


def test_what_each_party_learns_is_data() -> None:
    assert set(cardinality.OPERATOR.learns) == {"receiver", "sender"}
    assert (cardinality.OPERATOR.name, cardinality.OPERATOR.version) == ("psi.cardinality", 1)
