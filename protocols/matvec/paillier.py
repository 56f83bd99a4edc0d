"""Private matrix–vector product under Paillier's encryption [Paillier 1999]: slow, for reference and interoperation.

    y = M·v mod 2^64      M (rows, columns) at its holder, v (columns,) at the other party; both end with shares of y

    1  vector   c_j = Enc(v_j)                                  with a key of its own
    2  holder   c'_i = Enc(u_i)·Π_j c_j^(M_ij), and −u_i mod 2^64 is its share
    3  vector   Dec(c'_i) mod 2^64 is its share

The functions are those of protocols.matvec, so that either module can be handed to what stands on products.

Numbers modulo 2^64 are taken from 0 to 2^64 − 1, so that a sum is below columns·2^128, far below n; u_i is uniform with
at least 40 bits more than that. Encryptions of it are new, so nothing of a row shows in c'_i besides y_i + u_i.

Security: semi-honest. v is hidden by the decisional composite residuosity assumption, at the strength of factoring n
          (2048 bits: 112 bits of strength). M is hidden statistically, up to 2^-40 an entry of the product.
Leaks:    shapes, to both; the vector's public key to the holder.
Cost:     2 messages, 1 round; with a key of K bits K/4 bytes for each entry of the vector and of the product, and K/8
          for the key. With 2048 bits about 8 ms of one core for each entry of the vector, and for each of the product
          26 ms and 0.2 ms for each of the matrix's entries.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, paillier
from mpc.kernels.paillier import MINIMUM_BITS, PrivateKey, PublicKey
from mpc.rng import Rng
from mpc.wire.matvec.v1 import paillier_pb2 as wire
from protocols.matvec.rlwe import Prepared, prepare

__all__ = ["Prepared", "PrivateKey", "holder", "key", "prepare", "vector"]

VERSION = 1

HIDING_BITS = 40
"""By how much a mask is longer than what it hides."""

MOST = 1 << 16
"""Entries of all vectors together, and of all products."""

Words = NDArray[np.uint64]

_WORD_BYTES = 8


def key(rng: Rng | None = None, *, bits: int = MINIMUM_BITS) -> PrivateKey:
    """A new key of the vectors' owner, for any number of products. Its primes are OpenSSL's: `rng` is not used."""
    del rng
    return paillier.generate(bits)


def holder(
    channel: Channel,
    prepared: Prepared,
    *,
    transpose: bool = False,
    vectors: int | None = None,
    mine: Words | None = None,
    rng: Rng,
) -> Words:
    """The matrix holder's end: a share of M·V, or of Mᵀ·V.

    Args:
        channel: to the vectors' owner.
        prepared: the matrix.
        transpose: multiply by its transpose.
        vectors: how many vectors, where the owner gives a matrix of them, (n, vectors); None for one vector, (n,).
        mine: this party's own share of the vectors, where these are shared, (n,) or (n, vectors) uint64.
        rng: for masks and encryptions.

    Returns:
        (m,), or (m, vectors), uint64: with the owner's result it adds up to the product modulo 2^64.

    Raises:
        UsageError: `mine` of another shape, or more than ``MOST`` entries.
        PeerError: the peer is about another product, has too short a key, or sent what are no ciphertexts.
    """
    rows, cols = prepared.matrix.shape
    matrix = np.ascontiguousarray(prepared.words().T if transpose else prepared.words())
    (m, n), p = matrix.shape, 1 if vectors is None else vectors
    expected = (n,) if vectors is None else (n, p)
    if mine is not None and (mine.shape != expected or mine.dtype != np.uint64):
        raise UsageError(f"mine is {mine.dtype} of shape {mine.shape}; give {expected} uint64.")
    _require_few(m * p, n * p)
    query, modulus, ciphertexts = channel.recv(wire.PaillierVectors)  # 1
    channel.require(query.version == VERSION, f"version {VERSION} of products under Paillier's encryption")
    theirs = (query.rows, query.cols, query.transpose, query.vectors)
    channel.require(theirs == (rows, cols, transpose, p), "the same sizes and direction at both parties")
    public = _public_key(channel, modulus)
    _require_ciphertexts(channel, public, ciphertexts, n * p)
    try:
        paillier.check(public, ciphertexts)
    except InvalidEncoding:
        _refuse(channel)

    masks = np.zeros((p * m, public.plain_bytes), dtype=np.uint8)  # 2
    width = mask_bytes(n)
    masks[:, :width] = rng.uint8(p * m, width)
    sums = paillier.encrypt(public, masks, rng.uint8(p * m, public.random_bytes))
    for j in range(p):
        out = slice(j * m, (j + 1) * m)
        sums[out] = paillier.combine(public, ciphertexts[j * n : (j + 1) * n], matrix, sums[out])
    channel.send(wire.PaillierProducts(), sums)
    share: Words = np.negative(_low_words(masks)).reshape(p, m).T
    if mine is not None:
        share = share + (matrix @ mine).reshape(m, p)
    return np.ascontiguousarray(share[:, 0] if vectors is None else share)


def vector(
    channel: Channel,
    v: Words,
    *,
    rows: int,
    cols: int,
    transpose: bool = False,
    bits: int = 64,
    key: PrivateKey,
    rng: Rng,
) -> Words:
    """The vectors' owner's end: a share of M·V, or of Mᵀ·V.

    Args:
        channel: to the matrix's holder.
        v: (n,), or (n, p) for p vectors, uint64; n is `cols`, or `rows` for the transpose.
        rows: of the matrix.
        cols: of the matrix.
        transpose: multiply by the matrix's transpose.
        bits: of the matrix's entries; makes no difference here.
        key: from ``key``.
        rng: for encryptions.

    Returns:
        (m,), or (m, p), uint64.

    Raises:
        UsageError: `v` of another shape, or more than ``MOST`` entries.
        PeerError: an answer of another size, or what are no ciphertexts.
    """
    del bits
    n, m = (rows, cols) if transpose else (cols, rows)
    if v.dtype != np.uint64 or v.ndim not in (1, 2) or v.shape[0] != n:
        raise UsageError(f"v is {v.dtype} of shape {v.shape}; give ({n},) or ({n}, vectors) uint64.")
    p = 1 if v.ndim == 1 else v.shape[1]
    _require_few(m * p, n * p)
    public = key.public
    plain = np.zeros((p * n, public.plain_bytes), dtype=np.uint8)
    words = np.ascontiguousarray(v.T, dtype="<u8").reshape(p * n, 1)
    plain[:, :_WORD_BYTES] = words.view(np.uint8)
    ciphertexts = paillier.encrypt(key, plain, rng.uint8(p * n, public.random_bytes))
    query = wire.PaillierVectors(version=VERSION, rows=rows, cols=cols, transpose=transpose, vectors=p)
    channel.send(query, np.frombuffer(public.encoded, dtype=np.uint8), ciphertexts)  # 1
    _, sums = channel.recv(wire.PaillierProducts)  # 3
    _require_ciphertexts(channel, public, sums, m * p)
    try:
        share = _low_words(paillier.decrypt(key, sums)).reshape(p, m).T
    except InvalidEncoding:
        _refuse(channel)
    return np.ascontiguousarray(share[:, 0] if v.ndim == 1 else share)


def mask_bytes(n: int) -> int:
    """Bytes of a mask that hides a sum of n products of two words."""
    return -(-(128 + max(n, 1).bit_length() + HIDING_BITS) // 8)


def _public_key(channel: Channel, modulus: NDArray[np.uint8]) -> PublicKey:
    """The peer's key, checked."""
    bits = 8 * len(modulus)
    channel.require(bits >= MINIMUM_BITS and bits % 128 == 0, f"a key of at least {MINIMUM_BITS} bits")
    channel.require(int(modulus[0]) % 2 == 1 and int(modulus[-1]) >= 128, "an odd modulus of its full length")
    return PublicKey(int.from_bytes(modulus.tobytes(), "little"))


def _require_ciphertexts(channel: Channel, public: PublicKey, ciphertexts: NDArray[np.uint8], count: int) -> None:
    channel.require(ciphertexts.shape == (count, public.cipher_bytes), "as many ciphertexts as the sizes say")


def _refuse(channel: Channel) -> NoReturn:
    channel.require(False, "ciphertexts below n squared and coprime to n")
    raise AssertionError  # require has raised


def _require_few(*sizes: int) -> None:
    if max(sizes) > MOST:
        raise UsageError(f"Paillier's encryption is for up to {MOST} entries at a time: take method='rlwe'.")


def _low_words(plaintexts: NDArray[np.uint8]) -> Words:
    """Plaintexts modulo 2^64."""
    return np.ascontiguousarray(plaintexts[:, :_WORD_BYTES]).view("<u8").reshape(len(plaintexts)).astype(np.uint64)
