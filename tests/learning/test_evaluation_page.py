"""The code on the page about evaluation runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.session import Session
from mpc.testing import run_parties
from protocols.learning import metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "learning" / "evaluation.md"


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    clear, shared, page = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    rng = np.random.default_rng(4)
    parts = {"bank": rng.normal(-1, 1, 2000), "shop": rng.normal(0, 0.7, 2000)}
    probabilities = metrics.sigmoid(sum(parts.values()))
    labels = (rng.random(2000) < probabilities).astype(int)
    counts = {"rows_by_bin_last_year": [500, 800, 700], "rows_by_bin_now": [400, 800, 800]}
    names: dict[str, Any] = {"labels": labels, "probabilities": probabilities, **counts}
    exec(clear, names)

    def party(session: Session) -> dict[str, Any]:
        found = {"session": session, "part": parts[session.me], "mine": labels if session.me == "bank" else None}
        exec(shared, found)
        return found

    found = run_parties(dict.fromkeys(parts, party))
    assert found["shop"]["curve"] is None
    assert found["shop"]["numbers"] == found["bank"]["numbers"]
    assert found["bank"]["numbers"].auc == pytest.approx(names["found"].auc, abs=1e-3)
    assert found["bank"]["curve"].auc == pytest.approx(names["found"].auc, abs=5e-3)
    exec(page, names | {"curve": found["bank"]["curve"]}, names)
    assert "联合模型评估报告" in names["page"]
    assert f"AUC {names['found'].auc:.3f}, Gini" in capsys.readouterr().out
