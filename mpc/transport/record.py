r"""Recordings: everything that one party sent and received over a lane, and a lane that plays the peer from it.

    with Recorder(lane, path) as recorder:          # as the protocol runs
        result = receive(Channel(recorder.lane, ...), items, rng=Rng.from_seed(b"..."))

    lane = replay(path)                              # later, without a peer
    result = receive(Channel(lane, ...), items, rng=Rng.from_seed(b"..."))
    lane.finish()

With the same inputs and the same seed a party has to send the same bytes again: a regression vector for the whole of
its side. The first byte that differs ends the replay with an error that says where. A recording holds the party's
messages in the clear, so it is made readable by its owner alone.

The file, all numbers little-endian:

    "unseen-recording-1\n"
    u8 length, the party's name; u8 length, the peer's name
    records: u8 kind | u16 length of the lane's path | u32 length of the data | path, UTF-8 | data
    SHA-256 of all that came before, 32 bytes

Kinds: 1 sent, 2 received, 5 sent and last of its message, 6 received and last, 8 closed by this party, 16 the peer
ended the lane; the data of the last two is the reason. Records of one lane are in order; those of lanes that ran in
parallel lie between each other as they happened to come.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from mpc.channel import CHUNK_BYTES, Buffer, Lane
from mpc.errors import ChannelClosed, ChannelTimeout, UsageError
from mpc.transport.local import checked_label, checked_size, ended_by

MAGIC = b"unseen-recording-1\n"
_RECORD = struct.Struct("<BHI")
_SENT, _RECEIVED, _LAST, _CLOSED, _ENDED = 1, 2, 4, 8, 16
_DIGEST_BYTES = 32


class Recorder:
    """Writes a recording of a lane and its forks while a protocol uses them through ``lane``.

    Args:
        lane: the lane to the peer.
        path: where the recording goes; a file that is there is replaced once the recording is closed.
    """

    def __init__(self, lane: Lane, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file: BinaryIO | None = os.fdopen(descriptor, "wb")
        self._put(MAGIC)
        for name in (lane.me.encode(), lane.peer.encode()):
            self._put(bytes([len(name)]) + name)
        self.lane = RecordedLane(self, lane, "")

    def close(self) -> None:
        """Complete the file. What is sent or received afterwards is not in it."""
        with self._lock:
            if self._file is not None:
                self._file.write(self._hash.digest())
                self._file.close()
                self._file = None
                self._part.replace(self._path)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _record(self, kind: int, path: str, buffers: Sequence[Buffer]) -> None:
        label = path.encode()
        with self._lock:
            if self._file is not None:
                self._put(_RECORD.pack(kind, len(label), sum(len(b) for b in buffers)) + label)
                for buffer in buffers:
                    self._put(buffer)

    def _put(self, data: Buffer) -> None:
        if self._file is not None:
            self._hash.update(data)
            self._file.write(data)


class RecordedLane:
    """A lane whose traffic goes into a recording. See ``mpc.channel.Lane``."""

    def __init__(self, recorder: Recorder, lane: Lane, path: str) -> None:
        self._recorder = recorder
        self._lane = lane
        self._path = path

    @property
    def me(self) -> str:
        """This party's name."""
        return self._lane.me

    @property
    def peer(self) -> str:
        """The peer's name."""
        return self._lane.peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:
        """Send one chunk; it is recorded once it has gone."""
        self._lane.write(buffers, last=last, timeout_s=timeout_s)
        self._recorder._record(_SENT | (_LAST if last else 0), self._path, buffers)

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:
        """The next chunk and whether it ends its message."""
        try:
            chunk, last = self._lane.read(timeout_s=timeout_s)
        except ChannelClosed as error:
            self._recorder._record(_ENDED, self._path, [str(error).encode()])
            raise
        self._recorder._record(_RECEIVED | (_LAST if last else 0), self._path, [chunk])
        return chunk, last

    def fork(self, label: str) -> RecordedLane:
        """The lane below this one that the peer opens by the same label."""
        return RecordedLane(self._recorder, self._lane.fork(label), f"{self._path}/{label}")

    def close(self, reason: str = "") -> None:
        """End this lane and those forked from it."""
        self._lane.close(reason)
        self._recorder._record(_CLOSED, self._path, [reason.encode()])


class _Reel:
    """What a recording says of one lane."""

    def __init__(self) -> None:
        self.sent: deque[tuple[bytes, bool]] = deque()
        self.received: deque[tuple[bytes, bool]] = deque()
        self.ended: str | None = None
        self.writes = 0


class ReplayLane:
    """Plays the peer from a recording. See ``mpc.channel.Lane``; made by ``replay``."""

    def __init__(self, reels: dict[str, _Reel], me: str, peer: str, path: str) -> None:
        self._reels = reels
        self._me = me
        self._peer = peer
        self._path = path
        self._reel = reels.setdefault(path, _Reel())
        self._closed: str | None = None

    @property
    def me(self) -> str:
        """Name of the party that was recorded."""
        return self._me

    @property
    def peer(self) -> str:
        """Name of its peer, whom the recording plays."""
        return self._peer

    def write(self, buffers: Sequence[Buffer], *, last: bool, timeout_s: float | None) -> None:  # noqa: ARG002, a recording never waits
        """Compare one chunk with the recorded one.

        Raises:
            UsageError: it differs; says on which lane, in which chunk and at which byte, never which values.
        """
        self._raise_if_closed()
        reel, number = self._reel, self._reel.writes
        reel.writes += 1
        where = f"chunk {number} on lane {self._path or '/'}"
        if not reel.sent:
            if reel.ended is not None:
                raise ChannelClosed(reel.ended)
            raise UsageError(f"Replay: {self._me} sends {where}, the recording ends before it. {_REMEDY}")
        wanted, wanted_last = reel.sent.popleft()
        checked_size(buffers)
        data = b"".join(buffers)
        if data != wanted:
            at = next((i for i, (a, b) in enumerate(zip(data, wanted, strict=False)) if a != b), None)
            what = f"differs at byte {at}" if at is not None else f"has {len(data)} bytes, not {len(wanted)}"
            raise UsageError(f"Replay: {where} {what}. {_REMEDY}")
        if last != wanted_last:
            raise UsageError(f"Replay: {where} ends its message {'too early' if last else 'too late'}. {_REMEDY}")

    def read(self, *, timeout_s: float | None) -> tuple[Buffer, bool]:  # noqa: ARG002, a recording never waits
        """The next recorded chunk and whether it ends its message."""
        self._raise_if_closed()
        if self._reel.received:
            return self._reel.received.popleft()
        if self._reel.ended is not None:
            raise ChannelClosed(self._reel.ended)
        raise ChannelTimeout(f"the recording has nothing more from {self._peer} on lane {self._path or '/'}")

    def fork(self, label: str) -> ReplayLane:
        """The recorded lane below this one of that label."""
        return ReplayLane(self._reels, self._me, self._peer, f"{self._path}/{checked_label(label)}")

    def close(self, reason: str = "") -> None:
        """End this lane."""
        self._closed = ended_by(self._me, reason)

    def finish(self) -> None:
        """Check that everything in the recording was sent and received again.

        Raises:
            UsageError: something was not; says on which lane.
        """
        for path, reel in sorted(self._reels.items()):
            if reel.sent or reel.received:
                raise UsageError(
                    f"Replay: on lane {path or '/'}, {len(reel.sent)} recorded chunks were not sent and "
                    f"{len(reel.received)} not received. {_REMEDY}"
                )

    def _raise_if_closed(self) -> None:
        if self._closed is not None:
            raise ChannelClosed(self._closed)


_REMEDY = "Run the same code with the same inputs and seed, or record anew where the change is meant."


def replay(path: str | os.PathLike[str]) -> ReplayLane:
    """A lane that plays the peer of the party recorded in `path`.

    Raises:
        UsageError: no recording, or one that was cut short or changed.
    """
    data = Path(path).read_bytes()
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
        raise UsageError(f"{Path(path).name} is no whole recording: record anew, and close the Recorder at the end.")
    at = len(MAGIC)
    names = []
    for _ in range(2):
        names.append(body[at + 1 : at + 1 + body[at]].decode())
        at += 1 + body[at]
    reels: dict[str, _Reel] = {"": _Reel()}
    while at < len(body):
        kind, label_bytes, size = _RECORD.unpack_from(body, at)
        at += _RECORD.size
        lane = body[at : at + label_bytes].decode()
        at += label_bytes
        chunk = body[at : at + size]
        at += size
        if size > CHUNK_BYTES:
            raise UsageError(f"{Path(path).name} holds a chunk of {size} bytes: it was not made by a Recorder.")
        reel = reels.setdefault(lane, _Reel())
        if kind & _SENT:
            reel.sent.append((chunk, bool(kind & _LAST)))
        elif kind & _RECEIVED:
            reel.received.append((chunk, bool(kind & _LAST)))
        elif kind == _ENDED:
            reel.ended = chunk.decode()
    return ReplayLane(reels, names[0], names[1], "")
