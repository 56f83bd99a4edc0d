"""The code on the page about preparation runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "preparation.md").read_text(encoding="utf-8")


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(text, names)
    columns, notes = capsys.readouterr().out.splitlines()
    assert columns == "('income', 'income is missing', 'region=north', 'region=south', 'region is missing')"
    assert notes == "(\"'branch' has one value in all rows: left out.\",)"
    assert names["x"].shape == (4, 5)
    assert names["later"][0, 1:].tolist() == [0, 0, 0, 0]
