"""The resident process of one product, whatever it does: it serves the product's sessions on a Unix socket, and lives
as long as its node.

The node starts it (`unseen.node.supervisor`); nobody else should. A crash here takes no other product down, and never
the node.
"""

from __future__ import annotations

import argparse
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mpc.errors import ChannelClosed, ChannelTimeout, MpcError, PeerError, PolicyError
from mpc.rng import Rng
from mpc.transport.grpc import Accepted, Hello, Listener
from unseen import process, server
from unseen.governance.documents import format_time, utc_now
from unseen.governance.ledger import Ledger, Note
from unseen.home import Home
from unseen.node import pipes
from unseen.node.pipes import Command, Report

TICK_S = 0.25
"""How often a product is looked after, seconds."""
IDLE_S = 900.0
"""A session that asks nothing for so long is closed, seconds."""
PURGE_EVERY_S = 600.0
"""How often the nonces of expired consents are forgotten, seconds."""

_log = logging.getLogger(__name__)


class Work(Protocol):
    """What a product does."""

    @property
    def name(self) -> str:
        """The product's."""

    def hello(self, theirs: Hello) -> Hello:
        """What this side holds for an asker's Hello: the words that must agree."""

    def talk(self, accepted: Accepted, rng: Rng) -> int:
        """Serve one session until the asker hangs up. Returns how many elements were answered."""

    def rotate(self) -> None:
        """The owner wants the data as they are now to be used."""

    def tick(self) -> None:
        """Called now and then, in one thread."""

    def report(self) -> Report:
        """How the product is; sessions are counted by the caller."""

    def refusal(self, code: str, *, requester: str, scenario: str | None = None) -> Note:
        """An audit entry for something that was refused as a whole."""


class Resident:
    """One product at work."""

    def __init__(self, work: Work, ledger: Ledger) -> None:
        self._work = work
        self._ledger = ledger
        self._commands: queue.Queue[Command | None] = queue.Queue()
        self._sessions = 0
        self._lock = threading.Lock()
        self._rng = Rng()

    def command(self, text: str) -> None:
        """A line from the node."""
        command = pipes.parse(text, Command)
        if command is not None:
            self._commands.put(command)

    def stop(self) -> None:
        """End `run`."""
        self._commands.put(None)

    def session(self, accepted: Accepted) -> None:
        """Serve one session until the asker hangs up. Runs in a thread of its own."""
        with self._lock:
            self._sessions += 1
        name, peer = self._work.name, accepted.peer
        try:
            answered = self._work.talk(accepted, self._rng.fork())
            _log.info("product %s: session of %s over, %d answered", name, peer, answered)
        except ChannelTimeout:
            accepted.lane.close("idle for too long; connect again")
        except ChannelClosed as error:
            _log.info("product %s: session of %s broke off: %s", name, peer, error)
        except PeerError as error:
            _log.warning("product %s: %s", name, error)
            self._note_refusal("peer-error", peer, accepted.hello.scenario)
            accepted.lane.close("the request was malformed")
        except Exception as error:
            # What is a mistake of ours must not say more to the peer than that it is one.
            _log.exception("product %s: session of %s failed", name, peer)
            accepted.lane.close(f"internal error ({type(error).__name__})")
        finally:
            with self._lock:
                self._sessions -= 1

    def run(self) -> None:
        """Look after the product and report to the node, until told to stop."""
        output = pipes.private_output()
        told = Report()
        purged = time.monotonic()
        while True:
            try:
                command = self._commands.get(timeout=TICK_S)
                if command is None:
                    return
                self._work.rotate()
            except queue.Empty:
                pass
            self._work.tick()
            if time.monotonic() - purged > PURGE_EVERY_S:
                purged = time.monotonic()
                self._purge()
            report = self._work.report().model_copy(update={"sessions": self._sessions})
            if report != told:
                output.write(pipes.line(report))
                told = report

    def _purge(self) -> None:
        try:
            self._ledger.purge()
        except PolicyError as error:
            _log.warning("%s", error)

    def _note_refusal(self, code: str, peer: str, scenario: str) -> None:
        try:
            self._ledger.commit([self._work.refusal(code, requester=peer, scenario=scenario)])
        except PolicyError as error:
            _log.warning("%s", error)


def live(home: Home, work: Work, ledger: Ledger, *, me: str) -> None:
    """Serve a product on its socket until the node ends. `me`: this party."""
    resident = Resident(work, ledger)
    path = home.socket(work.name)
    path.unlink(missing_ok=True)
    listener = Listener(
        f"unix:{path}", resident.session, me=me, credentials=None, answer=lambda _, theirs: work.hello(theirs)
    )
    pipes.follow_parent(on_line=resident.command, on_end=resident.stop)
    _log.info("product %s is there, at %s", work.name, format_time(utc_now()))
    try:
        resident.run()
    finally:
        listener.close("the node is stopping", linger_s=server.DRAIN_S)
        path.unlink(missing_ok=True)


def main(serve: Callable[[Home, str], None], arguments: Sequence[str] | None = None) -> int:
    """Entry point of the modules that a supervisor starts. `serve` runs one product. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--product", required=True)
    given = parser.parse_args(arguments)
    process.log_to_stderr(f"product {given.product}")
    try:
        serve(Home(given.home), given.product)
    except MpcError as error:
        _log.error("%s", error)
        return 2
    return 0
