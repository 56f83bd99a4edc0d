"""The simulated network: seconds, rounds and bytes that can be reckoned by hand."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mpc.errors import UsageError
from mpc.session import Session
from mpc.testing import run_parties
from mpc.transport.wan import Line, Network, Report, Sent
from tests.messages import Block, Word


def run(network: Network, rounds: int, rows: int) -> Report:
    """`rounds` questions and answers, then an exchange of `rows` rows of 16 bytes."""
    rows_16 = np.zeros((rows, 16), dtype=np.uint8)

    def asks(session: Session) -> None:
        channel = session.channel("tax")
        for i in range(rounds):
            channel.send(Word(number=i))
            channel.recv(Word)
        channel.exchange(Block(), rows_16)

    def answers(session: Session) -> None:
        channel = session.channel("bank")
        for _ in range(rounds):
            channel.send(channel.recv(Word)[0])
        channel.exchange(Block(), rows_16)

    run_parties({"bank": asks, "tax": answers}, connect=network.mesh)
    return network.report()


def test_a_round_costs_its_latency() -> None:
    report = run(Network(Line(latency_s=0.05)), rounds=10, rows=0)
    assert report.seconds == pytest.approx(20 * 0.05 + 0.05)
    assert report.rounds == 21
    assert report.sent["bank", "tax"].messages == report.sent["tax", "bank"].messages == 11


def test_bytes_cost_bandwidth_in_both_directions_at_once() -> None:
    report = run(Network(Line(latency_s=0.0, bytes_per_s=1e6)), rounds=0, rows=625_000)
    assert report.sent["bank", "tax"] == report.sent["tax", "bank"]
    assert report.bytes == 2 * report.sent["bank", "tax"].bytes
    assert report.seconds == pytest.approx(report.sent["bank", "tax"].bytes / 1e6)
    assert report.seconds == pytest.approx(10.0, rel=1e-4)


def test_each_direction_may_have_its_own_line() -> None:
    lines = {("tax", "bank"): Line(latency_s=0.2)}
    report = run(Network(Line(latency_s=0.1), lines=lines), rounds=5, rows=0)
    assert report.seconds == pytest.approx(5 * 0.3 + 0.1)  # the last to arrive is the bank's half of the exchange


def test_equal_runs_report_equal_times_and_take_none() -> None:
    started = time.monotonic()
    reports = [run(Network(Line(latency_s=1.0, bytes_per_s=1e6)), rounds=20, rows=200_000) for _ in range(5)]
    assert all(report == reports[0] for report in reports)
    assert reports[0].seconds > 40
    assert time.monotonic() - started < 10


def test_three_parties_wait_for_each_other() -> None:
    network = Network(Line(latency_s=0.1))

    def first(session: Session) -> None:
        session.channel("b").send(Word())
        session.channel("c").recv(Word)

    def second(session: Session) -> None:
        session.channel("a").recv(Word)
        session.channel("c").send(Word())

    def third(session: Session) -> None:
        session.channel("b").recv(Word)
        session.channel("a").send(Word())

    run_parties({"a": first, "b": second, "c": third}, connect=network.mesh)
    assert network.report().seconds == pytest.approx(0.3)
    assert network.report().rounds == 3


def test_forks_in_parallel_cost_the_time_of_the_longest() -> None:
    def once() -> Report:
        network = Network(Line(latency_s=0.1))

        def side(session: Session, *, first: bool) -> None:
            (channel,) = session.channels.values()

            def talk(label: str, rounds: int) -> None:
                fork = channel.fork(label)
                for _ in range(rounds):
                    if first:
                        fork.send(Word())
                    fork.recv(Word)
                    if not first:
                        fork.send(Word())

            threads = [threading.Thread(target=talk, args=item) for item in (("x", 3), ("y", 5))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if first:
                channel.send(Word())  # after the forks, so later than both
            else:
                channel.recv(Word)

        run_parties({"a": lambda s: side(s, first=True), "b": lambda s: side(s, first=False)}, connect=network.mesh)
        return network.report()

    reports = [once() for _ in range(5)]
    assert reports[0].seconds == pytest.approx(5 * 0.2 + 0.1)
    assert reports[0].rounds == 11
    assert all(report == reports[0] for report in reports)


def test_forks_together_cannot_beat_the_line() -> None:
    network = Network(Line(latency_s=0.0, bytes_per_s=1e6))
    lanes = network.mesh(["a", "b"])
    for label in "xyz":
        lanes["a", "b"].fork(label).write([bytes(500_000)], last=True, timeout_s=10)
        lanes["b", "a"].fork(label).read(timeout_s=1)
    assert network.report().sent == {("a", "b"): Sent(bytes=1_500_000, messages=3)}
    assert network.report().seconds == pytest.approx(1.5)


def test_own_work_counts_where_it_is_wanted() -> None:
    def works(session: Session) -> None:
        started = time.thread_time()
        while time.thread_time() - started < 0.2:
            pass
        session.channel("b").send(Word())

    for compute, least, most in ((True, 0.2, 2.0), (False, 0.0, 0.0)):
        network = Network(Line(latency_s=0.0), compute=compute)
        run_parties({"a": works, "b": lambda s: s.channel("a").recv(Word) and None}, connect=network.mesh)
        assert least <= network.report().seconds <= most


@pytest.mark.parametrize("line", [(-1.0, 1.0), (float("inf"), 1.0), (float("nan"), 1.0), (0.1, 0.0)])
def test_a_line_that_cannot_be_is_misuse(line: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="A line has a latency of at least 0 s"):
        Line(*line)
