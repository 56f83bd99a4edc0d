"""Lanes in memory, between threads of one process: for tests, notebooks and small experiments."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import combinations

from mpc.channel import CHUNK_BYTES, Buffer
from mpc.errors import ChannelClosed, ChannelTimeout, UsageError

QUEUE_BYTES = 64 << 20
"""How much may lie unread in one direction of one lane before the writer waits."""


def checked_size(buffers: Sequence[Buffer]) -> int:
    """Size of a chunk in bytes; UsageError where it is larger than a lane carries."""
    size = sum(len(b) for b in buffers)
    if size > CHUNK_BYTES:
        raise UsageError(f"A chunk has at most {CHUNK_BYTES} bytes, this one {size}: cut it.")
    return size


def checked_label(label: str) -> str:
    """The label of a fork; UsageError where it could be taken for a path."""
    if not label or "/" in label:
        raise UsageError(f"A lane's label is not empty and has no slash; {label!r} does not do: choose another.")
    return label


def ended_by(party: str, reason: str) -> str:
    """The text with which operations on a lane fail after `party` has closed it; `reason` may come from a peer."""
    plain = "".join(c if c.isprintable() else " " for c in reason)
    return f"{party} ended the conversation" + (f": {plain}" if plain else "")


class _Pipe:
    """One direction of one lane."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.chunks: deque[tuple[bytes, bool]] = deque()
        self.held = 0
        self.closed: str | None = None

    def put(self, chunk: bytes, *, last: bool, timeout_s: float | None) -> None:
        with self.changed:
            while self.held >= QUEUE_BYTES and self.closed is None:
                if not self.changed.wait(timeout_s):  # a reader that takes something renews the time
                    raise ChannelTimeout(f"nothing was taken for {timeout_s:g} s")
            if self.closed is not None:
                raise ChannelClosed(self.closed)
            self.chunks.append((chunk, last))
            self.held += len(chunk)
            self.changed.notify_all()

    def get(self, timeout_s: float | None) -> tuple[bytes, bool]:
        with self.changed:
            ready = self.changed.wait_for(lambda: self.chunks or self.closed is not None, timeout_s)
            if self.chunks:  # what was sent before the end is still delivered
                chunk, last = self.chunks.popleft()
                self.held -= len(chunk)
                self.changed.notify_all()
                return chunk, last
            if not ready:
                raise ChannelTimeout(f"nothing arrived for {timeout_s:g} s")
            raise ChannelClosed(self.closed or "")

    def close(self, reason: str) -> None:
        with self.changed:
            if self.closed is None:
                self.closed = reason
            self.changed.notify_all()


class _Link:
    """What two ends share: the pipes of all lanes, by label path and direction."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pipes: dict[tuple[str, str], _Pipe] = {}
        self.closed: dict[str, str] = {}

    def pipe(self, path: str, writer: str) -> _Pipe:
        with self.lock:
            if (path, writer) not in self.pipes:
                pipe = self.pipes[path, writer] = _Pipe()
                for prefix, reason in self.closed.items():
                    if path.startswith(prefix):
                        pipe.close(reason)
            return self.pipes[path, writer]

    def close(self, path: str, reason: str) -> None:
        with self.lock:
            self.closed.setdefault(path, reason)
            pipes = [pipe for (p, _), pipe in self.pipes.items() if p.startswith(path)]
        for pipe in pipes:
            pipe.close(reason)


class LocalLane:
    """One end of a lane in memory. See ``mpc.channel.Lane``."""

    def __init__(self, link: _Link, me: str, peer: str, path: str = "/") -> None:
        self._link = link
        self._me = me
        self._peer = peer
        self._path = path
        self._out = link.pipe(path, me)
        self._in = link.pipe(path, peer)

    @property
    def me(self) -> str:
        """This party's name."""
        return self._me

    @property
    def peer(self) -> str:
        """The peer's name."""
        return self._peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        """Copy the chunk into the queue; waits while more than QUEUE_BYTES lie unread, and the peer reads."""
        checked_size(buffers)
        self._out.put(b"".join(buffers), last=last, timeout_s=timeout_s)

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        """The next chunk, and whether it ends its message."""
        return self._in.get(timeout_s)

    def fork(self, label: str) -> LocalLane:
        """The lane that the peer's `fork` of the same label opens."""
        return LocalLane(self._link, self._me, self._peer, f"{self._path}{checked_label(label)}/")

    def close(self, reason: str = "") -> None:
        """End this lane and its forks at both ends."""
        self._link.close(self._path, ended_by(self._me, reason))


def pair(a: str, b: str) -> tuple[LocalLane, LocalLane]:
    """Two connected ends: the one that `a` holds and the one that `b` holds."""
    link = _Link()
    return LocalLane(link, a, b), LocalLane(link, b, a)


def mesh(parties: Sequence[str]) -> dict[tuple[str, str], LocalLane]:
    """A connected pair for every two parties, by (holder, peer)."""
    lanes = {}
    for a, b in combinations(parties, 2):
        lanes[a, b], lanes[b, a] = pair(a, b)
    return lanes
