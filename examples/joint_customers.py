"""A bank and an insurer find the customers that they have in common, and neither learns anything of the others.

    python -m examples.joint_customers [--customers 50000] [--out build/joint-customers]

Within one process, as in a notebook, an intersection is a function of two parties:

    from mpc.testing import run_parties
    from protocols import psi

    results = run_parties({
        "bank": lambda session: psi.intersect(
            session, ["110101199003070011", "110101198512120029"], peer="insurer"),
        "insurer": lambda session: psi.intersect(
            session, ["110101198512120029", "110101197001010038"], peer="bank"),
    })
    results["bank"].rows       # array([1]): of the bank's list, in an order that is the insurer's too
    results["insurer"].rows    # array([0])

In life the two are companies, and an authority has a say. So this runs as a job, through the commands that operators
type: the data bureau signs a grant, which names the columns; the bank submits the job to the coordinator; each party's
node looks at grant and policy and starts a worker; each party's result stays in its own home. At the end the result is
compared with the plain join that nobody could have made in life.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from examples import deployment, synthetic_people
from mpc.testing import run_parties
from protocols import psi
from unseen.cli.output import Message, text

SCENARIO = "joint-customers"
SHARED = 0.3
"""Share of the bank's customers who are the insurer's too."""

NODE_TOML = """\
listen = "127.0.0.1:0"
coordinator = "{coordinator}"

[[data_set]]
name = "{data_set}"
source = "{data_set}.parquet"
columns = ["{key}", "{number}"]
"""

POLICY_TOML = """\
[[allow_job]]
scenario = "joint-customers"
requester = "bank"
operator = "psi"
data_set = "{data_set}"
columns = ["{key}", "{number}"]
authorities = ["data-bureau"]
valid_from = 2020-01-01T00:00:00Z
valid_until = 2100-01-01T00:00:00Z
"""

GRANT_TOML = """\
scenario = "joint-customers"
purpose = "One offer for customers of both houses instead of two that contradict each other"
requester = "bank"
operator = "psi"
recipients = ["bank", "insurer"]
uses = 3
not_before = 2020-01-01T00:00:00Z
not_after = 2100-01-01T00:00:00Z
minimum_result = 100           # a smaller result would be about too few people, and is given to nobody
report_sizes = true            # the coordinator may see how many, never who

[[access]]
party = "bank"
data_set = "customers"
columns = ["resident_id", "customer_no"]

[[access]]
party = "insurer"
data_set = "policy-holders"
columns = ["id_card", "policy_no"]
"""

JOB_TOML = """\
operator = "psi"
scenario = "joint-customers"
grant = "joint-customers.grant"
output = "parquet"

[parameters]
reveal_to = ["bank", "insurer"]

[[party]]
name = "bank"
data_set = "customers"
keys = ["resident_id"]
form = "resident-id"
columns = ["customer_no"]

[[party]]
name = "insurer"
data_set = "policy-holders"
keys = ["id_card"]
form = "resident-id"
columns = ["policy_no"]
"""

STEPS = {
    "notebook": Message(
        "In one process: {n} keys in common, at rows {bank} of one list and {insurer} of the other",
        "单进程：共有 {n} 个标识，分别位于一方第 {bank} 行与另一方第 {insurer} 行",
    ),
    "people": Message(
        "{bank:,} customers, {insurer:,} policy holders, each side's in its own home",
        "银行客户 {bank:,} 人，保险客户 {insurer:,} 人，各自留在本地",
    ),
    "enrolled": Message(
        "CA, coordinator, data-bureau, bank and insurer are enrolled", "CA、协调方、数据局、银行与保险公司已完成注册"
    ),
    "granted": Message("data-bureau has signed the grant", "数据局已签署授权书"),
    "serving": Message("Both nodes serve", "双方节点已启动"),
    "done": Message("The job has finished", "任务已完成"),
    "agrees": Message(
        "All {n:,} lines agree with the plain join, and line by line with each other.",
        "全部 {n:,} 行与明文比对一致，且双方逐行对应。",
    ),
}

console = Console(file=sys.stdout, highlight=False, emoji=False)  # this one, whatever captures a command's output


@dataclass(frozen=True)
class Side:
    """One party's data: who they are, and its own number for each of them."""

    name: str
    data_set: str
    key: str
    number: str
    ids: NDArray[np.bytes_]

    def write(self, home: Path) -> None:
        """The party's table, as its own database would export it."""
        numbers = [f"{self.name[0].upper()}{i:08d}" for i in range(len(self.ids))]
        pyarrow.parquet.write_table(
            pa.table({self.key: self.ids.astype("U18"), self.number: numbers}), home / f"{self.data_set}.parquet"
        )


def make_people(n: int, rng: np.random.Generator) -> tuple[Side, Side]:
    """The two parties' customers."""
    shared = int(n * SHARED)
    ids = synthetic_people.resident_ids(2 * n - shared, rng)
    return (
        Side("bank", "customers", "resident_id", "customer_no", rng.permutation(ids[:n])),
        Side("insurer", "policy-holders", "id_card", "policy_no", rng.permutation(ids[n - shared :])),
    )


def in_one_process() -> tuple[list[int], list[int]]:
    """What the docstring above shows."""
    results = run_parties(
        {
            "bank": lambda session: psi.intersect(
                session, ["110101199003070011", "110101198512120029"], peer="insurer"
            ),
            "insurer": lambda session: psi.intersect(
                session, ["110101198512120029", "110101197001010038"], peer="bank"
            ),
        }
    )
    return results["bank"].rows.tolist(), results["insurer"].rows.tolist()


def show_report(state: object) -> None:
    """Who learned what, and at which expense."""
    parties = state["parties"] if isinstance(state, dict) else []
    table = Table("party", "what it learned", "bytes sent", "rounds", "seconds", title="who learned what · 各方所知")
    for part in parties:
        said = part["report"]
        lines = [f"· {line}" for line in said["learned"]]
        lines += [f"  {name}: {value:,}" for name, value in said["sizes"].items()]
        table.add_row(
            part["party"], "\n".join(lines), f"{said['bytes_sent']:,}", str(said["rounds"]), f"{said['seconds']:.1f}"
        )
    console.print(table)


def check(root: Path, job: str, bank: Side, insurer: Side) -> int:
    """Compare both results with the plain join, and with each other line by line. Returns how many lines there are."""
    ours, theirs = (
        pyarrow.parquet.read_table(root / side.name / "results" / job / "result.parquet") for side in (bank, insurer)
    )
    if ours.column(bank.key).to_pylist() != theirs.column(insurer.key).to_pylist():
        raise SystemExit("the two results are not about the same people in the same order")
    plain = np.intersect1d(bank.ids, insurer.ids).astype("U18").tolist()
    if sorted(ours.column(bank.key).to_pylist()) != plain:
        raise SystemExit("the result differs from the plain join")
    return len(plain)


def main() -> int:
    """Run the whole job. Returns 0 if the result agrees with the plain join."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--customers", type=int, default=50_000, help="customers of each party")
    parser.add_argument("--out", type=Path, default=Path("build/joint-customers"), help="where homes and results go")
    parser.add_argument("--suite", choices=["intl", "gm"], default="intl", help="cryptographic suite")
    options = parser.parse_args()
    root: Path = options.out
    deployment.clear(root, "joint-customers")
    started = time.monotonic()

    def done(step: str, **fields: object) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text(STEPS[step], **fields)}")

    rows = in_one_process()
    done("notebook", n=len(rows[0]), bank=rows[0], insurer=rows[1])

    bank, insurer = make_people(options.customers, np.random.default_rng(2026))
    deployment.make_ca(root)
    for name in ("coordinator", "data-bureau", "bank", "insurer"):
        deployment.enrol(root, name, suite=options.suite)
    (root / "coordinator" / "coordinator.toml").write_text('listen = "127.0.0.1:0"\ncrl = "../ca/crl.pem"\n')
    done("enrolled")

    (root / "grant.toml").write_text(GRANT_TOML)
    grant = root / "joint-customers.grant"
    deployment.run("grant", "issue", root / "grant.toml", "--home", root / "data-bureau", "--out", grant)
    done("granted")

    with ExitStack() as running:
        coordinator = running.enter_context(deployment.serving("coordinator", root / "coordinator"))
        for side in (bank, insurer):
            words = {"data_set": side.data_set, "key": side.key, "number": side.number}
            home = root / side.name
            side.write(home)
            (home / "node.toml").write_text(NODE_TOML.format(coordinator=coordinator.at, **words))
            (home / "policy.toml").write_text(POLICY_TOML.format(**words))
            running.enter_context(deployment.serving("node", home))
        done("people", bank=len(bank.ids), insurer=len(insurer.ids))
        deployment.wait_until_announced(root, coordinator.at, ("bank", "insurer"))
        done("serving")

        job_toml = root / "psi.toml"
        job_toml.write_text(f'suite = "{options.suite}"\n{JOB_TOML}')
        job = str(deployment.run("job", "submit", job_toml, "--home", root / "bank")["id"])
        # The bar goes to the terminal; a script would take `--json` and read the exit code.
        subprocess.run([*deployment.COMMAND, "job", "watch", job, "--home", str(root / "bank")], check=True)
        done("done")
        show_report(deployment.run("job", "report", job, "--home", root / "bank")["job"])
        found = check(root, job, bank, insurer)
        done("agrees", n=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
