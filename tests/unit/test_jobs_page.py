"""The files on the page about jobs are good as they stand there, and fit each other."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.governance.world import NOW, World, make_world
from unseen import settings
from unseen.cli.grant import GrantText
from unseen.governance import grant, policy
from unseen.governance.grant import Access
from unseen.home import Home
from unseen.jobs import aggregation, boosting, horizontal, learning, operators, validate
from unseen.node import settings as node_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "jobs.md"


@pytest.fixture(name="files", scope="module")
def _files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each block of TOML, in a file of the name that its first line gives, or that follows for the one of the job."""
    directory = tmp_path_factory.mktemp("page")
    found = {}
    for block in re.findall(r"```toml\n(# (\S+)\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        text, name = block
        found[name] = directory / name
        found[name].write_text(text, encoding="utf-8")
    names = {"joint-customers.toml", "node.toml", "policy.toml", "psi.toml", "income-validation.toml", "visits.toml"}
    assert set(found) == names | {"credit-model.toml", "boosted-credit-model.toml", "readmissions.toml"}
    return found


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), "data-bureau")


def test_the_page(files: dict[str, Path], world: World) -> None:
    asked = settings.load(files["joint-customers.toml"], GrantText)
    signed = grant.issue(
        world.identity("data-bureau").signer,
        scenario=asked.scenario,
        purpose=asked.purpose,
        requester=asked.requester,
        operator=asked.operator,
        operator_version=operators.version_of(asked.operator),
        access=[Access(party=one.party, data_set=one.data_set, columns=list(one.columns)) for one in asked.access],
        recipients=asked.recipients,
        uses=asked.uses,
        not_before=NOW - timedelta(days=1),  # the page's own year passes
        not_after=NOW + timedelta(days=1),
        minimum_result=asked.minimum_result,
        report_sizes=asked.report_sizes,
    )
    job, named = operators.load(files["psi.toml"])
    assert named is not None
    assert named.name == "joint-customers.grant"
    trust = world.identity("data-bureau").trust()
    found = grant.check(signed, job.asked_by("bank"), trust=trust, now=NOW)

    mine = job.part_of("insurer")
    data = node_settings.load(Home(files["node.toml"].parent)).find_data_set(mine.data_set)
    assert data is not None
    assert set(mine.all_columns) <= set(data.columns)
    policy.decide_job(
        policy.read_policy(files["policy.toml"]),
        requester="bank",
        operator=job.head.operator,
        data_set=data.name,
        columns=mine.all_columns,
        scenario=job.head.scenario,
        authority=found.issuer,
        now=asked.not_before + (asked.not_after - asked.not_before) / 2,
    )


def test_the_other_operator(files: dict[str, Path]) -> None:
    text = files["income-validation.toml"].read_text()
    for operator in ("validate.threshold.consented", "validate.threshold.hidden"):
        files["income-validation.toml"].write_text(text.replace("validate.threshold.consented", operator, 1))
        job, _ = operators.load(files["income-validation.toml"])
        assert isinstance(job.parameters, validate.Parameters)
        assert job.recipients == ("bank",)
        assert validate.sources_of(job, job.parameters) == ("tax", "social-security", "housing-fund")
        assert job.asked_by("bank").operator == operator


def test_sums_over_many_parties(files: dict[str, Path]) -> None:
    job, _ = operators.load(files["visits.toml"])
    assert isinstance(job.parameters, aggregation.Parameters)
    assert job.recipients == ("health-bureau", "insurer")
    assert [one.columns for one in job.asked_by("insurer").access][1] == ["total_cost", "days_in_bed"]


def test_a_joint_model(files: dict[str, Path]) -> None:
    job, _ = operators.load(files["credit-model.toml"])
    assert isinstance(job.parameters, learning.Parameters)
    assert job.recipients == ("bank", "civil-affairs", "education")
    assert learning.features_of(job.part_of("bank"), job.parameters) == ("limit", "utilisation", "late_payments")
    assert learning.computing(job.head.parties, job.parameters) == job.head.parties
    # What the page shows beside a choice of its own is what holds without it.
    plain = learning.Parameters(label_party="bank", label="defaulted", bad="yes")
    changed = {name for name, value in job.parameters if value != getattr(plain, name)}
    assert changed == {"kinds", "minimum_iv"}
    assert job.parameters.least_iv == plain.least_iv


def test_boosted_trees(files: dict[str, Path]) -> None:
    text = files["boosted-credit-model.toml"].read_text()
    job, _ = operators.load(files["boosted-credit-model.toml"])
    assert isinstance(job.parameters, boosting.Parameters)
    assert job.recipients == ("bank", "civil-affairs")
    assert boosting.features_of(job.part_of("bank"), job.parameters) == ("limit", "utilisation", "late_payments")
    # What the page shows beside a choice of its own is what holds without it.
    plain = boosting.Parameters(label_party="bank", label="defaulted", bad="yes")
    changed = {name for name, value in job.parameters if value != getattr(plain, name)}
    assert changed == {"kinds", "validation", "early_stopping_rounds"}
    # And what it says in comments can be asked for.
    strict = text.replace('"learning.boosting" ', '"learning.boosting.strict" ').replace("# leaves", "leaves")
    for name in ("minimum_rows", "validation", "early_stopping_rounds"):
        strict = strict.replace(f"\n{name}", f"\n# {name}")
    files["boosted-credit-model.toml"].write_text(strict)
    job, _ = operators.load(files["boosted-credit-model.toml"])
    assert isinstance(job.parameters, boosting.Parameters)
    assert (boosting.privacy_of(job), job.parameters.leaves) == ("strict", "shared")


def test_a_model_of_many_parties_rows(files: dict[str, Path]) -> None:
    job, _ = operators.load(files["readmissions.toml"])
    assert isinstance(job.parameters, horizontal.Parameters)
    assert job.recipients == job.head.parties
    features = horizontal.names_of(job, job.parameters)[1:]
    assert horizontal.feature_names(features, job.parameters) == ("age", "days", "ward=medicine", "ward=heart")
    # What the page shows beside a choice of its own is what holds without it.
    plain = horizontal.Parameters(aggregator="hospital-north", label="readmitted", bad="yes")
    changed = {name for name, value in job.parameters if value != getattr(plain, name)}
    assert changed == {"columns", "categories", "missing"}
