"""Private set intersection between two real processes, CSV in and CSV out.

    python -m benchmarks psi --protocol rr22 --n 1048576 --cores 1      mutual TLS over the loopback, a core a side
    python -m benchmarks psi --protocol ecdh --suite gm --n 131072      the other operator, the national suite
    python -m benchmarks psi --n 10000000 --cores 1 --tables            from file to file by buckets, in bounded memory
    python -m benchmarks psi --via-nodes                                worker, node, node, worker

Each party holds n identifiers, strings of 18 digits, half of them also the other's. The clock of a party runs from
opening its CSV file (imports done, connection up, both released together) to the result file closed; `seconds` is the
longer of the two. The result file holds the matched identifiers in common order; what it holds is compared with what
was put in. Each run has processes of its own, so that `rss_mb` is a run's. Processes are listed in the order receiver,
sender, receiver's node, sender's node. Bytes and rounds are the receiver's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute  # combine_chunks() would import it while the clock runs
import pyarrow.csv
from numpy.typing import NDArray

from benchmarks.mesh import LIMIT_S, Processes, hello, pin, told
from benchmarks.report import ProcessUse, line, own_use, progress
from mpc.channel import Channel, Traffic
from mpc.data.tables import DataSet
from mpc.kernels.packing import pack_arrow, to_arrow
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.transport import grpc as transport
from protocols import psi
from protocols.psi.agreement import Reveal, Security
from tests.transport.certificates import authority, credentials

Protocol = Literal["rr22", "ecdh"]

DIGITS = 18
COLUMN = "id"
RECEIVER, SENDER = "alice", "bob"
_TABLES_FROM = 1 << 22


@dataclass(frozen=True)
class Work:
    """What a party is to do.

    Attributes:
        source: its CSV file.
        result: where the matched identifiers go; nothing is written where it is not to learn them.
        protocol: as for ``psi.intersect``, like suite, security and reveal_to.
        stages: whether to say on standard error when each stage began.
        tables: whether ``psi.intersect_tables`` runs, by buckets, rather than ``psi.intersect``.
    """

    source: Path
    result: Path
    protocol: Protocol
    suite: str
    security: Security
    reveal_to: Reveal
    stages: bool
    tables: bool


@dataclass(frozen=True)
class Done:
    """What a party has to tell of a run."""

    seconds: float
    matched: int | None
    traffic: Traffic
    use: ProcessUse


def make_ids(n: int, seed: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
    """Two lists of n distinct identifiers, n // 2 of them in both, each in an order of its own.

    Returns:
        (n, 18) and (n, 18) uint8, ASCII digits, the first of them not 0; how many are in both.
    """
    rng = np.random.default_rng(seed)
    shared = n // 2
    wanted = 2 * n - shared
    pool = np.empty(0, dtype=np.int64)
    while len(pool) < wanted:
        more = rng.integers(10 ** (DIGITS - 1), 10**DIGITS, size=wanted - len(pool) + 16, dtype=np.int64)
        pool = np.unique(np.concatenate([pool, more]))
    rng.shuffle(pool)
    first = pool[:n]
    second = np.concatenate([pool[:shared], pool[n:wanted]])
    return digits(rng.permutation(first)), digits(rng.permutation(second)), shared


def digits(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Numbers of 18 digits as ASCII: (n,) -> (n, 18)."""
    text = np.empty((len(numbers), DIGITS), dtype=np.uint8)
    for place in range(DIGITS - 1, -1, -1):
        numbers, digit = np.divmod(numbers, 10)
        text[:, place] = digit + ord("0")
    return text


def write_csv(path: Path, ids: NDArray[np.uint8]) -> None:
    """A file with one column, ``id``."""
    lines = np.full((len(ids), DIGITS + 1), ord("\n"), dtype=np.uint8)
    lines[:, :DIGITS] = ids
    with path.open("wb") as file:
        file.write(f"{COLUMN}\n".encode())
        lines.tofile(file)


def read_csv(path: Path) -> pa.Array:
    """The column of identifiers, in one piece."""
    table = pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(use_threads=False),
        convert_options=pa.csv.ConvertOptions(column_types={COLUMN: pa.binary()}),
    )
    column = table.column(COLUMN).combine_chunks()
    del table
    pa.default_memory_pool().release_unused()  # Arrow would keep the pieces' memory for itself
    return column


def write_result(path: Path, column: pa.Array, rows: NDArray[np.int64]) -> None:
    """The identifiers of some rows, in their order."""
    table = pa.table({COLUMN: to_arrow(pack_arrow(column).take(rows))})
    with path.open("wb") as file:
        pa.csv.write_csv(table, file, pa.csv.WriteOptions(quoting_style="none", batch_size=1 << 14))


def _party(session: Session, peer: str, work: Work) -> tuple[float, int | None]:
    """One run. Returns how long it took, seconds, and how many matched."""
    started = time.perf_counter()
    if work.tables:
        work.result.unlink(missing_ok=True)  # of the run before
        found = psi.intersect_tables(
            session,
            DataSet(str(work.source), columns=(COLUMN,)),
            work.result,
            keys=(COLUMN,),
            peer=peer,
            run="benchmark",
            workdir=work.source.with_suffix(".work"),
            checkpoint_key=os.urandom(32),
            protocol=work.protocol,
            reveal_to=work.reveal_to,
            security=work.security,
            suite=work.suite,
            form="bytes",
        )
        return time.perf_counter() - started, found.matched
    column = read_csv(work.source)
    session.progress(Progress("read", 1, 1))
    result = psi.intersect(
        session,
        column,
        peer=peer,
        protocol=work.protocol,
        reveal_to=work.reveal_to,
        security=work.security,
        suite=work.suite,
        form="bytes",
    )
    if result.rows is not None:
        write_result(work.result, column, result.rows)
        session.progress(Progress("written", 1, 1))
    return time.perf_counter() - started, result.matched


def _run(pipe: Pipe, lane: transport.LinkLane, me: str, peer: str, work: Work) -> None:
    """Wait for the start, run, and tell."""
    pipe.send("ready")
    pipe.recv()
    began = time.perf_counter()
    cpu = time.process_time()

    def say(step: Progress) -> None:
        now, used = time.perf_counter() - began, time.process_time() - cpu
        progress(f"{me:6} {now * 1e3:8.1f} ms {used * 1e3:8.1f} ms of CPU  {step.stage} {step.done}/{step.total}")

    channel = Channel(lane, protocol="psi", timeout_s=LIMIT_S, send_timeout_s=LIMIT_S)
    session = Session(me, {peer: channel}, Rng(), say if work.stages else lambda _: None)
    before = own_use()
    seconds, matched = _party(session, peer, work)
    after = own_use()
    use = ProcessUse(after.rss_mb, round(after.cpu_s - before.cpu_s, 3))
    pipe.send(Done(seconds, matched, channel.traffic, use))
    pipe.recv()


def _sender(pipe: Pipe, core: int | None, address: str, mine: transport.Credentials | None, work: Work) -> None:
    pin(core)
    over = threading.Event()

    def serve(accepted: transport.Accepted) -> None:
        try:
            _run(pipe, accepted.lane, SENDER, RECEIVER, work)
        finally:
            over.set()

    with transport.Listener(address, serve, me=SENDER, credentials=mine) as listener:
        pipe.send(listener.address)
        over.wait()


def _receiver(pipe: Pipe, core: int | None, address: str, mine: transport.Credentials | None, work: Work) -> None:
    pin(core)
    with transport.connect(address, me=RECEIVER, peer=SENDER, hello=hello("run"), credentials=mine) as connection:
        _run(pipe, connection.lane, RECEIVER, SENDER, work)


def _node(
    pipe: Pipe,
    core: int | None,
    me: str | None,
    address: str,
    mine: transport.Credentials | None,
    target: transport.Target,
) -> None:
    """Forwards everything: the receiver's node (no `me`, on a Unix socket) or the sender's."""
    pin(core)
    relay = transport.Relay(lambda _caller, _words: target, me=me, local=mine is None)
    server = transport.make_server(streams=4)
    relay.add_to(server)
    pipe.send(transport.bind(server, address, mine))
    server.start()
    pipe.recv()
    pipe.send(own_use())
    server.stop(0).wait()
    relay.close()


@dataclass(frozen=True)
class _Run:
    parties: list[Done]  # receiver, sender
    nodes: list[ProcessUse]  # receiver's, sender's


def _once(works: tuple[Work, Work], folder: Path, *, cores: tuple[int | None, int | None], via_nodes: bool) -> _Run:
    """One run in processes of its own."""
    receiver_core, sender_core = cores
    root = authority()
    ours, theirs = credentials(root, RECEIVER), credentials(root, SENDER)
    processes = Processes()
    nodes: list[Pipe] = []
    try:
        if via_nodes:
            worker = f"unix:{folder / 'worker.sock'}"
            sender = processes.start(_sender, sender_core, worker, None, works[1])
            told(sender, 30)
            there = processes.start(_node, sender_core, SENDER, "127.0.0.1:0", theirs, transport.Target(worker))
            onward = transport.Target(str(told(there, 30)), ours)
            here = processes.start(_node, receiver_core, None, f"unix:{folder / 'node.sock'}", None, onward)
            receiver = processes.start(_receiver, receiver_core, str(told(here, 30)), None, works[0])
            nodes = [here, there]
        else:
            sender = processes.start(_sender, sender_core, "127.0.0.1:0", theirs, works[1])
            receiver = processes.start(_receiver, receiver_core, str(told(sender, 30)), ours, works[0])
        for pipe in (receiver, sender):
            told(pipe, 30)
        for pipe in (receiver, sender):
            pipe.send("go")
        dones = [told(pipe, LIMIT_S) for pipe in (receiver, sender)]
        uses = []
        for pipe in (receiver, sender, *nodes):
            pipe.send("end")
        for pipe in nodes:
            uses.append(told(pipe, 30))
    finally:
        processes.end()
    return _Run([d for d in dones if isinstance(d, Done)], [u for u in uses if isinstance(u, ProcessUse)])


def _check(ids: tuple[NDArray[np.uint8], NDArray[np.uint8]], works: tuple[Work, Work], shared: int) -> None:
    """Whether the result files hold the intersection, in one order. SystemExit where not."""
    first, second = (set(map(bytes, side)) for side in ids) if shared <= 1 << 20 else (None, None)
    files = [work.result.read_bytes().replace(b'"', b"").split(b"\n")[1:-1] for work in works if work.result.exists()]
    if any(file != files[0] for file in files):
        raise SystemExit("the two results are not in one order")
    if len(set(files[0])) != shared or (first is not None and second is not None and set(files[0]) != first & second):
        raise SystemExit(f"{len(files[0])} identifiers came out, and {shared} were put in; or they are others")


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks psi", description=__doc__.partition("\n")[0])
    parser.add_argument("--protocol", choices=("rr22", "ecdh"), default="rr22")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--n", type=int, default=1 << 20, help="identifiers of each party (2^20)")
    parser.add_argument(
        "--cores", type=int, choices=(1,), help="pin each party, its node included, to a core of its own"
    )
    parser.add_argument("--via-nodes", action="store_true", help="through the relays of both parties' nodes")
    parser.add_argument("--reveal-to", choices=("receiver", "both"), default="receiver", help="who learns (receiver)")
    parser.add_argument("--security", choices=("semi-honest", "malicious"), default="semi-honest")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs, each with a line (1)")
    parser.add_argument("--tables", action="store_true", help="from file to file by buckets (always above 2^22)")
    parser.add_argument("--stages", action="store_true", help="when each stage was reached, on standard error")
    options = parser.parse_args(arguments)
    cores: tuple[int | None, int | None] = (None, None)
    if options.cores == 1:
        usable = sorted(os.sched_getaffinity(0))
        cores = (usable[0], usable[-1])
        os.environ["UNSEEN_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="unseen-psi-") as name:
        folder = Path(name)
        progress(f"{options.n:,} identifiers for each party")
        first, second, shared = make_ids(options.n)
        tables = options.tables or options.n > _TABLES_FROM
        both = options.reveal_to == "both"
        reveals: tuple[Reveal, Reveal] = ("both", "both") if both else ("me", "peer")
        works = tuple(
            Work(
                source=folder / f"{party}.csv",
                result=folder / f"{party}-result.csv",
                protocol=options.protocol,
                suite=options.suite,
                security=options.security,
                reveal_to=reveal,
                stages=options.stages,
                tables=tables,
            )
            for party, reveal in zip((RECEIVER, SENDER), reveals, strict=True)
        )
        for work, ids in zip(works, (first, second), strict=True):
            write_csv(work.source, ids)
        for _ in range(options.repeat):
            progress("starting the processes")
            run = _once((works[0], works[1]), folder, cores=cores, via_nodes=options.via_nodes)
            _check((first, second), (works[0], works[1]), shared)
            receiver = run.parties[0]
            line(
                "psi",
                n=options.n,
                seconds=max(done.seconds for done in run.parties),
                suite=options.suite,
                transport="via-nodes" if options.via_nodes else "direct",
                bytes_sent=receiver.traffic.bytes_sent,
                bytes_received=receiver.traffic.bytes_received,
                rounds=receiver.traffic.rounds,
                processes=[*(done.use for done in run.parties), *run.nodes],
                more={
                    "protocol": options.protocol,
                    "matched": receiver.matched,
                    "security": options.security,
                    "tables": tables,
                },
            )
    return 0
