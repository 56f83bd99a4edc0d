"""The boosting operators as workers run them, without nodes around them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from mpc.errors import MpcError, PeerError, UsageError
from mpc.session import Progress, Session
from mpc.testing import run_parties
from protocols.learning import boosted_scoring, metrics, trees
from protocols.learning import boosting as protocol
from protocols.learning.boosted import BoostedPart
from tests.unit import joint
from tests.unit.joint import BANK, CIVIL, EDU, Gone
from unseen.jobs import boosting, operators
from unseen.jobs.spec import Job
from unseen.jobs.task import Yield

STANDARD, STRICT = "learning.boosting", "learning.boosting.strict"
FEW = {"n_estimators": 3, "max_depth": 2, "minimum_rows": 1}


def job_of(operator: str = STANDARD, **changes: Any) -> Job:  # noqa: ANN401  # parameters of a job
    return joint.job_of(operator, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"label_party": "court"}, "takes no part"),
        ({"label": "income"}, "name it in the columns of bank"),
        ({"columns": {EDU: []}}, "education names no columns besides its keys"),
        ({"kinds": {BANK: {"defaulted": "category"}}}, "none of the columns of bank"),
        ({"bins": 256}, "bins"),
        ({"max_depth": 9}, "max_depth"),
        ({"bad": None}, "bad says which of the label's two values"),
        ({"objective": "reg:squarederror"}, 'bad is for objective = "binary:logistic"'),
        ({"objective": "count:poisson", "bad": None, "scale_pos_weight": 2.0}, "scale_pos_weight is for objective"),
        ({"classes": ["a", "b", "c"]}, 'classes is for objective = "multi:softprob"'),
        ({"objective": "multi:softprob", "bad": None}, "classes names the values"),
        ({"objective": "multi:softprob", "bad": None, "classes": ["a", "A", "c"]}, "names a value twice"),
        ({"weight": "defaulted"}, "a column of bank other than the label"),
        ({"weight": "income"}, "a column of bank other than the label"),
        ({"weight": "late", "kinds": {BANK: {"late": "numeric"}}}, "names the weight 'late': leave it out"),
        ({"validation": 0.1}, "belong together"),
        ({"early_stopping_rounds": 5}, "belong together"),
        ({"validation": 0.4, "early_stopping_rounds": 5, "holdout": 0.5}, "0.8 together at most"),
        ({"leaves": "shared"}, "is of learning.boosting.strict"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises((MpcError, ValueError), match=text):
        job_of(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"objective": "count:poisson", "bad": None}, "not made on shares. learning.boosting has it"),
        ({"minimum_rows": 30}, "minimum_rows is of learning.boosting; leave it out"),
        ({"reg_alpha": 0.5}, "reg_alpha is of learning.boosting"),
    ],
)
def test_what_the_strict_operator_does_not_have_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(MpcError, match=text):
        job_of(STRICT, **changes)
    job_of(STANDARD, **changes)
    with pytest.raises(MpcError, match="set parameters.holdout = 0, and score afterwards"):
        job_of(STRICT, objective="reg:squarederror", bad=None)


def test_a_grant_for_the_strict_operator_is_none_for_the_other() -> None:
    """What opens is in the operator's name, which grants hold, and in no parameter."""
    for name, privacy in ((STANDARD, "standard"), (STRICT, "strict")):
        job = job_of(name, weight="late")
        assert (job.asked_by(BANK).operator, boosting.privacy_of(job)) == (name, privacy)
        assert job.recipients == (BANK, CIVIL, EDU)
        assert operators.resumable(name)
        assert isinstance(job.parameters, boosting.Parameters)
        assert boosting.features_of(job.part_of(BANK), job.parameters) == ("limit",)
    assert "privacy" not in boosting.Parameters.model_fields


@pytest.mark.parametrize(
    ("operator", "role", "told"),
    [
        (
            STANDARD,
            "label_party",
            ("gradients", "16 bits", "possibly", "way through each tree", "leaves"),
        ),
        (STANDARD, "feature_party", ("its own splits", "level", "how many rounds")),
        (STRICT, "label_party", ("which nodes are split, and by whom", "AUC and KS")),
        (STRICT, "feature_party", ("which nodes are split, and by whom", "how many rounds")),
    ],
)
def test_the_job_says_what_the_protocol_says(operator: str, role: str, told: tuple[str, ...]) -> None:
    """Whoever decides about a grant reads the job's words, not the protocol's."""
    words = " ".join(operators.OPERATORS[operator].operator.learns[role])
    assert all(one in words for one in told)


# Jobs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Yield]]:
    """With products in the clear, as fast as they can be: what stands on them is what is tested."""
    monkeypatch.setattr(protocol, "fit", partial(protocol.fit, method="ideal"))
    return partial(joint.run, tmp_path)


def parts_of(found: Mapping[str, Yield]) -> dict[str, BoostedPart]:
    return {name: BoostedPart.from_json(json.loads(one.files["model.json"])) for name, one in found.items()}


def rows_of(one: Yield) -> tuple[list[str], NDArray[np.bool_]]:
    """Keys of the common rows, and which were kept back."""
    table = pyarrow.parquet.read_table(pa.BufferReader(one.files["rows.parquet"]))
    return table["id"].to_pylist(), table["held_out"].to_numpy()


def column(tables: joint.Tables, party: str, name: str, keys: list[str]) -> list[Any]:
    place = {key: i for i, key in enumerate(tables[party]["id"])}
    return [tables[party][name][place[key]] for key in keys]


def margins_of(parts: Mapping[str, BoostedPart], tables: joint.Tables, keys: list[str]) -> NDArray[np.float64]:
    """(n, classes): what all parts say together, which in life nobody has in one place."""
    coded = {
        name: part.coded({one: column(tables, name, one, keys) for one in part.sources}, rows=len(keys))
        for name, part in parts.items()
    }
    codes = {name: one.codes for name, one in coded.items()}
    missing = {name: one.missing_code for name, one in coded.items()}
    bank = parts[BANK]
    total = np.full((len(keys), bank.classes), bank.base_score)
    for i in range(len(bank.trees)):
        grown = {name: part.trees[i] for name, part in parts.items()}
        total[:, i % bank.classes] += trees.joined(grown, codes, missing)
    return total


def test_a_model_is_judged_on_rows_that_it_has_not_seen(run: Callable[..., dict[str, Yield]]) -> None:
    """Three parties; the model's parts together say of the rows kept back what the evaluation was made of."""
    tables = joint.made(500)
    seen: list[Progress] = []
    found = run(job_of(holdout=0.3, n_estimators=4, max_depth=3, report=False), tables, seen=seen)
    parts = parts_of(found)
    keys, kept_back = rows_of(found[BANK])
    assert sorted(keys) == joint.common(tables)
    bad = np.array(column(tables, BANK, "defaulted", keys)) == "bad"
    margins = margins_of(parts, tables, keys)[:, 0]
    judged = json.loads(found[BANK].files["evaluation.json"])
    clear = metrics.evaluate(bad[kept_back], margins[kept_back], scale="logit")
    assert judged["rows"] == kept_back.sum() == found[CIVIL].sizes["held_out_rows"] == round(0.3 * len(keys))
    assert (judged["auc"], judged["ks"], judged["loss"]) == pytest.approx((clear.auc, clear.ks, clear.log_loss))
    assert judged["metric"] == "logloss"
    assert clear.auc > 0.6
    assert [now.done for now in seen if now.stage == "training"] == [1, 2, 3, 4]
    for name, one in found.items():
        part, lines = parts[name], pa.Table.from_batches(one.batches, one.schema).to_pylist()
        assert (part.model, part.training, part.rows) == ("ab" * 8, parts[BANK].training, (~kept_back).sum())
        assert ("evaluation.json" in one.files) == (name == BANK)
        assert one.sizes["rounds"] == 4
        splits = {line["column"]: line["splits"] for line in lines if line["party"] == name}
        assert tuple(splits) == part.binning.names
        assert sum(splits.values()) == sum(len(tree.own) for tree in part.trees)
        others = {line["party"]: line for line in lines if line["party"] != name}
        if name == BANK:  # who owns which node it knows, and no name of another's column
            assert {line["column"] for line in others.values()} == {None}
            assert sum(line["importance"] for line in lines) == pytest.approx(1)
            assert others[CIVIL]["splits"] == sum(len(tree.own) for tree in parts[CIVIL].trees)
        else:
            assert others == {}
            assert {line["importance"] for line in lines} == {None}
        assert one.learned
        # The coordinator hears these sentences also where the grant keeps sizes from it.
        told = {str(one.sizes[of]) for of in ("rows", "common_rows", "training_rows", "held_out_rows")}
        assert not told & set(re.findall("[0-9]+", " ".join(one.learned)))


def test_a_party_that_leaves_at_any_step_changes_nothing(run: Callable[..., dict[str, Yield]]) -> None:
    tables = {name: table for name, table in joint.made().items() if name != EDU}
    job = job_of(parties=(BANK, CIVIL), report=False, **FEW | {"n_estimators": 5})
    whole = run(job, tables, directory="whole")
    # One after the other leaves, a step further on each time, before it has said so to anybody. The first attempts are
    # alike, and where the common rows lie in the same order the model is the same.
    places = [(BANK, "prepare", 0), (CIVIL, "training", 1), (BANK, "training", 2), (CIVIL, "training", 4)]
    for place in [*places, (BANK, "training", 5)]:
        before: list[Progress] = []
        with pytest.raises(Gone):
            run(job, tables, leaves=place, seen=before)
        if place[2] > 1:  # not from the beginning
            assert min(now.done for now in before if now.stage == "training") >= place[2] - 1
            assert "read" not in {now.stage for now in before}
    last: list[Progress] = []
    found = run(job, tables, seen=last)
    assert not {now.stage for now in last} & {"read"}
    keys, kept_back = rows_of(found[BANK])
    assert (keys, kept_back.tolist()) == (rows_of(whole[BANK])[0], rows_of(whole[BANK])[1].tolist())
    ours, theirs = (margins_of(parts_of(one), tables, keys) for one in (found, whole))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert found[BANK].sizes["rounds"] == 5
    assert json.loads(found[BANK].files["evaluation.json"])["auc"] > 0.6

    # Before the common rows are known there is nothing to go on with: all is done again.
    for early in ((CIVIL, "read", 1), (BANK, "psi.ecdh", 1)):
        with pytest.raises(Gone):
            run(job, tables, leaves=early, directory="early")
    again = run(job, tables, directory="early")
    assert sorted(rows_of(again[CIVIL])[0]) == sorted(keys)
    assert again[CIVIL].sizes == found[CIVIL].sizes


def numbers(tables: dict[str, dict[str, Any]], name: str, values: Callable[[int], Any]) -> dict[str, dict[str, Any]]:
    """The two parties' tables, with a further column of the bank."""
    two = {party: table for party, table in tables.items() if party != EDU}
    two[BANK][name] = [values(i) for i in range(len(two[BANK]["id"]))]
    return two


def test_several_classes_weights_and_an_early_end(run: Callable[..., dict[str, Yield]]) -> None:
    """And a party whose worker is lost when training is over does not train again."""
    tables = numbers(joint.made(), "grade", lambda i: ("low", "Middle ", "high")[min(int(i % 7 / 2), 2) * (i % 6 > 0)])
    numbers(tables, "exposure", lambda i: 1.0 + i % 3)
    late = [2.0 * (i % 7) for i in range(400)]
    tables[BANK]["late"] = late  # tells most of the grades, and nothing tells the rest: soon no round is better
    job = job_of(
        parties=(BANK, CIVIL),
        columns={BANK: ["grade", "exposure", "late", "limit"]},
        label="grade",
        bad=None,
        objective="multi:softprob",
        classes=["low", "middle", "high"],
        weight="exposure",
        validation=0.2,
        early_stopping_rounds=2,
        learning_rate=1.0,
        reg_lambda=0.0,
        gamma=1.0,
        **FEW | {"n_estimators": 20},
    )
    found = run(job, tables)
    keys, kept_back = rows_of(found[BANK])
    margins = margins_of(parts_of(found), tables, keys)
    classes = ["low", "Middle ", "high"]
    labels = np.array([classes.index(one) for one in column(tables, BANK, "grade", keys)])
    weights = np.array(column(tables, BANK, "exposure", keys))
    judged = json.loads(found[BANK].files["evaluation.json"])
    odds = margins[kept_back] - np.logaddexp.reduce(margins[kept_back], axis=1)[:, None]
    loss = -np.average(odds[np.arange(len(odds)), labels[kept_back]], weights=weights[kept_back])
    assert (judged["metric"], judged["loss"]) == ("mlogloss", pytest.approx(loss))
    assert (margins.argmax(axis=1) == labels).mean() > 0.75
    sizes = found[BANK].sizes
    assert sizes["rounds"] < 20
    assert sizes["watched_rows"] == found[CIVIL].sizes["watched_rows"] == round(0.2 * len(keys))
    assert sizes["training_rows"] + sizes["watched_rows"] + sizes["held_out_rows"] == len(keys)
    assert parts_of(found)[CIVIL].rows == sizes["training_rows"]
    page = found[BANK].files["report.html"].decode()
    assert "rows that were watched" in page
    assert "mlogloss" in page

    seen: list[Progress] = []
    again = run(job, tables, seen=seen)  # what was done lies there still
    assert {now.stage for now in seen} == set()
    assert again[BANK].files["model.json"] == found[BANK].files["model.json"]
    assert again[BANK].files["evaluation.json"] == found[BANK].files["evaluation.json"]


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson"])
def test_numbers_and_counts(run: Callable[..., dict[str, Yield]], objective: str) -> None:
    tables = numbers(joint.made(), "claims", lambda i: float(i % 4))
    tables[BANK]["late"] = [float(i % 4) if i % 9 else float("nan") for i in range(400)]
    job = job_of(
        parties=(BANK, CIVIL),
        columns={BANK: ["claims", "late"]},
        label="claims",
        bad=None,
        objective=objective,
        report=False,
        **FEW | {"n_estimators": 8},
    )
    found = run(job, tables)
    keys, kept_back = rows_of(found[BANK])
    means = parts_of(found)[BANK].probability(margins_of(parts_of(found), tables, keys)[:, 0])
    claims = np.array(column(tables, BANK, "claims", keys))
    judged = json.loads(found[BANK].files["evaluation.json"])
    assert judged["metric"] == ("rmse" if objective.startswith("reg") else "poisson-nloglik")
    assert judged["curve"] is None
    rest = np.sqrt(((means - claims)[kept_back] ** 2).mean())
    assert rest < 0.7 * claims.std()
    if objective.startswith("reg"):
        assert judged["loss"] == pytest.approx(rest)


@pytest.mark.parametrize(
    ("label", "changes", "text"),
    [
        (lambda _: "low", {}, "fewer than 2 have one of the values of the label column 'grade'"),
        (lambda i: ("low", "odd")[i % 2], {}, "'grade' has none of parameters.classes in [0-9]+ of the common rows"),
        (lambda _: None, {"objective": "reg:squarederror", "classes": None}, "no value in [0-9]+ of the common rows"),
        (lambda i: i - 5.0, {"objective": "count:poisson", "classes": None}, "'grade' has negative values"),
        (lambda _: -1.0, {"weight": "grade", "label": "late", "objective": "count:poisson", "classes": None}, "weight"),
        (
            lambda _: 0.0,
            {"weight": "grade", "label": "defaulted", "objective": "binary:logistic", "bad": "bad", "classes": None},
            "fewer than 2 have one of the values of the label column 'defaulted'",
        ),
        (lambda _: "low", {"validation": 0.35, "early_stopping_rounds": 2, "holdout": 0.45}, "are left to train on"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_named(
    run: Callable[..., dict[str, Yield]], label: Callable[[int], Any], changes: dict[str, Any], text: str
) -> None:
    tables = numbers(joint.made(120), "grade", label)
    several = {"label": "grade", "bad": None, "objective": "multi:softprob", "classes": ["low", "middle", "high"]}
    bank = ["grade", "late", "defaulted"]
    job = job_of(parties=(BANK, CIVIL), columns={BANK: bank}, report=False, **FEW | several | changes)
    with pytest.raises(UsageError, match=text) as caught:
        run(job, tables)
    assert "odd" not in str(caught.value)


def test_columns_that_cannot_be_split_are_named(run: Callable[..., dict[str, Yield]]) -> None:
    tables = numbers(joint.made(120), "limit", lambda i: float(i))
    tables[CIVIL]["age"] = ["50"] * len(tables[CIVIL]["id"])
    tables[CIVIL]["married"] = [""] * len(tables[CIVIL]["id"])
    with pytest.raises(UsageError, match="No column here can be split. 'age' has one value"):
        run(job_of(parties=(BANK, CIVIL), report=False, **FEW), tables)
    tables[CIVIL]["age"] = ["old"] * len(tables[CIVIL]["id"])
    with pytest.raises(UsageError, match="'age' is no number"):
        run(
            job_of(parties=(BANK, CIVIL), report=False, kinds={CIVIL: {"age": "numeric"}}, **FEW), tables, directory="2"
        )


def test_parts_of_two_trainings_do_not_score_together(run: Callable[..., dict[str, Yield]]) -> None:
    """Nor does a job go on that another release began: the two ends of a session compare what they run."""
    tables = {name: table for name, table in joint.made(150).items() if name != EDU}
    job = job_of(parties=(BANK, CIVIL), columns={BANK: ["defaulted"]}, report=False, holdout=0.0, **FEW)
    parts = [parts_of(run(job, tables, directory=directory)) for directory in ("one", "other")]
    mixed = {BANK: parts[0][BANK], CIVIL: replace(parts[1][CIVIL], training="00" * 32)}
    rows = {name: tables[name] for name in mixed}

    def score(session: Session) -> object:
        return boosted_scoring.scores(session, mixed[session.me], {k: v[:20] for k, v in rows[session.me].items()})

    with pytest.raises(PeerError, match="training"):
        run_parties(dict.fromkeys(mixed, score))
    older = job.document.replace(b'"operator_version":1', b'"operator_version":2')
    with pytest.raises(UsageError, match="it is for learning.boosting 2, here is version 1. Install the same release"):
        operators.parse(older)


@pytest.mark.parametrize("leaves", ["label_party", "shared"])
def test_strict_trees_are_judged_on_shares(run: Callable[..., dict[str, Yield]], leaves: str) -> None:
    tables = {name: table for name, table in joint.made(200).items() if name != EDU}
    parties = {"parties": (BANK, CIVIL), "report": leaves == "shared", "holdout": 0.4}
    watched = {"validation": 0.2, "early_stopping_rounds": 5} if leaves == "shared" else {}
    job = job_of(STRICT, leaves=leaves, n_estimators=2, max_depth=2, **parties, **watched)
    with pytest.raises(Gone):
        run(job, tables, leaves=(CIVIL, "training", 1))
    seen: list[Progress] = []
    with pytest.raises(Gone):
        run(job, tables, leaves=(CIVIL, "evaluate", 0), seen=seen)
    assert [now.done for now in seen if now.stage == "training"] == [2]  # not from the beginning
    seen = []
    found = run(job, tables, seen=seen)
    assert {now.stage for now in seen} == {"evaluate", "trees"}
    parts = parts_of(found)
    keys, kept_back = rows_of(found[BANK])
    judged = json.loads(found[BANK].files["evaluation.json"])
    assert (judged["rows"], judged["loss"], judged["curve"]) == (kept_back.sum(), None, None)
    assert {part.shared for part in parts.values()} == {leaves == "shared"}
    if leaves == "label_party":
        bad = np.array(column(tables, BANK, "defaulted", keys)) == "bad"
        margins = margins_of(parts, tables, keys)[:, 0]
        clear = metrics.evaluate(bad[kept_back], margins[kept_back], scale="logit")
        assert judged["auc"] == pytest.approx(clear.auc, abs=0.02)  # grades make ties
    else:
        assert "rows that were watched" in found[BANK].files["report.html"].decode()
    for name, one in found.items():
        lines = pa.Table.from_batches(one.batches, one.schema).to_pylist()
        splits = {line["party"]: 0 for line in lines}
        for line in lines:
            splits[line["party"]] += line["splits"]
        # All know the shapes, and nobody a gain.
        assert splits == {BANK: len(parts[BANK].trees[0].own) + len(parts[BANK].trees[1].own), CIVIL: splits[CIVIL]}
        assert {line["gain"] for line in lines} == {None}
        assert ("evaluation.json" in one.files) == (name == BANK)
