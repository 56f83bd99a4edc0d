"""What is made of correlated transfers: comparisons of four bits, products of bits, and products of words.

In a correlated transfer the sender has ``k`` and an offset delta, the receiver a choice c and ``t = k ^ c * delta``.
Hashed under the transfer's number (``mpc.kernels.blocks``), ``t`` is one of two masks of which the sender has both.
The choices may have been drawn before the inputs were there: then the receiver says which of them are to be flipped,
and `flips` makes the sender take its two masks in the other order.

A *group* is 64 values. Bits of a group's values fill one uint64 word, the first value's in the lowest bit.
Constant-time in values, choices, flips and masks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

BLOCK_BYTES = 16
GROUP = 64
"""Values whose bits fill a word."""
LEAVES = 16
"""Most pieces of four bits of a value."""
TABLES = 4
"""Most values of the sender that are compared with one of the receiver's."""

Side = Literal["left", "right"]
"""Whether the sender's value stands on the left of ``<`` or on its right."""

Words = NDArray[np.uint64]


def offer_tables(
    delta: NDArray[np.uint8],
    k: NDArray[np.uint8],
    *,
    tweak: int,
    flips: Words,
    values: Words,
    shares: Words,
    side: Side,
) -> NDArray[np.uint32]:
    """Compare values piece by piece, as the sender: 1-out-of-16 transfers of two bits for each piece of four bits.

    Transfer 4·L·v + 4·l + j belongs to bit j of piece l of value v, of L pieces from the lowest bit on.
    Of each of the receiver's values the same transfers serve all T values that the sender compares it with.

    Args:
        delta: (16,) the offset.
        k: (4 · L · n, 16), n a multiple of 64.
        tweak: number of the first transfer.
        flips: (n,), bit i of which flips the choice of a value's i-th transfer.
        values: (T, n), T from 1 to ``TABLES``.
        shares: (n / 64, T, 2, L), uniform: the sender's shares of "less" and "equal", for each piece a word of a group.
        side: where the sender's value stands.

    Returns:
        (n, T, L) uint32, for the receiver.
    """
    tables, leaves = _pieces(shares)
    n = _groups(_words(flips, "flips"), "flips")
    _blocks(k, 4 * leaves * n, "k", tweak)
    _check.secret(delta, (BLOCK_BYTES,), "delta")
    if shares.shape[0] != n // GROUP or side not in ("left", "right"):
        raise UsageError("shares are (n / 64, T, 2, L) words, and side is 'left' or 'right'.")
    if values.shape != (tables, n):
        raise UsageError(f"values are {values.shape}; give ({tables}, {n}).")
    _words(values.reshape(-1), "values")
    _words(shares.reshape(-1), "shares")
    messages = np.empty((n, tables, leaves), dtype=np.uint32)
    _native.transfers_offer_tables(
        (leaves, tables),
        delta,
        tweak,
        k,
        flips,
        values.reshape(-1),
        shares.reshape(-1),
        side == "left",
        messages.reshape(-1),
    )
    return messages


def choose_tables(t: NDArray[np.uint8], *, tweak: int, values: Words, messages: NDArray[np.uint32]) -> Words:
    """Compare values piece by piece, as the receiver, whose choices (after flips) are the values' bits.

    Args:
        t: (4 · L · n, 16), n a multiple of 64.
        tweak: number of the first transfer.
        values: (n,).
        messages: (n, T, L) uint32, what `offer_tables` returned.

    Returns:
        (n / 64, T, 2, L): the receiver's shares of "less" and "equal". The exclusive or with the sender's says, for
        each piece, whether the left is less than the right, and whether they are equal.
    """
    n = _groups(_words(values, "values"), "values")
    whole = messages.dtype == np.uint32 and messages.ndim == 3 and messages.flags.c_contiguous
    if not whole or messages.shape[0] != n or not _are_pieces(*messages.shape[1:]):
        raise UsageError("messages are a contiguous array (n, T, L) of uint32.")
    tables, leaves = messages.shape[1:]
    _blocks(t, 4 * leaves * n, "t", tweak)
    shares = np.empty((n // GROUP, tables, 2, leaves), dtype=np.uint64)
    _native.transfers_choose_tables((leaves, tables), tweak, t, values, messages.reshape(-1), shares.reshape(-1))
    return shares


def offer_bits(delta: NDArray[np.uint8], k: NDArray[np.uint8], *, tweak: int) -> Words:
    """Products of the receiver's random choices with two random bits each, as the sender.

    Args:
        delta: (16,) the offset.
        k: (n, 16), n a multiple of 64.
        tweak: number of the first transfer.

    Returns:
        (4, n / 64): the sender's shares of the two products, then its two factors.
    """
    _check.secret(delta, (BLOCK_BYTES,), "delta")
    n = _groups(_check.rows(k, BLOCK_BYTES, "k"), "k")
    _blocks(k, n, "k", tweak)
    out = np.empty((n // GROUP, 4), dtype=np.uint64)
    _native.transfers_offer_bits(delta, tweak, k, out.reshape(-1))
    return np.ascontiguousarray(out.T)


def choose_bits(t: NDArray[np.uint8], *, tweak: int) -> Words:
    """Products of the receiver's random choices with two random bits each, as the receiver: (2, n / 64) its shares."""
    n = _groups(_check.rows(t, BLOCK_BYTES, "t"), "t")
    _blocks(t, n, "t", tweak)
    out = np.empty((n // GROUP, 2), dtype=np.uint64)
    _native.transfers_choose_bits(tweak, t, out.reshape(-1))
    return np.ascontiguousarray(out.T)


def product_bytes(bits: int) -> int:
    """Bytes that the sender tells for each product with a number of so many bits, 1 to 64."""
    if not 1 <= bits <= 64:
        raise UsageError(f"A factor has 1 to 64 bits, not {bits}.")
    return sum(8 - i // 8 for i in range(bits))


def offer_products(
    delta: NDArray[np.uint8],
    k: NDArray[np.uint8],
    *,
    tweak: int,
    flips: Words,
    y: Words,
    bits: int = 64,
    bitwise: bool = False,
) -> tuple[Words, NDArray[np.uint8]]:
    """Additive shares modulo 2^64 of x·y, as the sender, who has y; x has so many bits [Gilboa 1999].

    Transfer bits·v + i belongs to bit i of value v. Of its product only the lowest 64 - i bits count and are sent.

    Args:
        delta: (16,) the offset.
        k: (bits · n, 16).
        tweak: number of the first transfer.
        flips: (n,), bit i of which flips the choice of a value's i-th transfer.
        y: (n,).
        bits: of x.
        bitwise: whether bit i of x meets bit i of y alone, so that the product is the sum of 2^i·x_i·y_i.

    Returns:
        (n,) shares, and (n, product_bytes(bits)) uint8 for the receiver.
    """
    width = product_bytes(bits)
    n = _words(y, "y")
    _check.secret(delta, (BLOCK_BYTES,), "delta")
    _blocks(k, bits * n, "k", tweak)
    _check.same_count(n, _words(flips, "flips"), "flips")
    shares, messages = np.empty(n, dtype=np.uint64), np.empty((n, width), dtype=np.uint8)
    _native.transfers_offer_products(delta, tweak, k, bits, flips, y, bitwise, shares, messages.reshape(-1))
    return shares, messages


def choose_products(
    t: NDArray[np.uint8], *, tweak: int, x: Words, messages: NDArray[np.uint8], bits: int = 64
) -> Words:
    """Additive shares modulo 2^64 of x·y, as the receiver, whose choices (after flips) are the bits of x: (n,)."""
    n = _words(x, "x")
    _blocks(t, bits * n, "t", tweak)
    _check.same_count(n, _check.rows(messages, product_bytes(bits), "messages"), "messages")
    shares = np.empty(n, dtype=np.uint64)
    _native.transfers_choose_products(tweak, t, bits, x, messages, shares)
    return shares


def _pieces(shares: Words) -> tuple[int, int]:
    """T and L of (groups, T, 2, L)."""
    if shares.ndim != 4 or shares.shape[2] != 2 or not _are_pieces(shares.shape[1], shares.shape[3]):
        raise UsageError(f"shares are (n / 64, T, 2, L), T up to {TABLES} and L up to {LEAVES}; not {shares.shape}.")
    return shares.shape[1], shares.shape[3]


def _are_pieces(tables: int, leaves: int) -> bool:
    return 1 <= tables <= TABLES and 1 <= leaves <= LEAVES


def _words(array: Words, name: str) -> int:
    """The length of an array (n,) of uint64."""
    if not _check.is_array(array) or array.dtype != np.uint64 or array.ndim != 1 or not array.flags.c_contiguous:
        raise UsageError(f"{name} is a contiguous numpy array (n,) of uint64.")
    return len(array)


def _groups(n: int, name: str) -> int:
    if n % GROUP:
        raise UsageError(f"{name} come in whole groups of 64 here; pad to a multiple of 64.")
    return n


def _blocks(array: NDArray[np.uint8], n: int, name: str, tweak: int) -> None:
    if _check.rows(array, BLOCK_BYTES, name) != n:
        raise UsageError(f"{name} has {len(array)} blocks; {n} belong.")
    if not 0 <= tweak < (1 << 64) - n:
        raise UsageError("A tweak is outside 0 … 2^64 - 1; count them from 0 in each session.")
