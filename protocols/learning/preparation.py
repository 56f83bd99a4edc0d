"""Preparation: from a table's columns to the numbers that a model multiplies, as learned on training data.

    preparation = Preparation.fit(table, [Numeric("income", missing="median", clip=(0.01, 0.99)), OneHot("region")])
    x = preparation.transform(later)          # (n, k) float64
    preparation.names                         # ('income', 'region=north', 'region=south')

Each party prepares its own columns by itself; nothing here is sent to anybody. What was learned of the training data
(means, scales, quantiles, categories, and the bins with their weights of evidence) is part of the model and stays with
its owner, as the coefficients do.

A column that is constant in training, or missing in all rows, can teach nothing: it is left out, and `notes` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from protocols.learning import columns, documents
from protocols.learning.bins import Bins
from protocols.learning.columns import Table

FORMAT = "unseen preparation"

MAX_CATEGORIES = 256
"""Most categories of one column: more are a sign of a key, or of free text."""

_CONSTANT = 2.0**-48  # of the largest magnitude: a spread below is what rounding leaves of a constant


@dataclass(frozen=True)
class Numeric:
    """How a column of numbers is prepared.

    Attributes:
        column: its name.
        missing: what stands for a missing value: the ``mean`` or ``median`` of the training data, the ``constant``
            `fill`; ``indicator`` is the mean and a further column that is 1 where the value was missing; ``error``.
        fill: the constant.
        standardise: whether the training data's mean is taken away and the rest divided by its standard deviation.
            The penalty of a model weighs all coefficients alike, so that columns should be of one scale.
        clip: two quantiles of the training data, such as (0.01, 0.99), to which values beyond are moved (winsorising).
    """

    column: str
    missing: Literal["mean", "median", "constant", "indicator", "error"] = "mean"
    fill: float = 0.0
    standardise: bool = True
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.missing not in ("mean", "median", "constant", "indicator", "error"):
            raise UsageError(f"missing is mean, median, constant, indicator or error, not {str(self.missing)[:40]!r}.")
        if not np.isfinite(self.fill):
            raise UsageError("fill is a finite number.")
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 1:
            raise UsageError("clip is two quantiles in ascending order, such as (0.01, 0.99).")


@dataclass(frozen=True)
class OneHot:
    """How a column of categories is prepared: one column of zeros and ones for each.

    Attributes:
        column: its name.
        categories: which there are; None for those of the training data. Whole numbers and booleans are taken as text.
        reference: a category that gets no column, so that coefficients say how others differ from it.
        missing: whether a missing value is all ``zeros``, or a ``category`` of its own where training had any.
        unseen: whether a category that is none of `categories` is all ``zeros``, or an ``error``.
    """

    column: str
    categories: tuple[str, ...] | None = None
    reference: str | None = None
    missing: Literal["zeros", "category"] = "zeros"
    unseen: Literal["zeros", "error"] = "zeros"

    def __post_init__(self) -> None:
        if self.missing not in ("zeros", "category"):
            raise UsageError(f"missing is 'zeros' or 'category', not {str(self.missing)[:40]!r}.")
        if self.unseen not in ("zeros", "error"):
            raise UsageError(f"unseen is 'zeros' or 'error', not {str(self.unseen)[:40]!r}.")
        if self.categories is not None and len(set(self.categories)) != len(self.categories):
            raise UsageError(f"The column {self.column!r} lists a category twice: list each once.")


@dataclass(frozen=True)
class Woe:
    """How a binned column is prepared: by the weight of evidence of each value's bin.

    Attributes:
        bins: the column's bins with their weights of evidence, as federated binning gave them.
    """

    bins: Bins

    def __post_init__(self) -> None:
        if self.bins.woe is None:
            raise UsageError(f"The bins of {self.bins.feature!r} have no weights of evidence yet: run binning first.")

    @property
    def column(self) -> str:
        """The column's name."""
        return self.bins.feature


Spec: TypeAlias = Numeric | OneHot | Woe


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers as it was in training.

    A value v becomes (min(max(v, low), high) − centre) / scale, a missing one is `fill` first.

    Attributes:
        column: its name.
        fill: what stands for a missing value; None where a missing value is an error.
        low: the least value that is not moved; None for any.
        high: the greatest.
        centre: what is taken away.
        scale: what the rest is divided by.
        indicator: whether a further column says where the value was missing.
    """

    column: str
    fill: float | None
    low: float | None
    high: float | None
    centre: float
    scale: float
    indicator: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns made of it."""
        return (self.column, f"{self.column} is missing") if self.indicator else (self.column,)

    def transform(self, table: Table) -> NDArray[np.float64]:
        """(n, 1 or 2) float64."""
        values = columns.numbers(columns.column(table, self.column), self.column)
        gone = np.isnan(values)
        if self.fill is None:
            _refuse_missing(gone, self.column)
        else:
            values = np.where(gone, self.fill, values)
        values = (np.clip(values, self.low, self.high) - self.centre) / self.scale
        return np.column_stack([values, gone]) if self.indicator else values[:, None]


@dataclass(frozen=True)
class OneHotColumn:
    """A column of categories as it was in training.

    Attributes:
        column: its name.
        categories: those that have a column each.
        known: those that have none, but are no error either: the reference, and such as the training data never had.
        missing: whether a missing value has a column.
        unseen: whether any other category is all ``zeros``, or an ``error``.
    """

    column: str
    categories: tuple[str, ...]
    known: tuple[str, ...]
    missing: bool
    unseen: Literal["zeros", "error"]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns made of it."""
        made = tuple(f"{self.column}={category}" for category in self.categories)
        return (*made, f"{self.column} is missing") if self.missing else made

    def transform(self, table: Table) -> NDArray[np.float64]:
        """(n, number of columns) float64 of zeros and ones."""
        values = columns.texts(columns.column(table, self.column), self.column)
        place = {category: i for i, category in enumerate(self.categories)}
        nowhere = len(place) + 1
        if self.unseen == "error":
            allowed = {*place, *self.known, None}
            strange = np.flatnonzero([value not in allowed for value in values])
            if len(strange):
                raise UsageError(
                    f"Row {strange[0] + 1} of the column {self.column!r} has a category that training did not have: "
                    "leave the row out, or prepare with unseen='zeros'."
                )
        which = np.array([len(place) if v is None else place.get(v, nowhere) for v in values], dtype=np.intp)
        result = np.zeros((len(values), nowhere + 1))
        result[np.arange(len(values)), which] = 1
        return result[:, : len(self.names)]


@dataclass(frozen=True)
class WoeColumn:
    """A binned column.

    Attributes:
        bins: its bins with their weights of evidence.
    """

    bins: Bins

    @property
    def column(self) -> str:
        """Its name."""
        return self.bins.feature

    @property
    def names(self) -> tuple[str, ...]:
        """Of the column made of it: its own."""
        return (self.bins.feature,)

    def transform(self, table: Table) -> NDArray[np.float64]:
        """(n, 1) float64."""
        return self.bins.woe_of(values_for(self.bins, table))[:, None]


Column: TypeAlias = NumericColumn | OneHotColumn | WoeColumn


@dataclass(frozen=True)
class Preparation:
    """How the columns of one party become numbers.

    Attributes:
        columns: what is done with each column that a model uses, in order.
        notes: what was left out, and why.
    """

    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    @staticmethod
    def fit(table: Table, specs: Sequence[Spec]) -> Preparation:
        """Learn means, scales, quantiles and categories of training data.

        Args:
            table: training data, n rows.
            specs: what to do with which column; columns that none names are not used. ``specs_for`` makes a choice.
                None at all: of a party that brings labels and no features.

        Raises:
            UsageError: a column that there is not, or that is named twice; values of another kind; too many categories;
                no column that varies.
        """
        _require_once([spec.column for spec in specs])
        kept: list[Column] = []
        notes: list[str] = []
        for spec in specs:
            made = _fit(table, spec, notes)
            if made is not None:
                kept.append(made)
        if specs and not kept:
            raise UsageError(f"No column is left to learn from: {' '.join(notes)}")
        return Preparation(tuple(kept), tuple(notes))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the k columns that ``transform`` returns."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def sources(self) -> tuple[str, ...]:
        """The table's columns that are read."""
        return tuple(column.column for column in self.columns)

    def transform(self, table: Table, *, rows: int | None = None) -> NDArray[np.float64]:
        """(n, k) float64, contiguous by rows.

        Args:
            table: n rows.
            rows: n, where the table need not tell: for a preparation without columns, of a table that may have none.

        Raises:
            UsageError: a column that there is not, values of another kind; where it was asked for, a missing value or
                a category that training did not have; columns of different lengths, or of another than `rows`.
        """
        if rows is None and not self.columns:
            rows = columns.length(table)
        result = np.empty((rows or 0, len(self.names)))
        place = 0
        for i, column in enumerate(self.columns):
            block = column.transform(table)
            if i == 0 and rows is None:
                result = np.empty((len(block), len(self.names)))
            if len(block) != len(result):
                raise UsageError(f"The columns of a table have one length; {column.column!r} has {len(block)} values.")
            result[:, place : place + block.shape[1]] = block
            place += block.shape[1]
        return result

    def to_json(self) -> dict[str, object]:
        """A document of plain JSON values, for ``from_json``."""
        return {
            "format": FORMAT,
            "version": 1,
            "columns": [_column_json(column) for column in self.columns],
            "notes": list(self.notes),
        }

    @staticmethod
    def from_json(document: object) -> Preparation:
        """Take what ``to_json`` made.

        Raises:
            UsageError: anything else.
        """
        read = documents.read_version(document, ("columns", "notes"), what=FORMAT)
        made = tuple(_column_of(item) for item in read.items("columns"))
        _require_once([column.column for column in made])
        return Preparation(made, read.texts("notes"))


def specs_for(table: Table, *, leave_out: Sequence[str] = ()) -> tuple[Spec, ...]:
    """A plain choice: columns of numbers by their mean and standard deviation, all others as categories.

    Args:
        table: training data.
        leave_out: columns that are no features, such as keys and labels.
    """
    return tuple(
        Numeric(name) if columns.is_number(table, name) else OneHot(name, missing="category")
        for name in columns.names(table)
        if name not in leave_out
    )


def values_for(bins: Bins, table: Table) -> NDArray[np.float64] | NDArray[np.object_]:
    """(n,) the column's values as its bins take them: float64 with NaN for missing, or texts with None for missing."""
    found = columns.column(table, bins.feature)
    return columns.numbers(found, bins.feature) if bins.kind == "numeric" else columns.texts(found, bins.feature)


def _fit(table: Table, spec: Spec, notes: list[str]) -> Column | None:
    match spec:
        case Numeric():
            return _fit_numeric(table, spec, notes)
        case OneHot():
            return _fit_one_hot(table, spec, notes)
        case Woe():
            return _fit_woe(table, spec, notes)


def _fit_numeric(table: Table, spec: Numeric, notes: list[str]) -> NumericColumn | None:
    values = columns.numbers(columns.column(table, spec.column), spec.column)
    gone = np.isnan(values)
    if spec.missing == "error":
        _refuse_missing(gone, spec.column)
    there = values[~gone]
    if not len(there):
        notes.append(f"{spec.column!r} is missing in all rows: left out.")
        return None
    low, high = (None, None) if spec.clip is None else map(float, np.quantile(there, spec.clip))
    there = np.clip(there, low, high)
    fills = {"median": float(np.median(there)), "constant": spec.fill, "error": None}
    fill = fills.get(spec.missing, _mean(there))
    indicator = spec.missing == "indicator" and bool(gone.any())
    filled = (
        there if fill is None or not gone.any() else np.append(there, np.full(gone.sum(), np.clip(fill, low, high)))
    )
    largest = float(np.abs(filled).max())
    centre = _mean(filled)
    spread = largest * float(np.sqrt(np.mean(((filled - centre) / largest) ** 2))) if largest else 0.0
    if spread <= _CONSTANT * largest:
        if not indicator:
            notes.append(f"{spec.column!r} has one value in all rows: left out.")
            return None
        notes.append(f"{spec.column!r} has one value where it is not missing: it says only whether it is missing.")
    if spec.missing == "indicator" and not indicator:
        notes.append(f"{spec.column!r} is never missing in training: a missing value later counts as the mean.")
    if not spec.standardise or spread <= _CONSTANT * largest:
        return NumericColumn(spec.column, fill, low, high, 0.0, 1.0, indicator)
    return NumericColumn(spec.column, fill, low, high, centre, spread, indicator)


def _mean(values: NDArray[np.float64]) -> float:
    """Of values whose sum may exceed what a float64 holds."""
    largest = float(np.abs(values).max())
    return largest * float(np.mean(values / largest)) if largest else 0.0


def _fit_one_hot(table: Table, spec: OneHot, notes: list[str]) -> OneHotColumn | None:
    values = columns.texts(columns.column(table, spec.column), spec.column)
    count = Counter(str(value) for value in values if value is not None)
    listed = tuple(sorted(count)) if spec.categories is None else spec.categories
    if len(listed) > MAX_CATEGORIES:
        raise UsageError(
            f"The column {spec.column!r} has {len(listed)} categories, and {MAX_CATEGORIES} are the most: "
            "group them, bin them by their weight of evidence, or leave the column out."
        )
    if spec.reference is not None and spec.reference not in listed:
        raise UsageError(f"The column {spec.column!r} has no category that is the reference: choose one that it has.")
    if spec.unseen == "error" and not count.keys() <= set(listed):
        raise UsageError(f"The column {spec.column!r} has categories that are not listed: list them all.")
    if not count:
        notes.append(f"{spec.column!r} is missing in all rows: left out.")
        return None
    varying = tuple(c for c in listed if 0 < count[c] < len(values) and c != spec.reference)
    never = tuple(c for c in listed if not count[c])
    if never:
        notes.append(f"{spec.column!r} never has the categories {', '.join(map(repr, never))}: left out.")
    missing = spec.missing == "category" and count.total() < len(values)
    if not varying and not missing:
        notes.append(f"{spec.column!r} has one value in all rows: left out.")
        return None
    known = tuple(c for c in listed if c not in varying)
    return OneHotColumn(spec.column, varying, known, missing, spec.unseen)


def _fit_woe(table: Table, spec: Woe, notes: list[str]) -> WoeColumn | None:
    made = WoeColumn(spec.bins)
    if np.ptp(made.transform(table)) == 0:
        notes.append(f"{spec.column!r} has one weight of evidence in all rows: left out.")
        return None
    return made


def _column_json(column: Column) -> dict[str, object]:
    match column:
        case NumericColumn():
            return {"kind": "numeric"} | {name: getattr(column, name) for name in _NUMERIC}
        case OneHotColumn():
            return {
                "kind": "one-hot",
                "column": column.column,
                "categories": list(column.categories),
                "known": list(column.known),
                "missing": column.missing,
                "unseen": column.unseen,
            }
        case WoeColumn():
            return {"kind": "woe", "bins": column.bins.to_json()}


_NUMERIC = ("column", "fill", "low", "high", "centre", "scale", "indicator")
_ONE_HOT = ("column", "categories", "known", "missing", "unseen")


def _column_of(item: object) -> Column:
    kind = item.get("kind") if isinstance(item, dict) else None
    what = f"a column of an {FORMAT}"
    if kind == "numeric":
        read = documents.read(item, ("kind", *_NUMERIC), what=what)
        fill, low, high = (None if read.is_null(key) else read.number(key) for key in ("fill", "low", "high"))
        scale = read.number("scale")
        if scale <= 0 or (low is not None and high is not None and low > high):
            raise UsageError(f"{what}: scales are positive and limits in order. Make the document anew.")
        return NumericColumn(read.text("column"), fill, low, high, read.number("centre"), scale, read.flag("indicator"))
    if kind == "one-hot":
        read = documents.read(item, ("kind", *_ONE_HOT), what=what)
        categories, known, unseen = read.texts("categories"), read.texts("known"), read.text("unseen")
        if len({*categories, *known}) != len(categories) + len(known) or unseen not in ("zeros", "error"):
            raise UsageError(f"{what}: a category occurs twice, or 'unseen' is not known. Make the document anew.")
        return OneHotColumn(
            read.text("column"), categories, known, read.flag("missing"), "error" if unseen == "error" else "zeros"
        )
    if kind == "woe":
        bins = Bins.from_json(documents.read(item, ("kind", "bins"), what=what).object("bins"))
        return WoeColumn(Woe(bins).bins)
    raise UsageError(f"{what} is numeric, one-hot or woe. Make the document anew, by this library.")


def _require_once(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"Prepare each column in one way; {', '.join(map(repr, twice))} occur(s) twice.")


def _refuse_missing(gone: NDArray[np.bool_], name: str) -> None:
    rows = np.flatnonzero(gone)
    if len(rows):
        raise UsageError(
            f"Row {rows[0] + 1} of the column {name!r} is missing: leave the row out, or choose what stands for it."
        )
