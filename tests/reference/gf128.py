"""GF(2^128) and fixed-key AES, from their definitions. Elements are integers below 2^128, blocks are 16 bytes."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MODULUS = 1 << 128 | 0x87
FIXED_KEY = bytes.fromhex("243f6a8885a308d313198a2e03707344")


def multiply(a: int, b: int) -> int:
    """The product modulo x^128 + x^7 + x^2 + x + 1."""
    out = 0
    while b:
        if b & 1:
            out ^= a
        a <<= 1
        if a >> 128:
            a ^= MODULUS
        b >>= 1
    return out


def power(a: int, exponent: int) -> int:
    """Raise to a power, by squaring."""
    out = 1
    while exponent:
        if exponent & 1:
            out = multiply(out, a)
        a = multiply(a, a)
        exponent >>= 1
    return out


def invert(a: int) -> int:
    """The inverse; zero for zero."""
    return power(a, 2**128 - 2)


def inner(a: Iterable[int], b: Iterable[int]) -> int:
    """The sum of the products."""
    out = 0
    for x, y in zip(a, b, strict=True):
        out ^= multiply(x, y)
    return out


def polynomial(seed: int, a: Iterable[int]) -> int:
    """The sum of seed^i · a_i, from i = 0."""
    out = 0
    for i, x in enumerate(a):
        out ^= multiply(power(seed, i), x)
    return out


def fixed(block: bytes) -> bytes:
    """AES-128 under the fixed key."""
    encryptor = Cipher(algorithms.AES(FIXED_KEY), modes.ECB()).encryptor()
    return encryptor.update(block)


def hash_block(block: bytes, tweak: int) -> bytes:
    """π(π(x) ⊕ i) ⊕ π(x)."""
    inner = fixed(block)
    return xor(fixed(xor(inner, tweak.to_bytes(16, "little"))), inner)


def xor(a: bytes, b: bytes) -> bytes:
    """The exclusive or."""
    return bytes(x ^ y for x, y in zip(a, b, strict=True))
