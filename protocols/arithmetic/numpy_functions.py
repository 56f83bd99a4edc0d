"""numpy's functions on Shared: numpy.add(x, 1), numpy.concatenate([x, y]), numpy.exp(x), array * x."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mpc.errors import UsageError
from protocols.arithmetic import functions
from protocols.arithmetic.shared import Shared, concatenate, maximum, minimum, stack, where

_UFUNCS: Mapping[np.ufunc, Callable[..., object]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.matmul: operator.matmul,
    np.divide: operator.truediv,
    np.power: operator.pow,
    np.negative: operator.neg,
    np.positive: operator.pos,
    np.absolute: operator.abs,
    np.square: lambda x: x * x,
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
    np.equal: operator.eq,
    np.not_equal: operator.ne,
    np.logical_and: operator.and_,
    np.logical_or: operator.or_,
    np.logical_xor: operator.xor,
    np.logical_not: operator.invert,
    np.bitwise_and: operator.and_,
    np.bitwise_or: operator.or_,
    np.bitwise_xor: operator.xor,
    np.invert: operator.invert,
    np.minimum: minimum,
    np.maximum: maximum,
    np.exp: functions.exp,
    np.log: functions.log,
    np.sqrt: functions.sqrt,
    np.reciprocal: functions.reciprocal,
    np.floor: lambda x: x.as_int(),
}

# With a public array on the left, whose own operators would ask numpy again: by the Shared and the public array.
_REFLECTED: Mapping[np.ufunc, Callable[[Shared, Any], object]] = {
    np.add: operator.add,
    np.subtract: Shared.__rsub__,
    np.multiply: operator.mul,
    np.matmul: Shared.__rmatmul__,
    np.divide: Shared.__rtruediv__,
    np.less: operator.gt,
    np.less_equal: operator.ge,
    np.greater: operator.lt,
    np.greater_equal: operator.le,
    np.equal: operator.eq,
    np.not_equal: operator.ne,
    np.logical_and: operator.and_,
    np.logical_or: operator.or_,
    np.logical_xor: operator.xor,
    np.bitwise_and: operator.and_,
    np.bitwise_or: operator.or_,
    np.bitwise_xor: operator.xor,
}

_FUNCTIONS: Mapping[Callable[..., Any], Callable[..., object]] = {
    np.where: where,
    np.concatenate: concatenate,
    np.stack: stack,
    np.sum: Shared.sum,
    np.cumsum: Shared.cumsum,
    np.mean: Shared.mean,
    np.max: Shared.max,
    np.min: Shared.min,
    np.argmax: Shared.argmax,
    np.argmin: Shared.argmin,
    np.all: Shared.all,
    np.any: Shared.any,
    np.clip: Shared.clip,
    np.dot: operator.matmul,
    np.reshape: Shared.reshape,
    np.ravel: Shared.ravel,
    np.squeeze: Shared.squeeze,
    np.transpose: lambda x, axes=None: x.transpose(*(axes or ())),
    np.broadcast_to: Shared.broadcast_to,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x: x.size,
}


def ufunc(function: np.ufunc, method: str, inputs: Sequence[object], options: Mapping[str, object]) -> object:
    """What ``Shared.__array_ufunc__`` does."""
    if method == "reduce" and function is np.add and isinstance(inputs[0], Shared):
        return inputs[0].sum(options.get("axis", 0))  # type: ignore[arg-type]  # checked there
    if method != "__call__" or options or function not in _UFUNCS:
        what = function.__name__ if method == "__call__" else f"{function.__name__}.{method}"
        raise _unknown(what + ("" if not options else f" with {', '.join(options)}"))
    first, last = inputs[0], inputs[-1]
    if function in _REFLECTED and not isinstance(first, Shared) and isinstance(last, Shared):
        return _REFLECTED[function](last, first)
    return _UFUNCS[function](*inputs)


def function(called: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]) -> object:
    """What ``Shared.__array_function__`` does."""
    if called not in _FUNCTIONS:
        raise _unknown(getattr(called, "__name__", "this function"))
    return _FUNCTIONS[called](*arguments, **options)


def _unknown(what: str) -> UsageError:
    return UsageError(
        f"numpy.{what} does not work on shares: docs/protocols/arithmetic.md lists what does; reveal what may be seen."
    )
