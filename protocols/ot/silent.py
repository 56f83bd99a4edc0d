"""Silent correlated transfers [Boyle et al. 2019; Yang et al. 2020]: what silent VOLE is over GF(2^128), over GF(2).

The sparse vector has ones at its points, so its compressed form is bits: the receiver's choices. They travel in the
lowest bit of the messages, which the sender keeps at zero, delta's own being one; so one vector is compressed at either
side, not two.

Security: semi-honest, or malicious either side, as protocols.ot.vole; dual LPN with regular noise over GF(2); delta
          has 127 secret bits.
Leaks:    nothing but n.
Cost:     for n > DIRECT, with t trees of depth l (noise.shape_for): t·l correlated transfers by SoftSpoken (128 more
          against malicious parties) and t·(32·l + 16) bytes; n / 8 bytes more where the receiver has choices of its
          own. For n up to DIRECT: n transfers by SoftSpoken. Rounds: the transfers', plus 1; plus 1 for the check.
          Local: about 60 ns a transfer at either side; memory 64 bytes for each, besides the results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import code, pprf
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.ot.v1 import vole_pb2 as wire
from protocols.ot import choices as bits
from protocols.ot import extension, noise
from protocols.ot.choices import Choices
from protocols.ot.correlations import CotReceiver, CotSender
from protocols.ot.method import FieldBits, Security

BLOCK_BYTES = 16

DIRECT = 1 << 12
"""Up to so many transfers are extended one by one: the silent way needs about as many for its points."""

_FIELD_BITS: FieldBits = 4
_RANDOM, _CHOSEN = "transfers", "transfers of chosen bits"


def send(
    channel: Channel,
    n: int,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
    delta: NDArray[np.uint8] | None = None,
    extender: extension.Sender | None = None,
) -> CotSender:
    """N correlated transfers, as the sender.

    Args:
        channel: to the receiver, who asks for as many.
        n: how many, up to ``noise.MAX_OUTPUTS``.
        suite: of the base transfers.
        rng: this party's randomness.
        security: against which receiver.
        delta: (16,) uint8, uniform but for its lowest bit, which is one; drawn if not given.
        extender: an extension that was set up for k = 4 and this security, and whose offset serves here too; it is set
            up here if not given. Hash no two transfers of one offset with one tweak.

    Raises:
        PeerError: the receiver wants something else, or breaks the protocol.
    """
    delta = _offset(delta if extender is None else extender.delta, rng)
    shape = _shape(n, security)
    salt, kind = noise.admit(channel, (_RANDOM, _CHOSEN), n, security)  # 1
    if extender is None:
        extender = extension.start_send(channel, suite=suite, rng=rng, security=security, k=_FIELD_BITS, delta=delta)
    cots = extension.extend_send(channel, extender, _transfers(shape, n, security), rng=rng)  # 2
    k = cots.k
    if shape is not None:
        of_trees, of_mask = CotSender(delta, k[: shape.transfers]), k[shape.transfers :]
        v = noise.send_trees(channel, shape, of_trees, np.tile(delta, (shape.trees, 1)), salt=salt, rng=rng)  # 3
        v[:, 0] &= 0xFE
        if security == "malicious":
            noise.prove(channel, delta, v, noise.combine(of_mask)[0])  # 4, 5
        k = code.compress(v, n, salt=salt, field=False)
    if kind == _CHOSEN:
        _, shifted = channel.recv(wire.SilentChoices, max_bytes=-(-n // 8))  # 6
        channel.require(len(shifted) == -(-n // 8), f"{n} bits")
        shifts = np.unpackbits(shifted, count=n, bitorder="little").view(np.bool_)
        k ^= bits.mask(shifts) & delta
    return CotSender(delta, k)


def receive(
    channel: Channel,
    choices: Choices | int,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
    extender: extension.Receiver | None = None,
) -> CotReceiver:
    """Correlated transfers, as the receiver.

    Args:
        channel: to the sender.
        choices: (n,) bits, or n for uniform ones.
        suite: of the base transfers.
        rng: this party's randomness.
        security: against which sender.
        extender: as the sender's.

    Raises:
        PeerError: the sender breaks the protocol; CheatingDetected where `security` is "malicious" and its trees are
            not consistent.
    """
    wanted = None if isinstance(choices, int) else bits.checked(choices)
    n = choices if isinstance(choices, int) else len(choices)
    shape = _shape(n, security)
    salt = noise.request(channel, _RANDOM if wanted is None else _CHOSEN, n, security, rng)  # 1
    drawn, points = bits.random(rng, _transfers(shape, n, security)), np.empty(0, np.uint32)
    if shape is not None:
        points, drawn[: shape.transfers] = noise.draw_points(shape, rng)
    if extender is None:
        extender = extension.start_receive(channel, suite=suite, rng=rng, security=security, k=_FIELD_BITS)
    cots = extension.extend_receive(channel, extender, drawn, rng=rng)  # 2
    t = cots.t
    if shape is not None:
        of_trees = CotReceiver(drawn[: shape.transfers], t[: shape.transfers])
        nothing, ones = np.zeros((2, shape.trees, BLOCK_BYTES), np.uint8)
        ones[:, 0] = 1
        w = noise.receive_trees(channel, shape, points, of_trees, nothing, salt=salt)  # 3
        w[:, 0] &= 0xFE
        pprf.add_at(points, ones, w)
        if security == "malicious":
            mask = noise.elements(drawn[shape.transfers :])[0], noise.combine(t[shape.transfers :])[0]
            sparse = np.zeros_like(w)
            pprf.add_at(points, ones, sparse)
            noise.verify(channel, sparse, w, mask, rng=rng)  # 4, 5
            del sparse
        t = code.compress(w, n, salt=salt, field=False)
        drawn = (t[:, 0] & 1).view(np.bool_)
    if wanted is None:
        return CotReceiver(drawn, t)
    channel.send(wire.SilentChoices(), np.packbits(wanted ^ drawn, bitorder="little"))  # 6
    return CotReceiver(wanted, t)


def _offset(delta: NDArray[np.uint8] | None, rng: Rng) -> NDArray[np.uint8]:
    if delta is None:
        delta = rng.uint8(BLOCK_BYTES)
        delta[0] |= 1
    if not delta[0] & 1:
        raise UsageError("The lowest bit of a silent transfer's offset is one; set it by delta[0] |= 1.")
    return delta


def _shape(n: int, security: Security) -> noise.Shape | None:
    """The trees, or none where the transfers are extended one by one."""
    return None if 0 <= n <= DIRECT else noise.shape_for(n, security)


def _transfers(shape: noise.Shape | None, n: int, security: Security) -> int:
    """How many transfers are extended."""
    if shape is None:
        return n
    return shape.transfers + noise.ELEMENT_BITS * (security == "malicious")
