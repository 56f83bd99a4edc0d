"""Batched oblivious PRF from a key-value store and VOLE [Raghuraman, Rindal 2022; malicious: Rindal, Schoppmann 2021].

The receiver has F at its n items and the sender has F wherever it likes, without either learning the other's items.
With H(x) the value half of item x's digest and row(x) the store's linear map under the key half:

    P      the store with Decode(P, x) = H(x) for each of the receiver's items
    C      = A·Δ + B in GF(2^128): the receiver holds A and C, the sender Δ and B
    F(y)   = H°(Decode(B + Δ·(A − P), y) − Δ·H(y), y), which on the receiver's items is H°(Decode(C, x), x):
             what is under H° is Decode(C, y) + Δ·(Decode(P, y) − H(y))

Security: semi-honest; LPN (the VOLE's), H° correlation robust: TMMO under fixed-key AES with the item's key half for
          tweak [Guo, Katz, Wang, Yu 2020]. "malicious": against a malicious sender the receiver's items stay hidden and
          its outputs are those of one function F; a malicious receiver learns F at no more points than a store can be
          made to hold (`most_items`), which is more than n. H° is then the suite's hash of value + w and digest, a
          random oracle, under an offset w that both parties toss.
Leaks:    to the sender |X|, to the receiver nothing.
Cost:     16 · table_rows(n) bytes from the receiver, about 21.6 per item at 2^20, and at most 80 bytes of envelope for
          every 4 bins of 2^14 items; the VOLE's. In the malicious variant 64 bytes from the sender, 16 from the
          receiver, and two envelopes more. Rounds: the VOLE's; 1 more in the malicious variant.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks, gf128, okvs, wipe
from mpc.kernels import hash as hashes
from mpc.kernels.packing import pack
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.psi.v1 import oprf_pb2 as wire
from protocols.ot import VoleReceiver, VoleSender
from protocols.psi.agreement import Security

Bytes = NDArray[np.uint8]

_BLOCK = 16
_OPENING = 2 * _BLOCK  # a coin, and as many bytes that hide it
_BINS = 4  # of the table in a message: about 1.4 MB
_BATCH = 1 << 15  # rows whose temporaries stay in the cache
_OUTPUT = b"unseen psi.oprf v1 output".ljust(64, b"\x00")  # one block of every hash, which is hashed only once
_COMMITMENT = b"unseen psi.oprf v1 commitment\x00"


@dataclass(frozen=True)
class Points:
    """What F is evaluated at: items' digests, in halves.

    Attributes:
        keys: (n, 16) uint8, which choose the row of the store.
        values: (n, 16) uint8, H(x).
    """

    keys: Bytes = field(repr=False)
    values: Bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Outputs:
    """F at some points, in the order in which they lie in the store.

    Attributes:
        rows: (k,) uint32, which point each is.
        values: (k, 16) uint8.
    """

    rows: NDArray[np.uint32] = field(repr=False)
    values: Bytes = field(repr=False)

    def in_order(self) -> Bytes:
        """(k, 16) uint8, in the order of the points."""
        out = np.empty_like(self.values)
        out.view("V16")[self.rows] = self.values.view("V16")
        return out


def points(digests: Bytes) -> Points:
    """Digests of distinct items, (n, 32) uint8, as what F is evaluated at."""
    if digests.dtype != np.uint8 or digests.ndim != 2 or digests.shape[1] != 2 * _BLOCK:
        raise UsageError(f"digests is {digests.dtype} of shape {digests.shape}; give (n, {2 * _BLOCK}) uint8.")
    return Points(np.ascontiguousarray(digests[:, :_BLOCK]), np.ascontiguousarray(digests[:, _BLOCK:]))


def table_rows(items: int) -> int:
    """How many rows the table for so many items has, and how many VOLEs one run takes."""
    return okvs.size(items)


def most_items(items: int, *, queries_log2: float = 80) -> int:
    """How many points a malicious receiver, who claims `items`, can make its table hold: 2.6 · items at 2^20.

    Of Q points at which it evaluates the random oracle, N can be held at once with odds of at most
    C(Q, N) · 2^(-128 · (N − m)): m rows of 128 bits meet m conditions by choice, and every other one by luck. The bound
    is the N at which (eQ / N)^N · 2^(-128 · (N − m)) falls below 2^-40, after a union over Q seeds of the store.

    Args:
        items: what the receiver claims.
        queries_log2: log2 of Q, at most 120.
    """
    if not 0 <= queries_log2 <= 120:
        raise UsageError("queries_log2 is from 0 to 120: above, the bound says nothing.")
    m = table_rows(items)

    def beyond(points: int) -> bool:
        odds_log2 = points * (queries_log2 + math.log2(math.e / points)) - 128 * (points - m) + queries_log2
        return odds_log2 <= -40

    return bisect_left(range(m, 16 * m), True, key=beyond) + m  # the odds fall with the number of points


def receive(
    channel: Channel,
    at: Points,
    correlation: VoleReceiver,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
) -> Outputs:
    """The receiver's side.

    Args:
        channel: to the sender.
        at: n > 0 distinct points, whose digests are uniform to whoever does not know the items.
        correlation: ``table_rows(n)`` VOLEs, made for the same `security`, that nothing else has used.
        suite: of the malicious variant's hash.
        rng: this party's randomness.
        security: against which kind of peer.

    Returns:
        F of each point.

    Raises:
        UsageError: two equal points, or another number of VOLEs.
        EncodingFailed: with odds below 2^-40. Not retried here: parts of the table have gone out by then.
        PeerError, CheatingDetected: the sender broke the protocol.
    """
    malicious = security == "malicious"
    n = len(at)
    _check(len(correlation), n)
    commitment = channel.recv(wire.OprfCommitment)[0].commitment if malicious else b""  # 1
    seed, coin = rng.bytes(_BLOCK), rng.bytes(_BLOCK) if malicious else b""
    pairs = okvs.arrange(at.keys, at.values, n=n, seed=seed)
    del at  # where the caller keeps none either, memory for the rest
    randomness = rng.uint8(32)
    height = table_rows(n) // pairs.bins
    for bins in range(0, pairs.bins, _BINS):
        piece = okvs.encode_bins(pairs, bins, min(bins + _BINS, pairs.bins), randomness=randomness)  # 2: P
        first = bins * height
        words = piece.view(np.uint64)
        np.bitwise_xor(words, correlation.a[first : first + len(piece)].view(np.uint64), out=words)
        head = wire.OprfTable(seed=seed, coin=coin) if bins == 0 else wire.OprfTable(first=first)
        channel.send(head, piece)  # 3
    wipe(randomness)
    outputs = np.zeros_like(pairs.keys)
    okvs.decode_bins(pairs, 0, pairs.bins, parts=correlation.c, out=outputs)  # 5
    if not malicious:
        blocks.hash_under(pairs.keys, outputs)
        return Outputs(pairs.rows, outputs)
    opening = channel.recv(wire.OprfOpening)[0].opening  # 4
    channel.require(
        len(opening) == _OPENING and _committed(opening, suite) == commitment,
        "the coin that was committed to",
        cheating=True,
    )
    _hash(outputs, pairs.keys, pairs.values, _offset(coin, opening), suite)
    return Outputs(pairs.rows, outputs)


def send(
    channel: Channel,
    at: Points,
    correlation: VoleSender,
    *,
    peer_items: int,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
) -> Outputs:
    """The sender's side; errors as for `receive`.

    Args:
        channel: to the receiver.
        at: k points, made as the receiver makes its own.
        correlation: ``table_rows(peer_items)`` VOLEs, the other side's of the receiver's. Its `b` is overwritten.
        peer_items: how many points the receiver has, at least 1.
        suite: of the malicious variant's hash.
        rng: this party's randomness.
        security: against which kind of peer.

    Returns:
        F of each point.
    """
    malicious = security == "malicious"
    _check(len(correlation), peer_items)
    opening = rng.bytes(_OPENING) if malicious else b""
    if malicious:
        channel.send(wire.OprfCommitment(commitment=_committed(opening, suite)))  # 1
    bins = okvs.shape(peer_items).bins
    height = table_rows(peer_items) // bins
    header, piece = channel.recv(wire.OprfTable)  # 3
    channel.require(len(header.seed) == _BLOCK, "a seed of 16 bytes")
    channel.require(len(header.coin) == (_BLOCK if malicious else 0), "a coin where one belongs")
    offset = _offset(header.coin, opening) if malicious else None
    pairs = okvs.arrange(at.keys, at.values, n=peer_items, seed=header.seed)
    del at
    outputs = np.zeros_like(pairs.keys)
    done = 0
    while True:
        first, stop = done, done + len(piece) // height
        in_order = header.first == first * height and stop > first and len(piece) % height == 0 and stop <= bins
        channel.require(in_order, f"whole bins of {height} rows in order, {bins} altogether")
        parts = correlation.b[first * height : stop * height]
        gf128.scale_into(correlation.delta, piece, parts)  # B + Δ·(A − P)
        within = pairs.within(first, stop)
        okvs.decode_bins(pairs, first, stop, parts=parts, out=outputs)  # 5
        gf128.scale_into(correlation.delta, pairs.values[within], outputs[within])
        if offset is not None:
            _hash(outputs[within], pairs.keys[within], pairs.values[within], offset, suite)
        else:
            blocks.hash_under(pairs.keys[within], outputs[within])
        done = stop
        if done == bins:
            break
        header, piece = channel.recv(wire.OprfTable)
    if malicious:
        channel.send(wire.OprfOpening(opening=opening))  # 4
    return Outputs(pairs.rows, outputs)


def _check(correlations: int, items: int) -> None:
    """Whether there are as many VOLEs as the table has rows."""
    if correlations != table_rows(items):
        raise UsageError(f"{correlations} VOLEs for {items} points: give table_rows({items}) = {table_rows(items)}.")


def _hash(outputs: Bytes, keys: Bytes, values: Bytes, offset: Bytes, suite: Suite) -> None:
    """H°, malicious, in place: the first 16 bytes of the suite's hash of value + w and digest."""
    words, w = outputs.view(np.uint64), offset.view(np.uint64)
    room = np.empty((min(len(outputs), _BATCH), 6), dtype=np.uint64)
    for start in range(0, len(outputs), _BATCH):
        rows = slice(start, min(start + _BATCH, len(outputs)))
        hashed = room[: rows.stop - start]
        for column in range(2):  # numpy is slow along rows as short as these
            np.bitwise_xor(words[rows, column], w[column], out=hashed[:, column])
            hashed[:, 2 + column] = keys.view(np.uint64)[rows, column]
            hashed[:, 4 + column] = values.view(np.uint64)[rows, column]
        digests = hashes.rows(suite.digest, _OUTPUT, hashed.view(np.uint8)).view(np.uint64)
        for column in range(2):
            words[rows, column] = digests[:, column]


def _offset(coin: bytes, opening: bytes) -> Bytes:
    """w: the receiver's coin and the sender's, added."""
    return np.frombuffer(coin, np.uint8) ^ np.frombuffer(opening, np.uint8, count=_BLOCK)


def _committed(opening: bytes, suite: Suite) -> bytes:
    digest: Bytes = hashes.batch(suite.digest, _COMMITMENT, pack([opening]))[0]
    return digest.tobytes()
