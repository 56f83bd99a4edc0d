"""The operator ``aggregation.sum`` as workers run it, without nodes around it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mpc.data.tables import DataSet
from mpc.errors import PolicyError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from unseen.governance import documents
from unseen.jobs import operators
from unseen.jobs.task import Task, Yield

NAMES = ("bank", "court", "tax")


def job(**changes: Any) -> operators.Job:  # noqa: ANN401  # of the parameters
    columns = changes.pop("columns", {name: ["income", "visits"] for name in NAMES})
    keys = changes.pop("keys", [])
    raw = {
        "operator": "aggregation.sum",
        "operator_version": operators.version_of("aggregation.sum"),
        "scenario": "joint-statistics",
        "suite": "intl",
        "output": "csv",
        "party": [
            {"name": name, "data_set": "people", "keys": keys, "form": "text", "columns": columns[name]}
            for name in columns
        ],
        "parameters": {"aggregator": "court", "reveal_to": ["court", "tax"], "decimals": 2} | changes,
    }
    return operators.parse(documents.canonical(raw))


def run(tmp_path: Path, what: operators.Job, *, minimum: int = 1) -> dict[str, Yield]:
    """What each party's worker gives. The bank's table is a CSV file with a gap, court's of floats, tax's has nulls."""
    path = tmp_path / "bank.csv"
    path.write_text("income,visits\n10.50,1\n-3,2\n,3\n")
    pa.parquet.write_table(pa.table({"income": [1.25, 2.0], "visits": [4, 5]}), tmp_path / "court.parquet")
    empty = pa.table({"income": pa.array([7, None], pa.int64()), "visits": pa.array([None, None], pa.int32())})
    pa.parquet.write_table(empty, tmp_path / "tax.parquet")
    kinds = {"bank": "csv", "court": "parquet", "tax": "parquet"}

    def party(s: Session) -> Yield:
        source = str(tmp_path / f"{s.me}.{kinds[s.me]}")
        data = DataSet(source, columns=what.part_of(s.me).all_columns)
        return operators.run(
            Task(
                id="0" * 16,
                job=what,
                mine=what.part_of(s.me),
                session=s,
                data=data,
                minimum_result=minimum,
                workdir=tmp_path,
                checkpoint_key=bytes(32),
            )
        )

    return run_parties(dict.fromkeys(NAMES, party))


def test_sums_counts_and_means(tmp_path: Path) -> None:
    results = run(tmp_path, job())
    for name in ("court", "tax"):
        table = pa.Table.from_batches(results[name].batches)
        assert table.to_pylist() == [
            {"column": "income", "sum": Decimal("17.75"), "values": 5, "mean": 17.75 / 5, "parties": 3},
            {"column": "visits", "sum": Decimal(15), "values": 5, "mean": 3.0, "parties": 3},
        ]
        assert results[name].result_rows == 2
    assert results["bank"].schema is None
    assert results["bank"].result_rows is None
    assert [len(results[name].learned) for name in NAMES] == [0, 2, 2]
    assert results["bank"].sizes == {"rows": 3}


@pytest.mark.parametrize("minimum", [4, 5])
def test_a_sum_of_too_few_values_of_others_is_withheld(tmp_path: Path, minimum: int) -> None:
    """Of five values in each column two are court's own."""
    with pytest.raises(PolicyError, match=f"the other parties have fewer than the {minimum} values") as raised:
        run(tmp_path, job(), minimum=minimum)
    assert raised.value.code == "result-too-small"


def test_a_sum_of_just_enough_values_of_others_is_told(tmp_path: Path) -> None:
    assert run(tmp_path, job(), minimum=3)["court"].result_rows == 2


def test_amounts_that_do_not_fit_the_unit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Row 1 of the column 'income'"):
        run(tmp_path, job(decimals=0))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"aggregator": "mint"}, "name mint, which takes no part"),
        ({"reveal_to": ["court", "mint"]}, "name mint, which takes no part"),
        ({"reveal_to": ["tax"]}, "leaves out the aggregator court"),
        ({"columns": {"bank": ["a"], "court": ["a", "b"], "tax": ["a"]}}, "the same number of columns"),
        ({"columns": {"bank": [], "court": [], "tax": []}}, "at least one"),
        ({"columns": {"bank": ["a"], "court": ["a"]}}, "three parties or more; the job has 2"),
        ({"keys": ["id"]}, "Leave keys out"),
        ({"decimals": 10}, "decimals"),
    ],
)
def test_mistakes_in_a_job_are_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        job(**changes)
