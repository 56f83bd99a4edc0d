"""Which side the rows of split nodes go to: told of each row for its own node, and for no other.

The party whose columns split s nodes of a level has for every row of the table s bits, "goes to the left". The other
has for every row a choice: one of these nodes, or none. A row's bits lie under masks from ⌈log2(s + 1)⌉ correlated
transfers (``ot``), whose choices are the bits b of the row's choice c, as in 1-out-of-N transfers [Naor, Pinkas 1999]:

    bit of node j, j = 1 … s, is masked by  ⊕_b  [bit j − 1 of H(k_b ⊕ j_b·Δ)]              j_b: bit b of j

The chooser has the hash for c_b in every place b, and so node c's mask. Of any other j it lacks a hash in a place where
j and c differ, and each j takes another bit of it. Choice 0 is for rows in none of the nodes, and opens nothing.

Security: semi-honest; of ``extension`` and of the correlation-robust hash of ``blocks`` (TMMO), whose every input has a
          tweak of its own in the training.
Leaks:    to the chooser one bit for each row in one of the nodes; to the other party nothing but s and n.
Cost:     a set-up once (``extension``); then for each row 4·⌈log2(s + 1)⌉ bytes from the chooser and ⌈s / 8⌉ bytes from
          the other party, n rounded up to 128, in batches of 2^14 rows, with two envelopes of 128 bytes at most for
          each; eight batches are on their way at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.learning.v1 import boosting_pb2 as wire
from protocols.ot import extension
from protocols.ot.method import FieldBits

MOST = 128
"""Most nodes that one call tells of."""

BATCH = 1 << 14
"""Rows of a batch: its blocks take 2 MiB at most, and stay in the processor's cache."""

AHEAD = 8
"""Batches that are asked for before the first is told, so that both parties have something to do and a slow line is
full. What is told of them, 2 MiB at most, fits into a transport's buffers, so that nobody waits for the other to read.
"""

_K: FieldBits = 4  # 4 bytes a transfer

_NOTHING = np.empty((0, 0, 16), dtype=np.uint8)

Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]


@dataclass
class Chooser:
    """The party that learns.

    Attributes:
        channel: to the other party.
        extension: its side of the transfers, as their receiver.
        rng: this party's randomness.
        tweak: the next transfer's number.
    """

    channel: Channel
    extension: extension.Receiver = field(repr=False)
    rng: Rng
    tweak: int = 0


@dataclass
class Teller:
    """The party that has the columns; attributes as of ``Chooser``."""

    channel: Channel
    extension: extension.Sender = field(repr=False)
    rng: Rng
    tweak: int = 0


def start_chooser(channel: Channel, *, suite: Suite, rng: Rng) -> Chooser:
    """Set up with the other party, once in a training."""
    return Chooser(channel, extension.start_receive(channel, suite=suite, rng=rng, k=_K), rng)


def start_teller(channel: Channel, *, suite: Suite, rng: Rng) -> Teller:
    """The other side of ``start_chooser``."""
    return Teller(channel, extension.start_send(channel, suite=suite, rng=rng, k=_K), rng)


def choose(chooser: Chooser, choices: NDArray[np.uint8], nodes: int) -> Bits:
    """Learn which side rows go to.

    Args:
        chooser: of ``start_chooser``; moves on.
        choices: (n,) for each row the number of its node, 1 to `nodes`, or 0 for none.
        nodes: how many the other party tells of, up to ``MOST``.

    Returns:
        (n,): whether the row goes to the left of its node; False where it is in none.

    Raises:
        PeerError: the other party sent something that is no step of this protocol.
    """
    _require_count(nodes)
    left = np.zeros(len(choices), dtype=np.bool_)
    batches = list(_batches(len(choices) if nodes else 0))
    asked: list[NDArray[np.uint8]] = []
    for now, (start, end) in enumerate(batches):
        while len(asked) < min(now + AHEAD, len(batches)):
            asked.append(_ask(chooser, choices[slice(*batches[len(asked)])], nodes.bit_length()))
        left[start:end] = _sides(chooser.channel, choices[start:end], nodes, asked[now])
        asked[now] = _NOTHING
    return left


def _ask(chooser: Chooser, choices: NDArray[np.uint8], places: int) -> NDArray[np.uint8]:
    """(places, n, 16): of each bit of each row's choice the hash that it has."""
    picked = ((choices >> np.arange(places, dtype=np.uint8)[:, None]) & 1).astype(np.bool_)
    got = extension.extend_receive(chooser.channel, chooser.extension, picked.reshape(-1), rng=chooser.rng)
    hashed = blocks.hash(got.t, tweak=chooser.tweak).reshape(places, len(choices), 16)
    chooser.tweak += places * len(choices)
    return hashed


def _sides(channel: Channel, choices: NDArray[np.uint8], nodes: int, hashed: NDArray[np.uint8]) -> Bits:
    """(n,): whether each row goes left at the node that it chose."""
    rows, width = len(choices), -(-nodes // 8)
    _, masked = channel.recv(wire.BoostingSides)
    channel.require(masked.shape == (rows, width), f"sides of {rows} rows at {nodes} nodes")
    byte, bit = np.divmod(np.maximum(choices, 1) - np.uint8(1), 8)
    if width == 1:
        word = np.bitwise_xor.reduce(hashed[:, :, 0], axis=0) ^ masked[:, 0]
    else:
        every = np.arange(rows)
        word = np.bitwise_xor.reduce(hashed[:, every, byte], axis=0) ^ masked[every, byte]
    sides: Bits = ((word >> bit) & 1).astype(np.bool_) & (choices > 0)
    return sides


def tell(teller: Teller, left: Bits) -> None:
    """Tell which side rows go to.

    Args:
        teller: of ``start_teller``; moves on.
        left: (nodes, n), up to ``MOST`` nodes: whether the row goes to the left there. The same order of nodes as the
            other party's.
    """
    nodes, n = left.shape
    _require_count(nodes)
    places, width = nodes.bit_length(), -(-nodes // 8)
    for start, end in _batches(n if nodes else 0):
        rows = end - start
        sent = extension.extend_send(teller.channel, teller.extension, places * rows, rng=teller.rng)
        sides = (blocks.hash(k, tweak=teller.tweak).view("<u8") for k in (sent.k, sent.k ^ sent.delta))
        zero, one = (hashed.reshape(places, rows, 2) for hashed in sides)
        teller.tweak += places * rows
        masked = np.empty((rows, width), dtype=np.uint8)
        words = _packed(left[:, start:end])
        for half in range(words.shape[1]):
            total = np.ascontiguousarray(words[:, half])
            for b in range(places):
                pattern = _pattern(b, half)
                total ^= (zero[b, :, half] & ~pattern) ^ (one[b, :, half] & pattern)
            here = masked[:, 8 * half : 8 * half + 8]
            here[:] = total[:, None].view(np.uint8)[:, : here.shape[1]]
        # What is above the last node is masked as well, by bits that nobody can put together.
        teller.channel.send(wire.BoostingSides(), masked)


def told_bytes(rows: int, nodes: int) -> int:
    """What a call takes, both ways, envelopes apart."""
    total = 0
    for start, end in _batches(rows if nodes else 0):
        transfers = nodes.bit_length() * (end - start)
        total += 4 * (-(-transfers // 128) * 128) + (end - start) * -(-nodes // 8)
    return total


def _require_count(nodes: int) -> None:
    if not 0 <= nodes <= MOST:
        raise UsageError(f"One call tells of up to {MOST} nodes, not {nodes}.")


def _batches(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, BATCH):
        yield start, min(start + BATCH, n)


def _packed(left: Bits) -> Words:
    """(nodes, n) → (n, halves): bit j of word h is that of node 64 h + j, counted from 0."""
    nodes, n = left.shape
    words = np.zeros((n, -(-nodes // 64)), dtype="<u8")
    packed = np.packbits(left, axis=0, bitorder="little").T
    words.view(np.uint8)[:, : packed.shape[1]] = packed
    return words


@cache
def _pattern(b: int, half: int) -> np.uint64:
    """The word whose bit i is bit b of the number 64·half + i + 1."""
    return np.uint64(sum(((64 * half + i + 1) >> b & 1) << i for i in range(64)))
