"""Sums over many parties against plain ones; dropouts, cheating, what it costs, what the aggregator sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Channel, Traffic
from mpc.errors import ChannelClosed, CheatingDetected, PeerError, PolicyError, UsageError
from mpc.kernels import mask
from mpc.session import Progress, Session
from mpc.testing import Tamper, run_parties
from mpc.wire.aggregation.v1 import aggregation_pb2 as wire
from protocols import aggregation
from protocols.aggregation import Aggregate, Rules, crowd, graph, ideal, keys, masked, rules, two_servers

TWO = Rules(minimum=2)
Arrays = Mapping[str, Any]


def run(
    arrays: Arrays,
    *,
    rules: Rules = TWO,
    weights: Arrays | None = None,
    own: Mapping[str, Mapping[str, Any]] | None = None,
    parties: Mapping[str, Callable[[Session], Any]] | None = None,
    collector: Mapping[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 - of run_parties
) -> dict[str, Any]:
    """What every party and the aggregator, `hub`, get. `own`: options of single parties, `parties`: other programs."""

    def party(name: str) -> Callable[[Session], object]:
        def function(s: Session) -> object:
            given = {"rules": rules, "weight": None if weights is None else weights[name], **(own or {}).get(name, {})}
            return aggregation.contribute(s, arrays[name], aggregator="hub", **given)

        return function

    return run_parties(
        {
            "hub": lambda s: aggregation.collect(s, **{"rules": rules, **(collector or {})}),
            **{name: party(name) for name in arrays},
            **(parties or {}),
        },
        protocol="aggregation.sum",
        **options,
    )


def numbers(parties: int, *shape: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {f"silo-{i:03}": rng.integers(-(10**6), 10**6, size=shape) for i in range(parties)}


def total(arrays: Arrays, names: tuple[str, ...] | None = None) -> np.ndarray:
    return np.sum([np.asarray(arrays[name]) for name in names or arrays], axis=0)


# What comes out -------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    parties=st.integers(2, 6),
    shape=st.lists(st.integers(0, 4), max_size=3),
    whole=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_sum_is_the_plain_sum(parties: int, shape: list[int], whole: bool, seed: int) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    arrays = {
        f"p{i}": rng.integers(-(2**40), 2**40, size=shape) if whole else rng.normal(scale=1e6, size=shape)
        for i in range(parties)
    }
    for result in run(arrays).values():
        assert result.values.shape == tuple(shape)
        assert result.values.dtype == (np.int64 if whole else np.float64)
        assert result.survivors == tuple(sorted(arrays))
        assert not result.dropped
        assert np.allclose(result.values, total(arrays), rtol=0, atol=0 if whole else parties * 2.0**-25 + 1e-9)
        assert np.allclose(result.mean, total(arrays) / parties, rtol=1e-12, atol=1e-7)


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_both_suites_and_an_array_of_the_aggregators_own(suite: str) -> None:
    arrays, mine = numbers(4, 5), np.arange(5)
    results = run(arrays, rules=Rules(suite=suite, minimum=5), collector={"mine": mine})
    for result in results.values():
        assert np.array_equal(result.values, total(arrays) + mine)
        assert result.survivors == ("hub", *sorted(arrays))


@pytest.mark.parametrize("each", [False, True])
def test_weighted_means(each: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(3)
    arrays = {name: rng.normal(size=(3, 4)) for name in "abc"}
    weights = {name: rng.uniform(0, 9, size=(3, 4) if each else ()) for name in "abc"}
    results = run(arrays, weights=weights)
    expected = total({n: arrays[n] * weights[n] for n in "abc"}) / total(weights)
    for result in results.values():
        assert np.abs(result.mean - expected).max() < 1e-6
    whole = run({n: np.array([2, -3]) for n in "abc"}, weights={"a": 1, "b": 0, "c": 2})["hub"]
    assert whole.values.dtype == np.int64
    assert whole.mean.tolist() == [2, -3]
    assert np.isnan(run({n: [1.0] for n in "abc"}, weights=dict.fromkeys("abc", 0.0))["hub"].mean).all()


def test_long_arrays_go_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "PIECE", 1000)
    monkeypatch.setattr(masked, "PIECE", 1000)
    monkeypatch.setattr(masked, "_UNMASK", 3000)
    arrays = {name: np.random.default_rng(ord(name)).normal(size=7001) for name in "abc"}
    weights = {name: np.abs(array) for name, array in arrays.items()}
    steps: list[Progress] = []

    def telling(s: Session) -> Aggregate:
        own = arrays["a"]
        return aggregation.collect(Session(s.me, s.channels, s.rng, steps.append), own, weight=weights["a"])

    result = run({n: arrays[n] for n in "bc"}, weights=weights, rules=Rules(), parties={"hub": telling})["b"]
    products = {name: arrays[name] * weights[name] for name in "abc"}
    assert np.abs(result.values - total(products)).max() < 1e-6
    assert np.abs(result.weight - total(weights)).max() < 1e-6
    assert {step.stage.rpartition(": ")[2] for step in steps} >= {
        "join",
        "share",
        "receive",
        "open",
        "unmask",
        "result",
    }
    assert steps[-1].done == steps[-1].total


def test_only_the_named_learn() -> None:
    arrays = numbers(4, 2)
    results = run(arrays, rules=Rules(reveal_to=("silo-001", "silo-003")))
    for name in ("hub", "silo-001", "silo-003"):
        assert np.array_equal(results[name].values, total(arrays))
    assert results["silo-000"] is results["silo-002"] is None


def test_only_the_aggregator_learns() -> None:
    arrays = numbers(3, 2)
    results = run(arrays, rules=Rules(reveal_to="aggregator"))
    assert np.array_equal(results["hub"].values, total(arrays))
    assert all(results[name] is None for name in arrays)


# Dropping out ---------------------------------------------------------------------------------------------------------


class Left(Exception):
    """A party that is to leave has left."""


class Leaving:
    """A channel whose party leaves before its operation number `after`."""

    def __init__(self, channel: Channel, after: int) -> None:
        self._channel = channel
        self._left = after

    def __getattr__(self, name: str) -> object:
        if name in ("send", "recv"):
            self._left -= 1
            if self._left < 0:
                self._channel.close("gone")
                raise Left
        return getattr(self._channel, name)


def leaving(array: object, after: int, **options: object) -> Callable[[Session], str]:
    def party(s: Session) -> str:
        channels = {"hub": Leaving(s.channel("hub"), after)}
        with pytest.raises(Left):
            aggregation.contribute(Session(s.me, channels, s.rng), array, aggregator="hub", **{"rules": TWO, **options})  # type: ignore[arg-type]
        return "left"

    return party


# Operations of a party with an array of three pieces: join, roster, shares, relayed, turn, three pieces, survivors,
# opened, closed.
WHERE = {"before": 0, "joined": 1, "with the roster": 2, "shared": 3, "relayed": 4, "midway": 6, "sent": 8, "told": 9}


@pytest.mark.parametrize("after", WHERE.values(), ids=WHERE)
def test_parties_may_leave_at_any_moment(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(crowd, "PIECE", 100)
    arrays = numbers(7, 250)
    gone = ("silo-001", "silo-004", "silo-006")
    results = run(arrays, parties={name: leaving(arrays[name], after) for name in gone})
    there = tuple(name for name in arrays if name not in gone or after >= WHERE["sent"])
    for name in ("hub", *(name for name in arrays if name not in gone)):
        assert results[name].survivors == there
        assert np.array_equal(results[name].values, total(arrays, there))
        assert set(results[name].dropped) == (set(arrays) - set(there) if after else set())
    if after and after < WHERE["sent"]:
        assert all("gone" in reason or "ended" in reason for reason in results["hub"].dropped.values())


@pytest.mark.parametrize("after", [3, 6, 8])
def test_below_the_threshold_all_end_and_nothing_is_opened(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(crowd, "PIECE", 100)
    opened: list[object] = []
    monkeypatch.setattr(masked._Collector, "_unmask", lambda *_: opened.append(1))
    arrays, told = numbers(4, 250), []

    def staying(name: str) -> Callable[[Session], None]:
        def party(s: Session) -> None:
            with pytest.raises(PolicyError, match=r"\[too-few-survivors\]") as raised:
                aggregation.contribute(s, arrays[name], aggregator="hub", rules=TWO)
            told.append(str(raised.value))

        return party

    def hub(s: Session) -> None:
        with pytest.raises(PolicyError, match="2 parties are left, 3 are needed for a sum: nothing was opened"):
            aggregation.collect(s, rules=TWO)

    names = sorted(arrays)
    programs = {name: staying(name) if i < 2 else leaving(arrays[name], after) for i, name in enumerate(names)}
    run_parties({"hub": hub, **programs})
    assert len(told) == 2
    assert not opened


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_nobody_is_left(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(crowd, "PIECE", 100)
    arrays = numbers(3, 250)

    def hub(s: Session) -> None:
        with pytest.raises(PolicyError, match="0 parties are left"):
            aggregation.collect(s, rules=TWO)

    run_parties({"hub": hub, **{name: leaving(array, after) for name, array in arrays.items()}})


def test_fewer_than_the_minimum() -> None:
    with pytest.raises(PolicyError, match="3 parties are left, 4 are needed"):
        run(numbers(3, 1), rules=Rules(minimum=4))


def test_a_sparse_graph_with_dropouts() -> None:
    arrays = numbers(70, 5)
    gone = sorted(arrays)[::4]
    results = run(arrays, parties={name: leaving(arrays[name], 5) for name in gone}, timeout_s=60)
    there = tuple(name for name in arrays if name not in gone)
    assert results["hub"].survivors == there
    assert np.array_equal(results["hub"].values, total(arrays, there))
    assert Rules().shape(70).neighbours < 69
    with pytest.raises(PolicyError, match="nothing was opened"):
        run(arrays, parties={name: leaving(arrays[name], 5) for name in sorted(arrays)[::2]}, timeout_s=60)


def test_a_party_without_neighbours_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A circle in which three of one party's four neighbours leave before they share: it can be masked by nobody."""
    near = [sorted((i + step) % 70 for step in (-2, -1, 1, 2)) for i in range(70)]
    monkeypatch.setattr(graph, "sparse", lambda n, **_: graph.Shape(n, 4, 3, 40))
    monkeypatch.setattr(graph, "draw", lambda *_: near)
    arrays = numbers(70, 2)
    names = sorted(arrays)

    def lonely(s: Session) -> None:
        with pytest.raises(PolicyError, match="2 parties are left, 3 are needed"):
            aggregation.contribute(s, arrays[s.me], aggregator="hub", rules=TWO)

    gone = [names[i] for i in (8, 9, 11)]
    programs: dict[str, Any] = {name: leaving(arrays[name], 2) for name in gone}
    results = run(arrays, parties={**programs, names[10]: lonely}, timeout_s=60)
    there = tuple(name for name in names if name not in (*gone, names[10]))
    assert results["hub"].survivors == there
    assert np.array_equal(results["hub"].values, total(arrays, there))
    assert results["hub"].dropped[names[10]] == "too few of its neighbours are left"


# Graphs ---------------------------------------------------------------------------------------------------------------


def test_graphs_hold_what_they_promise() -> None:
    """Against exact integers: the odds of the docstring hold, and not with fewer neighbours."""

    def exact(n: int, k: int, threshold: int) -> bool:
        gone, corrupt = n // 3, n // 5
        both, ways = gone + corrupt, math.comb(n - 1, k)
        cut = n * n / 2 * math.prod((both - i) / (n - i) for i in range(k)) if k <= both else 0
        spy = sum(math.comb(corrupt, i) * math.comb(n - 1 - corrupt, k - i) for i in range(threshold, k + 1))
        lost = sum(math.comb(n - 1 - gone, i) * math.comb(gone, k - i) for i in range(threshold))
        return cut <= 2**-41 and n * spy <= ways / 2**41 and n * lost <= ways / 2**30

    for n in (65, 100, 300):
        shape = graph.sparse(n, max_dropout=1 / 3, max_corrupt=1 / 5)
        assert exact(n, shape.neighbours, shape.threshold)
        assert not any(exact(n, shape.neighbours - 2, t) for t in range(1, shape.neighbours))
        assert shape.survivors == n - n // 3
        drawn = graph.draw(shape, masked_rng())
        assert all(len(set(near)) == shape.neighbours and i not in near for i, near in enumerate(drawn))
        assert all(i in drawn[j] for i, near in enumerate(drawn) for j in near)
    with pytest.raises(UsageError, match="allow for fewer"):
        graph.sparse(100, max_dropout=0.7, max_corrupt=0.3)


def masked_rng() -> Any:  # noqa: ANN401
    from mpc.rng import Rng

    return Rng.from_seed(b"graph")


# What the aggregator sees ---------------------------------------------------------------------------------------------


def test_masked_arrays_are_uniform_and_masks_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros sent three times by three parties: every byte of every array uniform, and no stream used in two runs."""
    seen: list[np.ndarray] = []
    streams: list[set[bytes]] = []
    receive, apply = crowd.receive_words, mask.apply

    def watched(channel: Channel, size: int, take: Callable[[int, np.ndarray], object]) -> None:
        if channel.me == "hub":
            receive(channel, size, lambda start, words: (seen.append(words.copy()), take(start, words)))
        else:
            receive(channel, size, take)

    def kept(keys: np.ndarray, negative: np.ndarray, words: np.ndarray, *, first: int) -> None:
        streams[-1] |= {key.tobytes() for key in keys}
        apply(keys, negative, words, first=first)

    monkeypatch.setattr(crowd, "receive_words", watched)
    monkeypatch.setattr(mask, "apply", kept)
    n = 8192
    for _ in range(3):
        streams.append(set())
        assert not run({name: np.zeros(n, dtype=np.int64) for name in "abc"})["hub"].values.any()
    assert len(seen) == 9
    for words in seen:
        counts = np.bincount(words.view(np.uint8), minlength=256)
        expected = 8 * n / 256
        assert ((counts - expected) ** 2 / expected).sum() < 255 + 8 * math.sqrt(2 * 255)
    for i, words in enumerate(seen):  # neither are differences, of two parties or of two runs
        for other in seen[:i]:
            assert abs(np.unpackbits((words - other).view(np.uint8)).mean() - 0.5) < 6 * 0.5 / math.sqrt(64 * n)
    assert all(len(one) == 6 for one in streams)  # three of their own, three of pairs
    assert len(set.union(*streams)) == 18


# What it costs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parties", "words", "suite"), [(3, 10, "intl"), (10, 300_000, "intl"), (5, 7, "gm")])
def test_bytes_and_rounds_are_those_of_the_docstring(parties: int, words: int, suite: str) -> None:
    arrays = {name: np.zeros(words, dtype=np.int64) for name in numbers(parties, 1)}
    sides: dict[str, Traffic] = {}

    def party(s: Session) -> None:
        aggregation.contribute(s, arrays[s.me], aggregator="hub", rules=Rules(suite=suite))
        sides[s.me] = s.channel("hub").traffic

    run_parties({"hub": lambda s: aggregation.collect(s, rules=Rules(suite=suite)), **dict.fromkeys(arrays, party)})
    k, element = parties - 1, 32 if suite == "intl" else 33
    names = sum(len(name) + 2 for name in arrays)
    pieces = math.ceil(words / (1 << 18))
    for side in sides.values():
        sent = 8 * words + 112 * k + 2 * element + 32 * (k + 1)
        got = 8 * words + (2 * element + 112) * k + 2 * names
        assert sent <= side.bytes_sent <= sent + 70 * pieces + 400
        assert got <= side.bytes_received <= got + 4 * k + 70 * pieces + 500
        assert side.rounds == 4


def test_the_bytes_of_a_long_array_are_hardly_more_than_plain_ones() -> None:
    """The same 10^6 numbers with and without masks: at most 1.02 times the bytes."""
    arrays = {f"p{i}": np.arange(1_000_000) for i in range(3)}
    sent: dict[Any, int] = {}
    told = Rules(reveal_to="aggregator")
    for module in (masked, ideal):

        def party(s: Session, module: Any = module) -> None:  # noqa: ANN401
            module.contribute(s, arrays[s.me], aggregator="hub", rules=told)
            sent[module, s.me] = s.channel("hub").traffic.bytes_sent

        results = run_parties({"hub": lambda s, m=module: m.collect(s, rules=told), **dict.fromkeys(arrays, party)})
        assert np.array_equal(results["hub"].values, total(arrays))
    assert all(sent[masked, name] <= 1.02 * sent[ideal, name] for name in arrays)


# What goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "options", "text"),
    [
        (np.zeros(4, dtype=np.int64), {}, r"one shape at all parties: \(3,\) here, \(4,\) there"),
        (np.zeros(3), {}, "one kind at all parties: 'integer' here, 'real' there"),
        (np.zeros(3, dtype=np.int64), {"weight": 1}, "one weight at all parties: 'none' here, 'one' there"),
        (np.zeros(3, dtype=np.int64), {"rules": Rules(suite="gm", minimum=2)}, "one suite at all parties"),
        (np.zeros(3, dtype=np.int64), {"rules": Rules(minimum=3)}, "one minimum at all parties: 2 here, 3 there"),
        (np.zeros(3, dtype=np.int64), {"rules": Rules(minimum=2, reveal_to="aggregator")}, "one reveal to at all"),
    ],
)
def test_parties_that_are_about_to_run_different_things(array: np.ndarray, options: Any, text: str) -> None:  # noqa: ANN401
    arrays = {"a": np.zeros(3, dtype=np.int64), "b": np.zeros(3, dtype=np.int64), "c": array}
    with pytest.raises(PeerError, match=text):
        run(arrays, own={"c": options})


def test_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(s: Session) -> None:
        terms = TWO.terms(aggregation.vector.Layout("integer", 0, (3,), "none"), method="single")
        terms.version += 1
        s.channel("hub").send(wire.Join(terms=terms), np.zeros((2, 32), dtype=np.uint8))
        s.channel("hub").recv(wire.Roster)

    with pytest.raises(PeerError, match="one version at all parties: 1 here, 2 there"):
        run({"a": np.zeros(3, dtype=int), "b": np.zeros(3, dtype=int)}, parties={"c": other})


@pytest.mark.parametrize(
    ("array", "options", "text"),
    [
        ([1.0, float("nan")], {}, "index 1 is not a number"),
        ([float("inf")], {}, "infinite"),
        ([1e300], {}, "not below|does not fit"),
        ([2.0**39], {}, "does not fit 64 bits"),
        (np.array([2**62]), {}, "a sum of 2 like it does not fit 64 bits"),
        (np.array([2**63], dtype=np.uint64), {}, "63 bits"),
        (np.array([2**40]), {"weight": 2**40}, "larger unit"),
        ([1.0], {"weight": [1.0, 2.0]}, "one for each entry"),
        ([1.0], {"weight": -1.0}, "negative"),
        ([1.0], {"weight": float("nan")}, "not a number|does not fit"),
        (["x"], {}, "only integers and real numbers"),
        ([1.0], {"fraction": 41}, "fraction is a number of bits"),
    ],
)
def test_values_that_do_not_fit_are_refused_before_anything_is_sent(array: Any, options: Any, text: str) -> None:  # noqa: ANN401
    other = np.zeros(len(array), dtype=np.asarray(array).dtype if np.asarray(array).dtype.kind in "if" else np.int64)
    with pytest.raises(UsageError, match=text):
        run({"a": array, "b": other}, own={"a": options})


def test_misuse_says_what_to_do() -> None:
    for text, make in {
        "minimum is 2": lambda: Rules(minimum=1),
        "no cipher suite": lambda: Rules(suite="none"),
        "threshold counts holders": lambda: Rules(threshold=0),
        "shares of the parties": lambda: Rules(max_dropout=1.5),
        "'all', 'aggregator' or a tuple": lambda: Rules(reveal_to="none"),  # type: ignore[arg-type]
        "'semi-honest' or 'malicious'": lambda: Rules(security="none"),  # type: ignore[arg-type]
        "A run has a name": lambda: Rules(security="malicious"),
        "choose from 6 to 10": lambda: Rules(threshold=5).shape(10),
        "bring 2 to 1000": lambda: Rules().shape(1001),
        "two servers": lambda: two_servers._checked(Rules(threshold=3)),
    }.items():
        with pytest.raises(UsageError, match=text):
            make()
    with pytest.raises(UsageError, match="named twice"):
        run(numbers(2, 1), collector={"parties": ["silo-000", "silo-001", "silo-000"]})
    with pytest.raises(UsageError, match="session has"):
        run(numbers(2, 1), collector={"parties": ["silo-000", "silo-001", "silo-002"]})
    with pytest.raises(UsageError, match="give both or neither"):
        run(numbers(2, 1), own={"silo-000": {"identity": signed("silo-000")}})


# One bit of each message. From a party: join, shares, one piece, opened. From the aggregator: roster, relayed, turn,
# survivors, closed, the sum. A flipped bit of an array, or of the sum, is a wrong sum, as `masked` declares.


@pytest.mark.parametrize(
    ("sender", "message", "byte", "error", "text"),
    [
        ("a", 0, 8, PeerError, "got a|arrays where|Wire"),
        ("a", 0, -1, PeerError, "elements of the group|sealed"),
        ("a", 1, -1, CheatingDetected, "as a has sealed them"),
        ("a", 1, 8, PeerError, "got a"),
        ("a", 2, 8, PeerError, "got a"),
        ("a", 3, -1, PeerError, "do not fit what it announced"),
        ("hub", 0, -1, PeerError, "elements of the group|sealed"),
        ("hub", 0, 8, PeerError, "got a"),
        ("hub", 1, -1, CheatingDetected, "has sealed them"),
        ("hub", 2, 8, PeerError, "got a"),
        ("hub", 3, -1, CheatingDetected, "never both"),
        ("hub", 3, -2, CheatingDetected, "this party's array in the sum"),
        ("hub", 4, 8, PeerError, "got a"),
        ("hub", 5, 8, PeerError, "got a"),
    ],
)
def test_one_flipped_bit(sender: str, message: int, byte: int, error: type[Exception], text: str) -> None:
    receiver = "a" if sender == "hub" else "hub"
    arrays = {name: np.arange(5) for name in "abc"}
    with pytest.raises(error, match=text):
        run(arrays, rules=Rules(), tamper={(sender, receiver): Tamper(message, byte=byte)})


def test_a_flipped_bit_of_an_array_is_a_wrong_sum() -> None:
    arrays = {name: np.arange(5) for name in "abc"}
    results = run(arrays, tamper={("a", "hub"): Tamper(2)})
    assert np.array_equal(results["hub"].values[:4], total(arrays)[:4])
    assert results["hub"].values[4] != total(arrays)[4]


@pytest.mark.parametrize(
    ("survived", "dropped", "text"),
    [
        (0b111, 0b010, "never both"),
        (0b110, 0b001, "this party's array in the sum"),
        (0b101, 0b000, "whether each neighbour that has shared"),
        (0b1111, 0b000, "a bit for each of 3 parties"),
    ],
)
def test_an_aggregator_that_asks_for_what_it_must_not(
    monkeypatch: pytest.MonkeyPatch, survived: int, dropped: int, text: str
) -> None:
    """To the first party it says other sets than there are; it gets no share from it."""
    send = Channel.send

    def asking(channel: Channel, header: Message, *arrays: Any) -> None:  # noqa: ANN401
        if isinstance(header, wire.Survivors) and channel.peer == "a":
            arrays = tuple(np.array([bits], dtype=np.uint8) for bits in (survived, dropped))
        assert not (isinstance(header, wire.Opened) and channel.me == "a")
        send(channel, header, *arrays)

    monkeypatch.setattr(Channel, "send", asking)
    with pytest.raises(PeerError, match=text) as raised:
        run({name: np.arange(5) for name in "abc"})
    assert raised.value.party == "hub"


def test_a_party_opens_once() -> None:
    """Whoever asks again, for the other secret too, gets nothing: the party waits for the end and has no keys."""

    def hub(s: Session) -> None:
        joined = {n: s.channel(n).recv(wire.Join)[1] for n in "ab"}
        for i, name in enumerate("ab"):
            other = joined["ba"[i]][None]
            s.channel(name).send(wire.Roster(parties=["a", "b"], neighbours=[1 - i], nonce=bytes(32)), other)
        sealed = {n: s.channel(n).recv(wire.Shares)[1] for n in "ab"}
        for i, name in enumerate("ab"):
            s.channel(name).send(wire.Relayed(), np.ones(1, dtype=np.uint8), sealed["ba"[i]])
            s.channel(name).send(wire.Turn())
        for name in "ab":
            s.channel(name).recv(wire.Piece)
            s.channel(name).send(wire.Survivors(), np.array([3], dtype=np.uint8), np.array([0], dtype=np.uint8))
            s.channel(name).recv(wire.Opened)
            s.channel(name).send(wire.Survivors(), np.array([1], dtype=np.uint8), np.array([2], dtype=np.uint8))
            s.channel(name).recv(wire.Opened)

    with pytest.raises(PeerError, match="got a 'unseen.aggregation.v1.Survivors'"):
        run({"a": [1, 2], "b": [3, 4]}, parties={"hub": hub})


@pytest.mark.parametrize("names", [["a", "a"], ["b", "a"], ["b", "c"]])
def test_a_repeated_or_missing_party_in_the_roster(names: list[str]) -> None:
    def hub(s: Session) -> None:
        keys = [s.channel(n).recv(wire.Join)[1] for n in "ab"]
        s.channel("a").send(wire.Roster(parties=names, neighbours=[1], nonce=bytes(32)), keys[1][None])
        s.channel("a").recv(wire.Shares)

    with pytest.raises(PeerError, match="each party once, sorted, and this one"):
        run({"a": [1], "b": [2]}, parties={"hub": hub})


def test_a_threshold_that_the_aggregator_cannot_lower() -> None:
    """Fewer neighbours would mean fewer holders; the party counts for itself."""

    def hub(s: Session) -> None:
        keys = [s.channel(n).recv(wire.Join)[1] for n in "abc"]
        s.channel("a").send(wire.Roster(parties=["a", "b", "c"], neighbours=[1], nonce=bytes(32)), keys[1][None])
        s.channel("a").recv(wire.Shares)

    with pytest.raises(PeerError, match="2 neighbours among 3 parties"):
        run({"a": [1], "b": [2], "c": [3]}, parties={"hub": hub})


# Against an aggregator that deviates ----------------------------------------------------------------------------------

KEYS = {f"silo-{i:03}": Ed25519PrivateKey.from_private_bytes(bytes([i + 1]) * 32) for i in range(7)}
PUBLIC = {name: key.public_key().public_bytes_raw() for name, key in KEYS.items()}
SIGNED = Rules(security="malicious", run="run 1", minimum=3)


def signed(name: str, *, by: str | None = None) -> aggregation.Identity:
    return aggregation.ed25519_identity(KEYS[by or name].sign, PUBLIC)


def test_signed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "PIECE", 100)
    arrays = numbers(7, 250)
    own = {name: {"identity": signed(name)} for name in arrays}
    gone = "silo-003"
    results = run(
        arrays,
        rules=SIGNED,
        own=own,
        parties={gone: leaving(arrays[gone], 6, rules=SIGNED, identity=signed(gone))},
    )
    there = tuple(name for name in arrays if name != gone)
    assert all(np.array_equal(results[name].values, total(arrays, there)) for name in ("hub", *there))
    assert SIGNED.shape(7).threshold == 5


def test_keys_that_their_owner_has_not_signed() -> None:
    arrays = numbers(3, 2)
    own = {name: {"identity": signed(name)} for name in arrays}
    own["silo-001"] = {"identity": signed("silo-001", by="silo-002")}
    with pytest.raises(CheatingDetected, match="keys that silo-001 has signed"):
        run(arrays, rules=SIGNED, own=own)
    own["silo-001"] = {"identity": signed("silo-001"), "rules": Rules(security="malicious", run="run 0")}
    with pytest.raises(PeerError, match="one run at all parties"):
        run(arrays, rules=SIGNED, own=own)


@pytest.mark.parametrize(
    "kind", ["other sets", "other names", "too few votes", "a forged vote", "a vote of one that dropped"]
)
def test_survivor_sets_that_differ_are_found(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    send = Channel.send

    def lying(channel: Channel, header: Message, *arrays: Any) -> None:  # noqa: ANN401
        if isinstance(header, wire.Survivors) and channel.peer == "silo-000" and kind == "other sets":
            arrays = (np.array([0b0111111], dtype=np.uint8), np.array([0b1000000], dtype=np.uint8))
        if isinstance(header, wire.Roster) and channel.peer == "silo-000" and kind == "other names":
            header.parties[6] = "silo-007"
        if isinstance(header, wire.Votes) and channel.peer == "silo-000":
            changed = wire.Votes()
            changed.CopyFrom(header)
            if kind == "too few votes":
                del changed.voters[4:], changed.signatures[4:]
            elif kind == "a forged vote":
                changed.signatures[3] = bytes(64)
            elif kind == "a vote of one that dropped":
                changed.voters[-1] = 7
            header = changed
        send(channel, header, *arrays)

    monkeypatch.setattr(Channel, "send", lying)
    arrays = numbers(7, 3)
    what = {
        "other sets": "for the sets that this party was told|votes of survivors",
        "other names": "keys that silo-007 has signed",
        "too few votes": "votes of 5 parties",
        "a forged vote": "a vote of silo-003",
        "a vote of one that dropped": "votes of parties, each once",
    }
    with pytest.raises(PeerError, match=what[kind]) as raised:
        run(arrays, rules=SIGNED, own={name: {"identity": signed(name)} for name in arrays})
    assert raised.value.party == "hub"


@pytest.mark.parametrize("present", [0, 3])
def test_a_party_that_is_told_of_too_few_others_sends_no_array(monkeypatch: pytest.MonkeyPatch, present: int) -> None:
    """Its array would be under its own seed and few masks. All others, told that it has shared, would sign sets that
    have it survive, and open its seed: their votes suffice without it.
    """
    send = Channel.send

    def hiding(channel: Channel, header: Message, *arrays: Any) -> None:  # noqa: ANN401
        if isinstance(header, wire.Relayed) and channel.peer == "silo-000":
            arrays = (np.arange(6, dtype=np.uint8) < present).astype(np.uint8), arrays[1][:present]
        assert not (isinstance(header, wire.Piece) and channel.me == "silo-000")
        send(channel, header, *arrays)

    monkeypatch.setattr(Channel, "send", hiding)
    arrays = numbers(7, 3)
    with pytest.raises(CheatingDetected, match="shares of 5 parties at least") as raised:
        run(arrays, rules=SIGNED, own={name: {"identity": signed(name)} for name in arrays})
    assert raised.value.party == "hub"


def test_what_is_signed_says_which_run_roster_and_sets() -> None:
    made = [
        keys.survivors_text(run, nonce, names, survived, dropped)
        for run in ("a", "ab")
        for nonce in (bytes(32), b"b" + bytes(31))
        for names in (["ab", "c"], ["a", "bc"], ["abc"])
        for survived, dropped in ((b"\3", b"\0"), (b"\1", b"\2"), (b"\3\0", b""), (b"", b"\3\0"))
    ]
    assert len(set(made)) == len(made)
    assert len({keys.keys_text(run, name, b"k") for run, name in (("a", "bc"), ("ab", "c"), ("abc", ""))}) == 3


# Two servers ----------------------------------------------------------------------------------------------------------


def run_two(arrays: Arrays, *, rules: Rules = TWO, parties: Mapping[str, Any] | None = None, **options: Any) -> Any:  # noqa: ANN401
    def party(s: Session) -> object:
        servers = Session(s.me, {n: s.channel(n) for n in ("left", "right")}, s.rng)
        return two_servers.contribute(servers, arrays[s.me], collector="left", unmasker="right", rules=rules)

    return run_parties(
        {
            "left": lambda s: two_servers.collect(s, unmasker="right", rules=rules),
            "right": lambda s: two_servers.unmask(s, collector="left", rules=rules),
            **dict.fromkeys(arrays, party),
            **(parties or {}),
        },
        **options,
    )


def leaving_two(array: object, *, to: str, after: int) -> Callable[[Session], str]:
    def party(s: Session) -> str:
        channels = {n: Leaving(s.channel(n), after if n == to else 99) for n in ("left", "right")}
        own = Session(s.me, channels, s.rng)  # type: ignore[arg-type]
        with pytest.raises(Left):
            two_servers.contribute(own, array, collector="left", unmasker="right", rules=TWO)  # type: ignore[arg-type]
        return "left"

    return party


@pytest.mark.parametrize(("to", "after"), [("right", 0), ("right", 1), ("left", 0), ("left", 1), ("left", 3)])
def test_two_servers(monkeypatch: pytest.MonkeyPatch, to: str, after: int) -> None:
    monkeypatch.setattr(crowd, "PIECE", 1000)
    monkeypatch.setattr(two_servers, "_UNMASK", 2000)
    arrays = {name: np.random.default_rng(ord(name)).normal(size=(5, 700)) for name in "abcde"}
    results = run_two(arrays, parties={"d": leaving_two(arrays["d"], to=to, after=after)})
    there = ("a", "b", "c", "e")
    for name in ("left", *there):
        assert np.abs(results[name].values - total(arrays, there)).max() < 1e-6
        assert results[name].survivors == there
    assert results["right"] == there
    assert set(results["left"].dropped) == {"d"}


def test_two_servers_open_nothing_for_too_few() -> None:
    with pytest.raises(PolicyError, match="2 parties are left, 3 are needed"):
        run_two(numbers(2, 3), rules=Rules())


@pytest.mark.parametrize("parties", [0, 1001])
def test_a_turn_among_no_or_too_many(parties: int) -> None:
    def left(s: Session) -> None:
        s.channel("a").recv(wire.Offer)
        s.channel("a").send(wire.Turn(parties=parties))
        s.channel("a").recv(wire.Piece)

    with pytest.raises(PeerError, match="1 to 1000 parties"):
        run_two({"a": [1]}, parties={"left": left})


def test_a_collector_that_asks_twice_for_one_or_for_a_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Channel.send
    for survivors in (["a", "a", "b"], ["a", "x"], ["b", "a"]):

        def asking(channel: Channel, header: Message, *arrays: Any, s: list[str] = survivors) -> None:  # noqa: ANN401
            send(channel, wire.Expand(survivors=s) if isinstance(header, wire.Expand) else header, *arrays)

        monkeypatch.setattr(Channel, "send", asking)
        with pytest.raises(PeerError, match="parties whose seeds are here, each once"):
            run_two({"a": [1], "b": [2]})


@pytest.mark.parametrize(
    ("pair", "message", "byte"),
    [
        (("a", "right"), 0, 8),
        (("right", "a"), 0, 8),
        (("a", "left"), 0, 8),
        (("left", "a"), 0, 8),
        (("a", "left"), 1, 8),
        (("right", "left"), 0, 8),
        (("left", "right"), 0, 8),
        (("right", "left"), 1, 8),
        (("left", "a"), 1, 8),
    ],
)
def test_one_flipped_bit_with_two_servers(pair: tuple[str, str], message: int, byte: int) -> None:
    with pytest.raises((PeerError, ChannelClosed)):
        run_two({"a": [1], "b": [2]}, tamper={pair: Tamper(message, byte=byte)})


def test_the_ideal_twin_gives_the_same() -> None:
    arrays = {name: np.random.default_rng(ord(name)).normal(size=9) for name in "abc"}

    def party(s: Session) -> object:
        return ideal.contribute(s, arrays[s.me], aggregator="hub")

    plain = run_parties({"hub": ideal.collect, **dict.fromkeys(arrays, party)})
    masked_ = run(arrays)
    for name, result in plain.items():
        assert np.array_equal(result.values, masked_[name].values)
        assert result.survivors == masked_[name].survivors
    with pytest.raises(PolicyError, match="2 parties are left, 3 are needed"):
        run_parties({"hub": ideal.collect, **dict.fromkeys("ab", party)})


def test_terms_name_what_differs() -> None:
    assert {field.name for field in wire.Terms.DESCRIPTOR.fields} >= {"version", "method", "suite", "run"}
    assert rules.VERSION == 1
