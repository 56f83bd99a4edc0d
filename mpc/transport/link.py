"""Link: all lanes of one session with one peer, over streams that may break and be opened again.

This is the state behind ``proto/unseen/wire/v1/frame.proto`` and nothing else: it never touches a socket, so a test can
feed it any frame in any order. A transport attaches a stream, gives every arriving frame to ``receive`` from one thread
and takes departing frames from ``next_frame`` in another.

Two parties that send to each other at once cannot deadlock: what arrives is always taken off the stream, into memory
that credit bounds, and a lane that waits for credit holds nothing that another lane needs.

Memory, at most: ``OUT_BYTES`` of frames not yet acknowledged; ``WINDOW_BYTES`` unread for each lane that this side has
opened; one chunk unread for each of the ``UNCLAIMED_LANES`` that only the peer has.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from mpc.channel import CHUNK_BYTES, Buffer
from mpc.errors import ChannelClosed, ChannelTimeout, MpcError, PeerError, UsageError
from mpc.transport.local import checked_label, checked_size, ended_by
from mpc.wire.wire.v1 import frame_pb2

FRAME_COST = 512
"""What a frame costs besides its payload, bytes: about what holding it takes."""
FIRST_CREDIT = CHUNK_BYTES + FRAME_COST
"""What a peer may send on a lane before anyone here has opened it, bytes: one chunk."""
WINDOW_BYTES = 8 << 20
"""What may lie unread on a lane that this side has opened, bytes."""
OUT_BYTES = 16 << 20
"""What may wait to be sent or acknowledged, bytes, before writers wait."""
ACK_BYTES = 2 << 20
"""An acknowledgement is sent on its own after this many bytes, if no frame has carried it."""
LANES = 1024
"""How many lanes a session may open in its life."""
UNCLAIMED_LANES = 64
"""How many lanes a peer may have open that this side has not."""
PATH_BYTES = 255
"""The longest path of a lane, bytes in UTF-8."""
REASON_BYTES = 1024
"""The longest reason that is taken from a peer's CLOSE, bytes."""

HELLO = int(frame_pb2.Frame.HELLO)
DATA = int(frame_pb2.Frame.DATA)
CONTROL = int(frame_pb2.Frame.CONTROL)
CLOSE = int(frame_pb2.Frame.CLOSE)


class Frame(NamedTuple):
    """The message ``unseen.wire.v1.Frame``; `payload` is a view into the bytes that it was parsed from.

    A tuple, because two are made for every message and a frozen dataclass takes three times as long.
    """

    kind: int
    lane: str = ""
    seq: int = 0
    ack: int = 0
    credit: int = 0
    last: bool = False
    payload: Buffer = b""


class MalformedFrame(Exception):
    """Bytes that are no frame."""


def encode(frame: Frame, buffers: Sequence[Buffer] | None = None) -> bytes:
    """The frame in protobuf's encoding; its payload is the concatenation of `buffers` where they are given.

    By hand because protobuf's own encoder would copy a payload once more than needed.
    """
    kind, lane, seq, ack, credit, last, payload = frame
    head = bytearray()
    if lane:
        path = lane.encode()
        _put(head, 0x0A, len(path))
        head += path
    if seq:
        _put(head, 0x10, seq)
    if ack:
        _put(head, 0x18, ack)
    if credit:
        _put(head, 0x20, credit)
    _put(head, 0x28, kind)
    if last:
        head += b"\x30\x01"
    bodies = (payload,) if buffers is None else buffers
    size = sum(map(len, bodies))
    if size:
        _put(head, 0x3A, size)
    return b"".join((head, *bodies))


def _put(head: bytearray, tag: int, value: int) -> None:
    """Append a tag of one byte and a varint."""
    head.append(tag)
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    head.append(value)


def decode(data: bytes) -> Frame:
    """Parse what ``encode``, or any other protobuf encoder, has made; the payload is not copied.

    Raises:
        MalformedFrame: not a frame. Unknown fields are skipped, as protobuf asks.
    """
    numbers = [0] * 8
    lane: bytes = b""
    payload: Buffer = b""
    at, end = 0, len(data)
    view = memoryview(data)
    try:
        while at < end:
            tag = data[at]
            if tag < 0x80:  # here and below: most numbers have one byte, and a call costs more than reading it
                at += 1
            else:
                tag, at = _read_varint(data, at)
            field, wire_type = tag >> 3, tag & 7
            if wire_type == 0:
                value = data[at]
                if value < 0x80:
                    at += 1
                else:
                    value, at = _read_varint(data, at)
                if field < 8:
                    numbers[field] = value
            elif wire_type == 2:
                size = data[at]
                if size < 0x80:
                    at += 1
                else:
                    size, at = _read_varint(data, at)
                if at + size > end:
                    raise MalformedFrame("a field is longer than the frame")
                if field == 7:
                    payload = view[at : at + size]
                elif field == 1:
                    lane = data[at : at + size]
                at += size
            elif wire_type == 1:
                at += 8
            elif wire_type == 5:
                at += 4
            else:
                raise MalformedFrame(f"wire type {wire_type}")
        if at != end:
            raise MalformedFrame("a field is longer than the frame")
        path = lane.decode() if lane else ""
    except (IndexError, UnicodeDecodeError):
        raise MalformedFrame("cut short, or a lane that is not UTF-8") from None
    return Frame(numbers[5], path, numbers[2], numbers[3], numbers[4], bool(numbers[6]), payload)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while shift < 64:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at + 1
        shift += 7
    raise MalformedFrame("a number of more than 64 bits")


class _State:
    """One lane. Guarded by the link's lock."""

    def __init__(self, lock: threading.Lock, path: str, first_credit: int) -> None:
        self.path = path
        self.readable = threading.Condition(lock)
        self.chunks: deque[tuple[Buffer, bool]] = deque()
        self.claimed = False  # whether this side has opened it
        self.arrived = 0  # cost of all that has come
        self.granted = first_credit  # ... and may come
        self.read = 0  # ... and has been read
        self.sent = 0  # cost of all that has gone
        self.limit = first_credit  # ... and may go
        self.closed_by_me: str | None = None
        self.closed_by_peer: str | None = None


class Link:
    """One session with one peer.

    Args:
        me: this party's name.
        peer: the peer's name, as the transport has established it.
        protocol: operator name, for error messages.
    """

    def __init__(self, *, me: str, peer: str, protocol: str) -> None:
        self.me = me
        self.peer = peer
        self._protocol = protocol
        self._lock = threading.Lock()
        self._writable = threading.Condition(self._lock)
        self._sendable = threading.Condition(self._lock)
        self._states: dict[str, _State] = {}
        self._unclaimed = 0
        self._seq = 0  # of the last frame made
        self._received = 0  # of the last frame that came
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._unacked: deque[tuple[int, bytes]] = deque()
        self._out_bytes = 0
        self._freed = 0  # cost of all that was acknowledged
        self._since_ack = 0  # bytes that came and are not acknowledged
        self._ack_due = False
        self._credit_due: dict[str, None] = {}  # an ordered set of lanes whose limit has grown
        self._generation = 0
        self._attached = False
        self._failure: Callable[[], MpcError] | None = None
        self.finished = threading.Event()
        """Set when nothing is left to be said: a stream has nothing more to carry for this session."""
        with self._lock:
            self._claim("")

    @property
    def lane(self) -> LinkLane:
        """The session's first lane."""
        return LinkLane(self, "")

    @property
    def ack(self) -> int:
        """Number of the last frame received, for a HELLO."""
        with self._lock:
            return self._received

    @property
    def attached(self) -> bool:
        """Whether a stream carries this link now."""
        with self._lock:
            return self._attached

    # -- the stream's side

    def attach(self, ack: int) -> int:
        """A new stream takes over; the peer's HELLO said that it has received all frames up to `ack`.

        Returns:
            The stream's number, to be given with each call below: calls with an older one have no effect.

        Raises:
            PeerError: an `ack` that cannot be.
        """
        with self._lock:
            self._take_ack(ack)
            self._generation += 1
            self._attached = True
            self._unacked.extend(self._unsent)
            self._unsent, self._unacked = self._unacked, deque()
            # Limits travel in frames that are not numbered, so those of the lost stream are said again.
            self._credit_due = dict.fromkeys(p for p, state in self._states.items() if state.granted > _first_credit(p))
            self._acked()  # by the HELLO
            self._sendable.notify_all()
            return self._generation

    def detach(self, stream: int) -> bool:
        """The stream has ended. Returns whether it was the current one."""
        with self._lock:
            if stream != self._generation or not self._attached:
                return False
            self._attached = False
            self._sendable.notify_all()
            if self._is_over():  # the other side may end the stream before this side's writer has noticed
                self.finished.set()
            return True

    def fail(self, error: Callable[[], MpcError], *, tell: str | None = None) -> None:
        """End the session with an error that every operation raises from now on, once what has arrived is read.

        Args:
            error: makes the error; called once per raise.
            tell: the reason that the peer is told; None where no stream will reach it.
        """
        with self._lock:
            self._fail(error, tell)

    def next_frame(self, stream: int) -> bytes | None:
        """Wait for the next frame to send; None when this stream has no more to carry."""
        with self._lock:
            while stream == self._generation and self._attached:
                if self._credit_due:
                    path = next(iter(self._credit_due))
                    del self._credit_due[path]
                    self._acked()
                    return encode(Frame(CONTROL, path, ack=self._received, credit=self._states[path].granted))
                if self._ack_due:
                    self._acked()
                    return encode(Frame(CONTROL, ack=self._received))
                if self._unsent:
                    item = self._unsent.popleft()
                    self._unacked.append(item)
                    return item[1]
                if self._is_over():
                    self.finished.set()
                    return None
                self._sendable.wait()
            return None

    def drain(self, patience_s: float) -> bool:
        """Wait until nothing is left to be said; False once the peer has acknowledged nothing for `patience_s`."""
        before = -1
        while not self.finished.is_set():
            with self._lock:
                freed = self._freed
            if freed == before:
                return False
            before = freed
            self.finished.wait(patience_s)
        return True

    def receive(self, stream: int, data: bytes) -> None:
        """Take one frame that came on `stream`.

        Raises:
            PeerError: the frame breaks the rules of frame.proto. The session has then failed with the same error, and
                the peer will be told why.
        """
        try:
            frame = decode(data)
        except MalformedFrame as error:
            frame, malformed = Frame(HELLO), str(error)
        else:
            malformed = ""
        with self._lock:
            if stream != self._generation or not self._attached:
                return  # the peer will send it again on the stream that replaced this one
            if malformed:
                self._violation(f"malformed frame: {malformed}")
            if frame.kind in (DATA, CLOSE):
                if frame.seq != self._received + 1:
                    self._violation(f"frame {frame.seq} where {self._received + 1} is due")
                self._received = frame.seq
            elif frame.kind != CONTROL:
                self._violation(f"frame of unknown kind {frame.kind}")
            if len(frame.payload) > CHUNK_BYTES:
                self._violation(f"payload of {len(frame.payload)} bytes, at most {CHUNK_BYTES} are allowed")
            if frame.ack:
                self._take_ack(frame.ack)
            if self._failure is not None:
                return
            state = self._states.get(frame.lane) or self._opened_by_peer(frame.lane)
            if frame.credit > state.limit:
                state.limit = frame.credit
                self._writable.notify_all()
            if frame.kind == DATA:
                self._take_data(state, frame)
            elif frame.kind == CLOSE:
                self._take_close(state, frame)

    # -- the lanes' side

    def fork(self, path: str, label: str) -> LinkLane:
        """See ``LinkLane.fork``; `path` is the lane's, here and below."""
        child = f"{path}/{checked_label(label)}"
        if len(child.encode()) > PATH_BYTES:
            raise UsageError(
                f"A lane's path has at most {PATH_BYTES} bytes: choose shorter labels, or fork less deeply."
            )
        with self._lock:
            self._claim(child)
        return LinkLane(self, child)

    def write(self, path: str, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        """See ``LinkLane.write``."""
        cost = checked_size(buffers) + FRAME_COST
        with self._lock:
            state = self._states[path]
            deadline, freed = None, self._freed
            while True:
                self._raise_if_over(state)
                has_credit = state.sent + cost <= state.limit
                if has_credit and self._out_bytes < OUT_BYTES:
                    break
                if timeout_s is None:
                    self._writable.wait()
                    continue
                now = time.monotonic()
                # Other lanes may be served first, so memory that became free renews the time, if as much as waits here:
                # a peer could acknowledge by drops. Credit does not: an honest peer's next limit admits a chunk.
                if deadline is None or (has_credit and self._freed - freed >= cost):
                    deadline, freed = now + timeout_s, self._freed
                if now >= deadline:
                    raise ChannelTimeout(f"{self.peer} took nothing for {timeout_s:g} s")
                self._writable.wait(deadline - now)
            state.sent += cost
            credit = 0
            if path in self._credit_due:
                del self._credit_due[path]
                credit = state.granted
            self._acked()
            self._push(Frame(DATA, path, self._seq + 1, self._received, credit, last), buffers)

    def read(self, path: str, timeout_s: float | None) -> tuple[Buffer, bool]:
        """See ``LinkLane.read``."""
        with self._lock:
            state = self._states[path]
            deadline = None
            while not state.chunks:
                self._raise_if_over(state)
                if timeout_s is not None:
                    now = time.monotonic()
                    deadline = deadline or now + timeout_s
                    if now >= deadline:
                        raise ChannelTimeout(f"nothing arrived from {self.peer} for {timeout_s:g} s")
                    state.readable.wait(deadline - now)
                else:
                    state.readable.wait()
            chunk, last = state.chunks.popleft()
            state.read += len(chunk) + FRAME_COST
            self._grant(state)
            return chunk, last

    def close(self, path: str, reason: str) -> None:
        """See ``LinkLane.close``."""
        with self._lock:
            self._close(path, reason)

    # -- inside, with the lock held

    def _claim(self, path: str) -> None:
        """Open a lane on this side."""
        state = self._states.get(path)
        if state is None:
            if len(self._states) >= LANES:
                raise UsageError(f"A session opens at most {LANES} lanes in its life: fork less, or start another.")
            state = self._open(path)
        elif not state.claimed:
            self._unclaimed -= 1
        if not state.claimed:
            state.claimed = True
            self._grant(state)

    def _opened_by_peer(self, path: str) -> _State:
        """Open a lane of which the peer has spoken first."""
        if not path.startswith("/") or len(path.encode()) > PATH_BYTES:
            self._violation("a lane's path that cannot be")
        if len(self._states) >= LANES:
            self._violation(f"more than {LANES} lanes")
        state = self._open(path)
        if state.closed_by_me is None:
            self._unclaimed += 1
            if self._unclaimed > UNCLAIMED_LANES:
                self._violation(f"more than {UNCLAIMED_LANES} lanes that {self.me} has not opened")
        else:
            state.claimed = True
        return state

    def _open(self, path: str) -> _State:
        state = self._states[path] = _State(self._lock, path, _first_credit(path))
        for other in tuple(self._states.values()):  # a lane below a closed one is born closed
            if path.startswith(other.path + "/"):
                state.closed_by_me = other.closed_by_me if state.closed_by_me is None else state.closed_by_me
                state.closed_by_peer = other.closed_by_peer if state.closed_by_peer is None else state.closed_by_peer
        return state

    def _grant(self, state: _State) -> None:
        """Raise the lane's limit once that is worth a frame."""
        if state.claimed and state.read + WINDOW_BYTES - state.granted >= WINDOW_BYTES // 2:
            state.granted = state.read + WINDOW_BYTES
            if state.closed_by_peer is None and self._failure is None:
                self._credit_due[state.path] = None
                self._sendable.notify()

    def _acked(self) -> None:
        """A frame that leaves now carries the acknowledgement."""
        self._ack_due = False
        self._since_ack = 0

    def _push(self, frame: Frame, buffers: Sequence[Buffer]) -> None:
        self._seq = frame.seq
        data = encode(frame, buffers)
        self._unsent.append((frame.seq, data))
        self._out_bytes += len(data) + FRAME_COST
        self._sendable.notify()

    def _take_ack(self, ack: int) -> None:
        if ack > self._seq:
            self._violation(f"acknowledges frame {ack} of {self._seq}")
        freed = False
        for queue in (self._unacked, self._unsent):  # after a break, what the peer has may still count as unsent here
            while queue and queue[0][0] <= ack:
                cost = len(queue.popleft()[1]) + FRAME_COST
                self._out_bytes -= cost
                self._freed += cost
                freed = True
        if freed:
            self._writable.notify_all()
            if self._is_over():
                self._sendable.notify_all()

    def _take_data(self, state: _State, frame: Frame) -> None:
        if state.closed_by_peer is not None:
            self._violation("data on a lane that it has closed")
        cost = len(frame.payload) + FRAME_COST
        state.arrived += cost
        if state.arrived > state.granted:
            self._violation("more data than its credit allows")
        self._since_ack += cost
        if self._since_ack >= ACK_BYTES and not self._ack_due:
            self._ack_due = True
            self._sendable.notify()
        if state.closed_by_me is None:
            state.chunks.append((frame.payload, frame.last))
            state.readable.notify()

    def _take_close(self, state: _State, frame: Frame) -> None:
        if state.closed_by_peer is not None:
            self._violation("closes a lane twice")
        reason = bytes(frame.payload[:REASON_BYTES]).decode(errors="replace")
        for other in self._below(state.path):
            if other.closed_by_peer is None:
                other.closed_by_peer = reason
            if not other.claimed:
                other.claimed = True
                self._unclaimed -= 1
            other.readable.notify_all()
        if not state.path:  # nobody waits for the rest
            self._unsent.clear()
            self._unacked.clear()
            self._out_bytes = 0
            self._credit_due.clear()
        self._ack_due = True
        self._sendable.notify_all()
        self._writable.notify_all()

    def _close(self, path: str, reason: str) -> None:
        state = self._states[path]
        if state.closed_by_me is not None:
            return
        known_to_peer = state.closed_by_peer is not None
        for other in self._below(path):
            if other.closed_by_me is None:
                other.closed_by_me = reason
            other.chunks.clear()
            self._credit_due.pop(other.path, None)
            other.readable.notify_all()
        if not known_to_peer:
            self._push(Frame(CLOSE, path, self._seq + 1, self._received), [reason.encode()[:REASON_BYTES]])
        self._sendable.notify_all()
        self._writable.notify_all()

    def _below(self, path: str) -> list[_State]:
        """The lane and all forked from it."""
        return [s for p, s in self._states.items() if p == path or p.startswith(path + "/")]

    def _fail(self, error: Callable[[], MpcError], tell: str | None) -> None:
        if self._failure is None:
            self._failure = error
            if tell is None:
                self.finished.set()
                self._attached = False
            else:
                self._close("", tell)
        for state in self._states.values():
            state.readable.notify_all()
        self._writable.notify_all()
        self._sendable.notify_all()

    def _violation(self, what: str) -> NoReturn:
        """The peer has broken the rules of frame.proto."""

        def error() -> PeerError:
            return PeerError(what, party=self.peer, protocol=self._protocol, step="frame")

        self._fail(error, what)
        raise error()

    def _raise_if_over(self, state: _State) -> None:
        if self._failure is not None:
            raise self._failure()
        if state.closed_by_me is not None:
            raise ChannelClosed(ended_by(self.me, state.closed_by_me))
        if state.closed_by_peer is not None:
            raise ChannelClosed(ended_by(self.peer, state.closed_by_peer))

    def _is_over(self) -> bool:
        root = self._states[""]
        if root.closed_by_peer is not None:
            return not self._ack_due
        return root.closed_by_me is not None and not self._unsent and not self._unacked


def _first_credit(path: str) -> int:
    return FIRST_CREDIT if path else WINDOW_BYTES


class LinkLane:
    """One end of a lane of a link. See ``mpc.channel.Lane``."""

    def __init__(self, link: Link, path: str) -> None:
        self._link = link
        self._path = path

    @property
    def me(self) -> str:
        """This party's name."""
        return self._link.me

    @property
    def peer(self) -> str:
        """The peer's name."""
        return self._link.peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        """Send one chunk; waits while the peer's credit or the memory for departing frames is used up.

        Raises:
            ChannelTimeout: for `timeout_s` the peer gave no credit or, where memory was wanting, acknowledged less than
                this chunk needs.
        """
        self._link.write(self._path, buffers, last=last, timeout_s=timeout_s)

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        """The next chunk and whether it ends its message."""
        return self._link.read(self._path, timeout_s)

    def fork(self, label: str) -> LinkLane:
        """The lane below this one that the peer opens by the same label. A label is used once in a session."""
        return self._link.fork(self._path, label)

    def close(self, reason: str = "") -> None:
        """End this lane and those forked from it."""
        self._link.close(self._path, reason)
