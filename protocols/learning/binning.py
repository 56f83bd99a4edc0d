"""Weights of evidence and information values of features whose labels another party holds.

    found = binning.answer(session, labels, feature_parties=("shop", "bureau"))                 # at the label party
    found = binning.offer(session, {"income": Binned.of(bins, values)}, label_party="bank")     # at each feature party
    found.bins["income"].woe_of(values), found.bins["income"].iv                                # mode "open"

Rows are aligned: row i is the same client at all parties. A feature party knows how many rows each of its bins has;
what it lacks is how many of them have label 1, the *events*.

    1  terms; the feature party's features and how many bins each has              both  (BinningTerms)
    2  packed events of each bin, as shares: one-hot matrix times labels           protocols/matvec/counts.py
    3  shares of the single counts, by bits                                        protocols/arithmetic/two.py
    mode "open"
    4  events >= cell and others >= cell for each bin: a bit, which both learn
    5  where some are smaller, the feature party says which bins go together, shares are added up, and 4 again
    6  events of the bins that are left                                            → feature party, which weighs them
    7  information values                                                          → label party  (BinningValues)
    mode "shared"
    4  WOE = ln events − ln others − ln B + ln G, with 0.5 added to both where one is zero: as shares
    5  IV = Σ (events / B − others / G)·WOE                                        → label party, or nobody

Security: semi-honest, either party; of protocols.matvec.rlwe and of protocols.arithmetic.two. Each feature party talks
          to the label party alone.
Leaks:    to the feature party, mode "open": of its own bins that it is left with, how many rows have label 1; so the
          overall rate, WOE and IV; and which of its bins were too small. It knows whose rows these are. Bins of
          different features overlap: whoever has many of them can narrow single labels down by differences, which no
          cell size prevents; the fewer features and bins, the less. A second run with other bins over the same rows
          adds to that. Merging afterwards (ChiMerge, monotone) opens the counts of the fine bins that it starts from;
          bins of equal frequency, taken as they are, only their own.
          To the label party, mode "open": how many features there are, their names unless these are kept, how many bins
          each has, in order, which of them were too small and went together, and the IV to thousandths.
          Mode "shared": to the feature party nothing; to the label party how many features, their names, how many bins
          each has, and the IV, to about a thousandth, if `tell_iv`.
          To both: how many rows, the same at both.
Cost:     of protocols.matvec.counts for the bins less one of each feature; to_bits of `Layout.rows` words and from_bits
          of each count; each round of step 4 two comparisons, an AND and two inputs a bin. Mode "shared": see
          protocols.arithmetic.functions.log, twice a bin, and five products. Base transfers for the first use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc import fixed
from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import PolicyError, UsageError
from mpc.rng import Rng
from mpc.session import Progress, Session, at_once, closing_on_error
from mpc.suite import Suite
from mpc.wire.learning.v1 import binning_pb2 as wire
from protocols import matvec
from protocols.arithmetic import functions
from protocols.arithmetic.engine import Engine, Words
from protocols.arithmetic.shared import Context, Shared
from protocols.arithmetic.two import TwoParty
from protocols.learning import bins as own
from protocols.learning.bins import Bins
from protocols.matvec import counts
from protocols.operator import Operator

Mode = Literal["open", "shared"]
Merging = Literal["none", "chi_merge", "monotone"]

VERSION = 1
MINIMUM_CELL = 10
"""Rows of each label that a bin whose counts open has at least, where nobody says otherwise."""
MAX_FEATURES = 4096
MAX_NAME = 200
"""Characters of a feature's name."""
ROWS_PER_COUNT = 4
"""Mode "open": so many times as many rows as bins of all features there are at least. As many exact counts of chosen
subsets as there are rows tell every label [Dinur, Nissim 2003]."""
FRACTION = 20
"""Fractional bits of WOE in mode "shared"."""
IV_DECIMALS = 3
"""Decimal places of the information values that the label party is told. It knows how many rows have each label, so a
value to many digits is that of one division of them into two or three bins only, and would tell their counts."""

_INVERSE_BITS = 50  # of 1 / B and 1 / G
_PART_BITS = 24  # of events / B
_IV_BITS = 10  # of IV in mode "shared": about as coarse as the decimals of mode "open"

OPERATORS: Mapping[Mode, Operator] = {
    "open": Operator(
        name="learning.binning",
        version=VERSION,
        title="Weights of evidence and information values of one party's features for another's labels",
        learns={
            "label_party": (
                "how many features {peer} has and their names, unless {peer} keeps these, and how many bins each has",
                "which bins, by number, had too few rows of a label and went together",
                "the information value of each feature, to thousandths; no value, no bin's edges, no bin's counts",
            ),
            "feature_party": (
                (
                    "of each bin of its own features that it is left with, in how many rows {peer}'s label is 1: so "
                    "how many there are in all, and its own features' weights of evidence and information values"
                ),
                "which of its bins had too few rows of a label",
                "possibly, by differences between overlapping bins of features, labels of fewer rows than a bin has",
            ),
        },
    ),
    "shared": Operator(
        name="learning.binning.shared",
        version=VERSION,
        title="Information values of one party's features for another's labels; weights of evidence stay shared",
        learns={
            "label_party": (
                "how many features {peer} has and their names, unless {peer} keeps these, and how many bins each has",
                "the information value of each feature to a thousandth, where that was agreed; no value, edge or count",
            ),
            "feature_party": ("nothing of {peer}'s labels",),
        },
    ),
}
"""By mode. They are two operators since they leak differently: grants and policies name the one that may run."""
OPERATOR = OPERATORS["open"]


@dataclass(frozen=True, eq=False)
class Binned:
    """A feature as a party brings it. Made by ``Binned.of``.

    Attributes:
        bins: with counts.
        codes: (n,) uint16, the bin of each row.

    Raises:
        UsageError: bins whose counts are not those of the codes.
    """

    bins: Bins
    codes: NDArray[np.uint16] = field(repr=False)

    def __post_init__(self) -> None:
        fits = self.codes.dtype == np.uint16 and self.codes.ndim == 1
        if not fits or tuple(np.bincount(self.codes, minlength=self.bins.number).tolist()) != self.bins.counts:
            raise UsageError(f"Bins of {self.bins.feature!r} have other counts than rows: use Binned.of(bins, values).")

    @classmethod
    def of(cls, bins: Bins, values: ArrayLike) -> Binned:
        """The feature's bins and its column.

        Raises:
            UsageError: a value that falls into no bin.
        """
        placed = bins.bin_of(values)
        if (placed < 0).any():
            row = int((placed < 0).argmax())
            raise UsageError(
                f"Row {row} of {bins.feature!r} falls into no bin: make bins with one for missing values or for others."
            )
        found = np.bincount(placed, minlength=bins.number)
        counted = replace(bins, counts=tuple(map(int, found)), events=None, woe=None, iv=None)
        return cls(counted, placed.astype(np.uint16))

    def grouped(self, groups: Sequence[Sequence[int]]) -> Binned:
        """The feature with bins merged, as ``bins.merge``."""
        into = _into(groups, self.bins.number)
        return Binned(own.merge(self.bins, groups), into[self.codes])


@dataclass(frozen=True)
class FeatureBinning:
    """What a party has of its own features.

    Attributes:
        bins: by feature; in mode "open" with events, WOE and IV.
        rows: how many rows were counted.
        shares: mode "shared": of each feature this party's additive share of the WOE of its bins, (number,) uint64
            with ``FRACTION`` fractional bits; else empty.
        learned: what this party learned, in words.
    """

    bins: Mapping[str, Bins]
    rows: int
    shares: Mapping[str, Words] = field(default_factory=dict, repr=False)
    learned: tuple[str, ...] = ()

    @property
    def ivs(self) -> dict[str, float]:
        """IV of the features of which it is known."""
        return {name: bins.iv for name, bins in self.bins.items() if bins.iv is not None}


@dataclass(frozen=True)
class LabelBinning:
    """What the label party has of the others' features.

    Attributes:
        ivs: by party and feature, to thousandths; a feature whose name is kept is ``feature 1`` and so on. Empty if
            nobody learns IVs.
        shares: mode "shared": by party and feature this party's share, as in ``FeatureBinning``; else empty.
        learned: what this party learned, in words.
    """

    ivs: Mapping[str, Mapping[str, float]]
    shares: Mapping[str, Mapping[str, Words]] = field(default_factory=dict, repr=False)
    learned: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Terms:
    mode: Mode
    minimum_cell: int
    tell_iv: bool
    suite: Suite

    def message(self, rows: int) -> wire.BinningTerms:
        return wire.BinningTerms(
            version=VERSION,
            suite=self.suite.name,
            mode=self.mode,
            minimum_cell=self.minimum_cell,
            tell_iv=self.tell_iv,
            rows=rows,
        )


# The two sides --------------------------------------------------------------------------------------------------------


def offer(
    session: Session,
    features: Mapping[str, Binned],
    *,
    label_party: str,
    mode: Mode = "open",
    minimum_cell: int = MINIMUM_CELL,
    merging: Merging = "none",
    most: int = 6,
    names: bool = True,
    tell_iv: bool = True,
    suite: str | Suite = "intl",
) -> FeatureBinning:
    """A feature party's side. Both sides pass the same `mode`, `minimum_cell`, `tell_iv` and `suite`.

    Args:
        session: this party's run, with a channel to the label party.
        features: by name, all of the same rows, in the label party's order.
        label_party: its name.
        mode: "open", this party learns counts of bins that are large enough; or "shared", nobody does.
        minimum_cell: fewest rows of each label in a bin whose counts open.
        merging: what this party makes of its bins when it knows their counts: ``bins.chi_merge``, ``bins.monotone``
            (categories: ``chi_merge``), or nothing.
        most: for ``chi_merge``.
        names: whether the label party learns the features' names.
        tell_iv: whether the label party learns information values.
        suite: cipher suite or its name.

    Raises:
        UsageError: no features, features of different lengths, options that there are not.
        PolicyError: more bins than the rows allow (``ROWS_PER_COUNT``).
        PeerError: the label party runs something else, has another number of rows, or broke the protocol.
        ChannelError: a connection failed, or the label party ended the run (its labels may be too few of one kind).
    """
    with closing_on_error(session, "binning"):
        terms = _terms(mode, minimum_cell, suite, tell_iv=tell_iv)
        _check_merging(merging)
        if mode == "shared" and merging != "none":
            raise UsageError(f"merging={merging!r} needs counts, which mode 'shared' opens to nobody: give 'none'.")
        n = _rows(features)
        binned = {name: _without_empty(feature) for name, feature in features.items()}
        _require_few(mode, n, sum(feature.bins.number for feature in binned.values()))
        channel = session.channel(label_party)
        _agree(channel, terms, n)  # 1
        sizes = np.array([feature.bins.number for feature in binned.values()], dtype=np.uint16)
        channel.send(wire.BinningFeatures(names=list(binned) if names else []), sizes)
        codes = [feature.codes for feature in binned.values()]
        session.progress(Progress("count", 0, 1))
        packed = counts.holder(channel, codes, n, [int(size) - 1 for size in sizes], rng=session.rng)  # 2
        session.progress(Progress("count", 1, 1))
        engine = TwoParty.over(channel, first=False, suite=terms.suite, rng=session.rng)
        events = _single(engine, packed, sizes, n, total=0)  # 3
        rows = np.concatenate([np.asarray(feature.bins.counts) for feature in binned.values()])
        sums = _Sums(engine, events, rows.astype(np.uint64)[None])
        if mode == "shared":
            woe, _ = _weigh_shared(sums, sizes, label_party, None, tell_iv=tell_iv)  # 4, 5
            shares = dict(zip(binned, np.split(woe, np.cumsum(sizes)[:-1]), strict=True))
            plain = {name: feature.bins for name, feature in binned.items()}
            return FeatureBinning(plain, n, shares, _learned(mode, "feature_party", label_party))
        while not (large := sums.large(minimum_cell)).all():  # 4
            small = np.split(~large, np.cumsum([feature.bins.number for feature in binned.values()])[:-1])
            groups = [own.absorb(f.bins, part.tolist()) for f, part in zip(binned.values(), small, strict=True)]
            into = [_into(g, f.bins.number) for f, g in zip(binned.values(), groups, strict=True)]
            channel.send(wire.BinningGroups(), np.concatenate(into))  # 5
            sums = sums.grouped(into)
            binned = {name: f.grouped(g) for (name, f), g in zip(binned.items(), groups, strict=True)}
        opened = engine.open(sums.events, to=(session.me,))  # 6
        known = _weighed(channel, binned, np.zeros(0, np.uint64) if opened is None else opened, merging, most)
        if tell_iv:
            values = np.array([bins.iv for bins in known.values()], dtype=np.float64)
            channel.send(wire.BinningValues(), np.round(values, IV_DECIMALS))  # 7
        return FeatureBinning(known, n, learned=_learned(mode, "feature_party", label_party))


def answer(
    session: Session,
    labels: ArrayLike,
    *,
    feature_parties: Sequence[str],
    mode: Mode = "open",
    minimum_cell: int = MINIMUM_CELL,
    tell_iv: bool = True,
    suite: str | Suite = "intl",
) -> LabelBinning:
    """The label party's side, with all feature parties at once. Options as for ``offer``.

    Args:
        session: this party's run, with a channel to each feature party.
        labels: (n,), each 0 or 1.
        feature_parties: their names.
        mode: as for ``offer``.
        minimum_cell: as for ``offer``.
        tell_iv: as for ``offer``.
        suite: as for ``offer``.

    Raises:
        UsageError: labels other than 0 and 1, or options that there are not.
        PolicyError: fewer than `minimum_cell` rows of a label altogether, so that no bin could be opened; or more
            bins than the rows allow (``ROWS_PER_COUNT``).
        PeerError: a feature party runs something else, has another number of rows, or broke the protocol.
        ChannelError: a connection failed.
    """
    with closing_on_error(session, "binning"):
        terms = _terms(mode, minimum_cell, suite, tell_iv=tell_iv)
        ones = labels_of(labels)
        parties = tuple(feature_parties)
        if not parties or len(set(parties)) != len(parties) or session.me in parties:
            raise UsageError(f"feature_parties names each other party with features once; got {parties}.")
        least = minimum_cell if mode == "open" else 1
        if min(ones.sum(), (~ones).sum()) < least:
            raise PolicyError(
                f"Fewer than {least} rows have label 1, or label 0: no bin's counts may open.",
                code="cell-too-small",
                remedy="Bring more rows, or agree on a smaller minimum_cell.",
            )

        def talk(channel: Channel, rng: Rng) -> _Answered:
            return _answer(channel, ones, terms, rng)

        session.progress(Progress("count", 0, len(parties)))
        found: dict[str, _Answered] = {}
        for party, answered in at_once(session, parties, talk):
            found[party] = answered
            session.progress(Progress("count", len(found), len(parties)))
        found = {party: found[party] for party in parties}
        return LabelBinning(
            ivs={party: one.ivs for party, one in found.items()} if tell_iv else {},
            shares={party: one.shares for party, one in found.items()} if mode == "shared" else {},
            learned=tuple(f"{p}: {text}" for p in parties for text in _learned(mode, "label_party", p)),
        )


@dataclass(frozen=True)
class _Answered:
    ivs: dict[str, float]
    shares: dict[str, Words]


def _answer(channel: Channel, ones: NDArray[np.bool_], terms: _Terms, rng: Rng) -> _Answered:
    """The label party's side with one feature party."""
    n, total = len(ones), int(ones.sum())
    _agree(channel, terms, n)  # 1
    header, sizes = channel.recv(wire.BinningFeatures)
    channel.require(1 <= len(sizes) <= MAX_FEATURES, f"1 to {MAX_FEATURES} features")
    channel.require(bool(((sizes >= 1) & (sizes <= own.MAX_BINS)).all()), f"1 to {own.MAX_BINS} bins of each feature")
    named = len(set(header.names)) == len(header.names) == len(sizes)
    short = all(len(name) <= MAX_NAME for name in header.names)
    channel.require(short and (named or not header.names), "a short name of its own for each feature, or none")
    _require_few(terms.mode, n, int(sizes.sum()))
    names = list(header.names) or [f"feature {i + 1}" for i in range(len(sizes))]
    packed = counts.vector(channel, ones, [int(size) - 1 for size in sizes], key=matvec.key(rng), rng=rng)  # 2
    engine = TwoParty.over(channel, first=True, suite=terms.suite, rng=rng)
    events = _single(engine, packed, sizes, n, total=total)  # 3
    sums = _Sums(engine, events, np.zeros_like(events))
    if terms.mode == "shared":
        woe, ivs = _weigh_shared(sums, sizes, channel.me, (total, n - total), tell_iv=terms.tell_iv)  # 4, 5
        shares = dict(zip(names, np.split(woe, np.cumsum(sizes)[:-1]), strict=True))
        return _Answered({} if ivs is None else dict(zip(names, ivs.tolist(), strict=True)), shares)
    left = [int(size) for size in sizes]
    while not (large := sums.large(terms.minimum_cell)).all():  # 4
        _, all_into = channel.recv(wire.BinningGroups)  # 5
        channel.require(len(all_into) == sum(left), "a place for each bin")
        into = np.split(all_into, np.cumsum(left)[:-1])
        for part, passed in zip(into, np.split(large, np.cumsum(left)[:-1]), strict=True):
            dense = len(np.unique(part)) == int(part.max()) + 1
            fewer = int(part.max()) + 1 < len(part) or bool(passed.all())
            channel.require(dense and fewer, "fewer bins where some were too small")
        sums = sums.grouped(into)
        left = [int(part.max()) + 1 for part in into]
    engine.open(sums.events, to=(channel.peer,))  # 6
    if not terms.tell_iv:
        return _Answered({}, {})
    _, values = channel.recv(wire.BinningValues)  # 7
    good = len(values) == len(sizes) and bool((np.isfinite(values) & (values >= 0)).all())
    channel.require(good, "an information value for each feature")
    return _Answered(dict(zip(names, values.tolist(), strict=True)), {})


def local(
    features: Mapping[str, Binned],
    labels: ArrayLike,
    *,
    minimum_cell: int = MINIMUM_CELL,
    merging: Merging = "none",
    most: int = 6,
) -> FeatureBinning:
    """The same for features of a party that has the labels itself. Nothing is sent.

    Raises:
        UsageError: labels other than 0 and 1, all labels the same, features of other lengths, options that there are
            not.
    """
    ones = labels_of(labels)
    n = _rows(features)
    if len(ones) != n:
        raise UsageError(f"{n} rows of features and {len(ones)} labels: give one for each row.")
    _check_merging(merging)
    known = {}
    for name, feature in features.items():
        one = _without_empty(feature)
        while True:
            events = np.bincount(one.codes[ones], minlength=one.bins.number)
            small = np.minimum(events, np.asarray(one.bins.counts) - events) < minimum_cell
            if one.bins.number == 1 or not small.any():
                break
            one = one.grouped(own.absorb(one.bins, small.tolist()))
        known[name] = _merged(own.weigh(one.bins, events), merging, most)
    return FeatureBinning(known, n, learned=("nothing: features and labels are its own",))


def labels_of(labels: ArrayLike) -> NDArray[np.bool_]:
    """Labels as (n,) bool. UsageError where one is neither 0 nor 1."""
    array = np.asarray(labels)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "biuf":
        raise UsageError(f"Labels are {array.dtype} of shape {array.shape}: give a number, 0 or 1, for each row.")
    other = (array != 0) & (array != 1)  # NaN is neither
    if other.any():
        raise UsageError(
            f"Labels are 0 and 1, and that of row {int(other.argmax())} is neither: map them first, and drop rows "
            "without a label."
        )
    ones: NDArray[np.bool_] = array == 1
    return ones


# Shares of counts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sums:
    """This party's shares of the events and rows of all features' bins, (1, bins) each."""

    engine: Engine
    events: Words
    rows: Words

    def large(self, cell: int) -> NDArray[np.bool_]:
        """Which bins have at least `cell` events and as many other rows; opens to both."""
        engine = self.engine
        both = np.concatenate([self.events, self.rows - self.events], axis=1)
        below = engine.negative(both - engine.constant(np.full(both.shape[1], cell, dtype=np.uint64)))
        enough = below ^ engine.constant(np.ones(both.shape[1], dtype=np.bool_))
        bins = self.events.shape[1]
        events, others = np.ascontiguousarray(enough[:, :bins]), np.ascontiguousarray(enough[:, bins:])
        opened: NDArray[np.bool_] = np.asarray(engine.open(engine.and_(events, others)), dtype=np.bool_)
        return opened

    def grouped(self, into: Sequence[NDArray[np.uint16]]) -> _Sums:
        """The sums of merged bins; `into` says of each feature where each bin goes."""
        starts = np.cumsum([0, *(int(part.max()) + 1 for part in into)])
        places = np.concatenate([part + start for part, start in zip(into, starts, strict=False)])
        events, rows = np.zeros((2, 1, starts[-1]), dtype=np.uint64)
        np.add.at(events[0], places, self.events[0])
        np.add.at(rows[0], places, self.rows[0])
        return _Sums(self.engine, events, rows)


def _single(engine: Engine, packed: Words, sizes: NDArray[np.uint16], n: int, *, total: int) -> Words:
    """Shares of the events of each bin, (1, bins), of packed ones without each feature's last bin.

    The last bin has what is left of `total`, which is 0 at the party that does not know it.
    """
    kept = [int(size) - 1 for size in sizes]
    layout = counts.Layout.of(n, sum(kept))
    bits = engine.to_bits(packed[None])
    shifts = np.arange(layout.slots, dtype=np.uint64) * np.uint64(layout.width)
    apart = (bits[:, :, None] >> shifts) & np.uint64((1 << layout.width) - 1)
    known = engine.from_bits(np.ascontiguousarray(apart.reshape(1, -1)[:, : sum(kept)]))[0]
    parts = np.split(known, np.cumsum(kept)[:-1])
    rests = np.uint64(total) - np.array([part.sum(dtype=np.uint64) for part in parts], dtype=np.uint64)
    return np.concatenate([np.append(part, rest) for part, rest in zip(parts, rests, strict=True)])[None]


def _weigh_shared(
    sums: _Sums, sizes: NDArray[np.uint16], owner: str, totals: tuple[int, int] | None, *, tell_iv: bool
) -> tuple[Words, NDArray[np.float64] | None]:
    """This party's shares of each bin's WOE, (bins,), and at the label party the IVs, (features,).

    Args:
        sums: shares of counts.
        sizes: bins of each feature.
        owner: the label party.
        totals: B and G, at the label party.
        tell_iv: whether IVs are computed.
    """
    engine = sums.engine
    bins = sums.events.shape[1]
    cells = np.concatenate([sums.events, sums.rows - sums.events], axis=1)  # (1, 2·bins)
    ones = engine.constant(np.ones(2 * bins, dtype=np.bool_))
    there = engine.is_zero(cells) ^ ones
    full = engine.and_(np.ascontiguousarray(there[:, :bins]), np.ascontiguousarray(there[:, bins:]))
    thin = engine.bit_to_word(full ^ np.ascontiguousarray(ones[:, :bins]))
    halves = 2 * cells + np.concatenate([thin, thin], axis=1)  # in units of 1/2, smoothed
    context = Context(engine, fraction=FRACTION)
    logs = functions.log(Shared(context, halves << np.uint64(FRACTION - 1), "fixed", FRACTION)).components
    woe = logs[:, :bins] - logs[:, bins:]
    if totals is not None:
        shift = fixed.encode(np.array([math.log(totals[1] / totals[0])]), FRACTION)
        woe = woe + shift
    if not tell_iv:
        return woe[0], None
    inverse = None
    if totals is not None:
        inverse = np.repeat(np.array([round(2**_INVERSE_BITS / total) for total in totals], dtype=np.uint64), bins)
    inverses = engine.input(inverse, owner, (2 * bins,))
    parts = engine.truncate(engine.mul(halves, inverses), _INVERSE_BITS + 1 - _PART_BITS)
    differences = np.ascontiguousarray(parts[:, :bins] - parts[:, bins:])
    products = engine.mul(differences, np.ascontiguousarray(woe))
    starts = np.cumsum([0, *sizes[:-1].tolist()])
    ivs = engine.truncate(np.add.reduceat(products, starts, axis=1), _PART_BITS + FRACTION - _IV_BITS)
    opened = engine.open(ivs, to=(owner,))
    return woe[0], None if opened is None else np.maximum(fixed.decode(opened, _IV_BITS), 0.0)


# What both sides check ------------------------------------------------------------------------------------------------


def _terms(mode: Mode, minimum_cell: int, suite: str | Suite, *, tell_iv: bool) -> _Terms:
    if mode not in OPERATORS:
        raise UsageError(f"mode is 'open' or 'shared', not {mode!r}.")
    if not 1 <= minimum_cell <= counts.MAX_ROWS:
        raise UsageError(f"minimum_cell={minimum_cell!r}: give a whole number of rows, at least 1.")
    return _Terms(mode, minimum_cell, tell_iv, suites.get(suite) if isinstance(suite, str) else suite)


def _agree(channel: Channel, terms: _Terms, rows: int) -> None:
    """1: both are about the same."""
    ours = terms.message(rows)
    (theirs,) = channel.exchange(ours)
    for name in ("version", "suite", "mode", "minimum_cell", "tell_iv"):
        channel.require(getattr(theirs, name) == getattr(ours, name), f"the same {name} at both parties")
    channel.require(theirs.rows == rows, "as many rows at both parties: align them first, by psi, and pass those alone")


def _require_few(mode: Mode, rows: int, bins: int) -> None:
    """Nothing where the counts that open are few against the rows; PolicyError otherwise."""
    if mode == "open" and bins * ROWS_PER_COUNT > rows:
        raise PolicyError(
            f"{bins} bins of all features together are too many for {rows} rows: so many counts would tell labels of "
            "single rows.",
            code="too-many-bins",
            remedy=f"Bring fewer features or coarser bins: a bin for {ROWS_PER_COUNT} rows at most. Mode 'shared' has "
            "no such limit.",
        )


def _check_merging(merging: Merging) -> None:
    if merging not in ("none", "chi_merge", "monotone"):
        raise UsageError(f"merging is 'none', 'chi_merge' or 'monotone', not {merging!r}.")


def _rows(features: Mapping[str, Binned]) -> int:
    if not 1 <= len(features) <= MAX_FEATURES:
        raise UsageError(f"{len(features)} features: give 1 to {MAX_FEATURES}.")
    n = len(next(iter(features.values())).codes)
    for name, feature in features.items():
        if len(name) > MAX_NAME:
            raise UsageError(f"A feature's name has {len(name)} characters: give up to {MAX_NAME}.")
        if len(feature.codes) != n:
            raise UsageError(f"{name!r} has {len(feature.codes)} rows and others {n}: give the aligned rows of all.")
    if not 1 <= n <= counts.MAX_ROWS:
        raise UsageError(f"{n} rows: give 1 to {counts.MAX_ROWS}.")
    return n


# Bins of the feature party --------------------------------------------------------------------------------------------


def _without_empty(feature: Binned) -> Binned:
    """The feature with bins that have no rows merged into others: they have no counts to hide or to tell."""
    while not all(feature.bins.counts or ()):
        empty = [not count for count in feature.bins.counts or ()]
        feature = feature.grouped(own.absorb(feature.bins, empty))
    return feature


def _into(groups: Sequence[Sequence[int]], number: int) -> NDArray[np.uint16]:
    """Where each bin goes."""
    into = np.zeros(number, dtype=np.uint16)
    for place, group in enumerate(groups):
        into[list(group)] = place
    return into


def _weighed(
    channel: Channel, binned: Mapping[str, Binned], events: Words, merging: Merging, most: int
) -> dict[str, Bins]:
    """The features' bins with the events that opened, merged further where that is wanted."""
    rows = np.concatenate([np.asarray(feature.bins.counts, dtype=np.uint64) for feature in binned.values()])
    channel.require(len(events) == len(rows) and bool((events <= rows).all()), "no more events than rows in a bin")
    parts = np.split(events.astype(np.int64), np.cumsum([feature.bins.number for feature in binned.values()])[:-1])
    channel.require(len({int(part.sum()) for part in parts}) == 1, "as many events in each feature's bins")
    channel.require(0 < int(parts[0].sum()) < int(rows[: len(parts[0])].sum()), "rows of both labels")
    return {
        name: _merged(own.weigh(feature.bins, part), merging, most)
        for (name, feature), part in zip(binned.items(), parts, strict=True)
    }


def _merged(bins: Bins, merging: Merging, most: int) -> Bins:
    if merging == "none":
        return bins
    if merging == "monotone" and bins.kind == "numeric":
        return own.monotone(bins)
    return own.chi_merge(bins, most=most)


def _learned(mode: Mode, role: str, peer: str) -> tuple[str, ...]:
    return tuple(text.format(peer=peer) for text in OPERATORS[mode].learns[role])
