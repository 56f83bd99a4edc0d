"""Boosted trees over columns of two or three parties, each a process, next to XGBoost on the same bins pooled.

    python -m benchmarks boosting --rows 100000 --features-a 10 --features-b 10 --trees 10 --depth 5 --privacy standard
    python -m benchmarks boosting --data uci --folds 5 --trees 50 --bins 32
    python -m benchmarks boosting --slopes --trees 4

Party a has the labels. Features are standard normal, and labels are drawn from a model with a sine and a product beside
its linear part; or, with `--data uci`, the 30,000 bank clients of ../shared/data, split between the parties as its
README says. All columns are cut into `--bins` bins of equal frequency beforehand, on the rows trained on, and
XGBoost (hist, two threads, the same regularisation) gets the numbers of the bins.

`seconds` is the longest of the parties', from all ready to all having their trees, agreement and set-up included; bytes
and rounds are a's. `tree_s` and `tree_bytes` (sent and received) are of one more tree, the first left out. With
`--folds` a line for each fold: trained on the others, AUC on it; without, AUC is on the rows trained on. `auc` is
computed from the trees of all parties put together, which nobody has in an application.

`--slopes` varies rows, each party's features, and depth, one at a time around what the other options name, and prints a
line for each run and then one for each of the three: what is measured per tree (the least of the repeats); against rows
and features (of all parties) a straight line through it by least squares, its slope, where it starts, and R²; against
depth the factor of one more level.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.logistic import auc, folds_of, uci
from benchmarks.report import Value, line, progress
from mpc.session import Session
from protocols.learning import boosting, trees
from protocols.learning.binned import Binned, Cuts

Reals = NDArray[np.float64]

_SEED = 3


@dataclass(frozen=True)
class Task:
    """One run's sizes and settings.

    Attributes:
        rows: of synthetic data.
        widths: columns of each party.
        bins: most bins of a column.
        training: settings of the trees.
    """

    rows: int
    widths: tuple[int, ...]
    bins: int
    training: boosting.Training


@dataclass(frozen=True)
class Measured:
    """What a party of a run has to tell.

    Attributes:
        fitted: its part.
        tree_s: seconds of one more tree; of all by their number where there is one tree.
        tree_bytes: message bytes, both ways, of one more tree.
    """

    fitted: boosting.Fitted
    tree_s: float
    tree_bytes: float


def synthetic(rows: int, widths: Sequence[int]) -> tuple[list[Reals], Reals]:
    """Standard normal columns by party, and labels of a model that is not linear in them."""
    rng = np.random.default_rng(_SEED)
    x = rng.normal(size=(rows, sum(widths))).astype(np.float32)
    z = x @ rng.normal(size=x.shape[1]) + np.sin(3 * x[:, 0]) * 2 + x[:, 1] * x[:, 2]
    y = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(np.float64)
    return np.split(x, np.cumsum(widths)[:-1], axis=1), y


def _task(
    session: Session, clock: mesh.Clock, binned: Binned, labels: Reals | None, training: boosting.Training
) -> Measured:
    """One party."""
    marks: list[tuple[int, float, int]] = []

    def mark(done: int, _total: int) -> None:
        traffic = mesh.together([channel.traffic for channel in session.channels.values()])
        marks.append((done, time.perf_counter(), traffic.bytes_sent + traffic.bytes_received))

    with clock:
        fitted = boosting.fit(session, binned, labels, label_party="a", training=training, progress=mark)
    first, last, section = marks[0], marks[-1], clock.sections[0]
    if more := last[0] - first[0]:
        return Measured(fitted, (last[1] - first[1]) / more, (last[2] - first[2]) / more)
    return Measured(fitted, section.seconds, section.traffic.bytes_sent + section.traffic.bytes_received)


def _xgboost(codes: NDArray[np.float32], y: Reals, test: NDArray[np.float32], task: Task) -> tuple[Reals, float]:
    """XGBoost's margins of rows to test on, and its seconds to train on the others."""
    import xgboost

    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "nthread": 2,
        "max_depth": task.training.max_depth,
        "eta": task.training.learning_rate,
        "lambda": task.training.reg_lambda,
        "min_child_weight": task.training.min_child_weight,
        "max_bin": max(2, int(codes.max()) + 1),
        "base_score": float(y.mean()),
    }
    started = time.perf_counter()
    model = xgboost.train(settings, xgboost.DMatrix(codes, label=y), task.training.n_estimators)
    seconds = time.perf_counter() - started
    return model.predict(xgboost.DMatrix(test), output_margin=True).astype(np.float64), seconds


def _margins(parts: Sequence[boosting.Fitted], blocks: Sequence[Binned], names: Sequence[str]) -> Reals:
    """What the trees of all parties, put together, say of rows."""
    codes = {name: block.codes for name, block in zip(names, blocks, strict=True)}
    absent = {name: trees.missing_codes(block.sizes, block.missing) for name, block in zip(names, blocks, strict=True)}
    margins: Reals = np.zeros(len(blocks[0].codes))
    for one in zip(*(part.trees for part in parts), strict=True):
        margins += trees.joined(dict(zip(names, one, strict=True)), codes, absent)
    return margins


def _coded(block: Reals, cuts: Cuts) -> Binned:
    return cuts.codes(_table(block), rows=len(block))


def _table(block: Reals) -> dict[str, Reals]:
    return {f"x{j}": block[:, j] for j in range(block.shape[1])}


def _run(
    task: Task,
    names: Sequence[str],
    blocks: Sequence[Reals],
    y: Reals,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    more: dict[str, Value],
    *,
    compare: bool = True,
) -> Measured:
    """Train once, print a line, and return what the label party measured."""
    cuts = [Cuts.fit(_table(block[train]), max_bins=task.bins) for block in blocks]
    coded = [_coded(block[train], cut) for block, cut in zip(blocks, cuts, strict=True)]
    progress(f"training on {len(train):,} rows of {'+'.join(str(c.codes.shape[1]) for c in coded)} columns")
    work = [(own, y[train] if name == "a" else None, task.training) for name, own in zip(names, coded, strict=True)]
    done = mesh.run(names, _task, work, protocol="learning.boosting")
    measured = [party.result for party in done]
    tried = [_coded(block[test], cut) for block, cut in zip(blocks, cuts, strict=True)]
    found = auc(y[test], _margins([one.fitted for one in measured], tried, names))
    if compare:
        progress("xgboost")
        both = [np.hstack([one.codes for one in some]).astype(np.float32) for some in (coded, tried)]
        margins, xgboost_s = _xgboost(both[0], y[train], both[1], task)
        more = more | {"auc_pooled": round(auc(y[test], margins), 5), "xgboost_s": round(xgboost_s, 3)}
    first = done[0].sections[0]
    line(
        "boosting",
        n=len(train),
        seconds=max(party.sections[0].seconds for party in done),
        suite="intl",
        transport="direct",
        bytes_sent=first.traffic.bytes_sent,
        bytes_received=first.traffic.bytes_received,
        rounds=first.traffic.rounds,
        processes=[party.use for party in done],
        more={
            "features": [own.codes.shape[1] for own in coded],
            "bins": task.bins,
            "trees": len(measured[0].fitted.trees),
            "depth": task.training.max_depth,
            "privacy": task.training.privacy,
            "tree_s": round(measured[0].tree_s, 3),
            "tree_bytes": round(measured[0].tree_bytes),
            "auc": round(found, 5),
        }
        | more,
    )
    return measured[0]


def _slopes(task: Task, repeat: int) -> None:
    """Runs with one size varied at a time, and lines through what they took per tree."""
    known: dict[Task, Measured] = {}

    def measured(one: Task) -> Measured:
        if one not in known:
            names = ("a", "b", "c")[: len(one.widths)]
            blocks, y = synthetic(one.rows, one.widths)
            everything = np.arange(len(y))
            runs = [
                _run(one, names, blocks, y, everything, everything, {"run": run}, compare=False)
                for run in range(repeat)
            ]
            known[one] = min(runs, key=lambda run: run.tree_s)
        return known[one]

    middle = task.training.max_depth
    series: dict[str, list[tuple[float, Task]]] = {
        "rows": [(n, replace(task, rows=n)) for n in (task.rows // 4, task.rows // 2, task.rows, 2 * task.rows)],
        "features": [
            (sum(widths), replace(task, widths=widths))
            for widths in (tuple(max(1, int(k * times)) for k in task.widths) for times in (0.5, 1, 2, 3))
        ],
        "depth": [
            (depth, replace(task, training=replace(task.training, max_depth=depth)))
            for depth in range(max(1, middle - 2), min(trees.MAX_DEPTH, middle + 2) + 1)
        ],
    }
    for against, tasks in series.items():
        started = time.perf_counter()
        x = np.array([size for size, _ in tasks], dtype=np.float64)
        found = [measured(one) for _, one in tasks]
        tree_s = np.array([one.tree_s for one in found])
        tree_bytes = np.array([one.tree_bytes for one in found])
        line(
            "boosting-slopes",
            n=len(tasks),
            seconds=time.perf_counter() - started,
            suite="intl",
            transport="direct",
            bytes_sent=0,
            bytes_received=0,
            rounds=0,
            processes=[],
            more={
                "against": against,
                "privacy": task.training.privacy,
                "sizes": x.tolist(),
                "tree_s": tree_s.round(3).tolist(),
                "tree_bytes": tree_bytes.round().tolist(),
                **_fit("s", x, tree_s, against),
                **_fit("bytes", x, tree_bytes, against),
            },
        )


def _fit(what: str, x: Reals, y: Reals, against: str) -> dict[str, Value]:
    """A straight line through what was measured, and how well it fits; against depth the factor of a level."""
    if against == "depth":
        return {f"{what}_factor": round(float(np.exp(np.polyfit(x, np.log(y), 1)[0])), 2)}
    slope, start = np.polyfit(x, y, 1)
    fits = 1 - np.square(y - slope * x - start).sum() / np.square(y - y.mean()).sum()
    numbers = {"slope": slope, "start": start, "r2": fits}
    return {f"{what}_{name}": float(f"{number:.4g}") for name, number in numbers.items()}


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks boosting", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of synthetic data (100000)")
    parser.add_argument("--features-a", type=int, default=10, help="columns of party a, who has the labels (10)")
    parser.add_argument("--features-b", type=int, default=10, help="columns of party b (10)")
    parser.add_argument("--features-c", type=int, default=10, help="columns of party c, with three parties (10)")
    parser.add_argument("--parties", type=int, choices=(2, 3), default=2, help="how many parties (2)")
    parser.add_argument("--trees", type=int, default=10, help="how many (10)")
    parser.add_argument("--depth", type=int, default=5, help="of each tree (5)")
    parser.add_argument("--bins", type=int, default=20, help="most bins of a column (20)")
    parser.add_argument("--privacy", choices=("standard", "strict"), default="standard", help="the mode (standard)")
    parser.add_argument("--data", choices=("synthetic", "uci"), default="synthetic", help="which rows (synthetic)")
    parser.add_argument("--folds", type=int, default=0, help="folds of cross-validation (0: none)")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs of each, each with a line (1)")
    parser.add_argument("--slopes", action="store_true", help="vary rows, features and depth of synthetic data")
    options = parser.parse_args(arguments)
    training = boosting.Training(
        objective="binary:logistic",
        n_estimators=options.trees,
        max_depth=options.depth,
        privacy=options.privacy,
    )
    widths = (options.features_a, options.features_b, options.features_c)[: options.parties]
    task = Task(options.rows, widths, options.bins, training)
    if options.slopes:
        _slopes(task, options.repeat)
        return 0
    blocks, y = uci(options.parties) if options.data == "uci" else synthetic(options.rows, widths)
    for fold, (train, test) in enumerate(folds_of(len(y), options.folds)):
        for run in range(options.repeat):
            more: dict[str, Value] = {"data": options.data, "fold": fold, "run": run}
            _run(task, ("a", "b", "c")[: options.parties], blocks, y, train, test, more)
    return 0
