"""The code on the page about boosted trees over silos runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.session import Session
from mpc.testing import run_parties

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "horizontal-boosting.md").read_text(
    encoding="utf-8"
)


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    silo, hub, keeping = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    def run(text: str, s: Session, seed: int = 0) -> Any:  # noqa: ANN401
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(200, 3))
        labels = (rng.random(200) < 1 / (1 + np.exp(-2 * features[:, 0]))).astype(float)
        names: dict[str, Any] = {"session": s, "features": features, "labels": labels}
        exec(text, names)
        return names["model"]

    silos = {name: lambda s, i=i: run(silo, s, i) for i, name in enumerate(("east", "north", "west"))}
    models = run_parties({"hub": lambda s: run(hub, s), **silos})
    out = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"480 [1-5] \('east', 'north', 'west'\)", out[0])
    assert re.fullmatch(r"0\.\d{4} 0\.\d{4}", out[1])
    assert any(line.startswith("{'age': ") for line in out)
    assert out[-1].startswith("over all silos, of these rows")
    assert models["hub"].digest() == models["west"].digest()
    exec(keeping, {"model": models["hub"]})
