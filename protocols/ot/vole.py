"""Silent VOLE over GF(2^128) [Boyle et al. 2018, 2019; code: Block-Accumulate; set-up and check: Weng et al. 2021].

The sender holds Δ and random b, the receiver random a and c with c = a·Δ + b. All of it but a few hundred kilobytes
grows locally from a sparse vector: the receiver draws one point and one value in each of a few hundred pieces, trees
of seeds make vectors v and w = v + (sparse vector)·Δ from that, and a public linear code compresses all three.

Security: semi-honest, or malicious either side (a sender that deviates is caught, but may guess at points at the risk
          of being caught, as in all protocols of this family). Dual LPN with regular noise over GF(2^128) for the
          receiver's a, the code being a block-accumulate code of rate 1/2; transfers as protocols.ot.cot; AES as ideal
          cipher.
Leaks:    nothing but m.
Cost:     for m > DIRECT, with t trees of depth l (noise.shape_for: t is 400 to 500, malicious to 800): t·(l + 128)
          correlated transfers (128 more against malicious parties), and t·(32·l + 16) bytes. For m up to DIRECT: 128·m
          correlated transfers and nothing else. Rounds: the transfers', plus 1; plus 1 for the check. Local: about 60
          ns for each evaluation at the sender and 110 at the receiver; memory 64 bytes for each, besides the results.

    receiver: receive_setup(...)  ⇄  sender: send_setup(...)     interactive, small
    .expand()                        .expand()                   local, heavy, once
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import code, pprf
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.ot import choices as bits
from protocols.ot import cot, noise
from protocols.ot.correlations import VoleReceiver, VoleSender
from protocols.ot.method import FieldBits, Security

BLOCK_BYTES = 16

DIRECT = noise.TREES
"""Up to so many evaluations each comes from 128 transfers of its own: the silent way needs as many for its points."""

_KIND = "evaluations"
_FIELD_BITS: FieldBits = 4  # of SoftSpoken: there are too few transfers for its work to be felt, so that bytes decide


@dataclass
class SenderSetup:
    """What the sender holds between the set-up and the expansion. Expands once.

    Attributes:
        m: how many evaluations it expands to.
    """

    m: int
    _delta: NDArray[np.uint8] = field(repr=False)
    _v: NDArray[np.uint8] | None = field(repr=False)
    _salt: bytes | None = field(repr=False)

    def expand(self) -> VoleSender:
        """The correlation; UsageError the second time, since it must not be used twice."""
        v, self._v = _once(self._v), None
        return VoleSender(
            self._delta, v if self._salt is None else code.compress(v, self.m, salt=self._salt, field=True)
        )


@dataclass
class ReceiverSetup:
    """What the receiver holds between the set-up and the expansion. Expands once.

    Attributes:
        m: how many evaluations it expands to.
    """

    m: int
    _points: NDArray[np.uint32] = field(repr=False)
    _values: NDArray[np.uint8] = field(repr=False)
    _w: NDArray[np.uint8] | None = field(repr=False)
    _salt: bytes | None = field(repr=False)

    def expand(self) -> VoleReceiver:
        """The correlation; UsageError the second time, since it must not be used twice."""
        w, self._w = _once(self._w), None
        if self._salt is None:
            return VoleReceiver(self._values, w)
        scratch = np.empty_like(w)
        code.mix(w, scratch, salt=self._salt, field=True)
        c = code.fold(w, self.m, salt=self._salt)
        w.fill(0)  # the same memory serves the sparse vector
        pprf.add_at(self._points, self._values, w)
        code.mix(w, scratch, salt=self._salt, field=True)
        del scratch  # before there is memory for a
        return VoleReceiver(code.fold(w, self.m, salt=self._salt), c)


def send(
    channel: Channel,
    m: int,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
    delta: NDArray[np.uint8] | None = None,
) -> VoleSender:
    """M random evaluations, as the sender.

    Args:
        channel: to the receiver, who asks for as many.
        m: how many, up to ``noise.MAX_OUTPUTS``.
        suite: of the base transfers.
        rng: this party's randomness.
        security: against which receiver.
        delta: (16,) uint8, uniform; drawn if not given.

    Returns:
        Delta and b.

    Raises:
        PeerError: the receiver wants something else, or breaks the protocol.
    """
    return send_setup(channel, m, suite=suite, rng=rng, security=security, delta=delta).expand()


def receive(channel: Channel, m: int, *, suite: Suite, rng: Rng, security: Security = "semi-honest") -> VoleReceiver:
    """M random evaluations, as the receiver.

    Args:
        channel: to the sender.
        m: how many, up to ``noise.MAX_OUTPUTS``.
        suite: of the base transfers.
        rng: this party's randomness.
        security: against which sender.

    Returns:
        a, c.

    Raises:
        PeerError: the sender breaks the protocol; CheatingDetected where `security` is "malicious" and its trees are
            not consistent.
    """
    return receive_setup(channel, m, suite=suite, rng=rng, security=security).expand()


def send_setup(
    channel: Channel,
    m: int,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
    delta: NDArray[np.uint8] | None = None,
) -> SenderSetup:
    """The interactive part of ``send``; afterwards the channel is free for something else."""
    shape = _shape(m, security)
    delta = rng.uint8(BLOCK_BYTES) if delta is None else delta
    salt, _ = noise.admit(channel, (_KIND,), m, security)  # 1
    n = _transfers(shape, m, security)
    cots = cot.send(channel, n, suite=suite, rng=rng, security=security, k=_FIELD_BITS, delta=delta)  # 2
    if shape is None:
        return SenderSetup(m, delta, noise.combine(cots.k), None)
    of_trees, of_values = cots.k[: shape.transfers], cots.k[shape.transfers :]
    b = noise.combine(of_values)
    v = noise.send_trees(channel, shape, type(cots)(delta, of_trees), b[: shape.trees], salt=salt, rng=rng)  # 3
    if security == "malicious":
        noise.prove(channel, delta, v, b[shape.trees])  # 4, 5
    return SenderSetup(m, delta, v, salt)


def receive_setup(
    channel: Channel, m: int, *, suite: Suite, rng: Rng, security: Security = "semi-honest"
) -> ReceiverSetup:
    """The interactive part of ``receive``; afterwards the channel is free for something else."""
    shape = _shape(m, security)
    salt = noise.request(channel, _KIND, m, security, rng)  # 1
    n = _transfers(shape, m, security)
    points = np.empty(0, np.uint32)
    choices = bits.random(rng, n)
    if shape is not None:
        points, choices[: shape.transfers] = noise.draw_points(shape, rng)
    cots = cot.receive(channel, choices, suite=suite, rng=rng, security=security, k=_FIELD_BITS)  # 2
    if shape is None:
        return ReceiverSetup(m, points, noise.elements(choices), noise.combine(cots.t), None)
    y, c = noise.elements(choices[shape.transfers :]), noise.combine(cots.t[shape.transfers :])
    of_trees = type(cots)(choices[: shape.transfers], cots.t[: shape.transfers])
    w = noise.receive_trees(channel, shape, points, of_trees, c[: shape.trees], salt=salt)  # 3
    if security == "malicious":
        sparse = np.zeros_like(w)
        pprf.add_at(points, y[: shape.trees], sparse)
        noise.verify(channel, sparse, w, (y[shape.trees], c[shape.trees]), rng=rng)  # 4, 5
    return ReceiverSetup(m, points, y[: shape.trees], w, salt)


def _shape(m: int, security: Security) -> noise.Shape | None:
    """The trees, or none where the transfers alone do."""
    return None if 0 <= m <= DIRECT else noise.shape_for(m, security)


def _transfers(shape: noise.Shape | None, m: int, security: Security) -> int:
    """How many correlated transfers it takes."""
    if shape is None:
        return noise.ELEMENT_BITS * m
    return shape.transfers + noise.ELEMENT_BITS * (shape.trees + (security == "malicious"))


def _once(vector: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    if vector is None:
        raise UsageError("This set-up has been expanded already; run the set-up again for more.")
    return vector
