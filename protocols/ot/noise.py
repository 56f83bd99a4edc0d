"""Vectors at two parties that differ only where one of them knows [Boyle et al. 2018, 2019; Schoppmann et al. 2019].

The vector is cut into as many pieces as there are trees; the receiver has a point in each ("regular noise"). The sender
gets a pseudorandom v, the receiver w, equal to v everywhere but at the points, where it is v plus a value of which the
parties hold additive shares beforehand. Compressed by a public code, v and w become what silent VOLE
(protocols.ot.vole) and silent transfers (protocols.ot.silent) deal out; that the receiver's part looks random then is
the assumption of dual LPN.

Security: as the transfers that are passed in, semi-honest. `prove` and `verify` catch a sender whose trees are not what
          it says [Yang et al. 2020; Weng et al. 2021]; it may still try guesses at the points, at the price of being
          caught if one is wrong, and so learns about one bit of them in the mean.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks, code, gf128, pprf
from mpc.rng import Rng
from mpc.wire.ot.v1 import vole_pb2 as wire
from protocols.ot import choices as bits
from protocols.ot.correlations import CotReceiver, CotSender
from protocols.ot.method import Security

BLOCK_BYTES = 16

TREES = 400
"""Least number of points; docs/decisions/0012-silent-vole.md says what that is worth, and by which estimate."""

MIN_LEAVES = 256
"""Least size of a piece. Very short pieces would invite algebraic attacks."""

MAX_OUTPUTS = 1 << 26
"""Most correlations from one vector: the vector and as much working space take 64 bytes for each."""

ELEMENT_BITS = 8 * BLOCK_BYTES
_POWERS = np.packbits(np.eye(ELEMENT_BITS, dtype=np.uint8), axis=1, bitorder="little")  # (128, 16): x^0 … x^127
_DOMAIN = b"unseen ot vole v1 check"


@dataclass(frozen=True)
class Shape:
    """The trees that one vector is made of.

    Attributes:
        trees: how many, at least ``TREES``.
        leaves: of each, at least ``MIN_LEAVES``: a power of two against malicious parties, 4, 5, 6 or 7 times one else.
    """

    trees: int
    leaves: int

    @property
    def levels(self) -> int:
        """Levels of each tree below its seed."""
        return pprf.depth(self.leaves)

    @property
    def transfers(self) -> int:
        """Correlated transfers that the trees need."""
        return self.trees * self.levels


def shape_for(outputs: int, security: Security) -> Shape:
    """The smallest vector that gives so many correlations, 1 to ``MAX_OUTPUTS``.

    A receiver's choices may name any path. In a tree whose last places are empty a path can lead to none of the leaves:
    such a receiver would know all of them, and so from the tree's sum the sender's share, hence the offset. Against
    malicious parties every path therefore has a leaf at its end.
    """
    if not 0 < outputs <= MAX_OUTPUTS:
        raise UsageError(f"One vector gives 1 to {MAX_OUTPUTS} correlations, not {outputs}; make them in several runs.")
    leaves = max(MIN_LEAVES, 2 * outputs // TREES)
    unit = 1 << leaves.bit_length() - (1 if security == "malicious" else 3)
    leaves = leaves // unit * unit
    return Shape(max(TREES, -(-2 * outputs // leaves)), leaves)


# The agreement --------------------------------------------------------------------------------------------------------


def request(channel: Channel, kind: str, count: int, security: Security, rng: Rng) -> bytes:
    """The receiver's first message; returns the salt that it draws."""
    salt = rng.bytes(code.SALT_BYTES)
    channel.send(wire.SilentRequest(kind=kind, count=count, security=security), salt)
    return salt


def admit(channel: Channel, kinds: tuple[str, ...], count: int, security: Security) -> tuple[bytes, str]:
    """The sender's reading of it: the salt, and which of the kinds it has to be.

    Raises PeerError where the receiver wants something else than this side does.
    """
    header, salt = channel.recv(wire.SilentRequest)
    same = header.kind in kinds and header.count == count and header.security == security
    channel.require(same, f"{count} {kinds[0]}, {security}, as at this side")
    return bytes(salt), header.kind


# The trees ------------------------------------------------------------------------------------------------------------


def send_trees(
    channel: Channel, shape: Shape, cots: CotSender, shifts: NDArray[np.uint8], *, salt: bytes, rng: Rng
) -> NDArray[np.uint8]:
    """Make the vector, as the sender.

    Args:
        channel: to the receiver.
        shape: of the vector.
        cots: ``shape.transfers`` fresh transfers.
        shifts: (trees, 16), the sender's share of what is to stand at each point.
        salt: of the session.
        rng: the trees' seeds.

    Returns:
        (trees * leaves, 16) uint8: v.
    """
    v, sums = pprf.expand(rng.uint8(shape.trees, BLOCK_BYTES), leaves=shape.leaves, salt=salt)
    finals = sums[:, -1, 0] ^ sums[:, -1, 1] ^ shifts
    masks = [blocks.hash(m, tweak=_tweak(salt)) for m in (cots.k, cots.k ^ cots.delta)]
    sums ^= np.stack(masks, axis=1).reshape(sums.shape)
    channel.send(wire.SilentTrees(), sums, finals)
    return v


def draw_points(shape: Shape, rng: Rng) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """The receiver's secret points.

    Returns:
        (trees,) uint32, each uniform in a tree's leaves; (transfers,) bool, the choices for the trees: per level, from
        the root, the side that the path to the point does not take.
    """
    wide = rng.uint64(shape.trees)  # a product with a uniform 64-bit number is uniform up to leaves / 2^64
    low, high = wide & np.uint64(0xFFFFFFFF), wide >> np.uint64(32)
    leaves = np.uint64(shape.leaves)
    points = (((low * leaves) >> np.uint64(32)) + high * leaves >> np.uint64(32)).astype(np.uint32)
    levels = np.arange(shape.levels - 1, -1, -1, dtype=np.uint32)
    return points, (points[:, None] >> levels & 1 == 0).reshape(-1)


def receive_trees(
    channel: Channel,
    shape: Shape,
    points: NDArray[np.uint32],
    cots: CotReceiver,
    shifts: NDArray[np.uint8],
    *,
    salt: bytes,
) -> NDArray[np.uint8]:
    """Make the vector, as the receiver.

    Args:
        channel: to the sender.
        shape: of the vector.
        points: as ``draw_points`` drew them.
        cots: ``shape.transfers`` fresh transfers, with the choices of ``draw_points``.
        shifts: (trees, 16), the receiver's share of what is to stand at each point.
        salt: of the session.

    Returns:
        (trees * leaves, 16) uint8: w, which is v but at the points, where it is v plus both shifts.
    """
    _, sums, finals = channel.recv(wire.SilentTrees)
    channel.require(
        sums.shape[:2] == (shape.trees, shape.levels) and len(finals) == shape.trees, f"{shape.trees} trees"
    )
    flat = sums.reshape(shape.transfers, 2, BLOCK_BYTES)
    keys = bits.select(cots.choices, flat[:, 0], flat[:, 1]) ^ blocks.hash(cots.t, tweak=_tweak(salt))
    keys = keys.reshape(shape.trees, shape.levels, BLOCK_BYTES)
    return pprf.expand_punctured(points, keys, finals ^ shifts, leaves=shape.leaves, salt=salt)


def _tweak(salt: bytes) -> int:
    """Where the hash's tweaks begin: elsewhere in each session, since an offset may serve several."""
    return int.from_bytes(salt[:7], "little")


# Field elements from transfers ----------------------------------------------------------------------------------------


def combine(transfers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(128 n, 16) messages of transfers → (n, 16): Σ x^j · message j of each 128.

    With choices for the bits of y this turns t = k + choice · Δ into c = b + y · Δ over GF(2^128) [Gilboa 1999].
    """
    n = len(transfers) // ELEMENT_BITS
    products = gf128.mul(transfers, np.tile(_POWERS, (n, 1)))
    lanes = products.view(np.uint64).reshape(n, ELEMENT_BITS, 2)
    combined: NDArray[np.uint64] = np.bitwise_xor.reduce(lanes, axis=1)
    return combined.view(np.uint8)


def elements(choices: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(128 n,) choices → (n, 16): the elements whose bits they are."""
    return np.packbits(choices.reshape(-1, ELEMENT_BITS), axis=1, bitorder="little")


# The check against malicious parties ----------------------------------------------------------------------------------


def verify(
    channel: Channel,
    values: NDArray[np.uint8],
    w: NDArray[np.uint8],
    mask: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    *,
    rng: Rng,
) -> None:
    """Check, as the receiver, that w = v + values · Δ for the v and the Δ of the sender.

    Both sides take their vectors for polynomials and evaluate them at a point that the receiver draws now; the sender
    shows the hash of what the receiver must have found.

    Args:
        channel: to the sender.
        values: (trees * leaves, 16), the sparse vector.
        w: (trees * leaves, 16).
        mask: (y, c), each (16,): an element and its correlation, used for nothing else.
        rng: draws the point.

    Raises:
        CheatingDetected: it is not; a false vector passes with odds below its length / 2^128.
    """
    y, c = mask
    point = rng.uint8(BLOCK_BYTES)
    channel.send(wire.SilentChallenge(), point, gf128.polyhash(point, values) ^ y)
    expected = _digest(point, gf128.polyhash(point, w) ^ c)
    _, answer = channel.recv(wire.SilentAnswer)
    same = hmac.compare_digest(bytes(answer), expected)
    channel.require(same, "trees that are consistent with the offset", cheating=True)


def prove(channel: Channel, delta: NDArray[np.uint8], v: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    """Answer ``verify``, as the sender.

    Args:
        channel: to the receiver.
        delta: (16,).
        v: (trees * leaves, 16).
        b: (16,), the other half of the receiver's mask.
    """
    _, point, masked = channel.recv(wire.SilentChallenge)
    found = gf128.polyhash(point, v) ^ b ^ gf128.scale(delta, masked[None])[0]
    channel.send(wire.SilentAnswer(), _digest(point, found))


def _digest(point: NDArray[np.uint8], value: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(_DOMAIN + bytes(point) + bytes(value)).digest()
