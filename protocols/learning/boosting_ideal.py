"""Products of ``boosting`` in the clear, until those of protocols.matvec.lwe are there. THEY PROTECT NOTHING."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.matvec.v1 import rlwe_pb2 as wire
from protocols.learning.binned import Codes

Words = NDArray[np.uint32]


@dataclass
class Holder:
    """The party that has the columns."""

    channel: Channel
    codes: Codes
    sizes: NDArray[np.int64]
    rng: Rng

    def products(self, w: int) -> Words:
        """Its shares, (m, w)."""
        _, v = self.channel.recv(wire.IdealVectors)
        starts = np.cumsum(self.sizes) - self.sizes
        out = np.zeros((int(self.sizes.sum()), w), dtype=np.uint64)
        for lane in range(w):
            for j, start in enumerate(starts):
                size = int(self.sizes[j])
                sums = np.bincount(self.codes[:, j], v[:, lane], minlength=size)
                out[start : start + size, lane] = sums.astype(np.uint64)
        share = self.rng.uint64(*out.shape)
        self.channel.send(wire.IdealShare(), (out - share) & np.uint64(0xFFFFFFFF))
        return share.astype(np.uint32)


@dataclass
class Owner:
    """The party that has the vectors."""

    channels: Mapping[str, Channel]
    bins: Mapping[str, int]

    def products(self, v: Words) -> dict[str, Words]:
        """Its shares, (m, w), by holder."""
        for channel in self.channels.values():
            channel.send(wire.IdealVectors(rows=0, cols=0), v.astype(np.uint64))
        return {name: channel.recv(wire.IdealShare)[1].astype(np.uint32) for name, channel in self.channels.items()}


def start_holder(channel: Channel, codes: Codes, sizes: NDArray[np.int64], *, suite: Suite, rng: Rng) -> Holder:
    """Tells how many bins there are."""
    del suite
    channel.send(wire.IdealShare(), np.full((1, 1), int(sizes.sum()), np.uint64))
    return Holder(channel, codes, sizes, rng)


def start_owner(channels: Mapping[str, Channel], n: int, *, suite: Suite, rng: Rng) -> Owner:
    """Hears it."""
    del n, suite, rng
    return Owner(channels, {name: int(c.recv(wire.IdealShare)[1][0, 0]) for name, c in channels.items()})
