"""A party's columns as small whole numbers, for boosted trees: which bin each value falls into.

    cuts = Cuts.fit(table, max_bins=32, categorical=["region"])     # learned on training data, kept with the model
    binned = cuts.codes(table)                                      # (n, k) codes; the same cuts code later tables
    binned.names                                                    # ('income', 'region=north', 'region=south', …)

A number's column becomes one of codes: a bin for each value where there are at most `max_bins` different ones, else
bins of about equally many rows. Code c is the bin (edge[c-1], edge[c]], so that "code <= c" is "value <= edge[c]". A
column of categories becomes one of two bins, "is not" and "is", for each frequent category, one for all others
together, and one for what is missing: a tree then splits one category from the rest, with no order among them.

A missing number has the last code where training had any. Where it had none, a later missing value has a code of its
own behind the others: there it goes to the right of every split, as in XGBoost. A category that training did not have
is one of the others; where it had no others, it is missing; where it had none missing, it "is not" in every column.

Each party codes its own columns by itself, and nothing here is sent to anybody. Edges and categories are part of the
model and stay with their owner. A column that has one value, or none, in all rows can teach nothing: it is left out,
and `notes` says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning import columns, documents
from protocols.learning import preparation as prepared
from protocols.learning.bins import MAX_BINS, Bins, by_category, equal_frequency, from_edges
from protocols.learning.columns import Table

FORMAT = "unseen binning"

BINS = 32
"""Most bins of a column where nothing else is said."""
RARE = 0.001
"""A category that a smaller part of the rows has gets no column of its own."""

_ROUNDING = 2.0**-40

Codes = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Binned:
    """One party's rows as codes.

    Attributes:
        codes: (n, k) uint8, or uint16 where a column has more than 256 bins; contiguous by rows.
        sizes: (k,) int64: bins of each column, the one of missing values included. Codes are below.
        missing: (k,) bool: whether the last bin is that of missing values.
        names: of the k columns.

    Raises:
        UsageError: parts that do not fit each other.
    """

    codes: Codes
    sizes: NDArray[np.int64]
    missing: NDArray[np.bool_]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        k = len(self.names)
        if self.codes.dtype not in (np.uint8, np.uint16) or self.codes.ndim != 2 or self.codes.shape[1] != k:
            raise UsageError(f"Codes are (n, {k}), uint8 or uint16: make them by Cuts.codes.")
        if self.sizes.shape != (k,) or self.missing.shape != (k,):
            raise UsageError(f"Give a size, and whether values may be missing, of each of the {k} columns.")
        if not ((self.sizes > self.missing) & (self.sizes <= MAX_BINS + 1)).all():
            raise UsageError(f"A column has 1 to {MAX_BINS} bins, besides that of missing values.")
        if len(self.codes) and (self.codes.max(axis=0, initial=0) >= self.sizes).any():
            raise UsageError("A code is not below its column's number of bins: make codes and sizes by the same cuts.")

    @property
    def rows(self) -> int:
        """How many: n."""
        return len(self.codes)

    @property
    def splits(self) -> NDArray[np.int64]:
        """(k,) places at which each column can be split; between its last bin and missing values is one, too."""
        return self.sizes - 1


@dataclass(frozen=True)
class Cuts:
    """How the columns of one party fall into bins.

    Attributes:
        bins: of each column of the table that is used, without counts; at least two bins each.
        notes: what was left out or put together, and why.
    """

    bins: tuple[Bins, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        features = [one.feature for one in self.bins]
        if len(set(features)) != len(features):
            raise UsageError("Each column has its bins once: the binning names one twice.")
        narrow = [one.feature for one in self.bins if one.number < 2]
        if narrow:
            raise UsageError(f"The column {narrow[0]!r} has one bin, by which no tree can split: leave it out.")
        if any(one.missing_in is not None for one in self.bins):
            raise UsageError("Missing values have a bin of their own here, since trees choose a side for them.")

    @staticmethod
    def fit(table: Table, *, max_bins: int = BINS, categorical: Sequence[str] = ()) -> Cuts:
        """Learn edges and categories of training data.

        Args:
            table: n rows; every column of it is used.
            max_bins: most bins of a number's column, and most columns that one of categories becomes; missing values
                are counted in neither.
            categorical: columns whose values are names, whether written as text or as numbers.

        Raises:
            UsageError: a column that there is not, text that is not said to be categories, an infinite number, a
                number of bins that is none.
        """
        if type(max_bins) is not int or not 2 <= max_bins < MAX_BINS:
            raise UsageError(f"max_bins={max_bins!r}: give 2 to {MAX_BINS - 1}.")
        names = columns.names(table)
        strange = sorted(set(categorical) - set(names))
        if strange:
            raise UsageError(f"categorical names {strange[0]!r}, which is no column of the table.")
        kept: list[Bins] = []
        notes: list[str] = []
        for name in names:
            made = (_fit_categories if name in categorical else _fit_numbers)(table, name, max_bins, notes)
            if made is not None:
                kept.append(replace(made, counts=None))
        return Cuts(tuple(kept), tuple(notes))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the k columns of codes."""
        return tuple(name for one in self.bins for name in _names(one))

    @property
    def sources(self) -> tuple[str, ...]:
        """(k,) the table's column that each column of codes is made of."""
        return tuple(one.feature for one in self.bins for _ in _names(one))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(k,) bins of each column of codes in training, that of missing values included."""
        return np.array([size for one in self.bins for size in _sizes(one)], dtype=np.int64)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(k,) whether the last of them is that of missing values."""
        return np.array([one.kind == "numeric" and one.missing for one in self.bins for _ in _names(one)], dtype=bool)

    def codes(self, table: Table, *, rows: int | None = None) -> Binned:
        """Code the rows of a table, of training or later; it may have more columns, in any order.

        Args:
            table: n rows.
            rows: n, where the table need not tell: for cuts without columns, of a party that brings labels alone.

        Raises:
            UsageError: a column that there is not, values of another kind, an infinite number; columns of different
                lengths, or of another than `rows`.
        """
        if rows is None and not self.bins:
            rows = columns.length(table)
        sizes, missing = self.sizes, self.missing
        wide = sizes.max(initial=0) >= 256  # one more code may be needed below
        codes = _empty(rows or 0, len(sizes), wide=wide)
        place = 0
        for i, one in enumerate(self.bins):
            values = prepared.values_for(one, table)
            if i == 0 and rows is None:
                codes = _empty(len(values), len(sizes), wide=wide)
            if len(values) != len(codes):
                raise UsageError(f"The columns of a table have one length; {one.feature!r} has {len(values)} values.")
            placed = one.bin_of(values)
            if one.kind == "numeric":
                strange = placed < 0  # missing, where training had no missing value
                if strange.any():
                    placed[strange] = one.number
                    sizes[place] += 1
                    missing[place] = True
                codes[:, place] = placed
                place += 1
            else:
                for number in _own(one):
                    codes[:, place] = placed == number
                    place += 1
        return Binned(codes, sizes, missing, self.names)

    def edge(self, column: int, last: int) -> float | str:
        """What a split of a column of codes says of values: the number up to which they go left, or a category.

        Args:
            column: which of the k columns.
            last: the last bin that goes left.

        Raises:
            UsageError: a split that there is not.
        """
        place = column
        for one in self.bins:
            wide = len(_names(one))
            if 0 <= place < wide:
                if one.kind == "category" and last == 0:
                    return one.labels[_own(one)[place]]
                if one.kind == "numeric" and 0 <= last < len(one.edges):
                    return one.edges[last]
                if one.kind == "numeric" and last == len(one.edges):
                    return float("inf")  # numbers go left, missing values right
                break
            place -= wide
        raise UsageError(f"There is no split of column {column} behind bin {last}.")

    def digest(self) -> str:
        """64 hexadecimal digits that two binnings share only if they are the same."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values, for ``from_json``. It tells quantiles and categories of this party."""
        return {
            "format": FORMAT,
            "version": 1,
            "bins": [one.to_json() for one in self.bins],
            "notes": list(self.notes),
        }

    @staticmethod
    def from_json(document: object) -> Cuts:
        """Take what ``to_json`` made.

        Raises:
            UsageError: anything else.
        """
        read = documents.read_version(document, ("bins", "notes"), what=FORMAT)
        bins = tuple(Bins.from_json(item) for item in read.items("bins") if isinstance(item, dict))
        if len(bins) != len(read.items("bins")):
            raise UsageError(f"{FORMAT}: bins are objects. Make the document anew, by this library.")
        return Cuts(bins, read.texts("notes"))


def _fit_numbers(table: Table, name: str, max_bins: int, notes: list[str]) -> Bins | None:
    found = columns.column(table, name)
    try:
        values = columns.numbers(found, name)
    except UsageError as error:
        raise UsageError(
            f"{error} Say which columns are categories: categorical= here, feature_types= of an estimator."
        ) from None
    made = equal_frequency(values, max_bins, feature=name)
    if made.number - made.missing < max_bins:
        # Some value takes up more than a bin's part.
        different, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        made = from_edges(_edges(different, counts, max_bins), feature=name, missing=made.missing)
    gone = bool(np.isnan(values).all())
    if gone or made.number < 2:
        notes.append(f"{name!r} {'is missing' if gone else 'has one value'} in all rows: left out.")
        return None
    return made


def _edges(different: NDArray[np.float64], counts: NDArray[np.int64], max_bins: int) -> NDArray[np.float64]:
    """Edges between different values, in order: all, or such that a value that many rows have takes up one bin alone.

    What more rows have than a bin's part counts as one bin's part, so that the other bins are left to other values.
    """
    if len(different) <= max_bins:
        return different[:-1]
    parts = counts.astype(np.float64)
    heavy = np.zeros(len(parts), dtype=bool)
    while True:
        part = counts[~heavy].sum() / (max_bins - heavy.sum())
        more = counts > part
        if (more == heavy).all():
            break
        heavy = more
    parts[heavy] = part
    upto = np.cumsum(parts)
    places = np.searchsorted(upto, np.arange(1, max_bins) * part * (1 - _ROUNDING))
    edges: NDArray[np.float64] = different[np.unique(places[places < len(different) - 1])]
    return edges


def _fit_categories(table: Table, name: str, most: int, notes: list[str]) -> Bins | None:
    made = by_category(columns.texts(columns.column(table, name), name), feature=name, most=most, rare=RARE)
    if made.number < 2:
        what = "is missing in all rows" if made.missing else "has no category that is frequent"
        notes.append(f"{name!r} {'has one value in all rows' if made.categories else what}: left out.")
        return None
    if made.other and made.counts is not None:
        rest = made.counts[len(made.categories)]
        notes.append(f"{name!r} has a column for each of {len(made.categories)} categories; {rest} rows have others.")
    return made


def _empty(rows: int, k: int, *, wide: bool) -> Codes:
    return np.empty((rows, k), dtype=np.uint16) if wide else np.empty((rows, k), dtype=np.uint8)


def _own(bins: Bins) -> range:
    """The bins of categories that get a column: all; of two the first alone, which says the second, too."""
    return range(1) if bins.number == 2 else range(bins.number)


def _names(bins: Bins) -> tuple[str, ...]:
    if bins.kind == "numeric":
        return (bins.feature,)
    named = [f"{bins.feature}={', '.join(group)}" for group in bins.categories]
    named += [f"{bins.feature} is another"] * bins.other + [f"{bins.feature} is missing"] * bins.missing
    return tuple(named[i] for i in _own(bins))


def _sizes(bins: Bins) -> tuple[int, ...]:
    return (bins.number,) if bins.kind == "numeric" else (2,) * len(_names(bins))
