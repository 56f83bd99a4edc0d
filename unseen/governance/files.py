"""Files that must be either the old ones or the new ones, never half of each, whatever happens to the machine in
between.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mpc import durable
from mpc.errors import UsageError

PRIVATE = 0o600
PUBLIC = 0o644
LEFT_OVER_S = 60.0
"""A temporary file that nobody wrote to for so long, seconds, is a leftover: a live one is renamed within moments."""

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp", re.DOTALL)


@contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A durable temporary file beside `path` that holds `data`; gone afterwards if the caller did not rename it."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "wb") as file:
            # The mode given to open() is cut by the umask; what others must be able to read has to be set again.
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sweep(directories: Iterable[Path]) -> int:
    """Removes the temporary files that processes left in `directories` when they were killed, or the power was cut.

    Touches regular files alone, of the names that this module gives. Returns how many it removed.
    """
    limit = time.time() - LEFT_OVER_S
    removed = 0
    for directory in directories:
        if not directory.is_dir():
            continue
        for path in directory.iterdir():
            if not _TEMPORARY.fullmatch(path.name):
                continue
            try:
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mtime < limit:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # its process lives, and has just renamed it
    return removed


def replace(path: Path, data: bytes, *, mode: int = PUBLIC) -> None:
    """Writes `data` to `path` atomically and durably, over what was there. `mode`: permission bits of the file."""
    with _written(path, data, mode) as temporary:
        temporary.rename(path)
    durable.sync_directory(path.parent)


def create(path: Path, data: bytes, *, mode: int = PUBLIC) -> None:
    """Writes `data` to the new file `path` atomically and durably. Raises UsageError, and changes nothing, if it
    exists.
    """
    with _written(path, data, mode) as temporary:
        try:
            # A hard link fails where a rename would overwrite.
            os.link(temporary, path)
        except FileExistsError:
            raise UsageError(f"{path} exists and is not overwritten. Choose another place, or move it away.") from None
    durable.sync_directory(path.parent)


def private_directory(path: Path) -> None:
    """Makes the directory `path` (and its parents) if missing, and readable by its owner only.

    Raises UsageError if it is somebody else's, or shared like ``/tmp``; OSError if it cannot be made.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX:
        raise UsageError(
            f"{path} is not this user's own directory, so it is not closed to others. Choose another, or run as the "
            "user who owns it."
        )
    path.chmod(0o700)


def read(path: Path, *, what: str, limit: int = 1 << 24) -> bytes:
    """Content of `path`, at most `limit` bytes. Raises UsageError that says `what` was expected there."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {what} at {path}: {error.strerror}. Check the path and its permissions."
        ) from None
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit} bytes; this is not {what}. Check the path.")
    return data


def read_private(path: Path, *, what: str) -> bytes:
    """Content of a file that only its owner may read, such as a key.

    Raises UsageError as `read` does, and if others may read the file.
    """
    data = read(path, what=what)
    if path.stat().st_mode & 0o077:
        raise UsageError(
            f"{path} is open to others than its owner. Close it (chmod 600 {path}); if somebody else may have read it, "
            "have what it certifies revoked, and make another."
        )
    return data
