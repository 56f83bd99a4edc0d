"""Oblivious key-value stores: RR22's clustered encoding of weight three [Raghuraman, Rindal: Blazing Fast PSI, 2022].

A table of m rows stores n pairs of blocks: ``decode`` gives each key its value, and any other key something else. It is
linear: Decode(P, key) = ⟨row(key), P⟩ over GF(2^128), where row(key) depends on key, seed and n alone; so the decoding
of a sum of tables is the sum of their decodings. If the values are uniform and independent, then so is the whole table,
whatever the keys are.

Keys have to be uniform blocks already: digests. The seed is public, and chosen when the keys are fixed; whoever knows
it before can look for keys that make encoding fail. Reading a table touches addresses that depend on the keys: neither
function takes constant time.

Sizes: about 1.35 n rows at 2^20. Encoding fails with odds below 2^-39 over the seed; `docs/decisions/0010-okvs.md` has
the parameters and what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import EncodingFailed, _check, wipe
from mpc.rng import Rng

__all__ = [
    "BLOCK_BYTES",
    "Arranged",
    "EncodingFailed",
    "Shape",
    "arrange",
    "decode",
    "decode_bins",
    "decode_into",
    "encode",
    "encode_bins",
    "shape",
    "size",
]

BLOCK_BYTES = 16
MAX_KEYS = (1 << 32) - 1


@dataclass(frozen=True)
class Shape:
    """How a table for n keys is laid out: bin by bin, each with its sparse rows before its dense ones.

    Attributes:
        bins: parts with rows of their own; keys are spread over them.
        capacity: keys that a bin may hold.
        sparse: rows of a bin, of which each key has three.
        dense: rows of a bin, of which each key has all, times powers of itself.
    """

    bins: int
    capacity: int
    sparse: int
    dense: int


def shape(n: int) -> Shape:
    """The layout for n keys, 0 to 2^32 - 1: the same on every machine. None has the layout of one."""
    if not 0 <= n <= MAX_KEYS:
        raise UsageError(f"A table for {n} keys cannot be made; split them into tables of at most {MAX_KEYS}.")
    return Shape(*_native.okvs_shape(n))


def size(n: int) -> int:
    """Rows of the table for n keys."""
    of = shape(n)
    return of.bins * (of.sparse + of.dense)


def encode(
    keys: NDArray[np.uint8], values: NDArray[np.uint8], *, seed: NDArray[np.uint8] | bytes, rng: Rng
) -> NDArray[np.uint8]:
    """A table in which each key has its value: (n, 16), (n, 16) -> (size(n), 16).

    Args:
        keys: distinct, and uniform for whoever does not know what they are digests of.
        values: one for each key.
        seed: 16 bytes that both parties know, fresh for each table.
        rng: for what the pairs leave free. The same arguments give the same table, on any number of threads.

    Raises:
        EncodingFailed: with odds below 2^-39. A caller may try another seed; where the peer sees that, it learns that
            the keys fail under the first one: little, but more than nothing.
        UsageError: two keys are equal, or shapes do not fit.
    """
    _check.same_count(_check.rows(keys, BLOCK_BYTES, "keys"), _check.rows(values, BLOCK_BYTES, "values"), "values")
    _check.secret(seed, (BLOCK_BYTES,), "seed")
    shape(len(keys))
    randomness = rng.uint8(32)
    try:
        return _native.okvs_encode_vartime(keys, values, seed, randomness)
    except ValueError as error:
        raise UsageError(f"{str(error).capitalize()}; give each key once.") from None
    finally:
        wipe(randomness)


def decode(
    keys: NDArray[np.uint8], table: NDArray[np.uint8], *, n: int, seed: NDArray[np.uint8] | bytes
) -> NDArray[np.uint8]:
    """What a table for n keys says of any keys: (k, 16), (size(n), 16) -> (k, 16)."""
    out = np.zeros((_check.rows(keys, BLOCK_BYTES, "keys"), BLOCK_BYTES), dtype=np.uint8)
    decode_into(keys, table, out, n=n, seed=seed)
    return out


def decode_into(
    keys: NDArray[np.uint8],
    table: NDArray[np.uint8],
    out: NDArray[np.uint8],
    *,
    n: int,
    seed: NDArray[np.uint8] | bytes,
) -> None:
    """Adds the decoding of keys[i] to out[i], in place: (k, 16), (size(n), 16), (k, 16), writable."""
    _check.same_count(_check.rows(keys, BLOCK_BYTES, "keys"), _check.rows(out, BLOCK_BYTES, "out"), "out")
    _check.secret(seed, (BLOCK_BYTES,), "seed")
    if _check.rows(table, BLOCK_BYTES, "table") != size(n):
        raise UsageError(f"table has {len(table)} rows; a table for {n} keys has {size(n)}.")
    if not out.flags.writeable or np.may_share_memory(out, keys) or np.may_share_memory(out, table):
        raise UsageError("out is read-only or shares memory with an input; give an array of its own.")
    _native.okvs_decode_into_vartime(keys, table, n, seed, out)


@dataclass(frozen=True)
class Arranged:
    """Pairs in the order of their bins, so that a table can be made, sent and read part by part.

    Attributes:
        keys: (k, 16) uint8.
        values: (k, 16) uint8.
        rows: (k,) uint32, which of the given pairs each was.
        starts: where each bin begins, and the end.
        n: for how many keys the table is.
        seed: of the table.
    """

    keys: NDArray[np.uint8] = field(repr=False)
    values: NDArray[np.uint8] = field(repr=False)
    rows: NDArray[np.uint32] = field(repr=False)
    starts: list[int] = field(repr=False)
    n: int
    seed: bytes

    @property
    def bins(self) -> int:
        """How many there are."""
        return len(self.starts) - 1

    def within(self, first: int, stop: int) -> slice:
        """Which pairs are in the bins from `first` to `stop` - 1."""
        return slice(self.starts[first], self.starts[stop])


def arrange(keys: NDArray[np.uint8], values: NDArray[np.uint8], *, n: int, seed: bytes) -> Arranged:
    """Bring pairs, (k, 16) and (k, 16), into the order of the bins of a table for n keys."""
    k = _check.rows(keys, BLOCK_BYTES, "keys")
    _check.same_count(k, _check.rows(values, BLOCK_BYTES, "values"), "values")
    _check.secret(seed, (BLOCK_BYTES,), "seed")
    shape(n)
    out = np.empty_like(keys), np.empty_like(values)
    rows = np.empty(k, dtype=np.uint32)
    starts = _native.okvs_arrange_vartime((keys, values), n, seed, out, rows)
    return Arranged(*out, rows, starts, n, seed)


def encode_bins(pairs: Arranged, first: int, stop: int, *, randomness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The table's rows of the bins from `first` to `stop` - 1, as ``encode`` makes them: (m', 16) uint8.

    Args:
        pairs: n pairs.
        first: number of a bin.
        stop: number of a bin, or how many there are.
        randomness: 32 bytes for what the pairs leave free, the same for all parts.

    Raises:
        EncodingFailed, UsageError: as for ``encode``. All parts that were made are useless then.
    """
    _check.secret(randomness, (32,), "randomness")
    within = _bins(pairs, first, stop)
    items = pairs.keys[within], pairs.values[within]
    try:
        return _native.okvs_encode_bins_vartime(
            items, (first, _cut(pairs, first, stop)), pairs.n, pairs.seed, randomness
        )
    except ValueError as error:
        raise UsageError(f"{str(error).capitalize()}; give each key once.") from None


def decode_bins(pairs: Arranged, first: int, stop: int, *, parts: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Adds the decoding of the keys of the bins from `first` to `stop` - 1 to their rows of `out`, in place.

    Args:
        pairs: k pairs, whose values play no part.
        first: number of a bin.
        stop: number of a bin, or how many there are.
        parts: (m', 16) uint8, the table's rows of these bins.
        out: (k, 16) uint8, writable, in the order of the arranged pairs.
    """
    within = _bins(pairs, first, stop)
    _check.same_count(len(pairs.keys), _check.rows(out, BLOCK_BYTES, "out"), "out")
    of = shape(pairs.n)
    if _check.rows(parts, BLOCK_BYTES, "parts") != (stop - first) * (of.sparse + of.dense):
        raise UsageError(f"parts has {len(parts)} rows; {stop - first} bins have {of.sparse + of.dense} each.")
    if not out.flags.writeable or np.may_share_memory(out, pairs.keys) or np.may_share_memory(out, parts):
        raise UsageError("out is read-only or shares memory with an input; give an array of its own.")
    starts = _cut(pairs, first, stop)
    _native.okvs_decode_bins_vartime(pairs.keys[within], parts, (first, starts), pairs.n, pairs.seed, out[within])


def _bins(pairs: Arranged, first: int, stop: int) -> slice:
    if not 0 <= first <= stop <= pairs.bins:
        raise UsageError(f"Bins {first} … {stop} are not within the {pairs.bins} that there are.")
    return pairs.within(first, stop)


def _cut(pairs: Arranged, first: int, stop: int) -> list[int]:
    """Where bins begin among their own pairs."""
    return [start - pairs.starts[first] for start in pairs.starts[first : stop + 1]]
