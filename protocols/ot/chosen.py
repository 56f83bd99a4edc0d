"""Oblivious transfers of messages that the sender chooses: both under random ones, of which the receiver has one.

Security: of ``cot``; the messages are under hashes as in ``random_ot``. A malicious sender may send other messages than
          it should: they are its inputs.
Leaks:    nothing but n and the messages' width.
Cost:     of ``cot``, and 2·n·w bytes from the sender for messages of w bytes; in batches of 2^20 transfers, fewer where
          the messages are longer than 16 bytes. Locally w / 16 hashes for each message.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.ot.v1 import ot_pb2 as wire
from protocols.ot import choices as bits
from protocols.ot import cot, extension
from protocols.ot.choices import Choices
from protocols.ot.method import Method, Security

MAX_WIDTH = 1 << 16
"""Longest messages, bytes. Whoever has longer ones sends keys and encrypts under them."""


def send(
    channel: Channel,
    m0: NDArray[np.uint8],
    m1: NDArray[np.uint8],
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
) -> None:
    """Offer one of two messages, n times.

    Args:
        channel: to the receiver.
        m0: (n, w) uint8, the messages for choice 0.
        m1: (n, w) uint8, those for choice 1.
        suite: of the base transfers.
        rng: this party's randomness.
        method: how the transfers are made.
        security: of the transfers.
    """
    messages = (m0, m1)
    if any(getattr(m, "dtype", None) != np.uint8 or m.ndim != 2 for m in messages) or m0.shape != m1.shape:
        raise UsageError("m0 and m1 are numpy arrays (n, w) of uint8, of the same shape.")
    n, width = m0.shape
    rows = _rows(width)
    batches = cot.send_batches(channel, n, suite=suite, rng=rng, method=method, security=security, rows=rows)
    for start, sent in batches:
        end = start + len(sent)
        masked = np.stack(
            (
                m0[start:end] ^ _mask(sent.k, start, width),
                m1[start:end] ^ _mask(sent.k ^ sent.delta, start, width),
            )
        )
        channel.send(wire.Masked(), masked)


def receive(
    channel: Channel,
    choices: Choices,
    *,
    width: int,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
) -> NDArray[np.uint8]:
    """Take one of two messages, n times.

    Args:
        channel: to the sender.
        choices: (n,) bits.
        width: bytes of a message.
        suite: of the base transfers.
        rng: this party's randomness.
        method: how the transfers are made.
        security: of the transfers.

    Returns:
        (n, width) uint8: per transfer, the message that its choice names.

    Raises:
        PeerError: the sender sent other than n pairs of messages of this width.
    """
    choice = bits.checked(choices)
    rows = _rows(width)
    chosen = np.empty((len(choice), width), dtype=np.uint8)
    batches = cot.receive_batches(channel, choice, suite=suite, rng=rng, method=method, security=security, rows=rows)
    for start, got in batches:
        _, masked = channel.recv(wire.Masked)
        channel.require(masked.shape == (2, len(got), width), f"{len(got)} pairs of messages of {width} bytes")
        mine = bits.select(got.choices, masked[0], masked[1])
        chosen[start : start + len(got)] = mine ^ _mask(got.t, start, width)
    return chosen


def _rows(width: int) -> int:
    """Transfers in a batch: whole tiles, and a message of at most 32 MiB."""
    if not 1 <= width <= MAX_WIDTH:
        raise UsageError(f"Messages have 1 to {MAX_WIDTH} bytes, not {width}: transfer keys for longer ones.")
    return min(extension.CHUNK, (1 << 24) // width // 128 * 128)


def _mask(correlated: NDArray[np.uint8], first: int, width: int) -> NDArray[np.uint8]:
    """(n, width): each block hashed as often as it takes, with tweaks that no other block of the call has."""
    count = -(-width // 16)
    repeated = np.repeat(correlated, count, axis=0)
    return blocks.hash(repeated, tweak=first * count).reshape(len(correlated), count * 16)[:, :width]
