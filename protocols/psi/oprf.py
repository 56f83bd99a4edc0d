"""Batched oblivious PRF from a key-value store and VOLE [Raghuraman, Rindal 2022; malicious: Rindal, Schoppmann 2021].

The receiver has F at its n items and the sender has F wherever it likes, without either learning the other's items.
With H(x) the value half of item x's digest and row(x) the store's linear map under the key half:

    P      the store with Decode(P, x) = H(x) for each of the receiver's items
    C      = A·Δ + B in GF(2^128): the receiver holds A and C, the sender Δ and B
    F(y)   = H°(Decode(B + Δ·(A − P), y) − Δ·H(y), y), which on the receiver's items is H°(Decode(C, x), x):
             what is under H° is Decode(C, y) + Δ·(Decode(P, y) − H(y))

Security: semi-honest; LPN (the VOLE's), H° correlation robust: TMMO under fixed-key AES with the item's key half for the
          tweak [Guo, Katz, Wang, Yu 2020]. "malicious": against a malicious sender the receiver's items stay hidden and
          its outputs are those of one function F; a malicious receiver learns F at no more points than a store can be
          made to hold (`most_items`), which is more than n. H° is then the suite's hash of offset value and digest, a
          random oracle, under an offset that both parties toss.
Leaks:    to the sender |X|, to the receiver nothing.
Cost:     16·size(n) bytes from the receiver, that is about 1.35 · 16 bytes per item at 2^20; 64 bytes of openings in the
          malicious variant; the VOLE's. Half a round besides the VOLE's, 1 in the malicious variant.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import blocks, gf128, okvs
from mpc.kernels import hash as hashes
from mpc.kernels.packing import pack
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.psi.v1 import oprf_pb2 as wire
from protocols.ot import VoleReceiver, VoleSender, vole

Bytes = NDArray[np.uint8]
Security = Literal["semi-honest", "malicious"]

DIGEST_BYTES = 32
"""Width of an item's digest: a key half of 16 bytes and a value half of 16."""

_BLOCK = 16
_PIECE = 1 << 17  # rows of the table in a message, 2 MiB
_BATCH = 1 << 15  # rows whose temporaries stay in the cache
_OUTPUT = b"unseen psi.oprf v1 output".ljust(64, b"\x00")  # one block of every hash, which is hashed only once
_COMMITMENT = b"unseen psi.oprf v1 commitment\x00"


def table_rows(items: int) -> int:
    """How many rows the table for so many items has, and how many VOLEs one run takes."""
    return okvs.size(items)


def most_items(items: int, *, queries_log2: float = 80) -> int:
    """How many points a malicious receiver, who claims `items`, can make its table hold: 2.6 · items at 2^20.

    Of Q points at which it evaluates the random oracle, N points can be held at once with odds of at most
    C(Q, N) · 2^(-128 · (N − m)): m rows of 128 bits satisfy m conditions by choice, and each other one by luck. The bound
    is the N at which (eQ / N)^N · 2^(-128 · (N − m)) falls below 2^-40, after a union over Q seeds of the store.

    Args:
        items: what the receiver claims.
        queries_log2: log2 of Q, at most 120.
    """
    if not 0 <= queries_log2 <= 120:
        raise UsageError("queries_log2 is from 0 to 120: above, the bound says nothing.")
    m = table_rows(items)
    most = m
    while True:  # N stands on both sides of the inequality
        each = max(queries_log2 + math.log2(math.e / max(most, 1)), 0)
        bound = math.ceil((128 * m + queries_log2 + 40) / (128 - each))
        if bound <= most:
            return most
        most = bound


def receive(
    channel: Channel,
    digests: Bytes,
    correlation: VoleReceiver | None = None,
    *,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
) -> Bytes:
    """The receiver's side.

    Args:
        channel: to the sender.
        digests: (n, 32) uint8, distinct, uniform to whoever does not know the items; n > 0.
        correlation: ``table_rows(n)`` VOLEs that nothing else has used; made here where there are none.
        suite: of the base transfers and of the malicious variant's hash.
        rng: the store's seed and free rows.
        security: against which kind of peer.

    Returns:
        (n, 16) uint8: F of each item.

    Raises:
        UsageError: two equal digests.
        PeerError, CheatingDetected: the sender broke the protocol.
    """
    n, m = len(digests), table_rows(len(digests))
    commitment = channel.recv(wire.OprfCommitment)[0].commitment if security == "malicious" else b""
    if correlation is None:
        correlation = vole.receive(channel, m, suite=suite, rng=rng, security=security)
    keys, values = _halves(digests)
    seed = rng.uint8(_BLOCK)
    table = okvs.encode(keys, values, seed=seed, rng=rng)  # P
    _add(table, correlation.a)
    mine = rng.bytes(_BLOCK) if security == "malicious" else b""
    for first in range(0, m, _PIECE):
        head = {"seed": seed.tobytes(), "coin": mine} if first == 0 else {}
        channel.send(wire.OprfTable(first=first, **head), table[first : first + _PIECE])
    del table
    outputs = okvs.decode(keys, correlation.c, n=n, seed=seed)
    if security == "semi-honest":
        _robust(outputs, keys)
        return outputs
    (opened,) = channel.recv(wire.OprfOpening)
    channel.require(
        len(opened.opening) == 2 * _BLOCK and _commit(opened.opening, suite) == commitment,
        "the coin that was committed to",
        cheating=True,
    )
    return _oracle(outputs, digests, _offset(mine, opened.opening), suite)


def send(
    channel: Channel,
    digests: Bytes,
    correlation: VoleSender | None = None,
    *,
    peer_items: int,
    suite: Suite,
    rng: Rng,
    security: Security = "semi-honest",
) -> Bytes:
    """The sender's side; errors as for `receive`.

    Args:
        channel: to the receiver.
        digests: (k, 32) uint8, where F is wanted, made as the receiver makes its own.
        correlation: ``table_rows(peer_items)`` VOLEs; made here where there are none. Its `b` is overwritten.
        peer_items: how many items the receiver claims; at least 1.
        suite: of the base transfers and of the malicious variant's hash.
        rng: this party's randomness.
        security: against which kind of peer.

    Returns:
        (k, 16) uint8: F of each item.
    """
    m = table_rows(peer_items)
    opening = b""
    if security == "malicious":
        opening = rng.bytes(2 * _BLOCK)
        channel.send(wire.OprfCommitment(commitment=_commit(opening, suite)))
    if correlation is None:
        correlation = vole.send(channel, m, suite=suite, rng=rng, security=security)
    delta, table = correlation.delta, correlation.b
    seed, theirs = b"", b""
    done = 0
    while done < m:
        header, piece = channel.recv(wire.OprfTable)
        channel.require(header.first == done and 0 < len(piece) <= m - done, f"the table's {m} rows in order")
        if done == 0:
            seed, theirs = header.seed, header.coin
            channel.require(len(seed) == _BLOCK, "a seed of 16 bytes")
            channel.require(len(theirs) == (_BLOCK if security == "malicious" else 0), "a coin where one belongs")
        rows = table[done : done + len(piece)]
        rows[:] = gf128.scale_add(delta, piece, rows)  # B + Δ·(A − P)
        done += len(piece)
    if security == "malicious":
        channel.send(wire.OprfOpening(opening=opening))
    keys, values = _halves(digests)
    outputs = okvs.decode(keys, table, n=peer_items, seed=np.frombuffer(seed, dtype=np.uint8))
    _add(outputs, gf128.scale(delta, values))
    if security == "semi-honest":
        _robust(outputs, keys)
        return outputs
    return _oracle(outputs, digests, _offset(theirs, opening), suite)


def _halves(digests: Bytes) -> tuple[Bytes, Bytes]:
    """(n, 32) digests as (n, 16) keys and (n, 16) values H(x)."""
    if digests.ndim != 2 or digests.shape[1] != DIGEST_BYTES or digests.dtype != np.uint8:
        raise UsageError(f"digests is {digests.dtype} of shape {digests.shape}; give (n, {DIGEST_BYTES}) uint8.")
    return np.ascontiguousarray(digests[:, :_BLOCK]), np.ascontiguousarray(digests[:, _BLOCK:])


def _add(into: Bytes, other: Bytes) -> None:
    """In GF(2^128), in place: addition and subtraction are one."""
    words = into.view(np.uint64)
    np.bitwise_xor(words, other.view(np.uint64), out=words)


def _robust(outputs: Bytes, keys: Bytes) -> None:
    """H°, semi-honest, in place: π(π(v) ⊕ key) ⊕ π(v)."""
    for start in range(0, len(outputs), _BATCH):
        v = blocks.fixed(outputs[start : start + _BATCH])
        w = v.copy()
        _add(w, keys[start : start + _BATCH])
        w = blocks.fixed(w)
        _add(w, v)
        outputs[start : start + _BATCH] = w


def _oracle(values: Bytes, digests: Bytes, offset: Bytes, suite: Suite) -> Bytes:
    """H°, malicious: the first 16 bytes of the suite's hash of value + w and digest."""
    outputs = np.empty_like(values)
    for start in range(0, len(values), _BATCH):
        stop = start + _BATCH
        rows = np.concatenate([values[start:stop] ^ offset, digests[start:stop]], axis=1)
        outputs[start:stop] = hashes.rows(suite.digest, _OUTPUT, rows)[:, :_BLOCK]
    return outputs


def _offset(theirs: bytes, opening: bytes) -> Bytes:
    """w: the receiver's coin and the sender's, added."""
    return np.frombuffer(theirs, np.uint8) ^ np.frombuffer(opening, np.uint8, count=_BLOCK)


def _commit(opening: bytes, suite: Suite) -> bytes:
    return hashes.batch(suite.digest, _COMMITMENT, pack([opening]))[0].tobytes()
