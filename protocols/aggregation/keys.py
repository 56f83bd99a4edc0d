"""Keys between the parties of a sum: two key agreements a party and run, what they give, and who vouches for them.

Every run draws its keys anew, and nothing of them outlives it. So no mask is ever used twice: whoever runs again, after
a failure too, has other keys, other seeds, and therefore other masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.exceptions import InvalidTag as Refused
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from mpc.errors import UsageError
from mpc.kernels import InvalidTag, ed25519, sm4, wipe
from mpc.kernels import hash as hashes
from mpc.kernels.packing import pack
from mpc.rng import Rng
from mpc.suite import Suite

Bytes = NDArray[np.uint8]

SEALING, MASKING = 0, 1
"""Which of a party's two keys is for what."""

_PURPOSE = (b"unseen aggregation sealing key v1\x00", b"unseen aggregation mask key v1\x00")
_NONCE = 12
_SIGNED_KEYS = b"unseen aggregation keys v1\x00"
_SIGNED_SURVIVORS = b"unseen aggregation survivors v1\x00"


@dataclass(frozen=True)
class Pairs:
    """A party's two key pairs of one run.

    Attributes:
        secret: (2, scalar), for ``SEALING`` and for ``MASKING``.
        public: (2, element).
    """

    secret: Bytes = field(repr=False)
    public: Bytes


def draw(suite: Suite, rng: Rng) -> Pairs:
    """Fresh key pairs."""
    uniform = rng.uint8(2, suite.group.UNIFORM_SCALAR_BYTES)
    secret = suite.group.scalar_from_uniform(uniform)
    wipe(uniform)
    return Pairs(secret, suite.group.mul_base(secret))


def agree(
    suite: Suite, purpose: int, secret: Bytes, public: Bytes, *, nonce: bytes, me: str, peers: Sequence[str]
) -> Bytes:
    """What one party's key gives with those of k others: (k, 32), the same as theirs with this one's.

    Args:
        suite: whose group and hash are taken.
        purpose: ``SEALING`` or ``MASKING``.
        secret: (scalar,).
        public: (k, element); InvalidEncoding, with its index, at the first that is none.
        nonce: of the run.
        me: name of the party whose secret it is.
        peers: k names.
    """
    if not len(public):
        return np.empty((0, 32), dtype=np.uint8)
    shared = suite.group.mul(secret, public)
    names = ["\0".join(sorted((me, peer))).encode() + b"\0" for peer in peers]
    inputs = pack([nonce + pair + row.tobytes() for pair, row in zip(names, shared, strict=True)])
    wipe(shared)
    return np.ascontiguousarray(hashes.batch(suite.digest, _PURPOSE[purpose], inputs)[:, :32])


def seal(suite: Suite, key: Bytes, plain: bytes, *, sender: int, context: bytes) -> bytes:
    """What only the holder of the same key opens, in the same context. A key seals one text from each of its two."""
    at = sender.to_bytes(_NONCE, "big")
    if suite.name == "gm":
        return sm4.gcm_seal(key[: sm4.KEY_BYTES], at, plain, context).tobytes()
    return AESGCM(key.tobytes()).encrypt(at, plain, context)


def unseal(suite: Suite, key: Bytes, sealed: bytes, *, sender: int, context: bytes) -> bytes | None:
    """What ``seal`` was given; None for anything else."""
    at = sender.to_bytes(_NONCE, "big")
    try:
        if suite.name == "gm":
            return sm4.gcm_open(key[: sm4.KEY_BYTES], at, sealed, context).tobytes()
        return AESGCM(key.tobytes()).decrypt(at, sealed, context)
    except (Refused, InvalidTag):
        return None


@dataclass(frozen=True)
class Identity:
    """A party's long-term key and those of all others, for runs against an aggregator that may be malicious.

    Attributes:
        sign: this party's signature over a text.
        verify: whether a party, by its name, has signed a text; False for a party that is not known.
    """

    sign: Callable[[bytes], bytes] = field(repr=False)
    verify: Callable[[str, bytes, bytes], bool] = field(repr=False)


def ed25519_identity(sign: Callable[[bytes], bytes], known: Mapping[str, bytes]) -> Identity:
    """An identity by Ed25519 [RFC 8032].

    Args:
        sign: such as the method ``sign`` of an ``Ed25519PrivateKey``.
        known: the raw public keys, 32 bytes each, of all parties by their names, distributed beforehand.
    """
    for name, key in known.items():
        if len(key) != ed25519.KEY_BYTES:
            raise UsageError(f"The key of {name} has {len(key)} bytes: give the raw public key, {ed25519.KEY_BYTES}.")

    def verify(name: str, text: bytes, signature: bytes) -> bool:
        try:
            ed25519.verify(known[name], text, signature)
        except (KeyError, ed25519.InvalidSignature):
            return False
        return True

    return Identity(sign, verify)


def keys_text(run: str, name: str, public: bytes) -> bytes:
    """What a party signs of its keys."""
    return _SIGNED_KEYS + _field(run.encode()) + _field(name.encode()) + public


def survivors_text(run: str, nonce: bytes, names: Sequence[str], survived: bytes, dropped: bytes) -> bytes:
    """What a party signs of the sets for which it opens masks, and of the roster that says whose bits they are."""
    roster = b"".join(_field(name.encode()) for name in names)
    return _SIGNED_SURVIVORS + _field(run.encode()) + nonce + _field(roster) + _field(survived) + dropped


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
