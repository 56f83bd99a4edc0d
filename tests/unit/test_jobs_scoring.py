"""Many people scored as a job: rows as tables have them, scores and grades beside the asker's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from mpc import fixed
from mpc.data.tables import DataSet
from mpc.errors import MpcError, PeerError, PolicyError, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import run_parties
from protocols.arithmetic import three, two
from protocols.learning.binned import Cuts
from protocols.learning.boosted import BoostedPart
from protocols.learning.logistic import Shares
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Numeric, Preparation
from tests.governance.world import World, make_world
from tests.learning.test_boosted import in_the_clear
from tests.learning.test_trees import grow
from unseen.home import Home
from unseen.jobs import operators
from unseen.jobs.task import Task, Yield
from unseen.models import ModelStore

MODEL, JOB, LATER = "00c0ffee00c0ffee", "0123456789abcdef", "fedcba9876543210"
BANK, TAX, FUND = "bank", "tax", "fund"
COLUMNS = {BANK: "age", TAX: "income", FUND: "base"}
ROWS: dict[str, dict[str, list[Any]]] = {
    BANK: {"id": ["a", "b", "c", "d", "e"], "age": [20, 30, 40, 50, 60], "number": ["A1", "A2", "A3", "A4", "A5"]},
    TAX: {"id": ["e", "x", "d", "b", "a"], "income": [9, 1, 4, 2, 0]},
    FUND: {"id": ["b", "a", "e", "y"], "base": [1, 2, 3, 4]},
}
KNOWN = {"score": (BANK, TAX), "grade": (BANK, FUND, TAX)}


def part(party: str, parties: tuple[str, ...], *, factor: float = 1.0) -> ModelPart:
    column = COLUMNS[party]
    return ModelPart(
        model=MODEL,
        family="logistic",
        party=party,
        label_party=BANK,
        parties=parties,
        preparation=Preparation.fit(ROWS[party], [Numeric(column)]),
        coefficients=np.array([factor]),
        intercept=-0.5 if party == BANK else None,
        shares=None,
        rows=5,
        iterations=3,
        converged=True,
        trained="2030-01-31T12:00:00Z",
    )


def total(parties: tuple[str, ...], key: str) -> float:
    found = 0.0
    for party in parties:
        row = ROWS[party]["id"].index(key)
        found += float(part(party, parties).score({COLUMNS[party]: [ROWS[party][COLUMNS[party]][row]]})[0])
    return found


def shared_part(party: str, parties: tuple[str, ...]) -> ModelPart:
    """The same model, of which nobody knows a coefficient; the preparation has centred and scaled already."""
    owners = tuple((name, 2 if name == BANK else 1) for name in parties)
    whole = np.concatenate([[1.0, -0.5] if name == BANK else [1.0] for name in parties])
    scheme = two.SCHEME if len(parties) == 2 else three.SCHEME
    dealt = scheme.deal(fixed.encode(whole, 24), Rng.from_seed(bytes(32)))
    one = np.ones(1)
    shares = Shares(dealt[parties.index(party)], 24, parties, owners, 1.0, one > 0, 0 * one, one)
    return replace(part(party, parties), coefficients=None, intercept=None, shares=shares)


def text(release: str, parties: tuple[str, ...], *, more: str = "") -> str:
    cuts = "cuts = [-1.0, 0.5]\n" if release == "grade" else ""
    lines = f'operator = "learning.{release}"\nscenario = "credit"\n[parameters]\nasker = "bank"\nmodel = "{MODEL}"\n'
    lines += cuts + more
    for party in parties:
        columns = [COLUMNS[party], *(["number"] if party == BANK else [])]
        lines += f'[[party]]\nname = "{party}"\ndata_set = "people"\nkeys = ["id"]\ncolumns = {columns}\n'
    return lines


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), BANK, TAX, FUND)


Run = Callable[..., dict[str, Any]]


@pytest.fixture(name="run")
def _run(world: World, tmp_path: Path) -> Run:
    def run(
        release: str,
        *,
        minimum: int = 0,
        jobs: Mapping[str, str] | None = None,
        nobody: bool = False,
        parties: tuple[str, ...] = (),
        trees: Mapping[str, BoostedPart] | None = None,
    ) -> dict[str, Any]:
        parties = parties or KNOWN[release]
        (tmp_path / "job.toml").write_text(text(release, parties))
        job, _ = operators.load(tmp_path / "job.toml")
        assert operators.parse(job.document) == job
        stores = {}
        for name in parties:
            pyarrow.csv.write_csv(pa.table(ROWS[name]), tmp_path / f"{name}.csv")
            home = Home(tmp_path / name)
            home.root.mkdir()
            (home.root / "identity").symlink_to(world.home(name) / "identity")
            for path in world.home(name).iterdir():
                if path.is_file():
                    (home.root / path.name).symlink_to(path)
            stores[name] = ModelStore(home)
            made: ModelPart | BoostedPart = shared_part(name, parties) if nobody else part(name, parties)
            made = made if trees is None else trees[name]
            stores[name].add(made, job=(jobs or {}).get(name, JOB), operator="learning.logistic")

        def work(session: Session) -> Yield | MpcError:
            mine = job.part_of(session.me)
            data = DataSet(str(tmp_path / f"{session.me}.csv"), columns=mine.all_columns)
            one = Task("0" * 16, job, mine, session, data, minimum, tmp_path, bytes(32), stores[session.me])
            try:
                return operators.run(one)
            except MpcError as error:
                session.close("as a worker does")
                return error

        return run_parties(dict.fromkeys(parties, work))

    return run


def test_scores_stand_beside_the_rows_that_both_have(run: Run) -> None:
    found = run("score")
    assert found[BANK].protocol == "learning.score"
    result = pa.Table.from_batches(found[BANK].batches, found[BANK].schema).to_pydict()
    assert result["number"] == ["A1", "A2", "A3", "A4", "A5"]
    wanted = [None if key == "c" else total(KNOWN["score"], key) for key in "abcde"]
    assert result["score"] == pytest.approx(wanted)
    assert result["probability"] == pytest.approx([None if z is None else 1 / (1 + np.exp(-z)) for z in wanted])
    assert found[BANK].sizes == {"rows": 5, "tax keys": 5, "common_rows": 4}
    assert found[TAX].schema is None
    assert "by taking its own part away" in " ".join(found[BANK].learned)
    assert "which of its own keys bank holds too" in found[TAX].learned


def test_grades_of_three_parties(run: Run) -> None:
    found = run("grade")
    result = pa.Table.from_batches(found[BANK].batches, found[BANK].schema).to_pydict()
    wanted = [
        None if key in "cd" else int(np.searchsorted([-1.0, 0.5], total(KNOWN["grade"], key), side="right"))
        for key in "abcde"
    ]
    assert result["grade"] == wanted
    assert len({grade for grade in wanted if grade is not None}) > 1
    assert "score" not in result
    for name in (TAX, FUND):
        assert found[name].result_rows is None
        assert "nothing of bank's part, of scores or of grades" in found[name].learned


@pytest.mark.parametrize("release", ["score", "grade"])
def test_a_model_that_nobody_has_scores_the_same(run: Run, release: str) -> None:
    found = run(release, nobody=True)
    result = pa.Table.from_batches(found[BANK].batches, found[BANK].schema).to_pydict()
    known = [key for key in "abcde" if all(key in ROWS[name]["id"] for name in KNOWN[release])]
    wanted = [total(KNOWN[release], key) for key in known]
    got = [result[release]["abcde".index(key)] for key in known]
    if release == "score":
        assert got == pytest.approx(wanted, abs=1e-4)
        assert not any("taking its own part away" in line for line in found[BANK].learned)
    else:
        assert got == np.searchsorted([-1.0, 0.5], wanted, side="right").tolist()


def trees_of(parties: tuple[str, ...], classes: int = 1) -> tuple[dict[str, BoostedPart], dict[str, list[float]]]:
    """A model of two rounds of random trees, and the margins of the people that all parties know."""
    rng = np.random.default_rng(len(parties))
    binning = {name: Cuts.fit({COLUMNS[name]: ROWS[name][COLUMNS[name]]}) for name in parties}
    sizes = {name: cuts.sizes for name, cuts in binning.items()}
    grown = [grow(rng, sizes, depth=3) for _ in range(2 * classes)]
    parts = {
        name: BoostedPart.of(
            [tree.parts[name] for tree in grown],
            binning[name],
            party=name,
            label_party=BANK,
            parties=parties,
            objective="multi:softprob" if classes > 1 else "binary:logistic",
            base_score=0.25,
            model=MODEL,
            training=JOB,
            rows=5,
            trained="2030-01-31T12:00:00Z",
            classes=classes,
        )
        for name in parties
    }
    known = [key for key in "abcde" if all(key in ROWS[name]["id"] for name in parties)]
    rows = {name: [ROWS[name]["id"].index(key) for key in known] for name in parties}
    tables = {name: {COLUMNS[name]: np.array(ROWS[name][COLUMNS[name]])[rows[name]]} for name in parties}
    margins = np.atleast_2d(in_the_clear(parts, grown, tables).T).T
    return parts, dict(zip(known, margins.tolist(), strict=True))


@pytest.mark.parametrize("parties", [(BANK, TAX), (BANK, FUND, TAX)])
def test_boosted_trees_score_and_grade(run: Run, tmp_path: Path, parties: tuple[str, ...]) -> None:
    trees, wanted = trees_of(parties)
    found = run("score", parties=parties, trees=trees)
    result = pa.Table.from_batches(found[BANK].batches, found[BANK].schema).to_pydict()
    assert [key for key, value in zip("abcde", result["score"], strict=True) if value is not None] == list(wanted)
    got = [result["score"]["abcde".index(key)] for key in wanted]
    assert got == pytest.approx([margin for (margin,) in wanted.values()], abs=2.0**-25)
    assert result["probability"]["abcde".index("a")] == pytest.approx(1 / (1 + np.exp(-wanted["a"][0])))
    told = " ".join(found[BANK].learned)
    assert "find which leaves they are of" in told
    assert "taking its own part away" not in told
    for name in parties:
        shutil.rmtree(tmp_path / name)
    found = run("grade", parties=parties, trees=trees)
    grades = pa.Table.from_batches(found[BANK].batches, found[BANK].schema)["grade"].to_pylist()
    cut = np.searchsorted([-1.0, 0.5], [margin for (margin,) in wanted.values()], side="right").tolist()
    assert [grade for grade in grades if grade is not None] == cut


def test_boosted_trees_of_several_classes_have_columns_for_each(run: Run) -> None:
    trees, wanted = trees_of((BANK, TAX), classes=3)
    found = run("score", trees=trees)
    result = pa.Table.from_batches(found[BANK].batches, found[BANK].schema).to_pydict()
    at = "abcde".index("e")
    assert [result[f"score_{one}"][at] for one in range(3)] == pytest.approx(wanted["e"], abs=2.0**-25)
    assert sum(result[f"probability_{one}"][at] for one in range(3)) == pytest.approx(1.0)
    assert result["score_0"]["abcde".index("c")] is None
    assert "score" not in result


def test_several_classes_are_not_graded(run: Run) -> None:
    trees, _ = trees_of((BANK, FUND, TAX), classes=3)
    assert any("Grades are of one margin" in str(error) for error in run("grade", trees=trees).values())


def test_too_few_rows_are_scored_for_nobody(run: Run) -> None:
    for error in run("score", minimum=5).values():
        assert isinstance(error, PolicyError)
        assert error.code == "result-too-small"


def test_parts_of_two_trainings_are_not_put_together(run: Run) -> None:
    found = run("score", jobs={TAX: LATER})
    assert any(isinstance(error, PeerError) and "training" in str(error) for error in found.values())
    assert all(isinstance(error, MpcError) for error in found.values())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('asker = "bank"', 'asker = "court"', "takes no part"),
        ("[-1.0, 0.5]", "[0.5, -1.0]", "increasing"),
        ("[-1.0, 0.5]", "[]", "cuts"),
        ("cuts = [-1.0, 0.5]", "", "cuts is missing"),
        (f'"{MODEL}"', '"../x"', "model"),
        ('"number"', '"grade"', "a column is called 'grade'"),
        ("columns = ['income']", "columns = []", "names no columns"),
        ('keys = ["id"]', 'keys = ["id", "other"]', "different forms"),
        ('operator = "learning.grade"', 'operator = "learning.score"', "unknown key parameters.cuts"),
    ],
)
def test_jobs_that_are_not_in_order(tmp_path: Path, old: str, new: str, words: str) -> None:
    whole = text("grade", KNOWN["grade"]).replace("'number'", '"number"')
    assert old in whole
    (tmp_path / "job.toml").write_text(whole.replace(old, new, 1))
    with pytest.raises(UsageError, match=words):
        operators.load(tmp_path / "job.toml")
