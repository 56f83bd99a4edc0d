"""The ideal twin of protocols.ot.cot. It protects nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.ot import choices as bits
from protocols.ot.choices import Choices
from protocols.ot.correlations import CotReceiver, CotSender
from protocols.ot.ideal import dealer
from protocols.ot.method import FieldBits, Method, Security


def send(
    channel: Channel,
    n: int,
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
    k: FieldBits = 2,
    delta: NDArray[np.uint8] | None = None,
) -> CotSender:
    """As ``protocols.ot.cot.send``."""
    del suite, method, security, k
    dealt = dealer.appoint(channel, n, rng=rng, delta=delta)
    return CotSender(dealt.delta, dealt.blocks(0, n))


def receive(
    channel: Channel,
    choices: Choices | int,
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
    k: FieldBits = 2,
) -> CotReceiver:
    """As ``protocols.ot.cot.receive``."""
    del suite, method, security, k
    choice = bits.random(rng, choices) if isinstance(choices, int) else bits.checked(choices)
    dealt = dealer.meet(channel, len(choice))
    return CotReceiver(choice, dealt.blocks(0, len(choice)) ^ (bits.mask(choice) & dealt.delta))
