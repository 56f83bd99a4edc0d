"""The operator ``learning.horizontal`` as workers run it, without nodes around it."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mpc.data.tables import DataSet
from mpc.errors import MpcError, PolicyError, UsageError
from mpc.session import Progress, Session
from mpc.testing import run_parties
from protocols.learning import horizontal as protocol
from protocols.learning import metrics
from protocols.learning.model import ModelPart
from unseen.governance import documents
from unseen.jobs import horizontal, operators
from unseen.jobs.spec import Job
from unseen.jobs.task import Task, Yield

NORTH, SOUTH, WEST = "north", "south", "west"
OWN = {
    NORTH: ["readmitted", "age", "days", "ward"],
    SOUTH: ["came_back", "years", "stay", "unit"],
    WEST: ["again", "age", "nights", "department"],
}
"""The same columns at all, by other names."""
WARDS = ("surgery", "medicine", "heart")
Tables = Mapping[str, Mapping[str, list[Any]]]


def made(n: int = 600) -> tuple[dict[str, dict[str, list[Any]]], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Each party's table; and the pooled rows as anybody would prepare them, with their labels."""
    rng = np.random.default_rng(3)
    age, days, ward = rng.integers(20, 90, n), rng.gamma(2.0, 3.0, n).round(2), rng.integers(0, 3, n)
    z = 0.03 * (age - 55) + 0.15 * days - 0.8 * (ward == 1) + 0.4 * (ward == 2) - 1.2
    bad = rng.random(n) < 1 / (1 + np.exp(-z))
    gone = rng.random(n) < 0.05
    x = np.column_stack([age, np.where(gone, 4.0, days), ward == 1, ward == 2]).astype(np.float64)
    tables = {}
    for name, part in zip(OWN, np.split(np.arange(n), [n // 2, n // 2 + n // 6]), strict=True):
        columns = (
            np.where(bad[part], "Yes", "no").tolist(),
            age[part].tolist(),
            [None if missing else value for missing, value in zip(gone[part], days[part].tolist(), strict=True)],
            [WARDS[i] for i in ward[part]],
        )
        tables[name] = dict(zip(OWN[name], columns, strict=True))
    return tables, x, bad


def job(**changes: Any) -> Job:  # noqa: ANN401  # of the parameters
    own = {**OWN, **changes.pop("own", {})}
    keys = changes.pop("keys", [])
    parameters = {
        "aggregator": NORTH,
        "label": "readmitted",
        "bad": "yes",
        "categories": {"ward": list(WARDS)},
        "missing": {"days": 4.0},
        **changes,
    }
    chosen = {key: value for key, value in parameters.items() if value is not None}
    raw = {
        "operator": "learning.horizontal",
        "operator_version": operators.version_of("learning.horizontal"),
        "scenario": "readmissions",
        "suite": "intl",
        "output": "parquet",
        "party": [
            {"name": name, "data_set": "stays", "keys": keys, "form": "text", "columns": columns}
            for name, columns in own.items()
            if columns is not None
        ],
        "parameters": horizontal.Parameters.model_validate(chosen).model_dump(mode="json"),
    }
    return operators.parse(documents.canonical(raw))


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Callable[..., dict[str, Yield]]:
    def run(
        what: Job, tables: Tables, *, minimum: int = 0, seen: dict[str, list[Progress]] | None = None
    ) -> dict[str, Any]:
        """South's data set is a CSV file. `seen`: what each node is told."""
        for name in what.head.parties:
            write = pyarrow.csv.write_csv if name == SOUTH else pyarrow.parquet.write_table
            write(pa.table(dict(tables[name])), tmp_path / f"{name}.{'csv' if name == SOUTH else 'parquet'}")

        def work(session: Session) -> Yield:
            mine = what.part_of(session.me)
            kind = "csv" if session.me == SOUTH else "parquet"
            data = DataSet(str(tmp_path / f"{session.me}.{kind}"), columns=mine.all_columns)
            told: list[Progress] = [] if seen is None else seen.setdefault(session.me, [])
            watched = replace(session, progress=told.append)
            return operators.run(Task("ab" * 8, what, mine, watched, data, minimum, tmp_path, bytes(32)))

        return run_parties(dict.fromkeys(what.head.parties, work), timeout_s=50.0)

    return run


def test_all_get_the_model_of_the_pooled_rows(run: Callable[..., dict[str, Yield]]) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="what is compared with comes with scikit-learn")
    tables, x, bad = made()
    seen: dict[str, list[Progress]] = {}
    found = run(job(), tables, seen=seen)
    scale = x.std(axis=0)
    clear = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(x / scale, bad)
    wanted = clear.coef_[0] / scale
    parts = {name: ModelPart.from_json(json.loads(found[name].files["model.json"])) for name in OWN}
    for name, part in parts.items():
        assert part.coefficients == pytest.approx(wanted, rel=1e-8)
        assert part.intercept == pytest.approx(clear.intercept_[0], rel=1e-8)
        assert (part.rows, part.parties, part.family) == (len(x), (name,), "logistic")
        # Of its own table a party has probabilities by itself.
        own = [*tables[name]]
        table = pa.table(dict(tables[name]))
        rows = {NORTH: slice(0, 300), SOUTH: slice(300, 400), WEST: slice(400, 600)}[name]
        ours = part.probability(part.score(table))
        assert ours == pytest.approx(clear.predict_proba(x[rows] / scale)[:, 1], rel=1e-7)
        judged = metrics.Evaluation.from_json(json.loads(found[name].files["evaluation.json"]))
        assert (judged.rows, judged.ones) == (len(ours), bad[rows].sum())
        assert judged.auc == pytest.approx(metrics.evaluate(bad[rows], ours).auc)
        lines = pa.Table.from_batches(found[name].batches).to_pylist()
        assert [line["feature"] for line in lines] == ["(intercept)", "age", "days", "ward=medicine", "ward=heart"]
        assert [line["column"] for line in lines] == [None, own[1], own[2], own[3], own[3]]
        assert [line["category"] for line in lines] == [None, None, None, "medicine", "heart"]
        assert [line["coefficient"] for line in lines[1:]] == pytest.approx(list(wanted))
        assert found[name].sizes | {"iterations": 0} == {
            "rows": len(ours),
            "all_rows": 600,
            "parties": 3,
            "columns": 4,
            "iterations": 0,
        }
        page = html.unescape(found[name].files["report.html"].decode())
        assert "ward=heart" in page
        assert f"{len(ours):,} training rows of {name}" in page
        assert all(sentence in page for sentence in found[name].learned)
        steps = [now for now in seen[name] if now.stage == "training"]
        assert [now.done for now in steps] == list(range(1, part.iterations + 1))
        assert {now.stage for now in seen[name]} == {"read", "training"}
    assert len({found[name].files["model.json"].split(b'"coefficients"')[1] for name in OWN}) <= 2  # but for the time
    assert [len(found[name].learned) for name in OWN] == [5, 3, 3]


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"family": "linear", "C": "none", "standardise": False}, lambda x: 2 * x[:, 0] - x[:, 1] + 1),
        ({"family": "poisson", "aggregator": WEST, "columns": OWN[NORTH]}, lambda x: x[:, 0] // 20),
        ({"family": "gamma", "report": False}, lambda x: np.exp(0.01 * x[:, 0])),
    ],
)
def test_other_families(run: Callable[..., dict[str, Yield]], options: dict[str, Any], label: Any) -> None:  # noqa: ANN401
    tables, x, _ = made(300)
    y = label(x)
    for name, rows in {NORTH: slice(0, 150), SOUTH: slice(150, 200), WEST: slice(200, 300)}.items():
        tables[name][OWN[name][0]] = y[rows].tolist()
    found = run(job(bad=None, **options), tables)
    part = ModelPart.from_json(json.loads(found[SOUTH].files["model.json"]))
    assert part.family == options["family"]
    mean = part.probability(part.score(pa.table(dict(tables[SOUTH]))))
    assert np.corrcoef(mean, y[150:200])[0, 1] > 0.95
    if options["family"] == "linear":
        assert part.coefficients == pytest.approx([2, -1, 0, 0], abs=1e-9)
        assert part.intercept == pytest.approx(1)
    assert "evaluation.json" not in found[NORTH].files
    assert ("report.html" in found[NORTH].files) == options.get("report", True)


def test_classes_may_weigh_alike_and_a_party_may_have_one_alone(run: Callable[..., dict[str, Yield]]) -> None:
    tables, _, bad = made(300)
    ones = bad.sum() - bad[150:200].sum()
    tables[SOUTH]["came_back"] = ["no"] * 50
    balanced = run(job(class_weight="balanced", report=False), tables)
    weights = [300 / 2 / (300 - ones), 300 / 2 / ones]
    given = run(job(class_weight=weights, report=False), tables)
    first, second = (json.loads(one[WEST].files["model.json"]) for one in (balanced, given))
    assert first["coefficients"] == pytest.approx(second["coefficients"])
    assert "evaluation.json" not in balanced[SOUTH].files


@pytest.mark.parametrize(
    ("changed", "options", "text"),
    [
        ({"came_back": ["maybe"]}, {}, "'came_back' has 3 different values"),
        ({"came_back": ["1"] * 25 + ["0"] * 25}, {}, "'came_back' has 2 different values.* parameters.bad is one"),
        ({"came_back": [""]}, {}, "Row 1 of the column 'came_back' is missing"),
        ({"years": [""]}, {}, "Row 1 of the column 'years' is missing: .*parameters.missing.age"),
        ({"years": ["old"]}, {}, "Row 1 of the column 'years' is no number.* parameters.categories.age"),
        (
            {"unit": ["roof"]},
            {},
            "Row 1 of the column 'unit' is none of the categories that parameters.categories.ward",
        ),
        ({"unit": [""]}, {}, "Row 1 of the column 'unit' is none of the categories"),
        ({"came_back": ["-1"] * 50}, {"family": "poisson", "bad": None}, "'came_back' is negative"),
        ({"came_back": ["0"] * 50}, {"family": "gamma", "bad": None}, "'came_back' is not above 0"),
        ({"came_back": [""] * 50}, {"family": "linear", "bad": None}, "Row 1 of the column 'came_back' is missing"),
    ],
)
def test_what_cannot_be_learned_from_is_named(
    run: Callable[..., dict[str, Yield]], changed: dict[str, list[str]], options: dict[str, Any], text: str
) -> None:
    tables, _, _ = made(300)
    if options.get("family"):
        for name in OWN:
            tables[name][OWN[name][0]] = [1.0] * len(tables[name][OWN[name][0]])
    for name, new in changed.items():
        tables[SOUTH][name] = [*new, *("" if one is None else str(one) for one in tables[SOUTH][name][len(new) :])]
    with pytest.raises(UsageError, match=text) as caught:
        run(job(report=False, **options), tables)
    for value in ("maybe", "old", "roof", "-1"):
        assert f"{value!r}" not in str(caught.value)


def test_sums_of_too_few_rows_are_not_made(run: Callable[..., dict[str, Yield]]) -> None:
    """Of 600 rows half are the aggregator's; of what the others have, one of them has 100."""
    tables, _, _ = made()
    assert run(job(report=False), tables, minimum=300)[WEST].result_rows == 5
    with pytest.raises(PolicyError) as caught:
        run(job(report=False), tables, minimum=301)
    assert caught.value.code == "result-too-small"
    assert "30" not in caught.value.reason
    with pytest.raises(PolicyError) as caught:  # south leads: all others have 500, but those of north only 300
        run(job(report=False, aggregator=SOUTH, columns=OWN[NORTH]), tables, minimum=400)
    assert caught.value.code == "result-too-small"
    for name in OWN:
        tables[name][OWN[name][3]] = ["medicine"] * len(tables[name][OWN[name][3]])
    tables[WEST]["department"][:9] = ["heart"] * 9
    with pytest.raises(PolicyError, match="columns 'ward=medicine', 'ward=heart' are 0, or 1, in all") as caught:
        run(job(report=False), tables)
    assert caught.value.code == "small-cell"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"own": {WEST: None}}, "three parties or more; the job has 2"),
        ({"aggregator": "mint"}, "mint, which takes no part"),
        ({"keys": ["id"]}, "Leave keys out"),
        ({"own": {SOUTH: ["came_back", "years"]}}, "south names 2 columns, and the model has 4"),
        ({"columns": ["a", "b", "c"], "label": "a", "categories": {}, "missing": {}}, "north names 4 columns"),
        ({"columns": ["a", "b", "c", "c"]}, "names a column twice"),
        ({"label": "came_back"}, "parameters.label is 'came_back'; name one of readmitted, age, days, ward"),
        ({"categories": {"unit": ["a", "b"]}}, "parameters.categories names 'unit', which explains nothing"),
        ({"missing": {"readmitted": 0.0}}, "parameters.missing names 'readmitted', which explains nothing"),
        ({"missing": {"ward": 0.0}}, "'ward' has categories"),
        ({"categories": {"ward": ["a", "a"]}}, "lists a category twice"),
        ({"categories": {"ward": [str(i) for i in range(1024)]}}, "there are 1025, and 1024 are the most"),
        (
            {"columns": ["readmitted", "age", "ward=b", "ward"], "missing": {}, "categories": {"ward": ["a", "b"]}},
            "two",
        ),
        ({"bad": None}, "parameters.bad says which"),
        ({"family": "linear"}, "parameters.bad says which"),
        ({"family": "linear", "bad": None, "class_weight": "balanced"}, "no other has classes"),
        (
            {"own": {name: ["readmitted"] for name in OWN}, "missing": {}, "categories": {}},
            "no column besides the label",
        ),
        ({"C": 0.0}, "C"),
        ({"missing": {"days": math.nan}}, "finite"),
    ],
)
def test_mistakes_in_a_job_are_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises((MpcError, ValueError), match=text):
        job(**changes)


def test_what_a_party_learns_is_what_the_protocol_says() -> None:
    """The job's own words: who reads a job's file has no protocol."""
    assert horizontal.OPERATOR.version == protocol.OPERATOR.version
    assert horizontal._MAX_FEATURES == protocol.MAX_FEATURES
    names = {"who took part", "who took part, and who left"}  # a job says it itself, and nobody leaves
    for role, sentences in protocol.OPERATOR.learns.items():
        assert set(sentences) - names <= set(horizontal.OPERATOR.learns[role])
