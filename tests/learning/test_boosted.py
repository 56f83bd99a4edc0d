"""A party's part of boosted trees: its document, importance, what margins mean, and parts that do not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning import trees
from protocols.learning.binned import Cuts
from protocols.learning.boosted import BoostedPart, Objective, mean_of
from protocols.learning.trees import Inner, Leaf, OwnNode, PartTree, Shape
from tests.learning.test_trees import Grown, grow

MODEL, TRAINING = "00c0ffee00c0ffee", "5eed" * 8
PARTIES = ("bank", "tax", "telecom")


def table_of(party: str, n: int = 200) -> dict[str, NDArray[np.float64]]:
    """Two columns of numbers of any of the parties; the first of them has missing values."""
    rng = np.random.default_rng(len(party))
    first = rng.normal(size=n)
    first[::7] = np.nan
    return {f"{party} first": first, f"{party} second": rng.integers(9, size=n).astype(np.float64)}


def model_of(
    parties: tuple[str, ...] = PARTIES[:2],
    *,
    classes: int = 1,
    rounds: int = 3,
    depth: int = 4,
    seed: int = 0,
    shapes: bool = False,
) -> tuple[dict[str, BoostedPart], list[Grown]]:
    """A model of random trees, whose label party is the first; and the trees, to walk down."""
    rng = np.random.default_rng(seed)
    binning = {name: Cuts.fit(table_of(name), max_bins=8) for name in parties}
    know = parties if shapes else parties[:1]
    sizes = {name: cuts.sizes for name, cuts in binning.items()}
    grown = [grow(rng, sizes, depth=depth, know=know) for _ in range(classes * rounds)]
    objective: Objective = "multi:softprob" if classes > 1 else "binary:logistic"
    parts = {
        name: BoostedPart.of(
            [tree.parts[name] for tree in grown],
            binning[name],
            party=name,
            label_party=parties[0],
            parties=parties,
            objective=objective,
            base_score=-0.375,
            model=MODEL,
            training=TRAINING,
            rows=200,
            trained="2030-01-31T12:00:00Z",
            classes=classes,
        )
        for name in parties
    }
    return parts, grown


def in_the_clear(
    parts: Mapping[str, BoostedPart], grown: list[Grown], tables: Mapping[str, Mapping[str, NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """(n,) or (n, classes): margins by walks down the joined trees."""
    coded = {name: part.coded(tables[name]) for name, part in parts.items()}
    codes = {name: one.codes for name, one in coded.items()}
    missing = {name: one.missing_code for name, one in coded.items()}
    classes = next(iter(parts.values())).classes
    walked = np.stack([tree.walk(codes, missing) for tree in grown])
    base = next(part.base_score for part in parts.values() if part.base_score is not None)
    margins = base + walked.reshape(-1, classes, walked.shape[1]).sum(axis=0).T
    return margins[:, 0] if classes == 1 else margins


@pytest.mark.parametrize("classes", [1, 3])
def test_a_document_gives_the_part_again(classes: int) -> None:
    parts, _ = model_of(classes=classes)
    for part in parts.values():
        text = json.dumps(part.to_json(), allow_nan=False)
        read = BoostedPart.from_json(json.loads(text))
        assert json.dumps(read.to_json()) == text
        assert read.trees == part.trees
        table = table_of(part.party)
        np.testing.assert_array_equal(read.coded(table).codes, part.coded(table).codes)


def test_a_part_has_nothing_of_another_party() -> None:
    parts, grown = model_of()
    tax = json.dumps(parts["tax"].to_json())
    assert parts["tax"].base_score is None
    assert "bank first" not in tax
    assert not any(str(weight) in tax for tree in grown for weight in tree.weights.values())
    bank = json.dumps(parts["bank"].to_json())
    assert "tax first" not in bank


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 1: read it by the version"),
        ({"format": "unseen model part"}, "This is no unseen boosted part"),
        ({"surplus": 1}, "unknown"),
        ({"objective": "rank:pairwise"}, "objective is not known"),
        ({"model": "x"}, "16 hexadecimal digits"),
        ({"training": "../x"}, "16 to 64"),
        ({"trees": []}, "at least one tree"),
        ({"trees": [1]}, "a tree of a model"),
        ({"classes": 2}, "multi:softprob has 2"),
        ({"objective": "multi:softprob", "classes": 2}, "a tree for each class"),
        ({"base_score": None}, "base score"),
        ({"base_score": 2.0**20}, "number below"),
        ({"party": "tax"}, "other nodes of tax|base score"),
        ({"party": "court"}, "named once each"),
        ({"parties": ["bank", "court"]}, "does not name"),
        ({"trained": "yesterday"}, "a time with its zone"),
    ],
)
def test_what_is_no_part_is_refused(change: dict[str, object], says: str) -> None:
    parts, _ = model_of()
    document = parts["bank"].to_json() | change
    with pytest.raises(UsageError, match=says):
        BoostedPart.from_json(json.loads(json.dumps(document)))


def test_a_binning_of_another_training_is_refused() -> None:
    parts, _ = model_of()
    narrow = Cuts.fit({"tax first": [0.0, 1.0]})
    with pytest.raises(UsageError, match="the parts are mixed up"):
        replace(parts["tax"], binning=narrow)


def test_columns_that_later_tables_lack_are_named() -> None:
    parts, _ = model_of()
    with pytest.raises(UsageError, match="no column 'tax second'"):
        parts["tax"].coded({"tax first": [1.0]})


def test_a_model_without_the_weights_is_nobodys() -> None:
    parts, _ = model_of(shapes=True)
    bare = tuple(
        PartTree(tree.own, Shape(tree.shape.inner, tuple(Leaf(leaf.node) for leaf in tree.shape.leaves)))
        for tree in parts["bank"].trees
        if tree.shape is not None
    )
    with pytest.raises(UsageError, match="weights of the leaves"):
        replace(parts["bank"], trees=bare)
    with pytest.raises(UsageError, match="shapes of all"):
        replace(parts["bank"], trees=(parts["bank"].trees[0], *(PartTree(tree.own) for tree in bare[1:])))


def test_importance_is_of_the_own_columns_alone() -> None:
    shape = Shape(
        (Inner(0, "bank", 0), Inner(1, "tax", 0), Inner(2, "bank", 1)), tuple(Leaf(node, 0.5) for node in (3, 4, 5, 6))
    )
    own = (OwnNode(-1, False, 1, 2, False), OwnNode(0, False, 1, 0, False))
    parts, _ = model_of()
    part = BoostedPart.of(
        [PartTree(own, shape, covers=(30.0, 10.0))] * 2,
        parts["bank"].binning,
        party="bank",
        label_party="bank",
        parties=("bank", "tax"),
        objective="count:poisson",
        base_score=0.0,
        model=MODEL,
        training=TRAINING,
        rows=200,
        trained="2030-01-31T12:00:00Z",
        gains=[(3.0, 100.0, 1.0), (5.0, 100.0, 1.0)],
    )
    assert part.importance("weight") == {"bank first": 0.0, "bank second": 4.0}
    assert part.importance() == part.importance("gain") == {"bank first": 0.0, "bank second": 2.5}
    assert part.importance("cover") == {"bank first": 0.0, "bank second": 20.0}
    with pytest.raises(UsageError, match=r"the label party does. importance\('weight'\)"):
        parts["tax"].importance("gain")
    with pytest.raises(UsageError, match="kind is one of"):
        parts["tax"].importance("shap")  # type: ignore[arg-type]  # that is what is tested


def test_what_margins_mean() -> None:
    margins = np.array([-800.0, 0.0, 2.0])
    np.testing.assert_allclose(mean_of("binary:logistic", margins), [0.0, 0.5, 1 / (1 + np.exp(-2))])
    np.testing.assert_allclose(mean_of("count:poisson", margins), np.exp(margins))
    np.testing.assert_array_equal(mean_of("reg:squarederror", margins), margins)
    classes = mean_of("multi:softprob", np.array([[800.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(classes, [[1.0, 0.0], [0.5, 0.5]])


def test_what_is_missing_only_later_goes_to_the_right() -> None:
    parts, _ = model_of()
    coded = parts["tax"].coded({"tax first": [np.nan], "tax second": [np.nan]})
    assert coded.missing_code[1] == parts["tax"].sizes[1]
    assert not trees.goes_left(OwnNode(-1, False, 1, 3, False), coded.codes, coded.missing_code)[0]
    assert len(coded.rows(slice(0, 0))) == 0
