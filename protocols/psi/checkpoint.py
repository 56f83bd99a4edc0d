"""What a long intersection keeps on disk so that it can be gone on with: sealed files in a directory of its own.

    salt       16 bytes, random for each file
    frames     u32 length, then that many bytes sealed by AES-256-GCM; the last frame is empty

A file's key is derived from the caller's by HKDF-SHA-256 under the file's salt and name, so that no nonce comes twice
and no file stands for another. A frame's nonce is its number, and whether it is the last: a file that is cut, even
between frames, does not open. A file gets its name when it is complete.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc.errors import UsageError
from mpc.rng import Rng

KEY_BYTES = 32

_INFO = b"unseen psi checkpoint v1\x00"
_SALT = 16
_LENGTH = struct.Struct("<I")
_NONCE = struct.Struct("<QI")  # number of the frame; 1 for the last
_TAG = 16
_PRIVATE = 0o600
_PART = ".part"


class DamagedCheckpoint(UsageError):
    """A file of an unfinished run that is cut short or changed, or sealed under another key."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is cut short or changed, or the checkpoint key is another one: restore it, or delete the "
            f"directory {path.parent} at both parties to begin anew."
        )


class Writer:
    """A sealed file under way. Use as a context manager: it gets its name at the end, if nothing was raised."""

    def __init__(self, path: Path, key: bytes, *, rng: Rng, durable: bool = True) -> None:
        """
        Args:
            path: of the file.
            key: the caller's.
            rng: draws the salt.
            durable: whether to wait until it is on disk. Without that it survives the process, and a cut of power may
                leave a shorter file, which is found damaged.
        """
        self._path = path
        self._durable = durable
        self._part = path.with_name(path.name + _PART)
        salt = rng.bytes(_SALT)
        self._cipher = _cipher(key, salt, path.name)
        self._frames = 0
        handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _PRIVATE)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._put(salt)

    def write(self, data: bytes | memoryview) -> None:
        """One frame, not empty."""
        self._seal(data, last=0)

    def close(self) -> None:
        """The end of the file: under its name."""
        self._seal(b"", last=1)
        if self._durable:
            os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)

    def abandon(self) -> None:
        """Leave no file."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _seal(self, data: bytes | memoryview, *, last: int) -> None:
        sealed = self._cipher.encrypt(_NONCE.pack(self._frames, last), data, None)
        self._frames += 1
        self._put(_LENGTH.pack(len(sealed)) + sealed)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):  # an unbuffered file may take less than it is given, before it says that the disk is full
            view = view[self._file.write(view) :]


def read(path: Path, key: bytes) -> Iterator[bytes]:
    """The frames of a sealed file. DamagedCheckpoint where it is not what was written, or is not there."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DamagedCheckpoint(path) from None
    with file:
        left = os.fstat(file.fileno()).st_size - _SALT
        cipher = _cipher(key, file.read(_SALT), path.name)
        number = 0
        while True:
            head = file.read(_LENGTH.size)
            left -= len(head)
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            if not _TAG <= size <= left:
                raise DamagedCheckpoint(path)
            left -= size
            last = size == _TAG
            try:
                data = cipher.decrypt(_NONCE.pack(number, last), file.read(size), None)
            except InvalidTag:
                raise DamagedCheckpoint(path) from None
            number += 1
            if last:
                if left:
                    raise DamagedCheckpoint(path)
                return
            yield data


@contextmanager
def alone(directory: Path, busy: str) -> Iterator[None]:
    """Makes the directory, for its owner alone, and keeps other processes out; the system lets go at this one's end.

    Raises UsageError with the text `busy` where another process is in it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(busy) from None
        yield
    finally:
        os.close(handle)


def _cipher(key: bytes, salt: bytes, name: str) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=_INFO + name.encode()).derive(key))
