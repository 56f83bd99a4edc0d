"""One product's epochs in time: which are served, when the next is built, when it takes over, and when the old key is
erased.

    build ahead   a builder process writes the next epoch's table while the current one serves
    publish       at the end of the current epoch, or as soon as it is built where somebody asked for it
    grace         the former epoch is served a while longer, for consents that were given during it
    retire        its key is wiped from memory and erased from disk

A failing build (say, the data set cannot be read) leaves the current epoch serving until the end of its grace; it is
tried again.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from mpc.errors import MpcError, PolicyError, UsageError
from mpc.kernels import wipe
from protocols.lookup import table as lookup
from protocols.lookup import tablefile
from protocols.lookup.tablefile import Table
from unseen.governance import documents, files
from unseen.governance.documents import Signed, Signer, format_time, from_base64, parse_time, to_base64
from unseen.governance.ledger import Ledger, Note
from unseen.governance.manifest import Manifest
from unseen.home import Home
from unseen.node import epochs, pipes, sealing
from unseen.node.epochs import EpochStore
from unseen.node.pipes import Built
from unseen.node.settings import Product

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
AHEAD = 0.1
"""The next epoch's build begins when this part of the current epoch is left, or earlier if building takes long."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Epoch:
    """An epoch that is being served.

    Attributes:
        secrets: table and private key. The key is wiped as soon as nobody refers to this object any more: a session
            that is in the middle of an evaluation when the epoch ends finishes it with the right key.
    """

    number: int
    manifest: Manifest
    signed: Signed
    secrets: lookup.Epoch = field(repr=False)


@dataclass
class _Build:
    """A build under way."""

    number: int
    directory: Path
    process: subprocess.Popen[str]
    thread: threading.Thread
    built: Built | None = None


class Rotation:
    """The epochs of one product. `tick` is called by one thread, again and again; the rest may be read by any."""

    def __init__(
        self,
        home: Home,
        product: Product,
        *,
        signer: Callable[[], Signer],
        ledger: Ledger,
        clock: Callable[[], datetime] = documents.utc_now,
    ) -> None:
        self._home = home
        self._product = product
        self._signer = signer
        self._ledger = ledger
        self._clock = clock
        self._store = EpochStore(home, product.name)
        self._storage = sealing.storage_key(home.storage_key)
        self._served: Mapping[int, Epoch] = {}
        self._requested = False
        self._build: _Build | None = None
        self._ready: tuple[Path, Built] | None = None
        self._retry_at = 0.0
        self._retry_pause = FIRST_RETRY_S
        self._build_s = 0.0
        self._notes: list[Note] = []
        self._problem = ""

    @property
    def served(self) -> Mapping[int, Epoch]:
        """The epochs being served, by number. The mapping is replaced, never changed."""
        return self._served

    @property
    def current(self) -> Epoch | None:
        """The newest epoch being served."""
        return self._served[max(self._served)] if self._served else None

    @property
    def building(self) -> int:
        """The epoch being built; 0 when none is."""
        return self._build.number if self._build is not None else 0

    @property
    def problem(self) -> str:
        """What is wrong, for people; empty when nothing is."""
        return self._problem

    def manifests(self, since: int, *, limit: int) -> list[tuple[int, Signed]]:
        """The manifests from epoch `since` on, with their epochs, oldest first, at most `limit` of them; the current
        one alone where `since` is 0.

        Raises PolicyError ``epoch-not-ready``, ``epoch-not-served``.
        """
        current = self.current
        if current is None:
            raise epochs.not_ready()
        epochs.check_begun(since, current.number)
        if since in (0, current.number):
            return [(current.number, current.signed)]
        return self._store.manifests(since, current.number, limit=limit)

    def open(self) -> None:
        """Clean up after a former process and load what can still be served."""
        self._store.open()
        served = {}
        # State from an old backup: what it calls current has been followed by others, and is not shown to anyone again.
        outdated = self._store.last() > self._store.current()
        for number in self._store.live():
            if outdated or self._over(number):
                self._store.retire(number)
                continue
            try:
                served[number] = self._load(number)
            except (MpcError, OSError) as error:
                _log.error("product %s: epoch %d cannot be served: %s", self._product.name, number, error)
                self._problem = f"epoch {number} cannot be served: {error}"
        self._served = served
        current = self.current
        # A changed node.toml takes effect in a new epoch: the old table cannot answer for the new settings.
        self._requested = current is not None and not self._fits(current)

    def request(self) -> None:
        """Begin the next epoch as soon as it is built."""
        self._requested = True
        self._retry_at, self._retry_pause = 0.0, FIRST_RETRY_S

    def tick(self) -> None:
        """Do what is due. Never blocks for long; raises only what no other tick, but a fresh process could mend."""
        self._retire_old()
        self._collect_build()
        current, now = self.current, self._clock()
        due = self._requested or current is None or now >= self._build_at(current)
        if due and self._ready is None and self._build is None and time.monotonic() >= self._retry_at:
            self._start_build()
        if self._ready is not None and (
            self._requested or current is None or now >= parse_time(current.manifest.not_after)
        ):
            self._publish()
        self._write_notes()

    def close(self) -> None:
        """Stop a build under way."""
        if self._build is not None:
            _hang_up(self._build)
            self._build.thread.join()

    # Building -------------------------------------------------------------------------------------------------------

    def _build_at(self, current: Epoch) -> datetime:
        length = parse_time(current.manifest.not_after) - parse_time(current.manifest.not_before)
        lead = max(length * AHEAD, timedelta(seconds=2 * self._build_s))
        return parse_time(current.manifest.not_after) - lead

    def _start_build(self) -> None:
        number = self._store.last() + 1
        try:
            directory = self._store.new_building()
            command = pipes.command_line(
                "unseen.node.builder",
                *("--home", str(self._home.root.absolute()), "--product", self._product.name),
                *("--epoch", str(number), "--into", str(directory.absolute())),
            )
            threads = max(1, (os.cpu_count() or 2) // 2)
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                # While something serves, building takes half of the cores; before the first epoch it takes all.
                env={**os.environ, "UNSEEN_THREADS": str(threads)} if self._served else None,
            )
        except OSError as error:
            self._failed(f"building cannot begin: {error.strerror}")  # what it leaves is removed at the next start
            return
        build = _Build(number, directory, process, threading.Thread(target=lambda: None))
        build.thread = threading.Thread(target=_listen, args=(build,), name=f"builder of epoch {number}", daemon=True)
        build.thread.start()
        self._build = build
        _log.info("product %s: building epoch %d", self._product.name, number)

    def _collect_build(self) -> None:
        build = self._build
        if build is None or build.thread.is_alive():
            return
        self._build = None
        status = build.process.wait()
        _hang_up(build)
        if build.built is not None and build.built.table_hash and status == 0:
            self._ready = build.directory, build.built
            self._build_s = build.built.seconds
            self._retry_pause = FIRST_RETRY_S
            self._problem = ""
            return
        self._store.discard(build.directory)
        self._failed(build.built.problem if build.built is not None else f"the builder ended with status {status}")

    def _failed(self, problem: str) -> None:
        self._problem = f"the next epoch cannot be built: {problem}"
        self._retry_at = time.monotonic() + self._retry_pause
        _log.error("product %s: %s (next try in %.0f s)", self._product.name, self._problem, self._retry_pause)
        self._retry_pause = min(2 * self._retry_pause, LONGEST_RETRY_S)

    # Publishing -----------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        if self._ready is None:
            return
        directory, built = self._ready
        number = self._store.last() + 1
        try:
            table = tablefile.load(directory / epochs.TABLE, table_hash=from_base64(built.table_hash))
            signed = documents.sign(self._manifest(number, table), self._signer())
            self._store.publish(directory, number, signed)
            epoch = self._load(number)
        except (MpcError, OSError) as error:
            if self._store.current() == number:
                raise  # published, yet it cannot be served: a fresh process looks again at what is on the disk
            self._ready = None
            if directory.exists():
                self._store.discard(directory)
            self._failed(str(error))
            return
        self._ready, self._requested = None, False
        self._served = {**self._served, number: epoch}
        self._notes.append(
            Note(
                kind="epoch",
                result="ok",
                product=self._product.name,
                operator=self._product.operator,
                suite=self._product.suite,
                epoch=number,
                output=documents.digest(signed, suite=self._product.suite),
            )
        )
        _log.info("product %s: epoch %d serves, until %s", self._product.name, number, epoch.manifest.not_after)

    def _manifest(self, number: int, table: Table) -> Manifest:
        spec = table.spec
        now = self._clock()
        ends = now + timedelta(seconds=self._product.epoch)
        last = self._store.last()
        previous = None
        if last:
            signed = self._store.manifest(last)
            previous = to_base64(documents.digest(signed, suite=documents.parse(signed.document, Manifest).suite))
        return Manifest(
            suite=spec.suite,
            node=self._signer().name,
            product=spec.product,
            epoch=number,
            public_key=to_base64(spec.public_key),
            table_hash=to_base64(table.hash),
            table_rows=spec.rows,
            row_bytes=tablefile.TAG_BYTES + spec.answer_bytes,
            key_form=spec.key_form,
            answer_bytes=spec.answer_bytes,
            default_answer=None if spec.default_answer is None else to_base64(spec.default_answer),
            previous=previous,
            not_before=format_time(now),
            not_after=format_time(ends),
            grace_until=format_time(ends + timedelta(seconds=self._product.grace)),
        )

    def _load(self, number: int) -> Epoch:
        signed = self._store.manifest(number)
        manifest = documents.parse(signed.document, Manifest)
        directory = self._store.epoch(number)
        table = tablefile.load(directory / epochs.TABLE, table_hash=from_base64(manifest.table_hash))
        sealed = files.read(directory / epochs.KEY, what="a sealed key", limit=4096)
        key = sealing.unseal(sealed, storage=self._storage, purpose=f"{self._product.name}/{number}")
        secrets = lookup.Epoch(table=table, private_key=key)
        weakref.finalize(secrets, wipe, key)
        return Epoch(number=number, manifest=manifest, signed=signed, secrets=secrets)

    def _fits(self, epoch: Epoch) -> bool:
        """Whether the epoch was built under the present settings."""
        spec, product = epoch.secrets.table.spec, self._product
        default = None if product.default_answer is None else product.encode(product.default_answer)
        return (spec.suite, spec.key_form, spec.answer_bytes, spec.default_answer) == (
            product.suite,
            product.form,
            product.answer_bytes,
            default,
        )

    # Retiring -------------------------------------------------------------------------------------------------------

    def _over(self, number: int) -> bool:
        """Whether the time is past at which an epoch may still be served."""
        manifest = documents.parse(self._store.manifest(number).document, Manifest)
        last = parse_time(manifest.grace_until)
        if number < self._store.current():
            following = documents.parse(self._store.manifest(number + 1).document, Manifest)
            last = min(last, parse_time(following.not_before) + timedelta(seconds=self._product.grace))
        return self._clock() > last

    def _retire_old(self) -> None:
        over = [number for number in self._served if self._over(number)]
        if not over:
            return
        self._served = {number: epoch for number, epoch in self._served.items() if number not in over}
        for number in over:
            try:
                self._store.retire(number)
            except OSError as error:
                self._problem = f"the key of epoch {number} cannot be erased: {error.strerror}"
                _log.error("product %s: %s", self._product.name, self._problem)
            else:
                _log.info("product %s: epoch %d is over, its key is erased", self._product.name, number)

    def _write_notes(self) -> None:
        if not self._notes:
            return
        try:
            self._ledger.commit(self._notes)
        except PolicyError as error:
            _log.warning("product %s: %s", self._product.name, error)
        else:
            self._notes = []


def _hang_up(build: _Build) -> None:
    """Close the builder's standard input, which ends it if it still runs."""
    if build.process.stdin is not None:
        build.process.stdin.close()


def _listen(build: _Build) -> None:
    if build.process.stdout is None:
        raise UsageError("a builder is started with a pipe for its output.")
    with build.process.stdout as output:
        for text in output:
            build.built = pipes.parse(text, Built) or build.built
