"""Talking with many parties at once, some of which drop out: what one that collects a sum needs of its channels."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import numpy as np

from mpc.channel import Channel
from mpc.errors import ChannelError, UsageError
from mpc.session import Progress, Session
from mpc.wire.aggregation.v1 import aggregation_pb2 as wire
from protocols.aggregation.vector import PIECE, Aggregate, Layout, Words

T = TypeVar("T")


class Crowd:
    """The channels to all parties of a sum, and who is gone.

    A party whose channel fails, or that is silent for longer than its channel allows, has dropped out: the run goes on
    without it. A party that breaks the protocol ends the run.
    """

    def __init__(self, session: Session, names: Iterable[str], *, stage: str) -> None:
        self._session = session
        self._stage = stage
        wanted = sorted(names)
        if len(set(wanted)) != len(wanted):
            raise UsageError("A party is named twice: each adds one array to a sum.")
        self._channels = {name: session.channel(name) for name in wanted}
        self._gone: dict[str, str] = {}

    @property
    def gone(self) -> Mapping[str, str]:
        """Who has dropped out, and why."""
        return self._gone

    @property
    def present(self) -> tuple[str, ...]:
        """Who has not, sorted."""
        return tuple(name for name in self._channels if name not in self._gone)

    def channel(self, name: str) -> Channel:
        """The channel to a party."""
        return self._channels[name]

    def drop(self, name: str, reason: str) -> None:
        """Go on without a party."""
        self._gone.setdefault(name, reason)
        self._channels[name].close(reason)

    def ask(
        self, step: str, names: Iterable[str], talk: Callable[[Channel], T], *, at_once: int | None = None
    ) -> dict[str, T]:
        """What `talk` returns for each of the named that do not drop out; it runs in a thread for each.

        Args:
            step: what this is, for progress.
            names: whom to talk to.
            talk: sends and receives.
            at_once: how many conversations run at the same time; all by default.

        Raises:
            The first error that is not a channel's. All channels are closed then.
        """
        wanted = [name for name in names if name not in self._gone]
        results: dict[str, T] = {}
        if not wanted:
            return results
        with ThreadPoolExecutor(at_once or len(wanted), thread_name_prefix=self._stage) as pool:
            # In the caller's context each, so that what follows the caller about (a simulated clock) is in all threads.
            futures = {pool.submit(contextvars.copy_context().run, talk, self._channels[name]): name for name in wanted}
            failure: BaseException | None = None
            for done, future in enumerate(as_completed(futures), 1):
                name = futures[future]
                try:
                    results[name] = future.result()
                except ChannelError as error:
                    self.drop(name, str(error))
                except BaseException as error:
                    if failure is None:
                        failure = error
                        self._session.close(f"a sum over many parties broke off ({type(error).__name__})")
                self._session.progress(Progress(f"{self._stage}: {step}", done, len(wanted)))
        if failure is not None:
            raise failure
        return {name: results[name] for name in wanted if name in results}

    def refuse(self, left: int, needed: int) -> None:
        """Tell everybody that too few are left."""
        self.ask("end", self.present, lambda channel: channel.send(wire.TooFew(left=left, needed=needed)))

    def close(self, reason: str) -> None:
        """End all conversations."""
        for channel in self._channels.values():
            channel.close(reason)


def send_words(channel: Channel, size: int, words: Callable[[int, int], Words]) -> None:
    """Send an array piece by piece: `words(start, stop)` makes each when its turn has come."""
    for start in range(0, max(size, 1), PIECE):
        channel.send(wire.Piece(first=start), words(start, min(start + PIECE, size)))


def receive_words(channel: Channel, size: int, take: Callable[[int, Words], object]) -> None:
    """Receive an array of `size` words; `take(start, words)` gets each piece."""
    for start in range(0, max(size, 1), PIECE):
        header, words = channel.recv(wire.Piece)
        piece = min(PIECE, size - start)
        channel.require(header.first == start and len(words) == piece, f"{piece} words from word {start} on")
        take(start, words)


def copying(array: Words) -> Callable[[int, Words], None]:
    """What puts pieces into their places in an array."""

    def take(start: int, words: Words) -> None:
        array[start : start + len(words)] = words

    return take


def add(total: Words, start: int, words: Words) -> None:
    """Add a piece to a total, in place."""
    part = total[start : start + len(words)]
    np.add(part, words, out=part)


def read_arrays(crowd: Crowd, names: Iterable[str], total: Words, *, at_once: int) -> tuple[str, ...]:
    """Give each party its turn and add up the arrays; returns whose are in the total, sorted.

    An array counts when it is whole, and then for good: what a party has sent that drops out midway does not.
    """
    lock = threading.Lock()
    wanted = tuple(names)

    def read(channel: Channel) -> None:
        array = np.empty_like(total)
        channel.send(wire.Turn(parties=len(wanted)))
        receive_words(channel, len(total), copying(array))
        with lock:
            add(total, 0, array)

    return tuple(sorted(crowd.ask("receive", wanted, read, at_once=at_once)))


def send_total(
    crowd: Crowd,
    layout: Layout,
    total: Words,
    survivors: Iterable[str],
    counted: tuple[str, ...],
    joined: Iterable[str],
    *,
    tells: Callable[[str], bool],
) -> Aggregate:
    """The last step of who collects: say who is in the sum, and the sum to whom `tells` says. Spends `total`."""
    lost = {name: crowd.gone.get(name, "") for name in joined if name not in counted}
    closed = wire.Closed(survivors=counted, dropped=sorted(lost))

    def send(channel: Channel) -> None:
        channel.send(closed)
        if tells(channel.peer):
            send_words(channel, len(total), lambda start, stop: total[start:stop])

    crowd.ask("result", survivors, send)
    values, weights = layout.decode(total)
    return Aggregate(values, weights, counted, lost)


def receive_total(channel: Channel, layout: Layout, closed: wire.Closed) -> Aggregate:
    """The last step of a party that is told the sum."""
    total = np.empty(layout.words, dtype=np.uint64)
    receive_words(channel, layout.words, copying(total))
    values, weights = layout.decode(total)
    return Aggregate(values, weights, tuple(closed.survivors), dict.fromkeys(closed.dropped, ""))
