"""Canonical forms of identifiers, so that two parties who write one key differently still mean the same bytes.

    resident-id           18 digits, the last possibly X: a Chinese resident's number (GB 11643)
    credit-code           18 digits and letters: the unified social credit code of an organisation (GB 32100)
    vin                   17 digits and letters: a vehicle's identification number (GB 16735; ISO 3779)
    phone                 a mobile number of mainland China, as +86 and 11 digits (E.164)
    integer               a whole number, as its decimal digits without leading zeros
    text                  any text: NFKC, without blanks around it, and none of the characters that nobody sees
    bytes                 any bytes, unchanged; text counts as its UTF-8
    pair:resident-id      two different keys of the form behind the colon, in whatever order they are given
    phone+text            several columns that are one key together, each of its own form, in the order given

NFKC turns full-width digits and blanks into plain ones; codes and numbers then lose blanks (credit codes, VINs and
phone numbers hyphens, too), and small letters become capitals. A resident ID's date must be one of the calendar, and a
check character right: ISO 7064, MOD 11-2 in resident IDs, MOD 31-3 in credit codes, position 9 of a VIN. So a typing
error is an error here and not a wrong "absent" later. ISO 3779 leaves a VIN's check digit to each country: China and
North America have it in every VIN, Europe does not. A list with vehicles that were never sold where it is required is
``text``. No message holds an identifier or a part of one: it names row and problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.data.forms import FORMS, PAIR, parts_of
from mpc.errors import UsageError
from mpc.kernels.packing import Packed, pack, pack_arrow, pack_rows

# Controls, and marks of direction, of line ends, of breaks in words and of byte order: pasted along with a key, they
# make it another one that looks the same. The joiner and non-joiner, which several languages spell with, may stand.
_UNSEEN = r"[\p{Cc}\x{AD}\x{61C}\x{180E}\x{200B}\x{200E}\x{200F}\x{2028}-\x{202E}\x{2060}-\x{206F}\x{FEFF}]"

MAX_KEY_BYTES = 1024
"""Longest canonical key of the form ``text``, bytes of UTF-8."""

MAX_RAW_BYTES = (1 << 16) - 1
"""Longest key of the form ``bytes``: the length of a part is written in two bytes."""

_MOST_CHARACTERS = 1000
_CHECK_CHARACTER = "its check character does not fit those before it"
_ID_CHARACTERS = 18
_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int32)
_CHECK = np.frombuffer(b"10X98765432", dtype=np.uint8)
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int32)

# The characters of a credit code have their place in the alphabet as value, which has no I, O, S, V and Z; those of a
# VIN have the values that ISO 3779 gives them, and I, O and Q do not occur.
_CREDIT_CHARACTERS = b"0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_WEIGHTS = np.array([pow(3, i, 31) for i in range(17)], dtype=np.int32)
_VIN_WEIGHTS = np.array([8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2], dtype=np.int32)
_VIN_CHECK = np.frombuffer(b"0123456789X", dtype=np.uint8)

Column: TypeAlias = pa.Array | pa.ChunkedArray | NDArray[np.integer[Any]] | Sequence[str | bytes | int | None]


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
    """The names of all forms of one column and of pairs. Those of one column, joined by +, are forms of several."""
    return FORMS


def key_columns(form: str) -> int:
    """How many columns a key of the form has: 1, or 2 for a pair, or one per part. UsageError for an unknown form."""
    return len(parts_of(form))


def canonical(form: str, *values: str | bytes | int) -> bytes:
    """The canonical bytes of one key.

    Args:
        form: one of ``forms()``, or several joined by +.
        values: the key as a person writes it; one for each column of the form.

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
    """The canonical bytes of many keys: 0.3 s for 10^6 resident IDs, 0.02 s for plain ASCII text.

    Args:
        form: one of ``forms()``, or several joined by +.
        columns: n values each, one column for each part of the form: Arrow text or a sequence of str. ``bytes`` also
            takes Arrow binary or a sequence of bytes. All but ``text`` and ``bytes`` also take Arrow's or numpy's
            integers, ``integer`` also a sequence of int. As numbers, 007 and 7 are the same, so they are no ``text``.
        first_row: number of the first row, for error messages.

    Returns:
        n keys. One of several parts has each after its u16 length, big-endian, so that no two keys share their bytes.

    Raises:
        InvalidIdentifier: the first row whose value is not of the form.
        UsageError: an unknown form, another number of columns than it has, or columns of unequal length or other types.
    """
    names = parts_of(form)
    if len(columns) != len(names):
        raise UsageError(f"A key of the form {form} has {len(names)} column(s), {len(columns)} given.")
    parts = [
        _raw(column, first_row) if name == "bytes" else _FORMS[name](_strings(column, name, first_row), name, first_row)
        for name, column in zip(names, columns, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    lengths = [len(part) for part in parts]
    if min(lengths) != max(lengths):
        if form.startswith(PAIR):
            raise UsageError(f"The two columns of a pair have {lengths[0]} and {lengths[1]} rows; give equally many.")
        raise UsageError(f"The columns of a key have {lengths} rows; give equally many.")
    return _pairs(parts[0], parts[1], form, first_row) if form.startswith(PAIR) else _joined(parts)


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
    column = _array(column, lambda values: _from_python(values, form, first_row))
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


def _array(column: Column, from_python: Callable[[Sequence[str | bytes | int | None]], pa.Array]) -> pa.Array:
    """The column as one array of its own type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    elif isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise UsageError(f"A column of keys has one dimension, not {column.ndim}: packing.pack_rows takes rows.")
        column = pa.array(column)
    elif not isinstance(column, pa.Array):
        column = from_python(column)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _from_python(values: Sequence[str | bytes | int | None], form: str, first_row: int) -> pa.LargeStringArray:
    """The same for Python's strings, of which some can be no text: a command line may have held any bytes."""
    if form == "integer":  # Python's have any size
        values = [str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in values]
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


def _raw(column: Column, first_row: int) -> Packed:
    def from_python(values: Sequence[str | bytes | int | None]) -> pa.Array:
        try:
            return pa.array(values, pa.large_binary())
        except UnicodeEncodeError:
            raise UsageError("A str holds half a surrogate pair, which UTF-8 cannot say: give it as bytes.") from None
        except pa.ArrowException:
            for row, value in enumerate(values, first_row):
                if not isinstance(value, str | bytes | None):
                    raise UsageError(f"Row {row} holds a {type(value).__name__}: give keys as bytes or str.") from None
            raise

    array = _array(column, from_python)
    if pa.types.is_null(array.type):
        array = array.cast(pa.large_binary())
    if array.null_count:
        raise InvalidIdentifier("bytes", "it is missing", first_row + pc.index(pc.is_null(array), True).as_py())
    if pa.types.is_integer(array.type):
        raise UsageError("Keys of the form bytes are bytes or text: for numbers take the form integer.")
    keys = pack_arrow(array)
    too_long = np.flatnonzero(np.diff(keys.offsets) > MAX_RAW_BYTES)
    if len(too_long):
        raise InvalidIdentifier("bytes", f"it is longer than {MAX_RAW_BYTES} bytes", first_row + int(too_long[0]))
    return keys


def _text(column: pa.LargeStringArray, form: str, first_row: int) -> Packed:
    plain = _plain_text(column)
    if plain is not None:
        return plain
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


def _plain_text(column: pa.LargeStringArray) -> Packed | None:
    """The column as it is, where all of it is visible ASCII, which is its own canonical form; None otherwise."""
    if column.null_count or not len(column):
        return None
    keys = pack_arrow(column)
    lengths = np.diff(keys.offsets)
    if lengths.min() == 0 or lengths.max() > MAX_KEY_BYTES:
        return None
    used = keys.data[keys.offsets[0] : keys.offsets[-1]]
    return keys if used.min() > ord(" ") and used.max() <= ord("~") else None


def _integers(column: pa.LargeStringArray, form: str, first_row: int) -> Packed:
    keys = _plain_text(column)
    if keys is not None:  # digits alone, none of them a leading zero: as Arrow writes numbers that are not negative
        used = keys.data[keys.offsets[0] : keys.offsets[-1]]
        if used.min() >= ord("0") and used.max() <= ord("9"):
            lengths = np.diff(keys.offsets)
            zeros = (keys.data[keys.offsets[:-1]] == ord("0")) & (lengths > 1)
            if not zeros.any() and lengths.max() <= _MOST_CHARACTERS:
                return keys
    column = pc.replace_substring_regex(pc.utf8_normalize(column, form="NFKC"), pattern=r"\s+", replacement="")
    _refuse_empty(column, form, first_row)
    column = pc.replace_substring_regex(column, pattern=r"^\+([0-9])", replacement=r"\1")
    shape = pc.match_substring_regex(column, pattern=r"^-?[0-9]+$")
    shape = pc.and_(shape, pc.less_equal(pc.binary_length(column), _MOST_CHARACTERS))
    if not pc.all(shape, min_count=0).as_py():
        problem = f"it is not a whole number of at most {_MOST_CHARACTERS} characters"
        raise InvalidIdentifier(form, problem, first_row + pc.index(shape, False).as_py())
    column = pc.replace_substring_regex(column, pattern=r"^(-?)0*([0-9]+)$", replacement=r"\1\2")
    return pack_arrow(pc.replace_substring_regex(column, pattern="^-0$", replacement="0"))


def _credit_codes(column: pa.LargeStringArray, form: str, first_row: int) -> Packed:
    rows = _codes(
        column, form, first_row, 18, _CREDIT_VALUES, "something else than digits and letters, or one of I, O, S, V, Z"
    )
    values = _CREDIT_VALUES[rows].astype(np.int32)
    for wrong, problem in (
        ((values[:, 2:8] > 9).any(axis=1), "its third to eighth characters, a place, are not digits"),
        ((values[:, :17] @ _CREDIT_WEIGHTS + values[:, 17]) % 31 != 0, _CHECK_CHARACTER),
    ):
        if wrong.any():
            raise InvalidIdentifier(form, problem, first_row + int(np.argmax(wrong)))
    return pack_rows(rows)


def _vins(column: pa.LargeStringArray, form: str, first_row: int) -> Packed:
    rows = _codes(column, form, first_row, 17, _VIN_VALUES, "something else than digits and letters, or one of I, O, Q")
    wrong = _VIN_CHECK[_VIN_VALUES[rows].astype(np.int32) @ _VIN_WEIGHTS % 11] != rows[:, 8]
    if wrong.any():
        problem = "its ninth character, the check digit, does not fit the others"
        raise InvalidIdentifier(form, problem, first_row + int(np.argmax(wrong)))
    return pack_rows(rows)


def _phones(column: pa.LargeStringArray, form: str, first_row: int) -> Packed:
    rows = _plain_phones(column)
    if rows is None:
        column = pc.replace_substring_regex(
            pc.utf8_normalize(column, form="NFKC"), pattern=r"[\s().\-\x{2010}-\x{2015}\x{2212}]+", replacement=""
        )
        _refuse_empty(column, form, first_row)
        column = pc.replace_substring_regex(column, pattern=r"^(?:\+|00)?86([0-9]{11})$", replacement=r"\1")
        rows = _plain_phones(column)
        if rows is None:
            shape = pc.match_substring_regex(column, pattern=r"^1[3-9][0-9]{9}$")
            problem = "it is not 11 digits from 13 to 19 on, with or without +86 before them"
            raise InvalidIdentifier(form, problem, first_row + pc.index(shape, False).as_py())
    out = np.empty((len(rows), 14), dtype=np.uint8)
    out[:, :3] = np.frombuffer(b"+86", dtype=np.uint8)
    out[:, 3:] = rows
    return pack_rows(out)


def _plain_phones(column: pa.LargeStringArray) -> NDArray[np.uint8] | None:
    """The column as (n, 11) uint8, where every value is a mobile number's 11 digits; None otherwise."""
    rows = _plain_codes(column, 11, _DIGIT_VALUES)
    if rows is None or not bool(((rows[:, 0] == ord("1")) & (rows[:, 1] >= ord("3"))).all()):
        return None
    return rows


def _codes(
    column: pa.LargeStringArray, form: str, first_row: int, width: int, values: NDArray[np.int8], other: str
) -> NDArray[np.uint8]:
    """The column as (n, width) uint8, once blanks and hyphens are out and letters large; `other` names a wrong one."""
    rows = _plain_codes(column, width, values)
    if rows is None:
        column = pc.replace_substring_regex(pc.utf8_normalize(column, form="NFKC"), pattern=r"[\s-]+", replacement="")
        column = pc.utf8_upper(column)
        _refuse_empty(column, form, first_row)
        rows = _plain_codes(column, width, values)
        if rows is None:
            lengths = pc.utf8_length(column).to_numpy()
            wrong = np.flatnonzero(lengths != width)
            if len(wrong):
                problem = f"it has {lengths[wrong[0]]} characters where {width} belong"
                raise InvalidIdentifier(form, problem, first_row + int(wrong[0]))
            known = "".join(chr(c) for c in np.flatnonzero(values >= 0))
            shape = pc.match_substring_regex(column, pattern=f"^[{known}]*$")
            problem = f"it holds {other}"
            raise InvalidIdentifier(form, problem, first_row + pc.index(shape, False).as_py())
    return rows


def _plain_codes(column: pa.LargeStringArray, width: int, values: NDArray[np.int8]) -> NDArray[np.uint8] | None:
    """The column as (n, width) uint8, where every value has that many characters, all with a value; None otherwise."""
    if column.null_count:
        return None
    keys = pack_arrow(column)
    if not np.all(np.diff(keys.offsets) == width):
        return None
    rows = keys.data[keys.offsets[0] : keys.offsets[-1]].reshape(-1, width)
    return rows if bool((values[rows] >= 0).all()) else None


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
        (_CHECK[digits @ _WEIGHTS % 11] != rows[:, 17], _CHECK_CHARACTER),
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


def _joined(parts: Sequence[Packed]) -> Packed:
    """Row by row the parts, each after its u16 length, big-endian."""
    columns = []
    for part in parts:
        lengths = np.diff(part.offsets).astype(">u2")
        columns += [_binary(pack_rows(lengths.view(np.uint8).reshape(-1, 2))), _binary(part)]
    return pack_arrow(pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.large_binary())))


def _binary(packed: Packed) -> pa.LargeBinaryArray:
    """The strings as an Arrow array, without copying them."""
    buffers = [None, pa.py_buffer(packed.offsets), pa.py_buffer(packed.data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(packed), buffers)


def _values(characters: bytes, values: Sequence[int]) -> NDArray[np.int8]:
    """(256,): the value of each character, -1 where it has none."""
    table = np.full(256, -1, dtype=np.int8)
    table[list(characters)] = values
    return table


_DIGIT_VALUES = _values(b"0123456789", range(10))
_CREDIT_VALUES = _values(_CREDIT_CHARACTERS, range(31))
_VIN_VALUES = _values(
    b"0123456789ABCDEFGHJKLMNPRSTUVWXYZ", [*range(10), *range(1, 9), *range(1, 6), 7, 9, *range(2, 10)]
)

_FORMS: dict[str, Callable[[pa.LargeStringArray, str, int], Packed]] = {
    "resident-id": _resident_ids,
    "credit-code": _credit_codes,
    "vin": _vins,
    "phone": _phones,
    "integer": _integers,
    "text": _text,
    "bytes": lambda column, _, first_row: _raw(column, first_row),
}
