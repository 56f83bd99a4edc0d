"""Channel: typed messages between two parties, the only thing a protocol knows of the outside.

A message is a protobuf header followed by raw arrays (``proto/unseen/wire/v1/message.proto`` gives the layout).
The header's type says which arrays follow, their types, shapes and byte limits, so decoding is the one place where a
peer's message is checked; what ``recv`` returns has the stated shape. How the bytes travel is the business of a
``Lane``, which transports implement: an ordered, reliable flow of chunks with message boundaries.
"""

from __future__ import annotations

import contextvars
import math
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeVar

import numpy as np
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from mpc.errors import ChannelClosed, ChannelError, CheatingDetected, PeerError, UsageError
from mpc.wire.wire.v1 import message_pb2

CHUNK_BYTES = 1 << 20
"""Largest chunk that a lane is asked to carry, bytes. Every chunk of a message but its last has this size."""

Buffer = bytes | bytearray | memoryview
Array = NDArray[Any]
_AT_ONCE = 1 << 16  # what goes into a lane whose peer is not yet reading: no thread is needed for it

M = TypeVar("M", bound=Message)

_LENGTH = struct.Struct("<I")
_DTYPES = {code: np.dtype("<" + code) for code in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")}


class Lane(Protocol):
    """What a transport offers: ordered chunks, cut into messages, to and from one peer.

    ``write`` copies what it is given before it returns and may block while the peer is slow. ``read`` gives the next
    chunk and whether it ends its message. Both raise ``ChannelClosed`` or ``ChannelTimeout``. One thread at a time may
    write and one may read; the two may be different.
    """

    @property
    def me(self) -> str:
        """This party's name."""

    @property
    def peer(self) -> str:
        """The peer's name, established by the transport."""

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        """Send the concatenation of `buffers`, at most ``CHUNK_BYTES`` together, as one chunk.

        Raises ``ChannelTimeout`` where the peer has taken nothing for `timeout_s` seconds while this chunk waited.
        """

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        """Return the next chunk and whether it is the last of its message."""

    def fork(self, label: str) -> Lane:
        """Open the lane that the peer's `fork` of the same label opens."""

    def close(self, reason: str = "") -> None:
        """End this lane and its forks. The peer's next read or write fails with `reason`, which must hold no secret."""


@dataclass(frozen=True)
class Traffic:
    """What went through a channel and its forks: message bytes (envelope included, frames excluded) and counts.

    ``rounds`` counts how often this party, having sent, went on to wait for the peer.
    """

    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    rounds: int = 0


class _Meter:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes_sent = 0
        self._bytes_received = 0
        self._messages_sent = 0
        self._messages_received = 0
        self._rounds = 0
        self._sent_since_recv = False

    @property
    def traffic(self) -> Traffic:
        with self._lock:
            return Traffic(
                self._bytes_sent, self._bytes_received, self._messages_sent, self._messages_received, self._rounds
            )

    def sent(self, size: int) -> None:
        with self._lock:
            self._bytes_sent += size
            self._messages_sent += 1
            self._sent_since_recv = True

    def received(self, size: int) -> None:
        with self._lock:
            self._bytes_received += size
            self._messages_received += 1
            self._rounds += self._sent_since_recv
            self._sent_since_recv = False


class Channel:
    """Messages to and from one peer.

    Args:
        lane: the transport's end.
        protocol: operator name, for error messages.
        timeout_s: how long ``recv`` waits for the next chunk, seconds; None waits for as long as the connection lives.
        send_timeout_s: how long a chunk of ``send`` waits for a peer that takes nothing, seconds. Always finite: a peer
            that asks and never reads must not hold a service's threads and memory, however long that service waits
            for questions.
    """

    def __init__(
        self, lane: Lane, *, protocol: str, timeout_s: float | None = 60.0, send_timeout_s: float = 60.0
    ) -> None:
        self._lane = lane
        self._protocol = protocol
        self._timeout_s = timeout_s
        self._send_timeout_s = send_timeout_s
        self._meter = _Meter()
        self._step = "start"

    @property
    def me(self) -> str:
        """This party's name."""
        return self._lane.me

    @property
    def peer(self) -> str:
        """The peer's name, as the transport has established it."""
        return self._lane.peer

    @property
    def traffic(self) -> Traffic:
        """What has gone through this channel and its forks so far."""
        return self._meter.traffic

    def send(self, header: Message, *arrays: Array | Buffer) -> None:
        """Send `header` and its arrays.

        Args:
            header: a message whose type declares its arrays by the option ``unseen.wire.v1.array``.
            arrays: as many as declared, of the declared dtypes and shapes; a bytes-like object stands for
                ``(n,) uint8``.

        Raises:
            UsageError: arrays that do not match the declaration, or a header too large for one chunk.
            ChannelError: the connection failed, or the peer took nothing in time. The conversation has then ended.
        """
        self._write(*_encode(header, arrays))

    def recv(self, *types: type[Message], max_bytes: int | None = None) -> tuple[Any, ...]:
        """Wait for the next message and check it against what its type declares.

        A peer can make this side hold no more than the message's arrays may have. Whatever ends this call after the
        message has begun also ends the conversation: the rest would be taken for the next message.

        Args:
            types: the header types allowed at this point of the protocol.
            max_bytes: how much its arrays may hold together, where this side knows more than their declarations say.

        Returns:
            The header, then its arrays in the declared order; they own their memory and are writable. The static type
            is loose, so that a protocol can write ``query, blinded = channel.recv(Query)``; decoding has checked it.

        Raises:
            PeerError: another type, or bytes that do not decode to what the type declares.
            ChannelError: the connection failed, or nothing came in time.
        """
        expected, self._step = _expectation(types)
        chunk, last = self._lane.read(timeout_s=self._timeout_s)
        view = memoryview(chunk)
        try:
            header, arrays, start = _decode_head(view, expected, max_bytes)
            if last and start == len(view) and not arrays:
                size = start
            else:
                size = _fill(self._chunks(view, start, last=last), arrays) + start
        except (_Malformed, DecodeError) as error:
            self._lane.close(f"malformed {self._step}")
            raise PeerError(str(error), party=self.peer, protocol=self._protocol, step=self._step) from None
        except ChannelClosed:
            raise
        except BaseException:
            self._lane.close(f"{self._step} broke off")
            raise
        if len(types) > 1:
            self._step = header.DESCRIPTOR.name
        self._meter.received(size)
        return (header, *arrays)

    def exchange(self, header: Message, *arrays: Array | Buffer) -> tuple[Any, ...]:
        """Send a message while receiving the peer's message of the same type.

        Both parties call it at the same point, so neither blocks on the other however large the messages are.
        Raises what ``send`` and ``recv`` raise.
        """
        chunks, size = _encode(header, arrays)  # misuse is told before the peer is kept waiting
        if size <= _AT_ONCE:
            try:
                self._write(chunks, size)
                return self.recv(type(header))
            except BaseException:
                self._lane.close("an exchange broke off")
                raise
        failure: list[BaseException] = []

        def send() -> None:
            try:
                self._write(chunks, size)
            except BaseException as error:
                failure.append(error)

        # In the caller's context, so that what follows the caller about (a simulated clock) is in both threads.
        context = contextvars.copy_context()
        sender = threading.Thread(target=context.run, args=(send,), name=f"exchange with {self.peer}", daemon=True)
        sender.start()
        try:
            received = self.recv(type(header))
        except BaseException as error:
            self._lane.close("an exchange broke off")  # so that nobody goes on sending behind the caller's back
            sender.join()
            if isinstance(error, ChannelClosed) and failure and not isinstance(failure[0], ChannelError):
                raise failure[0] from None  # the cause, of which the closed lane is a consequence
            raise
        sender.join()
        if failure:
            raise failure[0]
        return received

    def fork(self, label: str) -> Channel:
        """A second channel to the same peer over the same connection; both parties fork with the same `label`.

        Sub-protocols on different forks may run in different threads. Traffic is counted together.
        """
        child = Channel(
            self._lane.fork(label),
            protocol=self._protocol,
            timeout_s=self._timeout_s,
            send_timeout_s=self._send_timeout_s,
        )
        child._meter = self._meter
        return child

    def require(self, condition: bool, what: str, *, cheating: bool = False) -> None:  # noqa: FBT001 - reads as assert does
        """Check something that the peer's last message has to satisfy.

        Args:
            condition: whether it does.
            what: the requirement, as a phrase: "one point per queried item". Must not depend on a secret.
            cheating: whether an honest but faulty peer cannot have caused the failure.

        Raises:
            PeerError: naming peer, protocol and step (``CheatingDetected`` if `cheating`); the channel is closed first.
        """
        if condition:
            return
        self._lane.close(f"requirement failed at {self._step}")
        kind = CheatingDetected if cheating else PeerError
        raise kind(f"required: {what}", party=self.peer, protocol=self._protocol, step=self._step)

    def close(self, reason: str = "") -> None:
        """End the conversation; the peer's next operation raises ``ChannelClosed`` with `reason`, never a secret."""
        self._lane.close(reason)

    def _write(self, chunks: Iterable[tuple[list[Buffer], bool]], size: int) -> None:
        """Write the chunks of one message of `size` bytes."""
        try:
            for buffers, last in chunks:
                self._lane.write(buffers, last=last, timeout_s=self._send_timeout_s)
        except ChannelClosed:
            raise
        except BaseException:
            self._lane.close("a message broke off")  # the peer would take the next one for its rest
            raise
        self._meter.sent(size)

    def _chunks(self, view: memoryview, start: int, *, last: bool) -> Iterator[memoryview]:
        """The bytes after `start`, chunk by chunk. Full chunks only, so that a message cannot come by drops."""
        size = len(view)
        yield view[start:]
        while not last:
            if size != CHUNK_BYTES:
                raise _Malformed(f"a chunk of {size} bytes, though it is not the last")
            chunk, last = self._lane.read(timeout_s=self._timeout_s)
            size = len(chunk)
            yield memoryview(chunk)


class _Malformed(Exception):
    """What is wrong with a received message; becomes a PeerError."""


@dataclass(frozen=True)
class _Spec:
    name: str
    code: str  # of the dtype on the wire
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]
    max_bytes: int


@cache
def _specs(header: Descriptor) -> tuple[_Spec, ...]:
    """What the type `header` declares of its arrays; a wrong declaration is the library author's error."""
    specs = []
    # The generated .pyi types the extension as a plain field descriptor.
    declared: Sequence[message_pb2.ArraySpec] = header.GetOptions().Extensions[message_pb2.array]  # type: ignore[index]
    for a in declared:
        shape = tuple(int(d) if d.isdigit() else d for d in a.shape.split())
        if a.dtype not in _DTYPES or not shape or not a.max_bytes:
            name = f"{header.full_name}.{a.name}"
            raise UsageError(f"{name}: declare a known dtype, a shape and max_bytes in its .proto file.")
        specs.append(_Spec(a.name, a.dtype, _DTYPES[a.dtype], shape, a.max_bytes))
    return tuple(specs)


@cache
def _expectation(types: tuple[type[Message], ...]) -> tuple[dict[str, type[Message]], str]:
    """The types by their full names, and what a step at which they may come is called."""
    return {t.DESCRIPTOR.full_name: t for t in types}, " or ".join(t.DESCRIPTOR.name for t in types)


def _encode(header: Message, arrays: Sequence[Array | Buffer]) -> tuple[Iterable[tuple[list[Buffer], bool]], int]:
    """Lay the message out as chunks, without copying the arrays; also return its size in bytes."""
    specs = _specs(header.DESCRIPTOR)
    name = header.DESCRIPTOR.full_name
    if len(arrays) != len(specs):
        raise UsageError(f"{name} declares {len(specs)} arrays, {len(arrays)} given: pass one per declared array.")
    envelope = message_pb2.Envelope(type=name, header=header.SerializeToString())
    plain: list[Array] = []
    if specs:
        plain = [_own_array(name, spec, array) for spec, array in zip(specs, arrays, strict=True)]
        try:
            _check_free_dimensions(specs, plain)
        except _Malformed as error:
            raise UsageError(f"{name}: {error}: pass arrays of the declared shapes.") from None
        for spec, a in zip(specs, plain, strict=True):
            envelope.arrays.add(dtype=spec.code, shape=a.shape)
    head = envelope.SerializeToString()
    head = _LENGTH.pack(len(head)) + head
    if len(head) > CHUNK_BYTES:
        raise UsageError(f"{name}: header of {len(head)} bytes; split it, or carry the bulk in arrays.")
    if not plain:
        return [([head], True)], len(head)
    bodies = [a.data.cast("B") for a in plain if a.size]
    return _cut(head, bodies), len(head) + sum(len(b) for b in bodies)


def _own_array(name: str, spec: _Spec, array: Array | Buffer) -> Array:
    a = array if isinstance(array, np.ndarray) else np.frombuffer(array, dtype=np.uint8)
    if (a.dtype != spec.dtype and a.dtype.newbyteorder("<") != spec.dtype) or a.ndim != len(spec.shape):
        raise UsageError(f"{name}.{spec.name} is declared {spec.dtype.str} {spec.shape}; got {a.dtype.str} {a.shape}.")
    if a.nbytes > spec.max_bytes:
        raise UsageError(
            f"{name}.{spec.name} holds {a.nbytes} bytes, at most {spec.max_bytes} go in one message: split it."
        )
    return np.ascontiguousarray(a, dtype=spec.dtype)


def _cut(head: bytes, bodies: Sequence[memoryview]) -> Iterator[tuple[list[Buffer], bool]]:
    """Cut head and bodies into chunks of at most CHUNK_BYTES, each a list of slices."""
    chunk: list[Buffer] = [head]
    room = CHUNK_BYTES - len(head)
    for body in bodies:
        at = 0
        while at < len(body):
            if room == 0:
                yield chunk, False
                chunk, room = [], CHUNK_BYTES
            piece = body[at : at + room]
            chunk.append(piece)
            at += len(piece)
            room -= len(piece)
    yield chunk, True


def _decode_head(view: memoryview, expected: dict[str, type[M]], max_bytes: int | None) -> tuple[M, list[Array], int]:
    """Parse length, envelope and header; reserve the arrays. Returns header, arrays and where the array bytes begin."""
    if len(view) < _LENGTH.size:
        raise _Malformed("message shorter than its length field")
    (length,) = _LENGTH.unpack_from(view)
    start = _LENGTH.size + length
    if start > len(view):
        raise _Malformed("envelope does not lie within the first chunk")
    envelope = message_pb2.Envelope.FromString(view[_LENGTH.size : start].tobytes())
    if envelope.type not in expected:
        raise _Malformed(f"got a {envelope.type[:80]!r}")
    header_type = expected[envelope.type]
    header = header_type.FromString(envelope.header)
    specs = _specs(header_type.DESCRIPTOR)
    if len(envelope.arrays) != len(specs):
        raise _Malformed(f"{len(envelope.arrays)} arrays where {len(specs)} belong")
    if not specs:
        return header, [], start
    claimed = sum(_claimed_bytes(s, a) for s, a in zip(specs, envelope.arrays, strict=True))
    if max_bytes is not None and claimed > max_bytes:
        raise _Malformed(f"its arrays claim {claimed} bytes where at most {max_bytes} belong")
    arrays = [np.empty(tuple(a.shape), s.dtype) for s, a in zip(specs, envelope.arrays, strict=True)]
    _check_free_dimensions(specs, arrays)
    return header, arrays, start


def _claimed_bytes(spec: _Spec, array: message_pb2.ArrayHeader) -> int:
    """How large the peer says that an array is, which is no more than its type declares."""
    if array.dtype != spec.code or len(array.shape) != len(spec.shape):
        raise _Malformed(f"{spec.name} is not a {spec.code} array of {len(spec.shape)} dimensions")
    size = math.prod(array.shape) * spec.dtype.itemsize
    if size > spec.max_bytes or max(array.shape) > spec.max_bytes:
        raise _Malformed(f"{spec.name} claims more than {spec.max_bytes} bytes")
    return size


def _fill(chunks: Iterator[memoryview], arrays: Sequence[Array]) -> int:
    """Read chunk bytes straight into the reserved arrays; returns how many."""
    bodies = [a.data.cast("B") for a in arrays if a.size]
    total = sum(len(b) for b in bodies)
    target, at, done = 0, 0, 0
    for number, chunk in enumerate(chunks):
        if done + len(chunk) > total or (number and not chunk):
            raise _Malformed("more bytes, or more chunks, than its arrays need")
        taken = 0
        while taken < len(chunk):
            body = bodies[target]
            step = min(len(body) - at, len(chunk) - taken)
            body[at : at + step] = chunk[taken : taken + step]
            taken += step
            at += step
            if at == len(body):
                target, at = target + 1, 0
        done += len(chunk)
    if done != total:
        raise _Malformed("fewer bytes than its arrays hold")
    return done


def _check_free_dimensions(specs: Sequence[_Spec], arrays: Sequence[Array]) -> None:
    """Fixed dimensions have their number, and free dimensions of one name have one length."""
    free: dict[str, int] = {}
    for spec, array in zip(specs, arrays, strict=True):
        for dimension, length in zip(spec.shape, array.shape, strict=True):
            wanted = dimension if isinstance(dimension, int) else free.setdefault(dimension, length)
            if wanted != length:
                raise _Malformed(f"{spec.name} has {length} where {dimension} is {wanted}")
