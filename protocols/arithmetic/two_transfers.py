"""Correlated transfers of random choices in both directions, made in bulk and taken as they are needed.

Each party is the sender in one direction and the receiver in the other. A direction has one extension, set up when it
is first needed, and numbers its transfers: the number is the tweak under which the transfer is hashed.
A long computation names beforehand what it will take; then the transfers of one piece are made, in a thread and a lane
of each direction, while the piece before it is worked on.

Security: of protocols.ot (semi-honest).
Leaks:    nothing but how many.
Cost:     of protocols.ot: with "softspoken" 16 / FIELD_BITS bytes a transfer, from its receiver; with "silent" next to
          none. Small demands are met from a stock, which is filled up by twice as many each time, up to STOCK.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.kernels import ot
from mpc.rng import Rng
from mpc.suite import Suite
from protocols.ot import choices, extension, silent
from protocols.ot.method import FieldBits, Method

FIELD_BITS: FieldBits = 4
"""k of SoftSpoken: 4 bytes a transfer."""

STOCK = {"softspoken": 1 << 16, "silent": 1 << 20}
"""Most transfers that are made at a time for small demands."""

_FIRST_STOCK = 1 << 12
_FIRST_NUMBER = 1 << 57  # silent transfers hash what they are made of under the same offset, with tweaks of 56 bits
BLOCK_BYTES = 16


@dataclass(frozen=True)
class Sent:
    """Transfers of which this party is the sender.

    Attributes:
        delta: (16,), the offset.
        k: (n, 16), the messages for choice 0.
        tweak: number of the first.
    """

    delta: NDArray[np.uint8] = field(repr=False)
    k: NDArray[np.uint8] = field(repr=False)
    tweak: int

    def part(self, start: int, stop: int) -> Sent:
        """Those from `start` on, before `stop`."""
        return Sent(self.delta, self.k[start:stop], self.tweak + start)

    def __len__(self) -> int:
        return len(self.k)


@dataclass(frozen=True)
class Received:
    """Transfers of which this party is the receiver.

    Attributes:
        choices: (n / 8,) uint8, the random choices, packed; the first in the lowest bit.
        t: (n, 16), the chosen messages.
        tweak: number of the first.
    """

    choices: NDArray[np.uint8] = field(repr=False)
    t: NDArray[np.uint8] = field(repr=False)
    tweak: int

    def part(self, start: int, stop: int) -> Received:
        """Those from `start` on, before `stop`: multiples of 64."""
        return Received(self.choices[start // 8 : stop // 8], self.t[start:stop], self.tweak + start)

    def __len__(self) -> int:
        return len(self.t)


Made = TypeVar("Made", Sent, Received)


class _Stock(Generic[Made]):
    """One direction: what is left of its transfers, and more of them when that does not suffice."""

    def __init__(self, channel: Channel, make: Callable[[int, int], Made], most: int) -> None:
        self.channel = channel
        self._make: Callable[[int, int], Made] = make
        self._most = most
        self._next = _FIRST_STOCK
        self._made = _FIRST_NUMBER
        self._left: Made | None = None

    def make(self, n: int) -> Made:
        """`n` new transfers."""
        whole = -(-n // ot.COLUMNS) * ot.COLUMNS
        tweak, self._made = self._made, self._made + whole
        return self._make(whole, tweak).part(0, n)

    def take(self, n: int) -> Made:
        """`n` transfers, a multiple of 64. What is left and does not suffice is lost, but for a large demand."""
        left = self._left
        if left is None or len(left) < n:
            if not n or n > self._most:
                return self.make(n)
            while self._next < n:
                self._next *= 2
            left = self.make(self._next)
            self._next = min(2 * self._next, self._most)
        self._left = left.part(n, len(left))
        return left.part(0, n)


class Transfers:
    """Both directions of one party.

    Args:
        channel: to the other party; for itself alone, or with `lane` for others too that run at other times.
        lane: a label that no other lane of this channel has, for the lanes of long computations.
        first: whether this party is the first of the two. The direction in which the first sends comes first.
        suite: of the base transfers.
        rng: this party's randomness.
        method: how transfers are made.
    """

    def __init__(self, channel: Channel, *, lane: str, first: bool, suite: Suite, rng: Rng, method: Method) -> None:
        self._first = first
        forward, backward = (channel.fork(f"{lane} {name}") for name in ("forward", "backward"))
        outward, inward = (forward, backward) if first else (backward, forward)
        self._sent = _Stock(outward, _sender(outward, suite, rng.fork(), method), STOCK[method])
        self._received = _Stock(inward, _receiver(inward, suite, rng.fork(), method), STOCK[method])

    def take(self, sent: int, received: int) -> tuple[Sent, Received]:
        """Transfers for one step: how many this party sends and how many it receives, multiples of 64."""
        if self._first:
            return self._sent.take(sent), self._received.take(received)
        got = self._received.take(received)
        return self._sent.take(sent), got

    def batches(self, demands: Sequence[tuple[int, int]]) -> Generator[tuple[Sent, Received], None, None]:
        """Transfers for several steps, as `take` gives them. Those of the next are made while one is worked on.

        Finish with the iterator, or close it, before taking more.
        """
        if len(demands) < 2:
            for sent, received in demands:
                yield self.take(sent, received)
            return
        with (
            contextlib.closing(_Ahead(self._sent, [sent for sent, _ in demands])) as sent_ahead,
            contextlib.closing(_Ahead(self._received, [received for _, received in demands])) as received_ahead,
        ):
            for _ in demands:
                yield sent_ahead.take(), received_ahead.take()
                sent_ahead.release()
                received_ahead.release()


class _Ahead(Generic[Made]):
    """Pieces of so many transfers, each made by a thread while the one before is in use."""

    def __init__(self, stock: _Stock[Made], counts: Sequence[int]) -> None:
        self._channel = stock.channel
        self._due = len(counts)
        self._room = threading.Semaphore(2)  # one in use, one waiting or in the making
        self._stopped = threading.Event()
        self._made: queue.Queue[Made | BaseException] = queue.Queue()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._work, stock, counts), name="transfers ahead", daemon=True
        )
        self._thread.start()

    def _work(self, stock: _Stock[Made], counts: Sequence[int]) -> None:
        try:
            for n in counts:
                self._room.acquire()
                if self._stopped.is_set():
                    return
                self._made.put(stock.make(n))
        except BaseException as error:
            self._made.put(error)

    def take(self) -> Made:
        """The next piece, in use from now on."""
        piece = self._made.get()
        if isinstance(piece, BaseException):
            raise piece
        self._due -= 1
        return piece

    def release(self) -> None:
        """The piece is no longer in use."""
        self._room.release()

    def close(self) -> None:
        """End the thread. Where pieces are still due, the computation broke off, and so does their lane."""
        if self._due:
            self._stopped.set()
            self.release()
            self._channel.close("a computation broke off")
        self._thread.join()


def _sender(channel: Channel, suite: Suite, rng: Rng, method: Method) -> Callable[[int, int], Sent]:
    """What makes transfers of which this party is the sender, all of one offset."""
    started: list[extension.Sender] = []

    def make(n: int, tweak: int) -> Sent:
        if not n:
            return Sent(np.zeros(BLOCK_BYTES, np.uint8), np.empty((0, BLOCK_BYTES), np.uint8), tweak)
        if not started:
            delta = rng.uint8(BLOCK_BYTES)
            delta[0] |= 1  # as silent transfers want it
            started.append(extension.start_send(channel, suite=suite, rng=rng, k=FIELD_BITS, delta=delta))
        if method == "silent":
            made = silent.send(channel, n, suite=suite, rng=rng, extender=started[0])
        else:
            made = extension.extend_send(channel, started[0], n, rng=rng)
        return Sent(made.delta, made.k, tweak)

    return make


def _receiver(channel: Channel, suite: Suite, rng: Rng, method: Method) -> Callable[[int, int], Received]:
    """What makes transfers of which this party is the receiver."""
    started: list[extension.Receiver] = []

    def make(n: int, tweak: int) -> Received:
        if not n:
            return Received(np.empty(0, np.uint8), np.empty((0, BLOCK_BYTES), np.uint8), tweak)
        if not started:
            started.append(extension.start_receive(channel, suite=suite, rng=rng, k=FIELD_BITS))
        if method == "silent":
            made = silent.receive(channel, n, suite=suite, rng=rng, extender=started[0])
        else:
            made = extension.extend_receive(channel, started[0], choices.random(rng, n), rng=rng)
        return Received(np.packbits(made.choices, bitorder="little"), made.t, tweak)

    return make
