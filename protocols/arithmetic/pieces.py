"""Arrays of components on the wire: in pieces, so that neither side holds a large array twice.

Cost: 8 bytes for each component of a word, a bit for each component of a bit, and some 60 bytes a piece.
"""

from __future__ import annotations

import math

import numpy as np

from mpc.channel import Channel
from mpc.wire.arithmetic.v1 import input_pb2 as wire
from protocols.arithmetic.engine import Array

PIECE = 1 << 18
"""Values in a piece, a multiple of 8: 2 MiB for each component of a word."""


def send(channel: Channel, components: Array) -> None:
    """Send components, (k, *shape) of words or bits, to a party that knows k, shape and dtype."""
    k = len(components)
    flat = components.reshape(k, math.prod(components.shape[1:]))
    for start in range(0, flat.shape[1], PIECE):
        piece = flat[:, start : start + PIECE]
        if flat.dtype == np.bool_:
            channel.send(wire.Bits(), np.packbits(piece, axis=1, bitorder="little"))
        else:
            channel.send(wire.Words(), np.ascontiguousarray(piece))


def reserve(channel: Channel, shape: tuple[int, ...], *, bits: bool) -> Array:
    """An array, not filled, for what the peer has announced. PeerError where there is no memory for it."""
    try:
        return np.empty(shape, dtype=np.bool_ if bits else np.uint64)
    except MemoryError:
        channel.require(False, "an array for which there is memory")
        raise


def receive(channel: Channel, k: int, shape: tuple[int, ...], *, bits: bool = False) -> Array:
    """Receive what the peer sends: (k, *shape) of bits or words.

    Raises:
        PeerError: a piece of another kind or size, or an array that is too large for this machine.
    """
    n = math.prod(shape)
    out = reserve(channel, (k, n), bits=bits)
    for start in range(0, n, PIECE):
        width = min(PIECE, n - start)
        if bits:
            _, packed = channel.recv(wire.Bits, max_bytes=k * PIECE // 8)
            channel.require(packed.shape == (k, -(-width // 8)), f"{k} x {width} bits")
            unused = packed[:, -1] >> np.uint8((width - 1) % 8 + 1) if width % 8 else np.zeros(1, np.uint8)
            channel.require(not unused.any(), "zeros behind the last bit")
            out[:, start : start + width] = np.unpackbits(packed, axis=1, count=width, bitorder="little")
        else:
            _, words = channel.recv(wire.Words, max_bytes=k * PIECE * 8)
            channel.require(words.shape == (k, width), f"{k} x {width} words")
            out[:, start : start + width] = words
    return out.reshape(k, *shape)
