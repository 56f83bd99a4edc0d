"""Information values of one party's features for another's labels, two processes.

    python -m benchmarks binning --rows 1000000 --features 30 --bins 10        mutual TLS over the loopback

`seconds` is the longer of the two parties', from columns of numbers to weights of evidence at the one and information
values at both: bins of equal frequency, counts, checks of cell sizes. `bin_s` of them went into finding the feature
party's own bins. `plain_s` is what the same takes one party that has everything, in numpy, in the same run; its results
are what the others' are checked against. `--mode shared` keeps weights of evidence shared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.report import ProcessUse, line, progress
from mpc.session import Session
from protocols.learning import binning, bins
from protocols.learning.binning import Binned, Mode

_COLUMN_SEED = 7


def _column(rows: int, feature: int) -> NDArray[np.float64]:
    return np.random.default_rng((_COLUMN_SEED, feature)).normal(size=rows)


def _labels(rows: int, features: int) -> NDArray[np.int64]:
    score = sum(_column(rows, feature) / (feature + 1) for feature in range(min(features, 5))) - 2.0
    return (np.random.default_rng(_COLUMN_SEED).random(rows) < 1 / (1 + np.exp(-score))).astype(np.int64)


def _task(
    session: Session, clock: mesh.Clock, rows: int, features: int, number: int, mode: Mode
) -> tuple[dict[str, float], float]:
    """One party. Returns information values, and at the feature party how long its own bins took."""
    if session.me == "labels":
        labels = _labels(rows, features)
        with clock:
            answered = binning.answer(session, labels, feature_parties=("features",), mode=mode)
        return dict(answered.ivs["features"]), 0.0
    columns = {f"x{feature}": _column(rows, feature) for feature in range(features)}
    with clock:
        started = time.perf_counter()
        own = {
            name: Binned.of(bins.equal_frequency(values, number, feature=name), values)
            for name, values in columns.items()
        }
        bin_s = time.perf_counter() - started
        found = binning.offer(session, own, label_party="labels", mode=mode)
    return found.ivs, bin_s


def _plain(rows: int, features: int, number: int) -> tuple[dict[str, float], float]:
    columns = {f"x{feature}": _column(rows, feature) for feature in range(features)}
    labels = _labels(rows, features)
    started = time.perf_counter()
    ivs = {}
    for name, values in columns.items():
        made = bins.equal_frequency(values, number)
        placed = made.bin_of(values)
        ivs[name] = bins.weigh(made, np.bincount(placed[labels == 1], minlength=made.number)).iv or 0.0
    return ivs, time.perf_counter() - started


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks binning", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="aligned rows (1000000)")
    parser.add_argument("--features", type=int, default=30, help="of the one party (30)")
    parser.add_argument("--bins", type=int, default=10, help="of each feature (10)")
    parser.add_argument("--mode", choices=("open", "shared"), default="open", help="who learns counts (open)")
    options = parser.parse_args(arguments)
    progress("starting the processes")
    work = (options.rows, options.features, options.bins, options.mode)
    label_party, feature_party = mesh.run(("labels", "features"), _task, [work] * 2, protocol="learning.binning")
    progress("the same in the clear")
    plain, plain_s = _plain(options.rows, options.features, options.bins)
    told, _ = label_party.result
    rounded = max(abs(told[name] - iv) for name, iv in plain.items())
    ivs = feature_party.result[0] or told  # which mode "shared" tells the label party alone
    error = max(abs(ivs[name] - iv) for name, iv in plain.items())
    if rounded > 1.1e-3 or error > (1e-4 if options.mode == "open" else 1.1e-3):
        raise SystemExit(f"information values differ by {error:.1e} from those in the clear")
    mine, theirs = label_party.sections[0], feature_party.sections[0]
    line(
        "binning",
        n=options.rows,
        seconds=max(mine.seconds, theirs.seconds),
        suite="intl",
        transport="direct",
        bytes_sent=mine.traffic.bytes_sent,
        bytes_received=mine.traffic.bytes_received,
        rounds=mine.traffic.rounds,
        processes=[ProcessUse(label_party.rss_mb, mine.cpu_s), ProcessUse(feature_party.rss_mb, theirs.cpu_s)],
        more={
            "protocol": "learning.binning",
            "mode": options.mode,
            "features": options.features,
            "bins": options.bins,
            "bin_s": round(feature_party.result[1], 3),
            "plain_s": round(plain_s, 3),
            "max_error": error,
        },
    )
    return 0
