"""The process that does one party's part of one job, and then ends.

Its node starts it (`unseen.node.workers`); nobody else should. It talks to the other parties' workers through its node:
it listens on a Unix socket of its own, to which the node forwards what comes for this job, and it dials them through
the node's socket. Of two parties, the one whose name sorts first dials.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mpc.channel import Channel, Lane
from mpc.errors import ChannelClosed, ChannelError, MpcError, PeerError, PolicyError
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.transport.grpc import Accepted, Connection, Hello, Listener, connect
from mpc.wire.job.v1.job_pb2 import Done
from unseen import process, services
from unseen.governance.documents import from_base64, to_base64
from unseen.governance.enrolment import Identity
from unseen.home import Home
from unseen.jobs import operators, papers, results
from unseen.jobs.spec import Job
from unseen.jobs.task import Task
from unseen.models import ModelStore
from unseen.node import pipes, settings, sources
from unseen.node.gate import Gate, for_peer
from unseen.node.pipes import Assignment, Ended, Moved

MEET_S = 60.0
"""How long the other parties' workers may take to be there, seconds."""
SILENCE_S = 3600.0
"""A party that says nothing for so long, while it is waited for, has failed, seconds."""
DIAL_AGAIN_S = 0.2
"""How soon to dial another party again whose worker still has a conversation with this one's forerunner, seconds."""
LINGER_S = 2.0
"""How long the end of a conversation may take to reach the others, seconds: a reason, since all else has been read."""
TELL_EVERY_S = 0.2
"""How often at most the node is told how far the job is, seconds."""

Tell = Callable[[Moved], None]

_log = logging.getLogger(__name__)


class Meeting:
    """The lanes to all other parties, once they are there. Use as a context manager."""

    def __init__(self, home: Home, job: str, hello: Hello, *, me: str, peers: tuple[str, ...]) -> None:
        self._home = home
        self._job = job
        self._hello = hello
        self._me = me
        self._expected = {peer for peer in peers if peer < me}
        self._dialled = tuple(peer for peer in peers if peer > me)
        self._lanes: dict[str, Lane] = {}
        self._arrived = threading.Condition()
        self._over = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Meeting:
        path = self._home.socket(services.job_socket(self._job))
        path.unlink(missing_ok=True)
        self._stack.callback(path.unlink, missing_ok=True)
        listener = Listener(
            f"unix:{path}", self._accept, me=self._me, credentials=None, answer=lambda _, __: self._hello
        )
        self._stack.callback(listener.close, linger_s=LINGER_S)
        self._stack.callback(self._over.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lanes(self) -> dict[str, Lane]:
        """Dial, and wait for those who dial. Raises what `connect` raises, ChannelClosed for who does not come."""
        for peer in self._dialled:
            connection = self._dial(peer)
            self._stack.callback(connection.close, linger_s=LINGER_S)
            with self._arrived:
                self._lanes[peer] = connection.lane
        with self._arrived:
            wanted = self._expected | set(self._dialled)
            if not self._arrived.wait_for(lambda: wanted <= set(self._lanes), MEET_S):
                missing = ", ".join(sorted(wanted - set(self._lanes)))
                raise ChannelClosed(f"{missing} did not come within {MEET_S:g} s")
            return dict(self._lanes)

    def _dial(self, peer: str) -> Connection:
        out = f"unix:{self._home.socket(services.OUT_SOCKET)}"
        deadline = time.monotonic() + MEET_S
        while True:
            try:
                return connect(
                    out, me=self._me, peer=peer, hello=self._hello, credentials=None, connect_timeout_s=MEET_S
                )
            except ChannelClosed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(DIAL_AGAIN_S)

    def _accept(self, accepted: Accepted) -> None:
        """Hold a session that another party has opened for as long as the job runs."""
        with self._arrived:
            if accepted.peer not in self._expected or accepted.peer in self._lanes:
                return
            self._lanes[accepted.peer] = accepted.lane
            self._arrived.notify_all()
        self._over.wait()


@dataclass(frozen=True)
class Failure:
    """Why a job failed: a code, and words for this party's people and for the others."""

    code: str
    reason: str
    public: str


def work(home: Home, assignment: Assignment, tell: Tell) -> Ended:
    """Do the job. Never raises: what goes wrong is what it returns."""
    began = time.monotonic()
    channels: dict[str, Channel] = {}
    try:
        ended = _work(home, assignment, tell, channels)
    except Exception as error:
        failure = _explain(error)
        for channel in channels.values():
            channel.close(failure.public)
        ended = Ended(code=failure.code, reason=failure.reason, public=failure.public)
    traffic = [channel.traffic for channel in channels.values()]
    return ended.model_copy(
        update={
            "bytes_sent": sum(one.bytes_sent for one in traffic),
            "bytes_received": sum(one.bytes_received for one in traffic),
            "rounds": sum(one.rounds for one in traffic),
            "seconds": round(time.monotonic() - began, 3),
        }
    )


def _work(home: Home, assignment: Assignment, tell: Tell, channels: dict[str, Channel]) -> Ended:
    identity = Identity.load(home.root)
    found = papers.read(assignment.papers)
    job, mine = found.job, found.job.part_of(identity.name)
    allowed = Gate(home).decide_job(found, me=identity.name, trust=identity.trust(), settings=settings.load(home))
    peers = job.peers_of(identity.name)
    with Meeting(home, found.id, job.hello(found.id), me=identity.name, peers=peers) as meeting:
        tell(Moved(listening=True, stage="connect"))
        for peer, lane in meeting.lanes().items():
            channels[peer] = Channel(lane, protocol=job.head.operator, timeout_s=SILENCE_S, send_timeout_s=SILENCE_S)
        task = Task(
            id=found.id,
            job=job,
            mine=mine,
            session=Session(identity.name, channels, Rng(), _throttled(tell)),
            data=sources.job_source(home, allowed.data, allowed.columns),
            minimum_result=allowed.grant.minimum_result,
            workdir=Path(assignment.workdir),
            checkpoint_key=from_base64(assignment.checkpoint_key),
            models=ModelStore(home),
        )
        try:
            return _run(task, Path(assignment.result), job)
        except BaseException as error:
            # Before the meeting ends, so that the others hear why.
            task.session.close(_explain(error).public)
            raise


def _run(task: Task, directory: Path, job: Job) -> Ended:
    got = operators.run(task)
    name, digest = "", b""
    if got.schema is not None:
        path, digest = results.write(directory, got.batches, schema=got.schema, output=job.head.output)
        name = path.name
    further = results.write_files(directory, got.files) if got.files else {}
    for peer in job.peers_of(task.session.me):
        task.session.channel(peer).send(Done())
    for peer in job.peers_of(task.session.me):
        task.session.channel(peer).recv(Done)
    return Ended(
        protocol=got.protocol,
        rows=got.rows,
        result_rows=got.result_rows,
        result_file=name,
        result_hash=to_base64(digest),
        files={name: to_base64(one) for name, one in further.items()},
        sizes=dict(got.sizes),
        learned=got.learned,
    )


def _explain(error: BaseException) -> Failure:
    """An error as words, for this party and for the others: what is wrong with one's data is one's own matter."""
    if isinstance(error, PolicyError):
        return Failure(error.code, error.reason, for_peer(error).reason)
    if isinstance(error, PeerError):
        return Failure("peer-error", str(error), str(error))
    if isinstance(error, ChannelError):
        return Failure("channel", str(error), str(error))
    if isinstance(error, MpcError):
        return Failure("usage", str(error), "its settings or its data are not in order; its own report says how")
    if isinstance(error, OSError):
        what = error.strerror or type(error).__name__
        return Failure("system", f"{what}: {error.filename or ''}".rstrip(": "), f"its machine failed: {what}")
    if isinstance(error, MemoryError):
        return Failure("memory", "the job needs more memory than there is", "its machine has too little memory")
    process.log_place(_log, "job failed", error)
    name = type(error).__name__
    return Failure("internal", f"an error of this library ({name}); the node's log says more", f"it failed ({name})")


def _throttled(tell: Tell) -> Callable[[Progress], None]:
    """Tell the node of the beginning and the end of each stage, and of what is between now and then."""
    told = 0.0
    stage = ""

    def progress(now: Progress) -> None:
        nonlocal told, stage
        moment = time.monotonic()
        if now.stage == stage and now.done != now.total and moment - told < TELL_EVERY_S:
            return
        told, stage = moment, now.stage
        tell(Moved(stage=now.stage[:80], done=now.done, total=now.total))

    return progress


def main() -> int:
    """Entry point of ``python -m unseen.node.worker``. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    process.log_to_stderr("worker")
    operators.prepare()
    output = pipes.private_output()
    assignment = pipes.parse(sys.stdin.readline(), Assignment)
    if assignment is None:  # the node had no job for it
        return 0
    lock = threading.Lock()

    def tell(line: Moved | Ended) -> None:
        with lock:
            output.write(pipes.line(line))

    # A worker whose node has gone has nobody to work for. Nothing that it writes is visible before the node says so.
    pipes.follow_parent(on_line=lambda _: None, on_end=lambda: os._exit(1))
    tell(work(Home(given.home), assignment, tell))
    # Everything is on disk and said. An orderly end of the interpreter and of gRPC's threads would only take its time.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
