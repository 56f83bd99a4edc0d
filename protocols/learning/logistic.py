"""Logistic and linear regression where each party has some of the columns, by L-BFGS on shares.

Rows are the same people in the same order at all parties; party p has columns X_p, one party has the label y. Each
whitens its own columns (``whitening``): M_p, with the penalty as further rows, and coordinates θ_p, which are shared.

    1  z = Σ_p M_p·θ_p                                       products of all owners at once; z only in shares
    2  d = σ(z) − y, times the rows' weights if there are any;  d = z − y for the linear family
    3  g_p = M_pᵀ·d / n                                      the gradient, in shares
    4  s = L-BFGS step of g (``lbfgs``), its size opens as tol·2^i, a step above 4 is halved until it is not
    5  θ −= s, until the size is at most tol

There is no line search: whitening bounds the second derivative by 1, and the sizes are enough to hold a bad step. With
many rows the first iterations run on a public random sample, from which θ and the pairs of L-BFGS go on to all rows.
At the end each owner learns its own θ_p, and so its coefficients; or nobody does (``reveal_model="none"``).

Security: semi-honest; of the engine and of protocols.matvec. Columns never leave their owner, not even as shares.
Leaks:    to all parties: numbers of rows and of columns that vary, the settings, the random sample's row numbers, and
          of each iteration the step's size to a factor of two; whether the classes turned out separated. For weighted
          rows and linear targets a power of two that bounds them. To owners their own coefficients, and to the label
          party the intercept: with them anybody's own part of a score is what its own columns say.
Cost:     of an iteration: for each owner a product each way (protocols.matvec), a sigmoid of each row of the stage,
          and L-BFGS on as many numbers as there are columns. docs/learning/logistic.md has figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.session import Progress, Session, closing_on_error
from protocols import arithmetic, matvec
from protocols.arithmetic import Computation, InputParty, Shared
from protocols.learning import checkpoint as checkpoints
from protocols.learning import lbfgs, products, whitening
from protocols.learning import training as trainings
from protocols.learning.checkpoint import Checkpoint, Point
from protocols.learning.products import Products
from protocols.learning.training import Place, Run, Stage, Task, Terms, Training
from protocols.learning.whitening import Reals, Whitening
from protocols.operator import Operator

__all__ = ["OPERATOR", "Checkpoint", "Fitted", "Shares", "Training", "fit"]

PAIRS = 8
"""Pairs that L-BFGS remembers."""

_PAIRS = tuple(field.name for field in fields(lbfgs.Pairs))
_LINEAR = 18  # fractional bits of linear predictors and targets
_WEIGHT = 16  # and of weights
_WIDE = 20  # predictors are below 2^20
_NEAR = 8  # and their lowest bits tell nobody a side
_SIZE = 20  # and of a step while it is measured
_TRUST = 4.0  # longest step
_LARGEST = 2.0**10  # the largest size that is told

OPERATOR = Operator(
    name="learning.logistic",
    version=trainings.VERSION,
    title="Regression on the columns of several parties, of which each learns its own coefficients",
    learns={
        "label_party": (
            "how many rows, and how many columns of each party vary",
            "of each iteration the size of the step, to a factor of two; whether the classes are separated",
            "the coefficients of its own columns and the intercept, if the model is revealed to its owners",
        ),
        "feature_party": (
            "how many rows, and how many columns of each party vary",
            "of each iteration the size of the step, to a factor of two; whether the classes are separated",
            "a power of two above the rows' weights and above a linear target, where there are any",
            "the coefficients of its own columns, if the model is revealed to its owners; no label",
        ),
    },
)


@dataclass(frozen=True)
class Shares:
    """A model that nobody has: this party's shares of all coefficients.

    Attributes:
        components: (k, total) uint64 as the engine has them, of coefficients of centred and scaled columns, party by
            party in the order of `owners`; (0, 0) at a party that does not compute.
        fraction: their fractional bits.
        compute: the parties that have the shares, in the order that these are for.
        owners: parties with columns, with how many coefficients each has; the label party's last is the intercept.
        unit: what a score of the shared coefficients is multiplied by.
        kept: (k,) which of this party's own columns have coefficients.
        centre: (k,) of this party's own columns.
        scale: (k,) likewise: what a coefficient multiplies is (x − centre) / scale.
    """

    components: NDArray[np.uint64]
    fraction: int
    compute: tuple[str, ...]
    owners: tuple[tuple[str, int], ...]
    unit: float
    kept: NDArray[np.bool_]
    centre: Reals
    scale: Reals


@dataclass(frozen=True)
class Fitted:
    """What one party has of a trained model.

    Attributes:
        coefficients: (k,) of this party's columns as they came; zeros for constant ones. None if nobody learns them.
        intercept: at the label party; None elsewhere, and where there is none or nobody learns it.
        shares: where nobody learns the model.
        rows: trained on.
        iterations: how many, on the sample and on all rows.
        converged: whether the last step was small enough.
        separated: whether the model puts every row on its label's side, as happens where columns tell the label. The
            coefficients are then what the penalty makes of them, and grow with C.
        history: sizes of the steps, each less than two times too large.
        learned: sentences: what this party learned.
    """

    coefficients: Reals | None
    intercept: float | None
    shares: Shares | None
    rows: int
    iterations: int
    converged: bool
    separated: bool
    history: tuple[float, ...]
    learned: tuple[str, ...]


def fit(
    session: Session,
    features: ArrayLike | None,
    labels: ArrayLike | None,
    *,
    label_party: str,
    compute: Sequence[str] | None = None,
    training: Training | None = None,
    sample_weight: ArrayLike | None = None,
    suite: str = "intl",
    checkpoint: Checkpoint | None = None,
    method: products.Method = "rlwe",
) -> Fitted:
    """Train with the other parties of the session, all of which call this.

    Args:
        session: of this party, with a channel to each other party.
        features: (n, k) finite numbers of any scale, the rows as at all other parties; None at a party that only
            computes.
        labels: (n,) 0 and 1, or numbers for the linear family, at the label party; None elsewhere.
        label_party: its name.
        compute: the two or three parties that compute; by default all, where there are no more.
        training: settings, the same at all parties.
        sample_weight: (n,) not negative, at the label party; None for ones.
        suite: cipher suite.
        checkpoint: where to keep what a run that breaks off can be gone on with.
        method: ``ideal`` computes in the clear, for tests of what stands on this. It protects nothing.

    Returns:
        This party's part of the model.

    Raises:
        UsageError: input that cannot be trained on; the text says what to do.
        PeerError: another party has other rows, other settings or another program.
    """
    settings = training or Training()
    with closing_on_error(session, "training"):
        task = trainings.task(session, features, labels, sample_weight, label_party, settings)
        points = checkpoints.points(checkpoint)
        names = trainings.computing(session, compute)
        saved = {at: point.run for at, point in points.items()}
        terms = trainings.agree(session, task, names, suite, method, saved)
        point = None if terms.begun is None else points[terms.begun]
        if point is not None and checkpoint is not None:
            checkpoints.require_same(point, terms)
            checkpoint.save(len(point.place.history), point.to_bytes())  # so that it is among the last two
        with _opened(session, terms) as run:
            return _train(run, task, terms, point, checkpoint)


# The algorithm --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """Where training is, at a party that computes: shares.

    Attributes:
        theta: (total,) all parties' coordinates, one after another.
        gradient: (total,) where the last step began; None before the first one of a stage.
        step: (total,) the last step.
        memory: of L-BFGS, without the last step.
    """

    theta: Shared
    gradient: Shared | None
    step: Shared
    memory: lbfgs.Memory


def _train(run: Run, task: Task, terms: Terms, point: Point | None, checkpoint: Checkpoint | None) -> Fitted:
    """The loop. Parties that do not compute take part in products and learn the sizes of steps; their state is None."""
    whitened = _whitened(task, terms)
    labels = _share_labels(run, task, terms)
    where, state = _begin(run, terms, point)
    stages = terms.stages
    work = products.start(run, terms.shapes(terms.rows), bits=whitening.BITS, method=terms.method)
    while True:
        stage = stages[where.stage]
        matrix = None if whitened is None else _prepared(whitened, task, terms, stage)
        work = work.of(terms.shapes(stage.rows))
        while where.taken < stage.most and not where.ended(stage):
            z = _predict(run, work, terms, matrix, state)  # 1
            d = _residuals(z, labels, terms, stage)  # 2
            g = _gradient(run, work, terms, stage, matrix, d)  # 3
            size, state = _step(run, terms, state, g, where)  # 4 and 5
            where = replace(where, taken=where.taken + 1, history=(*where.history, size))
            _save(checkpoint, terms, where, state)
            run.session.progress(Progress("training", len(where.history), sum(stage.most for stage in stages)))
        if stage.last:
            break
        where = replace(where, stage=where.stage + 1, taken=0)
        state = None if state is None else replace(state, gradient=None)
    z = _predict(run, work, terms, matrix, state)
    separated = _separated(run, terms, z, labels)
    return _finish(run, work, task, terms, whitened, state, where, separated=separated)


def _predict(
    run: Run, work: Products, terms: Terms, matrix: matvec.Prepared | None, state: State | None
) -> Shared | None:
    """z, (rows,), and behind it what the penalty's rows give, (total,)."""
    if not isinstance(run, Computation) or state is None:
        work.forward(matrix, None)
        return None
    pieces = work.forward(matrix, terms.split(state.theta))
    rows = next(iter(work.shapes.values()))[0] - next(iter(terms.widths.values()))
    z = products.total([piece[:rows] for piece in pieces.values()])
    penalty = [piece[rows:] for piece in pieces.values()]
    fraction = whitening.FRACTION + lbfgs.FRACTION
    return run.from_pieces(np.concatenate([z, *penalty]), fraction=fraction).as_fixed(_LINEAR)


def _residuals(z: Shared | None, labels: Labels | None, terms: Terms, stage: Stage) -> Shared | None:
    """d, (rows,), and behind it what the penalty's rows give."""
    if z is None or labels is None:
        return None
    predictor, penalty = z[: stage.rows], z[stage.rows :]
    labels = labels.of(stage.chosen)
    logistic = terms.training.family == "logistic"
    d = (arithmetic.sigmoid(predictor, error=stage.error) if logistic else predictor) - labels.values
    if labels.weights is not None:
        d = labels.weights * d
    return arithmetic.concatenate([d, penalty]).as_fixed(terms.residual_bits)


def _gradient(
    run: Run, work: Products, terms: Terms, stage: Stage, matrix: matvec.Prepared | None, d: Shared | None
) -> Shared | None:
    """The gradient of the mean over the stage's rows, (total,)."""
    if not isinstance(run, Computation) or d is None:
        work.back(matrix, None)
        return None
    penalty = terms.split(d[stage.rows :])
    residuals = d[: stage.rows]
    pieces = work.back(matrix, {owner: arithmetic.concatenate([residuals, penalty[owner]]) for owner in terms.widths})
    total = run.from_pieces(np.concatenate(list(pieces.values())), kind="int")
    log_rows = (stage.rows - 1).bit_length()
    spare = whitening.FRACTION + terms.residual_bits + log_rows - lbfgs.FRACTION
    mean = Shared(run.context, run.context.truncate(total.components, spare), "fixed", lbfgs.FRACTION)
    return mean * np.array((1 << log_rows) / stage.rows)


def _step(
    run: Run, terms: Terms, state: State | None, gradient: Shared | None, where: Place
) -> tuple[float, State | None]:
    """The step's size and the state after it."""
    if state is None or gradient is None:
        return _size(run, None, terms)[0], None
    memory = state.memory
    if state.gradient is not None:
        scale = math.floor(1 - math.log2(where.history[-1]))
        memory = memory.update(-state.step, gradient - state.gradient, scale=scale)
    step = memory.direction(gradient)
    size, halvings = _size(run, step, terms)
    if halvings:
        shorter = run.context.truncate(step.components, halvings)  # type: ignore[union-attr]  # of one that computes
        step = Shared(step.context, shorter, "fixed", step.fraction)
    return size, State(state.theta - step, gradient, step, memory)


def _size(run: Run, step: Shared | None, terms: Terms) -> tuple[float, int]:
    """The step's size as tol·2^i, after so many halvings as it takes to bring it below the longest allowed."""
    tol = terms.training.tol
    count = int(math.log2(_LARGEST / tol)) + 1
    if isinstance(run, InputParty) or step is None:
        passed = run.obtain() if isinstance(run, InputParty) else None
    else:
        rounded = Shared(run.context, step.as_fixed(_SIZE).components, "int")
        limits = [math.ceil(tol**2 * 4.0 ** (i + _SIZE)) for i in range(count)]
        passed = run.reveal(((rounded @ rounded) >= np.array(limits)).sum(), to=run.compute + run.inputs)
    i = int(np.asarray(passed))
    size = tol * 2.0**i
    halvings = max(0, math.ceil(math.log2(size / _TRUST)))
    return size / 2**halvings, halvings


def _separated(run: Run, terms: Terms, z: Shared | None, labels: Labels | None) -> bool:
    """Whether the predictor has the label's sign at all rows, or is within 2^-10 of zero. Opens that to all parties."""
    if terms.training.family != "logistic":
        return False
    if isinstance(run, InputParty):
        return bool(run.obtain())
    if z is None or labels is None or labels.ones is None:
        raise AssertionError("a party that computes has shares")
    words = np.ascontiguousarray(z[: terms.rows].components)
    below = run.context.engine.below(words, (0,), bits=_LINEAR + _WIDE, drop=_NEAR)
    wrong = ~(Shared(run.context, np.ascontiguousarray(below[:, 0]), "bool") ^ labels.ones)
    return bool(run.reveal(wrong.sum() == 0, to=run.compute + run.inputs))


def _finish(
    run: Run,
    work: Products,
    task: Task,
    terms: Terms,
    whitened: Whitening | None,
    state: State | None,
    where: Place,
    *,
    separated: bool,
) -> Fitted:
    """Give each owner its coefficients, or keep them in shares."""
    stages = terms.stages
    fitted = Fitted(
        coefficients=None,
        intercept=None,
        shares=None,
        rows=terms.rows,
        iterations=len(where.history),
        converged=where.stage == len(stages) - 1 and where.ended(stages[-1]),
        separated=separated,
        history=where.history,
        learned=_learned(run.session.me, terms),
    )
    if terms.training.reveal_model == "none":
        return replace(fitted, shares=_standard_shares(run, work, task, terms, whitened, state))
    theta = _own_coordinates(run, terms, state)
    coefficients, moved = None, 0.0
    if whitened is not None and theta is not None:
        coefficients = whitened.coefficients(theta)
        moved = float(coefficients @ whitened.standard.centre)
    intercept = _intercept(run, terms, moved, state)
    if coefficients is None:  # this party has no columns, or none that vary
        return fitted if task.features is None else replace(fitted, coefficients=np.zeros(task.features.shape[1]))
    if intercept is not None:
        intercept = math.ldexp(intercept, terms.target_exponent) + task.target_mean
    return replace(fitted, coefficients=np.ldexp(coefficients, terms.target_exponent), intercept=intercept)


def _own_coordinates(run: Run, terms: Terms, state: State | None) -> Reals | None:
    """This party's θ without the intercept, which is told apart."""
    own: Reals | None = None
    parts = terms.split(state.theta) if state is not None else dict.fromkeys(terms.widths)
    for owner, part in parts.items():
        inner = terms.widths[owner] - terms.has_intercept(owner)
        if part is not None and isinstance(run, Computation):
            revealed = run.reveal(part[:inner], to=owner)
        elif isinstance(run, InputParty) and owner == run.session.me:
            revealed = run.obtain()
        else:
            continue
        own = own if revealed is None else revealed
    return own


def _intercept(run: Run, terms: Terms, moved: float, state: State | None) -> float | None:
    """The intercept for columns as they came, at the label party: from its coordinate, less what centring moved.

    `moved` is this party's part of that, the product of its own coefficients and means; only the difference opens.
    """
    if not terms.training.fit_intercept:
        return None
    parts = [_brought(run, owner, np.array([moved]), lbfgs.FRACTION) for owner in terms.widths]
    if state is None or not isinstance(run, Computation):
        opened = run.obtain() if isinstance(run, InputParty) and run.session.me == terms.label_party else None
    else:
        unit = np.array(whitening.intercept_unit(terms.curvature))
        at_means = terms.split(state.theta)[terms.label_party][-1:] * unit
        for part in parts:
            at_means = at_means if part is None else at_means - part
        opened = run.reveal(at_means, to=terms.label_party)
    return None if opened is None else float(opened[0])


def _standard_shares(
    run: Run, work: Products, task: Task, terms: Terms, whitened: Whitening | None, state: State | None
) -> Shares:
    """Shares of the coefficients of standardised columns: T_p·θ_p of all owners."""
    matrix = None if whitened is None else matvec.prepare(whitened.to_standard(), bits=whitening.BITS)
    work = work.of({owner: (width, width) for owner, width in terms.widths.items()})
    components = np.zeros((0, 0), dtype=np.uint64)
    if state is None or not isinstance(run, Computation):
        work.forward(matrix, None)
    else:
        pieces = work.forward(matrix, terms.split(state.theta))
        fraction = whitening.FRACTION + lbfgs.FRACTION
        w = run.from_pieces(np.concatenate(list(pieces.values())), fraction=fraction).as_fixed(lbfgs.FRACTION)
        components = w.components
    standard = task.standard  # also where no column varies
    nothing = np.zeros(0)
    return Shares(
        components=components,
        fraction=lbfgs.FRACTION,
        compute=terms.compute,
        owners=tuple(terms.widths.items()),
        unit=math.ldexp(1.0, terms.target_exponent),
        kept=nothing.astype(np.bool_) if standard is None else standard.kept,
        centre=nothing if standard is None else standard.centre,
        scale=nothing if standard is None else standard.scale,
    )


def _learned(me: str, terms: Terms) -> tuple[str, ...]:
    """What this party learned beyond its own input, in sentences; they say of what kind it is, and repeat none of it,
    so that they may be told to who is to know nothing else.
    """
    labels = me == terms.label_party
    lines = [
        "How many rows were trained on, and how many columns of each party vary.",
        "How many steps the training took, and the size of each, to a factor of two.",
    ]
    if terms.training.family == "logistic":
        lines.append("Whether the model has every row on its label's side.")
    elif not labels:
        lines.append("A power of two above the targets' root mean square.")
    if terms.weighted and not labels:
        lines.append("That rows have weights, and the power of two nearest to their mean.")
    if terms.training.reveal_model == "none":
        lines.append("No coefficient: the model is in shares.")
    elif labels:
        lines.append(
            "The coefficients of its own columns" + (" and the intercept." * terms.training.fit_intercept or ".")
        )
    elif me in terms.widths:
        lines.append("The coefficients of its own columns; no label and no score.")
    return tuple(lines)


# What comes before and beside it -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """Shares of what the label party gives.

    Attributes:
        values: (n,) targets, the labels as numbers.
        ones: (n,) whether the label is 1; None for the linear family.
        weights: (n,); None for ones.
    """

    values: Shared
    ones: Shared | None
    weights: Shared | None

    def of(self, chosen: NDArray[np.int64] | None) -> Labels:
        """Those of some rows."""
        if chosen is None:
            return self
        ones, weights = (None if x is None else x[chosen] for x in (self.ones, self.weights))
        return Labels(self.values[chosen], ones, weights)


def _share_labels(run: Run, task: Task, terms: Terms) -> Labels | None:
    """Targets and weights come into shares; nothing at a party that does not compute."""
    logistic = terms.training.family == "logistic"
    given = None if task.targets is None else task.targets == 1 if logistic else task.targets
    values = _brought(run, terms.label_party, given, _LINEAR)
    weights = _brought(run, terms.label_party, task.weights, _WEIGHT) if terms.weighted else None
    if values is None:
        return None
    return Labels(values.as_fixed(_LINEAR), values if logistic else None, weights)


def _brought(run: Run, owner: str, values: Reals | NDArray[np.bool_] | None, bits: int) -> Shared | None:
    """What `owner` brings into shares, `values` being what it would bring if it is this party; None outside."""
    mine = values if run.session.me == owner else None
    if isinstance(run, InputParty):
        if mine is not None:
            run.send(mine, fraction=bits)
        return None
    if owner in run.compute:
        return run.share(mine, owner=owner, fraction=bits)
    return run.receive(from_=owner)


def _whitened(task: Task, terms: Terms) -> Whitening | None:
    """How this party's columns are made fit; None where it has none."""
    if task.features is None or task.standard is None or not task.standard.width:
        return None
    return whitening.whiten(task.standard, task.features, curvature=terms.curvature, penalty=terms.penalty)


def _prepared(whitened: Whitening, task: Task, terms: Terms, stage: Stage) -> matvec.Prepared:
    """This party's matrix for a stage: the penalty counts as much as in all rows."""
    if task.features is None:
        raise AssertionError("columns that are whitened are there")
    penalty = terms.penalty * stage.rows / terms.rows
    return matvec.prepare(whitened.matrix(task.features, penalty, rows=stage.chosen), bits=whitening.BITS)


def _begin(run: Run, terms: Terms, point: Point | None) -> tuple[Place, State | None]:
    """Where training begins: at zero, or where it was kept."""
    place = Place() if point is None else point.place
    if isinstance(run, InputParty):
        return place, None
    if point is None:
        zero = run.constant(np.zeros(sum(terms.widths.values())))
        return place, State(zero, None, zero, lbfgs.empty(run, limit=PAIRS))
    kept = {
        name: Shared(run.context, words, "fixed", lbfgs.RATIO if name in ("gamma", "inverse") else lbfgs.FRACTION)
        for name, words in point.shares.items()
    }
    pairs = lbfgs.Pairs(*(kept[name] for name in _PAIRS)) if "steps" in kept else None
    memory = lbfgs.Memory(PAIRS, kept["gamma"], pairs)
    return place, State(kept["theta"], kept.get("gradient"), kept["step"], memory)


def _save(checkpoint: Checkpoint | None, terms: Terms, place: Place, state: State | None) -> None:
    """Keep this iteration's end."""
    if checkpoint is None:
        return
    shares: dict[str, Shared | None] = {}
    if state is not None:
        memory = state.memory
        shares = {"theta": state.theta, "gradient": state.gradient, "step": state.step, "gamma": memory.gamma}
        shares |= {name: getattr(memory.pairs, name) for name in _PAIRS if memory.pairs is not None}
    kept = {name: x.components for name, x in shares.items() if x is not None}
    point = checkpoints.Point(checkpoints.digest(terms), terms.run, terms.attempt, place, kept)
    checkpoint.save(len(place.history), point.to_bytes())


@contextmanager
def _opened(session: Session, terms: Terms) -> Iterator[Run]:
    """Shared arithmetic, as the terms have it, at this party."""
    compute, bits = terms.compute, lbfgs.FRACTION
    if session.me not in compute:
        with arithmetic.input_party(session, compute=compute, fraction=bits, ideal=terms.method == "ideal") as outside:
            yield outside
        return
    if terms.method == "ideal":
        opened = arithmetic.ideal_party(session, compute=compute, fraction=bits)
    elif len(compute) == 2:
        opened = arithmetic.two_party(session, compute=compute, suite=terms.suite, fraction=bits)
    else:
        opened = arithmetic.three_party(session, compute=compute, suite=terms.suite, fraction=bits)
    with opened as inside:
        yield inside
