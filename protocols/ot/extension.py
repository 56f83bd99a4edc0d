"""Correlated oblivious transfers by the million from 128 base transfers: SoftSpokenOT [Roy, CRYPTO 2022].

The repetition code over fields of 2^k elements. The base transfers run the other way round and give, for each of
128 / k groups, 2^k seeds to the receiver and all of them but one to the sender: the one at the group's k bits of its
offset (a punctured tree of depth k). From there on a transfer costs 128 / k bits from the receiver and symmetric work.

Security: semi-honest, or malicious with the paper's two checks. Base transfers as in ``base`` (malicious); the tree and
          the streams are pseudorandom; the check hashes columns by a polynomial over GF(2^128) at a point that the
          sender draws once everything is fixed. A cheating receiver may guess bits of the offset and is caught where it
          guessed wrong: a guess of j bits passes with odds 2^-j, which the functionality of the paper allows.
          The check is not that of KOS15, whose proof does not hold (section 1.1 of the paper).
Leaks:    nothing but n. The malicious check gives away 128 linear sums of the choices, under 128 choices drawn for it.
Cost:     set-up: 3 messages, (2·128 + 1) group elements and 32·(128 - 128/k) bytes, or 64·128/k bytes more where
          malicious. n transfers: 16·n/k bytes from the receiver, n rounded up to 128; where malicious 2048/k bytes
          more, one more round, and 2,080 bytes. Envelopes take at most 128 bytes a message; a message holds 2^20
          transfers. Per transfer each side makes 2^k · 128 / k bits of AES-128 in counter mode.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import gf128, ot, wipe
from mpc.kernels import hash as hashes
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.ot.v1 import ot_pb2 as wire
from protocols.ot import base
from protocols.ot import choices as bits
from protocols.ot.choices import Choices
from protocols.ot.correlations import CotReceiver, CotSender
from protocols.ot.method import FieldBits, Security

CHUNK = 1 << 20
"""Transfers in one message of corrections."""

MAX_TRANSFERS = 1 << 32
"""Most transfers of one call; more need more than 64 GiB on each side."""

_TILE = ot.COLUMNS
_LIFETIME = 1 << 40  # blocks of a seed's stream that may be used: far below where AES in counter mode shows
_NODE = b"unseen ot extension v1 node"
_LEAF = b"unseen ot extension v1 leaf"
_ALL = b"unseen ot extension v1 leaves"


@dataclass
class Sender:
    """What the sender of an extension goes on from, to make more transfers with the same offset.

    Attributes:
        delta: (16,) uint8, the offset.
        seeds: (128 / k, 2^k, 16) uint8, in the order of ``mpc.kernels.ot.send``.
        security: against whom.
        used: blocks of the seeds' streams that are used up; they are never used again.
    """

    delta: NDArray[np.uint8] = field(repr=False)
    seeds: NDArray[np.uint8] = field(repr=False)
    security: Security
    used: int = 0


@dataclass
class Receiver:
    """What the receiver of an extension goes on from.

    Attributes:
        seeds: (128 / k, 2^k, 16) uint8.
        security: against whom.
        used: blocks of the seeds' streams that are used up; they are never used again.
    """

    seeds: NDArray[np.uint8] = field(repr=False)
    security: Security
    used: int = 0


# Set-up ---------------------------------------------------------------------------------------------------------------


def start_send(
    channel: Channel,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
    k: FieldBits = 2,
    delta: NDArray[np.uint8] | None = None,
) -> Sender:
    """Set an extension up, as the sender.

    Args:
        channel: to the receiver.
        suite: of the base transfers.
        rng: this party's randomness.
        security: against whom; both sides name the same.
        k: both sides name the same.
        delta: (16,) uint8, the offset; a uniform one by default. An offset that serves twice must not meet the same
            tweaks of a hash twice: ``random_ot`` and what stands on it always take a fresh one.

    Raises:
        CheatingDetected: the receiver's seeds are no trees.
        PeerError: the receiver sent something that is no step of this protocol.
    """
    _require_field(k)
    offset = rng.uint8(16) if delta is None else np.array(delta, dtype=np.uint8)
    if offset.shape != (16,):
        raise UsageError("The offset delta is one block: (16,) uint8.")
    # Group g's bits of the offset, the highest first, as the tree's levels take them.
    path = np.unpackbits(offset, bitorder="little").view(np.bool_).reshape(-1, k)[:, ::-1]
    chosen = base.receive(channel, ~path.reshape(-1), suite=suite, rng=rng).reshape(-1, k, 16)
    seeds = _punctured_trees(channel, chosen, path, suite) if k > 1 else _beside(chosen)
    if security == "malicious" and k > 1:
        _check_trees(channel, seeds, path, suite)
    return Sender(offset, seeds, security)


def start_receive(
    channel: Channel, *, suite: Suite, rng: Rng, security: Security = "semi-honest", k: FieldBits = 2
) -> Receiver:
    """Set an extension up, as the receiver; arguments and errors as in ``start_send``."""
    _require_field(k)
    m0, m1 = (m.reshape(-1, k, 16) for m in base.send(channel, ot.COLUMNS, suite=suite, rng=rng))
    nodes = np.stack((m0[:, 0], m1[:, 0]), axis=1)  # (groups, 2, 16): the first level is the messages themselves
    sums = []
    for level in range(1, k):
        nodes = _children(nodes, suite)
        left, right = (_sum(nodes[:, side::2]) for side in (0, 1))
        sums.append(np.stack((left ^ m0[:, level], right ^ m1[:, level]), axis=1))
    if k > 1:
        channel.send(wire.Trees(), np.stack(sums, axis=1))
    if security == "malicious" and k > 1:
        leaves = _leaf_digests(nodes, suite)
        channel.send(wire.TreeCheck(), _sum(leaves), _digest_of_leaves(leaves, suite))
    return Receiver(np.ascontiguousarray(nodes), security)


def _require_field(k: FieldBits) -> None:
    if k not in ot.FIELDS:
        raise UsageError(f"k is 1, 2, 4 or 8, not {k}; 2 suits a fast line, 4 a slower one.")


def _sum(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(groups, n, w) → (groups, w): the exclusive or."""
    total: NDArray[np.uint8] = np.bitwise_xor.reduce(blocks, axis=1)
    return total


def _children(nodes: NDArray[np.uint8], suite: Suite) -> NDArray[np.uint8]:
    """(groups, n, 16) → (groups, 2n, 16): the nodes below, which a digest of each node is cut into."""
    groups, n, _ = nodes.shape
    return hashes.rows(suite.digest, _NODE, np.ascontiguousarray(nodes).reshape(-1, 16)).reshape(groups, 2 * n, 16)


def _beside(chosen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The one seed of each group that the sender has at k = 1, at place 1: (groups, 1, 16) → (groups, 2, 16)."""
    return np.concatenate((np.zeros_like(chosen), chosen), axis=1)


def _turned(pairs: NDArray[np.uint8], turn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(groups, n, 2, w): the two of every pair change places in the groups that `turn` names, by arithmetic alone."""
    swap = (pairs[:, :, 0] ^ pairs[:, :, 1]) & bits.mask(turn)[:, None]
    return pairs ^ swap[:, :, None]


def _punctured_trees(
    channel: Channel, chosen: NDArray[np.uint8], path: NDArray[np.bool_], suite: Suite
) -> NDArray[np.uint8]:
    """All leaves but one of each group's tree: (groups, 2^k, 16), place y of which holds leaf y ^ path, 0 the unknown.

    The nodes are kept in that turned order on every level, so that no access depends on the path.
    """
    groups, k, _ = chosen.shape
    _, sums = channel.recv(wire.Trees)
    channel.require(sums.shape[:2] == (groups, k - 1), f"trees of {k} levels for {groups} groups")
    nodes = _beside(chosen[:, :1])
    for level in range(1, k):
        turn = path[:, level]
        pairs = _turned(_children(nodes, suite).reshape(groups, -1, 2, 16), turn)
        # The sum of the nodes on the far side of the path, less those that are known, is the path's neighbour.
        far = bits.select(turn, sums[:, level - 1, 1], sums[:, level - 1, 0]) ^ chosen[:, level]
        pairs[:, 0] = 0
        pairs[:, 0, 1] = far ^ _sum(pairs[:, 1:, 1])
        nodes = pairs.reshape(groups, -1, 16)
    return np.ascontiguousarray(nodes)


def _leaf_digests(leaves: NDArray[np.uint8], suite: Suite) -> NDArray[np.uint8]:
    """(groups, 2^k, 16) → (groups, 2^k, 32): what the check shows of the leaves."""
    groups, n, _ = leaves.shape
    return hashes.rows(suite.digest, _LEAF, np.ascontiguousarray(leaves).reshape(-1, 16)).reshape(groups, n, -1)


def _digest_of_leaves(digests: NDArray[np.uint8], suite: Suite) -> NDArray[np.uint8]:
    """(groups, 2^k, 32) → (groups, 32)."""
    return hashes.rows(suite.digest, _ALL, np.ascontiguousarray(digests).reshape(len(digests), -1))


def _check_trees(channel: Channel, seeds: NDArray[np.uint8], path: NDArray[np.bool_], suite: Suite) -> None:
    """Whether the seeds are the leaves of one tree per group, whatever the path: else the path would show in them."""
    groups, k = path.shape
    _, sums, expected = channel.recv(wire.TreeCheck)
    channel.require(len(sums) == groups, f"a check of {groups} trees")
    leaves = _leaf_digests(seeds, suite)
    leaves[:, 0] = sums ^ _sum(leaves[:, 1:])
    for level in range(k):  # back from the turned order to the tree's
        width = 1 << (k - 1 - level)
        leaves = _turned(leaves.reshape(groups, -1, 2, width * leaves.shape[-1]), path[:, level])
        leaves = leaves.reshape(groups, 1 << k, -1)
    channel.require(_equal(_digest_of_leaves(leaves, suite), expected), "seeds that form a tree", cheating=True)


def _equal(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether two arrays are the same, without showing where they differ."""
    return a.shape == b.shape and not int(np.bitwise_or.reduce(a ^ b, axis=None))


# Transfers ------------------------------------------------------------------------------------------------------------


def extend_send(channel: Channel, sender: Sender, n: int, *, rng: Rng) -> CotSender:
    """Make n more transfers, as the sender.

    Args:
        channel: to the receiver.
        sender: what ``start_send`` returned; moves on.
        n: how many; the receiver has as many choices.
        rng: this party's randomness.

    Returns:
        The offset, which is the same for all transfers of this extension, and (n, 16) messages.

    Raises:
        CheatingDetected: the receiver's choices differ between groups, under malicious security.
        PeerError: the receiver sent something that is no step of this protocol.
    """
    k = _bits_of(sender.seeds)
    extra, total = _sizes(n, sender)
    kept = np.empty((total, 16), dtype=np.uint8)
    for start, end in _chunks(total):
        _, corrections = channel.recv(wire.Corrections)
        size = (end - start) * 16 // k
        channel.require(len(corrections) == size, f"corrections of {end - start} transfers")
        ot.send(sender.seeds, sender.delta, corrections, kept[start:end], block=_use(sender, end - start))
    if extra and n:
        point = rng.uint8(16)
        channel.send(wire.Challenge(), point)
        _, choices, columns = channel.recv(wire.Response)
        mask = bits.mask(np.unpackbits(sender.delta, bitorder="little").view(np.bool_))
        expected = columns ^ (mask & choices)
        channel.require(_equal(ot.hash_columns(point, kept), expected), "the same choices in all groups", cheating=True)
    return CotSender(sender.delta, kept[extra : extra + n])


def extend_receive(channel: Channel, receiver: Receiver, choices: Choices, *, rng: Rng) -> CotReceiver:
    """More transfers, as the receiver.

    Args:
        channel: to the sender.
        receiver: what ``start_receive`` returned; moves on.
        choices: (n,) bits.
        rng: this party's randomness.

    Returns:
        The choices and (n, 16) messages.

    Raises:
        PeerError: the sender sent something that is no step of this protocol.
    """
    choice = bits.checked(choices)
    n = len(choice)
    extra, total = _sizes(n, receiver)
    padded = np.zeros(total, dtype=np.bool_)
    padded[extra : extra + n] = choice
    packed = np.packbits(padded, bitorder="little")
    # These hide the others in the check.
    packed[: extra // 8] = rng.uint8(extra // 8)
    kept = np.empty((total, 16), dtype=np.uint8)
    for start, end in _chunks(total):
        block = _use(receiver, end - start)
        corrections = ot.receive(receiver.seeds, packed[start // 8 : end // 8], kept[start:end], block=block)
        channel.send(wire.Corrections(), corrections)
    if extra and n:
        _, point = channel.recv(wire.Challenge)
        channel.send(wire.Response(), gf128.polyhash(point, packed.reshape(-1, 16)), ot.hash_columns(point, kept))
    wipe(packed)
    return CotReceiver(choice, kept[extra : extra + n])


def _bits_of(seeds: NDArray[np.uint8]) -> int:
    return ot.COLUMNS // len(seeds)


def _sizes(n: int, side: Sender | Receiver) -> tuple[int, int]:
    """How many transfers the check takes, which come first, and how many there are altogether, in whole tiles."""
    if not 0 <= n <= MAX_TRANSFERS:
        raise UsageError(f"One call makes up to {MAX_TRANSFERS} transfers, not {n}: call again for more.")
    extra = _TILE if side.security == "malicious" and n else 0
    return extra, extra + -(-n // _TILE) * _TILE


def _chunks(total: int) -> list[tuple[int, int]]:
    return [(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]


def _use(side: Sender | Receiver, transfers: int) -> int:
    """Where in the seeds' streams the next transfers begin: used up from now on, even if the call then fails."""
    block = side.used
    side.used += transfers // _TILE
    if side.used > _LIFETIME:
        raise UsageError(f"This extension has made {_LIFETIME * _TILE} transfers; start another one.")
    return block
