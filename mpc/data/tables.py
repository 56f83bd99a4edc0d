"""Data sets: CSV, Parquet and SQL tables, read as a stream of Arrow batches that hold the named columns and no others.

    people = DataSet("registry.csv", columns=("id", "status"))
    for batch in keyed(people, keys=("id",), form="resident-id"):
        batch.keys, batch.columns["status"]

What is wrong with a data set is a UsageError that names the column or the row, never a value. Rows count from 1; the
header of a CSV file and empty lines are not counted.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from numpy.typing import NDArray

from mpc import durable
from mpc.data import identifiers
from mpc.errors import UsageError
from mpc.kernels import hash as hashes
from mpc.kernels.packing import Packed

if TYPE_CHECKING:
    # Imported where a data base is read: it takes as long as all of numpy, and most data sets are files.
    import sqlalchemy as sa

BATCH_ROWS = 1 << 16
"""Most rows of one batch."""

_CSV_BLOCK = 4 << 20
_CSV_HEADER = 1 << 20  # where a file without line ends, which is no CSV file, is given up
_SQLITE = (".sqlite", ".sqlite3", ".db")
_WRITERS = {".parquet": pa_parquet.ParquetWriter, ".csv": pa_csv.CSVWriter}

FORMATS = tuple(_WRITERS)
"""Suffixes of the kinds of files that ``write`` makes."""


@dataclass(frozen=True)
class DataSet:
    """Where some columns are.

    Attributes:
        source: path of a ``.csv``, ``.parquet``, ``.sqlite``, ``.sqlite3`` or ``.db`` file, or an SQLAlchemy URL.
        columns: the columns that may be read; all others are left unread.
        table: which table of a data base.
        encoding: of a CSV file; ``gb18030`` covers GBK and GB 2312. A UTF-8 byte order mark is skipped.
    """

    source: str = field(repr=False)  # a URL may hold a password
    columns: tuple[str, ...]
    table: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise UsageError(f"Name each column to be read once; got {list(self.columns)}.")


def batches(data_set: DataSet) -> Iterator[pa.RecordBatch]:
    """Read a data set: about 0.2 s for 10^6 rows of two columns from CSV or Parquet, 1.7 s from SQLite.

    Columns come in the order of `data_set.columns`; a CSV file's as strings, an empty field being an empty string.

    Raises:
        UsageError: no such file, table or column; a column name that occurs twice; bytes that are not of the encoding;
            a line with more or fewer fields than the header; an empty file; another kind of file.
    """
    if "://" in data_set.source:
        return _sql(data_set, data_set.source)
    path = Path(data_set.source)
    if not path.is_file():
        raise UsageError(f"There is no file {path}; check the path of the data set.")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(data_set, path)
    if suffix == ".parquet":
        return _parquet(data_set, path)
    if suffix in _SQLITE:
        import sqlalchemy as sa

        # SQLite would make a new, empty data base of a file that somebody removes meanwhile, if it were not read-only.
        read_only = {"mode": "ro", "uri": "true"}
        return _sql(data_set, sa.URL.create("sqlite", database=path.absolute().as_uri(), query=read_only))
    kinds = ", ".join((".csv", ".parquet", *_SQLITE))
    raise UsageError(f"{path.name} is none of {kinds}: convert it, or rename it to what it is.")


@dataclass(frozen=True)
class Keyed:
    """Some rows of a data set with their keys.

    Attributes:
        keys: n canonical keys.
        columns: all columns of the data set, by name, n values each.
        rows: (n,) int64, the rows' numbers.
    """

    keys: Packed
    columns: Mapping[str, pa.Array] = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)


def write(path: Path, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, kind: str) -> None:
    """Write a file of the `kind`, one of ``FORMATS``, for its owner alone, over what was there; on disk at the end."""
    with durable.private_file(path) as file, _WRITERS[kind](file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def keyed(
    data_set: DataSet, *, keys: Sequence[str], form: str, duplicates: Literal["error", "first"] = "error"
) -> Iterator[Keyed]:
    """Read a data set whose rows have a key each. Holds 24 bytes per row read, to notice a key that occurs twice.

    Args:
        data_set: what to read.
        keys: the key column, or the two columns of a pair; among the data set's.
        form: form of the keys (``mpc.data.identifiers``).
        duplicates: whether a key that occurs twice is an error, or stands for its first row.

    Raises:
        InvalidIdentifier: a key that is empty or not of its form.
        UsageError: a key that occurs twice, what ``batches`` raises, other columns than the form has.
    """
    wanted = identifiers.key_columns(form)
    if not set(keys) <= set(data_set.columns) or len(keys) != wanted:
        raise UsageError(f"The form {form} has {wanted} key column(s) among the data set's; got {list(keys)}.")
    return _keyed(batches(data_set), tuple(keys), form, duplicates)


def _keyed(
    found: Iterator[pa.RecordBatch], keys: tuple[str, ...], form: str, duplicates: Literal["error", "first"]
) -> Iterator[Keyed]:
    seen = _Seen()
    first_row = 1
    for batch in found:
        packed = identifiers.canonical_columns(form, *(batch.column(name) for name in keys), first_row=first_row)
        rows = np.arange(first_row, first_row + batch.num_rows)
        first_row += batch.num_rows
        earlier = seen.earlier(packed, rows)
        again = np.flatnonzero(earlier)
        if len(again):
            if duplicates == "error":
                row, first = rows[again[0]], earlier[again[0]]
                raise UsageError(f"Rows {first} and {row} have the same key: drop one, or let the first of them stand.")
            keep = earlier == 0
            batch, rows = batch.filter(pa.array(keep)), rows[keep]
            packed = identifiers.canonical_columns(form, *(batch.column(name) for name in keys))
        yield Keyed(packed, dict(zip(batch.schema.names, batch.columns, strict=True)), rows)


def encode_codes(column: pa.Array, codes: Mapping[str, bytes], *, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Replace texts by codes of one width.

    Args:
        column: n texts, or whole numbers or booleans (``true``, ``false``), which are taken as text.
        codes: the code of each text.
        rows: (n,) the rows' numbers, for error messages.

    Returns:
        (n, width) uint8.

    Raises:
        UsageError: a text without code, codes of different widths.
    """
    width = len(next(iter(codes.values()), b""))
    if not codes or any(len(c) != width for c in codes.values()):
        raise UsageError("Give at least one code, and codes of one width.")
    table = np.frombuffer(b"".join(codes.values()), dtype=np.uint8).reshape(len(codes), width)
    known = pa.array(list(codes), pa.large_string())
    which: NDArray[np.int32] = pc.index_in(_texts(column), value_set=known).fill_null(-1).to_numpy()
    unknown = np.flatnonzero(which < 0)
    if len(unknown):
        listed = ", ".join(map(repr, codes))
        raise UsageError(f"Row {rows[unknown[0]]} has an answer without a code; there are codes for {listed}. Add one.")
    return table[which]


def encode_text(column: pa.Array, width: int, *, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Texts as UTF-8, padded with zero bytes to one width; an empty or missing one is all zeros.

    Args:
        column: n texts, or whole numbers or booleans, which are taken as text.
        width: bytes of each answer.
        rows: (n,) the rows' numbers, for error messages.

    Returns:
        (n, width) uint8.

    Raises:
        UsageError: a text of more than `width` bytes, or one that ends in a zero character.
    """
    texts = _texts(column).fill_null("")
    wrong = pc.or_(pc.greater(pc.binary_length(texts), width), pc.ends_with(texts, "\x00"))
    if pc.any(wrong, min_count=0).as_py():
        row = rows[pc.index(wrong, True).as_py()]
        raise UsageError(f"Row {row} has an answer that does not fit {width} bytes: widen the answer.")
    joined = b"".join(t.encode().ljust(width, b"\x00") for t in texts.to_pylist())
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), width)


def _texts(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    if not any(is_kind(kind) for is_kind in kinds):
        raise UsageError(
            f"Answers are texts, whole numbers or booleans, not {kind}: convert the column in the data set."
        )
    return column.cast(pa.large_string())


class _Seen:
    """The keys seen so far, as 128-bit digests in sorted runs whose sizes double up to 2^20."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)  # nobody can prepare two keys that are taken for one
        self._runs: list[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]] = []

    def earlier(self, keys: Packed, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each of n keys the row that had it first, or 0 if none had it; then count the keys as seen."""
        digest = np.ascontiguousarray(hashes.batch("sha256", self._salt, keys)[:, :16]).view("<u8")
        result = np.zeros(len(keys), dtype=np.int64)
        for high, low, run_rows in self._runs:
            at = np.minimum(np.searchsorted(high, digest[:, 0]), len(high) - 1)
            hit = (high[at] == digest[:, 0]) & (low[at] == digest[:, 1])
            result[hit] = run_rows[at[hit]]
        order = np.lexsort((digest[:, 1], digest[:, 0]))  # stable: of equal keys the earlier row comes first
        high, low, rows = digest[order, 0], digest[order, 1], rows[order]
        same = np.zeros(len(keys), dtype=np.bool_)
        same[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(keys))))
        within = order[same]
        result[within] = np.where(result[within] == 0, rows[starts[same]], result[within])
        new = result[order] == 0
        if new.any():
            self._add(high[new], low[new], rows[new])
        return result

    def _add(self, high: NDArray[np.uint64], low: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        while self._runs and len(self._runs[-1][0]) <= len(high) < 1 << 20:
            other = self._runs.pop()
            high, low, rows = (np.concatenate(pair) for pair in zip(other, (high, low, rows), strict=True))
            order = np.argsort(high)
            high, low, rows = high[order], low[order], rows[order]
        self._runs.append((high, low, rows))


# The kinds of data sets -----------------------------------------------------------------------------------------------


def _check_columns(data_set: DataSet, present: Sequence[str]) -> None:
    # A data base is called by its table, since its URL may hold a password.
    name = Path(data_set.source).name if data_set.table is None else f"The table {data_set.table!r}"
    missing = [c for c in data_set.columns if c not in present]
    if missing:
        raise UsageError(f"{name} has no column {missing[0]!r}; it has: {', '.join(map(repr, present))}.")
    twice = [c for c in data_set.columns if list(present).count(c) > 1]
    if twice:
        raise UsageError(f"{name} has two columns {twice[0]!r}; rename one of them.")


def _csv(data_set: DataSet, path: Path) -> Iterator[pa.RecordBatch]:
    _check_columns(data_set, _csv_header(data_set, path))
    try:
        yield from _csv_batches(data_set, path, pa.large_string())
    except UnicodeDecodeError:
        raise _wrong_encoding(data_set) from None
    except pa.ArrowException as error:
        if "UTF8" in str(error):
            raise _wrong_encoding(data_set, row=_first_bad_text(data_set, path)) from None
        raise UsageError(f"{path.name} cannot be read as CSV: check its quotes and line ends.") from None


def _csv_header(data_set: DataSet, path: Path) -> list[str]:
    utf8 = data_set.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    encoding = "utf-8-sig" if utf8 else data_set.encoding
    try:
        with path.open("rb") as file:
            beginning = file.read(_CSV_HEADER)
        # Decoded line by line: a bad byte further on is reported with its row, later.
        lines = (line.decode(encoding) for line in beginning.splitlines(keepends=True))
        header = next((fields for fields in csv.reader(lines) if fields), None)
    except LookupError:
        raise UsageError(f"There is no encoding {data_set.encoding!r}; utf-8 and gb18030 are the usual ones.") from None
    except UnicodeDecodeError:
        raise _wrong_encoding(data_set) from None
    except csv.Error:
        raise UsageError(f"{path.name} does not begin with a line of column names: is it a CSV file?") from None
    if header is None:
        raise UsageError(f"{path.name} is empty; a CSV file begins with a line of column names.")
    return header


def _csv_batches(data_set: DataSet, path: Path, kind: pa.DataType) -> Iterator[pa.RecordBatch]:
    ragged: list[pa_csv.InvalidRow] = []

    def stop(row: pa_csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        reader = pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK, encoding=data_set.encoding, use_threads=False),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=stop),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(data_set.columns),
                column_types=dict.fromkeys(data_set.columns, kind),
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)
    except pa.ArrowInvalid as error:
        if ragged:
            row = ragged[0]
            where = f"Row {row.number - 1}" if row.number else "A row"
            raise UsageError(
                f"{where} of {path.name} has {row.actual_columns} fields where the header has {row.expected_columns}: "
                "check its separators and quotes."
            ) from None
        if "cannot infer number of columns" not in str(error):  # which is how a header without any row is reported
            raise


def _wrong_encoding(data_set: DataSet, row: int = 0) -> UsageError:
    where = f"Row {row}" if row else "The text"
    return UsageError(
        f"{where} of {Path(data_set.source).name} is not {data_set.encoding}: save the file as UTF-8, or state its "
        "encoding (gb18030 for files of many Chinese programs)."
    )


def _first_bad_text(data_set: DataSet, path: Path) -> int:
    """Number of the first row with bytes that are not UTF-8."""
    row = 0
    for batch in _csv_batches(data_set, path, pa.large_binary()):
        for values in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            row += 1
            try:
                b"".join(values).decode()
            except UnicodeDecodeError:
                return row
    return 0


def _parquet(data_set: DataSet, path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pa_parquet.ParquetFile(path) as file:
            _check_columns(data_set, file.schema_arrow.names)
            first_row = 1
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(data_set.columns)):
                _check_text(batch, path, first_row)
                yield batch.select(list(data_set.columns))
                first_row += batch.num_rows
    except (pa.ArrowException, OSError):
        raise UsageError(
            f"{path.name} cannot be read as a Parquet file: check that it was copied completely."
        ) from None


def _check_text(batch: pa.RecordBatch, path: Path, first_row: int) -> None:
    """Parquet files may hold any bytes as text; what reads them further on takes them for UTF-8."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raise UsageError(
                f"Column {name!r} of {path.name} holds text that is not UTF-8 in rows {first_row} to "
                f"{first_row + batch.num_rows - 1}: write the file anew."
            ) from None


def _sql(data_set: DataSet, url: str | sa.URL) -> Iterator[pa.RecordBatch]:
    import sqlalchemy as sa

    if not data_set.table:
        raise UsageError("A data base has many tables: name the one to read (table = …).")
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
    except (sa.exc.SQLAlchemyError, ImportError, ValueError):
        raise UsageError("The data base's URL names no kind of data base that is installed here: check it.") from None
    try:
        inspector = sa.inspect(engine)
        tables = [*inspector.get_table_names(), *inspector.get_view_names()]
        if data_set.table not in tables:
            raise UsageError(f"There is no table {data_set.table!r}; there are: {', '.join(map(repr, tables))}.")
        _check_columns(data_set, [c["name"] for c in inspector.get_columns(data_set.table)])
        columns: list[sa.ColumnClause[Any]] = [sa.column(c) for c in data_set.columns]
        chosen: sa.Select[Any] = sa.select(*columns).select_from(sa.table(data_set.table))
        with engine.connect() as connection:
            result = connection.execution_options(yield_per=BATCH_ROWS).execute(chosen)
            first_row = 1
            for rows in result.partitions():
                yield _from_rows(data_set, rows, first_row)
                first_row += len(rows)
    except sa.exc.SQLAlchemyError as error:
        # The text of the driver's error may quote values; its type says enough.
        raise UsageError(
            f"The data base cannot be read ({type(error).__name__}): check its path, address and rights."
        ) from None
    finally:
        engine.dispose()


def _from_rows(data_set: DataSet, rows: Sequence[Sequence[object]], first_row: int) -> pa.RecordBatch:
    columns = []
    for i, name in enumerate(data_set.columns):
        try:
            columns.append(pa.array([row[i] for row in rows]))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            raise UsageError(
                f"Column {name!r} holds values of several types, or numbers beyond 64 bits, from row {first_row} on: "
                "make all of them text."
            ) from None
    return pa.record_batch(columns, names=list(data_set.columns))
