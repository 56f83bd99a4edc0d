"""Parties of a benchmark, each a process of its own, connected over gRPC with mutual TLS on the loopback.

A benchmark gives one *task*, a module's function that every party runs::

    def task(session: Session, clock: Clock, n: int) -> int:
        values = make(n)                      # not measured
        with clock:                           # all parties begin together
            result = protocol(session, values)
        return check(result)

    (alice, bob) = mesh.run(("alice", "bob"), task, [(n,), (n,)], protocol="psi")
    alice.sections[0].seconds, alice.sections[0].traffic, alice.rss_mb, alice.result

A task may enter its clock several times, and every party of a run enters it as often as the others.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Literal

from benchmarks.report import ProcessUse, own_use
from mpc.channel import Channel, Traffic
from mpc.rng import Rng
from mpc.session import Session
from mpc.transport import grpc as transport
from tests.transport.certificates import authority, credentials

LIMIT_S = 3600
_START_S = 120

Links = Literal["mesh", "star"]


@dataclass(frozen=True)
class Section:
    """What one measured section took at one party.

    Attributes:
        seconds: from the word that all are ready to the section's end.
        cpu_s: user and system time of all the process's threads, seconds.
        traffic: of all the party's channels together.
    """

    seconds: float
    cpu_s: float
    traffic: Traffic


@dataclass(frozen=True)
class Done:
    """What a party has to tell of a run.

    Attributes:
        sections: in the order in which the task measured them.
        rss_mb: the process's largest resident memory, 10^6 bytes.
        result: what the task returned.
    """

    sections: tuple[Section, ...]
    rss_mb: float
    result: Any

    @property
    def use(self) -> ProcessUse:
        """Memory, and processor time of all sections together, as a benchmark's line has them."""
        return ProcessUse(self.rss_mb, round(sum(section.cpu_s for section in self.sections), 3))


class Clock:
    """Measures what happens inside ``with clock:``; all parties of a run enter it together."""

    def __init__(self, session: Session, pipe: Pipe) -> None:
        self._session = session
        self._pipe = pipe
        self._sections: list[Section] = []

    @property
    def sections(self) -> tuple[Section, ...]:
        """What has been measured so far."""
        return tuple(self._sections)

    def __enter__(self) -> Clock:
        self._pipe.send("ready")
        self._pipe.recv()
        self._traffic, self._cpu_s, self._started = self._seen(), own_use().cpu_s, time.perf_counter()
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is None:
            seconds, cpu_s = time.perf_counter() - self._started, own_use().cpu_s - self._cpu_s
            self._sections.append(Section(seconds, round(cpu_s, 3), less(self._seen(), self._traffic)))

    def _seen(self) -> Traffic:
        return together([channel.traffic for channel in self._session.channels.values()])


def together(several: Sequence[Traffic]) -> Traffic:
    """The sum of what went through several channels."""
    return Traffic(*(sum(getattr(one, field.name) for one in several) for field in fields(Traffic)))


def less(after: Traffic, before: Traffic) -> Traffic:
    """What went through between two readings."""
    return Traffic(*(getattr(after, field.name) - getattr(before, field.name) for field in fields(Traffic)))


def run(
    names: Sequence[str],
    task: Callable[..., object],
    arguments: Sequence[tuple[object, ...]],
    *,
    protocol: str,
    links: Links = "mesh",
    cores: Sequence[int | None] | None = None,
    limit_s: float = LIMIT_S,
) -> list[Done]:
    """One run, in processes that end with it.

    Args:
        names: the parties.
        task: what each runs: ``task(session, clock, *arguments)``, a function at the top of a module.
        arguments: for each party, what it gets besides; it travels by pickle to the new process.
        protocol: the operator's name, for error messages.
        links: ``mesh`` connects every two parties; ``star`` connects the first with each other one.
        cores: for each party the core that its process is pinned to, or None; none is pinned by default.
        limit_s: after how many seconds of silence a party counts as hung.

    Returns:
        What each party has to tell, in the order of `names`. SystemExit where a process ends early or is silent.
    """
    root = authority()
    processes = Processes()
    wait_s = 0.0
    try:
        pipes = []
        for name, more, core in zip(names, arguments, cores or [None] * len(names), strict=True):
            own = (tuple(names), name, links, protocol, credentials(root, name), core, limit_s)
            pipes.append(processes.start(_party, *own, task, more))
        addresses = dict(zip(names, [told(pipe, _START_S) for pipe in pipes], strict=True))
        for pipe in pipes:
            pipe.send(addresses)
        while True:
            words = [told(pipe, limit_s) for pipe in pipes]
            dones = [word for word in words if isinstance(word, Done)]
            if len(dones) == len(pipes):
                break
            if dones:
                raise SystemExit("the parties of the benchmark do not measure the same sections")
            for pipe in pipes:
                pipe.send("go")
        for pipe in pipes:
            pipe.send("end")
        wait_s = 10.0
    finally:
        processes.end(wait_s)
    return dones


def _party(
    pipe: Pipe,
    names: tuple[str, ...],
    me: str,
    links: Links,
    protocol: str,
    mine: transport.Credentials,
    core: int | None,
    limit_s: float,
    task: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    """One party: it dials those behind it in the list, and those before it dial it; in a star, all dial the first."""
    pin(core)
    lanes: queue.Queue[transport.LinkLane] = queue.Queue()
    over = threading.Event()

    def serve(accepted: transport.Accepted) -> None:
        lanes.put(accepted.lane)
        over.wait()

    place = names.index(me)
    if links == "mesh":
        dialled, awaited = names[place + 1 :], place
    else:
        dialled, awaited = (names[:1], 0) if place else ((), len(names) - 1)
    with transport.Listener("127.0.0.1:0", serve, me=me, credentials=mine, streams=4 * len(names) + 4) as listener:
        pipe.send(listener.address)
        addresses: dict[str, str] = pipe.recv()
        calls = [
            transport.connect(addresses[name], me=me, peer=name, hello=hello("run"), credentials=mine)
            for name in dialled
        ]
        try:
            found = [call.lane for call in calls] + [lanes.get(timeout=_START_S) for _ in range(awaited)]
            channels = {
                lane.peer: Channel(lane, protocol=protocol, timeout_s=limit_s, send_timeout_s=limit_s) for lane in found
            }
            session = Session(me, channels, Rng())
            clock = Clock(session, pipe)
            result = task(session, clock, *arguments)
            pipe.send(Done(clock.sections, own_use().rss_mb, result))
            pipe.recv()
        finally:
            over.set()
            for call in calls:
                call.close("over")


def hello(run: str) -> transport.Hello:
    """What both ends of a run say first."""
    return transport.Hello(run, "benchmark", 1, "", hashlib.sha256(run.encode()).digest())


def pin(core: int | None) -> None:
    """Keep this process on a core; None leaves it free."""
    if core is not None:
        os.sched_setaffinity(0, {core})


class Processes:
    """The processes of one run, each with a pipe; none outlives the run."""

    def __init__(self) -> None:
        os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # as a node's workers have it: unseen/node/workers.py
        self._spawn: SpawnContext = multiprocessing.get_context("spawn")  # gRPC's threads do not survive a fork
        self._started: list[SpawnProcess] = []

    def start(self, target: Callable[..., None], *arguments: object) -> Pipe:
        """Starts a process that runs `target`, its pipe first; returns this end of the pipe."""
        here, there = self._spawn.Pipe()
        process = self._spawn.Process(target=target, args=(there, *arguments), daemon=True)
        process.start()
        there.close()
        self._started.append(process)
        return here

    def end(self, wait_s: float = 10.0) -> None:
        """Waits for those that end, and ends the others."""
        for process in self._started:
            process.join(wait_s)
            process.kill()


def told(pipe: Pipe, timeout_s: float) -> object:
    """What a process has to tell; SystemExit where it is silent for too long or has ended."""
    if not pipe.poll(timeout_s):
        raise SystemExit("a process of the benchmark has not answered in time")
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        raise SystemExit("a process of the benchmark has failed; it says why above") from None
