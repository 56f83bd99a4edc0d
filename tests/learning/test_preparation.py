"""Preparation: what becomes of numbers, categories and bins, of columns that teach nothing, and of documents."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from mpc.errors import UsageError
from protocols.learning import columns
from protocols.learning.bins import Bins, categories_of
from protocols.learning.logistic import Shares
from protocols.learning.model import ModelPart, mean_of
from protocols.learning.preparation import MAX_CATEGORIES, Numeric, OneHot, Preparation, Woe, specs_for

BINS = Bins("income", "numeric", edges=(10.0, 20.0), missing=True, woe=(0.5, 0.0, -0.5, 0.25), iv=0.1)


def test_the_same_numbers_from_every_kind_of_table() -> None:
    amount = [1.5, None, 3.0, 4.0]
    code = ["a", None, "b", "a"]
    married = [True, False, None, True]
    mapping = {"amount": amount, "code": code, "married": married}
    tables = [
        mapping,
        {name: np.array(values, dtype=object) for name, values in mapping.items()},
        pd.DataFrame(mapping),
        pd.DataFrame({"amount": amount, "code": pd.Categorical(code), "married": married}),
        pa.table(mapping),
        pa.table({**mapping, "code": pa.array(code).dictionary_encode()}),
        pa.concat_tables([pa.table(mapping)[:1], pa.table(mapping)[1:]]),
        pa.table({**mapping, "amount": pa.array([Decimal("1.50"), None, Decimal(3), Decimal(4)])}),
        pa.table({**mapping, "amount": ["1.5", "", " 3 ", "+4.0e0"]}),
        pa.record_batch(mapping),
    ]
    specs = [
        Numeric("amount", missing="median"),
        OneHot("code", missing="category"),
        Numeric("married", missing="constant"),
    ]
    results = [Preparation.fit(table, specs).transform(table) for table in tables]
    assert results[0].shape == (4, 5)
    assert results[0].flags.c_contiguous
    for result in results:
        assert np.array_equal(result, results[0])
    assert Preparation.fit(tables[0], specs).names == ("amount", "code=a", "code=b", "code is missing", "married")


def test_standardisation_is_scikit_learn_s_on_any_scale() -> None:
    rng = np.random.default_rng(1)
    for scale, offset in ((1.0, 0.0), (1e9, 5e12), (1e-9, 0.0), (1e200, 0.0), (1.0, 1e9)):
        x = offset + scale * rng.standard_normal(500)
        got = Preparation.fit({"x": x}, [Numeric("x")]).transform({"x": x})
        unit = (x - x.mean()) / scale  # scikit-learn's squares of 1e200 are infinite
        assert np.abs(got - StandardScaler().fit_transform(unit[:, None])).max() < 1e-6


def test_missing_values() -> None:
    table = {"x": [1.0, 2.0, 6.0, None]}
    later = {"x": [None, 3.0]}

    def result(missing: str, **options: object) -> list[list[float]]:
        spec = Numeric("x", missing=missing, standardise=False, **options)  # type: ignore[arg-type]
        return Preparation.fit(table, [spec]).transform(later).tolist()

    assert result("mean") == [[3.0], [3.0]]
    assert result("median") == [[2.0], [3.0]]
    assert result("constant", fill=-1.0) == [[-1.0], [3.0]]
    assert result("indicator") == [[3.0, 1.0], [3.0, 0.0]]
    with pytest.raises(UsageError, match="Row 4 of the column 'x' is missing"):
        result("error")


def test_values_beyond_the_quantiles_are_moved() -> None:
    x = np.append(np.arange(99.0), 1e12)
    prepared = Preparation.fit({"x": x}, [Numeric("x", clip=(0.01, 0.98), standardise=False)])
    moved = prepared.transform({"x": [-5.0, 50.0, 1e15, None]})[:, 0]
    low, high = np.quantile(x, [0.01, 0.98])
    assert np.allclose(moved, [low, 50.0, high, np.clip(x, low, high).mean()], rtol=1e-14)


def test_categories() -> None:
    table = {"c": ["b", "a", None, "b"]}
    fitted = Preparation.fit(table, [OneHot("c")])
    assert fitted.names == ("c=a", "c=b")
    assert fitted.transform({"c": ["a", "b", "never seen", None]}).tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]
    strict = Preparation.fit(table, [OneHot("c", unseen="error", missing="category", reference="a")])
    assert strict.names == ("c=b", "c is missing")
    assert strict.transform({"c": ["a", "b", None]}).tolist() == [[0, 0], [1, 0], [0, 1]]
    with pytest.raises(
        UsageError, match="Row 2 of the column 'c' has a category that training did not have"
    ) as refused:
        strict.transform({"c": ["a", "secret"]})
    assert "secret" not in str(refused.value)
    listed = Preparation.fit(table, [OneHot("c", categories=("a", "b", "z"))])
    assert listed.names == ("c=a", "c=b")
    assert listed.notes == ("'c' never has the categories 'z': left out.",)


def test_codes_are_the_same_categories_as_numbers_floats_and_texts() -> None:
    forms = [[1, 2, 10], [1.0, 2.0, 10.0], ["1", "2", "10"], [Decimal("1"), Decimal("2.0"), Decimal(10)]]
    fitted = Preparation.fit({"c": forms[0]}, [OneHot("c")])
    for form in forms:
        assert fitted.transform({"c": form}).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    with_missing = pd.DataFrame({"c": [1, None, 2]})  # pandas makes floats of them
    assert fitted.transform(with_missing).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_columns_that_teach_nothing_are_left_out_with_a_note() -> None:
    n = 5
    table = {
        "constant": np.full(n, 7e9),
        "rounding": np.full(n, 0.1) * np.array([1, 1, 1, 1, 1 + 1e-16]),
        "empty": pa.nulls(n),
        "blank": [""] * n,
        "word": ["same"] * n,
        "unknown": [None] * n,
        "sparse": [3.0, None, 3.0, None, 3.0],
        "good": np.arange(n),
        "flat": np.zeros(n),
    }
    flat = Bins("flat", "numeric", edges=(1.0,), woe=(0.5, -0.5), iv=0.1)
    specs = [
        *(Numeric(name) for name in ("constant", "rounding", "empty", "blank")),
        OneHot("word"),
        OneHot("unknown", missing="category"),
        Numeric("sparse", missing="indicator"),
        Numeric("good"),
        Woe(flat),
    ]
    fitted = Preparation.fit(table, specs)
    assert fitted.names == ("sparse", "sparse is missing", "good")
    assert len(fitted.notes) == 8
    assert any("'empty' is missing in all rows" in note for note in fitted.notes)
    with pytest.raises(UsageError, match="No column is left to learn from: 'constant' has one value"):
        Preparation.fit(table, [Numeric("constant")])


def test_nothing_is_left_of_a_sparse_constant_but_whether_it_is_missing() -> None:
    fitted = Preparation.fit({"sparse": [3.0, None, 3.0]}, [Numeric("sparse", missing="indicator")])
    assert fitted.transform({"sparse": [None, 3.0]})[:, 1].tolist() == [1, 0]
    assert np.isfinite(fitted.transform({"sparse": [1e9]})).all()


def test_bins() -> None:
    fitted = Preparation.fit({"income": [5.0, 15.0, 25.0, None]}, [Woe(BINS)])
    assert fitted.names == fitted.sources == ("income",)
    assert fitted.transform({"income": ["10", "10.01", "", "1e6"]})[:, 0].tolist() == [0.5, 0.0, 0.25, -0.5]
    kinds = Bins(
        "kind", "category", categories=(("1", "2"), ("x",)), other=True, missing=True, woe=(1.0, 2.0, 3.0, 4.0)
    )
    fitted = Preparation.fit({"kind": [1, 2, 3]}, [Woe(kinds)])
    assert fitted.transform({"kind": ["1", "x", "y", None]})[:, 0].tolist() == [1, 2, 3, 4]
    assert fitted.transform({"kind": [1.0, None]})[:, 0].tolist() == [1, 4]
    with pytest.raises(UsageError, match="run binning first"):
        Woe(replace(BINS, woe=None, iv=None))


@pytest.mark.parametrize(
    "values", [[1, 2, 30], [1.0, 2.5, None], ["1", " x", "", None], [True, False, None], [1e20, 3.0], [None, None, "a"]]
)
def test_bins_take_values_for_the_same_categories(values: list[object]) -> None:
    codes, names = categories_of(np.array(values, dtype=object), "c")
    texts = columns.texts(pa.array(values), "c")
    assert texts.tolist() == [None if code < 0 else names[code] for code in codes]


def test_a_plain_choice() -> None:
    table = pa.table({"id": [1, 2], "age": [30, 40], "sex": ["f", "m"], "home": [True, False]})
    specs = specs_for(table, leave_out=["id"])
    assert specs == (Numeric("age"), OneHot("sex", missing="category"), OneHot("home", missing="category"))
    assert specs_for(pd.DataFrame({"age": [30, 40]})) == (Numeric("age"),)


@pytest.mark.parametrize(
    ("table", "spec", "problem"),
    [
        ({"x": ["1", "two"]}, Numeric("x"), "Row 2 of the column 'x' is no number"),
        ({"x": [1.0, float("inf")]}, Numeric("x"), "Row 2 of the column 'x' is infinite"),
        ({"x": pa.array([0, 1], pa.date32())}, Numeric("x"), "is of type date32"),
        ({"x": [1, "one"]}, OneHot("x"), "values of several kinds"),
        ({"x": np.zeros((2, 2))}, Numeric("x"), "values of several kinds"),
        ({"y": [1, 2]}, Numeric("x"), "has no column 'x'"),
        ({"x": [str(i) for i in range(MAX_CATEGORIES + 1)]}, OneHot("x"), "categories, and 256 are the most"),
        ({"x": ["a", "b"]}, OneHot("x", reference="c"), "no category that is the reference"),
        ({"x": ["a", "b"]}, OneHot("x", categories=("a",), unseen="error"), "list them all"),
        (np.zeros((2, 2)), Numeric("x"), "A table is a mapping"),
        (pd.DataFrame([[1, 2]]), Numeric("x"), "names that are text"),
        (pa.table([[1], [2]], names=["x", "x"]), Numeric("x"), "same name"),
    ],
)
def test_what_is_refused(table: columns.Table, spec: Numeric | OneHot, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Preparation.fit(table, [spec])


def test_a_party_that_has_labels_and_no_features() -> None:
    empty = Preparation.fit({}, [])
    assert empty.transform({}, rows=3).shape == empty.transform({"label": [1, 0, 1]}).shape == (3, 0)
    assert Preparation.from_json(empty.to_json()) == empty
    with pytest.raises(UsageError, match="give rows="):
        empty.transform({})
    with pytest.raises(UsageError, match="'x' has 2 values"):
        Preparation.fit({"x": [1, 2]}, [Numeric("x")]).transform({"x": [1, 2]}, rows=3)
    bank = replace(PART, party="bank", preparation=empty, coefficients=np.zeros(0), intercept=-2.0)
    assert ModelPart.from_json(bank.to_json()).score({}, rows=2).tolist() == [-2, -2]


def test_options_that_there_are_not() -> None:
    for wrong in (
        lambda: Numeric("x", missing="mode"),  # type: ignore[arg-type]
        lambda: Numeric("x", clip=(0.9, 0.1)),
        lambda: Numeric("x", fill=float("nan")),
        lambda: OneHot("x", unseen="guess"),  # type: ignore[arg-type]
        lambda: OneHot("x", missing="guess"),  # type: ignore[arg-type]
        lambda: OneHot("x", categories=("a", "a")),
        lambda: Preparation.fit({"x": [1, 2]}, [Numeric("x"), OneHot("x")]),
    ):
        with pytest.raises(UsageError):
            wrong()
    fitted = Preparation.fit({"x": [1, 2], "y": [1, 2]}, [Numeric("x"), Numeric("y")])
    with pytest.raises(UsageError, match="one length"):
        fitted.transform({"x": [1, 2], "y": [1]})


@given(st.lists(st.one_of(st.none(), st.floats(-1e12, 1e12)), min_size=1, max_size=20))
def test_no_column_makes_anything_but_finite_numbers(values: list[float | None]) -> None:
    table = {"x": values, "good": list(range(len(values))), "also": [1, *[0] * (len(values) - 1)]}
    try:
        fitted = Preparation.fit(table, [Numeric("x", missing="indicator"), Numeric("good"), Numeric("also")])
    except UsageError:
        assert len(values) == 1  # everything is constant
        return
    assert np.isfinite(fitted.transform(table)).all()


# Documents ------------------------------------------------------------------------------------------------------------

TABLE = {"age": [30.0, None, 50.0], "sex": ["f", "m", None], "income": [5, 15, None]}
PREPARATION = Preparation.fit(
    TABLE, [Numeric("age", missing="indicator", clip=(0.0, 1.0)), OneHot("sex", missing="category"), Woe(BINS)]
)
PART = ModelPart(
    model="0123456789abcdef",
    family="logistic",
    party="tax",
    label_party="bank",
    parties=("bank", "tax"),
    preparation=PREPARATION,
    coefficients=np.linspace(0.1, 1, len(PREPARATION.names)),
    intercept=None,
    shares=None,
    rows=3,
    iterations=9,
    converged=True,
    trained="2030-01-31T12:00:00Z",
)


@pytest.mark.parametrize("canonical", [False, True])
def test_a_part_survives_its_document_exactly(*, canonical: bool) -> None:
    document = PART.to_json()
    text = rfc8785.dumps(document).decode() if canonical else json.dumps(document, allow_nan=False)  # type: ignore[arg-type]
    read = ModelPart.from_json(json.loads(text))
    assert read.preparation == PREPARATION
    assert read.to_json() == document
    assert np.array_equal(read.score(TABLE), PART.score(TABLE))


K = len(PREPARATION.names)
SHARES = Shares(
    components=np.array([[0, 2**64 - 1, *range(K)]], dtype=np.uint64),
    fraction=26,
    compute=("bank", "tax"),
    owners=(("bank", 2), ("tax", K)),
    unit=0.5,
    kept=np.arange(K) > 0,
    centre=np.linspace(-1, 1, K),
    scale=np.ones(K),
)


@pytest.mark.parametrize("components", [SHARES.components, np.zeros((0, 0), np.uint64)])
def test_shares_of_a_model_survive_but_score_nothing(components: np.ndarray) -> None:  # type: ignore[type-arg]
    shares = replace(SHARES, components=components)
    part = replace(PART, coefficients=None, shares=shares)
    read = ModelPart.from_json(json.loads(json.dumps(part.to_json()))).shares
    assert read is not None
    for name, value in vars(shares).items():
        found = getattr(read, name)
        assert np.array_equal(found, value)
        assert not isinstance(value, np.ndarray) or (found.dtype, found.shape) == (value.dtype, value.shape)
    with pytest.raises(UsageError, match="score by a job"):
        part.score(TABLE)
    with pytest.raises(UsageError, match="makes 6 columns"):
        replace(part, shares=replace(shares, kept=shares.kept[1:]))


def test_scores_of_the_parts_add_up() -> None:
    bank = replace(PART, party="bank", intercept=-1.0)
    assert np.allclose(bank.score(TABLE), PART.score(TABLE) - 1)
    total = np.array([-800.0, 0.0, 800.0])
    assert bank.probability(total).tolist() == [0, 0.5, 1]
    assert mean_of("linear", total).tolist() == total.tolist()
    assert mean_of("gamma", np.zeros(1)).tolist() == [1]
    x = np.linspace(-5, 5, 11)
    assert np.allclose(mean_of("logistic", x), 1 / (1 + np.exp(-x)), rtol=1e-15)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("version",), "1"),
        (("format",), "unseen model"),
        (("model",), "0123"),
        (("family",), "probit"),
        (("party",), "stranger"),
        (("parties",), ["tax", "bank"]),
        (("parties",), "bank"),
        (("coefficients",), [1.0]),
        (("coefficients",), None),
        (("coefficients", 0), float("nan")),
        (("coefficients", 0), "1"),
        (("coefficients", 0), True),
        (("intercept",), 1.0),
        (("rows",), -1),
        (("rows",), 1.5),
        (("converged",), 1),
        (("trained",), "yesterday"),
        (("trained",), "2030-01-31T12:00:00"),
        (("extra",), 1),
        (("preparation", "version"), 3),
        (("preparation", "columns", 0, "kind"), "hash"),
        (("preparation", "columns", 0, "scale"), 0.0),
        (("preparation", "columns", 0, "low"), 1e9),
        (("preparation", "columns", 0, "fill"), "30"),
        (("preparation", "columns", 1, "categories"), ["f", "f"]),
        (("preparation", "columns", 1, "unseen"), "guess"),
        (("preparation", "columns", 1, "column"), "age"),
        (("preparation", "columns", 2, "bins", "edges"), [2.0, 1.0]),
        (("preparation", "columns", 2, "bins", "woe"), None),
        (("preparation", "notes"), [1]),
    ],
)
def test_documents_that_are_not_quite_right(path: tuple[str | int, ...], value: object) -> None:
    document = copy.deepcopy(PART.to_json())
    place: object = document
    for step in path[:-1]:
        place = place[step]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
    with pytest.raises(UsageError):
        ModelPart.from_json(document)


def test_documents_that_are_no_documents() -> None:
    for wrong in (None, [], "", {}, {"format": "unseen model part", "version": 1}):
        with pytest.raises(UsageError):
            ModelPart.from_json(wrong)
    document = replace(PART, coefficients=None, shares=SHARES).to_json()
    good = document["shares"]
    assert isinstance(good, dict)
    for wrong in (
        {"words": [["0" * 16]]}, {"words": [["g" * 16] * (K + 2)]}, {"words": "0"}, {"owners": [["bank", -1]]},
        {"owners": [["bank", True]]}, {"kept": [2] * K}, {"kept": [1]}, {"scale": [0.0] * K},
        {"unit": "1"}, {"more": 1},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            ModelPart.from_json(document | {"shares": good | wrong})
