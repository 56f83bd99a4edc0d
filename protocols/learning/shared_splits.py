"""Where nodes of a boosted tree are best split, from histograms that nobody holds.

G and H are sums of gradients and hessians over a node's rows, of which a candidate sends G_L and H_L to the left; λ and
γ are the settings. With L = H_L + λ, R = H_R + λ and T = L + R what a split gains [Chen, Guestrin: XGBoost, KDD 2016,
equation 7] is

    G_L²/L + G_R²/R − G²/(H + λ)  =  x² / (T·ρ·(1 − ρ))  −  G²·λ / ((H + λ)·T),      ρ = L/T,  x = G_L − ρ·G

of which only x²/(ρ·(1 − ρ)) differs between the candidates of a node. So candidates are compared as fractions, without
a division, and nothing cancels:

    1  ρ          one reciprocal of T for each node (``functions.inverse``), a product for each candidate; x = G_L − ρ·G
    2  valid      H_L and H_R at least min_child_weight; where not, x = 0 and ρ = 1/2
    3  fraction   numerator x² over denominator ρ·(1 − ρ). Numerators are brought to one size by the power of two that
                  fits the sum of those of the node, which nobody learns: small nodes keep as many digits as large ones
    4  best       a tournament: a is better than b if a's numerator times b's denominator exceeds the reverse
    5  gain       of the winner of each node: it is above γ where x² > ρ·(1 − ρ)·(γ·T + λ·w·G), w = G/(H + λ)

Security: of the engine of protocols.arithmetic, semi-honest.
Leaks:    nothing; the caller opens what is to be known of the result.
Cost:     of n nodes of C candidates: for each candidate 7 mul, 5 + 2 truncate of its sums, below of the bits of its
          hessians with one bound twice, one and_, 2 + 4 select_word and below of 40 bits; once there are few of them
          they are all compared with one another, by 2 mul, below of 60 bits and and_ for each pair. And for each node
          two ``functions.inverse``, a ``functions.scale`` and some products. Each stage takes few rounds, about 150
          together.
Error:    candidates whose gains differ by less than 2^-12 of the larger may be taken for each other; the gain is
          compared with γ within 2^-15 of it and 2^-8 / T.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols import arithmetic
from protocols.arithmetic import Computation, Shared, functions
from protocols.learning.boosting_terms import Columns

STEP_FRACTION = 20
"""Fractional bits of Newton steps."""

GAIN_FRACTION = 16
"""Fractional bits of γ."""

MOST_GAIN = 2.0**24
"""γ times the largest sum of hessians is at most this."""

_RATIO = 30  # fractional bits of ρ
_SIZE = 58  # numerators' sums are brought to 2^_SIZE, and below four times that,
_SPARE = 29  # and divided by 2^_SPARE, so that a product with a denominator is below 2^60
_CROSSED = 60  # bits of such products
_COARSE = 20  # bits below which products are not compared
_WEIGHED = 32  # hessians are below 2^31, as words
_PRECISION = 5  # and are compared with their bound within 2^-5
_PAIRS = 512  # so many pairs of candidates are compared at once
_INVERSE = 50  # 2^_INVERSE / (H + λ) times G is below 2^62
_PENALTY = 12  # fractional bits of λ, and of λ·w
_BOUND = 8  # fractional bits of γ·T + λ·w·G

Words = NDArray[np.uint32]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """All splits that a node may get: public. Of several columns those of one party come after one another.

    Attributes:
        party: (C,) index of the party, in the order of names.
        column: (C,) the party's column.
        bin: (C,) the last bin that goes left.
        missing_left: (C,) whether missing values go left.
        first: (C,) the first bin of the column, of all bins of all parties one after another.
        stop: (C,) behind the last bin that goes left.
        last: (C,) behind the column's last bin that is not for missing values.
        missing: (C,) the bin for missing values; the number of all bins where there is none.
        bins: of all parties.
    """

    party: Places
    column: Places
    bin: Places
    missing_left: NDArray[np.bool_]
    first: Places
    stop: Places
    last: Places
    missing: Places
    bins: int

    def __len__(self) -> int:
        return len(self.party)

    def of_party(self, party: int) -> slice:
        """Those of a party."""
        return slice(*(int(np.searchsorted(self.party, party, side)) for side in ("left", "right")))

    def left_sums(self, histograms: Words, totals: Words) -> Words:
        """Sums over the left side of each candidate: of shares, modulo 2^32.

        Of sides with more than half of the bins it takes the others off the total: what products add to bins is then
        less, for totals are exact.

        Args:
            histograms: (nodes, bins, 2).
            totals: (nodes, 2).

        Returns:
            (nodes, C, 2).
        """
        running = np.zeros((len(histograms), self.bins + 1, 2), dtype=np.uint32)
        np.cumsum(histograms, axis=1, dtype=np.uint32, out=running[:, 1:])
        bins = np.concatenate([histograms, np.zeros((len(histograms), 1, 2), dtype=np.uint32)], axis=1)
        swapped = 2 * (self.stop - self.first) > self.last - self.first
        start, stop = np.where(swapped, self.stop, self.first), np.where(swapped, self.last, self.stop)
        sums: Words = running[:, stop] - running[:, start]
        sums += np.where((self.missing_left != swapped)[:, None], bins[:, self.missing], np.uint32(0))
        return np.where(swapped[:, None], totals[:, None] - sums, sums)


def candidates(columns: Mapping[str, Columns], usable: Mapping[str, NDArray[np.bool_]]) -> Candidates:
    """The candidates of all parties' columns.

    Args:
        columns: by party.
        usable: by party (columns,), which ones may be split.
    """
    rows: list[tuple[int, int, int, bool, int, int, int, int]] = []
    bins, total = 0, sum(party.bins for party in columns.values())
    for p, (name, party) in enumerate(columns.items()):
        for j, (size, missing) in enumerate(zip(party.sizes, party.missing, strict=True)):
            plain, last = size - missing, bins + size - missing
            if usable[name][j]:
                for b in range(plain - 1 + missing):
                    rows.append((p, j, b, False, bins, bins + b + 1, last, last if missing else total))
                    if missing and b < plain - 1:
                        rows.append((p, j, b, True, bins, bins + b + 1, last, last))
            bins += size
    table = np.array(rows, dtype=np.int64).reshape(-1, 8)
    return Candidates(
        party=table[:, 0],
        column=table[:, 1],
        bin=table[:, 2],
        missing_left=table[:, 3].astype(np.bool_),
        first=table[:, 4],
        stop=table[:, 5],
        last=table[:, 6],
        missing=table[:, 7],
        bins=bins,
    )


@dataclass(frozen=True)
class Rules:
    """What a split has to be like, in the units of the run.

    Attributes:
        gradient_bits: fractional bits of sums of gradients, at most 18.
        hessian_bits: of sums of hessians.
        penalty: λ.
        least: the smallest sum of hessians on either side.
    """

    gradient_bits: int
    hessian_bits: int
    penalty: float
    least: float

    @property
    def penalty_word(self) -> int:
        """λ as sums of hessians are."""
        return round(math.ldexp(self.penalty, self.hessian_bits))


@dataclass(frozen=True)
class Best:
    """The best candidate of each node, in shares.

    Attributes:
        splits: (nodes,) conditions: whether it gains enough.
        index: (nodes,) its number among the candidates.
    """

    splits: Shared
    index: Shared


def signed(run: Computation, words: Words) -> Shared:
    """Whole numbers, smaller than 2^30, of which computing parties have shares modulo 2^32. All call it."""
    raised = run.from_pieces(words.astype(np.uint64) << np.uint64(32), kind="int")
    return replace(raised, components=run.context.truncate(raised.components, 32))


def newton(sums: Shared, rules: Rules) -> Shared:
    """G / (H + λ) of (nodes, 2) sums: what leaves weigh, but for sign and learning rate. (nodes,)"""
    g, below = sums[:, 0], sums[:, 1] + rules.penalty_word
    return _steps(g, functions.inverse(below), rules)


def _steps(g: Shared, inverses: Shared, rules: Rules) -> Shared:
    """G times 2^60 / (H + λ), as a number of ``STEP_FRACTION`` fractional bits."""
    words = inverses.context.truncate(inverses.components, 60 - _INVERSE)
    bits = _INVERSE - STEP_FRACTION - (rules.hessian_bits - rules.gradient_bits)
    step = _product(g, replace(inverses, components=words), bits)
    return replace(step, kind="fixed", fraction=STEP_FRACTION)


def best(run: Computation, left: Words, totals: Words, rules: Rules, gamma: Shared) -> Best:
    """The best candidate of each node. All computing parties call it.

    Args:
        run: of this party.
        left: (nodes, C, 2) shares modulo 2^32 of each candidate's sums of gradients and hessians, smaller than 2^30.
        totals: (nodes, 2), of each node's; with twice the penalty the hessians' are below 2^31.
        rules: the same at all parties.
        gamma: γ, a number of ``GAIN_FRACTION`` fractional bits, above zero.
    """
    nodes, count, _ = left.shape
    sums = signed(run, np.concatenate([left, totals[:, None]], axis=1))
    gradients, hessians = sums[:, :, 0], sums[:, :, 1]
    g, below = gradients[:, count], hessians[:, count] + rules.penalty_word
    t = below + rules.penalty_word
    inverses = functions.inverse(arithmetic.concatenate([t, below]))
    weights = hessians[:, :count] + rules.penalty_word  # L
    ratio = _product(weights, inverses[:nodes, None], 60 - _RATIO)  # 1
    x = gradients[:, :count] - _product(g[:, None], ratio, _RATIO)
    x, ratio = _valid(x, ratio, weights, t, rules)  # 2
    numerators, denominators = _fractions(x, ratio)  # 3
    index = run.constant(np.broadcast_to(np.arange(count), (nodes, count)))
    lead = _winner(arithmetic.stack([numerators, denominators, x, index]))  # 4
    bound = _bound(g, t, _steps(g, inverses[nodes:], rules), rules, gamma)
    return Best(_gains(lead[1], lead[2], bound, rules), lead[3])  # 5


def _product(a: Shared, b: Shared, bits: int) -> Shared:
    """a·b / 2^bits, of whole numbers whose product is below 2^62."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    words = (np.ascontiguousarray(x.broadcast_to(shape).components) for x in (a, b))
    return Shared(a.context, a.context.truncate(a.context.engine.mul(*words), bits), "int")


def _valid(x: Shared, ratio: Shared, weights: Shared, t: Shared, rules: Rules) -> tuple[Shared, Shared]:
    """Of candidates that leave too little on a side 0 and 1/2 for x and ρ."""
    context = x.context
    sides = arithmetic.stack([weights, t[:, None] - weights])
    bound = round(math.ldexp(rules.least + rules.penalty, rules.hessian_bits))
    drop = max(0, rules.hessian_bits - _PRECISION)
    low = context.engine.below(np.ascontiguousarray(sides.components), (bound,), bits=_WEIGHED, drop=drop)[:, 0]
    few = Shared(context, np.ascontiguousarray(low), "bool")
    fits = ~few[0] & ~few[1]
    half = 1 << (_RATIO - 1)
    both = arithmetic.stack([fits, fits]) * arithmetic.stack([x, ratio - half])
    return both[0], both[1] + half


def _fractions(x: Shared, ratio: Shared) -> tuple[Shared, Shared]:
    """Numerators below 2^31, of one size in each node, and denominators of at most 2^28."""
    context, count = x.context, x.shape[1]
    left = arithmetic.stack([x, ratio])
    right = arithmetic.stack([x, (1 << _RATIO) - ratio])
    products = context.engine.mul(*(np.ascontiguousarray(side.components) for side in (left, right)))
    squares = Shared(context, context.truncate(products[:, 0], (count - 1).bit_length()), "int")
    denominators = Shared(context, context.truncate(products[:, 1], _RATIO), "int")
    power = functions.scale(squares.sum(axis=1), _SIZE, step=2)
    return _product(squares, power[:, None], _SPARE), denominators


def _winner(field: Shared) -> Shared:
    """Of (4, nodes, C) numerators, denominators and what goes with them those of the largest fraction, (4, nodes)."""
    context, engine = field.context, field.context.engine
    while (count := field.shape[2]) * (count - 1) // 2 * field.shape[1] > max(_PAIRS, field.shape[1]):
        pairs = count // 2
        first, second = field[:, :, 0 : 2 * pairs : 2], field[:, :, 1 : 2 * pairs : 2]
        behind = engine.below(_lead(first, second), (0,), bits=_CROSSED, drop=_COARSE)[:, 0]
        better = Shared(context, np.ascontiguousarray(behind), "bool")
        winners = first + better[None] * (second - first)
        field = arithmetic.concatenate([winners, field[:, :, 2 * pairs :]], axis=2)
    return _winner_of_all(field) if field.shape[2] > 1 else field[:, :, 0]


def _lead(first: Shared, second: Shared) -> NDArray[np.uint64]:
    """Words that are negative where the second's fraction is the larger one."""
    left, right = arithmetic.stack([first[0], second[0]]), arithmetic.stack([second[1], first[1]])
    crossed = first.context.engine.mul(*(np.ascontiguousarray(side.components) for side in (left, right)))
    return np.ascontiguousarray(crossed[:, 0] - crossed[:, 1])


def _winner_of_all(field: Shared) -> Shared:
    """The same by comparing each with each, exactly, of equals the first: so there is one that none surpasses."""
    context, count = field.context, field.shape[2]
    first, second = np.triu_indices(count, 1)
    behind = context.engine.below(_lead(field[:, :, first], field[:, :, second]), (0,), bits=_CROSSED)[:, 0]
    pair = np.zeros((count, count), dtype=np.int64)
    pair[first, second] = pair[second, first] = np.arange(len(first))
    others = np.array([[j for j in range(count) if j != i] for i in range(count)])
    ahead = Shared(context, np.ascontiguousarray(behind), "bool")[:, pair[np.arange(count)[:, None], others]]
    holds = ahead ^ (others > np.arange(count)[:, None])[None]
    while (many := holds.shape[2]) > 1:
        both = holds[:, :, : many // 2] & holds[:, :, many // 2 : 2 * (many // 2)]
        holds = arithmetic.concatenate([both, holds[:, :, 2 * (many // 2) :]], axis=2)
    return (holds[None, :, :, 0] * field).sum(axis=2)


def _bound(g: Shared, t: Shared, steps: Shared, rules: Rules, gamma: Shared) -> Shared:
    """What x² / (ρ·(1 − ρ)) of a split that gains γ is: γ·T + λ·w·G, (nodes,), as words of ``_BOUND`` bits."""
    context = t.context
    penalty = np.uint64(round(math.ldexp(rules.penalty, _PENALTY)))
    pulled = Shared(context, context.truncate(steps.components * penalty, STEP_FRACTION), "int")  # λ·w
    wanted = replace(gamma, kind="int", fraction=0).broadcast_to(t.shape)
    products = context.engine.mul(
        *(
            np.ascontiguousarray(side.components)
            for side in (arithmetic.stack([pulled, wanted]), arithmetic.stack([g, t]))
        )
    )
    bits = (_PENALTY + rules.gradient_bits - _BOUND, GAIN_FRACTION + rules.hessian_bits - _BOUND)
    parts = [context.truncate(products[:, i], more) for i, more in enumerate(bits)]
    return Shared(context, parts[0] + parts[1], "int")


def _gains(denominator: Shared, x: Shared, bound: Shared, rules: Rules) -> Shared:
    """Whether the winner of each node gains more than γ: (nodes,)."""
    context, engine = x.context, x.context.engine
    left, right = arithmetic.stack([x, denominator]), arithmetic.stack([x, bound])
    products = engine.mul(*(np.ascontiguousarray(side.components) for side in (left, right)))
    needed = context.truncate(products[:, 1], _RATIO + _BOUND - 2 * rules.gradient_bits)
    return Shared(context, engine.negative(np.ascontiguousarray(needed - products[:, 0])), "bool")
