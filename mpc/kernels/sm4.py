"""SM4 [GM/T 0002-2012]: counter mode [NIST SP 800-38A] and GCM [NIST SP 800-38D; RFC 8998].

One (key, counter) of counter mode must never mask two different things, and one (key, nonce) of GCM must never seal
two: whoever sees both learns their difference, and with GCM can forge. Under one key at most 2^32 nonces may be random.
Time depends on lengths alone, on every processor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check

KEY_BYTES = 16
COUNTER_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16


def ctr(key: NDArray[np.uint8] | bytes, counter: bytes, data: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """`data`, m bytes, with the stream added: (m,) uint8. The same call takes it off again.

    Args:
        key: 16 bytes.
        counter: 16 bytes, big-endian: block i of the stream is SM4(key, counter + i mod 2^128).
        data: bytes, or a contiguous (m,) array of uint8.
    """
    _check.secret(key, (KEY_BYTES,), "key")
    return _native.sm4_ctr(key, _exactly(counter, COUNTER_BYTES, "counter"), _flat(data, "data"))


def gcm_seal(
    key: NDArray[np.uint8] | bytes,
    nonce: bytes,
    plain: NDArray[np.uint8] | bytes,
    aad: NDArray[np.uint8] | bytes = b"",
) -> NDArray[np.uint8]:
    """`plain`, m bytes, encrypted, and the tag of 16 bytes after it: (m + 16,) uint8.

    Args:
        key: 16 bytes.
        nonce: 12 bytes, never twice under one key.
        plain: bytes, or a contiguous (m,) array of uint8; at most 2^36 - 32 bytes.
        aad: what is not encrypted but has to be the same at `gcm_open`.
    """
    _check.secret(key, (KEY_BYTES,), "key")
    return _native.sm4_gcm_seal(key, _exactly(nonce, NONCE_BYTES, "nonce"), _flat(plain, "plain"), _flat(aad, "aad"))


def gcm_open(
    key: NDArray[np.uint8] | bytes,
    nonce: bytes,
    sealed: NDArray[np.uint8] | bytes,
    aad: NDArray[np.uint8] | bytes = b"",
) -> NDArray[np.uint8]:
    """What `gcm_seal` was given: (m,) uint8 of m + 16 bytes.

    Raises:
        InvalidTag: key, nonce, text or additional data differ, or something is missing; nothing is decrypted then.
    """
    _check.secret(key, (KEY_BYTES,), "key")
    return _native.sm4_gcm_open(key, _exactly(nonce, NONCE_BYTES, "nonce"), _flat(sealed, "sealed"), _flat(aad, "aad"))


def _exactly(value: bytes, size: int, name: str) -> bytes:
    if len(value) != size:
        raise UsageError(f"{name} must be {size} bytes, not {len(value)}.")
    return value


def _flat(value: NDArray[np.uint8] | bytes, name: str) -> NDArray[np.uint8]:
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype=np.uint8)
    if not _check.is_array(value) or value.dtype != np.uint8 or value.ndim != 1 or not value.flags.c_contiguous:
        raise UsageError(f"{name} must be bytes or a contiguous (m,) array of uint8.")
    return value
