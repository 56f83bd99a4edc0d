"""Oblivious programmable PRF: the OPRF of ``protocols/psi/oprf.py`` and a store of corrections [KMPRT17, section 5].

The receiver gets a function of the sender's at its items: at the sender's points it has the values that the sender
chose, elsewhere it is random. Whether an item was a point is not to be seen, as long as the values look random too.

    F      the OPRF: the receiver has F(x) for its items, the sender wherever it likes
    T      the sender's store with Decode(T, y) = F(y) + v(y) for each of its points y
    G(x)   = F(x) + Decode(T, x): v(x) where x is a point, and random elsewhere

Values of several blocks take as many stores: `receive_blocks` faces `send_blocks`. Block i is masked by H(F(x), i),
F(x) being the seed of a generator made of TMMO, so that who knows one block's value knows no other block's mask.

[KMPRT17] is Kolesnikov, Matania, Pinkas, Rosulek, Trieu 2017, "Practical multi-party private set intersection from
symmetric-key techniques"; the store in place of its tables and polynomials is that of Raghuraman and Rindal 2022.

Security: semi-honest; the OPRF's assumptions. The values must be uniform to the receiver, one by one: then T is.
Leaks:    to the sender the number of items, to the receiver the number of points; and the values at its items, as one
          function of which it cannot tell the points.
Cost:     the OPRF's, and with m = `oprf.table_rows(points)` 16·m bytes from the sender for each block of the values,
          with at most 80 bytes of envelope for every 4 bins of 2^14 points. Rounds: the OPRF's, and half of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks as hashes
from mpc.kernels import okvs, wipe
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.psi.v1 import multi_pb2 as wire
from protocols.ot import VoleReceiver, VoleSender
from protocols.psi import oprf

Bytes = NDArray[np.uint8]

_BLOCK = 16
_BINS = 4  # of the table in a message: about 1.4 MB


def receive(
    channel: Channel, at: oprf.Points, correlation: VoleReceiver, *, peer_points: int, suite: Suite, rng: Rng
) -> Bytes:
    """The receiver's side.

    Args:
        channel: to the sender.
        at: n > 0 distinct items.
        correlation: ``oprf.table_rows(n)`` VOLEs that nothing else has used.
        peer_points: how many points the sender programs, at least 1.
        suite: as for the OPRF.
        rng: this party's randomness.

    Returns:
        (n, 16) uint8: G of each item.

    Raises:
        UsageError: two equal items, or another number of VOLEs.
        PeerError: the sender broke the protocol.
    """
    outputs = oprf.receive(channel, at, correlation, suite=suite, rng=rng).in_order()  # 1
    return _add_decoded(channel, at, outputs, peer_points=peer_points)


def receive_blocks(
    channel: Channel,
    at: oprf.Points,
    correlation: VoleReceiver,
    *,
    blocks: int,
    peer_points: int,
    suite: Suite,
    rng: Rng,
) -> Bytes:
    """As `receive`, of values of so many `blocks`: (blocks, n, 16) uint8."""
    seeds = oprf.receive(channel, at, correlation, suite=suite, rng=rng).in_order()  # 1
    return np.stack([_add_decoded(channel, at, _mask(seeds, i), peer_points=peer_points) for i in range(blocks)])


def send(
    channel: Channel,
    at: oprf.Points,
    values: Bytes,
    correlation: VoleSender,
    *,
    peer_items: int,
    suite: Suite,
    rng: Rng,
) -> None:
    """The sender's side; errors as for `receive`.

    Args:
        channel: to the receiver.
        at: k > 0 distinct points.
        values: (k, 16) uint8, what G is at them: uniform to the receiver, one by one.
        correlation: ``oprf.table_rows(peer_items)`` VOLEs, the other side's of the receiver's. Its `b` is overwritten.
        peer_items: how many items the receiver has, at least 1.
        suite: as for the OPRF.
        rng: this party's randomness.
    """
    if values.shape != (len(at), _BLOCK):
        raise UsageError(f"values has shape {values.shape}; give ({len(at)}, {_BLOCK}), one row for each point.")
    programmed = oprf.send(channel, at, correlation, peer_items=peer_items, suite=suite, rng=rng).in_order()  # 1
    programmed ^= values
    _send_encoded(channel, at, programmed, rng=rng)


def send_blocks(
    channel: Channel,
    at: oprf.Points,
    values: Bytes,
    correlation: VoleSender,
    *,
    peer_items: int,
    suite: Suite,
    rng: Rng,
) -> None:
    """As `send`, of `values` of several blocks: (blocks, k, 16) uint8."""
    if values.ndim != 3 or values.shape[1:] != (len(at), _BLOCK):
        raise UsageError(f"values has shape {values.shape}; give (blocks, {len(at)}, {_BLOCK}).")
    seeds = oprf.send(channel, at, correlation, peer_items=peer_items, suite=suite, rng=rng).in_order()  # 1
    for i, block in enumerate(values):
        programmed = _mask(seeds, i)
        programmed ^= block
        _send_encoded(channel, at, programmed, rng=rng)
    wipe(seeds)


def _mask(seeds: Bytes, number: int) -> Bytes:
    """(n, 16): the block of this number that each seed stands for."""
    tweaks = np.zeros_like(seeds)
    tweaks.view("<u8")[:, 0] = number
    out = seeds.copy()
    hashes.hash_under(tweaks, out)
    return out


def _add_decoded(channel: Channel, at: oprf.Points, masks: Bytes, *, peer_points: int) -> Bytes:
    """What the sender's next store says of each item, and its mask: (n, 16)."""
    header, piece = channel.recv(wire.OpprfHint)  # 2
    channel.require(len(header.seed) == _BLOCK, "a seed of 16 bytes")
    pairs = okvs.arrange(at.keys, masks, n=peer_points, seed=header.seed)
    height, done = oprf.table_rows(peer_points) // pairs.bins, 0
    while True:
        first, stop = done, done + len(piece) // height
        in_order = header.first == first * height and stop > first and len(piece) % height == 0 and stop <= pairs.bins
        channel.require(in_order, f"whole bins of {height} rows in order, {pairs.bins} altogether")
        okvs.decode_bins(pairs, first, stop, parts=piece, out=pairs.values)  # 3
        done = stop
        if done == pairs.bins:
            return oprf.Outputs(pairs.rows, pairs.values).in_order()
        header, piece = channel.recv(wire.OpprfHint)


def _send_encoded(channel: Channel, at: oprf.Points, programmed: Bytes, *, rng: Rng) -> None:
    """A store of `programmed`, which is wiped."""
    pairs = okvs.arrange(at.keys, programmed, n=len(at), seed=rng.bytes(_BLOCK))
    wipe(programmed)
    randomness = rng.uint8(32)
    height = oprf.table_rows(len(at)) // pairs.bins
    for bins in range(0, pairs.bins, _BINS):
        piece = okvs.encode_bins(pairs, bins, min(bins + _BINS, pairs.bins), randomness=randomness)
        head = wire.OpprfHint(seed=pairs.seed) if bins == 0 else wire.OpprfHint(first=bins * height)
        channel.send(head, piece)  # 2
    wipe(randomness)
