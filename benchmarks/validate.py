"""Validation of claims against the sum of three sources' amounts, each party a process, keys and amounts in memory.

    python -m benchmarks validate --n 100000 --alignment consented|hidden        mutual TLS over the loopback

The bank asks about n applicants; each source has records of nine in ten of them and of as many other people as it
lacks applicants. `seconds` is the longest that a party takes, from its columns to the grades; bytes and rounds are the
bank's, over all its channels together, and `source_bytes_sent` are those of the source that sends most.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.psi import DIGITS, digits
from benchmarks.report import line, progress
from mpc.kernels.packing import pack_rows
from mpc.session import Session
from protocols.validate import threshold
from protocols.validate.operators import Alignment

BANK, SOURCES = "bank", ("tax", "social", "fund")
PRESENT = 0.9


def _data(n: int, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A party's keys, (n, DIGITS) uint8, and its claims or amounts, the same in every process."""
    rng = np.random.default_rng(1)
    numbers = 10 ** (DIGITS - 1) + rng.permutation(10**7)[: 2 * n]
    applicants, others = numbers[:n], numbers[n:]
    incomes = rng.integers(200_000, 3_000_000, (len(SOURCES), n))
    known = rng.random((len(SOURCES), n)) < PRESENT
    claims = (np.where(known, incomes, 0).sum(axis=0) * rng.uniform(0.8, 1.4, n)).astype(np.int64)
    if name == BANK:
        return digits(applicants), claims
    own = known[SOURCES.index(name)]
    ids = np.concatenate([applicants[own], others[: n - own.sum()]])
    amounts = np.concatenate([incomes[SOURCES.index(name)][own], np.full(n - own.sum(), 1_000_000)])
    order = rng.permutation(n)
    return digits(ids[order]), amounts[order]


def _plain(n: int) -> NDArray[np.uint8]:
    """The grades, from everybody's data."""
    keys, claims = _data(n, BANK)
    total, seen = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    place = {key: row for row, key in enumerate(map(bytes, keys))}
    for source in SOURCES:
        for key, amount in zip(*_data(n, source), strict=True):
            if (row := place.get(bytes(key))) is not None:
                total[row] += amount
                seen[row] = True
    above = (claims > total).astype(np.uint8) + (claims * 10 > total * 12)
    return np.where(seen, above, np.uint8(threshold.NO_DATA))


def _task(session: Session, clock: mesh.Clock, n: int, alignment: Alignment, suite: str) -> NDArray[np.uint8] | None:
    """One party. Returns the grades at the bank."""
    keys, amounts = _data(n, session.me)
    packed, column = pack_rows(keys), pa.array(amounts)
    with clock:
        if session.me != BANK:
            threshold.answer(
                session, packed, column, asker=BANK, sources=SOURCES, alignment=alignment, suite=suite, form="bytes"
            )
            return None
        asked = threshold.ask(session, packed, column, sources=SOURCES, alignment=alignment, suite=suite, form="bytes")
    return asked.grades


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks validate", description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100_000, help="applicants, and records of each source (100000)")
    parser.add_argument("--alignment", choices=("consented", "hidden"), default="consented")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs, each with a line (1)")
    options = parser.parse_args(arguments)
    if not 1 <= options.n <= 5 * 10**6:
        parser.error("--n is 1 to 5000000")
    os.environ.setdefault("UNSEEN_THREADS", "1")
    wanted = _plain(options.n)
    for _ in range(options.repeat):
        progress("starting the processes")
        work = (options.n, options.alignment, options.suite)
        protocol = f"validate.threshold.{options.alignment}"
        dones = mesh.run((BANK, *SOURCES), _task, [work] * 4, protocol=protocol)
        if not np.array_equal(dones[0].result, wanted):
            raise SystemExit("the grades differ from the plain ones")
        bank = dones[0].sections[0]
        line(
            "validate",
            n=options.n,
            seconds=max(done.sections[0].seconds for done in dones),
            suite=options.suite,
            transport="direct",
            bytes_sent=bank.traffic.bytes_sent,
            bytes_received=bank.traffic.bytes_received,
            rounds=bank.traffic.rounds,
            processes=[done.use for done in dones],
            more={
                "alignment": options.alignment,
                "sources": len(SOURCES),
                "source_bytes_sent": max(done.sections[0].traffic.bytes_sent for done in dones[1:]),
                "grades": np.bincount(wanted, minlength=4).tolist(),
            },
        )
    return 0
