"""The prime-order group of the curve SM2 [GM/T 0003.5], RFC 9380's hash into it, and SM2 signatures [GM/T 0003.2].

Elements are arrays of (n, 33) uint8, compressed points; scalars are (n, 32) uint8, big endian. An encoding that is not
of a point of the curve is refused wherever an element comes in, the identity has none, and zero and numbers that are
not below the order are refused wherever a scalar comes in.

A signature is 64 bytes, r and then s. Its message is hashed with SM3 after the signer's ID and public key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mpc import _native
from mpc.errors import UsageError
from mpc.kernels import _check
from mpc.kernels.ed25519 import InvalidSignature

if TYPE_CHECKING:
    from mpc.kernels.packing import Packed

ELEMENT_BYTES = 33
SCALAR_BYTES = 32
UNIFORM_SCALAR_BYTES = 48
"""Uniform bytes that one scalar is made of."""
SIGNATURE_BYTES = 64
ENTROPY_BYTES = 32
"""Fresh randomness that one signature takes."""
DEFAULT_ID = b"1234567812345678"
"""The signer's ID where the two sides have agreed on none [GM/T 0009, section 10]."""
MAX_ID_BYTES = 8191


def scalar_from_uniform(uniform: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scalars of uniform strings, reduced modulo the group order: (n, 48) -> (n, 32).

    A string that reduces to zero raises InvalidEncoding; in 2^256 draws that happens about once.
    """
    _check.rows(uniform, UNIFORM_SCALAR_BYTES, "uniform")
    return _native.sm2_scalar_from_uniform(uniform)


def scalar_invert(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Inverses modulo the group order: (n, 32) -> (n, 32)."""
    _check.rows(scalars, SCALAR_BYTES, "scalars")
    return _native.sm2_scalar_invert(scalars)


def hash_to_group(items: Packed, dst: bytes) -> NDArray[np.uint8]:
    """hash_to_curve of `SM2_XMD:SM3_SSWU_RO_` [RFC 9380] of n strings: (n, 33).

    Args:
        items: the strings.
        dst: domain separation tag, at least one byte; no two uses may share one.
    """
    _check.dst(dst)
    return _native.sm2_hash_to_group(items.data, items.offsets, dst)


def try_and_rehash_vartime(items: Packed, *, name: Literal["sm3", "sha256"]) -> NDArray[np.uint8]:
    """The hash to the curve that other libraries for private set intersection use: n strings to (n, 33).

    The first of H(m), H(H(m)), … that is the x of a point, modulo the field's order, with its even y [SecretFlow's
    ``TryAndRehash_SM`` and ``TryAndRehash_SHA2``]. For work together with them and nothing else: there is no domain
    separation, and how long an item takes tells something of it.
    """
    if name not in ("sm3", "sha256"):
        raise UsageError(f"There is no hash {name!r} here; give sm3 or sha256.")
    return _native.sm2_try_and_rehash(name, items.data, items.offsets)


def hash_mul(scalar: NDArray[np.uint8] | bytes, items: Packed, dst: bytes) -> NDArray[np.uint8]:
    """One scalar, (32,), times `hash_to_group` of n strings: (n, 33). Cheaper than one after the other."""
    _check.secret(scalar, (SCALAR_BYTES,), "scalar")
    _check.dst(dst)
    return _native.sm2_hash_mul(scalar, items.data, items.offsets, dst)


def mul(scalar: NDArray[np.uint8] | bytes, points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One scalar, (32,), times every element: (n, 33) -> (n, 33).

    Raises InvalidEncoding with the index of the first bad element.
    """
    _check.secret(scalar, (SCALAR_BYTES,), "scalar")
    _check.rows(points, ELEMENT_BYTES, "points")
    return _native.sm2_mul(scalar, points)


def mul_each(scalars: NDArray[np.uint8], points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] * points[i]: (n, 32), (n, 33) -> (n, 33). Raises InvalidEncoding as `mul` does."""
    n = _check.rows(scalars, SCALAR_BYTES, "scalars")
    _check.same_count(n, _check.rows(points, ELEMENT_BYTES, "points"), "points")
    return _native.sm2_mul_each(scalars, points)


def add(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] + b[i]: (n, 33), (n, 33) -> (n, 33).

    Raises InvalidEncoding as `mul` does, and where a sum is the identity.
    """
    n = _check.rows(a, ELEMENT_BYTES, "a")
    _check.same_count(n, _check.rows(b, ELEMENT_BYTES, "b"), "b")
    return _native.sm2_add(a, b)


def sub(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """a[i] - b[i]: (n, 33), (n, 33) -> (n, 33).

    Raises InvalidEncoding as `mul` does, and where the two are the same.
    """
    n = _check.rows(a, ELEMENT_BYTES, "a")
    _check.same_count(n, _check.rows(b, ELEMENT_BYTES, "b"), "b")
    return _native.sm2_sub(a, b)


def mul_base(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """scalars[i] times the generator: (n, 32) -> (n, 33)."""
    _check.rows(scalars, SCALAR_BYTES, "scalars")
    return _native.sm2_mul_base(scalars)


def check(points: NDArray[np.uint8]) -> None:
    """Raises InvalidEncoding at the first of the (n, 33) elements that is the identity or not canonical."""
    _check.rows(points, ELEMENT_BYTES, "points")
    _native.sm2_check(points)


def public_key(private: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """The public key, (33,), of a private key, (32,). InvalidEncoding where that is not from 1 to the order minus 2."""
    _check.secret(private, (SCALAR_BYTES,), "private")
    return _native.sm2_public_key(private)


def sign(
    private: NDArray[np.uint8] | bytes,
    message: bytes,
    *,
    entropy: NDArray[np.uint8] | bytes,
    signer_id: bytes = DEFAULT_ID,
) -> bytes:
    """The signature, 64 bytes, of a message by a private key, (32,) [GM/T 0003.2, section 6.1].

    Args:
        private: from 1 to the order minus 2; InvalidEncoding otherwise.
        message: the message itself, not its hash.
        entropy: 32 fresh uniform bytes, such as ``rng.uint8(ENTROPY_BYTES)``. The nonce is hashed from them, the key
            and the message: entropy that repeats does not give the key away.
        signer_id: what the verifier will give too, at most 8,191 bytes.
    """
    _check.secret(private, (SCALAR_BYTES,), "private")
    _check.secret(entropy, (ENTROPY_BYTES,), "entropy")
    _check_id(signer_id)
    return _native.sm2_sign(private, signer_id, message, entropy).tobytes()


def verify(key: bytes, message: bytes, signature: bytes, *, signer_id: bytes = DEFAULT_ID) -> None:
    """Returns if `key`, 33 bytes, signed `message` [GM/T 0003.2, section 7.1]. Not constant-time: all of it is public.

    Raises:
        InvalidSignature: it did not; also for a signature that is not 64 bytes long, and a key that is no point.
        UsageError: a key that is not 33 bytes long, or an ID that is too long.
    """
    if len(key) != ELEMENT_BYTES:
        raise UsageError(f"an SM2 key has {ELEMENT_BYTES} bytes, this one {len(key)}; give the compressed point.")
    _check_id(signer_id)
    if len(signature) != SIGNATURE_BYTES or not _native.sm2_verifies(key, signer_id, message, signature):
        raise InvalidSignature("the signature does not fit key and message")


def _check_id(signer_id: bytes) -> None:
    if len(signer_id) > MAX_ID_BYTES:
        raise UsageError(f"signer_id is {len(signer_id)} bytes; give at most {MAX_ID_BYTES}.")
