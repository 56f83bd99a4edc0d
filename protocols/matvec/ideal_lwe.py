"""The ideal twin of protocols.matvec.lwe: the same functions, computed in the clear. IT PROTECTS NOTHING.

The owner sends its vectors, and each holder sends back a random share of their sums by bin, without errors. For fast
tests of what stands on products.

    start_holder  start_owner  Holder  Owner     as in protocols.matvec.lwe
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.kernels import lwe as kernels
from mpc.kernels.lwe import Codes
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.matvec.v1 import lwe_pb2 as wire
from protocols.matvec.lwe import Method

Words = NDArray[np.uint32]


@dataclass(eq=False)
class Holder:
    """As ``protocols.matvec.lwe.Holder``."""

    bins: int
    rows: int
    _channel: Channel = field(repr=False)
    _codes: Codes = field(repr=False)
    _sizes: tuple[int, ...] = field(repr=False)
    _rng: Rng = field(repr=False)

    def products(self, w: int) -> Words:
        """As ``protocols.matvec.lwe.Holder.products``."""
        _, v = self._channel.recv(wire.IdealLweVectors)
        self._channel.require(v.shape == (self.rows, w), f"{w} vectors at both parties")
        share = self._rng.uint8(self.bins, w, 4).view("<u4")[:, :, 0]
        self._channel.send(wire.IdealLweShare(), kernels.sums(self._codes, v, self._sizes) - share)
        return share


@dataclass(eq=False)
class Owner:
    """As ``protocols.matvec.lwe.Owner``."""

    bins: Mapping[str, int]
    rows: int
    _channels: Mapping[str, Channel] = field(repr=False)

    def products(self, v: Words) -> dict[str, Words]:
        """As ``protocols.matvec.lwe.Owner.products``."""
        for channel in self._channels.values():
            channel.send(wire.IdealLweVectors(), v)
        shares = {}
        for name, channel in self._channels.items():
            _, shares[name] = channel.recv(wire.IdealLweShare)
            channel.require(shares[name].shape == (self.bins[name], v.shape[1]), "a word for each bin and vector")
        return shares


def start_holder(
    channel: Channel, codes: Codes, sizes: Sequence[int], *, method: Method = "transfers", suite: Suite, rng: Rng
) -> Holder:
    """As ``protocols.matvec.lwe.start_holder``."""
    del method, suite
    kernels.sums(codes, np.empty((len(codes), 0), dtype=np.uint32), sizes)
    channel.send(wire.LweHolder(rows=len(codes), bins=sum(sizes)), bytes(16))
    return Holder(sum(sizes), len(codes), channel, codes, tuple(sizes), rng.fork())


def start_owner(
    channels: Mapping[str, Channel], n: int, *, method: Method = "transfers", suite: Suite, rng: Rng
) -> Owner:
    """As ``protocols.matvec.lwe.start_owner``."""
    del method, suite, rng
    bins = {}
    for name, channel in channels.items():
        header, _ = channel.recv(wire.LweHolder)
        channel.require(header.rows == n, f"{n} rows at both parties")
        bins[name] = int(header.bins)
    return Owner(bins, n, dict(channels))
