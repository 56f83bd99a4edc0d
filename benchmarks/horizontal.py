"""Regression over silos, over mutual TLS on the loopback, next to scikit-learn on the pooled rows.

    python -m benchmarks horizontal --silos 10 --rows 100000 --features 30
    python -m benchmarks horizontal --silos 10 --rows 100000 --features 30 --family poisson

Each silo is a process with `rows` rows of its own, and so is the aggregator, which has none. `seconds` is the
aggregator's, from the word that all have their rows to the model at the silos; bytes and rounds are its own, over all
its channels. scikit-learn fits all rows in a process of its own afterwards, alone on the machine (`sklearn_s`), to a
tolerance of 1e-10; `rel_diff` is ‖Δw‖/‖w‖ against it, and the AUCs are on 100,000 further rows. `data_mb` is what a
silo's rows take. The processes in a line: the aggregator, then the silos.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe

import numpy as np

from benchmarks.mesh import LIMIT_S, Clock, Processes, run, told
from benchmarks.report import line, progress
from mpc.session import Session
from protocols.learning import horizontal
from protocols.learning.glm import Family
from protocols.learning.horizontal import Fitted, Training

HUB = "hub"


def rows(number: int, n: int, k: int, family: Family) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of a silo: its own draw, with means of its own, of one model."""
    model = np.random.default_rng(0)
    w, mixed = model.normal(size=k) / np.sqrt(k), np.eye(k) + 0.3 * model.normal(size=(k, k)) / np.sqrt(k)
    rng = np.random.default_rng(number + 1)
    features = rng.normal(size=(n, k)) @ mixed
    features += rng.normal(size=k) / 4
    eta = features @ w - 1
    if family == "logistic":
        labels = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(np.float64)
    elif family == "poisson":
        labels = rng.poisson(np.exp(eta)).astype(np.float64)
    elif family == "gamma":
        labels = rng.gamma(2, np.exp(eta))
    else:
        labels = eta + rng.normal(size=n)
    return features, labels


def _task(session: Session, clock: Clock, number: int, n: int, k: int, training: Training, suite: str) -> Fitted:
    """One party of a run."""
    if session.me == HUB:
        with clock:
            return horizontal.lead(session, training=training, suite=suite)
    features, labels = rows(number, n, k, training.family)
    with clock:
        return horizontal.fit(session, features, labels, aggregator=HUB, training=training, suite=suite)


def _pooled(pipe: Pipe, silos: int, n: int, k: int, training: Training) -> None:
    """scikit-learn on all rows: seconds, and coefficients with the intercept last."""
    from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, Ridge  # not in the silos

    drawn = [rows(i, n, k, training.family) for i in range(silos)]
    x, y = np.concatenate([d[0] for d in drawn]), np.concatenate([d[1] for d in drawn])
    del drawn
    alpha = 1 / (training.C * len(x))
    if training.family == "logistic":
        estimator = LogisticRegression(C=training.C, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    elif training.family == "linear":
        estimator = Ridge(alpha=1 / training.C)
    else:
        kind = PoissonRegressor if training.family == "poisson" else GammaRegressor
        estimator = kind(alpha=alpha, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    started = time.perf_counter()
    estimator.fit(x, y)
    pipe.send((time.perf_counter() - started, np.append(np.ravel(estimator.coef_), estimator.intercept_)))


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    from sklearn.metrics import roc_auc_score

    parser = argparse.ArgumentParser(prog="python -m benchmarks horizontal", description=__doc__.partition("\n")[0])
    parser.add_argument("--silos", type=int, default=10)
    parser.add_argument("--rows", type=int, default=100_000, help="of each silo (100,000)")
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--family", choices=("logistic", "linear", "poisson", "gamma"), default="logistic")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs, each with a line (1)")
    options = parser.parse_args(arguments)
    for setting in ("UNSEEN_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(setting, "1")  # there are more parties than cores
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    n, k, silos = options.rows, options.features, options.silos
    training = Training(family=options.family)
    fresh, truth = rows(silos, 100_000, k, options.family)

    def auc(model: np.ndarray) -> float:
        return round(float(roc_auc_score(truth, fresh @ model[:-1])), 6)

    progress(f"{n:,} rows of {k} columns for each of {silos} silos; scikit-learn first")
    processes = Processes()
    try:
        pooled_s, w = told(processes.start(_pooled, silos, n, k, training), LIMIT_S)
    finally:
        processes.end()
    names = (HUB, *(f"silo-{i:03}" for i in range(silos)))
    for _ in range(options.repeat):
        progress("starting the processes")
        given = [(i - 1, n, k, training, options.suite) for i in range(silos + 1)]
        hub, *others = run(names, _task, given, protocol=horizontal.OPERATOR.name, links="star")
        fitted = hub.result
        found = np.append(fitted.coefficients, fitted.intercept)
        off = float(np.linalg.norm(found - w) / np.linalg.norm(w))
        if not fitted.converged or off > 1e-6:
            raise SystemExit(f"the model is off by {off:g}")
        section = hub.sections[0]
        line(
            "horizontal",
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
                "family": options.family,
                "iterations": fitted.iterations,
                "rel_diff": off,
                "sklearn_s": round(pooled_s, 3),
                "data_mb": round(n * (k + 1) * 8 / 1e6, 1),
            }
            | ({"auc": auc(found), "auc_pooled": auc(w)} if options.family == "logistic" else {}),
        )
    return 0
