"""Matrix times vector between two parties by ring LWE with packed coefficients [Huang, Lu, Hong, Ding 2022, Cheetah].

One party holds the matrix A, (m, n), the other V, p vectors, (n, p). They end with additive shares modulo 2^64 of A·V.
Blocks of A of a × g entries and of V of g × k, a·g·k = N = 8192, are the coefficients of one polynomial each:

    A:  Σ A[r, c]·X^(r·g + g-1-c)        V:  Σ V[c, j]·X^(j·a·g + c)

and the product modulo X^N + 1 has (A·V)[r, j] as the coefficient of X^(j·a·g + r·g + g-1). Other products of entries
fall between: they meet there only where r = r' and c = c', and what passes X^N comes back below X^(g-1). For a short
vector g is small, up to one entry to a ciphertext, and a column of A a polynomial; for a long one a is small, and a
stretch of a row is. (a, g, k) are the powers of two for which the fewest bytes are sent.

    1  the vectors' owner sends an encryption of zero z and encryptions of the blocks of V, under its own key
    2  the holder sends for each pair (block of rows, block of vectors)  Σ_i A_i·ct_i + u·z + (mask + flooding, e)
    3  the owner decrypts: its share is A·V + mask, the holder's is -mask

Security: semi-honest. The holder sees ring LWE encryptions (N = 8192, ternary secret, log2 q = 186 or 212: 128 bits,
          docs/protocols/matvec.md). The owner, who has the key s, sees of each reply the a side a', and the wanted
          coefficients of the b side b', which are phase - a'·s with the phase b' + a'·s = (q / 2^64)·(A·V + mask) +
          noise.
          - The a side is Σ A_i·a_i + u·z_a + e with a fresh ternary u and a fresh error e: under ring LWE with the
            secret u it looks uniform, whatever A is. Without it a' would give A away, since the owner knows the a_i.
          - The phase's noise holds A·e_i + u·e_z + e·s; the flooding, uniform and at least 2^50 times larger but for
            odds of 2^-71, hides it, and with it what the phase would say of u: each coefficient is within 2^-51 of
            one that does not depend on A or u, all of the 2^18 of some large product together within 2^-33. The mask,
            uniform modulo 2^64, hides A·V.
          - So a reply is made from the owner's share alone by drawing a' at random, and b' from share, flooding and
            a'·s. The scaling to 80 bits comes after mask and flooding, and adds nothing.
          An owner who sends something else than encryptions under its key, or than an honest z, is outside the model.
Leaks:    to each m, n, p, and the bound on entries that both name ("bits").
Cost:     with L primes, 3 or 4: L·64 KiB for z and for each block of V from the owner, 10 bytes for each of N + N/g
          coefficients of each reply, and below 120 bytes of envelope for each message: a query, ceil(n / g)·ceil(p /
          k) / 32 messages of blocks (rounded up for each group), and one message for 8 blocks of rows and up to 8 of
          vectors. One round: replies are on their way while the blocks are.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import ring, rlwe, wipe
from mpc.kernels.rlwe import WORD, N, Primes, Shape
from mpc.rng import Rng
from mpc.wire.matvec.v1 import rlwe_pb2 as wire
from protocols.matvec.both_ways import both_ways

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64] | NDArray[np.int32]

MAX_LENGTH = 1 << 32
"""Most rows, columns and vectors."""
KEPT_BYTES = 96 << 20
"""A direction of a matrix whose transforms together are larger does not keep them: each run makes them anew."""

Method = Literal["rlwe", "paillier"]

_TERMS = 32  # blocks of a vector in one sum; longer vectors are cut, and the parts' products added up
_ROWS = 8  # blocks of rows in a message of replies
_MADE = 128  # transforms that are made at a time where they are not kept
_SLICE = 1 << 16  # rows that a local product takes at a time
_GROUP = 8  # blocks of vectors at a time
_PRIMES: tuple[Primes, ...] = ("narrow", "wide")


@dataclass(frozen=True, eq=False)
class Key:
    """The vectors' owner's secret key; serves for any number of runs with any holders.

    Attributes:
        secret: (32,) uint8.
    """

    secret: Bytes = field(repr=False)

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # Where the interpreter ends the native core may find numpy no more, and this module its own names.
        if not ending():
            wipe(self.secret)


def key(rng: Rng) -> Key:
    """A new key."""
    return Key(rng.uint8(rlwe.SEED_BYTES))


@dataclass(frozen=True)
class Plan:
    """How a product (m, n) @ (n, p) is cut into polynomials.

    Attributes:
        m, n, p: the sizes.
        rows, length, vectors: a, g and k, powers of two whose product is N.
        primes: the set of primes.
    """

    m: int
    n: int
    p: int
    rows: int
    length: int
    vectors: int
    primes: Primes

    @property
    def row_blocks(self) -> int:
        """Blocks that the rows make."""
        return -(-self.m // self.rows)

    @property
    def terms(self) -> int:
        """Blocks that a vector makes."""
        return -(-self.n // self.length)

    @property
    def vector_blocks(self) -> int:
        """Blocks that the vectors make."""
        return -(-self.p // self.vectors)

    def stretches(self) -> Iterator[slice]:
        """Pieces of the blocks of a vector, each of which makes a sum of its own."""
        return _pieces(self.terms, _TERMS)

    def groups(self) -> Iterator[slice]:
        """Pieces of the blocks of vectors that are dealt with at a time."""
        return _pieces(self.vector_blocks, max(1, min(_GROUP, _TERMS // self.terms)))

    def row_pieces(self) -> Iterator[slice]:
        """Pieces of the blocks of rows, each of which makes a message."""
        return _pieces(self.row_blocks, _ROWS)

    def cost_bytes(self) -> int:
        """Bytes of both directions without envelopes, but for the encryption of zero and public seeds."""
        primes = len(rlwe.moduli(self.primes))
        upwards = self.terms * self.vector_blocks * primes * N * 8
        replies = self.row_blocks * self.vector_blocks * -(-self.terms // _TERMS)
        return upwards + replies * (N + N // self.length) * rlwe.REPLY_BYTES


def plan(m: int, n: int, p: int, *, bits: int) -> Plan:
    """The cheapest plan for (m, n) @ (n, p), all at least 1, with entries of `bits` bits. A function of these alone."""
    primes = _primes(n, bits)
    sizes = [1 << i for i in range(N.bit_length())]
    plans = [
        Plan(m, n, p, N // (g * k), g, k, primes)
        for g in sizes
        for k in sizes
        if g * k <= N and (g == 1 or g < 2 * n) and (k == 1 or k < 2 * p)
    ]
    return min(plans, key=lambda plan: (plan.cost_bytes(), plan.row_blocks * plan.vector_blocks))


def _primes(n: int, bits: int) -> Primes:
    """The smallest set of primes whose flooding hides the noise of any plan."""
    if not 2 <= bits <= 64:
        raise UsageError(f"Entries of {bits} bits: give 2 to 64, the sign included.")
    terms = min(n, _TERMS)
    for primes in _PRIMES:
        if rlwe.flooding_bits(primes, WORD, bits=bits, terms=terms, products=terms * N) >= rlwe.FLOODING_BITS:
            return primes
    raise AssertionError("the wide set floods whatever _TERMS polynomials make")  # pragma: no cover


class Source(Protocol):
    """Where the blocks of a matrix come from: ``Prepared``, or what makes them as a run goes on and keeps none."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def bits(self) -> int:
        """Bits of a signed entry, as both parties know them."""

    def forms(self, plan: Plan, rows: slice, terms: slice, *, transpose: bool) -> Words:
        """The transforms of some blocks: (blocks of rows, terms, primes, N) uint64."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A matrix whose products will be shared; unless it is large, also the transforms that runs have needed so far.

    Attributes:
        matrix: (rows, cols) int64, or int32 where entries are that small.
        bits: bits of a signed entry, as both parties know them.
        method: how ``protocols.matvec`` will multiply it.
    """

    matrix: Integers = field(repr=False)
    bits: int
    method: Method = "rlwe"
    _forms: dict[tuple[Any, ...], Words] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.matrix.shape
        return rows, cols

    def words(self) -> Words:
        """The matrix modulo 2^64: (rows, cols) uint64."""
        return self.matrix.astype(np.int64, copy=False).view(np.uint64)

    def times(self, v: Words, sums: Words, *, transpose: bool = False) -> None:
        """Add M·V, or Mᵀ·V, modulo 2^64 to `sums`, (m, p); V is (n, p)."""
        for rows in _pieces(len(self.matrix), _SLICE):
            words = self.matrix[rows].astype(np.int64, copy=False).view(np.uint64)
            if transpose:
                ring.matmul(words.T, v[rows], sums)
            else:
                ring.matmul(words, v, sums[rows])

    def keeps(self, plan: Plan) -> bool:
        """Whether the transforms of a direction are kept."""
        return plan.row_blocks * plan.terms * len(rlwe.moduli(plan.primes)) * N * 8 <= KEPT_BYTES

    def forms(self, plan: Plan, rows: slice, terms: slice, *, transpose: bool) -> Words:
        """The transforms of some blocks: (blocks of rows, terms, primes, N) uint64."""
        place = (transpose, plan.rows, plan.length, plan.primes, rows.start, terms.start)
        with self._lock:
            kept = self._forms.get(place)
        if kept is None:
            matrix = self.matrix.T if transpose else self.matrix
            kept = rlwe.lift(polynomials(matrix, plan, rows, terms), primes=plan.primes, plain=WORD)
            if self.keeps(plan):
                with self._lock:
                    self._forms[place] = kept
        return kept


def prepare(matrix: Integers | Words, *, bits: int = 64, method: Method = "rlwe") -> Prepared:
    """Take in a matrix. What a run needs of it is made in the first run of each direction, and kept.

    What is kept takes 24 bytes an entry and direction, 32 above 53 bits. Of a matrix for which that is more than
    ``KEPT_BYTES`` nothing is kept; each run makes what it needs anew, some at a time, in about twice the time.

    Args:
        matrix: (rows, cols), int64, int32 or uint64, taken modulo 2^64. Must not change afterwards. Held in 4 bytes an
            entry where all fit.
        bits: entries are from -2^(bits-1) to 2^(bits-1) - 1. The peer is to give the same. Up to 53 bits, ciphertexts
            of method rlwe are a quarter smaller.
        method: how ``protocols.matvec`` will multiply it. The owner's key has to be for the same.

    Raises:
        UsageError: no matrix, an entry beyond the bound, or a method that there is not.
    """
    if matrix.ndim != 2 or matrix.dtype not in (np.int64, np.int32, np.uint64):
        raise UsageError(f"The matrix is {matrix.dtype} of shape {matrix.shape}; give (rows, cols) int64 or uint64.")
    _primes(1, bits)
    if method not in ("rlwe", "paillier"):
        raise UsageError(f"There is no method {method!r}; choose rlwe or paillier.")
    signed = cast("Integers", matrix if matrix.dtype == np.int32 else matrix.view(np.int64))
    low, high = (int(signed.min()), int(signed.max())) if signed.size else (0, 0)
    if not -(1 << (bits - 1)) <= low <= high < 1 << (bits - 1):
        raise UsageError(f"Entries are beyond {bits} bits: scale the matrix down, or name more bits at both parties.")
    if -(1 << 31) <= low <= high < 1 << 31:
        signed = signed.astype(np.int32, copy=False)
    return Prepared(signed, bits, method)


def holder(
    channel: Channel,
    prepared: Prepared,
    *,
    transpose: bool = False,
    vectors: int | None = None,
    mine: Words | None = None,
    rng: Rng,
) -> Words:
    """As ``protocols.matvec.holder``."""
    rows, cols = prepared.shape
    m, n, p = (cols, rows, vectors) if transpose else (rows, cols, vectors)
    shape_in, shape_out = ((n,), (m,)) if p is None else ((n, p), (m, p))
    if mine is not None and (mine.shape != shape_in or mine.dtype != np.uint64):
        raise UsageError(f"mine is {mine.dtype} of shape {mine.shape}; give {shape_in} uint64.")
    _require_sizes(rows, cols, vectors)
    share = np.zeros((m, 1 if p is None else p), dtype=np.uint64)
    if m and n and share.size:
        of = plan(m, n, share.shape[1], bits=prepared.bits)
        # Replies to two blocks, at least, are made at once by as many threads.
        some = _ROWS if prepared.keeps(of) else max(2, _MADE // min(of.terms, _TERMS))
        respond(channel, prepared, of, share, transpose=transpose, at_a_time=some, rng=rng)
    if mine is not None:
        prepared.times(mine[:, None] if p is None else mine, share, transpose=transpose)
    return share.reshape(shape_out)


def vector(
    channel: Channel,
    v: Words,
    *,
    rows: int,
    cols: int,
    transpose: bool = False,
    bits: int = 64,
    key: Key,
    rng: Rng,
) -> Words:
    """As ``protocols.matvec.vector``."""
    n, m = (rows, cols) if transpose else (cols, rows)
    if v.dtype != np.uint64 or v.ndim not in (1, 2) or v.shape[0] != n:
        raise UsageError(f"v is {v.dtype} of shape {v.shape}; give ({n},) or ({n}, vectors) uint64.")
    _require_sizes(rows, cols, v.size // n if n else 1)
    columns = v.reshape(n, -1) if v.size else np.zeros((n, 0 if v.ndim == 2 else 1), dtype=np.uint64)
    p = v.shape[1] if v.ndim == 2 else 1
    share = np.zeros((m, p), dtype=np.uint64)
    if share.size and n:
        header = wire.MatvecQuery(rows=rows, cols=cols, transpose=transpose, vectors=p, bits=bits)
        _ask(channel, header, plan(m, n, p, bits=bits), columns, share, key=key, rng=rng)
    return share if v.ndim == 2 else share[:, 0].copy()


def _ask(channel: Channel, header: wire.MatvecQuery, plan: Plan, v: Words, share: Words, *, key: Key, rng: Rng) -> None:
    """Send the blocks of V, and add what comes back to `share`."""
    primes, sending = plan.primes, rng.fork()

    def seal(polynomials: Words) -> tuple[Bytes, Words]:
        public, seed = sending.uint8(rlwe.PUBLIC_SEED_BYTES), sending.uint8(rlwe.SEED_BYTES)
        b = rlwe.encrypt(polynomials, primes=primes, plain=WORD, key=key.secret, seed=seed, public=public)
        wipe(seed)
        return public, b

    def send() -> None:
        public, zero = seal(np.zeros((1, N), dtype=np.uint64))
        channel.send(header, public, zero[0])  # 1
        for group in plan.groups():
            for terms in plan.stretches():
                polynomials = _vector_polynomials(v, plan, group, terms)
                public, b = seal(polynomials.reshape(-1, N))
                channel.send(wire.MatvecBlocks(), public, b.reshape(*polynomials.shape[:2], -1, N))  # 1

    def receive() -> None:
        size = Shape(1, 1, 1, 1, plan.length).reply_bytes
        for group in plan.groups():
            for _ in plan.stretches():
                for rows in plan.row_pieces():
                    _, replies = channel.recv(wire.MatvecReplies)  # 2
                    expected = (group.stop - group.start, rows.stop - rows.start, size)
                    channel.require(replies.shape == expected, "a reply for each block of rows and of vectors")
                    opened = rlwe.decrypt(
                        replies.reshape(-1, size), stride=plan.length, primes=primes, plain=WORD, key=key.secret
                    )
                    _add(share, plan, group, rows, opened)  # 3

    both_ways(channel, send, receive)


def respond(
    channel: Channel,
    source: Source,
    plan: Plan,
    share: Words,
    *,
    transpose: bool,
    at_a_time: int = _ROWS,
    rng: Rng,
) -> None:
    """The holder's steps: answer the blocks of V, and take the masks from `share`, (m, p).

    At most so many blocks of rows are asked of `source` at a time, and at most so many are a message.
    """
    rows, cols = source.shape
    primes = plan.primes
    header, public, zero = channel.recv(wire.MatvecQuery)
    ours = (rows, cols, transpose, share.shape[1], source.bits)
    theirs = (header.rows, header.cols, header.transpose, header.vectors, header.bits)
    channel.require(theirs == ours, "the same sizes, direction and bits at both parties")
    zeros = (
        _ciphertexts(channel, zero, (len(rlwe.moduli(primes)), N), primes),
        rlwe.expand(public, 1, primes=primes)[0],
    )
    for group in plan.groups():
        for terms in plan.stretches():
            _, public, b = channel.recv(wire.MatvecBlocks)  # 1
            count = (group.stop - group.start, terms.stop - terms.start)
            _ciphertexts(channel, b, (*count, len(rlwe.moduli(primes)), N), primes)
            a = rlwe.expand(public, count[0] * count[1], primes=primes)
            for piece in plan.row_pieces():
                told = []
                for some in _pieces(piece.stop - piece.start, at_a_time):
                    part = slice(piece.start + some.start, piece.start + some.stop)
                    shape = Shape(1, count[0], part.stop - part.start, count[1], plan.length)
                    forms = source.forms(plan, part, terms, transpose=transpose)
                    seed = rng.uint8(rlwe.SEED_BYTES)
                    replies = rlwe.reply(shape, forms, (b, a), zeros, primes=primes, plain=WORD, seed=seed)
                    told.append(replies.reshape(shape.vectors, shape.rows, -1))
                    masks = rlwe.masks(shape, plain=WORD, seed=seed)
                    wipe(seed)
                    _add(share, plan, group, part, np.negative(masks))  # 3
                channel.send(wire.MatvecReplies(), told[0] if len(told) == 1 else np.concatenate(told, axis=1))  # 2


def _ciphertexts(channel: Channel, b: Words, shape: tuple[int, ...], primes: Primes) -> Words:
    """The b sides that the peer sent, checked."""
    channel.require(b.shape == shape, "as many ciphertexts as the sizes say")
    channel.require(rlwe.are_residues(b, primes=primes), "ciphertexts of residues")
    return b


def polynomials(matrix: Integers, plan: Plan, rows: slice, terms: slice) -> Words:
    """Blocks of the matrix as polynomials: (blocks of rows, terms, N) uint64."""
    a, g = plan.rows, plan.length
    r, t = rows.stop - rows.start, terms.stop - terms.start
    part = matrix[rows.start * a : rows.stop * a, terms.start * g : terms.stop * g]
    whole = np.zeros((r * a, t * g), dtype=np.int64)
    whole[: part.shape[0], : part.shape[1]] = part
    out = np.zeros((r, t, N), dtype=np.uint64)
    # The first a·g coefficients; a vector's block repeats this far from the next.
    places = out.reshape(r, t, plan.vectors, a, g)[:, :, 0, :, ::-1]
    places[:] = whole.view(np.uint64).reshape(r, a, t, g).transpose(0, 2, 1, 3)
    return out


def _vector_polynomials(v: Words, plan: Plan, group: slice, terms: slice) -> Words:
    """Blocks of the vectors as polynomials: (blocks of vectors, terms, N) uint64."""
    g, k = plan.length, plan.vectors
    j, t = group.stop - group.start, terms.stop - terms.start
    part = v[terms.start * g : terms.stop * g, group.start * k : group.stop * k]
    whole = np.zeros((t * g, j * k), dtype=np.uint64)
    whole[: part.shape[0], : part.shape[1]] = part
    out = np.zeros((j, t, k, N // k), dtype=np.uint64)
    out[:, :, :, :g] = whole.reshape(t, g, j, k).transpose(2, 0, 3, 1)
    return out.reshape(j, t, N)


def _add(share: Words, plan: Plan, group: slice, rows: slice, values: Words) -> None:
    """Add what some replies hold, (replies, N / length), where it belongs in the (m, p) share."""
    a, k = plan.rows, plan.vectors
    j, r = group.stop - group.start, rows.stop - rows.start
    block = values.reshape(j, r, k, a).transpose(1, 3, 0, 2).reshape(r * a, j * k)
    place = share[rows.start * a : rows.stop * a, group.start * k : group.stop * k]
    place += block[: place.shape[0], : place.shape[1]]


def _pieces(total: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def _require_sizes(rows: int, cols: int, vectors: int | None) -> None:
    sizes = (rows, cols, 1 if vectors is None else vectors)
    if not all(0 <= size <= MAX_LENGTH for size in sizes) or math.prod(sizes) >= 1 << 62:
        raise UsageError(f"{sizes} rows, columns and vectors: give up to {MAX_LENGTH} of each.")
