"""Grades against plain arithmetic; and that nobody gets anything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Array, Buffer, Channel, Traffic
from mpc.errors import ChannelClosed, MpcError, PeerError, PolicyError, UsageError
from mpc.kernels import cuckoo
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.suite import Suite
from mpc.testing import Tamper, run_parties
from mpc.wire.validate.v1 import threshold_pb2 as wire
from protocols.psi import payload
from protocols.validate import threshold
from protocols.validate.operators import OPERATORS, learned
from protocols.validate.threshold import (
    ABOVE,
    AMOUNT_LIMIT,
    CONSISTENT,
    FAR_ABOVE,
    NO_DATA,
    Answered,
    Asked,
    Thresholds,
)
from tests.protocols.validate import use_ideal

SOURCES = ("tax", "social", "fund")
Records = Mapping[str, int]


@pytest.fixture(name="ideal")
def _ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    use_ideal(monkeypatch)


def parties(
    claims: Records,
    held: Mapping[str, Records],
    *,
    by_party: Mapping[str, dict[str, Any]] | None = None,
    **options: object,
) -> dict[str, Callable[[Session], Any]]:
    """All parties' functions, with the same options but for those `by_party`."""
    sources = tuple(held)
    own = by_party or {}

    def bank(s: Session) -> Asked:
        words = {"sources": sources, **options, **own.get("bank", {})}
        return threshold.ask(s, list(claims), list(claims.values()), **words)

    def source(s: Session) -> Answered:
        words = {"sources": sources, "asker": "bank", **options, **own.get(s.me, {})}
        mine = held[s.me]
        return threshold.answer(s, list(mine), list(mine.values()), **words)

    return {"bank": bank, **dict.fromkeys(sources, source)}


def outcomes(functions: Mapping[str, Callable[[Session], Any]], **options: object) -> dict[str, Any]:
    """What each party's function gives: a result, or the error."""

    def caught(function: Callable[[Session], Any]) -> Callable[[Session], Any]:
        def run(s: Session) -> object:
            try:
                return function(s)
            except MpcError as error:
                return error

        return run

    return run_parties({name: caught(f) for name, f in functions.items()}, **options)  # type: ignore[arg-type]


def graded(claim: int, known: Sequence[int], thresholds: Thresholds) -> int:
    """By the definition."""
    if not known:
        return NO_DATA
    for grade, bp in ((CONSISTENT, thresholds.tolerance_bp), (ABOVE, thresholds.limit_bp)):
        if claim <= sum(known) * (1 + Fraction(bp, 10_000)):
            return grade
    return FAR_ABOVE


def expected(claims: Records, held: Mapping[str, Records], thresholds: Thresholds) -> list[int]:
    return [graded(c, [one[key] for one in held.values() if key in one], thresholds) for key, c in claims.items()]


KEYS = st.sampled_from([f"key {i}" for i in range(9)])
AMOUNTS = st.integers(0, 300) | st.sampled_from([0, 1, 10_000, AMOUNT_LIMIT - 1])


@pytest.mark.usefixtures("ideal")
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_grades_are_those_of_the_plain_sum(data: st.DataObject) -> None:
    tolerance = data.draw(st.sampled_from([0, 1, 1_000, 100_000]))
    thresholds = Thresholds(tolerance, data.draw(st.integers(tolerance, 100_000) | st.just(max(tolerance, 2_000))))
    claims = data.draw(st.dictionaries(KEYS, AMOUNTS, max_size=6))
    sources = SOURCES[: data.draw(st.integers(2, 3))]
    held = {name: data.draw(st.dictionaries(KEYS, AMOUNTS, max_size=6)) for name in sources}
    results = run_parties(parties(claims, held, thresholds=thresholds))
    assert results["bank"].grades.dtype == np.uint8
    assert results["bank"].grades.tolist() == expected(claims, held, thresholds)
    assert results["bank"].records is None
    for name in sources:
        assert results[name] == Answered(len(claims), len(claims.keys() & held[name].keys()))


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize("compute", [("d", "b"), ("c", "a", "e")])
@pytest.mark.parametrize("alignment", ["consented", "hidden"])
def test_sources_that_do_not_compute_put_theirs_in(compute: tuple[str, ...], alignment: str) -> None:
    held = {name: {f"key {i}": 10 * i + j for i in range(j, 9, 2)} for j, name in enumerate("abcde")}
    claims = {f"key {i}": 45 * i for i in range(12)}
    results = run_parties(parties(claims, held, compute=compute, alignment=alignment))
    assert results["bank"].grades.tolist() == expected(claims, held, Thresholds())


@pytest.mark.usefixtures("ideal")
def test_a_limit_is_exact_to_the_smallest_unit() -> None:
    sums = {"a": 100, "b": 1_000_003, "c": 3 * (AMOUNT_LIMIT // 3 - 1), "d": 0, "e": 0}
    held = {name: {key: total // 3 for key, total in sums.items() if key != "e"} for name in SOURCES}
    held["fund"] |= {key: total - 2 * (total // 3) for key, total in sums.items() if key != "e"}
    for more, far in ((0, CONSISTENT), (1, ABOVE)):
        claims = {key: min(total + more, AMOUNT_LIMIT - 1) for key, total in sums.items()}
        wanted = [far, far, far, FAR_ABOVE if more else CONSISTENT, NO_DATA]
        assert run_parties(parties(claims, held))["bank"].grades.tolist() == wanted
    claims = {key: total * 6 // 5 for key, total in sums.items() if key != "c"}
    assert run_parties(parties(claims, held))["bank"].grades.tolist() == [ABOVE, ABOVE, CONSISTENT, NO_DATA]
    claims = {key: total * 6 // 5 + 1 for key, total in sums.items() if key != "c"}
    assert run_parties(parties(claims, held))["bank"].grades.tolist() == [FAR_ABOVE, FAR_ABOVE, FAR_ABOVE, NO_DATA]


@pytest.mark.usefixtures("ideal")
def test_many_applicants_go_by_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold, "_PIECE", 8)
    claims = {f"key {i}": i * 7 % 40 for i in range(21)}
    held = {name: {f"key {i}": i for i in range(j, 25, 3)} for j, name in enumerate(SOURCES)}
    seen: list[Progress] = []
    functions = parties(claims, held)

    def bank(s: Session) -> object:
        return functions["bank"](Session(s.me, s.channels, s.rng, seen.append))

    results = run_parties({**functions, "bank": bank})
    assert results["bank"].grades.tolist() == expected(claims, held, Thresholds())
    assert [(p.stage, p.done, p.total) for p in seen] == [
        ("align", 0, 3),
        ("align", 1, 3),
        ("align", 2, 3),
        ("align", 3, 3),
        ("compute", 8, 21),
        ("compute", 16, 21),
        ("compute", 21, 21),
    ]


@pytest.mark.usefixtures("ideal")
def test_what_opens_is_the_grade_and_the_claim_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[np.ndarray[Any, Any]] = []
    grades = threshold._grades

    def spied(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        opened.append(bits)
        return grades(bits)

    monkeypatch.setattr(threshold, "_grades", spied)
    amounts = [0, 1, 5, 6, 7, 100]
    claims = {f"{c} {s}": c for c in amounts for s in [*amounts, "-"]}
    held = {"tax": {f"{c} {s}": s for c in amounts for s in amounts}, "social": {}, "fund": {}}
    found = run_parties(parties(claims, held))["bank"].grades
    by_view: dict[tuple[int, bool], set[tuple[bool, ...]]] = {}
    for grade, claim, bits in zip(found.tolist(), claims.values(), opened[0].T.tolist(), strict=True):
        by_view.setdefault((grade, claim > 0), set()).add(tuple(bits))
    assert {grade for grade, _ in by_view} == {CONSISTENT, ABOVE, FAR_ABOVE, NO_DATA}
    assert all(len(bits) == 1 for bits in by_view.values())


@pytest.mark.usefixtures("ideal")
def test_rows_of_one_person() -> None:
    def source(duplicates: str) -> Callable[[Session], Any]:
        return lambda s: threshold.answer(
            s, ["a", "b", "a"], [3, 4, 5], asker="bank", sources=SOURCES, duplicates=duplicates
        )  # type: ignore[arg-type]

    functions = parties({"a": 8, "b": 9}, {name: {} for name in SOURCES})
    summed = run_parties({**functions, "tax": source("sum")})
    assert summed["bank"].grades.tolist() == [CONSISTENT, FAR_ABOVE]
    assert summed["tax"].found == 2
    found = outcomes({**functions, "tax": source("error")})
    assert "Rows 1 and 3 have the same key: drop one, or pass duplicates='sum'" in str(found["tax"])
    assert "'first'" not in str(found["tax"])
    assert isinstance(found["tax"], UsageError)
    assert all(isinstance(found[name], ChannelClosed) for name in ("bank", "social", "fund"))
    with pytest.raises(UsageError, match="duplicates is 'error' or 'sum'"):
        run_parties({**functions, "tax": source("first")})

    def bank(s: Session) -> object:
        return threshold.ask(s, ["a", "a"], [1, 2], sources=SOURCES)

    with pytest.raises(UsageError, match="Rows 1 and 2 have the same key: drop one[.]\n"):
        run_parties({**functions, "bank": bank})


# Hidden alignment -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_hidden_grades_are_the_same(suite: str) -> None:
    rng = np.random.default_rng(7)
    claims = {f"key {i}": int(rng.integers(0, 300)) for i in range(60)}
    known = {
        "tax": {f"key {i}": int(rng.integers(0, 200)) for i in range(0, 90, 2)},
        "social": {f"key {i}": int(rng.integers(0, 200)) for i in range(0, 90, 3)},
    }
    results = run_parties(parties(claims, known, alignment="hidden", suite=suite, thresholds=Thresholds(500, 5_000)))
    wanted = expected(claims, known, Thresholds(500, 5_000))
    assert results["bank"].grades.tolist() == wanted
    assert set(wanted) == {0, 1, 2, 3}
    assert results["bank"].records == {"tax": 45, "social": 30}
    assert results["tax"] == results["social"] == Answered(60, None)


@pytest.mark.usefixtures("ideal")
def test_hidden_with_nobody_at_one_side_or_the_other() -> None:
    found = run_parties(parties({"a": 3, "b": 0}, {"tax": {}, "social": {"b": 0}}, alignment="hidden"))
    assert found["bank"] == Asked(found["bank"].grades, {"tax": 0, "social": 1})
    assert found["bank"].grades.tolist() == [NO_DATA, CONSISTENT]
    found = run_parties(parties({}, {"tax": {"a": 1}, "social": {}}, alignment="hidden"))
    assert found["bank"].grades.tolist() == []


# Over the engines -----------------------------------------------------------------------------------------------------


def metered(function: Callable[[Session], Any]) -> Callable[[Session], tuple[Any, dict[str, Traffic]]]:
    def run(s: Session) -> tuple[Any, dict[str, Traffic]]:
        result = function(s)
        return result, {peer: channel.traffic for peer, channel in s.channels.items()}

    return run


@pytest.mark.parametrize(("sources", "words"), [(SOURCES, 2), (SOURCES[:2], 1)], ids=["three", "two"])
def test_the_engines_agree_at_the_stated_cost(sources: tuple[str, ...], words: int) -> None:
    n = 1_000
    rng = np.random.default_rng(3)
    claims = {f"key {i}": int(c) for i, c in enumerate(rng.integers(0, 900, n))}
    held = {
        name: {f"key {i}": int(rng.integers(0, 400)) for i in range(n + 50) if rng.random() < 0.7} for name in sources
    }
    run = run_parties({name: metered(f) for name, f in parties(claims, held).items()})
    graded_as, traffic = run["bank"]
    assert graded_as.grades.tolist() == expected(claims, held, Thresholds())
    for name in sources:
        assert 0 < traffic[name].bytes_sent - (16 + 8 * words) * n < 400 + 2 * 80
        assert 0 < traffic[name].bytes_received - 3 * words * n / 8 < 400 + 80
        assert traffic[name].rounds == 2


def test_hidden_over_three_engines_at_the_stated_cost() -> None:
    n, bins = 300, cuckoo.bins(300)
    claims = {f"key {i}": 3 * i for i in range(n)}
    held = {name: {f"key {i}": i for i in range(j, 400, 2 + j)} for j, name in enumerate(SOURCES)}
    before: dict[str, int] = {}
    take = payload.receive

    def spied(channel: Channel, table: payload.Table, *, width: int, suite: Suite, rng: Rng) -> payload.Payload:
        got = take(channel, table, width=width, suite=suite, rng=rng)
        before[channel.peer] = channel.traffic.bytes_sent
        return got

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payload, "receive", spied)
        run = run_parties({name: metered(f) for name, f in parties(claims, held, alignment="hidden").items()})
    assert run["bank"][0].grades.tolist() == expected(claims, held, Thresholds())
    assert run["bank"][0].records == {name: len(one) for name, one in held.items()}
    for name in SOURCES:
        assert 0 < run["bank"][1][name].bytes_sent - before[name] - 24 * 2 * bins < 80


@pytest.mark.parametrize("sources", [SOURCES, SOURCES[:2]], ids=["three", "two"])
def test_what_a_source_gets_of_the_claims_is_uniform(sources: tuple[str, ...]) -> None:
    """Every bit of every word that the asker deals, of claims that are all the same."""
    n = 1 << 12
    dealt = threshold._scheme(sources).deal(np.full((1, n), 4_711, dtype=np.uint64), Rng.from_seed(b"claims"))
    assert len(dealt) == len(sources)
    for components in dealt:
        for words in components:
            ones = np.unpackbits(words.view(np.uint8).reshape(n, 8), axis=1).sum(axis=0)
            assert (np.abs(ones - n / 2) < 6 * np.sqrt(n) / 2).all()
            assert len(np.unique(words)) == n


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([1, -1], "of row 2 is negative"),
        ([1, AMOUNT_LIMIT], "of row 2 is 2^40 or more"),
        ([1.0, float("nan")], "Values are whole numbers"),
        ([1, None], "Values are whole numbers"),
        ([1, 1 << 64], "whole numbers of 64 bits"),
        ([1], "2 rows and 1 values"),
    ],
)
def test_what_is_no_amount_is_named_where_it_is(values: list[Any], problem: str) -> None:
    functions = parties({"a": 1}, {name: {} for name in SOURCES})

    def bank(s: Session) -> object:
        return threshold.ask(s, ["a", "b"], values, sources=SOURCES)

    def source(s: Session) -> object:
        return threshold.answer(s, ["a", "b"], values, asker="bank", sources=SOURCES)

    for name, function, what in (("bank", bank, "claim"), ("fund", source, "amount")):
        found = outcomes({**functions, name: function})
        assert isinstance(found[name], UsageError)
        assert problem in str(found[name])
        assert problem[:6] != "of row" or f"The {what} {problem}" in str(found[name])
        assert all(isinstance(error, ChannelClosed) for party, error in found.items() if party != name)


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ({"sources": ("tax",)}, "2 to 15 different parties besides the asker bank; got tax"),
        ({"sources": ()}, "got none"),
        ({"sources": ("tax", "tax")}, "2 to 15 different parties"),
        ({"sources": ("tax", "bank")}, "2 to 15 different parties"),
        ({"sources": (*SOURCES, "court")}, "Two or three sources compute, not 4; name them by compute"),
        ({"compute": ("tax",)}, "Two or three sources compute, not 1"),
        ({"compute": ("tax", "tax")}, "Two or three sources compute"),
        ({"compute": ("tax", "court")}, "compute names court, which is none of the sources"),
        ({"sources": ("tax", "court")}, "no channel to 'court'"),
        ({"alignment": "open"}, "alignment is 'consented' or 'hidden', not 'open'"),
        ({"suite": "rot13"}, "There is no cipher suite"),
        ({"form": "nothing"}, "There is no key form"),
    ],
)
def test_options_that_there_are_not(word: dict[str, Any], problem: str) -> None:
    functions = parties({"a": 1}, {name: {} for name in SOURCES}, by_party={"bank": word})
    found = outcomes(functions)
    assert isinstance(found["bank"], UsageError)
    assert problem in str(found["bank"])
    assert all(isinstance(found[name], ChannelClosed) for name in SOURCES)


def test_thresholds_that_there_are_not() -> None:
    for words in ((-1, 5), (3, 2), (0, 100_001), (0, 2_000.5), (float("nan"), 3)):
        with pytest.raises(UsageError, match="0 <= tolerance_bp <= limit_bp <= 100000 whole basis points"):
            Thresholds(*words)


def test_whoever_takes_no_part_is_told() -> None:
    functions = parties({"a": 1}, {name: {} for name in SOURCES})
    with pytest.raises(UsageError, match="court is neither the asker bank nor one of the sources"):
        run_parties({**functions, "court": lambda s: threshold.answer(s, [], [], asker="bank", sources=SOURCES)})


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ({"thresholds": Thresholds(10, 2_000)}, "tolerance"),
        ({"thresholds": Thresholds(0, 2_001)}, "limit"),
        ({"alignment": "hidden"}, "operator"),
        ({"suite": "gm"}, "suite"),
        ({"form": "phone"}, "form of keys"),
        ({"sources": ("social", "tax", "fund")}, "list of sources"),
        ({"compute": ("tax", "fund")}, "list of who computes"),
    ],
)
def test_parties_that_mean_different_things_end_at_once(word: dict[str, Any], what: str) -> None:
    functions = parties({"13800138000": 1}, {name: {"13800138000": 1} for name in SOURCES}, by_party={"tax": word})
    found = outcomes(functions)
    assert isinstance(found["tax"], PeerError)
    assert f"one {what} at all parties" in str(found["tax"])
    assert isinstance(found["bank"], PeerError)
    assert f"one {what} at all parties" in str(found["bank"])


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize("name", ["bank", "social"])
def test_grades_for_too_few_are_given_to_nobody(name: str) -> None:
    held = {source: {"a": 1} for source in SOURCES}
    found = outcomes(parties({"a": 1, "b": 2}, held, by_party={name: {"minimum": 3}}))
    assert isinstance(found[name], PolicyError)
    assert found[name].code == "result-too-small"
    assert not any(isinstance(one, Asked | Answered) for one in found.values())
    assert run_parties(parties({"a": 1, "b": 2}, held, minimum=2))["bank"].grades.tolist() == [0, 3]


# A peer that does something else --------------------------------------------------------------------------------------


def test_a_flipped_bit_in_the_terms_ends_it() -> None:
    functions = parties({"a": 1}, {name: {"a": 1} for name in SOURCES})
    for sender, receiver in (("bank", "tax"), ("fund", "bank")):
        for byte in (60, 80, 100):
            found = outcomes(functions, tamper={(sender, receiver): Tamper(0, byte)})
            assert isinstance(found[receiver], PeerError), (sender, byte)


def test_a_flipped_bit_later_is_an_error_or_a_wrong_grade() -> None:
    """Digest: a record is missed. Words: the arithmetic is about other claims. Bits: of three, copies differ."""
    functions = parties({"a": 1, "b": 100}, {name: {"a": 1, "b": 40} for name in SOURCES})
    assert run_parties(functions)["bank"].grades.tolist() == [CONSISTENT, CONSISTENT]
    missed = run_parties(functions, tamper={("bank", "tax"): Tamper(1)})
    assert missed["tax"].found == 1
    assert missed["bank"].grades.tolist() == [CONSISTENT, FAR_ABOVE]
    changed = run_parties(functions, tamper={("bank", "tax"): Tamper(2, -3)})  # of the last word, and nobody notices
    assert changed["bank"].grades[0] == CONSISTENT
    found = outcomes(functions, tamper={("social", "bank"): Tamper(1)})
    assert isinstance(found["bank"], PeerError)
    assert "tax or social or fund broke validate.threshold.consented at Bits: copies of one share" in str(found["bank"])


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize(
    ("hostile", "problem"),
    [
        (lambda d: d[:-1], "the digests of 3 applicants"),
        (lambda d: np.concatenate([d, d[:1]]), "the digests of 3 applicants"),
        (lambda d: d[[0, 0, 1]], "applicants who all differ"),
    ],
)
def test_digests_that_there_cannot_be(
    hostile: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Channel.send

    def changed(self: Channel, header: Message, *arrays: Array | Buffer) -> None:
        if isinstance(header, wire.ThresholdApplicants):
            arrays = (np.ascontiguousarray(hostile(arrays[0])),)
        send(self, header, *arrays)

    monkeypatch.setattr(Channel, "send", changed)
    held = {name: {"a": 1, "b": 2, "c": 3} for name in SOURCES}
    found = outcomes(parties({"a": 1, "b": 1, "c": 1}, held))
    assert any(isinstance(one, PeerError) and problem in str(one) for one in found.values())
    assert not isinstance(found["bank"], Asked)


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize("known", [{}, {"a": 1}])
def test_an_applicant_twice_is_refused_whether_or_not_there_is_a_record(
    known: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it depended on that, an asker that repeats one applicant would learn which source has a record of it."""
    send = Channel.send

    def changed(self: Channel, header: Message, *arrays: Array | Buffer) -> None:
        if isinstance(header, wire.ThresholdApplicants) and self.peer == "tax":
            digests = np.asarray(arrays[0])
            arrays = (np.concatenate([digests[:1], digests[:1], digests[2:]]),)
        send(self, header, *arrays)

    monkeypatch.setattr(Channel, "send", changed)
    found = outcomes(parties({"a": 1, "b": 1, "c": 1}, {"tax": known, "social": {}, "fund": {}}))
    assert isinstance(found["tax"], PeerError)
    assert "applicants who all differ" in str(found["tax"])


@pytest.mark.parametrize("leaver", ["bank", "tax", "fund"])
def test_whoever_leaves_in_whatever_round_leaves_nobody_waiting(leaver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = parties({"a": 1, "b": 100}, {name: {"a": 1} for name in SOURCES})
    send, sent = Channel.send, Counter[int]()
    last = 0

    def leaves(self: Channel, header: Message, *arrays: Array | Buffer) -> None:
        if self.me == leaver:
            sent[last] += 1
            if sent[last] > last:
                raise ConnectionError("the plug was pulled")
        send(self, header, *arrays)

    monkeypatch.setattr(Channel, "send", leaves)
    while True:
        try:
            run_parties(functions, timeout_s=10)
            break
        except ConnectionError:
            last += 1
    # It has left before each of its messages, and stayed at the end.
    assert last == sent[last] >= 2 * len(SOURCES)


@pytest.mark.parametrize(
    ("words", "problem"),
    [({"applicants": (1 << 22) + 1}, "at most 4194304 applicants"), ({"salt": b"short"}, "a salt of 32 bytes")],
)
def test_terms_that_there_cannot_be(words: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Channel.send

    def changed(self: Channel, header: Message, *arrays: Array | Buffer) -> None:
        if isinstance(header, wire.ThresholdTerms) and self.me == "bank":
            header.MergeFrom(wire.ThresholdTerms(**words))
        send(self, header, *arrays)

    monkeypatch.setattr(Channel, "send", changed)
    found = outcomes(parties({"a": 1}, {name: {"a": 1} for name in SOURCES}))
    assert isinstance(found["tax"], PeerError)
    assert problem in str(found["tax"])


def test_what_each_learns_is_said_by_alignment() -> None:
    assert len(learned("hidden", "source", asker="bank")) < len(learned("consented", "source", asker="bank"))
    assert any("who the applicants are" in line for line in learned("consented", "source", asker="bank"))
    assert len({operator.name for operator in OPERATORS.values()}) == 2
    assert threshold.grade_names(Thresholds(0, 1_250)) == (
        "consistent",
        "above by at most 12.5 %",
        "above by more than 12.5 %",
        "no data",
    )
