"""Keys at rest: AES-256-GCM under a key derived by HKDF-SHA256 from the node's storage key.

The storage key is a file that only the node's user can read. Sealing therefore protects backups and copies of single
files, not a machine whose root is an enemy. Erasing overwrites and unlinks: on flash storage and on copy-on-write
file systems the old block may outlive that, so an erased key is gone only together with the storage key
(`docs/operations.md` says what to do about it).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from mpc import durable
from mpc.errors import UsageError
from unseen.governance import files

MAGIC = b"unseen1\x00"
SALT_BYTES = 16
NONCE_BYTES = 12
STORAGE_KEY_BYTES = 32


def storage_key(path: Path) -> bytes:
    """The storage key in the file `path`, made there if it is missing. Raises UsageError if others can read it."""
    if not path.exists():
        try:
            files.create(path, os.urandom(STORAGE_KEY_BYTES), mode=files.PRIVATE)
        except UsageError:
            if not path.exists():
                raise
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{path} can be read by others. Run: chmod 600 {path}")
    key = files.read(path, what="the storage key", limit=STORAGE_KEY_BYTES)
    if len(key) != STORAGE_KEY_BYTES:
        raise UsageError(
            f"{path} does not hold {STORAGE_KEY_BYTES} bytes. Restore it from a backup; sealed keys need it."
        )
    return key


def _cipher(storage: bytes, salt: bytes, purpose: str) -> AESGCM:
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=b"unseen sealed key\x00" + purpose.encode())
    return AESGCM(derive.derive(storage))


def seal(secret: NDArray[np.uint8], *, storage: bytes, purpose: str) -> bytes:
    """Encrypt `secret`, ``(n,) uint8``, for one `purpose`, such as ``marriage-status/7``; it opens for no other."""
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    return MAGIC + salt + nonce + _cipher(storage, salt, purpose).encrypt(nonce, secret.data, purpose.encode())


def unseal(sealed: bytes, *, storage: bytes, purpose: str) -> NDArray[np.uint8]:
    """Inverse of `seal`; the result is writable, so that it can be wiped. Raises UsageError if it was changed or is
    not for `purpose`.
    """
    start = len(MAGIC) + SALT_BYTES + NONCE_BYTES
    salt, nonce = sealed[len(MAGIC) : len(MAGIC) + SALT_BYTES], sealed[len(MAGIC) + SALT_BYTES : start]
    try:
        if not sealed.startswith(MAGIC) or len(nonce) != NONCE_BYTES:
            raise InvalidTag
        plain = _cipher(storage, salt, purpose).decrypt(nonce, sealed[start:], purpose.encode())
    except InvalidTag:
        raise UsageError(
            f"the sealed key of {purpose} does not open: it was changed, or storage.key is another one. "
            "Restore both from one backup, or start the next epoch with `unseen node rotate`."
        ) from None
    return np.frombuffer(plain, dtype=np.uint8).copy()


def erase(path: Path) -> None:
    """Overwrite the file with random bytes, make that durable, and unlink it. A missing file is erased already."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.write(handle, os.urandom(os.fstat(handle).st_size))
        os.fsync(handle)
    finally:
        os.close(handle)
    path.unlink()
    durable.sync_directory(path.parent)
