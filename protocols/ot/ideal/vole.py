"""The ideal twin of protocols.ot.vole. It protects nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.ot.correlations import VoleReceiver, VoleSender
from protocols.ot.ideal import dealer
from protocols.ot.method import Security


def send(
    channel: Channel,
    m: int,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
    delta: NDArray[np.uint8] | None = None,
) -> VoleSender:
    """As ``protocols.ot.vole.send``."""
    del suite, security
    dealt = dealer.appoint(channel, m, rng=rng, delta=delta)
    return VoleSender(dealt.delta, dealt.blocks(0, m))


def receive(channel: Channel, m: int, *, suite: Suite, rng: Rng, security: Security = "semi-honest") -> VoleReceiver:
    """As ``protocols.ot.vole.receive``."""
    del suite, rng, security
    dealt = dealer.meet(channel, m)
    a = dealt.blocks(1, m)
    return VoleReceiver(a, _scale(dealt.delta, a) ^ dealt.blocks(0, m))


def _scale(delta: NDArray[np.uint8], a: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Delta * a[i] in GF(2^128), (m, 16): by the school's method, bit by bit of delta."""
    power = a.view("<u8").copy()  # (m, 2): a · x^bit
    product = np.zeros_like(power)
    for bit in range(128):
        if delta[bit // 8] >> (bit % 8) & 1:
            product ^= power
        top = power[:, 1] >> np.uint64(63)
        power[:, 1] = power[:, 1] << np.uint64(1) | power[:, 0] >> np.uint64(63)
        power[:, 0] = power[:, 0] << np.uint64(1) ^ top * np.uint64(0x87)
    return product.view(np.uint8)
