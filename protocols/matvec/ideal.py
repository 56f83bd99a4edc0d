"""The ideal twin of protocols.matvec: the same functions, computed in the clear. IT PROTECTS NOTHING.

The vectors' owner sends its vectors, and the holder sends back a random share. For fast tests of what stands on
products.

    prepare  holder  key  vector  key_side  other_side     as in protocols.matvec and its elementwise
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.rng import Rng
from mpc.wire.matvec.v1 import rlwe_pb2 as wire
from protocols.matvec.elementwise import SMALL
from protocols.matvec.paillier import PrivateKey
from protocols.matvec.rlwe import Key, Prepared, key, prepare

__all__ = ["Key", "Prepared", "holder", "key", "key_side", "other_side", "prepare", "vector"]

Words = NDArray[np.uint64]


def holder(
    channel: Channel,
    prepared: Prepared,
    *,
    transpose: bool = False,
    vectors: int | None = None,
    mine: Words | None = None,
    rng: Rng,
) -> Words:
    """As ``protocols.matvec.holder``."""
    matrix = prepared.words()
    rows, cols = matrix.shape
    m, n = (cols, rows) if transpose else (rows, cols)
    header, v = channel.recv(wire.IdealVectors)
    ours = (rows, cols, transpose, n, 1 if vectors is None else vectors)
    theirs = (header.rows, header.cols, header.transpose, *v.shape)
    channel.require(theirs == ours, "the same sizes and direction at both parties")
    product = (matrix.T if transpose else matrix) @ (v if mine is None else v + mine.reshape(v.shape))
    share = rng.uint64(*product.shape)
    channel.send(wire.IdealShare(), product - share)
    return share.reshape((m,) if vectors is None else (m, vectors))


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
    """As ``protocols.matvec.vector``."""
    del bits, key, rng
    m = cols if transpose else rows
    columns = np.ascontiguousarray(v[:, None] if v.ndim == 1 else v)
    channel.send(wire.IdealVectors(rows=rows, cols=cols, transpose=transpose), columns)
    _, share = channel.recv(wire.IdealShare)
    channel.require(share.shape == (m, columns.shape[1]), "a number for each row")
    result: Words = share if v.ndim == 2 else share[:, 0].copy()
    return result


def key_side(channel: Channel, u: Words, *, small: bool = False, key: Key, rng: Rng) -> Words:
    """As ``protocols.matvec.elementwise.key_side``."""
    del small, key, rng
    channel.send(wire.IdealVectors(), u)
    _, share = channel.recv(wire.IdealShare)
    channel.require(share.shape == (u.shape[1], 1), "a number for each product")
    result: Words = share[:, 0].copy()
    return result


def other_side(channel: Channel, v: Words, *, small: bool = False, rng: Rng) -> Words:
    """As ``protocols.matvec.elementwise.other_side``."""
    _, u = channel.recv(wire.IdealVectors)
    channel.require(u.shape == v.shape, "as many numbers at both parties")
    share, sums = rng.uint64(v.shape[1]), (u * v).sum(axis=0, dtype=np.uint64)
    if small:
        t = np.uint64(SMALL)
        share %= t
        theirs = ((sums.view(np.int64) % np.int64(SMALL)).view(np.uint64) + t - share) % t
    else:
        theirs = sums - share
    channel.send(wire.IdealShare(), theirs[:, None])
    return share
