"""Circuit PSI with payload between two processes: shares of one's words at the other's items.

    python -m benchmarks payload --n 100000 --width 2        mutual TLS over the loopback

Each party holds n items of 18 digits, half of them also the other's; the sender has `width` words for each. `seconds`
is the longer of both parties' times from the packed items to the shares, set-up included. What the shares add up to is
compared with what was put in. Bytes and rounds are the receiver's, whose process comes first.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import mesh
from benchmarks.psi import DIGITS, make_ids
from benchmarks.report import line, progress
from mpc import suite as suites
from mpc.kernels.packing import Packed
from mpc.session import Session
from protocols.ot.method import Method
from protocols.psi import payload

RECEIVER, SENDER = "receiver", "sender"


def _packed(ids: NDArray[np.uint8]) -> Packed:
    return Packed(ids.reshape(-1), np.arange(len(ids) + 1) * DIGITS)


def _words(ids: NDArray[np.uint8], width: int) -> NDArray[np.uint64]:
    """(width, n): the words of each item, which both can make here, to check."""
    number = (ids - ord("0")).astype(np.uint64) @ (10 ** np.arange(DIGITS, dtype=np.uint64))
    return np.outer(np.arange(3, 3 + 2 * width, 2, dtype=np.uint64), number)


def _task(
    session: Session, clock: mesh.Clock, n: int, width: int, suite: str, method: Method
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint64]]:
    """One party. Returns what is in the bins, at the receiver, and its shares."""
    mine, theirs, _ = make_ids(n)
    chosen = suites.get(suite)
    if session.me == SENDER:
        items, values, channel = _packed(theirs), _words(theirs, width), session.channel(RECEIVER)
        with clock:
            shares = payload.send(channel, items, values, suite=chosen, rng=session.rng, method=method)
        return None, shares
    items, channel = _packed(mine), session.channel(SENDER)
    with clock:
        got = payload.receive(channel, items, width=width, suite=chosen, rng=session.rng, method=method)
    return got.rows, got.values


def _check(n: int, rows: NDArray[np.int64], total: NDArray[np.uint64]) -> int:
    """How many bins matched. SystemExit where words are not what was put in."""
    mine, theirs, shared = make_ids(n)
    text = f"S{DIGITS}"
    both = np.isin(mine.view(text), theirs.view(text)).reshape(-1)[rows] & (rows >= 0)
    expected = np.where(both, _words(mine, len(total))[:, rows], np.uint64(0))
    if both.sum() != shared or not np.array_equal(total, expected):
        raise SystemExit("the shares do not add up to what was put in")
    return shared


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks payload", description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100_000, help="items of each party (100,000)")
    parser.add_argument("--width", type=int, default=2, help="words of an item (2)")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--method", choices=("softspoken", "silent"), default="softspoken", help="of the transfers")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs, each with a line (1)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("UNSEEN_THREADS", "1")
    for _ in range(options.repeat):
        progress(f"{options.n:,} items of each party, {options.width} words of each")
        work = (options.n, options.width, options.suite, options.method)
        dones = mesh.run((RECEIVER, SENDER), _task, [work] * 2, protocol="psi.payload")
        measured = dones[0].sections[0]
        (rows, share), (_, other) = (done.result for done in dones)
        line(
            "payload",
            n=options.n,
            seconds=max(done.sections[0].seconds for done in dones),
            suite=options.suite,
            transport="direct",
            bytes_sent=measured.traffic.bytes_sent,
            bytes_received=measured.traffic.bytes_received,
            rounds=measured.traffic.rounds,
            processes=[done.use for done in dones],
            more={
                "protocol": "payload",
                "width": options.width,
                "method": options.method,
                "matched": _check(options.n, rows, share + other),
                "security": "semi-honest",
            },
        )
    return 0
