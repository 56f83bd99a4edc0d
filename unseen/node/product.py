"""The resident process of one product: it serves the product's sessions on a Unix socket, and lives as long as its
node.

The node starts it (`unseen.node.supervisor`); nobody else should. A crash here takes no other product down, and never
the node.
"""

from __future__ import annotations

import argparse
import logging
import queue
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from mpc.channel import Channel
from mpc.errors import ChannelClosed, ChannelTimeout, MpcError, PeerError, PolicyError
from mpc.rng import Rng
from mpc.transport.grpc import Accepted, Caller, Hello, Listener
from protocols.lookup import table as lookup
from unseen import process, server
from unseen.governance import ledger as ledgers
from unseen.governance.documents import format_time
from unseen.governance.ledger import Ledger, Note
from unseen.hello import lookup_hello
from unseen.home import Home
from unseen.node import pipes, settings
from unseen.node.desk import Desk
from unseen.node.gate import Gate
from unseen.node.pipes import Command, Report
from unseen.node.rotation import Rotation

TICK_S = 0.25
"""How often epochs are looked after, seconds."""
IDLE_S = 900.0
"""A session that asks nothing for so long is closed, seconds."""
PURGE_EVERY_S = 600.0
"""How often the nonces of expired consents are forgotten, seconds."""

_log = logging.getLogger(__name__)


class Resident:
    """One product at work."""

    def __init__(self, desk: Desk, rotation: Rotation, ledger: Ledger) -> None:
        self._desk = desk
        self._rotation = rotation
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

    def answer(self, _: Caller, theirs: Hello) -> Hello:
        """What this side holds for an asker's Hello: the words that must agree."""
        product = self._desk.product
        return lookup_hello(session=theirs.session, product=product.name, scenario=theirs.scenario, suite=product.suite)

    def session(self, accepted: Accepted) -> None:
        """Serve one session until the asker hangs up. Runs in a thread of its own."""
        with self._lock:
            self._sessions += 1
        name, peer = self._desk.product.name, accepted.peer
        try:
            channel = Channel(accepted.lane, protocol=lookup.OPERATOR.name, timeout_s=IDLE_S)
            answered = lookup.send(channel, service=self._desk, rng=self._rng.fork())
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
        """Look after the epochs and report to the node, until told to stop."""
        output = pipes.private_output()
        told = Report()
        purged = time.monotonic()
        while True:
            try:
                command = self._commands.get(timeout=TICK_S)
                if command is None:
                    return
                self._rotation.request()
            except queue.Empty:
                pass
            self._rotation.tick()
            if time.monotonic() - purged > PURGE_EVERY_S:
                purged = time.monotonic()
                self._purge()
            report = self._report()
            if report != told:
                output.write(pipes.line(report))
                told = report

    def _report(self) -> Report:
        current = self._rotation.current
        return Report(
            epoch=current.number if current is not None else 0,
            epoch_ends=current.manifest.not_after if current is not None else "",
            serving=current is not None,
            building=self._rotation.building,
            problem=self._rotation.problem,
            sessions=self._sessions,
        )

    def _purge(self) -> None:
        try:
            self._ledger.purge()
        except PolicyError as error:
            _log.warning("%s", error)

    def _note_refusal(self, code: str, peer: str, scenario: str) -> None:
        try:
            self._ledger.commit([self._desk.refusal(code, requester=peer, scenario=scenario)])
        except PolicyError as error:
            _log.warning("%s", error)


def serve(home: Home, name: str) -> None:
    """Run the product's process until the node ends. Raises UsageError when settings or state are not in order."""
    product = settings.load(home).find(name)
    if product is None:
        raise settings.no_product(name)
    identity = server.watched_identity(home.root)
    settings.check_suite(product, identity.get().suite)
    trust = identity.get().trust()
    ledger = ledgers.open_ledger(home.ledger, node=identity.get().name, suite=identity.get().suite)
    rotation = Rotation(home, product, signer=lambda: identity.get().signer, ledger=ledger)
    desk = Desk(product, identity.get, lambda: trust, Gate(home), ledger, rotation)
    resident = Resident(desk, rotation, ledger)
    rotation.open()
    ledger.commit([Note(kind="start", result="ok", product=name, operator=product.operator, suite=product.suite)])
    path = home.socket(name)
    path.unlink(missing_ok=True)
    listener = Listener(
        f"unix:{path}", resident.session, me=identity.get().name, credentials=None, answer=resident.answer
    )
    pipes.follow_parent(on_line=resident.command, on_end=resident.stop)
    _log.info("product %s is there, at %s", name, format_time(desk.clock()))
    try:
        resident.run()
    finally:
        listener.close("the node is stopping", linger_s=server.DRAIN_S)
        rotation.close()
        ledger.close()
        path.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m unseen.node.product``. Returns the exit code."""
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


if __name__ == "__main__":
    sys.exit(main())
