"""Division, roots, exponentials, logarithms and the logistic function of shared numbers.

Each function states its domain, its largest error and its steps; tests assert the errors over the whole domain with an
engine that rounds as badly as one may. Outside the domain the result is wrong, which nobody can see, and tells nothing.
Errors hold for faithful truncation. One *step* is 2^-f where f is the argument's number of fractional bits; a whole
number is first made a real one of the context's.

How a number is brought to where a polynomial fits: its bits under XOR (``Engine.to_bits``), an OR of each bit with all
above it, and of that the highest one alone: a word 2^j with 2^j <= x < 2^(j+1), still of shared bits, which are moved
and masked for nothing. Back as a word, it multiplies x to a number of fixed size [Catrina, de Hoogh 2010].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mpc import fixed
from mpc.errors import UsageError
from protocols.arithmetic import series
from protocols.arithmetic.engine import Array, Bits, Engine, Words
from protocols.arithmetic.shared import Context, Operand, Shared, concatenate, context_of

MAX_FRACTION = 24
"""Most fractional bits that these functions take."""

AT_A_TIME = 1 << 18
"""Values that a function takes at a time; of more, its rounds are those of several runs."""

_Z = np.uint64


def divide(a: Operand, b: Operand) -> Shared:
    """The quotient a / b, at least one of them shared.

    Domain: 2 steps <= |b| < 2^28, |a / b| < 2^(34 - f), which is 2^16 for 18 fractional bits.
    Error:  at most 1.5 steps + |a / b|·2^-20.
    Steps:  bits of b, its size, the reciprocal c ↦ 1/c on [1/2, 1] by a quadratic start and two steps of Goldschmidt's,
            the numerator brought to the same size before it is multiplied, so that large divisors lose nothing.
    """
    context = context_of(a, b)
    f = max(x.fraction for x in (a, b) if isinstance(x, Shared))
    f = f or context.fraction
    _check_fraction(f)
    upper = a if isinstance(a, Shared) else context.constant(a)
    lower = b if isinstance(b, Shared) else context.constant(b)
    shape = np.broadcast_shapes(upper.shape, lower.shape)
    lower = lower.as_fixed(f)
    if lower.size > AT_A_TIME:
        flat = [x.broadcast_to(shape).ravel() for x in (upper, lower)]
        starts = range(0, flat[0].size, AT_A_TIME)
        pieces = [divide(*(x[start : start + AT_A_TIME] for x in flat)) for start in starts]
        return concatenate(pieces).reshape(shape)
    engine, top = context.engine, 27 + f
    b_words = _flat(lower.components)
    a_words = _flat(upper.as_fixed(f).broadcast_to(shape).components)
    bits = engine.to_bits(b_words)
    signs = bits >> _Z(63)
    # −1 where b is negative; b − 1 and b, or −b, have the same highest bit but where |b| is a power of two.
    size = _highest(engine, bits ^ np.negative(signs))
    scale = engine.from_bits(_reversed(size, top + 1))  # 2^(top − j)
    both = _joined(b_words, scale)
    flips = engine.select_word(_joined(signs.astype(np.bool_), signs.astype(np.bool_)), both)
    scaled_sign = scale - (flips[:, b_words.shape[1] :] << _Z(1))  # ±2^(top − j)
    positive = b_words - (flips[:, : b_words.shape[1]] << _Z(1))
    small = context.truncate(engine.mul(positive, scale), top + 1 - _G)  # c in [1/2, 1]
    y = _reciprocal_of_half_to_one(context, small, 23)
    # a / ±2^(j+1) with f + 4 fractional bits, once for each a
    of_a = _flat(_as(lower, scaled_sign).broadcast_to(shape).components)
    quotient = context.truncate(engine.mul(a_words, of_a), top - 3 - f)
    y_of_a = _flat(_as(lower, y).broadcast_to(shape).components)
    result = context.truncate(engine.mul(quotient, y_of_a), f + 4 + 23 - f)
    return Shared(context, result.reshape(len(result), *shape), "fixed", f)


def reciprocal(x: Shared) -> Shared:
    """1 / x: ``divide`` with a numerator of one."""
    return divide(1.0, x)


def scale(x: Shared, top: int, *, step: int = 1) -> Shared:
    """What brings whole numbers to one size: 2^(top - j) where 2^j <= x < 2^(j + step), j a multiple of the step.

    Where x is 0 it is 2^top. For few numbers: of many, bits take less than comparisons with each power.

    Domain: 0 <= x < 2^(top + step), top <= 60.
    Error:  exact.
    Steps:  comparisons with all powers at once.
    """
    if x.kind != "int" or not 1 <= step <= top <= 60:
        raise UsageError("scale takes whole numbers, top up to 60 and a step from 1 to top.")
    engine, powers = x.context.engine, range(step, top + 1, step)
    bounds = np.array([1 << power for power in powers], dtype=np.uint64)[:, None]
    compared = x.components.reshape(len(x.components), 1, -1) - engine.constant(
        np.broadcast_to(bounds, (len(bounds), x.size))
    )
    below = np.ascontiguousarray(engine.below(compared, (0,), bits=min(63, top + step + 1))[:, 0])
    # 2^(top - j) is 1 or what is lowest, and for each power that x is below what is lost on the way to it.
    lost = [(1 << (top - power + step)) - (1 << (top - power)) for power in powers]
    least = engine.constant(np.full(x.size, 1 << (top - powers[-1]), dtype=np.uint64))
    words = engine.bit_to_word(below) * np.array(lost, dtype=np.uint64)[:, None]
    return _as(x, least + words.sum(axis=1, dtype=np.uint64))


def inverse(x: Shared) -> Shared:
    """The whole number nearest to 2^60 / x, about: a reciprocal that keeps its digits, whatever the size of x.

    Domain: whole 1 <= x < 2^31.
    Error:  at most 2^-24 of it.
    Steps:  ``scale``, and the reciprocal on [1/2, 1) of ``divide``.
    """
    context, engine = x.context, x.context.engine
    power = _flat(scale(x, 30).components)
    c = context.truncate(engine.mul(_flat(x.components), power), 31 - _G)  # in [1/2, 1)
    return _as(x, engine.mul(_reciprocal_of_half_to_one(context, c, 29), power))


def sqrt(x: Shared) -> Shared:
    """The square root.

    Domain: 0 <= x, below 2^61 steps.
    Error:  at most 1.5 steps + √x·2^-21.
    Steps:  bits, size, 1/√c on [1/4, 1) by a cubic start and two steps of Goldschmidt's.
    """
    return _by_pieces(_sqrt, x)


def _sqrt(number: Shared) -> Shared:
    f = number.fraction
    context, engine = number.context, number.context.engine
    words = _flat(number.components)
    odd = f % 2
    if odd:
        words = words << _Z(1)  # an even number of fractional bits, of which the root has half
    size = _highest(engine, engine.to_bits(words))
    even, uneven = size & _EVEN, size & ~_EVEN
    pair = even ^ (uneven >> _Z(1))  # 4^i with 4^i <= x < 4^(i+1)
    parts = engine.from_bits(_joined(_reversed(pair, 61), _compressed(pair)))  # 4^(30−i), 2^i
    scale, root = parts[:, : words.shape[1]], parts[:, words.shape[1] :]
    c = context.truncate(engine.mul(words, scale), 62 - _S)  # in [1/4, 1), _S bits
    s = _root_of_quarter_to_one(context, c)
    shift = _S - 1 - (f + odd) // 2 + odd
    result = context.truncate(engine.mul(s, root), shift)
    return _as(number, result)


def exp(x: Shared) -> Shared:
    """The exponential.

    Domain: -2^(35-f) < x < (36-f)·ln 2: up to 12.4 for 18 fractional bits.
    Error:  at most 1.5 steps + e^x·2^-20.
    Steps:  x·log2(e) = n + r by bits, 2^n by multiplying the powers that n's bits select, 2^r by a polynomial of
            degree 6.
    """
    return _by_pieces(_exp, x)


def _exp(number: Shared) -> Shared:
    f = number.fraction
    context, engine = number.context, number.context.engine
    words = _flat(number.components)
    least = f + 1  # 2^-least rounds to nothing
    turned = context.truncate(words * _Z(round(math.log2(math.e) * 2**26)), f)  # 26 fractional bits
    moved = turned + engine.constant(np.full(words.shape[1], least << 26, dtype=np.uint64))
    bits = engine.to_bits(moved)
    n_bits: Bits = np.concatenate([(bits >> _Z(26 + i)) & _Z(1) for i in range(6)], axis=1).astype(np.bool_)
    n_words = engine.bit_to_word(n_bits).reshape(len(words), 6, -1)
    r = moved - (n_words << (np.arange(26, 32, dtype=np.uint64)[:, None])).sum(axis=1, dtype=np.uint64)
    ones = engine.constant(np.ones((6, words.shape[1]), dtype=np.uint64))
    factors = ones + n_words * ((_Z(1) << (_Z(1) << np.arange(6, dtype=np.uint64))) - _Z(1))[:, None]
    power = engine.mul(np.ascontiguousarray(factors[:, 0:3]), np.ascontiguousarray(factors[:, 3:6]))
    power = engine.mul(
        np.ascontiguousarray(power[:, 0]), engine.mul(*(np.ascontiguousarray(power[:, i]) for i in (1, 2)))
    )
    u = (r << _Z(_G + 1 - 26)) - engine.constant(np.full(words.shape[1], 1 << _G, dtype=np.uint64))  # 2r − 1
    y = _polynomial(context, u, _EXP2, 24)
    result = context.truncate(engine.mul(y, power), 24 + least - f)
    inside = (bits >> _Z(63)).astype(np.bool_) ^ engine.constant(np.ones(words.shape[1], dtype=np.bool_))
    return _as(number, engine.select_word(inside, result))


def log(x: Shared) -> Shared:
    """The natural logarithm.

    Domain: 0 < x, below 2^62 steps.
    Error:  at most 1.5 steps + 2^-20.
    Steps:  bits, size 2^j, j from parities of the size's bits, ln c on [1/2, 1) by a polynomial of degree 8.
    """
    return _by_pieces(_log, x)


def _log(number: Shared) -> Shared:
    f = number.fraction
    context, engine = number.context, number.context.engine
    words = _flat(number.components)
    size = _highest(engine, engine.to_bits(words))
    scale = engine.from_bits(_reversed(size, 62))  # 2^(61−j)
    c = context.truncate(engine.mul(words, scale), 62 - _G)  # in [1/2, 1)
    # Of one bit at j, those parities are j's own bits: XOR over places is local.
    parities = [np.bitwise_count(size & _Z(mask)).astype(np.uint8) & np.uint8(1) for mask in _PLACES]
    j_bits = engine.bit_to_word(np.concatenate(parities, axis=1).astype(np.bool_)).reshape(len(words), 6, -1)
    j = (j_bits << np.arange(6, dtype=np.uint64)[:, None]).sum(axis=1, dtype=np.uint64)
    exponent = j - engine.constant(np.full(words.shape[1], f - 1, dtype=np.uint64))
    u = (c << _Z(2)) - engine.constant(np.full(words.shape[1], 3 << _G, dtype=np.uint64))  # 4c − 3
    unit = _Z(round(math.log(2) * 2 ** (_G + _C)))
    return _as(number, _polynomial(context, u, _LOG, f, extra=exponent * unit))


def sigmoid(x: Shared, *, error: float = 1e-3, size: int = 20) -> Shared:
    """The logistic function 1 / (1 + e^-x).

    Domain: |x| <= 2^size - 2^size / 16, which is 10^6 unless a smaller size is given, that takes less. At least 2^5.
    Error:  at most `error`, 1e-3 or 1e-4.
    Steps:  two comparisons in one, of the bits that such numbers have, which say where the result is 0 or 1; and
            between them a line and a Fourier series of 4 or of 7 terms (``Engine.fourier``), rounded together:
            constants by tests/reference/sigmoid_fit.py.

    Raises:
        UsageError: another `error`, or fewer than 18 fractional bits, with which it could not be held; a size of other
            than 5 to 20.
    """
    if not 5 <= size <= _SIZE:
        raise UsageError(f"size is 5 to {_SIZE}, not {size!r}.")
    if error not in _SIGMOID:
        raise UsageError(f"error is one of {', '.join(map(str, _SIGMOID))}, not {error!r}.")
    limit, factor, period_bits, slope, coefficients = _SIGMOID[error]

    def of_piece(number: Shared) -> Shared:
        f, words = number.fraction, _flat(number.components)
        if f < fixed.FRACTION:
            raise UsageError(f"sigmoid takes at least {fixed.FRACTION} fractional bits, not {f}: call as_fixed first.")
        # Of 18 bits two more, so that the series' roundings are below one step; of 24 they are below the error anyway.
        bits = min(f + 2, series.MAX_OUT_BITS)
        wave = number.context.engine.fourier(words * _Z(factor), f + period_bits, coefficients, bits)
        middle = number.context.truncate(words * _Z(slope) + (wave << _Z(f + _SLOPE - bits)), _SLOPE)
        return _between(number, middle, limit, size)

    return _by_pieces(of_piece, x)


def sigmoid_three_segments(x: Shared) -> Shared:
    """A rough logistic function for training: 0, then 1/2 + 45/256·x, then 1.

    Domain: |x| <= 10^6.
    Error:  at most 0.06.
    Steps:  two comparisons in one, no product but the one that selects.
    """

    def of_piece(number: Shared) -> Shared:
        middle = number.context.truncate(_flat(number.components) * _Z(45), 8)
        return _between(number, middle, 128 / 45 - 2.0**-_COARSE)

    return _by_pieces(of_piece, x)


# Steps ---------------------------------------------------------------------------------------------------------------

_G = 27  # fractional bits of numbers of fixed size: a product has 54
_S = 26  # and of the square root, whose start has 6 more
_C = 26  # fractional bits of coefficients
_EVEN = _Z(0x5555555555555555)
_PLACES = tuple(sum(1 << place for place in range(64) if place >> i & 1) for i in range(6))

# Chebyshev interpolation, in powers: ln(3/4 + u/4) within 4e-8 and 2^((1 + u) / 2) within 3e-9, u in [-1, 1].
_LOG = (
    -2.87682072e-01,
    3.33333088e-01,
    -5.55554816e-02,
    1.23489307e-02,
    -3.08739898e-03,
    8.11556003e-04,
    -2.25164889e-04,
    7.99857793e-05,
    -2.34633010e-05,
)
_EXP2 = (
    1.41421356e00,
    4.90129090e-01,
    8.49328968e-02,
    9.81168505e-03,
    8.50124137e-04,
    5.92220852e-05,
    3.41652884e-06,
)

# By error: limit L, beyond which the result may be 0 or 1, and is from L + 1/16 on; the period is 2^bits / factor, so x
# is multiplied by the factor; the line's slope in units of 2^-_SLOPE; the series.
_SLOPE = 20
_SIGMOID = {
    1e-3: (6.9375, 5, 6, 81600, (0.221142598, 0.044637015, 0.009828937, 0.002011587)),
    1e-4: (
        9.25,
        15,
        8,
        61413,
        (0.257169099, 0.073526503, 0.022963226, 0.007194987, 0.002277212, 0.000705858, 0.000253896),
    ),
}
_SIZE = 20  # what is compared with limits is below 2^_SIZE unless said otherwise,
_COARSE = 4  # and is compared in steps of 2^-_COARSE


def _check_fraction(f: int) -> None:
    if f > MAX_FRACTION:
        raise UsageError(f"These functions take up to {MAX_FRACTION} fractional bits, not {f}: call as_fixed first.")


def _by_pieces(function: Callable[[Shared], Shared], x: Shared) -> Shared:
    """The function of x as a real number, of at most so many values at a time, which bounds the memory."""
    number = x if x.kind == "fixed" else x.as_fixed()
    _check_fraction(number.fraction)
    if number.size <= AT_A_TIME:
        return function(number)
    flat = number.ravel()
    pieces = [function(flat[start : start + AT_A_TIME]) for start in range(0, flat.size, AT_A_TIME)]
    return concatenate(pieces).reshape(number.shape)


def _flat(components: Array) -> Array:
    return np.ascontiguousarray(components.reshape(len(components), math.prod(components.shape[1:])))


def _as(like: Shared, words: Words) -> Shared:
    """Words, flat or not, as numbers of the same shape and fraction."""
    return replace(like, components=words.reshape(like.components.shape))


def _joined(*parts: Array) -> Array:
    return np.concatenate(parts, axis=1)


def _highest(engine: Engine, bits: Words) -> Words:
    """Bit words with the highest one alone."""
    for distance in (1, 2, 4, 8, 16, 32):
        moved = bits >> _Z(distance)
        both: Words = engine.and_(bits, moved)
        bits = np.bitwise_xor(bits ^ moved, both)  # OR
    return bits ^ (bits >> _Z(1))


def _reversed(bits: Words, width: int) -> Words:
    """Bit i of words below 2^width at width − 1 − i."""
    for distance, mask in ((1, _EVEN), (2, _Z(0x3333333333333333)), (4, _Z(0x0F0F0F0F0F0F0F0F))):
        bits = ((bits >> _Z(distance)) & mask) | ((bits & mask) << _Z(distance))
    whole: Words = bits.byteswap() >> _Z(64 - width)
    return whole


def _compressed(bits: Words) -> Words:
    """Bit 2i at i; bits at odd places are zero."""
    for distance, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        bits = (bits ^ (bits >> _Z(distance))) & _Z(mask)
    return bits


def _constant(engine: Engine, value: float, bits: int, n: int) -> Words:
    return engine.constant(np.full(n, round(value * 2**bits) % 2**64, dtype=np.uint64))


def _reciprocal_of_half_to_one(context: Context, c: Words, bits: int) -> Words:
    """1/c with `bits` fractional bits, c in [1/2, 1] with _G; off by 2^-25 of it and some roundings of 2^-27."""
    engine, n = context.engine, c.shape[1]
    square = context.truncate(engine.mul(c, c), _G)
    # (80c² − 183c + 135) / 32 is off by 1.4 %; the division is left to the next truncation.
    start = square * _Z(80) - c * _Z(183) + _constant(engine, 135, _G, n)
    e = _constant(engine, 1, _G, n) - context.truncate(engine.mul(c, start), _G + 5)
    one = _constant(engine, 1, _G, n)
    pair = engine.mul(_joined(e, start), _joined(e, one + e))
    e_square, y = context.truncate(pair[:, :n], _G), context.truncate(pair[:, n:], _G + 5)
    return context.truncate(engine.mul(y, one + e_square), 2 * _G - bits)


def _root_of_quarter_to_one(context: Context, c: Words) -> Words:
    """√c with _S fractional bits, c in [1/4, 1) with as many."""
    engine, n = context.engine, c.shape[1]
    square = context.truncate(engine.mul(c, c), _S)
    cube = context.truncate(engine.mul(square, c), _S)
    # (−154c³ + 397c² − 378c + 199) / 64 is 1/√c up to 1 %; again with 6 bits more.
    start = square * _Z(397) - cube * _Z(154) - c * _Z(378) + _constant(engine, 199, _S, n)
    half, one = _constant(engine, 0.5, _S, n), _constant(engine, 1, _S, n)
    g = context.truncate(engine.mul(c, start), _S + 6)
    h = start  # half of 1/√c, with _S + 7 fractional bits
    more = one + half - context.truncate(engine.mul(g, h), _S + 7)
    pair = engine.mul(_joined(g, h), _joined(more, more))
    g, h = context.truncate(pair[:, :n], _S), context.truncate(pair[:, n:], _S + 7)
    more = one + half - context.truncate(engine.mul(g, h), _S)
    return context.truncate(engine.mul(g, more), _S)


def _polynomial(
    context: Context, u: Words, coefficients: Sequence[float], bits: int, *, extra: Words | None = None
) -> Words:
    """Σ c_i·u^i with `bits` fractional bits, |u| <= 1 with _G; `extra` has _G + _C and is added before the rounding.

    Powers in ⌈log2 degree⌉ rounds: all that are products of two known ones at once.
    """
    engine, n = context.engine, u.shape[1]
    powers = [u]
    degree = len(coefficients) - 1
    while len(powers) < degree:
        known = len(powers)
        wanted = range(known + 1, min(2 * known, degree) + 1)
        left = _joined(*(powers[known - 1] for _ in wanted))
        right = _joined(*(powers[i - known - 1] for i in wanted))
        products = context.truncate(engine.mul(left, right), _G)
        powers += [products[:, i * n : (i + 1) * n] for i in range(len(wanted))]
    total = _constant(engine, coefficients[0], _G + _C, n)
    for coefficient, power in zip(coefficients[1:], powers, strict=True):
        total = total + power * _Z(round(coefficient * 2**_C) % 2**64)
    if extra is not None:
        total = total + extra
    return context.truncate(total, _G + _C - bits)


def _between(x: Shared, middle: Words, limit: float, size: int = _SIZE) -> Shared:
    """1/2 + middle where |x| <= limit, 0 below and 1 above; either of the two within a step of 2^-_COARSE beyond."""
    engine, f = x.context.engine, x.fraction
    coarse = max(f - _COARSE, 0)
    bound = math.ceil(limit * 2**f)
    # What is up to a step above a bound may count as below it, so that the lower one is a step lower.
    below = engine.below(_flat(x.components), (-bound - (1 << coarse), bound), bits=size + f, drop=coarse)
    lower, upper = (np.ascontiguousarray(below[:, i]) for i in range(2))
    half, one = (_constant(engine, value, f, x.size) for value in (0.5, 1))
    inside = engine.select_word(lower ^ upper, middle + half)
    return _as(x, inside + one - (engine.bit_to_word(upper) << _Z(f)))
