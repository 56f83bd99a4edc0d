"""Sums over many parties, over mutual TLS on the loopback.

    python -m benchmarks aggregation --clients 10 --n 10000000 --plain      the same arrays unmasked, in turn
    python -m benchmarks aggregation --clients 100 --n 1000000 --drop 0.3   without dropouts, then with, in turn
    python -m benchmarks aggregation --clients 10 --n 10000000 --servers 2

Each party brings n real numbers. Up to 16 parties are a process each; more are threads, 25 to a process, each with a
connection of its own. `seconds` is the aggregator's, from the word that all are connected and have their arrays to the
sum in its hands; bytes and rounds are its own, over all its channels together. Who drops out has sent half its array.
Each line's sum is checked. The processes in a line: the aggregator, the other server if there is one, the parties.
"""

from __future__ import annotations

import argparse
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any, Literal

import numpy as np
from google.protobuf.message import Message

from benchmarks.mesh import LIMIT_S, Processes, hello, together, told
from benchmarks.report import ProcessUse, line, own_use, progress
from mpc.channel import Array, Buffer, Channel, Traffic
from mpc.errors import MpcError
from mpc.rng import Rng
from mpc.session import Session
from mpc.transport import grpc as transport
from mpc.transport.link import LinkLane
from mpc.wire.aggregation.v1 import aggregation_pb2 as wire
from protocols import aggregation
from protocols.aggregation import Aggregate, Rules, ideal, two_servers
from protocols.aggregation.vector import PIECE
from tests.transport.certificates import authority, credentials

HUB, HELPER = "hub", "unmasker"
_ALONE = 16  # parties that are a process each; more share
_TOGETHER = 25

Method = Literal["masked", "two", "plain"]


@dataclass(frozen=True)
class Run:
    """One run: its number, how the sum is made, and which parties drop out midway."""

    number: int
    method: Method
    leavers: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """What one process took for a run; the sum, at the aggregator."""

    seconds: float
    traffic: Traffic
    use: ProcessUse
    survivors: tuple[str, ...] = ()
    wrong: float = 0.0


class _Leaves(Exception):
    """Raised by who drops out."""


class _Leaving:
    """A channel whose party drops out after it has sent some pieces."""

    def __init__(self, channel: Channel, pieces: int) -> None:
        self._channel = channel
        self._left = pieces

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)

    def send(self, header: Message, *arrays: Array | Buffer) -> None:
        if isinstance(header, wire.Piece):
            self._left -= 1
            if self._left < 0:
                self._channel.close("dropped out")
                raise _Leaves
        self._channel.send(header, *arrays)


def values(name: str, n: int) -> np.ndarray:
    """The array of a party."""
    return np.random.default_rng(int(name.rpartition("-")[2])).uniform(-1000, 1000, size=n)


def _server(pipe: Pipe, me: str, mine: transport.Credentials, names: tuple[str, ...], n: int, rules: Rules) -> None:
    """The aggregator, or the other server: all parties dial it; the other server dials the aggregator."""
    lanes: queue.Queue[LinkLane] = queue.Queue()
    over = threading.Event()

    def serve(accepted: transport.Accepted) -> None:
        lanes.put(accepted.lane)
        over.wait()

    with transport.Listener("127.0.0.1:0", serve, me=me, credentials=mine, streams=4 * len(names) + 16) as listener:
        pipe.send(listener.address)
        hub, two = pipe.recv()
        calls = [_dial(hub, me, HUB, mine)] if me == HELPER else []
        awaited = len(names) + (two and me == HUB)
        found = [call.lane for call in calls] + [lanes.get(timeout=120) for _ in range(awaited)]
        base = {lane.peer: Channel(lane, protocol="aggregation.sum", timeout_s=LIMIT_S) for lane in found}
        try:
            _serve_runs(pipe, me, base, names, n, rules)
        finally:
            over.set()
            for call in calls:
                call.close("over")


def _serve_runs(pipe: Pipe, me: str, base: Mapping[str, Channel], names: tuple[str, ...], n: int, rules: Rules) -> None:
    pipe.send("ready")
    while isinstance(run := pipe.recv(), Run):
        channels = {peer: channel.fork(f"run-{run.number}") for peer, channel in base.items()}
        session = Session(me, channels, Rng())
        before, traffic, started = own_use(), _seen(base), time.perf_counter()
        if me == HELPER:
            two_servers.unmask(session, collector=HUB, rules=rules)
            result = None
        else:
            result = _collect(session, run.method, names, rules)
        seconds, after = time.perf_counter() - started, own_use()
        use = ProcessUse(after.rss_mb, round(after.cpu_s - before.cpu_s, 3))
        spent = _less(_seen(base), traffic)
        if result is None:
            pipe.send(Done(seconds, spent, use))
            continue
        for name in result.survivors:
            np.subtract(result.values, values(name, n), out=result.values)
        wrong = float(np.abs(result.values).max()) if n else 0.0
        pipe.send(Done(seconds, spent, use, result.survivors, wrong))


def _collect(session: Session, method: Method, names: tuple[str, ...], rules: Rules) -> Aggregate:
    if method == "plain":
        return ideal.collect(session, parties=names, rules=rules)
    if method == "two":
        return two_servers.collect(session, unmasker=HELPER, rules=rules)
    return aggregation.collect(session, parties=names, rules=rules)


def _clients(
    pipe: Pipe, mine: Mapping[str, transport.Credentials], addresses: Mapping[str, str], n: int, rules: Rules
) -> None:
    """Some parties, each a thread with a connection of its own to every server."""
    calls = {(me, server): _dial(at, me, server, own) for me, own in mine.items() for server, at in addresses.items()}
    base = {pair: Channel(call.lane, protocol="aggregation.sum", timeout_s=LIMIT_S) for pair, call in calls.items()}
    arrays = {me: values(me, n) for me in mine}
    pipe.send("ready")

    def one(me: str, run: Run) -> None:
        channels: dict[str, Any] = {s: base[me, s].fork(f"run-{run.number}") for s in addresses}
        if me in run.leavers:
            channels[HUB] = _Leaving(channels[HUB], -(-n // PIECE) // 2)
        session = Session(me, channels, Rng())
        try:
            if run.method == "plain":
                ideal.contribute(session, arrays[me], aggregator=HUB, rules=rules)
            elif run.method == "two":
                two_servers.contribute(session, arrays[me], collector=HUB, unmasker=HELPER, rules=rules)
            else:
                aggregation.contribute(session, arrays[me], aggregator=HUB, rules=rules)
        except (_Leaves, MpcError):
            if me not in run.leavers:
                raise

    with ThreadPoolExecutor(len(mine)) as pool:
        while isinstance(run := pipe.recv(), Run):
            before, traffic, started = own_use(), _seen(base), time.perf_counter()
            for future in [pool.submit(one, me, run) for me in mine]:
                future.result()
            seconds, after = time.perf_counter() - started, own_use()
            use = ProcessUse(after.rss_mb, round(after.cpu_s - before.cpu_s, 3))
            pipe.send(Done(seconds, _less(_seen(base), traffic), use))
    for call in calls.values():
        call.close("over")


def _dial(address: str, me: str, peer: str, mine: transport.Credentials) -> transport.Connection:
    return transport.connect(
        address, me=me, peer=peer, hello=hello("run"), credentials=mine, connect_timeout_s=60, keepalive_s=60
    )


def _seen(channels: Mapping[Any, Channel]) -> Traffic:
    return together([channel.traffic for channel in channels.values()])


def _less(after: Traffic, before: Traffic) -> Traffic:
    fields = Traffic.__dataclass_fields__
    return Traffic(*(getattr(after, field) - getattr(before, field) for field in fields))


def main(arguments: Sequence[str]) -> int:
    """Command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks aggregation", description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=10, help="parties, the servers left out (10)")
    parser.add_argument("--n", type=int, default=1_000_000, help="numbers of each party (10^6)")
    parser.add_argument("--drop", type=float, default=0.0, help="share of parties that drop out midway (0)")
    parser.add_argument("--plain", action="store_true", help="in turn, the same arrays without masks")
    parser.add_argument("--servers", type=int, choices=(1, 2), default=1, help="one aggregator, or two servers (1)")
    parser.add_argument("--suite", choices=("intl", "gm"), default="intl")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs of each kind, each with a line (1)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("UNSEEN_THREADS", "1")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    names = tuple(f"client-{i:03}" for i in range(options.clients))
    places = np.linspace(0, len(names) - 1, int(options.drop * len(names))).astype(int)
    leavers = tuple(names[i] for i in places.tolist())
    method: Method = "masked" if options.servers == 1 else "two"
    kinds: list[tuple[Method, tuple[str, ...]]] = [("plain", ())] if options.plain else []
    kinds += [(method, ())] if not leavers or not options.plain else []
    kinds += [(method, leavers)] if leavers else []
    _measure(
        names, kinds, options.n, Rules(suite=options.suite, reveal_to="aggregator"), options.repeat, options.servers
    )
    return 0


def _measure(
    names: tuple[str, ...],
    kinds: Sequence[tuple[Method, tuple[str, ...]]],
    n: int,
    rules: Rules,
    repeat: int,
    servers: int,
) -> None:
    """All runs, one of each kind in turn, in one set of processes."""
    root, processes = authority(), Processes()
    size = 1 if len(names) <= _ALONE else _TOGETHER
    progress(f"{n:,} numbers for each of {len(names)} parties; starting the processes")
    wait_s = 0.0
    try:
        serving = (HUB, HELPER)[:servers]
        pipes = [processes.start(_server, me, credentials(root, me), names, n, rules) for me in serving]
        addresses = dict(zip(serving, [str(told(pipe, 120)) for pipe in pipes], strict=True))
        for pipe in pipes:
            pipe.send((addresses[HUB], servers == 2))
        for start in range(0, len(names), size):
            mine = {name: credentials(root, name) for name in names[start : start + size]}
            pipes.append(processes.start(_clients, mine, addresses, n, rules))
        for pipe in pipes:
            told(pipe, 300)
        for number in range(repeat * len(kinds)):
            method, leavers = kinds[number % len(kinds)]
            # Without masks the other server has nothing to do.
            taking = [pipe for i, pipe in enumerate(pipes) if not (servers == 2 and i == 1 and method == "plain")]
            for pipe in taking:
                pipe.send(Run(number, method, leavers))
            dones = [done for pipe in taking if isinstance(done := told(pipe, LIMIT_S), Done)]
            _print(dones, method, len(names), leavers, n, rules.suite)
        for pipe in pipes:
            pipe.send("end")
        wait_s = 10.0
    finally:
        processes.end(wait_s)


def _print(dones: Sequence[Done], method: Method, clients: int, leavers: tuple[str, ...], n: int, suite: str) -> None:
    hub = dones[0]
    if len(hub.survivors) != clients - len(leavers) or hub.wrong > clients * 2.0**-25 + 1e-6:
        raise SystemExit(f"the sum is of {len(hub.survivors)} parties and off by {hub.wrong:g}")
    line(
        "aggregation",
        n=n,
        seconds=hub.seconds,
        suite=suite,
        transport="direct",
        bytes_sent=hub.traffic.bytes_sent,
        bytes_received=hub.traffic.bytes_received,
        rounds=hub.traffic.rounds,
        processes=[done.use for done in dones],
        more={"clients": clients, "dropped": len(leavers), "method": method, "max_error": hub.wrong},
    )
