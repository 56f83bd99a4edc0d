"""Intersection of three and more parties, each a process, CSV in and CSV out.

    python -m benchmarks multi --n 262144 --parties 3        mutual TLS over the loopback

As ``python -m benchmarks psi`` measures two: each party holds n identifiers, half of them common to all; `seconds` is
the longest that a party takes from opening its CSV file to the result file closed. The first process is the leader;
bytes and rounds are its own, over all its channels together.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import mesh
from benchmarks.psi import DIGITS, digits, read_csv, write_csv, write_result
from benchmarks.report import line, progress
from mpc.session import Session
from protocols.psi import multi
from protocols.psi.multi import Reveal


def _task(session: Session, clock: mesh.Clock, leader: str, folder: Path, suite: str, reveal_to: Reveal) -> int | None:
    """One party: from its file to its result file. Returns how many matched, where it learns that."""
    with clock:
        column = read_csv(folder / f"{session.me}.csv")
        result = multi.intersect(session, column, leader=leader, reveal_to=reveal_to, suite=suite, form="bytes")
        if result.rows is not None:
            write_result(folder / f"{session.me}-result.csv", column, result.rows)
    return result.matched


def _write(names: tuple[str, ...], folder: Path, n: int) -> set[bytes]:
    """Every party's file; what is common to all."""
    rng = np.random.default_rng(1)
    shared = n // 2
    own = n - shared
    wanted = shared + len(names) * own
    pool = np.unique(rng.integers(10 ** (DIGITS - 1), 10**DIGITS, size=wanted + wanted // 64 + 64, dtype=np.int64))
    pool = rng.permutation(pool)[:wanted]
    for i, name in enumerate(names):
        mine = np.concatenate([pool[:shared], pool[shared + i * own : shared + (i + 1) * own]])
        write_csv(folder / f"{name}.csv", digits(rng.permutation(mine)))
    return set(map(bytes, digits(pool[:shared])))


def _check(names: tuple[str, ...], folder: Path, common: set[bytes]) -> None:
    """Whether the result files hold the intersection, in one order. SystemExit where not."""
    paths = [path for name in names if (path := folder / f"{name}-result.csv").exists()]
    files = [path.read_bytes().split(b"\n")[1:-1] for path in paths]
    if any(file != files[0] for file in files) or set(files[0]) != common or len(files[0]) != len(common):
        raise SystemExit("the results are not in one order, or hold other identifiers than were put in")


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks multi", description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1 << 18, help="identifiers of each party (2^18)")
    parser.add_argument("--parties", type=int, default=3, help="how many, the leader included (3)")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--reveal-to", choices=("leader", "all"), default="leader", help="who learns (leader)")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs, each with a line (1)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("UNSEEN_THREADS", "1")
    names = tuple(f"party-{i}" for i in range(options.parties))
    with tempfile.TemporaryDirectory(prefix="unseen-multi-") as name:
        folder = Path(name)
        progress(f"{options.n:,} identifiers for each of {len(names)} parties")
        common = _write(names, folder, options.n)
        for _ in range(options.repeat):
            progress("starting the processes")
            work = (names[0], folder, options.suite, options.reveal_to)
            dones = mesh.run(names, _task, [work] * len(names), protocol="psi.multi")
            _check(names, folder, common)
            leader = dones[0].sections[0]
            line(
                "multi",
                n=options.n,
                seconds=max(done.sections[0].seconds for done in dones),
                suite=options.suite,
                transport="direct",
                bytes_sent=leader.traffic.bytes_sent,
                bytes_received=leader.traffic.bytes_received,
                rounds=leader.traffic.rounds,
                processes=[done.use for done in dones],
                more={
                    "protocol": "multi",
                    "parties": len(names),
                    "matched": dones[0].result,
                    "security": "semi-honest",
                },
            )
    return 0
