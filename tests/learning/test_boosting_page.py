"""The code on the page about boosted trees runs as it stands there."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from protocols.learning import boosting

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "boosting.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the estimators come with the extra learning")
    monkeypatch.setattr(boosting, "fit", functools.partial(boosting.fit, method="ideal"))  # products take their time
    names: dict[str, object] = {}
    for text in CODE:
        exec(text, names)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "(600, 2) None [False  True]"
    assert re.fullmatch(r"income 0\.\d\d", said[1])
    assert re.fullmatch(r"age 0\.\d\d", said[2])
    assert re.fullmatch(r"the shop's part of the gain: [4-9]\d%", said[3])
    assert said[4] == "shop ('basket', 'kind=new', 'kind=club', 'kind=regular') 15 True"
    assert said[-2:] == ["True (600,)", "(600,) None"]
    assert all(line.startswith("- ") for line in said[5:-2])
