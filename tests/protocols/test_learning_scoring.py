"""Scores and grades against plain sums; cuts met exactly; and what a bad peer can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from numpy.typing import NDArray

from mpc.errors import ChannelClosed, MpcError, PeerError, PolicyError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.learning.v1 import scoring_pb2 as wire
from mpc.wire.lookup.v1 import table_pb2 as lookup_wire
from protocols.learning import scoring
from protocols.learning.release import OPERATORS, learned
from protocols.learning.scoring import ABSENT, FOUND, OVER_QUOTA, Asking, Reply, Request, Terms
from protocols.lookup.table import SignedDocument

BANK, TAX, FUND, COURT = "bank", "tax", "fund", "court"
STEP = 2.0**-scoring.FRACTION
CUTS = (-1.5, 0.0, 0.25)


def parts_of(names: Sequence[str], n: int, *, seed: int = 1) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=n) for name in names}


def plain(parts: Mapping[str, NDArray[np.float64]], cuts: Sequence[float] = CUTS) -> list[int]:
    total = np.sum(list(parts.values()), axis=0)
    return np.searchsorted(np.asarray(cuts), total, side="right").tolist()


def graded(
    parts: Mapping[str, NDArray[np.float64]],
    *,
    differs: Mapping[str, Mapping[str, Any]] | None = None,
    tamper: Mapping[tuple[str, str], Tamper] | None = None,
) -> dict[str, Any]:
    def run(name: str) -> Callable[[Session], Any]:
        words: dict[str, Any] = {"asker": BANK, "parties": tuple(parts), "cuts": CUTS, **(differs or {}).get(name, {})}
        return lambda s: scoring.grades(s, parts[name], **words)

    return run_parties({name: run(name) for name in parts}, tamper=tamper)


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(BANK, TAX), (BANK, TAX, FUND, COURT)])
def test_scores_are_the_sums_of_the_parts(names: tuple[str, ...]) -> None:
    parts = parts_of(names, 50)

    def run(s: Session) -> tuple[NDArray[np.float64] | None, int]:
        total = scoring.scores(s, parts[s.me], asker=BANK, parties=names, training="0123456789abcdef")
        return total, s.channel(TAX).traffic.bytes_received if s.me == BANK else 0

    results = run_parties(dict.fromkeys(names, run))
    assert all(results[name][0] is None for name in names if name != BANK)
    total, received = results[BANK]
    np.testing.assert_allclose(total, np.sum([parts[name] for name in names], axis=0), rtol=1e-15, atol=1e-15)
    assert 8 * 50 <= received <= 8 * 50 + 300


@pytest.mark.parametrize("names", [(BANK, TAX), (BANK, FUND, TAX), (BANK, COURT, FUND, TAX)])
def test_grades_are_those_of_the_sum_and_open_to_the_asker_alone(names: tuple[str, ...]) -> None:
    parts = parts_of(names, 40)
    results = graded(parts)
    assert results[BANK].tolist() == plain(parts)
    assert set(results[BANK].tolist()) == {0, 1, 2, 3}
    assert all(results[name] is None for name in names if name != BANK)


@pytest.mark.parametrize("names", [(BANK, TAX), (BANK, FUND, TAX)])
def test_a_sum_at_a_cut_is_above_it_and_a_step_below_is_not(names: tuple[str, ...]) -> None:
    # Multiples of a step, of both signs and of very different sizes, so that the sums are exact.
    around = [cut + step * STEP for cut in CUTS for step in (-1, 0, 1)]
    split = np.array([3.0, -300_000.5, 1234.0 + STEP] * 3)
    parts = {BANK: np.array(around) - split * (len(names) - 1), **{name: split.copy() for name in names[1:]}}
    assert graded(parts)[BANK].tolist() == [0, 1, 1, 1, 2, 2, 2, 3, 3]


def test_no_rows() -> None:
    parts = parts_of((BANK, TAX), 0)
    assert graded(parts)[BANK].shape == (0,)


def test_the_cost_of_a_grade_between_two() -> None:
    n = 1 << 12

    def run(s: Session) -> list[tuple[int, int]]:
        peer = TAX if s.me == BANK else BANK
        told = []
        with scoring.arithmetic.two_party(s, compute=(BANK, TAX), fraction=scoring.FRACTION) as computing:
            for rows in (1, *[1] * 8, n):
                before = s.channel(peer).traffic
                scoring.graded(computing, np.zeros(rows), asker=BANK, cuts=CUTS)
                now = s.channel(peer).traffic
                sent = now.bytes_sent + now.bytes_received - before.bytes_sent - before.bytes_received
                told.append((sent, now.rounds - before.rounds))
        return told

    _, *singles, (many, _) = run_parties({BANK: run, TAX: run})[BANK]
    assert max(rounds for _, rounds in singles) <= 10
    # Transfers are made some ahead, so single ones cost more now and then; and there are envelopes.
    assert np.mean([sent for sent, _ in singles]) <= 64 * 460 + 16_384
    assert many <= 470 * n * len(CUTS)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.array([np.nan]), "not a number"),
        (np.array([2.0**20]), "not below"),
        (np.array([-np.inf]), "not a number"),
        (np.zeros((2, 2)), "one sum for each row"),
    ],
)
def test_sums_that_are_none(wrong: NDArray[np.float64], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        scoring.checked(wrong)


@pytest.mark.parametrize("cuts", [(), (1.0, 1.0), (2.0, 1.0), (float("nan"),), (0.0, float("inf")), tuple(range(17))])
def test_cuts_that_are_none(cuts: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="increasing"):
        scoring.check_cuts(cuts)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [({"cuts": (-1.5, 0.0, 0.5)}, "cuts"), ({"asker": TAX}, "asker"), ({"parties": (BANK, TAX, COURT)}, "parties")],
)
def test_parties_that_grade_otherwise_find_out_before_anything_opens(theirs: dict[str, Any], words: str) -> None:
    with pytest.raises((PeerError, UsageError), match=words):
        graded(parts_of((BANK, TAX), 3), differs={TAX: theirs})


def test_parties_with_other_rows_find_out() -> None:
    parts = {BANK: np.zeros(3), TAX: np.zeros(4)}
    with pytest.raises(PeerError, match="rows"):
        graded(parts)
    with pytest.raises(PeerError, match="rows"):
        run_parties(dict.fromkeys(parts, lambda s: scoring.scores(s, parts[s.me], asker=BANK, parties=(BANK, TAX))))


def test_parts_of_different_trainings_are_not_put_together() -> None:
    def run(s: Session) -> object:
        return scoring.scores(s, np.zeros(2), asker=BANK, parties=(BANK, TAX), training=f"of {s.me}")

    with pytest.raises(PeerError, match="training"):
        run_parties({BANK: run, TAX: run})


@pytest.mark.parametrize(("sums", "words"), [([np.nan], "sums that are numbers"), ([1.0, 1.0], "a sum for|at most")])
def test_a_partner_that_sends_what_is_no_sum(sums: list[float], words: str) -> None:
    def tax(s: Session) -> None:
        channel = s.channel(BANK)
        channel.send(channel.recv(wire.Batch)[0])
        channel.send(wire.Partial(), np.array(sums))

    with pytest.raises(PeerError, match=words):
        run_parties({BANK: lambda s: scoring.scores(s, np.zeros(1), asker=BANK, parties=(BANK, TAX)), TAX: tax})


@pytest.mark.parametrize("sender", [BANK, TAX])
@pytest.mark.parametrize("message", [0, 1, 2, 3])
def test_a_flipped_bit_of_what_is_agreed_is_found(sender: str, message: int) -> None:
    receiver = TAX if sender == BANK else BANK
    with pytest.raises(MpcError):
        graded(parts_of((BANK, TAX), 3), tamper={(sender, receiver): Tamper(message, byte=4)})


def test_every_role_has_its_words() -> None:
    for release in OPERATORS:
        for role in ("asker", "partner"):
            lines = learned(release, role, asker=BANK)  # type: ignore[arg-type]  # the two of the loop
            assert all("{" not in line for line in lines)
            assert any(BANK in line for line in lines) == (role == "partner")


# Warm sessions --------------------------------------------------------------------------------------------------------


class Partner:
    """A service over a few records."""

    def __init__(self, records: Mapping[bytes, float], *, release: str = "score", quota: int = 1000) -> None:
        self.records, self.quota = records, quota
        self.asked: list[Request] = []
        self.made = Terms(
            "00c0ffee00c0ffee",
            "0123456789abcdef",
            BANK,
            release,
            CUTS if release == "grade" else (),
            "opaque",  # type: ignore[arg-type]
        )

    def terms(self) -> Terms:
        return self.made

    def score(self, request: Request) -> Reply:
        if request.scenario != "credit":
            raise PolicyError("not for this", code="policy-denied", remedy="Ask for a rule.")
        self.asked.append(request)
        status = np.array([FOUND if key in self.records else ABSENT for key in request.keys], np.uint8)
        status[self.quota :] = OVER_QUOTA
        found = [self.records[key] for key, one in zip(request.keys, status, strict=True) if one == FOUND]
        return Reply(status, np.array(found, np.float64), SignedDocument(b"receipt", b"signature"))


def warm(service: Partner, ask: Callable[[Asking], Any]) -> dict[str, Any]:
    def bank(s: Session) -> object:
        with scoring.asking(s, TAX) as asking:
            result = ask(asking)
        s.close()
        return result

    return run_parties({BANK: bank, TAX: lambda s: scoring.serve(s, service, asker=BANK)})


RECORDS = {b"a": 0.5, b"b": -2.0, b"c": 0.0}


def test_a_warm_session_releases_scores() -> None:
    service = Partner(RECORDS)

    def ask(asking: Asking) -> list[Any]:
        assert asking.terms == service.made
        one = asking.ask([b"a"], np.array([1.0]), scenario="credit")
        two = asking.ask([b"b", b"nobody", b"c"], np.array([1.0, 2.0, 3.0]), scenario="credit")
        return [one, two]

    results = warm(service, ask)
    one, two = results[BANK]
    assert one.totals.tolist() == [1.5]
    assert one.grades is None
    assert two.status.tolist() == [FOUND, ABSENT, FOUND]
    np.testing.assert_array_equal(two.totals, [-1.0, np.nan, 3.0])
    assert two.receipt == SignedDocument(b"receipt", b"signature")
    assert results[TAX] == 4


def test_a_warm_session_releases_grades_again_and_again() -> None:
    service = Partner(RECORDS, release="grade")

    def ask(asking: Asking) -> list[list[int]]:
        # One below the first cut, at it, at the last; and a query of which nothing is found, between the others.
        own = [(b"b", 0.5 - STEP), (b"b", 0.5), (b"nobody", 0.0), (b"c", 0.25)]
        answers = [asking.ask([key], np.array([value]), scenario="credit") for key, value in own]
        assert all(answer.totals is None for answer in answers)
        return [answer.grades.tolist() for answer in answers if answer.grades is not None]

    assert warm(service, ask)[BANK] == [[0], [1], [-1], [3]]


@pytest.mark.parametrize("release", ["score", "grade"])
def test_a_refusal_and_a_spent_quota_leave_the_session_as_it_is(release: str) -> None:
    service = Partner(RECORDS, release=release, quota=1)

    def ask(asking: Asking) -> scoring.Answers:
        with pytest.raises(PolicyError, match="not for this"):
            asking.ask([b"a"], np.zeros(1), scenario="marketing")
        return asking.ask([b"a", b"c"], np.zeros(2), scenario="credit")

    answers = warm(service, ask)[BANK]
    assert answers.status.tolist() == [FOUND, OVER_QUOTA]
    told = answers.totals if release == "score" else answers.grades
    assert told[0] == (0.5 if release == "score" else 3)
    assert [request.peer for request in service.asked] == [BANK]


@pytest.mark.parametrize(
    ("keys", "own", "words"),
    [
        ([], [], "1 to 1000 keys"),
        ([b"a"], [1.0, 2.0], "1 to 1000 keys"),
        ([b"a" * 257], [1.0], "256 bytes"),
        ([b"a"], [float("nan")], "not a number"),
    ],
)
def test_misuse_sends_nothing(keys: list[bytes], own: list[float], words: str) -> None:
    service = Partner(RECORDS)

    def ask(asking: Asking) -> None:
        with pytest.raises(UsageError, match=words):
            asking.ask(keys, np.array(own), scenario="credit")

    warm(service, ask)
    assert not service.asked


def test_an_asker_that_sends_too_much_is_refused() -> None:
    for ask in (
        wire.Ask(scenario="credit"),
        wire.Ask(scenario="credit", keys=[b"k"] * 1001),
        wire.Ask(scenario="credit", keys=[b"k" * 257]),
        wire.Ask(scenario="cre\ndit", keys=[b"k"]),
    ):

        def bank(s: Session, ask: wire.Ask = ask) -> None:
            channel = s.channel(TAX)
            channel.send(wire.TermsRequest())
            channel.recv(wire.Terms)
            channel.send(ask)
            with pytest.raises(ChannelClosed):
                channel.recv(wire.Scores)

        with pytest.raises(PeerError):
            run_parties({BANK: bank, TAX: lambda s: scoring.serve(s, Partner(RECORDS), asker=BANK)})


def test_an_asker_that_does_not_begin_with_the_terms_is_refused() -> None:
    def bank(s: Session) -> None:
        s.channel(TAX).send(wire.Ask(scenario="credit", keys=[b"a"]))
        with pytest.raises(ChannelClosed):
            s.channel(TAX).recv(wire.Scores)

    service = Partner(RECORDS)
    with pytest.raises(PeerError):
        run_parties({BANK: bank, TAX: lambda s: scoring.serve(s, service, asker=BANK)})
    assert not service.asked


TERMS = wire.Terms(model="m", job="j", label_party=BANK, release="score", key_form="opaque")


@pytest.mark.parametrize(
    ("terms", "reply", "arrays", "words"),
    [
        (wire.Terms(release="all"), None, (), "a release"),
        (wire.Terms(release="grade", cuts=[2.0, 1.0]), None, (), "cuts that increase"),
        (wire.Terms(release="grade", cuts=[float("nan")]), None, (), "finite"),
        (wire.Terms(release="score", model="\x1b[2J"), None, (), "plain words"),
        (TERMS, wire.Scores(), ([FOUND, FOUND], [1.0, 1.0]), "a status for each key"),
        (TERMS, wire.Scores(), ([3], []), "a status for each key"),
        (TERMS, wire.Scores(), ([FOUND], []), "a sum for each key found"),
        (TERMS, wire.Scores(), ([ABSENT], [1.0]), "a sum for each key found"),
        (TERMS, wire.Scores(), ([FOUND], [float("inf")]), "numbers below"),
        (TERMS, lookup_wire.Refused(code="NO", message="no", remedy=""), (), "kebab case"),
    ],
)
def test_a_partner_that_breaks_the_protocol(
    terms: wire.Terms, reply: Message | None, arrays: tuple[list[float], ...], words: str
) -> None:
    def tax(s: Session) -> None:
        channel = s.channel(BANK)
        channel.recv(wire.TermsRequest)
        channel.send(terms)
        if reply is not None:
            channel.recv(wire.Ask)
            kinds = (np.uint8, np.float64)
            channel.send(reply, *(np.array(one, kind) for one, kind in zip(arrays, kinds, strict=False)))

    def bank(s: Session) -> None:
        with scoring.asking(s, TAX) as asking:
            asking.ask([b"a"], np.zeros(1), scenario="credit")

    with pytest.raises(PeerError, match=words):
        run_parties({BANK: bank, TAX: tax})
