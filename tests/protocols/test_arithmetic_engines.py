"""One suite for all engines: every method against what it should give, and Shared on top of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.errors import PeerError, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import run_parties
from protocols import arithmetic
from protocols.arithmetic import ideal, three, two
from protocols.arithmetic.engine import Array, Disagreement, Engine, Scheme, Words

EDGES = np.array([0, 1, 2, 255, 2**18, 2**40 + 7, 2**62 - 1, 2**62, 2**63 - 1], dtype=np.uint64)
ALL = np.concatenate([EDGES, np.negative(EDGES), np.array([2**63, 2**63 + 1], dtype=np.uint64)])


@dataclass(frozen=True)
class Kind:
    """An engine, how it is opened for Shared, and who computes."""

    name: str
    compute: tuple[str, ...]
    engine: Callable[[Session, tuple[str, ...]], Engine]
    party: Callable[..., AbstractContextManager[arithmetic.Computation]]
    scheme: Scheme


KINDS = [
    Kind("ideal", ("ann", "bob"), ideal.Ideal, arithmetic.ideal_party, ideal.scheme(2)),
    Kind("two", ("bob", "ann"), two.TwoParty, arithmetic.two_party, two.SCHEME),
    Kind("three", ("cat", "ann", "bob"), three.ThreeParty, arithmetic.three_party, three.SCHEME),
]
SILENT = Kind("two silent", ("bob", "ann"), partial(two.TwoParty, method="silent"), arithmetic.two_party, two.SCHEME)
GM = Kind(
    "three gm", ("cat", "ann", "bob"), partial(three.ThreeParty, suite="gm"), arithmetic.three_party, three.SCHEME
)
every_engine = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
real_engines = pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: kind.name)


def run(kind: Kind, program: Callable[[Engine], Any], *, timeout_s: float = 30.0) -> dict[str, Any]:
    """What the program gives at each party."""

    def party(s: Session) -> object:
        return program(kind.engine(s, kind.compute))

    return run_parties(dict.fromkeys(kind.compute, party), timeout_s=timeout_s)


def same(kind: Kind, program: Callable[[Engine], dict[str, Array | None]]) -> dict[str, NDArray[Any]]:
    """What the program gives, the same at all parties."""
    results = run(kind, program)
    first = results[kind.compute[0]]
    for result in results.values():
        np.testing.assert_equal(result, first)
    return first


def given(e: Engine, values: Array, owner: int = 0) -> Array:
    """Shares of what the party in that place gives."""
    name = e.compute[owner]
    mine = values if e.me == name else None
    return e.input_bits(mine, name, values.shape) if values.dtype == np.bool_ else e.input(mine, name, values.shape)


@pytest.mark.parametrize("kind", [*KINDS, SILENT, GM], ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", [(), (0,), (64,), (3, 43)])
def test_bits_and_products(kind: Kind, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    n = int(np.prod(shape))
    x = np.concatenate([ALL, rng.integers(0, 2**64, 129, dtype=np.uint64)])[:n].reshape(shape)
    y = rng.permutation(np.concatenate([rng.integers(0, 2**64, 129, dtype=np.uint64), ALL]))[:n].reshape(shape)
    p, q = np.asarray(x % 2 == 0), np.asarray(y % 3 == 0)

    def program(e: Engine) -> dict[str, Array | None]:
        a, b, s, t = given(e, x), given(e, y, 1), given(e, p), given(e, q, -1)
        assert a.shape == (e.k, *shape)
        assert s.dtype == np.bool_
        u, v = e.to_bits(a), e.to_bits(b)
        shares = {
            "input": a,
            "input_bits": s,
            "constant": e.constant(x),
            "constant_bits": e.constant(p),
            "linear": a * np.uint64(7) - b + e.constant(y),
            "sum": e.sum_inputs(np.asarray(x * np.uint64(e.compute.index(e.me) + 1))),
            "mul": e.mul(a, b),
            "negative": e.negative(a),
            "less": e.negative(a - b),
            "is_zero": e.is_zero(a),
            "equal": e.is_zero(a - e.constant(x)),
            "and": e.and_(s, t),
            "from_bits": e.from_bits(u ^ (v >> np.uint64(5))),
            "bit_to_word": e.bit_to_word(s),
            "select": e.select_word(s, a),
            "bits_out": s ^ t ^ e.constant(np.ones(shape, np.bool_)),
        }
        for name, share in shares.items():
            assert share.shape == (e.k, *shape), name
            assert share.dtype == (np.bool_ if name in BITS else np.uint64), name
        words = {"to_bits": u, "and_words": e.and_(u, v)}
        return {name: e.open(np.ascontiguousarray(c)) for name, c in shares.items()} | {
            name: e.open_bits(c) for name, c in words.items()
        }

    total = sum(range(1, len(kind.compute) + 1))
    want = {
        "input": x,
        "input_bits": p,
        "constant": x,
        "constant_bits": p,
        "linear": x * np.uint64(7),
        "sum": x * np.uint64(total),
        "mul": x * y,
        "negative": x.view(np.int64) < 0,
        "less": (x - y).view(np.int64) < 0,
        "is_zero": x == 0,
        "equal": np.ones(shape, np.bool_),
        "and": p & q,
        "from_bits": x ^ (y >> np.uint64(5)),
        "bit_to_word": p.astype(np.uint64),
        "select": x * p,
        "bits_out": ~(p ^ q),
        "to_bits": x,
        "and_words": x & y,
    }
    np.testing.assert_equal(same(kind, program), want)


BITS = {"input_bits", "constant_bits", "negative", "less", "is_zero", "equal", "and", "bits_out"}


@every_engine
@pytest.mark.parametrize(
    ("bits", "drop", "bounds"),
    [(63, 0, (0,)), (42, 14, (-(7 << 18) - 5, 7 << 18)), (9, 3, (5, -5, 0, 1, 2)), (1, 0, (0,)), (6, 5, (-1,))],
)
def test_below(kind: Kind, bits: int, drop: int, bounds: tuple[int, ...]) -> None:
    """Exact over the domain, but for the step above a bound, where either is said; and nothing there is unsaid."""
    rng = np.random.default_rng(bits)
    room = (1 << bits) - (1 << drop) - max(map(abs, bounds)) if bits < 63 else 2**63 - 1
    edges = [b + d for b in bounds for d in (-1, 0, 1, (1 << drop) - 1, 1 << drop, -(1 << drop)) if abs(b + d) <= room]
    x = np.concatenate([np.array([*edges, -room, room, 0]), rng.integers(-room, room, 150, endpoint=True)])
    x = x.reshape(-1, 1)

    def program(e: Engine) -> dict[str, Array | None]:
        a = given(e, x.view(np.uint64))
        found = e.below(a, bounds, bits=bits, drop=drop)
        assert found.shape == (e.k, len(bounds), *x.shape)
        none = e.below(a[:, :0], bounds, bits=bits, drop=drop)
        assert none.shape == (e.k, len(bounds), 0, 1)
        return {"below": e.open(found)}

    found = same(kind, program)["below"]
    for got, bound in zip(found, bounds, strict=True):
        wrong = got != (x < bound)
        assert not np.any(wrong & ((x < bound) | (x - bound >= 1 << drop)))
        assert drop or not wrong.any()


@every_engine
def test_below_without_bounds_or_with_a_window_that_is_none(kind: Kind) -> None:
    def program(e: Engine) -> tuple[int, ...]:
        a = given(e, np.arange(5, dtype=np.uint64))
        for bits, drop in ((64, 0), (8, 8), (8, -1), (0, 0)):
            with pytest.raises(UsageError, match="below takes bits"):
                e.below(a, (0,), bits=bits, drop=drop)
        return e.below(a, (), bits=8).shape

    assert set(run(kind, program).values()) == {(2 if kind.name == "three" else 1, 0, 5)}


WORD = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from(ALL.tolist()))


@real_engines
@settings(max_examples=5)
@drawn(st.lists(st.tuples(WORD, WORD, WORD), min_size=1, max_size=80))
def test_shares_of_any_words(kind: Kind, triples: list[tuple[int, int, int]]) -> None:
    """Comparisons, products and conversions depend on the shares as well as on the value: here the shares are given."""
    parts = np.array(triples, dtype=np.uint64).T[: len(kind.compute)]
    value, turned = parts.sum(axis=0, dtype=np.uint64), np.bitwise_xor.reduce(parts)

    def program(e: Engine) -> dict[str, Array | None]:
        i = e.compute.index(e.me)
        a = parts[[(i + j) % len(parts) for j in range(e.k)]]
        small = e.truncate(a, 2)  # below 2^62, and still of shares of all sizes
        return {
            "negative": e.open(e.negative(a)),
            "is_zero": e.open(e.is_zero(a)),
            "mul": e.open(e.mul(a, a)),
            "bits": e.open_bits(e.to_bits(a)),
            "xor": e.open(e.from_bits(a)),
            "small": e.open(small),
            "rounded": e.open(e.truncate(small, 7)),
        }

    found = same(kind, program)
    off = found.pop("rounded").view(np.int64) - (found.pop("small").view(np.int64) >> 7)
    assert 0 <= off.min() <= off.max() <= 1
    expected = {"negative": value >> 63 == 1, "is_zero": value == 0, "mul": value * value, "bits": value, "xor": turned}
    np.testing.assert_equal(found, expected)


SHAPES = [(1, 1, 1), (3, 5, 2), (2, 0, 3), (0, 3, 2), (17, 9, 1), (90, 2, 80), (4, 300, 3), (100, 40, 33)]
THIN = [(7, 1, 1), (1, 7, 1), (1, 1, 7), (7, 7, 1), (7, 1, 7), (1, 7, 7)]


@every_engine
@pytest.mark.parametrize(("n", "m", "p"), [*SHAPES, *THIN])
def test_matmul(kind: Kind, n: int, m: int, p: int) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 2**64, (n, m), dtype=np.uint64), rng.integers(0, 2**64, (m, p), dtype=np.uint64)
    found = same(kind, lambda e: {"product": e.open(e.matmul(given(e, x), given(e, y, -1)))})
    np.testing.assert_equal(found, {"product": x @ y})


@every_engine
@pytest.mark.parametrize("bits", [0, 1, 16, 40, 61, 62])
def test_truncation_gives_a_neighbour(kind: Kind, bits: int) -> None:
    """Always: also next to 2^62, where a local truncation is wrong every other time."""
    limit = 2**62 - 1
    rng = np.random.default_rng(bits)
    wide = [limit, -limit, 0, 1, -1, (1 << bits) - 1, 1 << bits, -(1 << bits)]
    x = np.concatenate([np.array(wide), rng.integers(-limit, limit, 3000), rng.integers(-(2**30), 2**30, 1000)])
    x = np.clip(x, -limit, limit)
    x[8:108] = x[8:108] >> bits << bits

    def program(e: Engine) -> dict[str, Array | None]:
        a = given(e, x.view(np.uint64), 1)
        narrow = np.ascontiguousarray(a[:, -1000:])
        local = e.truncate_local(narrow, min(bits, 20))
        return {
            "faithful": e.open(e.truncate(a, bits)),
            "first": e.open(e.truncate(given(e, x.view(np.uint64)), bits)),
            "local": e.open(local),
        }

    got = same(kind, program)
    for name in ("faithful", "first"):
        assert set((got[name].view(np.int64) - (x >> bits)).tolist()) <= {0, 1}
    # Unbiased, up to 2^-bits: rounded up in proportion to what is cut off.
    up = got["faithful"].view(np.int64) - (x >> bits)
    share = (x & ((1 << bits) - 1)) / 2.0**bits
    assert abs(up.mean() - share.mean()) <= (2.0**-bits if bits else 0) + 5 * np.sqrt(0.25 / len(x))
    if bits == 16:  # multiples are exact but for odds of 2^-16 each
        assert np.count_nonzero(up[8:108]) <= 1
    off = np.abs(got["local"].view(np.int64) - (x[-1000:] >> min(bits, 20)))
    assert np.count_nonzero(off > 1) == 0  # 2^30 in 2^64: wrong with probability 2^-33 each


@every_engine
@pytest.mark.parametrize("n", [200, 600])  # two parties make many under encryption
@pytest.mark.parametrize(
    ("period", "series", "out"),
    [
        (30, (1.0,), 25),
        (62, (7.9,), 25),
        (23, (0.5, -1.0, 2.0, 0.1, -0.3), 20),
        (30, (1.5, -2.5, 1.4, -1.4), 12),
        (1, (2.0,), 0),
        (30, (0.125,) * 13, 18),
    ],
)
def test_fourier(kind: Kind, n: int, period: int, series: tuple[float, ...], out: int) -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([ALL, rng.integers(0, 2**64, n - len(ALL), dtype=np.uint64)])
    got = same(kind, lambda e: {"sum": e.open(e.fourier(given(e, x), period, series, out))})
    turn = 2 * np.pi * (x % (1 << period)).astype(np.float64) / (1 << period)
    exact = sum(c * np.sin(k * turn) for k, c in enumerate(series, start=1))
    error = np.abs(got["sum"].view(np.int64) * 2.0**-out - exact)
    assert error.max() <= (len(series) + 2) * 2.0**-out


@every_engine
def test_fourier_at_its_limits(kind: Kind) -> None:
    """Also where a rounded factor is as large as can be the sum leaves the room that truncation asks for."""
    x = np.arange(0, 1 << 20, 1 << 10, dtype=np.uint64)
    turn = 2 * np.pi * x.astype(np.float64) / (1 << 20)
    wrong = {
        (0, 20, (7.6,)),
        (0, 20, (0.6,) * 13),
        (25, 20, (8 - 1e-12,)),
        (26, 20, (1.0,)),
        (25, 63, (1.0,)),
        (8, 20, ()),
    }

    def program(e: Engine) -> dict[str, Array | None]:
        for out, period, series in sorted(wrong):
            with pytest.raises(UsageError, match="fourier takes"):
                e.fourier(given(e, x), period, series, out)
        return {str(out): e.open(e.fourier(given(e, x), 20, series, out)) for out, series in right.items()}

    right = {out: (8 - 3 * 2.0**-out,) for out in (0, 4, 8, 21, 25)}
    for out, got in same(kind, program).items():
        (c,) = right[int(out)]
        assert np.abs(got.view(np.int64) * 2.0 ** -int(out) - c * np.sin(turn)).max() <= 3 * 2.0 ** -int(out)


@every_engine
def test_opening_to_some(kind: Kind) -> None:
    x = np.arange(70, dtype=np.uint64)
    learner = kind.compute[-1]

    def program(e: Engine) -> list[Array | None]:
        a = given(e, x)
        assert e.open(a, ()) is None
        return [e.open(a, (learner,)), e.open(e.negative(a), (learner,)), e.open_bits(e.to_bits(a), (learner,))]

    results = run(kind, program)
    for name in kind.compute:
        if name == learner:
            np.testing.assert_equal(results[name], [x, np.zeros(70, np.bool_), x])
        else:
            assert results[name] == [None, None, None]


@every_engine
@pytest.mark.parametrize(
    "values", [ALL, ALL % 2 == 1, ALL[:0], ALL[:1].reshape(())], ids=["words", "bits", "empty", "one"]
)
def test_dealt_by_one_who_does_not_compute(kind: Kind, values: Array) -> None:
    dealt = kind.scheme.deal(values, Rng())
    assert len(dealt) == kind.scheme.parties == len(kind.compute)
    assert all(part.shape == (kind.scheme.components, *values.shape) for part in dealt)
    assert all(part.dtype == values.dtype for part in dealt)
    np.testing.assert_array_equal(kind.scheme.combine(dealt), values)

    def program(e: Engine) -> list[Array | None]:
        mine = dealt[e.compute.index(e.me)]
        assert e.scheme.name == kind.scheme.name
        return [e.open(mine), e.outward(mine)]

    results = run(kind, program)
    np.testing.assert_equal([results[name][0] for name in kind.compute], [values] * len(kind.compute))
    np.testing.assert_array_equal(kind.scheme.combine([results[name][1] for name in kind.compute]), values)


@real_engines
def test_uniform_shares(kind: Kind) -> None:
    """What is dealt, and what goes out, is uniform whatever the values are: a quarter of a million bits of each.

    Of what one party gives, the others may hold components that are public zeros.
    """
    zeros = np.zeros(4096, dtype=np.uint64)

    def program(e: Engine) -> list[Array]:
        a, b = given(e, zeros), given(e, zeros, 1)
        sums = e.sum_inputs(zeros)
        return [b if e.me == e.compute[0] else a, e.outward(a + b), sums, e.mul(a, b), e.outward(e.negative(a))]

    shares = [
        kind.scheme.deal(zeros, Rng()),
        kind.scheme.deal(zeros == 0, Rng()),
        *zip(*run(kind, program).values(), strict=True),
    ]
    for parts in shares:
        for part in parts:
            assert any(component.any() for component in part)
            for component in (c for c in part if c.any()):
                if component.dtype == np.bool_:
                    assert abs(component.mean() - 0.5) < 6 * 0.5 / np.sqrt(component.size)
                else:
                    counts = np.bincount(component.view(np.uint8), minlength=256)
                    chi_squared = ((counts - counts.mean()) ** 2).sum() / counts.mean()
                    assert abs(chi_squared - 255) < 6 * np.sqrt(2 * 255)


def test_copies_that_differ() -> None:
    for scheme in (ideal.scheme(3), three.SCHEME):
        dealt = [part.copy() for part in scheme.deal(np.arange(5, dtype=np.uint64), Rng())]
        dealt[1][0, 3] ^= np.uint64(1)
        with pytest.raises(Disagreement):
            scheme.combine(dealt)


@every_engine
def test_misuse(kind: Kind) -> None:
    words: Words = np.zeros(3, dtype=np.uint64)

    def program(e: Engine) -> None:
        a = given(e, np.zeros((2, 3), dtype=np.uint64))
        calls: list[tuple[Callable[[], object], str]] = [
            (lambda: e.input(None, "zoe", (3,)), "zoe"),
            (lambda: e.fourier(a, 63, [1.0], 10), "period_bits"),
            (lambda: e.fourier(a, 20, [8.0], 10), "add up to at most 8"),
            (lambda: e.fourier(a, 20, [], 10), "add up to at most 8"),
        ]
        if kind.name != "ideal":
            calls += [
                (lambda: e.mul(a, a[:, :1]), "one shape"),
                (lambda: e.matmul(a, a), "no matrices"),
                (lambda: e.truncate(a, 63), "0 to 62"),
                (lambda: e.truncate_local(a, -1), "0 to 62"),
                (lambda: e.open(a, ("zoe",)), "computing parties"),
            ]
        for call, text in calls:
            with pytest.raises(UsageError, match=text):
                call()
        if e.me == kind.compute[0]:
            for wrong in (None, words[:2], words.astype(np.int64)):
                with pytest.raises(UsageError, match=r"\(3,\) of uint64"):
                    e.input(wrong, e.me, (3,))  # type: ignore[arg-type]

    run(kind, program)
    with pytest.raises(UsageError, match="ann"):
        run_parties({"ann": lambda s: kind.engine(s, ("x", "y", "z")[: len(kind.compute)])})


DIFFERENT: dict[str, Callable[[Engine, Words, int], object]] = {
    "another method": lambda e, a, i: e.negative(a) if i else e.is_zero(a),
    "another shape": lambda e, a, i: e.mul(a[:, i:], a[:, i:]),
    "another precision": lambda e, a, i: e.truncate(a, 10 + i),
    "a step more": lambda e, a, i: e.mul(e.truncate(a, 5), a) if i else e.mul(a, a),
    "another learner": lambda e, a, i: e.open(a, e.compute[:2] if i else e.compute[:1]),
}


@pytest.mark.parametrize("name", DIFFERENT)
@real_engines
def test_programs_that_differ_end(kind: Kind, name: str) -> None:
    """With an error of the peer, and not with a wrong result.

    The party that notices ends its conversations. Two others of three may wait for each other then, until time is up.
    """
    values = np.arange(5, dtype=np.uint64)

    def program(e: Engine) -> None:
        a = given(e, values, 1)
        e.mul(a, a)  # two parties have their transfers then, for which one would otherwise wait until its time is up
        DIFFERENT[name](e, np.ascontiguousarray(a), int(e.me == e.compute[0]))
        e.open(a)  # the rest of the program, by which at the latest it has to come out

    with pytest.raises(PeerError):
        run(kind, program, timeout_s=3)


@contextmanager
def opened(kind: Kind, session: Session, **options: str) -> Iterator[arithmetic.Computation]:
    with kind.party(session, compute=kind.compute, **options) as mpc:
        yield mpc


@every_engine
def test_local_truncation_on_top(kind: Kind) -> None:
    x = np.linspace(-8, 8, 200)

    def compute(s: Session) -> object:
        with opened(kind, s, truncation="local") as mpc:
            a = mpc.share(x if s.me == kind.compute[0] else None, owner=kind.compute[0])
            return mpc.reveal(a * a)

    for got in run_parties(dict.fromkeys(kind.compute, compute)).values():
        np.testing.assert_allclose(got, x * x, rtol=0, atol=40 * 2.0**-18)  # of 36 bits: wrong once in 2^27


@every_engine
def test_shared_on_top(kind: Kind) -> None:
    """A program of a bit of everything, with one who does not compute, against numpy."""
    rng = np.random.default_rng(11)
    x, y = np.round(rng.uniform(-40, 40, (4, 3)), 4), np.round(rng.uniform(0.5, 9, 3), 4)
    n = rng.integers(-1000, 1000, (4, 3))

    def compute(s: Session) -> object:
        first, last = kind.compute[0], kind.compute[-1]
        with opened(kind, s) as mpc:
            a = mpc.receive(from_="bank")
            b = mpc.share(y if s.me == first else None, owner=first)
            c = mpc.share(n if s.me == last else None, owner=last)
            ranks = mpc.share(np.full(4, kind.compute.index(s.me))).sum_over_parties()
            exact = [a + c, c * n, a < c, (a <= b) & (c != n[0, 0]) | (a > 3), arithmetic.where(c > a, c, 7), c @ n.T]
            exact += [ranks, c.argmax(axis=1), c.max(axis=0), abs(c), a.T[:, 1:].sum(axis=0), c == n]
            near = [a * b, a @ b, a / b, a.mean(axis=0), a / 3]
            mpc.reveal(a < 0, to="bank")
            mpc.reveal(a * 2.0, to=["bank", last])
            return [mpc.reveal(v) for v in exact], [mpc.reveal(v) for v in near]

    def bank(s: Session) -> object:
        with arithmetic.input_party(s, compute=kind.compute, ideal=kind.name == "ideal") as mpc:
            mpc.send(x)
            return mpc.obtain(), mpc.obtain()

    results = run_parties({"bank": bank} | dict.fromkeys(kind.compute, compute))
    exact = [x + n, n * n, x < n, (x <= y) & (n != n[0, 0]) | (x > 3), np.where(n > x, n, 7), n @ n.T]
    exact += [np.full(4, sum(range(len(kind.compute)))), n.argmax(axis=1), n.max(axis=0), abs(n)]
    exact += [x.T[:, 1:].sum(axis=0), n == n]
    near = [x * y, x @ y, x / y, x.mean(axis=0), x / 3]
    for name in kind.compute:
        for got, want in zip(results[name][0], exact, strict=True):
            np.testing.assert_allclose(got, want, atol=2.0**-16)
        for got, want in zip(results[name][1], near, strict=True):
            np.testing.assert_allclose(got, want, atol=2.0**-9)
    np.testing.assert_array_equal(results["bank"][0], x < 0)
    np.testing.assert_allclose(results["bank"][1], 2 * x, atol=2.0**-17)


@every_engine
def test_functions_on_top(kind: Kind) -> None:
    x = np.array([0.25, 1.0, 3.7, 9.9, 11.0])

    def compute(s: Session) -> object:
        with opened(kind, s) as mpc:
            a = mpc.share(x if s.me == kind.compute[0] else None, owner=kind.compute[0])
            results = [np.sqrt(a), np.exp(a), np.log(a), np.reciprocal(-a), arithmetic.sigmoid(a - 4)]
            results += [arithmetic.sigmoid(a - 4, error=1e-4), arithmetic.sigmoid_three_segments(a - 4)]
            return [mpc.reveal(r) for r in results]

    logistic = 1 / (1 + np.exp(4 - x))
    wants = [(np.sqrt(x), 1e-5), (np.exp(x), 0.1), (np.log(x), 1e-5), (-1 / x, 1e-5)]
    wants += [(logistic, 1e-3), (logistic, 1e-4), (logistic, 0.06)]
    for got in run_parties(dict.fromkeys(kind.compute, compute)).values():
        for value, (want, error) in zip(got, wants, strict=True):
            np.testing.assert_allclose(value, want, rtol=0, atol=error + 1e-5)
