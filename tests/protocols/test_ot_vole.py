"""Silent VOLE: its relation, what it costs, and that whoever deviates from the malicious variant is caught."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc import suite as suites
from mpc.errors import CheatingDetected, PeerError, UsageError
from mpc.kernels import blocks, gf128, pprf
from mpc.rng import Rng
from mpc.session import Session
from mpc.testing import Tamper, run_parties
from mpc.wire.ot.v1 import vole_pb2 as wire
from protocols.ot import CotSender, VoleReceiver, VoleSender, noise, vole
from protocols.ot.ideal import cot as ideal_cot
from protocols.ot.method import Security

Bytes = NDArray[np.uint8]
SUITE = suites.get("intl")
SILENT = vole.DIRECT + 1


@pytest.fixture
def ideal_transfers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transfers from a trusted dealer, who is fast."""
    monkeypatch.setattr(vole, "cot", ideal_cot)


def run(
    m: int,
    *,
    security: Security = "semi-honest",
    suite: str = "intl",
    tamper: dict[tuple[str, str], Tamper] | None = None,
) -> dict[str, Any]:
    options = {"suite": suites.get(suite), "security": security}
    return run_parties(
        {
            "sender": lambda s: (vole.send(s.channel("receiver"), m, rng=s.rng, **options), s),
            "receiver": lambda s: (vole.receive(s.channel("sender"), m, rng=s.rng, **options), s),
        },
        tamper=tamper,
    )


def check(sent: VoleSender, got: VoleReceiver, m: int) -> None:
    assert sent.b.shape == got.a.shape == got.c.shape == (m, 16)
    assert np.array_equal(got.c, gf128.scale_add(sent.delta, got.a, sent.b))


@pytest.mark.parametrize("suite", ["intl", "gm"])
@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
@pytest.mark.parametrize("m", [0, 3, SILENT])
def test_the_relation_holds(m: int, security: Security, suite: str) -> None:
    results = run(m, security=security, suite=suite)
    check(results["sender"][0], results["receiver"][0], m)


@pytest.mark.usefixtures("ideal_transfers")
@settings(max_examples=15, deadline=None)
@given(m=st.integers(0, 3000) | st.integers(50_000, 60_000), security=st.sampled_from(["semi-honest", "malicious"]))
def test_for_any_number(m: int, security: Security) -> None:
    results = run(m, security=security)
    check(results["sender"][0], results["receiver"][0], m)


@pytest.mark.usefixtures("ideal_transfers")
def test_what_comes_out_looks_random() -> None:
    m = 60_000
    results = run(m)
    sent, got = results["sender"][0], results["receiver"][0]
    for array in (sent.b, got.a, got.c):
        assert len(np.unique(array, axis=0)) == m
        ones = np.unpackbits(array, axis=1).sum(axis=0)  # of 128 bit positions
        assert np.all(np.abs(ones - m / 2) < 6 * np.sqrt(m / 4))
        counts = np.bincount(array.reshape(-1), minlength=256)
        assert np.sum((counts - 16 * m / 256) ** 2) / (16 * m / 256) < 255 + 8 * np.sqrt(2 * 255)


@pytest.mark.usefixtures("ideal_transfers")
def test_the_offset_can_be_given() -> None:
    delta = Rng.from_seed(b"delta").uint8(16)
    results = run_parties(
        {
            "sender": lambda s: vole.send(s.channel("receiver"), SILENT, suite=SUITE, rng=s.rng, delta=delta),
            "receiver": lambda s: vole.receive(s.channel("sender"), SILENT, suite=SUITE, rng=s.rng),
        }
    )
    assert np.array_equal(results["sender"].delta, delta)
    check(results["sender"], results["receiver"], SILENT)


@pytest.mark.usefixtures("ideal_transfers")
def test_the_parts_can_be_run_apart_and_once() -> None:
    def halves(setup: Callable[..., vole.SenderSetup | vole.ReceiverSetup], peer: str) -> Callable[[Session], object]:
        def party(session: Session) -> object:
            ready = setup(session.channel(peer), SILENT, suite=SUITE, rng=session.rng)
            sent = session.channel(peer).traffic.messages_sent
            result = ready.expand()
            assert session.channel(peer).traffic.messages_sent == sent
            with pytest.raises(UsageError, match="run the set-up again"):
                ready.expand()
            return result

        return party

    results = run_parties(
        {"sender": halves(vole.send_setup, "receiver"), "receiver": halves(vole.receive_setup, "sender")}
    )
    check(results["sender"], results["receiver"], SILENT)


@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
@pytest.mark.parametrize("m", [1, 400, 401, 51_200, 51_201, 100_000, 1_420_000, 6_000_000, noise.MAX_OUTPUTS])
def test_shapes_have_room_and_points_enough(m: int, security: Security) -> None:
    shape = noise.shape_for(m, security)
    size = shape.trees * shape.leaves
    assert noise.TREES <= shape.trees <= noise.TREES * (5 if security == "semi-honest" else 8) // 4 + 1
    assert size >= 2 * m
    assert size % 64 == 0
    assert size <= max(2 * m + shape.leaves, noise.TREES * noise.MIN_LEAVES)
    assert shape.leaves <= pprf.MAX_LEAVES


def test_points_are_uniform_and_choices_lead_past_them() -> None:
    shape = noise.Shape(trees=20_000, leaves=448)
    points, choices = noise.draw_points(shape, Rng.from_seed(b"points"))
    counts = np.bincount(points, minlength=448)
    assert len(counts) == 448
    assert np.sum((counts - 20_000 / 448) ** 2) / (20_000 / 448) < 447 + 6 * np.sqrt(2 * 447)
    weights = 1 << np.arange(shape.levels)[::-1]
    assert np.array_equal((~choices).reshape(-1, shape.levels) @ weights, points)


@pytest.mark.parametrize("m", [-1, noise.MAX_OUTPUTS + 1])
def test_numbers_that_cannot_be_are_refused(m: int) -> None:
    with pytest.raises(UsageError, match="several runs"):
        run(m)


@pytest.mark.parametrize(
    ("theirs", "what"),
    [({"m": SILENT + 1}, "402"), ({"security": "malicious"}, "semi-honest")],
    ids=["number", "security"],
)
@pytest.mark.usefixtures("ideal_transfers")
def test_parties_that_want_different_things_do_not_begin(theirs: dict[str, Any], what: str) -> None:
    ours: dict[str, Any] = {"m": SILENT, "security": "semi-honest"}
    sender = ours | ({} if "security" in theirs else theirs)
    receiver = ours | (theirs if "security" in theirs else {})
    with pytest.raises(PeerError, match=what) as raised:
        run_parties(
            {
                "sender": lambda s: vole.send(s.channel("receiver"), suite=SUITE, rng=s.rng, **sender),
                "receiver": lambda s: vole.receive(s.channel("sender"), suite=SUITE, rng=s.rng, **receiver),
            }
        )
    assert raised.value.step == "SilentRequest"


@pytest.mark.usefixtures("ideal_transfers")
@pytest.mark.parametrize("receiver", [1, 2], ids=["in one", "in halves"])
def test_the_page_runs_as_it_stands_there(receiver: int) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "protocols" / "vole.md"
    texts = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(texts) == 3

    def party(text: str, peer: str) -> Callable[[Session], dict[str, Any]]:
        def run(s: Session) -> dict[str, Any]:
            found = {"channel": s.channel(peer), "m": SILENT, "suite": SUITE, "rng": s.rng}
            exec(text, found)
            return found

        return run

    results = run_parties({"sender": party(texts[0], "receiver"), "receiver": party(texts[receiver], "sender")})
    check(results["sender"]["sent"], results["receiver"]["got"], SILENT)


# Cost -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ideal_transfers")
@pytest.mark.parametrize(("security", "rounds"), [("semi-honest", 1), ("malicious", 2)])
def test_the_docstring_knows_the_cost(security: Security, rounds: int) -> None:
    shape = noise.shape_for(SILENT, security)
    results = run(SILENT, security=security)
    traffic = results["sender"][1].channel("receiver").traffic
    assert 0 <= traffic.bytes_sent - shape.trees * (32 * shape.levels + 16) <= 128 * (rounds + 1)
    # The dealer's message is the only one of its transfers.
    assert traffic.messages_sent == 1 + rounds
    assert traffic.messages_received == rounds
    assert results["receiver"][1].channel("sender").traffic.rounds == rounds


@pytest.mark.parametrize("m", [100, 1 << 20])
def test_the_number_of_transfers(m: int) -> None:
    for security, more in (("semi-honest", 0), ("malicious", 128)):
        shape = None if m <= vole.DIRECT else noise.shape_for(m, security)
        expected = 128 * m if shape is None else shape.trees * (shape.levels + 128) + more
        assert vole._transfers(shape, m, security) == expected


# Deviations -----------------------------------------------------------------------------------------------------------


def flip(array: np.ndarray, row: int) -> None:
    array[row, row % 16] ^= 1 << row % 8


@pytest.mark.parametrize("security", ["semi-honest", "malicious"])
def test_a_path_past_the_last_leaf_gives_the_offset_away_where_there_is_one(security: Security) -> None:
    """Choices that take the right side on every level: in a tree with empty places they lead to none of its leaves."""
    shape, salt, rng = noise.shape_for(77_000, security), bytes(16), Rng.from_seed(b"past the last leaf")
    delta, k = rng.uint8(16), rng.uint8(shape.transfers, 16)
    shares = rng.uint8(shape.trees, 16)  # a receiver knows this, or it plus the offset times its value

    def sends(s: Session) -> None:
        noise.send_trees(s.channel("receiver"), shape, CotSender(delta, k), shares, salt=salt, rng=s.rng)

    def receives(s: Session) -> Bytes:
        _, sums, finals = s.channel("sender").recv(wire.SilentTrees)
        left = sums[0, :, 0] ^ blocks.hash(k, tweak=0)[: shape.levels]  # a transfer of choice 0 gives k
        children, _ = pprf.expand(left[:1], leaves=2, salt=salt)
        half = 1 << shape.levels - 1
        first, _ = pprf.expand(left[:1], leaves=half, salt=salt)
        rest, _ = pprf.expand(left[1:2] ^ children[:1], leaves=shape.leaves - half, salt=salt)
        return finals[0] ^ np.bitwise_xor.reduce(np.concatenate([first, rest]), axis=0)

    found = run_parties({"sender": sends, "receiver": receives})["receiver"]
    assert np.array_equal(found, shares[0]) == (security == "semi-honest")


@pytest.mark.usefixtures("ideal_transfers")
@pytest.mark.parametrize("row", [0, 1, 255, 256, 70_000, 102_399])
def test_a_changed_leaf_is_caught(monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    expand = pprf.expand

    def wrong(seeds: Bytes, *, leaves: int, salt: bytes) -> tuple[Bytes, Bytes]:
        nodes, sums = expand(seeds, leaves=leaves, salt=salt)
        flip(nodes, row)
        return nodes, sums

    monkeypatch.setattr(pprf, "expand", wrong)
    with pytest.raises(CheatingDetected, match="SilentAnswer"):
        run(SILENT, security="malicious")


@pytest.mark.usefixtures("ideal_transfers")
@pytest.mark.parametrize("level", [0, 3, 7])
def test_sums_that_are_wrong_on_both_sides_are_caught(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    expand = pprf.expand

    def wrong(seeds: Bytes, *, leaves: int, salt: bytes) -> tuple[Bytes, Bytes]:
        nodes, sums = expand(seeds, leaves=leaves, salt=salt)
        sums[5, level] ^= 1
        return nodes, sums

    monkeypatch.setattr(pprf, "expand", wrong)
    with pytest.raises(CheatingDetected, match="SilentAnswer"):
        run(SILENT, security="malicious")


@pytest.mark.usefixtures("ideal_transfers")
def test_another_offset_in_the_trees_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    combine = noise.combine

    def wrong(transfers: Bytes) -> Bytes:
        shares = combine(transfers)
        if threading.current_thread().name == "sender":
            flip(shares, 7)  # what stands at point 7 is no multiple of the offset any more
        return shares

    monkeypatch.setattr(noise, "combine", wrong)
    with pytest.raises(CheatingDetected, match="SilentAnswer"):
        run(SILENT, security="malicious")


@pytest.mark.usefixtures("ideal_transfers")
def test_another_offset_in_the_proof_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    prove = noise.prove
    monkeypatch.setattr(noise, "prove", lambda c, delta, v, b: prove(c, delta ^ 1, v, b))
    with pytest.raises(CheatingDetected, match="SilentAnswer"):
        run(SILENT, security="malicious")


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (("receiver", "sender"), 1),  # the challenge
        (("sender", "receiver"), 1),  # the trees: the last of their finals
        (("sender", "receiver"), 2),  # the answer
    ],
    ids=["challenge", "trees", "answer"],
)
@pytest.mark.usefixtures("ideal_transfers")
def test_a_flipped_bit_is_caught(way: tuple[str, str], message: int) -> None:
    with pytest.raises(CheatingDetected, match="SilentAnswer"):
        run(SILENT, security="malicious", tamper={way: Tamper(message)})


@pytest.mark.parametrize(
    ("way", "message"),
    [(("sender", "receiver"), i) for i in range(4)] + [(("receiver", "sender"), i) for i in range(7)],
    ids=lambda value: value if isinstance(value, int) else value[0],
)
def test_a_flipped_bit_in_any_message_is_an_error_or_changes_nothing(way: tuple[str, str], message: int) -> None:
    try:
        results = run(SILENT, security="malicious", tamper={way: Tamper(message, byte=-3)})
    except PeerError:
        return
    check(results["sender"][0], results["receiver"][0], SILENT)
