"""Oblivious key-value stores: RR22's clustered encoding of weight three [Raghuraman, Rindal: Blazing Fast PSI, 2022].

A table of m rows stores n pairs of blocks: ``decode`` gives each key its value, and any other key something else. It is
linear: Decode(P, key) = ⟨row(key), P⟩ over GF(2^128), where row(key) depends on key, seed and n alone; so the decoding of
a sum of tables is the sum of their decodings. If the values are uniform and independent, then so is the whole table,
whatever the keys are.

Keys have to be uniform blocks already: digests. The seed is public, and chosen when the keys are fixed; whoever knows it
before can look for keys that make encoding fail. Reading a table touches addresses that depend on the keys: neither
function takes constant time.

Sizes: about 1.35 n rows at 2^20. Encoding fails with odds below 2^-39 over the seed; `docs/decisions/0010-okvs.md` has
the parameters and what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import EncodingFailed, _check, wipe
from mpc.rng import Rng

__all__ = ["BLOCK_BYTES", "EncodingFailed", "Shape", "decode", "decode_into", "encode", "shape", "size"]

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
