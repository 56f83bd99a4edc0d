"""The learning operators as workers run them, without nodes around them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from mpc.errors import MpcError, PolicyError, UsageError
from mpc.session import Progress
from protocols.learning import bins as binned
from protocols.learning import logistic, metrics
from protocols.learning.bins import Bins
from protocols.learning.model import ModelPart
from tests.unit import joint
from tests.unit.joint import BANK, CIVIL, COLUMNS, EDU, Gone, Tables, common, job_of, made, values
from unseen.jobs import operators
from unseen.jobs.task import Yield


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Callable[..., dict[str, Yield]]:
    return partial(joint.run, tmp_path)


def test_each_party_gets_the_bins_of_its_own_columns(run: Callable[..., dict[str, Yield]]) -> None:
    tables = made()
    found = run(job_of("learning.binning", bins=5, minimum_cell=3), tables)
    bad = np.array(values(tables, BANK, "defaulted")) == "bad"
    for name, own in found.items():
        assert own.sizes["common_rows"] == len(bad)
        result = pa.Table.from_batches(own.batches).to_pylist()
        features = [column for column in COLUMNS[name] if column != "defaulted"]
        bins = [Bins.from_json(one) for one in json.loads(own.files["bins.json"])]
        assert [one.feature for one in bins] == features
        for one in bins:
            column = values(tables, name, one.feature)
            if one.feature == "age":
                column = [float(value) if value else None for value in column]
            # What the parties found together is what anybody finds who has both columns.
            events = np.bincount(one.bin_of(column), weights=bad, minlength=one.number).astype(np.int64)
            wanted = binned.weigh(one.counted(column), events)
            assert one == wanted
            lines = [line for line in result if line["column"] == one.feature]
            assert [line["values"] for line in lines] == list(one.labels)
            assert [line["woe"] for line in lines] == list(one.woe or ())
            assert {line["party"] for line in lines} == {name}
        others = {(line["party"], line["column"]): line["iv"] for line in result if line["bin"] is None}
        if name == BANK:
            theirs = {p: [Bins.from_json(one) for one in json.loads(found[p].files["bins.json"])] for p in (CIVIL, EDU)}
            assert others == {(p, one.feature): round(one.iv or 0, 3) for p in theirs for one in theirs[p]}
        else:
            assert others == {}
        assert any("all of them" in line for line in own.learned)
    kinds = {one["feature"]: one["kind"] for own in found.values() for one in json.loads(own.files["bins.json"])}
    assert kinds == {
        "limit": "numeric",
        "late": "numeric",
        "age": "numeric",
        "married": "category",
        "degree": "category",
    }


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({BANK: {"defaulted": ["maybe"]}}, "'defaulted' has 3 different values"),
        ({BANK: {"defaulted": [None]}}, "'defaulted' has no value in 1 of the common rows"),
        ({BANK: {"defaulted": ["good"] * 400}}, "'defaulted' has 1 different values"),
        ({BANK: {"defaulted": ["good", "worse"] * 200}}, "none of the two values of the label column 'defaulted'"),
        ({CIVIL: {"id": ["client 1", "client 1"]}}, "Rows 1 and 2 have the same key"),
        ({EDU: {"id": [f"nobody {i}" for i in range(390)]}}, "0 rows in common"),
        ({CIVIL: {"age": ["old"], "kinds": "numeric"}}, "column 'age' is no number"),
    ],
)
def test_what_cannot_be_learned_from_is_named(
    run: Callable[..., dict[str, Yield]], changed: dict[str, dict[str, Any]], text: str
) -> None:
    tables = made()
    ids = common(tables)
    kinds = {}
    for party, columns in changed.items():
        if columns.pop("kinds", ""):
            kinds = {party: {"age": "numeric"}}
        for name, new in columns.items():
            old = tables[party][name]
            where = old if len(new) > 2 or name == "id" else None
            if where is None:  # at a client whom all parties have
                at = tables[party]["id"].index(ids[0])
                old[at] = new[0]
            else:
                old[: len(new)] = new
    job = job_of("learning.binning", kinds=kinds)
    with pytest.raises(UsageError, match=text) as caught:
        run(job, tables)
    for value in ("maybe", "worse", "client", "old"):
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("label_party", ("the name", "how many bins", "too few rows of a label and went together", "to thousandths")),
        ("feature_party", ("are bad", "merged further", "too few rows of a label", "by differences")),
    ],
)
def test_the_job_says_of_binning_what_the_protocol_says(role: str, told: tuple[str, ...]) -> None:
    """Whoever decides about a grant reads the job's words, not the protocol's."""
    for operator in ("learning.binning", "learning.logistic"):
        words = " ".join(operators.OPERATORS[operator].operator.learns[role])
        assert all(one in words for one in told)
        assert ("label's side" in words) == (operator == "learning.logistic")


def test_too_few_rows_in_common_are_given_to_nobody(run: Callable[..., dict[str, Yield]]) -> None:
    tables = made()
    with pytest.raises(PolicyError) as caught:
        run(job_of("learning.binning"), tables, minimum=380)
    assert caught.value.code == "result-too-small"
    assert str(len(common(tables))) not in caught.value.reason
    with pytest.raises(PolicyError, match="bin's counts may open"):
        run(job_of("learning.binning", minimum_cell=1000), tables)


def test_a_model_is_that_of_pooled_training(
    run: Callable[..., dict[str, Yield]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coefficients beside scikit-learn's on the pooled columns, and the judgement beside that in the clear."""
    monkeypatch.setattr(logistic, "fit", partial(logistic.fit, method="ideal"))
    linear_model = pytest.importorskip("sklearn.linear_model", reason="what is compared with comes with scikit-learn")
    tables = made(500)
    job = job_of("learning.logistic", bins=5, minimum_iv=0.0, holdout=0.25, evaluation="curve")
    found = run(job, tables)
    parts, blocks = {}, {}
    for name in job.head.parties:
        files = found[name].files
        parts[name] = ModelPart.from_json(json.loads(files["model.json"]))
        rows = pyarrow.parquet.read_table(pa.BufferReader(files["rows.parquet"]))
        place = {key: i for i, key in enumerate(tables[name]["id"])}
        taken = [place[key] for key in rows["id"].to_pylist()]
        own = {column: [tables[name][column][i] for i in taken] for column in COLUMNS[name]}
        blocks[name] = parts[name].preparation.transform(own)
        if name == BANK:
            bad = np.array(own["defaulted"]) == "bad"
    kept_back = rows["held_out"].to_numpy()
    assert len(bad) == found[BANK].sizes["common_rows"] == len(common(tables))
    assert kept_back.sum() == found[CIVIL].sizes["held_out_rows"] == round(0.25 * len(bad))
    pooled = np.hstack([blocks[name] for name in job.head.parties])
    wanted = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(
        pooled[~kept_back], bad[~kept_back]
    )
    joint = np.concatenate([parts[name].coefficients for name in job.head.parties])
    assert np.linalg.norm(joint - wanted.coef_[0]) <= 2e-3 * np.linalg.norm(wanted.coef_[0])
    assert abs((parts[BANK].intercept or 0.0) - wanted.intercept_[0]) < 2e-3
    judged = json.loads(found[BANK].files["evaluation.json"])
    clear = metrics.evaluate(bad[kept_back], wanted.predict_proba(pooled[kept_back])[:, 1])
    assert (judged["curve"]["rows"], judged["curve"]["ones"]) == (kept_back.sum(), bad[kept_back].sum())
    assert judged["auc"] == pytest.approx(clear.auc, abs=1e-2)
    assert judged["ks"] == pytest.approx(clear.ks, abs=4e-2)
    assert judged["curve"]["auc"] == pytest.approx(clear.auc, abs=0.03)  # cells of at least five of each label
    for name, own_yield in found.items():
        assert ("evaluation.json" in own_yield.files) == (name == BANK)
        # The coordinator hears these sentences also where the grant keeps sizes from it.
        assert any("columns of each party vary" in sentence for sentence in own_yield.learned)
        rows = {str(own_yield.sizes[of]) for of in ("rows", "common_rows", "training_rows", "held_out_rows")}
        assert not rows & set(re.findall("[0-9]+", " ".join(own_yield.learned)))
        lines = pa.Table.from_batches(own_yield.batches).to_pylist()
        weights = {line["column"]: line["coefficient"] for line in lines if line["party"] == name}
        assert list(weights.values()) == pytest.approx(list(parts[name].coefficients))
        assert all(line["points"] is not None for line in lines if line["bin"] is not None)


@pytest.mark.parametrize("encoding", ["woe", "standard"])
def test_a_label_party_may_have_no_features(
    run: Callable[..., dict[str, Yield]], monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(logistic, "fit", partial(logistic.fit, method="ideal"))
    job = job_of(
        "learning.logistic", parties=(BANK, CIVIL), columns={BANK: ["defaulted"]}, encoding=encoding, evaluation="curve"
    )
    found = run(job, made())
    bank, civil = (ModelPart.from_json(json.loads(found[name].files["model.json"])) for name in (BANK, CIVIL))
    assert (bank.preparation.names, civil.intercept) == ((), None)
    assert bank.score({}, rows=2).tolist() == [bank.intercept, bank.intercept]
    assert json.loads(found[BANK].files["evaluation.json"])["auc"] > 0.5
    assert "<html" in found[BANK].files["report.html"].decode()


def test_the_label_party_need_not_compute_and_columns_may_be_standardised(
    run: Callable[..., dict[str, Yield]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "fit", partial(logistic.fit, method="ideal"))
    tables = made(300)
    options = {"compute": [EDU, CIVIL], "encoding": "standard", "resolution": 16, "class_weight": "balanced"}
    found = run(job_of("learning.logistic", report=False, duplicates="first", **options), tables)
    part = ModelPart.from_json(json.loads(found[CIVIL].files["model.json"]))
    # A column with gaps says where they are; categories have a column each.
    assert part.preparation.names == ("age", "married=0", "married=1")
    own = ModelPart.from_json(json.loads(found[BANK].files["model.json"]))
    assert own.preparation.names == ("limit", "late", "late is missing")
    assert part.intercept is None
    judged = json.loads(found[BANK].files["evaluation.json"])
    assert judged["rows"] == found[BANK].sizes["held_out_rows"]
    assert 0.6 < judged["auc"] < 1
    assert judged["curve"] is None
    lines = pa.Table.from_batches(found[EDU].batches).to_pylist()
    assert [line["column"] for line in lines] == ["degree=college", "degree=doctor", "degree=school"]
    weights = {line["column"]: line["coefficient"] for line in lines}
    assert weights["degree=school"] > weights["degree=college"]
    assert "evaluation.json" not in found[CIVIL].files


def test_a_model_that_nobody_has_is_judged_all_the_same(run: Callable[..., dict[str, Yield]]) -> None:
    """After a loss, too, when training was done; as the model is that its owners have."""
    tables = {name: table for name, table in made().items() if name != EDU}
    options = {"parties": (BANK, CIVIL), "encoding": "standard", "holdout": 0.4, "report": False, "tol": 1e-3}
    with pytest.raises(Gone):
        run(job_of("learning.logistic", reveal_model="none", **options), tables, leaves=(CIVIL, "evaluate", 0))
    seen: list[Progress] = []
    found = run(job_of("learning.logistic", reveal_model="none", **options), tables, seen=seen)
    assert {now.stage for now in seen} == {"evaluate"}
    # With the same common rows in the same order, since they were found before.
    clear = _fitted_in_the_clear(found, tables)
    judged = json.loads(found[BANK].files["evaluation.json"])
    assert judged["auc"] == pytest.approx(clear.auc, abs=1e-2)
    for one in found.values():
        kept = json.loads(one.files["model.json"])
        assert kept["coefficients"] is kept["intercept"] is None
        assert kept["shares"]["compute"] == [BANK, CIVIL]
        lines = pa.Table.from_batches(one.batches, one.schema).to_pylist()
        assert all(line["coefficient"] is None for line in lines)


def _fitted_in_the_clear(found: dict[str, Yield], tables: Tables) -> metrics.Evaluation:
    """What scikit-learn comes to on the pooled columns, with the same rows kept back."""
    linear_model = pytest.importorskip("sklearn.linear_model", reason="what is compared with comes with scikit-learn")
    rows = pyarrow.parquet.read_table(pa.BufferReader(found[BANK].files["rows.parquet"]))
    blocks = []
    for name in found:
        place = {key: i for i, key in enumerate(tables[name]["id"])}
        taken = [place[key] for key in rows["id"].to_pylist()]
        for column in COLUMNS[name]:
            values = [tables[name][column][i] for i in taken]
            if column == "defaulted":
                bad = np.array(values) == "bad"
                continue
            x = np.array([float(value or 0) for value in values])
            gone = np.isnan(x)
            blocks += [np.where(gone, np.nanmean(x), x), *([gone.astype(np.float64)] if gone.any() else [])]
    x, kept_back = np.column_stack(blocks), rows["held_out"].to_numpy()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = linear_model.LogisticRegression(tol=1e-8).fit(x[~kept_back], bad[~kept_back])
    return metrics.evaluate(bad[kept_back], model.decision_function(x[kept_back]), scale="rank")


def test_a_party_that_leaves_at_any_step_changes_nothing(
    run: Callable[..., dict[str, Yield]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "fit", partial(logistic.fit, method="ideal"))
    tables = {name: table for name, table in made().items() if name != EDU}
    options = {"bins": 5, "minimum_iv": 0.0, "holdout": 0.0, "report": False, "tol": 1e-3}
    job = job_of("learning.logistic", parties=(BANK, CIVIL), **options)
    seen: list[Progress] = []
    whole = run(job, tables, directory="whole", seen=seen)
    steps = max(now.done for now in seen if now.stage == "training")
    assert [now.stage for now in seen if now.stage == "training"] == ["training"] * steps
    assert {now.stage for now in seen} > {"read", "count", "training"}
    assert steps >= 4
    rows = aligned_rows(whole[BANK])
    # One after the other leaves, a step further on each time, before it has said so to anybody. Not at the last step,
    # which may not come: rows in another order are rounded otherwise, and a step sooner may be small enough.
    places = [(CIVIL, "count", 1), *((CIVIL if step % 2 else BANK, "training", step) for step in range(1, steps))]
    for place in places:
        before: list[Progress] = []
        with pytest.raises(Gone):
            run(job, tables, leaves=place, seen=before)
        if place[1] == "training" and place[2] > 2:  # not from the beginning
            assert min(now.done for now in before if now.stage == "training") >= place[2] - 1
            assert not {now.stage for now in before} & {"read", "count"}
    last: list[Progress] = []
    found = run(job, tables, seen=last)
    assert not {now.stage for now in last} & {"read", "count"}
    assert len(aligned_rows(found[BANK])) == len(rows)
    for name in job.head.parties:
        ours, theirs = (ModelPart.from_json(json.loads(one[name].files["model.json"])) for one in (found, whole))
        # The rows came in another order, in which they are rounded.
        assert ours.coefficients == pytest.approx(theirs.coefficients, abs=3e-3)
        assert ours.preparation == theirs.preparation
        assert abs(ours.iterations - theirs.iterations) <= 1


def aligned_rows(one: Yield) -> list[str]:
    keys: list[str] = pyarrow.parquet.read_table(pa.BufferReader(one.files["rows.parquet"]))["id"].to_pylist()
    return keys


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"label_party": "court"}, "takes no part"),
        ({"label": "income"}, "name it in the columns of bank"),
        ({"columns": {EDU: []}}, "education names no columns besides its keys"),
        ({"kinds": {BANK: {"defaulted": "category"}}}, "none of the columns of bank"),
        ({"kinds": {"court": {"x": "category"}}}, "none of the columns of court"),
        ({"bins": 1}, "bins"),
        ({"compute": ["bank", "court"]}, "compute names two or three of the parties"),
        ({"compute": ["bank", "bank"]}, "compute names two or three of the parties"),
        ({"encoding": "standard", "minimum_iv": 0.1}, "minimum_iv is for encoding"),
        ({"resolution": 100}, "resolution"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises((MpcError, ValueError), match=text):
        job_of("learning.logistic", **changes)


def test_a_page_that_cannot_be_made_is_said_before_anything_is_computed(
    run: Callable[..., dict[str, Yield]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else real(name))
    seen: list[Progress] = []
    with pytest.raises(UsageError, match="matplotlib, which is not installed here: pip install"):
        run(job_of("learning.logistic"), made(), seen=seen)
    assert seen == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"minimum_iv": 9.0}, "No column here reaches the information value 9; the largest is that of '"),
        ({"evaluation": "curve", "evaluation_cell": 100}, "fewer than 100 have one of the values of the label column"),
        ({"holdout": 0.0, "kinds": {CIVIL: {"age": "numeric"}}, "columns": {CIVIL: ["age"]}}, "is left|No column"),
    ],
)
def test_what_a_model_cannot_be_made_of_is_named(
    run: Callable[..., dict[str, Yield]], changes: dict[str, Any], text: str
) -> None:
    tables = {name: table for name, table in made().items() if name != EDU}
    tables[CIVIL]["age"] = ["50"] * len(tables[CIVIL]["id"])  # says nothing
    with pytest.raises(UsageError, match=text):
        run(job_of("learning.logistic", parties=(BANK, CIVIL), report=False, **changes), tables)
