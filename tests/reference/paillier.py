"""Paillier's encryption [Paillier, EUROCRYPT 1999] with g = n + 1, by its definition on plain integers.

Slow and not constant-time: for tests only.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, lcm, prod


class InvalidCiphertext(ValueError):
    """Not below n squared, or not coprime to n."""


def encrypt(n: int, m: int, r: int) -> int:
    """The ciphertext of m under randomness r, g^m·r^n modulo n²."""
    return pow(n + 1, m, n * n) * pow(r, n, n * n) % (n * n)


def check(n: int, c: int) -> None:
    """Raises InvalidCiphertext for what no plaintext has."""
    if not 0 <= c < n * n or gcd(c, n) != 1:
        raise InvalidCiphertext


def decrypt(p: int, q: int, c: int) -> int:
    """The plaintext: L(c^λ)/L(g^λ) modulo n, where L(u) = (u − 1)/n."""
    n = p * q
    check(n, c)
    exponent = lcm(p - 1, q - 1)

    def logarithm(u: int) -> int:
        return (pow(u, exponent, n * n) - 1) // n

    return logarithm(c) * pow(logarithm(n + 1), -1, n) % n


def combine(n: int, ciphertexts: Sequence[int], weights: Sequence[int], addend: int) -> int:
    """An encryption of the addend's plaintext plus the weighted sum of the others'."""
    powers = (pow(c, w, n * n) for c, w in zip(ciphertexts, weights, strict=True))
    return addend * prod(powers) % (n * n)
