"""Columns of a table as numbers or as texts: of a mapping of arrays, a pandas data frame or an Arrow table.

A value is missing where it is null, None, NaN or, in a column of text, an empty field. Text that should be numbers, as
CSV files hold it, is read as numbers, and whole numbers read as text are their digits alone: 1, 1.0 and the text "1"
are one category, so that a column of codes means the same before and after some tool turned it into floats. Bins take
values in the same way (``protocols.learning.bins``).

What is wrong is a UsageError that names the column and the row, the first being 1, and never a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.errors import UsageError


class Table(Protocol):
    """What holds columns by name: a mapping of name to array or list, a pandas or polars frame, a ``pyarrow.Table``."""

    def __getitem__(self, name: str, /) -> object:
        """The column of that name."""


def names(table: Table) -> tuple[str, ...]:
    """The names of a table's columns, in order.

    Raises:
        UsageError: what is given is no table, or a column's name is no text.
    """
    found: object
    if isinstance(table, pa.Table | pa.RecordBatch):
        found = table.schema.names
    elif isinstance(table, Mapping):
        found = list(table)
    else:
        found = getattr(table, "columns", None)
    if found is None or isinstance(table, np.ndarray):
        raise UsageError(
            "A table is a mapping of names to arrays, a pandas data frame or an Arrow table, and not "
            f"{type(table).__name__}."
        )
    listed = list(found)  # type: ignore[call-overload]  # a frame's columns: what it is made of is checked here
    if not all(isinstance(name, str) for name in listed):
        raise UsageError(
            "Columns have names that are text: rename them, as in `frame.columns = map(str, frame.columns)`."
        )
    if len(set(listed)) != len(listed):
        raise UsageError("Two columns of the table have the same name: rename one.")
    return tuple(listed)


def column(table: Table, name: str) -> pa.Array:
    """One column, nulls for what is missing. Floats' NaN and empty texts are missing.

    Raises:
        UsageError: the table has no such column, or it is none of one kind of value.
    """
    if name not in names(table):
        raise UsageError(f"The table has no column {name!r}; it has {', '.join(map(repr, names(table)[:20]))}.")
    return array(table[name], name)


def array(values: object, name: str) -> pa.Array:
    """Any array, list or series of one kind of value as an Arrow array without chunks, nulls for what is missing."""
    try:
        if isinstance(values, pa.ChunkedArray):
            found = values.combine_chunks()
        elif isinstance(values, pa.Array):
            found = values
        else:
            found = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        raise UsageError(f"The column {name!r} holds values of several kinds: make them numbers, or text.") from None
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    if pa.types.is_floating(found.type):
        found = found.cast(pa.float64())
        return pc.if_else(pc.is_nan(found), pa.scalar(None, pa.float64()), found)
    if _is_text(found.type):
        found = found.cast(pa.large_string())
        return pc.if_else(pc.equal(found, ""), pa.scalar(None, pa.large_string()), found)
    kind = found.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return found
    raise UsageError(f"The column {name!r} is of type {kind}: make it numbers, such as days since a date, or text.")


def length(table: Table) -> int:
    """How many rows a table has, which one without columns does not tell.

    Raises:
        UsageError: it has no column.
    """
    found = names(table)
    if not found:
        raise UsageError("Nothing here says how many rows there are: give rows=, or a table that has a column.")
    first = table[found[0]]
    return len(first) if isinstance(first, Sized) else len(array(first, found[0]))


def is_number(table: Table, name: str) -> bool:
    """Whether a column holds numbers by its type: not booleans, and not numbers that are written as text."""
    kind = column(table, name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def numbers(values: object, name: str) -> NDArray[np.float64]:
    """(n,) float64, NaN where a value is missing; a boolean is 0 or 1.

    Raises:
        UsageError: text that is no number, or a number that is not finite.
    """
    found = array(values, name)
    if _is_text(found.type):
        found = pc.utf8_trim_whitespace(found)
        form = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
        _refuse(
            pc.invert(pc.fill_null(pc.match_substring_regex(found, form), True)),
            name,
            "is no number: take the column as categories, or mend it",
        )
        found = pc.utf8_ltrim(found, "+").cast(pa.float64())
    elif pa.types.is_boolean(found.type):
        found = found.cast(pa.int8())
    result: NDArray[np.float64] = found.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    _refuse(pa.array(np.isinf(result)), name, "is infinite: write nothing where a value is not known")
    return result


def texts(values: object, name: str) -> NDArray[np.object_]:
    """(n,) object: texts, None where a value is missing.

    Whole numbers are their digits, other floats the shortest text that means them, booleans ``True`` and ``False``.
    """
    found = array(values, name)
    kind = found.type
    if pa.types.is_null(kind):
        return np.full(len(found), None, dtype=object)
    if pa.types.is_boolean(kind):
        found = pc.if_else(found, "True", "False")
    elif pa.types.is_decimal(kind):
        found = found.cast(pa.float64())
        kind = found.type
    if pa.types.is_floating(kind):
        plain = found.to_numpy(zero_copy_only=False)
        different, where = np.unique(plain[~np.isnan(plain)], return_inverse=True)
        result = np.full(len(plain), None, dtype=object)
        words = [str(int(v)) if v.is_integer() else str(v) for v in different.tolist()]
        result[~np.isnan(plain)] = np.array(words, dtype=object)[where]
        return result
    text: NDArray[np.object_] = found.cast(pa.large_string()).to_numpy(zero_copy_only=False).astype(object)
    return text


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _refuse(bad: pa.BooleanArray, name: str, problem: str) -> None:
    row = pc.index(bad, True).as_py()
    if row >= 0:
        raise UsageError(f"Row {row + 1} of the column {name!r} {problem}.")
