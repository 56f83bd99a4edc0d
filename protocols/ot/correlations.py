"""What oblivious transfer and VOLE leave at the two parties: correlated randomness, made now and used up later.

A block is 16 bytes; arrays of blocks are (n, 16) uint8. In GF(2^128) a block's 16 bytes are a little-endian integer
whose bit i is the coefficient of x^i, modulo x^128 + x^7 + x^2 + x + 1. A correlation is used once: what was masked by
one row must never be masked by it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CotSender:
    """The sender's side of n correlated oblivious transfers: ``t[i] = k[i] ^ choices[i] * delta``.

    Attributes:
        delta: (16,) uint8, the offset between the two messages of every transfer; secret from the receiver.
        k: (n, 16) uint8, the messages for choice 0; those for choice 1 are ``k ^ delta``.
    """

    delta: NDArray[np.uint8] = field(repr=False)
    k: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.k)


@dataclass(frozen=True)
class CotReceiver:
    """The receiver's side of n correlated oblivious transfers: ``t[i] = k[i] ^ choices[i] * delta``.

    Attributes:
        choices: (n,) bool, secret from the sender.
        t: (n, 16) uint8, the chosen messages.
    """

    choices: NDArray[np.bool_] = field(repr=False)
    t: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.t)


@dataclass(frozen=True)
class VoleSender:
    """The sender's side of m oblivious linear evaluations over GF(2^128): ``c[i] = a[i] * delta + b[i]``.

    Attributes:
        delta: (16,) uint8, one element; secret from the receiver.
        b: (m, 16) uint8, elements.
    """

    delta: NDArray[np.uint8] = field(repr=False)
    b: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.b)


@dataclass(frozen=True)
class VoleReceiver:
    """The receiver's side of m oblivious linear evaluations over GF(2^128): ``c[i] = a[i] * delta + b[i]``.

    Attributes:
        a: (m, 16) uint8, elements; secret from the sender.
        c: (m, 16) uint8, elements.
    """

    a: NDArray[np.uint8] = field(repr=False)
    c: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.c)
