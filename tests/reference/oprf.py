"""OPRF and VOPRF of RFC 9497 with ristretto255-SHA512, over expand_message_xmd of RFC 9380. The names are the RFC's.

Slow and not constant-time: for tests only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tests.reference.ristretto255 import GENERATOR, IDENTITY, Element, L, decode, derive, encode

IDENTIFIER = b"ristretto255-SHA512"


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """RFC 9380, section 5.3.1, with SHA-512; section 5.3.3 for a long tag."""
    if len(dst) > 255:
        dst = hashlib.sha512(b"H2C-OVERSIZE-DST-" + dst).digest()
    ell = -(-length // 64)
    dst_prime = dst + len(dst).to_bytes(1, "big")
    b_0 = hashlib.sha512(bytes(128) + message + length.to_bytes(2, "big") + b"\0" + dst_prime).digest()
    blocks = [hashlib.sha512(b_0 + b"\1" + dst_prime).digest()]
    for i in range(2, ell + 1):
        mixed = bytes(a ^ b for a, b in zip(b_0, blocks[-1], strict=True))
        blocks.append(hashlib.sha512(mixed + i.to_bytes(1, "big") + dst_prime).digest())
    return b"".join(blocks)[:length]


def hash_to_group(message: bytes, dst: bytes) -> Element:
    """hash_to_ristretto255: RFC 9380, appendix B."""
    return derive(expand_message_xmd(message, dst, 64))


def hash_to_scalar(message: bytes, dst: bytes) -> int:
    """HashToScalar: RFC 9497, section 4.1."""
    return int.from_bytes(expand_message_xmd(message, dst, 64), "little") % L


def scalar_bytes(scalar: int) -> bytes:
    """SerializeScalar."""
    return scalar.to_bytes(32, "little")


def context_string(mode: int) -> bytes:
    """CreateContextString: section 3.1."""
    return b"OPRFV1-" + mode.to_bytes(1, "big") + b"-" + IDENTIFIER


def prefixed(*parts: bytes) -> bytes:
    """Every part after its length as two bytes."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def derive_key(mode: int, seed: bytes, info: bytes) -> int:
    """DeriveKeyPair: section 3.2.1."""
    for counter in range(256):
        message = seed + prefixed(info) + counter.to_bytes(1, "big")
        if scalar := hash_to_scalar(message, b"DeriveKeyPair" + context_string(mode)):
            return scalar
    raise ValueError("DeriveKeyPairError")


def input_element(mode: int, message: bytes) -> Element:
    """The input hashed to the group, as in Blind and Evaluate."""
    element = hash_to_group(message, b"HashToGroup-" + context_string(mode))
    if encode(element) == encode(IDENTITY):
        raise ValueError("InvalidInputError")
    return element


def blind(mode: int, message: bytes, r: int) -> bytes:
    """Blind: section 3.3.1, with the blind as an argument."""
    return encode(r * input_element(mode, message))


def blind_evaluate(k: int, blinded: bytes) -> bytes:
    """BlindEvaluate: section 3.3.1, without the proof."""
    return encode(k * decode(blinded))


def _output(message: bytes, element: bytes) -> bytes:
    return hashlib.sha512(prefixed(message, element) + b"Finalize").digest()


def finalize(message: bytes, r: int, evaluated: bytes) -> bytes:
    """Finalize: section 3.3.1."""
    return _output(message, encode(pow(r, -1, L) * decode(evaluated)))


def evaluate(mode: int, k: int, message: bytes) -> bytes:
    """Evaluate: section 3.3.1."""
    return _output(message, encode(k * input_element(mode, message)))


def compute_composites(
    mode: int, public: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes]
) -> tuple[Element, Element]:
    """ComputeComposites: section 2.2.2."""
    seed = hashlib.sha512(prefixed(public, b"Seed-" + context_string(mode))).digest()
    m, z = IDENTITY, IDENTITY
    for i, (c, d) in enumerate(zip(blinded, evaluated, strict=True)):
        transcript = prefixed(seed) + i.to_bytes(2, "big") + prefixed(c, d) + b"Composite"
        weight = hash_to_scalar(transcript, b"HashToScalar-" + context_string(mode))
        m, z = weight * decode(c) + m, weight * decode(d) + z
    return m, z


def _challenge(mode: int, *elements: bytes) -> int:
    return hash_to_scalar(prefixed(*elements) + b"Challenge", b"HashToScalar-" + context_string(mode))


def generate_proof(mode: int, k: int, blinded: Sequence[bytes], evaluated: Sequence[bytes], r: int) -> bytes:
    """GenerateProof: section 2.2.1, for the generator and the key's own public key."""
    public = encode(k * GENERATOR)
    m, z = compute_composites(mode, public, blinded, evaluated)
    c = _challenge(mode, public, encode(m), encode(z), encode(r * GENERATOR), encode(r * m))
    return scalar_bytes(c) + scalar_bytes((r - c * k) % L)


def hedged_nonce(mode: int, k: int, blinded: Sequence[bytes], evaluated: Sequence[bytes], entropy: bytes) -> int:
    """The random scalar r of a proof, as the native core makes it: it is not the RFC's to say where r comes from."""
    public, private = encode(k * GENERATOR), scalar_bytes(k)
    m, z = compute_composites(mode, public, blinded, evaluated)
    message = entropy + prefixed(private, public, encode(m), encode(z))
    return hash_to_scalar(message, b"ProofNonce-" + context_string(mode))


def verify_proof(mode: int, public: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes) -> bool:
    """VerifyProof: section 2.2.2."""
    c, s = int.from_bytes(proof[:32], "little"), int.from_bytes(proof[32:], "little")
    if max(c, s) >= L:
        return False
    m, z = compute_composites(mode, public, blinded, evaluated)
    t2, t3 = s * GENERATOR + c * decode(public), s * m + c * z
    return c == _challenge(mode, public, encode(m), encode(z), encode(t2), encode(t3))
