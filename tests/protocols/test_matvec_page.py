"""The code on the page about matrix-vector products runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mpc.kernels import lwe as kernels
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import run_parties
from protocols.matvec import lwe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols" / "matvec.md"


def party(text: str, **names: object) -> Callable[[Session], dict[str, Any]]:
    def run(session: Session) -> dict[str, Any]:
        found = {"session": session, **names}
        exec(text, found)
        return found

    return run


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_both_sides() -> None:
    holder, owner = blocks()[:2]
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


def test_sums_by_bin() -> None:
    holder, owner = blocks()[2:]
    rng, n, sizes = Rng.from_seed(b"sums"), 700, (3, 5)
    codes = rng.uint8(n, 2) % np.array(sizes, dtype=np.uint8)
    pair, eight = (rng.uint64(n, w).astype(np.uint32) for w in (2, 8))
    results = run_parties(
        {
            "holder": party(holder, codes=codes, sizes=sizes),
            "owner": party(owner, n=n, pair=pair, eight=eight),
        }
    )
    for v, mine, theirs in zip((pair, eight), results["holder"]["shares"], results["owner"]["shares"], strict=True):
        error = (mine + theirs - kernels.sums(codes, v, sizes)).view(np.int32)
        assert int(np.abs(error).max()) < 8 * lwe.deviation(n)
