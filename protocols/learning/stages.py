"""Stages: long work of several parties that can be gone on with after one of them has gone.

    with Stages.open(session, directory, key, work="learning.logistic 3f0c…") as stages:
        if stages.done < 1:
            stages.put(1, aligned_rows)                  # this party's own, sealed
        (rows,) = stages.get(1)
        fit(…, checkpoint=stages.steps(2))               # within stage 2: its last two steps

Each stage's end is a sealed file (``protocols/psi/checkpoint.py``) of this party's own. When the parties meet again,
each says which beginning of the work it has and how many stages of it are done; they go on behind the last one that all
have done, and drop what lies beyond. Where they do not all have the same beginning, as after one lost its disk, all
begin anew. A stage in which not everybody talks to everybody has to come to the same when it is done again.

Every stage begins with fresh randomness: what is kept is what a stage came to, never a mask, a transfer or a nonce.

Security: sealed by AES-256-GCM under the caller's key, each file for its stage and this beginning of the work. A
          party that says that it has less makes all do a stage again.
Leaks:    to each other party how many stages are done.
Cost:     one message to each other party, below 100 bytes; 1 round.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mpc.errors import UsageError
from mpc.kernels import hash as hashes
from mpc.kernels.packing import pack
from mpc.session import Session
from mpc.wire.learning.v1 import stages_pb2 as wire
from protocols.psi import checkpoint

RUN_BYTES = 32
MAX_STAGES = 64

_LABEL = b"unseen learning stages v1\x00"
_FRAME = 8 << 20
_KEPT = 2  # steps of a checkpoint


@dataclass(frozen=True)
class Stages:
    """What this party has done of one beginning of the work. Made by `open`.

    Attributes:
        run: 32 bytes that name the beginning, the same at all parties; each contributed to it, so that it may be the
            seed of what has to be random and public.
        done: how many stages all parties had done when this party opened it.
    """

    run: bytes
    done: int
    _directory: Path = field(repr=False)
    _key: bytes = field(repr=False)
    _session: Session = field(repr=False)

    @staticmethod
    @contextmanager
    def open(session: Session, directory: Path, key: bytes, *, work: str) -> Iterator[Stages]:
        """Begin, or go on with, what lies in `directory`. All parties of the session call it.

        Args:
            session: this party's run.
            directory: of this work's own, made if missing; one process at a time.
            key: 32 bytes, under which all is sealed; the same when the work is gone on with.
            work: what it is, such as a job's name: what is there of other work is an error.

        Raises:
            UsageError: another process works there, a key of another length. DamagedCheckpoint: what lies there was
                cut, changed, or sealed under another key.
            PeerError: a party says what cannot be.
        """
        if len(key) != checkpoint.KEY_BYTES:
            raise UsageError(f"The checkpoint key has {len(key)} bytes; give {checkpoint.KEY_BYTES}.")
        busy = f"Another process works in {directory}: wait for it, or give a directory of its own."
        with checkpoint.alone(directory, busy):
            here = Stages(b"", 0, directory, key, session)
            if here._path(0).exists():
                run, of = here.get(0)
                if of != work.encode():
                    raise UsageError(f"{directory} holds other work: give this work a directory of its own.")
                done = next(n for n in range(MAX_STAGES + 1) if not here._path(n + 1).exists())
                here = replace(here, run=run, done=done)
            yield here._agreed(work)

    def put(self, stage: int, *parts: bytes) -> None:
        """Seal what stage number `stage`, from 1, came to here; it is on disk when this returns."""
        self._write(self._path(stage), self.run, b"".join(len(part).to_bytes(8, "little") + part for part in parts))

    def get(self, stage: int) -> tuple[bytes, ...]:
        """What ``put`` was given."""
        raw = self._read(self._path(stage), self.run)
        found, at = [], 0
        while at < len(raw):
            size = int.from_bytes(raw[at : at + 8], "little")
            found.append(raw[at + 8 : at + 8 + size])
            at += 8 + size
        return tuple(found)

    def steps(self, stage: int) -> Steps:
        """Where the stage number `stage` keeps its last steps."""
        return Steps(self, stage)

    def _path(self, stage: int) -> Path:
        return self._directory / f"stage-{stage}"

    def _write(self, path: Path, run: bytes, data: bytes) -> None:
        """`run` comes first: the key is that of all the work, and of another beginning nothing is to be taken."""
        with checkpoint.Writer(path, self._key, rng=self._session.rng) as writer:
            if run:
                writer.write(run)
            for start in range(0, len(data), _FRAME):
                writer.write(data[start : start + _FRAME])

    def _read(self, path: Path, run: bytes) -> bytes:
        frames = checkpoint.read(path, self._key)
        if run and next(frames, b"") != run:
            raise checkpoint.DamagedCheckpoint(path)
        return b"".join(frames)

    def _agreed(self, work: str) -> Stages:
        """Where all parties go on."""
        session = self._session
        nonces = {session.me: session.rng.bytes(RUN_BYTES)}
        runs, done = [self.run], [self.done]
        for channel in session.channels.values():
            channel.send(wire.Stages(run=self.run, done=self.done, nonce=nonces[session.me]))
        for peer, channel in session.channels.items():
            (theirs,) = channel.recv(wire.Stages)
            right = len(theirs.run) in (0, RUN_BYTES) and theirs.done <= MAX_STAGES and len(theirs.nonce) == RUN_BYTES
            channel.require(right, f"a run and a nonce of {RUN_BYTES} bytes, and at most {MAX_STAGES} stages")
            runs.append(theirs.run)
            done.append(theirs.done)
            nonces[peer] = theirs.nonce
        if self.run and all(run == self.run for run in runs):
            self._drop(beyond=min(done))
            return replace(self, done=min(done))
        self._drop(beyond=-1)
        ordered = b"".join(nonces[name] for name in session.parties)
        run = hashes.batch("sha256", _LABEL, pack([ordered]))[0].tobytes()
        replace(self, run=b"").put(0, run, work.encode())
        return replace(self, run=run, done=0)

    def _drop(self, *, beyond: int) -> None:
        """Keep what stages up to number `beyond` came to, and the steps of the next one."""
        for path in self._directory.iterdir():
            kind, *numbers = path.name.split("-")
            if int(numbers[0].partition(".")[0]) > beyond + (kind == "steps" and beyond >= 0):
                path.unlink()


@dataclass(frozen=True)
class Steps:
    """The newest steps of a stage: what ``logistic.fit`` takes as its checkpoint."""

    _stages: Stages = field(repr=False)
    stage: int

    def save(self, step: int, state: bytes) -> None:
        """Seal the state after a step, and drop those before the last two."""
        self._stages._write(self._path(step), self._stages.run, state)
        for old, path in self._found()[:-_KEPT]:
            if old < step:
                path.unlink(missing_ok=True)

    def load(self) -> list[tuple[int, bytes]]:
        """The steps that are there, newest last."""
        return [(step, self._stages._read(path, self._stages.run)) for step, path in self._found()]

    def _path(self, step: int) -> Path:
        return self._stages._directory / f"steps-{self.stage}-{step}"

    def _found(self) -> list[tuple[int, Path]]:
        paths = self._stages._directory.glob(f"steps-{self.stage}-*")
        return sorted((int(path.name.rpartition("-")[2]), path) for path in paths if path.suffix != ".part")
