"""Jobs on real processes: a coordinator, a bank's and an insurer's node, their workers; and what can go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from mpc.errors import PolicyError
from mpc.transport import grpc as transport
from mpc.wire.coordinator.v1 import coordinator_pb2 as wire
from mpc.wire.node.v1 import node_pb2
from protocols.learning import metrics, trees
from protocols.learning.boosted import BoostedPart
from protocols.learning.model import ModelPart
from tests.e2e.town import COORDINATOR, Process, Town, enrol, free_port, until
from tests.governance.world import World
from unseen import services
from unseen.cli import tree
from unseen.governance import ca, documents, files, grant, request
from unseen.governance.documents import Signed, utc_now
from unseen.governance.grant import Access
from unseen.jobs import horizontal, operators
from unseen.jobs.states import ENDED
from unseen.models import ModelStore
from unseen.node import registrar
from unseen.server import as_credentials

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

BANK, INSURER, COURT, BUREAU = "bank", "insurer", "court", "data-bureau"
SCENARIO = "joint-customers"
SHARED = 300
DATA = {"small": 1000, "large": 12_000, "double": 10}
"""Rows of each data set; ``double`` has a key twice."""


def rows_of(party: str, n: int) -> dict[str, list[str]]:
    """A party's records. The last ``SHARED`` keys of one are the first of the other, in another order."""
    start = 0 if party == BANK else n - min(SHARED, n)
    numbers = np.random.default_rng(n).permutation(np.arange(start, start + n))
    return {"id": [f"key {i}" for i in numbers], "number": [f"{party} {i}" for i in numbers], "secret": ["-"] * n}


NODE_TOML = """
listen = "{listen}"
coordinator = "coordinator@{coordinator}"
"""
DATA_TOML = """
[[data_set]]
name = "{name}"
source = "{name}.{kind}"
columns = ["id", "number"]
"""
RULE_TOML = """
[[allow_job]]
scenario = "joint-customers"
requester = "bank"
operator = "psi"
data_set = "{name}"
columns = ["id", "number"]
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2099-01-01T00:00:00Z
"""


VISITS = {BANK: ["1.50", "", "2.25"], INSURER: ["4.00"], COURT: ["10.00", "-1.00", ""]}
"""The column of the data set ``visits``, with gaps."""
VISITS_TOML = """
[[data_set]]
name = "visits"
source = "visits.csv"
columns = ["cost"]
"""
VISITS_RULE_TOML = """
[[allow_job]]
scenario = "joint-customers"
requester = "bank"
operator = "aggregation.sum"
data_set = "visits"
columns = ["cost"]
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2099-01-01T00:00:00Z
"""


STAYS = {BANK: range(20), INSURER: range(20, 45), COURT: range(45, 60)}
"""Ages in the data set ``stays``; days are twice as many and one more."""
STAYS_TOML = """
[[data_set]]
name = "stays"
source = "stays.csv"
columns = ["days", "age"]
"""
STAYS_RULE_TOML = (
    VISITS_RULE_TOML.replace("aggregation.sum", "learning.horizontal")
    .replace('"visits"', '"stays"')
    .replace('["cost"]', '["days", "age"]')
)


CLIENTS = 600
CLIENT_COLUMNS = {BANK: ["bad", "late"], INSURER: ["claims", "age"]}
"""Of the data set ``clients``: what a model is trained on."""
CLIENTS_TOML = """
[[data_set]]
name = "clients"
source = "clients.parquet"
columns = {columns}
"""
CLIENTS_OPERATORS = ("learning.logistic", "learning.boosting", "learning.score")
CLIENTS_RULE_TOML = """
[[allow_job]]
scenario = "joint-customers"
requester = "bank"
operator = "{operator}"
data_set = "clients"
columns = {columns}
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2099-01-01T00:00:00Z
"""


def clients() -> dict[str, pa.Table]:
    """Both parties' clients, the same ones in different orders, and who went bad."""
    rng = np.random.default_rng(5)
    late, claims, age = rng.poisson(1.0, CLIENTS), rng.poisson(0.7, CLIENTS), rng.integers(20, 70, CLIENTS)
    z = 0.8 * late + 0.7 * claims - 0.04 * (age - 40) - 1.5
    bad = (rng.random(CLIENTS) < 1 / (1 + np.exp(-z))).astype(np.int64)
    ids = np.array([f"client {i}" for i in range(CLIENTS)])
    columns = {"id": ids, "bad": bad, "late": late, "claims": claims, "age": age}
    tables = {}
    for party in (BANK, INSURER):
        order = rng.permutation(CLIENTS)
        tables[party] = pa.table({name: columns[name][order] for name in ("id", *CLIENT_COLUMNS[party])})
    return tables


@dataclass
class Place:
    """The deployment: homes, ports that stay the same over restarts, and the processes that run now."""

    town: Town
    ports: Mapping[str, str]
    running: dict[str, Process] = field(default_factory=dict)
    clients: dict[str, registrar.Client] = field(default_factory=dict)

    def start(self, name: str) -> None:
        kind = "coordinator" if name == COORDINATOR else "node"
        self.running[name] = self.town.start(kind, "serve", "--home", str(self.town.root / name))

    def coordinator(self, who: str = BANK) -> registrar.Client:
        """A party's client of the coordinator, the same for all calls."""
        if who not in self.clients:
            identity = self.town.world.identity(who)
            self.clients[who] = registrar.connect(identity, peer=COORDINATOR, address=self.ports[COORDINATOR])
        return self.clients[who]

    def grant(
        self,
        name: str = "small",
        *,
        signer: str = BUREAU,
        columns: tuple[str, ...] = ("id", "number"),
        **changes: Any,  # noqa: ANN401  # whatever a grant takes
    ) -> Signed:
        words: dict[str, Any] = {
            "scenario": SCENARIO,
            "purpose": "a test",
            "requester": BANK,
            "operator": "psi",
            "operator_version": operators.version_of("psi"),
            "access": [Access(party=p, data_set=name, columns=list(columns)) for p in (BANK, INSURER)],
            "recipients": [BANK, INSURER],
            "uses": 100,
            "not_before": utc_now() - timedelta(hours=1),
            "not_after": utc_now() + timedelta(hours=1),
            "minimum_result": 10,
            "report_sizes": True,
        }
        return grant.issue(self.town.world.identity(signer).signer, **words | changes)

    def submit(self, data: str = "small", *, signed: Signed | None = None, who: str = BANK, **changes: Any) -> str:  # noqa: ANN401  # as psi_job
        return self.offer(self.papers(data, signed=signed, who=who, **changes), who=who)

    def offer(self, papers: dict[str, str], *, who: str = BANK) -> str:
        """Submit a job's papers; the coordinator's identifier of it."""
        submission = wire.JobSubmission(papers=wire.JobPapers(**papers))
        return self.coordinator(who).call(services.SUBMIT_JOB, submission).id

    def papers(self, data: str, *, signed: Signed | None = None, who: str = BANK, **changes: Any) -> dict[str, str]:  # noqa: ANN401
        """A job, its grant and its request, as texts."""
        return self.signed_papers(psi_job(data, **changes), signed or self.grant(data), who=who)

    def signed_papers(self, job: bytes, permit: Signed, *, who: str = BANK) -> dict[str, str]:
        """The papers of a job in canonical form under a grant."""
        asked = request.ask(
            self.town.world.identity(who).signer, job=hashlib.sha256(job).digest(), grant=grant.digest(permit)
        )
        texts = {"grant": documents.to_json(permit), "request": documents.to_json(asked)}
        return {"job": job.decode(), **texts}

    def state(self, job: str) -> wire.JobState:
        return self.coordinator().call(services.GET_JOB, wire.JobRequest(id=job))

    def ended(self, job: str, *, timeout_s: float = 30.0) -> wire.JobState:
        """The job, once all its parties have ended."""
        until(lambda: all(part.state in ENDED for part in self.state(job).parties), timeout_s=timeout_s)
        return self.state(job)

    def parts(self, job: str) -> dict[str, tuple[str, str]]:
        return {part.party: (part.state, part.code) for part in self.state(job).parties}

    def status(self, name: str, job: str) -> node_pb2.JobStatus | None:
        return next((one for one in self.town.status(name).jobs if one.id == job), None)

    def seen(self, name: str, job: str, wanted: Callable[[node_pb2.JobStatus], bool]) -> node_pb2.JobStatus:
        """The job's state at a node, as soon as it is what is wanted."""
        found: list[node_pb2.JobStatus] = []

        def look() -> bool:
            one = self.status(name, job)
            found[:] = [one] if one is not None and wanted(one) else []
            return bool(found)

        until(look)
        return found[0]

    def computing(self, job: str, name: str = INSURER) -> node_pb2.JobStatus:
        """The job's state at a node, once its worker has begun to compute and is not done."""
        return self.seen(name, job, lambda one: one.total > 0 and 0 < one.done < one.total)

    def report(self, name: str, job: str) -> dict[str, Any]:
        """The party's own report, once it says how the whole job ended."""
        path = self.town.home(name).result(job) / "report.json"
        until(lambda: "job" in json.loads(path.read_text()))
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def nothing_left(self, name: str, job: str) -> bool:
        """Whether neither a result nor a part of one, nor anything to work with, lies in the party's home."""
        home = self.town.home(name)
        left = sorted(path.name for path in home.result(job).glob("*"))
        return left in ([], ["report.json"]) and not home.unfinished_result(job).exists() and not home.job(job).exists()


def psi_job(
    data: str,
    *,
    columns: tuple[str, ...] = ("number",),
    key: str = "id",
    reveal_to: tuple[str, ...] = (BANK, INSURER),
    output: str = "parquet",
    duplicates: str = "error",
    bucket_rows: int | None = None,
) -> bytes:
    """A job in canonical form."""
    raw = {
        "operator": "psi",
        "operator_version": operators.version_of("psi"),
        "scenario": SCENARIO,
        "suite": "intl",
        "output": output,
        "party": [
            {"name": p, "data_set": data, "keys": [key], "form": "text", "columns": list(columns)}
            for p in (BANK, INSURER)
        ],
        "parameters": {
            "reveal_to": list(reveal_to),
            "protocol": "ecdh",
            "security": "semi-honest",
            "duplicates": duplicates,
            "bucket_rows": bucket_rows,
        },
    }
    return documents.canonical(raw)


def write_data(directory: Path, party: str) -> None:
    (directory / "visits.csv").write_text("\n".join(["cost,secret", *(f"{cost},-" for cost in VISITS[party]), ""]))
    stays = (f"{2 * age + 1},{age}" for age in STAYS[party])
    (directory / "stays.csv").write_text("\n".join(["days,age", *stays, ""]))
    if party in CLIENT_COLUMNS:
        pyarrow.parquet.write_table(clients()[party], directory / "clients.parquet")
    for name, n in DATA.items() if party != COURT else ():
        columns = rows_of(party, n)
        if name == "double" and party == INSURER:
            columns["id"][-1] = columns["id"][0]
        table = pa.table(columns)
        if party == BANK:
            pyarrow.parquet.write_table(table, directory / f"{name}.parquet")
        else:
            pyarrow.csv.write_csv(table, directory / f"{name}.csv")


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("jobs")
    town = Town(root, World(root))
    ca.init_ca(town.world.ca, now=utc_now() - timedelta(days=1))
    ports = {name: f"127.0.0.1:{free_port()}" for name in (COORDINATOR, BANK, INSURER, COURT)}
    for name in (COORDINATOR, BANK, INSURER, COURT, BUREAU):
        enrol(town.world, name)
    settings = f'listen = "{ports[COORDINATOR]}"\ncrl = "{town.world.ca / "crl.pem"}"\nheartbeat = "2s"\n'
    town.home(COORDINATOR).coordinator_toml.write_text(settings)
    for name, kind in ((BANK, "parquet"), (INSURER, "csv"), (COURT, "")):
        home = town.home(name)
        data = VISITS_TOML + STAYS_TOML + "".join(DATA_TOML.format(name=one, kind=kind) for one in DATA if kind)
        home.node_toml.write_text(NODE_TOML.format(listen=ports[name], coordinator=ports[COORDINATOR]) + data)
        rules = "".join(RULE_TOML.format(name=one) for one in DATA if kind)
        home.policy_toml.write_text(VISITS_RULE_TOML + STAYS_RULE_TOML + rules)
        if name in CLIENT_COLUMNS:
            columns = json.dumps(["id", *CLIENT_COLUMNS[name]])
            rules = "".join(CLIENTS_RULE_TOML.format(operator=one, columns=columns) for one in CLIENTS_OPERATORS)
            for path, more in ((home.node_toml, CLIENTS_TOML.format(columns=columns)), (home.policy_toml, rules)):
                path.write_text(path.read_text() + more)
        write_data(home.root, name)
    place = Place(town, ports)
    try:
        for name in (COORDINATOR, BANK, INSURER, COURT):
            place.start(name)
        until(lambda: announced(place) >= {BANK, INSURER, COURT})
        yield place
    finally:
        for client in place.clients.values():
            client.close()
        town.stop_all()


def announced(place: Place) -> set[str]:
    return {party.name for party in place.coordinator().call(services.LIST, wire.ListRequest()).parties}


def shared_keys(data: str) -> list[str]:
    return sorted(set(rows_of(BANK, DATA[data])["id"]) & set(rows_of(INSURER, DATA[data])["id"]))


# What works -----------------------------------------------------------------------------------------------------------


def test_both_parties_get_their_own_rows_in_a_common_order(place: Place) -> None:
    signed = place.grant(uses=1)
    job = place.submit(signed=signed)
    state = place.ended(job)
    assert (state.state, state.code) == ("finished", "")
    results = {}
    for name in (BANK, INSURER):
        home = place.town.home(name)
        results[name] = pyarrow.parquet.read_table(home.result(job) / "result.parquet")
        assert results[name].column_names == ["id", "number"]
        assert {path.stat().st_mode & 0o077 for path in home.result(job).iterdir()} == {0}
        report = place.report(name, job)
        assert (report["state"], report["protocol"]) == ("finished", "psi.ecdh")
        assert report["job"] == {"state": "finished", "code": "", "reason": ""}
        assert report["sizes"] == {"rows": 1000, "peer_keys": 1000, "matched_keys": SHARED}
        assert report["result_rows"] == SHARED
        assert report["authority"] == BUREAU
        assert len(report["learned"]) == 2
        assert report["bytes_sent"] > 0
        assert report["rounds"] > 0
        assert report["seconds"] > 0
    keys = results[BANK].column("id").to_pylist()
    assert keys == results[INSURER].column("id").to_pylist()
    assert sorted(keys) == shared_keys("small")
    own = dict(zip(*(rows_of(BANK, 1000)[c] for c in ("id", "number")), strict=True))
    assert results[BANK].column("number").to_pylist() == [own[key] for key in keys]
    # What the coordinator has: words, times and sizes.
    parts = {part.party: part.report for part in state.parties}
    assert parts[BANK].bytes_sent == parts[INSURER].bytes_received
    assert {size.name: size.value for size in parts[BANK].sizes}["matched_keys"] == SHARED
    for name in (BANK, INSURER):
        check_audit(place, name, job)
    again = place.ended(place.submit(signed=signed))
    assert (again.state, again.code) == ("failed", "quota-exceeded")


def check_audit(place: Place, name: str, job: str) -> None:
    """Start and end of a job are in the party's log, and nothing of its data."""
    place.town.verify_log(name)
    started, ended = [entry for entry in place.town.entries(name) if entry.get("job") == job]
    assert (started["kind"], started["result"], started["rows"]) == ("job", "started", None)
    assert (ended["kind"], ended["result"], ended["rows"], ended["result_rows"]) == ("job", "ok", 1000, SHARED)
    assert (ended["requester"], ended["columns"]) == (BANK, ["id", "number"])
    assert ended["output"] == place.report(name, job)["result_sha256"]
    assert ended["bytes_sent"] > 0
    assert "key 7" not in json.dumps(place.town.entries(name))


def test_one_party_gets_the_result_as_csv_and_the_other_none(place: Place) -> None:
    job = place.submit(reveal_to=(BANK,), output="csv", signed=place.grant(report_sizes=False))
    state = place.ended(job)
    assert state.state == "finished"
    found = pyarrow.csv.read_csv(place.town.home(BANK).result(job) / "result.csv")
    assert sorted(found.column("id").to_pylist()) == shared_keys("small")
    report = place.report(INSURER, job)
    assert report["result"] is None
    assert report["result_rows"] is None
    assert report["learned"] == [f"how many different keys {BANK} holds"]
    assert sorted(path.name for path in place.town.home(INSURER).result(job).iterdir()) == ["report.json"]
    assert not any(part.report.sizes for part in state.parties)


def test_three_parties_sum_a_column(place: Place) -> None:
    raw = {
        "operator": "aggregation.sum",
        "operator_version": operators.version_of("aggregation.sum"),
        "scenario": SCENARIO,
        "suite": "gm",
        "output": "csv",
        "party": [
            {"name": p, "data_set": "visits", "keys": [], "form": "text", "columns": ["cost"]}
            for p in (BANK, INSURER, COURT)
        ],
        "parameters": {"aggregator": COURT, "reveal_to": [BANK, COURT], "decimals": 2},
    }
    permit = place.grant(
        operator="aggregation.sum",
        operator_version=operators.version_of("aggregation.sum"),
        access=[Access(party=p, data_set="visits", columns=["cost"]) for p in (BANK, INSURER, COURT)],
        recipients=[BANK, COURT],
        minimum_result=3,
    )
    job = place.offer(place.signed_papers(documents.canonical(raw), permit))
    state = place.ended(job)
    assert place.parts(job) == dict.fromkeys((BANK, INSURER, COURT), ("finished", ""))
    for name in (BANK, COURT):
        table = pyarrow.csv.read_csv(place.town.home(name).result(job) / "result.csv").to_pylist()
        assert len(table) == 1
        assert (table[0]["column"], float(table[0]["sum"]), table[0]["values"]) == ("cost", 16.75, 5)
        assert table[0]["mean"] == pytest.approx(16.75 / 5)
    assert not (place.town.home(INSURER).result(job) / "result.csv").exists()
    learned = {part.party: len(part.report.learned) for part in state.parties}
    assert learned == {BANK: 2, INSURER: 0, COURT: 2}


def test_three_parties_have_one_model_of_all_rows(place: Place) -> None:
    operator, parties = "learning.horizontal", (BANK, INSURER, COURT)
    parameters = {"aggregator": COURT, "label": "days", "family": "linear", "C": "none", "report": False}
    raw = {
        "operator": operator,
        "operator_version": operators.version_of(operator),
        "scenario": SCENARIO,
        "suite": "gm",
        "output": "csv",
        "party": [
            {"name": p, "data_set": "stays", "keys": [], "form": "text", "columns": ["days", "age"]} for p in parties
        ],
        "parameters": horizontal.Parameters.model_validate(parameters).model_dump(mode="json"),
    }
    permit = place.grant(
        operator=operator,
        operator_version=operators.version_of(operator),
        access=[Access(party=p, data_set="stays", columns=["days", "age"]) for p in parties],
        recipients=parties,
    )
    job = place.offer(place.signed_papers(documents.canonical(raw), permit))
    place.ended(job)
    assert place.parts(job) == dict.fromkeys(parties, ("finished", ""))
    for name in parties:
        home = place.town.home(name)
        table = pyarrow.csv.read_csv(home.result(job) / "result.csv").to_pydict()
        assert (table["feature"], table["column"]) == (["(intercept)", "age"], ["", "age"])
        assert table["coefficient"] == pytest.approx([1.0, 2.0])
        store = ModelStore(home)
        part = store.load(store.import_job(job).model).part
        assert part.score({"age": [7, 100]}) == pytest.approx([15, 201])
        report = place.report(name, job)
        assert (report["sizes"]["rows"], report["sizes"]["all_rows"]) == (len(STAYS[name]), 60)


def test_the_command_line_from_grant_to_report(place: Place, tmp_path: Path) -> None:
    signed = place.grant()
    (tmp_path / "psi.grant").write_text(documents.to_json(signed))
    (tmp_path / "psi.toml").write_text(
        f'operator = "psi"\nscenario = "{SCENARIO}"\ngrant = "psi.grant"\n[parameters]\nreveal_to = ["bank"]\n'
        + "".join(f'[[party]]\nname = "{p}"\ndata_set = "small"\nkeys = ["id"]\n' for p in (BANK, INSURER))
    )
    home = str(place.town.root / BANK)
    found = json.loads(command("job", "submit", str(tmp_path / "psi.toml"), "--home", home, "--watch", "--json"))
    assert found["state"] == "finished"
    assert found["parties"][0]["report"]["learned"][0] == f"which of its own keys {INSURER} holds too"
    shown = command("job", "report", found["id"], "--home", home)
    assert f"Job {found['id']} finished" in shown
    assert "result.parquet" in shown
    listed = json.loads(command("job", "list", "--home", home, "--json"))["jobs"]
    assert found["id"] in [one["id"] for one in listed]
    assert f"Job {found['id']} finished" in command("job", "watch", found["id"], "--home", home)


def command(*arguments: str) -> str:
    """What ``unseen …`` prints."""
    done = CliRunner().invoke(tree(arguments[0]), arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


# What a grant does not cover ------------------------------------------------------------------------------------------


def changed(signed: Signed, old: bytes, new: bytes) -> Signed:
    assert old in signed.document
    return replace(signed, document=signed.document.replace(old, new))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda p: changed(p.grant(), b'"uses":100', b'"uses":101'), "document-bad-signature"),
        (
            lambda p: p.grant(not_before=utc_now() - timedelta(days=2), not_after=utc_now() - timedelta(days=1)),
            "grant-expired",
        ),
        (lambda p: p.grant(columns=("id",)), "grant-wrong-columns"),
        (lambda p: p.grant("large"), "grant-wrong-data-set"),
        (lambda p: p.grant(requester=INSURER), "grant-wrong-requester"),
        (lambda p: p.grant(scenario="another"), "grant-wrong-scenario"),
        (lambda p: p.grant(operator_version=99), "grant-wrong-operator"),
    ],
    ids=["forged", "expired", "columns", "data-set", "requester", "scenario", "version"],
)
def test_a_job_without_its_grant_is_not_taken(place: Place, make: Callable[[Place], Signed], code: str) -> None:
    with pytest.raises(PolicyError) as caught:
        place.submit(signed=make(place))
    assert caught.value.code == code


def test_a_node_refuses_what_its_own_policy_does_not_name(place: Place) -> None:
    """The coordinator lets these pass; each node asks its own policy whose grants count, and what they may open."""
    others = place.submit(signed=place.grant(signer=INSURER))
    secret = place.submit(columns=("secret",), signed=place.grant(columns=("id", "secret")))
    for job, code in ((others, "grant-wrong-authority"), (secret, "column-unknown")):
        state = place.ended(job)
        assert (state.state, state.code) == ("failed", code)
        assert {part.state for part in state.parties} <= {"refused", "cancelled"}
        refused = [e for name in (BANK, INSURER) for e in place.town.entries(name) if e.get("result") == code]
        assert {(entry["kind"], entry["scenario"]) for entry in refused} == {("refusal", SCENARIO)}


def test_a_result_below_the_minimum_is_given_to_nobody(place: Place) -> None:
    job = place.submit(signed=place.grant(minimum_result=SHARED + 1))
    state = place.ended(job)
    assert (state.state, state.code) == ("failed", "result-too-small")
    assert str(SHARED) not in state.reason.replace(str(SHARED + 1), "")
    for name in (BANK, INSURER):
        assert place.report(name, job)["code"] == "result-too-small"
        until(lambda name=name: place.nothing_left(name, job))


# What breaks ----------------------------------------------------------------------------------------------------------


def test_data_that_cannot_be_used_are_the_owners_matter(place: Place) -> None:
    job = place.submit("double")
    state = place.ended(job)
    assert (state.state, state.code) == ("failed", "usage")
    assert state.reason == f"{INSURER}: its settings or its data are not in order; its own report says how"
    assert "have the same key" in place.report(INSURER, job)["reason"]
    for name in (BANK, INSURER):
        until(lambda name=name: place.nothing_left(name, job))


def test_killed_workers_are_replaced_and_the_job_goes_on(place: Place) -> None:
    """First that of the party that listens, then that of the one that dials; each time both begin where both were."""
    job = place.submit("large", bucket_rows=1024)
    for name, buckets in ((INSURER, 3), (BANK, 8)):
        found = place.seen(name, job, lambda one, n=buckets: one.stage == "buckets" and one.done >= n)
        assert found.total == 16
        os.kill(found.pid, signal.SIGKILL)
        place.seen(name, job, lambda one, old=found.pid: one.pid not in (0, old))
    assert place.ended(job).state == "finished"
    check_large(place, job)
    for name in (BANK, INSURER):
        assert noted(place, name, job) == ["started", "resumed", "resumed", "ok"]
        assert place.report(name, job)["sizes"]["matched_keys"] == SHARED
        # The latest worker did only the rest: one that does all sends 32 bytes for each of its keys, and more.
        assert 0 < place.report(name, job)["bytes_sent"] < 32 * DATA["large"]


@pytest.mark.timeout(150)
def test_a_model_is_trained_on_after_a_worker_was_killed(place: Place) -> None:
    """At an iteration; and the model is that of pooled training, the files are what report and audit log say."""
    settings = {"label_party": BANK, "label": "bad", "bad": 1, "encoding": "standard", "tol": 1e-5}
    job = about_clients(place, "learning.logistic", settings)
    found = place.seen(INSURER, job, lambda one: one.stage == "training" and one.done >= 2)
    os.kill(found.pid, signal.SIGKILL)
    place.seen(INSURER, job, lambda one, old=found.pid: one.pid not in (0, old))
    # Not from the beginning: what the others have of the training is gone on with.
    assert place.seen(INSURER, job, lambda one: one.stage == "training").done >= 2
    state = place.ended(job, timeout_s=100)
    assert (state.state, state.code) == ("finished", "")
    tables = clients()
    parts = {}
    for name in (BANK, INSURER):
        assert noted(place, name, job) == ["started", "resumed", "ok"]
        directory, report = place.town.home(name).result(job), place.report(name, job)
        written = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in directory.iterdir()}
        files_of = {"model.json", "report.html", "rows.parquet"} | ({"evaluation.json"} if name == BANK else set())
        assert set(written) == files_of | {"result.csv", "report.json"}
        assert report["files"] == {one: documents.to_base64(written[one]) for one in files_of}
        (ended,) = [e for e in place.town.entries(name) if e.get("job") == job and e["result"] == "ok"]
        assert ended["files"] == report["files"]
        assert report["sizes"]["common_rows"] == CLIENTS
        parts[name] = ModelPart.from_json(json.loads((directory / "model.json").read_text()))
        rows = pyarrow.parquet.read_table(directory / "rows.parquet")
        place_of = {key: i for i, key in enumerate(tables[name]["id"].to_pylist())}
        tables[name] = tables[name].take([place_of[key] for key in rows["id"].to_pylist()])
        until(lambda name=name: not place.town.home(name).job(job).exists())
    assert f"{BANK}'s further files:" in command("job", "report", job, "--home", str(place.town.root / BANK))
    train = ~rows["held_out"].to_numpy()
    x = np.hstack([parts[name].preparation.transform(tables[name]) for name in (BANK, INSURER)])[train]
    y = tables[BANK]["bad"].to_numpy()[train]
    w = np.concatenate([parts[name].coefficients for name in (BANK, INSURER)])
    b = parts[BANK].intercept
    # Where the gradient of scikit-learn's objective at C = 1 is nothing, there is its solution.
    residual = 1 / (1 + np.exp(-(x @ w + b))) - y
    assert np.abs(np.append(x.T @ residual + w, residual.sum())).max() < 2e-3 * len(y)

    # And it is put to work: taken into both stores, and everybody scored.
    for name in (BANK, INSURER):
        command("model", "import", job, "--home", str(place.town.root / name))
    scored = about_clients(place, "learning.score", {"asker": BANK, "model": parts[BANK].model})
    state = place.ended(scored)
    assert (state.state, state.code) == ("finished", "")
    result = pyarrow.csv.read_csv(place.town.home(BANK).result(scored) / "result.csv")
    known = dict(zip(result["id"].to_pylist(), result["score"].to_pylist(), strict=True))
    everybody = np.hstack([parts[name].preparation.transform(tables[name]) for name in (BANK, INSURER)]) @ w + b
    np.testing.assert_allclose([known[key] for key in tables[BANK]["id"].to_pylist()], everybody, rtol=1e-9)
    assert not list(place.town.home(INSURER).result(scored).glob("result.*"))


@pytest.mark.timeout(120)
def test_trees_are_grown_on_after_a_worker_was_killed(place: Place) -> None:
    """Between two rounds; no round is grown twice, and the parts at both belong together."""
    rounds = 30
    settings = {"label_party": BANK, "label": "bad", "bad": 1, "n_estimators": rounds, "max_depth": 3, "report": False}
    job = about_clients(place, "learning.boosting", settings)
    found = place.seen(INSURER, job, lambda one: one.stage == "training" and one.done >= 3)
    assert found.total == rounds
    os.kill(found.pid, signal.SIGKILL)
    place.seen(INSURER, job, lambda one, old=found.pid: one.pid not in (0, old))
    assert place.seen(INSURER, job, lambda one: one.stage == "training").done >= found.done
    state = place.ended(job, timeout_s=100)
    assert (state.state, state.code) == ("finished", "")
    parts, coded = {}, {}
    for name, table in clients().items():
        assert noted(place, name, job) == ["started", "resumed", "ok"]
        directory, report = place.town.home(name).result(job), place.report(name, job)
        assert (report["sizes"]["rounds"], report["sizes"]["common_rows"]) == (rounds, CLIENTS)
        rows = pyarrow.parquet.read_table(directory / "rows.parquet")
        place_of = {key: i for i, key in enumerate(table["id"].to_pylist())}
        table = table.take([place_of[key] for key in rows["id"].to_pylist()])
        parts[name] = BoostedPart.from_json(json.loads((directory / "model.json").read_text()))
        coded[name] = parts[name].coded(table)
        if name == BANK:
            bad, kept_back = table["bad"].to_numpy(), rows["held_out"].to_numpy()
            judged = json.loads((directory / "evaluation.json").read_text())
    assert len({(part.training, len(part.trees)) for part in parts.values()}) == 1
    codes, missing = ({n: getattr(c, of) for n, c in coded.items()} for of in ("codes", "missing_code"))
    total = sum(
        trees.joined({name: part.trees[i] for name, part in parts.items()}, codes, missing) for i in range(rounds)
    )
    clear = metrics.evaluate(bad[kept_back], total[kept_back], scale="rank")
    assert judged["auc"] == pytest.approx(clear.auc, abs=1e-9)
    assert clear.auc > 0.65

    # And they are put to work: taken into both stores, and everybody scored.
    for name in (BANK, INSURER):
        command("model", "import", job, "--home", str(place.town.root / name))
    scored = about_clients(place, "learning.score", {"asker": BANK, "model": parts[BANK].model})
    assert place.ended(scored).state == "finished"
    result = pyarrow.csv.read_csv(place.town.home(BANK).result(scored) / "result.csv")
    known = dict(zip(result["id"].to_pylist(), result["score"].to_pylist(), strict=True))
    wanted = total + parts[BANK].base_score
    np.testing.assert_allclose([known[key] for key in rows["id"].to_pylist()], wanted, atol=1e-6)


def about_clients(place: Place, operator: str, parameters: Mapping[str, object]) -> str:
    """Submit a job about the clients; its identifier."""
    raw = {
        "operator": operator,
        "operator_version": operators.version_of(operator),
        "scenario": SCENARIO,
        "suite": "intl",
        "output": "csv",
        "party": [
            {"name": p, "data_set": "clients", "keys": ["id"], "form": "text", "columns": CLIENT_COLUMNS[p]}
            for p in (BANK, INSURER)
        ],
        "parameters": operators.OPERATORS[operator].parameters.model_validate(parameters).model_dump(mode="json"),
    }
    permit = place.grant(
        operator=operator,
        operator_version=operators.version_of(operator),
        access=[Access(party=p, data_set="clients", columns=["id", *CLIENT_COLUMNS[p]]) for p in (BANK, INSURER)],
        minimum_result=100,
    )
    return place.offer(place.signed_papers(documents.canonical(raw), permit))


def test_a_worker_killed_too_often_ends_the_job_at_both(place: Place) -> None:
    job = place.submit("large", bucket_rows=1024)
    killed = 0
    for _ in range(4):
        killed = place.seen(INSURER, job, lambda one, old=killed: one.pid not in (0, old)).pid
        os.kill(killed, signal.SIGKILL)
    state = place.ended(job)
    assert (state.state, state.code) == ("failed", "worker-died")
    assert state.reason == f"{INSURER}: its worker process ended (signal 9); it was resumed 3 times"
    assert place.parts(job)[INSURER] == ("failed", "worker-died")
    assert noted(place, INSURER, job) == ["started", "resumed", "resumed", "resumed", "quota-exceeded", "worker-died"]
    shown = command("job", "report", job, "--home", str(place.town.root / BANK))
    assert f"Job {job} failed: {state.reason} [worker-died]" in shown
    for name in (BANK, INSURER):
        assert place.report(name, job)["job"]["reason"] == state.reason
        until(lambda name=name: place.nothing_left(name, job))


def test_strangers_get_nowhere_and_a_cancelled_job_ends_at_both(place: Place) -> None:
    job = place.submit("large")
    worker = place.computing(job).pid
    # A stream for a job that is not there, or by somebody who takes no part in it, ends at the node's door.
    for who, session in ((BANK, "0" * 16), (BUREAU, job)):
        hello = operators.parse(psi_job("large")).hello(session)
        mine = as_credentials(place.town.world.identity(who))
        with pytest.raises(PolicyError) as caught:
            transport.connect(place.ports[INSURER], me=who, peer=INSURER, hello=hello, credentials=mine)
        assert caught.value.code == "job-unknown"
    for method in (services.GET_JOB, services.CANCEL_JOB):
        with pytest.raises(PolicyError) as caught:
            place.coordinator(BUREAU).call(method, wire.JobRequest(id=job))
        assert caught.value.code == "job-unknown"

    cancelled = place.coordinator(INSURER).call(services.CANCEL_JOB, wire.JobRequest(id=job))
    assert cancelled.state == "cancelled"
    state = place.ended(job)
    assert (state.state, state.reason) == ("cancelled", f"cancelled by {INSURER}")
    until(lambda: not running(worker))
    for name in (BANK, INSURER):
        report = place.report(name, job)
        assert report["job"]["reason"] == state.reason
        assert state.reason in report["reason"]  # which it heard from the coordinator or, sooner, from the other party
        until(lambda name=name: place.nothing_left(name, job))


def test_a_restarted_coordinator_still_knows(place: Place) -> None:
    job = place.submit("large")
    place.computing(job)
    place.running[COORDINATOR].kill()
    place.start(COORDINATOR)
    state = place.ended(job)
    assert state.state == "finished"
    assert {part.party: part.report.learned != [] for part in state.parties} == {BANK: True, INSURER: True}
    found = pyarrow.parquet.read_table(place.town.home(INSURER).result(job) / "result.parquet")
    assert sorted(found.column("id").to_pylist()) == shared_keys("large")


def test_a_restarted_node_goes_on_with_its_job(place: Place) -> None:
    job = place.submit("large", bucket_rows=1024)
    worker = place.computing(job).pid
    place.running[INSURER].kill()
    until(lambda: not running(worker))  # it has nobody to work for any more
    place.start(INSURER)
    assert place.ended(job).state == "finished"
    check_large(place, job)
    place.town.verify_log(INSURER)
    assert noted(place, INSURER, job) == ["started", "resumed", "ok"]


def check_large(place: Place, job: str) -> None:
    """Both parties have the right result, in a common order."""
    found = [pyarrow.parquet.read_table(place.town.home(p).result(job) / "result.parquet") for p in (BANK, INSURER)]
    assert found[0].column("id").to_pylist() == found[1].column("id").to_pylist()
    assert sorted(found[0].column("id").to_pylist()) == shared_keys("large")


def noted(place: Place, name: str, job: str) -> list[str]:
    """What a party's log says of a job, in order."""
    return [entry["result"] for entry in place.town.entries(name) if entry.get("job") == job]


def running(pid: int) -> bool:
    try:
        return files.read(Path(f"/proc/{pid}/stat"), what="a process").split()[2] != b"Z"
    except Exception:
        return False
