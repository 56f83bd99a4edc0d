"""Tables of three parties and a job about them, run in threads as its workers would: for tests of learning jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mpc.data.tables import DataSet
from mpc.session import Progress, Session
from mpc.testing import run_parties
from unseen.governance import documents
from unseen.jobs import operators
from unseen.jobs.spec import Job
from unseen.jobs.task import Task, Yield

BANK, CIVIL, EDU = "bank", "civil-affairs", "education"
COLUMNS = {BANK: ["limit", "defaulted", "late"], CIVIL: ["age", "married"], EDU: ["degree"]}
Tables = Mapping[str, Mapping[str, Any]]


def made(n: int = 400) -> dict[str, dict[str, Any]]:
    """Three parties' tables: n clients, in other orders everywhere, of whom each bureau lacks some and knows others."""
    rng = np.random.default_rng(7)
    age = rng.integers(20, 70, n).astype(np.float64)
    married, degree = rng.integers(0, 2, n), rng.choice(["school", "college", "doctor"], n)
    late, limit = rng.poisson(1.0, n).astype(np.float64), rng.lognormal(3, 1, n).round(2)
    z = 0.9 * late - 0.03 * (age - 45) - 0.6 * married + (degree == "school") - 0.01 * limit - 0.5
    bad = np.where(rng.random(n) < 1 / (1 + np.exp(-z)), "bad", "good")
    ids = np.array([f"client {i}" for i in range(n)])
    late[rng.random(n) < 0.1] = np.nan

    def known(order: Any, extra: int) -> list[str]:  # noqa: ANN401  # of numpy
        return [*ids[order].tolist(), *(f"other {extra + i}" for i in range(20))]

    civil, edu = rng.permutation(n)[: n - 15], rng.permutation(n)[: n - 10]
    ages = [*map(str, age[civil].astype(int)), *["50"] * 10, *[""] * 10]  # text in a CSV file, with gaps
    return {
        BANK: {"id": ids.tolist(), "limit": limit.tolist(), "defaulted": bad.tolist(), "late": late.tolist()},
        CIVIL: {"id": known(civil, 0), "age": ages, "married": [*married[civil].tolist(), *[0] * 20]},
        EDU: {"id": known(edu, 10), "degree": [*degree[edu].tolist(), *["college"] * 20]},
    }


def job_of(operator: str, *, parties: tuple[str, ...] = (BANK, CIVIL, EDU), **changes: Any) -> Job:  # noqa: ANN401
    columns = {**COLUMNS, **changes.pop("columns", {})}
    raw = {
        "operator": operator,
        "operator_version": operators.version_of(operator),
        "scenario": "joint-credit-model",
        "suite": "intl",
        "output": "parquet",
        "party": [
            {"name": name, "data_set": "clients", "keys": ["id"], "form": "text", "columns": columns[name]}
            for name in parties
        ],
        "parameters": {
            "label_party": BANK,
            "label": "defaulted",
            "bad": "bad",
            "kinds": {CIVIL: {"married": "category"}},
            **changes,
        },
    }
    runnable = operators.OPERATORS[operator]
    raw["parameters"] = runnable.parameters.model_validate(raw["parameters"]).model_dump(mode="json")
    return operators.parse(documents.canonical(raw))


class Gone(Exception):
    """A worker that was killed."""


def run(
    tmp_path: Path,
    job: Job,
    tables: Tables,
    *,
    minimum: int = 0,
    directory: str = "work",
    leaves: tuple[str, str, int] | None = None,
    seen: list[Progress] | None = None,
) -> dict[str, Any]:
    """Each party's part of a job, in threads.

    `leaves`: party, stage and step at which a worker is gone. `seen`: what the bank's node is told.
    """
    for name in job.head.parties:
        path = tmp_path / f"{name}.{'csv' if name == CIVIL else 'parquet'}"
        write = pyarrow.csv.write_csv if name == CIVIL else pyarrow.parquet.write_table
        write(pa.table(dict(tables[name])), path)

    def work(session: Session) -> Yield:
        mine = job.part_of(session.me)
        kind = "csv" if session.me == CIVIL else "parquet"
        data = DataSet(str(tmp_path / f"{session.me}.{kind}"), columns=mine.all_columns)
        told: list[Progress] = []

        def progress(now: Progress) -> None:
            told.append(now)
            if leaves is not None and (session.me, now.stage) == leaves[:2] and now.done >= leaves[2]:
                raise Gone

        watched = replace(session, progress=progress)
        workdir = tmp_path / directory / session.me
        workdir.mkdir(parents=True, exist_ok=True)
        try:
            return operators.run(Task("ab" * 8, job, mine, watched, data, minimum, workdir, bytes(32)))
        finally:
            if seen is not None and session.me == BANK:
                seen.extend(told)

    # A worker that goes on draws anew, as in life: by the same randomness two attempts would have the same name.
    seed = None if (tmp_path / directory).exists() else b"the same split"
    return run_parties(dict.fromkeys(job.head.parties, work), seed=seed, timeout_s=50.0)


def common(tables: Tables) -> list[str]:
    return sorted(set.intersection(*(set(table["id"]) for table in tables.values())))


def values(tables: Tables, party: str, column: str) -> list[Any]:
    """Of the common clients, by name."""
    place = {key: i for i, key in enumerate(tables[party]["id"])}
    return [tables[party][column][place[key]] for key in common(tables)]
