"""Three-party arithmetic: long computations, cost, what can be seen, and parties that go or differ.

That methods do what they say is tested with all engines in test_arithmetic_engines.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from mpc.channel import Traffic
from mpc.errors import ChannelClosed, ChannelError, PeerError, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.transport.wan import Line, Network
from mpc.wire.arithmetic.v1 import three_pb2 as wire
from protocols.arithmetic import three
from protocols.arithmetic.engine import Array, Words
from protocols.arithmetic.three import ThreeParty

NAMES = ("ann", "bob", "cat")
EDGES = np.array(
    [0, 1, 2, 7, 8, 2**32, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 8, 2**64 - 1], dtype=np.uint64
)
Results = dict[str, Array | None]
Program = Callable[[ThreeParty], Results]


def words(n: int, seed: int) -> Words:
    """Edge cases, and uniform words up to n altogether."""
    rng = np.random.default_rng(seed)
    return np.concatenate((rng.permutation(EDGES), rng.integers(0, 2**64, n, dtype=np.uint64)))[:n]


def everywhere(
    program: Program, *, suite: str = "intl", tamper: Mapping[tuple[str, str], Tamper] | None = None
) -> Results:
    """What the program gives at the first party, which must be the same at the others."""
    results = run_parties({name: lambda s: program(ThreeParty(s, NAMES, suite=suite)) for name in NAMES}, tamper=tamper)
    for name in NAMES[1:]:
        np.testing.assert_equal(results[name], results["ann"])
    return results["ann"]  # type: ignore[no-any-return]


def shared(engine: ThreeParty, values: Array, owner: str = "ann") -> Array:
    """Shares of values that `owner` gives."""
    given = values if engine.me == owner else None
    if values.dtype == np.bool_:
        return engine.input_bits(given, owner, values.shape)
    return engine.input(given, owner, values.shape)


def test_long_computations_go_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(three, "PIECE", 128)
    monkeypatch.setattr(three, "DIRECT", 300)
    x, y = words(1000, 8), words(1000, 9)

    def program(e: ThreeParty) -> Results:
        a, b = shared(e, x), shared(e, y, "bob")
        return {
            "negative": e.open(e.negative(a)),
            "is_zero": e.open(e.is_zero(a)),
            "mul": e.open(e.mul(a, b)),
            "matmul": e.open(e.matmul(a[:, :600].reshape(2, 100, 6), b[:, :120].reshape(2, 6, 20))),
            "bits": e.open(e.from_bits(e.to_bits(a))),
            "select": e.open(e.select_word(e.negative(a), b)),
            "sum": e.open(e.sum_inputs(x)),
            "renewed": e.open(a.copy()),
        }

    expected = {
        "negative": x >> 63 == 1,
        "is_zero": x == 0,
        "mul": x * y,
        "matmul": x[:600].reshape(100, 6) @ y[:120].reshape(6, 20),
        "bits": x,
        "select": (x >> 63) * y,
        "sum": 3 * x,
        "renewed": x,
    }
    np.testing.assert_equal(everywhere(program), expected)


def test_components_may_be_views() -> None:
    x = words(60, 10).reshape(5, 12)

    def program(e: ThreeParty) -> Results:
        a = shared(e, x)
        turned, every = a.transpose(0, 2, 1), a[:, :, ::2]
        row = np.broadcast_to(a[:, :1], a.shape)
        return {"mul": e.open(e.mul(turned, turned)), "sign": e.open(e.negative(every)), "row": e.open(e.mul(row, a))}

    expected = {"mul": x.T * x.T, "sign": x[:, ::2] >> 63 == 1, "row": x[:1] * x}
    np.testing.assert_equal(everywhere(program), expected)


# Cost -----------------------------------------------------------------------------------------------------------------

COSTS: dict[str, tuple[Callable[[ThreeParty, Words], object], float, int]] = {
    "negative": (lambda e, a: e.negative(a), 42.125, 7),
    # T = 2 bounds and B = 9 blocks: 7, 3, 1 and 1 ANDs, for five, three and two left.
    "below": (lambda e, a: e.below(a, (-9, 9), bits=30, drop=4), 64 / 8 + 2 * (9 / 2 + 3 * 12 / 8), 6),
    "is_zero": (lambda e, a: e.is_zero(a), 31.625, 7),
    "and_": (lambda e, a: e.and_(a > 1, a > 2), 0.375, 1),
    "and words": (lambda e, a: e.and_(a, a), 24, 1),
    "mul": (lambda e, a: e.mul(a, a), 24, 1),
    "matmul": (lambda e, a: e.matmul(a.reshape(2, -1, 2), a[:, :4].reshape(2, 2, 2)), 24, 1),
    "select_word": (lambda e, a: e.select_word(a > 0, a), 32, 2),
    "bit_to_word": (lambda e, a: e.bit_to_word(a > 0), 24, 2),
    "truncate": (lambda e, a: e.truncate(a, 17), 24 + 3, 2),
    "truncate_local": (lambda e, a: e.truncate_local(a, 16), 8, 1),
    "to_bits": (lambda e, a: e.to_bits(a), 140, 8),
    "from_bits": (lambda e, a: e.from_bits(a), 163.875, 8),
    "open": (lambda e, a: e.open(a), 24, 1),
    "open bits": (lambda e, a: e.open(a > 0), 24 / 64, 1),
    "sum_inputs": (lambda e, a: e.sum_inputs(a[0]), 24, 1),
    "outward": (lambda e, a: e.outward(a), 24, 1),
    "input": (lambda e, a: e.input(a[0] if e.me == "bob" else None, "bob", a.shape[1:]), 8, 1),
    # 2·K·W to split and 2·W to join with W = 4, and a truncation by 12 + 3 + 32 bits.
    "fourier": (lambda e, a: e.fourier(a, 30, [1.0, 0.5, 0.2], 12), 2 * 3 * 4 + 2 * 4 + 24 + 6, 4),
}


@pytest.mark.parametrize("name", COSTS)
def test_cost(name: str) -> None:
    """Bytes and rounds are what the docstring says; the rounds by the longest chain on a simulated network."""
    call, size, rounds = COSTS[name]
    n = 1 << 12
    network = Network(Line(latency_s=0.01))

    def party(session: Session) -> tuple[Traffic, ...]:
        e = ThreeParty(session, NAMES)
        a = three.deal(words(n, 13), Rng.from_seed(b"cost"))[NAMES.index(e.me)]
        before = [channel.traffic for channel in session.channels.values()]
        call(e, a)
        return (*before, *(channel.traffic for channel in session.channels.values()))

    results = run_parties(dict.fromkeys(NAMES, party), connect=network.mesh)
    pairs = [(traffic[i + 2], traffic[i]) for traffic in results.values() for i in range(2)]
    sent = sum(after.bytes_sent - before.bytes_sent for after, before in pairs)
    messages = sum(after.messages_sent - before.messages_sent for after, before in pairs)
    assert messages <= 3 * rounds
    assert 0 <= sent - n * size <= 100 * messages
    assert network.report().rounds == rounds + 1  # set-up


# What can be seen -----------------------------------------------------------------------------------------------------


def chi_square(data: Array) -> float:
    """How far bytes are from uniform, in standard deviations of the statistic."""
    counts = np.bincount(data.reshape(-1).view(np.uint8), minlength=256)
    expected = counts.sum() / 256
    return float((((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(2 * 255))


def test_messages_and_shares_are_uniform() -> None:
    """All inputs are zero; whatever travels and each component afterwards must not look so."""
    n = 1 << 12

    def party(session: Session) -> dict[str, list[Array]]:
        e = ThreeParty(session, NAMES)
        seen: dict[str, list[Array]] = {}
        receive = e._receive_bytes

        def tapped(peer: three._Outbox, size: int) -> Array:
            data = receive(peer, size)
            seen.setdefault(e._operation, []).append(data.copy())
            return data

        e._receive_bytes = tapped  # type: ignore[method-assign]
        a = three.deal(np.zeros(n, dtype=np.uint64), Rng.from_seed(b"zeros"))[NAMES.index(e.me)]
        bits = three.deal(np.zeros(n, dtype=np.bool_), Rng.from_seed(b"no bits"))[NAMES.index(e.me)]
        shared(e, np.zeros(n, dtype=np.uint64), "cat")  # of the components one is zero
        seen["shares"] = [
            *a, *e.sum_inputs(np.zeros(n, dtype=np.uint64)), *e.outward(a), *e.mul(a, a), *e.bit_to_word(bits),
            *e.select_word(bits, a), *e.from_bits(a), *e.to_bits(a), *e.and_(a, a), *e.truncate(a, 20),
            *e.matmul(a.reshape(2, 64, 64), a.reshape(2, 64, 64)), *e.fourier(a, 20, [1.0, 1.0], 14),
            *(np.packbits(row) for b in (bits, e.negative(a), e.is_zero(a), e.and_(bits, bits), e.outward(bits))
              for row in b),
        ]  # fmt: skip
        return seen

    results = run_parties(dict.fromkeys(NAMES, party), seed=b"uniform")
    for seen in results.values():
        for pieces in seen.values():
            for piece in pieces:
                assert abs(chi_square(piece)) < 6
    assert len(set().union(*results.values())) == 15


def test_no_mask_serves_twice() -> None:
    """The same method on the same shares sends something else each time, also after one that failed."""

    def party(session: Session) -> list[bytes]:
        e = ThreeParty(session, NAMES)
        sent: list[bytes] = []
        send = e._send

        def tapped(outbox: three._Outbox, data: Array) -> None:
            sent.append(np.ascontiguousarray(data).tobytes())
            send(outbox, data)

        e._send = tapped  # type: ignore[method-assign]
        a = e.constant(np.zeros(64, dtype=np.uint64))
        for _ in range(3):
            e.mul(a, a)
            e.negative(a)
            with pytest.raises(UsageError):
                e.mul(a, a[:, :1])
        return sent

    for sent in run_parties(dict.fromkeys(NAMES, party)).values():
        assert len(set(sent)) == len(sent)


# Parties that do something else ---------------------------------------------------------------------------------------


def test_terms_that_differ_end() -> None:
    with pytest.raises(PeerError, match="in the same order"):
        run_parties({n: lambda s: ThreeParty(s, NAMES if s.me != "bob" else ("bob", "ann", "cat")) for n in NAMES})
    with pytest.raises(PeerError, match="the suite"):
        run_parties({n: lambda s: ThreeParty(s, NAMES, suite="gm" if s.me == "bob" else "intl") for n in NAMES})

    def old(session: Session) -> None:
        for channel in session.channels.values():
            channel.send(wire.ThreeStart(version=2, compute=NAMES, suite="intl"), bytes(32))
            channel.recv(wire.ThreeStart)

    honest = {name: lambda s: ThreeParty(s, NAMES) for name in ("ann", "cat")}
    with pytest.raises(PeerError, match="version 1"):
        run_parties({**honest, "bob": old})


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_sizes_are_checked(size: int) -> None:
    def honest(session: Session) -> None:
        e = ThreeParty(session, NAMES)
        e.mul(*[e.constant(np.zeros(8, dtype=np.uint64))] * 2)

    def hostile(session: Session) -> None:
        e = ThreeParty(session, NAMES)
        receive, e._send = e._receive_bytes, lambda *_: None  # type: ignore[method-assign,misc]

        def answer(peer: three._Outbox, wanted: int) -> Array:
            header = wire.ThreeStep(step=1, operation=e._operation, program=e._program)
            e._before.channel.send(header, bytes(size))
            return receive(peer, wanted)

        e._receive_bytes = answer  # type: ignore[method-assign]
        e.mul(*[e.constant(np.zeros(8, dtype=np.uint64))] * 2)

    with pytest.raises(PeerError, match="64 bytes for mul" if size < 64 else "claim 65 bytes where at most 64"):
        run_parties({"ann": honest, "bob": hostile, "cat": honest})


def leaving(e: ThreeParty, after: int) -> None:
    """Make the engine's party leave before its message of that number."""
    send, left = e._send, iter(range(after))

    def limited(outbox: three._Outbox, data: Array) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        send(outbox, data)

    e._send = limited  # type: ignore[method-assign]


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("after", range(6))
def test_a_party_that_leaves_in_any_round(monkeypatch: pytest.MonkeyPatch, after: int, pieces: int) -> None:
    """The first says its part, and each of the others, and five levels of a tree."""
    monkeypatch.setattr(three, "PIECE", 64)
    monkeypatch.setattr(three, "DIRECT", 100)
    ended: dict[str, BaseException] = {}
    gone = NAMES[after % 3]

    def party(session: Session) -> None:
        e = ThreeParty(session, NAMES)
        a = e.constant(words(64 * pieces, 14))
        if e.me == gone:
            leaving(e, after + 6 * (pieces - 1))
        try:
            e.negative(a)
        except BaseException as error:
            ended[e.me] = error
            raise

    with pytest.raises(KeyboardInterrupt):
        run_parties(dict.fromkeys(NAMES, party), timeout_s=5)
    # Of the last round's messages one waits for the leaver's; the other may have ended well before.
    del ended[gone]
    assert ended
    assert all(isinstance(error, ChannelError) for error in ended.values())


def test_a_party_that_takes_nothing() -> None:
    """What a thread could not send is raised where the method ends, and the thread ends too."""
    n = 1 << 21  # beyond what a lane takes unread

    def party(session: Session) -> None:
        e = ThreeParty(session, NAMES)
        if e.me == "cat":
            session.channel("ann").recv(wire.ThreeStep)
            return
        e.open(e.constant(np.zeros(n, dtype=np.uint64)))

    with pytest.raises(ChannelError):
        run_parties(dict.fromkeys(NAMES, party), timeout_s=1)


@pytest.mark.parametrize("way", [("ann", "bob"), ("bob", "ann"), ("cat", "ann"), ("ann", "cat")])
@pytest.mark.parametrize("message", [1, 2, 3])
def test_one_flipped_bit(message: int, way: tuple[str, str]) -> None:
    """In an envelope it is found; in the data of a semi-honest protocol it gives a wrong result, and no more."""
    x = words(64, 15)

    def program(e: ThreeParty) -> Results:
        a = shared(e, x)
        return {"negative": e.open(e.negative(a)), "product": e.open(e.mul(a, a))}

    with pytest.raises((PeerError, ChannelClosed)):
        everywhere(program, tamper={way: Tamper(message, byte=6)})
    try:
        found = everywhere(program, tamper={way: Tamper(message)})
    except AssertionError:  # the parties open different values
        return
    # Bit 0 of the last byte belongs to one value at most.
    assert (found["negative"] != (x >> 63 == 1)).sum() + (found["product"] != x * x).sum() <= 1


def test_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def party(session: Session) -> None:
        for compute in (("ann", "bob"), ("ann", "bob", "bob"), ("bob", "cat", "eve", "ann"), ("x", "y", "z")):
            with pytest.raises(UsageError, match="Three parties compute"):
                ThreeParty(session, compute)
        with pytest.raises(UsageError, match="no cipher suite"):
            ThreeParty(session, NAMES, suite="none")
        e = ThreeParty(session, NAMES)
        a = e.constant(np.zeros((2, 3), dtype=np.uint64))
        with pytest.raises(UsageError, match="an array"):
            e.input(None, e.me, (3,))
        assert not e.open(a).any()  # nothing of that had begun
        monkeypatch.setattr(three, "_LIFETIME", 10)
        with pytest.raises(UsageError, match="start another one"):
            e.mul(*[e.constant(np.zeros(100, dtype=np.uint64))] * 2)

    run_parties(dict.fromkeys(NAMES, party))
