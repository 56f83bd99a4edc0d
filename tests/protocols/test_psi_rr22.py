"""RR22 against plain intersection, both suites; what a deviating or broken peer is told; measured against the Cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.channel import Channel, Traffic
from mpc.errors import ChannelClosed, CheatingDetected, PeerError, UsageError
from mpc.kernels import okvs
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.transport import local
from mpc.wire.psi.v1 import oprf_pb2, rr22_pb2
from protocols import psi
from protocols.ot import noise
from protocols.ot.ideal import vole as ideal
from protocols.psi import items as sets
from protocols.psi import multi, oprf, rr22
from protocols.psi.agreement import Agreed, Security
from tests.protocols.psi import SUITES, Run, between, intersected

SUITE_IDS = [suite.name for suite in SUITES]
BOTH_SECURITIES: tuple[Security, ...] = ("semi-honest", "malicious")


@pytest.fixture
def dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    """VOLEs from a trusted dealer, so that a run takes milliseconds."""
    monkeypatch.setattr(rr22, "vole", ideal)


def receiver(items: Packed, suite: Suite) -> Run:
    return lambda c, agreed, s: rr22.receive(c, items, agreed, suite=suite, rng=s.rng, progress=s.progress)


def sender(items: Packed, suite: Suite) -> Run:
    return lambda c, agreed, s: rr22.send(c, items, agreed, suite=suite, rng=s.rng, progress=s.progress)


def run(
    mine: Sequence[bytes],
    theirs: Sequence[bytes],
    *,
    suite: Suite = SUITES[0],
    security: Security = "semi-honest",
    both: bool = False,
    tamper: dict[tuple[str, str], Tamper] | None = None,
) -> tuple[Any, Any, Traffic, Traffic]:
    """Rows of the receiver and of the sender (or None), and the traffic of both."""
    options = {"security": security, "both": both, "tamper": tamper}
    a, b = pack(mine), pack(theirs)
    return between(rr22.OPERATOR, (len(a), len(b)), receiver(a, suite), sender(b, suite), suite=suite, **options)


def numbered(*ranges: range) -> list[bytes]:
    return [b"%018d" % (i * 7919) for part in ranges for i in part]


# What comes out -------------------------------------------------------------------------------------------------------

ids = st.lists(st.binary(max_size=3), max_size=40, unique=True)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("suite", SUITES, ids=SUITE_IDS)
@settings(max_examples=25, deadline=None)
@given(mine=ids, theirs=ids, security=st.sampled_from(BOTH_SECURITIES))
def test_the_receiver_learns_the_plain_intersection(
    suite: Suite, mine: list[bytes], theirs: list[bytes], security: Security
) -> None:
    rows, nothing, *_ = run(mine, theirs, suite=suite, security=security)
    assert sorted(mine[row] for row in rows) == sorted(set(mine) & set(theirs))
    assert nothing is None


@pytest.mark.usefixtures("dealt")
@settings(max_examples=25, deadline=None)
@given(mine=ids, theirs=ids)
def test_both_learn_it_in_one_order(mine: list[bytes], theirs: list[bytes]) -> None:
    # Whoever has fewer items is the receiver; the tests' helper lets the first be it where there are as many.
    if len(mine) > len(theirs):
        mine, theirs = theirs, mine
    here, there, *_ = run(mine, theirs, both=True)
    assert [mine[row] for row in here] == [theirs[row] for row in there]
    assert sorted(mine[row] for row in here) == sorted(set(mine) & set(theirs))


@pytest.mark.parametrize("security", BOTH_SECURITIES)
@pytest.mark.parametrize("suite", SUITES, ids=SUITE_IDS)
def test_with_silent_vole(suite: Suite, security: Security) -> None:
    mine, theirs = numbered(range(3000)), numbered(range(2000, 2600), range(10_000, 10_700))
    rows, *_ = run(mine, theirs, suite=suite, security=security)
    assert sorted(rows.tolist()) == list(range(2000, 2600))


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 30_000), (30_000, 1), (0, 5), (5, 0), (0, 0), (140_000, 70_000)])
def test_sizes_that_differ(n: int, m: int) -> None:
    # The largest takes several bins of the store and several messages of the table.
    mine, theirs = numbered(range(n)), numbered(range(n // 2, n // 2 + m))
    rows, *_ = run(mine, theirs)
    assert sorted(rows.tolist()) == list(range(n // 2, min(n, n // 2 + m)))


@pytest.mark.usefixtures("dealt")
def test_the_order_is_not_the_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = numbered(range(500))
    here, there, *_ = run(everyone, everyone, both=True)
    assert np.array_equal(here, there)
    assert not np.array_equal(here, np.arange(500))
    again, *_ = run(everyone, everyone, both=True)
    assert not np.array_equal(here, again)


@pytest.mark.usefixtures("dealt")
def test_the_facade_takes_it_for_large_sets_and_for_malicious_peers() -> None:
    big = [b"x%d" % i for i in range(1100)]
    odd = [b"\x00", b"a\nb", "é".encode() * 5000, "é".encode("latin-1")]
    mine, theirs = intersected(big, big[:7] + odd, form="bytes")
    assert mine.operator == theirs.operator == "psi.rr22"
    assert mine.matched == theirs.matched == 7
    mine, theirs = intersected(big[:20], big[10:30], reveal_to="peer", security="malicious", form="bytes")
    assert mine.rows is None
    assert theirs.operator == "psi.rr22"
    assert theirs.rows is not None
    assert sorted(theirs.rows.tolist()) == list(range(10))


@pytest.mark.usefixtures("dealt")
def test_progress_comes_in_steps() -> None:
    steps: list[Progress] = []
    a, b = pack(numbered(range(50))), pack(numbered(range(20, 70)))

    def telling(c: Channel, agreed: Agreed, s: Session) -> NDArray[np.int64]:
        return rr22.receive(c, a, agreed, suite=SUITES[0], rng=s.rng, progress=steps.append)

    between(rr22.OPERATOR, (50, 50), telling, sender(b, SUITES[0]), suite=SUITES[0])
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert {(step.stage, step.total) for step in steps} == {("psi.rr22", len(steps))}


# What it costs --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("security", BOTH_SECURITIES)
@pytest.mark.parametrize(("n", "m"), [(400, 900), (100_000, 30_000)])
def test_bytes_and_rounds_are_those_of_the_docstring(n: int, m: int, security: Security) -> None:
    *_, here, there = run(numbered(range(n)), numbered(range(n // 2, n // 2 + m)), security=security)
    rows, malicious = oprf.table_rows(n), security == "malicious"
    width = 16 if malicious else sets.tag_bytes(n, m)
    pieces, messages = math.ceil(okvs.shape(n).bins / 4), math.ceil(m / (1 << 17))
    table = 16 * rows + malicious * 16
    dealer = 128  # the ideal VOLE's message: seed, offset, envelope
    tags = width * m + malicious * 64
    assert table <= here.bytes_sent <= table + 80 * (pieces + malicious)
    assert tags <= here.bytes_received <= tags + dealer + 80 * (messages + 2 * malicious)
    assert here.bytes_sent == there.bytes_received
    assert here.messages_sent == pieces
    assert here.messages_received == 1 + messages + 2 * malicious
    assert here.rounds == 1
    assert there.rounds == 1


@pytest.mark.usefixtures("dealt")
def test_both_learning_costs_a_bit_for_each_item_of_the_sender() -> None:
    *_, alone, _ = run(numbered(range(300)), numbered(range(900)))
    *_, both, _ = run(numbered(range(300)), numbered(range(900)), both=True)
    assert 113 <= both.bytes_sent - alone.bytes_sent <= 113 + 80


def test_bits_for_each_item_at_a_million() -> None:
    n = 1 << 20
    bits = 8 * (16 * oprf.table_rows(n) + sets.tag_bytes(n, n) * n) / n
    assert bits < 255  # and 270 with the VOLE's


# What a store can be made to hold -------------------------------------------------------------------------------------


def test_the_bound_on_overfitted_stores() -> None:
    n = 1 << 20
    m = oprf.table_rows(n)
    most = oprf.most_items(n)
    assert m < most < 3 * n

    def log2_odds(points: int) -> float:
        """Of the union bound, for that many points among 2^80 and as many seeds."""
        return points * (80 + math.log2(math.e / points)) - 128 * (points - m) + 80

    assert log2_odds(most) <= -40 < log2_odds(most - 1)
    assert oprf.most_items(1) >= oprf.table_rows(1)
    assert m < oprf.most_items(n, queries_log2=20) < oprf.most_items(n, queries_log2=60) < most
    with pytest.raises(UsageError, match="queries_log2"):
        oprf.most_items(n, queries_log2=128)


# What goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("side", ["receiver", "sender"])
def test_equal_items_are_named_by_their_rows(side: str) -> None:
    good, bad = numbered(range(200)), [*numbered(range(199)), numbered(range(17, 18))[0]]
    with pytest.raises(UsageError, match="Rows 18 and 200 have the same key"):
        run(*((bad, good) if side == "receiver" else (good, bad)))


@pytest.mark.usefixtures("dealt")
def test_a_malicious_run_cannot_tell_both() -> None:
    with pytest.raises(UsageError, match="the receiver's result alone"):
        run(numbered(range(9)), numbered(range(9)), both=True, security="malicious")


def test_the_most_items_have_a_vole() -> None:
    assert oprf.table_rows(rr22.MAX_ITEMS) <= noise.MAX_OUTPUTS
    assert oprf.table_rows(multi.MAX_ITEMS) <= noise.MAX_OUTPUTS


def test_more_items_than_a_run_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rr22, "MAX_ITEMS", 10)
    with pytest.raises((UsageError, PeerError), match=r"11 items are more than the 10|at most 10 items in one run"):
        run(numbered(range(11)), numbered(range(3)))
    for mine, theirs, error, text in (
        (11, 3, UsageError, "11 items are more than the 10 of one run: use psi.intersect_tables"),
        (3, 11, PeerError, "at most 10 items in one run"),
    ):
        agreed = Agreed(theirs, bytes(32), receiver=True, both=False, security="semi-honest")
        channel = Channel(local.pair("alice", "bob")[0], protocol="psi.rr22")
        with pytest.raises(error, match=text):
            rr22.receive(channel, pack(numbered(range(mine))), agreed, suite=SUITES[0], rng=Rng())


def broken(
    message: int, *, by: str, security: Security = "semi-honest", byte: int = -1, both: bool = False
) -> tuple[Any, ...]:
    """A run of 300 and 400 items, 100 in common, in which one bit of one message changes: as `run`."""
    tamper = {("alice", "bob") if by == "receiver" else ("bob", "alice"): Tamper(message, byte=byte)}
    mine, theirs = numbered(range(300)), numbered(range(200, 600))
    return run(mine, theirs, security=security, both=both, tamper=tamper)


# Message 0 of either party is its word in the agreement. The sender's next is the ideal VOLE's.


@pytest.mark.usefixtures("dealt")
def test_a_flipped_bit_of_the_table_spoils_matches_and_adds_none() -> None:
    rows, *_ = broken(1, by="receiver")  # a row that some items need: semi-honest, nothing checks the table
    assert set(rows.tolist()) <= set(range(200, 300))


@pytest.mark.usefixtures("dealt")
def test_a_flipped_bit_of_a_tag_costs_a_match_at_most() -> None:
    for security in BOTH_SECURITIES:
        rows, *_ = broken(2 if security == "semi-honest" else 4, by="sender", security=security)
        assert set(rows.tolist()) <= set(range(200, 300))
        assert len(rows) >= 99


@pytest.mark.usefixtures("dealt")
def test_a_flipped_bit_of_the_matches_changes_the_senders_rows_alone() -> None:
    here, there, *_ = broken(2, by="receiver", both=True)
    assert len(here) == 100
    assert abs(len(there) - 100) == 1


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(("message", "what"), [(2, "commitment"), (3, "opening")])
def test_a_coin_other_than_the_committed_one_is_cheating(message: int, what: str) -> None:
    with pytest.raises(CheatingDetected, match="the coin that was committed to"):
        broken(message, by="sender", security="malicious")


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("message", "by", "security"),
    [
        (1, "receiver", "semi-honest"),
        (2, "sender", "semi-honest"),
        (2, "sender", "malicious"),
        (3, "sender", "malicious"),
    ],
)
def test_a_flipped_bit_of_an_envelope_is_told(message: int, by: str, security: Security) -> None:
    with pytest.raises(PeerError):
        broken(message, by=by, security=security, byte=8)


def against_receiver(*replies: tuple[Message, Any], items: int = 5) -> None:
    """Run the receiver of 5 items against a sender of 4 that deals VOLEs and then says what the test wants."""

    def sends(c: Channel, agreed: Agreed, s: Session) -> None:
        ideal.send(c, oprf.table_rows(agreed.peer_size), suite=SUITES[0], rng=s.rng)
        c.recv(oprf_pb2.OprfTable)
        for header, *arrays in replies:
            c.send(header, *arrays)
        c.recv(oprf_pb2.OprfTable)  # waits for the receiver to end

    between(rr22.OPERATOR, (items, 4), receiver(pack(numbered(range(items))), SUITES[0]), sends, suite=SUITES[0])


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("shape", "what"), [((3, 8), "4 tags of 8 bytes"), ((5, 8), "4 tags of 8 bytes"), ((4, 7), "4 tags of 8 bytes")]
)
def test_tags_of_another_number_or_width(shape: tuple[int, int], what: str) -> None:
    with pytest.raises(PeerError, match=what):
        against_receiver((rr22_pb2.Rr22Tags(), np.zeros(shape, dtype=np.uint8)))


@pytest.mark.usefixtures("dealt")
def test_one_tag_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that repeats a tag would have one item of the receiver matched twice."""
    shuffled = np.random.default_rng(1).permutation
    monkeypatch.setattr("mpc.rng.Rng.permutation", lambda _, n: np.minimum(shuffled(n), n - 2))
    with pytest.raises(PeerError, match="a tag of its own for every item"):
        run(numbered(range(50)), numbered(range(50)))


@pytest.mark.usefixtures("dealt")
def test_no_error_tells_a_malicious_sender_that_a_repeated_tag_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the receiver has the item or not, the run ends alike, and the item counts once."""
    monkeypatch.setattr("mpc.rng.Rng.permutation", lambda _, n: np.arange(n) % 2)
    items = numbered(range(50))
    for mine in (numbered(range(100, 110)), items):
        rows, *_ = run(mine, items, security="malicious")
        assert len(rows) == (2 if mine is items else 0)


def against_sender(*pieces: tuple[Message, Any]) -> None:
    """Run the sender of 4 items against a receiver of 5 that takes VOLEs and then says what the test wants."""

    def receives(c: Channel, agreed: Agreed, s: Session) -> None:
        ideal.receive(c, oprf.table_rows(5), suite=SUITES[0], rng=s.rng)
        for piece in pieces:
            c.send(*piece)
        c.recv(oprf_pb2.OprfTable)

    between(rr22.OPERATOR, (5, 4), receives, sender(pack(numbered(range(4))), SUITES[0]), suite=SUITES[0])


ROWS = np.zeros((oprf.table_rows(5), 16), dtype=np.uint8)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("pieces", "what"),
    [
        ([(oprf_pb2.OprfTable(seed=bytes(15)), ROWS)], "a seed of 16 bytes"),
        ([(oprf_pb2.OprfTable(seed=bytes(16), coin=bytes(16)), ROWS)], "a coin where one belongs"),
        ([(oprf_pb2.OprfTable(seed=bytes(16), first=1), ROWS)], "whole bins"),
        ([(oprf_pb2.OprfTable(seed=bytes(16)), ROWS[:0])], "whole bins"),
        ([(oprf_pb2.OprfTable(seed=bytes(16)), ROWS[:-1])], "whole bins"),
        ([(oprf_pb2.OprfTable(seed=bytes(16)), np.concatenate([ROWS, ROWS]))], "whole bins"),
        ([(rr22_pb2.Rr22Tags(), np.zeros((4, 8), dtype=np.uint8))], "got a 'unseen.psi.v1.Rr22Tags'"),
    ],
    ids=["seed", "coin", "gap", "empty", "short", "long", "type"],
)
def test_a_table_that_is_none(pieces: list[tuple[Message, Any]], what: str) -> None:
    with pytest.raises(PeerError, match=what):
        against_sender(*pieces)


def test_points_are_made_of_digests() -> None:
    with pytest.raises(UsageError, match=r"give \(n, 32\) uint8"):
        oprf.points(np.zeros((3, 16), dtype=np.uint8))


@pytest.mark.usefixtures("dealt")
def test_a_peer_that_ends_ends_the_run() -> None:
    def ends(c: Channel, agreed: Agreed, s: Session) -> None:
        c.close("enough")

    with pytest.raises(ChannelClosed, match="enough"):
        between(rr22.OPERATOR, (5, 5), receiver(pack(numbered(range(5))), SUITES[0]), ends, suite=SUITES[0])


# The function under it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", BOTH_SECURITIES)
def test_both_evaluate_one_function(security: Security) -> None:
    """F is the same for both at common points, and another at others; its outputs show no pattern."""
    digests = np.random.default_rng(7).integers(0, 256, size=(3000, 32), dtype=np.uint8)
    n, suite = 2000, SUITES[0]

    def receives(s: Session) -> NDArray[np.uint8]:
        c, at = s.channel("bob"), oprf.points(digests[:n])
        dealt = ideal.receive(c, oprf.table_rows(n), suite=suite, rng=s.rng)
        with pytest.raises(UsageError, match=f"VOLEs for {n - 100} points"):
            oprf.receive(c, oprf.points(digests[: n - 100]), dealt, suite=suite, rng=s.rng)
        return oprf.receive(c, at, dealt, suite=suite, rng=s.rng, security=security).in_order()

    def sends(s: Session) -> NDArray[np.uint8]:
        c, at = s.channel("alice"), oprf.points(digests[n // 2 :])
        dealt = ideal.send(c, oprf.table_rows(n), suite=suite, rng=s.rng)
        with pytest.raises(UsageError, match="VOLEs for 100 points"):
            oprf.send(c, at, dealt, peer_items=100, suite=suite, rng=s.rng)
        return oprf.send(c, at, dealt, peer_items=n, suite=suite, rng=s.rng, security=security).in_order()

    results = run_parties({"alice": receives, "bob": sends})
    here, there = results["alice"], results["bob"]
    assert np.array_equal(here[1000:], there[:1000])
    assert len(np.unique(np.concatenate([here, there]), axis=0)) == 3000
    ones = np.unpackbits(there[1000:]).mean()
    assert abs(ones - 0.5) < 0.01  # 128,000 bits: seven standard deviations


def test_the_facade_knows_it() -> None:
    assert psi.intersect.__doc__ is not None
    assert rr22.OPERATOR.learns.keys() == {"receiver", "sender"}
