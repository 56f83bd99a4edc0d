"""A node's side of jobs without its processes: what it makes of a coordinator's orders, good and bad."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from mpc.errors import PolicyError
from mpc.transport.grpc import Caller, Hello, Words
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from tests.governance.world import World, make_world
from unseen.governance import documents, files, grant, request
from unseen.governance import ledger as ledgers
from unseen.governance.documents import utc_now
from unseen.governance.grant import Access
from unseen.governance.ledger import Ledger
from unseen.home import Home, prepare
from unseen.jobs import operators, papers
from unseen.jobs.papers import Papers
from unseen.node import jobs as node_jobs
from unseen.node import worker
from unseen.node.gate import Gate
from unseen.node.jobs import Jobs
from unseen.node.pipes import Ended
from unseen.node.settings import JobData, NodeSettings

ME, PEER, BUREAU = "insurer", "bank", "data-bureau"
RULE = """
[[allow_job]]
scenario = "joint"
requester = "bank"
operator = "psi"
data_set = "holders"
columns = ["id"]
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2099-01-01T00:00:00Z
"""


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), ME, PEER, BUREAU)


@dataclass
class Node:
    """A node's jobs, that talk to nobody."""

    jobs: Jobs
    home: Home
    ledger: Ledger
    gone: list[str]

    def obey(
        self, job: str, wanted: str, given: Papers | None = None, *, code: str = "why", reason: str = "bank: it says so"
    ) -> None:
        order = wire.JobOrders.One(id=job, wanted=wanted, reason=reason, state="failed", code=code)
        if given is not None:
            order.papers.CopyFrom(papers.to_wire(given))
        self.jobs._obey(order)

    def news(self) -> dict[str, tuple[str, str]]:
        return {job: (one.state, one.code) for job, one in self.jobs._ended.items()}

    def open(self) -> dict[str, str]:
        return {one.id: one.state for one in self.jobs.status()}


def start(world: World, home: Home, ledger: Ledger, *, max_jobs: int = 4) -> Node:
    identity = world.identity(ME)
    gone: list[str] = []
    settings = NodeSettings(
        listen="127.0.0.1:0",
        coordinator="coordinator@127.0.0.1:1",
        data_set=(JobData(name="holders", source="holders.csv", columns=("id", "number")),),
        warm_workers=0,
        max_jobs=max_jobs,
    )
    jobs = Jobs(
        home,
        settings,
        identity=lambda: identity,
        trust=identity.trust(),
        gate=Gate(home),
        ledger=ledger,
        coordinator="coordinator@127.0.0.1:1",
        gone=gone.append,
    )
    for directory in (home.state / "jobs", home.results):
        files.private_directory(directory)
    jobs._clear_up()
    return Node(jobs, home, ledger, gone)


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    prepare(home)
    home.policy_toml.write_text(RULE)
    return home


@pytest.fixture(name="ledger")
def _ledger(home: Home) -> Iterator[Ledger]:
    with ledgers.open_ledger(home.ledger, node=ME) as opened:
        yield opened


@pytest.fixture(name="node")
def _node(world: World, home: Home, ledger: Ledger) -> Node:
    return start(world, home, ledger)


def job_of(
    world: World,
    *,
    asker: str = PEER,
    column: str = "id",
    scenario: str = "joint",
    reveal_to: str = PEER,
    age: timedelta = timedelta(),
) -> Papers:
    """A job with its papers, asked for by `asker` so long ago."""
    raw = {
        "operator": "psi",
        "operator_version": operators.version_of("psi"),
        "scenario": scenario,
        "suite": "intl",
        "output": "csv",
        "party": [
            {"name": PEER, "data_set": "customers", "keys": ["id"], "form": "text", "columns": []},
            {"name": ME, "data_set": "holders", "keys": [column], "form": "text", "columns": []},
        ],
        "parameters": {
            "reveal_to": [reveal_to],
            "protocol": "auto",
            "security": "semi-honest",
            "duplicates": "error",
            "bucket_rows": None,
        },
    }
    job = operators.parse(documents.canonical(raw))
    signed = grant.issue(
        world.identity(BUREAU).signer,
        scenario=scenario,
        purpose="a test",
        requester=PEER,
        operator="psi",
        operator_version=operators.version_of("psi"),
        access=[
            Access(party=PEER, data_set="customers", columns=["id"]),
            Access(party=ME, data_set="holders", columns=[column]),
        ],
        recipients=[PEER],
        uses=1,
        not_before=utc_now() - timedelta(hours=1),
        not_after=utc_now() + timedelta(hours=1),
        minimum_result=0,
        report_sizes=False,
    )
    asked = request.ask(world.identity(asker).signer, job=job.digest, grant=grant.digest(signed), now=utc_now() - age)
    return Papers(job, signed, asked)


def test_a_job_that_everything_names_is_accepted(world: World, node: Node) -> None:
    given = job_of(world)
    node.obey(given.id, "consider", given)
    assert node.open() == {given.id: "accepted"}
    node.obey(given.id, "consider", None)  # it has shown that it knows it
    assert node.open() == {given.id: "accepted"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"asker": BUREAU}, "grant-wrong-requester"),
        ({"column": "number"}, "policy-denied"),
        ({"column": "secret"}, "column-unknown"),
        ({"scenario": "other"}, "policy-denied"),
        ({"reveal_to": ME}, "grant-wrong-recipients"),
    ],
)
def test_what_anything_does_not_name_is_refused(world: World, node: Node, changes: dict[str, str], code: str) -> None:
    given = job_of(world, **changes)
    node.obey(given.id, "run", given)  # whatever the coordinator says of the others
    assert node.open() == {}
    assert node.news() == {given.id: ("refused", code)}
    assert [e["result"] for e in ledgers.entries(node.home.ledger) if e["kind"] == "refusal"] == [code]


def test_a_coordinator_cannot_invent_a_job(world: World, node: Node) -> None:
    given, other = job_of(world), job_of(world)
    node.obey(other.id, "consider", given)  # under another job's name
    swapped = Papers(given.job, other.grant, given.request)  # under another grant
    node.obey(swapped.id, "consider", swapped)
    assert node.open() == {}
    assert node.news() == {other.id: ("refused", "request-mismatch"), given.id: ("refused", "request-mismatch")}


def test_a_job_that_ended_is_not_run_again(world: World, node: Node) -> None:
    given = job_of(world)
    node.obey(given.id, "consider", given)
    node.obey(given.id, "stop")
    assert node.news() == {given.id: ("cancelled", "why")}
    node.obey(given.id, "settled")
    assert node.news() == {}
    report = json.loads((node.home.result(given.id) / "report.json").read_text())
    assert report["job"] == {"state": "failed", "code": "why", "reason": "bank: it says so"}
    node.obey(given.id, "run", given)
    assert node.news() == {given.id: ("refused", "job-repeated")}
    assert json.loads((node.home.result(given.id) / "report.json").read_text()) == report


@pytest.mark.parametrize("name", ["../../state", "..", "", ".", "0123456789ABCDEF", "0123456789abcdef/..", "/tmp"])
def test_a_name_that_is_none_touches_no_file(world: World, node: Node, name: str) -> None:
    before = sorted(node.home.root.rglob("*"))
    for wanted in ("stop", "settled", "consider", "run"):
        node.obey(name, wanted, job_of(world))
    assert sorted(node.home.root.rglob("*")) == before
    assert node.news() == {}
    assert node.open() == {}


def test_an_end_is_told_until_it_is_settled(world: World, home: Home, ledger: Ledger, node: Node) -> None:
    given = job_of(world, column="secret")
    node.obey(given.id, "consider", given)
    again = start(world, home, ledger)  # as after a restart
    assert again.news() == {given.id: ("refused", "column-unknown")}
    again.obey(given.id, "wait")
    assert again.news() != {}
    again.obey(given.id, "settled")
    assert start(world, home, ledger).news() == {}


def test_a_node_takes_part_in_so_many_jobs(world: World, home: Home, ledger: Ledger) -> None:
    node = start(world, home, ledger, max_jobs=1)
    first, second = job_of(world), job_of(world)
    node.obey(first.id, "consider", first)
    node.obey(second.id, "consider", second)
    assert node.open() == {first.id: "accepted"}
    assert node.news() == {second.id: ("refused", "too-many-jobs")}


def test_a_stream_goes_nowhere_without_a_running_job(world: World, node: Node) -> None:
    given = job_of(world)

    def words(session: str) -> Words:
        hello = Hello(session, "psi", 1, "intl", given.job.digest, scenario="joint")
        return Words(hello, sender=ME, receiver=PEER)

    def code(session: str, *, who: str = PEER, out: bool = False) -> str:
        with pytest.raises(PolicyError) as caught:
            node.jobs.dispatch(Caller(ME, None), words(session)) if out else node.jobs.admit(who, words(session))
        return caught.value.code

    assert code(given.id) == "job-unknown"
    node.obey(given.id, "consider", given)
    assert code(given.id, who=BUREAU) == "job-unknown"
    assert code(given.id, out=True) == "job-unknown"  # nobody has said where the peer is
    node.home.policy_toml.write_text("")
    node.jobs._gate = Gate(node.home)
    assert code(given.id) == "policy-denied"  # a rule that is gone stops what was accepted
    node.obey(given.id, "stop")
    assert code(given.id) == "job-ended"


def test_an_accepted_job_does_not_wait_for_longer_than_its_request_is_good(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = job_of(world, age=timedelta(hours=1))
    node.obey(given.id, "consider", given)
    assert node.open() == {given.id: "accepted"}
    monkeypatch.setattr(request, "BEGIN_WITHIN", timedelta(minutes=30))  # as if it were the next day
    node.obey(given.id, "run")
    assert node.news() == {given.id: ("failed", "request-expired")}
    assert "started" not in [e.get("result") for e in ledgers.entries(node.home.ledger)]


def test_a_rule_that_is_gone_costs_no_use(world: World, node: Node) -> None:
    given = job_of(world)
    node.obey(given.id, "consider", given)
    node.home.policy_toml.write_text("")
    node.jobs._gate = Gate(node.home)
    node.obey(given.id, "run")
    assert node.news() == {given.id: ("failed", "policy-denied")}
    assert "rule" not in node.jobs._ended[given.id].reason  # which rule there is not is the owner's matter
    assert "started" not in [e.get("result") for e in ledgers.entries(node.home.ledger)]


def began(node: Node, given: Papers) -> node_jobs._Entry:
    """A job as if a worker had begun."""
    node.obey(given.id, "consider", given)
    entry = node.jobs._entries[given.id]
    entry.state = "running"
    directory = node.home.job(given.id)
    files.private_directory(directory)
    files.replace(directory / "job.json", given.to_text().model_dump_json().encode(), mode=files.PRIVATE)
    return entry


@pytest.mark.parametrize(
    ("code", "resumed"),
    [
        (None, True),  # killed: no last word
        ("channel", True),
        ("peer-error", False),
        ("usage", False),
        ("system", False),
        ("job-ended", False),
        ("result-too-small", False),
    ],
)
def test_a_job_goes_on_after_a_loss_and_after_no_error(
    world: World, node: Node, code: str | None, *, resumed: bool
) -> None:
    given = job_of(world)
    last = None if code is None else Ended(code=code, reason="it says so", public="it says so")
    node.jobs._worker_ended(began(node, given), last, "signal 9")
    assert node.open() == ({given.id: "running"} if resumed else {})
    assert node.news() == ({} if resumed else {given.id: ("failed", code)})
    assert node.home.job(given.id).joinpath("job.json").exists() == resumed
    node.obey(given.id, "stop")  # which the coordinator says where the other party has failed
    assert node.news() == {given.id: ("cancelled", "why") if resumed else ("failed", code)}
    assert not node.home.job(given.id).joinpath("job.json").exists()


def test_an_operator_that_cannot_go_on_has_failed(
    world: World, home: Home, ledger: Ledger, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "OPERATORS", {"psi": replace(operators.OPERATORS["psi"], resumable=False)})
    first, second = job_of(world), job_of(world)
    node.jobs._worker_ended(began(node, first), None, "signal 9")
    assert node.news() == {first.id: ("failed", "worker-died")}
    began(node, second)
    again = start(world, home, ledger)
    assert again.news() == {first.id: ("failed", "worker-died"), second.id: ("failed", "node-restarted")}


def test_a_restarted_node_asks_its_policy_before_a_job_goes_on(
    world: World, home: Home, ledger: Ledger, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = job_of(world)
    began(node, given)
    monkeypatch.setattr(node_jobs, "RESUME_S", 0.0)
    again = start(world, home, ledger)
    assert again.open() == {given.id: "running"}
    home.policy_toml.write_text("")
    again.jobs._gate = Gate(home)
    again.obey(given.id, "run")
    assert again.news() == {given.id: ("failed", "policy-denied")}
    assert [e["result"] for e in ledgers.entries(home.ledger) if e["kind"] == "job"] == ["policy-denied"]


@pytest.mark.parametrize(
    ("code", "kept"), [("ok", "failed"), ("started", "failed"), ("", "cancelled"), ("a\nb", "cancelled")]
)
def test_a_coordinators_words_forge_nothing(
    world: World, node: Node, caplog: pytest.LogCaptureFixture, code: str, kept: str
) -> None:
    given = job_of(world)
    node.obey(given.id, "consider", given)
    node.obey(given.id, "stop", code=code, reason="so\nERROR a line of its own \x1b[31m" + "x" * 5000)
    (end,) = [e["result"] for e in ledgers.entries(node.home.ledger) if e["kind"] == "job"]
    assert end == kept
    assert not any("\n" in record.getMessage() or "\x1b" in record.getMessage() for record in caplog.records)
    report = json.loads((node.home.result(given.id) / "report.json").read_text())
    assert report["reason"].isprintable()
    assert len(report["reason"]) <= 1000


@pytest.mark.parametrize("address", ["", "unix:/tmp/a.sock", "dns:///elsewhere", "host"])
def test_a_peer_is_dialled_at_a_hosts_port_and_nowhere_else(world: World, node: Node, address: str) -> None:
    given = job_of(world)
    node.obey(given.id, "consider", given)
    node.jobs._entries[given.id].peers = {PEER: address}
    words = Words(Hello(given.id, "psi", 1, "intl", given.job.digest, scenario="joint"), sender=ME, receiver=PEER)
    with pytest.raises(PolicyError) as caught:
        node.jobs.dispatch(Caller(ME, None), words)
    assert caught.value.code == "node-unknown"


def test_a_party_holds_no_more_threads_than_a_job_needs(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = job_of(world)
    node.obey(given.id, "consider", given)
    words = Words(Hello(given.id, "psi", 1, "intl", given.job.digest, scenario="joint"), sender=PEER, receiver=ME)
    monkeypatch.setattr(node_jobs, "LISTEN_S", 3.0)

    def code() -> str:
        with pytest.raises(PolicyError) as caught:
            node.jobs.admit(PEER, words)
        return caught.value.code

    with ThreadPoolExecutor(node_jobs.WAITING + 1) as pool:
        codes = [done.result() for done in [pool.submit(code) for _ in range(node_jobs.WAITING + 1)]]
    assert sorted(codes) == ["job-not-begun"] * node_jobs.WAITING + ["too-many-sessions"]
    monkeypatch.setattr(node_jobs, "LISTEN_S", 0.01)
    assert code() == "job-not-begun"  # those that waited wait no longer


def test_the_log_does_not_quote_another_librarys_error(caplog: pytest.LogCaptureFixture) -> None:
    identifier = str(110101199003070000 + 11)
    try:
        int(f"{identifier} of a data set")
    except ValueError as error:
        failure = worker._explain(error)
    assert failure.code == "internal"
    assert identifier not in f"{caplog.text}{failure}"
    assert "test_node_jobs.py" in caplog.text
    assert "ValueError" in caplog.text
