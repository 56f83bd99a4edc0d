"""Metrics of scores that nobody holds: AUC and KS, or the curves at a stated resolution, of shared log odds.

    1  grade       g = ⌊(z + limit)·resolution / (2 limit)⌋ of log odds z; beyond ±limit the first and the last grade
    2  digits      g's bits in two halves, each as one bit of 2^(half) that is set: h (high) and l (low)
    3  table       Σ_rows h ⊗ (l, label·l): of each grade how many rows and how many ones, a product of matrices, in
                   which four counts share a word
    4  opening     evaluate_shared: neighbouring grades are put together until no cell has fewer than `minimum_cell`
                   zeros or ones; then the cells' counts open. discrimination_shared: AUC and KS are made of the table
                   under shares, and open.

Security: of the engine of protocols.arithmetic, semi-honest. The label party's labels enter as shared bits.
Leaks:    evaluate_shared: to `reveal_to`, of each cell how many zeros and ones have scores in it. To all who compute,
          between which grades cells end, which tells that a cell has `minimum_cell` zeros and ones and would have fewer
          of one kind without its last grade; and whether there are enough of them at all.
          discrimination_shared: to `reveal_to` AUC and KS, in steps of 2^-16. To the others nothing.
          All know how many rows there are. A party that learns the table and knows some of the rows' scores and labels
          knows the table of the other rows, too: the rule for cells does not see that.
Cost:     of R = 2^(a + b) grades, b = ⌊log2 R / 2⌋, for each row: below of 2 bounds and about 36 bits, 2 select_word,
          1 truncate, 1/⌊64 / (10 + a + b)⌋ to_bits, 2^a + 2^(b+1) − 4 and_ of bits, 2^a + 2^(b+1) bit_to_word; and a
          matmul of (2^a, n) with (n, 2^(b-1)), R / 2 to_bits and 2 R from_bits for every 65,535 rows. Then, where
          cells are found, R(R + 1) below of as many bits as the number of rows has, half as many and_ and bit_to_word,
          and two rounds for each cell; or, for AUC and KS, 3 R mul, 2 R + 2 truncate, 2 R − 1 negative.
Error:    rounding makes ties of what was in order: AUC is off by at most ½ Σ_g p_g·q_g, with p_g and q_g the parts of
          the ones and of the zeros in grade g, and KS by at most the largest p_g or q_g; both are far smaller in
          practice. A score within 2^-10 of a grade's edge may fall on either side. docs/learning/evaluation.md has
          figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import PolicyError, UsageError
from protocols.arithmetic.engine import Bits, Engine, Words
from protocols.arithmetic.party import Computation, InputParty
from protocols.arithmetic.shared import Shared
from protocols.learning import metrics
from protocols.learning.metrics import Evaluation
from protocols.operator import Operator

MINIMUM_CELL = 5
"""Fewest zeros and fewest ones in a cell whose counts open, unless said otherwise."""
ROWS_AT_A_TIME = (1 << 16) - 1
"""Rows whose digits are in memory at once; counts of so many have 16 bits."""
PRECISION = 16
"""Fractional bits with which AUC and KS open: no more digits than they are worth."""

_RANGE_BITS = 24  # log odds are smaller than 2^23
_SLOTS = 4  # counts in a word
_BELOW = 10  # bits below a grade that are kept when scores are cut to grades
_RATE = 28  # fractional bits of rates under shares: a product of two has 56
_INVERSE = 40  # fractional bits of one divided by a number of rows

OPERATORS: Mapping[str, Operator] = {
    "curve": Operator(
        name="learning.evaluation",
        version=1,
        title="Evaluation of scores that nobody holds: counts by grade and label",
        learns={
            "learner": (
                "of each cell of neighbouring grades how many rows of label 0 and of label 1 have scores in it",
                "the curves, AUC and KS, which follow from these counts; no cell is smaller than the number agreed",
                "how many rows were evaluated",
            ),
            "compute": (
                "between which grades the cells end; that there are enough rows of both labels for one cell",
                "how many rows were evaluated",
                "nothing else of scores or labels, in whole or for a row",
            ),
            "label_party": ("how many rows were evaluated",),
        },
    ),
    "auc": Operator(
        name="learning.discrimination",
        version=1,
        title="AUC and KS of scores that nobody holds",
        learns={
            "learner": ("AUC and KS, in steps of 2^-16, and no count", "how many rows were evaluated"),
            "compute": ("how many rows were evaluated", "nothing of scores or labels, in whole or for a row"),
            "label_party": ("how many rows were evaluated",),
        },
    ),
}
"""By what opens: ``curve`` (evaluate_shared) or ``auc`` (discrimination_shared)."""


@dataclass(frozen=True)
class Discrimination:
    """How well scores that nobody holds tell ones from zeros.

    Attributes:
        rows: how many were evaluated.
        auc: as ``Evaluation.auc``, of scores rounded to grades, in steps of 2^-16.
        ks: as ``Evaluation.ks``, likewise.
        resolution: how many grades.
    """

    rows: int
    auc: float
    ks: float
    resolution: int

    @property
    def gini(self) -> float:
        """2·AUC − 1."""
        return 2 * self.auc - 1


def evaluate_shared(
    run: Computation,
    labels: ArrayLike | None,
    scores: Shared,
    *,
    label_party: str,
    reveal_to: str | Sequence[str] | None = None,
    resolution: int = 256,
    limit: int = 8,
    minimum_cell: int = MINIMUM_CELL,
    bins: int = 10,
    points: int = 200,
) -> Evaluation | None:
    """Judge shared log odds by the label party's labels; the counts of grades open. All computing parties call it.

    Args:
        run: of this party.
        labels: (n,) of 0 and 1 at the label party; None at the others.
        scores: (n,) real numbers, log odds, smaller than 2^23.
        label_party: who has the labels; if it does not compute, it calls ``evaluate_outside``.
        reveal_to: one party or several; the label party by default. One that does not compute calls
            ``evaluate_outside``.
        resolution: grades, a power of two from 4 to 1024.
        limit: log odds beyond which there are no grades, a power of two from 1 to 32; 8 is 0.03 % and 99.97 %.
        minimum_cell: fewest zeros and fewest ones in a cell that opens; 0 and 1: each grade opens as it is.
        bins: as for ``metrics.evaluate``.
        points: as for ``metrics.evaluate``.

    Returns:
        The evaluation of probabilities, each cell's being that of its middle; None at those who do not learn it.

    Raises:
        UsageError: labels other than 0 and 1, of one kind only, or another number of them than of scores; scores that
            are no real numbers; options out of range.
        PolicyError: fewer than `minimum_cell` zeros or ones in all; nothing has opened then.
        PeerError: the label party brings something else than n conditions.
    """
    grades = _Grades(resolution, limit)
    if not 0 <= minimum_cell <= 1 << 22:
        raise UsageError("minimum_cell is the smallest number of zeros and of ones in a cell, 0 to 2^22.")
    learners = _learners(reveal_to, label_party)
    y = _labels_in(run, labels, scores, label_party)
    table = _table(run, y, scores, grades)
    ends = _ends(run, table, minimum_cell, scores.size) if minimum_cell > 1 else np.arange(resolution + 1)
    cells = np.add.reduceat(table.components, ends[:-1], axis=2)
    opened = _reveal(run, Shared(run.context, cells, "int"), learners)
    outside = [name for name in learners if name in run.inputs]
    if outside:
        run.reveal(run.constant(ends), to=outside)
    return None if opened is None else _evaluation(opened, ends, grades, bins=bins, points=points)


def discrimination_shared(
    run: Computation,
    labels: ArrayLike | None,
    scores: Shared,
    *,
    label_party: str,
    reveal_to: str | Sequence[str] | None = None,
    resolution: int = 256,
    limit: int = 8,
) -> Discrimination | None:
    """As ``evaluate_shared``; but of the table only AUC and KS open, in steps of 2^-16, and no count."""
    grades = _Grades(resolution, limit)
    learners = _learners(reveal_to, label_party)
    y = _labels_in(run, labels, scores, label_party)
    inverses = _bring(run, None if labels is None else _inverses(labels), label_party, (2, 1), kind="int")
    table = _table(run, y, scores, grades)
    opened = _reveal(run, _auc_and_ks(table, inverses), learners)
    return None if opened is None else _discrimination(opened, scores.size, resolution)


def evaluate_outside(
    run: InputParty,
    labels: ArrayLike | None,
    *,
    learns: bool,
    resolution: int = 256,
    limit: int = 8,
    bins: int = 10,
    points: int = 200,
) -> Evaluation | None:
    """A party's side of ``evaluate_shared`` that does not compute: the label party, or one that learns, or both.

    Args:
        run: of this party.
        labels: (n,) of 0 and 1 at the label party; None at the others.
        learns: whether this party is among `reveal_to`.
        resolution: as for ``evaluate_shared``, as are the others.
        limit: as there.
        bins: as there.
        points: as there.

    Raises:
        UsageError: as ``evaluate_shared``.
        PeerError: the computing parties reveal something else.
    """
    grades = _Grades(resolution, limit)
    if labels is not None:
        run.send(_both(labels).astype(np.bool_))
    if not learns:
        return None
    counts, ends = run.obtain(), run.obtain()
    channel = run.session.channel(run.compute[0])
    channel.require(counts.ndim == 2 and counts.dtype == ends.dtype == np.int64, "counts of cells")
    fits = ends.shape == (counts.shape[1] + 1,) and len(counts) == 2 and bool((counts >= 0).all())
    whole = fits and ends[0] == 0 and ends[-1] == resolution and bool((np.diff(ends) > 0).all())
    channel.require(whole, f"counts of cells that divide {resolution} grades")
    return _evaluation(counts, ends, grades, bins=bins, points=points)


def discrimination_outside(
    run: InputParty, labels: ArrayLike | None, *, learns: bool, rows: int, resolution: int = 256
) -> Discrimination | None:
    """A party's side of ``discrimination_shared`` that does not compute; `rows` are how many there are."""
    if labels is not None:
        run.send(_both(labels).astype(np.bool_))
        run.send(_inverses(labels))
    if not learns:
        return None
    opened = run.obtain()
    run.session.channel(run.compute[0]).require(opened.shape == (2,), "AUC and KS")
    return _discrimination(opened, rows, resolution)


def learned(
    party: str,
    *,
    label_party: str,
    compute: Sequence[str],
    reveal_to: str | Sequence[str] | None = None,
    opens: str = "curve",
) -> tuple[str, ...]:
    """What a party learns, in words. `opens`: ``curve`` or ``auc``, a key of ``OPERATORS``."""
    if opens not in OPERATORS:
        raise UsageError(f"opens is 'curve' or 'auc', not {opens!r}.")
    sides = OPERATORS[opens].learns
    found = list(sides["learner"]) if party in _learners(reveal_to, label_party) else []
    if party in compute:
        found += [line for line in sides["compute"] if not (found and line.startswith("nothing"))]
    elif party == label_party:
        found += sides["label_party"]
    return tuple(dict.fromkeys(found))


# Labels --------------------------------------------------------------------------------------------------------------


def _learners(reveal_to: str | Sequence[str] | None, label_party: str) -> tuple[str, ...]:
    return (label_party,) if reveal_to is None else (reveal_to,) if isinstance(reveal_to, str) else tuple(reveal_to)


def _both(labels: ArrayLike) -> NDArray[np.int64]:
    """Labels of both kinds."""
    y = metrics.check_labels(labels)
    if y.all() or not y.any():
        raise UsageError(f"All labels are {y[0]}, so that there is nothing to tell apart: evaluate on more rows.")
    return y


def _inverses(labels: ArrayLike) -> NDArray[np.int64]:
    """(2, 1): one divided by the number of zeros and by that of ones."""
    y = _both(labels)
    inverses: NDArray[np.int64] = np.rint(np.ldexp(1.0, _INVERSE) / np.bincount(y, minlength=2)).astype(np.int64)
    return inverses[:, None]


def _labels_in(run: Computation, labels: ArrayLike | None, scores: Shared, label_party: str) -> Shared:
    if scores.kind != "fixed" or scores.ndim != 1 or not scores.size:
        raise UsageError(f"scores are real numbers (n,), n > 0, log odds; not {scores!r}.")
    y = None if labels is None else _both(labels)
    if y is not None and y.shape != scores.shape:
        raise UsageError(f"{len(y)} labels do not belong to {scores.size} scores: give those of the same rows.")
    return _bring(run, None if y is None else y.astype(np.bool_), label_party, scores.shape, kind="bool")


def _bring(
    run: Computation,
    values: NDArray[np.int64] | NDArray[np.bool_] | None,
    owner: str,
    shape: tuple[int, ...],
    *,
    kind: str,
) -> Shared:
    """What the label party brings, of this shape and kind."""
    given = run.share(values, owner=owner) if owner in run.compute else run.receive(from_=owner)
    if owner != run.me:
        fits = given.shape == shape and given.kind == kind
        run.session.channel(owner).require(fits, f"an array {shape} of kind {kind}, not {given.shape} of {given.kind}")
    return given


def _reveal(run: Computation, shared: Shared, to: tuple[str, ...]) -> NDArray[np.int64] | NDArray[np.float64] | None:
    return run.reveal(shared, to=to)


# 1 to 3  The table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grades:
    """How log odds are cut to grades."""

    resolution: int
    limit: int

    def __post_init__(self) -> None:
        if self.resolution not in [1 << i for i in range(2, 11)] or self.limit not in [1 << i for i in range(6)]:
            raise UsageError("resolution is a power of two from 4 to 1024, limit one from 1 to 32.")

    @property
    def bits(self) -> int:
        return self.resolution.bit_length() - 1

    def logit(self, edge: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of edges between grades, edge 0 being below the first."""
        return edge.astype(np.float64) * (2 * self.limit / self.resolution) - self.limit


def _table(run: Computation, y: Shared, scores: Shared, grades: _Grades) -> Shared:
    """(2, resolution) whole numbers: of each grade its zeros and its ones."""
    engine, n = run.context.engine, scores.size
    low_bits = grades.bits // 2
    high, low = 1 << (grades.bits - low_bits), 1 << low_bits
    total = np.zeros((engine.k, high, 2 * low), dtype=np.uint64)
    for start in range(0, n, ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        bits = _digits(run, scores[part], grades)  # 1
        of_low, of_high = _one_hot(engine, bits[:, :low_bits]), _one_hot(engine, bits[:, low_bits:])  # 2
        label = np.broadcast_to(y.components[:, None, part], of_low.shape)
        ones = engine.and_(of_low, np.ascontiguousarray(label))
        words = engine.bit_to_word(np.concatenate([of_high, of_low, ones], axis=1))
        total += _counts(engine, np.ascontiguousarray(words[:, :high]), words[:, high:])  # 3
    rows, ones_ = total[:, :, :low].reshape(engine.k, -1), total[:, :, low:].reshape(engine.k, -1)
    return Shared(run.context, np.stack([rows - ones_, ones_], axis=1), "int")


def _counts(engine: Engine, left: Words, right: Words) -> Words:
    """(k, m, n) and (k, p, n) of zeros and ones → (k, m, p): in how many of the n places both have a one.

    Counts below 2^16, so that four fit in a word: the product is that of a quarter of the columns.
    """
    k, p, n = right.shape
    shifts = np.arange(_SLOTS, dtype=np.uint64) * np.uint64(64 // _SLOTS)
    packed = (right.reshape(k, -1, _SLOTS, n) << shifts[:, None]).sum(axis=2, dtype=np.uint64)
    product = engine.matmul(left, np.ascontiguousarray(packed.transpose(0, 2, 1)))  # (k, m, p / 4)
    bits = engine.to_bits(product)[..., None] >> shifts & np.uint64((1 << 64 // _SLOTS) - 1)
    return engine.from_bits(bits.reshape(k, -1, p))


def _digits(run: Computation, scores: Shared, grades: _Grades) -> Bits:
    """(k, bits, n): the bits of the scores' grades, the lowest first."""
    context, engine, f = run.context, run.context.engine, scores.fraction
    unit = f + (2 * grades.limit).bit_length() - 1 - grades.bits  # bits of a step within a grade
    if unit < 0:
        raise UsageError(f"Scores of {f} fractional bits have no {grades.resolution} grades: give more bits.")
    kept = min(unit, _BELOW)
    shape = scores.components.shape[1:]

    def constant(value: int) -> Words:
        return engine.constant(np.full(shape, value, dtype=np.uint64))

    # Between 0 and the last grade's end, in steps of 2^(unit - kept): comparing may let less than one step pass, and
    # rounding add one.
    top = ((grades.resolution << kept) - 2) << (unit - kept)
    x = scores.components + constant(grades.limit << f)
    in_or_below = engine.below(x, (0, top), bits=f + _RANGE_BITS, drop=unit - kept)
    above = in_or_below[:, 1] ^ engine.constant(np.ones(shape, dtype=np.bool_))
    away = engine.select_word(np.stack([in_or_below[:, 0], above], axis=1), np.stack([x, x - constant(top)], axis=1))
    inside = context.truncate(x - away.sum(axis=1, dtype=np.uint64), unit - kept)
    # Several to a word: what is not negative and fits its place does not disturb its neighbours.
    width, n = kept + grades.bits, shape[0]
    places = 64 // width
    filled = np.zeros((engine.k, -(-n // places) * places), dtype=np.uint64)
    filled[:, :n] = inside
    shifts = np.arange(places, dtype=np.uint64) * np.uint64(width)
    words = (filled.reshape(engine.k, -1, places) << shifts).sum(axis=2, dtype=np.uint64)
    bits = (engine.to_bits(words)[:, :, None] >> shifts).reshape(engine.k, -1)[:, :n]
    each = np.arange(kept, width, dtype=np.uint64)[:, None]
    return ((bits[:, None] >> each) & np.uint64(1)).astype(np.bool_)


def _one_hot(engine: Engine, bits: Bits) -> Bits:
    """(k, m, n) bits of numbers, the lowest first → (k, 2^m, n), of which the number's is set."""
    set_ = bits[:, :1]
    found: Bits = np.concatenate([set_ ^ engine.constant(np.ones(set_.shape[1:], dtype=np.bool_)), set_], axis=1)
    for i in range(1, bits.shape[1]):
        digit = np.broadcast_to(bits[:, i : i + 1], found.shape)
        upper = engine.and_(found, np.ascontiguousarray(digit))
        found = np.concatenate([found ^ upper, upper], axis=1)
    return found


# 4  What opens -------------------------------------------------------------------------------------------------------


def _ends(run: Computation, table: Shared, minimum: int, rows: int) -> NDArray[np.int64]:
    """(cells + 1,) grades at which cells end, the first of them 0: the fewest grades that have enough zeros and ones.

    From each grade on, how many are too few is counted under shares; only the answers at the cells' own ends open.
    """
    size = table.shape[1]
    sums = np.concatenate(
        [np.zeros_like(table.components[:, :, :1]), table.components.cumsum(axis=2, dtype=np.uint64)], 2
    )
    first, last = np.triu_indices(size + 1, 1)  # ordered by the first
    counts = sums[:, :, last] - sums[:, :, first]
    below = run.context.engine.below(counts, (minimum,), bits=max(rows, minimum).bit_length() + 1)
    few = Shared(run.context, below[:, 0], "bool")
    short = (few[0] | few[1]).as_int()
    starts = np.searchsorted(first, np.arange(size))
    steps = Shared(run.context, np.add.reduceat(short.components, starts, axis=1), "int")
    ends = [0]
    while ends[-1] < size:
        short_of = run.reveal(steps[ends[-1]])
        end = ends[-1] + 1 + int(short_of)  # type: ignore[arg-type]  # every computing party learns it
        if end > size:
            break
        ends.append(end)
    if len(ends) == 1:
        raise PolicyError(
            f"there are fewer than {minimum} zeros or fewer than {minimum} ones, and no count opens",
            code="result-too-small",
            remedy="Evaluate on more rows.",
        )
    ends[-1] = size  # what is left belongs to the last cell
    return np.array(ends)


def _evaluation(
    counts: NDArray[np.int64] | NDArray[np.float64], ends: NDArray[np.int64], grades: _Grades, *, bins: int, points: int
) -> Evaluation:
    """Of what has opened: (2, cells) and (cells + 1,)."""
    edges = grades.logit(ends)
    middles, sizes, widths = (edges[:-1] + edges[1:]) / 2, counts.sum(axis=0).astype(np.float64), np.diff(edges)
    if len(sizes) > 1:
        # Towards the ends there are fewer and fewer: a wide outer cell's rows lie near its inner edge. Of an
        # exponential tail that joins its neighbour, the mean distance is the cell's rows by the neighbour's density.
        for outer, inner, edge, away in ((0, 1, edges[1], -1), (-1, -2, edges[-2], 1)):
            if ends[outer % len(sizes) + 1] - ends[outer % len(sizes)] > 1 and sizes[inner]:
                distance = sizes[outer] * widths[inner] / sizes[inner]
                middles[outer] = edge + away * min(distance, widths[outer] / 2)
    within = metrics.sigmoid(edges)
    return metrics.of_counts(
        metrics.sigmoid(middles),
        *counts,
        edges=(0.0, *map(float, within[1:-1]), 1.0),
        bins=bins,
        points=points,
        resolution=grades.resolution,
    )


def _auc_and_ks(table: Shared, inverses: Shared) -> Shared:
    """(2,): AUC and KS."""
    context, engine = table.context, table.context.engine
    factors = np.ascontiguousarray(np.broadcast_to(inverses.components, table.components.shape))
    rates = context.truncate(engine.mul(np.ascontiguousarray(table.components), factors), _INVERSE - _RATE)
    zeros, ones = rates[:, 0], rates[:, 1]
    sums = rates.cumsum(axis=2, dtype=np.uint64)
    twice_below = (sums[:, 0] << np.uint64(1)) - zeros  # of each grade, twice the zeros below and those that tie
    auc = engine.mul(np.ascontiguousarray(ones), twice_below).sum(axis=1, keepdims=True, dtype=np.uint64)
    gaps = Shared(context, sums[:, 1] - sums[:, 0], "int")
    ks = abs(gaps).max().components.reshape(-1, 1)
    opened = [context.truncate(auc, 2 * _RATE + 1 - PRECISION), context.truncate(ks, _RATE - PRECISION)]
    return Shared(context, np.concatenate(opened, axis=1), "fixed", PRECISION)


def _discrimination(opened: NDArray[np.int64] | NDArray[np.float64], rows: int, resolution: int) -> Discrimination:
    auc, ks = (min(max(float(value), 0.0), 1.0) for value in opened)
    return Discrimination(rows, auc, ks, resolution)
