"""Boosted trees that one party has whole: documents, importance, thresholds as XGBoost reads them, and bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost

from mpc.errors import UsageError
from protocols.learning.forest import Forest, Tree

EDGES = tuple(np.array(edges, dtype=np.float32) for edges in ([-1, 0, 0.1], [5e-324, 1e30], []))


def tree(**changes: Any) -> Tree:  # noqa: ANN401 - of any attribute
    """The root splits a at 0; its left child numbers of b from missing values."""
    given = {
        "left": [1, 3, 0, 0, 0],
        "right": [2, 4, 0, 0, 0],
        "column": [0, 1, 0, 0, 0],
        "bin": [1, 2, 0, 0, 0],
        "missing_left": [True, False, False, False, False],
        "weight": [0, 0, 0.5, -0.25, 0.125],
        "gain": [4, 2, 0, 0, 0],
        "cover": [9, 6, 3, 2, 4],
    } | changes
    whole, real = ("left", "right", "column", "bin"), ("weight", "gain", "cover")
    return Tree(
        *(np.array(given[name], dtype=np.int32) for name in whole),
        np.array(given["missing_left"], dtype=bool),
        *(np.array(given[name], dtype=np.float32) for name in real),
    )


MODEL = Forest(
    "reg:squarederror",
    ("a", "b", "c"),
    (*EDGES[:1], np.array([0, 1e30], dtype=np.float32), EDGES[2]),
    2.0,
    (tree(),),
    7,
)
ROWS = np.array(
    [[0, 3, 0], [np.nextafter(np.float32(0), 1), 3, 0], [-5, np.nan, 1], [np.nan, 1e38, 2], [np.nan, np.nan, 3]]
)


def test_where_rows_go() -> None:
    assert MODEL.predict(ROWS).tolist() == [1.75, 2.5, 2.125, 1.75, 2.125]
    assert MODEL.codes(ROWS)[:, 1].tolist() == [1, 1, 3, 2, 3]
    booster = xgboost.Booster(model_file=bytearray(MODEL.to_xgboost()))
    rows = xgboost.DMatrix(ROWS, feature_names=list("abc"))
    assert np.array_equal(booster.predict(rows), MODEL.margins(ROWS))
    assert MODEL.importance("gain").tolist() == [4, 2, 0]
    assert MODEL.importance("weight").tolist() == [1, 1, 0]
    assert booster.get_score(importance_type="cover") == {"a": 9, "b": 6}
    assert MODEL.importance("cover").tolist() == [9, 6, 0]
    assert MODEL.first(0).predict(ROWS[:1]).tolist() == [2]


def test_documents() -> None:
    document = json.loads(json.dumps(MODEL.to_json()))
    again = Forest.from_json(document)
    assert again.digest() == MODEL.digest()
    assert again.to_xgboost() == MODEL.to_xgboost()
    assert replace(MODEL, rows=8).digest() != MODEL.digest()


def _set(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update({name: value})


def _node(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["trees"][0].update({name: value})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set("version", 2), "no unseen forest of version 1"),
        (_set("more", 1), "unknown"),
        (_set("objective", "rank:ndcg"), "no such objective"),
        (_set("objective", "binary:logistic"), "base_score is a probability"),
        (_set("objective", "multi:softprob"), "one tree for each of several classes"),
        (_set("classes", 2), "one tree for each of several classes"),
        (_set("names", ["a", "a", "c"]), "a name of its own"),
        (_set("edges", [[0], [1]]), "a name of its own"),
        (_set("edges", [[1, 0], [0], []]), "increase"),
        (_set("edges", [[0, 1e-60], [0], []]), "increase"),
        (_set("edges", [["x"], [0], []]), "finite numbers"),
        (_set("edges", [[], [], []]), "does not fit the columns"),
        (_node("left", [1, 3, 0, 0]), "does not fit"),
        (_node("left", [1, 1, 0, 0, 0]), "does not fit"),
        (_node("left", [1, 0, 0, 0, 0]), "does not fit"),
        (_node("right", [2, 9, 0, 0, 0]), "does not fit"),
        (_node("left", [0.5, 3, 0, 0, 0]), "whole numbers"),
        (_node("column", [3, 1, 0, 0, 0]), "does not fit"),
        (_node("bin", [4, 2, 0, 0, 0]), "does not fit"),
        (_node("missing_left", [1, 0, 0, 0, 0]), "true or false"),
        (_node("weight", [0, 0, 1e39, 0, 0]), "does not fit"),
    ],
)
def test_bad_documents(change: Callable[[dict[str, Any]], object], text: str) -> None:
    document = json.loads(json.dumps(MODEL.to_json()))
    change(document)
    with pytest.raises(UsageError, match=text):
        Forest.from_json(document)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="of 3 columns, and these are 2"):
        MODEL.predict(ROWS[:, :2])
    with pytest.raises(UsageError, match="infinite"):
        MODEL.predict(np.full((1, 3), np.inf))
    with pytest.raises(UsageError, match="not 'splits'"):
        MODEL.importance("splits")  # type: ignore[arg-type]
