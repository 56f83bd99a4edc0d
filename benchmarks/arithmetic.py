"""Shared arithmetic: one operation on n shared values, each computing party a process.

    python -m benchmarks arithmetic --op less --n 1048576 --engine 3pc
    python -m benchmarks arithmetic --op mulfx --engine 2pc --method silent --cores 1 --repeat 5
    python -m benchmarks arithmetic --op matmul --n 1000 --engine 3pc       n is the side of both matrices

The parties talk over gRPC with mutual TLS on the loopback. The inputs are shared before the clock starts, the result is
still shared when it stops; then it is opened and compared with what numpy says, and a result that is off by more than
the operation allows ends the benchmark. `seconds` is the slowest party's; bytes, rounds and messages are the first
party's, over all its channels. In the ring of three, where one neighbour is sent to and the other heard, a round is a
message. Each of `--repeat` runs has a line, all in the same processes: only the first pays for what is set up once,
such as base transfers and keys, and says `"first": true`.
"""

from __future__ import annotations

import argparse
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.report import ProcessUse, cores, line, progress
from mpc import fixed
from mpc.session import Session
from protocols import arithmetic

PARTIES = {"2pc": ("alice", "bob"), "3pc": ("alice", "bob", "carol")}

Values = NDArray[Any]
Draw = Callable[[np.random.Generator, int], Values]
STEP = 2.0**-fixed.FRACTION


@dataclass(frozen=True)
class Operation:
    """What is measured.

    Attributes:
        inputs: how to draw each of them.
        shared: the operation on shares.
        plain: what it should give.
        steps: how far the result may be from it, in steps of the smallest fraction; 0 where it is exact.
        relative: how much farther, in proportion to the result.
    """

    inputs: tuple[Draw, ...]
    shared: Callable[..., arithmetic.Shared]
    plain: Callable[..., Values]
    steps: float = 0.0
    relative: float = 0.0


def _whole(bits: int) -> Draw:
    return lambda rng, n: rng.integers(-(1 << bits), 1 << bits, size=n)


def _real(low: float, high: float) -> Draw:
    """Multiples of the smallest step, so that the input itself is exact."""
    return lambda rng, n: np.round(rng.uniform(low, high, size=n) / STEP) * STEP


def _few(rng: np.random.Generator, n: int) -> Values:
    """Numbers of which some meet their equal."""
    return rng.integers(0, 3, size=n) << 40


def _condition(rng: np.random.Generator, n: int) -> Values:
    return rng.integers(0, 2, size=n).astype(bool)


def _square(draw: Draw) -> Draw:
    return lambda rng, n: draw(rng, n * n).reshape(n, n)


def operations(error: float) -> Mapping[str, Operation]:
    """All that can be measured, with the errors that their documentation allows. `error` is the sigmoid's."""
    whole, real = (_whole(31), _whole(31)), (_real(-1e3, 1e3), _real(-1e3, 1e3))
    matrices, real_matrices = (_square(_whole(24)),) * 2, (_square(_real(-8, 8)),) * 2
    once = 1 + 2.0**-10  # one step, and what floating point loses in the comparison

    def logistic(x: Values) -> Values:
        return 1 / (1 + np.exp(-x))

    return {
        "less": Operation((_whole(61), _whole(60)), operator.lt, operator.lt),
        "equal": Operation((_few, _few), operator.eq, operator.eq),
        "and": Operation((_condition, _condition), operator.and_, operator.and_),
        "where": Operation((_condition, *whole), arithmetic.where, np.where),
        "argmax": Operation((_whole(40),), lambda a: a.argmax(), lambda a: np.asarray(a.argmax())),
        "mul": Operation(whole, operator.mul, operator.mul),
        "mulfx": Operation(real, operator.mul, operator.mul, once),
        "matmul": Operation(matrices, operator.matmul, operator.matmul),
        "matmulfx": Operation(real_matrices, operator.matmul, operator.matmul, once),
        "divide": Operation((_real(-100, 100), _real(0.5, 100)), operator.truediv, operator.truediv, 1.5, 2.0**-20),
        "sqrt": Operation((_real(0, 1e6),), arithmetic.sqrt, np.sqrt, 1.5, 2.0**-21),
        "exp": Operation((_real(-10, 10),), arithmetic.exp, np.exp, 1.5, 2.0**-20),
        "log": Operation((_real(0.01, 1e6),), arithmetic.log, np.log, 1.5 + 2.0**-20 / STEP),
        "sigmoid": Operation((_real(-20, 20),), lambda x: arithmetic.sigmoid(x, error=error), logistic, error / STEP),
        "sigmoid3": Operation((_real(-20, 20),), arithmetic.sigmoid_three_segments, logistic, 0.06 / STEP),
    }


def _task(
    session: Session,
    clock: mesh.Clock,
    op: str,
    n: int,
    engine: str,
    suite: str,
    method: str,
    error: float,
    repeat: int,
) -> float:
    """One party. Returns the largest error of all runs."""
    wanted = operations(error)[op]
    values = [draw(np.random.default_rng(i + 1), n) for i, draw in enumerate(wanted.inputs)]
    compute = PARTIES[engine]
    if engine == "2pc":
        opened = arithmetic.two_party(session, compute=compute, suite=suite, method=method)
    else:
        opened = arithmetic.three_party(session, compute=compute, suite=suite)
    worst = 0.0
    with opened as mpc:
        # The owners take turns, so that no operation gets the shares of one party alone.
        owners = [compute[i % len(compute)] for i in range(len(values))]
        shared = [
            mpc.share(value if owner == session.me else None, owner=owner)
            for value, owner in zip(values, owners, strict=True)
        ]
        for _ in range(repeat):
            with clock:
                result = wanted.shared(*shared)
            found = mpc.reveal(result)
            worst = max(worst, _error(wanted, found, wanted.plain(*values)))
    return worst


def _error(wanted: Operation, found: Values, expected: Values) -> float:
    """The largest absolute error. SystemExit where one is larger than the operation allows."""
    if found.shape != expected.shape:
        raise SystemExit(f"the result has the shape {found.shape}, and {expected.shape} is right")
    errors = np.abs(found.astype(np.float64) - expected) if expected.dtype.kind == "f" else found != expected
    if np.any(errors > wanted.steps * STEP + wanted.relative * np.abs(expected.astype(np.float64))):
        raise SystemExit(f"a result is off by {np.max(errors):g}, more than is allowed")
    return float(np.max(errors, initial=0))


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks arithmetic", description=__doc__.partition("\n")[0])
    parser.add_argument("--op", choices=sorted(operations(1e-3)), default="less")
    parser.add_argument("--n", type=int, help="values, or the side of a matrix (2^20, 1000)")
    parser.add_argument("--engine", choices=tuple(PARTIES), default="3pc")
    parser.add_argument("--method", choices=("softspoken", "silent"), default="softspoken", help="transfers, with 2pc")
    parser.add_argument("--error", type=float, choices=(1e-3, 1e-4), default=1e-3, help="of sigmoid (1e-3)")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs, each with a line (1)")
    parser.add_argument("--cores", type=int, choices=(1,), help="one thread each; two parties on a core of their own")
    options = parser.parse_args(arguments)
    names = PARTIES[options.engine]
    n = options.n or (1000 if options.op.startswith("matmul") else 1 << 20)
    places: list[int | None] = [None] * len(names)
    if options.cores == 1:
        os.environ["UNSEEN_THREADS"] = "1"
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) >= len(names):
            places = list(usable[: len(names)])
    progress(f"{options.op} of {n:,}, {options.engine}; {cores()} cores")
    work = (options.op, n, options.engine, options.suite, options.method, options.error, options.repeat)
    dones = mesh.run(names, _task, [work] * len(names), protocol="arithmetic", cores=places)
    for run in range(options.repeat):
        sections = [done.sections[run] for done in dones]
        line(
            "arithmetic",
            n=n,
            seconds=max(section.seconds for section in sections),
            suite=options.suite,
            transport="direct",
            bytes_sent=sections[0].traffic.bytes_sent,
            bytes_received=sections[0].traffic.bytes_received,
            rounds=sections[0].traffic.rounds,
            processes=[ProcessUse(d.rss_mb, s.cpu_s) for d, s in zip(dones, sections, strict=True)],
            more={
                "op": options.op,
                "engine": options.engine,
                "max_error": max(done.result for done in dones),
                "method": options.method if options.engine == "2pc" else None,
                "messages_sent": sections[0].traffic.messages_sent,
                "bytes_total": sum(section.traffic.bytes_sent for section in sections),
                "first": run == 0,
            },
        )
    return 0
