"""Sums by bin of another party's words: a static 0/1 matrix times many encrypted vectors, by module LWE with a hint.

Each *holder* has, for n rows, a bin in each of k columns. Its matrix M, (m, n), has a one where a row falls into a bin;
m counts the bins of all columns. The *owner* has vectors v, several at a time, of words modulo q = 2^32. For each they
end with additive shares modulo q of M·(v + e): of the histograms of v, but for small errors e that the owner knows.
The idea of a hint is that of SimplePIR [Henzinger, Hong, Corrigan-Gibbs, Meiklejohn, Vaikuntanathan, USENIX Security
2023] turned round: here the matrix's holder keeps it. Two figures say why: a vector costs one word an entry, and the
holder one addition for each row and column, whatever the number of bins.

    once    the holder computes its hint H = M·A, (m, 1536), of a public A, (n, 1536); all parties' nonces seed it
    1  owner:   fresh secrets s of 1536 bits; s are its choices in 1536 correlated transfers with each holder
    2  owner:   c = A·s + e + v, one for all holders, in pieces of rows
    3  holder:  for each coordinate j, with the transfer's two messages stretched to streams P_j0 and P_j1 of m words,
                tells  u_j = P_j0 - P_j1 + H_j
    4  owner:   its share is -Σ_j (P_j,s_j + s_j·u_j) = -(H·s + Σ_j P_j0)
       holder:  its share is M·c + Σ_j P_j0

    M·c + Σ_j P_j0 - H·s - Σ_j P_j0 = M·(A·s + e + v) - M·A·s = M·(v + e)

Shares of H·s may also come from ``protocols.matvec.rlwe`` (``method="rlwe"``), which for many vectors tells several
times fewer bytes and takes several times longer: for lines that are slow, and for wide data.

Security: semi-honest.
          - A holder sees c, module LWE samples with a binary secret (dimension 1536, log2 q = 32, deviation 3.24; by
            estimate above 128 bits, docs/decisions/0025-lwe.md) under a fresh s and e each, and the choices'
            corrections, which ``protocols.ot.extension`` hides. Nobody alone chooses A; the owner's nonce
            suffices for its own safety.
          - The owner sees u_j: of P_j0 and P_j1 it has the one that its choice names, and the other masks H_j. H never
            leaves its holder, nor does anything that depends on it but under these masks: with A known, H gives M away.
          - The owner picks e, so that the result is M·(v + e) whatever e is: nothing has to be flooded.
          - With "rlwe", s goes under the owner's ring LWE key, and shares of H·s are that protocol's, with its proof.
          The shares are uniform. What opening them tells is the caller's to state: M·(v + e) for known e, to the last
          bit, is m equations on M.
Leaks:    n, and the number w of vectors of each call, to all; m, to the owner. A holder's additions touch memory where
          its own data say, on its own machine; nothing of a secret of encryption does that.
Exact:    but for the errors: of a bin with r rows the sum is off by a deviation of sqrt(10.5·r) (``deviation``). Sums
          have to stay below 2^31 in size, errors included.
Cost:     start: a nonce each way and, for transfers, a set-up of ``protocols.ot.extension`` with k = 4. A call with w
          vectors: 4·n·w bytes from the owner to each holder and 4·1536·w of corrections; 4·1536·m·w bytes from a
          holder; below 110 bytes of envelope for each message; ``messages`` counts these. One round.
          With "rlwe" instead of corrections and offers those of ``protocols.matvec.rlwe`` for (m, 1536) @ (1536, w)
          and 32 bits, in a round of their own.
"""

from __future__ import annotations

import contextvars
import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import ChannelError, UsageError
from mpc.kernels import lwe as kernels
from mpc.kernels import wipe
from mpc.kernels.lwe import DIMENSION, RING, Codes
from mpc.rng import Rng
from mpc.suite import Suite
from mpc.wire.matvec.v1 import lwe_pb2 as wire
from protocols.matvec import rlwe
from protocols.matvec.both_ways import both_ways
from protocols.ot import extension
from protocols.ot.method import FieldBits

Method = Literal["transfers", "rlwe"]
"""How shares of the hint times the secrets are made: ``transfers`` takes the least work, ``rlwe`` the fewest bytes."""

Words = NDArray[np.uint32]
Bytes = NDArray[np.uint8]

MAX_ROWS = 1 << 28
"""Most rows."""
MAX_BINS = 1 << 18
"""Most bins of a holder, whose hint has 6 KiB for each."""
MAX_VECTORS = 1 << 12
"""Most vectors of one call."""

_LABEL = b"unseen matvec lwe v1 public seed"
_NONCE_BYTES = 16
_HINT_BITS = 32
_FIELD_BITS: FieldBits = 4  # there are few transfers and each is long: bytes decide
_ROWS_BYTES = 1 << 21  # of a message of rows
_OFFER_BYTES = 1 << 22  # of a message of offers, unless one vector has more
_OFFER_BINS = 512  # bins of a message of offers: 3 MiB for a vector


def deviation(rows: int) -> float:
    """The standard deviation of the error of a sum over so many rows, in units of a word."""
    return math.sqrt(kernels.VARIANCE * rows)


@dataclass(frozen=True, eq=False)
class _Hidden:
    """A hint, (1536, m), and the transfers that hide it."""

    hint: Words = field(repr=False)
    extension: extension.Sender = field(repr=False)


@dataclass(eq=False)
class Holder:
    """The matrix's end, once started: ``products`` for each call of the owner's.

    Attributes:
        bins: how many bins the columns have together, m.
        rows: n.
    """

    bins: int
    rows: int
    _channel: Channel = field(repr=False)
    _codes: Codes = field(repr=False)
    _sizes: tuple[int, ...] = field(repr=False)
    _hint: _Hidden | rlwe.Prepared = field(repr=False)
    _rng: Rng = field(repr=False)
    _transfers: int = 0

    def products(self, w: int) -> Words:
        """The holder's shares of M·(V + E).

        Args:
            w: how many vectors the owner gives.

        Returns:
            (m, w) uint32: with the owner's it adds up to the sums modulo 2^32.

        Raises:
            UsageError: no vectors, or too many.
            PeerError: the owner gives another number, or what is no step of this protocol.
        """
        _require_vectors(w)
        channel, share = self._channel, np.zeros((self.bins, w), dtype=np.uint32)
        (query,) = channel.recv(wire.LweQuery)
        channel.require(query.vectors == w, f"{w} vectors at both parties")

        def receive() -> None:
            for rows in _pieces(self.rows, w):
                _, words = channel.recv(wire.LweRows)  # 2
                channel.require(words.shape == (rows.stop - rows.start, w), "the rows of the piece that is due")
                kernels.add(self._codes[rows], words, self._sizes, share)

        if isinstance(self._hint, rlwe.Prepared):
            masks = -rlwe.holder(channel, self._hint, vectors=w, rng=self._rng).astype(np.uint32)
            receive()
        else:
            masks = self._offer(w, self._hint, receive)
        share += masks  # 4
        return share

    def _offer(self, w: int, hidden: _Hidden, receive: Callable[[], None]) -> Words:
        """Tell what hides the hint, while `receive` runs. Returns the masks, (m, w)."""
        channel, masks = self._channel, np.empty((self.bins, w), dtype=np.uint32)
        sent = extension.extend_send(channel, hidden.extension, DIMENSION * w, rng=self._rng)  # 1
        tweak, self._transfers = self._transfers, self._transfers + DIMENSION * w

        def send() -> None:
            for vectors, bins in _offers(self.bins, w):
                first, last = vectors.start * DIMENSION, vectors.stop * DIMENSION
                told, kept = kernels.offer(
                    sent.delta,
                    sent.k[first:last],
                    tweak=tweak + first,
                    hint=hidden.hint,
                    first=bins.start,
                    count=bins.stop - bins.start,
                )
                channel.send(wire.LweOffers(), told)  # 3
                masks[bins, vectors] = kept.T

        try:
            both_ways(channel, send, receive)
        finally:
            wipe(sent.k)
        return masks


@dataclass(eq=False)
class Owner:
    """The vectors' end, once started with all holders.

    Attributes:
        bins: by holder, how many bins its columns have together.
        rows: n.
    """

    bins: Mapping[str, int]
    rows: int
    _channels: Mapping[str, Channel] = field(repr=False)
    _blocks: Words = field(repr=False)
    _extensions: Mapping[str, extension.Receiver] = field(repr=False)
    _key: rlwe.Key | None = field(repr=False)
    _rng: Rng = field(repr=False)
    _transfers: int = 0

    def products(self, v: Words) -> dict[str, Words]:
        """The owner's shares of M·(V + E), with each holder.

        Args:
            v: (n, w) uint32, the vectors side by side; their sums over any bin stay below 2^31 in size. An encryption
                of them goes to every holder.

        Returns:
            By holder (m, w) uint32: with the holder's it adds up to the sums modulo 2^32.

        Raises:
            UsageError: `v` of another shape.
            PeerError: a holder sent what is no step of this protocol. The other conversations end too.
        """
        if getattr(v, "dtype", None) != np.uint32 or v.ndim != 2 or len(v) != self.rows:
            raise UsageError(f"Give the vectors side by side, ({self.rows}, w) uint32; signed words by .view.")
        w = v.shape[1]
        _require_vectors(w)
        packed = self._rng.uint8(w, DIMENSION // 8)
        bits = np.unpackbits(packed, axis=1, bitorder="little")
        seed = self._rng.uint8(kernels.SEED_BYTES)
        secrets = kernels.secrets(bits)
        for channel in self._channels.values():
            channel.send(wire.LweQuery(vectors=w))

        def send() -> None:
            for rows in _pieces(self.rows, w):
                blocks = self._blocks[rows.start // RING : -(-rows.stop // RING)]
                piece = np.ascontiguousarray(v[rows])
                c = kernels.encrypt(piece, blocks=blocks, secrets=secrets, seed=seed, first=rows.start)
                for channel in self._channels.values():
                    channel.send(wire.LweRows(), c)  # 2

        try:
            if self._key is not None:
                shares = self._ask(bits, self._key)
                _together(self._channels, [send])
            else:
                shares = self._choose(bits, send)
        finally:
            for secret in (packed, bits, seed, secrets.view(np.uint8)):
                wipe(secret)
        return shares

    def _choose(self, bits: Bytes, send: Callable[[], None]) -> dict[str, Words]:
        """Take what hides the hints, with the secrets for choices, while `send` runs. Returns the shares, (m, w)."""
        w, shares = len(bits), {}
        tweak, self._transfers = self._transfers, self._transfers + DIMENSION * w
        transfers = {
            name: extension.extend_receive(channel, self._extensions[name], bits.reshape(-1), rng=self._rng).t
            for name, channel in self._channels.items()
        }  # 1

        def receive(name: str) -> None:
            channel, m = self._channels[name], self.bins[name]
            shares[name] = np.empty((m, w), dtype=np.uint32)
            for vectors, bins in _offers(m, w):
                _, told = channel.recv(wire.LweOffers)  # 3
                channel.require(
                    told.shape == (vectors.stop - vectors.start, DIMENSION, bins.stop - bins.start),
                    "an offer for each coordinate of the vectors and bins that are due",
                )
                first, last = vectors.start * DIMENSION, vectors.stop * DIMENSION
                t = transfers[name][first:last]
                got = kernels.choose(t, bits[vectors], tweak=tweak + first, messages=told, bins=m, first=bins.start)
                shares[name][bins, vectors] = -got.T  # 4

        try:
            _together(self._channels, [send, *(partial(receive, name) for name in self._channels)])
        finally:
            for t in transfers.values():
                wipe(t)
        return {name: shares[name] for name in self._channels}

    def _ask(self, bits: Bytes, key: rlwe.Key) -> dict[str, Words]:
        """Have the hints multiplied by the encrypted secrets. Returns the shares, (m, w)."""
        shares: dict[str, Words] = {}
        s = np.ascontiguousarray(bits.T).astype(np.uint64)

        def ask(name: str, own: Rng) -> None:
            m = self.bins[name]
            got = rlwe.vector(self._channels[name], s, rows=m, cols=DIMENSION, bits=_HINT_BITS, key=key, rng=own)
            shares[name] = -got.astype(np.uint32)

        try:
            _together(self._channels, [partial(ask, name, self._rng.fork()) for name in self._channels])
        finally:
            wipe(s.view(np.uint8))
        return {name: shares[name] for name in self._channels}


def start_holder(
    channel: Channel,
    codes: Codes,
    sizes: Sequence[int],
    *,
    method: Method = "transfers",
    suite: Suite,
    rng: Rng,
) -> Holder:
    """Set up with the owner, as a matrix's holder. Takes one addition of 1536 words for each row and column.

    Args:
        channel: to the owner.
        codes: (n, k) uint8 or uint16, C-contiguous: the bin of each row in each column. Must not change afterwards.
        sizes: how many bins each column has.
        method: how shares of the hint times secrets are made; both name the same.
        suite: of the base transfers; both name the same.
        rng: this party's randomness.

    Raises:
        UsageError: other shapes, or a code that is not below its column's size.
        PeerError: the owner is about another number of rows, or sent what is no step of this protocol.
    """
    sizes = tuple(int(size) for size in sizes)
    n, m = len(codes), sum(sizes)
    if not sizes or not 1 <= n <= MAX_ROWS or m > MAX_BINS:
        raise UsageError(f"{n} rows and {m} bins: give 1 to {MAX_ROWS} rows, and columns of up to {MAX_BINS} bins.")
    kernels.sums(codes, np.empty((n, 0), dtype=np.uint32), sizes)
    _require_method(method)
    nonce = rng.uint8(_NONCE_BYTES)
    channel.send(wire.LweHolder(rows=n, bins=m, method=method), nonce)
    header, owner_nonce, nonces = channel.recv(wire.LweOwner)
    channel.require(header.rows == n, f"{n} rows at both parties")
    channel.require(nonce.tobytes() in {one.tobytes() for one in nonces}, "this holder's nonce among the holders'")
    public = _public_seed(owner_nonce, nonces)
    hint: _Hidden | rlwe.Prepared
    if method == "rlwe":
        rows = np.ascontiguousarray(kernels.hint(codes, sizes, public=public).T)
        hint = rlwe.prepare(rows.view(np.int32), bits=_HINT_BITS)
    else:
        sender = extension.start_send(channel, suite=suite, rng=rng, k=_FIELD_BITS)
        hint = _Hidden(kernels.hint(codes, sizes, public=public), sender)
    return Holder(m, n, channel, codes, sizes, hint, rng.fork())


def start_owner(
    channels: Mapping[str, Channel], n: int, *, method: Method = "transfers", suite: Suite, rng: Rng
) -> Owner:
    """Set up with every holder, as the vectors' owner.

    Args:
        channels: to each holder, by its name.
        n: how many rows the vectors have.
        method: how shares of the hints times secrets are made; all name the same.
        suite: of the base transfers; all name the same.
        rng: this party's randomness.

    Raises:
        UsageError: no holder, or no rows.
        PeerError: a holder is about another number of rows, or sent what is no step of this protocol.
    """
    if not channels or not 1 <= n <= MAX_ROWS:
        raise UsageError(f"{len(channels)} holders and {n} rows: give at least one holder and 1 to {MAX_ROWS} rows.")
    _require_method(method)
    bins, theirs = {}, []
    for name, channel in channels.items():
        header, one = channel.recv(wire.LweHolder)
        channel.require(header.rows == n, f"{n} rows at both parties")
        channel.require(header.method == method, f"{method} at both parties")
        channel.require(1 <= header.bins <= MAX_BINS, f"1 to {MAX_BINS} bins")
        bins[name] = int(header.bins)
        theirs.append(one)
    nonce, nonces = rng.uint8(_NONCE_BYTES), np.stack(theirs)
    extensions: dict[str, extension.Receiver] = {}

    def start(name: str, own: Rng) -> None:
        channels[name].send(wire.LweOwner(rows=n), nonce, nonces)
        if method == "transfers":
            extensions[name] = extension.start_receive(channels[name], suite=suite, rng=own, k=_FIELD_BITS)

    # Each with randomness of its own, so that a run can be repeated whatever the order of the threads.
    _together(channels, [partial(start, name, rng.fork()) for name in channels])
    blocks = kernels.expand(_public_seed(nonce, nonces), n)
    key = rlwe.key(rng) if method == "rlwe" else None
    return Owner(bins, n, dict(channels), blocks, extensions, key, rng.fork())


def _public_seed(owner: Bytes, holders: Bytes) -> Bytes:
    nonces = b"".join(sorted(one.tobytes() for one in holders))
    digest = hashlib.sha256(_LABEL + owner.tobytes() + nonces).digest()
    return np.frombuffer(digest[: kernels.PUBLIC_SEED_BYTES], dtype=np.uint8).copy()


def _require_method(method: Method) -> None:
    if method not in ("transfers", "rlwe"):
        raise UsageError(f"There is no method {method!r}; choose transfers or rlwe.")


def _require_vectors(w: int) -> None:
    if not 1 <= w <= MAX_VECTORS:
        raise UsageError(f"{w} vectors: give 1 to {MAX_VECTORS} in one call.")


def _pieces(n: int, w: int) -> Iterator[slice]:
    """Rows that go in one message: whole blocks but for the last."""
    size = max(RING, _ROWS_BYTES // (4 * w) // RING * RING)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _offers(m: int, w: int) -> Iterator[tuple[slice, slice]]:
    """Vectors and bins that go in one message of offers."""
    for start in range(0, m, _OFFER_BINS):
        bins = slice(start, min(start + _OFFER_BINS, m))
        some = max(1, _OFFER_BYTES // (4 * DIMENSION * (bins.stop - bins.start)))
        for first in range(0, w, some):
            yield slice(first, min(first + some, w)), bins


def messages(n: int, m: int, w: int) -> tuple[int, int]:
    """How many messages of a call go to a holder with m bins, and how many come back."""
    corrections = math.ceil(DIMENSION * w / extension.CHUNK)
    return 1 + corrections + len(list(_pieces(n, w))), len(list(_offers(m, w)))


def _together(channels: Mapping[str, Channel], tasks: Sequence[Callable[[], None]]) -> None:
    """Run all at once, each in a thread of its own. Whatever fails first ends all conversations, and is raised."""
    failures: list[BaseException] = []
    lock = threading.Lock()

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            with lock:
                failures.append(error)
            for channel in channels.values():
                channel.close("a product with another party broke off")

    with ThreadPoolExecutor(len(tasks)) as pool:
        for task in tasks:
            pool.submit(contextvars.copy_context().run, run, task)
    if failures:
        # A closed channel is a consequence where there is a cause.
        raise next((error for error in failures if not isinstance(error, ChannelError)), failures[0])
