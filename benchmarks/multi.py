"""Intersection of three and more parties, each a process, CSV in and CSV out.

    python -m benchmarks multi --n 262144 --parties 3        mutual TLS over the loopback

As ``python -m benchmarks psi`` measures two: each party holds n identifiers, half of them common to all; `seconds` is
the longest that a party takes from opening its CSV file to the result file closed. The first process is the leader;
bytes and rounds are its own, over all its channels together.
"""

from __future__ import annotations

import argparse
import os
import queue
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import numpy as np

from benchmarks.psi import DIGITS, LIMIT_S, Done, Processes, digits, hello, read_csv, told, write_csv, write_result
from benchmarks.report import ProcessUse, line, own_use, progress
from mpc.channel import Channel, Traffic
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.transport import grpc as transport
from protocols.psi import multi
from protocols.psi.multi import Reveal
from tests.transport.certificates import authority, credentials


def _party(
    pipe: Pipe,
    names: tuple[str, ...],
    me: str,
    mine: transport.Credentials,
    folder: Path,
    suite: str,
    reveal_to: Reveal,
) -> None:
    """One party: it dials those behind it in the list, and those before it dial it."""
    lanes: queue.Queue[transport.LinkLane] = queue.Queue()
    over = threading.Event()

    def serve(accepted: transport.Accepted) -> None:
        lanes.put(accepted.lane)
        over.wait()

    place = names.index(me)
    with transport.Listener("127.0.0.1:0", serve, me=me, credentials=mine) as listener:
        pipe.send(listener.address)
        addresses: dict[str, str] = pipe.recv()
        calls = [
            transport.connect(addresses[name], me=me, peer=name, hello=hello("run"), credentials=mine)
            for name in names[place + 1 :]
        ]
        found = [call.lane for call in calls] + [lanes.get(timeout=30) for _ in range(place)]
        channels = {
            lane.peer: Channel(lane, protocol="psi.multi", timeout_s=LIMIT_S, send_timeout_s=LIMIT_S) for lane in found
        }
        try:
            pipe.send("ready")
            pipe.recv()
            pipe.send(_timed(Session(me, channels, Rng()), names[0], folder, suite, reveal_to))
            pipe.recv()
        finally:
            over.set()
            for call in calls:
                call.close("over")


def _timed(session: Session, leader: str, folder: Path, suite: str, reveal_to: Reveal) -> Done:
    before, started = own_use(), time.perf_counter()
    column = read_csv(folder / f"{session.me}.csv")
    session.progress(Progress("read", 1, 1))
    result = multi.intersect(session, column, leader=leader, reveal_to=reveal_to, suite=suite, form="bytes")
    if result.rows is not None:
        write_result(folder / f"{session.me}-result.csv", column, result.rows)
    seconds, after = time.perf_counter() - started, own_use()
    sides = [channel.traffic for channel in session.channels.values()]
    fields = Traffic.__dataclass_fields__
    traffic = Traffic(*(sum(getattr(side, field) for side in sides) for field in fields))
    return Done(seconds, result.matched, traffic, ProcessUse(after.rss_mb, round(after.cpu_s - before.cpu_s, 3)))


def _once(names: tuple[str, ...], folder: Path, suite: str, reveal_to: Reveal) -> list[Done]:
    """One run in processes of its own."""
    root = authority()
    processes = Processes()
    try:
        pipes = [
            processes.start(_party, names, name, credentials(root, name), folder, suite, reveal_to) for name in names
        ]
        addresses = dict(zip(names, [told(pipe, 60) for pipe in pipes], strict=True))
        for word in (addresses, "go"):
            for pipe in pipes:
                pipe.send(word)
            if word != "go":
                for pipe in pipes:
                    told(pipe, 60)
        dones = [told(pipe, LIMIT_S) for pipe in pipes]
        for pipe in pipes:
            pipe.send("end")
    finally:
        processes.end()
    return [done for done in dones if isinstance(done, Done)]


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
            dones = _once(names, folder, options.suite, options.reveal_to)
            _check(names, folder, common)
            leader = dones[0]
            line(
                "multi",
                n=options.n,
                seconds=max(done.seconds for done in dones),
                suite=options.suite,
                transport="direct",
                bytes_sent=leader.traffic.bytes_sent,
                bytes_received=leader.traffic.bytes_received,
                rounds=leader.traffic.rounds,
                processes=[done.use for done in dones],
                more={
                    "protocol": "multi",
                    "parties": len(names),
                    "matched": leader.matched,
                    "security": "semi-honest",
                },
            )
    return 0
