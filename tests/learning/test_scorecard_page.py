"""The code on the page about scorecards runs as it stands there."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from protocols.learning.bins import Bins
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Preparation, WoeColumn

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "scorecard.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    age = Bins("age", "numeric", edges=(25.0, 40.0), missing=True, woe=(0.7, 0.0, -0.7, 0.3))
    part = ModelPart(
        model="0" * 16,
        family="logistic",
        party="bank",
        label_party="bank",
        parties=("bank", "tax"),
        preparation=Preparation((WoeColumn(age),)),
        coefficients=np.array([1.0]),
        intercept=-2.0,
        shares=None,
        rows=100,
        iterations=5,
        converged=True,
        trained="2030-01-31T12:00:00Z",
    )
    names: dict[str, object] = {"part": part, "table": {"age": [20, None, 50]}}
    for text in CODE:
        exec(text, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["age", "(-inf,", "25]", "-20"]
    assert lines[-1] == "545 (525, 565) 0.51"
    assert names["reasons"] == [("age",), ("age",), ()]
    points = [525, 536, 565]
    assert np.array_equal(names["points"], points)  # type: ignore[arg-type]
    with sqlite3.connect(":memory:") as clients:
        clients.execute("CREATE TABLE clients AS SELECT 20.0 AS age UNION ALL SELECT NULL UNION ALL SELECT 50.0")
        assert [row[0] for row in clients.execute(str(names["query"]))] == points
    session = onnxruntime.InferenceSession(names["model"], providers=["CPUExecutionProvider"])
    assert session.run(["points"], {"age": np.array([20, np.nan, 50])})[0].tolist() == points
