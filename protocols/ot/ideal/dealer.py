"""The dealer behind the ideal twins: one seed, in the clear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.kernels import prg
from mpc.rng import Rng
from mpc.wire.ot.v1 import ot_pb2 as wire

BLOCK_BYTES = 16


@dataclass(frozen=True)
class Dealer:
    """What both sides take their correlations from.

    Attributes:
        seed: (32,) uint8.
        delta: (16,) uint8.
    """

    seed: NDArray[np.uint8]
    delta: NDArray[np.uint8]

    def blocks(self, stream: int, n: int) -> NDArray[np.uint8]:
        """(n, 16) uniform blocks; streams of different numbers, below 16, are independent."""
        return prg.stream(self.seed, n * BLOCK_BYTES, block=stream << 64).reshape(n, BLOCK_BYTES)


def appoint(channel: Channel, n: int, *, rng: Rng, delta: NDArray[np.uint8] | None = None) -> Dealer:
    """The sender's half: draw the dealer's seed, and an offset unless one is given, and tell the receiver."""
    dealer = Dealer(rng.uint8(32), rng.uint8(BLOCK_BYTES) if delta is None else delta)
    channel.send(wire.Dealt(count=n), dealer.seed, dealer.delta)
    return dealer


def meet(channel: Channel, n: int) -> Dealer:
    """The receiver's half."""
    header, seed, delta = channel.recv(wire.Dealt)
    channel.require(header.count == n, f"{n} correlations, as this side wants")
    return Dealer(seed, delta)
