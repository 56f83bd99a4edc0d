"""Regression over silos against scikit-learn on the pooled rows; awkward columns; who leaves; who is refused; cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import GammaRegressor, LinearRegression, LogisticRegression, PoissonRegressor, Ridge

from mpc.channel import Traffic
from mpc.errors import ChannelClosed, PeerError, PolicyError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.learning.v1 import horizontal_pb2 as wire
from protocols import aggregation
from protocols.learning import glm, horizontal
from protocols.learning.horizontal import Fitted, Training

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "uci_credit_card.csv"
Floats = np.ndarray


def pooled(
    features: Floats,
    labels: Floats,
    training: Training,
    *,
    silos: int = 3,
    own: bool = False,
    weight: Floats | None = None,
    offset: Floats | None = None,
    programs: Mapping[str, Callable[[Session], Any]] | None = None,
    **options: Any,  # noqa: ANN401 - of run_parties
) -> dict[str, Any]:
    """A fit over the rows, cut into silos of unequal sizes; with `own`, the first is the aggregator's."""
    n = len(features)
    cuts = (n * np.linspace(0, 1, silos + 1) ** 1.3).astype(int)
    parts = [slice(a, b) for a, b in pairwise(cuts)]

    def more(part: slice) -> dict[str, Any]:
        return {
            "training": training,
            "sample_weight": None if weight is None else weight[part],
            "offset": None if offset is None else offset[part],
        }

    def silo(part: slice) -> Callable[[Session], Fitted]:
        return lambda s: horizontal.fit(s, features[part], labels[part], aggregator="hub", **more(part))

    def hub(s: Session) -> Fitted:
        if not own:
            return horizontal.lead(s, training=training)
        return horizontal.lead(s, (features[parts[0]], labels[parts[0]]), **more(parts[0]))

    parties = {f"silo-{i}": silo(part) for i, part in enumerate(parts) if i or not own}
    return run_parties({"hub": hub, **parties, **(programs or {})}, protocol="learning.horizontal", **options)


def table(n: int = 600, k: int = 4, seed: int = 5) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)) @ (np.eye(k) + 0.3 * rng.normal(size=(k, k)))


def labelled(family: str, features: Floats, seed: int = 6) -> Floats:
    rng = np.random.default_rng(seed)
    eta = features @ np.linspace(0.8, -0.5, features.shape[1]) + 0.3
    if family == "logistic":
        return (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(float)
    if family == "poisson":
        return rng.poisson(np.exp(eta)).astype(float)
    if family == "gamma":
        return rng.gamma(2, np.exp(eta + 7))
    return 1e4 * (eta + rng.normal(size=len(eta)))


def plain(family: str, C: float, total: float, *, intercept: bool = True) -> Any:  # noqa: ANN401 - one of five classes
    """scikit-learn's estimator of the same objective, for rows of so much weight together."""
    if family == "logistic":
        return LogisticRegression(C=C, tol=1e-10, max_iter=1000, solver="newton-cholesky", fit_intercept=intercept)
    if family == "linear":
        no_penalty = math.isinf(C)
        return LinearRegression(fit_intercept=intercept) if no_penalty else Ridge(1 / C, fit_intercept=intercept)
    kind = PoissonRegressor if family == "poisson" else GammaRegressor
    return kind(alpha=1 / (C * total), tol=1e-12, max_iter=1000, solver="newton-cholesky", fit_intercept=intercept)


def apart(found: Fitted, wanted: Any) -> float:  # noqa: ANN401
    """‖Δw‖/‖w‖, the intercept among the coefficients."""
    w = np.append(np.ravel(wanted.coef_), wanted.intercept_)
    return float(np.linalg.norm(np.append(found.coefficients, found.intercept) - w) / np.linalg.norm(w))


def same(results: Mapping[str, Fitted]) -> Fitted:
    """The model, once all parties have got the same."""
    first, *others = results.values()
    for other in others:
        assert np.array_equal(other.coefficients, first.coefficients)
        assert replace(other, coefficients=first.coefficients, learned=first.learned) == first
    return first


# The pooled solution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [0.02, math.inf])
@pytest.mark.parametrize("family", ["logistic", "linear", "poisson", "gamma"])
def test_the_model_is_scikit_learns_on_the_pooled_rows(family: str, C: float) -> None:
    x = table()
    y = labelled(family, x)
    results = pooled(x, y, Training(family=family, C=C), own=C == 0.02)
    found = same(results)
    assert apart(found, plain(family, C, len(x)).fit(x, y)) <= 1e-8
    assert found.converged
    assert (found.separated, found.collinear, found.constant, found.notes) == (False, False, (), ())
    assert found.rows == len(x)
    assert found.silos == (("hub", "silo-1", "silo-2") if C == 0.02 else ("silo-0", "silo-1", "silo-2"))
    assert found.iterations == len(found.history) <= 8
    assert found.history[-1].gradient < 1e-4 * found.history[0].gradient
    assert all(a.loss >= b.loss for a, b in pairwise(found.history))
    assert {fitted.learned for fitted in results.values()} == set(horizontal.OPERATOR.learns.values())


@pytest.mark.parametrize("family", ["logistic", "poisson"])
def test_without_intercept(family: str) -> None:
    x = table() + 1
    y = labelled(family, x)
    found = same(pooled(x, y, Training(family=family, fit_intercept=False)))
    assert apart(found, plain(family, 1, len(x), intercept=False).fit(x, y)) <= 1e-8
    assert found.intercept == 0


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 0.5, 1: 3.0}])
def test_weights_of_rows_and_classes(class_weight: Any) -> None:  # noqa: ANN401
    x = table()
    y, weight = labelled("logistic", x), np.random.default_rng(1).integers(0, 4, len(x)) / 2
    found = same(pooled(x, y, Training(class_weight=class_weight), weight=weight))
    reference = plain("logistic", 1, len(x)).set_params(class_weight=class_weight)
    assert apart(found, reference.fit(x, y, sample_weight=weight)) <= 1e-8


def test_rates_by_exposure() -> None:
    x, rng = table(), np.random.default_rng(2)
    exposure = rng.uniform(0.1, 5, len(x))
    y = rng.poisson(exposure * np.exp(x @ [0.5, -0.3, 0.1, 0.2] - 1))
    found = same(pooled(x, y, Training(family="poisson"), offset=np.log(exposure)))
    reference = plain("poisson", 1, exposure.sum()).fit(x, y / exposure, sample_weight=exposure)
    assert apart(found, reference) <= 1e-8


def test_the_penalty_on_standardised_columns() -> None:
    x = table() * [1, 1e3, 1e-3, 5] + [0, 1e4, 0, -3]
    y = labelled("logistic", table())
    found = same(pooled(x, y, Training(C=0.01, standardise=True)))
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    reference = plain("logistic", 0.01, len(x)).fit((x - mean) / deviation, y)
    assert np.allclose(found.coefficients * deviation, reference.coef_[0], rtol=1e-8)
    assert math.isclose(found.intercept + found.coefficients @ mean, reference.intercept_[0], rel_tol=1e-8)


def test_real_clients_in_three_silos() -> None:
    if not DATA.exists():
        pytest.skip(f"the clients' data is not at {DATA.name} beside the project, in shared/data")
    rows = np.loadtxt(DATA, delimiter=",", skiprows=1, usecols=range(1, 25))
    x, y = rows[:, :-1], rows[:, -1]
    # Amounts of 10^6 beside codes of 1: the bill amounts are nearly collinear.
    found = same(pooled(x, y, Training(standardise=True), own=True))
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    reference = plain("logistic", 1, len(x)).fit((x - mean) / deviation, y)
    w = reference.coef_[0]
    assert np.linalg.norm(found.coefficients * deviation - w) / np.linalg.norm(w) <= 1e-6
    assert found.rows == 30_000
    assert found.iterations <= 8


# Awkward columns and labels -------------------------------------------------------------------------------------------


def test_scales_of_a_billion_constant_and_collinear_columns() -> None:
    x = table(k=3)
    y = labelled("logistic", x)
    wide = np.column_stack([x[:, 0] * 1e9 + 5e9, x[:, 1] * 1e-9, x[:, 2], np.full(len(x), 0.1), x[:, 2]])
    found = same(pooled(wide, y, Training(standardise=True)))
    assert found.constant == (3,)
    assert found.collinear
    assert found.coefficients[3] == 0
    assert found.coefficients[2] == pytest.approx(found.coefficients[4], rel=1e-6)
    assert [note.split()[0] for note in found.notes] == ["Columns", "Columns"]
    z = (wide - wide.mean(axis=0)) / np.where(wide.std(axis=0) > 1e-9 * wide.mean(axis=0), wide.std(axis=0), 1)
    z[:, 3] = 0
    reference = plain("logistic", 1, len(x)).fit(z, y)
    kept = [0, 1, 2, 4]
    assert np.allclose((found.coefficients * wide.std(axis=0))[kept], reference.coef_[0][kept], rtol=1e-7)
    bare = same(pooled(wide, y, Training(C=math.inf)))  # no penalty decides, and predictions are the same
    best = plain("logistic", math.inf, len(x)).fit(x, y)
    assert np.allclose(wide @ bare.coefficients + bare.intercept, best.decision_function(x), atol=1e-6)


def test_zero_columns_of_a_model_without_intercept() -> None:
    x = np.column_stack([table(k=2), np.zeros(600), np.ones(600)])
    y = labelled("linear", x)
    found = same(pooled(x, y, Training(family="linear", fit_intercept=False, C=math.inf)))
    assert found.constant == (2,)
    assert not found.collinear
    reference = LinearRegression().fit(x[:, :2], y)
    assert np.allclose(found.coefficients, [*reference.coef_, 0, reference.intercept_], rtol=1e-8)


@pytest.mark.parametrize("C", [100.0, math.inf])
def test_separated_labels_are_said_to_be_and_regularised(C: float) -> None:
    x = table()
    y = (x[:, 0] > 0.1).astype(float)
    x[:, 0] += 0.6 * y
    found = same(pooled(x, y, Training(C=C, standardise=True)))
    assert found.separated
    assert found.converged
    assert pytest.approx(1 if math.isinf(C) else C) == found.C
    assert "separated" in found.notes[0]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    reference = plain("logistic", found.C, len(x)).fit(z, y)
    assert np.allclose(found.coefficients * x.std(axis=0), reference.coef_[0], rtol=1e-6)


@pytest.mark.parametrize("family", ["logistic", "poisson"])
def test_a_column_without_events_separates_too(family: str) -> None:
    x = np.column_stack([table(k=2), np.arange(600) % 20 == 0])
    y = np.where(x[:, 2] == 1, 0, labelled(family, x[:, :2]))
    found = same(pooled(x, y, Training(family=family, C=math.inf)))
    assert found.separated
    assert found.converged
    assert found.C == 1
    assert -50 < found.coefficients[2] < 0


def test_a_search_that_ends_too_early_says_so() -> None:
    x = table()
    found = same(pooled(x, labelled("logistic", x), Training(max_iter=2)))
    assert not found.converged
    assert found.iterations == 2
    assert found.notes == ("The search has not converged in 2 points: raise max_iter.",)


def test_steps_are_halved_where_they_go_too_far() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([np.arange(600) % 30 == 0, table(600, 2)])
    y = np.where(x[:, 0] == 1, 10**6, rng.poisson(1, 600)).astype(float)
    found = same(pooled(x, y, Training(family="poisson", C=1e3)))
    assert found.converged
    assert any(a.loss < b.loss for a, b in pairwise(found.history))
    reference = plain("poisson", 1e3, len(x)).set_params(tol=1e-6).fit(x, y)
    assert apart(found, reference) <= 1e-6


# Silos that leave -----------------------------------------------------------------------------------------------------


class _Leaves(Exception):
    pass


def leaving(x: Floats, y: Floats, training: Training, question: int) -> Callable[[Session], None]:
    """A silo that is gone once the aggregator has asked it so many questions."""

    def program(s: Session) -> None:
        channel = s.channel("hub")
        data = glm.rows(x, y, family=training.family)
        channel.send(horizontal._join(training, data, "intl"))
        channel.recv(wire.HorizontalBegin)
        answers = horizontal._Answers(data, training)
        rules = horizontal._rules(training, "intl", 4)
        for _ in range(question):
            asked, *arrays = channel.recv(
                wire.HorizontalCount, wire.HorizontalSum, wire.HorizontalSpread, wire.HorizontalEvaluate
            )
            numbers = horizontal.wide.encode(answers(asked, *arrays))
            aggregation.contribute(s, numbers, aggregator="hub", rules=rules)
        channel.close("gone")

    return program


@pytest.mark.parametrize("question", [0, 2, 5])
def test_without_a_silo_that_leaves_the_model_is_that_of_those_left(question: int) -> None:
    x = table()
    y = labelled("logistic", x)
    training = Training(leavers="without", class_weight="balanced", standardise=True)
    programs = {"gone": leaving(x[:100] + 1, y[:100], training, question)}
    results = pooled(x, y, training, programs=programs)
    assert results.pop("gone") is None
    found = same(results)
    assert found.silos == ("silo-0", "silo-1", "silo-2")
    assert found.rows == len(x)
    alone = same(pooled(x, y, training))
    assert np.allclose(found.coefficients, alone.coefficients, rtol=1e-9)
    assert found.intercept == pytest.approx(alone.intercept, rel=1e-9)


@pytest.mark.parametrize("question", [0, 4])
def test_who_leaves_ends_the_fit_and_its_sum_is_not_opened(question: int) -> None:
    x = table()
    y, training, ended = labelled("logistic", x), Training(), {}
    part = {f"silo-{i}": slice(i * 200, i * 200 + 200) for i in range(3)}

    def kept(s: Session) -> None:
        try:
            if s.me == "hub":
                horizontal.lead(s, training=training)
            else:
                horizontal.fit(s, x[part[s.me]], y[part[s.me]], aggregator="hub", training=training)
        except PolicyError as error:
            ended[s.me] = error.code

    sums: list[int] = []
    opened = aggregation.masked._Collector._close

    def counting(self: Any, *arguments: Any) -> Any:  # noqa: ANN401
        sums.append(1)
        return opened(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregation.masked._Collector, "_close", counting)
        programs = {"gone": leaving(x[:100], y[:100], training, question)}
        run_parties({"hub": kept, **dict.fromkeys(part, kept), **programs})
    assert ended == dict.fromkeys(["hub", *part], "silo-left")
    assert len(sums) == question


def test_too_few_that_are_left() -> None:
    x = table()
    y, training = labelled("logistic", x), Training(leavers="without", minimum=4)
    with pytest.raises(PolicyError, match="3 parties are left, 4 are needed"):
        pooled(x, y, training, programs={"gone": leaving(x[:100], y[:100], training, 2)})


# Who is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ("cell", PolicyError, r"columns 2 are 0, or 1, in all rows but fewer than minimum_cell\. \[small-cell\]"),
        ("cell of others", PolicyError, r"columns 2 are 0"),
        ("class", PolicyError, r"\[small-class\]"),
        ("one class", UsageError, "all rows are of one class"),
        ("rows", PolicyError, r"fewer rows than coefficients.*\[few-rows\]"),
        ("weight", UsageError, "all rows have weight 0"),
        ("silos", PolicyError, r"\[few-silos\]"),
        ("events", UsageError, "all labels are 0"),
        ("offset", UsageError, "offsets are so large"),
    ],
)
def test_refusals_reach_all(change: str, kind: type[Exception], text: str) -> None:
    x, training = table(), Training()
    y, more, own, silos = labelled("logistic", x), {}, False, 3
    if change.startswith("cell"):
        own = change == "cell of others"
        x[:, 2] = 0
        x[-9:, 2] = 1
        x[:20, 2] = own  # in the aggregator's own rows, which it can take off
    elif change == "class":
        y = (np.arange(600) % 100 == 0).astype(float)
    elif change == "one class":
        y[:] = 1
    elif change == "rows":
        x = np.tile(x[:30], (1, 10))
        y = y[:30]
    elif change == "weight":
        more = {"weight": np.zeros(600)}
    elif change == "silos":
        training = Training(minimum=4)
    elif change == "events":
        training, y = Training(family="poisson"), np.zeros(600)
    elif change == "offset":
        training, more = Training(family="poisson"), {"offset": np.full(600, 1e9)}
    seen: list[str] = []

    def watched(function: Callable[..., Fitted]) -> Callable[..., Fitted]:
        def call(*arguments: Any, **options: Any) -> Fitted:  # noqa: ANN401
            try:
                return function(*arguments, **options)
            except Exception as error:
                seen.append(str(error))
                raise

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(horizontal, "fit", watched(horizontal.fit))
        patch.setattr(horizontal, "lead", watched(horizontal.lead))
        with pytest.raises(kind, match=text):
            pooled(x, y, training, silos=silos, own=own, **more)
    assert len(seen) == silos + (not own)
    assert len(set(seen)) == 1


def test_all_have_to_say_the_same() -> None:
    x = table()
    y = labelled("logistic", x)

    def other(**options: Any) -> Callable[[Session], Fitted]:  # noqa: ANN401
        features = options.pop("features", x[:50])
        weight = options.pop("sample_weight", None)
        return lambda s: horizontal.fit(
            s, features, y[:50], aggregator="hub", training=Training(**options), sample_weight=weight
        )

    cases: list[tuple[Any, str]] = [
        (other(C=2.0), "one penalty at all silos: 1.0 here, 2.0 there"),
        (other(minimum_cell=0), "one minimum cell at all silos"),
        (other(features=x[:50, :2]), "one features at all silos: 4 here, 2 there"),
        (other(sample_weight=np.ones(50)), "one weighted at all silos"),
    ]
    for program, text in cases:
        with pytest.raises(PeerError, match=text):
            pooled(x, y, Training(), own=True, programs={"silo-1": program})


def test_bad_rows_at_one_silo() -> None:
    x = table()
    y = labelled("logistic", x)
    x[-1, 0] = math.nan
    with pytest.raises(UsageError, match="column 0 is missing or not finite"):
        pooled(x, y, Training())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"family": "probit"}, "no family 'probit'"),
        ({"C": 0}, "C is above 0"),
        ({"C": math.nan}, "C is above 0"),
        ({"max_iter": 0}, "max_iter is 1 to"),
        ({"tol": 0}, "tol is a share"),
        ({"minimum": 1}, "2 silos at least"),
        ({"minimum_cell": -1}, "0 or more"),
        ({"leavers": "stay"}, "'refuse' or 'without'"),
        ({"class_weight": "even"}, "class_weight is 'balanced'"),
        ({"class_weight": {0: 1}}, "a weight above 0 for each"),
        ({"class_weight": {0: 1, 1: math.inf}}, "a weight above 0 for each"),
        ({"class_weight": "balanced", "family": "linear"}, "Only logistic regression has classes"),
    ],
)
def test_options_that_there_are_not(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Training(**options)


# What is sent ---------------------------------------------------------------------------------------------------------


def test_cost() -> None:
    x = table()
    y, k, p = labelled("logistic", x), 4, 5
    spent: dict[str, Traffic] = {}

    def program(part: slice) -> Callable[[Session], Fitted]:
        def run(s: Session) -> Fitted:
            fitted = horizontal.fit(s, x[part], y[part], aggregator="hub")
            spent[s.me] = s.channel("hub").traffic
            return fitted

        return run

    programs = {f"silo-{i}": program(slice(200 * i, 200 * i + 200)) for i in range(3)}
    found = pooled(x, y, Training(), programs=programs)["hub"]
    points = found.iterations
    numbers = 4 + 2 * k + 3 + k + k + points * glm.packed_size(p)
    assert glm.packed_size(p) == 4 + p + p * (p + 1) // 2
    for traffic in spent.values():
        # Keys and shares with two neighbours: some 700 bytes a sum, with the headers of its messages.
        assert 32 * numbers < traffic.bytes_sent < 32 * numbers + 1000 * (3 + points) + 300
        assert traffic.rounds == 4 * (3 + points) + 1


def test_a_changed_bit_of_what_a_silo_says() -> None:
    x = table()
    y = labelled("logistic", x)
    with pytest.raises(PeerError, match="one offset at all silos"):
        pooled(x, y, Training(), tamper={("silo-1", "hub"): Tamper(0)}, own=True, offset=y)


@pytest.mark.parametrize("message", [3, 7, 11, 15])
def test_a_changed_bit_of_numbers_under_masks(message: int) -> None:
    """The highest bit of the last number of each kind of sum: of its sign, 2^111 away."""
    x = table()
    with pytest.raises(PolicyError, match=r"sums came out that no rows have.*\[spoilt\]"):
        pooled(x, labelled("logistic", x), Training(), tamper={("silo-1", "hub"): Tamper(message, bit=7)})


class _Hub:
    """An aggregator that follows a script."""

    def __init__(self, *script: Any) -> None:  # noqa: ANN401
        self._script = script

    def __call__(self, s: Session) -> None:
        channel = s.channel("silo")
        channel.recv(wire.HorizontalJoin)
        for header, *arrays in self._script:
            channel.send(header, *arrays)
        with pytest.raises((ChannelClosed, PeerError)):
            channel.recv(wire.HorizontalJoin)


K = np.zeros(4)
MODEL = {"penalty": 1.0, "rows": 9, "silos": ["other", "silo"]}


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ([(wire.HorizontalBegin(silos=2),)], "at least 3 silos"),
        (
            [(wire.HorizontalBegin(silos=3),), (wire.HorizontalSpread(), np.zeros(5))],
            "one number for each of 4 columns",
        ),
        ([(wire.HorizontalBegin(silos=3),), (wire.HorizontalSpread(), np.full(4, np.nan))], "finite numbers"),
        ([(wire.HorizontalBegin(silos=3),), (wire.HorizontalEvaluate(), K, K, K)], "one number for each of 4 columns"),
        ([(wire.HorizontalBegin(silos=3),), (wire.HorizontalSum(zero=1, one=-1),)], "weights of the classes"),
        ([(wire.HorizontalRefused(code="bored"),)], "a reason that there is"),
        ([(wire.HorizontalRefused(code="small-cell", columns=[4]),)], "columns that there are"),
        (
            [(wire.HorizontalBegin(silos=3),), (wire.HorizontalFitted(**MODEL), np.zeros(3), np.zeros((1, 2)))],
            "4 finite",
        ),
        (
            [(wire.HorizontalBegin(silos=3),), (wire.HorizontalFitted(penalty=1), K, np.zeros((1, 2)))],
            "this one of them",
        ),
        (
            [
                (wire.HorizontalBegin(silos=3),),
                (wire.HorizontalFitted(**MODEL, constant=[2, 1]), K, np.zeros((1, 2))),
            ],
            "columns once each",
        ),
        ([(wire.HorizontalBegin(silos=3),), (wire.HorizontalBegin(silos=3),)], "got a 'unseen.learning.v1"),
    ],
)
def test_what_an_aggregator_cannot_say(script: Sequence[Any], text: str) -> None:
    x = table()

    def silo(s: Session) -> None:
        with pytest.raises(PeerError, match=text):
            horizontal.fit(s, x, labelled("logistic", x), aggregator="hub")

    run_parties({"hub": _Hub(*script), "silo": silo})


def test_an_aggregator_that_asks_on_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    x = table()
    y, training = labelled("logistic", x), Training(max_iter=3)

    def search(lead: Any, frame: Any) -> None:  # noqa: ANN401
        for _ in range(9):
            lead._evaluate(frame, np.zeros(5), np.zeros(5))

    monkeypatch.setattr(horizontal._Lead, "_search", search)
    with pytest.raises(PeerError, match="no more questions"):
        pooled(x, y, training)


def test_the_lead_checks_its_own() -> None:
    with pytest.raises(UsageError, match="of one's own rows"):
        run_parties({"hub": lambda s: horizontal.lead(s, offset=[1.0])})
    with pytest.raises(UsageError, match="rot13"):
        run_parties({"hub": lambda s: horizontal.lead(s, suite="rot13")})


@pytest.mark.parametrize("wrong", ["hub", "silo-1"])
def test_names_are_one_a_column(wrong: str) -> None:
    x = table(90)
    y = labelled("linear", x)

    def party(s: Session) -> Fitted:
        names = ["a", "b"] if s.me == wrong else ["a", "b", "c", "d"]
        part = slice(30 * int(s.me[-1]), None) if s.me != "hub" else slice(0, 30)
        if s.me == "hub":
            return horizontal.lead(s, (x[part], y[part]), names=names, training=Training("linear"))
        return horizontal.fit(s, x[part], y[part], aggregator="hub", names=names, training=Training("linear"))

    with pytest.raises(UsageError, match="There are 4 columns and 2 names"):
        run_parties(dict.fromkeys(("hub", "silo-1", "silo-2"), party), protocol="learning.horizontal")


def test_notes_speak_of_names() -> None:
    x = np.column_stack([table(90, 1), np.ones(90)])
    y = labelled("linear", x)
    training = Training("linear")

    def silo(s: Session) -> Fitted:
        return horizontal.fit(s, x, y, aggregator="hub", names=["age", "always"], training=training)

    found = run_parties(
        {"hub": lambda s: horizontal.lead(s, training=training), **dict.fromkeys(("a", "b", "c"), silo)},
        protocol="learning.horizontal",
    )
    assert found["a"].notes == ("Columns 'always' are the same in all rows.",)
    assert found["hub"].notes == ("Columns 1 are the same in all rows.",)
