"""The code on the page about the estimators runs as it stands there."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from protocols.learning import logistic

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "estimators.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # The tutorial trains in earnest.
    monkeypatch.setattr(logistic, "fit", functools.partial(logistic.fit, method="ideal"))
    names: dict[str, object] = {}
    for text in CODE:
        exec(text, names)
    first, second, third = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\(1, 2\) \(1,\) \[\d+\] \(400, 2\) None", first)
    assert re.fullmatch(r"\[0\.\d+ 0\.\d+ 0\.\d+\] None", second)
    assert third == "(3, 2) 400"
