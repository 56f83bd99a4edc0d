"""Bits of which each party knows some, times shared words modulo 2^32: a transfer for each bit, used several times.

Boosted trees multiply the same secret bits, "this row goes to the left here", first with gradients and later with
weights of leaves. A transfer's masks have four words of 32 bits; each product uses up some of them, so that the bits
are transferred once.

    1  flips      the chooser says which of its random choices are not its bits b; masks r_0, r_1 at the offerer, r_b at
                  the chooser, by hash of the correlated transfer's blocks
    2  product    the offerer, whose words are y, sends r_0 - r_1 + y; the chooser adds it to r_b where b = 1: it has
                  r_0 + b·y, and the offerer -r_0

Bits that are shared by XOR, c at one party and d at the other, multiply shares s and t of a word in both directions:
(c ^ d)·(s + t) = c·s + d·t + d·(1 - 2 c)·s + c·(1 - 2 d)·t, the last two by step 2.

Security: semi-honest; of protocols.ot, and of the hash's correlation robustness. Words of a mask are used once.
Leaks:    nothing but how many.
Cost:     a bit: a transfer (protocols.arithmetic.two_transfers, 4 bytes with "softspoken") and a bit, from the chooser;
          a product 4 bytes for each word of y, from the offerer. An envelope of up to 128 bytes a message, which
          holds ``AT_A_TIME`` bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc import sharing
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.arithmetic.v1 import selection_pb2 as wire
from protocols.arithmetic.two_transfers import BLOCK_BYTES, Received, Sent, Transfers
from protocols.ot.method import Method

LANES = 4
"""Words of 32 bits that a transfer's masks have."""

AT_A_TIME = 1 << 18
"""Transfers of a direction that are made at a time."""

_GROUP = 64
_PIECE = 1 << 20  # bits whose words are in one message

Words = NDArray[np.uint32]
Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Chosen:
    """Bits that this party knows, and of each the mask that goes with it.

    Attributes:
        bits: (n,).
        masks: (n, lanes), those words that are not used yet.
    """

    bits: Bits = field(repr=False)
    masks: Words = field(repr=False)

    def after(self, lanes: int) -> Chosen:
        """What is left when so many words were used."""
        return Chosen(self.bits, self.masks[:, lanes:].copy())

    def __len__(self) -> int:
        return len(self.bits)


@dataclass(frozen=True)
class Offered:
    """Both masks of each bit that the other party knows.

    Attributes:
        zero: (n, lanes), the masks where the bit is 0.
        difference: (n, lanes), what these exceed the others by.
    """

    zero: Words = field(repr=False)
    difference: Words = field(repr=False)

    def after(self, lanes: int) -> Offered:
        """What is left when so many words were used."""
        return Offered(self.zero[:, lanes:].copy(), self.difference[:, lanes:].copy())

    def __len__(self) -> int:
        return len(self.zero)


class Selection:
    """One party's end, for a whole computation.

    Args:
        channel: to the other party, for this alone.
        first: whether this party is the first of the two; the other says the opposite.
        suite: of the base transfers.
        rng: this party's randomness.
        method: how transfers are made, as for ``TwoParty``.
    """

    def __init__(self, channel: Channel, *, first: bool, suite: Suite, rng: Rng, method: Method = "softspoken") -> None:
        self._channel = channel
        self._transfers = Transfers(channel, lane="selection", first=first, suite=suite, rng=rng, method=method)
        self._step = 0

    def choose(self, bits: Bits, offers: int, *, lanes: int = LANES) -> tuple[Chosen, Offered]:
        """Step 1, in both directions.

        Args:
            bits: (n,) of this party's.
            offers: how many bits the other party has at the same time.
            lanes: words that will be used of each mask, up to ``LANES``.

        Raises:
            PeerError: the other party has another number of bits, or is elsewhere.
        """
        if not 1 <= lanes <= LANES:
            raise UsageError(f"A mask has 1 to {LANES} words, not {lanes}.")
        chosen = Chosen(bits, np.empty((len(bits), lanes), dtype=np.uint32))
        zero, one = (np.empty((offers, lanes), dtype=np.uint32) for _ in range(2))
        parts = list(zip(_parts(len(bits), offers), _parts(offers, len(bits)), strict=True))
        demands = [(_whole(theirs.stop - theirs.start), _whole(mine.stop - mine.start)) for mine, theirs in parts]
        with contextlib.closing(self._transfers.batches(demands)) as batches:
            for (mine, theirs), (sent, received) in zip(parts, batches, strict=True):
                flips = self._flips(bits[mine], received, theirs.stop - theirs.start)
                chosen.masks[mine] = _masks(received.t[: mine.stop - mine.start], received.tweak, lanes)
                zero[theirs], one[theirs] = _both(sent, flips, lanes)
        return chosen, Offered(zero, np.subtract(zero, one, out=one))

    def _flips(self, bits: Bits, received: Received, offers: int) -> Bits:
        """Say which of this party's choices are to be turned, and be told the other's."""
        self._step += 1
        drawn = sharing.unpack(received.choices, len(bits))
        header, theirs = self._channel.exchange(
            wire.SelectionFlips(step=self._step), np.packbits(bits ^ drawn, bitorder="little")
        )
        self._channel.require(header.step == self._step, f"step {self._step} of selection")
        self._channel.require(len(theirs) == -(-offers // 8), f"flips of {offers} bits")
        return sharing.unpack(theirs, offers)

    def multiply(self, chosen: Chosen, offered: Offered, words: Words) -> tuple[Words, Words]:
        """Step 2, in both directions: shares of the products of bits with words.

        It takes the first words of each mask; go on with ``after``.

        Args:
            chosen: this party's bits.
            offered: the other party's bits.
            words: (m, width), what these are multiplied by.

        Returns:
            (n, width) for this party's bits, whose words the other has given, and (m, width) for the other's.

        Raises:
            PeerError: the other party gives words of another number, or is elsewhere.
        """
        width = words.shape[1]
        if len(words) != len(offered) or not width <= min(chosen.masks.shape[1], offered.zero.shape[1]):
            raise UsageError(f"Give up to {LANES} words that are left for each of the {len(offered)} offered bits.")
        got, rest = np.empty((len(chosen), width), np.uint32), np.empty((len(words), width), np.uint32)
        parts = zip(_parts(len(chosen), len(words), _PIECE), _parts(len(words), len(chosen), _PIECE), strict=True)
        for mine, theirs in parts:
            self._step += 1
            added = offered.difference[theirs, :width] + words[theirs]
            header, answer = self._channel.exchange(wire.SelectionWords(step=self._step), added)
            self._channel.require(header.step == self._step, f"step {self._step} of selection")
            self._channel.require(answer.shape == (mine.stop - mine.start, width), "a word for each bit")
            answer *= chosen.bits[mine, None]
            np.add(answer, chosen.masks[mine, :width], out=got[mine])
            np.negative(offered.zero[theirs, :width], out=rest[theirs])
        return got, rest


def _masks(t: NDArray[np.uint8], tweak: int, lanes: int) -> Words:
    return blocks.hash(np.ascontiguousarray(t), tweak=tweak).view(np.uint32)[:, :lanes]


def _both(sent: Sent, flips: Bits, lanes: int) -> tuple[Words, Words]:
    """Masks of bits 0 and 1, where the choices that made them were turned as said."""
    k = sent.k[: len(flips)].view(np.uint64)
    delta = np.frombuffer(sent.delta.tobytes(), dtype=np.uint64)
    turned = np.negative(flips.astype(np.uint64))[:, None] & delta
    k = k ^ turned
    zero = _masks(k.view(np.uint8).reshape(-1, BLOCK_BYTES), sent.tweak, lanes)
    k ^= delta
    return zero, _masks(k.view(np.uint8).reshape(-1, BLOCK_BYTES), sent.tweak, lanes)


def _parts(n: int, other: int, size: int = AT_A_TIME) -> Iterator[slice]:
    """As many pieces as the longer of both directions takes."""
    for start in range(0, max(n, other), size):
        yield slice(min(start, n), min(start + size, n))


def _whole(n: int) -> int:
    return -(-n // _GROUP) * _GROUP
