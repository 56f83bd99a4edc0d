"""Correlated oblivious transfers, and what is made of them by the row: one interface over both ways to extend.

    send ⇄ receive                      t = k ^ choice·delta
    additive_send ⇄ additive_receive    shares of bit·x in Z_2^64

Security: of the method, ``extension`` or ``silent``: semi-honest or malicious. An additive correlation is semi-honest
          in what the sender puts in: nothing says that its x is the right one.
Leaks:    nothing but n.
Cost:     of the method. Silent transfers whose receiver has choices of its own take one more message of n bits. An
          additive correlation takes 8 bytes from the sender beside a transfer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.ot.v1 import ot_pb2 as wire
from protocols.ot import choices as bits
from protocols.ot import extension, silent
from protocols.ot.choices import Choices
from protocols.ot.correlations import CotReceiver, CotSender
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
    """Make n correlated transfers, as the sender.

    Args:
        channel: to the receiver, who names the same n and options.
        n: how many.
        suite: of the base transfers.
        rng: this party's randomness.
        method: how they are made.
        security: against whom.
        k: of SoftSpoken.
        delta: (16,) uint8, the offset; a uniform one by default. Hash no two transfers of one offset with one tweak.

    Raises:
        CheatingDetected: the receiver deviated, under malicious security.
        PeerError: the receiver sent something that is no step of the protocol.
    """
    if method == "silent":
        return silent.send(channel, n, suite=suite, rng=rng, security=security, delta=delta)
    sender = extension.start_send(channel, suite=suite, rng=rng, security=security, k=k, delta=delta)
    return extension.extend_send(channel, sender, n, rng=rng)


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
    """Correlated transfers, as the receiver.

    Args:
        channel: to the sender, who names the same n and options.
        choices: (n,) bits, or n for uniform ones.
        suite: of the base transfers.
        rng: this party's randomness.
        method: how they are made.
        security: against whom.
        k: of SoftSpoken.

    Raises:
        CheatingDetected: the sender deviated, under malicious security.
        PeerError: the sender sent something that is no step of the protocol.
    """
    if method == "silent":
        return silent.receive(channel, choices, suite=suite, rng=rng, security=security)
    choice = bits.random(rng, choices) if isinstance(choices, int) else bits.checked(choices)
    receiver = extension.start_receive(channel, suite=suite, rng=rng, security=security, k=k)
    return extension.extend_receive(channel, receiver, choice, rng=rng)


# Row by row, in batches that keep the memory bounded ------------------------------------------------------------------


def send_batches(
    channel: Channel,
    n: int,
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
    rows: int = extension.CHUNK,
) -> Iterator[tuple[int, CotSender]]:
    """Make n transfers under one fresh offset, as the sender, up to `rows` at a time.

    Yields:
        The number of the batch's first transfer, which the batch's hashes take for their tweak, and the batch. Finish
        with one before asking for the next.
    """
    if method == "silent":
        whole = send(channel, n, suite=suite, rng=rng, method=method, security=security)
        for start in range(0, n, rows):
            yield start, CotSender(whole.delta, whole.k[start : start + rows])
        return
    sender = extension.start_send(channel, suite=suite, rng=rng, security=security)
    for start in range(0, n, rows):
        yield start, extension.extend_send(channel, sender, min(rows, n - start), rng=rng)


def receive_batches(
    channel: Channel,
    choices: NDArray[np.bool_],
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
    rows: int = extension.CHUNK,
) -> Iterator[tuple[int, CotReceiver]]:
    """The receiver's side of ``send_batches``, which has the same options."""
    if method == "silent":
        whole = receive(channel, choices, suite=suite, rng=rng, method=method, security=security)
        for start in range(0, len(choices), rows):
            yield start, CotReceiver(whole.choices[start : start + rows], whole.t[start : start + rows])
        return
    receiver = extension.start_receive(channel, suite=suite, rng=rng, security=security)
    for start in range(0, len(choices), rows):
        yield start, extension.extend_receive(channel, receiver, choices[start : start + rows], rng=rng)


def hashed(sent: CotSender, first: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n, 16) and (n, 16): the sender's random messages, hashed with the transfers' numbers from `first` on."""
    return blocks.hash(sent.k, tweak=first), blocks.hash(sent.k ^ sent.delta, tweak=first)


# Shares of products ---------------------------------------------------------------------------------------------------


def additive_send(
    channel: Channel,
    x: NDArray[np.uint64],
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
) -> NDArray[np.uint64]:
    """Additive shares of bit·x modulo 2^64, as the party that has x.

    Args:
        channel: to the party that has as many bits.
        x: (n,) uint64.
        suite: of the base transfers.
        rng: this party's randomness.
        method: how the transfers are made.
        security: of the transfers.

    Returns:
        s, (n,) uint64: uniform, and ``s + r = bit·x`` with the other party's r.
    """
    if getattr(x, "dtype", None) != np.uint64 or x.ndim != 1:
        raise UsageError("x is a numpy array (n,) of uint64; for signed numbers give x.view(numpy.uint64).")
    shares = np.empty(len(x), dtype=np.uint64)
    batches = send_batches(channel, len(x), suite=suite, rng=rng, method=method, security=security)
    for start, sent in batches:
        zero, one = (_words(m) for m in hashed(sent, start))
        shares[start : start + len(sent)] = np.negative(zero)
        channel.send(wire.Offsets(), zero - one + x[start : start + len(sent)])
    return shares


def additive_receive(
    channel: Channel,
    choices: Choices,
    *,
    suite: Suite,
    rng: Rng,
    method: Method = "softspoken",
    security: Security = "semi-honest",
) -> NDArray[np.uint64]:
    """Additive shares of bit·x modulo 2^64, as the party that has the bits.

    Returns:
        r, (n,) uint64, with ``s + r = bit·x``.

    Raises:
        PeerError: the other party sent something that is no step of the protocol.
    """
    choice = bits.checked(choices)
    shares = np.empty(len(choice), dtype=np.uint64)
    batches = receive_batches(channel, choice, suite=suite, rng=rng, method=method, security=security)
    for start, got in batches:
        _, offsets = channel.recv(wire.Offsets)
        channel.require(len(offsets) == len(got), f"offsets of {len(got)} transfers")
        chosen = np.negative(got.choices.astype(np.uint64))
        shares[start : start + len(got)] = _words(blocks.hash(got.t, tweak=start)) + (offsets & chosen)
    return shares


def _words(messages: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, 16) → (n,) uint64: the first 8 bytes of each."""
    return messages.view("<u8")[:, 0].astype(np.uint64, copy=False)
