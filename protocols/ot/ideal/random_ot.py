"""The ideal twin of protocols.ot.random_ot. It protects nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.ot.choices import Choices
from protocols.ot.ideal import base
from protocols.ot.method import Method, Security


def send(
    channel: Channel,
    n: int,
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """As ``protocols.ot.random_ot.send``: (n, 16) and (n, 16) uint8."""
    del method, security
    return base.send(channel, n, suite=suite, rng=rng)


def receive(
    channel: Channel,
    choices: Choices,
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
) -> NDArray[np.uint8]:
    """As ``protocols.ot.random_ot.receive``: (n, 16) uint8."""
    del method, security
    return base.receive(channel, choices, suite=suite, rng=rng)
