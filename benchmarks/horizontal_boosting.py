"""Boosted trees over silos, over mutual TLS on the loopback, next to XGBoost on the pooled rows.

    python -m benchmarks horizontal-boosting --silos 10 --rows 100000 --features 20 --trees 10 --depth 5

Each silo is a process with `rows` rows of its own, and so is the aggregator, which has none. `seconds` is the
aggregator's, from the word that all have their rows to the model at the silos, the search for bins included; bytes and
rounds are its own, over all its channels. XGBoost (hist, as many bins) trains on all rows in a process of its own
before, alone on the machine and with a thread for each core: `xgboost_s`, its quantiles included. AUCs are on 100,000
further rows. `data_mb` is what a silo's rows take. The processes in a line: the aggregator, then the silos.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe

import numpy as np

from benchmarks.horizontal import HUB, rows
from benchmarks.mesh import LIMIT_S, Clock, Processes, run, told
from benchmarks.report import line, progress
from mpc.session import Session
from protocols.learning import boosting_terms, horizontal_boosting
from protocols.learning.horizontal_boosting import Fitted, Training


def _task(session: Session, clock: Clock, number: int, n: int, k: int, training: Training, suite: str) -> Fitted:
    """One party of a run."""
    if session.me == HUB:
        with clock:
            return horizontal_boosting.lead(session, training=training, suite=suite)
    features, labels = rows(number, n, k, "logistic")
    with clock:
        return horizontal_boosting.fit(session, features, labels, aggregator=HUB, training=training, suite=suite)


def _pooled(pipe: Pipe, silos: int, n: int, k: int, training: Training) -> None:
    """XGBoost on all rows: seconds, and its margins on fresh ones."""
    import xgboost  # not in the silos

    drawn = [rows(i, n, k, "logistic") for i in range(silos)]
    x, y = np.concatenate([d[0] for d in drawn]), np.concatenate([d[1] for d in drawn])
    del drawn
    settings = training.trees
    parameters = {
        "objective": settings.objective,
        "tree_method": "hist",
        "max_bin": training.max_bins,
        "max_depth": settings.max_depth,
        "eta": settings.learning_rate,
        "nthread": os.cpu_count(),
    }
    started = time.perf_counter()
    table = xgboost.QuantileDMatrix(x, y, max_bin=training.max_bins, nthread=os.cpu_count())
    model = xgboost.train(parameters, table, settings.n_estimators)
    spent = time.perf_counter() - started
    fresh, _ = rows(silos, 100_000, k, "logistic")
    pipe.send((spent, model.predict(xgboost.DMatrix(fresh))))


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    from sklearn.metrics import roc_auc_score

    description = __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks horizontal-boosting", description=description)
    parser.add_argument("--silos", type=int, default=10)
    parser.add_argument("--rows", type=int, default=100_000, help="of each silo (100,000)")
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--trees", type=int, default=10)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--bins", type=int, default=32, help="of a column, at most (32)")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs, each with a line (1)")
    options = parser.parse_args(arguments)
    for setting in ("UNSEEN_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(setting, "1")  # there are more parties than cores
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    n, k, silos = options.rows, options.features, options.silos
    trees = boosting_terms.Training(n_estimators=options.trees, max_depth=options.depth)
    training = Training(trees, max_bins=options.bins)
    fresh, truth = rows(silos, 100_000, k, "logistic")

    progress(f"{n:,} rows of {k} columns for each of {silos} silos; XGBoost first")
    processes = Processes()
    try:
        pooled_s, pooled = told(processes.start(_pooled, silos, n, k, training), LIMIT_S)
    finally:
        processes.end()
    names = (HUB, *(f"silo-{i:03}" for i in range(silos)))
    for _ in range(options.repeat):
        progress("starting the processes")
        given = [(i - 1, n, k, training, options.suite) for i in range(silos + 1)]
        hub, *others = run(names, _task, given, protocol=horizontal_boosting.OPERATOR.name, links="star")
        model = hub.result.model
        if model.rows != n * silos or model.rounds != options.trees:
            raise SystemExit(f"the model has {model.rounds} trees of {model.rows} rows")
        section = hub.sections[0]
        line(
            "horizontal-boosting",
            n=n,
            seconds=section.seconds,
            suite=options.suite,
            transport="direct",
            bytes_sent=section.traffic.bytes_sent,
            bytes_received=section.traffic.bytes_received,
            rounds=section.traffic.rounds,
            processes=[hub.use, *(one.use for one in others)],
            more={
                "silos": silos,
                "features": k,
                "trees": options.trees,
                "depth": options.depth,
                "bins": options.bins,
                "xgboost_s": round(pooled_s, 3),
                "times": round(section.seconds / pooled_s, 2),
                "auc": round(float(roc_auc_score(truth, model.predict(fresh))), 6),
                "auc_pooled": round(float(roc_auc_score(truth, pooled)), 6),
                "data_mb": round(n * (k + 1) * 8 / 1e6, 1),
            },
        )
    return 0
