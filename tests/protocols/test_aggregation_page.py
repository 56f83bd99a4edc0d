"""The code on the page about sums over many parties runs as it stands there, and its table of graphs is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mpc.session import Session
from mpc.testing import run_parties
from protocols.aggregation import Rules, two_servers

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocols" / "aggregation.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    party, hub, two = CODE

    def run(text: str, s: Session) -> None:
        exec(text, {"session": s})

    run_parties({"hub": lambda s: run(hub, s), **{name: lambda s: run(party, s) for name in ("a", "b", "c")}})
    assert capsys.readouterr().out == "[31.5  -6.75] [10.5  -2.25] ('a', 'b', 'c') {}\n"
    results = run_parties(
        {
            "left": lambda s: two_servers.collect(s, unmasker="right"),
            "right": lambda s: two_servers.unmask(s, collector="left"),
            **{name: lambda s: run(two, s) for name in ("a", "b", "c")},
        }
    )
    assert results["left"].values.tolist() == [3, 6, 9]


def test_the_table_of_graphs() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        n, neighbours, threshold, survivors = map(int, row)
        shape = Rules().shape(n)
        assert (shape.neighbours, shape.threshold, shape.survivors) == (neighbours, threshold, survivors)
