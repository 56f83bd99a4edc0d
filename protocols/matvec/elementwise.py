"""Products of one party's numbers with the other's, one by one, by ring LWE with slots [Smart, Vercauteren 2011].

The key's holder has u, (m, n) words, the other v, (m, n). They end with additive shares modulo 2^64 of Σ_j u_j∘v_j,
(n,). Modulo a prime t = 1 mod 2N, N = 8192, a polynomial is N slots that multiply one by one. Signed words and their
sums of products are integers below m·2^126, so three 60-bit primes t_1 t_2 t_3 = T hold them:

    1  the key's holder sends an encryption of zero, and encryptions of u modulo each t_i
    2  the other sends, modulo each t_i, Σ_j v_j·ct_j + (encryption of zero)·(fresh) + mask + flooding, as
       ``protocols/matvec/rlwe.py`` does; the three masks of a slot are one mask R, uniform modulo T
    3  the key's holder decrypts D = Σ_j u_j·v_j + R mod T and takes D mod 2^64; the other takes -R mod 2^64

Of *small* numbers, whose sums of products are below ``SMALL`` / 2 in size, one prime t = ``SMALL`` holds the sums, and
the parties end with additive shares modulo t: D, and -R mod t. Nothing is left to odds then.

Security: semi-honest; the argument of ``protocols/matvec/rlwe.py``. Masks are uniform modulo T, so a masked sum tells
          nothing at all, and a coefficient's noise is within 2^-51 of one that does not depend on v. There are three
          for each sum, and distances add up: 2^-29 for 2^20 sums by this bound, which takes the largest factors of one
          sign and errors at ten deviations; for uniform words, which shares are, 2^-36 is what is expected. Of small
          numbers there is one coefficient for each sum, and the bound is 2^-31 for 2^20 sums.
Exact:    but for odds of m / 2^54 for each sum: D passes T where R is within |Σ_j u_j·v_j| of 0 or T, and the sum is
          then off by T mod 2^64. For 2^20 sums of two products that is 2^-33 together. Nothing is told by it.
          Small numbers: always.
Leaks:    to each m and n.
Cost:     3·64·m KiB one way and 3·160 KiB the other for each block of 8192 sums, so 72·m + 60 bytes a sum; 192 KiB
          for the encryption of zero; below 120 bytes of envelope for each message, of which there is one each way for
          8 / m blocks and one more. One round: replies are on their way while the factors are.
          Of small numbers a third, 24·m + 20 bytes a sum; a message each way for 32 / m blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import rlwe, wipe
from mpc.kernels.rlwe import PLAIN, SINGLE, N, Primes, Shape
from mpc.rng import Rng
from mpc.wire.matvec.v1 import rlwe_pb2 as wire
from protocols.matvec.both_ways import both_ways
from protocols.matvec.rlwe import Key

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

BLOCK = N
"""Sums of a block; the last block of a batch is filled up with zeros."""
MAX_TERMS = 4
"""Most products in a sum: the narrow set's flooding hides the noise of so many."""
SMALL = rlwe.SINGLE_PRIME
"""What shares of sums of small numbers are modulo."""
MAX_SMALL_TERMS = 24
"""Most products in a sum of small numbers."""

_PRIMES: Primes = "narrow"
_FACTORS = {False: 8, True: 32}  # polynomials of one message, modulo each prime; of small numbers


def key_side(channel: Channel, u: Words, *, small: bool = False, key: Key, rng: Rng) -> Words:
    """The end of the party that has the key.

    Args:
        channel: to the other.
        u: (m, n) uint64, m from 1 to ``MAX_TERMS``, of small numbers ``MAX_SMALL_TERMS``.
        small: whether shares are wanted modulo ``SMALL``; numbers are signed words then.
        key: from ``matvec.key``; kept from run to run.
        rng: this party's randomness.

    Returns:
        (n,) uint64: with the other's result it adds up to Σ_j u_j∘v_j modulo 2^64, or modulo ``SMALL``.

    Raises:
        UsageError: numbers of another shape.
        PeerError: the peer broke the protocol.
    """
    m, n = _sizes(u, small=small)
    plains = _plains(small=small)
    share = np.zeros(n, dtype=np.uint64)
    if not n:
        return share
    sending = rng.fork()

    def seal(polynomials: Words, plain: int, public: Bytes) -> Words:
        seed = sending.uint8(rlwe.SEED_BYTES)
        b = rlwe.encrypt(polynomials, primes=_PRIMES, plain=plain, key=key.secret, seed=seed, public=public)
        wipe(seed)
        return b

    def send() -> None:
        public = sending.uint8(rlwe.PUBLIC_SEED_BYTES)
        zero = seal(np.zeros((1, N), dtype=np.uint64), rlwe.WORD, public)
        channel.send(wire.ElementwiseQuery(count=n, terms=m, small=small), public, zero[0])  # 1
        for piece in _pieces(m, n, small=small):
            slots = _slots(u, piece)
            publics = sending.uint8(len(plains), rlwe.PUBLIC_SEED_BYTES)
            sides = np.empty((len(plains), *slots.shape[:2], len(rlwe.moduli(_PRIMES)), N), dtype=np.uint64)
            for i, (plain, public) in enumerate(zip(plains, publics, strict=True)):
                encoded = rlwe.encode(slots, prime=plain).reshape(-1, N)
                sides[i] = seal(encoded, plain, public).reshape(sides[i].shape)
            channel.send(wire.ElementwiseFactors(), publics, sides)  # 1

    def receive() -> None:
        size = Shape(1, 1, 1, 1, 1).reply_bytes
        for piece in _pieces(m, n, small=small):
            _, replies = channel.recv(wire.ElementwiseReplies)  # 2
            expected = (len(plains), -(-(piece.stop - piece.start) // N), size)
            channel.require(replies.shape == expected, "a reply for each prime and block")
            opened = [
                rlwe.decrypt(reply, stride=1, primes=_PRIMES, plain=plain, key=key.secret)
                for reply, plain in zip(replies, plains, strict=True)
            ]
            share[piece] = _numbers(opened)[: piece.stop - piece.start]  # 3

    both_ways(channel, send, receive)
    return share


def other_side(channel: Channel, v: Words, *, small: bool = False, rng: Rng) -> Words:
    """The other party's end.

    Args:
        channel: to the key's holder.
        v: (m, n) uint64, of the shape that the key's holder has.
        small: as there.
        rng: this party's randomness.

    Returns:
        (n,) uint64.

    Raises:
        UsageError: numbers of another shape.
        PeerError: the peer is about other sizes, or sent what are no ciphertexts.
    """
    m, n = _sizes(v, small=small)
    plains = _plains(small=small)
    share = np.zeros(n, dtype=np.uint64)
    if not n:
        return share
    header, public, zero = channel.recv(wire.ElementwiseQuery)  # 1
    ours = (n, m, small)
    channel.require((header.count, header.terms, header.small) == ours, "as many numbers at both parties")
    channel.require(zero.shape[0] == len(rlwe.moduli(_PRIMES)), "residues for each prime")
    channel.require(rlwe.are_residues(zero, primes=_PRIMES), "ciphertexts of residues")
    zeros = (zero, rlwe.expand(public, 1, primes=_PRIMES)[0])
    for piece in _pieces(m, n, small=small):
        slots = _slots(v, piece)
        _, publics, sides = channel.recv(wire.ElementwiseFactors)  # 1
        channel.require(publics.shape == (len(plains), rlwe.PUBLIC_SEED_BYTES), "a seed for each prime")
        expected = (len(plains), *slots.shape[:2], len(rlwe.moduli(_PRIMES)), N)
        channel.require(sides.shape == expected, "a ciphertext for each prime, block and term")
        channel.require(rlwe.are_residues(sides, primes=_PRIMES), "ciphertexts of residues")
        blocks = len(slots)
        shape = Shape(batches=blocks, vectors=1, rows=1, terms=m, stride=1)
        replies = np.empty((len(plains), blocks, shape.reply_bytes), dtype=np.uint8)
        masks: list[Words] = []
        for i, (plain, public) in enumerate(zip(plains, publics, strict=True)):
            forms = rlwe.lift(rlwe.encode(slots, prime=plain), primes=_PRIMES, plain=plain)
            both = (sides[i], rlwe.expand(public, blocks * m, primes=_PRIMES))
            seed = rng.uint8(rlwe.SEED_BYTES)
            replies[i] = rlwe.reply(shape, forms, both, zeros, primes=_PRIMES, plain=plain, seed=seed)
            masks.append(rlwe.masks(shape, plain=plain, seed=seed))
            wipe(seed)
        channel.send(wire.ElementwiseReplies(), replies)  # 2
        r = _numbers(masks)[: piece.stop - piece.start]
        share[piece] = np.where(r == 0, r, np.uint64(SMALL) - r) if small else np.negative(r)  # 3
    return share


def _slots(x: Words, piece: slice) -> Words:
    """Numbers as blocks: (blocks, m, N)."""
    part = x[:, piece]
    blocks = -(-part.shape[1] // N)
    whole = np.zeros((len(x), blocks * N), dtype=np.uint64)
    whole[:, : part.shape[1]] = part
    return np.ascontiguousarray(whole.reshape(len(x), blocks, N).transpose(1, 0, 2))


def _plains(*, small: bool) -> tuple[int, ...]:
    """The numbers of the plaintexts' moduli."""
    return (SINGLE,) if small else tuple(range(len(PLAIN)))


def _numbers(coefficients: list[Words]) -> Words:
    """What coefficients modulo each plaintext prime stand for: modulo 2^64, or of a single prime its residues. (n,)"""
    if len(coefficients) == 1:
        return rlwe.slots(coefficients[0], prime=SINGLE).reshape(-1)
    c0, c1, c2 = coefficients
    return rlwe.decode((c0, c1, c2)).reshape(-1)


def _pieces(m: int, n: int, *, small: bool) -> Iterator[slice]:
    """What a message is about."""
    size = max(1, _FACTORS[small] // m) * N
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _sizes(x: Words, *, small: bool) -> tuple[int, int]:
    most = MAX_SMALL_TERMS if small else MAX_TERMS
    if x.ndim != 2 or x.dtype != np.uint64 or not 1 <= x.shape[0] <= most:
        raise UsageError(f"Factors are {x.dtype} of shape {x.shape}; give (m, n) uint64, m from 1 to {most}.")
    return x.shape[0], x.shape[1]
