"""Slow reference of sums by bin under encryption: mpc/kernels/lwe.py and native/src/lwe.rs say what they are.

Words are integers below 2^32, matrices lists of rows. Products are taken row by row, without any transform.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference import transfers
from tests.reference.rlwe import stream

RING, RANK = 512, 3
DIMENSION = RING * RANK
Q = 1 << 32

Rows = list[list[int]]


def words(data: bytes) -> list[int]:
    """Little-endian words of four bytes."""
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def public_row(public: bytes, i: int) -> list[int]:
    """Row i of the public matrix: what a secret is multiplied by for coefficient i mod 512 of Σ a_j·s_j."""
    block, at = divmod(i, RING)
    row = []
    for j in range(RANK):
        a = words(stream(public, (RANK * block + j) * RING * 4 // 16, 4 * RING))
        row += [a[at - c] if c <= at else -a[RING + at - c] % Q for c in range(RING)]
    return row


def public_matrix(public: bytes, n: int) -> Rows:
    """All n rows."""
    return [public_row(public, i) for i in range(n)]


def error(seed: bytes, index: int) -> int:
    """Error number `index` of a seed: the difference of the ones among two times 21 bits."""
    word = int.from_bytes(stream(seed, index // 2, 16)[8 * (index % 2) :][:8], "little")
    low = (1 << 21) - 1
    return (word & low).bit_count() - (word >> 21 & low).bit_count()


def encrypt(matrix: Rows, secrets: Rows, seed: bytes, vectors: Rows, first: int = 0) -> Rows:
    """Encryptions A·s + e + v: `matrix` is A from row `first` on, `secrets` w lists of bits, `vectors` (rows, w)."""
    w = len(secrets)
    places = [[c for c in range(DIMENSION) if s[c]] for s in secrets]
    return [
        [(sum(row[c] for c in places[j]) + error(seed, (first + i) * w + j) + vectors[i][j]) % Q for j in range(w)]
        for i, row in enumerate(matrix)
    ]


def sums(codes: Sequence[Sequence[int]], rows: Rows, sizes: Sequence[int], q: int = Q) -> Rows:
    """Sums by bin, column after column."""
    w = len(rows[0])
    out = [[0] * w for _ in range(sum(sizes))]
    for code, row in zip(codes, rows, strict=True):
        start = 0
        for bin_, size in zip(code, sizes, strict=True):
            if bin_ >= size:
                raise ValueError("no such bin")
            out[start + bin_] = [(a + b) % q for a, b in zip(out[start + bin_], row, strict=True)]
            start += size
    return out


def hint(codes: Sequence[Sequence[int]], matrix: Rows, sizes: Sequence[int]) -> Rows:
    """M·A on its side: a row for each coordinate."""
    return [list(row) for row in zip(*sums(codes, matrix, sizes), strict=True)]


def offer(delta: bytes, k: Sequence[bytes], tweak: int, of: Rows) -> tuple[list[Rows], Rows]:
    """For each of some secrets the messages, a row for each coordinate, and the sender's share."""
    told, kept = [], []
    for first in range(0, len(k), DIMENSION):
        some = k[first : first + DIMENSION]
        pairs = transfers.masks(delta, some, [0] * DIMENSION, tweak + first)
        rows, share = [], [0] * len(of[0])
        for (zero, one), row in zip(pairs, of, strict=True):
            p0, p1 = (words(stream(key, 0, 4 * len(row))) for key in (zero, one))
            rows.append([(a - b + h) % Q for a, b, h in zip(p0, p1, row, strict=True)])
            share = [(a + b) % Q for a, b in zip(share, p0, strict=True)]
        told.append(rows)
        kept.append(share)
    return told, kept


def choose(t: Sequence[bytes], choices: Sequence[int], tweak: int, messages: Sequence[Rows]) -> Rows:
    """For each of some secrets the receiver's share."""
    out = []
    for number, rows in enumerate(messages):
        first = number * DIMENSION
        keys = transfers.chosen(t[first : first + DIMENSION], tweak + first)
        share = [0] * len(rows[0])
        for key, choice, row in zip(keys, choices[first : first + DIMENSION], rows, strict=True):
            p = words(stream(key, 0, 4 * len(row)))
            share = [(a + b + choice * u) % Q for a, b, u in zip(share, p, row, strict=True)]
        out.append(share)
    return out
