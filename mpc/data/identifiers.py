"""Canonical forms of identifiers, so that two parties who write one key differently still mean the same bytes.

    resident-id           18 digits, the last possibly X: a Chinese resident's number (GB 11643)
    text                  any text: NFKC, without blanks around it, and none of the characters that nobody sees
    pair:resident-id      two different keys of the form behind the colon, in whatever order they are given
    pair:text

NFKC turns full-width digits and blanks into plain ones; a resident ID then loses all blanks, and its x becomes X. Its
date must be one of the calendar and its check character right (ISO 7064, MOD 11-2), so that a typing error is an error
here and not a wrong "absent" later. No message holds an identifier or a part of one: it names row and problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels.packing import Packed, pack, pack_arrow, pack_rows

# Controls, and marks of direction, of line ends, of breaks in words and of byte order: pasted along with a key, they
# make it another one that looks the same. The joiner and non-joiner, which several languages spell with, may stand.
_UNSEEN = r"[\p{Cc}\x{AD}\x{61C}\x{180E}\x{200B}\x{200E}\x{200F}\x{2028}-\x{202E}\x{2060}-\x{206F}\x{FEFF}]"

MAX_KEY_BYTES = 1024
"""Longest canonical key of the form ``text``, bytes of UTF-8."""

_PAIR = "pair:"
_ID_CHARACTERS = 18
_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int32)
_CHECK = np.frombuffer(b"10X98765432", dtype=np.uint8)
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int32)

Column: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str | None]


class InvalidIdentifier(UsageError):
    """A value is not an identifier of its form.

    Attributes:
        form: the form, such as ``resident-id``.
        problem: what is wrong, without the value.
        row: which row, the first being 1; 0 where a single value was given.
    """

    def __init__(self, form: str, problem: str, row: int = 0) -> None:
        where = f"row {row}" if row else "the key"
        super().__init__(f"{where} is no {form.replace('-', ' ')}: {problem}. Correct it and try again.")
        self.form = form
        self.problem = problem
        self.row = row


def forms() -> tuple[str, ...]:
    """The names of all forms."""
    return (*_FORMS, *(_PAIR + name for name in _FORMS))


def key_columns(form: str) -> int:
    """How many columns a key of the form has: 2 for a pair, 1 otherwise. UsageError for an unknown form."""
    if form not in forms():
        raise UsageError(f"There is no key form {form!r}; choose one of {', '.join(forms())}.")
    return 2 if form.startswith(_PAIR) else 1


def canonical(form: str, *values: str) -> bytes:
    """The canonical bytes of one key.

    Args:
        form: one of ``forms()``.
        values: the key as a person writes it; two for a pair.

    Raises:
        InvalidIdentifier: a value that is not of the form.
        UsageError: an unknown form, or another number of values than it has.
    """
    try:
        keys = canonical_columns(form, *([v] for v in values))
    except InvalidIdentifier as error:
        raise InvalidIdentifier(error.form, error.problem) from None
    return next(iter(keys))


def canonical_columns(form: str, *columns: Column, first_row: int = 1) -> Packed:
    """The canonical bytes of many keys: about 0.3 s for 10^6 resident IDs.

    Args:
        form: one of ``forms()``.
        columns: n values each, as Arrow strings or a sequence of str, for resident IDs also as Arrow integers; two
            columns for a pair. Integers are no ``text``: as numbers, 007 and 7 are the same.
        first_row: number of the first row, for error messages.

    Raises:
        InvalidIdentifier: the first row whose value is not of the form.
        UsageError: an unknown form, another number of columns than it has, or columns of unequal length or other types.
    """
    wanted = key_columns(form)
    if len(columns) != wanted:
        raise UsageError(f"A key of the form {form} has {wanted} column(s), {len(columns)} given.")
    base = form.removeprefix(_PAIR)
    parts = [_FORMS[base](_strings(c, base, first_row), base, first_row) for c in columns]
    if wanted == 1:
        return parts[0]
    if len(parts[0]) != len(parts[1]):
        raise UsageError(f"The two columns of a pair have {len(parts[0])} and {len(parts[1])} rows; give equally many.")
    return _pairs(parts[0], parts[1], form, first_row)


def pair(a: bytes, b: bytes) -> bytes:
    """The canonical bytes of an unordered pair of canonical keys: the smaller first, each after its u16 length.

    Lengths are big-endian, so that no two pairs share their bytes.

    Raises:
        InvalidIdentifier: a pair of a key with itself.
    """
    if a == b:
        raise InvalidIdentifier("pair", "both keys are the same")
    return b"".join(len(key).to_bytes(2, "big") + key for key in sorted((a, b)))


def _strings(column: Column, form: str, first_row: int) -> pa.LargeStringArray:
    """The column as one array of large strings; numbers become their digits, where the form consists of digits."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    elif not isinstance(column, pa.Array):
        column = _from_python(column, form, first_row)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_integer(kind) and form == "text":
        raise UsageError(
            f"Keys of the form text are text, not {kind}, since numbers have lost their leading zeros: "
            "convert the column where the data set is made."
        )
    if not any(
        is_kind(kind)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    ):
        raise UsageError(f"Keys are text or whole numbers, not {kind}: convert the column where the data set is made.")
    return column.cast(pa.large_string())


def _from_python(values: Sequence[str | None], form: str, first_row: int) -> pa.LargeStringArray:
    """The same for Python's strings, of which some can be no text: a command line may have held any bytes."""
    try:
        return pa.array(values, pa.large_string())
    except (UnicodeEncodeError, pa.ArrowException):
        for row, value in enumerate(values, first_row):
            if not isinstance(value, str | None):
                raise UsageError(f"Row {row} holds a {type(value).__name__}: give keys as str.") from None
            if value is not None and any("\ud800" <= c <= "\udfff" for c in value):
                raise InvalidIdentifier(form, "it is not Unicode text", row) from None
        raise


def _refuse_empty(column: pa.LargeStringArray, form: str, first_row: int) -> None:
    """Nulls and blanks are not keys."""
    empty = pc.fill_null(pc.equal(pc.binary_length(column), 0), True)
    if pc.any(empty, min_count=0).as_py():
        raise InvalidIdentifier(form, "it is empty", first_row + pc.index(empty, True).as_py())


def _text(column: pa.LargeStringArray, form: str, first_row: int) -> Packed:
    column = pc.utf8_trim_whitespace(pc.utf8_normalize(column, form="NFKC"))
    _refuse_empty(column, form, first_row)
    unseen = pc.match_substring_regex(column, pattern=_UNSEEN)
    if pc.any(unseen, min_count=0).as_py():
        problem = "it holds a line break or another character that nobody sees"
        raise InvalidIdentifier(form, problem, first_row + pc.index(unseen, True).as_py())
    keys = pack_arrow(column)
    too_long = np.flatnonzero(np.diff(keys.offsets) > MAX_KEY_BYTES)
    if len(too_long):
        raise InvalidIdentifier(form, f"it is longer than {MAX_KEY_BYTES} bytes", first_row + int(too_long[0]))
    return keys


def _resident_ids(column: pa.LargeStringArray, form: str, first_row: int) -> Packed:
    rows = _plain_ids(column)
    if rows is None:  # some are written another way: normalise all, and only what is still wrong is an error
        column = pc.replace_substring_regex(pc.utf8_normalize(column, form="NFKC"), pattern=r"\s+", replacement="")
        column = pc.utf8_upper(column)
        _refuse_empty(column, form, first_row)
        rows = _plain_ids(column)
        if rows is None:
            lengths = pc.utf8_length(column).to_numpy()
            wrong = np.flatnonzero(lengths != _ID_CHARACTERS)
            if len(wrong):
                problem = f"it has {lengths[wrong[0]]} characters where {_ID_CHARACTERS} belong"
                raise InvalidIdentifier(form, problem, first_row + int(wrong[0]))
            shape = pc.match_substring_regex(column, pattern=r"^[0-9]{17}[0-9X]$")
            problem = "it holds something else than 17 digits and a last digit or X"
            raise InvalidIdentifier(form, problem, first_row + pc.index(shape, False).as_py())
    digits = rows[:, :17].astype(np.int32) - ord("0")
    year = digits[:, 6:10] @ np.array([1000, 100, 10, 1], dtype=np.int32)
    month = digits[:, 10] * 10 + digits[:, 11]
    day = digits[:, 12] * 10 + digits[:, 13]
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    in_month = _DAYS[np.where(month <= 12, month, 0)] + (leap & (month == 2))
    for wrong, problem in (
        ((year < 1800) | (day < 1) | (day > in_month), "its date of birth is not a date"),
        (_CHECK[digits @ _WEIGHTS % 11] != rows[:, 17], "its check character does not fit the digits before it"),
    ):
        if wrong.any():
            raise InvalidIdentifier(form, problem, first_row + int(np.argmax(wrong)))
    return pack_rows(rows)


def _plain_ids(column: pa.LargeStringArray) -> NDArray[np.uint8] | None:
    """The column as (n, 18) uint8, where every value is 17 digits and a digit, x or X; None otherwise."""
    if column.null_count:
        return None
    values = pack_arrow(column)
    if not np.all(np.diff(values.offsets) == _ID_CHARACTERS):
        return None
    rows = values.data[values.offsets[0] : values.offsets[-1]].reshape(-1, _ID_CHARACTERS).copy()
    last = rows[:, 17]
    last[last == ord("x")] = ord("X")
    is_digit = rows - np.uint8(ord("0")) < 10  # bytes below "0" wrap around to large ones
    is_digit[:, 17] |= last == ord("X")
    return rows if bool(is_digit.all()) else None


def _pairs(a: Packed, b: Packed, form: str, first_row: int) -> Packed:
    """Row by row what ``pair`` gives."""
    lengths = np.concatenate((np.diff(a.offsets), np.diff(b.offsets)))
    if len(lengths) and lengths.min() == lengths.max():
        return _pairs_of_one_width(a, b, int(lengths[0]), form, first_row)
    keys = []
    for row, (x, y) in enumerate(zip(a, b, strict=True), first_row):
        try:
            keys.append(pair(x, y))
        except InvalidIdentifier as error:
            raise InvalidIdentifier(form, error.problem, row) from None
    return pack(keys)


def _pairs_of_one_width(a: Packed, b: Packed, width: int, form: str, first_row: int) -> Packed:
    n = len(a)
    x, y = (p.data[p.offsets[0] : p.offsets[-1]].reshape(n, width) for p in (a, b))
    differs = x != y
    same = ~differs.any(axis=1)
    if same.any():
        raise InvalidIdentifier(form, "both keys are the same", first_row + int(np.argmax(same)))
    where = np.argmax(differs, axis=1)[:, None]  # the first byte that decides which key is the smaller
    swap = np.take_along_axis(x, where, 1) > np.take_along_axis(y, where, 1)
    out = np.empty((n, 2, 2 + width), dtype=np.uint8)
    out[:, :, :2] = np.frombuffer(width.to_bytes(2, "big"), dtype=np.uint8)
    out[:, 0, 2:] = np.where(swap, y, x)
    out[:, 1, 2:] = np.where(swap, x, y)
    return pack_rows(out.reshape(n, -1))


_FORMS: dict[str, Callable[[pa.LargeStringArray, str, int], Packed]] = {"resident-id": _resident_ids, "text": _text}
