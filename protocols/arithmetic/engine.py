"""Engine: what shared arithmetic asks of the parties that compute. ``ideal``, ``two`` and ``three`` implement it.

Values are elements of Z_2^64 (*words*, numpy uint64) or *bits* (numpy bool). A party holds a shared array of shape S
as its *components*, one contiguous array (k, *S): of uint64 where words are shared additively, of bool where bits are
shared by XOR, and of uint64 again where whole words are shared by XOR (*bit words*; methods that give or take them say
so). In all engines a value is a sum (XOR) of components, so that whatever is linear is plain numpy on components and
no method of the engine: add, subtract, negate, multiply by a public word (the same for all components), sum over an
axis after the first, slice, reshape; XOR, and AND with public bits. A public number is added by way of ``constant``.

Words are signed by two's complement. What is compared or truncated is below 2^62 in absolute value, a difference that
is compared as well as a product that is truncated; beyond it the result is undefined, and never tells anything. The
exact methods (``negative``, ``is_zero``, ``to_bits``) and ``fourier`` have no such bound.

All computing parties call the same methods in the same order with the same shapes. Shapes may be empty and may be (),
of one value. Engines count their steps into what they say, so that programs that differ end with PeerError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.rng import Rng

Words = NDArray[np.uint64]
Bits = NDArray[np.bool_]
Array = NDArray[Any]
"""Words or bits: its dtype is uint64 or bool."""


@dataclass(frozen=True)
class Scheme:
    """How an engine's values are split, which is all that a party that does not compute has to know of it.

    Attributes:
        name: as the agreement spells it: ``two-party``, ``three-party``, ``ideal``.
        parties: how many compute.
        components: how many components each of them holds: an engine's k.
        pieces: how many of them it takes to hold a value as a plain sum (``givers``).
        deal: splits public values, (*S) of words or bits, into each computing party's components, (k, *S) each, in the
            order of ``Engine.compute``.
        combine: the value of all computing parties' components, in that order. Raises ``Disagreement`` where several
            hold the same component and do not say the same.
    """

    name: str
    parties: int
    components: int
    pieces: int
    deal: Callable[[Array, Rng], tuple[Array, ...]]
    combine: Callable[[Sequence[Array]], Array]

    def givers(self, compute: Sequence[str], to: str) -> tuple[str, ...]:
        """The computing parties whose pieces (``Engine.piece``) add up to a value: `to` first if it is one of them."""
        first = list(compute).index(to) if to in compute else 0
        return tuple(compute[(first + i) % len(compute)] for i in range(self.pieces))


class Disagreement(ValueError):
    """Two parties gave different copies of one component, so that one of them is wrong and nobody can tell which."""


def check_window(bits: int, drop: int) -> None:
    """Nothing where ``Engine.below`` takes these; UsageError otherwise."""
    if not 0 <= drop < bits <= 63:
        raise UsageError(f"below takes bits up to 63, and drop from 0 to bits - 1; not {bits} and {drop}.")


class Engine(Protocol):
    """One computing party's end. Methods are elementwise unless they say otherwise; `a` and `b` have the same shape.

    Attributes:
        me: this party's name.
        compute: names of the computing parties in the order of their roles, the same tuple at each of them.
        k: components that a party holds.
        scheme: how values are split.
    """

    @property
    def me(self) -> str: ...  # noqa: D102 - described above

    @property
    def compute(self) -> tuple[str, ...]: ...  # noqa: D102 - described above

    @property
    def k(self) -> int: ...  # noqa: D102 - described above

    @property
    def scheme(self) -> Scheme: ...  # noqa: D102 - described above

    # Into shares and out of them

    def constant(self, public: Array) -> Array:
        """Components of a public array of words or bits. No communication; protects nothing, there being no secret."""

    def input(self, values: Words | None, owner: str, shape: tuple[int, ...]) -> Words:
        """Shares of what `owner`, a computing party, gives; the others pass None. All know the shape."""

    def input_bits(self, values: Bits | None, owner: str, shape: tuple[int, ...]) -> Bits:
        """As ``input``, of bits."""

    def sum_inputs(self, values: Words) -> Words:
        """Shares of the sum of what every computing party gives, arrays of one shape.

        Not even the opened sum's shares tell a party's own values: they are added to a fresh sharing of zero.
        """

    def open(self, a: Array, to: tuple[str, ...] | None = None) -> Array | None:
        """The value of words or bits, at the computing parties `to` (None: at all of them); None at the others."""

    def open_bits(self, a: Words, to: tuple[str, ...] | None = None) -> Words | None:
        """As ``open``, of bit words."""

    def outward(self, a: Array) -> Array:
        """What of words or bits this party may give to somebody who does not compute, for ``Scheme.combine``.

        Components to which a fresh sharing of zero was added, so that together they tell the value alone, also to one
        who dealt some of what went into it. All computing parties call it.
        """

    def piece(self, a: Words, to: str) -> Words | None:
        """This party's part, (*S), of words as a plain sum of those of ``scheme.givers(compute, to)``; or None.

        `to` names who will take them in, one at a time, by a protocol that hides them. No communication: what is given
        out is not renewed, and as secret as shares are. ``sum_inputs`` brings such parts back.
        """

    # Products

    def mul(self, a: Words, b: Words) -> Words:
        """The products a·b."""

    def matmul(self, a: Words, b: Words) -> Words:
        """(k, n, m) @ (k, m, p) → (k, n, p)."""

    def truncate(self, a: Words, bits: int) -> Words:
        """Gives a / 2^bits rounded to a neighbour: floor or floor + 1, always, for |a| < 2^62 and 0 <= bits <= 62.

        How: a = s + t with s known to one side and t to the other, 2^62 added to s. The sum is below 2^63, so it
        wrapped around 2^64 exactly if the highest bit of s or that of t is set: a >> f is
        (s >> f) + (t >> f) − 2^(64−f)·(ms + mt − ms·mt) − 2^(62−f), plus 0 or 1. Only ms·mt takes interaction. The
        engine adds what makes rounding unbiased: for uniform shares the expectation is a / 2^bits up to 2^-bits, and
        multiples of 2^bits are exact but with probability 2^-bits.
        """

    def truncate_local(self, a: Words, bits: int) -> Words:
        """As ``truncate`` with less communication or none: wrong by 2^(64−bits) with probability 2^(l+1−64), |a| < 2^l.

        Wrong results are wild, and where they fall depends on a: opt-in only.
        """

    def fourier(self, a: Words, period_bits: int, coefficients: Sequence[float], out_bits: int) -> Words:
        """Σ_k c_k·sin(2πk·a / 2^period_bits), k from 1 to K = len(coefficients), in fixed point of `out_bits` bits.

        The error is at most (K + 2)·2^-out_bits. Σ|c_k| and that together are at most 8, period_bits <= 62,
        out_bits <= 25 (``series.check``); any word may be given, being reduced modulo the period.
        """

    # Bits

    def negative(self, a: Words) -> Bits:
        """The sign bit of a, exact for every word."""

    def below(self, a: Words, bounds: Sequence[int], *, bits: int, drop: int = 0) -> Bits:
        """Whether a < b for each public b of `bounds`, as signed words of which so much is known: (k, bounds, *S).

        Right for |a - b| <= 2^bits - 2^drop, but for a from b to b + 2^drop - 1: of those either may be said, as the
        shares have it. Undefined beyond. It costs what bits - drop bits cost, and the first step is the same for all
        bounds. 0 <= drop < bits <= 63.
        """

    def is_zero(self, a: Words) -> Bits:
        """Whether a = 0."""

    def and_(self, a: Array, b: Array) -> Array:
        """AND of bits with bits or of bit words with bit words, as the dtype says."""

    def to_bits(self, a: Words) -> Words:
        """Bit words of words: the same numbers, shared by XOR."""

    def from_bits(self, a: Words) -> Words:
        """Words of bit words."""

    def bit_to_word(self, a: Bits) -> Words:
        """Words 0 or 1."""

    def select_word(self, bits: Bits, a: Words) -> Words:
        """Gives a where the bit is one, 0 elsewhere."""
