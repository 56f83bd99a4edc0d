"""What a private set intersection gives, and how the receiver tells the sender what matched."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.kernels.join import TooManyPairs, join
from mpc.wire.psi.v1 import psi_pb2 as wire

_PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class PsiResult:
    """What one party has of an intersection.

    Matched keys come in an order that is the same at both parties and tells nothing else: that of the sender's list
    under a secret shuffle. So row ``rows[offsets[j]]`` here and there belong to one key, for every j.

    Attributes:
        rows: (r,) int64, the rows of the caller's own input, from 0, whose keys both parties hold: key by key, the rows
            of one key in the order of the input. None where this party was not to learn them.
        offsets: (k + 1,) int64: matched key j has the rows ``rows[offsets[j]:offsets[j + 1]]``, one row each unless
            duplicates were to be kept ("many"). None where `rows` is.
        peer_size: how many distinct keys the peer brought.
        operator: name of the operator that ran, such as ``psi.rr22``.
    """

    rows: NDArray[np.int64] | None = field(repr=False)
    offsets: NDArray[np.int64] | None = field(repr=False)
    peer_size: int
    operator: str

    @property
    def matched(self) -> int | None:
        """How many keys both parties hold; None where this party was not to learn it."""
        return None if self.offsets is None else len(self.offsets) - 1


def matches(
    channel: Channel, mine: NDArray[np.uint8], theirs: NDArray[np.uint8], *, malicious: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where own tags, (n, w), are among the sender's, (m, w), w 8 to 16: (k,) rows of both, the sender's increasing.

    PeerError where one own tag is there twice: an honest sender's items are distinct. Not where the sender may be
    malicious, and would learn from the error that it had repeated the tag of an item that both have: there the first
    one counts.
    """
    if malicious:
        rows, positions = join(mine, theirs, most=len(theirs))  # no more, since own tags are distinct
        first = np.sort(np.unique(rows, return_index=True)[1])
        return rows[first], positions[first]
    what = "a tag of its own for every item"
    try:
        rows, positions = join(mine, theirs, most=len(mine))
    except TooManyPairs:
        channel.require(False, what)
        raise
    channel.require(len(rows) < 2 or np.bincount(rows).max() == 1, what)
    return rows, positions


def send_matches(channel: Channel, positions: NDArray[np.int64], size: int) -> None:
    """Tell the sender which of the `size` positions of its shuffled list matched: size / 8 bytes."""
    bits = np.zeros(size, dtype=np.uint8)
    bits[positions] = 1
    packed = np.packbits(bits, bitorder="little")
    for start in range(0, len(packed), _PIECE_BYTES):
        channel.send(wire.Matches(), packed[start : start + _PIECE_BYTES])


def receive_matches(channel: Channel, size: int) -> NDArray[np.int64]:
    """The positions that `send_matches` sends: (k,) int64, increasing. PeerError where they are not within `size`."""
    packed = np.empty(-(-size // 8), dtype=np.uint8)
    for start in range(0, len(packed), _PIECE_BYTES):
        piece = packed[start : start + _PIECE_BYTES]
        _, bits = channel.recv(wire.Matches)
        channel.require(len(bits) == len(piece), "one bit per item of the sender")
        piece[:] = bits
    channel.require(size % 8 == 0 or packed[-1] >> (size % 8) == 0, "no bit behind the last item")
    return np.flatnonzero(np.unpackbits(packed, count=size, bitorder="little"))
