"""Cipher suites: which group, hashes and standards stand behind a protocol's letters.

A protocol takes a ``Suite``, or the name of one from a signed document, and never names a curve or a hash itself.
``intl`` is ristretto255 with SHA-2; ``gm``, of Chinese national standards, is SM2 with SM3. A further suite is one more
entry in the table below, whose group module offers the functions of ``Group`` and whose name the kernel ``oprf`` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import ristretto255, sm2
from mpc.kernels.hash import Name
from mpc.kernels.packing import Packed

Bytes = NDArray[np.uint8]


class Group(Protocol):
    """A prime-order group, as a module of ``mpc.kernels`` offers it. Elements and scalars are rows of bytes.

    Whatever takes elements raises InvalidEncoding, with its index, at the first that is not canonical or the identity.
    """

    ELEMENT_BYTES: int
    SCALAR_BYTES: int
    UNIFORM_SCALAR_BYTES: int

    def scalar_from_uniform(self, uniform: Bytes) -> Bytes:
        """(n, scalar): scalars that are not zero, of (n, UNIFORM_SCALAR_BYTES) uniform bytes."""

    def scalar_invert(self, scalars: Bytes) -> Bytes:
        """(n, scalar): inverses modulo the group order."""

    def hash_to_group(self, items: Packed, dst: bytes) -> Bytes:
        """(n, element): each item hashed to the group under a domain separation tag."""

    def hash_mul(self, scalar: Bytes | bytes, items: Packed, dst: bytes) -> Bytes:
        """(n, element): each item hashed to the group, times one scalar."""

    def mul(self, scalar: Bytes | bytes, points: Bytes) -> Bytes:
        """(n, element): every point times one scalar."""

    def mul_each(self, scalars: Bytes, points: Bytes) -> Bytes:
        """(n, element): point i times scalar i."""

    def add(self, a: Bytes, b: Bytes) -> Bytes:
        """(n, element): a[i] + b[i]. InvalidEncoding, with its index, also where a sum is the identity."""

    def sub(self, a: Bytes, b: Bytes) -> Bytes:
        """(n, element): a[i] - b[i]. InvalidEncoding, with its index, also where the two are the same."""

    def mul_base(self, scalars: Bytes) -> Bytes:
        """(n, element): the generator times each scalar."""

    def check(self, points: Bytes) -> None:
        """Nothing where all points are valid."""


@dataclass(frozen=True)
class Suite:
    """A cipher suite.

    Attributes:
        name: as documents and kernels spell it, such as ``intl``.
        group: the module with the group's functions.
        oprf: identifier of the OPRF's instance (RFC 9497), such as ``ristretto255-SHA512``.
        hash: hash of the OPRF and of masks; `mpc.kernels.hash.DIGEST_BYTES` says how many bytes it gives, 32 at least.
        digest: hash of documents and commitments; 32 bytes of output.
    """

    name: str
    group: Group = field(repr=False)
    oprf: str
    hash: Name
    digest: Name


_SUITES = {
    "intl": Suite(name="intl", group=ristretto255, oprf="ristretto255-SHA512", hash="sha512", digest="sha256"),
    "gm": Suite(name="gm", group=sm2, oprf="SM2-SM3", hash="sm3", digest="sm3"),
}


def get(name: str) -> Suite:
    """The suite of that name; UsageError that lists what exists otherwise."""
    if name not in _SUITES:
        raise UsageError(f"There is no cipher suite {name!r}; choose one of: {', '.join(_SUITES)}.")
    return _SUITES[name]
