"""Byte strings of varying length, packed into one buffer so that a batch crosses into the native core at once.

The layout is Arrow's LargeBinary: string i is ``data[offsets[i]:offsets[i + 1]]``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """n byte strings in one buffer.

    Attributes:
        data: (total,) uint8.
        offsets: (n + 1,) int64, within `data`, never falling.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, array, dtype in (("data", self.data, np.uint8), ("offsets", self.offsets, np.int64)):
            flat = _check.is_array(array) and array.ndim == 1
            if not flat or array.dtype != dtype or not (array.flags.c_contiguous and array.flags.aligned):
                raise UsageError(
                    f"{name} must be a contiguous, aligned (n,) array of {np.dtype(dtype)}; pack() makes one."
                )
        first_to_last = self.offsets[[0, -1]] if len(self.offsets) else np.array([-1, 0])
        if first_to_last[0] < 0 or first_to_last[1] > len(self.data) or np.any(self.offsets[1:] < self.offsets[:-1]):
            raise UsageError("offsets must be n + 1 values within data that never fall; use pack() to make them.")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[bytes]:
        return (self.data[start:end].tobytes() for start, end in itertools.pairwise(self.offsets.tolist()))

    def slice(self, start: int, stop: int) -> Packed:
        """Strings start to stop - 1, as views of the same data."""
        if not 0 <= start <= stop <= len(self):
            raise UsageError(f"[{start}, {stop}) is not within the {len(self)} strings.")
        return Packed(self.data, self.offsets[start : stop + 1])

    def take(self, rows: NDArray[np.int64]) -> Packed:
        """The strings of some rows, in their order: (k,) int64 -> k strings, copied."""
        lengths = np.diff(self.offsets)
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise UsageError(f"A row is not among the {len(self)} strings; rows are counted from 0.")
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths[rows], out=offsets[1:])
        data = np.empty(int(offsets[-1]), dtype=np.uint8)
        _native.packed_take(self.data, self.offsets, np.ascontiguousarray(rows, dtype=np.int64), data)
        return Packed(data, offsets)


def pack(items: Sequence[bytes | str]) -> Packed:
    """Packs byte strings; a `str` counts as its UTF-8 bytes."""
    if isinstance(items, bytes | str):
        raise UsageError("One string is not a batch; give a list of strings.")
    try:
        encoded = [item.encode() if isinstance(item, str) else item for item in items]
    except UnicodeEncodeError:
        raise UsageError("A string holds half a surrogate pair, which UTF-8 cannot say; repair or drop it.") from None
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), out=offsets[1:])
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    if offsets[-1] != len(data):
        raise UsageError("An item is an array of something wider than bytes; give its tobytes().")
    return Packed(data, offsets)


def to_arrow(packed: Packed) -> pa.Array:
    """The strings as an Arrow array of large binary, without copying them."""
    import pyarrow as pa

    buffers = [None, pa.py_buffer(packed.offsets), pa.py_buffer(packed.data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(packed), buffers)


def pack_rows(rows: NDArray[np.uint8]) -> Packed:
    """Packs the rows of an (n, w) uint8 array, without copying them where it is contiguous."""
    if rows.dtype != np.uint8 or rows.ndim != 2:
        raise UsageError(f"rows is {rows.dtype} of shape {rows.shape}; give (n, w) uint8.")
    n, width = rows.shape
    return Packed(np.ascontiguousarray(rows).reshape(-1), np.arange(n + 1, dtype=np.int64) * width)


def pack_arrow(array: pa.Array | pa.ChunkedArray) -> Packed:
    """Packs an Arrow array of (large or fixed-size) binary or string, without copying its bytes where it is one chunk.

    Raises UsageError on another type, and on nulls: what a missing value means is the caller's to say.
    """
    import pyarrow as pa

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    if not isinstance(array, pa.Array):
        raise UsageError(f"array is {type(array).__name__}; give a pyarrow Array or ChunkedArray.")
    if array.null_count:
        raise UsageError(f"The array has {array.null_count} nulls; drop or fill them first.")
    kind = array.type
    if pa.types.is_fixed_size_binary(kind):
        first, width = array.offset, kind.byte_width
        offsets = np.arange(first, first + len(array) + 1, dtype=np.int64) * width
    elif pa.types.is_large_binary(kind) or pa.types.is_large_string(kind):
        offsets = _arrow_offsets(array, np.int64)
    elif pa.types.is_binary(kind) or pa.types.is_string(kind):
        offsets = _arrow_offsets(array, np.int32)
    else:
        raise UsageError(f"The array holds {kind}; cast it to binary or string first.")
    values = array.buffers()[-1]
    data = np.empty(0, np.uint8) if values is None else np.frombuffer(values, dtype=np.uint8)
    return Packed(data, offsets)


def _arrow_offsets(array: pa.Array, dtype: type[np.int32] | type[np.int64]) -> NDArray[np.int64]:
    buffer = array.buffers()[1]
    if len(array) == 0 or buffer is None:
        return np.zeros(1, dtype=np.int64)  # an empty Arrow array may have no buffer of offsets at all
    offsets = np.frombuffer(buffer, dtype=dtype)[array.offset : array.offset + len(array) + 1]
    return np.require(offsets, np.int64, "A")  # Arrow asks for alignment, and whoever sent the array may not care
