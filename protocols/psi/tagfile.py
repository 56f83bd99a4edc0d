"""Tag files: what a client needs of a prepared set, for ``psi.unbalanced``. Written once, mapped into memory after.

    header     (TagSpec.header)
    starts     (2^p + 1,) u32, where the tags with each prefix begin
    tags       (rows,) u64, the rest of each tag
    checksum   32 bytes, SHA-256 of everything before; it names the file

Numbers are little-endian. A tag is the first t bytes of F(key), t from 8 to 11, read as one big-endian number; the tags
are sorted. Their first p = 8·(t - 8) bits are told by the place of a tag and not repeated.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpc import durable
from mpc.errors import UsageError
from protocols.psi.items import tag_bytes

MAX_ROWS = (1 << 32) - 1
HEADER_LIMIT = 1 << 12
HASH_BYTES = 32
TAG_BYTES = 11
"""The longest tags: they do for 2^48 pairs of a set's and a client's keys."""

_MAGIC = b"unstags\x01"
_FIXED = struct.Struct("<8sIIQQQ")
_U16 = struct.Struct("<H")
_ALIGN = 64
_PIECE = 1 << 24
_AGAIN = "delete it, and prepare or fetch it again"

PIECE_BYTES = 1 << 22
"""Bytes of a file that one message carries."""


class DamagedTags(UsageError):
    """A tag file that is cut short, changed, or something else."""


@dataclass(frozen=True)
class TagSpec:
    """What a tag file holds the tags of.

    Attributes:
        suite: name of the cipher suite.
        name: of the set, as its owner calls it.
        form: canonical form of the keys (``mpc.data.identifiers``).
        epoch: number of the key, from 1.
        most: most keys that one client may ask for in a session.
        tag_bytes: t, at least 40 + log2(rows · most) bits: all keys of a session together meet a wrong tag with odds of
            at most 2^-40.
        rows: how many distinct keys the set has.
        public_key: (element,), of the key that made the tags.
    """

    suite: str
    name: str
    form: str
    epoch: int
    most: int
    tag_bytes: int
    rows: int
    public_key: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.epoch < 1 << 63:
            raise UsageError("Epochs are numbered from 1.")
        if not 0 <= self.rows <= MAX_ROWS:
            raise UsageError(f"A prepared set has up to {MAX_ROWS} keys: split it by region or year.")
        if not 1 <= self.most <= 1 << 32 or not tag_bytes(self.rows, self.most) <= self.tag_bytes <= TAG_BYTES:
            raise UsageError(f"{self.rows} keys for {self.most} at a time are too many for one tag file: lower `most`.")

    @property
    def prefix_bits(self) -> int:
        """P."""
        return 8 * (self.tag_bytes - 8)

    def header(self) -> bytes:
        """The file's header; its length is a multiple of 64 bytes and does not depend on `rows`."""
        words = [w.encode() for w in (self.suite, self.name, self.form)]
        tail = b"".join(_U16.pack(len(w)) + w for w in (*words, self.public_key))
        length = -(-(_FIXED.size + len(tail)) // _ALIGN) * _ALIGN
        if length > HEADER_LIMIT:
            raise UsageError("The name of the set is too long; a few words do.")
        fixed = _FIXED.pack(_MAGIC, length, self.tag_bytes, self.epoch, self.most, self.rows)
        return (fixed + tail).ljust(length, b"\x00")

    @property
    def starts_bytes(self) -> int:
        """Size of `starts` in the file, bytes."""
        return 4 * ((1 << self.prefix_bits) + 1)

    @property
    def file_bytes(self) -> int:
        """Size of the file, bytes."""
        return len(self.header()) + self.starts_bytes + 8 * self.rows + HASH_BYTES


def parse_header(data: bytes) -> TagSpec:
    """Read a header strictly: whatever is accepted is written back to the same bytes.

    Raises:
        DamagedTags: it is none.
    """
    try:
        magic, length, width, epoch, most, rows = _FIXED.unpack_from(data)
        if magic != _MAGIC or length > HEADER_LIMIT:
            raise ValueError
        head = data[:length]
        at, words = _FIXED.size, []
        for _ in range(4):
            (size,) = _U16.unpack_from(head, at)
            words.append(head[at + 2 : at + 2 + size])
            at += 2 + size
        suite, name, form = (w.decode() for w in words[:3])
        spec = TagSpec(suite, name, form, epoch, most, width, rows, words[3])
        if spec.header() != head:
            raise ValueError
    except (ValueError, struct.error, UsageError):
        raise DamagedTags("This is no header of a tag file of this version: prepare or fetch it again.") from None
    return spec


@dataclass(frozen=True)
class TagFile:
    """The tags of a prepared set.

    Attributes:
        spec: what they are the tags of.
        path: where the file is.
        starts: (2^p + 1,) uint32, where the tags with each prefix begin.
        tags: (rows,) uint64, the rest of each tag; increasing where the prefix is the same.
        hash: SHA-256 of the file without its last 32 bytes, which are this.
    """

    spec: TagSpec
    path: Path
    starts: NDArray[np.uint32] = field(repr=False)
    tags: NDArray[np.uint64] = field(repr=False)
    hash: bytes

    def contains(self, y: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of n outputs of F are of keys in the set: (n, h ≥ 11) uint8 → (n,) bool."""
        if not self.spec.rows:
            return np.zeros(len(y), dtype=np.bool_)
        prefix, wanted = _split(*halves(y), self.spec.prefix_bits)
        low = self.starts[prefix].astype(np.int64)
        end = self.starts[prefix.astype(np.int64) + 1].astype(np.int64)
        high = end
        while np.any(low < high):  # a binary search in every bucket at once
            middle = (low + high) // 2
            right = (low < high) & (self.tags[np.minimum(middle, self.spec.rows - 1)] < wanted)
            low, high = np.where(right, middle + 1, low), np.where(right, high, middle)
        equal: NDArray[np.bool_] = self.tags[np.minimum(low, self.spec.rows - 1)] == wanted
        return equal & (low < end)


def halves(y: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """(n, h ≥ 11) outputs of F → the first 8 bytes of each and the next 3, as numbers."""
    first = np.ascontiguousarray(y[:, :8]).view(">u8").reshape(-1)
    rest = np.zeros((len(y), 4), dtype=np.uint8)
    rest[:, 1:] = y[:, 8:TAG_BYTES]
    return first.astype(np.uint64), rest.view(">u4").reshape(-1).astype(np.uint32)


def _split(
    first: NDArray[np.uint64], rest: NDArray[np.uint32], bits: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first `bits` of each tag, and the 64 that follow; the tag has 64 + `bits` of the 88 bits given."""
    if not bits:
        return np.zeros_like(first), first
    shift = np.uint64(bits)
    return first >> np.uint64(64 - bits), first << shift | rest.astype(np.uint64) >> np.uint64(24 - bits)


def write(path: Path, spec: TagSpec, groups: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint32]]]) -> TagFile:
    """Write a tag file, and map it. Until it is complete and on disk there is no file of that name.

    Args:
        path: of the new file.
        spec: what it is a file of; its `rows` are counted anew.
        groups: the tags, as ``halves`` gives them, distinct, in increasing order within and between groups.

    Raises:
        UsageError: there is a file of that name already.
        OSError: the disk is full, or the directory cannot be written.
    """
    if path.exists():
        raise UsageError(f"{path} exists; a tag file is never overwritten, so give a new directory.")
    temporary = path.with_name(path.name + ".part")
    starts = np.zeros((1 << spec.prefix_bits) + 1, dtype="<u4")
    counts = starts[1:]  # of tags with each prefix, for now
    with temporary.open("wb+") as file:
        file.seek(len(spec.header()) + spec.starts_bytes)
        for first, rest in groups:
            prefix, tags = _split(first, rest, spec.prefix_bits)
            file.write(tags.astype("<u8", copy=False).data)
            begins = np.flatnonzero(np.concatenate(([True], prefix[1:] != prefix[:-1]))[: len(prefix)])
            times = np.diff(np.append(begins, len(prefix)))
            counts[prefix[begins].astype(np.int64)] += times.astype(np.uint32)
        np.cumsum(counts, out=counts)
        spec = replace(spec, rows=int(starts[-1]))
        file.seek(0)
        file.write(spec.header())
        file.write(starts.data)
        file.seek(0)
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    durable.sync_directory(path.parent)
    return load(path)


def load(path: Path, *, expected: bytes | None = None) -> TagFile:
    """Map a tag file into memory, read-only, and check it wholly: about 0.1 s for 10^7 keys.

    Args:
        path: of the file.
        expected: the hash that it is to have, if it is known.

    Raises:
        DamagedTags: the file is cut short, changed, or another one.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _FIXED.size + HASH_BYTES:
            raise DamagedTags(f"{path} is too short to be a tag file: {_AGAIN}.")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    spec = parse_header(mapped[:HEADER_LIMIT])
    if size != spec.file_bytes:
        raise DamagedTags(f"{path} has {size} bytes where {spec.file_bytes} belong: {_AGAIN}.")
    view = memoryview(mapped)
    digest = hashlib.sha256(view[:-HASH_BYTES]).digest()
    if digest != view[-HASH_BYTES:] or expected not in (None, digest):
        raise DamagedTags(f"{path} is not what was written there, or another file: {_AGAIN}.")
    at = len(spec.header())
    starts = np.frombuffer(mapped, dtype="<u4", count=spec.starts_bytes // 4, offset=at)
    if starts[0] or starts[-1] != spec.rows or np.any(starts[1:] < starts[:-1]):
        raise DamagedTags(f"{path} says nonsense of where its tags are: {_AGAIN}.")
    tags = np.frombuffer(mapped, dtype="<u8", count=spec.rows, offset=at + spec.starts_bytes)
    return TagFile(spec, path, starts, tags, digest)


def pieces(path: Path, offset: int) -> Iterator[bytes]:
    """The bytes of a file from an offset on, 4 MiB at a time."""
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(PIECE_BYTES):
            yield piece
