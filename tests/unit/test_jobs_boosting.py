"""The boosting operators as workers run them, without nodes around them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from mpc.errors import MpcError
from mpc.session import Progress
from protocols.learning import boosting as protocol
from protocols.learning import metrics, trees
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
        ({"validation": 0.1, "early_stopping_rounds": 5}, "validation is of learning.boosting"),
    ],
)
def test_what_the_strict_operator_does_not_have_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(MpcError, match=text):
        job_of(STRICT, **changes)
    job_of(STANDARD, **changes)


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
    found = run(job_of(holdout=0.3, n_estimators=4, max_depth=3), tables, seen=seen)
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
        page = one.files["report.html"].decode()
        assert "learning" not in page or "<svg" in page or name != BANK
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
    # One after the other leaves, a step further on each time, before it has said so to anybody.
    for who, step in ((CIVIL, 1), (BANK, 2), (CIVIL, 4), (BANK, 5)):
        before: list[Progress] = []
        with pytest.raises(Gone):
            run(job, tables, leaves=(who, "training", step), seen=before)
        if step > 1:  # not from the beginning
            assert min(now.done for now in before if now.stage == "training") >= step - 1
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
