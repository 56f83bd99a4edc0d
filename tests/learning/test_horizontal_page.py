"""The code on the page about rows split over silos runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.session import Session
from mpc.testing import run_parties

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "horizontal.md").read_text(encoding="utf-8")


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    silo, hub = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    def run(text: str, s: Session, seed: int = 0) -> Any:  # noqa: ANN401
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(200, 3)) * [1, 1e9, 1]
        labels = rng.random(200) < 1 / (1 + np.exp(-features[:, 0]))
        names = {"session": s, "features": features, "labels": labels}
        exec(text, names)
        return names["model"]

    silos = {name: lambda s, i=i: run(silo, s, i) for i, name in enumerate(("east", "north", "west"))}
    models = run_parties({"hub": lambda s: run(hub, s), **silos})
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("600 ('east', 'north', 'west') ")
    assert out[0].endswith(" True")
    assert out[-1].startswith("over all silos, at each point")
    assert np.array_equal(models["hub"].coefficients, models["west"].coefficients)
