"""Shamir's secret sharing [Shamir 1979] in plain integers: what mpc/sharing.py is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PRIME = 2**31 - 1


def share(word: int, coefficients: Sequence[int], point: int) -> int:
    """The value at `point` of the polynomial that is `word` at 0 and has these coefficients above."""
    return (word + sum(c * pow(point, i, PRIME) for i, c in enumerate(coefficients, 1))) % PRIME


def reconstruct(shares: Mapping[int, int]) -> int:
    """The value at 0 of the polynomial through the (point, value)s."""
    total = 0
    for x, y in shares.items():
        weight = 1
        for other in shares:
            if other != x:
                weight = weight * other * pow(other - x, -1, PRIME) % PRIME
        total += weight * y
    return total % PRIME
