"""The epochs of one product on disk, so that the old one or the new one serves, whatever happens in between.

    state/products/<product>/
      current                   number of the current epoch
      epochs/<n>/table.bin      the masked table
      epochs/<n>/key.sealed     the epoch's secret key, sealed; erased when nobody is served from the epoch any more
      epochs/<n>/manifest.json  the signed manifest
      building-<random>/        a table that a builder is writing
      builder.lock              held by the builder while it lives
    state/manifests/<product>/
      <n>.json                  every manifest there ever was, since each names the hash of the one before

An epoch is complete, synchronised to disk and renamed into ``epochs/`` before ``current`` names it, and ``current``
names it before its manifest is shown to anyone. A directory with a number above ``current`` has therefore been seen by
nobody: it is a leftover of a process that died in between, and is removed at the start.

Where ``state/products`` is lost, or comes from an old backup, the manifests say which number comes next: a node never
signs a second manifest for an epoch, which would be taken for cheating.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpc import durable
from mpc.errors import PolicyError, UsageError
from unseen.governance import documents, files
from unseen.governance.documents import Signed
from unseen.home import Home
from unseen.node import sealing

TABLE = "table.bin"
MANIFEST = "manifest.json"
KEY = "key.sealed"

LONGEST_MANIFEST = 1 << 20


class EpochStore:
    """One product's epochs. One process writes them: the product's, together with the builder that it starts."""

    def __init__(self, home: Home, product: str) -> None:
        self._directory = home.product(product)
        self._epochs = self._directory / "epochs"
        self._manifests = home.manifests(product)

    def epoch(self, number: int) -> Path:
        """The directory of one epoch."""
        return self._epochs / str(number)

    def open(self) -> None:
        """Make the directories if they are missing, wait for a builder of a former process to end, and remove
        leftovers.
        """
        files.private_directory(self._epochs)
        files.private_directory(self._manifests)
        with self.building_lock(timeout_s=30.0):
            current = self.current()
            for path in self._directory.glob("building-*"):
                _remove(path)
            for path in (*self._directory.glob(".*.tmp"), *self._manifests.glob(".*.tmp")):
                path.unlink(missing_ok=True)
            for number in _numbers(self._epochs):
                if number > current:
                    _remove(self.epoch(number))
        if (self.epoch(current) / MANIFEST).exists():
            self._remember(current)
        elif current > max(_numbers(self._manifests), default=0):
            raise UsageError(f"{self._directory}: current is epoch {current}, which is missing. Restore a backup.")

    def current(self) -> int:
        """Number of the current epoch; 0 before the first."""
        try:
            text = (self._directory / "current").read_text(encoding="ascii")
        except FileNotFoundError:
            return 0
        if not text.strip().isdigit():
            raise UsageError(
                f"{self._directory / 'current'} does not hold a number. Restore the directory from a backup."
            )
        return int(text)

    def last(self) -> int:
        """Number of the last epoch that was ever current; 0 if none was. Above `current` only after a loss of state."""
        return max([self.current(), *_numbers(self._manifests)])

    def live(self) -> tuple[int, ...]:
        """The epochs that have not been retired, ascending."""
        return tuple(number for number in _numbers(self._epochs) if number <= self.current())

    def manifest(self, number: int) -> Signed:
        """The signed manifest of an epoch. Raises UsageError if it cannot be read."""
        kept, published = self._manifests / f"{number}.json", self.epoch(number) / MANIFEST
        path = kept if kept.exists() else published
        return documents.from_json(files.read(path, what=f"the manifest of epoch {number}", limit=LONGEST_MANIFEST))

    def manifests(self, since: int, until: int, *, limit: int | None = None) -> list[tuple[int, Signed]]:
        """The manifests of the epochs `since` to `until`, with their numbers, oldest first; at most `limit`
        of them, the oldest.
        """
        numbers = [number for number in _numbers(self._manifests) if since <= number <= until]
        return [(number, self.manifest(number)) for number in numbers[:limit]]

    def new_building(self) -> Path:
        """A fresh directory for a builder to write ``table.bin`` and ``key.sealed`` into."""
        path = self._directory / f"building-{secrets.token_hex(6)}"
        path.mkdir(mode=0o700)
        return path

    def discard(self, building: Path) -> None:
        """Remove what a builder has left, and erase its key."""
        _remove(building)

    def publish(self, building: Path, number: int, manifest: Signed) -> None:
        """Make what was built the current epoch. Afterwards, and not before, the manifest may be shown.

        Raises:
            UsageError: `number` does not follow the current one.
            OSError: the disk is full or broken; the former epoch is still the current one.
        """
        if number != self.last() + 1:
            raise UsageError(f"epoch {number} does not follow epoch {self.last()}. Start a new build.")
        files.replace(building / MANIFEST, documents.to_json(manifest).encode(), mode=files.PRIVATE)
        for path in building.iterdir():
            _sync_file(path)
        durable.sync_directory(building)
        building.rename(self.epoch(number))
        durable.sync_directory(self._epochs)
        durable.sync_directory(self._directory)
        try:
            files.replace(self._directory / "current", f"{number}\n".encode(), mode=files.PRIVATE)
        except OSError:
            if self.current() != number:
                _remove(self.epoch(number))
            raise
        self._remember(number)

    def retire(self, number: int) -> None:
        """Erase an epoch's key and delete its table. Its manifest stays. Doing it again does nothing."""
        if self.epoch(number).exists():
            self._remember(number)
            _remove(self.epoch(number))

    def _remember(self, number: int) -> None:
        """Keep the manifest of a published epoch for good."""
        path = self._manifests / f"{number}.json"
        if not path.exists():
            content = files.read(self.epoch(number) / MANIFEST, what="a manifest", limit=LONGEST_MANIFEST)
            files.replace(path, content, mode=files.PRIVATE)

    @contextmanager
    def building_lock(self, *, timeout_s: float) -> Iterator[None]:
        """Hold the lock that a builder holds while it lives. Raises UsageError if it is not free within `timeout_s`."""
        handle = os.open(self._directory / "builder.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise UsageError(
                            f"another process is building in {self._directory}. Stop it, or wait for it to end."
                        ) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(handle)


def not_ready() -> PolicyError:
    """The error for a product that serves no epoch."""
    return PolicyError(
        "no epoch is served: the table is still being built",
        code="epoch-not-ready",
        remedy="Try again in a minute; if that does not help, its operator sees the reason in `unseen node status`.",
    )


def check_begun(since: int, current: int) -> None:
    """Raises PolicyError ``epoch-not-served`` if epoch `since` comes after the current one."""
    if since > current:
        raise PolicyError(
            f"epoch {since} has not begun, the current one is {current}",
            code="epoch-not-served",
            remedy="Ask the node's operator whether it was set back to an old back-up.",
        )


def _numbers(directory: Path) -> list[int]:
    """The numbers that name files or directories there, ascending."""
    stems = (path.name.removesuffix(".json") for path in directory.glob("*"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def _remove(directory: Path) -> None:
    sealing.erase(directory / KEY)
    shutil.rmtree(directory)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
