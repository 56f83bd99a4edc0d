"""The masked table of one epoch: what it is, how it lies in a file, and how a tag is found in it.

A table is two columns in strictly increasing order of tags: ``tags``, 8 bytes each, and ``masked``, the answers under
their masks. Without the epoch's private key a row says nothing, so the whole table may be given to every asker.
The columns lie one after the other, not interleaved: a binary search then touches tags alone, on the mapped file
itself, and nothing is copied.

A file is the header, the tags (u64 little-endian) and the masked answers, without anything between or after them:

    16 bytes            "unseen table v1" and a line feed
    u32                 length of the header, a multiple of 64, magic and padding included
    u64, u64, u16       epoch, rows, answer_bytes
    u8 and bytes        default answer: 0, or 1 followed by answer_bytes bytes
    four times          u16 length and bytes: suite, product, key form (UTF-8), public key
    zeros               up to the length of the header

All numbers are little-endian. The suite's digest of the file (SHA-256, SM3) is the table's hash, which the epoch's
signed manifest states.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.errors import UsageError
from mpc.kernels import hash as hashes

TAG_BYTES = 8
MAX_ANSWER_BYTES = 64
MIN_ROWS = 1024
"""Smallest size class."""

MAX_ROWS = 1 << 24
"""Largest size class. A larger data set belongs to ``lookup.pir``, or is split into several products."""

_MAGIC = b"unseen table v1\n"
_FIXED = struct.Struct("<16sIQQH")
_ALIGN = 64
_U16 = struct.Struct("<H")


class DamagedTable(UsageError):
    """A table file is not what its manifest says: cut short, changed, or another epoch's."""


def size_class(records: int) -> int:
    """The row count to which a table of `records` is padded: the next of {4, 5, 6, 7}·2^k, at least ``MIN_ROWS``.

    A class is at most a quarter larger than what it holds (above the minimum), so the row count says only that much
    of the number of records.

    Raises:
        UsageError: a negative count, or more than ``MAX_ROWS``.
    """
    if not 0 <= records <= MAX_ROWS:
        raise UsageError(
            f"A table holds 0 to {MAX_ROWS} records, not {records}: split the data set into several products."
        )
    n = max(records, MIN_ROWS)
    step = 1 << (n.bit_length() - 3)
    return -(-n // step) * step


@dataclass(frozen=True)
class TableSpec:
    """Everything about a table but its rows. The asker takes it from the epoch's signed manifest.

    Attributes:
        suite: cipher suite, such as ``intl``.
        product: the product's name; part of every evaluated input.
        epoch: number of the epoch, from 1.
        key_form: canonical form of the keys, such as ``resident-id`` or ``pair:resident-id``.
        answer_bytes: width of every answer, 1 to 64 bytes.
        default_answer: what absence means, `answer_bytes` long; None where absence is reported as such.
        rows: number of rows, a size class.
        public_key: the epoch's VOPRF public key, encoded.
    """

    suite: str
    product: str
    epoch: int
    key_form: str
    answer_bytes: int
    default_answer: bytes | None
    rows: int
    public_key: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.answer_bytes <= MAX_ANSWER_BYTES:
            raise UsageError(f"answer_bytes is 1 to {MAX_ANSWER_BYTES}, not {self.answer_bytes}: use a shorter code.")
        if self.default_answer is not None and len(self.default_answer) != self.answer_bytes:
            raise UsageError(f"The default answer has {len(self.default_answer)} bytes; give {self.answer_bytes}.")
        if not 1 <= self.epoch < 1 << 63:
            raise UsageError("Epochs are numbered from 1.")
        if not MIN_ROWS <= self.rows <= MAX_ROWS or size_class(self.rows) != self.rows:
            raise UsageError(f"{self.rows} rows are not a size class: a table is padded with `size_class`.")

    def header(self) -> bytes:
        """The file's header; its length is a multiple of 64 bytes."""
        default = b"\x00" if self.default_answer is None else b"\x01" + self.default_answer
        words = [w.encode() for w in (self.suite, self.product, self.key_form)]
        tail = default + b"".join(_U16.pack(len(w)) + w for w in (*words, self.public_key))
        length = -(-(_FIXED.size + len(tail)) // _ALIGN) * _ALIGN
        head = _FIXED.pack(_MAGIC, length, self.epoch, self.rows, self.answer_bytes) + tail
        return head.ljust(length, b"\x00")

    @property
    def file_bytes(self) -> int:
        """Size of the table's file, bytes."""
        return len(self.header()) + self.rows * (TAG_BYTES + self.answer_bytes)


@dataclass(frozen=True)
class Table:
    """A masked table.

    Attributes:
        spec: what it is a table of.
        tags: (rows,) uint64, strictly increasing.
        masked: (rows, answer_bytes) uint8, the answers under their masks.
        hash: the suite's digest of the file, 32 bytes.
    """

    spec: TableSpec
    tags: NDArray[np.uint64] = field(repr=False)
    masked: NDArray[np.uint8] = field(repr=False)
    hash: bytes

    def find(self, tags: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Look tags up by binary search.

        Args:
            tags: (n,) uint64.

        Returns:
            (n,) bool, which tags the table has; (n, answer_bytes) uint8, their masked answers, arbitrary where absent.
        """
        at = np.minimum(np.searchsorted(self.tags, tags), self.spec.rows - 1)
        return self.tags[at] == tags, self.masked[at]


def increasing(tags: NDArray[np.uint64]) -> bool:
    """Whether tags strictly increase, as binary search needs."""
    return bool(np.all(tags[:-1] < tags[1:]))


def assemble(spec: TableSpec, tags: NDArray[np.uint64], masked: NDArray[np.uint8]) -> Table:
    """Make a table of its columns, check them and compute the hash.

    Raises:
        DamagedTable: columns of other shapes than `spec` says, or tags that do not strictly increase.
    """
    if tags.shape != (spec.rows,) or masked.shape != (spec.rows, spec.answer_bytes):
        raise DamagedTable(
            f"The columns are not {spec.rows} rows with {spec.answer_bytes}-byte answers: build or fetch them again."
        )
    if not increasing(tags):
        raise DamagedTable("The table's tags do not strictly increase: build or fetch it again.")
    digest = hashes.new(suites.get(spec.suite).digest)
    digest.update(spec.header())
    digest.update(_little_endian(tags))
    digest.update(masked.data)
    return Table(spec=spec, tags=tags, masked=masked, hash=digest.digest())


def save(table: Table, path: Path) -> None:
    """Write a table to a new file and wait until it is on disk. Nothing is left of a file that could not be finished.

    Raises:
        UsageError: there is a file of that name already.
        OSError: the disk is full, or the directory cannot be written.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise UsageError(f"{path} exists; a table file is never overwritten, so give a new name.") from None
    try:
        with file:
            file.write(table.spec.header())
            file.write(_little_endian(table.tags))
            file.write(table.masked.data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def load(path: Path, *, table_hash: bytes) -> Table:
    """Map a table file into memory, read-only, and check it wholly: about 0.1 s for 10^7 rows.

    Args:
        path: file written by ``save``.
        table_hash: what the manifest says, 32 bytes.

    Raises:
        DamagedTable: the file is not that table.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _FIXED.size:
            raise DamagedTable(f"{path} is too short to be a table: build or fetch it again.")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    spec = _parse_header(mapped, path)
    start = len(spec.header())
    if size != spec.file_bytes:
        raise DamagedTable(f"{path} has {size} bytes where {spec.file_bytes} belong: build or fetch it again.")
    tags = np.frombuffer(mapped, dtype="<u8", count=spec.rows, offset=start)
    masked = np.frombuffer(mapped, dtype=np.uint8, offset=start + tags.nbytes)
    table = assemble(spec, tags, masked.reshape(spec.rows, spec.answer_bytes))
    if table.hash != table_hash:
        raise DamagedTable(f"{path} is not the table that the manifest names: build or fetch it again.")
    return table


def _little_endian(tags: NDArray[np.uint64]) -> memoryview:
    """The tags' bytes as they stand in the file; not a copy, on a little-endian machine."""
    return tags.astype("<u8", copy=False).data


def _parse_header(data: mmap.mmap, path: Path) -> TableSpec:
    """Read the header strictly: whatever is accepted is written back to the same bytes."""
    magic, length, epoch, rows, answer_bytes = _FIXED.unpack_from(data)
    head = bytes(data[: min(length, 1 << 16)])
    try:
        if magic != _MAGIC:
            raise ValueError
        at = _FIXED.size + 1
        default = None
        if head[at - 1]:
            default, at = head[at : at + answer_bytes], at + answer_bytes
        words = []
        for _ in range(4):
            (size,) = _U16.unpack_from(head, at)
            words.append(head[at + 2 : at + 2 + size])
            at += 2 + size
        suite, product, key_form = (w.decode() for w in words[:3])
        suites.get(suite)
        spec = TableSpec(suite, product, epoch, key_form, answer_bytes, default, rows, words[3])
        if spec.header() != head:
            raise ValueError
    except (ValueError, IndexError, struct.error, UsageError):
        raise DamagedTable(f"{path} does not begin with a table header: build or fetch it again.") from None
    return spec
