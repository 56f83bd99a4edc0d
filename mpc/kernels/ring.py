"""Z_2^64, the ring of shares: masks from a key's stream, the product of three parties, and matrix products.

Elements are numpy uint64, and every sum and product wraps. A `Place` is where in a key's stream to begin: a word of the
stream is eight of its bytes, little-endian. What is read there must never be read again for anything else.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

Words = NDArray[np.uint64]

KEY_BYTES = 16
WORDS_PER_BLOCK = 2


class Place(NamedTuple):
    """Where a key's stream begins.

    Attributes:
        key: (16,) uint8.
        block: the first block, of two words, 0 to 2^128 - 1.
    """

    key: NDArray[np.uint8]
    block: int


def mask(words: Words, kind: Literal["add", "subtract", "xor"], at: Place) -> None:
    """Adds the stream to contiguous words of any shape, in place; or subtracts it, or adds it bit by bit."""
    if kind not in ("add", "subtract", "xor"):
        raise UsageError("The kind is none of 'add', 'subtract' and 'xor'; give one of them.")
    _check_place(at)
    _check_words(words, "words", writable=True)
    _native.ring_mask(words.reshape(-1), kind, at.key, at.block)


def product(kind: Literal["multiply", "and"], x: Words, y: Words, out: Words, *, plus: Place, minus: Place) -> None:
    """Overwrites `out`, (n,), with one party's part of the products of three parties' replicated shares.

    x0·y0 + x0·y1 + x1·y0 and, as its share of zero, the stream of one key less that of another; or the same of bits, 64
    to the word, with AND and XOR. [Araki, Furukawa, Lindell, Nof, Ohara 2016.]

    Args:
        kind: of words, or bit by bit.
        x: (2, n), the party's components of the left factors.
        y: (2, n), of the right factors.
        out: (n,), contiguous; none of the components.
        plus: in the stream of the key shared with one neighbour, n words.
        minus: in the stream of the key shared with the other.
    """
    if kind not in ("multiply", "and"):
        raise UsageError("The kind is neither 'multiply' nor 'and'; give one of them.")
    _check_words(out, "out", writable=True)
    for name, pair in (("x", x), ("y", y)):
        if not _check.is_array(pair) or pair.dtype != np.uint64 or out.ndim != 1 or pair.shape != (2, len(out)):
            raise UsageError(f"{name} must be (2, n) uint64, and out (n,); out is {out.shape}.")
        if np.may_share_memory(pair, out):
            raise UsageError(f"{name} shares memory with out; give another array.")
    _check_place(plus)
    _check_place(minus)
    _native.ring_product(kind, *_rows(x), *_rows(y), plus, minus, out)


def matmul(a: Words, b: Words, out: Words | None = None) -> Words:
    """The matrix product (n, m) @ (m, p) modulo 2^64, added to `out`, (n, p), if that is given."""
    for matrix, name in ((a, "a"), (b, "b")):
        if not _check.is_array(matrix) or matrix.dtype != np.uint64:
            raise UsageError(f"{name} must be an array of uint64.")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise UsageError(f"{a.shape} @ {b.shape} are no matrices that can be multiplied.")
    shape = (a.shape[0], a.shape[1], b.shape[1])
    sums = np.zeros((shape[0], shape[2]), dtype=np.uint64) if out is None else out
    _check_words(sums, "out", writable=True)
    if sums.shape != (shape[0], shape[2]):
        raise UsageError(f"out has shape {sums.shape}; give ({shape[0]}, {shape[2]}).")
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    if np.may_share_memory(sums, a) or np.may_share_memory(sums, b):
        raise UsageError("out shares memory with a factor; give another array.")
    _native.ring_matmul(a.reshape(-1), b.reshape(-1), shape, sums.reshape(-1))
    return sums


def _rows(pair: Words) -> tuple[Words, Words]:
    return np.ascontiguousarray(pair[0]), np.ascontiguousarray(pair[1])


def _check_place(at: Place) -> None:
    _check.secret(at.key, (KEY_BYTES,), "key")
    if not 0 <= at.block < 1 << 128:
        raise UsageError("block is outside 0 … 2^128 - 1; streams are counted from 0.")


def _check_words(words: Words, name: str, *, writable: bool = False) -> None:
    if not _check.is_array(words) or words.dtype != np.uint64 or not words.flags.c_contiguous:
        raise UsageError(f"{name} must be a contiguous array of uint64.")
    if writable and not words.flags.writeable:
        raise UsageError(f"{name} is read-only; give an array that may be changed.")
