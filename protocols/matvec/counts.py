"""How many rows with a one fall into each bin of many features: one party has the bins, another the ones.

The matrix of a product M·v, (bins, rows), would have a one where a row falls into a bin: of 300 bins and 10^6 rows
2.4 GB of words. It is never there. What ``protocols.matvec.rlwe`` asks for is made from the rows' bin numbers, block by
block, and *packed*: entries of 2^0, 2^w, 2^2w put several bins into one row of the matrix, so that a result is a sum

    Σ_s 2^(w·s)·count_s        with w bits for numbers up to n, modulo 2^64

whose counts have to be taken apart by what computes with shares. That is three bins a row for 10^6 rows, and a third of
the transforms, which are nearly all of the work.

Security: of protocols.matvec.rlwe, with entries of up to 53 bits.
Leaks:    to both the number of rows, and of bins of each feature.
Cost:     of protocols.matvec.rlwe for an (m, n) matrix, m = `Layout.rows`, and `Layout.bits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import rlwe as kernels
from mpc.rng import Rng
from protocols.matvec import rlwe
from protocols.matvec.rlwe import Key, Plan, Words

MAX_ROWS = 1 << 24
"""Most rows."""

_NARROW_BITS = 53  # entries up to which the smaller set of primes does

Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class Layout:
    """How counts up to `n` are packed into words. A function of public sizes alone.

    Attributes:
        n: rows of data.
        bins: how many counts.
        width: bits of a count.
        slots: counts in a word.
    """

    n: int
    bins: int
    width: int
    slots: int

    @classmethod
    def of(cls, n: int, bins: int) -> Layout:
        """The layout for `bins` counts of `n` rows."""
        if not 1 <= n <= MAX_ROWS:
            raise UsageError(f"{n} rows: give 1 to {MAX_ROWS}.")
        width = n.bit_length()
        # An entry is below 2^((slots - 1)·width + 1), also where a row of data falls into several bins of a packed row,
        # which are then of different features; and it has a sign.
        return cls(n, bins, width, min(64 // width, 1 + (_NARROW_BITS - 2) // width))

    @property
    def rows(self) -> int:
        """Rows of the packed matrix."""
        return -(-self.bins // self.slots)

    @property
    def bits(self) -> int:
        """Bits of its signed entries."""
        return (self.slots - 1) * self.width + 2


@dataclass(frozen=True, eq=False)
class OneHot:
    """The packed matrix, for ``rlwe.respond``: made from the rows' bin numbers as it is needed.

    Attributes:
        codes: for each feature (n,) uint16, the bin of each row; a number from the feature's size on counts nowhere.
        sizes: how many bins of each feature are counted.
        layout: of as many counts.
    """

    codes: Sequence[Codes] = field(repr=False)
    sizes: tuple[int, ...]
    layout: Layout

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.layout.rows, self.layout.n

    @property
    def bits(self) -> int:
        """Bits of a signed entry."""
        return self.layout.bits

    def forms(self, plan: Plan, rows: slice, terms: slice, *, transpose: bool) -> Words:
        """As ``rlwe.Source``; there is no transpose."""
        if transpose:
            raise UsageError("Bins are counted, and nothing is spread over rows: prepare the matrix for that.")
        first, last = rows.start * plan.rows, min(rows.stop * plan.rows, plan.m)
        part = slice(terms.start * plan.length, min(terms.stop * plan.length, plan.n))
        block = np.zeros((last - first, part.stop - part.start), dtype=np.int64)
        start = 0
        for codes, size in zip(self.codes, self.sizes, strict=True):
            places = np.arange(start, start + size)
            row, slot = places // self.layout.slots, places % self.layout.slots
            for r in range(max(start // self.layout.slots, first), min(row[-1] + 1 if size else 0, last)):
                weights = np.zeros(1 << 16, dtype=np.int64)
                weights[:size][row == r] = np.int64(1) << (slot[row == r] * self.layout.width)
                block[r - first] += weights[codes[part]]
            start += size
        counts = slice(0, rows.stop - rows.start), slice(0, terms.stop - terms.start)
        return kernels.lift(rlwe.polynomials(block, plan, *counts), primes=plan.primes, plain=kernels.WORD)


def holder(channel: Channel, codes: Sequence[Codes], n: int, sizes: Sequence[int], *, rng: Rng) -> Words:
    """The end of the party that has the bins.

    Args:
        channel: to the party that has the ones.
        codes: for each feature (n,) uint16, the bin of each row.
        n: how many rows.
        sizes: how many bins of each feature are counted; rows of others count nowhere.
        rng: this party's randomness.

    Returns:
        (layout.rows,) uint64: with the other's result it adds up to the packed counts modulo 2^64.

    Raises:
        UsageError: other shapes.
        PeerError: the peer is about another product, or sent what are no ciphertexts.
    """
    if len(codes) != len(sizes) or not all(one.shape == (n,) and one.dtype == np.uint16 for one in codes):
        raise UsageError(f"Give ({n},) uint16 for each of {len(sizes)} features.")
    layout = Layout.of(n, sum(sizes))
    share = np.zeros((layout.rows, 1), dtype=np.uint64)
    if layout.rows:
        one_hot = OneHot(tuple(codes), tuple(sizes), layout)
        plan = rlwe.plan(layout.rows, layout.n, 1, bits=layout.bits)
        rlwe.respond(channel, one_hot, plan, share, transpose=False, rng=rng)
    return share[:, 0].copy()


def vector(channel: Channel, ones: NDArray[np.bool_], sizes: Sequence[int], *, key: Key, rng: Rng) -> Words:
    """The end of the party that has the ones, (n,) bool. Everything else as ``holder``."""
    layout = Layout.of(len(ones), sum(sizes))
    words = ones.astype(np.uint64)
    return rlwe.vector(channel, words, rows=layout.rows, cols=layout.n, bits=layout.bits, key=key, rng=rng)
