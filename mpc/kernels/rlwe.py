"""Encrypted vectors times known polynomials: ring LWE over Z_q[X] / (X^8192 + 1); replies hide the polynomials.

Parameters [Albrecht et al., Homomorphic Encryption Standard, 2018: log2 q up to 218 at N = 8192 for 128 bits, ternary
secret; Bossuat et al. 2024: 214]: ``narrow``, q of 186 bits, and ``wide``, q of 212. Plaintexts are modulo 2^64, or
modulo a prime, one of three of 60 bits or a single one of 59, whose polynomials hold 8192 slots that multiply one by
one. Ciphertexts are
symmetric, b and a seed for a. ``reply`` gives sums of products with a mask of its maker's added, and hides everything
else.

Numbers are uint64 throughout. A key is 32 bytes, from which the secret polynomial is made anew in each call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Sides = tuple[Words, Words]
"""b and a of ciphertexts."""
Primes = Literal["narrow", "wide"]

N = 8192
"""Coefficients of a polynomial, and slots of one modulo a plaintext prime."""
NARROW = (0x3FFFFFFFFFFF0001, 0x3FFFFFFFFFFE8001, 0x3FFFFFFFFFF1C001)
WIDE = (0x1FFFFFFFFB4001, 0x1FFFFFFFFA4001, 0x1FFFFFFFF9C001, 0x1FFFFFFFF38001)
PLAIN = (0xFFFFFFFFFFFC001, 0xFFFFFFFFFFE8001, 0xFFFFFFFFFFD8001)
"""Plaintext primes; 60 bits each."""
SINGLE_PRIME = 0x7FFFFFFFFFCC001
"""The plaintext prime for numbers whose sums of products stay below it: 2^59 less 212,991."""
WORD = 3
"""The number of the plaintext modulus 2^64; 0, 1 and 2 are those of the primes in ``PLAIN``."""
SINGLE = 4
"""The number of the plaintext modulus ``SINGLE_PRIME``."""
SEED_BYTES = 32
PUBLIC_SEED_BYTES = 16
REPLY_BYTES = 10
"""Bytes of a coefficient of a reply."""
FLOODING_BITS = 50
"""How many times larger, as a power of two, the flooding noise has to be than the noise that it hides."""

_SIGMA = math.sqrt(10.5)  # of an error's coefficient
_TAIL = 10  # deviations: a sum of errors times fixed factors exceeds this many with odds below 2^-71


def moduli(primes: Primes) -> tuple[int, ...]:
    """The primes whose product is q."""
    if primes not in ("narrow", "wide"):
        raise UsageError(f"There are no primes {primes!r}; choose narrow or wide.")
    return WIDE if primes == "wide" else NARROW


def flooding_bits(primes: Primes, plain: int, *, bits: int, terms: int, products: int) -> float:
    """log2 of the flooding noise over the noise that a reply would have without it.

    The noise is Σ p_i·(e_i + r_i) and small terms: e_i the errors, subgaussian of variance 10.5; r_i what rounding left
    of the plaintexts, at most 1/2 where there is a plaintext; the fresh encryption of zero; and the last bits of the
    128 in which a reply is scaled. The bound holds but for odds of 2^-71 a coefficient.

    Args:
        primes: the set.
        plain: the plaintexts' modulus.
        bits: coefficients of the known polynomials are from -2^(bits - 1) to 2^(bits - 1).
        terms: how many products of polynomials a reply adds up.
        products: how many products of two coefficients, neither of which is zero by design, a coefficient adds up.
    """
    largest = 2.0 ** (bits - 1)
    fresh = _TAIL * _SIGMA * largest * math.sqrt(N * terms)
    rounding = products * largest / 2
    q = sum(math.log2(p) for p in moduli(primes))
    small = 3 * _TAIL * _SIGMA * math.sqrt(N) * 21 + 16 * 2.0 ** (q - 128)
    t_bits = {WORD: 64, SINGLE: 59}.get(plain, 60)
    return q - 2 - t_bits - math.log2(fresh + rounding + small)


def encrypt(messages: Words, *, primes: Primes, plain: int, key: Bytes, seed: Bytes, public: Bytes) -> Words:
    """Encrypt plaintexts as ciphertexts 0, 1, … of the public seed.

    Args:
        messages: (n, N) coefficients: any words for ``WORD``, residues for a prime.
        primes: the set.
        plain: the plaintexts' modulus.
        key: 32 secret bytes.
        seed: 32 secret bytes for the errors. Never twice.
        public: 16 bytes for the a sides, which the peer is told. Never twice under one key.

    Returns:
        (n, primes, N): the b sides, as values.
    """
    n = _polynomials(messages, "messages")
    out = np.empty((n, len(moduli(primes)), N), dtype=np.uint64)
    _secrets(key, seed, public)
    _native.rlwe_encrypt(primes == "wide", plain, key, seed, public, _flat(messages), _flat(out))
    return out


def expand(public: Bytes, n: int, *, primes: Primes) -> Words:
    """The a sides of ciphertexts 0 to n - 1 of a public seed, as values: (n, primes, N)."""
    _check.row(public, PUBLIC_SEED_BYTES, "public")
    out = np.empty((n, len(moduli(primes)), N), dtype=np.uint64)
    _native.rlwe_expand(primes == "wide", public, _flat(out))
    return out


def lift(polynomials: Words, *, primes: Primes, plain: int) -> Words:
    """The values of known polynomials, as `reply` wants them: (…, N) signed words or residues -> (…, primes, N)."""
    _polynomials(polynomials, "polynomials")
    out = np.empty((*polynomials.shape[:-1], len(moduli(primes)), N), dtype=np.uint64)
    _native.rlwe_lift(primes == "wide", plain, _flat(polynomials), _flat(out))
    return out


def are_residues(b: Words, *, primes: Primes) -> bool:
    """Whether all numbers of (…, primes, N) are below their primes. To be asked of whatever comes from a peer."""
    _polynomials(b, "b")
    if b.shape[-2:] != (len(moduli(primes)), N):
        raise UsageError(f"b has shape {b.shape}; give (…, {len(moduli(primes))}, {N}).")
    return _native.rlwe_are_residues(primes == "wide", _flat(b))


@dataclass(frozen=True)
class Shape:
    """A batch of sums of products.

    Attributes:
        batches: independent batches, each with polynomials and ciphertexts of its own.
        vectors: vectors of ciphertexts in a batch.
        rows: rows of polynomials in a batch; each gives a reply for each vector.
        terms: polynomials of a row, and ciphertexts of a vector.
        stride: coefficients stride - 1, 2·stride - 1, … of the results are told; a power of two up to N.
    """

    batches: int
    vectors: int
    rows: int
    terms: int
    stride: int

    @property
    def replies(self) -> int:
        """How many replies."""
        return self.batches * self.vectors * self.rows

    @property
    def wanted(self) -> int:
        """Coefficients that a reply tells."""
        return N // self.stride

    @property
    def reply_bytes(self) -> int:
        """Bytes of a reply."""
        return (N + self.wanted) * REPLY_BYTES

    def _numbers(self) -> list[int]:
        return [self.batches, self.vectors, self.rows, self.terms, self.stride]


def reply(
    shape: Shape,
    polynomials: Words,
    ciphertexts: Sides,
    zero: Sides,
    *,
    primes: Primes,
    plain: int,
    seed: Bytes,
) -> Bytes:
    """The sums of products, masked and flooded.

    Args:
        shape: of the batch.
        polynomials: (batches, rows, terms, primes, N), from `lift`.
        ciphertexts: b sides and a sides, (batches, vectors, terms, primes, N) each.
        zero: b side and a side of an encryption of zero, (primes, N) each.
        primes: the set.
        plain: the plaintexts' modulus.
        seed: 32 secret bytes. Never twice.

    Returns:
        (replies, reply_bytes), batch by batch, in each vector by vector.
    """
    out = np.empty((shape.replies, shape.reply_bytes), dtype=np.uint8)
    _check.secret(seed, (SEED_BYTES,), "seed")
    sides, zeros = [_flat(side) for side in ciphertexts], [_flat(side) for side in zero]
    _native.rlwe_reply(
        primes == "wide", plain, shape._numbers(), seed, _flat(polynomials), sides, zeros, out.reshape(-1)
    )
    return out


def masks(shape: Shape, *, plain: int, seed: Bytes) -> Words:
    """What `reply` added under the same seed, uniform modulo the plaintexts' modulus: (replies, wanted)."""
    out = np.empty((shape.replies, shape.wanted), dtype=np.uint64)
    _check.secret(seed, (SEED_BYTES,), "seed")
    _native.rlwe_masks(plain, shape._numbers(), seed, out.reshape(-1))
    return out


def decrypt(replies: Bytes, *, stride: int, primes: Primes, plain: int, key: Bytes) -> Words:
    """Decrypt (n, reply bytes): (n, N / stride), sums of products plus masks."""
    n = _check.rows(replies, Shape(1, 1, 1, 1, stride).reply_bytes, "replies")
    _check.secret(key, (SEED_BYTES,), "key")
    out = np.empty((n, N // stride), dtype=np.uint64)
    _native.rlwe_decrypt(primes == "wide", plain, stride, key, replies.reshape(-1), out.reshape(-1))
    return out


def encode(slots: Words, *, prime: int) -> Words:
    """Slots to coefficients modulo a plaintext prime: (…, N) words, read as signed, -> (…, N) residues."""
    _polynomials(slots, "slots")
    out = np.empty_like(slots)
    _native.rlwe_encode(prime, _flat(slots), _flat(out))
    return out


def slots(coefficients: Words, *, prime: int) -> Words:
    """Coefficients to slots modulo a plaintext prime, the inverse of ``encode``: (…, N) residues -> (…, N) residues."""
    _polynomials(coefficients, "coefficients")
    out = np.empty_like(coefficients)
    _native.rlwe_slots(prime, _flat(coefficients), _flat(out))
    return out


def decode(coefficients: tuple[Words, Words, Words]) -> Words:
    """Coefficients modulo each plaintext prime to slots: 3 × (…, N) residues -> (…, N).

    A slot holds the number below the primes' product that the three residues stand for, modulo 2^64.
    """
    for c in coefficients:
        _polynomials(c, "coefficients")
        _check.same_count(coefficients[0].size, c.size, "coefficients")
    out = np.empty_like(coefficients[0])
    c0, c1, c2 = coefficients
    _native.rlwe_decode([_flat(c0), _flat(c1), _flat(c2)], _flat(out))
    return out


def _flat(array: Words) -> Words:
    return array.reshape(-1)


def _polynomials(array: Words, name: str) -> int:
    """Checks that `array` is contiguous (…, N) uint64. Returns its first dimension."""
    given = array.dtype if _check.is_array(array) else type(array).__name__
    if given != np.uint64:
        raise UsageError(f"{name} is {given}; give a numpy array of uint64.")
    if array.ndim < 2 or array.shape[-1] != N or not array.flags.c_contiguous:
        raise UsageError(f"{name} has shape {array.shape}; give a contiguous array (…, {N}).")
    return int(array.shape[0])


def _secrets(key: Bytes, seed: Bytes, public: Bytes) -> None:
    _check.secret(key, (SEED_BYTES,), "key")
    _check.secret(seed, (SEED_BYTES,), "seed")
    _check.row(public, PUBLIC_SEED_BYTES, "public")
