"""Intersections of three and more parties against plain ones; what a broken party does; measured against the Cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Channel, Traffic
from mpc.errors import PeerError, UsageError
from mpc.kernels import okvs
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.psi.v1 import multi_pb2 as wire
from protocols.ot import VoleSender
from protocols.ot.ideal import vole as ideal
from protocols.psi import multi, opprf, oprf
from tests.protocols.psi import SUITES

Sets = Mapping[str, Sequence[bytes]]


@pytest.fixture
def dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    """VOLEs from a trusted dealer, so that a run takes milliseconds."""
    monkeypatch.setattr(multi, "vole", ideal)


def run(
    sets: Sets,
    *,
    leader: str = "bank",
    traffic: dict[str, Traffic] | None = None,
    own: Mapping[str, Mapping[str, object]] | None = None,
    parties: Mapping[str, Any] | None = None,
    **options: object,
) -> dict[str, multi.MultiResult]:
    """What `intersect` gives each party; `own` are options of single parties."""

    def party(name: str) -> Callable[[Session], multi.MultiResult]:
        def function(s: Session) -> multi.MultiResult:
            given = {"leader": leader, "form": "bytes", **options, **(own or {}).get(name, {})}
            result = multi.intersect(s, sets[name], **given)
            if traffic is not None:
                traffic.update({f"{s.me}>{peer}": channel.traffic for peer, channel in s.channels.items()})
            return result

        return function

    return run_parties({name: party(name) for name in sets}, protocol="psi.multi", **(parties or {}))


def common(sets: Sets) -> set[bytes]:
    return reduce(set.__and__, map(set, sets.values()))


def matched(sets: Sets, results: Mapping[str, multi.MultiResult]) -> list[bytes]:
    """The keys that matched, in their order, which has to be one at all parties."""
    lists = [[sets[name][row] for row in result.rows.tolist()] for name, result in results.items()]
    assert all(one == lists[0] for one in lists)
    return lists[0]


def numbered(*ranges: range) -> list[bytes]:
    return [b"%018d" % (i * 7919) for part in ranges for i in part]


THREE = {"bank": numbered(range(300)), "court": numbered(range(100, 500)), "tax": numbered(range(50, 150))}

# What comes out -------------------------------------------------------------------------------------------------------

keys = st.lists(st.binary(max_size=2), max_size=25, unique=True)


@pytest.mark.usefixtures("dealt")
@settings(max_examples=30, deadline=None)
@given(lists=st.lists(keys, min_size=3, max_size=5), shared=keys, leading=st.integers(0, 4))
def test_all_learn_the_plain_intersection(lists: list[list[bytes]], shared: list[bytes], leading: int) -> None:
    sets = {f"party-{i}": list(dict.fromkeys(one + shared)) for i, one in enumerate(lists)}
    results = run(sets, leader=f"party-{leading % len(lists)}")
    found = matched(sets, results)
    assert len(found) == len(set(found))
    assert set(found) == common(sets)
    for result in results.values():
        assert result.sizes == {name: len(one) for name, one in sets.items()}
        assert result.matched == len(found)


@pytest.mark.parametrize("suite", SUITES, ids=[suite.name for suite in SUITES])
def test_with_silent_vole(suite: Suite) -> None:
    sets = {"bank": numbered(range(3000)), "court": numbered(range(2000, 4000)), "tax": numbered(range(1000, 2600))}
    assert set(matched(sets, run(sets, suite=suite))) == set(numbered(range(2000, 2600)))


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("leader", ["bank", "court", "tax"])
def test_the_leader_alone(leader: str) -> None:
    results = run(THREE, leader=leader, reveal_to="leader")
    for name, result in results.items():
        if name == leader:
            assert {THREE[name][row] for row in result.rows.tolist()} == common(THREE)
        else:
            assert result.rows is None
            assert result.offsets is None
            assert result.matched is None
        assert result.sizes == {"bank": 300, "court": 400, "tax": 100}


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize("sizes", [(0, 5, 5), (5, 0, 5), (5, 5, 0), (0, 0, 0), (1, 1, 1), (1, 4000, 9), (4000, 1, 9)])
def test_empty_and_unequal_sets(sizes: tuple[int, int, int]) -> None:
    sets = {name: numbered(range(n)) for name, n in zip(("bank", "court", "tax"), sizes, strict=True)}
    for reveal_to in ("all", "leader"):
        results = run(sets, reveal_to=reveal_to)
        assert set(matched(sets, {n: r for n, r in results.items() if r.rows is not None})) == common(sets)
        assert (results["tax"].rows is None) == (reveal_to == "leader")


@pytest.mark.usefixtures("dealt")
def test_several_bins_and_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi, "_PIECE", 1000)
    sets = {"bank": numbered(range(60_000)), "court": numbered(range(30_000, 130_000)), "tax": numbered(range(40_000))}
    assert set(matched(sets, run(sets))) == set(numbered(range(30_000, 40_000)))


@pytest.mark.usefixtures("dealt")
def test_duplicates_and_columns() -> None:
    sets = {"bank": ["a", "b", "a", "c"], "court": ["c", "a"], "tax": ["x", "c", "a", "c"]}
    own = {"bank": {"duplicates": "many"}, "tax": {"duplicates": "first"}}
    results = run(sets, form="text", own=own)
    per_key = {
        name: [[sets[name][row] for row in rows] for rows in np.split(result.rows, result.offsets[1:-1])]
        for name, result in results.items()
    }
    assert sorted(map(len, per_key["bank"])) == [1, 2]
    assert [key[0] for key in per_key["bank"]] == [key[0] for key in per_key["court"]]
    assert per_key["court"] == per_key["tax"]
    with pytest.raises(UsageError, match="Rows 1 and 3 have the same key"):
        run(sets, form="text", own={"tax": {"duplicates": "first"}})


@pytest.mark.usefixtures("dealt")
def test_progress_reaches_its_total() -> None:
    steps: list[Progress] = []

    def telling(s: Session) -> object:
        told = Session(s.me, s.channels, s.rng, steps.append)
        return multi.intersect(told, THREE[s.me], leader="bank", form="bytes")

    run_parties(dict.fromkeys(THREE, telling))
    assert {step.stage for step in steps} == {"psi.multi"}
    assert sum(step.done == step.total for step in steps) == 3


# What the leader sees -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dealt")
def test_the_values_of_one_party_do_not_tell_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader's view: random in every row but those of all, where the values add up to zero."""
    views: dict[str, np.ndarray] = {}
    evaluated = opprf.receive

    def watched(channel: Channel, *args: object, **options: object) -> np.ndarray:
        views[channel.peer] = evaluated(channel, *args, **options)
        return views[channel.peer]

    monkeypatch.setattr(opprf, "receive", watched)
    n = 4000
    sets = {"bank": numbered(range(n)), "court": numbered(range(2000, 9000)), "tax": numbered(range(3000))}
    results = run(sets)
    total = views["court"] ^ views["tax"]
    zero = ~total.any(axis=1)
    assert set(np.flatnonzero(zero)) == set(results["bank"].rows) == set(range(2000, 3000))
    for values in (*views.values(), total[~zero]):
        assert len(np.unique(values, axis=0)) == len(values)
    for values in views.values():
        for part in (values[:2000], values[2000:3000], values[3000:]):  # with one of the two, with both, with the other
            ones = np.unpackbits(part, axis=1).mean(axis=0)
            assert abs(ones - 0.5).max() < 6 * 0.5 / math.sqrt(len(part))


@settings(max_examples=15, deadline=None)
@given(items=st.integers(1, 40), points=st.integers(1, 40), both=st.integers(0, 40), salt=st.binary(max_size=2))
def test_opprf_gives_the_programmed_values(items: int, points: int, both: int, salt: bytes) -> None:
    both = min(both, items, points)
    digests = Rng.from_seed(salt).uint8(items + points, 32)
    mine, theirs = oprf.points(digests[:items]), oprf.points(digests[items - both : items - both + points])
    values = Rng.from_seed(salt + b"values").uint8(points, 16)
    m = oprf.table_rows(items)

    def receive(s: Session) -> np.ndarray:
        correlation = ideal.receive(s.channel("b"), m, suite=SUITES[0], rng=s.rng)
        return opprf.receive(s.channel("b"), mine, correlation, peer_points=points, suite=SUITES[0], rng=s.rng)

    def send(s: Session) -> None:
        correlation = ideal.send(s.channel("a"), m, suite=SUITES[0], rng=s.rng)
        opprf.send(s.channel("a"), theirs, values, correlation, peer_items=items, suite=SUITES[0], rng=s.rng)

    got = run_parties({"a": receive, "b": send})["a"]
    assert np.array_equal(got[items - both :], values[:both])
    chosen = {value.tobytes() for value in values}
    assert not any(value.tobytes() in chosen for value in got[: items - both])
    assert len(np.unique(got, axis=0)) == items


# What it costs --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(("sizes", "reveal_to"), [((700, 900, 400), "all"), ((90_000, 400, 70_000), "leader")])
def test_bytes_are_those_of_the_docstring(sizes: tuple[int, int, int], reveal_to: str) -> None:
    names = ("bank", "court", "tax")
    sets = {name: numbered(range(n)) for name, n in zip(names, sizes, strict=True)}
    traffic: dict[str, Traffic] = {}
    results = run(sets, reveal_to=reveal_to, traffic=traffic)
    terms, dealer = 200 + sum(map(len, names)), 128
    own = math.ceil(okvs.shape(sizes[0]).bins / 4)
    for name in names[1:]:
        n = len(sets[name])
        table, hint = 16 * oprf.table_rows(sizes[0]), 16 * oprf.table_rows(n)
        pieces = math.ceil(okvs.shape(n).bins / 4)
        told = 16 * results["bank"].matched + 80 if reveal_to == "all" else 0
        side = traffic[f"bank>{name}"]
        assert table <= side.bytes_sent <= table + 80 * own + terms + told
        assert hint <= side.bytes_received <= hint + 80 * pieces + terms + dealer
    between = traffic["court>tax"]
    assert between.messages_sent == between.messages_received == 1
    assert between.bytes_sent <= terms


# What goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"leader": "tax"}, "one leader at all parties: 'tax' here, 'bank' there|'bank' here, 'tax' there"),
        ({"form": "text"}, "one form of keys at all parties"),
        ({"reveal_to": "leader"}, "one reveal_to at all parties"),
        ({"suite": SUITES[-1]}, "one suite at all parties" if len(SUITES) > 1 else ""),
    ],
)
def test_parties_that_are_about_to_run_different_things(other: dict[str, object], text: str) -> None:
    if not text:
        pytest.skip("there is one suite")
    sets = {name: [item.decode() for item in one[:9]] for name, one in THREE.items()}
    with pytest.raises(PeerError, match=text):
        run(sets, own={"tax": other})


def test_another_list_of_parties() -> None:
    """Court knows of a fourth party that the others do not."""

    def party(s: Session) -> object:
        channels = s.channels if s.me in ("court", "notary") else {n: c for n, c in s.channels.items() if n != "notary"}
        return multi.intersect(Session(s.me, channels, s.rng), ["x"], leader="bank")

    with pytest.raises(PeerError, match="one list of parties at all parties"):
        run_parties(dict.fromkeys(("bank", "court", "tax", "notary"), party))


def test_misuse_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"bank": THREE["bank"], "tax": THREE["tax"]}
    monkeypatch.setattr(multi, "MAX_ITEMS", 400)
    for sets, options, text in (
        (two, {}, "for two there is psi.intersect"),
        (THREE, {"leader": "mint"}, "takes no part; choose one of bank, court, tax"),
        (THREE, {"reveal_to": "some"}, "'all' or 'leader'"),
        (THREE, {"suite": "none"}, "no cipher suite"),
        ({**THREE, "tax": numbered(range(401))}, {}, "split the set"),
    ):
        with pytest.raises(UsageError, match=text):
            run(sets, **options)


def broken(sender: str, receiver: str, message: int, *, byte: int = -1) -> dict[str, multi.MultiResult]:
    """A run of the three in which one bit of one message changes."""
    return run(THREE, parties={"tamper": {(sender, receiver): Tamper(message, byte=byte)}})


# Message 0 of everybody to everybody is its terms. A party's next to the leader is the ideal VOLE's, then the hint.


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("sender", "receiver", "message"), [("bank", "tax", 1), ("tax", "bank", 2), ("court", "bank", 2)]
)
def test_a_flipped_bit_of_a_table_spoils_matches_and_adds_none(sender: str, receiver: str, message: int) -> None:
    results = broken(sender, receiver, message)
    assert set(matched(THREE, results)) <= common(THREE)


@pytest.mark.usefixtures("dealt")
def test_a_flipped_bit_of_the_matches_is_told() -> None:
    with pytest.raises(PeerError, match="digests of items that this party has|digests of matches that increase"):
        broken("bank", "tax", 2)


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("sender", "receiver", "message"),
    [("tax", "court", 0), ("bank", "tax", 1), ("tax", "bank", 2), ("bank", "court", 2)],
)
def test_a_flipped_bit_of_an_envelope_is_told_and_all_end(sender: str, receiver: str, message: int) -> None:
    with pytest.raises(PeerError):
        broken(sender, receiver, message, byte=8)


@pytest.mark.usefixtures("dealt")
def test_a_flipped_bit_of_a_nonce_or_a_key_leaves_no_match() -> None:
    # Salts or shares differ then. The end of court's terms to tax is the key of both.
    results = broken("court", "tax", 0)
    assert all(result.matched == 0 for result in results.values())


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("header", "rows", "text"),
    [
        (wire.OpprfHint(seed=b"s" * 15), okvs.size(100), "a seed of 16 bytes"),
        (wire.OpprfHint(seed=b"s" * 16), okvs.size(100) - 1, "whole bins of"),
        (wire.OpprfHint(seed=b"s" * 16), 2 * okvs.size(100), "whole bins of"),
        (wire.OpprfHint(seed=b"s" * 16, first=1), okvs.size(100), "whole bins of"),
        (wire.OpprfHint(seed=b"s" * 16), 0, "whole bins of"),
    ],
)
def test_hints_of_another_shape(monkeypatch: pytest.MonkeyPatch, header: wire.OpprfHint, rows: int, text: str) -> None:
    def sends(channel: Channel, at: oprf.Points, _: object, correlation: VoleSender, **options: object) -> None:
        oprf.send(channel, at, correlation, **options)
        channel.send(header, np.zeros((rows, 16), dtype=np.uint8))

    monkeypatch.setattr(opprf, "send", sends)
    with pytest.raises(PeerError, match=text):
        run({**THREE, "court": THREE["court"][:100], "tax": THREE["tax"][:100]})


@pytest.mark.usefixtures("dealt")
@pytest.mark.parametrize(
    ("total", "digests", "text"),
    [
        (101, np.zeros((101, 16)), "at most 100 matches"),
        (3, np.zeros((2, 16)), "at most 100 matches"),
        (1 << 40, np.zeros((1 << 10, 16)), "at most 100 matches"),
        (2, np.zeros((2, 16)), "digests of matches that increase"),
        (1, np.zeros((1, 16)), "digests of items that this party has"),
    ],
)
def test_matches_that_there_cannot_be(
    monkeypatch: pytest.MonkeyPatch, total: int, digests: np.ndarray, text: str
) -> None:
    def leads(session: Session, at: oprf.Points, agreed: multi._Agreed, suite: Suite) -> None:
        for channel in session.channels.values():
            correlation = ideal.receive(channel, oprf.table_rows(len(at)), suite=suite, rng=session.rng)
            points = agreed.sizes[channel.peer]
            opprf.receive(channel, at, correlation, peer_points=points, suite=suite, rng=session.rng)
            channel.send(wire.MultiMatches(total=total), digests.astype(np.uint8))
        session.channel("tax").recv(wire.MultiMatches)  # waits for the others to end

    monkeypatch.setattr(multi, "_lead", leads)
    with pytest.raises(PeerError, match=text):
        run(THREE)


@pytest.mark.usefixtures("dealt")
def test_a_party_that_fails_ends_it_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("as if")

    monkeypatch.setattr(opprf, "send", fails)
    with pytest.raises(MemoryError, match="as if"):
        run(THREE, parties={"timeout_s": 10.0})
