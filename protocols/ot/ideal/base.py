"""The ideal twin of protocols.ot.base. It protects nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.ot import choices as bits
from protocols.ot.choices import Choices
from protocols.ot.ideal import dealer


def send(channel: Channel, n: int, *, suite: Suite, rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """As ``protocols.ot.base.send``: (n, 16) and (n, 16) uint8."""
    del suite
    dealt = dealer.appoint(channel, n, rng=rng)
    return dealt.blocks(0, n), dealt.blocks(1, n)


def receive(channel: Channel, choices: Choices, *, suite: Suite, rng: Rng) -> NDArray[np.uint8]:
    """As ``protocols.ot.base.receive``: (n, 16) uint8."""
    del suite, rng
    choice = bits.checked(choices)
    dealt = dealer.meet(channel, len(choice))
    return bits.select(choice, dealt.blocks(0, len(choice)), dealt.blocks(1, len(choice)))
