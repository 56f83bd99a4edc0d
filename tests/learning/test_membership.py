"""Sides of rows, told for a row's own node alone."""

from __future__ import annotations

import numpy as np
import pytest

from mpc import suite as suites
from mpc.channel import Traffic
from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.wire.learning.v1 import boosting_pb2 as wire
from protocols.learning import membership

SUITE = suites.get("intl")


def test_sides_of_own_nodes_come_out_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "BATCH", 256)
    rng = np.random.default_rng(5)
    cases = []
    for nodes in (0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 128):
        n = int(rng.integers(1, 700))
        cases.append((nodes, rng.random((nodes, n)) < 0.5, rng.integers(0, nodes + 1, n).astype(np.uint8)))

    def chooser(s: Session) -> list[tuple[np.ndarray, Traffic]]:
        channel = s.channel("teller")
        state, got = membership.start_chooser(channel, suite=SUITE, rng=s.rng), []
        for nodes, _, choices in cases:
            got.append((membership.choose(state, choices, nodes), channel.traffic))
        return got

    def teller(s: Session) -> None:
        state = membership.start_teller(s.channel("chooser"), suite=SUITE, rng=s.rng)
        for _, left, _ in cases:
            membership.tell(state, left)

    found = run_parties({"chooser": chooser, "teller": teller})["chooser"]
    before = None
    for (nodes, left, choices), (sides, traffic) in zip(cases, found, strict=True):
        rows = np.arange(len(choices))
        expected = np.where(choices > 0, left[choices.astype(int) - 1, rows] if nodes else False, False)
        np.testing.assert_array_equal(sides, expected)
        if before is not None:
            total = traffic.bytes_sent + traffic.bytes_received - before.bytes_sent - before.bytes_received
            envelopes = traffic.messages_sent + traffic.messages_received
            envelopes -= before.messages_sent + before.messages_received
            assert 0 <= total - membership.told_bytes(len(choices), nodes) <= 128 * envelopes
        before = traffic


def test_what_is_told_is_uniform_to_who_chose_another_node() -> None:
    """Masks of the nodes that a row is not in are half ones, whatever the sides are: here all are left."""
    n, nodes = 4096, 9
    seen: list[np.ndarray] = []

    def chooser(s: Session) -> None:
        channel = s.channel("teller")
        state = membership.start_chooser(channel, suite=SUITE, rng=s.rng)
        original = channel.recv

        def recv(*types: type, **more: int) -> tuple:
            got = original(*types, **more)
            if types == (wire.BoostingSides,):
                seen.append(got[1].copy())
            return got

        channel.recv = recv  # type: ignore[method-assign]
        assert membership.choose(state, np.full(n, 3, np.uint8), nodes).all()

    def teller(s: Session) -> None:
        state = membership.start_teller(s.channel("chooser"), suite=SUITE, rng=s.rng)
        membership.tell(state, np.ones((nodes, n), np.bool_))

    run_parties({"chooser": chooser, "teller": teller})
    bits = np.unpackbits(seen[0], axis=1, bitorder="little")[:, :nodes]
    assert (np.abs(bits.mean(axis=0) - 0.5) < 0.05).all()
    # No two nodes' masks cancel, in twos or in the fours that lie on a plane.
    words = [bits[:, j - 1].astype(int) for j in (4, 5, 6, 7)]
    assert abs((sum(words) % 2).mean() - 0.5) < 0.05


def test_sides_of_other_shapes_are_refused() -> None:
    def chooser(s: Session) -> None:
        state = membership.start_chooser(s.channel("teller"), suite=SUITE, rng=s.rng)
        membership.choose(state, np.ones(300, np.uint8), 3)

    for rows in (299, 301):

        def teller(s: Session, rows: int = rows) -> None:
            state = membership.start_teller(s.channel("chooser"), suite=SUITE, rng=s.rng)
            membership.extension.extend_send(state.channel, state.extension, 600, rng=s.rng)
            state.channel.send(wire.BoostingSides(), np.zeros((rows, 1), np.uint8))

        with pytest.raises(PeerError, match="sides of 300 rows at 3 nodes"):
            run_parties({"chooser": chooser, "teller": teller})
    with pytest.raises(UsageError, match="up to 128 nodes"):
        membership.tell(None, np.zeros((129, 1), np.bool_))  # type: ignore[arg-type]
