"""The code on the page about matrix-vector products runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import run_parties

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols" / "matvec.md"


def party(text: str, **names: object) -> Callable[[Session], dict[str, Any]]:
    def run(session: Session) -> dict[str, Any]:
        found = {"session": session, **names}
        exec(text, found)
        return found

    return run


def test_both_sides() -> None:
    holder, owner = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    rng = Rng.from_seed(b"page")
    matrix, v, d = rng.uint64(30, 4), rng.uint64(4), rng.uint64(30)
    results = run_parties(
        {
            "holder": party(holder, matrix=matrix.view(np.int64)),
            "owner": party(owner, v=v, d=d, rows=30, cols=4),
        }
    )
    for name, expected in (("share", matrix @ v), ("back", matrix.T @ d)):
        assert np.array_equal(results["holder"][name] + results["owner"][name], expected)
