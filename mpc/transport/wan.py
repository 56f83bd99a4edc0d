"""Lanes over a simulated wide-area network with a virtual clock: what a protocol would take between distant parties.

    network = Network(Line(latency_s=0.02, bytes_per_s=12.5e6))
    results = run_parties({...}, connect=network.mesh)
    print(network.report())

Nothing sleeps: bytes go through memory at once, and time is only reckoned. A chunk leaves when its lane has sent what
came before, takes its size divided by the bandwidth to go, and arrives the latency later; who reads it has, from then
on, at least that time. So what decides when a thread sends is what it has read, not how the machine schedules threads,
and equal runs report equal seconds. Two limits: forks of a channel that run in parallel are reckoned as if each had the
line for itself (the report never claims less than all bytes of a direction need), and a lane that is used while its
forks are still running takes over how far they have come, which depends on the scheduler.

A thread's time is a context variable. A thread that does not inherit its parent's context starts with the time at which
its lane was forked; ``Channel.exchange`` hands its context on.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import combinations, count

from mpc.channel import Buffer
from mpc.errors import UsageError
from mpc.transport.local import LocalLane, checked_size, pair

_STAMP = struct.Struct("<dQ")  # when the next chunk arrives, seconds; how many messages led to it, itself included


@dataclass(frozen=True)
class Line:
    """One direction between two parties.

    Attributes:
        latency_s: from the last bit's leaving to its arrival, seconds: half a round trip.
        bytes_per_s: bandwidth, bytes per second; infinite by default.
    """

    latency_s: float
    bytes_per_s: float = float("inf")

    def __post_init__(self) -> None:
        if not (0 <= self.latency_s < float("inf") and self.bytes_per_s > 0):
            raise UsageError("A line has a latency of at least 0 s and a bandwidth above 0 bytes per second.")


@dataclass(frozen=True)
class Sent:
    """What went in one direction: message bytes and the number of messages."""

    bytes: int = 0
    messages: int = 0


@dataclass(frozen=True)
class Report:
    """What a run took.

    Attributes:
        seconds: virtual time until the last message had been read, seconds.
        rounds: messages in the longest chain in which each was sent after the one before it had been read.
        sent: by (sender, receiver).
    """

    seconds: float
    rounds: int
    sent: Mapping[tuple[str, str], Sent]

    @property
    def bytes(self) -> int:
        """Message bytes in all directions."""
        return sum(s.bytes for s in self.sent.values())


@dataclass(frozen=True)
class _Moment:
    """How far a thread of one party has come."""

    seconds: float = 0.0
    depth: int = 0  # messages in the chain that led here
    thread: int = 0
    computed_s: float = 0.0  # processor time of that thread up to here


_numbers = count()
_moments: ContextVar[Mapping[tuple[int, str], _Moment]] = ContextVar("moments", default={})  # noqa: B039, never changed


class Network:
    """A network between parties, and its clock.

    Args:
        line: what every direction is like.
        lines: other lines, by (sender, receiver).
        compute: whether a thread's processor time between two of its operations counts too. The seconds then differ
            from run to run, work that kernels do in threads of their own is missing, and a party should have a thread
            of its own, as in ``run_parties``.
    """

    def __init__(
        self, line: Line, *, lines: Mapping[tuple[str, str], Line] | None = None, compute: bool = False
    ) -> None:
        self._number = next(_numbers)
        self._line = line
        self._lines = dict(lines or {})
        self._compute = compute
        self._maker = threading.get_ident()
        self._lock = threading.Lock()
        self._sent: dict[tuple[str, str], Sent] = {}
        self._seconds = 0.0
        self._rounds = 0

    def mesh(self, parties: Sequence[str]) -> dict[tuple[str, str], WanLane]:
        """A connected pair for every two parties, by (holder, peer)."""
        lanes = {}
        for a, b in combinations(parties, 2):
            of_a, of_b = pair(a, b)
            lanes[a, b], lanes[b, a] = WanLane(self, of_a, _Moment()), WanLane(self, of_b, _Moment())
        return lanes

    def report(self) -> Report:
        """What has happened so far; meant for after the run."""
        with self._lock:
            floor = [
                self._line_of(*ends).latency_s + sent.bytes / self._line_of(*ends).bytes_per_s
                for ends, sent in self._sent.items()
            ]
            return Report(max([self._seconds, *floor]), self._rounds, dict(self._sent))

    def _line_of(self, sender: str, receiver: str) -> Line:
        return self._lines.get((sender, receiver), self._line)

    def _now(self, party: str, lane: _Moment) -> _Moment:
        """How far the calling thread has come, having waited for what happened on its lane's forks."""
        known = _moments.get().get((self._number, party))
        moment = known or lane
        seconds, depth = max(moment.seconds, lane.seconds), max(moment.depth, lane.depth)
        thread, computed_s = threading.get_ident(), 0.0
        if self._compute:
            computed_s = time.thread_time()
            if known is not None and known.thread == thread:
                seconds += computed_s - known.computed_s
            elif thread != self._maker:
                seconds += computed_s
        return _Moment(seconds, depth, thread, computed_s)

    def _knows(self, party: str) -> bool:
        """Whether the calling thread has acted for `party` before."""
        return (self._number, party) in _moments.get()

    def _set(self, party: str, moment: _Moment) -> None:
        _moments.set({**_moments.get(), (self._number, party): moment})
        with self._lock:
            self._seconds = max(self._seconds, moment.seconds)
            self._rounds = max(self._rounds, moment.depth)

    def _count(self, sender: str, receiver: str, size: int, *, last: bool) -> None:
        with self._lock:
            sent = self._sent.get((sender, receiver), Sent())
            self._sent[sender, receiver] = Sent(sent.bytes + size, sent.messages + last)


class WanLane:
    """One end of a lane over a ``Network``. See ``mpc.channel.Lane``."""

    def __init__(self, network: Network, lane: LocalLane, born: _Moment) -> None:
        self._network = network
        self._lane = lane
        self._born = born  # when it was forked
        self._reached = born
        self._free_s = 0.0  # when the line has taken what was written before
        self._forks: list[WanLane] = []

    @property
    def me(self) -> str:
        """This party's name."""
        return self._lane.me

    @property
    def peer(self) -> str:
        """The peer's name."""
        return self._lane.peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        """Send one chunk. `timeout_s` is real time, not virtual."""
        line = self._network._line_of(self.me, self.peer)
        size = checked_size(buffers)
        now = self._arrive()
        self._free_s = max(now.seconds, self._free_s) + size / line.bytes_per_s
        self._network._set(self.me, now)
        self._network._count(self.me, self.peer, size, last=last)
        stamp = _STAMP.pack(self._free_s + line.latency_s, now.depth + 1)
        self._lane.write([stamp], last=False, timeout_s=timeout_s)
        self._lane.write(buffers, last=last, timeout_s=timeout_s)

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        """The next chunk and whether it ends its message. `timeout_s` is real time, not virtual."""
        stamp, _ = self._lane.read(timeout_s=timeout_s)
        arrival_s, depth = _STAMP.unpack(stamp)
        chunk, last = self._lane.read(timeout_s=timeout_s)
        now = self._arrive()
        self._reached = _Moment(max(now.seconds, arrival_s), max(now.depth, depth), now.thread, now.computed_s)
        self._network._set(self.me, self._reached)
        return chunk, last

    def fork(self, label: str) -> WanLane:
        """The lane below this one that the peer opens by the same label."""
        # A thread that forks as the first thing it does was started for that: it owes nothing to the other forks.
        now = self._arrive() if self._network._knows(self.me) else self._network._now(self.me, self._born)
        self._network._set(self.me, now)
        fork = WanLane(self._network, self._lane.fork(label), now)
        self._forks.append(fork)
        return fork

    def close(self, reason: str = "") -> None:
        """End this lane and those forked from it."""
        self._lane.close(reason)

    def _arrive(self) -> _Moment:
        return self._network._now(self.me, self._latest(self._born))

    def _latest(self, moment: _Moment) -> _Moment:
        """How far the forks have come that were read from, at least `moment`."""
        for fork in self._forks:
            reached = fork._latest(fork._reached)
            moment = _Moment(max(moment.seconds, reached.seconds), max(moment.depth, reached.depth))
        return moment
