"""What a worker does for a validation: amounts as tables have them, grades beside the asker's rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mpc.data.tables import DataSet
from mpc.errors import MpcError, PolicyError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from tests.protocols.validate import use_ideal
from unseen.jobs import operators
from unseen.jobs.spec import Job
from unseen.jobs.task import Task, Yield

JOB = """
operator = "validate.threshold.consented"
scenario = "income-validation"

[parameters]
asker = "bank"
claim = "claimed"
limit_bp = 1000
duplicates = "sum"
language = "zh"

[[party]]
name = "bank"
data_set = "applications"
keys = ["id"]
columns = ["number", "claimed"]

[[party]]
name = "tax"
data_set = "incomes"
keys = ["card"]
columns = ["income"]

[[party]]
name = "fund"
data_set = "deposits"
keys = ["holder"]
columns = ["base"]
"""

TABLES: dict[str, dict[str, list[Any]]] = {
    "bank": {"id": ["a", "b", "c", "d"], "claimed": ["100.00", "110.01", "0", "5"], "number": ["A1", "A2", "A3", "A4"]},
    "tax": {"card": ["b", "a", "b", "x"], "income": ["50", "60.5", "25.00", "1"]},
    "fund": {"holder": ["c", "a", "b"], "base": [0.0, 39.5, 25.0]},
}


@pytest.fixture(name="done")
def _done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    use_ideal(monkeypatch)
    (tmp_path / "job.toml").write_text(JOB)
    job, _ = operators.load(tmp_path / "job.toml")

    def run(changed: dict[str, dict[str, list[Any]]] | None = None, *, minimum: int = 0) -> dict[str, Any]:
        for name, columns in {**TABLES, **(changed or {})}.items():
            if name == "fund":
                pyarrow.parquet.write_table(pa.table(columns), tmp_path / "fund")
                (tmp_path / "fund").rename(tmp_path / "fund.parquet")
            else:
                pyarrow.csv.write_csv(pa.table(columns), tmp_path / f"{name}.csv")

        def work(session: Session) -> Yield | MpcError:
            try:
                return operators.run(task(session, job, tmp_path, minimum))
            except MpcError as error:
                session.close("as a worker does")
                return error

        return run_parties(dict.fromkeys(job.head.parties, work))

    return run


def task(session: Session, job: Job, folder: Path, minimum: int) -> Task:
    mine = job.part_of(session.me)
    kind = "parquet" if session.me == "fund" else "csv"
    data = DataSet(str(folder / f"{session.me}.{kind}"), columns=mine.all_columns)
    return Task("0" * 16, job, mine, session, data, minimum, folder, bytes(32))


def test_grades_stand_beside_the_rows(done: Callable[..., dict[str, Any]]) -> None:
    found = done()
    assert found["bank"].protocol == "validate.threshold.consented"
    assert found["bank"].result_rows == 4
    assert found["bank"].sizes == {"rows": 4}
    result = pa.Table.from_batches(found["bank"].batches, found["bank"].schema)
    assert result.to_pydict() == {
        "id": ["a", "b", "c", "d"],
        "number": ["A1", "A2", "A3", "A4"],
        "claimed": ["100.00", "110.01", "0", "5"],
        "grade": [0, 2, 0, 3],
        "meaning": ["一致", "高出超过 10 %", "一致", "无数据"],
    }
    for name, rows in (("tax", 4), ("fund", 3)):
        assert (found[name].schema, found[name].result_rows) == (None, None)
        assert found[name].sizes == {"rows": rows, "applicants": 4}
        assert "who the applicants are of whom it has a record itself; bank declares" in found[name].learned[1]


def test_a_table_without_rows_is_no_mistake(done: Callable[..., dict[str, Any]]) -> None:
    found = done({"tax": {"card": [], "income": []}, "fund": {"holder": [], "base": []}})
    assert pa.Table.from_batches(found["bank"].batches)["grade"].to_pylist() == [3, 3, 3, 3]
    found = done({"bank": {"id": [], "claimed": [], "number": []}})
    assert found["bank"].result_rows == 0


@pytest.mark.parametrize(
    ("name", "columns", "text"),
    [
        ("tax", {"card": ["b", "c"], "income": ["1", "-2"]}, "The amount of row 2 is negative"),
        (
            "tax",
            {"card": ["b", "c"], "income": ["1", "1.005"]},
            "Row 2 of the column 'income' is no number with at most 2",
        ),
        ("fund", {"holder": ["c"], "base": [float("nan")]}, "Row 1 of the column 'base' is not a number"),
        ("bank", {"id": ["a", "a"], "claimed": ["1", "1"], "number": ["", ""]}, "Rows 1 and 2 have the same key"),
    ],
)
def test_data_that_cannot_be_used_are_named_to_their_owner_alone(
    name: str, columns: dict[str, list[Any]], text: str, done: Callable[..., dict[str, Any]]
) -> None:
    found = done({name: columns})
    assert isinstance(found[name], UsageError)
    assert text in str(found[name])
    for other in set(found) - {name}:
        assert isinstance(found[other], MpcError)
        assert text[:20] not in str(found[other])


def test_too_few_applicants_get_no_grades(done: Callable[..., dict[str, Any]]) -> None:
    assert isinstance(done(minimum=5)["bank"], PolicyError)
    assert done(minimum=4)["bank"].result_rows == 4
