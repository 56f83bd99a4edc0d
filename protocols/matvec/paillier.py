"""Private matrix–vector product under Paillier's encryption [Paillier 1999]: slow, for reference and interoperation.

    y = M·v mod 2^64      M (rows, columns) at its holder, v (columns,) at the other party; both end with shares of y

    1  vector   c_j = Enc(v_j)                                  with a key of its own
    2  holder   c'_i = Enc(u_i)·Π_j c_j^(M_ij), and −u_i mod 2^64 is its share
    3  vector   Dec(c'_i) mod 2^64 is its share

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

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import InvalidEncoding, paillier
from mpc.kernels.paillier import MINIMUM_BITS, PrivateKey, PublicKey, generate
from mpc.rng import Rng
from mpc.wire.matvec.v1 import paillier_pb2 as wire

__all__ = ["PrivateKey", "generate", "holder", "vector"]

VERSION = 1

HIDING_BITS = 40
"""By how much a mask is longer than what it hides."""

_WORD_BYTES = 8
_MOST = 1 << 16


def holder(
    channel: Channel,
    matrix: NDArray[Any],
    *,
    transpose: bool = False,
    mine: NDArray[np.uint64] | None = None,
    rng: Rng,
) -> NDArray[np.uint64]:
    """The side that holds the matrix.

    Args:
        channel: to the party that holds the vector, or shares it.
        matrix: (rows, columns) int64 or uint64.
        transpose: whether the product is with the transpose.
        mine: this party's own share of the vector, uint64, where it is shared between the two.
        rng: for masks and encryptions.

    Returns:
        Its share of M·v, (rows,), or of Mᵀ·v, (columns,).

    Raises:
        PeerError: another shape than the peer's, a key that is too short, or what is no ciphertext.
    """
    words = _words(matrix, transpose=transpose)
    rows, columns = words.shape
    if mine is not None and (mine.dtype != np.uint64 or mine.shape != (columns,)):
        raise UsageError(f"mine is a share of a vector of {columns} entries, uint64; not {mine.dtype} {mine.shape}.")
    query, modulus, ciphertexts = channel.recv(wire.PaillierVector)  # 1
    channel.require(query.version == VERSION, f"version {VERSION} of the product under Paillier's encryption")
    same = (query.rows, query.columns, query.transpose) == (*matrix.shape, transpose)
    channel.require(same and len(ciphertexts) == columns, "one matrix at both parties, and a ciphertext for each entry")
    bits = 8 * len(modulus)
    channel.require(bits >= MINIMUM_BITS and bits % 128 == 0, f"a key of at least {MINIMUM_BITS} bits")
    channel.require(int(modulus[0]) % 2 == 1 and int(modulus[-1]) >= 128, "an odd modulus of its full length")
    key = PublicKey(int.from_bytes(modulus.tobytes(), "little"))
    channel.require(ciphertexts.shape[1] == key.cipher_bytes, "ciphertexts of twice the key's length")
    try:
        paillier.check(key, ciphertexts)
    except InvalidEncoding:
        channel.require(False, "ciphertexts below n squared and coprime to n")

    masks = np.zeros((rows, key.plain_bytes), dtype=np.uint8)  # 2
    width = _mask_bytes(columns)
    masks[:, :width] = rng.uint8(rows, width)
    fresh = paillier.encrypt(key, masks, rng.uint8(rows, key.random_bytes))
    channel.send(wire.PaillierProduct(), paillier.combine(key, ciphertexts, words, fresh))
    share = -_low_words(masks)
    return share if mine is None else share + words @ mine


def vector(
    channel: Channel,
    v: NDArray[np.uint64],
    *,
    rows: int,
    cols: int,
    transpose: bool = False,
    key: PrivateKey,
    rng: Rng,
) -> NDArray[np.uint64]:
    """The side that holds the vector, or a share of it.

    Args:
        channel: to the matrix's holder.
        v: (cols,) uint64, or (rows,) if `transpose`.
        rows: of the matrix.
        cols: of the matrix.
        transpose: whether the product is with the transpose.
        key: from ``generate``; may serve for many products.
        rng: for encryptions.

    Returns:
        Its share of M·v, (rows,), or of Mᵀ·v, (cols,).

    Raises:
        PeerError: an answer of another shape, or what is no ciphertext.
    """
    entries, outputs = (rows, cols) if transpose else (cols, rows)
    if v.dtype != np.uint64 or v.shape != (entries,):
        raise UsageError(f"the vector has {entries} entries, uint64; not {v.dtype} {v.shape}.")
    if max(rows, cols) > _MOST:
        raise UsageError(f"Paillier's encryption is for at most {_MOST} rows or columns: take method 'rlwe'.")
    public = key.public
    plain = np.zeros((entries, public.plain_bytes), dtype=np.uint8)
    plain[:, :_WORD_BYTES] = np.ascontiguousarray(v.astype("<u8")).view(np.uint8).reshape(entries, _WORD_BYTES)
    query = wire.PaillierVector(version=VERSION, rows=rows, columns=cols, transpose=transpose)
    ciphertexts = paillier.encrypt(key, plain, rng.uint8(entries, public.random_bytes))
    channel.send(query, np.frombuffer(public.encoded, dtype=np.uint8), ciphertexts)  # 1
    _, answers = channel.recv(wire.PaillierProduct)  # 3
    channel.require(answers.shape == (outputs, public.cipher_bytes), "a ciphertext for each entry of the product")
    try:
        return _low_words(paillier.decrypt(key, answers))
    except InvalidEncoding:
        channel.require(False, "ciphertexts below n squared and coprime to n")
        raise  # which require has done


def _words(matrix: NDArray[Any], *, transpose: bool) -> NDArray[np.uint64]:
    """The matrix that is multiplied by, of words."""
    if matrix.ndim != 2 or matrix.dtype not in (np.int64, np.uint64):
        raise UsageError(f"The matrix is int64 or uint64 of two dimensions; not {matrix.dtype} {matrix.shape}.")
    if max(matrix.shape) > _MOST:
        raise UsageError(f"Paillier's encryption is for at most {_MOST} rows or columns: take method 'rlwe'.")
    words: NDArray[np.uint64] = np.ascontiguousarray(matrix.T if transpose else matrix).view(np.uint64)
    return words


def _mask_bytes(columns: int) -> int:
    """Of a mask that hides a sum of this many products of two words."""
    return -(-(128 + max(columns, 1).bit_length() + HIDING_BITS) // 8)


def _low_words(plaintexts: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Plaintexts modulo 2^64."""
    return np.ascontiguousarray(plaintexts[:, :_WORD_BYTES]).view("<u8").reshape(len(plaintexts)).astype(np.uint64)
