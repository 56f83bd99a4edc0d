"""Shared arithmetic between two parties without a dealer: additive shares over Z_2^64, products by oblivious transfer.

    a = s + t     s at the first of the two parties, t at the second; bits by XOR
    s·t           a product of one's number with the other's: a transfer for each bit of one of them [Gilboa 1999];
                  many products, and those of matrices, by ring LWE (protocols.matvec)
    AND           one transfer in each direction gives the products of one random bit, which both choose by, with two
                  others, which both offer: triples [Beaver 1991] that need no message of their own
    [a < 0]       highest bits of s and t, and the carry of the rest: the millionaires' problem on 63 bits. Sixteen
                  leaves of four bits, each by a 1-out-of-16 transfer of "less" and "equal", and a tree of ANDs, of
                  which two at a time have the left operand in common [Rathee et al. 2020, CrypTFlow2]
    [a < b]       of small numbers the same on fewer bits; several public b by one choice among their tables

Security: semi-honest, either party; of protocols.ot, of a hash that is correlation-robust, and of protocols.matvec.
Exact:    what ``Engine`` calls exact; but products under encryption are wrong with odds of 2^-53 each (a series' are
          not: it is made modulo a prime that it does not reach, whose wrap the parties' highest bits tell).
Leaks:    nothing but shapes. A truncated value that opens also says to which side it was rounded, against shares that
          the party that learns it knows; an opened sum of both parties' inputs tells each the other's.
Cost:     for each value, the transfers and the bytes of both directions, and rounds; a round is a message of either
          party, sent at once. A transfer is 4 bytes with "softspoken", next to none with "silent".

                          transfers   bytes   rounds                       transfers   bytes   rounds
              negative           94   82.25        6        mul                  128     592        2
              is_zero            94   79.50        6        select_word            2   16.25        2
              and_ (bit)          2    0.50        1        bit_to_word            1   8.125        2
              to_bits           512  160.25        7        truncate               1   8.125        2
              from_bits          64     296        2        open                   0      16        1

          below of T bounds, up to four, and L = ceil((bits - drop) / 4) leaves takes 4 L + 2 T (L - 1) transfers,
          L / 2 + T (4 L + (3 (L - 1) - ceil(log2 L)) / 4) bytes and 2 + ceil(log2 L) rounds; more bounds several times.
          From ENCRYPTED products on mul takes 204 bytes a product, for whole blocks of 8192, and 0.2 MB more;
          matmul (n, m) @ (m, p) is as n·m·p products of mul, or as two of protocols.matvec.rlwe where that is less.
          fourier of K terms takes 2 K (out_bits + 9) transfers and a truncate; from ENCRYPTED_SERIES values on, for
          whole blocks of 8192, 48 K + 20 bytes and what a truncate takes, and 0.2 MB more, K up to 12.
          Comparisons and bits are padded to multiples of 64 values. input, sum_inputs, outward and truncate_local send
          nothing. An envelope is some 100 bytes a message. Set-up: one round, and for each direction, when it is first
          needed, the base transfers of protocols.ot.extension.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mpc import sharing
from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import prg, transfers
from mpc.rng import Rng
from mpc.session import Session
from mpc.suite import Suite
from mpc.wire.arithmetic.v1 import two_pb2 as wire
from protocols import matvec
from protocols.arithmetic import series
from protocols.arithmetic.engine import Array, Bits, Scheme, Words, check_window
from protocols.arithmetic.two_transfers import Received, Sent, Transfers
from protocols.matvec import elementwise, rlwe
from protocols.ot.method import Method

VERSION = 1

COMPARED = 1 << 14
"""Values that are compared at a time, whole groups. Fewer take more rounds, more take memory that is new each time."""

AT_A_TIME = 1 << 20
"""Transfers of a direction that other methods use at a time."""

ENCRYPTED = 1 << 11
"""From so many products on they are made under encryption, which takes whole blocks of ``elementwise.BLOCK``."""

ENCRYPTED_SERIES = 1 << 9
"""From so many values on a Fourier series is made under encryption."""

_GROUP = transfers.GROUP
_TOP = np.uint64(63)
_ONE = np.uint64(1)
_ZEROS = 1 << 19  # bytes of encryptions of zero and of envelopes in a product of matrices, about
_MASKS = b"unseen arithmetic two v1 "


def deal(values: Array, rng: Rng) -> tuple[Array, ...]:
    """Additive shares of words, or XOR shares of bits: (1, *S) for each of the two parties."""
    share = sharing.xor_share if values.dtype == np.bool_ else sharing.additive_share
    return tuple(share(values, 2, rng=rng)[:, None])


def combine(components: Sequence[Array]) -> Array:
    """The value of which both parties' components are given."""
    shares = np.concatenate(components)
    return sharing.xor_reconstruct(shares) if shares.dtype == np.bool_ else sharing.additive_reconstruct(shares)


SCHEME = Scheme("two-party", 2, 1, 2, deal, combine)


class TwoParty:
    """One party's end of it. Attributes and methods as ``Engine`` describes them.

    Args:
        session: of one of the two parties.
        compute: the names of the two, in the same order at both.
        suite: of the base transfers.
        method: how transfers are made; "softspoken" where bytes are cheap, "silent" on slow lines.

    Raises:
        UsageError: this party is none of the two.
        PeerError: the peer runs something else.
    """

    k = 1
    scheme = SCHEME

    def __init__(
        self,
        session: Session,
        compute: Sequence[str],
        *,
        suite: str | Suite = "intl",
        method: Method = "softspoken",
    ) -> None:
        names = tuple(compute)
        if len(names) != 2 or len(set(names)) != 2 or session.me not in names:
            raise UsageError(f"Two parties compute, {session.me} being one of them; got {names}.")
        (peer,) = (name for name in names if name != session.me)
        self._start(session.channel(peer), first=session.me == names[0], suite=suite, rng=session.rng, method=method)

    @classmethod
    def over(
        cls,
        channel: Channel,
        *,
        first: bool,
        suite: str | Suite = "intl",
        rng: Rng,
        method: Method = "softspoken",
    ) -> TwoParty:
        """The engine over a channel, for protocols that have no more than that.

        Args:
            channel: to the other party, to whom it belongs while the engine is in use.
            first: whether this party is the first of the two; the other says the opposite.
            suite: of the base transfers.
            rng: this party's randomness.
            method: how transfers are made.
        """
        engine = cls.__new__(cls)
        engine._start(channel, first=first, suite=suite, rng=rng, method=method)
        return engine

    def _start(self, channel: Channel, *, first: bool, suite: str | Suite, rng: Rng, method: Method) -> None:
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        if method not in ("softspoken", "silent"):
            raise UsageError(f"method is 'softspoken' or 'silent', not {method!r}.")
        self.me = channel.me
        self.compute = (channel.me, channel.peer) if first else (channel.peer, channel.me)
        self._channel = channel
        self._first = first
        self._rng = rng
        self._secret: matvec.Key | None = None
        self._steps = 0
        self._program = 0
        mine = rng.uint8(prg.KEY_BYTES[-1])
        header, theirs = channel.exchange(wire.TwoStart(version=VERSION, first=first, method=method), mine)
        channel.require(header.version == VERSION, f"version {VERSION} of two-party arithmetic")
        channel.require(header.first != first, "one party that is the first, and one that is not")
        channel.require(header.method == method, f"{method} transfers at both parties")
        keys = (mine, theirs) if first else (theirs, mine)
        common = hashlib.sha256(_MASKS + keys[0].tobytes() + keys[1].tobytes())
        # Of whatever one party gives, the other's share is a mask from the giver's key; the common one masks zeros.
        self._masks = {
            self.me: _Masks(mine),
            channel.peer: _Masks(theirs),
            "": _Masks(np.frombuffer(common.digest(), dtype=np.uint8)),
        }
        lane = hashlib.sha256(b"lane " + common.digest()).hexdigest()[:12]
        self._transfers = Transfers(
            channel, lane=f"two {lane}", first=first, suite=chosen, rng=rng.fork(), method=method
        )

    # Into shares and out of them

    def constant(self, public: Array) -> Array:  # noqa: D102
        held = np.ascontiguousarray(public) if self._first else np.zeros_like(public)
        return held.reshape(1, *np.shape(public)).copy()

    def input(self, values: Words | None, owner: str, shape: tuple[int, ...]) -> Words:  # noqa: D102
        return self._input(values, owner, shape, bits=False)

    def input_bits(self, values: Bits | None, owner: str, shape: tuple[int, ...]) -> Bits:  # noqa: D102
        return self._input(values, owner, shape, bits=True)

    def _input(self, values: Array | None, owner: str, shape: tuple[int, ...], *, bits: bool) -> Array:
        if owner not in self.compute:
            raise UsageError(f"{owner!r} is none of the computing parties {self.compute}.")
        self._note("input_bits" if bits else "input", shape, self.compute.index(owner))
        mask = self._masks[owner].take(math.prod(shape), bits=bits).reshape(1, *shape)
        if owner != self.me:
            return mask
        if values is None or values.shape != shape or values.dtype != (np.bool_ if bits else np.uint64):
            raise UsageError(f"{owner} gives an array {shape} of {'bool' if bits else 'uint64'}.")
        share: Array = values[None] ^ mask if bits else values[None] - mask
        return share

    def sum_inputs(self, values: Words) -> Words:  # noqa: D102
        self._note("sum_inputs", values.shape)
        return self._masked(np.array(values, order="C")[None])  # of one value, ascontiguousarray would make a row

    def outward(self, a: Array) -> Array:  # noqa: D102
        self._note("outward", a.shape, a.dtype == np.bool_)
        return self._masked(a)

    def _masked(self, a: Array) -> Array:
        """Shares of the same, to which a sharing of zero was added that is known to nobody else."""
        mask = self._masks[""].take(a.size, bits=a.dtype == np.bool_).reshape(a.shape)
        if a.dtype == np.bool_:
            return a ^ mask
        return a + mask if self._first else a - mask

    def open(self, a: Array, to: tuple[str, ...] | None = None) -> Array | None:  # noqa: D102
        return self._open(a, to, xor=a.dtype == np.bool_)

    def open_bits(self, a: Words, to: tuple[str, ...] | None = None) -> Words | None:  # noqa: D102
        return self._open(a, to, xor=True)

    def _open(self, a: Array, to: tuple[str, ...] | None, *, xor: bool) -> Array | None:
        names = self.compute if to is None else to
        if not set(names) <= set(self.compute):
            raise UsageError(f"Values open to computing parties, {self.compute}; for others there is outward.")
        learns = [name in names for name in self.compute]
        self._note("open", a.shape, a.dtype == np.bool_, xor, *learns)
        mine, theirs = self.me in names, self._channel.peer in names
        flat = a.reshape(-1)
        opened: Array = np.empty_like(flat)
        for part in _parts(len(flat), 1 << 18):
            piece = flat[part]
            packed = np.packbits(piece, bitorder="little") if a.dtype == np.bool_ else piece
            got = self._swap("open", packed if theirs else packed[:0], packed.nbytes if mine else 0)
            if mine:
                other = sharing.unpack(got, len(piece)) if a.dtype == np.bool_ else got.view(np.uint64)
                opened[part] = piece ^ other if xor else piece + other
        return opened.reshape(a.shape[1:]) if mine else None

    def piece(self, a: Words, to: str) -> Words | None:  # noqa: D102
        del to  # both hold one in any case
        own: Words = a[0].copy()
        return own

    # Products of words

    def mul(self, a: Words, b: Words) -> Words:  # noqa: D102
        self._note("mul", a.shape)
        _require_same(a, b)
        product: Words = a * b
        x, y = a.reshape(-1), b.reshape(-1)
        if len(x) < ENCRYPTED:
            crossed = self._two_products("mul", x, y, bits=64)
        else:
            crossed = self._encrypted((x, y) if self._first else (y, x))
        return product + crossed.reshape(a.shape)

    def matmul(self, a: Words, b: Words) -> Words:  # noqa: D102
        (_, n, m), (_, other, p) = a.shape, b.shape
        if m != other:
            raise UsageError(f"({n}, {m}) @ ({other}, {p}) are no matrices that can be multiplied.")
        self._note("matmul", (n, m, p))
        product: Words = np.matmul(a, b)
        if product.size and m:
            x, y = np.ascontiguousarray(a[0]), np.ascontiguousarray(b[0])
            plans = rlwe.plan(n, m, p, bits=64), rlwe.plan(p, m, n, bits=64)
            size = 2 * min(plan.cost_bytes() for plan in plans) + _ZEROS
            if size > n * m * p * 2 * (4 * 64 + transfers.product_bytes(64)):
                product[0] += self._multiplied(x, y)
            elif plans[0].cost_bytes() <= plans[1].cost_bytes():
                product[0] += self._enclosed(x, y)
            else:
                product[0] += self._enclosed(np.ascontiguousarray(y.T), np.ascontiguousarray(x.T)).T
        return product

    def _multiplied(self, x: Words, y: Words) -> Words:
        """Shares of x @ y' + x' @ y, the primed ones the other party's, by transfers."""
        (n, m), p = x.shape, y.shape[1]
        shares = np.empty((n, p), dtype=np.uint64)
        for part in _parts(n, max(1, AT_A_TIME // (64 * m * p))):
            left = np.broadcast_to(x[part, :, None], (part.stop - part.start, m, p))
            right = np.broadcast_to(y, left.shape)
            # What is spread along a dimension of all entries stays a view, of no length between entries.
            flat = (np.ascontiguousarray(spread.reshape(-1)) for spread in (left, right))
            crossed = self._two_products("matmul", *flat, bits=64)
            shares[part] = crossed.reshape(left.shape).sum(axis=1, dtype=np.uint64)
        return shares

    def _enclosed(self, x: Words, y: Words) -> Words:
        """The same by ring LWE: each party's matrix on the left meets the other's encrypted one on the right."""
        shares = np.zeros((len(x), y.shape[1]), dtype=np.uint64)
        for holds in (self._first, not self._first):
            if holds:
                matrix = matvec.prepare(x)
                shares += matvec.holder(self._channel, matrix, vectors=y.shape[1], rng=self._rng)
            else:
                rows, cols = x.shape
                shares += matvec.vector(self._channel, y, rows=rows, cols=cols, key=self._key(), rng=self._rng)
        return shares

    def _encrypted(self, factors: Sequence[Words]) -> Words:
        """Shares of the sum of the products of one's factors with the other's, (n,) each, by ring LWE."""
        total = np.zeros(len(factors[0]), dtype=np.uint64)
        for some in range(0, len(factors), elementwise.MAX_TERMS):
            stacked = np.stack(factors[some : some + elementwise.MAX_TERMS])
            if self._first:
                total += elementwise.key_side(self._channel, stacked, key=self._key(), rng=self._rng)
            else:
                total += elementwise.other_side(self._channel, stacked, rng=self._rng)
        return total

    def _key(self) -> matvec.Key:
        """This party's key, drawn when it is first needed."""
        if self._secret is None:
            self._secret = matvec.key(self._rng)
        return self._secret

    def truncate(self, a: Words, bits: int) -> Words:  # noqa: D102
        _require_places(bits)
        self._note("truncate", a.shape, bits)
        if bits == 0:
            return a.copy()
        s = a + np.uint64(1 << 62) if self._first else a
        top = s >> _TOP
        # The first offers its highest bits, the second chooses by its own: shares of ms·mt.
        both = self._products("truncate", top.reshape(-1), bits=1, offers=self._first).reshape(a.shape)
        shifted: Words = (s >> np.uint64(bits)) - ((top - both) << np.uint64(64 - bits))
        if self._first:
            shifted += np.uint64((1 - (1 << (62 - bits))) % (1 << 64))
        return shifted

    def truncate_local(self, a: Words, bits: int) -> Words:
        """As ``Engine`` says, without any communication [Mohassel, Zhang 2017, SecureML]."""
        _require_places(bits)
        self._note("truncate_local", a.shape, bits)
        shifted: Words = a >> np.uint64(bits) if self._first else np.negative(np.negative(a) >> np.uint64(bits))
        return shifted

    def fourier(self, a: Words, period_bits: int, coefficients: Sequence[float], out_bits: int) -> Words:
        """As ``Engine`` says: sin k(s + t) = sin ks·cos kt + cos ks·sin kt, s known to the first, t to the second."""
        series.check(period_bits, coefficients, out_bits)
        k = len(coefficients)
        self._note("fourier", a.shape, period_bits, out_bits, *(float(c) for c in coefficients))
        extra = min(4, series.MAX_OUT_BITS - out_bits)
        scale = (out_bits + extra, out_bits + extra + 3)  # of the first's factors and of the second's
        flat = a.reshape(-1)
        total = np.empty_like(flat)
        bits = scale[1] + 2
        encrypts = len(flat) >= ENCRYPTED_SERIES
        for part in _parts(len(flat), 1 << 16 if encrypts else max(1, AT_A_TIME // (2 * k * bits))):
            if self._first:
                sines, cosines = series.waves(flat[part], period_bits, coefficients, scale[0])
                words = np.stack(sines + cosines)
            else:
                sines, cosines = series.waves(flat[part], period_bits, [1.0] * k, scale[1])
                words = np.stack(cosines + sines)
            if encrypts:
                total[part] = self._small_products(words)
                continue
            # The second chooses by numbers that are not negative; the first takes the surplus off again.
            surplus = np.uint64(1 << scale[1])
            given = words if self._first else words + surplus
            shares = self._products("fourier", given.reshape(-1), bits=bits, offers=self._first).reshape(words.shape)
            if self._first:
                shares -= words * surplus
            total[part] = shares.sum(axis=0, dtype=np.uint64)
        more = sum(scale) - out_bits
        return self._divided(total.reshape(a.shape), more) if encrypts else self.truncate(total.reshape(a.shape), more)

    def _small_products(self, factors: Words) -> Words:
        """Shares, modulo elementwise.SMALL, of the sum of products of one's small factors with the other's, (m, n)."""
        total = np.zeros(factors.shape[1], dtype=np.uint64)
        for part in _parts(len(factors), elementwise.MAX_SMALL_TERMS):
            some = np.ascontiguousarray(factors[part])
            if self._first:
                total += elementwise.key_side(self._channel, some, small=True, key=self._key(), rng=self._rng)
            else:
                total += elementwise.other_side(self._channel, some, small=True, rng=self._rng)
            total %= np.uint64(elementwise.SMALL)
        return total

    def _divided(self, a: Words, bits: int) -> Words:
        """Shares of what shares modulo t = elementwise.SMALL are of, less than t / 4 in size, divided by 2^bits.

        With t / 4 added it is below t / 2. So the sum of the parties' numbers passed t if either of them is above
        t / 2, and both are below if it did not. Each divides its own, and t: less than two steps are lost together.
        """
        t, quarter = elementwise.SMALL, np.uint64(elementwise.SMALL // 4)
        s = (a + quarter) % np.uint64(t) if self._first else a
        top = (s > np.uint64(t // 2)).astype(np.uint64)
        both = self._products("fourier", top.reshape(-1), bits=1, offers=self._first).reshape(a.shape)
        if self._first:
            s = s - quarter
        shifted = (s.view(np.int64) >> np.int64(bits)).view(np.uint64)
        divided: Words = shifted - (top - both) * np.uint64((t + (1 << (bits - 1))) >> bits)
        return divided + _ONE if self._first else divided

    # Bits

    def negative(self, a: Words) -> Bits:  # noqa: D102
        self._note("negative", a.shape)
        return self._below("negative", a.reshape(-1), (0,), bits=63, drop=0).reshape(a.shape)

    def below(self, a: Words, bounds: Sequence[int], *, bits: int, drop: int = 0) -> Bits:
        """As ``Engine`` says. Of dropped bits a carry is missed, so that what is compared is at most 2^drop too low."""
        check_window(bits, drop)
        self._note("below", a.shape, bits, drop, *bounds)
        flat, found = a.reshape(-1), np.empty((len(bounds), a.size), dtype=np.bool_)
        for some in _parts(len(bounds), transfers.TABLES):
            found[some] = self._below("below", flat, bounds[some], bits=bits, drop=drop)
        return found.reshape(1, len(bounds), *a.shape[1:])

    def _below(self, operation: str, flat: Words, bounds: Sequence[int], *, bits: int, drop: int) -> Bits:
        """Shares of whether (n,) is below each bound: (bounds, n)."""
        leaves = -(-(bits - drop) // 4)
        drop = max(0, bits - 4 * leaves)
        # Bounds are taken from the share of whoever offers tables, several of which go by one choice of the other's.
        moved = flat - np.array([bound % (1 << 64) for bound in bounds], dtype=np.uint64)[:, None]
        own = np.where(self._offers(len(flat)), moved, flat)
        low = np.uint64((1 << (bits - drop)) - 1)
        # The lower bits of s and t carry exactly if the second's are above all ones less the first's.
        carry = self._compare(operation, ((~own if self._first else own) >> np.uint64(drop)) & low, leaves, equal=False)
        return (own >> np.uint64(bits) & _ONE).astype(np.bool_) ^ carry

    def is_zero(self, a: Words) -> Bits:  # noqa: D102
        self._note("is_zero", a.shape)
        flat = a.reshape(1, -1)
        own = flat if self._first else np.negative(flat)
        return self._compare("is_zero", own, transfers.LEAVES, equal=True).reshape(a.shape)

    def and_(self, a: Array, b: Array) -> Array:  # noqa: D102
        self._note("and_", a.shape, a.dtype == np.bool_)
        _require_same(a, b)
        if a.dtype == np.bool_:
            bits = self._and_words("and_", sharing.pack(a.reshape(-1)), sharing.pack(b.reshape(-1)))
            return sharing.unpack(bits, a.size).reshape(a.shape)
        return self._and_words("and_", a.reshape(-1), b.reshape(-1)).reshape(a.shape)

    def to_bits(self, a: Words) -> Words:
        """As ``Engine`` says: s + t by a parallel-prefix adder [Sklansky 1960] over s and t as shares of bits."""
        self._note("to_bits", a.shape)
        flat = a.reshape(-1)
        out = np.empty_like(flat)
        for part in _parts(len(flat), 1 << 12):
            out[part] = self._added(flat[part])
        return out.reshape(a.shape)

    def from_bits(self, a: Words) -> Words:
        """As ``Engine`` says: s XOR t is s + t less twice the sum of 2^i·s_i·t_i."""
        self._note("from_bits", a.shape)
        both = self._products("from_bits", a.reshape(-1), bits=64, offers=self._first, bitwise=True).reshape(a.shape)
        return a - (both << _ONE)

    def bit_to_word(self, a: Bits) -> Words:  # noqa: D102
        self._note("bit_to_word", a.shape)
        words = a.astype(np.uint64)
        both = self._products("bit_to_word", words.reshape(-1), bits=1, offers=self._first).reshape(a.shape)
        return words - (both << _ONE)

    def select_word(self, bits: Bits, a: Words) -> Words:  # noqa: D102
        self._note("select_word", a.shape)
        _require_same(bits, a)
        chosen, flat = bits.reshape(-1).astype(np.uint64), a.reshape(-1)
        # (b ^ c)·s = b·s + c·(1 - 2 b)·s, with b and s one party's and c the other's.
        turned = flat * (_ONE - (chosen << _ONE))
        selected: Words = chosen * flat + self._two_products("select_word", chosen, turned, bits=1)
        return selected.reshape(a.shape)

    # What they stand on: messages

    def _note(self, operation: str, shape: tuple[int, ...], *parameters: float) -> None:
        """Add an operation to what must be the same at both parties."""
        self._program = zlib.crc32(f"{operation} {shape} {parameters}".encode(), self._program)

    def _swap(self, operation: str, mine: Array, size: int) -> NDArray[np.uint8]:
        """Send an array and receive `size` bytes that belong to the same step."""
        self._steps += 1
        step = wire.TwoStep(step=self._steps, operation=operation, program=self._program)
        header, theirs = self._channel.exchange(step, np.ascontiguousarray(mine).reshape(-1).view(np.uint8))
        same = header.step == self._steps and header.operation == operation and header.program == self._program
        self._channel.require(same, f"the same program at both parties, here {operation} in step {self._steps}")
        self._channel.require(len(theirs) == size, f"{size} bytes for {operation}")
        return theirs  # type: ignore[no-any-return]

    # Products of one party's numbers with the other's

    def _products(self, operation: str, mine: Words, *, bits: int, offers: bool, bitwise: bool = False) -> Words:
        """Shares of x·y: x, of so many bits, is the number of the party that does not offer, y the other's. (n,)"""
        shares = np.empty_like(mine)
        parts = _parts(len(mine), max(_GROUP, AT_A_TIME // bits))
        demands = [_whole(bits * len(mine[part])) for part in parts]
        with self._batches([(n, 0) if offers else (0, n) for n in demands]) as batches:
            for part, (sent, received) in zip(parts, batches, strict=True):
                n = len(mine[part])
                if offers:
                    flips = _wide(self._swap(operation, mine[:0], -(-bits * n // 8)), n, bits)
                    shares[part], messages = transfers.offer_products(
                        sent.delta,
                        sent.k[: bits * n],
                        tweak=sent.tweak,
                        flips=flips,
                        y=mine[part],
                        bits=bits,
                        bitwise=bitwise,
                    )
                    self._swap(operation, messages, 0)
                else:
                    drawn = _wide(received.choices, n, bits)
                    self._swap(operation, _narrow(mine[part] ^ drawn, bits), 0)
                    messages = self._swap(operation, mine[:0], n * transfers.product_bytes(bits)).reshape(n, -1)
                    shares[part] = transfers.choose_products(
                        received.t[: bits * n], tweak=received.tweak, x=mine[part], messages=messages, bits=bits
                    )
        return shares

    def _two_products(self, operation: str, x: Words, y: Words, *, bits: int) -> Words:
        """Shares of x·y' + x'·y, the primed ones the other party's, x and x' of so many bits. (n,)"""
        shares = np.empty_like(x)
        parts = _parts(len(x), max(_GROUP, AT_A_TIME // bits))
        demands = [(_whole(bits * len(x[part])),) * 2 for part in parts]
        with self._batches(demands) as batches:
            for part, (sent, received) in zip(parts, batches, strict=True):
                n = len(x[part])
                flips = _narrow(x[part] ^ _wide(received.choices, n, bits), bits)
                theirs = _wide(self._swap(operation, flips, len(flips)), n, bits)
                offered, messages = transfers.offer_products(
                    sent.delta, sent.k[: bits * n], tweak=sent.tweak, flips=theirs, y=y[part], bits=bits
                )
                answers = self._swap(operation, messages, messages.nbytes).reshape(messages.shape)
                shares[part] = offered + transfers.choose_products(
                    received.t[: bits * n], tweak=received.tweak, x=x[part], messages=answers, bits=bits
                )
        return shares

    @contextlib.contextmanager
    def _batches(self, demands: Sequence[tuple[int, int]]) -> Iterator[Iterator[tuple[Sent, Received]]]:
        with contextlib.closing(self._transfers.batches(demands)) as batches:
            yield batches

    # ANDs

    def _and_words(self, operation: str, a: Words, b: Words) -> Words:
        """AND of bit words, (n,) each."""
        out = np.empty_like(a)
        parts = _parts(len(a), AT_A_TIME // _GROUP)
        with self._batches([(_GROUP * len(a[part]),) * 2 for part in parts]) as batches:
            for part, (sent, received) in zip(parts, batches, strict=True):
                (out[part],) = self._and(operation, _Triples(sent, received), a[part], (b[part],))
        return out

    def _and(self, operation: str, triples: _Triples, left: Words, rights: Sequence[Words]) -> list[Words]:
        """AND of `left` with each of `rights`, bit words of n rows; a right that has fewer belongs to the last rows."""
        a, rows = triples.choices[: len(left)], [slice(len(left) - len(right), None) for right in rights]
        mine = [left ^ a]
        for i, (right, row) in enumerate(zip(rights, rows, strict=True)):
            mine.append(right ^ triples.factors[i, : len(left)][row])
        sizes = [m.size for m in mine]
        sent = np.concatenate([m.reshape(-1) for m in mine])
        opened = sent ^ self._swap(operation, sent, sent.nbytes).view(np.uint64)
        pieces = np.split(opened, np.cumsum(sizes)[:-1])
        d = pieces[0].reshape(left.shape)
        products = []
        for i, (right, row) in enumerate(zip(rights, rows, strict=True)):
            e = pieces[1 + i].reshape(right.shape)
            product = (d[row] & triples.factors[i, : len(left)][row]) ^ (e & a[row])
            product ^= triples.products[i, : len(left)][row]
            if self._first:
                product ^= d[row] & e
            products.append(product)
        return products

    # Comparisons

    def _offers(self, n: int) -> Bits:
        """For which of n values this party offers the tables, and the other chooses. (n,)"""
        mine = np.empty(n, dtype=np.bool_)
        for part in _parts(n, COMPARED):
            middle = part.start + _GROUP * _halves(part.stop - part.start)[0]
            mine[part.start : middle] = self._first
            mine[middle : part.stop] = not self._first
        return mine

    def _compare(self, operation: str, mine: Words, leaves: int, *, equal: bool) -> Bits:
        """Shares of whether the first party's numbers are less than the second's, or the same. (T, n)

        Numbers have so many pieces of four bits. Whoever offers tables has T numbers, the other T times the same.
        """
        count, n = mine.shape
        out = np.empty(mine.shape, dtype=np.bool_)
        parts = _parts(n, COMPARED)
        halves = [_halves(part.stop - part.start) for part in parts]
        demands = []
        for early, late in halves:
            nodes = _GROUP * count * (leaves - 1) * (early + late)
            offered, chosen = (early, late) if self._first else (late, early)
            demands.append((nodes + 4 * leaves * _GROUP * offered, nodes + 4 * leaves * _GROUP * chosen))
        with self._batches(demands) as batches:
            for part, half, (sent, received) in zip(parts, halves, batches, strict=True):
                less, same = self._leaves(operation, mine[:, part], leaves, half, sent, received)
                nodes = _GROUP * count * (leaves - 1) * sum(half)
                triples = _Triples(sent.part(0, nodes), received.part(0, nodes), leaves - 1)
                root = self._tree(operation, less, same, triples, equal=equal)
                out[:, part] = sharing.unpack(root.reshape(count, -1), part.stop - part.start)
        return out

    def _leaves(
        self, operation: str, mine: Words, leaves: int, halves: tuple[int, int], sent: Sent, received: Received
    ) -> tuple[Words, Words]:
        """Shares of "less" and "equal" of each piece of four bits, (leaves, T·groups) words of a bit for each value.

        Of the groups the first party offers the tables for the early half and the second for the late one.
        """
        count, (early, late), bits = len(mine), (_GROUP * groups for groups in halves), 4 * leaves
        padded = np.zeros((count, early + late), dtype=np.uint64)
        padded[:, : mine.shape[1]] = mine
        offering, choosing = (padded[:, :early], padded[0, early:])
        if not self._first:
            offering, choosing = (padded[:, early:], padded[0, :early])
        offered, chosen = offering.shape[1], len(choosing)
        sent = sent.part(len(sent) - bits * offered, len(sent))
        received = received.part(len(received) - bits * chosen, len(received))
        flips = _narrow(choosing ^ _wide(received.choices, chosen, bits), bits)
        theirs = self._swap(operation, flips, bits * offered // 8)
        shares = self._rng.uint64(offered // _GROUP, count, 2, leaves)
        messages = transfers.offer_tables(
            sent.delta,
            sent.k,
            tweak=sent.tweak,
            flips=_wide(theirs, offered, bits),
            values=np.ascontiguousarray(offering),
            shares=shares,
            side="left" if self._first else "right",
        )
        answers = self._swap(operation, messages, 4 * count * leaves * chosen).view(np.uint32)
        looked_up = transfers.choose_tables(
            received.t, tweak=received.tweak, values=choosing, messages=answers.reshape(chosen, count, leaves)
        )
        groups = np.concatenate((shares, looked_up) if self._first else (looked_up, shares))
        less, same = np.ascontiguousarray(groups.transpose(2, 3, 1, 0)).reshape(2, leaves, -1)
        return less, same

    def _tree(self, operation: str, less: Words, same: Words, triples: _Triples, *, equal: bool) -> Words:
        """Join the pieces, the highest last, two by two: (leaves, words) → (words,) shares of "less" or of "equal"."""
        while (leaves := len(same)) > 1:
            pairs, odd = leaves // 2, leaves % 2
            level, triples = triples.part(0, pairs), triples.part(pairs, len(triples.choices))
            low, high = same[0 : 2 * pairs : 2], same[1 : 2 * pairs : 2]
            # An odd piece, the highest, waits for the next level.
            waiting = slice(leaves - odd, None)
            if equal:
                (both,) = self._and(operation, level, high, (low,))
            else:
                # Whether the lowest pieces of a level are equal is never asked.
                behind, both = self._and(operation, level, high, (less[0 : 2 * pairs : 2], low[1:]))
                less = np.concatenate((less[1 : 2 * pairs : 2] ^ behind, less[waiting]))
                both = np.concatenate((np.zeros_like(behind[:1]), both))
            same = np.concatenate((both, same[waiting]))
        root: Words = (same if equal else less)[0]
        return root

    # Additions

    def _added(self, mine: Words) -> Words:
        """Bit words of the sum of both parties' numbers. (n,)"""
        planes = _planes(mine)  # (64, groups)
        groups = planes.shape[1]
        nothing = np.zeros_like(planes)
        one, other = (planes, nothing) if self._first else (nothing, planes)
        carry = self._and_words("to_bits", one.reshape(-1), other.reshape(-1)).reshape(planes.shape)
        through = planes
        for level in range(6):
            rows = np.array([i for i in range(64) if i >> level & 1])
            from_ = (rows >> level << level) - 1
            kept = rows[rows >= 2 << level]
            sent, received = self._transfers.take(_GROUP * len(rows) * groups, _GROUP * len(rows) * groups)
            rights = [carry[from_], through[(kept >> level << level) - 1]]
            products = self._and("to_bits", _Triples(sent, received, len(rows)), through[rows], rights)
            carry, through = carry.copy(), through.copy()
            carry[rows] ^= products[0]
            through[kept] = products[1]
        total = planes.copy()
        total[1:] ^= carry[:-1]
        return _unplanes(total, len(mine))


class _Triples:
    """Shares of random bits a, b, c, of a·b and of a·c, as words of 64: what ANDs with a common left operand take.

    Args:
        sent: transfers, as many as bits.
        received: as many.
        rows: into how many rows the words are laid out; none for a flat array.
    """

    def __init__(self, sent: Sent, received: Received, rows: int | None = None) -> None:
        offered = transfers.offer_bits(sent.delta, np.ascontiguousarray(sent.k), tweak=sent.tweak)
        chosen = transfers.choose_bits(np.ascontiguousarray(received.t), tweak=received.tweak)
        shape = (-1,) if rows is None else (rows, offered.shape[1] // max(rows, 1))
        self.choices = received.choices.view(np.uint64).reshape(shape)
        self.factors = offered[2:].reshape(2, *shape)
        # Own times own, own choices times the other's factors, and the other's choices times own factors.
        self.products = (self.choices & self.factors) ^ (offered[:2] ^ chosen).reshape(2, *shape)

    def part(self, start: int, stop: int) -> _Triples:
        """Those in the rows from `start` on, before `stop`."""
        part = _Triples.__new__(_Triples)
        part.choices = self.choices[start:stop]
        part.factors = self.factors[:, start:stop]
        part.products = self.products[:, start:stop]
        return part


class _Masks:
    """A stream of masks that both parties have."""

    def __init__(self, key: NDArray[np.uint8]) -> None:
        self._key = key
        self._block = 0

    def take(self, n: int, *, bits: bool) -> Array:
        """(n,) words or bits."""
        out = np.empty(-(-n // 8) if bits else 8 * n, dtype=np.uint8)
        if n:
            prg.fill(self._key, out, block=self._block)
        self._block += -(-len(out) // prg.BLOCK_BYTES)
        return sharing.unpack(out, n) if bits else out.view(np.uint64)


# Layout ---------------------------------------------------------------------------------------------------------------


def _require_same(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise UsageError(f"Shares of one shape are multiplied, not {a.shape[1:]} and {b.shape[1:]}: broadcast first.")


def _require_places(bits: int) -> None:
    if not 0 <= bits <= 62:
        raise UsageError(f"Words are shifted by 0 to 62 bits, not {bits}.")


def _parts(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _whole(n: int) -> int:
    """The next multiple of 64."""
    return -(-n // _GROUP) * _GROUP


def _halves(n: int) -> tuple[int, int]:
    """Groups of n values, in two halves."""
    groups = -(-n // _GROUP)
    return groups - groups // 2, groups // 2


def _wide(packed: NDArray[np.uint8], n: int, bits: int) -> Words:
    """(n,) words of `bits` bits each, which lie one after the other."""
    if bits == 64:
        return packed[: 8 * n].view(np.uint64)
    rows = np.unpackbits(packed, count=n * bits, bitorder="little").reshape(n, bits)
    if bits == 1:
        return rows[:, 0].astype(np.uint64)
    out = np.zeros((n, 8), dtype=np.uint8)
    out[:, : -(-bits // 8)] = np.packbits(rows, axis=1, bitorder="little")
    return out.reshape(-1).view(np.uint64)


def _narrow(words: Words, bits: int) -> NDArray[np.uint8]:
    """What `_wide` reads: the lowest bits of each word, one after the other."""
    if bits == 64:
        return words.view(np.uint8)
    if bits == 1:
        return np.packbits(words.astype(np.bool_), bitorder="little")
    rows = np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1, count=bits, bitorder="little")
    return np.packbits(rows.reshape(-1), bitorder="little")


def _planes(words: Words) -> Words:
    """(n,) words → (64, n / 64) words, row i of which holds bit i of each; n is filled up by zeros."""
    padded = np.zeros(_whole(len(words)), dtype=np.uint64)
    padded[: len(words)] = words
    bits = np.unpackbits(padded.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").view(np.uint64)


def _unplanes(planes: Words, n: int) -> Words:
    """What `_planes` undoes."""
    bits = np.unpackbits(planes.view(np.uint8), axis=1, bitorder="little")
    return np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").reshape(-1).view(np.uint64)[:n]
