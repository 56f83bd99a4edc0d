"""Two-party arithmetic: long computations, cost, what can be seen, and peers that go or differ.

That methods do what they say is tested with all engines in test_arithmetic_engines.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from mpc.errors import ChannelClosed, ChannelError, PeerError, UsageError
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.arithmetic.v1 import two_pb2 as wire
from protocols.arithmetic import two, two_transfers
from protocols.arithmetic.engine import Array, Words
from protocols.arithmetic.two import TwoParty
from protocols.ot.method import Method
from tests.transport.support import connected, make_parties

EDGES = np.array(
    [0, 1, 2, 15, 16, 2**32, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 16, 2**64 - 1], dtype=np.uint64
)
METHODS: list[Method] = ["softspoken", "silent"]
Results = dict[str, Array | None]


def words(n: int, seed: int) -> Words:
    """Edge cases, and uniform words up to n altogether."""
    rng = np.random.default_rng(seed)
    return np.concatenate((rng.permutation(EDGES), rng.integers(0, 2**64, n, dtype=np.uint64)))[:n]


def both(
    program: Callable[[TwoParty], Results],
    *,
    method: Method = "softspoken",
    suite: str = "intl",
    tamper: dict[tuple[str, str], Tamper] | None = None,
) -> Results:
    """What the program gives at the first party, which must be the same at the second."""

    def party(session: Session) -> Results:
        return program(TwoParty(session, ("ann", "bob"), method=method, suite=suite))

    results = run_parties({"ann": party, "bob": party}, tamper=tamper)
    np.testing.assert_equal(results["ann"], results["bob"])
    return results["ann"]


def shared(engine: TwoParty, values: Array, owner: str = "ann") -> Array:
    """Shares of values that `owner` gives."""
    given = values if engine.me == owner else None
    if values.dtype == np.bool_:
        return engine.input_bits(given, owner, values.shape)
    return engine.input(given, owner, values.shape)


@pytest.mark.parametrize("method", METHODS)
def test_long_computations_go_in_pieces(monkeypatch: pytest.MonkeyPatch, method: Method) -> None:
    monkeypatch.setattr(two, "COMPARED", 128)
    monkeypatch.setattr(two, "AT_A_TIME", 1 << 13)
    x, y = words(500, 8), words(500, 9)

    def program(e: TwoParty) -> Results:
        a, b = shared(e, x), shared(e, y, "bob")
        sign = e.negative(a)
        return {
            "negative": e.open(sign),
            "is_zero": e.open(e.is_zero(a)),
            "mul": e.open(e.mul(a, b)),
            "matmul": e.open(e.matmul(a[:, :60].reshape(1, 15, 4), b[:, :80].reshape(1, 4, 20))),
            "and": e.open_bits(e.and_(a, b)),
            "truncate": e.open(e.truncate(e.bit_to_word(sign), 0)),
        }

    expected = {
        "negative": x >> 63 == 1,
        "is_zero": x == 0,
        "mul": x * y,
        "matmul": x[:60].reshape(15, 4) @ y[:80].reshape(4, 20),
        "truncate": x >> 63,
    }
    found = both(program, method=method)
    del found["and"]
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_over_a_channel(suite: str) -> None:
    x = words(100, 10)

    def program(e: TwoParty) -> Results:
        a = shared(e, x)
        zero = e.is_zero(a)
        return {"zero": e.open(zero), "selected": e.open(e.select_word(zero, e.constant(x)))}

    def party(session: Session) -> Results:
        peer = "bob" if session.me == "ann" else "ann"
        return program(TwoParty.over(session.channel(peer), first=session.me == "ann", suite=suite, rng=session.rng))

    found = run_parties({"ann": party, "bob": party})
    assert np.array_equal(found["ann"]["zero"], x == 0)
    assert not found["bob"]["selected"].any()
    # Engines follow each other on one channel.
    run_parties({"ann": lambda s: (party(s), party(s)), "bob": lambda s: (party(s), party(s))})


# Cost -----------------------------------------------------------------------------------------------------------------

COSTS: dict[str, tuple[Callable[[TwoParty, Words], object], int, float, int]] = {
    "negative": (lambda e, a: e.negative(a), 94, 82.25, 6),
    # L = 7 leaves and T = 2 bounds; L = 4 and T = 1.
    "below": (lambda e, a: e.below(a, (-9, 9), bits=30, drop=4), 52, 3.5 + 2 * (28 + (18 - 3) / 4), 5),
    "below one": (lambda e, a: e.below(a, (5,), bits=13), 22, 2 + 16 + (9 - 2) / 4, 4),
    "is_zero": (lambda e, a: e.is_zero(a), 94, 79.5, 6),
    "and_": (lambda e, a: e.and_(a, a), 128, 32, 1),  # 64 bits a word
    "mul": (lambda e, a: e.mul(a, a), 128, 592, 2),
    "select_word": (lambda e, a: e.select_word(a > 0, a), 2, 16.25, 2),
    "bit_to_word": (lambda e, a: e.bit_to_word(a > 0), 1, 8.125, 2),
    "truncate": (lambda e, a: e.truncate(a, 16), 1, 8.125, 2),
    "to_bits": (lambda e, a: e.to_bits(a), 512, 160.25, 7),
    "from_bits": (lambda e, a: e.from_bits(a), 64, 296, 2),
    "open": (lambda e, a: e.open(a), 0, 16, 1),
    "truncate_local": (lambda e, a: e.truncate_local(a, 16), 0, 0, 0),
    "sum_inputs": (lambda e, a: e.sum_inputs(a[0]), 0, 0, 0),
}


@pytest.mark.parametrize("name", COSTS)
def test_cost(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Bytes, transfers and messages are what the docstring says."""
    call, transfers, size, rounds = COSTS[name]
    monkeypatch.setitem(two_transfers.STOCK, "softspoken", 0)  # so that no more are made than are needed
    n = 1 << 10

    def party(session: Session) -> tuple[int, int]:
        channel = session.channel("bob" if session.me == "ann" else "ann")
        e = TwoParty(session, ("ann", "bob"))
        a = shared(e, words(n, 13))
        e.select_word(a[:, :64] > 0, a[:, :64])  # sets both directions up
        before = channel.traffic
        call(e, a)
        now = channel.traffic
        return now.bytes_sent - before.bytes_sent, now.messages_sent - before.messages_sent

    results = run_parties({"ann": party, "bob": party})
    bytes_sent, messages = (sum(pair) for pair in zip(*results.values(), strict=True))
    # Corrections of the transfers: a message of each party that receives any.
    made = {0: 0, 1: 1, 64: 1}.get(transfers, 2 * (rounds if name == "to_bits" else 1))
    assert messages == 2 * rounds + made
    assert 0 <= bytes_sent - n * (size + 4 * transfers) <= 120 * messages


def test_cost_of_many_products() -> None:
    """Under encryption, 204 bytes a product."""
    n = 1 << 14
    x, y = words(n, 18), words(n, 19)

    def party(session: Session) -> tuple[int, Array | None]:
        e = TwoParty(session, ("ann", "bob"))
        a, b = shared(e, x), shared(e, y, "bob")
        channel = session.channel("bob" if session.me == "ann" else "ann")
        before = channel.traffic.bytes_sent
        product = e.mul(a, b)
        return channel.traffic.bytes_sent - before, e.open(product)

    (sent, product), (answered, _) = run_parties({"ann": party, "bob": party}).values()
    assert np.array_equal(product, x * y)
    assert 0 <= sent + answered - 204 * n <= 200_000


def test_cost_of_a_series_of_many_values() -> None:
    """Under encryption, and what a truncation takes; the key's side sends the factors."""
    n, k = 1 << 13, 3
    x = words(n, 20)

    def party(session: Session) -> int:
        e = TwoParty(session, ("ann", "bob"))
        a = shared(e, x)
        e.truncate(a, 9)
        channel = session.channel("bob" if session.me == "ann" else "ann")
        before = channel.traffic.bytes_sent
        e.fourier(a, 30, [0.5] * k, 18)
        return channel.traffic.bytes_sent - before

    sent = sum(run_parties({"ann": party, "bob": party}).values())
    assert 0 <= sent - (48 * k + 20 + 8.125) * n <= 200_000 + 8 * n  # transfers are made for more than this


# What can be seen -----------------------------------------------------------------------------------------------------


def chi_square(data: Array) -> float:
    """How far bytes are from uniform, in standard deviations of the statistic."""
    counts = np.bincount(data.reshape(-1).view(np.uint8), minlength=256)
    expected = counts.sum() / 256
    return float((((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(2 * 255))


def test_messages_and_shares_are_uniform() -> None:
    """All inputs are zero; whatever travels and whatever a party holds afterwards must not look so."""
    n = 1 << 11

    def party(session: Session) -> dict[str, list[Array]]:
        e = TwoParty(session, ("ann", "bob"))
        seen: dict[str, list[Array]] = {}
        swap = e._swap

        def tapped(operation: str, mine: Array, size: int) -> Array:
            theirs = swap(operation, mine, size)
            if len(theirs) >= 128:
                seen.setdefault(operation, []).append(theirs)
            return theirs

        e._swap = tapped  # type: ignore[method-assign]
        a = shared(e, np.zeros(n, dtype=np.uint64))
        bits = shared(e, np.zeros(n, dtype=np.bool_))
        seen["shares"] = [
            a, e.sum_inputs(np.zeros(n, dtype=np.uint64)), e.outward(a), e.mul(a, a), e.bit_to_word(bits),
            e.select_word(bits, a), e.from_bits(a), e.to_bits(a), e.and_(a, a),
            *(np.packbits(b) for b in (bits, e.negative(a), e.is_zero(a), e.and_(bits, bits))),
        ]  # fmt: skip
        # Of a truncated value's share the lowest bits are those of the sum's; the product masks the others.
        seen["shares"].append((e.truncate(a, 32) >> np.uint64(32)).astype(np.uint32))
        return seen

    for seen in run_parties({"ann": party, "bob": party}, seed=b"uniform").values():
        for pieces in seen.values():
            for piece in pieces:
                assert abs(chi_square(piece)) < 6
        assert len(seen) > 8


# Peers that do something else -----------------------------------------------------------------------------------------


def test_terms_that_differ_end() -> None:
    def party(session: Session) -> None:
        TwoParty(session, ("ann", "bob"), method="softspoken" if session.me == "ann" else "silent")

    with pytest.raises(PeerError, match="transfers at both"):
        run_parties({"ann": party, "bob": party})
    with pytest.raises(PeerError, match="one party that is the first"):
        run_parties({"ann": lambda s: TwoParty(s, ("ann", "bob")), "bob": lambda s: TwoParty(s, ("bob", "ann"))})


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_sizes_are_checked(size: int) -> None:
    def hostile(session: Session) -> None:
        channel = session.channel("ann")
        channel.exchange(wire.TwoStart(version=1, first=False, method="softspoken"), bytes(32))
        _, data = channel.recv(wire.TwoStep)
        assert len(data) == 64

    def honest(session: Session) -> None:
        e = TwoParty(session, ("ann", "bob"))
        e.open(shared(e, np.zeros(8, dtype=np.uint64)))

    def sends(session: Session) -> None:
        channel = session.channel("ann")
        channel.exchange(wire.TwoStart(version=1, first=False, method="softspoken"), bytes(32))
        header, _ = channel.recv(wire.TwoStep)
        channel.send(header, bytes(size))

    with pytest.raises(PeerError, match="64 bytes for open"):
        run_parties({"ann": honest, "bob": sends})
    with pytest.raises(ChannelClosed):
        run_parties({"ann": honest, "bob": lambda s: (hostile(s), s.close("gone"))})


def leaving(e: TwoParty, after: int) -> None:
    """Make the engine's party leave before its message of that number."""
    swap, left = e._swap, iter(range(after))

    def limited(operation: str, mine: Array, size: int) -> Array:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return swap(operation, mine, size)

    e._swap = limited  # type: ignore[method-assign]


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("after", range(6))
def test_a_party_that_leaves_in_any_round(monkeypatch: pytest.MonkeyPatch, after: int, pieces: int) -> None:
    monkeypatch.setattr(two, "COMPARED", 64)
    ended: dict[str, BaseException] = {}

    def party(session: Session) -> None:
        e = TwoParty(session, ("ann", "bob"))
        a = shared(e, words(64 * pieces, 14))
        if e.me == "bob":
            leaving(e, 6 * (pieces - 1) + after)
        try:
            e.negative(a)
        except BaseException as error:
            ended[e.me] = error
            raise

    with pytest.raises(KeyboardInterrupt):
        run_parties({"ann": party, "bob": party}, timeout_s=5)
    assert isinstance(ended["ann"], ChannelError)


@pytest.mark.parametrize("transport", ["grpc", "wan"])
def test_pieces_over_other_transports(monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    """Threads and lanes of a long computation, to its end and where one party leaves in its middle."""
    monkeypatch.setattr(two, "COMPARED", 1 << 10)
    x = words(5000, 20)

    def party(session: Session, *, leaves: bool) -> Results:
        e = TwoParty(session, ("bank", "tax"))
        a = shared(e, x, "bank")
        found = {"negative": e.open(e.negative(a))}
        if leaves:
            leaving(e, 15)
        e.negative(a)
        return found

    with connected(transport, make_parties()) as (bank, tax):
        lanes = {("bank", "tax"): bank, ("tax", "bank"): tax}
        with pytest.raises(KeyboardInterrupt):
            run_parties(
                {"bank": partial(party, leaves=False), "tax": partial(party, leaves=True)}, connect=lambda _: lanes
            )
    with connected(transport, make_parties()) as (bank, tax):
        lanes = {("bank", "tax"): bank, ("tax", "bank"): tax}
        results = run_parties(dict.fromkeys(("bank", "tax"), partial(party, leaves=False)), connect=lambda _: lanes)
    for found in results.values():
        assert np.array_equal(found["negative"], x >> 63 == 1)


@pytest.mark.parametrize("message", range(1, 11))
def test_one_flipped_bit(message: int) -> None:
    """In an envelope it is found; in the data of a semi-honest protocol it gives a wrong result, and no more."""
    x = words(128, 15)

    def program(e: TwoParty) -> Results:
        a = shared(e, x)
        return {"negative": e.open(e.negative(a)), "product": e.open(e.mul(a, a))}

    with pytest.raises(PeerError):
        both(program, tamper={("ann", "bob"): Tamper(message, byte=6)})
    try:
        found = both(program, tamper={("ann", "bob"): Tamper(message)})
    except AssertionError:  # the parties open different values
        return
    # Bit 0 of the last byte belongs to one value at most.
    assert (found["negative"] != (x >> 63 == 1)).sum() + (found["product"] != x * x).sum() <= 1


def test_misuse() -> None:
    def party(session: Session) -> None:
        for compute in (("ann",), ("ann", "ann"), ("cat", "eve"), ("ann", "bob", "eve")):
            with pytest.raises(UsageError, match="Two parties compute"):
                TwoParty(session, compute)
        with pytest.raises(UsageError, match="method is"):
            TwoParty(session, ("ann", "bob"), method="dealer")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no cipher suite"):
            TwoParty(session, ("ann", "bob"), suite="none")

    run_parties({"ann": party, "bob": party})
