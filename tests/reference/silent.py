"""Slow reference of punctured trees and of the silent code: mpc/kernels/{pprf,code}.py say what they are.

Elements are numbers below 2^128 whose bit i is the coefficient of x^i.
"""

from __future__ import annotations

import hashlib
import itertools
from functools import reduce
from operator import xor

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.reference import gf128

SIGMA = 32
STREAM_OF_BITS = 1 << 64


def aes(key: bytes, block: bytes) -> bytes:
    """AES-128 of one block."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def children(salt: bytes, node: bytes) -> tuple[bytes, bytes]:
    """Both children of a node."""
    keys = hashlib.sha256(b"unseen pprf v1" + salt).digest()
    left, right = (aes(key, node) for key in (keys[:16], keys[16:]))
    return add(left, node), add(right, node)


def add(*blocks: bytes) -> bytes:
    """The sum of blocks, zero for none."""
    return reduce(xor, (int.from_bytes(b, "little") for b in blocks), 0).to_bytes(16, "little")


def depth(leaves: int) -> int:
    """Levels below the seed."""
    return (leaves - 1).bit_length()


def levels(salt: bytes, seed: bytes, leaves: int) -> list[list[bytes]]:
    """All levels of a tree, from its seed to its leaves."""
    out = [[seed]]
    for level in range(1, depth(leaves) + 1):
        nodes = list(itertools.chain.from_iterable(children(salt, node) for node in out[-1]))
        out.append(nodes[: -(-leaves >> depth(leaves) - level)])
    return out


def sums(tree: list[list[bytes]]) -> list[tuple[bytes, bytes]]:
    """Per level below the seed the sums of the left and of the right children."""
    return [(add(*level[0::2]), add(*level[1::2])) for level in tree[1:]]


def path_keys(tree: list[list[bytes]], point: int) -> list[bytes]:
    """Per level the sum of the side that the path to a point does not take."""
    both, top = sums(tree), len(tree) - 2
    return [pair[1 - (point >> top - i & 1)] for i, pair in enumerate(both)]


def stream(salt: bytes, first: int, words: int) -> list[int]:
    """32-bit words of AES in counter mode from a block on."""
    needed = (-(-words // 4)) * 16
    encryptor = Cipher(algorithms.AES(salt), modes.CTR(first.to_bytes(16, "big"))).encryptor()
    out = encryptor.update(bytes(needed))
    return [int.from_bytes(out[4 * i : 4 * i + 4], "little") for i in range(words)]


def permutation(salt: bytes, n: int, number: int) -> list[int]:
    """Where each of n elements goes in one of the two rounds."""
    trailing = (n & -n).bit_length() - 1
    bits = min(trailing, max((n.bit_length() - 1) // 2, 5))
    width, height = 1 << bits, n >> bits
    words = iter(stream(salt, number << 32, 2 * (width + height)))
    pairs = []
    for _ in range(2):
        right = [next(words) % width for _ in range(height)]
        left = [next(words) * height >> 32 for _ in range(width)]
        pairs.append((right, left))
    out = []
    for i in range(n):
        left, right = i >> bits, i % width
        for of_right, of_left in pairs:
            right ^= of_right[left]
            left = (left + of_left[right]) % height
        out.append(left << bits | right)
    return out


def compress(salt: bytes, x: list[int], outputs: int, *, field: bool) -> list[int]:
    """The first outputs of the code's word for x."""
    n = len(x)
    for number in (0, 1):
        total, moved = 0, [0] * n
        for place, element in zip(permutation(salt, n, number), x, strict=True):
            total = (gf128.multiply(2, total) if field else total) ^ element
            moved[place] = total
        x = moved
    bits = stream(salt, STREAM_OF_BITS, outputs)
    out = []
    for i in range(outputs):
        block = n // 2 + i // SIGMA * SIGMA
        out.append(reduce(xor, (x[block + j] for j in range(SIGMA) if bits[i] >> j & 1), x[i]))
    return out
