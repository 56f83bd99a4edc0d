"""Private matrix-vector products: one party's static matrix times another's vector, ending in additive shares.

The one place where homomorphic encryption lives. ``docs/protocols/matvec.md`` has the model and the figures.

    prepare, holder      the matrix's owner: takes the matrix in once, then any number of products in both directions
    key, vector          the vector's owner: keeps a key, gives a vector or several, as its own or as its share of them
    holder_of_shared     the matrix's owner where the vector is shared by two others: a product with each
    elementwise          products of two parties' numbers one by one
    lwe                  sums by bin of many encrypted vectors, modulo 2^32: histograms
    ideal, ideal_lwe     the same functions in the clear, for tests of what stands on them

Methods: ``rlwe`` (``protocols/matvec/rlwe.py``) and ``paillier`` (``protocols/matvec/paillier.py``, slow, for
interoperation and as a reference). The matrix and the key say which, and both parties name the same.
Results are modulo 2^64; fixed-point numbers are the caller's.
"""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.rng import Rng
from protocols.matvec import paillier, rlwe
from protocols.matvec.paillier import PrivateKey
from protocols.matvec.rlwe import Key, Method, Prepared, prepare

__all__ = ["Key", "Method", "Prepared", "holder", "holder_of_shared", "key", "prepare", "vector"]

Words = NDArray[np.uint64]


@overload
def key(rng: Rng, *, method: Literal["rlwe"] = "rlwe") -> Key: ...


@overload
def key(rng: Rng, *, method: Method) -> Key | PrivateKey: ...


def key(rng: Rng, *, method: Method = "rlwe") -> Key | PrivateKey:
    """A new key of a vectors' owner, for any number of products with any holders."""
    return paillier.key(rng) if method == "paillier" else rlwe.key(rng)


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
        rng: this party's randomness.

    Returns:
        (m,), or (m, vectors), uint64: with the owner's result it adds up to the product modulo 2^64.

    Raises:
        UsageError: `mine` of another shape.
        PeerError: the peer is about another product, or sent what are no ciphertexts.
    """
    if prepared.method == "paillier":
        return paillier.holder(channel, prepared, transpose=transpose, vectors=vectors, mine=mine, rng=rng)
    return rlwe.holder(channel, prepared, transpose=transpose, vectors=vectors, mine=mine, rng=rng)


def vector(
    channel: Channel,
    v: Words,
    *,
    rows: int,
    cols: int,
    transpose: bool = False,
    bits: int = 64,
    key: Key | PrivateKey,
    rng: Rng,
) -> Words:
    """The vectors' owner's end: a share of M·V, or of Mᵀ·V.

    Args:
        channel: to the matrix's holder.
        v: (n,), or (n, p) for p vectors, uint64; n is `cols`, or `rows` for the transpose.
        rows: of the matrix.
        cols: of the matrix.
        transpose: multiply by the matrix's transpose.
        bits: as the holder's ``prepare``.
        key: from ``key``; kept from run to run.
        rng: this party's randomness.

    Returns:
        (m,), or (m, p), uint64.

    Raises:
        UsageError: `v` of another shape.
        PeerError: the peer broke the protocol.
    """
    if isinstance(key, PrivateKey):
        return paillier.vector(channel, v, rows=rows, cols=cols, transpose=transpose, bits=bits, key=key, rng=rng)
    return rlwe.vector(channel, v, rows=rows, cols=cols, transpose=transpose, bits=bits, key=key, rng=rng)


def holder_of_shared(
    channels: Sequence[Channel],
    prepared: Prepared,
    *,
    transpose: bool = False,
    vectors: int | None = None,
    rng: Rng,
) -> Words:
    """The matrix holder's end where other parties have shares of the vector: a product with each, all at once.

    Each of the others calls ``vector`` with its share. The results of all of them and this one add up to the product.
    Arguments and errors as ``holder``'s.
    """
    if not channels:
        raise UsageError("No channel: give one to each party that has a share of the vector.")

    def run(channel: Channel, own: Rng) -> Words:
        try:
            return holder(channel, prepared, transpose=transpose, vectors=vectors, rng=own)
        except BaseException:
            for other in channels:
                other.close("a product with another party broke off")
            raise

    with ThreadPoolExecutor(len(channels)) as pool:
        runs = [pool.submit(contextvars.copy_context().run, run, channel, rng.fork()) for channel in channels]
        done, _ = wait(runs, return_when="FIRST_EXCEPTION")
        for failed in done:
            failed.result()
        share = np.zeros_like(runs[0].result())
        for finished in runs:
            share += finished.result()
        return share
