"""Conversations with several peers at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from mpc.channel import Channel
from mpc.errors import ChannelClosed, PeerError, UsageError
from mpc.rng import Rng
from mpc.session import Session, at_once
from mpc.testing import run_parties
from mpc.wire.job.v1.job_pb2 import Done

PEERS = ("ann", "bob", "cem")


def peer(session: Session) -> str:
    channel = session.channel("hub")
    channel.send(Done())
    channel.recv(Done)
    return session.me


def hub(talk: Callable[[Channel, Rng], object], most: int = 64) -> Callable[[Session], dict[str, object]]:
    return lambda session: dict(at_once(session, PEERS, talk, most=most))


def test_each_has_its_own_channel_and_randomness() -> None:
    def talk(channel: Channel, rng: Rng) -> tuple[str, bytes]:
        channel.exchange(Done())
        return channel.peer, rng.bytes(16)

    found = run_parties({"hub": hub(talk), **dict.fromkeys(PEERS, peer)})["hub"]
    assert {name: who for name, (who, _) in found.items()} == {name: name for name in PEERS}
    assert len({drawn for _, drawn in found.values()}) == len(PEERS)
    assert run_parties({"hub": lambda s: list(at_once(s, (), talk))})["hub"] == []


def test_no_more_than_are_wanted_run_together() -> None:
    running: list[int] = []
    now, lock = 0, threading.Lock()

    def talk(channel: Channel, _: Rng) -> None:
        nonlocal now
        with lock:
            now += 1
            running.append(now)
        time.sleep(0.02)
        channel.exchange(Done())
        with lock:
            now -= 1

    run_parties({"hub": hub(talk, most=2), **dict.fromkeys(PEERS, peer)})
    assert max(running) == 2


def test_the_cause_is_raised_and_all_conversations_end() -> None:
    """The others fail because of it, and sooner or later; what is raised is why."""

    def talk(channel: Channel, _: Rng) -> None:
        if channel.peer == "bob":
            time.sleep(0.05)
            channel.require(False, "that bob were somebody else")
        channel.recv(Done)
        channel.recv(Done)  # which never comes

    def told(session: Session) -> str:
        try:
            peer(session)
        except ChannelClosed:
            return "closed"
        return "never told"

    with pytest.raises(PeerError, match="that bob were somebody else"):
        run_parties({"hub": hub(talk), **dict.fromkeys(PEERS, told)}, timeout_s=10)


def test_a_stranger_is_named() -> None:
    with pytest.raises(UsageError, match="no channel to 'ann'"):
        run_parties({"hub": hub(lambda channel, _: channel.send(Done()))})
