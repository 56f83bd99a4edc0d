"""Packed strings: from Python, from rows and from Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels.packing import Packed, pack, pack_arrow, pack_rows, to_arrow

TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()]


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.binary(max_size=20) | st.text(max_size=20), max_size=20))
def test_strings_come_back(items: list[bytes | str]) -> None:
    expected = [item.encode() if isinstance(item, str) else item for item in items]
    packed = pack(items)
    assert (len(packed), list(packed)) == (len(items), expected)
    assert list(packed.slice(len(items) // 2, len(items))) == expected[len(items) // 2 :]


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.text(max_size=10), max_size=12), cut=st.integers(0, 12))
@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_arrow_arrays_slices_and_chunks(kind: pa.DataType, items: list[str], cut: int) -> None:
    array = pa.array(items, pa.string()).cast(kind)
    expected = [item.encode() for item in items]
    assert list(pack_arrow(array)) == expected
    assert list(pack_arrow(array.slice(cut))) == expected[cut:]
    assert list(pack_arrow(pa.chunked_array([array, array.slice(cut)], type=kind))) == expected + expected[cut:]
    assert list(pack_arrow(pa.chunked_array([], type=kind))) == []


def test_arrow_bytes_are_not_copied() -> None:
    array = pa.array(["hidden", "lookup"], pa.large_string())
    packed = pack_arrow(array)
    assert packed.data.ctypes.data == array.buffers()[2].address
    assert packed.offsets.ctypes.data == array.buffers()[1].address


def test_rows_and_fixed_size_arrays() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert list(pack_rows(rows)) == [row.tobytes() for row in rows]
    assert pack_rows(rows).data.base is not None
    fixed = pa.array([b"ab", b"cd", b"ef"], pa.binary(2))
    assert list(pack_arrow(fixed.slice(1))) == [b"cd", b"ef"]


def misaligned(values: list[int]) -> np.ndarray:
    """The values as int64 at an odd address."""
    return np.frombuffer(b"\0" + np.array(values, dtype=np.int64).tobytes(), dtype=np.int64, offset=1)


def test_arrow_offsets_at_an_odd_address() -> None:
    # What arrives in a message may lie anywhere: Arrow recommends alignment and does not see to it.
    offsets = pa.py_buffer(misaligned([0, 1, 3]))
    array = pa.Array.from_buffers(pa.large_binary(), 2, [None, offsets, pa.py_buffer(b"abc")])
    packed = pack_arrow(array)
    assert list(packed) == [b"a", b"bc"]
    assert packed.offsets.flags.aligned


def test_misuse_says_what_to_do() -> None:
    for call, text in (
        (lambda: pack("one string"), "give a list"),
        (lambda: pack(b"one string"), "give a list"),
        (lambda: pack_arrow(pa.array(["a", None])), "1 nulls; drop or fill"),
        (lambda: pack_arrow(pa.array([1, 2])), "cast it"),
        (lambda: pack_arrow(["a"]), "pyarrow Array"),
        (lambda: pack_rows(np.zeros(3, dtype=np.uint8)), r"give \(n, w\)"),
        (lambda: pack([b"a"]).slice(0, 2), "not within"),
        (lambda: pack([b"a"]).slice(-1, 1), "not within"),
        (lambda: Packed(np.zeros(3, np.int8), np.zeros(1, np.int64)), "data must be"),
        (lambda: Packed(np.zeros(3, np.uint8), np.zeros(1, np.int32)), "offsets must be"),
        (lambda: Packed(np.zeros(3, np.uint8), [0, 3]), "offsets must be"),
        (lambda: Packed(np.zeros(3, np.uint8), misaligned([0, 3])), "offsets must be .* aligned"),
        (lambda: pack([np.array([1, 2], dtype=np.int32)]), "wider than bytes"),
        (lambda: pack(["a", "secret \udc80"]), "half a surrogate pair"),
    ):
        with pytest.raises(UsageError, match=text):
            call()


@pytest.mark.parametrize("offsets", [[], [-1, 2], [0, 7], [0, 4, 2], [0, 2**62], [-(2**63), 0]])
def test_bad_offsets_are_refused_by_both_doors(offsets: list[int]) -> None:
    data, array = np.zeros(6, dtype=np.uint8), np.array(offsets, dtype=np.int64)
    with pytest.raises(UsageError, match="never fall"):
        Packed(data, array)
    with pytest.raises(ValueError, match="offsets"):
        _native.hash_batch("sha256", b"", data, array)


@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.binary(max_size=20), min_size=1, max_size=30), data=st.data())
def test_rows_are_taken(items: list[bytes], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=50))
    first = data.draw(st.integers(0, len(items) - 1))
    packed = pack(items)
    assert list(packed.take(np.array(rows, dtype=np.int64))) == [items[row] for row in rows]
    part = packed.slice(first, len(items))  # offsets that do not begin at 0
    assert list(part.take(np.arange(len(part))[::-1])) == items[first:][::-1]
    assert to_arrow(part).to_pylist() == items[first:]


def test_rows_beyond_the_strings_are_refused() -> None:
    for rows in ([2], [-1], [0, 5]):
        with pytest.raises(UsageError, match="not among the 2 strings"):
            pack([b"a", b"b"]).take(np.array(rows))
    with pytest.raises(ValueError, match="not among the strings"):
        _native.packed_take(np.zeros(2, np.uint8), np.array([0, 1, 2]), np.array([2]), np.zeros(1, np.uint8))
