"""OPRF and VOPRF of RFC 9497, over expand_message_xmd of RFC 9380. The names are the RFC's.

Slow and not constant-time: for tests only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.reference import ristretto255, sm2, sm3

Element = ristretto255.Element | sm2.Element


def prefixed(*parts: bytes) -> bytes:
    """Every part after its length as two bytes."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


@dataclass(frozen=True)
class Oprf:
    """A ciphersuite (section 4): a group, which is a module of this package, a hash, and the name of the two."""

    identifier: bytes
    group: Any
    hash: Callable[[bytes], bytes]
    block_bytes: int

    def expand_message_xmd(self, message: bytes, dst: bytes, length: int) -> bytes:
        """RFC 9380, section 5.3.1; section 5.3.3 for a long tag."""
        if len(dst) > 255:
            dst = self.hash(b"H2C-OVERSIZE-DST-" + dst)
        dst_prime = dst + len(dst).to_bytes(1, "big")
        b_0 = self.hash(bytes(self.block_bytes) + message + length.to_bytes(2, "big") + b"\0" + dst_prime)
        blocks = [self.hash(b_0 + b"\1" + dst_prime)]
        for i in range(2, -(-length // len(b_0)) + 1):
            mixed = bytes(a ^ b for a, b in zip(b_0, blocks[-1], strict=True))
            blocks.append(self.hash(mixed + i.to_bytes(1, "big") + dst_prime))
        return b"".join(blocks)[:length]

    def hash_to_group(self, message: bytes, dst: bytes) -> Element:
        """hash_to_curve of RFC 9380, and hash_to_ristretto255 of its appendix B."""
        return self.group.derive(self.expand_message_xmd(message, dst, self.group.UNIFORM_ELEMENT_BYTES))

    def hash_to_scalar(self, message: bytes, dst: bytes) -> int:
        """HashToScalar: RFC 9497, section 4."""
        uniform = self.expand_message_xmd(message, dst, self.group.UNIFORM_SCALAR_BYTES)
        return self.scalar_of(uniform) % self.group.ORDER

    def scalar_bytes(self, scalar: int) -> bytes:
        """SerializeScalar."""
        return scalar.to_bytes(32, self.group.BYTE_ORDER)

    def scalar_of(self, encoding: bytes) -> int:
        """The integer of bytes in the group's order, not reduced."""
        return int.from_bytes(encoding, self.group.BYTE_ORDER)

    def context_string(self, mode: int) -> bytes:
        """CreateContextString: section 3.1."""
        return b"OPRFV1-" + mode.to_bytes(1, "big") + b"-" + self.identifier

    def derive_key(self, mode: int, seed: bytes, info: bytes) -> int:
        """DeriveKeyPair: section 3.2.1."""
        for counter in range(256):
            message = seed + prefixed(info) + counter.to_bytes(1, "big")
            if scalar := self.hash_to_scalar(message, b"DeriveKeyPair" + self.context_string(mode)):
                return scalar
        raise ValueError("DeriveKeyPairError")

    def input_element(self, mode: int, message: bytes) -> Element:
        """The input hashed to the group, as in Blind and Evaluate."""
        element = self.hash_to_group(message, b"HashToGroup-" + self.context_string(mode))
        if self.group.is_identity(element):
            raise ValueError("InvalidInputError")
        return element

    def blind(self, mode: int, message: bytes, r: int) -> bytes:
        """Blind: section 3.3.1, with the blind as an argument."""
        return self.group.encode(r * self.input_element(mode, message))

    def blind_evaluate(self, k: int, blinded: bytes) -> bytes:
        """BlindEvaluate: section 3.3.1, without the proof."""
        return self.group.encode(k * self.group.decode(blinded))

    def _output(self, message: bytes, element: bytes) -> bytes:
        return self.hash(prefixed(message, element) + b"Finalize")

    def finalize(self, message: bytes, r: int, evaluated: bytes) -> bytes:
        """Finalize: section 3.3.1."""
        return self._output(message, self.group.encode(pow(r, -1, self.group.ORDER) * self.group.decode(evaluated)))

    def evaluate(self, mode: int, k: int, message: bytes) -> bytes:
        """Evaluate: section 3.3.1."""
        return self._output(message, self.group.encode(k * self.input_element(mode, message)))

    def compute_composites(
        self, mode: int, public: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes]
    ) -> tuple[Element, Element]:
        """ComputeComposites: section 2.2.2."""
        seed = self.hash(prefixed(public, b"Seed-" + self.context_string(mode)))
        m, z = self.group.IDENTITY, self.group.IDENTITY
        for i, (c, d) in enumerate(zip(blinded, evaluated, strict=True)):
            transcript = prefixed(seed) + i.to_bytes(2, "big") + prefixed(c, d) + b"Composite"
            weight = self.hash_to_scalar(transcript, b"HashToScalar-" + self.context_string(mode))
            m, z = weight * self.group.decode(c) + m, weight * self.group.decode(d) + z
        return m, z

    def _challenge(self, mode: int, *elements: bytes) -> int:
        return self.hash_to_scalar(prefixed(*elements) + b"Challenge", b"HashToScalar-" + self.context_string(mode))

    def generate_proof(self, mode: int, k: int, blinded: Sequence[bytes], evaluated: Sequence[bytes], r: int) -> bytes:
        """GenerateProof: section 2.2.1, for the generator and the key's own public key."""
        public = self.group.encode(k * self.group.GENERATOR)
        m, z = self.compute_composites(mode, public, blinded, evaluated)
        commitments = (self.group.encode(element) for element in (m, z, r * self.group.GENERATOR, r * m))
        c = self._challenge(mode, public, *commitments)
        return self.scalar_bytes(c) + self.scalar_bytes((r - c * k) % self.group.ORDER)

    def hedged_nonce(
        self, mode: int, k: int, blinded: Sequence[bytes], evaluated: Sequence[bytes], entropy: bytes
    ) -> int:
        """The random scalar r of a proof, as the native core makes it: the RFC does not say where r comes from."""
        public, private = self.group.encode(k * self.group.GENERATOR), self.scalar_bytes(k)
        m, z = self.compute_composites(mode, public, blinded, evaluated)
        message = entropy + prefixed(private, public, self.group.encode(m), self.group.encode(z))
        return self.hash_to_scalar(message, b"ProofNonce-" + self.context_string(mode))

    def verify_proof(
        self, mode: int, public: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes
    ) -> bool:
        """VerifyProof: section 2.2.2."""
        c, s = self.scalar_of(proof[:32]), self.scalar_of(proof[32:])
        if max(c, s) >= self.group.ORDER:
            return False
        m, z = self.compute_composites(mode, public, blinded, evaluated)
        t2, t3 = s * self.group.GENERATOR + c * self.group.decode(public), s * m + c * z
        return c == self._challenge(mode, public, *(self.group.encode(element) for element in (m, z, t2, t3)))


INTL = Oprf(b"ristretto255-SHA512", ristretto255, lambda message: hashlib.sha512(message).digest(), 128)
GM = Oprf(b"SM2-SM3", sm2, sm3.digest, 64)
