"""Products of one party's matrix with the other's vector, two processes.

    python -m benchmarks matvec --rows 100000 --cols 20        mutual TLS over the loopback

The holder has M, (rows, cols), the other v and then d. Both directions, M·v and Mᵀ·d, are run cold, the first time that
the holder needs its matrix in that direction, and then warm. `seconds` is the longer of the two parties', from both
ready to both having their share; bytes and rounds are the vector's owner's; `n` is how many entries M has. Each result
is checked against the plain product. `--vectors` gives more vectors at once, a product of matrices.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.report import ProcessUse, line, progress
from mpc.session import Session
from protocols import matvec

Words = NDArray[np.uint64]


def _matrix(rows: int, cols: int, bits: int) -> NDArray[np.int64]:
    values: NDArray[np.int64] = np.random.default_rng(1).integers(-(1 << 63), (1 << 63) - 1, (rows, cols), np.int64)
    return values >> (64 - bits)


def _vectors(n: int, vectors: int, direction: int) -> Words:
    values: Words = np.random.default_rng(2 + direction).integers(0, 1 << 64, (n, vectors), np.uint64)
    return values if vectors > 1 else values[:, 0].copy()


def _task(
    session: Session, clock: mesh.Clock, rows: int, cols: int, vectors: int, bits: int, repeat: int
) -> list[Words]:
    """One party. Returns its share of each direction, of the last run."""
    shares: list[Words] = []
    prepared = matvec.prepare(_matrix(rows, cols, bits), bits=bits) if session.me == "holder" else None
    key = matvec.key(session.rng)
    for direction in (0, 1):
        transpose = direction == 1
        share = np.empty(0, np.uint64)
        v = _vectors(rows if transpose else cols, vectors, direction)
        for _ in range(1 + repeat):
            if prepared is not None:
                count = None if vectors == 1 else vectors
                with clock:
                    share = matvec.holder(
                        session.channel("owner"), prepared, transpose=transpose, vectors=count, rng=session.rng
                    )
            else:
                with clock:
                    share = matvec.vector(
                        session.channel("holder"),
                        v,
                        rows=rows,
                        cols=cols,
                        transpose=transpose,
                        bits=bits,
                        key=key,
                        rng=session.rng,
                    )
        shares.append(share)
    return shares


def _check(options: argparse.Namespace, holder: list[Words], owner: list[Words]) -> None:
    matrix = _matrix(options.rows, options.cols, options.bits).view(np.uint64)
    for direction, (a, b) in enumerate(zip(holder, owner, strict=True)):
        v = _vectors(options.rows if direction else options.cols, options.vectors, direction)
        if not np.array_equal(a + b, (matrix.T if direction else matrix) @ v):
            raise SystemExit("the shares do not add up to the product")


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks matvec", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="of the matrix (100000)")
    parser.add_argument("--cols", type=int, default=20, help="of the matrix (20)")
    parser.add_argument("--vectors", type=int, default=1, help="how many at once (1)")
    parser.add_argument("--bits", type=int, default=64, help="of a signed entry of the matrix (64)")
    parser.add_argument("--repeat", type=int, default=3, help="warm runs of each direction, each with a line (3)")
    options = parser.parse_args(arguments)
    work = (options.rows, options.cols, options.vectors, options.bits, options.repeat)
    progress("starting the processes")
    owner, holder = mesh.run(("owner", "holder"), _task, [work] * 2, protocol="matvec")
    _check(options, holder.result, owner.result)
    for i, (mine, theirs) in enumerate(zip(owner.sections, holder.sections, strict=True)):
        direction, run = divmod(i, 1 + options.repeat)
        line(
            "matvec",
            n=options.rows * options.cols,
            seconds=max(mine.seconds, theirs.seconds),
            suite="",
            transport="direct",
            bytes_sent=mine.traffic.bytes_sent,
            bytes_received=mine.traffic.bytes_received,
            rounds=mine.traffic.rounds,
            processes=[
                ProcessUse(owner.rss_mb, mine.cpu_s),
                ProcessUse(holder.rss_mb, theirs.cpu_s),
            ],
            more={
                "protocol": "rlwe",
                "security": "semi-honest",
                "rows": options.rows,
                "cols": options.cols,
                "vectors": options.vectors,
                "bits": options.bits,
                "transpose": direction == 1,
                "warm": run > 0,
            },
        )
    return 0
