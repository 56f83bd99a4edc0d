"""Sums by bin of encrypted words against numpy, their noise against its formula, and what a bad peer gets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import suite
from mpc.channel import Channel, Traffic
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.kernels import lwe as kernels
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.matvec.v1 import lwe_pb2 as wire
from protocols.matvec import ideal_lwe, lwe, rlwe
from protocols.matvec.lwe import Method
from protocols.ot import extension

Words = NDArray[np.uint32]
Binned = tuple[NDArray[Any], tuple[int, ...]]
RNG = Rng.from_seed(b"lwe")
INTL = suite.get("intl")


def words(*shape: int) -> Words:
    return RNG.uint8(*shape, 4).view("<u4")[..., 0].copy()


def binned(n: int, *sizes: int) -> Binned:
    dtype = np.uint8 if max(sizes) <= 256 else np.uint16
    codes = words(n, len(sizes)) % np.array(sizes, dtype=np.uint32)
    return np.ascontiguousarray(codes.astype(dtype)), sizes


def sums(of: Binned, v: Words) -> Words:
    """By numpy."""
    codes, sizes = of
    out = np.zeros((sum(sizes), v.shape[1]), dtype=np.uint32)
    for column, start in enumerate(np.cumsum((0, *sizes[:-1]))):
        np.add.at(out, start + codes[:, column].astype(np.int64), v)
    return out


def errors(opened: Words, of: Binned, v: Words) -> NDArray[np.int32]:
    return (opened - sums(of, v)).view(np.int32)


def rows_of(of: Binned) -> Words:
    """(m, 1): how many rows each bin has."""
    return sums(of, np.ones((len(of[0]), 1), dtype=np.uint32))


def run(
    matrices: dict[str, Binned],
    vectors: list[Words],
    *,
    module: ModuleType = lwe,
    method: Method = "transfers",
    tamper: dict[tuple[str, str], Tamper] | None = None,
    seed: bytes | None = None,
) -> tuple[list[dict[str, Words]], dict[str, list[Words]], list[dict[str, Traffic]]]:
    """By call: the sums that the shares of each holder add up to, the owner's shares, and its traffic before it."""

    def holder(session: Session) -> list[Words]:
        codes, sizes = matrices[session.me]
        rng, channel = session.rng, session.channel("owner")
        started = module.start_holder(channel, codes, sizes, method=method, suite=INTL, rng=rng)
        assert (started.rows, started.bins) == (len(codes), sum(sizes))
        return [started.products(v.shape[1]) for v in vectors]

    def owner(session: Session) -> tuple[list[dict[str, Words]], list[dict[str, Traffic]]]:
        channels = {name: session.channel(name) for name in matrices}
        started = module.start_owner(channels, len(vectors[0]), method=method, suite=INTL, rng=session.rng)
        assert started.bins == {name: sum(sizes) for name, (_, sizes) in matrices.items()}
        shares, seen = [], [{name: channel.traffic for name, channel in channels.items()}]
        for v in vectors:
            shares.append(started.products(v))
            seen.append({name: channel.traffic for name, channel in channels.items()})
        return shares, seen

    results = run_parties({"owner": owner, **dict.fromkeys(matrices, holder)}, tamper=tamper, seed=seed)
    shares, seen = results["owner"]
    opened = [{name: share[name] + results[name][i] for name in matrices} for i, share in enumerate(shares)]
    return opened, {name: [share[name] for share in shares] for name in matrices}, seen


@pytest.mark.parametrize(
    ("module", "method"), [(lwe, "transfers"), (lwe, "rlwe"), (ideal_lwe, "transfers")], ids=lambda p: str(p)[-20:]
)
def test_sums_are_those_of_numpy(module: ModuleType, method: Method) -> None:
    """Two holders with one ciphertext; rows that are no whole blocks; a vector, then several."""
    n = 1300
    matrices = {"tax": binned(n, 5, 20, 1), "bureau": binned(n, 300, 2)}
    vectors = [words(n, w) for w in ((1, 10) if method == "transfers" else (2,))]
    opened, _, _ = run(matrices, vectors, module=module, method=method)
    for v, by_name in zip(vectors, opened, strict=True):
        for name, of in matrices.items():
            error = errors(by_name[name], of, v)
            assert (np.abs(error) <= 8 * np.sqrt(10.5 * rows_of(of))).all()
            assert error.any() == (module is lwe)


def test_errors_are_as_large_as_their_formula_says() -> None:
    """Of bins of very different sizes; and relative to the sums that a caller scales to, which fill 2^30."""
    n, w = 6000, 96
    codes = np.minimum(words(n, 1) >> 25, 7 + (words(n, 1) >> 31)).astype(np.uint8)  # bins of 1/128, and two large
    of = codes, (9,)
    v = np.zeros((n, w), dtype=np.uint32)
    (opened,), _, _ = run({"tax": of}, [v])
    error, rows = errors(opened["tax"], of, v), rows_of(of)[:, 0]
    assert rows.min() < 100 < 2000 < rows.max()
    for of_bin, count in zip(error, rows, strict=True):
        measured, expected = float(np.sqrt(np.mean(of_bin.astype(float) ** 2))), lwe.deviation(int(count))
        assert abs(measured / expected - 1) < 5 / np.sqrt(2 * w)
        assert abs(float(of_bin.mean())) < 5 * expected / np.sqrt(w)
    assert lwe.deviation(1_000_000) / 2**30 < 2**-18


def test_shares_are_uniform_whatever_the_sums() -> None:
    """Of zeros every bit of the owner's share is a coin, and with its seed the owner's share tells no bins."""
    n, w = 600, 40
    of = binned(n, 100)
    _, shares, _ = run({"tax": of}, [np.zeros((n, w), dtype=np.uint32)])
    bits = np.unpackbits(shares["tax"][0].view(np.uint8).reshape(-1, 4), axis=1).sum(axis=0, dtype=np.int64)
    assert (np.abs(bits - 2000) < 6 * np.sqrt(1000)).all()


def test_an_encryption_is_not_of_its_vector_alone() -> None:
    """Secrets and errors are fresh: the same vector gives other words each time, all bits of them coins."""
    seen: list[Words] = []

    def holder(session: Session) -> None:
        channel = session.channel("owner")
        codes, sizes = binned(512, 2)
        started = lwe.start_holder(channel, codes, sizes, suite=INTL, rng=session.rng)
        recv = channel.recv
        channel.recv = lambda *types, **options: keep(recv(*types, **options))  # type: ignore[method-assign]
        for _ in range(2):
            started.products(2)

    def keep(message: tuple[Any, ...]) -> tuple[Any, ...]:
        if isinstance(message[0], wire.LweRows):
            seen.append(message[1].copy())
        return message

    def owner(session: Session) -> None:
        started = lwe.start_owner({"tax": session.channel("tax")}, 512, suite=INTL, rng=session.rng)
        for _ in range(2):
            started.products(np.zeros((512, 2), dtype=np.uint32))

    run_parties({"owner": owner, "tax": holder})
    columns = np.concatenate(seen, axis=1).T
    assert len(columns) == 4
    assert len(np.unique(columns)) == columns.size
    bits = np.unpackbits(np.ascontiguousarray(columns).view(np.uint8)).sum(dtype=np.int64)
    assert abs(bits - 16 * columns.size) < 6 * np.sqrt(8 * columns.size)


@pytest.mark.parametrize(("n", "sizes", "w"), [(40_000, (20, 12), 16), (1000, (600,), 3), (700, (1,), 1)])
def test_cost(n: int, sizes: tuple[int, ...], w: int) -> None:
    """The bytes, messages and rounds that the docstring states."""
    of, m = binned(n, *sizes), sum(sizes)
    v = words(n, w)
    (opened,), _, (before, after) = run({"tax": of}, [v])
    assert (np.abs(errors(opened["tax"], of, v)) <= 8 * np.sqrt(10.5 * rows_of(of))).all()
    sent, received = lwe.messages(n, m, w)
    spent = {key: value - vars(before["tax"])[key] for key, value in vars(after["tax"]).items()}
    assert spent["messages_sent"] == sent
    assert spent["messages_received"] == received
    assert 4 * n * w + 4 * 1536 * w < spent["bytes_sent"] < 4 * n * w + 4 * 1536 * w + 110 * sent
    assert 4 * 1536 * m * w < spent["bytes_received"] < 4 * 1536 * m * w + 110 * received
    assert spent["rounds"] <= 1


def test_cost_of_ring_lwe() -> None:
    n, w = 600, 16
    of = binned(n, 20, 20, 160)
    v = words(n, w)
    _, _, (before, after) = run({"tax": of}, [v], method="rlwe")
    plan = rlwe.plan(200, 1536, w, bits=32)
    inner = plan.cost_bytes() + 3 * 65536
    told = after["tax"].bytes_sent + after["tax"].bytes_received - before["tax"].bytes_sent
    told -= before["tax"].bytes_received + 4 * n * w
    assert inner < told < inner + 40 * 120
    assert 2 * told < 4 * 1536 * 200 * w  # what it is for


def test_a_flipped_bit_of_the_rows_moves_the_sums_of_its_row() -> None:
    """Nothing says so to the holder: the model is semi-honest."""
    of = binned(513, 3, 4)
    v = words(513, 2)
    clean, flipped = (
        run({"tax": of}, [v], tamper=tamper, seed=b"same")[0][0]["tax"]
        for tamper in (None, {("owner", "tax"): Tamper(message=_ROWS, byte=-1, bit=7)})
    )
    moved = flipped - clean
    codes, _ = of
    assert {(int(i), int(j)) for i, j in np.argwhere(moved)} == {(codes[512, 0], 1), (3 + codes[512, 1], 1)}
    assert set(moved[moved != 0].tolist()) == {1 << 31}


# The owner's messages: its nonce, a base transfer's, the tree's, a query, corrections, rows.
_ROWS = 5


def test_a_flipped_bit_of_an_offer_is_there_or_not() -> None:
    """By the secret's bit, which is why what the sums are used for must not come back to the holder unmasked."""
    of, v = binned(513, 4), words(513, 1)
    clean, flipped = (
        run({"tax": of}, [v], tamper=tamper, seed=b"same")[0][0]["tax"]
        for tamper in (None, {("tax", "owner"): Tamper(message=_OFFERS, byte=-1, bit=7)})
    )
    moved = (flipped - clean)[:, 0]
    assert not moved[:3].any()
    assert moved[3] in (0, 1 << 31)


_OFFERS = 2


@pytest.mark.parametrize(
    ("sender", "message", "error"),
    [("tax", 0, PeerError), ("owner", 0, PeerError), ("owner", _ROWS, PeerError), ("tax", _OFFERS, PeerError)],
)
def test_a_flipped_bit_of_an_envelope_ends_it(sender: str, message: int, error: type[Exception]) -> None:
    receiver = "owner" if sender == "tax" else "tax"
    with pytest.raises(error):
        run({"tax": binned(100, 2)}, [words(100, 1)], tamper={(sender, receiver): Tamper(message=message, byte=8)})


def hostile_holder(*said: tuple[Any, ...], start: bool = False) -> Callable[[Session], None]:
    """A holder that says this, after an honest start or from the beginning."""

    def run_(session: Session) -> None:
        channel = session.channel("owner")
        if start:
            extension_ = _start(channel, session.rng)
            channel.recv(wire.LweQuery)
            extension.extend_send(channel, extension_, 1536, rng=session.rng)
        for message in said:
            channel.send(*message)
        while True:
            channel.recv(wire.LweOwner, wire.LweRows)

    return run_


def _start(channel: Channel, rng: Rng) -> extension.Sender:
    channel.send(wire.LweHolder(rows=600, bins=3, method="transfers"), bytes(16))
    channel.recv(wire.LweOwner)
    return extension.start_send(channel, suite=INTL, rng=rng, k=4)


def honest_owner(session: Session) -> None:
    channels = {peer: session.channel(peer) for peer in session.channels}
    lwe.start_owner(channels, 600, suite=INTL, rng=session.rng).products(words(600, 1))


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (wire.LweHolder(rows=601, bins=3, method="transfers"), "600 rows"),
        (wire.LweHolder(rows=600, bins=0, method="transfers"), "bins"),
        (wire.LweHolder(rows=600, bins=1 << 40, method="transfers"), "bins"),
        (wire.LweHolder(rows=600, bins=3, method="rlwe"), "transfers at both"),
    ],
)
def test_a_holder_about_something_else(header: wire.LweHolder, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        run_parties({"owner": honest_owner, "tax": hostile_holder((header, bytes(16)))})


@pytest.mark.parametrize("shape", [(1, 1536, 2), (2, 1536, 3), (0, 1536, 3)])
def test_a_holder_whose_offers_are_of_another_size(shape: tuple[int, int, int]) -> None:
    """The other holder's conversation ends with it."""
    ended: list[type[Exception]] = []

    def bystander(session: Session) -> None:
        codes, sizes = binned(600, 2)
        started = lwe.start_holder(session.channel("owner"), codes, sizes, suite=INTL, rng=session.rng)
        with contextlib.suppress(ChannelClosed):
            started.products(1)  # which may just have been in time
        with pytest.raises(ChannelClosed):
            started.products(1)
        ended.append(ChannelClosed)

    hostile = hostile_holder((wire.LweOffers(), np.zeros(shape, dtype=np.uint32)), start=True)
    with pytest.raises(PeerError, match="an offer for each"):
        run_parties({"owner": honest_owner, "tax": hostile, "bureau": bystander})
    assert ended


def honest_holder(session: Session) -> None:
    codes, sizes = binned(600, 2, 3)
    started = lwe.start_holder(session.channel("owner"), codes, sizes, suite=INTL, rng=session.rng)
    started.products(1)


def hostile_owner(
    *said: tuple[Any, ...], rows: int = 600, own: bool = True, start: bool = True, corrections: bool = True
) -> Callable[[Session], None]:
    """An owner that starts so, and then says this."""

    def run_(session: Session) -> None:
        channel = session.channel("tax")
        _, nonce = channel.recv(wire.LweHolder)
        channel.send(wire.LweOwner(rows=rows), bytes(16), nonce[None] if own else np.zeros((3, 16), dtype=np.uint8))
        if start:
            receiver = extension.start_receive(channel, suite=INTL, rng=session.rng, k=4)
            channel.send(*said[0])
            if corrections:
                extension.extend_receive(channel, receiver, np.zeros(1536, dtype=np.bool_), rng=session.rng)
            for message in said[1:]:
                channel.send(*message)
        while True:  # until the holder ends it; its offers may come before that
            channel.recv(wire.LweHolder, wire.LweOffers)

    return run_


def test_an_owner_about_something_else() -> None:
    for owner, match in (
        (hostile_owner(rows=601, start=False), "600 rows"),
        (hostile_owner(own=False, start=False), "nonce"),
        (hostile_owner((wire.LweQuery(vectors=2),), corrections=False), "1 vectors"),
        (
            hostile_owner(
                (wire.LweQuery(vectors=1),), (wire.LweRows(), np.zeros((600, 1), dtype=np.uint32)), corrections=False
            ),
            "got a 'unseen.matvec.v1.LweRows'",
        ),
        (
            hostile_owner((wire.LweQuery(vectors=1),), (wire.LweRows(), np.zeros((600, 2), dtype=np.uint32))),
            "the rows of the piece",
        ),
        (
            hostile_owner((wire.LweQuery(vectors=1),), (wire.LweRows(), np.zeros((512, 1), dtype=np.uint32))),
            "the rows of the piece",
        ),
    ):
        with pytest.raises(PeerError, match=match):
            run_parties({"tax": honest_holder, "owner": owner})


def test_misuse() -> None:
    channel: Any = None
    codes, sizes = binned(10, 3)
    bad: tuple[tuple[Any, tuple[int, ...], str], ...] = (
        (codes, (2,), "not below its column's"),
        (codes, (3, 3), "1 columns"),
        (codes, (), "columns"),
        (codes.astype(np.int64), sizes, "uint8 or uint16"),
        (codes[:0], sizes, "0 rows"),
        (codes, (1 << 20,), "bins"),
    )
    for bad_codes, bad_sizes, match in bad:
        with pytest.raises(UsageError, match=match):
            lwe.start_holder(channel, bad_codes, bad_sizes, suite=INTL, rng=RNG)
    with pytest.raises(UsageError, match="at least one holder"):
        lwe.start_owner({}, 10, suite=INTL, rng=RNG)
    with pytest.raises(UsageError, match="choose transfers or rlwe"):
        lwe.start_holder(channel, codes, sizes, method="ot", suite=INTL, rng=RNG)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="choose transfers or rlwe"):
        lwe.start_owner({"a": channel}, 10, method="ot", suite=INTL, rng=RNG)  # type: ignore[arg-type]
    owner = lwe.Owner({"tax": 3}, 10, {}, kernels.expand(RNG.uint8(16), 10), {}, None, RNG)
    for v in (words(9, 1), words(10), words(10, 1).view(np.int32), words(10, 0)):
        with pytest.raises(UsageError, match="side by side|0 vectors"):
            owner.products(v)  # type: ignore[arg-type]
    holder = lwe.Holder(3, 10, channel, codes, sizes, rlwe.prepare(np.zeros((3, 1536), np.int32), bits=32), RNG)
    for w in (0, 5000):
        with pytest.raises(UsageError, match="vectors"):
            holder.products(w)
