"""Correlations and variance inflation across parties, against numpy; who is told what; collinear columns; bad input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from mpc.channel import Channel
from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.learning.v1 import correlation_pb2 as wire
from protocols.arithmetic.two import TwoParty
from protocols.learning import correlation
from protocols.learning.correlation import Correlations, Inflation, correlate, inflate, select

Columns = Mapping[str, NDArray[np.float64]]

N = 900
RNG = np.random.default_rng(11)
X = (
    RNG.normal(size=(N, 8))
    @ (RNG.normal(size=(8, 8)) / 2 + 2 * np.eye(8))
    * 10.0 ** np.array([0, 9, -9, 0, 0, 3, 0, 0])
)
SPLIT = {"bank": (0, 1, 2), "shop": (3, 4, 5, 6), "tax": (7,)}


def columns(party: str) -> dict[str, NDArray[np.float64]]:
    return {f"x{i}": X[:, i] for i in SPLIT[party]}


def correlations(parties: tuple[str, ...], **options: object) -> dict[str, Correlations]:
    def run(session: Session) -> Correlations:
        own = {name: value[session.me] if isinstance(value, dict) else value for name, value in options.items()}
        return correlate(session, columns(session.me), parties=parties, **own)  # type: ignore[arg-type]

    return run_parties(dict.fromkeys(parties, run), seed=b"correlation")


def inflations(by_party: Mapping[str, Columns]) -> dict[str, Inflation]:
    parties = tuple(by_party)
    return run_parties(dict.fromkeys(parties, lambda s: inflate(s, by_party[s.me], parties=parties)), seed=b"inflation")


def test_two_parties_learn_the_rounded_correlations_of_different_ones() -> None:
    found = correlations(("bank", "shop"))
    expected = np.corrcoef(X[:, :7].T)
    for party, own in (("bank", slice(0, 3)), ("shop", slice(3, 7))):
        matrix = found[party].matrix
        assert np.array_equal(matrix[:3, 3:], np.round(expected[:3, 3:], 3))
        assert np.array_equal(matrix, matrix.T, equal_nan=True)
        assert matrix[own, own] == pytest.approx(expected[own, own])
    assert np.isnan(found["bank"].matrix[3:, 3:]).sum() == 4 * 3
    assert found["bank"].of(("bank", "x0"), ("shop", "x5")) == round(expected[0, 5], 3)
    with pytest.raises(UsageError, match="no feature"):
        found["bank"].of(("bank", "x0"), ("shop", "x0"))


def test_a_party_learns_the_blocks_of_the_others_too() -> None:
    found = correlations(
        ("bank", "shop", "tax"),
        to=("bank",),
        decimals=2,
        tell_own={"bank": False, "shop": True, "tax": False},
        names={"bank": True, "shop": True, "tax": False},
    )
    expected = np.round(np.corrcoef(X.T), 2)
    matrix = found["bank"].matrix
    assert matrix[3:, :] == pytest.approx(expected[3:, :], abs=1e-12)
    assert found["bank"].features[-1] == ("tax", "feature 1")
    for party, own in (("shop", slice(3, 7)), ("tax", slice(7, 8))):
        told = found[party].matrix.copy()
        told[own, own] = np.nan
        np.fill_diagonal(told, np.nan)
        assert np.isnan(told).all()
    assert any("shop, which told them" in text for text in found["bank"].learned)
    assert len(found["tax"].learned) == 1


def test_only_rounded_values_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, tuple[int, ...], int]] = []
    real: Callable[..., Any] = TwoParty.open

    def recording(self: TwoParty, a: NDArray[np.uint64], to: tuple[str, ...] | None = None) -> object:
        value = real(self, a, to)
        if value is not None:
            opened.append((self.me, value.shape, int(np.abs(value.view(np.int64)).max())))
        return value

    monkeypatch.setattr(TwoParty, "open", recording)
    correlations(("bank", "shop"), to=("shop",), decimals=1)
    assert [(me, shape) for me, shape, _ in opened] == [("shop", (3, 4))]
    assert opened[0][2] <= 10


def test_inflation_is_the_inverses_diagonal() -> None:
    for parties in (("bank", "shop"), ("bank", "shop", "tax")):
        found = inflations({party: columns(party) for party in parties})
        places = [i for party in parties for i in SPLIT[party]]
        expected = np.diag(np.linalg.inv(np.corrcoef(X[:, places].T)))
        factors = [factor for party in parties for factor in found[party].factors.values()]
        assert factors == pytest.approx(expected, rel=2e-3, abs=1 / 64)
        assert found["bank"].notes == ()
        told = np.array(factors) * 64 * len(parties)
        assert told == pytest.approx(np.rint(told), abs=1e-9)  # to no more digits than is said
        assert set(found["bank"].factors) == {"x0", "x1", "x2"}


def test_collinear_columns_are_said_to_be_so() -> None:
    a, b, c, d, e = RNG.normal(size=(5, N))
    found = inflations({"bank": {"a": a, "sum": a + c, "b": b, "twice": 2 * b}, "shop": {"c": c, "d": d, "e": e + d}})
    bank, shop = found["bank"], found["shop"]
    assert {name for name, factor in bank.factors.items() if math.isinf(factor)} == {"a", "sum", "b", "twice"}
    assert {name for name, factor in shop.factors.items() if math.isinf(factor)} == {"c"}
    pooled = np.linalg.inv(np.corrcoef(np.stack([a, b, c, d, e + d])))
    assert shop.factors["d"] == pytest.approx(pooled[3, 3], rel=2e-3, abs=1 / 64)
    notes = {note.partition(":")[0]: note for note in (*bank.notes, *shop.notes)}
    assert "this party's other features" in notes["twice"]
    assert "those of other parties" in notes["sum"]
    assert "those of other parties" in notes["c"]


def test_one_column_each_that_are_the_same() -> None:
    a = RNG.normal(size=N)
    found = inflations({"bank": {"a": a}, "shop": {"a": -3 * a}})
    assert found["bank"].factors == found["shop"].factors == {"a": math.inf}


def test_large_factors_come_out_or_are_infinite() -> None:
    a = RNG.normal(size=N)
    for noise in (0.3, 0.1, 0.04, 0.01):
        b = a + noise * RNG.normal(size=N)
        expected = 1 / (1 - np.corrcoef(a, b)[0, 1] ** 2)
        factor = inflations({"bank": {"a": a}, "shop": {"b": b}})["bank"].factors["a"]
        assert (
            factor == pytest.approx(expected, rel=1e-2, abs=1 / 64)
            if expected < correlation.LIMIT
            else math.isinf(factor)
        )


def test_bills_of_real_clients_are_collinear(credit_card_csv: Path) -> None:
    table = np.genfromtxt(credit_card_csv, delimiter=",", names=True, max_rows=4000)
    bills = {name: table[name] for name in table.dtype.names if name.startswith("BILL_AMT")}
    own = {name: table[name] for name in ("LIMIT_BAL", "AGE", "PAY_0")}
    found = inflations({"bank": own, "shop": bills})
    expected = np.diag(np.linalg.inv(np.corrcoef(np.stack([*own.values(), *bills.values()]))))
    factors = [*found["bank"].factors.values(), *found["shop"].factors.values()]
    assert factors == pytest.approx(expected, rel=2e-3, abs=1 / 64)
    assert max(factors) > 10


def test_weak_and_like_features_are_dropped() -> None:
    features = (("bank", "a"), ("shop", "b"), ("shop", "c"), ("tax", "d"))
    r = np.array([[1, 0.9, 0.1, np.nan], [0.9, 1, 0.2, 0.0], [0.1, 0.2, 1, 0.0], [np.nan, 0, 0, 1]])
    ivs = dict(zip(features, (0.3, 0.4, 0.019, 0.6), strict=True))
    chosen = select(ivs, Correlations(features, r))
    assert chosen.kept == (("tax", "d"), ("shop", "b"))
    assert "below 0.02" in chosen.dropped["shop", "c"]
    assert "+0.900 with b of shop" in chosen.dropped["bank", "a"]
    assert len(chosen.notes) == 1
    assert select(ivs).kept == (("tax", "d"), ("shop", "b"), ("bank", "a"))
    assert select({**ivs, ("bank", "new"): 0.2}, Correlations(features, r)).kept[-1] == ("bank", "new")


@pytest.mark.parametrize(
    ("column", "said"),
    [(np.ones(N), "is constant"), (np.full(N, 1e-30), "is constant"), (np.where(X[:, 0] > 0, np.nan, 1), "missing"),
     (np.where(X[:, 0] > 0, np.inf, 1), "infinite"), (X[:-1, 0], "aligned rows"), (["a"] * N, "no numbers")],
)  # fmt: skip
def test_columns_that_have_no_correlation(column: ArrayLike, said: str) -> None:
    session = Session("bank", {})
    with pytest.raises(UsageError, match=said):
        correlate(session, {"x": X[:, 1], "y": column}, parties=("bank", "shop"))
    with pytest.raises(UsageError, match=said):
        inflate(session, {"x": X[:, 1], "y": column}, parties=("bank", "shop"))


def test_options_that_there_are_not() -> None:
    session, x = Session("bank", {}), {"x": X[:, 0]}
    for wrong in ({"parties": ("bank",)}, {"parties": ("shop", "tax")}, {"to": ("tax",)}, {"to": ()}, {"decimals": 5}):
        options: dict[str, Any] = {"parties": ("bank", "shop"), **wrong}
        with pytest.raises(UsageError):
            correlate(session, x, **options)
    with pytest.raises(UsageError, match="two or three"):
        inflate(session, x, parties=("bank", "a", "b", "c"))
    with pytest.raises(UsageError, match="1 to 512"):
        correlate(session, {}, parties=("bank", "shop"))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"decimals": 2}, "the same decimals"), ({"to": ("bank",)}, "the same to"), ({"suite": "gm"}, "the same suite"),
     ({"parties": ("shop", "bank")}, "the same parties")],
)  # fmt: skip
def test_parties_that_differ_are_told_in_what(options: dict[str, Any], said: str) -> None:
    with pytest.raises(PeerError, match=said):
        run_parties(
            {
                "bank": lambda s: correlate(s, columns("bank"), parties=("bank", "shop")),
                "shop": lambda s: correlate(s, columns("shop"), **{"parties": ("bank", "shop"), **options}),
            }
        )


def test_rows_that_differ_are_found_at_once() -> None:
    with pytest.raises(PeerError, match="as many rows at all parties"):
        run_parties(
            {
                "bank": lambda s: correlate(s, columns("bank"), parties=("bank", "shop")),
                "shop": lambda s: correlate(s, {"x": X[1:, 3]}, parties=("bank", "shop")),
            }
        )


@pytest.mark.parametrize("change", [{"columns": 0}, {"columns": 513}, {"columns": 1, "names": ["a", "b"]}])
def test_terms_that_cannot_be(change: dict[str, Any]) -> None:
    def hostile(session: Session) -> None:
        terms = {"version": 1, "what": "correlation", "suite": "intl", "parties": ["bank", "shop"], "decimals": 3}
        session.channel("bank").send(
            wire.CorrelationTerms(**{**terms, "to": ["bank", "shop"], "rows": N, **change})  # type: ignore[arg-type]
        )

    with pytest.raises(PeerError, match="features|a name of its own"):
        run_parties({"bank": lambda s: correlate(s, columns("bank"), parties=("bank", "shop")), "shop": hostile})


def test_blocks_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    real = correlation._cross

    def lying(channel: Channel, *rest: Any) -> NDArray[np.uint64]:  # noqa: ANN401 - whatever it takes
        share = real(channel, *rest)
        if channel.me == "shop":
            share[0, 0] += np.uint64(5 << (36 + N.bit_length()))
        return share

    monkeypatch.setattr(correlation, "_cross", lying)
    with pytest.raises(PeerError, match="from -1 to 1"):
        correlations(("bank", "shop"), to=("bank",))
