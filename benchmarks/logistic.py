"""Vertical logistic regression, each party a process, next to scikit-learn on the same rows pooled.

    python -m benchmarks logistic --rows 100000 --features-a 15 --features-b 15 --engine 2pc
    python -m benchmarks logistic --rows 100000 --features-a 10 --features-b 10 --features-c 10 --engine 3pc
    python -m benchmarks logistic --data uci --folds 5 --engine 3pc

Party a has the labels. With `--engine 3pc` party c computes, too; with `--features-c 0` it brings no columns. Features
are standard normal, labels drawn from a logistic model; or, with `--data uci`, the 30,000 bank clients of
../shared/data, split between the parties as its README says. `seconds` is the longest of the parties', from all ready
to all having their coefficients, agreement and set-up included; bytes and rounds are a's. `rel_diff` is
‖w − w_sklearn‖ / ‖w_sklearn‖ with the intercept, for standardised features, against newton-cholesky at tol 1e-10.
With `--folds` a line for each fold: trained on the others, AUC on it; without, AUC is on the rows trained on.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.report import line, progress
from mpc.session import Session
from protocols.learning import logistic

Reals = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "uci_credit_card.csv"
LABEL = "default.payment.next.month"
PERSON = ("SEX", "AGE", "MARRIAGE")


def uci(parties: int) -> tuple[list[Reals], Reals]:
    """The 30,000 clients' columns by party, standardised, and their labels."""
    if not DATA.exists():
        raise SystemExit(f"{DATA} is not there: it is no part of the project")
    with DATA.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("ID", LABEL)]
    if parties == 2:
        partner = [n for n in names if n.startswith(("BILL_AMT", "PAY_AMT"))]
        split = [[n for n in names if n not in partner], partner]
    else:
        split = [[n for n in names if n not in (*PERSON, "EDUCATION")], list(PERSON), ["EDUCATION"]]
    columns = {name: np.array([float(row[name]) for row in rows]) for name in (*names, LABEL)}
    blocks = [np.column_stack([columns[name] for name in own]) for own in split]
    return [(x - x.mean(axis=0)) / x.std(axis=0) for x in blocks], columns[LABEL]


def synthetic(rows: int, widths: Sequence[int]) -> tuple[list[Reals], Reals]:
    """Standard normal columns by party, and labels of a logistic model of all of them."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(rows, sum(widths)))
    z = x @ rng.normal(size=x.shape[1])
    y = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(np.float64)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return np.split(x, np.cumsum(widths)[:-1], axis=1), y


def auc(labels: Reals, scores: Reals) -> float:
    """Area under the ROC curve, ties counted half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ones = labels == 1
    n1, n0 = int(ones.sum()), int((~ones).sum())
    return float((ranks[ones].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def _task(
    session: Session, clock: mesh.Clock, features: Reals | None, labels: Reals | None, training: logistic.Training
) -> logistic.Fitted:
    """One party."""
    with clock:
        return logistic.fit(session, features, labels, label_party="a", training=training)


def folds_of(n: int, folds: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to train on, and rows to test on."""
    everything = np.arange(n)
    if not folds:
        yield everything, everything
        return
    parts = np.array_split(np.random.default_rng(11).permutation(n), folds)
    for part in parts:
        yield np.setdiff1d(everything, part), np.sort(part)


def _pooled(blocks: Sequence[Reals], y: Reals, c: float) -> tuple[Reals, float]:
    """Coefficients and intercept of scikit-learn, and its seconds."""
    from sklearn.linear_model import LogisticRegression

    started = time.perf_counter()
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(np.hstack(blocks), y)
    return np.append(model.coef_[0], model.intercept_), time.perf_counter() - started


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks logistic", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of synthetic data (100000)")
    parser.add_argument("--features-a", type=int, default=15, help="columns of party a, who has the labels (15)")
    parser.add_argument("--features-b", type=int, default=15, help="columns of party b (15)")
    parser.add_argument("--features-c", type=int, default=0, help="columns of party c, with 3pc (0: it only computes)")
    parser.add_argument("--engine", choices=("2pc", "3pc"), default="2pc", help="who computes (2pc)")
    parser.add_argument("--data", choices=("synthetic", "uci"), default="synthetic", help="which rows (synthetic)")
    parser.add_argument("--folds", type=int, default=0, help="folds of cross-validation (0: none)")
    parser.add_argument("--c", type=float, default=1.0, help="inverse of the penalty (1)")
    parser.add_argument("--tol", type=float, default=logistic.Training().tol, help="of the training")
    options = parser.parse_args(arguments)
    parties = 2 if options.engine == "2pc" else 3
    names = ("a", "b", "c")[:parties]
    if options.data == "uci":
        blocks, y = uci(parties)
    else:
        widths = [options.features_a, options.features_b, options.features_c][:parties]
        blocks, y = synthetic(options.rows, widths)
    training = logistic.Training(C=options.c, tol=options.tol)
    for fold, (train, test) in enumerate(folds_of(len(y), options.folds)):
        progress(f"training on {len(train)} rows")
        work = [
            (x[train] if x.shape[1] else None, y[train] if name == "a" else None, training)
            for name, x in zip(names, blocks, strict=True)
        ]
        done = mesh.run(names, _task, work, protocol="learning.logistic")
        fitted = [party.result for party in done]
        w = np.concatenate([own.coefficients for own in fitted if own.coefficients is not None])
        w = np.append(w, fitted[0].intercept)
        progress("scikit-learn")
        expected, pooled_s = _pooled([x[train] for x in blocks], y[train], options.c)
        everything = np.hstack([x[test] for x in blocks] + [np.ones((len(test), 1))])
        first = done[0].sections[0]
        line(
            "logistic",
            n=len(train),
            seconds=max(party.sections[0].seconds for party in done),
            suite="intl",
            transport="direct",
            bytes_sent=first.traffic.bytes_sent,
            bytes_received=first.traffic.bytes_received,
            rounds=first.traffic.rounds,
            processes=[party.use for party in done],
            more={
                "engine": options.engine,
                "data": options.data,
                "features": [x.shape[1] for x in blocks],
                "fold": fold,
                "iterations": fitted[0].iterations,
                "converged": fitted[0].converged,
                "auc": round(auc(y[test], everything @ w), 5),
                "auc_pooled": round(auc(y[test], everything @ expected), 5),
                "rel_diff": float(f"{np.linalg.norm(w - expected) / np.linalg.norm(expected):.3g}"),
                "sklearn_s": round(pooled_s, 3),
                "own_mb": [round(x[train].nbytes / 1e6, 1) for x in blocks],
            },
        )
    return 0
