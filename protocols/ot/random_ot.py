"""Oblivious transfers of random messages: correlated ones, hashed [Ishai, Kilian, Nissim, Petrank 2003].

Security: of ``cot``; TMMO over AES as an ideal permutation (Guo, Katz, Wang, Yu 2020), tweaked by the transfer's
          number, under an offset that serves this call alone.
Leaks:    nothing but n.
Cost:     of ``cot``, in batches of 2^20; and where malicious a check for each batch. Locally two hashes of 16 bytes a
          transfer more for the sender and one for the receiver.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.kernels import blocks
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.ot import choices as bits
from protocols.ot import cot
from protocols.ot.choices import Choices
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
    """Make n transfers of random messages, as the sender; arguments and errors as in ``cot.send``.

    Returns:
        (n, 16) uint8 and (n, 16) uint8: the messages for choice 0 and for choice 1.
    """
    m0, m1 = (np.empty((n, 16), dtype=np.uint8) for _ in range(2))
    for start, sent in cot.send_batches(channel, n, suite=suite, rng=rng, method=method, security=security):
        m0[start : start + len(sent)], m1[start : start + len(sent)] = cot.hashed(sent, start)
    return m0, m1


def receive(
    channel: Channel,
    choices: Choices,
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
) -> NDArray[np.uint8]:
    """Transfers of random messages, as the receiver; arguments and errors as in ``cot.receive``.

    Returns:
        (n, 16) uint8: per transfer, the message that its choice names.
    """
    choice = bits.checked(choices)
    chosen = np.empty((len(choice), 16), dtype=np.uint8)
    for start, got in cot.receive_batches(channel, choice, suite=suite, rng=rng, method=method, security=security):
        chosen[start : start + len(got)] = blocks.hash(got.t, tweak=start)
    return chosen
