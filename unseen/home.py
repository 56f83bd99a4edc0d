"""Where a party keeps its things: the layout of a home directory.

home/
  party.toml tls.key tls.crt signing.key signing.crt root.crt crl.pem   identity (`unseen.governance.enrolment`)
  node.toml policy.toml       what the node serves, and to whom
  coordinator.toml            in a coordinator's home
  pins/                       what this party has seen of others' signing keys and manifests
  run/                        locks and Unix sockets; empty while nothing runs
  cache/tables/               masked tables that this party has fetched, by hash
  receipts/                   receipts of the answers that this party got
  results/<job>/              what this party got of a job, with its report; ``<job>.part`` while it is being written
  models/<model>/v<k>/        this party's parts of models (`unseen.models`)
  state/
    ledger.db                 burnt nonces and the audit log
    storage.key               what keys at rest are sealed under
    manifests/<product>/      every manifest that this node signed: no secret, and worth a backup
    products/<product>/       the epochs of one product (`unseen.node.epochs`)
    jobs/<job>/               a running job's own directory: its record, its checkpoints
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mpc.errors import UsageError
from unseen.governance import files

REPORT = "report.json"
"""A party's report on a job, beside the result."""

MODEL = "model.json"
"""A party's part of a model that a job has trained, beside the report."""

LONGEST_SOCKET_PATH = 107
"""Bytes that a Unix socket's address holds on Linux, without the closing zero."""

PINS_TIMEOUT_S = 30.0
"""How long to wait for another process of this party that writes its pins, seconds."""


@dataclass(frozen=True)
class Home:
    """Paths within one home directory. Making a ``Home`` touches no file."""

    root: Path

    @property
    def node_toml(self) -> Path:
        """What the node serves."""
        return self.root / "node.toml"

    @property
    def policy_toml(self) -> Path:
        """Who may use it."""
        return self.root / "policy.toml"

    @property
    def coordinator_toml(self) -> Path:
        """How the coordinator runs."""
        return self.root / "coordinator.toml"

    @property
    def crl(self) -> Path:
        """The CA's revocation list."""
        return self.root / "crl.pem"

    @property
    def pins(self) -> Path:
        """Others' signing keys and manifests, as first seen."""
        return self.root / "pins"

    @property
    def tables(self) -> Path:
        """Fetched tables."""
        return self.root / "cache" / "tables"

    @property
    def receipts(self) -> Path:
        """Receipts got."""
        return self.root / "receipts"

    @property
    def results(self) -> Path:
        """What this party got of jobs."""
        return self.root / "results"

    @property
    def models(self) -> Path:
        """This party's parts of models."""
        return self.root / "models"

    def result(self, job: str) -> Path:
        """What this party got of one job; there as soon as it is complete."""
        return self.results / job

    def unfinished_result(self, job: str) -> Path:
        """Where a job's result is before it is complete."""
        return self.results / f"{job}.part"

    def job(self, job: str) -> Path:
        """A running job's own directory."""
        return self.state / "jobs" / job

    @property
    def state(self) -> Path:
        """What must survive a restart."""
        return self.root / "state"

    @property
    def ledger(self) -> Path:
        """Burnt nonces and the audit log."""
        return self.state / "ledger.db"

    @property
    def storage_key(self) -> Path:
        """The key that keys at rest are sealed under."""
        return self.state / "storage.key"

    def product(self, name: str) -> Path:
        """The epochs of one product."""
        return self.state / "products" / name

    def manifests(self, product: str) -> Path:
        """Every manifest of one product."""
        return self.state / "manifests" / product

    def run(self) -> Path:
        """The directory for locks and sockets, made if missing, open to its owner only.

        It is ``home/run``, or where that would make a socket's address too long for the kernel, a directory of this
        user under the system's temporary directory whose name is derived from the home's path.
        """
        directory = self.root.absolute() / "run"
        # The longest socket name is a product's, of up to 63 characters; the shorter ones that people use should stay
        # in home.
        if len(os.fsencode(directory)) + len("/.sock") + 40 > LONGEST_SOCKET_PATH:
            name = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:16]
            directory = Path(tempfile.gettempdir()) / f"unseen-{os.getuid()}-{name}"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UsageError(f"{directory} is not a directory of this user. Remove it, or run as the user who owns it.")
        directory.chmod(0o700)
        return directory

    def socket(self, name: str) -> Path:
        """Path of a Unix socket. Raises UsageError where the kernel could not take it."""
        path = self.run() / f"{name}.sock"
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            raise UsageError(
                f"the socket path {path} is longer than the {LONGEST_SOCKET_PATH} bytes of the kernel. Move the home."
            )
        return path


def prepare(home: Home) -> None:
    """Make the directories that a serving party needs, closed to others."""
    for directory in (home.state, home.state / "products", home.pins, home.run()):
        files.private_directory(directory)


def sweep(home: Home) -> int:
    """Remove temporary files that killed processes left in this home's own directories. Returns how many.

    `unseen.node.epochs` does the same for the products' directories, whose only writer it is.
    """
    identity = home.root / "identity"
    directories = [home.root, identity, *identity.glob("[0-9][0-9][0-9][0-9]")]
    return files.sweep([*directories, home.state, home.pins, home.pins / "evidence", home.tables])


@contextmanager
def exclusive(home: Home, name: str, *, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock `name` of this home while the block runs.

    Raises UsageError if another process holds it, and goes on holding it for `timeout_s`.

    The kernel frees the lock when the process ends, however it ends.
    """
    path = home.run() / f"{name}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise UsageError(
                        f"another process uses {home.root} as {name} already. Stop that one, or use another home."
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)
