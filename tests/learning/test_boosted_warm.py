"""One person scored by boosted trees in a warm session: equal to the walk down the joined trees, and what is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import suite
from mpc.errors import ChannelClosed, PeerError, PolicyError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.learning.v1 import boosted_pb2
from mpc.wire.learning.v1 import scoring_pb2 as wire
from protocols.learning import leaf_sums, scoring
from protocols.learning.boosted import BoostedPart
from protocols.learning.leaf_sums import Offers
from protocols.learning.release import Release
from protocols.learning.scoring import ABSENT, FOUND, Answers, Asking, Reply, Request, Terms
from tests.learning.test_boosted import MODEL, PARTIES, in_the_clear, model_of, table_of

BANK, TAX = PARTIES[:2]
CUTS = (-1.5, 0.0, 0.75)
N = 30
KEYS = [f"{row}".encode() for row in range(N)]


def table(party: str, rows: list[int]) -> dict[str, NDArray[np.float64]]:
    return {name: values[rows] for name, values in table_of(party).items()}


class Partner:
    """A service over the first rows of the tax party's table."""

    def __init__(self, part: BoostedPart, release: Release) -> None:
        self.bits = leaf_sums.bits_of(part, part.coded(table(TAX, list(range(N)))))
        self.made = Terms(
            model=MODEL,
            job="0123456789abcdef",
            label_party=BANK,
            release=release,
            cuts=CUTS if release == "grade" else (),
            key_form="opaque",
            nodes=tuple(part.nodes.tolist()),
            classes=part.classes,
        )

    def terms(self) -> Terms:
        return self.made

    def score(self, request: Request) -> Reply:
        if request.scenario != "credit":
            raise PolicyError("not for this", code="policy-denied", remedy="Ask for a rule.")
        status = np.array([FOUND if key in KEYS else ABSENT for key in request.keys], np.uint8)
        return Reply(status, self.bits[:, [KEYS.index(key) for key in request.keys if key in KEYS]])


def offers_of(part: BoostedPart, rows: list[int]) -> Offers:
    coded = part.coded(table(BANK, rows))
    return leaf_sums.offers(leaf_sums.plan(part, TAX), coded, base_score=part.base_score or 0.0)


def warm(service: Partner, ask: Callable[[Asking], Any]) -> Any:  # noqa: ANN401 - what `ask` returned
    def bank(s: Session) -> object:
        with scoring.asking(s, TAX) as asking:
            result = ask(asking)
        s.close()
        return result

    return run_parties({BANK: bank, TAX: lambda s: scoring.serve(s, service, asker=BANK)})[BANK]


def wanted(parts: Mapping[str, BoostedPart], grown: list[Any], rows: list[int]) -> NDArray[np.float64]:
    return in_the_clear(parts, grown, {name: table(name, rows) for name in (BANK, TAX)})


@pytest.mark.parametrize("classes", [1, 3])
def test_scores_of_one_and_of_several_again_and_again(monkeypatch: pytest.MonkeyPatch, classes: int) -> None:
    monkeypatch.setattr(leaf_sums, "BLOCK", 256)  # so that several go in several blocks
    parts, grown = model_of(classes=classes, rounds=4)

    def ask(asking: Asking) -> list[Answers]:
        one = asking.ask([b"7"], offers_of(parts[BANK], [7]), scenario="credit")
        with pytest.raises(PolicyError, match="not for this"):
            asking.ask([b"7"], offers_of(parts[BANK], [7]), scenario="marketing")
        nobody = asking.ask([b"nobody"], offers_of(parts[BANK], [99]), scenario="credit")
        rows = [3, 99, *range(10, 28)]
        return [one, nobody, asking.ask([b"%d" % r for r in rows], offers_of(parts[BANK], rows), scenario="credit")]

    one, nobody, several = warm(Partner(parts[TAX], "score"), ask)
    assert np.abs(one.totals - wanted(parts, grown, [7])).max() < 2.0**-25
    assert np.isnan(nobody.totals).all()
    assert nobody.status.tolist() == [ABSENT]
    assert several.status.tolist() == [FOUND, ABSENT, *[FOUND] * 18]
    found = [3, *range(10, 28)]
    assert np.abs(several.totals[several.status == FOUND] - wanted(parts, grown, found)).max() < 2.0**-25
    assert one.grades is None


def test_grades_open_nothing_else() -> None:
    parts, grown = model_of()

    def ask(asking: Asking) -> list[Answers]:
        rows = list(range(12))
        return [
            asking.ask(KEYS[:12], offers_of(parts[BANK], rows), scenario="credit"),
            asking.ask([b"nobody"], offers_of(parts[BANK], [0]), scenario="credit"),
            asking.ask([KEYS[20]], offers_of(parts[BANK], [20]), scenario="credit"),
        ]

    several, nobody, one = warm(Partner(parts[TAX], "grade"), ask)
    margins = wanted(parts, grown, [*range(12), 20])
    grades = np.searchsorted(CUTS, margins, side="right").tolist()
    assert several.grades.tolist() == grades[:12]
    assert (nobody.grades.tolist(), one.grades.tolist()) == ([-1], grades[12:])
    assert several.totals is None


def test_what_a_question_costs() -> None:
    parts, _ = model_of(rounds=6, depth=5)
    nodes = int(parts[TAX].nodes.sum())

    def ask(asking: Asking) -> tuple[int, int, int]:
        asking.ask([b"1"], offers_of(parts[BANK], [1]), scenario="credit")
        before = asking.channel.traffic
        asking.ask([b"2"], offers_of(parts[BANK], [2]), scenario="credit")
        after = asking.channel.traffic
        return (
            after.rounds - before.rounds,
            after.bytes_sent - before.bytes_sent,
            after.bytes_received - before.bytes_received,
        )

    rounds, sent, received = warm(Partner(parts[TAX], "score"), ask)
    assert rounds == 2
    assert 8 * nodes <= sent <= 8 * nodes + 128
    assert 4 * (-(-nodes // 128) * 128) + 8 <= received <= 4 * (-(-nodes // 128) * 128) + 192


def test_offers_and_sums_are_not_mixed_up() -> None:
    parts, _ = model_of()
    others, _ = model_of(seed=9)

    def ask(asking: Asking) -> None:
        with pytest.raises(UsageError, match="asked about with offers"):
            asking.ask([b"1"], np.zeros(1), scenario="credit")
        with pytest.raises(UsageError, match="are both parts of one training"):
            asking.ask([b"1"], offers_of(others[BANK], [1]), scenario="credit")
        with pytest.raises(UsageError, match="1 to 1000 keys"):
            asking.ask([b"1"], offers_of(parts[BANK], [1, 2]), scenario="credit")

    warm(Partner(parts[TAX], "score"), ask)


def test_a_service_that_gives_other_bits_is_told() -> None:
    parts, _ = model_of()
    service = Partner(parts[TAX], "score")
    service.bits = service.bits[1:]
    with pytest.raises(UsageError, match="a reply has bits of"):
        warm(service, lambda asking: asking.ask([b"1"], offers_of(parts[BANK], [1]), scenario="credit"))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (wire.Terms(nodes=[1 << 30], classes=1), "at most 1048576 nodes"),
        (wire.Terms(nodes=[1, 2], classes=3), "a tree for each class"),
        (wire.Terms(nodes=[1, 2], classes=2, release="grade", cuts=[0.0]), "grades of one margin"),
        (wire.Terms(classes=2), "of boosted trees alone"),
    ],
)
def test_terms_that_no_trees_have(terms: wire.Terms, words: str) -> None:
    whole = wire.Terms(model=MODEL, job="j", label_party=BANK, release="score", key_form="opaque")
    whole.MergeFrom(terms)

    def partner(s: Session) -> None:
        channel = s.channel(BANK)
        channel.recv(wire.TermsRequest)
        channel.send(whole)
        with pytest.raises(ChannelClosed):
            channel.recv(wire.Ask)

    def bank(s: Session) -> None:
        with scoring.asking(s, TAX):
            pytest.fail("these terms were taken")

    with pytest.raises(PeerError, match=words):
        run_parties({BANK: bank, TAX: partner})


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (0, 1)])
def test_shares_that_do_not_fit(shape: tuple[int, int]) -> None:
    parts, _ = model_of()
    service = Partner(parts[TAX], "score")

    def partner(s: Session) -> None:
        channel = s.channel(BANK)
        channel.recv(wire.TermsRequest)
        channel.send(scoring._terms_to_wire(service.made))
        chooser = leaf_sums.start_chooser(channel.fork(scoring._TREES_LANE), suite=suite.get("intl"), rng=s.rng)
        channel.recv(wire.Ask)
        channel.send(wire.Scores(), np.array([FOUND], np.uint8), np.empty(0))
        chooser.choose(np.ascontiguousarray(service.bits[:, :1]))
        channel.send(boosted_pb2.BoostedShares(), np.zeros(shape, np.uint64))

    def bank(s: Session) -> None:
        with scoring.asking(s, TAX) as asking:
            asking.ask([b"1"], offers_of(parts[BANK], [1]), scenario="credit")

    with pytest.raises(PeerError):
        run_parties({BANK: bank, TAX: partner})
