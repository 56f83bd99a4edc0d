"""The code on the page about binning runs as it stands there, at a bank and at a shop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mpc.session import Session
from mpc.testing import run_parties

PAGE = Path(__file__).resolve().parents[2] / "docs" / "learning" / "binning.md"


def test_both_parties() -> None:
    feature_party, label_party, everybody, choose = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    rng = np.random.default_rng(3)
    n = 1500
    income, limit = rng.lognormal(9, 1, n), rng.normal(size=n)
    default = (rng.random(n) < 1 / (1 + np.exp(np.log(income) - 8 + limit))).astype(int)
    job = np.array(["clerk", "nurse", "smith"])[rng.integers(0, 3, n)]

    def party(*blocks: str, **names: object) -> dict[str, Any]:
        found = dict(names)
        for block in blocks:
            exec(block, found)
        return found

    def bank(session: Session) -> dict[str, Any]:
        columns = {"limit": limit}
        return party(label_party, everybody, choose, session=session, default=default, limit=limit, columns=columns)

    def shop(session: Session) -> dict[str, Any]:
        columns = {"income": income}
        return party(feature_party, everybody, session=session, income=income, job=job, columns=columns)

    found = run_parties({"bank": bank, "shop": shop})
    assert found["bank"]["choice"].kept == (("bank", "limit"), ("shop", "income"))
    assert found["shop"]["column"].shape == (n,)
    assert found["bank"]["ivs"] == {name: round(iv, 3) for name, iv in found["shop"]["found"].ivs.items()}
    assert 1 <= found["shop"]["inflation"].factors["income"] < 1.1
