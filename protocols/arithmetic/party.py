"""Who takes part in shared arithmetic: parties that compute, and parties that only bring values or take results.

    with arithmetic.three_party(session, compute=("tax", "social", "fund"), suite="intl") as mpc:    # at each of these
        claim = mpc.receive(from_="bank")
        income = mpc.share(my_column).sum_over_parties()
        mpc.reveal(100 * claim <= 110 * income, to="bank")

    with arithmetic.input_party(session, compute=("tax", "social", "fund")) as mpc:                  # at the bank
        mpc.send(claims)
        grades = mpc.obtain()

Security: of the engine, for what is computed. The agreement and the headers of arrays hold no secrets; they make
          parties that run different programs, versions or numbers fail at once, and do not protect against one that
          lies.
Leaks:    shapes, kinds and who brings or learns what, to all who take part. What ``reveal`` opens, to whom it says. A
          party that brings values learns nothing of what they are used for.
Cost:     one small message to each other computing party when it begins and with each array that enters or leaves: a
          round, since nothing is opened before all have said to whom. An array that comes from outside: the scheme's
          components for each computing party, so twice three words for each word with three of them, two with two; one
          that goes outside, as many. Bits are packed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from mpc import fixed
from mpc import suite as suites
from mpc.channel import Channel
from mpc.errors import PeerError, UsageError
from mpc.session import Session
from mpc.suite import Suite
from mpc.wire.arithmetic.v1 import agreement_pb2, input_pb2
from protocols.arithmetic import ideal as clear
from protocols.arithmetic import pieces, three, two
from protocols.arithmetic.engine import Array, Disagreement, Engine, Scheme, Words
from protocols.arithmetic.shared import Context, Kind, Shared, Truncation, public_array, public_words
from protocols.ot.method import Method

VERSION = 1
RING_BITS = 64
MAX_VALUES = 1 << 27
"""Most values in one array that comes in or goes out. Of words each component takes a gibibyte then, which whoever
receives it reserves when it is announced."""

Values = NDArray[Any]

_SCHEMES = {scheme.name: scheme for scheme in (two.SCHEME, three.SCHEME)}
_SHOWN = 64  # characters of what a peer says that an error text repeats


@dataclass(frozen=True)
class Computation:
    """A computing party's end of a run.

    Attributes:
        session: of this party.
        context: of all its shared values; its ``engine`` is the party's engine.
        inputs: names of the parties that take part and do not compute.
    """

    session: Session
    context: Context
    inputs: tuple[str, ...]
    _steps: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def me(self) -> str:
        """This party's name."""
        return self.context.engine.me

    @property
    def compute(self) -> tuple[str, ...]:
        """Names of the computing parties."""
        return self.context.engine.compute

    @overload
    def share(self, values: ArrayLike, *, owner: None = None, fraction: int | None = None) -> Given: ...

    @overload
    def share(self, values: ArrayLike | None, *, owner: str, fraction: int | None = None) -> Shared: ...

    def share(
        self, values: ArrayLike | None, *, owner: str | None = None, fraction: int | None = None
    ) -> Shared | Given:
        """Bring values in. All computing parties call it.

        Args:
            values: integers, real numbers or conditions of any shape; None at those who bring nothing.
            owner: the computing party that brings them; None where each brings its own.
            fraction: fractional bits of real numbers; the run's otherwise.

        Returns:
            The owner's values. Without owner, what each has brought: ``given["tax"]`` or ``given.sum_over_parties()``.

        Raises:
            UsageError: no values from the owner or values from another, NaN, infinity or numbers out of range; more
                than ``MAX_VALUES``.
            PeerError: another party brings values of which there cannot be any, or runs something else.
        """
        if owner is None:
            if values is None:
                raise UsageError("Each computing party brings values: name the owner where only one of them does.")
            plain, header = self._prepared(values, "input", self.compute, fraction)
            return Given(self, plain, self._exchange(header, differ=("kind", "fraction", "shape")))
        if owner not in self.compute:
            raise UsageError(f"{owner!r} does not compute: {owner} calls send, and {', '.join(self.compute)} receive.")
        if (owner == self.me) != (values is not None):
            raise UsageError(f"Only {owner} gives values; the others pass None.")
        if values is not None:
            plain, header = self._prepared(values, "input", (owner,), fraction)
            for peer in self._peers():
                self._send(peer, header)
            return self._shares(plain, owner, header)
        header = self._recv(owner, use="input", parties=(owner,))
        self._exchange(header, without=owner)
        return self._shares(None, owner, header)

    def constant(self, values: ArrayLike) -> Shared:
        """Public values as a Shared. All computing parties call it with the same."""
        return self.context.constant(values)

    def receive(self, *, from_: str) -> Shared:
        """What a party that does not compute sends; kind, fractional bits and shape come with it.

        Raises:
            UsageError: no such party takes part.
            PeerError: it did not say the same to all, or what it sent is no array.
        """
        if from_ not in self.inputs:
            raise UsageError(f"{from_!r} is none of the parties that bring values, {self.inputs}.")
        header = self._recv(from_, use="input", parties=(from_,))
        self._exchange(header)
        shape, bits = tuple(header.shape), header.kind == "bool"
        components = pieces.receive(self.session.channel(from_), self.context.engine.k, shape, bits=bits)
        return _shared(self.context, components, header)

    def reveal(self, shared: Shared, *, to: str | Sequence[str] | None = None) -> Values | None:
        """Open values to `to`: one party or several, computing or not; to all that compute by default.

        Returns:
            int64, float64 or bool array at a computing party that learns; None at the others.

        Raises:
            UsageError: no such party, or a value of another run, or one of more than ``MAX_VALUES``.
            PeerError: another party is about to open something else, or to somebody else; nothing has been opened then.
        """
        self._own(shared)
        learners = self.compute if to is None else (to,) if isinstance(to, str) else tuple(to)
        inside = tuple(name for name in self.compute if name in learners)
        outside = tuple(name for name in self.inputs if name in learners)
        if len(inside) + len(outside) != len(set(learners)) or not learners:
            raise UsageError(f"to names parties that take part, {self.compute + self.inputs}, not {learners}.")
        header = self._header("reveal", learners, shared.kind, shared.fraction, shared.shape)
        self._exchange(header)
        engine = self.context.engine
        components = np.ascontiguousarray(shared.components)
        for name in outside:
            masked = engine.outward(components)
            self._send(name, header)
            pieces.send(self.session.channel(name), masked)
        opened = engine.open(components, inside) if inside else None
        return None if opened is None else _plain(opened, shared.kind, shared.fraction)

    # Pieces, for protocols that go on with shares by themselves

    def givers(self, to: str) -> tuple[str, ...]:
        """The computing parties whose pieces add up to a value that `to` takes in; `to` is first if it computes."""
        return self.context.engine.scheme.givers(self.compute, to)

    def piece(self, shared: Shared, *, to: str) -> Words | None:
        """This party's piece of a value: those of ``givers(to)`` add up to its words modulo 2^64.

        A piece is as secret as a share, and is not renewed: it is meant for a protocol that hides it from `to`, as a
        product with a matrix of `to`'s under encryption does. ``from_pieces`` brings a result back.

        Returns:
            uint64 of the value's shape with its fractional bits; None at a party that has no piece.

        Raises:
            UsageError: a condition, or a value of another run.
        """
        self._own(shared)
        if shared.kind == "bool":
            raise UsageError("Conditions have no pieces that add up: call as_int first.")
        return self.context.engine.piece(shared.components, to)

    def from_pieces(self, words: Words, *, kind: Kind = "fixed", fraction: int = 0) -> Shared:
        """The value whose words are the sum, modulo 2^64, of what the computing parties give. All call it.

        Args:
            words: uint64 of a shape that is the same at all; zeros where a party has nothing.
            kind: ``fixed`` or ``int``.
            fraction: fractional bits of the words.

        Raises:
            UsageError: other than words, or a condition.
        """
        if kind == "bool" or words.dtype != np.uint64:
            raise UsageError("Pieces are words, uint64, of whole or of real numbers.")
        fixed.check_fraction(fraction)
        return Shared(self.context, self.context.engine.sum_inputs(words), kind, fraction if kind == "fixed" else 0)

    def _own(self, shared: Shared) -> None:
        if shared.context is not self.context:
            raise UsageError("This Shared is of another run: reveal it there.")

    # Headers of arrays

    def _peers(self) -> list[str]:
        return [name for name in self.compute if name != self.me]

    def _header(
        self, use: str, parties: Sequence[str], kind: Kind, fraction: int, shape: tuple[int, ...]
    ) -> input_pb2.Array:
        return input_pb2.Array(use=use, parties=sorted(parties), kind=kind, fraction=fraction, shape=shape)

    def _prepared(
        self, values: ArrayLike, use: str, parties: Sequence[str], fraction: int | None
    ) -> tuple[Array, input_pb2.Array]:
        plain, kind, bits = encoded(values, self.context.fraction if fraction is None else fraction)
        return plain, self._header(use, parties, kind, bits, plain.shape)

    def _send(self, peer: str, header: input_pb2.Array) -> None:
        _send(self.session.channel(peer), header, self._steps)

    def _recv(self, peer: str, *, use: str, parties: Sequence[str]) -> input_pb2.Array:
        header = _recv(self.session.channel(peer), self._steps)
        said = f"{_shown(header.use)} by or to {_shown(header.parties)}"
        same = header.use == use and list(header.parties) == sorted(parties)
        self.session.channel(peer).require(same, f"{use} by or to {', '.join(sorted(parties))}, not {said}")
        return header

    def _exchange(
        self, header: input_pb2.Array, *, differ: Sequence[str] = (), without: str = ""
    ) -> dict[str, input_pb2.Array]:
        """What all computing parties say of one array: the same but for the fields `differ`."""
        peers = [name for name in self._peers() if name != without]
        for peer in peers:
            self._send(peer, header)
        said = {self.me: header}
        for peer in peers:
            said[peer] = _recv(self.session.channel(peer), self._steps)
            require_same(self.session.channel(peer), header, said[peer], without=(*differ, "step"))
        return said

    def _shares(self, plain: Array | None, owner: str, header: input_pb2.Array) -> Shared:
        engine, shape = self.context.engine, tuple(header.shape)
        give = engine.input_bits if header.kind == "bool" else engine.input
        components: Array = give(plain, owner, shape)
        return _shared(self.context, components, header)


@dataclass(frozen=True)
class Given:
    """What each computing party has brought; nothing is shared before one of these is asked for, by all alike."""

    _run: Computation = field(repr=False)
    _values: Array = field(repr=False)
    _headers: dict[str, input_pb2.Array] = field(repr=False)

    def __getitem__(self, owner: str) -> Shared:
        """What `owner` has brought. Each call shares it again."""
        if owner not in self._headers:
            raise UsageError(f"{owner!r} is none of the computing parties {self._run.compute}.")
        return self._run._shares(self._values if owner == self._run.me else None, owner, self._headers[owner])

    def sum_over_parties(self) -> Shared:
        """The sum of what all have brought, of one kind and shape. Of conditions: at how many parties they hold.

        Raises:
            PeerError: a party has brought another kind or another shape.
        """
        mine = self._headers[self._run.me]
        for owner, header in self._headers.items():
            if owner != self._run.me:
                require_same(self._run.session.channel(owner), mine, header, without=("step",))
        words = self._values.astype(np.uint64) if mine.kind == "bool" else self._values
        components = self._run.context.engine.sum_inputs(words)
        return Shared(self._run.context, components, "int" if mine.kind == "bool" else _kind(mine), mine.fraction)


@dataclass(frozen=True)
class InputParty:
    """The end of a party that brings values or takes results, and does not compute.

    Attributes:
        session: of this party.
        compute: names of the computing parties.
        scheme: how values are split, as the computing parties have said.
        fraction: fractional bits of real numbers.
    """

    session: Session
    compute: tuple[str, ...]
    scheme: Scheme
    fraction: int
    _steps: dict[str, int] = field(default_factory=dict, repr=False)

    def send(self, values: ArrayLike, *, fraction: int | None = None) -> None:
        """Split values between the computing parties, who call ``receive``.

        Raises:
            UsageError: NaN, infinity or numbers out of range; more than ``MAX_VALUES``.
        """
        plain, kind, bits = encoded(values, self.fraction if fraction is None else fraction)
        header = input_pb2.Array(use="input", parties=[self.session.me], kind=kind, fraction=bits, shape=plain.shape)
        for peer in self.compute:
            _send(self.session.channel(peer), header, self._steps)
        flat = plain.reshape(-1)
        for start in range(0, flat.size, pieces.PIECE):  # to all in turn, so that none waits for another's whole
            parts = self.scheme.deal(flat[start : start + pieces.PIECE], self.session.rng)
            for peer, components in zip(self.compute, parts, strict=True):
                pieces.send(self.session.channel(peer), components)

    def obtain(self) -> Values:
        """What the computing parties reveal to this party: int64, float64 or bool array.

        Raises:
            PeerError: they do not say the same, or this party is not among those who learn.
        """
        headers = {peer: _recv(self.session.channel(peer), self._steps) for peer in self.compute}
        first = headers[self.compute[0]]
        for peer, header in headers.items():
            channel = self.session.channel(peer)
            channel.require(header.use == "reveal" and self.session.me in header.parties, "an array that opens to me")
            require_same(channel, first, header, without=("step",))
        size, bits = math.prod(first.shape), first.kind == "bool"
        value = pieces.reserve(self.session.channel(self.compute[0]), (size,), bits=bits)
        for start in range(0, size, pieces.PIECE):
            part = (min(pieces.PIECE, size - start),)
            channels = [self.session.channel(peer) for peer in self.compute]
            parts = [pieces.receive(channel, self.scheme.components, part, bits=bits) for channel in channels]
            try:
                value[start : start + pieces.PIECE] = self.scheme.combine(parts)
            except Disagreement as error:
                for channel in channels:
                    channel.close("copies of a share differ")
                one = f"one of {', '.join(self.compute)}"
                raise PeerError(str(error), party=one, protocol="arithmetic", step="obtain") from None
        return _plain(value.reshape(tuple(first.shape)), _kind(first), first.fraction)


# Ways in -------------------------------------------------------------------------------------------------------------


@contextmanager
def three_party(
    session: Session,
    *,
    compute: Sequence[str],
    inputs: Sequence[str] | None = None,
    suite: str | Suite = "intl",
    fraction: int = fixed.FRACTION,
    truncation: Truncation = "faithful",
) -> Iterator[Computation]:
    """Compute with three parties, of which at most one is corrupt (semi-honest). Called by each of the three.

    Args:
        session: with a channel to each party that takes part.
        compute: names of the three, in an order that is the same everywhere.
        inputs: names of those who only bring or take values; all others of the session by default.
        suite: cipher suite, or its name.
        fraction: fractional bits of real numbers.
        truncation: ``faithful``, or ``local``: products cost less and are, now and then, wildly wrong.

    Raises:
        UsageError: other than three different names, or this party is none of them.
        PeerError: another party runs something else; the text names what differs.
    """
    with _computing(
        session,
        lambda chosen: three.ThreeParty(session, compute, suite=chosen),
        three.SCHEME,
        compute=compute,
        inputs=inputs,
        suite=suite,
        fraction=fraction,
        truncation=truncation,
    ) as run:
        yield run


@contextmanager
def two_party(
    session: Session,
    *,
    compute: Sequence[str],
    inputs: Sequence[str] | None = None,
    suite: str | Suite = "intl",
    method: Method = "softspoken",
    fraction: int = fixed.FRACTION,
    truncation: Truncation = "faithful",
) -> Iterator[Computation]:
    """Compute with two parties, without a dealer. Called by each of the two.

    Args:
        session: with a channel to each party that takes part.
        compute: names of the two, in an order that is the same everywhere.
        inputs: names of those who only bring or take values; all others of the session by default.
        suite: cipher suite, or its name.
        method: how transfers are made: ``softspoken`` where bytes are cheap, ``silent`` on slow lines.
        fraction: fractional bits of real numbers.
        truncation: ``faithful``, or ``local``: products cost less and are, now and then, wildly wrong.

    Raises:
        UsageError: other than two different names, or this party is none of them.
        PeerError: another party runs something else; the text names what differs.
    """
    with _computing(
        session,
        lambda chosen: two.TwoParty(session, compute, suite=chosen, method=method),
        two.SCHEME,
        compute=compute,
        inputs=inputs,
        suite=suite,
        method=method,
        fraction=fraction,
        truncation=truncation,
    ) as run:
        yield run


@contextmanager
def ideal_party(
    session: Session,
    *,
    compute: Sequence[str],
    inputs: Sequence[str] | None = None,
    rounding: clear.Rounding = "random",
    fraction: int = fixed.FRACTION,
    truncation: Truncation = "faithful",
) -> Iterator[Computation]:
    """Compute in the clear, for fast tests of what stands on this. It protects nothing. Any number of parties.

    Args:
        session: with a channel to each party that takes part.
        compute: names of those who compute.
        inputs: names of those who only bring or take values; all others of the session by default.
        rounding: where products err to.
        fraction: fractional bits of real numbers.
        truncation: as for ``three_party``; makes no difference.
    """
    with _computing(
        session,
        lambda _: clear.Ideal(session, compute, rounding=rounding),
        clear.scheme(len(compute)),
        compute=compute,
        inputs=inputs,
        suite="intl",
        fraction=fraction,
        truncation=truncation,
    ) as run:
        yield run


def alone(*, rounding: clear.Rounding = "random", fraction: int = fixed.FRACTION) -> Computation:
    """One process that plays everybody, named ``alone``, in the clear: for notebooks and tests."""
    engine = clear.alone(rounding=rounding)
    return Computation(Session(me=engine.me, channels={}), Context(engine, fraction=fraction), ())


@contextmanager
def input_party(
    session: Session, *, compute: Sequence[str], fraction: int = fixed.FRACTION, ideal: bool = False
) -> Iterator[InputParty]:
    """Bring values to a computation, or take its results. Called by each party that does not compute.

    Args:
        session: with a channel to each computing party.
        compute: their names, in the order that is the same everywhere.
        fraction: fractional bits of real numbers.
        ideal: for tests, that the computing parties call ``ideal_party`` and get the values themselves. What they say
            alone is no reason to send values in the clear.

    Raises:
        UsageError: this party is one that computes.
        PeerError: the computing parties run something else, or each something different; the text names what.
    """
    names = _names(compute)
    if session.me in names:
        raise UsageError(f"{session.me} computes: call three_party or two_party.")
    fixed.check_fraction(fraction)
    with _closing(session, names):
        mine = agreement_pb2.Agreement(version=VERSION, ring_bits=RING_BITS, compute=names, fraction=fraction)
        for peer in names:
            session.channel(peer).send(mine)
        first: agreement_pb2.Agreement | None = None
        for peer in names:
            channel = session.channel(peer)
            theirs: agreement_pb2.Agreement = channel.recv(agreement_pb2.Agreement)[0]
            require_same(channel, mine, theirs, without=("scheme", "inputs", "suite", "method", "truncation"))
            channel.require(session.me in theirs.inputs, f"{session.me} as a party that brings or takes values")
            first = first or theirs
            same = theirs.scheme == first.scheme
            channel.require(same, f"one scheme at all computing parties, here {_shown(first.scheme)}")
            require_same(channel, first, theirs)
        scheme = "" if first is None else first.scheme
        known = clear.scheme(len(names)) if ideal and scheme == "ideal" else _SCHEMES.get(scheme)
        if known is None or known.parties != len(names):
            raise PeerError(
                f"required: a scheme for {len(names)} parties that protects values, not {_shown(scheme)}",
                party=names[0],
                protocol="arithmetic",
                step="Agreement",
            )
        yield InputParty(session, names, known, fraction)


@contextmanager
def _computing(
    session: Session,
    start: Callable[[Suite], Engine],
    scheme: Scheme,
    *,
    compute: Sequence[str],
    inputs: Sequence[str] | None,
    suite: str | Suite,
    method: str = "",
    fraction: int,
    truncation: Truncation,
) -> Iterator[Computation]:
    """Agree with everybody, start the engine, and end all conversations if anything fails."""
    names = _names(compute)
    if len(names) != scheme.parties or session.me not in names:
        raise UsageError(f"{scheme.parties} parties compute, {session.me} one of them; got {names}.")
    others = tuple(sorted(set(session.parties) - set(names) if inputs is None else set(inputs)))
    if set(others) & set(names):
        raise UsageError(f"A party computes, or it only brings values: {sorted(set(others) & set(names))} is in both.")
    fixed.check_fraction(fraction)
    chosen = suites.get(suite) if isinstance(suite, str) else suite
    with _closing(session, names + others):
        mine = agreement_pb2.Agreement(
            version=VERSION,
            ring_bits=RING_BITS,
            scheme=scheme.name,
            compute=names,
            inputs=others,
            suite=chosen.name,
            method=method,
            fraction=fraction,
            truncation=truncation,
        )
        peers = [name for name in names if name != session.me]
        for peer in (*peers, *others):
            session.channel(peer).send(mine)
        for peer in (*peers, *others):
            channel = session.channel(peer)
            (theirs,) = channel.recv(agreement_pb2.Agreement)
            left = ("scheme", "inputs", "suite", "method", "truncation") if peer in others else ()
            require_same(channel, mine, theirs, without=left)
        engine = start(chosen)
        yield Computation(session, Context(engine, truncation, fraction), others)


@contextmanager
def _closing(session: Session, names: Sequence[str]) -> Iterator[None]:
    """Whatever goes wrong at this party ends the conversations, so that the others fail too and do not wait."""
    try:
        yield
    except BaseException as error:
        for name in names:
            if name != session.me and name in session.channels:
                session.channel(name).close(f"arithmetic broke off ({type(error).__name__})")
        raise


# Steps ---------------------------------------------------------------------------------------------------------------


def encoded(values: ArrayLike, fraction: int) -> tuple[Array, Kind, int]:
    """Words or bits of public values, their kind, and how many fractional bits they have."""
    public = public_array(values)
    if public.dtype.kind == "b":
        return public, "bool", 0
    if public.dtype.kind == "f":
        return public_words(public, fraction), "fixed", fraction
    return public_words(public, 0), "int", 0


def require_same(channel: Channel, mine: Message, theirs: Message, *, without: Sequence[str] = ()) -> None:
    """PeerError that names every field in which a peer's message differs from one's own; both ends learn of it."""
    differs = []
    for spec in mine.DESCRIPTOR.fields:
        here, there = getattr(mine, spec.name), getattr(theirs, spec.name)
        if spec.name not in without and here != there:
            differs.append(f"{spec.name.replace('_', ' ')} (here {_shown(here)}, there {_shown(there)})")
    channel.require(not differs, "the same at both parties, who differ in " + " and in ".join(differs))


def _shown(value: object) -> str:
    """A peer may say any text, of any length."""
    text = ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _names(compute: Sequence[str]) -> tuple[str, ...]:
    names = tuple(compute)
    if isinstance(compute, str) or len(set(names)) != len(names) or not names:
        raise UsageError(f"compute names different parties, as in ('tax', 'social', 'fund'), not {compute!r}.")
    return names


def _send(channel: Channel, header: input_pb2.Array, steps: dict[str, int]) -> None:
    """Send a header under the next number of this direction. UsageError: the array is larger than peers would take."""
    size = math.prod(header.shape)
    if size > MAX_VALUES:
        raise UsageError(f"An array of {size} values is larger than the {MAX_VALUES} that peers take: go in parts.")
    key = f"to {channel.peer}"
    numbered = input_pb2.Array()
    numbered.CopyFrom(header)
    numbered.step = steps[key] = steps.get(key, -1) + 1
    channel.send(numbered)


def _recv(channel: Channel, steps: dict[str, int]) -> input_pb2.Array:
    """Receive the next header, and check what an array of the peer may be."""
    key = f"from {channel.peer}"
    steps[key] = steps.get(key, -1) + 1
    header: input_pb2.Array = channel.recv(input_pb2.Array)[0]
    channel.require(header.step == steps[key], f"array number {steps[key]}")
    channel.require(header.kind in ("int", "fixed", "bool"), "an array of int, fixed or bool")
    channel.require(header.fraction <= fixed.MAX_FRACTION, f"at most {fixed.MAX_FRACTION} fractional bits")
    channel.require(header.kind == "fixed" or not header.fraction, "no fractional bits but of fixed numbers")
    small = len(header.shape) <= 32 and math.prod(max(n, 1) for n in header.shape) <= MAX_VALUES
    channel.require(small, f"at most {MAX_VALUES} values")
    return header


def _kind(header: input_pb2.Array) -> Kind:
    return "bool" if header.kind == "bool" else "fixed" if header.kind == "fixed" else "int"


def _shared(context: Context, components: Array, header: input_pb2.Array) -> Shared:
    return Shared(context, components, _kind(header), header.fraction)


def _plain(value: Array, kind: Kind, fraction: int) -> Values:
    plain: Values = value
    if kind == "fixed":
        plain = fixed.decode(value, fraction)
    elif kind == "int":
        plain = fixed.signed(value)
    return plain
