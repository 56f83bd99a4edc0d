"""Run all parties of a protocol in one process, and tamper with what they say: for this library's tests and for yours.

results = run_parties({
    "alice": lambda s: ecdh.receive(s.channel("bob"), mine, suite=SUITE, rng=s.rng),
    "bob": lambda s: ecdh.send(s.channel("alice"), theirs, suite=SUITE, rng=s.rng),
})
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mpc.channel import Buffer, Channel, Lane
from mpc.errors import ChannelClosed, ChannelTimeout, UsageError
from mpc.rng import Rng
from mpc.session import Session
from mpc.transport import local

Connect = Callable[[Sequence[str]], Mapping[tuple[str, str], Lane]]


@dataclass(frozen=True)
class Tamper:
    """Flip one bit of what one party sends to another.

    Attributes:
        message: which message from that party, counted from 0.
        byte: which byte of the message; negative counts from its end.
        bit: which bit of that byte.
    """

    message: int
    byte: int = -1
    bit: int = 0


def run_parties(
    parties: Mapping[str, Callable[[Session], Any]],
    *,
    protocol: str = "test",
    connect: Connect = local.mesh,
    tamper: Mapping[tuple[str, str], Tamper] | None = None,
    seed: bytes | None = None,
    timeout_s: float = 30.0,
) -> dict[str, Any]:
    """Run each party's function in a thread of its own and return what each returned, by name.

    Args:
        parties: by name, a function of the party's ``Session``.
        protocol: operator name for error messages.
        connect: makes the lanes, by (holder, peer); in memory by default.
        tamper: by (sender, receiver), what to change on the way.
        seed: makes every party's randomness reproducible; the operating system's otherwise.
        timeout_s: how long a party may wait for a message or a reader, and how long all may take after the first ended,
            seconds.

    Raises:
        The first error that a party raised of itself; errors that merely follow from another party's end come last.
        ChannelTimeout: a party went on for too long after another had ended.
        UsageError: a message that was to be tampered with never came, so that nothing was tested.
    """
    lanes = dict(connect(tuple(parties)))
    tampered = {
        (sender, receiver): _TamperedLane(lanes[receiver, sender], what)
        for (sender, receiver), what in (tamper or {}).items()
    }
    lanes.update({(receiver, sender): lane for (sender, receiver), lane in tampered.items()})
    results: dict[str, Any] = {}
    failures: list[tuple[str, BaseException]] = []
    lock = threading.Lock()
    ended = threading.Event()

    def run(name: str, function: Callable[[Session], Any]) -> None:
        channels = {
            peer: Channel(lanes[name, peer], protocol=protocol, timeout_s=timeout_s, send_timeout_s=timeout_s)
            for peer in parties
            if peer != name
        }
        rng = Rng() if seed is None else Rng.from_seed(seed + name.encode())
        session = Session(me=name, channels=channels, rng=rng)
        try:
            result = function(session)
            with lock:
                results[name] = result
        except BaseException as error:
            with lock:
                failures.append((name, error))
            session.close(type(error).__name__)
        finally:
            ended.set()

    threads = [threading.Thread(target=run, args=item, name=item[0], daemon=True) for item in parties.items()]
    for thread in threads:
        thread.start()
    ended.wait(timeout=None if threads else 0)
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    late = [thread.name for thread in threads if thread.is_alive()]
    with lock:
        raised = sorted(failures, key=lambda f: isinstance(f[1], (ChannelClosed, ChannelTimeout)))
    for (name, _), lane in lanes.items():
        if name in late:
            lane.close("it took too long")
    if raised:
        name, error = raised[0]
        error.add_note(f"raised by party {name}")
        raise error
    if late:
        raise ChannelTimeout(f"{late[0]} had not ended {timeout_s:g} s after another party had")
    for (sender, receiver), changed in tampered.items():
        if not changed.done:
            raise UsageError(f"{sender} sent {receiver} fewer messages than the Tamper counts: name an earlier one.")
    return results


class _TamperedLane:
    """A lane whose incoming messages pass through a Tamper. The message is gathered whole first: tests are small."""

    def __init__(self, lane: Lane, tamper: Tamper) -> None:
        self._lane = lane
        self._tamper = tamper
        self._next = 0
        self.done = False

    @property
    def me(self) -> str:
        return self._lane.me

    @property
    def peer(self) -> str:
        return self._lane.peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        self._lane.write(buffers, last=last, timeout_s=timeout_s)

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        chunk, last = self._lane.read(timeout_s=timeout_s)
        if self._next == self._tamper.message:
            whole = bytearray(chunk)
            while not last:
                chunk, last = self._lane.read(timeout_s=timeout_s)
                whole += chunk
            if not -len(whole) <= self._tamper.byte < len(whole):
                raise UsageError(f"The message has {len(whole)} bytes; there is no byte {self._tamper.byte} to change.")
            whole[self._tamper.byte] ^= 1 << self._tamper.bit
            chunk = bytes(whole)
            self.done = True
        self._next += last
        return chunk, last

    def fork(self, label: str) -> Lane:
        return self._lane.fork(label)

    def close(self, reason: str = "") -> None:
        self._lane.close(reason)
