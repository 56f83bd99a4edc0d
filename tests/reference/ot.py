"""SoftSpoken over the repetition code, from its definition [Roy 2022]; field elements are integers below 2^k."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.reference import gf128

STRIPE = 4096
"""Transfers whose corrections lie together, group after group."""


def bit(data: bytes, index: int) -> int:
    """Bit `index`, from the least significant of the first byte on."""
    return data[index // 8] >> index % 8 & 1


def pack(bits: Sequence[int]) -> bytes:
    """What `bit` takes apart."""
    return sum(b << i for i, b in enumerate(bits)).to_bytes(-(-len(bits) // 8), "little")


def transpose(rows: Sequence[bytes]) -> list[bytes]:
    """Bit j of row i becomes bit i of row j."""
    return [pack([bit(row, j) for row in rows]) for j in range(8 * len(rows[0]))]


def stream(seed: bytes, block: int, n: int) -> bytes:
    """N bits of a seed's stream, AES-128 in counter mode, from a block on."""
    cipher = Cipher(algorithms.AES(seed), modes.CTR(block.to_bytes(16, "big"))).encryptor()
    return cipher.update(bytes(n // 8))


def receive(seeds: Sequence[Sequence[bytes]], choices: bytes, block: int) -> tuple[bytes, list[bytes]]:
    """The corrections and the blocks t of 8·len(choices) transfers."""
    n, k = 8 * len(choices), len(seeds[0]).bit_length() - 1
    sums, values = [], []  # per group and transfer: u, an element of GF(2), and v, an element of GF(2^k)
    for group in seeds:
        streams = [stream(seed, block, n) for seed in group]
        sums.append([sum(bit(s, i) for s in streams) % 2 for i in range(n)])
        values.append([combine(x * bit(s, i) for x, s in enumerate(streams)) for i in range(n)])
    corrections = b"".join(
        pack([u[i] ^ bit(choices, i) for i in range(start, min(start + STRIPE, n))])
        for start in range(0, n, STRIPE)
        for u in sums
    )
    return corrections, [block_of([v[i] for v in values], k) for i in range(n)]


def send(seeds: Sequence[Sequence[bytes]], delta: bytes, corrections: bytes, block: int, n: int) -> list[bytes]:
    """The blocks of n transfers, from the receiver's seeds, of which the one at the offset's bits is not looked at."""
    groups, k = len(seeds), len(seeds[0]).bit_length() - 1
    values = []
    for g, group in enumerate(seeds):
        hidden = sum(bit(delta, g * k + b) << b for b in range(k))
        streams = {x: stream(seed, block, n) for x, seed in enumerate(group) if x != hidden}
        column = []
        for i in range(n):
            start = i // STRIPE * STRIPE
            width = min(STRIPE, n - start)
            told = bit(corrections, start * groups + g * width + i - start)
            column.append(combine((x ^ hidden) * bit(s, i) for x, s in streams.items()) ^ hidden * told)
        values.append(column)
    return [block_of([w[i] for w in values], k) for i in range(n)]


def combine(values: object) -> int:
    """The sum of field elements."""
    total = 0
    for value in values:  # type: ignore[attr-defined]
        total ^= value
    return total


def block_of(elements: Sequence[int], k: int) -> bytes:
    """128 / k elements of GF(2^k), one after the other."""
    return sum(e << g * k for g, e in enumerate(elements)).to_bytes(16, "little")


def hash_columns(seed: bytes, blocks: Sequence[bytes]) -> list[bytes]:
    """The polynomial hash of each of the 128 columns."""
    point = int.from_bytes(seed, "little")
    columns = transpose(blocks)
    parts = [[int.from_bytes(c[i : i + 16], "little") for i in range(0, len(c), 16)] for c in columns]
    return [gf128.polynomial(point, column).to_bytes(16, "little") for column in parts]
