"""A bank, a civil register and an education bureau grow boosted trees that none of them could grow alone.

    python -m examples.joint_credit_boosting [--data FILE] [--privacy standard|strict] [--out build/boosting]

The people and the processes are those of ``joint_credit_model``: a CA, a coordinator, three nodes and their workers,
over mutual TLS; the loanapp data, or with ``--data`` the 30,000 card clients. The parties find the people whom all
three have, cut their columns into bins, and grow trees by the bank's labels. Each gets its own splits and nobody
else's, a page to read, and a table of what its columns are worth. At the end the model is compared with the one that
XGBoost trains on the pooled bins, which in life nobody has.
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
from protocols.learning.boosted import BoostedPart
from unseen.cli.output import Message, text

OPERATORS = {"standard": "learning.boosting", "strict": "learning.boosting.strict"}
LEARNING_RATE = 0.1
FAR = {False: 0.05, True: 0.01}
"""Largest difference of areas under the curve from XGBoost's that is not an error, by whether there are many people: a
few hundred that were kept back, of whom some dozens are bad, tell no finer.
"""

PARAMETERS = """\
bins = 32
n_estimators = {trees}
max_depth = {depth}
learning_rate = {rate}
holdout = 0.3
language = "{language}"
"""

STEPS = {
    **credit_study.STEPS,
    "evaluated": Message(
        "On {n:,} people kept back: AUC {auc:.4f}, KS {ks:.4f}",
        "留出样本 {n:,} 人：AUC {auc:.4f}，KS {ks:.4f}",
    ),
    "pooled": Message(
        "XGBoost on the same bins, pooled: AUC {auc:.4f}, KS {ks:.4f}",
        "XGBoost 明文合并训练（相同分箱）：AUC {auc:.4f}，KS {ks:.4f}",
    ),
    "alone": Message("The bank alone: AUC {auc:.4f}", "仅用银行自有数据：AUC {auc:.4f}"),
    "page": Message("{party}'s page: {path}", "{party} 的报告：{path}"),
    "report": Message("Report: {path}", "报告：{path}"),
}


def show_columns(run: Run) -> None:
    """What the trees use of each party's columns, as far as the party itself knows."""
    table = Table("party", "column", "splits", "part of the gain", title="joint-credit-boosting · 联合提升树")
    for name in OWNERS:
        lines = pyarrow.parquet.read_table(run.file(name, "result.parquet")).to_pylist()
        own = [line for line in lines if line["party"] == name]
        for line in sorted(own, key=lambda line: (-(line["importance"] or 0.0), -line["splits"]))[:4]:
            part = "" if line["importance"] is None else f"{line['importance']:.3f}"
            table.add_row(name, line["column"], f"{line['splits']}", part)
        table.add_section()
    console.print(table)


@dataclass(frozen=True)
class Compared:
    """What could be trained in the clear: areas under the curve, KS, on the rows kept back."""

    rows: int
    auc_pooled: float
    ks_pooled: float
    auc_alone: float


def compare(run: Run, *, trees: int, depth: int) -> Compared | None:
    """XGBoost on all parties' codes, which in life nobody has in one place. None without XGBoost."""
    try:
        import xgboost
    except ImportError:
        return None
    order, kept_back = run.rows()
    table, study = run.world.table.take(pa.array(order)), run.world.study
    labels = table[study.label].to_numpy() == study.bad
    blocks = {}
    for name in OWNERS:
        coded = BoostedPart.from_json(json.loads(run.file(name, "model.json").read_text())).coded(table)
        blocks[name] = np.where(coded.codes == coded.missing_code, np.nan, coded.codes)
    options = {"max_depth": depth, "learning_rate": LEARNING_RATE, "tree_method": "hist", "max_bin": 256}

    def judged(features: NDArray[np.float64]) -> metrics.Evaluation:
        model = xgboost.XGBClassifier(n_estimators=trees, n_jobs=1, **options)
        model.fit(features[~kept_back], labels[~kept_back])
        return metrics.evaluate(labels[kept_back], model.predict_proba(features[kept_back])[:, 1])

    pooled, alone = judged(np.hstack(list(blocks.values()))), judged(blocks["bank"])
    return Compared(int(kept_back.sum()), pooled.auc, pooled.ks, alone.auc)


def main() -> int:
    """Run the whole job. Returns 0 if the model is as good as the one of pooled training."""
    parser = credit_study.options(__doc__.partition("\n")[0], out="boosting")
    parser.add_argument("--privacy", choices=list(OPERATORS), default="standard", help="what opens in the training")
    parser.add_argument("--trees", type=int, default=50, help="rounds")
    options = parser.parse_args()
    deployment.clear(options.out, SCENARIO)
    done = credit_study.timed(STEPS)
    world = credit_study.make_world(options.data, options.clients, options.others, np.random.default_rng(2026))
    many = options.data is not None
    depth = 5 if many else 3
    language = text(Message("en", "zh"))
    parameters = PARAMETERS.format(trees=options.trees, depth=depth, rate=LEARNING_RATE, language=language)
    operator = OPERATORS[options.privacy]
    run = credit_study.trained(
        options.out, world, operator=operator, parameters=parameters, suite=options.suite, done=done
    )
    show_columns(run)
    credit_study.show_report(run.parties)

    own = json.loads(run.file("bank", "evaluation.json").read_text())
    done("evaluated", n=own["rows"], auc=own["auc"], ks=own["ks"])
    compared = compare(run, trees=options.trees, depth=depth)
    if compared is not None:
        done("pooled", auc=compared.auc_pooled, ks=compared.ks_pooled)
        done("alone", auc=compared.auc_alone)
    for name in OWNERS:
        seconds = done("page", party=name, path=run.file(name, "report.html"))
    report = {
        "clients": len(world.ids),
        "suite": options.suite,
        "operator": operator,
        "trees": options.trees,
        "evaluation": {"rows": own["rows"], "auc": own["auc"], "ks": own["ks"]},
        "compared": None if compared is None else vars(compared),
        "parties": {part["party"]: part["report"] for part in run.parties},
        "seconds": round(seconds, 1),
    }
    path = options.report or options.out / "boosting.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    done("report", path=path)
    if compared is not None and abs(own["auc"] - compared.auc_pooled) > FAR[many]:
        console.print("[red]The joint model is not as good as that of pooled training.[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
