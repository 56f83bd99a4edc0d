"""Intersection of a large prepared set with a few keys, between two real processes.

    python -m benchmarks unbalanced --n 10000000 --m 1000 --directory /var/tmp/prepared

Prepares n identifiers, strings of 18 digits, on all cores, unless DIRECTORY has them already. Then a sender and a
receiver meet over gRPC with mutual TLS on the loopback. The receiver first fetches the tag file; then it asks for m
identifiers, half of them in the set, `--repeat` times: `seconds` is the median of these, from the first message to the
rows that match, the cached file opened and checked included. Bytes and rounds are one such run's, at the receiver.
Processes are listed in the order receiver, sender. What comes out is compared with what was put in.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import numpy as np

from benchmarks.mesh import LIMIT_S, Processes, hello, told
from benchmarks.psi import RECEIVER, SENDER
from benchmarks.report import ProcessUse, line, own_use, progress
from mpc import suite as suites
from mpc.channel import Channel
from mpc.kernels.packing import Packed, pack_rows
from mpc.rng import Rng
from mpc.session import Progress
from mpc.transport import grpc as transport
from protocols.psi import prepared, unbalanced
from tests.transport.certificates import authority, credentials

DIGITS = 18
NAME = "benchmark"
STORAGE = bytes(32)
BATCH = 1 << 17


@dataclass(frozen=True)
class Done:
    """What the receiver has to tell."""

    fetch_s: float
    online_s: list[float]
    matched: int
    bytes_sent: int
    bytes_received: int
    rounds: int
    use: ProcessUse


def identifiers(first: int, last: int) -> Packed:
    """The set's identifiers number `first` to `last`: 18 digits of a number that goes round 10^18 by a fixed step."""
    numbers = (np.arange(first, last, dtype=np.uint64) * np.uint64(7_919_000_027)) % np.uint64(10**DIGITS)
    digits = np.empty((last - first, DIGITS), dtype=np.uint8)
    for place in range(DIGITS - 1, -1, -1):
        numbers, digit = np.divmod(numbers, np.uint64(10))
        digits[:, place] = digit + ord("0")
    return pack_rows(digits)


def prepare(directory: Path, n: int, suite: str) -> float | None:
    """Seconds of it; None where it is there already."""
    if (directory / "tags").exists():
        progress(f"{directory} is prepared")
        return None
    started = told_at = time.perf_counter()

    def say(step: Progress) -> None:
        nonlocal told_at
        if time.perf_counter() - told_at > 10:
            told_at = time.perf_counter()
            progress(f"{step.stage} {step.done:,} of {step.total:,}")

    batches: Iterator[Packed] = (identifiers(i, min(i + BATCH, n)) for i in range(0, n, BATCH))
    prepared.prepare(
        batches,
        directory,
        suite=suites.get(suite),
        name=NAME,
        form="bytes",
        storage=STORAGE,
        rng=Rng(),
        progress=say,
        expected=n,
    )
    return time.perf_counter() - started


def _sender(pipe: Pipe, mine: transport.Credentials, directory: Path, runs: int) -> None:
    a_set = prepared.load(directory, storage=STORAGE)
    chosen = suites.get(a_set.tags.spec.suite)

    def serve(accepted: transport.Accepted) -> None:
        channel = Channel(accepted.lane, protocol="psi.unbalanced", timeout_s=LIMIT_S)
        for _ in range(runs):
            unbalanced.send(channel, a_set, suite=chosen, rng=Rng())
        pipe.send(own_use())

    with transport.Listener("127.0.0.1:0", serve, me=SENDER, credentials=mine) as listener:
        pipe.send(listener.address)
        pipe.recv()


def _receiver(
    pipe: Pipe, mine: transport.Credentials, address: str, cache: Path, suite: str, n: int, m: int, runs: int
) -> None:
    keys = identifiers(n - m // 2, n - m // 2 + m)
    chosen = suites.get(suite)
    seconds = []
    with transport.connect(address, me=RECEIVER, peer=SENDER, hello=hello("run"), credentials=mine) as connection:
        channel = Channel(connection.lane, protocol="psi.unbalanced", timeout_s=LIMIT_S)
        asked, before = identifiers(0, 0), channel.traffic
        for run in range(runs):
            started, before = time.perf_counter(), channel.traffic
            matches = unbalanced.receive(
                channel, asked if not run else keys, suite=chosen, name=NAME, form="bytes", cache=cache, rng=Rng()
            )
            seconds.append(time.perf_counter() - started)
        after = channel.traffic
        if matches.rows.tolist() != list(range(m // 2)):
            raise SystemExit("other identifiers matched than are in both")
        pipe.send(
            Done(
                seconds[0],
                seconds[1:],
                len(matches.rows),
                after.bytes_sent - before.bytes_sent,
                after.bytes_received - before.bytes_received,
                after.rounds - before.rounds,
                own_use(),
            )
        )
        pipe.recv()


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks unbalanced", description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="identifiers of the prepared set (10^6)")
    parser.add_argument("--m", type=int, default=1000, help="identifiers of the receiver, at most 10^5 (1000)")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--directory", type=Path, help="keeps the prepared set; a temporary one by default")
    parser.add_argument("--repeat", type=int, default=7, help="online runs, of which the median counts (7)")
    options = parser.parse_args(arguments)
    runs = 1 + options.repeat
    with tempfile.TemporaryDirectory(prefix="unseen-unbalanced-") as scratch:
        directory = options.directory or Path(scratch) / "set"
        prepare_s = prepare(directory, options.n, options.suite)
        root = authority()
        processes = Processes()
        try:
            sender = processes.start(_sender, credentials(root, SENDER), directory, runs)
            address = str(told(sender, 60))
            cache = Path(scratch) / "cache"
            receiver = processes.start(
                _receiver, credentials(root, RECEIVER), address, cache, options.suite, options.n, options.m, runs
            )
            done, use = told(receiver, LIMIT_S), told(sender, 60)
            for pipe in (receiver, sender):
                pipe.send("end")
        finally:
            processes.end()
        if not isinstance(done, Done) or not isinstance(use, ProcessUse):
            raise SystemExit("a process of the benchmark has told something else")
        line(
            "unbalanced",
            n=options.n,
            seconds=statistics.median(done.online_s),
            suite=options.suite,
            transport="direct",
            bytes_sent=done.bytes_sent,
            bytes_received=done.bytes_received,
            rounds=done.rounds,
            processes=[done.use, use],
            more={
                "protocol": "unbalanced",
                "m": options.m,
                "prepare_s": None if prepare_s is None else round(prepare_s, 1),
                "fetch_s": round(done.fetch_s, 3),
                "file_bytes": (directory / "tags").stat().st_size,
                "matched": done.matched,
                "security": "malicious",
            },
        )
    return 0
