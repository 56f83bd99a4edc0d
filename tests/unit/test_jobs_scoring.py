"""Many people scored as a job: rows as tables have them, scores and grades beside the asker's."""

from __future__ import annotations

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
from protocols.learning.logistic import Shares
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Numeric, Preparation
from tests.governance.world import World, make_world
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
    ) -> dict[str, Any]:
        parties = KNOWN[release]
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
            made = shared_part(name, parties) if nobody else part(name, parties)
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
