"""The coordinator's board: how the parties' states make the job's, whatever is lost or repeated on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mpc.errors import PolicyError
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from unseen.coordinator.jobs import Board
from unseen.jobs.papers import PapersText

JOB = "00112233aabbccdd"
PAPERS = PapersText(job='{"operator":"psi"}', grant="a grant", request="a request")
A, B, ASKER = "bank", "insurer", "broker"


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


class Table:
    """A board, and nodes that talk to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.open()
        self.board.submit(JOB, PAPERS, requester=ASKER, parties=(A, B))

    def open(self) -> None:
        self.board = Board(self.path, lost_after_ms=6000, clock=self.clock)

    def says(self, party: str, state: str = "", code: str = "", reason: str = "") -> tuple[str, ...]:
        """Has a node say how its part is; returns what is wanted of it."""
        news = [wire.JobNews.One(id=JOB, state=state, code=code, reason=reason)] if state else []
        return tuple(order.wanted for order in self.orders(party, news))

    def orders(self, party: str, news: list[wire.JobNews.One]) -> list[wire.JobOrders.One]:
        return list(self.board.sync(news, party=party, address=lambda name: f"{name}:7700").jobs)

    def state(self) -> tuple[str, str, str]:
        found = self.board.get(JOB, who=A)
        return found.state, found.code, found.reason

    def parts(self) -> dict[str, str]:
        return {part.party: part.state for part in self.board.get(JOB, who=A).parties}


@pytest.fixture(name="table")
def _table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path / "jobs.db")
    yield made
    made.board.close()


def test_a_job_runs_once_all_have_accepted_and_finishes_once_all_have(table: Table) -> None:
    (order,) = table.orders(A, [])
    assert (order.wanted, order.papers.grant, order.papers.request) == ("consider", "a grant", "a request")
    assert table.says(A, "accepted") == ("consider",)
    assert table.state()[0] == "submitted"
    assert table.says(B, "accepted") == ("run",)
    (order,) = table.orders(A, [wire.JobNews.One(id=JOB, state="accepted")])
    assert (order.wanted, [(p.party, p.address) for p in order.peers]) == ("run", [(B, "insurer:7700")])
    assert not order.HasField("papers")  # it has shown that it knows them
    table.says(A, "running")
    assert table.says(A, "finished") == ("wait",)
    assert table.state()[0] == "running"
    assert table.says(B, "finished") == ("settled",)
    assert table.state() == ("finished", "", "")
    assert table.says(A, "finished") == ("settled",)
    assert table.says(A) == ()


def test_a_refusal_fails_the_job_and_stops_the_others(table: Table) -> None:
    table.says(A, "accepted")
    table.says(B, "refused", "policy-denied", "its policy does not allow this")
    assert table.state() == ("failed", "policy-denied", "insurer: its policy does not allow this")
    (order,) = table.orders(A, [wire.JobNews.One(id=JOB, state="accepted")])
    assert (order.wanted, order.code, order.reason) == ("stop", "policy-denied", table.state()[2])
    assert table.says(A, "cancelled") == ("settled",)


def test_the_cause_is_named_and_not_its_consequence(table: Table) -> None:
    for party in (A, B):
        table.says(party, "running")
    table.says(A, "failed", "channel", "the connection to insurer was lost")
    assert table.state()[1] == "channel"
    table.says(B, "failed", "worker-died", "its worker process ended (signal 9)")
    assert table.state() == ("failed", "worker-died", "insurer: its worker process ended (signal 9)")
    table.says(A, "failed", "usage", "later words about an end change nothing")
    assert table.state()[1] == "worker-died"


def test_states_never_go_back(table: Table) -> None:
    table.says(A, "running")
    table.says(A, "accepted")
    assert table.parts()[A] == "running"
    table.says(A, "finished")
    table.says(A, "running")
    table.says(A, "failed", "x", "y")
    assert table.parts()[A] == "finished"
    assert table.says(A, "no such state") == ("wait",)


def test_cancelling(table: Table) -> None:
    table.says(A, "running")
    assert table.board.cancel(JOB, who=ASKER).state == "cancelled"
    assert table.state()[2] == f"cancelled by {ASKER}"
    assert table.says(A, "running") == ("stop",)
    assert table.says(B) == ("stop",)  # it had not even heard of it
    table.board.cancel(JOB, who=A)
    assert table.state()[2] == f"cancelled by {ASKER}"


def test_a_silent_node_fails_the_job_and_may_come_back(table: Table) -> None:
    for party in (A, B):
        table.says(party, "running")
    table.clock.now_ms += 5000
    assert table.says(A, "running") == ("run",)
    table.clock.now_ms += 2000
    assert table.says(A, "running") == ("stop",)
    assert table.state() == ("failed", "node-lost", "insurer: its node has not been heard of for 7 s")
    table.says(B, "finished")
    assert table.parts()[B] == "finished"  # what it has, it has
    assert table.state()[1] == "node-lost"


def test_a_restart_forgets_nothing(table: Table) -> None:
    table.says(A, "running")
    table.says(B, "running")
    table.board.close()
    table.clock.now_ms += 3_600_000  # it was down for an hour: the nodes are not to blame
    table.open()
    assert table.says(A, "running") == ("run",)
    (order,) = table.orders(B, [])
    assert (order.wanted, order.papers.job) == ("run", PAPERS.job)
    table.says(A, "finished")
    table.says(B, "finished")
    assert table.state()[0] == "finished"


def test_nodes_do_not_wait_for_good_for_one_that_is_gone(table: Table) -> None:
    table.says(A, "accepted")
    table.board.cancel(JOB, who=A)
    assert table.says(A, "cancelled") == ("wait",)
    table.clock.now_ms += 61_000
    assert table.says(A, "cancelled") == ("settled",)
    assert table.says(A) == ()


def test_strangers_see_nothing(table: Table) -> None:
    for method in (table.board.get, table.board.cancel):
        with pytest.raises(PolicyError) as caught:
            method(JOB, who="tax")
        assert caught.value.code == "job-unknown"
    assert table.board.list(who="tax", limit=0) == []
    assert [job.id for job in table.board.list(who=ASKER, limit=0)] == [JOB]
    assert table.says("tax", "running") == ("settled",)  # as if there were no such job
    assert table.parts() == {A: "invited", B: "invited"}


def test_submitting_twice_is_submitting_once(table: Table) -> None:
    table.says(A, "running")
    assert table.board.submit(JOB, PAPERS, requester=ASKER, parties=(A, B)).id == JOB
    assert table.parts()[A] == "running"


def test_a_party_cannot_command_a_terminal(table: Table) -> None:
    progress = wire.JobProgress(stage="\x1b[2Jmixing", done=3, total=7)
    table.orders(A, [wire.JobNews.One(id=JOB, state="running", progress=progress)])
    assert table.board.get(JOB, who=A).parties[0].progress == wire.JobProgress(stage=" [2Jmixing", done=3, total=7)
    said = wire.PartyReport(learned=["all\x1b[31m"] * 1000, sizes=[wire.JobSize(name="a\rb", value=3)], protocol="p\n")
    table.orders(A, [wire.JobNews.One(id=JOB, state="finished", report=said)])
    report = table.board.get(JOB, who=A).parties[0].report
    assert (set(report.learned), len(report.learned), report.protocol) == ({"all [31m"}, 100, "p ")
    assert [(size.name, size.value) for size in report.sizes] == [("a b", 3)]
    table.says(B, "failed", "x\x1b[31m", "line\nand \x1b]0;title")
    assert table.state() == ("failed", "x [31m", "insurer: line and  ]0;title")


def test_how_anothers_job_is_is_not_for_everybody(table: Table) -> None:
    table.says(A, "refused", "policy-denied", "its own reasons")
    (order,) = table.orders("stranger", [wire.JobNews.One(id=JOB, state="accepted")])
    assert (order.wanted, order.state, order.code) == ("settled", "", "")
    assert order.reason == "the coordinator does not know this job"
