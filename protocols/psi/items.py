"""The sets that enter an intersection: from what a caller holds to distinct canonical keys, and back to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.data import identifiers
from mpc.errors import UsageError
from mpc.kernels import hash as hashes
from mpc.kernels.packing import Packed
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.psi.result import PsiResult

Duplicates = Literal["error", "first", "many"]

Column: TypeAlias = Packed | pa.Array | pa.ChunkedArray | NDArray[np.int64] | Sequence[str | bytes | int]
"""n keys or parts of keys: Python's str, bytes or int, Arrow text, binary or integers, numpy integers, or packed."""

Amounts: TypeAlias = NDArray[np.integer[Any]] | pa.Array | pa.ChunkedArray | Sequence[int]
"""A whole number for each row."""

SALT_BYTES = 32
_DIGEST = b"unseen psi item v1".ljust(32, b"\x00")  # with the salt one block of every hash, which is hashed only once
_WORD = 1 << 63
_POLICIES = (
    ", or pass duplicates='first' to let the first stand for both, or duplicates='many' to keep all rows of a key"
)


@dataclass(frozen=True)
class Items:
    """Keys, and the rows of the caller's input that they stand for.

    Attributes:
        input_rows: how many rows the input has.
        keys: n canonical keys. They are distinct, but for the policy "error": what runs on them has digests of them
            anyhow and calls `require_distinct`.
        rows: (r,) int64, the rows that are kept, key by key; None where row i has key i.
        offsets: (n + 1,) int64: key i stands for ``rows[offsets[i]:offsets[i + 1]]``; None where row i has key i.
    """

    input_rows: int
    keys: Packed
    rows: NDArray[np.int64] | None = field(default=None, repr=False)
    offsets: NDArray[np.int64] | None = field(default=None, repr=False)

    def result(self, matched: NDArray[np.int64] | None, *, peer_size: int, operator: str) -> PsiResult:
        """The result in terms of the caller's rows, of the matched keys in common order: (k,) int64, or None."""
        if matched is None:
            return PsiResult(None, None, peer_size, operator)
        if self.rows is None or self.offsets is None:
            return PsiResult(matched, np.arange(len(matched) + 1), peer_size, operator)
        rows, offsets = _gathered(self.offsets, matched)
        return PsiResult(self.rows[rows], offsets, peer_size, operator)


def collect(items: Column | tuple[Column, ...], *, form: str, duplicates: Duplicates, rng: Rng) -> Items:
    """Bring a caller's input into canonical form.

    Args:
        items: one column of keys; a tuple of columns for a form with several.
        form: the form of the keys (``mpc.data.identifiers``). A ``Packed`` counts as canonical already.
        duplicates: what a key in several rows means. "error": a mistake, which `require_distinct` reports; "first": its
            first row counts and the others don't; "many": it stands for all its rows.
        rng: of this party, for finding duplicates.

    Raises:
        InvalidIdentifier: a row that is not of the form.
        UsageError: an unknown form or policy, or another number of columns than the form has.
    """
    if duplicates not in ("error", "first", "many"):
        raise UsageError(f"duplicates is 'error', 'first' or 'many', not {duplicates!r}.")
    if isinstance(items, Packed):
        identifiers.key_columns(form)
        keys = items
    else:
        keys = identifiers.canonical_columns(form, *(items if isinstance(items, tuple) else (items,)))
    if duplicates == "error":
        return Items(len(keys), keys)
    # Under a salt of this run alone: nobody can prepare keys that collide.
    order, starts = _grouped(hashes.batch("sha256", rng.bytes(64), keys))
    first = order[starts]  # the order within a group is that of the input
    by_first = np.argsort(first)
    if duplicates == "first":
        rows = first[by_first]
        return Items(len(keys), take(keys, rows), rows, np.arange(len(rows) + 1))
    within, offsets = _gathered(np.append(starts, len(order)), by_first)
    return Items(len(keys), take(keys, first[by_first]), order[within], offsets)


def amounts_by_key(values: Amounts, items: Items, *, bound: int) -> NDArray[np.int64]:
    """(n,) int64: the value of each key, which is that of its row or the sum of its rows'.

    Raises UsageError: values that are no whole numbers, or not one for each row; a row's value or a key's sum that
    passes `bound` in absolute value.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    try:
        column = pa.array(values)
        if pa.types.is_null(column.type) and not len(column):
            column = column.cast(pa.int64())
        if column.null_count or not pa.types.is_integer(column.type):
            raise UsageError(f"Values are whole numbers, one for each row, not {column.type} or missing ones.")
        amounts: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowException, OverflowError):
        raise UsageError("Values are whole numbers of 64 bits with a sign; sum in larger units.") from None
    if len(amounts) != items.input_rows:
        raise UsageError(f"There are {items.input_rows} rows and {len(amounts)} values; give one value for each row.")
    beyond = (amounts > bound) | (amounts < -bound)
    if beyond.any():
        raise UsageError(f"The value of row {int(np.argmax(beyond)) + 1} passes the bound {bound}: raise it at both.")
    if items.rows is None or items.offsets is None or not len(items.keys):
        return amounts
    if bound * int(np.diff(items.offsets).max()) >= _WORD:
        raise UsageError("The sum of one key's rows may pass 64 bits: agree on a lower bound, or sum in larger units.")
    summed = np.add.reduceat(amounts[items.rows], items.offsets[:-1])
    if ((summed > bound) | (summed < -bound)).any():
        raise UsageError(f"The sum of one key's rows passes the bound {bound}: raise it at both.")
    return summed


def digests(keys: Packed, *, suite: Suite, salt: bytes) -> NDArray[np.uint8]:
    """(n, 32) uint8: H(label ‖ salt ‖ key) in the suite's hash, the label 32 bytes and the salt 32.

    Equal for equal keys and otherwise independent of one another; under a salt that both parties have contributed to,
    neither can have prepared keys for them.
    """
    if len(salt) != SALT_BYTES:
        raise UsageError(f"The salt has {len(salt)} bytes; give {SALT_BYTES}, as protocols.psi.agreement makes them.")
    return hashes.batch(suite.digest, _DIGEST + salt, keys)


def distinct(digests: NDArray[np.uint8]) -> bool:
    """Whether no two of (n, w ≥ 16) have the same first 16 bytes."""
    heads = np.sort(_words(digests, 0))
    return not (heads[1:] == heads[:-1]).any() or len(_grouped(digests)[1]) == len(digests)


def require_distinct(
    digests: NDArray[np.uint8], *, numbers: NDArray[np.int64] | None = None, otherwise: str = _POLICIES
) -> None:
    """UsageError that names two rows with the same digest where not all (n, w ≥ 16) are distinct.

    Rows are called by their `numbers`, (n,) increasing, or counted from 1. `otherwise` ends the remedy, which begins by
    dropping one of them: what else the caller may do.
    """
    if distinct(digests):
        return
    order, starts = _grouped(digests)
    sizes = np.diff(np.append(starts, len(order)))
    again = np.flatnonzero(sizes > 1)
    group = again[np.argmin(order[starts[again] + 1])]  # whose second row comes first
    first, second = order[starts[group]] + 1, order[starts[group] + 1] + 1
    if numbers is not None:
        first, second = numbers[first - 1], numbers[second - 1]
    raise UsageError(f"Rows {first} and {second} have the same key: drop one{otherwise}.")


def tag_bytes(size: int, peer_size: int) -> int:
    """How wide uniform tags have to be: 40 + log2(size · peer_size) bits, at least 64, in whole bytes.

    Then two different keys share a tag, anywhere in the run, with odds of at most 2^-40.
    """
    return max(8, -(-(40 + max(size * peer_size - 1, 0).bit_length()) // 8))


def take(keys: Packed, rows: NDArray[np.int64]) -> Packed:
    """The keys of some rows, in their order: (k,) int64 -> k strings, copied."""
    return keys.take(rows)


def _gathered(offsets: NDArray[np.int64], which: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of ranges ``offsets[i]:offsets[i + 1]``, those of `which` one after the other: every index, and new offsets."""
    starts = offsets[which]
    ends = np.zeros(len(which) + 1, dtype=np.int64)
    np.cumsum(offsets[which + 1] - starts, out=ends[1:])
    return np.repeat(starts - ends[:-1], np.diff(ends)) + np.arange(ends[-1]), ends


def _grouped(digests: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows with equal first 16 bytes beside each other: (n,) rows, those of a group in order; where groups begin."""
    high, low = _words(digests, 0), _words(digests, 8)
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return order, np.flatnonzero(new)


def _words(digests: NDArray[np.uint8], at: int) -> NDArray[np.uint64]:
    return np.ascontiguousarray(digests[:, at : at + 8]).view("<u8").reshape(-1)
