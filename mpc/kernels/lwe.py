"""Sums by bin under encryption: module LWE over Z_q[X] / (X^512 + 1), rank 3, q = 2^32, with binary secrets.

One party has, for each of n rows, a bin in each of k columns; the matrix M, (bins, n), says which rows fall into which
bin. The other encrypts w vectors of n words as c = A·s + e + v under w secrets of 1536 bits: A is public, errors are
centred binomial of variance 10.5, and what M's holder adds up of c holds M·(A·s) = (M·A)·s, which shares of the *hint*
M·A times s take away again. ``docs/decisions/0025-lwe.md`` estimates the security; details: ``native/src/lwe.rs``.

All words are uint32 and wrap. Secrets of encryption are never branched on or made an address of; bins are, by
``sums``, ``add`` and ``hint``, which work on their owner's own data and tell nobody but by how long they take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

RING = 512
"""Rows of a block of the public matrix."""
RANK = 3
DIMENSION = RANK * RING
"""Bits of a secret."""
VARIANCE = 10.5
"""Of an error, which is at most 21 in size."""
SEED_BYTES = 32
PUBLIC_SEED_BYTES = 16
BLOCK_BYTES = 16
MAX_BINS = (1 << 32) - 1
"""Most bins of all columns together."""

_LANES = 8
_BLOCK_VALUES = RANK * 2 * RING

Words = NDArray[np.uint32]
Bytes = NDArray[np.uint8]
Codes = NDArray[np.uint8] | NDArray[np.uint16]
"""(n, k): the bin of each row in each column."""
Number = TypeVar("Number", np.uint32, np.int64)


def expand(public: Bytes, n: int) -> Words:
    """The public matrix of n rows as ``encrypt`` wants it: (blocks of 512 rows, 3072) uint32, 24 bytes a row.

    Args:
        public: 16 bytes, the seed.
        n: how many rows.
    """
    _check.row(public, PUBLIC_SEED_BYTES, "public")
    out = np.empty((-(-n // RING), _BLOCK_VALUES), dtype=np.uint32)
    _native.lwe_expand(public, out.reshape(-1))
    return out


def secrets(bits: Bytes) -> Words:
    """Secrets as ``encrypt`` wants them; wipe them afterwards.

    Args:
        bits: (w, 1536) uint8, uniform 0 and 1. Never twice.
    """
    if _check.rows(bits, DIMENSION, "bits") and int(bits.max()) > 1:
        raise UsageError("bits are 0 and 1.")
    out = np.empty((-(-len(bits) // _LANES), _LANES * _BLOCK_VALUES), dtype=np.uint32)
    _native.lwe_secrets(bits.reshape(-1), out.reshape(-1))
    return out


def encrypt(words: Words, *, blocks: Words, secrets: Words, seed: Bytes, first: int = 0) -> Words:
    """Encrypt some rows of w vectors.

    Args:
        words: (rows, w) uint32.
        blocks: the blocks of ``expand`` that these rows belong to, from the first row's on.
        secrets: of w secrets, from ``secrets``.
        seed: 32 secret bytes for the errors; of one set of vectors, and of no other.
        first: the number of the first row, a multiple of 512.

    Returns:
        (rows, w) uint32.
    """
    _check.secret(seed, (SEED_BYTES,), "seed")
    rows, w = _words(words, "words")
    whole = blocks.shape == (-(-rows // RING), _BLOCK_VALUES) and len(secrets) == -(-w // _LANES)
    if not whole or first < 0 or first % RING:
        raise UsageError("Give the blocks of these rows, as many secrets as vectors, and a first row of a whole block.")
    out = np.empty_like(words)
    if out.size:
        _native.lwe_encrypt(blocks.reshape(-1), secrets.reshape(-1), seed, first, words.reshape(-1), w, out.reshape(-1))
    return out


def sums(
    codes: Codes, words: NDArray[Number], sizes: Sequence[int], *, rows: NDArray[np.int32] | None = None
) -> NDArray[Number]:
    """Sums by bin: for each bin of each column the sum of the words of the rows that fall into it.

    Addresses depend on the codes and the rows' numbers: for data of whoever calls.

    Args:
        codes: (n, k) uint8 or uint16, each below its column's size.
        words: (n, w) uint32, summed modulo 2^32, or int64.
        sizes: how many bins each column has.
        rows: numbers of the rows that count, int32, in any order; all of them by default.

    Returns:
        (Σ sizes, w), column after column, of the words' type.

    Raises:
        UsageError: other shapes, or a code or a row's number that there is not.
    """
    out = np.zeros((sum(sizes), words.shape[1] if words.ndim == 2 else 0), dtype=words.dtype)
    add(codes, words, sizes, out, rows=rows)
    return out


def add(
    codes: Codes,
    words: NDArray[Number],
    sizes: Sequence[int],
    out: NDArray[Number],
    *,
    rows: NDArray[np.int32] | None = None,
) -> None:
    """As ``sums``, added to what `out`, (Σ sizes, w), holds."""
    n, k = _codes(codes, sizes)
    if not _check.is_array(words) or words.dtype not in (np.uint32, np.int64) or words.ndim != 2:
        raise UsageError(f"words are (n, w) uint32 or int64, not {words.dtype} of shape {words.shape}.")
    w = words.shape[1]
    if len(words) != n or out.shape != (sum(sizes), w) or out.dtype != words.dtype:
        raise UsageError(f"{n} rows of codes, words {words.shape} and sums {out.shape}: they do not belong together.")
    if not words.flags.c_contiguous or not out.flags.c_contiguous:
        raise UsageError("words is a strided view; give np.ascontiguousarray(...) of it.")
    if rows is not None and (rows.dtype != np.int32 or rows.ndim != 1 or not rows.flags.c_contiguous):
        raise UsageError(f"rows is {rows.dtype} of shape {rows.shape}; give the numbers of rows as (r,) int32.")
    if not n or not k:
        return
    native = _native.lwe_add_vartime if words.dtype == np.uint32 else _native.lwe_add_signed_vartime
    _run(native, codes.reshape(-1), _starts(sizes), words.reshape(-1), w, rows, out.reshape(-1))


def hint(codes: Codes, sizes: Sequence[int], *, public: Bytes) -> Words:
    """M·A on its side, (1536, Σ sizes) uint32. It tells M to whoever sees it.

    Args:
        codes: (n, k) uint8 or uint16, each below its column's size.
        sizes: how many bins each column has.
        public: the seed of A.

    Raises:
        UsageError: other shapes, or a code that there is not.
    """
    n, k = _codes(codes, sizes)
    _check.row(public, PUBLIC_SEED_BYTES, "public")
    out = np.zeros((DIMENSION, sum(sizes)), dtype=np.uint32)
    if n and k:
        _run(_native.lwe_hint_vartime, codes.reshape(-1), _starts(sizes), public, out.reshape(-1))
    return out


def offer(delta: Bytes, k: Bytes, *, tweak: int, hint: Words, first: int, count: int) -> tuple[Words, Words]:
    """Shares of the hint times secrets, for some bins, as the hint's owner: the sender of correlated transfers.

    Args:
        delta: (16,) the transfers' offset.
        k: (1536·w, 16): for each of w secrets a transfer for each of its bits.
        tweak: number of the first transfer.
        hint: (1536, bins).
        first: the first of these bins, a multiple of 4.
        count: how many.

    Returns:
        (w, 1536, count) uint32 for the other party, and (w, count): what its result is more than the product.
    """
    _check.secret(delta, (BLOCK_BYTES,), "delta")
    w = _transfers(k, "k")
    if len(_matrix(hint, "hint")) != DIMENSION:
        raise UsageError(f"hint has shape {hint.shape}; give ({DIMENSION}, bins).")
    messages = np.empty((w, DIMENSION, count), dtype=np.uint32)
    shares = np.empty((w, count), dtype=np.uint32)
    stretch = [hint.shape[1], first, count]
    _run(
        _native.lwe_offer,
        delta,
        tweak,
        k.reshape(-1),
        hint.reshape(-1),
        stretch,
        messages.reshape(-1),
        shares.reshape(-1),
    )
    return messages, shares


def choose(t: Bytes, choices: Bytes, *, tweak: int, messages: Words, bins: int, first: int) -> Words:
    """The same, as the owner of the secrets, which are the choices: (w, count), the products plus the other's shares.

    Args:
        t: (1536·w, 16), the chosen messages.
        choices: (w, 1536) uint8, 0 and 1.
        tweak: number of the first transfer.
        messages: (w, 1536, count) from ``offer``.
        bins: how many the hint has.
        first: the first of these.
    """
    w = _transfers(t, "t")
    _check.same_count(w, _check.rows(choices, DIMENSION, "choices"), "choices")
    if messages.dtype != np.uint32 or messages.ndim != 3 or messages.shape[:2] != (w, DIMENSION):
        raise UsageError(f"messages are {messages.dtype} of shape {messages.shape}; give ({w}, {DIMENSION}, count).")
    count = messages.shape[2]
    shares = np.empty((w, count), dtype=np.uint32)
    _run(
        _native.lwe_choose,
        tweak,
        t.reshape(-1),
        choices.reshape(-1),
        [bins, first, count],
        np.ascontiguousarray(messages).reshape(-1),
        shares.reshape(-1),
    )
    return shares


def _run(native: object, *arguments: object) -> None:
    """Call a kernel; what it finds wrong with the data is the caller's misuse."""
    try:
        native(*arguments)  # type: ignore[operator]
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(np.array(sizes, dtype=np.int64)).tolist()]


def _codes(codes: Codes, sizes: Sequence[int]) -> tuple[int, int]:
    """N and k of (n, k) codes."""
    if not _check.is_array(codes) or codes.dtype not in (np.uint8, np.uint16) or codes.ndim != 2:
        raise UsageError("codes are a numpy array (n, k) of uint8 or uint16, the bin of each row in each column.")
    if not codes.flags.c_contiguous:
        raise UsageError("codes is a strided view; give np.ascontiguousarray(...) of it.")
    if codes.shape[1] != len(sizes):
        raise UsageError(f"codes have {codes.shape[1]} columns, and there are {len(sizes)} sizes: give one for each.")
    if not all(size >= 1 for size in sizes) or sum(sizes) > MAX_BINS:
        raise UsageError(f"Every column has at least one bin, and all together at most {MAX_BINS}.")
    return codes.shape[0], codes.shape[1]


def _matrix(words: Words, name: str) -> Words:
    if not _check.is_array(words) or words.dtype != np.uint32 or words.ndim != 2 or not words.flags.c_contiguous:
        raise UsageError(f"{name} is a contiguous numpy array of two dimensions of uint32.")
    return words


def _words(words: Words, name: str) -> tuple[int, int]:
    rows, w = _matrix(words, name).shape
    return rows, w


def _transfers(blocks: Bytes, name: str) -> int:
    """How many secrets (1536·w, 16) blocks are for."""
    count = _check.rows(blocks, BLOCK_BYTES, name)
    if count % DIMENSION:
        raise UsageError(f"{name} has {count} blocks; give {DIMENSION} for each secret.")
    return count // DIMENSION
