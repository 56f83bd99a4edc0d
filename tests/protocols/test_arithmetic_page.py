"""The page about shared arithmetic: its code runs as it stands there, and its tables say what happens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpc.session import Session
from mpc.testing import run_parties
from protocols import arithmetic
from protocols.arithmetic import ideal
from protocols.arithmetic.shared import Context, Shared

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocols" / "arithmetic.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def party(text: str, **names: object) -> Callable[[Session], dict[str, object]]:
    def run(s: Session) -> dict[str, object]:
        found: dict[str, object] = {"session": s, **names}
        exec(text, found)
        return found

    return run


def table(head: str) -> list[list[str]]:
    """The cells of the table whose head begins like this, head and all."""
    lines = PAGE[PAGE.index(f"\n| {head} ") + 1 :].split("\n\n")[0].splitlines()
    rows = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]


def test_sources_and_bank() -> None:
    source, bank, _ = CODE
    amounts = {"tax": [100, 0, 5000, 70], "social": [0, 300, 5000, 0], "fund": [10, 0, 0, 1]}
    parties = {name: party(source, amounts=values) for name, values in amounts.items()}
    results = run_parties({"bank": party(bank, claims=[121, 331, 11000, 0])} | parties)
    assert results["bank"]["grades"].tolist() == [True, False, True, True]
    assert all(abs(results[name]["mean"] - 10481 / 4) < 1e-2 for name in amounts)


def test_alone(capsys: pytest.CaptureFixture[str]) -> None:
    exec(CODE[2], {})
    assert capsys.readouterr().out == "[0.4375 2.    ]\n"


class Counting:
    """The ideal engine, and of each method how many values it was called for."""

    def __init__(self) -> None:
        self._engine = ideal.alone()
        self.values: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        method = getattr(self._engine, name)
        if name in ("constant", "compute", "me", "k", "scheme"):
            return method

        def counted(a: np.ndarray, *others: object, **options: int) -> object:  # type: ignore[type-arg]
            self.values[name] += a[0].size
            return method(a, *others, **options)

        return counted


FUNCTIONS: dict[str, Callable[[Shared], Shared]] = {
    "divide": lambda x: x / x,
    "sqrt": arithmetic.sqrt,
    "exp": arithmetic.exp,
    "log": arithmetic.log,
    "sigmoid": arithmetic.sigmoid,
    "sigmoid_three_segments": arithmetic.sigmoid_three_segments,
}


def test_what_engines_do_for_functions() -> None:
    (_, *methods), *rows = table("function | to_bits")
    found = {
        name: {method: int(count) for method, count in zip(methods, counts, strict=True) if count}
        for name, *counts in rows
    }
    assert found.keys() == FUNCTIONS.keys()
    for name, function in FUNCTIONS.items():
        engine = Counting()
        function(Context(engine).constant(np.linspace(0.5, 3, 50)))  # type: ignore[arg-type]  # an engine by delegation
        assert {method: count / 50 for method, count in engine.values.items()} == found[name], name


OPERATIONS: dict[str, Callable[[Shared, Shared], Shared]] = {
    "int * int": lambda a, b: a * b,
    "fixed * fixed": lambda a, b: a * b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
    "where(a > b, a, b)": lambda a, b: arithmetic.where(a > b, a, b),
    "max of rows of 1024": lambda a, _: a.reshape(-1, 1024).max(axis=1),
    "a / b": lambda a, b: a / b,
    "sqrt": lambda a, _: arithmetic.sqrt(a),
    "exp": lambda a, _: arithmetic.exp(a),
    "log": lambda a, _: arithmetic.log(a),
    "sigmoid, 1e-3": lambda a, _: arithmetic.sigmoid(a),
    "sigmoid, 1e-4": lambda a, _: arithmetic.sigmoid(a, error=1e-4),
    "sigmoid_three_segments": lambda a, _: arithmetic.sigmoid_three_segments(a),
}


def test_what_operations_cost_three_parties() -> None:
    """Within a tenth, of 8192 values."""
    stated = {row[0]: float(row[1]) for row in table("operation | three parties")[1:]}
    assert stated.keys() == OPERATIONS.keys()
    sent: Counter[str] = Counter()
    n = 8192
    values = np.linspace(0.5, 9, n)

    def compute(s: Session) -> dict[str, int]:
        spent = {}
        with arithmetic.three_party(s, compute=("a", "b", "c")) as mpc:
            real = mpc.share(values if s.me == "a" else None, owner="a")
            whole = mpc.share((values * 100).astype(int) if s.me == "b" else None, owner="b")
            for name, operation in OPERATIONS.items():
                before = sum(channel.traffic.bytes_sent for channel in s.channels.values())
                x = whole if name == "int * int" else real
                operation(x, x[::-1])
                spent[name] = sum(channel.traffic.bytes_sent for channel in s.channels.values()) - before
        return spent

    for spent in run_parties(dict.fromkeys("abc", compute)).values():
        sent.update(spent)
    for name, size in stated.items():
        assert 0.9 * size < sent[name] / n < 1.1 * size, name
