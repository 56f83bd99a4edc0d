"""People scored online: a bank's own columns, a node's part of the model, and nothing else between the two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from examples.deployment import run
from mpc.errors import PolicyError, UsageError
from protocols.learning.binned import Cuts
from protocols.learning.boosted import BoostedPart
from protocols.learning.model import ModelPart
from protocols.learning.preparation import Numeric, Preparation
from tests.e2e.town import BANK, NODE, SCENARIO, Process, Town, resident_id, until
from tests.e2e.town import town as make_town
from tests.learning.test_boosted import in_the_clear
from tests.learning.test_trees import Grown, grow
from unseen import asker, scoring
from unseen.models import ModelStore
from unseen.scoring import Scorer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

MODEL, JOB, LATER = "00c0ffee00c0ffee", "0123456789abcdef", "fedcba9876543210"
TREES = "7ee5" * 4
PEOPLE = 300
CUTS = (-1.0, 0.0, 1.25)

SCORER_TOML = """
[[scorer]]
name = "{name}"
model = "{model}"
release = "{release}"
{cuts}
calls_per_subject = 3

[scorer.data]
name = "households"
source = "households.csv"
keys = ["id"]
features = ["size", "rooms"]
"""
RULE_TOML = """
[[allow]]
scenario = "{scenario}"
requester = "bank"
operator = "learning.{release}"
product = "{name}"
data_set = "households"
columns = ["id", "size", "rooms"]
consent_issuers = []
valid_from = 2020-01-01T00:00:00Z
valid_until = 2099-01-01T00:00:00Z
"""


def columns_of(n: int) -> dict[str, list[float]]:
    """The first n people, as the bank (age, income) and the node (size, rooms) know them."""
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=PEOPLE).round(3).tolist()[:n] for name in ("age", "income", "size", "rooms")}


def part(party: str, *, factor: float = 1.0) -> ModelPart:
    names = ("age", "income") if party == BANK else ("size", "rooms")
    return ModelPart(
        model=MODEL,
        family="logistic",
        party=party,
        label_party=BANK,
        parties=(BANK, NODE),
        preparation=Preparation.fit(columns_of(PEOPLE), [Numeric(name) for name in names]),
        coefficients=np.array([0.75, -1.5]) * factor,
        intercept=0.25 if party == BANK else None,
        shares=None,
        rows=PEOPLE,
        iterations=7,
        converged=True,
        trained="2030-01-31T12:00:00Z",
    )


def trees_of() -> tuple[dict[str, BoostedPart], list[Grown]]:
    """The two parts of a model of ten random trees, and the whole of it."""
    columns = {BANK: ("age", "income"), NODE: ("size", "rooms")}
    known = columns_of(PEOPLE)
    binning = {name: Cuts.fit({one: known[one] for one in mine}) for name, mine in columns.items()}
    rng = np.random.default_rng(4)
    grown = [grow(rng, {name: cuts.sizes for name, cuts in binning.items()}, depth=5) for _ in range(10)]
    parts = {
        name: BoostedPart.of(
            [tree.parts[name] for tree in grown],
            binning[name],
            party=name,
            label_party=BANK,
            parties=(BANK, NODE),
            objective="binary:logistic",
            base_score=-0.5,
            model=TREES,
            training=JOB,
            rows=PEOPLE,
            trained="2030-01-31T12:00:00Z",
        )
        for name in columns
    }
    return parts, grown


def total(n: int, *, factor: float = 1.0) -> np.ndarray:
    return part(BANK, factor=factor).score(columns_of(n)) + part(NODE, factor=factor).score(columns_of(n))


def keys(n: int) -> list[tuple[str]]:
    return [(resident_id(i),) for i in range(n)]


@pytest.fixture(name="town", scope="module")
def _town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One town for both tests, which ask about different people."""
    with make_town(tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest.fixture(name="node", scope="module")
def _node(town: Town) -> Process:
    """The node with two products of the model, one that releases scores and one that releases grades."""
    for name in (BANK, NODE):
        ModelStore(town.home(name)).add(part(name), job=JOB, operator="learning.logistic")
        ModelStore(town.home(name)).add(trees_of()[0][name], job=JOB, operator="learning.boosting")
    known = columns_of(PEOPLE)
    rows = [f"{resident_id(i)},{known['size'][i]},{known['rooms'][i]}" for i in range(PEOPLE)]
    (town.root / NODE / "households.csv").write_text("\n".join(["id,size,rooms", *rows]) + "\n")
    products = rules = ""
    for release in ("score", "grade"):
        name, cuts = f"repayment-{release}", f"cuts = {list(CUTS)}" if release == "grade" else ""
        products += SCORER_TOML.format(name=name, release=release, model=MODEL, cuts=cuts)
        rules += RULE_TOML.format(name=name, release=release, scenario=SCENARIO)
    products += SCORER_TOML.format(name="repayment-trees", release="score", model=TREES, cuts="")
    rules += RULE_TOML.format(name="repayment-trees", release="score", scenario=SCENARIO)
    town.write_node(products=products, policy=rules)
    return town.start_node(wait_for=("repayment-score", "repayment-grade", "repayment-trees"))


def connect(town: Town, node: Process, release: str, *, who: str = BANK, version: int | None = None) -> Scorer:
    at = f"{NODE}@{node.address}"
    return scoring.connect(town.root / who, f"repayment-{release}", node=at, version=version)


def test_scores_grades_quota_audit_and_refusals(town: Town, node: Process, tmp_path: Path) -> None:
    with connect(town, node, "score") as scorer:
        scores = scorer.score([*keys(5), (resident_id(PEOPLE + 1),)], columns_of(6), batch=4)
    np.testing.assert_allclose([one.total for one in scores[:5]], total(5), rtol=1e-12)
    np.testing.assert_allclose([one.probability for one in scores[:5]], 1 / (1 + np.exp(-total(5))), rtol=1e-12)
    assert (scores[5].found, scores[5].total, scores[5].refusal) == (False, None, None)

    with connect(town, node, "grade") as scorer:
        assert scorer.cuts == CUTS
        first = scorer.score(keys(100), columns_of(100))
        assert [one.grade for one in first] == np.searchsorted(CUTS, total(100), side="right").tolist()
        assert all(one.total is None and one.probability is None for one in first)
        for _ in range(2):
            (again,) = scorer.score(keys(1), columns_of(1))
            assert again.grade == first[0].grade
        (spent,) = scorer.score(keys(1), columns_of(1))
        assert spent.refusal is not None
        assert (spent.refusal.code, spent.grade) == ("quota-exceeded", None)
    with connect(town, node, "grade") as scorer:  # a new connection is no new day
        (spent,) = scorer.score(keys(1), columns_of(1))
        assert spent.refusal is not None

    entries = [entry for entry in town.entries() if entry.get("product") == "repayment-grade"]
    assert sum(entry["kind"] == "evaluation" for entry in entries) == 102
    assert {entry["operator"] for entry in entries} == {"learning.grade"}
    assert sum(entry["result"] == "quota-exceeded" for entry in entries) == 2
    # Neither the people nor their features nor sums are in the log, and the receipts name its entries.
    raw = json.dumps(town.entries())
    assert not any(resident_id(i) in raw for i in range(100))
    receipts = town.root / BANK / "receipts" / f"{NODE}.repayment-grade.jsonl"
    run("audit", "verify", "--home", town.root / NODE, "--receipts", receipts)

    applicants = tmp_path / "applicants.csv"
    known = columns_of(3)
    lines = [f"{resident_id(i)},{known['age'][i]},{known['income'][i]}" for i in range(3)]
    applicants.write_text("\n".join(["id,age,income", *lines]) + "\n")
    at = f"{NODE}@{node.address}"
    words = ("score", "repayment-score", "--home", town.root / BANK, "--data", applicants, "--column", "id")
    (only,) = run(*words, "--node", at, "--key", resident_id(2))["results"]  # type: ignore[misc]  # a list of one
    assert only["score"] == pytest.approx(total(3)[2])
    assert run(*words, "--node", at, "--out", tmp_path / "scores.csv")["scored"] == 3
    assert (tmp_path / "scores.csv").read_text().count("\n") == 4

    with pytest.raises(PolicyError, match="no scenario"):
        connect(town, node, "score", who="id-platform")
    with pytest.raises(UsageError, match="unseen score"):
        asker.connect(town.root / BANK, "repayment-score", node=at)


def test_boosted_trees_are_a_product_as_any_other(town: Town, node: Process) -> None:
    parts, grown = trees_of()
    with connect(town, node, "trees") as scorer:
        assert scorer.statement.operator == "learning.boosting"
        scores = scorer.score([*keys(5), (resident_id(PEOPLE + 1),)], columns_of(6), batch=4)
    known = {name: np.array(values) for name, values in columns_of(5).items()}
    wanted = in_the_clear(parts, grown, dict.fromkeys((BANK, NODE), known))
    np.testing.assert_allclose([one.total for one in scores[:5]], wanted, atol=2.0**-25)
    np.testing.assert_allclose([one.probability for one in scores[:5]], 1 / (1 + np.exp(-wanted)), atol=1e-6)
    assert (scores[5].found, scores[5].total) == (False, None)
    entries = [entry for entry in town.entries() if entry.get("product") == "repayment-trees"]
    assert sum(entry["kind"] == "evaluation" for entry in entries) == 6


def test_a_rule_that_goes_ends_what_it_allowed(town: Town, node: Process) -> None:
    policy = town.home(NODE).policy_toml
    rules = policy.read_text()
    with connect(town, node, "score") as scorer:
        policy.write_text(rules.replace('["id", "size", "rooms"]', '["id", "size"]'))
        until(lambda: _refusal(scorer) == "policy-denied")
        policy.write_text(rules)
        until(lambda: _refusal(scorer) != "policy-denied")


def _refusal(scorer: Scorer) -> str:
    try:
        (one,) = scorer.score(keys(200)[199:], {name: values[199:] for name, values in columns_of(200).items()})
    except PolicyError as error:
        return error.code
    return "" if one.refusal is None else one.refusal.code


def test_parts_of_one_training_and_new_data(town: Town, node: Process) -> None:
    with connect(town, node, "score") as warm:
        # The node takes another training's part in, and reads its data again: the session that is open ends in words.
        ModelStore(town.home(NODE)).add(part(NODE, factor=2.0), job=LATER, operator="learning.logistic")
        epoch = town.rotate("repayment-score")
        assert epoch == 2
        with pytest.raises(PolicyError, match="another version") as changed:
            warm.score(keys(6)[5:], {name: values[5:] for name, values in columns_of(6).items()})
        assert changed.value.code == "model-changed"
    with pytest.raises(UsageError, match="import that job"):
        connect(town, node, "score")
    with pytest.raises(UsageError, match="Parts of one training belong together"):
        connect(town, node, "score", version=1)
    ModelStore(town.home(BANK)).add(part(BANK, factor=2.0), job=LATER, operator="learning.logistic")
    with connect(town, node, "score") as scorer:
        assert scorer.statement.job == LATER
        scores = scorer.score(keys(150), columns_of(150))
        assert scores[149].total == pytest.approx(total(150, factor=2.0)[149])
    # Data that cannot be read leave what was read before at work; the owner sees why.
    (town.root / NODE / "households.csv").write_text("id,size\n")
    run("node", "rotate", "repayment-score", "--home", town.root / NODE)
    until(lambda: "no column 'rooms'" in town.product_status("repayment-score").product.problem)
    with connect(town, node, "score") as scorer:
        assert scorer.score(keys(150), columns_of(150))[149].found
