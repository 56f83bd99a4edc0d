"""Files that people change while a process runs: read again when they change, and only then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.5
"""How often a watched file is looked at, at most, seconds."""

Stamp = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file is replaced or written; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watched(Generic[T]):
    """The content of a file, as `read` understands it. Safe to use from many threads.

    What `read` raises, it raises out of the call of ``get`` that noticed the change; the old content is not used any
    longer unless `read` returns it.
    """

    def __init__(self, path: Path, read: Callable[[], T]) -> None:
        self._path = path
        self._read = read
        self._lock = threading.Lock()
        self._stamp = stamp_of(path)
        self._looked = time.monotonic()
        self._value = read()

    def get(self) -> T:
        """The present content."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return self._value
        with self._lock:
            stamp = stamp_of(self._path)
            if stamp != self._stamp:
                self._value = self._read()
                self._stamp = stamp
            self._looked = now
            return self._value
