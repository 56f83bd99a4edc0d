"""Bits of either party times shared words, against the clear."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.arithmetic.v1 import selection_pb2 as wire
from protocols.arithmetic import selection
from protocols.arithmetic.selection import Selection
from protocols.learning import strict_boosting

Words = NDArray[np.uint32]
Results = list[tuple[Words, Words]]

RNG = np.random.default_rng(8)


def words(*shape: int) -> Words:
    return RNG.integers(0, 1 << 32, shape, dtype=np.uint32)


def party(
    bits: NDArray[np.bool_], *factors: Words, warm: bool = False
) -> Callable[[Session], tuple[Results, tuple[int, int]]]:
    """Multiplies its bits with the other's factors and the other way round, one after the other."""

    def run(session: Session) -> tuple[Results, tuple[int, int]]:
        channel = session.channel("b" if session.me == "a" else "a")
        end = Selection(channel, first=session.me == "a", suite=suites.get("intl"), rng=session.rng)
        if warm:
            end.choose(np.ones(64, dtype=np.bool_), 64)
        before = channel.traffic
        chosen, offered = end.choose(bits, len(factors[0]), lanes=sum(one.shape[1] for one in factors))
        found = []
        for one in factors:
            found.append(end.multiply(chosen, offered, one))
            chosen, offered = chosen.after(one.shape[1]), offered.after(one.shape[1])
        after = channel.traffic
        return found, (after.bytes_sent - before.bytes_sent, after.messages_sent - before.messages_sent)

    return run


@pytest.mark.parametrize(("n", "m"), [(1, 1), (130, 77), (64, 0), (0, 5000), (0, 0)])
def test_products_of_both_directions(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "AT_A_TIME", 1024)
    monkeypatch.setattr(selection, "_PIECE", 1000)
    ours, theirs = RNG.random(n) < 0.5, RNG.random(m) < 0.5
    given, taken = [words(m, 2), words(m, 1), words(m, 1)], [words(n, 2), words(n, 1), words(n, 1)]
    results = run_parties({"a": party(ours, *given), "b": party(theirs, *taken)})
    for i in range(3):
        (mine, rest), (others, left) = results["a"][0][i], results["b"][0][i]
        np.testing.assert_array_equal(mine + left, ours[:, None] * taken[i])
        np.testing.assert_array_equal(others + rest, theirs[:, None] * given[i])
        assert len(np.unique(mine)) == mine.size  # shares, not products


def test_cost() -> None:
    n, m = 1 << 17, 1 << 16 | 128
    given, taken = [words(m, 2), words(m, 1)], [words(n, 2), words(n, 1)]
    choices = RNG.random(n) < 0.5
    results = run_parties({"a": party(choices, *given, warm=True), "b": party(choices[:m], *taken, warm=True)})
    (sent, messages), (received, others) = results["a"][1], results["b"][1]
    exact = strict_boosting.bytes_of_sides(n, 1, 0) + strict_boosting.bytes_of_sides(m, 1, 0)
    assert 0 <= sent + received - exact <= 128 * (messages + others)
    assert max(messages, others) <= 4


def test_misuse() -> None:
    def wide(session: Session) -> None:
        end = Selection(session.channel("b"), first=True, suite=suites.get("intl"), rng=session.rng)
        end.choose(np.ones(3, np.bool_), 0, lanes=5)

    with pytest.raises(UsageError, match="1 to 4 words"):
        run_parties({"a": wide, "b": lambda _: None})

    def more(session: Session) -> None:
        (run,) = (party(np.ones(3, np.bool_), words(3, 1)),)
        run(session)
        other = Selection(session.channel("b"), first=True, suite=suites.get("intl"), rng=session.rng)
        empty = selection.Chosen(np.ones(0, np.bool_), words(0, 0))
        other.multiply(empty, selection.Offered(words(0, 0), words(0, 0)), words(0, 1))

    with pytest.raises(UsageError, match="that are left"):
        run_parties({"a": more, "b": party(np.ones(3, np.bool_), words(3, 1))})


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (wire.SelectionFlips(step=2), "step 1 of selection"),
        (wire.SelectionFlips(step=1), "flips of 100 bits"),
    ],
)
def test_peer_that_flips_others(said: wire.SelectionFlips, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(session: Session) -> None:
        end = Selection(session.channel("a"), first=False, suite=suites.get("intl"), rng=session.rng)
        sent, _ = end._transfers.take(0, 128)  # as the other's call does
        assert not len(sent)
        session.channel("a").send(said, np.zeros(12, np.uint8))

    with pytest.raises(PeerError, match=what):
        run_parties({"a": party(np.ones(0, np.bool_), words(100, 1)), "b": hostile})


@pytest.mark.parametrize(
    ("said", "shape", "what"),
    [
        (wire.SelectionWords(step=9), (70, 1), "step 2 of selection"),
        (wire.SelectionWords(step=2), (70, 2), "a word for each bit"),
        (wire.SelectionWords(step=2), (71, 1), "a word for each bit"),
    ],
)
def test_peer_that_gives_other_words(said: wire.SelectionWords, shape: tuple[int, int], what: str) -> None:
    def hostile(session: Session) -> None:
        end = Selection(session.channel("a"), first=False, suite=suites.get("intl"), rng=session.rng)
        end.choose(np.ones(0, np.bool_), 70, lanes=1)
        session.channel("a").send(said, words(*shape))

    with pytest.raises(PeerError, match=what):
        run_parties({"a": party(np.ones(70, np.bool_), words(0, 1)), "b": hostile})
