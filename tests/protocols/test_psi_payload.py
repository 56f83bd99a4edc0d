"""Circuit PSI with payload against a dict; what the parties see; a broken party; measured against the Cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Channel, Traffic
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.kernels import EncodingFailed, cuckoo, okvs
from mpc.kernels.packing import Packed, pack
from mpc.rng import Rng
from mpc.session import Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.psi.v1 import multi_pb2, payload_pb2
from protocols.arithmetic.engine import Bits, Words
from protocols.ot import VoleSender
from protocols.ot.ideal import vole as ideal
from protocols.psi import opprf, oprf, payload
from tests.protocols.psi import SUITES

SUITE = SUITES[0]
Column = Mapping[bytes, Sequence[int]]


class InTheClear:
    """The two methods of a two-party engine that payload uses, by sending everything over. It protects nothing."""

    def __init__(self, channel: Channel, rng: Rng, *, first: bool) -> None:
        self._channel, self._rng, self._first = channel, rng, first

    @classmethod
    def over(cls, channel: Channel, *, first: bool, rng: Rng, **_: object) -> InTheClear:
        return cls(channel, rng, first=first)

    def _all(self, own: np.ndarray) -> np.ndarray:
        """What the second party has, at the first; the second keeps a mask, which it also tells."""
        if self._first:
            return np.frombuffer(self._channel.recv(payload_pb2.PayloadTerms)[0].salt, own.dtype).reshape(own.shape)
        self._channel.send(payload_pb2.PayloadTerms(salt=own.tobytes()))
        return own

    def is_zero(self, a: Words) -> Bits:
        theirs = self._all(a)
        return a + theirs == 0 if self._first else np.zeros(a.shape, dtype=np.bool_)

    def select_word(self, bits: Bits, a: Words) -> Words:
        mask = self._rng.uint64(*a.shape)
        theirs, masks = self._all(a), self._all(mask)
        return bits * (a + theirs) - masks if self._first else mask


@pytest.fixture
def dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    """VOLEs from a trusted dealer and arithmetic in the clear, so that a run takes milliseconds."""
    monkeypatch.setattr(payload, "vole", ideal)
    monkeypatch.setattr(payload, "TwoParty", InTheClear)


def words(column: Column, width: int) -> np.ndarray:
    """(width, k) of the column, in its order."""
    return np.array(list(column.values()), dtype=np.uint64).reshape(-1, width).T.copy()


def run(
    items: Sequence[bytes],
    column: Column,
    *,
    width: int = 1,
    suite: Suite = SUITE,
    parties: Mapping[str, Any] | None = None,
    traffic: dict[str, Traffic] | None = None,
    sender: Mapping[str, object] | None = None,
) -> tuple[payload.Payload, np.ndarray]:
    """What the receiver and the sender get."""

    def receive(s: Session) -> payload.Payload:
        got = payload.receive(s.channel("b"), pack(items), width=width, suite=suite, rng=s.rng)
        if traffic is not None:
            traffic["a"] = s.channel("b").traffic
        return got

    def send(s: Session) -> np.ndarray:
        values = words(column, width)
        return payload.send(s.channel("a"), pack(list(column)), values, **{"suite": suite, "rng": s.rng, **sender_})

    sender_ = dict(sender or {})
    results = run_parties({"a": receive, "b": send}, protocol="psi.payload", **(parties or {}))
    return results["a"], results["b"]


def opened(items: Sequence[bytes], got: payload.Payload, theirs: np.ndarray) -> dict[bytes, list[int]]:
    """The words of each item; nothing may be in bins without an item."""
    total = got.values + theirs
    assert not total[:, got.rows < 0].any()
    used = np.flatnonzero(got.rows >= 0)
    assert np.array_equal(np.sort(got.rows[used]), np.arange(len(items)))
    return {items[got.rows[b]]: total[:, b].tolist() for b in used}


def expected(items: Sequence[bytes], column: Column, width: int) -> dict[bytes, list[int]]:
    return {item: list(column.get(item, [0] * width)) for item in items}


def numbered(numbers: range) -> list[bytes]:
    return [b"%018d" % (i * 7919) for i in numbers]


def amounts(numbers: range, width: int = 1) -> dict[bytes, list[int]]:
    """Uniform words for numbered items."""
    drawn = Rng.from_seed(b"amounts").uint64(len(numbers), width).tolist()
    return dict(zip(numbered(numbers), drawn, strict=True))


# What comes out -------------------------------------------------------------------------------------------------------

keys = st.lists(st.binary(max_size=2) | st.text(max_size=3).map(str.encode), max_size=25, unique=True)
numbers = st.integers(0, 2**64 - 1)


@pytest.mark.usefixtures("dealt")
@settings(max_examples=25, deadline=None)
@given(mine=keys, theirs=keys, shared=keys, width=st.integers(1, 4), data=st.data())
def test_the_words_of_items_that_both_have_and_zeros(
    mine: list[bytes], theirs: list[bytes], shared: list[bytes], width: int, data: st.DataObject
) -> None:
    items = list(dict.fromkeys(mine + shared))
    points = list(dict.fromkeys(shared + theirs))
    each = st.lists(numbers, min_size=width, max_size=width)
    column = dict(zip(points, data.draw(st.lists(each, min_size=len(points), max_size=len(points))), strict=True))
    got, share = run(items, column, width=width)
    assert got.values.shape == share.shape == (width, len(got.rows)) == (width, cuckoo.bins(len(items)))
    assert got.peer_size == len(points)
    assert opened(items, got, share) == expected(items, column, width)


@pytest.mark.parametrize("suite", SUITES, ids=[suite.name for suite in SUITES])
def test_with_two_party_arithmetic(suite: Suite) -> None:
    items, column = numbered(range(300)), amounts(range(200, 700), 2)
    got, share = run(items, column, width=2, suite=suite)
    assert opened(items, got, share) == expected(items, column, 2)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (0, 0), (1, 1), (1, 30_000), (30_000, 1)])
def test_empty_and_unequal_sets(sizes: tuple[int, int]) -> None:
    items, column = numbered(range(sizes[0])), amounts(range(sizes[1]))
    got, share = run(items, column)
    assert got.peer_size == sizes[1]
    assert opened(items, got, share) == expected(items, column, 1)


def test_one_table_for_several_senders() -> None:
    """Their bins line up, so that shares of a sum over the senders are sums of shares."""
    items = numbered(range(400))
    columns = {"b": amounts(range(300)), "c": amounts(range(200, 600)), "d": amounts(range(0))}

    def receive(s: Session) -> tuple[np.ndarray, np.ndarray]:
        table = payload.arrange(pack(items), suite=SUITE, rng=s.rng)
        got = [payload.receive(s.channel(name), table, suite=SUITE, rng=s.rng) for name in sorted(columns)]
        assert all(one.rows is table.rows for one in got)
        return table.rows, sum(one.values[0] for one in got)

    def send(s: Session) -> np.ndarray:
        column = columns[s.me]
        return payload.send(s.channel("a"), pack(list(column)), words(column, 1), suite=SUITE, rng=s.rng)[0]

    results = run_parties({"a": receive, **dict.fromkeys(columns, send)})
    rows, total = results["a"]
    total = total + results["b"] + results["c"] + results["d"]
    for row, sum_ in zip(rows.tolist(), total.tolist(), strict=True):
        wanted = sum(column.get(items[row], [0])[0] for column in columns.values()) if row >= 0 else 0
        assert sum_ == wanted % 2**64


def test_the_channel_is_free_again_afterwards() -> None:
    """One run after the other, in both directions, as two parties do who ask each other."""
    items, column = numbered(range(40)), amounts(range(20, 60))

    def party(s: Session, peer: str) -> list[Any]:
        channel, found = s.channel(peer), []
        for asks in ("a", "b", "a"):
            if s.me == asks:
                found.append(payload.receive(channel, pack(items), suite=SUITE, rng=s.rng))
            else:
                values = words(column, 1)
                found.append(payload.send(channel, pack(list(column)), values, suite=SUITE, rng=s.rng))
        return found

    results = run_parties({"a": lambda s: party(s, "b"), "b": lambda s: party(s, "a")})
    for one, other in zip(results["a"], results["b"], strict=True):
        got, share = (one, other) if isinstance(one, payload.Payload) else (other, one)
        assert opened(items, got, share) == expected(items, column, 1)


def test_a_salt_under_which_there_is_no_assignment_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assigned, calls = cuckoo.assign, []

    def fails_at_first(places: np.ndarray, *, bins: int) -> np.ndarray:
        calls.append(places.copy())
        if len(calls) < 3:
            raise EncodingFailed("as if")
        return assigned(places, bins=bins)

    monkeypatch.setattr(cuckoo, "assign", fails_at_first)
    table = payload.arrange(pack(numbered(range(50))), suite=SUITE, rng=Rng())
    assert np.count_nonzero(table.rows >= 0) == 50
    assert len({places.tobytes() for places in calls}) == 3
    calls[:] = []
    monkeypatch.setattr(cuckoo, "assign", lambda *_, **__: fails_at_first(calls.clear() or places, bins=9))
    places = np.zeros((1, 3), dtype=np.uint32)
    with pytest.raises(EncodingFailed, match="4 salts"):
        payload.arrange(pack(numbered(range(50))), suite=SUITE, rng=Rng())


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_blocks_are_those_that_were_programmed_and_have_masks_of_their_own(blocks: int) -> None:
    digests = Rng.from_seed(b"digests").uint8(900, 32)
    mine, theirs = oprf.points(digests[:600]), oprf.points(digests[400:])
    values = Rng.from_seed(b"values").uint8(blocks, 500, 16)
    values[:] = values[0]  # equal blocks, to see that their masks are not
    m = oprf.table_rows(600)

    def receive(s: Session) -> np.ndarray:
        correlation = ideal.receive(s.channel("b"), m, suite=SUITE, rng=s.rng)
        return opprf.receive_blocks(
            s.channel("b"), mine, correlation, blocks=blocks, peer_points=500, suite=SUITE, rng=s.rng
        )

    def send(s: Session) -> None:
        correlation = ideal.send(s.channel("a"), m, suite=SUITE, rng=s.rng)
        opprf.send_blocks(s.channel("a"), theirs, values, correlation, peer_items=600, suite=SUITE, rng=s.rng)

    got = run_parties({"a": receive, "b": send})["a"]
    assert got.shape == (blocks, 600, 16)
    assert np.array_equal(got[:, 400:], values[:, :200])
    others = got[:, :400].reshape(-1, 16)
    assert len(np.unique(others, axis=0)) == blocks * 400
    with pytest.raises(UsageError, match="give"):
        run_parties({"a": receive, "b": lambda s: opprf.send_blocks(
            s.channel("a"), theirs, values[:, :9], None, peer_items=600, suite=SUITE, rng=s.rng)})  # fmt: skip


# What the parties see -------------------------------------------------------------------------------------------------


def uniform(array: np.ndarray) -> bool:
    """Whether every bit of (n,) words is set in about half of them."""
    bits = np.unpackbits(np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1), axis=1)
    return bool(abs(bits.mean(axis=0) - 0.5).max() < 6 * 0.5 / math.sqrt(len(array)))


@pytest.mark.usefixtures("dealt")
def test_what_the_receiver_evaluates_does_not_tell_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random in every word whether a bin matched, has another item, or none; though all values are the same."""
    views: list[np.ndarray] = []
    evaluated = opprf.receive_blocks

    def watched(*args: object, **options: object) -> np.ndarray:
        views.append(evaluated(*args, **options))
        return views[0]

    monkeypatch.setattr(opprf, "receive_blocks", watched)
    items, column = numbered(range(6000)), dict.fromkeys(numbered(range(3000, 9000)), (7, 7, 7))
    got, share = run(items, column, width=3)
    (view,) = views
    assert view.shape == (2, len(got.rows), 16)
    matched, other, empty = got.rows >= 3000, (got.rows >= 0) & (got.rows < 3000), got.rows < 0
    for part in (matched, other, empty):
        seen = view[:, part].reshape(-1, 16)
        assert part.sum() > 1500
        assert uniform(view[0, part])
        assert uniform(view[1, part])
        assert len(np.unique(seen.view(np.uint64))) == 2 * seen.shape[0]  # no word twice, in any block
    assert opened(items, got, share) == expected(items, column, 3)


def test_shares_are_uniform_whatever_matched() -> None:
    items, column = numbered(range(4000)), dict.fromkeys(numbered(range(2000, 3000)), (1,))
    got, share = run(items, column)
    for part in (got.rows >= 0, got.rows < 0, (got.rows >= 2000) & (got.rows < 3000)):
        assert uniform(got.values[0, part])
        assert uniform(share[0, part])
    assert len(np.unique(got.values)) == len(np.unique(share)) == len(got.rows)


def test_tables_and_bins_of_one_set_differ_from_run_to_run() -> None:
    items = pack(numbered(range(500)))
    one, other = (payload.arrange(items, suite=SUITE, rng=Rng()) for _ in range(2))
    assert one.salt != other.salt
    assert np.count_nonzero((one.rows == other.rows) & (one.rows >= 0)) < 25
    assert not np.intersect1d(one.points.keys.view(np.uint64), other.points.keys.view(np.uint64)).size


# What it costs --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(("sizes", "width"), [((700, 900), 1), ((20_000, 300), 2), ((300, 25_000), 5)])
def test_bytes_of_the_opprf_are_those_of_the_docstring(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int], width: int
) -> None:
    monkeypatch.setattr(payload, "_matched", lambda _, words, width, **__: words[1 : 1 + width])
    traffic: dict[str, Traffic] = {}
    got, _ = run(numbered(range(sizes[0])), amounts(range(sizes[1]), width), width=width, traffic=traffic)
    bins, points = len(got.rows), 3 * sizes[1]
    table, hints = 16 * oprf.table_rows(bins), 16 * math.ceil((width + 1) / 2) * oprf.table_rows(points)
    own, theirs = math.ceil(okvs.shape(bins).bins / 4), math.ceil(okvs.shape(points).bins / 4)
    dealer = 128
    sent, received = traffic["a"].bytes_sent, traffic["a"].bytes_received
    assert table < sent <= table + 80 * own + 110
    assert hints < received <= hints + 80 * theirs * math.ceil((width + 1) / 2) + 100 + dealer


def test_bytes_and_rounds_of_the_arithmetic_are_those_of_the_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "vole", ideal)
    for size, width in ((2000, 1), (30_000, 3)):
        traffic: dict[str, Traffic] = {}
        got, _ = run(numbered(range(size)), amounts(range(500), width), width=width, traffic=traffic)
        bins, blocks = len(got.rows), math.ceil((width + 1) / 2)
        of_opprf = 16 * (oprf.table_rows(bins) + blocks * oprf.table_rows(1500))
        of_arithmetic = traffic["a"].bytes_sent + traffic["a"].bytes_received - of_opprf
        assert 0 < of_arithmetic - (455.5 + 24.25 * width) * bins <= 1_000_000
        assert traffic["a"].rounds <= 2 + 11 + 10 * (bins // 2**14)


# What goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "text"),
    [
        ({"suite": SUITES[-1]}, "one suite at both parties"),
        ({"values": np.zeros((2, 9), dtype=np.uint64)}, "one width at both parties: '1' here, '2' there|'2' here, '1'"),
    ],
)
def test_parties_that_are_about_to_run_different_things(sender: dict[str, Any], text: str) -> None:
    if sender.get("suite") is SUITE:
        pytest.skip("there is one suite")
    column = amounts(range(9))
    values = sender.get("values", words(column, 1))

    def send(s: Session) -> None:
        payload.send(s.channel("a"), pack(list(column)), values, suite=sender.get("suite", SUITE), rng=s.rng)

    def receive(s: Session) -> None:
        payload.receive(s.channel("b"), pack(list(column)), suite=SUITE, rng=s.rng)

    with pytest.raises(PeerError, match=text):
        run_parties({"a": receive, "b": send})


@pytest.mark.parametrize("receives", [True, False])
def test_a_party_that_fails_ends_it_for_the_other(*, receives: bool) -> None:
    twice, items = pack([b"x", b"x"]), pack([b"x"])

    def party(s: Session, mine: Packed, *, receives: bool) -> None:
        channel = s.channel("b" if s.me == "a" else "a")
        if receives:
            payload.receive(channel, mine, suite=SUITE, rng=s.rng)
        else:
            payload.send(channel, mine, np.ones((1, len(mine)), dtype=np.uint64), suite=SUITE, rng=s.rng)

    def fails(s: Session) -> None:
        with pytest.raises(UsageError, match="have the same key"):
            party(s, twice, receives=receives)
        s.channel("c").recv(payload_pb2.PayloadTerms)  # goes on with something else

    def waits(s: Session) -> None:
        with pytest.raises(ChannelClosed, match=r"a circuit PSI broke off \(UsageError\)"):
            party(s, items, receives=not receives)
        s.channel("c").send(payload_pb2.PayloadTerms())

    def relays(s: Session) -> None:
        s.channel("b").recv(payload_pb2.PayloadTerms)
        s.channel("a").send(payload_pb2.PayloadTerms())

    run_parties({"a": fails, "b": waits, "c": relays})


@pytest.mark.parametrize("role", ["receiver", "sender"])
def test_two_parties_of_one_role(role: str) -> None:
    items, values = pack(numbered(range(3))), np.ones((1, 3), dtype=np.uint64)

    def party(s: Session) -> None:
        (channel,) = s.channels.values()
        if role == "receiver":
            payload.receive(channel, items, suite=SUITE, rng=s.rng)
        else:
            payload.send(channel, items, values, suite=SUITE, rng=s.rng)

    with pytest.raises(PeerError, match="a receiver and a sender"):
        run_parties({"a": party, "b": party})


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ({"size": payload.MAX_ITEMS + 1}, "at most 8388608 items"),
        ({"size": 2**64 - 1}, "at most 8388608 items"),
        ({"width": 65}, "one width"),
        ({"width": 0}, "one width"),
        ({"version": 2}, "one version"),
        ({"suite": "x" * 10_000}, "one suite at both parties: 'intl' here, 'x{64}' there"),
        ({"salt": b"s" * 31}, "a receiver and a sender"),
        ({"salt": b"s" * 33}, "a receiver and a sender"),
    ],
)
def test_terms_of_a_hostile_receiver(terms: dict[str, Any], text: str) -> None:
    honest = {"version": 1, "suite": SUITE.name, "size": 3, "width": 1, "salt": b"s" * 32}

    def receive(s: Session) -> None:
        s.channel("b").exchange(payload_pb2.PayloadTerms(**{**honest, **terms}))
        s.channel("b").recv(payload_pb2.PayloadTerms)

    column = amounts(range(3))
    with pytest.raises(PeerError, match=text):
        run_parties({"a": receive, "b": lambda s: payload.send(
            s.channel("a"), pack(list(column)), words(column, 1), suite=SUITE, rng=s.rng)})  # fmt: skip


def broken(sender: str, message: int, *, byte: int = -1) -> tuple[payload.Payload, np.ndarray]:
    """A run in which one bit of one message changes."""
    receiver = "b" if sender == "a" else "a"
    parties = {"tamper": {(sender, receiver): Tamper(message, byte=byte)}}
    return run(numbered(range(300)), amounts(range(100, 400)), parties=parties)


# Message 0 of each is its terms. Of the receiver follows its table; of the sender the ideal VOLE's, then its store.


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(("sender", "message"), [("a", 1), ("b", 2)])
def test_a_flipped_bit_of_a_table_makes_wrong_shares_of_some_items(sender: str, message: int) -> None:
    """As the docstring declares: nothing authenticates them. Items that nobody else has keep their zeros."""
    items, column = numbered(range(300)), amounts(range(100, 400))
    found = opened(items, *broken(sender, message))
    wanted = expected(items, column, 1)
    wrong = [item for item in items if found[item] != wanted[item]]
    assert len(wrong) < 300
    assert all(item in column for item in wrong)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(("sender", "message"), [("a", 0), ("a", 1), ("b", 0), ("b", 2)])
def test_a_flipped_bit_of_an_envelope_is_told(sender: str, message: int) -> None:
    with pytest.raises(PeerError):
        broken(sender, message, byte=8)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("sender", "byte", "text"),
    [
        ("a", -37, "as this side wants"),  # how many items the receiver brings, 300: the sender wants other VOLEs
        ("b", -3, "whole bins of"),  # how many the sender brings: the receiver waits for another store
        ("b", -1, "one width"),
    ],
)
def test_a_flipped_bit_of_the_terms_is_told(sender: str, byte: int, text: str) -> None:
    with pytest.raises(PeerError, match=text):
        broken(sender, 0, byte=byte)


@pytest.mark.usefixtures("dealt")
def test_a_flipped_bit_of_the_salt_leaves_no_match() -> None:
    items = numbered(range(300))
    assert opened(items, *broken("a", 0)) == {item: [0] for item in items}


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("header", "rows", "text"),
    [
        (multi_pb2.OpprfHint(seed=b"s" * 15), okvs.size(300), "a seed of 16 bytes"),
        (multi_pb2.OpprfHint(seed=b"s" * 16), okvs.size(300) - 1, "whole bins of"),
        (multi_pb2.OpprfHint(seed=b"s" * 16), 2 * okvs.size(300), "whole bins of"),
        (multi_pb2.OpprfHint(seed=b"s" * 16, first=1), okvs.size(300), "whole bins of"),
        (multi_pb2.OpprfHint(seed=b"s" * 16), 0, "whole bins of"),
    ],
)
def test_stores_of_another_shape(
    monkeypatch: pytest.MonkeyPatch, header: multi_pb2.OpprfHint, rows: int, text: str
) -> None:
    def sends(channel: Channel, at: oprf.Points, _: object, correlation: VoleSender, **options: object) -> None:
        oprf.send(channel, at, correlation, **options)
        channel.send(header, np.zeros((rows, 16), dtype=np.uint8))

    monkeypatch.setattr(opprf, "send_blocks", sends)
    with pytest.raises(PeerError, match=text):
        run(numbered(range(80)), amounts(range(100)))


def test_misuse_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MAX_ITEMS", 400)
    items, nine, many = pack(numbered(range(9))), np.zeros((1, 9), dtype=np.uint64), pack(numbered(range(401)))
    twice = pack([*numbered(range(8)), numbered(range(8))[3]])
    other = payload.Table(*(getattr(payload.arrange(items, suite=SUITE, rng=Rng()), name) for name in ("rows", "size")),
                          suite="other", salt=b"s" * 32, points=oprf.points(Rng().uint8(9, 32)))  # fmt: skip
    for receives, sends, text in (
        (many, (items, nine), "split the set"),
        (items, (many, np.zeros((1, 401), dtype=np.uint64)), "split the set"),
        (twice, (items, nine), "Rows 4 and 9 have the same key"),
        (items, (twice, nine), "Rows 4 and 9 have the same key"),
        (items, (items, nine[0]), "a column an item"),
        (items, (items, nine.astype(np.int64)), "a column an item"),
        (items, (items, np.zeros((1, 8), dtype=np.uint64)), "a column an item"),
        (items, (items, np.zeros((0, 9), dtype=np.uint64)), "1 to 64 words"),
        (items, (items, np.zeros((65, 9), dtype=np.uint64)), "1 to 64 words"),
        (other, (items, nine), "arrange it anew"),
    ):
        with pytest.raises(UsageError, match=text):
            run_parties(
                {
                    "a": lambda s, x=receives: payload.receive(s.channel("b"), x, suite=SUITE, rng=s.rng),
                    "b": lambda s, y=sends: payload.send(s.channel("a"), *y, suite=SUITE, rng=s.rng),
                }
            )
    with pytest.raises(UsageError, match="1 to 64 words"):
        run_parties(
            {
                "a": lambda s: payload.receive(s.channel("b"), items, width=0, suite=SUITE, rng=s.rng),
                "b": lambda s: payload.send(s.channel("a"), items, nine, suite=SUITE, rng=s.rng),
            }
        )
