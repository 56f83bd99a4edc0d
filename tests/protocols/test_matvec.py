"""Products of a matrix with a vector, and of numbers one by one, against numpy modulo 2^64; what a bad peer gets."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.channel import Traffic
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.kernels import rlwe as kernels
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.matvec.v1 import rlwe_pb2 as wire
from protocols import matvec
from protocols.matvec import elementwise, ideal, rlwe

Words = NDArray[np.uint64]
N = kernels.N
RNG = Rng.from_seed(b"matvec")
KEY = matvec.key(RNG)


def traffic(session: Session) -> Traffic:
    (channel,) = session.channels.values()
    return channel.traffic


def run(
    matrix: NDArray[np.int64],
    v: Words,
    *,
    transpose: bool = False,
    bits: int = 64,
    mine: Words | None = None,
    method: ModuleType = matvec,
    prepared: matvec.Prepared | None = None,
    tamper: dict[tuple[str, str], Tamper] | None = None,
) -> tuple[Words, Words, Traffic]:
    """Both shares, and the traffic of the vectors' owner."""
    ready = prepared or method.prepare(matrix, bits=bits)
    rows, cols = matrix.shape

    def holder(session: Session) -> Words:
        vectors = None if v.ndim == 1 else v.shape[1]
        share: Words = method.holder(
            session.channel("owner"), ready, transpose=transpose, vectors=vectors, mine=mine, rng=session.rng
        )
        return share

    def owner(session: Session) -> tuple[Words, Traffic]:
        channel, rng = session.channel("holder"), session.rng
        share = method.vector(channel, v, rows=rows, cols=cols, transpose=transpose, bits=bits, key=KEY, rng=rng)
        return share, traffic(session)

    results = run_parties({"holder": holder, "owner": owner}, tamper=tamper)
    return results["holder"], *results["owner"]


def product(matrix: NDArray[np.int64], v: Words, *, transpose: bool = False) -> Words:
    words = matrix.view(np.uint64)
    result: Words = (words.T if transpose else words) @ v
    return result


def matrix_of(rows: int, cols: int, bits: int = 64) -> NDArray[np.int64]:
    return RNG.uint64(rows, cols).view(np.int64) >> (64 - bits)


@pytest.mark.parametrize("method", [matvec, ideal])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(
    ("rows", "cols", "vectors", "bits"),
    [
        (1, 1, None, 64),
        (300, 20, None, 64),
        (300, 20, None, 24),
        (9000, 3, None, 64),
        (60, 70, 9, 64),
        (0, 3, None, 64),
        (3, 0, None, 64),
        (4, 5, 0, 64),
        (5, 4, 1, 2),
    ],
)
def test_shares_add_up(
    *, method: ModuleType, rows: int, cols: int, vectors: int | None, bits: int, transpose: bool
) -> None:
    matrix = matrix_of(rows, cols, bits)
    n, m = (rows, cols) if transpose else (cols, rows)
    v = RNG.uint64(n) if vectors is None else RNG.uint64(n, vectors)
    a, b, _ = run(matrix, v, transpose=transpose, bits=bits, method=method)
    assert a.shape == b.shape == ((m,) if vectors is None else (m, vectors))
    assert np.array_equal(a + b, product(matrix, v, transpose=transpose))


@settings(max_examples=8)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from([(8193, 2), (2, 8193), (90, 700)]),
    p=st.integers(1, 5),
    extreme=st.booleans(),
    transpose=st.booleans(),
)
def test_any_sizes(*, sizes: tuple[int, int], p: int, extreme: bool, transpose: bool) -> None:
    m, n = sizes
    matrix = np.full((m, n), np.iinfo(np.int64).min) if extreme else matrix_of(m, n)
    v = RNG.uint64(m if transpose else n, p)
    if extreme:
        v[:] = np.iinfo(np.uint64).max
    a, b, _ = run(matrix, v, transpose=transpose)
    assert np.array_equal(a + b, product(matrix, v, transpose=transpose))


def test_long_vectors_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """As are groups of vectors and of rows, all of them with a last piece that is smaller."""
    for name, value in {"_TERMS": 2, "_ROWS": 2, "_GROUP": 2, "KEPT_BYTES": 0}.items():
        monkeypatch.setattr(rlwe, name, value)
    matrix, v = matrix_of(3, 40_000), RNG.uint64(40_000)
    a, b, seen = run(matrix, v)
    assert np.array_equal(a + b, product(matrix, v))
    assert seen.messages_sent == 1 + 3
    matrix, v = matrix_of(150, 100), RNG.uint64(100, 90)
    a, b, seen = run(matrix, v)
    assert np.array_equal(a + b, product(matrix, v))
    assert seen.messages_sent > 2
    assert seen.messages_received > 4


def test_a_matrix_is_transformed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(500, 8)
    prepared = matvec.prepare(matrix)
    for transpose in (False, True):
        v = RNG.uint64(500 if transpose else 8)
        expected = product(matrix, v, transpose=transpose)
        a, b, _ = run(matrix, v, transpose=transpose, prepared=prepared)
        assert np.array_equal(a + b, expected)
        with monkeypatch.context() as warm:
            warm.setattr(kernels, "lift", None)
            a, b, _ = run(matrix, v, transpose=transpose, prepared=prepared)
        assert np.array_equal(a + b, expected)


@pytest.mark.parametrize("bits", [30, 64])
def test_a_large_matrix_keeps_nothing(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    """Its blocks are made some at a time, and messages are as they were."""
    monkeypatch.setattr(rlwe, "KEPT_BYTES", 0)
    monkeypatch.setattr(rlwe, "_MADE", 6)
    matrix = matrix_of(70_000, 3, bits)
    prepared = matvec.prepare(matrix, bits=bits)
    assert prepared.matrix.itemsize == (4 if bits == 30 else 8)
    for transpose in (False, True):
        v = RNG.uint64(70_000 if transpose else 3)
        mine = RNG.uint64(len(v))
        a, b, seen = run(matrix, v, transpose=transpose, bits=bits, mine=mine, prepared=prepared)
        assert np.array_equal(a + b, product(matrix, v + mine, transpose=transpose))
        plan = rlwe.plan(3 if transpose else 70_000, len(v), 1, bits=bits)
        assert seen.messages_received == -(-plan.row_blocks // 8)
    assert not prepared._forms


@pytest.mark.parametrize("method", [matvec, ideal])
def test_small_entries_are_held_in_four_bytes(method: ModuleType) -> None:
    matrix = np.array([[-(2**31), 2**31 - 1, 5], [0, -1, 7]])
    v = RNG.uint64(3)
    for form in (matrix, matrix.astype(np.int32), matrix.view(np.uint64)):
        prepared = method.prepare(form, bits=40)
        assert prepared.matrix.dtype == np.int32
        a, b, _ = run(matrix, v, bits=40, prepared=prepared, method=method)
        assert np.array_equal(a + b, product(matrix, v))
    for beyond in (-(2**31) - 1, 2**31):
        assert method.prepare(np.array([[beyond]])).matrix.dtype == np.int64


@pytest.mark.parametrize("method", [matvec, ideal])
def test_the_holder_may_have_a_share_of_the_vector(method: ModuleType) -> None:
    matrix, v, mine = matrix_of(40, 6), RNG.uint64(6), RNG.uint64(6)
    a, b, _ = run(matrix, v, mine=mine, method=method)
    assert np.array_equal(a + b, product(matrix, v + mine))
    v, mine = RNG.uint64(40, 2), RNG.uint64(40, 2)
    a, b, _ = run(matrix, v, mine=mine, method=method, transpose=True)
    assert np.array_equal(a + b, product(matrix, v + mine, transpose=True))


def test_a_vector_that_two_others_share() -> None:
    matrix, left, right = matrix_of(50, 7), RNG.uint64(7), RNG.uint64(7)

    def owner(v: Words) -> Callable[[Session], Words]:
        return lambda s: matvec.vector(s.channel("holder"), v, rows=50, cols=7, key=matvec.key(s.rng), rng=s.rng)

    def holder(session: Session) -> Words:
        channels = [session.channel(name) for name in ("left", "right")]
        return matvec.holder_of_shared(channels, matvec.prepare(matrix), rng=session.rng)

    shares = run_parties({"holder": holder, "left": owner(left), "right": owner(right)})
    assert np.array_equal(sum(shares.values()), product(matrix, left + right))
    with pytest.raises(UsageError, match="No channel"):
        matvec.holder_of_shared([], matvec.prepare(matrix), rng=RNG)


def test_the_matrix_and_the_key_name_the_method() -> None:
    matrix, v = matrix_of(2, 3), RNG.uint64(3)
    prepared = matvec.prepare(matrix, method="paillier")

    def owner(session: Session, method: matvec.Method) -> Words:
        key = matvec.key(session.rng, method=method)
        return matvec.vector(session.channel("holder"), v, rows=2, cols=3, key=key, rng=session.rng)

    def run_with(method: matvec.Method) -> dict[str, Words]:
        holder = lambda s: matvec.holder(s.channel("owner"), prepared, rng=s.rng)  # noqa: E731
        return run_parties({"holder": holder, "owner": lambda s: owner(s, method)})

    assert np.array_equal(sum(run_with("paillier").values()), product(matrix, v))
    with pytest.raises(PeerError, match="PaillierVectors"):
        run_with("rlwe")
    with pytest.raises(UsageError, match="choose rlwe or paillier"):
        matvec.prepare(matrix, method="lwe")  # type: ignore[arg-type]


def test_shares_are_uniform_whatever_the_product() -> None:
    """Of the zero product every bit of either share is a coin, as it is of any other."""
    matrix = np.zeros((6000, 1), dtype=np.int64)
    for vector in (np.zeros(1, np.uint64), np.ones(1, np.uint64)):
        for share in run(matrix, vector)[:2]:
            ones = np.unpackbits(share.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0, dtype=np.int64)
            assert np.all(np.abs(ones - 3000) < 6 * np.sqrt(1500))
            assert len(np.unique(share)) == 6000


@pytest.mark.parametrize("bits", [53, 64])
def test_any_plan_floods_enough(bits: int) -> None:
    for m, n, p in ((100_000, 20, 1), (20, 100_000, 1), (1, 1 << 30, 1), (1 << 30, 1, 1), (1000, 1000, 1000)):
        plan = rlwe.plan(m, n, p, bits=bits)
        assert plan.rows * plan.length * plan.vectors == N
        terms = min(plan.terms, 32)
        products = terms * plan.length
        flooding = kernels.flooding_bits(plan.primes, kernels.WORD, bits=bits, terms=terms, products=products)
        assert flooding >= kernels.FLOODING_BITS
        assert plan.primes == ("wide" if bits == 64 else "narrow")
    most = kernels.flooding_bits("narrow", 0, bits=60, terms=elementwise.MAX_TERMS, products=elementwise.MAX_TERMS * N)
    assert most >= kernels.FLOODING_BITS
    terms = elementwise.MAX_SMALL_TERMS
    small = kernels.flooding_bits("narrow", kernels.SINGLE, bits=59, terms=terms, products=terms * N)
    assert small >= kernels.FLOODING_BITS


def test_distances_of_many_results_together_are_those_of_the_page() -> None:
    """A number that flooding hides is off by the noise over the width of the flooding, twice the latter's size."""

    def together(flooding: float, numbers: int) -> float:
        return math.log2(numbers) - (flooding + 1)

    narrow, wide = (
        kernels.flooding_bits(primes, kernels.WORD, bits=bits, terms=32, products=32 * N)
        for primes, bits in (("narrow", 53), ("wide", 64))
    )
    single = kernels.flooding_bits(
        "narrow", 0, bits=60, terms=elementwise.MAX_TERMS, products=elementwise.MAX_TERMS * N
    )
    assert together(narrow, 1 << 18) <= -33
    assert together(wide, 1 << 18) <= -40
    assert together(single, 3 << 20) <= -29
    assert together(single, 3 * N) <= -36
    terms = elementwise.MAX_SMALL_TERMS
    small = kernels.flooding_bits("narrow", kernels.SINGLE, bits=59, terms=terms, products=terms * N)
    assert together(small, 1 << 20) <= -31


@pytest.mark.parametrize(("rows", "cols", "bits", "transpose"), [(20_000, 20, 64, False), (20_000, 20, 24, True)])
def test_cost(*, rows: int, cols: int, bits: int, transpose: bool) -> None:
    """The bytes and rounds that the docstring states."""
    matrix = matrix_of(rows, cols, bits)
    n, m = (rows, cols) if transpose else (cols, rows)
    _, _, seen = run(matrix, RNG.uint64(n), transpose=transpose, bits=bits)
    plan = rlwe.plan(m, n, 1, bits=bits)
    assert plan.terms == -(-n // plan.length)
    primes = 4 if bits == 64 else 3
    up = (1 + plan.terms) * primes * 65536
    down = plan.row_blocks * (N + N // plan.length) * 10
    messages = -(-plan.row_blocks // 8)
    assert plan.cost_bytes() == up - primes * 65536 + down
    assert seen.messages_sent == 2
    assert seen.messages_received == messages
    assert up < seen.bytes_sent < up + 2 * 120 + 32
    assert down < seen.bytes_received < down + messages * 120
    assert seen.rounds == 1


def test_the_plan_sends_the_fewest_bytes() -> None:
    tall = rlwe.plan(100_000, 20, 1, bits=64)
    assert (tall.rows, tall.length, tall.terms, tall.row_blocks) == (4096, 2, 10, 25)
    wide = rlwe.plan(20, 100_000, 1, bits=64)
    assert (wide.rows, wide.length, wide.terms, wide.row_blocks) == (1, 8192, 13, 20)
    several = rlwe.plan(100, 100, 100, bits=64)
    assert several.vectors > 1


# Numbers one by one ---------------------------------------------------------------------------------------------------


def one_by_one(
    u: Words,
    v: Words,
    *,
    small: bool = False,
    method: ModuleType = elementwise,
    tamper: dict[tuple[str, str], Tamper] | None = None,
) -> tuple[Words, Words, Traffic]:
    results = run_parties(
        {
            "key": lambda s: (method.key_side(s.channel("other"), u, small=small, key=KEY, rng=s.rng), traffic(s)),
            "other": lambda s: method.other_side(s.channel("key"), v, small=small, rng=s.rng),
        },
        tamper=tamper,
    )
    return results["key"][0], results["other"], results["key"][1]


@pytest.mark.parametrize("method", [elementwise, ideal])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 8192), (1, 8193), (4, 100), (2, 0)])
def test_products_one_by_one(method: ModuleType, m: int, n: int) -> None:
    u, v = RNG.uint64(m, n), RNG.uint64(m, n)
    if n:
        u[:, 0], v[:, -1] = 1 << 63, (1 << 64) - 1
    a, b, seen = one_by_one(u, v, method=method)
    assert a.shape == b.shape == (n,)
    assert np.array_equal(a + b, (u * v).sum(axis=0, dtype=np.uint64))
    assert method is ideal or seen.rounds == (n > 0)


@pytest.mark.parametrize("method", [elementwise, ideal])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (24, 60), (3, 8193), (2, 0)])
def test_products_of_small_numbers(method: ModuleType, m: int, n: int) -> None:
    """Shares modulo a prime of signed sums, as large as may be."""
    t, most = elementwise.SMALL, math.isqrt(elementwise.SMALL // 2 // m)
    u, v = (RNG.uint64(m, n) % np.uint64(2 * most + 1) - np.uint64(most) for _ in range(2))
    u[:, :2], v[:, :1], v[:, 1:2] = most, most, -most % 2**64
    a, b, seen = one_by_one(u, v, small=True, method=method)
    assert a.shape == b.shape == (n,)
    assert not n or max(a.max(), b.max()) < t
    sums = (u.view(np.int64) * v.view(np.int64)).sum(axis=0)
    assert np.array_equal((a + b) % np.uint64(t), (sums % t).view(np.uint64))
    assert method is ideal or seen.rounds == (n > 0)


def test_shares_of_small_products_are_uniform() -> None:
    x = np.ones((1, N), dtype=np.uint64)
    for share in one_by_one(x, x, small=True)[:2]:
        counts = np.bincount((share.astype(np.float64) / elementwise.SMALL * 64).astype(np.int64), minlength=64)
        assert np.sum((counts - N / 64) ** 2) / (N / 64) < 63 + 8 * np.sqrt(2 * 63)


@pytest.mark.parametrize("value", [0, 1 << 63, (1 << 64) - 1])
def test_shares_of_equal_products_are_uniform(value: int) -> None:
    x = np.full((1, 8000), value, dtype=np.uint64)
    a, b, _ = one_by_one(x, x)
    assert np.array_equal(a + b, (x * x)[0])
    for share in (a, b):
        ones = np.unpackbits(share.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0, dtype=np.int64)
        assert np.all(np.abs(ones - 4000) < 6 * np.sqrt(2000))


def test_cost_of_products_one_by_one() -> None:
    m, n = 2, 5 * N - 3
    _, _, seen = one_by_one(RNG.uint64(m, n), RNG.uint64(m, n))
    messages = 2  # of four blocks, and of one
    up, down = (1 + 3 * m * 5) * 3 * 65536, 3 * 5 * 2 * N * 10
    assert (seen.messages_sent, seen.messages_received) == (1 + messages, messages)
    assert up < seen.bytes_sent < up + 3 * 120 + messages * 48
    assert down < seen.bytes_received < down + messages * 120
    assert seen.rounds <= messages


def test_cost_of_products_of_small_numbers() -> None:
    m, n = 14, 3 * N - 3
    _, _, seen = one_by_one(np.ones((m, n), np.uint64), np.ones((m, n), np.uint64), small=True)
    messages = 2  # of two blocks, and of one
    up, down = (1 + m * 3) * 3 * 65536, 3 * 2 * N * 10
    assert (seen.messages_sent, seen.messages_received) == (1 + messages, messages)
    assert up < seen.bytes_sent < up + 3 * 120 + messages * 16
    assert down < seen.bytes_received < down + messages * 120


# What is wrong --------------------------------------------------------------------------------------------------------


def test_one_flipped_bit_is_an_error_or_a_wrong_result() -> None:
    """Semi-honest: numbers that are residues and replies are taken as they are. What cannot be is refused."""
    matrix, v = matrix_of(30, 4), RNG.uint64(4)

    def flip(sender: str, message: int, byte: int, bit: int = 0) -> tuple[Words, Words, Traffic]:
        receiver = "holder" if sender == "owner" else "owner"
        return run(matrix, v, tamper={(sender, receiver): Tamper(message, byte, bit)})

    for message in (0, 1):  # the top bit of a number is above every prime
        with pytest.raises(PeerError, match="ciphertexts of residues"):
            flip("owner", message, -1, 7)
    plan = rlwe.plan(30, 4, 1, bits=64)
    first_of_reply = -kernels.Shape(1, 1, 1, 1, plan.length).reply_bytes + 9
    for sender, message, byte in (("owner", 1, -12), ("holder", 0, first_of_reply)):
        a, b, _ = flip(sender, message, byte, 6)
        assert not np.array_equal(a + b, product(matrix, v))
    with pytest.raises(PeerError):
        flip("owner", 0, 8)  # in the envelope
    with pytest.raises(PeerError):
        flip("holder", 0, 8)


def test_one_flipped_bit_of_products_one_by_one() -> None:
    u, v = RNG.uint64(2, 50), RNG.uint64(2, 50)
    for message in (0, 1):
        with pytest.raises(PeerError, match="ciphertexts of residues"):
            one_by_one(u, v, tamper={("key", "other"): Tamper(message, -1, 7)})
    for sender, receiver, message, byte in (("key", "other", 1, -12), ("other", "key", 0, -1)):
        a, b, _ = one_by_one(u, v, tamper={(sender, receiver): Tamper(message, byte, 6)})
        assert not np.array_equal(a + b, (u * v).sum(axis=0, dtype=np.uint64))


@pytest.mark.parametrize(
    "change",
    [{"rows": 31}, {"cols": 5}, {"transpose": True}, {"vectors": 2}, {"bits": 60}],
    ids=lambda c: next(iter(c)),
)
def test_parties_that_are_about_different_products(change: dict[str, Any]) -> None:
    about: dict[str, Any] = {"rows": 30, "cols": 4, "transpose": False, "bits": 64, "vectors": 1} | change
    n = about["rows"] if about["transpose"] else about["cols"]
    v = RNG.uint64(n, about.pop("vectors"))
    with pytest.raises(PeerError, match="the same sizes, direction and bits"):
        run_parties(
            {
                "holder": lambda s: matvec.holder(s.channel("owner"), matvec.prepare(matrix_of(30, 4)), rng=s.rng),
                "owner": lambda s: matvec.vector(s.channel("holder"), v, key=KEY, rng=s.rng, **about),
            }
        )
    for m, small in ((1, False), (2, True)):
        u, v = RNG.uint64(2, 5), RNG.uint64(m, 5)

        def other(s: Session, v: Words = v, *, small: bool = small) -> Words:
            return elementwise.other_side(s.channel("key"), v, small=small, rng=s.rng)

        with pytest.raises(PeerError, match="as many numbers"):
            run_parties(
                {
                    "key": lambda s, u=u: elementwise.key_side(s.channel("other"), u, key=KEY, rng=s.rng),
                    "other": other,
                }
            )


def test_ciphertexts_of_another_shape() -> None:
    """Too few primes, too few blocks, or replies to other rows."""
    one, two = (np.zeros((primes, N), np.uint64) for primes in (3, 4))
    public = np.zeros(16, np.uint8)
    query = wire.MatvecQuery(rows=30, cols=4, vectors=1, bits=64)

    def hostile(*messages: tuple[Any, ...]) -> Callable[[Session], None]:
        def run(session: Session) -> None:
            for message in messages:
                session.channel("honest").send(*message)
            for _ in range(3):
                with contextlib.suppress(ChannelClosed):
                    session.channel("honest").recv(wire.MatvecQuery, wire.MatvecBlocks, wire.MatvecReplies)

        return run

    def holder(session: Session) -> Words:
        return matvec.holder(session.channel("hostile"), matvec.prepare(matrix_of(30, 4)), rng=session.rng)

    for messages in (
        [(query, public, one)],
        [(query, public, two), (wire.MatvecBlocks(), public, np.zeros((2, 1, 4, N), np.uint64))],
        [(query, public, two), (wire.MatvecBlocks(), public, np.zeros((1, 1, 3, N), np.uint64))],
    ):
        with pytest.raises(PeerError, match="as many ciphertexts as the sizes say"):
            run_parties({"honest": holder, "hostile": hostile(*messages)})

    def owner(session: Session) -> Words:
        return matvec.vector(session.channel("hostile"), RNG.uint64(4), rows=30, cols=4, key=KEY, rng=session.rng)

    for shape in ((1, 2, 90), (2, 1, 90), (1, 1, 90)):
        with pytest.raises(PeerError, match="a reply for each block"):
            run_parties({"honest": owner, "hostile": hostile((wire.MatvecReplies(), np.zeros(shape, np.uint8)))})


def test_misuse_is_told() -> None:
    matrix = matrix_of(3, 2)
    channel: Any = None
    with pytest.raises(UsageError, match="beyond 8 bits"):
        matvec.prepare(matrix, bits=8)
    matvec.prepare(np.array([[-128, 127]]), bits=8)
    for value in (-129, 128):
        with pytest.raises(UsageError, match="beyond 8 bits"):
            matvec.prepare(np.array([[value]]), bits=8)
    for bits in (1, 65):
        with pytest.raises(UsageError, match="give 2 to 64"):
            matvec.prepare(matrix, bits=bits)
    for bad in (np.zeros(3, np.int64), np.zeros((2, 2), np.float64)):
        with pytest.raises(UsageError, match="int64 or uint64"):
            matvec.prepare(bad)
    with pytest.raises(UsageError, match="give \\(2,\\) uint64"):
        matvec.holder(channel, matvec.prepare(matrix), mine=RNG.uint64(3), rng=RNG)
    with pytest.raises(UsageError, match="give \\(2,\\) or \\(2, vectors\\)"):
        matvec.vector(channel, RNG.uint64(3), rows=3, cols=2, key=KEY, rng=RNG)
    with pytest.raises(UsageError, match="rows, columns and vectors"):
        matvec.holder(channel, matvec.prepare(matrix), vectors=-1, rng=RNG)
    with pytest.raises(UsageError, match="m from 1 to 4"):
        elementwise.key_side(channel, RNG.uint64(5, 2), key=KEY, rng=RNG)
    with pytest.raises(UsageError, match="m from 1 to 24"):
        elementwise.key_side(channel, RNG.uint64(25, 2), small=True, key=KEY, rng=RNG)
    with pytest.raises(UsageError, match="m from 1 to 4"):
        elementwise.other_side(channel, np.zeros((1, 2), np.int64), rng=RNG)  # type: ignore[arg-type]
    assert "secret" not in repr(KEY)
