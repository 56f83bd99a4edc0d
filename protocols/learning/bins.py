"""Bins of one feature, their weights of evidence (WOE) and their information value (IV). Plain numpy, one party.

    bins = equal_frequency(values, 20, feature="income")      fine bins, with how many rows each has
    bins = chi_merge(bins, events, most=6)                    fewer, by the labels' counts; or monotone(bins, events)
    bins.bin_of(values), bins.woe_of(values)                  (n,) bin numbers, (n,) WOE

An *event* is a row whose label is 1, by custom a default ("bad"). With b_i events and g_i other rows in bin i, B and G
in all bins [Siddiqi 2006, with the sign such that more WOE is more risk]:

    WOE_i = ln((b_i / B) / (g_i / G))          IV = Σ (b_i / B − g_i / G)·WOE_i

Smoothing: in a bin where b_i or g_i is zero, 0.5 is added to both, in both formulas; B and G stay. A bin without any
rows has WOE 0 and adds nothing to IV.

What a value falls into: number v into the bin i with edge[i-1] < v <= edge[i], infinities included; a category into the
bin that names it, one that no bin names into "other" where there is such a bin, otherwise where missing values go.
These (None, NaN, an empty text) have the last bin, or fall into another one, or have none: then the bin is -1 and WOE
is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError

Kind = Literal["numeric", "category"]
Direction = Literal["auto", "increasing", "decreasing"]
Json = Mapping[str, object]
Counts = NDArray[np.int64]

MAX_BINS = 1024
"""Most bins of a feature."""
MAX_NAME = 200
"""Characters of a category's name; a longer one is never named and goes to "other"."""
MAX_ROWS = 1 << 40
"""Rows that a bin may have."""
SMOOTHING = 0.5
"""Added to both counts of a bin where one of them is zero."""

_VERSION = 1
_FIELDS = frozenset(
    (
        "version",
        "feature",
        "kind",
        "edges",
        "categories",
        "other",
        "missing",
        "missing_in",
        "counts",
        "events",
        "woe",
        "iv",
    )
)


@dataclass(frozen=True)
class Bins:
    """How the values of one feature fall into bins, and what is known of these.

    The order of bins: those of `edges` or `categories`, then "other" if there is such a bin, then missing values'.

    Attributes:
        feature: its name.
        kind: ``numeric`` or ``category``.
        edges: of a numeric feature the inner edges, finite and increasing; bin i is (edges[i-1], edges[i]].
        categories: of a category feature what each bin names.
        other: of a category feature: the bin after those is for categories that no bin names.
        missing: the last bin is for missing values.
        missing_in: without such a bin, the one that missing values fall into; None: into none.
        counts: rows of each bin where the bins were made; None where nobody has counted.
        events: rows of each bin whose label was 1; None where this party does not know them.
        woe: of each bin; None before ``weigh``.
        iv: of the feature; None before ``weigh``.
    """

    feature: str
    kind: Kind
    edges: tuple[float, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    other: bool = False
    missing: bool = False
    missing_in: int | None = None
    counts: tuple[int, ...] | None = None
    events: tuple[int, ...] | None = None
    woe: tuple[float, ...] | None = None
    iv: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("numeric", "category"):
            raise UsageError(f"The kind of {self.feature!r} is 'numeric' or 'category', not {self.kind!r}.")
        if self.kind == "numeric":
            if self.categories or self.other:
                raise UsageError(f"{self.feature!r} is numeric and has no categories; leave them out.")
            ascending = all(a < b for a, b in pairwise(self.edges))
            if not ascending or not all(math.isfinite(edge) for edge in self.edges):
                raise UsageError(f"The edges of {self.feature!r} have to be finite and increasing.")
        else:
            names = [name for group in self.categories for name in group]
            if self.edges or len(set(names)) != len(names) or not all(self.categories) or "" in names:
                raise UsageError(
                    f"{self.feature!r} has categories and no edges: each bin names at least one, no name is empty or "
                    "comes twice."
                )
        if not 1 <= self.number <= MAX_BINS:
            raise UsageError(f"{self.feature!r} has {self.number} bins; give 1 to {MAX_BINS}.")
        if self.missing_in is not None and (self.missing or not 0 <= self.missing_in < self.number):
            raise UsageError(
                f"Missing values of {self.feature!r} have a bin of their own or fall into one that there is."
            )
        for known, what in ((self.counts, "counts"), (self.events, "events"), (self.woe, "woe")):
            if known is not None and len(known) != self.number:
                raise UsageError(f"{self.feature!r} has {self.number} bins and {len(known)} {what}.")
        if self.counts is not None and not all(0 <= count <= MAX_ROWS for count in self.counts):
            raise UsageError(f"The counts of {self.feature!r} are 0 to 2^40.")
        if self.events is not None and (
            self.counts is None or not all(0 <= b <= n for b, n in zip(self.events, self.counts, strict=True))
        ):
            raise UsageError(f"The events of {self.feature!r} are 0 up to each bin's count.")
        if not all(math.isfinite(value) for value in (*(self.woe or ()), self.iv or 0.0)) or (self.iv or 0.0) < 0:
            raise UsageError(f"WOE and IV of {self.feature!r} are finite, and IV is not negative.")

    @property
    def number(self) -> int:
        """How many bins."""
        named = len(self.edges) + 1 if self.kind == "numeric" else len(self.categories)
        return named + self.other + self.missing

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin is, for people: ``(10, 20]``, ``A, B``, ``other``, ``missing``."""
        if self.kind == "numeric":
            ends = ["-inf", *(f"{edge:.12g}" for edge in self.edges), "inf"]
            last = len(ends) - 2
            named = [f"({a}, {b}{')' if i == last else ']'}" for i, (a, b) in enumerate(pairwise(ends))]
        else:
            named = [", ".join(group) for group in self.categories]
        labels = named + ["other"] * self.other + ["missing"] * self.missing
        if self.missing_in is not None:
            labels[self.missing_in] += ", missing"
        return tuple(labels)

    @property
    def _nowhere(self) -> int:
        """Where values go that have no place: missing ones, and categories that no bin names without "other"."""
        return self.number - 1 if self.missing else -1 if self.missing_in is None else self.missing_in

    def bin_of(self, values: ArrayLike) -> NDArray[np.int64]:
        """The bin of each value: (n,), from 0; -1 where a value falls into none.

        Raises:
            UsageError: a numeric feature's values are no numbers.
        """
        if self.kind == "numeric":
            numbers = numbers_of(values, self.feature)
            bins = np.searchsorted(np.asarray(self.edges, dtype=np.float64), numbers, side="left").astype(np.int64)
            bins[np.isnan(numbers)] = self._nowhere
            return bins
        return self._bin_of_categories(*categories_of(values, self.feature))

    def _bin_of_categories(self, codes: Counts, names: Sequence[str]) -> Counts:
        nowhere = self._nowhere
        place = {name: i for i, group in enumerate(self.categories) for name in group}
        rest = len(self.categories) if self.other else nowhere
        by_code = np.array([*(place.get(name, rest) for name in names), nowhere], dtype=np.int64)
        return by_code[codes]

    def woe_of(self, values: ArrayLike) -> NDArray[np.float64]:
        """The WOE of each value: (n,); 0 where a value falls into no bin.

        Raises:
            UsageError: these bins have no WOE, or a numeric feature's values are no numbers.
        """
        if self.woe is None:
            raise UsageError(f"The bins of {self.feature!r} have no WOE yet: weigh them, or bin together with labels.")
        return np.array([*self.woe, 0.0])[self.bin_of(values)]

    def counted(self, values: ArrayLike) -> Bins:
        """The same bins with how many of these values each has, and without what else was known."""
        return self._counted(self.bin_of(values))

    def _counted(self, placed: Counts) -> Bins:
        counts = np.bincount(placed + 1, minlength=self.number + 1)[1:]
        return replace(self, counts=tuple(map(int, counts)), events=None, woe=None, iv=None)

    def to_json(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "version": _VERSION,
            "feature": self.feature,
            "kind": self.kind,
            "edges": list(self.edges),
            "categories": [list(group) for group in self.categories],
            "other": self.other,
            "missing": self.missing,
            "missing_in": self.missing_in,
            "counts": None if self.counts is None else list(self.counts),
            "events": None if self.events is None else list(self.events),
            "woe": None if self.woe is None else list(self.woe),
            "iv": self.iv,
        }

    @classmethod
    def from_json(cls, data: Json) -> Bins:
        """What ``to_json`` made. Strict: UsageError for a field too many, too few or of another type or version."""
        if set(data) != _FIELDS:
            raise UsageError(f"Bins are an object of the fields {', '.join(sorted(_FIELDS))}.")
        if data["version"] != _VERSION or type(data["version"]) is not int:
            raise UsageError(f"These bins are of another version than {_VERSION}: make them anew.")
        feature, kind, missing_in, iv = data["feature"], data["kind"], data["missing_in"], data["iv"]
        other, missing = data["other"], data["missing"]
        if not isinstance(feature, str) or kind not in ("numeric", "category"):
            raise UsageError("Bins have a feature's name, and are 'numeric' or 'category'.")
        if type(other) is not bool or type(missing) is not bool:
            raise UsageError(f"In bins of {feature!r}, other and missing are true or false.")
        if missing_in is not None and type(missing_in) is not int:
            raise UsageError(f"In bins of {feature!r}, missing_in is a number of a bin or null.")
        groups = data["categories"]
        if not isinstance(groups, list):
            raise UsageError(f"In bins of {feature!r}, categories are a list of lists of texts.")
        return cls(
            feature=feature,
            kind="numeric" if kind == "numeric" else "category",
            edges=_json_numbers(data["edges"], feature, "edges"),
            categories=tuple(_json_texts(group, feature) for group in groups),
            other=other,
            missing=missing,
            missing_in=missing_in,
            counts=None if data["counts"] is None else _json_counts(data["counts"], feature, "counts"),
            events=None if data["events"] is None else _json_counts(data["events"], feature, "events"),
            woe=None if data["woe"] is None else _json_numbers(data["woe"], feature, "woe"),
            iv=None if iv is None else _json_numbers([iv], feature, "iv")[0],
        )


# Making bins ----------------------------------------------------------------------------------------------------------


def equal_frequency(values: ArrayLike, n: int = 10, *, feature: str = "") -> Bins:
    """Numeric bins of about equally many rows each, and one for missing values where there are any, with counts.

    Edges are values that occur. A value that takes up more than a bin's part makes fewer bins; a constant column, or
    one without any value, has one bin.

    Args:
        values: (n,) numbers; infinities count as the smallest and the largest.
        n: how many bins at most, without that of missing values.
        feature: its name.

    Raises:
        UsageError: values that are no numbers, or a number of bins that is none.
    """
    if not 1 <= n < MAX_BINS:
        raise UsageError(f"{n} bins: give 1 to {MAX_BINS - 1}.")
    numbers = numbers_of(values, feature)
    there = np.sort(numbers[~np.isnan(numbers)])
    edges: tuple[float, ...] = ()
    if there.size:
        places = np.ceil(np.arange(1, n) * there.size / n).astype(np.int64) - 1
        found = np.unique(there[places[places >= 0]])
        edges = tuple(map(float, found[np.isfinite(found) & (found < there[-1])]))
    missing = there.size < numbers.size
    counts = np.diff([0, *np.searchsorted(there, edges, side="right"), there.size]).tolist()
    return Bins(
        feature,
        "numeric",
        edges=edges,
        missing=missing,
        counts=(*counts, numbers.size - there.size) if missing else tuple(counts),
    )


def from_edges(edges: Iterable[float], *, feature: str = "", missing: bool = True) -> Bins:
    """Numeric bins with these inner edges, and a bin for missing values if so wanted. Nothing is counted."""
    return Bins(feature, "numeric", edges=tuple(map(float, edges)), missing=missing)


def by_category(values: ArrayLike, *, feature: str = "", most: int = 20, rare: float = 0.01) -> Bins:
    """A bin for each frequent category, "other" for the rare ones, one for missing values where there are any.

    Args:
        values: (n,) texts, or what ``str`` makes texts of; whole numbers are the same with and without ``.0``.
        most: how many bins at most, "other" included, without that of missing values.
        rare: a category with a smaller part of the rows goes to "other".
        feature: its name.

    Raises:
        UsageError: a number of bins or a part that is none.
    """
    if not 1 <= most < MAX_BINS or not 0 <= rare <= 1:
        raise UsageError(f"most={most} and rare={rare}: give 1 to {MAX_BINS - 1} bins, and a part from 0 to 1.")
    codes, names = categories_of(values, feature)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    # The most frequent first; of equally frequent ones by name, so that the order of rows says nothing.
    frequent = np.flatnonzero(counts >= rare * codes.size).tolist()
    fit = [i for i in frequent if len(names[i]) <= MAX_NAME]
    fit.sort(key=lambda i: (-counts[i], names[i]))
    if len(fit) > most or (len(fit) < len(names) and len(fit) == most):
        fit = fit[: most - 1]
    other, missing = len(fit) < len(names), bool((codes < 0).any())
    if not names and not missing:
        other = True  # a column without rows
    made = Bins(feature, "category", categories=tuple((names[i],) for i in fit), other=other, missing=missing)
    return made._counted(made._bin_of_categories(codes, names))


# What the labels say --------------------------------------------------------------------------------------------------


def weigh(bins: Bins, events: ArrayLike, counts: ArrayLike | None = None) -> Bins:
    """The bins with WOE and IV, by the formulas at the top.

    Args:
        bins: with counts, unless `counts` are given.
        events: (number,) rows of each bin whose label is 1.
        counts: (number,) rows of each bin.

    Raises:
        UsageError: counts that are none, or no row with label 1, or none with label 0: then nothing has a WOE.
    """
    b, n = _counts(bins, events, counts)
    if not 0 < b.sum() < n.sum():
        raise UsageError(f"All labels are the same in the rows of {bins.feature!r}: WOE takes rows of both.")
    woe, iv = evidence(b, n - b)
    return replace(bins, counts=tuple(map(int, n)), events=tuple(map(int, b)), woe=tuple(map(float, woe)), iv=float(iv))


def evidence(events: Counts, others: Counts) -> tuple[NDArray[np.float64], float]:
    """WOE of each bin and IV, of counts (number,) with a sum above zero each: the formulas and nothing else."""
    b, g = events.astype(np.float64), others.astype(np.float64)
    total_b, total_g = b.sum(), g.sum()
    full = (b + g) > 0
    thin = full & ((b == 0) | (g == 0))
    b[thin] += SMOOTHING
    g[thin] += SMOOTHING
    part_b, part_g = b / total_b, g / total_g
    woe = np.zeros_like(b)
    woe[full] = np.log(part_b[full] / part_g[full])
    return woe, float(((part_b - part_g) * woe).sum())


def merge(bins: Bins, groups: Sequence[Sequence[int]]) -> Bins:
    """Fewer bins: each group of bins becomes one, with the counts and events of its parts together, and no WOE.

    Args:
        bins: what is merged.
        groups: bin numbers, each once. Of a numeric feature a group is a stretch of neighbours, and groups come in
            their order; of a category feature the group with "other" comes after the others, and is "other". The bin of
            missing values may be in any group; where it is alone, it comes last.

    Raises:
        UsageError: other groups.
    """
    flat = sorted(i for group in groups for i in group)
    if flat != list(range(bins.number)) or not all(groups):
        raise UsageError(f"Groups name each of the {bins.number} bins of {bins.feature!r} once.")
    lost = bins.number - 1 if bins.missing else None
    named = [sorted(i for i in group if i != lost) for group in groups]  # each group's parts but for missing values
    alone = [place for place, part in enumerate(named) if not part]
    if alone not in ([], [len(groups) - 1]):
        raise UsageError("The bin of missing values comes last where it is alone.")
    if alone:
        named.pop()
    where = lost if lost is not None else bins.missing_in
    missing_in = None
    if where is not None and not alone:
        missing_in = next(place for place, group in enumerate(groups) if where in group)
    edges, categories = bins.edges, bins.categories
    if bins.kind == "numeric":
        if [i for part in named for i in part] != list(range(len(edges) + 1)):
            raise UsageError(f"{bins.feature!r} is numeric: groups are stretches of neighbours, in their order.")
        edges = tuple(edges[part[-1]] for part in named[:-1])
    else:
        if bins.other and len(categories) not in named.pop():
            raise UsageError('The group with "other" comes after the others.')
        categories = tuple(tuple(sorted(n for i in part for n in categories[i])) for part in named)
    return Bins(
        bins.feature,
        bins.kind,
        edges=edges,
        categories=categories,
        other=bins.other,
        missing=bool(alone),
        missing_in=missing_in,
        counts=_summed(bins.counts, groups),
        events=_summed(bins.events, groups),
    )


def chi_merge(
    bins: Bins,
    events: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    *,
    most: int = 6,
    least: float = 3.841,
) -> Bins:
    """Merge the two neighbours whose labels differ least, again and again [Kerber 1992, ChiMerge]. Weighed.

    Neighbours of a numeric feature are so by value, categories by their rate of events. The bin of missing values
    stays.

    Args:
        bins: fine bins, with counts and events unless they are given.
        events: (number,) rows of each bin whose label is 1.
        counts: (number,) rows of each bin.
        most: bins that are left at most, without that of missing values.
        least: χ² (one degree of freedom) below which two neighbours are merged however few there are; 3.841 is 95 %.

    Raises:
        UsageError: as ``weigh``, or options that there are not.
    """
    if most < 1 or not least >= 0:
        raise UsageError(f"most={most} and least={least}: give at least one bin, and a χ² from 0.")
    b, n = _counts(bins, events, counts)
    named = bins.number - bins.missing
    groups = [[i] for i in range(named)]
    if bins.kind == "category":
        groups.sort(key=lambda group: float(_rate(b[group[0]], n[group[0]])))
    bs, ns = np.array([b[g[0]] for g in groups]), np.array([n[g[0]] for g in groups])
    while len(groups) > 1:
        differs = _chi_squares(bs, ns)
        at = int(differs.argmin())
        if len(groups) <= most and differs[at] >= least:
            break
        groups[at : at + 2] = [groups[at] + groups[at + 1]]
        bs = np.concatenate([bs[:at], [bs[at] + bs[at + 1]], bs[at + 2 :]])
        ns = np.concatenate([ns[:at], [ns[at] + ns[at + 1]], ns[at + 2 :]])
    return _weighed(bins, groups, b, n)


def monotone(
    bins: Bins,
    events: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    *,
    direction: Direction = "auto",
) -> Bins:
    """Merge neighbours until the rate of events only rises, or only falls [pool adjacent violators]. Weighed.

    Args:
        bins: numeric bins, with counts and events unless they are given. The bin of missing values stays out of it.
        events: (number,) rows of each bin whose label is 1.
        counts: (number,) rows of each bin.
        direction: ``auto`` takes the one with the larger IV.

    Raises:
        UsageError: as ``weigh``, for categories, or for a direction that there is not.
    """
    if bins.kind != "numeric":
        raise UsageError(f"{bins.feature!r} is no numeric feature and has no order: use chi_merge.")
    if direction not in ("auto", "increasing", "decreasing"):
        raise UsageError(f"direction is 'auto', 'increasing' or 'decreasing', not {direction!r}.")
    b, n = _counts(bins, events, counts)
    found = [
        _weighed(bins, _pooled(b[: len(bins.edges) + 1] if up else (n - b)[: len(bins.edges) + 1], n), b, n)
        for up in (True, False)
        if direction == "auto" or up == (direction == "increasing")
    ]
    return max(found, key=lambda one: one.iv or 0.0)


def absorb(bins: Bins, small: Sequence[bool]) -> list[list[int]]:
    """Groups for ``merge`` in which every small bin is together with another, where there is one.

    A number's bin goes to its neighbour with fewer rows; a category's to "other", or to the smallest other bin; that of
    missing values to the largest bin; a bin that has no other goes together with that of missing values. So there are
    fewer, unless there was one. Whether what comes out is large enough the caller has to ask again.

    Args:
        bins: with counts.
        small: (number,) which are too small.
    """
    n = bins.counts
    if n is None:
        raise UsageError(f"The bins of {bins.feature!r} have no counts: use counted(values).")
    named = bins.number - bins.missing
    groups: list[list[int]] = []
    if bins.kind == "numeric":
        # From the left: a small bin opens a group that takes in its right neighbour, unless the left has fewer rows.
        wanting = False
        for i in range(named):
            if wanting:
                groups[-1].append(i)
                wanting = small[i] and i + 1 < named
            elif small[i] and groups and (i + 1 == named or sum(n[j] for j in groups[-1]) <= n[i + 1]):
                groups[-1].append(i)
            else:
                groups.append([i])
                wanting = small[i]
        if wanting and len(groups) > 1:
            groups[-2:] = [groups[-2] + groups[-1]]
    else:
        few = [i for i in range(named) if small[i]]
        rest = [i for i in range(named) if not small[i]]
        if few:
            into = named - 1 if bins.other else min(rest, key=lambda i: n[i]) if len(few) == 1 and rest else few[0]
            together = sorted({*few, into})
            if len(together) == 1 and named > 1:  # "other" alone is too small
                together.append(min((i for i in rest if i != into), key=lambda i: n[i]))
            groups = [[i] for i in range(named) if i not in together]
            groups.append(sorted(together))
        else:
            groups = [[i] for i in range(named)]
    if bins.missing:
        # A single bin beside that of missing values has nowhere else to go.
        if groups and (small[named] or (named == 1 and small[0])):
            max(groups, key=lambda group: sum(n[i] for i in group)).append(named)
        else:
            groups.append([named])
    return groups


# Values ---------------------------------------------------------------------------------------------------------------


def numbers_of(values: ArrayLike, feature: str = "") -> NDArray[np.float64]:
    """A column as (n,) float64, NaN where a value is missing. UsageError where a value is no number."""
    values = _unmasked(values)
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        try:
            plain = [None if _is_missing(v) else v for v in np.asarray(values, dtype=object).reshape(-1)]
            numbers = np.asarray(plain, dtype=np.float64)
        except (TypeError, ValueError):
            raise UsageError(
                f"Values of {feature!r} are no numbers: convert them, or take the feature as categories."
            ) from None
    if numbers.ndim != 1:
        raise UsageError(f"Values of {feature!r} have shape {numbers.shape}: give one column, (n,).")
    return numbers


def categories_of(values: ArrayLike, feature: str = "") -> tuple[NDArray[np.int64], list[str]]:
    """A column as (n,) numbers of texts, -1 where a value is missing, and the texts in the order of their first row."""
    column = np.asarray(_unmasked(values))
    if column.ndim != 1:
        raise UsageError(f"Values of {feature!r} have shape {column.shape}: give one column, (n,).")
    if column.dtype.kind in "iub":
        found, codes = np.unique(column, return_inverse=True)
        return codes.reshape(-1).astype(np.int64), [str(value) for value in found.tolist()]
    known: dict[str, int] = {}
    codes = np.fromiter(
        (-1 if _is_missing(v) else known.setdefault(_text(v), len(known)) for v in column.tolist()),
        dtype=np.int64,
        count=len(column),
    )
    return codes, list(known)


def _unmasked(values: ArrayLike) -> ArrayLike:
    """Masked values of numpy's masked arrays are missing ones."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    plain: NDArray[np.object_] = np.asarray(values).astype(object)
    plain[np.ma.getmaskarray(values)] = None
    return plain


def _is_missing(value: object) -> bool:
    if value is None or value == "":
        return True
    if isinstance(value, str):
        return False
    try:
        return bool(value != value)  # NaN, NaT
    except (TypeError, ValueError):
        return True  # pandas' NA is neither


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


# Counts ---------------------------------------------------------------------------------------------------------------


def _counts(bins: Bins, events: ArrayLike | None, counts: ArrayLike | None) -> tuple[Counts, Counts]:
    """Events and rows of each bin, as given or as the bins know them."""
    b = np.asarray(bins.events if events is None else events)
    n = np.asarray(bins.counts if counts is None else counts)
    for what, known in (("events", b), ("counts", n)):
        if known.shape != (bins.number,) or known.dtype.kind not in "iu":
            raise UsageError(
                f"The {bins.number} bins of {bins.feature!r} have no {what}: give a whole number for each."
            )
    if not ((b >= 0) & (b <= n)).all():
        raise UsageError(f"The events of {bins.feature!r} are 0 up to each bin's count.")
    return b.astype(np.int64), n.astype(np.int64)


def _summed(known: tuple[int, ...] | None, groups: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    return None if known is None else tuple(sum(known[i] for i in group) for group in groups)


def _weighed(bins: Bins, groups: list[list[int]], b: Counts, n: Counts) -> Bins:
    """The bins merged to groups of those that are not of missing values, and weighed."""
    if bins.other:
        groups = sorted(groups, key=lambda group: len(bins.categories) in group)
    if bins.missing:
        groups = [*groups, [bins.number - 1]]
    known = replace(bins, counts=tuple(map(int, n)), events=tuple(map(int, b)), woe=None, iv=None)
    merged = merge(known, groups)
    return weigh(merged, np.array(merged.events))


def _rate(events: np.int64, rows: np.int64) -> float:
    return float(events) / float(rows) if rows else 0.0


def _chi_squares(b: Counts, n: Counts) -> NDArray[np.float64]:
    """χ² of each two neighbours' events and other rows: (number - 1,); 0 where they cannot differ."""
    b, n = b.astype(np.float64), n.astype(np.float64)
    g = n - b
    pair_n, pair_b, pair_g = n[:-1] + n[1:], b[:-1] + b[1:], g[:-1] + g[1:]
    below = n[:-1] * n[1:] * pair_b * pair_g
    squares: NDArray[np.float64] = np.divide(
        pair_n * (b[:-1] * g[1:] - b[1:] * g[:-1]) ** 2, below, out=np.zeros_like(below), where=below > 0
    )
    return squares


def _pooled(b: Counts, n: Counts) -> list[list[int]]:
    """Stretches of bins in which the rates b / n rise strictly. Products of counts stay exact as Python's integers."""
    groups: list[tuple[list[int], int, int]] = []
    for i, (events, rows) in enumerate(zip(b.tolist(), n.tolist(), strict=False)):
        groups.append(([i], events, rows))
        while len(groups) > 1 and groups[-2][1] * groups[-1][2] >= groups[-1][1] * groups[-2][2]:
            members, more_events, more_rows = groups.pop()
            before, e, r = groups.pop()
            groups.append((before + members, e + more_events, r + more_rows))
    return [members for members, _, _ in groups]


# JSON -----------------------------------------------------------------------------------------------------------------


def _json_numbers(data: object, feature: str, what: str) -> tuple[float, ...]:
    if not isinstance(data, list) or not all(type(value) in (int, float) for value in data):
        raise UsageError(f"In bins of {feature!r}, {what} are numbers.")
    try:
        return tuple(float(value) for value in data)
    except OverflowError:
        raise UsageError(f"In bins of {feature!r}, {what} are finite numbers.") from None


def _json_counts(data: object, feature: str, what: str) -> tuple[int, ...]:
    if not isinstance(data, list) or not all(type(value) is int for value in data):
        raise UsageError(f"In bins of {feature!r}, {what} are whole numbers.")
    return tuple(data)


def _json_texts(data: object, feature: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(value, str) for value in data):
        raise UsageError(f"In bins of {feature!r}, categories are a list of lists of texts.")
    return tuple(data)
