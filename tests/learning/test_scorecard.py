"""Scorecards: points mean odds, parts add up, and SQL, ONNX and Python give the same points on real data."""

from __future__ import annotations

import copy
import json
import math
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.csv
import pytest
from sklearn.linear_model import LogisticRegression

from mpc.errors import UsageError
from protocols.learning import export
from protocols.learning.bins import Bins, by_category, equal_frequency, weigh
from protocols.learning.logistic import Shares
from protocols.learning.model import ModelPart, mean_of
from protocols.learning.preparation import Numeric, Preparation, WoeColumn, values_for
from protocols.learning.scorecard import Scorecard

AGE = Bins("age", "numeric", edges=(25.0, 40.0), missing=True, woe=(0.7, 0.0, -0.7, 0.3), iv=0.2)
JOB = Bins("job", "category", categories=(("clerk", "o'hara"), ("1",)), other=True, missing_in=1, woe=(-0.5, 0.5, 0.1))


def a_part(*bins: Bins, weights: list[float], intercept: float | None = None) -> ModelPart:
    """The bank's where there is an intercept."""
    return ModelPart(
        model="0" * 16,
        family="logistic",
        party="tax" if intercept is None else "bank",
        label_party="bank",
        parties=("bank", "tax"),
        preparation=Preparation(tuple(map(WoeColumn, bins))),
        coefficients=np.array(weights),
        intercept=intercept,
        shares=None,
        rows=100,
        iterations=5,
        converged=True,
        trained="2030-01-31T12:00:00Z",
    )


def test_points_mean_odds() -> None:
    part = a_part(AGE, weights=[1.0], intercept=-math.log(50))
    card = Scorecard.of(part)
    assert card.base == 600  # odds of 50 with no evidence at all
    assert card.characteristics[0].points == tuple(round(-20 / math.log(2) * woe) for woe in AGE.woe or ())
    assert card.characteristics[0].rows[0] == ("(-inf, 25]", -20)
    assert card.points({"age": [20, 30, 50, None]}).tolist() == [580, 600, 620, 591]
    assert np.allclose(card.probability(np.array([600, 620, 580])), [1 / 51, 1 / 101, 1 / 26])
    assert card.range == (580, 620)
    assert Scorecard.of(part, pdo=-20).points({"age": [20]}).tolist() == [620]
    assert Scorecard.of(part, base_score=300, base_odds=1, pdo=50).base == round(300 + 50 * math.log2(50))


def test_parts_add_up_within_the_rounding_that_they_state() -> None:
    bank, tax = a_part(AGE, weights=[0.81], intercept=-2.2), a_part(JOB, weights=[1.37])
    table = {"age": [10, 33, 99, None, 25], "job": ["clerk", "1", None, "strange", "o'hara"]}
    cards = [Scorecard.of(bank), Scorecard.of(tax)]
    assert cards[1].base == 0
    exact = 600 - 20 / math.log(2) * (bank.score(table) + tax.score(table) + math.log(50))
    total = cards[0].points(table) + cards[1].points(table)
    assert 0 < np.abs(total - exact).max() <= cards[0].rounding + cards[1].rounding <= 1.5
    assert np.allclose(cards[0].probability(exact), mean_of("logistic", bank.score(table) + tax.score(table)))


def test_reasons() -> None:
    card = Scorecard.of(a_part(AGE, JOB, weights=[1.0, 1.0]))
    table = {"age": [20, 50, 30, 20], "job": ["clerk", "clerk", "1", "else"]}
    assert card.lost(table).tolist() == [[40, 0], [0, 0], [20, 28], [40, 17]]
    assert card.reasons(table) == [("age",), (), ("job", "age"), ("age", "job")]
    assert card.reasons(table, most=1) == [("age",), (), ("job",), ("age",)]
    with pytest.raises(UsageError, match="1 at least"):
        card.reasons(table, most=0)


def test_a_label_party_without_features_has_the_base() -> None:
    card = Scorecard.of(a_part(weights=[], intercept=-math.log(50)))
    table = {"label": [1, 0]}
    assert card.points(table).tolist() == [600, 600]
    assert card.range == (600, 600)
    assert card.reasons(table) == [(), ()]
    assert export.to_sql(card) == "600"


def test_what_to_look_at() -> None:
    notes = Scorecard.of(a_part(AGE, JOB, weights=[-0.5, 1e-5])).notes
    assert len(notes) == 2
    assert "'age' has a negative coefficient" in notes[0]
    assert "'job' has no points" in notes[1]


def test_what_is_no_scorecard() -> None:
    part = a_part(AGE, weights=[1.0])
    plain = replace(part, preparation=Preparation.fit({"x": [1, 2]}, [Numeric("x")]))
    with pytest.raises(UsageError, match="'x' has no bins: prepare all columns as Woe"):
        Scorecard.of(plain)
    one = np.ones(1)
    shares = Shares(np.zeros((1, 1), np.uint64), 26, ("bank", "tax"), (("tax", 1),), 1.0, one > 0, one, one)
    shared = replace(part, coefficients=None, shares=shares)
    with pytest.raises(UsageError, match="reveal_model='owners'"):
        Scorecard.of(shared)
    with pytest.raises(UsageError, match="logistic"):
        Scorecard.of(replace(part, family="linear"))
    for base_odds, pdo in ((0.0, 20.0), (50.0, 0.0), (50.0, math.inf), (math.nan, 20.0)):
        with pytest.raises(UsageError, match="600, 50 and 20"):
            Scorecard.of(part, base_odds=base_odds, pdo=pdo)


# Export ---------------------------------------------------------------------------------------------------------------

EVIL = 'x"); DROP TABLE clients; --'


def in_sqlite(card: Scorecard, columns: dict[str, list[object]], kinds: dict[str, str], **options: object) -> list[int]:
    with sqlite3.connect(":memory:") as data_base:
        quoted = {name: '"' + name.replace('"', '""') + '"' for name in columns}
        data_base.execute(f"CREATE TABLE clients ({', '.join(f'{quoted[n]} {kinds[n]}' for n in columns)})")
        marks = ", ".join("?" * len(columns))
        data_base.executemany(f"INSERT INTO clients VALUES ({marks})", list(zip(*columns.values(), strict=True)))  # noqa: S608
        query = f"SELECT {export.to_sql(card, **options)} FROM clients ORDER BY rowid"  # type: ignore[arg-type]  # noqa: S608
        return [row[0] for row in data_base.execute(query)]


def in_onnx(card: Scorecard, table: pa.Table | dict[str, list[object]]) -> list[int]:
    session = onnxruntime.InferenceSession(export.to_onnx(card), providers=["CPUExecutionProvider"])
    feed = {}
    for c in card.characteristics:
        values = values_for(c.bins, table)
        feed[c.name] = (
            values if c.bins.kind == "numeric" else np.array(["" if v is None else v for v in values], object)
        )
    found: list[int] = session.run(["points"], feed)[0].tolist()
    return found


def test_the_real_data(credit_card_csv: Path) -> None:
    """30,000 clients with values taken out and categories that training never had: three times the same points."""
    table = pyarrow.csv.read_csv(credit_card_csv)
    labels = table["default.payment.next.month"].to_numpy()
    rng = np.random.default_rng(5)
    columns: dict[str, list[object]] = {}
    for name in ("LIMIT_BAL", "AGE", "PAY_AMT1", "BILL_AMT1"):
        values = table[name].to_numpy().astype(float)
        columns[name] = [
            None if hole else v for v, hole in zip(values.tolist(), rng.random(len(values)) < 0.05, strict=True)
        ]
    for name in ("EDUCATION", "MARRIAGE"):
        columns[name] = [
            None if hole else str(v)
            for v, hole in zip(table[name].to_pylist(), rng.random(len(labels)) < 0.05, strict=True)
        ]
    columns["PAY_0"] = table["PAY_0"].to_pylist()
    half = 15_000
    train = {name: values[:half] for name, values in columns.items()}

    def binned(name: str) -> Bins:
        numeric = name not in ("EDUCATION", "MARRIAGE", "PAY_0")
        values = np.array(train[name], dtype=float if numeric else object)
        bins = equal_frequency(values, 8, feature=name) if numeric else by_category(values, feature=name, most=6)
        at = bins.bin_of(values)
        return weigh(bins, np.bincount(at, weights=labels[:half], minlength=bins.number).astype(np.int64))

    all_bins = [binned(name) for name in columns]
    # A category that training never had, where other ones have a bin, and where they have none but that of the missing.
    columns["PAY_0"] = [99 if i % 7 == 0 else v for i, v in enumerate(columns["PAY_0"])]
    columns["EDUCATION"] = ["never 'seen'" if i % 9 == 0 else v for i, v in enumerate(columns["EDUCATION"])]
    prepared = Preparation(tuple(map(WoeColumn, all_bins)))
    model = LogisticRegression().fit(prepared.transform(train), labels[:half])
    part = a_part(*all_bins, weights=model.coef_[0].tolist(), intercept=float(model.intercept_[0]))
    card = Scorecard.of(part)
    points = card.points(columns)
    assert len(set(points.tolist())) > 100
    kinds = dict.fromkeys(columns, "REAL") | {"EDUCATION": "TEXT", "MARRIAGE": "TEXT", "PAY_0": "INTEGER"}
    assert in_sqlite(card, columns, kinds, numbers=["PAY_0"]) == points.tolist()
    assert in_onnx(card, columns) == points.tolist()
    assert (
        np.abs(card.probability(points) - part.probability(part.score(columns))).max() < 2 ** (card.rounding / 20) - 1
    )
    # Points order clients as exact scores do, but for rounding.
    assert np.corrcoef(points, -part.score(columns))[0, 1] > 0.999


def test_names_that_would_be_code() -> None:
    bins = Bins(EVIL, "numeric", edges=(-1.5e-7, 1e300), missing=False, missing_in=2, woe=(1.0, 0.0, -1.0))
    words = Bins(
        "it's; ünï 客户", "category", categories=(("'; DROP TABLE clients; --", 'a"b'), ("''",)), woe=(1.0, -1.0)
    )
    card = Scorecard.of(a_part(bins, words, weights=[1.0, 1.0]))
    columns: dict[str, list[object]] = {
        EVIL: [-1.5e-7, None, 0.0, -1.0, 1.1e300],
        words.feature: ["'; DROP TABLE clients; --", 'a"b', "''", "other", None],
    }
    points = card.points(columns).tolist()
    assert points == [-58, 0, 29, -29, 29]
    assert in_sqlite(card, columns, {EVIL: "REAL", words.feature: "TEXT"}) == points
    assert in_onnx(card, columns) == points
    for feature, category in (("a\\", "x"), ("a\n", "x"), ("a", "x\\"), ("a", "\0")):
        wrong = Bins(feature, "category", categories=((category,), ("y",)), woe=(1.0, -1.0))
        with pytest.raises(UsageError, match="rename it before binning"):
            export.to_sql(Scorecard.of(a_part(wrong, weights=[1.0])))


def test_codes_that_the_table_holds_as_numbers() -> None:
    bins = Bins(
        "code",
        "category",
        categories=(("-1", "2.5", "inf", "1_0"), ("10",)),
        other=True,
        missing=True,
        woe=(1.0, -1.0, 2.0, 3.0),
    )
    card = Scorecard.of(a_part(bins, weights=[1.0]))
    columns: dict[str, list[object]] = {"code": [-1, 2.5, 10, 7, None]}
    assert in_sqlite(card, columns, {"code": "REAL"}, numbers=["code"]) == card.points(columns).tolist()
    assert "inf" not in export.to_sql(card, numbers=["code"])
    with pytest.raises(UsageError, match="which are code"):
        export.to_sql(card, numbers=["age"])


def test_a_card_survives_its_document() -> None:
    card = Scorecard.of(a_part(AGE, JOB, weights=[0.8, 1.2], intercept=-1.0), pdo=30)
    assert export.from_json(export.to_json(card)) == card
    document = card.to_json()
    for path, value in (
        (("version",), 2), (("pdo",), 0), (("base",), 1.5), (("base_odds",), -1), (("surplus",), 1),
        (("rounding",), "0"),
        (("characteristics", 0, "points", 0), 0.5), (("characteristics", 0, "points"), [1]),
        (("characteristics", 0, "points", 0), 1e300), (("characteristics", 0, "bins", "kind"), "text"),
    ):  # fmt: skip
        wrong: object = copy.deepcopy(document)
        place = wrong
        for step in path[:-1]:
            place = place[step]  # type: ignore[index]
        place[path[-1]] = value  # type: ignore[index]
        with pytest.raises(UsageError):
            Scorecard.from_json(wrong)
        with pytest.raises(UsageError):
            export.from_json(json.dumps(wrong))
    with pytest.raises(UsageError, match="no JSON text"):
        export.from_json("[" * 100_000)


def test_what_is_no_onnx_model() -> None:
    card = Scorecard.of(a_part(AGE, weights=[1.0]))
    with pytest.raises(UsageError, match="rename that column"):
        export.to_onnx(replace(card, characteristics=()))
    points = Scorecard.of(a_part(replace(AGE, feature="points"), weights=[1.0]))
    with pytest.raises(UsageError, match="rename that column"):
        export.to_onnx(points)


def test_without_the_extras() -> None:
    """Importing takes no extra; what does says which."""
    program = """
import sys
for name in ("onnx", "sklearn", "pandas", "matplotlib", "jinja2", "scipy"):
    sys.modules[name] = None
from mpc.errors import UsageError
from protocols.learning import binning, bins, columns, correlation, export, horizontal, logistic, metrics, model
from protocols.learning import preparation, report, scorecard, scoring, shared_metrics
card = scorecard.Scorecard("0" * 16, "tax", "bank", 600.0, 50.0, 20.0, 0, (), 0.0)
try:
    export.to_onnx(card)
except UsageError as error:
    print(error)
try:
    from protocols.learning import estimators
except UsageError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install unseen[export]" in ran.stdout
    assert "pip install unseen[learning]" in ran.stdout
