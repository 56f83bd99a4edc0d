"""Two-party arithmetic against numpy: every method, at the edges and at random, by both ways to make transfers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from protocols.arithmetic.engine import Array, Words
from protocols.arithmetic.two import TwoParty
from protocols.ot.method import Method

EDGES = np.array(
    [0, 1, 2, 15, 16, 2**32, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 16, 2**64 - 1], dtype=np.uint64
)
METHODS: list[Method] = ["softspoken", "silent"]


def words(n: int, seed: int) -> Words:
    """Edge cases, and uniform words up to n altogether."""
    rng = np.random.default_rng(seed)
    return np.concatenate((rng.permutation(EDGES), rng.integers(0, 2**64, n, dtype=np.uint64)))[:n]


def both(program: Callable[[TwoParty], Any], *, method: Method = "softspoken", suite: str = "intl") -> Any:
    """What the program gives at the first party, which must be the same at the second."""

    def party(session: Session) -> Any:
        return program(TwoParty(session, ("ann", "bob"), method=method, suite=suite))

    results = run_parties({"ann": party, "bob": party})
    np.testing.assert_equal(results["ann"], results["bob"])
    return results["ann"]


def shared(engine: TwoParty, values: Array, owner: str = "ann") -> Array:
    """Shares of values that `owner` gives."""
    given = values if engine.me == owner else None
    if values.dtype == np.bool_:
        return engine.input_bits(given, owner, values.shape)
    return engine.input(given, owner, values.shape)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (64,), (3, 43)])
def test_methods_agree_with_numpy(shape: tuple[int, ...], method: Method) -> None:
    n = int(np.prod(shape))
    x, y = words(n, 1).reshape(shape), words(n, 2).reshape(shape)
    signed = x.view(np.int64)

    def program(e: TwoParty) -> dict[str, Array | None]:
        a, b = shared(e, x), shared(e, y, "bob")
        sign = e.negative(a)
        bits = e.to_bits(a)
        return {
            "open": e.open(a),
            "sum_inputs": e.open(e.sum_inputs(x if e.me == "ann" else y)),
            "constant": e.open(a + e.constant(y)),
            "mul": e.open(e.mul(a, b)),
            "negative": e.open(sign),
            "is_zero": e.open(e.is_zero(a)),
            "equal": e.open(e.is_zero(a - a.copy())),
            "and": e.open(e.and_(sign, e.negative(b))),
            "to_bits": e.open_bits(bits),
            "and words": e.open_bits(e.and_(bits, e.to_bits(b))),
            "from_bits": e.open(e.from_bits(bits)),
            "bit_to_word": e.open(e.bit_to_word(sign)),
            "select_word": e.open(e.select_word(sign, b)),
        }

    expected = {
        "open": x,
        "sum_inputs": x + y,
        "constant": x + y,
        "mul": x * y,
        "negative": signed < 0,
        "is_zero": x == 0,
        "equal": np.ones(shape, dtype=np.bool_),
        "and": (signed < 0) & (y.view(np.int64) < 0),
        "to_bits": x,
        "and words": x & y,
        "from_bits": x,
        "bit_to_word": (signed < 0).astype(np.uint64),
        "select_word": np.where(signed < 0, y, np.uint64(0)),
    }
    np.testing.assert_equal(both(program, method=method), expected)


def test_programs_that_differ_end() -> None:
    def party(session: Session) -> None:
        e = TwoParty(session, ("ann", "bob"))
        a = e.input(np.arange(5, dtype=np.uint64) if e.me == "ann" else None, "ann", (5,))
        e.is_zero(a) if e.me == "ann" else e.negative(a)

    with pytest.raises(PeerError, match="the same program"):
        run_parties({"ann": party, "bob": party})


def test_misuse() -> None:
    def party(session: Session) -> None:
        with pytest.raises(UsageError):
            TwoParty(session, ("ann", "eve"))

    run_parties({"ann": party, "bob": party})
