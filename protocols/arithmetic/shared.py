"""Shared: an array that nobody holds, with numpy's operators.

    grade = (100 * claim <= 110 * income) & ~unknown
    total = where(known, amount, 0).sum(axis=0)

What is linear is local; products, comparisons and what is made of them talk to the other computing parties, who run the
same lines. Cost and error of each operation: docs/protocols/arithmetic.md.

A value is of one of three kinds. ``int`` is a whole number and exact. ``fixed`` is a real number with `fraction`
fractional bits; a product of two is rounded up or down by at most one step of 2^-fraction. ``bool`` is the result of a
comparison; in sums and products it counts as 0 or 1. Numbers are below 2^62 steps in absolute value, and so is a
product before it is rounded: with 18 bits of fraction, 2^26. Beyond it the result is wrong, which nobody can see.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mpc import fixed
from mpc.errors import UsageError
from mpc.kernels import ring
from protocols.arithmetic.engine import Array, Engine, Words

Kind = Literal["int", "fixed", "bool"]
Truncation = Literal["faithful", "local"]
Axis = int | tuple[int, ...] | None
Public = NDArray[Any]

_DTYPES: dict[Kind, DTypeLike] = {"int": np.int64, "fixed": np.float64, "bool": np.bool_}
_RECIPROCAL_BITS = 30  # of a public divisor's reciprocal, relative to it


@dataclass(frozen=True, slots=True)
class Context:
    """What all shared values of one run have in common.

    Attributes:
        engine: what computes.
        truncation: how products are rounded: ``faithful``, always to a neighbour; or ``local``, cheaper and now and
            then wildly wrong (``Engine.truncate_local``).
        fraction: fractional bits of real numbers where nobody says otherwise.
    """

    engine: Engine
    truncation: Truncation = "faithful"
    fraction: int = fixed.FRACTION

    def __post_init__(self) -> None:
        fixed.check_fraction(self.fraction)
        if self.truncation not in ("faithful", "local"):
            raise UsageError(f"truncation is 'faithful' or 'local', not {self.truncation!r}.")

    def truncate(self, words: Words, bits: int) -> Words:
        """Words divided by 2^bits, as ``truncation`` says."""
        if not bits:
            return words
        if self.truncation == "local":
            return self.engine.truncate_local(np.ascontiguousarray(words), bits)
        return self.engine.truncate(np.ascontiguousarray(words), bits)

    def constant(self, values: ArrayLike) -> Shared:
        """Public numbers, as a Shared."""
        public = public_array(values)
        kind: Kind = "bool" if public.dtype.kind == "b" else "fixed" if public.dtype.kind == "f" else "int"
        fraction = self.fraction if kind == "fixed" else 0
        plain = public if kind == "bool" else public_words(public, fraction)
        return Shared(self, self.engine.constant(plain), kind, fraction)


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Shared:
    """An array under shares. Made by ``share``, ``receive`` and operators; opened by ``reveal`` alone.

    Attributes:
        context: of the run.
        components: this party's, (k, *shape), as ``Engine`` describes them.
        kind: int, fixed or bool.
        fraction: fractional bits; 0 unless fixed.
    """

    context: Context
    components: Array
    kind: Kind
    fraction: int = 0

    # What it looks like

    @property
    def shape(self) -> tuple[int, ...]:
        """As numpy's."""
        return self.components.shape[1:]

    @property
    def ndim(self) -> int:
        """As numpy's."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """As numpy's."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what ``reveal`` gives: int64, float64 or bool."""
        return np.dtype(_DTYPES[self.kind])

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Shared without dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator[Shared]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        bits = f", fraction={self.fraction}" if self.kind == "fixed" else ""
        return f"Shared(shape={self.shape}, kind={self.kind}{bits})"

    # What it is not

    def __bool__(self) -> NoReturn:
        raise UsageError(
            "A secret has no truth value and cannot decide an if, and, or, not or while: use where(condition, a, b), "
            "and &, | and ~ between conditions; or reveal it first."
        )

    def __float__(self) -> NoReturn:
        raise UsageError("A secret is no Python number: reveal it first.")

    __int__ = __float__
    __index__ = __float__
    __complex__ = __float__

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise UsageError("A secret is no numpy array: reveal it first, or use the functions of protocols.arithmetic.")

    def __contains__(self, item: object) -> NoReturn:
        raise UsageError("Whether a secret array holds a number is a secret: use (array == number), and sum or max.")

    def __setitem__(self, key: object, value: object) -> NoReturn:
        raise UsageError("Shared arrays do not change: make a new one by where(condition, a, b) or concatenate.")

    def __reduce__(self) -> NoReturn:
        raise UsageError("Shares are not copied or stored: they belong to one run.")

    # The same values in another shape

    def __getitem__(self, key: object) -> Shared:
        """Public indices of all of numpy's forms."""
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, Shared) for part in keys):
            raise UsageError("An index is public: to pick by a secret condition, use where(condition, a, b).")
        if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in keys):
            return self._like(self.components[(slice(None), *keys)])
        # numpy moves the dimensions of separated index arrays to the front, before those of the components.
        places = np.arange(self.size).reshape(self.shape)[key]  # type: ignore[call-overload]  # numpy judges the key
        return self._like(self.components.reshape(len(self.components), -1)[:, places])

    def reshape(self, *shape: int | tuple[int, ...]) -> Shared:
        """As numpy's."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        first = np.broadcast_to(np.uint8(0), self.shape).reshape(wanted).shape  # type: ignore[arg-type]
        return self._like(self.components.reshape(len(self.components), *first))

    def ravel(self) -> Shared:
        """In one dimension."""
        return self.reshape(-1) if self.size else self.reshape(0)

    def transpose(self, *axes: int) -> Shared:
        """As numpy's: dimensions reversed, or in the order given."""
        order = tuple(a % self.ndim for a in axes) or tuple(reversed(range(self.ndim)))
        return self._like(self.components.transpose(0, *(a + 1 for a in order)))

    @property
    def T(self) -> Shared:
        """Dimensions reversed."""
        return self.transpose()

    def squeeze(self) -> Shared:
        """Without dimensions of length one."""
        return self.reshape(tuple(n for n in self.shape if n != 1))

    def broadcast_to(self, shape: tuple[int, ...]) -> Shared:
        """As numpy's."""
        return self._like(_spread(self.components, shape))

    # Kinds

    def as_int(self) -> Shared:
        """Whole numbers: of a condition 0 or 1, of a real number the largest whole one that is not above it."""
        if self.kind == "bool":
            return Shared(self.context, self._engine.bit_to_word(_whole(self.components)), "int")
        if self.kind == "fixed":
            bits = self._engine.to_bits(_whole(self.components))
            shifted = (bits.view(np.int64) >> np.int64(self.fraction)).view(np.uint64)
            return Shared(self.context, self._engine.from_bits(shifted), "int")
        return self

    def as_fixed(self, fraction: int | None = None) -> Shared:
        """Real numbers of `fraction` fractional bits, exact unless there were more before; then rounded.

        Raises:
            UsageError: no number of fractional bits.
        """
        number = self.as_int() if self.kind == "bool" else self
        bits = self.context.fraction if fraction is None else fraction
        fixed.check_fraction(bits)
        more = bits - number.fraction
        if number.kind == "fixed" and not more:
            return number
        words = number.components << np.uint64(more) if more >= 0 else self.context.truncate(number.components, -more)
        return Shared(self.context, words, "fixed", bits)

    # Sums

    def __neg__(self) -> Shared:
        number = _number(self)
        return replace(number, components=np.negative(number.components))

    def __pos__(self) -> Shared:
        return self

    def __add__(self, other: Operand) -> Shared:
        return _linear(operator.add, self, other)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Shared:
        return _linear(operator.sub, self, other)

    def __rsub__(self, other: Operand) -> Shared:
        return (-self) + other

    def sum(self, axis: Axis = None, *, keepdims: bool = False) -> Shared:
        """As numpy's. Of conditions: how many hold."""
        number = _number(self)
        axes = _axes(axis, self.ndim)
        return replace(number, components=number.components.sum(axis=axes, dtype=np.uint64, keepdims=keepdims))

    def cumsum(self, axis: int = 0) -> Shared:
        """As numpy's, along one dimension."""
        number = _number(self)
        (along,) = _axes(axis, self.ndim)
        return replace(number, components=number.components.cumsum(axis=along, dtype=np.uint64))

    def mean(self, axis: Axis = None, *, keepdims: bool = False) -> Shared:
        """As numpy's: ``sum`` divided by a public number, with that division's error. Real numbers."""
        count = int(np.prod([self.shape[a - 1] for a in _axes(axis, self.ndim)], dtype=np.int64))
        if not count:
            raise UsageError("There is no mean of no numbers.")
        return self.sum(axis, keepdims=keepdims) / count

    # Products

    def __mul__(self, other: Operand) -> Shared:
        if not isinstance(other, Shared):
            return _times_public(self, public_array(other))
        a, b = self, other
        _same_run(a, b)
        if a.kind == b.kind == "bool":
            return a & b
        shape = _common(a.shape, b.shape)
        if b.kind == "bool":
            a, b = b, a
        left, right = _whole(_spread(a.components, shape)), _whole(_spread(b.components, shape))
        if a.kind == "bool":
            return replace(b, components=self._engine.select_word(left, right))
        return _rounded(self.context, lambda: self._engine.mul(left, right), a, b)

    __rmul__ = __mul__

    def __matmul__(self, other: Operand) -> Shared:
        return _matmul(self, other)

    def __rmatmul__(self, other: Operand) -> Shared:
        return _matmul(other, self)

    def __pow__(self, exponent: int) -> Shared:
        """Powers by a public whole number from 1 to 64, with one product's error for each squaring and product."""
        if exponent not in range(1, 65):
            raise UsageError("An exponent is a public whole number from 1 to 64; use exp and log for others.")
        number, power = _number(self), None
        while True:
            if exponent & 1:
                power = number if power is None else power * number
            exponent >>= 1
            if not exponent:
                return power if power is not None else number
            number = number * number

    def __truediv__(self, other: Operand) -> Shared:
        if isinstance(other, Shared):
            from protocols.arithmetic import functions

            return functions.divide(self, other)
        return _over_public(self, public_array(other))

    def __rtruediv__(self, other: ArrayLike) -> Shared:
        return self.context.constant(other) / self

    # Comparisons

    def __lt__(self, other: Operand) -> Shared:
        return _below(self, _whole_bound(self, other, np.ceil))

    def __ge__(self, other: Operand) -> Shared:
        return ~_below(self, _whole_bound(self, other, np.ceil))

    def __gt__(self, other: Operand) -> Shared:
        return _below(_whole_bound(self, other, np.floor), self)

    def __le__(self, other: Operand) -> Shared:
        return ~_below(_whole_bound(self, other, np.floor), self)

    def __eq__(self, other: Operand) -> Shared:  # type: ignore[override]  # as numpy's, an array
        if _is_bool(self) and _is_bool(other):
            return ~(self ^ other)
        difference = _linear(operator.sub, self, other)
        return Shared(self.context, self._engine.is_zero(_whole(difference.components)), "bool")

    def __ne__(self, other: Operand) -> Shared:  # type: ignore[override]  # as numpy's, an array
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]  # as numpy's

    # Conditions

    def __invert__(self) -> Shared:
        _need_bool("~", self)
        return self._like(self.components ^ self._engine.constant(np.ones(self.shape, np.bool_)))

    def __xor__(self, other: Operand) -> Shared:
        _need_bool("^", self, other)
        shape = _common(self.shape, np.shape(other) if not isinstance(other, Shared) else other.shape)
        return self._like(_spread(self.components, shape) ^ _spread(_bits(self.context, other), shape))

    __rxor__ = __xor__

    def __and__(self, other: Operand) -> Shared:
        _need_bool("&", self, other)
        if not isinstance(other, Shared):
            public = public_array(other)
            shape = _common(self.shape, public.shape)
            return self._like(_spread(self.components, shape) & np.broadcast_to(public, shape))
        shape = _common(self.shape, other.shape)
        left, right = _whole(_spread(self.components, shape)), _whole(_spread(other.components, shape))
        return self._like(self._engine.and_(left, right))

    __rand__ = __and__

    def __or__(self, other: Operand) -> Shared:
        _need_bool("|", self, other)
        return ~(~self & (~other if isinstance(other, Shared) else ~public_array(other)))

    __ror__ = __or__

    def all(self, axis: Axis = None) -> Shared:
        """As numpy's, of conditions."""
        _need_bool("all", self)
        return (~self).sum(axis) == 0

    def any(self, axis: Axis = None) -> Shared:
        """As numpy's, of conditions."""
        _need_bool("any", self)
        return self.sum(axis) != 0

    # What is made of comparisons

    def __abs__(self) -> Shared:
        return where(self < 0, -self, self) if self.kind != "bool" else self

    def clip(self, low: Operand, high: Operand) -> Shared:
        """As numpy's, with both bounds; `low` is not above `high`."""
        return minimum(maximum(self, low), high)

    def max(self, axis: int | None = None) -> Shared:
        """As numpy's, along one dimension or over all of them. log2(n) rounds of comparisons."""
        return _tournament(self, axis, largest=True)[0]

    def min(self, axis: int | None = None) -> Shared:
        """As numpy's, along one dimension or over all of them. log2(n) rounds of comparisons."""
        return _tournament(self, axis, largest=False)[0]

    def argmax(self, axis: int | None = None) -> Shared:
        """As numpy's: where the largest is, of equals the first."""
        return _tournament(self, axis, largest=True, places=True)[1]

    def argmin(self, axis: int | None = None) -> Shared:
        """As numpy's: where the smallest is, of equals the first."""
        return _tournament(self, axis, largest=False, places=True)[1]

    # numpy's functions on it

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **options: object) -> object:
        from protocols.arithmetic import numpy_functions

        return numpy_functions.ufunc(ufunc, method, inputs, options)

    def __array_function__(
        self, function: Callable[..., object], types: object, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> object:
        from protocols.arithmetic import numpy_functions

        return numpy_functions.function(function, arguments, options)

    # Shorthands

    @property
    def _engine(self) -> Engine:
        return self.context.engine

    def _like(self, components: Array) -> Shared:
        return replace(self, components=components)


Operand = Shared | ArrayLike
"""A Shared, or public numbers: an array, a number or nested lists of them."""


# Of several --------------------------------------------------------------------------------------------------------


def where(condition: Operand, a: Operand, b: Operand) -> Shared:
    """As numpy's: a where the condition holds, b elsewhere. At least one of the three is a Shared.

    One selection; a public condition takes none.
    """
    context = context_of(condition, a, b)
    _need_bool("where", condition)
    if not isinstance(condition, Shared):
        public = public_array(condition)
        one, other = _aligned(context, a, b)
        shape = _common(public.shape, one.shape, other.shape)
        chosen = np.where(public, _spread(one.components, shape), _spread(other.components, shape))
        return replace(one, components=chosen)
    if _is_bool(a) and _is_bool(b):
        one = a if isinstance(a, Shared) else context.constant(a)
        return (condition & (one ^ b)) ^ b
    one, other = _lift(context, a, b)
    return condition * (one - other) + other


def minimum(a: Operand, b: Operand) -> Shared:
    """As numpy's. One comparison and one selection."""
    context = context_of(a, b)
    one, other = _aligned(context, a, b)
    return where(other < one, other, one)


def maximum(a: Operand, b: Operand) -> Shared:
    """As numpy's. One comparison and one selection."""
    context = context_of(a, b)
    one, other = _aligned(context, a, b)
    return where(one < other, other, one)


def concatenate(arrays: Sequence[Operand], axis: int = 0) -> Shared:
    """As numpy's. Whole and real numbers together become real numbers."""
    parts = _all_aligned(arrays)
    (along,) = _axes(axis, parts[0].ndim)
    return replace(parts[0], components=np.concatenate([p.components for p in parts], axis=along))


def stack(arrays: Sequence[Operand], axis: int = 0) -> Shared:
    """As numpy's. Whole and real numbers together become real numbers."""
    parts = _all_aligned(arrays)
    (along,) = _axes(axis, parts[0].ndim + 1)
    return replace(parts[0], components=np.stack([p.components for p in parts], axis=along))


def context_of(*operands: object) -> Context:
    """The context of those operands that are shared; UsageError where none is, or where they are of different runs."""
    shared = [x for x in operands if isinstance(x, Shared)]
    if not shared:
        raise UsageError("None of these is a Shared: use numpy for public numbers.")
    _same_run(*shared)
    return shared[0].context


# Public numbers ----------------------------------------------------------------------------------------------------


def public_array(values: ArrayLike) -> Public:
    """Public numbers as an array of bool, of integers or of floats; UsageError for other things."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"Numbers or conditions were expected beside a Shared, not {array.dtype}: convert them first.")
    return array


def public_words(array: Public, fraction: int) -> Words:
    """Their words, with so many fractional bits; whole numbers stay exact."""
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    return fixed.encode(array, fraction) if fraction or array.dtype.kind == "f" else fixed.integers(array)


# Steps of the operators --------------------------------------------------------------------------------------------


def _same_run(*values: Shared) -> None:
    if any(v.context.engine is not values[0].context.engine for v in values):
        raise UsageError("These Shared values are of different runs: reveal one, or compute both in one run.")


def _number(a: Shared) -> Shared:
    return a.as_int() if a.kind == "bool" else a


def _is_bool(a: Operand) -> bool:
    return a.kind == "bool" if isinstance(a, Shared) else np.asarray(a).dtype.kind == "b"


def _need_bool(what: str, *operands: Operand) -> None:
    if not all(_is_bool(x) for x in operands):
        raise UsageError(f"{what} takes conditions: compare numbers first, as in (a != 0).")


def _whole(components: Array) -> Array:
    """Contiguous, as engines take them."""
    return np.ascontiguousarray(components)


def _spread(components: Array, shape: tuple[int, ...]) -> Array:
    """Components of a value broadcast to `shape`."""
    k, *own = components.shape
    if tuple(own) == shape:
        return components
    return np.broadcast_to(components.reshape(k, *(1,) * (len(shape) - len(own)), *own), (k, *shape))


def _common(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise UsageError(
            f"Arrays of shapes {' and '.join(map(str, shapes))} do not go together: reshape one."
        ) from None


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes of the value as axes of its components."""
    given = tuple(range(ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    if any(not -ndim <= a < ndim for a in given) or len({a % max(ndim, 1) for a in given}) != len(given):
        raise UsageError(f"There is no axis {axis} in an array of {ndim} dimensions.")
    return tuple(a % ndim + 1 for a in given)


def _bits(context: Context, a: Operand) -> Array:
    return a.components if isinstance(a, Shared) else context.engine.constant(public_array(a))


def _lift(context: Context, *operands: Operand) -> list[Shared]:
    """All as numbers with the same fractional bits; all of them whole, or none."""
    plain = [x if isinstance(x, Shared) else public_array(x) for x in operands]
    fractions = [x.fraction for x in plain if isinstance(x, Shared) and x.kind == "fixed"]
    if not fractions and any(not isinstance(x, Shared) and x.dtype.kind == "f" for x in plain):
        fractions = [context.fraction]
    fraction = max(fractions, default=0)
    kind: Kind = "fixed" if fractions else "int"
    lifted = []
    for x in plain:
        if isinstance(x, Shared):
            lifted.append(x.as_fixed(fraction) if fractions else _number(x))
        else:
            lifted.append(Shared(context, context.engine.constant(public_words(x, fraction)), kind, fraction))
    return lifted


def _aligned(context: Context, a: Operand, b: Operand) -> tuple[Shared, Shared]:
    """Both as Shared of one kind, conditions too."""
    if _is_bool(a) and _is_bool(b):
        one, other = (x if isinstance(x, Shared) else context.constant(x) for x in (a, b))
    else:
        one, other = _lift(context, a, b)
    return one, other


def _all_aligned(arrays: Sequence[Operand]) -> list[Shared]:
    context = context_of(*arrays)
    if all(_is_bool(x) for x in arrays):
        return [x if isinstance(x, Shared) else context.constant(x) for x in arrays]
    return _lift(context, *arrays)


def _linear(operation: Callable[[Array, Array], Array], a: Operand, b: Operand) -> Shared:
    """Sum or difference."""
    one, other = _lift(context_of(a, b), a, b)
    shape = _common(one.shape, other.shape)
    return replace(one, components=operation(_spread(one.components, shape), _spread(other.components, shape)))


def _rounded(context: Context, product: Callable[[], Words], a: Shared, b: Shared) -> Shared:
    """A product of numbers, rounded where both have fractional bits."""
    total = a.fraction + b.fraction
    if total > fixed.RANGE_BITS - 2:
        raise UsageError(
            f"Products of {a.fraction} and {b.fraction} fractional bits overflow: call as_fixed with fewer bits first."
        )
    spare = min(a.fraction, b.fraction)
    kind: Kind = "fixed" if "fixed" in (a.kind, b.kind) else "int"
    return Shared(context, context.truncate(product(), spare), kind, total - spare)


def _public_factor(a: Shared, public: Public) -> tuple[Shared, Words, int]:
    """`a` as a number, words of the public factor, and how many fractional bits those have.

    Whole factors have none, even of type float: they cost no rounding.
    """
    number = _number(a)
    if public.dtype.kind != "f":
        return number, public_words(public, 0), 0
    if number.kind == "fixed" and np.array_equal(public, np.rint(public)):
        return number, public_words(public, 0), 0
    bits = number.context.fraction
    return number, public_words(public, bits), bits


def _times_public(a: Shared, public: Public) -> Shared:
    if a.kind == "bool" and public.dtype.kind == "b":
        return a & public
    number, words, bits = _public_factor(a, public)
    shape = _common(a.shape, public.shape)
    factor = Shared(a.context, words, "fixed" if public.dtype.kind == "f" else "int", bits)
    return _rounded(
        a.context, lambda: _spread(number.components, shape) * np.broadcast_to(words, shape), number, factor
    )


def _over_public(a: Shared, public: Public) -> Shared:
    """Divide by public numbers c = m·2^h: shift by h, then multiply by 1/m with 30 bits.

    What is shifted is split at bit 30, so that neither part's product overflows, however large the quotient. h is the
    same for all, so where divisors differ the reciprocals' 30 bits are those of the smallest.
    """
    divisors = public.astype(np.float64)
    if not np.isfinite(divisors).all() or not divisors.all():
        raise UsageError("A public divisor is zero, infinite or not a number: mask such numbers first.")
    number = a.as_fixed(a.fraction if a.kind == "fixed" else None)
    if not divisors.size:
        return number.broadcast_to(_common(a.shape, divisors.shape))
    shift = int(np.frexp(np.abs(divisors).min())[1]) - 1
    words = number.components
    if shift > 0:
        words = a.context.truncate(words, min(shift, fixed.RANGE_BITS))
    reciprocals = np.ldexp(1.0, shift) / divisors  # in (0, 1]
    if shift < 0:
        words = words << np.uint64(min(-shift, 63))
    shape = _common(a.shape, divisors.shape)
    if np.array_equal(np.abs(reciprocals), np.ones_like(reciprocals)):
        signs = fixed.integers(reciprocals.astype(np.int64))
        return replace(number, components=_spread(words, shape) * np.broadcast_to(signs, shape))
    factors = np.broadcast_to(fixed.encode(reciprocals, _RECIPROCAL_BITS), shape)
    high = a.context.truncate(words, _RECIPROCAL_BITS)
    low = _spread(words - (high << np.uint64(_RECIPROCAL_BITS)), shape) * factors
    return replace(number, components=_spread(high, shape) * factors + a.context.truncate(low, _RECIPROCAL_BITS))


def _matmul(a: Operand, b: Operand) -> Shared:
    """Matrix product of one or two dimensions each."""
    context = context_of(a, b)
    shapes = [x.shape if isinstance(x, Shared) else np.shape(x) for x in (a, b)]
    if not all(len(s) in (1, 2) for s in shapes) or shapes[0][-1] != shapes[1][0]:
        raise UsageError(f"@ takes vectors and matrices whose inner lengths agree, not {shapes[0]} and {shapes[1]}.")
    n, m, p = (shapes[0][0] if len(shapes[0]) == 2 else 1), shapes[0][-1], (shapes[1][1] if len(shapes[1]) == 2 else 1)
    if isinstance(a, Shared) and isinstance(b, Shared):
        one, other = _number(a), _number(b)
        left = _whole(one.components.reshape(len(one.components), n, m))
        right = _whole(other.components.reshape(len(other.components), m, p))
        out = _rounded(context, lambda: context.engine.matmul(left, right), one, other)
    elif isinstance(a, Shared):
        number, words, bits = _public_factor(a, public_array(b))
        factor = Shared(context, words, "fixed" if np.asarray(b).dtype.kind == "f" else "int", bits)
        out = _rounded(
            context,
            lambda: _local_matmul(number.components.reshape(len(number.components), n, m), words.reshape(1, m, p)),
            number,
            factor,
        )
    else:
        number, words, bits = _public_factor(b, public_array(a))  # type: ignore[arg-type]  # b is the Shared here
        factor = Shared(context, words, "fixed" if np.asarray(a).dtype.kind == "f" else "int", bits)
        out = _rounded(
            context,
            lambda: _local_matmul(words.reshape(1, n, m), number.components.reshape(len(number.components), m, p)),
            number,
            factor,
        )
    return out.reshape((n,) * (len(shapes[0]) == 2) + (p,) * (len(shapes[1]) == 2))


def _local_matmul(a: Words, b: Words) -> Words:
    """(k or 1, n, m) @ (1 or k, m, p)."""
    return np.stack([ring.matmul(a[i % len(a)], b[i % len(b)]) for i in range(max(len(a), len(b)))])


def _below(a: Operand, b: Operand) -> Shared:
    difference = _linear(operator.sub, a, b)
    return Shared(difference.context, difference.context.engine.negative(_whole(difference.components)), "bool")


def _whole_bound(a: Shared, bound: Operand, toward: Callable[[Public], Public]) -> Operand:
    """A public bound of whole numbers as a whole number: a < 2.5 is a < 3, exactly and without shifting a."""
    if isinstance(bound, Shared) or a.kind == "fixed":
        return bound
    public = public_array(bound)
    if public.dtype.kind != "f":
        return public
    return fixed.signed(fixed.encode(toward(public), 0))


def _tournament(a: Shared, axis: int | None, *, largest: bool, places: bool = False) -> tuple[Shared, Shared]:
    """The extreme and, if asked for, its place; of equals the first. Halves the field by each comparison."""
    number = _number(a)
    if axis is None:
        number, axis = number.ravel(), 0
    (along,) = _axes(axis, number.ndim)
    length = number.components.shape[along]
    if not length:
        raise UsageError("There is no largest or smallest of no numbers.")
    field = number._like(np.moveaxis(number.components, along, 1))
    indices = np.arange(length).reshape(-1, *(1,) * (field.ndim - 1))
    place = a.context.constant(np.broadcast_to(indices, field.shape))
    while len(field) > 1:
        pairs = len(field) // 2
        first, second = field[0 : 2 * pairs : 2], field[1 : 2 * pairs : 2]
        better = first < second if largest else second < first
        step = second - first
        if places:
            both = stack(
                [Shared(a.context, step.components, "int"), place[1 : 2 * pairs : 2] - place[0 : 2 * pairs : 2]]
            )
            moved = better * both
            step = replace(step, components=moved[0].components)
            winners = place[0 : 2 * pairs : 2] + moved[1]
            place = concatenate([winners, place[2 * pairs :]])
        else:
            step = better * step
        field = concatenate([first + step, field[2 * pairs :]])
    result = field[0]
    if a.kind == "bool":
        # Of conditions numpy's largest is a condition again.
        result = result != 0
    return result, place[0]
