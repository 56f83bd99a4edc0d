"""A data set cut by its keys' digests into sealed files, and read back bucket by bucket, in memory that does not grow.

A row is spilled as digest, row number, and the columns that the result is to have. Buckets are ranges of digests: of
2^k buckets number b holds those whose first k bits are b. The files are cut in the same way, 256 of them or, of a set
of up to 96 MiB, one; so a bucket is some whole files, or a part of one.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.data import identifiers, tables
from mpc.data.tables import DataSet
from mpc.errors import UsageError
from mpc.kernels.packing import pack_rows
from mpc.rng import Rng
from mpc.session import Progress
from mpc.suite import Suite
from protocols.psi import checkpoint
from protocols.psi import items as sets
from protocols.psi.items import Duplicates

MAX_BITS = 16
"""The most buckets are 2^16."""

_BUFFER_BYTES = 32 << 20
_WHOLE_BYTES = 96 << 20  # of a set that is not cut at all
_FILE_BITS = 8
_DIGEST = 32
_ODDS_LOG2 = -41  # that any of one party's buckets overflows


def bucket_bits(rows: int, bucket_rows: int) -> int:
    """K, for buckets of at most `bucket_rows` on average. UsageError where they would be more than 2^16."""
    bits = max(0, math.ceil(rows / bucket_rows) - 1).bit_length()
    if bits > MAX_BITS:
        raise UsageError(
            f"{rows} keys in buckets of {bucket_rows} are more than {1 << MAX_BITS} buckets: give larger ones."
        )
    return bits


def bucket_size(rows: int, bits: int) -> int:
    """To how many keys every one of the 2^bits buckets is filled up: the least c so that any of them exceeds it with
    odds of at most 2^-41, by Chernoff's bound for Bin(rows, 2^-bits) and a union. 1 % above the mean at 2^20.
    """
    mean = rows / (1 << bits)
    if not bits or not rows:
        return rows
    wanted = (_ODDS_LOG2 - bits) * math.log(2)

    def rare(size: int) -> bool:
        return size - mean - size * math.log(size / mean) <= wanted

    low = math.ceil(mean)
    return min(rows, low + bisect_left(range(rows - low), True, key=lambda more: rare(low + more)))


@dataclass(frozen=True)
class Spill:
    """What of a data set is on disk.

    Attributes:
        rows: how many rows the data set has.
        keys: how many distinct keys.
        bits: the files are 2^bits.
        schema: of the frames: digest, row number, columns.
    """

    rows: int
    keys: int
    bits: int
    schema: pa.Schema = field(repr=False)


@dataclass(frozen=True)
class Bucket:
    """The rows of some digests, in the order of the input.

    Attributes:
        digests: (n, 32) uint8.
        numbers: (n,) int64, the rows' numbers in the data set, from 1.
        columns: n rows of the columns that the result is to have.
    """

    digests: NDArray[np.uint8] = field(repr=False)
    numbers: NDArray[np.int64] = field(repr=False)
    columns: pa.Table = field(repr=False)


def write(
    data_set: DataSet,
    *,
    keys: Sequence[str],
    form: str,
    columns: Sequence[str],
    duplicates: Duplicates,
    suite: Suite,
    salt: bytes,
    directory: Path,
    name: str,
    key: bytes,
    rng: Rng,
    progress: Callable[[Progress], None],
) -> Spill:
    """Read a data set once, and leave it in `directory`; errors as for `tables.batches` and `items.collect`."""
    wanted = identifiers.key_columns(form)
    if not set(keys) <= set(data_set.columns) or len(keys) != wanted:
        raise UsageError(f"The form {form} has {wanted} key column(s) among the data set's; got {list(keys)}.")
    held: list[pa.RecordBatch] = []
    held_bytes, rows = 0, 0
    schema: pa.Schema | None = None
    with ExitStack() as stack:
        files: list[checkpoint.Writer] = []

        def flush(bits: int) -> None:
            while len(files) < 1 << bits:
                path = _file(directory, name, bits, len(files))
                # Not durable: waiting for 256 files costs seconds, and they can be made again from the data set.
                files.append(stack.enter_context(checkpoint.Writer(path, key, rng=rng, durable=False)))
            _put(held, files)
            held.clear()

        for batch in tables.batches(data_set):
            packed = identifiers.canonical_columns(form, *(batch.column(one) for one in keys), first_row=rows + 1)
            digests = sets.digests(packed, suite=suite, salt=salt)
            frame = _frame(digests, rows + 1, batch, columns)
            schema = frame.schema if schema is None else schema
            frame = _alike(frame, schema, first_row=rows + 1)
            rows += len(digests)
            held.append(frame)
            held_bytes += frame.nbytes
            if held_bytes >= (_BUFFER_BYTES if files else _WHOLE_BYTES):
                flush(_FILE_BITS)
                held_bytes = 0
            progress(Progress("read", rows, 0))
        bits = _FILE_BITS if files else 0
        flush(bits)
    if schema is None:  # nothing says of which type a column without rows is
        schema = _schema([(column, pa.large_string()) for column in columns])
    spill = Spill(rows, 0, bits, schema)
    reader = Reader(spill, directory, name, key)
    distinct = 0
    for number in range(1 << bits):
        distinct += _distinct(reader.bucket(number, bits), duplicates, rng)
    progress(Progress("read", rows, rows))
    return Spill(rows, distinct, bits, schema)


class Reader:
    """Reads buckets; keeps the file that it read last. Safe to share between threads."""

    def __init__(self, spill: Spill, directory: Path, name: str, key: bytes) -> None:
        self._spill = spill
        self._directory = directory
        self._name = name
        self._key = key
        self._lock = threading.Lock()
        self._kept: tuple[int, pa.Table] | None = None

    def bucket(self, number: int, bits: int) -> Bucket:
        """Bucket `number` of 2^bits. DamagedCheckpoint where a file is not what was written."""
        with self._lock:
            deeper = bits - self._spill.bits
            if deeper <= 0:
                files = range(number << -deeper, (number + 1) << -deeper)
                self._kept = None
                table = pa.concat_tables(list(map(self._file, files)))
            else:
                if self._kept is None or self._kept[0] != number >> deeper:
                    self._kept = None
                    self._kept = (number >> deeper, self._file(number >> deeper).combine_chunks())
                table = self._kept[1]
        if deeper > 0:
            heads = np.ascontiguousarray(_digests(table)[:, :4]).view(">u4").reshape(-1)
            table = table.take(int64s(np.flatnonzero(heads >> np.uint32(32 - bits) == number)))
        elif deeper < 0:
            # Every file is in the order of the input. Across files rows of one key are in one file, so that is enough.
            table = table.combine_chunks()
        return Bucket(_digests(table), _column(table.column(1)), table.select(range(2, table.num_columns)))

    def _file(self, number: int) -> pa.Table:
        path = _file(self._directory, self._name, self._spill.bits, number)
        schema = self._spill.schema
        batches = [pa.ipc.read_record_batch(pa.py_buffer(data), schema) for data in checkpoint.read(path, self._key)]
        return pa.Table.from_batches(batches, schema)


def take(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Some rows of a table, in their order."""
    return table.take(int64s(rows))


def frames(table: pa.Table) -> Iterator[memoryview]:
    """A table as the frames of a sealed file."""
    for batch in table.to_batches(max_chunksize=tables.BATCH_ROWS):
        yield memoryview(batch.serialize()).cast("B")


def _file(directory: Path, name: str, bits: int, number: int) -> Path:
    return directory / f"rows-{name}-{bits}-{number:03}"


def _frame(digests: NDArray[np.uint8], first_row: int, batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    n = len(digests)
    numbers = np.arange(first_row, first_row + n)
    values = [batch.column(column) for column in columns]
    values = [v.dictionary_decode() if pa.types.is_dictionary(v.type) else v for v in values]
    digest = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_DIGEST), n, [None, pa.py_buffer(digests)])
    arrays = [digest, int64s(numbers), *values]
    schema = _schema([(column, value.type) for column, value in zip(columns, values, strict=True)])
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _schema(columns: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    # By place and not by name: a data set may have columns of any names.
    return pa.schema(
        [pa.field("digest", pa.binary(_DIGEST)), pa.field("row", pa.int64()), *(pa.field(*c) for c in columns)]
    )


def _alike(frame: pa.RecordBatch, schema: pa.Schema, *, first_row: int) -> pa.RecordBatch:
    """The frame with the types of the first one; data bases say what a column holds batch by batch."""
    if frame.schema.equals(schema):
        return frame
    try:
        arrays = [array.cast(kind) for array, kind in zip(frame.columns, schema.types, strict=True)]
    except pa.ArrowException:
        raise UsageError(
            f"A column is of another type from row {first_row} on than before: make all of it text in the data set."
        ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _put(held: Sequence[pa.RecordBatch], files: Sequence[checkpoint.Writer]) -> None:
    """Batches into the files that their digests belong to, in their order."""
    if not held:
        return
    table = pa.Table.from_batches(held).combine_chunks()
    if len(files) == 1:
        for frame in frames(table):
            files[0].write(frame)
        return
    heads = np.ascontiguousarray(_digests(table)[:, 0])
    order = np.argsort(heads, kind="stable")
    ends = np.cumsum(np.bincount(heads, minlength=len(files)))
    table = take(table, order)
    start = 0
    for file, end in zip(files, ends.tolist(), strict=True):
        if end > start:
            for frame in frames(table.slice(start, end - start)):
                file.write(frame)
        start = end


def _distinct(bucket: Bucket, duplicates: Duplicates, rng: Rng) -> int:
    """How many distinct keys a bucket has; UsageError where they are to be distinct and are not."""
    if duplicates == "error":
        sets.require_distinct(bucket.digests, numbers=bucket.numbers)
        return len(bucket.digests)
    return len(sets.collect(pack_rows(bucket.digests), form="bytes", duplicates="first", rng=rng).keys)


def _digests(table: pa.Table) -> NDArray[np.uint8]:
    column = table.column(0).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of no chunks
        return np.empty((0, _DIGEST), dtype=np.uint8)
    data = np.frombuffer(column.buffers()[1], dtype=np.uint8)
    return data[column.offset * _DIGEST : (column.offset + len(column)) * _DIGEST].reshape(-1, _DIGEST)


def _column(column: pa.ChunkedArray) -> NDArray[np.int64]:
    # As below not by to_numpy(), which imports pandas where there is one: half a second.
    parts = [np.frombuffer(c.buffers()[1], np.int64)[c.offset : c.offset + len(c)] for c in column.chunks if len(c)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def int64s(numbers: NDArray[np.int64]) -> pa.Array:
    """Numbers as an Arrow array, (n,), without copying them."""
    return pa.Int64Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])
