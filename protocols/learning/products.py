"""Products of the parties' matrices with shared vectors, those of all owners at once.

Each owner p has a matrix M_p that never leaves it, prepared once (``matvec.prepare``); vectors v_p are shared between
the computing parties. One call gives, for all owners, M_p·v_p, or M_pᵀ·v_p, as pieces that add up among those who
compute (``Computation.from_pieces``).

    1  v_p goes to pieces that add up: two of them, one of the owner's own if it computes (``Computation.piece``)
    2  whoever has another piece multiplies it by M_p with the owner (``protocols.matvec``); the owner's own is local
    3  an owner who does not compute gives its share of the result to the first of those who multiplied with it

Each owner's products run in a thread of their own, on channels of their own.

Security: of protocols.matvec and of the engine: owners see ciphertexts, the others masked results. In step 3 a share
          goes to a party that has one other share, which together are as random as one, the last one being elsewhere.
Leaks:    to all the matrices' shapes and the bound on their entries.
Cost:     for an owner that computes, a product of protocols.matvec; for another one two, and 8 bytes for each number.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.channel import Channel
from mpc.errors import ChannelError
from mpc.rng import Rng
from protocols import matvec
from protocols.arithmetic import Computation, InputParty, Shared, pieces
from protocols.matvec import ideal

Words = NDArray[np.uint64]
Shape = tuple[int, int]
Method = Literal["rlwe", "ideal"]
T = TypeVar("T")


@dataclass(frozen=True)
class Products:
    """One party's end of the products.

    Attributes:
        run: of this party.
        shapes: (rows, columns) of each owner's matrix; in an order that is the same everywhere.
        bits: bits of a signed entry, as ``matvec.prepare`` takes them; the same for all matrices.
        method: ``rlwe``; or ``ideal``, in the clear, for tests of what stands on this.
    """

    run: Computation | InputParty
    shapes: Mapping[str, Shape]
    bits: int
    method: Method
    _channels: Mapping[str, Mapping[str, Channel]] = field(repr=False)
    _key: matvec.Key = field(repr=False)

    def forward(self, mine: matvec.Prepared | None, vectors: Mapping[str, Shared] | None) -> dict[str, Words]:
        """M_p·v_p of all owners. All parties call it.

        Args:
            mine: this party's matrix; None where it has none.
            vectors: by owner (columns,) numbers; None at a party that does not compute.

        Returns:
            By owner this party's piece, (rows,) uint64, of words with as many fractional bits as matrix and vector have
            together; zeros where it has no part in it. Nothing at a party that does not compute.
        """
        return self._multiply(mine, vectors, transpose=False)

    def back(self, mine: matvec.Prepared | None, vectors: Mapping[str, Shared] | None) -> dict[str, Words]:
        """M_pᵀ·v_p of all owners, as ``forward``; vectors are (rows,), pieces (columns,)."""
        return self._multiply(mine, vectors, transpose=True)

    def of(self, shapes: Mapping[str, Shape]) -> Products:
        """The same for other matrices of the same owners."""
        return replace(self, shapes=dict(shapes))

    def _multiply(
        self, mine: matvec.Prepared | None, vectors: Mapping[str, Shared] | None, *, transpose: bool
    ) -> dict[str, Words]:
        run, me = self.run, self.run.session.me
        given: dict[str, Words | None] = {}
        if isinstance(run, Computation) and vectors is not None:
            given = {owner: run.piece(vectors[owner], to=owner) for owner in self.shapes}  # 1
        tasks: dict[str, Callable[[], Words]] = {}
        for owner in self.shapes:
            rng = run.session.rng.fork()
            if owner == me and mine is not None:
                tasks[owner] = self._holding(mine, given.get(owner), transpose=transpose, rng=rng)
            elif given.get(owner) is not None:
                tasks[owner] = self._giving(owner, given[owner], transpose=transpose, rng=rng)
        done = all_at_once(tasks, [channel for ends in self._channels.values() for channel in ends.values()])
        if not isinstance(run, Computation):
            return {}
        nothing = {o: np.zeros(shape[1 if transpose else 0], dtype=np.uint64) for o, shape in self.shapes.items()}
        return {owner: done.get(owner, nothing[owner]) for owner in self.shapes}

    def _holding(self, matrix: matvec.Prepared, own: Words | None, *, transpose: bool, rng: Rng) -> Callable[[], Words]:
        """The owner's end: steps 2 and 3."""
        me = self.run.session.me
        channels = list(self._channels[me].values())
        holder = ideal.holder if self.method == "ideal" else matvec.holder

        def run() -> Words:
            if own is not None and channels:
                return holder(channels[0], matrix, transpose=transpose, mine=own, rng=rng)  # 2
            if own is not None:
                alone = np.zeros((matrix.shape[1 if transpose else 0], 1), dtype=np.uint64)
                matrix.times(own[:, None], alone, transpose=transpose)
                return alone[:, 0].copy()
            tasks = {
                channel.peer: _holder_of(holder, channel, matrix, transpose=transpose, rng=rng.fork())
                for channel in channels
            }
            share = total(list(all_at_once(tasks, channels).values()))
            pieces.send(channels[0], share[None])  # 3
            return np.zeros_like(share)

        return run

    def _giving(self, owner: str, piece: Words | None, *, transpose: bool, rng: Rng) -> Callable[[], Words]:
        """The end of a party that has a piece of the vector: steps 2 and 3."""
        channel = self._channels[owner][owner]
        rows, cols = self.shapes[owner]
        first = _givers(self.run, owner)[0] == self.run.session.me

        def run() -> Words:
            v = np.zeros(0, np.uint64) if piece is None else piece
            vector = ideal.vector if self.method == "ideal" else matvec.vector
            share = vector(
                channel, v, rows=rows, cols=cols, transpose=transpose, bits=self.bits, key=self._key, rng=rng
            )  # 2
            if first:  # an owner that computed would be the first itself
                share += pieces.receive(channel, 1, share.shape)[0]  # 3
            return share

        return run


def start(
    run: Computation | InputParty, shapes: Mapping[str, Shape], *, bits: int, method: Method = "rlwe"
) -> Products:
    """Open this party's end. All parties that take part in `run` call it, with the same.

    Args:
        run: of this party.
        shapes: (rows, columns) of each owner's matrix, in an order that is the same everywhere.
        bits: of a signed entry of the matrices.
        method: ``rlwe``, or ``ideal`` for tests.
    """
    session, me = run.session, run.session.me
    channels: dict[str, dict[str, Channel]] = {}
    for owner in shapes:
        givers = [name for name in _givers(run, owner) if name != owner]
        peers = givers if owner == me else [owner] if me in givers else []
        channels[owner] = {peer: session.channel(peer).fork(f"products of {owner}") for peer in peers}
    return Products(run, dict(shapes), bits, method, channels, matvec.key(session.rng))


def total(pieces_: Sequence[Words]) -> Words:
    """The sum of arrays of words, of one shape, modulo 2^64."""
    words: Words = np.sum(list(pieces_), axis=0, dtype=np.uint64)
    return words


def _givers(run: Computation | InputParty, owner: str) -> tuple[str, ...]:
    scheme = run.context.engine.scheme if isinstance(run, Computation) else run.scheme
    return scheme.givers(run.compute, owner)


def _holder_of(
    holder: Callable[..., Words], channel: Channel, matrix: matvec.Prepared, *, transpose: bool, rng: Rng
) -> Callable[[], Words]:
    return lambda: holder(channel, matrix, transpose=transpose, rng=rng)


def all_at_once(tasks: Mapping[str, Callable[[], T]], channels: Sequence[Channel]) -> dict[str, T]:
    """What the tasks return, each run in a thread; where one fails all channels close, and its error is raised."""
    if len(tasks) <= 1:
        return {name: task() for name, task in tasks.items()}
    with ThreadPoolExecutor(len(tasks), thread_name_prefix="products") as pool:
        runs: dict[str, Future[T]] = {
            name: pool.submit(contextvars.copy_context().run, task) for name, task in tasks.items()
        }
        wait(runs.values(), return_when="FIRST_EXCEPTION")
        if any(run.done() and run.exception() for run in runs.values()):
            for channel in channels:
                channel.close("a product with another party broke off")
            wait(runs.values())
            errors = [error for run in runs.values() if (error := run.exception())]
            raise next((error for error in errors if not isinstance(error, ChannelError)), errors[0])
        return {name: run.result() for name, run in runs.items()}
