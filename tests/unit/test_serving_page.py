"""What the page about models at work shows is good as it stands there, and fits together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mpc.testing import run_parties
from tests.learning.test_boosted import model_of, table_of
from tests.protocols.test_psi_page import party
from unseen.governance import policy
from unseen.home import Home
from unseen.jobs import operators
from unseen.jobs.scoring import GradeParameters
from unseen.node import settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "learning" / "serving.md").read_text(encoding="utf-8")


def test_the_files(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(# (\S+)\n.*?)```", PAGE, re.DOTALL)
    for text, name in blocks:
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert {name for _, name in blocks} == {"repayment-scores.toml", "node.toml", "policy.toml"}
    job, _ = operators.load(tmp_path / "repayment-scores.toml")
    assert isinstance(job.parameters, GradeParameters)
    assert job.recipients == ("bank",)
    (scorer,) = settings.load(Home(tmp_path)).scorer
    rules = policy.read_policy(tmp_path / "policy.toml")
    rule = policy.decide(
        rules,
        requester="bank",
        operator=scorer.operator,
        product=scorer.name,
        data_set=scorer.data.name,
        columns=scorer.data.columns,
        scenario="credit",
        now=rules.rules[0].valid_from,
    )
    assert rule.calls_per_day == 10_000
    assert scorer.cuts == job.parameters.cuts


def test_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    # The first block asks a node, which tests/e2e/test_scoring.py does in the same words.
    asks, trees, computes = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    compile(asks, "serving.md", "exec")
    parts, _ = model_of(("bank", "tax-bureau"))
    tables = {name: {column: values[:3] for column, values in table_of(name).items()} for name in parts}
    run_parties({name: party(trees, part=parts[name], table=tables[name]) for name in parts})
    assert re.fullmatch(r"\[0\.\d+ +0\.\d+ +0\.\d+ *\]\n", capsys.readouterr().out)
    run_parties({"bank": party(computes, sums=[-0.5, 0.25]), "tax-bureau": party(computes, sums=[0.25, 0.25])})
    assert capsys.readouterr().out == "[1 2]\n"
