"""The key-value store of mpc.kernels.okvs from its definition: rows as written there, and plain Gaussian elimination.

What stays free may be chosen differently here and in the core, so tables need not be equal. Each has to decode the
other's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.reference import gf128

BIN = 1 << 14


@dataclass(frozen=True)
class Shape:
    """Bins, keys that a bin may hold, and rows of a bin."""

    bins: int
    capacity: int
    sparse: int
    dense: int

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return self.bins * (self.sparse + self.dense)


def shape(n: int) -> Shape:
    """The layout for n keys, by the library's logarithms: good to one part in 10^9, which the tests stay clear of."""
    n = max(n, 1)
    bins = max((n + BIN // 2) // BIN, 1)
    log_bins = math.ceil(math.log2(bins))
    capacity = n
    if bins > 1:
        mean, exponent = n / bins, (41 + log_bins) * math.log(2)
        variance = mean * (1 - 1 / bins)
        capacity = math.ceil(mean + exponent / 3 + math.sqrt((exponent / 3) ** 2 + 2 * exponent * variance))
    security = 40 + log_bins
    expansion = 1.223 + (security + 9.2) / 2 ** (0.555 * math.log2(capacity) + 2.336)
    sparse = math.ceil(expansion * capacity)
    return Shape(bins, capacity, sparse, math.floor((security + 1) / math.log2(sparse)))


def row(of: Shape, key: bytes, seed: bytes) -> dict[int, int]:
    """The row of a key: by position in the table, its coefficient that is not zero."""
    u = gf128.xor(key, seed)
    h = int.from_bytes(gf128.xor(gf128.fixed(u), u), "little")
    low, high = h % 2**64, h >> 64
    part, rest = divmod(low * of.bins, 2**64)
    first = rest * of.sparse >> 64
    second, rest = divmod(high * (of.sparse - 1), 2**64)
    third = rest * (of.sparse - 2) >> 64
    positions = [first]
    for place in (second, third):
        for taken in sorted(positions):
            place += place >= taken
        positions.append(place)
    start = part * (of.sparse + of.dense)
    out = {start + p: 1 for p in positions}
    k = int.from_bytes(u, "little")
    out |= {start + of.sparse + j: gf128.power(k, j + 1) for j in range(of.dense)}
    return out


def decode(table: list[int], key: bytes, *, n: int, seed: bytes) -> int:
    """The inner product of the key's row and the table."""
    out = 0
    for position, coefficient in row(shape(n), key, seed).items():
        out ^= gf128.multiply(coefficient, table[position])
    return out


def encode(keys: list[bytes], values: list[int], *, seed: bytes, free: list[int]) -> list[int]:
    """A table in which every key has its value. What no equation determines is taken from `free`, a whole table."""
    of = shape(len(keys))
    equations = [(row(of, key, seed), value) for key, value in zip(keys, values, strict=True)]
    pivots: list[int] = []
    for i, (coefficients, value) in enumerate(equations):
        if not coefficients:
            raise ValueError("no solution")
        pivot = min(coefficients)  # sparse positions come before the dense ones
        inverse = gf128.invert(coefficients[pivot])
        own = {p: gf128.multiply(c, inverse) for p, c in coefficients.items()}
        value = gf128.multiply(value, inverse)
        equations[i] = own, value
        pivots.append(pivot)
        for j, (others, sum_) in enumerate(equations):
            if j != i and pivot in others:
                factor = others[pivot]
                for p, c in own.items():
                    others[p] = others.get(p, 0) ^ gf128.multiply(factor, c)
                equations[j] = {p: c for p, c in others.items() if c}, sum_ ^ gf128.multiply(factor, value)
    table = list(free)
    for pivot, (coefficients, value) in zip(pivots, equations, strict=True):
        table[pivot] = value
        for position, coefficient in coefficients.items():
            if position != pivot:
                table[pivot] ^= gf128.multiply(coefficient, free[position])
    return table
