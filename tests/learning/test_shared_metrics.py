"""Metrics of shared scores: what opens is what the clear scores say, rounded to grades, and no cell is too small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc.errors import MpcError, PeerError, PolicyError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from protocols import arithmetic
from protocols.arithmetic import ideal
from protocols.arithmetic.party import Computation
from protocols.arithmetic.shared import Context
from protocols.learning import metrics
from protocols.learning import shared_metrics as shared
from protocols.learning.metrics import Evaluation
from protocols.learning.shared_metrics import Discrimination

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

CLIENTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "uci_credit_card.csv"
WAYS = {"two": (arithmetic.two_party, "ab"), "three": (arithmetic.three_party, "abc")}


def drawn(n: int, *, seed: int = 2, spread: float = 1.2) -> tuple[Labels, Floats]:
    """Labels and log odds, some of which lie beyond every limit."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, spread, n)
    y = (rng.random(n) < metrics.sigmoid(z)).astype(np.int64)
    y[:2] = 0, 1
    z[2 : 2 + n // 50] *= 1e5
    return y, z


def alone(y: Labels, z: Floats, **options: int) -> Evaluation:
    run = arithmetic.alone(rounding="down")
    found = shared.evaluate_shared(run, y, run.share(z, owner="alone"), label_party="alone", **options)
    assert found is not None
    return found


def graded(y: Labels, z: Floats, resolution: int, limit: int) -> NDArray[np.int64]:
    """(2, resolution): zeros and ones of each grade."""
    steps = np.floor(np.ldexp(np.rint(np.ldexp(z, 18)), -18) * resolution / (2 * limit) + resolution / 2)
    grades = np.clip(steps, 0, resolution - 1).astype(np.int64)
    return np.stack([np.bincount(grades[y == label], minlength=resolution) for label in (0, 1)])


def cells_of(table: NDArray[np.int64], minimum: int) -> list[int]:
    """The ends of cells, one grade after the other."""
    ends, held = [0], np.zeros(2)
    for i, counts in enumerate(table.T):
        held += counts
        if held.min() >= minimum:
            ends.append(i + 1)
            held = np.zeros(2)
    ends[-1] = table.shape[1]
    return ends


@pytest.mark.parametrize(("resolution", "limit", "n"), [(4, 1, 50), (8, 32, 301), (64, 8, 1000), (1024, 16, 70_001)])
def test_grades_open_as_they_are(resolution: int, limit: int, n: int) -> None:
    y, z = drawn(n)
    found = alone(y, z, resolution=resolution, limit=limit, minimum_cell=0)
    table = graded(y, z, resolution, limit)
    assert [(bar.zeros, bar.ones) for bar in found.distribution] == list(map(tuple, table.T))
    edges = metrics.sigmoid(np.linspace(-limit, limit, resolution + 1))
    assert [bar.high for bar in found.distribution[:-1]] == pytest.approx(list(edges[1:-1]))
    assert (found.distribution[0].low, found.distribution[-1].high) == (0, 1)
    middles = metrics.sigmoid(np.linspace(-limit, limit, 2 * resolution + 1)[1::2])
    clear = metrics.evaluate(
        np.repeat([0, 1], table.sum(axis=1)), np.concatenate([np.repeat(middles, t) for t in table])
    )
    assert found.resolution == resolution
    for name in ("rows", "ones", "auc", "ks", "brier", "log_loss"):
        assert getattr(found, name) == pytest.approx(getattr(clear, name)), name


@pytest.mark.parametrize("minimum", [2, 5, 40])
def test_no_cell_is_smaller_than_agreed(minimum: int) -> None:
    y, z = drawn(2000)
    found = alone(y, z, resolution=128, minimum_cell=minimum)
    ends = cells_of(graded(y, z, 128, 8), minimum)
    cells = np.add.reduceat(graded(y, z, 128, 8), ends[:-1], axis=1)
    assert [(bar.zeros, bar.ones) for bar in found.distribution] == list(map(tuple, cells.T))
    assert cells.min() >= minimum
    assert len(ends) > 3
    assert found.auc == pytest.approx(metrics.evaluate(y, z, scale="logit").auc, abs=0.01)


def test_too_few_of_either_and_nothing_opens() -> None:
    y, z = drawn(200)
    y[:] = 0
    y[:4] = 1
    with pytest.raises(PolicyError, match="fewer than 5 ones"):
        alone(y, z)
    assert len(alone(y, z, minimum_cell=4).distribution) == 1


@pytest.mark.parametrize("name", WAYS)
def test_two_and_three_parties(name: str) -> None:
    way, names = WAYS[name]
    y, z = drawn(500)

    def party(s: Session) -> tuple[Evaluation | None, Discrimination | None]:
        with way(s, compute=tuple(names)) as run:
            scores = run.share(z if s.me == "b" else None, owner="b")
            mine = y if s.me == "a" else None
            curve = shared.evaluate_shared(run, mine, scores, label_party="a", resolution=32, reveal_to=("a", "b"))
            return curve, shared.discrimination_shared(run, mine, scores, label_party="a", resolution=32)

    found = run_parties(dict.fromkeys(names, party))
    table = graded(y, z, 32, 8)
    clear = metrics.of_counts(metrics.sigmoid(np.arange(32) / 2 - 7.75), *table)
    for me, (curve, discrimination) in found.items():
        assert (curve is None) == (me == "c")
        assert (discrimination is None) == (me != "a")
        if curve is not None:
            # A score next to an edge may be in the next grade.
            ends = cells_of(table, 5)
            cells = np.add.reduceat(table, ends[:-1], axis=1)
            assert [bar.zeros + bar.ones for bar in curve.distribution] == pytest.approx(list(cells.sum(axis=0)), abs=3)
            assert curve.auc == pytest.approx(clear.auc, abs=0.02)
        if discrimination is not None:
            assert discrimination.rows == 500
            assert discrimination.auc == pytest.approx(clear.auc, abs=2e-3)
            assert discrimination.ks == pytest.approx(clear.ks, abs=4e-3)
            assert discrimination.gini == 2 * discrimination.auc - 1


@pytest.mark.parametrize("rounding", ["down", "up"])
def test_discrimination_of_grades_is_exact_but_for_its_last_bits(rounding: ideal.Rounding) -> None:
    for n, seed in ((7, 0), (40, 1), (30_000, 2)):
        y, z = drawn(n, seed=seed)
        z = np.floor(z * 16) / 16 + 1 / 32  # within a grade, where rounding changes nothing
        run = arithmetic.alone(rounding=rounding)
        scores = run.share(z, owner="alone")
        found = shared.discrimination_shared(run, y, scores, label_party="alone")
        clear = metrics.evaluate(y, np.clip(z, -8, 7.99), scale="rank")
        assert found is not None
        assert found.auc == pytest.approx(clear.auc, abs=2.0**-15)
        assert found.ks == pytest.approx(clear.ks, abs=2.0**-15)


def test_those_who_do_not_compute() -> None:
    """The label party and an auditor outside, in the same computation."""
    y, z = drawn(200)
    learn = ("bank", "auditor")

    def computes(s: Session) -> object:
        with arithmetic.ideal_party(s, compute=("a", "b")) as run:
            scores = run.share(z if s.me == "a" else None, owner="a")
            curve = shared.evaluate_shared(run, None, scores, label_party="bank", reveal_to=learn)
            return curve, shared.discrimination_shared(run, None, scores, label_party="bank", reveal_to=learn)

    def stands_by(s: Session) -> object:
        mine = y if s.me == "bank" else None
        with arithmetic.input_party(s, compute=("a", "b"), ideal=True) as run:
            curve = shared.evaluate_outside(run, mine, learns=True)
            return curve, shared.discrimination_outside(run, mine, learns=True, rows=200)

    found = run_parties({"a": computes, "b": computes, "bank": stands_by, "auditor": stands_by})
    assert found["a"] == found["b"] == (None, None)
    assert found["bank"] == found["auditor"]
    curve, discrimination = found["bank"]  # type: ignore[misc]  # asserted to be equal above
    assert curve == alone(y, z)
    assert discrimination.auc == pytest.approx(curve.auc, abs=0.01)


class Counting:
    """The ideal engine, and of each method how many values it was called for."""

    def __init__(self) -> None:
        self._engine = ideal.alone()
        self.values: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        method = getattr(self._engine, name)
        if name in ("constant", "compute", "me", "k", "scheme", "input", "input_bits", "open"):
            return method

        def counted(a: np.ndarray, *others: object, **options: int) -> object:  # type: ignore[type-arg]
            self.values[name] += a[0].size
            return method(a, *others, **options)

        return counted


@pytest.mark.parametrize(("resolution", "a", "b", "places"), [(32, 3, 2, 4), (256, 4, 4, 3)])
def test_cost(resolution: int, a: int, b: int, places: int) -> None:
    """As the file's docstring says."""
    n, r = 600, resolution
    y, z = drawn(n)
    spent = {}
    for function in (shared.evaluate_shared, shared.discrimination_shared):
        engine = Counting()
        run = Computation(Session(me="alone", channels={}), Context(engine), ())  # type: ignore[arg-type]  # it delegates
        function(run, y, run.share(z, owner="alone"), label_party="alone", resolution=resolution)
        spent[function] = engine.values
    rows = {
        "below": n,
        "select_word": 2 * n,
        "to_bits": n // places + r // 2,
        "from_bits": 2 * r,
        "matmul": 2**a * n,
    }
    cells = r * (r + 1) // 2
    assert spent[shared.evaluate_shared] == {
        **rows,
        "below": n + 2 * cells,
        "truncate": n,
        "and_": (2**a + 2 ** (b + 1) - 4) * n + cells,
        "bit_to_word": (2**a + 2 ** (b + 1)) * n + cells,
    }
    assert spent[shared.discrimination_shared] == {
        **rows,
        "select_word": 2 * n + 2 * r - 1,
        "negative": 2 * r - 1,
        "truncate": n + 2 * r + 2,
        "and_": (2**a + 2 ** (b + 1) - 4) * n,
        "bit_to_word": (2**a + 2 ** (b + 1)) * n,
        "mul": 3 * r,
    }


@pytest.mark.parametrize(
    ("labels", "options", "problem"),
    [
        ([0, 1, 2], {}, "Labels are 0 and 1"),
        ([1, 1, 1], {}, "nothing to tell apart"),
        ([0, 1], {}, "do not belong to 3 scores"),
        ([0, 1, 1], {"resolution": 100}, "power of two"),
        ([0, 1, 1], {"limit": 64}, "power of two"),
        ([0, 1, 1], {"minimum_cell": -1}, "minimum_cell"),
    ],
)
def test_what_cannot_be_judged(labels: list[int], options: dict[str, int], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        alone(np.array(labels), np.array([0.1, 0.2, 0.3]), **options)


def test_scores_are_real_numbers_with_enough_bits() -> None:
    run = arithmetic.alone()
    for scores in (
        run.share([1, 2], owner="alone"),
        run.share([[0.5]], owner="alone"),
        run.share([0.5, 1.0], owner="alone").as_fixed(3),
    ):
        with pytest.raises(UsageError, match="real numbers|fractional bits"):
            shared.evaluate_shared(run, [0, 1], scores, label_party="alone")


def test_a_label_party_that_brings_something_else() -> None:
    y, z = drawn(100)

    def honest(s: Session) -> object:
        with arithmetic.ideal_party(s, compute=("a", "b")) as run:
            scores = run.share(z if s.me == "b" else None, owner="b")
            return shared.evaluate_shared(run, None, scores, label_party="a")

    for wrong in (y[:99].astype(bool), y):

        def brings(s: Session, wrong: NDArray[np.generic] = wrong) -> object:
            with arithmetic.ideal_party(s, compute=("a", "b")) as run:
                run.share(None, owner="b")
                run.share(wrong, owner="a")
                return run.share([1], owner="a")

        with pytest.raises(PeerError, match="an array \\(100,\\) of kind bool"):
            run_parties({"a": brings, "b": honest})


def test_what_an_outsider_is_told_is_checked() -> None:
    counts, ends = np.full((2, 3), 7), np.array([0, 100, 200, 256])
    sent: Mapping[str, tuple[object, object]] = {
        "negative": (-counts, ends),
        "few": (counts[:, :2], ends),
        "flat": (counts[0], ends),
        "real": (counts / 2, ends),
        "disordered": (counts, ends[::-1]),
        "short": (counts, ends // 2),
    }

    def computes(told: tuple[object, object]) -> Callable[[Session], None]:
        def run_it(s: Session) -> None:
            with arithmetic.ideal_party(s, compute=("a",)) as run:
                for values in told:
                    run.reveal(run.constant(values), to="auditor")  # type: ignore[arg-type]

        return run_it

    def auditor(s: Session) -> object:
        with arithmetic.input_party(s, compute=("a",), ideal=True) as run:
            return shared.evaluate_outside(run, None, learns=True)

    found = run_parties({"a": computes((counts, ends)), "auditor": auditor})["auditor"]
    assert isinstance(found, Evaluation)
    assert found.rows == 42
    for name, told in sent.items():
        with pytest.raises(MpcError) as error:
            run_parties({"a": computes(told), "auditor": auditor})
        assert "counts of cells" in str(error.value), name


def test_what_each_learns() -> None:
    def says(party: str, opens: str = "curve", reveal_to: str | None = None) -> str:
        return " ".join(
            shared.learned(party, label_party="bank", compute=("bank", "tax"), reveal_to=reveal_to, opens=opens)
        )

    assert "curves" in says("bank")
    assert "curves" not in says("tax")
    assert "cells end" in says("tax")
    assert "AUC" not in says("bank", "auc", "tax")
    assert "no count" in says("tax", "auc", "tax")
    assert says("stranger") == ""
    with pytest.raises(UsageError):
        says("bank", "roc")


@pytest.mark.skipif(not CLIENTS.exists(), reason="the 30,000 clients' data is not beside the project")
def test_error_of_rounding_on_real_clients() -> None:
    """A rough score by hand, of the last repayment's delay and the limit: what matters is how grades round it."""
    columns = np.genfromtxt(CLIENTS, delimiter=",", skip_header=1)
    y, limit, delay = columns[:, -1].astype(np.int64), columns[:, 1], columns[:, 6]
    z = -1.6 + 0.6 * delay - 0.3 * np.log(limit / 1e5)
    clear = metrics.evaluate(y, z, scale="logit")
    assert clear.auc > 0.7
    for resolution, auc, ks, predicted in ((64, 3e-3, 1e-2, 1.5e-2), (256, 3e-4, 5e-3, 4e-3)):
        found = alone(y, z, resolution=resolution)
        assert abs(found.auc - clear.auc) < auc
        assert abs(found.ks - clear.ks) < ks
        for mine, theirs in zip(found.groups, clear.groups, strict=True):
            assert mine.predicted == pytest.approx(theirs.predicted, abs=predicted)
