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

Words = NDArray[np.uint32]


@dataclass
class Holder:
    channel: Channel
    codes: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    rng: Rng

    def products(self, w: int) -> Words:
        _, v = self.channel.recv(wire.IdealVectors)
        starts = np.cumsum(self.sizes) - self.sizes
        out = np.zeros((int(self.sizes.sum()), w), dtype=np.int64)
        for l in range(w):
            for j, s in enumerate(starts):
                out[s : s + self.sizes[j], l] = np.bincount(
                    self.codes[:, j], v[:, l], minlength=int(self.sizes[j])
                ).astype(np.int64)
        share = self.rng.uint64(*out.shape)
        self.channel.send(wire.IdealShare(), (out.astype(np.uint64) - share) & np.uint64(0xFFFFFFFF))
        return share.astype(np.uint32)


@dataclass
class Owner:
    channels: Mapping[str, Channel]
    bins: Mapping[str, int]

    def products(self, v: Words) -> dict[str, Words]:
        for c in self.channels.values():
            c.send(wire.IdealVectors(rows=0, cols=0), v.astype(np.uint64))
        return {n: c.recv(wire.IdealShare)[1].astype(np.uint32) for n, c in self.channels.items()}


def start_holder(
    channel: Channel, codes: NDArray[np.uint8], sizes: NDArray[np.int64], *, suite: Suite, rng: Rng
) -> Holder:
    channel.send(wire.IdealShare(), np.full((1, 1), int(sizes.sum()), np.uint64))
    return Holder(channel, codes, sizes, rng)


def start_owner(channels: Mapping[str, Channel], n: int, *, suite: Suite, rng: Rng) -> Owner:
    return Owner(channels, {k: int(c.recv(wire.IdealShare)[1][0, 0]) for k, c in channels.items()})
