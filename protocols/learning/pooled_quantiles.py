"""Quantiles of columns whose rows are split over silos, from counts over all of them, and bins between these.

A number is its key: 32 bits whose order is that of the numbers, so that a number's first bits say which *cell* it lies
in, and further bits which cell within that one. The search goes down from all numbers to cells that hold a wanted
quantile, and asks in each round how many numbers there are in each part of these cells: counts over all silos, which
add up to what the pooled rows would say.

    mine = Columns.of(features)                              # a silo: what it is asked for is mine.counts(level, …)
    search = Search(present, bins=32, least=10)              # who adds up
    while (cells := search.cells()) is not None:
        search.take(summed(mine.counts(search.level, *cells)))
    search.edges()                                           # for each column where its bins end

Numbers are float32, as in XGBoost: its rounding is applied first, and numbers that are the same then are one. A column
of at most `bins` different numbers gets a bin for each; another one bins of about equally many rows, where an edge is
off its place by no more than a 64th of a bin's rows, or `least` ones, unless a single number takes up more than that.
No bin has fewer than `least` rows, and what so few rows are in is never looked into: their numbers come out to the cell
only.

Leaks:  to those whose rows they are, the cells that were looked into, which lie about the edges, or, in a column of few
        different numbers, wherever there are at least `least` rows. To who adds up, for each cell that was asked for
        how many of all silos' rows it has. A cell that has one row tells that somebody has a number in it. In the first
        round cells are the numbers of one sign between two powers
        of four; each further round divides a cell by 64.
Cost:   ``len(WIDTHS)`` sums at most, for each of k columns of 256 numbers, then 64 for each cell that is looked into,
        of which there are at most `bins`. A silo sorts its columns once.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpc.errors import UsageError

WIDTHS = (8, 6, 6, 6, 6)
"""Bits of a key that each round tells."""
KEY_BITS = 32
FINENESS = 64
"""An edge is off its place by at most one of so many parts of a bin's rows."""
LARGEST = float(np.finfo(np.float32).max)
"""Numbers are below it in absolute value."""

NO, OWN_BIN, SMALLEST = range(3)
"""Missing values of a column: there are none; they have a bin; there are few, which count as the smallest numbers."""

Floats = NDArray[np.float32]
Keys = NDArray[np.uint32]
Counts = NDArray[np.int64]

_SIGN = np.uint32(1 << 31)


def numbers(features: ArrayLike) -> Floats:
    """(n, k) float32, NaN where a value is missing.

    Raises:
        UsageError: no (n, k) numbers, or one that is infinite or rounds to infinity in float32.
    """
    given = np.asarray(features)
    if given.ndim != 2 or given.dtype.kind not in "biuf":
        raise UsageError(
            f"Features are an (n, k) array of numbers, NaN where one is missing; these are {given.dtype} of "
            f"{given.ndim} dimensions. Give columns of categories a number or a column for each category."
        )
    with np.errstate(over="ignore"):
        values = given.astype(np.float32)
    bad = np.abs(values) >= LARGEST
    if bad.any():
        column = int(np.flatnonzero(bad.any(axis=0))[0])
        raise UsageError(
            f"Column {column} has a number that is infinite, or too large for float32: use a larger unit, or NaN for "
            "what is missing."
        )
    return values


def keys(values: Floats) -> Keys:
    """32 bits of each number, in the numbers' order. 0 and -0 are the same."""
    bits = (values + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def values(keys: Keys) -> Floats:
    """The numbers of keys; for that of -0, which no number has, the number before it."""
    keys = np.where(keys == _SIGN - 1, keys - 1, keys)
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).astype(np.uint32).view(np.float32)


@dataclass(frozen=True)
class Columns:
    """One silo's columns, sorted.

    Attributes:
        sorted: of each column the keys of the numbers that there are.
    """

    sorted: tuple[Keys, ...] = field(repr=False)

    @staticmethod
    def of(features: Floats) -> Columns:
        """Of (n, k) numbers, NaN where one is missing."""
        columns = (features[:, j] for j in range(features.shape[1]))
        return Columns(tuple(np.sort(keys(column[~np.isnan(column)])) for column in columns))

    def counts(self, level: int, columns: NDArray[np.uint16], prefixes: Keys) -> Counts:
        """(cells, parts): how many numbers are in each part of these cells.

        Args:
            level: how many rounds there were before.
            columns: (cells,) of which column each is.
            prefixes: (cells,) its first bits, as a number.
        """
        known, width = sum(WIDTHS[:level]), WIDTHS[level]
        shift = np.uint64(KEY_BITS - known - width)
        places = np.arange((1 << width) + 1, dtype=np.uint64)
        ends: NDArray[np.uint64] = (prefixes.astype(np.uint64)[:, None] << np.uint64(width)) + places
        ends = np.left_shift(ends, shift)
        found = np.empty((len(prefixes), 1 << width), dtype=np.int64)
        for j in np.unique(columns):
            rows = columns == j
            # The last end may be 2^32, which no 32 bits hold: what is below 2^32 is everything.
            last = ends[rows] >> np.uint64(KEY_BITS) > 0
            below = np.searchsorted(self.sorted[j], ends[rows].astype(np.uint32))
            below[last] = len(self.sorted[j])
            found[rows] = np.diff(below, axis=1)
        return found


class Search:
    """Who adds up: which cells to ask for, and what the answers say.

    Args:
        present: (k,) how many rows have a number in each column.
        bins: most bins of a column.
        least: fewest rows of a bin.
    """

    def __init__(self, present: Counts, *, bins: int, least: int) -> None:
        self.level = 0
        self._columns = [_Column(int(count), bins, least) for count in present]

    def cells(self) -> tuple[NDArray[np.uint16], Keys] | None:
        """Columns and first bits of the cells to be divided; None where the search is over."""
        asked = [(j, prefix) for j, column in enumerate(self._columns) for prefix in column.open]
        if self.level == len(WIDTHS) or not asked:
            return None
        columns, prefixes = zip(*asked, strict=True)
        return np.array(columns, dtype=np.uint16), np.array(prefixes, dtype=np.uint32)

    def take(self, counts: Counts) -> None:
        """(cells, parts): the sums over all silos."""
        place, width = 0, WIDTHS[self.level]
        self.level += 1
        for column in self._columns:
            n = len(column.open)
            column.divide(counts[place : place + n], width, last=self.level == len(WIDTHS))
            place += n

    def edges(self) -> list[tuple[Floats, Counts]]:
        """Of each column the inner edges, increasing, and how many rows each bin has; bins are (edge before, edge]."""
        return [column.edges() for column in self._columns]


@dataclass(frozen=True, eq=False)
class Binning:
    """The bins of all columns.

    Attributes:
        edges: of each column the inner edges.
        missing: (k,) what there is of missing values: ``NO``, ``OWN_BIN``, or ``SMALLEST``.
    """

    edges: tuple[Floats, ...]
    missing: Counts

    @cached_property
    def numeric(self) -> Counts:
        """(k,) bins of numbers, which is also the code of missing values."""
        return np.array([len(edges) + 1 for edges in self.edges], dtype=np.int64)

    @cached_property
    def sizes(self) -> Counts:
        """(k,) bins, that of missing values among them."""
        return np.asarray(self.numeric + (self.missing == OWN_BIN), dtype=np.int64)

    @cached_property
    def usable(self) -> Counts:
        """Columns that can be split."""
        return np.flatnonzero(self.sizes > 1)

    @cached_property
    def place(self) -> Counts:
        """(k,) of such a column its place among them."""
        return np.asarray(np.cumsum(self.sizes > 1) - 1, dtype=np.int64)


class _Column:
    """The search in one column.

    Cells are known by how many numbers lie below each and in each. `ends` are where bins may end: the last key of a
    cell, and how many numbers are up to there.
    """

    def __init__(self, present: int, bins: int, least: int) -> None:
        self._present = present
        self._bins = bins
        self._least = max(least, 1)
        self._tolerance = present / (bins * FINENESS)
        # Places that edges should have, by equal_frequency's rule, and cells with numbers while there are few.
        self._targets = sorted({-(-i * present // bins) for i in range(1, bins)} - {0, present})
        self._few = True
        self._known = 0
        self._cells: dict[int, tuple[int, int]] = {0: (0, present)} if present >= self._least else {}
        self._ends: dict[int, int] = {}

    @property
    def open(self) -> list[int]:
        """First bits of the cells to be divided."""
        return list(self._cells)

    def divide(self, counts: Counts, width: int, *, last: bool) -> None:
        self._known += width
        parts: dict[int, tuple[int, int]] = {}
        for (prefix, (below, _)), row in zip(self._cells.items(), counts, strict=True):
            for i in np.flatnonzero(row).tolist():
                parts[(prefix << width) + i] = below + int(row[:i].sum()), int(row[i])
        if self._few and len(parts) + len(self._ends) > self._bins:
            self._few = False
            self._ends.clear()
        self._cells = {}
        for prefix, (below, count) in parts.items():
            wanted = self._few or bisect_right(self._targets, below) < bisect_right(self._targets, below + count)
            small = count < self._least or (not self._few and count <= self._tolerance)
            if wanted and (small or last):
                first, end = prefix << (KEY_BITS - self._known), (prefix + 1) << (KEY_BITS - self._known)
                self._ends[end - 1] = below + count
                if not self._few and below:
                    self._ends.setdefault(first - 1, below)
            elif wanted:
                self._cells[prefix] = below, count

    def edges(self) -> tuple[Floats, Counts]:
        ends = sorted(self._ends.items())
        if not self._few:
            ends = sorted({min(ends, key=lambda end: (abs(end[1] - target), end[0])) for target in self._targets})
        kept: list[tuple[int, int]] = []
        for key, upto in ends:
            before = kept[-1][1] if kept else 0
            if upto - before >= self._least:
                kept.append((key, upto))
        while kept and self._present - kept[-1][1] < self._least:
            kept.pop()
        found = values(np.array([key for key, _ in kept], dtype=np.uint32))
        return found, np.diff([0, *(upto for _, upto in kept), self._present])
