"""Shared arithmetic among three parties of which none colludes: replicated shares [Araki et al. 2016; ABY3, 2018].

    x = x0 + x1 + x2     party i holds x_i and x_{i+1}; a key of each two parties masks what both know
    x·y                  party i makes x_i·y_i + x_i·y_{i+1} + x_{i+1}·y_i + a share of zero, for the party before it

All the rest takes x for s + t, where s = x0 + x1 is known to party 0 and t = x2 to parties 1 and 2. Party 0 gives
numbers that depend on s alone, split between the other two (to 1 in a message, to 2 by their common key); those apply
whatever linear map t says, and join what comes out to replicated shares by a message to party 0 from each:

    highest bit          of s, for each block of three bits, whether it is at least 1, 2, … 7; t chooses two of these,
                         the carry of the block of s + t and whether it passes one on. A tree of ANDs of blocks follows
    truncation           s >> f, and the highest bit of s; see ``Engine``
    bit·word             b = c + d - 2cd, c at party 0: of c and c·s
    sine                 sin k(s + t) = sin ks·cos kt + cos ks·sin kt, of sines and cosines in fixed point
    is zero              s = -t, as 64 bits of which party 0 splits those of s: a tree of ANDs
    word to bits         s and t by a parallel-prefix adder [Sklansky 1960]; bits to word by the same adder

Security: semi-honest, one of the three; against two that pool what they hold there is none. AES-128 in counter mode is
          pseudorandom. Exact methods are exact.
Leaks:    nothing but shapes. A truncated value that opens also says to which side it was rounded; an opened sum of
          inputs tells two parties the third's.
Cost:     for each value, the bytes of all three together, and rounds; a round is a message that waits for another.

                          bytes   rounds                            bytes   rounds
              negative    42.13        7        mul                    24        1
              is_zero     31.63        7        truncate      24 + bits/8        2
              and_ (bit)  0.375        1        truncate_local          8        1
              to_bits       140        8        select_word            32        2
              from_bits   163.9        8        bit_to_word            24        2
              open           24        1        sum_inputs, outward    24        1
              input           8        1        fourier           see there      4

          below of T bounds, in B = ceil((bits - drop) / 3) blocks, of which A(B) = A(B - floor(B / 2)) +
          2 floor(B / 2) - 1 ANDs make one, is (7 B + 1) / 8 + T (B / 2 + 3 A(B) / 8) bytes in 2 + ceil(log2 B) rounds.
          matmul is 24 bytes for each entry of the product, in a round. Bits travel at an eighth of a byte. Comparisons
          and bits are padded to multiples of 64 values. An envelope is some 100 bytes a message. Set-up: one round, in
          which each two parties send each other 32 bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import queue
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc import sharing
from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import UsageError
from mpc.kernels import bits as planes
from mpc.kernels import hash as hashes
from mpc.kernels import ring
from mpc.rng import Rng
from mpc.session import Session
from mpc.suite import Suite
from mpc.wire.arithmetic.v1 import three_pb2 as wire
from protocols.arithmetic import series
from protocols.arithmetic.engine import Array, Bits, Disagreement, Scheme, Words, check_window

VERSION = 1

PIECE = 1 << 17
"""Values that a method works on at a time, a multiple of 64."""

AHEAD = 3
"""Pieces begun at a time: while one waits for a message, this party computes on another."""

DIRECT = 1 << 16
"""Bytes of a message up to which it is sent at once, and not by a thread of its own."""

_LIFETIME = 1 << 40  # blocks of a key's stream that may be used: far below where AES in counter mode shows
_KEY = b"unseen arithmetic three v1 key"
_TOP = np.uint64(63)
_ONE = np.uint64(1)
_WORD = 8

Kind = Literal["add", "xor"]
Steps = Generator[None, None, None]
"""A piece of a method. It yields where it would wait for a message, once in every round at every party."""


def deal(values: Array, rng: Rng) -> tuple[Array, ...]:
    """Replicated shares of words, or of bits: (2, *S) for each of the three parties."""
    return tuple(sharing.replicated_share(values, rng=rng))


def combine(components: Sequence[Array]) -> Array:
    """The value of which all three parties' components are given; Disagreement where two copies of one differ."""
    try:
        return sharing.replicated_reconstruct(np.stack(components))
    except sharing.InconsistentShares:
        raise Disagreement("copies of a component differ") from None


SCHEME = Scheme("three-party", 3, 2, 2, deal, combine)


class ThreeParty:
    """One party's end of it. Attributes and methods as ``Engine`` describes them.

    Whatever goes wrong within a method ends the conversations with both other parties, so that they fail too.

    Args:
        session: of one of the three parties.
        compute: the names of the three, in the same order at all of them.
        suite: whose hash derives keys; the same at all of them.

    Raises:
        UsageError: this party is none of the three.
        PeerError: another party runs something else.
    """

    k = 2
    scheme = SCHEME

    def __init__(self, session: Session, compute: Sequence[str], *, suite: str | Suite = "intl") -> None:
        names = tuple(compute)
        if len(names) != 3 or len(set(names)) != 3 or session.me not in names:
            raise UsageError(f"Three parties compute, {session.me} being one of them; got {names}.")
        chosen = suites.get(suite) if isinstance(suite, str) else suite
        self.me = session.me
        self.compute = names
        self._i = names.index(self.me)
        before, after = names[self._i - 1], names[(self._i + 1) % 3]
        self._channels = {name: session.channel(name) for name in (before, after)}
        self._before, self._after = (_Outbox(self._channels[name]) for name in (before, after))
        self._program = 0
        start = wire.ThreeStart(version=VERSION, compute=names, suite=chosen.name)
        mine = session.rng.uint8(2, 32)
        with self._closing():
            for outbox, seed in zip((self._before, self._after), mine, strict=True):
                outbox.channel.send(start, seed)
            theirs = [self._started(outbox.channel, start) for outbox in (self._before, self._after)]
        # Key i is of party i and the one before it, whose half comes second.
        pairs = np.stack((np.concatenate((mine[0], theirs[0])), np.concatenate((theirs[1], mine[1]))))
        keys = hashes.rows(chosen.digest, _KEY, pairs)[:, : ring.KEY_BYTES]
        self._keys = {self._i: keys[0].copy(), (self._i + 1) % 3: keys[1].copy()}
        self._used = dict.fromkeys(self._keys, 0)

    def _started(self, channel: Channel, mine: wire.ThreeStart) -> NDArray[np.uint8]:
        """The peer's half of a key, if it takes the same for granted."""
        theirs: wire.ThreeStart
        seed: NDArray[np.uint8]
        theirs, seed = channel.recv(wire.ThreeStart)
        channel.require(theirs.version == mine.version, f"version {mine.version} of three-party arithmetic")
        channel.require(theirs.compute == mine.compute, "the same computing parties in the same order")
        channel.require(theirs.suite == mine.suite, f"the suite {mine.suite}")
        return seed

    # Into shares and out of them

    def constant(self, public: Array) -> Array:  # noqa: D102
        held = np.zeros((2, *np.shape(public)), dtype=public.dtype)
        if self._i != 1:  # in x0, which parties 0 and 2 hold
            held[0 if self._i == 0 else 1] = public
        return held

    def input(self, values: Words | None, owner: str, shape: tuple[int, ...]) -> Words:  # noqa: D102
        return self._input("input", values, owner, shape)

    def input_bits(self, values: Bits | None, owner: str, shape: tuple[int, ...]) -> Bits:  # noqa: D102
        return self._input("input_bits", values, owner, shape)

    def _input(self, operation: str, values: Array | None, owner: str, shape: tuple[int, ...]) -> Array:
        if owner not in self.compute:
            raise UsageError(f"{owner!r} is none of the computing parties {self.compute}.")
        bits = operation == "input_bits"
        mine = owner == self.me
        if mine and (values is None or values.shape != shape or values.dtype != (np.bool_ if bits else np.uint64)):
            raise UsageError(f"{owner} gives an array {shape} of {'bool' if bits else 'uint64'}.")
        given = None if values is None or not mine else _flat(values[None])[0]
        size = math.prod(shape)
        if given is not None and bits:
            given = sharing.pack(given)
        count = planes.width(size) if bits else size
        out = np.empty((2, count), dtype=np.uint64)
        place = self.compute.index(owner)

        def piece(part: slice) -> Steps:
            own = None if given is None else given[part]
            yield from self._give(own, place, out[:, part], "xor" if bits else "add")

        self._run(operation, (shape, place), count, piece)
        return sharing.unpack(out, size).reshape(2, *shape) if bits else out.reshape(2, *shape)

    def sum_inputs(self, values: Words) -> Words:  # noqa: D102
        return self._renewed("sum_inputs", np.ascontiguousarray(values).reshape(-1), values.shape, "add")

    def outward(self, a: Array) -> Array:  # noqa: D102
        if a.dtype != np.bool_:
            return self._renewed("outward", _flat(a)[0], a.shape[1:], "add")
        size = math.prod(a.shape[1:])
        renewed = self._renewed("outward", sharing.pack(_flat(a))[0], a.shape[1:], "xor")
        return sharing.unpack(renewed, size).reshape(a.shape)

    def _renewed(self, operation: str, own: Words, shape: tuple[int, ...], kind: Kind) -> Words:
        """Replicated shares of the sum of the three parties' own, (n,): in `shape`, but of bits, which are packed."""
        out = np.empty((2, len(own)), dtype=np.uint64)

        def piece(part: slice) -> Steps:
            out[0, part] = own[part]
            self._mask(out[0, part], kind, self._i)
            self._mask(out[0, part], "subtract" if kind == "add" else "xor", self._i + 1)
            yield from self._reshare(out[:, part])

        self._run(operation, (shape, kind), len(own), piece)
        return out.reshape(2, *shape) if kind == "add" else out

    def open(self, a: Array, to: tuple[str, ...] | None = None) -> Array | None:  # noqa: D102
        if a.dtype != np.bool_:
            return self._open("open", a, to, "add")
        words = sharing.pack(_flat(a))
        opened = self._open("open", words, to, "xor", shape=a.shape[1:])
        return None if opened is None else sharing.unpack(opened, math.prod(a.shape[1:])).reshape(a.shape[1:])

    def open_bits(self, a: Words, to: tuple[str, ...] | None = None) -> Words | None:  # noqa: D102
        return self._open("open_bits", a, to, "xor")

    def _open(
        self, operation: str, a: Words, to: tuple[str, ...] | None, kind: Kind, *, shape: tuple[int, ...] = ()
    ) -> Words | None:
        names = self.compute if to is None else to
        if not set(names) <= set(self.compute):
            raise UsageError(f"Values open to computing parties, {self.compute}; for others there is outward.")
        flat = _flat(a)
        learns = self.me in names
        out = np.empty(flat.shape[1] if learns else 0, dtype=np.uint64)

        def piece(part: slice) -> Steps:
            if self.compute[(self._i + 1) % 3] in names:
                self._send(self._after, flat[0, part])
            yield
            if learns:
                x, (y, z) = self._receive(self._before, out[part].shape[0]), flat[:, part]
                out[part] = x ^ y ^ z if kind == "xor" else x + y + z

        self._run(
            operation, (shape or a.shape[1:], kind, [name in names for name in self.compute]), flat.shape[1], piece
        )
        return out.reshape(a.shape[1:]) if learns else None

    def piece(self, a: Words, to: str) -> Words | None:  # noqa: D102
        first, second = self.scheme.givers(self.compute, to)
        if self.me == first:
            both: Words = a[0] + a[1]
            return both
        return a[1].copy() if self.me == second else None

    # Products

    def mul(self, a: Words, b: Words) -> Words:  # noqa: D102
        _require_same(a, b)
        x, y = _flat(a), _flat(b)
        out = np.empty_like(x)

        def piece(part: slice) -> Steps:
            self._product("multiply", x[:, part], y[:, part], out[0, part])
            yield from self._reshare(out[:, part])

        self._run("mul", a.shape, x.shape[1], piece)
        return out.reshape(a.shape)

    def matmul(self, a: Words, b: Words) -> Words:  # noqa: D102
        (_, n, m), (_, other, p) = a.shape, b.shape
        if m != other:
            raise UsageError(f"({n}, {m}) @ ({other}, {p}) are no matrices that can be multiplied.")
        out = np.zeros((2, n, p), dtype=np.uint64)
        # x0·y0 + x0·y1 + x1·y0 = (x0, x1) times (y0 + y1, y0), one below the other.
        right = np.concatenate((b[0] + b[1], b[0]))
        rows = max(48, 2 * PIECE // max(m, p, 1) // 48 * 48)

        def piece(part: slice) -> Steps:
            own = ring.matmul(np.concatenate((a[0, part], a[1, part]), axis=1), right, out[0, part])
            self._mask(own, "add", self._i)
            self._mask(own, "subtract", self._i + 1)
            self._send(self._before, own)
            yield
            out[1, part] = self._receive(self._after, own.size).reshape(own.shape)

        self._run("matmul", (n, m, p), n, piece, size=rows)
        return out

    def truncate(self, a: Words, bits: int) -> Words:  # noqa: D102
        _require_places(bits)
        x = _flat(a)
        out = np.empty_like(x)

        def piece(part: slice) -> Steps:
            yield from self._truncate(x[:, part], bits, out[:, part])

        if bits == 0:
            return a.copy()
        self._run("truncate", (a.shape, bits), x.shape[1], piece)
        return out.reshape(a.shape)

    def _truncate(self, x: Words, bits: int, out: Words) -> Steps:
        n = x.shape[1]
        shift, back = np.uint64(bits), np.uint64(64 - bits)
        given = None
        if self._i == 0:
            s = x[0] + x[1] + np.uint64(1 << 62)
            # Party 0 rounds up and the others down: whatever the split, multiples of 2^bits are exact.
            given = ((s >> shift) + ((s & (_ONE << shift) - _ONE) != 0), s >> _TOP)
        # Of the highest bit's share only the lowest `bits` bits count, since it is multiplied by 2^(64 - bits).
        shifted, top = yield from self._split_all(given, n, widths=(_WORD, -(-bits // 8)))
        share = None
        if self._i:
            t = x[1] if self._i == 1 else x[0]
            t_top = t >> _TOP
            share = shifted - ((top * (t_top ^ _ONE)) << back)
            if self._i == 1:
                share += (t >> shift) - (t_top << back) - np.uint64(1 << 62 - bits)
        yield from self._join(share, out)

    def truncate_local(self, a: Words, bits: int) -> Words:
        """As ``Engine`` says: s and t are shifted each by itself, as signed numbers [Mohassel, Zhang 2017]."""
        _require_places(bits)
        x = _flat(a)
        out = np.empty_like(x)
        shift = np.int64(bits)

        def piece(part: slice) -> Steps:
            s = ((x[0, part] + x[1, part]).view(np.int64) >> shift).view(np.uint64) if self._i == 0 else None
            yield from self._give(s, 0, out[:, part], "add")
            if self._i:
                at = 2 - self._i
                out[at, part] = np.negative(np.negative(x[at, part]).view(np.int64) >> shift).view(np.uint64)

        self._run("truncate_local", (a.shape, bits), x.shape[1], piece)
        return out.reshape(a.shape)

    def fourier(self, a: Words, period_bits: int, coefficients: Sequence[float], out_bits: int) -> Words:
        """As ``Engine`` says. All is reckoned modulo 2^(8 W), W = out_bits / 4 + 1 rounded up, as long as it goes.

        Cost: for each value 2·K·W bytes of sines and cosines, 2·W to join, and a truncation by 67 + out_bits - 8·W.
        """
        c = [float(value) for value in coefficients]
        series.check(period_bits, coefficients, out_bits)
        # Party 0's numbers have three bits more than the others', whose rounding the coefficients do not multiply. The
        # sum stays below 2^(2·out_bits + 6) with what it errs, which leaves the room that truncation asks for.
        width = -(-(2 * out_bits + 8) // 8)
        up = np.uint64(64 - 8 * width)
        x = _flat(a)
        out = np.empty_like(x)
        terms = 2 * len(c)

        def piece(part: slice) -> Steps:
            n = x[0, part].shape[0]
            given, own = None, None
            if self._i == 0:
                sines, cosines = series.waves(x[0, part] + x[1, part], period_bits, [1.0] * len(c), out_bits + 3)
                given = sines + cosines
            else:
                sines, cosines = series.waves(x[2 - self._i, part], period_bits, c, out_bits)
                own = cosines + sines
            factors = yield from self._split_all(given, n, widths=(width,) * terms)
            share = None
            if own is not None:
                share = np.zeros(n, dtype=np.uint64)
                for mine, theirs in zip(own, factors, strict=True):
                    share += mine * theirs
                share <<= up
            total = np.empty((2, n), dtype=np.uint64)
            yield from self._join(share, total, width=width)
            yield from self._truncate(total, out_bits + 3 + int(up), out[:, part])

        details = (a.shape, period_bits, out_bits, c)
        self._run("fourier", details, x.shape[1], piece, size=_whole(2 * PIECE // terms))
        return out.reshape(a.shape)

    # Bits

    def negative(self, a: Words) -> Bits:  # noqa: D102
        return self._compared("negative", a, (0,), bits=63, drop=0).reshape(a.shape)

    def below(self, a: Words, bounds: Sequence[int], *, bits: int, drop: int = 0) -> Bits:
        """As ``Engine`` says. Of dropped bits a carry is missed, so that what is compared is at most 2^drop too low."""
        check_window(bits, drop)
        return self._compared("below", a, bounds, bits=bits, drop=drop).reshape(2, len(bounds), *a.shape[1:])

    def _compared(self, operation: str, a: Words, bounds: Sequence[int], *, bits: int, drop: int) -> Bits:
        x = _flat(a)
        blocks = -(-(bits - drop) // planes.BLOCK_BITS)
        drop = max(0, bits - planes.BLOCK_BITS * blocks)
        words = np.array([bound % (1 << 64) for bound in bounds], dtype=np.uint64)
        out = np.empty((2, len(words), x.shape[1]), dtype=np.bool_)

        def piece(part: slice) -> Steps:
            sign = yield from self._below(x[:, part], words, blocks, np.uint64(drop))
            out[:, :, part] = sharing.unpack(sign, part.stop - part.start)

        if len(words):
            size = _whole(PIECE // len(words))
            self._run(operation, (a.shape, bits, drop, words.tolist()), x.shape[1], piece, size=size)
        return out

    def _below(self, x: Words, bounds: Words, blocks: int, drop: np.uint64) -> Generator[None, None, Words]:
        """(2, n) → (2, bounds, width) of bits: of s and of t less each bound, without the lowest `drop` bits, the sum
        of the bits above so many blocks, and the carry into their place.
        """
        width, sizes = planes.width(x.shape[1]), (planes.step_planes(blocks), planes.carry_planes(blocks))
        steps, share = np.zeros(sizes[0] * width if self._i != 1 else 0, dtype=np.uint64), None
        if self._i != 1:
            self._mask(steps, "xor", 0)
        if self._i == 0:
            planes.steps((x[0] + x[1]) >> drop, steps, blocks=blocks)
            self._send(self._after, steps)
        yield
        if self._i == 1:
            steps = self._receive(self._before, sizes[0] * width)
        if self._i:
            # Bounds are public, and those who know t take them from it: s and its steps are the same for all.
            t = x[2 - self._i]
            shares = [planes.carries(steps, (t - b) >> drop, one=self._i == 1, blocks=blocks) for b in bounds]
            share = np.concatenate(shares).reshape(-1)
        joined = np.empty((2, len(bounds) * sizes[1] * width), dtype=np.uint64)
        yield from self._join(share, joined, kind="xor")
        by_plane = joined.reshape(2, len(bounds), sizes[1], width).swapaxes(1, 2)
        all_planes = np.ascontiguousarray(by_plane).reshape(2, sizes[1], -1)
        carry, passes = all_planes[:, :blocks], all_planes[:, blocks:-1]
        while (left_over := carry.shape[1]) > 1:
            # Blocks 2j and 2j + 1 become one. Whether block 0 passes a carry on is never asked: `passes` begins at 1.
            pairs = left_over // 2
            high = passes[:, 0 : 2 * pairs : 2]
            left = np.concatenate((high, high[:, 1:]), axis=1)
            right = np.concatenate((carry[:, 0 : 2 * pairs : 2], passes[:, 1 : 2 * pairs - 1 : 2]), axis=1)
            both = yield from self._and(left, right)
            odd = left_over % 2
            carry = np.concatenate((carry[:, 1::2] ^ both[:, :pairs], carry[:, left_over - odd :]), axis=1)
            passes = np.concatenate((both[:, pairs:], passes[:, left_over - 1 - odd : left_over - 1]), axis=1)
        sign: Words = carry[:, 0] ^ all_planes[:, -1]
        return sign.reshape(2, len(bounds), width)

    def is_zero(self, a: Words) -> Bits:  # noqa: D102
        x = _flat(a)
        out = np.empty(x.shape, dtype=np.bool_)

        def piece(part: slice) -> Steps:
            n = out[0, part].shape[0]
            same = yield from self._give_planes(x[:, part])
            if self._i:
                same[2 - self._i] = ~planes.planes(np.negative(x[2 - self._i, part]))
            while (rows := same.shape[1]) > 1:
                same = yield from self._and(same[:, : rows // 2], same[:, rows // 2 :])
            out[:, part] = sharing.unpack(same[:, 0], n)

        self._run("is_zero", a.shape, x.shape[1], piece)
        return out.reshape(a.shape)

    def and_(self, a: Array, b: Array) -> Array:  # noqa: D102
        _require_same(a, b)
        bits = a.dtype == np.bool_
        x, y = (sharing.pack(_flat(v)) if bits else _flat(v) for v in (a, b))
        out = np.empty_like(x)

        def piece(part: slice) -> Steps:
            self._product("and", x[:, part], y[:, part], out[0, part])
            yield from self._reshare(out[:, part])

        self._run("and_", (a.shape, bits), x.shape[1], piece)
        return sharing.unpack(out, math.prod(a.shape[1:])).reshape(a.shape) if bits else out.reshape(a.shape)

    def to_bits(self, a: Words) -> Words:  # noqa: D102
        x = _flat(a)
        out = np.empty_like(x)

        def piece(part: slice) -> Steps:
            n = out[0, part].shape[0]
            both = yield from self._give_planes(x[:, part])
            width = both.shape[2]
            share = None
            if self._i:
                t = planes.planes(np.ascontiguousarray(x[2 - self._i, part]))
                share = (both[self._i - 1] & t)[:-1].reshape(-1)
                both[2 - self._i] = t
            carry = np.empty((2, 63 * width), dtype=np.uint64)
            yield from self._join(share, carry, kind="xor")
            total = yield from self._added(both, carry.reshape(2, 63, width))
            for half in range(2):
                out[half, part] = planes.words(total[half], n)

        self._run("to_bits", a.shape, x.shape[1], piece, size=PIECE // 4)
        return out.reshape(a.shape)

    def from_bits(self, a: Words) -> Words:
        """As ``Engine`` says: x1 and x2 are masks; w - x1 - x2 is added bit by bit, and opens to those who hold x0."""
        w = _flat(a)
        out = np.empty_like(w)

        def piece(part: slice) -> Steps:
            n = out[0, part].shape[0]
            shares = out[:, part]
            for place in self._keys:
                if place:  # x1 at parties 0 and 1, x2 at parties 1 and 2
                    at = (place - self._i) % 3
                    shares[at] = 0
                    self._mask(shares[at], "add", place)
            own = planes.planes(np.negative(shares[0] + shares[1])).reshape(-1) if self._i == 1 else None
            given = np.empty((2, 64 * planes.width(n)), dtype=np.uint64)
            yield from self._give(own, 1, given, "xor")
            less = given.reshape(2, 64, -1)
            bits = np.stack([planes.planes(np.ascontiguousarray(w[half, part])) for half in range(2)])
            carry = yield from self._and(bits[:, :-1], less[:, :-1])
            total = yield from self._added(bits ^ less, carry)
            if self._i == 0:
                self._send(self._before, total[1])
            elif self._i == 2:
                self._send(self._after, total[0])
            yield
            if self._i != 1:
                missing = self._receive(self._before if self._i == 0 else self._after, total[0].size)
                opened = total[0] ^ total[1] ^ missing.reshape(total[0].shape)
                shares[0 if self._i == 0 else 1] = planes.words(opened, n)

        self._run("from_bits", a.shape, w.shape[1], piece, size=PIECE // 4)
        return out.reshape(a.shape)

    def bit_to_word(self, a: Bits) -> Words:  # noqa: D102
        x = _flat(a)
        out = np.empty(x.shape, dtype=np.uint64)

        def piece(part: slice) -> Steps:
            n = out[0, part].shape[0]
            given = ((x[0, part] ^ x[1, part]).astype(np.uint64),) if self._i == 0 else None
            (c,) = yield from self._split_all(given, n, widths=(_WORD,))
            share = None
            if self._i:
                d = x[2 - self._i, part].astype(np.uint64)
                share = c * (_ONE - (d << _ONE))
                if self._i == 1:
                    share += d
            yield from self._join(share, out[:, part])

        self._run("bit_to_word", a.shape, x.shape[1], piece)
        return out.reshape(a.shape)

    def select_word(self, bits: Bits, a: Words) -> Words:  # noqa: D102
        _require_same(bits, a)
        b, x = _flat(bits), _flat(a)
        out = np.empty_like(x)

        def piece(part: slice) -> Steps:
            n = out[0, part].shape[0]
            given = None
            if self._i == 0:
                c = (b[0, part] ^ b[1, part]).astype(np.uint64)
                given = (c, c * (x[0, part] + x[1, part]))
            c, cs = yield from self._split_all(given, n, widths=(_WORD, _WORD))
            share = None
            if self._i:
                # (c + d - 2cd)(s + t), of which parties 1 and 2 know d and t and hold a share each of s.
                t, s = x[2 - self._i, part], x[self._i - 1, part]
                d = b[2 - self._i, part].astype(np.uint64)
                share = (cs + c * t) * (_ONE - (d << _ONE)) + s * d
                if self._i == 1:
                    share += d * t
            yield from self._join(share, out[:, part])

        self._run("select_word", a.shape, x.shape[1], piece)
        return out.reshape(a.shape)

    # Steps of methods. What a party does not have, it gives and gets as None.

    def _product(self, kind: Literal["multiply", "and"], x: Words, y: Words, out: Words) -> None:
        """This party's own part, (n,), of a product of (2, n)."""
        plus, minus = (self._take(place, len(out)) for place in (self._i, self._i + 1))
        ring.product(kind, x, y, out, plus=plus, minus=minus)

    def _reshare(self, out: Words) -> Steps:
        """Complete (2, n), of which row 0 is this party's own part of a sum, masked by a share of zero."""
        self._send(self._before, out[0])
        yield
        out[1] = self._receive(self._after, out.shape[1])

    def _and(self, x: Words, y: Words) -> Generator[None, None, Words]:
        """AND of planes, (2, rows, width) each."""
        out = np.empty((2, x[0].size), dtype=np.uint64)
        self._product("and", x.reshape(out.shape), y.reshape(out.shape), out[0])
        yield from self._reshare(out)
        return out.reshape(x.shape)

    def _give(self, values: Words | None, owner: int, out: Words, kind: Kind) -> Steps:
        """Fill (2, n) with shares of what the owner has, (n,): by a message to the party after it."""
        out[:] = 0
        if self._i == owner:
            self._mask(out[0], kind, owner)
            out[1] = values ^ out[0] if kind == "xor" else values - out[0]
            self._send(self._after, out[1])
        elif self._i == (owner - 1) % 3:
            self._mask(out[1], kind, owner)
        yield
        if self._i == (owner + 1) % 3:
            out[0] = self._receive(self._before, out.shape[1])

    def _give_planes(self, x: Words) -> Generator[None, None, Words]:
        """Shares of the bits of s that party 0 has of (2, n): (2, 64, width)."""
        out = np.empty((2, 64 * planes.width(x.shape[1])), dtype=np.uint64)
        own = planes.planes(x[0] + x[1]).reshape(-1) if self._i == 0 else None
        yield from self._give(own, 0, out, "xor")
        return out.reshape(2, 64, -1)

    def _split_all(
        self, given: Sequence[Words] | None, n: int, *, widths: tuple[int, ...]
    ) -> Generator[None, None, list[Words]]:
        """Split arrays (n,) of party 0 additively between 1 and 2, each modulo 2^(8·width): its share of each, (n,)."""
        shares: list[Words] = []
        if self._i != 1:
            masks = np.zeros((len(widths), n), dtype=np.uint64)
            self._mask(masks, "add", 0)
            shares = list(masks)
        if given is not None:
            parts = [_narrow(v - mask, width) for v, mask, width in zip(given, shares, widths, strict=True)]
            self._send(self._after, parts[0] if len(parts) == 1 else np.concatenate(parts))
        yield
        if self._i == 1:
            data = self._receive_bytes(self._before, n * sum(widths))
            ends = np.cumsum(widths) * n
            shares = [_wide(data[end - n * width : end], width) for end, width in zip(ends, widths, strict=True)]
        return shares

    def _join(self, share: Words | None, out: Words, *, kind: Kind = "add", width: int = _WORD) -> Steps:
        """Fill (2, n) with shares of what parties 1 and 2 have, (n,), of which the highest `width` bytes count."""
        n = out.shape[1]
        if share is None:
            yield
            for row, peer in enumerate((self._before, self._after)):
                data = self._receive_bytes(peer, n * width)
                out[row] = _wide(data, width) << np.uint64(64 - 8 * width)
            return
        # x2 is a mask that both know, and another one hides the shares from party 0.
        masks = np.zeros((2, n), dtype=np.uint64)
        self._mask(masks, "add", 2)
        masks <<= np.uint64(64 - 8 * width)
        x2, hide = masks
        if self._i == 1:
            mine = share ^ hide if kind == "xor" else share + hide
            out[0], out[1] = mine, x2
        else:
            mine = share ^ hide ^ x2 if kind == "xor" else share - hide - x2
            out[0], out[1] = x2, mine
        self._send(self._before if self._i == 1 else self._after, _narrow(mine >> np.uint64(64 - 8 * width), width))
        yield

    def _added(self, through: Words, carry: Words) -> Generator[None, None, Words]:
        """The sum of two numbers, (2, 64, width), of the sums of their bits and the carries of all but the highest."""
        passes, carry = through[:, :-1].copy(), carry.copy()
        for level in range(6):
            rows = np.array([row for row in range(63) if row >> level & 1])
            kept = rows[rows >= 2 << level]
            left = np.concatenate((passes[:, rows], passes[:, kept]), axis=1)
            below = [(group >> level << level) - 1 for group in (rows, kept)]
            right = np.concatenate((carry[:, below[0]], passes[:, below[1]]), axis=1)
            both = yield from self._and(left, right)
            carry[:, rows] ^= both[:, : len(rows)]
            passes[:, kept] = both[:, len(rows) :]
        total = through.copy()
        total[:, 1:] ^= carry
        return total

    # What they stand on: pieces, masks, messages

    def _run(
        self, operation: str, details: object, n: int, piece: Callable[[slice], Steps], *, size: int | None = None
    ) -> None:
        """Run a method on its n values, some pieces at a time, in an order that is the same at all parties."""
        size = size or PIECE
        self._operation = operation
        self._program = zlib.crc32(f"{operation} {details}".encode(), self._program)
        parts = iter([slice(start, min(start + size, n)) for start in range(0, n, size)])
        running: deque[Steps] = deque()
        with self._closing():
            while True:
                while len(running) < AHEAD and (part := next(parts, None)) is not None:
                    running.append(piece(part))
                if not running:
                    break
                steps = running.popleft()
                if next(steps, StopIteration) is not StopIteration:
                    running.append(steps)
            for outbox in (self._before, self._after):
                outbox.flush()

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            for channel in self._channels.values():
                channel.close(f"three-party arithmetic broke off ({type(error).__name__})")
            for outbox in (self._before, self._after):
                outbox.abandon()
            raise

    def _take(self, place: int, words: int) -> ring.Place:
        """Where the next words of a key's stream are: used up from now on, even if the method then fails."""
        place %= 3
        block = self._used[place]
        self._used[place] += -(-words // ring.WORDS_PER_BLOCK)
        if self._used[place] > _LIFETIME:
            raise UsageError(f"This engine has used {_LIFETIME} blocks of a key; start another one.")
        return ring.Place(self._keys[place], block)

    def _mask(self, words: Words, kind: Literal["add", "subtract", "xor"], place: int) -> None:
        """Mask contiguous words, in place, by the stream of a key that this party holds."""
        ring.mask(words, kind, self._take(place, words.size))

    def _send(self, outbox: _Outbox, data: Array) -> None:
        header = wire.ThreeStep(operation=self._operation, program=self._program)
        outbox.send(header, np.ascontiguousarray(data).reshape(-1).view(np.uint8))

    def _receive(self, peer: _Outbox, words: int) -> Words:
        return self._receive_bytes(peer, words * _WORD).view(np.uint64)

    def _receive_bytes(self, peer: _Outbox, size: int) -> NDArray[np.uint8]:
        data: NDArray[np.uint8]
        header, data = peer.channel.recv(wire.ThreeStep, max_bytes=size)
        peer.received += 1
        same = (header.step, header.operation, header.program) == (peer.received, self._operation, self._program)
        peer.channel.require(same, f"the same program at all parties, here {self._operation}")
        peer.channel.require(len(data) == size, f"{size} bytes for {self._operation}")
        return data


class _Outbox:
    """A channel, and a thread that sends what is large while this party computes on. It ends with the method."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.received = 0
        self._sent = 0
        self._queue: queue.SimpleQueue[tuple[contextvars.Context, wire.ThreeStep, Array] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def send(self, header: wire.ThreeStep, data: Array) -> None:
        """Send, now or soon: `data` must not change before ``flush``."""
        self._sent += 1
        header.step = self._sent
        if self._thread is None and data.nbytes <= DIRECT:
            self.channel.send(header, data)
            return
        if self._thread is None:
            name = f"arithmetic to {self.channel.peer}"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()
        # In the caller's context, so that what follows the caller about (a simulated clock) is in the thread.
        self._queue.put((contextvars.copy_context(), header, data))

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            context, header, data = message
            if self._failure is None:
                try:
                    context.run(self.channel.send, header, data)
                except BaseException as error:
                    self._failure = error

    def flush(self) -> None:
        """Wait until everything is sent. Raises what sending raised."""
        self.abandon()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Wait until everything is sent or has failed."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None


def _flat(a: Array) -> Array:
    """(2, *S) → (2, n), contiguous."""
    return np.ascontiguousarray(a).reshape(len(a), math.prod(a.shape[1:]))


def _narrow(words: Words, width: int) -> NDArray[np.uint8]:
    """The lowest `width` bytes of each word, one after another."""
    data = np.ascontiguousarray(words).view(np.uint8).reshape(-1, _WORD)
    return np.ascontiguousarray(data[:, :width]).reshape(-1)


def _wide(data: NDArray[np.uint8], width: int) -> Words:
    """The inverse of ``_narrow``, with zeros above."""
    if width == _WORD:
        return data.view(np.uint64)
    words = np.zeros(len(data) // width, dtype=np.uint64)
    words.view(np.uint8).reshape(-1, _WORD)[:, :width] = data.reshape(-1, width)
    return words


def _whole(n: int) -> int:
    """A number of values for a piece: whole words of bits, and not none."""
    return max(n // 64 * 64, 64)


def _require_same(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise UsageError(f"Components of {a.shape} and {b.shape}: broadcast them to one shape first.")


def _require_places(bits: int) -> None:
    if not 0 <= bits <= 62:
        raise UsageError(f"A word is truncated by 0 to 62 bits, not {bits}.")
