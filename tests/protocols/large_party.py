"""One party, or both, of an intersection by buckets in a process of its own, which can be made to die at any point.

    python -m tests.protocols.large_party DIRECTORY both|bank|insurer --die-at N --file-limit BYTES

The process ends itself by SIGKILL when the run reaches its N-th event: a file begun, a frame
written, or a file complete.
It says how many buckets were done before it began, and how many events there were.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from mpc.channel import Channel
from mpc.data.tables import DataSet
from mpc.errors import ChannelError
from mpc.rng import Rng
from mpc.session import Progress, Session
from mpc.testing import run_parties
from mpc.transport import grpc as transport
from protocols import psi
from protocols.psi import checkpoint

BANK, INSURER = "bank", "insurer"
KEY = bytes(range(32))
RESUME_S = 2.0  # after which a party that has died is gone
HELLO = transport.Hello("run", "psi", 1, "", bytes(32))


class Events:
    """Counts what has been written, and ends the process at one of them."""

    def __init__(self, die_at: int) -> None:
        self._die_at = die_at
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)


def say(line: str) -> None:
    """A line for the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def watch(events: Events) -> None:
    """Has every step of writing a file counted."""
    writer = checkpoint.Writer

    def counted(name: str) -> None:
        plain: Callable[..., None] = getattr(writer, name)

        def step(*arguments: object, **options: object) -> None:
            plain(*arguments, **options)
            events()

        setattr(writer, name, step)

    for name in ("__init__", "write", "close"):
        counted(name)


def run(directory: Path, name: str) -> Callable[[Session], psi.TablesResult]:
    """What a party runs."""
    first: list[int] = []

    def progress(step: Progress) -> None:
        if step.stage == "buckets" and not first:
            first.append(step.done)
            say(f"{name} begins with bucket {step.done} of {step.total}")

    def function(session: Session) -> psi.TablesResult:
        return psi.intersect_tables(
            Session(session.me, session.channels, session.rng, progress),
            DataSet(str(directory / f"{name}.csv"), columns=("id", f"of_{name}")),
            directory / f"{name}-result.parquet",
            keys=("id",),
            peer=INSURER if name == BANK else BANK,
            run="job 1",
            workdir=directory / f"{name}-work",
            checkpoint_key=KEY,
            protocol="ecdh",
            bucket_rows=16,
        )

    return function


def alone(directory: Path, name: str) -> None:
    """One party, which meets the other on a Unix socket."""
    address = f"unix:{directory / 'bank.sock'}"
    function = run(directory, name)

    def meet(lane: transport.LinkLane, peer: str) -> None:
        channel = Channel(lane, protocol="psi", timeout_s=30)
        function(Session(name, {peer: channel}, Rng()))

    if name == INSURER:
        with transport.connect(
            address, me=INSURER, peer=BANK, hello=HELLO, credentials=None, resume_window_s=RESUME_S
        ) as connection:
            meet(connection.lane, BANK)
        return
    over = threading.Event()
    failed: list[BaseException] = []

    def serve(accepted: transport.Accepted) -> None:
        try:
            meet(accepted.lane, INSURER)
        except BaseException as error:
            failed.append(error)
        finally:
            over.set()

    with transport.Listener(address, serve, me=BANK, credentials=None, resume_window_s=RESUME_S):
        over.wait(60)
    if failed:
        raise failed[0]


def main() -> int:
    """0 where all went well, 3 where the peer is gone, 4 where the disk is full."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("who", choices=("both", BANK, INSURER))
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--file-limit", type=int, default=0)
    given = parser.parse_args()
    events = Events(given.die_at)
    watch(events)
    if given.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.file_limit, resource.RLIM_INFINITY))
    try:
        if given.who == "both":
            run_parties({name: run(given.directory, name) for name in (BANK, INSURER)}, protocol="psi")
        else:
            alone(given.directory, given.who)
    except ChannelError as error:
        say(f"the peer is gone: {error}")
        return 3
    except OSError as error:
        say(error.strerror)
        return 4
    say(f"{events.count} events")
    return 0


if __name__ == "__main__":
    sys.exit(main())
