"""Intersection by buckets against plain intersection: sizes, duplicates, kills in every phase, damaged files, a full disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.data.tables import DataSet
from mpc.session import Session
from mpc.testing import run_parties
from protocols import psi
from protocols.psi.agreement import Reveal
from tests.protocols.psi import OTHER, SUITES

KEY = bytes(range(32))
BANK, INSURER = "bank", "insurer"
Pair = tuple[psi.TablesResult, psi.TablesResult]


class Killed(BaseException):
    """Stands for kill -9 where a process of its own would only take time: nobody catches it but the test."""


def write_csv(path: Path, keys: Sequence[str], *, column: str = "id") -> Path:
    values = [f"{path.stem} {i}" for i in range(len(keys))]
    columns = {column: pa.array(list(keys), pa.string()), f"of_{path.stem}": pa.array(values, pa.string())}
    pa.csv.write_csv(pa.table(columns), path)
    return path


def party(directory: Path, name: str, *, reveal_to: Reveal = "both", out: bool = True, **options: Any) -> Any:
    """What a party of that name runs: its rows are in ``<name>.csv``, its result goes to ``<name>-result.parquet``."""
    peer = INSURER if name == BANK else BANK
    data = DataSet(str(directory / f"{name}.csv"), columns=("id", f"of_{name}"))

    def run(session: Session) -> psi.TablesResult:
        return psi.intersect_tables(
            session,
            data,
            directory / f"{name}-result.parquet" if out else None,
            keys=("id",),
            peer=peer,
            **{
                "run": "job 1",
                "workdir": directory / f"{name}-work",
                "checkpoint_key": KEY,
                "bucket_rows": 16,
                "reveal_to": reveal_to if name == BANK else OTHER[reveal_to],
                "protocol": "ecdh",
                **options,
            },
        )

    return run


def both(
    directory: Path, *, bank: dict[str, Any] | None = None, insurer: dict[str, Any] | None = None, **options: Any
) -> Pair:
    results = run_parties(
        {
            BANK: party(directory, BANK, **{**options, **(bank or {})}),
            INSURER: party(directory, INSURER, **{**options, **(insurer or {})}),
        },
        protocol="psi",
    )
    return results[BANK], results[INSURER]


def result(directory: Path, name: str) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = pa.parquet.read_table(directory / f"{name}-result.parquet").to_pydict()
    return columns


def keys(start: int, stop: int) -> list[str]:
    return [f"key {i}" for i in range(start, stop)]


def check(directory: Path, bank: Sequence[str], insurer: Sequence[str]) -> None:
    """Both results have the rows in common, and in one order."""
    mine, theirs = result(directory, BANK), result(directory, INSURER)
    assert mine["id"] == theirs["id"]
    assert sorted(mine["id"]) == sorted(set(bank) & set(insurer))
    assert mine["of_bank"] == [f"bank {bank.index(key)}" for key in mine["id"]]
    assert theirs["of_insurer"] == [f"insurer {insurer.index(key)}" for key in theirs["id"]]


@settings(max_examples=12)
@given(
    sets=st.tuples(*(st.lists(st.integers(0, 150).map(str), unique=True, max_size=120) for _ in range(2))),
    reveal_to=st.sampled_from(["both", "me", "peer"]),
)
def test_the_intersection(
    tmp_path_factory: pytest.TempPathFactory, sets: tuple[list[str], list[str]], reveal_to: Reveal
) -> None:
    directory = tmp_path_factory.mktemp("psi")
    for name, ids in zip((BANK, INSURER), sets, strict=True):
        write_csv(directory / f"{name}.csv", ids)
    bank, insurer = both(directory, reveal_to=reveal_to)
    for name, found, own, other, learner in ((BANK, bank, *sets, "me"), (INSURER, insurer, *sets[::-1], "peer")):
        assert (found.rows, found.peer_size) == (len(own), len(other))
        assert not (directory / f"{name}-work").exists()
        if reveal_to in ("both", learner):
            assert sorted(result(directory, name)["id"]) == sorted(set(own) & set(other))
            assert found.matched == found.result_rows == len(set(own) & set(other))
        else:
            assert found.matched is None
            assert not (directory / f"{name}-result.parquet").exists()
    if reveal_to == "both":
        check(directory, *sets)


@pytest.mark.parametrize("suite", [suite.name for suite in SUITES])
@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_rr22_in_buckets(tmp_path: Path, suite: str, security: Any) -> None:
    write_csv(tmp_path / "bank.csv", keys(0, 3000))
    write_csv(tmp_path / "insurer.csv", keys(2000, 2700))
    options = {"protocol": "rr22", "bucket_rows": 1500, "suite": suite, "security": security}
    found, other = both(tmp_path, reveal_to="me", **options)
    assert (found.matched, other.matched, found.operator) == (700, None, "psi.rr22")
    assert sorted(result(tmp_path, BANK)["id"]) == sorted(keys(2000, 2700))
