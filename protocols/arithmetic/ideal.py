"""Ideal engine: every computing party holds the values themselves, for fast tests of what stands on shared arithmetic.

Security: none. Owners send their values to all computing parties in the clear.
Leaks:    everything.
Cost:     one message per input and other computing party; everything else is local.

A trusted third party would compute the same: results are right up to what ``Engine`` allows. Truncation rounds up or
down and ``fourier`` is off, by up to what they may be, the same way at every party: at random as the real engines do,
or always in one direction, so that a test meets the worst case.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mpc.errors import UsageError
from mpc.kernels import ring
from mpc.rng import Rng
from mpc.session import Session
from protocols.arithmetic import pieces, series
from protocols.arithmetic.engine import Array, Bits, Disagreement, Scheme, Words, check_window

Rounding = Literal["random", "down", "up"]

_BIAS = np.uint64(1 << 63)


def deal(values: Array, rng: Rng) -> tuple[Array, ...]:  # noqa: ARG001 - the ideal engine has nothing to hide
    """The values themselves: (1, *S), whoever gets them."""
    return (values[None],)


def combine(components: Sequence[Array]) -> Array:
    """The value that all say; Disagreement where one says another."""
    first: Array = components[0][0]
    if any(not np.array_equal(first, c[0]) for c in components[1:]):
        raise Disagreement("copies of a value differ")
    return first


def scheme(parties: int) -> Scheme:
    """The scheme of so many parties."""
    return Scheme("ideal", parties, 1, min(parties, 2), lambda values, rng: deal(values, rng) * parties, combine)


class Ideal:
    """The engine. Attributes and methods as ``Engine`` describes them.

    Args:
        session: of a computing party. A session without channels plays the only party: see ``alone``.
        compute: names of the computing parties.
        rounding: where truncation and ``fourier`` err to.
        seed: of what is random about them; the same at all parties.
    """

    k = 1

    def __init__(
        self, session: Session, compute: Sequence[str], *, rounding: Rounding = "random", seed: bytes = b""
    ) -> None:
        self.me = session.me
        self.compute = tuple(compute)
        if self.me not in self.compute:
            raise UsageError(f"{self.me} is none of the computing parties {self.compute}.")
        self._channels = {peer: session.channel(peer) for peer in self.compute if peer != self.me}
        self._rounding = rounding
        digest = hashlib.sha256(b"unseen ideal arithmetic" + seed).digest()
        self._noise = np.random.default_rng(int.from_bytes(digest))
        self.scheme = scheme(len(self.compute))

    def constant(self, public: Array) -> Array:  # noqa: D102
        return np.array(public, order="C")[None]

    def input(self, values: Words | None, owner: str, shape: tuple[int, ...]) -> Words:  # noqa: D102
        return self._input(values, owner, shape, bits=False)

    def input_bits(self, values: Bits | None, owner: str, shape: tuple[int, ...]) -> Bits:  # noqa: D102
        return self._input(values, owner, shape, bits=True)

    def _input(self, values: Array | None, owner: str, shape: tuple[int, ...], *, bits: bool) -> Array:
        if owner not in self.compute:
            raise UsageError(f"{owner!r} is none of the computing parties {self.compute}.")
        if owner != self.me:
            return pieces.receive(self._channels[owner], 1, shape, bits=bits)
        if values is None or values.shape != shape or values.dtype != (np.bool_ if bits else np.uint64):
            raise UsageError(f"{owner} gives an array {shape} of {'bool' if bits else 'uint64'}.")
        components = np.array(values, order="C")[None]
        for channel in self._channels.values():
            pieces.send(channel, components)
        return components

    def sum_inputs(self, values: Words) -> Words:  # noqa: D102
        total = np.zeros((1, *values.shape), dtype=np.uint64)
        for owner in self.compute:
            total += self.input(values if owner == self.me else None, owner, values.shape)
        return total

    def open(self, a: Array, to: tuple[str, ...] | None = None) -> Array | None:  # noqa: D102
        opened: Array = a[0].copy()
        return opened if to is None or self.me in to else None

    def open_bits(self, a: Words, to: tuple[str, ...] | None = None) -> Words | None:  # noqa: D102
        return self.open(a, to)

    def outward(self, a: Array) -> Array:  # noqa: D102
        return a

    def piece(self, a: Words, to: str) -> Words | None:  # noqa: D102
        givers = self.scheme.givers(self.compute, to)
        # Cut at random, the same way at every party, so that what takes the pieces in is tested.
        cut = self._noise.integers(0, 1 << 64, (len(givers) - 1, *a.shape[1:]), dtype=np.uint64)
        if self.me not in givers:
            return None
        if self.me != givers[0]:
            rest: Words = cut[givers.index(self.me) - 1]
            return rest
        first: Words = a[0] - cut.sum(axis=0, dtype=np.uint64)
        return first

    def mul(self, a: Words, b: Words) -> Words:  # noqa: D102
        product: Words = a * b
        return product

    def matmul(self, a: Words, b: Words) -> Words:  # noqa: D102
        return ring.matmul(a[0], b[0])[None]

    def truncate(self, a: Words, bits: int) -> Words:  # noqa: D102
        unit = np.uint64(1 << bits)
        low = a & (unit - np.uint64(1))
        floor: Words = (a.view(np.int64) >> np.int64(bits)).view(np.uint64)
        if self._rounding == "down":
            return floor
        if self._rounding == "up":
            ceiling: Words = floor + (low != 0)
            return ceiling
        up = self._noise.integers(0, 1 << 62, a.shape, dtype=np.uint64) % unit < low
        rounded: Words = floor + up
        return rounded

    def truncate_local(self, a: Words, bits: int) -> Words:  # noqa: D102
        return self.truncate(a, bits)

    def fourier(self, a: Words, period_bits: int, coefficients: Sequence[float], out_bits: int) -> Words:  # noqa: D102
        series.check(period_bits, coefficients, out_bits)
        turns = (a & np.uint64((1 << period_bits) - 1)).astype(np.float64) * (2 * math.pi / (1 << period_bits))
        total = np.zeros(a.shape)
        for k, coefficient in enumerate(coefficients, start=1):
            total += coefficient * np.sin(k * turns)
        error = len(coefficients) + 1.5
        off = {"random": self._noise.uniform(-error, error, a.shape), "down": -error, "up": error}[self._rounding]
        words: Words = np.rint(np.ldexp(total, out_bits) + off).astype(np.int64).view(np.uint64)
        return words

    def negative(self, a: Words) -> Bits:  # noqa: D102
        sign: Bits = a >= _BIAS
        return sign

    def below(self, a: Words, bounds: Sequence[int], *, bits: int, drop: int = 0) -> Bits:  # noqa: D102
        check_window(bits, drop)
        moved = a[:, None] - _words(bounds).reshape(len(bounds), *(1,) * (a.ndim - 1))
        most = 1 << drop if drop else 0
        off = self._noise.integers(0, most + 1, moved.shape, dtype=np.uint64)
        missed = {"random": off, "down": np.full_like(off, most), "up": np.zeros_like(off)}[self._rounding]
        return self.negative(moved - missed)

    def is_zero(self, a: Words) -> Bits:  # noqa: D102
        zero: Bits = a == 0
        return zero

    def and_(self, a: Array, b: Array) -> Array:  # noqa: D102
        return a & b

    def to_bits(self, a: Words) -> Words:  # noqa: D102
        return a.copy()

    def from_bits(self, a: Words) -> Words:  # noqa: D102
        return a.copy()

    def bit_to_word(self, a: Bits) -> Words:  # noqa: D102
        return a.astype(np.uint64)

    def select_word(self, bits: Bits, a: Words) -> Words:  # noqa: D102
        selected: Words = bits * a
        return selected


def _words(numbers: Sequence[int]) -> Words:
    return np.array([number % (1 << 64) for number in numbers], dtype=np.uint64)


def alone(*, rounding: Rounding = "random", seed: bytes = b"") -> Ideal:
    """An engine whose only party is named ``alone``: a function of shares runs in one thread, without a session."""
    return Ideal(Session(me="alone", channels={}), ("alone",), rounding=rounding, seed=seed)
