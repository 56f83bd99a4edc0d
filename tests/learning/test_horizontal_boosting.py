"""Boosted trees over silos against XGBoost on the pooled rows' bins; who has which rows; who leaves; who is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xgboost

from mpc.channel import Traffic
from mpc.errors import ChannelClosed, PeerError, PolicyError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.learning.v1 import horizontal_boosting_pb2 as wire
from protocols import aggregation
from protocols.learning import boosting_terms, gradients, horizontal_boosting, silo_rows
from protocols.learning.forest import Forest
from protocols.learning.growing import Growing
from protocols.learning.horizontal_boosting import Fitted, Training
from protocols.learning.silo_rows import Given, Rows

Floats = np.ndarray
SMALL = boosting_terms.Training(n_estimators=2, max_depth=3, seed=1)


def over_silos(
    features: Floats,
    labels: Floats,
    training: Training,
    *,
    silos: int = 3,
    own: bool = False,
    weight: Floats | None = None,
    names: Sequence[str] = (),
    checkpoints: Mapping[str, Any] | None = None,
    programs: Mapping[str, Callable[[Session], Any]] | None = None,
    **options: Any,  # noqa: ANN401 - of run_parties
) -> dict[str, Any]:
    """Trees of the rows, cut into silos of unequal sizes; with `own`, the first is the aggregator's."""
    cuts = (len(features) * np.linspace(0, 1, silos + 1) ** 1.3).astype(int)
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    kept = checkpoints or {}

    def more(part: slice) -> dict[str, Any]:
        return {"training": training, "sample_weight": None if weight is None else weight[part], "names": names}

    def silo(part: slice) -> Callable[[Session], Fitted]:
        return lambda s: horizontal_boosting.fit(
            s, features[part], labels[part], aggregator="hub", checkpoint=kept.get(s.me), **more(part)
        )

    def hub(s: Session) -> Fitted:
        if not own:
            return horizontal_boosting.lead(s, training=training, checkpoint=kept.get("hub"))
        mine = features[parts[0]], labels[parts[0]]
        return horizontal_boosting.lead(s, mine, checkpoint=kept.get("hub"), **more(parts[0]))

    parties = {f"silo-{i}": silo(part) for i, part in enumerate(parts) if i or not own}
    return run_parties({"hub": hub, **parties, **(programs or {})}, protocol="learning.horizontal-boosting", **options)


def table(n: int = 1500, seed: int = 5) -> Floats:
    """Columns of many values and of few, all with missing values but the last."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[:, 1] = np.round(x[:, 1], 1)
    x[:, 2] = rng.integers(0, 4, n)
    x[:, :3][rng.random((n, 3)) < 0.1] = np.nan
    return x


def labelled(objective: str, x: Floats, seed: int = 6) -> Floats:
    rng = np.random.default_rng(seed)
    z = np.nan_to_num(x)
    eta = z[:, 0] + z[:, 1] ** 2 - 1 + z[:, 2] * (z[:, 3] > 0) / 2 + np.isnan(x[:, 0])
    if objective == "binary:logistic":
        return (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)
    if objective == "count:poisson":
        return rng.poisson(np.exp(eta / 2)).astype(float)
    if objective == "multi:softprob":
        return np.clip(np.round(eta + rng.normal(size=len(eta)) / 2), 0, 2)
    return 100 * eta + rng.normal(size=len(eta))


def same(results: Mapping[str, Fitted]) -> Fitted:
    """The model, once all parties have got the same."""
    first, *others = results.values()
    for other in others:
        assert other.model.digest() == first.model.digest()
        assert np.array_equal(other.history, first.history, equal_nan=True)
        assert (other.silos, other.notes) == (first.silos, first.notes)
    return first


def on_bins(model: Forest, x: Floats) -> xgboost.DMatrix:
    """The bins' numbers in place of the rows', so that XGBoost's bins are these."""
    codes = model.codes(x).astype(np.float32)
    for j, edges in enumerate(model.edges):
        codes[codes[:, j] == len(edges) + 1, j] = np.nan
    return codes


def by_xgboost(model: Forest, x: Floats, y: Floats, settings: boosting_terms.Training, **options: Any) -> Any:  # noqa: ANN401
    """XGBoost's trees on the same bins."""
    parameters: dict[str, Any] = {
        "objective": settings.objective,
        "tree_method": "hist",
        "max_bin": 256,
        "max_depth": settings.max_depth,
        "eta": settings.learning_rate,
        "lambda": settings.reg_lambda,
        "alpha": settings.reg_alpha,
        "gamma": settings.gamma,
        "min_child_weight": settings.min_child_weight,
        "base_score": model.base_score,
        "nthread": 1,
    }
    if settings.scale_pos_weight != 1:
        parameters["scale_pos_weight"] = settings.scale_pos_weight
    if settings.num_class:
        parameters["num_class"] = settings.num_class
    if settings.max_delta_step is not None:
        parameters["max_delta_step"] = settings.max_delta_step
    rows = xgboost.DMatrix(on_bins(model, x), y, weight=options.pop("weight", None))
    return xgboost.train(parameters, rows, settings.n_estimators, **options)


# XGBoost's trees ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        boosting_terms.Training(n_estimators=3, max_depth=4),
        boosting_terms.Training("count:poisson", n_estimators=3, max_depth=3, reg_alpha=0.5),
        boosting_terms.Training("multi:softprob", n_estimators=2, max_depth=3, num_class=3, learning_rate=0.1),
        boosting_terms.Training("reg:squarederror", n_estimators=3, max_depth=3, reg_lambda=7, gamma=2000),
        boosting_terms.Training(
            n_estimators=3, max_depth=3, scale_pos_weight=3, max_delta_step=0.5, min_child_weight=20
        ),
    ],
    ids=["binary", "poisson", "classes", "squares", "weighted"],
)
def test_trees_are_xgboosts_on_the_same_bins(settings: boosting_terms.Training) -> None:
    x = table()
    y = labelled(settings.objective, x)
    weight = None if settings.scale_pos_weight == 1 else np.random.default_rng(1).integers(0, 4, len(x)) / 2
    results = over_silos(x, y, Training(settings, minimum_cell=0), weight=weight, own=settings.num_class is None)
    found = same(results)
    model = found.model
    wanted = by_xgboost(model, x, y, settings, weight=weight)
    # XGBoost adds up float32 numbers, row after row; ours are exact.
    margins = wanted.predict(xgboost.DMatrix(on_bins(model, x)), output_margin=True)
    assert np.allclose(model.margins(x), margins, rtol=1e-5, atol=1e-5)
    weights = {f"f{j}": n for j, n in enumerate(model.importance("weight")) if n}
    assert weights == wanted.get_score(importance_type="weight")
    for kind in ("gain", "cover"):
        score = wanted.get_score(importance_type=kind)
        assert np.allclose([score.get(f"f{j}", 0) for j in range(4)], model.importance(kind), rtol=1e-3)
    assert model.rounds == settings.n_estimators == len(found.history)
    assert model.rows == (len(x) if weight is None else (weight > 0).sum())
    measured = gradients.metric(settings, np.atleast_2d(model.margins(x).astype(float).T).T, y, weight)
    assert found.history[-1][0] == pytest.approx(measured, rel=1e-9)
    assert math.isnan(found.history[-1][1])
    assert {fitted.learned for fitted in results.values()} == set(horizontal_boosting.OPERATOR.learns.values())

    loaded = xgboost.Booster(model_file=bytearray(model.to_xgboost()))
    rows = xgboost.DMatrix(x, feature_names=list(model.names))
    assert np.allclose(loaded.predict(rows, output_margin=True), model.margins(x), rtol=3e-7, atol=1e-7)
    assert np.allclose(loaded.predict(rows), model.predict(x), rtol=1e-5)
    assert Forest.from_json(json.loads(json.dumps(model.to_json()))).digest() == model.digest()


def alone(x: Floats, y: Floats, training: Training, model: Forest) -> Forest:
    """The same bins and one process that has all rows: nothing is added up but at one place."""
    settings = training.trees
    rows = Rows(Given.of(x, y, settings, None, None), settings, counted=training.minimum_cell > 0)
    missing = np.isnan(x).sum(axis=0)
    kinds = np.where(missing == 0, 0, np.where(missing < training.minimum_cell, 2, 1))
    binning = silo_rows.Binning(model.edges, kinds)
    rows.begin(binning, model.base_margins, (), b"")
    trees = []
    for number in range(settings.n_estimators):
        sums = silo_rows.wide.decode(rows.answer(wire.SilosRound(number=number)))
        bits = [52 - len(binning.usable).bit_length() - math.frexp(size)[1] for size in sums[4:]]
        for output in range(settings.outputs):
            question = wire.SilosGrow(output=output, gradient_bits=bits[0], hessian_bits=bits[1])
            growing = Growing(settings, training.minimum_cell, question, binning.usable, binning)
            made: list[Any] = []
            for _ in range(settings.max_depth):
                if not (asked := growing.asked()):
                    break
                splits = np.array(made).reshape(-1, 6)
                assert growing.take(asked, rows.answer(question, splits, np.array(asked), binning.usable))
                made = growing.split()
            trees.append(growing.tree())
            rows.take(trees[-1], output)
    return replace(model, trees=tuple(trees))


@pytest.mark.parametrize("objective", ["binary:logistic", "reg:squarederror"])
def test_who_has_which_rows_changes_nothing(objective: str) -> None:
    x = table(600)
    y, training = labelled(objective, x), Training(replace(SMALL, objective=objective))
    found = same(over_silos(x, y, training))
    assert alone(x, y, training, found.model).digest() == found.model.digest()
    order = np.argsort(y, kind="stable")  # one silo has the smallest labels, or one class alone
    for silos, own, rows in ((5, True, slice(None)), (3, False, order)):
        again = same(over_silos(x[rows], y[rows], training, silos=silos, own=own))
        assert again.model.digest() == found.model.digest()


def test_rows_and_columns_are_drawn() -> None:
    x = table(900)
    y = labelled("binary:logistic", x)
    part = replace(SMALL, n_estimators=4, max_depth=2, subsample=0.5, colsample_bytree=0.5)
    found = same(over_silos(x, y, Training(part)))
    for tree in found.model.trees:
        assert len(set(tree.column[tree.inner].tolist())) <= 2
    assert 0.4 < found.model.trees[0].cover[0] / (len(x) * y.mean() * (1 - y.mean())) < 0.6
    assert len({tree.column[0] for tree in found.model.trees}) > 1
    assert same(over_silos(x, y, Training(part))).model.digest() == found.model.digest()
    other = same(over_silos(x, y, Training(replace(part, seed=None))))
    assert other.model.digest() != found.model.digest()


def test_early_stopping_by_rows_of_all_silos() -> None:
    x = table(900)
    y = labelled("binary:logistic", x)
    settings = replace(
        SMALL, n_estimators=30, max_depth=4, learning_rate=1, validation_rows=60, early_stopping_rounds=2
    )
    found = same(over_silos(x, y, Training(settings, minimum_cell=0)))
    cuts = (900 * np.linspace(0, 1, 4) ** 1.3).astype(int)
    aside = np.zeros(900, dtype=bool)
    for cut in cuts[1:]:
        aside[cut - 60 : cut] = True
    rows = xgboost.DMatrix(on_bins(found.model, x[aside]), y[aside])
    measured: dict[str, Any] = {}
    by_xgboost(
        found.model,
        x[~aside],
        y[~aside],
        settings,
        evals=[(rows, "aside")],
        early_stopping_rounds=2,
        evals_result=measured,
        verbose_eval=False,
    )
    losses = measured["aside"]["logloss"]
    assert np.allclose([one for _, one in found.history], losses, rtol=1e-5)
    assert found.model.rounds == 1 + int(np.argmin(losses)) == len(losses) - 2
    assert found.model.rows == 900 - aside.sum()


def test_no_bin_and_no_leaf_has_few_rows() -> None:
    x = table(400)
    x[:, 3] = np.where(np.arange(400) % 50 == 0, 1, 0)  # 8 rows
    x[:, 1] = np.where(np.arange(400) % 80 == 0, np.nan, x[:, 3] + np.arange(400) % 7)  # 5 are missing
    y = labelled("reg:squarederror", x)
    settings = replace(SMALL, objective="reg:squarederror", max_depth=6, min_child_weight=0)
    found = same(over_silos(x, y, Training(settings)))
    assert found.notes == ("Columns 'f3' have one value in all rows but a few: no tree splits them.",)
    codes = found.model.codes(x)
    for j, edges in enumerate(found.model.edges):
        numeric = np.bincount(codes[:, j], minlength=len(edges) + 2)[: len(edges) + 1]
        assert numeric.min() >= 10 - (j == 1) * 5
    for tree in found.model.trees:
        ends = replace(tree, weight=np.arange(len(tree.left), dtype=np.float32))
        reached = ends.margins(codes, np.array([len(edges) + 1 for edges in found.model.edges]))
        assert np.unique(reached, return_counts=True)[1].min() >= 10
        assert tree.missing_left[tree.inner][tree.column[tree.inner] == 1].all()
    assert alone(x, y, Training(settings), found.model).digest() == found.model.digest()


def test_awkward_silos() -> None:
    """One silo misses a column that others have, one has one class alone and one row in some nodes, or one value."""
    x = table(900)
    y = labelled("binary:logistic", x)
    cuts = (900 * np.linspace(0, 1, 4) ** 1.3).astype(int)
    x[: cuts[1], 0] = np.nan
    x[cuts[1] : cuts[2], 3] = 7.5
    y[: cuts[1]] = 1
    weight = np.ones(900)
    x[700, 3], weight[700] = np.nan, 0  # the only row that misses it, and it does not count
    found = same(over_silos(x, y, Training(SMALL, minimum_cell=0), weight=weight))
    wanted = by_xgboost(found.model, x, y, SMALL, weight=weight)
    assert np.allclose(found.model.predict(x), wanted.predict(xgboost.DMatrix(on_bins(found.model, x))), atol=1e-5)


def test_nothing_left_to_learn() -> None:
    x = table(90)
    found = same(over_silos(x, np.full(90, 3.0), Training(replace(SMALL, objective="reg:squarederror"))))
    assert found.model.rounds == 0
    assert found.model.predict(x[:2]).tolist() == [3, 3]


# Going on -------------------------------------------------------------------------------------------------------------


class _Kept:
    """Two points, as a node keeps them; `breaks` after so many rounds."""

    def __init__(self, breaks: int = -1) -> None:
        self.points: list[tuple[int, bytes]] = []
        self.breaks = breaks

    def save(self, step: int, state: bytes) -> None:
        self.points = [*self.points, (step, state)][-2:]
        if step == self.breaks:
            raise _Leaves

    def load(self) -> list[tuple[int, bytes]]:
        return self.points


class _Leaves(Exception):
    pass


@pytest.mark.parametrize("where", ["hub", "silo-1"])
def test_a_training_that_breaks_off_goes_on(where: str) -> None:
    x = table(900)
    y = labelled("binary:logistic", x)
    settings = replace(SMALL, n_estimators=3, subsample=0.7, colsample_bytree=0.7)
    whole = same(over_silos(x, y, Training(settings)))
    kept = {name: _Kept(2 if name == where else -1) for name in ("hub", "silo-0", "silo-1", "silo-2")}
    with pytest.raises(_Leaves):
        over_silos(x, y, Training(settings), checkpoints=kept)
    assert kept[where].points[-1][0] == 2
    kept[where].breaks = -1
    again = same(over_silos(x, y, Training(settings), checkpoints=kept))
    assert again.model.digest() == whole.model.digest()
    assert np.array_equal(again.history, whole.history, equal_nan=True)
    with pytest.raises(UsageError, match="a training with other settings or other data: begin with an empty one"):
        over_silos(x + 1, y, Training(settings), checkpoints=kept)


def test_a_silo_without_its_points_begins_all_anew() -> None:
    x = table(600)
    y = labelled("binary:logistic", x)
    kept = {name: _Kept() for name in ("hub", "silo-0", "silo-1", "silo-2")}
    first = same(over_silos(x, y, Training(SMALL), checkpoints=kept))
    kept["silo-1"] = _Kept()
    assert same(over_silos(x, y, Training(SMALL), checkpoints=kept)).model.digest() == first.model.digest()


def test_other_silos_begin_anew() -> None:
    x = table(600)
    y, training = labelled("binary:logistic", x), Training(replace(SMALL, max_depth=2))
    kept = {name: _Kept() for name in ("hub", "silo-0", "silo-1", "silo-2")}

    def more(s: Session) -> Fitted:
        return horizontal_boosting.fit(s, x + 1, y, aggregator="hub", training=training, checkpoint=_Kept())

    four = over_silos(x, y, training, checkpoints=kept, programs={"more": more})
    three = same(over_silos(x, y, training, checkpoints=kept))
    assert three.silos == ("silo-0", "silo-1", "silo-2")
    assert four["hub"].model.rows == 2 * three.model.rows == 1200
    assert three.model.digest() == same(over_silos(x, y, training)).model.digest()


# Silos that leave -----------------------------------------------------------------------------------------------------


def leaving(x: Floats, y: Floats, training: Training, question: int) -> Callable[[Session], None]:
    """A silo that is gone once the aggregator has asked it so many questions."""

    def program(s: Session) -> None:
        contribute, left = aggregation.contribute, [question]

        def counted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            if arguments[0].me == "gone":
                left[0] -= 1
                if left[0] < 0:
                    s.channel("hub").close("gone")
            return contribute(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aggregation, "contribute", counted)
            with pytest.raises(ChannelClosed):
                horizontal_boosting.fit(s, x, y, aggregator="hub", training=training)

    return program


@pytest.mark.parametrize("question", [0, 9])
def test_without_a_silo_that_leaves_the_model_is_that_of_those_left(question: int) -> None:
    x = table(600)
    y = labelled("binary:logistic", x)
    training = Training(replace(SMALL, max_depth=2), leavers="without")
    results = over_silos(x, y, training, programs={"gone": leaving(x[:100] + 1, y[:100], training, question)})
    assert results.pop("gone") is None
    found = same(results)
    assert found.silos == ("silo-0", "silo-1", "silo-2")
    assert found.model.digest() == same(over_silos(x, y, training)).model.digest()


def test_who_leaves_ends_the_fit() -> None:
    x = table(900)
    y, training, ended = labelled("binary:logistic", x), Training(SMALL), {}

    def kept(s: Session) -> None:
        try:
            if s.me == "hub":
                horizontal_boosting.lead(s, training=training)
            else:
                horizontal_boosting.fit(s, x, y, aggregator="hub", training=training)
        except PolicyError as error:
            ended[s.me] = error.code

    parties = dict.fromkeys(("hub", "silo-0", "silo-1"), kept)
    run_parties({**parties, "gone": leaving(x, y, training, 7)})
    assert ended == dict.fromkeys(parties, "silo-left")


# Who is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ("class", PolicyError, r"\[small-class\]"),
        ("one class", UsageError, "all rows are of one class"),
        ("rows", PolicyError, r"\[result-too-small\]"),
        ("weight", UsageError, "all rows have weight 0"),
        ("silos", PolicyError, r"\[few-silos\]"),
        ("events", UsageError, "all labels are 0"),
        ("columns", UsageError, "every column has the same value"),
        ("validation", UsageError, "early stopping has no rows to validate on"),
        ("few validation", PolicyError, r"\[few-validation-rows\]"),
        ("far", UsageError, "losses are not finite"),
    ],
)
def test_refusals_reach_all(change: str, kind: type[Exception], text: str) -> None:
    x, settings = table(300), SMALL
    y, more, options = labelled("binary:logistic", x), {}, {}
    if change == "class":
        y = (np.arange(300) % 100 == 0).astype(float)
    elif change == "one class":
        y[:] = 1
    elif change == "rows":
        options = {"minimum_rows": 301}
    elif change == "weight":
        more = {"weight": np.zeros(300)}
    elif change == "silos":
        options = {"minimum": 4}
    elif change == "events":
        settings, y = replace(settings, objective="count:poisson"), np.zeros(300)
    elif change == "columns":
        x = np.column_stack([np.ones(300), np.full(300, np.nan), np.arange(300) > 293])
    elif change == "validation":
        settings = replace(settings, validation_rows=1, early_stopping_rounds=1)
        more = {"weight": np.ones(300)}
        for last in (70, 176, 299):
            more["weight"][last] = 0
    elif change == "few validation":
        settings = replace(settings, validation_rows=3)
    elif change == "far":
        settings = replace(settings, objective="count:poisson", base_score=1e-7, max_delta_step=0.0, reg_lambda=0)
        settings, y = replace(settings, learning_rate=1, min_child_weight=0), np.full(300, 9e5)
    seen: list[str] = []

    def watched(function: Callable[..., Fitted]) -> Callable[..., Fitted]:
        def call(*arguments: Any, **named: Any) -> Fitted:  # noqa: ANN401
            try:
                return function(*arguments, **named)
            except Exception as error:
                seen.append(str(error))
                raise

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(horizontal_boosting, "fit", watched(horizontal_boosting.fit))
        patch.setattr(horizontal_boosting, "lead", watched(horizontal_boosting.lead))
        with pytest.raises(kind, match=text):
            over_silos(x, y, Training(settings, **options), **more)
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_all_have_to_say_the_same() -> None:
    x = table(120)
    y = labelled("binary:logistic", x)

    def other(*, features: Floats = x[:50], names: Sequence[str] = (), **options: Any) -> Callable[[Session], Fitted]:  # noqa: ANN401
        training = Training(replace(SMALL, **options))
        return lambda s: horizontal_boosting.fit(s, features, y[:50], aggregator="hub", training=training, names=names)

    cases: list[tuple[Any, str]] = [
        (other(max_depth=4), "one max_depth at all silos: 3 here, 4 there"),
        (other(features=x[:50, :2]), "one number of columns at all silos: 4 here, 2 there"),
        (other(names=["a", "b", "c", "d"]), "one list of columns, in one order, at all silos"),
    ]
    for program, text in cases:
        with pytest.raises(PeerError, match=text):
            over_silos(x, y, Training(SMALL), own=True, programs={"silo-1": program})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("infinite", r"Column 2 has a number that is infinite"),
        ("text", "Features are an"),
        ("labels", "labels are the 2 classes 0 to 1"),
        ("missing label", "labels has missing"),
        ("weights", "sample_weight is not negative"),
        ("names", "There are 4 columns: give each a name of its own"),
        ("validation", "validation_rows leaves none of the 50 rows"),
        ("no rows", "A silo without rows takes no part"),
        ("no columns", "There are 0 columns"),
    ],
)
def test_bad_rows_at_one_silo(change: str, text: str) -> None:
    x = table(50)
    y, more = labelled("binary:logistic", x), {}
    if change == "infinite":
        x[7, 2] = -np.inf
    elif change == "text":
        x = x.astype(str)
    elif change == "labels":
        y = y + 1
    elif change == "missing label":
        y[3] = np.nan
    elif change == "weights":
        more = {"sample_weight": -np.ones(50)}
    elif change == "names":
        more = {"names": ["a", "b", "a", "c"]}
    elif change == "validation":
        more = {"validation_rows": 50}
    elif change == "no rows":
        x, y = x[:0], y[:0]
    else:
        x = x[:, :0]

    def silo(s: Session) -> None:
        with pytest.raises(UsageError, match=text):
            horizontal_boosting.fit(s, x, y, aggregator="hub", **more)

    def hub(s: Session) -> None:
        with pytest.raises(ChannelClosed, match="silo left the fit"):
            s.channel("silo").recv(wire.SilosJoin)

    run_parties({"hub": hub, "silo": silo})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"minimum": 1}, "2 silos at least"),
        ({"minimum_cell": -1}, "0 or more"),
        ({"minimum_rows": -1}, "0 or more"),
        ({"max_bins": 1}, "max_bins is 2 to"),
        ({"leavers": "stay"}, "'refuse' or 'without'"),
        ({"trees": boosting_terms.Training(privacy="strict")}, "Over silos there is one mode"),
    ],
)
def test_options_that_there_are_not(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Training(**options)


def test_the_lead_checks_its_own() -> None:
    with pytest.raises(UsageError, match="of one's own rows"):
        run_parties({"hub": lambda s: horizontal_boosting.lead(s, sample_weight=[1.0])})
    with pytest.raises(UsageError, match="rot13"):
        run_parties({"hub": lambda s: horizontal_boosting.lead(s, suite="rot13")})


# What is sent ---------------------------------------------------------------------------------------------------------


def test_cost() -> None:
    x = table(900)
    y, spent = labelled("binary:logistic", x), {}
    settings = replace(SMALL, n_estimators=3, max_depth=2)

    def program(part: slice) -> Callable[[Session], Fitted]:
        def run(s: Session) -> Fitted:
            fitted = horizontal_boosting.fit(s, x[part], y[part], aggregator="hub", training=Training(settings))
            spent[s.me] = s.channel("hub").traffic
            return fitted

        return run

    sums: list[int] = []
    collect = aggregation.collect

    def counting(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        result = collect(*arguments, **options)
        sums.append(result.values.size)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregation, "collect", counting)
        programs = {f"silo-{i}": program(slice(300 * i, 300 * i + 300)) for i in range(3)}
        model = over_silos(x, y, Training(settings), programs=programs)["hub"].model
    searched = sums[1:6]
    assert sums[0] == 4 * (5 + 2 + 4)
    assert searched[0] == 4 * 256
    assert all(size <= 4 * 32 * 64 for size in searched)
    bins = sum(len(edges) + 1 for edges in model.edges) + 3
    assert sums[6:] == [24, 3 * bins, 3 * bins] * 3 + [24]
    for traffic in spent.values():
        assert isinstance(traffic, Traffic)
        assert 8 * sum(sums) < traffic.bytes_sent < 8 * sum(sums) + 1000 * len(sums) + 2500
        assert traffic.rounds == 4 * len(sums) + 1


def test_a_changed_bit_of_what_a_silo_says() -> None:
    x = table(120)
    with pytest.raises(PeerError):
        over_silos(x, labelled("binary:logistic", x), Training(SMALL), tamper={("silo-1", "hub"): Tamper(0, -9)})


@pytest.mark.parametrize("message", [3, 7, 31])
def test_a_changed_bit_of_numbers_under_masks(message: int) -> None:
    """The highest bit of the last number of a sum: of its sign, far away."""
    x = table(300)
    with pytest.raises(PolicyError, match=r"sums came out that no rows have.*\[spoilt\]"):
        over_silos(
            x, labelled("binary:logistic", x), Training(SMALL), tamper={("silo-1", "hub"): Tamper(message, bit=7)}
        )


class _Hub:
    """An aggregator that follows a script; where a silo would add to a sum, it does not."""

    def __init__(self, *script: Any) -> None:  # noqa: ANN401
        self._script = script

    def __call__(self, s: Session) -> None:
        channel = s.channel("silo")
        channel.recv(wire.SilosJoin)
        for header, *arrays in self._script:
            channel.send(header, *arrays)
        with pytest.raises((ChannelClosed, PeerError)):
            channel.recv(wire.SilosJoin)


ID = bytes(16)
BEGIN = (wire.SilosBegin(silos=3, run=ID, attempt=ID),)
U2, U1, U4 = (np.empty(0, dtype=kind) for kind in (np.uint16, np.uint8, np.uint32))
COUNTED = [BEGIN, (wire.SilosCount(),)]


def bins(
    edges: Sequence[float] = (0, 1, 2, 3), inner: Sequence[int] = (1, 1, 1, 1), *, base: float = 0.5, missing: int = 1
) -> Any:  # noqa: ANN401
    return (
        wire.SilosBins(base_score=base, rows=9),
        np.array(edges, dtype=np.float32),
        np.array(inner, dtype=np.uint16),
        np.full(4, missing, dtype=np.uint8),
    )


def grow(
    splits: Sequence[int] = (),
    *,
    nodes: Sequence[int] = (0,),
    columns: Sequence[int] = (0, 1),
    bits: int = 9,
    output: int = 0,
) -> Any:  # noqa: ANN401
    return (
        wire.SilosGrow(output=output, gradient_bits=bits, hessian_bits=9),
        np.array(splits, dtype=np.uint32).reshape(-1, 6),
        np.array(nodes, dtype=np.uint32),
        np.array(columns, dtype=np.uint16),
    )


ROUND = (wire.SilosRound(number=0),)
TREE = (wire.SilosTree(), np.array([[0, 0, 0, 0, 0]], dtype=np.uint32), np.zeros((1, 3), dtype=np.float32))


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ([(wire.SilosBegin(silos=2, run=ID, attempt=ID),)], "at least 3 silos"),
        ([(wire.SilosBegin(silos=3, run=b"", attempt=ID),)], "names of 16 bytes"),
        ([(wire.SilosBegin(silos=3, run=ID, attempt=ID, begun={"attempt": ID, "round": 1}),)], "this silo has kept"),
        ([BEGIN] * 5, "a step that comes next"),
        ([BEGIN, (wire.SilosCells(level=0), U2, U4)], "a step that comes next"),
        ([BEGIN, bins()], "a step that comes next"),
        ([*COUNTED, (wire.SilosCells(level=1), U2, U4)], "a step that comes next"),
        ([*COUNTED, (wire.SilosCells(level=0), np.uint16([4]), np.uint32([0]))], "columns that there are"),
        ([*COUNTED, (wire.SilosCells(level=0), np.uint16([3]), np.uint32([1]))], "columns that there are"),
        ([*COUNTED, (wire.SilosCells(level=0), U2, U4)], "some cells"),
        ([*COUNTED, bins(inner=(1, 1, 1, 2))], "bins of 4 columns"),
        ([*COUNTED, bins(edges=(0, 2, 1, 3), inner=(0, 3, 0, 1))], "finite edges that increase"),
        ([*COUNTED, bins(edges=(), inner=(0, 0, 0, 0), missing=2)], "a column that can be split"),
        ([*COUNTED, bins(base=2)], "a base score"),
        ([*COUNTED, bins(missing=0)], "a bin for missing values"),
        ([*COUNTED, bins(), grow()], "a step that comes next"),
        ([*COUNTED, bins(), (wire.SilosRound(number=1),)], "a step that comes next"),
        ([*COUNTED, bins(), (wire.SilosFitted(),)], "a step that comes next"),
        ([*COUNTED, bins(), ROUND, TREE], "a step that comes next"),
        ([*COUNTED, bins(), ROUND, (wire.SilosMetric(),)], "a step that comes next"),
        ([*COUNTED, bins(), ROUND, grow(output=1)], "a step that comes next"),
        ([*COUNTED, bins(), ROUND, grow(columns=(1, 0))], "columns that can be split"),
        ([*COUNTED, bins(), ROUND, grow(columns=(4,))], "columns that can be split"),
        ([*COUNTED, bins(), ROUND, grow(nodes=(1,))], "nodes that there are"),
        ([*COUNTED, bins(), ROUND, grow(nodes=())], "sums of 1 to"),
        ([*COUNTED, bins(), ROUND, grow(bits=60)], "units in which sums fit"),
        ([*COUNTED, bins(), ROUND, grow(bits=5000)], "units in which sums fit"),
        ([*COUNTED, bins(), ROUND, grow(splits=[0, 1, 2, 0, 0, 0], nodes=(1,))], "splits of a level"),
        ([*COUNTED, bins(), ROUND, grow(), grow(splits=[0, 1, 1, 0, 0, 0], nodes=(1,))], "nodes that there are"),
        ([*COUNTED, bins(), ROUND, grow(), grow(splits=[0, 1, 2, 0, 2, 0], nodes=(1,))], "nodes that there are"),
        ([*COUNTED, bins(), ROUND, grow(), grow(splits=[0, 1, 2, 9, 0, 0], nodes=(1,))], "columns that there are"),
        ([*COUNTED, bins(), ROUND, grow(), (TREE[0], np.uint32([[1, 1, 0, 0, 0]]), TREE[2])], "a tree of these"),
        ([*COUNTED, bins(), ROUND, grow(), (TREE[0], TREE[1], np.float32([[np.nan, 0, 0]]))], "a tree of these"),
        ([*COUNTED, bins(), ROUND, grow(), TREE, (wire.SilosMetric(training=math.nan),)], "a step that comes next"),
        ([*COUNTED, bins(), ROUND, (wire.SilosFitted(rounds=1, silos=["silo"]),)], "rounds that there were"),
        ([*COUNTED, bins(), ROUND, (wire.SilosFitted(silos=["other"]),)], "this one of them"),
        ([(wire.SilosRefused(code="bored"),)], "a reason that there is"),
    ],
)
def test_what_an_aggregator_cannot_say(script: Sequence[Any], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = table(60)
    monkeypatch.setattr(aggregation, "contribute", lambda *_, **__: None)

    def silo(s: Session) -> None:
        with pytest.raises(PeerError, match=text):
            horizontal_boosting.fit(s, x, labelled("binary:logistic", x), aggregator="hub", training=Training(SMALL))

    run_parties({"hub": _Hub(*script), "silo": silo})
