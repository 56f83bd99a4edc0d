"""The code on the page about columns split between parties runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mpc.session import Session
from mpc.testing import run_parties

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "logistic.md").read_text(encoding="utf-8")


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    bank, partner = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(150, 4)) * [1, 1e9, 1, 1]
    labels = (rng.random(150) < 1 / (1 + np.exp(-features[:, 0] - features[:, 3]))).astype(float)

    def run(text: str, s: Session, names: dict[str, object]) -> object:
        exec(text, names | {"session": s}, found := {})
        return found["fitted"]

    fitted = run_parties(
        {
            "bank": lambda s: run(bank, s, {"features": features[:, :2], "labels": labels}),
            "partner": lambda s: run(partner, s, {"features": features[:, 2:]}),
        }
    )
    out = capsys.readouterr().out
    assert f"150 {fitted['bank'].iterations} True" in out
    assert "How many rows were trained on, and how many columns of each party vary." in out
    assert "The coefficients of its own columns and the intercept." in out
    assert fitted["partner"].intercept is None
